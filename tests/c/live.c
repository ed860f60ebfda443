/*
 * Proves watching: changes on disk come into the snapshot by themselves, and with tw_warden_sync at once; events by
 * waiting, by a descriptor and by a callback, with interrupts and a queue that overflows; pause and resume; what the
 * status tells meanwhile; and that closing ends all of it.
 */

#include "check.h"

#include <poll.h>
#include <pthread.h>

static int is_there(tw_warden *warden, const char *address) {
    tw_snapshot *snapshot = NULL;
    int32_t is_there = 7;
    CHECK_EQ(tw_warden_snapshot(warden, &snapshot, NULL), TW_STATUS_OK);
    CHECK_EQ(tw_snapshot_contains(snapshot, tw_str(address), &is_there, NULL), TW_STATUS_OK);
    CHECK_EQ(tw_snapshot_free(snapshot, NULL), TW_STATUS_OK);
    return is_there;
}

static void watch(tw_warden *warden, int64_t debounce_ms) {
    tw_options *options = new_options(TW_OPTIONS_WATCH), *root = new_options(TW_OPTIONS_ROOT_WATCH);
    OK(tw_options_set_int(root, TW_OPTION_ROOT_WATCH_PRESET, TW_PRESET_SMALL, &err));
    OK(tw_options_set_int(root, TW_OPTION_ROOT_WATCH_DEBOUNCE_MS, debounce_ms, &err));
    OK(tw_options_set_int(root, TW_OPTION_ROOT_WATCH_MAX_WAIT_MS, debounce_ms * 10, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_options_set_root_watch(root, tw_str("music"), options, &err));
    OK(tw_options_set_root_watch(options, tw_str("music"), root, &err));
    OK(tw_options_free(root, &err));
    OK(tw_warden_watch(warden, options, &err));
    OK(tw_options_free(options, &err));
}

static void nothing_is_watched(tw_warden *warden) {
    uint64_t seq = 0;
    int32_t is_watching = 7;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_sync(warden, 0, &seq, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_pause(warden, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_resume(warden, &err));
    OK(tw_warden_unwatch(warden, &err));
    OK(tw_warden_is_watching(warden, &is_watching, &err));
    CHECK_EQ(is_watching, 0);
    tw_options *options = new_options(TW_OPTIONS_WATCH);
    OK(tw_options_set_root_watch(options, tw_str("none"), NULL, &err));
    FAILS(TW_STATUS_NOT_FOUND, tw_warden_watch(warden, options, &err));
    OK(tw_options_free(options, &err));
}

static void changes_come_in(tw_warden *warden) {
    uint64_t seq = 0, now = 0;
    int32_t is_watching = 7;
    write_file("tree/before", "before");
    watch(warden, 20);
    OK(tw_warden_is_watching(warden, &is_watching, &err));
    CHECK_EQ(is_watching, 1);
    OK(tw_warden_sync(warden, 60000, &seq, &err));
    CHECK(is_there(warden, "music/before"));
    OK(tw_warden_seq(warden, &now, &err));
    CHECK(seq <= now && seq > 0);
    for (int i = 0; i < 20; ++i) {
        char name[40], address[40];
        snprintf(name, sizeof name, "tree/synced-%d", i);
        snprintf(address, sizeof address, "music/synced-%d", i);
        write_file(name, "synced");
        OK(tw_warden_sync(warden, -1, &seq, &err));
        CHECK(is_there(warden, address));
    }
    make_dir("tree/new");
    write_file("tree/new/by-itself", "by itself");
    EVENTUALLY(is_there(warden, "music/new/by-itself"));
    CHECK(unlink(in_dir("tree/new/by-itself")) == 0);
    EVENTUALLY(!is_there(warden, "music/new/by-itself"));

    tw_status_info info;
    OK(tw_warden_status(warden, &info, sizeof info, &err));
    CHECK(info.is_watching && !info.is_paused && info.is_coherent && info.watched_roots == 1 && info.watched_dirs == 2);
    CHECK(info.backend == TW_BACKEND_INOTIFY && info.coverage == TW_COVERAGE_NATIVE && info.events > 0);
    tw_list *list = NULL;
    tw_root root;
    OK(tw_warden_roots(warden, &list, &err));
    OK(tw_list_root(list, 0, &root, sizeof root, &err));
    CHECK(root.is_watched && root.is_coherent && root.watch_mode == TW_WATCH_NATIVE && root.watched_dirs == 2);
    CHECK(root.coverage == TW_COVERAGE_NATIVE && root.coverage_reason.ptr == NULL);
    OK(tw_list_free(list, &err));
}

/* Takes events until one of this kind comes. */
static tw_event next_of(tw_events *events, int32_t kind) {
    tw_event event;
    do {
        memset(&event, 0xa5, sizeof event);
        OK(tw_events_next(events, 60000, &event, sizeof event, &err));
        CHECK(event.kind >= TW_EVENT_UNKNOWN && event.kind <= TW_EVENT_RESET);
    } while (event.kind != kind);
    return event;
}

/* Takes all there are; returns why there are no more. */
static tw_status drain(tw_events *events) {
    tw_event event;
    tw_status status;
    do {
        status = tw_events_next(events, 0, &event, sizeof event, NULL);
    } while (status == TW_STATUS_OK);
    return status;
}

static int is_readable(int fd, int timeout_ms) {
    struct pollfd place = {fd, POLLIN, 0};
    return poll(&place, 1, timeout_ms) == 1 && (place.revents & POLLIN) != 0;
}

static void events_by_waiting(tw_warden *warden) {
    tw_events *events = NULL;
    uint64_t seq = 0;
    OK(tw_warden_subscribe(warden, 0, &events, &err));
    write_file("tree/event", "event");
    OK(tw_warden_sync(warden, -1, &seq, &err));
    tw_event event = next_of(events, TW_EVENT_COMMITTED);
    CHECK(event.added == 1 && event.first_seq > 0 && event.last_seq >= event.first_seq);
    CHECK(event.root.ptr == NULL && event.operation == -1 && event.operation_status == -1 && event.coverage == -1);

    /* A scan tells of itself; views are good until they are cleared. */
    scan(warden);
    tw_event started = next_of(events, TW_EVENT_SCAN_STARTED);
    tw_event finished = next_of(events, TW_EVENT_SCAN_FINISHED);
    CHECK_TEXT(started.root, "music");
    CHECK_TEXT(finished.root, "music");
    CHECK(started.operation == TW_OPERATION_QUICK && finished.operation_status == TW_OPERATION_STATUS_OK);
    OK(tw_events_clear(events, &err));

    int fd = -1;
    OK(tw_events_descriptor(events, &fd, &err));
    EVENTUALLY(drain(events) == TW_STATUS_TIMEOUT && !is_readable(fd, 0));
    write_file("tree/polled", "polled");
    CHECK(is_readable(fd, 60000));
    next_of(events, TW_EVENT_COMMITTED);

    OK(tw_events_interrupt(events, &err));
    FAILS(TW_STATUS_TIMEOUT, tw_events_next(events, -1, &event, sizeof event, &err));
    CHECK_EQ(drain(events), TW_STATUS_TIMEOUT);
    write_file("tree/forever", "forever");
    OK(tw_events_next(events, INT64_MAX, &event, sizeof event, &err));
    OK(tw_events_free(events, &err));

    /* Room for two: the third event makes the queue a single one, which says where to go on. */
    OK(tw_warden_subscribe(warden, 2, &events, &err));
    for (int i = 0; i < 3; ++i) {
        scan(warden);
    }
    event = next_of(events, TW_EVENT_RESET);
    OK(tw_warden_seq(warden, &seq, &err));
    CHECK(event.restart_seq > 0 && event.restart_seq <= seq);
    OK(tw_events_free(events, &err));
    OK(tw_warden_subscribe(warden, SIZE_MAX, &events, &err));
    OK(tw_events_free(events, &err));
}

static void *wait_for_an_event(void *data) {
    tw_event event;
    tw_status status;
    do {
        status = tw_events_next(data, -1, &event, sizeof event, NULL);
    } while (status == TW_STATUS_OK);
    CHECK(status == TW_STATUS_TIMEOUT || status == TW_STATUS_INVALID_HANDLE);
    return NULL;
}

struct heard {
    int events;
    int commits;
    int finalized;
    tw_warden *warden;
};

static void on_event(const tw_event *event, void *user_data) {
    struct heard *heard = user_data;
    uint64_t seq = 0;
    CHECK_EQ(tw_warden_seq(heard->warden, &seq, NULL), TW_STATUS_OK);
    if (event->kind == TW_EVENT_COMMITTED) {
        CHECK(event->last_seq <= seq);
        count_up(&heard->commits);
    }
    count_up(&heard->events);
}

static void on_end(void *user_data) {
    count_up(&((struct heard *)user_data)->finalized);
}

static void events_by_callback(tw_warden *warden) {
    pthread_t thread;
    tw_events *events = NULL;
    OK(tw_warden_subscribe(warden, 0, &events, &err));
    CHECK(pthread_create(&thread, NULL, wait_for_an_event, events) == 0);
    sleep_ms(20);
    OK(tw_events_free(events, &err));
    CHECK(pthread_join(thread, NULL) == 0);

    struct heard heard = {0, 0, 0, warden};
    tw_listener *listener = NULL;
    tw_status status = 7;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_events_listen(warden, 0, NULL, &heard, on_end, &listener, &err));
    CHECK(heard.finalized == 1 && listener == NULL);
    heard.finalized = 0;
    OK(tw_events_listen(warden, 0, on_event, &heard, on_end, &listener, &err));
    write_file("tree/called", "called");
    EVENTUALLY(count_of(&heard.commits) > 0);
    OK(tw_listener_status(listener, &status, &err));
    CHECK_EQ(status, TW_STATUS_OK);
    OK(tw_listener_free(listener, &err));
    CHECK_EQ(count_of(&heard.finalized), 1);
    int events_then = count_of(&heard.events);
    scan(warden);
    CHECK_EQ(count_of(&heard.events), events_then);
}

static void pause_and_resume(tw_warden *warden) {
    uint64_t seq = 0;
    tw_status_info info;
    OK(tw_warden_pause(warden, &err));
    OK(tw_warden_pause(warden, &err));
    write_file("tree/paused", "paused");
    FAILS(TW_STATUS_UNAVAILABLE, tw_warden_sync(warden, -1, &seq, &err));
    OK(tw_warden_status(warden, &info, sizeof info, &err));
    CHECK(info.is_paused && info.is_watching);
    sleep_ms(100);
    CHECK(!is_there(warden, "music/paused"));
    OK(tw_warden_resume(warden, &err));
    EVENTUALLY(is_there(warden, "music/paused"));
    OK(tw_warden_unwatch(warden, &err));
    write_file("tree/unwatched", "unwatched");
    sleep_ms(100);
    CHECK(!is_there(warden, "music/unwatched"));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_warden_sync(warden, 0, &seq, &err));
}

/* A debounce that nobody waits for: sync cuts it short. */
static void sync_does_not_wait_for_the_debounce(tw_warden *warden) {
    uint64_t seq = 0;
    watch(warden, 30000);
    OK(tw_warden_sync(warden, -1, &seq, &err));
    CHECK(is_there(warden, "music/unwatched"));
    write_file("tree/patient", "patient");
    int64_t begin = now_ms();
    OK(tw_warden_sync(warden, INT64_MAX, &seq, &err));
    CHECK(now_ms() - begin < 15000);
    CHECK(is_there(warden, "music/patient"));
}

static void closing_ends_it(tw_warden *warden) {
    struct heard heard = {0, 0, 0, warden};
    tw_listener *listener = NULL;
    tw_events *events = NULL;
    tw_event event;
    tw_status status = TW_STATUS_OK;
    int fd = -1;
    OK(tw_events_listen(warden, 0, on_event, &heard, on_end, &listener, &err));
    OK(tw_warden_subscribe(warden, 0, &events, &err));
    OK(tw_events_descriptor(events, &fd, &err));
    OK(tw_warden_close(warden, &err));
    CHECK(is_readable(fd, 0));
    CHECK_EQ(drain(events), TW_STATUS_CLOSED);
    FAILS(TW_STATUS_CLOSED, tw_events_next(events, -1, &event, sizeof event, &err));
    EVENTUALLY(tw_listener_status(listener, &status, NULL) == TW_STATUS_OK && status == TW_STATUS_CLOSED);
    CHECK_EQ(count_of(&heard.finalized), 0);
    OK(tw_warden_free(warden, &err));
    OK(tw_listener_free(listener, &err));
    CHECK_EQ(count_of(&heard.finalized), 1);
    OK(tw_events_free(events, &err));
}

int main(void) {
    test_enter();
    tw_warden *warden = open_warden(NULL);
    nothing_is_watched(warden);
    changes_come_in(warden);
    events_by_waiting(warden);
    events_by_callback(warden);
    pause_and_resume(warden);
    sync_does_not_wait_for_the_debounce(warden);
    closing_ends_it(warden);
    return 0;
}
