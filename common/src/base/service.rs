//! What can be wrong with a request to a service that keeps objects, and with keys.

use std::fmt;

/// Why a service did not do what it was asked for, where no `errno` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ServiceFault {
    /// The bucket does not exist.
    NoBucket,
    /// The credentials are not accepted, or have expired.
    Credentials,
    /// It asks for fewer requests, and went on doing so.
    Busy,
    /// No connection, or one that broke off.
    Unreachable,
    /// Nobody listens at its address.
    Refused,
    /// Its host has no address.
    UnknownHost,
    /// It is not shown to be the one that it should be (TLS).
    Untrusted,
    /// No answer in time.
    TimedOut,
    /// An answer that makes no sense, or a request that cannot be built.
    Protocol,
    /// It is kept where it must be restored first.
    Archived,
    /// The bucket is in another region.
    OtherRegion,
    /// An answer of success without the ETag that shows whose it is.
    NoEtag,
    /// It does not say how long an object is.
    NoLength,
    /// The content is longer or shorter than the object.
    WrongLength,
    /// It has sent another part of an object than it was asked for.
    WrongRange,
    /// An upload is not there any more, or has other parts.
    NoUpload,
    /// The content's MD5 is not the object's ETag.
    WrongEtag,
    /// Any other refusal, by its HTTP status.
    Status(u16),
}

impl ServiceFault {
    /// A short stable word for machine-readable output.
    pub fn code(self) -> String {
        match self {
            Self::NoBucket => "no-bucket".into(),
            Self::Credentials => "credentials".into(),
            Self::Busy => "busy".into(),
            Self::Unreachable => "unreachable".into(),
            Self::Refused => "connection-refused".into(),
            Self::UnknownHost => "unknown-host".into(),
            Self::Untrusted => "untrusted".into(),
            Self::TimedOut => "timed-out".into(),
            Self::Protocol => "protocol".into(),
            Self::Archived => "archived".into(),
            Self::OtherRegion => "other-region".into(),
            Self::NoEtag => "no-etag".into(),
            Self::NoLength => "no-length".into(),
            Self::WrongLength => "wrong-length".into(),
            Self::WrongRange => "wrong-range".into(),
            Self::NoUpload => "no-upload".into(),
            Self::WrongEtag => "wrong-etag".into(),
            Self::Status(status) => format!("http:{status}"),
        }
    }
}

impl fmt::Display for ServiceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBucket => f.write_str("there is no such bucket; make it first"),
            Self::Credentials => f.write_str(
                "the service does not accept the credentials; check the profile or remote, and the clock",
            ),
            Self::Busy => f.write_str("the service is busy and went on refusing; use fewer ranks"),
            Self::Unreachable => {
                f.write_str("the service cannot be reached; check the endpoint and the network")
            }
            Self::Refused => f.write_str(
                "the service cannot be reached: connection refused; check the endpoint's host and port",
            ),
            Self::UnknownHost => f.write_str(
                "the service cannot be reached: its host name is unknown; check the endpoint, and with \
                 --s3-path-style=off the bucket's name",
            ),
            Self::Untrusted => f.write_str(
                "the service's certificate is not trusted; check the endpoint, or name its CA by AWS_CA_BUNDLE",
            ),
            Self::TimedOut => {
                f.write_str("the service did not answer in time; check the endpoint and the network")
            }
            Self::Protocol => f.write_str("the service's answer makes no sense"),
            Self::Archived => f.write_str("it is archived; restore it first"),
            Self::OtherRegion => {
                f.write_str("the bucket is in another region; name that with --s3-region")
            }
            Self::NoEtag => f.write_str(
                "the answer has no ETag, so it may not be the service's; check the endpoint, and proxies before it",
            ),
            Self::NoLength => f.write_str("the service does not say how long the object is"),
            Self::WrongLength => f.write_str(
                "what arrived is not as long as the object; check whether the service or a proxy unpacks it",
            ),
            Self::WrongRange => f.write_str(
                "the service sent another part of the object than it was asked for; if it ignores ranges, name a \
                 --chunksize of the object's size",
            ),
            Self::NoUpload => f.write_str(
                "the upload has ended or changed: another job sends the same object, or gives uploads up",
            ),
            Self::WrongEtag => f.write_str(
                "what arrived differs from what its ETag stands for; if the service's ETags are no MD5s, say \
                 --s3-opaque-etags",
            ),
            Self::Status(status) => write!(f, "the service refused it (HTTP {status})"),
        }
    }
}

/// Why a key cannot be a path, or a path cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Unfit {
    /// It does not begin with the prefix.
    Outside,
    /// A slash where the first name should begin.
    LeadingSlash,
    /// Two slashes in a row.
    EmptyComponent,
    /// A component `.` or `..`.
    DotComponent,
    /// A NUL character.
    Nul,
    /// A component is longer than a file may have.
    LongName,
    /// It is longer than S3 takes.
    LongKey,
    /// An escape of bytes that need none: the file of that name would have another key.
    Escape,
    /// The name ends as those of links do (rclone's `.rclonelink`): a file would come back as one.
    LinkName,
    /// Nothing but blanks: AWS's client sends no request with it.
    Blank,
    /// Other keys begin with it and a slash: a directory has its name.
    AlsoDirectory,
    /// Another object stands for an entry of that name.
    AlsoObject,
}

impl Unfit {
    /// A short stable word for machine-readable output.
    pub fn code(self) -> &'static str {
        match self {
            Self::Outside => "key-outside",
            Self::LeadingSlash => "key-leading-slash",
            Self::EmptyComponent => "key-empty-component",
            Self::DotComponent => "key-dot-component",
            Self::Nul => "key-nul",
            Self::LongName => "key-long-name",
            Self::LongKey => "key-too-long",
            Self::Escape => "key-escape",
            Self::LinkName => "key-link-name",
            Self::Blank => "key-blank",
            Self::AlsoDirectory => "key-also-directory",
            Self::AlsoObject => "key-also-object",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("the key is not below the prefix"),
            Self::LeadingSlash => {
                f.write_str("no file can have this key: a name begins with \"/\"")
            }
            Self::EmptyComponent => f.write_str("no file can have this key: it has \"//\""),
            Self::DotComponent => {
                f.write_str("no file can have this key: a component of it is \".\" or \"..\"")
            }
            Self::Nul => f.write_str("no file can have this key: it has a NUL character"),
            Self::LongName => {
                write!(f, "a component is longer than 255 bytes, so no file can have it")
            }
            Self::LongKey => {
                write!(f, "its key is longer than the 1024 bytes that S3 takes")
            }
            Self::Escape => f.write_str(
                "its escapes (‛XX) stand for text, so a file of that name has another key",
            ),
            Self::Blank => {
                f.write_str("its key would be nothing but blanks, which the S3 client cannot send")
            }
            Self::LinkName => f.write_str(
                "in S3 a name that ends in .rclonelink stands for a symbolic link; rename the file",
            ),
            Self::AlsoDirectory => {
                f.write_str("no file can have this key: other keys make a directory of this name")
            }
            Self::AlsoObject => {
                f.write_str("no link can have this key: another object has the link's name")
            }
        }
    }
}
