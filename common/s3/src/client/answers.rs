//! Checks of answers between the connection and the S3 client, where each request also waits for
//! its token of a limited rate. The head of an answer must arrive in time, documents are read as a
//! whole within bounds, and a root element of a deviating name is renamed to the one that the
//! client expects.

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
use host::throttle;
use types::limits;

/// Connections whose answers are checked.
#[derive(Debug)]
struct Answers {
    connections: SharedHttpConnector,
    liveness: Arc<Liveness>,
}

/// Wraps connections so that their answers are checked.
pub(crate) fn checked(
    connections: SharedHttpConnector,
    liveness: &Arc<Liveness>,
) -> SharedHttpConnector {
    SharedHttpConnector::new(Answers { connections, liveness: Arc::clone(liveness) })
}

/// The error of an answer that is longer than any legitimate one.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {} MiB", limits::S3_DOCUMENT_BYTES_MAX >> 20)]
pub(crate) struct TooLong;

impl HttpConnector for Answers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wait = head_wait(&request);
        let is_content = asks_for_content(&request);
        let root = expected_root(&request);
        let asked = Asked::of(&request);
        let connections = self.connections.clone();
        let liveness = Arc::clone(&self.liveness);
        HttpConnectorFuture::new(async move {
            while let Err(wait) = throttle::try_request() {
                tokio::time::sleep(wait).await;
            }
            let answer = connections.call(request);
            let answer = in_time(wait, told_of(&liveness, answer)).await??;
            // The content of an object is streamed by its reader; everything else is small enough
            // to be held.
            if is_content && answer.status().is_success() {
                return Ok(answer);
            }
            let mut answer = whole(answer, root).await?;
            asked.mark(&mut answer);
            Ok(answer)
        })
    }
}

/// Runs the work, and tells the user what is waited for if it takes long.
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

/// Returns how long the head of the answer may take. Copies and completions of uploads may be
/// silent for minutes while the service works; all other requests are answered as soon as they have
/// arrived.
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

/// Returns whether a successful answer to the request is an object's content; all others are
/// documents.
fn asks_for_content(request: &HttpRequest) -> bool {
    // The S3 client names the operation in the parameter `x-id`. Requests of the fast path, which
    // read whole objects, have no query.
    let has_query = request.uri().contains('?');
    request.method() == "GET" && (!has_query || parameter(request, "x-id") == Some("GetObject"))
}

/// Returns a parameter of the request's query, which is empty for a parameter without a value.
fn parameter<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let (_, query) = request.uri().split_once('?')?;
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((own, value)) => (own == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

/// Returns the name that the client expects of the root element in the answer to a request.
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

/// Reads the rest of an answer, within bounds of time and size.
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

/// Reads a body to its end. Each piece must arrive in time, and the whole must not exceed the
/// bound, so that a faulty server can neither hold a thread nor exhaust memory.
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

/// Renames the root of a document to the name that the client expects, where it is another form of
/// that name. AWS's own tools and s5cmd ignore the name, so services that answer to a new upload
/// with `<InitiateMultipartUpload>` (`rclone serve s3`), or to ListParts with `<ListPartsResponse>`
/// (moto), work with them.
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

/// Returns the name of a root without the suffix that denotes an answer.
fn stem(name: &str) -> &str {
    ["Result", "Response", "Output"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Returns the name of the first element in a document.
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
