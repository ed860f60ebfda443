/// Watching: changes that come by themselves, events by queue, descriptor and callback, pauses.

#include "check.hpp"

#include <poll.h>

#include <mutex>
#include <vector>

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using namespace std::chrono_literals;

namespace {

tw::WatchOptions quickly() {
    return tw::WatchOptions().all_roots(tw::RootWatchOptions().preset(tw::Preset::Small).debounce(5ms).max_wait(50ms));
}

/// A root that is watched, and has been scanned.
struct Watched {
    Folder folder;
    tw::Warden warden;

    Watched() : warden(folder.state()) {
        folder.write("a", "x");
        warden.add_root("tree", folder.tree());
        warden.watch(quickly());
        warden.sync(10s);
    }
};

bool is_readable(int fd, int timeout_ms) {
    pollfd waiting{fd, POLLIN, 0};
    return poll(&waiting, 1, timeout_ms) == 1;
}

void what_is_written_is_in_the_snapshot_after_a_sync() {
    const Watched watched;
    CHECK(watched.warden.is_watching() && watched.warden.snapshot().contains("tree/a"));
    watched.folder.write("sub/b", "x");
    const std::uint64_t seq = watched.warden.sync(10s);
    CHECK(watched.warden.snapshot().contains("tree/sub/b") && watched.warden.seq() >= seq);

    const tw::Status status = watched.warden.status();
    CHECK(status.is_watching && status.watched_roots == 1 && !status.is_paused);
    const auto roots = watched.warden.roots();
    CHECK(roots.at(0).live && roots.at(0).live->coverage == status.coverage);

    watched.warden.unwatch();
    CHECK(!watched.warden.is_watching());
    CHECK_ERROR(Code::InvalidArgument, watched.warden.sync(1s));
}

void events_tell_of_commits() {
    const Watched watched;
    const tw::Events events = watched.warden.subscribe();
    watched.folder.write("b", "x");
    CHECK(is_readable(events.descriptor(), 10000));
    bool has_committed = false;
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!has_committed && std::chrono::steady_clock::now() < end) {
        const auto event = events.next(1s);
        has_committed = event && event->kind == tw::EventKind::Committed && event->added == 1;
        if (has_committed) {
            CHECK(event->last_seq >= event->first_seq && event->first_seq > 0 && !event->operation);
        }
    }
    CHECK(has_committed);
    while (events.next(0ms)) {
    }
    CHECK(!is_readable(events.descriptor(), 0));
}

void a_scan_is_told_from_its_beginning_to_its_end() {
    const Folder folder;
    folder.write("a", "x");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    const tw::Events events = warden.subscribe(16);
    warden.scan();
    std::vector<tw::Event> told;
    while (auto event = events.next(0ms)) {
        told.push_back(std::move(*event));
    }
    CHECK(told.size() >= 3 && told.front().kind == tw::EventKind::ScanStarted && told.front().root == "tree");
    CHECK(told.front().operation == tw::OperationKind::Quick && !told.front().operation_status);
    CHECK(told.back().kind == tw::EventKind::ScanFinished && told.back().added == 1);
    CHECK(told.back().operation_status == tw::OperationStatus::Ok && told.back().seq == warden.seq());
}

void a_wait_for_an_event_can_be_ended() {
    Watched watched;
    tw::Events events = watched.warden.subscribe();
    std::thread interrupting([&] { events.interrupt(); });
    CHECK(!events.next());
    interrupting.join();

    std::thread closing([&] { watched.warden.close(); });
    try {
        while (true) {
            events.next();
        }
    } catch (const tw::Error &error) {
        CHECK(error.code() == Code::Closed);
    }
    closing.join();
    CHECK_ERROR(Code::Closed, watched.warden.watch());
}

void each_event_goes_to_one_of_several_threads() {
    const Folder folder;
    const tw::Warden warden(folder.state());
    const tw::Events events = warden.subscribe();
    std::atomic<int> commits{0};
    std::atomic<bool> is_over{false};
    std::vector<std::thread> threads;
    for (int index = 0; index < 4; ++index) {
        threads.emplace_back([&] {
            while (!is_over) {
                const auto event = events.next(20ms);
                if (event && event->kind == tw::EventKind::ScanFinished && event->root == "tree") {
                    ++commits;
                }
            }
        });
    }
    folder.write("a", "x");
    warden.add_root("tree", folder.tree());
    for (int index = 0; index < 20; ++index) {
        folder.write("f" + std::to_string(index), "x");
        warden.scan();
    }
    CHECK(check::soon([&] { return commits == 20; }));
    is_over = true;
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(commits == 20);
}

void a_lambda_hears_of_events() {
    const Watched watched;
    std::atomic<int> commits{0};
    const auto alive = std::make_shared<int>(0);
    {
        tw::Listener first = watched.warden.listen([&, alive](const tw::Event &event) {
            if (event.kind == tw::EventKind::Committed) {
                ++commits;
                throw std::runtime_error("heard");
            }
        });
        watched.folder.write("b", "x");
        CHECK(check::soon([&] { return commits == 1; }));
        // An exception ends nothing: it is kept.
        tw::Listener moved = std::move(first);
        watched.folder.write("c", "x");
        CHECK(check::soon([&] { return commits == 2; }));
        CHECK(moved.status() == Code::Ok && moved.exception() != nullptr && first.exception() == nullptr);
    }
    CHECK(alive.use_count() == 1);
}

void a_pause_holds_and_a_resume_makes_up() {
    const Watched watched;
    watched.warden.pause();
    watched.folder.write("b", "x");
    CHECK_ERROR(Code::Unavailable, watched.warden.sync(1s));
    CHECK(watched.warden.status().is_paused && !watched.warden.snapshot().contains("tree/b"));
    watched.warden.resume();
    watched.warden.sync(10s);
    CHECK(watched.warden.snapshot().contains("tree/b"));
}

void options_of_watching_are_taken_and_checked() {
    const Folder folder;
    folder.write("a", "x");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    const auto polled = tw::RootWatchOptions().mode(tw::WatchMode::Poll).poll(100ms).debounce(1ms);
    warden.watch(tw::WatchOptions().root("tree", polled).scan_threads(1).yields(false).nice(1).watches_max(10));
    warden.sync(10s);
    const auto live = warden.roots().at(0).live;
    CHECK(live && live->mode == tw::WatchMode::Poll && live->coverage == tw::Coverage::Polling);
    folder.write("b", "x");
    CHECK(check::soon([&] { return warden.snapshot().contains("tree/b"); }));

    const auto scheduled = tw::RootWatchOptions().quick("15m").full("0 3 * * *").reconcile("");
    warden.watch(tw::WatchOptions().root("tree", scheduled).backend(tw::Backend::Auto));
    warden.sync(10s);
    const auto now = warden.roots().at(0).live;
    CHECK(now && now->next_quick && now->next_full && !now->next_reconcile);
    CHECK_ERROR(Code::NotFound, warden.watch(tw::WatchOptions().root("none")));
    const auto backwards = tw::RootWatchOptions().debounce(10s).max_wait(1s);
    CHECK_ERROR(Code::InvalidArgument, warden.watch(tw::WatchOptions().all_roots(backwards)));
    const auto soon = tw::RootWatchOptions().quick("soon");
    CHECK_ERROR(Code::InvalidArgument, warden.watch(tw::WatchOptions().root("tree", soon)));
}

void a_follower_hears_of_what_is_written() {
    const Watched watched;
    tw::Follow follow = watched.warden.follow("indexer");
    while (auto delivery = follow.next(0ms)) {
        delivery->ack();
    }
    watched.folder.write("b", "x");
    CHECK(is_readable(follow.descriptor(), 10000));
    auto delivery = follow.next(10s);
    CHECK(delivery && delivery->files_only().all().at(0).path == "tree/b");
}

}  // namespace

int main() {
    return check::run(what_is_written_is_in_the_snapshot_after_a_sync, events_tell_of_commits,
                      a_scan_is_told_from_its_beginning_to_its_end, a_wait_for_an_event_can_be_ended,
                      each_event_goes_to_one_of_several_threads, a_lambda_hears_of_events,
                      a_pause_holds_and_a_resume_makes_up, options_of_watching_are_taken_and_checked,
                      a_follower_hears_of_what_is_written);
}
