//! Tests of the files of jobs themselves, journals and staged files: they are not content, and are
//! cleaned up when their job is dead.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::resume::{copy, stopped};
use suite_tests::job::{Ended, alone, assert_identical, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, write};
use suite_tests::unfinished::{assert_nothing_left, begin, files_in, is_staged, journals, totals};

fn staged_in(tree: &Path) -> Vec<PathBuf> {
    files_in(tree).into_iter().filter(|path| is_staged(path)).collect()
}

#[test]
fn a_job_does_not_copy_its_own_journal() {
    for (name, verify) in [("dcp", "all"), ("dsync", "all"), ("dcp", "transferred")] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        write(&source.join("d/file"), b"x");
        let mut command = tool(2, name);
        command.args(["-p", "--resume", "--verify", verify, "--journal"]);
        command.arg(source.join("d/journal")).arg(source.join("")).arg(&target);
        run(&mut command).expect(0);
        assert_eq!(files_in(&target), [target.join("d/file")], "{name}");
        assert_eq!(fs::read_dir(target.join("d")).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn what_other_jobs_have_staged_and_their_journals_are_neither_copied_nor_deleted() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &["--journal", text(&work.at("j"))]);
    let (other, beside) = (Sandbox::new(), journals_of_another(work.path()));
    let backup = other.path().join("backup");
    let ended = run(alone("dcp").arg("-p").arg(work.at("")).arg(&backup)).expect(0);
    assert!(ended.stdout.contains("temporary files and journals of jobs"), "{ended:?}");
    assert_eq!(files_in(&backup), [backup.join("s/large")]);
    assert!(!backup.join("j").exists(), "a journal is no directory with nothing in it");
    // A directory that is there already stays as it is, with what is in it.
    let again = other.path().join("again");
    write(&again.join("j/x"), b"kept");
    let ended = run(tool(2, "dsync").args(["-D", "--json"]).arg(work.path()).arg(&again));
    assert!(totals(&ended.expect(0), "temporary_files_skipped") > 0);
    assert_eq!(files_in(&again), [again.join("j/x"), again.join("s/large")]);
    // A mirror of what has neither the target nor the journals.
    let mirrored = other.path().join("mirrored");
    write(&work.at("extra"), b"x");
    run(Command::new("cp").arg("-a").arg(&backup).arg(&mirrored)).expect(0);
    fs::remove_dir(mirrored.join("t")).unwrap();
    let ended = run(tool(2, "dsync").args(["-D", "--json"]).arg(&mirrored).arg(work.path()));
    let ended = ended.expect(0);
    assert!(totals(&ended, "temporary_files_skipped") > 0, "{ended:?}");
    assert!(!work.at("extra").exists() && beside.join("job").exists());
    assert_eq!(staged_in(&target).len(), 1);
    let mut again = copy(2, &source, &target);
    let ended = run(again.arg("--journal").arg(work.at("j"))).expect(0);
    assert!(totals(&ended, "resumed_bytes") > 0, "{ended:?}");
    assert_identical(&source, &target);
}

/// Checks that names of such files are skipped, too, wherever they come from.
#[test]
fn what_jobs_have_staged_and_journals_are_no_content_where_they_are_named() {
    let work = Sandbox::new();
    let journal = work.at("s/journal");
    let (source, target) = stopped(work.path(), &["--journal", text(&journal)]);
    let staged = ".dcp.0123456789abcdef.0.7";
    let beside = ".u.dcp-0123456789abcdef";
    for name in [staged, "d/file", &format!("{beside}/notes")] {
        write(&source.join(name), b"x");
    }
    let list = work.at("names");
    let names = [staged, "d/file", "journal/job", beside, &format!("{beside}/notes")];
    fs::write(&list, names.join("\n")).unwrap();
    for name in ["dcp", "dsync"] {
        let copy = target.join(name);
        fs::create_dir(&copy).unwrap();
        let mut command = tool(2, name);
        command.args(["--json", "--files-from"]).arg(&list).args([&source, &copy]);
        let ended = run(&mut command).expect(0);
        assert_eq!(files_in(&copy), [copy.join("d/file")], "{name}");
        assert!(!copy.join(beside).exists(), "{name}");
        assert_eq!(totals(&ended, "temporary_files_skipped"), 4, "{name}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Creates a journal beside a target that is somewhere in that directory.
fn journals_of_another(work: &Path) -> PathBuf {
    let journal = work.join(".u.dcp-0123456789abcdef");
    fs::create_dir(&journal).unwrap();
    for part in fs::read_dir(work.join("j")).unwrap() {
        let part = part.unwrap();
        fs::copy(part.path(), journal.join(part.file_name())).unwrap();
    }
    journal
}

fn clean(place: &Path, options: &[&str]) -> Ended {
    run(alone("dcp").args(["--clean", "--json", "--min-age", "0s"]).args(options).arg(place))
}

#[test]
fn journals_of_dead_jobs_are_cleaned_with_what_they_have_staged() {
    let work = Sandbox::new();
    let (_source, target) = stopped(work.path(), &[]);
    let journal = journals(&target).pop().unwrap();
    let inside = target.join("d/.u.dcp-0123456789abcdef");
    run(Command::new("cp").arg("-a").arg(&journal).arg(work.at("copy"))).expect(0);
    fs::create_dir(target.join("d")).unwrap();
    fs::rename(work.at("copy"), &inside).unwrap();
    let named = clean(&target, &["-n"]).expect(0);
    let staged = staged_in(&target).pop().unwrap();
    for path in [&journal, &inside, &staged] {
        assert!(path.exists() && named.stdout.contains(text(path)), "{path:?} in {named:?}");
    }
    // A day is what nothing has taken by then.
    let young = run(alone("dcp").args(["--clean", "--json"]).arg(&target)).expect(0);
    assert_eq!(young.summary()["totals"]["leftovers"]["too_recent"], 3, "{young:?}");
    let removed = clean(&target, &[]).expect(0).summary();
    assert_eq!(removed["totals"]["leftovers"]["removed"], 3, "{removed}");
    assert!(!journal.exists() && !inside.exists());
    assert_nothing_left(&target);
}

/// Checks that a directory keeps its time, whichever ranks have found what is removed from it, and
/// although several jobs have left something there.
#[test]
fn a_directory_that_is_cleaned_keeps_its_time() {
    let work = Sandbox::new();
    let leave = || {
        for directory in ["t", "t/d", "t/d/e"] {
            for count in 0..200 {
                let name = format!("{directory}/.dcp.{:016x}.0.{count}", count % 3);
                write(&work.path().join(name), b"");
            }
        }
        for (number, directory) in ["t/d/e", "t/d", "t"].iter().enumerate() {
            let time = format!("200{number}-01-01 00:00:00.123456789");
            run(Command::new("touch").args(["-d", &time]).arg(work.path().join(directory)));
        }
    };
    let times = || {
        let of = |directory| fs::metadata(work.path().join(directory)).unwrap().modified();
        ["t", "t/d", "t/d/e"].map(|directory| of(directory).unwrap())
    };
    for ranks in [1, 4] {
        leave();
        let before = times();
        let mut clean = tool(ranks, "dcp");
        clean.args(["--clean", "--json", "--min-age", "0s"]).arg(work.target());
        let leftovers = run(&mut clean).expect(0).summary()["totals"]["leftovers"].clone();
        assert_eq!((&leftovers["found"], &leftovers["removed"]), (&600.into(), &600.into()));
        assert_eq!(times(), before, "{ranks} ranks");
        assert_nothing_left(&work.target());
    }
}

/// Checks the journal of a job that was killed when it began, or when it had removed its journal
/// but for the directory.
#[test]
fn remains_of_journals_beside_the_target_are_cleaned() {
    for remains in [&[][..], &["at-work"], &["at-work", ".dcp-journal-new"]] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        write(&source.join("f"), b"x");
        run(alone("dcp").arg(&source).arg(&target)).expect(0);
        let (journal, foreign) =
            (".t.dcp-0123456789abcdef", [".t.dcp-0123456789abcdee", ".u.dcp-0123456789abcdef"]);
        for name in foreign.iter().chain([&journal]) {
            fs::create_dir(work.path().join(name)).unwrap();
            for file in remains {
                write(&work.path().join(name).join(file), b"x");
            }
        }
        // A file that no job has written.
        write(&work.path().join(foreign[0]).join("mine"), b"x");
        let young = run(alone("dcp").args(["--clean", "--json"]).arg(&target)).expect(0);
        assert_eq!(young.summary()["totals"]["leftovers"]["too_recent"], 1, "{young:?}");
        clean(&target, &[]).expect(0);
        assert!(!work.path().join(journal).exists(), "{remains:?}");
        assert!(foreign.iter().all(|name| work.at(name).exists()));
    }
}

/// Checks a journal in a directory of its own, of a target elsewhere: an existing directory, or a
/// file.
#[test]
fn what_the_job_of_a_journal_has_staged_elsewhere_is_cleaned_with_it() {
    for is_file in [false, true] {
        let work = Sandbox::new();
        let (source, target) = (work.at("s/large"), work.at("at/t"));
        write(&source, &noise(24 << 20));
        fs::create_dir(work.at("jobs")).unwrap();
        let other = work.at("at/other/.dcp.0123456789abcdef.0.7");
        write(&other, b"at work");
        let (from, to, staged_at) = if is_file {
            (source.clone(), target.clone(), work.at("at"))
        } else {
            fs::create_dir_all(&target).unwrap();
            (source.parent().unwrap().to_owned(), target.clone(), target)
        };
        let mut command = alone("dcp");
        command.args(["--resume", "-k256KiB", "--bufsize=512", "--threads=2", "--journal"]);
        let mut job = begin(command.arg(work.at("jobs/j")).args([from, to]));
        let staged = || staged_in(&staged_at).into_iter().filter(|path| *path != other);
        while staged().next().is_none() {
            assert!(job.try_wait().unwrap().is_none(), "it was too fast");
        }
        job.kill().unwrap();
        job.wait().unwrap();
        let staged: Vec<PathBuf> = staged().collect();
        let named = clean(&work.at("jobs"), &["-n"]).expect(0);
        assert!(named.stdout.contains(text(&staged[0])) && staged[0].exists(), "{named:?}");
        let young = run(alone("dcp").args(["--clean", "--json"]).arg(work.at("jobs/j")));
        assert_eq!(young.expect(0).summary()["totals"]["leftovers"]["too_recent"], 1);
        clean(&work.at("jobs"), &[]).expect(0);
        assert!(!work.at("jobs/j").exists());
        assert_eq!(staged_in(work.path()), [other], "{staged:?}");
    }
}

#[test]
fn the_journal_of_a_job_at_work_is_not_cleaned() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("large"), &noise(24 << 20));
    let mut job = begin(&mut copy(1, &source, &target));
    while staged_in(&target).is_empty() {
        assert!(job.try_wait().unwrap().is_none(), "it was too fast");
    }
    let send = |signal: &str| run(Command::new("kill").args([signal, &job.id().to_string()]));
    send("-STOP").expect(0);
    let summary = clean(&work.at("t/."), &["-n"]).expect(0).summary();
    assert_eq!(summary["totals"]["leftovers"]["removed"], 1, "{summary}");
    let summary = clean(work.path(), &["-n"]).expect(0).summary();
    let leftovers = &summary["totals"]["leftovers"];
    assert_eq!((&leftovers["removed"], &leftovers["too_recent"]), (&1.into(), &1.into()));
    send("-CONT").expect(0);
    assert!(job.wait().unwrap().success());
    assert_identical(&source, &target);
}

#[test]
fn what_a_comparison_at_the_end_has_found_is_copied_again_by_the_same_command() {
    for name in ["dcp", "dsync"] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        for (file, length) in [("small", 3000), ("large", 1 << 20), ("blocked/file", 9)] {
            write(&source.join(file), &noise(length));
        }
        let mut command = tool(2, name);
        command.args(["-p", "--resume", "--json", "--verify", "all", "-k", "64KiB"]);
        command.arg(source.join("")).arg(&target);
        // Something in the way, so that there is a job to go on with.
        write(&target.join("blocked"), b"x");
        fs::create_dir(target.join("link")).unwrap();
        std::os::unix::fs::symlink("small", source.join("link")).unwrap();
        write(&target.join("link/in the way"), b"x");
        let ended = run(&mut command);
        assert!(ended.code != Some(0), "{ended:?}");
        assert!(format!("{ended:?}").contains("run the same command again to repair"), "{ended:?}");
        for file in ["small", "large"] {
            damage(&target.join(file));
        }
        let _ = fs::remove_file(target.join("blocked"));
        fs::remove_dir_all(target.join("link")).unwrap();
        run(&mut command).expect(0);
        assert_identical(&source, &target);
        assert_eq!(journals(&target), Vec::<PathBuf>::new());
    }
}

/// Writes other content of the same size and modification time.
fn damage(file: &Path) {
    let times = fs::metadata(file).unwrap().modified().unwrap();
    let mut bytes = fs::read(file).unwrap();
    bytes[700] ^= 1;
    fs::write(file, bytes).unwrap();
    fs::File::options().write(true).open(file).unwrap().set_modified(times).unwrap();
}

#[test]
fn a_dry_run_says_that_the_job_would_go_on_and_how_much_is_there() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let before = files_in(work.path());
    let ended = run(alone("dcp").args(["-n", "-p", "--resume"]).args([&source, &target])).expect(0);
    let words = "would resume an interrupted job, with ";
    let rest = ended.stderr.split_once(words).unwrap_or_else(|| panic!("{ended:?}")).1;
    assert!(rest.split_once(" of incomplete files").unwrap().0.ends_with("MiB"), "{ended:?}");
    assert_eq!(files_in(work.path()), before);
    let said = [ended.stdout, ended.stderr].concat();
    let line = said.lines().find(|line| line.starts_with("remaining")).unwrap();
    assert!(line.contains("MiB"), "{line}");
    let ended = run(alone("dcp").args(["-n", "-p", "--json"]).args([&source, &target])).expect(0);
    let left = ended.summary()["remaining_bytes"].as_u64().unwrap();
    let copied = run(&mut copy(1, &source, &target)).expect(0);
    let sent = totals(&copied, "copied_bytes");
    // Less than a buffer of a chunk that was under way may be there.
    assert!(sent <= left + (4 << 20) && left < 24 << 20, "{sent} were left, not {left}");
}
