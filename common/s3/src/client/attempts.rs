//! Hooks into every attempt of every request of the S3 client: when an attempt may begin, what its
//! answer says of the state of the service, and how many attempts a request has.

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_s3::config::endpoint::Params;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::endpoint::EndpointResolverParams;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use crate::client::endpoint::Routes;
use crate::client::limiter::{Answer, ConcurrencyLimiter, Permit};
use crate::client::liveness::{Liveness, Silence};
use crate::client::redirect;
use types::limits;

/// The status of a service that receives too many requests (RFC 6585, section 4).
pub(crate) const TOO_MANY_REQUESTS: u16 = 429;
/// The status that S3 uses for throttling instead.
const UNAVAILABLE: u16 = 503;

/// Error codes by which a service throttles, whatever the status. They also occur in the body of an
/// answer with status 200, which copies and completions of uploads begin before they are done
/// (Amazon S3 API Reference, "List of error codes").
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

/// The hooks of a service's client. They keep the number of concurrent requests within what the
/// service sustains, and end attempts at a service that does not answer.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The limiter of concurrent requests.
    pub limiter: Arc<ConcurrencyLimiter>,
    /// The record of whether the service answers at all.
    pub liveness: Arc<Liveness>,
    /// The regions and addresses of buckets.
    pub routes: Arc<Routes>,
    /// The greatest number of attempts of one request, including the first: `u32::MAX` unless the
    /// user limits it.
    pub attempts_max: u32,
}

/// Returns the retry policy of the client, with that many attempts of a request.
pub(crate) fn retries(attempts_max: u32) -> RetryConfig {
    // The client's adaptive mode lets one request per second pass after a few throttled ones, which
    // is too few for a mover; `ConcurrencyLimiter` limits concurrency instead.
    RetryConfig::standard()
        .with_max_attempts(attempts_max)
        .with_initial_backoff(limits::S3_BACKOFF_MIN)
        .with_max_backoff(limits::S3_BACKOFF_MAX)
}

/// The attempts of one request so far.
#[derive(Debug, Default)]
struct Tries {
    /// The permit of the current attempt, from its beginning to its answer.
    permit: Option<Permit>,
    /// The number of the service's answers, to any request, when the last attempt was counted.
    answers: u64,
    /// The number of failed attempts during which the service answered no request at all. They do
    /// not count against the limit.
    uncounted: u32,
    /// The time at which the last attempt began.
    began: Option<Instant>,
}

impl Storable for Tries {
    type Storer = StoreReplace<Self>;
}

impl Tries {
    /// Returns the greatest number of attempts after one without an answer. While a service answers
    /// nobody, requests wait for its return; a request that fails while others are answered gets a
    /// few attempts only.
    fn max_after(&mut self, silence: Silence, is_late: bool) -> u32 {
        match silence {
            // A service that has never answered most likely has a wrong address, so the first
            // request of a job fails soon instead of waiting for a restart.
            Silence { answers: 0, .. } if self.has_waited_for_head() => return 1,
            Silence { answers: 0, .. } if is_late => return limits::S3_FIRST_TIMEOUTS_MAX,
            Silence { answers: 0, .. } => return limits::S3_FIRST_ATTEMPTS_MAX,
            Silence { is_too_long: true, .. } => return 1,
            Silence { answers, .. } if answers == self.answers => self.uncounted += 1,
            Silence { answers, .. } => self.answers = answers,
        }
        limits::S3_ATTEMPTS_MAX + self.uncounted
    }
}

impl Tries {
    /// Returns whether the request was accepted but not answered for as long as an answer may take.
    fn has_waited_for_head(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= limits::S3_HEAD_WAIT)
    }
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    /// Waits for a permit, blocking the thread: it drives this one request and has nothing else to
    /// do.
    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let permit = Some(self.limiter.wait());
        let began = Some(Instant::now());
        if let Some(tries) = config.get_mut_from_interceptor_state::<Tries>() {
            (tries.permit, tries.began) = (permit, began);
        } else {
            let tries = Tries { permit, answers: self.liveness.answers(), uncounted: 0, began };
            config.interceptor_state().store_put(tries);
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let tries = config.get_mut_from_interceptor_state::<Tries>();
        if let Some(permit) = tries.and_then(|tries| tries.permit.take()) {
            let is_error = context.output_or_error().is_none_or(|outcome| outcome.is_err());
            permit.answered(answer(context.response(), is_error));
        }
        // Only an answer of the service itself shows that it is alive; a gateway answers for a dead
        // one too.
        if context.response().is_some_and(is_of_service) {
            self.liveness.answered();
            self.note_region(context, config);
            let error = context.output_or_error().and_then(Result::err);
            if error.is_some_and(OrchestratorError::is_response_error) {
                self.set_attempts(config, limits::S3_TORN_ATTEMPTS_MAX);
            }
        } else {
            self.unanswered(context, config);
        }
        Ok(())
    }
}

impl Watch {
    /// Sets how many attempts a request has, within the user's limit. The retry policy is replaced
    /// in the configuration of this request only, since the client offers no hook for a limit that
    /// depends on the outcome.
    fn set_attempts(&self, config: &mut ConfigBag, attempts_max: u32) {
        config.interceptor_state().store_put(retries(attempts_max.min(self.attempts_max)));
    }

    /// Records an attempt without an answer of the service, and sets how many attempts the request
    /// has.
    fn unanswered(&self, context: &FinalizerInterceptorContextRef<'_>, config: &mut ConfigBag) {
        let error = context.output_or_error().and_then(Result::err);
        let error = error.and_then(|error| error.as_connector_error());
        let is_late = error.is_some_and(ConnectorError::is_timeout);
        let silence = self.liveness.unanswered(Instant::now(), is_late);
        let tries = config.get_mut_from_interceptor_state::<Tries>();
        if let Some(tries) = tries {
            if silence.answers == 0 && tries.has_waited_for_head() {
                self.liveness.give_up();
            }
            let attempts_max = tries.max_after(silence, is_late);
            self.set_attempts(config, attempts_max);
        }
    }

    fn note_region(&self, context: &FinalizerInterceptorContextRef<'_>, config: &ConfigBag) {
        let Some(region) = context.response().and_then(redirect::elsewhere) else { return };
        let params = config.load::<EndpointResolverParams>().and_then(|all| all.get::<Params>());
        if let Some(bucket) = params.and_then(Params::bucket) {
            self.routes.moved(bucket, region);
        }
    }
}

/// Returns whether an answer comes from the service, not from a gateway in front of it that reports
/// the service as unavailable.
fn is_of_service(response: &HttpResponse) -> bool {
    let body = response.body().bytes().unwrap_or_default();
    answer_of_status(response.status().as_u16()) != Answer::Other
        && response.status().as_u16() != UNAVAILABLE
        || response.request_id().is_some()
        || code_in(&String::from_utf8_lossy(body)).is_some()
}

fn answer(response: Option<&HttpResponse>, is_error: bool) -> Answer {
    let Some(response) = response else { return Answer::Other };
    let status = response.status().as_u16();
    let body = response.body().bytes().unwrap_or_default();
    if is_error && is_busy(body) { Answer::Busy } else { answer_of_status(status) }
}

/// Returns what the status of an answer says of the service's load.
pub(crate) fn answer_of_status(status: u16) -> Answer {
    match status {
        TOO_MANY_REQUESTS | UNAVAILABLE => Answer::Busy,
        // An error such as "no such object" shows a working service as well as a success does.
        0..500 => Answer::Good,
        _ => Answer::Other,
    }
}

/// Returns whether a body is an S3 error with one of the codes that throttle.
fn is_busy(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    code_in(&text).is_some_and(|code| BUSY.contains(&code))
}

/// Returns the code of an S3 error document.
fn code_in(text: &str) -> Option<&str> {
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    Some(code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    #[track_caller]
    fn assert_answer(status: u16, body: &str, is_error: bool, expected: Answer) {
        let status = status.try_into().unwrap();
        let response = HttpResponse::new(status, SdkBody::from(body));
        assert_eq!(answer(Some(&response), is_error), expected);
    }

    fn silence(answers: u64, is_too_long: bool) -> Silence {
        Silence { answers, is_too_long }
    }

    #[test]
    fn where_nobody_has_ever_answered_few_tries_will_do() {
        let mut tries = Tries::default();
        assert_eq!(tries.max_after(silence(0, false), false), limits::S3_FIRST_ATTEMPTS_MAX);
        assert_eq!(tries.max_after(silence(0, false), true), limits::S3_FIRST_TIMEOUTS_MAX);
        assert_eq!(retries(3).max_attempts(), 3);
    }

    #[test]
    fn a_service_that_is_down_for_a_while_is_waited_for() {
        let mut tries = Tries { answers: 7, ..Tries::default() };
        for count in 1..=50 {
            let max = tries.max_after(silence(7, false), false);
            assert_eq!(max, limits::S3_ATTEMPTS_MAX + count);
        }
        // The service answers others, so this attempt counts.
        assert_eq!(tries.max_after(silence(8, false), false), limits::S3_ATTEMPTS_MAX + 50);
        assert_eq!(tries.max_after(silence(8, true), false), 1);
    }

    #[test]
    fn a_limit_of_the_user_holds_whatever_happens() {
        let watch = Watch {
            limiter: Arc::new(ConcurrencyLimiter::new(1)),
            liveness: Arc::new(Liveness::new(Duration::ZERO, "")),
            routes: Arc::default(),
            attempts_max: 3,
        };
        let mut config = ConfigBag::base();
        let mut tries = Tries { answers: 7, ..Tries::default() };
        watch.set_attempts(&mut config, tries.max_after(silence(7, false), false));
        let policy = config.load::<RetryConfig>().map(RetryConfig::max_attempts);
        assert_eq!(policy, Some(3));
    }

    #[test]
    fn a_gateways_words_are_not_the_services() {
        let of = |status: u16, body| {
            is_of_service(&HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        };
        assert!(of(200, "") && of(404, "") && of(429, ""));
        assert!(of(503, "<Error><Code>SlowDown</Code></Error>"));
        assert!(!of(502, "<html>") && !of(503, "No server is available"));
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
