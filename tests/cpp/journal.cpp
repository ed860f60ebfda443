/// The journal and what programs keep: changes, durable names, deliveries, spaces, attributes, batches.

#include "check.hpp"

#include <mutex>
#include <vector>

namespace tw = treewarden;
using check::Folder;
using tw::Code;

namespace {

/// A state file with one root, scanned.
struct Scanned {
    Folder folder;
    tw::Warden warden;

    Scanned() : warden(folder.state()) {
        folder.write("a", "x");
        folder.write("b", "x");
        warden.add_root("tree", folder.tree());
        warden.scan();
    }
    void change(const char *path) {
        folder.write(path, "something longer than before " + std::to_string(++changes_));
        warden.scan();
    }

private:
    int changes_ = 0;
};

void changes_go_on_from_a_place() {
    Scanned scanned;
    const std::uint64_t seq = scanned.warden.seq();
    const std::string token = scanned.warden.token();
    scanned.folder.write("dir/c", "x");
    scanned.warden.scan();

    tw::Changes changes = scanned.warden.changes(seq);
    CHECK(changes.last_seq() == scanned.warden.seq());
    const auto all = changes.all();
    CHECK(all.size() == 2 && all.at(1).path == "tree/dir/c" && all.at(1).kind == tw::ChangeKind::Added);
    CHECK(all.at(0).entry_kind == tw::Kind::Dir && all.at(1).root == "tree" && all.at(1).seq > seq);
    CHECK_ERROR(Code::InvalidArgument, changes.files_only());

    CHECK(scanned.warden.changes(seq).files_only().all().size() == 1);
    CHECK(scanned.warden.changes_since_token(token).files_only().all().size() == 1);
    CHECK_ERROR(Code::InvalidArgument, scanned.warden.changes_since_token("no token"));

    tw::ArrowStream table = scanned.warden.changes(0).files_only().arrow();
    ArrowArray array{};
    CHECK(table.get()->get_next(table.get(), &array) == 0 && array.length == 3);
    array.release(&array);

    CHECK(scanned.warden.wait(seq, std::chrono::milliseconds(0)) == scanned.warden.seq());
    CHECK(scanned.warden.wait(scanned.warden.seq(), std::chrono::milliseconds(5)) == scanned.warden.seq());
}

void a_place_that_is_gone_is_a_reset() {
    Scanned scanned;
    const std::uint64_t future = scanned.warden.seq() + 1000;
    const auto error = check::error_of([&] { scanned.warden.changes(future).all(); });
    CHECK(error && error->code() == Code::Reset && error->restart_seq().has_value());
}

void a_delivery_comes_again_until_it_is_acknowledged() {
    Scanned scanned;
    {
        tw::Follow follow = scanned.warden.follow("indexer");
        CHECK(follow.position() == 0);
        auto delivery = follow.next(std::chrono::seconds(5));
        CHECK(delivery && delivery->files_only().all().size() == 2);
        CHECK(delivery->upto() == scanned.warden.seq() && delivery->last_seq() == delivery->upto());
    }
    tw::Follow follow = scanned.warden.follow("indexer");
    auto delivery = follow.next(std::chrono::milliseconds(0));
    CHECK(delivery.has_value());
    const std::uint64_t upto = delivery->upto();
    CHECK(delivery->ack() > 0 && follow.position() == upto);
    CHECK_ERROR(Code::InvalidArgument, delivery->ack());
    CHECK(scanned.warden.cursors() == (std::map<std::string, std::uint64_t>{{"indexer", upto}}));
    CHECK(!follow.next(std::chrono::milliseconds(0)));

    scanned.change("a");
    follow.advance(scanned.warden.seq());
    CHECK(!follow.next(std::chrono::milliseconds(0)));
    CHECK_ERROR(Code::Conflict, follow.advance(1));
}

void a_follower_that_waits_is_woken() {
    Scanned scanned;
    tw::Follow follow = scanned.warden.follow("indexer");
    follow.next(std::chrono::seconds(5))->ack();

    std::thread interrupting([&] { follow.interrupt(); });
    CHECK(!follow.next());
    interrupting.join();

    std::thread changing([&] { scanned.change("a"); });
    auto delivery = follow.next(std::chrono::seconds(10));
    changing.join();
    CHECK(delivery && delivery->all().at(0).path == "tree/a");
    CHECK(follow.descriptor() >= 0);
}

void a_listener_acknowledges_what_went_well() {
    Scanned scanned;
    std::mutex mutex;
    std::vector<std::string> seen;
    std::atomic<int> calls{0};
    const auto alive = std::make_shared<int>(0);
    tw::Listener listener = scanned.warden.follow("indexer").listen([&, alive](tw::Delivery &delivery) {
        if (++calls == 1) {
            throw std::runtime_error("not yet");
        }
        const std::lock_guard<std::mutex> lock(mutex);
        for (const tw::ChangeView &change : delivery.files_only()) {
            seen.emplace_back(change.path);
        }
    });
    CHECK(check::soon([&] { return scanned.warden.cursors().count("indexer") == 1; }));
    CHECK(calls == 2);
    try {
        std::rethrow_exception(listener.exception());
    } catch (const std::runtime_error &error) {
        CHECK(error.what() == std::string("not yet"));
    }
    scanned.change("b");
    CHECK(check::soon([&] { return calls == 3; }));
    CHECK(listener.status() == Code::Ok);
    listener.stop();
    listener.stop();
    CHECK(alive.use_count() == 1);
    const std::lock_guard<std::mutex> lock(mutex);
    CHECK(seen == std::vector<std::string>{"tree/a", "tree/b", "tree/b"});
}

void a_listener_of_a_closed_warden_says_so() {
    Scanned scanned;
    const tw::Listener listener = scanned.warden.follow("indexer").listen([](tw::Delivery &) {});
    scanned.warden.close();
    CHECK(check::soon([&] { return listener.status() == Code::Closed; }));
}

void a_space_keeps_bytes() {
    Scanned scanned;
    const tw::Space settings = scanned.warden.space("settings");
    const std::string zero("a\0b", 3);
    CHECK(!settings.get("theme"));
    settings.put("theme", "dark");
    settings.put("the-zero", zero);
    settings.put("empty", "");
    CHECK(settings.get("theme") == "dark" && settings.get("the-zero") == zero && settings.get("empty") == "");
    using Items = std::vector<std::pair<std::string, std::string>>;
    CHECK(settings.items("the") == Items{{"the-zero", zero}, {"theme", "dark"}});
    CHECK(settings.items({}, "empty", 1) == Items{{"the-zero", zero}});

    CHECK(!settings.compare_and_set("theme", "light", "x") && settings.get("theme") == "dark");
    CHECK(settings.compare_and_set("theme", "dark", "light") && settings.get("theme") == "light");
    CHECK(settings.compare_and_set("empty", "", "no longer"));
    CHECK(!settings.compare_and_set("new", "", "x") && settings.compare_and_set("new", std::nullopt, ""));
    CHECK(settings.compare_and_set("new", "", std::nullopt) && !settings.get("new"));
    CHECK(settings.remove("theme") && !settings.remove("theme"));
    CHECK_ERROR(Code::InvalidArgument, settings.put("", "x"));
    CHECK_ERROR(Code::TooLarge, settings.put(std::string(5000, 'k'), "x"));
}

void attributes_follow_their_file() {
    Scanned scanned;
    scanned.warden.set_attrs("tree/a", {{"rating", "5"}, {"note", "a note"}, {"none", ""}});
    CHECK(scanned.warden.attrs("tree/a") == (tw::Attrs{{"none", ""}, {"note", "a note"}, {"rating", "5"}}));
    scanned.warden.set_attrs("tree/a", {{"note", std::nullopt}, {"none", std::nullopt}});
    scanned.folder.move("a", "c");
    scanned.warden.scan();
    CHECK(scanned.warden.attrs("tree/c") == tw::Attrs{{"rating", "5"}});
    CHECK(scanned.warden.attrs("tree/b").empty());
    CHECK_ERROR(Code::NotFound, scanned.warden.attrs("tree/none"));
}

void a_batch_happens_as_a_whole() {
    Scanned scanned;
    tw::Follow follow = scanned.warden.follow("indexer");
    auto delivery = follow.next(std::chrono::seconds(5));
    CHECK(delivery.has_value());

    tw::Batch batch = scanned.warden.batch();
    batch.put("index", "count", "2").set_attr("tree/a", "seen", "yes").advance("indexer", delivery->upto());
    batch.compare_and_set("index", "owner", std::nullopt, "me");
    CHECK(scanned.warden.space("index").items().empty());
    CHECK(batch.commit() == scanned.warden.seq());
    CHECK_ERROR(Code::InvalidArgument, batch.commit());
    CHECK_ERROR(Code::InvalidArgument, batch.put("index", "count", "3"));
    CHECK(follow.position() == delivery->upto() && scanned.warden.space("index").get("count") == "2");
    CHECK(scanned.warden.attrs("tree/a") == tw::Attrs{{"seen", "yes"}});

    tw::Batch refused = scanned.warden.batch();
    refused.put("index", "count", "4").remove_attr("tree/a", "seen").remove("index", "owner");
    refused.compare_and_set("index", "owner", "somebody else", "x");
    CHECK_ERROR(Code::Conflict, refused.commit());
    CHECK(scanned.warden.space("index").get("count") == "2" && !scanned.warden.attrs("tree/a").empty());
    // One that is not committed never happens.
    scanned.warden.batch().put("index", "count", "5");
    CHECK(scanned.warden.space("index").get("count") == "2");
}

void a_callback_of_a_delivery_may_batch() {
    Scanned scanned;
    const tw::Listener listener = scanned.warden.follow("indexer").listen([&](tw::Delivery &delivery) {
        scanned.warden.batch().put("index", "upto", "x").advance("indexer", delivery.upto()).commit();
    });
    CHECK(check::soon([&] { return scanned.warden.space("index").get("upto").has_value(); }));
    CHECK(scanned.warden.cursors().at("indexer") > 0 && listener.exception() == nullptr);
}

}  // namespace

int main() {
    return check::run(changes_go_on_from_a_place, a_place_that_is_gone_is_a_reset,
                      a_delivery_comes_again_until_it_is_acknowledged, a_follower_that_waits_is_woken,
                      a_listener_acknowledges_what_went_well, a_listener_of_a_closed_warden_says_so,
                      a_space_keeps_bytes, attributes_follow_their_file, a_batch_happens_as_a_whole,
                      a_callback_of_a_delivery_may_batch);
}
