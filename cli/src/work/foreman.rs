//! `treewarden work run`: the main thread hears of signals and of what came of jobs, and writes. Whatever
//! ends the work, the jobs in hand are brought to their end first.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use treewarden::PipelineStatus;

use crate::args::WorkRunArgs;
use crate::failure::{Failure, Outcome};
use crate::message::Message;
use crate::output::Out;
use crate::pipeline;
use crate::signals::{self, Wish};
use crate::state::StateFile;
use crate::text::count;

use super::command::CommandLine;
use super::crew::Crew;
use super::report::{JobOutcome, Report};

/// How often threads that are to end are woken: one may just have been on its way into the wait.
const NUDGE_EVERY: Duration = Duration::from_millis(10);

pub(super) fn run(state: &StateFile, args: &WorkRunArgs, out: &mut Out) -> Result<Outcome, Failure> {
    out.converse();
    let Some(mut command) = CommandLine::new(&args.command) else {
        return Err(Failure::usage("there is no command to run"));
    };
    command.shows_stdout = !out.json;
    command.shows_stderr = !out.json && !out.quiet;
    let warden = state.open()?;
    let crew = Crew::new(pipeline::open(&warden, &args.pipeline)?, command, args.once);
    let worked = lead(Arc::new(crew), args.threads, out);
    let closed = warden.close();
    let outcome = worked?;
    closed?;
    Ok(outcome)
}

fn lead(crew: Arc<Crew>, threads: u16, out: &mut Out) -> Result<Outcome, Failure> {
    let (sender, mail) = mpsc::channel();
    let for_signals = sender.clone();
    let tell = move |wish| {
        // Nobody listens any more when the command is about to end.
        let _ = for_signals.send(Mail::Signal(wish));
    };
    signals::listen(Wish::End, tell)
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
    out.notice(&format!("working on `{}`", crew.pipeline.name()));
    let mut foreman = Foreman { crew, mail, out, hired: 0, done: 0, failed: 0, was_stopped: false };
    let hired = (0..threads).try_for_each(|_| foreman.hire(&sender));
    if hired.is_err() {
        foreman.crew.end();
    }
    let led = foreman.run();
    // What kept a thread from beginning came first.
    hired.and(led)
}

/// What the threads, and the one that hears signals, tell the main one.
enum Mail {
    Signal(Wish),
    Report(Report),
    /// A thread has ended, and why if it could not go on.
    Left(Result<(), Failure>),
}

/// Tells the main thread of the end of a thread, also of one by a panic.
struct Farewell {
    post: Sender<Mail>,
    worked: Result<(), Failure>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more after a failure of the main thread.
        let _ = self.post.send(Mail::Left(std::mem::replace(&mut self.worked, Ok(()))));
    }
}

struct Foreman<'o> {
    crew: Arc<Crew>,
    mail: Receiver<Mail>,
    out: &'o mut Out,
    /// Threads that have not ended.
    hired: u16,
    done: u64,
    failed: u64,
    /// Somebody said stop.
    was_stopped: bool,
}

impl Foreman<'_> {
    fn hire(&mut self, post: &Sender<Mail>) -> Result<(), Failure> {
        let (crew, post) = (Arc::clone(&self.crew), post.clone());
        let work = move || {
            let worked = Err(Failure::new("a thread has failed"));
            let mut farewell = Farewell { post, worked };
            let tell = |report| {
                let _ = farewell.post.send(Mail::Report(report));
            };
            let worked = crew.work(tell);
            farewell.worked = worked;
        };
        thread::Builder::new()
            .name("work".to_owned())
            .spawn(work)
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        self.hired += 1;
        Ok(())
    }

    /// Until all threads have ended; the first failure counts.
    fn run(mut self) -> Result<Outcome, Failure> {
        let mut heeded = Ok(());
        while self.hired > 0 {
            let Some(mail) = self.next() else { continue };
            if let Err(failure) = self.heed(mail) {
                self.crew.end();
                heeded = heeded.and(Err(failure));
            }
        }
        heeded?;
        self.sum_up()
    }

    fn next(&self) -> Option<Mail> {
        if !self.crew.is_over() {
            // Every thread that has not ended holds the other end.
            return self.mail.recv().ok();
        }
        self.crew.pipeline.interrupt();
        self.mail.recv_timeout(NUDGE_EVERY).ok()
    }

    fn heed(&mut self, mail: Mail) -> Result<(), Failure> {
        match mail {
            Mail::Signal(Wish::Status) => self.tell_status(),
            Mail::Signal(Wish::End | Wish::Reload) => {
                self.was_stopped = true;
                self.crew.end();
                self.out.notice("no more jobs are taken; those in hand are brought to their end");
                Ok(())
            }
            Mail::Report(report) => self.tell(&report),
            Mail::Left(worked) => {
                self.hired -= 1;
                worked
            }
        }
    }

    fn tell(&mut self, report: &Report) -> Result<(), Failure> {
        match report.outcome {
            JobOutcome::Done => self.done += 1,
            JobOutcome::Failed | JobOutcome::FailedForGood | JobOutcome::LeaseLost => self.failed += 1,
            JobOutcome::Released => {}
        }
        if self.out.json {
            self.out.object(&report.line(self.crew.pipeline.name()))?;
            self.out.flush()?;
        } else if let Some(complaint) = report.complaint() {
            self.out.say(&Message::Error { root: None, message: &complaint });
        }
        Ok(())
    }

    fn tell_status(&self) -> Result<(), Failure> {
        let status = self.crew.pipeline.status()?;
        self.out.say(&Message::Working {
            pipeline: self.crew.pipeline.name(),
            done: self.done,
            failed: self.failed,
            processing: status.processing,
            waiting: waiting(&status),
        });
        Ok(())
    }

    /// A run over all that is due is complete when it came to its end and all went well.
    fn sum_up(&self) -> Result<Outcome, Failure> {
        let mut told = format!("{} done, {} failed", count(self.done), count(self.failed));
        let waiting = waiting(&self.crew.pipeline.status()?);
        if waiting > 0 {
            told.push_str(&format!(", {} left for later", count(waiting)));
        }
        self.out.notice(&told);
        let is_complete = self.failed == 0 && !self.was_stopped;
        Ok(Outcome::complete_if(is_complete || !self.crew.once))
    }
}

/// Items that something is to be done about, now or later, and that nobody has in hand.
fn waiting(status: &PipelineStatus) -> u64 {
    let all = status.new + status.changed + status.stale + status.error + status.missing;
    all.saturating_sub(status.dead).saturating_sub(status.processing)
}
