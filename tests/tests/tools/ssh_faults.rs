//! Tests of connections, ranks and hosts that go away in mid-copy: nothing partial has its final
//! name, and the copy is completed, by the job or by the same command again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{Ended, assert_identical, ranks_of, run};
use suite_tests::sandbox::Sandbox;
use suite_tests::sshd::Sshd;
use suite_tests::unfinished::{begin, files_in, written};
use suite_tests::waiting::{wait_until, wait_within};
use suite_tests::{need, need_root, trees};

use crate::ssh::{agent, there, through, with_agent};

/// Shell function that kills the process of sshd that holds the script's connection.
const KILL: &str = "kill_connection() {
    p=$$
    until case $(cat /proc/$p/comm) in sshd*) ;; *) false ;; esac; do
        p=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$p/status)
        [ \"${p:-1}\" -gt 1 ] || return
    done
    kill -9 $p
}";

/// Shell commands that show by a directory that the script runs.
const RUNNING: &str = "running=$(mktemp -d \"$dir/running.XXXXXX\")
trap 'rmdir \"$running\"' EXIT";

/// Two trees, a server, and a program that is started there in place of the agent.
struct Faulty {
    work: Sandbox,
    sshd: Sshd,
}

impl Faulty {
    /// Makes the source, and the program from the lines of a shell script. In it, `$dir` is the
    /// directory of the test, and `agent` starts the agent.
    fn new(script: &str) -> Self {
        let (work, sshd) = (Sandbox::for_everybody(), Sshd::start("ListenAddress 127.0.0.2"));
        trees::small_files(&work.source(), 10, 20);
        trees::write(&work.at("s/large"), &trees::noise(9 << 20));
        let dir = work.path().display();
        let start = format!("agent() {{\n    {} --agent\n}}", agent());
        let text = format!("#!/bin/sh\ndir='{dir}'\n{RUNNING}\n{KILL}\n{start}\n{script}\n");
        fs::write(work.at("agent"), text).unwrap();
        fs::set_permissions(work.at("agent"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { work, sshd }
    }

    /// Returns the command of the copy to that location.
    fn copy(&self, ranks: u32, target: &str) -> Command {
        let script = format!("'{}'", self.work.at("agent").display());
        let mut command = with_agent(&self.sshd, ranks, "dcp", &script);
        command.args(["-p", "-k", "256K", "--ssh-connections=1", "--json"]);
        command.arg(format!("{}/", self.work.source().display())).arg(target);
        command
    }

    fn target(&self) -> String {
        there(&self.work.target())
    }

    /// Waits for the end of all agents. One whose connection was killed completes the requests that
    /// it has begun, also after the job has ended.
    fn wait_for_agents(&self) {
        wait_until("all agents have ended", || {
            let names = fs::read_dir(self.work.path()).unwrap().map(|it| it.unwrap().file_name());
            !names.into_iter().any(|name| name.as_encoded_bytes().starts_with(b"running."))
        });
    }

    /// Returns the bytes at the target, and asserts that no file with its final name is partial.
    fn written(&self) -> u64 {
        self.wait_for_agents();
        written(&self.work.source(), &self.work.target())
    }

    /// Removes what is staged at the target, and asserts that this leaves the source's tree.
    fn assert_complete(&self) {
        self.wait_for_agents();
        let mut clean = through(&self.sshd, 1, "dcp");
        run(clean.args(["--clean", "--min-age=0s"]).arg(self.target())).expect(0);
        assert_identical(&self.work.source(), &self.work.target());
    }
}

/// Returns the bytes that are stored in a tree which changes meanwhile.
fn arrived(tree: &Path) -> u64 {
    let stored = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512);
    files_in(tree).iter().map(stored).sum()
}

fn failures(ended: &Ended) -> usize {
    ended.events("failure").len()
}

#[test]
fn a_connection_that_is_killed_is_made_again_and_the_copy_is_complete() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let faulty = Faulty::new(
        "if mkdir \"$dir/killed\" 2>/dev/null; then
             { stdbuf -o0 head -c 3000000; kill_connection; } | agent
         else
             agent
         fi",
    );
    let ended = run(&mut faulty.copy(2, &faulty.target())).expect(0);
    assert!(faulty.work.at("killed").exists(), "a connection was killed");
    assert_eq!(failures(&ended), 0, "{ended:?}");
    faulty.assert_complete();
}

#[test]
fn a_rank_that_is_killed_leaves_nothing_partial_and_the_same_command_completes_it() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let faulty = Faulty::new(
        "{
             if [ -e \"$dir/hold\" ]; then
                 stdbuf -o0 head -c 2000000
                 while [ -e \"$dir/hold\" ]; do sleep 0.1; done
             fi
             cat
         } | agent",
    );
    let work = &faulty.work;
    fs::write(work.at("hold"), "").unwrap();
    let mut copy = faulty.copy(2, &faulty.target());
    let journal = format!("--journal={}", work.at("journal").display());
    fs::create_dir(work.at("journal")).unwrap();
    copy.args(["--resume", &journal]);
    let mut job = begin(&mut copy);
    wait_within(&mut job, "a part has arrived", || arrived(&work.target()) > 1 << 20);
    let rank = *ranks_of(job.id(), "dcp").last().unwrap();
    run(Command::new("kill").args(["-KILL", &rank.to_string()])).expect(0);
    assert_ne!(job.wait().unwrap().code(), Some(0));
    fs::remove_file(work.at("hold")).unwrap();
    assert!(faulty.written() > 0, "a part has arrived");
    let ended = run(&mut copy).expect(0);
    faulty.assert_complete();
    assert_eq!(failures(&ended), 0, "{ended:?}");
}

#[test]
fn a_host_that_stays_away_is_given_up_for_the_other() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    // Connections to both end once; after that one of the hosts refuses all.
    let faulty = Faulty::new(
        "case $SSH_CONNECTION in
             *127.0.0.2*) mkdir \"$dir/away\" 2>/dev/null || exit 1 ;;
             *) mkdir \"$dir/one\" 2>/dev/null || mkdir \"$dir/two\" 2>/dev/null || { agent; exit; } ;;
         esac
         { stdbuf -o0 head -c 1000000; kill_connection; } | agent",
    );
    let target = format!("root@127.0.0.1,root@127.0.0.2:{}", faulty.work.target().display());
    let ended = run(&mut faulty.copy(1, &target)).expect(0);
    assert!(faulty.work.at("away").exists() && faulty.work.at("two").exists(), "{ended:?}");
    assert_eq!(failures(&ended), 0, "{ended:?}");
    faulty.assert_complete();
}

#[test]
fn a_job_without_any_host_ends_with_an_honest_code_and_the_same_command_completes_it() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let faulty = Faulty::new(
        "if [ -e \"$dir/back\" ]; then
             agent
         else
             mkdir \"$dir/asked\" 2>/dev/null || mkdir \"$dir/copied\" 2>/dev/null || exit 1
             { stdbuf -o0 head -c 2000000; kill_connection; } | agent
         fi",
    );
    let ended = run(&mut faulty.copy(1, &faulty.target())).expect(23);
    assert!(failures(&ended) > 0 && ended.stdout.contains("host-unreachable"), "{ended:?}");
    assert!(ended.stderr.contains("127.0.0.1: the agent did not answer"), "{ended:?}");
    faulty.written();
    fs::write(faulty.work.at("back"), "").unwrap();
    run(&mut faulty.copy(1, &faulty.target())).expect(0);
    faulty.assert_complete();
}
