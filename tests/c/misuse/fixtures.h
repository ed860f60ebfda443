/*
 * The valid objects of the program that misuse.py makes: one of each type that is held, a maker for fresh ones, lists
 * of every type of rows, options of every kind, and a spare warden for what cannot be undone.
 */

#ifndef MISUSE_FIXTURES_H
#define MISUSE_FIXTURES_H

#define FILES 300
#define OPTION_KINDS 14
#include <errno.h>
#include <pthread.h>

#define URL "https://cdn.example"
#define STREAM "stream"

/* What the program frees, each with the function of its name. */
#define FOR_FREED_TYPES(X)                                                                                       \
    X(warden) X(snapshot) X(iter) X(list) X(changes) X(follow) X(events) X(listener) X(options) X(cancel) X(pipeline) \
    X(jobs) X(workers) X(limiter) X(permit) X(batch) X(value) X(error) X(mirror) X(following) X(urls)              \
    X(fleet) X(shared_limiter) X(shared_permit) X(lease) X(leader) X(publisher) X(consumer)
/* The generated part refuses to compile where the header has a type that is not here. */
#define FOR_ALL_TYPES(X) FOR_FREED_TYPES(X) X(call)

#define AS_ENUM(name) T_##name,
enum { FOR_ALL_TYPES(AS_ENUM) TYPES };

static void *held[TYPES], *freed[TYPES], *options[OPTION_KINDS];
static tw_warden *spare_warden, *closed_warden, *clocked;
static tw_changes *delivery;
static tw_pipeline *rated, *idle;
static tw_mirror *unfollowed;
static tw_scan_hooks hooks;
static tw_mirror_hooks mirror_hooks;
static tw_storage storage;
static tw_options *storage_options;
static tw_completion completion;
static tw_pair pair;
static tw_bytes some_bytes;
static const tw_pipeline *pipelines[2];
static char token[TW_TOKEN_ROOM];
static int spare_is_used;

/* Lists, by the functions that read their rows. */
enum {
    ROOTS,
    REPORTS,
    OPERATIONS,
    PAIRS,
    TEXTS,
    EXPLANATION,
    VERIFY,
    REBUILD,
    PIPELINES,
    WORK_ITEMS,
    WORK_EXPLANATION,
    MIRRORS,
    MIRROR_STATUS,
    MIRROR_REPORT,
    MIRROR_PLAN,
    AUDIT,
    URL_CHANGES,
    STREAM_ITEMS, /* NULL without a Redis */
    LISTS
};
static tw_list *lists[LISTS];

static const char *numbered(const char *name) {
    static char text[60];
    static int number;
    snprintf(text, sizeof text, "%s-%d", name, ++number);
    return text;
}

static void *make_warden(void) {
    tw_warden *warden = NULL;
    tw_pipeline *pipeline = NULL;
    tw_mirror *mirror = NULL;
    OK(tw_warden_open(tw_str(in_dir(numbered("spare"))), options[TW_OPTIONS_OPEN], &warden, &err));
    OK(tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    OK(tw_warden_pipeline(warden, tw_str("old"), options[TW_OPTIONS_PIPELINE], &pipeline, &err));
    OK(tw_pipeline_free(pipeline, &err));
    OK(tw_warden_mirror(warden, tw_str("old"), options[TW_OPTIONS_MIRROR], &mirror, &err));
    OK(tw_mirror_free(mirror, &err));
    return warden;
}

/* A warden that may be spoilt: there is another one after each call that went well. */
static void *spare(void) {
    if (spare_is_used || spare_warden == NULL) {
        OK(tw_warden_free(spare_warden, &err));
        spare_warden = make_warden();
        spare_is_used = 0;
    }
    return spare_warden;
}

/* Where the Redis is that run.py has started; NULL where there is none. */
static const char *redis_url(void) {
    const char *url = getenv("TREEWARDEN_TEST_REDIS");
    return url != NULL && url[0] != '\0' ? url : NULL;
}

/* Whether a function is of a fleet: then nothing of it works without a Redis. */
static int needs_redis(const char *function) {
    static const char *const begins[] = {"tw_fleet_",  "tw_shared_",    "tw_lease_",
                                         "tw_leader_", "tw_publisher_", "tw_consumer_"};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; ++i) {
        if (strncmp(function, begins[i], strlen(begins[i])) == 0) {
            return 1;
        }
    }
    return strcmp(function, "tw_list_stream_item") == 0;
}

#define MAKER(type, call)                         \
    static void *make_##type(void) {              \
        tw_##type *made = NULL;                   \
        OK(call);                                 \
        return made;                              \
    }

MAKER(snapshot, tw_warden_snapshot(held[T_warden], &made, &err))
MAKER(iter, tw_snapshot_iter(held[T_snapshot], NULL, &made, &err))
MAKER(list, tw_warden_roots(held[T_warden], &made, &err))
MAKER(changes, tw_warden_changes(held[T_warden], 0, &made, &err))
MAKER(follow, tw_warden_follow(held[T_warden], tw_str("follower"), &made, &err))
MAKER(events, tw_warden_subscribe(held[T_warden], 0, &made, &err))
MAKER(listener, tw_events_listen(held[T_warden], 0, no_event, NULL, NULL, &made, &err))
MAKER(options, tw_options_new(TW_OPTIONS_SCAN, &made, &err))
MAKER(cancel, tw_cancel_new(&made, &err))
MAKER(pipeline, tw_warden_pipeline(held[T_warden], tw_str("jobs"), NULL, &made, &err))
MAKER(workers, tw_pipeline_work(idle, 1, no_work, NULL, NULL, &made, &err))
MAKER(limiter, tw_limiter_new(options[TW_OPTIONS_LIMITER], &made, &err))
MAKER(batch, tw_warden_batch(held[T_warden], &made, &err))
MAKER(value, tw_space_get(held[T_warden], tw_str("space"), tw_str("key"), &made, &err))

/* Under the directory of the tests. */
static char last_remote[80];

static void set_mirror_options(tw_options *its, const char *name) {
    char target[700];
    snprintf(last_remote, sizeof last_remote, "remote-%s", name);
    CHECK(mkdir(in_dir(last_remote), 0755) == 0 || errno == EEXIST);
    snprintf(target, sizeof target, "file://%s", in_dir(last_remote));
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_ADDRESS, tw_str("music"), &err));
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_TARGET, tw_str(target), &err));
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_PUBLIC_URL, tw_str(URL), &err));
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_GLOB, tw_str("file-000?"), &err));
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_CONTENT_TYPE, tw_str("jxl=image/jxl"), &err));
    OK(tw_options_set_int(its, TW_OPTION_MIRROR_SETTLE_MS, 0, &err));
}

/* Each under another name and to another place: one that is opened again ends the one before. */
static void *make_mirror(void) {
    tw_mirror *made = NULL;
    tw_options *its = NULL;
    char name[60];
    snprintf(name, sizeof name, "%s", numbered("mirror"));
    OK(tw_options_new(TW_OPTIONS_MIRROR, &its, &err));
    set_mirror_options(its, name);
    OK(tw_warden_mirror(held[T_warden], tw_str(name), its, &made, &err));
    OK(tw_options_free(its, &err));
    return made;
}

MAKER(urls, tw_mirror_urls(held[T_mirror], &made, &err))

static void *make_following(void) {
    tw_mirror *mirror = make_mirror();
    tw_following *made = NULL;
    OK(tw_mirror_follow(mirror, &made, &err));
    OK(tw_mirror_free(mirror, &err));
    return made;
}

/* A call to a storage: a run that waits in its callback until the call is given back. */
static struct parked {
    pthread_t thread;
    tw_mirror *mirror;
    const tw_call *call;
    int is_over;
} parked[8];

static int32_t park(const tw_call *call, const tw_upload *upload, void *user_data) {
    struct parked *its = user_data;
    (void)upload;
    __atomic_store_n(&its->call, call, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&its->is_over, __ATOMIC_SEQ_CST)) {
        sleep_ms(1);
    }
    return TW_STORAGE_REJECTED;
}

static int32_t remove_none(const tw_call *call, const tw_bytes *keys, size_t count, int32_t *ends, void *user_data) {
    (void)call;
    (void)keys;
    (void)count;
    (void)ends;
    (void)user_data;
    return TW_STORAGE_OK;
}

static void *run_parked(void *data) {
    struct parked *its = data;
    tw_list *list = NULL;
    OK(tw_mirror_sync(its->mirror, 0, NULL, 0, &list, &err));
    OK(tw_list_free(list, &err));
    return NULL;
}

static tw_options *make_storage_options(void) {
    tw_options *its = new_options(TW_OPTIONS_MIRROR);
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_ADDRESS, tw_str("music"), &err));
    OK(tw_options_set_bytes(its, TW_OPTION_MIRROR_GLOB, tw_str("file-0001"), &err));
    OK(tw_options_set_int(its, TW_OPTION_MIRROR_SETTLE_MS, 0, &err));
    return its;
}

static void *make_call(void) {
    static int count;
    CHECK(count < (int)(sizeof parked / sizeof parked[0]));
    struct parked *its = &parked[count++];
    tw_storage of_it = storage;
    char name[60];
    snprintf(name, sizeof name, "%s", numbered("parked"));
    of_it.name = tw_str(name);
    of_it.put = park;
    OK(tw_warden_mirror_storage(held[T_warden], tw_str(name), storage_options, &of_it, sizeof of_it, its, NULL,
                                &its->mirror, &err));
    CHECK(pthread_create(&its->thread, NULL, run_parked, its) == 0);
    EVENTUALLY(__atomic_load_n(&its->call, __ATOMIC_SEQ_CST) != NULL);
    return (void *)its->call;
}

/* The library frees it when the callback returns; what it says of one that it has freed is the answer here. */
static tw_status free_call(void *handle) {
    size_t len = 0;
    char byte;
    for (size_t i = 0; i < sizeof parked / sizeof parked[0]; ++i) {
        if (parked[i].call == handle && handle != NULL && !parked[i].is_over) {
            __atomic_store_n(&parked[i].is_over, 1, __ATOMIC_SEQ_CST);
            CHECK(pthread_join(parked[i].thread, NULL) == 0);
            return tw_mirror_free(parked[i].mirror, NULL);
        }
    }
    return tw_call_read(handle, &byte, 1, &len, NULL);
}

static void *make_jobs(void) {
    tw_jobs *made = NULL;
    OK(tw_pipeline_claim(held[T_pipeline], 2, 0, &made, &err));
    OK(tw_jobs_set_attr(made, 0, tw_str("name"), tw_str("value"), &err));
    return made;
}

static void *make_permit(void) {
    tw_limiter *limiter = make_limiter();
    tw_permit *made = NULL;
    OK(tw_limiter_acquire(limiter, 1, 0, &made, &err));
    OK(tw_limiter_free(limiter, &err));
    return made;
}

static void *make_error(void) {
    tw_error *made = NULL;
    CHECK(tw_warden_close(NULL, &made) == TW_STATUS_INVALID_HANDLE);
    return made;
}

/* Of fleets there is nothing without a Redis. */
#define FLEET_MAKER(type, call)                   \
    static void *make_##type(void) {              \
        tw_##type *made = NULL;                   \
        if (redis_url() != NULL) {                \
            OK(call);                             \
        }                                         \
        return made;                              \
    }

/* Names are new ones each time: nobody waits for what was done under an old one. */
FLEET_MAKER(fleet, tw_fleet_connect(tw_str(redis_url()), options[TW_OPTIONS_FLEET], &made, &err))
FLEET_MAKER(shared_limiter, tw_fleet_limiter(held[T_fleet], tw_str(numbered("limiter")), options[TW_OPTIONS_LIMITER],
                                             1000, &made, &err))
FLEET_MAKER(lease, tw_fleet_lease(held[T_fleet], tw_str(numbered("lease")), 1000, &made, &err))
FLEET_MAKER(publisher,
            tw_fleet_publisher(held[T_fleet], tw_str(STREAM), held[T_warden], NULL, NULL, &made, &err))
FLEET_MAKER(consumer, tw_fleet_consumer(held[T_fleet], tw_str(STREAM), tw_str(numbered("group")), tw_str("one"), NULL,
                                        &made, &err))

static void *make_shared_permit(void) {
    tw_shared_limiter *limiter = make_shared_limiter();
    tw_shared_permit *made = NULL;
    if (limiter != NULL) {
        OK(tw_shared_limiter_acquire(limiter, 30000, &made, &err));
        OK(tw_shared_limiter_free(limiter, &err));
    }
    return made;
}

static void *make_leader(void) {
    tw_lease *lease = make_lease();
    tw_leader *made = NULL;
    if (lease != NULL) {
        OK(tw_lease_acquire(lease, 30000, 1, &made, &err));
        OK(tw_lease_free(lease, &err));
    }
    return made;
}

/* A publisher whose next run ends at once. */
static void *stopped(void) {
    if (held[T_publisher] != NULL) {
        OK(tw_publisher_stop(held[T_publisher], &err));
    }
    return held[T_publisher];
}

#define FREER(type)                                                                     \
    static tw_status free_##type(void *handle) { return tw_##type##_free(handle, NULL); }
FOR_FREED_TYPES(FREER)

#define AS_ROW(type) {"tw_" #type, make_##type, free_##type},
static const struct {
    const char *name;
    void *(*make)(void);
    tw_status (*free)(void *);
} types[TYPES] = {FOR_ALL_TYPES(AS_ROW)};

/* What a call may use up is fresh before each. */
static void refresh(const struct function *function) {
    static const int used_up[] = {T_iter,    T_changes,       T_jobs,           T_batch, T_permit,
                                  T_limiter, T_shared_permit, T_shared_limiter, T_leader, T_consumer};
    for (int i = 0; i < function->count; ++i) {
        for (size_t k = 0; k < sizeof used_up / sizeof used_up[0]; ++k) {
            int type = used_up[k];
            if (function->params[i].kind == HANDLE && function->params[i].type == type) {
                CHECK_EQ(types[type].free(held[type]), TW_STATUS_OK);
                held[type] = types[type].make();
            }
        }
    }
}

static void make_all_options(void) {
    for (int kind = 0; kind < OPTION_KINDS; ++kind) {
        options[kind] = new_options(kind);
    }
    OK(tw_options_set_int(options[TW_OPTIONS_OPEN], TW_OPTION_OPEN_DURABILITY, TW_DURABILITY_RELAXED, &err));
    OK(tw_options_set_int(options[TW_OPTIONS_PIPELINE], TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_options_set_int(options[TW_OPTIONS_LIMITER], TW_OPTION_LIMITER_LIMIT, 100, &err));
    OK(tw_options_set_int(options[TW_OPTIONS_LIMITER], TW_OPTION_LIMITER_WINDOW_MS, 1, &err));
    set_mirror_options(options[TW_OPTIONS_MIRROR], "again");
    /* The fleet of this program alone. */
    tw_bytes prefix = tw_str(strrchr(test_dir, '/') + 1);
    OK(tw_options_set_bytes(options[TW_OPTIONS_FLEET], TW_OPTION_FLEET_PREFIX, prefix, &err));
}

static void free_all_options(void) {
    for (int i = 0; i < OPTION_KINDS; ++i) {
        OK(tw_options_free(options[i], &err));
    }
}

/* What a call that went well has changed is undone. */
static void after_success(const char *name) {
    static const char *const spoil[] = {"tw_warden_close",     "tw_warden_unwatch",        "tw_warden_add_root",
                                        "tw_warden_move_root", "tw_warden_remove_root",    "tw_warden_set_root_options",
                                        "tw_warden_watch",     "tw_warden_remove_pipeline",
                                        "tw_warden_remove_mirror"};
    for (size_t i = 0; i < sizeof spoil / sizeof spoil[0]; ++i) {
        spare_is_used |= strcmp(name, spoil[i]) == 0;
    }
    if (strcmp(name, "tw_set_log") == 0) {
        OK(tw_set_log(TW_LOG_OFF, NULL, NULL, NULL, &err));
    }
    if (strcmp(name, "tw_warden_mirror_storage") == 0) {
        /* Lets go of the storage. */
        OK(tw_warden_remove_mirror(held[T_warden], tw_str("own"), &err));
    }
    if (strncmp(name, "tw_space_", 9) == 0) {
        OK(tw_space_put(held[T_warden], tw_str("space"), tw_str("key"), tw_str("value"), &err));
    }
    if (strncmp(name, "tw_options_set", 14) == 0 || strcmp(name, "tw_options_add_tier") == 0) {
        free_all_options();
        make_all_options();
    }
}

static tw_pipeline *open_pipeline(const char *name, int32_t option, int64_t value, const char *glob) {
    tw_options *of_it = new_options(TW_OPTIONS_PIPELINE);
    tw_pipeline *pipeline = NULL;
    OK(tw_options_set_int(of_it, option, value, &err));
    OK(tw_options_set_bytes(of_it, TW_OPTION_PIPELINE_GLOB, tw_str(glob), &err));
    /* So that the first pipeline in the list has a row of each kind. */
    OK(tw_options_set_bytes(of_it, TW_OPTION_PIPELINE_ROOT, tw_str("music"), &err));
    OK(tw_options_set_int(of_it, TW_OPTION_PIPELINE_REFRESH, TW_REFRESH_TIERS, &err));
    if (option == TW_OPTION_PIPELINE_RATE_LIMIT) {
        OK(tw_options_set_int(of_it, TW_OPTION_PIPELINE_RATE_WINDOW_MS, 1000, &err));
    }
    OK(tw_warden_pipeline(held[T_warden], tw_str(name), of_it, &pipeline, &err));
    OK(tw_options_free(of_it, &err));
    return pipeline;
}

/* A mirror that has run once, and a list of every type that comes of it. */
static void make_mirrors(void) {
    tw_mirror *mirror = held[T_mirror] = make_mirror();
    char stranger[100];
    snprintf(stranger, sizeof stranger, "%s/stranger", last_remote);
    tw_mirror *again = NULL;
    tw_urls *before = NULL;
    unfollowed = make_mirror();
    /* So that it can be opened as it was made. */
    OK(tw_warden_mirror(held[T_warden], tw_str("again"), options[TW_OPTIONS_MIRROR], &again, &err));
    OK(tw_mirror_free(again, &err));
    OK(tw_mirror_urls(mirror, &before, &err));
    OK(tw_mirror_plan(mirror, &lists[MIRROR_PLAN], &err));
    OK(tw_mirror_sync(mirror, 0, NULL, 0, &lists[MIRROR_REPORT], &err));
    held[T_urls] = make_urls();
    OK(tw_urls_diff(held[T_urls], before, &lists[URL_CHANGES], &err));
    OK(tw_urls_free(before, &err));
    write_file(stranger, "stranger");
    OK(tw_mirror_audit(mirror, 0, 0, &lists[AUDIT], &err));
    OK(tw_mirror_status(mirror, &lists[MIRROR_STATUS], &err));
    OK(tw_warden_mirrors(held[T_warden], &lists[MIRRORS], &err));
}

static void make_lists(void) {
    tw_warden *warden = held[T_warden];
    tw_bytes address = tw_str("music/file-0001");
    OK(tw_warden_roots(warden, &lists[ROOTS], &err));
    OK(tw_warden_scan(clocked, NULL, NULL, 0, &lists[REPORTS], &err));
    OK(tw_warden_history(clocked, 9, &lists[OPERATIONS], &err));
    OK(tw_space_items(warden, tw_str("space"), tw_str(""), tw_str(""), 9, &lists[PAIRS], &err));
    OK(tw_snapshot_roots(held[T_snapshot], &lists[TEXTS], &err));
    OK(tw_warden_pipelines(warden, &lists[PIPELINES], &err));
    OK(tw_warden_explain(warden, address, &lists[EXPLANATION], &err));
    write_file("second/new", "new");
    OK(tw_warden_verify(clocked, NULL, NULL, 0, &lists[VERIFY], &err));
    OK(tw_rebuild(tw_str(in_dir("rebuilt.tw")), &lists[REBUILD], &err));
    OK(tw_pipeline_list(held[T_pipeline], tw_str(""), -1, 9, &lists[WORK_ITEMS], &err));
    OK(tw_pipeline_explain(held[T_pipeline], address, &lists[WORK_EXPLANATION], &err));
}

/* What has come over a stream. */
static void make_stream(void) {
    tw_consumer *consumer = held[T_consumer] = make_consumer();
    tw_publisher *publisher = held[T_publisher] = make_publisher();
    uint64_t appended = 0;
    if (publisher != NULL) {
        OK(tw_publisher_publish(publisher, 10, &appended, &err));
        OK(tw_consumer_next(consumer, 10, 30000, &lists[STREAM_ITEMS], &err));
    }
}

static void make_fixtures(void) {
    tw_options *clock = new_options(TW_OPTIONS_OPEN);
    tw_warden *warden = NULL, *rebuilt = NULL;
    tw_pipeline *pipeline = NULL;
    uint64_t seq = 0;
    size_t len = 0;
    make_all_options();
    storage_options = make_storage_options();
    storage.name = tw_str("own");
    storage.put = park;
    storage.remove = remove_none;
    write_files("tree/file", FILES);
    write_file("tree/gone", "gone");
    make_dir("second");
    write_file("second/file", "file");
    OK(tw_warden_open(tw_str(in_dir("state.tw")), options[TW_OPTIONS_OPEN], &warden, &err));
    held[T_warden] = warden;
    OK(tw_warden_add_root(warden, tw_str("music"), tw_str(in_dir("tree")), NULL, &err));
    OK(tw_warden_open(tw_str(in_dir("rebuilt.tw")), NULL, &rebuilt, &err));
    OK(tw_warden_free(rebuilt, &err));
    OK(tw_options_set_int(clock, TW_OPTION_OPEN_MANUAL_CLOCK_NS, 1000, &err));
    OK(tw_warden_open(tw_str(in_dir("clocked.tw")), clock, &clocked, &err));
    OK(tw_warden_add_root(clocked, tw_str("second"), tw_str(in_dir("second")), NULL, &err));
    OK(tw_options_free(clock, &err));
    OK(tw_warden_watch(warden, NULL, &err));
    OK(tw_warden_sync(warden, -1, &seq, &err));
    CHECK(unlink(in_dir("tree/gone")) == 0);
    OK(tw_warden_sync(warden, -1, &seq, &err));
    OK(tw_warden_token(warden, token, sizeof token, &len, &err));
    OK(tw_space_put(warden, tw_str("space"), tw_str("key"), tw_str("value"), &err));
    OK(tw_warden_pipeline(warden, tw_str("jobs"), options[TW_OPTIONS_PIPELINE], &pipeline, &err));
    held[T_pipeline] = pipeline;
    idle = open_pipeline("idle", TW_OPTION_PIPELINE_SETTLE_MS, 0, "nothing");
    rated = open_pipeline("rated", TW_OPTION_PIPELINE_RATE_LIMIT, 10, "nothing");
    make_mirrors();
    held[T_fleet] = make_fleet();
    make_stream();
    for (int type = 0; type < TYPES; ++type) {
        if (held[type] == NULL) {
            held[type] = types[type].make();
        }
    }
    for (int type = 0; type < TYPES; ++type) {
        freed[type] = types[type].make();
        CHECK_EQ(types[type].free(freed[type]), TW_STATUS_OK);
    }
    closed_warden = make_warden();
    OK(tw_warden_close(closed_warden, &err));
    OK(tw_follow_next(held[T_follow], 1, 0, &delivery, &err));
    make_lists();
    hooks.cancel = held[T_cancel];
    pair.key = tw_str("name");
    pair.value = some_bytes = tw_str("value");
    pipelines[0] = held[T_pipeline];
    pipelines[1] = idle;
}

static void free_fixtures(void) {
    for (int i = 0; i < LISTS; ++i) {
        OK(tw_list_free(lists[i], &err));
    }
    free_all_options();
    OK(tw_options_free(storage_options, &err));
    OK(tw_changes_free(delivery, &err));
    OK(tw_pipeline_free(idle, &err));
    OK(tw_pipeline_free(rated, &err));
    OK(tw_mirror_free(unfollowed, &err));
    OK(tw_warden_free(spare_warden, &err));
    OK(tw_warden_free(closed_warden, &err));
    OK(tw_warden_free(clocked, &err));
    for (int type = 0; type < TYPES; ++type) {
        CHECK_EQ(types[type].free(held[type]), TW_STATUS_OK);
    }
}

#endif /* MISUSE_FIXTURES_H */
