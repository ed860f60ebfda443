//! Exports: what is in the files, against the disk and the snapshot; their names; that a file is there whole or
//! not at all, whatever goes wrong; and the same in a bucket, whatever its store answers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use support::mirror::{BUCKET, Call, MIB, Memory, Objects, failure, s3_credentials, s3_target};
use support::reference::{self, Facts, Listing};
use support::s3::{Fault, S3Server, When};
use support::{Mount, ROOT, Rng, Tree, World, assert_same, refused, skip};
use treewarden::export::{
    self, Content, DirectorySink, ExportOptions, ExportReport, ExportSink, ROW_GROUP_ROWS, StorageSink,
};
use treewarden::mirror::{
    Capabilities, Credentials, LocalStorage, Put, Storage, StorageFault, StorageResult, Stored, Target,
};
use treewarden::{
    CancelToken, Change, ChangeKind, ContentHash, Error, ErrorKind, Filter, Kind, RootOptions, Walker,
    Warden, arrow,
};

fn one_file() -> ExportOptions {
    ExportOptions::new()
}

fn partitioned() -> ExportOptions {
    ExportOptions::new().host("nas").partitioned()
}

/// Files with plain and with odd names, a symlink, directories.
fn odd() -> World {
    World::settled(Walker::Auto, |t| {
        t.file("a/b/c", "abc")
            .file("a/d", "d")
            .file(b"a/\xff\n".as_slice(), "odd")
            .file("für Elise", "la")
            .file("z", "")
            .symlink(b"a/\xfe".as_slice(), "link")
            .dir("e/f");
    })
}

/// A Parquet file as it was read back.
struct Read {
    batches: Vec<RecordBatch>,
    columns: Vec<String>,
    meta: ParquetMetaData,
    facts: BTreeMap<String, String>,
}

impl Read {
    fn file(path: &Path) -> Self {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let columns = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let meta = ParquetMetaData::clone(builder.metadata());
        let pairs = meta.file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let facts = pairs.into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect();
        let batches = builder.build().unwrap().map(Result::unwrap).collect();
        Self { batches, columns, meta, facts }
    }

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    fn fact(&self, name: &str) -> &str {
        self.facts.get(&format!("treewarden.{name}")).map_or("", String::as_str)
    }

    fn column(&self, name: &str) -> impl Iterator<Item = &dyn Array> {
        self.batches.iter().map(move |batch| batch.column_by_name(name).unwrap().as_ref())
    }

    fn texts(&self, name: &str) -> Vec<Option<String>> {
        let of = |column: &dyn Array| -> Vec<Option<String>> {
            column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
        };
        self.column(name).flat_map(of).collect()
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Vec<T::Native> {
        self.column(name).flat_map(|column| column.as_primitive::<T>().values().to_vec()).collect()
    }

    /// The exact bytes of the column `name`.
    fn exact(&self, name: &str) -> Vec<Option<Vec<u8>>> {
        let of = |column: &dyn Array| -> Vec<Option<Vec<u8>>> {
            column.as_binary::<i32>().iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect()
        };
        let bytes: Vec<_> = self.column(&format!("{name}_bytes")).flat_map(of).collect();
        let texts = self.texts(name).into_iter();
        texts.zip(bytes).map(|(text, bytes)| bytes.or_else(|| text.map(String::into_bytes))).collect()
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        self.exact("path").into_iter().map(Option::unwrap).collect()
    }
}

/// What a file says of each path, in the form of the naive reference.
fn listing(read: &Read) -> Listing {
    let kinds = read.texts("kind");
    let (sizes, inodes) = (read.numbers::<UInt64Type>("size"), read.numbers::<UInt64Type>("inode"));
    let mtimes = read.numbers::<TimestampNanosecondType>("mtime");
    let ctimes = read.numbers::<TimestampNanosecondType>("ctime");
    let modes = read.numbers::<UInt32Type>("mode");
    let facts = |row: usize| Facts {
        kind: match kinds[row].as_deref() {
            Some("file") => "file",
            Some("dir") => "dir",
            Some("symlink") => "symlink",
            other => panic!("a kind that is none: {other:?}"),
        },
        size: if kinds[row].as_deref() == Some("dir") { 0 } else { sizes[row] },
        mtime_ns: mtimes[row],
        ctime_ns: ctimes[row],
        inode: inodes[row],
        mode: modes[row],
        // Shown escaped alone: compared apart.
        target: None,
    };
    read.paths().into_iter().enumerate().map(|(row, path)| (path, facts(row))).collect()
}

/// The disk, files and symlinks alone, as an export shows them.
fn disk(tree: &Tree, root: &str) -> Listing {
    let all = reference::listing(tree.path(), root).into_iter();
    all.filter(|(_, facts)| facts.kind != "dir")
        .map(|(path, facts)| (path, Facts { target: None, ..facts }))
        .collect()
}

/// All files below a directory, relative, in order.
fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn change(seq: u64, root: &str, path: &str) -> Change {
    Change {
        seq,
        root: root.to_owned(),
        kind: ChangeKind::Added,
        entry_kind: Kind::File,
        path: format!("{root}/{path}").into_bytes(),
        from: None,
        id: seq,
    }
}

/// Changes whose paths do not compress.
fn noise(count: u64) -> impl Iterator<Item = treewarden::Result<Change>> {
    let mut rng = Rng::new(7);
    (0..count).map(move |seq| {
        let path = format!("{:016x}{:016x}{:016x}", rng.bits(), rng.bits(), rng.bits());
        Ok(change(seq, "r", &path))
    })
}

#[test]
fn the_address_of_a_store_is_no_path() {
    let world = odd();
    for address in ["s3://bucket/lake", "file:///lake", "gs://bucket"] {
        let ended = export::snapshot(&world.snapshot(), &Filter::new(), &partitioned(), Path::new(address));
        refused(address, ended, &[ErrorKind::InvalidArgument]);
        assert!(!Path::new(address).exists());
    }
}

#[test]
fn a_file_of_entries_says_what_is_on_the_disk() {
    let world = odd();
    let (snapshot, out) = (world.snapshot(), Tree::new());
    let dest = out.join("all.parquet");
    let options = one_file().host("nas").token(world.warden().token());
    let report = export::snapshot(&snapshot, &Filter::new(), &options, &dest).unwrap();
    assert_eq!(names(out.path()), ["all.parquet"], "no draft stays");
    assert_eq!((report.rows, report.files), (6, 1));
    assert_eq!(report.bytes, fs::metadata(&dest).unwrap().len());

    let read = Read::file(&dest);
    assert_eq!(read.rows(), 6);
    assert_same("the file against the disk", &disk(&world.tree, ROOT), &listing(&read));
    let entries: Vec<_> = snapshot.files("").map(|entry| entry.to_entry()).collect();
    assert_eq!(read.paths(), entries.iter().map(|e| e.path.clone()).collect::<Vec<_>>(), "in path order");
    let shown: Vec<_> = entries.iter().map(|e| Some(treewarden::escape(&e.path))).collect();
    assert_eq!(read.texts("path"), shown);
    let targets: Vec<_> = entries.iter().map(|e| e.target.as_deref().map(treewarden::escape)).collect();
    assert_eq!(read.texts("target"), targets);
    assert_eq!(read.numbers::<UInt64Type>("id"), entries.iter().map(|e| e.id).collect::<Vec<_>>());
    assert_eq!(read.numbers::<UInt64Type>("seq"), entries.iter().map(|e| e.seq).collect::<Vec<_>>());
    assert!(read.texts("root").iter().all(|root| root.as_deref() == Some(ROOT)), "a string, no dictionary");

    let token = world.warden().token().to_string();
    assert_eq!(read.fact("seq"), snapshot.seq().to_string());
    assert_eq!(format!("tw1-{}-{}", read.fact("database"), read.fact("seq")), token);
    assert_eq!((read.fact("table"), read.fact("host")), ("entries", "nas"));
    assert!(!read.fact("version").is_empty());
    for group in read.meta.row_groups() {
        assert!(group.columns().iter().all(|column| column.compression() == Compression::SNAPPY));
    }
}

#[test]
fn hashes_directories_and_tombstones_are_exported_where_they_are_asked_for() {
    let options = RootOptions::default().content_hash(ContentHash::Changed);
    let world = support::Setup::new(Walker::Auto).root(options).build(|t| {
        t.file("a", "same").file("d/b", "same").file("gone", "x");
    });
    world.settle();
    world.tree.remove("gone");
    world.scan();
    let (snapshot, out) = (world.snapshot(), Tree::new());
    let at = |name: &str| out.join(name);

    export::snapshot(&snapshot, &Filter::new(), &one_file(), &at("files")).unwrap();
    let read = Read::file(&at("files"));
    let digest = snapshot.get("root/a").unwrap().hash().map(|hash| format!("{hash:032x}"));
    assert!(digest.is_some());
    assert_eq!(read.texts("hash"), [digest.clone(), digest]);

    export::snapshot(&snapshot, &Filter::new().with_dirs(), &one_file(), &at("dirs")).unwrap();
    let shown: Vec<_> = Read::file(&at("dirs")).texts("path").into_iter().flatten().collect();
    assert!(shown.contains(&"root/d".to_owned()), "{shown:?}");

    export::snapshot(&snapshot, &Filter::new().missing(), &one_file(), &at("missing")).unwrap();
    let read = Read::file(&at("missing"));
    assert_eq!(read.texts("path"), [Some("root/gone".to_owned())]);
    let since = snapshot.get_missing("root/gone").unwrap().missing_since_ns().unwrap();
    assert_eq!(read.numbers::<TimestampNanosecondType>("missing_since"), [since]);
}

#[test]
fn an_empty_snapshot_is_a_file_without_rows() {
    let (world, out) = (World::new(Walker::Auto, |_| {}), Tree::new());
    let dest = out.join("none.parquet");
    let report = export::snapshot(&world.snapshot(), &Filter::new(), &one_file(), &dest).unwrap();
    assert_eq!((report.rows, report.files), (0, 1));
    let read = Read::file(&dest);
    assert_eq!(read.rows(), 0);
    assert!(read.columns.contains(&"path_bytes".to_owned()), "{:?}", read.columns);

    let lake = out.join("lake");
    let report = export::snapshot(&world.snapshot(), &Filter::new(), &partitioned(), &lake).unwrap();
    assert_eq!((report.rows, report.files), (0, 1), "the root was looked at, and has nothing");
    let report = export::changes([], 3, &partitioned(), &lake).unwrap();
    assert_eq!((report.rows, report.files), (0, 0));
}

/// A second root of `world`, scanned.
fn second_root(world: &World, name: &str, plant: impl FnOnce(&Tree)) -> Tree {
    let tree = Tree::new();
    plant(&tree);
    world.warden().add_root(name, tree.path()).unwrap();
    world.warden().scan(name).unwrap();
    tree
}

#[test]
fn partitions_are_named_as_hive_names_them_and_hold_their_root_alone() {
    let world = odd();
    let name = "für a/b=c %41".replace('/', "+");
    let other = second_root(&world, &name, |t| {
        t.file("x", "1").file("y/z", "2");
    });
    let _empty = second_root(&world, "nothing", |_| {});
    let (snapshot, out) = (world.snapshot(), Tree::new());
    let options = ExportOptions::new().host("nas 1:Küche").partitioned();
    let report = export::snapshot(&snapshot, &Filter::new(), &options, &out.join("new/lake")).unwrap();
    assert_eq!((report.rows, report.files), (8, 3));

    let (host, seq) = ("host=nas%201%3AK%C3%BCche", snapshot.seq());
    let encoded = format!("{host}/root=f%C3%BCr%20a%2Bb%3Dc%20%2541/part-{seq}.parquet");
    let mut expected = [
        encoded.clone(),
        format!("{host}/root=nothing/part-{seq}.parquet"),
        format!("{host}/root=root/part-{seq}.parquet"),
    ];
    expected.sort();
    let lake = out.join("new/lake");
    assert_eq!(names(&lake), expected);
    let bytes: u64 = expected.iter().map(|name| fs::metadata(lake.join(name)).unwrap().len()).sum();
    assert_eq!(report.bytes, bytes);

    let read = Read::file(&lake.join(&encoded));
    assert!(!read.columns.iter().any(|column| column == "root" || column == "host"), "{:?}", read.columns);
    assert_same("the other root", &disk(&other, &name), &listing(&read));
    assert_eq!(read.fact("host"), "nas 1:Küche");
    let read = Read::file(&lake.join(format!("{host}/root=root/part-{seq}.parquet")));
    assert_same("the first root", &disk(&world.tree, ROOT), &listing(&read));

    // Of one root, with a pattern that is relative to it.
    let filter = Filter::new().under(&name).glob("*").unwrap();
    let report = export::snapshot(&snapshot, &filter, &partitioned(), &out.join("one")).unwrap();
    assert_eq!((report.rows, report.files), (1, 1));
}

#[test]
fn a_part_takes_the_place_of_older_ones_and_of_nothing_else() {
    let (world, out) = (odd(), Tree::new());
    let lake = out.path();
    export::snapshot(&world.snapshot(), &Filter::new(), &partitioned(), lake).unwrap();
    let folder = "host=nas/root=root";
    for name in ["part-x.parquet", "part-00001-ab.parquet", "changes-1.parquet", "part-7.parquet.bak"] {
        fs::write(lake.join(folder).join(name), "of another").unwrap();
    }
    fs::write(lake.join(folder).join("part-1.parquet"), "older").unwrap();
    world.tree.file("new", "x");
    world.scan();
    let seq = world.snapshot().seq();
    for _ in 0..2 {
        export::snapshot(&world.snapshot(), &Filter::new(), &partitioned(), lake).unwrap();
        let mut expected = [
            "changes-1.parquet".to_owned(),
            "part-00001-ab.parquet".to_owned(),
            "part-7.parquet.bak".to_owned(),
            format!("part-{seq}.parquet"),
            "part-x.parquet".to_owned(),
        ];
        expected.sort();
        assert_eq!(names(&lake.join(folder)), expected);
    }
    assert_eq!(Read::file(&lake.join(format!("{folder}/part-{seq}.parquet"))).rows(), 7);
}

#[test]
fn changes_are_exported_in_order_and_by_root() {
    let world = odd();
    let _other = second_root(&world, "other", |t| {
        t.file("x", "1");
    });
    world.tree.rename("a/d", "moved");
    world.scan();
    let (warden, out) = (world.warden(), Tree::new());
    let expected: Vec<Change> = warden.changes(0).unwrap().map(Result::unwrap).collect();
    let changes = warden.changes(0).unwrap();
    let seq = changes.last_seq();
    let report = export::changes(changes, seq, &one_file(), &out.join("all")).unwrap();
    assert_eq!(report.rows, expected.len() as u64);
    let read = Read::file(&out.join("all"));
    assert_eq!((read.fact("table"), read.fact("seq")), ("changes", seq.to_string().as_str()));
    assert_eq!(read.paths(), expected.iter().map(|c| c.path.clone()).collect::<Vec<_>>());
    assert_eq!(read.exact("from"), expected.iter().map(|c| c.from.clone()).collect::<Vec<_>>());
    let kinds: Vec<_> = expected.iter().map(|c| Some(c.kind.name().to_owned())).collect();
    assert_eq!(read.texts("kind"), kinds);
    assert_eq!(read.numbers::<UInt64Type>("seq"), expected.iter().map(|c| c.seq).collect::<Vec<_>>());

    let lake = out.join("lake");
    export::changes(warden.changes(0).unwrap(), seq, &partitioned(), &lake).unwrap();
    let name = |root: &str| format!("host=nas/root={root}/changes-{seq}.parquet");
    assert_eq!(names(&lake), [name("other"), name("root")]);
    for root in ["other", "root"] {
        let of_root: Vec<_> = expected.iter().filter(|c| c.root == root).map(|c| c.path.clone()).collect();
        assert_eq!(Read::file(&lake.join(name(root))).paths(), of_root);
    }
}

#[test]
fn many_rows_and_roots_that_take_turns_lose_nothing() {
    let (rows, roots) = (3 * ROW_GROUP_ROWS as u64 + 5, 3);
    let rows = (0..rows).map(|seq| Ok(change(seq, &format!("r{}", seq % roots), &seq.to_string())));
    let out = Tree::new();
    let report = export::changes(rows.clone(), 9, &partitioned(), out.path()).unwrap();
    assert_eq!((report.rows, report.files), (3 * ROW_GROUP_ROWS as u64 + 5, roots));
    for root in 0..roots {
        let read = Read::file(&out.join(format!("host=nas/root=r{root}/changes-9.parquet")));
        let expected: Vec<u64> = (0..report.rows).filter(|seq| seq % roots == root).collect();
        assert_eq!(read.numbers::<UInt64Type>("seq"), expected, "r{root}");
    }
    export::changes(rows, 9, &one_file(), &out.join("one")).unwrap();
    let read = Read::file(&out.join("one"));
    let groups: Vec<_> = read.meta.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    let full = i64::try_from(ROW_GROUP_ROWS).unwrap();
    assert_eq!(groups, [full, full, full, 5]);
    assert_eq!(read.numbers::<UInt64Type>("seq"), (0..report.rows).collect::<Vec<_>>());
}

#[test]
fn a_table_is_written_to_whatever_can_be_written_to() {
    let world = odd();
    let mut bytes = Vec::new();
    let written = export::to_writer(arrow::entries(&world.snapshot(), &Filter::new()), &mut bytes).unwrap();
    assert_eq!(written, bytes.len() as u64);
    let out = Tree::new();
    fs::write(out.join("f"), bytes).unwrap();
    assert_same("what was written", &disk(&world.tree, ROOT), &listing(&Read::file(&out.join("f"))));

    /// Takes so many bytes and no more.
    struct Narrow(usize);
    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for room in [0, 1, 4, 100, usize::try_from(written).unwrap() - 1] {
        let table = arrow::entries(&world.snapshot(), &Filter::new());
        refused("a full device", export::to_writer(table, Narrow(room)), &[ErrorKind::StorageFull]);
    }
    let failing = arrow::changes([Err(Error::new(ErrorKind::Corrupt, "a row is damaged"))]);
    refused("a damaged row", export::to_writer(failing, Vec::<u8>::new()), &[ErrorKind::Corrupt]);
}

#[test]
fn an_error_on_the_way_leaves_nothing_behind() {
    let out = Tree::new();
    let rows = || noise(100_000).chain([Err(Error::new(ErrorKind::Corrupt, "a row is damaged"))]);
    let failed = export::changes(rows(), 1, &one_file(), &out.join("f.parquet"));
    refused("a damaged row", failed, &[ErrorKind::Corrupt]);
    let failed = export::changes(rows(), 1, &partitioned(), &out.join("new/lake"));
    refused("a damaged row", failed, &[ErrorKind::Corrupt]);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "neither drafts nor directories");
}

#[test]
fn what_is_there_is_not_replaced_unless_asked_for_and_only_by_a_whole_file() {
    let (world, out) = (odd(), Tree::new());
    let snapshot = world.snapshot();
    let write = |options: &ExportOptions, dest: &Path| {
        export::snapshot(&snapshot, &Filter::new(), options, dest).map(|report| report.rows)
    };
    let dest = out.join("f.parquet");
    assert_eq!(write(&one_file(), &dest).unwrap(), 6);
    let before = fs::read(&dest).unwrap();
    refused("a file that is there", write(&one_file(), &dest), &[ErrorKind::AlreadyExists]);
    assert_eq!(fs::read(&dest).unwrap(), before);

    let cut = noise(100_000).chain([Err(Error::new(ErrorKind::Corrupt, "a row is damaged"))]);
    let failed = export::changes(cut, 1, &one_file().replace(), &dest);
    refused("an export that ends early", failed, &[ErrorKind::Corrupt]);
    assert_eq!(fs::read(&dest).unwrap(), before, "what was there is whole");
    let report = export::changes(noise(10), 1, &one_file().replace(), &dest).unwrap();
    assert_eq!((report.rows, Read::file(&dest).rows()), (10, 10));

    let replace = one_file().replace();
    refused("a state file", write(&replace, &world.state_file()), &[ErrorKind::AlreadyExists]);
    world.warden().check().unwrap();
    out.file("text", "PA")
        .symlink("text", "link")
        .symlink("nowhere", "dangling")
        .fifo("fifo")
        .file("empty", "");
    for name in ["text", "link", "dangling", "fifo"] {
        refused(name, write(&replace, &out.join(name)), &[ErrorKind::AlreadyExists]);
    }
    assert_eq!(write(&replace, &out.join("empty")).unwrap(), 6);
    let expected = ["dangling", "empty", "f.parquet", "fifo", "link", "text"];
    assert_eq!(names(out.path()), expected);
}

#[test]
fn a_name_that_is_taken_meanwhile_is_not_replaced() {
    let out = Tree::new();
    let dest = out.join("f.parquet");
    let taken = dest.clone();
    let rows = noise(10).inspect(move |_| fs::write(&taken, "somebody was faster").unwrap());
    let failed = export::changes(rows, 1, &one_file(), &dest);
    refused("a name taken meanwhile", failed, &[ErrorKind::AlreadyExists]);
    assert_eq!(fs::read(&dest).unwrap(), b"somebody was faster");
    assert_eq!(names(out.path()), ["f.parquet"]);

    // Nor where it was asked for, when it is no Parquet file.
    fs::remove_file(&dest).unwrap();
    let taken = dest.clone();
    let rows = noise(10).inspect(move |_| fs::write(&taken, "somebody was faster").unwrap());
    let failed = export::changes(rows, 1, &one_file().replace(), &dest);
    refused("a text taken meanwhile", failed, &[ErrorKind::AlreadyExists]);
    assert_eq!(fs::read(&dest).unwrap(), b"somebody was faster");
    assert_eq!(names(out.path()), ["f.parquet"]);
}

#[test]
fn places_that_make_no_sense_are_refused_and_stay_as_they_are() {
    let (world, out) = (odd(), Tree::new());
    out.file("file", "text").dir("dir");
    let snapshot = world.snapshot();
    let write = |options: ExportOptions, dest: PathBuf| {
        export::snapshot(&snapshot, &Filter::new(), &options, &dest).map(|report| report.rows)
    };
    use ErrorKind::{InvalidArgument, Io, NotFound, TooLarge};
    refused("a directory", write(one_file(), out.join("dir")), &[InvalidArgument]);
    refused("no name", write(one_file(), PathBuf::from("/")), &[InvalidArgument]);
    refused("no name", write(one_file(), PathBuf::new()), &[InvalidArgument]);
    refused("no directory", write(one_file(), out.join("nowhere/f")), &[NotFound]);
    refused("a file for a directory", write(one_file(), out.join("file/f")), &[Io]);
    refused("a file for a lake", write(partitioned(), out.join("file")), &[InvalidArgument]);
    refused("a lake in a file", write(partitioned(), out.join("file/lake")), &[InvalidArgument, Io]);
    refused("no host", write(ExportOptions::new().partitioned(), out.join("lake")), &[InvalidArgument]);
    for host in ["", ".", "..", "a/b", "a\nb", &"h".repeat(256)] {
        let options = ExportOptions::new().host(host).partitioned();
        refused("a bad host", write(options, out.join("lake")), &[InvalidArgument]);
        refused("a bad host", write(one_file().host(host), out.join("f")), &[InvalidArgument]);
    }
    // 252 bytes, all of which are encoded.
    let long = ExportOptions::new().host("日".repeat(84)).partitioned();
    refused("a host of too many letters", write(long, out.join("new/lake")), &[TooLarge]);
    assert_eq!(names(out.path()), ["file"]);
    assert!(!out.join("lake").exists() && !out.join("new").exists());
}

#[test]
fn a_full_or_read_only_disk_is_told_and_nothing_stays() {
    let test = "a_full_or_read_only_disk_is_told_and_nothing_stays";
    let out = Tree::new();
    out.dir("disk");
    let mount = match Mount::tmpfs(&out.join("disk"), 1) {
        Ok(mount) => mount,
        Err(why) => return skip(test, why),
    };
    // Some of it is written while rows still come, some only at the end.
    for rows in [300_000, 40_000] {
        let failed = export::changes(noise(rows), 1, &one_file(), &out.join("disk/f.parquet"));
        refused("a full disk", failed, &[ErrorKind::StorageFull]);
        let failed = export::changes(noise(rows), 1, &partitioned(), &out.join("disk/lake"));
        refused("a full disk", failed, &[ErrorKind::StorageFull]);
        assert_eq!(fs::read_dir(out.join("disk")).unwrap().count(), 0, "nothing stays");
    }
    let report = export::changes(noise(100), 1, &one_file(), &out.join("disk/f.parquet")).unwrap();
    assert_eq!(report.rows, 100);

    mount.read_only();
    let kinds = [ErrorKind::ReadOnly];
    refused("read-only", export::changes(noise(1), 1, &one_file(), &out.join("disk/g")), &kinds);
    refused("read-only", export::changes(noise(1), 1, &partitioned(), &out.join("disk/lake")), &kinds);
    assert_eq!(names(&out.join("disk")), ["f.parquet"]);
}

/// A kill leaves what is on the disk at that instant: the rows look at it while they are written.
#[test]
fn while_it_is_written_nothing_has_the_final_name_and_what_is_left_is_cleaned_up() {
    let out = Tree::new();
    let dest = out.join("f.parquet");
    let dir = out.path().to_path_buf();
    let mut row = 0;
    let rows = noise(200_000).inspect(move |_| {
        row += 1;
        if row % 50_000 == 0 {
            let there = names(&dir);
            assert_eq!(there.len(), 1, "{there:?}");
            assert!(there[0].starts_with(".treewarden-export-"), "{there:?}");
            // No reader of `*.parquet` takes it for a file of theirs.
            assert!(!there[0].ends_with(".parquet"), "{there:?}");
        }
    });
    export::changes(rows, 1, &one_file(), &dest).unwrap();
    assert_eq!(names(out.path()), ["f.parquet"]);

    // As a killed process leaves it; and one that is still at work.
    out.file(".treewarden-export-0", "half").file(".treewarden-export-1", "half");
    let at_work = File::open(out.join(".treewarden-export-1")).unwrap();
    at_work.lock().unwrap();
    export::changes(noise(1), 1, &one_file(), &out.join("g.parquet")).unwrap();
    assert_eq!(names(out.path()), [".treewarden-export-1", "f.parquet", "g.parquet"]);
}

#[test]
fn exports_into_one_directory_at_the_same_time_do_not_disturb_each_other() {
    let out = Tree::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let out = &out;
            scope.spawn(move || {
                for n in 0..5 {
                    let dest = out.join(format!("{thread}-{n}.parquet"));
                    export::changes(noise(2_000), 1, &one_file(), &dest).unwrap();
                    let host = ExportOptions::new().host(format!("h{thread}")).partitioned();
                    export::changes(noise(100), n, &host, &out.join("lake")).unwrap();
                }
            });
        }
    });
    let found = names(out.path());
    assert_eq!(found.len(), 80, "{found:?}");
    for name in found {
        assert!(Read::file(&out.join(&name)).rows() > 0, "{name}");
    }
}

/// Keeps copies of what it is given.
struct Copies {
    dir: PathBuf,
    names: Vec<String>,
    fails_at: usize,
}

impl ExportSink for Copies {
    fn put(&mut self, name: &str, file: &Path) -> treewarden::Result<()> {
        if self.names.len() == self.fails_at {
            return Err(Error::new(ErrorKind::Timeout, "the storage does not answer"));
        }
        fs::copy(file, self.dir.join(self.names.len().to_string())).unwrap();
        self.names.push(name.to_owned());
        Ok(())
    }
}

#[test]
fn a_sink_gets_complete_files_and_its_errors_end_the_export() {
    let world = odd();
    let _other = second_root(&world, "other", |t| {
        t.file("x", "1");
    });
    let (snapshot, out) = (world.snapshot(), Tree::new());
    out.dir("staging").dir("kept");
    let mut sink = Copies { dir: out.join("kept"), names: Vec::new(), fails_at: usize::MAX };
    let filter = Filter::new();
    let content = || Content::Entries(&snapshot, &filter);
    let report = export::files(content(), &partitioned(), &out.join("staging"), &mut sink).unwrap();
    assert_eq!((report.rows, report.files), (7, 2));
    let seq = snapshot.seq();
    let name = |root: &str| format!("host=nas/root={root}/part-{seq}.parquet");
    assert_eq!(sink.names, [name("other"), name("root")]);
    let rows: Vec<u64> = (0..2).map(|n| Read::file(&out.join(format!("kept/{n}"))).rows()).collect();
    assert_eq!(rows, [1, 6]);

    let mut sink = Copies { fails_at: 1, names: Vec::new(), ..sink };
    let failed = export::files(content(), &partitioned(), &out.join("staging"), &mut sink);
    refused("a storage that fails", failed, &[ErrorKind::Timeout]);
    assert_eq!(sink.names.len(), 1);
    assert_eq!(fs::read_dir(out.join("staging")).unwrap().count(), 0, "the drafts are removed");

    let mut directory = DirectorySink::new(out.join("lake")).unwrap();
    out.file("f", "x");
    for bad in ["", "/f", "../f", "a/../f", "a//f", "a/."] {
        refused(bad, directory.put(bad, &out.join("f")), &[ErrorKind::InvalidArgument]);
    }
    directory.put("a/b/f", &out.join("f")).unwrap();
    assert_eq!(fs::read(out.join("lake/a/b/f")).unwrap(), b"x");
}

/// Nothing of a warden is needed but its snapshot.
#[test]
fn a_snapshot_is_exported_after_its_warden_was_closed() {
    let mut world = odd();
    let snapshot = world.snapshot();
    world.close();
    let out = Tree::new();
    export::snapshot(&snapshot, &Filter::new(), &one_file(), &out.join("f")).unwrap();
    assert_eq!(Read::file(&out.join("f")).rows(), 6);
    let reopened = Warden::open(world.state_file()).unwrap();
    assert_eq!(reopened.seq(), snapshot.seq(), "and nothing was written");
}

#[test]
fn a_part_that_is_newer_is_neither_removed_nor_joined() {
    let (world, out) = (odd(), Tree::new());
    let newer = "host=nas/root=root/part-999999.parquet";
    fs::create_dir_all(out.join("host=nas/root=root")).unwrap();
    fs::write(out.join(newer), "of another state file").unwrap();
    let failed = export::snapshot(&world.snapshot(), &Filter::new(), &partitioned(), out.path());
    let error = refused("a newer part", failed, &[ErrorKind::Conflict]);
    assert!(error.message().contains("part-999999.parquet"), "{error}");
    assert_eq!(names(out.path()), [newer]);
    assert_eq!(fs::read(out.join(newer)).unwrap(), b"of another state file");
}

// ---------------------------------------------------------------------------------- in a storage

/// Where the only root of [`odd`] has its parts.
const FOLDER: &str = "lake/host=nas/root=root";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A server with an empty bucket, and a directory for drafts.
struct Lake {
    server: S3Server,
    staging: Tree,
    _dir: Tree,
}

impl Lake {
    fn new() -> Self {
        let dir = Tree::new();
        let server = S3Server::start(dir.path());
        server.create_bucket(BUCKET);
        Self { server, staging: Tree::new(), _dir: dir }
    }

    fn sink(&self) -> StorageSink {
        let target = s3_target(&self.server.endpoint());
        StorageSink::connect(&target, &s3_credentials(), "lake").unwrap().retry(5, ms(2), ms(20))
    }

    fn export_to(&self, sink: &mut StorageSink, world: &World) -> treewarden::Result<ExportReport> {
        let report = entries(world, self.staging.path(), sink);
        assert_eq!(names(self.staging.path()), [""; 0], "no draft stays");
        report
    }

    fn export(&self, world: &World) -> treewarden::Result<ExportReport> {
        self.export_to(&mut self.sink(), world)
    }

    fn keys(&self) -> Vec<String> {
        self.server.objects(BUCKET).into_keys().collect()
    }

    /// Reads an object as the file that it is.
    fn read(&self, key: &str) -> Read {
        let content = self.server.object(BUCKET, key).unwrap_or_else(|| panic!("no object {key:?}"));
        let dir = Tree::new();
        fs::write(dir.join("object"), content).unwrap();
        Read::file(&dir.join("object"))
    }

    /// The requests, each as its method and the word in its query that tells what it is.
    fn asked(&self) -> Vec<String> {
        let words = ["list-type", "partNumber", "uploads", "uploadId", "delete"];
        let of = |query: &str| words.into_iter().find(|word| query.contains(word)).unwrap_or_default();
        self.server.requests().iter().map(|r| format!("{} {}", r.method, of(&r.query))).collect()
    }
}

fn entries(world: &World, staging: &Path, sink: &mut StorageSink) -> treewarden::Result<ExportReport> {
    let (snapshot, filter) = (world.snapshot(), Filter::new());
    export::files(Content::Entries(&snapshot, &filter), &partitioned(), staging, sink)
}

/// The key of the part of the snapshot that is current.
fn part(world: &World) -> String {
    format!("{FOLDER}/part-{}.parquet", world.snapshot().seq())
}

fn memory_sink(memory: &Arc<Memory>) -> StorageSink {
    let storage: Arc<dyn Storage> = memory.clone();
    StorageSink::new(storage, "lake").unwrap().retry(5, ms(1), ms(4))
}

#[test]
fn a_bucket_holds_the_partitions_of_an_export() {
    let (lake, world) = (Lake::new(), odd());
    let name = "für a+b=c %41";
    let other = second_root(&world, name, |t| {
        t.file("x", "1").file("y/z", "2");
    });
    let (snapshot, filter) = (world.snapshot(), Filter::new());
    let options = ExportOptions::new().host("nas 1:Küche").token(world.warden().token());
    let content = || Content::Entries(&snapshot, &filter);
    let report = export::files(content(), &options, lake.staging.path(), &mut lake.sink()).unwrap();
    assert_eq!((report.rows, report.files), (8, 2));
    assert_eq!(names(lake.staging.path()), [""; 0], "no draft stays");

    let (host, seq) = ("lake/host=nas%201%3AK%C3%BCche", snapshot.seq());
    let encoded = format!("{host}/root=f%C3%BCr%20a%2Bb%3Dc%20%2541/part-{seq}.parquet");
    let plain = format!("{host}/root=root/part-{seq}.parquet");
    assert_eq!(lake.keys(), [encoded.clone(), plain.clone()]);
    assert_same("the other root", &disk(&other, name), &listing(&lake.read(&encoded)));
    assert_same("the first root", &disk(&world.tree, ROOT), &listing(&lake.read(&plain)));
    assert_eq!(lake.read(&plain).fact("host"), "nas 1:Küche");
    let bytes: usize = lake.server.objects(BUCKET).values().map(Vec::len).sum();
    assert_eq!(report.bytes, bytes as u64);
    let its = lake.server.attribute(BUCKET, &plain, "content_type");
    assert_eq!(its.as_deref(), Some("application/vnd.apache.parquet"));

    // The next one takes its place, under names that need care.
    world.tree.file("new", "x");
    world.scan();
    let (snapshot, seq) = (world.snapshot(), world.snapshot().seq());
    let content = Content::Entries(&snapshot, &filter);
    export::files(content, &options, lake.staging.path(), &mut lake.sink()).unwrap();
    let plain = format!("{host}/root=root/part-{seq}.parquet");
    let encoded = format!("{host}/root=f%C3%BCr%20a%2Bb%3Dc%20%2541/part-{seq}.parquet");
    assert_eq!(lake.keys(), [encoded, plain.clone()]);
    assert_eq!(lake.read(&plain).rows(), 7);
}

#[test]
fn a_part_in_a_bucket_takes_the_place_of_older_ones_and_of_nothing_else() {
    let (lake, world) = (Lake::new(), odd());
    let others = [
        "lake/changes-1.parquet",
        "lake/host=nas/part-1.parquet",
        "lake/host=nas/root=root/changes-1.parquet",
        "lake/host=nas/root=root/part-00001-ab.parquet",
        "lake/host=nas/root=root/part-1.parquet.bak",
        "lake/host=nas/root=root/part-x.parquet",
        "lake/host=nas/root=root/sub/part-1.parquet",
        "lake/host=nas/root=root2/part-1.parquet",
        "lake/host=nas2/root=root/part-1.parquet",
        "host=nas/root=root/part-1.parquet",
    ];
    for key in others {
        lake.server.put_object(BUCKET, key, b"of another");
    }
    lake.server.put_object(BUCKET, &format!("{FOLDER}/part-1.parquet"), b"older");
    for _ in 0..2 {
        lake.export(&world).unwrap();
        let mut expected: Vec<String> = others.iter().map(|key| (*key).to_owned()).collect();
        expected.push(part(&world));
        expected.sort();
        assert_eq!(lake.keys(), expected);
    }
    // Deleted at last: until then a reader sees the older one.
    assert_eq!(lake.asked()[..4], ["GET list-type", "PUT ", "GET list-type", "POST delete"]);

    // Changes are only added, and nothing is listed for them.
    lake.server.clear_requests();
    let content = Content::Changes(Box::new(world.warden().changes(0).unwrap()), 3);
    export::files(content, &partitioned(), lake.staging.path(), &mut lake.sink()).unwrap();
    assert_eq!(lake.asked(), ["PUT "]);
    assert!(lake.keys().contains(&format!("{FOLDER}/changes-3.parquet")));
}

#[test]
fn a_newer_part_in_a_bucket_is_neither_removed_nor_joined() {
    let (lake, world) = (Lake::new(), odd());
    let newer = format!("{FOLDER}/part-999999.parquet");
    lake.server.put_object(BUCKET, &newer, b"of another state file");
    let error = refused("a newer part", lake.export(&world), &[ErrorKind::Conflict]);
    assert!(error.message().contains("part-999999.parquet"), "{error}");
    assert_eq!(lake.keys(), [newer]);
    assert_eq!(lake.asked(), ["GET list-type"], "nothing was sent");
}

#[test]
fn of_two_exports_at_the_same_time_the_newer_part_stays() {
    let (memory, world, staging) = (Memory::new(), odd(), Tree::new());
    let (there, newer) = (memory.again(), format!("{FOLDER}/part-999999.parquet"));
    let key = newer.clone();
    memory.midway(move |_| there.plant(&key, b"the other one was faster"));
    entries(&world, staging.path(), &mut memory_sink(&memory)).unwrap();
    assert_eq!(memory.puts(), [part(&world)]);
    assert_eq!(memory.objects().into_keys().collect::<Vec<_>>(), [newer]);
}

#[test]
fn a_large_part_is_sent_in_pieces() {
    let lake = Lake::new();
    let rows = 300_000;
    let export = |sink: &mut StorageSink| {
        export::files(Content::Changes(Box::new(noise(rows)), 1), &partitioned(), lake.staging.path(), sink)
    };
    let report = export(&mut lake.sink()).unwrap();
    assert!(report.bytes > 8 * MIB, "{report:?}");
    let pieces = lake.asked().iter().filter(|asked| *asked == "PUT partNumber").count() as u64;
    assert_eq!(pieces, report.bytes.div_ceil(8 * MIB));
    assert_eq!(lake.server.uploads_open(BUCKET), 0);
    let key = "lake/host=nas/root=r/changes-1.parquet";
    assert_eq!((lake.keys(), lake.read(key).rows()), (vec![key.to_owned()], rows));
    let whole = lake.server.object(BUCKET, key);

    // A lost answer, a wrong sum and a cut in each of its requests.
    let faults = lake.server.faults();
    faults.once(When::create_upload(), Fault::slow_down(None));
    faults.once(When::part(), Fault::CutRequestAfter(100_000));
    faults.once(When::part(), Fault::WrongEtag);
    faults.once(When::complete_upload(), Fault::LoseResponse);
    export(&mut lake.sink()).unwrap();
    assert_eq!((faults.left(), lake.server.uploads_open(BUCKET)), (0, 0));
    assert_eq!(lake.server.object(BUCKET, key), whole);

    // One that fails for good leaves no pieces, even where throwing them away fails at first.
    lake.server.remove_object(BUCKET, key);
    faults.always(When::part(), Fault::status(403, "AccessDenied"));
    faults.times(2, When::abort_upload(), Fault::internal_error());
    refused("pieces that are refused", export(&mut lake.sink()), &[ErrorKind::PermissionDenied]);
    assert_eq!((faults.left(), lake.server.uploads_open(BUCKET)), (0, 0));
    assert_eq!(lake.keys(), [""; 0]);
    assert_eq!(names(lake.staging.path()), [""; 0]);
}

#[test]
fn what_a_store_answers_wrong_is_put_right() {
    let (lake, world) = (Lake::new(), odd());
    let older = format!("{FOLDER}/part-1.parquet");
    let faults = lake.server.faults();
    for (request, fault) in [
        (When::put(), Fault::slow_down(None)),
        (When::put(), Fault::internal_error()),
        (When::put(), Fault::CutRequestAfter(10)),
        (When::put(), Fault::LoseResponse),
        (When::put(), Fault::WrongEtag),
        (When::list(), Fault::slow_down(None)),
        (When::list(), Fault::CutResponseAfter(40)),
        (When::delete_many(), Fault::internal_error()),
        (When::delete_many(), Fault::LoseResponse),
    ] {
        let what = format!("{request:?} {fault:?}");
        lake.server.put_object(BUCKET, &older, b"older");
        faults.times(2, request, fault);
        lake.export(&world).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((lake.keys(), faults.left()), (vec![part(&world)], 0), "{what}");
        assert_eq!(lake.read(&part(&world)).rows(), 6, "{what}");
        faults.clear();
    }
    for seed in 0..10 {
        lake.server.put_object(BUCKET, &older, b"older");
        faults.storm(seed, 0.3);
        let mut sink = lake.sink().retry(15, ms(1), ms(5));
        lake.export_to(&mut sink, &world).unwrap_or_else(|error| panic!("storm {seed}: {error}"));
        assert_eq!(lake.keys(), [part(&world)], "storm {seed}");
        assert_eq!(lake.read(&part(&world)).rows(), 6, "storm {seed}");
        faults.clear();
    }
}

#[test]
fn a_store_that_fails_for_good_is_told_and_the_older_part_stays() {
    let (lake, world) = (Lake::new(), odd());
    let older = format!("{FOLDER}/part-1.parquet");
    lake.server.put_object(BUCKET, &older, b"older");
    let faults = lake.server.faults();
    let (denied, expired) = (|| Fault::status(403, "AccessDenied"), Fault::expired_token);
    let no_bucket = || Fault::status(404, "NoSuchBucket");
    use ErrorKind::{Io, NotFound, PermissionDenied};
    // The last one: how many requests, each fault being for all of its kind.
    for (request, fault, kind, requests) in [
        (When::any(), denied(), PermissionDenied, 1),
        (When::any(), expired(), PermissionDenied, 1),
        (When::any(), no_bucket(), NotFound, 1),
        (When::put(), denied(), PermissionDenied, 2),
        (When::any(), Fault::internal_error(), Io, 5),
        (When::put(), Fault::internal_error(), Io, 6),
        (When::put(), Fault::slow_down(None), Io, 21),
    ] {
        let what = format!("{request:?} {fault:?}");
        lake.server.clear_requests();
        faults.always(request, fault);
        let mut sink = lake.sink().retry(5, Duration::from_micros(100), ms(1));
        let error = refused(&what, lake.export_to(&mut sink, &world), &[kind]);
        assert!(error.hint().is_some(), "{what}: {error}");
        assert_eq!(lake.asked().len(), requests, "{what}: {:?}", lake.asked());
        assert_eq!(lake.keys(), std::slice::from_ref(&older), "{what}");
        faults.clear();
    }
    // An answer that is always wrong: what is there may be right, and is not believed.
    faults.always(When::put(), Fault::WrongEtag);
    refused("a wrong sum", lake.export(&world), &[Io]);
    assert!(lake.keys().contains(&older));
    faults.clear();
    faults.always(When::delete_many(), denied());
    let error = refused("a deletion that is refused", lake.export(&world), &[PermissionDenied]);
    assert!(error.hint().is_some_and(|hint| hint.contains("rows count")), "{error}");
    assert_eq!(lake.keys(), [older, part(&world)], "the new one is in place");
    faults.clear();
    lake.export(&world).unwrap();
    assert_eq!(lake.keys(), [part(&world)]);
}

#[test]
fn a_store_is_not_asked_sooner_than_it_wants() {
    let (lake, world) = (Lake::new(), odd());
    lake.server.faults().once(When::put(), Fault::slow_down(Some(1)));
    let begun = Instant::now();
    lake.export(&world).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(lake.server.faults().left(), 0);
}

#[test]
fn an_export_to_a_storage_can_be_cancelled() {
    let (world, staging) = (odd(), Tree::new());
    let older = format!("{FOLDER}/part-1.parquet");
    let planted = || {
        let memory = Memory::new();
        memory.plant(&older, b"older");
        memory
    };
    let kept = |what: &str, memory: &Memory| {
        let keys: Vec<String> = Objects::into_keys(memory.objects()).collect();
        assert_eq!(keys, std::slice::from_ref(&older), "{what}");
        assert_eq!(names(staging.path()), [""; 0], "{what}");
    };

    let (memory, token) = (planted(), CancelToken::new());
    token.cancel();
    let mut sink = memory_sink(&memory).cancel(token);
    refused("before it begins", entries(&world, staging.path(), &mut sink), &[ErrorKind::Cancelled]);
    memory.assert_quiet("before it begins");
    kept("before it begins", &memory);

    let (memory, token) = (planted(), CancelToken::new());
    let its = token.clone();
    memory.midway(move |_| its.cancel());
    let mut sink = memory_sink(&memory).cancel(token);
    refused("within a file", entries(&world, staging.path(), &mut sink), &[ErrorKind::Cancelled]);
    kept("within a file", &memory);

    // A wait of an hour ends at once.
    let (memory, token) = (planted(), CancelToken::new());
    let its = token.clone();
    memory.script(move |call| match call {
        Call::Put(_) => {
            its.cancel();
            Some(failure(StorageFault::Transient))
        }
        _ => None,
    });
    let hour = Duration::from_secs(3_600);
    let mut sink = memory_sink(&memory).retry(5, hour, hour).cancel(token);
    refused("while it waits", entries(&world, staging.path(), &mut sink), &[ErrorKind::Cancelled]);
    kept("while it waits", &memory);
}

/// A storage that puts, and nothing else.
struct PutsAlone(Arc<Memory>);

impl Storage for PutsAlone {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn describe(&self) -> String {
        "a storage that puts\n".to_owned()
    }

    fn check_key(&self, key: &str) -> StorageResult<()> {
        self.0.check_key(key)
    }

    fn put(&self, put: &Put<'_>) -> StorageResult<Stored> {
        self.0.put(put)
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        self.0.delete(keys)
    }
}

#[test]
fn what_a_storage_cannot_do_is_said_before_anything_is_sent() {
    let (memory, world, staging) = (Memory::new(), odd(), Tree::new());
    let puts: Arc<dyn Storage> = Arc::new(PutsAlone(Arc::clone(&memory)));
    let mut sink = StorageSink::new(puts, "").unwrap();
    let failed = entries(&world, staging.path(), &mut sink);
    refused("it cannot be listed", failed, &[ErrorKind::Unsupported]);
    memory.assert_quiet("it cannot be listed");
    let changes = || Content::Changes(Box::new(noise(5)), 1);
    export::files(changes(), &partitioned(), staging.path(), &mut sink).unwrap();
    assert_eq!(memory.puts(), ["host=nas/root=r/changes-1.parquet"]);
    memory.clear_calls();

    let local: Arc<dyn Storage> = Arc::new(LocalStorage::new("https://example.org"));
    refused("files in place", StorageSink::new(local, ""), &[ErrorKind::Unsupported]);
    let nowhere = Target::directory(staging.join("nowhere"));
    refused("no directory", StorageSink::connect(&nowhere, &Credentials::none(), ""), &[ErrorKind::NotFound]);
    for prefix in ["/a", "a//b", "..", "a\nb"] {
        let storage: Arc<dyn Storage> = memory.clone();
        refused(prefix, StorageSink::new(storage, prefix), &[ErrorKind::InvalidArgument]);
    }

    let storage: Arc<dyn Storage> = memory.clone();
    let mut sink = StorageSink::new(storage, &"p".repeat(1_000)).unwrap();
    refused("a long key", entries(&world, staging.path(), &mut sink), &[ErrorKind::TooLarge]);
    for bad in ["", "/f", "../f", "a//f", "a/."] {
        refused(bad, sink.put(bad, &staging.join("f")), &[ErrorKind::InvalidArgument]);
    }
    refused("no file", sink.put("f", &staging.join("nowhere")), &[ErrorKind::NotFound]);
    refused("a directory", sink.put("f", staging.path()), &[ErrorKind::InvalidArgument]);
    memory.assert_quiet("none of these");
}

/// A directory as a target, without a store.
#[test]
fn a_directory_is_a_storage_too() {
    let (world, out) = (odd(), Tree::new());
    out.dir("lake").dir("staging");
    let target = Target::directory(out.join("lake"));
    let mut sink = StorageSink::connect(&target, &Credentials::none(), "trees/").unwrap();
    for file in ["new", "newer"] {
        world.tree.file(file, "x");
        world.scan();
        entries(&world, &out.join("staging"), &mut sink).unwrap();
        let part = format!("trees/host=nas/root=root/part-{}.parquet", world.snapshot().seq());
        assert_eq!(names(&out.join("lake")), std::slice::from_ref(&part));
        let read = Read::file(&out.join("lake").join(part));
        assert_same("the file against the disk", &disk(&world.tree, ROOT), &listing(&read));
    }
}
