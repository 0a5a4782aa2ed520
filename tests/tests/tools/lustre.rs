//! Tests of layouts on Lustre, under real `mpiexec`, at the seam: a library gives the file system's
//! answers, which are byte for byte those of `lustre_user.h`. The behaviour of a real Lustre is not
//! tested here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use suite_tests::fake_lustre::{Call, FakeLustre, layout, put_layout};
use suite_tests::job::{Ended, alone, assert_identical, program, ranks_of, run, tool};
use suite_tests::mounts::SmallDisk;
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;

/// Encodes `lov_user_md_v1`, and with a pool `lov_user_md_v3`, as a new file takes it.
fn plain(stripe_count: u16, stripe_bytes: u32, pool: Option<&str>) -> Vec<u8> {
    let mut blob = vec![0xd0, 0x0b, if pool.is_some() { 0xd3 } else { 0xd1 }, 0x0b, 1, 0, 0, 0];
    blob.extend([0; 16]);
    blob.extend(stripe_bytes.to_le_bytes());
    blob.extend(stripe_count.to_le_bytes());
    blob.extend([0xff, 0xff]);
    if let Some(pool) = pool {
        blob.extend(pool.as_bytes());
        blob.resize(48, 0);
    }
    blob
}

/// Adds a generation and objects, 24 bytes each, as a file's own layout has them.
fn with_objects(mut blob: Vec<u8>, count: u8) -> Vec<u8> {
    blob[8] = 42;
    blob[30..32].copy_from_slice(&[1, 0]);
    for target in 0..count {
        blob.extend([9; 20]);
        blob.extend([target, 0, 0, 0]);
    }
    blob
}

/// Encodes `lov_comp_md_v1`: 1 stripe up to 1 MiB, then 4. `of_file` has numbers, flags and a
/// generation.
fn composite(of_file: bool) -> Vec<u8> {
    let (id, flags) = if of_file { (1, 0x10) } else { (0, 0) };
    let generation = u8::from(of_file) * 3;
    let mut blob = vec![0xd0, 0x0b, 0xd6, 0x0b, 192, 0, 0, 0, generation, 0, 0, 0, 0, 0, 2, 0];
    blob.extend([0; 16]);
    for (number, start, end, at) in [(0, 0, 1_u64 << 20, 128_u32), (1, 1 << 20, u64::MAX, 160)] {
        blob.extend((id * (number + 1_u32)).to_le_bytes());
        blob.extend((flags * (1 - number)).to_le_bytes());
        blob.extend((start as u64).to_le_bytes());
        blob.extend(end.to_le_bytes());
        blob.extend(at.to_le_bytes());
        blob.extend(32_u32.to_le_bytes());
        blob.extend([generation; 4]);
        blob.extend([0; 12]);
    }
    [blob, plain(1, 1 << 20, None), plain(4, 1 << 20, None)].concat()
}

fn hex(blob: &[u8]) -> String {
    let mut dump = String::new();
    for byte in blob {
        write!(dump, "{byte:02x}").unwrap();
    }
    dump
}

/// Returns the calls by file, in their order.
fn by_file(calls: Vec<Call>) -> BTreeMap<PathBuf, Vec<Call>> {
    let mut files: BTreeMap<PathBuf, Vec<Call>> = BTreeMap::new();
    for call in calls.into_iter().filter(|call| call.what != "fstatfs") {
        files.entry(call.path.clone()).or_default().push(call);
    }
    files
}

/// Returns the layouts that were set, each on a file of which nothing was written yet.
#[track_caller]
fn layouts_set(calls: Vec<Call>) -> Vec<String> {
    let mut set = Vec::new();
    for (path, calls) in by_file(calls) {
        let whats: Vec<&str> = calls.iter().map(|call| &*call.what).collect();
        assert!(!whats.contains(&"set-by-name"), "{}: {whats:?}", path.display());
        if whats.contains(&"set") {
            assert_eq!(whats[..2], ["bare", "set"], "{}", path.display());
            assert!(!whats[2..].iter().any(|what| matches!(*what, "set" | "bare" | "create")));
            set.push(calls[1].more[0].clone());
        } else {
            assert_eq!(whats[0], "create", "{}", path.display());
        }
    }
    set
}

fn go(lustre: &FakeLustre, count: u32, name: &str, args: &[&str], paths: &[&Path]) -> Ended {
    let mut command = tool(count, name);
    command.arg("--json").args(args).args(paths);
    run(lustre.show_to(&mut command))
}

/// Creates a large file, a small one and an empty one.
fn three_files(dir: &Path) {
    trees::write(&dir.join("large"), &trees::noise((21 << 20) + 5));
    trees::write(&dir.join("below/small"), b"small");
    trees::write(&dir.join("empty"), b"");
}

#[test]
fn files_get_their_layout_before_they_are_written() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let source = work.source();
    three_files(&source);
    for (count, moved) in [(1, "auto"), (2, "never"), (4, "never")] {
        let target = lustre.path().join(format!("t{count}"));
        let args = ["-p", "-k", "4MiB", "-b", "3MiB", "--reflink", moved, "--stripe", "4,1MiB"];
        let ended = go(&lustre, count, "dcp", &args, &[&source, &target]).expect(0);
        assert_eq!(ended.summary()["totals"]["layouts_not_set"], 0);
        let calls = lustre.calls();
        assert_eq!(layouts_set(calls.clone()), vec![hex(&plain(4, 1 << 20, None)); 3]);
        assert!(
            calls.iter().all(|call| !call.path.ends_with("large")),
            "staged under another name"
        );
        // Writes are pieces of whole stripes: none crosses the border of two objects.
        let writes = calls.iter().filter(|call| call.what == "write");
        let extents: Vec<_> = writes.map(Call::extent).filter(|extent| extent.1 > 5).collect();
        // The kernel's own copying is not seen.
        assert!(moved == "auto" || extents.len() > 20, "{extents:?}");
        for (offset, length) in extents {
            assert_eq!(
                offset >> 20,
                (offset + length - 1) >> 20,
                "{count} ranks: {offset}+{length}"
            );
        }
        assert_identical(&source, &target);
        let large = layout(&target.join("large"));
        assert_eq!((large.len(), large[28]), (32 + 4 * 24, 4));
    }
}

/// Checks that a writer changes objects seldom, so that others have the other objects: 21 stripes
/// over 4 objects make three changes, not twenty.
#[test]
fn who_writes_has_one_object_after_the_other() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let source = work.source();
    three_files(&source);
    let args = ["--threads", "1", "-k", "4MiB", "--reflink", "never", "--stripe", "4,1MiB"];
    go(&lustre, 1, "dcp", &args, &[&source.join("large"), &lustre.path()]).expect(0);
    let calls = lustre.calls();
    let writes = calls.iter().filter(|call| call.what == "write");
    let objects: Vec<u64> = writes.map(|call| (call.extent().0 >> 20) % 4).collect();
    let changes = objects.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(changes, 3, "{objects:?}");
}

#[test]
fn chunks_along_the_stripes_are_read_again_where_that_is_requested() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let source = work.source();
    three_files(&source);
    // The last round of stripes is not full: some chunks have nothing.
    trees::write(&source.join("odd"), &trees::noise((9 << 20) + 1));
    for count in [1, 4] {
        let target = lustre.path().join(format!("t{count}"));
        let manifest = work.path().join(format!("m{count}.parquet"));
        let manifest = manifest.to_str().unwrap();
        let mut args = vec!["-p", "-k", "1MiB", "--verify", "transferred", "--stripe", "4,1MiB"];
        args.extend(["--manifest", manifest]);
        let ended = go(&lustre, count, "dcp", &args, &[&source, &target]).expect(0);
        let totals = &ended.summary()["totals"];
        assert_eq!((&totals["verified_files"], &totals["not_verified"]), (&4.into(), &0.into()));
        assert_eq!(totals["verified_bytes"], (30 << 20) + 5 + 1 + 5, "{count} ranks");
        // Checksums of the whole files were made of those of their chunks.
        run(alone("dcmp").args(["--manifest", manifest]).arg(&target)).expect(0);
        assert_identical(&source, &target);
    }
}

/// Checks that a layout is not copied even where all attributes are to be preserved: it names the
/// objects of another file.
#[test]
fn a_layout_is_never_copied_as_an_attribute() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let source = lustre.path().join("s");
    three_files(&source);
    put_layout(&source.join("large"), &with_objects(plain(3, 2 << 20, None), 3));
    put_layout(&source.join("below/small"), &with_objects(plain(2, 1 << 20, Some("flash")), 2));
    put_layout(&source, &plain(5, 1 << 20, None));
    for count in [1, 4] {
        for (name, args) in
            [("dcp", ["-a", "--xattrs", "all"]), ("dsync", ["-a", "--xattrs", "all"])]
        {
            let target = lustre.path().join(format!("{name}{count}"));
            let slash = PathBuf::from(format!("{}/", source.display()));
            go(&lustre, count, name, &args, &[&slash, &target]).expect(0);
            assert_eq!(layouts_set(lustre.calls()), Vec::<String>::new());
            assert_eq!(layout(&target.join("large"))[24..30], [0, 0, 0x40, 0, 1, 0]);
        }
    }
}

#[test]
fn a_layout_that_is_kept_gets_objects_of_its_own() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let source = lustre.path().join("s");
    let pool = plain(2, 64 << 10, Some("flash"));
    for (name, blob) in [
        ("plain", with_objects(plain(3, 2 << 20, None), 3)),
        ("pool", with_objects(pool.clone(), 2)),
        ("composite", composite(true)),
    ] {
        trees::write(&source.join(name), &trees::noise((5 << 20) + 1));
        put_layout(&source.join(name), &blob);
    }
    trees::write(&source.join("without"), b"");
    // Compressed: to be striped like that would say so of plain content.
    let mut compressed = with_objects(plain(3, 2 << 20, None), 3);
    compressed[5] = 8;
    trees::write(&source.join("compressed"), b"");
    put_layout(&source.join("compressed"), &compressed);
    let mut expected =
        [plain(3, 2 << 20, None), pool, composite(false)].map(|blob| hex(&blob)).to_vec();
    expected.sort();
    for count in [1, 2, 4] {
        for name in ["dcp", "dsync"] {
            let target = lustre.path().join(format!("{name}{count}"));
            let args = ["-p", "-k", "1MiB", "--xattrs", "all", "--stripe", "keep"];
            let args = if name == "dcp" { &args[..] } else { &args[1..] };
            let ended = go(&lustre, count, name, args, &[&source, &target]).expect(0);
            assert_eq!(ended.summary()["totals"]["layouts_not_set"], 1);
            let mut set = layouts_set(lustre.calls());
            set.sort();
            assert_eq!(set, expected, "{name} on {count} ranks");
        }
    }
}

/// Creates a file with nothing but two islands of data.
fn sparse(path: &Path, gibibytes: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(gibibytes << 30).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"middle", gibibytes << 29).unwrap();
}

#[test]
fn large_files_get_more_stripes_where_the_directory_has_no_better_rule() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let source = work.source();
    sparse(&source.join("huge"), 16);
    trees::write(&source.join("small"), b"small");
    let rules = [
        ("none", None, Some(plain(8, 0, None))),
        ("one", Some(plain(1, 1 << 20, None)), Some(plain(8, 1 << 20, None))),
        ("pool", Some(plain(2, 0, Some("disk"))), Some(plain(8, 0, Some("disk")))),
        ("all", Some(plain(0xffff, 1 << 20, None)), None),
        ("progressive", Some(composite(false)), None),
    ];
    for (name, rule, expected) in rules {
        let target = lustre.path().join(name);
        fs::create_dir(&target).unwrap();
        if let Some(rule) = rule {
            put_layout(&target, &rule);
        }
        let ended =
            go(&lustre, 2, "dcp", &[], &[&source.join("huge"), &source.join("small"), &target]);
        ended.expect(0);
        let expected: Vec<String> = expected.iter().map(|blob| hex(blob)).collect();
        assert_eq!(layouts_set(lustre.calls()), expected, "{name}");
        assert_eq!(fs::metadata(target.join("huge")).unwrap().len(), 16 << 30);
        let file = File::open(target.join("huge")).unwrap();
        let mut middle = [0; 6];
        file.read_exact_at(&mut middle, 8 << 30).unwrap();
        assert_eq!(&middle, b"middle");
    }
    let target = lustre.path().join("default");
    let args = ["--stripe", "default"];
    go(&lustre, 2, "dcp", &args, &[&source.join("huge"), &target]).expect(0);
    assert_eq!(layouts_set(lustre.calls()), Vec::<String>::new());
}

/// Checks that the root of the file system has the default of all directories without one of their
/// own.
#[test]
fn a_directory_without_a_rule_has_that_of_the_root() {
    need_root!();
    let work = Sandbox::on_disk();
    let disk = SmallDisk::mount("size=16m");
    let lustre = FakeLustre::all_of(disk.path());
    let source = work.source();
    sparse(&source, 4);
    let below = lustre.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    for (rule, expected) in [
        (plain(1, 128 << 10, Some("root")), Some(plain(4, 128 << 10, Some("root")))),
        (composite(false), None),
    ] {
        put_layout(&lustre.path(), &rule);
        go(&lustre, 2, "dcp", &[], &[&source, &below]).expect(0);
        let expected: Vec<String> = expected.iter().map(|blob| hex(blob)).collect();
        assert_eq!(layouts_set(lustre.calls()), expected);
    }
}

/// Checks that a file keeps its layout, whatever is set: its replacement is another file.
#[test]
fn what_replaces_a_file_has_its_own_layout() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let (source, target) = (work.source(), lustre.path().join("t"));
    three_files(&source);
    go(&lustre, 2, "dsync", &[], &[&source, &target]).expect(0);
    lustre.calls();
    assert_eq!(layout(&target.join("large"))[28], 1);
    fs::write(source.join("large"), trees::noise(9 << 20)).unwrap();
    let args = ["-k", "1MiB", "--stripe", "all,64KiB"];
    go(&lustre, 2, "dsync", &args, &[&source, &target]).expect(0);
    assert_eq!(layouts_set(lustre.calls()), [hex(&plain(0xffff, 64 << 10, None))]);
    assert_eq!(layout(&target.join("large"))[24..30], [0, 0, 1, 0, 8, 0]);
    assert_eq!(layout(&target.join("below/small"))[28], 1);
    assert_identical(&source, &target);
}

#[test]
fn files_whose_layout_is_not_taken_are_copied_and_counted() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let (source, target) = (work.source(), lustre.path().join("t"));
    three_files(&source);
    for count in [1, 4] {
        let target = target.join(count.to_string());
        fs::create_dir_all(&target).unwrap();
        let mut dcp = tool(count, "dcp");
        dcp.env("FAKE_LUSTRE_DENY", "1").args(["-p", "-k", "1MiB", "--stripe", "4,1MiB"]);
        dcp.arg(format!("{}/", source.display())).arg(&target);
        let ended = run(lustre.show_to(&mut dcp)).expect(0);
        assert!(ended.stdout.contains("layouts not set               3"), "{}", ended.stdout);
        assert_identical(&source, &target);
        assert_eq!(layout(&target.join("large"))[28], 1);
        for (path, calls) in by_file(lustre.calls()) {
            let whats: Vec<&str> = calls.iter().map(|call| &*call.what).collect();
            assert_eq!(whats[..3], ["bare", "set", "create"], "{}", path.display());
        }
    }
}

#[test]
fn elsewhere_stripes_have_no_effect_and_that_is_said_once() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    three_files(&source);
    for name in ["dcp", "dsync"] {
        let mut command = tool(2, name);
        command.args(["--stripe", "4,1MiB"]).args([&source, &target]);
        let ended = run(&mut command).expect(0);
        assert_eq!(ended.stderr.matches("--stripe has no effect").count(), 1, "{}", ended.stderr);
        fs::remove_dir_all(&target).unwrap();
    }
    let ended = run(alone("dcp").args(["--stripe", "4,1000"]).args([&source, &target])).expect(2);
    assert!(ended.stderr.contains("multiple of 64 KiB"), "{}", ended.stderr);
    let mut dcp = alone("dcp");
    let ended = run(dcp.env("DCP_STRIPE", "default").args([&source, &target])).expect(0);
    assert!(ended.stderr.contains("--stripe has no effect"), "{}", ended.stderr);
}

/// Checks that without Lustre files cost no further call: there is one for each root, to recognise
/// DAOS, and where files are copied in chunks one for each job.
#[test]
fn elsewhere_layouts_cost_nothing() {
    let work = Sandbox::on_disk();
    let source = work.source();
    three_files(&source);
    let log = work.at("log");
    for (chunk, most) in [("32MiB", 2), ("1MiB", 3)] {
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-e",
            "trace=fstatfs,statfs,fgetxattr,lgetxattr,getxattr,fsetxattr",
            "-o",
        ]);
        strace.arg(&log).arg(program("dcp")).args(["-k", chunk]);
        run(strace.arg(&source).arg(work.path().join(chunk))).expect(0);
        let log = fs::read_to_string(&log).unwrap();
        assert!(!log.contains("lustre"), "{log}");
        // The C library checks for SELinux before main().
        let asked = log.lines().filter(|line| line.contains("fstatfs(")).count();
        assert!(asked <= most, "{log}");
    }
}

/// Checks that interleaved chunks of a killed job are found again.
#[test]
fn a_killed_job_is_gone_on_with_along_the_stripes() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let (source, target) = (work.source(), lustre.path().join("t"));
    trees::write(&source.join("large"), &trees::noise((128 << 20) + 7));
    let copy = |count| {
        let mut dcp = tool(count, "dcp");
        dcp.args(["--json", "-p", "--resume", "--threads", "2", "-k", "256KiB", "-b", "1KiB"]);
        dcp.args(["--stripe", "4,64KiB"]).args([&source, &target]);
        lustre.show_to(&mut dcp);
        dcp
    };
    let mut job = copy(2);
    let mut job =
        job.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_within(&mut job, "chunks are noted", || lustre.noted_bytes() >= 1_000_000);
    for pid in ranks_of(job.id(), "dcp") {
        run(Command::new("kill").args(["-KILL", &pid.to_string()]));
    }
    job.wait().unwrap();
    assert_eq!(layouts_set(lustre.calls()), [hex(&plain(4, 64 << 10, None))]);
    assert!(!target.join("large").exists());
    let ended = run(&mut copy(4)).expect(0);
    let bytes = |what: &str| ended.summary()["totals"][what].as_u64().unwrap();
    assert!(bytes("resumed_bytes") >= 1 << 20, "{} bytes", bytes("resumed_bytes"));
    assert_eq!(bytes("resumed_bytes") + bytes("copied_bytes"), (128 << 20) + 7);
    assert!(lustre.calls().iter().all(|call| call.what != "set" && call.what != "bare"));
    assert_identical(&source, &target);
}

#[test]
fn dwalk_counts_files_by_stripes_and_pools() {
    let work = Sandbox::on_disk();
    let lustre = FakeLustre::below(work.path());
    let tree = lustre.path().join("tree");
    let layouts = [
        ("one", with_objects(plain(1, 1 << 20, None), 1)),
        ("d/four", with_objects(plain(4, 1 << 20, Some("flash")), 4)),
        ("d/also", with_objects(plain(4, 4 << 20, Some("disk")), 4)),
        ("d/progressive", composite(true)),
        ("torn", vec![0xd0, 0x0b]),
    ];
    for (name, blob) in &layouts {
        trees::write(&tree.join(name), &[1; 100]);
        put_layout(&tree.join(name), blob);
    }
    trees::write(&tree.join("without"), b"");
    for count in [1, 2, 4] {
        let striping = &go(&lustre, count, "dwalk", &["--striping"], &[&tree]).expect(0).summary()
            ["usage"]["striping"];
        let counts: Vec<_> = striping["counts"].as_array().unwrap().iter().collect();
        let row = |row: &serde_json::Value| {
            format!("{} {} {} {}", row["layout"], row["stripes"], row["files"], row["bytes"])
        };
        let rows: Vec<String> = counts.into_iter().map(row).collect();
        assert_eq!(rows, ["\"plain\" 1 1 100", "\"plain\" 4 2 200", "\"composite\" 1 1 100"]);
        let pools = striping["pools"].as_array().unwrap();
        assert_eq!(pools.len(), 2);
        assert_eq!((&pools[0]["pool"]["text"], &pools[0]["files"]), (&"disk".into(), &1.into()));
        assert_eq!(
            (&striping["unstriped"]["files"], &striping["unstriped"]["bytes"]),
            (&2.into(), &100.into())
        );
    }
    let mut dwalk = alone("dwalk");
    let text = run(lustre.show_to(dwalk.arg("--striping").arg(&tree))).expect(0).stdout;
    for row in ["stripes ", "\n1, composite ", "\nnone ", "\npool ", "\nflash "] {
        assert!(text.contains(row), "{text}");
    }
    // Elsewhere no file has a layout.
    let ended = run(alone("dwalk").args(["--json", "--striping"]).arg(&tree)).expect(0);
    assert_eq!(ended.summary()["usage"]["striping"]["unstriped"]["files"], 6);
}
