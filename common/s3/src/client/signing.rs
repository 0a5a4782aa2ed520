//! Credentials shared by the threads of a rank. One thread renews them before they expire, while
//! the others continue with the old ones.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};

use crate::config::error::SettingsError;
use crate::config::resolve::renew;
use crate::config::settings::{Credentials, Settings};
use types::limits;

/// Credentials, and the state of their renewal.
pub(crate) struct Signing {
    settings: Settings,
    state: Mutex<State>,
    lead: Lead,
}

/// The present credentials, and whether a thread renews them.
struct State {
    keys: Credentials,
    /// The time at which to request new credentials; `None` if the present ones do not expire.
    due: Option<SystemTime>,
    is_renewing: bool,
}

/// The time before their expiry at which credentials are renewed. It is random on each rank, so
/// that thousands of ranks do not ask the credential service at the same moment.
#[derive(Debug, Clone, Copy)]
struct Lead {
    time: Duration,
    /// The greatest part of the remaining lifetime that `time` may take up, for credentials with a
    /// short one.
    share: f64,
}

impl Lead {
    fn by_chance() -> Self {
        let spread = limits::CREDENTIALS_AHEAD_MAX.saturating_sub(limits::CREDENTIALS_AHEAD_MIN);
        Self {
            time: limits::CREDENTIALS_AHEAD_MIN + spread.mul_f64(fastrand::f64()),
            share: (1.0 + fastrand::f64()) / 4.0,
        }
    }

    /// Returns the time at which to renew keys that remain valid for `left` from now on.
    fn due(self, now: SystemTime, left: Duration) -> SystemTime {
        now + left.saturating_sub(self.time.min(left.mul_f64(self.share)))
    }
}

/// The next step of a thread that needs credentials.
enum Step {
    Use(Credentials),
    Renew,
    Wait,
}

impl Signing {
    /// Begins with the credentials that rank 0 has obtained.
    pub fn new(settings: &Settings) -> Self {
        let (lead, keys) = (Lead::by_chance(), settings.credentials.clone());
        let now = SystemTime::now();
        let due = keys.time_left(now).map(|left| lead.due(now, left));
        let state = Mutex::new(State { keys, due, is_renewing: false });
        Self { settings: settings.clone(), state, lead }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns valid credentials, renewing them if that is due and no other thread does so.
    ///
    /// # Errors
    /// Returns an error if there are no credentials at all. Expired ones are returned if they
    /// cannot be renewed, so that the service's refusal is reported.
    pub async fn credentials(&self) -> Result<aws_credential_types::Credentials, CredentialsError> {
        loop {
            match self.step(SystemTime::now()) {
                Step::Use(keys) => {
                    let none = || CredentialsError::not_loaded("there are none");
                    return keys.for_client().ok_or_else(none);
                }
                Step::Renew => self.renew().await,
                Step::Wait => tokio::time::sleep(limits::CREDENTIALS_PAUSE).await,
            }
        }
    }

    /// Decides on the next step. A thread waits only if the credentials have expired while another
    /// renews them.
    fn step(&self, now: SystemTime) -> Step {
        let mut state = self.lock();
        let is_due = state.due.is_some_and(|due| now >= due);
        match (is_due, state.is_renewing) {
            (true, false) => {
                state.is_renewing = true;
                Step::Renew
            }
            (_, true) if state.keys.time_left(now) == Some(Duration::ZERO) => Step::Wait,
            _ => Step::Use(state.keys.clone()),
        }
    }

    async fn renew(&self) {
        let renewed = renew(&self.settings).await;
        self.renewed(renewed, SystemTime::now());
    }

    /// Stores new keys. If the renewal failed, the old keys stay in use and the next attempt is
    /// scheduled.
    fn renewed(&self, renewed: Result<Credentials, SettingsError>, now: SystemTime) {
        let mut state = self.lock();
        match renewed {
            Ok(keys) => state.keys = keys,
            Err(why) => tracing::warn!("credentials are not renewed: {why}"),
        }
        state.is_renewing = false;
        // Without a lower bound, a credential service that fails would be asked with every request.
        let again = now + limits::CREDENTIALS_AGAIN_MIN;
        let left = state.keys.time_left(now);
        state.due = left.map(|left| self.lead.due(now, left).max(again));
    }
}

/// A provider of the shared credentials for the S3 client.
pub(crate) struct SharedSigning(pub Arc<Signing>);

impl fmt::Debug for SharedSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSigning")
    }
}

impl ProvideCredentials for SharedSigning {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.credentials())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Secret;

    const MINUTE: Duration = Duration::from_mins(1);

    fn keys(now: SystemTime, left: Duration) -> Credentials {
        let expires = now.duration_since(SystemTime::UNIX_EPOCH).unwrap() + left;
        Credentials::Keys {
            access_key_id: "AK".into(),
            secret_access_key: Secret::new("hush"),
            session_token: None,
            expires_seconds: Some(expires.as_secs()),
        }
    }

    fn signing(now: SystemTime, left: Duration) -> Signing {
        let lead = Lead { time: 10 * MINUTE, share: 0.5 };
        let state =
            State { keys: keys(now, left), due: Some(lead.due(now, left)), is_renewing: false };
        let settings = crate::config::resolve::anonymous_settings();
        Signing { settings, state: Mutex::new(state), lead }
    }

    fn word(step: &Step) -> &'static str {
        match step {
            Step::Use(_) => "use",
            Step::Renew => "renew",
            Step::Wait => "wait",
        }
    }

    #[test]
    fn keys_of_a_few_minutes_are_renewed_once_and_not_with_each_request() {
        let now = SystemTime::now();
        let own = signing(now, 4 * MINUTE);
        assert_eq!(word(&own.step(now + MINUTE)), "use");
        let half = now + 2 * MINUTE + Duration::from_secs(1);
        assert_eq!(word(&own.step(half)), "renew");
        assert_eq!(word(&own.step(half)), "use", "another one is at it");
        assert_eq!(word(&own.step(now + 5 * MINUTE)), "wait", "the old ones have expired");
        own.renewed(Ok(keys(half, 4 * MINUTE)), half);
        assert_eq!(word(&own.step(half)), "use");
        assert_eq!(word(&own.step(half + MINUTE)), "use");
    }

    #[test]
    fn what_cannot_be_renewed_is_not_asked_for_with_each_request() {
        let now = SystemTime::now();
        let own = signing(now, Duration::ZERO);
        assert_eq!(word(&own.step(now)), "renew");
        own.renewed(Err(SettingsError::NoClient), now);
        assert_eq!(word(&own.step(now)), "use", "they may serve a little longer");
        assert_eq!(word(&own.step(now + limits::CREDENTIALS_AGAIN_MIN)), "renew");
    }

    #[test]
    fn long_lived_keys_are_renewed_minutes_before() {
        let (now, lead) = (SystemTime::now(), Lead { time: 10 * MINUTE, share: 0.5 });
        assert_eq!(lead.due(now, 60 * MINUTE), now + 50 * MINUTE);
        assert_eq!(lead.due(now, 4 * MINUTE), now + 2 * MINUTE);
        let by_chance = Lead::by_chance();
        assert!((0.25..=0.5).contains(&by_chance.share));
        assert!(by_chance.time >= limits::CREDENTIALS_AHEAD_MIN);
    }
}
