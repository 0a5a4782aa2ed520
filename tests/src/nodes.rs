//! Nodes on one machine: each has a network, a host name and processes of its own, and a cable to a
//! switch that can be pulled. Files are shared, as on a cluster; where requested, each node has
//! mounts of its own, and looks like another machine.
//!
//! A node is three or four namespaces (namespaces(7): network, UTS, PID, mounts) and lives as long
//! as its first process, which ends when its standard input is closed. So nothing is left where a
//! test is killed, and no name is taken that another test could need: addresses and bridges are
//! within the namespaces. Launchers are started beside the switch, as on a login node, and reach
//! the nodes through a program that replaces ssh.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::job::{mpiexec, program, run};
use crate::sandbox::Sandbox;
use crate::skips;

/// Script of the first process of a node, which prints its process ID as the rest of the machine
/// knows it.
const FIRST_PROCESS: &str = r#"read -r pid rest < /proc/self/stat
if [ -n "$1" ]; then
    cat /proc/sys/kernel/random/uuid > "$1" && mount --bind "$1" /etc/machine-id || exit 1
fi
hostname "$0-$pid" && ip link set lo up && echo "$pid" && exec cat"#;

/// Script that is called as ssh: `[-x] HOST COMMAND…`. It does not notice the loss of a node: as
/// ssh does then, it waits, but no longer than its launcher lives.
const AGENT: &str = r#"#!/bin/sh
launcher=$PPID
while [ "${1#-}" != "$1" ]; do shift; done
read -r pid more < "${0%/*}/$1" || exit 255
shift
nsenter --target "$pid" --net --uts --pid $more sh -c "$*"
code=$?
[ $code = 137 ] || exit $code
while kill -0 $launcher 2> /dev/null; do sleep 0.1; done
"#;

/// Mounts that the nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounts {
    OfAll,
    OfEach,
}

/// State of a node's network when its processes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cable {
    /// Pulled before: their end is not announced to others, as when power fails.
    Pulled,
    /// Connections are closed, as when the node runs out of memory and kills.
    Intact,
}

/// Nodes with the switch between them; all are removed when dropped.
#[derive(Debug)]
pub struct Nodes {
    agents: Sandbox,
    switch: Namespaces,
    members: Vec<Namespaces>,
}

impl Nodes {
    /// Starts that many nodes without processes: requires the superuser and MPICH's launcher.
    pub fn start(count: usize) -> Self {
        Self::start_with(Mounts::OfAll, count)
    }

    /// Starts that many nodes with mounts of their own, at first those that this process has now.
    pub fn start_apart(count: usize) -> Self {
        Self::start_with(Mounts::OfEach, count)
    }

    fn start_with(mounts: Mounts, count: usize) -> Self {
        assert!(skips::has_root(), "only the superuser makes namespaces");
        let agents = Sandbox::for_everybody();
        let agent = agents.path().join("agent");
        fs::write(&agent, AGENT).unwrap();
        fs::set_permissions(&agent, Permissions::from_mode(0o755)).unwrap();
        let switch = Namespaces::start("switch", None);
        switch.ip("link add bridge type bridge");
        switch.ip(&format!("addr add {}/24 dev bridge", address(0)));
        switch.ip("link set bridge up");
        let mut nodes = Self { agents, switch, members: Vec::new() };
        (1..=count).for_each(|number| nodes.add(number, mounts));
        nodes
    }

    fn add(&mut self, number: usize, mounts: Mounts) {
        let machine = self.agents.path().join(format!("machine{number}"));
        let (machine, more) = match mounts {
            Mounts::OfAll => (None, ""),
            Mounts::OfEach => (Some(&*machine), " --mount"),
        };
        let node = Namespaces::start(&format!("node{number}"), machine);
        let (port, pid) = (format!("port{number}"), node.pid());
        self.switch.ip(&format!("link add {port} type veth peer name eth0 netns {pid}"));
        self.switch.ip(&format!("link set {port} master bridge up"));
        node.ip(&format!("addr add {}/24 dev eth0", address(number)));
        node.ip("link set eth0 up");
        fs::write(self.agents.path().join(address(number)), format!("{pid}{more}\n")).unwrap();
        self.members.push(node);
    }

    /// Returns the host name of a node; nodes are numbered from 1.
    pub fn name(&self, number: usize) -> String {
        format!("node{number}-{}", self.members[number - 1].pid())
    }

    /// Runs a shell script on a node that has mounts of its own.
    pub fn on(&self, number: usize, script: &str) {
        let pid = self.members[number - 1].pid().to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &pid, "--mount", "--net", "--uts", "sh", "-e", "-c", script]);
        run(&mut nsenter).expect(0);
    }

    /// Returns the command for a tool with that many ranks on each of these nodes. Its launcher
    /// does not outlive the thread that starts it, whatever becomes of the test.
    pub fn tool(&self, numbers: &[usize], ranks_each: usize, tool: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(self.switch.enter()).args(mpiexec());
        self.tell_hydra(&mut command, numbers, ranks_each);
        command.args(["-n", &(numbers.len() * ranks_each).to_string()]).arg(program(tool));
        command
    }

    /// Returns the command for a tool with a rank on each of these nodes, which communicate through
    /// memory instead of the network: for tests of what they see.
    pub fn tool_beside(&self, numbers: &[usize], tool: &str) -> Command {
        let pids: Vec<String> =
            numbers.iter().map(|number| self.members[number - 1].pid().to_string()).collect();
        let script = self.agents.path().join(format!("rank-{}", pids.join("-")));
        let text = format!(
            "#!/bin/sh\nset -- {} -- \"$@\"\nrank=$PMI_RANK\n\
             while [ $rank -gt 0 ]; do rank=$((rank - 1)); shift; done\npid=$1\n\
             while [ \"$1\" != -- ]; do shift; done\nshift\n\
             exec nsenter --target $pid --mount --uts \"$@\"\n",
            pids.join(" ")
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let launcher = mpiexec();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).args(["-n", &numbers.len().to_string()]);
        command.arg(script).arg(program(tool));
        command
    }

    fn agent(&self) -> PathBuf {
        self.agents.path().join("agent")
    }

    /// Sets the launcher's network. MPICH uses UCX or libfabric; both recognise that it is one
    /// machine, and that two nodes have the same loopback address, so they are told to use the
    /// cable.
    fn tell_hydra(&self, command: &mut Command, numbers: &[usize], ranks_each: usize) {
        let hosts: Vec<String> = numbers.iter().map(|number| address(*number)).collect();
        command.args(["-launcher", "ssh", "-launcher-exec"]).arg(self.agent());
        command.args(["-localhost", &address(0), "-hosts", &hosts.join(",")]);
        command.args(["-ppn", &ranks_each.to_string()]);
        if numbers.len() > 1 {
            command.envs([("UCX_TLS", "tcp,self"), ("UCX_NET_DEVICES", "eth0")]);
            command.envs([("FI_PROVIDER", "tcp"), ("FI_TCP_IFACE", "eth0")]);
        } else {
            // Methods that look for other processes in /proc are left out: those have other numbers
            // there.
            command.env("UCX_TLS", "sysv,self");
        }
    }

    /// Kills all processes of a node.
    pub fn lose(&mut self, number: usize, cable: Cable) {
        let node = &mut self.members[number - 1];
        if cable == Cable::Pulled {
            node.ip("link set eth0 down");
        }
        node.end();
        fs::remove_file(self.agents.path().join(address(number))).unwrap();
    }
}

/// Returns the address of the switch (0) or of a node.
fn address(number: usize) -> String {
    if number == 0 { "10.0.0.254".to_owned() } else { format!("10.0.0.{number}") }
}

/// Namespaces with at least one process.
#[derive(Debug)]
struct Namespaces {
    first: Child,
    pid: Pid,
}

impl Namespaces {
    /// Starts them, with mounts of their own where `machine` is given, the file with the machine
    /// ID.
    fn start(name: &str, machine: Option<&Path>) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--uts", "--pid", "--fork", "--kill-child"]);
        unshare.args(machine.map(|_| "--mount"));
        // The program complains of its child's end.
        unshare.args(["sh", "-c", FIRST_PROCESS, name]).args(machine).stderr(Stdio::null());
        let mut first = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(first.stdout.take().unwrap()).read_line(&mut told).unwrap();
        let pid = told.trim().parse().ok().and_then(Pid::from_raw);
        Self { first, pid: pid.unwrap_or_else(|| panic!("{name} does not start")) }
    }

    fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns the prefix for a command that is to run in this network, with this host name.
    fn enter(&self) -> [String; 5] {
        let target = self.pid().to_string();
        ["nsenter", "--target", &target, "--net", "--uts"].map(ToOwned::to_owned)
    }

    fn ip(&self, words: &str) {
        let enter = self.enter();
        let mut ip = Command::new(&enter[0]);
        run(ip.args(&enter[1..]).arg("ip").args(words.split(' '))).expect(0);
    }

    /// Kills all processes, by killing the first one (pid_namespaces(7)), and returns when they are
    /// gone.
    fn end(&mut self) {
        if let Ok(None) = self.first.try_wait() {
            // The first process was not waited for, so the number is still its own.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.first.wait();
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end();
    }
}
