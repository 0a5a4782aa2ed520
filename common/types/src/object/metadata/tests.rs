//! Tests of written metadata, and of reading the metadata of all known tools.

use super::*;

fn facts() -> Facts {
    Facts {
        kind: Kind::File,
        mode: 0o750,
        uid: 1000,
        gid: 100,
        atime: Time { seconds: 1_600_000_000, nanoseconds: 500_000_000 },
        mtime: Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
    }
}

fn all_of(facts: &Facts) -> StoredAttributes {
    StoredAttributes {
        kind: Some(facts.kind),
        mode: Some(facts.mode),
        uid: Some(facts.uid),
        gid: Some(facts.gid),
        atime: Some(facts.atime),
        mtime: Some(facts.mtime),
    }
}

fn read_pairs<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> StoredAttributes {
    read(|key| {
        let found = pairs.iter().find(|(known, _)| known.as_ref() == key);
        found.map(|(_, value)| value.as_ref())
    })
}

fn lines(pairs: &[(String, String)]) -> Vec<String> {
    pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect()
}

#[test]
fn each_schema_writes_its_keys() {
    let aws = [
        "mtime: 1700000000.123456789",
        "file-permissions: 0100750",
        "file-owner: 1000",
        "file-group: 100",
        "file-atime: 1600000000500000000ns",
        "file-mtime: 1700000000123456789ns",
    ];
    let rclone = ["mode: 100750", "uid: 1000", "gid: 100", "atime: 2020-09-13T12:26:40.5Z"];
    let written = |schema, scope| lines(&write(schema, &facts(), scope));
    assert_eq!(written(Schema::Aws, Scope::Attributes), aws);
    assert_eq!(written(Schema::Rclone, Scope::Attributes), [&aws[..1], &rclone].concat());
    assert_eq!(written(Schema::Both, Scope::Attributes), [&aws[..], &rclone].concat());
    assert!(written(Schema::None, Scope::Attributes).is_empty());
    for schema in [Schema::Aws, Schema::Rclone, Schema::Both] {
        assert_eq!(written(schema, Scope::Needed), aws[..1]);
    }
}

#[test]
fn a_link_is_told_by_its_type_or_by_its_key() {
    let link = Facts { kind: Kind::Symlink, mode: 0o777, ..facts() };
    for (schema, form, stored) in [
        (Schema::Aws, LinkForm::FileType, Some(Kind::Symlink)),
        (Schema::Both, LinkForm::FileType, Some(Kind::Symlink)),
        (Schema::Rclone, LinkForm::Suffix, None),
        (Schema::None, LinkForm::Suffix, None),
    ] {
        assert_eq!(schema.link_form(), form);
        assert_eq!(read_pairs(&write(schema, &link, Scope::Needed)).kind, stored);
    }
    let pairs = write(Schema::Aws, &link, Scope::Needed);
    assert!(lines(&pairs).contains(&"file-permissions: 0120777".to_owned()));
    let directory = Facts { kind: Kind::Directory, mode: 0o755, ..facts() };
    let pairs = write(Schema::Aws, &directory, Scope::Attributes);
    assert!(lines(&pairs).contains(&"file-permissions: 0040755".to_owned()));
}

#[test]
fn what_is_written_is_read_again() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let mut any_time = || Time {
            seconds: random.i64(-62_135_596_800..=253_402_207_200),
            nanoseconds: random.u32(0..1_000_000_000),
        };
        let (atime, mtime) = (any_time(), any_time());
        let facts = Facts {
            kind: random.choice([Kind::File, Kind::Directory, Kind::Symlink]).unwrap(),
            mode: random.u32(0..=0o7777),
            uid: random.u32(..u32::MAX),
            gid: random.u32(..u32::MAX),
            atime,
            mtime,
        };
        for schema in [Schema::Aws, Schema::Rclone, Schema::Both] {
            let mut pairs = write(schema, &facts, Scope::Attributes);
            random.shuffle(&mut pairs);
            assert!(fit(pairs.clone()).dropped.is_empty());
            assert_eq!(read_pairs(&pairs), all_of(&facts), "{pairs:?}");
        }
    }
}

#[test]
fn objects_of_other_tools_are_read() {
    let seconds = |seconds| Some(Time { seconds, nanoseconds: 0 });
    let file = StoredAttributes {
        kind: Some(Kind::File),
        mode: Some(0o644),
        uid: Some(500),
        gid: Some(501),
        atime: seconds(1_600_000_000),
        mtime: seconds(1_700_000_000),
    };
    let s3fs = [
        ("mode", "33188"),
        ("uid", "500"),
        ("gid", "501"),
        ("atime", "1600000000"),
        ("ctime", "1700000001"),
        ("mtime", "1700000000"),
    ];
    assert_eq!(read_pairs(&s3fs), file);
    let geesefs = [("mode", "33188"), ("uid", "500"), ("gid", "501"), ("mtime", "1700000000")];
    assert_eq!(read_pairs(&geesefs), StoredAttributes { atime: None, ..file });
    let data_sync = [
        ("file-permissions", "0100644"),
        ("file-owner", "500"),
        ("file-group", "501"),
        ("file-atime", "1600000000000"),
        ("file-mtime", "1700000000000000000ns"),
        ("user-agent", "aws-datasync"),
    ];
    assert_eq!(read_pairs(&data_sync), file);
    let rclone = [
        ("mode", "100644"),
        ("uid", "500"),
        ("gid", "501"),
        ("atime", "2020-09-13T14:26:40+02:00"),
        ("btime", "2020-09-13T14:26:40.25+02:00"),
        ("mtime", "1700000000"),
    ];
    assert_eq!(read_pairs(&rclone), file);
    // s3fs' links, which would be directories of mode 1471 with rclone.
    let link = [("mode", "41471"), ("ctime", "1700000001")];
    let stored = read_pairs(&link);
    assert_eq!((stored.kind, stored.mode), (Some(Kind::Symlink), Some(0o777)));
    assert_eq!(read_pairs::<&str, &str>(&[]), StoredAttributes::default());
}

#[test]
fn the_plain_keys_are_the_younger_ones() {
    let mut pairs = write(Schema::Aws, &facts(), Scope::Attributes);
    pairs.retain(|(key, _)| key != "mtime");
    let later = Time { seconds: 1_750_000_000, nanoseconds: 0 };
    // As rclone does when only the time differs, and s3fs on chmod(2) and chown(2).
    for (key, value) in
        [("mtime", "1750000000"), ("ctime", "1750000000"), ("mode", "33152"), ("uid", "7")]
    {
        pairs.push((key.into(), value.into()));
    }
    let expected = StoredAttributes {
        mode: Some(0o600),
        uid: Some(7),
        mtime: Some(later),
        ..all_of(&facts())
    };
    assert_eq!(read_pairs(&pairs), expected);
    // A plain key that makes no sense does not hide the other one.
    for (key, value) in &mut pairs {
        if !key.starts_with("file-") {
            *value = "NaN".into();
        }
    }
    assert_eq!(read_pairs(&pairs), all_of(&facts()));
}

#[test]
fn hostile_values_are_nothing() {
    let mut random = fastrand::Rng::with_seed(8);
    let long = "9".repeat(100_000);
    let values = [
        "",
        "-1",
        "NaN",
        "1e400",
        "4294967295",
        "18446744073709551616",
        "\u{fffd}",
        "٣",
        "0x1",
        &long,
    ];
    let keys = write(Schema::Both, &facts(), Scope::Attributes);
    for value in values {
        let pairs: Vec<_> = keys.iter().map(|(key, _)| (key.as_str(), value)).collect();
        let stored = read_pairs(&pairs);
        assert_eq!((stored.kind, stored.mode, stored.uid, stored.gid), (None, None, None, None));
    }
    // No text makes it panic, and whatever is read can be written.
    let letters: Vec<char> = "0123456789.-+eETZ:ns\0\u{fffd}٣".chars().collect();
    for _ in 0..100_000 {
        let pairs: Vec<(&str, String)> = keys
            .iter()
            .map(|(key, _)| {
                let length = random.usize(0..30);
                let text = std::iter::repeat_with(|| *random.choice(&letters).unwrap());
                (key.as_str(), text.take(length).collect())
            })
            .collect();
        let stored = read_pairs(&pairs);
        assert!(stored.mode.is_none_or(|mode| mode <= 0o7777));
        for time in [stored.atime, stored.mtime].into_iter().flatten() {
            let facts = Facts { atime: time, mtime: time, ..facts() };
            let again = read_pairs(&write(Schema::Both, &facts, Scope::Attributes));
            assert_eq!((again.atime, again.mtime), (Some(time), Some(time)));
        }
    }
}

#[test]
fn what_has_no_room_is_dropped_the_least_important_first() {
    let own = write(Schema::Both, &facts(), Scope::Attributes);
    let own_bytes = size_bytes(&own);
    let with = |bytes: usize| {
        let mut pairs = own.clone();
        pairs.push(("k".into(), "v".repeat(bytes - 1)));
        fit(pairs)
    };
    let exact = with(USER_METADATA_BYTES_MAX - own_bytes);
    assert!(exact.dropped.is_empty());
    assert_eq!(size_bytes(&exact.kept), USER_METADATA_BYTES_MAX);
    let over = with(USER_METADATA_BYTES_MAX - own_bytes + 1);
    assert_eq!(over.dropped, ["atime"]);
    assert_eq!(over.kept[..9], own[..9]);
    let more = with(USER_METADATA_BYTES_MAX - own_bytes + 50);
    assert_eq!(more.dropped, ["atime", "file-atime"]);
    let far = with(USER_METADATA_BYTES_MAX - 100);
    assert_eq!(far.dropped, ["atime", "file-atime", "mode", "uid", "gid", "k"]);
    let none = fit(vec![("mtime".into(), "1".repeat(USER_METADATA_BYTES_MAX))]);
    assert_eq!((none.kept, none.dropped), (Vec::new(), vec!["mtime".to_owned()]));
}

#[test]
fn times_that_no_schema_can_say_are_left_out() {
    let beyond = Time { seconds: i64::MAX, nanoseconds: 0 };
    let facts = Facts { atime: beyond, mtime: beyond, ..facts() };
    let stored = read_pairs(&write(Schema::Both, &facts, Scope::Attributes));
    assert_eq!(stored, StoredAttributes { atime: None, mtime: None, ..all_of(&facts) });
}

#[test]
fn schemas_have_words() {
    for schema in [Schema::Aws, Schema::Rclone, Schema::Both, Schema::None] {
        assert_eq!(Schema::parse(schema.word()), Ok(schema));
    }
    assert!(Schema::parse("AWS").is_err_and(|why| why.to_string().contains("rclone")));
}

#[test]
fn metadata_of_others_stays_and_older_attributes_do_not() {
    let pairs = |all: &[(&str, &str)]| -> UserMetadata {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let old = pairs(&[("mode", "33188"), ("uid", "7"), ("mtime", "1"), ("ctime", "2"), ("a", "b")]);
    let new = pairs(&[("mtime", "5"), ("file-owner", "8")]);
    let of_others = pairs(&[("a", "b"), ("mtime", "5"), ("file-owner", "8")]);
    assert_eq!(merge(&old, new.clone(), Voids::Attributes), of_others);
    let all_but_time = [&old[..2], &old[3..], &new[..]].concat();
    assert_eq!(merge(&old, new, Voids::Time), all_but_time);
    assert_eq!(merge(&old, Vec::new(), Voids::Nothing), old);
    assert_eq!(merge(&old, Vec::new(), Voids::Attributes), pairs(&[("a", "b")]));
}

#[test]
fn s3cmd_and_gsutil_are_read_and_what_is_written_anew_takes_their_place() {
    let attrs = "atime:1600000001/ctime:1600000002/gid:100/gname:users/md5:0123/mode:33184/mtime:1600000000/\
                 uid:1000/uname:u";
    let of_s3cmd = [("s3cmd-attrs", attrs)];
    let stored = read_pairs(&of_s3cmd);
    let at = |seconds| Some(Time { seconds, nanoseconds: 0 });
    assert_eq!((stored.mtime, stored.atime), (at(1_600_000_000), at(1_600_000_001)));
    assert_eq!((stored.mode, stored.uid, stored.gid), (Some(0o640), Some(1000), Some(100)));
    let of_gsutil = [
        ("goog-reserved-file-mtime", "1600000000"),
        ("goog-reserved-file-atime", "1600000001"),
        ("goog-reserved-posix-mode", "640"),
        ("goog-reserved-posix-uid", "1000"),
        ("goog-reserved-posix-gid", "100"),
    ];
    assert_eq!(read_pairs(&of_gsutil), StoredAttributes { kind: None, ..stored });
    for torn in ["", "/", ":", "mtime", "mtime:", "mtime:x", "mtime:1e9/uid:-1"] {
        assert_eq!(read_pairs(&[("s3cmd-attrs", torn)]), StoredAttributes::default(), "{torn}");
    }
    // Both are there: another tool came after s3cmd.
    assert_eq!(read_pairs(&[of_s3cmd[0], ("mtime", "1700000000")]).mtime, at(1_700_000_000));
    let owned = |pairs: &[(&str, &str)]| -> UserMetadata {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let new = write(Schema::Aws, &facts(), Scope::Attributes);
    for old in [&of_s3cmd[..], &of_gsutil] {
        assert_eq!(merge(&owned(old), new.clone(), Voids::Attributes), new);
    }
}
