/// Mirrors to a storage of the program: a class of C++ that keeps objects, what it throws, and when it goes.

#include "../cpp/check.hpp"

#include <new>

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using Deletes = tw::Mirror::Deletes;
using namespace std::chrono_literals;

namespace {

/// Objects in memory. What is to go wrong is thrown by `trouble`.
class Memory : public tw::Storage {
public:
    explicit Memory(bool can_more = true) : can_more_(can_more) {}
    ~Memory() override { ++gone; }

    std::string name() const override { return "memory"; }
    tw::StorageAbilities abilities() const override {
        tw::StorageAbilities can;
        can.copy = can_more_;
        can.list = can_more_;
        can.url = can_more_;
        can.remove_max = 2;
        return can;
    }
    std::optional<std::string> put(tw::Upload &upload) override {
        ++puts;
        if (trouble) {
            trouble();
        }
        const std::string content = is_lazy ? std::string() : upload.read_all();
        CHECK(is_lazy || content.size() == upload.size());
        CHECK(upload.content_type() == "text/plain" && upload.cache_control() == "no-store");
        keep(std::string(upload.key()), content);
        return tag(content);
    }
    std::map<std::size_t, tw::StorageFault> remove(const std::vector<std::string_view> &keys) override {
        CHECK(!keys.empty() && keys.size() <= 2);
        if (trouble) {
            trouble();
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        std::map<std::size_t, tw::StorageFault> failed;
        for (std::size_t index = 0; index < keys.size(); ++index) {
            if (keys[index] == stuck) {
                failed.emplace(index, tw::StorageFault::Rejected);
            } else {
                objects_.erase(std::string(keys[index]));
            }
        }
        return failed;
    }
    std::optional<std::string> copy(std::string_view from, std::string_view to) override {
        const auto content = get(std::string(from));
        if (!content) {
            throw tw::StorageError(tw::StorageFault::NotFound, "it is not there");
        }
        ++copies;
        keep(std::string(to), *content);
        return std::nullopt;
    }
    void list(std::string_view prefix, tw::Listing &listing) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        CHECK(prefix == "p");
        for (const auto &[key, content] : objects_) {
            listing.add(key, content.size(), tag(content));
        }
    }
    std::optional<std::string> url(std::string_view key) override { return "https://other.example/" + std::string(key); }

    std::optional<std::string> get(const std::string &key) const {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = objects_.find(key);
        return found == objects_.end() ? std::nullopt : std::optional<std::string>(found->second);
    }
    void keep(const std::string &key, const std::string &content) {
        const std::lock_guard<std::mutex> lock(mutex_);
        objects_[key] = content;
    }

    static inline std::atomic<int> gone{0};
    std::atomic<int> puts{0};
    std::atomic<int> copies{0};
    std::function<void()> trouble;
    bool is_lazy = false;
    std::string stuck;

private:
    static std::string tag(const std::string &content) { return std::to_string(std::hash<std::string>()(content)); }

    const bool can_more_;
    mutable std::mutex mutex_;
    std::map<std::string, std::string> objects_;
};

/// A root with two files, scanned.
struct Scanned {
    Folder folder;
    tw::Warden warden;

    Scanned() : warden(folder.state()) {
        folder.write("a.txt", "one");
        folder.write("sub/b.txt", "three");
        warden.add_root("tree", folder.tree());
        warden.scan();
    }

    static tw::MirrorOptions options() {
        return tw::MirrorOptions().prefix("p").cache_control("no-store").settle(0ms).attempts_max(2).backoff(1ms, 2ms)
            .public_url("https://cdn.example");
    }

    tw::Mirror open(std::shared_ptr<Memory> memory) const {
        return warden.mirror("own", "tree", std::move(memory), options());
    }
};

void the_copy_equals_the_tree() {
    const Scanned scanned;
    const auto memory = std::make_shared<Memory>();
    const tw::Mirror mirror = scanned.open(memory);
    CHECK(mirror.sync().uploaded == 2 && memory->get("p/a.txt") == "one" && memory->get("p/sub/b.txt") == "three");
    CHECK(mirror.sync().uploaded == 0 && memory->puts == 2 && mirror.audit().is_clean);
    CHECK(mirror.url("tree/a.txt") == "https://cdn.example/p/a.txt");

    scanned.folder.write("a.txt", "changed");
    scanned.folder.write("empty.txt", "");
    scanned.folder.move("sub/b.txt", "sub/c.txt");
    scanned.warden.scan();
    const tw::MirrorReport report = mirror.sync(Deletes::Accept);
    CHECK(report.is_complete && report.uploaded == 2 && report.copied == 1 && report.deleted == 1);
    CHECK(memory->get("p/a.txt") == "changed" && memory->get("p/sub/c.txt") == "three" && memory->copies == 1);
    CHECK(memory->get("p/empty.txt") == "" && !memory->get("p/sub/b.txt"));

    memory->keep("p/stranger", "who put this here");
    memory->keep("elsewhere", "not ours");
    const tw::AuditReport audit = mirror.audit();
    CHECK(audit.unknown == 1 && audit.lost == 0 && audit.different == 0 && audit.findings.size() == 1);
    const tw::MirrorInfo info = scanned.warden.mirrors().at(0);
    CHECK(info.place == "c+memory" && !info.target && info.prefix == "p");
}

void it_may_do_less() {
    const Scanned scanned;
    const auto memory = std::make_shared<Memory>(false);
    const tw::Mirror mirror = scanned.open(memory);
    CHECK(mirror.sync().uploaded == 2);
    CHECK_ERROR(Code::Unsupported, mirror.audit());
    scanned.folder.move("a.txt", "z.txt");
    scanned.warden.scan();
    const tw::MirrorReport report = mirror.sync(Deletes::Accept);
    CHECK(report.uploaded == 1 && report.copied == 0 && memory->copies == 0 && memory->get("p/z.txt") == "one");
}

void what_it_throws_is_an_answer() {
    const Scanned scanned;
    const auto memory = std::make_shared<Memory>();
    const tw::Mirror mirror = scanned.open(memory);
    const auto message = [&](std::function<void()> trouble) {
        memory->trouble = std::move(trouble);
        const tw::MirrorReport report = mirror.sync();
        memory->trouble = nullptr;
        CHECK(report.failed + report.refused == 2 && report.uploaded == 0 && report.first_errors.size() == 2);
        return report.first_errors.at(0).message;
    };
    CHECK(message([] { throw std::runtime_error("no network"); }) == "the storage of the program threw an exception" &&
          memory->puts == 4);
    CHECK(message([] { throw 7; }) == "the storage gave no reason");
    CHECK(message([] { throw std::bad_alloc(); }).size() > 0);
    CHECK(message([] { throw tw::StorageError(tw::StorageFault::Throttled, "slow down", 1ms); }) == "slow down");
    CHECK(message([] { throw tw::StorageError(tw::StorageFault::Rejected, "never"); }) == "never");
    // Rejected for good, until they are other files.
    scanned.folder.write("a.txt", "another one");
    scanned.folder.write("sub/b.txt", "another three");
    scanned.warden.scan();
    memory->trouble = [] { throw tw::StorageError(tw::StorageFault::Denied, "no"); };
    CHECK_ERROR(Code::PermissionDenied, mirror.sync());
    memory->trouble = nullptr;
    memory->is_lazy = true;
    const tw::MirrorReport report = mirror.sync();
    CHECK(report.refused == 2 && report.first_errors.at(0).message.find("the storage took only 0 of") == 0);
    memory->is_lazy = false;
    scanned.folder.write("a.txt", "the third of them");
    scanned.folder.write("sub/b.txt", "the third of these");
    scanned.warden.scan();
    CHECK(mirror.sync().uploaded == 2);
}

void what_cannot_be_removed_stays() {
    const Scanned scanned;
    const auto memory = std::make_shared<Memory>();
    const tw::Mirror mirror = scanned.open(memory);
    CHECK(mirror.sync().uploaded == 2);
    scanned.folder.remove("a.txt");
    scanned.folder.remove("sub");
    scanned.folder.write("c.txt", "left");
    scanned.warden.scan();
    memory->stuck = "p/a.txt";
    tw::MirrorReport report = mirror.sync(Deletes::Accept);
    CHECK(report.deleted == 1 && report.failed == 1 && memory->get("p/a.txt") && !memory->get("p/sub/b.txt"));
    memory->stuck.clear();
    memory->trouble = [] { throw std::runtime_error("no network"); };
    report = mirror.sync(Deletes::Accept);
    CHECK(report.deleted == 0 && report.failed == 1 && report.first_errors.at(0).message == "the storage of the program threw an exception");
    memory->trouble = nullptr;
    CHECK(mirror.sync(Deletes::Accept).deleted == 1 && !memory->get("p/a.txt"));
}

void it_goes_when_nobody_needs_it() {
    const int before = Memory::gone;
    {
        const Scanned scanned;
        const auto refused = [&](std::shared_ptr<tw::Storage> storage, const tw::MirrorOptions &options) {
            CHECK_ERROR(Code::InvalidArgument, scanned.warden.mirror("own", "tree", std::move(storage), options));
        };
        refused(nullptr, Scanned::options());
        refused(std::make_shared<Memory>(), tw::MirrorOptions("tree", "s3://bucket"));
        refused(std::make_shared<Memory>(), Scanned::options().keys("id", "hush"));
        CHECK(Memory::gone == before + 2);
        {
            const tw::Mirror mirror = scanned.open(std::make_shared<Memory>());
            CHECK(mirror.sync().uploaded == 2);
        }
        CHECK(Memory::gone == before + 2);
        // Opened anew, and then forgotten.
        scanned.open(std::make_shared<Memory>());
        CHECK(Memory::gone == before + 3);
        scanned.warden.remove_mirror("own");
        CHECK(Memory::gone == before + 4);
        scanned.open(std::make_shared<Memory>());
    }
    CHECK(Memory::gone == before + 5);
}

}  // namespace

int main() {
    return check::run(the_copy_equals_the_tree, it_may_do_less, what_it_throws_is_an_answer,
                      what_cannot_be_removed_stays, it_goes_when_nobody_needs_it);
}
