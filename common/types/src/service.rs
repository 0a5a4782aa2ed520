//! Faults of requests to an object storage service, and of keys.

use std::fmt;

use super::path::escaped;

/// Reason for which a request to a service failed, where no `errno` describes it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error,
)]
pub enum ServiceFault {
    /// The bucket does not exist.
    #[error("there is no such bucket")]
    NoBucket,
    /// The credentials are not accepted.
    #[error("the service does not accept the credentials; check the profile or remote")]
    Credentials,
    /// The credentials have expired.
    #[error("the credentials have expired; get new ones")]
    Expired,
    /// The signature is not the one that the service computes.
    #[error("the service does not accept the signature; check the secret key and the region")]
    Signature,
    /// The clocks of the service and of this node differ too much.
    #[error("the clocks of this node and of the service differ too much; set the clock")]
    Clock,
    /// The service throttles requests, and went on doing so.
    #[error("the service throttles requests, and retries did not help; use fewer ranks")]
    Busy,
    /// No connection was made, or it was lost.
    #[error(
        "the service cannot be reached; check the endpoint (host, port, http or https) and the \
         network"
    )]
    Unreachable,
    /// The connection was refused: no server listens at that address.
    #[error(
        "the service cannot be reached: connection refused; check the endpoint's host and port"
    )]
    Refused,
    /// The host name cannot be resolved.
    #[error(
        "the service cannot be reached: its host name is unknown; check the endpoint, and with \
         --s3-path-style=off the bucket's name"
    )]
    UnknownHost,
    /// The certificate's issuer is not trusted (TLS).
    #[error(
        "the service's certificate was issued by an unknown CA; check the endpoint, or name the \
         CA's certificate by AWS_CA_BUNDLE"
    )]
    Untrusted,
    /// The certificate is for another host.
    #[error("the service's certificate is for another host; check the endpoint's host name")]
    WrongHost,
    /// The certificate has expired, or is not valid yet.
    #[error("the service's certificate has expired or is not valid yet; check this node's clock")]
    CertificateExpired,
    /// TLS failed for another reason.
    #[error("no TLS connection to the service")]
    Tls,
    /// The server does not speak TLS.
    #[error("the service does not speak TLS; write http:// in the endpoint")]
    NotTls,
    /// The server does not speak HTTP.
    #[error("the response is not HTTP; check the port, and for TLS write https:// in the endpoint")]
    NotHttp,
    /// A proxy did not let the request through.
    #[error("a proxy did not let the request through; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")]
    Proxy,
    /// No answer came in time.
    #[error("the service did not respond in time; check the endpoint and the network")]
    TimedOut,
    /// The service has not answered for too long, and is not asked any more.
    #[error(
        "the service did not respond for too long (--give-up-after); no more requests are sent to \
         it"
    )]
    GivenUp,
    /// No connection to another host can be made any more.
    #[error("the host cannot be reached any more; no more requests are sent to it")]
    HostGone,
    /// The answer is truncated, or is that of another server.
    #[error(
        "incomplete response from the service; check that the endpoint is an S3 service, and any \
         proxy before it"
    )]
    Torn,
    /// A directory from a list has no key.
    #[error(
        "a listing has this directory, and there is no key in it: the service encodes its name in \
         two ways, or it was removed"
    )]
    NoKeys,
    /// The answer is invalid, or the request cannot be built.
    #[error("invalid response from the service")]
    Protocol,
    /// The status is success, but the rest of the answer cannot be read.
    #[error("unreadable response from the service; check that the endpoint is an S3 service")]
    Unreadable,
    /// The object is archived and must be restored first.
    #[error("it is archived; restore it first")]
    Archived,
    /// The bucket is in another region.
    #[error("the bucket is in another region; name that with --s3-region")]
    OtherRegion,
    /// The status is success, but there is no ETag, which would prove that the answer is the
    /// service's.
    #[error(
        "the response has no ETag, so it may not be from the service; check the endpoint, and any \
         proxy before it"
    )]
    NoEtag,
    /// The answer does not tell an object's length.
    #[error("the service does not say how long the object is")]
    NoLength,
    /// The content is longer or shorter than the object.
    #[error(
        "length mismatch: the received content is not as long as the object; check whether the \
         service or a proxy decompresses it"
    )]
    WrongLength,
    /// The answer contains another range of an object than the requested one.
    #[error(
        "range mismatch: the service sent another range of the object than requested; if it \
         ignores ranges, set --chunksize to the object's size"
    )]
    WrongRange,
    /// The upload has been removed, or has other parts.
    #[error(
        "no such upload, or its parts have changed: another job has completed, aborted or replaced \
         it"
    )]
    NoUpload,
    /// The content's MD5 is not the object's ETag.
    #[error(
        "ETag mismatch: the received content does not match its ETag; if the service's ETags are \
         not MD5s, use --s3-opaque-etags"
    )]
    WrongEtag,
    /// Any other error, by its HTTP status.
    #[error("the service rejected the request (HTTP {0})")]
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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error,
)]
pub enum InvalidKey {
    /// The key does not begin with the prefix.
    #[error("the key is not below the prefix")]
    Outside,
    /// A slash where the first name should begin.
    #[error("no file can have this key: a name begins with \"/\"")]
    LeadingSlash,
    /// Two slashes in a row.
    #[error("no file can have this key: it has \"//\"")]
    EmptyComponent,
    /// A component `.` or `..`.
    #[error("no file can have this key: a component of it is \".\" or \"..\"")]
    DotComponent,
    /// A NUL character.
    #[error("no file can have this key: it has a NUL character")]
    Nul,
    /// A component longer than a file name may be.
    #[error("a component is longer than 255 bytes, so no file can have it")]
    LongName,
    /// A key longer than S3 allows.
    #[error("its key is longer than the 1024 bytes that S3 takes")]
    LongKey,
    /// An escape of bytes that need none: the file of that name would have another key.
    #[error("its escapes (‛XX) stand for text, so a file of that name has another key")]
    Escape,
    /// A name that ends as those of symbolic links do (rclone's `.rclonelink`): a file would come
    /// back as one.
    #[error("in S3 a name that ends in .rclonelink stands for a symbolic link; rename the file")]
    LinkName,
    /// A key on the command line that is not spelled as the name of its entry is.
    #[error(
        "this is the key of an entry with another name: name a link without .rclonelink, and bytes \
         that are not UTF-8 (‛XX) as they are"
    )]
    NotTheName,
    /// A key of nothing but blanks, for which AWS's client sends no request.
    #[error("its key would be nothing but blanks, which the S3 client cannot send")]
    Blank,
    /// A key with a backslash, which the service takes for a slash: it would be that of another
    /// entry.
    #[error(
        "the service takes \"\\\" in a key for \"/\", so it would be another entry's; rename it"
    )]
    Backslash,
    /// A key that is also the prefix of other keys, with a slash: a directory has its name.
    #[error("no file can have this key: other keys make a directory of this name")]
    AlsoDirectory,
    /// A key whose entry would have the name of another object's.
    #[error("no link can have this key: another object has the link's name")]
    AlsoObject,
    /// A directory marker that has content.
    #[error("no file can have the content of its key with \"/\" at the end")]
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
            Self::NotTheName => "key-not-the-name",
            Self::Blank => "key-blank",
            Self::Backslash => "key-backslash",
            Self::AlsoDirectory => "key-also-directory",
            Self::AlsoObject => "key-also-object",
            Self::MarkerContent => "key-marker-content",
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
