//! One error for the whole engine: a flat kind with a stable number, a sentence, the path it is
//! about and, where it helps, a hint. The numbers are shared by Rust, C and Python and never change.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, to what, and what to do about it.
///
/// `Display` prints one sentence and, on a second line, a `hint:` where there is one. Bytes of
/// file names are escaped, so a message never carries a control character.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<Vec<u8>>,
    hint: Option<String>,
    restart_seq: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kind of an [`Error`]. The numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorKind {
    /// An argument has no meaning: an empty name, a bad glob, an address with `..`.
    InvalidArgument = 1,
    /// The root, entry, directory or file does not exist.
    NotFound = 2,
    /// The name is taken.
    AlreadyExists = 3,
    /// Another process, or another handle in this one, holds the state file.
    Busy = 4,
    /// The operating system refuses access.
    PermissionDenied = 5,
    /// The root cannot be trusted at the moment; nothing was changed.
    Unavailable = 6,
    /// Too much would become missing; waits for `accept_missing`.
    Held = 7,
    /// The caller cancelled.
    Cancelled = 8,
    /// The journal cannot continue from that place: read the snapshot, then go on from
    /// [`Error::restart_seq`].
    Reset = 9,
    /// A compare-and-set found another value, or a batch raced with a removal.
    Conflict = 10,
    /// A key, value or name is over its limit.
    TooLarge = 11,
    /// The state file is damaged.
    Corrupt = 12,
    /// The file is not a Treewarden state file.
    NotAStateFile = 13,
    /// The state file was written by a newer version.
    NewerFormat = 14,
    /// The state file was opened for reading only, or lies on a read-only file system.
    ReadOnly = 15,
    /// The disk (or quota) that holds the state file is full.
    StorageFull = 16,
    /// Any other failure of the operating system.
    Io = 17,
    /// The warden has been closed.
    Closed = 18,
    /// A thread of the engine has failed; snapshots stay readable, everything else is refused.
    Poisoned = 19,
    /// The operation does not exist on this system or for this root.
    Unsupported = 20,
    /// It did not happen in time; what was asked for goes on.
    Timeout = 21,
    /// The lease of a job has run out, and the job was handed out again: nothing was recorded.
    LeaseLost = 22,
    /// A bug in the engine: a part of it failed and was set up anew. Nothing that was acknowledged is lost.
    Panic = 23,
    /// The handle was made before a `fork`, and this is the child.
    Forked = 24,
}

impl ErrorKind {
    /// Returns the stable number.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Returns the stable name in snake case, for example `not_found`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Busy => "busy",
            Self::PermissionDenied => "permission_denied",
            Self::Unavailable => "unavailable",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
            Self::Reset => "reset",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Corrupt => "corrupt",
            Self::NotAStateFile => "not_a_state_file",
            Self::NewerFormat => "newer_format",
            Self::ReadOnly => "read_only",
            Self::StorageFull => "storage_full",
            Self::Io => "io",
            Self::Closed => "closed",
            Self::Poisoned => "poisoned",
            Self::Unsupported => "unsupported",
            Self::Timeout => "timeout",
            Self::LeaseLost => "lease_lost",
            Self::Panic => "panic",
            Self::Forked => "forked",
        }
    }

    /// Classifies an error of the operating system.
    #[must_use]
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        match error.kind() {
            K::NotFound => Self::NotFound,
            K::PermissionDenied => Self::PermissionDenied,
            K::AlreadyExists => Self::AlreadyExists,
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Self::StorageFull,
            K::ReadOnlyFilesystem => Self::ReadOnly,
            K::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error {
    /// Of a call in the child of a `fork`.
    pub(crate) fn forked() -> Self {
        Self::new(ErrorKind::Forked, "this warden was opened before a fork, by the parent process")
            .with_hint("open the state file after the fork; one process at a time can hold it")
    }

    /// An error of the program's own, for closures that the engine calls, such as those that group files. `message`
    /// is one sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                path: None,
                hint: None,
                restart_seq: None,
                source: None,
            }),
        }
    }

    /// An error of the operating system while `doing` something to `path`.
    pub(crate) fn io(doing: &str, path: impl AsRef<[u8]>, error: std::io::Error) -> Self {
        let path = path.as_ref();
        let message = format!("cannot {doing} `{}`: {error}", crate::path::escape(path));
        Self::new(ErrorKind::of_io(&error), message).with_path(path).with_source(error)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn reset(message: impl Into<String>, restart_seq: u64) -> Self {
        let mut error = Self::new(ErrorKind::Reset, message)
            .with_hint("read the current snapshot in full, then continue with the changes after its seq");
        error.inner.restart_seq = Some(restart_seq);
        error
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    pub(crate) fn with_path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.inner.path = Some(path.as_ref().to_vec());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Box::new(source));
        self
    }

    /// A second error that says the same, for the other batches of a group that failed together.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            inner: Box::new(Inner {
                kind: self.inner.kind,
                message: self.inner.message.clone(),
                path: self.inner.path.clone(),
                hint: self.inner.hint.clone(),
                restart_seq: self.inner.restart_seq,
                source: None,
            }),
        }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the sentence, without the hint.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Returns the path on disk, or the address in the tree, that the error is about.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        self.inner.path.as_deref()
    }

    /// Returns what to do next, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Returns where the journal can be continued after a [`ErrorKind::Reset`].
    #[must_use]
    pub fn restart_seq(&self) -> Option<u64> {
        self.inner.restart_seq
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(hint) = &self.inner.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_carries_the_hint_and_no_control_character() {
        let error = Error::io("read", b"a\x1b[31m\n", std::io::Error::from_raw_os_error(13))
            .with_hint("give read permission");
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(text.ends_with("\nhint: give read permission"));
        assert!(!error.message().contains(['\x1b', '\n']));
    }

    #[test]
    fn the_numbers_are_dense_and_stable() {
        assert_eq!(ErrorKind::InvalidArgument.code(), 1);
        assert_eq!(ErrorKind::Reset.code(), 9);
        assert_eq!(ErrorKind::Unsupported.code(), 20);
    }
}
