//! Tests of storage that does not keep its promises: a node that loses its memory while a job with
//! a journal is running, and file systems that report content as a hole. All that a job calls
//! finished, or verified, is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{ranks_of, run, tool};
use suite_tests::preload::{FileFaults, lie_about_holes};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, write};
use suite_tests::unfinished::{assert_same_tree, files_in, is_staged, journals, totals};
use suite_tests::waiting::wait_until;

fn make_source(root: &Path) {
    let bytes = noise(9 << 20);
    for number in 0..3 {
        write(&root.join(format!("large/{number}")), &bytes[number..(5 + number) << 20]);
    }
    for number in 0..600 {
        write(&root.join(format!("small/{}/{number}", number % 7)), &bytes[number..3000 + number]);
    }
}

fn job(name: &str, ranks: u32, source: &Path, target: &Path) -> Command {
    let mut command = tool(ranks, name);
    if name == "dcp" {
        command.arg("-p");
    }
    command.args(["--json", "--resume", "--chunksize=256KiB", "--threads=2"]);
    command.args([source, target]);
    command
}

/// Starts a job and stops it with that signal when some of its files have their final names.
/// Returns false where it was done before.
fn stopped(mut command: Command, name: &str, target: &Path, signal: &str) -> bool {
    let mut job = suite_tests::unfinished::begin(&mut command);
    let named = || files_in(target).iter().filter(|path| !is_staged(path)).count();
    let mut has_ended = false;
    wait_until("files have their names", || {
        has_ended = job.try_wait().unwrap().is_some();
        has_ended || (target.exists() && named() >= 100)
    });
    if has_ended {
        return false;
    }
    for pid in ranks_of(job.id(), name).into_iter().chain([job.id()]) {
        run(Command::new("kill").args([signal, &pid.to_string()]));
    }
    job.wait().unwrap();
    !journals(target).is_empty()
}

#[test]
fn what_a_killed_job_has_finished_is_there_after_a_loss_of_power() {
    for (name, ranks) in [("dcp", 1), ("dcp", 3), ("dsync", 2)] {
        let (mut rounds, mut lost) = (0, 0);
        while lost == 0 {
            rounds += 1;
            assert!(rounds < 10, "it is always done before it is killed");
            let work = Sandbox::new();
            let (source, target) = (work.source(), work.target());
            make_source(&source);
            let disk = FileFaults::new(&work.at("log"));
            let mut command = job(name, ranks, &source, &target);
            disk.observe(&mut command);
            if !stopped(command, name, &target, "-KILL") {
                continue;
            }
            let journal = journals(&target).remove(0);
            lost = disk.lose_power(&[&target, &journal]);
            run(&mut job(name, ranks + 1, &source, &target)).expect(0);
            run(tool(1, "dcp").args(["--min-age=0s", "--clean"]).arg(&target)).expect(0);
            let diff = run(Command::new("diff").arg("-rq").args([&source, &target]));
            assert_eq!(diff.stdout, "", "{name} {ranks}: {lost} files were lost");
        }
    }
}

/// Checks that an interrupted job has synchronised before its end: nothing is lost then, and
/// nothing is read again.
#[test]
fn a_job_that_ends_in_order_has_all_on_storage() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    make_source(&source);
    // A failure in each run, until its cause is removed.
    write(&target.join("s/small/0/7/in the way"), b"x");
    let disk = FileFaults::new(&work.at("log"));
    let mut command = job("dcp", 2, &source, &target);
    run(disk.observe(&mut command)).expect(23);
    assert_eq!(disk.lose_power(&[&target]), 0);
    fs::remove_dir_all(target.join("s/small/0/7")).unwrap();
    let ended = run(&mut job("dcp", 2, &source, &target)).expect(0);
    let copied = ended.summary()["totals"]["copied"]["files"].as_u64();
    assert_eq!((copied, totals(&ended, "failed")), (Some(1), 0), "{ended:?}");
    assert_same_tree(&source, &target.join("s"));
}

/// Checks that a checksum stands for bytes that were read, whatever the file system reports about
/// holes.
#[test]
fn what_is_summed_up_is_read_where_the_file_system_takes_content_for_a_hole() {
    for (round, how) in ["nxio", "hole"].into_iter().enumerate() {
        let work = Sandbox::new();
        let source = work.source();
        // A hole of its own, so that holes are looked for, and content on both sides.
        for (name, size) in [("small", 100_000), ("large", 3_000_000)] {
            write(&source.join(name), &noise(size));
            let file = fs::File::options().write(true).open(source.join(name)).unwrap();
            file.set_len(4 << 20).unwrap();
            std::os::unix::fs::FileExt::write_at(&file, b"end", (4 << 20) - 3).unwrap();
        }
        let manifest = work.at("m.parquet");
        for (number, options) in [
            vec!["--verify=transferred".to_owned()],
            vec![format!("--manifest={}", manifest.display())],
            vec!["--resume".to_owned(), "--chunksize=256K".to_owned()],
            vec!["--verify=transferred".to_owned(), "--chunksize=256K".to_owned()],
        ]
        .into_iter()
        .enumerate()
        {
            let target = work.path().join(format!("t{number}"));
            let mut dcp = tool(1 + round as u32, "dcp");
            dcp.args(&options).arg(source.join("")).arg(&target);
            run(lie_about_holes(&mut dcp, how)).expect(0);
            let diff = run(Command::new("diff").arg("-rq").args([&source, &target]));
            assert_eq!(diff.stdout, "", "{options:?}, {how}");
            // What is a hole stays one.
            let blocks = |dir: &Path| {
                std::os::unix::fs::MetadataExt::blocks(&fs::metadata(dir.join("small")).unwrap())
            };
            assert!(blocks(&target) <= blocks(&source) + 16, "{options:?}");
        }
        let mut dcmp = tool(2, "dcmp");
        run(dcmp.arg(format!("--manifest={}", manifest.display())).arg(&source)).expect(0);
    }
}
