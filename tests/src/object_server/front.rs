//! Between the connection and the protocol: counts, delays, refusals, cut bodies.
//!
//! What a client sees of a server in trouble is seen at this level, and holds for every request alike.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response};
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3Error, S3ErrorCode};

use super::backend::Backend;
use super::behaviour::{Behaviour, Quirk};
use super::counts::{Counter, Operation};
use super::sums::wrong_hash;

/// Answers requests.
#[derive(Debug, Clone)]
pub struct Front {
    /// Speaks S3.
    pub protocol: S3Service,
    /// Knows the behaviour.
    pub backend: Arc<Backend>,
    /// Counts requests.
    pub counter: Arc<Counter>,
}

impl Front {
    /// Answers one.
    pub async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
        let behaviour = self.backend.behaviour();
        let operation = Operation::of(&request);
        let (total, of_its_kind) = self.counter.with(|counts| {
            *counts.requests.entry(operation).or_default() += 1;
            (counts.total(), counts.of(operation))
        });
        if behaviour.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
        }
        if is_nth(total, behaviour.refuse_every) {
            self.counter.with(|counts| counts.refused += 1);
            return refuse(request, S3Error::new(S3ErrorCode::SlowDown)).await;
        }
        if let Some(error) = objection(&request, &behaviour) {
            return refuse(request, error).await;
        }
        let answer = self.protocol.call(request.map(Body::from)).await?;
        let is_cut = operation == Operation::GetObject
            && is_nth(of_its_kind, behaviour.cut_every)
            && answer.body().size_hint().lower() > behaviour.cut_after_bytes;
        if !is_cut {
            return Ok(answer);
        }
        self.counter.with(|counts| counts.cut += 1);
        let left_bytes = behaviour.cut_after_bytes;
        Ok(answer
            .map(|body| Body::http_body_unsync(CutBody { body, left_bytes, is_flushed: false })))
    }
}

fn is_nth(count: u64, every: u64) -> bool {
    every > 0 && count.is_multiple_of(every)
}

/// What a quirk has against a request.
fn objection<B>(request: &Request<B>, behaviour: &Behaviour) -> Option<S3Error> {
    let headers = request.headers();
    let hash = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    let has_trailer = hash.is_some_and(|hash| hash.ends_with("-TRAILER"));
    if has_trailer && behaviour.has(Quirk::NoTrailers) {
        return Some(wrong_hash());
    }
    let is_copy = headers.contains_key("x-amz-copy-source");
    let lacks_length = is_copy && !headers.contains_key(CONTENT_LENGTH);
    (lacks_length && behaviour.has(Quirk::CopyNeedsLength))
        .then(|| S3Error::new(S3ErrorCode::MissingContentLength))
}

/// An error, after the whole request was read: so the client sees the answer, not a closed connection.
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

/// A body that breaks off.
struct CutBody {
    body: Body,
    left_bytes: u64,
    is_flushed: bool,
}

impl hyper::body::Body for CutBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left_bytes == 0 {
            // One turn of waiting lets the connection send what it has.
            if !std::mem::replace(&mut self.is_flushed, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err("the body is cut, as the server was told to".into())));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        data.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        self.left_bytes -= data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// What the headers promise: more than comes.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
