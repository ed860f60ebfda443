/*
 * Proves forks: in a child every call with a handle of the parent answers TW_STATUS_FORKED, the free functions too,
 * whatever kind of handle it is and whatever threads the parent had; the child makes handles of its own, and ends by
 * a normal exit; the parent goes on as if nothing had happened, and its state file is sound.
 */

#include "check.h"

#include <sys/wait.h>

#define FILES 30

static struct {
    tw_warden *warden;
    tw_snapshot *snapshot;
    tw_iter *iter;
    tw_list *list;
    tw_changes *changes;
    tw_changes *delivery;
    tw_follow *follow;
    tw_events *events;
    tw_listener *listener;
    tw_options *options;
    tw_cancel *cancel;
    tw_pipeline *pipeline;
    tw_jobs *jobs;
    tw_workers *workers;
    tw_limiter *limiter;
    tw_permit *permit;
    tw_batch *batch;
    tw_value *value;
    tw_error *error;
} its;

static int finalized;

static void on_event(const tw_event *event, void *user_data) {
    (void)event;
    (void)user_data;
}

static int32_t on_job(const tw_jobs *jobs, void *user_data) {
    (void)jobs;
    (void)user_data;
    return TW_WORKER_DONE;
}

static void make_all(void) {
    its.warden = open_warden(NULL);
    scan(its.warden);
    OK(tw_warden_snapshot(its.warden, &its.snapshot, &err));
    OK(tw_snapshot_iter(its.snapshot, NULL, &its.iter, &err));
    OK(tw_warden_roots(its.warden, &its.list, &err));
    OK(tw_warden_changes(its.warden, 0, &its.changes, &err));
    OK(tw_warden_follow(its.warden, tw_str("name"), &its.follow, &err));
    OK(tw_follow_next(its.follow, 1, 0, &its.delivery, &err));
    OK(tw_warden_subscribe(its.warden, 0, &its.events, &err));
    OK(tw_events_listen(its.warden, 0, on_event, &finalized, count_up, &its.listener, &err));
    OK(tw_cancel_new(&its.cancel, &err));
    its.options = new_options(TW_OPTIONS_PIPELINE);
    OK(tw_options_set_int(its.options, TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_warden_pipeline(its.warden, tw_str("jobs"), its.options, &its.pipeline, &err));
    OK(tw_pipeline_claim(its.pipeline, 3, 0, &its.jobs, &err));
    OK(tw_pipeline_work(its.pipeline, 2, on_job, &finalized, count_up, &its.workers, &err));
    tw_options *rate = new_options(TW_OPTIONS_LIMITER);
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_LIMIT, 10, &err));
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_WINDOW_MS, 1000, &err));
    OK(tw_limiter_new(rate, &its.limiter, &err));
    OK(tw_options_free(rate, &err));
    OK(tw_limiter_acquire(its.limiter, 1, 0, &its.permit, &err));
    OK(tw_warden_batch(its.warden, &its.batch, &err));
    OK(tw_batch_put(its.batch, tw_str("space"), tw_str("batch"), tw_str("v"), &err));
    OK(tw_space_put(its.warden, tw_str("space"), tw_str("key"), tw_str("v"), &err));
    OK(tw_space_get(its.warden, tw_str("space"), tw_str("key"), &its.value, &err));
    tw_list *none = NULL;
    CHECK(tw_warden_explain(its.warden, tw_str("none"), &none, &its.error) != TW_STATUS_OK && its.error != NULL);
    OK(tw_warden_watch(its.warden, NULL, &err));
    uint64_t seq = 0;
    OK(tw_warden_sync(its.warden, -1, &seq, &err));
}

#define FORKED(call) FAILS(TW_STATUS_FORKED, call)

/* One call with each kind of handle, and its free function. Nothing is written to. */
static void child_calls_all(void) {
    tw_entry entry;
    tw_change change;
    tw_event event;
    tw_job job;
    tw_error_info info;
    tw_limiter_status_info rate;
    tw_bytes bytes;
    tw_snapshot *snapshot = NULL;
    tw_list *list = NULL;
    tw_pipeline *pipeline = NULL;
    uint64_t seq = 77;
    size_t count = 77;
    tw_status status = 77;
    FORKED(tw_warden_seq(its.warden, &seq, &err));
    FORKED(tw_warden_snapshot(its.warden, &snapshot, &err));
    FORKED(tw_warden_scan(its.warden, NULL, NULL, 0, &list, &err));
    FORKED(tw_warden_pipeline(its.warden, tw_str("jobs"), its.options, &pipeline, &err));
    FORKED(tw_space_put(its.warden, tw_str("space"), tw_str("key"), tw_str("child"), &err));
    FORKED(tw_warden_unwatch(its.warden, &err));
    FORKED(tw_warden_close(its.warden, &err));
    FORKED(tw_snapshot_get(its.snapshot, tw_str("music"), &entry, sizeof entry, &err));
    FORKED(tw_iter_next(its.iter, &entry, sizeof entry, 1, &count, &err));
    FORKED(tw_list_len(its.list, &count, &err));
    FORKED(tw_changes_next(its.changes, &change, sizeof change, 1, &count, &err));
    FORKED(tw_changes_ack(its.delivery, &seq, &err));
    FORKED(tw_follow_next(its.follow, 1, -1, &its.changes, &err));
    FORKED(tw_events_next(its.events, -1, &event, sizeof event, &err));
    FORKED(tw_listener_status(its.listener, &status, &err));
    FORKED(tw_options_set_int(its.options, TW_OPTION_PIPELINE_SETTLE_MS, 1, &err));
    FORKED(tw_cancel_cancel(its.cancel, &err));
    FORKED(tw_pipeline_interrupt(its.pipeline, &err));
    FORKED(tw_jobs_get(its.jobs, 0, &job, sizeof job, &err));
    FORKED(tw_jobs_complete_all(its.jobs, NULL, 0, &err));
    FORKED(tw_workers_stop(its.workers, &err));
    FORKED(tw_limiter_status(its.limiter, &rate, sizeof rate, &err));
    FORKED(tw_permit_done(its.permit, &err));
    FORKED(tw_batch_commit(its.batch, &seq, &err));
    FORKED(tw_value_bytes(its.value, &bytes, &err));
    FORKED(tw_error_get(its.error, &info, sizeof info, &err));
    CHECK(seq == 77 && count == 77 && status == 77 && snapshot == NULL && list == NULL && pipeline == NULL);

    FORKED(tw_warden_free(its.warden, &err));
    FORKED(tw_snapshot_free(its.snapshot, &err));
    FORKED(tw_iter_free(its.iter, &err));
    FORKED(tw_list_free(its.list, &err));
    FORKED(tw_changes_free(its.changes, &err));
    FORKED(tw_changes_free(its.delivery, &err));
    FORKED(tw_follow_free(its.follow, &err));
    FORKED(tw_events_free(its.events, &err));
    FORKED(tw_listener_free(its.listener, &err));
    FORKED(tw_options_free(its.options, &err));
    FORKED(tw_cancel_free(its.cancel, &err));
    FORKED(tw_pipeline_free(its.pipeline, &err));
    FORKED(tw_jobs_free(its.jobs, &err));
    FORKED(tw_workers_free(its.workers, &err));
    FORKED(tw_limiter_free(its.limiter, &err));
    FORKED(tw_permit_free(its.permit, &err));
    FORKED(tw_batch_free(its.batch, &err));
    FORKED(tw_value_free(its.value, &err));
    FORKED(tw_error_free(its.error, &err));
    CHECK_EQ(finalized, 0);
}

/* The child has what it makes itself: another state file, with everything that runs in threads. */
static void child_lives(const char *state) {
    tw_warden *warden = NULL;
    tw_options *options = new_options(TW_OPTIONS_SCAN);
    tw_list *list = NULL;
    uint64_t seq = 0;
    FAILS(TW_STATUS_BUSY, tw_warden_open(tw_str(in_dir("state.tw")), NULL, &warden, &err));
    FORKED(tw_warden_open(tw_str(in_dir(state)), its.options, &warden, &err));
    OK(tw_warden_open(tw_str(in_dir(state)), NULL, &warden, &err));
    OK(tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    OK(tw_warden_scan(warden, options, NULL, 0, &list, &err));
    OK(tw_warden_watch(warden, NULL, &err));
    OK(tw_warden_sync(warden, -1, &seq, &err));
    OK(tw_warden_free(warden, &err));
    OK(tw_options_free(options, &err));
    OK(tw_list_free(list, &err));
}

static void wait_for(pid_t child) {
    int how = 0;
    CHECK(child > 0);
    CHECK(waitpid(child, &how, 0) == child);
    CHECK(WIFEXITED(how));
    CHECK_EQ(WEXITSTATUS(how), 0);
}

static void fork_all_kinds_of_children(const char *state) {
    /* One that does nothing at all. */
    pid_t child = fork();
    if (child == 0) {
        exit(0);
    }
    wait_for(child);

    child = fork();
    if (child == 0) {
        child_calls_all();
        child_lives(state);
        exit(0);
    }
    wait_for(child);

    /* A grandchild knows the handles of both. */
    child = fork();
    if (child == 0) {
        tw_options *childs = new_options(TW_OPTIONS_SCAN);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            child_calls_all();
            FORKED(tw_options_free(childs, &err));
            exit(0);
        }
        wait_for(grandchild);
        OK(tw_options_free(childs, &err));
        exit(0);
    }
    wait_for(child);
}

static void parent_goes_on(void) {
    tw_entry entry;
    tw_change change;
    tw_bytes bytes;
    tw_error_info info;
    tw_status status = 77;
    size_t count = 0;
    uint64_t seq = 0;
    write_file("tree/afterwards", "afterwards");
    OK(tw_warden_sync(its.warden, -1, &seq, &err));
    OK(tw_snapshot_get(its.snapshot, tw_str("music/song-0001"), &entry, sizeof entry, &err));
    OK(tw_iter_next(its.iter, &entry, sizeof entry, 1, &count, &err));
    CHECK_EQ(count, 1);
    CHECK_EQ(list_len(its.list), 1);
    OK(tw_changes_next(its.changes, &change, sizeof change, 1, &count, &err));
    CHECK_EQ(count, 1);
    OK(tw_changes_ack(its.delivery, &seq, &err));
    OK(tw_listener_status(its.listener, &status, &err));
    CHECK_EQ(status, TW_STATUS_OK);
    OK(tw_jobs_complete_all(its.jobs, NULL, 0, &err));
    OK(tw_permit_done(its.permit, &err));
    OK(tw_batch_commit(its.batch, &seq, &err));
    OK(tw_value_bytes(its.value, &bytes, &err));
    CHECK_TEXT(bytes, "v");
    OK(tw_error_get(its.error, &info, sizeof info, &err));
    OK(tw_warden_check(its.warden, &err));
    CHECK_EQ(finalized, 0);
}

static void parent_frees_all(void) {
    OK(tw_warden_close(its.warden, &err));
    OK(tw_warden_free(its.warden, &err));
    OK(tw_snapshot_free(its.snapshot, &err));
    OK(tw_iter_free(its.iter, &err));
    OK(tw_list_free(its.list, &err));
    OK(tw_changes_free(its.changes, &err));
    OK(tw_changes_free(its.delivery, &err));
    OK(tw_follow_free(its.follow, &err));
    OK(tw_events_free(its.events, &err));
    OK(tw_listener_free(its.listener, &err));
    OK(tw_options_free(its.options, &err));
    OK(tw_cancel_free(its.cancel, &err));
    OK(tw_pipeline_free(its.pipeline, &err));
    OK(tw_jobs_free(its.jobs, &err));
    OK(tw_workers_free(its.workers, &err));
    OK(tw_limiter_free(its.limiter, &err));
    OK(tw_permit_free(its.permit, &err));
    OK(tw_batch_free(its.batch, &err));
    OK(tw_value_free(its.value, &err));
    OK(tw_error_free(its.error, &err));
    CHECK_EQ(finalized, 2);
}

int main(void) {
    test_enter();
    write_files("tree/song", FILES);
    make_all();
    fork_all_kinds_of_children("first.tw");
    parent_goes_on();
    fork_all_kinds_of_children("second.tw");
    parent_frees_all();

    /* The parent has closed the state file: the child may open it. */
    pid_t child = fork();
    if (child == 0) {
        tw_warden *warden = NULL;
        OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, &warden, &err));
        OK(tw_warden_check(warden, &err));
        OK(tw_warden_free(warden, &err));
        exit(0);
    }
    wait_for(child);
    tw_warden *warden = NULL;
    OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, &warden, &err));
    OK(tw_warden_free(warden, &err));
    return 0;
}
