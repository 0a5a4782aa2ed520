//! Reasons why there are no credentials for requests.

use std::fmt;

use aws_credential_types::provider::error::CredentialsError;

use types::limits::CREDENTIALS_WAIT;

/// Place where credentials were looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Profile that is named by an option or a remote.
    Profile(String),
    /// Variables, default profile and roles.
    Configuration,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(name) => write!(f, "AWS's profile \"{name}\""),
            Self::Configuration => f.write_str("AWS's configuration"),
        }
    }
}

/// Reason why there are no credentials. Missing ones get advice; failed ones get their causes.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsFault {
    /// The named profile does not exist, or has no credentials.
    #[error(
        "AWS's profile \"{0}\" is not there or has no credentials; see ~/.aws/config and \
         ~/.aws/credentials (or AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)"
    )]
    Profile(String),
    /// Credentials are in no place where AWS's own tools look.
    #[error(
        "no credentials for S3: neither AWS_ACCESS_KEY_ID, nor the profile (AWS_PROFILE, ~/.aws), \
         nor a web identity, nor the role of a container or an instance; set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, give --s3-profile, or --s3-no-sign-request for a public bucket, or \
         name an rclone remote"
    )]
    Nowhere,
    /// No answer came in time.
    #[error("credentials of {0}: none in {seconds} s", seconds = CREDENTIALS_WAIT.as_secs())]
    Late(Origin),
    /// Looking for them failed.
    #[error("credentials of {origin}: {}", with_causes(source))]
    Failed {
        /// Place where they were looked for.
        origin: Origin,
        /// Error of the provider.
        source: CredentialsError,
    },
}

/// Joins an error and its causes into one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut parts: Vec<String> = Vec::new();
    for cause in causes {
        let words: Vec<_> = cause.to_string().split_whitespace().map(str::to_owned).collect();
        let words = words.join(" ");
        // Some errors repeat the text of their cause.
        if !parts.iter().any(|part| part.contains(&words)) {
            parts.push(words);
        }
    }
    parts.join(": ")
}
