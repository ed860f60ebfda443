/*
 * Proves pipelines: what is to be done and why; jobs that are claimed from one and from several pipelines; their
 * attributes; every way to end them; requests and retries; groups by rule and by a function of the program; and that
 * views of jobs outlive their end. Workers and limiters are in workers.c.
 */

#include "check.h"

#define SECOND_NS INT64_C(1000000000)
#define START_NS (INT64_C(1700000000) * SECOND_NS)
#define FILES 12

static tw_options *pipeline_options(void) {
    tw_options *options = new_options(TW_OPTIONS_PIPELINE);
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_RETRY_BASE_MS, 10000, &err));
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_RETRY_JITTER, 0, &err));
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_ATTEMPTS_MAX, 2, &err));
    return options;
}

static tw_pipeline *open_pipeline(tw_warden *warden, const char *name, tw_options *options) {
    tw_pipeline *pipeline = NULL;
    OK(tw_warden_pipeline(warden, tw_str(name), options, &pipeline, &err));
    OK(tw_options_free(options, &err));
    return pipeline;
}

static tw_jobs *claim(tw_pipeline *pipeline, size_t jobs_max, size_t wanted) {
    tw_jobs *jobs = NULL;
    size_t len = 99;
    OK(tw_pipeline_claim(pipeline, jobs_max, 0, &jobs, &err));
    OK(tw_jobs_len(jobs, &len, &err));
    CHECK_EQ(len, wanted);
    return jobs;
}

static tw_job job_at(tw_jobs *jobs, size_t index) {
    tw_job job;
    memset(&job, 0xa5, sizeof job);
    OK(tw_jobs_get(jobs, index, &job, sizeof job, &err));
    return job;
}

static tw_pipeline_status_info status_of(tw_pipeline *pipeline) {
    tw_pipeline_status_info info;
    memset(&info, 0xa5, sizeof info);
    OK(tw_pipeline_status(pipeline, &info, sizeof info, &err));
    return info;
}

static void by_name(tw_warden *warden) {
    tw_pipeline *pipeline = NULL, *same_one = NULL;
    tw_options *wrong = new_options(TW_OPTIONS_SCAN);
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_pipeline(warden, tw_str("index"), NULL, &pipeline, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_pipeline(warden, tw_str("index"), wrong, &pipeline, &err));
    OK(tw_options_free(wrong, &err));
    tw_options *options = pipeline_options();
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_pipeline(warden, tw_str("a/b"), options, &pipeline, &err));
    CHECK(pipeline == NULL);
    pipeline = open_pipeline(warden, "index", options);
    OK(tw_warden_pipeline(warden, tw_str("index"), NULL, &same_one, &err));
    tw_list *list = NULL;
    tw_bytes name;
    OK(tw_warden_pipelines(warden, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_text(list, 0, &name, &err));
    CHECK_TEXT(name, "index");
    OK(tw_list_free(list, &err));
    tw_pipeline_status_info info = status_of(same_one);
    CHECK_TEXT(info.name, "index");
    CHECK(info.new_items == FILES && info.processing == 0 && info.indexed == 0 && info.has_oldest_due);
    OK(tw_pipeline_free(pipeline, &err));
    CHECK_TEXT(info.name, "index");
    CHECK_EQ(status_of(same_one).new_items, FILES);
    OK(tw_pipeline_free(same_one, &err));
}

static tw_bytes text_of(tw_status (*get)(const tw_list *, size_t, size_t, tw_bytes *, tw_error **), const tw_list *list,
                        size_t pipeline, size_t index) {
    tw_bytes text;
    OK(get(list, pipeline, index, &text, &err));
    return text;
}

/* What was said when a pipeline was made is told, and the defaults where nothing was said. */
static void options_are_read_back(tw_warden *warden) {
    static const struct {
        int32_t option;
        int64_t value;
    } said[] = {
        {TW_OPTION_PIPELINE_GROUP, TW_GROUP_DEPTH},         {TW_OPTION_PIPELINE_GROUP_DEPTH, 2},
        {TW_OPTION_PIPELINE_VERSION, 7},                    {TW_OPTION_PIPELINE_PRIORITY, TW_PRIORITY_LOW},
        {TW_OPTION_PIPELINE_CONCURRENCY, 3},                {TW_OPTION_PIPELINE_SETTLE_MS, 11},
        {TW_OPTION_PIPELINE_LEASE_MS, 12000},               {TW_OPTION_PIPELINE_RETRY_BASE_MS, 13},
        {TW_OPTION_PIPELINE_RETRY_CAP_MS, 14},              {TW_OPTION_PIPELINE_ATTEMPTS_MAX, 15},
        {TW_OPTION_PIPELINE_RETRY_JITTER, 0},               {TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_TIERS},
        {TW_OPTION_PIPELINE_REFRESH_BATCH, 16},             {TW_OPTION_PIPELINE_REFRESH_GAP_MS, 17},
        {TW_OPTION_PIPELINE_RATE_LIMIT, 18},                {TW_OPTION_PIPELINE_RATE_WINDOW_MS, 19},
        {TW_OPTION_PIPELINE_RATE_PACING, 0},                {TW_OPTION_PIPELINE_RATE_FLOOR_PERMILLE, 333},
        {TW_OPTION_PIPELINE_CRASHES_MAX, 20},               {TW_OPTION_PIPELINE_PATHS_MATTER, 1},
    };
    tw_options *options = new_options(TW_OPTIONS_PIPELINE);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; ++i) {
        OK(tw_options_set_int(options, said[i].option, said[i].value, &err));
    }
    OK(tw_options_set_bytes(options, TW_OPTION_PIPELINE_ROOT, tw_str("music"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_PIPELINE_ROOT, tw_str("films"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_PIPELINE_GLOB, tw_str("**/*.mkv"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_PIPELINE_REFRESH_SCHEDULE, tw_str("0 3 * * *"), &err));
    OK(tw_options_add_tier(options, 5000, 6000, &err));
    OK(tw_options_add_tier(options, -1, 7000, &err));
    OK(tw_pipeline_free(open_pipeline(warden, "full", options), &err));
    OK(tw_pipeline_free(open_pipeline(warden, "bare", new_options(TW_OPTIONS_PIPELINE)), &err));

    tw_list *list = NULL;
    tw_pipeline_info full, bare;
    tw_tier tiers[2];
    tw_bytes text;
    OK(tw_warden_pipelines(warden, &list, &err));
    CHECK_EQ(list_len(list), 3);
    memset(&full, 0xa5, sizeof full);
    memset(&bare, 0xa5, sizeof bare);
    OK(tw_list_pipeline(list, 0, &bare, sizeof bare, &err));
    OK(tw_list_pipeline(list, 1, &full, sizeof full, &err));
    OK(tw_list_text(list, 1, &text, &err));
    CHECK_TEXT(text, "full");
    CHECK_TEXT(full.name, "full");
    CHECK(full.roots == 2 && full.globs == 1 && full.tiers == 2 && full.group_name.ptr == NULL);
    CHECK_TEXT(text_of(tw_list_pipeline_root, list, 1, 0), "films");
    CHECK_TEXT(text_of(tw_list_pipeline_root, list, 1, 1), "music");
    CHECK_TEXT(text_of(tw_list_pipeline_glob, list, 1, 0), "**/*.mkv");
    OK(tw_list_pipeline_tier(list, 1, 0, &tiers[0], sizeof tiers[0], &err));
    OK(tw_list_pipeline_tier(list, 1, 1, &tiers[1], sizeof tiers[1], &err));
    CHECK(tiers[0].younger_than_ms == 5000 && tiers[0].after_ms == 6000);
    CHECK(tiers[1].younger_than_ms == -1 && tiers[1].after_ms == 7000);
    CHECK(full.group == TW_GROUP_DEPTH && full.group_depth == 2 && full.version == 7);
    CHECK(full.priority == TW_PRIORITY_LOW && full.concurrency == 3 && full.settle_ms == 11);
    CHECK(full.lease_ms == 12000 && full.retry_base_ms == 13 && full.retry_cap_ms == 14 && full.attempts_max == 15);
    CHECK(!full.retry_jitter && full.refresh == TW_REFRESH_TIERS && full.refresh_after_ms == 0);
    CHECK(full.refresh_batch == 16 && full.refresh_gap_ms == 17);
    CHECK(full.has_rate && full.rate_limit == 18 && full.rate_window_ms == 19 && !full.rate_pacing);
    CHECK(full.rate_floor_permille == 333 && full.crashes_max == 20 && full.paths_matter == 1 && full.reserved == 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_list_pipeline(list, 3, &full, sizeof full, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_pipeline_root(list, 1, 2, &text, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_pipeline_glob(list, 0, 0, &text, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_pipeline_tier(list, 3, 0, &tiers[0], sizeof tiers[0], &err));

    CHECK(bare.roots == 0 && bare.globs == 0 && bare.tiers == 0 && bare.refresh_schedule.ptr == NULL);
    CHECK(bare.group == TW_GROUP_NONE && bare.version == 1 && bare.priority == TW_PRIORITY_HIGH);
    CHECK(bare.concurrency == 0 && bare.settle_ms == 1000 && bare.lease_ms == 300000);
    CHECK(bare.retry_base_ms == 60000 && bare.retry_cap_ms == 86400000 && bare.attempts_max == 5);
    CHECK(bare.retry_jitter == 1 && bare.refresh == TW_REFRESH_NEVER && bare.crashes_max == 100);
    CHECK(!bare.has_rate && bare.rate_limit == 0 && bare.refresh_batch == 0 && !bare.paths_matter);

    /* The schedule comes as it can be given: no other way to write it is needed. */
    options = new_options(TW_OPTIONS_PIPELINE);
    OK(tw_options_set_bytes(options, TW_OPTION_PIPELINE_REFRESH_SCHEDULE, full.refresh_schedule, &err));
    OK(tw_options_free(options, &err));
    OK(tw_list_free(list, &err));
    OK(tw_warden_remove_pipeline(warden, tw_str("full"), &err));
    OK(tw_warden_remove_pipeline(warden, tw_str("bare"), &err));
}

static void attributes_and_ends(tw_warden *warden) {
    tw_pipeline *pipeline = NULL;
    OK(tw_warden_pipeline(warden, tw_str("index"), NULL, &pipeline, &err));
    tw_jobs *jobs = claim(pipeline, 8, 8);
    tw_job first = job_at(jobs, 0), job;
    CHECK_TEXT(first.path, "music/song-0000");
    CHECK_TEXT(first.fs_path, in_dir("tree/song-0000"));
    CHECK(first.done_path.ptr == NULL && first.state == TW_WORK_NEW && first.priority == TW_PRIORITY_HIGH);
    CHECK(first.attempt == 1 && !first.is_gone && first.token > 0 && first.expires_ns == START_NS + 300 * SECOND_NS);
    CHECK_EQ(status_of(pipeline).processing, 8);
    FAILS(TW_STATUS_NOT_FOUND, tw_jobs_get(jobs, 8, &job, sizeof job, &err));

    tw_list *list = NULL;
    tw_value *value = NULL;
    tw_bytes bytes;
    tw_pair pair;
    OK(tw_jobs_files(jobs, 0, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_text(list, 0, &bytes, &err));
    CHECK_TEXT(bytes, "music/song-0000");
    OK(tw_list_free(list, &err));
    OK(tw_jobs_set_attr(jobs, 0, tw_str("etag"), tw_str("one"), &err));
    OK(tw_jobs_set_attr(jobs, 0, tw_str("gone"), tw_str("x"), &err));
    OK(tw_jobs_remove_attr(jobs, 0, tw_str("gone"), &err));
    OK(tw_jobs_remove_attr(jobs, 0, tw_str("never"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_set_attr(jobs, 0, tw_str(""), tw_str("x"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_set_attr(jobs, 0, tw_str("a/b"), tw_str("x"), &err));
    char *big = calloc(1, 65537);
    CHECK(big != NULL);
    FAILS(TW_STATUS_TOO_LARGE, tw_jobs_set_attr(jobs, 0, tw_str("big"), bytes_of(big, 65537), &err));
    free(big);
    FAILS(TW_STATUS_NOT_FOUND, tw_jobs_attr(jobs, 0, tw_str("gone"), &value, &err));
    OK(tw_jobs_attrs(jobs, 0, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_pair(list, 0, &pair, sizeof pair, &err));
    CHECK_TEXT(pair.key, "etag");
    CHECK_TEXT(pair.value, "one");
    OK(tw_list_free(list, &err));

    OK(tw_warden_clock_advance_ms(warden, 1000, &err));
    int64_t expires_ns = 0;
    OK(tw_jobs_renew(jobs, 0, &expires_ns, &err));
    CHECK_EQ(expires_ns, START_NS + 301 * SECOND_NS);
    CHECK_EQ(job_at(jobs, 0).expires_ns, expires_ns);

    /* One of each kind of end. */
    tw_completion completion;
    memset(&completion, 0, sizeof completion);
    completion.has_refresh_at = 1;
    completion.refresh_at_ns = 5;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, &completion, sizeof completion, &err));
    completion.refresh_at_ns = START_NS + 3600 * SECOND_NS;
    OK(tw_jobs_complete(jobs, 0, &completion, sizeof completion, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, NULL, 0, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_attr(jobs, 0, tw_str("etag"), &value, &err));
    OK(tw_jobs_fail(jobs, 1, tw_str("no network\n\xff"), 0, -1, &err));
    OK(tw_jobs_fail(jobs, 2, tw_str("not a song"), 1, -1, &err));
    OK(tw_jobs_fail(jobs, 3, tw_str("later"), 0, 60000, &err));
    OK(tw_jobs_snooze(jobs, 4, 5000, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_snooze(jobs, 5, -1, &err));
    OK(tw_jobs_release(jobs, 5, &err));
    tw_status statuses[9];
    memset(statuses, 0x55, sizeof statuses);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete_all(jobs, statuses, 7, &err));
    CHECK_EQ(statuses[0], 0x55555555);
    OK(tw_jobs_complete_all(jobs, statuses, 9, &err));
    for (int i = 0; i < 8; ++i) {
        CHECK_EQ(statuses[i], i < 6 ? TW_STATUS_INVALID_ARGUMENT : TW_STATUS_OK);
    }
    CHECK_EQ(statuses[8], 0x55555555);
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    /* Ended, and still told of. */
    CHECK_TEXT(first.path, "music/song-0000");
    CHECK_TEXT(job_at(jobs, 7).path, "music/song-0007");
    OK(tw_jobs_free(jobs, &err));

    tw_pipeline_status_info info = status_of(pipeline);
    CHECK(info.indexed == 3 && info.error == 3 && info.dead == 1 && info.processing == 0 && info.new_items == 6);
    OK(tw_pipeline_free(pipeline, &err));
}

static void what_is_told(tw_warden *warden) {
    tw_pipeline *pipeline = NULL;
    tw_list *list = NULL;
    tw_work_item item;
    tw_work_explanation told;
    tw_pair pair;
    OK(tw_warden_pipeline(warden, tw_str("index"), NULL, &pipeline, &err));
    OK(tw_pipeline_list(pipeline, tw_str("music"), -1, 100, &list, &err));
    CHECK_EQ(list_len(list), FILES);
    OK(tw_list_free(list, &err));
    OK(tw_pipeline_list(pipeline, bytes_of(NULL, 0), TW_WORK_ERROR, SIZE_MAX, &list, &err));
    CHECK_EQ(list_len(list), 3);
    OK(tw_list_work_item(list, 1, &item, sizeof item, &err));
    CHECK_TEXT(item.path, "music/song-0002");
    CHECK(item.state == TW_WORK_ERROR && item.is_dead);
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_pipeline_list(pipeline, tw_str("music"), 7, 1, &list, &err));

    OK(tw_pipeline_explain(pipeline, tw_str("music/song-0001"), &list, &err));
    OK(tw_list_work_explanation(list, 0, &told, sizeof told, &err));
    CHECK_TEXT(told.path, "music/song-0001");
    CHECK(told.state == TW_WORK_ERROR && told.attempts == 1 && !told.is_dead && told.has_due && told.why.len > 0);
    CHECK_EQ(told.due_ns, START_NS + 11 * SECOND_NS);
    CHECK(told.last_error.len > 0 && told.lease_holder.ptr == NULL && told.content_done.ptr == NULL);
    OK(tw_list_free(list, &err));
    OK(tw_pipeline_explain(pipeline, tw_str("music/song-0000"), &list, &err));
    OK(tw_list_work_explanation(list, 0, &told, sizeof told, &err));
    CHECK(told.state == TW_WORK_INDEXED && told.has_done && told.attrs == 1);
    CHECK(same(told.content_done, told.content_now));
    CHECK(told.has_refresh_at && told.refresh_at_ns == START_NS + 3600 * SECOND_NS);
    OK(tw_list_pair(list, 0, &pair, sizeof pair, &err));
    CHECK_TEXT(pair.value, "one");
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_pipeline_explain(pipeline, tw_str("music/none"), &list, &err));

    /* The dead come back, and what is done is done again when somebody asks. */
    uint64_t retried = 0;
    tw_request_report asked;
    OK(tw_pipeline_retry(pipeline, tw_str("music"), &retried, &err));
    CHECK_EQ(retried, 3);
    OK(tw_pipeline_request(pipeline, tw_str("music/song-0000"), TW_PRIORITY_CRITICAL, &asked, sizeof asked, &err));
    CHECK(asked.added == 1 && asked.merged == 0 && asked.promoted == 0 && asked.will_rerun == 0);
    OK(tw_pipeline_request(pipeline, tw_str("music/song-0000"), TW_PRIORITY_CRITICAL, &asked, sizeof asked, &err));
    CHECK(asked.added == 0 && asked.merged == 1);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_pipeline_request(pipeline, tw_str("music"), 5, &asked, sizeof asked, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_pipeline_request(pipeline, tw_str("music/x"), 0, &asked, sizeof asked, &err));
    tw_jobs *jobs = claim(pipeline, 1, 1);
    tw_job job = job_at(jobs, 0);
    CHECK_TEXT(job.path, "music/song-0000");
    CHECK(job.state == TW_WORK_INDEXED && job.priority == TW_PRIORITY_CRITICAL);
    CHECK_TEXT(job.done_path, "music/song-0000");
    OK(tw_jobs_free(jobs, &err));
    CHECK_EQ(status_of(pipeline).processing, 0);
    OK(tw_pipeline_free(pipeline, &err));
}

/* A lease that runs out is somebody else's then. */
static void a_lost_lease(tw_warden *warden) {
    tw_pipeline *pipeline = open_pipeline(warden, "leases", pipeline_options());
    tw_jobs *mine = claim(pipeline, FILES, FILES), *others;
    tw_job before = job_at(mine, 0);
    OK(tw_warden_clock_advance_ms(warden, 301000, &err));
    others = claim(pipeline, FILES, FILES);
    CHECK(same(job_at(others, 0).path, before.path));
    CHECK(job_at(others, 0).token != before.token);
    int64_t expires_ns = 7;
    FAILS(TW_STATUS_LEASE_LOST, tw_jobs_renew(mine, 0, &expires_ns, &err));
    CHECK_EQ(expires_ns, 7);
    FAILS(TW_STATUS_LEASE_LOST, tw_jobs_complete(mine, 0, NULL, 0, &err));
    tw_status statuses[FILES];
    OK(tw_jobs_complete_all(mine, statuses, FILES, &err));
    CHECK(statuses[0] == TW_STATUS_INVALID_ARGUMENT && statuses[1] == TW_STATUS_LEASE_LOST);
    CHECK_EQ(status_of(pipeline).indexed, 0);
    /* Freed and not ended: given back. */
    OK(tw_jobs_complete(others, 0, NULL, 0, &err));
    OK(tw_jobs_free(others, &err));
    OK(tw_jobs_free(mine, &err));
    OK(tw_jobs_free(claim(pipeline, FILES, FILES - 1), &err));
    OK(tw_warden_remove_pipeline(warden, tw_str("leases"), &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_remove_pipeline(warden, tw_str("leases"), &err));
    tw_jobs *none = NULL;
    FAILS(TW_STATUS_CLOSED, tw_pipeline_claim(pipeline, 1, -1, &none, &err));
    OK(tw_pipeline_free(pipeline, &err));
}

struct grouper {
    int calls;
    int finalized;
};

/* Files of the same last digit are one job, but for the nines, which are left out, and the eights, which fail. */
static int32_t group_of(tw_bytes address, void *key_out, tw_set_key set_key, void *user_data) {
    uint8_t digit = address.ptr[address.len - 1];
    char key[] = "music/group-?";
    count_up(&((struct grouper *)user_data)->calls);
    if (digit == '8') {
        return 1;
    }
    if (digit != '9') {
        set_key(key_out, tw_str("music/first-wish"));
        key[sizeof key - 2] = (char)digit;
        set_key(key_out, bytes_of(key, sizeof key - 1));
    }
    return 0;
}

static void on_group_end(void *user_data) {
    count_up(&((struct grouper *)user_data)->finalized);
}

static void groups(tw_warden *warden) {
    struct grouper grouper = {0, 0};
    tw_options *options = pipeline_options(), *wrong = new_options(TW_OPTIONS_SCAN);
    tw_bytes name = tw_str("by-digit");
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_group(wrong, name, group_of, &grouper, on_group_end, &err));
    CHECK_EQ(grouper.finalized, 1);
    OK(tw_options_free(wrong, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_group(options, name, NULL, &grouper, on_group_end, &err));
    CHECK_EQ(grouper.finalized, 2);
    OK(tw_options_set_group(options, name, group_of, &grouper, on_group_end, &err));
    OK(tw_options_set_group(options, name, group_of, &grouper, on_group_end, &err));
    CHECK_EQ(grouper.finalized, 3);
    tw_pipeline *pipeline = open_pipeline(warden, "groups", options);
    CHECK_EQ(grouper.finalized, 3);
    CHECK(count_of(&grouper.calls) >= FILES);
    tw_list *pipelines = NULL;
    tw_pipeline_info info;
    OK(tw_warden_pipelines(warden, &pipelines, &err));
    OK(tw_list_pipeline(pipelines, 0, &info, sizeof info, &err));
    CHECK_TEXT(info.name, "groups");
    CHECK(info.group == TW_GROUP_FUNCTION && info.group_depth == 0);
    CHECK_TEXT(info.group_name, "by-digit");
    OK(tw_list_free(pipelines, &err));
    tw_jobs *jobs = claim(pipeline, 100, 8);
    size_t zero = 0;
    while (!same(job_at(jobs, zero).path, tw_str("music/group-0"))) {
        ++zero;
    }
    tw_list *files = NULL;
    tw_bytes file;
    OK(tw_jobs_files(jobs, zero, &files, &err));
    CHECK_EQ(list_len(files), 2);
    OK(tw_list_text(files, 1, &file, &err));
    CHECK_TEXT(file, "music/song-0010");
    OK(tw_list_free(files, &err));
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    OK(tw_jobs_free(jobs, &err));
    tw_pipeline *without = NULL;
    OK(tw_pipeline_free(pipeline, &err));
    tw_status status = tw_warden_pipeline(warden, tw_str("groups"), NULL, &without, NULL);
    CHECK(status == TW_STATUS_OK || status == TW_STATUS_INVALID_ARGUMENT);
    OK(tw_pipeline_free(without, &err));
    OK(tw_warden_remove_pipeline(warden, tw_str("groups"), &err));
    EVENTUALLY(count_of(&grouper.finalized) == 4);
}

static void several_at_once(tw_warden *warden) {
    tw_options *options = pipeline_options();
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_PRIORITY, TW_PRIORITY_LOW, &err));
    const tw_pipeline *both[2];
    both[0] = open_pipeline(warden, "slow", options);
    both[1] = open_pipeline(warden, "fast", pipeline_options());
    tw_jobs *jobs = NULL;
    size_t len = 0;
    OK(tw_pipelines_claim(both, 2, FILES + 3, &jobs, &err));
    OK(tw_jobs_len(jobs, &len, &err));
    CHECK_EQ(len, FILES + 3);
    CHECK_EQ(job_at(jobs, 0).priority, TW_PRIORITY_HIGH);
    CHECK_EQ(job_at(jobs, FILES).priority, TW_PRIORITY_LOW);
    tw_status statuses[FILES + 3];
    OK(tw_pipeline_free((tw_pipeline *)both[0], &err));
    OK(tw_jobs_complete_all(jobs, statuses, FILES + 3, &err));
    for (size_t i = 0; i < len; ++i) {
        CHECK_EQ(statuses[i], TW_STATUS_OK);
    }
    OK(tw_jobs_free(jobs, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_pipelines_claim(both, 2, 1, &jobs, &err));
    OK(tw_pipelines_claim(NULL, 0, 1, &jobs, &err));
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    OK(tw_jobs_free(jobs, &err));

    /* A change and a loss are work, too. */
    write_file("tree/song-0000", "longer than it was before");
    CHECK(unlink(in_dir("tree/song-0001")) == 0);
    scan(warden);
    jobs = claim((tw_pipeline *)both[1], 10, 2);
    size_t changed = job_at(jobs, 1).state == TW_WORK_CHANGED;
    CHECK(job_at(jobs, changed).state == TW_WORK_CHANGED && !job_at(jobs, changed).is_gone);
    CHECK(job_at(jobs, 1 - changed).state == TW_WORK_MISSING && job_at(jobs, 1 - changed).is_gone);
    OK(tw_pipeline_free((tw_pipeline *)both[1], &err));
    OK(tw_warden_free(warden, &err));
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    OK(tw_jobs_free(jobs, &err));
}

int main(void) {
    test_enter();
    write_files("tree/song", FILES);
    tw_options *options = new_options(TW_OPTIONS_OPEN);
    OK(tw_options_set_int(options, TW_OPTION_OPEN_MANUAL_CLOCK_NS, START_NS, &err));
    tw_warden *warden = open_warden(options);
    OK(tw_options_free(options, &err));
    CHECK_EQ(scan(warden).added, FILES);
    by_name(warden);
    options_are_read_back(warden);
    attributes_and_ends(warden);
    what_is_told(warden);
    a_lost_lease(warden);
    groups(warden);
    several_at_once(warden);
    return 0;
}
