/// Treewarden for C++17: the state of every file in directory trees, and what is still to be done about each of them.
///
/// A layer over treewarden.h, all in this header: link with libtreewarden. It adds owners, exceptions and types, and
/// no capability; what it does not say, the contract at the head of treewarden.h and the functions there do.
///
/// Owners. Warden, Snapshot, Changes, Jobs and the others own a handle of the C interface: they can be moved, not
/// copied, and free it at their end, in any order. One that was moved from is inert: it may be destroyed and assigned
/// to, and all else throws Error with Code::InvalidHandle. `handle()` lends the handle to functions of the C interface.
///
/// Errors. What fails throws Error, with a code, and, where they apply, the path and a hint. What is no failure is a
/// value: "nothing came in time" and "there is none" are an empty std::optional.
///
/// Text. Names and addresses (`ROOT/relative/path`) go in as std::string_view. They come out as std::string, or, from
/// types that end in `View` and where it says so, as a std::string_view into an owner. Addresses are bytes and may be
/// no UTF-8. Paths of the file system are std::filesystem::path.
///
/// Time. Durations are std::chrono::milliseconds, so seconds and minutes fit, too; as a time to wait, 0 does not wait,
/// and `forever` or any other negative one waits without end. Points in time are Time, with nanoseconds.
///
/// Threads. Functions may be called in any thread unless they say otherwise. Moving, assigning and destroying an owner
/// is a matter of one thread. Lambdas run in threads of the library: what they throw never leaves them, and what
/// becomes of it is said where they are taken. They are destroyed when the library lets go of them.

#ifndef TREEWARDEN_HPP
#define TREEWARDEN_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "treewarden.hpp needs C++17; C programs include treewarden.h"
#endif

#include "treewarden.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// Treewarden.
namespace treewarden {

// ---------------------------------------------------------------------------------------------------------------------
// Time, errors and enumerations
// ---------------------------------------------------------------------------------------------------------------------

/// A duration as the library takes it.
using Milliseconds = std::chrono::milliseconds;

/// A point in time. The zero is 1970-01-01 UTC.
using Time = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;

/// Waits without end.
inline constexpr Milliseconds forever{-1};

/// What went wrong. The numbers never change; they are the TW_STATUS_ ones of the C interface.
enum class Code : std::int32_t {
    Ok = TW_STATUS_OK,                             ///< Nothing. Never in an Error.
    InvalidArgument = TW_STATUS_INVALID_ARGUMENT,  ///< An argument has no meaning.
    NotFound = TW_STATUS_NOT_FOUND,                ///< The root, entry, file, pipeline or item does not exist.
    AlreadyExists = TW_STATUS_ALREADY_EXISTS,      ///< The name is taken.
    Busy = TW_STATUS_BUSY,                         ///< Somebody else holds the state file.
    PermissionDenied = TW_STATUS_PERMISSION_DENIED,  ///< The operating system, a store or a Redis refuses access.
    Unavailable = TW_STATUS_UNAVAILABLE,           ///< The root cannot be trusted now, or Redis cannot be reached.
    Held = TW_STATUS_HELD,                         ///< Too much would become missing.
    Cancelled = TW_STATUS_CANCELLED,               ///< The program cancelled.
    Reset = TW_STATUS_RESET,                       ///< Read a snapshot, then go on from Error::restart_seq().
    Conflict = TW_STATUS_CONFLICT,                 ///< Somebody else has been there first.
    TooLarge = TW_STATUS_TOO_LARGE,                ///< A key, value, name or attribute is over its limit.
    Corrupt = TW_STATUS_CORRUPT,                   ///< The state file is damaged: see rebuild().
    NotAStateFile = TW_STATUS_NOT_A_STATE_FILE,    ///< The file is something else.
    NewerFormat = TW_STATUS_NEWER_FORMAT,          ///< The state file was written by a newer version.
    ReadOnly = TW_STATUS_READ_ONLY,                ///< The state file was opened for reading only.
    StorageFull = TW_STATUS_STORAGE_FULL,          ///< The disk of the state file is full.
    Io = TW_STATUS_IO,                             ///< Any other failure of the operating system.
    Closed = TW_STATUS_CLOSED,                     ///< The warden, pipeline or limiter has been closed.
    Poisoned = TW_STATUS_POISONED,                 ///< A thread of the engine has failed; snapshots stay readable.
    Unsupported = TW_STATUS_UNSUPPORTED,           ///< Not on this system, or not with this library.
    Timeout = TW_STATUS_TIMEOUT,                   ///< It did not happen in time; what was asked for goes on.
    LeaseLost = TW_STATUS_LEASE_LOST,              ///< The job was handed out again, or somebody else leads by now.
    Panic = TW_STATUS_PANIC,                       ///< A bug in the library. Nothing acknowledged is lost.
    Forked = TW_STATUS_FORKED,                     ///< The object was made before a fork, and this is the child.
    InvalidHandle = TW_STATUS_INVALID_HANDLE,      ///< The object was moved from, or what it belongs to is gone.
};

/// The stable name of a code in snake case, for example `not_found`. Static memory.
inline const char *name(Code code) noexcept { return tw_status_name(static_cast<tw_status>(code)); }

/// What went wrong, to what, and what to do about it. `what()` is one sentence, UTF-8, without control characters.
class Error : public std::runtime_error {
public:
    /// Made by this layer, and by programs that want to fail in the same way.
    explicit Error(Code code, const std::string &message, std::string path = {}, std::string hint = {},
                   std::optional<std::uint64_t> restart_seq = std::nullopt)
        : std::runtime_error(message), code_(code), restart_seq_(restart_seq),
          texts_(std::make_shared<const Texts>(Texts{std::move(path), std::move(hint)})) {}

    /// What kind of failure it is.
    Code code() const noexcept { return code_; }
    /// The path or address that it is about, in bytes; empty where there is none.
    const std::string &path() const noexcept { return texts_->path; }
    /// What to do about it, UTF-8; empty where nobody knows.
    const std::string &hint() const noexcept { return texts_->hint; }
    /// Of Code::Reset: where to go on after reading a snapshot.
    std::optional<std::uint64_t> restart_seq() const noexcept { return restart_seq_; }

private:
    struct Texts {
        std::string path;
        std::string hint;
    };
    Code code_;
    std::optional<std::uint64_t> restart_seq_;
    // Shared, for copying an exception must not throw.
    std::shared_ptr<const Texts> texts_;
};

/// What an entry is.
enum class Kind : std::int32_t {
    File = TW_KIND_FILE,        ///< A regular file.
    Dir = TW_KIND_DIR,          ///< A directory.
    Symlink = TW_KIND_SYMLINK,  ///< A symbolic link: known with its target, never followed.
    Special = TW_KIND_SPECIAL,  ///< A FIFO, socket or device: in explanations only, never an entry.
};

/// What happened to an entry.
enum class ChangeKind : std::int32_t {
    Added = TW_CHANGE_ADDED,          ///< Seen for the first time.
    Modified = TW_CHANGE_MODIFIED,    ///< Its fingerprint or its content differs.
    Moved = TW_CHANGE_MOVED,          ///< The same file under another path; `from` says where it was.
    Missing = TW_CHANGE_MISSING,      ///< Proved to be gone; a tombstone stays for a while.
    Restored = TW_CHANGE_RESTORED,    ///< A missing entry is back where it was.
    Forgotten = TW_CHANGE_FORGOTTEN,  ///< Dropped from the state: a tombstone expired, or it is ignored now.
};

/// When a commit counts as done.
enum class Durability : std::int32_t {
    Durable = TW_DURABILITY_DURABLE,  ///< It is safe against power loss before a function returns.
    Relaxed = TW_DURABILITY_RELAXED,  ///< It is visible at once, and on disk with the next durable one.
};

/// Whether content hashes are kept.
enum class ContentHash : std::int32_t {
    Off = TW_CONTENT_HASH_OFF,          ///< Fingerprints only.
    Changed = TW_CONTENT_HASH_CHANGED,  ///< xxh3-128 of every file that is new or changed.
};

/// What decides that a file is unchanged.
enum class Compare : std::int32_t {
    Auto = TW_COMPARE_AUTO,             ///< As suits the file system of the root.
    Full = TW_COMPARE_FULL,             ///< Kind, size, mtime, ctime and inode.
    NoInode = TW_COMPARE_NO_INODE,      ///< For file systems that make inode numbers up.
    NoCtime = TW_COMPARE_NO_CTIME,      ///< For file systems on which the ctime changes by itself.
    SizeMtime = TW_COMPARE_SIZE_MTIME,  ///< Kind, size and mtime alone.
};

/// How deep a scan looks.
enum class ScanMode : std::int32_t {
    Quick = TW_SCAN_QUICK,  ///< Fingerprints; content is read where something changed.
    Full = TW_SCAN_FULL,    ///< All content again, where the root keeps hashes.
};

/// Which walker lists a tree.
enum class Walker : std::int32_t {
    Auto = TW_WALKER_AUTO,    ///< The best one of this system.
    Fd = TW_WALKER_FD,        ///< By directory descriptors: fastest, and free of races.
    Jwalk = TW_WALKER_JWALK,  ///< By path: portable.
};

/// When the result of a scan becomes visible.
enum class Publish : std::int32_t {
    Atomic = TW_PUBLISH_ATOMIC,            ///< All of it with one commit.
    Progressive = TW_PUBLISH_PROGRESSIVE,  ///< The first scan of a root in batches as it goes.
};

/// What a scan is doing.
enum class Phase : std::int32_t {
    Walk = TW_PHASE_WALK,      ///< Listing and looking.
    Hash = TW_PHASE_HASH,      ///< Reading content.
    Commit = TW_PHASE_COMMIT,  ///< Writing and publishing.
};

/// Where events come from.
enum class Backend : std::int32_t {
    Auto = TW_BACKEND_AUTO,        ///< inotify on Linux, `notify` elsewhere.
    Inotify = TW_BACKEND_INOTIFY,  ///< inotify. Linux only.
    Notify = TW_BACKEND_NOTIFY,    ///< The Rust crate `notify`.
};

/// The times that the watching of a root starts from.
enum class Preset : std::int32_t {
    Default = TW_PRESET_DEFAULT,  ///< Debounce 300 ms, at most 2 s.
    Small = TW_PRESET_SMALL,      ///< Some thousand files that people wait for: debounce 50 ms.
    Large = TW_PRESET_LARGE,      ///< Hundreds of thousands of files: debounce 1 s.
    Busy = TW_PRESET_BUSY,        ///< Something is always written: debounce 2 s.
};

/// Whether a root is watched or polled.
enum class WatchMode : std::int32_t {
    Auto = TW_WATCH_AUTO,      ///< Watched; polled on network file systems.
    Native = TW_WATCH_NATIVE,  ///< Watched, whatever the file system.
    Poll = TW_WATCH_POLL,      ///< Polled.
};

/// Whether a root can be trusted.
enum class RootState : std::int32_t {
    New = TW_ROOT_STATE_NEW,                  ///< Never scanned to the end.
    Ready = TW_ROOT_STATE_READY,              ///< As of its last scan.
    Unavailable = TW_ROOT_STATE_UNAVAILABLE,  ///< It could not be trusted; the last good state is kept.
    Held = TW_ROOT_STATE_HELD,                ///< Too much would be missing; the last good state is kept.
};

/// How many directories of a root report changes by themselves.
enum class Coverage : std::int32_t {
    Native = TW_COVERAGE_NATIVE,    ///< All of them.
    Mixed = TW_COVERAGE_MIXED,      ///< Some have no watch and are polled.
    Polling = TW_COVERAGE_POLLING,  ///< None: all of it is polled.
};

/// What ran.
enum class OperationKind : std::int32_t {
    Startup = TW_OPERATION_STARTUP,  ///< The first look after opening.
    Quick = TW_OPERATION_QUICK,      ///< A quick scan of a whole root.
    Full = TW_OPERATION_FULL,        ///< A full scan of a whole root.
    Subtree = TW_OPERATION_SUBTREE,  ///< A scan of part of a root.
    Live = TW_OPERATION_LIVE,        ///< Changes that the engine has heard of.
    Manual = TW_OPERATION_MANUAL,    ///< Maintenance: tombstones that expired.
    Refresh = TW_OPERATION_REFRESH,  ///< A refresh run of a pipeline, which stands in place of the root.
};

/// How an operation ended.
enum class OperationStatus : std::int32_t {
    Ok = TW_OPERATION_STATUS_OK,                    ///< Complete.
    Partial = TW_OPERATION_STATUS_PARTIAL,          ///< Complete but for parts that could not be read.
    Held = TW_OPERATION_STATUS_HELD,                ///< Held until a scan that accepts what is missing.
    Unavailable = TW_OPERATION_STATUS_UNAVAILABLE,  ///< The root could not be trusted.
    Cancelled = TW_OPERATION_STATUS_CANCELLED,      ///< Cancelled by the program.
    Failed = TW_OPERATION_STATUS_FAILED,            ///< Ended by an error.
};

/// How disk and state differ.
enum class DifferenceKind : std::int32_t {
    Missing = TW_DIFFERENCE_MISSING,  ///< In the state, not on disk.
    Unknown = TW_DIFFERENCE_UNKNOWN,  ///< On disk, not in the state.
    Changed = TW_DIFFERENCE_CHANGED,  ///< The fingerprint differs.
    Corrupt = TW_DIFFERENCE_CORRUPT,  ///< The fingerprint is the same, the content is not.
};

/// What an event tells. The fields of Event that are set are named here.
enum class EventKind : std::int32_t {
    Unknown = TW_EVENT_UNKNOWN,                   ///< One that this version does not know.
    ScanStarted = TW_EVENT_SCAN_STARTED,          ///< `root`, `operation`.
    ScanProgress = TW_EVENT_SCAN_PROGRESS,        ///< `root`, `text`, `dirs`, `files`, `bytes`, estimates.
    ScanFinished = TW_EVENT_SCAN_FINISHED,        ///< `root`, `operation` and its status, `seq`, counts, `elapsed`.
    Committed = TW_EVENT_COMMITTED,               ///< `first_seq`, `last_seq`, counts.
    RootUnavailable = TW_EVENT_ROOT_UNAVAILABLE,  ///< `root`, `text`.
    RootBack = TW_EVENT_ROOT_BACK,                ///< `root`.
    RootHeld = TW_EVENT_ROOT_HELD,                ///< `root`, `missing` of the `known`.
    CoverageChanged = TW_EVENT_COVERAGE_CHANGED,  ///< `root`, `coverage`, `text`.
    Overflow = TW_EVENT_OVERFLOW,                 ///< `root`, which is scanned again.
    Coherent = TW_EVENT_COHERENT,                 ///< `root`: nothing is unknown any more.
    Error = TW_EVENT_ERROR,                       ///< `text`, and `root` where it concerns one.
    Reset = TW_EVENT_RESET,                       ///< `restart_seq`: the queue was full and was dropped.
};

/// How an item of a pipeline stands.
enum class WorkState : std::int32_t {
    New = TW_WORK_NEW,                ///< It is there and was never done.
    Changed = TW_WORK_CHANGED,        ///< Its content, or the version of the pipeline, is another one now.
    Stale = TW_WORK_STALE,            ///< It was done, and its refresh time has come.
    Error = TW_WORK_ERROR,            ///< The last attempt failed.
    Missing = TW_WORK_MISSING,        ///< It was done and is gone: clean up what was made of it.
    Processing = TW_WORK_PROCESSING,  ///< Somebody holds a lease on it.
    Indexed = TW_WORK_INDEXED,        ///< There is nothing to do.
};

/// The class in which work waits.
enum class Priority : std::int32_t {
    Critical = TW_PRIORITY_CRITICAL,  ///< Somebody waits for it.
    High = TW_PRIORITY_HIGH,          ///< Never done.
    Medium = TW_PRIORITY_MEDIUM,      ///< Changed or missing.
    Low = TW_PRIORITY_LOW,            ///< To be refreshed.
    VeryLow = TW_PRIORITY_VERY_LOW,   ///< Part of a full refresh.
};

/// Which files are one job.
enum class Group : std::int32_t {
    None = TW_GROUP_NONE,          ///< Each file by itself; it keeps its record when it moves.
    Parent = TW_GROUP_PARENT,      ///< The files that lie directly in one directory.
    Depth = TW_GROUP_DEPTH,        ///< The files that share their first components.
    Stem = TW_GROUP_STEM,          ///< The files whose paths differ in the last extension only.
    Function = TW_GROUP_FUNCTION,  ///< Of PipelineInfo: those for which a function gives the same key.
};

/// When a completed item of a pipeline is done anew although it did not change.
enum class Refresh : std::int32_t {
    Never = TW_REFRESH_NEVER,                 ///< Never.
    After = TW_REFRESH_AFTER,                 ///< So long after its completion.
    Tiers = TW_REFRESH_TIERS,                 ///< By the age of the file at its completion.
    AtCompletion = TW_REFRESH_AT_COMPLETION,  ///< When the completion says.
};

/// One step of a plan of a mirror. The fields of MirrorStep that are set are named here.
enum class MirrorStepKind : std::int32_t {
    Unknown = TW_MIRROR_STEP_UNKNOWN,  ///< One that this version does not know.
    Upload = TW_MIRROR_STEP_UPLOAD,    ///< The file `path`, of `bytes`, is sent, and becomes the object `key`.
    Copy = TW_MIRROR_STEP_COPY,        ///< The object `from` is copied to `key` within the store.
    Delete = TW_MIRROR_STEP_DELETE,    ///< The object `key` is deleted.
};

/// How a store and what it has acknowledged differ.
enum class AuditKind : std::int32_t {
    Other = TW_AUDIT_OTHER,          ///< In a way that this version does not know.
    Lost = TW_AUDIT_LOST,            ///< It was acknowledged, and is not there.
    Different = TW_AUDIT_DIFFERENT,  ///< It has another size or entity tag than was acknowledged.
    Unknown = TW_AUDIT_UNKNOWN,      ///< It is there, and the mirror did not put it there.
    Unsure = TW_AUDIT_UNSURE,        ///< It was begun and not acknowledged; the next run puts or deletes it.
};

/// What happened to a URL.
enum class UrlChangeKind : std::int32_t {
    Unknown = TW_URL_CHANGE_UNKNOWN,    ///< Something that this version does not know.
    Added = TW_URL_CHANGE_ADDED,        ///< There is an object now.
    Modified = TW_URL_CHANGE_MODIFIED,  ///< It has other content under the same URL.
    Removed = TW_URL_CHANGE_REMOVED,    ///< There is none any more.
};

/// Why a storage of the program did not do what it was asked for, as far as it matters for what comes next.
enum class StorageFault : std::int32_t {
    Transient = TW_STORAGE_TRANSIENT,          ///< It may work the next time.
    Throttled = TW_STORAGE_THROTTLED,          ///< The storage asks everybody to slow down.
    Denied = TW_STORAGE_DENIED,                ///< The credentials are wrong, have expired or do not allow it.
    Misconfigured = TW_STORAGE_MISCONFIGURED,  ///< What holds the objects is not there: the run is given up.
    NotFound = TW_STORAGE_NOT_FOUND,           ///< There is no such object.
    Rejected = TW_STORAGE_REJECTED,            ///< This object will never be taken.
    Occupied = TW_STORAGE_OCCUPIED,            ///< Something else lies in its place, and has to go first.
    Unsupported = TW_STORAGE_UNSUPPORTED,      ///< The storage cannot do this at all.
};

/// How much is logged.
enum class LogLevel : std::int32_t {
    Off = TW_LOG_OFF,      ///< Nothing.
    Error = TW_LOG_ERROR,  ///< What should not happen.
    Warn = TW_LOG_WARN,    ///< What is made up for.
    Info = TW_LOG_INFO,    ///< What is good to know.
    Debug = TW_LOG_DEBUG,  ///< What helps to find out why.
    Trace = TW_LOG_TRACE,  ///< All there is.
};

// ---------------------------------------------------------------------------------------------------------------------
// How the C interface is called. Not for programs.
// ---------------------------------------------------------------------------------------------------------------------

/// Not for programs.
namespace detail {

/// Some bytes of the caller. Never NULL, which would mean "none" in some places.
inline tw_bytes bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::uint8_t *>(text.data() == nullptr ? "" : text.data()), text.size()};
}

inline tw_bytes path_bytes(const std::filesystem::path &path) noexcept { return bytes(path.native()); }

inline std::string_view view(tw_bytes bytes) noexcept {
    return bytes.ptr == nullptr ? std::string_view()
                                : std::string_view(reinterpret_cast<const char *>(bytes.ptr), bytes.len);
}

inline std::string text(tw_bytes bytes) { return std::string(view(bytes)); }

/// None where there is a NULL.
template <class Text>
std::optional<Text> optional(tw_bytes bytes) {
    return bytes.ptr == nullptr ? std::nullopt : std::optional<Text>(Text(view(bytes)));
}

template <class Value>
std::optional<Value> optional(std::int32_t has, Value value) {
    return has != 0 ? std::optional<Value>(value) : std::nullopt;
}

inline Time time(std::int64_t ns) noexcept { return Time(std::chrono::nanoseconds(ns)); }

inline std::int64_t ns(Time time) noexcept { return static_cast<std::int64_t>(time.time_since_epoch().count()); }

inline std::int64_t ms(Milliseconds duration) noexcept { return static_cast<std::int64_t>(duration.count()); }

inline Milliseconds duration(std::uint64_t ms) noexcept { return Milliseconds(static_cast<Milliseconds::rep>(ms)); }

/// A wait that somebody may or may not have asked for: the interface takes "not" as a negative one.
inline std::int64_t ms(const std::optional<Milliseconds> &duration) noexcept { return duration ? ms(*duration) : -1; }

/// Throws what a function of the C interface has come to.
[[noreturn]] inline void raise(tw_status status, tw_error *raw) {
    struct Owner {
        tw_error *raw;
        ~Owner() { tw_error_free(raw, nullptr); }
    } owner{raw};
    tw_error_info info{};
    const auto code = static_cast<Code>(status);
    if (tw_error_get(owner.raw, &info, sizeof info, nullptr) != TW_STATUS_OK) {
        throw Error(code, tw_status_name(status));
    }
    throw Error(code, text(info.message), text(info.path), text(info.hint),
                optional(info.has_restart_seq, info.restart_seq));
}

/// Calls a function of the C interface, and throws what it fails with.
template <class... Parameters, class... Arguments>
void call(tw_status (*function)(Parameters...), Arguments... arguments) {
    tw_error *error = nullptr;
    const tw_status status = function(arguments..., &error);
    if (status != TW_STATUS_OK) {
        raise(status, error);
    }
}

/// Calls one for which a certain status is no failure: then it is false.
template <class... Parameters, class... Arguments>
bool call_unless(tw_status expected, tw_status (*function)(Parameters...), Arguments... arguments) {
    tw_error *error = nullptr;
    const tw_status status = function(arguments..., &error);
    if (status == expected) {
        tw_error_free(error, nullptr);
        return false;
    }
    if (status != TW_STATUS_OK) {
        raise(status, error);
    }
    return true;
}

/// Owns a handle of the C interface, or borrows one that the library will free.
template <class Object, tw_status (*Free)(Object *, tw_error **)>
class Handle {
public:
    Handle() noexcept = default;
    Handle(Handle &&other) noexcept
        : raw_(std::exchange(other.raw_, nullptr)), is_borrowed_(std::exchange(other.is_borrowed_, false)) {}
    Handle &operator=(Handle &&other) noexcept {
        if (this != &other) {
            free();
            raw_ = std::exchange(other.raw_, nullptr);
            is_borrowed_ = std::exchange(other.is_borrowed_, false);
        }
        return *this;
    }
    ~Handle() { free(); }

    static Handle borrow(const Object *raw) noexcept {
        Handle handle;
        handle.raw_ = const_cast<Object *>(raw);
        handle.is_borrowed_ = true;
        return handle;
    }

    /// Where a function writes the handle to. It must be empty.
    Object **out() noexcept { return &raw_; }
    Object *get() const noexcept { return raw_; }
    /// Forgets it, once it was freed in another way.
    void release() noexcept { raw_ = nullptr; }

    /// Frees it and forgets the error, for there is nobody to tell: an object that must know offers a call for that.
    void free() noexcept {
        if (raw_ != nullptr && !is_borrowed_) {
            Free(raw_, nullptr);
        }
        raw_ = nullptr;
    }

private:
    Object *raw_ = nullptr;
    bool is_borrowed_ = false;
};

using ListHandle = Handle<tw_list, tw_list_free>;
using OptionsHandle = Handle<tw_options, tw_options_free>;

/// One row of a list.
template <class Row>
Row row(tw_status (*get)(const tw_list *, std::size_t, Row *, std::size_t, tw_error **), const ListHandle &list,
        std::size_t index = 0) {
    Row row{};
    call(get, list.get(), index, &row, sizeof row);
    return row;
}

inline std::size_t size(const ListHandle &list) {
    std::size_t len = 0;
    call(tw_list_len, list.get(), &len);
    return len;
}

/// Values made of rows: `make(index)` for each.
template <class Make>
auto collect(std::uint64_t count, Make make) {
    std::vector<decltype(make(std::size_t{}))> values;
    values.reserve(static_cast<std::size_t>(count));
    for (std::size_t index = 0; index < count; ++index) {
        values.push_back(make(index));
    }
    return values;
}

/// All texts of a list, or the first so many.
inline std::vector<std::string> texts(const ListHandle &list, std::optional<std::uint64_t> count = std::nullopt) {
    return collect(count ? *count : size(list), [&](std::size_t index) {
        tw_bytes row{};
        call(tw_list_text, list.get(), index, &row);
        return text(row);
    });
}

/// Keys and values of a list: all, or the first so many.
inline std::vector<std::pair<std::string, std::string>> pairs(const ListHandle &list,
                                                              std::optional<std::uint64_t> count = std::nullopt) {
    return collect(count ? *count : size(list), [&](std::size_t index) {
        const auto pair = row(tw_list_pair, list, index);
        return std::make_pair(text(pair.key), text(pair.value));
    });
}

/// Keys and numbers of a list: all, or the first so many.
inline std::map<std::string, std::uint64_t> numbers(const ListHandle &list,
                                                    std::optional<std::uint64_t> count = std::nullopt) {
    std::map<std::string, std::uint64_t> numbers;
    for (std::size_t index = 0, len = static_cast<std::size_t>(count ? *count : size(list)); index < len; ++index) {
        const auto pair = row(tw_list_pair, list, index);
        numbers.emplace(text(pair.key), pair.number);
    }
    return numbers;
}

/// Lends optional bytes as the interface takes them: a pointer to them, or NULL for none.
class OptionalBytes {
public:
    explicit OptionalBytes(const std::optional<std::string_view> &text) noexcept
        : bytes_(bytes(text.value_or(std::string_view()))), has_(text.has_value()) {}
    const tw_bytes *get() const noexcept { return has_ ? &bytes_ : nullptr; }

private:
    tw_bytes bytes_;
    bool has_;
};

/// What a progress callback is called with. What the lambda throws cancels its run and is kept.
template <class Function>
struct Telling {
    Function &function;
    tw_cancel *cancel;
    std::exception_ptr exception;
};

/// A progress callback that shows a `Row` as a `Shown`.
template <class Shown, class Row, class Function>
void tell(const Row *row, void *user_data) noexcept {
    auto &telling = *static_cast<Telling<Function> *>(user_data);
    if (telling.exception != nullptr) {
        return;
    }
    try {
        telling.function(Shown(*row));
    } catch (...) {
        telling.exception = std::current_exception();
        tw_cancel_cancel(telling.cancel, nullptr);
    }
}

/// The end of a call that was told of progress. What the lambda threw comes before whatever the call itself has come
/// to, for that is its doing.
inline void end_telling(const std::exception_ptr &exception, tw_status status, tw_error *error) {
    if (exception != nullptr) {
        tw_error_free(error, nullptr);
        std::rethrow_exception(exception);
    }
    if (status != TW_STATUS_OK) {
        raise(status, error);
    }
}

/// The bytes of a value.
inline std::string value_text(const Handle<tw_value, tw_value_free> &value) {
    tw_bytes row{};
    call(tw_value_bytes, value.get(), &row);
    return text(row);
}

/// The finalizer of a `Data` on the heap.
template <class Data>
void finalize(void *user_data) noexcept {
    delete static_cast<Data *>(user_data);
}

/// The last exception of a lambda.
class Kept {
public:
    void keep() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        exception_ = std::current_exception();
    }
    std::exception_ptr get() const noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        return exception_;
    }

private:
    mutable std::mutex mutex_;
    std::exception_ptr exception_;
};

/// A lambda, and where its exceptions are kept.
template <class Function>
struct Listening {
    Function function;
    std::shared_ptr<Kept> kept;
};

/// Rows of the C interface as a range: some hundred at a time, and the views of the ones before are let go.
template <class Object, tw_status (*Free)(Object *, tw_error **), class Row, class View,
          tw_status (*Next)(const Object *, Row *, std::size_t, std::size_t, std::size_t *, tw_error **),
          tw_status (*Clear)(const Object *, tw_error **)>
class Rows {
    static constexpr std::size_t rows_at_once = 256;

    struct State {
        Handle<Object, Free> handle;
        std::vector<Row> rows;
        std::size_t at = 0;
        std::size_t count = 0;
        View current{};

        bool advance() {
            if (++at >= count) {
                rows.resize(rows_at_once);
                count = 0;
                call(Clear, handle.get());
                call(Next, handle.get(), rows.data(), sizeof(Row), rows.size(), &count);
                at = 0;
            }
            if (count == 0) {
                return false;
            }
            current = View(rows[at]);
            return true;
        }
    };

public:
    /// Goes through the range once. It stays valid when the range is moved.
    class iterator {
    public:
        /// It can be read once.
        using iterator_category = std::input_iterator_tag;
        /// What it gives.
        using value_type = View;
        /// Of no use: there is nothing to subtract.
        using difference_type = std::ptrdiff_t;
        /// Good until the iterator is advanced.
        using pointer = const View *;
        /// Good until the iterator is advanced.
        using reference = const View &;

        /// The end.
        iterator() noexcept = default;
        /// The row that it is at. The row, and the views in it, are good until the iterator is advanced.
        reference operator*() const noexcept { return state_->current; }
        /// As `*`.
        pointer operator->() const noexcept { return &state_->current; }
        /// Goes to the next row. Throws what `tw_iter_next` or `tw_changes_next` say.
        iterator &operator++() {
            if (!state_->advance()) {
                state_ = nullptr;
            }
            return *this;
        }
        /// Goes to the next row. There is no way back, so it gives nothing.
        void operator++(int) { ++*this; }
        /// Both are at the end, or both are not.
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.state_ == b.state_; }
        /// One is at the end, and the other is not.
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.state_ != b.state_; }

    private:
        friend class Rows;
        explicit iterator(State *state) noexcept : state_(state) {}
        State *state_ = nullptr;
    };

    /// The first row, or, where the range was begun before, the one it is at. One thread at a time.
    iterator begin() {
        if (state_ == nullptr) {
            throw Error(Code::InvalidHandle, "the range was moved from");
        }
        return state_->count == 0 && !state_->advance() ? end() : iterator(state_.get());
    }
    /// The end.
    iterator end() const noexcept { return iterator(); }

    /// The handle of the C interface, lent; NULL after it was moved from.
    Object *handle() const noexcept { return state_ == nullptr ? nullptr : state_->handle.get(); }

protected:
    explicit Rows(Handle<Object, Free> handle) : state_(std::make_unique<State>()) {
        state_->handle = std::move(handle);
    }

private:
    std::unique_ptr<State> state_;
};

}  // namespace detail

// ---------------------------------------------------------------------------------------------------------------------
// What is told
// ---------------------------------------------------------------------------------------------------------------------

/// The xxh3-128 of a content, in the order of its hexadecimal digits.
using Hash = std::array<std::uint8_t, 16>;

/// The 32 hexadecimal digits of a hash.
inline std::string hex(const Hash &hash) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * hash.size());
    for (const std::uint8_t byte : hash) {
        text += digits[byte >> 4U];
        text += digits[byte & 15U];
    }
    return text;
}

/// What a program keeps with an entry, by name. The values are any bytes.
using Attrs = std::map<std::string, std::string>;

/// What is known of a path, but for the path itself.
struct EntryFacts {
    std::uint64_t size = 0;             ///< Size in bytes, as the file system says.
    Time mtime;                         ///< When it was modified.
    Time ctime;                         ///< When its inode was changed.
    std::optional<Time> btime;          ///< When it was born, where the file system keeps that.
    std::uint64_t inode = 0;            ///< Inode number.
    std::uint64_t id = 0;               ///< The stable number of the file: it survives moves and restarts.
    std::uint64_t seq = 0;              ///< The commit that changed this entry last.
    std::optional<Time> missing_since;  ///< Of a tombstone: when it went missing.
    std::optional<Hash> hash;           ///< Of the content, where the root keeps hashes.
    std::uint32_t mode = 0;             ///< Type and permission bits, as in stat(2).
    Kind kind = Kind::File;             ///< What it is.
    bool is_racy = false;               ///< It changed so shortly before it was seen that the next scan looks closer.

    /// Nothing.
    EntryFacts() = default;
    /// From a row of the C interface.
    explicit EntryFacts(const tw_entry &row)
        : size(row.size), mtime(detail::time(row.mtime_ns)), ctime(detail::time(row.ctime_ns)),
          btime(detail::optional(row.has_btime, detail::time(row.btime_ns))), inode(row.inode), id(row.id),
          seq(row.seq), missing_since(detail::optional(row.is_missing, detail::time(row.missing_since_ns))),
          mode(row.mode), kind(static_cast<Kind>(row.kind)), is_racy(row.is_racy != 0) {
        if (row.has_hash != 0) {
            std::copy(std::begin(row.hash), std::end(row.hash), hash.emplace().begin());
        }
    }
};

/// What a snapshot knows of a path, as Entries gives it. Make an Entry of it to keep it.
struct EntryView : EntryFacts {
    std::string_view path;                   ///< The address, `ROOT/relative/path`.
    std::optional<std::string_view> target;  ///< Where a symlink points to.

    /// Nothing.
    EntryView() = default;
    /// From a row of the C interface.
    explicit EntryView(const tw_entry &row)
        : EntryFacts(row), path(detail::view(row.path)), target(detail::optional<std::string_view>(row.target)) {}
};

/// What a snapshot knows of a path.
struct Entry : EntryFacts {
    std::string path;                   ///< The address, `ROOT/relative/path`.
    std::optional<std::string> target;  ///< Where a symlink points to.

    /// Nothing.
    Entry() = default;
    /// A copy to keep.
    explicit Entry(const EntryView &view) : EntryFacts(view), path(view.path), target(view.target) {}
};

/// Counts over a subtree.
struct Totals {
    std::uint64_t files = 0;  ///< Files and symlinks.
    std::uint64_t dirs = 0;   ///< Directories, without the one that was asked about.
    std::uint64_t bytes = 0;  ///< Sum of the sizes of files and symlinks.
};

/// What happened, but for the paths.
struct ChangeFacts {
    std::uint64_t seq = 0;                ///< The commit.
    std::uint64_t id = 0;                 ///< The stable number of the entry.
    ChangeKind kind = ChangeKind::Added;  ///< What happened.
    Kind entry_kind = Kind::File;         ///< What it happened to.

    /// Nothing.
    ChangeFacts() = default;
    /// From a row of the C interface.
    explicit ChangeFacts(const tw_change &row)
        : seq(row.seq), id(row.id), kind(static_cast<ChangeKind>(row.kind)),
          entry_kind(static_cast<Kind>(row.entry_kind)) {}
};

/// One change, as Changes gives it. Make a Change of it to keep it.
struct ChangeView : ChangeFacts {
    std::string_view root;                 ///< Name of the root at that time.
    std::string_view path;                 ///< The address, `ROOT/relative/path`.
    std::optional<std::string_view> from;  ///< Of ChangeKind::Moved: the address before.

    /// Nothing.
    ChangeView() = default;
    /// From a row of the C interface.
    explicit ChangeView(const tw_change &row)
        : ChangeFacts(row), root(detail::view(row.root)), path(detail::view(row.path)),
          from(detail::optional<std::string_view>(row.from)) {}
};

/// One change. The changes of one seq happened at once: whoever keeps paths applies every `from`, ChangeKind::Missing
/// and ChangeKind::Forgotten of a seq before the rest, or goes by id.
struct Change : ChangeFacts {
    std::string root;                 ///< Name of the root at that time.
    std::string path;                 ///< The address, `ROOT/relative/path`.
    std::optional<std::string> from;  ///< Of ChangeKind::Moved: the address before.

    /// Nothing.
    Change() = default;
    /// A copy to keep.
    explicit Change(const ChangeView &view)
        : ChangeFacts(view), root(view.root), path(view.path), from(view.from) {}
};

/// How the watching of a root fares.
struct RootLive {
    WatchMode mode = WatchMode::Native;         ///< Native or Poll.
    Coverage coverage = Coverage::Native;       ///< How many directories report changes by themselves.
    std::optional<std::string> coverage_reason; ///< Why not all of them do.
    bool is_coherent = false;                   ///< Nothing is known to be unknown.
    bool is_scanning = false;                   ///< A scan or look is under way.
    std::uint64_t watched_dirs = 0;             ///< Directories that are watched.
    std::uint64_t uncovered_dirs = 0;           ///< Directories that are polled; 10,001 means more.
    std::uint64_t pending = 0;                  ///< Names and directories heard of and not looked at yet.
    std::uint64_t events = 0;                   ///< Events received since watching began.
    std::uint64_t overflows = 0;                ///< Times that events were lost since watching began.
    std::optional<Time> next_quick;             ///< The next scheduled quick scan.
    std::optional<Time> next_full;              ///< The next scheduled full scan.
    std::optional<Time> next_reconcile;         ///< The next scan although nothing was heard.
};

/// A root.
struct Root {
    std::string name;                             ///< First component of every address in it.
    std::filesystem::path path;                   ///< The directory on this machine.
    std::vector<std::string> ignore;              ///< The ignore patterns.
    std::string fs_type;                          ///< Type of the file system.
    std::uint32_t id = 0;                         ///< Number of the root, never used again after its removal.
    RootState state = RootState::New;             ///< Whether it can be trusted.
    std::optional<std::string> reason;            ///< Of RootState::Unavailable: what was found, and what to do.
    std::uint64_t held_missing = 0;               ///< Of RootState::Held: files that would become missing.
    std::uint64_t held_of = 0;                    ///< Of RootState::Held: files known then.
    Totals totals;                                ///< What is known of it.
    std::optional<Time> last_scan;                ///< End of the last scan that changed something.
    ContentHash content_hash = ContentHash::Off;  ///< Whether content hashes are kept.
    Compare compare = Compare::Auto;              ///< The comparison in force.
    Compare compare_asked = Compare::Auto;        ///< The comparison that was asked for.
    std::optional<RootLive> live;                 ///< How the watching fares, while it is watched or polled.

    /// Nothing.
    Root() = default;
    /// From a row of the C interface.
    explicit Root(const tw_root &row)
        : name(detail::text(row.name)), path(detail::view(row.path)), fs_type(detail::text(row.fs_type)), id(row.id),
          state(static_cast<RootState>(row.state)), reason(detail::optional<std::string>(row.reason)),
          held_missing(row.held_missing), held_of(row.held_of), totals{row.files, row.dirs, row.bytes},
          last_scan(detail::optional(row.has_last_scan, detail::time(row.last_scan_ns))),
          content_hash(static_cast<ContentHash>(row.content_hash)), compare(static_cast<Compare>(row.compare)),
          compare_asked(static_cast<Compare>(row.compare_asked)) {
        for (std::string_view rest = detail::view(row.ignore); !rest.empty();) {
            const std::size_t end = rest.find('\n');
            ignore.emplace_back(rest.substr(0, end));
            rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        }
        if (row.is_watched != 0) {
            RootLive &told = live.emplace();
            told.mode = static_cast<WatchMode>(row.watch_mode);
            told.coverage = static_cast<Coverage>(row.coverage);
            told.coverage_reason = detail::optional<std::string>(row.coverage_reason);
            told.is_coherent = row.is_coherent != 0;
            told.is_scanning = row.is_scanning != 0;
            told.watched_dirs = row.watched_dirs;
            told.uncovered_dirs = row.uncovered_dirs;
            told.pending = row.pending;
            told.events = row.events;
            told.overflows = row.overflows;
            told.next_quick = detail::optional(row.has_next_quick, detail::time(row.next_quick_ns));
            told.next_full = detail::optional(row.has_next_full, detail::time(row.next_full_ns));
            told.next_reconcile = detail::optional(row.has_next_reconcile, detail::time(row.next_reconcile_ns));
        }
    }
};

/// One path that could not be looked at.
struct ScanError {
    std::string path;      ///< The address.
    std::string message;   ///< What happened.
    Code code = Code::Io;  ///< The same as a code.

    /// Nothing.
    ScanError() = default;
    /// From a row of the C interface.
    explicit ScanError(const tw_scan_error &row)
        : path(detail::text(row.path)), message(detail::text(row.message)), code(static_cast<Code>(row.status)) {}
};

/// How many of all files and symlinks would become missing.
struct Held {
    std::uint64_t missing = 0;  ///< So many would.
    std::uint64_t of = 0;       ///< So many are known.
};

/// What became of one target of a scan. Counts are of files and symlinks, not of directories.
struct Report {
    std::string root;                        ///< Name of the root.
    std::uint64_t seq = 0;                   ///< The commit that the state is at after the scan.
    ScanMode mode = ScanMode::Quick;         ///< How deep the scan looked.
    std::uint64_t added = 0;                 ///< Seen for the first time.
    std::uint64_t modified = 0;              ///< Changed.
    std::uint64_t moved = 0;                 ///< Found under another path.
    std::uint64_t missing = 0;               ///< Proved to be gone.
    std::uint64_t restored = 0;              ///< Back again.
    std::uint64_t forgotten = 0;             ///< Dropped: ignored now, or of another root.
    std::uint64_t unchanged = 0;             ///< Looked at and as before.
    std::uint64_t dirs = 0;                  ///< Directories listed.
    std::uint64_t files = 0;                 ///< Files and symlinks seen.
    std::uint64_t bytes = 0;                 ///< Sum of their sizes.
    std::uint64_t special = 0;               ///< FIFOs, sockets and devices seen; never entries.
    std::uint64_t errors = 0;                ///< Paths that could not be looked at; each keeps its last state.
    std::vector<ScanError> first_errors;     ///< The first 100 of them.
    std::uint64_t corrupt = 0;               ///< Content that changed under an unchanged fingerprint.
    std::optional<std::string> unavailable;  ///< Why nothing was applied: the root cannot be trusted.
    std::optional<Held> held;                ///< Why nothing was applied: too much would become missing.
    bool is_cancelled = false;               ///< It was cancelled; nothing was applied.
    bool is_published = false;               ///< It made a commit.
    bool is_clean = false;                   ///< Everything could be looked at, and the result was applied.
    bool is_unchanged = false;               ///< No file or symlink changed.
    Milliseconds elapsed{0};                 ///< Time taken.
    Milliseconds walk{0};                    ///< Of it for listing, looking and comparing.
    Milliseconds hash{0};                    ///< Of it for reading content.
    Milliseconds commit{0};                  ///< Of it for writing and publishing.

    /// Nothing.
    Report() = default;
    /// From a row of the C interface, without the first errors.
    explicit Report(const tw_report &row)
        : root(detail::text(row.root)), seq(row.seq), mode(static_cast<ScanMode>(row.mode)), added(row.added),
          modified(row.modified), moved(row.moved), missing(row.missing), restored(row.restored),
          forgotten(row.forgotten), unchanged(row.unchanged), dirs(row.dirs), files(row.files), bytes(row.bytes),
          special(row.special), errors(row.errors), corrupt(row.corrupt),
          unavailable(detail::optional<std::string>(row.unavailable)),
          held(detail::optional(row.is_held, Held{row.held_missing, row.held_of})),
          is_cancelled(row.is_cancelled != 0), is_published(row.is_published != 0), is_clean(row.is_clean != 0),
          is_unchanged(row.is_unchanged != 0), elapsed(detail::duration(row.elapsed_ms)),
          walk(detail::duration(row.walk_ms)), hash(detail::duration(row.hash_ms)),
          commit(detail::duration(row.commit_ms)) {}
};

/// How far a scan has come.
struct Progress {
    std::string_view root;                        ///< Name of the root; good until the lambda returns.
    Phase phase = Phase::Walk;                    ///< What it is doing.
    std::uint64_t dirs = 0;                       ///< Directories listed so far.
    std::uint64_t files = 0;                      ///< Files and symlinks looked at, or read, so far.
    std::uint64_t bytes = 0;                      ///< Bytes of them.
    double files_per_s = 0;                       ///< Files a second since the phase began.
    std::optional<std::uint64_t> estimate_files;  ///< Files expected.
    std::optional<Milliseconds> eta;              ///< Time to go.

    /// Nothing.
    Progress() = default;
    /// From a row of the C interface.
    explicit Progress(const tw_progress &row)
        : root(detail::view(row.root)), phase(static_cast<Phase>(row.phase)), dirs(row.dirs), files(row.files),
          bytes(row.bytes), files_per_s(row.files_per_s),
          estimate_files(detail::optional(row.has_estimate_files, row.estimate_files)),
          eta(detail::optional(row.has_eta_ms, detail::duration(row.eta_ms))) {}
};

/// One row of the history: a scan or a batch that changed something, or that failed to. Counts are of files and
/// symlinks.
struct Operation {
    std::uint64_t id = 0;                          ///< Number of the row.
    OperationKind kind = OperationKind::Quick;     ///< What ran.
    OperationStatus status = OperationStatus::Ok;  ///< How it ended.
    std::string root;                              ///< Name of the root at that time; empty where it concerns all.
    Time start;                                    ///< Start.
    Time end;                                      ///< End.
    std::uint64_t seq = 0;                         ///< The commit that holds its result.
    std::uint64_t added = 0;                       ///< Seen for the first time.
    std::uint64_t modified = 0;                    ///< Changed.
    std::uint64_t moved = 0;                       ///< Found under another path.
    std::uint64_t missing = 0;                     ///< Proved to be gone.
    std::uint64_t restored = 0;                    ///< Back again.
    std::uint64_t forgotten = 0;                   ///< Dropped from the state.
    std::uint64_t errors = 0;                      ///< Paths that could not be read.
    std::optional<std::string> error;              ///< Why it did not end well.

    /// Nothing.
    Operation() = default;
    /// From a row of the C interface.
    explicit Operation(const tw_operation &row)
        : id(row.id), kind(static_cast<OperationKind>(row.kind)), status(static_cast<OperationStatus>(row.status)),
          root(detail::text(row.root)), start(detail::time(row.start_ns)), end(detail::time(row.end_ns)), seq(row.seq),
          added(row.added), modified(row.modified), moved(row.moved), missing(row.missing), restored(row.restored),
          forgotten(row.forgotten), errors(row.errors), error(detail::optional<std::string>(row.error)) {}
};

/// One path at which disk and state differ.
struct Difference {
    std::string path;                               ///< The address.
    DifferenceKind what = DifferenceKind::Changed;  ///< How they differ.

    /// Nothing.
    Difference() = default;
    /// From a row of the C interface.
    explicit Difference(const tw_difference &row)
        : path(detail::text(row.path)), what(static_cast<DifferenceKind>(row.what)) {}
};

/// What a verification has found.
struct VerifyReport {
    std::uint64_t checked = 0;            ///< Files and symlinks looked at.
    std::uint64_t differences_total = 0;  ///< Paths at which disk and state differ.
    std::vector<Difference> differences;  ///< The first 10,000 of them, in path order within each root.
    std::uint64_t errors = 0;             ///< Paths that could not be looked at, and roots that are unavailable.
    std::vector<ScanError> first_errors;  ///< The first 100 of them.
};

/// What a rebuild has saved.
struct RebuildReport {
    std::filesystem::path kept_as;   ///< Where the damaged file is kept.
    std::uint64_t roots = 0;         ///< Roots saved.
    std::uint64_t entries = 0;       ///< Files and symlinks saved.
    std::uint64_t lost_rows = 0;     ///< Rows that could not be read.
    std::uint64_t spaces_rows = 0;   ///< Values of spaces saved.
};

/// What was found on disk under an address.
struct DiskView {
    Kind kind = Kind::File;   ///< What it is, Kind::Special too.
    std::uint64_t size = 0;   ///< Size in bytes.
    Time mtime;               ///< When it was modified.
    Time ctime;               ///< When its inode was changed.
    std::uint64_t inode = 0;  ///< Inode number.
    std::uint32_t mode = 0;   ///< Type and permission bits, as in stat(2).
};

/// All that is known about one address, and what is on disk under it.
struct Explanation {
    std::string address;                         ///< The address.
    std::string verdict;                         ///< `current`, `changed`, `new`, `missing`, `gone`, `ignored`,
                                                 ///< `unknown`, `special`, `unreadable` or `unavailable`.
    std::vector<std::string> reasons;            ///< Why, in sentences.
    std::optional<std::string> ignored_by;       ///< The pattern that ignores it.
    std::optional<Entry> known;                  ///< As known: the entry, or, where there is none, the tombstone.
    bool has_entry = false;                      ///< It is known to be there.
    std::optional<Time> missing_since;           ///< Of the tombstone, also beside an entry.
    std::optional<std::uint64_t> missing_id;     ///< Of the tombstone: the stable number of the file that was there.
    std::optional<DiskView> disk;                ///< What is on disk.
    std::map<std::string, std::uint64_t> attrs;  ///< Attributes, by name, with the number of their bytes.
    std::optional<Root> root;                    ///< The root that the address names.
};

/// The engine at one glance. What is said of watching is the sum of all watched roots.
struct Status {
    std::string database_id;                      ///< 32 hexadecimal digits.
    std::uint32_t format_version = 0;             ///< Version of the format of the state file.
    Durability durability = Durability::Durable;  ///< When a commit counts as done.
    std::uint64_t seq = 0;                        ///< The last commit.
    std::uint64_t file_bytes = 0;                 ///< Size of the state file.
    std::uint64_t journal_first_seq = 0;          ///< First commit that the journal still tells about.
    std::uint64_t journal_last_seq = 0;           ///< Last commit that the journal can tell about.
    Totals totals;                                ///< What is known of all roots.
    std::uint64_t missing = 0;                    ///< Tombstones of files and symlinks.
    std::uint64_t roots = 0;                      ///< How many roots there are.
    std::uint64_t cursors = 0;                    ///< How many named cursors there are.
    std::uint64_t pipelines = 0;                  ///< How many pipelines this process has opened.
    bool is_watching = false;                     ///< Between watch() and unwatch().
    bool is_paused = false;                       ///< Between pause() and resume().
    bool is_coherent = false;                     ///< Nothing is known to be unknown in any watched root.
    Coverage coverage = Coverage::Native;         ///< How many directories report changes by themselves.
    Backend backend = Backend::Auto;              ///< Where events come from, while it is watching.
    std::uint64_t watched_roots = 0;              ///< Roots that are watched or polled.
    std::uint64_t scanning_roots = 0;             ///< Roots in which a scan or look is under way.
    std::uint64_t watched_dirs = 0;               ///< Directories that are watched.
    std::uint64_t uncovered_dirs = 0;             ///< Directories of watched roots that are polled.
    std::uint64_t pending = 0;                    ///< Names and directories heard of and not looked at yet.
    std::uint64_t events = 0;                     ///< Events received since watching began.
    std::uint64_t overflows = 0;                  ///< Times that events were lost since watching began.

    /// Nothing.
    Status() = default;
    /// From a row of the C interface.
    explicit Status(const tw_status_info &row)
        : database_id(row.database_id), format_version(row.format_version),
          durability(static_cast<Durability>(row.durability)), seq(row.seq), file_bytes(row.file_bytes),
          journal_first_seq(row.journal_first_seq), journal_last_seq(row.journal_last_seq),
          totals{row.files, row.dirs, row.bytes}, missing(row.missing), roots(row.roots), cursors(row.cursors),
          pipelines(row.pipelines), is_watching(row.is_watching != 0), is_paused(row.is_paused != 0),
          is_coherent(row.is_coherent != 0), coverage(static_cast<Coverage>(row.coverage)),
          backend(static_cast<Backend>(row.backend)), watched_roots(row.watched_roots),
          scanning_roots(row.scanning_roots), watched_dirs(row.watched_dirs), uncovered_dirs(row.uncovered_dirs),
          pending(row.pending), events(row.events), overflows(row.overflows) {}
};

/// Something that happened. EventKind says which fields are set.
struct Event {
    EventKind kind = EventKind::Unknown;              ///< What it is.
    std::string root;                                 ///< Name of the root.
    std::string text;                                 ///< A reason or message for people.
    std::optional<OperationKind> operation;           ///< What ran.
    std::optional<OperationStatus> operation_status;  ///< How it ended.
    std::optional<Coverage> coverage;                 ///< How the root is watched now.
    std::uint64_t seq = 0;                            ///< The commit that holds the result of a scan.
    std::uint64_t first_seq = 0;                      ///< The first commit that the event tells of.
    std::uint64_t last_seq = 0;                       ///< The last one.
    std::uint64_t restart_seq = 0;                    ///< The events that follow tell of commits after this one.
    std::uint64_t added = 0;                          ///< Files and symlinks seen for the first time.
    std::uint64_t modified = 0;                       ///< Files and symlinks that changed.
    std::uint64_t moved = 0;                          ///< Files and symlinks found under another path.
    std::uint64_t missing = 0;                        ///< Files and symlinks that are gone, or would be.
    std::uint64_t restored = 0;                       ///< Files and symlinks that are back again.
    std::uint64_t forgotten = 0;                      ///< Files and symlinks dropped from the state.
    std::uint64_t errors = 0;                         ///< Paths that could not be read.
    std::uint64_t known = 0;                          ///< Files and symlinks known, of a root that is held.
    std::uint64_t dirs = 0;                           ///< Directories looked at so far.
    std::uint64_t files = 0;                          ///< Files and symlinks looked at so far.
    std::uint64_t bytes = 0;                          ///< Bytes hashed so far.
    std::optional<std::uint64_t> estimate_files;      ///< Files and symlinks that are expected.
    std::optional<Milliseconds> eta;                  ///< The time that is still expected.
    Milliseconds elapsed{0};                          ///< How long the scan took.

    /// Nothing.
    Event() = default;
    /// From a row of the C interface.
    explicit Event(const tw_event &row)
        : kind(static_cast<EventKind>(row.kind)), root(detail::text(row.root)), text(detail::text(row.text)),
          operation(known_or_none<OperationKind>(row.operation)),
          operation_status(known_or_none<OperationStatus>(row.operation_status)),
          coverage(known_or_none<Coverage>(row.coverage)), seq(row.seq), first_seq(row.first_seq),
          last_seq(row.last_seq), restart_seq(row.restart_seq), added(row.added), modified(row.modified),
          moved(row.moved), missing(row.missing), restored(row.restored), forgotten(row.forgotten), errors(row.errors),
          known(row.known), dirs(row.dirs), files(row.files), bytes(row.bytes),
          estimate_files(detail::optional(row.has_estimate_files, row.estimate_files)),
          eta(detail::optional(row.has_eta_ms, detail::duration(row.eta_ms))),
          elapsed(detail::duration(row.elapsed_ms)) {}

private:
    template <class Enum>
    static std::optional<Enum> known_or_none(std::int32_t number) {
        return detail::optional(number >= 0, static_cast<Enum>(number));
    }
};

/// One item of a pipeline.
struct WorkItem {
    std::string path;                  ///< Address of the file, or key of the group.
    WorkState state = WorkState::New;  ///< How it stands; Processing while it is held.
    bool is_dead = false;              ///< It has failed for good.

    /// Nothing.
    WorkItem() = default;
    /// From a row of the C interface.
    explicit WorkItem(const tw_work_item &row)
        : path(detail::text(row.path)), state(static_cast<WorkState>(row.state)), is_dead(row.is_dead != 0) {}
};

/// All that is known of one item of a pipeline, and why.
struct WorkExplanation {
    std::string path;                         ///< Address of the file, or key of the group.
    WorkState state = WorkState::New;         ///< How it stands, without regard to a lease.
    std::string why;                          ///< Why it stands so, in words.
    Priority priority = Priority::High;       ///< The class in which it waits or would wait.
    std::optional<Priority> requested;        ///< The class in which somebody has asked for it.
    std::optional<Time> due;                  ///< When it is due; otherwise never by itself.
    std::optional<Time> done;                 ///< When it was completed last.
    std::optional<Time> refresh_at;           ///< When it is to be refreshed.
    std::uint32_t attempts = 0;               ///< Failures of this content in a row.
    bool is_dead = false;                     ///< It has failed for good.
    std::optional<std::string> last_error;    ///< Why the last attempt failed.
    std::optional<std::string> lease_holder;  ///< Who holds a lease on it.
    std::optional<Time> lease_until;          ///< Until when the lease holds.
    std::optional<std::string> content_done;  ///< What identifies the content that was done.
    std::optional<std::string> content_now;   ///< What identifies the content now.
    Attrs attrs;                              ///< What the worker has stored with it.

    /// Nothing.
    WorkExplanation() = default;
    /// From a row of the C interface, without the attributes.
    explicit WorkExplanation(const tw_work_explanation &row)
        : path(detail::text(row.path)), state(static_cast<WorkState>(row.state)), why(detail::text(row.why)),
          priority(static_cast<Priority>(row.priority)),
          requested(detail::optional(row.has_requested, static_cast<Priority>(row.requested))),
          due(detail::optional(row.has_due, detail::time(row.due_ns))),
          done(detail::optional(row.has_done, detail::time(row.done_ns))),
          refresh_at(detail::optional(row.has_refresh_at, detail::time(row.refresh_at_ns))), attempts(row.attempts),
          is_dead(row.is_dead != 0), last_error(detail::optional<std::string>(row.last_error)),
          lease_holder(detail::optional<std::string>(row.lease_holder)),
          lease_until(detail::optional(row.lease_holder.ptr != nullptr, detail::time(row.lease_until_ns))),
          content_done(detail::optional<std::string>(row.content_done)),
          content_now(detail::optional<std::string>(row.content_now)) {}
};

/// A tier of Refresh::Tiers.
struct RefreshTier {
    std::optional<Milliseconds> younger_than;  ///< It is for what is younger than this; nothing for all that is older.
    Milliseconds after{};                      ///< So long after its completion it is done anew.
};

/// The runs in which a pipeline hands out what is to be refreshed.
struct RefreshRun {
    std::string schedule;     ///< When one begins, as PipelineOptions::refresh_schedule() takes it.
    std::uint32_t batch = 0;  ///< Items between two pauses; 4,294,967,295 stands for all of them.
    Milliseconds gap{};       ///< The pause.
};

/// The rate of a pipeline.
struct PipelineRate {
    std::uint32_t limit = 0;           ///< Jobs that begin in any window at most.
    Milliseconds window{};             ///< That window.
    bool pacing = false;               ///< They begin evenly spread over it.
    std::uint32_t floor_permille = 0;  ///< How far throttling may lower the limit, in thousandths of it.
};

/// A pipeline and its options, as they were given last.
struct PipelineInfo {
    std::string name;                       ///< Its name.
    std::vector<std::string> roots;         ///< The roots it works on; none stands for all, present and future.
    std::vector<std::string> globs;         ///< Its patterns; none stands for every file and symlink.
    Group group = Group::None;              ///< Which files are one job.
    std::uint32_t group_depth = 0;          ///< Of Group::Depth: how many components files share.
    std::optional<std::string> group_name;  ///< Of Group::Function: the name of the function.
    std::uint32_t version = 0;              ///< Version of what is done with a file.
    Priority priority = Priority::High;     ///< Class of its new files.
    std::uint32_t concurrency = 0;          ///< Jobs handed out at once; 0: no bound.
    Milliseconds settle{};                  ///< For how long a file must be still.
    Milliseconds lease{};                   ///< For how long a job is held without being renewed.
    Milliseconds retry_base{};              ///< Wait after the first failure.
    Milliseconds retry_cap{};               ///< Longest wait after a failure.
    bool retry_jitter = false;              ///< Each wait is longer by a random 0 to 10 percent.
    std::uint32_t attempts_max = 0;         ///< Failures in a row after which an item is dead.
    std::uint32_t crashes_max = 0;          ///< Crashes in a row after which an item is dead; 0 for never.
    Refresh refresh = Refresh::Never;       ///< When a completed item is done anew.
    Milliseconds refresh_after{};           ///< Of Refresh::After: so long after its completion.
    std::vector<RefreshTier> tiers;         ///< Of Refresh::Tiers: by rising age.
    std::optional<RefreshRun> refresh_run;  ///< Nothing where it is handed out whenever it is due.
    std::optional<PipelineRate> rate;       ///< Nothing without a limit.
    bool paths_matter = false;              ///< A file that was moved is done anew.

    /// Nothing.
    PipelineInfo() = default;
    /// From a row of the C interface, without what comes in rows of its own.
    explicit PipelineInfo(const tw_pipeline_info &row)
        : name(detail::text(row.name)), group(static_cast<Group>(row.group)), group_depth(row.group_depth),
          group_name(detail::optional<std::string>(row.group_name)), version(row.version),
          priority(static_cast<Priority>(row.priority)), concurrency(row.concurrency),
          settle(detail::duration(row.settle_ms)), lease(detail::duration(row.lease_ms)),
          retry_base(detail::duration(row.retry_base_ms)), retry_cap(detail::duration(row.retry_cap_ms)),
          retry_jitter(row.retry_jitter != 0), attempts_max(row.attempts_max), crashes_max(row.crashes_max),
          refresh(static_cast<Refresh>(row.refresh)), refresh_after(detail::duration(row.refresh_after_ms)),
          paths_matter(row.paths_matter != 0) {
        if (row.refresh_schedule.ptr != nullptr) {
            refresh_run = RefreshRun{detail::text(row.refresh_schedule), row.refresh_batch,
                                     detail::duration(row.refresh_gap_ms)};
        }
        if (row.has_rate != 0) {
            rate = PipelineRate{row.rate_limit, detail::duration(row.rate_window_ms), row.rate_pacing != 0,
                                row.rate_floor_permille};
        }
    }
};

/// A pipeline at one glance, in items.
struct PipelineStatus {
    std::string name;                        ///< Its name.
    std::uint64_t new_items = 0;             ///< Never done.
    std::uint64_t changed = 0;               ///< Of another content or version than was done.
    std::uint64_t stale = 0;                 ///< Their refresh time has come.
    std::uint64_t error = 0;                 ///< Their last attempt failed, the dead ones included.
    std::uint64_t missing = 0;               ///< Gone, and to be cleaned up.
    std::uint64_t processing = 0;            ///< Leases in force.
    std::uint64_t indexed = 0;               ///< With nothing to do.
    std::uint64_t dead = 0;                  ///< Of those in error, the ones not tried again by themselves.
    std::uint64_t requested = 0;             ///< Somebody has asked for them.
    std::optional<Milliseconds> oldest_due;  ///< How long the item that is due for longest has waited.
    std::optional<Time> next_due;            ///< When something that is not due now will be; it may be before that.
    double done_per_minute = 0;              ///< Over the last nine full minutes of this process.

    /// Nothing.
    PipelineStatus() = default;
    /// From a row of the C interface.
    explicit PipelineStatus(const tw_pipeline_status_info &row)
        : name(detail::text(row.name)), new_items(row.new_items), changed(row.changed), stale(row.stale),
          error(row.error), missing(row.missing), processing(row.processing), indexed(row.indexed), dead(row.dead),
          requested(row.requested),
          oldest_due(detail::optional(row.has_oldest_due, detail::duration(row.oldest_due_ms))),
          next_due(detail::optional(row.has_next_due, detail::time(row.next_due_ns))),
          done_per_minute(row.done_per_minute) {}
};

/// What asking for files came to, in items.
struct RequestReport {
    std::uint64_t added = 0;       ///< Nothing was to be done about them: now something is.
    std::uint64_t merged = 0;      ///< They waited in that class, or in a better one, already.
    std::uint64_t promoted = 0;    ///< They waited, and have come forward.
    std::uint64_t will_rerun = 0;  ///< Somebody works on them: they are done once more afterwards.
};

/// How a limiter stands.
struct LimiterStatus {
    std::uint32_t limit = 0;            ///< Requests in any window, as asked for.
    std::uint32_t effective_limit = 0;  ///< At the moment: the limit, or less after throttling.
    std::uint32_t in_window = 0;        ///< The cost of the permits that count now.
    std::uint64_t waiting = 0;          ///< Calls that wait.
    std::optional<Time> paused_until;   ///< Until when nobody is granted anything because of throttling.
    std::uint64_t granted = 0;          ///< Permits granted since the limiter was made.
    std::uint64_t throttled = 0;        ///< Reports of throttling since then.
    std::uint64_t succeeded = 0;        ///< Reports of success since then.

    /// Nothing.
    LimiterStatus() = default;
    /// From a row of the C interface.
    explicit LimiterStatus(const tw_limiter_status_info &row)
        : limit(row.limit), effective_limit(row.effective_limit), in_window(row.in_window), waiting(row.waiting),
          paused_until(detail::optional(row.has_paused_until, detail::time(row.paused_until_ns))),
          granted(row.granted), throttled(row.throttled), succeeded(row.succeeded) {}
};

/// A mirror as it is stored, with its options as they were given last. No secret is part of it.
struct MirrorInfo {
    std::string name;                       ///< Its name.
    std::string address;                    ///< The address that it copies.
    std::string place;                      ///< Where to, for people.
    std::optional<std::string> target;      ///< Where to, as MirrorOptions takes it, without a prefix.
    std::optional<std::string> endpoint;    ///< Where requests are sent to; nothing for the store's own address.
    std::optional<std::string> region;      ///< The region, where one was set.
    std::optional<std::string> public_url;  ///< What the URLs of its objects begin with.
    bool is_virtual_hosted = false;         ///< The name of the bucket is part of the host name.
    bool has_opaque_etags = false;          ///< Entity tags are no MD5 sums.
    std::string prefix;                     ///< What every key begins with, before a slash; empty for nothing.
    std::vector<std::string> globs;         ///< Its patterns; none stands for every file.
    std::optional<std::string> cache_control;  ///< `Cache-Control` of every object.
    /// Extensions and their content types, besides the usual ones.
    std::vector<std::pair<std::string, std::string>> content_types;
    std::uint32_t uploads_max = 0;       ///< Files that are sent at a time.
    std::uint64_t part_bytes = 0;        ///< Bytes of one piece, and of the parts of larger files.
    std::uint64_t memory_bytes = 0;      ///< Bytes of files that are in memory at a time.
    std::optional<std::uint64_t> bandwidth_bytes_per_s;  ///< Bytes a second at most; nothing without a limit.
    std::uint32_t attempts_max = 0;      ///< How often a request is tried in one run.
    Milliseconds backoff{};              ///< The wait before the second attempt, which doubles each time.
    Milliseconds backoff_max{};          ///< The longest one.
    std::uint64_t delete_max = 0;        ///< Deletions beyond which all wait for confirmation; 0: every one waits.
    std::uint32_t delete_share_percent = 0;  ///< Share of all objects beyond which 100 deletions or more wait.
    Milliseconds settle{};               ///< For how long a file must be still.
    bool purge_new = false;              ///< The CDN is told of new objects too.

    /// Nothing.
    MirrorInfo() = default;
    /// From a row of the C interface, without what comes in rows of its own.
    explicit MirrorInfo(const tw_mirror_info &row)
        : name(detail::text(row.name)), address(detail::text(row.address)), place(detail::text(row.place)),
          target(detail::optional<std::string>(row.target)), endpoint(detail::optional<std::string>(row.endpoint)),
          region(detail::optional<std::string>(row.region)),
          public_url(detail::optional<std::string>(row.public_url)), is_virtual_hosted(row.is_virtual_hosted != 0),
          has_opaque_etags(row.has_opaque_etags != 0), prefix(detail::text(row.prefix)),
          cache_control(detail::optional<std::string>(row.cache_control)), uploads_max(row.uploads_max),
          part_bytes(row.part_bytes), memory_bytes(row.memory_bytes),
          bandwidth_bytes_per_s(detail::optional(row.has_bandwidth, row.bandwidth_bytes_per_s)),
          attempts_max(row.attempts_max), backoff(detail::duration(row.backoff_ms)),
          backoff_max(detail::duration(row.backoff_max_ms)), delete_max(row.delete_max),
          delete_share_percent(row.delete_share_percent), settle(detail::duration(row.settle_ms)),
          purge_new(row.purge_new != 0) {}
};

/// How a mirror stands. From `runs` on the numbers only rise, since it was opened.
struct MirrorStatus {
    std::string name;                        ///< Its name.
    std::string address;                     ///< The address that it copies.
    std::string place;                       ///< Where to, without any secret.
    std::string prefix;                      ///< What every key begins with.
    bool is_running = false;                 ///< A run is under way.
    bool is_following = false;               ///< It follows its root by itself.
    std::uint64_t objects = 0;               ///< Objects that are acknowledged.
    std::uint64_t object_bytes = 0;          ///< Their bytes.
    std::uint64_t unsure = 0;                ///< Objects of which it is not known what is there.
    std::optional<std::uint64_t> pending;    ///< Paths to be looked at again; nothing before the first run.
    std::optional<Time> oldest_pending;      ///< When the oldest of them came.
    std::uint64_t held = 0;                  ///< Deletions that wait for confirmation since the last run.
    std::uint64_t purges_waiting = 0;        ///< URLs that a CDN is still to forget.
    std::optional<Time> oldest_purge;        ///< When the oldest of them was queued.
    std::optional<std::uint64_t> last_seq;   ///< The commit of the last run that ended well.
    std::optional<Time> last_run;            ///< When the last run ended.
    std::optional<std::string> last_error;   ///< Why it was given up, if it was.
    std::uint64_t runs = 0;                  ///< Runs that ended.
    std::uint64_t runs_failed = 0;           ///< Runs that were given up.
    std::uint64_t uploaded = 0;              ///< Files sent and acknowledged.
    std::uint64_t uploaded_bytes = 0;        ///< Their bytes.
    std::uint64_t copied = 0;                ///< Objects copied within the store.
    std::uint64_t deleted = 0;               ///< Objects deleted.
    std::uint64_t failed = 0;                ///< Files and objects that failed in a run.
    std::uint64_t retries = 0;               ///< Requests repeated.
    std::uint64_t purged = 0;                ///< URLs that a CDN has forgotten.
    std::uint64_t purge_failures = 0;        ///< Calls to the CDN that failed.

    /// Nothing.
    MirrorStatus() = default;
    /// From a row of the C interface.
    explicit MirrorStatus(const tw_mirror_status_info &row)
        : name(detail::text(row.name)), address(detail::text(row.address)), place(detail::text(row.place)),
          prefix(detail::text(row.prefix)), is_running(row.is_running != 0), is_following(row.is_following != 0),
          objects(row.objects), object_bytes(row.object_bytes), unsure(row.unsure),
          pending(detail::optional(row.has_pending, row.pending)),
          oldest_pending(detail::optional(row.has_oldest_pending, detail::time(row.oldest_pending_ns))),
          held(row.held), purges_waiting(row.purges_waiting),
          oldest_purge(detail::optional(row.has_oldest_purge, detail::time(row.oldest_purge_ns))),
          last_seq(detail::optional(row.has_last_seq, row.last_seq)),
          last_run(detail::optional(row.has_last_run, detail::time(row.last_run_ns))),
          last_error(detail::optional<std::string>(row.last_error)), runs(row.runs), runs_failed(row.runs_failed),
          uploaded(row.uploaded), uploaded_bytes(row.uploaded_bytes), copied(row.copied), deleted(row.deleted),
          failed(row.failed), retries(row.retries), purged(row.purged), purge_failures(row.purge_failures) {}
};

/// A file that could not be copied, or an object that could not be deleted.
struct MirrorError {
    std::string path;                ///< The address of the file.
    std::optional<std::string> key;  ///< The key of its object, where it has one.
    std::string message;             ///< What happened.
    bool is_permanent = false;       ///< It will never work as it is: the name or size is not allowed.

    /// Nothing.
    MirrorError() = default;
    /// From a row of the C interface.
    explicit MirrorError(const tw_mirror_error &row)
        : path(detail::text(row.path)), key(detail::optional<std::string>(row.key)),
          message(detail::text(row.message)), is_permanent(row.is_permanent != 0) {}
};

/// What one run of a mirror has done.
struct MirrorReport {
    std::uint64_t seq = 0;                  ///< The commit that the copy was brought in step with.
    std::uint64_t uploaded = 0;             ///< Files that were sent and acknowledged.
    std::uint64_t uploaded_bytes = 0;       ///< Their bytes.
    std::uint64_t copied = 0;               ///< Objects that were copied to another key within the store.
    std::uint64_t deleted = 0;              ///< Objects that were deleted.
    std::uint64_t changed = 0;              ///< Files that changed meanwhile: they come with the next run.
    std::uint64_t unsettled = 0;            ///< Files that have not been still for long enough.
    std::uint64_t failed = 0;               ///< Files and objects that failed, those of `refused` not counted.
    std::uint64_t refused = 0;              ///< Files that the store can hold under no name.
    std::uint64_t held = 0;                 ///< Deletions that wait for confirmation: too many at once.
    std::uint64_t purged = 0;               ///< URLs that a CDN has forgotten.
    std::uint64_t purges_waiting = 0;       ///< URLs that a CDN is still to forget.
    std::uint64_t retries = 0;              ///< Requests that were repeated.
    std::vector<MirrorError> first_errors;  ///< The first 100 failures.
    bool is_complete = false;               ///< Nothing is left, but for names that the store cannot hold.
    Milliseconds elapsed{0};                ///< Time taken.

    /// Nothing.
    MirrorReport() = default;
    /// From a row of the C interface, without the first errors.
    explicit MirrorReport(const tw_mirror_report &row)
        : seq(row.seq), uploaded(row.uploaded), uploaded_bytes(row.uploaded_bytes), copied(row.copied),
          deleted(row.deleted), changed(row.changed), unsettled(row.unsettled), failed(row.failed),
          refused(row.refused), held(row.held), purged(row.purged), purges_waiting(row.purges_waiting),
          retries(row.retries), is_complete(row.is_complete != 0), elapsed(detail::duration(row.elapsed_ms)) {}
};

/// One step of a plan.
struct MirrorStep {
    MirrorStepKind kind = MirrorStepKind::Unknown;  ///< What is done.
    std::string path;                               ///< The address of the file.
    std::string from;                               ///< The key of the object that is copied.
    std::string key;                                ///< The key of the object that comes into being or is deleted.
    std::uint64_t bytes = 0;                        ///< The size of the file.

    /// Nothing.
    MirrorStep() = default;
    /// From a row of the C interface.
    explicit MirrorStep(const tw_mirror_step &row)
        : kind(static_cast<MirrorStepKind>(row.kind)), path(detail::text(row.path)), from(detail::text(row.from)),
          key(detail::text(row.key)), bytes(row.bytes) {}
};

/// What the next run of a mirror would do.
struct MirrorPlan {
    std::uint64_t seq = 0;                   ///< The commit of the snapshot that it was made from.
    std::vector<MirrorStep> steps;           ///< Each step in the order of a run: uploads, copies, deletions.
    std::uint64_t uploads = 0;               ///< Files to send.
    std::uint64_t upload_bytes = 0;          ///< Their bytes.
    std::uint64_t copies = 0;                ///< Objects to copy within the store.
    std::uint64_t deletes = 0;               ///< Objects to delete.
    bool is_held = false;                    ///< So many deletions would wait for confirmation.
    std::uint64_t unsettled = 0;             ///< Files that have not been still for long enough.
    std::uint64_t refused = 0;               ///< Files that the store can hold under no name.
    std::vector<MirrorError> first_refused;  ///< The first 100 of them.

    /// Nothing.
    MirrorPlan() = default;
    /// From a row of the C interface, without what comes in rows of its own.
    explicit MirrorPlan(const tw_mirror_plan_info &row)
        : seq(row.seq), uploads(row.uploads), upload_bytes(row.upload_bytes), copies(row.copies),
          deletes(row.deletes), is_held(row.is_held != 0), unsettled(row.unsettled), refused(row.refused) {}
};

/// How far a run of a mirror has come.
struct MirrorProgress {
    std::uint64_t done = 0;           ///< Files, copies and deletions that are over, well or not.
    std::uint64_t total = 0;          ///< All of them.
    std::uint64_t bytes = 0;          ///< Bytes handed to the network so far; what is sent again counts again.
    std::uint64_t bytes_total = 0;    ///< Bytes of all files of the run.
    double bytes_per_s = 0;           ///< Bytes a second since the run began.
    std::optional<Milliseconds> eta;  ///< Time to go.

    /// Nothing.
    MirrorProgress() = default;
    /// From a row of the C interface.
    explicit MirrorProgress(const tw_mirror_progress &row)
        : done(row.done), total(row.total), bytes(row.bytes), bytes_total(row.bytes_total),
          bytes_per_s(row.bytes_per_s), eta(detail::optional(row.has_eta_ms, detail::duration(row.eta_ms))) {}
};

/// One difference between a store and what it has acknowledged.
struct AuditFinding {
    std::string key;                    ///< The key of the object.
    AuditKind kind = AuditKind::Other;  ///< What is wrong with it.

    /// Nothing.
    AuditFinding() = default;
    /// From a row of the C interface.
    explicit AuditFinding(const tw_audit_finding &row)
        : key(detail::text(row.key)), kind(static_cast<AuditKind>(row.kind)) {}
};

/// What an audit has found.
struct AuditReport {
    std::uint64_t listed = 0;            ///< Objects that were listed.
    std::uint64_t matched = 0;           ///< Objects that are as they were acknowledged.
    std::uint64_t lost = 0;              ///< Acknowledged objects that are not there.
    std::uint64_t different = 0;         ///< Objects of another size or entity tag.
    std::uint64_t unknown = 0;           ///< Objects that the mirror did not put there.
    std::uint64_t unsure = 0;            ///< Objects that were begun and not acknowledged.
    bool is_clean = false;               ///< The store holds what it has acknowledged, and nothing else.
    std::vector<AuditFinding> findings;  ///< The first 1,000 differences, by key.

    /// Nothing.
    AuditReport() = default;
    /// From a row of the C interface, without the findings.
    explicit AuditReport(const tw_audit_report &row)
        : listed(row.listed), matched(row.matched), lost(row.lost), different(row.different), unknown(row.unknown),
          unsure(row.unsure), is_clean(row.is_clean != 0) {}
};

/// A URL that came or went.
struct UrlChange {
    UrlChangeKind kind = UrlChangeKind::Unknown;  ///< What happened.
    std::string path;                             ///< The address of the file.
    std::string url;                              ///< The URL that its object has or had.

    /// Nothing.
    UrlChange() = default;
    /// From a row of the C interface.
    explicit UrlChange(const tw_url_change &row)
        : kind(static_cast<UrlChangeKind>(row.kind)), path(detail::text(row.path)), url(detail::text(row.url)) {}
};

/// One change, as it came over a stream.
struct StreamItem {
    std::string stream_id;         ///< The id of the entry in the stream.
    std::string database;          ///< The state file that it comes from, as 32 hexadecimal digits.
    std::uint64_t seq = 0;         ///< The commit.
    std::uint64_t part = 0;        ///< Which of the changes of that commit, from 1; 0 of a reset.
    std::optional<Change> change;  ///< Nothing is a reset: what comes now does not continue what came before.

    /// Nothing.
    StreamItem() = default;
    /// From a row of the C interface.
    explicit StreamItem(const tw_stream_item &row)
        : stream_id(detail::text(row.stream_id)), database(detail::text(row.database)), seq(row.seq),
          part(row.part) {
        if (row.is_reset != 0) {
            return;
        }
        Change &told = change.emplace();
        told.seq = row.seq;
        told.id = row.id;
        told.kind = static_cast<ChangeKind>(row.kind);
        told.entry_kind = static_cast<Kind>(row.entry_kind);
        told.root = detail::text(row.root);
        told.path = detail::text(row.path);
        told.from = detail::optional<std::string>(row.from);
    }
};

/// The main numbers of the engine, all roots, pipelines and mirrors together. Pipelines and mirrors are those that this
/// process has opened.
struct Metrics {
    Time taken;                           ///< When they were taken.
    Milliseconds uptime{0};               ///< How long the warden has been open.
    std::uint64_t seq = 0;                ///< The last commit.
    std::uint64_t state_file_bytes = 0;   ///< Size of the state file.
    std::uint64_t journal_bytes = 0;      ///< Size of the rows of the journal.
    std::uint64_t journal_floor_seq = 0;  ///< The journal tells of every commit after this one.
    std::uint64_t roots = 0;              ///< Roots.
    std::uint64_t roots_unavailable = 0;  ///< Of them, those that cannot be trusted at the moment.
    std::uint64_t roots_held = 0;         ///< Of them, those that are held because too much would be missing.
    std::uint64_t files = 0;              ///< Files and symlinks known.
    std::uint64_t dirs = 0;               ///< Directories known, without the roots themselves.
    std::uint64_t bytes = 0;              ///< Sum of the sizes of files and symlinks.
    std::uint64_t missing = 0;            ///< Tombstones of files and symlinks.
    std::uint64_t live_pending = 0;       ///< Names and directories that were heard of and not looked at yet.
    std::uint64_t live_overflows = 0;     ///< Times that events were lost since watching began.
    std::uint64_t pipelines = 0;          ///< Pipelines.
    std::uint64_t items_waiting = 0;      ///< Items with something to do: new, changed, stale or missing.
    std::uint64_t items_error = 0;        ///< Items in error, the dead ones included.
    std::uint64_t items_dead = 0;         ///< Of those in error, the ones that are not tried again by themselves.
    std::uint64_t leases = 0;             ///< Leases in force.
    double done_per_minute = 0;           ///< Completions per minute.
    std::uint64_t mirrors = 0;            ///< Mirrors.
    std::uint64_t objects = 0;            ///< Objects that are acknowledged.
    std::uint64_t object_bytes = 0;       ///< Their bytes.
    std::uint64_t mirror_pending = 0;     ///< Paths that mirrors are to look at again.
    std::uint64_t mirror_held = 0;        ///< Deletions of mirrors that wait for confirmation.
    std::uint64_t purges_waiting = 0;     ///< URLs that a CDN is still to forget.
    std::uint64_t mirrors_failing = 0;    ///< Mirrors whose last run was given up.
    bool is_watching = false;             ///< Roots are watched.
    bool is_paused = false;               ///< Watching is paused.
    bool is_coherent = false;             ///< No watched root has lost a change, is unavailable or is held.
    bool is_native = false;               ///< Every directory of every watched root reports its changes by itself.

    /// Nothing.
    Metrics() = default;
    /// From a row of the C interface.
    explicit Metrics(const tw_metrics &row)
        : taken(detail::time(row.taken_ns)), uptime(detail::duration(row.uptime_ms)), seq(row.seq),
          state_file_bytes(row.state_file_bytes), journal_bytes(row.journal_bytes),
          journal_floor_seq(row.journal_floor_seq), roots(row.roots), roots_unavailable(row.roots_unavailable),
          roots_held(row.roots_held), files(row.files), dirs(row.dirs), bytes(row.bytes), missing(row.missing),
          live_pending(row.live_pending), live_overflows(row.live_overflows), pipelines(row.pipelines),
          items_waiting(row.items_waiting), items_error(row.items_error), items_dead(row.items_dead),
          leases(row.leases), done_per_minute(row.done_per_minute), mirrors(row.mirrors), objects(row.objects),
          object_bytes(row.object_bytes), mirror_pending(row.mirror_pending), mirror_held(row.mirror_held),
          purges_waiting(row.purges_waiting), mirrors_failing(row.mirrors_failing),
          is_watching(row.is_watching != 0), is_paused(row.is_paused != 0), is_coherent(row.is_coherent != 0),
          is_native(row.is_native != 0) {}
};

/// What an export has written.
struct ExportReport {
    std::uint64_t rows = 0;   ///< Rows in all files.
    std::uint64_t bytes = 0;  ///< Size of all files.
    std::uint64_t files = 0;  ///< Files.
};

/// Owns a table by the Arrow C stream interface, for data frames and databases. It needs no other object any more.
class ArrowStream {
public:
    /// Of a stream that the C interface has filled.
    explicit ArrowStream(const ArrowArrayStream &stream) noexcept : stream_(stream) {}
    /// Takes the stream over.
    ArrowStream(ArrowStream &&other) noexcept : stream_(other.stream_) { other.stream_.release = nullptr; }
    /// Releases its own stream and takes the other one over.
    ArrowStream &operator=(ArrowStream &&other) noexcept {
        if (this != &other) {
            release();
            other.move_to(&stream_);
        }
        return *this;
    }
    /// Releases the stream.
    ~ArrowStream() { release(); }

    /// The stream, lent; one thread at a time. After a move its `release` is NULL.
    ArrowArrayStream *get() noexcept { return &stream_; }
    /// Hands the stream to somebody else's struct, as consumers ask for.
    void move_to(ArrowArrayStream *out) noexcept {
        *out = stream_;
        stream_.release = nullptr;
    }

private:
    void release() noexcept {
        if (stream_.release != nullptr) {
            stream_.release(&stream_);
        }
    }
    ArrowArrayStream stream_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Options
// ---------------------------------------------------------------------------------------------------------------------

namespace detail {

/// What was said, step by step, to be said again to each handle that is made of it: so options can be copied, kept and
/// used any number of times. What is wrong is told by the function that takes them.
template <class Self, std::int32_t kind>
class Options {
public:
    /// The same as a handle of the C interface.
    OptionsHandle make() const {
        OptionsHandle made;
        call(tw_options_new, kind, made.out());
        for (const Step &step : steps_) {
            step(made.get());
        }
        return made;
    }

protected:
    using Step = std::function<void(tw_options *)>;

    Self &add(Step step) {
        steps_.push_back(std::move(step));
        return static_cast<Self &>(*this);
    }
    Self &set(std::int32_t option, std::int64_t value) {
        return add([=](tw_options *options) { call(tw_options_set_int, options, option, value); });
    }
    Self &set(std::int32_t option, Milliseconds value) { return set(option, ms(value)); }
    Self &set(std::int32_t option, Time value) { return set(option, ns(value)); }
    Self &set_flag(std::int32_t option, bool value) { return set(option, std::int64_t{value}); }
    /// What is more than the interface can say means the most that it can say.
    Self &set_count(std::int32_t option, std::uint64_t value) {
        constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
        return set(option, static_cast<std::int64_t>(std::min(value, most)));
    }
    template <class Enum>
    Self &set_enum(std::int32_t option, Enum value) {
        return set(option, static_cast<std::int64_t>(value));
    }
    Self &set_text(std::int32_t option, std::string_view value) {
        return add([option, value = std::string(value)](tw_options *options) {
            call(tw_options_set_bytes, options, option, bytes(value));
        });
    }

private:
    std::vector<Step> steps_;
};

}  // namespace detail

/// How a state file is opened.
class OpenOptions : public detail::Options<OpenOptions, TW_OPTIONS_OPEN> {
public:
    /// Refuses to create a state file.
    OpenOptions &must_exist(bool value = true) { return set_flag(TW_OPTION_OPEN_MUST_EXIST, value); }
    /// Writes not a byte; the file must exist, and several readers may share it.
    OpenOptions &read_only(bool value = true) { return set_flag(TW_OPTION_OPEN_READ_ONLY, value); }
    /// When a commit counts as done. Default: Durability::Durable.
    OpenOptions &durability(Durability value) { return set_enum(TW_OPTION_OPEN_DURABILITY, value); }
    /// Bytes of the page cache. Default: 16 MiB.
    OpenOptions &cache_bytes(std::uint64_t value) { return set_count(TW_OPTION_OPEN_CACHE_BYTES, value); }
    /// Threads of a scan, up to 256. Default 0: one for each processor.
    OpenOptions &threads(std::uint32_t value) { return set(TW_OPTION_OPEN_THREADS, std::int64_t{value}); }
    /// How long the journal is kept. Default: 30 days.
    OpenOptions &journal_keep(Milliseconds value) { return set(TW_OPTION_OPEN_JOURNAL_KEEP_MS, value); }
    /// How many bytes of the journal are kept at most. Default: 256 MiB.
    OpenOptions &journal_keep_bytes_max(std::uint64_t value) {
        return set_count(TW_OPTION_OPEN_JOURNAL_KEEP_BYTES_MAX, value);
    }
    /// How long a tombstone is kept. Default: 30 days.
    OpenOptions &tombstone_keep(Milliseconds value) { return set(TW_OPTION_OPEN_TOMBSTONE_KEEP_MS, value); }
    /// How many operations the history keeps. Default: 1,000.
    OpenOptions &history_keep_max(std::uint32_t value) {
        return set(TW_OPTION_OPEN_HISTORY_KEEP_MAX, std::int64_t{value});
    }
    /// A clock that stands still at this time, for tests: see Warden::clock_advance().
    OpenOptions &manual_clock(Time start) { return set(TW_OPTION_OPEN_MANUAL_CLOCK_NS, start); }
};

/// How a root is looked at.
class RootOptions : public detail::Options<RootOptions, TW_OPTIONS_ROOT> {
public:
    /// Adds a pattern in gitignore syntax. Later ones win, `!pattern` takes back.
    RootOptions &ignore(std::string_view pattern) { return set_text(TW_OPTION_ROOT_IGNORE, pattern); }
    /// Ignores hidden, temporary and desktop files, before the patterns.
    RootOptions &ignore_junk(bool value = true) { return set_flag(TW_OPTION_ROOT_IGNORE_JUNK, value); }
    /// Whether content hashes are kept. Default: ContentHash::Off.
    RootOptions &content_hash(ContentHash value) { return set_enum(TW_OPTION_ROOT_CONTENT_HASH, value); }
    /// What decides that a file is unchanged. Default: Compare::Auto.
    RootOptions &compare(Compare value) { return set_enum(TW_OPTION_ROOT_COMPARE, value); }
};

/// How to scan.
class ScanOptions : public detail::Options<ScanOptions, TW_OPTIONS_SCAN> {
public:
    /// Adds a root or a subtree, `music` or `music/2024`. Default: all roots.
    ScanOptions &target(std::string_view address) { return set_text(TW_OPTION_SCAN_TARGET, address); }
    /// How deep to look. Default: ScanMode::Quick.
    ScanOptions &mode(ScanMode value) { return set_enum(TW_OPTION_SCAN_MODE, value); }
    /// Which walker lists the tree. Default: Walker::Auto.
    ScanOptions &walker(Walker value) { return set_enum(TW_OPTION_SCAN_WALKER, value); }
    /// Threads, up to 256. Default 0: as OpenOptions::threads() says.
    ScanOptions &threads(std::uint32_t value) { return set(TW_OPTION_SCAN_THREADS, std::int64_t{value}); }
    /// Applies what would otherwise be held.
    ScanOptions &accept_missing(bool value = true) { return set_flag(TW_OPTION_SCAN_ACCEPT_MISSING, value); }
    /// When the result becomes visible. Default: Publish::Atomic.
    ScanOptions &publish(Publish value) { return set_enum(TW_OPTION_SCAN_PUBLISH, value); }
};

/// How one root is watched.
class RootWatchOptions : public detail::Options<RootWatchOptions, TW_OPTIONS_ROOT_WATCH> {
public:
    /// The times to start from; the others change them. Default: Preset::Default.
    RootWatchOptions &preset(Preset value) { return set_enum(TW_OPTION_ROOT_WATCH_PRESET, value); }
    /// Whether it is watched or polled. Default: WatchMode::Auto.
    RootWatchOptions &mode(WatchMode value) { return set_enum(TW_OPTION_ROOT_WATCH_MODE, value); }
    /// How long a directory must be quiet before it is looked at, up to an hour.
    RootWatchOptions &debounce(Milliseconds value) { return set(TW_OPTION_ROOT_WATCH_DEBOUNCE_MS, value); }
    /// After how long it is looked at although it is not quiet, from the debounce to a day.
    RootWatchOptions &max_wait(Milliseconds value) { return set(TW_OPTION_ROOT_WATCH_MAX_WAIT_MS, value); }
    /// How often what is polled is looked at, from 100 milliseconds to a day.
    RootWatchOptions &poll(Milliseconds value) { return set(TW_OPTION_ROOT_WATCH_POLL_MS, value); }
    /// When to scan quickly: `15m`, `24h`, `0 3 * * *` or `0 3 * * * Europe/Vienna`. Default: never.
    RootWatchOptions &quick(std::string_view schedule) { return set_text(TW_OPTION_ROOT_WATCH_QUICK, schedule); }
    /// When to scan fully. Default: never.
    RootWatchOptions &full(std::string_view schedule) { return set_text(TW_OPTION_ROOT_WATCH_FULL, schedule); }
    /// When to scan although nothing was heard; empty for never. Default: 24 hours after the last whole scan.
    RootWatchOptions &reconcile(std::string_view schedule) {
        return set_text(TW_OPTION_ROOT_WATCH_RECONCILE, schedule);
    }
};

/// What is watched, and how.
class WatchOptions : public detail::Options<WatchOptions, TW_OPTIONS_WATCH> {
public:
    /// Where events come from. Default: Backend::Auto.
    WatchOptions &backend(Backend value) { return set_enum(TW_OPTION_WATCH_BACKEND, value); }
    /// Directories watched at most, all roots together, at least 1. Default: what the system allows.
    WatchOptions &watches_max(std::uint64_t value) { return set_count(TW_OPTION_WATCH_WATCHES_MAX, value); }
    /// Threads of the scans that the engine starts itself, up to 256. Default 0: as OpenOptions::threads() says.
    WatchOptions &scan_threads(std::uint32_t value) { return set(TW_OPTION_WATCH_SCAN_THREADS, std::int64_t{value}); }
    /// Niceness of those threads, 0 to 19. Linux only.
    WatchOptions &nice(std::int32_t value) { return set(TW_OPTION_WATCH_NICE, std::int64_t{value}); }
    /// Whether those scans give way while the machine is under pressure. Default: yes.
    WatchOptions &yields(bool value) { return set_flag(TW_OPTION_WATCH_YIELDS, value); }
    /// How a root is watched. Once any root is named, only named ones are watched.
    WatchOptions &root(std::string_view name, const RootWatchOptions &how = {}) {
        return add([name = std::string(name), how](tw_options *options) {
            detail::call(tw_options_set_root_watch, options, detail::bytes(name), how.make().get());
        });
    }
    /// How roots are watched when none is named.
    WatchOptions &all_roots(const RootWatchOptions &how) { return root({}, how); }
};

/// Which entries a listing lets through. All conditions must hold.
class Filter : public detail::Options<Filter, TW_OPTIONS_FILTER> {
public:
    /// Only what lies at or below this address.
    Filter &under(std::string_view address) { return set_text(TW_OPTION_FILTER_UNDER, address); }
    /// Only paths, relative to under(), that match: `*`, `?`, `**`, `[...]` and `{a,b}`.
    Filter &glob(std::string_view pattern) { return set_text(TW_OPTION_FILTER_GLOB, pattern); }
    /// Only entries of this kind; Kind::Dir includes directories.
    Filter &kind(Kind value) { return set_enum(TW_OPTION_FILTER_KIND, value); }
    /// Only entries of at least so many bytes.
    Filter &size_min(std::uint64_t bytes) { return set_count(TW_OPTION_FILTER_SIZE_MIN, bytes); }
    /// Only entries of at most so many bytes.
    Filter &size_max(std::uint64_t bytes) { return set_count(TW_OPTION_FILTER_SIZE_MAX, bytes); }
    /// Only entries modified at or after this time.
    Filter &mtime_min(Time value) { return set(TW_OPTION_FILTER_MTIME_MIN_NS, value); }
    /// Only entries modified at or before this time.
    Filter &mtime_max(Time value) { return set(TW_OPTION_FILTER_MTIME_MAX_NS, value); }
    /// Tombstones instead of what is there.
    Filter &missing(bool value = true) { return set_flag(TW_OPTION_FILTER_MISSING, value); }
    /// Directories too.
    Filter &with_dirs(bool value = true) { return set_flag(TW_OPTION_FILTER_WITH_DIRS, value); }
    /// Only what lies in the directory of under() itself, directories included; without one, the roots.
    Filter &direct(bool value = true) { return set_flag(TW_OPTION_FILTER_DIRECT, value); }
};

/// What is verified.
class VerifyOptions : public detail::Options<VerifyOptions, TW_OPTIONS_VERIFY> {
public:
    /// One root only. Default: all roots.
    VerifyOptions &root(std::string_view name) { return set_text(TW_OPTION_VERIFY_ROOT, name); }
    /// Reads content too, and compares it with the hashes that are kept.
    VerifyOptions &content(bool value = true) { return set_flag(TW_OPTION_VERIFY_CONTENT, value); }
};

/// What a pipeline works on, and how.
class PipelineOptions : public detail::Options<PipelineOptions, TW_OPTIONS_PIPELINE> {
public:
    /// Gives the key of the group that a file belongs to, an address in the same root; nothing leaves the file out.
    using GroupFunction = std::function<std::optional<std::string>(std::string_view address)>;

    /// Adds a root; it need not exist yet. Default: all roots, present and future.
    PipelineOptions &root(std::string_view name) { return set_text(TW_OPTION_PIPELINE_ROOT, name); }
    /// Adds a pattern for paths below the root. Default: every file and symlink.
    PipelineOptions &glob(std::string_view pattern) { return set_text(TW_OPTION_PIPELINE_GLOB, pattern); }
    /// Which files are one job. Default: Group::None.
    PipelineOptions &group(Group value) { return set_enum(TW_OPTION_PIPELINE_GROUP, value); }
    /// Makes one job of the files that share so many components below the root, up to 1,000.
    PipelineOptions &group_depth(std::uint32_t components) {
        group(Group::Depth);
        return set(TW_OPTION_PIPELINE_GROUP_DEPTH, std::int64_t{components});
    }
    /// Makes one job of the files for which the function gives the same key. The state file keeps the name alone: give
    /// the function whenever you open the pipeline, and another name for another grouping. It is called in any thread,
    /// several at once, must not call the library, and must give the same key for the same address. Where it throws,
    /// the file is left out, and the log tells.
    PipelineOptions &group(std::string_view name, GroupFunction function) {
        using Shared = std::shared_ptr<GroupFunction>;
        return add([name = std::string(name), shared = std::make_shared<GroupFunction>(std::move(function))](
                       tw_options *options) {
            detail::call(tw_options_set_group, options, detail::bytes(name), &PipelineOptions::on_group,
                         static_cast<void *>(new Shared(shared)), &detail::finalize<Shared>);
        });
    }
    /// Version of what is done with a file. Another one than before makes everything changed once. Default: 1.
    PipelineOptions &version(std::uint32_t value) { return set(TW_OPTION_PIPELINE_VERSION, std::int64_t{value}); }
    /// Class of its new files; other reasons stay as many classes behind. Default: Priority::High.
    PipelineOptions &priority(Priority value) { return set_enum(TW_OPTION_PIPELINE_PRIORITY, value); }
    /// Jobs handed out at once, all workers together. Default 0: no bound.
    PipelineOptions &concurrency(std::uint32_t value) {
        return set(TW_OPTION_PIPELINE_CONCURRENCY, std::int64_t{value});
    }
    /// For how long a new or changed file must be still before it is handed out. Default: a second.
    PipelineOptions &settle(Milliseconds value) { return set(TW_OPTION_PIPELINE_SETTLE_MS, value); }
    /// For how long a job is held without being renewed. Default: 5 minutes.
    PipelineOptions &lease(Milliseconds value) { return set(TW_OPTION_PIPELINE_LEASE_MS, value); }
    /// The wait after the first failure, which doubles each time, and the longest one. Default: a minute, and a day.
    PipelineOptions &retry(Milliseconds base, Milliseconds cap) {
        set(TW_OPTION_PIPELINE_RETRY_BASE_MS, base);
        return set(TW_OPTION_PIPELINE_RETRY_CAP_MS, cap);
    }
    /// Failures of the same content in a row after which it is dead, 1 to 1,000. Default: 5.
    PipelineOptions &attempts_max(std::uint32_t value) {
        return set(TW_OPTION_PIPELINE_ATTEMPTS_MAX, std::int64_t{value});
    }
    /// Whether each wait is longer by a random 0 to 10 percent. Default: yes.
    PipelineOptions &retry_jitter(bool value) { return set_flag(TW_OPTION_PIPELINE_RETRY_JITTER, value); }
    /// Leases in a row whose process ended, after which a job is dead; 0 for never. Default: 100.
    PipelineOptions &crashes_max(std::uint32_t value) {
        return set(TW_OPTION_PIPELINE_CRASHES_MAX, std::int64_t{value});
    }
    /// Never does anew what was completed and did not change. The default.
    PipelineOptions &refresh_never() { return set_enum(TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_NEVER); }
    /// Does what was completed anew so long afterwards.
    PipelineOptions &refresh_after(Milliseconds value) {
        set_enum(TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_AFTER);
        return set(TW_OPTION_PIPELINE_REFRESH_AFTER_MS, value);
    }
    /// Does what was completed anew by the age of the file: by the tiers that follow, or by those of the library.
    PipelineOptions &refresh_tiers() { return set_enum(TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_TIERS); }
    /// Adds a tier: what is younger than this at its completion is done anew so long afterwards; nothing means all that
    /// is older. Give them by rising age, at most 100.
    PipelineOptions &tier(std::optional<Milliseconds> younger_than, Milliseconds after) {
        return add([=](tw_options *options) {
            detail::call(tw_options_add_tier, options, detail::ms(younger_than), detail::ms(after));
        });
    }
    /// Does what was completed anew when its completion says.
    PipelineOptions &refresh_at_completion() {
        return set_enum(TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_AT_COMPLETION);
    }
    /// Hands out what is to be refreshed in runs only, `0 3 * * *`. Default: whenever it is due.
    PipelineOptions &refresh_schedule(std::string_view schedule) {
        return set_text(TW_OPTION_PIPELINE_REFRESH_SCHEDULE, schedule);
    }
    /// Of such a run: items between two pauses, and the pause. Default: all of them, and none.
    PipelineOptions &refresh_batch(std::uint32_t items, Milliseconds gap) {
        set(TW_OPTION_PIPELINE_REFRESH_BATCH, std::int64_t{items});
        return set(TW_OPTION_PIPELINE_REFRESH_GAP_MS, gap);
    }
    /// Jobs that begin in any stretch of `window` at most. Default: no limit.
    PipelineOptions &rate(std::uint32_t limit, Milliseconds window) {
        set(TW_OPTION_PIPELINE_RATE_LIMIT, std::int64_t{limit});
        return set(TW_OPTION_PIPELINE_RATE_WINDOW_MS, window);
    }
    /// Whether jobs begin evenly spread over the window. Default: yes.
    PipelineOptions &rate_pacing(bool value) { return set_flag(TW_OPTION_PIPELINE_RATE_PACING, value); }
    /// How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default: 200.
    PipelineOptions &rate_floor_permille(std::uint32_t value) {
        return set(TW_OPTION_PIPELINE_RATE_FLOOR_PERMILLE, std::int64_t{value});
    }
    /// Does a file that was moved anew.
    PipelineOptions &paths_matter(bool value = true) { return set_flag(TW_OPTION_PIPELINE_PATHS_MATTER, value); }

private:
    static std::int32_t on_group(tw_bytes address, void *key_out, tw_set_key set_key, void *user_data) noexcept {
        try {
            const auto &function = **static_cast<std::shared_ptr<GroupFunction> *>(user_data);
            if (const std::optional<std::string> key = function(detail::view(address))) {
                set_key(key_out, detail::bytes(*key));
            }
            return 0;
        } catch (...) {
            return 1;
        }
    }
};

/// What a limiter grants. Limit and window are needed.
class LimiterOptions : public detail::Options<LimiterOptions, TW_OPTIONS_LIMITER> {
public:
    /// Requests in any stretch of `window` at most: 1 to 1,000,000, up to 30 days.
    LimiterOptions(std::uint32_t limit, Milliseconds window) {
        set(TW_OPTION_LIMITER_LIMIT, std::int64_t{limit});
        set(TW_OPTION_LIMITER_WINDOW_MS, window);
    }
    /// Whether requests are spread evenly over the window. Default: yes.
    LimiterOptions &pacing(bool value) { return set_flag(TW_OPTION_LIMITER_PACING, value); }
    /// How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default: 200. Not for a fleet, whose
    /// limit is never lowered.
    LimiterOptions &floor_permille(std::uint32_t value) {
        return set(TW_OPTION_LIMITER_FLOOR_PERMILLE, std::int64_t{value});
    }
};

/// What a mirror copies, where to, and with which credentials. The state file keeps all but credentials and CDN: these
/// are given whenever the mirror is opened. One kind of credentials at a time; a directory needs none.
class MirrorOptions : public detail::Options<MirrorOptions, TW_OPTIONS_MIRROR> {
public:
    /// As the mirror was made: only credentials and a CDN can be added.
    MirrorOptions() = default;
    /// Every file at or below an address, `photos/public`, to `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`,
    /// `az://ACCOUNT/CONTAINER[/PREFIX]`, `file:///DIR` or `local+https://HOST/BASE`.
    MirrorOptions(std::string_view address, std::string_view target) {
        set_text(TW_OPTION_MIRROR_ADDRESS, address);
        set_text(TW_OPTION_MIRROR_TARGET, target);
    }
    /// Every file at or below an address. Warden::mirror() sets it for a storage of the program.
    MirrorOptions &address(std::string_view value) { return set_text(TW_OPTION_MIRROR_ADDRESS, value); }
    /// Sends requests there instead of to the store's own address, `https://HOST[:PORT]`.
    MirrorOptions &endpoint(std::string_view url) { return set_text(TW_OPTION_MIRROR_ENDPOINT, url); }
    /// The region of an S3 bucket. Default: `us-east-1`.
    MirrorOptions &region(std::string_view value) { return set_text(TW_OPTION_MIRROR_REGION, value); }
    /// The name of an S3 bucket is part of the host name, not of the path.
    MirrorOptions &virtual_hosted(bool value = true) { return set_flag(TW_OPTION_MIRROR_VIRTUAL_HOSTED, value); }
    /// Entity tags of an S3 bucket are no MD5 sums, as with KMS encryption.
    MirrorOptions &opaque_etags(bool value = true) { return set_flag(TW_OPTION_MIRROR_OPAQUE_ETAGS, value); }
    /// What the URLs of the objects begin with, for those who read them. Default: none, and no file has a URL.
    MirrorOptions &public_url(std::string_view url) { return set_text(TW_OPTION_MIRROR_PUBLIC_URL, url); }
    /// What every key begins with, before a slash, for a target without a prefix.
    MirrorOptions &prefix(std::string_view value) { return set_text(TW_OPTION_MIRROR_PREFIX, value); }
    /// Adds a pattern for paths below the address. Default: every file.
    MirrorOptions &glob(std::string_view pattern) { return set_text(TW_OPTION_MIRROR_GLOB, pattern); }
    /// `Cache-Control` of every object. Default: none.
    MirrorOptions &cache_control(std::string_view value) { return set_text(TW_OPTION_MIRROR_CACHE_CONTROL, value); }
    /// The content type of files with an extension. Those that are usual are known.
    MirrorOptions &content_type(std::string_view extension, std::string_view type) {
        return set_text(TW_OPTION_MIRROR_CONTENT_TYPE, std::string(extension) + "=" + std::string(type));
    }
    /// Files that are sent at a time, 1 to 1,000. Default: 10.
    MirrorOptions &uploads_max(std::uint32_t value) {
        return set(TW_OPTION_MIRROR_UPLOADS_MAX, std::int64_t{value});
    }
    /// Bytes up to which a file is sent in one piece, and of the parts of larger ones, 5 MiB to 5 GiB. Default: 8 MiB.
    MirrorOptions &part_bytes(std::uint64_t value) { return set_count(TW_OPTION_MIRROR_PART_BYTES, value); }
    /// Bytes of files that are in memory at a time, over all uploads, at least one part. Default: 64 MiB.
    MirrorOptions &memory_bytes(std::uint64_t value) { return set_count(TW_OPTION_MIRROR_MEMORY_BYTES, value); }
    /// Bytes a second that are sent at most, over all uploads. Default: no limit.
    MirrorOptions &bandwidth_bytes_per_s(std::uint64_t value) {
        return set_count(TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S, value);
    }
    /// How often a request is tried in one run, 1 to 1,000. Default: 5.
    MirrorOptions &attempts_max(std::uint32_t value) {
        return set(TW_OPTION_MIRROR_ATTEMPTS_MAX, std::int64_t{value});
    }
    /// The wait before the second attempt, which doubles each time, and the longest one. Default: 200 ms, and 20 s.
    MirrorOptions &backoff(Milliseconds first, Milliseconds longest) {
        set(TW_OPTION_MIRROR_BACKOFF_MS, first);
        return set(TW_OPTION_MIRROR_BACKOFF_MAX_MS, longest);
    }
    /// Deletions of one run beyond which all of them wait for confirmation; 0: every one waits. Default: 10,000.
    MirrorOptions &delete_max(std::uint64_t value) { return set_count(TW_OPTION_MIRROR_DELETE_MAX, value); }
    /// Share of all objects, in percent, beyond which 100 deletions or more wait for confirmation. Default: 50.
    MirrorOptions &delete_share_percent(std::uint32_t value) {
        return set(TW_OPTION_MIRROR_DELETE_SHARE_PERCENT, std::int64_t{value});
    }
    /// For how long a file must be still before it is sent. Default: a second.
    MirrorOptions &settle(Milliseconds value) { return set(TW_OPTION_MIRROR_SETTLE_MS, value); }
    /// The CDN is told of new objects too, not of changed and deleted ones alone.
    MirrorOptions &purge_new(bool value = true) { return set_flag(TW_OPTION_MIRROR_PURGE_NEW, value); }

    /// The id of an access key and its secret, for S3.
    MirrorOptions &keys(std::string_view id, std::string_view secret) {
        set_text(TW_OPTION_MIRROR_ACCESS_KEY, id);
        return set_text(TW_OPTION_MIRROR_SECRET_KEY, secret);
    }
    /// The token that a temporary key comes with.
    MirrorOptions &session_token(std::string_view token) { return set_text(TW_OPTION_MIRROR_SESSION_TOKEN, token); }
    /// Requests without a signature, for a store that lets everybody write.
    MirrorOptions &anonymous(bool value = true) { return set_flag(TW_OPTION_MIRROR_ANONYMOUS, value); }
    /// The credentials of the machine itself, from the metadata service of its cloud.
    MirrorOptions &instance(bool value = true) { return set_flag(TW_OPTION_MIRROR_INSTANCE, value); }
    /// The key of an Azure storage account, in Base64.
    MirrorOptions &azure_key(std::string_view key) { return set_text(TW_OPTION_MIRROR_AZURE_KEY, key); }
    /// A shared access signature of Azure, `sv=...&sig=...`.
    MirrorOptions &azure_sas(std::string_view sas) { return set_text(TW_OPTION_MIRROR_AZURE_SAS, sas); }
    /// The key of a service account of Google Cloud: the JSON text, not the name of its file.
    MirrorOptions &service_account(std::string_view json) {
        return set_text(TW_OPTION_MIRROR_SERVICE_ACCOUNT, json);
    }
    /// A bearer token for Google Cloud.
    MirrorOptions &gcs_token(std::string_view token) { return set_text(TW_OPTION_MIRROR_GCS_TOKEN, token); }

    /// Tells a zone of Cloudflare of changed and deleted objects, with an API token that may purge its cache.
    MirrorOptions &cloudflare(std::string_view zone, std::string_view token) {
        set_text(TW_OPTION_MIRROR_CLOUDFLARE_ZONE, zone);
        return set_text(TW_OPTION_MIRROR_CLOUDFLARE_TOKEN, token);
    }
    /// Where the API is, for a gateway in front of it.
    MirrorOptions &cloudflare_endpoint(std::string_view url) {
        return set_text(TW_OPTION_MIRROR_CLOUDFLARE_ENDPOINT, url);
    }
    /// URLs of one request at most, 1 to 500. Default: 30, which every plan takes.
    MirrorOptions &cloudflare_batch_max(std::uint32_t value) {
        return set(TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX, std::int64_t{value});
    }
};

/// How an export is made. Default: one file, which must not exist yet.
class ExportOptions : public detail::Options<ExportOptions, TW_OPTIONS_EXPORT> {
public:
    /// What tells the trees of this machine from those of others. A partitioned export needs it.
    ExportOptions &host(std::string_view name) { return set_text(TW_OPTION_EXPORT_HOST, name); }
    /// A token of the warden: the files then say which database they come from.
    ExportOptions &token(std::string_view text) { return set_text(TW_OPTION_EXPORT_TOKEN, text); }
    /// A directory with one file for each root, as DuckDB, Hive and Arrow read it.
    ExportOptions &partitioned(bool value = true) { return set_flag(TW_OPTION_EXPORT_PARTITIONED, value); }
    /// Replaces an existing Parquet file, in one step.
    ExportOptions &replace(bool value = true) { return set_flag(TW_OPTION_EXPORT_REPLACE, value); }
};

/// How a Redis is reached.
class FleetOptions : public detail::Options<FleetOptions, TW_OPTIONS_FLEET> {
public:
    /// What all keys begin with. Fleets with different prefixes know nothing of each other. Default: `treewarden`.
    FleetOptions &prefix(std::string_view value) { return set_text(TW_OPTION_FLEET_PREFIX, value); }
    /// How long making a connection may take, up to an hour. Default: 2 s.
    FleetOptions &connect_timeout(Milliseconds value) { return set(TW_OPTION_FLEET_CONNECT_TIMEOUT_MS, value); }
    /// How long an answer may be awaited without a byte of it, up to an hour. Default: 2 s.
    FleetOptions &command_timeout(Milliseconds value) { return set(TW_OPTION_FLEET_COMMAND_TIMEOUT_MS, value); }
    /// Connects when it is needed first, for programs that may start before Redis does.
    FleetOptions &later(bool value = true) { return set_flag(TW_OPTION_FLEET_LATER, value); }
};

/// What of a journal goes to a stream, and how much of that stays.
class PublisherOptions : public detail::Options<PublisherOptions, TW_OPTIONS_PUBLISHER> {
public:
    /// The changes of this root alone. Default: of all roots.
    PublisherOptions &root(std::string_view name) { return set_text(TW_OPTION_PUBLISHER_ROOT, name); }
    /// How many entries the stream keeps at least. A group that has not read older ones gets Code::Reset. Default:
    /// 100,000.
    PublisherOptions &entries_max(std::uint64_t value) {
        return set_count(TW_OPTION_PUBLISHER_ENTRIES_MAX, value);
    }
};

/// How a stream is read.
class ConsumerOptions : public detail::Options<ConsumerOptions, TW_OPTIONS_CONSUMER> {
public:
    /// For how long a change may lie unacknowledged with another consumer before this one takes it over, up to 7 days.
    /// Longer than the longest work. Default: 5 minutes.
    ConsumerOptions &takeover_after(Milliseconds value) {
        return set(TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS, value);
    }
};

// ---------------------------------------------------------------------------------------------------------------------
// Changes
// ---------------------------------------------------------------------------------------------------------------------

/// Changes, oldest first, to be gone through once, one thread at a time: `for (const ChangeView &change : changes)`.
class [[nodiscard]] Changes
    : public detail::Rows<tw_changes, tw_changes_free, tw_change, ChangeView, tw_changes_next, tw_changes_clear> {
public:
    /// Leaves out directories. Throws Code::InvalidArgument once it was begun.
    Changes &files_only() & {
        detail::call(tw_changes_files_only, handle());
        return *this;
    }
    /// As above, for changes that have no name yet.
    Changes files_only() && { return std::move(files_only()); }
    /// The commit up to which they go: where to go on when all of them have been read.
    std::uint64_t last_seq() const {
        std::uint64_t seq = 0;
        detail::call(tw_changes_last_seq, handle(), &seq);
        return seq;
    }
    /// Copies of all that are left.
    std::vector<Change> all() {
        std::vector<Change> changes;
        for (const ChangeView &change : *this) {
            changes.emplace_back(change);
        }
        return changes;
    }
    /// Takes what is left as a table.
    ArrowStream arrow() {
        ArrowArrayStream stream{};
        detail::call(tw_changes_arrow, handle(), &stream);
        return ArrowStream(stream);
    }
    /// Takes what is left, also when it fails, and writes it as a Parquet file, or below a directory.
    ExportReport to_parquet(const std::filesystem::path &path, const ExportOptions &options = {}) {
        tw_export_report row{};
        detail::call(tw_changes_export, handle(), options.make().get(), detail::path_bytes(path), &row, sizeof row);
        return {row.rows, row.bytes, row.files};
    }

protected:
    /// Of a handle of the C interface.
    using Raw = detail::Handle<tw_changes, tw_changes_free>;
    /// Made by Warden, Snapshot and Follow.
    explicit Changes(Raw raw) : Rows(std::move(raw)) {}

private:
    friend class Snapshot;
    friend class Warden;
};

/// Changes that came under a durable name. Until they are acknowledged they come again.
class Delivery : public Changes {
public:
    /// The commit up to which it goes: what to give Batch::advance().
    std::uint64_t upto() const {
        std::uint64_t seq = 0;
        detail::call(tw_changes_upto, handle(), &seq);
        return seq;
    }
    /// Acknowledges it, whether all of it has been read or not, and gives the seq of that commit. Once. Waits until it
    /// is durable. Code::Conflict when another consumer of the name has come further.
    std::uint64_t ack() {
        std::uint64_t seq = 0;
        detail::call(tw_changes_ack, handle(), &seq);
        return seq;
    }

private:
    friend class Follow;
    explicit Delivery(Raw raw) : Changes(std::move(raw)) {}
};

/// A thread of the library that calls a lambda. Its end stops it.
class [[nodiscard]] Listener {
public:
    /// Code::Ok while it listens, else what ended it, for example Code::Closed or Code::Reset.
    Code status() const {
        tw_status status = TW_STATUS_OK;
        detail::call(tw_listener_status, raw_.get(), &status);
        return static_cast<Code>(status);
    }
    /// The last exception of the lambda, or none. It goes on listening after one.
    std::exception_ptr exception() const noexcept { return kept_ == nullptr ? nullptr : kept_->get(); }
    /// Ends it and waits until the lambda has returned: then it is destroyed. Not from the lambda itself, whose return
    /// it would wait for: Code::InvalidArgument. A second time it does nothing.
    void stop() {
        detail::call(tw_listener_free, raw_.get());
        raw_.release();
    }
    /// The handle of the C interface, lent.
    tw_listener *handle() const noexcept { return raw_.get(); }

private:
    friend class Follow;
    friend class Warden;
    using Raw = detail::Handle<tw_listener, tw_listener_free>;
    Listener(Raw raw, std::shared_ptr<detail::Kept> kept) noexcept : raw_(std::move(raw)), kept_(std::move(kept)) {}

    Raw raw_;
    std::shared_ptr<detail::Kept> kept_;
};

/// A durable name in the journal: it goes on where the last acknowledged delivery has ended, after a restart too.
class Follow {
public:
    /// What is new, whole commits until there are at least so many changes; waits for it if need be. Nothing when none
    /// came in time, and after interrupt(). One thread at a time. Code::Reset: read a snapshot, then call advance()
    /// with Error::restart_seq().
    std::optional<Delivery> next(Milliseconds timeout = forever, std::size_t changes_max = 1000) {
        Changes::Raw delivery;
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_follow_next, raw_.get(), changes_max, detail::ms(timeout),
                                 delivery.out())) {
            return std::nullopt;
        }
        return Delivery(std::move(delivery));
    }
    /// Makes a next() that waits return nothing; if none waits, the next one.
    void interrupt() const { detail::call(tw_follow_interrupt, raw_.get()); }
    /// Readable with each commit, for poll and event loops: never read from it or close it. Then call next(0ms) until
    /// it gives nothing.
    int descriptor() const {
        int fd = -1;
        detail::call(tw_follow_descriptor, raw_.get(), &fd);
        return fd;
    }
    /// The commit up to which has been acknowledged; 0 at the beginning.
    std::uint64_t position() const {
        std::uint64_t seq = 0;
        detail::call(tw_follow_position, raw_.get(), &seq);
        return seq;
    }
    /// Acknowledges up to a commit without reading.
    void advance(std::uint64_t seq) const { detail::call(tw_follow_advance, raw_.get(), seq); }
    /// Calls `function(Delivery &)` with each delivery, one at a time, in a thread of its own. It is acknowledged when
    /// that returns; after an exception it comes again in a second. The delivery is the library's, and good until the
    /// lambda returns, which may acknowledge it itself, also by Batch::advance(). Call no next() meanwhile.
    template <class Function>
    Listener listen(Function &&function, std::size_t changes_max = 1000) const {
        using Data = detail::Listening<std::decay_t<Function>>;
        auto kept = std::make_shared<detail::Kept>();
        auto *data = new Data{std::forward<Function>(function), kept};
        Listener::Raw listener;
        detail::call(tw_follow_listen, raw_.get(), changes_max, &Follow::on_delivery<Data>, static_cast<void *>(data),
                     &detail::finalize<Data>, listener.out());
        return Listener(std::move(listener), std::move(kept));
    }
    /// The handle of the C interface, lent.
    tw_follow *handle() const noexcept { return raw_.get(); }

private:
    friend class Warden;
    using Raw = detail::Handle<tw_follow, tw_follow_free>;
    explicit Follow(Raw raw) noexcept : raw_(std::move(raw)) {}

    template <class Data>
    static std::int32_t on_delivery(const tw_changes *raw, void *user_data) noexcept {
        auto &data = *static_cast<Data *>(user_data);
        try {
            Delivery delivery(Changes::Raw::borrow(raw));
            data.function(delivery);
            return 0;
        } catch (...) {
            data.kept->keep();
            return 1;
        }
    }

    Raw raw_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Snapshots
// ---------------------------------------------------------------------------------------------------------------------

/// Entries of a snapshot in path order, to be gone through once, one thread at a time:
/// `for (const EntryView &entry : snapshot.entries())`. It keeps what it needs of the snapshot.
class [[nodiscard]] Entries
    : public detail::Rows<tw_iter, tw_iter_free, tw_entry, EntryView, tw_iter_next, tw_iter_clear> {
public:
    /// Copies of all that are left.
    std::vector<Entry> all() {
        std::vector<Entry> entries;
        for (const EntryView &entry : *this) {
            entries.emplace_back(entry);
        }
        return entries;
    }

private:
    friend class Snapshot;
    explicit Entries(detail::Handle<tw_iter, tw_iter_free> raw) : Rows(std::move(raw)) {}
};

/// All roots as one commit left them. It never changes, and looking into it never waits. It outlives its warden.
class [[nodiscard]] Snapshot {
public:
    /// The number of the commit that this is the state of.
    std::uint64_t seq() const {
        std::uint64_t seq = 0;
        detail::call(tw_snapshot_seq, raw_.get(), &seq);
        return seq;
    }
    /// How many files and symlinks there are.
    std::uint64_t size() const {
        std::uint64_t len = 0;
        detail::call(tw_snapshot_len, raw_.get(), &len);
        return len;
    }
    /// The names of the roots, in order.
    std::vector<std::string> roots() const {
        detail::ListHandle list;
        detail::call(tw_snapshot_roots, raw_.get(), list.out());
        return detail::texts(list);
    }
    /// The file, directory or symlink at an address, or nothing. The name of a root alone finds its directory.
    std::optional<Entry> get(std::string_view address) const { return find(tw_snapshot_get, address); }
    /// The tombstone of what was there and is missing, or nothing.
    std::optional<Entry> get_missing(std::string_view address) const { return find(tw_snapshot_get_missing, address); }
    /// Whether a file, directory or symlink has that address.
    bool contains(std::string_view address) const {
        std::int32_t is_there = 0;
        detail::call(tw_snapshot_contains, raw_.get(), detail::bytes(address), &is_there);
        return is_there != 0;
    }
    /// The totals at or below an address, in the time of one look-up, or nothing where nothing is. An empty address
    /// means all roots.
    std::optional<Totals> du(std::string_view address = {}) const {
        tw_totals row{};
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, tw_snapshot_du, raw_.get(), detail::bytes(address), &row,
                                 sizeof row)) {
            return std::nullopt;
        }
        return Totals{row.files, row.dirs, row.bytes};
    }
    /// The entries that pass a filter. Default: all files and symlinks of all roots.
    Entries entries(const Filter &filter = {}) const {
        detail::Handle<tw_iter, tw_iter_free> iter;
        detail::call(tw_snapshot_iter, raw_.get(), filter.make().get(), iter.out());
        return Entries(std::move(iter));
    }
    /// What leads from `older` to this, in path order.
    Changes diff(const Snapshot &older) const {
        Changes::Raw changes;
        detail::call(tw_snapshot_diff, raw_.get(), older.raw_.get(), changes.out());
        return Changes(std::move(changes));
    }
    /// The entries that pass a filter, as a table.
    ArrowStream arrow(const Filter &filter = {}) const {
        ArrowArrayStream stream{};
        detail::call(tw_snapshot_arrow, raw_.get(), filter.make().get(), &stream);
        return ArrowStream(stream);
    }
    /// Writes the entries that pass a filter as a Parquet file, or below a directory. Code::AlreadyExists for a file
    /// that is there. Returns when it is durable.
    ExportReport to_parquet(const std::filesystem::path &path, const ExportOptions &options = {},
                            const Filter &filter = {}) const {
        tw_export_report row{};
        detail::call(tw_snapshot_export, raw_.get(), filter.make().get(), options.make().get(),
                     detail::path_bytes(path), &row, sizeof row);
        return {row.rows, row.bytes, row.files};
    }
    /// The handle of the C interface, lent.
    tw_snapshot *handle() const noexcept { return raw_.get(); }

private:
    friend class Warden;
    using Raw = detail::Handle<tw_snapshot, tw_snapshot_free>;
    explicit Snapshot(Raw raw) noexcept : raw_(std::move(raw)) {}

    using Look = tw_status (*)(const tw_snapshot *, tw_bytes, tw_entry *, std::size_t, tw_error **);

    std::optional<Entry> find(Look look, std::string_view address) const {
        tw_entry row{};
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, look, raw_.get(), detail::bytes(address), &row, sizeof row)) {
            return std::nullopt;
        }
        return Entry(EntryView(row));
    }

    Raw raw_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Spaces and batches
// ---------------------------------------------------------------------------------------------------------------------

/// A keyspace of the program's own in the state file. A view of its Warden, which must stay where it is.
class Space {
public:
    /// The value of a key, or nothing.
    std::optional<std::string> get(std::string_view key) const {
        detail::Handle<tw_value, tw_value_free> value;
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, tw_space_get, warden_, name(), detail::bytes(key),
                                 value.out())) {
            return std::nullopt;
        }
        tw_bytes bytes{};
        detail::call(tw_value_bytes, value.get(), &bytes);
        return detail::text(bytes);
    }
    /// Puts a value under a key. Keys have 1 byte to 4 KiB, values up to 16 MiB. Waits until it is durable, as all that
    /// follow.
    void put(std::string_view key, std::string_view value) const {
        detail::call(tw_space_put, warden_, name(), detail::bytes(key), detail::bytes(value));
    }
    /// Removes a key, and tells whether it was there.
    bool remove(std::string_view key) const {
        std::int32_t was_there = 0;
        detail::call(tw_space_delete, warden_, name(), detail::bytes(key), &was_there);
        return was_there != 0;
    }
    /// Puts a value (nothing: removes the key) if the key holds `expected` (nothing: if it is not there). False when it
    /// holds anything else, and then nothing has changed.
    [[nodiscard]] bool compare_and_set(std::string_view key, std::optional<std::string_view> expected,
                                       std::optional<std::string_view> value) const {
        return detail::call_unless(TW_STATUS_CONFLICT, tw_space_compare_and_set, warden_, name(), detail::bytes(key),
                                   detail::OptionalBytes(expected).get(), detail::OptionalBytes(value).get());
    }
    /// Keys that start with `prefix` and come after `after`, with their values, in byte order, at most `limit`.
    std::vector<std::pair<std::string, std::string>> items(
        std::string_view prefix = {}, std::string_view after = {},
        std::size_t limit = std::numeric_limits<std::size_t>::max()) const {
        detail::ListHandle list;
        detail::call(tw_space_items, warden_, name(), detail::bytes(prefix), detail::bytes(after), limit, list.out());
        return detail::pairs(list);
    }

private:
    friend class Warden;
    Space(const tw_warden *warden, std::string_view name) : warden_(warden), name_(name) {}
    tw_bytes name() const noexcept { return detail::bytes(name_); }

    const tw_warden *warden_;
    std::string name_;
};

/// Steps over spaces, attributes and names in the journal that happen together: one commit, all or nothing. Nothing
/// happens before commit(), which judges them.
class Batch {
public:
    /// Puts a value under a key of a space.
    Batch &put(std::string_view space, std::string_view key, std::string_view value) {
        return add(tw_batch_put, space, key, value);
    }
    /// Removes a key of a space, there or not.
    Batch &remove(std::string_view space, std::string_view key) { return add(tw_batch_delete, space, key); }
    /// As Space::compare_and_set(); where the key holds anything else, commit() throws Code::Conflict.
    Batch &compare_and_set(std::string_view space, std::string_view key, std::optional<std::string_view> expected,
                           std::optional<std::string_view> value) {
        detail::call(tw_batch_compare_and_set, raw_.get(), detail::bytes(space), detail::bytes(key),
                     detail::OptionalBytes(expected).get(), detail::OptionalBytes(value).get());
        return *this;
    }
    /// Sets an attribute of an entry.
    Batch &set_attr(std::string_view address, std::string_view name, std::string_view value) {
        return add(tw_batch_set_attr, address, name, value);
    }
    /// Removes an attribute of an entry.
    Batch &remove_attr(std::string_view address, std::string_view name) {
        return add(tw_batch_remove_attr, address, name);
    }
    /// Acknowledges under a name in the journal up to a commit, for example Delivery::upto(): what was made of a
    /// delivery and its acknowledgement happen once, whatever is killed when.
    Batch &advance(std::string_view cursor, std::uint64_t seq) {
        detail::call(tw_batch_advance, raw_.get(), detail::bytes(cursor), seq);
        return *this;
    }
    /// Commits all steps, and gives the seq. Once. Waits until it is durable. After an error nothing has happened.
    std::uint64_t commit() {
        std::uint64_t seq = 0;
        detail::call(tw_batch_commit, raw_.get(), &seq);
        return seq;
    }
    /// The handle of the C interface, lent.
    tw_batch *handle() const noexcept { return raw_.get(); }

private:
    friend class Warden;
    using Raw = detail::Handle<tw_batch, tw_batch_free>;
    explicit Batch(Raw raw) noexcept : raw_(std::move(raw)) {}

    template <class Function, class... Texts>
    Batch &add(Function function, Texts... texts) {
        detail::call(function, raw_.get(), detail::bytes(texts)...);
        return *this;
    }

    Raw raw_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Events and the log
// ---------------------------------------------------------------------------------------------------------------------

/// A queue of events. Those that say the same again are joined. The journal is the record; events only say that it is
/// worth a look.
class [[nodiscard]] Events {
public:
    /// The next event; waits for it. Nothing when none came in time, and after interrupt(). Any number of threads: each
    /// event goes to one of them. Code::Closed when the warden was closed and nothing is left.
    std::optional<Event> next(Milliseconds timeout = forever) const {
        const auto begin = std::chrono::steady_clock::now();
        const Turn turn(turns_.get(), timeout);
        if (!turn) {
            return std::nullopt;
        }
        Milliseconds left = timeout;
        if (timeout > Milliseconds(0)) {
            const auto spent = std::chrono::steady_clock::now() - begin;
            left = std::max(timeout - std::chrono::duration_cast<Milliseconds>(spent), Milliseconds(0));
        }
        tw_event row{};
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_events_next, raw_.get(), detail::ms(left), &row, sizeof row)) {
            return std::nullopt;
        }
        std::optional<Event> event = Event(row);
        // It is a copy, and nobody else has a view: it is this thread's turn.
        tw_events_clear(raw_.get(), nullptr);
        return event;
    }
    /// Makes a next() that waits return nothing; if none waits, the next one.
    void interrupt() const { detail::call(tw_events_interrupt, raw_.get()); }
    /// Readable while there is an event to be taken, and when the warden has been closed, for poll and event loops:
    /// never read from it or close it. Then call next(0ms) until it gives nothing.
    int descriptor() const {
        int fd = -1;
        detail::call(tw_events_descriptor, raw_.get(), &fd);
        return fd;
    }
    /// The handle of the C interface, lent. Who takes events by it ends the views of other threads with next().
    tw_events *handle() const noexcept { return raw_.get(); }

private:
    friend class Warden;
    using Raw = detail::Handle<tw_events, tw_events_free>;
    explicit Events(Raw raw) : raw_(std::move(raw)), turns_(std::make_unique<Turns>()) {}

    struct Turns {
        std::mutex mutex;
        std::condition_variable changed;
        bool is_taken = false;
    };

    /// The turn of one thread. Without it one would clear the views that another one is still copying.
    class Turn {
    public:
        Turn(Turns *turns, Milliseconds timeout) : turns_(turns) {
            if (turns_ == nullptr) {
                throw Error(Code::InvalidHandle, "the events were moved from");
            }
            const auto is_free = [this] { return !turns_->is_taken; };
            std::unique_lock<std::mutex> lock(turns_->mutex);
            if (timeout < Milliseconds(0) || timeout > std::chrono::hours(24 * 366)) {
                turns_->changed.wait(lock, is_free);
            } else if (!turns_->changed.wait_for(lock, timeout, is_free)) {
                turns_ = nullptr;
                return;
            }
            turns_->is_taken = true;
        }
        Turn(const Turn &) = delete;
        Turn &operator=(const Turn &) = delete;
        ~Turn() {
            if (turns_ != nullptr) {
                {
                    const std::lock_guard<std::mutex> lock(turns_->mutex);
                    turns_->is_taken = false;
                }
                turns_->changed.notify_one();
            }
        }
        explicit operator bool() const noexcept { return turns_ != nullptr; }

    private:
        Turns *turns_;
    };

    Raw raw_;
    std::unique_ptr<Turns> turns_;
};

/// Hands what the library logs to `function(LogLevel, std::string_view)`, from now on and for the whole process; it
/// takes the place of the one before. It is called in any thread, several at once. What it throws is dropped.
template <class Function>
void set_log(LogLevel level_max, Function &&function) {
    using Data = std::decay_t<Function>;
    const tw_log_fn on_line = [](std::int32_t level, tw_bytes message, void *user_data) {
        try {
            (*static_cast<Data *>(user_data))(static_cast<LogLevel>(level), detail::view(message));
        } catch (...) {
            // A log that cannot be written has nowhere to say so.
        }
    };
    detail::call(tw_set_log, static_cast<std::int32_t>(level_max), on_line,
                 static_cast<void *>(new Data(std::forward<Function>(function))), &detail::finalize<Data>);
}

/// Logs nothing any more.
inline void set_log_off() {
    detail::call(tw_set_log, static_cast<std::int32_t>(LogLevel::Off), tw_log_fn{}, static_cast<void *>(nullptr),
                 tw_finalizer{});
}

// ---------------------------------------------------------------------------------------------------------------------
// Limiters
// ---------------------------------------------------------------------------------------------------------------------

/// The right to send one request. Hold it until the answer has come; its end counts as that. One of its functions ends
/// it, once.
class Permit {
public:
    /// The answer has come: the request counts for one more window from now.
    void done() { detail::call(tw_permit_done, raw_.get()); }
    /// It was sent at once, by a program that does not wait for answers: it counts for one window from its grant.
    void sent_at_once() { detail::call(tw_permit_sent_at_once, raw_.get()); }
    /// Nothing was sent and nothing will be: it never counted.
    void unused() { detail::call(tw_permit_unused, raw_.get()); }
    /// The answer was a refusal because there were too many; nothing: the server did not say for how long.
    void throttled(std::optional<Milliseconds> retry_after = std::nullopt) {
        detail::call(tw_permit_throttled, raw_.get(), detail::ms(retry_after));
    }
    /// The handle of the C interface, lent.
    tw_permit *handle() const noexcept { return raw_.get(); }

private:
    friend class Limiter;
    using Raw = detail::Handle<tw_permit, tw_permit_free>;
    explicit Permit(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// Grants at most so many requests in any rolling window.
class Limiter {
public:
    /// A limiter of its own. It begins with an empty window; that of a pipeline remembers.
    explicit Limiter(const LimiterOptions &options) {
        detail::call(tw_limiter_new, options.make().get(), raw_.out());
    }
    /// Waits until a request may be sent. Nothing when none may in time, and after interrupt().
    [[nodiscard]] std::optional<Permit> acquire(Milliseconds timeout = forever, std::uint32_t cost = 1) const {
        Permit::Raw permit;
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_limiter_acquire, raw_.get(), cost, detail::ms(timeout),
                                 permit.out())) {
            return std::nullopt;
        }
        return Permit(std::move(permit));
    }
    /// A request was refused because there were too many; Permit::throttled() knows which one.
    void throttled(std::optional<Milliseconds> retry_after = std::nullopt) const {
        detail::call(tw_limiter_throttled, raw_.get(), detail::ms(retry_after));
    }
    /// A request has gone well: it is counted.
    void succeeded() const { detail::call(tw_limiter_succeeded, raw_.get()); }
    /// Makes all acquire() that wait return nothing; if none waits, the next one.
    void interrupt() const { detail::call(tw_limiter_interrupt, raw_.get()); }
    /// Ends it: acquire() throws Code::Closed. Code::InvalidArgument for that of a pipeline, which ends with that.
    void close() const { detail::call(tw_limiter_close, raw_.get()); }
    /// How it stands.
    LimiterStatus status() const {
        tw_limiter_status_info row{};
        detail::call(tw_limiter_status, raw_.get(), &row, sizeof row);
        return LimiterStatus(row);
    }
    /// The handle of the C interface, lent.
    tw_limiter *handle() const noexcept { return raw_.get(); }

private:
    friend class Pipeline;
    using Raw = detail::Handle<tw_limiter, tw_limiter_free>;
    explicit Limiter(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// How long to wait by the value of the HTTP header `Retry-After`: seconds, or a date. Nothing for what is neither.
inline std::optional<Milliseconds> parse_retry_after(std::string_view header,
                                                     Time now = std::chrono::system_clock::now()) {
    std::int64_t wait_ms = 0;
    if (!detail::call_unless(TW_STATUS_INVALID_ARGUMENT, tw_parse_retry_after, detail::bytes(header), detail::ns(now),
                             &wait_ms)) {
        return std::nullopt;
    }
    return Milliseconds(wait_ms);
}

// ---------------------------------------------------------------------------------------------------------------------
// Pipelines
// ---------------------------------------------------------------------------------------------------------------------

/// What is stored with a completion besides the attributes of the job.
struct Completion {
    std::optional<Time> refresh_at;  ///< When it is to be done anew, whatever the pipeline says.
    std::optional<Time> reference;   ///< The date whose age decides between the tiers; otherwise the mtime.

    /// The same for the C interface.
    tw_completion row() const noexcept {
        tw_completion row{};
        row.has_refresh_at = refresh_at ? 1 : 0;
        row.refresh_at_ns = detail::ns(refresh_at.value_or(Time()));
        row.has_reference = reference ? 1 : 0;
        row.reference_ns = detail::ns(reference.value_or(Time()));
        return row;
    }
};

/// What all jobs tell and take. A view of its owner: Jobs, or the callback of a worker.
class JobView {
public:
    /// The address: of the file, or the key of the group.
    std::string_view path() const noexcept { return detail::view(row_.path); }
    /// Where the file lies on this disk; empty when its root was removed.
    std::filesystem::path fs_path() const { return detail::view(row_.fs_path); }
    /// The address under which it was completed last: it may have moved since. Nothing when it never was, and when
    /// another file lies there by now.
    std::optional<std::string_view> done_path() const noexcept {
        return detail::optional<std::string_view>(row_.done_path);
    }
    /// The fencing token: no two leases have the same.
    std::uint64_t token() const noexcept { return row_.token; }
    /// Why it was handed out.
    WorkState state() const noexcept { return static_cast<WorkState>(row_.state); }
    /// The class in which it waited.
    Priority priority() const noexcept { return static_cast<Priority>(row_.priority); }
    /// It is gone: clean up what was made of it.
    bool is_gone() const noexcept { return row_.is_gone != 0; }
    /// How many times this content has been tried, this time included.
    std::uint32_t attempt() const noexcept { return row_.attempt; }
    /// When the lease runs out.
    Time expires() const { return detail::time(read().expires_ns); }
    /// The addresses of the files of a group; of a single file its own, or nothing when it is missing.
    std::vector<std::string> files() const {
        detail::ListHandle list;
        detail::call(tw_jobs_files, jobs_, index_, list.out());
        return detail::texts(list);
    }
    /// The attributes, as they would be stored with its completion now.
    Attrs attrs() const {
        detail::ListHandle list;
        detail::call(tw_jobs_attrs, jobs_, index_, list.out());
        auto pairs = detail::pairs(list);
        return Attrs(std::make_move_iterator(pairs.begin()), std::make_move_iterator(pairs.end()));
    }
    /// One of them, or nothing.
    std::optional<std::string> attr(std::string_view name) const {
        detail::Handle<tw_value, tw_value_free> value;
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, tw_jobs_attr, jobs_, index_, detail::bytes(name), value.out())) {
            return std::nullopt;
        }
        tw_bytes bytes{};
        detail::call(tw_value_bytes, value.get(), &bytes);
        return detail::text(bytes);
    }
    /// Sets an attribute, to be stored with the completion and given back the next time.
    void set_attr(std::string_view name, std::string_view value) const {
        detail::call(tw_jobs_set_attr, jobs_, index_, detail::bytes(name), detail::bytes(value));
    }
    /// Removes an attribute, with the completion.
    void remove_attr(std::string_view name) const {
        detail::call(tw_jobs_remove_attr, jobs_, index_, detail::bytes(name));
    }
    /// Renews the lease, and gives when it runs out. Code::LeaseLost when it has run out before.
    Time renew() const {
        std::int64_t expires_ns = 0;
        detail::call(tw_jobs_renew, jobs_, index_, &expires_ns);
        return detail::time(expires_ns);
    }
    /// Its request was refused because there were too many: put it off then.
    void throttled(std::optional<Milliseconds> retry_after = std::nullopt) const {
        detail::call(tw_jobs_throttled, jobs_, index_, detail::ms(retry_after));
    }
    /// Its request has been answered. Without it that is assumed when the job ends.
    void answered() const { detail::call(tw_jobs_answered, jobs_, index_); }
    /// Nothing is sent for it: it takes nobody's turn.
    void sends_nothing() const { detail::call(tw_jobs_sends_nothing, jobs_, index_); }

protected:
    /// Of a place in jobs of the C interface.
    JobView(const tw_jobs *jobs, std::size_t index) : jobs_(jobs), index_(index), row_(read()) {}

    const tw_jobs *jobs_;  ///< Lent by the owner.
    std::size_t index_;    ///< The place there.

private:
    tw_job read() const {
        tw_job row{};
        detail::call(tw_jobs_get, jobs_, index_, &row, sizeof row);
        return row;
    }

    tw_job row_;
};

/// A job that was claimed, to be ended once. A view of its Jobs, which give it back at their end where it was not.
/// Each end is durable on return. Code::LeaseLost when it was handed out again meanwhile: nothing was recorded.
class Job : public JobView {
public:
    /// It is done.
    void complete(const Completion &completion = {}) const {
        const tw_completion row = completion.row();
        detail::call(tw_jobs_complete, jobs_, index_, &row, sizeof row);
    }
    /// It has failed and is tried again, after as long as the pipeline or a server says.
    void fail(std::string_view why, std::optional<Milliseconds> retry_after = std::nullopt) const {
        detail::call(tw_jobs_fail, jobs_, index_, detail::bytes(why), std::int32_t{0}, detail::ms(retry_after));
    }
    /// It has failed for good: it is dead until the file changes or somebody asks for it.
    void fail_permanently(std::string_view why) const {
        detail::call(tw_jobs_fail, jobs_, index_, detail::bytes(why), std::int32_t{1}, std::int64_t{-1});
    }
    /// It is put off; no attempt.
    void snooze(Milliseconds wait) const { detail::call(tw_jobs_snooze, jobs_, index_, detail::ms(wait)); }
    /// It is given back and handed out again at once; no attempt.
    void release() const { detail::call(tw_jobs_release, jobs_, index_); }

private:
    friend class Jobs;
    Job(const tw_jobs *jobs, std::size_t index) : JobView(jobs, index) {}
};

class Pipeline;

/// Jobs that were handed out together. Its end gives back those that were not ended.
class [[nodiscard]] Jobs {
public:
    /// Goes through them.
    using iterator = std::vector<Job>::const_iterator;

    /// The first one.
    iterator begin() const noexcept { return jobs_.begin(); }
    /// Behind the last one.
    iterator end() const noexcept { return jobs_.end(); }
    /// How many there are, ended ones included.
    std::size_t size() const noexcept { return jobs_.size(); }
    /// Whether nothing came.
    bool empty() const noexcept { return jobs_.empty(); }
    /// One of them; `index` is less than size().
    const Job &operator[](std::size_t index) const noexcept { return jobs_[index]; }
    /// Ends all that are in hand as done, in one commit where they are of one pipeline. One code for each: Code::Ok,
    /// Code::LeaseLost, which does not keep the others from being recorded, or Code::InvalidArgument for one that was
    /// ended before.
    std::vector<Code> complete_all() const {
        std::vector<tw_status> statuses(size());
        detail::call(tw_jobs_complete_all, raw_.get(), statuses.data(), statuses.size());
        return detail::collect(size(), [&](std::size_t index) { return static_cast<Code>(statuses[index]); });
    }
    /// Those that have not been ended, as a table. They stay where they are.
    ArrowStream arrow() const {
        ArrowArrayStream stream{};
        detail::call(tw_jobs_arrow, raw_.get(), &stream);
        return ArrowStream(stream);
    }
    /// The handle of the C interface, lent.
    tw_jobs *handle() const noexcept { return raw_.get(); }

private:
    friend class Pipeline;
    friend Jobs claim_from(const std::vector<const Pipeline *> &pipelines, std::size_t jobs_max);
    using Raw = detail::Handle<tw_jobs, tw_jobs_free>;
    explicit Jobs(Raw raw) : raw_(std::move(raw)) {
        std::size_t len = 0;
        detail::call(tw_jobs_len, raw_.get(), &len);
        jobs_ = detail::collect(len, [&](std::size_t index) { return Job(raw_.get(), index); });
    }

    Raw raw_;
    std::vector<Job> jobs_;
};

/// A job in the hands of a worker: it ends with what the lambda returns or throws. Its lease is renewed meanwhile. Good
/// until the lambda returns.
class WorkerJob : public JobView {
private:
    friend class Pipeline;
    explicit WorkerJob(const tw_jobs *jobs) : JobView(jobs, 0) {}
};

/// What became of the job of a worker.
class JobEnd {
public:
    /// It is done.
    static JobEnd done(const Completion &completion = {}) { return JobEnd(TW_WORKER_DONE, completion); }
    /// It may go well another time.
    static JobEnd failed(std::string_view why, std::optional<Milliseconds> retry_after = std::nullopt) {
        return JobEnd(TW_WORKER_TRANSIENT, {}, why, retry_after);
    }
    /// It will not go well with this content.
    static JobEnd failed_permanently(std::string_view why) { return JobEnd(TW_WORKER_PERMANENT, {}, why); }
    /// It is not its fault: it is put off; no attempt.
    static JobEnd put_off(Milliseconds wait) { return JobEnd(TW_WORKER_PUT_OFF, {}, {}, wait); }

private:
    friend class Pipeline;
    JobEnd(std::int32_t answer, const Completion &completion, std::string_view why = {},
           std::optional<Milliseconds> wait = std::nullopt)
        : answer_(answer), completion_(completion), why_(why), wait_(wait) {}

    /// Leaves the notes, and gives what the callback is to return.
    std::int32_t leave(const tw_jobs *jobs) const {
        if (answer_ == TW_WORKER_DONE) {
            const tw_completion row = completion_.row();
            detail::call(tw_jobs_note_completion, jobs, std::size_t{0}, &row, sizeof row);
        } else {
            detail::call(tw_jobs_note_failure, jobs, std::size_t{0}, detail::bytes(why_), detail::ms(wait_));
        }
        return answer_;
    }

    std::int32_t answer_;
    Completion completion_;
    std::string why_;
    std::optional<Milliseconds> wait_;
};

/// What a worker throws, from wherever it is, when its job will not go well with this content.
class Permanent : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Threads that work on a pipeline. Their end stops them.
class [[nodiscard]] Workers {
public:
    /// How many jobs have been ended.
    struct Counts {
        std::uint64_t done = 0;    ///< As done.
        std::uint64_t failed = 0;  ///< As failed or put off.
    };

    /// Takes no new jobs, and waits until those in hand are done. Not from the lambda, whose return it would wait for:
    /// Code::InvalidArgument. A second time it does nothing.
    void stop() { detail::call(tw_workers_stop, raw_.get()); }
    /// How many jobs have been ended so far.
    Counts counts() const {
        Counts counts;
        detail::call(tw_workers_counts, raw_.get(), &counts.done, &counts.failed);
        return counts;
    }
    /// The handle of the C interface, lent.
    tw_workers *handle() const noexcept { return raw_.get(); }

private:
    friend class Pipeline;
    using Raw = detail::Handle<tw_workers, tw_workers_free>;
    explicit Workers(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// A named consumer of work: which files it works on, and what is still to be done about each of them.
class Pipeline {
public:
    /// Takes up to so many jobs that are due, best first, each under a lease; waits for the first one. Without any, the
    /// jobs are empty, also after interrupt(). End each before its lease runs out, or renew it.
    Jobs claim(std::size_t jobs_max, Milliseconds timeout = Milliseconds(0)) const {
        Jobs::Raw jobs;
        detail::call(tw_pipeline_claim, raw_.get(), jobs_max, detail::ms(timeout), jobs.out());
        return Jobs(std::move(jobs));
    }
    /// Starts threads that call `function(WorkerJob &)` for each job that becomes due, until the Workers end. When it
    /// returns nothing the job is done; it may return a JobEnd. When it throws, the job has failed: for good with
    /// Permanent, otherwise to be tried again, for the reason that `what()` gives. It is called in several threads at
    /// once.
    template <class Function>
    Workers work(std::size_t threads, Function &&function) const {
        using Data = std::decay_t<Function>;
        auto *data = new Data(std::forward<Function>(function));
        Workers::Raw workers;
        detail::call(tw_pipeline_work, raw_.get(), threads, &Pipeline::on_job<Data>, static_cast<void *>(data),
                     &detail::finalize<Data>, workers.out());
        return Workers(std::move(workers));
    }
    /// Asks for a file, everything below a directory, or (with nothing) everything, to be done now. Durable on return.
    /// Code::NotFound when there is no item at or below the address.
    RequestReport request(std::string_view address, Priority priority = Priority::Critical) const {
        tw_request_report row{};
        detail::call(tw_pipeline_request, raw_.get(), detail::bytes(address), static_cast<std::int32_t>(priority),
                     &row, sizeof row);
        return {row.added, row.merged, row.promoted, row.will_rerun};
    }
    /// Makes items in error at or below an address due at once, dead ones too, and gives how many.
    std::uint64_t retry(std::string_view address = {}) const {
        std::uint64_t retried = 0;
        detail::call(tw_pipeline_retry, raw_.get(), detail::bytes(address), &retried);
        return retried;
    }
    /// Items at or below an address, by address, of one state or of all.
    std::vector<WorkItem> list(std::string_view address = {}, std::optional<WorkState> state = std::nullopt,
                               std::size_t limit = std::numeric_limits<std::size_t>::max()) const {
        const detail::ListHandle items = rows(address, state, limit);
        return detail::collect(detail::size(items), [&](std::size_t index) {
            return WorkItem(detail::row(tw_list_work_item, items, index));
        });
    }
    /// The same as a table.
    ArrowStream list_arrow(std::string_view address = {}, std::optional<WorkState> state = std::nullopt,
                           std::size_t limit = std::numeric_limits<std::size_t>::max()) const {
        ArrowArrayStream stream{};
        detail::call(tw_list_arrow, rows(address, state, limit).get(), &stream);
        return ArrowStream(stream);
    }
    /// All that is known of one item, and why. Code::NotFound when there is no such item.
    WorkExplanation explain(std::string_view address) const {
        detail::ListHandle list;
        detail::call(tw_pipeline_explain, raw_.get(), detail::bytes(address), list.out());
        const auto row = detail::row(tw_list_work_explanation, list);
        WorkExplanation explanation(row);
        for (auto &pair : detail::pairs(list, row.attrs)) {
            explanation.attrs.insert(std::move(pair));
        }
        return explanation;
    }
    /// How it stands. Nothing is counted for it.
    PipelineStatus status() const {
        tw_pipeline_status_info row{};
        detail::call(tw_pipeline_status, raw_.get(), &row, sizeof row);
        return PipelineStatus(row);
    }
    /// Wakes every claim() and wait_idle() that waits, in all threads.
    void interrupt() const { detail::call(tw_pipeline_interrupt, raw_.get()); }
    /// Waits until nothing is left to be done; what waits for its next try does not count. False when the time is over,
    /// and after interrupt().
    bool wait_idle(Milliseconds timeout = forever) const {
        std::int32_t is_idle = 0;
        detail::call(tw_pipeline_wait_idle, raw_.get(), detail::ms(timeout), &is_idle);
        return is_idle != 0;
    }
    /// Its limiter, for what a job sends beyond its first request; nothing without a rate.
    std::optional<Limiter> limiter() const {
        Limiter::Raw limiter;
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, tw_pipeline_limiter, raw_.get(), limiter.out())) {
            return std::nullopt;
        }
        return Limiter(std::move(limiter));
    }
    /// The handle of the C interface, lent.
    tw_pipeline *handle() const noexcept { return raw_.get(); }

private:
    friend class Warden;
    using Raw = detail::Handle<tw_pipeline, tw_pipeline_free>;
    explicit Pipeline(Raw raw) noexcept : raw_(std::move(raw)) {}

    detail::ListHandle rows(std::string_view address, std::optional<WorkState> state, std::size_t limit) const {
        detail::ListHandle list;
        detail::call(tw_pipeline_list, raw_.get(), detail::bytes(address),
                     state ? static_cast<std::int32_t>(*state) : std::int32_t{-1}, limit, list.out());
        return list;
    }

    template <class Data>
    static JobEnd run(Data &function, WorkerJob &job) {
        if constexpr (std::is_void_v<std::invoke_result_t<Data &, WorkerJob &>>) {
            function(job);
            return JobEnd::done();
        } else {
            return function(job);
        }
    }

    template <class Data>
    static std::int32_t on_job(const tw_jobs *jobs, void *user_data) noexcept {
        try {
            try {
                WorkerJob job(jobs);
                return run(*static_cast<Data *>(user_data), job).leave(jobs);
            } catch (const Permanent &why) {
                return JobEnd::failed_permanently(why.what()).leave(jobs);
            } catch (const std::exception &why) {
                return JobEnd::failed(why.what()).leave(jobs);
            }
        } catch (...) {
            // Also where the reason could not be left, for lack of memory or for not being UTF-8.
            return TW_WORKER_TRANSIENT;
        }
    }

    Raw raw_;
};

/// Takes up to so many jobs that are due in several pipelines: all of the one whose best job is in the best class, the
/// next one's only when that has no more. Never waits for jobs.
inline Jobs claim_from(const std::vector<const Pipeline *> &pipelines, std::size_t jobs_max) {
    std::vector<const tw_pipeline *> handles;
    for (const Pipeline *pipeline : pipelines) {
        handles.push_back(pipeline->handle());
    }
    Jobs::Raw jobs;
    detail::call(tw_pipelines_claim, handles.data(), handles.size(), jobs_max, jobs.out());
    return Jobs(std::move(jobs));
}

// ---------------------------------------------------------------------------------------------------------------------
// Mirrors
// ---------------------------------------------------------------------------------------------------------------------

/// Stops scans, verifications and runs of mirrors from outside, as many as were given it. There is no way back.
class CancelToken {
public:
    /// One that nobody has cancelled.
    CancelToken() { detail::call(tw_cancel_new, raw_.out()); }
    /// Asks them to stop. Never waits. Not from a signal handler.
    void cancel() const { detail::call(tw_cancel_cancel, raw_.get()); }
    /// The handle of the C interface, lent.
    tw_cancel *handle() const noexcept { return raw_.get(); }

private:
    friend class Mirror;
    friend class Warden;

    tw_cancel *given() const {
        // To the C interface it would mean that there is none.
        if (raw_.get() == nullptr) {
            throw Error(Code::InvalidHandle, "the cancel token was moved from");
        }
        return raw_.get();
    }

    detail::Handle<tw_cancel, tw_cancel_free> raw_;
};

/// The URLs of a mirror as they were at one moment. It never changes, and looking into it waits for nobody.
class [[nodiscard]] UrlMap {
public:
    /// How many objects there are. They are counted.
    std::uint64_t size() const {
        std::uint64_t len = 0;
        detail::call(tw_urls_len, raw_.get(), &len);
        return len;
    }
    /// The URL of the object of a file, or nothing.
    std::optional<std::string> url(std::string_view address) const { return find(tw_urls_url, address); }
    /// The address of the file whose object has this URL, or nothing.
    std::optional<std::string> path(std::string_view url) const { return find(tw_urls_path, url); }
    /// Each address and its URL, in the order of the keys of the objects.
    std::vector<std::pair<std::string, std::string>> all() const {
        detail::ListHandle list;
        detail::call(tw_urls_list, raw_.get(), list.out());
        return detail::pairs(list);
    }
    /// What came, changed and went since an older map of the same mirror.
    std::vector<UrlChange> diff(const UrlMap &older) const {
        detail::ListHandle list;
        detail::call(tw_urls_diff, raw_.get(), older.raw_.get(), list.out());
        return detail::collect(detail::size(list), [&](std::size_t index) {
            return UrlChange(detail::row(tw_list_url_change, list, index));
        });
    }
    /// The handle of the C interface, lent.
    tw_urls *handle() const noexcept { return raw_.get(); }

private:
    friend class Mirror;
    using Raw = detail::Handle<tw_urls, tw_urls_free>;
    using Look = tw_status (*)(const tw_urls *, tw_bytes, tw_value **, tw_error **);
    explicit UrlMap(Raw raw) noexcept : raw_(std::move(raw)) {}

    std::optional<std::string> find(Look look, std::string_view what) const {
        detail::Handle<tw_value, tw_value_free> value;
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, look, raw_.get(), detail::bytes(what), value.out())) {
            return std::nullopt;
        }
        return detail::value_text(value);
    }

    Raw raw_;
};

namespace detail {
struct StorageCalls;
}

/// What a Storage throws to say more than "it may work the next time". `what()` is one sentence, without any secret.
/// Of other exceptions the words are told to nobody.
class StorageError : public std::runtime_error {
public:
    /// With StorageFault::Throttled, for how long the storage asks everybody to wait, where it says so.
    explicit StorageError(StorageFault fault, const std::string &why,
                          std::optional<Milliseconds> retry_after = std::nullopt)
        : std::runtime_error(why), fault_(fault), retry_after_(retry_after) {}

    /// What it means for what comes next.
    StorageFault fault() const noexcept { return fault_; }
    /// For how long to wait.
    std::optional<Milliseconds> retry_after() const noexcept { return retry_after_; }

private:
    StorageFault fault_;
    std::optional<Milliseconds> retry_after_;
};

/// A file on its way to a Storage. Good, with its views, until Storage::put() returns.
class Upload {
public:
    /// Where to.
    std::string_view key() const noexcept { return detail::view(row_.key); }
    /// Size of the content in bytes.
    std::uint64_t size() const noexcept { return row_.size; }
    /// `Content-Type`.
    std::string_view content_type() const noexcept { return detail::view(row_.content_type); }
    /// `Cache-Control`, or nothing.
    std::optional<std::string_view> cache_control() const {
        return detail::optional<std::string_view>(row_.cache_control);
    }
    /// Reads on: up to `capacity` bytes, at least 1, into `buffer`. Gives how many, which may be fewer, and is 0 at the
    /// end alone. Blocks for the disk, for memory and for the line. Code::Conflict when the file changed meanwhile,
    /// Code::Io, Code::Cancelled: nothing is acknowledged then, whatever put() does.
    std::size_t read(void *buffer, std::size_t capacity) {
        std::size_t len = 0;
        detail::call(tw_call_read, lent_, buffer, capacity, &len);
        return len;
    }
    /// All that is left. It is in memory as a whole: for files that are known to be small.
    std::string read_all() {
        std::string all;
        std::array<char, 65536> buffer{};
        while (const std::size_t len = read(buffer.data(), buffer.size())) {
            all.append(buffer.data(), len);
        }
        return all;
    }
    /// The handle of the C interface, lent.
    const tw_call *handle() const noexcept { return lent_; }

private:
    friend struct detail::StorageCalls;
    Upload(const tw_call *lent, const tw_upload &row) noexcept : lent_(lent), row_(row) {}

    const tw_call *lent_;
    const tw_upload &row_;
};

/// Where Storage::list() tells objects. Good until that returns.
class Listing {
public:
    /// Tells one object, in any order, each once: its whole key, its size, and its entity tag as put() has given it.
    /// Code::Cancelled when the audit was cancelled.
    void add(std::string_view key, std::uint64_t size, std::string_view etag = {}) {
        detail::call(tw_call_add_object, lent_, detail::bytes(key), size, detail::bytes(etag));
    }

private:
    friend struct detail::StorageCalls;
    explicit Listing(const tw_call *lent) noexcept : lent_(lent) {}

    const tw_call *lent_;
};

/// What a Storage can do beyond putting and removing, and its limits.
struct StorageAbilities {
    bool copy = false;              ///< Storage::copy(); else files that moved are sent.
    bool list = false;              ///< Storage::list(); else an audit is Code::Unsupported.
    bool url = false;               ///< Storage::url(); else URLs are made of MirrorOptions::public_url().
    std::size_t remove_max = 0;     ///< Keys of one call of Storage::remove() at most; 0: 1,000.
    std::size_t key_bytes_max = 0;  ///< Bytes of one key at most; longer ones are refused. 0: 1,024.
};

/// A storage of the program, for Warden::mirror(): a place for objects, which it knows by their keys.
///
/// Every function tries once, is called in any thread, in several at once, and may block. What it throws never leaves
/// it: a StorageError says what it means, anything else means that it may work the next time. It must not open or remove
/// mirrors, run this one, or close the warden.
class Storage {
public:
    /// Nothing.
    Storage() = default;
    /// Shared, not copied.
    Storage(const Storage &) = delete;
    /// Shared, not copied.
    Storage &operator=(const Storage &) = delete;
    /// In the thread in which the library lets go of it, or the program, whichever is last.
    virtual ~Storage() = default;

    /// What it is called: it tells one place from another, so the same objects have the same name in each process. 1 to
    /// 255 bytes of UTF-8 without control characters and without any secret. Asked once.
    virtual std::string name() const = 0;
    /// What it can do. Asked once.
    virtual StorageAbilities abilities() const { return {}; }
    /// Puts an object, whole or not at all; what was there before is replaced. It reads the Upload to its end, and
    /// gives the entity tag of the object without quotes, or nothing, when the object is safe.
    virtual std::optional<std::string> put(Upload &upload) = 0;
    /// Deletes objects; one that is not there is deleted. Gives those that it failed with, by their places in `keys`;
    /// what it throws goes for all of them.
    virtual std::map<std::size_t, StorageFault> remove(const std::vector<std::string_view> &keys) = 0;
    /// Copies an object, and gives the entity tag of the copy, or nothing. With StorageAbilities::copy.
    virtual std::optional<std::string> copy(std::string_view /*from*/, std::string_view /*to*/) {
        throw StorageError(StorageFault::Unsupported, "this storage copies nothing");
    }
    /// Tells each object whose key begins with `prefix`. With StorageAbilities::list.
    virtual void list(std::string_view /*prefix*/, Listing & /*listing*/) {
        throw StorageError(StorageFault::Unsupported, "this storage cannot be listed");
    }
    /// The URL of an object that a CDN is to be told of, or nothing. With StorageAbilities::url.
    virtual std::optional<std::string> url(std::string_view /*key*/) { return std::nullopt; }
};

namespace detail {

/// The callbacks of a Storage. `user_data` is an Owner on the heap.
struct StorageCalls {
    using Owner = std::shared_ptr<Storage>;

    static tw_storage row(std::string_view name, const StorageAbilities &can) noexcept {
        tw_storage row{};
        row.name = bytes(name);
        row.put = &StorageCalls::put;
        row.remove = &StorageCalls::remove;
        row.copy = can.copy ? &StorageCalls::copy : nullptr;
        row.list = can.list ? &StorageCalls::list : nullptr;
        row.url = can.url ? &StorageCalls::url : nullptr;
        row.delete_max = can.remove_max;
        row.key_bytes_max = can.key_bytes_max;
        return row;
    }

private:
    static Storage &of(void *user_data) noexcept { return **static_cast<Owner *>(user_data); }

    static std::int32_t fail(const tw_call *lent, StorageFault fault, const char *why,
                             const std::optional<Milliseconds> &retry_after) {
        call(tw_call_note_failure, lent, bytes(why), ms(retry_after));
        return static_cast<std::int32_t>(fault);
    }

    static void note_etag(const tw_call *lent, const std::optional<std::string> &etag) {
        if (etag) {
            call(tw_call_note_etag, lent, bytes(*etag));
        }
    }

    template <class Work>
    static std::int32_t run(const tw_call *lent, Work work) noexcept {
        try {
            try {
                work();
                return TW_STORAGE_OK;
            } catch (const StorageError &why) {
                return fail(lent, why.fault(), why.what(), why.retry_after());
            } catch (const std::exception &) {
                // Not its words: they may quote what was sent.
                return fail(lent, StorageFault::Transient, "the storage of the program threw an exception",
                            std::nullopt);
            }
        } catch (...) {
            // Also where the reason could not be left, for lack of memory.
            return TW_STORAGE_TRANSIENT;
        }
    }

    static std::int32_t put(const tw_call *lent, const tw_upload *upload, void *user_data) noexcept {
        return run(lent, [&] {
            Upload shown(lent, *upload);
            note_etag(lent, of(user_data).put(shown));
        });
    }

    static std::int32_t remove(const tw_call *lent, const tw_bytes *keys, std::size_t count, std::int32_t *ends,
                               void *user_data) noexcept {
        return run(lent, [&] {
            const auto shown = collect(count, [&](std::size_t index) { return view(keys[index]); });
            for (const auto &[index, fault] : of(user_data).remove(shown)) {
                if (index < count) {
                    ends[index] = static_cast<std::int32_t>(fault);
                }
            }
        });
    }

    static std::int32_t copy(const tw_call *lent, tw_bytes from, tw_bytes to, void *user_data) noexcept {
        return run(lent, [&] { note_etag(lent, of(user_data).copy(view(from), view(to))); });
    }

    static std::int32_t list(const tw_call *lent, tw_bytes prefix, void *user_data) noexcept {
        return run(lent, [&] {
            Listing listing(lent);
            of(user_data).list(view(prefix), listing);
        });
    }

    static std::int32_t url(const tw_call *lent, tw_bytes key, void *user_data) noexcept {
        return run(lent, [&] {
            if (const auto told = of(user_data).url(view(key))) {
                call(tw_call_note_url, lent, bytes(*told));
            }
        });
    }
};

}  // namespace detail

/// Threads of the library that run a mirror after each change. Their end stops them.
class [[nodiscard]] Following {
public:
    /// Ends the threads and waits for them: a run ends within a part of a file. A second time it does nothing.
    void stop() {
        detail::call(tw_following_free, raw_.get());
        raw_.release();
    }
    /// The handle of the C interface, lent.
    tw_following *handle() const noexcept { return raw_.get(); }

private:
    friend class Mirror;
    using Raw = detail::Handle<tw_following, tw_following_free>;
    explicit Following(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// A root that is copied to a bucket, a container or a directory, and kept in step with it.
class Mirror {
    /// Only what can be told how far a run has come.
    template <class Function>
    using IfProgress = std::enable_if_t<std::is_invocable_v<Function &, const MirrorProgress &>, int>;

public:
    /// Whether very many deletions are meant.
    enum class Deletes {
        Hold,    ///< They wait for confirmation: MirrorReport::held.
        Accept,  ///< However many there are, they are done.
    };

    /// Brings the remote copy in step with the current snapshot: uploads and copies first, then deletions, then the
    /// CDN. Where nothing changed no request is made. What failed is in the report and stopped nothing else.
    MirrorReport sync(Deletes deletes = Deletes::Hold) const { return report(run(deletes, nullptr)); }
    /// As above, and can be cancelled: Code::Cancelled.
    MirrorReport sync(Deletes deletes, const CancelToken &cancel) const {
        return report(run(deletes, cancel.given()));
    }
    /// As above, and calls `progress(const MirrorProgress &)` about ten times a second, in this thread. What it throws
    /// cancels the run and comes out here. It must not call functions that wait for the run.
    template <class Function, IfProgress<Function> = 0>
    MirrorReport sync(Deletes deletes, Function &&progress) const {
        return sync(deletes, progress, CancelToken());
    }
    /// As above, and can be cancelled, by an exception of `progress` too.
    template <class Function, IfProgress<Function> = 0>
    MirrorReport sync(Deletes deletes, Function &&progress, const CancelToken &cancel) const {
        return report(run(deletes, cancel.given(), progress));
    }
    /// What the next run would do. No request is made.
    MirrorPlan plan() const {
        detail::ListHandle list;
        detail::call(tw_mirror_plan, raw_.get(), list.out());
        const auto row = detail::row(tw_list_mirror_plan, list);
        MirrorPlan plan(row);
        plan.steps = detail::collect(row.steps, [&](std::size_t index) {
            return MirrorStep(detail::row(tw_list_mirror_step, list, index));
        });
        plan.first_refused = errors(list, row.first_errors);
        return plan;
    }
    /// Lists what is in the store, and compares it with what was acknowledged. With `repair` what is lost or different
    /// is sent again with the next run; with `delete_unknown` what the mirror knows nothing of is deleted with it.
    AuditReport audit(bool repair = false, bool delete_unknown = false) const {
        detail::ListHandle list;
        detail::call(tw_mirror_audit, raw_.get(), std::int32_t{repair}, std::int32_t{delete_unknown}, list.out());
        const auto row = detail::row(tw_list_audit, list);
        AuditReport report(row);
        report.findings = detail::collect(row.findings, [&](std::size_t index) {
            return AuditFinding(detail::row(tw_list_audit_finding, list, index));
        });
        return report;
    }
    /// The URL of the object of a file, or nothing. Never waits.
    std::optional<std::string> url(std::string_view address) const { return find(tw_mirror_url, address); }
    /// The address of the file whose object has this URL, or nothing. Never waits.
    std::optional<std::string> path(std::string_view url) const { return find(tw_mirror_path, url); }
    /// The URLs of all objects that are acknowledged now. Never waits.
    UrlMap urls() const {
        UrlMap::Raw urls;
        detail::call(tw_mirror_urls, raw_.get(), urls.out());
        return UrlMap(std::move(urls));
    }
    /// How it stands. No request is made.
    MirrorStatus status() const {
        detail::ListHandle list;
        detail::call(tw_mirror_status, raw_.get(), list.out());
        return MirrorStatus(detail::row(tw_list_mirror_status, list));
    }
    /// Follows the root: threads run the mirror after each commit, until the Following ends. Code::Busy when it is
    /// followed already.
    Following follow() const {
        Following::Raw following;
        detail::call(tw_mirror_follow, raw_.get(), following.out());
        return Following(std::move(following));
    }
    /// The handle of the C interface, lent.
    tw_mirror *handle() const noexcept { return raw_.get(); }

private:
    friend class Warden;
    using Raw = detail::Handle<tw_mirror, tw_mirror_free>;
    using Look = tw_status (*)(const tw_mirror *, tw_bytes, tw_value **, tw_error **);
    explicit Mirror(Raw raw) noexcept : raw_(std::move(raw)) {}

    detail::ListHandle run(Deletes deletes, const tw_cancel *cancel) const {
        const tw_mirror_hooks hooks{nullptr, nullptr, cancel};
        detail::ListHandle list;
        detail::call(tw_mirror_sync, raw_.get(), std::int32_t{deletes == Deletes::Accept}, &hooks, sizeof hooks,
                     list.out());
        return list;
    }

    template <class Function>
    detail::ListHandle run(Deletes deletes, tw_cancel *cancel, Function &progress) const {
        detail::Telling<Function> telling{progress, cancel, nullptr};
        const tw_mirror_hooks hooks{&detail::tell<MirrorProgress, tw_mirror_progress, Function>, &telling, cancel};
        detail::ListHandle list;
        tw_error *error = nullptr;
        const tw_status status = tw_mirror_sync(raw_.get(), std::int32_t{deletes == Deletes::Accept}, &hooks,
                                                sizeof hooks, list.out(), &error);
        detail::end_telling(telling.exception, status, error);
        return list;
    }

    static std::vector<MirrorError> errors(const detail::ListHandle &list, std::uint64_t count) {
        return detail::collect(count, [&](std::size_t index) {
            return MirrorError(detail::row(tw_list_mirror_error, list, index));
        });
    }

    static MirrorReport report(const detail::ListHandle &list) {
        const auto row = detail::row(tw_list_mirror_report, list);
        MirrorReport report(row);
        report.first_errors = errors(list, row.first_errors);
        return report;
    }

    std::optional<std::string> find(Look look, std::string_view what) const {
        detail::Handle<tw_value, tw_value_free> value;
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, look, raw_.get(), detail::bytes(what), value.out())) {
            return std::nullopt;
        }
        return detail::value_text(value);
    }

    Raw raw_;
};

// ---------------------------------------------------------------------------------------------------------------------
// The warden
// ---------------------------------------------------------------------------------------------------------------------

/// An open state file, and the threads behind it. Its end closes the file when nothing else keeps it open: pipelines,
/// mirrors, jobs, batches, followers and changes do. Not to be destroyed or closed from a lambda that the library
/// calls.
class Warden {
    /// Only what can be told how far a scan has come.
    template <class Function>
    using IfProgress = std::enable_if_t<std::is_invocable_v<Function &, const Progress &>, int>;

public:
    /// Opens a state file, or creates it. Code::Busy when somebody, also in this process, has it open;
    /// Code::Unsupported when the library is not the one of this header.
    explicit Warden(const std::filesystem::path &path, const OpenOptions &options = {}) {
        if (tw_abi_version() != TW_ABI_VERSION) {
            throw Error(Code::Unsupported, "libtreewarden has another version than treewarden.h");
        }
        detail::call(tw_warden_open, detail::path_bytes(path), options.make().get(), raw_.out());
    }

    /// Ends the engine for everything made from it: Code::Closed from then on. Snapshots stay readable. Twice is fine.
    void close() { detail::call(tw_warden_close, raw_.get()); }

    // Roots and scans.

    /// Adds a directory tree as a root. Nothing is scanned yet.
    void add_root(std::string_view name, const std::filesystem::path &dir, const RootOptions &options = {}) const {
        detail::call(tw_warden_add_root, raw_.get(), detail::bytes(name), detail::path_bytes(dir),
                     options.make().get());
    }
    /// Sets all options of a root anew; the next scan applies them.
    void set_root_options(std::string_view name, const RootOptions &options) const {
        detail::call(tw_warden_set_root_options, raw_.get(), detail::bytes(name), options.make().get());
    }
    /// Removes a root with everything known about it. The files are not touched.
    void remove_root(std::string_view name) const {
        detail::call(tw_warden_remove_root, raw_.get(), detail::bytes(name));
    }
    /// Says that the tree of a root lies in another directory now. What is known of it stays.
    void move_root(std::string_view name, const std::filesystem::path &dir) const {
        detail::call(tw_warden_move_root, raw_.get(), detail::bytes(name), detail::path_bytes(dir));
    }
    /// The roots, in order of their names.
    std::vector<Root> roots() const {
        const detail::ListHandle list = get(tw_warden_roots);
        return detail::collect(detail::size(list), [&](std::size_t index) {
            return Root(detail::row(tw_list_root, list, index));
        });
    }

    /// Scans a root or part of it, `music` or `music/2024`, and applies what it finds with one commit. A root that is
    /// unavailable and a result that is held are told by the report.
    Report scan(std::string_view target) const { return scan(ScanOptions().target(target)).at(0); }
    /// Scans what the options name, all roots by default: one report for each target. Throws when all of them fail;
    /// otherwise failures are in their reports.
    std::vector<Report> scan(const ScanOptions &options = {}) const {
        return reports(run(tw_warden_scan, options.make(), nullptr));
    }
    /// As above, and can be cancelled.
    std::vector<Report> scan(const ScanOptions &options, const CancelToken &cancel) const {
        return reports(run(tw_warden_scan, options.make(), cancel.given()));
    }
    /// As above, and calls `progress(const Progress &)` about ten times a second, never twice at once, in threads of
    /// the library. What it throws cancels the scan and comes out here. It must not close or pause the warden.
    template <class Function, IfProgress<Function> = 0>
    std::vector<Report> scan(const ScanOptions &options, Function &&progress) const {
        return scan(options, progress, CancelToken());
    }
    /// As above, and can be cancelled, by an exception of `progress` too.
    template <class Function, IfProgress<Function> = 0>
    std::vector<Report> scan(const ScanOptions &options, Function &&progress, const CancelToken &cancel) const {
        return reports(run(tw_warden_scan, options.make(), cancel.given(), progress));
    }

    /// Compares the disk with the state, and changes neither.
    VerifyReport verify(const VerifyOptions &options = {}) const {
        return verified(run(tw_warden_verify, options.make(), nullptr));
    }
    /// As above, and can be cancelled: Code::Cancelled.
    VerifyReport verify(const VerifyOptions &options, const CancelToken &cancel) const {
        return verified(run(tw_warden_verify, options.make(), cancel.given()));
    }
    /// As above, with `progress` as in scan().
    template <class Function, IfProgress<Function> = 0>
    VerifyReport verify(const VerifyOptions &options, Function &&progress) const {
        return verify(options, progress, CancelToken());
    }
    /// As above, with both.
    template <class Function, IfProgress<Function> = 0>
    VerifyReport verify(const VerifyOptions &options, Function &&progress, const CancelToken &cancel) const {
        return verified(run(tw_warden_verify, options.make(), cancel.given(), progress));
    }

    // What is known.

    /// All roots as the last commit left them. Never waits.
    Snapshot snapshot() const {
        Snapshot::Raw snapshot;
        detail::call(tw_warden_snapshot, raw_.get(), snapshot.out());
        return Snapshot(std::move(snapshot));
    }
    /// The number of the last commit. Never waits.
    std::uint64_t seq() const {
        std::uint64_t seq = 0;
        detail::call(tw_warden_seq, raw_.get(), &seq);
        return seq;
    }
    /// The state of the engine at one glance.
    Status status() const {
        tw_status_info row{};
        detail::call(tw_warden_status, raw_.get(), &row, sizeof row);
        return Status(row);
    }
    /// The newest operations, newest first.
    std::vector<Operation> history(std::size_t limit = std::numeric_limits<std::size_t>::max()) const {
        const detail::ListHandle list = operations(limit);
        return detail::collect(detail::size(list), [&](std::size_t index) {
            return Operation(detail::row(tw_list_operation, list, index));
        });
    }
    /// The same as a table.
    ArrowStream history_arrow(std::size_t limit = std::numeric_limits<std::size_t>::max()) const {
        ArrowArrayStream stream{};
        detail::call(tw_list_arrow, operations(limit).get(), &stream);
        return ArrowStream(stream);
    }
    /// All that is known about one address, what is on disk under it now, and why.
    Explanation explain(std::string_view address) const {
        detail::ListHandle list;
        detail::call(tw_warden_explain, raw_.get(), detail::bytes(address), list.out());
        return explained(list);
    }

    // Changes.

    /// Every change after a commit, oldest first, up to now; 0: from the beginning. Code::Reset when the journal does
    /// not reach back that far: read a snapshot, and go on from Error::restart_seq().
    Changes changes(std::uint64_t since) const {
        Changes::Raw changes;
        detail::call(tw_warden_changes, raw_.get(), since, changes.out());
        return Changes(std::move(changes));
    }
    /// The present place in the journal as text. It knows the database that it belongs to.
    std::string token() const {
        std::array<char, TW_TOKEN_ROOM> token{};
        std::size_t len = 0;
        detail::call(tw_warden_token, raw_.get(), token.data(), token.size(), &len);
        return std::string(token.data(), len);
    }
    /// As changes(), from a token.
    Changes changes_since_token(std::string_view token) const {
        Changes::Raw changes;
        detail::call(tw_warden_changes_since_token, raw_.get(), detail::bytes(token), changes.out());
        return Changes(std::move(changes));
    }
    /// Follows the journal under a durable name.
    Follow follow(std::string_view name) const {
        Follow::Raw follow;
        detail::call(tw_warden_follow, raw_.get(), detail::bytes(name), follow.out());
        return Follow(std::move(follow));
    }
    /// The durable names, each with the commit up to which it has come.
    std::map<std::string, std::uint64_t> cursors() const { return detail::numbers(get(tw_warden_cursors)); }
    /// Waits for a commit after this one, and gives the number of the last one; at the end of the time as it is.
    std::uint64_t wait(std::uint64_t after, Milliseconds timeout = forever) const {
        std::uint64_t seq = 0;
        detail::call(tw_warden_wait, raw_.get(), after, detail::ms(timeout), &seq);
        return seq;
    }

    // What programs keep.

    /// The attributes of an entry, there or missing.
    Attrs attrs(std::string_view address) const {
        detail::ListHandle list;
        detail::call(tw_warden_attrs, raw_.get(), detail::bytes(address), list.out());
        auto pairs = detail::pairs(list);
        return Attrs(std::make_move_iterator(pairs.begin()), std::make_move_iterator(pairs.end()));
    }
    /// Sets those attributes of an entry that are named, and removes those without a value, in one commit. They follow
    /// the entry when it moves; all of one entry take at most 64 KiB. Waits until it is durable.
    void set_attrs(std::string_view address, const std::map<std::string, std::optional<std::string>> &attrs) const {
        std::vector<tw_pair> pairs;
        for (const auto &[name, value] : attrs) {
            tw_pair pair{};
            pair.key = detail::bytes(name);
            pair.value = value ? detail::bytes(*value) : tw_bytes{};
            pairs.push_back(pair);
        }
        detail::call(tw_warden_set_attrs, raw_.get(), detail::bytes(address), pairs.data(), sizeof(tw_pair),
                     pairs.size());
    }
    /// A keyspace of the program's own. It comes into being with its first key.
    Space space(std::string_view name) const { return Space(raw_.get(), name); }
    /// Begins a batch.
    Batch batch() const {
        Batch::Raw batch;
        detail::call(tw_warden_batch, raw_.get(), batch.out());
        return Batch(std::move(batch));
    }

    // Watching.

    /// Watches all roots, present and future. Where something is watched already, nothing changes.
    void watch() const { detail::call(tw_warden_watch, raw_.get(), static_cast<const tw_options *>(nullptr)); }
    /// Watches as the options say; called again it restarts only what differs.
    void watch(const WatchOptions &options) const { detail::call(tw_warden_watch, raw_.get(), options.make().get()); }
    /// Stops watching, and waits until what it had started has ended.
    void unwatch() const { detail::call(tw_warden_unwatch, raw_.get()); }
    /// Between watch() and unwatch(), also while it is paused.
    bool is_watching() const {
        std::int32_t is_watching = 0;
        detail::call(tw_warden_is_watching, raw_.get(), &is_watching);
        return is_watching != 0;
    }
    /// Waits until every change made on disk before this call is in the snapshot, and gives the seq of that.
    /// Code::Timeout when that did not happen in time.
    std::uint64_t sync(Milliseconds timeout = forever) const {
        std::uint64_t seq = 0;
        detail::call(tw_warden_sync, raw_.get(), detail::ms(timeout), &seq);
        return seq;
    }
    /// Holds everything that the warden does by itself, and returns when no scan is running. Not from a lambda that is
    /// told of progress.
    void pause() const { detail::call(tw_warden_pause, raw_.get()); }
    /// Goes on, with what has changed meanwhile.
    void resume() const { detail::call(tw_warden_resume, raw_.get()); }
    /// Begins to collect events, at most so many; 0 stands for 1,024.
    Events subscribe(std::size_t events_max = 0) const {
        Events::Raw events;
        detail::call(tw_warden_subscribe, raw_.get(), events_max, events.out());
        return Events(std::move(events));
    }
    /// Calls `function(const Event &)` with each event, one after the other, in a thread of its own. After an exception
    /// it goes on with the next event: see Listener::exception().
    template <class Function>
    Listener listen(Function &&function, std::size_t events_max = 0) const {
        using Data = detail::Listening<std::decay_t<Function>>;
        auto kept = std::make_shared<detail::Kept>();
        auto *data = new Data{std::forward<Function>(function), kept};
        Listener::Raw listener;
        detail::call(tw_events_listen, raw_.get(), events_max, &Warden::on_event<Data>, static_cast<void *>(data),
                     &detail::finalize<Data>, listener.out());
        return Listener(std::move(listener), std::move(kept));
    }

    // Work.

    /// Opens a pipeline as it was made. Code::NotFound where there is none.
    Pipeline pipeline(std::string_view name) const { return open_pipeline(name, nullptr); }
    /// Opens a pipeline, or makes it; where it had other options it takes these up.
    Pipeline pipeline(std::string_view name, const PipelineOptions &options) const {
        return open_pipeline(name, options.make().get());
    }
    /// Removes a pipeline with all that it knows. Leases in force are lost.
    void remove_pipeline(std::string_view name) const {
        detail::call(tw_warden_remove_pipeline, raw_.get(), detail::bytes(name));
    }
    /// The pipelines with their options, in order of their names.
    std::vector<PipelineInfo> pipelines() const {
        const detail::ListHandle list = get(tw_warden_pipelines);
        return detail::collect(detail::size(list), [&](std::size_t index) { return pipeline_info(list, index); });
    }

    // Mirrors and numbers.

    /// Opens a mirror, or makes it; without an address and a target as it was made: Code::NotFound where there is none.
    /// Nothing is sent yet. Mirrors of the same name that were opened before are Code::Closed from then on.
    Mirror mirror(std::string_view name, const MirrorOptions &options = {}) const {
        Mirror::Raw mirror;
        detail::call(tw_warden_mirror, raw_.get(), detail::bytes(name), options.make().get(), mirror.out());
        return Mirror(std::move(mirror));
    }
    /// Opens a mirror, or makes it, of every file at or below an address to a storage of the program. `options` have no
    /// target and no credentials. Nothing is sent yet. After a restart it is opened in the same way. The library lets
    /// go of the storage when the mirror was opened anew or removed, or the warden was closed, and its objects are gone.
    Mirror mirror(std::string_view name, std::string_view address, std::shared_ptr<Storage> storage,
                  MirrorOptions options = {}) const {
        if (storage == nullptr) {
            throw Error(Code::InvalidArgument, "the storage is a null pointer");
        }
        using Calls = detail::StorageCalls;
        const std::string place = storage->name();
        const tw_storage row = Calls::row(place, storage->abilities());
        const detail::OptionsHandle made = options.address(address).make();
        auto *owner = new Calls::Owner(std::move(storage));
        Mirror::Raw mirror;
        detail::call(tw_warden_mirror_storage, raw_.get(), detail::bytes(name), made.get(), &row, sizeof row,
                     static_cast<void *>(owner), &detail::finalize<Calls::Owner>, mirror.out());
        return Mirror(std::move(mirror));
    }
    /// The mirrors with their options, in order of their names.
    std::vector<MirrorInfo> mirrors() const {
        const detail::ListHandle list = get(tw_warden_mirrors);
        return detail::collect(detail::size(list), [&](std::size_t index) { return mirror_info(list, index); });
    }
    /// How the mirrors stand that are open, in order of their names.
    std::vector<MirrorStatus> mirror_status() const {
        const detail::ListHandle list = get(tw_warden_mirror_status);
        return detail::collect(detail::size(list), [&](std::size_t index) {
            return MirrorStatus(detail::row(tw_list_mirror_status, list, index));
        });
    }
    /// Forgets a mirror and what it knows of its objects, which stay where they are.
    void remove_mirror(std::string_view name) const {
        detail::call(tw_warden_remove_mirror, raw_.get(), detail::bytes(name));
    }
    /// The main numbers of the engine. Nothing is scanned for them.
    Metrics metrics() const {
        tw_metrics row{};
        detail::call(tw_warden_metrics, raw_.get(), &row, sizeof row);
        return Metrics(row);
    }
    /// All numbers, as a page for Prometheus, to be served as `text/plain; version=0.0.4`.
    std::string prometheus() const {
        detail::Handle<tw_value, tw_value_free> page;
        detail::call(tw_warden_prometheus, raw_.get(), page.out());
        return detail::value_text(page);
    }

    // The file.

    /// Sizes of a state file, in bytes.
    struct Compacted {
        std::uint64_t before = 0;  ///< Before.
        std::uint64_t after = 0;   ///< After.
    };

    /// Reads every row of the state file. Code::Corrupt when one is damaged: see rebuild().
    void check() const { detail::call(tw_warden_check, raw_.get()); }
    /// Rewrites the state file without its free space, where that makes it smaller.
    Compacted compact() const {
        Compacted sizes;
        detail::call(tw_warden_compact, raw_.get(), &sizes.before, &sizes.after);
        return sizes;
    }
    /// Applies the retention of tombstones, journal and history now, and gives how many files were forgotten.
    std::uint64_t maintain() const {
        std::uint64_t forgotten = 0;
        detail::call(tw_warden_maintain, raw_.get(), &forgotten);
        return forgotten;
    }
    /// Moves a manual clock forward, for tests: OpenOptions::manual_clock().
    void clock_advance(Milliseconds by) const {
        detail::call(tw_warden_clock_advance_ms, raw_.get(), detail::ms(by));
    }
    /// Sets a manual clock, backwards too.
    void clock_set(Time now) const { detail::call(tw_warden_clock_set_ns, raw_.get(), detail::ns(now)); }

    /// The handle of the C interface, lent.
    tw_warden *handle() const noexcept { return raw_.get(); }

private:
    using Job = tw_status (*)(const tw_warden *, const tw_options *, const tw_scan_hooks *, std::size_t, tw_list **,
                              tw_error **);

    template <class Data>
    static void on_event(const tw_event *event, void *user_data) noexcept {
        auto &data = *static_cast<Data *>(user_data);
        try {
            data.function(Event(*event));
        } catch (...) {
            data.kept->keep();
        }
    }

    /// A list that needs nothing but the warden.
    detail::ListHandle get(tw_status (*function)(const tw_warden *, tw_list **, tw_error **)) const {
        detail::ListHandle list;
        detail::call(function, raw_.get(), list.out());
        return list;
    }

    detail::ListHandle operations(std::size_t limit) const {
        detail::ListHandle list;
        detail::call(tw_warden_history, raw_.get(), limit, list.out());
        return list;
    }

    Pipeline open_pipeline(std::string_view name, const tw_options *options) const {
        Pipeline::Raw pipeline;
        detail::call(tw_warden_pipeline, raw_.get(), detail::bytes(name), options, pipeline.out());
        return Pipeline(std::move(pipeline));
    }

    /// Runs a scan or a verification.
    detail::ListHandle run(Job job, const detail::OptionsHandle &options, const tw_cancel *cancel) const {
        const tw_scan_hooks hooks{nullptr, nullptr, cancel};
        detail::ListHandle list;
        detail::call(job, raw_.get(), options.get(), &hooks, sizeof hooks, list.out());
        return list;
    }

    /// As above, with progress.
    template <class Function>
    detail::ListHandle run(Job job, const detail::OptionsHandle &options, tw_cancel *cancel,
                           Function &progress) const {
        detail::Telling<Function> telling{progress, cancel, nullptr};
        const tw_scan_hooks hooks{&detail::tell<Progress, tw_progress, Function>, &telling, cancel};
        detail::ListHandle list;
        tw_error *error = nullptr;
        const tw_status status = job(raw_.get(), options.get(), &hooks, sizeof hooks, list.out(), &error);
        detail::end_telling(telling.exception, status, error);
        return list;
    }

    static std::vector<ScanError> scan_errors(const detail::ListHandle &list, std::size_t report,
                                              std::uint64_t count) {
        return detail::collect(count, [&](std::size_t index) {
            tw_scan_error row{};
            detail::call(tw_list_scan_error, list.get(), report, index, &row, sizeof row);
            return ScanError(row);
        });
    }

    static PipelineInfo pipeline_info(const detail::ListHandle &list, std::size_t at) {
        const auto row = detail::row(tw_list_pipeline, list, at);
        PipelineInfo info(row);
        info.roots = detail::collect(row.roots, [&](std::size_t index) {
            tw_bytes name{};
            detail::call(tw_list_pipeline_root, list.get(), at, index, &name);
            return detail::text(name);
        });
        info.globs = detail::collect(row.globs, [&](std::size_t index) {
            tw_bytes pattern{};
            detail::call(tw_list_pipeline_glob, list.get(), at, index, &pattern);
            return detail::text(pattern);
        });
        info.tiers = detail::collect(row.tiers, [&](std::size_t index) {
            tw_tier tier{};
            detail::call(tw_list_pipeline_tier, list.get(), at, index, &tier, sizeof tier);
            return RefreshTier{detail::optional(tier.younger_than_ms >= 0, Milliseconds(tier.younger_than_ms)),
                               Milliseconds(tier.after_ms)};
        });
        return info;
    }

    static MirrorInfo mirror_info(const detail::ListHandle &list, std::size_t at) {
        const auto row = detail::row(tw_list_mirror, list, at);
        MirrorInfo info(row);
        info.globs = detail::collect(row.globs, [&](std::size_t index) {
            tw_bytes pattern{};
            detail::call(tw_list_mirror_glob, list.get(), at, index, &pattern);
            return detail::text(pattern);
        });
        info.content_types = detail::collect(row.content_types, [&](std::size_t index) {
            tw_pair both{};
            detail::call(tw_list_mirror_content_type, list.get(), at, index, &both, sizeof both);
            return std::make_pair(detail::text(both.key), detail::text(both.value));
        });
        return info;
    }

    static std::vector<Report> reports(const detail::ListHandle &list) {
        return detail::collect(detail::size(list), [&](std::size_t index) {
            const auto row = detail::row(tw_list_report, list, index);
            Report report(row);
            report.first_errors = scan_errors(list, index, row.first_errors);
            return report;
        });
    }

    static VerifyReport verified(const detail::ListHandle &list) {
        const auto row = detail::row(tw_list_verify, list);
        VerifyReport report;
        report.checked = row.checked;
        report.differences_total = row.differences_total;
        report.differences = detail::collect(row.differences, [&](std::size_t index) {
            return Difference(detail::row(tw_list_difference, list, index));
        });
        report.errors = row.errors;
        report.first_errors = scan_errors(list, 0, row.first_errors);
        return report;
    }

    static Explanation explained(const detail::ListHandle &list) {
        const auto row = detail::row(tw_list_explanation, list);
        Explanation told;
        told.address = detail::text(row.address);
        told.verdict = detail::text(row.verdict);
        told.reasons = detail::texts(list, row.reasons);
        told.ignored_by = detail::optional<std::string>(row.ignored_by);
        told.has_entry = row.has_entry != 0;
        told.missing_since = detail::optional(row.has_missing, detail::time(row.missing_since_ns));
        told.missing_id = detail::optional(row.has_missing, row.missing_id);
        if (row.has_entry != 0 || row.has_missing != 0) {
            told.known = known(row);
        }
        if (row.is_on_disk != 0) {
            told.disk = DiskView{static_cast<Kind>(row.disk_kind), row.disk_size, detail::time(row.disk_mtime_ns),
                                 detail::time(row.disk_ctime_ns), row.disk_inode, row.disk_mode};
        }
        told.attrs = detail::numbers(list, row.attrs);
        if (row.has_root != 0) {
            told.root = Root(detail::row(tw_list_root, list));
        }
        return told;
    }

    static Entry known(const tw_explanation &row) {
        Entry entry;
        entry.path = detail::text(row.address);
        entry.target = detail::optional<std::string>(row.target);
        entry.size = row.size;
        entry.mtime = detail::time(row.mtime_ns);
        entry.ctime = detail::time(row.ctime_ns);
        entry.btime = detail::optional(row.has_btime, detail::time(row.btime_ns));
        entry.inode = row.inode;
        entry.id = row.id;
        entry.seq = row.seq;
        if (row.has_entry == 0) {
            entry.missing_since = detail::time(row.missing_since_ns);
        }
        if (row.has_hash != 0) {
            std::copy(std::begin(row.hash), std::end(row.hash), entry.hash.emplace().begin());
        }
        entry.mode = row.mode;
        entry.kind = static_cast<Kind>(row.kind);
        return entry;
    }

    detail::Handle<tw_warden, tw_warden_free> raw_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Fleets
// ---------------------------------------------------------------------------------------------------------------------

/// The right to send one request, over all machines. Hold it until the answer has come, and for no longer than left();
/// its end counts as that. One of its functions ends it, once. Its end talks to Redis.
class SharedPermit {
public:
    /// For how long the request may still go on: its timeout. Zero when it was ended or held for too long.
    Milliseconds left() const {
        std::uint64_t left_ms = 0;
        detail::call(tw_shared_permit_left, raw_.get(), &left_ms);
        return detail::duration(left_ms);
    }
    /// The answer has come: the request counts for one more window from now.
    void done() { detail::call(tw_shared_permit_done, raw_.get()); }
    /// Nothing was sent and nothing will be: it does not count any more.
    void unused() { detail::call(tw_shared_permit_unused, raw_.get()); }
    /// The answer was a refusal because there were too many: all machines pause. Nothing: the server did not say for
    /// how long.
    void throttled(std::optional<Milliseconds> retry_after = std::nullopt) {
        detail::call(tw_shared_permit_throttled, raw_.get(), detail::ms(retry_after));
    }
    /// The handle of the C interface, lent.
    tw_shared_permit *handle() const noexcept { return raw_.get(); }

private:
    friend class SharedLimiter;
    using Raw = detail::Handle<tw_shared_permit, tw_shared_permit_free>;
    explicit SharedPermit(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// Grants at most so many requests in any rolling window, over all machines that ask for the same name. Without Redis
/// it grants nothing; on a new Redis, and after a restart, nothing for a window and the time that a permit may be held.
class SharedLimiter {
public:
    /// Waits until a request may be sent; Redis is waited for as well. Nothing when none may in time, and after
    /// interrupt(): waiting() says why.
    [[nodiscard]] std::optional<SharedPermit> acquire(Milliseconds timeout = forever) const {
        SharedPermit::Raw permit;
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_shared_limiter_acquire, raw_.get(), detail::ms(timeout),
                                 permit.out())) {
            return std::nullopt;
        }
        return SharedPermit(std::move(permit));
    }
    /// Asks Redis once, whoever else waits: Code::Unavailable when it cannot be reached.
    [[nodiscard]] std::optional<SharedPermit> try_acquire() const {
        SharedPermit::Raw permit;
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_shared_limiter_try_acquire, raw_.get(), permit.out())) {
            return std::nullopt;
        }
        return SharedPermit(std::move(permit));
    }
    /// Why calls wait now, or why the last one did not get a permit, for people. Nothing when the last was granted.
    std::optional<std::string> waiting() const {
        detail::Handle<tw_value, tw_value_free> why;
        if (!detail::call_unless(TW_STATUS_NOT_FOUND, tw_shared_limiter_waiting, raw_.get(), why.out())) {
            return std::nullopt;
        }
        return detail::value_text(why);
    }
    /// A request was refused because there were too many: all machines pause.
    void throttled(std::optional<Milliseconds> retry_after = std::nullopt) const {
        detail::call(tw_shared_limiter_throttled, raw_.get(), detail::ms(retry_after));
    }
    /// Makes this rate and time to hold count for all machines: those that use others get Code::InvalidArgument.
    void enforce() const { detail::call(tw_shared_limiter_enforce, raw_.get()); }
    /// Makes all acquire() that wait return nothing; if none waits, the next one.
    void interrupt() const { detail::call(tw_shared_limiter_interrupt, raw_.get()); }
    /// The handle of the C interface, lent.
    tw_shared_limiter *handle() const noexcept { return raw_.get(); }

private:
    friend class Fleet;
    using Raw = detail::Handle<tw_shared_limiter, tw_shared_limiter_free>;
    explicit SharedLimiter(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// Whoever has a lease. Its end gives the lease back.
class [[nodiscard]] Leader {
public:
    /// The fencing token: higher than that of every leader before.
    std::uint64_t token() const {
        std::uint64_t token = 0;
        detail::call(tw_leader_token, raw_.get(), &token);
        return token;
    }
    /// Whether no other can be the leader now, by the clocks of this machine. Asks nobody.
    bool is_valid() const {
        std::int32_t is_valid = 0;
        detail::call(tw_leader_is_valid, raw_.get(), &is_valid);
        return is_valid != 0;
    }
    /// Renews the lease: it is valid for its whole time again. Code::LeaseLost when it is gone; it stays lost.
    void renew() const { detail::call(tw_leader_renew, raw_.get()); }
    /// Gives the lease back, so that another can have it at once. A second time it does nothing.
    void release() const { detail::call(tw_leader_release, raw_.get()); }
    /// The handle of the C interface, lent.
    tw_leader *handle() const noexcept { return raw_.get(); }

private:
    friend class Lease;
    using Raw = detail::Handle<tw_leader, tw_leader_free>;
    explicit Leader(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// The right to be the leader, of which there is one over all machines.
class Lease {
public:
    /// Who renews a lease.
    enum class Renewal {
        ByHand,    ///< The program: Leader::renew().
        ByThread,  ///< A thread of the library; Leader::is_valid() tells whether that works.
    };

    /// Waits until the lease is free and takes it; Redis is waited for as well. Nothing when it was not free in time,
    /// and after interrupt(). Code::Unavailable when Redis cannot be reached at the end of the time.
    [[nodiscard]] std::optional<Leader> acquire(Milliseconds timeout = forever,
                                                Renewal renewal = Renewal::ByHand) const {
        Leader::Raw leader;
        const std::int32_t keep = renewal == Renewal::ByThread ? 1 : 0;
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_lease_acquire, raw_.get(), detail::ms(timeout), keep,
                                 leader.out())) {
            return std::nullopt;
        }
        return Leader(std::move(leader));
    }
    /// Makes all acquire() that wait return nothing; if none waits, the next one.
    void interrupt() const { detail::call(tw_lease_interrupt, raw_.get()); }
    /// The handle of the C interface, lent.
    tw_lease *handle() const noexcept { return raw_.get(); }

private:
    friend class Fleet;
    using Raw = detail::Handle<tw_lease, tw_lease_free>;
    explicit Lease(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// Appends the changes of a warden to a stream, for the consumers of other machines. Only one of a warden and a stream
/// may run at a time. It keeps the state file open.
class Publisher {
public:
    /// Appends what is new, up to about so many changes, and gives how many entries were appended; 0: nothing is new.
    /// One thread at a time. Code::LeaseLost when another has published with a higher token.
    std::uint64_t publish(std::size_t changes_max = 1000) const {
        std::uint64_t appended = 0;
        detail::call(tw_publisher_publish, raw_.get(), changes_max, &appended);
        return appended;
    }
    /// Appends what is new, waits for more, and goes on until stop(), over outages of Redis too. One thread at a time.
    void run() const { detail::call(tw_publisher_run, raw_.get()); }
    /// Ends run(); if none runs, the next one.
    void stop() const { detail::call(tw_publisher_stop, raw_.get()); }
    /// The handle of the C interface, lent.
    tw_publisher *handle() const noexcept { return raw_.get(); }

private:
    friend class Fleet;
    using Raw = detail::Handle<tw_publisher, tw_publisher_free>;
    explicit Publisher(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// Changes that came over a stream with one read, to be gone through as often as needed. Consumer::ack() acknowledges
/// them; their end does not.
class [[nodiscard]] StreamItems {
public:
    /// How many there are, one at least.
    std::size_t size() const noexcept { return items_.size(); }
    /// One of them. Throws std::out_of_range behind the last.
    const StreamItem &at(std::size_t index) const { return items_.at(index); }
    /// The first.
    std::vector<StreamItem>::const_iterator begin() const noexcept { return items_.begin(); }
    /// The end.
    std::vector<StreamItem>::const_iterator end() const noexcept { return items_.end(); }
    /// The handle of the C interface, lent.
    tw_list *handle() const noexcept { return list_.get(); }

private:
    friend class Consumer;
    explicit StreamItems(detail::ListHandle list)
        : items_(detail::collect(detail::size(list), [&](std::size_t index) {
              return StreamItem(detail::row(tw_list_stream_item, list, index));
          })),
          list_(std::move(list)) {}

    std::vector<StreamItem> items_;
    detail::ListHandle list_;
};

/// Reads a stream as one of a group, whose consumers divide the changes among themselves.
class Consumer {
public:
    /// What others have left lying, else what nobody of the group has been given yet; waits for it if need be. Nothing
    /// when none came in time, and after interrupt(). What is not acknowledged comes again, to this consumer or to
    /// another. Code::Reset when changes were cut off unread: look at the whole, then accept_reset().
    std::optional<StreamItems> next(Milliseconds timeout = forever, std::size_t items_max = 100) const {
        detail::ListHandle list;
        if (!detail::call_unless(TW_STATUS_TIMEOUT, tw_consumer_next, raw_.get(), items_max, detail::ms(timeout),
                                 list.out())) {
            return std::nullopt;
        }
        return StreamItems(std::move(list));
    }
    /// The group is done with all of them. Gives how many that were; those that were acknowledged before count no more.
    std::uint64_t ack(const StreamItems &items) const {
        std::uint64_t acked = 0;
        detail::call(tw_consumer_ack, raw_.get(), items.handle(), &acked);
        return acked;
    }
    /// The group is done with one of them. False when it counts no more.
    bool ack(const StreamItems &items, std::size_t index) const {
        std::uint64_t acked = 0;
        detail::call(tw_consumer_ack_one, raw_.get(), items.handle(), index, &acked);
        return acked != 0;
    }
    /// Goes on after Code::Reset, for the whole group. True when there was one.
    bool accept_reset() const {
        std::int32_t was_reset = 0;
        detail::call(tw_consumer_accept_reset, raw_.get(), &was_reset);
        return was_reset != 0;
    }
    /// Makes all next() that wait return nothing, within a second; if none waits, the next one.
    void interrupt() const { detail::call(tw_consumer_interrupt, raw_.get()); }
    /// The handle of the C interface, lent.
    tw_consumer *handle() const noexcept { return raw_.get(); }

private:
    friend class Fleet;
    using Raw = detail::Handle<tw_consumer, tw_consumer_free>;
    explicit Consumer(Raw raw) noexcept : raw_(std::move(raw)) {}

    Raw raw_;
};

/// What several machines share through one Redis, of version 7 or later. Without it there is no permit, no leader and
/// no change: Code::Unavailable. Connections that break are made anew. What was made from a fleet does not need it.
class Fleet {
public:
    /// Connects to `redis://[user:password@]host[:port][/database]` or `unix:///path/to/socket`. User and password are
    /// in no message. Code::Unsupported for `rediss://` and for a Redis that cannot be used.
    explicit Fleet(std::string_view url, const FleetOptions &options = {}) {
        detail::call(tw_fleet_connect, detail::bytes(url), options.make().get(), raw_.out());
    }
    /// Asks Redis for a sign of life.
    void ping() const { detail::call(tw_fleet_ping, raw_.get()); }
    /// The limiter of that name. A permit may be held for `hold_max` at most, up to a day. All machines give the same
    /// rate and time.
    SharedLimiter limiter(std::string_view name, const LimiterOptions &options,
                          Milliseconds hold_max = std::chrono::seconds(60)) const {
        SharedLimiter::Raw limiter;
        detail::call(tw_fleet_limiter, raw_.get(), detail::bytes(name), options.make().get(), detail::ms(hold_max),
                     limiter.out());
        return SharedLimiter(std::move(limiter));
    }
    /// The lease of that name: a leader loses it `ttl` after the last renewal, 100 ms to a day. All machines give the
    /// same.
    Lease lease(std::string_view name, Milliseconds ttl) const {
        Lease::Raw lease;
        detail::call(tw_fleet_lease, raw_.get(), detail::bytes(name), detail::ms(ttl), lease.out());
        return Lease(std::move(lease));
    }
    /// What appends the journal of a warden to the stream of that name. Its place is the cursor `fleet.STREAM`.
    Publisher publisher(std::string_view stream, const Warden &warden, const PublisherOptions &options = {}) const {
        return open_publisher(stream, warden, nullptr, options);
    }
    /// As above, with the token of a leader, as it is now: the stream refuses those who led before.
    Publisher publisher(std::string_view stream, const Warden &warden, const Leader &leader,
                        const PublisherOptions &options = {}) const {
        // To the C interface it would mean that there is none.
        if (leader.handle() == nullptr) {
            throw Error(Code::InvalidHandle, "the leader was moved from");
        }
        return open_publisher(stream, warden, leader.handle(), options);
    }
    /// A reader of the stream of that name. The consumers of a group divide the changes, every group gets all of them.
    Consumer consumer(std::string_view stream, std::string_view group, std::string_view name,
                      const ConsumerOptions &options = {}) const {
        Consumer::Raw consumer;
        detail::call(tw_fleet_consumer, raw_.get(), detail::bytes(stream), detail::bytes(group), detail::bytes(name),
                     options.make().get(), consumer.out());
        return Consumer(std::move(consumer));
    }
    /// The handle of the C interface, lent.
    tw_fleet *handle() const noexcept { return raw_.get(); }

private:
    Publisher open_publisher(std::string_view stream, const Warden &warden, const tw_leader *leader,
                             const PublisherOptions &options) const {
        Publisher::Raw publisher;
        detail::call(tw_fleet_publisher, raw_.get(), detail::bytes(stream), warden.handle(), options.make().get(),
                     leader, publisher.out());
        return Publisher(std::move(publisher));
    }

    detail::Handle<tw_fleet, tw_fleet_free> raw_;
};

/// Salvages a damaged state file that nobody has open: what can be read goes into a new file under the same name, and
/// the damaged one is kept beside it. Scan afterwards: the trees are the truth.
inline RebuildReport rebuild(const std::filesystem::path &path) {
    detail::ListHandle list;
    detail::call(tw_rebuild, detail::path_bytes(path), list.out());
    const auto row = detail::row(tw_list_rebuild, list);
    return {detail::view(row.kept_as), row.roots, row.entries, row.lost_rows, row.spaces_rows};
}

/// A name or path of strangers so that it can be shown: UTF-8 as it is, control characters and all other bytes escaped,
/// as in `a\nb\xff`.
inline std::string escape(std::string_view bytes) {
    std::string text(4 * bytes.size() + 1, '\0');
    std::size_t len = 0;
    detail::call(tw_escape, detail::bytes(bytes), text.data(), text.size(), &len);
    text.resize(len);
    return text;
}

/// The version of the library, for example `0.1.0`.
inline std::string_view version() noexcept { return tw_version(); }

}  // namespace treewarden

#endif  // TREEWARDEN_HPP
