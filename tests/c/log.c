/*
 * Proves the log: lines of a level and above come to the callback, in text that is safe to show; another callback takes
 * the place of the first, also from within it; finalizers run once, when nobody is called back any more; nothing comes
 * after it was turned off; and threads log while the callback is replaced.
 */

#include "check.h"

#include <pthread.h>

#define FILES 20

struct sink {
    int lines;
    int level_max;
    int wrong;
    int finalized;
    char last[400];
    struct sink *next;
};

static void check_line(struct sink *sink, int32_t level, tw_bytes message) {
    const char start[] = "treewarden";
    int is_right = level >= TW_LOG_ERROR && level <= sink->level_max && count_of(&sink->finalized) == 0;
    is_right &= message.len > sizeof start && memcmp(message.ptr, start, sizeof start - 1) == 0;
    for (size_t i = 0; i < message.len; ++i) {
        is_right &= message.ptr[i] >= 0x20 && message.ptr[i] != 0x7f;
    }
    if (!is_right) {
        count_up(&sink->wrong);
    }
}

static void on_end(void *user_data) {
    count_up(&((struct sink *)user_data)->finalized);
}

static void on_line(int32_t level, tw_bytes message, void *user_data) {
    struct sink *sink = user_data;
    check_line(sink, level, message);
    snprintf(sink->last, sizeof sink->last, "%.*s", (int)message.len, (const char *)message.ptr);
    count_up(&sink->lines);
    if (sink->next != NULL) {
        struct sink *next = sink->next;
        sink->next = NULL;
        if (tw_set_log(TW_LOG_TRACE, on_line, next, on_end, NULL) != TW_STATUS_OK) {
            count_up(&sink->wrong);
        }
    }
}

/* May be called by several threads at once. */
static void on_line_of_many(int32_t level, tw_bytes message, void *user_data) {
    check_line(user_data, level, message);
    count_up(&((struct sink *)user_data)->lines);
}

static int32_t no_group(tw_bytes address, void *key_out, tw_set_key set_key, void *user_data) {
    (void)address;
    (void)key_out;
    (void)set_key;
    (void)user_data;
    return 1;
}

/* Makes the library warn: a function that groups no file. Each file is one line. */
static void make_it_warn(tw_warden *warden, const char *name) {
    tw_options *options = new_options(TW_OPTIONS_PIPELINE);
    tw_pipeline *pipeline = NULL;
    OK(tw_options_set_group(options, tw_str("none"), no_group, NULL, NULL, &err));
    OK(tw_warden_pipeline(warden, tw_str(name), options, &pipeline, &err));
    OK(tw_options_free(options, &err));
    OK(tw_pipeline_free(pipeline, &err));
    OK(tw_warden_remove_pipeline(warden, tw_str(name), &err));
}

static void levels(tw_warden *warden) {
    struct sink sink, other;
    memset(&sink, 0, sizeof sink);
    sink.level_max = TW_LOG_WARN;
    memcpy(&other, &sink, sizeof other);
    make_it_warn(warden, "nobody-listens");
    OK(tw_set_log(TW_LOG_WARN, on_line, &sink, on_end, &err));
    make_it_warn(warden, "somebody-listens");
    CHECK_EQ(sink.lines, FILES);
    CHECK(strstr(sink.last, "a file has no group and is left out") != NULL);
    CHECK_EQ(sink.finalized, 0);

    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_set_log(-1, on_line, &other, on_end, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_set_log(TW_LOG_TRACE + 1, on_line, &other, on_end, &err));
    CHECK(other.finalized == 2 && sink.finalized == 0);
    other.finalized = 0;

    other.level_max = TW_LOG_ERROR;
    OK(tw_set_log(TW_LOG_ERROR, on_line, &other, on_end, &err));
    CHECK_EQ(sink.finalized, 1);
    make_it_warn(warden, "too-loud");
    CHECK(other.lines == 0 && sink.lines == FILES);
    OK(tw_set_log(TW_LOG_OFF, on_line, &sink, on_end, &err));
    CHECK(other.finalized == 1 && sink.finalized == 2);
    OK(tw_set_log(TW_LOG_TRACE, NULL, &sink, on_end, &err));
    CHECK_EQ(sink.finalized, 3);
    OK(tw_set_log(TW_LOG_TRACE, NULL, NULL, NULL, &err));
    make_it_warn(warden, "off");
    CHECK(other.lines == 0 && sink.lines == FILES && other.finalized == 1 && sink.wrong == 0);
}

/* What ended without giving its jobs back is told when the state file is opened again. */
static tw_warden *after_a_restart(tw_warden *warden) {
    struct sink sink, next;
    memset(&sink, 0, sizeof sink);
    memset(&next, 0, sizeof next);
    sink.level_max = next.level_max = TW_LOG_TRACE;
    sink.next = &next;
    tw_options *options = new_options(TW_OPTIONS_PIPELINE);
    tw_pipeline *pipeline = NULL;
    tw_jobs *jobs = NULL;
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_warden_pipeline(warden, tw_str("jobs"), options, &pipeline, &err));
    OK(tw_options_free(options, &err));
    OK(tw_pipeline_claim(pipeline, 3, 0, &jobs, &err));
    OK(tw_warden_close(warden, &err));
    OK(tw_jobs_free(jobs, &err));
    OK(tw_pipeline_free(pipeline, &err));
    OK(tw_warden_free(warden, &err));

    OK(tw_set_log(TW_LOG_TRACE, on_line, &sink, on_end, &err));
    OK(tw_warden_open(tw_str(in_dir("state.tw")), NULL, &warden, &err));
    OK(tw_warden_pipeline(warden, tw_str("jobs"), NULL, &pipeline, &err));
    OK(tw_pipeline_free(pipeline, &err));
    CHECK(sink.lines >= 1 && sink.wrong == 0);
    CHECK(sink.next == NULL);
    /* The callback itself has put another one in its place. */
    make_it_warn(warden, "next");
    CHECK(next.lines >= FILES && next.wrong == 0);
    CHECK_EQ(sink.finalized, 1);
    OK(tw_set_log(TW_LOG_OFF, NULL, NULL, NULL, &err));
    CHECK_EQ(next.finalized, 1);
    return warden;
}

static tw_warden *shared;

static void *warn(void *data) {
    for (int round = 0; round < 10; ++round) {
        char name[20];
        snprintf(name, sizeof name, "warn-%d", (int)(intptr_t)data);
        make_it_warn(shared, name);
    }
    return NULL;
}

static void many_threads(tw_warden *warden) {
    pthread_t threads[4];
    static struct sink sinks[200];
    int lines = 0, count = 200;
    shared = warden;
    for (int i = 0; i < 4; ++i) {
        CHECK(pthread_create(&threads[i], NULL, warn, (void *)(intptr_t)i) == 0);
    }
    for (int i = 0; i < count; ++i) {
        sinks[i].level_max = TW_LOG_TRACE;
        OK(tw_set_log(TW_LOG_TRACE, on_line_of_many, &sinks[i], on_end, &err));
        sleep_ms(1);
    }
    for (int i = 0; i < 4; ++i) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    OK(tw_set_log(TW_LOG_OFF, NULL, NULL, NULL, &err));
    for (int i = 0; i < count; ++i) {
        CHECK(count_of(&sinks[i].finalized) == 1 && sinks[i].wrong == 0);
        lines += sinks[i].lines;
    }
    CHECK(lines > 0);
}

int main(void) {
    test_enter();
    write_files("tree/file", FILES);
    tw_warden *warden = open_warden(NULL);
    CHECK_EQ(scan(warden).added, FILES);
    levels(warden);
    warden = after_a_restart(warden);
    many_threads(warden);
    OK(tw_warden_free(warden, &err));
    return 0;
}
