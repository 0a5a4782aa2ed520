//! Headers of answers, before the S3 client reads them: converted to text that it can parse, and
//! evaluated for the service's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};

use types::object::header_text;

/// The upper bound, in milliseconds, by which a service's clock is ahead of this node's, as its
/// answers tell.
#[derive(Debug)]
pub(crate) struct ServiceClock(AtomicI64);

impl Default for ServiceClock {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl ServiceClock {
    /// Returns the upper bound by which the service's clock is ahead, at least zero; `None` if no
    /// answer has told the time.
    pub fn ahead(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            i64::MAX => None,
            ahead_ms => Some(Duration::from_millis(ahead_ms.max(0) as u64)),
        }
    }

    /// Records the `Date` of an answer to a request that was sent at `sent`. The answer was written
    /// after that, so date minus `sent` bounds the offset from above. A date has whole seconds, so
    /// up to a second is added; the lowest bound of all answers holds.
    fn note(&self, sent: SystemTime, date: &str) {
        let Ok(date) = DateTime::from_str(date, DateTimeFormat::HttpDate) else { return };
        let sent_ms = sent.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let date_ms = date.secs().saturating_add(1).saturating_mul(1000);
        self.0.fetch_min(date_ms.saturating_sub(sent_ms), Ordering::Relaxed);
    }
}

/// Connections whose answers have headers of UTF-8 text.
#[derive(Debug)]
struct Readable {
    connections: SharedHttpConnector,
    clock: Arc<ServiceClock>,
}

/// Wraps connections so that their answers set the clock, and have headers in UTF-8 only. The
/// client ignores other headers, or rejects the whole answer.
pub(crate) fn readable(
    connections: SharedHttpConnector,
    clock: Arc<ServiceClock>,
) -> SharedHttpConnector {
    SharedHttpConnector::new(Readable { connections, clock })
}

impl HttpConnector for Readable {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, clock) = (self.connections.call(request), Arc::clone(&self.clock));
        let sent = SystemTime::now();
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            if let Some(date) = answer.headers().get_bytes("date") {
                clock.note(sent, &String::from_utf8_lossy(date));
            }
            make_readable(&mut answer);
            Ok(answer)
        })
    }
}

/// Converts header values that are not UTF-8.
fn make_readable(answer: &mut HttpResponse) {
    let is_other = |(_, value): &(&str, &[u8])| std::str::from_utf8(value).is_err();
    let others = answer.headers().iter_bytes().filter(is_other);
    let readable: Vec<(String, String)> =
        others.map(|(name, value)| (name.to_owned(), header_text::of_bytes(value))).collect();
    for (name, value) in readable {
        // Insertion fails only for control characters, and no received header has any.
        let _ = answer.headers_mut().try_insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bound_holds_and_a_late_clock_is_not_ahead() {
        let clock = ServiceClock::default();
        assert_eq!(clock.ahead(), None);
        let at = |ms: u64| UNIX_EPOCH + Duration::from_millis(ms);
        clock.note(at(0), "nonsense");
        assert_eq!(clock.ahead(), None);
        clock.note(at(1_500), "Thu, 01 Jan 1970 00:01:01 GMT");
        assert_eq!(clock.ahead(), Some(Duration::from_millis(60_500)));
        clock.note(at(2_000), "Thu, 01 Jan 1970 00:01:02 GMT");
        clock.note(at(2_900), "Thu, 01 Jan 1970 00:01:02 GMT");
        assert_eq!(clock.ahead(), Some(Duration::from_millis(60_100)));
        clock.note(at(90_000), "Thu, 01 Jan 1970 00:01:02 GMT");
        assert_eq!(clock.ahead(), Some(Duration::ZERO));
    }
}
