//! Tests of hosts with several connections: what one agent holds is not requested from another one.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use remote::agent::{AgentOptions, serve};
use remote::connection::{Link, Pending};
use remote::host::{Host, HostSettings};
use remote::protocol::{Machine, Request};
use remote::store::RemoteStore;
use store::opening::{OpenAs, Symlinks};
use store::{Dir, Store};
use types::error::Cause;
use types::limits::{REMOTE_AGENT_QUEUE, REMOTE_PAGE_ENTRIES};
use types::path::RelPath;
use types::service::ServiceFault;

/// Holds back answers while it is closed.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn set_closed(&self, is_closed: bool) {
        *self.0.lock().unwrap() = is_closed;
        self.1.notify_all();
    }

    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |is_closed| *is_closed).unwrap());
    }
}

struct Gated<R>(R, Arc<Gate>);

impl<R: Read> Read for Gated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.pass();
        Ok(count)
    }
}

/// A host whose agents are threads of this process; answers of the first one can be held back.
struct Gateway {
    host: Arc<Host>,
    gate: Arc<Gate>,
    dialled: Arc<AtomicUsize>,
}

impl Gateway {
    fn new() -> Self {
        Self::with_roots(&[Path::new("/").to_owned()])
    }

    /// Returns a host with a door for each of these directories, which its agent takes for `/`.
    fn with_roots(roots: &[PathBuf]) -> Self {
        Self::with_machines(roots, &[])
    }

    /// Returns a host whose agents are on these machines, in the order of the connections; all
    /// further ones are on the last.
    fn with_machines(roots: &[PathBuf], machines: &[(&str, &str)]) -> Self {
        let machine = |(name, boot): &(&str, &str)| Machine {
            name: name.as_bytes().to_vec(),
            boot: boot.as_bytes().to_vec(),
        };
        let machines = machines.iter().map(machine).collect::<Vec<_>>();
        let doors = roots.iter().map(|root| root.display().to_string()).collect();
        let (gate, dialled) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let (of_first, count) = (Arc::clone(&gate), Arc::clone(&dialled));
        let dial = move |root: &str| {
            let root = Some(root.as_bytes().to_vec()).filter(|root| root != b"/");
            let number = count.fetch_add(1, Ordering::SeqCst);
            let machine = machines.get(number).or(machines.last()).cloned();
            let options = AgentOptions { root, read_only: false, machine };
            let (agents_input, to) = std::io::pipe().unwrap();
            let (from, agents_output) = std::io::pipe().unwrap();
            std::thread::spawn(move || serve(agents_input, agents_output, &options));
            let gate = if number == 0 { Arc::clone(&of_first) } else { Arc::default() };
            Ok(Link { from: Box::new(Gated(from, gate)), to: Box::new(to), child: None })
        };
        // Longer than an answer takes on a busy machine.
        let silence_max = Duration::from_secs(5);
        let settings = HostSettings { silence_max, ..HostSettings::of(doors) };
        let host = Arc::new(Host::dialled(settings, Box::new(dial)));
        Self { host, gate, dialled }
    }

    fn open(&self, path: &Path) -> RemoteStore {
        RemoteStore::open(&self.host, path.as_os_str().as_encoded_bytes(), OpenAs::default())
            .unwrap()
    }

    /// Keeps the first connection busy until the gate is opened.
    fn keep_busy(&self, path: &Path) -> Vec<Pending> {
        self.gate.set_closed(true);
        let path = path.as_os_str().as_encoded_bytes().to_vec();
        let request = Request::StatPath { path, symlinks: Symlinks::Keep };
        let busy = (0..REMOTE_AGENT_QUEUE).map(|_| self.host.begin(&request, &[]));
        busy.map(Option::unwrap).collect()
    }

    fn is_free_again(&self, busy: Vec<Pending>) {
        self.gate.set_closed(false);
        for pending in busy {
            pending.wait().unwrap().0.unwrap();
        }
    }
}

/// Creates a directory of several pages. Returns its names.
fn long_dir(at: &Path, prefix: &str) -> BTreeSet<CString> {
    std::fs::create_dir(at).unwrap();
    let names = (0..3 * REMOTE_PAGE_ENTRIES - 1).map(|number| format!("{prefix}{number}"));
    let made = names.inspect(|name| drop(std::fs::File::create(at.join(name)).unwrap()));
    made.map(|name| CString::new(name).unwrap()).collect()
}

/// Lists a directory, and does something after its first entry.
fn listed(dir: &dyn Dir, after_first: impl FnOnce()) -> BTreeSet<CString> {
    let (mut names, mut after_first) = (BTreeSet::new(), Some(after_first));
    let each = &mut |name: &types::path::Name, _| {
        names.insert(name.to_owned());
        if let Some(after_first) = after_first.take() {
            after_first();
        }
    };
    dir.list(each).unwrap();
    names
}

#[test]
fn listings_in_progress_on_two_connections_do_not_mix() {
    let tree = tempfile::tempdir().unwrap();
    let (of_x, of_y) =
        (long_dir(&tree.path().join("x"), "x"), long_dir(&tree.path().join("y"), "y"));
    let gateway = Gateway::new();
    let store = gateway.open(tree.path());
    let open = |name: &std::ffi::CStr| store.open_dir(&RelPath::root().child(name)).unwrap();
    // The first pages come from different agents; then both are idle.
    let x = open(c"x");
    let mut found_y = BTreeSet::new();
    let found_x = listed(&*x, || {
        let busy = gateway.keep_busy(tree.path());
        let y = open(c"y");
        found_y = listed(&*y, || gateway.is_free_again(busy));
    });
    assert_eq!(gateway.dialled.load(Ordering::SeqCst), 2);
    assert!(found_x == of_x, "{} of {}", found_x.len(), of_x.len());
    assert!(found_y == of_y, "{} of {}", found_y.len(), of_y.len());
}

/// A mounted file system, until the end of a test.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Self {
        run("mount", &["-t", "tmpfs", "none"], at);
        Self(at.to_owned())
    }

    fn bound(from: &Path, at: &Path) -> Self {
        run("mount", &["--bind", from.to_str().unwrap()], at);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], at: &Path) {
    let status = std::process::Command::new(program).args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "{program} {arguments:?} {}", at.display());
}

#[test]
fn a_mount_below_that_is_gone_is_an_error_also_on_a_new_connection() {
    suite_tests::need_root!();
    let tree = tempfile::tempdir().unwrap();
    let sub = tree.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let mounted = Mounted::tmpfs(&sub);
    let gateway = Gateway::new();
    let store = gateway.open(tree.path());
    store.watch(None);
    store.check_mounts(&|_| true).unwrap();
    drop(mounted);
    gateway.host.break_connections();
    assert_eq!(store.check_mounts(&|_| true).unwrap_err().cause, Cause::MountsChanged);
    store.check_mounts(&|point| point != b"sub").unwrap();
}

#[test]
fn doors_with_different_mounts_below_are_not_used_together() {
    suite_tests::need_root!();
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    for name in ["tree", "tree/sub", "one", "two"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::write(path("tree/sub/kept"), "").unwrap();
    let _one = Mounted::bound(&path("tree"), &path("one"));
    let _two = Mounted::bound(&path("tree"), &path("two"));
    let _below = Mounted::tmpfs(&path("two/sub"));
    let gateway = Gateway::with_roots(&[path("one"), path("two")]);
    let store = gateway.open(Path::new("/"));
    let seen = || {
        let sub = store.open_dir(&RelPath::root().child(c"sub")).unwrap();
        let mut names = Vec::new();
        sub.list(&mut |name, _| names.push(name.to_owned())).unwrap();
        names
    };
    let first = seen();
    let busy = gateway.keep_busy(Path::new("/"));
    let second = seen();
    gateway.is_free_again(busy);
    assert!(gateway.dialled.load(Ordering::SeqCst) > 1);
    assert_eq!(first, second);
}

/// Returns the words of the service's fault in an error.
fn words<T>(result: types::error::Result<T>) -> String {
    let error = result.err().expect("is refused");
    assert_eq!(error.cause, Cause::Service(ServiceFault::HostGone), "{error}");
    error.details.and_then(|details| details.message).expect("says why")
}

#[test]
fn a_host_that_restarts_after_something_was_written_ends_the_job() {
    let tree = tempfile::tempdir().unwrap();
    let root = [Path::new("/").to_owned()];
    let gateway = Gateway::with_machines(&root, &[("h", "1"), ("h", "2"), ("h", "3")]);
    let store = gateway.open(tree.path());
    let open = || store.open_dir(&RelPath::root());
    gateway.host.break_connections();
    // Nothing was written so far.
    open().unwrap().make_dir(c"made", 0o755).unwrap();
    gateway.host.break_connections();
    let first = words(open());
    assert!(first.contains("h has restarted"), "{first}");
    // It has restarted for every later operation, too.
    assert_eq!(words(open()), first);
    assert_eq!(words(store.sync()), first);
}

/// Checks that the connections that still hold do not hide a restart, least of all from a sync.
#[test]
fn a_restart_that_a_further_connection_shows_ends_the_job_too() {
    let tree = tempfile::tempdir().unwrap();
    let root = [Path::new("/").to_owned()];
    let gateway = Gateway::with_machines(&root, &[("h", "1"), ("h", "2")]);
    let store = gateway.open(tree.path());
    store.open_dir(&RelPath::root()).unwrap().make_dir(c"made", 0o755).unwrap();
    let busy = gateway.keep_busy(tree.path());
    let why = words(store.open_dir(&RelPath::root()));
    gateway.is_free_again(busy);
    assert!(why.contains("h has restarted"), "{why}");
    assert_eq!(words(store.sync()), why);
}

#[test]
fn one_name_of_several_machines_is_used_for_the_first_alone() {
    let tree = tempfile::tempdir().unwrap();
    let root = [Path::new("/").to_owned()];
    let gateway = Gateway::with_machines(&root, &[("login1", "1"), ("login2", "2")]);
    let store = gateway.open(tree.path());
    let busy = gateway.keep_busy(tree.path());
    gateway.is_free_again(busy);
    store.open_dir(&RelPath::root()).unwrap();
    gateway.host.break_connections();
    let why = words(store.open_dir(&RelPath::root()));
    assert!(why.contains("USER@login1,USER@login2:PATH"), "{why}");
}

#[test]
fn another_file_system_is_refused_where_several_hosts_number_devices() {
    let (memory, disk) = (Path::new("/dev/shm"), Path::new("/proc"));
    let roots = [Path::new("/").to_owned(), Path::new("/").to_owned()];
    let several = Gateway::with_roots(&roots);
    let first = several.open(memory);
    let path = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let why = words(RemoteStore::open(&several.host, &path(disk), OpenAs::default()));
    assert!(why.contains("use a command for each"), "{why}");
    several.open(memory);
    drop(first);
    let one = Gateway::new();
    let stores = [one.open(memory), one.open(disk)];
    let devices = stores.each_ref().map(|store| store.device().unwrap());
    assert!(devices[0] != devices[1]);
}

/// Checks that an agent that reads requests and answers none is not waited for for ever.
#[test]
fn an_agent_that_answers_nothing_is_given_up() {
    let tree = tempfile::tempdir().unwrap();
    let gateway = Gateway::new();
    let store = gateway.open(tree.path());
    gateway.gate.set_closed(true);
    let why = words(store.open_dir(&RelPath::root()));
    assert!(why.contains("the agent answers nothing"), "{why}");
    gateway.gate.set_closed(false);
}
