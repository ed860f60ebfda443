//! Addresses, `ROOT/relative/path`: bytes, never assumed UTF-8. Taking them apart, and refusing
//! those nobody knows.

use std::ffi::{OsStr, OsString};

use treewarden::{Snapshot, Warden, escape};

use crate::failure::Failure;

/// The bytes of a name of the system.
#[cfg(unix)]
pub(crate) fn os_bytes(text: &OsStr) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(text)
}

/// The bytes of a name of the system: UTF-8, except for lone surrogates.
#[cfg(not(unix))]
pub(crate) fn os_bytes(text: &OsStr) -> &[u8] {
    text.as_encoded_bytes()
}

/// A name of the system of these bytes.
#[cfg(unix)]
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).to_owned()
}

/// A name of the system of these bytes, as far as it can have one.
#[cfg(not(unix))]
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// The address that was typed, without the slashes that a shell's completion puts at its end.
/// Nothing typed is the empty address, which means everything.
pub(crate) fn typed(argument: Option<&OsStr>) -> Vec<u8> {
    let mut bytes = argument.map(os_bytes).unwrap_or_default();
    while bytes.len() > 1
        && let Some(rest) = bytes.strip_suffix(b"/")
    {
        bytes = rest;
    }
    bytes.to_vec()
}

/// The root's name and the path below it, which is empty for the root itself.
pub(crate) fn split(address: &[u8]) -> (&[u8], &[u8]) {
    match address.iter().position(|byte| *byte == b'/') {
        Some(slash) => {
            let (root, rest) = address.split_at(slash);
            (root, rest.strip_prefix(b"/").unwrap_or(rest))
        }
        None => (address, &[]),
    }
}

/// The path below `root`; an address of another root stays as it is.
pub(crate) fn relative<'a>(root: &str, address: &'a [u8]) -> &'a [u8] {
    match split(address) {
        (name, rest) if name == root.as_bytes() => rest,
        _ => address,
    }
}

/// Refuses an address that is neither everything, nor a root, nor known in `snapshot` (with
/// `missing`: as a missing entry, or as a place that has some below it).
pub(crate) fn require_known(
    warden: &Warden,
    snapshot: &Snapshot,
    address: &[u8],
    missing: bool,
) -> Result<(), Failure> {
    let roots = warden.roots();
    let is_root = roots.iter().any(|root| root.name.as_bytes() == address);
    if address.is_empty() || is_root || snapshot.contains(address) {
        return Ok(());
    }
    if missing && (snapshot.get_missing(address).is_some() || snapshot.missing(address).next().is_some()) {
        return Ok(());
    }
    let failure = Failure::new(format!("nothing is known of `{}`", escape(address)));
    let (name, _) = split(address);
    if roots.iter().any(|root| root.name.as_bytes() == name) {
        let name = escape(name);
        return Err(failure.with_hint(format!(
            "`treewarden scan` records what is new, `treewarden ls {name} --missing` lists what is gone"
        )));
    }
    let names: Vec<&str> = roots.iter().map(|root| root.name.as_str()).collect();
    Err(failure.with_hint(if names.is_empty() {
        "there are no roots yet: `treewarden scan DIR` makes one of DIR".to_owned()
    } else {
        format!("addresses are ROOT/relative/path, and the roots are: {}", names.join(", "))
    }))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{relative, split, typed};

    #[test]
    fn typed_addresses_lose_their_last_slashes_only() {
        let cases = [
            ("music", "music"),
            ("music/", "music"),
            ("music//", "music"),
            ("a/b/", "a/b"),
            ("/", "/"),
            ("//", "/"),
        ];
        for (argument, expected) in cases {
            assert_eq!(typed(Some(OsStr::new(argument))), expected.as_bytes(), "{argument}");
        }
        assert_eq!(typed(None), b"");
    }

    #[test]
    fn addresses_are_split_at_the_first_slash() {
        let cases: [(&[u8], &[u8], &[u8]); 4] = [
            (b"music", b"music", b""),
            (b"music/a", b"music", b"a"),
            (b"music/a/b\xff", b"music", b"a/b\xff"),
            (b"", b"", b""),
        ];
        for (address, root, rest) in cases {
            assert_eq!(split(address), (root, rest));
        }
    }

    #[test]
    fn a_path_is_relative_to_its_own_root_only() {
        assert_eq!(relative("music", b"music/a/b"), b"a/b");
        assert_eq!(relative("music", b"music"), b"");
        assert_eq!(relative("music", b"music-2/a"), b"music-2/a");
    }
}
