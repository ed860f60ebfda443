/*
 * Proves that structs may grow: a program with an older header passes a smaller size and gets as much, with everything
 * behind it untouched; one with a later header passes a larger size and finds zeros in what the library does not know.
 * For every struct that is filled, in arrays too, and for the structs that are read; but for what comes over a stream,
 * which is in fleet.c, and for storages of the program, which are in storage.c.
 */

#include "check.h"

#define ROOM 1024
#define CANARY 0xa5
#define SECOND_NS INT64_C(1000000000)

static tw_warden *warden;
static tw_snapshot *snapshot;
static tw_pipeline *pipeline;
static tw_limiter *limiter;
static tw_jobs *jobs;
static tw_list *roots, *reports, *operations, *pairs, *explanation, *verified, *rebuilt;
static tw_list *pipelines, *items, *work_explanation;
static tw_list *mirrors, *mirror_status, *mirror_report, *mirror_plan, *audit, *url_changes;
static tw_options *replace;
static tw_error *error;

/* The functions that fill one struct: each gives the same again and again. */
#define FILLER(name, call)                                    \
    static tw_status name(void *place, size_t size) {         \
        return call;                                          \
    }

FILLER(fill_error, tw_error_get(error, place, size, &err))
FILLER(fill_entry, tw_snapshot_get(snapshot, tw_str("music/link"), place, size, &err))
FILLER(fill_missing, tw_snapshot_get_missing(snapshot, tw_str("music/gone"), place, size, &err))
FILLER(fill_totals, tw_snapshot_du(snapshot, tw_str("music"), place, size, &err))
FILLER(fill_status, tw_warden_status(warden, place, size, &err))
FILLER(fill_pipeline, tw_pipeline_status(pipeline, place, size, &err))
FILLER(fill_request, tw_pipeline_request(pipeline, tw_str("music/file-0001"), TW_PRIORITY_LOW, place, size, &err))
FILLER(fill_limiter, tw_limiter_status(limiter, place, size, &err))
FILLER(fill_job, tw_jobs_get(jobs, 0, place, size, &err))
FILLER(fill_root, tw_list_root(roots, 0, place, size, &err))
FILLER(fill_report, tw_list_report(reports, 0, place, size, &err))
FILLER(fill_operation, tw_list_operation(operations, 0, place, size, &err))
FILLER(fill_pair, tw_list_pair(pairs, 0, place, size, &err))
FILLER(fill_explanation, tw_list_explanation(explanation, 0, place, size, &err))
FILLER(fill_verified, tw_list_verify(verified, 0, place, size, &err))
FILLER(fill_difference, tw_list_difference(verified, 0, place, size, &err))
FILLER(fill_rebuilt, tw_list_rebuild(rebuilt, 0, place, size, &err))
FILLER(fill_pipeline_info, tw_list_pipeline(pipelines, 0, place, size, &err))
FILLER(fill_tier, tw_list_pipeline_tier(pipelines, 0, 0, place, size, &err))
FILLER(fill_item, tw_list_work_item(items, 0, place, size, &err))
FILLER(fill_work_explanation, tw_list_work_explanation(work_explanation, 0, place, size, &err))
FILLER(fill_scan_error, tw_list_scan_error(verified, 0, 0, place, size, &err))
FILLER(fill_mirror, tw_list_mirror(mirrors, 0, place, size, &err))
FILLER(fill_mirror_status, tw_list_mirror_status(mirror_status, 0, place, size, &err))
FILLER(fill_mirror_report, tw_list_mirror_report(mirror_report, 0, place, size, &err))
FILLER(fill_mirror_error, tw_list_mirror_error(mirror_report, 0, place, size, &err))
FILLER(fill_mirror_plan, tw_list_mirror_plan(mirror_plan, 0, place, size, &err))
FILLER(fill_mirror_step, tw_list_mirror_step(mirror_plan, 0, place, size, &err))
FILLER(fill_audit, tw_list_audit(audit, 0, place, size, &err))
FILLER(fill_audit_finding, tw_list_audit_finding(audit, 0, place, size, &err))
FILLER(fill_url_change, tw_list_url_change(url_changes, 0, place, size, &err))
FILLER(fill_export, tw_snapshot_export(snapshot, NULL, replace, tw_str("all.parquet"), place, size, &err))

static const struct {
    const char *name;
    tw_status (*fill)(void *, size_t);
    size_t size;
} all[] = {
    {"tw_error_info", fill_error, sizeof(tw_error_info)},
    {"tw_entry", fill_entry, sizeof(tw_entry)},
    {"tw_entry, missing", fill_missing, sizeof(tw_entry)},
    {"tw_totals", fill_totals, sizeof(tw_totals)},
    {"tw_status_info", fill_status, sizeof(tw_status_info)},
    {"tw_pipeline_status_info", fill_pipeline, sizeof(tw_pipeline_status_info)},
    {"tw_request_report", fill_request, sizeof(tw_request_report)},
    {"tw_limiter_status_info", fill_limiter, sizeof(tw_limiter_status_info)},
    {"tw_job", fill_job, sizeof(tw_job)},
    {"tw_root", fill_root, sizeof(tw_root)},
    {"tw_report", fill_report, sizeof(tw_report)},
    {"tw_operation", fill_operation, sizeof(tw_operation)},
    {"tw_pair", fill_pair, sizeof(tw_pair)},
    {"tw_explanation", fill_explanation, sizeof(tw_explanation)},
    {"tw_verify_report", fill_verified, sizeof(tw_verify_report)},
    {"tw_difference", fill_difference, sizeof(tw_difference)},
    {"tw_rebuild_report", fill_rebuilt, sizeof(tw_rebuild_report)},
    {"tw_pipeline_info", fill_pipeline_info, sizeof(tw_pipeline_info)},
    {"tw_tier", fill_tier, sizeof(tw_tier)},
    {"tw_work_item", fill_item, sizeof(tw_work_item)},
    {"tw_work_explanation", fill_work_explanation, sizeof(tw_work_explanation)},
    {"tw_scan_error", fill_scan_error, sizeof(tw_scan_error)},
    {"tw_mirror_info", fill_mirror, sizeof(tw_mirror_info)},
    {"tw_mirror_status_info", fill_mirror_status, sizeof(tw_mirror_status_info)},
    {"tw_mirror_report", fill_mirror_report, sizeof(tw_mirror_report)},
    {"tw_mirror_error", fill_mirror_error, sizeof(tw_mirror_error)},
    {"tw_mirror_plan_info", fill_mirror_plan, sizeof(tw_mirror_plan_info)},
    {"tw_mirror_step", fill_mirror_step, sizeof(tw_mirror_step)},
    {"tw_audit_report", fill_audit, sizeof(tw_audit_report)},
    {"tw_audit_finding", fill_audit_finding, sizeof(tw_audit_finding)},
    {"tw_url_change", fill_url_change, sizeof(tw_url_change)},
    {"tw_export_report", fill_export, sizeof(tw_export_report)},
};

static int is_all(const unsigned char *from, const unsigned char *to, unsigned char byte) {
    for (; from < to; ++from) {
        if (*from != byte) {
            return 0;
        }
    }
    return 1;
}

static void check_struct(const char *name, tw_status (*fill)(void *, size_t), size_t known) {
    static union {
        unsigned char bytes[ROOM];
        uint64_t aligned;
    } whole, part;
    CHECK(known + 256 <= ROOM && known % 8 == 0);
    memset(whole.bytes, CANARY, ROOM);
    OK(fill(whole.bytes, known));
    for (size_t size = 8; size <= known + 128; size += 8) {
        size_t filled = size < known ? size : known;
        memset(part.bytes, CANARY, ROOM);
        OK(fill(part.bytes, size));
        if (memcmp(part.bytes, whole.bytes, filled) != 0 || !is_all(part.bytes + filled, part.bytes + size, 0) ||
            !is_all(part.bytes + size, part.bytes + ROOM, CANARY)) {
            fprintf(stderr, "%s is not filled as it should be with a size of %zu of %zu\n", name, size, known);
            check_die();
        }
    }
    const size_t none[] = {0, 1, 4, 12, SIZE_MAX};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; ++i) {
        memset(part.bytes, CANARY, ROOM);
        FAILS(TW_STATUS_INVALID_ARGUMENT, fill(part.bytes, none[i]));
        CHECK(is_all(part.bytes, part.bytes + ROOM, CANARY));
    }
}

/* A list of each kind that a mirror gives: one file is sent, one has a name that no store holds, one is a stranger. */
static void make_mirror_lists(tw_warden *of) {
    tw_options *options = new_options(TW_OPTIONS_MIRROR);
    tw_mirror *mirror = NULL;
    tw_urls *before = NULL, *after = NULL;
    char target[700];
    make_dir("remote");
    snprintf(target, sizeof target, "file://%s", in_dir("remote"));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ADDRESS, tw_str("a"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_TARGET, tw_str(target), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_PUBLIC_URL, tw_str("https://cdn.example"), &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_SETTLE_MS, 0, &err));
    OK(tw_warden_mirror(of, tw_str("cdn"), options, &mirror, &err));
    OK(tw_mirror_urls(mirror, &before, &err));
    OK(tw_mirror_plan(mirror, &mirror_plan, &err));
    OK(tw_mirror_sync(mirror, 0, NULL, 0, &mirror_report, &err));
    OK(tw_mirror_urls(mirror, &after, &err));
    OK(tw_urls_diff(after, before, &url_changes, &err));
    write_file("remote/stranger", "stranger");
    OK(tw_mirror_audit(mirror, 0, 0, &audit, &err));
    OK(tw_mirror_status(mirror, &mirror_status, &err));
    OK(tw_warden_mirrors(of, &mirrors, &err));
    OK(tw_urls_free(before, &err));
    OK(tw_urls_free(after, &err));
    OK(tw_mirror_free(mirror, &err));
    OK(tw_options_free(options, &err));
}

static void make_all(void) {
    tw_options *options = new_options(TW_OPTIONS_OPEN);
    OK(tw_options_set_int(options, TW_OPTION_OPEN_MANUAL_CLOCK_NS, INT64_C(1700000000) * SECOND_NS, &err));
    warden = open_warden(options);
    OK(tw_options_free(options, &err));
    scan(warden);
    CHECK(unlink(in_dir("tree/gone")) == 0);
    OK(tw_warden_scan(warden, NULL, NULL, 0, &reports, &err));
    tw_pair pair = {tw_str("name"), tw_str("value"), 0};
    OK(tw_warden_set_attrs(warden, tw_str("music/link"), &pair, sizeof pair, 1, &err));
    OK(tw_warden_attrs(warden, tw_str("music/link"), &pairs, &err));
    OK(tw_warden_snapshot(warden, &snapshot, &err));
    OK(tw_warden_roots(warden, &roots, &err));
    OK(tw_warden_history(warden, 5, &operations, &err));
    OK(tw_warden_explain(warden, tw_str("music/link"), &explanation, &err));
    CHECK(tw_warden_changes(warden, 1000000, &(tw_changes *){NULL}, &error) == TW_STATUS_RESET);

    options = new_options(TW_OPTIONS_PIPELINE);
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_TIERS, &err));
    OK(tw_warden_pipeline(warden, tw_str("jobs"), options, &pipeline, &err));
    OK(tw_options_free(options, &err));
    OK(tw_pipeline_claim(pipeline, 1, 0, &jobs, &err));
    OK(tw_warden_pipelines(warden, &pipelines, &err));
    OK(tw_pipeline_list(pipeline, tw_str(""), -1, 9, &items, &err));
    OK(tw_pipeline_explain(pipeline, tw_str("music/file-0001"), &work_explanation, &err));
    tw_request_report first;
    OK(tw_pipeline_request(pipeline, tw_str("music/file-0001"), TW_PRIORITY_LOW, &first, sizeof first, &err));
    options = new_options(TW_OPTIONS_LIMITER);
    OK(tw_options_set_int(options, TW_OPTION_LIMITER_LIMIT, 3, &err));
    OK(tw_options_set_int(options, TW_OPTION_LIMITER_WINDOW_MS, 1000, &err));
    OK(tw_limiter_new(options, &limiter, &err));
    OK(tw_options_free(options, &err));

    /* A verification with a difference and an error: a root that is not there. */
    tw_warden *other = NULL;
    make_dir("other");
    make_dir("away");
    write_file("away/file", "file");
    write_file("other/old", "old");
    write_file("other/no\nkey", "no key");
    OK(tw_warden_open(tw_str(in_dir("other.tw")), NULL, &other, &err));
    OK(tw_warden_add_root(other, tw_str("a"), tw_str(in_dir("other")), NULL, &err));
    OK(tw_warden_add_root(other, tw_str("b"), tw_str(in_dir("away")), NULL, &err));
    scan(other);
    make_mirror_lists(other);
    write_file("other/new", "new");
    CHECK(rename(in_dir("away"), in_dir("gone")) == 0);
    OK(tw_warden_verify(other, NULL, NULL, 0, &verified, &err));
    OK(tw_warden_free(other, &err));
    OK(tw_rebuild(tw_str(in_dir("other.tw")), &rebuilt, &err));
    replace = new_options(TW_OPTIONS_EXPORT);
    OK(tw_options_set_int(replace, TW_OPTION_EXPORT_REPLACE, 1, &err));
}

static void free_all(void) {
    tw_list *lists[] = {roots,       reports,       operations,    pairs,       explanation,
                        verified,    rebuilt,       items,         pipelines,   work_explanation,
                        mirrors,     mirror_status, mirror_report, mirror_plan, audit,
                        url_changes};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; ++i) {
        OK(tw_list_free(lists[i], &err));
    }
    OK(tw_options_free(replace, &err));
    OK(tw_error_free(error, &err));
    OK(tw_limiter_free(limiter, &err));
    OK(tw_jobs_free(jobs, &err));
    OK(tw_pipeline_free(pipeline, &err));
    OK(tw_snapshot_free(snapshot, &err));
    OK(tw_warden_free(warden, &err));
}

/* Rows that are shorter or longer than the library has them, one behind the other. */
static void arrays(size_t row_size) {
    unsigned char *rows = malloc(4 * row_size + 8);
    tw_iter *iter = NULL;
    tw_changes *changes = NULL;
    tw_bytes path;
    size_t count = 0;
    CHECK(rows != NULL);
    OK(tw_snapshot_iter(snapshot, NULL, &iter, &err));
    memset(rows, CANARY, 4 * row_size + 8);
    OK(tw_iter_next(iter, (tw_entry *)(void *)rows, row_size, 3, &count, &err));
    CHECK_EQ(count, 3);
    for (size_t i = 0; i < count; ++i) {
        char wanted[40];
        snprintf(wanted, sizeof wanted, "music/file-%04d", (int)i);
        memcpy(&path, rows + i * row_size, sizeof path);
        CHECK_TEXT(path, wanted);
        if (row_size > sizeof(tw_entry)) {
            CHECK(is_all(rows + i * row_size + sizeof(tw_entry), rows + (i + 1) * row_size, 0));
        }
    }
    CHECK(is_all(rows + 3 * row_size, rows + 4 * row_size + 8, CANARY));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_iter_next(iter, (tw_entry *)(void *)rows, row_size + 1, 3, &count, &err));
    size_t many = SIZE_MAX / 8;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_iter_next(iter, (tw_entry *)(void *)rows, row_size, many, &count, &err));
    OK(tw_iter_free(iter, &err));

    memset(rows, CANARY, 4 * row_size + 8);
    OK(tw_warden_changes(warden, 0, &changes, &err));
    OK(tw_changes_next(changes, (tw_change *)(void *)rows, row_size, 2, &count, &err));
    CHECK_EQ(count, 2);
    uint64_t ids[2];
    for (size_t i = 0; i < 2; ++i) {
        memcpy(&ids[i], rows + i * row_size + 8, sizeof ids[i]);
        if (row_size > sizeof(tw_change)) {
            CHECK(is_all(rows + i * row_size + sizeof(tw_change), rows + (i + 1) * row_size, 0));
        }
    }
    CHECK(ids[0] != ids[1] && ids[0] > 0 && ids[1] > 0);
    CHECK(is_all(rows + 2 * row_size, rows + 4 * row_size + 8, CANARY));
    OK(tw_changes_free(changes, &err));
    free(rows);
}

/* An event comes once: the same scan is told to three queues. */
static void events(void) {
    union {
        unsigned char bytes[ROOM];
        tw_event event;
    } shorter, exact, longer;
    tw_events *queues[3];
    const size_t size = sizeof(tw_event), few = size - 64, more = size + 64;
    memset(&shorter, CANARY, sizeof shorter);
    memset(&exact, CANARY, sizeof exact);
    memset(&longer, CANARY, sizeof longer);
    for (int i = 0; i < 3; ++i) {
        OK(tw_warden_subscribe(warden, 0, &queues[i], &err));
    }
    scan(warden);
    OK(tw_events_next(queues[0], 0, &shorter.event, few, &err));
    OK(tw_events_next(queues[1], 0, &exact.event, size, &err));
    OK(tw_events_next(queues[2], 0, &longer.event, more, &err));
    CHECK(exact.event.kind == TW_EVENT_SCAN_STARTED && longer.event.kind == TW_EVENT_SCAN_STARTED);
    CHECK_TEXT(shorter.event.root, "music");
    CHECK_TEXT(longer.event.root, "music");
    CHECK(is_all(shorter.bytes + few, shorter.bytes + ROOM, CANARY));
    CHECK(is_all(exact.bytes + size, exact.bytes + ROOM, CANARY));
    CHECK(is_all(longer.bytes + size, longer.bytes + more, 0));
    CHECK(is_all(longer.bytes + more, longer.bytes + ROOM, CANARY));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_events_next(queues[0], 0, &exact.event, 0, &err));
    for (int i = 0; i < 3; ++i) {
        OK(tw_events_free(queues[i], &err));
    }
}

/* What is read: a later program that sets what this library does not know is refused, rather than not heard. */
static void inputs(void) {
    struct {
        tw_scan_hooks hooks;
        uint64_t later[2];
    } hooks;
    struct {
        tw_completion completion;
        uint64_t later[2];
    } done;
    tw_list *list = NULL;
    memset(&hooks, 0, sizeof hooks);
    for (size_t size = 8; size <= sizeof hooks; size += 8) {
        OK(tw_warden_scan(warden, NULL, &hooks.hooks, size, &list, &err));
        OK(tw_list_free(list, &err));
    }
    list = NULL;
    hooks.later[1] = 1;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_scan(warden, NULL, &hooks.hooks, sizeof hooks, &list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_scan(warden, NULL, &hooks.hooks, 12, &list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_scan(warden, NULL, &hooks.hooks, 0, &list, &err));
    /* A field that the size leaves out is not read, whatever stands there. */
    hooks.hooks.cancel = (const tw_cancel *)(uintptr_t)12345;
    OK(tw_warden_scan(warden, NULL, &hooks.hooks, offsetof(tw_scan_hooks, cancel), &list, &err));
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_warden_scan(warden, NULL, &hooks.hooks, sizeof hooks.hooks, &list, &err));

    memset(&done, 0, sizeof done);
    done.later[0] = 1;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, &done.completion, sizeof done, &err));
    done.later[0] = 0;
    done.completion.has_refresh_at = 2;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, &done.completion, sizeof done, &err));
    done.completion.has_refresh_at = 1;
    OK(tw_jobs_complete(jobs, 0, &done.completion, 8, &err));
}

int main(void) {
    test_enter();
    write_files("tree/file", 10);
    write_file("tree/gone", "gone");
    CHECK(symlink("file-0001", in_dir("tree/link")) == 0);
    make_all();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) {
        check_struct(all[i].name, all[i].fill, all[i].size);
    }
    const size_t row_sizes[] = {16, 24, sizeof(tw_entry), sizeof(tw_entry) + 8, 512};
    for (size_t i = 0; i < sizeof row_sizes / sizeof row_sizes[0]; ++i) {
        arrays(row_sizes[i]);
    }
    events();
    inputs();
    free_all();
    return 0;
}
