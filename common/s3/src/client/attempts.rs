//! Each try of each request, as the client tells of it: when it may begin, what its answer says of the
//! service, and how many there may be.

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
use crate::client::liveness::{Liveness, Silence};
use crate::client::pressure::{Answer, Place, Pressure};
use crate::client::redirect;
use types::limits;

/// Status of a service that gets too many requests (RFC 6585, 4).
pub(crate) const TOO_MANY_REQUESTS: u16 = 429;
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
pub(crate) struct Watch {
    /// Requests under way.
    pub pressure: Arc<Pressure>,
    /// Whether the service answers at all.
    pub liveness: Arc<Liveness>,
    /// Where buckets are.
    pub routes: Arc<Routes>,
    /// Tries of one request, the first among them.
    pub attempts_max: u32,
}

/// When a request is tried again, and how often.
pub(crate) fn retries(attempts_max: u32) -> RetryConfig {
    // Not the adaptive one: after a few refusals it lets one request a second pass. `Pressure` is there
    // instead.
    RetryConfig::standard()
        .with_max_attempts(attempts_max)
        .with_initial_backoff(limits::S3_BACKOFF_MIN)
        .with_max_backoff(limits::S3_BACKOFF_MAX)
}

/// A request's tries so far.
#[derive(Debug, Default)]
struct Tries {
    /// The place of the one under way, from its beginning to its answer.
    place: Option<Place>,
    /// Answers of the service, to whatever request, when the last try was counted.
    answers: u64,
    /// Those that were in vain because the service answered nobody: they do not count.
    uncounted: u32,
    /// When the last try began.
    began: Option<Instant>,
}

impl Storable for Tries {
    type Storer = StoreReplace<Self>;
}

impl Tries {
    /// How many there may be after one that got no answer. While a service is down for a while, requests wait for
    /// it; what fails while others get answers is tried a few times.
    fn max_after(&mut self, silence: Silence, is_late: bool) -> u32 {
        match silence {
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
    /// The request was taken, and nothing came for as long as an answer may take.
    fn has_waited_for_head(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= limits::S3_HEAD_WAIT)
    }
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
        let place = Some(self.pressure.wait());
        let began = Some(Instant::now());
        if let Some(tries) = config.get_mut_from_interceptor_state::<Tries>() {
            (tries.place, tries.began) = (place, began);
        } else {
            let tries = Tries { place, answers: self.liveness.answers(), uncounted: 0, began };
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
        if let Some(place) = tries.and_then(|tries| tries.place.take()) {
            let is_error = context.output_or_error().is_none_or(|outcome| outcome.is_err());
            place.answered(answer(context.response(), is_error));
        }
        if context.response().is_some_and(is_of_service) {
            self.liveness.answered();
            self.note_region(context, config);
            let error = context.output_or_error().and_then(Result::err);
            if error.is_some_and(OrchestratorError::is_response_error) {
                let attempts_max = limits::S3_TORN_ATTEMPTS_MAX.min(self.attempts_max);
                config.interceptor_state().store_put(retries(attempts_max));
            }
        } else {
            self.unanswered(context, config);
        }
        Ok(())
    }
}

impl Watch {
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
            let attempts_max = tries.max_after(silence, is_late).min(self.attempts_max);
            config.interceptor_state().store_put(retries(attempts_max));
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

/// Not of something that stands before the service, and says that nothing is behind it.
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

/// What an answer's status alone says of the service.
pub(crate) fn answer_of_status(status: u16) -> Answer {
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
    code_in(&text).is_some_and(|code| BUSY.contains(&code))
}

/// The code of an error of S3.
fn code_in(text: &str) -> Option<&str> {
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    Some(code)
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
        // It answers others: this one counts.
        assert_eq!(tries.max_after(silence(8, false), false), limits::S3_ATTEMPTS_MAX + 50);
        assert_eq!(tries.max_after(silence(8, true), false), 1);
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
