//! Resolution of a location's name to the settings that a rank needs to open it. Rank 0 resolves
//! for all ranks, so that configuration files are read and the credential service is asked once,
//! however many ranks there are.

use crate::client::trust;
use crate::config::aws_chain::{Found, Search, Signing};
use crate::config::environment::{self, Environment};
use crate::config::error::SettingsError;
use crate::config::rclone_conf;
use crate::config::rclone_conf::{Login, Remote};
use crate::config::settings::{Chain, Credentials, ObjectOptions, Renewal, S3Options, Settings};
use crate::config::url::{check_endpoint, is_aws, with_slash};
use types::error::Side;
use types::limits::S3_GIVE_UP_AFTER;
use types::object::metadata::Schema;
use types::operand::location::{ObjectLocation, ServiceName};

/// Resolves a location to the settings that a rank needs to open it. Blocks until credentials
/// arrive, at most [`types::limits::CREDENTIALS_WAIT`].
///
/// `--s3-endpoint`, `--s3-region`, profiles and `--s3-no-sign-request` apply to `s3://` only, since
/// a remote of rclone defines these itself. All other options apply to both, and take precedence
/// over the remote's keys.
///
/// # Errors
/// Returns which setting cannot be used, and what to do.
pub fn resolve(
    location: &ObjectLocation,
    side: Side,
    options: &S3Options,
) -> Result<Settings, SettingsError> {
    let settings = match &location.service {
        ServiceName::Remote(name) => {
            of_remote(rclone_conf::remote(name, &environment::of_process)?)?
        }
        ServiceName::S3 => of_aws(side, options)?,
    };
    with_options(settings, side, options).map_err(|error| error.at(location))
}

/// Returns new credentials from where the old ones came, or the old ones if they do not expire.
///
/// # Errors
/// Returns why there are no credentials.
pub async fn renew(settings: &Settings) -> Result<Credentials, SettingsError> {
    match &settings.renewal {
        Renewal::Never => Ok(settings.credentials.clone()),
        Renewal::Chain(chain) => Search::open(chain, &environment::of_process).await?.renew().await,
    }
}

/// Resolves an `s3://` location by the options and AWS's configuration.
fn of_aws(side: Side, options: &S3Options) -> Result<Settings, SettingsError> {
    let profile = options.profile(side).map(str::to_owned);
    let chain = Chain { profile, credentials_file: None };
    let signing = if options.is_anonymous { Signing::None } else { Signing::Needed };
    let found = look(&chain, options.region.as_deref(), signing)?;
    let renewal = if options.is_anonymous { Renewal::Never } else { Renewal::Chain(chain) };
    let endpoint_url = options.endpoint_url.clone().or(found.endpoint_url);
    Ok(Settings {
        use_dual_stack: found.use_dual_stack,
        use_fips: found.use_fips,
        // Without a configured style, AWS gets the bucket in the host name, and others in the path:
        // few other services have a DNS entry for each bucket.
        path_style: found
            .path_style
            .is_on(|| endpoint_url.as_deref().is_some_and(|url| !is_aws(url))),
        ca_bundle: found.ca_bundle,
        ..plain(found.region, endpoint_url, found.credentials, renewal)
    })
}

/// Resolves a location in a remote of rclone.
fn of_remote(remote: Remote) -> Result<Settings, SettingsError> {
    let (endpoint_url, credentials, renewal) = match remote.login {
        Login::Given(credentials) => (remote.endpoint_url, credentials, Renewal::Never),
        Login::Chain(chain) => {
            let found = look(&chain, None, Signing::Needed)?;
            let endpoint_url = remote.endpoint_url.or(found.endpoint_url);
            (endpoint_url, found.credentials, Renewal::Chain(chain))
        }
    };
    Ok(Settings {
        path_style: remote.path_style,
        ca_bundle: trust::ca_bundle_of_rclone(&environment::of_process),
        use_dual_stack: remote.use_dual_stack,
        part_bytes: remote.part_bytes,
        upload_cutoff_bytes: remote.upload_cutoff_bytes,
        copy_cutoff_bytes: remote.copy_cutoff_bytes,
        object: remote.object,
        directory_markers: remote.directory_markers,
        disable_checksum: remote.disable_checksum,
        lists_by_marker: remote.lists_by_marker,
        ..plain(remote.region, endpoint_url, credentials, renewal)
    })
}

/// Returns settings in which everything but the endpoint and the credentials has its default.
fn plain(
    region: String,
    endpoint_url: Option<String>,
    credentials: Credentials,
    renewal: Renewal,
) -> Settings {
    Settings {
        endpoint_url,
        region,
        path_style: false,
        use_dual_stack: false,
        use_fips: false,
        ca_bundle: None,
        credentials,
        renewal,
        part_bytes: None,
        upload_cutoff_bytes: None,
        copy_cutoff_bytes: None,
        concurrency: None,
        object: ObjectOptions::default(),
        metadata: Schema::default(),
        sign_payload: false,
        directory_markers: false,
        disable_checksum: false,
        opaque_etags: false,
        give_up_after: S3_GIVE_UP_AFTER,
        lists_by_marker: false,
        attempts_max: None,
    }
}

/// Returns settings for anonymous requests to AWS.
#[cfg(test)]
pub(crate) fn anonymous_settings() -> Settings {
    plain("us-east-1".to_owned(), None, Credentials::Anonymous, Renewal::Never)
}

/// Applies the options of the command line, and verifies that the endpoint and the certificates can
/// be used, so that rank 0 reports a fault once instead of every rank.
fn with_options(
    settings: Settings,
    side: Side,
    options: &S3Options,
) -> Result<Settings, SettingsError> {
    if let Some(url) = &settings.endpoint_url {
        check_endpoint(url)?;
    }
    trust::tls_context(settings.ca_bundle.as_ref())?;
    Ok(Settings {
        endpoint_url: settings.endpoint_url.map(with_slash),
        path_style: options.path_style.is_on(|| settings.path_style),
        part_bytes: options.part_bytes.or(settings.part_bytes),
        // Nothing is uploaded to a source. An explicit size of parts on the command line means
        // every object larger than one part, so it overrides the remote's cutoff.
        upload_cutoff_bytes: match (side, options.part_bytes) {
            (Side::Target, None) => settings.upload_cutoff_bytes,
            _ => None,
        },
        concurrency: options.concurrency,
        give_up_after: options.give_up_after.unwrap_or(settings.give_up_after),
        object: options.object.clone().or(settings.object),
        metadata: options.metadata,
        sign_payload: options.sign_payload,
        directory_markers: options.directory_markers.unwrap_or(settings.directory_markers),
        opaque_etags: options.opaque_etags,
        attempts_max: attempts_max(&environment::of_process)?,
        ..settings
    })
}

/// Returns the number of attempts by `AWS_MAX_ATTEMPTS`, which AWS's own tools read too.
///
/// # Errors
/// Fails if the value is not a number from 1 on.
fn attempts_max(environment: Environment<'_>) -> Result<Option<u32>, SettingsError> {
    let Some(text) = environment("AWS_MAX_ATTEMPTS").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or(SettingsError::Attempts(text))
}

/// Runs a search of AWS's configuration on a runtime of its own.
fn look(chain: &Chain, region: Option<&str>, signing: Signing) -> Result<Found, SettingsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(SettingsError::Runtime)?;
    let found = runtime.block_on(async {
        Search::open(chain, &environment::of_process).await?.look(region, signing).await
    });
    // A DNS lookup may still be under way on a blocking thread; waiting for it would delay the
    // error.
    runtime.shutdown_background();
    found
}
