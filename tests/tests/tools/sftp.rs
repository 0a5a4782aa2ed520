//! Tests of trees on hosts with an SFTP server, through OpenSSH's own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::sshd::{SFTP_SERVER, Sshd};
use suite_tests::unfinished::written;
use suite_tests::{need, need_root, trees};

/// Returns a tool that reaches the server.
fn through(sshd: &Sshd, ranks: u32, name: &str) -> Command {
    let mut command = tool(ranks, name);
    command.args(["--rsh", &sshd.shell()]);
    if ranks > 1 {
        command.arg("--ssh-connections=1");
    }
    command
}

pub(crate) fn there(path: &Path) -> String {
    format!("sftp://root@127.0.0.1{}", path.display())
}

pub(crate) fn has_server() -> bool {
    Sshd::is_installed() && Path::new(SFTP_SERVER).exists()
}

/// Attributes that SFTP tells of the entries of a tree, by path: mode, owner and group, size,
/// modification time in its range, and content or the target of a link.
type Picture = BTreeMap<PathBuf, (u32, [u32; 2], i64, Vec<u8>)>;

fn picture(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        if kind.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = match () {
            () if kind.is_symlink() => {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            }
            () if kind.is_file() => fs::read(&path).unwrap(),
            () => Vec::new(),
        };
        let seconds = metadata.mtime().clamp(0, u32::MAX.into());
        let owner = [metadata.uid(), metadata.gid()];
        let below = path.strip_prefix(root).unwrap().to_path_buf();
        picture.insert(below, (metadata.mode(), owner, seconds, content));
    }
    picture
}

#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (picture(one), picture(other));
    let all = one.keys().chain(other.keys());
    let differing: Vec<_> = all.filter(|path| one.get(*path) != other.get(*path)).collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert!(!one.is_empty());
}

#[test]
fn a_tree_goes_to_an_sftp_server_and_comes_back() {
    need_root!();
    need!(has_server(), "sftp-server");
    let sshd = Sshd::start("");
    for ranks in [1, 4] {
        let work = Sandbox::new();
        let path = |name: &str| work.at(name);
        trees::awkward_tree(&path("source"));
        trees::write(&path("source/large"), &trees::noise(9 << 20));
        let mut copy = through(&sshd, ranks, "dcp");
        copy.args(["-a", "-k", "1M"]).arg(path("source")).arg(there(&path("away")));
        run(&mut copy).expect(0);
        assert_same(&path("source"), &path("away"));
        let mut back = through(&sshd, ranks, "dsync");
        back.args(["-a", "-D", "-k", "1M"]).arg(there(&path("away"))).arg(path("back"));
        run(&mut back).expect(0);
        assert_same(&path("source"), &path("back"));
        // In neither direction is anything left to do.
        let [source, away] = [path("source").display().to_string(), there(&path("away"))];
        run(through(&sshd, ranks, "dcmp").args([&source, &away])).expect(0);
        for pair in [[&source, &away], [&away, &source]].into_iter().take(2 / ranks as usize) {
            let mut again = through(&sshd, ranks, "dsync");
            let ended = run(again.args(["-a", "-D", "--json"]).args(pair)).expect(0);
            let totals = &ended.summary()["totals"];
            for kind in ["files", "directories", "symlinks"] {
                assert_eq!(totals["copied"][kind], 0, "{pair:?} {totals}");
                assert_eq!(totals["synced"]["deleted"][kind], 0, "{pair:?} {totals}");
            }
            assert_eq!(totals["synced"]["attributes_set"], 0, "{pair:?} {totals}");
            run(through(&sshd, ranks, "dcmp").args(pair)).expect(0);
        }
        assert_same(&path("source"), &path("back"));
    }
}

#[test]
fn what_differs_is_found_and_mended() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    let path = |name: &str| work.at(name);
    trees::small_files(&path("source"), 3, 20);
    trees::write(&path("source/large"), &trees::noise(3 << 20));
    run(Command::new("cp").arg("-a").args([path("source"), path("away")])).expect(0);
    // Size and time stay as they were.
    let modified = fs::metadata(path("away/large")).unwrap().modified().unwrap();
    let mut content = fs::read(path("away/large")).unwrap();
    content[2 << 20] ^= 1;
    trees::write(&path("away/large"), &content);
    let file = fs::File::options().write(true).open(path("away/large")).unwrap();
    file.set_modified(modified).unwrap();
    trees::write(&path("away/more/inside"), b"x");
    symlink("x", path("away/link")).unwrap();
    let compare = || {
        let mut compare = through(&sshd, 2, "dcmp");
        compare.args(["--json", "-k", "1M"]).arg(path("source")).arg(there(&path("away")));
        compare
    };
    let found = run(&mut compare()).expect(1).summary();
    let compared = &found["totals"]["compared"];
    assert_eq!(compared["different_by_field"]["CONTENT"], 1, "{compared}");
    assert_eq!(compared["only_in_target"], 3, "{compared}");
    assert_eq!(compared["content"]["checksum"]["files"], 0, "a server computes no checksums");
    let mut sync = through(&sshd, 4, "dsync");
    sync.args(["-a", "-c", "-D", "--json"]).arg(path("source")).arg(there(&path("away")));
    let totals = &run(&mut sync).expect(0).summary()["totals"];
    assert_eq!(totals["copied"]["files"], 1, "{totals}");
    assert_same(&path("source"), &path("away"));
    run(&mut compare()).expect(0);
    let mut list = through(&sshd, 1, "dwalk");
    let listed = run(list.args(["--json"]).arg(there(&path("away")))).expect(0).summary();
    assert_eq!(listed["totals"]["found"]["files"], 61);
    run(through(&sshd, 4, "drm").arg(there(&path("away")))).expect(0);
    assert!(!path("away").exists() && path("source").exists());
}

#[test]
fn hard_links_are_made_there_and_what_is_not_kept_is_told() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    let path = |name: &str| work.at(name);
    trees::write(&path("source/a"), b"content");
    fs::hard_link(path("source/a"), path("source/b")).unwrap();
    let pair = || [path("source").display().to_string(), there(&path("away"))];
    for tool in ["dcp", "dsync", "dsync"] {
        let mut copy = through(&sshd, 2, tool);
        let target = if tool == "dcp" { there(&path("away")) } else { pair()[1].clone() };
        run(copy.arg("-a").arg(path("source")).arg(target)).expect(0);
        let inode = |name: &str| fs::metadata(path(name)).unwrap().ino();
        assert_eq!(inode("away/a"), inode("away/b"), "{tool}");
    }
    let compared = run(through(&sshd, 1, "dcmp").arg("-H").args(pair())).expect(0);
    assert!(compared.stdout.contains("hard links: one of the two locations"), "{compared:?}");
    assert!(compared.stdout.contains("identical in what both locations store"), "{compared:?}");
    let mut back = through(&sshd, 1, "dcp");
    let ended = run(back.arg("-a").arg(there(&path("away"))).arg(path("back"))).expect(0);
    let told = ended.stderr.lines().filter(|line| line.contains("hard links and fractions"));
    assert_eq!(told.count(), 1, "{}", ended.stderr);
    // The other direction leaves hard links as they are.
    let mut sync = through(&sshd, 1, "dsync");
    let [source, away] = pair();
    run(sync.arg("-a").args([away, source])).expect(0);
    assert_eq!(fs::metadata(path("source/a")).unwrap().nlink(), 2);
    let xattr =
        Command::new("setfattr").args(["-n", "user.x", "-v", "1"]).arg(path("source/a")).status();
    if xattr.is_ok_and(|status| status.success()) {
        let mut copy = through(&sshd, 1, "dcp");
        copy.args(["-a", "--json"]).arg(path("source/a")).arg(there(&path("x")));
        let totals = &run(&mut copy).expect(0).summary()["totals"];
        assert_eq!(totals["xattrs_not_preserved"], 1, "{totals}");
    }
}

#[test]
fn a_remote_of_rclone() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    let path = |name: &str| work.at(name);
    trees::small_files(&path("source"), 2, 5);
    let key = |sshd: &Sshd, more: &str| {
        let [port, key, known] = sshd.reached_by();
        let text = format!(
            "[lab]\ntype = sftp\nhost = 127.0.0.1\nuser = root\nport = {port}\nkey_file = {key}\n\
             known_hosts_file = {known}\nshell_type = unix\nconcurrency = 4\nchunk_size = 16Ki\n{more}"
        );
        fs::write(path("rclone.conf"), text).unwrap();
    };
    let with = |name: &str| {
        let mut command = tool(1, name);
        command.env("RCLONE_CONFIG", path("rclone.conf"));
        command.args(["--rsh", "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new"]);
        command
    };
    key(&sshd, "");
    let target = format!("lab:{}", path("away").display());
    run(with("dcp").arg("-a").arg(path("source")).arg(&target)).expect(0);
    assert_same(&path("source"), &path("away"));
    run(with("dcmp").arg(path("source")).arg(&target)).expect(0);
    run(with("dcp").arg("-a").arg(format!("{target}/")).arg(path("back"))).expect(0);
    assert_same(&path("source"), &path("back"));
    let ended = run(with("dwalk").arg("lab:away")).expect(2);
    assert!(ended.stderr.contains("\"lab:./away\""), "{}", ended.stderr);
    key(&sshd, "pass = obscured-secret\n");
    let ended = run(with("dwalk").arg(&target)).expect(3);
    assert!(ended.stderr.contains("passwords are not taken"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("obscured"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let ended = run(tool(1, "dwalk").arg("sftp://root:secret@127.0.0.1/x")).expect(2);
    assert!(ended.stderr.contains("passwords are not taken"), "{}", ended.stderr);
}

/// A program in place of ssh that starts the server: the lines of a shell script, in which `$dir`
/// is the directory of the test, and `$n` the number of the connection.
fn in_place_of_ssh(work: &Sandbox, script: &str) -> String {
    let program = work.at("reach");
    let dir = work.path().display();
    let text = format!(
        "#!/bin/sh\ndir='{dir}'\nmkdir -p \"$dir/n\"\nn=0\n\
         until mkdir \"$dir/n/$n\" 2>/dev/null; do n=$((n + 1)); done\n{script}\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.display().to_string()
}

/// Shell functions that serve requests of that many bytes, or replies, and then kill the server.
const KILLED: &str = "server() {
    sh -c \"echo \\$\\$ > $dir/n/$n/pid; exec /usr/lib/openssh/sftp-server\"
}
killed() {
    { stdbuf -o0 head -c $1; kill -9 $(cat $dir/n/$n/pid); } | server
}
cut_off() {
    server | { stdbuf -o0 head -c $1; kill -9 $(cat $dir/n/$n/pid); }
}";

fn faulty() -> Sandbox {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 5, 20);
    trees::write(&work.at("s/large"), &trees::noise(9 << 20));
    work
}

fn copy(work: &Sandbox, ranks: u32, shell: &str) -> Command {
    let mut command = tool(ranks, "dcp");
    command.args(["-p", "-k", "1M", "--ssh-connections=1", "--json", "--rsh", shell]);
    command.arg(format!("{}/", work.source().display())).arg(there(&work.target()));
    command
}

#[test]
fn a_server_that_is_killed_is_started_again() {
    need_root!();
    need!(has_server(), "sftp-server");
    for ranks in [1, 4] {
        let work = faulty();
        let shell = in_place_of_ssh(&work, &format!("{KILLED}\nkilled 3000000"));
        let ended = run(&mut copy(&work, ranks, &shell));
        written(&work.source(), &work.target());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let connections = fs::read_dir(work.at("n")).unwrap().count();
        assert!(connections > 2, "{connections}");
        let plain = in_place_of_ssh(&work, &format!("exec {SFTP_SERVER}"));
        let mut clean = tool(1, "dcp");
        clean.args(["--rsh", &plain, "--clean", "--min-age=0s"]).arg(there(&work.target()));
        run(&mut clean).expect(0);
        assert_same(&work.source(), &work.target());
    }
}

#[test]
fn a_host_that_stays_away_is_told_and_the_same_command_completes_it() {
    need_root!();
    need!(has_server(), "sftp-server");
    let work = faulty();
    // The first connection breaks off, and there is no second.
    let script =
        format!("{KILLED}\ncase $n in 0) killed 3000000;; *) echo away >&2; exit 1;; esac");
    let shell = in_place_of_ssh(&work, &script);
    let ended = run(&mut copy(&work, 1, &shell));
    assert!(![Some(0), None].contains(&ended.code), "{ended:?}");
    assert!(ended.stdout.contains("away"), "{ended:?}");
    let moved = written(&work.source(), &work.target());
    assert!(moved > 0, "it ended before anything was moved");
    let plain = in_place_of_ssh(&work, &format!("exec {SFTP_SERVER}"));
    run(&mut copy(&work, 1, &plain)).expect(0);
    let mut compare = tool(1, "dcmp");
    compare.args(["--rsh", &plain]).arg(work.source()).arg(there(&work.target()));
    let mut clean = tool(1, "dcp");
    clean.args(["--rsh", &plain, "--clean", "--min-age=0s"]).arg(there(&work.target()));
    run(&mut clean).expect(0);
    run(&mut compare).expect(0);
}

#[test]
fn a_listing_that_breaks_off_deletes_nothing() {
    need_root!();
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    trees::wide_directory(&work.source(), 2000);
    run(Command::new("cp").arg("-a").args([work.source(), work.target()])).expect(0);
    for number in 0..50 {
        trees::write(&work.at(format!("t/more-{number}")), b"x");
    }
    // Replies end within the listing, on every connection.
    let script = format!("{KILLED}\ncut_off 60000");
    let shell = in_place_of_ssh(&work, &script);
    let mut sync = tool(1, "dsync");
    sync.args(["-D", "--rsh", &shell]).arg(there(&work.source())).arg(work.target());
    let ended = run(&mut sync);
    assert!(![Some(0), None].contains(&ended.code), "{ended:?}");
    assert_eq!(fs::read_dir(work.target()).unwrap().count(), 2050, "{ended:?}");
}

#[test]
fn a_host_that_serves_something_else_is_one_line() {
    need_root!();
    let work = Sandbox::new();
    trees::write(&work.source(), b"content");
    for (script, words) in [
        ("echo Welcome to host; sleep 1", "login script"),
        ("echo 'subsystem request failed' >&2; exit 1", "subsystem request failed"),
        ("exit 0", "no answer of an SFTP server"),
    ] {
        let shell = in_place_of_ssh(&work, script);
        let mut copy = tool(1, "dcp");
        copy.args(["--rsh", &shell]).arg(work.source()).arg(there(&work.target()));
        let ended = run(&mut copy).expect(3);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

/// Returns the content of a tree, by path.
fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    picture(root).into_iter().map(|(path, (.., content))| (path, content)).collect()
}

#[test]
fn a_move_onto_itself_loses_nothing() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    let tree = work.at("tree");
    let before = || {
        trees::write(&tree.join("d/file"), b"content");
        trees::write(&tree.join("other"), b"content");
        fs::create_dir_all(work.at("beside")).unwrap();
        content(&tree)
    };
    let here = tree.display().to_string();
    let [slashed, there] = [format!("{here}/"), there(&tree)];
    let file = [format!("{here}/other"), format!("{there}/other")];
    for (from, to) in [
        (format!("{there}/"), slashed.clone()),
        (slashed.clone(), format!("{there}/")),
        (file[0].clone(), file[1].clone()),
        (file[1].clone(), file[0].clone()),
        (here.clone(), format!("{there}/d")),
        (here.clone(), format!("{there}/d/new")),
        (there.clone(), format!("{here}/d")),
    ] {
        let whole = before();
        let mut dcp = through(&sshd, 1, "dcp");
        let ended = run(dcp.args(["-p", "--remove-source", &from, &to]));
        assert!(matches!(ended.code, Some(2 | 3 | 23)), "{from} {to}: {ended:?}");
        assert!(ended.stderr.contains("same") || ended.stderr.contains("inside"), "{ended:?}");
        assert_eq!(content(&tree), whole, "{from} {to}");
    }
    // A move to a place that is another one is no mistake, and leaves no probe.
    let mut dcp = through(&sshd, 1, "dcp");
    let beside = work.at("beside");
    let target = format!("sftp://root@127.0.0.1{}", beside.display());
    run(dcp.args(["-p", "--remove-source", &slashed, &target])).expect(0);
    assert_eq!(fs::read_dir(&beside).unwrap().count(), 2);
    assert_eq!(fs::read_dir(&tree).map_or(0, Iterator::count), 0);
}

#[test]
fn devices_are_skipped_and_mounts_that_are_not_told_are_no_option() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    trees::write(&work.at("s/file"), b"content");
    trees::write(&work.at("t/extra"), b"content");
    let made = Command::new("mknod").arg(work.at("s/null")).args(["c", "1", "3"]).status();
    need!(made.is_ok_and(|made| made.success()), "devices");
    let mut dsync = through(&sshd, 2, "dsync");
    run(dsync.args(["-a", "-D", &there(&work.at("s"))]).arg(work.at("t"))).expect(0);
    assert!(work.at("t/file").exists() && !work.at("t/extra").exists());
    let mut walk = through(&sshd, 1, "dwalk");
    let ended = run(walk.args(["-x", &there(&work.at("s"))])).expect(2);
    assert!(ended.stderr.contains("--one-file-system"), "{}", ended.stderr);
    let mut walk = through(&sshd, 1, "dwalk");
    let ended = run(walk.arg("-o").arg(work.at("l.mfu")).arg(there(&work.at("s")))).expect(2);
    assert!(ended.stderr.contains(".ndjson") && !work.at("l.mfu").exists(), "{}", ended.stderr);
}
