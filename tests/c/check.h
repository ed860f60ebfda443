/*
 * What the tests in C share: calls that are expected to succeed or to fail in one way, a folder of their own, and files
 * in it. Whatever is not as expected ends the program with 1, and says where and what the library said about it.
 */

#ifndef CHECK_H
#define CHECK_H

#include <treewarden.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What the last call has said; each thread has its own. */
static __thread tw_error *err;

static inline void check_die(void) {
    fflush(NULL);
    exit(1);
}

/* Says what `err` tells, frees it, and returns the status in it. */
static inline tw_status check_take_error(const char *file, int line, int is_shown) {
    tw_error_info info;
    memset(&info, 0, sizeof info);
    tw_status got = tw_error_get(err, &info, sizeof info, NULL);
    if (got != TW_STATUS_OK) {
        fprintf(stderr, "%s:%d: the error itself cannot be read: %s\n", file, line, tw_status_name(got));
        check_die();
    }
    if (is_shown) {
        fprintf(stderr, "%s:%d:   %.*s\n", file, line, (int)info.message.len, (const char *)info.message.ptr);
        fprintf(stderr, "%s:%d:   hint: %.*s\n", file, line, (int)info.hint.len, (const char *)info.hint.ptr);
    }
    if (info.message.len == 0 && !is_shown) {
        fprintf(stderr, "%s:%d: the error has no message\n", file, line);
        check_die();
    }
    tw_error_free(err, NULL);
    err = NULL;
    return info.status;
}

static inline void check_status(const char *file, int line, const char *call, tw_status got, tw_status wanted) {
    if (got != wanted) {
        fprintf(stderr, "%s:%d: %s\n", file, line, call);
        fprintf(stderr, "%s:%d:   %s (%d), not %s\n", file, line, tw_status_name(got), got, tw_status_name(wanted));
        if (err != NULL) {
            check_take_error(file, line, 1);
        }
        check_die();
    }
    if ((got == TW_STATUS_OK) != (err == NULL)) {
        fprintf(stderr, "%s:%d: %s: the error handle does not go with %s\n", file, line, call, tw_status_name(got));
        check_die();
    }
    if (err != NULL && check_take_error(file, line, 0) != wanted) {
        fprintf(stderr, "%s:%d: %s: the error tells another status\n", file, line, call);
        check_die();
    }
}

/* A call with `&err` as its last argument that succeeds. */
#define OK(call) check_status(__FILE__, __LINE__, #call, (call), TW_STATUS_OK)
/* One that fails with this status, and says so in `err` too. */
#define FAILS(wanted, call) check_status(__FILE__, __LINE__, #call, (call), (wanted))

#define CHECK(what)                                                       \
    do {                                                                  \
        if (!(what)) {                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            check_die();                                                  \
        }                                                                 \
    } while (0)

#define CHECK_EQ(left, right) \
    check_equal(__FILE__, __LINE__, #left " == " #right, (long long)(left), (long long)(right))
#define CHECK_TEXT(bytes, text) check_bytes(__FILE__, __LINE__, #bytes, (bytes), tw_str(text))

static inline void check_equal(const char *file, int line, const char *what, long long left, long long right) {
    if (left != right) {
        fprintf(stderr, "%s:%d: not so: %s: %lld, %lld\n", file, line, what, left, right);
        check_die();
    }
}

static inline int same(tw_bytes left, tw_bytes right) {
    return left.len == right.len && (left.len == 0 || memcmp(left.ptr, right.ptr, left.len) == 0);
}

static inline void check_bytes(const char *file, int line, const char *what, tw_bytes got, tw_bytes wanted) {
    if (!same(got, wanted)) {
        fprintf(stderr, "%s:%d: %s is `%.*s`, not `%.*s`\n", file, line, what, (int)got.len, (const char *)got.ptr,
                (int)wanted.len, (const char *)wanted.ptr);
        check_die();
    }
}

static inline tw_bytes bytes_of(const void *ptr, size_t len) {
    tw_bytes bytes;
    bytes.ptr = (const uint8_t *)ptr;
    bytes.len = len;
    return bytes;
}

static inline int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void sleep_ms(int ms) {
    struct timespec time;
    time.tv_sec = ms / 1000;
    time.tv_nsec = (long)(ms % 1000) * 1000000;
    while (nanosleep(&time, &time) != 0) {
    }
}

/* Waits for something that another thread brings about; a minute is for machines that are busy. */
#define EVENTUALLY(what)                                                             \
    do {                                                                             \
        int64_t eventually_end = now_ms() + 60000;                                   \
        while (!(what)) {                                                            \
            if (now_ms() > eventually_end) {                                         \
                fprintf(stderr, "%s:%d: it never came to: %s\n", __FILE__, __LINE__, #what); \
                check_die();                                                         \
            }                                                                        \
            sleep_ms(2);                                                             \
        }                                                                            \
    } while (0)

/* The folder of this program: it goes with the process that made it. */
static char test_dir[200];
static pid_t test_owner;

static inline int test_remove(const char *path, const struct stat *stat, int kind, struct FTW *place) {
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void test_leave(void) {
    if (getpid() == test_owner) {
        nftw(test_dir, test_remove, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/*
 * A child of a fork has what the threads of its parent held, and not their stacks: it cannot judge what is lost. The
 * leak checker of the sanitizers asks this.
 */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) {
    return getpid() != test_owner;
}

/* Makes the folder, with a folder `tree` in it for the files. To be called first. */
static inline void test_enter(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(test_dir, sizeof test_dir, "%s/treewarden-c-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    CHECK(mkdtemp(test_dir) != NULL);
    /* What is named without a folder lands there, too. */
    CHECK(chdir(test_dir) == 0);
    test_owner = getpid();
    atexit(test_leave);
    char tree[256];
    snprintf(tree, sizeof tree, "%s/tree", test_dir);
    CHECK(mkdir(tree, 0755) == 0);
}

/* A path in the folder; good for the next seven calls. */
static inline const char *in_dir(const char *name) {
    static __thread char paths[8][600];
    static __thread unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_dir, name);
    return path;
}

static inline void make_dir(const char *name) {
    CHECK(mkdir(in_dir(name), 0755) == 0);
}

static inline void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_dir(name), "wb");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

/* Writes `count` files `NAME-0000`, `NAME-0001`, ... */
static inline void write_files(const char *name, int count) {
    for (int i = 0; i < count; ++i) {
        char path[300];
        snprintf(path, sizeof path, "%s-%04d", name, i);
        write_file(path, path);
    }
}

/* Opens `state.tw` in the folder, with the tree as the root `music`. Nothing is scanned yet. */
static inline tw_warden *open_warden(const tw_options *options) {
    tw_warden *warden = NULL;
    OK(tw_warden_open(tw_str(in_dir("state.tw")), options, &warden, &err));
    OK(tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    return warden;
}

/* Scans all roots; gives the first report. Its views are not to be used. */
static inline tw_report scan(tw_warden *warden) {
    tw_list *list = NULL;
    tw_report report;
    OK(tw_warden_scan(warden, NULL, NULL, 0, &list, &err));
    OK(tw_list_report(list, 0, &report, sizeof report, &err));
    OK(tw_list_free(list, &err));
    return report;
}

static inline tw_options *new_options(int32_t kind) {
    tw_options *options = NULL;
    OK(tw_options_new(kind, &options, &err));
    return options;
}

static inline size_t list_len(const tw_list *list) {
    size_t len = 0;
    OK(tw_list_len(list, &len, &err));
    return len;
}

/* Counts the calls of a finalizer. */
static inline void count_up(void *counter) {
    __atomic_add_fetch((int *)counter, 1, __ATOMIC_SEQ_CST);
}

static inline int count_of(int *counter) {
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

#endif /* CHECK_H */
