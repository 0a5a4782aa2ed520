//! Reasons why a location in S3 cannot be resolved to settings.

use types::operand::location::ObjectLocation;
use types::path::escaped;

use crate::config::rclone_conf::RemoteError;
#[cfg(feature = "client")]
use crate::{client::trust::TrustError, config::credentials_fault::CredentialsFault};

/// Reason why the settings of a location cannot be used, with advice for the user.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The remote of rclone cannot be used.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Build without the S3 client.
    #[error("this build has no S3: build it with the feature \"s3\"")]
    NoClient,
    /// The endpoint is no URL that requests can be made to.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The certificates of the configuration cannot be used.
    #[cfg(feature = "client")]
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Credentials are missing, or could not be obtained.
    #[cfg(feature = "client")]
    #[error(transparent)]
    Credentials(#[from] CredentialsFault),
    /// The profile of AWS has an addressing style that does not exist.
    #[error(
        "AWS's profile \"{}\", s3 addressing_style \"{}\": write auto, path or virtual",
        escaped(profile.as_bytes()),
        escaped(style.as_bytes())
    )]
    AddressingStyle {
        /// Name of the profile.
        profile: String,
        /// Style that it requests.
        style: String,
    },
    /// `AWS_MAX_ATTEMPTS` is no number of attempts.
    #[error("AWS_MAX_ATTEMPTS=\"{}\": write a number from 1 on", escaped(.0.as_bytes()))]
    Attempts(String),
    /// The runtime of the S3 client does not start.
    #[error("start the S3 client: {0}")]
    Runtime(#[source] std::io::Error),
    /// The settings of this location cannot be used.
    #[error("\"{}\": {source}", escaped(location.to_string().as_bytes()))]
    At {
        /// Location on the command line.
        location: ObjectLocation,
        /// Fault of its settings.
        source: Box<Self>,
    },
}

impl SettingsError {
    /// Adds the location whose settings cannot be used.
    #[must_use]
    pub fn at(self, location: &ObjectLocation) -> Self {
        Self::At { location: location.clone(), source: Box::new(self) }
    }
}

/// Fault of the URL of a service, whose parts that may be secret are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The URL has parts that may hold secrets.
    #[error(
        "endpoint \"{}\": write it without a user, password, or parameters; S3 has no use for them",
        escaped(shown.as_bytes())
    )]
    Secrets {
        /// URL without these parts.
        shown: String,
    },
    /// The URL is malformed, or not one of HTTP.
    #[error("endpoint \"{}\": write http://HOST:PORT or https://HOST", escaped(url.as_bytes()))]
    Malformed {
        /// URL as it was given.
        url: String,
    },
}
