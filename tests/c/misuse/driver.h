/*
 * What the program that misuse.py makes is built on: the tables that the generated part fills, and a call that is
 * judged. After each call: the status is one that was to be expected; on failure every output is as it was and the
 * error can be read; finalizers ran once. How arguments are made wrong is in tricks.h, valid ones are in fixtures.h.
 */

#ifndef MISUSE_DRIVER_H
#define MISUSE_DRIVER_H

#include "../check.h"


/* One argument, whatever its type. */
typedef union {
    void *ptr;
    uint64_t number;
    tw_bytes bytes;
    void (*fn)(void);
} value;

enum kind { HANDLE, HANDLES, OUT, OUT_HANDLE, IN, BYTES, NUMBER, CALLBACK, DATA, FINALIZER };

struct param {
    const char *name;
    enum kind kind;
    int type; /* of a handle */
};

struct function {
    const char *name;
    tw_status (*call)(const value *, tw_error **);
    void (*fill)(value *);
    const struct param *params;
    int count;
    int base; /* what a call with nothing but valid arguments comes to */
};

/* Statuses that are no single one. */
enum { ANY = -1, NOT_OK = -2, UNTRIED = -3 };

#define PARAMS_MAX 8
#define ROOM 1024

static union {
    unsigned char bytes[ROOM];
    uint64_t aligned;
    void *handle;
    struct ArrowArrayStream stream;
} outputs[PARAMS_MAX];

static int cases, wrong, finalized;
static char current[300];

static void *output(int index) {
    return outputs[index].bytes;
}

static void say_wrong(const char *why) {
    ++wrong;
    printf("WRONG %s: %s\n", current, why);
}

static void finalize(void *user_data) {
    (void)user_data;
    ++finalized;
}

static void no_event(const tw_event *event, void *user_data) {
    (void)event;
    (void)user_data;
}

static int32_t no_delivery(const tw_changes *changes, void *user_data) {
    (void)changes;
    (void)user_data;
    return 0;
}

static int32_t no_work(const tw_jobs *jobs, void *user_data) {
    (void)jobs;
    (void)user_data;
    return TW_WORKER_PUT_OFF;
}

static int32_t one_group(tw_bytes address, void *key_out, tw_set_key set_key, void *user_data) {
    (void)address;
    (void)user_data;
    set_key(key_out, tw_str("music/group"));
    return 0;
}

static void no_line(int32_t level, tw_bytes message, void *user_data) {
    (void)level;
    (void)message;
    (void)user_data;
}

/* Valid objects. `held` is one of each type; makers give fresh ones. The rest is of several shapes. */
#include "fixtures.h"

static void restore_outputs(void) {
    memset(outputs, 0xa5, sizeof outputs);
}

static int outputs_are_untouched(void) {
    const unsigned char *at = outputs[0].bytes;
    for (size_t i = 0; i < sizeof outputs; ++i) {
        if (at[i] != 0xa5) {
            return 0;
        }
    }
    return 1;
}

static void check_error(tw_error *error, tw_status status) {
    tw_error_info info;
    memset(&info, 0, sizeof info);
    if (tw_error_get(error, &info, sizeof info, NULL) != TW_STATUS_OK) {
        say_wrong("the error cannot be read");
    } else if (info.status != status || info.message.len == 0 || info.message.ptr == NULL) {
        say_wrong("the error tells something else");
    }
    if (tw_error_free(error, NULL) != TW_STATUS_OK) {
        say_wrong("the error cannot be freed");
    }
}

/* Frees what a call that went well has made. */
static void free_results(const struct function *function, const value *values) {
    for (int i = 0; i < function->count; ++i) {
        const struct param *param = &function->params[i];
        if (param->kind == OUT_HANDLE && values[i].ptr == output(i) && types[param->type].free != NULL) {
            if (types[param->type].free(outputs[i].handle) != TW_STATUS_OK) {
                say_wrong("what was made cannot be freed");
            }
        }
        if (param->kind == OUT && strstr(function->name, "_arrow") != NULL) {
            outputs[i].stream.release(&outputs[i].stream);
        }
    }
}

static void judge(tw_status status, int wanted) {
    char why[200];
    int is_bug = status == TW_STATUS_PANIC || status == TW_STATUS_POISONED;
    int is_right = wanted == ANY ? !is_bug : wanted == NOT_OK ? !is_bug && status != TW_STATUS_OK : status == wanted;
    if (!is_right) {
        snprintf(why, sizeof why, "%s, not %s", tw_status_name(status),
                 wanted == ANY      ? "any other"
                 : wanted == NOT_OK ? "a refusal"
                                    : tw_status_name(wanted));
        say_wrong(why);
    }
}

static int finalizer_of(const struct function *function, const value *values) {
    for (int i = 0; i < function->count; ++i) {
        if (function->params[i].kind == FINALIZER && values[i].fn != NULL) {
            return 1;
        }
    }
    return 0;
}

static void call(const struct function *function, const value *values, int wanted) {
    tw_error *const untouched = (tw_error *)(uintptr_t)0x5a5a;
    tw_error *error = untouched;
    ++cases;
    restore_outputs();
    finalized = 0;
    alarm(60);
    tw_status status = function->call(values, &error);
    judge(status, wanted);
    if (status == TW_STATUS_OK) {
        if (error != untouched) {
            say_wrong("an error was stored although it went well");
        }
        free_results(function, values);
        after_success(function->name);
    } else {
        if (!outputs_are_untouched()) {
            say_wrong("an output was written to");
        }
        if (error == untouched || error == NULL) {
            say_wrong("there is no error");
        } else {
            check_error(error, status);
        }
    }
    if (finalizer_of(function, values) && finalized != 1) {
        say_wrong("the finalizer did not run once");
    }
    alarm(0);
}

#endif /* MISUSE_DRIVER_H */
