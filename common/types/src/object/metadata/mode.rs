//! File types and permission bits in user metadata: octal with AWS and rclone, decimal with
//! s3fs-fuse and geesefs, and how to tell which.

use crate::entry::Kind;

/// Kind and permission bits; the kind is unknown where the value has no type bits.
pub(super) type KindAndMode = (Option<Kind>, u32);

/// Returns the `st_mode` of an entry that can be an object.
fn st_mode(kind: Kind, mode: u32) -> Option<u32> {
    let kind_bits = match kind {
        Kind::File => libc::S_IFREG,
        Kind::Directory => libc::S_IFDIR,
        Kind::Symlink => libc::S_IFLNK,
        Kind::Fifo => libc::S_IFIFO,
        Kind::Socket => libc::S_IFSOCK,
        Kind::BlockDevice | Kind::CharDevice => return None,
    };
    Some(kind_bits | mode & 0o7777)
}

/// Formats a mode for `file-permissions`: `0100644` (FSx for Lustre User Guide, "POSIX metadata
/// support for data repositories").
pub(super) fn aws(kind: Kind, mode: u32) -> Option<String> {
    st_mode(kind, mode).map(|st_mode| format!("{st_mode:07o}"))
}

/// Formats a mode for rclone's `mode`: `100644`.
pub(super) fn rclone(kind: Kind, mode: u32) -> Option<String> {
    st_mode(kind, mode).map(|st_mode| format!("{st_mode:o}"))
}

/// Reads `file-permissions`.
pub(super) fn from_aws(text: &str) -> Option<KindAndMode> {
    split(number(text, 8)?)
}

/// Tool that has written a `mode`, which tells its base; recognised by the keys beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Rclone: times in RFC 3339.
    Rclone,
    /// s3fs: `ctime`, or `atime` as a number.
    S3fs,
    /// No such key: geesefs, or an old s3fs.
    Unknown,
}

/// Reads `mode`. It is in the base in which it has the bits of a file type; `file-permissions`,
/// where that is there as well, decides what is left.
///
/// Both bases do for some numbers only: 40960 to 45055 with no 8 and no 9 are directories in octal
/// and links in decimal. rclone always writes times in RFC 3339 beside its octal ones, so without
/// those it is decimal. A number without type bits in either base is believed with a leading zero
/// or with a writer.
pub(super) fn from_plain(
    text: &str,
    writer: Writer,
    permissions: Option<KindAndMode>,
) -> Option<KindAndMode> {
    let octal = number(text, 8).and_then(split);
    let decimal = number(text, 10).filter(|_| !text.starts_with('0')).and_then(split);
    if permissions.is_some() && [octal, decimal].contains(&permissions) {
        return permissions;
    }
    // rclone copies files, directories and links only.
    let copied = [Some(Kind::File), Some(Kind::Directory), Some(Kind::Symlink)];
    let typed_octal = octal.filter(|(kind, _)| copied.contains(kind));
    let typed_decimal = decimal.filter(|(kind, _)| kind.is_some());
    match (typed_octal, typed_decimal) {
        (Some(octal), Some(_)) if writer == Writer::Rclone => Some(octal),
        (_, Some(decimal)) => Some(decimal),
        (Some(octal), None) => Some(octal),
        (None, None) if text.starts_with('0') || writer == Writer::Rclone => octal,
        (None, None) if writer == Writer::S3fs => decimal,
        (None, None) => None,
    }
}

/// Parses a number of at most 16 bits without sign, space or prefix.
fn number(text: &str, base: u32) -> Option<u32> {
    let is_short = (1..=8).contains(&text.len());
    let is_digits = is_short && text.chars().all(|digit| digit.is_digit(base));
    let value = is_digits.then(|| u32::from_str_radix(text, base).ok())??;
    (value <= 0o17_7777).then_some(value)
}

/// Splits an `st_mode`; `None` where the type bits have no meaning (inode(7)).
fn split(st_mode: u32) -> Option<KindAndMode> {
    let kind_bits = st_mode & libc::S_IFMT;
    let kind = Kind::from_mode(st_mode);
    let is_device = [libc::S_IFBLK, libc::S_IFCHR].contains(&kind_bits);
    let says_device = kind.is_device();
    let is_sound = kind_bits == 0 || !says_device || is_device;
    is_sound.then_some(((kind_bits != 0).then_some(kind), st_mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: [Kind; 3] = [Kind::File, Kind::Directory, Kind::Symlink];
    const WRITERS: [Writer; 3] = [Writer::Rclone, Writer::S3fs, Writer::Unknown];

    #[test]
    fn every_mode_of_rclones_and_s3fs_is_recognised_beside_its_writers_times() {
        let mut ambiguous = Vec::new();
        for kind in STORED {
            for mode in 0..=0o7777 {
                let expected = Some((Some(kind), mode));
                let octal = rclone(kind, mode).unwrap();
                let decimal = st_mode(kind, mode).unwrap().to_string();
                assert_eq!(from_aws(&aws(kind, mode).unwrap()), expected);
                assert_eq!(from_plain(&format!("0{octal}"), Writer::S3fs, None), expected);
                assert_eq!(from_plain(&octal, Writer::Rclone, None), expected, "{octal}");
                for writer in [Writer::S3fs, Writer::Unknown] {
                    assert_eq!(from_plain(&decimal, writer, None), expected, "{decimal}");
                    if from_plain(&octal, writer, None) != expected {
                        ambiguous.push((kind, octal.clone()));
                    }
                }
                if from_plain(&decimal, Writer::Rclone, None) != expected {
                    ambiguous.push((kind, decimal));
                }
            }
        }
        // Set-id or sticky directories in octal, and links in decimal: never a file.
        assert!(!ambiguous.is_empty());
        for (kind, text) in ambiguous {
            assert_ne!(kind, Kind::File, "{text}");
            let value: u32 = text.parse().unwrap();
            assert!((40_960..=45_055).contains(&value), "{text}");
        }
    }

    #[test]
    fn the_schema_with_types_decides_in_doubt() {
        // A sticky directory in octal, a link in decimal.
        let directory = Some((Some(Kind::Directory), 0o1777));
        let link = Some((Some(Kind::Symlink), 0o1461));
        for writer in WRITERS {
            assert_eq!(from_plain("41777", writer, directory), directory);
            assert_eq!(from_plain("41777", writer, link), link);
        }
        assert_eq!(from_plain("41777", Writer::Rclone, None), directory);
        assert_eq!(from_plain("41777", Writer::Unknown, None), link);
        // The other key was written before the mode was changed, so the plain one is used.
        let before = Some((Some(Kind::File), 0o600));
        assert_eq!(from_plain("33188", Writer::S3fs, before), Some((Some(Kind::File), 0o644)));
    }

    #[test]
    fn permissions_without_a_type_are_believed_where_the_base_is_known() {
        assert_eq!(from_plain("0644", Writer::Unknown, None), Some((None, 0o644)));
        assert_eq!(from_plain("644", Writer::Rclone, None), Some((None, 0o644)));
        assert_eq!(from_plain("420", Writer::S3fs, None), Some((None, 0o644)));
        assert_eq!(from_plain("644", Writer::Unknown, None), None);
        assert_eq!(from_aws("0644"), Some((None, 0o644)));
    }

    #[test]
    fn other_types_are_s3fs_alone() {
        for (kind, bits) in [(Kind::Fifo, libc::S_IFIFO), (Kind::BlockDevice, libc::S_IFBLK)] {
            let text = (bits | 0o640).to_string();
            assert_eq!(from_plain(&text, Writer::S3fs, None), Some((Some(kind), 0o640)));
        }
        assert_eq!(aws(Kind::CharDevice, 0o600), None);
    }

    #[test]
    fn nonsense_is_nothing() {
        let long = "1".repeat(5000);
        for bad in
            ["", "-1", "+33188", " 33188", "0x81a4", "1e5", "NaN", "99999", "200000", "\u{fffd}"]
                .into_iter()
                .chain(["0777777", "177777", "4294967296", "٣٣", &long])
        {
            assert_eq!(from_aws(bad), None, "{bad}");
            for writer in WRITERS {
                assert_eq!(from_plain(bad, writer, None), None, "{bad}");
            }
        }
    }
}
