//! Child processes: for what one process cannot show alone (locks, lost privileges, SIGKILL).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use rustix::process::{Gid, Uid};

/// The user `nobody` of every Linux: owns nothing, may nothing.
pub const NOBODY: u32 = 65534;

/// Runs a child to its end and returns the `name=value` words of its standard output.
///
/// A child that cannot show what it was asked for answers `skipped=reason_in_one_word`.
#[must_use]
pub fn ask(program: &str, args: &[&OsStr]) -> BTreeMap<String, String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{program} {args:?} ended with {}\nstdout {stdout}\nstderr {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    words(&stdout)
}

/// Splits `a=1 b=two` into its pairs.
#[must_use]
pub fn words(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Gives up root for good. Call it before any thread is started: it acts on the calling thread,
/// and threads inherit from the one that starts them. A process that is not root stays as it is.
///
/// # Errors
/// The kernel's, for example in a user namespace that does not know [`NOBODY`].
pub fn drop_privileges() -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}
