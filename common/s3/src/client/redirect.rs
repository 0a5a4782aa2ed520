//! Redirects to the region of a bucket: a service asked in the wrong region names the right one,
//! and the request is repeated there, as AWS's own tools do.

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};

/// The header that marks an answer which redirects to another region. The classifier of retries
/// sees only the answer, so the request's region must be compared before.
const ELSEWHERE: &str = "x-suite-elsewhere";

/// A retry classifier that repeats redirected requests.
#[derive(Debug)]
pub(crate) struct Redirects;

impl ClassifyRetry for Redirects {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().and_then(elsewhere) {
            Some(_) => RetryAction::transient_error(),
            None => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Redirects"
    }
}

/// Returns the region to which an answer redirects its request.
pub(crate) fn elsewhere(answer: &HttpResponse) -> Option<&str> {
    answer.headers().get(ELSEWHERE)
}

/// The region or host that a request was sent to.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The region in the signature of the request.
    In(String),
    /// The host of an unsigned request.
    At(String),
}

impl Asked {
    /// Reads the region or host from a request.
    pub fn of(request: &HttpRequest) -> Self {
        // Signature Version 4: Credential=KEY/DAY/REGION/s3/aws4_request.
        let signature = request.headers().get("authorization");
        match signature.and_then(|signature| signature.split('/').nth(2)) {
            Some(region) => Self::In(region.to_owned()),
            None => Self::At(request.uri().split('/').nth(2).unwrap_or_default().to_owned()),
        }
    }

    /// Returns whether `region` differs from that of the request. Without a signature, only AWS's
    /// own host names tell the region.
    fn is_elsewhere(&self, region: &str) -> bool {
        match self {
            Self::In(own) => own != region,
            Self::At(host) => {
                host.contains(".amazonaws.com") && !host.contains(&format!(".{region}."))
            }
        }
    }

    /// Marks an answer that redirects to another region than the request's.
    pub fn mark(&self, answer: &mut HttpResponse) {
        // The mark decides on repeating requests, so a service must not be able to set it.
        answer.headers_mut().remove(ELSEWHERE);
        if let Some(region) = named(answer).filter(|region| self.is_elsewhere(region)) {
            answer.headers_mut().insert(ELSEWHERE, region);
        }
    }
}

/// Returns the region that an answer names, if it is a redirect or a refusal.
fn named(answer: &HttpResponse) -> Option<String> {
    // Status 301 means that the bucket has moved, and 400 that the signature is for another region.
    if !matches!(answer.status().as_u16(), 301 | 400) {
        return None;
    }
    let body = String::from_utf8_lossy(answer.body().bytes().unwrap_or_default());
    let in_body = || body.split_once("<Region>")?.1.split_once("</Region>").map(|(name, _)| name);
    let name = answer.headers().get("x-amz-bucket-region").or_else(in_body)?;
    // The name becomes part of a host name, so nothing else is accepted.
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!name.is_empty() && name.bytes().all(is_good)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    fn asked(uri: &str, scope: Option<&str>) -> HttpRequest {
        let mut request = http::Request::builder().uri(uri);
        if let Some(region) = scope {
            let words = format!("AWS4-HMAC-SHA256 Credential=AK/20260101/{region}/s3/aws4_request");
            request = request.header("authorization", words);
        }
        HttpRequest::try_from(request.body(SdkBody::empty()).unwrap()).unwrap()
    }

    fn answered(status: u16, header: Option<&'static str>, body: &'static str) -> HttpResponse {
        let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        if let Some(region) = header {
            answer.headers_mut().insert("x-amz-bucket-region", region);
        }
        answer
    }

    fn region(request: &HttpRequest, answer: &HttpResponse) -> Option<String> {
        let mut marked =
            HttpResponse::new(answer.status(), SdkBody::from(answer.body().bytes().unwrap()));
        if let Some(region) = answer.headers().get("x-amz-bucket-region") {
            marked.headers_mut().insert("x-amz-bucket-region", region.to_owned());
        }
        Asked::of(request).mark(&mut marked);
        elsewhere(&marked).map(str::to_owned)
    }

    #[test]
    fn the_region_that_a_service_names_is_taken_once() {
        let own = asked("http://h/b", Some("us-east-1"));
        let there = Some("eu-west-3".to_owned());
        assert_eq!(region(&own, &answered(301, Some("eu-west-3"), "")), there);
        let body =
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>";
        assert_eq!(region(&own, &answered(400, None, body)), there);
        assert_eq!(region(&own, &answered(400, None, "<Region>a b</Region>")), None);
        assert_eq!(region(&own, &answered(403, Some("eu-west-3"), "")), None);
        assert_eq!(region(&own, &answered(301, Some("us-east-1"), "")), None, "already there");
    }

    #[test]
    fn unsigned_requests_go_elsewhere_only_at_aws() {
        let moved = answered(301, Some("eu-west-3"), "");
        assert_eq!(region(&asked("http://127.0.0.1:9/b", None), &moved), None);
        let aws = asked("https://b.s3.us-east-1.amazonaws.com/", None);
        assert_eq!(region(&aws, &moved), Some("eu-west-3".to_owned()));
        let there = asked("https://b.s3.eu-west-3.amazonaws.com/", None);
        assert_eq!(region(&there, &moved), None);
    }
}
