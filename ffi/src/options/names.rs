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
/// Options of `tw_limiter_new` and `tw_fleet_limiter`.
pub const TW_OPTIONS_LIMITER: i32 = 8;
/// Options of `tw_warden_mirror`.
pub const TW_OPTIONS_MIRROR: i32 = 9;
/// Options of `tw_snapshot_export` and `tw_changes_export`.
pub const TW_OPTIONS_EXPORT: i32 = 10;
/// Options of `tw_fleet_connect`.
pub const TW_OPTIONS_FLEET: i32 = 11;
/// Options of `tw_fleet_publisher`.
pub const TW_OPTIONS_PUBLISHER: i32 = 12;
/// Options of `tw_fleet_consumer`.
pub const TW_OPTIONS_CONSUMER: i32 = 13;

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
/// The files for which a function gives the same key. `tw_list_pipeline` tells it; it is set by `tw_options_set_group`,
/// not as a number.
pub const TW_GROUP_FUNCTION: i32 = 4;

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
/// How far throttling may lower the limit, in thousandths of it, 10 to 1,000. Default 200. Not for `tw_fleet_limiter`.
pub const TW_OPTION_LIMITER_FLOOR_PERMILLE: i32 = 903;

/// Address: copy every file at or below it, `photos` or `photos/public`. Needed with `TW_OPTION_MIRROR_TARGET`, and for
/// `tw_warden_mirror_storage`; without both a mirror is opened as it was made, and only credentials and a CDN can be
/// given.
pub const TW_OPTION_MIRROR_ADDRESS: i32 = 1000;
/// UTF-8, where to: `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://ACCOUNT/CONTAINER[/PREFIX]`, `file:///DIR`
/// for a directory of this machine that is there, or `local+https://HOST/BASE` for files that a server shows as they
/// lie. The prefix stands as it is, the directory percent-encoded. No user name, no password, no query.
pub const TW_OPTION_MIRROR_TARGET: i32 = 1001;
/// UTF-8: send requests there instead of to the store's own address, `https://HOST[:PORT]`; with `http://` others can
/// read along.
pub const TW_OPTION_MIRROR_ENDPOINT: i32 = 1002;
/// UTF-8: the region of an S3 bucket. Default `us-east-1`.
pub const TW_OPTION_MIRROR_REGION: i32 = 1003;
/// Flag: the name of an S3 bucket is part of the host name, not of the path. Default 0.
pub const TW_OPTION_MIRROR_VIRTUAL_HOSTED: i32 = 1004;
/// Flag: entity tags of an S3 bucket are no MD5 sums, as with KMS encryption. Default 0: what the store answers is
/// compared with what was sent.
pub const TW_OPTION_MIRROR_OPAQUE_ETAGS: i32 = 1005;
/// UTF-8: what the URLs of the objects begin with, for those who read them. Default: none, and no file has a URL.
pub const TW_OPTION_MIRROR_PUBLIC_URL: i32 = 1006;
/// UTF-8: what every key begins with, before a slash. For a target without a prefix of its own. Default: nothing.
pub const TW_OPTION_MIRROR_PREFIX: i32 = 1007;
/// UTF-8, each call adds one: copy only files whose path below the address matches this pattern or another one that was
/// added, with the syntax of `TW_OPTION_PIPELINE_GLOB`. At most 1,000. Default: every file.
pub const TW_OPTION_MIRROR_GLOB: i32 = 1008;
/// UTF-8: `Cache-Control` of every object. Default: none.
pub const TW_OPTION_MIRROR_CACHE_CONTROL: i32 = 1009;
/// UTF-8, each call adds one: `EXTENSION=TYPE`, as in `jxl=image/jxl`: the content type of files with this extension.
/// Those that are usual are known.
pub const TW_OPTION_MIRROR_CONTENT_TYPE: i32 = 1010;
/// Files that are sent at a time, 1 to 1,000. Default 10.
pub const TW_OPTION_MIRROR_UPLOADS_MAX: i32 = 1011;
/// Bytes up to which a file is sent in one piece, and of the parts of larger ones, 5 MiB to 5 GiB. Default 8 MiB.
pub const TW_OPTION_MIRROR_PART_BYTES: i32 = 1012;
/// Bytes of files that are in memory at a time, over all uploads, at least one part. Default 64 MiB.
pub const TW_OPTION_MIRROR_MEMORY_BYTES: i32 = 1013;
/// Bytes a second that are sent at most, over all uploads, at least 1. Default: no limit.
pub const TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S: i32 = 1014;
/// How often a request is tried in one run, 1 to 1,000. Default 5.
pub const TW_OPTION_MIRROR_ATTEMPTS_MAX: i32 = 1015;
/// Wait before the second attempt, in milliseconds, 1 to a day; it doubles each time. Default 200.
pub const TW_OPTION_MIRROR_BACKOFF_MS: i32 = 1016;
/// Longest wait before an attempt, in milliseconds, from the first wait to a day. Default 20,000.
pub const TW_OPTION_MIRROR_BACKOFF_MAX_MS: i32 = 1017;
/// Deletions of one run beyond which all of them wait for confirmation; 0: every one waits. Default 10,000. See
/// `tw_mirror_sync`.
pub const TW_OPTION_MIRROR_DELETE_MAX: i32 = 1018;
/// Share of all objects, in percent, beyond which 100 deletions or more wait for confirmation, 0 to 100. Default 50.
pub const TW_OPTION_MIRROR_DELETE_SHARE_PERCENT: i32 = 1019;
/// For how long a file must be still before it is sent, in milliseconds, up to a day. Default 1,000.
pub const TW_OPTION_MIRROR_SETTLE_MS: i32 = 1020;
/// Flag: the CDN is told of new objects too, not of changed and deleted ones alone. Default 0.
pub const TW_OPTION_MIRROR_PURGE_NEW: i32 = 1021;

/// UTF-8: the id of an access key, for S3. With `TW_OPTION_MIRROR_SECRET_KEY`. Credentials are in no state file and no
/// message: they are given whenever the mirror is opened. One kind of them at a time; a directory needs none.
pub const TW_OPTION_MIRROR_ACCESS_KEY: i32 = 1022;
/// UTF-8: the secret of that key.
pub const TW_OPTION_MIRROR_SECRET_KEY: i32 = 1023;
/// UTF-8: the token that a temporary key comes with. Once it has expired, open the mirror with a new one.
pub const TW_OPTION_MIRROR_SESSION_TOKEN: i32 = 1024;
/// Flag: requests without a signature, for a store that lets everybody write. Default 0.
pub const TW_OPTION_MIRROR_ANONYMOUS: i32 = 1025;
/// Flag: the credentials of the machine itself, from the metadata service of its cloud. Default 0.
pub const TW_OPTION_MIRROR_INSTANCE: i32 = 1026;
/// UTF-8: the key of an Azure storage account, in Base64.
pub const TW_OPTION_MIRROR_AZURE_KEY: i32 = 1027;
/// UTF-8: a shared access signature of Azure, `sv=…&sig=…`.
pub const TW_OPTION_MIRROR_AZURE_SAS: i32 = 1028;
/// UTF-8: the key of a service account of Google Cloud: the JSON text, not the name of its file.
pub const TW_OPTION_MIRROR_SERVICE_ACCOUNT: i32 = 1029;
/// UTF-8: a bearer token for Google Cloud. Once it has expired, open the mirror with a new one.
pub const TW_OPTION_MIRROR_GCS_TOKEN: i32 = 1030;

/// UTF-8: the id of a zone of Cloudflare, which is told of changed and deleted objects. With
/// `TW_OPTION_MIRROR_CLOUDFLARE_TOKEN`. A CDN is given whenever the mirror is opened, too. Default: no CDN.
pub const TW_OPTION_MIRROR_CLOUDFLARE_ZONE: i32 = 1031;
/// UTF-8: an API token that may purge the cache of this zone.
pub const TW_OPTION_MIRROR_CLOUDFLARE_TOKEN: i32 = 1032;
/// UTF-8: where the API is, for a gateway in front of it: `https`, or `http` on this machine. Default: Cloudflare.
pub const TW_OPTION_MIRROR_CLOUDFLARE_ENDPOINT: i32 = 1033;
/// URLs of one request at most, 1 to 500. Default 30, which every plan takes.
pub const TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX: i32 = 1034;

/// UTF-8: what tells the trees of this machine from those of others, 1 to 255 bytes without `/` and control characters.
/// A partitioned export needs it.
pub const TW_OPTION_EXPORT_HOST: i32 = 1100;
/// UTF-8: a token, as `tw_warden_token` gives it: the files then say which database they come from.
pub const TW_OPTION_EXPORT_TOKEN: i32 = 1101;
/// Flag: a directory with one file for each root, `host=HOST/root=ROOT/part-SEQ.parquet` for a snapshot and
/// `changes-SEQ.parquet` for changes, as DuckDB, Hive and Arrow read it. Default 0: one file.
pub const TW_OPTION_EXPORT_PARTITIONED: i32 = 1102;
/// Flag: an existing Parquet file is replaced, in one step. What is no Parquet file never is. Default 0.
pub const TW_OPTION_EXPORT_REPLACE: i32 = 1103;

/// UTF-8: what all keys in Redis begin with, 1 to 255 bytes without `/` and control characters. Fleets with different
/// prefixes know nothing of each other. Default `treewarden`.
pub const TW_OPTION_FLEET_PREFIX: i32 = 1200;
/// How long making a connection may take, in milliseconds, 1 to an hour. Resolving the name of the host is up to the
/// system, and takes as long as that takes. Default 2,000.
pub const TW_OPTION_FLEET_CONNECT_TIMEOUT_MS: i32 = 1201;
/// How long an answer may be awaited without a byte of it, in milliseconds, 1 to an hour. Default 2,000.
pub const TW_OPTION_FLEET_COMMAND_TIMEOUT_MS: i32 = 1202;
/// Flag: connect when it is needed first, for programs that may start before Redis does. Default 0.
pub const TW_OPTION_FLEET_LATER: i32 = 1203;

/// UTF-8: the changes of this root alone. Default: of all roots.
pub const TW_OPTION_PUBLISHER_ROOT: i32 = 1300;
/// How many entries the stream keeps at least, 1 to a billion. Older ones are cut off, whether they were read or not; a
/// group that has not read them yet gets `TW_STATUS_RESET`. Default 100,000.
pub const TW_OPTION_PUBLISHER_ENTRIES_MAX: i32 = 1301;

/// For how long a change may lie unacknowledged with another consumer, dead or slow, before this one takes it over, in
/// milliseconds, 1 to 7 days. Longer than the longest work, or work is done twice. Default 300,000.
pub const TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS: i32 = 1400;
