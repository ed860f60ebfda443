/*
 * Proves mirrors to a storage of the program: a copy in memory that equals the tree, over runs, restarts, moves and
 * audits; what each answer of a callback comes to; files that change while they are read, or are read in part; calls
 * that are kept beyond their end; URLs for a CDN; and finalizers, which run once, also where opening fails.
 */

#include "check.h"

#include <pthread.h>

#define OBJECTS 64
#define BASE "https://cdn.example/own"

struct object {
    char key[80];
    unsigned char *bytes;
    size_t len;
    int is_there;
};

/* Objects in memory. What is to go wrong is said by the fields below them. */
struct memory {
    pthread_mutex_t lock;
    struct object objects[OBJECTS];
    int puts, removes, copies, lists, finalized, wrong;
    int32_t answer;         /* of put, when it is not 0 */
    int32_t remove_answer;  /* of each removal, when it is not 0 */
    int32_t remove_end;     /* of the first key of each removal, when it is not 0 */
    int64_t retry_after_ms;
    const char *why;
    const char *spoil;      /* a file that is changed after the first read */
    int is_lazy;            /* reads nothing */
    int is_half;            /* reads one part and says that all is well */
    int is_impatient;       /* ignores that a read failed */
    tw_status read_status;  /* what the last read that failed came to */
    const tw_call *kept;    /* the handle of the last put */
    tw_warden *warden;      /* to be called from within */
};

static void init(struct memory *memory) {
    memset(memory, 0, sizeof *memory);
    CHECK(pthread_mutex_init(&memory->lock, NULL) == 0);
}

static void clear(struct memory *memory) {
    for (int i = 0; i < OBJECTS; ++i) {
        free(memory->objects[i].bytes);
    }
    pthread_mutex_destroy(&memory->lock);
}

static struct object *find(struct memory *memory, tw_bytes key) {
    for (int i = 0; i < OBJECTS; ++i) {
        if (memory->objects[i].is_there && same(tw_str(memory->objects[i].key), key)) {
            return &memory->objects[i];
        }
    }
    return NULL;
}

/* Takes the bytes. */
static int keep(struct memory *memory, tw_bytes key, unsigned char *bytes, size_t len) {
    struct object *object = find(memory, key);
    for (int i = 0; object == NULL && i < OBJECTS; ++i) {
        object = memory->objects[i].is_there ? NULL : &memory->objects[i];
    }
    if (object == NULL || key.len >= sizeof object->key) {
        free(bytes);
        return 0;
    }
    memcpy(object->key, key.ptr, key.len);
    object->key[key.len] = '\0';
    free(object->bytes);
    object->bytes = bytes;
    object->len = len;
    object->is_there = 1;
    return 1;
}

static void make_tag(char tag[40], const unsigned char *bytes, size_t len) {
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < len; ++i) {
        sum = (sum ^ bytes[i]) * 1099511628211u;
    }
    snprintf(tag, 40, "tag-%016llx", (unsigned long long)sum);
}

static int32_t end(struct memory *memory, const tw_call *call, int32_t answer) {
    if (memory->why != NULL) {
        memory->wrong += tw_call_note_failure(call, tw_str(memory->why), memory->retry_after_ms, NULL) != TW_STATUS_OK;
    }
    return answer;
}

static int32_t put(const tw_call *call, const tw_upload *upload, void *user_data) {
    struct memory *memory = user_data;
    size_t size = (size_t)upload->size, at = 0, len = 0;
    unsigned char *bytes = malloc(size + 1);
    char tag[40];
    tw_status status = TW_STATUS_OK;
    pthread_mutex_lock(&memory->lock);
    ++memory->puts;
    memory->kept = call;
    pthread_mutex_unlock(&memory->lock);
    if (memory->answer != TW_STORAGE_OK || memory->is_lazy) {
        free(bytes);
        return end(memory, call, memory->answer);
    }
    while (at <= size) {
        status = tw_call_read(call, bytes + at, size + 1 - at, &len, NULL);
        if (status != TW_STATUS_OK || len == 0) {
            break;
        }
        at += len;
        if (memory->spoil != NULL) {
            write_file(memory->spoil, "another content by now");
            memory->spoil = NULL;
        }
        if (memory->is_half) {
            break;
        }
    }
    pthread_mutex_lock(&memory->lock);
    if (status != TW_STATUS_OK) {
        memory->read_status = status;
        /* It stays so. */
        memory->wrong += tw_call_read(call, bytes, 1, &len, NULL) != status;
    }
    make_tag(tag, bytes, at);
    memory->wrong += tw_call_note_etag(call, tw_str("an older one"), NULL) != TW_STATUS_OK;
    memory->wrong += tw_call_note_etag(call, tw_str(tag), NULL) != TW_STATUS_OK;
    memory->wrong += tw_call_note_etag(call, tw_str("a\nb"), NULL) != TW_STATUS_INVALID_ARGUMENT;
    memory->wrong += tw_call_note_etag(call, bytes_of("\xff", 1), NULL) != TW_STATUS_INVALID_ARGUMENT;
    memory->wrong += tw_call_read(call, NULL, 1, &len, NULL) != TW_STATUS_INVALID_ARGUMENT;
    memory->wrong += tw_call_read(call, bytes, 0, &len, NULL) != TW_STATUS_INVALID_ARGUMENT;
    memory->wrong += tw_call_add_object(call, upload->key, 1, tw_str(""), NULL) != TW_STATUS_INVALID_ARGUMENT;
    memory->wrong += upload->content_type.len == 0;
    if (memory->warden != NULL) {
        /* It would wait for itself, and says so instead. */
        memory->wrong += tw_warden_remove_mirror(memory->warden, tw_str("own"), NULL) != TW_STATUS_BUSY;
    }
    int is_kept = 0;
    if (status == TW_STATUS_OK || memory->is_impatient) {
        is_kept = keep(memory, upload->key, bytes, at);
    } else {
        free(bytes);
    }
    pthread_mutex_unlock(&memory->lock);
    return is_kept ? TW_STORAGE_OK : TW_STORAGE_TRANSIENT;
}

static int32_t take_away(const tw_call *call, const tw_bytes *keys, size_t count, int32_t *ends, void *user_data) {
    struct memory *memory = user_data;
    pthread_mutex_lock(&memory->lock);
    ++memory->removes;
    memory->wrong += count == 0 || count > 3;
    for (size_t i = 0; i < count && memory->remove_answer == TW_STORAGE_OK; ++i) {
        struct object *object = find(memory, keys[i]);
        memory->wrong += ends[i] != TW_STORAGE_OK;
        if (i == 0 && memory->remove_end != TW_STORAGE_OK) {
            ends[i] = memory->remove_end;
        } else if (object != NULL) {
            object->is_there = 0;
        } else {
            ends[i] = TW_STORAGE_NOT_FOUND;
        }
    }
    pthread_mutex_unlock(&memory->lock);
    return end(memory, call, memory->remove_answer);
}

static int32_t copy(const tw_call *call, tw_bytes from, tw_bytes to, void *user_data) {
    struct memory *memory = user_data;
    char tag[40];
    size_t len = 0;
    pthread_mutex_lock(&memory->lock);
    ++memory->copies;
    memory->wrong += tw_call_read(call, tag, 1, &len, NULL) != TW_STATUS_INVALID_ARGUMENT;
    struct object *object = find(memory, from);
    int is_kept = 0;
    if (object != NULL) {
        unsigned char *bytes = malloc(object->len + 1);
        memcpy(bytes, object->bytes, object->len);
        make_tag(tag, bytes, object->len);
        memory->wrong += tw_call_note_etag(call, tw_str(tag), NULL) != TW_STATUS_OK;
        is_kept = keep(memory, to, bytes, object->len);
    }
    pthread_mutex_unlock(&memory->lock);
    return object == NULL ? TW_STORAGE_NOT_FOUND : is_kept ? TW_STORAGE_OK : TW_STORAGE_TRANSIENT;
}

/* Tells all of them: what does not begin with the prefix is left out by the library. */
static int32_t list_all(const tw_call *call, tw_bytes prefix, void *user_data) {
    struct memory *memory = user_data;
    char tag[40];
    (void)prefix;
    pthread_mutex_lock(&memory->lock);
    ++memory->lists;
    for (int i = 0; i < OBJECTS; ++i) {
        const struct object *object = &memory->objects[i];
        if (object->is_there) {
            make_tag(tag, object->bytes, object->len);
            memory->wrong +=
                tw_call_add_object(call, tw_str(object->key), object->len, tw_str(tag), NULL) != TW_STATUS_OK;
        }
    }
    memory->wrong += tw_call_add_object(call, bytes_of("\xff", 1), 1, tw_str(""), NULL) != TW_STATUS_INVALID_ARGUMENT;
    pthread_mutex_unlock(&memory->lock);
    return TW_STORAGE_OK;
}

static void on_end(void *user_data) {
    count_up(&((struct memory *)user_data)->finalized);
}

static tw_storage whole(void) {
    tw_storage storage;
    memset(&storage, 0, sizeof storage);
    storage.name = tw_str("memory");
    storage.put = put;
    storage.remove = take_away;
    storage.copy = copy;
    storage.list = list_all;
    storage.delete_max = 3;
    return storage;
}

/* Options for a mirror of `music`, below the prefix `img`, that tries twice. */
static tw_options *options_of_it(void) {
    tw_options *options = new_options(TW_OPTIONS_MIRROR);
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_ADDRESS, tw_str("music"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_PREFIX, tw_str("img"), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_PUBLIC_URL, tw_str(BASE), &err));
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_CACHE_CONTROL, tw_str("no-store"), &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_SETTLE_MS, 0, &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_PART_BYTES, 5 << 20, &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_ATTEMPTS_MAX, 2, &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_BACKOFF_MS, 1, &err));
    OK(tw_options_set_int(options, TW_OPTION_MIRROR_BACKOFF_MAX_MS, 2, &err));
    return options;
}

static tw_mirror *open_as(tw_warden *warden, const tw_storage *storage, struct memory *memory) {
    tw_options *options = options_of_it();
    tw_mirror *mirror = NULL;
    OK(tw_warden_mirror_storage(warden, tw_str("own"), options, storage, sizeof *storage, memory, on_end, &mirror,
                                &err));
    OK(tw_options_free(options, &err));
    return mirror;
}

static tw_mirror *open_mirror(tw_warden *warden, struct memory *memory) {
    tw_storage storage = whole();
    return open_as(warden, &storage, memory);
}

static tw_mirror_report sync_now(tw_mirror *mirror, tw_list **list) {
    tw_mirror_report report;
    OK(tw_mirror_sync(mirror, 1, NULL, 0, list, &err));
    OK(tw_list_mirror_report(*list, 0, &report, sizeof report, &err));
    return report;
}

static tw_mirror_report run(tw_mirror *mirror) {
    tw_list *list = NULL;
    tw_mirror_report report = sync_now(mirror, &list);
    OK(tw_list_free(list, &err));
    return report;
}

/* Whether an object is there and equals a file of the tree. */
static int equals(struct memory *memory, const char *key, const char *file) {
    struct object *object = find(memory, tw_str(key));
    FILE *opened = fopen(in_dir(file), "rb");
    CHECK(opened != NULL);
    int is_so = object != NULL;
    size_t at = 0;
    for (int c = fgetc(opened); c != EOF && is_so; c = fgetc(opened), ++at) {
        is_so = at < object->len && object->bytes[at] == c;
    }
    fclose(opened);
    return is_so && at == object->len;
}

static int count_objects(const struct memory *memory) {
    int count = 0;
    for (int i = 0; i < OBJECTS; ++i) {
        count += memory->objects[i].is_there;
    }
    return count;
}

/* Larger than a part, so that it takes several reads. */
static void write_large(const char *name, int fill) {
    static char block[1 << 16];
    memset(block, fill, sizeof block);
    FILE *file = fopen(in_dir(name), "wb");
    CHECK(file != NULL);
    for (int i = 0; i < 200; ++i) {
        block[0] = (char)i;
        CHECK(fwrite(block, 1, sizeof block, file) == sizeof block);
    }
    CHECK(fclose(file) == 0);
}

static void the_copy_equals_the_tree(tw_warden *warden, tw_mirror *mirror, struct memory *memory) {
    tw_value *value = NULL;
    tw_bytes url;
    tw_mirror_report report = run(mirror);
    CHECK(report.is_complete && report.uploaded == 6 && report.failed == 0 && count_objects(memory) == 6);
    CHECK(equals(memory, "img/song-0001", "tree/song-0001") && equals(memory, "img/large", "tree/large"));
    CHECK(equals(memory, "img/empty", "tree/empty"));
    CHECK(run(mirror).uploaded == 0 && memory->puts == 6);

    write_file("tree/song-0001", "another text");
    CHECK(rename(in_dir("tree/song-0002"), in_dir("tree/moved")) == 0 && unlink(in_dir("tree/song-0003")) == 0);
    scan(warden);
    report = run(mirror);
    CHECK(report.is_complete && report.uploaded == 1 && report.copied == 1 && report.deleted == 2);
    CHECK(memory->copies == 1 && count_objects(memory) == 5);
    CHECK(equals(memory, "img/song-0001", "tree/song-0001") && equals(memory, "img/moved", "tree/moved"));

    OK(tw_mirror_url(mirror, tw_str("music/moved"), &value, &err));
    OK(tw_value_bytes(value, &url, &err));
    CHECK_TEXT(url, BASE "/img/moved");
    OK(tw_value_free(value, &err));
}

static void an_audit_lists_it(tw_mirror *mirror, struct memory *memory) {
    tw_list *list = NULL;
    tw_audit_report report;
    unsigned char *foreign = malloc(1);
    CHECK(foreign != NULL && keep(memory, tw_str("elsewhere"), foreign, 0));
    OK(tw_mirror_audit(mirror, 0, 0, &list, &err));
    OK(tw_list_audit(list, 0, &report, sizeof report, &err));
    CHECK(report.is_clean && report.matched == 5 && report.listed == 5 && memory->lists == 1);
    OK(tw_list_free(list, &err));
    find(memory, tw_str("elsewhere"))->is_there = 0;
    find(memory, tw_str("img/moved"))->is_there = 0;
    find(memory, tw_str("img/song-0000"))->bytes[0] ^= 1;
    OK(tw_mirror_audit(mirror, 1, 0, &list, &err));
    OK(tw_list_audit(list, 0, &report, sizeof report, &err));
    CHECK(report.lost == 1 && report.different == 1 && report.findings == 2);
    OK(tw_list_free(list, &err));
    CHECK(run(mirror).uploaded == 2 && equals(memory, "img/song-0000", "tree/song-0000"));
    CHECK(equals(memory, "img/moved", "tree/moved"));
}

static void a_restart_goes_on(tw_warden **warden, tw_mirror **mirror, struct memory *memory) {
    tw_mirror *other = NULL;
    tw_list *list = NULL;
    tw_mirror_info row;
    int puts = memory->puts;
    /* The state file keeps no storage. */
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror(*warden, tw_str("own"), NULL, &other, &err));
    OK(tw_warden_mirrors(*warden, &list, &err));
    OK(tw_list_mirror(list, 0, &row, sizeof row, &err));
    CHECK_TEXT(row.place, "c+memory");
    CHECK(row.target.ptr == NULL);
    OK(tw_list_free(list, &err));
    OK(tw_mirror_free(*mirror, &err));
    CHECK_EQ(count_of(&memory->finalized), 0);
    OK(tw_warden_close(*warden, &err));
    OK(tw_warden_free(*warden, &err));
    CHECK_EQ(count_of(&memory->finalized), 1);
    OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, warden, &err));
    *mirror = open_mirror(*warden, memory);
    CHECK(run(*mirror).uploaded == 0 && memory->puts == puts);
    /* The one before is let go of when it is opened anew. */
    other = open_mirror(*warden, memory);
    FAILS(TW_STATUS_CLOSED, tw_mirror_sync(*mirror, 0, NULL, 0, &list, &err));
    OK(tw_mirror_free(*mirror, &err));
    CHECK_EQ(count_of(&memory->finalized), 2);
    *mirror = other;
}

/* One file is to be sent; what comes of an answer. */
static void expect_failure(tw_warden *warden, tw_mirror *mirror, struct memory *memory, int32_t answer, int tries,
                           const char *why) {
    int is_permanent = answer == TW_STORAGE_REJECTED;
    static int number;
    tw_list *list = NULL;
    tw_mirror_error row;
    char text[40];
    snprintf(text, sizeof text, "%.*s", ++number, "a text that is longer each time");
    write_file("tree/refused", text);
    scan(warden);
    memory->answer = answer;
    memory->why = answer == 12345 ? NULL : why;
    memory->retry_after_ms = answer == TW_STORAGE_THROTTLED ? 1 : -1;
    int puts = memory->puts;
    tw_mirror_report report = sync_now(mirror, &list);
    CHECK(report.failed == (uint64_t)!is_permanent && report.refused == (uint64_t)is_permanent && report.uploaded == 0);
    CHECK_EQ(memory->puts - puts, tries);
    OK(tw_list_mirror_error(list, 0, &row, sizeof row, &err));
    CHECK_TEXT(row.path, "music/refused");
    CHECK_TEXT(row.message, why);
    CHECK_EQ(row.is_permanent, is_permanent);
    OK(tw_list_free(list, &err));
    memory->answer = TW_STORAGE_OK;
    memory->why = NULL;
    memory->retry_after_ms = -1;
}

static void answers_are_faults(tw_warden *warden, tw_mirror *mirror, struct memory *memory) {
    tw_list *list = NULL;
    expect_failure(warden, mirror, memory, TW_STORAGE_TRANSIENT, 2, "no network");
    expect_failure(warden, mirror, memory, 12345, 2, "the storage returned 12345, which says nothing");
    expect_failure(warden, mirror, memory, TW_STORAGE_THROTTLED, 8, "slow down");
    expect_failure(warden, mirror, memory, TW_STORAGE_REJECTED, 1, "not this one");
    expect_failure(warden, mirror, memory, TW_STORAGE_UNSUPPORTED, 1, "cannot do that");
    /* Where nothing else has worked, or nothing else will, the run is given up. */
    write_file("tree/refused", "denied");
    scan(warden);
    memory->answer = TW_STORAGE_DENIED;
    FAILS(TW_STATUS_PERMISSION_DENIED, tw_mirror_sync(mirror, 0, NULL, 0, &list, &err));
    memory->answer = TW_STORAGE_MISCONFIGURED;
    FAILS(TW_STATUS_NOT_FOUND, tw_mirror_sync(mirror, 0, NULL, 0, &list, &err));
    memory->answer = TW_STORAGE_OK;
    CHECK(run(mirror).uploaded == 1 && equals(memory, "img/refused", "tree/refused"));
}

static void what_is_removed(tw_warden *warden, tw_mirror *mirror, struct memory *memory) {
    write_files("tree/gone", 5);
    scan(warden);
    CHECK_EQ(run(mirror).uploaded, 5);
    for (int i = 0; i < 5; ++i) {
        char name[40];
        snprintf(name, sizeof name, "tree/gone-%04d", i);
        CHECK(unlink(in_dir(name)) == 0);
    }
    scan(warden);
    int removes = memory->removes;
    memory->remove_end = TW_STORAGE_REJECTED;
    tw_mirror_report report = run(mirror);
    /* In two calls of three keys at most, each of which fails with its first. */
    CHECK(report.deleted == 3 && report.failed == 2 && memory->removes - removes == 2);
    memory->remove_end = TW_STORAGE_OK;
    memory->remove_answer = TW_STORAGE_TRANSIENT;
    report = run(mirror);
    CHECK(report.deleted == 0 && report.failed == 2);
    memory->remove_answer = TW_STORAGE_OK;
    find(memory, tw_str("img/gone-0000"))->is_there = 0;
    /* What is not there is deleted. */
    report = run(mirror);
    CHECK(report.deleted == 2 && report.is_complete && find(memory, tw_str("img/gone-0003")) == NULL);
}

static void a_file_that_changes_is_not_acknowledged(tw_warden *warden, tw_mirror *mirror, struct memory *memory) {
    for (int is_impatient = 0; is_impatient < 2; ++is_impatient) {
        write_large("tree/large", 'x' + is_impatient);
        scan(warden);
        memory->spoil = "tree/large";
        /* Whatever it answers. */
        memory->is_impatient = is_impatient;
        memory->read_status = TW_STATUS_OK;
        tw_mirror_report report = run(mirror);
        CHECK(report.changed == 1 && report.uploaded == 0 && !report.is_complete);
        CHECK_EQ(memory->read_status, TW_STATUS_CONFLICT);
        memory->is_impatient = 0;
        scan(warden);
        CHECK(run(mirror).uploaded == 1 && equals(memory, "img/large", "tree/large"));
    }
}

static void what_is_read_in_part_is_refused(tw_warden *warden, tw_mirror *mirror, struct memory *memory) {
    tw_list *list = NULL;
    tw_mirror_error row;
    for (int is_half = 0; is_half < 2; ++is_half) {
        write_large("tree/large", 'a' + is_half);
        scan(warden);
        memory->is_half = is_half;
        memory->is_lazy = !is_half;
        tw_mirror_report report = sync_now(mirror, &list);
        CHECK(report.refused == 1 && report.failed == 0 && report.uploaded == 0);
        OK(tw_list_mirror_error(list, 0, &row, sizeof row, &err));
        static const char begin[] = "the storage took only ";
        CHECK(row.is_permanent && row.message.len > strlen(begin));
        CHECK(memcmp(row.message.ptr, begin, strlen(begin)) == 0);
        OK(tw_list_free(list, &err));
        memory->is_half = memory->is_lazy = 0;
        write_large("tree/large", 'c' + is_half);
        scan(warden);
        CHECK_EQ(run(mirror).uploaded, 1);
    }
}

static void a_call_that_was_kept_is_told(struct memory *memory) {
    char buffer[] = "as it is";
    size_t len = 7;
    FAILS(TW_STATUS_INVALID_HANDLE, tw_call_read(memory->kept, buffer, sizeof buffer, &len, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_call_note_etag(memory->kept, tw_str("tag"), &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_call_note_url(memory->kept, tw_str("https://x.example"), &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_call_note_failure(memory->kept, tw_str("why"), -1, &err));
    FAILS(TW_STATUS_INVALID_HANDLE, tw_call_add_object(memory->kept, tw_str("key"), 1, tw_str(""), &err));
    CHECK(len == 7 && strcmp(buffer, "as it is") == 0);
}

/* A thread that reads for as long as it is let, while the callback returns early. */
struct thief {
    const tw_call *call;
    int is_reading;
    tw_status status;
};

static void *steal(void *data) {
    struct thief *thief = data;
    static char buffer[4096];
    size_t len = 1;
    tw_status status = TW_STATUS_OK;
    while (status == TW_STATUS_OK && len > 0) {
        status = tw_call_read(thief->call, buffer, sizeof buffer, &len, NULL);
        __atomic_store_n(&thief->is_reading, 1, __ATOMIC_SEQ_CST);
    }
    thief->status = status;
    return NULL;
}

static int32_t put_and_leave(const tw_call *call, const tw_upload *upload, void *user_data) {
    static struct thief thief;
    pthread_t *thread = user_data;
    (void)upload;
    thief.call = call;
    if (pthread_create(thread, NULL, steal, &thief) != 0) {
        return TW_STORAGE_TRANSIENT;
    }
    while (!__atomic_load_n(&thief.is_reading, __ATOMIC_SEQ_CST)) {
        sleep_ms(1);
    }
    return TW_STORAGE_REJECTED;
}

static void who_reads_meanwhile_is_told(tw_warden *warden) {
    tw_storage storage = whole();
    tw_options *options = options_of_it();
    tw_mirror *mirror = NULL;
    pthread_t thread;
    storage.name = tw_str("thief");
    storage.put = put_and_leave;
    OK(tw_options_set_bytes(options, TW_OPTION_MIRROR_GLOB, tw_str("large"), &err));
    OK(tw_warden_mirror_storage(warden, tw_str("thief"), options, &storage, sizeof storage, &thread, NULL, &mirror,
                                &err));
    OK(tw_options_free(options, &err));
    CHECK_EQ(run(mirror).refused, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(tw_mirror_free(mirror, &err));
    OK(tw_warden_remove_mirror(warden, tw_str("thief"), &err));
}

static void a_storage_may_do_less(tw_warden *warden, struct memory *memory) {
    tw_storage storage = whole();
    tw_mirror *mirror = NULL;
    tw_list *list = NULL;
    storage.copy = NULL;
    storage.list = NULL;
    storage.key_bytes_max = 14;
    mirror = open_as(warden, &storage, memory);
    FAILS(TW_STATUS_UNSUPPORTED, tw_mirror_audit(mirror, 0, 0, &list, &err));
    CHECK(rename(in_dir("tree/moved"), in_dir("tree/back")) == 0);
    write_file("tree/a long name", "too long");
    scan(warden);
    tw_mirror_report report = run(mirror);
    CHECK(report.copied == 0 && report.uploaded == 1 && report.refused == 1);
    CHECK(equals(memory, "img/back", "tree/back") && find(memory, tw_str("img/a long name")) == NULL);
    CHECK(unlink(in_dir("tree/a long name")) == 0);
    scan(warden);
    OK(tw_mirror_free(mirror, &err));
}

/* At a place that nobody else has. */
static tw_storage another(void) {
    tw_storage storage = whole();
    storage.name = tw_str("another");
    return storage;
}

/* What cannot be opened lets go of the storage at once. */
static void refuse(tw_warden *warden, tw_options *options, const tw_storage *storage, size_t size) {
    struct memory memory;
    tw_mirror *mirror = NULL;
    init(&memory);
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror_storage(warden, tw_str("bad"), options, storage, size, &memory,
                                                               on_end, &mirror, &err));
    CHECK(mirror == NULL);
    CHECK_EQ(count_of(&memory.finalized), 1);
    clear(&memory);
}

static void what_makes_no_sense_is_refused(tw_warden *warden) {
    const struct {
        int32_t option;
        const char *text;
    } texts[] = {{TW_OPTION_MIRROR_TARGET, "s3://bucket"},   {TW_OPTION_MIRROR_ENDPOINT, "https://x.example"},
                 {TW_OPTION_MIRROR_REGION, "eu"},            {TW_OPTION_MIRROR_ACCESS_KEY, "id"},
                 {TW_OPTION_MIRROR_SECRET_KEY, "secret"},    {TW_OPTION_MIRROR_PUBLIC_URL, "ftp://x.example"},
                 {TW_OPTION_MIRROR_CLOUDFLARE_ZONE, "zone"}};
    static char long_name[300];
    tw_options *options = NULL;
    tw_storage storage = another();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; ++i) {
        options = options_of_it();
        OK(tw_options_set_bytes(options, texts[i].option, tw_str(texts[i].text), &err));
        refuse(warden, options, &storage, sizeof storage);
        OK(tw_options_free(options, &err));
    }
    options = new_options(TW_OPTIONS_MIRROR);
    refuse(warden, options, &storage, sizeof storage);
    OK(tw_options_free(options, &err));
    refuse(warden, NULL, &storage, sizeof storage);

    options = options_of_it();
    refuse(warden, options, NULL, sizeof storage);
    refuse(warden, options, &storage, 0);
    refuse(warden, options, &storage, 12);
    /* What the size leaves out is not read: there is a name, but nothing to put with. */
    refuse(warden, options, &storage, sizeof storage.name);
    /* What a later header may know is refused, rather than not heard. */
    struct {
        tw_storage storage;
        uint64_t later;
    } more = {storage, 1};
    refuse(warden, options, &more.storage, sizeof more);
    storage.put = NULL;
    refuse(warden, options, &storage, sizeof storage);
    storage = another();
    storage.remove = NULL;
    refuse(warden, options, &storage, sizeof storage);
    storage = another();
    storage.name = tw_str("");
    refuse(warden, options, &storage, sizeof storage);
    storage.name = tw_str("a\nb");
    refuse(warden, options, &storage, sizeof storage);
    storage.name = tw_str("\xff");
    refuse(warden, options, &storage, sizeof storage);
    memset(long_name, 'x', sizeof long_name - 1);
    storage.name = tw_str(long_name);
    refuse(warden, options, &storage, sizeof storage);
    OK(tw_options_free(options, &err));
}

static void it_stays_at_its_place(tw_warden *warden, struct memory *memory) {
    struct memory other;
    tw_storage storage = whole();
    tw_options *options = options_of_it();
    tw_mirror *mirror = NULL;
    init(&other);
    storage.name = tw_str("elsewhere");
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror_storage(warden, tw_str("own"), options, &storage, sizeof storage,
                                                               &other, on_end, &mirror, &err));
    CHECK_EQ(count_of(&other.finalized), 1);
    /* Nor do two copy to one place. */
    storage.name = tw_str("memory");
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_mirror_storage(warden, tw_str("two"), options, &storage, sizeof storage,
                                                               &other, on_end, &mirror, &err));
    CHECK_EQ(count_of(&other.finalized), 2);
    OK(tw_options_free(options, &err));
    CHECK(memory->wrong == 0 && mirror == NULL);
    clear(&other);
}

static void it_is_let_go_of_at_the_end(tw_warden *warden, struct memory *memory) {
    tw_mirror *mirror = open_mirror(warden, memory);
    int finalized = count_of(&memory->finalized);
    /* From within it is told, not waited for. */
    memory->warden = warden;
    write_file("tree/within", "within");
    scan(warden);
    CHECK_EQ(run(mirror).uploaded, 1);
    memory->warden = NULL;
    OK(tw_warden_remove_mirror(warden, tw_str("own"), &err));
    CHECK_EQ(count_of(&memory->finalized), finalized);
    OK(tw_mirror_free(mirror, &err));
    CHECK_EQ(count_of(&memory->finalized), finalized + 1);
    CHECK_EQ(memory->wrong, 0);
}

int main(void) {
    struct memory memory;
    test_enter();
    init(&memory);
    write_files("tree/song", 4);
    write_file("tree/empty", "");
    write_large("tree/large", 'z');
    tw_warden *warden = open_warden(NULL);
    scan(warden);
    tw_mirror *mirror = open_mirror(warden, &memory);
    the_copy_equals_the_tree(warden, mirror, &memory);
    an_audit_lists_it(mirror, &memory);
    a_restart_goes_on(&warden, &mirror, &memory);
    answers_are_faults(warden, mirror, &memory);
    what_is_removed(warden, mirror, &memory);
    a_file_that_changes_is_not_acknowledged(warden, mirror, &memory);
    what_is_read_in_part_is_refused(warden, mirror, &memory);
    a_call_that_was_kept_is_told(&memory);
    who_reads_meanwhile_is_told(warden);
    OK(tw_mirror_free(mirror, &err));
    a_storage_may_do_less(warden, &memory);
    what_makes_no_sense_is_refused(warden);
    it_stays_at_its_place(warden, &memory);
    it_is_let_go_of_at_the_end(warden, &memory);
    OK(tw_warden_free(warden, &err));
    clear(&memory);
    return 0;
}
