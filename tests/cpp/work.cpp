/// Pipelines: jobs that are claimed, done, failed and tried again; workers; groups; rates.

#include "check.hpp"

#include <mutex>
#include <set>

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using tw::WorkState;
using namespace std::chrono_literals;

namespace {

constexpr auto start = tw::Time(std::chrono::hours(24 * 365 * 40));

/// A root with three files, scanned, and a clock that stands still.
struct Scanned {
    Folder folder;
    tw::Warden warden;

    Scanned() : warden(folder.state(), tw::OpenOptions().manual_clock(start)) {
        folder.write("a.txt", "1");
        folder.write("b.txt", "22");
        folder.write("c.bin", "333");
        warden.add_root("tree", folder.tree());
        warden.scan();
    }
};

tw::PipelineOptions texts() { return tw::PipelineOptions().root("tree").glob("**/*.txt").settle(0ms).refresh_never(); }

void jobs_are_claimed_and_completed_with_attributes() {
    const Scanned scanned;
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", texts());
    {
        const tw::Jobs jobs = pipeline.claim(10);
        CHECK(jobs.size() == 2 && !jobs.empty());
        const tw::Job &job = jobs[0];
        CHECK(job.path() == "tree/a.txt" && job.fs_path() == check::fs::canonical(scanned.folder.tree()) / "a.txt");
        CHECK(job.state() == WorkState::New && job.priority() == tw::Priority::High && job.attempt() == 1);
        CHECK(!job.is_gone() && !job.done_path() && job.expires() > start && job.token() != jobs[1].token());
        CHECK(job.files() == std::vector<std::string>{"tree/a.txt"});
        CHECK(job.renew() == job.expires());
        job.set_attr("etag", "one");
        job.set_attr("other", "x");
        job.remove_attr("other");
        CHECK(job.attr("etag") == "one" && !job.attr("other") && job.attrs() == tw::Attrs{{"etag", "one"}});
        CHECK(pipeline.status().processing == 2 && pipeline.claim(10).empty());
        job.complete();
        CHECK_ERROR(Code::InvalidArgument, job.complete());
        CHECK(job.path() == "tree/a.txt");
        // The other one is given back.
    }
    const tw::Jobs again = pipeline.claim(10);
    CHECK(again.size() == 1 && again[0].path() == "tree/b.txt");
    CHECK(again.complete_all() == std::vector<Code>{Code::Ok});
    CHECK(again.complete_all() == std::vector<Code>{Code::InvalidArgument});
    CHECK(pipeline.wait_idle(0ms));

    const tw::PipelineStatus status = pipeline.status();
    CHECK(status.name == "texts" && status.indexed == 2 && status.new_items == 0 && !status.oldest_due);
    const auto items = pipeline.list();
    CHECK(items.size() == 2 && items.at(0).path == "tree/a.txt" && items.at(0).state == WorkState::Indexed);
    CHECK(pipeline.list("tree/b.txt").size() == 1 && pipeline.list({}, WorkState::New).empty());
    const tw::WorkExplanation told = pipeline.explain("tree/a.txt");
    CHECK(told.state == WorkState::Indexed && told.attrs == tw::Attrs{{"etag", "one"}} && told.done == start);
    CHECK(told.content_done == told.content_now && !told.last_error && !told.requested && !told.why.empty());
    CHECK_ERROR(Code::NotFound, pipeline.explain("tree/c.bin"));
}

void what_changes_moves_and_goes_is_handed_out() {
    const Scanned scanned;
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", texts().group_depth(1000));
    for (const tw::Job &job : pipeline.claim(10)) {
        job.set_attr("was", job.path());
        job.complete();
    }
    scanned.folder.write("a.txt", "another content");
    scanned.folder.remove("b.txt");
    scanned.warden.scan();
    const tw::Jobs jobs = pipeline.claim(10);
    CHECK(jobs.size() == 2);
    for (const tw::Job &job : jobs) {
        const bool is_gone = job.path() == "tree/b.txt";
        CHECK(job.is_gone() == is_gone && job.state() == (is_gone ? WorkState::Missing : WorkState::Changed));
        CHECK(job.attr("was") == job.path() && job.done_path() == job.path());
    }
    CHECK(jobs.complete_all().size() == 2);
    CHECK(pipeline.list().size() == 1);
}

void what_fails_is_tried_again_and_dies() {
    const Scanned scanned;
    const auto options = texts().glob("b.txt").retry(60s, 1h).retry_jitter(false).attempts_max(2);
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", options);
    {
        const tw::Jobs jobs = pipeline.claim(2);
        jobs[0].fail("no reason");
        jobs[1].fail_permanently("never");
    }
    CHECK(pipeline.status().error == 2 && pipeline.status().dead == 1 && pipeline.claim(2).empty());
    CHECK(pipeline.explain("tree/a.txt").last_error == "no reason");
    CHECK(pipeline.explain("tree/a.txt").due == start + 60s);
    scanned.warden.clock_advance(60s);
    {
        const tw::Jobs jobs = pipeline.claim(2);
        CHECK(jobs.size() == 1 && jobs[0].attempt() == 2 && jobs[0].state() == WorkState::Error);
        jobs[0].fail("again", 5s);
    }
    CHECK(pipeline.explain("tree/a.txt").is_dead && pipeline.list("tree/a.txt").at(0).is_dead);
    CHECK(pipeline.retry("tree/a.txt") == 1 && pipeline.retry("tree/c.bin") == 0);
    {
        const tw::Jobs jobs = pipeline.claim(2);
        CHECK(jobs.size() == 1);
        jobs[0].snooze(10s);
        CHECK(pipeline.claim(2).empty());
    }
    scanned.warden.clock_advance(10s);
    {
        const tw::Jobs jobs = pipeline.claim(2);
        jobs[0].release();
        CHECK(pipeline.claim(2).size() == 1);
    }
}

void a_lease_that_ran_out_is_lost() {
    const Scanned scanned;
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", texts().lease(10s));
    const tw::Jobs late = pipeline.claim(10);
    scanned.warden.clock_advance(11s);
    const tw::Jobs next = pipeline.claim(10);
    CHECK(next.size() == 2);
    CHECK_ERROR(Code::LeaseLost, late[0].complete());
    CHECK(late.complete_all() == (std::vector<Code>{Code::InvalidArgument, Code::LeaseLost}));
    CHECK(next.complete_all() == (std::vector<Code>{Code::Ok, Code::Ok}));
}

void what_is_asked_for_comes_first() {
    const Scanned scanned;
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", texts());
    CHECK(pipeline.claim(10).complete_all().size() == 2);
    CHECK(pipeline.request("tree/b.txt").added == 1);
    CHECK(pipeline.request("tree", tw::Priority::Low).added == 1);
    CHECK(pipeline.request("tree/b.txt").merged == 1);
    CHECK(pipeline.explain("tree/b.txt").requested == tw::Priority::Critical);
    CHECK_ERROR(Code::NotFound, pipeline.request("tree/none"));
    const tw::Jobs jobs = pipeline.claim(1);
    CHECK(jobs.size() == 1 && jobs[0].path() == "tree/b.txt" && jobs[0].state() == WorkState::Indexed);
    CHECK(jobs[0].priority() == tw::Priority::Critical);
}

void completions_say_when_to_refresh() {
    const Scanned scanned;
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", texts().refresh_at_completion());
    tw::Completion completion;
    completion.refresh_at = start + 1h;
    {
        const tw::Jobs jobs = pipeline.claim(2);
        jobs[0].complete(completion);
        jobs[1].complete();
        completion.refresh_at = start - 1h;
    }
    CHECK(pipeline.explain("tree/a.txt").refresh_at == start + 1h && !pipeline.explain("tree/b.txt").refresh_at);
    scanned.warden.clock_advance(1h);
    const tw::Jobs jobs = pipeline.claim(2);
    CHECK(jobs.size() == 1 && jobs[0].state() == WorkState::Stale);
    CHECK_ERROR(Code::InvalidArgument, jobs[0].complete(completion));
    jobs[0].complete();

    auto after = texts().refresh_after(24h).version(2).priority(tw::Priority::Medium).concurrency(5);
    after.refresh_schedule("0 3 * * *").refresh_batch(10, 1s);
    CHECK(scanned.warden.pipeline("after", after).claim(1).size() == 1);
    const auto tiers = texts().refresh_tiers().tier(24h, 1h).tier(std::nullopt, 48h).paths_matter().crashes_max(0);
    CHECK(scanned.warden.pipeline("tiers", tiers).claim(1).size() == 1);
}

void files_are_grouped_by_a_function() {
    Scanned scanned;
    const auto alive = std::make_shared<std::string>("tree/all");
    {
        const auto by_function = [alive](std::string_view address) -> std::optional<std::string> {
            if (address == "tree/c.bin") {
                throw std::runtime_error("this file is left out");
            }
            return *alive;
        };
        const tw::Pipeline pipeline =
            scanned.warden.pipeline("groups", tw::PipelineOptions().settle(0ms).group("everything", by_function));
        const tw::Jobs jobs = pipeline.claim(10);
        CHECK(jobs.size() == 1 && jobs[0].path() == "tree/all");
        CHECK(jobs[0].files() == (std::vector<std::string>{"tree/a.txt", "tree/b.txt"}));
    }
    CHECK(scanned.warden.pipeline("groups").list().size() == 1);
    const tw::PipelineInfo grouped = scanned.warden.pipelines().at(0);
    CHECK(grouped.group == tw::Group::Function && grouped.group_name == "everything");
    scanned.warden.close();
    CHECK(alive.use_count() == 1);
    // The state file knows the name of the function alone.
    scanned.warden = tw::Warden(scanned.folder.state());
    CHECK_ERROR(Code::InvalidArgument, scanned.warden.pipeline("groups"));
    scanned.warden.remove_pipeline("groups");

    const tw::Pipeline parents =
        scanned.warden.pipeline("parents", tw::PipelineOptions().settle(0ms).group(tw::Group::Parent));
    CHECK(parents.claim(10)[0].files().size() == 3);
    CHECK(scanned.warden.pipelines().size() == 1 && scanned.warden.pipelines().at(0).name == "parents");
    CHECK(scanned.warden.pipeline("parents").status().processing <= 1);
    CHECK_ERROR(Code::NotFound, scanned.warden.pipeline("none"));
}

void options_are_read_back() {
    const Scanned scanned;
    CHECK(scanned.warden.pipelines().empty());
    auto said = tw::PipelineOptions().root("tree").root("films").glob("**/*.txt").group_depth(2).version(7);
    said.priority(tw::Priority::Low).concurrency(3).settle(11ms).lease(12s).retry(13ms, 14ms).retry_jitter(false);
    said.attempts_max(15).crashes_max(20).refresh_tiers().tier(5s, 6s).tier(std::nullopt, 7s).paths_matter();
    said.refresh_schedule("0 3 * * *").refresh_batch(16, 17ms).rate(18, 19ms).rate_pacing(false);
    scanned.warden.pipeline("full", said.rate_floor_permille(333));
    scanned.warden.pipeline("bare", tw::PipelineOptions().refresh_after(24h));
    const auto told = scanned.warden.pipelines();
    CHECK(told.size() == 2);
    const tw::PipelineInfo &bare = told.at(0), &full = told.at(1);
    CHECK(full.name == "full" && full.roots == (std::vector<std::string>{"films", "tree"}));
    CHECK(full.globs == std::vector<std::string>{"**/*.txt"} && full.group == tw::Group::Depth);
    CHECK(full.group_depth == 2 && !full.group_name && full.version == 7 && full.priority == tw::Priority::Low);
    CHECK(full.concurrency == 3 && full.settle == 11ms && full.lease == 12s && full.retry_base == 13ms);
    CHECK(full.retry_cap == 14ms && !full.retry_jitter && full.attempts_max == 15 && full.crashes_max == 20);
    CHECK(full.refresh == tw::Refresh::Tiers && full.tiers.size() == 2 && full.paths_matter);
    CHECK(full.tiers.at(0).younger_than == 5s && full.tiers.at(0).after == 6s);
    CHECK(!full.tiers.at(1).younger_than && full.tiers.at(1).after == 7s);
    CHECK(full.refresh_run && full.refresh_run->batch == 16 && full.refresh_run->gap == 17ms);
    CHECK(full.rate && full.rate->limit == 18 && full.rate->window == 19ms && !full.rate->pacing);
    CHECK(full.rate->floor_permille == 333);
    CHECK(bare.name == "bare" && bare.roots.empty() && bare.globs.empty() && bare.group == tw::Group::None);
    CHECK(bare.refresh == tw::Refresh::After && bare.refresh_after == 24h && bare.tiers.empty());
    CHECK(!bare.refresh_run && !bare.rate && !bare.paths_matter && bare.version == 1 && bare.retry_jitter);
    // A schedule that was told can be given.
    scanned.warden.pipeline("copy", tw::PipelineOptions().refresh_schedule(full.refresh_run->schedule));
    CHECK(scanned.warden.pipelines().at(1).refresh_run->schedule == full.refresh_run->schedule);
}

void several_pipelines_are_claimed_from_at_once() {
    const Scanned scanned;
    const tw::Pipeline low = scanned.warden.pipeline("low", texts().priority(tw::Priority::Low));
    const tw::Pipeline high = scanned.warden.pipeline("high", texts().priority(tw::Priority::High));
    const tw::Jobs jobs = tw::claim_from({&low, &high}, 3);
    CHECK(jobs.size() == 3 && high.status().processing == 2 && low.status().processing == 1);
    CHECK(jobs.complete_all() == (std::vector<Code>{Code::Ok, Code::Ok, Code::Ok}));
    CHECK(tw::claim_from({}, 3).empty());
    tw::ArrowStream table = low.list_arrow();
    ArrowArray array{};
    CHECK(table.get()->get_next(table.get(), &array) == 0 && array.length == 2);
    array.release(&array);
}

void workers_work_until_they_are_stopped() {
    const Folder folder;
    for (int index = 0; index < 50; ++index) {
        folder.write("f" + std::to_string(index) + ".txt", std::string(static_cast<std::size_t>(index), 'x'));
    }
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Pipeline pipeline = warden.pipeline("texts", texts());
    const auto alive = std::make_shared<int>(0);
    std::mutex mutex;
    std::set<std::string> seen;
    {
        tw::Workers workers = pipeline.work(4, [&, alive](tw::WorkerJob &job) {
            job.set_attr("bytes", std::to_string(check::fs::file_size(job.fs_path())));
            const std::lock_guard<std::mutex> lock(mutex);
            seen.emplace(job.path());
        });
        CHECK(pipeline.wait_idle(20s));
        CHECK(check::soon([&] { return workers.counts().done == 50; }) && workers.counts().failed == 0);
        folder.write("new.txt", "x");
        warden.scan();
        CHECK(pipeline.wait_idle(20s));
        workers.stop();
        workers.stop();
    }
    CHECK(alive.use_count() == 1 && seen.size() == 51);
    CHECK(pipeline.explain("tree/f7.txt").attrs == tw::Attrs{{"bytes", "7"}});
}

void what_a_worker_throws_or_returns_ends_its_job() {
    const Folder folder;
    for (const char *name : {"done", "later", "once", "never", "throws", "odd"}) {
        folder.write(std::string(name) + ".txt", "x");
    }
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Pipeline pipeline = warden.pipeline("texts", texts());
    const tw::Workers workers = pipeline.work(2, [state = std::make_unique<int>(0)](tw::WorkerJob &job) {
        const std::string_view name = job.path().substr(5);
        if (name == "later.txt") {
            return tw::JobEnd::put_off(1h);
        }
        if (name == "once.txt") {
            return tw::JobEnd::failed("once", 2h);
        }
        if (name == "never.txt") {
            throw tw::Permanent("it is no text");
        }
        if (name == "throws.txt") {
            throw std::runtime_error("it was thrown");
        }
        if (name == "odd.txt") {
            throw 7;
        }
        tw::Completion completion;
        completion.refresh_at = std::chrono::system_clock::now() + 1h;
        return tw::JobEnd::done(completion);
    });
    CHECK(check::soon([&] { return workers.counts().done == 1 && workers.counts().failed == 5; }));
    CHECK(check::soon([&] { return pipeline.status().processing == 0; }));
    CHECK(pipeline.explain("tree/done.txt").refresh_at.has_value());
    CHECK(pipeline.explain("tree/later.txt").state == WorkState::New && pipeline.explain("tree/later.txt").due);
    CHECK(pipeline.explain("tree/once.txt").last_error == "once" && !pipeline.explain("tree/once.txt").is_dead);
    CHECK(pipeline.explain("tree/never.txt").last_error == "it is no text");
    CHECK(pipeline.explain("tree/never.txt").is_dead);
    CHECK(pipeline.explain("tree/throws.txt").last_error == "it was thrown");
    CHECK(!pipeline.explain("tree/throws.txt").is_dead && pipeline.explain("tree/odd.txt").last_error);
}

void a_worker_cannot_stop_its_own_workers() {
    const Folder folder;
    folder.write("a.txt", "x");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Pipeline pipeline = warden.pipeline("texts", texts());
    std::atomic<tw::Workers *> self{nullptr};
    std::atomic<bool> is_refused{false};
    tw::Workers workers = pipeline.work(1, [&](tw::WorkerJob &) {
        CHECK(check::soon([&] { return self != nullptr; }));
        const auto error = check::error_of([&] { self.load()->stop(); });
        is_refused = error && error->code() == Code::InvalidArgument;
    });
    self = &workers;
    CHECK(pipeline.wait_idle(20s) && is_refused);
}

void a_claim_that_waits_is_woken() {
    const Folder folder;
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    const tw::Pipeline pipeline = warden.pipeline("texts", texts());
    std::thread interrupting([&] {
        std::this_thread::sleep_for(20ms);
        pipeline.interrupt();
    });
    CHECK(pipeline.claim(1, tw::forever).empty());
    interrupting.join();
    std::thread writing([&] {
        folder.write("a.txt", "x");
        warden.scan();
    });
    CHECK(pipeline.claim(1, 20s).size() == 1);
    writing.join();
}

void a_rate_is_kept() {
    const Scanned scanned;
    const auto options = texts().rate(1, 1h).rate_pacing(false).rate_floor_permille(500);
    const tw::Pipeline pipeline = scanned.warden.pipeline("texts", options);
    {
        const tw::Jobs jobs = pipeline.claim(10);
        CHECK(jobs.size() == 1 && pipeline.claim(10).empty());
        jobs[0].sends_nothing();
        CHECK(pipeline.claim(10).size() == 1);
    }
    {
        scanned.warden.clock_advance(61min);
        const tw::Jobs jobs = pipeline.claim(10);
        CHECK(jobs.size() == 1);
        jobs[0].answered();
        jobs[0].throttled(2h);
        jobs[0].complete();
    }
    const auto limiter = pipeline.limiter();
    CHECK(limiter && limiter->status().limit == 1 && limiter->status().throttled == 1);
    CHECK(limiter && limiter->status().paused_until);
    CHECK_ERROR(Code::InvalidArgument, limiter->close());
    CHECK(!scanned.warden.pipeline("free", texts()).limiter());
}

void a_limiter_of_its_own_grants() {
    tw::Limiter limiter(tw::LimiterOptions(3, 1h).pacing(false).floor_permille(1000));
    {
        auto first = limiter.acquire();
        const auto second = limiter.acquire(0ms, 2);
        CHECK(first && second && !limiter.acquire(0ms) && !limiter.acquire(5ms));
        first->unused();
        CHECK_ERROR(Code::InvalidArgument, first->done());
        CHECK(limiter.acquire(0ms).has_value());
    }
    CHECK(limiter.status().granted == 3 && limiter.status().in_window == 3 && limiter.status().limit == 3);
    std::thread interrupting([&] { limiter.interrupt(); });
    CHECK(!limiter.acquire());
    interrupting.join();
    limiter.succeeded();
    limiter.throttled(1h);
    CHECK(limiter.status().succeeded == 1 && limiter.status().throttled == 1 && limiter.status().paused_until);
    limiter.close();
    CHECK_ERROR(Code::Closed, limiter.acquire());

    const tw::Limiter other(tw::LimiterOptions(3, 1h).pacing(false));
    other.acquire()->sent_at_once();
    other.acquire()->throttled(1s);
    CHECK(other.status().throttled == 1);
    CHECK_ERROR(Code::InvalidArgument, tw::Limiter(tw::LimiterOptions(0, 1h)));

    CHECK(tw::parse_retry_after("120") == 120s && !tw::parse_retry_after("1.5"));
    CHECK(tw::parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", tw::Time()) == 60s);
}

}  // namespace

int main() {
    return check::run(jobs_are_claimed_and_completed_with_attributes, what_changes_moves_and_goes_is_handed_out,
                      what_fails_is_tried_again_and_dies, a_lease_that_ran_out_is_lost, what_is_asked_for_comes_first,
                      completions_say_when_to_refresh, files_are_grouped_by_a_function, options_are_read_back,
                      several_pipelines_are_claimed_from_at_once, workers_work_until_they_are_stopped,
                      what_a_worker_throws_or_returns_ends_its_job, a_worker_cannot_stop_its_own_workers,
                      a_claim_that_waits_is_woken, a_rate_is_kept, a_limiter_of_its_own_grants);
}
