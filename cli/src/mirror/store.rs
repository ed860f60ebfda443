//! From the words of a command line to a store and how it is reached: what `mirror add` and `export` have in common.

use treewarden::mirror::Target;

use crate::args::StoreFlags;
use crate::failure::Failure;
use crate::output::Out;

use super::credentials::{Environment, Store};

/// The target with all that was said of the way to it; for S3 the environment is asked where nothing was.
pub(crate) fn reached(
    mut target: Target,
    flags: &StoreFlags,
    profile: Option<&str>,
    environment: &Environment,
    out: &Out,
) -> Result<Target, Failure> {
    let is_s3 = Store::of(&target) == Store::S3;
    if let Some(endpoint) = &flags.endpoint {
        target = target.endpoint(endpoint.as_str());
    } else if is_s3 && let Some((endpoint, origin)) = environment.endpoint()? {
        out.notice(&format!("the endpoint is that of {origin}"));
        target = target.endpoint(endpoint);
    }
    if let Some(region) = &flags.region {
        target = target.region(region.as_str());
    } else if is_s3 && let Some((region, origin)) = environment.region(profile)? {
        out.notice(&format!("the region is that of {origin}"));
        target = target.region(region);
    }
    if flags.virtual_hosted {
        target = target.virtual_hosted(true);
    }
    if flags.opaque_etags {
        target = target.opaque_etags(true);
    }
    target.check().map_err(|error| usage(&error))?;
    Ok(target)
}

/// What was typed makes no sense: code 2, in the words of the engine.
pub(crate) fn usage(error: &treewarden::Error) -> Failure {
    let failure = Failure::usage(error.message());
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
