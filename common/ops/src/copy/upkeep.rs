//! Executors that all others use besides their own work.

use super::directory::Directories;
use super::in_the_way::Postponed;
use super::manifest::Manifest;
use super::verify::Verification;

/// Executors of the work around an entry: they prepare its directory for changes, remove a
/// directory in its way, and record and verify a file that has arrived.
pub(super) struct Upkeep<'c> {
    pub directories: Directories,
    pub postponed: Postponed,
    pub manifest: Manifest<'c>,
    pub verification: Verification,
}
