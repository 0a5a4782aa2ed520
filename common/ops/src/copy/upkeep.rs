//! The executors that all others call on beside their own work.

use super::directory::Directories;
use super::in_the_way::Postponed;
use super::manifest::Manifest;
use super::verify::Verification;

/// Work around an entry: its directory is prepared for changes, a directory in its way goes, and a file that has arrived is
/// recorded and verified.
pub(super) struct Upkeep<'c> {
    pub directories: Directories,
    pub postponed: Postponed,
    pub manifest: Manifest<'c>,
    pub verification: Verification,
}
