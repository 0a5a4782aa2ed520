//! Tests of mounts of DAOS's dfuse, and of containers by name, with a file system and a program
//! that behave like them: neither was run on a real DAOS.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use suite_tests::dfuse::FakeDfuse;
use suite_tests::job::{Ended, alone, assert_identical, ranks_of, run, tool};
use suite_tests::mounts::SlowDisk;
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;

const POOL: &str = "0f3eb0a8-1d1a-4fbc-a0bb-9c8a2e0b1c2d";
const CONTAINER: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn small_tree(root: &Path) {
    trees::small_files(root, 3, 20);
    trees::write(&root.join("large"), &trees::noise(5_000_000));
    std::os::unix::fs::symlink("large", root.join("link")).unwrap();
}

/// Returns a job with the program that mounts.
fn job(dfuse: &FakeDfuse, count: u32, args: &[&str]) -> Ended {
    run(dfuse.in_path(tool(count, args[0]).args(&args[1..])))
}

#[test]
fn a_container_is_mounted_once_for_all_ranks_and_unmounted_at_the_end() {
    need_root!();
    let (work, dfuse) = (Sandbox::on_disk(), FakeDfuse::new());
    let source = work.at("source");
    small_tree(&source);
    let content = dfuse.container("pool", "cont.1");
    for count in [1, 4] {
        let back = work.path().join(format!("back-{count}"));
        let inside = format!("daos://pool/cont.1/up-{count}");
        let source = text(&source);
        for (args, code) in [
            (&["dcp", "-p", "-k", "1MiB", source, &inside][..], 0),
            (&["dcmp", source, &inside], 0),
            (&["dwalk", &inside], 0),
            (&["dsync", &inside, text(&back)], 0),
            (&["dcp", "-p", "daos://pool/cont.1/missing", text(&back)], 3),
            (&["dcmp", source, "daos://pool/cont.1"], 1),
        ] {
            let ended = job(&dfuse, count, args).expect(code);
            assert_eq!((dfuse.take_starts(), dfuse.is_clean()), (1, true), "{args:?} {ended:?}");
        }
        assert_identical(Path::new(source), &content.join(format!("up-{count}")));
        assert_identical(Path::new(source), &back);
    }
}

#[test]
fn a_container_itself_stands_for_what_is_in_it() {
    need_root!();
    let (work, dfuse) = (Sandbox::on_disk(), FakeDfuse::new());
    let [from, to] = ["from", "to"].map(|name| dfuse.container("p", name));
    small_tree(&from);
    job(&dfuse, 4, &["dcp", "-p", "daos://p/from", "daos://p/to"]).expect(0);
    assert_eq!((dfuse.take_starts(), dfuse.is_clean()), (2, true));
    assert_identical(&from.join("d0000"), &to.join("d0000"));
    job(&dfuse, 1, &["dsync", "-D", "daos:///p/from/d0001/", "daos://p/to/"]).expect(0);
    assert_identical(&from.join("d0001"), &to);
    let single = work.at("single");
    job(&dfuse, 1, &["dcp", "daos://p/from/large", text(&single)]).expect(0);
    assert_eq!(fs::read(&single).unwrap(), fs::read(from.join("large")).unwrap());
    let out = work.at("out");
    fs::create_dir(&out).unwrap();
    job(&dfuse, 1, &["dcp", "-p", "daos://p/from", text(&out)]).expect(0);
    assert!(out.join("large").exists());
    // What says of a mount's root which container it is belongs to no copy.
    let mut names = [0; 256];
    let length = rustix::fs::listxattr(&out, &mut names).unwrap();
    assert!(!names[..length].windows(9).any(|name| name == b"user.daos"));
}

#[test]
fn what_cannot_be_mounted_is_one_clear_error() {
    need_root!();
    let dfuse = FakeDfuse::new();
    dfuse.container("pool", "good");
    let ended = job(&dfuse, 4, &["dcp", "daos://pool/good/x", "daos://pool/none/x"]).expect(3);
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("daos://")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("daos://pool/none: dfuse:") && said[0].contains("1005"), "{said:?}");
    assert!(dfuse.is_clean());
    // Not with the program in PATH.
    let ended = run(alone("dwalk").arg("daos://pool/good")).expect(3);
    assert!(ended.stderr.contains("no program \"dfuse\" in PATH"), "{}", ended.stderr);
    let ended = run(alone("dwalk").arg("daos://pool")).expect(2);
    assert!(ended.stderr.contains("write daos://POOL/CONTAINER"), "{}", ended.stderr);
}

#[test]
fn a_job_that_is_told_to_stop_unmounts() {
    need_root!();
    let (work, dfuse) = (Sandbox::on_disk(), FakeDfuse::new());
    let content = dfuse.container("pool", "stopped");
    trees::small_files(&content, 40, 100);
    let slow = SlowDisk::mount(work.path(), Duration::from_millis(5));
    for (count, signal) in [(1, "INT"), (4, "TERM")] {
        let target = slow.path().join(format!("copy-{count}"));
        let mut dcp = tool(count, "dcp");
        dcp.args(["--threads=1", "daos://pool/stopped", text(&target)]);
        let mut dcp =
            dfuse.in_path(&mut dcp).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let has_some = || fs::read_dir(&target).is_ok_and(|mut names| names.next().is_some());
        wait_within(&mut dcp, "something has arrived", has_some);
        assert!(dfuse.is_mounted());
        let rank = *ranks_of(dcp.id(), "dcp").last().unwrap_or(&dcp.id());
        run(Command::new("kill").arg(format!("-{signal}")).arg(rank.to_string())).expect(0);
        assert_eq!(dcp.wait().unwrap().code(), Some(20));
        assert!(dfuse.is_clean());
    }
}

#[test]
fn a_mount_that_is_there_is_used() {
    need_root!();
    let work = Sandbox::on_disk();
    let [source, content] = ["source", "content"].map(|name| work.at(name));
    small_tree(&source);
    fs::create_dir(&content).unwrap();
    let link = format!("DAOS.POSIX://{POOL}/{CONTAINER}");
    let _mount = SlowDisk::as_dfuse(&content, &link, "pool/cont", &work.at("asked"));
    let places = ["daos://pool/cont".to_owned(), format!("daos://{POOL}/{CONTAINER}")];
    for (place, count) in places.iter().zip([1, 4]) {
        let inside = format!("{place}/{count}");
        run(tool(count, "dcp").args(["-p", text(&source), &inside])).expect(0);
        assert_identical(&source, &content.join(count.to_string()));
        run(tool(count, "dcmp").args([text(&source), &inside])).expect(0);
    }
    let other = run(alone("dwalk").arg(format!("daos://{CONTAINER}/{POOL}"))).expect(3);
    assert!(other.stderr.contains("no such mount"), "{}", other.stderr);
}

#[test]
fn what_dfuse_does_not_do_is_counted_and_said_once() {
    need_root!();
    let work = Sandbox::on_disk();
    let [source, content] = ["source", "content"].map(|name| work.at(name));
    small_tree(&source);
    for name in 0..10 {
        let file = source.join(format!("d0000/f{name:05}"));
        fs::hard_link(&file, source.join(format!("name-{name}"))).unwrap();
        chown(&file, Some(1234), None).unwrap();
        let mut setfacl = Command::new("setfacl");
        run(setfacl.args(["-m", "u:1235:r"]).arg(&file)).expect(0);
    }
    run(Command::new("mkfifo").arg(source.join("fifo"))).expect(0);
    fs::create_dir(&content).unwrap();
    let asked = work.at("asked");
    let mount = SlowDisk::as_dfuse(&content, "DAOS.POSIX://a/b", "mount", &asked);
    let copy = mount.path().join("copy");
    let args = ["-a", "-k", "1500000", "--json", text(&source), text(&copy)];
    let ended = run(tool(4, "dcp").args(args)).expect(0);
    let summary = ended.summary();
    let totals = &summary["totals"];
    assert_eq!(
        (&totals["hard_links_not_preserved"], &totals["owner_not_preserved"]),
        (&10.into(), &20.into())
    );
    assert_eq!(totals["xattrs_not_preserved"], 20);
    // 5,000,000 bytes in whole chunks of dfuse: 2 MiB, where 1.5 MB were asked for.
    assert_eq!(totals["chunks"], 3, "{summary}");
    assert_eq!(totals["special_files_skipped"], 1);
    fs::remove_file(source.join("fifo")).unwrap();
    let diff = run(Command::new("diff").args(["-r", "--no-dereference"]).args([&source, &copy]));
    assert_eq!((diff.code, &*diff.stdout), (Some(0), ""));
    let asked_for = || fs::read_to_string(&asked).unwrap().matches("COPY_FILE_RANGE").count();
    assert_eq!(asked_for(), 0);
    // As a program does that does not know better.
    let from = fs::File::open(copy.join("large")).unwrap();
    let to = fs::File::create(copy.join("other")).unwrap();
    let _ = rustix::fs::copy_file_range(&from, None, &to, None, 1000);
    assert_ne!(asked_for(), 0);
    // A later run finds nothing to do but what stays different, and says so again.
    let again = run(tool(1, "dsync").args(["--json", text(&source), text(&copy)])).expect(0);
    assert_eq!(again.summary()["totals"]["copied"]["files"], 0);
    let mut byte = [0];
    from.read_exact_at(&mut byte, 4_999_999).unwrap();
    assert_eq!(from.metadata().unwrap().size(), 5_000_000);
}
