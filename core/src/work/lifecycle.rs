//! The state of an item in a pipeline: a pure function of what the snapshot knows of it, what its record
//! says, and the time. Nothing here reads a clock, a store or a tree, and nothing is remembered.
//!
//! Invariant: whoever asks [`judge`] again with the same arguments gets the same answer, so a state can
//! never be out of date.

use super::record::{Done, Failure, Record, Version};

/// Waiting raises an item by one class for each of these, in nanoseconds: 10 minutes.
pub(crate) const AGEING_NS: i64 = 10 * 60 * 1_000_000_000;

/// When an item is due that has nothing to wait for: before every time there is.
pub(crate) const AT_ONCE_NS: i64 = i64::MIN;

/// When an item is due that nothing but a change or a caller makes due.
pub(crate) const NEVER_NS: i64 = i64::MAX;

/// How an item stands in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkState {
    /// It is there and was never done.
    New,
    /// Its content, or the version of the pipeline, is not the one that was last done.
    Changed,
    /// It was done, and its refresh time has come.
    Stale,
    /// The last attempt failed. It is tried again later, or is dead.
    Error,
    /// It was done and is gone: what was made of it should be cleaned up.
    Missing,
    /// Somebody holds a lease on it.
    Processing,
    /// It was done, and there is nothing to do.
    Indexed,
}

impl WorkState {
    /// Returns `new`, `changed`, `stale`, `error`, `missing`, `processing` or `indexed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Stale => "stale",
            Self::Error => "error",
            Self::Missing => "missing",
            Self::Processing => "processing",
            Self::Indexed => "indexed",
        }
    }

    /// Returns the state of a name; `None` for one that is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        use WorkState::{Changed, Error, Indexed, Missing, New, Processing, Stale};
        [New, Changed, Stale, Error, Missing, Processing, Indexed]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// The class of a job. The lower the number, the earlier it is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    /// Somebody waits for it: a request.
    Critical = 0,
    /// Never done.
    High = 1,
    /// Changed or missing.
    Medium = 2,
    /// To be refreshed.
    Low = 3,
    /// Part of a full refresh.
    VeryLow = 4,
}

impl Priority {
    /// Returns `critical`, `high`, `medium`, `low` or `very_low`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::VeryLow => "very_low",
        }
    }

    /// Returns the number, 0 (critical) to 4 (very low). It never changes.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::VeryLow];

    /// Returns the class of a number; `None` above 4.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.code() == code)
    }

    /// Returns the class of a name; `None` for one that is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }

    /// The class of this reason in a pipeline whose new files are of the class `base`: as many classes
    /// behind that as behind `High` elsewhere, and never behind the last one.
    fn based_on(self, base: Self) -> Self {
        let code = (self.code() + base.code()).saturating_sub(Self::High.code());
        Self::from_code(code).unwrap_or(Self::VeryLow)
    }
}

/// What the snapshot knows of an item that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The content as it is now.
    pub(crate) version: Version,
    /// Since when the fingerprint is not known to have moved, nanoseconds since 1970 UTC. Never after
    /// now, or the item settles later by that.
    pub(crate) still_since_ns: i64,
}

/// The options of a pipeline that decide a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Another one than that of the last completion makes everything `Changed`.
    pub(crate) pipeline_version: u32,
    /// For how long new and changed content must be still, in nanoseconds.
    pub(crate) settle_ns: i64,
    /// The class of what is new.
    pub(crate) base: Priority,
}

/// How an item stands, and when it is to be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Never `Processing`: whether a lease is held is not asked here.
    pub(crate) state: WorkState,
    /// The class of its job, before ageing. Of `Indexed`: of the refresh that will come.
    pub(crate) priority: Priority,
    /// From when on a job is due, nanoseconds since 1970 UTC, between [`AT_ONCE_NS`] and [`NEVER_NS`]. Of
    /// `Indexed`, which needs no job: when it becomes `Stale`.
    pub(crate) due_ns: i64,
    /// Failed for good: listed, and never handed out until it changes or somebody asks.
    pub(crate) dead: bool,
}

/// Judges one item at `now_ns`, nanoseconds since 1970 UTC.
///
/// `facts` is `None` for what is not there. The answer is `None` when nothing is to be done and nothing
/// is worth knowing: the item is not there and was never done, so its record can go.
pub(crate) fn judge(
    facts: Option<&Facts>,
    record: Option<&Record>,
    policy: Policy,
    now_ns: i64,
) -> Option<Verdict> {
    let mut verdict = without_failure(facts, record.and_then(|record| record.done.as_ref()), policy, now_ns)?;
    verdict.priority = verdict.priority.based_on(policy.base);
    let Some(record) = record else { return Some(verdict) };
    if let Some(failure) = record.failure.as_ref().filter(|failure| is_about(failure, facts, policy)) {
        verdict = after_failure(verdict, failure);
    }
    // A snooze of 0 is none; before 1970 nobody snoozed.
    if verdict.state != WorkState::Indexed && record.not_before_ns > 0 {
        verdict.due_ns = verdict.due_ns.max(record.not_before_ns);
    }
    Some(verdict)
}

/// The state under a failure.
fn without_failure(
    facts: Option<&Facts>,
    done: Option<&Done>,
    policy: Policy,
    now_ns: i64,
) -> Option<Verdict> {
    let alive = |state, priority, due_ns| Verdict { state, priority, due_ns, dead: false };
    let settled_ns = |facts: &Facts| facts.still_since_ns.saturating_add(policy.settle_ns.max(0));
    Some(match (facts, done) {
        (None, None) => return None,
        (None, Some(_)) => alive(WorkState::Missing, Priority::Medium, AT_ONCE_NS),
        (Some(facts), None) => alive(WorkState::New, Priority::High, settled_ns(facts)),
        (Some(facts), Some(done))
            if done.pipeline_version != policy.pipeline_version || !done.version.same(&facts.version) =>
        {
            alive(WorkState::Changed, Priority::Medium, settled_ns(facts))
        }
        (Some(_), Some(done)) => match done.refresh_at_ns {
            0 => alive(WorkState::Indexed, Priority::Low, NEVER_NS),
            at if at <= now_ns => alive(WorkState::Stale, Priority::Low, at),
            at => alive(WorkState::Indexed, Priority::Low, at),
        },
    })
}

/// A failure counts while what failed is what is there now; anything else is a new try.
fn is_about(failure: &Failure, facts: Option<&Facts>, policy: Policy) -> bool {
    let same = match (&failure.version, facts) {
        (None, None) => true,
        (Some(failed), Some(facts)) => failed.same(&facts.version),
        (None, Some(_)) | (Some(_), None) => false,
    };
    same && failure.pipeline_version == policy.pipeline_version
}

fn after_failure(under: Verdict, failure: &Failure) -> Verdict {
    // What is being written now may fail for that very reason: it settles first all the same.
    let settles = matches!(under.state, WorkState::New | WorkState::Changed);
    let due_ns = match (failure.dead, settles) {
        (true, _) => NEVER_NS,
        (false, true) => failure.retry_at_ns.max(under.due_ns),
        (false, false) => failure.retry_at_ns,
    };
    Verdict { state: WorkState::Error, priority: under.priority, due_ns, dead: failure.dead }
}

/// Returns the class, as a number, of a job that has been due for `waited_ns` nanoseconds. Each
/// [`AGEING_NS`] raises it by one, up to `High`; `Critical` stays for what is asked for.
pub(crate) fn effective(priority: Priority, waited_ns: i64) -> u8 {
    let steps = u8::try_from(waited_ns.max(0) / AGEING_NS).unwrap_or(u8::MAX);
    let highest = Priority::High.min(priority);
    priority.code().saturating_sub(steps).max(highest.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_000_000 * SECOND;
    const SETTLE: i64 = SECOND;
    const POLICY: Policy = Policy { pipeline_version: 7, settle_ns: SETTLE, base: Priority::High };

    /// What was done, what is there instead, and what was there in between.
    const A: Version = Version { facts: 0xA, hash: None };
    const B: Version = Version { facts: 0xB, hash: None };
    const C: Version = Version { facts: 0xC, hash: None };

    fn there(version: Version, still_since_ns: i64) -> Facts {
        Facts { version, still_since_ns }
    }

    fn done(version: Version, pipeline_version: u32, refresh_at_ns: i64) -> Done {
        Done { version, pipeline_version, at_ns: NOW - 500 * SECOND, refresh_at_ns }
    }

    fn failed(version: Option<Version>, pipeline_version: u32, retry_at_ns: i64, dead: bool) -> Failure {
        let error = "no answer".to_owned();
        Failure { version, pipeline_version, attempts: 1, at_ns: NOW - SECOND, retry_at_ns, dead, error }
    }

    fn is_due(verdict: &Verdict, now_ns: i64) -> bool {
        let needs_job = verdict.state != WorkState::Indexed && !verdict.dead;
        needs_job && verdict.due_ns <= now_ns && verdict.due_ns != NEVER_NS
    }

    // The table: every combination of what decides, held against rules that are written down as rules.

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Now {
        Gone,
        SameAsDone,
        AnotherThanDone,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Past {
        NoRecord,
        NeverDone,
        Done { by_this_pipeline: bool },
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fail {
        None,
        About { what: FailedOn, by_this_pipeline: bool, dead: bool },
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum FailedOn {
        Done,
        Other,
        Third,
        Missing,
    }

    #[derive(Debug, Clone, Copy)]
    struct Case {
        now: Now,
        past: Past,
        fail: Fail,
        retry_at: i64,
        snooze: i64,
        refresh: i64,
        still_since: i64,
    }

    impl Case {
        fn all() -> Vec<Self> {
            let mut fails = vec![Fail::None];
            for what in [FailedOn::Done, FailedOn::Other, FailedOn::Third, FailedOn::Missing] {
                for (by_this_pipeline, dead) in [(true, false), (true, true), (false, false), (false, true)] {
                    fails.push(Fail::About { what, by_this_pipeline, dead });
                }
            }
            let pasts = [
                Past::NoRecord,
                Past::NeverDone,
                Past::Done { by_this_pipeline: true },
                Past::Done { by_this_pipeline: false },
            ];
            let mut cases = Vec::new();
            for now in [Now::Gone, Now::SameAsDone, Now::AnotherThanDone] {
                for past in pasts {
                    for &fail in &fails {
                        for retry_at in [NOW - 2 * SECOND, NOW + 90 * SECOND] {
                            for snooze in [0, NOW - 30 * SECOND, NOW + 60 * SECOND] {
                                for refresh in [0, NOW - 40 * SECOND, NOW, NOW + 50 * SECOND] {
                                    for still_since in [NOW - 10 * SECOND, NOW - SETTLE, NOW] {
                                        cases.push(Self {
                                            now,
                                            past,
                                            fail,
                                            retry_at,
                                            snooze,
                                            refresh,
                                            still_since,
                                        });
                                    }
                                }
                            }
                        }
                    }
                }
            }
            cases
        }

        fn facts(&self) -> Option<Facts> {
            match self.now {
                Now::Gone => None,
                Now::SameAsDone => Some(there(A, self.still_since)),
                Now::AnotherThanDone => Some(there(B, self.still_since)),
            }
        }

        fn record(&self) -> Option<Record> {
            let pipeline = |this: bool| if this { 7 } else { 6 };
            let done = match self.past {
                Past::NoRecord => return None,
                Past::NeverDone => None,
                Past::Done { by_this_pipeline } => Some(done(A, pipeline(by_this_pipeline), self.refresh)),
            };
            let failure = match self.fail {
                Fail::None => None,
                Fail::About { what, by_this_pipeline, dead } => {
                    let version = match what {
                        FailedOn::Done => Some(A),
                        FailedOn::Other => Some(B),
                        FailedOn::Third => Some(C),
                        FailedOn::Missing => None,
                    };
                    Some(failed(version, pipeline(by_this_pipeline), self.retry_at, dead))
                }
            };
            Some(Record { done, failure, not_before_ns: self.snooze, ..Record::default() })
        }

        // What the rules speak about.

        fn was_done(&self) -> bool {
            matches!(self.past, Past::Done { .. })
        }

        fn is_gone(&self) -> bool {
            self.now == Now::Gone
        }

        fn is_up_to_date(&self) -> bool {
            self.now == Now::SameAsDone && self.past == Past::Done { by_this_pipeline: true }
        }

        fn refresh_has_come(&self) -> bool {
            self.refresh != 0 && self.refresh <= NOW
        }

        fn failure_counts(&self) -> bool {
            let pairs = [
                (Now::Gone, FailedOn::Missing),
                (Now::SameAsDone, FailedOn::Done),
                (Now::AnotherThanDone, FailedOn::Other),
            ];
            match self.fail {
                Fail::About { what, by_this_pipeline: true, .. } => {
                    self.past != Past::NoRecord && pairs.contains(&(self.now, what))
                }
                _ => false,
            }
        }

        fn is_dead(&self) -> bool {
            self.failure_counts() && matches!(self.fail, Fail::About { dead: true, .. })
        }
    }

    /// One rule: when it holds, and what it says.
    type Rule<T> = (fn(&Case) -> bool, T);

    type Moment = fn(&Case) -> i64;

    /// The first one that holds decides.
    const KINDS: &[Rule<Option<(WorkState, Priority)>>] = &[
        (|case| case.is_gone() && !case.was_done(), None),
        (|case| case.is_gone(), Some((WorkState::Missing, Priority::Medium))),
        (|case| !case.was_done(), Some((WorkState::New, Priority::High))),
        (|case| !case.is_up_to_date(), Some((WorkState::Changed, Priority::Medium))),
        (Case::refresh_has_come, Some((WorkState::Stale, Priority::Low))),
        (|_| true, Some((WorkState::Indexed, Priority::Low))),
    ];

    /// While one of these holds, the job is not due before that.
    const WAITS: &[Rule<Moment>] = &[
        (|case| !case.is_gone() && !case.is_up_to_date(), |case| case.still_since + SETTLE),
        (|case| case.is_up_to_date() && !case.failure_counts(), |case| case.refresh),
        (Case::failure_counts, |case| case.retry_at),
        (|case| case.snooze != 0 && case.past != Past::NoRecord, |case| case.snooze),
    ];

    fn by_the_rules(case: &Case) -> Option<Verdict> {
        let (_, kind) = KINDS.iter().find(|(holds, _)| holds(case))?;
        let (under, priority) = (*kind)?;
        let state = if case.failure_counts() { WorkState::Error } else { under };
        let waits = WAITS.iter().filter(|(holds, _)| holds(case)).map(|(_, until)| until(case));
        let due_ns = match state {
            _ if case.is_dead() => i64::MAX,
            WorkState::Indexed if case.refresh == 0 => i64::MAX,
            WorkState::Indexed => case.refresh,
            _ => waits.max().unwrap_or(i64::MIN),
        };
        Some(Verdict { state, priority, due_ns, dead: case.is_dead() })
    }

    #[test]
    fn every_combination_is_judged_as_the_rules_say() {
        let cases = Case::all();
        assert_eq!(cases.len(), 3 * 4 * 17 * 2 * 3 * 4 * 3);
        let mut states = std::collections::BTreeMap::new();
        for case in cases {
            let verdict = judge(case.facts().as_ref(), case.record().as_ref(), POLICY, NOW);
            assert_eq!(verdict, by_the_rules(&case), "{case:?}");
            *states.entry(verdict.map(|verdict| verdict.state.name())).or_insert(0u32) += 1;
        }
        assert_eq!(states.len(), 7, "all states but Processing, and nothing: {states:?}");
    }

    #[test]
    fn each_sentence_of_the_design_holds() {
        type Row<'a> = (&'a str, Option<Facts>, Option<Record>, Option<(WorkState, Priority, i64)>);
        use Priority::{High, Low, Medium};
        use WorkState::{Changed, Error, Indexed, Missing, New, Stale};

        let old = NOW - 100 * SECOND;
        let soon = NOW + 20 * SECOND;
        let record = |done: Option<Done>, failure: Option<Failure>, not_before_ns: i64| {
            Some(Record { done, failure, not_before_ns, ..Record::default() })
        };
        let still = |version| Some(there(version, old));
        let settled = old + SETTLE;
        let hashed = |facts, hash| Version { facts, hash: Some(hash) };
        let rows: Vec<Row<'_>> = vec![
            ("what is not there and has no record is nothing", None, None, None),
            ("what went before it was done leaves nothing", None, record(None, None, 0), None),
            (
                "not even a failure is worth keeping of it",
                None,
                record(None, Some(failed(Some(A), 7, soon, true)), soon),
                None,
            ),
            ("a file without a record is new", still(A), None, Some((New, High, settled))),
            (
                "a record alone does not make it old",
                still(A),
                record(None, None, 0),
                Some((New, High, settled)),
            ),
            ("a file still being written waits", Some(there(A, NOW)), None, Some((New, High, NOW + SETTLE))),
            (
                "what was done and is the same needs nothing",
                still(A),
                record(Some(done(A, 7, 0)), None, 0),
                Some((Indexed, Low, NEVER_NS)),
            ),
            (
                "it knows when it will be stale",
                still(A),
                record(Some(done(A, 7, soon)), None, 0),
                Some((Indexed, Low, soon)),
            ),
            (
                "at its refresh time it is stale",
                still(A),
                record(Some(done(A, 7, NOW)), None, 0),
                Some((Stale, Low, NOW)),
            ),
            (
                "stale content has been still for long enough",
                Some(there(A, NOW)),
                record(Some(done(A, 7, old)), None, 0),
                Some((Stale, Low, old)),
            ),
            (
                "other content is a change",
                still(B),
                record(Some(done(A, 7, 0)), None, 0),
                Some((Changed, Medium, settled)),
            ),
            (
                "a change settles as well",
                Some(there(B, NOW)),
                record(Some(done(A, 7, 0)), None, 0),
                Some((Changed, Medium, NOW + SETTLE)),
            ),
            (
                "changed content that is also stale is changed",
                still(B),
                record(Some(done(A, 7, old)), None, 0),
                Some((Changed, Medium, settled)),
            ),
            (
                "another version of the pipeline changes everything once",
                still(A),
                record(Some(done(A, 6, 0)), None, 0),
                Some((Changed, Medium, settled)),
            ),
            (
                "a lower version of the pipeline is another one too",
                still(A),
                record(Some(done(A, 8, 0)), None, 0),
                Some((Changed, Medium, settled)),
            ),
            (
                "a touched file with the same hash is the same",
                still(hashed(2, 9)),
                record(Some(done(hashed(1, 9), 7, 0)), None, 0),
                Some((Indexed, Low, NEVER_NS)),
            ),
            (
                "what was done and is gone is to be cleaned up at once",
                None,
                record(Some(done(A, 7, 0)), None, 0),
                Some((Missing, Medium, AT_ONCE_NS)),
            ),
            (
                "whatever version of the pipeline did it",
                None,
                record(Some(done(A, 6, soon)), None, 0),
                Some((Missing, Medium, AT_ONCE_NS)),
            ),
            (
                "a failed first try comes again at its time, in its class",
                still(A),
                record(None, Some(failed(Some(A), 7, soon, false)), 0),
                Some((Error, High, soon)),
            ),
            (
                "a failed try of what is being written settles first",
                Some(there(A, NOW)),
                record(None, Some(failed(Some(A), 7, old, false)), 0),
                Some((Error, High, NOW + SETTLE)),
            ),
            (
                "changed content is a new try",
                still(B),
                record(None, Some(failed(Some(A), 7, soon, true)), 0),
                Some((New, High, settled)),
            ),
            (
                "so is another version of the pipeline",
                still(A),
                record(None, Some(failed(Some(A), 6, soon, true)), 0),
                Some((New, High, settled)),
            ),
            (
                "a failed clean-up is no failure of the file that came back",
                still(A),
                record(Some(done(A, 7, 0)), Some(failed(None, 7, soon, false)), 0),
                Some((Indexed, Low, NEVER_NS)),
            ),
            (
                "a failed clean-up is tried again",
                None,
                record(Some(done(A, 7, 0)), Some(failed(None, 7, soon, false)), 0),
                Some((Error, Medium, soon)),
            ),
            (
                "a file that went after it failed is to be cleaned up",
                None,
                record(Some(done(A, 7, 0)), Some(failed(Some(A), 7, soon, true)), 0),
                Some((Missing, Medium, AT_ONCE_NS)),
            ),
            (
                "a failed refresh is an error of low class",
                still(A),
                record(Some(done(A, 7, old)), Some(failed(Some(A), 7, soon, false)), 0),
                Some((Error, Low, soon)),
            ),
            (
                "so is the failure of a request for what needed nothing",
                still(A),
                record(Some(done(A, 7, 0)), Some(failed(Some(A), 7, old, false)), 0),
                Some((Error, Low, old)),
            ),
            (
                "the dead are never due, snoozed or not",
                still(A),
                record(None, Some(failed(Some(A), 7, old, true)), soon),
                Some((Error, High, NEVER_NS)),
            ),
            ("a snooze waits", still(A), record(None, None, soon), Some((New, High, soon))),
            (
                "a snooze makes nothing due earlier",
                Some(there(A, NOW)),
                record(None, None, old),
                Some((New, High, NOW + SETTLE)),
            ),
            (
                "a clean-up can be snoozed",
                None,
                record(Some(done(A, 7, 0)), None, soon),
                Some((Missing, Medium, soon)),
            ),
            (
                "an error can be snoozed beyond its retry",
                still(A),
                record(None, Some(failed(Some(A), 7, old, false)), soon),
                Some((Error, High, soon)),
            ),
            (
                "a snooze does nothing to what needs nothing",
                still(A),
                record(Some(done(A, 7, 0)), None, soon),
                Some((Indexed, Low, NEVER_NS)),
            ),
        ];
        for (sentence, facts, record, expected) in rows {
            let verdict = judge(facts.as_ref(), record.as_ref(), POLICY, NOW);
            let told = verdict.map(|verdict| (verdict.state, verdict.priority, verdict.due_ns));
            assert_eq!(told, expected, "{sentence}");
        }
    }

    const EDGES: [i64; 9] = [i64::MIN, i64::MIN + 1, -SECOND, -1, 0, 1, SECOND, i64::MAX - 1, i64::MAX];

    /// Every record that one of the edges, in each place of a time, makes.
    fn at_the_edges(mut each: impl FnMut(Option<Facts>, &Record, i64)) {
        for a in EDGES {
            for b in EDGES {
                for (dead, about) in [(false, Some(A)), (true, Some(A)), (false, None), (true, None)] {
                    for last in [None, Some(done(A, 7, a)), Some(done(B, 7, a)), Some(done(A, 6, b))] {
                        let failure = Some(failed(about, 7, b, dead));
                        for failure in [None, failure] {
                            let record =
                                Record { done: last, failure, not_before_ns: a, ..Record::default() };
                            for facts in [None, Some(there(A, a)), Some(there(A, b))] {
                                each(facts, &record, b);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_time_is_too_far_away_to_be_judged() {
        at_the_edges(|facts, record, now_ns| {
            for settle_ns in EDGES {
                let policy = Policy { settle_ns, ..POLICY };
                let first = judge(facts.as_ref(), Some(record), policy, now_ns);
                assert_eq!(first, judge(facts.as_ref(), Some(record), policy, now_ns), "it is pure");
            }
        });
        let far = judge(Some(&there(A, i64::MAX - 1)), None, POLICY, 0).map(|verdict| verdict.due_ns);
        assert_eq!(far, Some(i64::MAX), "the sum saturates");
    }

    #[test]
    fn a_dead_item_is_never_due() {
        let mut dead = 0;
        at_the_edges(|facts, record, _| {
            for now_ns in EDGES {
                if let Some(verdict) = judge(facts.as_ref(), Some(record), POLICY, now_ns)
                    && verdict.dead
                {
                    assert_eq!((verdict.state, verdict.due_ns), (WorkState::Error, NEVER_NS));
                    assert!(!is_due(&verdict, now_ns));
                    dead += 1;
                }
            }
        });
        assert!(dead > 0, "the test saw some");
    }

    #[test]
    fn a_longer_snooze_is_never_due_earlier() {
        at_the_edges(|facts, record, now_ns| {
            let mut last = i64::MIN;
            for snooze in EDGES {
                let snoozed = Record { not_before_ns: snooze, ..record.clone() };
                if let Some(verdict) = judge(facts.as_ref(), Some(&snoozed), POLICY, now_ns) {
                    assert!(verdict.due_ns >= last, "{facts:?} {snoozed:?}");
                    assert!(snooze <= 0 || verdict.state == WorkState::Indexed || verdict.due_ns >= snooze);
                    last = verdict.due_ns;
                }
            }
        });
    }

    #[test]
    fn what_needs_nothing_is_never_due() {
        at_the_edges(|facts, record, now_ns| {
            if let Some(verdict) = judge(facts.as_ref(), Some(record), POLICY, now_ns)
                && verdict.state == WorkState::Indexed
            {
                assert!(!is_due(&verdict, now_ns));
                assert!(verdict.due_ns > now_ns || verdict.due_ns == NEVER_NS);
            }
        });
    }

    #[test]
    fn waiting_raises_a_class_but_never_above_high() {
        const CLASSES: [Priority; 5] =
            [Priority::Critical, Priority::High, Priority::Medium, Priority::Low, Priority::VeryLow];
        for (priority, classes) in [
            (Priority::Critical, [0, 0, 0, 0, 0]),
            (Priority::High, [1, 1, 1, 1, 1]),
            (Priority::Medium, [2, 1, 1, 1, 1]),
            (Priority::Low, [3, 2, 1, 1, 1]),
            (Priority::VeryLow, [4, 3, 2, 1, 1]),
        ] {
            for (waits, class) in (0..).zip(classes) {
                assert_eq!(effective(priority, waits * AGEING_NS), class, "{priority:?} after {waits}");
                let before_next = effective(priority, (waits + 1) * AGEING_NS - 1);
                assert_eq!(before_next, class, "{priority:?} just before {}", waits + 1);
            }
        }
        for priority in CLASSES {
            assert_eq!(effective(priority, i64::MIN), priority.code(), "a clock set back takes nothing away");
            assert_eq!(effective(priority, i64::MAX), priority.code().min(1));
            assert_eq!(effective(priority, 256 * AGEING_NS), priority.code().min(1), "no count wraps around");
        }
    }

    #[test]
    fn the_codes_of_classes_are_stable() {
        for code in 0..=u8::MAX {
            assert_eq!(Priority::from_code(code).map(Priority::code), (code <= 4).then_some(code));
        }
        assert_eq!((Priority::Critical.code(), Priority::VeryLow.code()), (0, 4));
        assert_eq!(Priority::VeryLow.name(), "very_low");
        assert_eq!(WorkState::Processing.name(), "processing");
    }
}
