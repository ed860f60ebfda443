//! Reads the changes that a publisher has appended to a stream, as one of a group that divides them.
//!
//! Invariant: a change stays with the group until it is acknowledged. What a dead consumer had in hand goes to
//! another; what was cut off before the group was done with it is told as `Reset`, never skipped in silence.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use crate::entry::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Change, ChangeKind};
use crate::path::{check_name, escape};

use super::connection::{Link, Pool};
use super::wait::{LOOK_AGAIN, SLEEP_MAX, Sleeper, left};

/// How long an entry lies with a consumer before another takes it over, unless told otherwise.
const TAKEOVER_DEFAULT: Duration = Duration::from_secs(5 * 60);
const TAKEOVER_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Entries of one read at most: a script keeps everybody else waiting.
const READ_MAX: usize = 1_000;
/// Where a search for abandoned entries begins.
const BEGIN: &str = "0-0";

/// One change, as it came over the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// The id of the entry in the stream.
    pub stream_id: String,
    /// The database that it comes from, as 32 hexadecimal digits.
    pub database: String,
    /// The commit.
    pub seq: u64,
    /// Which of the changes of that commit, from 1; 0 for a reset.
    pub part: u64,
    /// The change. `None` is a reset: what comes now does not continue what came before (another database, or
    /// something was lost), so whoever keeps a copy looks at the whole.
    pub change: Option<Change>,
}

/// Reads a stream as one of a group. Any thread may use it; two that read at once share the changes.
///
/// ```no_run
/// # fn main() -> treewarden::Result<()> {
/// use treewarden::fleet::Fleet;
///
/// let fleet = Fleet::connect("redis://queue.internal:6379")?;
/// let consumer = fleet.consumer("photos", "thumbnails", "machine-7")?;
/// loop {
///     let items = consumer.next(100, None)?;
///     for item in &items {
///         if let Some(change) = &item.change {
///             println!("{} {}", change.kind.name(), treewarden::escape(&change.path));
///         }
///     }
///     consumer.ack(&items)?;
/// }
/// # }
/// ```
pub struct Consumer {
    pool: Arc<Pool>,
    /// State, stream.
    keys: [String; 2],
    stream: String,
    group: String,
    name: String,
    takeover: Duration,
    /// Where the search for abandoned entries goes on.
    search: Mutex<String>,
    /// How many lost changes of this group there were when this consumer was told last; 0 for not told.
    told: AtomicU64,
    sleeper: Sleeper,
}

/// What Redis has answered.
enum Answer {
    /// Entries, and the id after which there is nothing yet.
    Entries(Vec<Value>, String),
    /// Changes that were lost and not accepted, and all that were lost ever.
    Lost(u64, u64),
}

impl Consumer {
    pub(super) fn new(pool: &Arc<Pool>, stream: &str, group: &str, name: &str) -> Result<Self> {
        check_name("stream", stream)?;
        check_name("group", group)?;
        check_name("consumer", name)?;
        Ok(Self {
            keys: [pool.key("journal", stream), pool.key("stream", stream)],
            pool: Arc::clone(pool),
            stream: stream.to_owned(),
            group: group.to_owned(),
            name: name.to_owned(),
            takeover: TAKEOVER_DEFAULT,
            search: Mutex::new(BEGIN.to_owned()),
            told: AtomicU64::new(0),
            sleeper: Sleeper::default(),
        })
    }

    /// Sets how long a change may lie unacknowledged with another consumer, dead or slow, before this one
    /// takes it over (default 5 minutes; 1 ms to 7 days). Longer than the longest work, or work is done twice.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a time out of range.
    pub fn takeover_after(mut self, idle: Duration) -> Result<Self> {
        if idle < Duration::from_millis(1) || idle > TAKEOVER_MAX {
            return Err(Error::invalid(format!("taking over after {idle:?} makes no sense"))
                .with_hint("1 ms to 7 days are possible"));
        }
        self.takeover = idle;
        Ok(self)
    }

    /// Reads at most `items_max` changes (0 counts as 1, and more than 1,000 as 1,000): first those that others
    /// have abandoned, else what nobody of the group has been given yet. Waits for one if need be, at most for
    /// `timeout` or without end. Empty on a timeout and on [`Consumer::interrupt`]. Redis is waited for as
    /// well; a call may take longer by the timeouts of the connection.
    ///
    /// What is not acknowledged comes again, to this consumer or another: at least once, and out of order then.
    ///
    /// # Errors
    ///
    /// `Reset` when changes were cut off before the group was done with them, until
    /// [`Consumer::accept_reset`]. `Unavailable` when Redis cannot be reached at the end of the timeout,
    /// `PermissionDenied` and `Unsupported` as [`super::Fleet::connect`], `Forked`.
    pub fn next(&self, items_max: usize, timeout: Option<Duration>) -> Result<Vec<Item>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(turn) = self.sleeper.begin(timeout) else { return Ok(Vec::new()) };
        let items_max = items_max.clamp(1, READ_MAX);
        loop {
            let failed = match self.read(items_max) {
                Ok(Answer::Entries(entries, after)) => {
                    let items = self.items(entries);
                    if !items.is_empty() {
                        return Ok(items);
                    }
                    match left(deadline) {
                        Some(left) if left.is_zero() => None,
                        // To Redis a wait of 0 ms is one without end.
                        left => {
                            let wait = left.unwrap_or(SLEEP_MAX).min(SLEEP_MAX).min(self.takeover);
                            self.wait(&after, wait.max(Duration::from_millis(1))).err()
                        }
                    }
                }
                Ok(Answer::Lost(count, all)) => {
                    self.told.store(all, Ordering::Release);
                    return Err(self.lost(count));
                }
                Err(error) => Some(error),
            };
            if turn.is_interrupted() {
                return Ok(Vec::new());
            }
            let left = left(deadline);
            let is_over = left.is_some_and(|left| left.is_zero());
            match failed {
                None if is_over => return Ok(Vec::new()),
                None => {}
                Some(error) if is_over || error.kind() != ErrorKind::Unavailable => return Err(error),
                Some(_) if turn.sleep(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN))) => {}
                Some(_) => return Ok(Vec::new()),
            }
        }
    }

    /// Acknowledges: the group is done with these. Returns how many that were; those that another consumer has
    /// taken over and acknowledged count no more.
    ///
    /// # Errors
    ///
    /// `Unavailable` when Redis cannot be reached; the items come again, unless they are acknowledged later.
    pub fn ack(&self, items: &[Item]) -> Result<u64> {
        let mut done = 0;
        for some in items.chunks(READ_MAX) {
            let ids: Vec<&str> = some.iter().map(|item| item.stream_id.as_str()).collect();
            done += self.acknowledge(&ids)?;
        }
        Ok(done)
    }

    /// Goes on after a `Reset`, for the whole group. Returns true when there was one. What was cut off after this
    /// consumer was told is told again; one that was not told at all accepts what there is.
    ///
    /// # Errors
    ///
    /// `Unavailable` when Redis cannot be reached.
    pub fn accept_reset(&self) -> Result<bool> {
        let told = self.told.load(Ordering::Acquire);
        let answer: Vec<i64> = self.pool.call(|link| self.script(link, "accept", told, BEGIN))?;
        Ok(answer.first().is_some_and(|count| *count > 0))
    }

    /// Makes all calls of [`Consumer::next`] that wait return nothing; if none waits, the next that may: a call
    /// with a timeout of zero does not. They end within a second, or when a Redis that does not answer has been
    /// given up.
    pub fn interrupt(&self) {
        self.sleeper.interrupt();
    }

    fn lost(&self, count: u64) -> Error {
        let (stream, group) = (escape(self.stream.as_bytes()), escape(self.group.as_bytes()));
        Error::new(
            ErrorKind::Reset,
            format!(
                "{count} changes were cut off from the stream `{stream}` before the group `{group}` was done \
                 with them"
            ),
        )
        .with_hint("look at the whole, call `accept_reset`, and let the stream keep more entries")
    }

    fn read(&self, items_max: usize) -> Result<Answer> {
        let search = self.search.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let most = u64::try_from(items_max).unwrap_or(u64::MAX);
        let answer: Value = self.pool.call(|link| self.script(link, "next", most, &search))?;
        let nonsense = || Error::new(ErrorKind::Io, "Redis has answered something that makes no sense");
        let Value::Array(parts) = answer else { return Err(nonsense()) };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Value::Int(1)), Some(Value::Array(entries)), Some(after), Some(search)) => {
                let (Some(after), Some(search)) = (text(after), text(search)) else { return Err(nonsense()) };
                *self.search.lock().unwrap_or_else(PoisonError::into_inner) = search;
                Ok(Answer::Entries(entries, after))
            }
            (Some(Value::Int(2)), Some(Value::Int(count)), Some(Value::Int(all)), _) => {
                Ok(Answer::Lost(u64::try_from(count).unwrap_or(0), u64::try_from(all).unwrap_or(0)))
            }
            _ => Err(nonsense()),
        }
    }

    /// Waits until there is an entry after `after`.
    fn wait(&self, after: &str, time: Duration) -> Result<()> {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let patience = self.pool.command_timeout();
        self.pool.call(|link| {
            let connection = link.connection();
            connection.set_read_timeout(Some(patience.saturating_add(time)))?;
            let mut ask = redis::cmd("XREAD");
            ask.arg("COUNT").arg(1).arg("BLOCK").arg(milliseconds);
            ask.arg("STREAMS").arg(self.keys[1].as_str()).arg(after);
            let answer: Value = ask.query(connection)?;
            drop(answer);
            connection.set_read_timeout(Some(patience))
        })
    }

    fn items(&self, entries: Vec<Value>) -> Vec<Item> {
        let mut items = Vec::with_capacity(entries.len());
        let mut strange = Vec::new();
        for entry in entries {
            match item(entry) {
                Ok(item) => items.push(item),
                Err(id) => strange.extend(id),
            }
        }
        if !strange.is_empty() {
            let stream = escape(self.stream.as_bytes());
            tracing::warn!(%stream, count = strange.len(), "entries of another program were skipped");
            let ids: Vec<&str> = strange.iter().map(String::as_str).collect();
            // If not now, they come again.
            let _ = self.acknowledge(&ids);
        }
        items
    }

    fn acknowledge(&self, ids: &[&str]) -> Result<u64> {
        self.pool.call(|link| {
            let mut ask = redis::cmd("XACK");
            ask.arg(self.keys[1].as_str()).arg(self.group.as_str()).arg(ids);
            ask.query(link.connection())
        })
    }

    fn script<T: redis::FromRedisValue>(
        &self,
        link: &mut Link,
        action: &str,
        number: u64,
        search: &str,
    ) -> redis::RedisResult<T> {
        let idle = u64::try_from(self.takeover.as_millis()).unwrap_or(u64::MAX);
        let mut script = self.pool.scripts().consume.prepare_invoke();
        for key in &self.keys {
            script.key(key.as_str());
        }
        script.arg(action).arg(self.group.as_str()).arg(self.name.as_str());
        script.arg(number).arg(idle).arg(search);
        script.invoke(link.connection())
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("stream", &self.stream)
            .field("group", &self.group)
            .field("name", &self.name)
            .field("takeover_after", &self.takeover)
            .finish_non_exhaustive()
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// Reads one entry; what is not of a publisher gives its id, if it has one.
fn item(entry: Value) -> Result<Item, Option<String>> {
    let Value::Array(parts) = entry else { return Err(None) };
    let mut parts = parts.into_iter();
    let Some(stream_id) = parts.next().and_then(text) else { return Err(None) };
    let Some(Value::Array(fields)) = parts.next() else { return Err(Some(stream_id)) };
    let mut found = Fields::default();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        found.take(name, value);
    }
    found.item(&stream_id).ok_or(Some(stream_id))
}

/// The fields of an entry, as far as they are known.
#[derive(Default)]
struct Fields {
    database: Option<String>,
    seq: Option<u64>,
    part: Option<u64>,
    kind: Option<String>,
    root: Option<String>,
    path: Option<Vec<u8>>,
    from: Option<Vec<u8>>,
    id: Option<u64>,
    entry_kind: Option<String>,
}

impl Fields {
    fn take(&mut self, name: Value, value: Value) {
        let number = |value: Value| -> Option<u64> { text(value)?.parse().ok() };
        match bytes(name).as_deref() {
            Some(b"database") => self.database = text(value),
            Some(b"seq") => self.seq = number(value),
            Some(b"part") => self.part = number(value),
            Some(b"kind") => self.kind = text(value),
            Some(b"root") => self.root = text(value),
            Some(b"path") => self.path = bytes(value),
            Some(b"from") => self.from = bytes(value),
            Some(b"id") => self.id = number(value),
            Some(b"entry_kind") => self.entry_kind = text(value),
            _ => {}
        }
    }

    fn item(self, stream_id: &str) -> Option<Item> {
        let (seq, kind) = (self.seq?, self.kind?);
        let change = if kind == "reset" {
            None
        } else {
            Some(Change {
                seq,
                root: self.root?,
                kind: (0..=u8::MAX).map_while(ChangeKind::from_code).find(|known| known.name() == kind)?,
                entry_kind: {
                    let name = self.entry_kind?;
                    (0..=u8::MAX).map_while(Kind::from_code).find(|known| known.name() == name)?
                },
                path: self.path?,
                from: self.from,
                id: self.id?,
            })
        };
        let stream_id = stream_id.to_owned();
        Some(Item { stream_id, database: self.database?, seq, part: self.part?, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(fields: &[(&str, &str)]) -> Value {
        let fields = fields.iter().flat_map(|(name, content)| [value(name), value(content)]).collect();
        Value::Array(vec![value("7-1"), Value::Array(fields)])
    }

    const MOVED: [(&str, &str); 9] = [
        ("database", "ab"),
        ("seq", "3"),
        ("part", "2"),
        ("kind", "moved"),
        ("root", "r"),
        ("path", "r/new"),
        ("id", "9"),
        ("entry_kind", "file"),
        ("from", "r/old"),
    ];

    #[test]
    fn an_entry_is_read() {
        let found = item(entry(&MOVED)).unwrap();
        let change = found.change.unwrap();
        assert_eq!((found.stream_id.as_str(), found.seq, found.part), ("7-1", 3, 2));
        assert_eq!((change.kind, change.entry_kind, change.id), (ChangeKind::Moved, Kind::File, 9));
        assert_eq!((change.path.as_slice(), change.from.as_deref()), (&b"r/new"[..], Some(&b"r/old"[..])));
    }

    #[test]
    fn a_reset_is_read_and_nonsense_gives_its_id() {
        let reset = entry(&[("database", "ab"), ("seq", "3"), ("part", "0"), ("kind", "reset")]);
        assert_eq!(item(reset).unwrap().change, None);
        // Each of the fields is needed, but the last.
        for (missing, field) in MOVED.iter().enumerate().take(MOVED.len() - 1) {
            let mut fields = MOVED.to_vec();
            fields.remove(missing);
            assert_eq!(item(entry(&fields)), Err(Some("7-1".to_owned())), "without {field:?}");
        }
        for (name, content) in [("seq", "-1"), ("kind", "burnt"), ("entry_kind", "pipe"), ("id", "x")] {
            let fields: Vec<_> =
                MOVED.iter().map(|(n, c)| (*n, if *n == name { content } else { *c })).collect();
            assert_eq!(item(entry(&fields)), Err(Some("7-1".to_owned())), "{name} {content}");
        }
        assert_eq!(item(Value::Nil), Err(None));
    }
}
