//! The index equals what a naive search through the folder finds, whatever happens to the program.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_search_index");
const WORDS: [&str; 6] = ["anchor", "bridge", "candle", "dragon", "ember", "falcon"];

struct Folder {
    _dir: tempfile::TempDir,
    texts: PathBuf,
    data: PathBuf,
    random: u64,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (texts, data) = (dir.path().join("texts"), dir.path().join("data"));
        fs::create_dir(&texts).unwrap();
        Self { _dir: dir, texts, data, random: 42 }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end
    }

    fn write(&mut self, name: &str) {
        let words: Vec<&str> = (0..1 + self.below(3)).map(|_| WORDS[self.below(6) as usize]).collect();
        // A size that tells apart what was written within one tick of the clock.
        let padding = " ".repeat(self.below(1_000) as usize);
        fs::write(self.texts.join(name), format!("{}{padding}", words.join(" "))).unwrap();
    }

    fn start(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg(&self.texts).arg(&self.data).arg("update").stdin(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    fn update(&self) {
        assert!(self.start().status().unwrap().success());
    }

    fn found(&self, word: &str) -> BTreeSet<String> {
        let output =
            Command::new(PROGRAM).arg(&self.texts).arg(&self.data).args(["search", word]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn naive(&self, word: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut pending = vec![self.texts.clone()];
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                } else if path.extension().is_some_and(|e| e == "txt") && holds(&path, word) {
                    let below = path.strip_prefix(&self.texts).unwrap();
                    found.insert(format!("texts/{}", below.to_str().unwrap()));
                }
            }
        }
        found
    }

    fn assert_true(&self, when: &str) {
        for word in WORDS {
            assert_eq!(self.found(word), self.naive(word), "{when}: {word}");
        }
    }
}

fn holds(path: &Path, word: &str) -> bool {
    fs::read_to_string(path).unwrap().split_whitespace().any(|other| other == word)
}

#[test]
fn the_index_follows_new_changed_moved_and_deleted_files() {
    let mut folder = Folder::new();
    fs::create_dir(folder.texts.join("sub")).unwrap();
    for n in 0..40 {
        folder.write(&format!("f{n}.txt"));
        folder.write(&format!("sub/g{n}.txt"));
    }
    fs::write(folder.texts.join("not-a-text.bin"), "anchor").unwrap();
    folder.update();
    folder.assert_true("at first");
    for n in 0..10 {
        folder.write(&format!("f{n}.txt"));
        fs::remove_file(folder.texts.join(format!("f{}.txt", n + 10))).unwrap();
        fs::rename(folder.texts.join(format!("f{}.txt", n + 20)), folder.texts.join(format!("moved{n}.txt")))
            .unwrap();
    }
    fs::rename(folder.texts.join("sub"), folder.texts.join("other")).unwrap();
    folder.update();
    folder.assert_true("after changes");
    // One takes the place of another, and two change places.
    for n in 0..8 {
        let at = |name: &str| folder.texts.join(format!("other/{name}"));
        fs::rename(at(&format!("g{n}.txt")), at(&format!("g{}.txt", 39 - n))).unwrap();
        fs::rename(at(&format!("g{}.txt", n + 10)), at("between")).unwrap();
        fs::rename(at(&format!("g{}.txt", n + 20)), at(&format!("g{}.txt", n + 10))).unwrap();
        fs::rename(at("between"), at(&format!("g{}.txt", n + 20))).unwrap();
    }
    folder.update();
    folder.assert_true("after files took the places of others");
    fs::remove_dir_all(folder.texts.join("other")).unwrap();
    folder.update();
    folder.assert_true("after a directory was deleted");
}

#[test]
fn the_index_is_whole_after_any_number_of_kills() {
    let mut folder = Folder::new();
    for round in 0..6 {
        for n in 0..120 {
            folder.write(&format!("f{n}.txt"));
        }
        for _ in 0..3 {
            let mut child = folder.start().spawn().unwrap();
            let until = Instant::now() + Duration::from_millis(folder.below(120));
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let _ = child.kill();
            child.wait().unwrap();
        }
        folder.update();
        folder.assert_true(&format!("after the kills of round {round}"));
    }
}
