//! One tree, registered as the root [`ROOT`] of a warden whose state file lies elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use treewarden::testing::{FaultPlan, open_with_faults};
use treewarden::{
    ChangeKind, Clock, Entry, Options, Report, RootOptions, ScanContext, ScanOptions, Snapshot, Walker,
    Warden,
};

use crate::reference;
use crate::replay::{Replay, rows_since};
use crate::tree::{Tree, show};

/// The name of the root in every test that needs one root only.
pub const ROOT: &str = "root";

type Configure = Box<dyn Fn(Options) -> Options + Send + Sync>;

/// How a [`World`] is to be opened.
#[must_use]
pub struct Setup {
    walker: Walker,
    root_options: RootOptions,
    clock: Option<Clock>,
    faults: Option<Arc<FaultPlan>>,
    configure: Configure,
}

impl Setup {
    /// Defaults everywhere.
    pub fn new(walker: Walker) -> Self {
        Self {
            walker,
            root_options: RootOptions::default(),
            clock: None,
            faults: None,
            configure: Box::new(|options| options),
        }
    }

    /// Options of the root.
    pub fn root(mut self, options: RootOptions) -> Self {
        self.root_options = options;
        self
    }

    /// A clock that the test moves.
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// A disk that fails as planned.
    pub fn faults(mut self, plan: &Arc<FaultPlan>) -> Self {
        self.faults = Some(Arc::clone(plan));
        self
    }

    /// Options of the warden, used again at every reopening.
    pub fn options(mut self, configure: impl Fn(Options) -> Options + Send + Sync + 'static) -> Self {
        self.configure = Box::new(configure);
        self
    }

    /// Builds the tree, opens the warden and adds the root. Nothing is scanned yet.
    pub fn build(self, plant: impl FnOnce(&Tree)) -> World {
        let tree = Tree::new();
        plant(&tree);
        let mut world = World {
            warden: None,
            state: Tree::new(),
            tree,
            walker: self.walker,
            clock: self.clock,
            faults: self.faults,
            configure: self.configure,
        };
        world.open();
        world.warden().add_root_with(ROOT, world.tree.path(), &self.root_options).unwrap();
        world
    }
}

/// A tree and the warden that watches it. The state file lies in a directory of its own.
pub struct World {
    // Dropped first: the warden closes before its files go away.
    warden: Option<Warden>,
    /// The directory of the state file.
    pub state: Tree,
    /// The scanned tree.
    pub tree: Tree,
    /// Used by every scan.
    pub walker: Walker,
    clock: Option<Clock>,
    faults: Option<Arc<FaultPlan>>,
    configure: Configure,
}

impl World {
    /// Builds a tree under default options.
    pub fn new(walker: Walker, plant: impl FnOnce(&Tree)) -> Self {
        Setup::new(walker).build(plant)
    }

    /// Builds a tree, then scans it until nothing in it is too fresh to be trusted.
    pub fn settled(walker: Walker, plant: impl FnOnce(&Tree)) -> Self {
        let world = Self::new(walker, plant);
        world.settle();
        world
    }

    /// The open warden.
    #[must_use]
    pub fn warden(&self) -> &Warden {
        self.warden.as_ref().expect("the test has closed the warden")
    }

    /// The warden, unless the test has closed it.
    #[must_use]
    pub fn try_warden(&self) -> Option<&Warden> {
        self.warden.as_ref()
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.warden().snapshot()
    }

    /// Where the state file lies.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.state.join("state.tw")
    }

    /// The state file's bytes as they are on the disk now.
    #[must_use]
    pub fn state_bytes(&self) -> Vec<u8> {
        std::fs::read(self.state_file()).unwrap()
    }

    /// Damages every row of directories in which a name begins like this; rows of other kinds have it after a slash.
    /// Nobody has the file open.
    pub fn damage_rows_naming(&self, begin: &str) {
        let mut bytes = self.state_bytes();
        let named = |at: &usize| bytes[*at..].starts_with(begin.as_bytes()) && bytes[at - 1] != b'/';
        let places: Vec<usize> = (1..bytes.len()).filter(named).collect();
        assert!(!places.is_empty(), "no directory names `{begin}`");
        for at in places {
            bytes[at] ^= 1;
        }
        std::fs::write(self.state_file(), bytes).unwrap();
    }

    /// Closes the warden, so that someone else can open the file.
    pub fn close(&mut self) {
        if let Some(warden) = self.warden.take() {
            warden.close().unwrap();
        }
    }

    /// Drops the warden without closing it, as after a failure.
    pub fn abandon(&mut self) {
        self.warden = None;
    }

    /// Opens the state file again after [`World::close`].
    pub fn open(&mut self) {
        let mut options = (self.configure)(Warden::options());
        if let Some(clock) = &self.clock {
            options = options.clock(clock.clone());
        }
        let opened = match &self.faults {
            Some(plan) => open_with_faults(options, self.state_file(), Arc::clone(plan)),
            None => options.open(self.state_file()),
        };
        self.warden = Some(opened.unwrap_or_else(|e| panic!("open: {e}")));
    }

    /// Closes and opens.
    pub fn reopen(&mut self) {
        self.close();
        self.open();
    }

    /// A quick scan of the whole root.
    pub fn scan(&self) -> Report {
        self.scan_as(|options| options)
    }

    /// A scan of the whole root with more options.
    pub fn scan_as(&self, more: impl FnOnce(ScanOptions) -> ScanOptions) -> Report {
        self.scan_target(ROOT, more)
    }

    /// A scan of one target. The counts of the report must be those of the journal.
    pub fn scan_target(
        &self,
        target: impl AsRef<[u8]>,
        more: impl FnOnce(ScanOptions) -> ScanOptions,
    ) -> Report {
        let before = self.warden().seq();
        let options = more(ScanOptions::default().target(target.as_ref()).walker(self.walker));
        let reports = self.warden().scan_with(&options, &ScanContext::default());
        let mut reports = reports.unwrap_or_else(|e| panic!("scan of {}: {e}", show(target.as_ref())));
        assert_eq!(reports.len(), 1, "one target, one report");
        let report = reports.remove(0);
        self.assert_counts(before, &report);
        report
    }

    fn assert_counts(&self, before: u64, report: &Report) {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for row in rows_since(self.warden(), before).iter().filter(|row| row.entry != "dir") {
            *counts.entry(row.kind.name()).or_default() += 1;
        }
        let listed = |kind: ChangeKind| counts.get(kind.name()).copied().unwrap_or_default();
        let reported = [
            (ChangeKind::Added, report.added),
            (ChangeKind::Modified, report.modified),
            (ChangeKind::Moved, report.moved),
            (ChangeKind::Missing, report.missing),
            (ChangeKind::Restored, report.restored),
        ];
        for (kind, count) in reported {
            assert_eq!(count, listed(kind), "the report's count of {} against the journal", kind.name());
        }
        // Retention may forget old tombstones in the same commit; those are nobody's finding.
        assert!(report.forgotten <= listed(ChangeKind::Forgotten), "more forgotten than the journal lists");
        assert_eq!(report.seq, self.warden().seq(), "the report's seq");
    }

    /// Scans and returns what it found, as sorted lines such as `added a/b` or `moved a -> b`,
    /// files and symlinks only. The scan must be clean.
    pub fn news(&self) -> Vec<String> {
        let before = self.warden().seq();
        let report = self.scan();
        assert!(report.is_clean(), "the scan was not clean: {report:?}");
        self.changes_since(before)
    }

    /// Scans and compares what was found with `expected`, which must be sorted.
    pub fn expect_news(&self, what: &str, expected: &[&str]) {
        crate::assert_lines(what, expected, &self.news());
    }

    /// What the journal says after `seq`, as lines, see [`World::news`].
    #[must_use]
    pub fn changes_since(&self, seq: u64) -> Vec<String> {
        let mut lines: Vec<String> = rows_since(self.warden(), seq)
            .iter()
            .filter(|row| row.entry != "dir")
            .map(|row| {
                let kind = row.kind.name();
                match &row.from {
                    Some(from) => format!("{kind} {} -> {}", relative(from), relative(&row.path)),
                    None => format!("{kind} {}", relative(&row.path)),
                }
            })
            .collect();
        lines.sort();
        lines
    }

    /// Scans until no entry is marked racy: from here on, only real changes are reported.
    pub fn settle(&self) {
        for _ in 0..500 {
            if let Some(clock) = &self.clock {
                let later = crate::now_ns() + 5_000_000_000;
                if clock.now_ns() < later {
                    clock.set_ns(later);
                }
            }
            let report = self.scan();
            assert!(report.is_clean(), "the scan was not clean: {report:?}");
            if !self.snapshot().entries(ROOT).any(|entry| entry.is_racy()) {
                return;
            }
            // The file system's clock has to tick; that alone is waited for.
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("entries stay racy for ever");
    }

    /// Files and symlinks of the root, relative, in path order.
    #[must_use]
    pub fn ls(&self) -> Vec<String> {
        file_names(&self.snapshot(), ROOT)
    }

    /// Compares what is there with `expected`.
    pub fn expect_ls(&self, what: &str, expected: &[&str]) {
        crate::assert_lines(what, expected, &self.ls());
    }

    /// One entry; it must be there.
    #[must_use]
    pub fn entry(&self, rel: impl AsRef<[u8]>) -> Entry {
        let snapshot = self.snapshot();
        let entry = snapshot.get(address(rel.as_ref()));
        entry.unwrap_or_else(|| panic!("{} is not in the snapshot", show(rel.as_ref()))).to_entry()
    }

    /// The id of an entry that must be there.
    #[must_use]
    pub fn id(&self, rel: impl AsRef<[u8]>) -> u64 {
        self.entry(rel).id
    }

    /// The snapshot equals the disk in every field, and the journal leads to it.
    pub fn assert_true(&self, what: &str) {
        self.assert_disk(what);
        self.assert_replay();
    }

    /// The snapshot equals the disk in every field.
    pub fn assert_disk(&self, what: &str) {
        let disk = reference::listing(self.tree.path(), ROOT);
        crate::assert_same(what, &disk, &reference::of_snapshot(&self.snapshot(), ROOT));
    }

    /// The journal, replayed from its start, leads to the snapshot.
    pub fn assert_replay(&self) {
        let mut replay = Replay::new();
        replay.catch_up(self.warden());
        replay.assert_matches(&self.snapshot());
    }
}

/// The address of `rel` in [`ROOT`].
#[must_use]
pub fn address(rel: impl AsRef<[u8]>) -> Vec<u8> {
    let mut address = ROOT.as_bytes().to_vec();
    address.push(b'/');
    address.extend_from_slice(rel.as_ref());
    address
}

/// Files and symlinks of one root, relative, in the order in which the snapshot lists them.
#[must_use]
pub fn file_names(snapshot: &Snapshot, root: &str) -> Vec<String> {
    snapshot.files(root).map(|entry| relative(&entry.path())).collect()
}

fn relative(address: &[u8]) -> String {
    let at = address.iter().position(|&b| b == b'/').map_or(0, |at| at + 1);
    show(&address[at..])
}
