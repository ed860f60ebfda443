/*
 * Proves sharing: eight threads work with one warden and its snapshots; one thread frees handles that others call with,
 * who get TW_STATUS_OK or TW_STATUS_INVALID_HANDLE and nothing else; handles are freed by other threads than those that
 * made them; several free one at once, and one of them does; a warden is closed and freed under its callers.
 */

#include "check.h"

#include <pthread.h>

#define THREADS 8
#define FILES 500

static tw_warden *shared;
static int is_over;

/* What the threads of a test do; the number of the thread is its argument. */
typedef void *(*job_fn)(void *);

static void start(pthread_t *threads, int count, job_fn job) {
    __atomic_store_n(&is_over, 0, __ATOMIC_SEQ_CST);
    for (int i = 0; i < count; ++i) {
        CHECK(pthread_create(&threads[i], NULL, job, (void *)(intptr_t)i) == 0);
    }
}

static void join(pthread_t *threads, int count) {
    for (int i = 0; i < count; ++i) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void read_snapshot(tw_snapshot *snapshot, int thread) {
    tw_iter *iter = NULL;
    tw_entry entry, rows[64];
    size_t count = 0, total = 0;
    char address[40];
    snprintf(address, sizeof address, "music/song-%04d", thread * 50);
    OK(tw_snapshot_get(snapshot, tw_str(address), &entry, sizeof entry, &err));
    OK(tw_snapshot_iter(snapshot, NULL, &iter, &err));
    do {
        OK(tw_iter_next(iter, rows, sizeof rows[0], 64, &count, &err));
        total += count;
    } while (count > 0);
    CHECK(total >= FILES);
    OK(tw_iter_free(iter, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_snapshot_get(snapshot, tw_str("music/none"), &entry, sizeof entry, &err));
}

static void *share(void *data) {
    int thread = (int)(intptr_t)data;
    tw_bytes space = tw_str("shared");
    for (int round = 0; round < 10; ++round) {
        tw_snapshot *snapshot = NULL;
        tw_value *value = NULL;
        tw_changes *changes = NULL;
        tw_list *list = NULL;
        uint64_t seq = 0;
        char key[20];
        snprintf(key, sizeof key, "%d/%d", thread, round);
        OK(tw_warden_snapshot(shared, &snapshot, &err));
        read_snapshot(snapshot, thread);
        OK(tw_snapshot_free(snapshot, &err));
        OK(tw_space_put(shared, space, tw_str(key), tw_str(key), &err));
        OK(tw_space_get(shared, space, tw_str(key), &value, &err));
        tw_bytes bytes;
        OK(tw_value_bytes(value, &bytes, &err));
        CHECK_TEXT(bytes, key);
        OK(tw_value_free(value, &err));
        OK(tw_warden_seq(shared, &seq, &err));
        OK(tw_warden_changes(shared, seq, &changes, &err));
        OK(tw_changes_free(changes, &err));
        OK(tw_warden_status(shared, &(tw_status_info){0}, sizeof(tw_status_info), &err));
        if (round % 5 == thread % 5) {
            OK(tw_warden_scan(shared, NULL, NULL, 0, &list, &err));
            OK(tw_list_free(list, &err));
        }
    }
    return NULL;
}

/* One snapshot, one list and one value that all call with; the first thread puts new ones in their places. */
static tw_snapshot *the_snapshot;
static tw_list *the_list;
static tw_value *the_value;
static long calls_that_went_well;

static void check_one_of(tw_status status, tw_status other) {
    if (status == TW_STATUS_OK) {
        __atomic_add_fetch(&calls_that_went_well, 1, __ATOMIC_RELAXED);
    } else {
        CHECK_EQ(status, other);
    }
}

static void *replace(void *data) {
    (void)data;
    for (int round = 0; round < 1500; ++round) {
        tw_snapshot *snapshot = NULL;
        tw_list *list = NULL;
        tw_value *value = NULL;
        OK(tw_warden_snapshot(shared, &snapshot, &err));
        OK(tw_snapshot_roots(snapshot, &list, &err));
        OK(tw_space_get(shared, tw_str("shared"), tw_str("0/0"), &value, &err));
        tw_snapshot *old_snapshot = __atomic_exchange_n(&the_snapshot, snapshot, __ATOMIC_SEQ_CST);
        tw_list *old_list = __atomic_exchange_n(&the_list, list, __ATOMIC_SEQ_CST);
        tw_value *old_value = __atomic_exchange_n(&the_value, value, __ATOMIC_SEQ_CST);
        OK(tw_snapshot_free(old_snapshot, &err));
        OK(tw_list_free(old_list, &err));
        OK(tw_value_free(old_value, &err));
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *use(void *data) {
    if (data == NULL) {
        return replace(data);
    }
    while (!__atomic_load_n(&is_over, __ATOMIC_SEQ_CST)) {
        tw_snapshot *snapshot = __atomic_load_n(&the_snapshot, __ATOMIC_SEQ_CST);
        tw_list *list = __atomic_load_n(&the_list, __ATOMIC_SEQ_CST);
        tw_value *value = __atomic_load_n(&the_value, __ATOMIC_SEQ_CST);
        tw_entry entry;
        tw_iter *iter = NULL;
        tw_bytes bytes;
        size_t len = 0;
        if (snapshot == NULL) {
            continue;
        }
        check_one_of(tw_snapshot_get(snapshot, tw_str("music/song-0007"), &entry, sizeof entry, NULL),
                     TW_STATUS_INVALID_HANDLE);
        tw_status status = tw_snapshot_iter(snapshot, NULL, &iter, NULL);
        check_one_of(status, TW_STATUS_INVALID_HANDLE);
        if (status == TW_STATUS_OK) {
            tw_entry rows[32];
            OK(tw_iter_next(iter, rows, sizeof rows[0], 32, &len, &err));
            CHECK(len == 32 && rows[31].path.len > 0 && rows[31].path.ptr[0] == 'm');
            OK(tw_iter_free(iter, &err));
        }
        check_one_of(tw_list_len(list, &len, NULL), TW_STATUS_INVALID_HANDLE);
        check_one_of(tw_value_bytes(value, &bytes, NULL), TW_STATUS_INVALID_HANDLE);
    }
    return NULL;
}

/* All free the same handle at the same time, round after round: it is freed once. */
static pthread_barrier_t barrier;
static int freed;

static void *free_at_once(void *data) {
    for (int round = 0; round < 200; ++round) {
        if (data == NULL) {
            OK(tw_warden_snapshot(shared, &the_snapshot, &err));
        }
        pthread_barrier_wait(&barrier);
        tw_status status = tw_snapshot_free(the_snapshot, NULL);
        if (status == TW_STATUS_OK) {
            count_up(&freed);
        } else {
            CHECK_EQ(status, TW_STATUS_INVALID_HANDLE);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* Threads that make handles and end; another one frees them. */
static void *leave_handles(void *data) {
    tw_list **places = data;
    for (int i = 0; i < 20; ++i) {
        OK(tw_warden_roots(shared, &places[i], &err));
    }
    return NULL;
}

static void handles_outlive_their_threads(void) {
    for (int round = 0; round < 50; ++round) {
        pthread_t thread;
        tw_list *lists[20];
        CHECK(pthread_create(&thread, NULL, leave_handles, lists) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        for (int i = 0; i < 20; ++i) {
            CHECK_EQ(list_len(lists[i]), 1);
            OK(tw_list_free(lists[i], &err));
            FAILS(TW_STATUS_INVALID_HANDLE, tw_list_free(lists[i], &err));
        }
    }
}

static tw_status end_status;

static void *call_to_the_end(void *data) {
    (void)data;
    tw_status last = TW_STATUS_OK;
    while (last == TW_STATUS_OK) {
        tw_list *list = NULL;
        uint64_t seq = 0;
        last = tw_space_put(shared, tw_str("end"), tw_str("k"), tw_str("v"), NULL);
        check_one_of(last, end_status);
        tw_status scanned = tw_warden_roots(shared, &list, NULL);
        CHECK(scanned == TW_STATUS_OK || scanned == end_status);
        CHECK_EQ(tw_list_free(list, NULL), TW_STATUS_OK);
        tw_status waited = tw_warden_wait(shared, 0, 0, &seq, NULL);
        CHECK(waited == TW_STATUS_OK || waited == end_status);
    }
    return NULL;
}

static void end_under_callers(tw_status (*end)(tw_warden *, tw_error **), tw_status expected) {
    pthread_t threads[THREADS];
    end_status = expected;
    start(threads, THREADS, call_to_the_end);
    sleep_ms(50);
    OK(end(shared, &err));
    join(threads, THREADS);
}

int main(void) {
    pthread_t threads[THREADS];
    test_enter();
    write_files("tree/song", FILES);
    shared = open_warden(NULL);
    CHECK_EQ(scan(shared).added, FILES);
    start(threads, THREADS, share);
    join(threads, THREADS);

    start(threads, THREADS, use);
    join(threads, THREADS);
    CHECK(calls_that_went_well > 0);
    OK(tw_snapshot_free(the_snapshot, &err));
    OK(tw_list_free(the_list, &err));
    OK(tw_value_free(the_value, &err));

    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    start(threads, THREADS, free_at_once);
    join(threads, THREADS);
    CHECK_EQ(freed, 200);
    handles_outlive_their_threads();

    end_under_callers(tw_warden_free, TW_STATUS_INVALID_HANDLE);
    OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, &shared, &err));
    end_under_callers(tw_warden_close, TW_STATUS_CLOSED);
    OK(tw_warden_free(shared, &err));
    return 0;
}
