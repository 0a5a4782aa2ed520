//! Tests of lists: they are read as they were written, and damage of any kind is one error.

use std::fs;
use std::path::Path;

use lists::base::{Base, Purpose};
use lists::labels::PartOf;
use lists::mfu::write::{MfuWriter, encode};
use lists::part::PartWriter;
use lists::part_path;
use lists::rows::Rows;
use lists::source::ListSource;
use lists::staged::{StagedDirectory, StagedFile};
use suite_tests::sandbox::Sandbox;
use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata, Time};
use types::error::Failure;
use types::listed::line::{LineFormat, write_record};
use types::listed::record::OwnedRecord;

fn entry(path: &[u8], seconds: i64, number: u64) -> OwnedRecord {
    let time = Time { seconds, nanoseconds: 999_999_999 };
    let kinds = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::BlockDevice,
        Kind::CharDevice,
    ];
    let kind = kinds[number as usize % kinds.len()];
    OwnedRecord {
        path: path.to_vec(),
        depth: path.split(|byte| *byte == b'/').count() as u32 - 1,
        metadata: Metadata {
            kind,
            mode: 0o7777 & number as u32,
            uid: u32::MAX - number as u32,
            gid: number as u32,
            size_bytes: u64::MAX - number,
            allocated_bytes: number << 9,
            atime: time,
            mtime: Time { seconds: seconds.saturating_add(1), nanoseconds: 0 },
            ctime: Time { seconds: 0, nanoseconds: 1 },
            links: u64::from(u32::MAX),
            device: u64::MAX,
            inode: number | 1 << 63,
            known: types::outcome::difference::Fields::ALL,
        },
        target: (kind == Kind::Symlink).then(|| b"\xff\n|../x".to_vec()),
        user: number.is_multiple_of(2).then(|| "jürgen".to_owned()),
        group: None,
        crc64: number.is_multiple_of(3).then_some(Crc64(number << 40)),
        digest: None,
    }
}

/// Returns names and times that text or 64 bits of nanoseconds could not hold.
fn awkward() -> Vec<OwnedRecord> {
    let mut entries = Vec::new();
    let times = [0, -1, i64::MIN, i64::MAX - 1, 9_223_372_036, 9_223_372_037, -9_223_372_037];
    for (number, seconds) in times.into_iter().enumerate() {
        let path = format!("r/time{number}");
        entries.push(entry(path.as_bytes(), seconds, number as u64));
    }
    for byte in (1..=255_u8).filter(|byte| *byte != b'/') {
        entries.push(entry(&[b"r/".as_slice(), &[byte], b"\n|\xfe"].concat(), 5, u64::from(byte)));
    }
    entries.push(entry(&b"p".repeat(70_000), 7, 3));
    entries
}

fn write_parquet(list: &Path, parts: &[&[OwnedRecord]], id: &str) {
    let list = list.as_os_str().as_encoded_bytes().to_vec();
    let staged = StagedDirectory::create(&list).expect("the list can be written");
    for (part, records) in parts.iter().enumerate() {
        let of = PartOf {
            list: staged.path().to_vec(),
            id: id.to_owned(),
            part: part as u32,
            parts: parts.len() as u32,
            sorted: None,
            roots: None,
        };
        let mut writer = PartWriter::create(&of).expect("the list can be written");
        let mut rows = Rows::default();
        for record in *records {
            rows.push(&record.view());
        }
        writer.append(&mut rows).expect("the list can be written");
        writer.finish(0).expect("the list can be written");
    }
    staged.commit().expect("the list can be written");
}

/// Returns all entries that the ranks of a job of that size would read.
fn read(list: &Path, ranks: u32) -> Result<Vec<OwnedRecord>, Failure> {
    let source = ListSource::open(list.as_os_str().as_encoded_bytes())?;
    let mut all = Vec::new();
    for rank in 0..ranks {
        for piece in source.share(rank, ranks)?.pieces {
            for record in source.records(piece)? {
                all.push(record?);
            }
        }
    }
    Ok(all)
}

#[test]
fn parquet_keeps_every_byte_and_every_time() {
    let work = Sandbox::new();
    let list = work.at("list.parquet");
    let entries = awkward();
    write_parquet(&list, &[&entries[..10], &[], &entries[10..]], "a");
    for ranks in [1, 2, 5] {
        let mut read = read(&list, ranks).unwrap();
        read.sort_by(|a, b| a.path.cmp(&b.path));
        let mut wanted = entries.clone();
        wanted.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(read, wanted);
    }
}

#[test]
fn ndjson_keeps_every_byte_and_every_time_wherever_it_is_cut() {
    let work = Sandbox::new();
    let list = work.at("list.ndjson");
    let entries = awkward();
    let mut lines = Vec::new();
    for entry in &entries {
        write_record(LineFormat::Ndjson, &entry.view(), &mut lines);
    }
    fs::write(&list, &lines).unwrap();
    assert_eq!(read(&list, 3).unwrap(), entries);
    let source = ListSource::open(list.as_os_str().as_encoded_bytes()).unwrap();
    for step in [1, 7, 100, 4096] {
        let mut all = Vec::new();
        for begin in (0..lines.len() as u64).step_by(step) {
            let end = (begin + step as u64).min(lines.len() as u64);
            let piece = lists::source::Piece::Lines { begin, end };
            all.extend(source.records(piece).unwrap().map(Result::unwrap));
            if step == 1 && begin > 3000 {
                break;
            }
        }
        assert!(step == 1 || all == entries, "pieces of {step} bytes");
    }
}

#[test]
fn parts_of_different_lists_or_too_few_are_refused() {
    let work = Sandbox::new();
    let (one, two) = (work.at("one.parquet"), work.at("two.parquet"));
    let entries = awkward();
    write_parquet(&one, &[&entries, &entries], "a");
    write_parquet(&two, &[&entries, &entries], "b");
    let part = |list: &Path, number| part_path(list.as_os_str().as_encoded_bytes(), number);
    let says = |wanted: &str| {
        let message = read(&one, 1).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    };
    fs::copy(part(&two, 1), part(&one, 1)).unwrap();
    says("belong to another list");
    fs::remove_file(part(&one, 0)).unwrap();
    says("missing");
    fs::write(one.join("other.txt"), "x").unwrap();
    says("not a list");
    assert!(StagedDirectory::create(one.as_os_str().as_encoded_bytes()).is_err());
}

#[test]
fn no_torn_or_changed_byte_of_a_part_gets_through_or_panics() {
    let work = Sandbox::new();
    let list = work.at("list.parquet");
    let entries: Vec<_> = (0..40).map(|n| entry(format!("r/{n}").as_bytes(), 1, n)).collect();
    write_parquet(&list, &[&entries], "a");
    let part = part_path(list.as_os_str().as_encoded_bytes(), 0);
    let whole = fs::read(&part).unwrap();
    for end in 0..whole.len() {
        fs::write(&part, &whole[..end]).unwrap();
        assert!(read(&list, 1).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        for bits in [0x01, 0x10, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= bits;
            fs::write(&part, &changed).unwrap();
            // What no entry depends on may change, such as statistics for other programs.
            if let Ok(read) = read(&list, 1) {
                assert_eq!(read, entries, "byte {at} changed by {bits:#x}");
            }
        }
    }
}

#[test]
fn torn_and_foreign_lines_are_one_error() {
    let work = Sandbox::new();
    let list = work.at("list.ndjson");
    let mut lines = Vec::new();
    write_record(LineFormat::Ndjson, &entry(b"r/a", 1, 0).view(), &mut lines);
    let good = String::from_utf8(lines).unwrap();
    let says = |text: &str, wanted: &str| {
        fs::write(&list, text).unwrap();
        let message = read(&list, 1).unwrap_err().to_string();
        assert!(message.contains(wanted), "{text}: {message}");
    };
    says("", "truncated");
    says("hello\n", "not a list");
    says(&good.replace("\"v\":1", "\"v\":2"), "version");
    says(&format!("{good}{}", &good[..40]), &format!("near byte {}", good.len()));
    says(&format!("{good}{}", good.replace("\"file\"", "\"whale\"")), "corrupt");
    says(&format!("{good}{}", good.replace("\"depth\":1", "\"depth\":2")), "corrupt");
    says(&format!("{good}{}", good.replace("999999999", "1000000000")), "corrupt");
    for version in ["v", "json_version"] {
        fs::write(&list, format!("{{\"{version}\":1,\"event\":\"start\"}}\n{good}")).unwrap();
        assert_eq!(read(&list, 1).unwrap().len(), 1);
    }
    says(&format!("{{\"json_version\":2,\"event\":\"start\"}}\n{good}"), "version");
    says(&format!("{good}{{\"event\":\"start\"}}\n"), "corrupt");
    says(
        &format!("{good}{{\"json_version\":1,\"event\":\"summary\",\"exit_code\":23}}\n"),
        "could not read some entries",
    );
}

/// A list that `dwalk` of mpiFileUtils has written of seven entries, on two ranks.
const RECORDED: &[u8] = include_bytes!("shared/mpifileutils.mfu");

fn write_mfu(list: &Path, entries: &[OwnedRecord], failed: u64) {
    let file = StagedFile::create(list.as_os_str().as_encoded_bytes()).unwrap();
    let mut writer = MfuWriter::new(file);
    for entries in entries.chunks(3) {
        let mut bytes = Vec::new();
        for entry in entries {
            encode(&entry.view(), &mut bytes);
        }
        writer.append(&bytes).unwrap();
    }
    writer.commit(failed).unwrap();
}

#[test]
fn lists_of_mpifileutils_are_read_as_it_wrote_them() {
    let work = Sandbox::new();
    let list = work.path().join("list");
    fs::write(&list, RECORDED).unwrap();
    for ranks in [1, 3] {
        let entries = read(&list, ranks).unwrap();
        let facts = |entry: &OwnedRecord| {
            let Metadata { mode, size_bytes, mtime, .. } = entry.metadata;
            let path = String::from_utf8(entry.path.clone()).unwrap();
            (path, entry.metadata.kind.letter(), mode, size_bytes, mtime.seconds, mtime.nanoseconds)
        };
        let of = |path: &str, kind, mode, size, seconds, nanoseconds| {
            (path.to_owned(), kind, mode, size, seconds, nanoseconds)
        };
        let wanted = [
            of("/tree", 'd', 0o1777, 120, 1_700_000_003, 0),
            of("/tree/sub", 'd', 0o755, 80, 1_700_000_002, 0),
            of("/tree/sub/deep", 'd', 0o755, 40, 1_700_000_001, 500_000_000),
            of("/tree/sub/ä\nb", '-', 0o644, 0, 1_700_000_001, 500_000_000),
            of("/tree/file", '-', 0o4755, 5, 1_700_000_000, 123_456_789),
            of("/tree/link", 'l', 0o777, 4, 1_700_000_000, 123_456_789),
            of("/tree/pipe", 'p', 0o644, 0, -2, 500_000_000),
        ];
        assert_eq!(entries.iter().map(facts).collect::<Vec<_>>(), wanted);
        let deep = &entries[2];
        assert_eq!((deep.metadata.uid, deep.metadata.gid), (1001, 50));
        assert_eq!((deep.user.as_deref(), deep.group.as_deref()), (Some("ann"), Some("staff")));
    }
}

#[test]
fn lists_of_version_3_have_two_times_more() {
    let work = Sandbox::new();
    let list = work.path().join("list");
    let version = 3_u64.to_be_bytes();
    fs::write(&list, [&version, &RECORDED[8..24], &RECORDED[8..]].concat()).unwrap();
    let newer = work.path().join("newer");
    fs::write(&newer, RECORDED).unwrap();
    assert_eq!(read(&list, 2).unwrap(), read(&newer, 2).unwrap());
    fs::write(&list, [&5_u64.to_be_bytes(), &RECORDED[8..]].concat()).unwrap();
    assert!(read(&list, 1).unwrap_err().to_string().contains("version"));
}

#[test]
fn lists_for_mpifileutils_are_those_it_writes() {
    let work = Sandbox::new();
    let (list, copy) = (work.path().join("list"), work.path().join("copy.mfu"));
    fs::write(&list, RECORDED).unwrap();
    write_mfu(&copy, &read(&list, 1).unwrap(), 0);
    assert_eq!(fs::read(&copy).unwrap(), RECORDED);
}

#[test]
fn paths_of_any_length_are_in_a_list_for_mpifileutils() {
    let work = Sandbox::new();
    let list = work.path().join("list.mfu");
    let mut entries = awkward();
    for (entry, number) in entries.iter_mut().zip(0..) {
        entry.path.insert(0, b'/');
        entry.metadata.uid = number;
    }
    write_mfu(&list, &entries, 0);
    let facts = |entry: &OwnedRecord| {
        let Metadata { kind, mode, uid, gid, size_bytes, atime, mtime, ctime, .. } = entry.metadata;
        (entry.path.clone(), kind, mode, (uid, gid), size_bytes, [atime, mtime, ctime])
    };
    let mut found: Vec<_> = read(&list, 4).unwrap().iter().map(facts).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let mut wanted: Vec<_> = entries.iter().map(facts).collect();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found == wanted);
    write_mfu(&list, &[], 0);
    assert_eq!(read(&list, 2).unwrap(), []);
    // One that lacks entries says so, and is not longer for those who do not know that.
    write_mfu(&list, &entries, 1);
    assert!(read(&list, 1).unwrap_err().to_string().contains("incomplete"));
}

#[test]
fn torn_and_hostile_lists_of_mpifileutils_are_errors() {
    let work = Sandbox::new();
    let list = work.path().join("list");
    for length in 0..RECORDED.len() {
        fs::write(&list, &RECORDED[..length]).unwrap();
        read(&list, 1).expect_err(&format!("{length} bytes"));
    }
    for more in [1, 8, 96] {
        fs::write(&list, [RECORDED, &vec![1; more]].concat()).unwrap();
        read(&list, 1).expect_err(&format!("{more} bytes more"));
    }
    // Numbers of the header: nothing is allocated that the file does not have.
    for at in (8..56).step_by(8) {
        for value in [u64::MAX, 1 << 63, 1 << 40, 1 << 32, 1, 0] {
            let mut bytes = RECORDED.to_vec();
            bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
            fs::write(&list, &bytes).unwrap();
            read(&list, 1).expect_err(&format!("{value} at {at}"));
        }
    }
    // A mode, an owner and nanoseconds that cannot be, and a path that is not there.
    for at in [0x88, 0x90, 0xa8, 0x78] {
        let mut bytes = RECORDED.to_vec();
        bytes[at..at + 8]
            .copy_from_slice(&(if at == 0x78 { 0 } else { 1_u64 << 40 }).to_be_bytes());
        fs::write(&list, &bytes).unwrap();
        read(&list, 1).expect_err(&format!("at {at}"));
    }
}

#[test]
fn a_list_that_does_not_tell_its_root_is_read_below_the_one_that_is_named() {
    let work = Sandbox::new();
    let list = work.path().join("list");
    fs::write(&list, RECORDED).unwrap();
    let depths = |root: &[u8]| -> Vec<Option<u32>> {
        let source = ListSource::open(list.as_os_str().as_encoded_bytes()).unwrap();
        let source = source.below(Base::new(root, Purpose::Read));
        let pieces = source.share(0, 1).unwrap().pieces;
        let entries = pieces.into_iter().flat_map(|piece| source.records(piece).unwrap());
        entries.map(|entry| entry.ok().map(|entry| entry.depth)).collect()
    };
    assert_eq!(depths(b"/tree/"), [0, 1, 2, 2, 1, 1, 1].map(Some));
    assert_eq!(depths(b"/"), [1, 2, 3, 3, 2, 2, 2].map(Some));
    assert_eq!(depths(b"/tree/sub"), [None, Some(0), Some(1), Some(1), None, None, None]);
    assert_eq!(depths(b"/tre"), [None; 7]);
}
