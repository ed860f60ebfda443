//! A state file of every format version lies in `golden/` and opens as it was left: whoever
//! changes the format must read the old one.
//!
//! `TREEWARDEN_WRITE_GOLDEN=1 cargo test -p treewarden-tests golden` writes the file of the current
//! version. Do that once per version and commit it; never replace an old one.

use std::fs;
use std::path::{Path, PathBuf};

use support::{DAY_MS, ROOT, Setup, Tree, rows_since, show};
use treewarden::{ContentHash, IgnoreRules, Kind, RootOptions, RootState, Snapshot, Walker, Warden};

/// 2001-09-09.
const MTIME_NS: i64 = 1_000_000_000_123_456_789;

/// xxh3-128 of nothing, from the specification of xxHash.
const HASH_OF_NOTHING: u128 = 0x99aa_06d3_0147_98d8_6001_c324_468d_497f;

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}.tw"))
}

#[test]
fn the_golden_file_is_written_when_asked_for() {
    if std::env::var_os("TREEWARDEN_WRITE_GOLDEN").is_none() {
        return;
    }
    let rules = IgnoreRules::new(["*.part"]).unwrap();
    let options = RootOptions::default().content_hash(ContentHash::Changed).ignore(rules);
    let mut world = Setup::new(Walker::Auto).root(options).build(|t| {
        t.file("album/one.flac", "one one one").file("album/two.flac", "two").file("album/silence", "");
        t.file("copy-of-one", "one one one").file("gone.txt", "soon gone").file("old-name", "renamed");
        t.file(b"odd\xff\nname".as_slice(), "odd").symlink("album/one.flac", "link").dir("empty");
        t.file("half.part", "ignored");
        for name in ["album/one.flac", "album/two.flac", "album/silence"] {
            t.set_mtime(name, MTIME_NS);
        }
    });
    world.settle();
    world.tree.remove("gone.txt").rename("old-name", "album/new-name");
    world.scan();
    let warden = world.warden();
    warden.set_attrs("root/album/one.flac", [("rating", Some(b"5".as_slice()))]).unwrap();
    warden.set_attrs("root/gone.txt", [("kept", Some(b"yes".as_slice()))]).unwrap();
    warden.space("settings").unwrap().put(b"theme".as_slice(), b"dark".as_slice()).unwrap();
    let seq = warden.seq();
    warden
        .batch()
        .put("settings", b"at".as_slice(), b"\x00\xff".as_slice())
        .advance("indexer", seq)
        .commit()
        .unwrap();
    warden.compact().unwrap();
    let version = warden.status().unwrap().format_version;
    world.close();
    fs::create_dir_all(golden(version).parent().unwrap()).unwrap();
    fs::copy(world.state_file(), golden(version)).unwrap();
    eprintln!("wrote {}", golden(version).display());
}

/// Opens a copy of a golden file; the tree it knew is long gone.
fn open(version: u32) -> (Tree, Warden) {
    let path = golden(version);
    let bytes = fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}\nhint: TREEWARDEN_WRITE_GOLDEN=1 cargo test -p treewarden-tests golden writes it; commit it",
            path.display()
        )
    });
    let dir = Tree::new();
    dir.file("state.tw", bytes).chmod("state.tw", 0o600);
    // However old the file is by now: nothing in it has expired.
    let for_ever = 100_000 * DAY_MS;
    let options = Warden::options().must_exist().tombstone_keep_ms(for_ever).journal_keep_ms(for_ever);
    let warden = options.open(dir.join("state.tw")).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (dir, warden)
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.files("").map(|entry| show(&entry.path())).collect()
}

#[test]
fn a_state_file_of_version_1_opens_as_it_was_left() {
    let (_dir, warden) = open(1);
    warden.check().unwrap();

    let snapshot = warden.snapshot();
    let expected = [
        "root/album/new-name",
        "root/album/one.flac",
        "root/album/silence",
        "root/album/two.flac",
        "root/copy-of-one",
        "root/link",
        "root/odd\\xff\\nname",
    ];
    let mut found = names(&snapshot);
    found.sort();
    assert_eq!(found, expected);

    let entry = |path: &str| snapshot.get(path).unwrap_or_else(|| panic!("{path}")).to_entry();
    let one = entry("root/album/one.flac");
    assert_eq!((one.kind, one.size, one.mtime_ns), (Kind::File, 11, MTIME_NS));
    assert!(one.hash.is_some() && one.hash == entry("root/copy-of-one").hash);
    assert_ne!(one.hash, entry("root/album/two.flac").hash);
    let nothing = entry("root/album/silence");
    assert!(nothing.size == 0 && nothing.hash.is_none_or(|hash| hash == HASH_OF_NOTHING), "{nothing:?}");
    let link = entry("root/link");
    assert_eq!((link.kind, link.target.as_deref()), (Kind::Symlink, Some(b"album/one.flac".as_slice())));
    assert_eq!(entry("root/empty").kind, Kind::Dir);
    let totals = snapshot.du("root/album").unwrap();
    assert_eq!((totals.files, totals.dirs, totals.bytes), (4, 0, 11 + 3 + 7));

    let gone: Vec<String> = snapshot.missing("").map(|entry| show(&entry.path())).collect();
    assert_eq!(gone, ["root/gone.txt"]);
    assert_eq!(
        warden.attrs("root/album/one.flac").unwrap().get("rating").map(Vec::as_slice),
        Some(b"5".as_slice())
    );
    assert_eq!(warden.attrs("root/gone.txt").unwrap().len(), 1);
    let settings = warden.space("settings").unwrap().items(b"".as_slice()).unwrap();
    assert_eq!(settings, [(b"at".to_vec(), b"\x00\xff".to_vec()), (b"theme".to_vec(), b"dark".to_vec())]);
    let indexer = warden.cursor("indexer").unwrap().position().unwrap();
    assert!(indexer > 0 && indexer < warden.seq());

    let rows = rows_since(&warden, 0);
    let said = |kind: &str, path: &[u8]| rows.iter().any(|row| row.kind.name() == kind && row.path == path);
    assert!(said("added", b"root/gone.txt") && said("missing", b"root/gone.txt"));
    assert!(said("added", b"root/old-name") && said("moved", b"root/album/new-name"));
    let mut replay = support::Replay::new();
    replay.catch_up(&warden);
    replay.assert_matches(&snapshot);

    let root = &warden.roots()[0];
    assert_eq!((root.name.as_str(), &root.ignore[..]), (ROOT, &["*.part".to_owned()][..]));
    assert!(matches!(root.content_hash, ContentHash::Changed));
    assert!(!warden.history(10).unwrap().is_empty());
}

#[test]
fn an_old_state_file_goes_on_being_used() {
    let (_dir, warden) = open(1);
    // Its tree is gone: that is an unavailable root, and no reason to forget anything.
    let report = warden.scan(ROOT).unwrap();
    assert!(report.unavailable.is_some(), "{report:?}");
    assert!(matches!(warden.roots()[0].state, RootState::Unavailable { .. }));
    assert_eq!(warden.snapshot().len(), 7);
    warden.space("settings").unwrap().put(b"theme".as_slice(), b"light".as_slice()).unwrap();
    let tree = Tree::new();
    tree.file("a", "");
    warden.add_root("another", tree.path()).unwrap();
    assert_eq!(warden.scan("another").unwrap().added, 1);
    assert_eq!(warden.snapshot().len(), 8);
    warden.check().unwrap();
}
