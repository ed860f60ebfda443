//! The objects behind the protocol: `s3s-fs`, put right where it differs from S3 in what a mirror can see.
//!
//! * An object is kept under a name made from its key (see `disk`), so that every key of S3 works.
//! * A bucket that is not there is refused, and not made on the way.
//! * An upload that is not open answers `NoSuchUpload` and not 403.
//! * The parts named at the end of an upload are compared with those that were sent, before anything changes.
//! * A listing is sorted by whole keys, tells entity tags, and has opaque tokens.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CopyObjectInput, CopyObjectOutput, CopySource,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput,
    Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::disk::{Disk, Found, hex, md5, name_of};

/// Every part but the last has at least this many bytes.
const PART_BYTES_MIN: usize = 5 << 20;

/// Keys of one page of a listing at most.
const PAGE_MAX: usize = 1_000;

pub(super) struct Backend {
    files: FileSystem,
    disk: Arc<Disk>,
}

impl Backend {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        Self { files: FileSystem::new(disk.root()).unwrap(), disk }
    }

    fn bucket(&self, name: &str) -> S3Result<()> {
        if self.disk.has_bucket(name) { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn upload(&self, id: &str) -> S3Result<()> {
        if self.disk.upload_is_open(id) { Ok(()) } else { Err(s3_error!(NoSuchUpload)) }
    }

    fn parts(&self, id: &str, parts: &[CompletedPart]) -> S3Result<()> {
        for (at, part) in parts.iter().enumerate() {
            let number = part.part_number.ok_or_else(|| s3_error!(InvalidPart))?;
            let content = self.disk.part(id, number).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().is_some_and(|tag| tag.value() != md5(&content)) {
                return Err(s3_error!(InvalidPart));
            }
            if at + 1 < parts.len() && content.len() < PART_BYTES_MIN {
                return Err(s3_error!(EntityTooSmall));
            }
        }
        Ok(())
    }

    /// An object as a listing shows it; `None` when it is gone meanwhile.
    fn show(&self, bucket: &str, found: &Found) -> Option<Object> {
        let meta = fs::metadata(&found.path).ok()?;
        Some(Object {
            key: Some(found.key.clone()),
            size: i64::try_from(meta.len()).ok(),
            last_modified: meta.modified().ok().map(Timestamp::from),
            e_tag: Some(ETag::Strong(self.disk.etag(bucket, found)?)),
            ..Default::default()
        })
    }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.files.create_bucket(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(request).await
    }

    async fn head_object(
        &self,
        mut request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        request.input.key = name_of(&request.input.key);
        self.files.head_object(request).await
    }

    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        request.input.key = name_of(&request.input.key);
        self.files.get_object(request).await
    }

    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        request.input.key = self.disk.remember(&request.input.key);
        self.files.put_object(request).await
    }

    async fn copy_object(
        &self,
        mut request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = &mut request.input;
        let CopySource::Bucket { bucket, key, .. } = &mut input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        self.bucket(bucket)?;
        self.bucket(&input.bucket)?;
        *key = name_of(key).into_boxed_str();
        input.key = self.disk.remember(&input.key);
        self.files.copy_object(request).await
    }

    async fn delete_object(
        &self,
        mut request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        let (bucket, name) = (request.input.bucket.clone(), name_of(&request.input.key));
        request.input.key = name.clone();
        let response = self.files.delete_object(request).await?;
        self.disk.forget(&bucket, &name);
        Ok(response)
    }

    async fn delete_objects(
        &self,
        mut request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.bucket(&request.input.bucket)?;
        let bucket = request.input.bucket.clone();
        let mut keys = Vec::new();
        for object in &mut request.input.delete.objects {
            let name = name_of(&object.key);
            keys.push(std::mem::replace(&mut object.key, name));
        }
        let mut response = self.files.delete_objects(request).await?;
        for (deleted, key) in response.output.deleted.iter_mut().flatten().zip(keys) {
            self.disk.forget(&bucket, &name_of(&key));
            deleted.key = Some(key);
        }
        Ok(response)
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?;
        let name = self.disk.remember(&request.input.key);
        let key = std::mem::replace(&mut request.input.key, name);
        let mut response = self.files.create_multipart_upload(request).await?;
        response.output.key = Some(key);
        Ok(response)
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.bucket(&request.input.bucket)?;
        self.upload(&request.input.upload_id)?;
        request.input.key = name_of(&request.input.key);
        self.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &mut request.input;
        self.bucket(&input.bucket)?;
        self.upload(&input.upload_id)?;
        let parts = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
        self.parts(&input.upload_id, parts.unwrap_or_default())?;
        let name = name_of(&input.key);
        let key = std::mem::replace(&mut input.key, name);
        let mut response = self.files.complete_multipart_upload(request).await?;
        if let Some(done) = response.output.future.take() {
            response.output = done.await?;
        }
        response.output.key = Some(key);
        Ok(response)
    }

    async fn abort_multipart_upload(
        &self,
        mut request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?;
        self.upload(&request.input.upload_id)?;
        request.input.key = name_of(&request.input.key);
        self.files.abort_multipart_upload(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.bucket(&input.bucket)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let after = match &input.continuation_token {
            Some(token) => Some(key_of(token).ok_or_else(|| s3_error!(InvalidArgument))?),
            None => input.start_after.clone(),
        };
        let limit =
            input.max_keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(PAGE_MAX).min(PAGE_MAX);

        // Keys and what several of them have in common, in one order: a page may end anywhere in it.
        let mut rows = BTreeMap::new();
        for found in self.disk.list(&input.bucket) {
            let Some(rest) = found.key.strip_prefix(prefix) else { continue };
            let common = delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
            match common {
                Some(end) => rows.insert(found.key[..prefix.len() + end].to_owned(), None),
                None => rows.insert(found.key.clone(), Some(found)),
            };
        }
        rows.retain(|row, _| after.as_ref().is_none_or(|after| row > after));
        let more = limit > 0 && rows.len() > limit;

        let (mut contents, mut common_prefixes, mut last) = (Vec::new(), Vec::new(), None);
        for (row, found) in rows.into_iter().take(limit) {
            last = Some(row.clone());
            match found {
                Some(found) => contents.extend(self.show(&input.bucket, &found)),
                None => common_prefixes.push(CommonPrefix { prefix: Some(row) }),
            }
        }
        let output = ListObjectsV2Output {
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            next_continuation_token: last.filter(|_| more).map(hex),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter,
            name: Some(input.bucket),
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }
}

/// The key in a token: its bytes as hex digits.
fn key_of(token: &str) -> Option<String> {
    let digits = token.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).ok());
    let bytes = digits.map(|two| u8::from_str_radix(two?, 16).ok()).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}
