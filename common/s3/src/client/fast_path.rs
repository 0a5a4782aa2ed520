//! The fast path for requests that carry a whole object: made and signed here, and sent once.
//!
//! Between a call of the S3 client and its connection are layers for every operation, service and
//! failure, which cost several times as much CPU as the request itself; and a million small objects
//! are a million such requests. Therefore a request is first sent directly over the client's own
//! connections. If it does not succeed at once (because it is refused, throttled, redirected, or
//! breaks off) the client repeats it. Retries, redirects and the interpretation of errors thus stay
//! in one place, and none of them is here.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sdk_s3::primitives::SdkBody;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use crate::client::attempts::TOO_MANY_REQUESTS;
use crate::client::endpoint::Route;
use crate::client::latin1::read_latin1;

/// The status of a service that lacks a feature (RFC 9110, section 15.6.2).
const NOT_IMPLEMENTED: u16 = 501;

/// The name by which this program identifies itself to services.
const USER_AGENT: &str = concat!("dcp/", env!("CARGO_PKG_VERSION"));

/// A request for a whole object, not yet signed.
pub(crate) struct Request {
    content: http::Request<Bytes>,
    signing_region: String,
}

/// The conclusion from the status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request has succeeded; the answer's body may still be on its way.
    Done,
    /// The service refuses the request, or its form.
    Refused,
    /// The outcome is open: another attempt may succeed, or the client will fail in the same way.
    Unsettled,
}

impl Request {
    /// Builds a request with the headers that have a value, for an object that this route leads
    /// to. Returns `None` where a value is no valid header; then the client must send it.
    pub fn new<'h>(
        route: &Route,
        (method, key): (Method, &str),
        headers: impl IntoIterator<Item = (&'h str, Option<&'h str>)>,
        content: Bytes,
    ) -> Option<Self> {
        let user_agent = ("user-agent", Some(USER_AGENT));
        let mut request = http::Request::builder().method(method).uri(address(&route.url, key));
        for (name, value) in headers.into_iter().chain([user_agent]) {
            let Some(value) = value else { continue };
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request = request.header(name, HeaderValue::from_str(value).ok()?);
        }
        let content = request.body(content).ok()?;
        Some(Self { content, signing_region: route.region.clone() })
    }

    /// Signs the request, sends it, and waits for the head of the answer. Returns `None` on any
    /// failure.
    pub async fn send(
        self,
        keys: Option<Credentials>,
        connections: &SharedHttpConnector,
    ) -> Option<HttpResponse> {
        let request = match keys {
            Some(keys) => self.signed(keys)?,
            None => self.content,
        };
        let request = HttpRequest::try_from(request.map(SdkBody::from)).ok()?;
        let answer = connections.call(request).await;
        let mut answer =
            answer.inspect_err(|error| tracing::debug!(?error, "short request failed")).ok()?;
        read_latin1(&mut answer);
        Some(answer)
    }

    /// Signs the request with Signature Version 4 as S3 requires: paths are neither normalised nor
    /// encoded twice, and the hash of the content, or a note that there is none, is a header
    /// (Amazon S3 API Reference, "Authenticating Requests").
    fn signed(self, keys: Credentials) -> Option<http::Request<Bytes>> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let identity = keys.into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.signing_region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .ok()?;
        let mut request = self.content;
        // Content is protected by its checksum header, and by TLS where that is used; hashing it
        // for the signature would cost more than everything else. Where the operator asks for it,
        // the client sends the request.
        let body = match *request.method() {
            Method::PUT => SignableBody::UnsignedPayload,
            _ => SignableBody::empty(),
        };
        let (method, url) = (request.method().as_str(), request.uri().to_string());
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(method, url, headers, body).ok()?;
        let (instructions, _) = sign(signable, &params.into()).ok()?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Some(request)
    }
}

impl Verdict {
    /// Concludes from the status of an answer.
    pub fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            // Status 404: no such object. Status 408: the server closed an idle connection. Status
            // 429: throttled.
            404 | 408 | TOO_MANY_REQUESTS => Self::Unsettled,
            300..=499 | NOT_IMPLEMENTED => Self::Refused,
            _ => Self::Unsettled,
        }
    }
}

/// Returns the URL of an object, with the key encoded as the client does it: all characters but
/// letters, digits, `-._~` and slashes.
fn address(url: &str, key: &str) -> String {
    let mut address = format!("{url}/");
    for (number, part) in key.split('/').enumerate() {
        if number > 0 {
            address.push('/');
        }
        address.push_str(&urlencoding::encode(part));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_of_encoded_names() {
        let at = |key| address("http://host/bucket", key);
        assert_eq!(at("a/b-._~c"), "http://host/bucket/a/b-._~c");
        assert_eq!(at("a b+%/ü"), "http://host/bucket/a%20b%2B%25/%C3%BC");
        assert_eq!(at("/a//../&=?#"), "http://host/bucket//a//../%26%3D%3F%23");
    }

    #[test]
    fn what_is_left_to_the_client() {
        assert_eq!([200, 204, 206].map(Verdict::of), [Verdict::Done; 3]);
        assert_eq!([301, 400, 403, 405, 501].map(Verdict::of), [Verdict::Refused; 5]);
        assert_eq!([100, 404, 408, 429, 500, 503].map(Verdict::of), [Verdict::Unsettled; 6]);
    }
}
