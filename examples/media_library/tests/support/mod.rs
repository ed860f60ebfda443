//! A library, the service it gets its metadata from, and the program between them.

mod server;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use server::{Arrival, Fault, Server, id};

/// What takes longer than this hangs.
const HANG: Duration = Duration::from_secs(60);
/// Jobs in hand at once.
pub(crate) const THREADS: usize = 3;

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A document that there has to be.
pub(crate) struct Expected {
    /// The directory of the movie or show, below the library.
    pub(crate) item: String,
    /// What the service is asked for.
    pub(crate) target: String,
    pub(crate) file: PathBuf,
}

pub(crate) struct World {
    dir: TempDir,
    pub(crate) server: Server,
    movies: u32,
    shows: u32,
    seasons: u32,
    limit: usize,
    window: Duration,
    generation: Cell<u32>,
}

pub(crate) fn movie(n: u32) -> String {
    format!("Movies/Movie {n:02} ({})", 2_000 + n)
}

pub(crate) fn movie_file(n: u32) -> String {
    format!("{}/Movie {n:02}.mkv", movie(n))
}

pub(crate) fn movie_target(n: u32) -> String {
    format!("/movie?title=Movie%20{n:02}&year={}", 2_000 + n)
}

pub(crate) fn show(n: u32) -> String {
    format!("Shows/Show {n:02}")
}

pub(crate) fn episode(n: u32, season: u32, episode: u32) -> String {
    format!("{0}/Season {season:02}/Show {n:02} S{season:02}E{episode:02}.mkv", show(n))
}

pub(crate) fn show_target(n: u32) -> String {
    format!("/tv?name=Show%20{n:02}")
}

pub(crate) fn season_target(n: u32, season: u32) -> String {
    format!("/tv/{}/season/{season}", id(&show_target(n)))
}

impl World {
    /// A library of so many movies, and shows of so many seasons with two episodes each.
    pub(crate) fn new(movies: u32, shows: u32, seasons: u32) -> World {
        let (limit, window) = (1_000, Duration::from_millis(200));
        let (dir, server, generation) = (TempDir::new().unwrap(), Server::start(), Cell::new(0));
        let world = World { dir, server, movies, shows, seasons, limit, window, generation };
        for n in 1..=movies {
            world.write(&movie_file(n));
        }
        for n in 1..=shows {
            for season in 1..=seasons {
                world.write(&episode(n, season, 1));
                world.write(&episode(n, season, 2));
            }
        }
        world
    }

    /// The rate of the program, which the service checks.
    pub(crate) fn rate(mut self, limit: usize, window: Duration) -> World {
        (self.limit, self.window) = (limit, window);
        self
    }

    /// Where a file of the library lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("library").join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state.tw")
    }

    /// Makes a video, or one that is longer than before.
    pub(crate) fn write(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::options().create(true).append(true).open(path).unwrap().write_all(b"frame").unwrap();
    }

    /// Every document that the library asks for.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let document = |item: String, target: String, name: String| Expected {
            file: self.path(&item).join(name),
            item,
            target,
        };
        let mut all = Vec::new();
        for n in 1..=self.movies {
            all.push(document(movie(n), movie_target(n), "metadata.json".to_owned()));
        }
        for n in 1..=self.shows {
            all.push(document(show(n), show_target(n), "metadata.json".to_owned()));
            for season in 1..=self.seasons {
                let name = format!("metadata.s{season:02}.json");
                all.push(document(show(n), season_target(n, season), name));
            }
        }
        all
    }

    /// Starts the program.
    pub(crate) fn start(&self, mode: &str) -> Run {
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        let log_path = self.dir.path().join(format!("log-{generation}"));
        let log = File::create(&log_path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_media_library"));
        command
            .arg(self.path(""))
            .arg("--url")
            .arg(self.server.url(generation))
            .arg("--state")
            .arg(self.state())
            .arg("--rate")
            .arg(format!("{}/{}", self.limit, self.window.as_secs_f64()))
            .arg("--threads")
            .arg(THREADS.to_string())
            .args(["--settle-ms", "0", "--retry-ms", "20", mode])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        Run { child: command.spawn().unwrap(), generation, log_path }
    }

    /// Runs the program until nothing is left to do, and returns what it has said.
    pub(crate) fn finish(&self) -> String {
        let mut run = self.start("--once");
        let status = run.wait();
        assert!(status.success(), "{status}: {}", run.log());
        run.log()
    }

    /// All documents are there and right, and nothing else was left behind.
    pub(crate) fn assert_finished(&self) {
        let expected = self.expected();
        for Expected { target, file, .. } in &expected {
            let content = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            assert_eq!(content, self.server.document(target), "{file:?}");
        }
        assert_eq!(count_made(&self.path("")), expected.len(), "there is something else");
    }

    /// No window, wherever it begins, holds more requests than allowed, by the clock of the service.
    pub(crate) fn assert_rate(&self) {
        let arrivals = self.server.arrivals();
        for (first, over) in arrivals.iter().zip(arrivals.iter().skip(self.limit)) {
            let apart = over.at - first.at;
            assert!(
                apart >= self.window,
                "{} requests within {apart:?}, from {first:?} to {over:?}",
                self.limit + 1
            );
        }
    }
}

/// The files below a directory that are no videos.
fn count_made(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => count_made(&path),
            false => usize::from(path.extension().is_none_or(|extension| extension != "mkv")),
        })
        .sum()
}

/// What changes when a file is written or replaced.
pub(crate) fn stamp(file: &Path) -> (u64, i64, i64) {
    let stat = fs::metadata(file).unwrap();
    (stat.ino(), stat.mtime(), stat.mtime_nsec())
}

/// The program while it runs. It is killed when it goes out of sight.
pub(crate) struct Run {
    child: Child,
    pub(crate) generation: u32,
    log_path: PathBuf,
}

impl Run {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap()
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until something is so, for as long as no machine takes.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Run) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < HANG, "never: {what}\n{}", self.log());
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.until("the end", Run::is_over);
        self.child.wait().unwrap()
    }

    /// Kills it without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub(crate) fn terminate(mut self) {
        let sent =
            Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status().unwrap();
        assert!(sent.success());
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
