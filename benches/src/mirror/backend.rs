//! The objects behind the protocol: `s3s-fs` stores them, and an index in memory answers listings and `HEAD`.
//!
//! The index is there for the peers, who list and ask: `s3s-fs` would read two files for each answer and tell no entity tags in
//! listings, and a slow server is no fault of theirs. Below [`DISCARD`] nothing is stored at all, but entity tags are the right ones, in
//! parts too: an object larger than memory and disk can be sent there. Parts are taken there alone.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http_body_util::BodyExt;
use s3s::crypto::{Checksum, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Metadata,
    Object, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use crate::Result;

/// Content below this is read and thrown away.
pub(super) const DISCARD: &str = "discard";

/// Keys of one page of a listing at most.
const PAGE_MAX: usize = 1_000;

/// All buckets; a clone shows the same ones.
#[derive(Clone)]
pub(super) struct Backend {
    dir: PathBuf,
    buckets: Arc<Mutex<HashMap<String, Arc<Bucket>>>>,
}

/// One bucket, with a folder and a server of files to itself: what that leaves beside its objects goes with it.
struct Bucket {
    name: String,
    folder: PathBuf,
    files: FileSystem,
    objects: Mutex<BTreeMap<String, Meta>>,
    uploads: Mutex<Uploads>,
}

struct Meta {
    size: u64,
    etag: String,
    modified: SystemTime,
    content_type: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Default)]
struct Uploads {
    begun: u64,
    open: HashMap<String, Upload>,
}

struct Upload {
    content_type: Option<String>,
    metadata: Option<Metadata>,
    parts: BTreeMap<i32, Digest>,
}

/// What is kept of content that was thrown away.
#[derive(Clone, Copy)]
struct Digest {
    sum: [u8; 16],
    size: u64,
}

impl Backend {
    /// The folder must be there, and hold nothing.
    pub(super) fn new(dir: &Path) -> Backend {
        Backend { dir: dir.to_owned(), buckets: Arc::default() }
    }

    /// Makes an empty bucket, in place of one that has this name.
    pub(super) fn make(&self, name: &str) -> Result<()> {
        self.remove(name)?;
        let folder = self.dir.join(name);
        fs::create_dir_all(folder.join(name))?;
        let files = FileSystem::new(&folder)
            .map_err(|error| format!("cannot serve {}: {error:?}", folder.display()))?;
        let bucket = Bucket {
            name: name.to_owned(),
            folder,
            files,
            objects: Mutex::default(),
            uploads: Mutex::default(),
        };
        lock(&self.buckets).insert(name.to_owned(), Arc::new(bucket));
        Ok(())
    }

    /// Removes a bucket and everything in it.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let Some(bucket) = lock(&self.buckets).remove(name) else { return Ok(()) };
        fs::remove_dir_all(&bucket.folder)?;
        Ok(())
    }

    /// Objects of a bucket, and their bytes.
    pub(super) fn totals(&self, name: &str) -> Option<(u64, u64)> {
        let bucket = lock(&self.buckets).get(name).cloned()?;
        let objects = lock(&bucket.objects);
        Some((objects.len() as u64, objects.values().map(|meta| meta.size).sum()))
    }

    fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        lock(&self.buckets).get(name).cloned().ok_or_else(|| s3_error!(NoSuchBucket))
    }
}

impl Bucket {
    fn note(&self, key: String, meta: Meta) {
        lock(&self.objects).insert(key, meta);
    }

    /// The size of an object that was just stored.
    fn stored(&self, key: &str) -> S3Result<u64> {
        let path = self.folder.join(&self.name).join(key);
        fs::metadata(path).map(|found| found.len()).map_err(|error| s3_error!(error, InternalError))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_discarded(key: &str) -> bool {
    key.strip_prefix(DISCARD).is_some_and(|rest| rest.starts_with('/'))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads content to its end, one frame at a time.
async fn digest(content: StreamingBlob) -> S3Result<Digest> {
    let mut body = pin!(Body::from(content));
    let (mut sum, mut size) = (Md5::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| s3_error!(IncompleteBody, "{error}"))?;
        if let Some(data) = frame.data_ref() {
            sum.update(data);
            size += data.len() as u64;
        }
    }
    Ok(Digest { sum: sum.finalize(), size })
}

/// Puts parts together: as many bytes, and the tag that S3 gives such an object.
fn join(parts: &BTreeMap<i32, Digest>, named: &[CompletedPart]) -> S3Result<(u64, String)> {
    let (mut sums, mut size) = (Vec::with_capacity(named.len() * 16), 0);
    for part in named {
        let sent = part.part_number.and_then(|number| parts.get(&number));
        let sent = sent.ok_or_else(|| s3_error!(InvalidPart))?;
        if part.e_tag.as_ref().is_some_and(|tag| tag.value() != hex(sent.sum)) {
            return Err(s3_error!(InvalidPart));
        }
        sums.extend_from_slice(&sent.sum);
        size += sent.size;
    }
    if named.is_empty() {
        return Err(s3_error!(InvalidPart));
    }
    Ok((size, format!("{}-{}", hex(Md5::checksum(&sums)), named.len())))
}

/// What a listing asks for.
struct Query<'a> {
    prefix: &'a str,
    /// Not empty.
    delimiter: Option<&'a str>,
    /// Rows up to this one were told already.
    after: Option<&'a str>,
    limit: usize,
}

#[derive(Default)]
struct Page {
    objects: Vec<Object>,
    common: Vec<CommonPrefix>,
    /// The last row, where there are more.
    next: Option<String>,
}

impl Page {
    /// Keys and what several of them have in common, in the order of their bytes.
    fn of(objects: &BTreeMap<String, Meta>, query: &Query<'_>) -> Page {
        let mut page = Page::default();
        let mut last: Option<String> = None;
        let start = query.after.filter(|after| *after > query.prefix).unwrap_or(query.prefix);
        for (key, meta) in objects.range::<str, _>((Bound::Included(start), Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(query.prefix) else { break };
            let end = query.delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
            let row = end.map_or(key.as_str(), |end| &key[..query.prefix.len() + end]);
            if query.after.is_some_and(|after| row <= after) || last.as_deref() == Some(row) {
                continue;
            }
            if page.objects.len() + page.common.len() >= query.limit {
                page.next = last;
                break;
            }
            match end {
                Some(_) => page.common.push(CommonPrefix { prefix: Some(row.to_owned()) }),
                None => page.objects.push(Object {
                    key: Some(key.clone()),
                    size: i64::try_from(meta.size).ok(),
                    e_tag: Some(ETag::Strong(meta.etag.clone())),
                    last_modified: Some(Timestamp::from(meta.modified)),
                    ..Default::default()
                }),
            }
            last = Some(row.to_owned());
        }
        page
    }
}

fn limit(max_keys: Option<i32>) -> usize {
    max_keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(PAGE_MAX).min(PAGE_MAX)
}

/// An empty one is none.
fn delimiter(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let objects = lock(&bucket.objects);
        let meta = objects.get(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(meta.size).ok(),
            content_type: meta.content_type.clone(),
            e_tag: Some(ETag::Strong(meta.etag.clone())),
            last_modified: Some(Timestamp::from(meta.modified)),
            metadata: meta.metadata.clone(),
            ..Default::default()
        }))
    }

    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let key = request.input.key.clone();
        let (content_type, metadata) = (request.input.content_type.clone(), request.input.metadata.clone());
        let (size, etag) = if is_discarded(&key) {
            let content = request.input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
            let digest = digest(content).await?;
            (digest.size, hex(digest.sum))
        } else {
            let answer = bucket.files.put_object(request).await?;
            let tag = answer.output.e_tag.ok_or_else(|| s3_error!(InternalError))?;
            (bucket.stored(&key)?, tag.value().to_owned())
        };
        let output =
            PutObjectOutput { e_tag: Some(ETag::Strong(etag.clone())), ..PutObjectOutput::default() };
        bucket.note(key, Meta { size, etag, modified: SystemTime::now(), content_type, metadata });
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let key = request.input.key.clone();
        let answer = bucket.files.delete_object(request).await?;
        lock(&bucket.objects).remove(&key);
        Ok(answer)
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let keys: Vec<String> =
            request.input.delete.objects.iter().map(|object| object.key.clone()).collect();
        let answer = bucket.files.delete_objects(request).await?;
        let mut objects = lock(&bucket.objects);
        for key in &keys {
            objects.remove(key);
        }
        Ok(answer)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        if !is_discarded(&input.key) {
            return Err(s3_error!(NotImplemented, "parts are taken below `{DISCARD}/` alone"));
        }
        let mut uploads = lock(&bucket.uploads);
        uploads.begun += 1;
        let id = format!("{:032x}", uploads.begun);
        let upload =
            Upload { content_type: input.content_type, metadata: input.metadata, parts: BTreeMap::new() };
        uploads.open.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let digest = digest(input.body.ok_or_else(|| s3_error!(IncompleteBody))?).await?;
        let mut uploads = lock(&bucket.uploads);
        let upload = uploads.open.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, digest);
        let e_tag = Some(ETag::Strong(hex(digest.sum)));
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut uploads = lock(&bucket.uploads);
        let upload = uploads.open.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let (size, etag) = join(&upload.parts, &named)?;
        let upload = uploads.open.remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let Upload { content_type, metadata, .. } = upload;
        let meta = Meta { size, etag: etag.clone(), modified: SystemTime::now(), content_type, metadata };
        bucket.note(input.key.clone(), meta);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        match lock(&bucket.uploads).open.remove(&request.input.upload_id) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(s3_error!(NoSuchUpload)),
        }
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: delimiter(input.delimiter.as_ref()),
            after: input.marker.as_deref(),
            limit: limit(input.max_keys),
        };
        let page = Page::of(&lock(&bucket.objects), &query);
        Ok(S3Response::new(ListObjectsOutput {
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next,
            contents: Some(page.objects),
            common_prefixes: Some(page.common),
            encoding_type: input.encoding_type,
            delimiter: input.delimiter,
            marker: input.marker,
            max_keys: input.max_keys,
            name: Some(input.bucket),
            prefix: input.prefix,
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: delimiter(input.delimiter.as_ref()),
            // A token is the last row that was told.
            after: input.continuation_token.as_deref().or(input.start_after.as_deref()),
            limit: limit(input.max_keys),
        };
        let page = Page::of(&lock(&bucket.objects), &query);
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(page.objects.len() + page.common.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(page.objects),
            common_prefixes: Some(page.common),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            delimiter: input.delimiter,
            max_keys: input.max_keys,
            name: Some(input.bucket),
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(keys: &[&str]) -> BTreeMap<String, Meta> {
        let meta = || Meta {
            size: 1,
            etag: String::new(),
            modified: SystemTime::UNIX_EPOCH,
            content_type: None,
            metadata: None,
        };
        keys.iter().map(|key| ((*key).to_owned(), meta())).collect()
    }

    /// Rows of all pages, one after the other.
    fn listed(keys: &[&str], prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let objects = objects(keys);
        let (mut rows, mut after) = (Vec::new(), None::<String>);
        loop {
            let query = Query { prefix, delimiter, after: after.as_deref(), limit };
            let page = Page::of(&objects, &query);
            let mut some: Vec<String> = page.objects.into_iter().filter_map(|object| object.key).collect();
            some.extend(page.common.into_iter().filter_map(|common| common.prefix));
            some.sort();
            rows.extend(some);
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    }

    #[test]
    fn every_row_is_told_once_whatever_the_pages() {
        let keys = ["a", "a.b", "a/b", "a/c", "b/c/d", "c", "d/e"];
        for limit in 1..9 {
            assert_eq!(listed(&keys, "", None, limit), keys, "{limit}");
            assert_eq!(listed(&keys, "", Some("/"), limit), ["a", "a.b", "a/", "b/", "c", "d/"], "{limit}");
            assert_eq!(listed(&keys, "a/", Some("/"), limit), ["a/b", "a/c"], "{limit}");
        }
    }

    #[test]
    fn content_is_thrown_away_below_one_prefix_alone() {
        assert!(is_discarded("discard/a"));
        assert!(!is_discarded("discarded/a") && !is_discarded("discard") && !is_discarded("a/discard/b"));
    }

    #[test]
    fn an_object_in_parts_has_the_tag_of_its_parts() {
        let part = |content: &[u8]| Digest { sum: Md5::checksum(content), size: content.len() as u64 };
        let parts = BTreeMap::from([(1, part(b"one")), (2, part(b"two!"))]);
        let named = |number: i32, content: &[u8]| CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(hex(Md5::checksum(content)))),
            ..Default::default()
        };
        let (size, tag) = join(&parts, &[named(1, b"one"), named(2, b"two!")]).expect("both parts");
        assert_eq!(size, 7);
        assert!(tag.ends_with("-2") && tag.len() == 34, "{tag}");
        assert!(join(&parts, &[named(1, b"other")]).is_err());
        assert!(join(&parts, &[named(3, b"one")]).is_err());
        assert!(join(&parts, &[]).is_err());
    }
}
