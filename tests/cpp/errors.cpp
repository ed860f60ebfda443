/// What goes wrong: exceptions with code and path, exceptions of lambdas, owners that were moved from.

#include "check.hpp"

#include <mutex>
#include <type_traits>
#include <vector>

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using namespace std::chrono_literals;

namespace {

template <class Owner>
constexpr bool one_can_be_moved_only =
    std::is_nothrow_move_constructible_v<Owner> && std::is_nothrow_move_assignable_v<Owner> &&
    !std::is_copy_constructible_v<Owner> && !std::is_copy_assignable_v<Owner>;
template <class... Owners>
constexpr bool can_be_moved_only = (one_can_be_moved_only<Owners> && ...);
static_assert(can_be_moved_only<tw::Warden, tw::Snapshot, tw::Entries, tw::Changes, tw::Delivery, tw::Follow>);
static_assert(can_be_moved_only<tw::Listener, tw::Events, tw::Batch, tw::Pipeline, tw::Jobs, tw::Workers>);
static_assert(can_be_moved_only<tw::Limiter, tw::Permit, tw::CancelToken, tw::ArrowStream>);
static_assert(std::is_nothrow_copy_constructible_v<tw::Error> && std::is_copy_constructible_v<tw::Filter>);

void an_error_tells_what_and_where() {
    const Folder folder;
    const check::fs::path nowhere = folder.tree() / "none" / "state.tw";
    const auto not_found = check::error_of([&] { const tw::Warden warden(nowhere); });
    CHECK(not_found && not_found->code() == Code::NotFound && not_found->path() == nowhere.native());
    CHECK(not_found && std::string(name(not_found->code())) == "not_found" && *not_found->what() != '\0');
    CHECK(not_found && !not_found->restart_seq());
    const tw::Error copy = *not_found;
    CHECK(copy.path() == not_found->path() && copy.what() == std::string(not_found->what()));

    folder.write("text", "this is no state file, and it is long enough to be looked at");
    CHECK_ERROR(Code::NotAStateFile, tw::Warden(folder.tree() / "text"));
    CHECK_ERROR(Code::NotFound, tw::Warden(folder.state(), tw::OpenOptions().must_exist()));

    const tw::Warden warden(folder.state(), tw::OpenOptions().durability(tw::Durability::Relaxed).threads(2));
    CHECK_ERROR(Code::Busy, tw::Warden(folder.state()));
    warden.add_root("tree", folder.tree());
    CHECK_ERROR(Code::AlreadyExists, warden.add_root("tree", folder.tree()));
    CHECK_ERROR(Code::InvalidArgument, warden.add_root("a/b", folder.tree()));
    CHECK_ERROR(Code::NotFound, warden.scan("none"));
    CHECK_ERROR(Code::InvalidArgument, warden.scan("tree/../x"));
    CHECK_ERROR(Code::InvalidArgument, warden.scan(tw::ScanOptions().threads(1000)));
    CHECK_ERROR(Code::InvalidArgument, warden.snapshot().entries(tw::Filter().glob("[")));
    CHECK_ERROR(Code::InvalidArgument, warden.clock_set(tw::Time()));
    CHECK_ERROR(Code::InvalidArgument, warden.pause());
    const std::string bytes = "\xff";
    CHECK_ERROR(Code::InvalidArgument, warden.follow(bytes));
}

void options_are_all_taken() {
    const Folder folder;
    folder.write("a", "x");
    auto open = tw::OpenOptions().cache_bytes(1 << 20).journal_keep(24h).journal_keep_bytes_max(1 << 20);
    open.tombstone_keep(24h).history_keep_max(10).must_exist(false).read_only(false);
    const tw::Warden warden(folder.state(), open);
    warden.add_root("tree", folder.tree(), tw::RootOptions().ignore_junk().compare(tw::Compare::SizeMtime));
    auto scan = tw::ScanOptions().target("tree").mode(tw::ScanMode::Full).walker(tw::Walker::Jwalk).threads(1);
    const auto reports = warden.scan(scan.publish(tw::Publish::Progressive));
    CHECK(reports.size() == 1 && reports.at(0).added == 1 && reports.at(0).mode == tw::ScanMode::Full);
    CHECK(warden.roots().at(0).compare_asked == tw::Compare::SizeMtime);
}

void a_scan_can_be_watched_and_cancelled() {
    const Folder folder;
    for (int index = 0; index < 3000; ++index) {
        folder.write("d" + std::to_string(index % 100) + "/f" + std::to_string(index), "x");
    }
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree(), tw::RootOptions().content_hash(tw::ContentHash::Changed));

    const tw::CancelToken cancelled;
    cancelled.cancel();
    CHECK(warden.scan({}, cancelled).at(0).is_cancelled && warden.snapshot().size() == 0);
    CHECK_ERROR(Code::Cancelled, warden.verify({}, cancelled));

    // A scan calls back about ten times a second: this one may be too fast for a second call, not for a first.
    int calls = 0;
    const auto wrong = [&](const tw::Progress &progress) {
        ++calls;
        CHECK(progress.root == "tree");
        throw std::logic_error("enough");
    };
    try {
        warden.scan({}, wrong);
        CHECK(calls == 0);
    } catch (const std::logic_error &error) {
        CHECK(calls == 1 && error.what() == std::string("enough"));
    }
    std::uint64_t files = 0;
    const tw::CancelToken token;
    warden.scan({}, [&](const tw::Progress &progress) { files = std::max(files, progress.files); }, token);
    CHECK(warden.snapshot().size() == 3000 && files <= 3000);
    CHECK(warden.verify({}, [](const tw::Progress &) {}).differences_total == 0);
    CHECK(warden.verify({}, [](const tw::Progress &) {}, token).checked == 3000);
}

void owners_that_were_moved_from_are_inert() {
    const Folder folder;
    folder.write("a", "x");
    tw::Warden first(folder.state());
    tw::Warden warden = std::move(first);
    CHECK(first.handle() == nullptr && warden.handle() != nullptr);
    CHECK_ERROR(Code::InvalidHandle, first.seq());
    CHECK_ERROR(Code::InvalidHandle, first.scan());
    warden.add_root("tree", folder.tree());
    warden.scan();

    tw::Snapshot snapshot = warden.snapshot();
    tw::Snapshot other = std::move(snapshot);
    CHECK_ERROR(Code::InvalidHandle, snapshot.get("tree/a"));
    CHECK_ERROR(Code::InvalidHandle, snapshot.entries());
    snapshot = warden.snapshot();
    CHECK(snapshot.contains("tree/a") && other.contains("tree/a"));
    auto &same = snapshot;
    snapshot = std::move(same);
    CHECK(snapshot.contains("tree/a"));

    tw::Entries entries = other.entries();
    tw::Entries rest = std::move(entries);
    CHECK_ERROR(Code::InvalidHandle, entries.begin());
    CHECK(rest.all().size() == 1 && entries.handle() == nullptr);
    tw::Changes changes = warden.changes(0);
    const tw::Changes moved = std::move(changes);
    CHECK_ERROR(Code::InvalidHandle, changes.last_seq());
    CHECK_ERROR(Code::InvalidHandle, changes.files_only());
    CHECK_ERROR(Code::InvalidHandle, changes.all());

    tw::Events events = warden.subscribe();
    const tw::Events moved_events = std::move(events);
    CHECK_ERROR(Code::InvalidHandle, events.next(0ms));
    CHECK_ERROR(Code::InvalidHandle, events.descriptor());
    CHECK(!moved_events.next(0ms));

    const tw::Pipeline pipeline = warden.pipeline("all", tw::PipelineOptions().settle(0ms));
    tw::Jobs jobs = pipeline.claim(1);
    const tw::Jobs moved_jobs = std::move(jobs);
    CHECK(jobs.empty() && moved_jobs.size() == 1 && moved_jobs[0].path() == "tree/a");
    moved_jobs[0].complete();
    CHECK_ERROR(Code::InvalidHandle, jobs.complete_all());

    tw::Listener listener = warden.listen([](const tw::Event &) {});
    const tw::Listener moved_listener = std::move(listener);
    CHECK_ERROR(Code::InvalidHandle, listener.status());
    listener.stop();
    CHECK(moved_listener.status() == Code::Ok);

    const tw::Space space = warden.space("settings");
    warden.close();
    CHECK_ERROR(Code::Closed, space.put("k", "v"));
    CHECK(other.contains("tree/a"));
}

void what_belongs_to_an_owner_that_is_gone_says_so() {
    const Folder folder;
    folder.write("a", "x");
    std::optional<tw::Warden> warden(folder.state());
    warden->add_root("tree", folder.tree());
    warden->scan();
    const tw::Snapshot snapshot = warden->snapshot();
    tw::Entries entries = snapshot.entries();
    const tw::Space space = warden->space("settings");
    const tw::Pipeline pipeline = warden->pipeline("all", tw::PipelineOptions().settle(0ms));
    std::optional<tw::Jobs> jobs = pipeline.claim(1);
    const tw::Job job = (*jobs)[0];
    jobs.reset();
    CHECK_ERROR(Code::InvalidHandle, job.complete());
    // A pipeline keeps the warden open, a space does not.
    warden.reset();
    CHECK(pipeline.status().new_items == 1 && snapshot.contains("tree/a") && entries.all().size() == 1);
    CHECK_ERROR(Code::InvalidHandle, space.get("k"));
}

void a_callback_is_let_go_when_it_is_refused() {
    const Folder folder;
    const auto alive = std::make_shared<int>(0);
    tw::Warden warden(folder.state());
    const tw::Warden moved = std::move(warden);
    CHECK_ERROR(Code::InvalidHandle, warden.listen([alive](const tw::Event &) {}));
    const tw::Pipeline pipeline = moved.pipeline("all", tw::PipelineOptions());
    CHECK_ERROR(Code::InvalidArgument, pipeline.work(0, [alive](tw::WorkerJob &) {}));
    CHECK(alive.use_count() == 1);
}

void the_log_comes_to_a_lambda() {
    const Folder folder;
    folder.write("a", "x");
    std::mutex mutex;
    std::vector<std::string> lines;
    const auto alive = std::make_shared<int>(0);
    tw::set_log(tw::LogLevel::Trace, [&, alive](tw::LogLevel level, std::string_view line) {
        const std::lock_guard<std::mutex> lock(mutex);
        CHECK(level >= tw::LogLevel::Error && level <= tw::LogLevel::Trace);
        lines.emplace_back(line);
        throw std::runtime_error("nobody hears it");
    });
    const auto bad = [](std::string_view) -> std::optional<std::string> { throw std::runtime_error("no key"); };
    {
        const tw::Warden warden(folder.state());
        warden.add_root("tree", folder.tree());
        warden.scan();
        const auto options = tw::PipelineOptions().settle(0ms).group("bad", bad);
        CHECK(warden.pipeline("all", options).claim(1).empty());
    }
    tw::set_log_off();
    CHECK(check::soon([&] { return alive.use_count() == 1; }));
    const std::lock_guard<std::mutex> lock(mutex);
    CHECK(!lines.empty());
}

}  // namespace

int main() {
    return check::run(an_error_tells_what_and_where, options_are_all_taken, a_scan_can_be_watched_and_cancelled,
                      owners_that_were_moved_from_are_inert, what_belongs_to_an_owner_that_is_gone_says_so,
                      a_callback_is_let_go_when_it_is_refused, the_log_comes_to_a_lambda);
}
