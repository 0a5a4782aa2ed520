//! A bucket, as a service lists it.

use jiff::Timestamp;

/// A bucket of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBucket {
    /// Name of it.
    pub name: String,
    /// Time of its creation in seconds since 1970, where the service tells it.
    pub created_seconds: Option<i64>,
}

impl ListedBucket {
    /// Returns the time of creation in UTC (RFC 3339).
    pub fn created(&self) -> Option<String> {
        self.created_seconds
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(|time| time.to_string())
    }
}
