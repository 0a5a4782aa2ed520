//! Tests of lists and other results: they get their final names when they are complete, and tell
//! where entries are missing; none is read by the job that writes it, and repeated entries of a
//! list are processed once.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use suite_tests::job::{alone, ranks_of, run, tool};
use suite_tests::mounts::{SlowDisk, SmallDisk};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::{wait_until, wait_within};

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the content of a list, in either format.
fn content(list: &Path) -> Vec<u8> {
    let parts = |dir: fs::ReadDir| {
        let mut parts: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
        parts.sort();
        parts.into_iter().flat_map(|part| fs::read(part).unwrap()).collect()
    };
    fs::read_dir(list).map_or_else(|_| fs::read(list).unwrap(), parts)
}

/// Fills a small disk but for one block.
fn fill(file: &Path) {
    let mut full = fs::File::create(file).unwrap();
    while full.write_all(&[0; 4096]).is_ok() {}
    let size = full.metadata().unwrap().len() & !4095;
    full.set_len(size - 4096).unwrap();
}

fn entries(list: &Path) -> u64 {
    let summary = run(alone("dwalk").args(["--json", "-i"]).arg(list)).expect(0).summary();
    let found = &summary["totals"]["found"];
    found["files"].as_u64().unwrap() + found["directories"].as_u64().unwrap()
}

#[test]
fn a_list_that_was_there_stays_where_its_job_is_interrupted() {
    need_root!();
    let (work, backing) = (Sandbox::new(), Sandbox::new());
    trees::small_files(&backing.path().join("tree"), 300, 1);
    let slow = SlowDisk::mount(backing.path(), Duration::from_millis(10));
    for (count, name) in [(1, "l.ndjson"), (1, "l.txt"), (1, "l.parquet"), (3, "l.parquet")] {
        let list = work.path().join(name);
        run(alone("dwalk").arg("-q").arg("-o").args([&list, &backing.path().join("tree")]))
            .expect(0);
        let before = content(&list);
        let mut job = tool(count, "dwalk")
            .args(["-q", "--threads=1", "-o"])
            .args([&list, &slow.path().join("tree")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let partial = work.at(format!(".{name}.partial"));
        wait_within(&mut job, "the list is begun", || partial.exists());
        for rank in ranks_of(job.id(), "dwalk") {
            // One that another has ended already is not there any more.
            run(Command::new("kill").arg(rank.to_string()));
        }
        let ended = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(content(&list) == before, "{name} of {count} ranks has changed");
        // Of several ranks, a launcher may kill one before it has said so and removed what it had
        // written, and then tells how that one ended: MPICH's with 9, for the signal.
        let code = ended.status.code();
        assert!(code == Some(20) || count > 1 && code == Some(libc::SIGKILL), "{code:?} {said}");
        if count == 1 {
            assert!(said.contains("is not written: the job ended before"), "{said}");
            assert_eq!(names(work.path()), [name]);
        }
        fs::remove_dir_all(&list).or_else(|_| fs::remove_file(&list)).unwrap();
    }
}

#[test]
fn a_list_that_was_there_stays_where_the_disk_is_full() {
    need_root!();
    let tree = Sandbox::new();
    trees::small_files(tree.path(), 20, 100);
    let disk = SmallDisk::mount("size=256k");
    for name in ["l.ndjson", "l.txt", "l.parquet", "usage.html"] {
        let list = disk.path().join(name);
        let option = if name.ends_with("html") { "--report" } else { "-o" };
        let (few, many) = (tree.path().join("d0000"), tree.path());
        if option == "-o" {
            fs::create_dir_all(&few).unwrap();
            run(alone("dwalk").args(["-q", option]).arg(&list).arg(&few)).expect(0);
        } else {
            fs::write(&list, "old").unwrap();
        }
        let before = content(&list);
        fill(&disk.path().join("full"));
        let ended = run(alone("dwalk").args(["-q", option]).arg(&list).arg(many)).expect(74);
        assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
        assert!(content(&list) == before, "{name}");
        fs::remove_file(disk.path().join("full")).unwrap();
        assert_eq!(names(disk.path()), [name]);
        fs::remove_dir_all(&list).or_else(|_| fs::remove_file(&list)).unwrap();
    }
}

#[test]
fn a_list_that_lacks_entries_says_so_to_each_tool_that_reads_it() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    trees::small_files(&tree, 3, 2);
    let paths = work.at("paths");
    fs::write(&paths, "d0000/f00000\n../outside\nd0001/f00001\n").unwrap();
    for name in ["l.ndjson", "l.parquet"] {
        let list = work.path().join(name);
        let mut dwalk = alone("dwalk");
        run(dwalk.args(["-q", "--files-from"]).arg(&paths).arg("-o").args([&list, &tree]))
            .expect(23);
        for count in [1, 3] {
            let copy = work.path().join(format!("copy{count}{name}"));
            for (program, places) in [
                ("dcp", &[&tree, &copy][..]),
                ("dsync", &[&tree, &copy]),
                ("dcmp", &[&tree, &copy]),
                ("dwalk", &[]),
            ] {
                let ended = run(tool(count, program).arg("-i").arg(&list).args(places)).expect(23);
                assert!(
                    ended.stderr.contains("could not read some entries"),
                    "{program}: {}",
                    ended.stderr
                );
            }
            assert!(!copy.join("d0000/f00000").exists() || copy.join("d0001/f00001").exists());
        }
    }
}

#[test]
fn an_empty_list_is_whole() {
    let work = Sandbox::new();
    let (tree, copy) = (work.at("tree"), work.at("copy"));
    trees::small_files(&tree, 1, 1);
    run(alone("dcp").args(["-q", "-p"]).args([&tree, &copy])).expect(0);
    for name in ["new.ndjson", "new.parquet"] {
        let list = work.path().join(name);
        let output = format!("EXIST=ONLY_SRC:{}", list.display());
        run(alone("dcmp").args(["-q", "-o", &output]).args([&tree, &copy])).expect(0);
        for program in ["dcp", "dsync", "dcmp"] {
            run(alone(program).args(["-q", "-i"]).args([&list, &tree, &copy])).expect(0);
        }
        assert_eq!(entries(&list), 0);
    }
}

#[test]
fn an_output_that_is_an_input_by_any_name_is_refused() {
    let work = Sandbox::new();
    let at = |name: &str| work.at(name);
    trees::small_files(&at("tree"), 1, 2);
    for list in ["l.ndjson", "l.parquet"] {
        run(alone("dwalk").arg("-q").arg("-o").args([at(list), at("tree")])).expect(0);
    }
    fs::hard_link(at("l.ndjson"), at("hard.ndjson")).unwrap();
    std::os::unix::fs::symlink("l.parquet", at("soft.parquet")).unwrap();
    fs::write(at("paths"), "d0000/f00000\n").unwrap();
    fs::write(at("rules"), "- none\n").unwrap();
    let before = [content(&at("l.ndjson")), content(&at("l.parquet"))];
    let refused = |program: &str, words: &[&str]| {
        let ended = run(alone(program).args(words).current_dir(work.path())).expect(3);
        assert!(ended.stderr.contains("is both read and written"), "{}", ended.stderr);
    };
    refused("dwalk", &["-i", "l.ndjson", "-o", "hard.ndjson"]);
    refused("dwalk", &["-i", "l.ndjson", "--report", "./l.ndjson"]);
    refused("dwalk", &["-i", "l.parquet", "-o", "soft.parquet"]);
    refused("dwalk", &["-i", "l.parquet", "-o", "l.parquet/part-00001.parquet"]);
    refused("dwalk", &["--files-from", "paths", "-o", "paths", "tree"]);
    refused("dcmp", &["-i", "l.ndjson", "--combined", "hard.ndjson", "tree", "tree"]);
    refused("dcmp", &["-i", "l.ndjson", "-o", "EXIST=COMMON:hard.ndjson", "tree", "tree"]);
    refused("dcp", &["-i", "l.parquet", "--manifest", "soft.parquet", "tree", "new"]);
    refused("dcp", &["-i", "l.ndjson", "--log-file", "hard.ndjson", "tree", "new"]);
    refused("dcp", &["--files-from", "paths", "--log-file", "paths", "tree", "new"]);
    refused("dsync", &["--exclude-from", "paths", "--log-file", "./paths", "tree", "new"]);
    refused("dwalk", &["--exclude-from", "paths", "-o", "paths", "tree"]);
    refused("dwalk", &["--text", "--control-file", "rules", "-o", "rules", "tree"]);
    refused("dcp", &["--control-file", "rules", "--log-file", "rules", "tree", "new"]);
    refused("drm", &["-n", "--filter-from", "rules", "-o", "rules", "tree"]);
    assert!([content(&at("l.ndjson")), content(&at("l.parquet"))] == before);
    assert_eq!(fs::read_to_string(at("paths")).unwrap(), "d0000/f00000\n");
    let mut twice = alone("dwalk");
    twice.args(["-o", "one", "--report", "./one", "tree"]).current_dir(work.path());
    assert!(run(&mut twice).expect(3).stderr.contains("named for two outputs"));
}

#[test]
fn entries_that_a_list_has_twice_are_taken_once() {
    let work = Sandbox::new();
    let at = |name: &str| work.at(name);
    trees::small_files(&at("a"), 2, 3);
    run(Command::new("cp").arg("-a").args([at("a"), at("b")])).expect(0);
    // A filter of paths keeps dwalk from leaving out what is in both of its paths.
    let paths = [at("two.parquet"), at("a"), at("a/d0000")];
    run(alone("dwalk").args(["-q", "--exclude", "none", "-o"]).args(paths)).expect(0);
    run(alone("dwalk").arg("-q").arg("-o").args([at("one.ndjson"), at("a")])).expect(0);
    let one = fs::read(at("one.ndjson")).unwrap();
    fs::write(at("two.ndjson"), [&one[..], &one].concat()).unwrap();
    for (list, count) in
        [("two.parquet", 1), ("two.parquet", 3), ("two.ndjson", 1), ("two.ndjson", 3)]
    {
        let copy = at(&format!("{list}{count}"));
        let read = |program: &str, places: &[&Path]| {
            let mut job = tool(count, program);
            run(job.args(["--json", "-i"]).arg(at(list)).args(places)).expect(0).summary()["totals"]
                .clone()
        };
        assert_eq!(read("dcp", &[&at("a"), &copy])["copied"]["files"], 6, "{list}");
        // Six files, two directories and the tree itself.
        assert_eq!(read("dcmp", &[&at("a"), &at("b")])["compared"]["same"], 9, "{list}");
        assert_eq!(read("dwalk", &[])["found"]["files"], 6, "{list}");
    }
}

#[test]
fn what_is_in_several_paths_is_counted_once_in_any_order() {
    let work = Sandbox::new();
    let at = |name: &str| work.at(name);
    trees::small_files(&at("d"), 2, 3);
    std::os::unix::fs::symlink("d/d0001", at("link")).unwrap();
    let walk = |paths: &[&str]| {
        let mut dwalk = alone("dwalk");
        dwalk.args(["--json", "--top", "9"]).args(paths).current_dir(work.path());
        let ended = run(&mut dwalk).expect(0);
        let summary = ended.summary();
        (summary["totals"].clone(), summary["usage"].clone(), ended.events("warning").len())
    };
    let (totals, usage, _) = walk(&["d"]);
    for paths in
        [&["d", "d"][..], &["d", "./d/"], &["d", "d/d0001"], &["d/d0001", "d"], &["link", "d"]]
    {
        let (all, largest, said) = walk(paths);
        assert_eq!((&all, said), (&totals, 1), "{paths:?}");
        if paths != ["d", "./d/"] {
            assert_eq!(largest, usage, "{paths:?}");
        }
    }
}

#[test]
fn a_file_of_paths_that_changes_while_it_is_read_is_an_error() {
    need_root!();
    let (work, backing) = (Sandbox::new(), Sandbox::new());
    trees::small_files(backing.path(), 100, 5);
    let paths = work.at("paths");
    let names = (0..500).map(|n| format!("{}d{:04}/f{:05}\n", "./".repeat(2000), n / 5, n % 5));
    let names = names.collect::<Vec<_>>().concat();
    let mut noticed = 0;
    for program in ["dcp", "dsync", "dcmp", "dwalk"] {
        // A new one each time: the kernel has kept nothing of it, so every name takes its time.
        let slow = SlowDisk::mount(backing.path(), Duration::from_millis(10));
        let places = match program {
            "dwalk" => vec![slow.path().to_owned()],
            "dcmp" => vec![slow.path().to_owned(), backing.path().to_owned()],
            _ => vec![slow.path().to_owned(), work.path().join(program)],
        };
        fs::write(&paths, &names).unwrap();
        let mut job = alone(program);
        job.args(["--json", "--threads=1", "--files-from"]).arg(&paths).args(&places);
        let job =
            job.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It reads the names once to see which are repeated, then again while it works.
        let opened = format!("/proc/{}/io", job.id());
        let read = || {
            let io = fs::read_to_string(&opened).unwrap_or_default();
            let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
            line.unwrap_or(0_usize)
        };
        wait_until("the names are read again", || read() >= names.len() + (300 << 10));
        fs::write(&paths, "").unwrap();
        let ended = job.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        if ended.status.code() == Some(0) {
            // It was not stopped in time on a busy machine: it must have read all names then.
            let events = String::from_utf8_lossy(&ended.stdout);
            assert!(events.contains("\"files\":500"), "{program}: {events}");
            continue;
        }
        noticed += 1;
        assert_eq!(ended.status.code(), Some(23), "{program}: {said}");
        let events = String::from_utf8_lossy(&ended.stdout);
        let event = "was changed or removed while it was read";
        assert!(said.contains(event) || events.contains(event), "{said}{events}");
    }
    assert!(noticed > 0);
}

#[test]
fn a_list_is_not_an_entry_of_the_tree_that_it_is_written_into() {
    let work = Sandbox::new();
    trees::small_files(work.path(), 1, 2);
    for list in ["l.ndjson", "l.parquet"] {
        let mut dwalk = alone("dwalk");
        run(dwalk.args(["-q", "-o", list, "."]).current_dir(work.path())).expect(0);
        assert_eq!(entries(&work.path().join(list)), 4, "{list}");
        let copy = Sandbox::new();
        let mut dcp = alone("dcp");
        dcp.args(["-q", "-i", list, "."]).arg(copy.path().join("new")).current_dir(work.path());
        run(&mut dcp).expect(0);
        let list = work.path().join(list);
        fs::remove_dir_all(&list).or_else(|_| fs::remove_file(&list)).unwrap();
    }
}

#[test]
fn a_dash_is_standard_output() {
    let work = Sandbox::new();
    trees::small_files(&work.at("a"), 1, 1);
    fs::create_dir(work.at("b")).unwrap();
    let of = |program: &str, words: &[&str], code| {
        run(alone(program).args(words).current_dir(work.path())).expect(code).stdout
    };
    // In no order, unless one is asked for.
    let lines = |words| {
        let mut lines: Vec<String> = of("dwalk", words, 0).lines().map(Into::into).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&["-q", "-o", "-", "a"]), lines(&["-q", "-p", "a"]));
    let listed = of("dcmp", &["-q", "-o", "EXIST=ONLY_SRC:-", "a", "b"], 1);
    assert!(listed.lines().count() >= 1 && listed.contains("d0000"), "{listed}");
    assert!(!work.at("-").exists());
}
