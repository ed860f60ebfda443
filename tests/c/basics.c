/*
 * Proves the first steps: versions and names; opening, and who may open; options that are checked when they are set;
 * roots; scans with progress, cancel, reports and errors of single paths; status, history, explanations, verification,
 * upkeep, the manual clock and tokens; a root that moves; rebuilding.
 */

#include "check.h"

#include <errno.h>

#define SECOND_NS INT64_C(1000000000)

static void versions_and_names(void) {
    CHECK_EQ(tw_abi_version(), TW_ABI_VERSION);
    CHECK(strchr(tw_version(), '.') != NULL);
    CHECK(strcmp(tw_status_name(TW_STATUS_OK), "ok") == 0);
    CHECK(strcmp(tw_status_name(TW_STATUS_INVALID_HANDLE), "invalid_handle") == 0);
    CHECK(strcmp(tw_status_name(99), "unknown") == 0);
    CHECK(strcmp(tw_status_name(INT32_MIN), "unknown") == 0);
    for (tw_status status = TW_STATUS_OK; status <= TW_STATUS_FORKED; ++status) {
        CHECK(strcmp(tw_status_name(status), "unknown") != 0);
    }
}

static void strangers_names_are_shown_safely(void) {
    char text[64];
    size_t len = 77;
    memset(text, 0x55, sizeof text);
    OK(tw_escape(tw_str("a\nb\xff\xc3\xa4"), text, sizeof text, &len, &err));
    CHECK(strcmp(text, "a\\nb\\xff\xc3\xa4") == 0 && len == strlen(text));
    OK(tw_escape(bytes_of(NULL, 0), text, 1, &len, &err));
    CHECK(len == 0 && text[0] == '\0');
    memset(text, 0x55, sizeof text);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_escape(tw_str("\x01"), text, 4, &len, &err));
    CHECK(len == 0 && text[0] == 0x55);
    /* Four for each byte and one are enough, whatever the bytes are. */
    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; second += 5) {
            const uint8_t both[] = {(uint8_t)first, (uint8_t)second};
            OK(tw_escape(bytes_of(both, 2), text, 9, &len, &err));
            CHECK(len <= 8 && strlen(text) == len);
        }
    }
}

static void options_are_checked_when_they_are_set(void) {
    tw_options *open = new_options(TW_OPTIONS_OPEN);
    OK(tw_options_set_int(open, TW_OPTION_OPEN_THREADS, 256, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(open, TW_OPTION_OPEN_THREADS, 257, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(open, TW_OPTION_OPEN_READ_ONLY, 2, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(open, TW_OPTION_OPEN_CACHE_BYTES, -1, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(open, TW_OPTION_SCAN_MODE, 0, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_bytes(open, TW_OPTION_OPEN_THREADS, tw_str("4"), &err));
    tw_options *root = new_options(TW_OPTIONS_ROOT);
    OK(tw_options_set_bytes(root, TW_OPTION_ROOT_IGNORE, tw_str("*.part"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_bytes(root, TW_OPTION_ROOT_IGNORE, tw_str("\xff"), &err));
    tw_warden *warden = NULL;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_open(tw_str(in_dir("state.tw")), root, &warden, &err));
    CHECK(warden == NULL);
    tw_options *watch = new_options(TW_OPTIONS_ROOT_WATCH);
    tw_bytes never = tw_str("61 * * * *");
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_bytes(watch, TW_OPTION_ROOT_WATCH_QUICK, never, &err));
    OK(tw_options_free(open, &err));
    OK(tw_options_free(root, &err));
    OK(tw_options_free(watch, &err));
}

static void one_opener(tw_warden *warden) {
    tw_warden *second = NULL;
    FAILS(TW_STATUS_BUSY, tw_warden_open(tw_str(in_dir("state.tw")), NULL, &second, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_open(tw_str(in_dir("no/state.tw")), NULL, &second, &err));
    write_file("text", "this is no state file, and is long enough to be told apart from one");
    FAILS(TW_STATUS_NOT_A_STATE_FILE, tw_warden_open(tw_str(in_dir("text")), NULL, &second, &err));
    tw_options *must_exist = new_options(TW_OPTIONS_OPEN);
    OK(tw_options_set_int(must_exist, TW_OPTION_OPEN_MUST_EXIST, 1, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_open(tw_str(in_dir("none.tw")), must_exist, &second, &err));
    OK(tw_options_free(must_exist, &err));
    CHECK(second == NULL);

    tw_error *error = NULL;
    CHECK_EQ(tw_warden_open(tw_str(in_dir("no/state.tw")), NULL, &second, &error), TW_STATUS_NOT_FOUND);
    tw_error_info info;
    OK(tw_error_get(error, &info, sizeof info, &err));
    CHECK_EQ(info.status, TW_STATUS_NOT_FOUND);
    CHECK_EQ(info.has_restart_seq, 0);
    CHECK(info.path.ptr != NULL && info.message.len > 0);
    OK(tw_error_free(error, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_error_free(error, &err));
    (void)warden;
}

static void roots(tw_warden *warden) {
    FAILS(TW_STATUS_ALREADY_EXISTS, tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_add_root(warden, tw_str("more"), tw_str(in_dir("none")), NULL, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_add_root(warden, tw_str("a/b"), tw_str(in_dir("tree")), NULL, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_remove_root(warden, tw_str("none"), &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_set_root_options(warden, tw_str("none"), NULL, &err));
    make_dir("second");
    OK(tw_warden_add_root(warden, tw_str("second"), tw_str(in_dir("second")), NULL, &err));
    tw_list *list = NULL;
    tw_root root;
    OK(tw_warden_roots(warden, &list, &err));
    CHECK_EQ(list_len(list), 2);
    OK(tw_list_root(list, 1, &root, sizeof root, &err));
    CHECK_TEXT(root.name, "second");
    CHECK_TEXT(root.path, in_dir("second"));
    CHECK_EQ(root.state, TW_ROOT_STATE_NEW);
    CHECK_EQ(root.is_watched, 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_list_root(list, 2, &root, sizeof root, &err));
    OK(tw_warden_remove_root(warden, tw_str("second"), &err));
    CHECK_TEXT(root.name, "second");
    OK(tw_list_free(list, &err));
}

struct told {
    int calls;
    uint64_t files;
};

static void on_progress(const tw_progress *progress, void *user_data) {
    struct told *told = user_data;
    CHECK_TEXT(progress->root, "music");
    CHECK(progress->phase >= TW_PHASE_WALK && progress->phase <= TW_PHASE_COMMIT);
    ++told->calls;
    told->files = progress->files;
}

static void scans(tw_warden *warden) {
    make_dir("tree/sub");
    write_files("tree/song", 300);
    write_files("tree/sub/song", 100);
    tw_cancel *cancel = NULL;
    OK(tw_cancel_new(&cancel, &err));
    OK(tw_cancel_cancel(cancel, &err));
    tw_scan_hooks hooks;
    memset(&hooks, 0, sizeof hooks);
    hooks.cancel = cancel;
    tw_list *list = NULL;
    tw_report report;
    OK(tw_warden_scan(warden, NULL, &hooks, sizeof hooks, &list, &err));
    OK(tw_list_report(list, 0, &report, sizeof report, &err));
    CHECK_EQ(report.is_cancelled, 1);
    CHECK_EQ(report.is_published, 0);
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_CANCELLED, tw_warden_verify(warden, NULL, &hooks, sizeof hooks, &list, &err));
    OK(tw_cancel_free(cancel, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_warden_scan(warden, NULL, &hooks, sizeof hooks, &list, &err));

    struct told told = {0, 0};
    hooks.cancel = NULL;
    hooks.progress = on_progress;
    hooks.user_data = &told;
    OK(tw_warden_scan(warden, NULL, &hooks, sizeof hooks, &list, &err));
    CHECK_EQ(list_len(list), 1);
    OK(tw_list_report(list, 0, &report, sizeof report, &err));
    CHECK_TEXT(report.root, "music");
    CHECK_EQ(report.added, 400);
    CHECK_EQ(report.files, 400);
    CHECK_EQ(report.is_clean, 1);
    CHECK(report.unavailable.ptr == NULL);
    CHECK(told.calls > 0 && told.files <= 400);
    tw_scan_error none;
    FAILS(TW_STATUS_NOT_FOUND, tw_list_scan_error(list, 0, 0, &none, sizeof none, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_list_scan_error(list, 1, 0, &none, sizeof none, &err));
    OK(tw_list_free(list, &err));

    uint64_t before = 0, after = 0;
    OK(tw_warden_seq(warden, &before, &err));
    report = scan(warden);
    OK(tw_warden_seq(warden, &after, &err));
    CHECK(report.is_unchanged && report.unchanged == 400 && before == after);

    tw_options *options = new_options(TW_OPTIONS_SCAN);
    OK(tw_options_set_bytes(options, TW_OPTION_SCAN_TARGET, tw_str("music/sub"), &err));
    OK(tw_options_set_int(options, TW_OPTION_SCAN_MODE, TW_SCAN_FULL, &err));
    OK(tw_warden_scan(warden, options, NULL, 0, &list, &err));
    OK(tw_list_report(list, 0, &report, sizeof report, &err));
    CHECK_EQ(report.files, 100);
    CHECK_EQ(report.mode, TW_SCAN_FULL);
    OK(tw_list_free(list, &err));
    OK(tw_options_set_bytes(options, TW_OPTION_SCAN_TARGET, tw_str("none/sub"), &err));
    list = NULL;
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_scan(warden, options, NULL, 0, &list, &err));
    CHECK(list == NULL);
    OK(tw_options_free(options, &err));
}

/* A directory that cannot be entered keeps its last state; as root everything can be, so a target is taken away. */
static void errors_of_a_scan(tw_warden *warden) {
    tw_options *options = new_options(TW_OPTIONS_SCAN);
    tw_list *list = NULL;
    tw_report report;
    if (geteuid() != 0) {
        CHECK(chmod(in_dir("tree/sub"), 0) == 0);
        tw_scan_error error;
        OK(tw_warden_scan(warden, NULL, NULL, 0, &list, &err));
        OK(tw_list_report(list, 0, &report, sizeof report, &err));
        CHECK(report.errors == 1 && report.first_errors == 1 && report.missing == 0 && !report.is_clean);
        OK(tw_list_scan_error(list, 0, 0, &error, sizeof error, &err));
        CHECK_TEXT(error.path, "music/sub");
        CHECK_EQ(error.status, TW_STATUS_PERMISSION_DENIED);
        OK(tw_list_free(list, &err));
        CHECK(chmod(in_dir("tree/sub"), 0755) == 0);
    }
    CHECK(rename(in_dir("tree"), in_dir("away")) == 0);
    OK(tw_warden_scan(warden, options, NULL, 0, &list, &err));
    OK(tw_list_report(list, 0, &report, sizeof report, &err));
    CHECK(report.unavailable.ptr != NULL && report.unavailable.len > 0);
    CHECK_EQ(report.missing, 0);
    OK(tw_list_free(list, &err));
    CHECK(rename(in_dir("away"), in_dir("tree")) == 0);
    CHECK_EQ(scan(warden).is_unchanged, 1);
    OK(tw_options_free(options, &err));
}

static void what_is_told(tw_warden *warden) {
    tw_status_info info;
    memset(&info, 0xa5, sizeof info);
    OK(tw_warden_status(warden, &info, sizeof info, &err));
    CHECK(info.files == 400 && info.dirs == 1 && info.roots == 1 && info.missing == 0 && info.reserved == 0);
    CHECK(info.file_bytes > 0 && info.journal_last_seq == info.seq && info.format_version > 0);
    CHECK_EQ(strlen(info.database_id), 32);

    tw_list *list = NULL;
    tw_operation operation;
    OK(tw_warden_history(warden, 10, &list, &err));
    CHECK(list_len(list) >= 1);
    OK(tw_list_operation(list, list_len(list) - 1, &operation, sizeof operation, &err));
    CHECK(operation.end_ns >= operation.start_ns && operation.start_ns > 0);
    CHECK_EQ(operation.status, TW_OPERATION_STATUS_OK);
    OK(tw_list_free(list, &err));
    OK(tw_warden_history(warden, SIZE_MAX, &list, &err));
    OK(tw_list_free(list, &err));
    OK(tw_warden_cursors(warden, &list, &err));
    CHECK_EQ(list_len(list), 0);
    OK(tw_list_free(list, &err));

    tw_explanation told;
    tw_root root;
    tw_bytes reason;
    OK(tw_warden_explain(warden, tw_str("music/song-0007"), &list, &err));
    OK(tw_list_explanation(list, 0, &told, sizeof told, &err));
    CHECK_TEXT(told.address, "music/song-0007");
    CHECK_TEXT(told.verdict, "current");
    CHECK(told.has_entry && told.is_on_disk && told.has_root && told.kind == TW_KIND_FILE);
    CHECK(told.size == told.disk_size && told.inode == told.disk_inode && told.attrs == 0);
    OK(tw_list_root(list, 0, &root, sizeof root, &err));
    CHECK_TEXT(root.name, "music");
    CHECK(told.reasons > 0);
    OK(tw_list_text(list, 0, &reason, &err));
    CHECK(reason.len > 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_list_text(list, (size_t)told.reasons, &reason, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_list_operation(list, 0, &operation, sizeof operation, &err));
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_explain(warden, tw_str("none/x"), &list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_explain(warden, tw_str("music/../x"), &list, &err));

    CHECK(unlink(in_dir("tree/song-0001")) == 0);
    write_file("tree/new", "new");
    tw_verify_report verified;
    tw_difference difference;
    OK(tw_warden_verify(warden, NULL, NULL, 0, &list, &err));
    OK(tw_list_verify(list, 0, &verified, sizeof verified, &err));
    CHECK(verified.differences == 2 && verified.differences_total == 2 && verified.errors == 0);
    OK(tw_list_difference(list, 0, &difference, sizeof difference, &err));
    CHECK_TEXT(difference.path, "music/new");
    CHECK_EQ(difference.what, TW_DIFFERENCE_UNKNOWN);
    OK(tw_list_difference(list, 1, &difference, sizeof difference, &err));
    CHECK_TEXT(difference.path, "music/song-0001");
    CHECK_EQ(difference.what, TW_DIFFERENCE_MISSING);
    OK(tw_list_free(list, &err));
    tw_report report = scan(warden);
    CHECK(report.added == 1 && report.missing == 1);
}

static void upkeep_and_tokens(tw_warden *warden) {
    uint64_t before = 0, after = 0, forgotten = 7, seq = 0;
    OK(tw_warden_check(warden, &err));
    OK(tw_warden_compact(warden, &before, &after, &err));
    CHECK(before >= after && after > 0);
    OK(tw_warden_maintain(warden, &forgotten, &err));
    CHECK_EQ(forgotten, 0);

    char token[TW_TOKEN_ROOM];
    size_t len = 0;
    memset(token, 0x55, sizeof token);
    OK(tw_warden_token(warden, token, sizeof token, &len, &err));
    CHECK(len > 0 && len < sizeof token && token[len] == '\0' && strlen(token) == len);
    CHECK(token[sizeof token - 1] == 0x55);
    char small[4] = {1, 2, 3, 4};
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_token(warden, small, sizeof small, &len, &err));
    CHECK(small[0] == 1 && small[3] == 4 && len == strlen(token));
    char exact[TW_TOKEN_ROOM];
    OK(tw_warden_token(warden, exact, len + 1, &len, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_token(warden, exact, len, &len, &err));
    tw_changes *changes = NULL;
    OK(tw_warden_changes_since_token(warden, tw_str(token), &changes, &err));
    OK(tw_changes_last_seq(changes, &seq, &err));
    OK(tw_warden_seq(warden, &after, &err));
    CHECK_EQ(seq, after);
    OK(tw_changes_free(changes, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_changes_since_token(warden, tw_str("nonsense"), &changes, &err));
}

/* The first clock counts to the tombstones' end by hand; the second, the system's, does not listen. */
static void clocks(tw_warden *of_system) {
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_clock_advance_ms(of_system, 1, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_clock_set_ns(of_system, 1, &err));
    tw_options *options = new_options(TW_OPTIONS_OPEN);
    tw_warden *warden = NULL;
    uint64_t forgotten = 0;
    OK(tw_options_set_int(options, TW_OPTION_OPEN_MANUAL_CLOCK_NS, 5 * SECOND_NS, &err));
    OK(tw_options_set_int(options, TW_OPTION_OPEN_TOMBSTONE_KEEP_MS, 60000, &err));
    OK(tw_options_set_int(options, TW_OPTION_OPEN_DURABILITY, TW_DURABILITY_RELAXED, &err));
    OK(tw_warden_open(tw_str(in_dir("clock.tw")), options, &warden, &err));
    OK(tw_options_free(options, &err));
    make_dir("timed");
    write_file("timed/a", "a");
    write_file("timed/b", "b");
    write_file("timed/c", "c");
    OK(tw_warden_add_root(warden, tw_str("timed"), tw_str(in_dir("timed")), NULL, &err));
    scan(warden);
    CHECK(unlink(in_dir("timed/a")) == 0);
    CHECK_EQ(scan(warden).missing, 1);
    OK(tw_warden_clock_advance_ms(warden, 59000, &err));
    OK(tw_warden_maintain(warden, &forgotten, &err));
    CHECK_EQ(forgotten, 0);
    OK(tw_warden_clock_set_ns(warden, 1000 * SECOND_NS, &err));
    OK(tw_warden_maintain(warden, &forgotten, &err));
    CHECK_EQ(forgotten, 1);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_clock_advance_ms(warden, -1, &err));

    make_dir("moved");
    CHECK(rename(in_dir("timed"), in_dir("moved/timed")) == 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_move_root(warden, tw_str("timed"), tw_str(in_dir("none")), &err));
    OK(tw_warden_move_root(warden, tw_str("timed"), tw_str(in_dir("moved/timed")), &err));
    tw_report report = scan(warden);
    CHECK(report.is_unchanged && report.unchanged == 2);
    OK(tw_warden_close(warden, &err));
    OK(tw_warden_close(warden, &err));
    write_file("moved/timed/d", "d");
    tw_list *list = NULL;
    FAILS(TW_STATUS_CLOSED, tw_warden_scan(warden, NULL, NULL, 0, &list, &err));
    OK(tw_warden_free(warden, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_warden_free(warden, &err));
}

static void rebuilding(tw_warden *warden) {
    tw_list *list = NULL;
    FAILS(TW_STATUS_BUSY, tw_rebuild(tw_str(in_dir("state.tw")), &list, &err));
    OK(tw_warden_close(warden, &err));
    OK(tw_rebuild(tw_str(in_dir("state.tw")), &list, &err));
    tw_rebuild_report report;
    OK(tw_list_rebuild(list, 0, &report, sizeof report, &err));
    CHECK(report.roots == 1 && report.entries == 400 && report.lost_rows == 0);
    char kept[600];
    CHECK(report.kept_as.len < sizeof kept);
    memcpy(kept, report.kept_as.ptr, report.kept_as.len);
    kept[report.kept_as.len] = '\0';
    CHECK(access(kept, F_OK) == 0);
    OK(tw_list_free(list, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_rebuild(tw_str(in_dir("none.tw")), &list, &err));
}

int main(void) {
    test_enter();
    versions_and_names();
    strangers_names_are_shown_safely();
    options_are_checked_when_they_are_set();
    tw_warden *warden = open_warden(NULL);
    one_opener(warden);
    roots(warden);
    scans(warden);
    errors_of_a_scan(warden);
    what_is_told(warden);
    upkeep_and_tokens(warden);
    clocks(warden);
    rebuilding(warden);
    OK(tw_warden_free(warden, &err));
    OK(tw_warden_free(NULL, &err));
    return 0;
}
