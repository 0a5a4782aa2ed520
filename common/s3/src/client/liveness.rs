//! A record of whether a service answers at all, shared by all threads of a rank. A service may be
//! down for a while, which requests should outlast, or for good, which should end the job.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use types::limits::S3_SILENCE_TOLD;

/// The record of a service's answers to a rank.
#[derive(Debug)]
pub(crate) struct Liveness {
    give_up_after: Duration,
    /// The endpoint of the service, for display.
    endpoint: String,
    state: Mutex<State>,
}

/// The answers and the present silence of a service.
#[derive(Debug, Default)]
struct State {
    /// The number of answers to this rank, plus one if another rank has received an answer.
    answers: u64,
    /// The time at which an attempt ended without an answer for the first time since the last
    /// answer.
    silent_since: Option<Instant>,
    /// True if the user was told of the current silence.
    is_reported: bool,
    /// True if the service has been silent for too long, after which no request is sent.
    is_given_up: bool,
}

/// A state of the service after an attempt without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The number of answers before the silence.
    pub answers: u64,
    /// True if the silence has lasted longer than the operator wants to wait.
    pub is_too_long: bool,
}

impl Liveness {
    /// Creates the record of a service that is given up after a silence of that duration.
    pub fn new(give_up_after: Duration, endpoint: &str) -> Self {
        Self { give_up_after, endpoint: endpoint.to_owned(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the service has answered this rank or another.
    pub fn answered(&self) {
        let mut state = self.lock();
        state.answers += 1;
        state.silent_since = None;
        state.is_reported = false;
    }

    /// Returns the number of answers so far.
    pub fn answers(&self) -> u64 {
        self.lock().answers
    }

    /// Records that an attempt has ended without an answer. `is_late` says that it timed out, so
    /// that the user is told at once.
    pub fn unanswered(&self, now: Instant, is_late: bool) -> Silence {
        let mut state = self.lock();
        let since = *state.silent_since.get_or_insert(now);
        let time = now.duration_since(since);
        // A service that has never answered is judged by the attempts of its first request instead.
        let is_too_long = state.answers > 0 && time >= self.give_up_after;
        state.is_given_up |= is_too_long;
        if !state.is_reported && !is_too_long && (is_late || time >= S3_SILENCE_TOLD) {
            state.is_reported = true;
            tracing::warn!("no response from the S3 service ({}); retrying", self.endpoint);
        }
        Silence { answers: state.answers, is_too_long }
    }

    /// Tells the user that the first request of the job is still waiting for an answer.
    pub fn is_waited_for(&self) {
        let mut state = self.lock();
        if state.answers == 0 && !state.is_reported {
            state.is_reported = true;
            tracing::warn!("no response from the S3 service ({}) yet; waiting", self.endpoint);
        }
    }

    /// Gives the service up although it has never answered.
    pub fn give_up(&self) {
        self.lock().is_given_up = true;
    }

    /// Returns whether the service was given up, so that requests fail at once.
    pub fn is_given_up(&self) -> bool {
        self.lock().is_given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_given_up_when_nothing_was_answered_for_long() {
        let service = Liveness::new(Duration::from_mins(1), "http://host");
        let begin = Instant::now();
        let silent = |seconds| service.unanswered(begin + Duration::from_secs(seconds), false);
        let of = |answers, is_too_long| Silence { answers, is_too_long };
        // A service that has never answered is judged by its first request.
        assert_eq!([silent(0), silent(100)], [of(0, false); 2]);
        service.answered();
        assert_eq!([silent(200), silent(259)], [of(1, false); 2]);
        service.answered();
        assert_eq!(silent(300), of(2, false));
        assert!(!service.is_given_up());
        assert_eq!(silent(360), of(2, true));
        assert!(service.is_given_up());
    }
}
