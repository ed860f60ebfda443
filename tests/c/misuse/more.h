/*
 * Misuse that one wrong argument does not show: rows of another type, wrong handles within arrays and structs, structs
 * with fields that make no sense, and what has been ended or committed already.
 */

#ifndef MISUSE_MORE_H
#define MISUSE_MORE_H

#include "driver.h"

/* A call that is refused with this status, and writes nothing. */
#define REFUSED(wanted, call)                                                     \
    do {                                                                          \
        snprintf(current, sizeof current, "%s", #call);                           \
        restore_outputs();                                                        \
        ++cases;                                                                  \
        judge((call), (wanted));                                                  \
        if (!outputs_are_untouched()) {                                           \
            say_wrong("an output was written to");                                \
        }                                                                         \
        if (err == NULL) {                                                        \
            say_wrong("there is no error");                                       \
        } else {                                                                  \
            check_error(err, (wanted));                                           \
            err = NULL;                                                           \
        }                                                                         \
    } while (0)

#define ROW(type) ((type *)output(0))

/* Which lists a function reads; what is not here is refused. */
static int is_read_by(int list, int reader) {
    return list == reader || (list == EXPLANATION && (reader == TEXTS || reader == PAIRS || reader == ROOTS)) ||
           (list == WORK_EXPLANATION && reader == PAIRS) || (list == PIPELINES && reader == TEXTS) ||
           (list == MIRRORS && reader == TEXTS);
}

static tw_status read_row(int reader, const tw_list *list) {
    switch (reader) {
    case ROOTS:
        return tw_list_root(list, 0, ROW(tw_root), sizeof(tw_root), &err);
    case REPORTS:
        return tw_list_report(list, 0, ROW(tw_report), sizeof(tw_report), &err);
    case OPERATIONS:
        return tw_list_operation(list, 0, ROW(tw_operation), sizeof(tw_operation), &err);
    case PAIRS:
        return tw_list_pair(list, 0, ROW(tw_pair), sizeof(tw_pair), &err);
    case TEXTS:
        return tw_list_text(list, 0, ROW(tw_bytes), &err);
    case EXPLANATION:
        return tw_list_explanation(list, 0, ROW(tw_explanation), sizeof(tw_explanation), &err);
    case VERIFY:
        return tw_list_verify(list, 0, ROW(tw_verify_report), sizeof(tw_verify_report), &err);
    case REBUILD:
        return tw_list_rebuild(list, 0, ROW(tw_rebuild_report), sizeof(tw_rebuild_report), &err);
    case PIPELINES:
        return tw_list_pipeline(list, 0, ROW(tw_pipeline_info), sizeof(tw_pipeline_info), &err);
    case WORK_ITEMS:
        return tw_list_work_item(list, 0, ROW(tw_work_item), sizeof(tw_work_item), &err);
    case MIRRORS:
        return tw_list_mirror(list, 0, ROW(tw_mirror_info), sizeof(tw_mirror_info), &err);
    case MIRROR_STATUS:
        return tw_list_mirror_status(list, 0, ROW(tw_mirror_status_info), sizeof(tw_mirror_status_info), &err);
    case MIRROR_REPORT:
        return tw_list_mirror_report(list, 0, ROW(tw_mirror_report), sizeof(tw_mirror_report), &err);
    case MIRROR_PLAN:
        return tw_list_mirror_plan(list, 0, ROW(tw_mirror_plan_info), sizeof(tw_mirror_plan_info), &err);
    case AUDIT:
        return tw_list_audit(list, 0, ROW(tw_audit_report), sizeof(tw_audit_report), &err);
    case URL_CHANGES:
        return tw_list_url_change(list, 0, ROW(tw_url_change), sizeof(tw_url_change), &err);
    case STREAM_ITEMS:
        return tw_list_stream_item(list, 0, ROW(tw_stream_item), sizeof(tw_stream_item), &err);
    default:
        return tw_list_work_explanation(list, 0, ROW(tw_work_explanation), sizeof(tw_work_explanation), &err);
    }
}

static void rows_of_another_type(void) {
    for (int list = 0; list < LISTS; ++list) {
        if (lists[list] == NULL) {
            continue;
        }
        for (int reader = 0; reader < LISTS; ++reader) {
            if (!is_read_by(list, reader)) {
                REFUSED(TW_STATUS_INVALID_ARGUMENT, read_row(reader, lists[list]));
            }
        }
        if (list != REPORTS && list != VERIFY) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_scan_error(lists[list], 0, 0, ROW(tw_scan_error), sizeof(tw_scan_error), &err));
        }
        if (list != VERIFY) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_difference(lists[list], 0, ROW(tw_difference), sizeof(tw_difference), &err));
        }
        if (list != PIPELINES) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_list_pipeline_root(lists[list], 0, 0, ROW(tw_bytes), &err));
            REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_list_pipeline_glob(lists[list], 0, 0, ROW(tw_bytes), &err));
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_pipeline_tier(lists[list], 0, 0, ROW(tw_tier), sizeof(tw_tier), &err));
        }
        if (list != MIRRORS) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_list_mirror_glob(lists[list], 0, 0, ROW(tw_bytes), &err));
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_mirror_content_type(lists[list], 0, 0, ROW(tw_pair), sizeof(tw_pair), &err));
        }
        if (list != STREAM_ITEMS && held[T_consumer] != NULL) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_consumer_ack(held[T_consumer], lists[list], (uint64_t *)output(0), &err));
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_consumer_ack_one(held[T_consumer], lists[list], 0, (uint64_t *)output(0), &err));
        }
        if (list != MIRROR_REPORT && list != MIRROR_PLAN) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_mirror_error(lists[list], 0, ROW(tw_mirror_error), sizeof(tw_mirror_error), &err));
        }
        if (list != MIRROR_PLAN) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_mirror_step(lists[list], 0, ROW(tw_mirror_step), sizeof(tw_mirror_step), &err));
        }
        if (list != AUDIT) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT,
                    tw_list_audit_finding(lists[list], 0, ROW(tw_audit_finding), sizeof(tw_audit_finding), &err));
        }
        if (list != OPERATIONS && list != WORK_ITEMS) {
            REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_list_arrow(lists[list], &outputs[0].stream, &err));
        }
    }
}

static void arrays_of_handles(void) {
    const tw_pipeline *wrong_ones[] = {held[T_pipeline], NULL, held[T_warden], freed[T_pipeline]};
    for (size_t i = 1; i < sizeof wrong_ones / sizeof wrong_ones[0]; ++i) {
        const tw_pipeline *two[] = {wrong_ones[0], wrong_ones[i]};
        REFUSED(TW_STATUS_INVALID_HANDLE, tw_pipelines_claim(two, 2, 1, (tw_jobs **)output(0), &err));
    }
}

static void structs_that_make_no_sense(void) {
    tw_scan_hooks bad_hooks;
    tw_completion bad;
    tw_pair bad_pair = pair;
    const tw_jobs *jobs = held[T_jobs];
    void *const no_cancels[] = {held[T_snapshot], freed[T_cancel], (void *)(uintptr_t)12345};
    tw_mirror_hooks bad_run;
    memset(&bad_hooks, 0, sizeof bad_hooks);
    memset(&bad_run, 0, sizeof bad_run);
    for (size_t i = 0; i < sizeof no_cancels / sizeof no_cancels[0]; ++i) {
        bad_hooks.cancel = no_cancels[i];
        REFUSED(TW_STATUS_INVALID_HANDLE,
                tw_warden_scan(clocked, NULL, &bad_hooks, sizeof bad_hooks, (tw_list **)output(0), &err));
        REFUSED(TW_STATUS_INVALID_HANDLE,
                tw_warden_verify(clocked, NULL, &bad_hooks, sizeof bad_hooks, (tw_list **)output(0), &err));
        bad_run.cancel = no_cancels[i];
        REFUSED(TW_STATUS_INVALID_HANDLE,
                tw_mirror_sync(held[T_mirror], 0, &bad_run, sizeof bad_run, (tw_list **)output(0), &err));
    }
    memset(&bad, 0, sizeof bad);
    bad.has_reference = 2;
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, &bad, sizeof bad, &err));
    bad.has_reference = 0;
    bad.has_refresh_at = 1;
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, &bad, sizeof bad, &err));
    bad.refresh_at_ns = INT64_MIN;
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, &bad, sizeof bad, &err));
    bad_pair.key = bytes_of(NULL, 5);
    REFUSED(TW_STATUS_INVALID_ARGUMENT,
            tw_warden_set_attrs(held[T_warden], tw_str("music/file-0001"), &bad_pair, sizeof bad_pair, 1, &err));
    bad_pair.key = tw_str("\xff");
    REFUSED(TW_STATUS_INVALID_ARGUMENT,
            tw_warden_set_attrs(held[T_warden], tw_str("music/file-0001"), &bad_pair, sizeof bad_pair, 1, &err));
    bad_pair = pair;
    bad_pair.value = bytes_of(NULL, 5);
    REFUSED(TW_STATUS_INVALID_ARGUMENT,
            tw_warden_set_attrs(held[T_warden], tw_str("music/file-0001"), &bad_pair, sizeof bad_pair, 1, &err));
}

static void what_has_ended(void) {
    tw_jobs *jobs = make_jobs();
    tw_permit *permit = make_permit();
    tw_batch *batch = make_batch();
    uint64_t seq = 0;
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_complete(jobs, 0, NULL, 0, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_fail(jobs, 1, tw_str("x"), 0, -1, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_snooze(jobs, 0, 0, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_release(jobs, 0, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_renew(jobs, 0, (int64_t *)output(0), &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_set_attr(jobs, 0, tw_str("a"), tw_str("b"), &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_attrs(jobs, 0, (tw_list **)output(0), &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_jobs_files(jobs, 0, (tw_list **)output(0), &err));
    OK(tw_jobs_free(jobs, &err));
    OK(tw_permit_done(permit, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_permit_done(permit, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_permit_throttled(permit, 1, &err));
    OK(tw_permit_free(permit, &err));
    OK(tw_batch_commit(batch, &seq, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_batch_commit(batch, (uint64_t *)output(0), &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_batch_delete(batch, tw_str("a"), tw_str("b"), &err));
    OK(tw_batch_free(batch, &err));
}

static void what_a_fleet_has_ended(void) {
    tw_shared_permit *permit = make_shared_permit();
    tw_leader *leader = make_leader();
    if (redis_url() == NULL) {
        return;
    }
    OK(tw_shared_permit_unused(permit, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_shared_permit_unused(permit, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_shared_permit_done(permit, &err));
    REFUSED(TW_STATUS_INVALID_ARGUMENT, tw_shared_permit_throttled(permit, 1, &err));
    OK(tw_shared_permit_free(permit, &err));
    OK(tw_leader_release(leader, &err));
    REFUSED(TW_STATUS_LEASE_LOST, tw_leader_renew(leader, &err));
    REFUSED(TW_STATUS_LEASE_LOST, tw_fleet_publisher(held[T_fleet], tw_str(STREAM), held[T_warden], NULL, leader,
                                                     (tw_publisher **)output(0), &err));
    OK(tw_leader_free(leader, &err));
}

static void attempt_more(void) {
    rows_of_another_type();
    arrays_of_handles();
    structs_that_make_no_sense();
    what_has_ended();
    what_a_fleet_has_ended();
}

#endif /* MISUSE_MORE_H */
