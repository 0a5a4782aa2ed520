//! Locations that cannot be parsed: each error tells what is wrong, and what to write instead.

use crate::path::escaped;

/// Location that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\": {fault}", escaped(given))]
pub struct Malformed {
    given: Vec<u8>,
    fault: Fault,
}

impl Malformed {
    pub(super) fn new(given: &[u8], fault: Fault) -> Self {
        Self { given: given.to_vec(), fault }
    }
}

/// Fault of a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Scheme that is none of those that are supported.
    #[error(
        "{0}:// is not supported; write a path, USER@HOST:PATH, sftp://HOST/PATH, \
         s3://BUCKET/PREFIX, REMOTE:BUCKET/PREFIX (a remote of rclone's configuration) or \
         daos://POOL/CONTAINER/PATH"
    )]
    Scheme(String),
    /// Scheme of a connector of Hadoop.
    #[error("write s3:// instead")]
    Hadoop,
    /// `s3:` without slashes, with the location as text.
    #[error("write s3://BUCKET/PREFIX, or ./{0} for a file of that name")]
    NoSlashes(String),
    /// Remote of rclone with options, with the location as text.
    #[error(
        "options within rclone's names are not supported; put them in rclone.conf, or write ./{0} \
         for a file of that name"
    )]
    OnTheFly(String),
    /// Location in a service without a bucket.
    #[error("the name of the bucket is missing")]
    NoBucket,
    /// Name of an access point instead of a bucket.
    #[error("for an access point, write its alias as the bucket")]
    AccessPoint,
    /// Text that cannot be the name of a bucket.
    #[error("\"{}\" cannot be a bucket's name", escaped(.0))]
    Bucket(Vec<u8>),
    /// Name of a bucket that no service permits.
    #[error("the bucket's name is too long")]
    LongBucket,
    /// Key with components that a file system would resolve.
    #[error("a key has no \".\" or \"..\" in it; write the key itself")]
    Dots,
    /// Location in DAOS without a pool or a container.
    #[error("write daos://POOL/CONTAINER/PATH, with labels or UUIDs")]
    Container,
    /// Path that could leave a container.
    #[error("a path in a container has no \"..\" in it")]
    ContainerParent,
    /// Home directory of another user on a host.
    #[error("~USER is not expanded; write the path of that directory, or ./~… for such a name")]
    OtherHome,
    /// Module of an rsync daemon.
    #[error("rsync's daemons are not supported; write HOST:PATH, which goes through ssh")]
    Daemon,
    /// Host without a path.
    #[error("write sftp://HOST/PATH, or sftp://HOST/~/PATH in the home directory")]
    NoPath,
    /// Name of a host with other characters.
    #[error("the name of a host is ASCII")]
    NotAscii,
    /// Name of a user with a password.
    #[error("passwords are not taken; use a key or an agent of ssh")]
    Password,
    /// Text that cannot be the name of a host.
    #[error("the name of the host is missing or malformed")]
    Host,
    /// Text that cannot be the name of a user.
    #[error("the name of the user is malformed")]
    User,
    /// Text that cannot be a port.
    #[error("the port is a number from 1 to 65535")]
    Port,
}
