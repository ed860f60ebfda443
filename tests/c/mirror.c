/*
 * Proves mirrors, to a directory: a copy that equals the tree, runs that send only what changed, plans, deletions that
 * wait for a word, URLs and what became of them, audits, a mirror that follows by itself, cancelling, and handles that
 * go in any order; that no secret is in a message or in the state file. Beside them the numbers of the engine, and
 * exports as Parquet files.
 */

#include "check.h"

#define FILES 20
#define BASE "https://cdn.example/photos"

struct told {
    int calls;
    uint64_t done;
    uint64_t total;
    uint64_t bytes;
};

static void on_progress(const tw_mirror_progress *progress, void *user_data) {
    struct told *told = user_data;
    CHECK(progress->done <= progress->total && progress->reserved == 0);
    CHECK(progress->done >= told->done);
    ++told->calls;
    told->done = progress->done;
    told->total = progress->total;
    told->bytes = progress->bytes;
}

/* Options for a mirror of `music` to the folder `remote`, below the prefix `img`. */
static tw_options *to_remote(void) {
    tw_options *options = new_options(TW_OPTIONS_MIRROR);
    char url[700];
    snprintf(url, sizeof url, "file://%s", in_dir("remote"));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ADDRESS, tw_str("music"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_TARGET, tw_str(url), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_PREFIX, tw_str("img"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_PUBLIC_URL, tw_str(BASE), &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_SETTLE_MS, 0, &err));
    return options;
}

static tw_mirror *open_mirror(tw_warden *warden, tw_options *options) {
    tw_mirror *mirror = NULL;
    OK(tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_options_free(options, &err));
    return mirror;
}

/* Runs it; gives the report. */
static tw_mirror_report sync_now(tw_mirror *mirror, int32_t accept_deletes, struct told *told) {
    tw_mirror_hooks hooks = {told == NULL ? NULL : on_progress, told, NULL};
    tw_mirror_report report;
    tw_list *list = NULL;
    OK(tw_mirror_sync(mirror, accept_deletes, &hooks, sizeof hooks, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_mirror_report(list, 0, &report, sizeof report, &err));
    CHECK_EQ(report.first_errors, report.failed + report.refused);
    OK(tw_list_free(list, &err));
    return report;
}

/* Whether a file holds this text, or, with NULL, is not there. */
static int holds(const char *name, const char *text) {
    char found[400];
    FILE *file = fopen(in_dir(name), "rb");
    if (file == NULL || text == NULL) {
        int is_there = file != NULL;
        if (is_there) {
            fclose(file);
        }
        return text == NULL && !is_there;
    }
    size_t len = fread(found, 1, sizeof found, file);
    fclose(file);
    return len == strlen(text) && memcmp(found, text, len) == 0;
}

static int value_is(tw_value *value, const char *text) {
    tw_bytes bytes;
    OK(tw_value_bytes(value, &bytes, &err));
    int is_so = same(bytes, tw_str(text));
    OK(tw_value_free(value, &err));
    return is_so;
}

static tw_mirror_status_info status_of(tw_mirror *mirror, tw_list **list) {
    tw_mirror_status_info info;
    OK(tw_mirror_status(mirror, list, &err));
    OK(tw_list_mirror_status(*list, 0, &info, sizeof info, &err));
    return info;
}

static void a_plan_tells_what_a_run_does(tw_mirror *mirror) {
    tw_list *plan = NULL;
    tw_mirror_plan_info info;
    tw_mirror_step step;
    struct told told = {0, 0, 0, 0};
    OK(tw_mirror_plan(mirror, &plan, &err));
    OK(tw_list_mirror_plan(plan, 0, &info, sizeof info, &err));
    CHECK(info.steps == FILES && info.uploads == FILES && info.copies == 0 && info.deletes == 0);
    CHECK(info.seq > 0 && !info.is_held && info.unsettled == 0 && info.refused == 0 && info.first_errors == 0);
    OK(tw_list_mirror_step(plan, 0, &step, sizeof step, &err));
    CHECK(step.kind == TW_MIRROR_STEP_UPLOAD && step.from.ptr == NULL && step.bytes > 0);
    CHECK_TEXT(step.path, "music/file-0000");
    CHECK_TEXT(step.key, "img/file-0000");
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_step(plan, FILES, &step, sizeof step, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_plan(plan, 1, &info, sizeof info, &err));
    CHECK(holds("remote/img/file-0000", NULL));

    tw_mirror_report report = sync_now(mirror, 0, &told);
    CHECK(report.uploaded == FILES && report.uploaded_bytes == info.upload_bytes && report.seq == info.seq);
    CHECK(report.is_complete && report.failed == 0 && report.refused == 0 && report.deleted == 0);
    CHECK(told.calls > 0 && told.done == FILES && told.total == FILES && told.bytes == info.upload_bytes);
    OK(tw_list_free(plan, &err));
}

static void the_copy_equals_the_tree(void) {
    for (int i = 0; i < FILES; ++i) {
        char copy[60], original[60];
        snprintf(copy, sizeof copy, "remote/img/file-%04d", i);
        snprintf(original, sizeof original, "tree/file-%04d", i);
        CHECK(holds(copy, original));
    }
}

static void nothing_changed_sends_nothing(tw_mirror *mirror) {
    struct told told = {0, 0, 0, 0};
    tw_mirror_report report = sync_now(mirror, 0, &told);
    CHECK(report.uploaded == 0 && report.copied == 0 && report.deleted == 0 && report.is_complete);
    CHECK_EQ(told.calls, 0);
}

static void only_what_changed_is_sent(tw_warden *warden, tw_mirror *mirror) {
    write_file("tree/file-0003", "another text");
    write_file("tree/new", "new");
    CHECK(rename(in_dir("tree/file-0004"), in_dir("tree/moved")) == 0);
    scan(warden);
    tw_mirror_report report = sync_now(mirror, 0, NULL);
    CHECK(report.uploaded + report.copied == 3 && report.uploaded >= 2 && report.deleted == 1 && report.is_complete);
    CHECK(holds("remote/img/file-0003", "another text") && holds("remote/img/new", "new"));
    CHECK(holds("remote/img/moved", "tree/file-0004") && holds("remote/img/file-0004", NULL));
}

static void urls_lead_there_and_back(tw_warden *warden, tw_mirror *mirror) {
    tw_urls *before = NULL, *after = NULL;
    tw_list *list = NULL;
    tw_value *value = NULL;
    tw_url_change change;
    tw_pair pair;
    uint64_t len = 0;
    write_file("tree/a b%c", "odd");
    scan(warden);
    OK(tw_mirror_urls(mirror, &before, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_mirror_url(mirror, tw_str("music/a b%c"), &value, &err));
    sync_now(mirror, 0, NULL);
    OK(tw_mirror_urls(mirror, &after, &err));
    OK(tw_mirror_url(mirror, tw_str("music/a b%c"), &value, &err));
    CHECK(value_is(value, BASE "/img/a%20b%25c"));
    OK(tw_mirror_path(mirror, tw_str(BASE "/img/a%20b%25c"), &value, &err));
    CHECK(value_is(value, "music/a b%c"));
    OK(tw_urls_url(after, tw_str("music/new"), &value, &err));
    CHECK(value_is(value, BASE "/img/new"));
    OK(tw_urls_path(after, tw_str(BASE "/img/new"), &value, &err));
    CHECK(value_is(value, "music/new"));
    /* A map stays what it was. */
    FAILS(TW_STATUS_NOT_FOUND, tw_urls_url(before, tw_str("music/a b%c"), &value, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_mirror_path(mirror, tw_str("https://other.example/img/new"), &value, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_mirror_url(mirror, tw_str("music/none"), &value, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_mirror_path(mirror, tw_str("\xff"), &value, &err));

    OK(tw_urls_len(after, &len, &err));
    CHECK_EQ(len, FILES + 2);
    OK(tw_urls_list(after, &list, &err));
    CHECK_EQ(list_len(list), FILES + 2);
    OK(tw_list_pair(list, 0, &pair, sizeof pair, &err));
    CHECK_TEXT(pair.key, "music/a b%c");
    CHECK_TEXT(pair.value, BASE "/img/a%20b%25c");
    OK(tw_list_free(list, &err));

    OK(tw_urls_diff(after, before, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_url_change(list, 0, &change, sizeof change, &err));
    CHECK(change.kind == TW_URL_CHANGE_ADDED);
    CHECK_TEXT(change.path, "music/a b%c");
    CHECK_TEXT(change.url, BASE "/img/a%20b%25c");
    OK(tw_list_free(list, &err));
    OK(tw_urls_diff(before, after, &list, &err));
    OK(tw_list_url_change(list, 0, &change, sizeof change, &err));
    CHECK(change.kind == TW_URL_CHANGE_REMOVED);
    OK(tw_list_free(list, &err));
    OK(tw_urls_free(before, &err));
    OK(tw_urls_free(after, &err));
}

static void many_deletions_wait_for_a_word(tw_warden *warden, tw_mirror **mirror) {
    tw_options *options = to_remote();
    tw_list *list = NULL;
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_DELETE_MAX, 0, &err));
    tw_mirror *old = *mirror;
    *mirror = open_mirror(warden, options);
    /* A mirror goes on under what was given last. */
    FAILS(TW_STATUS_CLOSED, tw_mirror_sync(old, 0, NULL, 0, &list, &err));
    OK(tw_mirror_free(old, &err));

    CHECK(unlink(in_dir("tree/file-0005")) == 0 && unlink(in_dir("tree/file-0006")) == 0);
    scan(warden);
    tw_mirror_report report = sync_now(*mirror, 0, NULL);
    CHECK(report.held == 2 && report.deleted == 0 && !report.is_complete);
    CHECK(holds("remote/img/file-0005", "tree/file-0005"));
    tw_mirror_status_info info = status_of(*mirror, &list);
    CHECK_EQ(info.held, 2);
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_mirror_sync(*mirror, 2, NULL, 0, &list, &err));
    report = sync_now(*mirror, 1, NULL);
    CHECK(report.held == 0 && report.deleted == 2 && report.is_complete);
    CHECK(holds("remote/img/file-0005", NULL) && holds("remote/img/file-0006", NULL));
}

static void an_audit_finds_and_mends(tw_mirror *mirror) {
    tw_list *list = NULL;
    tw_audit_report report;
    tw_audit_finding finding;
    OK(tw_mirror_audit(mirror, 0, 0, &list, &err));
    OK(tw_list_audit(list, 0, &report, sizeof report, &err));
    CHECK(report.is_clean && report.findings == 0 && report.listed == report.matched && report.listed > 0);
    OK(tw_list_free(list, &err));

    CHECK(unlink(in_dir("remote/img/file-0001")) == 0);
    write_file("remote/img/stranger", "who put this here");
    OK(tw_mirror_audit(mirror, 1, 0, &list, &err));
    OK(tw_list_audit(list, 0, &report, sizeof report, &err));
    CHECK(report.lost == 1 && report.unknown == 1 && report.findings == 2 && !report.is_clean);
    OK(tw_list_audit_finding(list, 0, &finding, sizeof finding, &err));
    CHECK(finding.kind == TW_AUDIT_LOST);
    CHECK_TEXT(finding.key, "img/file-0001");
    OK(tw_list_audit_finding(list, 1, &finding, sizeof finding, &err));
    CHECK(finding.kind == TW_AUDIT_UNKNOWN);
    FAILS(TW_STATUS_NOT_FOUND, tw_list_audit_finding(list, 2, &finding, sizeof finding, &err));
    OK(tw_list_free(list, &err));
    tw_mirror_report run = sync_now(mirror, 0, NULL);
    CHECK(run.uploaded + run.copied == 1 && run.deleted == 0);
    CHECK(holds("remote/img/file-0001", "tree/file-0001"));
    CHECK(holds("remote/img/stranger", "who put this here"));
}

static void a_run_is_cancelled(tw_warden *warden, tw_mirror *mirror) {
    tw_cancel *cancel = NULL;
    tw_mirror_hooks hooks;
    tw_list *list = NULL;
    OK(tw_cancel_new(&cancel, &err));
    OK(tw_cancel_cancel(cancel, &err));
    memset(&hooks, 0, sizeof hooks);
    hooks.cancel = cancel;
    write_file("tree/late", "late");
    scan(warden);
    FAILS(TW_STATUS_CANCELLED, tw_mirror_sync(mirror, 0, &hooks, sizeof hooks, &list, &err));
    CHECK(holds("remote/img/late", NULL) && list == NULL);
    OK(tw_cancel_free(cancel, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_mirror_sync(mirror, 0, &hooks, sizeof hooks, &list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_mirror_sync(mirror, 0, &hooks, 12, &list, &err));
    /* What a later header may know is refused, rather than not heard. */
    struct {
        tw_mirror_hooks hooks;
        uint64_t later;
    } more = {{NULL, NULL, NULL}, 1};
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_mirror_sync(mirror, 0, &more.hooks, sizeof more, &list, &err));
    /* What the size leaves out is not read. */
    OK(tw_mirror_sync(mirror, 0, &hooks, 2 * sizeof(void *), &list, &err));
    OK(tw_list_free(list, &err));
    CHECK(holds("remote/img/late", "late"));
}

static void a_mirror_follows_by_itself(tw_warden *warden, tw_mirror *mirror) {
    tw_following *following = NULL, *second = NULL;
    tw_list *list = NULL;
    uint64_t seq = 0;
    OK(tw_warden_watch(warden, NULL, &err));
    OK(tw_mirror_follow(mirror, &following, &err));
    FAILS(TW_STATUS_BUSY, tw_mirror_follow(mirror, &second, &err));
    write_file("tree/followed", "by itself");
    OK(tw_warden_sync(warden, -1, &seq, &err));
    EVENTUALLY(holds("remote/img/followed", "by itself"));
    tw_mirror_status_info info = status_of(mirror, &list);
    CHECK(info.is_following && info.runs > 0 && info.last_error.ptr == NULL);
    OK(tw_list_free(list, &err));
    OK(tw_following_free(following, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_following_free(following, &err));
    info = status_of(mirror, &list);
    CHECK(!info.is_following);
    OK(tw_list_free(list, &err));
    OK(tw_warden_unwatch(warden, &err));
}

static void mirrors_are_listed(tw_warden *warden, tw_mirror *mirror) {
    tw_list *list = NULL;
    tw_mirror_info row;
    tw_bytes name;
    char target[700];
    snprintf(target, sizeof target, "file://%s", in_dir("remote"));
    OK(tw_warden_mirrors(warden, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_mirror(list, 0, &row, sizeof row, &err));
    CHECK_TEXT(row.name, "cdn");
    CHECK_TEXT(row.address, "music");
    CHECK_TEXT(row.target, target);
    CHECK_TEXT(row.public_url, BASE);
    CHECK(row.endpoint.ptr == NULL && row.region.ptr == NULL && row.place.len > 0);
    CHECK(!row.is_virtual_hosted && !row.has_opaque_etags);
    OK(tw_list_text(list, 0, &name, &err));
    CHECK_TEXT(name, "cdn");
    OK(tw_list_free(list, &err));

    tw_mirror_status_info info = status_of(mirror, &list);
    CHECK_TEXT(info.name, "cdn");
    CHECK_TEXT(info.prefix, "img");
    CHECK_TEXT(info.address, "music");
    CHECK(info.objects >= FILES && info.object_bytes > 0 && info.unsure == 0 && !info.is_running);
    CHECK(info.has_last_seq && info.has_last_run && info.has_pending && info.uploaded > 0 && info.purges_waiting == 0);
    OK(tw_list_free(list, &err));
    OK(tw_warden_mirror_status(warden, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_free(list, &err));
}

static tw_bytes glob_at(const tw_list *list, size_t index) {
    tw_bytes pattern;
    OK(tw_list_mirror_glob(list, 0, index, &pattern, &err));
    return pattern;
}

static void options_are_read_back(tw_warden *warden) {
    tw_options *options = new_options(TW_OPTIONS_MIRROR);
    tw_mirror *mirror = NULL;
    tw_list *list = NULL;
    tw_mirror_info row;
    tw_pair type;
    tw_bytes text;
    const struct {
        int32_t option;
        const char *text;
    } texts[] = {{TW_OPTION_MIRROR_ADDRESS, "music"},      {TW_OPTION_MIRROR_TARGET, "s3://bucket/pre/fix"},
                 {TW_OPTION_MIRROR_GLOB, "b*"},            {TW_OPTION_MIRROR_GLOB, "a*"},
                 {TW_OPTION_MIRROR_CACHE_CONTROL, "no-store"}, {TW_OPTION_MIRROR_CONTENT_TYPE, ".JXL=image/jxl"},
                 {TW_OPTION_MIRROR_CONTENT_TYPE, "avif=image/avif"}};
    const struct {
        int32_t option;
        int64_t value;
    } numbers[] = {{TW_OPTION_MIRROR_UPLOADS_MAX, 3},         {TW_OPTION_MIRROR_PART_BYTES, 6 << 20},
                   {TW_OPTION_MIRROR_MEMORY_BYTES, 7 << 20},  {TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S, 1000},
                   {TW_OPTION_MIRROR_ATTEMPTS_MAX, 4},        {TW_OPTION_MIRROR_BACKOFF_MS, 50},
                   {TW_OPTION_MIRROR_BACKOFF_MAX_MS, 5000},   {TW_OPTION_MIRROR_DELETE_MAX, 8},
                   {TW_OPTION_MIRROR_DELETE_SHARE_PERCENT, 9}, {TW_OPTION_MIRROR_SETTLE_MS, 10},
                   {TW_OPTION_MIRROR_PURGE_NEW, 1},           {TW_OPTION_MIRROR_ANONYMOUS, 1}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; ++i) {
        OK(tw_options_set_bytes(options, texts[i].option, tw_str(texts[i].text), &err));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
        OK(tw_options_set_int(options, numbers[i].option, numbers[i].value, &err));
    }
    /* Opening asks nobody. */
    OK(tw_warden_mirror(warden, tw_str("all"), options, &mirror, &err));
    OK(tw_options_free(options, &err));
    OK(tw_mirror_free(mirror, &err));
    OK(tw_warden_mirrors(warden, &list, &err));
    CHECK_EQ(list_len(list), 2);
    OK(tw_list_mirror(list, 0, &row, sizeof row, &err));
    CHECK_TEXT(row.name, "all");
    CHECK_TEXT(row.target, "s3://bucket");
    CHECK_TEXT(row.prefix, "pre/fix");
    CHECK_TEXT(row.cache_control, "no-store");
    CHECK(row.globs == 2 && row.content_types == 2 && row.uploads_max == 3 && row.part_bytes == 6 << 20);
    CHECK(row.memory_bytes == 7 << 20 && row.has_bandwidth && row.bandwidth_bytes_per_s == 1000);
    CHECK(row.attempts_max == 4 && row.backoff_ms == 50 && row.backoff_max_ms == 5000 && row.delete_max == 8);
    CHECK(row.delete_share_percent == 9 && row.settle_ms == 10 && row.purge_new && row.reserved == 0);
    CHECK_TEXT(glob_at(list, 0), "a*");
    CHECK_TEXT(glob_at(list, 1), "b*");
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_glob(list, 0, 2, &text, &err));
    OK(tw_list_mirror_content_type(list, 0, 0, &type, sizeof type, &err));
    CHECK_TEXT(type.key, "avif");
    CHECK_TEXT(type.value, "image/avif");
    OK(tw_list_mirror_content_type(list, 0, 1, &type, sizeof type, &err));
    CHECK_TEXT(type.key, "jxl");
    CHECK_EQ(type.number, 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_content_type(list, 0, 2, &type, sizeof type, &err));

    /* What was not said has its default. */
    OK(tw_list_mirror(list, 1, &row, sizeof row, &err));
    CHECK_TEXT(row.name, "cdn");
    CHECK_TEXT(row.prefix, "img");
    CHECK(row.cache_control.ptr == NULL && row.globs == 0 && row.content_types == 0 && !row.purge_new);
    CHECK(row.uploads_max == 10 && row.part_bytes == 8 << 20 && row.memory_bytes == 64 << 20 && !row.has_bandwidth);
    CHECK(row.attempts_max == 5 && row.backoff_ms == 200 && row.backoff_max_ms == 20000 && row.settle_ms == 0);
    CHECK(row.delete_max == 0 && row.delete_share_percent == 50 && row.bandwidth_bytes_per_s == 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_glob(list, 1, 0, &text, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_glob(list, 2, 0, &text, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_mirror_content_type(list, 2, 0, &type, sizeof type, &err));
    OK(tw_list_free(list, &err));
    OK(tw_warden_remove_mirror(warden, tw_str("all"), &err));
}

static void the_engine_tells_its_numbers(tw_warden *warden, tw_mirror *mirror) {
    tw_metrics metrics;
    tw_value *page = NULL;
    tw_bytes text;
    tw_list *list = NULL;
    tw_mirror_status_info info = status_of(mirror, &list);
    OK(tw_list_free(list, &err));
    OK(tw_warden_metrics(warden, &metrics, sizeof metrics, &err));
    CHECK(metrics.roots == 1 && metrics.files >= FILES && metrics.seq > 0 && metrics.state_file_bytes > 0);
    CHECK(metrics.mirrors == 1 && metrics.objects == info.objects && metrics.object_bytes == info.object_bytes);
    CHECK(metrics.roots_unavailable == 0 && metrics.mirrors_failing == 0 && metrics.taken_ns > 0);
    OK(tw_warden_prometheus(warden, &page, &err));
    OK(tw_value_bytes(page, &text, &err));
    CHECK(memmem(text.ptr, text.len, "treewarden_root_files{root=\"music\"} ", 36) != NULL);
    CHECK(memmem(text.ptr, text.len, "treewarden_mirror_objects{mirror=\"cdn\"} ", 40) != NULL);
    OK(tw_value_free(page, &err));
}

/* A Parquet file begins and ends with the same four letters. */
static int is_parquet(const char *name) {
    char begin[4], end[4];
    FILE *file = fopen(in_dir(name), "rb");
    if (file == NULL) {
        return 0;
    }
    int is_so = fread(begin, 1, 4, file) == 4 && fseek(file, -4, SEEK_END) == 0 && fread(end, 1, 4, file) == 4 &&
                memcmp(begin, "PAR1", 4) == 0 && memcmp(end, "PAR1", 4) == 0;
    fclose(file);
    return is_so;
}

static void entries_and_changes_are_exported(tw_warden *warden) {
    tw_snapshot *snapshot = NULL;
    tw_changes *changes = NULL;
    tw_options *options = new_options(TW_OPTIONS_EXPORT), *filter = new_options(TW_OPTIONS_FILTER);
    tw_export_report report;
    char token[TW_TOKEN_ROOM], part[200];
    size_t len = 0;
    uint64_t files = 0, seq = 0;
    OK(tw_warden_snapshot(warden, &snapshot, &err));
    OK(tw_snapshot_len(snapshot, &files, &err));
    OK(tw_snapshot_seq(snapshot, &seq, &err));
    tw_bytes all = tw_str(in_dir("all.parquet"));
    OK(tw_snapshot_export(snapshot, NULL, NULL, all, &report, sizeof report, &err));
    CHECK(report.rows == files && report.files == 1 && report.bytes > 0 && is_parquet("all.parquet"));
    all = tw_str(in_dir("all.parquet"));
    FAILS(TW_STATUS_ALREADY_EXISTS, tw_snapshot_export(snapshot, NULL, NULL, all, &report, sizeof report, &err));
    OK(tw_options_set_int(options, TW_OPTION_EXPORT_REPLACE, 1, &err));
    OK(tw_options_set_bytes(filter, TW_OPTION_FILTER_GLOB, tw_str("file-000*"), &err));
    OK(tw_options_set_bytes(filter, TW_OPTION_FILTER_UNDER, tw_str("music"), &err));
    OK(tw_snapshot_export(snapshot, filter, options, all, &report, sizeof report, &err));
    CHECK(report.rows > 0 && report.rows < files);

    OK(tw_options_set_int(options, TW_OPTION_EXPORT_PARTITIONED, 1, &err));
    tw_bytes lake = tw_str(in_dir("lake"));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_snapshot_export(snapshot, NULL, options, lake, &report, sizeof report, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_bytes(options, TW_OPTION_EXPORT_TOKEN, tw_str("x"), &err));
    OK(tw_warden_token(warden, token, sizeof token, &len, &err));
    OK(tw_options_set_bytes(options, TW_OPTION_EXPORT_TOKEN, tw_str(token), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_EXPORT_HOST, tw_str("nas-1"), &err));
    OK(tw_snapshot_export(snapshot, NULL, options, lake, &report, sizeof report, &err));
    CHECK(report.rows == files && report.files == 1);
    snprintf(part, sizeof part, "lake/host=nas-1/root=music/part-%llu.parquet", (unsigned long long)seq);
    CHECK(is_parquet(part));

    OK(tw_warden_changes(warden, 0, &changes, &err));
    OK(tw_changes_files_only(changes, &err));
    tw_bytes path = tw_str(in_dir("changes.parquet"));
    OK(tw_changes_export(changes, NULL, path, &report, sizeof report, &err));
    CHECK(report.rows >= files && is_parquet("changes.parquet"));
    tw_change row;
    size_t count = 7;
    OK(tw_changes_next(changes, &row, sizeof row, 1, &count, &err));
    CHECK_EQ(count, 0);
    OK(tw_changes_free(changes, &err));
    OK(tw_options_free(options, &err));
    OK(tw_options_free(filter, &err));
    OK(tw_snapshot_free(snapshot, &err));
}

static void bad_options_are_refused(tw_warden *warden) {
    tw_options *options = new_options(TW_OPTIONS_MIRROR);
    tw_mirror *mirror = NULL;
    const char *urls[] = {"", "ftp://x/y", "file://relative", "s3://", "s3://id:secret@bucket", "file:///a?b"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT,
              tw_options_set_bytes(options, TW_OPTION_MIRROR_TARGET, tw_str(urls[i]), &err));
    }
    const struct {
        int32_t option;
        int64_t value;
    } numbers[] = {{TW_OPTION_MIRROR_UPLOADS_MAX, 0},          {TW_OPTION_MIRROR_PART_BYTES, 1},
                   {TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S, 0}, {TW_OPTION_MIRROR_DELETE_SHARE_PERCENT, 101},
                   {TW_OPTION_MIRROR_ATTEMPTS_MAX, 0},         {TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX, 501},
                   {TW_OPTION_MIRROR_ANONYMOUS, 2},            {TW_OPTION_MIRROR_TARGET, 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(options, numbers[i].option, numbers[i].value, &err));
    }
    const char *types[] = {"", "jxl", "=image/jxl", "jxl="};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT,
              tw_options_set_bytes(options, TW_OPTION_MIRROR_CONTENT_TYPE, tw_str(types[i]), &err));
    }
    /* What would have no effect. */
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_UPLOADS_MAX, 3, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ADDRESS, tw_str("music"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_options_free(options, &err));

    options = to_remote();
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_INSTANCE, 1, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_ANONYMOUS, 1, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_options_free(options, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_mirror(warden, tw_str("none"), NULL, &mirror, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_remove_mirror(warden, tw_str("none"), &err));
    CHECK(mirror == NULL);
}

static int file_has(const char *name, const char *text) {
    static char all[64 << 20];
    FILE *file = fopen(in_dir(name), "rb");
    CHECK(file != NULL);
    size_t len = fread(all, 1, sizeof all, file);
    CHECK(len > 0 && len < sizeof all);
    fclose(file);
    return memmem(all, len, text, strlen(text)) != NULL;
}

static void no_secret_is_told(tw_warden *warden) {
    static const char secret[] = "hush-hush-hush";
    tw_options *options = to_remote();
    tw_mirror *mirror = NULL;
    tw_error *said = NULL;
    tw_error_info info;
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ACCESS_KEY, tw_str("id"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_SECRET_KEY, tw_str(secret), &err));
    CHECK(tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &said) == TW_STATUS_INVALID_ARGUMENT);
    OK(tw_error_get(said, &info, sizeof info, &err));
    CHECK(memmem(info.message.ptr, info.message.len, secret, strlen(secret)) == NULL && info.message.len > 0);
    CHECK(info.hint.ptr == NULL || memmem(info.hint.ptr, info.hint.len, secret, strlen(secret)) == NULL);
    OK(tw_error_free(said, &err));
    OK(tw_options_free(options, &err));

    /* Opening asks nobody. */
    options = new_options(TW_OPTIONS_MIRROR);
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ADDRESS, tw_str("music"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_TARGET, tw_str("s3://bucket/pre"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ENDPOINT, tw_str("http://127.0.0.1:9"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ACCESS_KEY, tw_str("id"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_SECRET_KEY, tw_str(secret), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_SESSION_TOKEN, tw_str("hush-token"), &err));
    OK(tw_warden_mirror(warden, tw_str("far"), options, &mirror, &err));
    OK(tw_options_free(options, &err));
    OK(tw_mirror_free(mirror, &err));
    CHECK(file_has("state.tw", "bucket"));
    CHECK(!file_has("state.tw", secret) && !file_has("state.tw", "hush-token"));
    OK(tw_warden_remove_mirror(warden, tw_str("far"), &err));
}

static void it_goes_on_after_a_restart(tw_warden **warden, tw_mirror **mirror) {
    tw_list *list = NULL;
    OK(tw_warden_free(*warden, &err));
    /* The mirror keeps the warden open. */
    OK(tw_mirror_plan(*mirror, &list, &err));
    OK(tw_list_free(list, &err));
    OK(tw_mirror_free(*mirror, &err));
    OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, warden, &err));
    OK(tw_warden_mirror(*warden, tw_str("cdn"), NULL, mirror, &err));
    nothing_changed_sends_nothing(*mirror);
}

static void nothing_is_done_without_a_root(void) {
    tw_warden *warden = NULL;
    tw_list *list = NULL;
    OK(tw_warden_open(tw_str(in_dir("other.tw")), NULL, &warden, &err));
    tw_options *options = to_remote();
    tw_mirror *mirror = NULL;
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_mirror(warden, tw_str("cdn"), options, &mirror, &err));
    OK(tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    mirror = open_mirror(warden, options);
    /* It was never scanned: that nothing is known does not mean that nothing is there. */
    FAILS(TW_STATUS_UNAVAILABLE, tw_mirror_sync(mirror, 1, NULL, 0, &list, &err));
    FAILS(TW_STATUS_UNAVAILABLE, tw_mirror_plan(mirror, &list, &err));
    OK(tw_mirror_free(mirror, &err));
    OK(tw_warden_free(warden, &err));
}

static void the_end(tw_warden *warden, tw_mirror *mirror) {
    tw_following *following = NULL;
    tw_urls *urls = NULL;
    tw_value *value = NULL;
    tw_list *list = NULL;
    tw_metrics metrics;
    OK(tw_mirror_follow(mirror, &following, &err));
    OK(tw_mirror_urls(mirror, &urls, &err));
    OK(tw_warden_close(warden, &err));
    FAILS(TW_STATUS_CLOSED, tw_mirror_sync(mirror, 0, NULL, 0, &list, &err));
    FAILS(TW_STATUS_CLOSED, tw_mirror_plan(mirror, &list, &err));
    FAILS(TW_STATUS_CLOSED, tw_warden_mirrors(warden, &list, &err));
    FAILS(TW_STATUS_CLOSED, tw_warden_metrics(warden, &metrics, sizeof metrics, &err));
    OK(tw_urls_url(urls, tw_str("music/file-0001"), &value, &err));
    CHECK(value_is(value, BASE "/img/file-0001"));
    OK(tw_mirror_free(mirror, &err));
    OK(tw_following_free(following, &err));
    OK(tw_warden_free(warden, &err));
    OK(tw_urls_free(urls, &err));
}

int main(void) {
    test_enter();
    make_dir("remote");
    write_files("tree/file", FILES);
    nothing_is_done_without_a_root();
    tw_warden *warden = open_warden(NULL);
    scan(warden);
    tw_mirror *mirror = open_mirror(warden, to_remote());
    a_plan_tells_what_a_run_does(mirror);
    the_copy_equals_the_tree();
    nothing_changed_sends_nothing(mirror);
    only_what_changed_is_sent(warden, mirror);
    urls_lead_there_and_back(warden, mirror);
    many_deletions_wait_for_a_word(warden, &mirror);
    an_audit_finds_and_mends(mirror);
    a_run_is_cancelled(warden, mirror);
    a_mirror_follows_by_itself(warden, mirror);
    mirrors_are_listed(warden, mirror);
    options_are_read_back(warden);
    the_engine_tells_its_numbers(warden, mirror);
    entries_and_changes_are_exported(warden);
    bad_options_are_refused(warden);
    no_secret_is_told(warden);
    it_goes_on_after_a_restart(&warden, &mirror);
    the_end(warden, mirror);
    return 0;
}
