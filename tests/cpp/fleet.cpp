/// Fleets: a limit for all, one leader, a journal that arrives once; waits that end, and what is gone before what was
/// made from it. Against the real Redis of TREEWARDEN_TEST_REDIS, which run.py starts.

#include "check.hpp"

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using Renewal = tw::Lease::Renewal;
using namespace std::chrono_literals;

namespace {

std::string redis_url() {
    const char *url = std::getenv("TREEWARDEN_TEST_REDIS");
    if (url == nullptr || *url == '\0') {
        throw std::runtime_error("TREEWARDEN_TEST_REDIS is not set: run.py starts a Redis and sets it");
    }
    return url;
}

/// Keys of this process alone; to each prefix Redis is new.
tw::Fleet connect(const std::string &part) {
    const std::string prefix = "cpp-" + std::to_string(::getpid()) + "-" + part;
    return tw::Fleet(redis_url(), tw::FleetOptions().prefix(prefix).connect_timeout(20s).command_timeout(20s));
}

/// A root with two files, scanned.
struct Scanned {
    Folder folder;
    tw::Warden warden;

    Scanned() : warden(folder.state()) {
        folder.write("a.txt", "one");
        folder.write("b.txt", "three");
        warden.add_root("tree", folder.tree());
        warden.scan();
    }
};

/// A thread that waits, until something ends that.
template <class Wait, class End>
void check_ends(Wait wait, End end) {
    std::atomic<bool> is_over{false};
    std::thread thread([&] {
        try {
            wait();
        } catch (const tw::Error &error) {
            check::fail(__FILE__, __LINE__, error.what());
        }
        is_over = true;
    });
    std::this_thread::sleep_for(100ms);
    CHECK(!is_over);
    end();
    thread.join();
}

void what_is_no_redis_is_refused() {
    connect("ping").ping();
    CHECK_ERROR(Code::InvalidArgument, tw::Fleet("http://user:hush@host"));
    CHECK_ERROR(Code::InvalidArgument, tw::Fleet(redis_url(), tw::FleetOptions().prefix("a/b")));
    CHECK_ERROR(Code::InvalidArgument, tw::Fleet(redis_url(), tw::FleetOptions().command_timeout(0ms)));
    CHECK_ERROR(Code::Unsupported, tw::Fleet("rediss://user:hush@host"));
    const auto away = check::error_of([] { tw::Fleet("redis://user:hush@127.0.0.1:1"); });
    CHECK(away && away->code() == Code::Unavailable);
    CHECK(std::string(away->what()).find("hush") == std::string::npos);

    const tw::Fleet later("redis://127.0.0.1:1", tw::FleetOptions().later());
    CHECK_ERROR(Code::Unavailable, later.ping());
    const tw::SharedLimiter limiter = later.limiter("api", tw::LimiterOptions(5, 1s));
    CHECK(!limiter.waiting());
    CHECK_ERROR(Code::Unavailable, limiter.try_acquire());
    CHECK(!limiter.acquire(10ms) && limiter.waiting()->find("cannot be reached") != std::string::npos);
    CHECK_ERROR(Code::Unavailable, later.lease("scan", 1s).acquire(0ms));
    CHECK_ERROR(Code::Unavailable, later.consumer("s", "g", "one").next(0ms));
    CHECK_ERROR(Code::InvalidArgument, later.limiter("api", tw::LimiterOptions(5, 1s).floor_permille(500)));
    CHECK_ERROR(Code::InvalidArgument, later.limiter("api", tw::LimiterOptions(5, 1s), 0ms));
    CHECK_ERROR(Code::InvalidArgument, later.lease("scan", 1ms));
}

void one_limit_holds_for_all() {
    const tw::Fleet fleet = connect("limit"), other = connect("limit");
    const auto rate = tw::LimiterOptions(2, 1s).pacing(false);
    const tw::SharedLimiter here = fleet.limiter("api", rate, 2s), there = other.limiter("api", rate, 2s);
    auto first = here.acquire(60s);
    auto second = there.acquire(60s);
    CHECK(first && second && first->left() <= 2s && !here.waiting());
    CHECK(!here.try_acquire() && here.waiting()->find("all 2 permits") != std::string::npos);
    first->unused();
    CHECK(first->left() == 0ms);
    CHECK_ERROR(Code::InvalidArgument, first->done());
    auto third = here.acquire(60s);
    CHECK(third.has_value());
    third->throttled(1h);
    CHECK(!there.acquire(0ms) && there.waiting()->find("pause") != std::string::npos);
    second->done();

    const tw::SharedLimiter odd = fleet.limiter("api", tw::LimiterOptions(3, 1s).pacing(false), 2s);
    CHECK_ERROR(Code::InvalidArgument, odd.try_acquire());
    odd.enforce();
    CHECK_ERROR(Code::InvalidArgument, here.try_acquire());
    odd.throttled();
}

void there_is_one_leader_and_tokens_rise() {
    const tw::Fleet fleet = connect("lease");
    const tw::Lease lease = fleet.lease("scan", 2s);
    std::uint64_t token = 0;
    {
        auto leader = lease.acquire(60s, Renewal::ByThread);
        CHECK(leader && leader->is_valid() && !lease.acquire(0ms));
        token = leader->token();
        leader->renew();
        std::this_thread::sleep_for(2500ms);
        CHECK(leader->is_valid());
    }
    // Its end has given it back.
    auto leader = lease.acquire(0ms);
    CHECK(leader && leader->token() > token);
    leader->release();
    leader->release();
    CHECK(!leader->is_valid());
    CHECK_ERROR(Code::LeaseLost, leader->renew());
    const tw::Leader moved = std::move(*leader);
    CHECK_ERROR(Code::InvalidHandle, leader->token());
    const Scanned scanned;
    CHECK_ERROR(Code::LeaseLost, fleet.publisher("s", scanned.warden, moved));
    CHECK_ERROR(Code::InvalidHandle, fleet.publisher("s", scanned.warden, *leader));
}

void a_journal_arrives_once() {
    const Scanned scanned;
    tw::Fleet fleet = connect("journal");
    const tw::Publisher publisher = fleet.publisher("s", scanned.warden, tw::PublisherOptions().root("tree"));
    const tw::Consumer consumer = fleet.consumer("s", "g", "one");
    const tw::Consumer heir = fleet.consumer("s", "g", "two", tw::ConsumerOptions().takeover_after(1ms));
    { const tw::Fleet gone = std::move(fleet); }
    const std::vector<tw::Change> journal = scanned.warden.changes(0).all();
    CHECK(publisher.publish() == journal.size() && publisher.publish() == 0);
    auto items = consumer.next(60s);
    CHECK(items && items->size() == journal.size() && journal.size() >= 2);
    std::size_t at = 0;
    for (const tw::StreamItem &item : *items) {
        const tw::Change &change = journal.at(at++);
        CHECK(item.change && item.seq == change.seq && item.part > 0 && item.database.size() == 32);
        CHECK(item.change->path == change.path && item.change->kind == change.kind && item.change->id == change.id);
        CHECK(item.change->root == "tree" && item.change->from == change.from && !item.stream_id.empty());
    }
    CHECK(consumer.ack(*items, 0) && !consumer.ack(*items, 0));
    const auto taken_over = heir.next(60s);
    CHECK(taken_over && taken_over->size() == journal.size() - 1);
    CHECK(taken_over->at(0).stream_id == items->at(1).stream_id);
    CHECK(heir.ack(*taken_over) == journal.size() - 1 && consumer.ack(*items) == 0);
    CHECK(!consumer.next(0ms) && !consumer.accept_reset());

    scanned.folder.move("a.txt", "moved.txt");
    scanned.warden.scan();
    CHECK(publisher.publish() >= 1);
    items = consumer.next(60s);
    CHECK(items && items->at(0).change && items->at(0).change->kind == tw::ChangeKind::Moved);
    CHECK(items->at(0).change->from == "tree/a.txt" && items->at(0).change->path == "tree/moved.txt");
}

void what_does_not_continue_is_told() {
    const Scanned one, other;
    const tw::Fleet fleet = connect("reset");
    const tw::Consumer consumer = fleet.consumer("s", "g", "one");
    CHECK(fleet.publisher("s", one.warden).publish() >= 2);
    CHECK(consumer.ack(*consumer.next(60s)) >= 2);
    const tw::Publisher publisher = fleet.publisher("s", other.warden, tw::PublisherOptions().entries_max(1));
    CHECK(publisher.publish() == 1);
    const auto items = consumer.next(60s);
    CHECK(items && items->size() == 1 && !items->at(0).change && items->at(0).part == 0);
    CHECK(consumer.ack(*items) == 1);
    for (int i = 0; i < 400; ++i) {
        other.folder.write("file-" + std::to_string(i), "x");
    }
    other.warden.scan();
    while (publisher.publish() > 0) {
    }
    CHECK_ERROR(Code::Reset, consumer.next(60s));
    CHECK(consumer.accept_reset() && !consumer.accept_reset());
    CHECK(consumer.next(60s)->at(0).change.has_value());
}

void waits_are_interrupted() {
    const Scanned scanned;
    const tw::Fleet fleet = connect("waits");
    const tw::SharedLimiter limiter = fleet.limiter("api", tw::LimiterOptions(1, 1h));
    const tw::Lease lease = fleet.lease("scan", 1h);
    const tw::Consumer consumer = fleet.consumer("s", "g", "one");
    const tw::Publisher publisher = fleet.publisher("s", scanned.warden, tw::PublisherOptions().root("none"));
    check_ends([&] { CHECK(!limiter.acquire()); }, [&] { limiter.interrupt(); });
    check_ends([&] { CHECK(!lease.acquire()); }, [&] { lease.interrupt(); });
    check_ends([&] { CHECK(!consumer.next()); }, [&] { consumer.interrupt(); });
    check_ends([&] { publisher.run(); }, [&] { publisher.stop(); });
    publisher.stop();
    publisher.run();
    limiter.interrupt();
    CHECK(!limiter.acquire());
}

}  // namespace

int main() {
    return check::run(what_is_no_redis_is_refused, one_limit_holds_for_all, there_is_one_leader_and_tokens_rise,
                      a_journal_arrives_once, what_does_not_continue_is_told, waits_are_interrupted);
}
