/*
 * Proves reading: entries by address, tombstones, totals; walks in batches of 1, 7 and 4,096, with and without giving
 * views up in between; every filter; differences between two snapshots; names of any bytes; that views live as long as
 * the handle that they came from, and that handles may go in any order.
 */

#include "check.h"

#define FILES 1000

/* Names that are no text: a line break, bytes that are no UTF-8, and as long as a name can be. */
static const char newline_name[] = "line\nbreak";
static const char invalid_name[] = "caf\xe9\xff";
static char long_name[256];

static void make_tree(void) {
    make_dir("tree/odd");
    make_dir("tree/empty");
    write_files("tree/file", FILES);
    memset(long_name, 'x', 255);
    const char *odd[] = {newline_name, invalid_name, long_name, "\\back", "\x01\x7f", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; ++i) {
        char path[400];
        snprintf(path, sizeof path, "tree/odd/%s", odd[i]);
        write_file(path, "odd");
    }
    CHECK(symlink("file-0001", in_dir("tree/link")) == 0);
    CHECK(symlink("../nowhere\xff", in_dir("tree/odd/dangling")) == 0);
}

static void entries_by_address(tw_snapshot *snapshot) {
    tw_entry entry;
    struct stat stat;
    memset(&entry, 0xa5, sizeof entry);
    OK(tw_snapshot_get(snapshot, tw_str("music/file-0042"), &entry, sizeof entry, &err));
    CHECK(lstat(in_dir("tree/file-0042"), &stat) == 0);
    CHECK_TEXT(entry.path, "music/file-0042");
    CHECK(entry.target.ptr == NULL && entry.kind == TW_KIND_FILE);
    CHECK_EQ(entry.size, stat.st_size);
    CHECK_EQ(entry.inode, stat.st_ino);
    CHECK_EQ(entry.mode, stat.st_mode);
    CHECK_EQ(entry.mtime_ns, (int64_t)stat.st_mtim.tv_sec * 1000000000 + stat.st_mtim.tv_nsec);
    CHECK_EQ(entry.ctime_ns, (int64_t)stat.st_ctim.tv_sec * 1000000000 + stat.st_ctim.tv_nsec);
    CHECK(entry.id > 0 && entry.seq > 0 && !entry.is_missing && !entry.has_hash);
    OK(tw_snapshot_get(snapshot, tw_str("music/link"), &entry, sizeof entry, &err));
    CHECK_EQ(entry.kind, TW_KIND_SYMLINK);
    CHECK_TEXT(entry.target, "file-0001");
    OK(tw_snapshot_get(snapshot, tw_str("music"), &entry, sizeof entry, &err));
    CHECK_EQ(entry.kind, TW_KIND_DIR);

    const char *absent[] = {"music/none", "none", "", "/", "music//", "music//odd", "music/../x", "music/odd/none/x"};
    int32_t is_there = 7;
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; ++i) {
        memset(&entry, 0xa5, sizeof entry);
        FAILS(TW_STATUS_NOT_FOUND, tw_snapshot_get(snapshot, tw_str(absent[i]), &entry, sizeof entry, &err));
        CHECK_EQ(entry.has_btime, (int32_t)0xa5a5a5a5);
        OK(tw_snapshot_contains(snapshot, tw_str(absent[i]), &is_there, &err));
        CHECK_EQ(is_there, 0);
    }
    FAILS(TW_STATUS_NOT_FOUND, tw_snapshot_get(snapshot, bytes_of("music\0x", 7), &entry, sizeof entry, &err));

    const char *odd[] = {newline_name, invalid_name, long_name, "\\back", "\x01\x7f", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; ++i) {
        char address[400];
        snprintf(address, sizeof address, "music/odd/%s", odd[i]);
        OK(tw_snapshot_get(snapshot, tw_str(address), &entry, sizeof entry, &err));
        CHECK(entry.path.ptr == (const uint8_t *)address);
        CHECK_EQ(entry.size, 3);
    }
    OK(tw_snapshot_get(snapshot, tw_str("music/odd/dangling"), &entry, sizeof entry, &err));
    CHECK_TEXT(entry.target, "../nowhere\xff");

    /* What could not be found is told as it is, in bytes, and shown escaped. */
    tw_error *error = NULL;
    tw_error_info info;
    tw_snapshot_get(snapshot, tw_str("music/odd/\xff\n"), &entry, sizeof entry, &error);
    OK(tw_error_get(error, &info, sizeof info, &err));
    CHECK_TEXT(info.path, "music/odd/\xff\n");
    CHECK(memchr(info.message.ptr, '\n', info.message.len) == NULL);
    OK(tw_error_free(error, &err));
}

static void totals(tw_snapshot *snapshot) {
    tw_totals all, music, odd;
    uint64_t len = 0;
    OK(tw_snapshot_du(snapshot, tw_str(""), &all, sizeof all, &err));
    OK(tw_snapshot_du(snapshot, bytes_of(NULL, 0), &all, sizeof all, &err));
    OK(tw_snapshot_du(snapshot, tw_str("music"), &music, sizeof music, &err));
    OK(tw_snapshot_du(snapshot, tw_str("music/odd"), &odd, sizeof odd, &err));
    OK(tw_snapshot_len(snapshot, &len, &err));
    CHECK_EQ(memcmp(&all, &music, sizeof all), 0);
    CHECK(all.files == FILES + 8 && all.dirs == 2 && len == all.files);
    CHECK(odd.files == 7 && odd.dirs == 0 && odd.bytes == 6 * 3 + strlen("../nowhere\xff"));
    OK(tw_snapshot_du(snapshot, tw_str("music/odd/\xc3\xa4"), &odd, sizeof odd, &err));
    CHECK(odd.files == 1 && odd.bytes == 3);
    FAILS(TW_STATUS_NOT_FOUND, tw_snapshot_du(snapshot, tw_str("music/none"), &odd, sizeof odd, &err));

    tw_list *roots = NULL;
    tw_bytes name;
    OK(tw_snapshot_roots(snapshot, &roots, &err));
    CHECK_EQ(list_len(roots), 1);
    OK(tw_list_text(roots, 0, &name, &err));
    CHECK_TEXT(name, "music");
    OK(tw_list_free(roots, &err));
}

/* Path order: byte order component by component. Here all names differ within one directory. */
static int is_before(tw_bytes left, tw_bytes right) {
    size_t len = left.len < right.len ? left.len : right.len;
    int order = memcmp(left.ptr, right.ptr, len);
    return order < 0 || (order == 0 && left.len < right.len);
}

static void walk(tw_snapshot *snapshot, size_t capacity, int is_cleared) {
    tw_iter *iter = NULL;
    tw_entry *rows = calloc(capacity, sizeof *rows);
    tw_bytes *seen = calloc(FILES + 8, sizeof *seen);
    size_t count = 0, total = 0;
    uint64_t bytes = 0;
    tw_totals totals;
    CHECK(rows != NULL && seen != NULL);
    OK(tw_snapshot_iter(snapshot, NULL, &iter, &err));
    for (;;) {
        OK(tw_iter_next(iter, rows, sizeof *rows, capacity, &count, &err));
        CHECK(count <= capacity);
        if (count == 0) {
            break;
        }
        for (size_t i = 0; i < count; ++i) {
            tw_entry entry;
            OK(tw_snapshot_get(snapshot, rows[i].path, &entry, sizeof entry, &err));
            CHECK(entry.id == rows[i].id && entry.size == rows[i].size && same(entry.target, rows[i].target));
            CHECK(rows[i].kind != TW_KIND_DIR);
            CHECK(total < FILES + 8);
            seen[total++] = rows[i].path;
            bytes += rows[i].size;
        }
        if (is_cleared) {
            OK(tw_iter_clear(iter, &err));
        }
    }
    OK(tw_iter_next(iter, rows, sizeof *rows, capacity, &count, &err));
    CHECK_EQ(count, 0);
    OK(tw_snapshot_du(snapshot, tw_str("music"), &totals, sizeof totals, &err));
    CHECK(total == totals.files && bytes == totals.bytes);
    /* Without a clear all of them are still there, and in order. */
    for (size_t i = 1; i < total && !is_cleared; ++i) {
        CHECK(is_before(seen[i - 1], seen[i]));
    }
    OK(tw_iter_free(iter, &err));
    free(rows);
    free(seen);
}

static size_t count_rows(tw_snapshot *snapshot, tw_options *filter) {
    tw_iter *iter = NULL;
    tw_entry rows[64];
    size_t count = 0, total = 0;
    OK(tw_snapshot_iter(snapshot, filter, &iter, &err));
    OK(tw_options_free(filter, &err));
    do {
        OK(tw_iter_next(iter, rows, sizeof rows[0], 64, &count, &err));
        total += count;
    } while (count > 0);
    OK(tw_iter_free(iter, &err));
    return total;
}

static tw_options *filter_int(tw_options *filter, int32_t option, int64_t value) {
    tw_options *options = filter != NULL ? filter : new_options(TW_OPTIONS_FILTER);
    OK(tw_options_set_int(options, option, value, &err));
    return options;
}

static tw_options *filter_text(tw_options *filter, int32_t option, const char *value) {
    tw_options *options = filter != NULL ? filter : new_options(TW_OPTIONS_FILTER);
    OK(tw_options_set_bytes(options, option, tw_str(value), &err));
    return options;
}

static void filters(tw_snapshot *snapshot) {
    tw_entry entry;
    OK(tw_snapshot_get(snapshot, tw_str("music/file-0500"), &entry, sizeof entry, &err));
    size_t all = FILES + 8;
    CHECK_EQ(count_rows(snapshot, new_options(TW_OPTIONS_FILTER)), all);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_WITH_DIRS, 1)), all + 2);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_KIND, TW_KIND_DIR)), 2);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_KIND, TW_KIND_SYMLINK)), 2);
    CHECK_EQ(count_rows(snapshot, filter_text(NULL, TW_OPTION_FILTER_UNDER, "music/odd")), 7);
    CHECK_EQ(count_rows(snapshot, filter_text(NULL, TW_OPTION_FILTER_GLOB, "music/file-00*")), 100);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_SIZE_MIN, (int64_t)entry.size)), FILES);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_SIZE_MAX, 3)), 6);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_MTIME_MAX_NS, 0)), 0);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_MTIME_MIN_NS, 0)), all);
    CHECK_EQ(count_rows(snapshot, filter_int(NULL, TW_OPTION_FILTER_MISSING, 1)), 0);
    tw_options *both = filter_text(NULL, TW_OPTION_FILTER_UNDER, "music");
    CHECK_EQ(count_rows(snapshot, filter_text(both, TW_OPTION_FILTER_GLOB, "odd/*")), 7);
    CHECK_EQ(count_rows(snapshot, filter_text(NULL, TW_OPTION_FILTER_UNDER, "music/none")), 0);
    tw_iter *iter = NULL;
    tw_options *of_scan = new_options(TW_OPTIONS_SCAN);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_snapshot_iter(snapshot, of_scan, &iter, &err));
    CHECK(iter == NULL);
    OK(tw_options_free(of_scan, &err));
}

static void differences(tw_warden *warden, tw_snapshot *before) {
    CHECK(rename(in_dir("tree/file-0001"), in_dir("tree/odd/moved")) == 0);
    CHECK(unlink(in_dir("tree/file-0002")) == 0);
    write_file("tree/file-0003", "modified, and longer than it was before");
    write_file("tree/added", "added");
    tw_report report = scan(warden);
    CHECK(report.added == 1 && report.moved == 1 && report.missing == 1 && report.modified == 1);

    tw_snapshot *after = NULL;
    tw_entry entry;
    int32_t is_there = 7;
    OK(tw_warden_snapshot(warden, &after, &err));
    OK(tw_snapshot_contains(before, tw_str("music/file-0002"), &is_there, &err));
    CHECK_EQ(is_there, 1);
    OK(tw_snapshot_contains(after, tw_str("music/file-0002"), &is_there, &err));
    CHECK_EQ(is_there, 0);
    FAILS(TW_STATUS_NOT_FOUND, tw_snapshot_get_missing(before, tw_str("music/file-0002"), &entry, sizeof entry, &err));
    OK(tw_snapshot_get_missing(after, tw_str("music/file-0002"), &entry, sizeof entry, &err));
    CHECK(entry.is_missing && entry.missing_since_ns > 0);
    CHECK_EQ(count_rows(after, filter_int(NULL, TW_OPTION_FILTER_MISSING, 1)), 1);

    tw_changes *changes = NULL;
    tw_change rows[16];
    size_t count = 0, files = 0;
    uint64_t seq = 0, last = 0;
    OK(tw_snapshot_diff(after, before, &changes, &err));
    OK(tw_changes_last_seq(changes, &last, &err));
    OK(tw_snapshot_seq(after, &seq, &err));
    CHECK_EQ(last, seq);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_changes_ack(changes, &seq, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_changes_upto(changes, &seq, &err));
    OK(tw_changes_files_only(changes, &err));
    OK(tw_changes_next(changes, rows, sizeof rows[0], 16, &count, &err));
    for (size_t i = 0; i < count; ++i) {
        CHECK_TEXT(rows[i].root, "music");
        if (rows[i].kind == TW_CHANGE_MOVED) {
            CHECK_TEXT(rows[i].path, "music/odd/moved");
            CHECK_TEXT(rows[i].from, "music/file-0001");
        } else {
            CHECK(rows[i].from.ptr == NULL);
        }
        ++files;
    }
    CHECK_EQ(files, 4);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_changes_files_only(changes, &err));
    /* What the other way leads from one to the other is as much. */
    tw_changes *back = NULL;
    OK(tw_snapshot_diff(before, after, &back, &err));
    OK(tw_changes_files_only(back, &err));
    OK(tw_changes_next(back, rows, sizeof rows[0], 16, &count, &err));
    CHECK_EQ(count, 4);
    OK(tw_changes_free(back, &err));
    OK(tw_snapshot_free(after, &err));
    OK(tw_changes_next(changes, rows, sizeof rows[0], 16, &count, &err));
    CHECK_EQ(count, 0);
    OK(tw_changes_free(changes, &err));
}

/* The warden first, then the snapshot, then what was made of it: all views are good until their own handle goes. */
static void handles_go_in_any_order(tw_warden *warden, tw_snapshot *snapshot) {
    tw_iter *iter = NULL;
    tw_list *roots = NULL;
    tw_entry entry, rows[7];
    tw_bytes name;
    size_t count = 0, total = 0;
    OK(tw_snapshot_get(snapshot, tw_str("music/link"), &entry, sizeof entry, &err));
    OK(tw_snapshot_iter(snapshot, NULL, &iter, &err));
    OK(tw_snapshot_roots(snapshot, &roots, &err));
    OK(tw_list_text(roots, 0, &name, &err));
    OK(tw_iter_next(iter, rows, sizeof rows[0], 7, &count, &err));
    OK(tw_warden_free(warden, &err));
    CHECK_TEXT(entry.target, "file-0001");
    OK(tw_snapshot_free(snapshot, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_snapshot_get(snapshot, tw_str("music"), &entry, sizeof entry, &err));
    CHECK_TEXT(rows[0].path, "music/file-0000");
    CHECK_TEXT(name, "music");
    for (total = count; count > 0; total += count) {
        tw_entry more[512];
        OK(tw_iter_next(iter, more, sizeof more[0], 512, &count, &err));
    }
    CHECK_EQ(total, FILES + 8);
    CHECK_TEXT(rows[6].path, "music/file-0006");
    OK(tw_iter_free(iter, &err));
    OK(tw_list_free(roots, &err));
}

int main(void) {
    test_enter();
    make_tree();
    tw_warden *warden = open_warden(NULL);
    CHECK_EQ(scan(warden).added, FILES + 8);
    tw_snapshot *snapshot = NULL;
    OK(tw_warden_snapshot(warden, &snapshot, &err));
    entries_by_address(snapshot);
    totals(snapshot);
    const size_t batches[] = {1, 7, 4096};
    for (int i = 0; i < 3; ++i) {
        walk(snapshot, batches[i], 0);
        walk(snapshot, batches[i], 1);
    }
    filters(snapshot);
    differences(warden, snapshot);
    handles_go_in_any_order(warden, snapshot);
    return 0;
}
