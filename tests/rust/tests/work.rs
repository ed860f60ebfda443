//! Pipelines: what is still to be done about each file, handed out once and never forgotten.

use std::fs;

use treewarden::{Failed, PipelineOptions, Priority, Warden, WorkState};

#[test]
fn a_file_is_done_once_and_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for n in 0..5 {
        fs::write(tree.join(format!("f{n}")), "x").unwrap();
    }
    let warden = Warden::open(dir.path().join("s.tw")).unwrap();
    warden.add_root("r", &tree).unwrap();
    let work = warden.pipeline_with("p", &PipelineOptions::new().settle_ms(0)).unwrap();
    assert!(work.claim(10).unwrap().is_empty());
    warden.scan("r").unwrap();
    let status = work.status().unwrap();
    assert_eq!((status.new, status.indexed), (5, 0), "{status:?}");
    let mut jobs = work.claim(3).unwrap();
    assert_eq!(jobs.len(), 3);
    assert_eq!(work.status().unwrap().processing, 3);
    jobs.pop().unwrap().fail(&Failed::transient("no")).unwrap();
    jobs.pop().unwrap().release().unwrap();
    let mut job = jobs.pop().unwrap();
    job.attrs_mut().insert("etag".into(), b"1".to_vec());
    let path = job.path().to_vec();
    let fs_path = job.fs_path().to_owned();
    job.complete().unwrap();
    let status = work.status().unwrap();
    assert_eq!((status.new, status.indexed, status.error, status.processing), (3, 1, 1, 0), "{status:?}");
    for answer in work.complete_many(work.claim(10).unwrap()).unwrap() {
        answer.unwrap();
    }
    let status = work.status().unwrap();
    assert_eq!((status.new, status.indexed, status.error), (0, 4, 1), "{status:?}");
    fs::write(&fs_path, "other").unwrap();
    warden.scan("r").unwrap();
    let job = work.claim(10).unwrap().pop().unwrap();
    assert_eq!((job.path(), job.state(), job.attempt()), (&path[..], WorkState::Changed, 1));
    assert_eq!(job.attrs()["etag"], b"1");
    fs::write(&fs_path, "other and more").unwrap();
    warden.scan("r").unwrap();
    job.complete().unwrap();
    let job = work.claim(10).unwrap().pop().unwrap();
    assert_eq!(job.state(), WorkState::Changed, "it changed while it was done");
    fs::remove_file(&fs_path).unwrap();
    warden.scan("r").unwrap();
    job.complete().unwrap();
    let job = work.claim(10).unwrap().pop().unwrap();
    assert_eq!(job.state(), WorkState::Missing);
    job.complete().unwrap();
    assert!(work.claim(10).unwrap().is_empty());
    let report = work.request("r", Priority::Critical).unwrap();
    assert_eq!((report.added, report.merged), (4, 0), "{report:?}");
    let jobs = work.claim(10).unwrap();
    assert_eq!(jobs.len(), 4);
    drop(jobs);
    drop(work);
    drop(warden);
    let warden = Warden::open(dir.path().join("s.tw")).unwrap();
    let work = warden.pipeline("p").unwrap();
    let jobs = work.claim(10).unwrap();
    assert_eq!(jobs.len(), 4, "leases of another process are void, requests stay: {:?}", work.status());
    for answer in work.complete_many(jobs).unwrap() {
        answer.unwrap();
    }
    assert!(work.claim(10).unwrap().is_empty());
    println!("{:?}", work.explain("r/f1").unwrap());
    warden.check().unwrap();
}
