//! Where credentials come from: the environment of the program and the files that it names. Nothing of a value
//! is ever shown; messages name variables, files and profiles.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use treewarden::escape;
use treewarden::mirror::{Cloudflare, Credentials, Purge, Target};

use crate::args::AccessFlags;
use crate::failure::Failure;
use crate::text;

use super::profile;

const S3_HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with AWS_PROFILE or \
                       --profile; --instance takes those of this machine, --anonymous does without";
const GCS_HINT: &str = "set GOOGLE_APPLICATION_CREDENTIALS to the file with the key of a service account; \
                        --instance takes the credentials of this machine, --anonymous does without";
const AZURE_HINT: &str = "set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN; --instance takes the credentials of \
                          this machine, --anonymous does without";

/// What kind of store a target is, as far as its credentials go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    S3,
    Gcs,
    Azure,
    /// A directory, or files as they lie.
    Here,
}

impl Store {
    pub(super) fn of(target: &Target) -> Store {
        let url = target.to_string();
        match url.split(':').next() {
            Some("s3") => Store::S3,
            Some("gs") => Store::Gcs,
            Some("az") => Store::Azure,
            _ => Store::Here,
        }
    }
}

/// Credentials for calls that send nothing: no target refuses them, and they prove nothing.
pub(super) fn idle() -> Credentials {
    Credentials::anonymous()
}

/// Reads a variable of the environment.
type Variable = dyn Fn(&str) -> Option<OsString>;

/// The environment, as far as credentials are in it.
pub(crate) struct Environment {
    variable: Box<Variable>,
}

impl Environment {
    pub(crate) fn of_process() -> Environment {
        Environment { variable: Box::new(|name| env::var_os(name)) }
    }

    /// The credentials for a target; of a storage that a program brought along nothing is known.
    pub(crate) fn credentials(
        &self,
        target: Option<&Target>,
        flags: &AccessFlags,
    ) -> Result<Credentials, Failure> {
        let store = target.map_or(Store::Here, Store::of);
        match store {
            Store::Here => Ok(Credentials::none()),
            _ if flags.anonymous => Ok(Credentials::anonymous()),
            _ if flags.instance => Ok(Credentials::instance()),
            Store::S3 => self.s3(flags.profile.as_deref()),
            Store::Gcs => self.gcs(),
            Store::Azure => self.azure(),
        }
    }

    /// The CDN that is to be told, if any is.
    pub(super) fn cdn(&self, zone: Option<&str>) -> Result<Option<Arc<dyn Purge>>, Failure> {
        let zone = match zone {
            Some(zone) => Some(zone.to_owned()),
            None => self.text("CLOUDFLARE_ZONE_ID")?,
        };
        let Some(zone) = zone else { return Ok(None) };
        let Some(token) = self.text("CLOUDFLARE_API_TOKEN")? else {
            return Err(Failure::new("there is no token for Cloudflare").with_hint(
                "set CLOUDFLARE_API_TOKEN to an API token that may purge the cache of the zone; without \
                 --cloudflare-zone and CLOUDFLARE_ZONE_ID no CDN is told",
            ));
        };
        let mut cdn = Cloudflare::new(&zone, &token)?;
        if let Some(endpoint) = self.text("CLOUDFLARE_API_ENDPOINT")? {
            cdn = cdn.endpoint(&endpoint)?;
        }
        let cdn: Arc<dyn Purge> = Arc::new(cdn);
        Ok(Some(cdn))
    }

    /// The region of S3 that is set, and where. What a flag names comes before the environment.
    pub(super) fn region(&self, profile: Option<&str>) -> Result<Option<(String, String)>, Failure> {
        if profile.is_some()
            && let Some(found) = self.region_of(profile)?
        {
            return Ok(Some(found));
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if let Some(region) = self.text(name)? {
                return Ok(Some((region, name.to_owned())));
            }
        }
        if profile.is_some() { Ok(None) } else { self.region_of(None) }
    }

    fn region_of(&self, profile: Option<&str>) -> Result<Option<(String, String)>, Failure> {
        let name = self.profile_name(profile)?;
        let settings = self.profile(&name)?;
        if profile.is_some() && settings.is_none() {
            return Err(no_profile(&name));
        }
        let region = settings.and_then(|mut settings| settings.remove("region"));
        let origin = format!("profile `{}`", escape(name.as_bytes()));
        Ok(region.filter(|region| !region.is_empty()).map(|region| (region, origin)))
    }

    /// The endpoint of S3 that is set, and the variable.
    pub(super) fn endpoint(&self) -> Result<Option<(String, &'static str)>, Failure> {
        for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
            if let Some(endpoint) = self.text(name)? {
                return Ok(Some((endpoint, name)));
            }
        }
        Ok(None)
    }

    fn s3(&self, profile: Option<&str>) -> Result<Credentials, Failure> {
        if profile.is_none() {
            let id = self.text("AWS_ACCESS_KEY_ID")?;
            let secret = self.text("AWS_SECRET_ACCESS_KEY")?;
            match (id, secret) {
                (Some(id), Some(secret)) => {
                    return Ok(keys(id, secret, self.text("AWS_SESSION_TOKEN")?));
                }
                (Some(_), None) => return Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
                (None, Some(_)) => return Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
                (None, None) => {}
            }
        }
        let is_named = profile.is_some() || self.text("AWS_PROFILE")?.is_some();
        let name = self.profile_name(profile)?;
        let Some(mut settings) = self.profile(&name)? else {
            return Err(if is_named { no_profile(&name) } else { missing("S3", S3_HINT) });
        };
        let mut take = |name: &str| settings.remove(name).filter(|value| !value.is_empty());
        match (take("aws_access_key_id"), take("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Ok(keys(id, secret, take("aws_session_token"))),
            _ if !is_named => Err(missing("S3", S3_HINT)),
            _ => {
                let name = escape(name.as_bytes());
                Err(Failure::new(format!(
                    "profile `{name}` has no aws_access_key_id and aws_secret_access_key"
                ))
                .with_hint(format!(
                    "for roles and sign-on: `aws configure export-credentials --profile {name} --format env` \
                     prints temporary keys as variables"
                )))
            }
        }
    }

    fn gcs(&self) -> Result<Credentials, Failure> {
        let Some(path) = self.path("GOOGLE_APPLICATION_CREDENTIALS") else {
            return Err(missing("Google Cloud Storage", GCS_HINT));
        };
        let json = read(&path)?.ok_or_else(|| {
            let path = text::path(&path);
            Failure::new(format!("there is no file `{path}`, which GOOGLE_APPLICATION_CREDENTIALS names"))
                .with_hint(GCS_HINT)
        })?;
        Ok(Credentials::gcs_service_account(json))
    }

    fn azure(&self) -> Result<Credentials, Failure> {
        if let Some(key) = self.text("AZURE_STORAGE_KEY")? {
            return Ok(Credentials::azure_key(key));
        }
        match self.text("AZURE_STORAGE_SAS_TOKEN")? {
            Some(sas) => Ok(Credentials::azure_sas(sas)),
            None => Err(missing("Azure", AZURE_HINT)),
        }
    }

    fn profile_name(&self, asked: Option<&str>) -> Result<String, Failure> {
        let name = match asked {
            Some(name) => Some(name.to_owned()),
            None => self.text("AWS_PROFILE")?,
        };
        Ok(name.unwrap_or_else(|| "default".to_owned()))
    }

    /// The settings of a profile in both files, those of the file for credentials first; `None` when it is in
    /// neither.
    fn profile(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let in_config = if name == "default" { name.to_owned() } else { format!("profile {name}") };
        let config = self.settings("AWS_CONFIG_FILE", ".aws/config", &in_config)?;
        let credentials = self.settings("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", name)?;
        Ok(match (config, credentials) {
            (None, None) => None,
            (config, credentials) => {
                let mut settings = config.unwrap_or_default();
                settings.extend(credentials.unwrap_or_default());
                Some(settings)
            }
        })
    }

    fn settings(
        &self,
        variable: &str,
        in_home: &str,
        section: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let at_home = || self.path("HOME").filter(|home| home.is_absolute()).map(|home| home.join(in_home));
        let Some(path) = self.path(variable).or_else(at_home) else { return Ok(None) };
        Ok(read(&path)?.and_then(|text| profile::settings(&text, section)))
    }

    /// What is empty counts as not set.
    fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        match (self.variable)(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
            Some(Err(_)) => Err(Failure::new(format!("{name} in the environment is no text"))),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

fn keys(id: String, secret: String, token: Option<String>) -> Credentials {
    let keys = Credentials::keys(id, secret);
    match token {
        Some(token) => keys.session_token(token),
        None => keys,
    }
}

/// The text of a file; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("cannot read `{}`: {error}", text::path(path)))),
    }
}

fn missing(store: &str, hint: &str) -> Failure {
    Failure::new(format!("there are no credentials for {store}")).with_hint(hint)
}

fn half(set: &str, other: &str) -> Failure {
    Failure::new(format!("{set} is set, and {other} is not")).with_hint("the two belong together")
}

fn no_profile(name: &str) -> Failure {
    Failure::new(format!("there is no profile `{}`", escape(name.as_bytes()))).with_hint(
        "profiles stand in ~/.aws/credentials and ~/.aws/config, or in the files that \
         AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::fs;

    /// Names and values.
    type Variables<'a> = &'a [(&'a str, &'a str)];

    use treewarden::mirror::Target;

    use super::{Environment, Store};
    use crate::args::AccessFlags;
    use crate::failure::Failure;

    fn environment(set: &[(&str, &str)]) -> Environment {
        let set: HashMap<String, OsString> =
            set.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Environment { variable: Box::new(move |name| set.get(name).cloned()) }
    }

    /// The kind of credentials, or what is said, the hint included.
    fn found(set: &[(&str, &str)], target: &str, flags: &AccessFlags) -> String {
        let (target, _) = Target::parse(target).expect("a target");
        match environment(set).credentials(Some(&target), flags) {
            Ok(credentials) => format!("{credentials:?}"),
            Err(failure) => said(&failure),
        }
    }

    fn said(failure: &Failure) -> String {
        format!("{} {}", failure.message(), failure.hint().unwrap_or_default())
    }

    #[test]
    fn every_target_has_its_kind_of_store() {
        for (url, store) in [
            ("s3://bucket/p", Store::S3),
            ("gs://bucket", Store::Gcs),
            ("az://account/container", Store::Azure),
            ("file:///srv", Store::Here),
            ("local+https://example.org", Store::Here),
        ] {
            let (target, _) = Target::parse(url).expect("a target");
            assert_eq!(Store::of(&target), store, "{url}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_no_value_is() {
        let none = AccessFlags::default();
        let cases: [(Variables<'_>, &str, &str); 9] = [
            (&[], "s3://bucket", "AWS_ACCESS_KEY_ID"),
            (&[("AWS_ACCESS_KEY_ID", "hush")], "s3://bucket", "AWS_SECRET_ACCESS_KEY is not"),
            (&[("AWS_SECRET_ACCESS_KEY", "hush")], "s3://bucket", "AWS_ACCESS_KEY_ID is not"),
            (
                &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")],
                "s3://bucket",
                "there are no credentials for S3",
            ),
            (&[("AWS_PROFILE", "p")], "s3://bucket", "there is no profile `p`"),
            (&[], "gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS"),
            (&[("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file")], "gs://bucket", "there is no file"),
            (&[], "az://account/container", "AZURE_STORAGE_KEY"),
            (&[("AWS_ACCESS_KEY_ID", "hush")], "az://account/container", "AZURE_STORAGE_SAS_TOKEN"),
        ];
        for (set, target, part) in cases {
            let said = found(set, target, &none);
            assert!(said.contains(part) && !said.contains("hush"), "{set:?}: {said}");
        }
    }

    #[test]
    fn the_environment_is_asked_after_the_flags() {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let none = AccessFlags::default;
        let instance = AccessFlags { instance: true, ..none() };
        let anonymous = AccessFlags { anonymous: true, ..none() };
        let profile = AccessFlags { profile: Some("p".to_owned()), ..none() };
        let cases: [(Variables<'_>, &str, &AccessFlags, &str); 9] = [
            (&keys, "s3://bucket", &none(), "Credentials(keys)"),
            (&keys, "s3://bucket", &instance, "Credentials(instance)"),
            (&keys, "s3://bucket", &anonymous, "Credentials(anonymous)"),
            (&keys, "file:///srv", &instance, "Credentials(none)"),
            (&keys, "local+https://h", &none(), "Credentials(none)"),
            (&[("AZURE_STORAGE_KEY", "a2V5")], "az://account/c-1", &none(), "Credentials(azure_key)"),
            (&[("AZURE_STORAGE_SAS_TOKEN", "sig=x")], "az://account/c-1", &none(), "Credentials(azure_sas)"),
            (&[], "gs://bucket", &instance, "Credentials(instance)"),
            (&keys, "s3://bucket", &profile, "there is no profile `p`"),
        ];
        for (set, target, flags, expected) in cases {
            let found = found(set, target, flags);
            assert!(found.starts_with(expected), "{target}: {found}");
        }
    }

    #[test]
    fn profiles_are_found_in_both_files() {
        let home = tempfile::tempdir().expect("a directory");
        let aws = home.path().join(".aws");
        fs::create_dir(&aws).expect("a directory");
        let credentials = "[default]\naws_access_key_id = id\naws_secret_access_key = hush\n\
            [half]\naws_access_key_id = id\n[odd]\naws_access_key_id=id\naws_secret_access_key=hush\n";
        fs::write(aws.join("credentials"), credentials).expect("a file");
        let config = "[default]\nregion = eu-central-1\n[profile sso]\nsso_session = s\nregion = us-west-2\n";
        fs::write(aws.join("config"), config).expect("a file");
        let home = home.path().to_str().expect("a plain path");

        let of = |name: &str| AccessFlags { profile: Some(name.to_owned()), ..AccessFlags::default() };
        let cases: [(Variables<'_>, &AccessFlags, &str); 6] = [
            (&[("HOME", home)], &AccessFlags::default(), "Credentials(keys)"),
            (&[("HOME", home)], &of("odd"), "Credentials(keys)"),
            (&[("HOME", home), ("AWS_PROFILE", "odd")], &AccessFlags::default(), "Credentials(keys)"),
            (&[("HOME", home)], &of("half"), "profile `half` has no aws_access_key_id"),
            (&[("HOME", home), ("AWS_PROFILE", "sso")], &AccessFlags::default(), "profile `sso` has no"),
            (&[("HOME", home)], &of("other"), "there is no profile `other`"),
        ];
        for (set, flags, expected) in cases {
            let found = found(set, "s3://bucket", flags);
            assert!(found.starts_with(expected) && !found.contains("hush"), "{found}");
        }

        let region = |set: &[(&str, &str)], profile: Option<&str>| match environment(set).region(profile) {
            Ok(region) => region.map(|(region, _)| region).unwrap_or_default(),
            Err(failure) => said(&failure),
        };
        let at_home = [("HOME", home)];
        let with_default = [("HOME", home), ("AWS_DEFAULT_REGION", "ap-south-1")];
        assert_eq!(region(&at_home, None), "eu-central-1");
        assert_eq!(region(&at_home, Some("sso")), "us-west-2");
        assert_eq!(region(&with_default, Some("sso")), "us-west-2");
        assert_eq!(region(&with_default, Some("odd")), "ap-south-1");
        assert_eq!(region(&with_default, None), "ap-south-1");
        assert!(region(&with_default, Some("other")).starts_with("there is no profile `other`"));
        assert!(region(&at_home, Some("other")).starts_with("there is no profile `other`"));
        assert_eq!(region(&[], None), "");
    }

    #[test]
    fn a_cdn_needs_a_zone_and_a_token() {
        let zone = ("CLOUDFLARE_ZONE_ID", "023e105f4ecef8ad9ca31a8372d0c353");
        let token = ("CLOUDFLARE_API_TOKEN", "hush-hush");
        assert!(environment(&[token]).cdn(None).is_ok_and(|cdn| cdn.is_none()));
        assert!(environment(&[token, zone]).cdn(None).is_ok_and(|cdn| cdn.is_some()));
        assert!(environment(&[token]).cdn(Some(zone.1)).is_ok_and(|cdn| cdn.is_some()));
        let endpoint = ("CLOUDFLARE_API_ENDPOINT", "http://hush.example.org");
        for set in [&[zone][..], &[zone, ("CLOUDFLARE_API_TOKEN", "hush\n")], &[zone, token, endpoint]] {
            let Err(failure) = environment(set).cdn(None) else { unreachable!("{set:?} is not enough") };
            assert!(!said(&failure).contains("hush"), "{}", said(&failure));
        }
    }
}
