//! Fields in which two entries of one path differ: a pure function of both.

use std::time::Duration;

use crate::attributes::keep::XattrFilter;
use crate::entry::{ACL_XATTRS, Kind, Metadata, Time, Xattrs};
use crate::outcome::difference::Fields;

/// Fields that [`attributes`] can compare.
pub const ATTRIBUTE_FIELDS: [Fields; 8] = [
    Fields::TYPE,
    Fields::SIZE,
    Fields::UID,
    Fields::GID,
    Fields::ATIME,
    Fields::MTIME,
    Fields::CTIME,
    Fields::PERM,
];

/// Returns those of the `wanted` attributes in which two entries differ. `range` is the range of
/// times of the target's file system.
///
/// The size of a directory is the file system's own affair, and so is that of a symbolic link,
/// whose target is compared instead; a symbolic link has no mode. A field that one of the two
/// stores does not know is not compared. Where the types differ so do a symbolic link's target and
/// the sizes, unless these are equal.
pub fn attributes(
    source: &Metadata,
    target: &Metadata,
    wanted: Fields,
    range: TimeRange,
) -> Fields {
    let known = source.known.intersection(target.known).union(Fields::TYPE.union(Fields::LINK));
    let wanted = wanted.intersection(known);
    let is_same_kind = source.kind == target.kind;
    let is_either = |kind: Kind| source.kind == kind || target.kind == kind;
    let is_same = |one: Time, other: Time| is_same_time(one, other, range.step_ns(target), range);
    let differs = |field: Fields| match field {
        Fields::TYPE => !is_same_kind,
        Fields::SIZE if is_same_kind => {
            source.kind == Kind::File && source.size_bytes != target.size_bytes
        }
        Fields::SIZE => is_either(Kind::Directory) || source.size_bytes != target.size_bytes,
        Fields::UID => source.uid != target.uid,
        Fields::GID => source.gid != target.gid,
        Fields::ATIME => !is_same(source.atime, target.atime),
        Fields::MTIME => !is_same(source.mtime, target.mtime),
        Fields::CTIME => !is_same(source.ctime, target.ctime),
        Fields::PERM => !is_either(Kind::Symlink) && source.mode != target.mode,
        Fields::LINK => !is_same_kind && is_either(Kind::Symlink),
        _ => false,
    };
    let fields = ATTRIBUTE_FIELDS.into_iter().chain([Fields::LINK]);
    fields.filter(|field| wanted.contains(*field) && differs(*field)).collect()
}

/// Returns those of the `wanted` fields in which two entries of one type cannot be compared,
/// because one of the two stores does not know them. Extended attributes are left to [`xattrs`].
pub fn unknown(source: &Metadata, target: &Metadata, wanted: Fields) -> Fields {
    if source.kind != target.kind {
        return Fields::NONE;
    }
    let meaningless = match source.kind {
        Kind::File => Fields::NONE,
        Kind::Symlink => Fields::SIZE.union(Fields::PERM),
        _ => Fields::SIZE,
    };
    let attributes = ATTRIBUTE_FIELDS.into_iter().collect::<Fields>().difference(meaningless);
    attributes.intersection(wanted).difference(source.known.intersection(target.known))
}

/// Conclusion about the content of two files of equal size from their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clue {
    /// The contents are the same.
    Same,
    /// The contents differ.
    Differs,
    /// The times are inconclusive: one of the two stores has no modification time.
    Unclear,
}

/// Concludes from their times whether two files of equal size have the same content.
///
/// An object that was stored without its file's modification time still has the time at which it
/// was stored, by the service's clock, in whole seconds. It has the content of the file if it was
/// stored after the last change of any kind (`ctime`, which no program can set back), and it has
/// not if the file was modified after that. In between, and where the source is such an object,
/// only the content can tell. `ahead` is the most that the service's clock is ahead of the
/// source's; where that is not known, the time at which an object was stored is inconclusive.
pub fn clue(
    source: &Metadata,
    target: &Metadata,
    ahead: Option<Duration>,
    range: TimeRange,
) -> Clue {
    let knows_time = |metadata: &Metadata| metadata.known.contains(Fields::MTIME);
    let says = |is_same| if is_same { Clue::Same } else { Clue::Differs };
    match (knows_time(source), knows_time(target)) {
        (true, true) => says(attributes(source, target, Fields::MTIME, range).is_empty()),
        (false, true) if source.mtime == target.mtime => Clue::Same,
        (_, false) if ahead.is_some_and(|ahead| is_after(target.mtime, source.ctime, ahead)) => {
            Clue::Same
        }
        (true, false) if target.mtime.seconds < source.mtime.seconds => Clue::Differs,
        (_, _) => Clue::Unclear,
    }
}

/// Returns true where one time is later than the other by more than that.
fn is_after(later: Time, earlier: Time, by: Duration) -> bool {
    let nanoseconds = |time: Time| {
        i128::from(time.seconds) * i128::from(SECOND_NS) + i128::from(time.nanoseconds)
    };
    nanoseconds(later) - nanoseconds(earlier) > by.as_nanos() as i128
}

/// Returns [`Fields::ACL`] and [`Fields::XATTR`] where the extended attributes that pass the filter
/// differ. A side that does not support them at all is not compared. Labels that only the target's
/// system gives are not a difference.
pub fn xattrs(source: Option<&Xattrs>, target: Option<&Xattrs>, filter: XattrFilter) -> Fields {
    let (Some(source), Some(target)) = (source, target) else { return Fields::NONE };
    let is_left = |name: &Vec<u8>| !source.contains_key(name) && !filter.removes(name);
    let of_source = source.iter().filter(|(name, _)| filter.passes(name));
    let of_target = target.iter().filter(|(name, _)| filter.passes(name) && !is_left(name));
    let is_acl = |name: &[u8]| ACL_XATTRS.contains(&name);
    let (source_acls, source_others): (Vec<_>, Vec<_>) = of_source.partition(|one| is_acl(one.0));
    let (target_acls, target_others): (Vec<_>, Vec<_>) = of_target.partition(|one| is_acl(one.0));
    let differing = [
        (Fields::ACL, source_acls != target_acls),
        (Fields::XATTR, source_others != target_others),
    ];
    differing.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

/// Granularities of file systems' timestamps in nanoseconds, the coarsest first: ext3 and some
/// servers 1 s, exFAT 10 ms, then milli- and microseconds, NTFS and SMB 100 ns.
const TIME_STEPS_NS: [u32; 5] = [SECOND_NS, 10_000_000, 1_000_000, 1_000, 100];

const SECOND_NS: u32 = 1_000_000_000;

/// Granularity of FAT's modification times in nanoseconds.
const FAT_STEP_NS: u32 = 2 * SECOND_NS;

/// Granularity of time zones in seconds: all are whole quarters of an hour away from UTC.
const ZONE_STEP_S: i64 = 900;

/// Returns the granularity of the timestamps of an entry's file system in nanoseconds, as the
/// entry's change and access times show it. The kernel sets the first one itself, and mostly the
/// other one, so on a file system with nanoseconds they are multiples of a coarser step only once
/// in ten thousand times (for 100 ns), or far less often (for seconds).
pub fn time_step_ns(target: &Metadata) -> u32 {
    if !target.known.contains(Fields::CTIME) {
        // A store that has recorded the modification time has done so with all its digits.
        return step_ns_of(target.mtime);
    }
    if keeps_even_seconds(target) {
        return FAT_STEP_NS;
    }
    let of_access = target.known.contains(Fields::ATIME).then(|| step_ns_of(target.atime));
    of_access.into_iter().fold(step_ns_of(target.ctime), u32::min)
}

/// Returns the coarsest granularity of which a time is a multiple.
fn step_ns_of(time: Time) -> u32 {
    let is_step = |step: &u32| time.nanoseconds.is_multiple_of(*step);
    TIME_STEPS_NS.into_iter().find(is_step).unwrap_or(1)
}

/// Returns true where an entry looks like one on FAT, of which three things are known
/// (`fat_truncate_time` in Linux's fs/fat/misc.c): mtime is an even second; atime is midnight in
/// some time zone; ctime is mtime itself, or up to Linux 5.18 a multiple of 10 ms.
///
/// On a file system with nanoseconds, the third is so by chance once in ten million times, and the
/// other two only if a program has set them so. On one with seconds, an entry must have been
/// changed last in the second of its mtime, an even one, and read last at a full quarter of an
/// hour: once in 1,800 times of those. Even then only a modification within one second is missed.
fn keeps_even_seconds(entry: &Metadata) -> bool {
    let Metadata { atime, mtime, ctime, .. } = entry;
    let is_even = mtime.nanoseconds == 0 && mtime.seconds % 2 == 0;
    let is_midnight = atime.nanoseconds == 0 && atime.seconds % ZONE_STEP_S == 0;
    let is_in_10_ms = ctime.nanoseconds > 0 && ctime.nanoseconds.is_multiple_of(10_000_000);
    is_even && is_midnight && (ctime == mtime || is_in_10_ms)
}

/// Returns the last multiple of the granularity that is not after this time.
pub fn floor(time: Time, step_ns: u32) -> Time {
    if step_ns == FAT_STEP_NS {
        return Time { seconds: time.seconds - time.seconds.rem_euclid(2), nanoseconds: 0 };
    }
    Time { nanoseconds: time.nanoseconds - time.nanoseconds % step_ns, ..time }
}

/// Returns true where both times are equal, as far as a target with that granularity and range can
/// store the source's.
fn is_same_time(source: Time, target: Time, step_ns: u32, range: TimeRange) -> bool {
    if range == TimeRange::Seconds {
        let seconds = |time: Time| time.seconds.clamp(0, u32::MAX.into());
        return seconds(source) == seconds(target);
    }
    source == target || floor(source, step_ns) == target || range.clamps(source, target, step_ns)
}

/// Range of times that a file system can store, in seconds since 1970, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeRange {
    /// No known limits.
    #[default]
    All,
    /// No limits, and a granularity of one nanosecond.
    Exact,
    /// Times from the first to the last one (`s_time_min` and `s_time_max` in Linux).
    Between(i64, i64),
    /// Times of ext2, ext3 and ext4: 32 bits with a sign, and two more where an inode has room for
    /// nanoseconds.
    Ext,
    /// Times of SFTP, of whichever of the two sides: whole seconds in 32 bits without a sign.
    Seconds,
}

impl TimeRange {
    /// Times of 32 bits with a sign: XFS without bigtime.
    pub const SIGNED_32: Self = Self::Between(i32::MIN as i64, i32::MAX as i64);
    /// Times of XFS with bigtime: 64 bits of nanoseconds.
    pub const BIGTIME: Self = Self::Between(i32::MIN as i64, 16_299_260_424);
    /// Times of FAT: from 1980 to 2107.
    pub const FAT: Self = Self::Between(315_532_800, 4_354_819_198);
    /// Times of exFAT, which stores odd seconds, too.
    pub const EXFAT: Self = Self::Between(315_532_800, 4_354_819_199);

    /// Returns the range for comparing with a source whose store has this one: that of the target,
    /// unless the source has no fractions of a second.
    #[must_use]
    pub fn and_source(self, source: Self) -> Self {
        if source == Self::Seconds { source } else { self }
    }

    /// Returns the metadata of an entry as it is where times have this range: one side may have
    /// fractions of a second that the other one has lost.
    #[must_use]
    pub fn as_kept(self, entry: &Metadata) -> Metadata {
        let nanoseconds = if self == Self::Seconds { 0 } else { entry.mtime.nanoseconds };
        Metadata { mtime: Time { nanoseconds, ..entry.mtime }, ..*entry }
    }

    /// Returns the granularity of an entry's timestamps in nanoseconds. A time may look coarse by
    /// chance, so it counts only where the type of the file system does not tell the granularity.
    fn step_ns(self, entry: &Metadata) -> u32 {
        let shown = time_step_ns(entry);
        match self {
            Self::Exact | Self::SIGNED_32 | Self::BIGTIME => 1,
            // The granularity is a second only where an inode has no room for more.
            Self::Ext if shown < SECOND_NS => 1,
            Self::Ext | Self::Seconds => SECOND_NS,
            _ => shown,
        }
    }

    /// Returns true where the target has the nearest time that its file system can store, since the
    /// source's is out of range. The kernel drops fractions of a second of such a time.
    fn clamps(self, source: Time, target: Time, step_ns: u32) -> bool {
        let (first, last) = match self {
            Self::All | Self::Exact | Self::Seconds => return false,
            Self::Between(first, last) => (first, last),
            Self::Ext if step_ns >= SECOND_NS => (i32::MIN.into(), i32::MAX.into()),
            Self::Ext => (i32::MIN.into(), 15_032_385_535),
        };
        let (at, is_last) = (target.seconds, target.seconds == last && source.seconds > last);
        target.nanoseconds == 0 && (is_last || at == first && source.seconds < first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::keep::XattrChoice;

    fn entry(kind: Kind) -> Metadata {
        let time = Time { seconds: 1_700_000_001, nanoseconds: 123_456_789 };
        Metadata {
            mode: 0o644,
            uid: 1,
            gid: 2,
            size_bytes: 3,
            allocated_bytes: 4096,
            device: 1,
            inode: 1,
            known: Fields::ALL,
            ..Metadata::of_kind(kind).with_times(time)
        }
    }

    fn coarse(seconds: i64, nanoseconds: u32) -> Metadata {
        let time = Time { seconds, nanoseconds };
        Metadata { mtime: time, ctime: time, atime: time, ..entry(Kind::File) }
    }

    #[test]
    fn each_attribute_is_named_alone() {
        let source = entry(Kind::File);
        let later = Time { seconds: 1_700_000_002, nanoseconds: 1 };
        for (target, field) in [
            (Metadata { size_bytes: 4, ..source }, Fields::SIZE),
            (Metadata { uid: 9, ..source }, Fields::UID),
            (Metadata { gid: 9, ..source }, Fields::GID),
            (Metadata { mode: 0o600, ..source }, Fields::PERM),
            (Metadata { atime: later, ..source }, Fields::ATIME),
            (Metadata { mtime: later, ..source }, Fields::MTIME),
            (Metadata { ctime: later, ..source }, Fields::CTIME),
            (Metadata { kind: Kind::Fifo, ..source }, Fields::TYPE),
        ] {
            assert_eq!(attributes(&source, &target, Fields::ALL, TimeRange::All), field);
            assert_eq!(attributes(&source, &target, Fields::CONTENT, TimeRange::All), Fields::NONE);
        }
        assert_eq!(attributes(&source, &source, Fields::ALL, TimeRange::All), Fields::NONE);
    }

    #[test]
    fn sizes_of_directories_and_modes_of_links_mean_nothing() {
        let directory = entry(Kind::Directory);
        let other = Metadata { size_bytes: 9, ..directory };
        assert_eq!(attributes(&directory, &other, Fields::ALL, TimeRange::All), Fields::NONE);
        let link = entry(Kind::Symlink);
        let other = Metadata { mode: 0o777, size_bytes: 9, ..link };
        assert_eq!(attributes(&link, &other, Fields::ALL, TimeRange::All), Fields::NONE);
    }

    #[test]
    fn coarser_times_of_the_target_are_the_same_where_its_file_system_keeps_no_finer_ones() {
        let differs = |target: Metadata| {
            !attributes(&entry(Kind::File), &target, Fields::MTIME, TimeRange::All).is_empty()
        };
        assert!(!differs(coarse(1_700_000_001, 0)), "1 s");
        assert!(!differs(coarse(1_700_000_001, 120_000_000)), "10 ms");
        assert!(!differs(coarse(1_700_000_001, 123_456_700)), "100 ns");
        assert!(differs(coarse(1_700_000_002, 0)), "later");
        assert!(differs(coarse(1_699_999_999, 0)), "earlier");
        // Whole seconds on a file system with nanoseconds were set by a program.
        let fine = Time { seconds: 1_700_000_009, nanoseconds: 123_456_789 };
        assert!(differs(Metadata { ctime: fine, ..coarse(1_700_000_001, 0) }));
    }

    /// Checks a change time that is a multiple of 100 ns by chance, as one in a hundred is.
    #[test]
    fn chance_makes_no_file_system_coarse() {
        let differs = |target: Metadata, range| {
            !attributes(&entry(Kind::File), &target, Fields::MTIME, range).is_empty()
        };
        let by_chance = coarse(1_700_000_001, 123_456_700);
        for range in [TimeRange::Exact, TimeRange::BIGTIME, TimeRange::SIGNED_32, TimeRange::Ext] {
            assert!(differs(by_chance, range), "{range:?}");
        }
        assert!(!differs(coarse(1_700_000_001, 0), TimeRange::Ext), "an inode of 128 bytes");
        let read = Time { seconds: 1_700_000_009, nanoseconds: 123_456_789 };
        assert!(differs(Metadata { atime: read, ..by_chance }, TimeRange::All));
    }

    /// Returns an entry as FAT stores it: mounted in UTC+5:45, with a ctime of its own or without.
    fn on_fat(mtime_s: i64, ctime: Option<Time>) -> Metadata {
        let midnight = 1_699_920_000 - (5 * 60 + 45) * 60;
        let atime = Time { seconds: midnight, nanoseconds: 0 };
        let target = coarse(mtime_s, 0);
        Metadata { atime, ctime: ctime.unwrap_or(target.ctime), ..target }
    }

    #[test]
    fn even_seconds_of_fat_are_the_same_and_of_others_are_not() {
        let differs = |target: Metadata| {
            !attributes(&entry(Kind::File), &target, Fields::MTIME, TimeRange::All).is_empty()
        };
        let older_kernel = Time { seconds: 1_700_000_777, nanoseconds: 560_000_000 };
        for ctime in [None, Some(older_kernel)] {
            assert!(!differs(on_fat(1_700_000_000, ctime)), "{ctime:?}");
            assert!(differs(on_fat(1_700_000_002, ctime)), "later: {ctime:?}");
            assert!(differs(on_fat(1_699_999_998, ctime)), "earlier: {ctime:?}");
        }
        let even = on_fat(1_700_000_000, None);
        let another_second = Time { seconds: 1_700_000_777, nanoseconds: 0 };
        assert!(differs(Metadata { ctime: another_second, ..even }), "steps of 1 s");
        let fine = Time { seconds: 1_700_000_777, nanoseconds: 560_000_001 };
        assert!(differs(Metadata { ctime: fine, ..even }), "nanoseconds");
        let read = Time { seconds: 1_700_000_000, nanoseconds: 0 };
        assert!(differs(Metadata { atime: read, ..even }), "atime in seconds");
        let before_1970 = Time { seconds: -3, nanoseconds: 5 };
        assert_eq!(floor(before_1970, FAT_STEP_NS), Time { seconds: -4, nanoseconds: 0 });
    }

    #[test]
    fn times_that_the_target_cannot_hold_are_the_nearest_it_can() {
        let at = |seconds: i64| Time { seconds, nanoseconds: 0 };
        let same = |source: i64, target: i64, step_ns: u32, range: TimeRange| {
            is_same_time(at(source), at(target), step_ns, range)
        };
        for (source, target, range) in [
            (3_976_185_600, 2_147_483_647, TimeRange::SIGNED_32),
            (-3_000_000_000, -2_147_483_648, TimeRange::SIGNED_32),
            (20_000_000_000, 16_299_260_424, TimeRange::BIGTIME),
            (20_000_000_000, 15_032_385_535, TimeRange::Ext),
            (5, 315_532_800, TimeRange::FAT),
        ] {
            assert!(same(source, target, 1, range), "{source}");
            assert!(!same(source, target, 1, TimeRange::All), "{source} where all are kept");
            let with_more = Time { seconds: target, nanoseconds: 1 };
            assert!(!is_same_time(at(source), with_more, 1, range));
            assert!(!same(source, target - source.signum(), 1, range), "{source}");
        }
        assert!(!same(2_300_000_000, 2_147_483_647, 1, TimeRange::Ext), "room for nanoseconds");
        assert!(same(2_300_000_000, 2_147_483_647, SECOND_NS, TimeRange::Ext));
        assert!(!same(2_147_483_646, 2_147_483_647, 1, TimeRange::SIGNED_32));
        assert!(!same(2_300_000_000, 2_147_483_647, 1, TimeRange::BIGTIME));
    }

    #[test]
    fn objects_without_a_time_of_change_are_judged_by_when_they_were_stored() {
        let at = |seconds: i64| Time { seconds, nanoseconds: 0 };
        let stored = |seconds: i64| Metadata {
            mtime: at(seconds),
            ctime: at(seconds),
            known: Fields::TYPE.union(Fields::SIZE),
            ..entry(Kind::File)
        };
        let at_once = Some(Duration::ZERO);
        // Changed at 100 and a bit; moved, or given other rights, at 200.
        let changed = Time { seconds: 100, nanoseconds: 5 };
        let source = Metadata { mtime: changed, ctime: at(200), ..entry(Kind::File) };
        for (seconds, expected) in
            [(99, Clue::Differs), (100, Clue::Unclear), (200, Clue::Unclear), (201, Clue::Same)]
        {
            assert_eq!(
                clue(&source, &stored(seconds), at_once, TimeRange::All),
                expected,
                "{seconds}"
            );
        }
        // A service whose clock is ahead stores things later than they were.
        let ahead = Some(Duration::from_millis(1500));
        for (seconds, expected) in [(201, Clue::Unclear), (202, Clue::Same)] {
            assert_eq!(
                clue(&source, &stored(seconds), ahead, TimeRange::All),
                expected,
                "{seconds}"
            );
        }
        assert_eq!(clue(&source, &stored(1_000_000), None, TimeRange::All), Clue::Unclear);
        // Such an object as the source: a copy has its time, or nobody knows.
        let target = Metadata { mtime: at(300), ..source };
        assert_eq!(clue(&stored(300), &target, at_once, TimeRange::All), Clue::Same);
        assert_eq!(clue(&stored(299), &target, at_once, TimeRange::All), Clue::Unclear);
        assert_eq!(clue(&stored(300), &stored(300), at_once, TimeRange::All), Clue::Unclear);
        assert_eq!(clue(&stored(300), &stored(301), at_once, TimeRange::All), Clue::Same);
        let other = Metadata { mtime: at(301), ..target };
        assert_eq!(clue(&target, &other, at_once, TimeRange::All), Clue::Differs);
        assert_eq!(clue(&target, &target, at_once, TimeRange::All), Clue::Same);
    }

    #[test]
    fn what_one_side_does_not_know_is_named() {
        let known = Fields::TYPE.union(Fields::SIZE).union(Fields::MTIME);
        let of = |kind| (entry(kind), Metadata { known, ..entry(kind) });
        let wanted = Fields::ALL.difference(Fields::ATIME).difference(Fields::CTIME);
        let owner = Fields::UID.union(Fields::GID);
        for (kind, expected) in [
            (Kind::File, owner.union(Fields::PERM)),
            (Kind::Directory, owner.union(Fields::PERM)),
            (Kind::Symlink, owner),
        ] {
            let (all, some) = of(kind);
            assert_eq!(unknown(&all, &some, wanted), expected, "{kind:?}");
            assert_eq!(unknown(&some, &all, Fields::UID), Fields::UID);
            assert_eq!(unknown(&all, &all, Fields::ALL), Fields::NONE);
        }
        assert_eq!(unknown(&of(Kind::File).0, &of(Kind::Symlink).1, Fields::ALL), Fields::NONE);
    }

    #[test]
    fn lists_of_rights_and_other_extended_attributes_are_told_apart() {
        let of = |pairs: &[(&str, &str)]| -> Xattrs {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let source = of(&[("user.a", "1"), ("system.posix_acl_access", "x")]);
        let all = XattrFilter { acls: true, others: XattrChoice::All };
        let same = |target: &Xattrs| xattrs(Some(&source), Some(target), all);
        assert_eq!(same(&source), Fields::NONE);
        assert_eq!(same(&of(&[("user.a", "1")])), Fields::ACL);
        assert_eq!(same(&of(&[("user.a", "2"), ("system.posix_acl_access", "x")])), Fields::XATTR);
        assert_eq!(xattrs(Some(&source), None, all), Fields::NONE);
        let labelled = of(&[
            ("user.a", "1"),
            ("system.posix_acl_access", "x"),
            ("security.selinux", "given by the system"),
        ]);
        assert_eq!(same(&labelled), Fields::NONE);
        assert_eq!(xattrs(Some(&labelled), Some(&source), all), Fields::XATTR);
        assert_eq!(
            xattrs(Some(&labelled), Some(&source), XattrFilter::default()),
            Fields::NONE,
            "labels are not looked at"
        );
    }
}
