//! Faults of requests to an object storage service, and of keys.

use std::fmt;

use super::path::escaped;

/// Reason for which a request to a service failed, where no `errno` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ServiceFault {
    /// The bucket does not exist.
    NoBucket,
    /// The credentials are not accepted.
    Credentials,
    /// The credentials have expired.
    Expired,
    /// The signature is not the one that the service computes.
    Signature,
    /// The clocks of the service and of this node differ too much.
    Clock,
    /// The service throttles requests, and went on doing so.
    Busy,
    /// No connection was made, or it was lost.
    Unreachable,
    /// The connection was refused: no server listens at that address.
    Refused,
    /// The host name cannot be resolved.
    UnknownHost,
    /// The certificate's issuer is not trusted (TLS).
    Untrusted,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate has expired, or is not valid yet.
    CertificateExpired,
    /// TLS failed for another reason.
    Tls,
    /// The server does not speak TLS.
    NotTls,
    /// The server does not speak HTTP.
    NotHttp,
    /// A proxy did not let the request through.
    Proxy,
    /// No answer came in time.
    TimedOut,
    /// The service has not answered for too long, and is not asked any more.
    GivenUp,
    /// No connection to another host can be made any more.
    HostGone,
    /// The answer is truncated, or is that of another server.
    Torn,
    /// A directory from a list has no key.
    NoKeys,
    /// The answer is invalid, or the request cannot be built.
    Protocol,
    /// The status is success, but the rest of the answer cannot be read.
    Unreadable,
    /// The object is archived and must be restored first.
    Archived,
    /// The bucket is in another region.
    OtherRegion,
    /// The status is success, but there is no ETag, which would prove that the answer is the
    /// service's.
    NoEtag,
    /// The answer does not tell an object's length.
    NoLength,
    /// The content is longer or shorter than the object.
    WrongLength,
    /// The answer contains another range of an object than the requested one.
    WrongRange,
    /// The upload has been removed, or has other parts.
    NoUpload,
    /// The content's MD5 is not the object's ETag.
    WrongEtag,
    /// Any other error, by its HTTP status.
    Status(u16),
}

impl ServiceFault {
    /// Returns a short stable word for machine-readable output.
    pub fn code(self) -> String {
        match self {
            Self::NoBucket => "no-such-bucket".into(),
            Self::Credentials => "credentials-rejected".into(),
            Self::Expired => "credentials-expired".into(),
            Self::Signature => "signature-mismatch".into(),
            Self::Clock => "clock-skew".into(),
            Self::Busy => "throttled".into(),
            Self::Unreachable => "unreachable".into(),
            Self::Refused => "connection-refused".into(),
            Self::UnknownHost => "unknown-host".into(),
            Self::Untrusted => "certificate-untrusted".into(),
            Self::WrongHost => "certificate-host-mismatch".into(),
            Self::CertificateExpired => "certificate-expired".into(),
            Self::Tls => "tls-error".into(),
            Self::NotTls => "not-tls".into(),
            Self::NotHttp => "not-http".into(),
            Self::Proxy => "proxy-error".into(),
            Self::TimedOut => "timeout".into(),
            Self::GivenUp => "service-unresponsive".into(),
            Self::HostGone => "host-unreachable".into(),
            Self::Torn => "incomplete-response".into(),
            Self::NoKeys => "directory-without-keys".into(),
            Self::Protocol => "invalid-response".into(),
            Self::Unreadable => "unreadable-response".into(),
            Self::Archived => "archived".into(),
            Self::OtherRegion => "wrong-region".into(),
            Self::NoEtag => "missing-etag".into(),
            Self::NoLength => "missing-length".into(),
            Self::WrongLength => "length-mismatch".into(),
            Self::WrongRange => "range-mismatch".into(),
            Self::NoUpload => "no-such-upload".into(),
            Self::WrongEtag => "etag-mismatch".into(),
            Self::Status(status) => format!("http:{status}"),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NoBucket => "there is no such bucket",
            Self::Credentials => {
                "the service does not accept the credentials; check the profile or remote"
            }
            Self::Expired => "the credentials have expired; get new ones",
            Self::Signature => {
                "the service does not accept the signature; check the secret key and the region"
            }
            Self::Clock => {
                "the clocks of this node and of the service differ too much; set the clock"
            }
            Self::Busy => {
                "the service throttles requests, and retries did not help; use fewer ranks"
            }
            Self::Unreachable => {
                "the service cannot be reached; check the endpoint (host, port, http or https) and the network"
            }
            Self::Refused => {
                "the service cannot be reached: connection refused; check the endpoint's host and port"
            }
            Self::UnknownHost => {
                "the service cannot be reached: its host name is unknown; check the endpoint, and with \
                 --s3-path-style=off the bucket's name"
            }
            Self::Untrusted => {
                "the service's certificate was issued by an unknown CA; check the endpoint, or name the CA's \
                 certificate by AWS_CA_BUNDLE"
            }
            Self::WrongHost => {
                "the service's certificate is for another host; check the endpoint's host name"
            }
            Self::CertificateExpired => {
                "the service's certificate has expired or is not valid yet; check this node's clock"
            }
            Self::Tls => "no TLS connection to the service",
            Self::NotTls => "the service does not speak TLS; write http:// in the endpoint",
            Self::NotHttp => {
                "the response is not HTTP; check the port, and for TLS write https:// in the endpoint"
            }
            Self::Proxy => {
                "a proxy did not let the request through; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
            }
            Self::TimedOut => {
                "the service did not respond in time; check the endpoint and the network"
            }
            Self::GivenUp => {
                "the service did not respond for too long (--give-up-after); no more requests are sent to it"
            }
            Self::HostGone => {
                "the host cannot be reached any more; no more requests are sent to it"
            }
            Self::Torn => {
                "incomplete response from the service; check that the endpoint is an S3 service, \
                 and any proxy before it"
            }
            Self::NoKeys => {
                "a listing has this directory, and there is no key in it: the service encodes its \
                 name in two ways, or it was removed"
            }
            Self::Protocol => "invalid response from the service",
            Self::Unreadable => {
                "unreadable response from the service; check that the endpoint is an S3 service"
            }
            Self::Archived => "it is archived; restore it first",
            Self::OtherRegion => "the bucket is in another region; name that with --s3-region",
            other => other.words_of_torn(),
        }
    }

    /// Returns the description of faults that leave it open whether an answer or content is
    /// complete, and of all others that are left.
    fn words_of_torn(self) -> &'static str {
        match self {
            Self::NoEtag => {
                "the response has no ETag, so it may not be from the service; check the endpoint, \
                 and any proxy before it"
            }
            Self::NoLength => "the service does not say how long the object is",
            Self::WrongLength => {
                "length mismatch: the received content is not as long as the object; check whether \
                 the service or a proxy decompresses it"
            }
            Self::WrongRange => {
                "range mismatch: the service sent another range of the object than requested; if \
                 it ignores ranges, set --chunksize to the object's size"
            }
            Self::NoUpload => {
                "no such upload, or its parts have changed: another job has completed, aborted or replaced it"
            }
            Self::WrongEtag => {
                "ETag mismatch: the received content does not match its ETag; if the service's \
                 ETags are not MD5s, use --s3-opaque-etags"
            }
            _ => "the service rejected the request",
        }
    }
}

impl fmt::Display for ServiceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{} (HTTP {status})", self.words()),
            other => f.write_str(other.words()),
        }
    }
}

/// Details of a failure at a service, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Details {
    /// Operation of the S3 API that was requested, such as `ListObjectsV2`.
    pub operation: Option<String>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// The service's own code, such as `ExpiredToken`.
    pub code: Option<String>,
    /// Message of the service, beginning of an answer that is not S3's, or reason that a lower
    /// layer gives.
    pub message: Option<String>,
    /// ID by which the service's operators find the request.
    pub request_id: Option<String>,
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &String| escaped(text.as_bytes());
        let answer = match (&self.code, self.status) {
            (Some(code), _) => Some(shown(code)),
            (None, Some(status)) => Some(format!("HTTP {status}")),
            (None, None) => None,
        };
        let message = self.message.as_ref().map(shown);
        let request = self.request_id.as_ref().map(|id| format!("request {}", shown(id)));
        let parts = [self.operation.as_ref().map(shown), answer, message, request];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(": "))
    }
}

/// Reason for which a key cannot be a path, or a path cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum InvalidKey {
    /// The key does not begin with the prefix.
    Outside,
    /// A slash where the first name should begin.
    LeadingSlash,
    /// Two slashes in a row.
    EmptyComponent,
    /// A component `.` or `..`.
    DotComponent,
    /// A NUL character.
    Nul,
    /// A component longer than a file name may be.
    LongName,
    /// A key longer than S3 allows.
    LongKey,
    /// An escape of bytes that need none: the file of that name would have another key.
    Escape,
    /// A name that ends as those of symbolic links do (rclone's `.rclonelink`): a file would come
    /// back as one.
    LinkName,
    /// A key of nothing but blanks, for which AWS's client sends no request.
    Blank,
    /// A key that is also the prefix of other keys, with a slash: a directory has its name.
    AlsoDirectory,
    /// A key whose entry would have the name of another object's.
    AlsoObject,
    /// A directory marker that has content.
    MarkerContent,
}

impl InvalidKey {
    /// Returns a short stable word for machine-readable output.
    pub fn code(self) -> &'static str {
        match self {
            Self::Outside => "key-outside-prefix",
            Self::LeadingSlash => "key-leading-slash",
            Self::EmptyComponent => "key-empty-component",
            Self::DotComponent => "key-dot-component",
            Self::Nul => "key-nul",
            Self::LongName => "key-component-too-long",
            Self::LongKey => "key-too-long",
            Self::Escape => "key-escape",
            Self::LinkName => "key-link-name",
            Self::Blank => "key-blank",
            Self::AlsoDirectory => "key-also-directory",
            Self::AlsoObject => "key-also-object",
            Self::MarkerContent => "key-marker-content",
        }
    }
}

impl fmt::Display for InvalidKey {
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
            Self::MarkerContent => {
                f.write_str("no file can have the content of its key with \"/\" at the end")
            }
            Self::AlsoObject => {
                f.write_str("no link can have this key: another object has the link's name")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_line() {
        let details = Details {
            operation: Some("ListObjectsV2".into()),
            status: Some(400),
            code: Some("ExpiredToken".into()),
            message: Some("The token\nhas expired.".into()),
            request_id: Some("MOCK".into()),
        };
        let words = "ListObjectsV2: ExpiredToken: The token\\nhas expired.: request MOCK";
        assert_eq!(details.to_string(), words);
        let bare = Details { code: None, message: None, request_id: None, ..details };
        assert_eq!(bare.to_string(), "ListObjectsV2: HTTP 400");
        assert_eq!(Details::default().to_string(), "");
    }
}
