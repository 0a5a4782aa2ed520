//! Limits of the rate at which a job moves bytes and makes requests, and how ranks share them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{RATE_BURST, RATE_CARRIED, RATE_LEAST_SHARE, RATE_MADE_UP, RATE_MARGIN};
use crate::size::{Unmeasured, human_bytes, parse_positive_bytes};

/// Number of kinds of work that have a rate.
pub const KINDS: usize = 5;

/// Kind of work that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Bytes written to any store.
    Written = 0,
    /// Bytes read from any store.
    Read = 1,
    /// Bytes sent to a service or another host.
    Uploaded = 2,
    /// Bytes received from there.
    Downloaded = 3,
    /// Operations on entries and blocks.
    Operations = 4,
}

/// Limits of a whole job; `None` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Work of each kind in a second.
    pub per_second: [Option<u64>; KINDS],
    /// True while nothing is to begin.
    pub is_paused: bool,
}

impl Rates {
    /// Limits of nothing.
    pub const NONE: Self = Self { per_second: [None; KINDS], is_paused: false };

    /// Returns true where nothing is limited.
    pub fn are_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns true where only transfers to and from a service are limited in bandwidth.
    pub fn are_of_services(&self) -> bool {
        self.rate_of(Work::Uploaded).or(self.rate_of(Work::Downloaded)).is_some()
    }

    fn rate_of(&self, work: Work) -> Option<u64> {
        self.per_second[work as usize]
    }

    /// Sets the bandwidth: `RATE` of what is written, and of what is read; or `UP:DOWN` of what is
    /// sent to services and other hosts, and received from there, as in rclone. `off` and `0` set
    /// no limit.
    ///
    /// # Errors
    /// Fails for text that is no rate.
    pub fn set_bandwidth(&mut self, text: &str) -> Result<(), RateError> {
        let all = match text.split_once(':') {
            _ if text.contains(',') => return Err(RateError::TimesOfDay),
            Some((up, down)) => [None, None, rate(up)?, rate(down)?],
            None => [rate(text)?, rate(text)?, None, None],
        };
        self.per_second[..all.len()].copy_from_slice(&all);
        Ok(())
    }

    /// Sets the number of operations; `off` and `0` set no limit.
    ///
    /// # Errors
    /// Fails for text that is no number.
    pub fn set_operations(&mut self, text: &str) -> Result<(), RateError> {
        let wrong = || RateError::Operations(text.to_owned());
        let number = if text == "off" { 0 } else { text.parse::<u64>().map_err(|_| wrong())? };
        self.per_second[Work::Operations as usize] = Some(number).filter(|number| *number > 0);
        Ok(())
    }

    /// Applies the lines of a control file: `bwlimit=RATE`, `iops-limit=N`, `pause`, `resume`.
    ///
    /// # Errors
    /// Returns which line is wrong; then nothing is applied.
    pub fn controlled(mut self, text: &str) -> Result<Self, InvalidLine> {
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            self.obey(line).map_err(|source| InvalidLine { line: line.to_owned(), source })?;
        }
        Ok(self)
    }

    fn obey(&mut self, line: &str) -> Result<(), RateError> {
        let is_between = |c: char| c == '=' || c.is_whitespace();
        let (word, value) = line.split_once(is_between).unwrap_or((line, ""));
        match (word, value.trim_matches(is_between)) {
            ("bwlimit", value) => self.set_bandwidth(value),
            ("iops-limit", value) => self.set_operations(value),
            ("pause", "") => {
                self.is_paused = true;
                Ok(())
            }
            ("resume", "") => {
                self.is_paused = false;
                Ok(())
            }
            _ => Err(RateError::Keyword),
        }
    }

    /// Returns the limits in words; `None` where there are none.
    pub fn words(&self) -> Option<String> {
        if self.is_paused {
            return Some("paused".to_owned());
        }
        let bytes = |work| {
            let rate = self.rate_of(work);
            rate.map_or_else(|| "off".to_owned(), |rate| format!("{}/s", human_bytes(rate)))
        };
        let both = self.rate_of(Work::Written).map(|_| bytes(Work::Written));
        let each = self
            .are_of_services()
            .then(|| format!("{}:{}", bytes(Work::Uploaded), bytes(Work::Downloaded)));
        let operations = self.rate_of(Work::Operations).map(|rate| format!("{rate} operations/s"));
        let limits: Vec<_> = both.or(each).into_iter().chain(operations).collect();
        (!limits.is_empty()).then(|| format!("limit {}", limits.join(", ")))
    }
}

/// Reason why a limit is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Text that is no rate.
    #[error(transparent)]
    Rate(#[from] Unmeasured),
    /// Limits for times of day, as rclone takes them.
    #[error("times of day are not supported; --control-file changes the limit while the job runs")]
    TimesOfDay,
    /// Text that is no number of operations.
    #[error("\"{0}\" is no number of operations per second; expected one such as 1000")]
    Operations(String),
    /// Line of a control file with another keyword.
    #[error("expected bwlimit=RATE, iops-limit=N, pause or resume")]
    Keyword,
}

/// Line of a control file that is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{line}\": {source}")]
pub struct InvalidLine {
    line: String,
    source: RateError,
}

/// Parses a rate in bytes per second; a bare number is in KiB, as in rsync and rclone.
fn rate(text: &str) -> Result<Option<u64>, Unmeasured> {
    match text.trim() {
        "off" => Ok(None),
        text if text.parse::<f64>() == Ok(0.0) => Ok(None),
        text if text.parse::<f64>().is_ok() => parse_positive_bytes(&format!("{text}K")).map(Some),
        text => parse_positive_bytes(text).map(Some),
    }
}

/// Tokens of one kind of work on one rank. Work that was begun with tokens left may exceed them,
/// and the debt delays what comes next: over time the rate holds, whatever the size of a block.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// Creates a bucket without tokens at that time.
    pub fn new(rate: f64, now: Duration) -> Self {
        Self { rate, tokens: 0.0, at: now }
    }

    /// Changes the rate from now on.
    pub fn set_rate(&mut self, rate: f64, now: Duration) {
        self.refill(now);
        self.rate = rate;
    }

    fn refill(&mut self, now: Duration) {
        let gained = self.rate * now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + gained).min(self.rate * RATE_BURST.as_secs_f64());
        self.at = self.at.max(now);
    }

    /// Takes tokens for some work.
    ///
    /// # Errors
    /// Returns how long to wait before asking again, where there are none.
    pub fn take(&mut self, amount: u64, now: Duration) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens < 0.0 {
            let seconds = -self.tokens / self.rate.max(f64::MIN_POSITIVE);
            return Err(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        }
        self.tokens -= amount as f64;
        Ok(())
    }

    /// Returns the rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Gives back tokens that were not needed.
    pub fn give_back(&mut self, amount: u64) {
        self.tokens += amount as f64;
    }

    /// Takes tokens for work that is done already.
    pub fn owe(&mut self, amount: u64) {
        self.tokens -= amount as f64;
    }
}

/// Work of one kind that a rank did lately.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Work that was done.
    pub amount: u64,
    /// Time in which it was done.
    pub seconds: f64,
    /// True where a thread had to wait for tokens.
    pub waited: bool,
}

impl Demand {
    fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.amount as f64 / self.seconds } else { 0.0 }
    }
}

/// Work of one kind that the whole job did more or less than its limit, which is made up for: a
/// rank that has become idle leaves some of its share until the others get it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Balance {
    left: f64,
    did: f64,
}

impl Balance {
    /// Counts work that some rank did.
    pub fn count(&mut self, amount: u64) {
        self.did += amount as f64;
    }

    /// Returns the rate at which the job may go on after some time with a limit. Where no rank
    /// waited, there was too little to do, which is not made up for.
    pub fn rate(&mut self, limit: f64, after: Duration, waited: bool) -> f64 {
        let left = self.left + limit * after.as_secs_f64() - std::mem::take(&mut self.did);
        let most = limit * RATE_CARRIED.as_secs_f64();
        self.left = left.clamp(-most, if waited { most } else { 0.0 });
        limit + self.left / RATE_MADE_UP.as_secs_f64()
    }
}

/// Divides a rate among ranks: those that waited share what the others leave. The shares add up to
/// the rate, and an idle rank has enough to begin with.
pub fn shares(rate: f64, demands: &[Demand]) -> Vec<f64> {
    let least = rate * RATE_LEAST_SHARE / demands.len().max(1) as f64;
    let wanted = |demand: &Demand| {
        if demand.waited { least } else { (demand.per_second() * RATE_MARGIN).max(least) }
    };
    let mut shares: Vec<f64> = demands.iter().map(wanted).collect();
    let sum: f64 = shares.iter().sum();
    if sum > rate {
        for share in &mut shares {
            *share *= rate / sum;
        }
        return shares;
    }
    let waiting = demands.iter().filter(|demand| demand.waited).count();
    let sharing = if waiting == 0 { demands.len() } else { waiting };
    for (share, demand) in shares.iter_mut().zip(demands) {
        if waiting == 0 || demand.waited {
            *share += (rate - sum) / sharing as f64;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bandwidth(text: &str) -> Result<[Option<u64>; 4], RateError> {
        let mut rates = Rates::default();
        rates.set_bandwidth(text)?;
        Ok([0, 1, 2, 3].map(|kind| rates.per_second[kind]))
    }

    #[test]
    fn rates_are_read_as_rclone_and_rsync_read_them() {
        let both = |rate| Ok([Some(rate), Some(rate), None, None]);
        assert_eq!(bandwidth("50M"), both(50 << 20));
        assert_eq!(bandwidth("1.5m"), both(3 << 19));
        assert_eq!(bandwidth("1000"), both(1000 << 10));
        assert_eq!(bandwidth("1000B"), both(1000));
        assert_eq!(bandwidth("50MB"), both(50_000_000));
        assert_eq!(bandwidth("10M:off"), Ok([None, None, Some(10 << 20), None]));
        assert_eq!(bandwidth("off:100"), Ok([None, None, None, Some(100 << 10)]));
        assert_eq!(bandwidth("off"), Ok([None; 4]));
        assert_eq!(bandwidth("0"), Ok([None; 4]));
        assert_eq!(bandwidth("00"), Ok([None; 4]));
        assert_eq!(bandwidth("100 :50"), bandwidth("100:50"));
        for zero in ["0", "00", "+0", "off"] {
            let mut rates = Rates { per_second: [Some(1); KINDS], is_paused: false };
            rates.set_operations(zero).unwrap();
            assert_eq!(rates.rate_of(Work::Operations), None, "{zero}");
        }
        for wrong in ["fast", "", "-1", "1M:", "1M:2M:3M", "nan"] {
            assert!(bandwidth(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(bandwidth("08:00,512k 12:00,10M"), Err(RateError::TimesOfDay)));
    }

    #[test]
    fn a_control_file_changes_all_limits_or_none() {
        let given = Rates::default();
        let rates = given.controlled("# night\nbwlimit 1M\niops-limit = 100\npause\n").unwrap();
        assert_eq!(rates.words().as_deref(), Some("paused"));
        let on = rates.controlled("resume").unwrap();
        assert_eq!(on.words().as_deref(), Some("limit 1.0 MiB/s, 100 operations/s"));
        let split = on.controlled("bwlimit=2M:off\niops-limit=off").unwrap();
        assert_eq!(split.words().as_deref(), Some("limit 2.0 MiB/s:off"));
        assert!(split.controlled("bwlimit=off").unwrap().are_none());
        for wrong in ["faster", "bwlimit=fast", "iops-limit=-1", "pause=1"] {
            let why = rates.controlled(&format!("bwlimit=2M\n{wrong}")).unwrap_err();
            assert!(why.to_string().contains(wrong), "{why}");
        }
        assert_eq!(Rates::default().words(), None);
    }

    #[test]
    fn shares_add_up_to_the_rate() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            let demand =
                |_| Demand { amount: random.u64(..200), seconds: 1.0, waited: random.bool() };
            let demands: Vec<_> = (0..7).map(demand).collect();
            let sum: f64 = shares(100.0, &demands).iter().sum();
            assert!((sum - 100.0).abs() < 1e-6, "{demands:?}: {sum}");
        }
    }

    #[test]
    fn work_that_was_left_is_made_up_for_but_not_where_there_was_none() {
        let second = Duration::from_secs(1);
        let mut balance = Balance::default();
        assert!(balance.rate(100.0, second, false) <= 100.0);
        assert!(balance.rate(100.0, second, true) > 110.0);
        balance.count(500);
        assert!(balance.rate(100.0, second, true) < 90.0);
    }

    #[test]
    fn ranks_that_waited_get_what_the_others_leave() {
        let idle = Demand::default();
        let waited = Demand { amount: 25, seconds: 1.0, waited: true };
        let shares = shares(100.0, &[idle, waited, idle, waited]);
        assert!(shares[0] < 1.0 && shares[1] > 49.0 && shares[3] > 49.0, "{shares:?}");
    }
}
