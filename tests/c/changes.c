/*
 * Proves the journal: changes since a commit and since a token; following under a durable name by waiting, by a
 * descriptor and by a callback, with interrupts, acknowledgements and batches; finalizers that run once; and where to
 * go on when the journal has been trimmed.
 */

#include "check.h"

#include <poll.h>
#include <pthread.h>

#define SECOND_NS INT64_C(1000000000)

static uint64_t seq_of(tw_warden *warden) {
    uint64_t seq = 0;
    OK(tw_warden_seq(warden, &seq, &err));
    return seq;
}

/* One more file, and a commit for it. */
static void add_file(tw_warden *warden, const char *name) {
    char path[100];
    snprintf(path, sizeof path, "tree/%s", name);
    write_file(path, name);
    CHECK_EQ(scan(warden).added, 1);
}

static size_t read_all(tw_changes *changes, tw_change *rows, size_t capacity) {
    size_t count = 0, more = 0;
    OK(tw_changes_next(changes, rows, sizeof rows[0], capacity, &count, &err));
    OK(tw_changes_next(changes, rows + count, sizeof rows[0], 1, &more, &err));
    CHECK_EQ(more, 0);
    return count;
}

static void since_a_commit(tw_warden *warden) {
    uint64_t from = seq_of(warden), last = 0;
    char token[TW_TOKEN_ROOM];
    size_t len = 0, count = 0;
    OK(tw_warden_token(warden, token, sizeof token, &len, &err));
    make_dir("tree/dir");
    write_files("tree/dir/file", 20);
    CHECK_EQ(scan(warden).added, 20);
    CHECK(unlink(in_dir("tree/dir/file-0000")) == 0);
    CHECK_EQ(scan(warden).missing, 1);
    write_file("tree/dir/file-0000", "again, but longer");
    scan(warden);

    tw_changes *changes = NULL;
    tw_change rows[64];
    OK(tw_warden_changes(warden, from, &changes, &err));
    OK(tw_changes_last_seq(changes, &last, &err));
    CHECK_EQ(last, seq_of(warden));
    count = read_all(changes, rows, 40);
    CHECK_EQ(count, 23);
    uint64_t seq = from;
    int dirs = 0, missing = 0, back = 0;
    for (size_t i = 0; i < count; ++i) {
        CHECK(rows[i].seq >= seq && rows[i].seq > from && rows[i].seq <= last);
        CHECK(rows[i].id > 0);
        CHECK_TEXT(rows[i].root, "music");
        seq = rows[i].seq;
        dirs += rows[i].entry_kind == TW_KIND_DIR;
        missing += rows[i].kind == TW_CHANGE_MISSING;
        back += rows[i].kind == TW_CHANGE_RESTORED || (rows[i].kind == TW_CHANGE_ADDED && missing > 0);
    }
    CHECK(missing == 1 && back == 1);
    tw_change kept = rows[0];
    OK(tw_changes_clear(changes, &err));
    (void)kept;
    OK(tw_changes_free(changes, &err));
    CHECK_EQ(dirs, 1);

    /* In small steps, without directories, from the token of the same place. */
    OK(tw_warden_changes_since_token(warden, bytes_of(token, len), &changes, &err));
    OK(tw_changes_files_only(changes, &err));
    size_t total = 0;
    do {
        OK(tw_changes_next(changes, rows, sizeof rows[0], 3, &count, &err));
        total += count;
        OK(tw_changes_clear(changes, &err));
    } while (count > 0);
    CHECK_EQ(total, 22);
    OK(tw_changes_free(changes, &err));
    OK(tw_warden_changes(warden, seq_of(warden), &changes, &err));
    CHECK_EQ(read_all(changes, rows, 40), 0);
    OK(tw_changes_free(changes, &err));
    FAILS(TW_STATUS_RESET, tw_warden_changes(warden, seq_of(warden) + 1, &changes, &err));
}

static void following(tw_warden *warden) {
    tw_follow *follow = NULL;
    tw_changes *delivery = NULL, *again = NULL;
    tw_change rows[200];
    uint64_t upto = 0, position = 7, seq = 0;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_follow(warden, tw_str(""), &follow, &err));
    OK(tw_warden_follow(warden, tw_str("indexer"), &follow, &err));
    OK(tw_follow_position(follow, &position, &err));
    CHECK_EQ(position, 0);
    OK(tw_follow_next(follow, 1000, 0, &delivery, &err));
    OK(tw_follow_next(follow, 1000, 0, &again, &err));
    OK(tw_changes_upto(delivery, &upto, &err));
    CHECK_EQ(upto, seq_of(warden));
    CHECK(read_all(delivery, rows, 150) > 20);
    OK(tw_changes_ack(delivery, &seq, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_changes_ack(delivery, &seq, &err));
    OK(tw_changes_free(delivery, &err));
    OK(tw_changes_free(again, &err));
    OK(tw_follow_position(follow, &position, &err));
    CHECK_EQ(position, upto);
    delivery = NULL;
    FAILS(TW_STATUS_TIMEOUT, tw_follow_next(follow, 1, 0, &delivery, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_follow_next(follow, 1, 20, &delivery, &err));
    CHECK(delivery == NULL);

    /* Not acknowledged: it comes again, also under another handle of the name. */
    add_file(warden, "one");
    OK(tw_follow_next(follow, 1, -1, &delivery, &err));
    CHECK_EQ(read_all(delivery, rows, 150), 1);
    CHECK_TEXT(rows[0].path, "music/one");
    OK(tw_changes_free(delivery, &err));
    OK(tw_follow_free(follow, &err));
    OK(tw_warden_follow(warden, tw_str("indexer"), &follow, &err));
    OK(tw_follow_next(follow, 1, INT64_MAX, &delivery, &err));

    /* What was made of it and its acknowledgement, at once. */
    tw_batch *batch = NULL;
    tw_value *value = NULL;
    OK(tw_changes_upto(delivery, &upto, &err));
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, tw_str("index"), tw_str("one"), tw_str("done"), &err));
    OK(tw_batch_advance(batch, tw_str("indexer"), upto, &err));
    OK(tw_batch_commit(batch, &seq, &err));
    OK(tw_batch_free(batch, &err));
    OK(tw_follow_position(follow, &position, &err));
    CHECK_EQ(position, upto);
    OK(tw_space_get(warden, tw_str("index"), tw_str("one"), &value, &err));
    OK(tw_value_free(value, &err));
    OK(tw_changes_ack(delivery, &seq, &err));
    OK(tw_changes_free(delivery, &err));

    /* Two deliveries of the same: whoever comes second has been overtaken once there is more. */
    add_file(warden, "between");
    OK(tw_follow_next(follow, 1, -1, &delivery, &err));
    add_file(warden, "behind");
    OK(tw_follow_advance(follow, seq_of(warden), &err));
    FAILS(TW_STATUS_CONFLICT, tw_changes_ack(delivery, &seq, &err));
    OK(tw_changes_free(delivery, &err));

    FAILS(TW_STATUS_CONFLICT, tw_follow_advance(follow, 1, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_follow_advance(follow, UINT64_MAX, &err));
    OK(tw_follow_advance(follow, seq_of(warden), &err));
    tw_list *cursors = NULL;
    tw_pair pair;
    OK(tw_warden_cursors(warden, &cursors, &err));
    CHECK_EQ(list_len(cursors), 1);
    OK(tw_list_pair(cursors, 0, &pair, sizeof pair, &err));
    CHECK_TEXT(pair.key, "indexer");
    OK(tw_list_free(cursors, &err));
    OK(tw_follow_free(follow, &err));
}

struct waiter {
    tw_follow *follow;
    tw_warden *warden;
    tw_status status;
    uint64_t seq;
};

static void *wait_for_changes(void *data) {
    struct waiter *waiter = data;
    tw_changes *none = NULL;
    waiter->status = tw_follow_next(waiter->follow, 1, -1, &none, NULL);
    CHECK(none == NULL);
    return NULL;
}

static void *wait_for_a_commit(void *data) {
    struct waiter *waiter = data;
    waiter->status = tw_warden_wait(waiter->warden, waiter->seq, -1, &waiter->seq, NULL);
    return NULL;
}

/* Waits are ended by an interrupt, by the free of the handle, and by a commit. */
static void waits_end(tw_warden *warden) {
    pthread_t thread;
    struct waiter waiter = {NULL, warden, TW_STATUS_OK, seq_of(warden)};
    OK(tw_warden_follow(warden, tw_str("indexer"), &waiter.follow, &err));
    OK(tw_follow_advance(waiter.follow, seq_of(warden), &err));
    CHECK(pthread_create(&thread, NULL, wait_for_changes, &waiter) == 0);
    sleep_ms(20);
    OK(tw_follow_interrupt(waiter.follow, &err));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(waiter.status, TW_STATUS_TIMEOUT);

    /* Nobody waits: the next call is the one. Two count once. */
    tw_changes *none = NULL;
    OK(tw_follow_interrupt(waiter.follow, &err));
    OK(tw_follow_interrupt(waiter.follow, &err));
    int64_t begin = now_ms();
    FAILS(TW_STATUS_TIMEOUT, tw_follow_next(waiter.follow, 1, 30000, &none, &err));
    CHECK(now_ms() - begin < 20000);
    begin = now_ms();
    FAILS(TW_STATUS_TIMEOUT, tw_follow_next(waiter.follow, 1, 100, &none, &err));
    CHECK(now_ms() - begin >= 99);

    waiter.status = TW_STATUS_OK;
    CHECK(pthread_create(&thread, NULL, wait_for_changes, &waiter) == 0);
    sleep_ms(20);
    OK(tw_follow_free(waiter.follow, &err));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(waiter.status == TW_STATUS_TIMEOUT || waiter.status == TW_STATUS_INVALID_HANDLE);

    uint64_t before = seq_of(warden), seq = 0;
    OK(tw_warden_wait(warden, before, 0, &seq, &err));
    CHECK_EQ(seq, before);
    OK(tw_warden_wait(warden, before - 1, -1, &seq, &err));
    waiter.seq = before;
    CHECK(pthread_create(&thread, NULL, wait_for_a_commit, &waiter) == 0);
    add_file(warden, "two");
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(waiter.status == TW_STATUS_OK && waiter.seq > before);
}

static int is_readable(int fd, int timeout_ms) {
    struct pollfd place = {fd, POLLIN, 0};
    return poll(&place, 1, timeout_ms) == 1 && (place.revents & POLLIN) != 0;
}

static void by_descriptor(tw_warden *warden) {
    tw_follow *follow = NULL;
    tw_changes *delivery = NULL;
    uint64_t seq = 0;
    int fd = -1, same_fd = -1;
    OK(tw_warden_follow(warden, tw_str("poller"), &follow, &err));
    OK(tw_follow_advance(follow, seq_of(warden), &err));
    OK(tw_follow_descriptor(follow, &fd, &err));
    OK(tw_follow_descriptor(follow, &same_fd, &err));
    CHECK(fd >= 0 && fd == same_fd);
    while (tw_follow_next(follow, 1, 0, &delivery, NULL) != TW_STATUS_TIMEOUT) {
        OK(tw_changes_ack(delivery, &seq, &err));
        OK(tw_changes_free(delivery, &err));
    }
    CHECK(!is_readable(fd, 0));
    add_file(warden, "three");
    CHECK(is_readable(fd, 30000));
    OK(tw_follow_next(follow, 1, 0, &delivery, &err));
    OK(tw_changes_ack(delivery, &seq, &err));
    OK(tw_changes_free(delivery, &err));
    OK(tw_follow_free(follow, &err));
}

struct heard {
    int calls;
    int refusals;
    int finalized;
    int freed_itself;
    char last[100];
    tw_listener *listener;
};

static int32_t on_delivery(const tw_changes *delivery, void *user_data) {
    struct heard *heard = user_data;
    tw_change rows[64];
    size_t count = 0;
    CHECK_EQ(tw_changes_next(delivery, rows, sizeof rows[0], 64, &count, NULL), TW_STATUS_OK);
    CHECK(count > 0 && count < 64);
    snprintf(heard->last, sizeof heard->last, "%.*s", (int)rows[count - 1].path.len,
             (const char *)rows[count - 1].path.ptr);
    tw_listener *listener = __atomic_load_n(&heard->listener, __ATOMIC_SEQ_CST);
    if (listener != NULL) {
        heard->freed_itself += tw_listener_free(listener, NULL) != TW_STATUS_INVALID_ARGUMENT;
    }
    /* The first time it is refused: it comes again. */
    int is_refused = heard->refusals == 0;
    heard->refusals += is_refused;
    __atomic_add_fetch(&heard->calls, 1, __ATOMIC_SEQ_CST);
    return is_refused;
}

static void on_end(void *user_data) {
    count_up(&((struct heard *)user_data)->finalized);
}

static void by_callback(tw_warden *warden) {
    struct heard heard;
    memset(&heard, 0, sizeof heard);
    tw_follow *follow = NULL;
    tw_listener *listener = NULL;
    tw_status status = 7;
    OK(tw_warden_follow(warden, tw_str("listener"), &follow, &err));
    OK(tw_follow_advance(follow, seq_of(warden), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_follow_listen(follow, 1, NULL, &heard, on_end, &listener, &err));
    CHECK(heard.finalized == 1 && listener == NULL);
    FAILS(TW_STATUS_INVALID_HANDLE, tw_follow_listen(NULL, 1, on_delivery, &heard, on_end, &listener, &err));
    CHECK_EQ(heard.finalized, 2);
    heard.finalized = 0;

    OK(tw_follow_listen(follow, 1, on_delivery, &heard, on_end, &listener, &err));
    __atomic_store_n(&heard.listener, listener, __ATOMIC_SEQ_CST);
    add_file(warden, "four");
    EVENTUALLY(count_of(&heard.calls) == 2);
    CHECK(strcmp(heard.last, "music/four") == 0);
    add_file(warden, "five");
    EVENTUALLY(count_of(&heard.calls) == 3);
    CHECK(strcmp(heard.last, "music/five") == 0);
    CHECK_EQ(heard.freed_itself, 0);
    OK(tw_listener_status(listener, &status, &err));
    CHECK_EQ(status, TW_STATUS_OK);
    CHECK_EQ(count_of(&heard.finalized), 0);
    OK(tw_follow_free(follow, &err));
    OK(tw_listener_free(listener, &err));
    CHECK_EQ(count_of(&heard.finalized), 1);
    FAILS(TW_STATUS_INVALID_HANDLE, tw_listener_free(listener, &err));
    add_file(warden, "six");
    sleep_ms(20);
    CHECK(heard.calls == 3 && heard.finalized == 1);
}

/* A journal that keeps a second, and a clock that is moved by hand. */
static void a_trimmed_journal(void) {
    tw_options *options = new_options(TW_OPTIONS_OPEN);
    tw_warden *warden = NULL;
    tw_follow *follow = NULL;
    tw_changes *changes = NULL;
    struct heard heard;
    memset(&heard, 0, sizeof heard);
    OK(tw_options_set_int(options, TW_OPTION_OPEN_MANUAL_CLOCK_NS, 1000 * SECOND_NS, &err));
    OK(tw_options_set_int(options, TW_OPTION_OPEN_JOURNAL_KEEP_MS, 1000, &err));
    OK(tw_warden_open(tw_str(in_dir("trimmed.tw")), options, &warden, &err));
    OK(tw_options_free(options, &err));
    OK(tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    scan(warden);
    OK(tw_warden_clock_advance_ms(warden, 3600000, &err));
    add_file(warden, "seven");
    uint64_t forgotten = 0, restart_seq = 0;
    OK(tw_warden_maintain(warden, &forgotten, &err));
    OK(tw_warden_follow(warden, tw_str("late"), &follow, &err));

    tw_error *error = NULL;
    tw_error_info info;
    CHECK_EQ(tw_warden_changes(warden, 0, &changes, &error), TW_STATUS_RESET);
    OK(tw_error_get(error, &info, sizeof info, &err));
    CHECK_EQ(info.has_restart_seq, 1);
    restart_seq = info.restart_seq;
    OK(tw_error_free(error, &err));
    FAILS(TW_STATUS_RESET, tw_follow_next(follow, 1, 0, &changes, &err));
    tw_listener *listener = NULL;
    tw_status status = TW_STATUS_OK;
    OK(tw_follow_listen(follow, 1, on_delivery, &heard, on_end, &listener, &err));
    EVENTUALLY(tw_listener_status(listener, &status, NULL) == TW_STATUS_OK && status == TW_STATUS_RESET);
    OK(tw_listener_free(listener, &err));
    CHECK(heard.finalized == 1 && heard.calls == 0);

    OK(tw_warden_changes(warden, restart_seq, &changes, &err));
    OK(tw_changes_free(changes, &err));
    OK(tw_follow_advance(follow, restart_seq, &err));
    add_file(warden, "eight");
    OK(tw_follow_next(follow, 1, -1, &changes, &err));
    OK(tw_changes_free(changes, &err));
    OK(tw_warden_close(warden, &err));
    FAILS(TW_STATUS_CLOSED, tw_follow_next(follow, 1, -1, &changes, &err));
    OK(tw_follow_free(follow, &err));
    OK(tw_warden_free(warden, &err));
}

int main(void) {
    test_enter();
    tw_warden *warden = open_warden(NULL);
    since_a_commit(warden);
    following(warden);
    waits_end(warden);
    by_descriptor(warden);
    by_callback(warden);
    OK(tw_warden_free(warden, &err));
    a_trimmed_journal();
    return 0;
}
