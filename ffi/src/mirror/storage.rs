//! A storage that the program brings along: callbacks that keep objects by their keys. What they are lent is in
//! `mirror/call.rs`.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use treewarden_core::mirror::{
    Capabilities, Listed, LocalStorage, Put, Storage, StorageError, StorageFault, StorageResult, Stored,
};

use super::call::{self, Notes, tw_call};
use super::tw_mirror;
use crate::args::{Out, tw_bytes};
use crate::border::{self, Failure, Outcome};
use crate::callback::{UserData, tw_finalizer};
use crate::error::{tw_error, tw_status};
use crate::handle;
use crate::options::{OptionsObject, StorageWanted, storage_wanted, tw_options};
use crate::scan::read_hooks;
use crate::warden::{WardenObject, tw_warden};

/// It is done.
pub const TW_STORAGE_OK: i32 = 0;
/// It may work the next time: a cut connection, a 500. So does any number that is none of these.
pub const TW_STORAGE_TRANSIENT: i32 = 1;
/// The storage asks everybody to slow down (429, 503); `tw_call_note_failure` says for how long.
pub const TW_STORAGE_THROTTLED: i32 = 2;
/// The credentials are wrong, have expired or do not allow it.
pub const TW_STORAGE_DENIED: i32 = 3;
/// What holds the objects is not there. No other call will fare better: the run is given up.
pub const TW_STORAGE_MISCONFIGURED: i32 = 4;
/// There is no such object. For `remove` that is as good as done.
pub const TW_STORAGE_NOT_FOUND: i32 = 5;
/// This object will never be taken: its key or size is not allowed.
pub const TW_STORAGE_REJECTED: i32 = 6;
/// Something else lies where the object belongs, and has to go first: a file in place of a directory. Tried again when
/// the deletions of the run are done.
pub const TW_STORAGE_OCCUPIED: i32 = 7;
/// The storage cannot do this at all.
pub const TW_STORAGE_UNSUPPORTED: i32 = 8;

/// Keys of one call of `remove`, where the program does not say.
const DELETE_MAX: usize = 1_000;
/// Bytes of a key, where the program does not say.
const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of the name of a storage.
const NAME_BYTES_MAX: usize = 255;

/// An object that is to be put. Views are good until the callback returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_upload {
    /// Where to, UTF-8: no control characters, and no empty, `.` or `..` components.
    pub key: tw_bytes,
    /// `Content-Type`, ASCII.
    pub content_type: tw_bytes,
    /// `Cache-Control`, ASCII. `ptr` is NULL where there is none.
    pub cache_control: tw_bytes,
    /// Size of the content in bytes. `tw_call_read` gives it.
    pub size: u64,
}

/// Puts an object, whole or not at all; what was there before is replaced. It reads the file with `tw_call_read` to its
/// end, says with `tw_call_note_etag` what tag it was given, if any, and returns `TW_STORAGE_OK` when the object is
/// safe. When it returns that and has not read all of it, the object counts as rejected. An empty file needs no
/// reading.
pub type tw_storage_put_fn = Option<
    unsafe extern "C" fn(call: *const tw_call, upload: *const tw_upload, user_data: *mut c_void) -> i32,
>;

/// Deletes `count` objects, at least one. An object that is not there is deleted. `ends` has one number for each key,
/// `TW_STORAGE_OK` all of them: the callback overwrites those of the keys that it failed with. When it returns
/// something else than `TW_STORAGE_OK`, that goes for all of them.
pub type tw_storage_remove_fn = Option<
    unsafe extern "C" fn(
        call: *const tw_call,
        keys: *const tw_bytes,
        count: usize,
        ends: *mut i32,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Copies an object within the storage, for a file that moved. `tw_call_note_etag` says what tag the copy was given.
/// Where it fails the file is sent.
pub type tw_storage_copy_fn = Option<
    unsafe extern "C" fn(call: *const tw_call, from: tw_bytes, to: tw_bytes, user_data: *mut c_void) -> i32,
>;

/// Tells each object whose key begins with `prefix`, with `tw_call_add_object`. What was told counts only when it
/// returns `TW_STORAGE_OK`.
pub type tw_storage_list_fn =
    Option<unsafe extern "C" fn(call: *const tw_call, prefix: tw_bytes, user_data: *mut c_void) -> i32>;

/// Says the URL of an object that a CDN is to be told of, with `tw_call_note_url`; without one it is not told of this
/// object. When it returns something else than `TW_STORAGE_OK`, it is the URL of `TW_OPTION_MIRROR_PUBLIC_URL`.
pub type tw_storage_url_fn =
    Option<unsafe extern "C" fn(call: *const tw_call, key: tw_bytes, user_data: *mut c_void) -> i32>;

/// A storage of the program. Fill it with zeros first: what is 0 is left out.
///
/// Every callback tries once and returns `TW_STORAGE_…`; waiting, repeating and slowing down is the mirror's part. They
/// are called in threads of the library and in those that call functions of the mirror, several at once, and may block.
/// They must not throw or longjmp, and they may call every function but those that wait for the run: no run, plan or
/// audit of this mirror, no `tw_warden_mirror`, `tw_warden_mirror_storage` or `tw_warden_remove_mirror`, no
/// `tw_following_free`, and no `tw_warden_close` or `tw_warden_free`. What they are given is good until they return.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_storage {
    /// What it is called, UTF-8, 1 to 255 bytes without control characters and without any secret. Needed. It tells one
    /// place from another, and a mirror stays at its place: the same objects have the same name in each process. It is
    /// shown as `c+NAME`.
    pub name: tw_bytes,
    /// Puts an object. Needed.
    pub put: tw_storage_put_fn,
    /// Deletes objects. Needed.
    pub remove: tw_storage_remove_fn,
    /// Copies an object. NULL: files that moved are sent.
    pub copy: tw_storage_copy_fn,
    /// Lists objects. NULL: an audit is `TW_STATUS_UNSUPPORTED`.
    pub list: tw_storage_list_fn,
    /// Says the URLs of objects for a CDN. NULL: they are those of `TW_OPTION_MIRROR_PUBLIC_URL`.
    pub url: tw_storage_url_fn,
    /// Keys of one call of `remove` at most. 0: 1,000.
    pub delete_max: usize,
    /// Bytes of one key at most; longer ones are refused, file by file. 0: 1,024.
    pub key_bytes_max: usize,
}

impl tw_storage {
    const NONE: Self = Self {
        name: tw_bytes::NONE,
        put: None,
        remove: None,
        copy: None,
        list: None,
        url: None,
        delete_max: 0,
        key_bytes_max: 0,
    };
}

type PutFn = unsafe extern "C" fn(*const tw_call, *const tw_upload, *mut c_void) -> i32;
type RemoveFn = unsafe extern "C" fn(*const tw_call, *const tw_bytes, usize, *mut i32, *mut c_void) -> i32;

/// The callbacks as the engine knows a storage.
struct Callbacks {
    place: String,
    put: PutFn,
    remove: RemoveFn,
    copy: tw_storage_copy_fn,
    list: tw_storage_list_fn,
    url: tw_storage_url_fn,
    delete_max: usize,
    key_bytes_max: usize,
    public_url: Option<String>,
    /// How often calls under way were asked to end.
    interrupts: Arc<AtomicU64>,
    /// The finalizer runs when the engine has let go of all of it.
    user_data: UserData,
}

impl Callbacks {
    /// # Safety
    ///
    /// The name can be read.
    unsafe fn new(given: tw_storage, public_url: Option<String>, user_data: UserData) -> Outcome<Self> {
        let needed = |what: &str| Failure::invalid(format!("the storage has no `{what}`"));
        // SAFETY: as promised.
        let name = unsafe { given.name.text("name")? };
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(Failure::invalid(
                "the name of a storage has 1 to 255 bytes and no control characters",
            ));
        }
        let or = |said: usize, usual: usize| if said == 0 { usual } else { said };
        Ok(Self {
            place: format!("c+{name}"),
            put: given.put.ok_or_else(|| needed("put"))?,
            remove: given.remove.ok_or_else(|| needed("remove"))?,
            copy: given.copy,
            list: given.list,
            url: given.url,
            delete_max: or(given.delete_max, DELETE_MAX),
            key_bytes_max: or(given.key_bytes_max, KEY_BYTES_MAX),
            public_url,
            interrupts: Arc::default(),
            user_data,
        })
    }
}

/// What a callback has returned, and what it has noted before.
fn end(code: i32, notes: &Notes) -> StorageResult<()> {
    let fault = match code {
        TW_STORAGE_OK => return Ok(()),
        TW_STORAGE_THROTTLED => StorageFault::Throttled(notes.wait),
        TW_STORAGE_DENIED => StorageFault::Denied,
        TW_STORAGE_MISCONFIGURED => StorageFault::Misconfigured,
        TW_STORAGE_NOT_FOUND => StorageFault::NotFound,
        TW_STORAGE_REJECTED => StorageFault::Rejected,
        TW_STORAGE_OCCUPIED => StorageFault::Occupied,
        TW_STORAGE_UNSUPPORTED => StorageFault::Unsupported,
        _ => StorageFault::Transient,
    };
    let is_known = (TW_STORAGE_TRANSIENT..=TW_STORAGE_UNSUPPORTED).contains(&code);
    let why = match (notes.why.is_empty(), is_known) {
        (false, _) => notes.why.clone(),
        (true, true) => "the storage gave no reason".to_owned(),
        (true, false) => format!("the storage returned {code}, which says nothing"),
    };
    Err(StorageError::new(fault, why))
}

fn unsupported(what: &str) -> StorageError {
    StorageError::new(StorageFault::Unsupported, what)
}

impl Storage for Callbacks {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.copy = self.copy.is_some();
        capabilities.list = self.list.is_some();
        capabilities.attributes = true;
        capabilities.delete_max = self.delete_max;
        capabilities.key_bytes_max = self.key_bytes_max;
        capabilities
    }

    fn describe(&self) -> String {
        self.place.clone()
    }

    fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    fn url(&self, key: &str) -> Option<String> {
        if let Some(url) = self.url {
            let told = call::lend(|call| {
                // SAFETY: the program gave the two for each other, to be called in any thread; the views are good
                // until it returns.
                unsafe { url(call, tw_bytes::of(key.as_bytes()), self.user_data.ptr()) }
            });
            match told {
                Ok((TW_STORAGE_OK, notes)) => return notes.url,
                // A CDN that is told of too much forgets too much; one that is told of too little goes on for ever.
                Ok((code, _)) => tracing::warn!(code, "a storage could not tell the URL of an object"),
                Err(error) => tracing::warn!(%error, "a storage could not be asked for the URL of an object"),
            }
        }
        // What the engine makes of a public URL, for any storage.
        self.public_url.as_deref().and_then(|base| LocalStorage::new(base).url(key))
    }

    fn check_key(&self, key: &str) -> StorageResult<()> {
        if key.len() <= self.key_bytes_max {
            return Ok(());
        }
        let text = format!("the key has {} bytes; the storage takes {}", key.len(), self.key_bytes_max);
        Err(StorageError::new(StorageFault::Rejected, text))
    }

    fn put(&self, put: &Put<'_>) -> StorageResult<Stored> {
        let upload = tw_upload {
            key: tw_bytes::of(put.key.as_bytes()),
            content_type: tw_bytes::of(put.content_type.as_bytes()),
            cache_control: tw_bytes::of_option(put.cache_control.map(str::as_bytes)),
            size: put.source.size(),
        };
        let (code, notes) = call::lend_content(put, |call| {
            // SAFETY: the program gave the two for each other, to be called in any thread; the views are good until
            // it returns.
            unsafe { (self.put)(call, &raw const upload, self.user_data.ptr()) }
        })?;
        end(code, &notes)?;
        Ok(Stored { etag: notes.etag })
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        let views: Vec<tw_bytes> = keys.iter().map(|key| tw_bytes::of(key.as_bytes())).collect();
        let mut ends = vec![TW_STORAGE_OK; keys.len()];
        let place = ends.as_mut_ptr();
        let told = call::lend(|call| {
            // SAFETY: as above; there is a number for each key.
            unsafe { (self.remove)(call, views.as_ptr(), views.len(), place, self.user_data.ptr()) }
        });
        match told {
            Ok((TW_STORAGE_OK, notes)) => ends.into_iter().map(|code| end(code, &notes)).collect(),
            // Which of them is not there it has not said.
            Ok((TW_STORAGE_NOT_FOUND, notes)) if keys.len() > 1 => {
                keys.iter().map(|_| end(TW_STORAGE_TRANSIENT, &notes)).collect()
            }
            Ok((code, notes)) => keys.iter().map(|_| end(code, &notes)).collect(),
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn copy(&self, from: &str, to: &str) -> StorageResult<Stored> {
        let copy = self.copy.ok_or_else(|| unsupported("this storage copies nothing"))?;
        let (from, to) = (tw_bytes::of(from.as_bytes()), tw_bytes::of(to.as_bytes()));
        let (code, notes) = call::lend(|call| {
            // SAFETY: as above.
            unsafe { copy(call, from, to, self.user_data.ptr()) }
        })?;
        end(code, &notes)?;
        Ok(Stored { etag: notes.etag })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> StorageResult<()> {
        let list = self.list.ok_or_else(|| unsupported("this storage cannot be listed"))?;
        let (code, notes) = call::lend_listing(prefix, &self.interrupts, |call| {
            // SAFETY: as above.
            unsafe { list(call, tw_bytes::of(prefix.as_bytes()), self.user_data.ptr()) }
        })?;
        end(code, &notes)?;
        for listed in notes.listed {
            if !each(listed) {
                break;
            }
        }
        Ok(())
    }

    fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::AcqRel);
    }
}

/// Opens the mirror of that name to a storage of the program. `options` are of the kind `TW_OPTIONS_MIRROR`, with an
/// address; a target, what belongs to one, and credentials are refused: the storage knows by itself where it is and how
/// to get in. The mirror is made where there is none, and takes these options up where it had others; the address, the
/// prefix and the name of the storage stay what they were. `storage_size` is `sizeof(tw_storage)`; the struct and what
/// it points to are copied. Nothing is sent yet.
///
/// The state file keeps no storage: after a restart a mirror is opened in the same way, and goes on where it was. A
/// mirror goes on with the storage that was given last: handles that were opened before answer `TW_STATUS_CLOSED`, once
/// a run of theirs has ended. `*mirror` is the caller's, to be freed with `tw_mirror_free`; it keeps the warden open.
///
/// `finalizer` is called once with `user_data` when the library lets go of the storage: after the last callback, when
/// the mirror was opened anew or removed or the warden was closed, and its handles are freed; also when this function
/// fails. It must not open or remove a mirror.
///
/// Blocks for a commit where something is written. Any thread. `TW_STATUS_NOT_FOUND` for a root that is not there;
/// `TW_STATUS_UNAVAILABLE` for a root that cannot be trusted; `TW_STATUS_INVALID_ARGUMENT` for a bad name or options,
/// for a storage without `name`, `put` or `remove`, and when the mirror copies something else or to another place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_mirror_storage(
    warden: *const tw_warden,
    name: tw_bytes,
    options: *const tw_options,
    storage: *const tw_storage,
    storage_size: usize,
    user_data: *mut c_void,
    finalizer: tw_finalizer,
    mirror: *mut *mut tw_mirror,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        border::call(error, || {
            let user_data = UserData::new(user_data, finalizer);
            let out = Out::new(mirror, "mirror")?;
            let name = name.text("name")?;
            if storage.is_null() {
                return Err(Failure::invalid("`storage` is NULL"));
            }
            let given = read_hooks(storage, storage_size, tw_storage::NONE, "tw_storage")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let StorageWanted { options, public_url, cdn } =
                    handle::with_optional::<OptionsObject, _>(options, storage_wanted)?;
                let storage = Arc::new(Callbacks::new(given, public_url, user_data)?);
                let mirror = object.warden.mirror_with(name, &options, storage, cdn)?;
                out.write(handle::put(mirror)?);
                Ok(())
            })
        })
    }
}
