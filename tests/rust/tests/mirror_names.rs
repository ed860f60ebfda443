//! Mirrors to a directory whose file system takes two names for one that differ in the case of their letters, as
//! exFAT, FAT and network shares do.
//!
//! Where no such file system can be mounted, every test says so on stderr and returns.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::mirror::{assert_equal, naive, options, run};
use support::work::scanned;
use support::{Tree, World, skip};
use treewarden::mirror::{AuditOptions, Credentials, Mirror, Target};

/// A FAT file system in a file, unmounted when the value is dropped.
struct Fat {
    at: PathBuf,
    _dir: Tree,
}

impl Fat {
    /// Answers why there is none, where this user may not mount it or a tool is not there.
    fn mount() -> Result<Self, String> {
        let dir = Tree::new();
        dir.dir("fat");
        let (image, at) = (dir.join("image"), dir.join("fat"));
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(32 << 20).map_err(|error| error.to_string())?;
        call("mkfs.vfat", &[&image])?;
        call(
            "mount",
            &[Path::new("-t"), Path::new("vfat"), Path::new("-o"), Path::new("loop"), &image, &at],
        )?;
        Ok(Self { at, _dir: dir })
    }
}

impl Drop for Fat {
    fn drop(&mut self) {
        let _ = call("umount", &[&self.at]);
    }
}

fn call(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("`{program}` cannot be called: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{program}` has failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Mounts, or ends the calling test with a word on stderr.
macro_rules! mount_or_skip {
    ($test:literal) => {
        match Fat::mount() {
            Ok(fat) => fat,
            Err(why) => return skip($test, why),
        }
    };
}

fn open(world: &World, at: &Path) -> Mirror {
    let target = Target::directory(at);
    world.warden().mirror_to("m", &options(), &target, &Credentials::none()).unwrap()
}

/// Runs until nothing is left: a name is free after the deletions of a run.
fn assert_comes_right(what: &str, world: &World, mirror: &Mirror, at: &Path) {
    let complete = (0..3).any(|_| run(mirror).is_complete());
    assert!(complete, "{what}: {:?}", mirror.status());
    assert_equal(what, &naive(world.tree.path(), ""), &naive(at, ""));
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean(), "{what}: {audit:?}");
}

/// The new name was found in place, and deleting the old one took the only file with it.
#[test]
fn a_name_may_change_the_case_of_its_letters() {
    let fat = mount_or_skip!("a_name_may_change_the_case_of_its_letters");
    let (world, _clock) = scanned(|t| {
        t.file("IMG_1.JPG", "1").file("Photos/Old/a.jpg", "2").file("Photos/b.jpg", "3").file("same", "4");
    });
    let mirror = open(&world, &fat.at);
    assert_comes_right("the first run", &world, &mirror, &fat.at);
    world.tree.rename("IMG_1.JPG", "img_1.jpg");
    world.scan();
    assert_comes_right("a file", &world, &mirror, &fat.at);
    world.tree.rename("Photos", "photos");
    world.scan();
    assert_comes_right("a directory", &world, &mirror, &fat.at);
    world.tree.rename("photos/Old/a.jpg", "photos/Old/A.jpg").append("same", "more");
    world.scan();
    assert_comes_right("a file in a directory", &world, &mirror, &fat.at);
}

/// Each run gave the one object the content of another file.
#[test]
fn of_two_names_that_are_one_there_the_first_is_kept_and_the_other_is_told() {
    let fat = mount_or_skip!("of_two_names_that_are_one_there_the_first_is_kept_and_the_other_is_told");
    let (world, _clock) = scanned(|t| {
        t.file("readme", "lower").file("README", "upper").file("other", "1");
    });
    let mirror = open(&world, &fat.at);
    let mut held = Vec::new();
    for _ in 0..2 {
        let report = run(&mirror);
        assert!(!report.is_complete() && !report.errors.is_empty(), "{report:?}");
        let found = naive(&fat.at, "");
        let wanted = naive(world.tree.path(), "");
        assert_eq!(found.len(), 2, "{found:?}");
        for (key, content) in &found {
            assert_eq!(wanted.get(key), Some(content), "{key}");
        }
        held.push(found.into_keys().collect::<Vec<_>>());
    }
    assert_eq!(held[0], held[1]);
    let first = if held[0].iter().any(|key| key == "readme") { "readme" } else { "README" };
    world.tree.remove(first);
    world.scan();
    assert_comes_right("one is gone", &world, &mirror, &fat.at);
    assert_eq!(fs::read_dir(&fat.at).unwrap().count(), 2);
}
