//! The words of `treewarden mirror`.

use std::ffi::OsString;
use std::ops::RangeInclusive;

use clap::{Args, Subcommand, value_parser};

use crate::limits;

/// Files under way at a time.
const UPLOADS: RangeInclusive<i64> = 1..=1_000;
/// Parts of 5 MiB to 5 GiB: stores take no others.
const PART_MIB: RangeInclusive<u64> = 5..=5_120;
/// Up to a TiB.
const MEMORY_MIB: RangeInclusive<u64> = 5..=1_048_576;
const PERCENT: RangeInclusive<i64> = 0..=100;

const ADD_HELP: &str = "\
TARGET is one of
  s3://BUCKET[/PREFIX]            S3 and what speaks its language; the latter with --endpoint
  gs://BUCKET[/PREFIX]            Google Cloud Storage
  az://ACCOUNT/CONTAINER[/PREFIX] Azure Blob Storage
  file:///DIR                     a directory of this machine
  local+https://HOST/BASE         nothing is sent: the files are served from where they lie
and holds no credentials: `mirror sync` finds them in the environment (see its help). For S3 AWS_REGION,
AWS_DEFAULT_REGION or the profile's region, and AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, are taken where
--region and --endpoint are not given.

Nothing is sent. Said again of the same mirror, these options take the place of all its old ones; what is
copied, and where to, stays.";

const ACCESS_HELP: &str = "\
Credentials come from the environment, never from the command line or the state file:
  S3          AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else the profile AWS_PROFILE
              [default: default] in AWS_SHARED_CREDENTIALS_FILE [default: ~/.aws/credentials]
  GCS         GOOGLE_APPLICATION_CREDENTIALS, the file with the key of a service account
  Azure       AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN
  Cloudflare  CLOUDFLARE_API_TOKEN, for the zone of --cloudflare-zone or CLOUDFLARE_ZONE_ID
--profile, --instance and --anonymous come before the environment.";

#[derive(Subcommand)]
pub(crate) enum MirrorCommand {
    /// Say what is copied where, and within which limits; sends nothing
    #[command(after_help = ADD_HELP)]
    Add(Box<MirrorAddArgs>),
    /// List the mirrors
    List,
    /// Forget a mirror and what it knows of its objects, which stay where they are
    Remove {
        /// Name of the mirror
        name: String,
    },
    /// Show how mirrors stand; asks no store
    Status {
        /// Name of the mirror [default: every mirror]
        name: Option<String>,
    },
    /// List the public addresses of files whose objects the store has acknowledged
    Urls(MirrorUrlsArgs),
    /// Copy what changed since the last time, as the last scan found it, then delete what is gone
    #[command(after_help = ACCESS_HELP)]
    Sync(MirrorSyncArgs),
    /// Compare what a store lists with what it acknowledged
    #[command(after_help = ACCESS_HELP)]
    Audit(MirrorAuditArgs),
    /// Watch, and copy what changes, until Ctrl-C
    #[command(after_help = ACCESS_HELP)]
    Follow(MirrorFollowArgs),
}

#[derive(Args)]
pub(crate) struct MirrorAddArgs {
    /// Name of the mirror
    pub(crate) name: String,

    /// What is copied: every file there and below
    #[arg(value_name = "ROOT[/PATH]")]
    pub(crate) address: OsString,

    /// Where to
    // A string to clap: its own messages repeat what was typed, and that may hold a password.
    pub(crate) target: String,

    /// What every key begins with, before a slash
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,

    #[command(flatten)]
    pub(crate) store: StoreFlags,

    /// What the public addresses of the objects begin with: of a CDN, most often
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Copy only paths that match, relative to ROOT[/PATH]; may be repeated. `*` stays within a directory,
    /// `**` does not [default: every file]
    #[arg(long = "glob", value_name = "GLOB")]
    pub(crate) globs: Vec<String>,

    /// Cache-Control of every object
    #[arg(long, value_name = "VALUE")]
    pub(crate) cache_control: Option<String>,

    /// Content type of files with this extension, as in md=text/markdown; may be repeated
    #[arg(long = "content-type", value_name = "EXT=TYPE", value_parser = content_type)]
    pub(crate) content_types: Vec<(String, String)>,

    /// Files sent at a time [default: 10]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(UPLOADS))]
    pub(crate) uploads: Option<u32>,

    /// Size of the parts of larger files [default: 8]
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u64).range(PART_MIB))]
    pub(crate) part_mib: Option<u64>,

    /// Content of files in memory at a time, at least one part [default: 64]
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u64).range(MEMORY_MIB))]
    pub(crate) memory_mib: Option<u64>,

    /// Send at most so many bytes a second; 500K, 10M and 1G are KiB, MiB and GiB [default: no limit]
    #[arg(long, value_name = "BYTES_PER_S", value_parser = bytes_per_s)]
    pub(crate) bandwidth: Option<u64>,

    /// Hold the deletions of a run when there are more; 0 holds every one [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) delete_max: Option<u64>,

    /// Hold the deletions of a run when they are more than this share of all objects, and at least 100
    /// [default: 50]
    #[arg(long, value_name = "PERCENT", value_parser = value_parser!(u32).range(PERCENT))]
    pub(crate) delete_share: Option<u32>,

    /// How long a file must be still before it is sent [default: 1000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(limits::SETTLE_MS))]
    pub(crate) settle_ms: Option<u64>,

    /// Tell the CDN of new objects too, for one that remembers what was not there
    #[arg(long)]
    pub(crate) purge_new: bool,

    /// Take the region of an S3 bucket from this profile of the AWS files
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

// How a store is reached. No doc comment: clap would take it for the description of each verb that has these flags.
#[derive(Args, Default, PartialEq)]
pub(crate) struct StoreFlags {
    /// Where requests are sent to instead of the store's own address, https://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// Region of an S3 bucket [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// The name of an S3 bucket is a part of the host name
    #[arg(long)]
    pub(crate) virtual_hosted: bool,

    /// The entity tags of an S3 bucket are no MD5 sums, as with KMS encryption
    #[arg(long)]
    pub(crate) opaque_etags: bool,
}

// Where credentials come from before the environment is asked. No doc comment: clap would take it for the
// description of each verb that has these flags.
#[derive(Args, Default, PartialEq)]
pub(crate) struct AccessFlags {
    /// Take the keys for S3 from this profile of the AWS files
    #[arg(long, value_name = "NAME", conflicts_with_all = ["instance", "anonymous"])]
    pub(crate) profile: Option<String>,

    /// Take the credentials of this machine from the metadata service of its cloud
    #[arg(long, conflicts_with = "anonymous")]
    pub(crate) instance: bool,

    /// Sign no request, for a store that is open to everybody
    #[arg(long)]
    pub(crate) anonymous: bool,
}

#[derive(Args)]
pub(crate) struct MirrorUrlsArgs {
    /// Name of the mirror
    pub(crate) name: String,

    /// Only the file there, or those below; or the address of an object, to find its file
    #[arg(value_name = "PATH|URL")]
    pub(crate) place: Option<OsString>,

    /// All of them, as without PATH
    #[arg(long, conflicts_with = "place")]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct MirrorSyncArgs {
    /// Names of mirrors [default: every mirror]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Tell what would be done; asks no store
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Delete however many objects there are to delete
    #[arg(long)]
    pub(crate) accept_deletes: bool,

    /// Tell this zone of Cloudflare which addresses to forget
    #[arg(long, value_name = "ID")]
    pub(crate) cloudflare_zone: Option<String>,

    #[command(flatten)]
    pub(crate) access: AccessFlags,
}

#[derive(Args)]
pub(crate) struct MirrorAuditArgs {
    /// Name of the mirror
    pub(crate) name: String,

    /// Send what is lost or different again, with the next sync
    #[arg(long)]
    pub(crate) repair: bool,

    /// Delete what this mirror did not put there, with the next sync
    #[arg(long)]
    pub(crate) delete_unknown: bool,

    #[command(flatten)]
    pub(crate) access: AccessFlags,
}

#[derive(Args)]
pub(crate) struct MirrorFollowArgs {
    /// Names of mirrors [default: every mirror]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Tell this zone of Cloudflare which addresses to forget
    #[arg(long, value_name = "ID")]
    pub(crate) cloudflare_zone: Option<String>,

    #[command(flatten)]
    pub(crate) access: AccessFlags,
}

fn content_type(text: &str) -> Result<(String, String), String> {
    let (extension, its) = text.split_once('=').unwrap_or_default();
    let extension = extension.strip_prefix('.').unwrap_or(extension);
    if extension.is_empty() || its.is_empty() {
        return Err("write EXT=TYPE, as in md=text/markdown".to_owned());
    }
    Ok((extension.to_owned(), its.to_owned()))
}

fn bytes_per_s(text: &str) -> Result<u64, String> {
    const UNITS: [(char, char, u64); 3] = [('K', 'k', 1 << 10), ('M', 'm', 1 << 20), ('G', 'g', 1 << 30)];
    let with_unit = UNITS.iter().find_map(|(upper, lower, bytes)| {
        let digits = text.strip_suffix([*upper, *lower])?;
        Some((digits, *bytes))
    });
    let (digits, unit) = with_unit.unwrap_or((text, 1));
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| is_number);
    let bytes = number.and_then(|number| number.checked_mul(unit));
    // The largest number is the engine's word for nonsense.
    bytes
        .filter(|bytes| (1..u64::MAX).contains(bytes))
        .ok_or_else(|| "a number of bytes from 1 on, or of KiB, MiB or GiB, as in 10M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{bytes_per_s, content_type};

    #[test]
    fn rates_have_binary_units() {
        let cases = [
            ("1", Some(1)),
            ("500K", Some(512_000)),
            ("10M", Some(10_485_760)),
            ("10m", Some(10_485_760)),
            ("1G", Some(1_073_741_824)),
            ("0", None),
            ("0M", None),
            ("", None),
            ("M", None),
            ("+1", None),
            ("-1", None),
            ("1.5M", None),
            ("10MB", None),
            ("18446744073709551615", None),
            ("18014398509481984K", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes_per_s(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn content_types_belong_to_an_extension() {
        let cases = [
            ("md=text/markdown", Some(("md", "text/markdown"))),
            (".md=text/plain; charset=utf-8", Some(("md", "text/plain; charset=utf-8"))),
            ("md", None),
            ("md=", None),
            ("=text/plain", None),
            (".=text/plain", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(extension, its)| (extension.to_owned(), its.to_owned()));
            assert_eq!(content_type(text).ok(), expected, "{text}");
        }
    }
}
