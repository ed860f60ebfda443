//! From a target and credentials to the client of its store. Nothing is sent, and nothing comes from anywhere but
//! these two.

use std::os::unix::ffi::OsStrExt;
use std::path::Path as FsPath;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzureBuilder, split_sas};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};

use crate::error::{Error, ErrorKind, Result};

use super::super::credentials::{Credentials, Kind};
use super::super::target::{Place, Target};
use super::Flavour;
use super::directory::Root;
use super::fault::scrub;
use super::instance::Instance;
use super::wire::Connector;

const GOOGLE: &str = "https://storage.googleapis.com";

/// A client, ready for use.
pub(super) struct Built {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Where parts have numbers and an id that outlives the process.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
    /// The same store, asked to delete objects one by one, where `store` has a request for many.
    pub(super) singles: Option<Arc<dyn ObjectStore>>,
    pub(super) flavour: Flavour,
    pub(super) root: Option<Root>,
}

pub(super) fn build(target: &Target, credentials: &Credentials) -> Result<Built> {
    match target.place() {
        Place::S3 { bucket } => s3(target, bucket, credentials),
        Place::Gcs { bucket } => gcs(target, bucket, credentials),
        Place::Azure { account, container } => azure(target, account, container, credentials),
        Place::Directory(path) => directory(path),
        Place::Local { .. } => Err(Error::new(ErrorKind::Unsupported, "local files are served, not stored")),
    }
}

/// The mirror repeats, waits and slows down for all requests together; a client that did so by itself would
/// multiply it.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn client_options(target: &Target) -> ClientOptions {
    let http = target.get_endpoint().is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_allow_http(http)
}

fn unusable(target: &Target, credentials: &Credentials, error: &object_store::Error) -> Error {
    Error::invalid(format!("{target} cannot be used: {}", scrub(&error.to_string(), &credentials.secrets())))
}

fn s3(target: &Target, bucket: &str, credentials: &Credentials) -> Result<Built> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(target.get_region().unwrap_or("us-east-1"))
        .with_virtual_hosted_style_request(target.get_virtual_hosted())
        .with_retry(once())
        .with_client_options(client_options(target))
        .with_http_connector(Connector);
    if let Some(endpoint) = target.get_endpoint() {
        builder = builder.with_endpoint(match endpoint.split_once("://") {
            Some((scheme, host)) if target.get_virtual_hosted() => format!("{scheme}://{bucket}.{host}"),
            _ => endpoint.to_owned(),
        });
    }
    builder = match credentials.kind() {
        Kind::Keys { id, secret } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            match credentials.get_session_token() {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
        Kind::Anonymous => builder.with_skip_signature(true),
        // Without keys it asks the metadata service.
        _ => builder,
    };
    let built = |builder: AmazonS3Builder| {
        builder.build().map(Arc::new).map_err(|error| unusable(target, credentials, &error))
    };
    let singles = built(builder.clone().with_disable_bulk_delete(true))?;
    let store = built(builder)?;
    let parts: Arc<dyn MultipartStore> = Arc::<object_store::aws::AmazonS3>::clone(&store);
    Ok(Built { store, parts: Some(parts), singles: Some(singles), flavour: Flavour::S3, root: None })
}

fn gcs(target: &Target, bucket: &str, credentials: &Credentials) -> Result<Built> {
    // Always said: the key of a service account may name another place, which nobody would see.
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_base_url(target.get_endpoint().unwrap_or(GOOGLE))
        .with_bucket_name(bucket)
        .with_retry(once())
        .with_client_options(client_options(target))
        .with_http_connector(Connector);
    let fixed =
        |bearer: &str| Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: bearer.to_owned() }));
    // Without any of these it would look into the home directory.
    builder = match credentials.kind() {
        Kind::GcsServiceAccount(json) => builder.with_service_account_key(json),
        Kind::GcsToken(token) => builder.with_credentials(fixed(token)),
        Kind::Instance => {
            let instance = Instance::gcs().map_err(|error| unusable(target, credentials, &error))?;
            builder.with_credentials(Arc::new(instance))
        }
        _ => builder.with_credentials(fixed("")).with_skip_signature(true),
    };
    let store = Arc::new(builder.build().map_err(|error| {
        match credentials.kind() {
            // What cannot be read may be quoted.
            Kind::GcsServiceAccount(_) => Error::invalid("the key of the service account cannot be used")
                .with_hint("it is the whole JSON text that was downloaded for the account"),
            _ => unusable(target, credentials, &error),
        }
    })?);
    let parts: Arc<dyn MultipartStore> = Arc::<object_store::gcp::GoogleCloudStorage>::clone(&store);
    Ok(Built { store, parts: Some(parts), singles: None, flavour: Flavour::Gcs, root: None })
}

fn azure(target: &Target, account: &str, container: &str, credentials: &Credentials) -> Result<Built> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_retry(once())
        .with_client_options(client_options(target))
        .with_http_connector(Connector);
    if let Some(endpoint) = target.get_endpoint() {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    let fixed = |credential: AzureCredential| Arc::new(StaticCredentialProvider::new(credential));
    builder = match credentials.kind() {
        Kind::AzureKey(key) => {
            let key = AzureAccessKey::try_new(key).map_err(|_| {
                Error::invalid("the account key is not Base64")
                    .with_hint("copy it whole, with the `=` at its end")
            })?;
            builder.with_credentials(fixed(AzureCredential::AccessKey(key)))
        }
        Kind::AzureSas(sas) => {
            let pairs = split_sas(sas).map_err(|_| {
                Error::invalid("the shared access signature cannot be read")
                    .with_hint("it is a query: `sv=…&sp=…&sig=…`")
            })?;
            builder.with_credentials(fixed(AzureCredential::SASToken(pairs)))
        }
        Kind::Instance => {
            let instance = Instance::azure().map_err(|error| unusable(target, credentials, &error))?;
            builder.with_credentials(Arc::new(instance))
        }
        _ => builder
            .with_credentials(fixed(AzureCredential::BearerToken(String::new())))
            .with_skip_signature(true),
    };
    let store = Arc::new(builder.build().map_err(|error| unusable(target, credentials, &error))?);
    Ok(Built { store, parts: None, singles: None, flavour: Flavour::Azure, root: None })
}

fn directory(path: &FsPath) -> Result<Built> {
    let root = Root::new(path)?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| {
        let reason = scrub(&error.to_string(), &[]);
        Error::new(ErrorKind::Io, format!("the directory cannot be used: {reason}"))
            .with_path(path.as_os_str().as_bytes())
    })?;
    // A file may take the place of a directory that has become empty. What is acknowledged is on disk.
    let store = Arc::new(store.with_automatic_cleanup(true).with_fsync(true));
    Ok(Built { store, parts: None, singles: None, flavour: Flavour::Directory, root: Some(root) })
}
