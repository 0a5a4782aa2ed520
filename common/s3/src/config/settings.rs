//! What a rank needs to open a place in S3, as rank 0 hands it out; and what the command line says
//! of it. Secrets do not show in debug output.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use types::error::Side;
use types::object::metadata::Schema;
use types::path::escaped;

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct S3Options {
    /// Where `s3://` leads to; without it AWS's configuration says, or it is AWS.
    pub endpoint_url: Option<String>,
    /// The region of `s3://` places.
    pub region: Option<String>,
    /// The profile of AWS's configuration for `s3://` places.
    pub profile: Option<String>,
    /// The same for a source.
    pub source_profile: Option<String>,
    /// The same for a target.
    pub target_profile: Option<String>,
    /// Where the bucket's name goes, for every place.
    pub path_style: PathStyle,
    /// Requests for `s3://` places are not signed.
    pub is_anonymous: bool,
    /// Requests under way of each rank, at most.
    pub concurrency: Option<u32>,
    /// Size of the parts of a large object.
    pub part_bytes: Option<u64>,
    /// Content is hashed for the signature, also where TLS protects it.
    pub sign_payload: bool,
    /// How attributes are written.
    pub metadata: Schema,
    /// Directories are objects, too: empty ones, whose keys end in a slash.
    pub directory_markers: Option<bool>,
    /// ETags are no MD5s, though they look like some.
    pub opaque_etags: bool,
    /// How long a service may be silent before the job ends.
    pub give_up_after: Option<Duration>,
    /// What new objects get.
    pub object: ObjectOptions,
}

impl S3Options {
    /// The profile for a tree; `AWS_PROFILE` counts where there is none.
    pub fn profile(&self, side: Side) -> Option<&str> {
        let own = match side {
            Side::Source => &self.source_profile,
            Side::Target => &self.target_profile,
        };
        own.as_deref().or(self.profile.as_deref())
    }
}

/// Where the bucket's name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PathStyle {
    /// As the service is known to want it.
    #[default]
    Auto,
    /// Into the path.
    On,
    /// Into the host's name.
    Off,
}

/// What new objects get; what is none is the bucket's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectOptions {
    /// A canned ACL, such as `bucket-owner-full-control`.
    pub acl: Option<String>,
    /// A storage class, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// Encryption at rest: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub sse: Option<String>,
    /// The key for `aws:kms`.
    pub sse_kms_key_id: Option<String>,
    /// Who asks pays, for every request.
    pub requester_pays: bool,
    /// What becomes of tags in copies within the service.
    pub copy_tags: CopyTags,
}

/// Whether tags of objects go along in copies within a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CopyTags {
    /// Where this account may read them; what may lack some is counted.
    #[default]
    Auto,
    /// They must: what has tags that may not be read is not copied.
    Always,
    /// They do not.
    Never,
}

impl ObjectOptions {
    /// These, and where they say nothing, the others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        // A key belongs to its way of encrypting.
        let key = if self.sse.is_some() { None } else { others.sse_kms_key_id };
        Self {
            acl: self.acl.or(others.acl),
            storage_class: self.storage_class.or(others.storage_class),
            sse: self.sse.or(others.sse),
            sse_kms_key_id: self.sse_kms_key_id.or(key),
            requester_pays: self.requester_pays || others.requester_pays,
            copy_tags: self.copy_tags,
        }
    }
}

/// What a rank needs to open one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Scheme and host, and port and path where it has them; none for AWS.
    pub endpoint_url: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket's name goes into the path, not into the host's name.
    pub path_style: bool,
    /// AWS's hosts that answer by IPv6 too.
    pub use_dual_stack: bool,
    /// AWS's hosts with cryptography as in FIPS 140.
    pub use_fips: bool,
    /// Certificates that stand for the system's.
    pub ca_bundle: Option<CaBundle>,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// Where the next credentials come from.
    pub renewal: Renewal,
    /// Size of the parts of a large object, where it was given.
    pub part_bytes: Option<u64>,
    /// Objects up to that size are sent in one request, also where parts are smaller, where it was given.
    pub upload_cutoff_bytes: Option<u64>,
    /// Objects up to that size are copied by the service in one piece, where it was given.
    pub copy_cutoff_bytes: Option<u64>,
    /// Requests under way of each rank, at most, where it was given.
    pub concurrency: Option<u32>,
    /// What new objects get.
    pub object: ObjectOptions,
    /// How attributes are written.
    pub metadata: Schema,
    /// Content is hashed for the signature, also where TLS protects it.
    pub sign_payload: bool,
    /// Directories are objects, too: empty ones, whose keys end in a slash.
    pub directory_markers: bool,
    /// Content is written without a checksum of the whole.
    pub disable_checksum: bool,
    /// ETags are no MD5s, though they look like some.
    pub opaque_etags: bool,
    /// How long the service may be silent before the job ends.
    pub give_up_after: Duration,
    /// The service knows the first version of lists only.
    pub lists_by_marker: bool,
    /// Tries of one request, the first among them, where it was given.
    pub attempts_max: Option<u32>,
}

impl Settings {
    /// The URL that requests go to, or one like it: at AWS the bucket is in the host's name.
    pub fn address(&self) -> String {
        let aws = || format!("https://s3.{}.amazonaws.com", self.region);
        self.endpoint_url.clone().unwrap_or_else(aws)
    }

    /// Whom requests go to, for people.
    pub fn shown_endpoint(&self) -> String {
        let aws = || format!("AWS, region {}", self.region);
        self.endpoint_url.as_ref().map_or_else(aws, |url| escaped(url.as_bytes()))
    }
}

/// Files of certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaBundle {
    /// What names them, such as `AWS_CA_BUNDLE`.
    pub named_by: String,
    /// The files.
    pub paths: Vec<String>,
}

/// What requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// Keys.
    Keys {
        /// The public half.
        access_key_id: String,
        /// The secret half.
        secret_access_key: Secret,
        /// Comes with keys for a while.
        session_token: Option<Secret>,
        /// Seconds since 1970 from which on they are no longer good; none where they stay good.
        expires_seconds: Option<u64>,
    },
}

impl Credentials {
    /// What the S3 client signs with; none where requests are not signed.
    #[cfg(feature = "client")]
    pub fn for_client(&self) -> Option<aws_credential_types::Credentials> {
        let Self::Keys { access_key_id, secret_access_key, session_token, expires_seconds } = self
        else {
            return None;
        };
        let expires =
            expires_seconds.map(|after| SystemTime::UNIX_EPOCH + Duration::from_secs(after));
        Some(aws_credential_types::Credentials::new(
            access_key_id,
            secret_access_key.reveal(),
            session_token.as_ref().map(|token| token.reveal().to_owned()),
            expires,
            "rank 0",
        ))
    }

    /// How long they are good for from that moment on; none where they stay good.
    pub fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let Self::Keys { expires_seconds: Some(expires), .. } = self else { return None };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Some(Duration::from_secs(*expires).saturating_sub(now))
    }
}

/// Where the next credentials come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Renewal {
    /// From nowhere: these are all there is.
    Never,
    /// From where AWS's own tools look for them.
    Chain(Chain),
}

/// Where in AWS's configuration to look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain {
    /// This profile and nothing else; without one, the whole chain.
    pub profile: Option<String>,
    /// A file of profiles instead of AWS's own ones.
    pub credentials_file: Option<String>,
}

/// Text that does not show in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Gives it away.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Credentials {
        Credentials::Keys {
            access_key_id: "AKIA".into(),
            secret_access_key: Secret::new("hush"),
            session_token: Some(Secret::new("token")),
            expires_seconds: Some(1_000),
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?} {:#?}", keys(), keys());
        assert!(shown.contains("AKIA") && !shown.contains("hush") && !shown.contains("token\""));
        let client = keys().for_client().unwrap();
        assert_eq!((client.secret_access_key(), client.session_token()), ("hush", Some("token")));
        assert_eq!(client.expiry(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)));
        assert!(Credentials::Anonymous.for_client().is_none());
    }

    #[test]
    fn credentials_run_out() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(keys().time_left(at(900)), Some(Duration::from_secs(100)));
        assert_eq!(keys().time_left(at(1_001)), Some(Duration::ZERO));
        assert_eq!(Credentials::Anonymous.time_left(at(0)), None);
    }

    #[test]
    fn sides_may_have_profiles_of_their_own() {
        let both = S3Options { profile: Some("p".into()), ..S3Options::default() };
        let one = S3Options { target_profile: Some("t".into()), ..both.clone() };
        assert_eq!(
            (both.profile(Side::Source), both.profile(Side::Target)),
            (Some("p"), Some("p"))
        );
        assert_eq!((one.profile(Side::Source), one.profile(Side::Target)), (Some("p"), Some("t")));
        assert_eq!(S3Options::default().profile(Side::Source), None);
    }

    #[test]
    fn a_key_goes_with_its_encryption() {
        let kms = ObjectOptions {
            sse: Some("aws:kms".into()),
            sse_kms_key_id: Some("key".into()),
            ..ObjectOptions::default()
        };
        let plain = ObjectOptions { sse: Some("AES256".into()), ..ObjectOptions::default() };
        assert_eq!(plain.clone().or(kms.clone()), plain);
        assert_eq!(ObjectOptions::default().or(kms.clone()), kms);
    }
}
