/*
 * Proves that the tools of the tests see what they are there for: this program commits one bug on purpose, which its
 * argument names, and the tool must end it with a report. With `none` it does the same work without a bug, and ends
 * with 0. planted.py says which tool must see which bug. It is not one of the tests, and so lies in a folder.
 */

#include "check.h"

#include <limits.h>

#define FILES 8

/* What was read or worked out goes here, so that no compiler leaves the work out. */
static volatile int seen;

static tw_iter *begin_walk(const tw_warden *warden) {
    tw_snapshot *snapshot = NULL;
    tw_iter *iter = NULL;
    OK(tw_warden_snapshot(warden, &snapshot, &err));
    OK(tw_snapshot_iter(snapshot, NULL, &iter, &err));
    OK(tw_snapshot_free(snapshot, &err));
    return iter;
}

/* Reads a path, which lies in memory of the iterator, after that was freed. */
static void read_a_view(const tw_warden *warden, int is_planted) {
    tw_iter *iter = begin_walk(warden);
    tw_entry entry;
    size_t count = 0;
    OK(tw_iter_next(iter, &entry, sizeof entry, 1, &count, &err));
    CHECK_EQ(count, 1);
    if (is_planted) {
        OK(tw_iter_free(iter, &err));
        seen = entry.path.ptr[0];
    } else {
        seen = entry.path.ptr[0];
        OK(tw_iter_free(iter, &err));
    }
}

/* Promises room for all files and has room for one: the library writes whole rows beyond the end. */
static void fill_rows(const tw_warden *warden, int is_planted) {
    tw_iter *iter = begin_walk(warden);
    tw_entry *rows = malloc((is_planted ? 1 : FILES) * sizeof *rows);
    size_t count = 0;
    CHECK(rows != NULL);
    OK(tw_iter_next(iter, rows, sizeof *rows, FILES, &count, &err));
    CHECK_EQ(count, FILES);
    free(rows);
    OK(tw_iter_free(iter, &err));
}

/*
 * The same with one byte. Rows are written by `memcpy`, which a sanitizer watches wherever it is called from; a byte is
 * written by the library's own code, so only a tool that looks into that can see it.
 */
static void fill_text(int is_planted) {
    size_t len = 0;
    char *text = malloc(is_planted ? 4 : 5);
    CHECK(text != NULL);
    OK(tw_escape(tw_str("name"), text, 5, &len, &err));
    CHECK_EQ(len, 4);
    free(text);
}

/* Hands over bytes that were never written to: the library branches on them. */
static void show_bytes(int is_planted) {
    char text[64];
    size_t len = 0;
    uint8_t *bytes = malloc(8);
    CHECK(bytes != NULL);
    if (!is_planted) {
        memset(bytes, 'a', 8);
    }
    OK(tw_escape(bytes_of(bytes, 8), text, sizeof text, &len, &err));
    CHECK(len >= 8);
    free(bytes);
}

/* The program's own mistake, which the library has no part in. So is the next one. */
static void add(int is_planted) {
    volatile int most = is_planted ? INT_MAX : 1;
    seen = most + 1;
}

/* Loses many blocks, so that a pointer which is left behind on the stack does not hide the leak. */
static void take_memory(int is_planted) {
    for (int i = 0; i < 16; ++i) {
        char *volatile memory = malloc(1000);
        CHECK(memory != NULL);
        memory[0] = 'a';
        if (!is_planted) {
            free(memory);
        }
        memory = NULL;
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    const char *bug = argv[1];
    const char *known[] = {"none", "view", "rows", "bounds", "uninit", "overflow", "leak"};
    size_t at = 0;
    while (at < sizeof known / sizeof known[0] && strcmp(bug, known[at]) != 0) {
        ++at;
    }
    CHECK(at < sizeof known / sizeof known[0]);
    test_enter();
    write_files("tree/file", FILES);
    tw_warden *warden = open_warden(NULL);
    CHECK_EQ(scan(warden).added, FILES);
    read_a_view(warden, strcmp(bug, "view") == 0);
    fill_rows(warden, strcmp(bug, "rows") == 0);
    fill_text(strcmp(bug, "bounds") == 0);
    show_bytes(strcmp(bug, "uninit") == 0);
    add(strcmp(bug, "overflow") == 0);
    take_memory(strcmp(bug, "leak") == 0);
    OK(tw_warden_free(warden, &err));
    return 0;
}
