"""What misuse.py knows of the interface: valid arguments, what is no misuse although it looks so, numbers to try."""

from __future__ import annotations

INT64_MAX, INT64_MIN, SIZE_MAX = "INT64_MAX", "INT64_MIN", "SIZE_MAX"
INVALID, NOT_FOUND, OK, RESET = (f"TW_STATUS_{name}" for name in ("INVALID_ARGUMENT", "NOT_FOUND", "OK", "RESET"))
CLOSED, BAD_HANDLE, NO_TIME = (f"TW_STATUS_{name}" for name in ("CLOSED", "INVALID_HANDLE", "TIMEOUT"))
ANY, UNTRIED = "ANY", "UNTRIED"

# Valid arguments, by the name of the parameter or by function and parameter: C expressions.
VALUES = {
    "accept_deletes": "0",
    "address": 'tw_str("music/file-0001")',
    "after": "0",
    "after_ms": "5000",
    "bytes": 'tw_str("a")',
    "capacity": "2",
    "changes_max": "10",
    "completion": "&completion",
    "cost": "1",
    "count": "1",
    "cursor": 'tw_str("cursor")',
    "delete_unknown": "0",
    "dir": 'tw_str(in_dir("second"))',
    "etag": 'tw_str("tag")',
    "events_max": "10",
    "expected": "&some_bytes",
    "group": 'tw_str("group")',
    "header": 'tw_str("120")',
    "hold_max_ms": "1000",
    "hooks": "&hooks",
    "index": "0",
    "is_permanent": "0",
    "items_max": "10",
    "keep": "0",
    "key": 'tw_str("key")',
    "kind": "TW_OPTIONS_SCAN",
    "level_max": "TW_LOG_WARN",
    "limit": "9",
    "mirror_index": "0",
    "jobs_max": "1",
    "ms": "1",
    "name": 'tw_str("name")',
    "now_ns": "0",
    "pairs": "&pair",
    "pipeline_index": "0",
    "pipelines": "pipelines",
    "prefix": 'tw_str("k")',
    "priority": "TW_PRIORITY_LOW",
    "repair": "0",
    "report_index": "0",
    "retry_after_ms": "0",
    "room": "TW_TOKEN_ROOM",
    "root": 'tw_str("music")',
    "seq": "1",
    "since": "0",
    "size": "5",
    "space": 'tw_str("space")',
    "state": "-1",
    "storage": "&storage",
    "stream": 'tw_str(STREAM)',
    "threads": "1",
    "timeout_ms": "0",
    "token": "tw_str(token)",
    "ttl_ms": "1000",
    "url": 'tw_str(URL "/file-0001")',
    "value": 'tw_str("value")',
    "wait_ms": "0",
    "why": 'tw_str("why")',
    "younger_than_ms": "-1",
    "tw_batch_compare_and_set.value": "&some_bytes",
    "tw_changes_export.path": 'tw_str(in_dir(numbered("changes.parquet")))',
    "tw_fleet_connect.url": "tw_str(redis_url())",
    "tw_jobs_attr.name": 'tw_str("name")',
    "tw_lease_acquire.timeout_ms": "30000",
    "tw_limiter_acquire.timeout_ms": "1000",
    "tw_mirror_follow.mirror": "unfollowed",
    "tw_mirror_sync.hooks": "&mirror_hooks",
    "tw_options_set_bytes.option": "TW_OPTION_SCAN_TARGET",
    "tw_options_set_int.option": "TW_OPTION_SCAN_THREADS",
    "tw_options_set_int.value": "1",
    "tw_pipelines_claim.count": "2",
    "tw_publisher_run.publisher": "stopped()",  # else it has no end
    "tw_rebuild.path": 'tw_str(in_dir("rebuilt.tw"))',
    "tw_shared_limiter_acquire.timeout_ms": "30000",
    "tw_snapshot_export.path": 'tw_str(in_dir(numbered("all.parquet")))',
    "tw_snapshot_get_missing.address": 'tw_str("music/gone")',
    "tw_space_compare_and_set.value": "&some_bytes",
    "tw_space_items.after": 'tw_str("a")',
    "tw_space_items.limit": "5",
    "tw_warden_add_root.name": 'tw_str("new")',
    "tw_warden_mirror.name": 'tw_str("again")',
    "tw_warden_mirror_storage.name": 'tw_str("own")',
    "tw_warden_mirror_storage.options": "storage_options",
    "tw_warden_move_root.name": 'tw_str("music")',
    "tw_warden_open.path": 'tw_str(in_dir("opened.tw"))',
    "tw_warden_pipeline.name": 'tw_str("jobs")',
    "tw_warden_remove_mirror.name": 'tw_str("old")',
    "tw_warden_remove_pipeline.name": 'tw_str("old")',
    "tw_warden_remove_root.name": 'tw_str("music")',
    "tw_warden_set_root_options.name": 'tw_str("music")',
}

# Handles that are not `held[T_type]`: those of what cannot be undone, and those of another shape.
SPARED = ("close", "unwatch", "add_root", "move_root", "remove_root", "set_root_options")
SPARED += ("remove_pipeline", "remove_mirror")
VALUES.update({f"tw_warden_{name}.warden": "spare()" for name in SPARED})
VALUES.update({f"tw_warden_{name}.warden": "clocked" for name in ("clock_advance_ms", "clock_set_ns")})
VALUES.update({f"tw_changes_{name}.changes": "delivery" for name in ("ack", "upto")})
VALUES.update({"tw_pipeline_work.pipeline": "idle", "tw_pipeline_limiter.pipeline": "rated"})
ROWS = {
    "arrow": "OPERATIONS",
    "audit": "AUDIT",
    "audit_finding": "AUDIT",
    "difference": "VERIFY",
    "explanation": "EXPLANATION",
    "len": "ROOTS",
    "mirror": "MIRRORS",
    "mirror_content_type": "MIRRORS",
    "mirror_error": "MIRROR_REPORT",
    "mirror_glob": "MIRRORS",
    "mirror_plan": "MIRROR_PLAN",
    "mirror_report": "MIRROR_REPORT",
    "mirror_status": "MIRROR_STATUS",
    "mirror_step": "MIRROR_PLAN",
    "operation": "OPERATIONS",
    "pair": "PAIRS",
    "pipeline": "PIPELINES",
    "pipeline_glob": "PIPELINES",
    "pipeline_root": "PIPELINES",
    "pipeline_tier": "PIPELINES",
    "rebuild": "REBUILD",
    "report": "REPORTS",
    "root": "ROOTS",
    "scan_error": "VERIFY",
    "stream_item": "STREAM_ITEMS",
    "text": "TEXTS",
    "url_change": "URL_CHANGES",
    "verify": "VERIFY",
    "work_explanation": "WORK_EXPLANATION",
    "work_item": "WORK_ITEMS",
}
VALUES.update({f"tw_list_{name}.list": f"lists[{rows}]" for name, rows in ROWS.items()})
VALUES.update({f"tw_consumer_{name}.items": "lists[STREAM_ITEMS]" for name in ("ack", "ack_one")})

# Which kind of options a function takes.
KINDS = {
    "tw_changes_export.options": "EXPORT",
    "tw_fleet_connect.options": "FLEET",
    "tw_fleet_consumer.options": "CONSUMER",
    "tw_fleet_limiter.options": "LIMITER",
    "tw_fleet_publisher.options": "PUBLISHER",
    "tw_limiter_new.options": "LIMITER",
    "tw_options_add_tier.pipeline": "PIPELINE",
    "tw_options_set_bytes.options": "SCAN",
    "tw_options_set_group.pipeline": "PIPELINE",
    "tw_options_set_int.options": "SCAN",
    "tw_options_set_root_watch.root_watch": "ROOT_WATCH",
    "tw_options_set_root_watch.watch": "WATCH",
    "tw_snapshot_arrow.filter": "FILTER",
    "tw_snapshot_export.filter": "FILTER",
    "tw_snapshot_export.options": "EXPORT",
    "tw_snapshot_iter.filter": "FILTER",
    "tw_warden_add_root.options": "ROOT",
    "tw_warden_mirror.options": "MIRROR",
    "tw_warden_mirror_storage.options": "MIRROR",
    "tw_warden_open.options": "OPEN",
    "tw_warden_pipeline.options": "PIPELINE",
    "tw_warden_scan.options": "SCAN",
    "tw_warden_set_root_options.options": "ROOT",
    "tw_warden_verify.options": "VERIFY",
    "tw_warden_watch.options": "WATCH",
}

CALLBACKS = {
    "tw_delivery_fn": "no_delivery",
    "tw_event_fn": "no_event",
    "tw_group_fn": "one_group",
    "tw_log_fn": "no_line",
    "tw_worker_fn": "no_work",
    "tw_finalizer": "finalize",
}

# NULL that the header allows, and what comes of it.
NULL_IS_FINE = {f"{function}": OK for function in KINDS if not function.startswith("tw_options")}
NULL_IS_FINE.update(
    {
        "tw_fleet_limiter.options": INVALID,  # a limit and a window are needed
        "tw_fleet_publisher.leader": OK,
        "tw_limiter_new.options": INVALID,  # as above
        "tw_options_set_root_watch.root_watch": OK,
        "tw_batch_compare_and_set.expected": OK,
        "tw_batch_compare_and_set.value": OK,
        "tw_jobs_complete.completion": OK,
        "tw_jobs_complete_all.statuses": OK,
        "tw_jobs_note_completion.completion": INVALID,  # no worker has these jobs
        "tw_mirror_sync.hooks": OK,
        "tw_set_log.callback": OK,
        "tw_space_compare_and_set.expected": "TW_STATUS_CONFLICT",  # something is there
        "tw_space_compare_and_set.value": OK,
        "tw_warden_mirror_storage.options": INVALID,  # an address is needed
        "tw_warden_scan.hooks": OK,
        "tw_warden_verify.hooks": OK,
    }
)

# What a call comes to that has nothing wrong, where that is not TW_STATUS_OK.
BASES = {
    "tw_call_add_object": INVALID,  # the call is a `put`
    "tw_events_next": ANY,
    "tw_follow_next": ANY,
    "tw_follow_advance": ANY,
    "tw_jobs_note_completion": INVALID,
    "tw_jobs_note_failure": INVALID,
    "tw_list_mirror_error": NOT_FOUND,
    "tw_list_scan_error": NOT_FOUND,
    "tw_rebuild": OK,
    "tw_shared_limiter_try_acquire": ANY,  # as soon as the next one is due
    "tw_shared_limiter_waiting": NOT_FOUND,  # nobody does
    "tw_warden_sync": ANY,
}

# Numbers that are tried, and what comes of them; by parameter, or by function and parameter.
SIZES = {"0": INVALID, "1": INVALID, "-1": INVALID, "12345": INVALID}
INDEXES = {"-1": NOT_FOUND, "12345": NOT_FOUND}
FREE = {"0": ANY, "-1": ANY, "12345": ANY, INT64_MAX: ANY, INT64_MIN: ANY}
FLAGS = {"-1": INVALID, "2": INVALID, "12345": INVALID}
TIMES = {"-1": INVALID, "0": INVALID, "12345": OK, INT64_MAX: INVALID, INT64_MIN: INVALID}
NUMBERS: dict[str, dict[str, str]] = {
    "accept_deletes": FLAGS,
    "after": FREE,
    "after_ms": {"-1": INVALID, "0": INVALID, "12345": OK, INT64_MAX: INVALID, INT64_MIN: INVALID},
    "capacity": {"0": INVALID, "-1": INVALID},
    "changes_max": FREE,
    "cost": {"0": INVALID, "-1": INVALID, "12345": INVALID},
    "count": {"-1": INVALID, "0": OK},
    "delete_unknown": FLAGS,
    "events_max": FREE,
    "hold_max_ms": TIMES,
    "index": INDEXES,
    "is_permanent": FLAGS,
    "items_max": FREE,
    "jobs_max": {"0": INVALID, "-1": ANY, "12345": ANY},
    "keep": FLAGS,
    "kind": {"-1": INVALID, "14": INVALID, "12345": INVALID},
    "level_max": {"-1": INVALID, "6": INVALID, "12345": INVALID},
    "limit": FREE,
    "mirror_index": INDEXES,
    "ms": {"-1": INVALID, "12345": OK, INT64_MAX: OK, INT64_MIN: INVALID},
    "now_ns": FREE,
    "option": {"-1": INVALID, "0": INVALID, "12345": INVALID, "INT32_MAX": INVALID, "(uint64_t)INT32_MIN": INVALID},
    "pipeline_index": INDEXES,
    "priority": {"-1": INVALID, "5": INVALID, "12345": INVALID},
    "repair": FLAGS,
    "report_index": INDEXES,
    "retry_after_ms": FREE,
    "room": {"0": INVALID, "1": INVALID, "-1": INVALID},
    "seq": FREE,
    "size": FREE,
    "since": {"-1": RESET, "12345": RESET, INT64_MAX: RESET},
    "state": {"-2": INVALID, "7": INVALID, "12345": INVALID},
    "threads": {"0": INVALID, "-1": INVALID, "12345": INVALID},
    "timeout_ms": {},  # everything else waits
    "ttl_ms": TIMES,
    "wait_ms": {"-1": INVALID, "12345": ANY, INT64_MAX: ANY, INT64_MIN: INVALID},
    "younger_than_ms": FREE,
    "tw_follow_advance.seq": {"-1": INVALID, "12345": INVALID, INT64_MAX: INVALID},
    "tw_options_set_int.value": {"-1": INVALID, "12345": INVALID, INT64_MAX: INVALID, INT64_MIN: INVALID},
}

# Names are text: bytes that are no UTF-8 make none.
TEXTS = {"name", "space", "cursor", "header", "token", "root", "url", "stream", "group"}
TEXTS_TOO = {"tw_batch_set_attr.name", "tw_batch_remove_attr.name", "tw_call_add_object.key"}
TEXTS_TOO |= {"tw_call_add_object.etag", "tw_call_note_etag.etag"}

# What a closed warden still does: what it has in memory is told, queues say that it is closed when they are asked.
# Those that only compare the disk with what is in memory may do so.
FROM_MEMORY = ("batch", "close", "follow", "is_watching", "mirror_status", "seq", "snapshot", "subscribe", "token")
FROM_MEMORY += ("unwatch",)
CLOSED_DOES = {f"tw_warden_{name}": OK for name in FROM_MEMORY}
CLOSED_DOES.update(
    {
        "tw_events_listen": OK,
        "tw_fleet_publisher": OK,  # as following a name
        "tw_warden_attrs": NOT_FOUND,  # it has no such entry
        "tw_warden_changes_since_token": RESET,  # of another state file
        "tw_warden_clock_advance_ms": INVALID,
        "tw_warden_clock_set_ns": INVALID,
        "tw_warden_explain": ANY,
        "tw_warden_verify": ANY,
    }
)
