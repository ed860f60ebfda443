//! Options: a bag of one kind that is filled step by step, each step checked at once, and used any number of times.
//!
//! Invariant: a bag holds what was said and nothing else. What was not said is up to the engine, so a default is never
//! written down here.

mod build;
mod group;
#[allow(dead_code, reason = "most of them are for the header alone: here values go by their places")]
mod names;
mod rules;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use treewarden_core::{Group, RootWatch, Tier};

use crate::args::{Out, count, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};

pub(crate) use build::{
    MirrorWanted, StorageWanted, export_options, filter, fleet_wanted, mirror_wanted, open_options,
    pipeline_options, publisher_wanted, rate_limit, root_options, scan_options, shared_rate_limit,
    storage_wanted, takeover_after, verify_options, watch_options,
};
pub(crate) use names::*;
use rules::{Takes, Times};

/// Options of one kind. Made by `tw_options_new`, freed by `tw_options_free`. A function that takes options copies what
/// it needs: they may be changed, used again and freed at any time. Where options are taken, NULL means the defaults.
pub struct tw_options(Opaque);

pub(crate) struct OptionsObject {
    kind: i32,
    settings: Mutex<Settings>,
}

impl Object for OptionsObject {
    type Opaque = tw_options;
    const NAME: &'static str = "tw_options";
}

impl OptionsObject {
    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_kind(&self, kind: i32) -> Outcome<()> {
        if self.kind == kind {
            return Ok(());
        }
        let (these, needed) = (rules::kind_name(self.kind), rules::kind_name(kind));
        Err(Failure::invalid(format!("these options are `{these}`; `{needed}` are needed")))
    }
}

/// What was said. Numbers, texts and bytes are by option, and every one of them has passed its rule.
#[derive(Clone, Default)]
struct Settings {
    numbers: BTreeMap<i32, i64>,
    texts: BTreeMap<i32, Vec<String>>,
    bytes: BTreeMap<i32, Vec<Vec<u8>>>,
    /// How roots are watched that have no entry of their own.
    default_root: Option<RootWatch>,
    roots: BTreeMap<String, RootWatch>,
    tiers: Vec<Tier>,
    /// A function of the program, which takes the place of `TW_OPTION_PIPELINE_GROUP`.
    group: Option<Group>,
}

impl Settings {
    /// A copy of what was said, nothing for NULL.
    fn of(options: Option<&OptionsObject>, kind: i32) -> Outcome<Self> {
        let Some(options) = options else { return Ok(Self::default()) };
        options.check_kind(kind)?;
        Ok(options.lock().clone())
    }

    fn has(&self, option: i32) -> bool {
        self.numbers.contains_key(&option)
            || self.texts.contains_key(&option)
            || self.bytes.contains_key(&option)
    }

    fn flag(&self, option: i32) -> Option<bool> {
        self.numbers.get(&option).map(|value| *value != 0)
    }

    fn number<N: TryFrom<i64>>(&self, option: i32) -> Outcome<Option<N>> {
        self.numbers.get(&option).map(|value| count(*value, rules::name_of(option))).transpose()
    }

    /// The value that was chosen, out of all in the order of their numbers.
    fn chosen<T: Clone>(&self, option: i32, values: &[T]) -> Option<T> {
        let place = usize::try_from(*self.numbers.get(&option)?).ok()?;
        values.get(place).cloned()
    }

    fn texts(&self, option: i32) -> &[String] {
        self.texts.get(&option).map(Vec::as_slice).unwrap_or_default()
    }

    fn text(&self, option: i32) -> Option<&str> {
        self.texts(option).last().map(String::as_str)
    }

    fn all_bytes(&self, option: i32) -> &[Vec<u8>] {
        self.bytes.get(&option).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Adds to what is there, or takes its place.
fn put<T>(values: &mut BTreeMap<i32, Vec<T>>, option: i32, times: Times, value: T) {
    let values = values.entry(option).or_default();
    if times == Times::Once {
        values.clear();
    }
    values.push(value);
}

/// Makes options of a kind, `TW_OPTIONS_…`, in which nothing is set. Free them with `tw_options_free`. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for a kind that does not exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_new(
    kind: i32,
    options: *mut *mut tw_options,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(options, "options")?;
            if !usize::try_from(kind).is_ok_and(|kind| kind < rules::KINDS.len()) {
                let known: Vec<String> =
                    rules::KINDS.iter().enumerate().map(|(kind, name)| format!("{kind} ({name})")).collect();
                let known = known.join(", ");
                return Err(Failure::invalid(format!("`kind` cannot be {kind}; possible are {known}")));
            }
            out.write(handle::put(OptionsObject { kind, settings: Mutex::default() })?);
            Ok(())
        })
    }
}

/// Sets an option that is a number, a flag (0 or 1) or one of several values. Set again, the new value holds. Any
/// thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for an option of another kind, for one that takes bytes, and for a value out of range.
/// What makes no sense together with other options is told by the function that takes them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_set_int(
    options: *mut tw_options,
    option: i32,
    value: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<OptionsObject, _>(options, |options| {
                rules::find(options.kind, option)?.check_number(value)?;
                options.lock().numbers.insert(option, value);
                Ok(())
            })
        })
    }
}

/// Sets an option that is a text, an address or a pattern; of some, each call adds one more. The bytes are copied. Any
/// thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for an option of another kind, for one that takes a number, for a text that is not
/// UTF-8, and for a pattern or schedule that cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_set_bytes(
    options: *mut tw_options,
    option: i32,
    value: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let bytes = value.read("value")?;
            handle::with::<OptionsObject, _>(options, |options| {
                let rule = rules::find(options.kind, option)?;
                match rule.takes {
                    Takes::Bytes(times) => put(&mut options.lock().bytes, option, times, bytes.to_vec()),
                    Takes::Text(times, check) => {
                        let text = value.text(rule.name)?;
                        check(text)?;
                        put(&mut options.lock().texts, option, times, text.to_owned());
                    }
                    Takes::Flag | Takes::Number(..) | Takes::OneOf(_) => {
                        return Err(Failure::invalid(format!(
                            "`{}` takes a number, not bytes: use `tw_options_set_int`",
                            rule.name
                        )));
                    }
                }
                Ok(())
            })
        })
    }
}

/// Sets how a root is watched. `watch` are options of the kind `TW_OPTIONS_WATCH`, `root` is the name of the root and
/// `root_watch` are options of the kind `TW_OPTIONS_ROOT_WATCH`, or NULL for the defaults. They are copied as they are
/// now. Once any root is named, only named roots are watched. With an empty name it is said how roots are watched when
/// none is named. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for options of another kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_set_root_watch(
    watch: *mut tw_options,
    root: tw_bytes,
    root_watch: *const tw_options,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let root = root.text("root")?;
            let how = handle::with_optional::<OptionsObject, _>(root_watch, build::root_watch)?;
            handle::with::<OptionsObject, _>(watch, |watch| {
                watch.check_kind(TW_OPTIONS_WATCH)?;
                let mut settings = watch.lock();
                if root.is_empty() {
                    settings.default_root = Some(how);
                } else {
                    settings.roots.insert(root.to_owned(), how);
                }
                Ok(())
            })
        })
    }
}

/// Adds a tier for `TW_REFRESH_TIERS`: what is younger than `younger_than_ms` at its completion is done anew
/// `after_ms` later. The first tier that is not too young for a file counts; a negative `younger_than_ms` means all
/// that is older, and what is older than all tiers is never done anew. Give the tiers by rising age, at most 100.
/// `pipeline` are options of the kind `TW_OPTIONS_PIPELINE`. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for options of another kind, and for an `after_ms` of less than a second or more than
/// 3,660 days.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_add_tier(
    pipeline: *mut tw_options,
    younger_than_ms: i64,
    after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            rules::within("after_ms", after_ms, rules::REFRESH_AFTER_MS)?;
            let younger_than_ms = u64::try_from(younger_than_ms).ok();
            let tier = Tier { younger_than_ms, after_ms: count(after_ms, "after_ms")? };
            handle::with::<OptionsObject, _>(pipeline, |pipeline| {
                pipeline.check_kind(TW_OPTIONS_PIPELINE)?;
                pipeline.lock().tiers.push(tier);
                Ok(())
            })
        })
    }
}

/// Frees options. NULL is allowed. What was made with them stays as it is. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_free(options: *mut tw_options, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<OptionsObject>(options)) }
}
