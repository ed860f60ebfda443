/*
 * Proves the program's own state: attributes that follow their file; spaces of keys and values of any bytes; compare
 * and set; batches that happen at once or not at all; limits that are told and kept; and that all of it is there after
 * a restart.
 */

#include "check.h"

#define KEY_MAX (4 * 1024)
#define VALUE_MAX (16 * 1024 * 1024)
#define ATTRS_MAX (64 * 1024)

static tw_pair pair_of(tw_bytes key, tw_bytes value) {
    tw_pair pair;
    pair.key = key;
    pair.value = value;
    pair.number = 77;
    return pair;
}

static void check_attr(tw_warden *warden, const char *address, size_t count, const char *name, const char *value) {
    tw_list *list = NULL;
    tw_pair pair;
    int is_found = 0;
    OK(tw_warden_attrs(warden, tw_str(address), &list, &err));
    CHECK_EQ(list_len(list), count);
    for (size_t i = 0; i < count; ++i) {
        OK(tw_list_pair(list, i, &pair, sizeof pair, &err));
        CHECK_EQ(pair.number, 0);
        is_found |= same(pair.key, tw_str(name)) && same(pair.value, tw_str(value));
    }
    CHECK(is_found || count == 0);
    OK(tw_list_free(list, &err));
}

static void attributes(tw_warden *warden) {
    tw_list *list = NULL;
    tw_pair pairs[3];
    memset(pairs, 0, sizeof pairs);
    pairs[0] = pair_of(tw_str("artist"), tw_str("Bach"));
    pairs[1] = pair_of(tw_str("rating"), bytes_of("\0\xff\n", 3));
    pairs[2] = pair_of(tw_str("empty"), bytes_of("", 0));
    OK(tw_warden_set_attrs(warden, tw_str("music/a"), pairs, sizeof pairs[0], 3, &err));
    check_attr(warden, "music/a", 3, "artist", "Bach");
    check_attr(warden, "music/a", 3, "empty", "");
    /* Without a pointer it is removed; what is not named stays. */
    pairs[0] = pair_of(tw_str("empty"), bytes_of(NULL, 0));
    pairs[1] = pair_of(tw_str("artist"), tw_str("Reger"));
    OK(tw_warden_set_attrs(warden, tw_str("music/a"), pairs, sizeof pairs[0], 2, &err));
    check_attr(warden, "music/a", 2, "artist", "Reger");
    OK(tw_warden_set_attrs(warden, tw_str("music/a"), NULL, sizeof pairs[0], 0, &err));

    /* Rows of a later header are longer. */
    struct {
        tw_pair pair;
        uint64_t later;
    } longer[2];
    memset(longer, 0xa5, sizeof longer);
    longer[0].pair = pair_of(tw_str("one"), tw_str("1"));
    longer[1].pair = pair_of(tw_str("two"), tw_str("2"));
    OK(tw_warden_set_attrs(warden, tw_str("music/b"), &longer[0].pair, sizeof longer[0], 2, &err));
    check_attr(warden, "music/b", 2, "two", "2");

    FAILS(TW_STATUS_NOT_FOUND, tw_warden_set_attrs(warden, tw_str("music/none"), pairs, sizeof pairs[0], 1, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_attrs(warden, tw_str("music/none"), &list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_attrs(warden, tw_str("music//a"), &list, &err));
    pairs[0] = pair_of(tw_str("a/b"), tw_str("x"));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_set_attrs(warden, tw_str("music/a"), pairs, sizeof pairs[0], 1, &err));
    pairs[0] = pair_of(tw_str("\xff"), tw_str("x"));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_set_attrs(warden, tw_str("music/a"), pairs, sizeof pairs[0], 1, &err));

    char *big = calloc(1, ATTRS_MAX + 1);
    CHECK(big != NULL);
    pairs[0] = pair_of(tw_str("big"), bytes_of(big, ATTRS_MAX + 1));
    FAILS(TW_STATUS_TOO_LARGE, tw_warden_set_attrs(warden, tw_str("music/a"), pairs, sizeof pairs[0], 1, &err));
    free(big);
    check_attr(warden, "music/a", 2, "artist", "Reger");

    CHECK(rename(in_dir("tree/a"), in_dir("tree/dir/moved")) == 0);
    CHECK_EQ(scan(warden).moved, 1);
    check_attr(warden, "music/dir/moved", 2, "artist", "Reger");
    CHECK(unlink(in_dir("tree/dir/moved")) == 0);
    CHECK_EQ(scan(warden).missing, 1);
    check_attr(warden, "music/dir/moved", 2, "artist", "Reger");
}

static void check_value(tw_warden *warden, const char *space, tw_bytes key, tw_bytes wanted) {
    tw_value *value = NULL;
    tw_bytes bytes;
    OK(tw_space_get(warden, tw_str(space), key, &value, &err));
    OK(tw_value_bytes(value, &bytes, &err));
    check_bytes(__FILE__, __LINE__, "value", bytes, wanted);
    OK(tw_value_free(value, &err));
}

static void spaces(tw_warden *warden) {
    tw_value *value = NULL;
    tw_bytes odd_key = bytes_of("\0key\xff", 5);
    int32_t was_there = 7;
    FAILS(TW_STATUS_NOT_FOUND, tw_space_get(warden, tw_str("tags"), tw_str("x"), &value, &err));
    OK(tw_space_put(warden, tw_str("tags"), odd_key, bytes_of("\0\0", 2), &err));
    OK(tw_space_put(warden, tw_str("tags"), tw_str("empty"), bytes_of(NULL, 0), &err));
    check_value(warden, "tags", odd_key, bytes_of("\0\0", 2));
    check_value(warden, "tags", tw_str("empty"), bytes_of(NULL, 0));
    OK(tw_space_delete(warden, tw_str("tags"), tw_str("empty"), &was_there, &err));
    CHECK_EQ(was_there, 1);
    OK(tw_space_delete(warden, tw_str("tags"), tw_str("empty"), &was_there, &err));
    CHECK_EQ(was_there, 0);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_space_put(warden, tw_str("tags"), tw_str(""), tw_str("x"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_space_put(warden, tw_str("a/b"), tw_str("k"), tw_str("x"), &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_space_get(warden, tw_str("\xff"), tw_str("k"), &value, &err));
    CHECK(value == NULL);

    char *big = calloc(1, VALUE_MAX + 1);
    CHECK(big != NULL);
    FAILS(TW_STATUS_TOO_LARGE, tw_space_put(warden, tw_str("tags"), bytes_of(big, KEY_MAX + 1), tw_str(""), &err));
    FAILS(TW_STATUS_TOO_LARGE, tw_space_get(warden, tw_str("tags"), bytes_of(big, KEY_MAX + 1), &value, &err));
    FAILS(TW_STATUS_TOO_LARGE, tw_space_put(warden, tw_str("tags"), tw_str("k"), bytes_of(big, VALUE_MAX + 1), &err));
    OK(tw_space_put(warden, tw_str("tags"), bytes_of(big, KEY_MAX), bytes_of(big, VALUE_MAX), &err));
    check_value(warden, "tags", bytes_of(big, KEY_MAX), bytes_of(big, VALUE_MAX));
    OK(tw_space_delete(warden, tw_str("tags"), bytes_of(big, KEY_MAX), &was_there, &err));
    free(big);

    for (int i = 0; i < 30; ++i) {
        char key[20];
        snprintf(key, sizeof key, "%c/%02d", i % 2 == 0 ? 'a' : 'b', i);
        OK(tw_space_put(warden, tw_str("list"), tw_str(key), tw_str(key), &err));
    }
    tw_list *list = NULL;
    tw_pair pair;
    char after[20] = "";
    int total = 0;
    for (;;) {
        OK(tw_space_items(warden, tw_str("list"), tw_str("b/"), tw_str(after), 4, &list, &err));
        size_t len = list_len(list);
        for (size_t i = 0; i < len; ++i) {
            OK(tw_list_pair(list, i, &pair, sizeof pair, &err));
            CHECK(same(pair.key, pair.value) && pair.key.ptr[0] == 'b' && pair.number == 0);
            CHECK(strncmp((const char *)pair.key.ptr, after, pair.key.len) > 0);
            snprintf(after, sizeof after, "%.*s", (int)pair.key.len, (const char *)pair.key.ptr);
            ++total;
        }
        OK(tw_list_free(list, &err));
        if (len == 0) {
            break;
        }
    }
    CHECK_EQ(total, 15);
    OK(tw_space_items(warden, tw_str("list"), bytes_of(NULL, 0), bytes_of(NULL, 0), SIZE_MAX, &list, &err));
    CHECK_EQ(list_len(list), 30);
    OK(tw_list_free(list, &err));
    OK(tw_space_items(warden, tw_str("none"), tw_str(""), tw_str(""), 10, &list, &err));
    CHECK_EQ(list_len(list), 0);
    OK(tw_list_free(list, &err));
}

static void compare_and_set(tw_warden *warden) {
    const tw_bytes one = tw_str("1"), two = tw_str("2"), empty = bytes_of(NULL, 0);
    tw_bytes space = tw_str("counter"), key = tw_str("n");
    FAILS(TW_STATUS_CONFLICT, tw_space_compare_and_set(warden, space, key, &one, &two, &err));
    OK(tw_space_compare_and_set(warden, space, key, NULL, &one, &err));
    FAILS(TW_STATUS_CONFLICT, tw_space_compare_and_set(warden, space, key, NULL, &two, &err));
    OK(tw_space_compare_and_set(warden, space, key, &one, &empty, &err));
    FAILS(TW_STATUS_CONFLICT, tw_space_compare_and_set(warden, space, key, NULL, &two, &err));
    OK(tw_space_compare_and_set(warden, space, key, &empty, &two, &err));
    check_value(warden, "counter", key, two);
    OK(tw_space_compare_and_set(warden, space, key, &two, NULL, &err));
    tw_value *value = NULL;
    FAILS(TW_STATUS_NOT_FOUND, tw_space_get(warden, space, key, &value, &err));
    OK(tw_space_compare_and_set(warden, space, key, NULL, NULL, &err));
}

static void batches(tw_warden *warden) {
    tw_batch *batch = NULL;
    tw_value *value = NULL;
    uint64_t before = 0, seq = 0;
    const tw_bytes one = tw_str("1"), wrong = tw_str("wrong");
    tw_bytes space = tw_str("batch");
    OK(tw_warden_seq(warden, &before, &err));
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_commit(batch, &seq, &err));
    CHECK_EQ(seq, before);
    OK(tw_batch_free(batch, &err));

    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, space, tw_str("a"), one, &err));
    OK(tw_batch_put(batch, space, tw_str("b"), one, &err));
    OK(tw_batch_delete(batch, space, tw_str("b"), &err));
    OK(tw_batch_compare_and_set(batch, space, tw_str("c"), NULL, &one, &err));
    OK(tw_batch_set_attr(batch, tw_str("music/b"), tw_str("three"), tw_str("3"), &err));
    OK(tw_batch_remove_attr(batch, tw_str("music/b"), tw_str("one"), &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_space_get(warden, space, tw_str("a"), &value, &err));
    OK(tw_batch_commit(batch, &seq, &err));
    CHECK(seq > before);
    check_value(warden, "batch", tw_str("a"), one);
    check_value(warden, "batch", tw_str("c"), one);
    FAILS(TW_STATUS_NOT_FOUND, tw_space_get(warden, space, tw_str("b"), &value, &err));
    check_attr(warden, "music/b", 2, "three", "3");
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_batch_commit(batch, &seq, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_batch_put(batch, space, tw_str("d"), one, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_batch_advance(batch, tw_str("x"), 1, &err));
    OK(tw_batch_free(batch, &err));

    /* One step that fails, and nothing of the others happens. */
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, space, tw_str("d"), one, &err));
    OK(tw_batch_compare_and_set(batch, space, tw_str("a"), &wrong, &one, &err));
    FAILS(TW_STATUS_CONFLICT, tw_batch_commit(batch, &seq, &err));
    OK(tw_batch_free(batch, &err));
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, space, tw_str("d"), one, &err));
    OK(tw_batch_set_attr(batch, tw_str("music/none"), tw_str("x"), one, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_batch_commit(batch, &seq, &err));
    OK(tw_batch_free(batch, &err));
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, space, tw_str("d"), one, &err));
    OK(tw_batch_put(batch, space, tw_str(""), one, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_batch_commit(batch, &seq, &err));
    OK(tw_batch_free(batch, &err));
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, space, tw_str("d"), one, &err));
    OK(tw_batch_free(batch, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_space_get(warden, space, tw_str("d"), &value, &err));
    CHECK(value == NULL);
}

static void a_restart(tw_warden *warden) {
    tw_batch *batch = NULL;
    tw_value *value = NULL;
    uint64_t seq = 0;
    int32_t was_there = 0;
    OK(tw_warden_batch(warden, &batch, &err));
    OK(tw_batch_put(batch, tw_str("batch"), tw_str("late"), tw_str("1"), &err));
    OK(tw_space_get(warden, tw_str("batch"), tw_str("a"), &value, &err));
    OK(tw_warden_close(warden, &err));
    FAILS(TW_STATUS_CLOSED, tw_batch_commit(batch, &seq, &err));
    FAILS(TW_STATUS_CLOSED, tw_space_delete(warden, tw_str("batch"), tw_str("a"), &was_there, &err));
    OK(tw_batch_free(batch, &err));
    OK(tw_warden_free(warden, &err));
    tw_bytes bytes;
    OK(tw_value_bytes(value, &bytes, &err));
    CHECK_TEXT(bytes, "1");
    OK(tw_value_free(value, &err));

    OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, &warden, &err));
    check_value(warden, "batch", tw_str("a"), tw_str("1"));
    check_attr(warden, "music/b", 2, "three", "3");
    OK(tw_warden_free(warden, &err));

    tw_options *options = new_options(TW_OPTIONS_OPEN);
    OK(tw_options_set_int(options, TW_OPTION_OPEN_READ_ONLY, 1, &err));
    OK(tw_warden_open(tw_str(in_dir("state.tw")), options, &warden, &err));
    OK(tw_options_free(options, &err));
    check_value(warden, "batch", tw_str("c"), tw_str("1"));
    FAILS(TW_STATUS_READ_ONLY, tw_space_put(warden, tw_str("batch"), tw_str("a"), tw_str("2"), &err));
    OK(tw_warden_free(warden, &err));
}

int main(void) {
    test_enter();
    make_dir("tree/dir");
    write_file("tree/a", "a");
    write_file("tree/b", "b");
    write_file("tree/dir/c", "c");
    tw_warden *warden = open_warden(NULL);
    CHECK_EQ(scan(warden).added, 3);
    attributes(warden);
    spaces(warden);
    compare_and_set(warden);
    batches(warden);
    a_restart(warden);
    return 0;
}
