//! The JSON objects that several commands share. Their names are a contract: scripts read them.

use std::borrow::Cow;

use serde::Serialize;
use treewarden::{ContentHash, EntryRef, RootInfo, RootState, ScanError, escape};

use crate::address::{os_bytes, relative};
use crate::text::base64;

/// A path in JSON: as it is when it is UTF-8, else escaped and, beside it, exactly in base64.
pub(crate) fn path(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (Cow::Owned(escape(bytes)), Some(base64(bytes))),
    }
}

/// One entry: a line of `ls`, a part of `explain`.
#[derive(Serialize)]
pub(crate) struct EntryLine<'a> {
    root: &'a str,
    path: Cow<'a, str>,
    kind: &'static str,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    mode: u32,
    seq: u64,
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_since_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
}

impl<'a> EntryLine<'a> {
    /// `address` is that of the entry.
    pub(crate) fn new(entry: &'a EntryRef<'a>, address: &'a [u8]) -> EntryLine<'a> {
        let root = entry.root();
        let (text, path_b64) = path(relative(root, address));
        let (target, target_b64) = entry.target().map(path).unzip();
        EntryLine {
            root,
            path: text,
            kind: entry.kind().name(),
            size: entry.size(),
            mtime_ns: entry.mtime_ns(),
            ctime_ns: entry.ctime_ns(),
            inode: entry.inode(),
            mode: entry.mode(),
            seq: entry.seq(),
            id: entry.id(),
            hash: entry.hash().map(|hash| format!("{hash:032x}")),
            target,
            missing_since_ns: entry.missing_since_ns(),
            path_b64,
            target_b64: target_b64.flatten(),
        }
    }
}

/// How many of how many known files were not there.
#[derive(Serialize)]
pub(crate) struct HeldPart {
    pub(crate) missing: u64,
    pub(crate) of: u64,
}

/// One place that could not be read.
#[derive(Serialize)]
pub(crate) struct ErrorPart<'a> {
    path: Cow<'a, str>,
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl<'a> ErrorPart<'a> {
    /// With the path relative to `root`, or the full address when there is no one root.
    pub(crate) fn new(root: Option<&str>, error: &'a ScanError) -> ErrorPart<'a> {
        let address = error.path.as_slice();
        let (text, path_b64) = path(root.map_or(address, |root| relative(root, address)));
        ErrorPart { path: text, kind: error.kind.name(), message: &error.message, path_b64 }
    }
}

/// One root: a line of `roots`, a part of `status`. Its `path` is a path of the file system.
#[derive(Serialize)]
pub(crate) struct RootLine<'a> {
    root: &'a str,
    path: Cow<'a, str>,
    id: u32,
    state: &'static str,
    held: Option<HeldPart>,
    unavailable: Option<&'a str>,
    files: u64,
    dirs: u64,
    bytes: u64,
    last_scan_ns: Option<i64>,
    content_hash: &'static str,
    compare: &'static str,
    fs_type: &'a str,
    ignore: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl<'a> RootLine<'a> {
    pub(crate) fn new(root: &'a RootInfo) -> RootLine<'a> {
        let (text, path_b64) = path(os_bytes(root.path.as_os_str()));
        RootLine {
            root: &root.name,
            path: text,
            id: root.id,
            state: state_name(&root.state),
            held: match &root.state {
                RootState::Held { missing, of } => Some(HeldPart { missing: *missing, of: *of }),
                _ => None,
            },
            unavailable: match &root.state {
                RootState::Unavailable { reason } => Some(reason.as_str()),
                _ => None,
            },
            files: root.totals.files,
            dirs: root.totals.dirs,
            bytes: root.totals.bytes,
            last_scan_ns: root.last_scan_ns,
            content_hash: hash_name(root.content_hash),
            compare: root.compare.name(),
            fs_type: &root.fs_type,
            ignore: &root.ignore,
            path_b64,
        }
    }
}

pub(crate) fn state_name(state: &RootState) -> &'static str {
    match state {
        RootState::New => "new",
        RootState::Ready => "ready",
        RootState::Unavailable { .. } => "unavailable",
        RootState::Held { .. } => "held",
    }
}

pub(crate) fn hash_name(hash: ContentHash) -> &'static str {
    match hash {
        ContentHash::Off => "off",
        ContentHash::Changed => "changed",
    }
}
