/* The C interface, measured from a C program. The harness compiles this when it starts and runs it once per round.
 *
 *     bindings read STATE PATHS                    iterates, looks up and asks for the seq
 *     bindings jobs STATE PIPELINE JOBS BATCH      claims and completes
 *
 * PATHS holds addresses, each followed by a zero byte, in the order in which they are to be looked up. Prints lines `name value unit`;
 * every time is the median of some passes after one that is not counted. It does what `src/bindings/rust.rs` does, call by call: a
 * difference between the two is the price of the interface, and of nothing else. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "treewarden.h"

/* The same numbers as in `src/bindings/rust.rs`. */
enum { PASSES = 3, HOT_PATHS = 16, HOT_CALLS = 1000000, SEQ_CALLS = 5000000, THREADS_MAX = 2 };
/* Rows of one call of `tw_iter_next`. */
enum { ITER_ROWS = 256 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bindings.c: %s: %s\n", what, why);
    exit(1);
}

/* Ends the program, with what the library said, unless the call went well. `error` by address: arguments are evaluated in no order, and
 * the call that sets it stands beside it. */
static void check(tw_status status, tw_error *const *error, const char *what)
{
    if (status == TW_STATUS_OK)
        return;
    tw_error_info info;
    memset(&info, 0, sizeof info);
    if (*error == NULL || tw_error_get(*error, &info, sizeof info, NULL) != TW_STATUS_OK)
        die(what, tw_status_name(status));
    fprintf(stderr, "bindings.c: %s: %.*s\n", what, (int)info.message.len, (const char *)info.message.ptr);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void print(const char *name, double value, const char *unit)
{
    printf("%s %.17g %s\n", name, value, unit);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}

static void *grown(void *old, size_t bytes)
{
    void *new = realloc(old, bytes);
    if (new == NULL)
        die("memory", strerror(errno));
    return new;
}

static tw_bytes bytes_of(const char *text)
{
    return (tw_bytes){(const uint8_t *)text, strlen(text)};
}

static uint64_t number(const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        die(text, "is not a number");
    return value;
}

static tw_warden *opened(const char *state)
{
    tw_warden *warden = NULL;
    tw_error *error = NULL;
    check(tw_warden_open(bytes_of(state), NULL, &warden, &error), &error, state);
    return warden;
}

static void closed(tw_warden *warden)
{
    tw_error *error = NULL;
    check(tw_warden_close(warden, &error), &error, "close");
    tw_warden_free(warden, NULL);
}

/* ---- addresses ---- */

struct paths {
    tw_bytes *items; /* views into one text, laid end to end: reading the next one costs no cache miss of its own */
    size_t len;
};

static struct paths read_paths(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        die(name, strerror(errno));
    char *text = NULL;
    size_t len = 0, room = 0, got = 1;
    while (got > 0) {
        if (len == room)
            text = grown(text, room = (room + 4096) * 2);
        got = fread(text + len, 1, room - len, file);
        len += got;
    }
    if (ferror(file) || len == 0 || text[len - 1] != '\0')
        die(name, "is no list of addresses");
    fclose(file);

    struct paths paths = {NULL, 0};
    size_t items_room = 0;
    for (const char *at = text; at < text + len; at += strlen(at) + 1) {
        if (paths.len == items_room) {
            items_room = (items_room + 512) * 2;
            paths.items = grown(paths.items, items_room * sizeof *paths.items);
        }
        paths.items[paths.len++] = bytes_of(at);
    }
    return paths;
}

/* ---- iterating ---- */

struct seen {
    uint64_t files, path_bytes, size_bytes, rest;
};

static struct seen iterate(const tw_snapshot *snapshot, tw_entry *rows)
{
    tw_iter *iter = NULL;
    tw_error *error = NULL;
    check(tw_snapshot_iter(snapshot, NULL, &iter, &error), &error, "tw_snapshot_iter");
    struct seen seen = {0, 0, 0, 0};
    for (;;) {
        size_t count = 0;
        check(tw_iter_next(iter, rows, sizeof *rows, ITER_ROWS, &count, &error), &error, "tw_iter_next");
        if (count == 0)
            break;
        for (size_t place = 0; place < count; place++) {
            const tw_entry *row = &rows[place];
            seen.files += 1;
            seen.path_bytes += row->path.len;
            seen.size_bytes += row->size;
            seen.rest += (uint64_t)row->mtime_ns + row->path.ptr[row->path.len - 1];
        }
        check(tw_iter_clear(iter, &error), &error, "tw_iter_clear");
    }
    check(tw_iter_free(iter, &error), &error, "tw_iter_free");
    return seen;
}

static void measure_iterate(const tw_snapshot *snapshot)
{
    tw_entry *rows = grown(NULL, ITER_ROWS * sizeof *rows);
    struct seen seen = iterate(snapshot, rows);
    double times[PASSES];
    for (size_t pass = 0; pass < PASSES; pass++) {
        double start = now();
        struct seen again = iterate(snapshot, rows);
        times[pass] = now() - start;
        if (memcmp(&again, &seen, sizeof seen) != 0)
            die("iterate", "two walks over one snapshot differ");
    }
    print("iterate", median(times, PASSES), "s");
    print("files", (double)seen.files, "count");
    print("path_bytes", (double)seen.path_bytes, "bytes");
    print("size_bytes", (double)seen.size_bytes, "bytes");
    free(rows);
}

/* ---- single calls ---- */

/* What the threads of one measurement have in common. */
struct calls {
    tw_warden *warden;
    tw_snapshot *snapshot;
    const tw_bytes *paths;
    size_t paths_len;
    void (*work)(const struct calls *);
    uint64_t count; /* calls of each thread; what `work` does */
    pthread_barrier_t *start;
};

struct caller {
    const struct calls *calls;
    pthread_t thread;
    double seconds;
};

/* Looks every path up, over and over. */
static void look_up(const struct calls *calls)
{
    tw_error *error = NULL;
    volatile uint64_t sink;
    uint64_t total = 0;
    for (uint64_t done = 0; done < calls->count; done += calls->paths_len) {
        for (size_t place = 0; place < calls->paths_len; place++) {
            tw_entry entry;
            tw_status status =
                tw_snapshot_get(calls->snapshot, calls->paths[place], &entry, sizeof entry, &error);
            if (status != TW_STATUS_OK)
                check(status, &error, "tw_snapshot_get");
            total += entry.size;
        }
    }
    sink = total;
    (void)sink;
}

static void ask_for_seq(const struct calls *calls)
{
    tw_error *error = NULL;
    volatile uint64_t sink;
    uint64_t total = 0;
    for (uint64_t done = 0; done < calls->count; done++) {
        uint64_t seq = 0;
        tw_status status = tw_warden_seq(calls->warden, &seq, &error);
        if (status != TW_STATUS_OK)
            check(status, &error, "tw_warden_seq");
        total += seq;
    }
    sink = total;
    (void)sink;
}

static void *call(void *argument)
{
    struct caller *caller = argument;
    pthread_barrier_wait(caller->calls->start);
    double start = now();
    caller->calls->work(caller->calls);
    caller->seconds = now() - start;
    return NULL;
}

/* What one call takes, as the threads see it on average, while all of them make such calls. */
static double nanos_once(struct calls calls, unsigned threads)
{
    struct caller callers[THREADS_MAX];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads);
    calls.start = &start;
    for (unsigned place = 0; place < threads; place++) {
        callers[place].calls = &calls;
        if (pthread_create(&callers[place].thread, NULL, call, &callers[place]) != 0)
            die("threads", "cannot start one");
    }
    double seconds = 0.0;
    for (unsigned place = 0; place < threads; place++) {
        pthread_join(callers[place].thread, NULL);
        seconds += callers[place].seconds;
    }
    pthread_barrier_destroy(&start);
    return seconds * 1e9 / (double)threads / (double)calls.count;
}

static void measure_calls(const char *name, struct calls calls, unsigned threads)
{
    double times[PASSES];
    nanos_once(calls, threads);
    for (size_t pass = 0; pass < PASSES; pass++)
        times[pass] = nanos_once(calls, threads);
    print(name, median(times, PASSES), "ns");
}

static void read_state(const char *state, const char *list)
{
    double begun = now();
    struct paths paths = read_paths(list);
    if (paths.len < HOT_PATHS)
        die(list, "is too short");
    tw_warden *warden = opened(state);
    tw_snapshot *snapshot = NULL;
    tw_error *error = NULL;
    check(tw_warden_snapshot(warden, &snapshot, &error), &error, "tw_warden_snapshot");

    measure_iterate(snapshot);
    struct calls calls = {
        .warden = warden,
        .snapshot = snapshot,
        .paths = paths.items,
        .paths_len = paths.len,
        .work = look_up,
        .count = paths.len,
    };
    measure_calls("lookup", calls, 1);
    calls.paths_len = HOT_PATHS;
    calls.count = HOT_CALLS / HOT_PATHS * HOT_PATHS;
    measure_calls("hot_1", calls, 1);
    measure_calls("hot_2", calls, 2);
    calls.work = ask_for_seq;
    calls.count = SEQ_CALLS;
    measure_calls("seq_1", calls, 1);
    measure_calls("seq_2", calls, 2);

    print("seconds", now() - begun, "s");
    check(tw_snapshot_free(snapshot, &error), &error, "tw_snapshot_free");
    closed(warden);
}

/* ---- jobs ---- */

static void claim_and_complete(const tw_pipeline *pipeline, size_t want)
{
    tw_jobs *jobs = NULL;
    tw_error *error = NULL;
    size_t len = 0;
    check(tw_pipeline_claim(pipeline, want, 0, &jobs, &error), &error, "tw_pipeline_claim");
    check(tw_jobs_len(jobs, &len, &error), &error, "tw_jobs_len");
    if (len != want)
        die("tw_pipeline_claim", "gave fewer jobs than there are");
    /* Without an array it fails unless every single one was recorded. */
    check(tw_jobs_complete_all(jobs, NULL, 0, &error), &error, "tw_jobs_complete_all");
    check(tw_jobs_free(jobs, &error), &error, "tw_jobs_free");
}

static void work_off(const char *state, const char *name, uint64_t jobs, uint64_t batch)
{
    tw_warden *warden = opened(state);
    tw_pipeline *pipeline = NULL;
    tw_error *error = NULL;
    check(tw_warden_pipeline(warden, bytes_of(name), NULL, &pipeline, &error), &error, "tw_warden_pipeline");

    double start = now();
    for (uint64_t left = jobs; left > 0;) {
        uint64_t want = left < batch ? left : batch;
        claim_and_complete(pipeline, want);
        left -= want;
    }
    double seconds = now() - start;

    tw_pipeline_status_info info;
    memset(&info, 0, sizeof info);
    check(tw_pipeline_status(pipeline, &info, sizeof info, &error), &error, "tw_pipeline_status");
    if (info.indexed != jobs)
        die("jobs", "not all of them are done");
    print("seconds", seconds, "s");
    print("jobs_per_second", (double)jobs / seconds, "/s");
    check(tw_pipeline_free(pipeline, &error), &error, "tw_pipeline_free");
    closed(warden);
}

int main(int argc, char **argv)
{
    if (tw_abi_version() != TW_ABI_VERSION)
        die("libtreewarden", "is of another version than the header");
    if (argc == 4 && strcmp(argv[1], "read") == 0)
        read_state(argv[2], argv[3]);
    else if (argc == 6 && strcmp(argv[1], "jobs") == 0)
        work_off(argv[2], argv[3], number(argv[4]), number(argv[5]));
    else
        die("usage", "bindings read STATE PATHS, or bindings jobs STATE PIPELINE JOBS BATCH");
    return 0;
}
