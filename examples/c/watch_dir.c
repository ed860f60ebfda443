/*
 * Watches a directory and prints each change until Ctrl-C.
 *
 *     cc -std=c99 watch_dir.c $(pkg-config --cflags --libs treewarden) -o watch_dir
 *     ./watch_dir DIR STATE           prints changes as they come
 *     ./watch_dir --once DIR STATE    prints what has changed since the last run, and ends
 *
 * The first run takes up DIR; later ones go on where the last one ended, for the place is kept in STATE under a name.
 * A change is acknowledged after it was printed: who is killed half-way is told it again.
 */
#define _POSIX_C_SOURCE 200809L

#include <treewarden.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHANGES_AT_ONCE = 1000, ROWS = 64, SYNC_MS_MAX = 60000, PATH_ROOM = 65536 };

/* The signal handler writes to it: so a signal and a change are waited for with one poll. */
static int stop_pipe[2];
static void on_signal(int number)
{
    if (write(stop_pipe[1], &number, 1) != 1) {
        _exit(1); /* There is no gentle way left. */
    }
}

/* Tells an error, and frees it. */
static int failed(tw_error *error)
{
    tw_error_info info;
    if (tw_error_get(error, &info, sizeof info, NULL) == TW_STATUS_OK) {
        fprintf(stderr, "watch_dir: %.*s\n", (int)info.message.len, (const char *)info.message.ptr);
    }
    tw_error_free(error, NULL);
    return 1;
}

/* Paths are bytes: what could confuse a terminal, or a reader of lines, is escaped. */
static void print_path(tw_bytes path)
{
    static char text[PATH_ROOM];
    size_t len;
    const int fits = tw_escape(path, text, sizeof text, &len, NULL) == TW_STATUS_OK;
    fputs(fits ? text : "(a path that is too long to be shown)", stdout);
}

static tw_status print_changes(const tw_changes *changes, tw_error **error)
{
    static const char *const kinds[] = {"added", "modified", "moved", "missing", "restored", "forgotten"};
    tw_change rows[ROWS];
    size_t count = 1;
    while (count != 0) {
        const tw_status status = tw_changes_next(changes, rows, sizeof rows[0], ROWS, &count, error);
        if (status != TW_STATUS_OK) {
            return status;
        }
        for (size_t i = 0; i < count; ++i) {
            /* A library that is newer than this program may know more kinds. */
            printf("%-9s ", rows[i].kind <= TW_CHANGE_FORGOTTEN ? kinds[rows[i].kind] : "changed");
            if (rows[i].kind == TW_CHANGE_MOVED) {
                print_path(rows[i].from);
                printf(" -> ");
            }
            print_path(rows[i].path);
            printf("\n");
        }
        tw_changes_clear(changes, NULL);
    }
    return TW_STATUS_OK;
}

/* Prints and acknowledges all that has come. */
static int take(const tw_follow *follow)
{
    for (;;) {
        tw_changes *delivery = NULL;
        tw_error *error = NULL;
        tw_error_info info;
        uint64_t seq;
        tw_status status = tw_follow_next(follow, CHANGES_AT_ONCE, 0, &delivery, &error);
        if (status == TW_STATUS_TIMEOUT) {
            tw_error_free(error, NULL);
            return 0;
        }
        if (status == TW_STATUS_RESET && tw_error_get(error, &info, sizeof info, NULL) == TW_STATUS_OK) {
            fprintf(stderr, "watch_dir: older changes are forgotten; what is there now is in the snapshot\n");
            tw_error_free(error, NULL);
            error = NULL;
            status = tw_follow_advance(follow, info.restart_seq, &error);
        } else if (status == TW_STATUS_OK && (status = print_changes(delivery, &error)) == TW_STATUS_OK) {
            fflush(stdout);
            status = tw_changes_ack(delivery, &seq, &error);
        }
        tw_changes_free(delivery, NULL);
        if (status != TW_STATUS_OK) {
            return failed(error);
        }
    }
}

static int run(const tw_warden *warden, const char *dir, int is_once)
{
    struct pollfd waiting[2] = {{.fd = -1, .events = POLLIN}, {.fd = stop_pipe[0], .events = POLLIN}};
    tw_follow *follow = NULL;
    tw_error *error = NULL;
    uint64_t seq;
    tw_status result = tw_warden_add_root(warden, tw_str("tree"), tw_str(dir), NULL, &error);
    if (result == TW_STATUS_ALREADY_EXISTS) {
        result = tw_error_free(error, NULL);
    }
    if (result != TW_STATUS_OK || tw_warden_follow(warden, tw_str("watch_dir"), &follow, &error) != TW_STATUS_OK ||
        tw_follow_descriptor(follow, &waiting[0].fd, &error) != TW_STATUS_OK ||
        tw_warden_watch(warden, NULL, &error) != TW_STATUS_OK ||
        (is_once && tw_warden_sync(warden, SYNC_MS_MAX, &seq, &error) != TW_STATUS_OK)) {
        result = failed(error);
    }
    while (result == 0 && (result = take(follow)) == 0 && !is_once && waiting[1].revents == 0) {
        poll(waiting, 2, -1); /* Interrupted, it looks once more in vain. */
    }
    tw_follow_free(follow, NULL);
    return result;
}

int main(int argc, char **argv)
{
    const int is_once = argc > 1 && strcmp(argv[1], "--once") == 0;
    struct sigaction action = {.sa_handler = on_signal};
    tw_warden *warden = NULL;
    tw_error *error = NULL;
    if (argc != 3 + is_once || pipe(stop_pipe) != 0) {
        fprintf(stderr, "usage: watch_dir [--once] DIR STATE\n");
        return 2;
    }
    if (!is_once) {
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
    }
    if (tw_warden_open(tw_str(argv[2 + is_once]), NULL, &warden, &error) != TW_STATUS_OK) {
        return failed(error);
    }
    const int result = run(warden, argv[1 + is_once], is_once);
    tw_warden_free(warden, NULL);
    return result;
}
