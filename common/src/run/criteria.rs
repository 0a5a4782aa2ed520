//! Criteria by which a copy chooses what it copies, in words.

use ops::copy::options::{ChangeTest, SyncOptions};

/// Returns the criteria as a part of the header.
pub(super) fn words(sync: &SyncOptions) -> String {
    let change_test = match sync.change_test {
        ChangeTest::SizeAndTime => "files are compared by size and modification time",
        ChangeTest::SizeOnly => "files are compared by size",
        ChangeTest::Content => "files are compared by content",
    };
    let window = format!("times up to {:?} apart are equal", sync.modify_window);
    let criteria = [
        (!sync.modify_window.is_zero(), &window[..]),
        (sync.delete, "extraneous entries of the target are deleted"),
        (sync.update, "newer files of the target are skipped"),
        (sync.ignore_existing, "existing entries are skipped"),
        (sync.existing, "entries missing in the target are skipped"),
    ];
    let criteria = criteria.into_iter().filter(|(is_set, _)| *is_set).map(|(_, words)| words);
    [change_test].into_iter().chain(criteria).collect::<Vec<_>>().join(", ")
}
