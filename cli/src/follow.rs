//! Following: every change is told as it is committed, until somebody says stop.
//!
//! What is told comes from the journal; events of the engine only say when it is worth a look. The main
//! thread waits for events and writes. Two others do nothing but wait: for signals, and for the end of
//! the first look.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use treewarden::{
    Change, ChangeKind, ErrorKind, Event, Interrupter, OperationKind, OperationStatus, RootInfo,
    Subscription, Warden, WatchOptions,
};

use crate::address::split;
use crate::changes;
use crate::failure::{Failure, Outcome};
use crate::live::LivePart;
use crate::message::Message;
use crate::output::Out;
use crate::reload::{self, ConfigFile};
use crate::signals::{self, Wish};

/// How long one wait for the first look is; another follows.
const SYNC_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is followed, and how.
pub(crate) struct Course {
    /// The journal is told after this seq.
    pub(crate) since: u64,
    /// The addresses below which changes are told; `None`: everywhere.
    pub(crate) scope: Option<Vec<Vec<u8>>>,
    pub(crate) options: WatchOptions,
    pub(crate) config: Option<ConfigFile>,
}

/// Follows until a signal says stop, or whoever reads has gone. The state is closed in any case.
pub(crate) fn run(warden: Warden, course: Course, out: &mut Out) -> Result<Outcome, Failure> {
    let followed = follow(&warden, course, out);
    let closed = warden.close();
    followed?;
    closed?;
    Ok(Outcome::Complete)
}

fn follow(warden: &Warden, course: Course, out: &mut Out) -> Result<(), Failure> {
    let events = warden.subscribe();
    let (sender, mail) = mpsc::channel();
    let post = Post { sender, interrupter: events.interrupter() };
    let hangup = if course.config.is_some() { Wish::Reload } else { Wish::End };
    let for_signals = post.clone();
    signals::listen(hangup, move |wish| for_signals.send(Mail::Signal(wish)))
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;

    let mut follower = Follower {
        warden: warden.clone(),
        out,
        events,
        post,
        mail,
        scope: course.scope,
        last: course.since,
        first_scans: BTreeMap::new(),
        incoherent: BTreeSet::new(),
        config: course.config,
        is_begun: false,
    };
    // What the journal holds already may tell of roots of the same names that were removed since.
    follower.tell_up_to(warden.seq())?;
    follower.await_first_scans(unseen(&follower.roots()));
    warden.watch_with(&course.options)?;
    follower.await_sync();
    follower.run()
}

/// What the other threads tell the main one.
enum Mail {
    Signal(Wish),
    /// The first look has ended, at this seq.
    Synced(treewarden::Result<u64>),
}

/// Brings mail and wakes the main thread to read it.
#[derive(Clone)]
struct Post {
    sender: Sender<Mail>,
    interrupter: Interrupter,
}

impl Post {
    fn send(&self, mail: Mail) {
        // Nobody listens any more when the command is about to end.
        if self.sender.send(mail).is_ok() {
            self.interrupter.interrupt();
        }
    }
}

struct Follower<'o> {
    warden: Warden,
    out: &'o mut Out,
    events: Subscription,
    post: Post,
    mail: Receiver<Mail>,
    scope: Option<Vec<Vec<u8>>>,
    /// The last commit that was told.
    last: u64,
    /// Roots that are being scanned for the first time, and how many of their files were found so far:
    /// these are counted, not told.
    first_scans: BTreeMap<String, u64>,
    /// Roots of which somebody heard that not everything is known.
    incoherent: BTreeSet<String>,
    config: Option<ConfigFile>,
    /// The first look is done, and that was said.
    is_begun: bool,
}

impl Follower<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        // Without a file to look at there is nothing to wake up for.
        let patience = self.config.is_some().then_some(reload::LOOK_EVERY);
        loop {
            if let Some(event) = self.events.next(patience)? {
                self.heed(&event)?;
            }
            while let Ok(mail) = self.mail.try_recv() {
                match mail {
                    Mail::Signal(Wish::End) => return self.tell_up_to(self.warden.seq()),
                    Mail::Signal(Wish::Reload) => self.reload(),
                    Mail::Signal(Wish::Status) => self.tell_status(),
                    Mail::Synced(synced) => self.begin(synced)?,
                }
            }
            if self.config.as_mut().is_some_and(ConfigFile::has_changed) {
                self.reload();
            }
        }
    }

    fn heed(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Committed { last_seq, .. } => return self.tell_up_to(*last_seq),
            Event::ScanFinished { root, kind, status, seq, .. } => {
                return self.end_of_scan(root, *kind, *status, *seq);
            }
            Event::Overflow { root } | Event::RootUnavailable { root, .. } | Event::RootHeld { root, .. } => {
                self.incoherent.insert(root.clone());
            }
            // Nobody was told that it was not: that is how every root begins.
            Event::Coherent { root } if !self.incoherent.remove(root) => return Ok(()),
            Event::Reset { .. } => {
                // The journal has what was missed, but for the end of a first scan and of an overflow.
                self.tell_up_to(self.warden.seq())?;
                self.end_first_scans();
                self.incoherent.extend(self.roots().into_iter().map(|root| root.name));
            }
            _ => {}
        }
        if let Some(message) = Message::of(event) {
            self.out.say(&message);
        }
        Ok(())
    }

    /// Tells the changes up to a commit, and sees to it that they are read.
    fn tell_up_to(&mut self, seq: u64) -> Result<(), Failure> {
        if seq <= self.last {
            return Ok(());
        }
        let changes = match self.warden.changes(self.last) {
            Ok(changes) => changes.files_only(),
            Err(error) => return self.start_over(error),
        };
        let upto = seq.min(changes.last_seq());
        for change in changes {
            let change = change?;
            if change.seq > upto {
                break;
            }
            if self.is_told(&change) {
                changes::print(&change, self.out)?;
            }
        }
        self.last = self.last.max(upto);
        Ok(self.out.flush()?)
    }

    /// The journal does not reach back any more: goes on where it can, and says so.
    fn start_over(&mut self, error: treewarden::Error) -> Result<(), Failure> {
        let Some(restart_seq) = error.restart_seq() else {
            return Err(error.into());
        };
        self.out.say(&Message::JournalReset { after: self.last, restart_seq });
        self.last = restart_seq;
        Ok(())
    }

    /// Whether a change is told; counts it where it is not, but belongs to a first scan.
    fn is_told(&mut self, change: &Change) -> bool {
        if let Some(scope) = &self.scope {
            let is_inside = |path: &[u8]| scope.iter().any(|address| is_within(path, address));
            if !is_inside(&change.path) && !change.from.as_deref().is_some_and(is_inside) {
                return false;
            }
        }
        if change.kind == ChangeKind::Added
            && let Some(found) = self.first_scans.get_mut(&change.root)
        {
            *found += 1;
            return false;
        }
        true
    }

    fn await_first_scans(&mut self, roots: Vec<String>) {
        for root in roots {
            self.first_scans.entry(root).or_insert(0);
        }
    }

    /// From the end of its first scan on, a root is as any other.
    fn end_of_scan(
        &mut self,
        root: &str,
        kind: OperationKind,
        status: OperationStatus,
        seq: u64,
    ) -> Result<(), Failure> {
        let is_whole = !matches!(kind, OperationKind::Subtree | OperationKind::Live);
        let is_applied = matches!(status, OperationStatus::Ok | OperationStatus::Partial);
        if is_whole && is_applied && self.first_scans.contains_key(root) {
            self.tell_up_to(seq)?;
            self.end_first_scan(root);
        }
        Ok(())
    }

    fn end_first_scan(&mut self, root: &str) {
        if let Some(files) = self.first_scans.remove(root) {
            self.out.say(&Message::FirstScan { root, files });
        }
    }

    /// Ends the first scans that are over, whether their end was heard of or not.
    fn end_first_scans(&mut self) {
        let unseen = unseen(&self.warden.roots());
        let over: Vec<String> =
            self.first_scans.keys().filter(|root| !unseen.contains(root)).cloned().collect();
        for root in over {
            self.end_first_scan(&root);
        }
    }

    /// Lets a thread wait for the end of the first look; this one has to tell what is found meanwhile.
    fn await_sync(&self) {
        let (warden, post) = (self.warden.clone(), self.post.clone());
        let wait = move || {
            let synced = loop {
                match warden.sync(SYNC_WAIT) {
                    Err(error) if error.kind() == ErrorKind::Timeout => {}
                    synced => break synced,
                }
            };
            post.send(Mail::Synced(synced));
        };
        if let Err(error) = thread::Builder::new().name("sync".to_owned()).spawn(wait) {
            let message = format!("cannot start a thread: {error}");
            self.out.say(&Message::Error { root: None, message: &message });
        }
    }

    fn begin(&mut self, synced: treewarden::Result<u64>) -> Result<(), Failure> {
        match synced {
            Ok(seq) => self.tell_up_to(seq)?,
            // The warden is closed: the next event says so.
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            // A reload had paused it, and has resumed it by now.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.await_sync();
                return Ok(());
            }
            // The engine told what failed, tries again and watches: so there is no more to wait for.
            Err(_) => {}
        }
        self.end_first_scans();
        if !self.is_begun {
            self.is_begun = true;
            self.out.say(&Message::Watching { roots: self.roots().len(), files: self.files() });
        }
        Ok(())
    }

    /// The roots that are watched for their own sake.
    fn roots(&self) -> Vec<RootInfo> {
        let mut roots = self.warden.roots();
        if let Some(scope) = &self.scope {
            roots.retain(|root| scope.iter().any(|address| split(address).0 == root.name.as_bytes()));
        }
        roots
    }

    /// How many files and symlinks are known where changes are told.
    fn files(&self) -> u64 {
        let snapshot = self.warden.snapshot();
        let of = |address: &[u8]| snapshot.du(address).map_or(0, |totals| totals.files);
        match &self.scope {
            Some(scope) => scope.iter().map(|address| of(address)).sum(),
            None => self.warden.roots().iter().map(|root| of(root.name.as_bytes())).sum(),
        }
    }

    fn tell_status(&self) {
        match self.warden.status() {
            Ok(status) => {
                if let Some(live) = &status.live {
                    self.out.say(&Message::Status { seq: status.seq, live: LivePart::new(live) });
                }
            }
            Err(error) => self.out.say(&Message::Error { root: None, message: error.message() }),
        }
    }

    fn reload(&mut self) {
        let Some(config) = &mut self.config else { return };
        if let Some(applied) = config.reload(&self.warden, self.out) {
            self.scope = Some(config.config().scope());
            self.await_first_scans(applied.unseen);
            // The first scans of new roots have an end, too.
            self.await_sync();
        }
    }
}

/// The roots that have never been scanned.
fn unseen(roots: &[RootInfo]) -> Vec<String> {
    roots.iter().filter(|root| root.last_scan_ns.is_none()).map(|root| root.name.clone()).collect()
}

/// True for `address` itself and for what lies below it.
fn is_within(path: &[u8], address: &[u8]) -> bool {
    path.strip_prefix(address).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The addresses that lie below no other one of them.
pub(crate) fn outermost(mut addresses: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    addresses.sort();
    addresses.dedup();
    let all = addresses.clone();
    addresses.retain(|address| !all.iter().any(|other| other != address && is_within(address, other)));
    addresses
}

#[cfg(test)]
mod tests {
    use super::{is_within, outermost};

    #[test]
    fn a_place_holds_itself_and_what_is_below() {
        let cases: [(&[u8], &[u8], bool); 5] = [
            (b"music", b"music", true),
            (b"music/a", b"music", true),
            (b"music-2/a", b"music", false),
            (b"music", b"music/a", false),
            (b"music/a\xff/b", b"music/a\xff", true),
        ];
        for (path, address, expected) in cases {
            assert_eq!(is_within(path, address), expected, "{path:?} {address:?}");
        }
    }

    #[test]
    fn a_place_inside_another_one_is_told_with_it() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["b", "a"], &["a", "b"]),
            (&["a/x", "a"], &["a"]),
            (&["a", "a", "a-2", "a/x/y"], &["a", "a-2"]),
            (&["a/x", "a/y"], &["a/x", "a/y"]),
        ];
        let bytes = |places: &[&str]| -> Vec<Vec<u8>> {
            places.iter().map(|place| place.as_bytes().to_vec()).collect()
        };
        for (typed, expected) in cases {
            assert_eq!(outermost(bytes(typed)), bytes(expected), "{typed:?}");
        }
    }
}
