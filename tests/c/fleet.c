/*
 * Proves fleets, against a real Redis: one limit over two of them, and why it waits; one leader at a time, with tokens
 * that rise; a journal that arrives once, in order and in full, is taken over, is fenced, and says where something was
 * cut off or does not continue; waits that are interrupted, also by freeing; that without Redis there is nothing; and
 * that no password is in a message.
 *
 * TREEWARDEN_TEST_REDIS says where the Redis is: run.py starts one. Each part has a prefix of its own, and so finds
 * what to Redis is new.
 */

#include "check.h"

#include <pthread.h>

#define FILES 20
#define SECRET "hush-hush-hush"
/* A Redis that nobody runs. */
#define NOBODY "redis://127.0.0.1:1"
/* What comes at once does so within this time, also on a busy machine. */
#define PATIENCE 60000

static const char *redis_url(void) {
    const char *url = getenv("TREEWARDEN_TEST_REDIS");
    if (url == NULL || url[0] == '\0') {
        fprintf(stderr, "TREEWARDEN_TEST_REDIS is not set: run.py starts a Redis and sets it\n");
        check_die();
    }
    return url;
}

/* The place of a publisher is a cursor of its warden, by the name of the stream: each part has a stream of its own. */
static tw_bytes stream;

static tw_fleet *connect_to(const char *url, const char *part, int later) {
    tw_options *options = new_options(TW_OPTIONS_FLEET);
    tw_fleet *fleet = NULL;
    char prefix[100];
    stream = tw_str(part);
    /* The folder is of this process alone, and so are its keys. */
    snprintf(prefix, sizeof prefix, "%s:%s", strrchr(test_dir, '/') + 1, part);
    OK(tw_options_set_bytes(options, TW_OPTION_FLEET_PREFIX, tw_str(prefix), &err));
    OK(tw_options_set_int(options, TW_OPTION_FLEET_CONNECT_TIMEOUT_MS, 20000, &err));
    OK(tw_options_set_int(options, TW_OPTION_FLEET_COMMAND_TIMEOUT_MS, 20000, &err));
    OK(tw_options_set_int(options, TW_OPTION_FLEET_LATER, later, &err));
    OK(tw_fleet_connect(tw_str(url), options, &fleet, &err));
    OK(tw_options_free(options, &err));
    return fleet;
}

static tw_fleet *connect_fleet(const char *part) {
    return connect_to(redis_url(), part, 0);
}

/* Without pacing: what is free is granted at once. */
static tw_shared_limiter *new_limiter(tw_fleet *fleet, int64_t limit, int64_t window_ms, int64_t hold_max_ms) {
    tw_options *rate = new_options(TW_OPTIONS_LIMITER);
    tw_shared_limiter *limiter = NULL;
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_LIMIT, limit, &err));
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_WINDOW_MS, window_ms, &err));
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_PACING, 0, &err));
    OK(tw_fleet_limiter(fleet, tw_str("api"), rate, hold_max_ms, &limiter, &err));
    OK(tw_options_free(rate, &err));
    return limiter;
}

static tw_lease *new_lease(tw_fleet *fleet, int64_t ttl_ms) {
    tw_lease *lease = NULL;
    OK(tw_fleet_lease(fleet, tw_str("scan"), ttl_ms, &lease, &err));
    return lease;
}

static tw_publisher *new_publisher(tw_fleet *fleet, tw_warden *warden, const char *root, const tw_leader *leader) {
    tw_options *options = new_options(TW_OPTIONS_PUBLISHER);
    tw_publisher *publisher = NULL;
    if (root != NULL) {
        OK(tw_options_set_bytes(options, TW_OPTION_PUBLISHER_ROOT, tw_str(root), &err));
    }
    OK(tw_fleet_publisher(fleet, stream, warden, options, leader, &publisher, &err));
    OK(tw_options_free(options, &err));
    return publisher;
}

/* `takeover_ms` of 0 leaves it as it is. */
static tw_consumer *new_consumer(tw_fleet *fleet, const char *group, const char *name, int64_t takeover_ms) {
    tw_options *options = new_options(TW_OPTIONS_CONSUMER);
    tw_consumer *consumer = NULL;
    if (takeover_ms > 0) {
        OK(tw_options_set_int(options, TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS, takeover_ms, &err));
    }
    OK(tw_fleet_consumer(fleet, stream, tw_str(group), tw_str(name), options, &consumer, &err));
    OK(tw_options_free(options, &err));
    return consumer;
}

static uint64_t publish_all(tw_publisher *publisher) {
    uint64_t total = 0, appended = 1;
    while (appended > 0) {
        OK(tw_publisher_publish(publisher, 1000, &appended, &err));
        total += appended;
    }
    return total;
}

static int is_valid(const tw_leader *leader) {
    int32_t valid = -1;
    OK(tw_leader_is_valid(leader, &valid, &err));
    return valid;
}

static uint64_t token_of(const tw_leader *leader) {
    uint64_t token = 0;
    OK(tw_leader_token(leader, &token, &err));
    return token;
}

static int value_has(tw_value *value, const char *text) {
    tw_bytes bytes;
    OK(tw_value_bytes(value, &bytes, &err));
    int has = memmem(bytes.ptr, bytes.len, text, strlen(text)) != NULL;
    OK(tw_value_free(value, &err));
    return has;
}

static int waits_because(const tw_shared_limiter *limiter, const char *text) {
    tw_value *why = NULL;
    OK(tw_shared_limiter_waiting(limiter, &why, &err));
    return value_has(why, text);
}

static int says(tw_bytes bytes, const char *text) {
    return bytes.len > 0 && memmem(bytes.ptr, bytes.len, text, strlen(text)) != NULL;
}

static tw_stream_item item_at(const tw_list *items, size_t index) {
    tw_stream_item item;
    OK(tw_list_stream_item(items, index, &item, sizeof item, &err));
    return item;
}

static void what_is_no_redis_is_refused_and_no_secret_is_told(void) {
    const struct {
        const char *url;
        tw_status status;
    } urls[] = {{"", TW_STATUS_INVALID_ARGUMENT},
                {"http://user:" SECRET "@host", TW_STATUS_INVALID_ARGUMENT},
                {"redis://user:" SECRET "@host/x", TW_STATUS_INVALID_ARGUMENT},
                {"redis://user:" SECRET "\xff@host", TW_STATUS_INVALID_ARGUMENT},
                {"rediss://user:" SECRET "@host", TW_STATUS_UNSUPPORTED},
                {"redis://user:" SECRET "@127.0.0.1:1", TW_STATUS_UNAVAILABLE}};
    tw_fleet *fleet = NULL;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; ++i) {
        tw_error *said = NULL;
        tw_error_info info;
        CHECK_EQ(tw_fleet_connect(tw_str(urls[i].url), NULL, &fleet, &said), urls[i].status);
        OK(tw_error_get(said, &info, sizeof info, &err));
        CHECK(info.message.len > 0 && !says(info.message, SECRET) && !says(info.hint, SECRET) && info.path.ptr == NULL);
        OK(tw_error_free(said, &err));
    }
    tw_options *options = new_options(TW_OPTIONS_FLEET);
    const int32_t times[] = {TW_OPTION_FLEET_CONNECT_TIMEOUT_MS, TW_OPTION_FLEET_COMMAND_TIMEOUT_MS};
    for (int i = 0; i < 2; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(options, times[i], 0, &err));
        FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_int(options, times[i], 3600001, &err));
    }
    OK(tw_options_set_bytes(options, TW_OPTION_FLEET_PREFIX, tw_str("a/b"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_connect(tw_str(redis_url()), options, &fleet, &err));
    OK(tw_options_free(options, &err));
    CHECK(fleet == NULL);
}

static void names_and_times_that_make_no_sense_are_refused(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("refused");
    tw_options *rate = new_options(TW_OPTIONS_LIMITER), *other = new_options(TW_OPTIONS_CONSUMER);
    tw_shared_limiter *limiter = NULL;
    tw_lease *lease = NULL;
    tw_publisher *publisher = NULL;
    tw_consumer *consumer = NULL;
    tw_bytes name = tw_str("name"), bad = tw_str("a/b");
    OK(tw_fleet_ping(fleet, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_limiter(fleet, name, NULL, 1000, &limiter, &err));
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_LIMIT, 5, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_limiter(fleet, name, rate, 1000, &limiter, &err));
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_WINDOW_MS, 1000, &err));
    const int64_t holds[] = {-1, 0, 24 * 3600 * 1000 + 1};
    for (int i = 0; i < 3; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_limiter(fleet, name, rate, holds[i], &limiter, &err));
    }
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_limiter(fleet, bad, rate, 1000, &limiter, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_limiter(fleet, name, other, 1000, &limiter, &err));
    /* What would have no effect. */
    OK(tw_options_set_int(rate, TW_OPTION_LIMITER_FLOOR_PERMILLE, 500, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_limiter(fleet, name, rate, 1000, &limiter, &err));

    const int64_t ttls[] = {-1, 0, 99, 24 * 3600 * 1000 + 1};
    for (int i = 0; i < 4; ++i) {
        FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_lease(fleet, name, ttls[i], &lease, &err));
    }
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_lease(fleet, bad, 1000, &lease, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_publisher(fleet, bad, warden, NULL, NULL, &publisher, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_publisher(fleet, name, warden, other, NULL, &publisher, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_consumer(fleet, name, name, tw_str(""), NULL, &consumer, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_fleet_consumer(fleet, name, name, name, rate, &consumer, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT,
          tw_options_set_int(other, TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS, 7LL * 24 * 3600 * 1000 + 1, &err));
    CHECK(limiter == NULL && lease == NULL && publisher == NULL && consumer == NULL);
    OK(tw_options_free(rate, &err));
    OK(tw_options_free(other, &err));
    OK(tw_fleet_free(fleet, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_fleet_ping(fleet, &err));
}

static void without_redis_there_is_nothing(tw_warden *warden) {
    tw_fleet *fleet = connect_to(NOBODY, "nobody", 1);
    tw_shared_limiter *limiter = new_limiter(fleet, 5, 1000, 100);
    tw_lease *lease = new_lease(fleet, 1000);
    tw_publisher *publisher = new_publisher(fleet, warden, NULL, NULL);
    tw_consumer *consumer = new_consumer(fleet, "g", "one", 0);
    tw_shared_permit *permit = NULL;
    tw_leader *leader = NULL;
    tw_value *why = NULL;
    tw_list *items = NULL;
    uint64_t appended = 7;
    FAILS(TW_STATUS_UNAVAILABLE, tw_fleet_ping(fleet, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_shared_limiter_waiting(limiter, &why, &err));
    FAILS(TW_STATUS_UNAVAILABLE, tw_shared_limiter_try_acquire(limiter, &permit, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_shared_limiter_acquire(limiter, 50, &permit, &err));
    CHECK(waits_because(limiter, "cannot be reached"));
    FAILS(TW_STATUS_UNAVAILABLE, tw_shared_limiter_throttled(limiter, -1, &err));
    FAILS(TW_STATUS_UNAVAILABLE, tw_shared_limiter_enforce(limiter, &err));
    FAILS(TW_STATUS_UNAVAILABLE, tw_lease_acquire(lease, 0, 0, &leader, &err));
    FAILS(TW_STATUS_UNAVAILABLE, tw_publisher_publish(publisher, 10, &appended, &err));
    FAILS(TW_STATUS_UNAVAILABLE, tw_consumer_next(consumer, 10, 0, &items, &err));
    CHECK(permit == NULL && leader == NULL && items == NULL && appended == 7);
    OK(tw_fleet_free(fleet, &err));
    OK(tw_shared_limiter_free(limiter, &err));
    OK(tw_lease_free(lease, &err));
    OK(tw_publisher_free(publisher, &err));
    OK(tw_consumer_free(consumer, &err));
}

static void one_limit_holds_for_all(void) {
    tw_fleet *here = connect_fleet("limit"), *there = connect_fleet("limit");
    tw_shared_limiter *limiter = new_limiter(here, 3, 1500, 1500), *other = new_limiter(there, 3, 1500, 1500);
    tw_shared_permit *permits[4] = {NULL, NULL, NULL, NULL};
    tw_value *why = NULL;
    uint64_t left = 0;
    /* To this prefix Redis is new: what may have been granted before has to be over. */
    FAILS(TW_STATUS_TIMEOUT, tw_shared_limiter_try_acquire(limiter, &permits[0], &err));
    CHECK(waits_because(limiter, "this Redis is new"));
    OK(tw_shared_limiter_acquire(limiter, PATIENCE, &permits[0], &err));
    OK(tw_shared_limiter_acquire(other, PATIENCE, &permits[1], &err));
    OK(tw_shared_limiter_acquire(limiter, PATIENCE, &permits[2], &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_shared_limiter_waiting(limiter, &why, &err));
    OK(tw_shared_permit_left(permits[2], &left, &err));
    CHECK(left <= 1500);
    FAILS(TW_STATUS_TIMEOUT, tw_shared_limiter_try_acquire(other, &permits[3], &err));
    CHECK(waits_because(other, "all 3 permits"));
    FAILS(TW_STATUS_TIMEOUT, tw_shared_limiter_acquire(limiter, 0, &permits[3], &err));
    CHECK(permits[3] == NULL);

    /* What was not sent is free again at once. */
    OK(tw_shared_permit_unused(permits[1], &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_shared_permit_unused(permits[1], &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_shared_permit_done(permits[1], &err));
    OK(tw_shared_permit_left(permits[1], &left, &err));
    CHECK_EQ(left, 0);
    OK(tw_shared_limiter_acquire(other, PATIENCE, &permits[3], &err));

    /* One machine is told to slow down, and all do. */
    OK(tw_shared_permit_throttled(permits[0], 3600 * 1000, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_shared_permit_throttled(permits[0], 1, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_shared_limiter_try_acquire(other, &permits[0], &err));
    CHECK(waits_because(other, "a server has asked for a pause"));
    for (int i = 0; i < 4; ++i) {
        OK(tw_shared_permit_free(permits[i], &err));
    }
    FAILS(TW_STATUS_INVALID_HANDLE, tw_shared_permit_done(permits[0], &err));
    OK(tw_shared_limiter_free(limiter, &err));
    OK(tw_shared_limiter_free(other, &err));
    OK(tw_fleet_free(here, &err));
    OK(tw_fleet_free(there, &err));
}

static void all_machines_use_the_same_rate(void) {
    tw_fleet *fleet = connect_fleet("rate");
    tw_shared_limiter *old = new_limiter(fleet, 3, 100, 100), *later = new_limiter(fleet, 4, 100, 100);
    tw_shared_permit *permit = NULL;
    OK(tw_shared_limiter_acquire(old, PATIENCE, &permit, &err));
    OK(tw_shared_permit_free(permit, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_shared_limiter_acquire(later, PATIENCE, &permit, &err));
    OK(tw_shared_limiter_enforce(later, &err));
    OK(tw_shared_limiter_acquire(later, PATIENCE, &permit, &err));
    OK(tw_shared_permit_done(permit, &err));
    OK(tw_shared_permit_free(permit, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_shared_limiter_try_acquire(old, &permit, &err));
    /* What was made from a fleet goes on without it. */
    OK(tw_fleet_free(fleet, &err));
    OK(tw_shared_limiter_throttled(later, -1, &err));
    OK(tw_shared_limiter_free(old, &err));
    OK(tw_shared_limiter_free(later, &err));
}

static void there_is_one_leader_and_tokens_rise(void) {
    tw_fleet *fleet = connect_fleet("lease");
    tw_lease *lease = new_lease(fleet, 2000), *other = new_lease(fleet, 2000), *odd = new_lease(fleet, 3000);
    tw_leader *first = NULL, *second = NULL;
    /* To this prefix Redis is new: whoever led before has to have lost it. */
    FAILS(TW_STATUS_TIMEOUT, tw_lease_acquire(lease, 0, 1, &first, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_lease_acquire(lease, 0, 2, &first, &err));
    OK(tw_lease_acquire(lease, PATIENCE, 1, &first, &err));
    CHECK(token_of(first) > 0);
    FAILS(TW_STATUS_TIMEOUT, tw_lease_acquire(other, 0, 0, &second, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_lease_acquire(odd, 0, 0, &second, &err));
    OK(tw_leader_renew(first, &err));
    /* A thread keeps it, for longer than it lasts by itself. */
    sleep_ms(2500);
    OK(tw_leader_renew(first, &err));
    CHECK(is_valid(first));
    FAILS(TW_STATUS_TIMEOUT, tw_lease_acquire(other, 0, 0, &second, &err));
    CHECK(second == NULL);

    OK(tw_leader_release(first, &err));
    OK(tw_leader_release(first, &err));
    CHECK(!is_valid(first));
    FAILS(TW_STATUS_LEASE_LOST, tw_leader_renew(first, &err));
    OK(tw_lease_acquire(other, PATIENCE, 0, &second, &err));
    CHECK(token_of(second) > token_of(first));
    OK(tw_leader_free(first, &err));

    /* Nobody keeps this one. */
    EVENTUALLY(!is_valid(second));
    uint64_t token = token_of(second);
    first = NULL;
    OK(tw_lease_acquire(lease, PATIENCE, 0, &first, &err));
    CHECK(token_of(first) > token);
    FAILS(TW_STATUS_LEASE_LOST, tw_leader_renew(second, &err));
    OK(tw_leader_free(second, &err));
    /* Freeing gives back what is held, and nothing else. */
    OK(tw_leader_free(first, &err));
    OK(tw_lease_acquire(other, PATIENCE, 0, &second, &err));
    CHECK(token_of(second) > token);
    OK(tw_lease_free(lease, &err));
    OK(tw_lease_free(other, &err));
    OK(tw_lease_free(odd, &err));
    OK(tw_fleet_free(fleet, &err));
    OK(tw_leader_free(second, &err));
}

/* Reads all that there is, acknowledges it, and compares it with the journal of a root. */
static void check_arrived(tw_warden *warden, tw_consumer *consumer, uint64_t since, const char *root) {
    tw_changes *changes = NULL;
    tw_change row;
    tw_list *items = NULL;
    size_t len = 0, at = 0, count = 1;
    uint64_t acked = 0, told = 0, seq = 0, part = 0;
    OK(tw_warden_changes(warden, since, &changes, &err));
    for (;;) {
        OK(tw_changes_next(changes, &row, sizeof row, 1, &count, &err));
        if (count == 0) {
            break;
        }
        part = row.seq == seq ? part + 1 : 1;
        seq = row.seq;
        if (!same(row.root, tw_str(root))) {
            continue;
        }
        if (at == len) {
            OK(tw_list_free(items, &err));
            OK(tw_consumer_next(consumer, 7, PATIENCE, &items, &err));
            len = list_len(items);
            CHECK(len > 0 && len <= 7);
            OK(tw_consumer_ack(consumer, items, &acked, &err));
            CHECK_EQ(acked, len);
            at = 0;
        }
        tw_stream_item item = item_at(items, at++);
        CHECK(!item.is_reset && item.seq == row.seq && item.part == part && item.id == row.id && item.reserved == 0);
        CHECK(item.kind == row.kind && item.entry_kind == row.entry_kind && item.database.len == 32);
        CHECK(same(item.root, row.root) && same(item.path, row.path) && same(item.from, row.from));
        CHECK((item.from.ptr == NULL) == (row.from.ptr == NULL) && item.stream_id.len > 0);
        ++told;
    }
    CHECK(told > 0 && at == len);
    OK(tw_list_free(items, &err));
    OK(tw_changes_free(changes, &err));
    items = NULL;
    FAILS(TW_STATUS_TIMEOUT, tw_consumer_next(consumer, 7, 0, &items, &err));
    CHECK(items == NULL);
}

static void a_journal_arrives_once_in_order_and_in_full(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("journal");
    tw_publisher *publisher = new_publisher(fleet, warden, "music", NULL);
    tw_consumer *consumer = new_consumer(fleet, "g", "one", 0), *elsewhere = new_consumer(fleet, "h", "one", 0);
    uint64_t seq = 0;
    CHECK(publish_all(publisher) >= FILES);
    check_arrived(warden, consumer, 0, "music");
    OK(tw_warden_seq(warden, &seq, &err));
    write_file("tree/file-0000", "changed");
    write_file("tree/odd\n\xff", "odd");
    CHECK(rename(in_dir("tree/file-0001"), in_dir("tree/moved")) == 0);
    CHECK(unlink(in_dir("tree/file-0002")) == 0);
    write_file("second/new", "of another root");
    scan(warden);
    /* A publisher of later goes on where the other has ended. */
    OK(tw_publisher_free(publisher, &err));
    publisher = new_publisher(fleet, warden, "music", NULL);
    CHECK(publish_all(publisher) >= 4);
    check_arrived(warden, consumer, seq, "music");
    /* Every group gets all of them. */
    check_arrived(warden, elsewhere, 0, "music");
    OK(tw_publisher_free(publisher, &err));
    OK(tw_consumer_free(consumer, &err));
    OK(tw_consumer_free(elsewhere, &err));
    OK(tw_fleet_free(fleet, &err));
}

/* As growth.c says of all others. */
static void an_item_may_grow(const tw_list *items) {
    union {
        unsigned char bytes[512];
        tw_stream_item item;
    } whole, part;
    const size_t known = sizeof(tw_stream_item);
    CHECK(known + 128 < sizeof part);
    memset(whole.bytes, 0, sizeof whole);
    whole.item = item_at(items, 0);
    for (size_t size = 8; size <= known + 128; size += 8) {
        size_t filled = size < known ? size : known;
        memset(part.bytes, 0xa5, sizeof part);
        OK(tw_list_stream_item(items, 0, &part.item, size, &err));
        CHECK(memcmp(part.bytes, whole.bytes, filled) == 0);
        for (size_t i = filled; i < sizeof part; ++i) {
            CHECK_EQ(part.bytes[i], i < size ? 0 : 0xa5);
        }
    }
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_list_stream_item(items, 0, &part.item, 12, &err));
}

static void a_group_divides_the_changes_and_takes_over(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("group");
    tw_publisher *publisher = new_publisher(fleet, warden, NULL, NULL);
    tw_consumer *dead = new_consumer(fleet, "g", "dead", 0), *other = new_consumer(fleet, "g", "other", 0);
    tw_consumer *heir = new_consumer(fleet, "g", "heir", 1);
    tw_list *had = NULL, *rest = NULL, *again = NULL, *roots = NULL;
    uint64_t acked = 7;
    CHECK(publish_all(publisher) >= FILES);
    OK(tw_consumer_next(dead, 3, PATIENCE, &had, &err));
    OK(tw_consumer_next(other, 1000, PATIENCE, &rest, &err));
    CHECK(list_len(had) == 3 && list_len(rest) >= FILES - 3);
    CHECK(!same(item_at(had, 0).stream_id, item_at(rest, 0).stream_id));
    an_item_may_grow(had);
    OK(tw_consumer_ack(other, rest, &acked, &err));
    CHECK_EQ(acked, list_len(rest));
    OK(tw_consumer_ack(other, rest, &acked, &err));
    CHECK_EQ(acked, 0);
    OK(tw_consumer_ack_one(dead, had, 1, &acked, &err));
    CHECK_EQ(acked, 1);
    FAILS(TW_STATUS_NOT_FOUND, tw_consumer_ack_one(dead, had, 3, &acked, &err));
    OK(tw_warden_roots(warden, &roots, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_consumer_ack(dead, roots, &acked, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_consumer_ack_one(dead, roots, 0, &acked, &err));
    CHECK_EQ(acked, 1);

    /* Freeing acknowledges nothing: what it had in hand comes to another. */
    OK(tw_consumer_free(dead, &err));
    OK(tw_consumer_next(heir, 10, PATIENCE, &again, &err));
    CHECK_EQ(list_len(again), 2);
    CHECK(same(item_at(again, 0).stream_id, item_at(had, 0).stream_id));
    CHECK(same(item_at(again, 1).path, item_at(had, 2).path));
    OK(tw_consumer_ack(heir, again, &acked, &err));
    CHECK_EQ(acked, 2);
    OK(tw_list_free(had, &err));
    OK(tw_list_free(rest, &err));
    OK(tw_list_free(again, &err));
    OK(tw_list_free(roots, &err));
    OK(tw_consumer_free(other, &err));
    OK(tw_consumer_free(heir, &err));
    OK(tw_publisher_free(publisher, &err));
    OK(tw_fleet_free(fleet, &err));
}

static void what_does_not_continue_is_told(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("reset");
    tw_publisher *publisher = new_publisher(fleet, warden, NULL, NULL), *short_one = NULL;
    tw_consumer *consumer = new_consumer(fleet, "g", "one", 0);
    tw_options *options = new_options(TW_OPTIONS_PUBLISHER);
    tw_warden *second = NULL;
    tw_list *items = NULL;
    uint64_t acked = 0, appended = 1;
    int32_t was_reset = -1;
    publish_all(publisher);
    OK(tw_publisher_free(publisher, &err));
    OK(tw_consumer_next(consumer, 1000, PATIENCE, &items, &err));
    OK(tw_consumer_ack(consumer, items, &acked, &err));
    OK(tw_list_free(items, &err));
    OK(tw_consumer_accept_reset(consumer, &was_reset, &err));
    CHECK_EQ(was_reset, 0);

    /* Another state file in the same stream. */
    OK(tw_warden_open(tw_str(in_dir("other.tw")), NULL, &second, &err));
    OK(tw_warden_add_root(second, tw_str("many"), tw_str(in_dir("many")), NULL, &err));
    scan(second);
    publisher = new_publisher(fleet, second, NULL, NULL);
    OK(tw_publisher_publish(publisher, 5, &appended, &err));
    OK(tw_consumer_next(consumer, 1, PATIENCE, &items, &err));
    tw_stream_item item = item_at(items, 0);
    CHECK(item.is_reset && item.part == 0 && item.kind == -1 && item.entry_kind == -1 && item.id == 0);
    CHECK(item.path.ptr == NULL && item.root.ptr == NULL && item.from.ptr == NULL && item.database.len == 32);
    OK(tw_consumer_ack(consumer, items, &acked, &err));
    OK(tw_list_free(items, &err));
    OK(tw_publisher_free(publisher, &err));

    /* Redis cuts off in pieces of a hundred entries at most: of some hundred not all are left. */
    OK(tw_options_set_int(options, TW_OPTION_PUBLISHER_ENTRIES_MAX, 1, &err));
    OK(tw_fleet_publisher(fleet, stream, second, options, NULL, &short_one, &err));
    publish_all(short_one);
    items = NULL;
    FAILS(TW_STATUS_RESET, tw_consumer_next(consumer, 10, 0, &items, &err));
    FAILS(TW_STATUS_RESET, tw_consumer_next(consumer, 10, PATIENCE, &items, &err));
    CHECK(items == NULL);
    OK(tw_consumer_accept_reset(consumer, &was_reset, &err));
    CHECK_EQ(was_reset, 1);
    OK(tw_consumer_next(consumer, 10, PATIENCE, &items, &err));
    CHECK(!item_at(items, 0).is_reset);
    OK(tw_list_free(items, &err));
    OK(tw_publisher_free(short_one, &err));
    OK(tw_consumer_free(consumer, &err));
    OK(tw_options_free(options, &err));
    OK(tw_warden_free(second, &err));
    OK(tw_fleet_free(fleet, &err));
}

static void a_publisher_with_an_old_token_is_refused(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("fence");
    tw_lease *lease = new_lease(fleet, 200);
    tw_leader *first = NULL, *second = NULL;
    tw_publisher *none = NULL;
    uint64_t appended = 0;
    OK(tw_lease_acquire(lease, PATIENCE, 0, &first, &err));
    tw_publisher *old = new_publisher(fleet, warden, NULL, first), *plain = new_publisher(fleet, warden, NULL, NULL);
    OK(tw_publisher_publish(old, 3, &appended, &err));
    CHECK(appended >= 3);
    OK(tw_leader_release(first, &err));
    FAILS(TW_STATUS_LEASE_LOST, tw_fleet_publisher(fleet, stream, warden, NULL, first, &none, &err));
    OK(tw_lease_acquire(lease, PATIENCE, 0, &second, &err));
    tw_publisher *present = new_publisher(fleet, warden, NULL, second);
    OK(tw_publisher_publish(present, 3, &appended, &err));
    FAILS(TW_STATUS_LEASE_LOST, tw_publisher_publish(old, 3, &appended, &err));
    FAILS(TW_STATUS_LEASE_LOST, tw_publisher_publish(plain, 3, &appended, &err));
    FAILS(TW_STATUS_LEASE_LOST, tw_publisher_run(plain, &err));
    publish_all(present);
    CHECK(none == NULL);
    OK(tw_publisher_free(old, &err));
    OK(tw_publisher_free(plain, &err));
    OK(tw_publisher_free(present, &err));
    OK(tw_leader_free(first, &err));
    OK(tw_leader_free(second, &err));
    OK(tw_lease_free(lease, &err));
    OK(tw_fleet_free(fleet, &err));
}

/* A thread that waits for something, and what it came to. */
struct wait {
    void *handle;
    tw_status status;
    int has_begun;
    int is_over;
};

static void *begin(struct wait *wait) {
    __atomic_store_n(&wait->has_begun, 1, __ATOMIC_SEQ_CST);
    return wait->handle;
}

static void over(struct wait *wait, tw_status status) {
    wait->status = status;
    __atomic_store_n(&wait->is_over, 1, __ATOMIC_SEQ_CST);
}

static void *wait_for_a_permit(void *its) {
    struct wait *wait = its;
    tw_shared_permit *permit = NULL;
    over(wait, tw_shared_limiter_acquire(begin(wait), -1, &permit, NULL));
    return permit;
}

static void *wait_for_a_lease(void *its) {
    struct wait *wait = its;
    tw_leader *leader = NULL;
    over(wait, tw_lease_acquire(begin(wait), -1, 0, &leader, NULL));
    return leader;
}

static void *wait_for_items(void *its) {
    struct wait *wait = its;
    tw_list *items = NULL;
    over(wait, tw_consumer_next(begin(wait), 1, -1, &items, NULL));
    return items;
}

static void *run_publisher(void *its) {
    struct wait *wait = its;
    over(wait, tw_publisher_run(begin(wait), NULL));
    return NULL;
}

/* Ends a wait without end, by `end`. */
static void check_ends(void *(*body)(void *), void *handle, tw_status (*end)(void *), tw_status wanted) {
    struct wait wait = {handle, -1, 0, 0};
    pthread_t thread;
    void *came = &wait;
    CHECK(pthread_create(&thread, NULL, body, &wait) == 0);
    EVENTUALLY(__atomic_load_n(&wait.has_begun, __ATOMIC_SEQ_CST));
    sleep_ms(100);
    CHECK(!__atomic_load_n(&wait.is_over, __ATOMIC_SEQ_CST));
    CHECK_EQ(end(handle), TW_STATUS_OK);
    EVENTUALLY(__atomic_load_n(&wait.is_over, __ATOMIC_SEQ_CST));
    CHECK(pthread_join(thread, &came) == 0 && came == NULL);
    CHECK_EQ(wait.status, wanted);
}

static tw_status interrupt_limiter(void *handle) { return tw_shared_limiter_interrupt(handle, NULL); }
static tw_status free_limiter(void *handle) { return tw_shared_limiter_free(handle, NULL); }
static tw_status interrupt_lease(void *handle) { return tw_lease_interrupt(handle, NULL); }
static tw_status free_lease(void *handle) { return tw_lease_free(handle, NULL); }
static tw_status interrupt_consumer(void *handle) { return tw_consumer_interrupt(handle, NULL); }
static tw_status free_consumer(void *handle) { return tw_consumer_free(handle, NULL); }
static tw_status stop_publisher(void *handle) { return tw_publisher_stop(handle, NULL); }
static tw_status free_publisher(void *handle) { return tw_publisher_free(handle, NULL); }

static void waits_are_interrupted(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("waits");
    /* To this prefix Redis is new, for an hour. */
    tw_shared_limiter *limiter = new_limiter(fleet, 1, 3600 * 1000, 100);
    tw_lease *lease = new_lease(fleet, 3600 * 1000);
    tw_consumer *consumer = new_consumer(fleet, "g", "one", 0);
    tw_publisher *publisher = new_publisher(fleet, warden, "none", NULL);
    tw_shared_permit *permit = NULL;
    tw_leader *leader = NULL;
    tw_list *items = NULL;
    for (int i = 0; i < 2; ++i) {
        check_ends(wait_for_a_permit, limiter, interrupt_limiter, TW_STATUS_TIMEOUT);
        check_ends(wait_for_a_lease, lease, interrupt_lease, TW_STATUS_TIMEOUT);
        check_ends(wait_for_items, consumer, interrupt_consumer, TW_STATUS_TIMEOUT);
        check_ends(run_publisher, publisher, stop_publisher, TW_STATUS_OK);
    }
    /* Where nobody waits, the next one ends, and only that. */
    OK(tw_shared_limiter_interrupt(limiter, &err));
    OK(tw_shared_limiter_interrupt(limiter, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_shared_limiter_acquire(limiter, -1, &permit, &err));
    OK(tw_lease_interrupt(lease, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_lease_acquire(lease, -1, 1, &leader, &err));
    OK(tw_consumer_interrupt(consumer, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_consumer_next(consumer, 1, -1, &items, &err));
    OK(tw_publisher_stop(publisher, &err));
    OK(tw_publisher_stop(publisher, &err));
    OK(tw_publisher_run(publisher, &err));
    CHECK(permit == NULL && leader == NULL && items == NULL);
    /* So does a wait whose handle is freed. */
    check_ends(wait_for_a_permit, limiter, free_limiter, TW_STATUS_TIMEOUT);
    check_ends(wait_for_a_lease, lease, free_lease, TW_STATUS_TIMEOUT);
    check_ends(wait_for_items, consumer, free_consumer, TW_STATUS_TIMEOUT);
    check_ends(run_publisher, publisher, free_publisher, TW_STATUS_OK);
    FAILS(TW_STATUS_INVALID_HANDLE, tw_publisher_run(publisher, &err));
    OK(tw_fleet_free(fleet, &err));
}

static void a_publisher_runs_until_its_warden_is_closed(tw_warden *warden) {
    tw_fleet *fleet = connect_fleet("run");
    tw_publisher *publisher = new_publisher(fleet, warden, NULL, NULL);
    tw_consumer *consumer = new_consumer(fleet, "g", "one", 0);
    struct wait wait = {publisher, -1, 0, 0};
    pthread_t thread;
    tw_list *items = NULL;
    uint64_t acked = 0, appended = 0;
    int is_there = 0;
    CHECK(pthread_create(&thread, NULL, run_publisher, &wait) == 0);
    write_file("tree/while-it-runs", "new");
    scan(warden);
    while (!is_there) {
        OK(tw_consumer_next(consumer, 1000, PATIENCE, &items, &err));
        for (size_t i = 0; i < list_len(items); ++i) {
            is_there |= same(item_at(items, i).path, tw_str("music/while-it-runs"));
        }
        OK(tw_consumer_ack(consumer, items, &acked, &err));
        OK(tw_list_free(items, &err));
    }
    CHECK(!__atomic_load_n(&wait.is_over, __ATOMIC_SEQ_CST));
    OK(tw_warden_close(warden, &err));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(wait.status, TW_STATUS_CLOSED);
    FAILS(TW_STATUS_CLOSED, tw_publisher_publish(publisher, 10, &appended, &err));
    FAILS(TW_STATUS_CLOSED, tw_publisher_run(publisher, &err));
    OK(tw_fleet_free(fleet, &err));
    OK(tw_consumer_free(consumer, &err));
    OK(tw_publisher_free(publisher, &err));
}

int main(void) {
    redis_url();
    test_enter();
    make_dir("second");
    make_dir("many");
    write_files("tree/file", FILES);
    write_file("second/one", "one");
    write_files("many/file", 400);
    tw_warden *warden = open_warden(NULL);
    OK(tw_warden_add_root(warden, tw_str("second"), tw_str(in_dir("second")), NULL, &err));
    scan(warden);
    what_is_no_redis_is_refused_and_no_secret_is_told();
    names_and_times_that_make_no_sense_are_refused(warden);
    without_redis_there_is_nothing(warden);
    one_limit_holds_for_all();
    all_machines_use_the_same_rate();
    there_is_one_leader_and_tokens_rise();
    a_journal_arrives_once_in_order_and_in_full(warden);
    a_group_divides_the_changes_and_takes_over(warden);
    what_does_not_continue_is_told(warden);
    a_publisher_with_an_old_token_is_refused(warden);
    waits_are_interrupted(warden);
    a_publisher_runs_until_its_warden_is_closed(warden);
    OK(tw_warden_free(warden, &err));
    return 0;
}
