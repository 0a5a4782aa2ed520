//! Entries as lines of text in the columns of mpiFileUtils' dwalk, for scripts that read those.

use jiff::tz::TimeZone;

use crate::entry::{Kind, Metadata, Time};
use crate::listed::record::Record;
use crate::path;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Appends an entry: mode, owner, group, size with its unit, modification time to the minute in the
/// local time zone, path. Unusual bytes of a path are escaped, so that an entry stays one line.
pub fn write(record: &Record<'_>, lines: &mut Vec<u8>) {
    let Metadata { uid, gid, size_bytes, mtime, .. } = *record.metadata;
    let owner = |name: Option<&str>, id: u32| match name {
        Some(name) => path::escaped(name.as_bytes()),
        None => id.to_string(),
    };
    let (size, unit) = with_unit(size_bytes);
    let line = format!(
        "{} {} {} {size:>7.3} {unit:>3} {} {}\n",
        mode_text(record.metadata),
        owner(record.user, uid),
        owner(record.group, gid),
        time_text(mtime, &TimeZone::system()),
        path::escaped(record.path),
    );
    lines.extend_from_slice(line.as_bytes());
}

fn with_unit(bytes: u64) -> (f64, &'static str) {
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    (size, UNITS[unit])
}

/// Formats the mode without set-id and sticky bits, and all types but directories and links as
/// files.
fn mode_text(metadata: &Metadata) -> String {
    let kind = match metadata.kind {
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        _ => '-',
    };
    let bit = |(index, letter): (u32, char)| {
        if metadata.mode & 0o400 >> index != 0 { letter } else { '-' }
    };
    std::iter::once(kind).chain((0..9).zip("rwxrwxrwx".chars()).map(bit)).collect()
}

fn time_text(time: Time, zone: &TimeZone) -> String {
    match jiff::Timestamp::new(time.seconds, 0) {
        Ok(stamp) => stamp.to_zoned(zone.clone()).strftime("%b %e %Y %H:%M").to_string(),
        Err(_) => format!("@{}", time.seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_as_in_the_other_suite() {
        let size = |bytes| {
            let (size, unit) = with_unit(bytes);
            format!("{size:>7.3} {unit:>3}")
        };
        assert_eq!(size(3), "  3.000   B");
        assert_eq!(size(4096), "  4.000 KiB");
        assert_eq!(size(1023 << 20), "1023.000 MiB");
        assert_eq!(size(u64::MAX), " 16.000 EiB");
        let time = Time { seconds: 1_700_000_000, nanoseconds: 0 };
        assert_eq!(time_text(time, &TimeZone::UTC), "Nov 14 2023 22:13");
        let early = Time { seconds: 86_400, nanoseconds: 0 };
        assert_eq!(time_text(early, &TimeZone::UTC), "Jan  2 1970 00:00");
    }
}
