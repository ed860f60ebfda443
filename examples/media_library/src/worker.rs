//! What is done with a movie or a show: ask the service, write what is news beside the videos, remember what
//! identifies it. All of it can be done twice: a job comes again when its worker was killed.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use treewarden::{Completion, Failed, Job, escape};
use xxhash_rust::xxh3::xxh3_128;

use crate::document::{Document, ETAG, HASH};
use crate::item::Item;
use crate::say;
use crate::service::{Answer, Request, Service};
use crate::trouble::Trouble;

/// The attribute of the number by which the service knows the item.
const ID: &str = "id";
/// The attribute of the date whose age says how soon the item is looked at again.
const DATE: &str = "date";
/// Where the answers have that date: a movie its release, a show its last episode.
const DATES: [&str; 3] = ["release_date", "last_air_date", "first_air_date"];
/// A pause that is longer is waited for in the queue, without a job in hand.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(60);

/// Works on one job to its end.
pub(crate) fn run(service: &Service, job: &mut Job) -> Result<Completion, Failed> {
    let path = escape(job.path());
    // An item without files is gone. Its state says so only the first time: a clean-up that is tried again
    // is in error.
    let end = if job.files().is_empty() { clean_up(job) } else { update(service, job) };
    match end {
        Ok(what) => {
            say(&format!("{what:<9} {path}"));
            Ok(completion(job))
        }
        Err(trouble) => {
            say(&format!("{:<9} {path}: {trouble}", "not yet"));
            Err(trouble.into())
        }
    }
}

fn update(service: &Service, job: &mut Job) -> Result<&'static str, Trouble> {
    let item = Item::new(job.path(), &job.files())?;
    let seasons = item.seasons();

    let answer = ask_first(service, job, &item.request())?;
    let mut is_news = take(job, Document::Main, answer)?;

    for &document in &seasons {
        match ask_next(service, job, document) {
            Ok(answer) => is_news |= take(job, document, answer)?,
            // The library may have what the service has not heard of.
            Err(Trouble::Unknown) => forget(job, document)?,
            Err(trouble) => return Err(trouble),
        }
    }
    for document in Document::known(job.attrs()) {
        if document != Document::Main && !seasons.contains(&document) {
            forget(job, document)?;
        }
    }
    Ok(if is_news { "written" } else { "as before" })
}

/// The item is gone: so goes what was made of it.
fn clean_up(job: &mut Job) -> Result<&'static str, Trouble> {
    for document in Document::known(job.attrs()) {
        document.remove(job.fs_path())?;
    }
    Ok("removed")
}

/// Sends the request that the job was handed out for. The permit for it came with the job.
fn ask_first(service: &Service, job: &mut Job, request: &Request) -> Result<Answer, Trouble> {
    let answer = service.get(request, etag(job, Document::Main).as_deref());
    if let (Err(Trouble::Busy(wait)), Some(limiter)) = (&answer, job.limiter()) {
        // Everybody waits, not only this job.
        limiter.throttled(*wait);
    }
    job.answered();
    answer
}

/// Sends one request more, for a season, as soon as there is a permit for it.
fn ask_next(service: &Service, job: &Job, document: Document) -> Result<Answer, Trouble> {
    let (Document::Season(number), Some(id)) = (document, text(job, ID)) else {
        return Err(Trouble::Passing("the show has no number yet".to_owned()));
    };
    let request = Request::new(format!("tv/{id}/season/{number}"));
    let permit = match job.limiter() {
        Some(limiter) => limiter.acquire(1, Some(PERMIT_WAIT_MAX)),
        None => Ok(None),
    };
    let permit = permit.map_err(|error| Trouble::Passing(error.to_string()))?.ok_or(Trouble::NotNow)?;
    let answer = service.get(&request, etag(job, document).as_deref());
    match &answer {
        Err(Trouble::Busy(wait)) => permit.throttled(*wait),
        _ => permit.done(),
    }
    answer
}

/// Takes in an answer: writes it if it is another one than the last, and remembers what identifies it. True
/// when it was written. What is remembered is stored when the job is completed, and not before.
fn take(job: &mut Job, document: Document, answer: Answer) -> Result<bool, Trouble> {
    let Answer::Body { bytes, etag } = answer else { return Ok(false) };
    let content: Value =
        serde_json::from_slice(&bytes).map_err(|error| Trouble::Passing(format!("no JSON: {error}")))?;
    if document == Document::Main {
        let id = content.get("id").and_then(Value::as_u64);
        let id = id.ok_or_else(|| Trouble::Passing("the answer has no `id`".to_owned()))?;
        remember(job, ID.to_owned(), Some(id.to_string()));
        let date = DATES.iter().find_map(|name| content.get(*name)?.as_str());
        remember(job, DATE.to_owned(), date.map(str::to_owned));
    }
    let hash = format!("{:032x}", xxh3_128(&bytes));
    // A service without ETags sends the same again and again.
    let is_same = text(job, &document.attr(HASH)).as_ref() == Some(&hash) && document.is_in(job.fs_path());
    if !is_same {
        document.write(job.fs_path(), &bytes)?;
        remember(job, document.attr(HASH), Some(hash));
    }
    remember(job, document.attr(ETAG), etag);
    Ok(!is_same)
}

fn forget(job: &mut Job, document: Document) -> Result<(), Trouble> {
    document.remove(job.fs_path())?;
    remember(job, document.attr(HASH), None);
    remember(job, document.attr(ETAG), None);
    Ok(())
}

/// The version of a document that is there. One that somebody has deleted is asked for without.
fn etag(job: &Job, document: Document) -> Option<String> {
    text(job, &document.attr(ETAG)).filter(|_| document.is_in(job.fs_path()))
}

/// Young things change more often than old ones: the tiers of the pipeline go by this date.
fn completion(job: &Job) -> Completion {
    let date: Option<Date> = text(job, DATE).and_then(|date| date.parse().ok());
    let midnight = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    match midnight.and_then(|at| i64::try_from(at.timestamp().as_nanosecond()).ok()) {
        Some(date_ns) => Completion::new().reference_ns(date_ns),
        None => Completion::new(),
    }
}

fn text(job: &Job, attr: &str) -> Option<String> {
    String::from_utf8(job.attrs().get(attr)?.clone()).ok()
}

fn remember(job: &mut Job, attr: String, value: Option<String>) {
    match value {
        Some(value) => job.attrs_mut().insert(attr, value.into_bytes()),
        None => job.attrs_mut().remove(&attr),
    };
}
