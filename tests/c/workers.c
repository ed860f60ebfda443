/*
 * Proves workers, which the library runs over the jobs of a pipeline with a callback: every answer of it, notes,
 * counts, stopping, what the callback may not do; waiting for a pipeline to be idle; limiters with their permits,
 * throttling, interrupts and closing; and the header Retry-After.
 */

#include "check.h"

#include <pthread.h>

#define FILES 40

struct team {
    int calls;
    int wrong;
    int finalized;
    int over;
    tw_workers *workers;
    tw_pipeline *pipeline;
};

/* By number: 1 fails and is told why, 2 for good, 3 is put off, 4 answers nonsense, and all others are done. */
static int32_t on_job(const tw_jobs *jobs, void *user_data) {
    struct team *team = user_data;
    tw_job job;
    size_t len = 0;
    tw_completion completion;
    memset(&completion, 0, sizeof completion);
    count_up(&team->calls);
    int is_right = tw_jobs_len(jobs, &len, NULL) == TW_STATUS_OK && len == 1;
    is_right &= tw_jobs_get(jobs, 0, &job, sizeof job, NULL) == TW_STATUS_OK && job.attempt == 1;
    is_right &= tw_jobs_get(jobs, 1, &job, sizeof job, NULL) == TW_STATUS_NOT_FOUND;
    is_right &= tw_jobs_set_attr(jobs, 0, tw_str("by"), tw_str("worker"), NULL) == TW_STATUS_OK;
    is_right &= tw_jobs_note_completion(jobs, 0, &completion, sizeof completion, NULL) == TW_STATUS_OK;
    /* It is the library's to end and to free, and the threads cannot wait for themselves. */
    is_right &= tw_jobs_complete(jobs, 0, NULL, 0, NULL) == TW_STATUS_INVALID_ARGUMENT;
    is_right &= tw_jobs_complete_all(jobs, NULL, 0, NULL) == TW_STATUS_INVALID_ARGUMENT;
    is_right &= tw_jobs_release(jobs, 0, NULL) == TW_STATUS_INVALID_ARGUMENT;
    is_right &= tw_jobs_free((tw_jobs *)jobs, NULL) == TW_STATUS_INVALID_ARGUMENT;
    tw_workers *workers = __atomic_load_n(&team->workers, __ATOMIC_SEQ_CST);
    if (workers != NULL) {
        is_right &= tw_workers_stop(workers, NULL) == TW_STATUS_INVALID_ARGUMENT;
        is_right &= tw_workers_free(workers, NULL) == TW_STATUS_INVALID_ARGUMENT;
    }
    if (!is_right) {
        count_up(&team->wrong);
    }
    char digits[5] = "";
    memcpy(digits, job.path.ptr + job.path.len - 4, 4);
    switch (atoi(digits)) {
    case 1:
        tw_jobs_note_failure(jobs, 0, tw_str("no network"), 3600000, NULL);
        return TW_WORKER_TRANSIENT;
    case 2:
        tw_jobs_note_failure(jobs, 0, tw_str("no song"), -1, NULL);
        return TW_WORKER_PERMANENT;
    case 3:
        tw_jobs_note_failure(jobs, 0, tw_str("not now"), 3600000, NULL);
        return TW_WORKER_PUT_OFF;
    case 4:
        return 12345;
    default:
        return TW_WORKER_DONE;
    }
}

static void on_end(void *user_data) {
    count_up(&((struct team *)user_data)->finalized);
}

static tw_pipeline *open_pipeline(tw_warden *warden, const char *name, int32_t option, int64_t value) {
    tw_options *options = new_options(TW_OPTIONS_PIPELINE);
    tw_pipeline *pipeline = NULL;
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_options_set_int(options, option, value, &err));
    if (option == TW_OPTION_PIPELINE_RATE_LIMIT) {
        OK(tw_options_set_int(options, TW_OPTION_PIPELINE_RATE_WINDOW_MS, 3600000, &err));
        OK(tw_options_set_int(options, TW_OPTION_PIPELINE_RATE_PACING, 0, &err));
    }
    OK(tw_warden_pipeline(warden, tw_str(name), options, &pipeline, &err));
    OK(tw_options_free(options, &err));
    return pipeline;
}

static void workers(tw_warden *warden) {
    struct team team;
    memset(&team, 0, sizeof team);
    tw_pipeline *pipeline = open_pipeline(warden, "index", TW_OPTION_PIPELINE_ATTEMPTS_MAX, 5);
    tw_workers *workers = NULL;
    uint64_t done = 0, failed = 0;
    int32_t is_idle = 7;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_pipeline_work(pipeline, 2, NULL, &team, on_end, &workers, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_pipeline_work(pipeline, 0, on_job, &team, on_end, &workers, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_pipeline_work(pipeline, 1025, on_job, &team, on_end, &workers, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_pipeline_work(pipeline, 2, on_job, &team, on_end, NULL, &err));
    CHECK(team.finalized == 4 && team.calls == 0 && workers == NULL);
    team.finalized = 0;

    OK(tw_pipeline_wait_idle(pipeline, 0, &is_idle, &err));
    CHECK_EQ(is_idle, 0);
    OK(tw_pipeline_work(pipeline, 4, on_job, &team, on_end, &workers, &err));
    __atomic_store_n(&team.workers, workers, __ATOMIC_SEQ_CST);
    EVENTUALLY(tw_workers_counts(workers, &done, &failed, NULL) == TW_STATUS_OK && done + failed == FILES);
    CHECK(done == FILES - 4 && failed == 4 && team.calls == FILES && team.wrong == 0);
    write_file("tree/more-0099", "more");
    scan(warden);
    EVENTUALLY(count_of(&team.calls) == FILES + 1);
    OK(tw_pipeline_free(pipeline, &err));
    OK(tw_workers_stop(workers, &err));
    OK(tw_workers_stop(workers, &err));
    CHECK_EQ(count_of(&team.finalized), 0);
    OK(tw_workers_counts(workers, &done, &failed, &err));
    CHECK_EQ(done, FILES - 4 + 1);
    OK(tw_workers_free(workers, &err));
    CHECK_EQ(count_of(&team.finalized), 1);
    CHECK_EQ(team.wrong, 0);

    tw_list *list = NULL;
    tw_work_explanation told;
    OK(tw_warden_pipeline(warden, tw_str("index"), NULL, &pipeline, &err));
    OK(tw_pipeline_explain(pipeline, tw_str("music/song-0001"), &list, &err));
    OK(tw_list_work_explanation(list, 0, &told, sizeof told, &err));
    CHECK_TEXT(told.last_error, "no network");
    CHECK(told.state == TW_WORK_ERROR && !told.is_dead && told.due_ns > INT64_C(3500000000000));
    OK(tw_list_free(list, &err));
    OK(tw_pipeline_explain(pipeline, tw_str("music/song-0002"), &list, &err));
    OK(tw_list_work_explanation(list, 0, &told, sizeof told, &err));
    CHECK(told.is_dead);
    OK(tw_list_free(list, &err));
    OK(tw_pipeline_explain(pipeline, tw_str("music/song-0004"), &list, &err));
    OK(tw_list_work_explanation(list, 0, &told, sizeof told, &err));
    CHECK(told.state == TW_WORK_ERROR && told.last_error.len > 0 && told.attrs == 0);
    OK(tw_list_free(list, &err));
    OK(tw_pipeline_explain(pipeline, tw_str("music/song-0005"), &list, &err));
    OK(tw_list_work_explanation(list, 0, &told, sizeof told, &err));
    CHECK(told.state == TW_WORK_INDEXED && told.attrs == 1);
    OK(tw_list_free(list, &err));
    OK(tw_pipeline_free(pipeline, &err));
}

static void *be_idle(void *data) {
    struct team *team = data;
    int32_t is_idle = 7;
    if (tw_pipeline_wait_idle(team->pipeline, -1, &is_idle, NULL) != TW_STATUS_OK || is_idle != 0) {
        count_up(&team->wrong);
    }
    count_up(&team->over);
    return NULL;
}

static void *claim_and_wait(void *data) {
    struct team *team = data;
    tw_jobs *jobs = NULL;
    size_t len = 99;
    if (tw_pipeline_claim(team->pipeline, 1, -1, &jobs, NULL) != TW_STATUS_OK ||
        tw_jobs_len(jobs, &len, NULL) != TW_STATUS_OK || len != 0) {
        count_up(&team->wrong);
    }
    tw_jobs_free(jobs, NULL);
    count_up(&team->over);
    return NULL;
}

static void waits_end(tw_warden *warden) {
    struct team team;
    pthread_t idle, claimer;
    memset(&team, 0, sizeof team);
    tw_jobs *jobs = NULL;
    size_t len = 0;
    int32_t is_idle = 7;
    team.pipeline = open_pipeline(warden, "waits", TW_OPTION_PIPELINE_LEASE_MS, 3600000);
    OK(tw_pipeline_claim(team.pipeline, SIZE_MAX, INT64_MAX, &jobs, &err));
    OK(tw_jobs_len(jobs, &len, &err));
    CHECK_EQ(len, FILES + 1);
    CHECK(pthread_create(&idle, NULL, be_idle, &team) == 0);
    CHECK(pthread_create(&claimer, NULL, claim_and_wait, &team) == 0);
    sleep_ms(30);
    /* It wakes those that wait already: again and again, for the threads may not have come to it. */
    EVENTUALLY(tw_pipeline_interrupt(team.pipeline, NULL) == TW_STATUS_OK && count_of(&team.over) == 2);
    CHECK(pthread_join(idle, NULL) == 0);
    CHECK(pthread_join(claimer, NULL) == 0);
    CHECK_EQ(team.wrong, 0);
    OK(tw_pipeline_wait_idle(team.pipeline, 1, &is_idle, &err));
    CHECK_EQ(is_idle, 0);
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    OK(tw_jobs_free(jobs, &err));
    OK(tw_pipeline_wait_idle(team.pipeline, -1, &is_idle, &err));
    CHECK_EQ(is_idle, 1);
    OK(tw_pipeline_free(team.pipeline, &err));
}

static tw_limiter *new_limiter(int64_t limit, int64_t window_ms) {
    tw_options *options = new_options(TW_OPTIONS_LIMITER);
    tw_limiter *limiter = NULL;
    OK(tw_options_set_int(options, TW_OPTION_LIMITER_LIMIT, limit, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_limiter_new(options, &limiter, &err));
    OK(tw_options_set_int(options, TW_OPTION_LIMITER_WINDOW_MS, window_ms, &err));
    OK(tw_options_set_int(options, TW_OPTION_LIMITER_PACING, 0, &err));
    OK(tw_limiter_new(options, &limiter, &err));
    OK(tw_options_free(options, &err));
    return limiter;
}

static tw_limiter_status_info status_of(tw_limiter *limiter) {
    tw_limiter_status_info info;
    memset(&info, 0xa5, sizeof info);
    OK(tw_limiter_status(limiter, &info, sizeof info, &err));
    return info;
}

static void *acquire_and_wait(void *data) {
    tw_permit *permit = NULL;
    tw_status status = tw_limiter_acquire(data, 1, -1, &permit, NULL);
    return (void *)(intptr_t)status;
}

static void limiters(void) {
    tw_limiter *limiter = NULL;
    tw_permit *permits[5] = {NULL, NULL, NULL, NULL, NULL};
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_limiter_new(NULL, &limiter, &err));
    limiter = new_limiter(10, 3600000);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_limiter_acquire(limiter, 0, 0, &permits[0], &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_limiter_acquire(limiter, 11, 0, &permits[0], &err));
    for (int i = 0; i < 4; ++i) {
        OK(tw_limiter_acquire(limiter, 2, INT64_MAX, &permits[i], &err));
    }
    FAILS(TW_STATUS_TIMEOUT, tw_limiter_acquire(limiter, 3, 1, &permits[4], &err));
    CHECK(permits[4] == NULL);
    tw_limiter_status_info info = status_of(limiter);
    CHECK(info.limit == 10 && info.effective_limit == 10 && info.in_window == 8);
    CHECK(info.granted == 4 && info.waiting == 0);
    OK(tw_permit_unused(permits[0], &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_permit_unused(permits[0], &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_permit_done(permits[0], &err));
    CHECK_EQ(status_of(limiter).in_window, 6);
    OK(tw_permit_done(permits[1], &err));
    OK(tw_permit_sent_at_once(permits[2], &err));
    OK(tw_limiter_succeeded(limiter, &err));
    OK(tw_permit_throttled(permits[3], 60000, &err));
    info = status_of(limiter);
    CHECK(info.effective_limit == 8 && info.has_paused_until && info.throttled == 1 && info.succeeded == 1);
    FAILS(TW_STATUS_TIMEOUT, tw_limiter_acquire(limiter, 1, 1, &permits[4], &err));
    OK(tw_limiter_throttled(limiter, INT64_MAX, &err));
    OK(tw_limiter_throttled(limiter, -1, &err));
    for (int i = 0; i < 4; ++i) {
        OK(tw_permit_free(permits[i], &err));
    }

    pthread_t thread;
    void *status = NULL;
    CHECK(pthread_create(&thread, NULL, acquire_and_wait, limiter) == 0);
    EVENTUALLY(status_of(limiter).waiting == 1);
    OK(tw_limiter_interrupt(limiter, &err));
    CHECK(pthread_join(thread, &status) == 0 && (intptr_t)status == TW_STATUS_TIMEOUT);
    CHECK(pthread_create(&thread, NULL, acquire_and_wait, limiter) == 0);
    EVENTUALLY(status_of(limiter).waiting == 1);
    OK(tw_limiter_close(limiter, &err));
    CHECK(pthread_join(thread, &status) == 0 && (intptr_t)status == TW_STATUS_CLOSED);
    OK(tw_limiter_close(limiter, &err));
    FAILS(TW_STATUS_CLOSED, tw_limiter_acquire(limiter, 1, 0, &permits[4], &err));
    OK(tw_limiter_free(limiter, &err));

    /* A permit outlives its limiter. */
    limiter = new_limiter(1, 1000);
    OK(tw_limiter_acquire(limiter, 1, 0, &permits[0], &err));
    OK(tw_limiter_free(limiter, &err));
    OK(tw_permit_done(permits[0], &err));
    OK(tw_permit_free(permits[0], &err));
}

/* A pipeline with a rate hands out as many jobs as may begin. */
static void the_limiter_of_a_pipeline(tw_warden *warden) {
    tw_pipeline *pipeline = open_pipeline(warden, "rated", TW_OPTION_PIPELINE_RATE_LIMIT, 5);
    tw_limiter *limiter = NULL;
    tw_jobs *jobs = NULL;
    size_t len = 0;
    OK(tw_pipeline_claim(pipeline, 100, 0, &jobs, &err));
    OK(tw_jobs_len(jobs, &len, &err));
    CHECK_EQ(len, 5);
    OK(tw_pipeline_limiter(pipeline, &limiter, &err));
    CHECK_EQ(status_of(limiter).in_window, 5);
    OK(tw_jobs_sends_nothing(jobs, 0, &err));
    CHECK_EQ(status_of(limiter).in_window, 4);
    OK(tw_jobs_answered(jobs, 1, &err));
    OK(tw_jobs_throttled(jobs, 2, 1000, &err));
    CHECK_EQ(status_of(limiter).effective_limit, 4);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_limiter_close(limiter, &err));
    OK(tw_jobs_free(jobs, &err));
    OK(tw_pipeline_free(pipeline, &err));
    OK(tw_limiter_free(limiter, &err));
    pipeline = open_pipeline(warden, "unrated", TW_OPTION_PIPELINE_PRIORITY, TW_PRIORITY_LOW);
    FAILS(TW_STATUS_NOT_FOUND, tw_pipeline_limiter(pipeline, &limiter, &err));
    OK(tw_pipeline_free(pipeline, &err));
}

static void retry_after(void) {
    const int64_t now_ns = INT64_C(784111777) * 1000000000;
    int64_t wait_ms = 7;
    OK(tw_parse_retry_after(tw_str("120"), now_ns, &wait_ms, &err));
    CHECK_EQ(wait_ms, 120000);
    OK(tw_parse_retry_after(tw_str("Sun, 06 Nov 1994 08:49:38 GMT"), now_ns, &wait_ms, &err));
    CHECK_EQ(wait_ms, 1000);
    OK(tw_parse_retry_after(tw_str("Sunday, 06-Nov-94 08:49:38 GMT"), now_ns + 1, &wait_ms, &err));
    CHECK_EQ(wait_ms, 1000);
    OK(tw_parse_retry_after(tw_str("Sun Nov  6 08:49:37 1994"), now_ns + 1, &wait_ms, &err));
    CHECK_EQ(wait_ms, 0);
    OK(tw_parse_retry_after(tw_str("99999999999999999999"), INT64_MIN, &wait_ms, &err));
    CHECK_EQ(wait_ms, 7 * 24 * 3600 * 1000);
    OK(tw_parse_retry_after(tw_str("Sun, 06 Nov 1994 08:49:38 GMT"), INT64_MAX, &wait_ms, &err));
    OK(tw_parse_retry_after(tw_str("Sun, 06 Nov 1994 08:49:38 GMT"), INT64_MIN, &wait_ms, &err));
    wait_ms = 7;
    const char *wrong[] = {"", "1.5", "-1", "soon", "\xff", "0x10"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT, tw_parse_retry_after(tw_str(wrong[i]), now_ns, &wait_ms, &err));
    }
    CHECK_EQ(wait_ms, 7);
}

int main(void) {
    test_enter();
    write_files("tree/song", FILES);
    tw_warden *warden = open_warden(NULL);
    CHECK_EQ(scan(warden).added, FILES);
    workers(warden);
    waits_end(warden);
    limiters();
    the_limiter_of_a_pipeline(warden);
    retry_after();
    OK(tw_warden_free(warden, &err));
    return 0;
}
