//! `treewarden mirror follow`: the roots are watched, each mirror follows its root, and what changes in how they
//! stand is printed until somebody says stop.
//!
//! The main thread waits for events, looks at the mirrors every now and then, and writes. Two others do nothing
//! but wait: for signals, and for the end of the first look at the roots.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use treewarden::mirror::{Credentials, Following, Mirror, MirrorInfo, MirrorStatus, Purge};
use treewarden::{
    ErrorKind, Event, Interrupter, RootInfo, RootState, RootWatch, Subscription, Warden, WatchOptions,
};

use crate::address::split;
use crate::args::MirrorFollowArgs;
use crate::failure::{Failure, Outcome};
use crate::message::Message;
use crate::output::Out;
use crate::signals::{self, Wish};
use crate::state::StateFile;
use crate::text::{count, counted, printable, size};

use super::credentials::Environment;
use super::report::StatusLine;
use super::{about, chosen};

/// How often the mirrors are looked at. A look counts all objects: with very many it is taken less often, so
/// that it never costs more than a fiftieth of the time.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_SHARE: u32 = 50;
/// How long one wait for the first look at the roots is; another follows.
const SYNC_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(state: &StateFile, args: &MirrorFollowArgs, out: &mut Out) -> Result<Outcome, Failure> {
    out.converse();
    let warden = state.open()?;
    let environment = Environment::of_process();
    let cdn = environment.cdn(args.cloudflare_zone.as_deref())?;
    let mut mirrors = Vec::new();
    for info in chosen(&warden, &args.names)? {
        let credentials = environment
            .credentials(info.target.as_ref(), &args.access)
            .map_err(|failure| about(&info.name, failure))?;
        mirrors.push(Followed {
            info,
            credentials,
            mirror: None,
            following: None,
            told: None,
            trouble: None,
        });
    }
    let followed = follow(&warden, mirrors, cdn, out);
    let closed = warden.close();
    followed?;
    closed?;
    Ok(Outcome::Complete)
}

fn follow(
    warden: &Warden,
    mirrors: Vec<Followed>,
    cdn: Option<Arc<dyn Purge>>,
    out: &mut Out,
) -> Result<(), Failure> {
    let events = warden.subscribe();
    let (sender, mail) = mpsc::channel();
    let post = Post { sender, interrupter: events.interrupter() };
    let for_signals = post.clone();
    signals::listen(Wish::End, move |wish| for_signals.send(Mail::Signal(wish)))
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;

    let mut follower =
        Follower { warden: warden.clone(), out, events, post, mail, mirrors, cdn, is_synced: false };
    // What cannot be opened for another reason than an absent root will not be better later.
    follower.open()?;
    let roots = follower.mirrors.iter().map(Followed::root);
    let options = roots.fold(WatchOptions::new(), |options, root| options.root(root, RootWatch::new()));
    warden.watch_with(&options)?;
    follower.start()?;
    follower.await_sync()?;
    follower.run()
}

/// What the other threads tell the main one.
enum Mail {
    Signal(Wish),
    /// The first look at the roots has ended, well or not.
    Synced,
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

/// A mirror that follows, or will as soon as its root can be trusted.
struct Followed {
    info: MirrorInfo,
    credentials: Credentials,
    /// Dropped in this order: what follows ends before the mirror does.
    following: Option<Following>,
    mirror: Option<Mirror>,
    /// What was printed last.
    told: Option<Told>,
    /// Why it could not be opened, as it was said last.
    trouble: Option<String>,
}

impl Followed {
    /// The name of its root. A name is UTF-8.
    fn root(&self) -> String {
        String::from_utf8_lossy(split(self.info.options.address()).0).into_owned()
    }

    fn open(&mut self, warden: &Warden, cdn: Option<&Arc<dyn Purge>>) -> treewarden::Result<()> {
        if self.mirror.is_none() {
            self.mirror = Some(warden.mirror(&self.info.name, &self.credentials, cdn.cloned())?);
        }
        Ok(())
    }
}

struct Follower<'o> {
    warden: Warden,
    out: &'o mut Out,
    events: Subscription,
    post: Post,
    mail: Receiver<Mail>,
    mirrors: Vec<Followed>,
    cdn: Option<Arc<dyn Purge>>,
    /// Every root was looked at.
    is_synced: bool,
}

impl Follower<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut patience = LOOK_EVERY;
        let mut looked = Instant::now();
        loop {
            if let Some(event) = self.events.next(Some(patience))? {
                self.heed(&event)?;
            }
            while let Ok(mail) = self.mail.try_recv() {
                match mail {
                    Mail::Signal(Wish::End | Wish::Reload) => return self.end(),
                    Mail::Signal(Wish::Status) => self.tell_all()?,
                    Mail::Synced => {
                        self.is_synced = true;
                        self.start()?;
                        let following = self.mirrors.iter().filter(|one| one.following.is_some()).count();
                        let following = counted(following as u64, "mirror", "mirrors");
                        self.out.notice(&format!("following {following}"));
                    }
                }
            }
            if looked.elapsed() >= patience {
                let begun = Instant::now();
                self.look(false)?;
                looked = Instant::now();
                patience = LOOK_EVERY.max(begun.elapsed().saturating_mul(LOOK_SHARE));
            }
        }
    }

    fn heed(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            // A root that was away may be back, whoever was told of it.
            Event::RootBack { .. } | Event::ScanFinished { .. } | Event::Reset { .. } => {
                self.reopen();
                self.start()?;
            }
            // That is how every root begins.
            Event::Coherent { .. } => return Ok(()),
            _ => {}
        }
        if let Some(message) = Message::of(event) {
            self.out.say(&message);
        }
        Ok(())
    }

    /// Opens every mirror whose root is there; the others are waited for.
    fn open(&mut self) -> Result<(), Failure> {
        for one in &mut self.mirrors {
            match one.open(&self.warden, self.cdn.as_ref()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => complain(one, &error, self.out),
                Err(error) => return Err(about(&one.info.name, error.into())),
            }
        }
        Ok(())
    }

    /// Tries those again that could not be opened.
    fn reopen(&mut self) {
        for one in &mut self.mirrors {
            if let Err(error) = one.open(&self.warden, self.cdn.as_ref()) {
                complain(one, &error, self.out);
            }
        }
    }

    /// Lets those follow that can: there is nothing to copy of a root before its first scan.
    fn start(&mut self) -> Result<(), Failure> {
        let roots = self.warden.roots();
        for one in &mut self.mirrors {
            let is_time = self.is_synced || is_scanned(&roots, &one.root());
            if let Some(mirror) = &one.mirror
                && one.following.is_none()
                && is_time
            {
                one.following = Some(mirror.follow().map_err(|error| about(&one.info.name, error.into()))?);
            }
        }
        Ok(())
    }

    /// Lets a thread wait for the end of the first look at the roots.
    fn await_sync(&self) -> Result<(), Failure> {
        let (warden, post) = (self.warden.clone(), self.post.clone());
        let wait = move || {
            while warden.sync(SYNC_WAIT).is_err_and(|error| error.kind() == ErrorKind::Timeout) {}
            post.send(Mail::Synced);
        };
        let spawned = thread::Builder::new().name("sync".to_owned()).spawn(wait);
        spawned.map(drop).map_err(|error| Failure::new(format!("cannot start a thread: {error}")))
    }

    /// Prints how those mirrors stand of which something has changed; at the end also of those that were
    /// interrupted.
    fn look(&mut self, is_last: bool) -> Result<(), Failure> {
        for one in &mut self.mirrors {
            let Some(mirror) = &one.mirror else { continue };
            let is_new = one.told.is_none();
            if is_new && one.following.is_none() {
                continue;
            }
            let status = mirror.status();
            // Amid a run the numbers are those of the one before, and the queue of purges flickers.
            if status.running && !is_new && !is_last {
                continue;
            }
            let told = Told::of(&status);
            if one.told.as_ref() != Some(&told) {
                print(&status, self.out)?;
                one.told = Some(told);
            }
        }
        Ok(self.out.flush()?)
    }

    fn tell_all(&mut self) -> Result<(), Failure> {
        for mirror in self.mirrors.iter().filter_map(|one| one.mirror.as_ref()) {
            print(&mirror.status(), self.out)?;
        }
        Ok(self.out.flush()?)
    }

    /// Ends every run in order: what is acknowledged by then is recorded.
    fn end(&mut self) -> Result<(), Failure> {
        for one in &mut self.mirrors {
            one.following = None;
        }
        self.look(true)
    }
}

/// Says why a mirror cannot follow, once.
fn complain(one: &mut Followed, error: &treewarden::Error, out: &Out) {
    let message = format!("mirror `{}` waits: {}", one.info.name, error.message());
    if one.trouble.as_ref() != Some(&message) {
        out.say(&Message::Error { root: None, message: &message });
        one.trouble = Some(message);
    }
}

fn is_scanned(roots: &[RootInfo], name: &str) -> bool {
    roots.iter().any(|root| root.name == name && root.state != RootState::New)
}

/// What is worth a line when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    uploaded: u64,
    uploaded_bytes: u64,
    copied: u64,
    deleted: u64,
    failed: u64,
    purged: u64,
    held: u64,
    purges_waiting: u64,
    last_error: Option<String>,
}

impl Told {
    fn of(status: &MirrorStatus) -> Told {
        let counters = &status.counters;
        Told {
            uploaded: counters.uploaded,
            uploaded_bytes: counters.uploaded_bytes,
            copied: counters.copied,
            deleted: counters.deleted,
            failed: counters.failed,
            purged: counters.purged,
            held: status.held,
            purges_waiting: status.purges_waiting,
            last_error: status.last_error.clone(),
        }
    }

    /// What was done since the start, what waits, and what is wrong.
    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        if self.uploaded > 0 {
            facts.push(format!("{} sent ({})", count(self.uploaded), size(self.uploaded_bytes)));
        }
        let rest = [
            (self.copied, "copied"),
            (self.deleted, "deleted"),
            (self.purged, "purged"),
            (self.failed, "failed"),
            (self.held, "to be deleted, and held"),
            (self.purges_waiting, "to be purged"),
        ];
        facts.extend(rest.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))));
        facts.extend(self.last_error.as_ref().map(|error| format!("waits: {}", printable(error))));
        facts
    }
}

fn print(status: &MirrorStatus, out: &mut Out) -> Result<(), Failure> {
    if out.json {
        return Ok(out.object(&StatusLine::new(status))?);
    }
    let objects = counted(status.objects, "object", "objects");
    let mut facts = vec![format!("{objects} ({})", size(status.object_bytes))];
    facts.extend(Told::of(status).facts());
    Ok(writeln!(out, "{}: {}", printable(&status.name), facts.join(", "))?)
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn only_what_happened_is_told() {
        let none = Told {
            uploaded: 0,
            uploaded_bytes: 0,
            copied: 0,
            deleted: 0,
            failed: 0,
            purged: 0,
            held: 0,
            purges_waiting: 0,
            last_error: None,
        };
        assert!(none.facts().is_empty());
        let some = Told {
            uploaded: 1_000,
            uploaded_bytes: 2_048,
            purges_waiting: 3,
            last_error: Some("no\u{1b} answer".to_owned()),
            ..none
        };
        assert_eq!(some.facts(), ["1,000 sent (2.0 KiB)", "3 to be purged", "waits: no\\u{1b} answer"]);
    }
}
