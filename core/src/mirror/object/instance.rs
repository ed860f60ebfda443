//! Credentials of the machine itself, where its cloud is Google's or Azure.
//!
//! `object_store` has its own, which read the environment and the home directory; those of S3 do not, and are used
//! as they are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::CredentialProvider;
use object_store::azure::AzureCredential;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::GcpCredential;

use super::fault::Refused;
use super::wire::{self, Answer};

/// It is a neighbour: what takes longer is not there.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A token is renewed so long before its end, for requests that take their time.
const MARGIN_S: u64 = 300;
const LIFE_MAX_S: u64 = 86_400;

/// Asks for a token, and keeps it while it is valid.
pub(super) struct Instance<C> {
    client: reqwest::Client,
    store: &'static str,
    url: &'static str,
    header: (&'static str, &'static str),
    make: fn(String) -> C,
    kept: Mutex<Option<Kept<C>>>,
}

struct Kept<C> {
    credential: Arc<C>,
    until: Instant,
}

impl Instance<GcpCredential> {
    pub(super) fn gcs() -> object_store::Result<Self> {
        Ok(Self {
            // The service speaks no TLS; it cannot be reached from outside the machine.
            client: wire::client(true)?,
            store: "GCS",
            url: "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
            header: ("Metadata-Flavor", "Google"),
            make: |bearer| GcpCredential { bearer },
            kept: Mutex::new(None),
        })
    }
}

impl Instance<AzureCredential> {
    pub(super) fn azure() -> object_store::Result<Self> {
        Ok(Self {
            client: wire::client(true)?,
            store: "Azure",
            url: concat!(
                "http://169.254.169.254/metadata/identity/oauth2/token",
                "?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F"
            ),
            header: ("Metadata", "true"),
            make: AzureCredential::BearerToken,
            kept: Mutex::new(None),
        })
    }
}

impl<C> Instance<C> {
    fn kept(&self) -> Option<Arc<C>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| kept.until > Instant::now()).map(|kept| Arc::clone(&kept.credential))
    }

    fn keep(&self, credential: &Arc<C>, life_s: u64) {
        let life_s = life_s.min(LIFE_MAX_S).saturating_sub(MARGIN_S);
        let until = Instant::now() + Duration::from_secs(life_s);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Kept { credential: Arc::clone(credential), until });
    }

    fn failed(&self, error: reqwest::Error) -> object_store::Error {
        let source = HttpError::new(HttpErrorKind::Connect, error.without_url());
        object_store::Error::Generic { store: self.store, source: Box::new(source) }
    }

    async fn get(&self) -> object_store::Result<Arc<C>> {
        if let Some(credential) = self.kept() {
            return Ok(credential);
        }
        let (name, value) = self.header;
        let request = self.client.get(self.url).header(name, value).timeout(TIMEOUT);
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| self.failed(error))?;
        match token(&body) {
            Some((token, life_s)) if status == 200 => {
                let credential = Arc::new((self.make)(token));
                self.keep(&credential, life_s);
                Ok(credential)
            }
            _ => Err(object_store::Error::Generic {
                store: self.store,
                source: Box::new(Refused::by_machine(status)),
            }),
        }
    }
}

/// The token in an answer and its life in seconds, which Azure writes as text.
fn token(body: &[u8]) -> Option<(String, u64)> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let token = value.get("access_token")?.as_str().filter(|token| !token.is_empty())?;
    let life = value.get("expires_in")?;
    let life_s = life.as_u64().or_else(|| life.as_str()?.parse().ok())?;
    // It becomes a header.
    token.bytes().all(|b| b.is_ascii_graphic()).then(|| (token.to_owned(), life_s))
}

/// Without the token.
impl<C> fmt::Debug for Instance<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The desugared form of `async_trait`, by which `object_store` declares it.
impl<C: Send + Sync + 'static> CredentialProvider for Instance<C> {
    type Credential = C;

    fn get_credential<'life0, 'async_trait>(
        &'life0 self,
    ) -> Answer<'async_trait, object_store::Result<Arc<Self::Credential>>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_clouds_are_read() {
        for (body, read) in [
            (r#"{"access_token": "t", "expires_in": 3599, "token_type": "Bearer"}"#, Some(("t", 3_599))),
            (r#"{"access_token": "t", "expires_in": "3599"}"#, Some(("t", 3_599))),
            (r#"{"access_token": "t\n", "expires_in": 1}"#, None),
            (r#"{"access_token": "", "expires_in": 1}"#, None),
            (r#"{"access_token": "t"}"#, None),
            ("", None),
        ] {
            assert_eq!(token(body.as_bytes()), read.map(|(token, life)| (token.to_owned(), life)), "{body}");
        }
    }

    #[test]
    fn a_token_is_kept_until_shortly_before_its_end() {
        let instance = Instance::gcs().unwrap();
        let credential = Arc::new(GcpCredential { bearer: "hush".into() });
        instance.keep(&credential, MARGIN_S);
        assert!(instance.kept().is_none());
        instance.keep(&credential, u64::MAX);
        assert_eq!(instance.kept(), Some(credential));
        assert!(!format!("{instance:?}").contains("hush"));
    }
}
