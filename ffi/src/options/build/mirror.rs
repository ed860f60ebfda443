//! From what was said about a mirror to what the engine takes. Credentials pass through here on their way into memory:
//! no message names a value, only the option that holds it.

use std::sync::Arc;
use std::time::Duration;

use treewarden_core::mirror::{Cloudflare, Credentials, MirrorOptions, Purge, Target};

use super::super::names::*;
use super::super::rules::{content_type, name_of};
use super::super::{OptionsObject, Settings};
use super::refuse;
use crate::border::{Failure, Outcome};

/// What the engine does where only part of it was said: attempts, first wait and longest wait, both in milliseconds. It
/// takes the three together.
const RETRY: (u32, u64, u64) = (5, 200, 20_000);

/// What a mirror is to be opened with.
pub(crate) struct MirrorWanted {
    /// What is copied, and where to; `None`: as it was made.
    pub(crate) place: Option<(MirrorOptions, Target)>,
    pub(crate) credentials: Credentials,
    pub(crate) cdn: Option<Arc<dyn Purge>>,
}

/// Options of the kind `TW_OPTIONS_MIRROR`.
pub(crate) fn mirror_wanted(options: Option<&OptionsObject>) -> Outcome<MirrorWanted> {
    let said = Settings::of(options, TW_OPTIONS_MIRROR)?;
    Ok(MirrorWanted { place: place(&said)?, credentials: credentials(&said)?, cdn: cdn(&said)? })
}

/// What a mirror to a storage of the program is to be opened with.
pub(crate) struct StorageWanted {
    pub(crate) options: MirrorOptions,
    pub(crate) public_url: Option<String>,
    pub(crate) cdn: Option<Arc<dyn Purge>>,
}

/// Options of the kind `TW_OPTIONS_MIRROR`, for a storage that knows by itself where it is and how to get in.
pub(crate) fn storage_wanted(options: Option<&OptionsObject>) -> Outcome<StorageWanted> {
    let said = Settings::of(options, TW_OPTIONS_MIRROR)?;
    refuse(&said, &OF_TARGET, "with a storage of the program")?;
    let address = said.all_bytes(TW_OPTION_MIRROR_ADDRESS).last().ok_or_else(|| {
        Failure::invalid("a mirror to a storage of the program needs `TW_OPTION_MIRROR_ADDRESS`")
    })?;
    let prefix = said.text(TW_OPTION_MIRROR_PREFIX).unwrap_or_default();
    let public_url = match said.text(TW_OPTION_MIRROR_PUBLIC_URL) {
        None => None,
        Some(url) => {
            // The engine judges it with a target, whatever that is.
            let target = Target::directory("/").public_url(url);
            target.check()?;
            target.get_public_url().map(str::to_owned)
        }
    };
    let options = limits(&said, MirrorOptions::new(address).prefix(prefix))?;
    Ok(StorageWanted { options, public_url, cdn: cdn(&said)? })
}

/// Options that say where a target is, and how to get in.
const OF_TARGET: [i32; 14] = [
    TW_OPTION_MIRROR_TARGET,
    TW_OPTION_MIRROR_ENDPOINT,
    TW_OPTION_MIRROR_REGION,
    TW_OPTION_MIRROR_VIRTUAL_HOSTED,
    TW_OPTION_MIRROR_OPAQUE_ETAGS,
    TW_OPTION_MIRROR_ACCESS_KEY,
    TW_OPTION_MIRROR_SECRET_KEY,
    TW_OPTION_MIRROR_SESSION_TOKEN,
    TW_OPTION_MIRROR_ANONYMOUS,
    TW_OPTION_MIRROR_INSTANCE,
    TW_OPTION_MIRROR_AZURE_KEY,
    TW_OPTION_MIRROR_AZURE_SAS,
    TW_OPTION_MIRROR_SERVICE_ACCOUNT,
    TW_OPTION_MIRROR_GCS_TOKEN,
];

/// Options that mean nothing for a mirror that is opened as it was made.
const OF_PLACE: [i32; 20] = [
    TW_OPTION_MIRROR_ENDPOINT,
    TW_OPTION_MIRROR_REGION,
    TW_OPTION_MIRROR_VIRTUAL_HOSTED,
    TW_OPTION_MIRROR_OPAQUE_ETAGS,
    TW_OPTION_MIRROR_PUBLIC_URL,
    TW_OPTION_MIRROR_PREFIX,
    TW_OPTION_MIRROR_GLOB,
    TW_OPTION_MIRROR_CACHE_CONTROL,
    TW_OPTION_MIRROR_CONTENT_TYPE,
    TW_OPTION_MIRROR_UPLOADS_MAX,
    TW_OPTION_MIRROR_PART_BYTES,
    TW_OPTION_MIRROR_MEMORY_BYTES,
    TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S,
    TW_OPTION_MIRROR_ATTEMPTS_MAX,
    TW_OPTION_MIRROR_BACKOFF_MS,
    TW_OPTION_MIRROR_BACKOFF_MAX_MS,
    TW_OPTION_MIRROR_DELETE_MAX,
    TW_OPTION_MIRROR_DELETE_SHARE_PERCENT,
    TW_OPTION_MIRROR_SETTLE_MS,
    TW_OPTION_MIRROR_PURGE_NEW,
];

fn place(said: &Settings) -> Outcome<Option<(MirrorOptions, Target)>> {
    let address = said.all_bytes(TW_OPTION_MIRROR_ADDRESS).last();
    let (address, url) = match (address, said.text(TW_OPTION_MIRROR_TARGET)) {
        (Some(address), Some(url)) => (address, url),
        (None, None) => {
            refuse(said, &OF_PLACE, "without `TW_OPTION_MIRROR_ADDRESS` and `TW_OPTION_MIRROR_TARGET`")?;
            return Ok(None);
        }
        (Some(_), None) | (None, Some(_)) => {
            let (address, target) = (name_of(TW_OPTION_MIRROR_ADDRESS), name_of(TW_OPTION_MIRROR_TARGET));
            return Err(Failure::invalid(format!(
                "a mirror needs both `{address}` and `{target}`, or neither"
            )));
        }
    };
    let (target, prefix) = target(said, url)?;
    Ok(Some((limits(said, MirrorOptions::new(address).prefix(prefix))?, target)))
}

fn target(said: &Settings, url: &str) -> Outcome<(Target, String)> {
    let (mut target, mut prefix) = Target::parse(url)?;
    if let Some(own) = said.text(TW_OPTION_MIRROR_PREFIX) {
        if !prefix.is_empty() {
            return Err(Failure::invalid(
                "`TW_OPTION_MIRROR_TARGET` has a prefix already: leave out `TW_OPTION_MIRROR_PREFIX`",
            ));
        }
        own.clone_into(&mut prefix);
    }
    if let Some(url) = said.text(TW_OPTION_MIRROR_ENDPOINT) {
        target = target.endpoint(url);
    }
    if let Some(region) = said.text(TW_OPTION_MIRROR_REGION) {
        target = target.region(region);
    }
    if let Some(yes) = said.flag(TW_OPTION_MIRROR_VIRTUAL_HOSTED) {
        target = target.virtual_hosted(yes);
    }
    if let Some(yes) = said.flag(TW_OPTION_MIRROR_OPAQUE_ETAGS) {
        target = target.opaque_etags(yes);
    }
    if let Some(url) = said.text(TW_OPTION_MIRROR_PUBLIC_URL) {
        target = target.public_url(url);
    }
    Ok((target, prefix))
}

fn limits(said: &Settings, mut built: MirrorOptions) -> Outcome<MirrorOptions> {
    for pattern in said.texts(TW_OPTION_MIRROR_GLOB) {
        built = built.glob(pattern);
    }
    if let Some(value) = said.text(TW_OPTION_MIRROR_CACHE_CONTROL) {
        built = built.cache_control(value);
    }
    for text in said.texts(TW_OPTION_MIRROR_CONTENT_TYPE) {
        let (extension, its) = content_type(text)?;
        built = built.content_type(extension.strip_prefix('.').unwrap_or(extension), its);
    }
    if let Some(uploads) = said.number(TW_OPTION_MIRROR_UPLOADS_MAX)? {
        built = built.uploads_max(uploads);
    }
    if let Some(bytes) = said.number(TW_OPTION_MIRROR_PART_BYTES)? {
        built = built.part_bytes(bytes);
    }
    if let Some(bytes) = said.number(TW_OPTION_MIRROR_MEMORY_BYTES)? {
        built = built.memory_bytes(bytes);
    }
    if let Some(bytes) = said.number(TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S)? {
        built = built.bandwidth_bytes_per_s(bytes);
    }
    let attempts = said.number(TW_OPTION_MIRROR_ATTEMPTS_MAX)?;
    let first_ms = said.number(TW_OPTION_MIRROR_BACKOFF_MS)?;
    let longest_ms = said.number(TW_OPTION_MIRROR_BACKOFF_MAX_MS)?;
    if attempts.is_some() || first_ms.is_some() || longest_ms.is_some() {
        let wait = |ms: Option<u64>, usual: u64| Duration::from_millis(ms.unwrap_or(usual));
        built = built.retry(attempts.unwrap_or(RETRY.0), wait(first_ms, RETRY.1), wait(longest_ms, RETRY.2));
    }
    if let Some(objects) = said.number(TW_OPTION_MIRROR_DELETE_MAX)? {
        built = built.delete_max(objects);
    }
    if let Some(percent) = said.number(TW_OPTION_MIRROR_DELETE_SHARE_PERCENT)? {
        built = built.delete_share_percent(percent);
    }
    if let Some(ms) = said.number(TW_OPTION_MIRROR_SETTLE_MS)? {
        built = built.settle_ms(ms);
    }
    if let Some(yes) = said.flag(TW_OPTION_MIRROR_PURGE_NEW) {
        built = built.purge_new(yes);
    }
    Ok(built)
}

fn credentials(said: &Settings) -> Outcome<Credentials> {
    let yes = |option: i32| said.flag(option) == Some(true);
    let text = |option: i32| said.text(option);
    let keys = match (text(TW_OPTION_MIRROR_ACCESS_KEY), text(TW_OPTION_MIRROR_SECRET_KEY)) {
        (Some(id), Some(secret)) => Some(Credentials::keys(id, secret)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::invalid(
                "an access key needs both `TW_OPTION_MIRROR_ACCESS_KEY` and `TW_OPTION_MIRROR_SECRET_KEY`",
            ));
        }
    };
    let given = [
        (TW_OPTION_MIRROR_ACCESS_KEY, keys),
        (TW_OPTION_MIRROR_ANONYMOUS, yes(TW_OPTION_MIRROR_ANONYMOUS).then(Credentials::anonymous)),
        (TW_OPTION_MIRROR_INSTANCE, yes(TW_OPTION_MIRROR_INSTANCE).then(Credentials::instance)),
        (TW_OPTION_MIRROR_AZURE_KEY, text(TW_OPTION_MIRROR_AZURE_KEY).map(Credentials::azure_key)),
        (TW_OPTION_MIRROR_AZURE_SAS, text(TW_OPTION_MIRROR_AZURE_SAS).map(Credentials::azure_sas)),
        (
            TW_OPTION_MIRROR_SERVICE_ACCOUNT,
            text(TW_OPTION_MIRROR_SERVICE_ACCOUNT).map(Credentials::gcs_service_account),
        ),
        (TW_OPTION_MIRROR_GCS_TOKEN, text(TW_OPTION_MIRROR_GCS_TOKEN).map(Credentials::gcs_token)),
    ];
    let mut given = given.into_iter().filter_map(|(option, its)| Some((name_of(option), its?)));
    let credentials = match (given.next(), given.next()) {
        (None, _) => Credentials::none(),
        (Some((_, only)), None) => only,
        (Some((first, _)), Some((second, _))) => {
            return Err(Failure::invalid(format!(
                "`{first}` and `{second}` are two kinds of credentials; give one"
            )));
        }
    };
    Ok(match text(TW_OPTION_MIRROR_SESSION_TOKEN) {
        None => credentials,
        Some(token) => credentials.session_token(token),
    })
}

fn cdn(said: &Settings) -> Outcome<Option<Arc<dyn Purge>>> {
    let zone = said.text(TW_OPTION_MIRROR_CLOUDFLARE_ZONE);
    let token = said.text(TW_OPTION_MIRROR_CLOUDFLARE_TOKEN);
    let (zone, token) = match (zone, token) {
        (Some(zone), Some(token)) => (zone, token),
        (None, None) => {
            let of_cdn = [TW_OPTION_MIRROR_CLOUDFLARE_ENDPOINT, TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX];
            refuse(said, &of_cdn, "without `TW_OPTION_MIRROR_CLOUDFLARE_ZONE`")?;
            return Ok(None);
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::invalid(
                "Cloudflare needs both `TW_OPTION_MIRROR_CLOUDFLARE_ZONE` and `TW_OPTION_MIRROR_CLOUDFLARE_TOKEN`",
            ));
        }
    };
    let mut cdn = Cloudflare::new(zone, token)?;
    if let Some(url) = said.text(TW_OPTION_MIRROR_CLOUDFLARE_ENDPOINT) {
        cdn = cdn.endpoint(url)?;
    }
    if let Some(urls) = said.number(TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX)? {
        cdn = cdn.batch_max(urls)?;
    }
    Ok(Some(Arc::new(cdn)))
}
