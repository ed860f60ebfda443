//! The numbers of options and of their values. They never change; those of a kind have a hundred of their own.

/// Options of `tw_warden_open`.
pub const TW_OPTIONS_OPEN: i32 = 0;
/// Options of `tw_warden_add_root` and `tw_warden_set_root_options`.
pub const TW_OPTIONS_ROOT: i32 = 1;
/// Options of `tw_warden_scan`.
pub const TW_OPTIONS_SCAN: i32 = 2;
/// Options of `tw_warden_watch`. See `tw_options_set_root_watch` too.
pub const TW_OPTIONS_WATCH: i32 = 3;
/// How one root is watched, for `tw_options_set_root_watch`.
pub const TW_OPTIONS_ROOT_WATCH: i32 = 4;
/// Which entries a listing lets through. All conditions must hold.
pub const TW_OPTIONS_FILTER: i32 = 5;
/// Options of `tw_warden_verify`.
pub const TW_OPTIONS_VERIFY: i32 = 6;
/// Options of `tw_warden_pipeline`. See `tw_options_add_tier` and `tw_options_set_group` too.
pub const TW_OPTIONS_PIPELINE: i32 = 7;
/// Options of `tw_limiter_new`.
pub const TW_OPTIONS_LIMITER: i32 = 8;

/// Flag: refuse to create a state file. Default 0.
pub const TW_OPTION_OPEN_MUST_EXIST: i32 = 100;
/// Flag: read only. Not a byte is written, the file must exist, and several readers may share it. Default 0.
pub const TW_OPTION_OPEN_READ_ONLY: i32 = 101;
/// When a commit counts as done, `TW_DURABILITY_…`. Default `TW_DURABILITY_DURABLE`.
pub const TW_OPTION_OPEN_DURABILITY: i32 = 102;
/// Bytes of the page cache. Snapshots do not use it. Default 16 MiB.
pub const TW_OPTION_OPEN_CACHE_BYTES: i32 = 103;
/// Threads of a scan, 0 to 256. Default 0: one for each processor.
pub const TW_OPTION_OPEN_THREADS: i32 = 104;
/// How long rows of the journal are kept, in milliseconds. Default 30 days.
pub const TW_OPTION_OPEN_JOURNAL_KEEP_MS: i32 = 105;
/// How many bytes of journal rows are kept at most. Default 256 MiB.
pub const TW_OPTION_OPEN_JOURNAL_KEEP_BYTES_MAX: i32 = 106;
/// How long a tombstone is kept, in milliseconds. Default 30 days.
pub const TW_OPTION_OPEN_TOMBSTONE_KEEP_MS: i32 = 107;
/// How many operations the history keeps. Default 1,000.
pub const TW_OPTION_OPEN_HISTORY_KEEP_MAX: i32 = 108;
/// A clock that stands still at this time, nanoseconds since 1970 UTC, for tests. `tw_warden_clock_advance_ms` and
/// `tw_warden_clock_set_ns` move it. Each opening gets a clock of its own. Default: the clock of the system.
pub const TW_OPTION_OPEN_MANUAL_CLOCK_NS: i32 = 109;

/// A commit is on disk and safe against power loss before a function returns.
pub const TW_DURABILITY_DURABLE: i32 = 0;
/// A commit is visible at once, and on disk with the next durable one, with `tw_warden_compact` or
/// `tw_warden_close`. A crash loses whole commits from the end, never part of one. Their numbers are given again: a
/// token that is kept outside of the state file may then skip changes; named cursors do not.
pub const TW_DURABILITY_RELAXED: i32 = 1;

/// UTF-8, each call adds one: a pattern in gitignore syntax. Later patterns win, `!pattern` takes back, one with a
/// slash is relative to the root, one that ends in a slash means directories. Default: none.
pub const TW_OPTION_ROOT_IGNORE: i32 = 200;
/// Flag: ignore names that start with `.` or end in `~`, `*.tmp`, `*.temp`, `.DS_Store` and `Thumbs.db`, before the
/// patterns of `TW_OPTION_ROOT_IGNORE`, which may take back. Default 0.
pub const TW_OPTION_ROOT_IGNORE_JUNK: i32 = 201;
/// Whether content hashes are kept, `TW_CONTENT_HASH_…`. Default `TW_CONTENT_HASH_OFF`.
pub const TW_OPTION_ROOT_CONTENT_HASH: i32 = 202;
/// What decides that a file is unchanged, `TW_COMPARE_…`. Default `TW_COMPARE_AUTO`.
pub const TW_OPTION_ROOT_COMPARE: i32 = 203;

/// Fingerprints only.
pub const TW_CONTENT_HASH_OFF: i32 = 0;
/// xxh3-128 of every file that is new or changed.
pub const TW_CONTENT_HASH_CHANGED: i32 = 1;

/// As suits the file system of the root.
pub const TW_COMPARE_AUTO: i32 = 0;
/// Kind, size, mtime, ctime and inode.
pub const TW_COMPARE_FULL: i32 = 1;
/// Without the inode number: for file systems that make numbers up, as many FUSE file systems do.
pub const TW_COMPARE_NO_INODE: i32 = 2;
/// Without the ctime: for file systems on which it changes by itself.
pub const TW_COMPARE_NO_CTIME: i32 = 3;
/// Kind, size and mtime alone: for network file systems without stable numbers.
pub const TW_COMPARE_SIZE_MTIME: i32 = 4;

/// Address, each call adds one: a root or a subtree, `music` or `music/2024`. Default: all roots.
pub const TW_OPTION_SCAN_TARGET: i32 = 300;
/// How deep to look, `TW_SCAN_…`. Default `TW_SCAN_QUICK`.
pub const TW_OPTION_SCAN_MODE: i32 = 301;
/// Which walker lists the tree, `TW_WALKER_…`. Default `TW_WALKER_AUTO`.
pub const TW_OPTION_SCAN_WALKER: i32 = 302;
/// Threads, 0 to 256. Default 0: as `TW_OPTION_OPEN_THREADS` says.
pub const TW_OPTION_SCAN_THREADS: i32 = 303;
/// Flag: apply what would otherwise be held: an emptied root, a mount point that is gone, more than half of the files
/// missing. Default 0.
pub const TW_OPTION_SCAN_ACCEPT_MISSING: i32 = 304;
/// When the result becomes visible, `TW_PUBLISH_…`. Default `TW_PUBLISH_ATOMIC`.
pub const TW_OPTION_SCAN_PUBLISH: i32 = 305;

/// Compares fingerprints; content is read where something changed.
pub const TW_SCAN_QUICK: i32 = 0;
/// Reads all content again where the root keeps hashes, and reports silent corruption.
pub const TW_SCAN_FULL: i32 = 1;

/// The best walker of this system.
pub const TW_WALKER_AUTO: i32 = 0;
/// By directory descriptors: the fastest, and free of races with renames and symlinks.
pub const TW_WALKER_FD: i32 = 1;
/// By path: portable, ends at paths longer than the system allows. A watched root is scanned by descriptors all the
/// same.
pub const TW_WALKER_JWALK: i32 = 2;

/// All of it with one commit.
pub const TW_PUBLISH_ATOMIC: i32 = 0;
/// The first scan of a root in batches as it goes; any other as `TW_PUBLISH_ATOMIC`.
pub const TW_PUBLISH_PROGRESSIVE: i32 = 1;

/// Where events come from, `TW_BACKEND_…`. Default `TW_BACKEND_AUTO`.
pub const TW_OPTION_WATCH_BACKEND: i32 = 400;
/// Directories watched at most, all roots together, at least 1. The others are polled. Default: what the system
/// allows.
pub const TW_OPTION_WATCH_WATCHES_MAX: i32 = 401;
/// Threads of the scans that the engine starts itself, 0 to 256. Default 0: as `TW_OPTION_OPEN_THREADS` says.
pub const TW_OPTION_WATCH_SCAN_THREADS: i32 = 402;
/// Niceness of those threads, 0 to 19. Linux only. Default 0.
pub const TW_OPTION_WATCH_NICE: i32 = 403;
/// Flag: scans that the engine starts itself give way while processor, memory or disk are under pressure. Linux with
/// pressure stall information only. Default 1.
pub const TW_OPTION_WATCH_YIELDS: i32 = 404;

/// inotify on Linux, the Rust crate `notify` elsewhere.
pub const TW_BACKEND_AUTO: i32 = 0;
/// inotify. Linux only.
pub const TW_BACKEND_INOTIFY: i32 = 1;
/// The Rust crate `notify`.
pub const TW_BACKEND_NOTIFY: i32 = 2;

/// The times to start from, `TW_PRESET_…`. The other options change them, set before or after it. Default
/// `TW_PRESET_DEFAULT`.
pub const TW_OPTION_ROOT_WATCH_PRESET: i32 = 500;
/// Whether the root is watched or polled, `TW_WATCH_…`. Default `TW_WATCH_AUTO`.
pub const TW_OPTION_ROOT_WATCH_MODE: i32 = 501;
/// How long a directory must be quiet before it is looked at, in milliseconds, up to an hour.
pub const TW_OPTION_ROOT_WATCH_DEBOUNCE_MS: i32 = 502;
/// After how long a directory is looked at although it is not quiet, in milliseconds, from the debounce to a day.
pub const TW_OPTION_ROOT_WATCH_MAX_WAIT_MS: i32 = 503;
/// How often a polled root, and directories without a watch, are looked at, in milliseconds, from 100 to a day.
pub const TW_OPTION_ROOT_WATCH_POLL_MS: i32 = 504;
/// UTF-8: when to scan quickly, a schedule such as `15m`, `24h`, `0 3 * * *` or `0 3 * * * Europe/Vienna`. Default:
/// never.
pub const TW_OPTION_ROOT_WATCH_QUICK: i32 = 505;
/// UTF-8: when to scan fully, a schedule as above. Default: never.
pub const TW_OPTION_ROOT_WATCH_FULL: i32 = 506;
/// UTF-8: when to scan although nothing was heard, a schedule as above; empty for never. Default: 24 hours after the
/// last whole scan, up to 15 minutes later.
pub const TW_OPTION_ROOT_WATCH_RECONCILE: i32 = 507;

/// Debounce 300 ms, at most 2 s; polls every 10 s where it must.
pub const TW_PRESET_DEFAULT: i32 = 0;
/// For some thousand files that people wait for: debounce 50 ms, at most 500 ms; polls every 2 s.
pub const TW_PRESET_SMALL: i32 = 1;
/// For hundreds of thousands of files: debounce 1 s, at most 10 s; polls every minute.
pub const TW_PRESET_LARGE: i32 = 2;
/// For a tree in which something is always written: debounce 2 s, at most 15 s; polls every 30 s.
pub const TW_PRESET_BUSY: i32 = 3;

/// Watched; polled on network file systems, which report only what this machine does.
pub const TW_WATCH_AUTO: i32 = 0;
/// Watched, whatever the file system.
pub const TW_WATCH_NATIVE: i32 = 1;
/// Polled.
pub const TW_WATCH_POLL: i32 = 2;

/// Address: only what lies at or below it. Default: everything.
pub const TW_OPTION_FILTER_UNDER: i32 = 600;
/// UTF-8: only paths, relative to `TW_OPTION_FILTER_UNDER`, that match. `*` and `?` stay within a component, `**`
/// crosses components, `[…]` and `{a,b}` as usual.
pub const TW_OPTION_FILTER_GLOB: i32 = 601;
/// Only entries of this kind, `TW_KIND_…`; `TW_KIND_DIR` includes directories.
pub const TW_OPTION_FILTER_KIND: i32 = 602;
/// Only entries of at least so many bytes.
pub const TW_OPTION_FILTER_SIZE_MIN: i32 = 603;
/// Only entries of at most so many bytes.
pub const TW_OPTION_FILTER_SIZE_MAX: i32 = 604;
/// Only entries modified at or after this time, nanoseconds since 1970 UTC.
pub const TW_OPTION_FILTER_MTIME_MIN_NS: i32 = 605;
/// Only entries modified at or before this time, nanoseconds since 1970 UTC.
pub const TW_OPTION_FILTER_MTIME_MAX_NS: i32 = 606;
/// Flag: tombstones instead of what is there. Default 0.
pub const TW_OPTION_FILTER_MISSING: i32 = 607;
/// Flag: directories too. Default 0.
pub const TW_OPTION_FILTER_WITH_DIRS: i32 = 608;
/// 1: only what lies in the directory of `TW_OPTION_FILTER_UNDER` itself, directories included; without one, the roots.
pub const TW_OPTION_FILTER_DIRECT: i32 = 609;

/// UTF-8: one root only. Default: all roots.
pub const TW_OPTION_VERIFY_ROOT: i32 = 700;
/// Flag: read content too, and compare it with the hashes that are kept. Default 0.
pub const TW_OPTION_VERIFY_CONTENT: i32 = 701;

/// UTF-8, each call adds one: work on this root. It need not exist yet. Default: all roots, present and future.
pub const TW_OPTION_PIPELINE_ROOT: i32 = 800;
/// UTF-8, each call adds one: work on files and symlinks whose path below the root matches this pattern or another one
/// that was added. At most 1,000 patterns of 4,096 bytes. Default: every file and symlink.
pub const TW_OPTION_PIPELINE_GLOB: i32 = 801;
/// Which files are one job, `TW_GROUP_…`. Default `TW_GROUP_NONE`. `tw_options_set_group` takes its place.
pub const TW_OPTION_PIPELINE_GROUP: i32 = 802;
/// Of `TW_GROUP_DEPTH`: how many components below the root files must share, 0 to 1,000.
pub const TW_OPTION_PIPELINE_GROUP_DEPTH: i32 = 803;
/// Version of what is done with a file. Another one than before makes everything changed once. Default 1.
pub const TW_OPTION_PIPELINE_VERSION: i32 = 804;
/// Class of its new files, `TW_PRIORITY_…`. Other reasons stay as many classes behind as they are by default. Default
/// `TW_PRIORITY_HIGH`.
pub const TW_OPTION_PIPELINE_PRIORITY: i32 = 805;
/// Jobs handed out at once, all workers together. Default 0: no bound.
pub const TW_OPTION_PIPELINE_CONCURRENCY: i32 = 806;
/// For how long a new or changed file must be still before it is handed out, in milliseconds, up to a day. Default
/// 1,000.
pub const TW_OPTION_PIPELINE_SETTLE_MS: i32 = 807;
/// For how long a job is held without being renewed, in milliseconds, from a second to 7 days. Default 300,000.
pub const TW_OPTION_PIPELINE_LEASE_MS: i32 = 808;
/// Wait after the first failure, in milliseconds, up to 3,660 days; it doubles each time. Default 60,000.
pub const TW_OPTION_PIPELINE_RETRY_BASE_MS: i32 = 809;
/// Longest wait after a failure, in milliseconds, from the first wait to 3,660 days. Default a day.
pub const TW_OPTION_PIPELINE_RETRY_CAP_MS: i32 = 810;
/// Failures of the same content in a row after which it is dead, 1 to 1,000. Default 5.
pub const TW_OPTION_PIPELINE_ATTEMPTS_MAX: i32 = 811;
/// Flag: each wait is longer by a random 0 to 10 percent. Default 1.
pub const TW_OPTION_PIPELINE_RETRY_JITTER: i32 = 812;
/// When a completed item is done anew although it did not change, `TW_REFRESH_…`. Default `TW_REFRESH_NEVER`.
pub const TW_OPTION_PIPELINE_REFRESH: i32 = 813;
/// Of `TW_REFRESH_AFTER`: so many milliseconds after its completion, from a second to 3,660 days.
pub const TW_OPTION_PIPELINE_REFRESH_AFTER_MS: i32 = 814;
/// UTF-8: hand out what is to be refreshed in runs only, a schedule such as `0 3 * * *`. Default: whenever it is due.
pub const TW_OPTION_PIPELINE_REFRESH_SCHEDULE: i32 = 815;
/// Of `TW_OPTION_PIPELINE_REFRESH_SCHEDULE`: items between two pauses, at least 1. Default: all of them.
pub const TW_OPTION_PIPELINE_REFRESH_BATCH: i32 = 816;
/// Of `TW_OPTION_PIPELINE_REFRESH_SCHEDULE`: the pause, in milliseconds, up to a day. Default 0.
pub const TW_OPTION_PIPELINE_REFRESH_GAP_MS: i32 = 817;
/// Jobs that begin in any stretch of `TW_OPTION_PIPELINE_RATE_WINDOW_MS` at most, 1 to 1,000,000. Default: no limit.
pub const TW_OPTION_PIPELINE_RATE_LIMIT: i32 = 818;
/// That stretch, in milliseconds, up to 30 days. It is needed with `TW_OPTION_PIPELINE_RATE_LIMIT`.
pub const TW_OPTION_PIPELINE_RATE_WINDOW_MS: i32 = 819;
/// Flag: jobs begin evenly spread over the window, without bursts. Default 1.
pub const TW_OPTION_PIPELINE_RATE_PACING: i32 = 820;
/// How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default 200.
pub const TW_OPTION_PIPELINE_RATE_FLOOR_PERMILLE: i32 = 821;
/// Leases in a row whose process ended, after which a job is dead. Default 100; 0 for never.
pub const TW_OPTION_PIPELINE_CRASHES_MAX: i32 = 822;
/// Flag: a file that was moved is done anew. Default 0.
pub const TW_OPTION_PIPELINE_PATHS_MATTER: i32 = 823;

/// Each file by itself; it keeps its record when it moves.
pub const TW_GROUP_NONE: i32 = 0;
/// The files that lie directly in one directory.
pub const TW_GROUP_PARENT: i32 = 1;
/// The files that share their first `TW_OPTION_PIPELINE_GROUP_DEPTH` components.
pub const TW_GROUP_DEPTH: i32 = 2;
/// The files whose paths differ in the last extension only.
pub const TW_GROUP_STEM: i32 = 3;

/// Never.
pub const TW_REFRESH_NEVER: i32 = 0;
/// So long after its completion.
pub const TW_REFRESH_AFTER: i32 = 1;
/// By the age of the file at its completion: by the tiers of `tw_options_add_tier`, or, where there are none, after 3
/// days what is younger than 30 days, after 14 days what is younger than 180, after 30 days what is younger than 365,
/// after 90 days what is younger than 1,825, and after 180 days else.
pub const TW_REFRESH_TIERS: i32 = 2;
/// When the completion says.
pub const TW_REFRESH_AT_COMPLETION: i32 = 3;

/// Requests in any stretch of `TW_OPTION_LIMITER_WINDOW_MS` at most, 1 to 1,000,000. Needed.
pub const TW_OPTION_LIMITER_LIMIT: i32 = 900;
/// That stretch, in milliseconds, up to 30 days. Needed.
pub const TW_OPTION_LIMITER_WINDOW_MS: i32 = 901;
/// Flag: requests are spread evenly over the window, without bursts. Default 1.
pub const TW_OPTION_LIMITER_PACING: i32 = 902;
/// How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default 200.
pub const TW_OPTION_LIMITER_FLOOR_PERMILLE: i32 = 903;
