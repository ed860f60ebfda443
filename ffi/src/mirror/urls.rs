//! From a file to the URL of its object and back: one look-up at a time, or as a map that never changes.

use treewarden_core::escape;
use treewarden_core::mirror::{Mirror, UrlMap};

use super::tw_mirror;
use crate::args::{Out, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, Pair, tw_list};
use crate::state::{ValueObject, tw_value};

/// The URLs of a mirror as they were at one moment. It never changes, and looking into it waits for nobody. Free it
/// with `tw_urls_free`.
pub struct tw_urls(Opaque);

impl Object for UrlMap {
    type Opaque = tw_urls;
    const NAME: &'static str = "tw_urls";
}

fn url_of(urls: &UrlMap, address: &[u8]) -> Outcome<ValueObject> {
    let url = urls.url(address).ok_or_else(|| {
        let message =
            format!("no object of `{}` is acknowledged, or its mirror has no public URL", escape(address));
        not_found(message, address)
    })?;
    Ok(ValueObject(url.into_bytes()))
}

fn path_of(urls: &UrlMap, url: &str) -> Outcome<ValueObject> {
    let path = urls.path(url).ok_or_else(|| {
        not_found(format!("no acknowledged object has the URL `{}`", escape(url.as_bytes())), url.as_bytes())
    })?;
    Ok(ValueObject(path))
}

fn not_found(message: String, path: &[u8]) -> Failure {
    let mut failure = Failure::new(TW_STATUS_NOT_FOUND, message);
    failure.0.path = Some(path.to_vec());
    failure
}

/// Gives the URL of the object of a file, UTF-8: read it with `tw_value_bytes`, free it with `tw_value_free`. A file
/// has one from the acknowledgement of its object until the deletion of that begins. Any thread. Never waits.
/// `TW_STATUS_NOT_FOUND` when there is no acknowledged object, and for a mirror without a public URL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_url(
    mirror: *const tw_mirror,
    address: tw_bytes,
    url: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(url, "url")?;
            let address = address.read("address")?;
            let found = handle::with::<Mirror, _>(mirror, |mirror| url_of(&mirror.urls(), address))?;
            out.write(handle::put(found)?);
            Ok(())
        })
    }
}

/// Gives the address of the file whose object has this URL: read it with `tw_value_bytes`, free it with
/// `tw_value_free`. Any thread. Never waits. `TW_STATUS_NOT_FOUND` when no acknowledged object has it,
/// `TW_STATUS_INVALID_ARGUMENT` for one that is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_path(
    mirror: *const tw_mirror,
    url: tw_bytes,
    path: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(path, "path")?;
            let url = url.text("url")?;
            let found = handle::with::<Mirror, _>(mirror, |mirror| path_of(&mirror.urls(), url))?;
            out.write(handle::put(found)?);
            Ok(())
        })
    }
}

/// Takes the URLs of all objects that are acknowledged now. Any thread. Never waits: no lock, no system call, no
/// request. `*urls` is the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_urls(
    mirror: *const tw_mirror,
    urls: *mut *mut tw_urls,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(urls, "urls")?;
            handle::with::<Mirror, _>(mirror, |mirror| {
                out.write(handle::put(mirror.urls())?);
                Ok(())
            })
        })
    }
}

/// Gives how many objects there are. They are counted. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_urls_len(
    urls: *const tw_urls,
    len: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(len, "len")?;
            handle::with::<UrlMap, _>(urls, |urls| {
                out.write(urls.len() as u64);
                Ok(())
            })
        })
    }
}

/// Gives the URL of the object of a file, as `tw_mirror_url` does. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_urls_url(
    urls: *const tw_urls,
    address: tw_bytes,
    url: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(url, "url")?;
            let address = address.read("address")?;
            let found = handle::with::<UrlMap, _>(urls, |urls| url_of(urls, address))?;
            out.write(handle::put(found)?);
            Ok(())
        })
    }
}

/// Gives the address of the file whose object has this URL, as `tw_mirror_path` does. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_urls_path(
    urls: *const tw_urls,
    url: tw_bytes,
    path: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(path, "path")?;
            let url = url.text("url")?;
            let found = handle::with::<UrlMap, _>(urls, |urls| path_of(urls, url))?;
            out.write(handle::put(found)?);
            Ok(())
        })
    }
}

/// Lists all of them, in the order of the keys of their objects: rows for `tw_list_pair`, the address of the file as
/// `key` and the URL as `value`. Without a public URL there are none. `*list` is the caller's. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_urls_list(
    urls: *const tw_urls,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<UrlMap, _>(urls, |urls| {
                let pair = |(key, url): (Vec<u8>, String)| Pair { key, value: url.into_bytes(), number: 0 };
                out.write(handle::put(List::Pairs(urls.iter().map(pair).collect()))?);
                Ok(())
            })
        })
    }
}

/// Lists what came, changed and went since `older`, an older map of the same mirror: rows for `tw_list_url_change`. It
/// costs what differs, not what is there. `*list` is the caller's. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_urls_diff(
    urls: *const tw_urls,
    older: *const tw_urls,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            let changes = handle::with::<UrlMap, _>(urls, |urls| {
                handle::with::<UrlMap, _>(older, |older| Ok(urls.diff(older)))
            })?;
            out.write(handle::put(List::UrlChanges(changes))?);
            Ok(())
        })
    }
}

/// Frees them. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_urls_free(urls: *mut tw_urls, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<UrlMap>(urls)) }
}
