//! Each try of each request, as the client tells of it: when it may begin, what its answer says of the
//! service, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use super::pressure::{Answer, Place, Pressure};
use crate::base::limits;

/// Status of a service that gets too many requests (RFC 6585, 4).
pub(super) const TOO_MANY_REQUESTS: u16 = 429;
/// What S3 says instead.
const UNAVAILABLE: u16 = 503;

/// Codes by which a service asks for fewer requests, whatever its status; also in the body of an answer with
/// 200, with which copies and completions begin before they are done (Amazon S3 API Reference, "List of error
/// codes").
const BUSY: [&str; 8] = [
    "SlowDown",
    "RequestTimeout",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
];

/// Sees to it that no more requests are under way than the service bears, and that none is sent often to
/// where nobody is.
#[derive(Debug)]
pub(super) struct Watch {
    /// Requests under way.
    pub pressure: Arc<Pressure>,
    /// The service has answered, to this rank or another.
    pub has_answered: Arc<AtomicBool>,
}

/// How a try ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// At once: there is no such host, or nobody listens.
    Refused,
    /// It took as long as it may.
    TimedOut,
}

/// When a request is tried again, and how often.
pub(super) fn retries(attempts_max: u32) -> RetryConfig {
    // Not the adaptive one: after a few refusals it lets one request a second pass. `Pressure` is there
    // instead.
    RetryConfig::standard()
        .with_max_attempts(attempts_max)
        .with_initial_backoff(limits::S3_BACKOFF_MIN)
        .with_max_backoff(limits::S3_BACKOFF_MAX)
}

/// Tries of a request that got no answer, at most.
fn attempts_max(silence: Silence, has_answered: bool) -> u32 {
    match silence {
        _ if has_answered => limits::S3_ATTEMPTS_MAX,
        Silence::Refused => limits::S3_FIRST_ATTEMPTS_MAX,
        Silence::TimedOut => limits::S3_FIRST_TIMEOUTS_MAX,
    }
}

/// A try's place, from its beginning to its answer.
#[derive(Debug)]
struct Held(Option<Place>);

impl Storable for Held {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    /// Waits without giving the thread away: it has nothing else to do, it drives this one request.
    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Held(Some(self.pressure.wait())));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let held = config.get_mut_from_interceptor_state::<Held>();
        if let Some(place) = held.and_then(|held| held.0.take()) {
            let is_error = context.output_or_error().is_none_or(|outcome| outcome.is_err());
            place.answered(answer(context.response(), is_error));
        }
        if context.response().is_some() {
            self.has_answered.store(true, Ordering::Relaxed);
        } else {
            let error = context.output_or_error().and_then(Result::err);
            let error = error.and_then(|error| error.as_connector_error());
            let is_late = error.is_some_and(ConnectorError::is_timeout);
            let silence = if is_late { Silence::TimedOut } else { Silence::Refused };
            let has_answered = self.has_answered.load(Ordering::Relaxed);
            config.interceptor_state().store_put(retries(attempts_max(silence, has_answered)));
        }
        Ok(())
    }
}

fn answer(response: Option<&HttpResponse>, is_error: bool) -> Answer {
    let Some(response) = response else { return Answer::Other };
    let status = response.status().as_u16();
    let body = response.body().bytes().unwrap_or_default();
    if is_error && is_busy(body) { Answer::Busy } else { answer_of_status(status) }
}

/// What an answer's status alone says of the service.
pub(super) fn answer_of_status(status: u16) -> Answer {
    match status {
        TOO_MANY_REQUESTS | UNAVAILABLE => Answer::Busy,
        // That there is no such object is as good an answer as any.
        0..500 => Answer::Good,
        _ => Answer::Other,
    }
}

/// An error of S3 with one of the codes.
fn is_busy(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.is_some_and(|(code, _)| BUSY.contains(&code))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    #[track_caller]
    fn assert_answer(status: u16, body: &str, is_error: bool, expected: Answer) {
        let status = status.try_into().unwrap();
        let response = HttpResponse::new(status, SdkBody::from(body));
        assert_eq!(answer(Some(&response), is_error), expected);
    }

    #[test]
    fn where_nobody_has_ever_answered_few_tries_will_do() {
        assert_eq!(attempts_max(Silence::Refused, true), limits::S3_ATTEMPTS_MAX);
        assert_eq!(attempts_max(Silence::TimedOut, true), limits::S3_ATTEMPTS_MAX);
        let first = [Silence::Refused, Silence::TimedOut].map(|of| attempts_max(of, false));
        assert_eq!(first, [limits::S3_FIRST_ATTEMPTS_MAX, limits::S3_FIRST_TIMEOUTS_MAX]);
        assert_eq!(retries(3).max_attempts(), 3);
    }

    #[test]
    fn what_an_answer_says_of_the_service() {
        let slow = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code></Error>";
        assert_answer(503, "", true, Answer::Busy);
        assert_answer(429, "", true, Answer::Busy);
        assert_answer(400, "<Error><Code>RequestTimeout</Code></Error>", true, Answer::Busy);
        assert_answer(200, slow, true, Answer::Busy);
        assert_answer(200, slow, false, Answer::Good); // an object with that content
        assert_answer(404, "<Error><Code>NoSuchKey</Code></Error>", true, Answer::Good);
        assert_answer(500, "<Error><Code>InternalError</Code></Error>", true, Answer::Other);
        assert_eq!(answer(None, true), Answer::Other);
    }
}
