//! Tests of errors: each is reported once, with path and reason; the rest of the job goes on; the
//! exit code is honest.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{
    Ended, alone, assert_identical, for_everybody, mpiexec, nobody, program, ranks, run, tool,
};
use suite_tests::preload::Gates;
use suite_tests::sandbox::Sandbox;
use suite_tests::waiting::wait_until;
use suite_tests::{mounts, trees};
use suite_tests::{need, need_root};

/// Runs a command as a user without privileges.
fn as_nobody(command: &Command) -> Command {
    let mut words = nobody();
    words.arg(command.get_program()).args(command.get_args()).env("HOME", "/tmp");
    words
}

/// Returns a copy of dcp that everybody can run: a build below a closed home directory is not
/// accessible to others.
fn dcp_for_anyone() -> (Sandbox, Command) {
    let (programs, dcp) = for_everybody("dcp");
    let dcp = Command::new(dcp);
    assert_eq!(run(as_nobody(&dcp).arg("--version")).code, Some(0));
    (programs, dcp)
}

#[test]
fn one_line_each_for_what_cannot_be_read_and_the_rest_is_copied() {
    need_root!();
    let work = Sandbox::for_everybody();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/good"), b"x");
    trees::write(&at("s/bad"), b"x");
    trees::write(&at("s/closed/inner"), b"x");
    for path in ["s/bad", "s/closed"] {
        fs::set_permissions(at(path), Permissions::from_mode(0o000)).unwrap();
    }
    let (_programs, dcp) = dcp_for_anyone();
    let ended = run(as_nobody(&dcp).args([at("s"), at("t")])).expect(23);
    assert_eq!(fs::read(at("t/good")).unwrap(), b"x");
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("denied")).collect();
    assert_eq!(lines.len(), 2, "{}", ended.stderr);
    for path in ["s/bad", "s/closed"] {
        let line = format!("dcp: open \"{}\": Permission denied", at(path).display());
        assert!(lines.contains(&&*line), "{lines:?}");
    }
    assert!(ended.stdout.contains("the walk is incomplete"), "{}", ended.stdout);
    assert!(ended.stdout.contains(" of 4 failed (exit 23); to complete it"), "{}", ended.stdout);
}

#[test]
fn a_user_who_may_not_give_files_away_gets_one_warning_and_no_set_id_bits() {
    need_root!();
    let work = Sandbox::for_everybody();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/f"), b"x");
    fs::set_permissions(at("s/f"), Permissions::from_mode(0o6755)).unwrap();
    let (_programs, dcp) = dcp_for_anyone();
    let ended = run(as_nobody(&dcp).arg("-p").args([at("s"), at("t")])).expect(0);
    assert!(ended.stdout.contains("owner or group: this user"), "{}", ended.stdout);
    let mode = fs::metadata(at("t/f")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o755);
}

#[test]
fn files_that_vanish_meanwhile_are_counted_and_the_exit_code_says_so() {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 1, 400);
    trees::write(&work.at("s/stays"), b"x");
    let gates = Gates::closed(work.path(), &["f00200"]);
    let mut dcp = alone("dcp");
    gates.hold(dcp.args(["--json", "--threads=1"]).args([work.source(), work.target()]));
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("a file is about to be read", || gates.is_reached("f00200"));
            for file in 0..400 {
                fs::remove_file(work.at(format!("s/d0000/f{file:05}"))).unwrap();
            }
            gates.open("f00200");
        });
        run(&mut dcp)
    });
    let ended = ended.expect(24);
    let totals = ended.summary()["totals"].clone();
    let vanished = totals["vanished"].as_u64().unwrap();
    let copied = totals["copied"]["files"].as_u64().unwrap();
    assert!(vanished > 0 && copied > 0, "{totals}");
    assert_eq!(vanished + copied, 401, "{totals}");
    assert_eq!(ended.events("failure").len() as u64, vanished);
}

#[test]
fn a_full_disk_stops_the_job_and_leaves_no_partial_file() {
    need_root!();
    let work = Sandbox::for_everybody();
    let source = work.source();
    for number in 0..40 {
        trees::write(&source.join(format!("small/{number}")), &trees::noise(100_000));
    }
    for number in 0..4 {
        trees::write(&source.join(format!("large/{number}")), &trees::noise(3_000_000));
    }
    for count in [1, 4] {
        let disk = mounts::SmallDisk::mount("size=8m");
        let mut dcp = tool(count, "dcp");
        let ended =
            run(dcp.args(["--json", "-k", "256KiB"]).arg(&source).arg(disk.path())).expect(23);
        assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
        assert_eq!(ended.summary()["aborted"], true);
        let target = disk.path().join("s");
        let listed = run(Command::new("find").arg(&target).args(["-type", "f", "-printf", "%P\n"]));
        for path in listed.stdout.lines() {
            let (wanted, got) = (fs::read(source.join(path)), fs::read(target.join(path)));
            assert!(wanted.unwrap() == got.unwrap(), "{path} is partial, or a leftover");
        }
    }
}

/// Checks that a read-only target is reported by one line, not by one for each file.
#[test]
fn a_read_only_target_stops_the_job() {
    need_root!();
    let work = Sandbox::for_everybody();
    let source = work.source();
    trees::small_files(&source, 20, 50);
    let disk = mounts::SmallDisk::mount("size=8m");
    let target = disk.path().join("t");
    fs::create_dir(&target).unwrap();
    run(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path())).expect(0);
    for (count, name) in [(1, "dcp"), (3, "dcp"), (3, "dsync")] {
        let mut job = tool(count, name);
        let ended = run(job.arg("--json").arg(source.join("")).arg(&target)).expect(23);
        let failures = ended.events("failure").len() as u32;
        assert!((1..=count).contains(&failures), "{name}, {count} ranks: {}", ended.stderr);
        let summary = ended.summary();
        assert_eq!((&summary["aborted"], &summary["aborted_by_errno"]), (&true.into(), &30.into()));
    }
    let told = run(tool(1, "dcp").arg(source.join("")).arg(&target)).expect(23).stdout;
    assert!(told.contains("aborted: the target is read-only"), "{told}");
}

/// Checks a read-only target where nothing is to be done but to delete.
#[test]
fn a_read_only_target_stops_a_deletion() {
    need_root!();
    let work = Sandbox::for_everybody();
    let source = work.source();
    let disk = mounts::SmallDisk::mount("size=8m");
    let target = disk.path().join("t");
    trees::small_files(&source, 20, 10);
    trees::small_files(&target, 20, 50);
    run(alone("dsync").args([&source, &target])).expect(0);
    run(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path())).expect(0);
    for count in [1, 3] {
        let mut dsync = tool(count, "dsync");
        let ended = run(dsync.args(["-D", "--json"]).args([&source, &target])).expect(23);
        let failures = ended.events("failure").len() as u32;
        assert!((1..=count).contains(&failures), "{count} ranks: {}", ended.stderr);
        let summary = ended.summary();
        assert_eq!((&summary["aborted"], &summary["aborted_by_errno"]), (&true.into(), &30.into()));
    }
    assert_eq!(fs::read_dir(target.join("d0000")).unwrap().count(), 50);
}

#[test]
fn fifos_and_sockets_are_left_out_and_nothing_hangs() {
    let work = Sandbox::for_everybody();
    let source = work.source();
    trees::write(&source.join("f"), b"x");
    run(Command::new("mkfifo").arg(source.join("fifo"))).expect(0);
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let ended = run(alone("dcp").arg(&source).arg(work.target())).expect(0);
    assert!(ended.stdout.contains("special files (FIFOs, sockets, devices)"), "{}", ended.stdout);
    run(alone("dcp").arg(source.join("fifo")).arg(work.at("t2"))).expect(0);
    assert!(!work.at("t2").exists());
}

#[test]
fn what_makes_no_sense_is_one_line_and_nothing_is_written() {
    let work = Sandbox::for_everybody();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/d/f"), b"x");
    trees::write(&at("g"), b"x");
    std::os::unix::fs::symlink("s", at("alias")).unwrap();
    for (args, code, says) in [
        (&["missing", "t"][..], 3, "stat \"missing\": No such file or directory"),
        (&["s", "missing/t"], 3, "create \"missing/t\": the directory that is to contain it"),
        (&["s", "g"], 2, "target \"g\" exists and is not a directory"),
        (&["s", "g", "t"], 2, "several sources need one that exists"),
        (&["s", "s/d/t"], 3, "copy \"s\": the target is inside the source"),
        (&["s", "alias/t"], 3, "copy \"s\": the target is inside the source"),
        (&["s/", "alias/d"], 3, "copy \"s/\": the target is inside the source"),
        (&["s/", "s"], 3, "source and target are the same file"),
        (&["g", "g"], 3, "source and target are the same file"),
        (&["g", "t/"], 2, "make it first"),
        (&["s", "s", "s/d"], 3, "the target is inside the source"),
        (&["-k", "0", "s", "t"], 2, "the size must be at least 1 byte"),
        (&["-k", "12x", "s", "t"], 2, "one such as 64MiB"),
        (&["--threads", "0", "s", "t"], 2, "0 is not in 1..="),
        (&["--nonsense", "s", "t"], 2, "unexpected argument '--nonsense'"),
        (&["s"], 2, "a TARGET is missing"),
    ] {
        for count in [1, 2] {
            let ended = run(tool(count, "dcp").current_dir(work.path()).args(args));
            let ended = ended.expect(code);
            assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
            let said: Vec<_> =
                ended.stderr.lines().filter(|line| line.starts_with("dcp: ")).collect();
            let unlike: HashSet<_> = said.iter().collect();
            assert!(said.len() <= args.len(), "{args:?}: {}", ended.stderr);
            assert_eq!(unlike.len(), said.len(), "{args:?}: {}", ended.stderr);
            assert!(!at("t").exists(), "{args:?} wrote something");
        }
    }
}

#[test]
fn one_missing_source_of_several_does_not_stop_the_others() {
    need_root!();
    let work = Sandbox::for_everybody();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/f"), b"x");
    fs::create_dir(at("t")).unwrap();
    let ended = run(ranks(2, "dcp").args([at("missing"), at("s"), at("t")])).expect(23);
    assert_eq!(fs::read(at("t/s/f")).unwrap(), b"x");
    assert_eq!(ended.stderr.matches("No such file or directory").count(), 1, "{}", ended.stderr);
    // Nor does one that may not be read.
    let (_programs, dcp) = dcp_for_anyone();
    trees::write(&at("closed/f"), b"x");
    fs::set_permissions(at("closed"), Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(at("u")).unwrap();
    fs::set_permissions(at("u"), Permissions::from_mode(0o777)).unwrap();
    run(as_nobody(&dcp).args([at("closed"), at("s"), at("u")])).expect(23);
    assert_eq!(fs::read(at("u/s/f")).unwrap(), b"x");
    assert!(!at("u/closed").exists());
}

#[test]
fn help_and_version_answer_on_standard_output() {
    for count in [1, 2] {
        for program in ["dcp", "dsync", "dcmp", "dwalk", "drm"] {
            for (flag, says) in [
                ("-h", "Examples:"),
                ("--help", "Exit codes:"),
                ("--version", "features: mpi, parquet, s3"),
            ] {
                let ended = run(tool(count, program).arg(flag)).expect(0);
                assert_eq!(ended.stdout.matches(says).count(), 1, "{}", ended.stdout);
                assert!(ended.stdout.ends_with('\n'));
                for place in ["s3://BUCKET/PREFIX", "daos://POOL/CONT/PATH"] {
                    assert_eq!(ended.stdout.contains(place), flag == "--help", "{program}");
                }
            }
        }
    }
}

#[test]
fn options_can_come_from_the_environment_and_the_command_line_wins() {
    let work = Sandbox::for_everybody();
    let source = work.source();
    trees::write(&source, &trees::noise(1000));
    let chunks = |arguments: &[&str]| {
        let mut dcp = alone("dcp");
        dcp.env("DCP_CHUNKSIZE", "100").env("DCP_JSON", "true").args(arguments);
        let ended = run(dcp.arg(&source).arg(work.target())).expect(0);
        ended.summary()["totals"]["chunks"].clone()
    };
    assert_eq!(chunks(&[]), 10);
    assert_eq!(chunks(&["-k", "500"]), 2);
}

/// Checks repeated options, as wrapper scripts and aliases pass them: `dcp -p "$@"`.
#[test]
fn options_may_be_repeated_and_the_last_one_counts() {
    let work = Sandbox::for_everybody();
    let (source, target) = (work.source(), work.target());
    trees::small_files(&source, 1, 1);
    for (tool, words) in [
        ("dcp", &["-p", "-p", "--preserve=mode", "-k8M", "-k", "9M"][..]),
        ("dsync", &["-D", "-D", "-n", "-n"]),
        ("dcmp", &["--lite", "--lite", "--ignore=uid", "--ignore=gid"]),
        ("dwalk", &["-p", "-p", "-x", "-x"]),
    ] {
        let mut job = alone(tool);
        job.args(words).arg(&source);
        let job = if tool == "dwalk" { &mut job } else { job.arg(&target) };
        let ended = run(job);
        assert!(matches!(ended.code, Some(0 | 1)), "{tool}: {ended:?}");
    }
    let too_much = work.run(1, "dcp", &["-k", "16E"]).expect(2);
    assert!(too_much.stderr.contains("is too large"), "{}", too_much.stderr);
}

/// Checks that many failures of one kind are shown by some lines, and the others counted.
#[test]
fn failures_that_are_not_shown_are_counted() {
    let work = Sandbox::for_everybody();
    let (source, target) = (work.source(), work.target());
    trees::small_files(&source, 3, 100);
    fs::create_dir_all(&target).unwrap();
    for number in 0..3 {
        for file in 0..100 {
            fs::create_dir_all(target.join(format!("d{number:04}/f{file:05}/x"))).unwrap();
        }
    }
    for count in [1, 3] {
        let ended = work.run(count, "dsync", &[]).expect(23);
        let lines = ended.stderr.lines().filter(|line| line.contains("a non-empty directory"));
        // And one that says that no more will follow.
        assert_eq!(lines.count(), 101, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("dsync: 200 more failures are not shown"),
            "{}",
            ended.stderr
        );
    }
}

/// Checks that a process without enough memory reports that, instead of being aborted.
#[test]
fn too_little_address_space_is_said_at_once() {
    let work = Sandbox::for_everybody();
    let (source, target) = (work.source(), work.target());
    trees::small_files(&source, 5, 50);
    let mut dcp = alone("dcp");
    dcp.args([&source, &target]);
    // With room for the program, and as much more again.
    let size = fs::metadata(program("dcp")).unwrap().len() >> 10;
    let mut refused = 0;
    for more in (0..10).map(|step| size + (20 + step * 20) * 1024) {
        let ended = run(&mut in_shell(&format!("ulimit -v {more}; exec "), &dcp));
        match ended.code {
            // Not even the libraries can be loaded.
            Some(127) => {}
            Some(3) => {
                assert!(ended.stderr.contains("raise ulimit -v"), "{}", ended.stderr);
                refused += 1;
            }
            _ => assert_eq!(ended.code, Some(0), "{}", ended.stderr),
        }
    }
    assert!(refused > 0);
}

#[test]
fn standard_output_that_fails_does_not_harm_the_copy() {
    let work = Sandbox::for_everybody();
    let source = work.source();
    trees::small_files(&source, 5, 5);
    let target = work.target();
    let mut dcp = alone("dcp");
    dcp.args(["-p", "--json"]).args([&source, &target]);
    let words: Vec<_> = std::iter::once(dcp.get_program()).chain(dcp.get_args()).collect();
    let mut shell = Command::new("sh");
    run(shell.args(["-c", "exec \"$@\" > /dev/full", "sh"]).args(words)).expect(74);
    assert_identical(&source, &target);
}

/// Runs a command in a shell that sets something up before.
fn in_shell(prepare: &str, command: &Command) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{prepare}\"$@\""), "bash"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

#[test]
fn standard_error_that_fails_does_not_harm_the_copy() {
    let work = Sandbox::for_everybody();
    let source = work.source();
    trees::small_files(&source, 5, 5);
    let target = work.target();
    let mut dcp = alone("dcp");
    dcp.arg("-p").args([&source, &target]);
    run(&mut in_shell("exec 2>/dev/full; exec ", &dcp)).expect(0);
    assert_identical(&source, &target);
}

#[test]
fn few_descriptors_are_enough_for_many_files_large_and_small() {
    let work = Sandbox::for_everybody();
    let source = work.source();
    for number in 0..300 {
        trees::write(&source.join(format!("d{number}/large")), &trees::noise(20_000));
        trees::write(&source.join(format!("d{number}/small")), b"x");
    }
    for (count, threads, limit) in [(1, "1", 100), (1, "32", 100), (4, "32", 128)] {
        let target = work.path().join(format!("t{count}-{threads}"));
        let mut dcp = tool(count, "dcp");
        dcp.args(["-p", "-k", "4KiB", "--threads", threads]).args([&source, &target]);
        run(&mut in_shell(&format!("ulimit -n {limit}; exec "), &dcp)).expect(0);
        assert_identical(&source, &target);
    }
    // As many sources as a glob may give.
    let (many, target) = (work.at("many"), work.at("into"));
    trees::small_files(&many, 1, 500);
    fs::create_dir(&target).unwrap();
    let mut dcp = alone("dcp");
    dcp.args((0..500).map(|file| many.join(format!("d0000/f{file:05}")))).arg(&target);
    run(&mut in_shell("ulimit -n 100; exec ", &dcp)).expect(0);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 500);
    let target = work.at("trees");
    fs::create_dir(&target).unwrap();
    let mut dcp = alone("dcp");
    dcp.arg("-p").args((0..300).map(|number| source.join(format!("d{number}")))).arg(&target);
    run(&mut in_shell("ulimit -n 100; exec ", &dcp)).expect(0);
    run(Command::new("diff").arg("-r").args([&source, &target])).expect(0);
}

#[test]
fn directories_that_may_be_searched_but_not_read_are_good_enough() {
    need_root!();
    let work = Sandbox::for_everybody();
    let at = |path: &str| work.at(path);
    trees::write(&at("closed/f"), b"x");
    fs::create_dir(at("drop")).unwrap();
    fs::set_permissions(at("closed"), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(at("drop"), Permissions::from_mode(0o1733)).unwrap();
    let (_programs, dcp) = dcp_for_anyone();
    run(as_nobody(&dcp).args([at("closed/f"), at("drop")])).expect(0);
    assert_eq!(fs::read(at("drop/f")).unwrap(), b"x");
}

fn assert_ends_with_70(ended: &Ended, says: &str) {
    assert_eq!(ended.code, Some(70), "{}", ended.stderr);
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
    assert!(ended.stderr.contains("the test's own panic"), "{}", ended.stderr);
}

#[test]
fn a_panic_on_any_rank_and_thread_ends_the_job_with_its_message() {
    for rank in ["0", "2"] {
        for place in [&[][..], &["--on-main"], &["--on-joined"]] {
            let ended = run(ranks(3, "panicker").arg(rank).args(place));
            assert_ends_with_70(&ended, &format!("bug: rank {rank} panicked"));
        }
    }
    for place in [&[][..], &["--on-main"], &["--on-joined"]] {
        assert_ends_with_70(&run(alone("panicker").arg("0").args(place)), "bug: rank 0 panicked");
    }
}

#[test]
fn processes_that_each_believe_to_be_alone_refuse_before_anything_is_written() {
    let work = Sandbox::for_everybody();
    let (source, target) = (work.source(), work.target());
    trees::write(&source.join("f"), b"x");
    for (name, value) in
        [("SLURM_NTASKS", "4"), ("PALS_RANKID", "2"), ("OMPI_COMM_WORLD_SIZE", "4")]
    {
        // The other MPI's variables are those that this one does not act on.
        if name.starts_with("OMPI") && mpiexec()[0].contains("openmpi") {
            continue;
        }
        let ended = run(alone("dcp").env(name, value).args([&source, &target])).expect(2);
        let is_first = !name.ends_with("ID");
        assert_eq!(ended.stderr.contains(&format!("{name}={value}")), is_first, "{}", ended.stderr);
        assert!(!target.exists(), "{name}");
    }
}

#[test]
fn the_wrong_mpis_launcher_is_refused() {
    let other = if mpiexec()[0].contains("openmpi") { "mpiexec.mpich" } else { "mpiexec.openmpi" };
    need!(Command::new(other).arg("--version").output().is_ok(), other);
    let work = Sandbox::for_everybody();
    let (source, target) = (work.source(), work.target());
    trees::write(&source.join("f"), b"x");
    let mut command = Command::new(other);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(["-n", "2"]).arg(suite_tests::job::program("dcp")).args([&source, &target]);
    let ended = run(&mut command);
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!Path::new(&target).exists());
}
