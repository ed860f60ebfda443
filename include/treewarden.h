/*
 * Treewarden: the state of every file in directory trees, and what is still to be done about each of them.
 *
 * This header is made from the sources of the library by cbindgen; change it there. It is C99 and C++.
 *
 * THE CONTRACT
 *
 * Status. Every function returns a tw_status, 0 for success, and takes a `tw_error **error` as its last parameter,
 * which may be NULL. When it fails and `error` is not NULL, a tw_error is stored there: read it with tw_error_get
 * and free it with tw_error_free. On success nothing is stored there. (tw_version, tw_abi_version and
 * tw_status_name cannot fail and have none.)
 *
 * Outputs are written on success only: a function that fails leaves every output as it was.
 *
 * Handles (tw_warden *, tw_snapshot *, ...) are opaque and are never to be looked into. Each is freed with the
 * function of its name, in any order: what another handle needs stays alive. NULL, a handle of another type, one
 * that was freed and one that was freed twice are recognised and answered with TW_STATUS_INVALID_HANDLE. (A number
 * is used again after some thousand others in its place, so do not count on that.) Freeing NULL does nothing.
 *
 * Views. A tw_bytes is a pointer and a length, without a zero at the end. As a parameter it is read during the call
 * only. As a result it points into the object of the handle that it was asked from, and lives as long as that
 * handle; the *_clear functions end the views that were handed out so far before that. Paths and addresses
 * (`ROOT/relative/path`) are bytes and may be no UTF-8; names and messages are UTF-8.
 *
 * Structs may grow at their ends in later versions. So wherever one is filled, its size goes along: pass
 * sizeof(the struct), and programs that were built with an older header go on working.
 *
 * Options are set by number on a tw_options, and checked when they are set. Enumerations are int32_t; a value that
 * is none is answered with TW_STATUS_INVALID_ARGUMENT.
 *
 * Threads. Every function may be called from any thread at any time, and handles may be shared, unless it says "one
 * thread at a time". Nothing is kept per thread. A handle may be freed while another thread works with it: that call
 * ends in order. Callbacks run on threads of the library, several at once unless said otherwise; they must not throw
 * or longjmp, and may call every function but those that wait for them, which say so. With each `user_data` goes a
 * `finalizer` (which may be NULL): it is called exactly once, when the library lets go of the data, also when the
 * function that took it fails.
 *
 * Waiting. Times to wait are milliseconds; 0 does not wait, a negative one waits without end. Descriptors are for
 * poll, epoll and event loops: never read from them and never close them.
 *
 * Fork. A child process must not use what it inherited: every call with such a handle answers TW_STATUS_FORKED,
 * including its free functions, which leave the parent's state file alone. Open the state file in the child, once
 * the parent has closed it.
 *
 * Panics. A bug in the library is caught at this border and answered with TW_STATUS_PANIC.
 */


#ifndef TREEWARDEN_H
#define TREEWARDEN_H

#include <stddef.h>
#include <stdint.h>
/* The major number of the interface: programs that were built with one work with every library of the same. */
#define TW_ABI_VERSION 1

/* The Arrow C data and stream interfaces, as https://arrow.apache.org/docs/format/CDataInterface.html gives them. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4
struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};
struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif /* ARROW_C_DATA_INTERFACE */
#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};
#endif /* ARROW_C_STREAM_INTERFACE */


/**
 * Seen for the first time.
 */
#define TW_CHANGE_ADDED 0

/**
 * Its fingerprint, or its content, differs.
 */
#define TW_CHANGE_MODIFIED 1

/**
 * The same file under another path; `from` says where it was.
 */
#define TW_CHANGE_MOVED 2

/**
 * Proved to be gone. Its tombstone, id and attributes are kept for a while.
 */
#define TW_CHANGE_MISSING 3

/**
 * A missing entry is back where it was.
 */
#define TW_CHANGE_RESTORED 4

/**
 * Dropped from the state: a tombstone expired, or the entry became ignored.
 */
#define TW_CHANGE_FORGOTTEN 5

/**
 * One that this version of the interface does not know; nothing but `kind` is set.
 */
#define TW_EVENT_UNKNOWN -1

/**
 * A scan of a whole root or of a subtree has begun: `root`, `operation`. A look that follows a change on disk is not
 * a scan.
 */
#define TW_EVENT_SCAN_STARTED 0

/**
 * How far a scan has come: `root`, `text` (what it is at: `walk`, `hash` or `commit`), `dirs`, `files`, `bytes`,
 * `estimate_files`, `eta_ms`. The newest takes the place of one that was not fetched yet.
 */
#define TW_EVENT_SCAN_PROGRESS 1

/**
 * A scan has ended, well or not: `root`, `operation`, `operation_status`, `seq`, what it changed, `elapsed_ms`.
 */
#define TW_EVENT_SCAN_FINISHED 2

/**
 * Something was committed: `first_seq`, `last_seq`, what changed; all 0 where only the program's own state did.
 * Commits that were not fetched yet are told as one range. The last of them is in the snapshot already.
 */
#define TW_EVENT_COMMITTED 3

/**
 * A root cannot be trusted, or was found empty; its last good state is kept: `root`, `text` (what was found). Told
 * once for each reason.
 */
#define TW_EVENT_ROOT_UNAVAILABLE 4

/**
 * A root that was unavailable or held is as it should be again: `root`.
 */
#define TW_EVENT_ROOT_BACK 5

/**
 * Too much would become missing; the last good state is kept until a scan with `TW_OPTION_SCAN_ACCEPT_MISSING`:
 * `root`, `missing` of the `known` files and symlinks.
 */
#define TW_EVENT_ROOT_HELD 6

/**
 * A root is watched in another way than before: `root`, `coverage`, `text` (why not natively everywhere).
 */
#define TW_EVENT_COVERAGE_CHANGED 7

/**
 * Notices of the system were lost, or were too many to be remembered: `root`, which is scanned again and is not
 * coherent until then.
 */
#define TW_EVENT_OVERFLOW 8

/**
 * The scan that an overflow asked for is done, nothing is unknown any more: `root`.
 */
#define TW_EVENT_COHERENT 9

/**
 * Something failed in the background, and the warden goes on: `text`, and `root` where it concerns one.
 */
#define TW_EVENT_ERROR 10

/**
 * This queue had no room left, and everything in it was dropped: `restart_seq`. What was missed is in the journal
 * after the last seq that was seen, or as a whole in the snapshot.
 */
#define TW_EVENT_RESET 11

/**
 * A FIFO, socket or device: never opened, never an entry.
 */
#define TW_KIND_SPECIAL 3

/**
 * A kind of change that this version of the interface does not know; nothing else is set.
 */
#define TW_URL_CHANGE_UNKNOWN -1

/**
 * There is an object now.
 */
#define TW_URL_CHANGE_ADDED 0

/**
 * It has other content under the same URL.
 */
#define TW_URL_CHANGE_MODIFIED 1

/**
 * There is none any more.
 */
#define TW_URL_CHANGE_REMOVED 2

/**
 * A step that this version of the interface does not know; nothing else is set.
 */
#define TW_MIRROR_STEP_UNKNOWN -1

/**
 * The file `path` is sent, and becomes the object `key`.
 */
#define TW_MIRROR_STEP_UPLOAD 0

/**
 * The object `from` is copied to `key` within the store.
 */
#define TW_MIRROR_STEP_COPY 1

/**
 * The object `key` is deleted.
 */
#define TW_MIRROR_STEP_DELETE 2

/**
 * A kind of difference that this version of the interface does not know.
 */
#define TW_AUDIT_OTHER -1

/**
 * It was acknowledged, and is not there.
 */
#define TW_AUDIT_LOST 0

/**
 * It has another size or entity tag than was acknowledged.
 */
#define TW_AUDIT_DIFFERENT 1

/**
 * It is there, and the mirror did not put it there.
 */
#define TW_AUDIT_UNKNOWN 2

/**
 * Something was begun with it and not acknowledged: the next run puts or deletes it.
 */
#define TW_AUDIT_UNSURE 3

/**
 * The first look after opening, by the engine itself.
 */
#define TW_OPERATION_STARTUP 0

/**
 * A quick scan of a whole root.
 */
#define TW_OPERATION_QUICK 1

/**
 * A full scan of a whole root.
 */
#define TW_OPERATION_FULL 2

/**
 * A scan of part of a root.
 */
#define TW_OPERATION_SUBTREE 3

/**
 * Changes that the engine has heard of.
 */
#define TW_OPERATION_LIVE 4

/**
 * Maintenance: tombstones that expired.
 */
#define TW_OPERATION_MANUAL 5

/**
 * A refresh run of a pipeline, which stands in place of the root: how many items it handed out is counted as modified.
 */
#define TW_OPERATION_REFRESH 6

/**
 * Complete.
 */
#define TW_OPERATION_STATUS_OK 0

/**
 * Complete but for parts that could not be read.
 */
#define TW_OPERATION_STATUS_PARTIAL 1

/**
 * Held until a scan with `TW_OPTION_SCAN_ACCEPT_MISSING`.
 */
#define TW_OPERATION_STATUS_HELD 2

/**
 * The root could not be trusted.
 */
#define TW_OPERATION_STATUS_UNAVAILABLE 3

/**
 * Cancelled by the program.
 */
#define TW_OPERATION_STATUS_CANCELLED 4

/**
 * Ended by an error.
 */
#define TW_OPERATION_STATUS_FAILED 5

/**
 * In the state, not on disk.
 */
#define TW_DIFFERENCE_MISSING 0

/**
 * On disk, not in the state.
 */
#define TW_DIFFERENCE_UNKNOWN 1

/**
 * The fingerprint differs.
 */
#define TW_DIFFERENCE_CHANGED 2

/**
 * The fingerprint is the same, the content is not.
 */
#define TW_DIFFERENCE_CORRUPT 3

/**
 * Never scanned to the end.
 */
#define TW_ROOT_STATE_NEW 0

/**
 * As of its last scan.
 */
#define TW_ROOT_STATE_READY 1

/**
 * It could not be trusted at its last scan; the last good state is kept.
 */
#define TW_ROOT_STATE_UNAVAILABLE 2

/**
 * The last scan would have turned too much missing; the last good state is kept until a scan with
 * `TW_OPTION_SCAN_ACCEPT_MISSING`.
 */
#define TW_ROOT_STATE_HELD 3

/**
 * The system reports changes of every directory.
 */
#define TW_COVERAGE_NATIVE 0

/**
 * Some directories have no watch and are polled.
 */
#define TW_COVERAGE_MIXED 1

/**
 * All of it is polled.
 */
#define TW_COVERAGE_POLLING 2

/**
 * Nothing.
 */
#define TW_LOG_OFF 0

/**
 * What should not happen, and somebody should look at.
 */
#define TW_LOG_ERROR 1

/**
 * What did not go as it should, and is made up for.
 */
#define TW_LOG_WARN 2

/**
 * What is good to know.
 */
#define TW_LOG_INFO 3

/**
 * What helps to find out why.
 */
#define TW_LOG_DEBUG 4

/**
 * All there is.
 */
#define TW_LOG_TRACE 5

/**
 * It is done.
 */
#define TW_STORAGE_OK 0

/**
 * It may work the next time: a cut connection, a 500. So does any number that is none of these.
 */
#define TW_STORAGE_TRANSIENT 1

/**
 * The storage asks everybody to slow down (429, 503); `tw_call_note_failure` says for how long.
 */
#define TW_STORAGE_THROTTLED 2

/**
 * The credentials are wrong, have expired or do not allow it.
 */
#define TW_STORAGE_DENIED 3

/**
 * What holds the objects is not there. No other call will fare better: the run is given up.
 */
#define TW_STORAGE_MISCONFIGURED 4

/**
 * There is no such object. For `remove` that is as good as done.
 */
#define TW_STORAGE_NOT_FOUND 5

/**
 * This object will never be taken: its key or size is not allowed.
 */
#define TW_STORAGE_REJECTED 6

/**
 * Something else lies where the object belongs, and has to go first: a file in place of a directory. Tried again when
 * the deletions of the run are done.
 */
#define TW_STORAGE_OCCUPIED 7

/**
 * The storage cannot do this at all.
 */
#define TW_STORAGE_UNSUPPORTED 8

/**
 * Options of `tw_warden_open`.
 */
#define TW_OPTIONS_OPEN 0

/**
 * Options of `tw_warden_add_root` and `tw_warden_set_root_options`.
 */
#define TW_OPTIONS_ROOT 1

/**
 * Options of `tw_warden_scan`.
 */
#define TW_OPTIONS_SCAN 2

/**
 * Options of `tw_warden_watch`. See `tw_options_set_root_watch` too.
 */
#define TW_OPTIONS_WATCH 3

/**
 * How one root is watched, for `tw_options_set_root_watch`.
 */
#define TW_OPTIONS_ROOT_WATCH 4

/**
 * Which entries a listing lets through. All conditions must hold.
 */
#define TW_OPTIONS_FILTER 5

/**
 * Options of `tw_warden_verify`.
 */
#define TW_OPTIONS_VERIFY 6

/**
 * Options of `tw_warden_pipeline`. See `tw_options_add_tier` and `tw_options_set_group` too.
 */
#define TW_OPTIONS_PIPELINE 7

/**
 * Options of `tw_limiter_new` and `tw_fleet_limiter`.
 */
#define TW_OPTIONS_LIMITER 8

/**
 * Options of `tw_warden_mirror`.
 */
#define TW_OPTIONS_MIRROR 9

/**
 * Options of `tw_snapshot_export` and `tw_changes_export`.
 */
#define TW_OPTIONS_EXPORT 10

/**
 * Options of `tw_fleet_connect`.
 */
#define TW_OPTIONS_FLEET 11

/**
 * Options of `tw_fleet_publisher`.
 */
#define TW_OPTIONS_PUBLISHER 12

/**
 * Options of `tw_fleet_consumer`.
 */
#define TW_OPTIONS_CONSUMER 13

/**
 * Flag: refuse to create a state file. Default 0.
 */
#define TW_OPTION_OPEN_MUST_EXIST 100

/**
 * Flag: read only. Not a byte is written, the file must exist, and several readers may share it. Default 0.
 */
#define TW_OPTION_OPEN_READ_ONLY 101

/**
 * When a commit counts as done, `TW_DURABILITY_…`. Default `TW_DURABILITY_DURABLE`.
 */
#define TW_OPTION_OPEN_DURABILITY 102

/**
 * Bytes of the page cache. Snapshots do not use it. Default 16 MiB.
 */
#define TW_OPTION_OPEN_CACHE_BYTES 103

/**
 * Threads of a scan, 0 to 256. Default 0: one for each processor.
 */
#define TW_OPTION_OPEN_THREADS 104

/**
 * How long rows of the journal are kept, in milliseconds. Default 30 days.
 */
#define TW_OPTION_OPEN_JOURNAL_KEEP_MS 105

/**
 * How many bytes of journal rows are kept at most. Default 256 MiB.
 */
#define TW_OPTION_OPEN_JOURNAL_KEEP_BYTES_MAX 106

/**
 * How long a tombstone is kept, in milliseconds. Default 30 days.
 */
#define TW_OPTION_OPEN_TOMBSTONE_KEEP_MS 107

/**
 * How many operations the history keeps. Default 1,000.
 */
#define TW_OPTION_OPEN_HISTORY_KEEP_MAX 108

/**
 * A clock that stands still at this time, nanoseconds since 1970 UTC, for tests. `tw_warden_clock_advance_ms` and
 * `tw_warden_clock_set_ns` move it. Each opening gets a clock of its own. Default: the clock of the system.
 */
#define TW_OPTION_OPEN_MANUAL_CLOCK_NS 109

/**
 * A commit is on disk and safe against power loss before a function returns.
 */
#define TW_DURABILITY_DURABLE 0

/**
 * A commit is visible at once, and on disk with the next durable one, with `tw_warden_compact` or
 * `tw_warden_close`. A crash loses whole commits from the end, never part of one. Their numbers are given again: a
 * token that is kept outside of the state file may then skip changes; named cursors do not.
 */
#define TW_DURABILITY_RELAXED 1

/**
 * UTF-8, each call adds one: a pattern in gitignore syntax. Later patterns win, `!pattern` takes back, one with a
 * slash is relative to the root, one that ends in a slash means directories. Default: none.
 */
#define TW_OPTION_ROOT_IGNORE 200

/**
 * Flag: ignore names that start with `.` or end in `~`, `*.tmp`, `*.temp`, `.DS_Store` and `Thumbs.db`, before the
 * patterns of `TW_OPTION_ROOT_IGNORE`, which may take back. Default 0.
 */
#define TW_OPTION_ROOT_IGNORE_JUNK 201

/**
 * Whether content hashes are kept, `TW_CONTENT_HASH_…`. Default `TW_CONTENT_HASH_OFF`.
 */
#define TW_OPTION_ROOT_CONTENT_HASH 202

/**
 * What decides that a file is unchanged, `TW_COMPARE_…`. Default `TW_COMPARE_AUTO`.
 */
#define TW_OPTION_ROOT_COMPARE 203

/**
 * Fingerprints only.
 */
#define TW_CONTENT_HASH_OFF 0

/**
 * xxh3-128 of every file that is new or changed.
 */
#define TW_CONTENT_HASH_CHANGED 1

/**
 * As suits the file system of the root.
 */
#define TW_COMPARE_AUTO 0

/**
 * Kind, size, mtime, ctime and inode.
 */
#define TW_COMPARE_FULL 1

/**
 * Without the inode number: for file systems that make numbers up, as many FUSE file systems do.
 */
#define TW_COMPARE_NO_INODE 2

/**
 * Without the ctime: for file systems on which it changes by itself.
 */
#define TW_COMPARE_NO_CTIME 3

/**
 * Kind, size and mtime alone: for network file systems without stable numbers.
 */
#define TW_COMPARE_SIZE_MTIME 4

/**
 * Address, each call adds one: a root or a subtree, `music` or `music/2024`. Default: all roots.
 */
#define TW_OPTION_SCAN_TARGET 300

/**
 * How deep to look, `TW_SCAN_…`. Default `TW_SCAN_QUICK`.
 */
#define TW_OPTION_SCAN_MODE 301

/**
 * Which walker lists the tree, `TW_WALKER_…`. Default `TW_WALKER_AUTO`.
 */
#define TW_OPTION_SCAN_WALKER 302

/**
 * Threads, 0 to 256. Default 0: as `TW_OPTION_OPEN_THREADS` says.
 */
#define TW_OPTION_SCAN_THREADS 303

/**
 * Flag: apply what would otherwise be held: an emptied root, a mount point that is gone, more than half of the files
 * missing. Default 0.
 */
#define TW_OPTION_SCAN_ACCEPT_MISSING 304

/**
 * When the result becomes visible, `TW_PUBLISH_…`. Default `TW_PUBLISH_ATOMIC`.
 */
#define TW_OPTION_SCAN_PUBLISH 305

/**
 * Compares fingerprints; content is read where something changed.
 */
#define TW_SCAN_QUICK 0

/**
 * Reads all content again where the root keeps hashes, and reports silent corruption.
 */
#define TW_SCAN_FULL 1

/**
 * The best walker of this system.
 */
#define TW_WALKER_AUTO 0

/**
 * By directory descriptors: the fastest, and free of races with renames and symlinks.
 */
#define TW_WALKER_FD 1

/**
 * By path: portable, ends at paths longer than the system allows. A watched root is scanned by descriptors all the
 * same.
 */
#define TW_WALKER_JWALK 2

/**
 * All of it with one commit.
 */
#define TW_PUBLISH_ATOMIC 0

/**
 * The first scan of a root in batches as it goes; any other as `TW_PUBLISH_ATOMIC`.
 */
#define TW_PUBLISH_PROGRESSIVE 1

/**
 * Where events come from, `TW_BACKEND_…`. Default `TW_BACKEND_AUTO`.
 */
#define TW_OPTION_WATCH_BACKEND 400

/**
 * Directories watched at most, all roots together, at least 1. The others are polled. Default: what the system
 * allows.
 */
#define TW_OPTION_WATCH_WATCHES_MAX 401

/**
 * Threads of the scans that the engine starts itself, 0 to 256. Default 0: as `TW_OPTION_OPEN_THREADS` says.
 */
#define TW_OPTION_WATCH_SCAN_THREADS 402

/**
 * Niceness of those threads, 0 to 19. Linux only. Default 0.
 */
#define TW_OPTION_WATCH_NICE 403

/**
 * Flag: scans that the engine starts itself give way while processor, memory or disk are under pressure. Linux with
 * pressure stall information only. Default 1.
 */
#define TW_OPTION_WATCH_YIELDS 404

/**
 * inotify on Linux, the Rust crate `notify` elsewhere.
 */
#define TW_BACKEND_AUTO 0

/**
 * inotify. Linux only.
 */
#define TW_BACKEND_INOTIFY 1

/**
 * The Rust crate `notify`.
 */
#define TW_BACKEND_NOTIFY 2

/**
 * The times to start from, `TW_PRESET_…`. The other options change them, set before or after it. Default
 * `TW_PRESET_DEFAULT`.
 */
#define TW_OPTION_ROOT_WATCH_PRESET 500

/**
 * Whether the root is watched or polled, `TW_WATCH_…`. Default `TW_WATCH_AUTO`.
 */
#define TW_OPTION_ROOT_WATCH_MODE 501

/**
 * How long a directory must be quiet before it is looked at, in milliseconds, up to an hour.
 */
#define TW_OPTION_ROOT_WATCH_DEBOUNCE_MS 502

/**
 * After how long a directory is looked at although it is not quiet, in milliseconds, from the debounce to a day.
 */
#define TW_OPTION_ROOT_WATCH_MAX_WAIT_MS 503

/**
 * How often a polled root, and directories without a watch, are looked at, in milliseconds, from 100 to a day.
 */
#define TW_OPTION_ROOT_WATCH_POLL_MS 504

/**
 * UTF-8: when to scan quickly, a schedule such as `15m`, `24h`, `0 3 * * *` or `0 3 * * * Europe/Vienna`. Default:
 * never.
 */
#define TW_OPTION_ROOT_WATCH_QUICK 505

/**
 * UTF-8: when to scan fully, a schedule as above. Default: never.
 */
#define TW_OPTION_ROOT_WATCH_FULL 506

/**
 * UTF-8: when to scan although nothing was heard, a schedule as above; empty for never. Default: 24 hours after the
 * last whole scan, up to 15 minutes later.
 */
#define TW_OPTION_ROOT_WATCH_RECONCILE 507

/**
 * Debounce 300 ms, at most 2 s; polls every 10 s where it must.
 */
#define TW_PRESET_DEFAULT 0

/**
 * For some thousand files that people wait for: debounce 50 ms, at most 500 ms; polls every 2 s.
 */
#define TW_PRESET_SMALL 1

/**
 * For hundreds of thousands of files: debounce 1 s, at most 10 s; polls every minute.
 */
#define TW_PRESET_LARGE 2

/**
 * For a tree in which something is always written: debounce 2 s, at most 15 s; polls every 30 s.
 */
#define TW_PRESET_BUSY 3

/**
 * Watched; polled on network file systems, which report only what this machine does.
 */
#define TW_WATCH_AUTO 0

/**
 * Watched, whatever the file system.
 */
#define TW_WATCH_NATIVE 1

/**
 * Polled.
 */
#define TW_WATCH_POLL 2

/**
 * Address: only what lies at or below it. Default: everything.
 */
#define TW_OPTION_FILTER_UNDER 600

/**
 * UTF-8: only paths, relative to `TW_OPTION_FILTER_UNDER`, that match. `*` and `?` stay within a component, `**`
 * crosses components, `[…]` and `{a,b}` as usual.
 */
#define TW_OPTION_FILTER_GLOB 601

/**
 * Only entries of this kind, `TW_KIND_…`; `TW_KIND_DIR` includes directories.
 */
#define TW_OPTION_FILTER_KIND 602

/**
 * Only entries of at least so many bytes.
 */
#define TW_OPTION_FILTER_SIZE_MIN 603

/**
 * Only entries of at most so many bytes.
 */
#define TW_OPTION_FILTER_SIZE_MAX 604

/**
 * Only entries modified at or after this time, nanoseconds since 1970 UTC.
 */
#define TW_OPTION_FILTER_MTIME_MIN_NS 605

/**
 * Only entries modified at or before this time, nanoseconds since 1970 UTC.
 */
#define TW_OPTION_FILTER_MTIME_MAX_NS 606

/**
 * Flag: tombstones instead of what is there. Default 0.
 */
#define TW_OPTION_FILTER_MISSING 607

/**
 * Flag: directories too. Default 0.
 */
#define TW_OPTION_FILTER_WITH_DIRS 608

/**
 * 1: only what lies in the directory of `TW_OPTION_FILTER_UNDER` itself, directories included; without one, the roots.
 */
#define TW_OPTION_FILTER_DIRECT 609

/**
 * UTF-8: one root only. Default: all roots.
 */
#define TW_OPTION_VERIFY_ROOT 700

/**
 * Flag: read content too, and compare it with the hashes that are kept. Default 0.
 */
#define TW_OPTION_VERIFY_CONTENT 701

/**
 * UTF-8, each call adds one: work on this root. It need not exist yet. Default: all roots, present and future.
 */
#define TW_OPTION_PIPELINE_ROOT 800

/**
 * UTF-8, each call adds one: work on files and symlinks whose path below the root matches this pattern or another one
 * that was added. At most 1,000 patterns of 4,096 bytes. Default: every file and symlink.
 */
#define TW_OPTION_PIPELINE_GLOB 801

/**
 * Which files are one job, `TW_GROUP_…`. Default `TW_GROUP_NONE`. `tw_options_set_group` takes its place.
 */
#define TW_OPTION_PIPELINE_GROUP 802

/**
 * Of `TW_GROUP_DEPTH`: how many components below the root files must share, 0 to 1,000.
 */
#define TW_OPTION_PIPELINE_GROUP_DEPTH 803

/**
 * Version of what is done with a file. Another one than before makes everything changed once. Default 1.
 */
#define TW_OPTION_PIPELINE_VERSION 804

/**
 * Class of its new files, `TW_PRIORITY_…`. Other reasons stay as many classes behind as they are by default. Default
 * `TW_PRIORITY_HIGH`.
 */
#define TW_OPTION_PIPELINE_PRIORITY 805

/**
 * Jobs handed out at once, all workers together. Default 0: no bound.
 */
#define TW_OPTION_PIPELINE_CONCURRENCY 806

/**
 * For how long a new or changed file must be still before it is handed out, in milliseconds, up to a day. Default
 * 1,000.
 */
#define TW_OPTION_PIPELINE_SETTLE_MS 807

/**
 * For how long a job is held without being renewed, in milliseconds, from a second to 7 days. Default 300,000.
 */
#define TW_OPTION_PIPELINE_LEASE_MS 808

/**
 * Wait after the first failure, in milliseconds, up to 3,660 days; it doubles each time. Default 60,000.
 */
#define TW_OPTION_PIPELINE_RETRY_BASE_MS 809

/**
 * Longest wait after a failure, in milliseconds, from the first wait to 3,660 days. Default a day.
 */
#define TW_OPTION_PIPELINE_RETRY_CAP_MS 810

/**
 * Failures of the same content in a row after which it is dead, 1 to 1,000. Default 5.
 */
#define TW_OPTION_PIPELINE_ATTEMPTS_MAX 811

/**
 * Flag: each wait is longer by a random 0 to 10 percent. Default 1.
 */
#define TW_OPTION_PIPELINE_RETRY_JITTER 812

/**
 * When a completed item is done anew although it did not change, `TW_REFRESH_…`. Default `TW_REFRESH_NEVER`.
 */
#define TW_OPTION_PIPELINE_REFRESH 813

/**
 * Of `TW_REFRESH_AFTER`: so many milliseconds after its completion, from a second to 3,660 days.
 */
#define TW_OPTION_PIPELINE_REFRESH_AFTER_MS 814

/**
 * UTF-8: hand out what is to be refreshed in runs only, a schedule such as `0 3 * * *`. Default: whenever it is due.
 */
#define TW_OPTION_PIPELINE_REFRESH_SCHEDULE 815

/**
 * Of `TW_OPTION_PIPELINE_REFRESH_SCHEDULE`: items between two pauses, at least 1. Default: all of them.
 */
#define TW_OPTION_PIPELINE_REFRESH_BATCH 816

/**
 * Of `TW_OPTION_PIPELINE_REFRESH_SCHEDULE`: the pause, in milliseconds, up to a day. Default 0.
 */
#define TW_OPTION_PIPELINE_REFRESH_GAP_MS 817

/**
 * Jobs that begin in any stretch of `TW_OPTION_PIPELINE_RATE_WINDOW_MS` at most, 1 to 1,000,000. Default: no limit.
 */
#define TW_OPTION_PIPELINE_RATE_LIMIT 818

/**
 * That stretch, in milliseconds, up to 30 days. It is needed with `TW_OPTION_PIPELINE_RATE_LIMIT`.
 */
#define TW_OPTION_PIPELINE_RATE_WINDOW_MS 819

/**
 * Flag: jobs begin evenly spread over the window, without bursts. Default 1.
 */
#define TW_OPTION_PIPELINE_RATE_PACING 820

/**
 * How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default 200.
 */
#define TW_OPTION_PIPELINE_RATE_FLOOR_PERMILLE 821

/**
 * Leases in a row whose process ended, after which a job is dead. Default 100; 0 for never.
 */
#define TW_OPTION_PIPELINE_CRASHES_MAX 822

/**
 * Flag: a file that was moved is done anew. Default 0.
 */
#define TW_OPTION_PIPELINE_PATHS_MATTER 823

/**
 * Each file by itself; it keeps its record when it moves.
 */
#define TW_GROUP_NONE 0

/**
 * The files that lie directly in one directory.
 */
#define TW_GROUP_PARENT 1

/**
 * The files that share their first `TW_OPTION_PIPELINE_GROUP_DEPTH` components.
 */
#define TW_GROUP_DEPTH 2

/**
 * The files whose paths differ in the last extension only.
 */
#define TW_GROUP_STEM 3

/**
 * The files for which a function gives the same key. `tw_list_pipeline` tells it; it is set by `tw_options_set_group`,
 * not as a number.
 */
#define TW_GROUP_FUNCTION 4

/**
 * Never.
 */
#define TW_REFRESH_NEVER 0

/**
 * So long after its completion.
 */
#define TW_REFRESH_AFTER 1

/**
 * By the age of the file at its completion: by the tiers of `tw_options_add_tier`, or, where there are none, after 3
 * days what is younger than 30 days, after 14 days what is younger than 180, after 30 days what is younger than 365,
 * after 90 days what is younger than 1,825, and after 180 days else.
 */
#define TW_REFRESH_TIERS 2

/**
 * When the completion says.
 */
#define TW_REFRESH_AT_COMPLETION 3

/**
 * Requests in any stretch of `TW_OPTION_LIMITER_WINDOW_MS` at most, 1 to 1,000,000. Needed.
 */
#define TW_OPTION_LIMITER_LIMIT 900

/**
 * That stretch, in milliseconds, up to 30 days. Needed.
 */
#define TW_OPTION_LIMITER_WINDOW_MS 901

/**
 * Flag: requests are spread evenly over the window, without bursts. Default 1.
 */
#define TW_OPTION_LIMITER_PACING 902

/**
 * How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default 200. Not for `tw_fleet_limiter`.
 */
#define TW_OPTION_LIMITER_FLOOR_PERMILLE 903

/**
 * Address: copy every file at or below it, `photos` or `photos/public`. Needed with `TW_OPTION_MIRROR_TARGET`, and for
 * `tw_warden_mirror_storage`; without both a mirror is opened as it was made, and only credentials and a CDN can be
 * given.
 */
#define TW_OPTION_MIRROR_ADDRESS 1000

/**
 * UTF-8, where to: `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://ACCOUNT/CONTAINER[/PREFIX]`, `file:///DIR`
 * for a directory of this machine that is there, or `local+https://HOST/BASE` for files that a server shows as they
 * lie. The prefix stands as it is, the directory percent-encoded. No user name, no password, no query.
 */
#define TW_OPTION_MIRROR_TARGET 1001

/**
 * UTF-8: send requests there instead of to the store's own address, `https://HOST[:PORT]`; with `http://` others can
 * read along.
 */
#define TW_OPTION_MIRROR_ENDPOINT 1002

/**
 * UTF-8: the region of an S3 bucket. Default `us-east-1`.
 */
#define TW_OPTION_MIRROR_REGION 1003

/**
 * Flag: the name of an S3 bucket is part of the host name, not of the path. Default 0.
 */
#define TW_OPTION_MIRROR_VIRTUAL_HOSTED 1004

/**
 * Flag: entity tags of an S3 bucket are no MD5 sums, as with KMS encryption. Default 0: what the store answers is
 * compared with what was sent.
 */
#define TW_OPTION_MIRROR_OPAQUE_ETAGS 1005

/**
 * UTF-8: what the URLs of the objects begin with, for those who read them. Default: none, and no file has a URL.
 */
#define TW_OPTION_MIRROR_PUBLIC_URL 1006

/**
 * UTF-8: what every key begins with, before a slash. For a target without a prefix of its own. Default: nothing.
 */
#define TW_OPTION_MIRROR_PREFIX 1007

/**
 * UTF-8, each call adds one: copy only files whose path below the address matches this pattern or another one that was
 * added, with the syntax of `TW_OPTION_PIPELINE_GLOB`. At most 1,000. Default: every file.
 */
#define TW_OPTION_MIRROR_GLOB 1008

/**
 * UTF-8: `Cache-Control` of every object. Default: none.
 */
#define TW_OPTION_MIRROR_CACHE_CONTROL 1009

/**
 * UTF-8, each call adds one: `EXTENSION=TYPE`, as in `jxl=image/jxl`: the content type of files with this extension.
 * Those that are usual are known.
 */
#define TW_OPTION_MIRROR_CONTENT_TYPE 1010

/**
 * Files that are sent at a time, 1 to 1,000. Default 10.
 */
#define TW_OPTION_MIRROR_UPLOADS_MAX 1011

/**
 * Bytes up to which a file is sent in one piece, and of the parts of larger ones, 5 MiB to 5 GiB. Default 8 MiB.
 */
#define TW_OPTION_MIRROR_PART_BYTES 1012

/**
 * Bytes of files that are in memory at a time, over all uploads, at least one part. Default 64 MiB.
 */
#define TW_OPTION_MIRROR_MEMORY_BYTES 1013

/**
 * Bytes a second that are sent at most, over all uploads, at least 1. Default: no limit.
 */
#define TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S 1014

/**
 * How often a request is tried in one run, 1 to 1,000. Default 5.
 */
#define TW_OPTION_MIRROR_ATTEMPTS_MAX 1015

/**
 * Wait before the second attempt, in milliseconds, 1 to a day; it doubles each time. Default 200.
 */
#define TW_OPTION_MIRROR_BACKOFF_MS 1016

/**
 * Longest wait before an attempt, in milliseconds, from the first wait to a day. Default 20,000.
 */
#define TW_OPTION_MIRROR_BACKOFF_MAX_MS 1017

/**
 * Deletions of one run beyond which all of them wait for confirmation; 0: every one waits. Default 10,000. See
 * `tw_mirror_sync`.
 */
#define TW_OPTION_MIRROR_DELETE_MAX 1018

/**
 * Share of all objects, in percent, beyond which 100 deletions or more wait for confirmation, 0 to 100. Default 50.
 */
#define TW_OPTION_MIRROR_DELETE_SHARE_PERCENT 1019

/**
 * For how long a file must be still before it is sent, in milliseconds, up to a day. Default 1,000.
 */
#define TW_OPTION_MIRROR_SETTLE_MS 1020

/**
 * Flag: the CDN is told of new objects too, not of changed and deleted ones alone. Default 0.
 */
#define TW_OPTION_MIRROR_PURGE_NEW 1021

/**
 * UTF-8: the id of an access key, for S3. With `TW_OPTION_MIRROR_SECRET_KEY`. Credentials are in no state file and no
 * message: they are given whenever the mirror is opened. One kind of them at a time; a directory needs none.
 */
#define TW_OPTION_MIRROR_ACCESS_KEY 1022

/**
 * UTF-8: the secret of that key.
 */
#define TW_OPTION_MIRROR_SECRET_KEY 1023

/**
 * UTF-8: the token that a temporary key comes with. Once it has expired, open the mirror with a new one.
 */
#define TW_OPTION_MIRROR_SESSION_TOKEN 1024

/**
 * Flag: requests without a signature, for a store that lets everybody write. Default 0.
 */
#define TW_OPTION_MIRROR_ANONYMOUS 1025

/**
 * Flag: the credentials of the machine itself, from the metadata service of its cloud. Default 0.
 */
#define TW_OPTION_MIRROR_INSTANCE 1026

/**
 * UTF-8: the key of an Azure storage account, in Base64.
 */
#define TW_OPTION_MIRROR_AZURE_KEY 1027

/**
 * UTF-8: a shared access signature of Azure, `sv=…&sig=…`.
 */
#define TW_OPTION_MIRROR_AZURE_SAS 1028

/**
 * UTF-8: the key of a service account of Google Cloud: the JSON text, not the name of its file.
 */
#define TW_OPTION_MIRROR_SERVICE_ACCOUNT 1029

/**
 * UTF-8: a bearer token for Google Cloud. Once it has expired, open the mirror with a new one.
 */
#define TW_OPTION_MIRROR_GCS_TOKEN 1030

/**
 * UTF-8: the id of a zone of Cloudflare, which is told of changed and deleted objects. With
 * `TW_OPTION_MIRROR_CLOUDFLARE_TOKEN`. A CDN is given whenever the mirror is opened, too. Default: no CDN.
 */
#define TW_OPTION_MIRROR_CLOUDFLARE_ZONE 1031

/**
 * UTF-8: an API token that may purge the cache of this zone.
 */
#define TW_OPTION_MIRROR_CLOUDFLARE_TOKEN 1032

/**
 * UTF-8: where the API is, for a gateway in front of it: `https`, or `http` on this machine. Default: Cloudflare.
 */
#define TW_OPTION_MIRROR_CLOUDFLARE_ENDPOINT 1033

/**
 * URLs of one request at most, 1 to 500. Default 30, which every plan takes.
 */
#define TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX 1034

/**
 * UTF-8: what tells the trees of this machine from those of others, 1 to 255 bytes without `/` and control characters.
 * A partitioned export needs it.
 */
#define TW_OPTION_EXPORT_HOST 1100

/**
 * UTF-8: a token, as `tw_warden_token` gives it: the files then say which database they come from.
 */
#define TW_OPTION_EXPORT_TOKEN 1101

/**
 * Flag: a directory with one file for each root, `host=HOST/root=ROOT/part-SEQ.parquet` for a snapshot and
 * `changes-SEQ.parquet` for changes, as DuckDB, Hive and Arrow read it. Default 0: one file.
 */
#define TW_OPTION_EXPORT_PARTITIONED 1102

/**
 * Flag: an existing Parquet file is replaced, in one step. What is no Parquet file never is. Default 0.
 */
#define TW_OPTION_EXPORT_REPLACE 1103

/**
 * UTF-8: what all keys in Redis begin with, 1 to 255 bytes without `/` and control characters. Fleets with different
 * prefixes know nothing of each other. Default `treewarden`.
 */
#define TW_OPTION_FLEET_PREFIX 1200

/**
 * How long making a connection may take, in milliseconds, 1 to an hour. Resolving the name of the host is up to the
 * system, and takes as long as that takes. Default 2,000.
 */
#define TW_OPTION_FLEET_CONNECT_TIMEOUT_MS 1201

/**
 * How long an answer may be awaited without a byte of it, in milliseconds, 1 to an hour. Default 2,000.
 */
#define TW_OPTION_FLEET_COMMAND_TIMEOUT_MS 1202

/**
 * Flag: connect when it is needed first, for programs that may start before Redis does. Default 0.
 */
#define TW_OPTION_FLEET_LATER 1203

/**
 * UTF-8: the changes of this root alone. Default: of all roots.
 */
#define TW_OPTION_PUBLISHER_ROOT 1300

/**
 * How many entries the stream keeps at least, 1 to a billion. Older ones are cut off, whether they were read or not; a
 * group that has not read them yet gets `TW_STATUS_RESET`. Default 100,000.
 */
#define TW_OPTION_PUBLISHER_ENTRIES_MAX 1301

/**
 * For how long a change may lie unacknowledged with another consumer, dead or slow, before this one takes it over, in
 * milliseconds, 1 to 7 days. Longer than the longest work, or work is done twice. Default 300,000.
 */
#define TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS 1400

/**
 * It is there and was never done.
 */
#define TW_WORK_NEW 0

/**
 * Its content, or the version of the pipeline, is not the one that was last done.
 */
#define TW_WORK_CHANGED 1

/**
 * It was done, and its refresh time has come.
 */
#define TW_WORK_STALE 2

/**
 * The last attempt failed. It is tried again later, or is dead.
 */
#define TW_WORK_ERROR 3

/**
 * It was done and is gone: what was made of it should be cleaned up.
 */
#define TW_WORK_MISSING 4

/**
 * Somebody holds a lease on it.
 */
#define TW_WORK_PROCESSING 5

/**
 * It was done, and there is nothing to do.
 */
#define TW_WORK_INDEXED 6

/**
 * Somebody waits for it: a request.
 */
#define TW_PRIORITY_CRITICAL 0

/**
 * Never done.
 */
#define TW_PRIORITY_HIGH 1

/**
 * Changed or missing.
 */
#define TW_PRIORITY_MEDIUM 2

/**
 * To be refreshed.
 */
#define TW_PRIORITY_LOW 3

/**
 * Part of a full refresh.
 */
#define TW_PRIORITY_VERY_LOW 4

/**
 * Listing and looking.
 */
#define TW_PHASE_WALK 0

/**
 * Reading content.
 */
#define TW_PHASE_HASH 1

/**
 * Writing and publishing.
 */
#define TW_PHASE_COMMIT 2

/**
 * A regular file.
 */
#define TW_KIND_FILE 0

/**
 * A directory.
 */
#define TW_KIND_DIR 1

/**
 * A symbolic link: known with its target, never followed.
 */
#define TW_KIND_SYMLINK 2

/**
 * Bytes that `tw_warden_token` needs room for at most, the zero at the end included.
 */
#define TW_TOKEN_ROOM 80

/**
 * It is done: the job is completed, as `tw_jobs_note_completion` said.
 */
#define TW_WORKER_DONE 0

/**
 * It may go well another time, see `tw_jobs_note_failure`. So does any number that is none of these.
 */
#define TW_WORKER_TRANSIENT 1

/**
 * It will not go well with this content: it is dead until the file changes or somebody asks for it.
 */
#define TW_WORKER_PERMANENT 2

/**
 * It is not its fault: it is put off for as long as `tw_jobs_note_failure` said, or for a minute; no attempt.
 */
#define TW_WORKER_PUT_OFF 3

/**
 * Steps over spaces, attributes and names in the journal that happen together: one commit, all or nothing. Nothing
 * happens before `tw_batch_commit`. Free it with `tw_batch_free`.
 */
typedef struct tw_batch tw_batch;

/**
 * A call of the library to a storage of the program, lent to the callback that it is for. It is the library's, and
 * ends when that returns: a handle that was kept is `TW_STATUS_INVALID_HANDLE` from then on.
 */
typedef struct tw_call tw_call;

/**
 * Stops scans, verifications and runs of mirrors from outside, as many as were given it. Made by `tw_cancel_new`,
 * freed by `tw_cancel_free`.
 */
typedef struct tw_cancel tw_cancel;

/**
 * Changes that are read one array at a time, from the oldest on. Free them with `tw_changes_free`.
 */
typedef struct tw_changes tw_changes;

/**
 * Reads a stream as one of a group, whose consumers divide the changes among themselves. Any thread may use it; two
 * that read at once share the changes. Free it with `tw_consumer_free`.
 */
typedef struct tw_consumer tw_consumer;

/**
 * What went wrong, to what, and what to do about it. Free it with `tw_error_free`.
 */
typedef struct tw_error tw_error;

/**
 * A queue of events. It is filled from the moment it is made until it is freed.
 */
typedef struct tw_events tw_events;

/**
 * What several machines share through one Redis: limits of requests, leases, and the journals of wardens as streams.
 * Free it with `tw_fleet_free`.
 *
 * Everything fails closed: without Redis there is no permit, no leader and no change, and functions that do not wait
 * for it answer `TW_STATUS_UNAVAILABLE`. Connections are made when they are needed, and made anew when they break. A
 * function that talks to Redis blocks until it has answered, at most for the times of `TW_OPTION_FLEET_…_TIMEOUT_MS`
 * and for as long as the system takes to find the host; a wait may be longer than its time by as much. Each of them
 * may fail as `tw_fleet_ping` does.
 */
typedef struct tw_fleet tw_fleet;

/**
 * A durable name in the journal, and what has been acknowledged under it. Free it with `tw_follow_free`. It keeps the
 * state file open until then, or until `tw_warden_close`.
 */
typedef struct tw_follow tw_follow;

/**
 * Threads of the library that run a mirror after each change. They end when it is freed, with `tw_following_free`, and
 * when the warden is closed.
 */
typedef struct tw_following tw_following;

/**
 * A walk over entries of a snapshot, in path order. Free it with `tw_iter_free`.
 */
typedef struct tw_iter tw_iter;

/**
 * Jobs that were handed out together, by index.
 */
typedef struct tw_jobs tw_jobs;

/**
 * Whoever has a lease. `tw_leader_release` and `tw_leader_free` give it back; what cannot be given back runs out.
 */
typedef struct tw_leader tw_leader;

/**
 * The right to be the leader, of which there is one over all machines. Free it with `tw_lease_free`.
 */
typedef struct tw_lease tw_lease;

/**
 * Grants at most so many requests in any rolling window.
 */
typedef struct tw_limiter tw_limiter;

/**
 * Rows of one type. The function that makes a list says which; `tw_list_len` says how many, and the function named
 * after the type gives one. Rows may be read in any thread, by several at once. All views in them live until
 * `tw_list_free`, whatever happens to the handle that the list came from.
 *
 * Every function that gives a row returns `TW_STATUS_INVALID_ARGUMENT` for a list of rows of another type, and
 * `TW_STATUS_NOT_FOUND` behind the last row. Indexes begin at 0.
 */
typedef struct tw_list tw_list;

/**
 * A thread of the library that calls back. `tw_listener_free` ends it.
 */
typedef struct tw_listener tw_listener;

/**
 * A root that is copied to a bucket, a container or a directory, and kept in step with it. Free it with
 * `tw_mirror_free`.
 */
typedef struct tw_mirror tw_mirror;

/**
 * Options of one kind. Made by `tw_options_new`, freed by `tw_options_free`. A function that takes options copies what
 * it needs: they may be changed, used again and freed at any time. Where options are taken, NULL means the defaults.
 */
typedef struct tw_options tw_options;

/**
 * The right to send one request. The server may count the request at any moment until its answer: so a permit counts
 * from its grant until one window after its end.
 */
typedef struct tw_permit tw_permit;

/**
 * A named consumer of work: which files it works on, and what is still to be done about each of them.
 */
typedef struct tw_pipeline tw_pipeline;

/**
 * Appends the changes of a warden to a stream, for the consumers of other machines: every change once, in order,
 * whatever is killed when. Only one publisher of a warden and a stream may run at a time. Free it with
 * `tw_publisher_free`; it keeps the state file open until then, or until `tw_warden_close`.
 */
typedef struct tw_publisher tw_publisher;

/**
 * Grants at most so many requests in any rolling window, over all machines that ask for the same name. Free it with
 * `tw_shared_limiter_free`.
 *
 * Without Redis nothing is granted. After a restart or failover of Redis, when its data was lost, and on a Redis that
 * no fleet of this prefix has used before, nothing is granted for one window and the longest time that a permit may be
 * held: what was granted before is not known. Whoever asks when a permit is free gets it, in no particular order.
 */
typedef struct tw_shared_limiter tw_shared_limiter;

/**
 * The right to send one request. Hold it until the answer has come, or until it is certain that none will, and not for
 * longer than its limiter allows: `tw_shared_permit_left`. It counts from its grant until one window after its end.
 */
typedef struct tw_shared_permit tw_shared_permit;

/**
 * All roots as one commit left them. It never changes, whatever happens meanwhile, and outlives its warden. Free it
 * with `tw_snapshot_free`: until then it keeps what has been replaced since in memory.
 *
 * Addresses are `ROOT/relative/path` in bytes. Path order is byte order component by component: a directory is
 * followed by everything below it.
 */
typedef struct tw_snapshot tw_snapshot;

/**
 * The URLs of a mirror as they were at one moment. It never changes, and looking into it waits for nobody. Free it
 * with `tw_urls_free`.
 */
typedef struct tw_urls tw_urls;

/**
 * A value that was read. Free it with `tw_value_free`.
 */
typedef struct tw_value tw_value;

/**
 * An open state file, and the threads behind it. All functions may be called in any thread, by several at once. Those
 * that change something wait until it is durable (see `TW_OPTION_OPEN_DURABILITY`); reading never waits for them.
 *
 * After a `fork` the handle is the parent's: in the child every function returns `TW_STATUS_FORKED`.
 */
typedef struct tw_warden tw_warden;

/**
 * Threads that work on a pipeline.
 */
typedef struct tw_workers tw_workers;

/**
 * What a function returns: `TW_STATUS_OK`, or why it failed. The numbers never change; those below 100 are those of
 * the Rust and Python packages.
 */
typedef int32_t tw_status;

/**
 * Some bytes that somebody else owns. `ptr` may be NULL when `len` is 0.
 */
typedef struct tw_bytes {
    /**
     * The first byte. There is no zero at the end.
     */
    const uint8_t *ptr;
    /**
     * How many there are.
     */
    size_t len;
} tw_bytes;

/**
 * One change.
 *
 * The changes of one seq happened at once. They come in an order in which they can be applied one by one, except where
 * entries swapped names: whoever keeps paths applies every `from`, `TW_CHANGE_MISSING` and `TW_CHANGE_FORGOTTEN` of a
 * seq before the rest, or goes by id.
 */
typedef struct tw_change {
    /**
     * The commit.
     */
    uint64_t seq;
    /**
     * The stable number of the entry.
     */
    uint64_t id;
    /**
     * Name of the root at that time.
     */
    struct tw_bytes root;
    /**
     * The address, `ROOT/relative/path`.
     */
    struct tw_bytes path;
    /**
     * Of `TW_CHANGE_MOVED`: the address before. NULL for all others.
     */
    struct tw_bytes from;
    /**
     * What happened: `TW_CHANGE_…`.
     */
    int32_t kind;
    /**
     * What it happened to: `TW_KIND_…`.
     */
    int32_t entry_kind;
} tw_change;

/**
 * What a `tw_error` tells. Views live as long as the `tw_error`; those that do not apply have a NULL `ptr`.
 */
typedef struct tw_error_info {
    /**
     * The status that the function returned.
     */
    tw_status status;
    /**
     * 1 when `restart_seq` is set.
     */
    int32_t has_restart_seq;
    /**
     * Of `TW_STATUS_RESET`: where to go on.
     */
    uint64_t restart_seq;
    /**
     * One sentence, UTF-8, without control characters.
     */
    struct tw_bytes message;
    /**
     * The path that it is about, as it is: it may hold any bytes but zeros.
     */
    struct tw_bytes path;
    /**
     * What to do about it, UTF-8.
     */
    struct tw_bytes hint;
} tw_error_info;

/**
 * Something that happened. The constants of `kind` say which fields are set; the others are 0, empty with a NULL
 * `ptr`, or, for `operation`, `operation_status` and `coverage`, -1.
 */
typedef struct tw_event {
    /**
     * What it is, `TW_EVENT_…`.
     */
    int32_t kind;
    /**
     * What ran, `TW_OPERATION_…`.
     */
    int32_t operation;
    /**
     * How it ended, `TW_OPERATION_STATUS_…`.
     */
    int32_t operation_status;
    /**
     * How the root is watched now, `TW_COVERAGE_…`.
     */
    int32_t coverage;
    /**
     * 1 when `estimate_files` is set.
     */
    int32_t has_estimate_files;
    /**
     * 1 when `eta_ms` is set.
     */
    int32_t has_eta_ms;
    /**
     * Name of the root, UTF-8.
     */
    struct tw_bytes root;
    /**
     * A reason or message for people, UTF-8.
     */
    struct tw_bytes text;
    /**
     * The commit that holds the result of a scan.
     */
    uint64_t seq;
    /**
     * The first commit that the event tells of.
     */
    uint64_t first_seq;
    /**
     * The last one.
     */
    uint64_t last_seq;
    /**
     * The events that follow tell of commits after this one.
     */
    uint64_t restart_seq;
    /**
     * Files and symlinks seen for the first time.
     */
    uint64_t added;
    /**
     * Files and symlinks that changed.
     */
    uint64_t modified;
    /**
     * Files and symlinks found under another path.
     */
    uint64_t moved;
    /**
     * Files and symlinks proved to be gone; of a root that is held, those that would be.
     */
    uint64_t missing;
    /**
     * Files and symlinks that are back again.
     */
    uint64_t restored;
    /**
     * Files and symlinks dropped from the state.
     */
    uint64_t forgotten;
    /**
     * Paths that could not be read.
     */
    uint64_t errors;
    /**
     * Files and symlinks known, of a root that is held.
     */
    uint64_t known;
    /**
     * Directories looked at so far.
     */
    uint64_t dirs;
    /**
     * Files and symlinks looked at so far.
     */
    uint64_t files;
    /**
     * Bytes hashed so far.
     */
    uint64_t bytes;
    /**
     * Files and symlinks that are expected, from the last scan.
     */
    uint64_t estimate_files;
    /**
     * Milliseconds that are still expected.
     */
    uint64_t eta_ms;
    /**
     * How long the scan took, in milliseconds.
     */
    uint64_t elapsed_ms;
} tw_event;

/**
 * Called with each event. `event` and its views are good until it returns.
 */
typedef void (*tw_event_fn)(const struct tw_event *event, void *user_data);

/**
 * Called exactly once, when the library lets go of `user_data`: the callback is not called any more then. That may be
 * in any thread, and at once when the function that was given the callback fails. NULL means that nobody needs to
 * know.
 */
typedef void (*tw_finalizer)(void *user_data);

/**
 * What an export has written.
 */
typedef struct tw_export_report {
    /**
     * Rows in all files.
     */
    uint64_t rows;
    /**
     * Size of all files, in bytes.
     */
    uint64_t bytes;
    /**
     * Files.
     */
    uint64_t files;
} tw_export_report;

/**
 * Called with each delivery. Returns 0 when what it tells has been dealt with: then it is acknowledged. Otherwise it
 * comes again after a second. It is called in a thread of the library, one call at a time. `delivery` is read with
 * `tw_changes_next`; it is freed when the callback returns, and with it all views of it. The callback may acknowledge
 * it by itself, with `tw_changes_ack` or in a batch with `tw_batch_advance`, and then return 0.
 */
typedef int32_t (*tw_delivery_fn)(const struct tw_changes *delivery, void *user_data);

/**
 * A job as it was handed out. Views live as long as the `tw_jobs`, also when the job was ended.
 */
typedef struct tw_job {
    /**
     * The address, `ROOT/relative/path`: of the file, or the key of the group.
     */
    struct tw_bytes path;
    /**
     * Where the file lies on this disk; empty when its root was removed.
     */
    struct tw_bytes fs_path;
    /**
     * The address under which it was completed last: it may have moved since. `ptr` is NULL when it was never
     * completed, and when another file of this pipeline lies there by now, for then what was made under that name is
     * that one's to replace.
     */
    struct tw_bytes done_path;
    /**
     * The fencing token: no two leases have the same.
     */
    uint64_t token;
    /**
     * When the lease runs out, nanoseconds since 1970 UTC; later after `tw_jobs_renew`.
     */
    int64_t expires_ns;
    /**
     * Why it was handed out, `TW_WORK_…`: new, changed, stale, error (tried again), missing (clean up what was made
     * of it), or indexed where somebody asked for it although nothing changed.
     */
    int32_t state;
    /**
     * The class in which it waited, `TW_PRIORITY_…`.
     */
    int32_t priority;
    /**
     * 1 for an item that is gone: what was made of it is to be cleaned up. Also where an earlier try of that failed.
     */
    int32_t is_gone;
    /**
     * How many times this content has been tried, this time included; 1 for the first.
     */
    uint32_t attempt;
} tw_job;

/**
 * What is stored with a completion besides the attributes of the job. All zeros: as the pipeline says.
 */
typedef struct tw_completion {
    /**
     * When it is to be done anew, nanoseconds since 1970 UTC, whatever the pipeline says.
     */
    int64_t refresh_at_ns;
    /**
     * The date whose age decides between the tiers of the pipeline, nanoseconds since 1970 UTC; otherwise the
     * modification time of the file.
     */
    int64_t reference_ns;
    /**
     * 1 when `refresh_at_ns` is set.
     */
    int32_t has_refresh_at;
    /**
     * 1 when `reference_ns` is set.
     */
    int32_t has_reference;
} tw_completion;

/**
 * How a limiter stands.
 */
typedef struct tw_limiter_status_info {
    /**
     * Requests in any window, as asked for.
     */
    uint32_t limit;
    /**
     * Requests in any window at the moment: the limit, or less after throttling.
     */
    uint32_t effective_limit;
    /**
     * The cost of the permits that are out, or that ended less than a window ago.
     */
    uint32_t in_window;
    /**
     * 1 when `paused_until_ns` is set.
     */
    int32_t has_paused_until;
    /**
     * Calls that wait.
     */
    uint64_t waiting;
    /**
     * Until when nobody is granted anything because of throttling, nanoseconds since 1970 UTC.
     */
    int64_t paused_until_ns;
    /**
     * Permits that were granted since the limiter was made.
     */
    uint64_t granted;
    /**
     * Reports of throttling since then.
     */
    uint64_t throttled;
    /**
     * Reports of success since then.
     */
    uint64_t succeeded;
} tw_limiter_status_info;

/**
 * A key and what belongs to it: a cursor and its commit, an attribute or a key of a space and its value.
 */
typedef struct tw_pair {
    /**
     * The name, or the key.
     */
    struct tw_bytes key;
    /**
     * The value; empty where there is a number.
     */
    struct tw_bytes value;
    /**
     * The number; 0 where there is a value.
     */
    uint64_t number;
} tw_pair;

/**
 * All that is known about one address, and what is on disk under it at this moment. Times are nanoseconds since 1970
 * UTC. The reasons come by `tw_list_text`, the attributes by `tw_list_pair`, and the root by `tw_list_root`.
 */
typedef struct tw_explanation {
    /**
     * The address.
     */
    struct tw_bytes address;
    /**
     * One word: `current`, `changed`, `new`, `missing`, `gone`, `ignored`, `unknown`, `special`, `unreadable` or
     * `unavailable`.
     */
    struct tw_bytes verdict;
    /**
     * The pattern that ignores it, UTF-8. NULL when none does.
     */
    struct tw_bytes ignored_by;
    /**
     * As known: the target of a symlink. NULL of anything else.
     */
    struct tw_bytes target;
    /**
     * As known: size in bytes. What is known is that of the entry, or, where there is none, that of the tombstone.
     */
    uint64_t size;
    /**
     * As known: modification time.
     */
    int64_t mtime_ns;
    /**
     * As known: time of the last change of the inode.
     */
    int64_t ctime_ns;
    /**
     * As known: time of birth, where `has_btime` is 1.
     */
    int64_t btime_ns;
    /**
     * As known: inode number.
     */
    uint64_t inode;
    /**
     * As known: the stable number of the file, which survives moves and restarts.
     */
    uint64_t id;
    /**
     * As known: the commit that changed it last.
     */
    uint64_t seq;
    /**
     * Of the tombstone, where `has_missing` is 1: when it went missing.
     */
    int64_t missing_since_ns;
    /**
     * Of the tombstone, where `has_missing` is 1: the stable number of the file that was there.
     */
    uint64_t missing_id;
    /**
     * On disk: size in bytes.
     */
    uint64_t disk_size;
    /**
     * On disk: modification time.
     */
    int64_t disk_mtime_ns;
    /**
     * On disk: time of the last change of the inode.
     */
    int64_t disk_ctime_ns;
    /**
     * On disk: inode number.
     */
    uint64_t disk_inode;
    /**
     * How many reasons there are.
     */
    uint64_t reasons;
    /**
     * How many attributes there are.
     */
    uint64_t attrs;
    /**
     * As known: xxh3-128 of the content, where `has_hash` is 1, in the order of its hexadecimal digits.
     */
    uint8_t hash[16];
    /**
     * 1 when there is an entry.
     */
    int32_t has_entry;
    /**
     * 1 when there is a tombstone.
     */
    int32_t has_missing;
    /**
     * 1 when something is on disk.
     */
    int32_t is_on_disk;
    /**
     * As known: `TW_KIND_…`.
     */
    int32_t kind;
    /**
     * As known: type and permission bits as in `stat(2)`.
     */
    uint32_t mode;
    /**
     * As known: 1 where the file system keeps times of birth.
     */
    int32_t has_btime;
    /**
     * As known: 1 where there is a hash.
     */
    int32_t has_hash;
    /**
     * On disk: `TW_KIND_…`, `TW_KIND_SPECIAL` too.
     */
    int32_t disk_kind;
    /**
     * On disk: type and permission bits as in `stat(2)`.
     */
    uint32_t disk_mode;
    /**
     * 1 when `tw_list_root` gives the root.
     */
    int32_t has_root;
} tw_explanation;

/**
 * A mirror as it is stored, with its options as they were given last; what was not said has its default. No secret is
 * part of it.
 */
typedef struct tw_mirror_info {
    /**
     * Its name, UTF-8.
     */
    struct tw_bytes name;
    /**
     * The address that it copies.
     */
    struct tw_bytes address;
    /**
     * Where to, for people, UTF-8.
     */
    struct tw_bytes place;
    /**
     * Where to, as `TW_OPTION_MIRROR_TARGET` takes it, without a prefix, UTF-8. NULL when a program has brought a
     * storage of its own along, as with `tw_warden_mirror_storage`.
     */
    struct tw_bytes target;
    /**
     * Where requests are sent to, UTF-8. NULL for the store's own address.
     */
    struct tw_bytes endpoint;
    /**
     * The region, UTF-8. NULL when none was set.
     */
    struct tw_bytes region;
    /**
     * What the URLs of its objects begin with, UTF-8. NULL when there is none.
     */
    struct tw_bytes public_url;
    /**
     * 1 when the name of the bucket is part of the host name.
     */
    int32_t is_virtual_hosted;
    /**
     * 1 when entity tags are no MD5 sums.
     */
    int32_t has_opaque_etags;
    /**
     * What every key begins with, before a slash, UTF-8; empty for nothing.
     */
    struct tw_bytes prefix;
    /**
     * `Cache-Control` of every object, UTF-8. NULL when none was set.
     */
    struct tw_bytes cache_control;
    /**
     * How many of them `tw_list_mirror_glob` gives; 0 stands for every file.
     */
    uint64_t globs;
    /**
     * How many of them `tw_list_mirror_content_type` gives, besides the usual ones.
     */
    uint64_t content_types;
    /**
     * Bytes up to which a file is sent in one piece, and of the parts of larger ones.
     */
    uint64_t part_bytes;
    /**
     * Bytes of files that are in memory at a time, over all uploads.
     */
    uint64_t memory_bytes;
    /**
     * Bytes a second that are sent at most, over all uploads, where `has_bandwidth` is 1.
     */
    uint64_t bandwidth_bytes_per_s;
    /**
     * Wait before the second attempt, in milliseconds; it doubles each time.
     */
    uint64_t backoff_ms;
    /**
     * Longest wait before an attempt, in milliseconds.
     */
    uint64_t backoff_max_ms;
    /**
     * Deletions beyond which all of them wait for confirmation, as `tw_mirror_sync` says; 0: every one waits.
     */
    uint64_t delete_max;
    /**
     * For how long a file must be still before it is sent, in milliseconds.
     */
    uint64_t settle_ms;
    /**
     * Files that are sent at a time.
     */
    uint32_t uploads_max;
    /**
     * How often a request is tried in one run.
     */
    uint32_t attempts_max;
    /**
     * Share of all objects, in percent, beyond which 100 deletions or more wait for confirmation.
     */
    uint32_t delete_share_percent;
    /**
     * 1 when there is a limit to the bandwidth.
     */
    int32_t has_bandwidth;
    /**
     * 1 when the CDN is told of new objects too.
     */
    int32_t purge_new;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_info;

/**
 * How a mirror stands. Times are nanoseconds since 1970 UTC; the last ten numbers only rise, since it was opened.
 */
typedef struct tw_mirror_status_info {
    /**
     * Its name, UTF-8.
     */
    struct tw_bytes name;
    /**
     * The address that it copies.
     */
    struct tw_bytes address;
    /**
     * Where to, without any secret, UTF-8.
     */
    struct tw_bytes place;
    /**
     * What every key begins with, UTF-8.
     */
    struct tw_bytes prefix;
    /**
     * Why the last run was given up, UTF-8. NULL when it was not.
     */
    struct tw_bytes last_error;
    /**
     * Objects that are acknowledged.
     */
    uint64_t objects;
    /**
     * Their bytes.
     */
    uint64_t object_bytes;
    /**
     * Objects of which it is not known what is there; the next run puts or deletes them.
     */
    uint64_t unsure;
    /**
     * Paths that are to be looked at again, where `has_pending` is 1; unknown before the first run.
     */
    uint64_t pending;
    /**
     * When the oldest of them came, where `has_oldest_pending` is 1.
     */
    int64_t oldest_pending_ns;
    /**
     * Deletions that wait for confirmation since the last run.
     */
    uint64_t held;
    /**
     * URLs that a CDN is still to forget.
     */
    uint64_t purges_waiting;
    /**
     * When the oldest of them was queued, where `has_oldest_purge` is 1.
     */
    int64_t oldest_purge_ns;
    /**
     * The commit that the last run has brought the copy in step with, where `has_last_seq` is 1.
     */
    uint64_t last_seq;
    /**
     * When the last run ended, where `has_last_run` is 1.
     */
    int64_t last_run_ns;
    /**
     * Runs that ended.
     */
    uint64_t runs;
    /**
     * Runs that were given up.
     */
    uint64_t runs_failed;
    /**
     * Files sent and acknowledged.
     */
    uint64_t uploaded;
    /**
     * Their bytes.
     */
    uint64_t uploaded_bytes;
    /**
     * Objects copied within the store.
     */
    uint64_t copied;
    /**
     * Objects deleted.
     */
    uint64_t deleted;
    /**
     * Files and objects that failed in a run.
     */
    uint64_t failed;
    /**
     * Requests repeated.
     */
    uint64_t retries;
    /**
     * URLs that a CDN has forgotten.
     */
    uint64_t purged;
    /**
     * Calls to the CDN that failed.
     */
    uint64_t purge_failures;
    /**
     * 1 while a run is under way.
     */
    int32_t is_running;
    /**
     * 1 while it follows its root by itself.
     */
    int32_t is_following;
    /**
     * 1 when `pending` is set.
     */
    int32_t has_pending;
    /**
     * 1 when `oldest_pending_ns` is set.
     */
    int32_t has_oldest_pending;
    /**
     * 1 when `oldest_purge_ns` is set.
     */
    int32_t has_oldest_purge;
    /**
     * 1 when `last_seq` is set.
     */
    int32_t has_last_seq;
    /**
     * 1 when `last_run_ns` is set.
     */
    int32_t has_last_run;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_status_info;

/**
 * A URL that came or went.
 */
typedef struct tw_url_change {
    /**
     * The address of the file.
     */
    struct tw_bytes path;
    /**
     * The URL that its object has or had, UTF-8.
     */
    struct tw_bytes url;
    /**
     * What happened, `TW_URL_CHANGE_…`.
     */
    int32_t kind;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_url_change;

/**
 * What one run of a mirror has done.
 */
typedef struct tw_mirror_report {
    /**
     * The commit that the copy was brought in step with.
     */
    uint64_t seq;
    /**
     * Files that were sent and acknowledged.
     */
    uint64_t uploaded;
    /**
     * Their bytes.
     */
    uint64_t uploaded_bytes;
    /**
     * Objects that were copied to another key within the store.
     */
    uint64_t copied;
    /**
     * Objects that were deleted.
     */
    uint64_t deleted;
    /**
     * Files that changed while they were read, or since the last scan: they come with the next run.
     */
    uint64_t changed;
    /**
     * Files that have not been still for long enough: they come with the next run.
     */
    uint64_t unsettled;
    /**
     * Files and objects that failed, those of `refused` not counted.
     */
    uint64_t failed;
    /**
     * Files that the store can hold under no name.
     */
    uint64_t refused;
    /**
     * Deletions that wait for confirmation: see `tw_mirror_sync`.
     */
    uint64_t held;
    /**
     * URLs that a CDN has forgotten.
     */
    uint64_t purged;
    /**
     * URLs that a CDN is still to forget.
     */
    uint64_t purges_waiting;
    /**
     * Requests that were repeated.
     */
    uint64_t retries;
    /**
     * How many failures `tw_list_mirror_error` gives: the first 100.
     */
    uint64_t first_errors;
    /**
     * Time taken, in milliseconds.
     */
    uint64_t elapsed_ms;
    /**
     * 1 when nothing is left: the copy equals the snapshot, but for names that the store cannot hold.
     */
    int32_t is_complete;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_report;

/**
 * A file that could not be copied, or an object that could not be deleted.
 */
typedef struct tw_mirror_error {
    /**
     * The address of the file.
     */
    struct tw_bytes path;
    /**
     * The key of its object, UTF-8. NULL where it has none.
     */
    struct tw_bytes key;
    /**
     * What happened, UTF-8.
     */
    struct tw_bytes message;
    /**
     * 1 when it will never work as it is: the name or size is not allowed.
     */
    int32_t is_permanent;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_error;

/**
 * What the next run of a mirror would do.
 */
typedef struct tw_mirror_plan_info {
    /**
     * The commit of the snapshot that it was made from.
     */
    uint64_t seq;
    /**
     * How many steps `tw_list_mirror_step` gives.
     */
    uint64_t steps;
    /**
     * Files to send.
     */
    uint64_t uploads;
    /**
     * Their bytes.
     */
    uint64_t upload_bytes;
    /**
     * Objects to copy within the store.
     */
    uint64_t copies;
    /**
     * Objects to delete.
     */
    uint64_t deletes;
    /**
     * Files that have not been still for long enough.
     */
    uint64_t unsettled;
    /**
     * Files that the store can hold under no name.
     */
    uint64_t refused;
    /**
     * How many of them `tw_list_mirror_error` gives: the first 100.
     */
    uint64_t first_errors;
    /**
     * 1 when so many deletions would wait for confirmation.
     */
    int32_t is_held;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_plan_info;

/**
 * One step of a plan.
 */
typedef struct tw_mirror_step {
    /**
     * Of `TW_MIRROR_STEP_UPLOAD`: the address of the file. NULL for all others.
     */
    struct tw_bytes path;
    /**
     * Of `TW_MIRROR_STEP_COPY`: the key of the object that is copied, UTF-8. NULL for all others.
     */
    struct tw_bytes from;
    /**
     * The key of the object that comes into being, or that is deleted, UTF-8.
     */
    struct tw_bytes key;
    /**
     * Of `TW_MIRROR_STEP_UPLOAD`: the size of the file in bytes. 0 for all others.
     */
    uint64_t bytes;
    /**
     * What is done, `TW_MIRROR_STEP_…`.
     */
    int32_t kind;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_step;

/**
 * What an audit has found.
 */
typedef struct tw_audit_report {
    /**
     * Objects that were listed.
     */
    uint64_t listed;
    /**
     * Objects that are as they were acknowledged.
     */
    uint64_t matched;
    /**
     * Acknowledged objects that are not there.
     */
    uint64_t lost;
    /**
     * Objects of another size or entity tag.
     */
    uint64_t different;
    /**
     * Objects that the mirror did not put there.
     */
    uint64_t unknown;
    /**
     * Objects that were begun and not acknowledged.
     */
    uint64_t unsure;
    /**
     * How many differences `tw_list_audit_finding` gives: the first 1,000.
     */
    uint64_t findings;
    /**
     * 1 when the store holds what it has acknowledged, and nothing else.
     */
    int32_t is_clean;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_audit_report;

/**
 * One difference between a store and what it has acknowledged.
 */
typedef struct tw_audit_finding {
    /**
     * The key of the object, UTF-8.
     */
    struct tw_bytes key;
    /**
     * What is wrong with it, `TW_AUDIT_…`.
     */
    int32_t kind;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_audit_finding;

/**
 * A pipeline and its options, as they were given last. Each field is what the option of that name takes; what was not
 * said has its default.
 */
typedef struct tw_pipeline_info {
    /**
     * Its name, UTF-8.
     */
    struct tw_bytes name;
    /**
     * Of `TW_GROUP_FUNCTION`: the name of the function, UTF-8. NULL otherwise.
     */
    struct tw_bytes group_name;
    /**
     * When a refresh run begins, as `TW_OPTION_PIPELINE_REFRESH_SCHEDULE` takes it, UTF-8. NULL when what is to be
     * refreshed is handed out whenever it is due.
     */
    struct tw_bytes refresh_schedule;
    /**
     * How many of them `tw_list_pipeline_root` gives; 0 stands for all roots, present and future.
     */
    uint64_t roots;
    /**
     * How many of them `tw_list_pipeline_glob` gives; 0 stands for every file and symlink.
     */
    uint64_t globs;
    /**
     * Of `TW_REFRESH_TIERS`: how many of them `tw_list_pipeline_tier` gives.
     */
    uint64_t tiers;
    /**
     * For how long a new or changed file must be still before it is handed out, in milliseconds.
     */
    uint64_t settle_ms;
    /**
     * For how long a job is held without being renewed, in milliseconds.
     */
    uint64_t lease_ms;
    /**
     * Wait after the first failure, in milliseconds.
     */
    uint64_t retry_base_ms;
    /**
     * Longest wait after a failure, in milliseconds.
     */
    uint64_t retry_cap_ms;
    /**
     * Of `TW_REFRESH_AFTER`: so many milliseconds after its completion. 0 otherwise.
     */
    uint64_t refresh_after_ms;
    /**
     * The pause between two batches of a refresh run, in milliseconds, where there is a `refresh_schedule`.
     */
    uint64_t refresh_gap_ms;
    /**
     * The stretch of the rate, in milliseconds, where `has_rate` is 1.
     */
    uint64_t rate_window_ms;
    /**
     * Version of what is done with a file.
     */
    uint32_t version;
    /**
     * Jobs handed out at once, all workers together; 0: no bound.
     */
    uint32_t concurrency;
    /**
     * Failures of the same content in a row after which it is dead.
     */
    uint32_t attempts_max;
    /**
     * Leases in a row whose process ended, after which a job is dead; 0 for never.
     */
    uint32_t crashes_max;
    /**
     * Of `TW_GROUP_DEPTH`: how many components below the root files share. 0 otherwise.
     */
    uint32_t group_depth;
    /**
     * Items between two pauses of a refresh run, where there is a `refresh_schedule`; 4,294,967,295 stands for all.
     */
    uint32_t refresh_batch;
    /**
     * Jobs that begin in any such stretch at most, where `has_rate` is 1.
     */
    uint32_t rate_limit;
    /**
     * How far throttling may lower the limit, in thousandths of it, where `has_rate` is 1.
     */
    uint32_t rate_floor_permille;
    /**
     * Which files are one job, `TW_GROUP_…`.
     */
    int32_t group;
    /**
     * Class of its new files, `TW_PRIORITY_…`.
     */
    int32_t priority;
    /**
     * When a completed item is done anew although it did not change, `TW_REFRESH_…`.
     */
    int32_t refresh;
    /**
     * 1 when each wait after a failure is longer by a random 0 to 10 percent.
     */
    int32_t retry_jitter;
    /**
     * 1 when it has a rate.
     */
    int32_t has_rate;
    /**
     * 1 when jobs begin evenly spread over the stretch, where `has_rate` is 1.
     */
    int32_t rate_pacing;
    /**
     * 1 when a file that was moved is done anew.
     */
    int32_t paths_matter;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_pipeline_info;

/**
 * A tier of `TW_REFRESH_TIERS`, as `tw_options_add_tier` takes it.
 */
typedef struct tw_tier {
    /**
     * It is for what is younger than this at its completion, in milliseconds; -1 for all that is older.
     */
    int64_t younger_than_ms;
    /**
     * So many milliseconds after its completion it is done anew.
     */
    int64_t after_ms;
} tw_tier;

/**
 * What became of one target of a scan. Counts are of files and symlinks, not of directories.
 */
typedef struct tw_report {
    /**
     * Name of the root, UTF-8.
     */
    struct tw_bytes root;
    /**
     * Why nothing was applied because the root cannot be trusted, UTF-8. NULL when it can.
     */
    struct tw_bytes unavailable;
    /**
     * The commit that the state is at after the scan.
     */
    uint64_t seq;
    /**
     * Seen for the first time.
     */
    uint64_t added;
    /**
     * Changed.
     */
    uint64_t modified;
    /**
     * Found under another path.
     */
    uint64_t moved;
    /**
     * Proved to be gone.
     */
    uint64_t missing;
    /**
     * Back again.
     */
    uint64_t restored;
    /**
     * Dropped because they are ignored now, or belong to another root.
     */
    uint64_t forgotten;
    /**
     * Looked at and as before.
     */
    uint64_t unchanged;
    /**
     * Directories listed.
     */
    uint64_t dirs;
    /**
     * Files and symlinks seen.
     */
    uint64_t files;
    /**
     * Sum of their sizes in bytes.
     */
    uint64_t bytes;
    /**
     * FIFOs, sockets and devices seen; never opened, never entries.
     */
    uint64_t special;
    /**
     * Paths that could not be looked at. Each keeps its last state, and so does what lies below it.
     */
    uint64_t errors;
    /**
     * How many of them `tw_list_scan_error` gives: the first 100.
     */
    uint64_t first_errors;
    /**
     * Files whose content changed under an unchanged fingerprint.
     */
    uint64_t corrupt;
    /**
     * Where `is_held` is 1: files and symlinks that would become missing.
     */
    uint64_t held_missing;
    /**
     * Where `is_held` is 1: files and symlinks known.
     */
    uint64_t held_of;
    /**
     * Time taken, in milliseconds.
     */
    uint64_t elapsed_ms;
    /**
     * Of it for listing, looking and comparing.
     */
    uint64_t walk_ms;
    /**
     * Of it for reading content.
     */
    uint64_t hash_ms;
    /**
     * Of it for writing and publishing.
     */
    uint64_t commit_ms;
    /**
     * How deep the scan looked, `TW_SCAN_QUICK` or `TW_SCAN_FULL`.
     */
    int32_t mode;
    /**
     * 1 when nothing was applied because too much would become missing. See `TW_OPTION_SCAN_ACCEPT_MISSING`.
     */
    int32_t is_held;
    /**
     * 1 when it was cancelled; nothing was applied.
     */
    int32_t is_cancelled;
    /**
     * 1 when the scan made a commit.
     */
    int32_t is_published;
    /**
     * 1 when everything could be looked at and the result was applied.
     */
    int32_t is_clean;
    /**
     * 1 when no file or symlink changed.
     */
    int32_t is_unchanged;
} tw_report;

/**
 * One path that could not be looked at.
 */
typedef struct tw_scan_error {
    /**
     * The address.
     */
    struct tw_bytes path;
    /**
     * What happened, UTF-8.
     */
    struct tw_bytes message;
    /**
     * The same as a status, `TW_STATUS_…`.
     */
    tw_status status;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_scan_error;

/**
 * One row of the history: a scan or a batch that changed something, or that failed to. Times are nanoseconds since
 * 1970 UTC, counts are of files and symlinks.
 */
typedef struct tw_operation {
    /**
     * Name of the root at that time, UTF-8; empty where it concerns all.
     */
    struct tw_bytes root;
    /**
     * Why it did not end well, UTF-8. NULL when it did.
     */
    struct tw_bytes error;
    /**
     * Number of the row.
     */
    uint64_t id;
    /**
     * Start.
     */
    int64_t start_ns;
    /**
     * End.
     */
    int64_t end_ns;
    /**
     * The commit that holds its result.
     */
    uint64_t seq;
    /**
     * Seen for the first time.
     */
    uint64_t added;
    /**
     * Changed.
     */
    uint64_t modified;
    /**
     * Found under another path.
     */
    uint64_t moved;
    /**
     * Proved to be gone.
     */
    uint64_t missing;
    /**
     * Back again.
     */
    uint64_t restored;
    /**
     * Dropped from the state.
     */
    uint64_t forgotten;
    /**
     * Paths that could not be read.
     */
    uint64_t errors;
    /**
     * What ran, `TW_OPERATION_…`.
     */
    int32_t kind;
    /**
     * How it ended, `TW_OPERATION_STATUS_…`.
     */
    int32_t status;
} tw_operation;

/**
 * What a verification has found.
 */
typedef struct tw_verify_report {
    /**
     * Files and symlinks looked at.
     */
    uint64_t checked;
    /**
     * Paths at which disk and state differ.
     */
    uint64_t differences_total;
    /**
     * How many of them `tw_list_difference` gives: the first 10,000.
     */
    uint64_t differences;
    /**
     * Paths that could not be looked at, and roots that are unavailable.
     */
    uint64_t errors;
    /**
     * How many of them `tw_list_scan_error` gives: the first 100.
     */
    uint64_t first_errors;
} tw_verify_report;

/**
 * One path at which disk and state differ.
 */
typedef struct tw_difference {
    /**
     * The address.
     */
    struct tw_bytes path;
    /**
     * How they differ, `TW_DIFFERENCE_…`.
     */
    int32_t what;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_difference;

/**
 * What a rebuild has saved.
 */
typedef struct tw_rebuild_report {
    /**
     * Where the damaged file is kept, a path on this disk, bytes.
     */
    struct tw_bytes kept_as;
    /**
     * Roots saved.
     */
    uint64_t roots;
    /**
     * Files and symlinks saved.
     */
    uint64_t entries;
    /**
     * Rows that could not be read.
     */
    uint64_t lost_rows;
    /**
     * Values of spaces saved.
     */
    uint64_t spaces_rows;
} tw_rebuild_report;

/**
 * A root. Times are nanoseconds since 1970 UTC. What is said of watching is 0 or NULL unless `is_watched` is 1.
 */
typedef struct tw_root {
    /**
     * The name, first component of every address in it, UTF-8.
     */
    struct tw_bytes name;
    /**
     * The directory on this machine, bytes.
     */
    struct tw_bytes path;
    /**
     * The ignore patterns, UTF-8, one on each line; a pattern never holds a line break.
     */
    struct tw_bytes ignore;
    /**
     * Type of the file system, as the kernel names it, or its number in hexadecimal.
     */
    struct tw_bytes fs_type;
    /**
     * Of `TW_ROOT_STATE_UNAVAILABLE`: what was found, and what to do, UTF-8. NULL otherwise.
     */
    struct tw_bytes reason;
    /**
     * Why not all directories report changes by themselves, UTF-8. NULL when they do.
     */
    struct tw_bytes coverage_reason;
    /**
     * Files and symlinks known.
     */
    uint64_t files;
    /**
     * Directories known, without the root itself.
     */
    uint64_t dirs;
    /**
     * Sum of their sizes, in bytes.
     */
    uint64_t bytes;
    /**
     * Of `TW_ROOT_STATE_HELD`: files and symlinks that would become missing.
     */
    uint64_t held_missing;
    /**
     * Of `TW_ROOT_STATE_HELD`: files and symlinks known then.
     */
    uint64_t held_of;
    /**
     * End of the last scan that changed something, where `has_last_scan` is 1.
     */
    int64_t last_scan_ns;
    /**
     * Directories that are watched.
     */
    uint64_t watched_dirs;
    /**
     * Directories of a watched root that are polled; 10,001 means more.
     */
    uint64_t uncovered_dirs;
    /**
     * Names and directories that were heard of and not looked at yet.
     */
    uint64_t pending;
    /**
     * Events received since watching began.
     */
    uint64_t events;
    /**
     * Times that events were lost, or were too many to be remembered, since watching began.
     */
    uint64_t overflows;
    /**
     * The next scheduled quick scan, where `has_next_quick` is 1.
     */
    int64_t next_quick_ns;
    /**
     * The next scheduled full scan, where `has_next_full` is 1.
     */
    int64_t next_full_ns;
    /**
     * The next scan although nothing was heard, where `has_next_reconcile` is 1.
     */
    int64_t next_reconcile_ns;
    /**
     * Number of the root, never used again after its removal.
     */
    uint32_t id;
    /**
     * Whether it can be trusted, `TW_ROOT_STATE_…`.
     */
    int32_t state;
    /**
     * Whether content hashes are kept, `TW_CONTENT_HASH_…`.
     */
    int32_t content_hash;
    /**
     * The comparison in force, `TW_COMPARE_…`.
     */
    int32_t compare;
    /**
     * The comparison that was asked for, `TW_COMPARE_…`.
     */
    int32_t compare_asked;
    /**
     * 1 once a scan has changed something.
     */
    int32_t has_last_scan;
    /**
     * 1 while it is watched or polled.
     */
    int32_t is_watched;
    /**
     * `TW_WATCH_NATIVE` or `TW_WATCH_POLL`.
     */
    int32_t watch_mode;
    /**
     * How many of its directories report changes by themselves, `TW_COVERAGE_…`.
     */
    int32_t coverage;
    /**
     * 1 when nothing is known to be unknown: no events were lost that no scan has made up for, and the root is neither
     * unavailable nor held.
     */
    int32_t is_coherent;
    /**
     * 1 while a scan or look is under way.
     */
    int32_t is_scanning;
    /**
     * 1 when a quick scan is scheduled.
     */
    int32_t has_next_quick;
    /**
     * 1 when a full scan is scheduled.
     */
    int32_t has_next_full;
    /**
     * 1 when a scan is to come although nothing is heard.
     */
    int32_t has_next_reconcile;
} tw_root;

/**
 * One change, as it came over a stream.
 */
typedef struct tw_stream_item {
    /**
     * The id of the entry in the stream, UTF-8.
     */
    struct tw_bytes stream_id;
    /**
     * The state file that it comes from, as 32 hexadecimal digits.
     */
    struct tw_bytes database;
    /**
     * Name of the root at that time, UTF-8. NULL of a reset.
     */
    struct tw_bytes root;
    /**
     * The address, `ROOT/relative/path`. NULL of a reset.
     */
    struct tw_bytes path;
    /**
     * Of `TW_CHANGE_MOVED`: the address before. NULL for all others.
     */
    struct tw_bytes from;
    /**
     * The commit.
     */
    uint64_t seq;
    /**
     * Which of the changes of that commit, from 1; 0 of a reset.
     */
    uint64_t part;
    /**
     * The stable number of the entry; 0 of a reset.
     */
    uint64_t id;
    /**
     * What happened: `TW_CHANGE_…`; -1 of a reset.
     */
    int32_t kind;
    /**
     * What it happened to: `TW_KIND_…`; -1 of a reset.
     */
    int32_t entry_kind;
    /**
     * 1 when it is no change but a reset: what comes now does not continue what came before (another state file, or
     * something was lost), so whoever keeps a copy looks at the whole.
     */
    int32_t is_reset;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_stream_item;

/**
 * One item of a pipeline.
 */
typedef struct tw_work_item {
    /**
     * Address of the file, or key of the group.
     */
    struct tw_bytes path;
    /**
     * How it stands, `TW_WORK_…`; `TW_WORK_PROCESSING` while it is held.
     */
    int32_t state;
    /**
     * 1 when it has failed for good.
     */
    int32_t is_dead;
} tw_work_item;

/**
 * All that is known of one item of a pipeline, and why. Times are nanoseconds since 1970 UTC. What the worker has
 * stored with it comes by `tw_list_pair`.
 */
typedef struct tw_work_explanation {
    /**
     * Address of the file, or key of the group.
     */
    struct tw_bytes path;
    /**
     * Why it stands so, in words, UTF-8.
     */
    struct tw_bytes why;
    /**
     * Why the last attempt failed, UTF-8. NULL when it did not.
     */
    struct tw_bytes last_error;
    /**
     * Who holds a lease on it, UTF-8. NULL when nobody does.
     */
    struct tw_bytes lease_holder;
    /**
     * What identifies the content that was done: equal texts mean the same. NULL when it never was.
     */
    struct tw_bytes content_done;
    /**
     * What identifies the content now. NULL when there is none.
     */
    struct tw_bytes content_now;
    /**
     * When it is due, where `has_due` is 1; otherwise never by itself.
     */
    int64_t due_ns;
    /**
     * When it was completed last, where `has_done` is 1.
     */
    int64_t done_ns;
    /**
     * When it is to be refreshed, where `has_refresh_at` is 1.
     */
    int64_t refresh_at_ns;
    /**
     * Until when the lease holds, where there is a `lease_holder`.
     */
    int64_t lease_until_ns;
    /**
     * How many attributes there are.
     */
    uint64_t attrs;
    /**
     * Failures of this content in a row.
     */
    uint32_t attempts;
    /**
     * How it stands, without regard to a lease, `TW_WORK_…`.
     */
    int32_t state;
    /**
     * The class in which it waits or would wait, `TW_PRIORITY_…`.
     */
    int32_t priority;
    /**
     * The class in which somebody has asked for it, `TW_PRIORITY_…`, where `has_requested` is 1.
     */
    int32_t requested;
    /**
     * 1 when it is due at some time.
     */
    int32_t has_due;
    /**
     * 1 once it was completed.
     */
    int32_t has_done;
    /**
     * 1 when it is to be refreshed.
     */
    int32_t has_refresh_at;
    /**
     * 1 when somebody has asked for it.
     */
    int32_t has_requested;
    /**
     * 1 when it has failed for good.
     */
    int32_t is_dead;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_work_explanation;

/**
 * Called with each line. `level` is `TW_LOG_ERROR` to `TW_LOG_TRACE`, `message` is UTF-8 without control characters,
 * `treewarden::live::post: events were lost; the root is scanned again root=music`, and good until it returns.
 */
typedef void (*tw_log_fn)(int32_t level, struct tw_bytes message, void *user_data);

/**
 * The main numbers of the engine, all roots, pipelines and mirrors together. Pipelines and mirrors are those that this
 * process has opened.
 */
typedef struct tw_metrics {
    /**
     * When they were taken, nanoseconds since 1970 UTC.
     */
    int64_t taken_ns;
    /**
     * How long the warden has been open, in milliseconds.
     */
    uint64_t uptime_ms;
    /**
     * The last commit.
     */
    uint64_t seq;
    /**
     * Size of the state file in bytes.
     */
    uint64_t state_file_bytes;
    /**
     * Size of the rows of the journal in bytes.
     */
    uint64_t journal_bytes;
    /**
     * The journal tells of every commit after this one.
     */
    uint64_t journal_floor_seq;
    /**
     * Roots.
     */
    uint64_t roots;
    /**
     * Of them, those that cannot be trusted at the moment.
     */
    uint64_t roots_unavailable;
    /**
     * Of them, those that are held because too much would be missing.
     */
    uint64_t roots_held;
    /**
     * Files and symlinks known.
     */
    uint64_t files;
    /**
     * Directories known, without the roots themselves.
     */
    uint64_t dirs;
    /**
     * Sum of the sizes of files and symlinks, in bytes.
     */
    uint64_t bytes;
    /**
     * Tombstones of files and symlinks.
     */
    uint64_t missing;
    /**
     * While roots are watched: names and directories that were heard of and not looked at yet.
     */
    uint64_t live_pending;
    /**
     * While roots are watched: times that events were lost since that began.
     */
    uint64_t live_overflows;
    /**
     * Pipelines.
     */
    uint64_t pipelines;
    /**
     * Items with something to do: new, changed, stale or missing.
     */
    uint64_t items_waiting;
    /**
     * Items in error, the dead ones included.
     */
    uint64_t items_error;
    /**
     * Of those in error, the ones that are not tried again by themselves.
     */
    uint64_t items_dead;
    /**
     * Leases in force.
     */
    uint64_t leases;
    /**
     * Completions per minute, over the last nine full minutes of this process.
     */
    double done_per_minute;
    /**
     * Mirrors.
     */
    uint64_t mirrors;
    /**
     * Objects that are acknowledged.
     */
    uint64_t objects;
    /**
     * Their bytes.
     */
    uint64_t object_bytes;
    /**
     * Paths that mirrors are to look at again.
     */
    uint64_t mirror_pending;
    /**
     * Deletions of mirrors that wait for confirmation.
     */
    uint64_t mirror_held;
    /**
     * URLs that a CDN is still to forget.
     */
    uint64_t purges_waiting;
    /**
     * Mirrors whose last run was given up.
     */
    uint64_t mirrors_failing;
    /**
     * 1 while roots are watched.
     */
    int32_t is_watching;
    /**
     * 1 while watching is paused.
     */
    int32_t is_paused;
    /**
     * 1 while no watched root has lost a change, is unavailable or is held.
     */
    int32_t is_coherent;
    /**
     * 1 while every directory of every watched root reports its changes by itself.
     */
    int32_t is_native;
} tw_metrics;

/**
 * How far a run has come.
 */
typedef struct tw_mirror_progress {
    /**
     * Files, copies and deletions that are over, well or not.
     */
    uint64_t done;
    /**
     * All of them.
     */
    uint64_t total;
    /**
     * Bytes read and handed to the network so far. What is sent again counts again.
     */
    uint64_t bytes;
    /**
     * Bytes of all files of the run.
     */
    uint64_t bytes_total;
    /**
     * Bytes a second since the run began.
     */
    double bytes_per_s;
    /**
     * Where `has_eta_ms` is 1: milliseconds to go.
     */
    uint64_t eta_ms;
    /**
     * 1 when there is an estimate of the time.
     */
    int32_t has_eta_ms;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_mirror_progress;

/**
 * Called about ten times a second while a run sends or deletes, in the thread that called `tw_mirror_sync`, and never
 * after that has returned. `progress` is good until it returns. It must neither call `tw_mirror_sync`,
 * `tw_mirror_plan` or `tw_mirror_audit` with this mirror, nor open or remove a mirror, nor close or free the warden:
 * they wait for the run.
 */
typedef void (*tw_mirror_progress_fn)(const struct tw_mirror_progress *progress, void *user_data);

/**
 * What a run needs besides the options of its mirror. Fill it with zeros first: what is 0 is left out.
 */
typedef struct tw_mirror_hooks {
    /**
     * Told how far it has come. May be NULL.
     */
    tw_mirror_progress_fn progress;
    /**
     * What `progress` is called with. It must live until the run returns.
     */
    void *user_data;
    /**
     * Stops it. May be NULL.
     */
    const struct tw_cancel *cancel;
} tw_mirror_hooks;

/**
 * An object that is to be put. Views are good until the callback returns.
 */
typedef struct tw_upload {
    /**
     * Where to, UTF-8: no control characters, and no empty, `.` or `..` components.
     */
    struct tw_bytes key;
    /**
     * `Content-Type`, ASCII.
     */
    struct tw_bytes content_type;
    /**
     * `Cache-Control`, ASCII. `ptr` is NULL where there is none.
     */
    struct tw_bytes cache_control;
    /**
     * Size of the content in bytes. `tw_call_read` gives it.
     */
    uint64_t size;
} tw_upload;

/**
 * Puts an object, whole or not at all; what was there before is replaced. It reads the file with `tw_call_read` to its
 * end, says with `tw_call_note_etag` what tag it was given, if any, and returns `TW_STORAGE_OK` when the object is
 * safe. When it returns that and has not read all of it, the object counts as rejected. An empty file needs no
 * reading.
 */
typedef int32_t (*tw_storage_put_fn)(const struct tw_call *call,
                                     const struct tw_upload *upload,
                                     void *user_data);

/**
 * Deletes `count` objects, at least one. An object that is not there is deleted. `ends` has one number for each key,
 * `TW_STORAGE_OK` all of them: the callback overwrites those of the keys that it failed with. When it returns
 * something else than `TW_STORAGE_OK`, that goes for all of them.
 */
typedef int32_t (*tw_storage_remove_fn)(const struct tw_call *call,
                                        const struct tw_bytes *keys,
                                        size_t count,
                                        int32_t *ends,
                                        void *user_data);

/**
 * Copies an object within the storage, for a file that moved. `tw_call_note_etag` says what tag the copy was given.
 * Where it fails the file is sent.
 */
typedef int32_t (*tw_storage_copy_fn)(const struct tw_call *call,
                                      struct tw_bytes from,
                                      struct tw_bytes to,
                                      void *user_data);

/**
 * Tells each object whose key begins with `prefix`, with `tw_call_add_object`. What was told counts only when it
 * returns `TW_STORAGE_OK`.
 */
typedef int32_t (*tw_storage_list_fn)(const struct tw_call *call,
                                      struct tw_bytes prefix,
                                      void *user_data);

/**
 * Says the URL of an object that a CDN is to be told of, with `tw_call_note_url`; without one it is not told of this
 * object. When it returns something else than `TW_STORAGE_OK`, it is the URL of `TW_OPTION_MIRROR_PUBLIC_URL`.
 */
typedef int32_t (*tw_storage_url_fn)(const struct tw_call *call,
                                     struct tw_bytes key,
                                     void *user_data);

/**
 * A storage of the program. Fill it with zeros first: what is 0 is left out.
 *
 * Every callback tries once and returns `TW_STORAGE_…`; waiting, repeating and slowing down is the mirror's part. They
 * are called in threads of the library and in those that call functions of the mirror, several at once, and may block.
 * They must not throw or longjmp, and they may call every function but those that wait for the run: no run, plan or
 * audit of this mirror, no `tw_warden_mirror`, `tw_warden_mirror_storage` or `tw_warden_remove_mirror`, no
 * `tw_following_free`, and no `tw_warden_close` or `tw_warden_free`. What they are given is good until they return.
 */
typedef struct tw_storage {
    /**
     * What it is called, UTF-8, 1 to 255 bytes without control characters and without any secret. Needed. It tells one
     * place from another, and a mirror stays at its place: the same objects have the same name in each process. It is
     * shown as `c+NAME`.
     */
    struct tw_bytes name;
    /**
     * Puts an object. Needed.
     */
    tw_storage_put_fn put;
    /**
     * Deletes objects. Needed.
     */
    tw_storage_remove_fn remove;
    /**
     * Copies an object. NULL: files that moved are sent.
     */
    tw_storage_copy_fn copy;
    /**
     * Lists objects. NULL: an audit is `TW_STATUS_UNSUPPORTED`.
     */
    tw_storage_list_fn list;
    /**
     * Says the URLs of objects for a CDN. NULL: they are those of `TW_OPTION_MIRROR_PUBLIC_URL`.
     */
    tw_storage_url_fn url;
    /**
     * Keys of one call of `remove` at most. 0: 1,000.
     */
    size_t delete_max;
    /**
     * Bytes of one key at most; longer ones are refused, file by file. 0: 1,024.
     */
    size_t key_bytes_max;
} tw_storage;

/**
 * Gives the key of a group; the bytes are copied. To be called from within a `tw_group_fn`, with its `key_out`. Called
 * again, the last key holds.
 */
typedef void (*tw_set_key)(void *key_out, struct tw_bytes key);

/**
 * Says which files are one job: calls `set_key(key_out, key)` with the key of the group that the file `address`
 * belongs to, and returns 0. Without a key the file is left out. Any other result means that it failed: then the file
 * is left out too, and the log tells.
 *
 * A key is an address in the same root, `ROOT/…`, of a file, of a directory or of nothing at all, of at most 4,096
 * bytes. The function is called in any thread, in several at once too, whenever a file comes, changes or moves, and
 * must give the same key for the same address as long as its name stays. It must not call the library but for
 * `set_key`. `address` is good until it returns.
 */
typedef int32_t (*tw_group_fn)(struct tw_bytes address,
                               void *key_out,
                               tw_set_key set_key,
                               void *user_data);

/**
 * What asking for files came to, in items.
 */
typedef struct tw_request_report {
    /**
     * Nothing was to be done about them: now something is.
     */
    uint64_t added;
    /**
     * They waited in that class, or in a better one, already.
     */
    uint64_t merged;
    /**
     * They waited, and have come forward.
     */
    uint64_t promoted;
    /**
     * Somebody works on them: they are done once more afterwards.
     */
    uint64_t will_rerun;
} tw_request_report;

/**
 * A pipeline at one glance.
 */
typedef struct tw_pipeline_status_info {
    /**
     * Its name, UTF-8. The view lives as long as the pipeline.
     */
    struct tw_bytes name;
    /**
     * Items never done.
     */
    uint64_t new_items;
    /**
     * Items whose content, or the version of the pipeline, is another one than when they were done.
     */
    uint64_t changed;
    /**
     * Items whose refresh time has come.
     */
    uint64_t stale;
    /**
     * Items whose last attempt failed, the dead ones included.
     */
    uint64_t error;
    /**
     * Items that are gone and are to be cleaned up.
     */
    uint64_t missing;
    /**
     * Leases in force. Their items are counted under their states, too.
     */
    uint64_t processing;
    /**
     * Items with nothing to do.
     */
    uint64_t indexed;
    /**
     * Of those in error, the ones that are not tried again by themselves.
     */
    uint64_t dead;
    /**
     * Items that somebody has asked for.
     */
    uint64_t requested;
    /**
     * How long the item that is due for longest has waited, in milliseconds.
     */
    uint64_t oldest_due_ms;
    /**
     * When something that is not due now will be, nanoseconds since 1970 UTC; it may be before that.
     */
    int64_t next_due_ns;
    /**
     * Completions per minute, over the last nine full minutes of this process.
     */
    double done_per_minute;
    /**
     * 1 when `oldest_due_ms` is set: something is due.
     */
    int32_t has_oldest_due;
    /**
     * 1 when `next_due_ns` is set.
     */
    int32_t has_next_due;
} tw_pipeline_status_info;

/**
 * How far a scan has come.
 */
typedef struct tw_progress {
    /**
     * Name of the root, UTF-8.
     */
    struct tw_bytes root;
    /**
     * Directories listed so far.
     */
    uint64_t dirs;
    /**
     * Files and symlinks looked at, or in `TW_PHASE_HASH` read, so far.
     */
    uint64_t files;
    /**
     * Bytes of the files looked at, or read, so far.
     */
    uint64_t bytes;
    /**
     * Where `has_estimate_files` is 1: files expected, known from the last scan, or to be read.
     */
    uint64_t estimate_files;
    /**
     * Where `has_eta_ms` is 1: milliseconds to go.
     */
    uint64_t eta_ms;
    /**
     * Files a second since the phase began.
     */
    double files_per_s;
    /**
     * What it is doing, `TW_PHASE_…`.
     */
    int32_t phase;
    /**
     * 1 when there is an estimate.
     */
    int32_t has_estimate_files;
    /**
     * 1 when there is an estimate of the time.
     */
    int32_t has_eta_ms;
    /**
     * Always 0.
     */
    int32_t reserved;
} tw_progress;

/**
 * Called about ten times a second while a scan runs, in threads of the library, never two at once, and never after the
 * scan has returned. `progress` and its views are good until it returns. It must neither wait for the scan nor call
 * `tw_warden_pause`, `tw_warden_close` or `tw_warden_free`.
 */
typedef void (*tw_progress_fn)(const struct tw_progress *progress, void *user_data);

/**
 * What a scan or a verification needs besides its options. Fill it with zeros first: what is 0 is left out.
 */
typedef struct tw_scan_hooks {
    /**
     * Told how far it has come. May be NULL.
     */
    tw_progress_fn progress;
    /**
     * What `progress` is called with. It must live until the scan returns.
     */
    void *user_data;
    /**
     * Stops it. May be NULL.
     */
    const struct tw_cancel *cancel;
} tw_scan_hooks;

/**
 * What a snapshot knows of one path. Times are nanoseconds since 1970 UTC.
 */
typedef struct tw_entry {
    /**
     * The address, `ROOT/relative/path`. Of `tw_snapshot_get` and `tw_snapshot_get_missing` it is the caller's own.
     */
    struct tw_bytes path;
    /**
     * Where a symlink points to; NULL for all others.
     */
    struct tw_bytes target;
    /**
     * Size in bytes, as the file system says.
     */
    uint64_t size;
    /**
     * When it was modified.
     */
    int64_t mtime_ns;
    /**
     * When its inode was changed.
     */
    int64_t ctime_ns;
    /**
     * When it was born, where `has_btime` is 1.
     */
    int64_t btime_ns;
    /**
     * Inode number.
     */
    uint64_t inode;
    /**
     * The stable number of the file: it survives moves and restarts.
     */
    uint64_t id;
    /**
     * The commit that changed this entry last.
     */
    uint64_t seq;
    /**
     * When it went missing, where `is_missing` is 1.
     */
    int64_t missing_since_ns;
    /**
     * The xxh3-128 of the content, where `has_hash` is 1. The first byte holds the first two of the 32 hex digits.
     */
    uint8_t hash[16];
    /**
     * Type and permission bits, as in `stat(2)`.
     */
    uint32_t mode;
    /**
     * `TW_KIND_FILE`, `TW_KIND_DIR` or `TW_KIND_SYMLINK`.
     */
    int32_t kind;
    /**
     * 1 where the file system keeps times of birth.
     */
    int32_t has_btime;
    /**
     * 1 where the root keeps hashes.
     */
    int32_t has_hash;
    /**
     * 1 for a tombstone: it was there and is not any more.
     */
    int32_t is_missing;
    /**
     * 1 when it was changed so shortly before it was seen that a further change could not be told apart; the next
     * scan looks closer.
     */
    int32_t is_racy;
} tw_entry;

/**
 * Counts over a subtree.
 */
typedef struct tw_totals {
    /**
     * Files and symlinks.
     */
    uint64_t files;
    /**
     * Directories, without the one that was asked about.
     */
    uint64_t dirs;
    /**
     * Sum of the sizes of files and symlinks.
     */
    uint64_t bytes;
} tw_totals;

/**
 * The engine at one glance. `tw_warden_roots` tells of each root, `tw_warden_cursors` of each cursor. What is said of
 * watching is the sum of all watched roots, and 0 unless `is_watching` is 1.
 */
typedef struct tw_status_info {
    /**
     * The last commit.
     */
    uint64_t seq;
    /**
     * Size of the state file, in bytes.
     */
    uint64_t file_bytes;
    /**
     * First commit that the journal still tells about.
     */
    uint64_t journal_first_seq;
    /**
     * Last commit that the journal can tell about.
     */
    uint64_t journal_last_seq;
    /**
     * Files and symlinks known.
     */
    uint64_t files;
    /**
     * Directories known, without the roots themselves.
     */
    uint64_t dirs;
    /**
     * Sum of their sizes, in bytes.
     */
    uint64_t bytes;
    /**
     * Tombstones of files and symlinks.
     */
    uint64_t missing;
    /**
     * How many roots there are.
     */
    uint64_t roots;
    /**
     * How many named cursors there are.
     */
    uint64_t cursors;
    /**
     * How many pipelines this process has opened.
     */
    uint64_t pipelines;
    /**
     * Roots that are watched or polled.
     */
    uint64_t watched_roots;
    /**
     * Roots in which a scan or look is under way.
     */
    uint64_t scanning_roots;
    /**
     * Directories that are watched.
     */
    uint64_t watched_dirs;
    /**
     * Directories of watched roots that are polled.
     */
    uint64_t uncovered_dirs;
    /**
     * Names and directories that were heard of and not looked at yet.
     */
    uint64_t pending;
    /**
     * Events received since watching began.
     */
    uint64_t events;
    /**
     * Times that events were lost, or were too many to be remembered, since watching began.
     */
    uint64_t overflows;
    /**
     * Version of the format of the state file.
     */
    uint32_t format_version;
    /**
     * When a commit counts as done, `TW_DURABILITY_…`.
     */
    int32_t durability;
    /**
     * 1 between `tw_warden_watch` and `tw_warden_unwatch`.
     */
    int32_t is_watching;
    /**
     * 1 between `tw_warden_pause` and `tw_warden_resume`.
     */
    int32_t is_paused;
    /**
     * 1 when nothing is known to be unknown in any watched root: no events were lost that no scan has made up for, and
     * none is unavailable or held.
     */
    int32_t is_coherent;
    /**
     * How many of the directories report changes by themselves, `TW_COVERAGE_…`.
     */
    int32_t coverage;
    /**
     * Where events come from, `TW_BACKEND_INOTIFY` or `TW_BACKEND_NOTIFY`.
     */
    int32_t backend;
    /**
     * Always 0.
     */
    int32_t reserved;
    /**
     * Id of the database: 32 hexadecimal digits, and zeros up to the end.
     */
    char database_id[40];
} tw_status_info;

/**
 * Called with one job, of index 0, in any of the threads. Returns what became of it, `TW_WORKER_…`, which ends the
 * job. `job` is the library's, and good until it returns; attributes may be set and notes be left. Leases are
 * renewed meanwhile, so it may take as long as it likes.
 */
typedef int32_t (*tw_worker_fn)(const struct tw_jobs *job, void *user_data);

/**
 * It worked.
 */
#define TW_STATUS_OK 0

/**
 * An argument has no meaning: an empty name, a bad glob, an address with `..`, NULL where something is needed.
 */
#define TW_STATUS_INVALID_ARGUMENT 1

/**
 * The root, entry, directory, file or pipeline does not exist.
 */
#define TW_STATUS_NOT_FOUND 2

/**
 * The name is taken.
 */
#define TW_STATUS_ALREADY_EXISTS 3

/**
 * Another process, or another handle in this one, holds the state file.
 */
#define TW_STATUS_BUSY 4

/**
 * The operating system, a store or a Redis refuses access.
 */
#define TW_STATUS_PERMISSION_DENIED 5

/**
 * The root cannot be trusted at the moment, or Redis cannot be reached; nothing was changed.
 */
#define TW_STATUS_UNAVAILABLE 6

/**
 * Too much would become missing; waits for `TW_OPTION_SCAN_ACCEPT_MISSING`.
 */
#define TW_STATUS_HELD 7

/**
 * The caller cancelled.
 */
#define TW_STATUS_CANCELLED 8

/**
 * The journal cannot continue from that place: read the snapshot, then go on from `restart_seq` of the error.
 */
#define TW_STATUS_RESET 9

/**
 * A compare-and-set found another value, or a batch raced with a removal.
 */
#define TW_STATUS_CONFLICT 10

/**
 * A key, value, name or attribute is over its limit, or there are too many handles.
 */
#define TW_STATUS_TOO_LARGE 11

/**
 * The state file is damaged.
 */
#define TW_STATUS_CORRUPT 12

/**
 * The file is not a Treewarden state file.
 */
#define TW_STATUS_NOT_A_STATE_FILE 13

/**
 * The state file was written by a newer version.
 */
#define TW_STATUS_NEWER_FORMAT 14

/**
 * The state file was opened for reading only, or lies on a read-only file system.
 */
#define TW_STATUS_READ_ONLY 15

/**
 * The disk (or quota) that holds the state file is full.
 */
#define TW_STATUS_STORAGE_FULL 16

/**
 * Any other failure of the operating system.
 */
#define TW_STATUS_IO 17

/**
 * The warden has been closed.
 */
#define TW_STATUS_CLOSED 18

/**
 * A thread of the engine has failed; snapshots stay readable, everything else is refused.
 */
#define TW_STATUS_POISONED 19

/**
 * The operation does not exist on this system or for this root.
 */
#define TW_STATUS_UNSUPPORTED 20

/**
 * It did not happen in time; what was asked for goes on.
 */
#define TW_STATUS_TIMEOUT 21

/**
 * The lease of a job has run out, and the job was handed out again: nothing was recorded. Or the lease of a fleet is
 * no longer ours, or another publishes with a higher token.
 */
#define TW_STATUS_LEASE_LOST 22

/**
 * A bug in the library. Nothing that was acknowledged is lost.
 */
#define TW_STATUS_PANIC 23

/**
 * The handle was made before a `fork`, and this is the child.
 */
#define TW_STATUS_FORKED 24

/**
 * The handle is NULL, of another type, or was freed.
 */
#define TW_STATUS_INVALID_HANDLE 100

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Gives the entries that pass a filter as a table, in path order: `root`, `path`, `path_bytes` (where `path` is not
 * UTF-8 and therefore escaped), `kind`, `size`, `mtime`, `ctime`, `btime`, `inode`, `mode`, `hash` (32 hex digits),
 * `target`, `id`, `seq`, `missing_since`; times are nanoseconds, UTC. `filter` are options of the kind
 * `TW_OPTIONS_FILTER`; NULL lets all files and symlinks of all roots through.
 *
 * `out` is any memory for the struct, which is written on success only; it needs neither the snapshot nor any other
 * handle, and is freed by its own `release`. Any thread; the stream one thread at a time. Never waits.
 * `TW_STATUS_INVALID_ARGUMENT` for options of another kind.
 */
tw_status tw_snapshot_arrow(const struct tw_snapshot *snapshot,
                            const struct tw_options *filter,
                            struct ArrowArrayStream *out,
                            struct tw_error **error);

/**
 * Gives the changes that are left as a table, oldest first: `seq`, `root`, `kind`, `entry_kind`, `path`, `path_bytes`,
 * `from`, `from_bytes`, `id`. They are taken: `tw_changes_next` is at the end then. `tw_changes_files_only` holds for
 * the table too, and a delivery is acknowledged as ever. `out` is as with `tw_snapshot_arrow`. One thread at a time.
 * Never waits. What cannot be read from the state file is an error of the stream.
 */
tw_status tw_changes_arrow(const struct tw_changes *changes,
                           struct ArrowArrayStream *out,
                           struct tw_error **error);

/**
 * Gives the jobs that have not been ended as a table: `path`, `path_bytes`, `state`, `priority`, `attempt`, `token`,
 * `expires`. They stay where they are, still to be ended. `out` is as with `tw_snapshot_arrow`. Any thread. Never
 * waits but for a call on the same jobs.
 */
tw_status tw_jobs_arrow(const struct tw_jobs *jobs,
                        struct ArrowArrayStream *out,
                        struct tw_error **error);

/**
 * Gives the rows of a list as a table. Of `tw_warden_history`: `id`, `kind`, `root`, `start`, `end`, `seq`, `added`,
 * `modified`, `moved`, `missing`, `restored`, `forgotten`, `errors`, `status`, `error`. Of `tw_pipeline_list`: `path`,
 * `path_bytes`, `state`, `dead`. The list stays as it is. `out` is as with `tw_snapshot_arrow`. Any thread. Never
 * waits. `TW_STATUS_INVALID_ARGUMENT` for any other list.
 */
tw_status tw_list_arrow(const struct tw_list *list,
                        struct ArrowArrayStream *out,
                        struct tw_error **error);

/**
 * Gives every change after the commit `since`, oldest first, up to now; 0 means from the beginning. It reads a
 * consistent view: what happens meanwhile is not in it. Read it with `tw_changes_next`, free it with
 * `tw_changes_free`. Any thread. Reads the state file, never waits for a commit. `TW_STATUS_RESET` when the journal
 * does not reach back that far, or has not come that far: read a snapshot and go on from `restart_seq` of the error.
 * `TW_STATUS_CLOSED`.
 */
tw_status tw_warden_changes(const struct tw_warden *warden,
                            uint64_t since,
                            struct tw_changes **out,
                            struct tw_error **error);

/**
 * As `tw_warden_changes`, from a token, the text that `tw_warden_token` gave. Any thread. Reads the state file, never
 * waits for a commit. `TW_STATUS_RESET` also when the token belongs to another state file;
 * `TW_STATUS_INVALID_ARGUMENT` for a text that is no token.
 */
tw_status tw_warden_changes_since_token(const struct tw_warden *warden,
                                        struct tw_bytes token,
                                        struct tw_changes **out,
                                        struct tw_error **error);

/**
 * Gives what leads from `older` to `newer`, two snapshots of one state file: what was added, modified or moved, or is
 * missing, in path order, each with the seq of the newer entry. Entries are matched by id. It costs what differs, not
 * what is there. Read it with `tw_changes_next`, free it with `tw_changes_free`. Any thread. Never waits.
 */
tw_status tw_snapshot_diff(const struct tw_snapshot *newer,
                           const struct tw_snapshot *older,
                           struct tw_changes **out,
                           struct tw_error **error);

/**
 * Writes the next changes into `rows`, an array of `capacity` structs of `row_size` bytes, which is
 * `sizeof(tw_change)`, and how many they are into `count`; 0 means the end. Views in the rows live as long as the
 * changes, or until `tw_changes_clear`. One thread at a time. Those of `tw_warden_changes` are read from the state
 * file, without waiting for a commit; all others are there already. After an error, such as `TW_STATUS_CORRUPT` or
 * `TW_STATUS_IO`, the same error comes again: the rest cannot be had.
 */
tw_status tw_changes_next(const struct tw_changes *changes,
                          struct tw_change *rows,
                          size_t row_size,
                          size_t capacity,
                          size_t *count,
                          struct tw_error **error);

/**
 * Lets the views in all rows so far go, and their memory: for very many changes, between two calls of
 * `tw_changes_next`. One thread at a time. Never waits.
 */
tw_status tw_changes_clear(const struct tw_changes *changes,
                           struct tw_error **error);

/**
 * Leaves out directories from now on. One thread at a time. Never waits. `TW_STATUS_INVALID_ARGUMENT` after the first
 * `tw_changes_next`.
 */
tw_status tw_changes_files_only(const struct tw_changes *changes,
                                struct tw_error **error);

/**
 * Gives the commit up to which these changes go: where to go on when all of them have been read. Any thread. Never
 * waits.
 */
tw_status tw_changes_last_seq(const struct tw_changes *changes,
                              uint64_t *seq,
                              struct tw_error **error);

/**
 * Gives the commit up to which a delivery goes: what to advance its name to, with `tw_changes_ack` or, together with
 * what was made of it, with `tw_batch_advance`. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` for changes that
 * are no delivery.
 */
tw_status tw_changes_upto(const struct tw_changes *changes,
                          uint64_t *seq,
                          struct tw_error **error);

/**
 * Acknowledges a delivery, whether all of it has been read or not: it does not come again. Gives the seq of the commit
 * that says so. It can be read on afterwards. Any thread. Waits until it is durable. `TW_STATUS_CONFLICT` when another
 * consumer of the same name has come further; `TW_STATUS_INVALID_ARGUMENT` for changes that are no delivery, and for
 * one that has been acknowledged. After any other error, such as `TW_STATUS_STORAGE_FULL`, it may be tried again.
 */
tw_status tw_changes_ack(const struct tw_changes *changes,
                         uint64_t *seq,
                         struct tw_error **error);

/**
 * Frees changes, and with them the views in their rows; at the end or before. A delivery that was not acknowledged
 * comes again. NULL is allowed. Any thread.
 */
tw_status tw_changes_free(struct tw_changes *changes,
                          struct tw_error **error);

/**
 * Tells what an error is about. `info_size` is `sizeof(tw_error_info)`. Any thread.
 */
tw_status tw_error_get(const struct tw_error *error_handle,
                       struct tw_error_info *info,
                       size_t info_size,
                       struct tw_error **error);

/**
 * Frees an error. NULL is allowed. Any thread.
 */
tw_status tw_error_free(struct tw_error *error_handle, struct tw_error **error);

/**
 * Gives the stable name of a status in snake case, for example `not_found`: static memory, UTF-8, zero-terminated. Of
 * a number that is none `unknown`. Any thread.
 */
const char *tw_status_name(tw_status status);

/**
 * Begins to collect events, at most `events_max` of them; 0 stands for 1,024. Those that say the same again are
 * joined, and when there is no room left all that waits gives way to one `TW_EVENT_RESET`: the warden never waits
 * for whoever listens. The journal is the record; events only say that it is worth a look.
 *
 * `*events` is the caller's, to be freed with `tw_events_free`, before or after the warden. Any thread.
 */
tw_status tw_warden_subscribe(const struct tw_warden *warden,
                              size_t events_max,
                              struct tw_events **events,
                              struct tw_error **error);

/**
 * Takes the next event and waits for it, for at most `timeout_ms` milliseconds; 0: not at all, negative: without
 * end. `event_size` is `sizeof(tw_event)`. The views of the event are good until `tw_events_clear` or
 * `tw_events_free`.
 *
 * Blocks. Any thread, several at once: each event goes to one of them. `TW_STATUS_TIMEOUT` when none came in time
 * and after `tw_events_interrupt`; `TW_STATUS_CLOSED` when the warden was closed and nothing is left in the queue.
 */
tw_status tw_events_next(const struct tw_events *events,
                         int64_t timeout_ms,
                         struct tw_event *event,
                         size_t event_size,
                         struct tw_error **error);

/**
 * Lets the memory of the views of all events go that this handle has given so far. Who takes many events calls it
 * from time to time. Any thread, as long as none looks at such a view.
 */
tw_status tw_events_clear(const struct tw_events *events,
                          struct tw_error **error);

/**
 * Gives a descriptor that is readable while there is an event to be taken, and when the warden has been closed: for
 * programs that wait with `poll` or an event loop. Do not read from it or close it; it lives as long as the handle.
 * Wake-ups coalesce: take events with a timeout of 0 until there is none. Any thread. `TW_STATUS_IO` when no
 * descriptor is to be had.
 */
tw_status tw_events_descriptor(const struct tw_events *events,
                               int *fd,
                               struct tw_error **error);

/**
 * Makes one call of `tw_events_next` that waits return `TW_STATUS_TIMEOUT`; if none waits, the next call. Interrupts
 * before that count once, and no event is lost. Any thread; not from a signal handler.
 */
tw_status tw_events_interrupt(const struct tw_events *events,
                              struct tw_error **error);

/**
 * Ends the collecting and frees the queue with what is in it. A call of `tw_events_next` that waits returns
 * `TW_STATUS_TIMEOUT`; of several, one. NULL is allowed. Any thread.
 */
tw_status tw_events_free(struct tw_events *events,
                         struct tw_error **error);

/**
 * Starts a thread of the library that calls `callback` with each event, one after the other; `events_max` as in
 * `tw_warden_subscribe`. The first call may come before this function has returned. Closing the warden ends it,
 * after what is in the queue.
 *
 * `*listener` is the caller's: `tw_listener_free` ends the thread. `finalizer` is called once with `user_data` after
 * the last callback, also when this function fails. The callback may call any function but `tw_listener_free` with
 * its own listener. Any thread. `TW_STATUS_INVALID_ARGUMENT` without a callback, `TW_STATUS_IO` when no thread can
 * be started.
 */
tw_status tw_events_listen(const struct tw_warden *warden,
                           size_t events_max,
                           tw_event_fn callback,
                           void *user_data,
                           tw_finalizer finalizer,
                           struct tw_listener **listener,
                           struct tw_error **error);

/**
 * Writes the entries that pass a filter as a Parquet file at `path`, or with `TW_OPTION_EXPORT_PARTITIONED` as one
 * file for each root below the directory `path`. `filter` are options of the kind `TW_OPTIONS_FILTER`; NULL lets all
 * files and symlinks of all roots through. `options` are of the kind `TW_OPTIONS_EXPORT`, or NULL: one file, which
 * must not exist yet. `report_size` is `sizeof(tw_export_report)`.
 *
 * The columns are those of `tw_snapshot_arrow`; where it is partitioned `root` is in the names of the directories. A
 * file takes its name whole or not at all, and is durable then: a part takes the place of the one before.
 *
 * Blocks until it is durable. Any thread. `TW_STATUS_ALREADY_EXISTS` for a file that is there without
 * `TW_OPTION_EXPORT_REPLACE`, or that is no Parquet file; `TW_STATUS_NOT_FOUND` for a directory that is not;
 * `TW_STATUS_INVALID_ARGUMENT` for a bad or missing host and for a directory in the place of a file;
 * `TW_STATUS_CONFLICT` for a newer part of the same host and root;
 * `TW_STATUS_TOO_LARGE` for a root or host whose name makes no name of a directory; `TW_STATUS_STORAGE_FULL`,
 * `TW_STATUS_READ_ONLY`, `TW_STATUS_PERMISSION_DENIED`, `TW_STATUS_IO`. Then no file has taken its name, but for parts
 * that were in place already.
 */
tw_status tw_snapshot_export(const struct tw_snapshot *snapshot,
                             const struct tw_options *filter,
                             const struct tw_options *options,
                             struct tw_bytes path,
                             struct tw_export_report *report,
                             size_t report_size,
                             struct tw_error **error);

/**
 * Writes the changes that are left as a Parquet file, with the columns of `tw_changes_arrow`, as `tw_snapshot_export`
 * writes entries. Partitions of changes are never removed, but one of the same seq is replaced. The changes are taken,
 * also when it fails: `tw_changes_next` is at the end then. `tw_changes_last_seq` is where the next export goes on.
 * `tw_changes_files_only` holds for the file too, and a delivery is acknowledged as ever.
 *
 * Blocks until it is durable. One thread at a time. Fails as `tw_snapshot_export`, and with what cannot be read from
 * the state file.
 */
tw_status tw_changes_export(const struct tw_changes *changes,
                            const struct tw_options *options,
                            struct tw_bytes path,
                            struct tw_export_report *report,
                            size_t report_size,
                            struct tw_error **error);

/**
 * Connects to a Redis of version 7 or later, or to a Valkey: `redis://[user:password@]host[:port][/database]` or
 * `unix:///path/to/socket`, UTF-8. User and password are in no message and in no log. It must be a single server, with
 * replicas or without, that evicts no keys. `options` are of the kind `TW_OPTIONS_FLEET`, or NULL for the defaults.
 * With `TW_OPTION_FLEET_LATER` Redis is not asked yet.
 *
 * `*fleet` is the caller's, to be freed with `tw_fleet_free`. Talks to Redis. Any thread. `TW_STATUS_INVALID_ARGUMENT`
 * for a URL that is not understood, a database that is not there and a bad prefix; `TW_STATUS_UNSUPPORTED` for TLS,
 * `rediss://`; else as `tw_fleet_ping`.
 */
tw_status tw_fleet_connect(struct tw_bytes url,
                           const struct tw_options *options,
                           struct tw_fleet **fleet,
                           struct tw_error **error);

/**
 * Asks Redis for a sign of life. Talks to Redis. Any thread. `TW_STATUS_UNAVAILABLE` when it cannot be reached or does
 * not serve, `TW_STATUS_PERMISSION_DENIED` when it refuses the user, `TW_STATUS_UNSUPPORTED` for one before version 7,
 * one of a cluster and one that evicts keys, `TW_STATUS_IO` when it refuses for another reason.
 */
tw_status tw_fleet_ping(const struct tw_fleet *fleet,
                        struct tw_error **error);

/**
 * Frees a handle of a fleet. What was made from it stays as it is, with its connections. NULL is allowed. Never waits.
 * Any thread.
 */
tw_status tw_fleet_free(struct tw_fleet *fleet,
                        struct tw_error **error);

/**
 * Gives the lease of that name, UTF-8. A leader that does not renew it loses it `ttl_ms` milliseconds after the last
 * renewal, from 100 to a day; after a restart of Redis nobody gets it for as long. All machines must give the same.
 *
 * `*lease` is the caller's, to be freed with `tw_lease_free`. Does not ask Redis yet, and never waits. Any thread.
 * `TW_STATUS_INVALID_ARGUMENT` for a bad name or time.
 */
tw_status tw_fleet_lease(const struct tw_fleet *fleet,
                         struct tw_bytes name,
                         int64_t ttl_ms,
                         struct tw_lease **lease,
                         struct tw_error **error);

/**
 * Waits until the lease is free and takes it, for at most `timeout_ms` milliseconds; 0: asks once, negative: waits
 * without end. Two calls in one program are two candidates. Redis is waited for as well.
 *
 * With a `keep` of 1 a thread of the library renews it from then on, as often as needed, until it is given back;
 * `tw_leader_is_valid` tells whether that works. With 0 call `tw_leader_renew`, more often than each third of the time
 * of the lease.
 *
 * `*leader` is the caller's, to be freed with `tw_leader_free`. Blocks. Any thread. `TW_STATUS_TIMEOUT` when the lease
 * was not free in time and after `tw_lease_interrupt`; `TW_STATUS_UNAVAILABLE` when Redis cannot be reached at the end
 * of the time; `TW_STATUS_INVALID_ARGUMENT` when the present leader uses another time; `TW_STATUS_IO` when no thread
 * can be started.
 */
tw_status tw_lease_acquire(const struct tw_lease *lease,
                           int64_t timeout_ms,
                           int32_t keep,
                           struct tw_leader **leader,
                           struct tw_error **error);

/**
 * Makes all calls of `tw_lease_acquire` with this handle that wait return `TW_STATUS_TIMEOUT`; if none waits, the next
 * call. Interrupts before that count once. One that talks to Redis returns when that has answered. Any thread; not
 * from a signal handler.
 */
tw_status tw_lease_interrupt(const struct tw_lease *lease,
                             struct tw_error **error);

/**
 * Frees a handle of a lease; calls that wait return. A leader stays the leader. NULL is allowed. Any thread.
 */
tw_status tw_lease_free(struct tw_lease *lease,
                        struct tw_error **error);

/**
 * Gives the fencing token: higher than that of every leader before, also where Redis has lost its data. Whoever the
 * leader writes to should refuse a token that is lower than one it has seen, as a stream does: see
 * `tw_fleet_publisher`. Never waits. Any thread.
 */
tw_status tw_leader_token(const struct tw_leader *leader,
                          uint64_t *token,
                          struct tw_error **error);

/**
 * Tells whether no other can be the leader now, 1 or 0: by the clocks of this machine, with a tenth of the time as
 * reserve. Work that takes long needs a look at it again and again. Asks nobody, and never waits. Any thread.
 */
tw_status tw_leader_is_valid(const struct tw_leader *leader,
                             int32_t *is_valid,
                             struct tw_error **error);

/**
 * Renews a lease: it is valid for its whole time again. Talks to Redis. Any thread. `TW_STATUS_LEASE_LOST` when it has
 * run out, was given back, or Redis no longer knows it; then it stays lost. `TW_STATUS_UNAVAILABLE` when Redis cannot
 * be reached: `tw_leader_is_valid` says how things stand.
 */
tw_status tw_leader_renew(const struct tw_leader *leader,
                          struct tw_error **error);

/**
 * Gives a lease back, so that another can have it at once. The handle is still to be freed. Giving it back twice does
 * nothing; where Redis cannot be told it runs out, which is no error here. Talks to Redis. Any thread.
 */
tw_status tw_leader_release(const struct tw_leader *leader,
                            struct tw_error **error);

/**
 * Frees a leader, and gives its lease back as `tw_leader_release` does. NULL is allowed. Talks to Redis. Any thread.
 */
tw_status tw_leader_free(struct tw_leader *leader,
                         struct tw_error **error);

/**
 * Gives the limiter of that name, UTF-8. `options` are of the kind `TW_OPTIONS_LIMITER`, with a limit and a window;
 * throttling pauses everybody and does not lower the limit, so `TW_OPTION_LIMITER_FLOOR_PERMILLE` is refused.
 *
 * `hold_max_ms` is the longest time between the grant of a permit and the end of its request, in milliseconds, from 1
 * to a day; 60,000 suits most. The permit of a worker that was killed counts for so long, and a window. All machines
 * give the same limit, window, pacing and time to hold: see `tw_shared_limiter_enforce`.
 *
 * `*limiter` is the caller's, to be freed with `tw_shared_limiter_free`. Does not ask Redis yet, and never waits. Any
 * thread. `TW_STATUS_INVALID_ARGUMENT` for a bad name, a rate or a time that makes no sense.
 */
tw_status tw_fleet_limiter(const struct tw_fleet *fleet,
                           struct tw_bytes name,
                           const struct tw_options *options,
                           int64_t hold_max_ms,
                           struct tw_shared_limiter **limiter,
                           struct tw_error **error);

/**
 * Waits until a request may be sent, for at most `timeout_ms` milliseconds; 0: not at all, negative: without end.
 * Redis is waited for like anything else.
 *
 * `*permit` is the caller's. End it with one of the `tw_shared_permit_…` functions when the answer has come, then free
 * it.
 *
 * Blocks. Any thread. `TW_STATUS_TIMEOUT` when nothing was granted in time and after `tw_shared_limiter_interrupt`;
 * the message says why, as `tw_shared_limiter_waiting` does. `TW_STATUS_INVALID_ARGUMENT` when other machines use the
 * name with another rate or time to hold.
 */
tw_status tw_shared_limiter_acquire(const struct tw_shared_limiter *limiter,
                                    int64_t timeout_ms,
                                    struct tw_shared_permit **permit,
                                    struct tw_error **error);

/**
 * Asks Redis once for a permit, whoever else waits. Otherwise as `tw_shared_limiter_acquire`, but that a Redis that
 * cannot be reached is `TW_STATUS_UNAVAILABLE`. Talks to Redis. Any thread.
 */
tw_status tw_shared_limiter_try_acquire(const struct tw_shared_limiter *limiter,
                                        struct tw_shared_permit **permit,
                                        struct tw_error **error);

/**
 * Says for people why calls of this process wait now, or why the last one did not get a permit, UTF-8: `all 35 permits
 * of the last 10 s are used; next in 1.2 s`, or that Redis cannot be reached. Read it with `tw_value_bytes`, free it
 * with `tw_value_free`. Never waits. Any thread. `TW_STATUS_NOT_FOUND` when the last one was granted, and before the
 * first.
 */
tw_status tw_shared_limiter_waiting(const struct tw_shared_limiter *limiter,
                                    struct tw_value **why,
                                    struct tw_error **error);

/**
 * Takes in that a server has refused a request because there were too many: HTTP 429, or 503 with a `Retry-After`. No
 * machine is granted anything for `retry_after_ms` milliseconds from now (negative: one window; at most seven days),
 * or for as long as an earlier report has asked for. Talks to Redis. Any thread. `TW_STATUS_UNAVAILABLE` when it
 * cannot be told, else as `tw_shared_limiter_acquire`.
 */
tw_status tw_shared_limiter_throttled(const struct tw_shared_limiter *limiter,
                                      int64_t retry_after_ms,
                                      struct tw_error **error);

/**
 * Makes the rate and the time to hold of this handle count for all machines from now on. Those that use others get
 * `TW_STATUS_INVALID_ARGUMENT` until they use these. A longer window or time to hold begins with a wait, because what
 * no longer counted may count again. Talks to Redis. Any thread. `TW_STATUS_UNAVAILABLE` when it cannot be told.
 */
tw_status tw_shared_limiter_enforce(const struct tw_shared_limiter *limiter,
                                    struct tw_error **error);

/**
 * Makes all calls of `tw_shared_limiter_acquire` with this handle that wait return `TW_STATUS_TIMEOUT`; if none waits,
 * the next call. Interrupts before that count once. One that talks to Redis returns when that has answered. Any
 * thread; not from a signal handler.
 */
tw_status tw_shared_limiter_interrupt(const struct tw_shared_limiter *limiter,
                                      struct tw_error **error);

/**
 * Frees a handle of a limiter; calls that wait return. Permits stay as they are. NULL is allowed. Any thread.
 */
tw_status tw_shared_limiter_free(struct tw_shared_limiter *limiter,
                                 struct tw_error **error);

/**
 * Gives for how many milliseconds the request may still go on, parts of one not counted; give it no more time than
 * that. 0 when the permit was ended, and when it was held for too long: then the limit is no longer kept. Never waits.
 * Any thread.
 */
tw_status tw_shared_permit_left(const struct tw_shared_permit *permit,
                                uint64_t *left_ms,
                                struct tw_error **error);

/**
 * Says that the answer has come: the request counts for one more window from now. The handle is still to be freed.
 * Where Redis cannot be told it counts as if it were held to the end, which is no error here. Talks to Redis. Any
 * thread. `TW_STATUS_INVALID_ARGUMENT` for a permit that was ended already.
 */
tw_status tw_shared_permit_done(const struct tw_shared_permit *permit,
                                struct tw_error **error);

/**
 * Says that nothing was sent and nothing will be: it does not count any more. Otherwise as `tw_shared_permit_done`.
 */
tw_status tw_shared_permit_unused(const struct tw_shared_permit *permit,
                                  struct tw_error **error);

/**
 * Says that the answer was a refusal because there were too many requests, as `tw_shared_limiter_throttled`, and fails
 * as that does; the permit ends all the same. `TW_STATUS_INVALID_ARGUMENT` for a permit that was ended already.
 */
tw_status tw_shared_permit_throttled(const struct tw_shared_permit *permit,
                                     int64_t retry_after_ms,
                                     struct tw_error **error);

/**
 * Frees a permit. One that was not ended is ended as by `tw_shared_permit_done`. NULL is allowed. Talks to Redis then.
 * Any thread.
 */
tw_status tw_shared_permit_free(struct tw_shared_permit *permit,
                                struct tw_error **error);

/**
 * Gives what appends the journal of a warden to the stream of that name, UTF-8. Its place is the cursor `fleet.STREAM`
 * of the warden. `options` are of the kind `TW_OPTIONS_PUBLISHER`, or NULL for the defaults. `leader` may be NULL;
 * with one the stream refuses, from the first entry on, everyone with a lower token and everyone without. It takes the
 * token as it is: a leader of later needs a publisher of its own.
 *
 * `*publisher` is the caller's, to be freed with `tw_publisher_free`. Does not ask Redis yet, and never waits. Any
 * thread. `TW_STATUS_INVALID_ARGUMENT` for a bad name, `TW_STATUS_LEASE_LOST` for a leader that has given its lease
 * back.
 */
tw_status tw_fleet_publisher(const struct tw_fleet *fleet,
                             struct tw_bytes stream,
                             const struct tw_warden *warden,
                             const struct tw_options *options,
                             const struct tw_leader *leader,
                             struct tw_publisher **publisher,
                             struct tw_error **error);

/**
 * Appends what is new, up to about `changes_max` changes (0 counts as 1), and gives how many entries were appended; 0
 * means that there is nothing new. What was appended by a call that failed is not appended again. Where the stream
 * cannot go on from what it holds (another state file, a Redis that has lost data, a journal that was cut off) an
 * entry says so: see `is_reset` of `tw_stream_item`.
 *
 * Talks to Redis, reads the state file and waits for commits of the cursor. One thread at a time: another call waits
 * until this one has ended. `TW_STATUS_LEASE_LOST` when another has published with a higher token,
 * `TW_STATUS_UNAVAILABLE` when Redis cannot be reached, `TW_STATUS_CONFLICT` when another publisher moves the same
 * cursor, `TW_STATUS_CLOSED`.
 */
tw_status tw_publisher_publish(const struct tw_publisher *publisher,
                               size_t changes_max,
                               uint64_t *appended,
                               struct tw_error **error);

/**
 * Appends what is new, waits for more, and goes on until `tw_publisher_stop`, which ends it with success. Waits over a
 * Redis that cannot be reached. Blocks: give it a thread. One thread at a time. Errors as `tw_publisher_publish`, but
 * for `TW_STATUS_UNAVAILABLE`; it may be called again after one.
 */
tw_status tw_publisher_run(const struct tw_publisher *publisher,
                           struct tw_error **error);

/**
 * Ends `tw_publisher_run`; if none runs, the next call. Stops before that count once. One that talks to Redis ends
 * when that has answered. Never waits. Any thread; not from a signal handler.
 */
tw_status tw_publisher_stop(const struct tw_publisher *publisher,
                            struct tw_error **error);

/**
 * Frees a publisher; a `tw_publisher_run` under way ends. NULL is allowed. May close the state file, as
 * `tw_warden_free` does, when nothing else keeps it open. Any thread, but not from a callback of the library.
 */
tw_status tw_publisher_free(struct tw_publisher *publisher,
                            struct tw_error **error);

/**
 * Gives a reader of the stream of that name. The consumers of one `group` divide the changes among themselves, every
 * group gets all of them. `name` tells the consumers of a group apart, over all machines. All three are UTF-8.
 * `options` are of the kind `TW_OPTIONS_CONSUMER`, or NULL for the defaults. The group comes into being with the first
 * read, at the oldest change that is there.
 *
 * `*consumer` is the caller's, to be freed with `tw_consumer_free`. Does not ask Redis yet, and never waits. Any
 * thread. `TW_STATUS_INVALID_ARGUMENT` for a bad name.
 */
tw_status tw_fleet_consumer(const struct tw_fleet *fleet,
                            struct tw_bytes stream,
                            struct tw_bytes group,
                            struct tw_bytes name,
                            const struct tw_options *options,
                            struct tw_consumer **consumer,
                            struct tw_error **error);

/**
 * Reads at most `items_max` changes (0 counts as 1, and more than 1,000 as 1,000): first those that other consumers
 * have left lying, else what nobody of the group has been given yet. Waits for one if need be, for at most
 * `timeout_ms` milliseconds; 0: not at all, negative: without end. Redis is waited for as well.
 *
 * `*items` is a list of rows for `tw_list_stream_item`. Free it with `tw_list_free`; that acknowledges nothing. What
 * is not acknowledged, by `tw_consumer_ack`, comes again, to this consumer or another, and out of order then.
 *
 * Blocks. Any thread. `TW_STATUS_TIMEOUT` when nothing came in time and after `tw_consumer_interrupt`.
 * `TW_STATUS_RESET`, without a `restart_seq`, when changes were cut off before the group was done with them: look at
 * the whole, then call `tw_consumer_accept_reset`. `TW_STATUS_UNAVAILABLE` when Redis cannot be reached at the end of
 * the time.
 */
tw_status tw_consumer_next(const struct tw_consumer *consumer,
                           size_t items_max,
                           int64_t timeout_ms,
                           struct tw_list **items,
                           struct tw_error **error);

/**
 * Acknowledges: the group is done with all of `items`, which `tw_consumer_next` gave. Gives how many that were; those
 * that another consumer has taken over and acknowledged, and those that were acknowledged before, count no more. Talks
 * to Redis. Any thread. `TW_STATUS_INVALID_ARGUMENT` for a list of other rows; `TW_STATUS_UNAVAILABLE` when Redis
 * cannot be reached: they come again, unless they are acknowledged later.
 */
tw_status tw_consumer_ack(const struct tw_consumer *consumer,
                          const struct tw_list *items,
                          uint64_t *acked,
                          struct tw_error **error);

/**
 * As `tw_consumer_ack`, for the item at `index` alone: 1, or 0 where it counts no more. `TW_STATUS_NOT_FOUND` behind
 * the last one.
 */
tw_status tw_consumer_ack_one(const struct tw_consumer *consumer,
                              const struct tw_list *items,
                              size_t index,
                              uint64_t *acked,
                              struct tw_error **error);

/**
 * Goes on after `TW_STATUS_RESET`, for the whole group. Gives 1 when there was one, else 0. Talks to Redis. Any
 * thread.
 */
tw_status tw_consumer_accept_reset(const struct tw_consumer *consumer,
                                   int32_t *was_reset,
                                   struct tw_error **error);

/**
 * Makes all calls of `tw_consumer_next` with this handle that wait return `TW_STATUS_TIMEOUT`; if none waits, the next
 * call. Interrupts before that count once. They return within a second, or when a Redis that does not answer has been
 * given up. Any thread; not from a signal handler.
 */
tw_status tw_consumer_interrupt(const struct tw_consumer *consumer,
                                struct tw_error **error);

/**
 * Frees a handle of a consumer; calls that wait return. What it has read and not acknowledged is taken over by another
 * in time. NULL is allowed. Any thread.
 */
tw_status tw_consumer_free(struct tw_consumer *consumer,
                           struct tw_error **error);

/**
 * Waits for a commit after the commit `after`, and gives the number of the last one; at the end of the time as it is,
 * which may be `after` itself. `timeout_ms` is in milliseconds, negative to wait without end. Any thread. Blocks.
 * `TW_STATUS_CLOSED` when the warden is closed, which ends the wait.
 */
tw_status tw_warden_wait(const struct tw_warden *warden,
                         uint64_t after,
                         int64_t timeout_ms,
                         uint64_t *seq,
                         struct tw_error **error);

/**
 * Follows the journal under a name, which is UTF-8 text: `tw_follow_next` goes on where the last acknowledged delivery
 * of that name has ended, after a restart too. A new name begins at the beginning of the journal, and comes into being
 * with its first acknowledgement. Free it with `tw_follow_free`. Any thread. Never waits.
 * `TW_STATUS_INVALID_ARGUMENT` for a bad name.
 */
tw_status tw_warden_follow(const struct tw_warden *warden,
                           struct tw_bytes name,
                           struct tw_follow **out,
                           struct tw_error **error);

/**
 * Gives what is new, whole commits until there are at least `changes_max` changes (0 counts as 1), and waits for it if
 * need be. `timeout_ms` is in milliseconds, 0 to look only, negative to wait without end. It wakes within a
 * millisecond of a commit. Read what it gives with `tw_changes_next`, acknowledge it with `tw_changes_ack` or
 * `tw_batch_advance`, and free it with `tw_changes_free`; until it is acknowledged it comes again. One thread at a
 * time. Blocks. `TW_STATUS_TIMEOUT` when nothing came in time, and on `tw_follow_interrupt`. `TW_STATUS_RESET` when
 * the journal does not reach back to where this stands: read a snapshot, then call `tw_follow_advance` with
 * `restart_seq` of the error. `TW_STATUS_CLOSED`.
 */
tw_status tw_follow_next(const struct tw_follow *follow,
                         size_t changes_max,
                         int64_t timeout_ms,
                         struct tw_changes **out,
                         struct tw_error **error);

/**
 * Makes a `tw_follow_next` that waits return `TW_STATUS_TIMEOUT`; if none waits, the next one. Interrupts before that
 * count once. Any thread. Never blocks for long.
 */
tw_status tw_follow_interrupt(const struct tw_follow *follow,
                              struct tw_error **error);

/**
 * Gives a descriptor that becomes readable with each commit and when the warden is closed, for `poll` or an event
 * loop. It is the library's: do not read from it, do not close it; it lives as long as the `tw_follow`. When it is
 * readable call `tw_follow_next` with a timeout of 0 until that returns `TW_STATUS_TIMEOUT`. Wake-ups coalesce, and
 * one may come without a change. Any thread. Never waits. `TW_STATUS_IO` when no descriptor is to be had.
 */
tw_status tw_follow_descriptor(const struct tw_follow *follow,
                               int *fd,
                               struct tw_error **error);

/**
 * Gives the commit up to which has been acknowledged under this name; 0 at the beginning. Any thread. Reads the state
 * file, never waits for a commit.
 */
tw_status tw_follow_position(const struct tw_follow *follow,
                             uint64_t *seq,
                             struct tw_error **error);

/**
 * Acknowledges up to the commit `seq` without reading, for example after `TW_STATUS_RESET`. Any thread. Waits until it
 * is durable. `TW_STATUS_CONFLICT` when it has come further already; `TW_STATUS_INVALID_ARGUMENT` for a commit that
 * has not been made yet.
 */
tw_status tw_follow_advance(const struct tw_follow *follow,
                            uint64_t seq,
                            struct tw_error **error);

/**
 * Frees a `tw_follow`; a `tw_follow_next` that waits returns, and its listeners go on. What was acknowledged under the
 * name stays. NULL is allowed. Any thread.
 */
tw_status tw_follow_free(struct tw_follow *follow,
                         struct tw_error **error);

/**
 * Calls `callback` with each delivery of this name, of at least `changes_max` changes where there are so many (0
 * counts as 1), in a thread of the library that this starts. Do not call `tw_follow_next` under the same name
 * meanwhile.
 *
 * The thread ends with `tw_listener_free`, which waits for a callback that runs, and by itself with the first error:
 * `tw_listener_status` tells which, such as `TW_STATUS_CLOSED` when the warden is closed, or `TW_STATUS_RESET`, after
 * which a snapshot is to be read, `tw_follow_advance` to be called, and this again. It needs neither the `tw_follow`
 * nor the `tw_warden` any more.
 *
 * `finalizer`, which may be NULL, is called with `user_data` exactly once, when the last callback has returned; when
 * this fails, at once. Any thread. Never waits. `TW_STATUS_IO` when no thread is to be had.
 */
tw_status tw_follow_listen(const struct tw_follow *follow,
                           size_t changes_max,
                           tw_delivery_fn callback,
                           void *user_data,
                           tw_finalizer finalizer,
                           struct tw_listener **out,
                           struct tw_error **error);

/**
 * Gives how many jobs there are, ended ones included. Never waits. Any thread.
 */
tw_status tw_jobs_len(const struct tw_jobs *jobs, size_t *len, struct tw_error **error);

/**
 * Tells of a job, in hand or ended. `job_size` is `sizeof(tw_job)`. Never waits. Any thread. `TW_STATUS_NOT_FOUND`
 * for an index that is too high.
 */
tw_status tw_jobs_get(const struct tw_jobs *jobs,
                      size_t index,
                      struct tw_job *job,
                      size_t job_size,
                      struct tw_error **error);

/**
 * Lists the addresses of the files of a group as they were when it was handed out; of a single file its own, or
 * nothing when it is missing: rows for `tw_list_text`, which are bytes. `*list` is the caller's. Any thread.
 * `TW_STATUS_NOT_FOUND` for an index that is too high, `TW_STATUS_INVALID_ARGUMENT` for a job that was ended.
 */
tw_status tw_jobs_files(const struct tw_jobs *jobs,
                        size_t index,
                        struct tw_list **list,
                        struct tw_error **error);

/**
 * Lists the attributes of a job by name, as they would be stored with its completion now: what was stored with the
 * last one, and what was set since. Rows for `tw_list_pair`. `*list` is the caller's. Any thread. Errors as
 * `tw_jobs_files`.
 */
tw_status tw_jobs_attrs(const struct tw_jobs *jobs,
                        size_t index,
                        struct tw_list **list,
                        struct tw_error **error);

/**
 * Gives one attribute of a job, as `tw_jobs_attrs` has it. `*value` is the caller's, to be freed with
 * `tw_value_free`. Any thread. `TW_STATUS_NOT_FOUND` when there is none of that name; otherwise as `tw_jobs_files`.
 */
tw_status tw_jobs_attr(const struct tw_jobs *jobs,
                       size_t index,
                       struct tw_bytes name,
                       struct tw_value **value,
                       struct tw_error **error);

/**
 * Sets an attribute of a job, to be stored with its completion: given back the next time, and it follows the file
 * when that moves. Until then it is in memory alone; a job that does not complete leaves the stored ones as they
 * are. Names are 1 to 255 bytes of UTF-8, without `/` and control characters.
 *
 * Any thread. `TW_STATUS_TOO_LARGE` when names and values of the job would take more than 65,536 bytes,
 * `TW_STATUS_INVALID_ARGUMENT` for a bad name; the job stays as it was. Otherwise as `tw_jobs_files`.
 */
tw_status tw_jobs_set_attr(const struct tw_jobs *jobs,
                           size_t index,
                           struct tw_bytes name,
                           struct tw_bytes value,
                           struct tw_error **error);

/**
 * Removes an attribute of a job, with its completion. One that is not there is fine. Any thread. Errors as
 * `tw_jobs_files`.
 */
tw_status tw_jobs_remove_attr(const struct tw_jobs *jobs,
                              size_t index,
                              struct tw_bytes name,
                              struct tw_error **error);

/**
 * Renews the lease of a job for as long as the pipeline gives them, from now, and gives when it runs out,
 * nanoseconds since 1970 UTC. Nothing is written for it. Any thread. `TW_STATUS_LEASE_LOST` when it has run out and
 * the job was handed out again; otherwise as `tw_jobs_files`.
 */
tw_status tw_jobs_renew(const struct tw_jobs *jobs,
                        size_t index,
                        int64_t *expires_ns,
                        struct tw_error **error);

/**
 * Says that the request that a job was handed out for was refused because there were too many: see
 * `tw_limiter_throttled`, for the meaning of `retry_after_ms` too. Put the job off then: `tw_jobs_snooze`. Without a
 * rate nothing happens. Any thread. Errors as `tw_jobs_files`.
 */
tw_status tw_jobs_throttled(const struct tw_jobs *jobs,
                            size_t index,
                            int64_t retry_after_ms,
                            struct tw_error **error);

/**
 * Says that the request that a job was handed out for has been answered: it counts for one more window from now.
 * Without it that is assumed when the job ends. Any thread. Errors as `tw_jobs_files`.
 */
tw_status tw_jobs_answered(const struct tw_jobs *jobs,
                           size_t index,
                           struct tw_error **error);

/**
 * Says that nothing is sent for a job: it takes nobody's turn. Any thread. Errors as `tw_jobs_files`.
 */
tw_status tw_jobs_sends_nothing(const struct tw_jobs *jobs,
                                size_t index,
                                struct tw_error **error);

/**
 * Frees jobs. Those that were not ended are given back, as by `tw_jobs_release`: they are handed out again at once,
 * and where that cannot be written when their leases run out, which is no error here. NULL is allowed.
 *
 * Blocks for commits where jobs are given back. Any thread. `TW_STATUS_INVALID_ARGUMENT` for the job of a worker,
 * which the library frees.
 */
tw_status tw_jobs_free(struct tw_jobs *jobs,
                       struct tw_error **error);

/**
 * Ends a job as done; durable on return. A file that changed since it was handed out is handed out again, one that
 * went is handed out to be cleaned up. `completion` may be NULL; `completion_size` is `sizeof(tw_completion)`
 * otherwise.
 *
 * Blocks for a commit; commits that several threads wait for at once are one. Any thread. `TW_STATUS_LEASE_LOST`
 * when the job was handed out again meanwhile, and then nothing was recorded. `TW_STATUS_NOT_FOUND` for an index
 * that is too high, `TW_STATUS_INVALID_ARGUMENT` for a job that was ended already, that of a worker, and a refresh
 * in the past: the job stays in hand. With any other error, such as `TW_STATUS_STORAGE_FULL`, nothing was recorded,
 * but the job is ended here all the same: it is handed out again when its lease runs out.
 */
tw_status tw_jobs_complete(const struct tw_jobs *jobs,
                           size_t index,
                           const struct tw_completion *completion,
                           size_t completion_size,
                           struct tw_error **error);

/**
 * Ends all jobs that are in hand as done, those of each pipeline in one commit. Durable on return.
 *
 * `statuses` has room for `capacity` statuses, one for each job by index, and may be NULL: `TW_STATUS_OK`,
 * `TW_STATUS_LEASE_LOST` for one that was handed out again meanwhile, which does not keep the others from being
 * recorded, `TW_STATUS_INVALID_ARGUMENT` for one that was ended before this call, and what else kept the commit of its
 * pipeline from being written, such as `TW_STATUS_STORAGE_FULL`. Without `statuses` this function returns the first of
 * these that is not `TW_STATUS_OK`, those ended before apart.
 *
 * Blocks. Any thread. `TW_STATUS_INVALID_ARGUMENT` when `capacity` is less than the number of jobs, and for the job
 * of a worker: all stay in hand. Otherwise all are ended here: those that were not recorded are handed out again when
 * their leases run out.
 */
tw_status tw_jobs_complete_all(const struct tw_jobs *jobs,
                               tw_status *statuses,
                               size_t capacity,
                               struct tw_error **error);

/**
 * Ends a job as failed; durable on return. `why` is kept up to 1,000 bytes. It is tried again after `retry_after_ms`
 * milliseconds, as a server has asked for, or, when that is negative, after the wait that the pipeline says; as
 * often as that says. With `is_permanent` 1 it is dead until the file changes or somebody asks for it. The stored
 * attributes stay as they were.
 *
 * Blocks for a commit. Any thread. Errors as `tw_jobs_complete`.
 */
tw_status tw_jobs_fail(const struct tw_jobs *jobs,
                       size_t index,
                       struct tw_bytes why,
                       int32_t is_permanent,
                       int64_t retry_after_ms,
                       struct tw_error **error);

/**
 * Puts a job off for `wait_ms` milliseconds; no attempt. A request for it counts as heard. Durable on return. Blocks
 * for a commit. Any thread. `TW_STATUS_INVALID_ARGUMENT` for a negative wait; other errors as `tw_jobs_complete`.
 */
tw_status tw_jobs_snooze(const struct tw_jobs *jobs,
                         size_t index,
                         int64_t wait_ms,
                         struct tw_error **error);

/**
 * Gives a job back: it is handed out again at once; no attempt. Durable on return. Blocks for a commit. Any thread.
 * Errors as `tw_jobs_complete`.
 */
tw_status tw_jobs_release(const struct tw_jobs *jobs,
                          size_t index,
                          struct tw_error **error);

/**
 * Says why the job of a worker is about to fail, and when it is to be tried again or is put off to: in so many
 * milliseconds; negative: as the pipeline says. For the callback of `tw_pipeline_work`, which returns something else
 * than `TW_WORKER_DONE` then. The last one counts.
 *
 * Never waits. Any thread while the callback runs. `TW_STATUS_INVALID_ARGUMENT` for jobs that no worker has,
 * `TW_STATUS_NOT_FOUND` for another index than 0.
 */
tw_status tw_jobs_note_failure(const struct tw_jobs *jobs,
                               size_t index,
                               struct tw_bytes why,
                               int64_t retry_after_ms,
                               struct tw_error **error);

/**
 * Says what is to be stored with the completion of the job of a worker. For the callback of `tw_pipeline_work`,
 * which returns `TW_WORKER_DONE` then. The last one counts. `completion` as in `tw_jobs_complete`; otherwise as
 * `tw_jobs_note_failure`. `TW_STATUS_INVALID_ARGUMENT` also for a refresh in the past.
 */
tw_status tw_jobs_note_completion(const struct tw_jobs *jobs,
                                  size_t index,
                                  const struct tw_completion *completion,
                                  size_t completion_size,
                                  struct tw_error **error);

/**
 * Makes a limiter. `options` are of the kind `TW_OPTIONS_LIMITER`, with a limit and a window. It begins with an
 * empty window: what an earlier process has sent it does not know; that of a pipeline does.
 *
 * `*limiter` is the caller's, to be freed with `tw_limiter_free`. Any thread. `TW_STATUS_INVALID_ARGUMENT` without a
 * limit or a window.
 */
tw_status tw_limiter_new(const struct tw_options *options,
                         struct tw_limiter **limiter,
                         struct tw_error **error);

/**
 * Waits until a request of `cost` may be sent, for at most `timeout_ms` milliseconds; 0: not at all, negative:
 * without end. Calls are served in their order: a small cost never overtakes a large one. A cost above the effective
 * limit waits until the limit has come back.
 *
 * `*permit` is the caller's. Hold it until the answer has come, or until it is certain that none will, and end it
 * with one of the `tw_permit_…` functions; then free it.
 *
 * Blocks. Any thread. `TW_STATUS_TIMEOUT` when nothing was granted in time and after `tw_limiter_interrupt`;
 * `TW_STATUS_INVALID_ARGUMENT` for a cost of 0 or above the limit, `TW_STATUS_CLOSED` after `tw_limiter_close`. The
 * limiter of a pipeline writes to the state file before a grant now and then; what that says is an error, too.
 */
tw_status tw_limiter_acquire(const struct tw_limiter *limiter,
                             uint32_t cost,
                             int64_t timeout_ms,
                             struct tw_permit **permit,
                             struct tw_error **error);

/**
 * Takes in that the server has refused a request because there were too many: HTTP 429, or 503 with a `Retry-After`.
 * `tw_permit_throttled` does the same and knows which request it was.
 *
 * Nobody is granted anything for `retry_after_ms` milliseconds from now (negative: one window; at most seven days),
 * or for as long as an earlier report has asked for. The effective limit falls to four fifths, down to the floor.
 * Requests that were granted before the last such cut belong to the same incident and cut nothing again. Any thread.
 */
tw_status tw_limiter_throttled(const struct tw_limiter *limiter,
                               int64_t retry_after_ms,
                               struct tw_error **error);

/**
 * Takes in that a request has gone well. It is counted; what brings a lowered limit back is time: 5 % of the limit
 * with each full window after the last report of throttling and the end of its pause. Any thread.
 */
tw_status tw_limiter_succeeded(const struct tw_limiter *limiter,
                               struct tw_error **error);

/**
 * Makes all calls of `tw_limiter_acquire` that wait return `TW_STATUS_TIMEOUT`; if none waits, the next call.
 * Interrupts before that count once. Any thread; not from a signal handler.
 */
tw_status tw_limiter_interrupt(const struct tw_limiter *limiter,
                               struct tw_error **error);

/**
 * Ends the limiter: calls that wait, and later ones, get `TW_STATUS_CLOSED`. Permits that are out stay as they are.
 * Closing twice does nothing. Any thread. `TW_STATUS_INVALID_ARGUMENT` for the limiter of a pipeline, which ends
 * with the pipeline.
 */
tw_status tw_limiter_close(const struct tw_limiter *limiter,
                           struct tw_error **error);

/**
 * Tells how a limiter stands. `info_size` is `sizeof(tw_limiter_status_info)`. Never waits. Any thread.
 */
tw_status tw_limiter_status(const struct tw_limiter *limiter,
                            struct tw_limiter_status_info *info,
                            size_t info_size,
                            struct tw_error **error);

/**
 * Frees a handle of a limiter. Permits, and pipelines whose limiter it is, keep the limiter. NULL is allowed. Any
 * thread.
 */
tw_status tw_limiter_free(struct tw_limiter *limiter,
                          struct tw_error **error);

/**
 * Says that the answer has come: the request counts for one more window from now. The handle is still to be freed.
 * Any thread. `TW_STATUS_INVALID_ARGUMENT` for a permit that was ended already.
 */
tw_status tw_permit_done(const struct tw_permit *permit,
                         struct tw_error **error);

/**
 * Says that the request was sent at once, by a caller that does not wait for answers: it counts for one window from
 * its grant. Then the limit is kept where the requests are sent; at the server only as far as all of them are
 * equally long on the way. Otherwise as `tw_permit_done`.
 */
tw_status tw_permit_sent_at_once(const struct tw_permit *permit,
                                 struct tw_error **error);

/**
 * Says that nothing was sent and nothing will be: it never counted. Pacing goes on from its grant all the same.
 * Otherwise as `tw_permit_done`.
 */
tw_status tw_permit_unused(const struct tw_permit *permit,
                           struct tw_error **error);

/**
 * Says that the answer was a refusal because there were too many requests: as `tw_limiter_throttled`, but certain of
 * which request it was. Otherwise as `tw_permit_done`.
 */
tw_status tw_permit_throttled(const struct tw_permit *permit,
                              int64_t retry_after_ms,
                              struct tw_error **error);

/**
 * Frees a permit. One that was not ended is ended as by `tw_permit_done`. NULL is allowed. Any thread.
 */
tw_status tw_permit_free(struct tw_permit *permit,
                         struct tw_error **error);

/**
 * Reads the value of the HTTP header `Retry-After`: seconds, or a date in any of the three forms that HTTP knows.
 *
 * Gives how many milliseconds to wait from `now_ns`, nanoseconds since 1970 UTC, which matters for a date alone;
 * parts of a millisecond are rounded up. A date that has passed gives 0, more than seven days give seven days. The
 * date is by the clock of the server: where the two clocks differ, so does the wait.
 *
 * Never waits. Any thread. `TW_STATUS_INVALID_ARGUMENT` for what is neither seconds nor a date: `1.5`, `-1`,
 * nothing.
 */
tw_status tw_parse_retry_after(struct tw_bytes header,
                               int64_t now_ns,
                               int64_t *wait_ms,
                               struct tw_error **error);

/**
 * Gives the number of rows. Any thread.
 */
tw_status tw_list_len(const struct tw_list *list, size_t *len, struct tw_error **error);

/**
 * Frees a list, and with it all views that it gave. NULL is allowed. Any thread.
 */
tw_status tw_list_free(struct tw_list *list, struct tw_error **error);

/**
 * Gives a pair. Of an explanation of an entry that is one of its attributes with the number of its bytes; of an
 * explanation of an item of a pipeline, one of its attributes with its value. `row_size` is `sizeof(tw_pair)`. Any
 * thread.
 */
tw_status tw_list_pair(const struct tw_list *list,
                       size_t index,
                       struct tw_pair *row,
                       size_t row_size,
                       struct tw_error **error);

/**
 * Gives a text, as a view: a name or a path, UTF-8 or bytes as the function says that made the list. Of an explanation
 * it is one of the reasons, a sentence in UTF-8; of pipelines and mirrors it is the name of one. Any thread.
 */
tw_status tw_list_text(const struct tw_list *list,
                       size_t index,
                       struct tw_bytes *row,
                       struct tw_error **error);

/**
 * Gives what is known about an address: row 0. `row_size` is `sizeof(tw_explanation)`. Any thread.
 */
tw_status tw_list_explanation(const struct tw_list *list,
                              size_t index,
                              struct tw_explanation *row,
                              size_t row_size,
                              struct tw_error **error);

/**
 * Gives a mirror as it is stored. `row_size` is `sizeof(tw_mirror_info)`. Any thread.
 */
tw_status tw_list_mirror(const struct tw_list *list,
                         size_t index,
                         struct tw_mirror_info *row,
                         size_t row_size,
                         struct tw_error **error);

/**
 * Gives a pattern of the files that the mirror `mirror_index` copies, UTF-8, as a view; they are in order. Any thread.
 */
tw_status tw_list_mirror_glob(const struct tw_list *list,
                              size_t mirror_index,
                              size_t index,
                              struct tw_bytes *row,
                              struct tw_error **error);

/**
 * Gives a content type that the mirror `mirror_index` was given: the extension as the key, without its dot and in
 * lower case, and the type as the value; they are in order. `row_size` is `sizeof(tw_pair)`. Any thread.
 */
tw_status tw_list_mirror_content_type(const struct tw_list *list,
                                      size_t mirror_index,
                                      size_t index,
                                      struct tw_pair *row,
                                      size_t row_size,
                                      struct tw_error **error);

/**
 * Gives how a mirror stands. `row_size` is `sizeof(tw_mirror_status_info)`. Any thread.
 */
tw_status tw_list_mirror_status(const struct tw_list *list,
                                size_t index,
                                struct tw_mirror_status_info *row,
                                size_t row_size,
                                struct tw_error **error);

/**
 * Gives a URL that came or went. `row_size` is `sizeof(tw_url_change)`. Any thread.
 */
tw_status tw_list_url_change(const struct tw_list *list,
                             size_t index,
                             struct tw_url_change *row,
                             size_t row_size,
                             struct tw_error **error);

/**
 * Gives the report of a run of a mirror: row 0. `row_size` is `sizeof(tw_mirror_report)`. Any thread.
 */
tw_status tw_list_mirror_report(const struct tw_list *list,
                                size_t index,
                                struct tw_mirror_report *row,
                                size_t row_size,
                                struct tw_error **error);

/**
 * Gives a failure: of a run what could not be copied or deleted, of a plan what the store can hold under no name.
 * `row_size` is `sizeof(tw_mirror_error)`. Any thread.
 */
tw_status tw_list_mirror_error(const struct tw_list *list,
                               size_t index,
                               struct tw_mirror_error *row,
                               size_t row_size,
                               struct tw_error **error);

/**
 * Gives what the next run of a mirror would do: row 0. `row_size` is `sizeof(tw_mirror_plan_info)`. Any thread.
 */
tw_status tw_list_mirror_plan(const struct tw_list *list,
                              size_t index,
                              struct tw_mirror_plan_info *row,
                              size_t row_size,
                              struct tw_error **error);

/**
 * Gives a step of a plan, in the order of a run: uploads, copies, deletions. `row_size` is `sizeof(tw_mirror_step)`.
 * Any thread.
 */
tw_status tw_list_mirror_step(const struct tw_list *list,
                              size_t index,
                              struct tw_mirror_step *row,
                              size_t row_size,
                              struct tw_error **error);

/**
 * Gives what an audit has found: row 0. `row_size` is `sizeof(tw_audit_report)`. Any thread.
 */
tw_status tw_list_audit(const struct tw_list *list,
                        size_t index,
                        struct tw_audit_report *row,
                        size_t row_size,
                        struct tw_error **error);

/**
 * Gives a difference that an audit has found, in the order of their keys. `row_size` is `sizeof(tw_audit_finding)`.
 * Any thread.
 */
tw_status tw_list_audit_finding(const struct tw_list *list,
                                size_t index,
                                struct tw_audit_finding *row,
                                size_t row_size,
                                struct tw_error **error);

/**
 * Gives a pipeline with its options. `row_size` is `sizeof(tw_pipeline_info)`. Any thread.
 */
tw_status tw_list_pipeline(const struct tw_list *list,
                           size_t index,
                           struct tw_pipeline_info *row,
                           size_t row_size,
                           struct tw_error **error);

/**
 * Gives the name of a root that the pipeline `pipeline_index` works on, UTF-8, as a view; they are in order. Any
 * thread.
 */
tw_status tw_list_pipeline_root(const struct tw_list *list,
                                size_t pipeline_index,
                                size_t index,
                                struct tw_bytes *row,
                                struct tw_error **error);

/**
 * Gives a pattern of the files that the pipeline `pipeline_index` works on, UTF-8, as a view; they are in order. Any
 * thread.
 */
tw_status tw_list_pipeline_glob(const struct tw_list *list,
                                size_t pipeline_index,
                                size_t index,
                                struct tw_bytes *row,
                                struct tw_error **error);

/**
 * Gives a tier of the pipeline `pipeline_index`, by rising age; those of the library where `TW_REFRESH_TIERS` was set
 * without any. `row_size` is `sizeof(tw_tier)`. Any thread.
 */
tw_status tw_list_pipeline_tier(const struct tw_list *list,
                                size_t pipeline_index,
                                size_t index,
                                struct tw_tier *row,
                                size_t row_size,
                                struct tw_error **error);

/**
 * Gives the report of one target of a scan. `row_size` is `sizeof(tw_report)`. Any thread.
 */
tw_status tw_list_report(const struct tw_list *list,
                         size_t index,
                         struct tw_report *row,
                         size_t row_size,
                         struct tw_error **error);

/**
 * Gives a path that could not be looked at, of the report `report_index`; of a verification that is 0. `row_size` is
 * `sizeof(tw_scan_error)`. Any thread.
 */
tw_status tw_list_scan_error(const struct tw_list *list,
                             size_t report_index,
                             size_t index,
                             struct tw_scan_error *row,
                             size_t row_size,
                             struct tw_error **error);

/**
 * Gives a row of the history. `row_size` is `sizeof(tw_operation)`. Any thread.
 */
tw_status tw_list_operation(const struct tw_list *list,
                            size_t index,
                            struct tw_operation *row,
                            size_t row_size,
                            struct tw_error **error);

/**
 * Gives what a verification has found: row 0. `row_size` is `sizeof(tw_verify_report)`. Any thread.
 */
tw_status tw_list_verify(const struct tw_list *list,
                         size_t index,
                         struct tw_verify_report *row,
                         size_t row_size,
                         struct tw_error **error);

/**
 * Gives a path at which a verification has found disk and state to differ, in path order within each root. `row_size`
 * is `sizeof(tw_difference)`. Any thread.
 */
tw_status tw_list_difference(const struct tw_list *list,
                             size_t index,
                             struct tw_difference *row,
                             size_t row_size,
                             struct tw_error **error);

/**
 * Gives what a rebuild has saved: row 0. `row_size` is `sizeof(tw_rebuild_report)`. Any thread.
 */
tw_status tw_list_rebuild(const struct tw_list *list,
                          size_t index,
                          struct tw_rebuild_report *row,
                          size_t row_size,
                          struct tw_error **error);

/**
 * Gives a root. Of an explanation, row 0 is the root that the address names. `row_size` is `sizeof(tw_root)`. Any
 * thread.
 */
tw_status tw_list_root(const struct tw_list *list,
                       size_t index,
                       struct tw_root *row,
                       size_t row_size,
                       struct tw_error **error);

/**
 * Gives a change that came over a stream. `row_size` is `sizeof(tw_stream_item)`. Any thread.
 */
tw_status tw_list_stream_item(const struct tw_list *list,
                              size_t index,
                              struct tw_stream_item *row,
                              size_t row_size,
                              struct tw_error **error);

/**
 * Gives an item of a pipeline. `row_size` is `sizeof(tw_work_item)`. Any thread.
 */
tw_status tw_list_work_item(const struct tw_list *list,
                            size_t index,
                            struct tw_work_item *row,
                            size_t row_size,
                            struct tw_error **error);

/**
 * Gives what is known of an item of a pipeline: row 0. `row_size` is `sizeof(tw_work_explanation)`. Any thread.
 */
tw_status tw_list_work_explanation(const struct tw_list *list,
                                   size_t index,
                                   struct tw_work_explanation *row,
                                   size_t row_size,
                                   struct tw_error **error);

/**
 * Tells how a listener fares: `TW_STATUS_OK` while it listens, else the status that ended its thread, for example
 * `TW_STATUS_CLOSED` after `tw_warden_close`, or `TW_STATUS_RESET` where the journal cannot be followed any further.
 * Such a listener calls back no more; it is still to be freed. Never waits. Any thread, the callback included.
 */
tw_status tw_listener_status(const struct tw_listener *listener,
                             tw_status *status,
                             struct tw_error **error);

/**
 * Ends a listener: waits until a callback under way has returned, calls the finalizer, and frees the handle. After
 * that nothing is called back. NULL is allowed.
 *
 * Blocks for as long as the callback takes; hold no lock that the callback waits for. Any thread but the one that
 * calls back: from the callback it is `TW_STATUS_INVALID_ARGUMENT`, and nothing happens.
 */
tw_status tw_listener_free(struct tw_listener *listener,
                           struct tw_error **error);

/**
 * Watches roots from now on: every change on disk is looked at when its directory has been quiet for the debounce,
 * and committed. Returns at once: the first scan runs in the background, and `tw_warden_sync` waits for it.
 *
 * `options` are of the kind `TW_OPTIONS_WATCH`. NULL watches all roots, present and future, as the defaults say, and
 * changes nothing where something is watched already. Called again with options it restarts only what differs. A
 * pause stays a pause. Where the system has no room for one more watcher, roots are polled, and the status says so.
 *
 * Any thread. `TW_STATUS_NOT_FOUND` for a root that is named and not registered, `TW_STATUS_INVALID_ARGUMENT` for
 * times that make no sense, `TW_STATUS_UNSUPPORTED` for a backend that this system lacks, `TW_STATUS_READ_ONLY`,
 * `TW_STATUS_CLOSED`, `TW_STATUS_IO` where no thread can be started. What was watched before is watched as before
 * then.
 */
tw_status tw_warden_watch(const struct tw_warden *warden,
                          const struct tw_options *options,
                          struct tw_error **error);

/**
 * Stops watching, and waits until what it had started has ended. The state stays as it is. Where nothing is watched
 * nothing happens. Any thread.
 */
tw_status tw_warden_unwatch(const struct tw_warden *warden,
                            struct tw_error **error);

/**
 * Gives 1 between `tw_warden_watch` and `tw_warden_unwatch`, also while it is paused, else 0. Any thread.
 */
tw_status tw_warden_is_watching(const struct tw_warden *warden,
                                int32_t *is_watching,
                                struct tw_error **error);

/**
 * Waits until every change that was made on disk before this call is in the snapshot, and gives the seq of that.
 * Waits for at most `timeout_ms` milliseconds; negative: without end. Debouncing and waiting between scans are cut
 * short. Nothing is written into the trees for it. A root that is unavailable or held keeps its last state.
 *
 * Blocks. Any thread. `TW_STATUS_TIMEOUT`: the engine goes on; `TW_STATUS_INVALID_ARGUMENT` when nothing is watched,
 * `TW_STATUS_UNAVAILABLE` while watching is paused, `TW_STATUS_CLOSED`, and what kept a change from being committed,
 * such as `TW_STATUS_STORAGE_FULL`.
 */
tw_status tw_warden_sync(const struct tw_warden *warden,
                         int64_t timeout_ms,
                         uint64_t *seq,
                         struct tw_error **error);

/**
 * Holds everything that the warden does by itself, and returns when no scan is running: one that it had started is
 * cancelled and made up for later, one that the program asked for is waited for. What changes meanwhile is
 * remembered. Scans that the program asks for are still run. A second pause changes nothing.
 *
 * Blocks for as long as scans of the program run. Any thread, but never the progress callback of a scan: it would
 * wait for that scan, which waits for the callback. `TW_STATUS_INVALID_ARGUMENT` when nothing is watched,
 * `TW_STATUS_CLOSED`.
 */
tw_status tw_warden_pause(const struct tw_warden *warden,
                          struct tw_error **error);

/**
 * Goes on after `tw_warden_pause`, with what has changed meanwhile. Any thread. `TW_STATUS_INVALID_ARGUMENT` when
 * nothing is watched, `TW_STATUS_CLOSED`.
 */
tw_status tw_warden_resume(const struct tw_warden *warden,
                           struct tw_error **error);

/**
 * Hands what Treewarden logs to a callback, from now on and for the whole process: lines up to `level_max`,
 * `TW_LOG_…`. A second call takes the place of the first. Without a callback, or with `TW_LOG_OFF`, nothing is
 * logged any more.
 *
 * The callback may come from any thread and from several at once; it delays what logs. It and the finalizer must call
 * nothing of this library but `tw_set_log`: what logs may hold a lock that the call would wait for. What is logged in
 * the thread of a callback meanwhile is left out. `finalizer` is called once with `user_data` when another callback
 * or none has taken the place and no call is under way, so possibly later and in another thread; at once when this
 * function fails or gives no callback.
 *
 * Any thread. `TW_STATUS_INVALID_ARGUMENT` for an unknown level, `TW_STATUS_UNSUPPORTED` in a Rust program that has
 * set another subscriber for this library already.
 */
tw_status tw_set_log(int32_t level_max,
                     tw_log_fn callback,
                     void *user_data,
                     tw_finalizer finalizer,
                     struct tw_error **error);

/**
 * Gives the main numbers of the engine. Cheap: nothing is scanned, and only the objects of mirrors are counted.
 * `metrics_size` is `sizeof(tw_metrics)`. The parts are read one after the other: a commit in between may show in one
 * and not yet in another. Any thread. `TW_STATUS_CLOSED`.
 */
tw_status tw_warden_metrics(const struct tw_warden *warden,
                            struct tw_metrics *metrics,
                            size_t metrics_size,
                            struct tw_error **error);

/**
 * Gives all numbers of the engine, of each root, pipeline and mirror, as a page for Prometheus: UTF-8, the text format
 * 0.0.4, to be served as `text/plain; version=0.0.4`. Names of roots, pipelines and mirrors are in it, paths are not.
 * Read it with `tw_value_bytes`, free it with `tw_value_free`. It costs what `tw_warden_metrics` does. Any thread.
 * `TW_STATUS_CLOSED`.
 */
tw_status tw_warden_prometheus(const struct tw_warden *warden,
                               struct tw_value **page,
                               struct tw_error **error);

/**
 * Opens the mirror of that name. `options` are of the kind `TW_OPTIONS_MIRROR`. With an address and a target the
 * mirror is made where there is none, and takes these options up where it had others; where it copies from and to
 * stays what it was. Without both, or with NULL, it is opened as it was made, with the credentials and the CDN of the
 * options. Nothing is sent yet, and the first use tells whether the store is there.
 *
 * The state file keeps no credentials: they are given whenever the mirror is opened, and are in no message and no log.
 * A mirror goes on under those that were given last: handles that were opened before answer `TW_STATUS_CLOSED`, once a
 * run of theirs has ended. `*mirror` is the caller's, to be freed with `tw_mirror_free`; it keeps the warden open.
 *
 * Blocks for a commit where something is written. Any thread. `TW_STATUS_NOT_FOUND` without address and target where
 * there is no such mirror, for a root that is not there, and for a directory that is not; `TW_STATUS_UNAVAILABLE` for
 * a root that cannot be trusted; `TW_STATUS_INVALID_ARGUMENT` for a bad name, options, a target or credentials that
 * make no sense, when the mirror copies something else or to another place, and for one of
 * `tw_warden_mirror_storage`; `TW_STATUS_IO` where no thread can be started.
 */
tw_status tw_warden_mirror(const struct tw_warden *warden,
                           struct tw_bytes name,
                           const struct tw_options *options,
                           struct tw_mirror **mirror,
                           struct tw_error **error);

/**
 * Lists the mirrors in order of their names: rows for `tw_list_mirror`. `tw_list_text` gives the names alone. `*list`
 * is the caller's. Any thread. Reads the state file, never waits for a commit.
 */
tw_status tw_warden_mirrors(const struct tw_warden *warden,
                            struct tw_list **list,
                            struct tw_error **error);

/**
 * Tells how the mirrors stand that are open, in order of their names: rows for `tw_list_mirror_status`. No request is
 * made; objects are counted. `*list` is the caller's. Any thread.
 */
tw_status tw_warden_mirror_status(const struct tw_warden *warden,
                                  struct tw_list **list,
                                  struct tw_error **error);

/**
 * Forgets a mirror and what it knows of its objects, which stay where they are. A run under way ends, and is waited
 * for; handles of the mirror answer `TW_STATUS_CLOSED`. Blocks for a commit. Any thread, but not from its progress
 * callback. `TW_STATUS_NOT_FOUND` when there is none.
 */
tw_status tw_warden_remove_mirror(const struct tw_warden *warden,
                                  struct tw_bytes name,
                                  struct tw_error **error);

/**
 * Brings the remote copy in step with the current snapshot: uploads and copies first, then deletions, then the CDN.
 * Where nothing changed no request is made. What was interrupted goes on, and nothing is sent again that was
 * acknowledged. Files that have not been still for long enough are waited for.
 *
 * Deletions wait for confirmation when there are more than `TW_OPTION_MIRROR_DELETE_MAX` and
 * `TW_OPTION_MIRROR_DELETE_SHARE_PERCENT` allow: then `held` of the report tells how many, and a run with an
 * `accept_deletes` of 1 deletes them. While the root itself is held nothing is deleted at all.
 *
 * `hooks` may be NULL; `hooks_size` is `sizeof(tw_mirror_hooks)`. `*report` is a list of one row for
 * `tw_list_mirror_report`; what failed comes by `tw_list_mirror_error`, and stopped nothing else. Free it with
 * `tw_list_free`.
 *
 * Blocks until all of it is done, and until another run of the mirror is. Any thread. `TW_STATUS_UNAVAILABLE` when the
 * root cannot be trusted or was never scanned: nothing was sent or deleted. `TW_STATUS_PERMISSION_DENIED` and
 * `TW_STATUS_NOT_FOUND` when the store takes nothing, `TW_STATUS_CANCELLED`, `TW_STATUS_CLOSED`. What was acknowledged
 * before stays so.
 */
tw_status tw_mirror_sync(const struct tw_mirror *mirror,
                         int32_t accept_deletes,
                         const struct tw_mirror_hooks *hooks,
                         size_t hooks_size,
                         struct tw_list **report,
                         struct tw_error **error);

/**
 * Tells what the next run would do, with exact counts and bytes: a list of one row for `tw_list_mirror_plan`; the
 * steps come by `tw_list_mirror_step`, files that the store can hold under no name by `tw_list_mirror_error`. No
 * request is made. `*plan` is the caller's.
 *
 * Blocks while a run of the mirror is under way. Any thread. `TW_STATUS_NOT_FOUND` when the root is gone,
 * `TW_STATUS_UNAVAILABLE` when it cannot be trusted, `TW_STATUS_CLOSED`.
 */
tw_status tw_mirror_plan(const struct tw_mirror *mirror,
                         struct tw_list **plan,
                         struct tw_error **error);

/**
 * Lists what is in the store, and compares it with what was acknowledged: a list of one row for `tw_list_audit`; the
 * differences come by `tw_list_audit_finding`. With a `repair` of 1 what is lost or different is sent again with the
 * next run. With a `delete_unknown` of 1 objects below the prefix that the mirror knows nothing of are deleted with
 * the next run, as far as its limits for deletions allow. `*report` is the caller's.
 *
 * Blocks until all of it is done, and until a run of the mirror is. Any thread. `TW_STATUS_UNSUPPORTED` for a store
 * that cannot be listed, else as `tw_mirror_sync`.
 */
tw_status tw_mirror_audit(const struct tw_mirror *mirror,
                          int32_t repair,
                          int32_t delete_unknown,
                          struct tw_list **report,
                          struct tw_error **error);

/**
 * Tells how a mirror stands: a list of one row for `tw_list_mirror_status`. No request is made; objects are counted.
 * `*list` is the caller's. Any thread, also while a run is under way.
 */
tw_status tw_mirror_status(const struct tw_mirror *mirror,
                           struct tw_list **list,
                           struct tw_error **error);

/**
 * Frees a handle of a mirror. What was made from it stays as it is, and calls under way go on. NULL is allowed. May
 * close the state file, as `tw_warden_free` does, when nothing else keeps it open. Any thread, but not from a callback
 * of the library.
 */
tw_status tw_mirror_free(struct tw_mirror *mirror,
                         struct tw_error **error);

/**
 * Reads on in the file of a `put`: up to `capacity` bytes into `buffer`, at least 1. `*len` is how many it were; it
 * may be fewer than there is room for, and is 0 at the end alone. Before the last byte is given it is made sure that
 * the file is still the one that was announced.
 *
 * Blocks for the disk, for memory (`TW_OPTION_MIRROR_MEMORY_BYTES`) and for the line
 * (`TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S`). Any thread while the callback runs; reads that come together are done
 * one after the other. `TW_STATUS_CONFLICT` when the file changed, `TW_STATUS_IO` when it cannot be read,
 * `TW_STATUS_CANCELLED`: then the callback is to return, and whatever it answers nothing is acknowledged.
 * `TW_STATUS_INVALID_ARGUMENT` for the call of another callback.
 */
tw_status tw_call_read(const struct tw_call *call,
                       void *buffer,
                       size_t capacity,
                       size_t *len,
                       struct tw_error **error);

/**
 * Says what entity tag the object of a `put` or a `copy` has been given, UTF-8, without quotes, at most 1,024 bytes;
 * an empty one is none. It is kept, and an audit compares it with the one that is listed. The last one counts.
 *
 * Never waits. Any thread while the callback runs. `TW_STATUS_TOO_LARGE`, `TW_STATUS_INVALID_ARGUMENT` for one with
 * control characters or that is not UTF-8.
 */
tw_status tw_call_note_etag(const struct tw_call *call,
                            struct tw_bytes etag,
                            struct tw_error **error);

/**
 * Says which URL the object of a `url` has, UTF-8. The last one counts. Never waits. Any thread while the callback
 * runs. `TW_STATUS_INVALID_ARGUMENT` for one with control characters or that is not UTF-8.
 */
tw_status tw_call_note_url(const struct tw_call *call,
                           struct tw_bytes url,
                           struct tw_error **error);

/**
 * Says why a callback is about to return something else than `TW_STORAGE_OK`: one sentence without any secret, of
 * which 1,000 bytes are kept. With `TW_STORAGE_THROTTLED` also for how many milliseconds the storage asks everybody to
 * wait; negative: it does not say. The last one counts. Never waits. Any thread while the callback runs.
 */
tw_status tw_call_note_failure(const struct tw_call *call,
                               struct tw_bytes why,
                               int64_t retry_after_ms,
                               struct tw_error **error);

/**
 * Tells one object of a `list`: its whole key, UTF-8, its size in bytes, and its entity tag as in `tw_call_note_etag`.
 * In any order, each once. An object whose key does not begin with the prefix is passed over. They are in memory until
 * the callback has returned.
 *
 * Never waits. Any thread while the callback runs. `TW_STATUS_CANCELLED` when the audit was cancelled: the callback is
 * to return. `TW_STATUS_INVALID_ARGUMENT` for a key that is not UTF-8, and for the call of another callback.
 */
tw_status tw_call_add_object(const struct tw_call *call,
                             struct tw_bytes key,
                             uint64_t size,
                             struct tw_bytes etag,
                             struct tw_error **error);

/**
 * Follows the root of a mirror: threads run the mirror after each commit that changes something, and tell the CDN
 * meanwhile. They hear of commits, not of the disk: `tw_warden_watch` or scans make those. Failures are logged, told
 * by `tw_mirror_status`, and tried again after growing waits; deletions that are held wait for a `tw_mirror_sync` that
 * accepts them.
 *
 * `*following` is the caller's, to be freed with `tw_following_free`; it keeps the warden open. Never waits. Any
 * thread. `TW_STATUS_BUSY` when the mirror is followed already, `TW_STATUS_CLOSED`, `TW_STATUS_IO` when no thread can
 * be started.
 */
tw_status tw_mirror_follow(const struct tw_mirror *mirror,
                           struct tw_following **following,
                           struct tw_error **error);

/**
 * Ends the threads and waits for them: a run ends within a part of a file, and what is acknowledged stays so. NULL is
 * allowed. May close the state file, as `tw_warden_free` does, when nothing else keeps it open. Blocks. Any thread,
 * but not from a callback of the library.
 */
tw_status tw_following_free(struct tw_following *following,
                            struct tw_error **error);

/**
 * Opens the mirror of that name to a storage of the program. `options` are of the kind `TW_OPTIONS_MIRROR`, with an
 * address; a target, what belongs to one, and credentials are refused: the storage knows by itself where it is and how
 * to get in. The mirror is made where there is none, and takes these options up where it had others; the address, the
 * prefix and the name of the storage stay what they were. `storage_size` is `sizeof(tw_storage)`; the struct and what
 * it points to are copied. Nothing is sent yet.
 *
 * The state file keeps no storage: after a restart a mirror is opened in the same way, and goes on where it was. A
 * mirror goes on with the storage that was given last: handles that were opened before answer `TW_STATUS_CLOSED`, once
 * a run of theirs has ended. `*mirror` is the caller's, to be freed with `tw_mirror_free`; it keeps the warden open.
 *
 * `finalizer` is called once with `user_data` when the library lets go of the storage: after the last callback, when
 * the mirror was opened anew or removed or the warden was closed, and its handles are freed; also when this function
 * fails. It must not open or remove a mirror.
 *
 * Blocks for a commit where something is written. Any thread. `TW_STATUS_NOT_FOUND` for a root that is not there;
 * `TW_STATUS_UNAVAILABLE` for a root that cannot be trusted; `TW_STATUS_INVALID_ARGUMENT` for a bad name or options,
 * for a storage without `name`, `put` or `remove`, and when the mirror copies something else or to another place.
 */
tw_status tw_warden_mirror_storage(const struct tw_warden *warden,
                                   struct tw_bytes name,
                                   const struct tw_options *options,
                                   const struct tw_storage *storage,
                                   size_t storage_size,
                                   void *user_data,
                                   tw_finalizer finalizer,
                                   struct tw_mirror **mirror,
                                   struct tw_error **error);

/**
 * Gives the URL of the object of a file, UTF-8: read it with `tw_value_bytes`, free it with `tw_value_free`. A file
 * has one from the acknowledgement of its object until the deletion of that begins. Any thread. Never waits.
 * `TW_STATUS_NOT_FOUND` when there is no acknowledged object, and for a mirror without a public URL.
 */
tw_status tw_mirror_url(const struct tw_mirror *mirror,
                        struct tw_bytes address,
                        struct tw_value **url,
                        struct tw_error **error);

/**
 * Gives the address of the file whose object has this URL: read it with `tw_value_bytes`, free it with
 * `tw_value_free`. Any thread. Never waits. `TW_STATUS_NOT_FOUND` when no acknowledged object has it,
 * `TW_STATUS_INVALID_ARGUMENT` for one that is not UTF-8.
 */
tw_status tw_mirror_path(const struct tw_mirror *mirror,
                         struct tw_bytes url,
                         struct tw_value **path,
                         struct tw_error **error);

/**
 * Takes the URLs of all objects that are acknowledged now. Any thread. Never waits: no lock, no system call, no
 * request. `*urls` is the caller's.
 */
tw_status tw_mirror_urls(const struct tw_mirror *mirror,
                         struct tw_urls **urls,
                         struct tw_error **error);

/**
 * Gives how many objects there are. They are counted. Any thread. Never waits.
 */
tw_status tw_urls_len(const struct tw_urls *urls, uint64_t *len, struct tw_error **error);

/**
 * Gives the URL of the object of a file, as `tw_mirror_url` does. Any thread. Never waits.
 */
tw_status tw_urls_url(const struct tw_urls *urls,
                      struct tw_bytes address,
                      struct tw_value **url,
                      struct tw_error **error);

/**
 * Gives the address of the file whose object has this URL, as `tw_mirror_path` does. Any thread. Never waits.
 */
tw_status tw_urls_path(const struct tw_urls *urls,
                       struct tw_bytes url,
                       struct tw_value **path,
                       struct tw_error **error);

/**
 * Lists all of them, in the order of the keys of their objects: rows for `tw_list_pair`, the address of the file as
 * `key` and the URL as `value`. Without a public URL there are none. `*list` is the caller's. Any thread. Never waits.
 */
tw_status tw_urls_list(const struct tw_urls *urls,
                       struct tw_list **list,
                       struct tw_error **error);

/**
 * Lists what came, changed and went since `older`, an older map of the same mirror: rows for `tw_list_url_change`. It
 * costs what differs, not what is there. `*list` is the caller's. Any thread. Never waits.
 */
tw_status tw_urls_diff(const struct tw_urls *urls,
                       const struct tw_urls *older,
                       struct tw_list **list,
                       struct tw_error **error);

/**
 * Frees them. NULL is allowed. Any thread.
 */
tw_status tw_urls_free(struct tw_urls *urls, struct tw_error **error);

/**
 * Makes options of a kind, `TW_OPTIONS_…`, in which nothing is set. Free them with `tw_options_free`. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for a kind that does not exist.
 */
tw_status tw_options_new(int32_t kind,
                         struct tw_options **options,
                         struct tw_error **error);

/**
 * Sets an option that is a number, a flag (0 or 1) or one of several values. Set again, the new value holds. Any
 * thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for an option of another kind, for one that takes bytes, and for a value out of range.
 * What makes no sense together with other options is told by the function that takes them.
 */
tw_status tw_options_set_int(struct tw_options *options,
                             int32_t option,
                             int64_t value,
                             struct tw_error **error);

/**
 * Sets an option that is a text, an address or a pattern; of some, each call adds one more. The bytes are copied. Any
 * thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for an option of another kind, for one that takes a number, for a text that is not
 * UTF-8, and for a pattern or schedule that cannot be read.
 */
tw_status tw_options_set_bytes(struct tw_options *options,
                               int32_t option,
                               struct tw_bytes value,
                               struct tw_error **error);

/**
 * Sets how a root is watched. `watch` are options of the kind `TW_OPTIONS_WATCH`, `root` is the name of the root and
 * `root_watch` are options of the kind `TW_OPTIONS_ROOT_WATCH`, or NULL for the defaults. They are copied as they are
 * now. Once any root is named, only named roots are watched. With an empty name it is said how roots are watched when
 * none is named. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for options of another kind.
 */
tw_status tw_options_set_root_watch(struct tw_options *watch,
                                    struct tw_bytes root,
                                    const struct tw_options *root_watch,
                                    struct tw_error **error);

/**
 * Adds a tier for `TW_REFRESH_TIERS`: what is younger than `younger_than_ms` at its completion is done anew
 * `after_ms` later. The first tier that is not too young for a file counts; a negative `younger_than_ms` means all
 * that is older, and what is older than all tiers is never done anew. Give the tiers by rising age, at most 100.
 * `pipeline` are options of the kind `TW_OPTIONS_PIPELINE`. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for options of another kind, and for an `after_ms` of less than a second or more than
 * 3,660 days.
 */
tw_status tw_options_add_tier(struct tw_options *pipeline,
                              int64_t younger_than_ms,
                              int64_t after_ms,
                              struct tw_error **error);

/**
 * Frees options. NULL is allowed. What was made with them stays as it is. Any thread.
 */
tw_status tw_options_free(struct tw_options *options, struct tw_error **error);

/**
 * Groups files by a function, which takes the place of `TW_OPTION_PIPELINE_GROUP`. `pipeline` are options of the kind
 * `TW_OPTIONS_PIPELINE`. The state file keeps the `name` only (UTF-8, 1 to 255 bytes): the program sets the function
 * whenever it opens the pipeline, and another name groups all files anew. `finalizer` is called when neither these
 * options nor a pipeline that was opened with them needs the function any more. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for options of another kind, a name that is not UTF-8, or no function.
 */
tw_status tw_options_set_group(struct tw_options *pipeline,
                               struct tw_bytes name,
                               tw_group_fn function,
                               void *user_data,
                               tw_finalizer finalizer,
                               struct tw_error **error);

/**
 * Opens the pipeline of that name. `options` are of the kind `TW_OPTIONS_PIPELINE`: with them it is made where there
 * is none, and takes them up where it had others; leases in force stay. With NULL it is opened as it was made.
 *
 * What is still to be done is worked out from the snapshot and what is stored: the first time a fraction of a second
 * for a million files, without holding up anybody else. `*pipeline` is the caller's, to be freed with
 * `tw_pipeline_free`; it keeps the warden open.
 *
 * Blocks for a commit where something is written. Any thread. `TW_STATUS_NOT_FOUND` without options where there is
 * none; `TW_STATUS_INVALID_ARGUMENT` for a bad name, options that make no sense, a version below the one it had, and
 * without options for one that groups files by a function.
 */
tw_status tw_warden_pipeline(const struct tw_warden *warden,
                             struct tw_bytes name,
                             const struct tw_options *options,
                             struct tw_pipeline **pipeline,
                             struct tw_error **error);

/**
 * Removes a pipeline with all that it knows of its items. Leases in force are lost, and handles of it answer
 * `TW_STATUS_CLOSED`. Blocks for a commit. Any thread. `TW_STATUS_NOT_FOUND` when there is none.
 */
tw_status tw_warden_remove_pipeline(const struct tw_warden *warden,
                                    struct tw_bytes name,
                                    struct tw_error **error);

/**
 * Lists the pipelines in order of their names, with the options that each was given last: rows for `tw_list_pipeline`.
 * `tw_list_text` gives the names alone. `*list` is the caller's. Any thread.
 */
tw_status tw_warden_pipelines(const struct tw_warden *warden,
                              struct tw_list **list,
                              struct tw_error **error);

/**
 * Frees a handle of a pipeline. Its jobs, workers and limiters stay as they are, and calls under way go on. NULL is
 * allowed. Any thread.
 */
tw_status tw_pipeline_free(struct tw_pipeline *pipeline,
                           struct tw_error **error);

/**
 * Takes up to `jobs_max` jobs that are due (at most 10,000), best first, each under a lease. Waits for the first one
 * for at most `timeout_ms` milliseconds; 0: not at all, negative: without end. When nothing came `*jobs` is empty,
 * also after `tw_pipeline_interrupt`. Where the pipeline has a rate, as many as may begin now.
 *
 * `*jobs` is the caller's. End each job before its lease runs out, or renew it; `tw_jobs_free` gives back those that
 * were not ended.
 *
 * Blocks, for a commit at least where something is handed out. Any thread, several at once. `TW_STATUS_CLOSED`,
 * `TW_STATUS_READ_ONLY`, and what the state file says; then nothing was handed out.
 */
tw_status tw_pipeline_claim(const struct tw_pipeline *pipeline,
                            size_t jobs_max,
                            int64_t timeout_ms,
                            struct tw_jobs **jobs,
                            struct tw_error **error);

/**
 * Takes up to `jobs_max` jobs (at most 10,000) that are due in `count` pipelines: all of the pipeline whose best job
 * is in the best class, the next one's only when that has no more; with the same class they are served in the order
 * in which they are given. So `TW_OPTION_PIPELINE_PRIORITY` decides which consumer goes first, waiting raises the
 * others, and nobody starves. Never waits for jobs: when nothing is due `*jobs` is empty.
 *
 * Otherwise as `tw_pipeline_claim`; jobs that were handed out before an error are handed out again when their leases
 * run out.
 */
tw_status tw_pipelines_claim(const struct tw_pipeline *const *pipelines,
                             size_t count,
                             size_t jobs_max,
                             struct tw_jobs **jobs,
                             struct tw_error **error);

/**
 * Asks for a file, or everything below a directory, to be done now whatever its state: `ROOT/path`, `ROOT`, or
 * nothing for everything, in the class `priority`, `TW_PRIORITY_…`. `report_size` is `sizeof(tw_request_report)`.
 * Durable on return.
 *
 * Blocks for a commit. Any thread. `TW_STATUS_INVALID_ARGUMENT` for something that is not an address,
 * `TW_STATUS_NOT_FOUND` when there is no item at or below it.
 */
tw_status tw_pipeline_request(const struct tw_pipeline *pipeline,
                              struct tw_bytes address,
                              int32_t priority,
                              struct tw_request_report *report,
                              size_t report_size,
                              struct tw_error **error);

/**
 * Makes items in error, at or below an address, due at once; the dead ones come back to life. Gives how many; 0 is
 * no error. Durable on return. Blocks for a commit. Any thread. `TW_STATUS_INVALID_ARGUMENT` for something that is
 * not an address.
 */
tw_status tw_pipeline_retry(const struct tw_pipeline *pipeline,
                            struct tw_bytes address,
                            uint64_t *retried,
                            struct tw_error **error);

/**
 * Lists items at or below an address (nothing: all of them), by address, at most `limit`: rows for
 * `tw_list_work_item`. `state` is one of `TW_WORK_…`, or -1 for all. `*list` is the caller's. Any thread.
 * `TW_STATUS_INVALID_ARGUMENT` for something that is not an address.
 */
tw_status tw_pipeline_list(const struct tw_pipeline *pipeline,
                           struct tw_bytes address,
                           int32_t state,
                           size_t limit,
                           struct tw_list **list,
                           struct tw_error **error);

/**
 * Tells all that is known of one item, and why: the file at an address, the group of that key, or the group that the
 * file belongs to. A list of one row for `tw_list_work_explanation`; it is the caller's. Any thread.
 * `TW_STATUS_NOT_FOUND` when the pipeline has no such item, `TW_STATUS_INVALID_ARGUMENT` for something that is not
 * an address.
 */
tw_status tw_pipeline_explain(const struct tw_pipeline *pipeline,
                              struct tw_bytes address,
                              struct tw_list **list,
                              struct tw_error **error);

/**
 * Says how a pipeline stands. All of it is at hand, nothing is counted for the answer. `info_size` is
 * `sizeof(tw_pipeline_status_info)`. Any thread. `TW_STATUS_CLOSED`.
 */
tw_status tw_pipeline_status(const struct tw_pipeline *pipeline,
                             struct tw_pipeline_status_info *info,
                             size_t info_size,
                             struct tw_error **error);

/**
 * Wakes every call that waits for work of this pipeline, in all threads: they return without any. Threads of
 * `tw_pipeline_work` go on. Any thread; not from a signal handler.
 */
tw_status tw_pipeline_interrupt(const struct tw_pipeline *pipeline,
                                struct tw_error **error);

/**
 * Waits until nothing is left to be done, for at most `timeout_ms` milliseconds; negative: without end: no item is
 * new, changed, stale or missing, none is in hand and none is asked for. Items in error wait for their next try and
 * do not count. `*is_idle` is 1 when that is so, 0 when the time is over and after `tw_pipeline_interrupt`.
 *
 * Blocks. Any thread. `TW_STATUS_CLOSED`.
 */
tw_status tw_pipeline_wait_idle(const struct tw_pipeline *pipeline,
                                int64_t timeout_ms,
                                int32_t *is_idle,
                                struct tw_error **error);

/**
 * Gives the limiter of a pipeline: for what a job sends beyond its first request. It may be replaced when the
 * pipeline is opened with another rate; the one before answers `TW_STATUS_CLOSED` then. `*limiter` is the caller's,
 * to be freed with `tw_limiter_free`. Any thread. `TW_STATUS_NOT_FOUND` for a pipeline without a rate.
 */
tw_status tw_pipeline_limiter(const struct tw_pipeline *pipeline,
                              struct tw_limiter **limiter,
                              struct tw_error **error);

/**
 * Scans what the options name, one target after the other, and applies what it finds with one commit for each. A scan
 * that finds nothing new writes not one byte. `options` are of the kind `TW_OPTIONS_SCAN`; without a target, or with
 * NULL, all roots are scanned. `hooks` may be NULL; `hooks_size` is `sizeof(tw_scan_hooks)`. The list has one row for
 * `tw_list_report` for each target; free it with `tw_list_free`. Blocks until all of it is done. Any thread.
 *
 * A root that is unavailable, a result that is held, and a scan that was cancelled are told by the report, not by the
 * status. `TW_STATUS_INVALID_ARGUMENT` for something that is not an address and `TW_STATUS_NOT_FOUND` for an unknown
 * root: then nothing is scanned. When some targets fail and others do not, the failures are in their reports; when all
 * fail, the status is that of the first.
 */
tw_status tw_warden_scan(const struct tw_warden *warden,
                         const struct tw_options *options,
                         const struct tw_scan_hooks *hooks,
                         size_t hooks_size,
                         struct tw_list **reports,
                         struct tw_error **error);

/**
 * Compares the disk with the state, and changes neither. `options` are of the kind `TW_OPTIONS_VERIFY`, or NULL: all
 * roots, fingerprints only. `hooks` as in `tw_warden_scan`. The list has one row for `tw_list_verify`; the differences
 * come by `tw_list_difference`, paths that could not be looked at by `tw_list_scan_error` with a `report_index` of 0.
 * Free it with `tw_list_free`. Blocks until all of it is done. Any thread.
 *
 * `TW_STATUS_NOT_FOUND` for an unknown root, `TW_STATUS_CANCELLED`.
 */
tw_status tw_warden_verify(const struct tw_warden *warden,
                           const struct tw_options *options,
                           const struct tw_scan_hooks *hooks,
                           size_t hooks_size,
                           struct tw_list **report,
                           struct tw_error **error);

/**
 * Makes something to stop scans and runs of mirrors with. Free it with `tw_cancel_free`. Any thread.
 */
tw_status tw_cancel_new(struct tw_cancel **cancel,
                        struct tw_error **error);

/**
 * Asks all scans and runs of mirrors that were given this to stop, at the next directory, file or block of a file, and
 * those that are given it later to stop at once. There is no way back. Never waits. Any thread, but not from a signal
 * handler.
 */
tw_status tw_cancel_cancel(struct tw_cancel *cancel,
                           struct tw_error **error);

/**
 * Frees it; what was given it goes on. NULL is allowed. Any thread.
 */
tw_status tw_cancel_free(struct tw_cancel *cancel, struct tw_error **error);

/**
 * Takes the state of all roots as the last commit left it. Any thread. Never waits: no lock, no system call. The
 * snapshot is freed with `tw_snapshot_free`.
 */
tw_status tw_warden_snapshot(const struct tw_warden *warden,
                             struct tw_snapshot **out,
                             struct tw_error **error);

/**
 * Frees a snapshot, and with it the views of its entries. Iterators, changes and streams made from it go on. NULL is
 * allowed. Any thread.
 */
tw_status tw_snapshot_free(struct tw_snapshot *snapshot,
                           struct tw_error **error);

/**
 * Gives the number of the commit that this is the state of. Any thread. Never waits.
 */
tw_status tw_snapshot_seq(const struct tw_snapshot *snapshot,
                          uint64_t *seq,
                          struct tw_error **error);

/**
 * Gives how many files and symlinks there are in all roots. Any thread. Never waits.
 */
tw_status tw_snapshot_len(const struct tw_snapshot *snapshot,
                          uint64_t *len,
                          struct tw_error **error);

/**
 * Lists the names of the roots in order: read them with `tw_list_text`, free the list with `tw_list_free`. Any thread.
 * Never waits.
 */
tw_status tw_snapshot_roots(const struct tw_snapshot *snapshot,
                            struct tw_list **out,
                            struct tw_error **error);

/**
 * Finds a file, directory or symlink by its address; the name of a root alone finds its directory. `entry_size` is
 * `sizeof(tw_entry)`. `path` of the entry is the address that was given, `target` lives as long as the snapshot. Any
 * thread. Never waits: no lock, no system call. `TW_STATUS_NOT_FOUND` when nothing is there, and for anything that is
 * not an address.
 */
tw_status tw_snapshot_get(const struct tw_snapshot *snapshot,
                          struct tw_bytes address,
                          struct tw_entry *entry,
                          size_t entry_size,
                          struct tw_error **error);

/**
 * Finds the tombstone of an entry that was there and is missing. All else is as with `tw_snapshot_get`. Any thread.
 * Never waits. `TW_STATUS_NOT_FOUND` when nothing of that address is missing.
 */
tw_status tw_snapshot_get_missing(const struct tw_snapshot *snapshot,
                                  struct tw_bytes address,
                                  struct tw_entry *entry,
                                  size_t entry_size,
                                  struct tw_error **error);

/**
 * Tells whether a file, directory or symlink has that address: 1 or 0. What is missing is not there. Any thread. Never
 * waits.
 */
tw_status tw_snapshot_contains(const struct tw_snapshot *snapshot,
                               struct tw_bytes address,
                               int32_t *is_there,
                               struct tw_error **error);

/**
 * Gives the totals below an address, at any depth in the time of one look-up. An empty address means all roots, a file
 * counts as one. `totals_size` is `sizeof(tw_totals)`. Any thread. Never waits. `TW_STATUS_NOT_FOUND` when nothing is
 * there.
 */
tw_status tw_snapshot_du(const struct tw_snapshot *snapshot,
                         struct tw_bytes address,
                         struct tw_totals *totals,
                         size_t totals_size,
                         struct tw_error **error);

/**
 * Begins a walk over the entries that pass a filter, in path order. `filter` are options of the kind
 * `TW_OPTIONS_FILTER`, and are not needed any more afterwards; NULL lets all files and symlinks of all roots through.
 * The iterator keeps what it needs of the snapshot, and is freed with `tw_iter_free`. Any thread. Never waits.
 * `TW_STATUS_INVALID_ARGUMENT` for options of another kind.
 */
tw_status tw_snapshot_iter(const struct tw_snapshot *snapshot,
                           const struct tw_options *filter,
                           struct tw_iter **out,
                           struct tw_error **error);

/**
 * Writes the next entries into `rows`, an array of `capacity` structs of `row_size` bytes, which is
 * `sizeof(tw_entry)`, and how many they are into `count`; 0 means the end. Some thousand rows at a time are the
 * fastest. Views in the rows live as long as the iterator, or until `tw_iter_clear`. One thread at a time. Never waits
 * for anything else: no system call.
 */
tw_status tw_iter_next(const struct tw_iter *iter,
                       struct tw_entry *rows,
                       size_t row_size,
                       size_t capacity,
                       size_t *count,
                       struct tw_error **error);

/**
 * Lets the views in all rows so far go, and their memory: for a walk over very many entries, between two calls of
 * `tw_iter_next`. One thread at a time. Never waits.
 */
tw_status tw_iter_clear(const struct tw_iter *iter,
                        struct tw_error **error);

/**
 * Frees an iterator, and with it the views in its rows; at the end or before. NULL is allowed. Any thread.
 */
tw_status tw_iter_free(struct tw_iter *iter,
                       struct tw_error **error);

/**
 * Gives the bytes of a value, which live as long as it. Any thread. Never waits.
 */
tw_status tw_value_bytes(const struct tw_value *value,
                         struct tw_bytes *bytes,
                         struct tw_error **error);

/**
 * Frees a value, and with it the view of its bytes. NULL is allowed. Any thread.
 */
tw_status tw_value_free(struct tw_value *value, struct tw_error **error);

/**
 * Gives the attributes of an entry, there or missing, in the order of their names: read them with `tw_list_pair`,
 * where `number` is 0, free the list with `tw_list_free`. Any thread. Reads the state file, never waits for a commit.
 * `TW_STATUS_NOT_FOUND` for an unknown entry, `TW_STATUS_INVALID_ARGUMENT` for something that is not an address.
 */
tw_status tw_warden_attrs(const struct tw_warden *warden,
                          struct tw_bytes address,
                          struct tw_list **out,
                          struct tw_error **error);

/**
 * Sets attributes of an entry in one commit: those that are named, while all others stay. `pairs` is an array of
 * `count` structs of `row_size` bytes, which is `sizeof(tw_pair)`: the name, which is UTF-8 text, in `key`; a `value`
 * whose `ptr` is NULL removes the attribute; `number` does not matter. Attributes follow the entry when it moves, and
 * go when it is forgotten; all of one entry take at most 64 KiB.
 *
 * Any thread. Waits until it is durable. `TW_STATUS_NOT_FOUND` for an unknown entry, `TW_STATUS_TOO_LARGE`,
 * `TW_STATUS_INVALID_ARGUMENT` for a bad name or something that is not an address.
 */
tw_status tw_warden_set_attrs(const struct tw_warden *warden,
                              struct tw_bytes address,
                              const struct tw_pair *pairs,
                              size_t row_size,
                              size_t count,
                              struct tw_error **error);

/**
 * Reads the value of a key in the space of that name, which is UTF-8 text. Read it with `tw_value_bytes`, free it with
 * `tw_value_free`. Any thread. Reads the state file, never waits for a commit. `TW_STATUS_NOT_FOUND` when the key is
 * not there, `TW_STATUS_INVALID_ARGUMENT` for a bad name or an empty key, `TW_STATUS_TOO_LARGE` for a key over 4 KiB.
 */
tw_status tw_space_get(const struct tw_warden *warden,
                       struct tw_bytes space,
                       struct tw_bytes key,
                       struct tw_value **out,
                       struct tw_error **error);

/**
 * Puts a value under a key. The space comes into being with its first key. Keys have 1 byte to 4 KiB, values up to 16
 * MiB, both are any bytes. Any thread. Waits until it is durable. `TW_STATUS_TOO_LARGE`, `TW_STATUS_INVALID_ARGUMENT`
 * for a bad name or an empty key.
 */
tw_status tw_space_put(const struct tw_warden *warden,
                       struct tw_bytes space,
                       struct tw_bytes key,
                       struct tw_bytes value,
                       struct tw_error **error);

/**
 * Deletes a key, and tells whether it was there: 1 or 0. Any thread. Waits until it is durable; a key that is not
 * there costs no commit. `TW_STATUS_INVALID_ARGUMENT` for a bad name or an empty key.
 */
tw_status tw_space_delete(const struct tw_warden *warden,
                          struct tw_bytes space,
                          struct tw_bytes key,
                          int32_t *was_there,
                          struct tw_error **error);

/**
 * Puts a value, or with a NULL `value` deletes the key, if it holds `expected`, or with a NULL `expected` if it is not
 * there. Both point to the bytes: a pointer to no bytes at all is an empty value, not none. Any thread. Waits until it
 * is durable. `TW_STATUS_CONFLICT` when the key holds anything else, and then nothing has changed; else as
 * `tw_space_put`.
 */
tw_status tw_space_compare_and_set(const struct tw_warden *warden,
                                   struct tw_bytes space,
                                   struct tw_bytes key,
                                   const struct tw_bytes *expected,
                                   const struct tw_bytes *value,
                                   struct tw_error **error);

/**
 * Lists the keys of a space that start with `prefix` and come after `after`, with their values, in byte order, `limit`
 * at most: read them with `tw_list_pair`, where `number` is 0, free the list with `tw_list_free`. An empty `prefix`
 * means all keys, an empty `after` from the first on; to go on, give the last key as `after`. Any thread. Reads the
 * state file, never waits for a commit. `TW_STATUS_INVALID_ARGUMENT` for a bad name.
 */
tw_status tw_space_items(const struct tw_warden *warden,
                         struct tw_bytes space,
                         struct tw_bytes prefix,
                         struct tw_bytes after,
                         size_t limit,
                         struct tw_list **out,
                         struct tw_error **error);

/**
 * Begins a batch. A step is a copy of what it is given, and is judged by `tw_batch_commit`; one that returns anything
 * but `TW_STATUS_OK` is not in the batch. Free it with `tw_batch_free`. Any thread. Never waits.
 */
tw_status tw_warden_batch(const struct tw_warden *warden,
                          struct tw_batch **out,
                          struct tw_error **error);

/**
 * Adds a step: puts a value under a key, as `tw_space_put`. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when
 * the batch has been committed.
 */
tw_status tw_batch_put(const struct tw_batch *batch,
                       struct tw_bytes space,
                       struct tw_bytes key,
                       struct tw_bytes value,
                       struct tw_error **error);

/**
 * Adds a step: deletes a key, there or not. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the batch has
 * been committed.
 */
tw_status tw_batch_delete(const struct tw_batch *batch,
                          struct tw_bytes space,
                          struct tw_bytes key,
                          struct tw_error **error);

/**
 * Adds a step: puts a value, or deletes the key, if it holds what is expected, as `tw_space_compare_and_set`; else the
 * whole batch is refused with `TW_STATUS_CONFLICT`. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the
 * batch has been committed.
 */
tw_status tw_batch_compare_and_set(const struct tw_batch *batch,
                                   struct tw_bytes space,
                                   struct tw_bytes key,
                                   const struct tw_bytes *expected,
                                   const struct tw_bytes *value,
                                   struct tw_error **error);

/**
 * Adds a step: sets an attribute of an entry. `name` is UTF-8 text. Any thread. Never waits.
 * `TW_STATUS_INVALID_ARGUMENT` when the batch has been committed.
 */
tw_status tw_batch_set_attr(const struct tw_batch *batch,
                            struct tw_bytes address,
                            struct tw_bytes name,
                            struct tw_bytes value,
                            struct tw_error **error);

/**
 * Adds a step: removes an attribute of an entry. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the batch
 * has been committed.
 */
tw_status tw_batch_remove_attr(const struct tw_batch *batch,
                               struct tw_bytes address,
                               struct tw_bytes name,
                               struct tw_error **error);

/**
 * Adds a step: acknowledges under the name `cursor`, which is UTF-8 text, up to the commit `seq`, as `tw_changes_ack`
 * does for `tw_changes_upto`. What was made of a delivery and its acknowledgement in one batch happen once, whatever
 * is killed when. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the batch has been committed.
 */
tw_status tw_batch_advance(const struct tw_batch *batch,
                           struct tw_bytes cursor,
                           uint64_t seq,
                           struct tw_error **error);

/**
 * Commits all steps at once, and gives the seq of the commit; without any step nothing is committed, and it is the
 * current one. Once: whether it succeeds or not, the batch is used up then. Any thread. Waits until it is durable.
 * After an error nothing of the batch has happened: the first step that was wrong (`TW_STATUS_INVALID_ARGUMENT`,
 * `TW_STATUS_TOO_LARGE`), `TW_STATUS_CONFLICT`, `TW_STATUS_NOT_FOUND`, and what the state file says. A second time it
 * is `TW_STATUS_INVALID_ARGUMENT`.
 */
tw_status tw_batch_commit(const struct tw_batch *batch,
                          uint64_t *seq,
                          struct tw_error **error);

/**
 * Frees a batch; one that was not committed never happens. NULL is allowed. Any thread.
 */
tw_status tw_batch_free(struct tw_batch *batch, struct tw_error **error);

/**
 * Gives the version of the interface that the library has; `TW_ABI_VERSION` is that of the header. Any thread.
 */
uint32_t tw_abi_version(void);

/**
 * Gives the version of the library, for example `0.1.0`: static memory, UTF-8, zero-terminated. Any thread.
 */
const char *tw_version(void);

/**
 * Tells the state of the engine at one glance. `info_size` is `sizeof(tw_status_info)`. Nothing is counted for it. Any
 * thread.
 */
tw_status tw_warden_status(const struct tw_warden *warden,
                           struct tw_status_info *info,
                           size_t info_size,
                           struct tw_error **error);

/**
 * Lists the newest operations, newest first, at most `limit` of them: rows for `tw_list_operation`. Free the list with
 * `tw_list_free`. Any thread.
 */
tw_status tw_warden_history(const struct tw_warden *warden,
                            size_t limit,
                            struct tw_list **operations,
                            struct tw_error **error);

/**
 * Lists the named cursors: rows for `tw_list_pair`, the name as `key` and the commit up to which it has come as
 * `number`. Free the list with `tw_list_free`. Any thread.
 */
tw_status tw_warden_cursors(const struct tw_warden *warden,
                            struct tw_list **cursors,
                            struct tw_error **error);

/**
 * Tells all that is known about one address, what is on disk under it now, and why. The list has one row for
 * `tw_list_explanation`; the reasons come by `tw_list_text`, the attributes with their sizes by `tw_list_pair`, and
 * the root by `tw_list_root`. Free it with `tw_list_free`. It looks at the disk. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for something that is not an address, `TW_STATUS_NOT_FOUND` for an unknown root.
 */
tw_status tw_warden_explain(const struct tw_warden *warden,
                            struct tw_bytes address,
                            struct tw_list **explanation,
                            struct tw_error **error);

/**
 * Opens the state file at `path`, or creates it with mode 0600, never through a symlink. Opening changes nothing on
 * disk. `options` are of the kind `TW_OPTIONS_OPEN`, or NULL for the defaults. The file is locked: a second opener, in
 * this process too, gets `TW_STATUS_BUSY`. Free the handle with `tw_warden_free`. Blocks while the file is read. Any
 * thread.
 *
 * `TW_STATUS_BUSY`, `TW_STATUS_NOT_FOUND` where the directory does not exist, or the file with
 * `TW_OPTION_OPEN_MUST_EXIST`, `TW_STATUS_NOT_A_STATE_FILE`, `TW_STATUS_NEWER_FORMAT`, `TW_STATUS_CORRUPT`,
 * `TW_STATUS_READ_ONLY`, `TW_STATUS_PERMISSION_DENIED`, `TW_STATUS_STORAGE_FULL`, `TW_STATUS_IO`.
 */
tw_status tw_warden_open(struct tw_bytes path,
                         const struct tw_options *options,
                         struct tw_warden **warden,
                         struct tw_error **error);

/**
 * Ends the engine for everything that was made from this handle: stops watching, wakes whoever waits, waits for
 * commits under way, cancels scans that the engine started, and refuses everything new with `TW_STATUS_CLOSED`.
 * Snapshots stay readable. The lock of the file is released, at the latest with the last `tw_changes` that is being
 * read. All handles stay valid and are to be freed. Closing twice does nothing. Blocks. Any thread, but not from a
 * callback of the library.
 *
 * Where it fails with `TW_DURABILITY_RELAXED`, the last commits could not be made durable.
 */
tw_status tw_warden_close(struct tw_warden *warden,
                          struct tw_error **error);

/**
 * Frees the handle. NULL is allowed. The state file is closed as `tw_warden_close` does it when nothing is left that
 * keeps it open: pipelines, mirrors, jobs, batches, followers and calls under way do. What may go wrong at the end is
 * not told: call `tw_warden_close` first to know. May block. Any thread, but not from a callback of the library.
 */
tw_status tw_warden_free(struct tw_warden *warden,
                         struct tw_error **error);

/**
 * Gives the number of the last commit. Never waits. Any thread.
 */
tw_status tw_warden_seq(const struct tw_warden *warden, uint64_t *seq, struct tw_error **error);

/**
 * Writes the present place in the journal as text, for `tw_warden_changes_since_token`: it knows the database that it
 * belongs to. `token` has room for `room` bytes, `TW_TOKEN_ROOM` are enough; a zero is put at the end. `*len` is the
 * length without it. Never waits. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` when there is not enough room; nothing is written then.
 */
tw_status tw_warden_token(const struct tw_warden *warden,
                          char *token,
                          size_t room,
                          size_t *len,
                          struct tw_error **error);

/**
 * Writes a name or path of strangers so that it can be shown: UTF-8 as it is, control characters and all other bytes
 * escaped, as in `a\nb\xff`. `text` has room for `room` bytes, four for each byte and one are enough; a zero is put at
 * the end. `*len` is the length without it. Any thread. Never waits.
 *
 * `TW_STATUS_INVALID_ARGUMENT` when there is not enough room; nothing is written then.
 */
tw_status tw_escape(struct tw_bytes bytes,
                    char *text,
                    size_t room,
                    size_t *len,
                    struct tw_error **error);

/**
 * Adds a directory tree as a root. Nothing is scanned yet. `name` is UTF-8, 1 to 255 bytes without `/` and control
 * characters: the first component of all addresses in it. `dir` is a path on this disk. `options` are of the kind
 * `TW_OPTIONS_ROOT`, or NULL for the defaults. Roots may lie inside one another: a path belongs to the most specific
 * of them. Blocks until it is durable. Any thread.
 *
 * `TW_STATUS_ALREADY_EXISTS` when the name or the directory is taken, `TW_STATUS_NOT_FOUND`,
 * `TW_STATUS_INVALID_ARGUMENT` for a bad name or something that is not a directory, `TW_STATUS_PERMISSION_DENIED`.
 */
tw_status tw_warden_add_root(const struct tw_warden *warden,
                             struct tw_bytes name,
                             struct tw_bytes dir,
                             const struct tw_options *options,
                             struct tw_error **error);

/**
 * Sets ignore rules, content hashes and comparison of a root, all of them; the next scan applies them. `options` are
 * of the kind `TW_OPTIONS_ROOT`, or NULL for the defaults. Blocks until it is durable. Any thread.
 *
 * `TW_STATUS_NOT_FOUND` for an unknown root.
 */
tw_status tw_warden_set_root_options(const struct tw_warden *warden,
                                     struct tw_bytes name,
                                     const struct tw_options *options,
                                     struct tw_error **error);

/**
 * Removes a root with everything known about it: entries, tombstones, attributes. The files themselves are not
 * touched. The journal says for each entry that it was forgotten. Blocks until it is durable. Any thread.
 *
 * `TW_STATUS_NOT_FOUND` for an unknown root.
 */
tw_status tw_warden_remove_root(const struct tw_warden *warden,
                                struct tw_bytes name,
                                struct tw_error **error);

/**
 * Says that the tree of a root lies in another directory now, or that a directory made anew under the old path is to
 * be taken for it. What is known of it stays. On another file system the next whole scan takes up the new inode
 * numbers silently: what has the same size and mtime is unchanged. Blocks until it is durable. Any thread.
 *
 * `TW_STATUS_NOT_FOUND` for an unknown root or directory; for the directory as `tw_warden_add_root`.
 */
tw_status tw_warden_move_root(const struct tw_warden *warden,
                              struct tw_bytes name,
                              struct tw_bytes dir,
                              struct tw_error **error);

/**
 * Lists the roots in order of their names: rows for `tw_list_root`. Free the list with `tw_list_free`. Any thread.
 */
tw_status tw_warden_roots(const struct tw_warden *warden,
                          struct tw_list **roots,
                          struct tw_error **error);

/**
 * Reads every row of the state file and checks it. Blocks for as long as that takes. Any thread.
 *
 * `TW_STATUS_CORRUPT` when one is damaged: `tw_rebuild` saves what can be read.
 */
tw_status tw_warden_check(const struct tw_warden *warden, struct tw_error **error);

/**
 * Rewrites the state file without its free space, where that makes it smaller, and gives its sizes before and after,
 * in bytes. It needs room for a second copy. Commits wait meanwhile, readers do not. Blocks. Any thread.
 *
 * `TW_STATUS_STORAGE_FULL`, `TW_STATUS_READ_ONLY`, `TW_STATUS_IO`; the old file stays in place.
 */
tw_status tw_warden_compact(const struct tw_warden *warden,
                            uint64_t *before_bytes,
                            uint64_t *after_bytes,
                            struct tw_error **error);

/**
 * Applies the retention of tombstones, journal and history now; every scan that commits does so too. `*forgotten` says
 * how many files and symlinks were forgotten. Blocks until it is durable. Any thread. `TW_STATUS_READ_ONLY`.
 */
tw_status tw_warden_maintain(const struct tw_warden *warden,
                             uint64_t *forgotten,
                             struct tw_error **error);

/**
 * Salvages a damaged state file that nobody has open: what can be read goes into a new file under the same name, and
 * the damaged one is kept beside it as `NAME.damaged-N`. The list has one row for `tw_list_rebuild`; free it with
 * `tw_list_free`. Consumers of the journal get `TW_STATUS_RESET`. Scan afterwards: the trees are the truth. Blocks.
 * Any thread.
 *
 * `TW_STATUS_BUSY`, `TW_STATUS_NOT_FOUND`, `TW_STATUS_NOT_A_STATE_FILE`, `TW_STATUS_STORAGE_FULL`, `TW_STATUS_IO`.
 */
tw_status tw_rebuild(struct tw_bytes path,
                     struct tw_list **report,
                     struct tw_error **error);

/**
 * Moves a manual clock forward, for tests. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` for a negative time, and where `TW_OPTION_OPEN_MANUAL_CLOCK_NS` was not set.
 */
tw_status tw_warden_clock_advance_ms(const struct tw_warden *warden,
                                     int64_t ms,
                                     struct tw_error **error);

/**
 * Sets a manual clock, backwards too, to nanoseconds since 1970 UTC, for tests. Any thread.
 *
 * `TW_STATUS_INVALID_ARGUMENT` where `TW_OPTION_OPEN_MANUAL_CLOCK_NS` was not set.
 */
tw_status tw_warden_clock_set_ns(const struct tw_warden *warden,
                                 int64_t now_ns,
                                 struct tw_error **error);

/**
 * Starts `threads` (1 to 1,024) threads that run `callback` over the jobs of a pipeline as they become due, until
 * `tw_workers_stop`. The first call may come before this function has returned. Where the pipeline has a rate, a job
 * comes when it may begin. What could not be recorded is in the log.
 *
 * `*workers` is the caller's, to be freed with `tw_workers_free`. `finalizer` is called once with `user_data` after
 * the last callback, when that is called; also when this function fails. The callback may call any function but
 * `tw_workers_stop` and `tw_workers_free` with its own workers.
 *
 * Any thread. `TW_STATUS_INVALID_ARGUMENT` without a callback and for a number of threads that makes no sense,
 * `TW_STATUS_IO` when a thread cannot be started.
 */
tw_status tw_pipeline_work(const struct tw_pipeline *pipeline,
                           size_t threads,
                           tw_worker_fn callback,
                           void *user_data,
                           tw_finalizer finalizer,
                           struct tw_workers **workers,
                           struct tw_error **error);

/**
 * Ends the threads: no new jobs are taken, those in hand are worked on to their end. A second time it does nothing.
 *
 * Blocks for as long as callbacks under way take; hold no lock that they wait for. Any thread but those of the
 * workers: from the callback it is `TW_STATUS_INVALID_ARGUMENT`, and nothing happens.
 */
tw_status tw_workers_stop(const struct tw_workers *workers,
                          struct tw_error **error);

/**
 * Gives how many jobs the callback has ended as done, and how many as failed or put off. They are counted when it
 * returns; what could not be recorded is in the log. Never waits. Any thread, the callback included.
 */
tw_status tw_workers_counts(const struct tw_workers *workers,
                            uint64_t *done,
                            uint64_t *failed,
                            struct tw_error **error);

/**
 * Stops the threads, as `tw_workers_stop` does, calls the finalizer, and frees the handle. NULL is allowed. Blocks
 * and fails as that.
 */
tw_status tw_workers_free(struct tw_workers *workers,
                          struct tw_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TREEWARDEN_H */

#ifndef TREEWARDEN_STR
#define TREEWARDEN_STR
/* A view of a zero-terminated string. */
#ifdef __cplusplus
inline tw_bytes tw_str(const char *text)
#else
static inline tw_bytes tw_str(const char *text)
#endif
{
    tw_bytes bytes;
    size_t len = 0;
    while (text != NULL && text[len] != '\0') {
        ++len;
    }
    bytes.ptr = (const uint8_t *)text;
    bytes.len = len;
    return bytes;
}
#endif /* TREEWARDEN_STR */
