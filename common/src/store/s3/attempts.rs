//! Each try of each request, as the client tells of it: when it may begin, and what its answer says of the
//! service.

use std::sync::Arc;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use super::pressure::{Answer, Place, Pressure};

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

/// Sees to it that no more requests are under way than the service bears.
#[derive(Debug)]
pub(super) struct Watch(pub Arc<Pressure>);

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
        config.interceptor_state().store_put(Held(Some(self.0.wait())));
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
        Ok(())
    }
}

fn answer(response: Option<&HttpResponse>, is_error: bool) -> Answer {
    let Some(response) = response else { return Answer::Other };
    let status = response.status().as_u16();
    let body = response.body().bytes().unwrap_or_default();
    if matches!(status, TOO_MANY_REQUESTS | UNAVAILABLE) || (is_error && is_busy(body)) {
        Answer::Busy
    } else if status < 500 {
        // That there is no such object is as good an answer as any.
        Answer::Good
    } else {
        Answer::Other
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
