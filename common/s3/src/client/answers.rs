//! Answers on their way from the connection to the client: their heads come in time or not at all, documents are
//! read whole within bounds, and a document whose root other clients do not look at gets the name that this one
//! wants.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::client::liveness::Liveness;
use crate::client::redirect::Asked;
use types::limits;

/// Connections with rules for what comes back.
#[derive(Debug)]
struct Answers {
    connections: SharedHttpConnector,
    liveness: Arc<Liveness>,
}

/// Connections whose answers keep to these rules.
pub(crate) fn checked(
    connections: SharedHttpConnector,
    liveness: &Arc<Liveness>,
) -> SharedHttpConnector {
    SharedHttpConnector::new(Answers { connections, liveness: Arc::clone(liveness) })
}

/// The answer is longer than any honest one.
#[derive(Debug)]
pub(crate) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is longer than {} MiB", limits::S3_DOCUMENT_BYTES_MAX >> 20)
    }
}

impl Error for TooLong {}

impl HttpConnector for Answers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wait = head_wait(&request);
        let is_content = asks_for_content(&request);
        let root = expected_root(&request);
        let asked = Asked::of(&request);
        let answer = self.connections.call(request);
        let liveness = Arc::clone(&self.liveness);
        HttpConnectorFuture::new(async move {
            let answer = in_time(wait, told_of(&liveness, answer)).await??;
            if is_content && answer.status().is_success() {
                return Ok(answer);
            }
            let mut answer = whole(answer, root).await?;
            asked.mark(&mut answer);
            Ok(answer)
        })
    }
}

/// The work; if it takes long, somebody is told what is waited for.
async fn told_of<F: Future>(liveness: &Liveness, work: F) -> F::Output {
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(limits::S3_SILENCE_TOLD, &mut work).await {
        return done;
    }
    liveness.is_waited_for();
    work.await
}

async fn in_time<F: Future>(wait: Duration, work: F) -> Result<F::Output, ConnectorError> {
    let ended = tokio::time::timeout(wait, work).await;
    ended.map_err(|late| ConnectorError::timeout(late.into()))
}

/// How long the head of the answer may take. Copies and completions are silent while the service works; all others
/// answer at once when they have the request.
fn head_wait(request: &HttpRequest) -> Duration {
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    let completes = request.method() == "POST" && parameter(request, "uploadId").is_some();
    if is_copy || completes {
        return limits::S3_ANSWER_WAIT;
    }
    let bytes = request.body().content_length().unwrap_or(0);
    let sending = Duration::from_secs(bytes / limits::S3_SEND_BYTES_PER_SECOND_MIN);
    (limits::S3_HEAD_WAIT + sending).min(limits::S3_ANSWER_WAIT)
}

/// Whether an answer of success is an object's content; all others are documents.
fn asks_for_content(request: &HttpRequest) -> bool {
    // The client says which operation it is; requests for whole objects that it does not make have no query.
    let has_query = request.uri().contains('?');
    request.method() == "GET" && (!has_query || parameter(request, "x-id") == Some("GetObject"))
}

/// A parameter of the request's query.
fn parameter<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let (_, query) = request.uri().split_once('?')?;
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((own, value)) => (own == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

/// The name that the client wants the answer's root to have.
fn expected_root(request: &HttpRequest) -> Option<&'static str> {
    let has = |name| parameter(request, name).is_some();
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    Some(match request.method() {
        "GET" if has("list-type") => "ListBucketResult",
        "GET" if has("uploads") => "ListMultipartUploadsResult",
        "GET" if has("uploadId") => "ListPartsResult",
        "POST" if has("uploads") => "InitiateMultipartUploadResult",
        "POST" if has("uploadId") => "CompleteMultipartUploadResult",
        "PUT" if is_copy && has("partNumber") => "CopyPartResult",
        "PUT" if is_copy => "CopyObjectResult",
        _ => return None,
    })
}

/// Reads the rest of an answer.
async fn whole(
    mut answer: HttpResponse,
    root: Option<&'static str>,
) -> Result<HttpResponse, ConnectorError> {
    let is_success = answer.status().is_success();
    let coming = std::mem::replace(answer.body_mut(), SdkBody::taken());
    let mut body = read(ByteStream::new(coming)).await?;
    if let Some(root) = root.filter(|_| is_success) {
        body = with_root(body, root);
    }
    *answer.body_mut() = SdkBody::from(body);
    Ok(answer)
}

async fn read(mut stream: ByteStream) -> Result<Vec<u8>, ConnectorError> {
    let mut body = Vec::new();
    while let Some(piece) = in_time(limits::S3_BODY_WAIT, stream.next()).await? {
        body.extend_from_slice(&piece.map_err(|error| ConnectorError::io(error.into()))?);
        if body.len() > limits::S3_DOCUMENT_BYTES_MAX {
            return Err(ConnectorError::other(TooLong.into(), None));
        }
    }
    Ok(body)
}

/// A document with the root that the client wants, where it has another form of that name. AWS's own tools and s5cmd
/// do not look at the name: what answers to a new upload with `<InitiateMultipartUpload>` (`rclone serve s3`), or to
/// the question for parts with `<ListPartsResponse>` (moto), works for them.
fn with_root(body: Vec<u8>, wanted: &str) -> Vec<u8> {
    let Some(found) = root_of(&body) else { return body };
    if found == wanted || stem(found) != stem(wanted) {
        return body;
    }
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let renamed = text.replacen(&format!("<{found}"), &format!("<{wanted}"), 1);
    let (old, new) = (format!("</{found}"), format!("</{wanted}"));
    match renamed.rfind(&old) {
        Some(at) => [&renamed[..at], &new, &renamed[at + old.len()..]].concat().into_bytes(),
        None => renamed.into_bytes(),
    }
}

/// A root's name without the word for an answer at its end.
fn stem(name: &str) -> &str {
    ["Result", "Response", "Output"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The name of a document's first element.
fn root_of(body: &[u8]) -> Option<&str> {
    let mut rest = std::str::from_utf8(body).ok()?;
    loop {
        rest = rest.split_once('<')?.1;
        if !rest.starts_with(['?', '!']) {
            let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/')?;
            return Some(&rest[..end]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str) -> HttpRequest {
        let request = http::Request::builder().method(method).uri(uri).body(SdkBody::empty());
        HttpRequest::try_from(request.unwrap()).unwrap()
    }

    #[test]
    fn only_what_is_silent_while_it_works_may_take_long() {
        let of = |method, uri| head_wait(&request(method, uri));
        assert_eq!(of("GET", "http://h/b?list-type=2&prefix=a"), limits::S3_HEAD_WAIT);
        assert_eq!(of("HEAD", "http://h/b/k"), limits::S3_HEAD_WAIT);
        assert_eq!(of("POST", "http://h/b/k?uploads"), limits::S3_HEAD_WAIT);
        assert_eq!(of("POST", "http://h/b/k?uploadId=u"), limits::S3_ANSWER_WAIT);
        let mut copy = request("PUT", "http://h/b/k");
        copy.headers_mut().insert("x-amz-copy-source", "b/o");
        assert_eq!(head_wait(&copy), limits::S3_ANSWER_WAIT);
        let mut part = request("PUT", "http://h/b/k?partNumber=1&uploadId=u");
        *part.body_mut() = SdkBody::from(vec![0; 1 << 20]);
        assert!(head_wait(&part) > limits::S3_HEAD_WAIT);
    }

    #[test]
    fn content_is_not_read_ahead_and_documents_are() {
        assert!(asks_for_content(&request("GET", "http://h/b/k?x-id=GetObject")));
        assert!(asks_for_content(&request("GET", "http://h/b/list-type")));
        for query in ["list-type=2", "prefix=a", "uploads", "uploadId=u&x-id=ListParts", "tagging"]
        {
            assert!(
                !asks_for_content(&request("GET", &format!("http://h/b/k?{query}"))),
                "{query}"
            );
        }
        assert!(!asks_for_content(&request("PUT", "http://h/b/k")));
    }

    fn rooted(text: &str, wanted: &str) -> String {
        String::from_utf8(with_root(text.as_bytes().to_vec(), wanted)).unwrap()
    }

    #[test]
    fn other_forms_of_a_roots_name_are_taken_and_other_documents_are_not() {
        let of_rclone = "<?xml version=\"1.0\"?>\n<InitiateMultipartUpload xmlns=\"u\">\
                         <Key>InitiateMultipartUpload</Key></InitiateMultipartUpload>";
        let wanted = "<?xml version=\"1.0\"?>\n<InitiateMultipartUploadResult xmlns=\"u\">\
                      <Key>InitiateMultipartUpload</Key></InitiateMultipartUploadResult>";
        let root = "InitiateMultipartUploadResult";
        assert_eq!(rooted(of_rclone, root), wanted);
        assert_eq!(rooted("<ListPartsResponse/>", "ListPartsResult"), "<ListPartsResult/>");
        for other in
            ["<html></html>", "<Error><Code>x</Code></Error>", "", "text", "<ListBucketResult>"]
        {
            assert_eq!(rooted(other, root), other);
        }
    }
}
