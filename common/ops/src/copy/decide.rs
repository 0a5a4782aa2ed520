//! Decision of the action for an entry of a synchronisation: tables of both sides and the options
//! of the operator, without reading or changing anything.

use super::env::Stage;
use super::options::{ChangeTest, SyncOptions};
use types::entry::{Kind, Metadata};
use types::outcome::compare::{Clue, TimeRange};

/// Metadata of both sides of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sides {
    pub source: Metadata,
    pub target: Metadata,
}

/// Action for an entry, by what the listings report of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The entry is missing at the target, and an option leaves it so.
    LeaveMissing,
    /// The directory exists on both sides and is walked.
    Enter,
    /// The directory is created, and an entry of another kind that has its name is removed before.
    MakeDirectory,
    /// An option keeps an entry of another kind that has the name of the directory.
    KeepInsteadOfDirectory,
    /// The entry is missing at the target and is copied.
    Create(Metadata),
    /// An option keeps the entry that the target has.
    Keep(Sides),
    /// The entry exists on both sides: more of its metadata is needed for a decision.
    LookCloser(Sides),
}

/// Action for an entry that exists on both sides and is no directory in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// The target is a hard link of the source itself, and is left as it is.
    Nothing,
    /// An option keeps the entry of the target, which is newer.
    Keep,
    /// The entry is copied; a directory that has its name is removed before.
    Replace { directory: bool },
    /// Content and attributes are compared.
    Compare,
}

/// Need of an entry that exists at the target with the right kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Content that differs, or a link that points elsewhere, has to be copied.
    Content,
    /// Attributes that differ have to be set; the content is the same.
    Attributes,
    /// The entry is the same, and nothing has to be done.
    Nothing,
    /// Comparison of the content by many ranks, after which the need is determined.
    ToBeSeen,
    /// Requests that would keep this thread from inspecting the next entries in order.
    Later,
}

/// Evidence that listings give about the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The content is the same.
    Same,
    /// The content is the same, as far as timestamps can be trusted.
    SameByTime,
    /// The content differs.
    Differs,
    /// The content has to be read.
    Unknown,
}

/// Decides by what listings report; `source` is missing where the listing has already shown a
/// directory.
pub(super) fn decide(
    source: Option<Metadata>,
    target: Option<Metadata>,
    criteria: &SyncOptions,
    stage: Stage,
) -> Action {
    let entry = source.filter(|source| source.kind != Kind::Directory);
    match (entry, target) {
        // An entry that is missing only because it was deleted for its replacement is not left out.
        (_, None) if criteria.existing && stage == Stage::Walk => Action::LeaveMissing,
        (None, Some(target)) if target.kind == Kind::Directory => Action::Enter,
        (None, Some(_)) if criteria.ignore_existing => Action::KeepInsteadOfDirectory,
        (None, _) => Action::MakeDirectory,
        (Some(source), None) => Action::Create(source),
        (Some(source), Some(target)) => {
            let sides = Sides { source, target };
            let is_kept = criteria.ignore_existing && !source.is_same_file(&target);
            if is_kept { Action::Keep(sides) } else { Action::LookCloser(sides) }
        }
    }
}

/// Decides by the full metadata of both sides.
pub(super) fn decide_existing(sides: &Sides, criteria: &SyncOptions, range: TimeRange) -> Existing {
    let Sides { source, target } = sides;
    if source.is_same_file(target) {
        Existing::Nothing
    } else if criteria.keeps_newer(&range.as_kept(source), &range.as_kept(target)) {
        Existing::Keep
    } else if source.kind != target.kind {
        Existing::Replace { directory: target.kind == Kind::Directory }
    } else {
        Existing::Compare
    }
}

/// Decides whether two files have the same content. A file in doubt, which an interrupted job may
/// have written, is read where the change test would take it for unchanged.
pub(super) fn decide_content(
    sides: &Sides,
    change_test: ChangeTest,
    is_in_doubt: impl Fn() -> bool,
    clue: impl FnOnce() -> Clue,
) -> Content {
    if sides.source.size_bytes != sides.target.size_bytes {
        return Content::Differs;
    }
    match change_test {
        ChangeTest::Content => Content::Unknown,
        ChangeTest::SizeOnly if is_in_doubt() => Content::Unknown,
        ChangeTest::SizeOnly => Content::Same,
        ChangeTest::SizeAndTime => match clue() {
            Clue::Same if is_in_doubt() => Content::Unknown,
            Clue::Same => Content::SameByTime,
            Clue::Differs => Content::Differs,
            Clue::Unclear => Content::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::options::Evidence;
    use types::entry::Time;
    use types::outcome::difference::Fields;

    fn criteria() -> SyncOptions {
        SyncOptions {
            change_test: ChangeTest::SizeAndTime,
            evidence: Evidence::Checksums,
            update: false,
            use_server_modtime: false,
            ignore_existing: false,
            existing: false,
            delete: false,
            modify_window: std::time::Duration::ZERO,
            old_copy: None,
            mirrors: true,
        }
    }

    fn entry(kind: Kind, inode: u64, mtime: i64) -> Metadata {
        let time = Time { seconds: mtime, nanoseconds: 0 };
        Metadata {
            mode: 0o644,
            size_bytes: 7,
            allocated_bytes: 7,
            device: 1,
            inode,
            known: Fields::ALL,
            ..Metadata::of_kind(kind).with_times(time)
        }
    }

    fn file(inode: u64) -> Metadata {
        entry(Kind::File, inode, 0)
    }

    fn at_first(
        source: Option<Metadata>,
        target: Option<Metadata>,
        change: impl FnOnce(&mut SyncOptions),
    ) -> Action {
        let mut criteria = criteria();
        change(&mut criteria);
        decide(source, target, &criteria, Stage::Walk)
    }

    #[test]
    fn what_is_missing_is_made_unless_only_existing_entries_take_part() {
        let directory = entry(Kind::Directory, 1, 0);
        for source in [None, Some(directory)] {
            assert_eq!(at_first(source, None, |_| ()), Action::MakeDirectory);
            assert_eq!(at_first(source, None, |it| it.existing = true), Action::LeaveMissing);
        }
        let create = Action::Create(file(1));
        assert_eq!(at_first(Some(file(1)), None, |_| ()), create);
        assert_eq!(at_first(Some(file(1)), None, |it| it.ignore_existing = true), create);
        assert_eq!(at_first(Some(file(1)), None, |it| it.existing = true), Action::LeaveMissing);
        let existing = SyncOptions { existing: true, ..criteria() };
        assert_eq!(decide(Some(file(1)), None, &existing, Stage::AfterDeletion), create);
        assert_eq!(decide(None, None, &existing, Stage::AfterDeletion), Action::MakeDirectory);
    }

    #[test]
    fn a_directory_is_entered_or_replaces_what_has_its_name() {
        let directory = entry(Kind::Directory, 1, 0);
        for source in [None, Some(directory)] {
            for ignore_existing in [false, true] {
                let action = at_first(source, Some(entry(Kind::Directory, 2, 0)), |it| {
                    it.ignore_existing = ignore_existing;
                });
                assert_eq!(action, Action::Enter);
            }
            assert_eq!(at_first(source, Some(file(2)), |_| ()), Action::MakeDirectory);
            let kept = at_first(source, Some(file(2)), |it| it.ignore_existing = true);
            assert_eq!(kept, Action::KeepInsteadOfDirectory);
        }
    }

    #[test]
    fn what_both_sides_have_is_kept_or_looked_at() {
        let sides = Sides { source: file(1), target: file(2) };
        let both = |change: fn(&mut SyncOptions)| at_first(Some(file(1)), Some(file(2)), change);
        assert_eq!(both(|_| ()), Action::LookCloser(sides));
        assert_eq!(both(|it| it.existing = true), Action::LookCloser(sides));
        assert_eq!(both(|it| it.ignore_existing = true), Action::Keep(sides));
        let itself = Sides { target: file(1), ..sides };
        let same = at_first(Some(file(1)), Some(file(1)), |it| it.ignore_existing = true);
        assert_eq!(same, Action::LookCloser(itself));
    }

    #[test]
    fn a_closer_look_tells_the_source_itself_newer_files_and_other_kinds() {
        let update = SyncOptions { update: true, ..criteria() };
        let of = |source, target, criteria: &SyncOptions| {
            decide_existing(&Sides { source, target }, criteria, TimeRange::All)
        };
        let newer = entry(Kind::File, 2, 1);
        assert_eq!(of(file(1), file(1), &update), Existing::Nothing);
        assert_eq!(of(file(1), newer, &update), Existing::Keep);
        assert_eq!(of(file(1), newer, &criteria()), Existing::Compare);
        assert_eq!(of(file(1), file(2), &update), Existing::Compare);
        assert_eq!(of(newer, file(1), &update), Existing::Compare);
        let mut later = file(2);
        later.mtime.nanoseconds = 5;
        assert_eq!(of(file(1), later, &update), Existing::Keep);
        let sides = Sides { source: file(1), target: later };
        let second = decide_existing(&sides, &update, TimeRange::Seconds);
        assert_eq!(second, Existing::Compare);
        let link = entry(Kind::Symlink, 2, 1);
        assert_eq!(of(file(1), link, &update), Existing::Replace { directory: false });
        let directory = entry(Kind::Directory, 2, 1);
        assert_eq!(of(file(1), directory, &update), Existing::Replace { directory: true });
    }

    #[test]
    fn content_goes_by_size_then_by_the_rule_and_is_read_in_doubt() {
        let sides = Sides { source: file(1), target: file(2) };
        let of = |change_test, doubt, clue| decide_content(&sides, change_test, || doubt, || clue);
        for (change_test, clue, sure, in_doubt) in [
            (ChangeTest::SizeOnly, Clue::Differs, Content::Same, Content::Unknown),
            (ChangeTest::SizeAndTime, Clue::Same, Content::SameByTime, Content::Unknown),
            (ChangeTest::SizeAndTime, Clue::Differs, Content::Differs, Content::Differs),
            (ChangeTest::SizeAndTime, Clue::Unclear, Content::Unknown, Content::Unknown),
            (ChangeTest::Content, Clue::Same, Content::Unknown, Content::Unknown),
        ] {
            assert_eq!(of(change_test, false, clue), sure, "{change_test:?} {clue:?}");
            assert_eq!(of(change_test, true, clue), in_doubt, "{change_test:?} {clue:?} in doubt");
        }
        let larger = Sides { target: Metadata { size_bytes: 8, ..file(2) }, ..sides };
        for change_test in [ChangeTest::SizeOnly, ChangeTest::SizeAndTime, ChangeTest::Content] {
            let content = decide_content(&larger, change_test, || true, || Clue::Same);
            assert_eq!(content, Content::Differs);
        }
    }
}
