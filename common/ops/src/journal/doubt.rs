//! Doubt about files that an interrupted job has copied and that may not have reached storage. If a
//! node crashes, such a file may have its name, size and modification time but not its content.
//!
//! Each rank syncs its target now and then, and records until when its files are safe. Files
//! changed later are in doubt. A job that ended in order has synced all; then files are in doubt
//! that somebody has changed since. The next job compares the content of files in doubt instead of
//! trusting their metadata.

use serde::{Deserialize, Serialize};

use types::entry::Time;
use types::limits::CLOCKS_APART_MAX;

/// A period of modification, and a greatest size, of files whose content a node may have lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The first time of change (`ctime`) in doubt.
    pub(super) from: Time,
    /// The last time of change in doubt.
    pub(super) until: Time,
    /// The greatest size in doubt, in bytes. Larger files were synced before they were renamed.
    pub(super) size_bytes_max: u64,
}

/// A doubt about every file, after a comparison has found files that do not match their sources.
pub(super) const OF_ALL: Doubt = Doubt {
    from: Time { seconds: i64::MIN, nanoseconds: 0 },
    until: Time { seconds: i64::MAX, nanoseconds: 0 },
    size_bytes_max: u64::MAX,
};

/// A sync time that leaves nothing in doubt.
pub(super) const FOR_GOOD: Time = Time { seconds: i64::MAX, nanoseconds: 0 };

impl Doubt {
    /// Returns whether a file of that size, last changed at `ctime`, is in doubt.
    pub fn covers(&self, ctime: Time, size_bytes: u64) -> bool {
        (self.from..=self.until).contains(&ctime) && size_bytes <= self.size_bytes_max
    }
}

/// Returns the earliest time that the clock of any node or server can show when one of them shows
/// `time`. With it, clock differences only widen a period in doubt.
pub(super) fn early(time: Time) -> Time {
    let seconds = time.seconds.saturating_sub_unsigned(CLOCKS_APART_MAX.as_secs());
    Time { seconds, ..time }
}

/// Returns the latest time that the clock of any node or server can show when one of them shows
/// `time`.
pub(super) fn late(time: Time) -> Time {
    let seconds = time.seconds.saturating_add_unsigned(CLOCKS_APART_MAX.as_secs());
    Time { seconds, ..time }
}
