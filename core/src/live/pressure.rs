//! How a scan that nobody waits for gives way when the machine is short of something. Linux says so in
//! its pressure stall information (Documentation/accounting/psi.rst); elsewhere, and where the kernel
//! was built without it, nothing here ever sleeps.
//!
//! Invariant: one step sleeps for [`REST_MAX`] at most, so a scan hears of a cancel at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The kernel works out its averages every two seconds; more often than this nothing new is learned.
const READ_EVERY: Duration = Duration::from_millis(200);
/// The longest sleep in one step.
const REST_MAX: Duration = Duration::from_millis(50);
/// The shortest: a sleep is some 60 microseconds late, and the time of a small directory is less.
const REST_MIN: Duration = Duration::from_millis(5);
/// What a scan always gets: one that never ends helps nobody.
const SHARE_MIN: f32 = 0.2;

/// From which pressure on, in percent, a scan gives way, and where it has given all it gives.
struct Limit {
    low: f32,
    high: f32,
    share_min: f32,
}

/// We have a thread per core, so one other busy program is enough to make somebody wait all the time.
/// Alone on the machine our threads wait for each other now and then: that is no pressure.
const CPU: Limit = Limit { low: 25.0, high: 75.0, share_min: SHARE_MIN };
/// A healthy machine never waits for memory. Where programs do, the pages that we read push out theirs.
const MEMORY: Limit = Limit { low: 5.0, high: 20.0, share_min: SHARE_MIN };
/// A scan of a cold disk waits for that disk nearly always, so high pressure may well be ourselves. Half
/// the time is left to others; less would only make a scan slow that disturbs nobody.
const IO: Limit = Limit { low: 40.0, high: 80.0, share_min: 0.5 };

/// The share of the last ten seconds in which some task waited for it, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pressure {
    pub(crate) cpu: f32,
    pub(crate) memory: f32,
    pub(crate) io: f32,
}

impl Pressure {
    /// Reads the three files in `source`. `None` when one is missing or says something else.
    fn read(source: &Path) -> Option<Self> {
        let read = |name: &str| parse(&fs::read_to_string(source.join(name)).ok()?);
        Some(Self { cpu: read("cpu")?, memory: read("memory")?, io: read("io")? })
    }
}

/// Reads the `avg10` of the line `some` of a pressure file.
pub(crate) fn parse(text: &str) -> Option<f32> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("some "))?.split_ascii_whitespace();
    let percent: f32 = words.find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

/// The part of the time in which a scan may work: 1.0 is full speed, 0.2 the least.
pub(crate) fn share(pressure: &Pressure) -> f32 {
    let Pressure { cpu, memory, io } = *pressure;
    [(cpu, CPU), (memory, MEMORY), (io, IO)]
        .into_iter()
        .map(|(percent, limit)| limit.share(percent))
        .fold(1.0, f32::min)
}

impl Limit {
    fn share(&self, percent: f32) -> f32 {
        let way = ((percent - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        1.0 - way * (1.0 - self.share_min)
    }
}

/// How long to rest after having worked for `worked`, to work for `share` of the time; 50 ms at most.
pub(crate) fn rest(worked: Duration, share: f32) -> Duration {
    if share.is_nan() || share >= 1.0 {
        return Duration::ZERO;
    }
    let share = f64::from(share.max(SHARE_MIN));
    // Longer work is worth the longest rest at any share that differs from 1, and could overflow.
    let worked = worked.min(Duration::from_secs(60));
    worked.mul_f64((1.0 - share) / share).min(REST_MAX)
}

/// The pace of one scan, shared by its threads: they work and rest together, so the others have the
/// machine to themselves meanwhile.
#[derive(Debug)]
pub(crate) struct Pace {
    source: PathBuf,
    /// False for good once somebody waits, or where there is nothing to read.
    yields: AtomicBool,
    began: Instant,
    // Nanoseconds since `began`. The order between these does not matter: at worst a rest is too short.
    read_after: AtomicU64,
    /// When the present stretch of work began. In the future while all rest.
    working_since: AtomicU64,
    /// The bits of an `f32`.
    share: AtomicU32,
}

impl Pace {
    /// The pace of a scan that begins now; `source` is `/proc/pressure`. Without `enabled` it never
    /// rests.
    pub(crate) fn new(source: PathBuf, enabled: bool) -> Self {
        Self {
            source,
            yields: AtomicBool::new(enabled),
            began: Instant::now(),
            read_after: AtomicU64::new(0),
            working_since: AtomicU64::new(0),
            share: AtomicU32::new(1.0_f32.to_bits()),
        }
    }

    /// Rests where it is time to. Called by every thread of the scan, once for each directory.
    pub(crate) fn step(&self) {
        if !self.yields.load(Ordering::Relaxed) {
            return;
        }
        let rest = self.rest_at(self.began.elapsed());
        if !rest.is_zero() {
            thread::sleep(rest);
        }
    }

    /// Never rests again: somebody waits for the scan. A rest that has begun is slept to its end.
    pub(crate) fn hurry(&self) {
        self.yields.store(false, Ordering::Relaxed);
    }

    /// How long a thread that comes by at `now`, counted from the beginning of the scan, is to rest.
    fn rest_at(&self, now: Duration) -> Duration {
        self.look(now);
        let now_ns = ns(now);
        let since = self.working_since.load(Ordering::Relaxed);
        if since > now_ns {
            return Duration::from_nanos(since - now_ns).min(REST_MAX);
        }
        let share = f32::from_bits(self.share.load(Ordering::Relaxed));
        let rest = rest(Duration::from_nanos(now_ns - since), share);
        if rest < REST_MIN {
            return Duration::ZERO;
        }
        let until = now_ns.saturating_add(ns(rest));
        match self.working_since.compare_exchange(since, until, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => rest,
            // Another thread was first; all wake with it.
            Err(until) => Duration::from_nanos(until.saturating_sub(now_ns)).min(REST_MAX),
        }
    }

    /// Reads the pressure anew where it is time to. Whoever moves the time on is the one who reads.
    fn look(&self, now: Duration) {
        let after = self.read_after.load(Ordering::Relaxed);
        let next = ns(now.saturating_add(READ_EVERY));
        if ns(now) < after
            || self.read_after.compare_exchange(after, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        match Pressure::read(&self.source) {
            Some(pressure) => self.share.store(share(&pressure).to_bits(), Ordering::Relaxed),
            None => {
                self.share.store(1.0_f32.to_bits(), Ordering::Relaxed);
                self.hurry();
            }
        }
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const NONE: Pressure = Pressure { cpu: 0.0, memory: 0.0, io: 0.0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A directory like `/proc/pressure`.
    fn machine(cpu: &str, memory: &str, io: &str) -> io::Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        for (name, percent) in [("cpu", cpu), ("memory", memory), ("io", io)] {
            let line = format!("avg10={percent} avg60=0.00 avg300=0.00 total=1");
            fs::write(dir.path().join(name), format!("some {line}\nfull {line}\n"))?;
        }
        Ok(dir)
    }

    #[test]
    fn the_pressure_is_read_from_the_line_some() {
        for (text, percent) in [
            (
                "some avg10=0.00 avg60=0.12 avg300=0.07 total=427718718\nfull avg10=9.00 avg60=0.00\n",
                Some(0.0),
            ),
            ("some avg10=12.34 avg60=0.00 avg300=0.00 total=5\n", Some(12.34)),
            ("full avg10=9.00 avg60=0.00\nsome avg10=3.50 avg60=0.00", Some(3.5)),
            ("some avg60=7.00 avg10=100.00", Some(100.0)),
            ("", None),
            ("some", None),
            ("some ", None),
            ("some avg60=1.00", None),
            ("some avg10=", None),
            ("some avg10=x", None),
            ("some avg10=nan", None),
            ("some avg10=inf", None),
            ("some avg10=-1.00", None),
            ("some avg10=100.01", None),
            ("something avg10=1.00", None),
            ("full avg10=1.00 avg60=0.00", None),
            ("some\navg10=1.00", None),
        ] {
            assert_eq!(parse(text), percent, "{text:?}");
        }
    }

    #[test]
    fn the_share_goes_down_with_the_pressure() {
        for (cpu, memory, io, expected) in [
            (0.0, 0.0, 0.0, 1.0),
            (25.0, 5.0, 40.0, 1.0),
            (50.0, 0.0, 0.0, 0.6),
            (75.0, 0.0, 0.0, 0.2),
            (100.0, 0.0, 0.0, 0.2),
            (0.0, 12.5, 0.0, 0.6),
            (0.0, 20.0, 0.0, 0.2),
            (0.0, 0.0, 60.0, 0.75),
            // Disk alone may be ourselves.
            (0.0, 0.0, 80.0, 0.5),
            (0.0, 0.0, 100.0, 0.5),
            // The worst of the three counts.
            (50.0, 0.0, 100.0, 0.5),
            (75.0, 0.0, 100.0, 0.2),
            (100.0, 100.0, 100.0, 0.2),
        ] {
            let found = share(&Pressure { cpu, memory, io });
            assert!((found - expected).abs() < 1e-5, "{cpu} {memory} {io}: {found}");
        }
        for percent in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1e30] {
            let found = share(&Pressure { cpu: percent, memory: percent, io: percent });
            assert!((SHARE_MIN - 1e-5..=1.0).contains(&found), "{percent}: {found}");
        }
    }

    #[test]
    fn the_rest_fits_the_work() {
        for (worked, part, expected) in [
            (ms(10), 1.0, ms(0)),
            (ms(10), 2.0, ms(0)),
            (ms(0), 0.2, ms(0)),
            (ms(10), 0.5, ms(10)),
            (ms(30), 0.75, ms(10)),
            (ms(10), 0.2, ms(40)),
            // Bounded, and never less than a fifth of the time.
            (ms(20), 0.2, ms(50)),
            (ms(10), 0.1, ms(40)),
            (ms(10), 0.0, ms(40)),
            (ms(10), -1.0, ms(40)),
            (Duration::MAX, 0.5, ms(50)),
            (Duration::MAX, 0.2, ms(50)),
            (Duration::MAX, f32::NAN, ms(0)),
            (ms(10), f32::NEG_INFINITY, ms(40)),
        ] {
            let found = rest(worked, part);
            assert!(found.abs_diff(expected) < Duration::from_micros(10), "{worked:?} at {part}: {found:?}");
            assert!(found <= REST_MAX);
        }
    }

    #[test]
    fn a_scan_under_pressure_works_a_part_of_the_time() -> io::Result<()> {
        let machine = machine("100.00", "0.00", "0.00")?;
        let pace = Pace::new(machine.path().to_owned(), true);
        let (mut now, mut rested) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..10_000 {
            now += Duration::from_micros(100);
            let rest = pace.rest_at(now);
            assert!(rest.is_zero() || (REST_MIN..=REST_MAX).contains(&rest), "{rest:?}");
            rested += rest;
            now += rest;
        }
        let share = 1.0 - rested.as_secs_f64() / now.as_secs_f64();
        assert!((0.19..0.22).contains(&share), "worked {share} of {now:?}");
        Ok(())
    }

    #[test]
    fn all_threads_rest_together() -> io::Result<()> {
        let machine = machine("0.00", "0.00", "90.00")?;
        let pace = Pace::new(machine.path().to_owned(), true);
        assert!(pace.rest_at(ms(4)).is_zero(), "not worth a sleep yet");
        assert_eq!(pace.rest_at(ms(20)), ms(20));
        assert_eq!(pace.rest_at(ms(25)), ms(15), "a second thread wakes with the first");
        assert!(pace.rest_at(ms(40)).is_zero());
        assert!(pace.rest_at(ms(44)).is_zero());
        assert_eq!(pace.rest_at(ms(46)), ms(6));
        Ok(())
    }

    #[test]
    fn the_pressure_is_read_again_but_not_all_the_time() -> io::Result<()> {
        let calm = machine("0.00", "0.00", "0.00")?;
        let pace = Pace::new(calm.path().to_owned(), true);
        assert!(pace.rest_at(ms(50)).is_zero());
        fs::write(calm.path().join("memory"), "some avg10=50.00 avg60=0.00 avg300=0.00 total=1\n")?;
        assert!(pace.rest_at(ms(249)).is_zero());
        assert_eq!(pace.rest_at(ms(250)), REST_MAX);
        fs::write(calm.path().join("memory"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n")?;
        assert_eq!(pace.rest_at(ms(400)), REST_MAX);
        assert!(pace.rest_at(ms(600)).is_zero());
        Ok(())
    }

    #[test]
    fn without_pressure_files_nothing_sleeps() -> io::Result<()> {
        let empty = tempfile::tempdir()?;
        let half = machine("100.00", "0.00", "0.00")?;
        fs::remove_file(half.path().join("io"))?;
        let garbled = machine("100.00", "0.00", "garbage")?;
        for source in [empty.path(), half.path(), garbled.path(), Path::new("/proc/self/no/such")] {
            let pace = Pace::new(source.to_owned(), true);
            assert!(pace.rest_at(ms(1_000)).is_zero(), "{}", source.display());
            assert!(!pace.yields.load(Ordering::Relaxed), "it does not try again");
        }
        Ok(())
    }

    #[test]
    fn nobody_who_is_waited_for_sleeps() -> io::Result<()> {
        let machine = machine("100.00", "100.00", "100.00")?;
        let began = Instant::now();
        let pace = Pace::new(machine.path().to_owned(), true);
        thread::sleep(ms(20));
        pace.step();
        assert!(began.elapsed() >= ms(60), "it rests while nobody waits");

        pace.hurry();
        let disabled = Pace::new(machine.path().to_owned(), false);
        thread::sleep(ms(20));
        let began = Instant::now();
        for _ in 0..200 {
            pace.step();
            disabled.step();
        }
        assert!(began.elapsed() < ms(5_000), "two hundred rests would take ten seconds");
        Ok(())
    }

    #[test]
    fn no_pressure_means_full_speed() {
        assert_eq!(share(&NONE).to_bits(), 1.0_f32.to_bits());
        assert!(rest(Duration::MAX, share(&NONE)).is_zero());
    }
}
