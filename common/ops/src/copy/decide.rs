//! The decision of what becomes of an entry where the target is made equal: tables of both sides and the operator's rules,
//! which read and change nothing.

use super::env::Stage;
use super::options::{Judge, SyncOptions};
use super::sync::Sides;
use types::entry::{Kind, Metadata};
use types::outcome::compare::Clue;

/// Action for an entry, by what listings tell of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A rule leaves it out: it is missing at the target, and stays so.
    LeaveMissing,
    /// Both sides have a directory, which is walked.
    Enter,
    /// A directory is made, and what has its name removed before.
    MakeDirectory,
    /// A rule keeps what has the name of a directory.
    KeepInsteadOfDirectory,
    /// It is missing, and is copied.
    Create(Metadata),
    /// A rule keeps what the target has.
    Keep(Sides),
    /// Both sides have it: a closer look decides.
    LookCloser(Sides),
}

/// Action for an entry that both sides have, and that is no directory of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// Nothing: it is one more name of the source itself.
    Nothing,
    /// A rule keeps the target's, which is newer.
    Keep,
    /// It is copied; a directory that has its name makes way before.
    Replace { directory: bool },
    /// Content and attributes are compared.
    Compare,
}

/// Evidence that listings give for the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It is the same.
    Same,
    /// It is the same, if times are worth anything.
    SameByTime,
    /// It is other content.
    Differs,
    /// It has to be read.
    Unknown,
}

/// Decides by what listings tell; `source` is missing where the listing has said that it is a directory.
pub(super) fn decide(
    source: Option<Metadata>,
    target: Option<Metadata>,
    rules: &SyncOptions,
    stage: Stage,
) -> Action {
    let entry = source.filter(|source| source.kind != Kind::Directory);
    match (entry, target) {
        // What is missing only because it was deleted for that entry is not left out.
        (_, None) if rules.existing && stage == Stage::Walk => Action::LeaveMissing,
        (None, Some(target)) if target.kind == Kind::Directory => Action::Enter,
        (None, Some(_)) if rules.ignore_existing => Action::KeepInsteadOfDirectory,
        (None, _) => Action::MakeDirectory,
        (Some(source), None) => Action::Create(source),
        (Some(source), Some(target)) => {
            let sides = Sides { source, target };
            let is_kept = rules.ignore_existing && !source.is_same_file(&target);
            if is_kept { Action::Keep(sides) } else { Action::LookCloser(sides) }
        }
    }
}

/// Decides by a closer look at both sides.
pub(super) fn decide_existing(sides: &Sides, rules: &SyncOptions) -> Existing {
    let Sides { source, target } = sides;
    if source.is_same_file(target) {
        Existing::Nothing
    } else if rules.keeps_newer(source, target) {
        Existing::Keep
    } else if source.kind != target.kind {
        Existing::Replace { directory: target.kind == Kind::Directory }
    } else {
        Existing::Compare
    }
}

/// Decides whether two files have the same content. A file in doubt, which an interrupted job may have left, is read where
/// the rule would take it for the same.
pub(super) fn decide_content(
    sides: &Sides,
    judge: Judge,
    is_in_doubt: impl Fn() -> bool,
    clue: impl FnOnce() -> Clue,
) -> Content {
    if sides.source.size_bytes != sides.target.size_bytes {
        return Content::Differs;
    }
    match judge {
        Judge::Content => Content::Unknown,
        Judge::SizeOnly if is_in_doubt() => Content::Unknown,
        Judge::SizeOnly => Content::Same,
        Judge::SizeAndTime => match clue() {
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

    fn rules() -> SyncOptions {
        SyncOptions {
            judge: Judge::SizeAndTime,
            evidence: Evidence::Checksums,
            update: false,
            use_server_modtime: false,
            ignore_existing: false,
            existing: false,
            delete: false,
            link_dest: None,
        }
    }

    fn entry(kind: Kind, inode: u64, mtime: i64) -> Metadata {
        let time = Time { seconds: mtime, nanoseconds: 0 };
        Metadata {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size_bytes: 7,
            allocated_bytes: 7,
            atime: time,
            mtime: time,
            ctime: time,
            links: 1,
            device: 1,
            inode,
            known: Fields::ALL,
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
        let mut rules = rules();
        change(&mut rules);
        decide(source, target, &rules, Stage::Walk)
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
        let existing = SyncOptions { existing: true, ..rules() };
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
        let update = SyncOptions { update: true, ..rules() };
        let of =
            |source, target, rules: &SyncOptions| decide_existing(&Sides { source, target }, rules);
        let newer = entry(Kind::File, 2, 1);
        assert_eq!(of(file(1), file(1), &update), Existing::Nothing);
        assert_eq!(of(file(1), newer, &update), Existing::Keep);
        assert_eq!(of(file(1), newer, &rules()), Existing::Compare);
        assert_eq!(of(file(1), file(2), &update), Existing::Compare);
        assert_eq!(of(newer, file(1), &update), Existing::Compare);
        let link = entry(Kind::Symlink, 2, 1);
        assert_eq!(of(file(1), link, &update), Existing::Replace { directory: false });
        let directory = entry(Kind::Directory, 2, 1);
        assert_eq!(of(file(1), directory, &update), Existing::Replace { directory: true });
    }

    #[test]
    fn content_goes_by_size_then_by_the_rule_and_is_read_in_doubt() {
        let sides = Sides { source: file(1), target: file(2) };
        let of = |judge, doubt, clue| decide_content(&sides, judge, || doubt, || clue);
        for (judge, clue, sure, in_doubt) in [
            (Judge::SizeOnly, Clue::Differs, Content::Same, Content::Unknown),
            (Judge::SizeAndTime, Clue::Same, Content::SameByTime, Content::Unknown),
            (Judge::SizeAndTime, Clue::Differs, Content::Differs, Content::Differs),
            (Judge::SizeAndTime, Clue::Unclear, Content::Unknown, Content::Unknown),
            (Judge::Content, Clue::Same, Content::Unknown, Content::Unknown),
        ] {
            assert_eq!(of(judge, false, clue), sure, "{judge:?} {clue:?}");
            assert_eq!(of(judge, true, clue), in_doubt, "{judge:?} {clue:?} in doubt");
        }
        let larger = Sides { target: Metadata { size_bytes: 8, ..file(2) }, ..sides };
        for judge in [Judge::SizeOnly, Judge::SizeAndTime, Judge::Content] {
            let content = decide_content(&larger, judge, || true, || Clue::Same);
            assert_eq!(content, Content::Differs);
        }
    }
}
