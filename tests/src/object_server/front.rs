//! Layer between the connection and the protocol: counts, delays, refusals, cut bodies.
//!
//! The faults that a client sees of a server in trouble are made at this level, and apply to every
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3Error, S3ErrorCode};
use types::object::header_text;

use super::backend::Backend;
use super::behaviour::{Behaviour, FAST_CLOCK_AHEAD, Quirk};
use super::bodies::{CutBody, SpoiltBody};
use super::counts::{Counter, Operation};
use super::sums::wrong_hash;
use super::tearing::torn;

/// Handler of all requests.
#[derive(Debug, Clone)]
pub struct Front {
    /// Implementation of S3's protocol.
    pub protocol: S3Service,
    /// Backend, with the behaviour.
    pub backend: Arc<Backend>,
    /// Counter of requests.
    pub counter: Arc<Counter>,
    /// Number of requests in progress.
    pub under_way: Arc<AtomicU64>,
    /// Bytes sent in bodies without an end.
    pub endless_bytes: Arc<AtomicU64>,
}

impl Front {
    /// Answers a request.
    pub async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
        let behaviour = self.backend.behaviour();
        let operation = Operation::of(&request);
        let (total, of_its_kind) = self.counter.with(|counts| {
            *counts.requests.entry(operation).or_default() += 1;
            (counts.total(), counts.of(operation))
        });
        let one_more = UnderWay::of(&self.under_way);
        let one_more_list = ListUnderWay::of(&request, operation, &self.counter);
        if behaviour.bears > 0 && one_more.beside > behaviour.bears {
            self.counter.with(|counts| counts.refused += 1);
            return refuse(request, busy(&behaviour)).await;
        }
        if behaviour.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
        }
        self.hold(operation, of_its_kind).await;
        self.hold_key(request.uri().path()).await;
        if is_nth(total, behaviour.refuse_every) {
            self.counter.with(|counts| counts.refused += 1);
            return refuse(request, busy(&behaviour)).await;
        }
        let is_read =
            matches!(operation, Operation::GetObject | Operation::HeadObject | Operation::HeadPart);
        let denies_reads = behaviour.has(Quirk::DeniesReads);
        let denies_lists = denies_reads || behaviour.has(Quirk::DeniesLists);
        let is_denied = operation.lists() && (denies_lists || of_its_kind == behaviour.deny_list);
        if is_denied || (is_read && denies_reads) {
            return refuse(request, S3Error::new(S3ErrorCode::AccessDenied)).await;
        }
        if let Some(error) = objection(&request, &behaviour) {
            return refuse(request, error).await;
        }
        let mut request = request.map(Body::from);
        if operation.stores_content() && is_nth(of_its_kind, behaviour.spoil_puts_every) {
            request = request.map(|body| self.spoil(body));
        }
        let mut answer = self.protocol.call(request).await?;
        drop(one_more_list);
        self.hold_new_upload(operation).await;
        dress(answer.headers_mut(), &behaviour);
        let tearing = behaviour.tearing.as_ref().filter(|_| answer.status().is_success());
        if let Some(how) = tearing.and_then(|it| it.of(operation, of_its_kind, total)) {
            let (answer, is_torn) = torn(answer, how, self.endless_bytes.clone()).await?;
            if is_torn {
                self.counter.with(|counts| *counts.torn.entry(operation).or_default() += 1);
            }
            return Ok(answer);
        }
        if operation != Operation::GetObject || !answer.status().is_success() {
            return Ok(answer);
        }
        Ok(answer.map(|body| self.mistreat(body, of_its_kind, &behaviour)))
    }

    /// Waits for as long as the behaviour holds the n-th request of its kind.
    async fn hold(&self, operation: Operation, of_its_kind: u64) {
        while self.backend.behaviour().holds(operation, of_its_kind) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for as long as the behaviour holds requests for that object.
    async fn hold_key(&self, path: &str) {
        if self.backend.behaviour().holds_key(path) {
            self.counter.with(|counts| counts.held += 1);
        }
        while self.backend.behaviour().holds_key(path) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Holds back the answer about a new upload for as long as the behaviour says so.
    async fn hold_new_upload(&self, operation: Operation) {
        let is_new = operation == Operation::CreateMultipartUpload;
        while is_new && self.backend.behaviour().hold_new_uploads {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn spoil(&self, body: Body) -> Body {
        self.counter.with(|counts| counts.spoilt += 1);
        SpoiltBody::of(body)
    }

    /// Damages the body of the n-th answer to GetObject.
    fn mistreat(&self, body: Body, number: u64, behaviour: &Behaviour) -> Body {
        let cut_after_bytes = behaviour.cut_after_bytes;
        if is_nth(number, behaviour.cut_every) && body.size_hint().lower() > cut_after_bytes {
            self.counter.with(|counts| counts.cut += 1);
            CutBody::of(body, cut_after_bytes)
        } else if is_nth(number, behaviour.spoil_gets_every) {
            self.spoil(body)
        } else {
            body
        }
    }
}

/// A request in progress.
struct UnderWay<'c> {
    all: &'c AtomicU64,
    /// Number of requests in progress, this one included.
    beside: u64,
}

impl<'c> UnderWay<'c> {
    fn of(all: &'c AtomicU64) -> Self {
        Self { all, beside: all.fetch_add(1, Ordering::SeqCst) + 1 }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A list of objects in progress.
struct ListUnderWay<'c> {
    prefix: String,
    counter: &'c Counter,
}

impl<'c> ListUnderWay<'c> {
    /// Counts a list by its prefix, as it is encoded in the request.
    fn of<B>(request: &Request<B>, operation: Operation, counter: &'c Counter) -> Option<Self> {
        let query = request.uri().query().filter(|_| operation == Operation::ListObjectsV2)?;
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
        let prefix = prefix.unwrap_or_default().to_owned();
        counter.with(|counts| counts.lists_at_once.entry(prefix.clone()).or_default().begin());
        Some(Self { prefix, counter })
    }
}

impl Drop for ListUnderWay<'_> {
    fn drop(&mut self) {
        self.counter.with(|counts| {
            counts.lists_at_once.entry(std::mem::take(&mut self.prefix)).or_default().end();
        });
    }
}

/// Changes the headers of an answer as quirks require.
fn dress(headers: &mut HeaderMap, behaviour: &Behaviour) {
    if behaviour.has(Quirk::RawMetadata) {
        let of_users = headers.iter_mut().filter(|it| it.0.as_str().starts_with("x-amz-meta-"));
        for (_, value) in of_users {
            let text = header_text::decode(value.to_str().unwrap_or_default());
            let latin1: Option<Vec<u8>> = text.chars().map(|it| u8::try_from(it).ok()).collect();
            let raw = HeaderValue::from_bytes(&latin1.unwrap_or(text.into_bytes()));
            *value = raw.unwrap_or(value.clone());
        }
    }
    if behaviour.has(Quirk::FastClock) {
        let mut date = Vec::new();
        let ahead = Timestamp::from(SystemTime::now() + FAST_CLOCK_AHEAD);
        let is_written = ahead.format(TimestampFormat::HttpDate, &mut date).is_ok();
        let date = HeaderValue::from_bytes(&date).ok().filter(|_| is_written);
        headers.extend(date.map(|date| (DATE, date)));
    }
}

fn busy(behaviour: &Behaviour) -> S3Error {
    if !behaviour.has(Quirk::TooManyRequests) {
        return S3Error::new(S3ErrorCode::SlowDown);
    }
    let mut error = S3Error::new(S3ErrorCode::Custom("TooManyRequests".into()));
    error.set_status_code(hyper::StatusCode::TOO_MANY_REQUESTS);
    error
}

fn is_nth(count: u64, every: u64) -> bool {
    every > 0 && count.is_multiple_of(every)
}

/// Returns the error with which a quirk refuses a request.
fn objection<B>(request: &Request<B>, behaviour: &Behaviour) -> Option<S3Error> {
    let headers = request.headers();
    let hash = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    let has_trailer = hash.is_some_and(|hash| hash.ends_with("-TRAILER"));
    if has_trailer && behaviour.has(Quirk::NoTrailers) {
        return Some(wrong_hash());
    }
    let is_checksum = |name: &str| name.starts_with("x-amz-checksum-") && !name.ends_with("-mode");
    let names_checksum = headers.keys().any(|name| is_checksum(name.as_str()));
    if names_checksum && behaviour.has(Quirk::RefusesChecksums) {
        return Some(S3Error::new(S3ErrorCode::NotImplemented));
    }
    if !headers.contains_key("amz-sdk-request") && behaviour.has(Quirk::OwnClientOnly) {
        return Some(S3Error::new(S3ErrorCode::AccessDenied));
    }
    let is_copy = headers.contains_key("x-amz-copy-source");
    let lacks_length = is_copy && !headers.contains_key(CONTENT_LENGTH);
    (lacks_length && behaviour.has(Quirk::CopyNeedsLength))
        .then(|| S3Error::new(S3ErrorCode::MissingContentLength))
}

/// Sends an error after the whole request was read, so that the client sees the answer, not a
/// closed connection.
async fn refuse(
    request: Request<Incoming>,
    mut error: S3Error,
) -> Result<Response<Body>, HttpError> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| HttpError::new(Box::new(error)))?;
    }
    error.set_message("as the server was told to");
    error.to_http_response().map_err(|error| HttpError::new(Box::new(error)))
}
