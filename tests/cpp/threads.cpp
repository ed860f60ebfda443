/// Many threads at once: writers, scanners, readers and workers that share one warden.

#include "check.hpp"

#include <vector>

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using namespace std::chrono_literals;

namespace {

/// Threads that are waited for, whatever happens.
class Threads {
public:
    template <class Function>
    void start(Function function) {
        threads_.emplace_back([function] {
            try {
                function();
            } catch (const std::exception &error) {
                check::fail("thread", 0, error.what());
            }
        });
    }
    void join() {
        for (std::thread &thread : threads_) {
            thread.join();
        }
        threads_.clear();
    }
    ~Threads() { join(); }

private:
    std::vector<std::thread> threads_;
};

void all_threads_share_one_warden() {
    const Folder folder;
    const tw::Warden warden(folder.state(), tw::OpenOptions().durability(tw::Durability::Relaxed));
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Pipeline pipeline = warden.pipeline("all", tw::PipelineOptions().settle(0ms));
    std::atomic<int> heard{0};
    const tw::Listener listener = warden.listen([&](const tw::Event &) { ++heard; });
    const tw::Workers workers = pipeline.work(3, [](tw::WorkerJob &job) { job.set_attr("by", "worker"); });
    {
        Threads threads;
        for (int writer = 0; writer < 3; ++writer) {
            threads.start([&, writer] {
                for (int index = 0; index < 20; ++index) {
                    const std::string name = std::to_string(writer) + "-" + std::to_string(index);
                    folder.write(name, "x");
                    warden.scan("tree");
                    warden.space("written").put(name, "x");
                }
            });
        }
        for (int reader = 0; reader < 3; ++reader) {
            threads.start([&] {
                std::uint64_t size = 0;
                while (size < 60) {
                    const tw::Snapshot snapshot = warden.snapshot();
                    const std::size_t walked = snapshot.entries().all().size();
                    CHECK(snapshot.size() == walked && walked >= size);
                    size = walked;
                }
            });
        }
        threads.start([&] {
            tw::Follow follow = warden.follow("thread");
            std::size_t seen = 0;
            while (seen < 60) {
                if (auto delivery = follow.next(10s)) {
                    seen += delivery->files_only().all().size();
                    delivery->ack();
                }
            }
        });
    }
    CHECK(warden.space("written").items().size() == 60 && heard > 0);
    CHECK(pipeline.wait_idle(20s) && pipeline.status().indexed == 60);
}

void one_snapshot_is_read_by_all() {
    const Folder folder;
    for (int index = 0; index < 500; ++index) {
        folder.write("f" + std::to_string(index), "x");
    }
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Snapshot snapshot = warden.snapshot();
    const tw::Filter filter = tw::Filter().under("tree");
    Threads threads;
    for (int reader = 0; reader < 4; ++reader) {
        threads.start([&] {
            for (int round = 0; round < 5; ++round) {
                CHECK(snapshot.entries(filter).all().size() == 500 && snapshot.du()->files == 500);
                CHECK(snapshot.get("tree/f" + std::to_string(round)).has_value());
            }
        });
    }
}

void a_close_wakes_whoever_waits() {
    const Folder folder;
    folder.write("a", "x");
    tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Pipeline pipeline = warden.pipeline("none", tw::PipelineOptions().root("none"));
    const tw::Events events = warden.subscribe();
    std::atomic<int> ready{0};
    std::atomic<int> closed{0};
    const auto waits = [&](auto wait) {
        ++ready;
        const auto error = check::error_of([&] {
            while (true) {
                wait();
            }
        });
        closed += error && error->code() == Code::Closed ? 1 : 0;
    };
    Threads threads;
    threads.start([&] { waits([&] { warden.wait(warden.seq()); }); });
    threads.start([&] { waits([&] { events.next(); }); });
    threads.start([&] { waits([&] { static_cast<void>(pipeline.claim(1, tw::forever)); }); });
    threads.start([&] {
        tw::Follow follow = warden.follow("thread");
        follow.advance(warden.seq());
        waits([&] { follow.next(); });
    });
    CHECK(check::soon([&] { return ready == 4; }));
    warden.close();
    threads.join();
    CHECK(closed == 4);
}

void jobs_go_to_one_of_many_claimants() {
    const Folder folder;
    for (int index = 0; index < 200; ++index) {
        folder.write("f" + std::to_string(index), "x");
    }
    const tw::Warden warden(folder.state(), tw::OpenOptions().durability(tw::Durability::Relaxed));
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Pipeline pipeline = warden.pipeline("all", tw::PipelineOptions().settle(0ms));
    std::atomic<int> done{0};
    Threads threads;
    for (int claimant = 0; claimant < 4; ++claimant) {
        threads.start([&] {
            while (true) {
                const tw::Jobs jobs = pipeline.claim(7);
                if (jobs.empty()) {
                    return;
                }
                for (const Code code : jobs.complete_all()) {
                    done += code == Code::Ok ? 1 : 0;
                }
            }
        });
    }
    threads.join();
    CHECK(done == 200 && pipeline.status().indexed == 200);
}

}  // namespace

int main() {
    return check::run(all_threads_share_one_warden, one_snapshot_is_read_by_all, a_close_wakes_whoever_waits,
                      jobs_go_to_one_of_many_claimants);
}
