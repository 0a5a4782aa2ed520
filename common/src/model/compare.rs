//! In which attributes two entries of one path differ: a pure function of both.

use super::difference::Fields;
use super::entry::{ACL_XATTRS, Kind, Metadata, Time, Xattrs};

/// What [`attributes`] can tell.
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

/// Those of the `wanted` attributes in which the two differ. Where the types do, nothing else is said.
///
/// The size of a directory is the file system's own affair, and so is that of a link, whose target is
/// compared instead; a link has no mode. What one of the two stores does not know is not compared.
pub fn attributes(source: &Metadata, target: &Metadata, wanted: Fields) -> Fields {
    if source.kind != target.kind {
        return Fields::TYPE.intersection(wanted);
    }
    let wanted = wanted.intersection(source.known).intersection(target.known);
    let is_file = source.kind == Kind::File;
    let is_link = source.kind == Kind::Symlink;
    let step_ns = time_step_ns(target.ctime);
    let differs = |field: Fields| match field {
        Fields::SIZE => is_file && source.size_bytes != target.size_bytes,
        Fields::UID => source.uid != target.uid,
        Fields::GID => source.gid != target.gid,
        Fields::ATIME => !is_same_time(source.atime, target.atime, step_ns),
        Fields::MTIME => !is_same_time(source.mtime, target.mtime, step_ns),
        Fields::CTIME => !is_same_time(source.ctime, target.ctime, step_ns),
        Fields::PERM => !is_link && source.mode != target.mode,
        _ => false,
    };
    let fields = ATTRIBUTE_FIELDS.into_iter();
    fields.filter(|field| wanted.contains(*field) && differs(*field)).collect()
}

/// [`Fields::ACL`] and [`Fields::XATTR`], where the extended attributes differ. A side that keeps none
/// at all has nothing to compare.
pub fn xattrs(source: Option<&Xattrs>, target: Option<&Xattrs>) -> Fields {
    let (Some(source), Some(target)) = (source, target) else { return Fields::NONE };
    let is_acl = |name: &[u8]| ACL_XATTRS.contains(&name);
    let of = |xattrs: &Xattrs, acl: bool| -> Vec<(Vec<u8>, Vec<u8>)> {
        let own = xattrs.iter().filter(|(name, _)| is_acl(name) == acl);
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    [(Fields::ACL, true), (Fields::XATTR, false)]
        .into_iter()
        .filter(|(_, acl)| of(source, *acl) != of(target, *acl))
        .map(|(field, _)| field)
        .collect()
}

/// Steps in which file systems keep time, the coarsest first: ext3 and some servers 1 s, exFAT 10 ms,
/// then milli- and microseconds, NTFS and SMB 100 ns. FAT's 2 s are not told from 1 s by one time.
const TIME_STEPS_NS: [u32; 5] = [1_000_000_000, 10_000_000, 1_000_000, 1_000, 100];

/// The step in which the file system of an entry keeps time, in nanoseconds, as its time of last change
/// shows: the kernel sets that one itself, so on a file system that keeps nanoseconds it is a multiple of
/// a coarser step only once in a hundred times (for 100 ns) to a thousand million (for seconds).
fn time_step_ns(ctime: Time) -> u32 {
    TIME_STEPS_NS.into_iter().find(|step| ctime.nanoseconds.is_multiple_of(*step)).unwrap_or(1)
}

/// The last multiple of the step that is not after this time.
fn floor(time: Time, step_ns: u32) -> Time {
    Time { nanoseconds: time.nanoseconds - time.nanoseconds % step_ns, ..time }
}

/// The same time, as far as a target that keeps it in such steps can hold it.
fn is_same_time(source: Time, target: Time, step_ns: u32) -> bool {
    source == target || floor(source, step_ns) == target || is_clamped(source, target)
}

/// Last seconds that file systems can keep: of 32 bits with a sign (ext3, some ext4) and without (NFSv3,
/// XFS from long ago), of ext4's 34 bits.
const LAST_SECONDS: [i64; 3] = [i32::MAX as i64, u32::MAX as i64, 15_032_385_535];

/// The first they can keep.
const FIRST_SECONDS: i64 = i32::MIN as i64;

/// The target keeps the nearest time it can: none after the source's, or none before it.
fn is_clamped(source: Time, target: Time) -> bool {
    LAST_SECONDS.contains(&target.seconds) && source.seconds > target.seconds
        || target.seconds == FIRST_SECONDS && source.seconds < FIRST_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind) -> Metadata {
        let time = Time { seconds: 1_700_000_001, nanoseconds: 123_456_789 };
        Metadata {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size_bytes: 3,
            allocated_bytes: 4096,
            atime: time,
            mtime: time,
            ctime: time,
            links: 1,
            device: 1,
            inode: 1,
            known: Fields::ALL,
        }
    }

    fn coarse(seconds: i64, nanoseconds: u32) -> Metadata {
        let time = Time { seconds, nanoseconds };
        Metadata { mtime: time, ctime: time, ..entry(Kind::File) }
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
            (Metadata { kind: Kind::Fifo, mode: 0, ..source }, Fields::TYPE),
        ] {
            assert_eq!(attributes(&source, &target, Fields::ALL), field);
            assert_eq!(attributes(&source, &target, Fields::CONTENT), Fields::NONE);
        }
        assert_eq!(attributes(&source, &source, Fields::ALL), Fields::NONE);
    }

    #[test]
    fn sizes_of_directories_and_modes_of_links_mean_nothing() {
        let directory = entry(Kind::Directory);
        let other = Metadata { size_bytes: 9, ..directory };
        assert_eq!(attributes(&directory, &other, Fields::ALL), Fields::NONE);
        let link = entry(Kind::Symlink);
        let other = Metadata { mode: 0o777, size_bytes: 9, ..link };
        assert_eq!(attributes(&link, &other, Fields::ALL), Fields::NONE);
    }

    #[test]
    fn coarser_times_of_the_target_are_the_same_where_its_file_system_keeps_no_finer_ones() {
        let differs =
            |target: Metadata| !attributes(&entry(Kind::File), &target, Fields::MTIME).is_empty();
        assert!(!differs(coarse(1_700_000_001, 0)), "1 s");
        assert!(!differs(coarse(1_700_000_001, 120_000_000)), "10 ms");
        assert!(!differs(coarse(1_700_000_001, 123_456_700)), "100 ns");
        assert!(differs(coarse(1_700_000_002, 0)), "later");
        assert!(differs(coarse(1_699_999_999, 0)), "earlier");
        // Whole seconds on a file system that keeps nanoseconds were set by somebody.
        let fine = Time { seconds: 1_700_000_009, nanoseconds: 123_456_789 };
        assert!(differs(Metadata { ctime: fine, ..coarse(1_700_000_001, 0) }));
    }

    #[test]
    fn times_that_the_target_cannot_hold_are_the_nearest_it_can() {
        let at = |seconds: i64| Time { seconds, nanoseconds: 0 };
        assert!(is_same_time(at(3_976_185_600), at(2_147_483_647), 1));
        assert!(is_same_time(at(-3_000_000_000), at(-2_147_483_648), 1));
        assert!(!is_same_time(at(2_147_483_646), at(2_147_483_647), 1));
        assert!(!is_same_time(at(3_976_185_600), at(2_147_483_646), 1));
    }

    #[test]
    fn lists_of_rights_and_other_extended_attributes_are_told_apart() {
        let of = |pairs: &[(&str, &str)]| -> Xattrs {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let source = of(&[("user.a", "1"), ("system.posix_acl_access", "x")]);
        let same = |target: &Xattrs| xattrs(Some(&source), Some(target));
        assert_eq!(same(&source), Fields::NONE);
        assert_eq!(same(&of(&[("user.a", "1")])), Fields::ACL);
        assert_eq!(same(&of(&[("user.a", "2"), ("system.posix_acl_access", "x")])), Fields::XATTR);
        assert_eq!(xattrs(Some(&source), None), Fields::NONE);
    }
}
