//! Tests of trees on another host, through OpenSSH's server.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{for_everybody, program, run, tool};
use suite_tests::preload::Faults;
use suite_tests::sshd::Sshd;
use suite_tests::{judge, need, need_root, trees};

/// Returns the command of this build's agent as the shell of the other host reads it: the build may
/// be in a directory with spaces.
pub(crate) fn agent() -> String {
    format!("'{}'", program("dcp").display())
}

/// Returns a tool that reaches the server, and starts that agent there.
pub(crate) fn with_agent(sshd: &Sshd, ranks: u32, name: &str, agent: &str) -> Command {
    let mut command = tool(ranks, name);
    command.args(["--rsh", &sshd.shell(), "--agent-path", agent]);
    command
}

/// Returns a tool that reaches the server, with the agent of this build.
pub(crate) fn through(sshd: &Sshd, ranks: u32, name: &str) -> Command {
    with_agent(sshd, ranks, name, &agent())
}

pub(crate) fn there(path: &Path) -> String {
    format!("root@127.0.0.1:{}", path.display())
}

#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let differences = judge::differences(&judge::picture(one), &judge::picture(other));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn every_attribute_arrives_in_both_directions() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    trees::awkward_tree(&path("source"));
    trees::write(&path("source/large"), &trees::noise(9 << 20));
    let mut copy = through(&sshd, 2, "dcp");
    copy.args(["-a", "-k", "1M"]).arg(path("source")).arg(there(&path("away")));
    run(&mut copy).expect(0);
    assert_same(&path("source"), &path("away"));
    let mut back = through(&sshd, 2, "dsync");
    run(back.args(["-a", "-D", "-k", "1M"]).arg(there(&path("away"))).arg(path("back"))).expect(0);
    assert_same(&path("source"), &path("back"));
    let mut compare = through(&sshd, 2, "dcmp");
    run(compare.arg(path("source")).arg(there(&path("away")))).expect(0);
    trees::write(&path("away/large"), &trees::noise((9 << 20) - 1));
    let mut compare = through(&sshd, 2, "dcmp");
    run(compare.arg(path("source")).arg(there(&path("away")))).expect(1);
    run(through(&sshd, 1, "drm").arg(there(&path("away")))).expect(0);
    assert!(!path("away").exists() && path("source").exists());
}

#[test]
fn a_host_that_cannot_be_reached_is_one_line() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    trees::write(&work.path().join("s"), b"content");
    let ended = run(tool(1, "dcp")
        .args(["--rsh", &sshd.shell(), "--agent-path", "/nowhere/dcp"])
        .arg(work.path().join("s"))
        .arg("root@127.0.0.1:/nowhere/x"))
    .expect(3);
    assert!(ended.stderr.contains("/nowhere/dcp: No such file"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let ended = run(tool(1, "dcp").args(["--rsh=false", "s", "root@host:x"])).expect(3);
    assert!(ended.stderr.contains("--agent-path"), "{}", ended.stderr);
    let ended = run(tool(1, "dcp").args(["--rsh=ssh 'x", "s", "root@host:x"])).expect(2);
    assert!(ended.stderr.contains("quotation mark"), "{}", ended.stderr);
}

#[test]
fn a_forced_command_limits_the_client() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    trees::write(&path("root/in/file"), b"content");
    trees::write(&path("secret"), b"secret");
    let (dcp, root) = (agent(), path("root"));
    let command = format!("{dcp} --agent --root '{}' --read-only", root.display());
    sshd.authorize(&format!("command=\"{command}\",restrict"));
    run(through(&sshd, 1, "dcp").arg("-p").arg("root@127.0.0.1:/in").arg(path("copy"))).expect(0);
    assert_same(&path("root/in"), &path("copy"));
    let mut out = through(&sshd, 1, "dcp");
    let ended = run(out.arg("root@127.0.0.1:../secret").arg(path("stolen"))).expect(3);
    assert!(ended.stderr.contains("leads out of the directory"), "{}", ended.stderr);
    // A link that leads out is copied as it is, and not followed.
    std::os::unix::fs::symlink("../../secret", path("root/in/link")).unwrap();
    let mut follow = through(&sshd, 1, "dcp");
    let ended = run(follow.arg("-L").arg("root@127.0.0.1:/in").arg(path("followed")));
    assert!(ended.code != Some(0) && ended.stderr.contains("--root"), "{ended:?}");
    let mut compare = through(&sshd, 1, "dcmp");
    run(compare.arg(path("root/in/file")).arg("root@127.0.0.1:in/file")).expect(0);
    let mut write = through(&sshd, 1, "dcp");
    let ended = run(write.arg(path("secret")).arg("root@127.0.0.1:in/"));
    assert!(ended.code != Some(0) && ended.stderr.contains("Read-only"), "{ended:?}");
    assert!(!path("followed/link").exists());
    assert!(!path("stolen").exists() && !path("root/in/secret").exists());
}

/// Returns the command of an agent whose calls are affected.
fn struck_agent(faults: &Faults<'_>) -> String {
    let mut command = Command::new("dcp");
    let set = faults.strike(&mut command).get_envs();
    let value = |value: Option<&std::ffi::OsStr>| value.unwrap().to_str().unwrap().to_owned();
    let set: Vec<_> =
        set.map(|(name, set)| format!("'{}={}'", name.display(), value(set))).collect();
    format!("env {} {}", set.join(" "), agent())
}

#[test]
fn a_write_that_fails_at_its_close_is_told() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let work = work.path().canonicalize().unwrap();
    let path = |name: &str| work.join(name);
    trees::write(&path("source"), &trees::noise(9 << 20));
    let (target, log) = (path("away"), path("log"));
    let mut failures = 0;
    for seed in 0..4 {
        std::fs::create_dir(&target).unwrap();
        let (roots, calls) = ([&*target], "close");
        let faults = Faults { roots: &roots, seed, every: 20, calls, kinds: "fail", log: &log };
        let mut copy = with_agent(&sshd, 1, "dcp", &struck_agent(&faults));
        let ended = run(copy.args(["-k", "256K"]).arg(path("source")).arg(there(&target)));
        let struck = faults.struck();
        assert_eq!(ended.code != Some(0), !struck.is_empty(), "{struck:?} {ended:?}");
        failures += struck.len();
        std::fs::remove_dir_all(&target).unwrap();
        let _ = std::fs::remove_file(&log);
    }
    assert!(failures > 0);
}

#[test]
fn a_comparison_by_content_moves_no_content() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    trees::write(&path("source/large"), &trees::noise(20 << 20));
    for number in 0..20 {
        trees::write(&path(&format!("source/small/{number}")), &trees::noise(100 << 10));
    }
    run(Command::new("cp").arg("-a").args([path("source"), path("away")])).expect(0);
    // All that crosses the connections is recorded.
    let agent = format!(
        "sh -c 'tee {wire}/in.$$ | \"{dcp}\" --agent | tee {wire}/out.$$' --",
        wire = path("wire").display(),
        dcp = program("dcp").display()
    );
    let crossed = |name: &str, options: &[&str], code: i32| -> u64 {
        let _ = std::fs::remove_dir_all(path("wire"));
        std::fs::create_dir(path("wire")).unwrap();
        let mut command = with_agent(&sshd, 1, name, &agent);
        command.args(options).arg(path("source")).arg(there(&path("away")));
        run(&mut command).expect(code);
        let recorded = std::fs::read_dir(path("wire")).unwrap();
        recorded.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    for (name, options) in [
        ("dcmp", &["-k", "4M"][..]),
        ("dcmp", &[]),
        ("dsync", &["-c", "-k", "4M"]),
        ("dsync", &["-c"]),
    ] {
        let bytes = crossed(name, options, 0);
        assert!((1..220 << 10).contains(&bytes), "{name} {options:?}: {bytes} bytes");
    }
    let mut content = std::fs::read(path("source/small/7")).unwrap();
    content[50_000] ^= 1;
    let modified = std::fs::metadata(path("source/small/7")).unwrap().modified().unwrap();
    trees::write(&path("away/small/7"), &content);
    let file = std::fs::File::options().write(true).open(path("away/small/7")).unwrap();
    file.set_modified(modified).unwrap();
    crossed("dcmp", &[], 1);
    crossed("dsync", &["-c"], 0);
    assert_same(&path("source"), &path("away"));
}

/// Checks that a directory is not copied into itself, nor deleted as extraneous, because it is
/// named on another host, too.
#[test]
fn a_tree_with_two_names_is_recognized() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    trees::small_files(&path("tree/source"), 1, 3);
    let before = judge::picture(work.path());
    let (source, tree) = (path("tree/source"), path("tree"));
    let local = |path: &Path| path.display().to_string();
    let other = |path: &Path| format!("root@localhost:{}", path.display());
    for (name, source, target) in [
        ("dsync -D", local(&source), there(&tree)),
        ("dsync -D", there(&source), local(&tree)),
        ("dsync -D", there(&source), other(&tree)),
        ("dsync -D", local(&tree), there(&source)),
        ("dsync", local(&tree), there(&source.join("new"))),
        ("dcp", local(&source), there(&source.join("new"))),
        ("dcp", local(&source), there(&tree)),
    ] {
        let (name, option) = name.split_once(' ').unwrap_or((name, "-v"));
        let ended = run(through(&sshd, 1, name).args([option, &source, &target]));
        assert!(ended.code.is_some_and(|code| code != 0), "{name} {source} {target}: {ended:?}");
        let after = judge::picture(work.path());
        assert_eq!(
            judge::differences(&before, &after),
            Vec::<String>::new(),
            "{name} {source} {target}"
        );
    }
    run(through(&sshd, 1, "dcp").args([&local(&source), &there(&path("tree/copy"))])).expect(0);
}

/// Checks that the program is copied once, and again where it is damaged.
#[test]
fn the_agent_is_deployed() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let sshd = Sshd::start(&format!("SetEnv HOME={}", work.path().display()));
    trees::write(&path("s/file"), b"content");
    let copy = |target: &str| {
        let mut command = tool(2, "dcp");
        command.args(["--rsh", &sshd.shell(), "--deploy"]).arg(path("s"));
        run(command.arg(there(&path(target)))).expect(0);
        let deployed: Vec<_> = std::fs::read_dir(path(".cache/dcp")).unwrap().collect();
        assert_eq!(deployed.len(), 1);
        deployed.into_iter().next().unwrap().unwrap().path()
    };
    let deployed = copy("one");
    let identity = || std::fs::metadata(&deployed).map(|it| (it.ino(), it.mode() & 0o777)).unwrap();
    assert_eq!(identity().1, 0o700);
    assert!(std::fs::read(&deployed).unwrap() == std::fs::read(program("dcp")).unwrap());
    let first = identity();
    copy("two");
    assert_eq!(identity(), first);
    std::fs::write(&deployed, b"damaged").unwrap();
    copy("three");
    assert!(identity() != first);
    assert_eq!(std::fs::read(path("three/file")).unwrap(), b"content");
    std::fs::remove_dir_all(path(".cache")).unwrap();
    trees::write(&path(".cache"), b"no directory");
    let mut command = tool(1, "dcp");
    command.args(["--rsh", &sshd.shell(), "--deploy"]).arg(path("s"));
    let ended = run(command.arg(there(&path("four")))).expect(3);
    assert!(ended.stderr.contains("cannot be deployed"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

/// Returns the block of commands below "Instead of scripts" in docs/ssh.md that begins with a word.
fn documented(word: &str) -> String {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ssh.md")).unwrap();
    let (_, section) = page.split_once("## Instead of scripts").unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with(&format!("    {word}")));
    lines.map_while(|line| line.strip_prefix("    ")).collect::<Vec<_>>().join("\n")
}

/// The names of nodes and peers of the documentation are this machine, and `/data` of either side
/// is a directory of its own.
#[test]
fn the_script_of_the_documentation_and_its_replacement_copy_the_same() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    for number in 0..40 {
        trees::write(
            &path("here").join(format!("d{}/f{number}", number % 5)),
            &trees::noise(number * 100),
        );
    }
    let [port, key, known] = sshd.reached_by();
    let hosts = format!(
        "Host node1 node2 peer1 peer2\nHostName 127.0.0.1\nUser root\nPort {port}\nIdentityFile {key}\nBatchMode yes\n\
         StrictHostKeyChecking accept-new\nUserKnownHostsFile {known}\n"
    );
    std::fs::write(path("hosts"), hosts).unwrap();
    let shell = format!("ssh -F {}", path("hosts").display());

    let [source, target] = ["here", "there"].map(|name| path(name).display().to_string());
    let script = documented("find")
        .replace(":/data/", &format!(":{target}/"))
        .replace("/data", &source)
        .replace("rsync -a", &format!("rsync -a -e '\"'{shell}'\"'"))
        .replace("ssh node", &format!("{shell} node"));
    std::fs::create_dir(path("there")).unwrap();
    assert!(script.contains("part.0$i") && !script.contains("/data"), "{script}");
    let ended =
        Command::new("bash").args(["-c", &script]).current_dir(work.path()).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    // A list of files has no times of directories.
    for number in 0..40 {
        let [here, there] =
            ["here", "there"].map(|tree| path(tree).join(format!("d{}/f{number}", number % 5)));
        assert_eq!(std::fs::read(&here).unwrap(), std::fs::read(&there).unwrap());
        assert_eq!(
            here.metadata().unwrap().modified().unwrap(),
            there.metadata().unwrap().modified().unwrap()
        );
    }

    let words = documented("mpiexec")
        .replace("/data/ ", &format!("{source}/ "))
        .replace(":/data", &format!(":{target}2"));
    let (launcher, words) = words.split_once(" dcp ").unwrap();
    assert_eq!(launcher, "mpiexec -hosts node1,node2 -n 16");
    let mut copy = tool(2, "dcp");
    copy.args(["--rsh", &shell, "--agent-path", &agent()]).args(words.split_whitespace());
    run(&mut copy).expect(0);
    assert_same(&path("here"), &path("there2"));
}

/// Checks that the directory where an agent begins is never emptied, however it is named.
#[test]
fn the_root_and_the_home_directory_of_a_host_are_never_removed() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    trees::write(&work.path().join("home/thesis"), b"precious");
    let agent = format!("cd '{}' && {}", work.path().join("home").display(), agent());
    for path in ["/", "//", "", ".", "./", "/.", "..", "~", "~/"] {
        let mut drm = with_agent(&sshd, 1, "drm", &agent);
        let ended = run(drm.arg(format!("root@127.0.0.1:{path}"))).expect(2);
        assert!(ended.stderr.contains("not removed"), "{path:?} {}", ended.stderr);
        assert!(work.path().join("home/thesis").exists(), "{path:?}");
    }
    let home = work.path().join("home").display().to_string();
    for path in [&home, &format!("{home}/"), &work.path().display().to_string()] {
        let mut drm = with_agent(&sshd, 1, "drm", &agent);
        let ended = run(drm.arg(format!("root@127.0.0.1:{path}"))).expect(2);
        assert!(ended.stderr.contains("home directory"), "{path:?} {}", ended.stderr);
        assert!(work.path().join("home/thesis").exists(), "{path:?}");
    }
    // A path below is one that is removed.
    let mut drm = with_agent(&sshd, 1, "drm", &agent);
    run(drm.arg("root@127.0.0.1:~/thesis")).expect(0);
    assert!(!work.path().join("home/thesis").exists() && work.path().join("home").exists());
}

#[test]
fn a_tilde_is_the_home_directory_and_no_name() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    trees::write(&path("s/file"), b"content");
    std::fs::create_dir(path("home")).unwrap();
    let agent = format!("cd '{}' && {}", path("home").display(), agent());
    let into = |target: &str| {
        let mut dcp = with_agent(&sshd, 1, "dcp", &agent);
        run(dcp.arg(path("s/file")).arg(target))
    };
    into("root@127.0.0.1:~").expect(0);
    into("root@127.0.0.1:~/copy").expect(0);
    into("127.0.0.1:~/other").expect(0);
    into("root@127.0.0.1:~other/copy").expect(2);
    into("root@127.0.0.1::module").expect(2);
    let mut names: Vec<_> = std::fs::read_dir(path("home")).unwrap().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names.drain(..).all(
            |it| ["file", "copy", "other"].contains(&it.unwrap().file_name().to_str().unwrap())
        )
    );
}

/// Checks that it is the user there whose rights count: here root starts the job, and there an
/// ordinary user works; and the other way round.
#[test]
fn the_user_there_decides_what_can_be_changed() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    let sh = |script: &str| {
        run(Command::new("sh").args(["-ec", script]).current_dir(work.path())).expect(0).stdout
    };
    sh("chmod 755 .; mkdir -p s/d; echo 1 > s/d/f; echo 2 > s/g; chmod 2755 s/g; chown -R 1234:1234 s
        mkdir -p t/d t/old; echo x > t/old/x; chown -R 1234:1234 t; chmod 555 t/d; chmod 0 t/old");
    // The user there can execute it, wherever the build is.
    let (_programs, dcp) = for_everybody("dcp");
    let agent = format!("setpriv --reuid=1234 --regid=1234 --clear-groups '{}'", dcp.display());
    let sync = || {
        let mut dsync = with_agent(&sshd, 2, "dsync", &agent);
        run(dsync.args(["-a", "-D", "--json"]).arg(path("s")).arg(there(&path("t")))).expect(0)
    };
    sync();
    assert_same(&path("s"), &path("t"));
    // What the user there may not give away is told, and not tried again each time.
    sh("chown 5:5 s/d/f");
    sync();
    assert_eq!(sync().summary()["totals"]["synced"]["attributes_set"], 0);

    // An ordinary user here may be root there.
    sh("chown -R 65534:65534 s; chown 5:5 s/d/f; chmod -R a+rX s; chown -R 0:0 t");
    let (uid, gid) = (["--uid", "65534"], ["--gid", "65534"]);
    let mut dsync = through(&sshd, 1, "dsync");
    sshd.give_key_to(65534);
    dsync.env("HOME", work.path());
    run(dsync.args(uid).args(gid).arg("-a").arg(path("s")).arg(there(&path("t")))).expect(0);
    assert_same(&path("s"), &path("t"));
}

#[test]
fn what_is_written_as_an_address_never_becomes_a_local_file() {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("s"), "content").unwrap();
    for target in
        ["[::1]:x", "u@[::1]:x", "DOM\\u@h:x", "a, b:x", "a=b@h:x", ",h:x", "-h:x", "u@h:x"]
    {
        let mut dcp = tool(1, "dcp");
        dcp.current_dir(work.path()).args(["--rsh=false", "--", "s", target]);
        let ended = run(&mut dcp);
        assert!(matches!(ended.code, Some(2 | 3)), "{target}: {ended:?}");
    }
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 1);
}
