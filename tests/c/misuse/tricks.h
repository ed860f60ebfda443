/*
 * The tricks: each makes one argument wrong, in all the ways there are. And the program around them: trials, calls with
 * nothing wrong, handles that are freed twice, more.h, and with the argument `fork` what a child gets.
 */

#ifndef MISUSE_TRICKS_H
#define MISUSE_TRICKS_H

#include "driver.h"
#include "more.h"

#include <signal.h>
#include <sys/wait.h>

enum trick {
    PUT_NULL,
    OTHER_TYPES,
    FREED,
    GARBAGE,
    OTHER_KINDS,
    CLOSED,
    MISALIGNED,
    PUT_NUMBER,
    NULL_5,
    HUGE_LEN,
    NO_BYTES,
    NOT_UTF8,
    WITH_ZERO,
    LONG,
    POINT_TO_NULL_5
};

struct trial {
    int function;
    int param;
    enum trick trick;
    uint64_t number;
    int wanted;
};

/* The last words of a crash or a hang. */
static void on_signal(int number) {
    const char *what = number == SIGALRM ? "HANGS: " : "CRASHES: ";
    ssize_t ignored = write(1, what, strlen(what));
    ignored = write(1, current, strlen(current));
    ignored = write(1, "\n", 1);
    (void)ignored;
    _exit(3);
}

static void name_case(const struct function *function, int param, const char *what) {
    const char *of = param < 0 ? "" : function->params[param].name;
    snprintf(current, sizeof current, "%s(%s: %s)", function->name, of, what);
}

/* Calls with `given` as one argument, all others being valid. */
static void attempt(const struct function *function, int param, value given, const char *what, int wanted) {
    value values[PARAMS_MAX];
    memset(values, 0, sizeof values);
    name_case(function, param, what);
    refresh(function);
    function->fill(values);
    values[param] = given;
    call(function, values, wanted);
    if (wanted == TW_STATUS_INVALID_HANDLE) {
        /* Who wants to know nothing more passes no error. */
        judge(function->call(values, NULL), wanted);
        ++cases;
    }
}

static void attempt_handle(const struct function *function, int param, void *handle, const char *what, int wanted) {
    value given;
    given.ptr = handle;
    attempt(function, param, given, what, wanted);
}

static void attempt_bytes(const struct function *function, const struct trial *trial, const void *ptr, size_t len,
                          const char *what) {
    value given;
    given.bytes = bytes_of(ptr, len);
    attempt(function, trial->param, given, what, trial->wanted);
}

static void attempt_other_types(const struct function *function, int param) {
    for (int type = 0; type < TYPES; ++type) {
        if (type != function->params[param].type && held[type] != NULL) {
            attempt_handle(function, param, held[type], types[type].name, TW_STATUS_INVALID_HANDLE);
        }
    }
}

/* Numbers and addresses that are no handles at all. */
static void attempt_garbage(const struct function *function, int param) {
    static char memory[64];
    void *const garbage[] = {(void *)(uintptr_t)1, (void *)(uintptr_t)12345, (void *)UINTPTR_MAX, (void *)INTPTR_MAX,
                             memory, (void *)(uintptr_t)0x5a5a5a5a5a5a5a5aULL};
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; ++i) {
        attempt_handle(function, param, garbage[i], "garbage", TW_STATUS_INVALID_HANDLE);
    }
}

static void attempt_other_kinds(const struct function *function, int param) {
    value values[PARAMS_MAX];
    function->fill(values);
    for (int kind = 0; kind < OPTION_KINDS; ++kind) {
        if (options[kind] != values[param].ptr) {
            attempt_handle(function, param, options[kind], "options of another kind", TW_STATUS_INVALID_ARGUMENT);
        }
    }
}

static void attempt_trial(const struct function *function, const struct trial *trial) {
    static char long_text[5000];
    static tw_bytes null_5 = {NULL, 5};
    static union {
        unsigned char bytes[64];
        uint64_t aligned;
    } odd;
    value given;
    char what[60];
    int param = trial->param;
    memset(&given, 0, sizeof given);
    memset(long_text, 'x', sizeof long_text);
    switch (trial->trick) {
    case PUT_NULL:
        attempt(function, param, given, "NULL", trial->wanted);
        break;
    case OTHER_TYPES:
        attempt_other_types(function, param);
        break;
    case FREED:
        attempt_handle(function, param, freed[function->params[param].type], "freed", trial->wanted);
        break;
    case GARBAGE:
        attempt_garbage(function, param);
        break;
    case OTHER_KINDS:
        attempt_other_kinds(function, param);
        break;
    case CLOSED:
        attempt_handle(function, param, closed_warden, "closed", trial->wanted);
        break;
    case MISALIGNED:
        given.ptr = function->params[param].kind == IN ? odd.bytes + 1 : outputs[param].bytes + 1;
        attempt(function, param, given, "misaligned", trial->wanted);
        break;
    case PUT_NUMBER:
        given.number = trial->number;
        snprintf(what, sizeof what, "%lld", (long long)trial->number);
        attempt(function, param, given, what, trial->wanted);
        break;
    case NULL_5:
        attempt_bytes(function, trial, NULL, 5, "{NULL, 5}");
        break;
    case HUGE_LEN:
        attempt_bytes(function, trial, "x", SIZE_MAX, "{ptr, SIZE_MAX}");
        attempt_bytes(function, trial, "x", (size_t)PTRDIFF_MAX + 1, "{ptr, PTRDIFF_MAX + 1}");
        break;
    case NO_BYTES:
        attempt_bytes(function, trial, NULL, 0, "{NULL, 0}");
        break;
    case NOT_UTF8:
        attempt_bytes(function, trial, "a\xff", 2, "no UTF-8");
        break;
    case WITH_ZERO:
        attempt_bytes(function, trial, "a\0b", 3, "with a zero");
        break;
    case LONG:
        attempt_bytes(function, trial, long_text, sizeof long_text, "5,000 bytes");
        break;
    case POINT_TO_NULL_5:
        given.ptr = &null_5;
        attempt(function, param, given, "pointer to {NULL, 5}", trial->wanted);
        break;
    }
}

/* What has no Redis is left out, and the last line says so. */
static int is_tried(const struct function *function) {
    return redis_url() != NULL || !needs_redis(function->name);
}

/* Every type: free twice, and what is freed while others need it. */
static void attempt_double_frees(void) {
    for (int type = 0; type < TYPES; ++type) {
        snprintf(current, sizeof current, "%s: freed twice", types[type].name);
        ++cases;
        void *handle = types[type].make();
        judge(types[type].free(handle), TW_STATUS_OK);
        if (handle != NULL) {
            judge(types[type].free(handle), TW_STATUS_INVALID_HANDLE);
        }
    }
}

/* In a child every handle of the parent is refused, and so is every function that is given one. */
static void attempt_in_a_child(const struct function *functions, int count) {
    static value values[300][PARAMS_MAX];
    for (int i = 0; i < count; ++i) {
        if (is_tried(&functions[i])) {
            functions[i].fill(values[i]);
        }
    }
    fflush(NULL);
    pid_t child = fork();
    if (child != 0) {
        int how = 0;
        CHECK(child > 0 && waitpid(child, &how, 0) == child);
        CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0);
        return;
    }
    for (int i = 0; i < count; ++i) {
        const struct function *function = &functions[i];
        if (!is_tried(function)) {
            continue;
        }
        for (int param = 0; param < function->count; ++param) {
            if (function->params[param].kind == HANDLE || function->params[param].kind == HANDLES) {
                name_case(function, param, "in a child");
                call(function, values[i], TW_STATUS_FORKED);
                break;
            }
        }
    }
    printf("%d cases in a child, %d wrong\n", cases, wrong);
    exit(wrong != 0);
}

static int run(int argc, char **argv, const struct function *functions, int count, const struct trial *trials,
               int trial_count) {
    const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i) {
        signal(signals[i], on_signal);
    }
    test_enter();
    make_fixtures();
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        attempt_in_a_child(functions, count);
        free_fixtures();
        return 0;
    }
    for (int i = 0; i < trial_count; ++i) {
        if (is_tried(&functions[trials[i].function])) {
            attempt_trial(&functions[trials[i].function], &trials[i]);
        }
    }
    for (int i = 0; i < count; ++i) {
        value values[PARAMS_MAX];
        if (functions[i].base != UNTRIED && is_tried(&functions[i])) {
            name_case(&functions[i], -1, "nothing wrong");
            refresh(&functions[i]);
            functions[i].fill(values);
            call(&functions[i], values, functions[i].base);
        }
    }
    attempt_double_frees();
    attempt_more();
    free_fixtures();
    const char *left_out = redis_url() == NULL ? ", fleets left out: there is no Redis" : "";
    printf("%d cases, %d wrong%s\n", cases, wrong, left_out);
    return wrong != 0;
}

#endif /* MISUSE_TRICKS_H */
