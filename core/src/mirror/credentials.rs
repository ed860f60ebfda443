//! What opens a target: given by the program at every start, never stored, never shown.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

use super::target::Place;

/// What proves to a store who is asking. It is never written to the state file, and `Debug` tells its kind alone.
///
/// Nothing is taken from the environment, from a home directory or from another program's files.
///
/// ```
/// use treewarden::mirror::Credentials;
///
/// let credentials = Credentials::keys("AKIAEXAMPLE", "the secret");
/// assert_eq!(format!("{credentials:?}"), "Credentials(keys)");
/// ```
#[derive(Clone)]
pub struct Credentials {
    kind: Kind,
    session_token: Option<String>,
}

#[derive(Clone)]
pub(super) enum Kind {
    None,
    Anonymous,
    Keys { id: String, secret: String },
    Instance,
    AzureKey(String),
    AzureSas(String),
    GcsServiceAccount(String),
    GcsToken(String),
}

impl Credentials {
    fn of(kind: Kind) -> Self {
        Self { kind, session_token: None }
    }

    /// None: for directories and for files that are served from where they lie.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Kind::None)
    }

    /// Requests without a signature, for a store that lets everybody write.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(Kind::Anonymous)
    }

    /// The id of an access key and its secret: S3 and what is compatible with it.
    #[must_use]
    pub fn keys(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::of(Kind::Keys { id: id.into(), secret: secret.into() })
    }

    /// Adds the token that temporary keys come with. Once it has expired, connect again with new ones.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }

    /// Those of the machine itself, from the metadata service of its cloud: S3, GCS and Azure. They are renewed
    /// by themselves.
    #[must_use]
    pub fn instance() -> Self {
        Self::of(Kind::Instance)
    }

    /// The key of an Azure storage account, in Base64 as it is shown there.
    #[must_use]
    pub fn azure_key(key: impl Into<String>) -> Self {
        Self::of(Kind::AzureKey(key.into()))
    }

    /// A shared access signature of Azure: `sv=…&sig=…`, with or without a question mark before it.
    #[must_use]
    pub fn azure_sas(sas: impl Into<String>) -> Self {
        Self::of(Kind::AzureSas(sas.into()))
    }

    /// The key of a service account of Google Cloud: the JSON text, not the name of its file.
    #[must_use]
    pub fn gcs_service_account(json: impl Into<String>) -> Self {
        Self::of(Kind::GcsServiceAccount(json.into()))
    }

    /// A bearer token for Google Cloud. Once it has expired, connect again with a new one.
    #[must_use]
    pub fn gcs_token(token: impl Into<String>) -> Self {
        Self::of(Kind::GcsToken(token.into()))
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn get_session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// Fails when these cannot open such a target. Nothing is sent, and no value is shown.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, with those that are needed.
    pub(super) fn check(&self, place: &Place) -> Result<()> {
        let (store, needed, fits) = match place {
            Place::S3 { .. } => (
                "S3",
                "`keys` (an id and its secret), `instance` or `anonymous`",
                matches!(self.kind, Kind::Keys { .. } | Kind::Instance | Kind::Anonymous),
            ),
            Place::Gcs { .. } => (
                "Google Cloud Storage",
                "`gcs_service_account`, `gcs_token`, `instance` or `anonymous`",
                matches!(
                    self.kind,
                    Kind::GcsServiceAccount(_) | Kind::GcsToken(_) | Kind::Instance | Kind::Anonymous
                ),
            ),
            Place::Azure { .. } => (
                "Azure",
                "`azure_key`, `azure_sas`, `instance` or `anonymous`",
                matches!(self.kind, Kind::AzureKey(_) | Kind::AzureSas(_) | Kind::Instance | Kind::Anonymous),
            ),
            Place::Directory(_) | Place::Local { .. } => {
                ("a directory", "`none`", matches!(self.kind, Kind::None | Kind::Anonymous))
            }
        };
        if !fits {
            let message = match self.kind {
                Kind::None => format!("missing credentials for {store}"),
                _ => format!("credentials of the kind `{}` do not open {store}", self.name()),
            };
            return Err(Error::invalid(message).with_hint(format!("it needs {needed}")));
        }
        if self.session_token.is_some() && !matches!(self.kind, Kind::Keys { .. }) {
            return Err(Error::invalid("a session token belongs to an id and its secret")
                .with_hint("`keys`, then `session_token`"));
        }
        self.check_values()
    }

    /// They become parts of headers, which hold no line breaks.
    fn check_values(&self) -> Result<()> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        match &self.kind {
            Kind::None | Kind::Anonymous | Kind::Instance => {}
            Kind::Keys { id, secret } => {
                values.push(("the id of the key", id));
                values.push(("its secret", secret));
            }
            Kind::AzureKey(key) => values.push(("the account key", key)),
            Kind::AzureSas(sas) => values.push(("the shared access signature", sas)),
            Kind::GcsToken(token) => values.push(("the token", token)),
            Kind::GcsServiceAccount(json) => {
                let is_key = serde_json::from_str::<serde_json::Value>(json)
                    .is_ok_and(|value| value.get("private_key").is_some_and(serde_json::Value::is_string));
                if !is_key {
                    return Err(Error::invalid("the key of the service account cannot be read")
                        .with_hint("it is the whole JSON text, with `private_key` in it"));
                }
            }
        }
        values.extend(self.session_token.as_deref().map(|token| ("the session token", token)));
        for (what, value) in values {
            if value.is_empty() {
                return Err(Error::invalid(format!("{what} is empty")));
            }
            if !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Error::invalid(format!(
                    "{what} holds a space, a line break or a character outside ASCII"
                ))
                .with_hint("was a newline read along with it?"));
            }
        }
        Ok(())
    }

    /// Everything that no message may show, the longest first.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self.session_token.iter().cloned().collect();
        match &self.kind {
            Kind::None | Kind::Anonymous | Kind::Instance => {}
            Kind::Keys { secret: value, .. } | Kind::AzureKey(value) | Kind::GcsToken(value) => {
                secrets.push(value.clone());
            }
            Kind::AzureSas(sas) => {
                secrets.push(sas.trim_start_matches('?').to_owned());
                let signatures =
                    sas.trim_start_matches('?').split('&').filter_map(|p| p.strip_prefix("sig="));
                for signature in signatures {
                    secrets.push(signature.to_owned());
                    secrets.push(percent_decode_str(signature).decode_utf8_lossy().into_owned());
                }
            }
            Kind::GcsServiceAccount(json) => {
                secrets.push(json.clone());
                if let Ok(value) = serde_json::from_str::<serde_json::Value>(json) {
                    let fields = ["private_key", "private_key_id"];
                    let texts = fields.iter().filter_map(|name| value.get(name)?.as_str());
                    secrets.extend(texts.map(str::to_owned));
                }
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        // A part of a secret that is replaced first would leave the rest of it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        secrets
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::None => "none",
            Kind::Anonymous => "anonymous",
            Kind::Keys { .. } => "keys",
            Kind::Instance => "instance",
            Kind::AzureKey(_) => "azure_key",
            Kind::AzureSas(_) => "azure_sas",
            Kind::GcsServiceAccount(_) => "gcs_service_account",
            Kind::GcsToken(_) => "gcs_token",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const JSON: &str =
        r#"{"private_key": "-----BEGIN\nhush", "private_key_id": "id-hush", "client_email": "a@b"}"#;

    fn places() -> [Place; 5] {
        [
            Place::S3 { bucket: "bucket".into() },
            Place::Gcs { bucket: "bucket".into() },
            Place::Azure { account: "account".into(), container: "container".into() },
            Place::Directory("/srv".into()),
            Place::Local { base_url: "https://example.org".into() },
        ]
    }

    fn all() -> Vec<(Credentials, [bool; 5])> {
        vec![
            (Credentials::none(), [false, false, false, true, true]),
            (Credentials::anonymous(), [true, true, true, true, true]),
            (Credentials::keys("id", "hush"), [true, false, false, false, false]),
            (Credentials::keys("id", "hush").session_token("hush2"), [true, false, false, false, false]),
            (Credentials::instance(), [true, true, true, false, false]),
            (Credentials::azure_key("aHVzaA=="), [false, false, true, false, false]),
            (Credentials::azure_sas("?sv=1&sig=hu%2Fsh"), [false, false, true, false, false]),
            (Credentials::gcs_service_account(JSON), [false, true, false, false, false]),
            (Credentials::gcs_token("hush"), [false, true, false, false, false]),
        ]
    }

    #[test]
    fn each_kind_opens_its_own_stores() {
        for (credentials, fits) in all() {
            for (place, fits) in places().iter().zip(fits) {
                let answer = credentials.check(place);
                assert_eq!(answer.is_ok(), fits, "{credentials:?} {place:?}");
                if let Err(error) = answer {
                    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                    assert!(error.hint().is_some(), "{error}");
                }
            }
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        for (credentials, _) in all() {
            let mut shown = format!("{credentials:?}");
            for place in &places() {
                if let Err(error) = credentials.check(place) {
                    shown.push_str(&format!("{error} {error:?}"));
                }
            }
            for secret in credentials.secrets() {
                assert!(!shown.contains(&secret), "{shown}");
            }
        }
    }

    #[test]
    fn values_that_no_header_holds_are_refused() {
        let [s3, gcs, azure, ..] = places();
        for (credentials, place) in [
            (Credentials::keys("", "hush"), &s3),
            (Credentials::keys("id", ""), &s3),
            (Credentials::keys("id", "hush\n"), &s3),
            (Credentials::keys("id", "hush").session_token("a\r\nb"), &s3),
            (Credentials::keys("id", "hush").session_token(""), &s3),
            (Credentials::anonymous().session_token("hush"), &s3),
            (Credentials::gcs_token("hü"), &gcs),
            (Credentials::gcs_service_account("hush"), &gcs),
            (Credentials::gcs_service_account("{}"), &gcs),
            (Credentials::azure_key(" "), &azure),
            (Credentials::azure_sas(""), &azure),
        ] {
            let error = credentials.check(place).expect_err("a bad value");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn the_secrets_are_told_with_the_longest_first() {
        let sas = Credentials::azure_sas("?sv=1&sig=hu%2Fsh").secrets();
        assert_eq!(sas, ["sv=1&sig=hu%2Fsh", "hu%2Fsh", "hu/sh"]);
        let json = Credentials::gcs_service_account(JSON).secrets();
        assert_eq!(json, [JSON, "-----BEGIN\nhush", "id-hush"]);
        assert!(Credentials::instance().secrets().is_empty());
    }
}
