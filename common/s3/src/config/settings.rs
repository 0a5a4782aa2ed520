//! Settings that a rank needs to open a location in S3, as rank 0 distributes them; and the options
//! of the command line they are made of. Secrets do not appear in debug output.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use types::error::Side;
use types::object::metadata::Schema;
use types::path::escaped;

/// Options for S3 on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct S3Options {
    /// The URL of the service that `s3://` refers to; without it AWS's configuration decides, and
    /// by default it is AWS itself.
    pub endpoint_url: Option<String>,
    /// The region of `s3://` locations.
    pub region: Option<String>,
    /// The profile of AWS's configuration for `s3://` locations.
    pub profile: Option<String>,
    /// The profile for the source, which takes precedence over `profile`.
    pub source_profile: Option<String>,
    /// The profile for the target, which takes precedence over `profile`.
    pub target_profile: Option<String>,
    /// The position of the bucket's name in URLs, for every location.
    pub path_style: PathStyle,
    /// True if requests for `s3://` locations are sent unsigned.
    pub is_anonymous: bool,
    /// The greatest number of concurrent requests of each rank.
    pub concurrency: Option<u32>,
    /// The size of the parts of a large object, in bytes.
    pub part_bytes: Option<u64>,
    /// True if the content of requests is hashed for the signature even where TLS protects it.
    pub sign_payload: bool,
    /// The schema in which attributes are stored in the metadata of objects.
    pub metadata: Schema,
    /// True if directories get marker objects, empty ones whose keys end in a slash.
    pub directory_markers: Option<bool>,
    /// True if ETags must not be taken for MD5 digests, even where they look like one.
    pub opaque_etags: bool,
    /// How long a service may fail to answer before the job ends.
    pub give_up_after: Option<Duration>,
    /// Properties that new objects get, such as storage class and encryption.
    pub object: ObjectOptions,
}

impl S3Options {
    /// Returns the profile for one side of the operation. `AWS_PROFILE` applies where there is
    /// none.
    pub fn profile(&self, side: Side) -> Option<&str> {
        let own = match side {
            Side::Source => &self.source_profile,
            Side::Target => &self.target_profile,
        };
        own.as_deref().or(self.profile.as_deref())
    }
}

/// The position of the bucket's name in the URLs of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PathStyle {
    /// The position that the service is known to expect.
    #[default]
    Auto,
    /// The name goes into the path (`https://HOST/BUCKET/KEY`).
    On,
    /// The name goes into the host name (`https://BUCKET.HOST/KEY`).
    Off,
}

impl PathStyle {
    /// Returns whether the name goes into the path; `auto` says so where that is not chosen.
    pub fn is_on(self, auto: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Auto => auto(),
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// Properties that new objects get. The bucket's default applies to each that is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectOptions {
    /// A canned ACL, such as `bucket-owner-full-control`.
    pub acl: Option<String>,
    /// A storage class, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// Encryption at rest: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub sse: Option<String>,
    /// The identifier of the key for `aws:kms`.
    pub sse_kms_key_id: Option<String>,
    /// True if every request declares that the requester pays, as requester-pays buckets demand.
    pub requester_pays: bool,
    /// The treatment of tags in copies within the service.
    pub copy_tags: CopyTags,
}

/// The treatment of tags in copies within one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CopyTags {
    /// Tags are preserved where this account may read them; copies that may lack tags are counted.
    #[default]
    Auto,
    /// Tags must be preserved: an object whose tags cannot be read is not copied, which is an
    /// error.
    Always,
    /// Tags are not copied.
    Never,
}

impl ObjectOptions {
    /// Returns these options, completed by `others` where they leave a property open.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        // A KMS key only applies together with the encryption that names it.
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

/// The settings that a rank needs to open one location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The URL of the service: scheme and host, with port and path where it has them; `None` for
    /// AWS.
    pub endpoint_url: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// True if the bucket's name goes into the path, not into the host name.
    pub path_style: bool,
    /// True to use AWS's dual-stack hosts, which answer over IPv4 and IPv6.
    pub use_dual_stack: bool,
    /// True to use AWS's hosts with cryptographic modules validated under FIPS 140.
    pub use_fips: bool,
    /// The certificate authorities to trust instead of the system's.
    pub ca_bundle: Option<CaBundle>,
    /// The credentials that requests are signed with.
    pub credentials: Credentials,
    /// The source of the next credentials, when these expire.
    pub renewal: Renewal,
    /// The size of the parts of a large object in bytes, where it was configured.
    pub part_bytes: Option<u64>,
    /// The size in bytes up to which an object is sent in one request, even where parts are
    /// smaller, where it was configured.
    pub upload_cutoff_bytes: Option<u64>,
    /// The size in bytes up to which the service copies an object in one request, where it was
    /// configured.
    pub copy_cutoff_bytes: Option<u64>,
    /// The greatest number of concurrent requests of each rank, where it was configured.
    pub concurrency: Option<u32>,
    /// Properties that new objects get, such as storage class and encryption.
    pub object: ObjectOptions,
    /// The schema in which attributes are stored in the metadata of objects.
    pub metadata: Schema,
    /// True if the content of requests is hashed for the signature even where TLS protects it.
    pub sign_payload: bool,
    /// True if directories get marker objects, empty ones whose keys end in a slash.
    pub directory_markers: bool,
    /// True if large objects are written without a checksum of their whole content.
    pub disable_checksum: bool,
    /// True if ETags must not be taken for MD5 digests, even where they look like one.
    pub opaque_etags: bool,
    /// How long the service may fail to answer before the job ends.
    pub give_up_after: Duration,
    /// True to list by ListObjects, since the service does not implement ListObjectsV2.
    pub lists_by_marker: bool,
    /// The greatest number of attempts of one request, including the first, where it was
    /// configured.
    pub attempts_max: Option<u32>,
}

impl Settings {
    /// Returns the URL that requests go to. At AWS it is only similar to the real one, in which the
    /// host name begins with the bucket; it serves for choosing proxies.
    pub fn address(&self) -> String {
        let aws = || format!("https://s3.{}.amazonaws.com", self.region);
        self.endpoint_url.clone().unwrap_or_else(aws)
    }

    /// Returns the endpoint that requests go to, escaped for display.
    pub fn shown_endpoint(&self) -> String {
        let aws = || format!("AWS, region {}", self.region);
        self.endpoint_url.as_ref().map_or_else(aws, |url| escaped(url.as_bytes()))
    }
}

/// Files of certificate authorities to trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaBundle {
    /// The name of the setting that gave the files, such as `AWS_CA_BUNDLE`, for error messages.
    pub named_by: String,
    /// The paths of the files, in PEM format.
    pub paths: Vec<String>,
}

/// Credentials that requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// Anonymous access: requests are unsigned.
    Anonymous,
    /// An access key, which may be temporary.
    Keys {
        /// The identifier of the key, which is sent in the clear.
        access_key_id: String,
        /// The secret of the key, which only signs.
        secret_access_key: Secret,
        /// The session token, which temporary keys require.
        session_token: Option<Secret>,
        /// The expiry of the key, in seconds since 1970-01-01 UTC; `None` if it does not expire.
        expires_seconds: Option<u64>,
    },
}

impl Credentials {
    /// Converts the credentials to those of the S3 client; `None` for unsigned requests.
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

    /// Returns how long the credentials remain valid after `now`; `None` if they do not expire.
    pub fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let Self::Keys { expires_seconds: Some(expires), .. } = self else { return None };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Some(Duration::from_secs(*expires).saturating_sub(now))
    }
}

/// The source of the next credentials, when the present ones expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Renewal {
    /// The credentials are final: they were given, or requests are unsigned.
    Never,
    /// New credentials come from where AWS's own tools would find them.
    Chain(Chain),
}

/// The part of AWS's configuration to search for credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain {
    /// The only profile to use; `None` for the whole chain of providers.
    pub profile: Option<String>,
    /// A file of profiles to read instead of AWS's own credentials file.
    pub credentials_file: Option<String>,
}

/// A secret text, which debug output does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret text, for signing or sending.
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
