//! Appends the journal of a warden to a Redis stream: every change once, in order, whatever is killed when.
//!
//! Invariant: what is in the stream is recorded in the same step that puts it there, so a batch can be sent
//! again and again. The cursor of the warden follows; it moves only over commits that are there in full. Where
//! the stream cannot go on from what it holds (another database, a Redis or a state file that lost data, a journal
//! that was cut off) an entry says `reset`: nothing is skipped silently. What is not durable here is not sent.

use std::fmt;
use std::sync::Arc;

use crate::changes::Cursor;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Change;
use crate::options::Durability;
use crate::path::{check_name, escape};
use crate::signal::{Interrupt, Waited};
use crate::testing;
use crate::warden::Warden;

use super::connection::{Link, Pool};
use super::lease::Leader;
use super::wait::{LOOK_AGAIN, Stop};

/// Entries that a stream keeps at least, unless told otherwise.
const ENTRIES_DEFAULT: u64 = 100_000;
const ENTRIES_MAX: u64 = 1_000_000_000;
/// A script keeps everybody else waiting: a batch is small.
const BATCH_CHANGES_MAX: usize = 200;
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Appends the changes of a warden to a stream, for the [`super::Consumer`]s of other machines.
///
/// Only one publisher of a warden and a stream may run at a time. Where several machines take turns, each with
/// a warden of its own, [`Publisher::fenced`] keeps those out that no longer lead.
///
/// ```no_run
/// # fn main() -> treewarden::Result<()> {
/// use treewarden::Warden;
/// use treewarden::fleet::{Fleet, Stop};
///
/// let warden = Warden::open("state.tw")?;
/// let fleet = Fleet::connect("redis://queue.internal:6379")?;
/// let mut publisher = fleet.publisher("photos", &warden, Some("photos"))?;
/// let stop = Stop::new();
/// publisher.run(&stop)?;
/// # Ok(())
/// # }
/// ```
pub struct Publisher {
    pool: Arc<Pool>,
    /// State, stream.
    keys: [String; 2],
    stream: String,
    warden: Warden,
    cursor: Cursor,
    root: Option<String>,
    entries_max: u64,
    fence: u64,
    /// What the stream holds, as long as nothing has gone wrong.
    place: Option<Place>,
    /// The commit up to which the journal has been looked at.
    looked: u64,
    interrupt: Interrupt,
}

/// What a stream holds: all commits up to `upto`, and the first `part` changes of commit `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    upto: u64,
    seq: u64,
    part: u64,
}

impl Place {
    fn holds(self, seq: u64, part: u64) -> bool {
        seq <= self.upto || seq < self.seq || (seq == self.seq && part <= self.part)
    }
}

/// What Redis has answered.
enum Answer {
    Done(u64, Place),
    /// The stream holds less than it did, or something else.
    Lost,
}

/// Changes on their way, as arguments of the script.
#[derive(Default)]
struct Batch {
    changes: usize,
    bytes: usize,
    upto: u64,
    args: Vec<Vec<u8>>,
}

impl Batch {
    fn push(&mut self, change: Change, part: u64) {
        self.changes += 1;
        self.bytes += change.path.len() + change.from.as_ref().map_or(0, Vec::len);
        let (has_from, from) = change.from.map_or(("0", Vec::new()), |from| ("1", from));
        self.args.extend([
            change.seq.to_string().into_bytes(),
            part.to_string().into_bytes(),
            change.kind.name().into(),
            change.root.into_bytes(),
            change.path,
            has_from.into(),
            from,
            change.id.to_string().into_bytes(),
            change.entry_kind.name().into(),
        ]);
    }

    fn is_full(&self) -> bool {
        self.changes >= BATCH_CHANGES_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

impl Publisher {
    pub(super) fn new(pool: &Arc<Pool>, stream: &str, warden: &Warden, root: Option<&str>) -> Result<Self> {
        check_name("stream", stream)?;
        if let Some(root) = root {
            check_name("root", root)?;
        }
        Ok(Self {
            keys: [pool.key("journal", stream), pool.key("stream", stream)],
            pool: Arc::clone(pool),
            stream: stream.to_owned(),
            cursor: warden.cursor(&format!("fleet.{stream}"))?,
            root: root.map(str::to_owned),
            entries_max: ENTRIES_DEFAULT,
            fence: 0,
            place: None,
            looked: 0,
            interrupt: Interrupt::new(&warden.engine().signal),
            warden: warden.clone(),
        })
    }

    /// Sets how many entries the stream keeps at least (default 100,000; 1 to a billion). Older ones are cut
    /// off, whether they were read or not; a group that has not read them yet is told with a `Reset`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a number out of range.
    pub fn entries_max(mut self, entries: u64) -> Result<Self> {
        if !(1..=ENTRIES_MAX).contains(&entries) {
            return Err(Error::invalid(format!("a stream of {entries} entries makes no sense"))
                .with_hint(format!("1 to {ENTRIES_MAX} are possible")));
        }
        self.entries_max = entries;
        Ok(self)
    }

    /// Publishes with the token of a leader. From then on the stream refuses everyone with a lower token, and
    /// everyone without. It takes the token as it is now: a leader of later needs a publisher of its own.
    #[must_use]
    pub fn fenced(mut self, leader: &Leader) -> Self {
        self.fence = leader.token();
        self
    }

    /// Appends what is new, up to about `changes_max` changes (0 counts as 1), and returns how many entries
    /// were appended. 0 means that there is nothing new. What was appended by a call that failed is not
    /// appended again.
    ///
    /// # Errors
    ///
    /// `LeaseLost` when another has published with a higher token, `Unavailable` when Redis cannot be reached,
    /// `Closed` when the warden has been closed, `Conflict` when another publisher moves the same cursor, and
    /// what the store says.
    pub fn publish_once(&mut self, changes_max: usize) -> Result<u64> {
        self.publish(changes_max.max(1), None)
    }

    /// Appends what is new, waits for more, and goes on until it is stopped. Waits over a Redis that cannot
    /// be reached.
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish_once`], but for `Unavailable`.
    pub fn run(&mut self, stop: &Stop) -> Result<()> {
        let _raises = stop.raises(self.interrupt.flag());
        while !stop.is_stopped() {
            match self.publish(usize::MAX, Some(stop)) {
                Ok(0) => {
                    let signal = &self.warden.engine().signal;
                    if signal.wait(self.looked, None, &self.interrupt) == Waited::Closed {
                        return Err(Error::new(ErrorKind::Closed, "the warden has been closed"));
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => stop.sleep(LOOK_AGAIN),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn publish(&mut self, changes_max: usize, stop: Option<&Stop>) -> Result<u64> {
        let mut acknowledged = self.cursor.position()?;
        // Taken: after an error the stream is asked again.
        let Some(mut place) = self.place.take().map_or_else(|| self.find(acknowledged), |p| Ok(Some(p)))?
        else {
            return self.begin_anew(acknowledged);
        };
        let changes = match self.warden.changes(acknowledged) {
            Ok(changes) => changes,
            Err(error) => return self.after_reset(error),
        };
        let last = changes.last_seq();
        let mut batch = Batch { upto: acknowledged, ..Batch::default() };
        let (mut seq, mut part, mut taken, mut appended) = (0, 0, 0, 0);
        let mut is_cut = false;
        for change in changes {
            let change = change?;
            if change.seq != seq {
                (seq, part) = (change.seq, 0);
                // Everything before this commit has been looked at.
                batch.upto = seq.saturating_sub(1);
            }
            part += 1;
            if place.holds(seq, part) || self.root.as_ref().is_some_and(|root| *root != change.root) {
                continue;
            }
            if taken >= changes_max || (batch.is_full() && stop.is_some_and(Stop::is_stopped)) {
                is_cut = true;
                break;
            }
            if batch.is_full() {
                let upto = batch.upto;
                match self.send(place, &batch)? {
                    Answer::Done(count, now) => (appended, place) = (appended + count, now),
                    Answer::Lost => return Ok(appended + self.begin_anew(acknowledged)?),
                }
                acknowledged = self.acknowledge(acknowledged, upto)?;
                batch = Batch { upto, ..Batch::default() };
            }
            batch.push(change, part);
            taken += 1;
        }
        // Commits without changes need no acknowledgement; that would be one more such commit.
        if !is_cut && seq > 0 {
            batch.upto = last;
        }
        if batch.changes > 0 || batch.upto > acknowledged {
            match self.send(place, &batch)? {
                Answer::Done(count, now) => (appended, place) = (appended + count, now),
                Answer::Lost => return Ok(appended + self.begin_anew(acknowledged)?),
            }
            self.acknowledge(acknowledged, batch.upto)?;
        }
        if !is_cut {
            self.looked = last;
        }
        self.place = Some(place);
        Ok(appended)
    }

    /// Asks what the stream holds; `None` when it cannot go on from there.
    fn find(&self, acknowledged: u64) -> Result<Option<Place>> {
        let known = Place { upto: acknowledged, seq: 0, part: 0 };
        match self.send(known, &Batch::default())? {
            // It holds commits that this database has not made yet: they were lost here, and their numbers will be
            // given again.
            Answer::Done(_, place) if place.upto.max(place.seq) > self.warden.seq() => Ok(None),
            Answer::Done(_, place) => Ok(Some(place)),
            Answer::Lost => Ok(None),
        }
    }

    /// Moves the cursor, if there is anything to move it over, and returns where it is.
    fn acknowledge(&self, from: u64, upto: u64) -> Result<u64> {
        testing::pass("fleet:published");
        if upto <= from {
            return Ok(from);
        }
        self.cursor.advance(upto)?;
        Ok(upto)
    }

    /// The journal no longer reaches back to the cursor: the stream says so, and goes on from now.
    fn after_reset(&mut self, error: Error) -> Result<u64> {
        let Some(restart) = error.restart_seq().filter(|_| error.kind() == ErrorKind::Reset) else {
            return Err(error);
        };
        let appended = self.begin_anew(restart)?;
        self.cursor.advance(restart)?;
        Ok(appended)
    }

    /// Appends a `reset`, after which the stream holds everything up to `upto`.
    fn begin_anew(&mut self, upto: u64) -> Result<u64> {
        tracing::warn!(stream = %escape(self.stream.as_bytes()), upto, "the stream begins anew");
        let known = Place { upto, seq: 0, part: 0 };
        match self.pass_on(known, &Batch::default(), true)? {
            Answer::Done(_, place) => {
                self.place = Some(place);
                Ok(1)
            }
            Answer::Lost => {
                Err(Error::new(ErrorKind::Io, "Redis has answered something that makes no sense"))
            }
        }
    }

    fn send(&self, known: Place, batch: &Batch) -> Result<Answer> {
        self.pass_on(known, batch, false)
    }

    fn pass_on(&self, known: Place, batch: &Batch, anew: bool) -> Result<Answer> {
        let engine = self.warden.engine();
        // What others have seen must not be forgotten here: its numbers would be given again.
        if engine.options.durability == Durability::Relaxed && (anew || batch.changes > 0 || batch.upto > 0) {
            engine.flush()?;
        }
        let answer = self.pool.call(|link| self.script(link, known, batch, anew))?;
        let number = |at: usize| u64::try_from(answer.get(at).copied().unwrap_or(0)).unwrap_or(0);
        match answer.first() {
            Some(1) => {
                Ok(Answer::Done(number(1), Place { upto: number(2), seq: number(3), part: number(4) }))
            }
            Some(2) => Ok(Answer::Lost),
            _ => {
                let stream = escape(self.stream.as_bytes());
                let (ours, theirs) = (self.fence, number(1));
                let what = format!("the stream `{stream}` has seen the token {theirs}, ours is {ours}");
                Err(Error::new(ErrorKind::LeaseLost, what).with_hint("only the present leader may publish"))
            }
        }
    }

    fn script(
        &self,
        link: &mut Link,
        known: Place,
        batch: &Batch,
        anew: bool,
    ) -> redis::RedisResult<Vec<i64>> {
        let database = format!("{:032x}", self.warden.engine().database);
        let mut script = self.pool.scripts().publish.prepare_invoke();
        for key in &self.keys {
            script.key(key.as_str());
        }
        script.arg(database).arg(self.fence).arg(known.upto).arg(known.seq).arg(known.part);
        script.arg(batch.upto.max(known.upto)).arg(self.entries_max).arg(u64::from(anew));
        script.arg(batch.args.as_slice());
        script.invoke(link.connection())
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("stream", &self.stream)
            .field("cursor", &self.cursor.name())
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
