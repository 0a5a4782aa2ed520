//! The agent: serves file systems of this host to one client, through its standard input and
//! output.

mod files;
mod lists;
mod paths;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use ::store::opening::{OpenAs, Symlinks};
use ::store::{Dir, Store};
use host::process::set_umask;
use host::user::User;
use posix::PosixStore;
use types::content::transfer::Durable;
use types::entry::{Kind, Metadata, Xattrs};
use types::error::{Error, Op, Result};
use types::limits::{
    REMOTE_AGENT_QUEUE, REMOTE_AGENT_THREADS, REMOTE_BUNDLE_BYTES_MAX, REMOTE_HEAD_BYTES_MAX,
    REMOTE_WHOLE_BYTES_MAX,
};
use types::path::{Name, join};

use crate::frame::{self, Frame, Greeting, VERSION};
use crate::packing::Packer;
use crate::protocol::{
    Answer, At, Entered, Machine, Mounts, NewEntry, Part, Reply, Request, RootIs, StagedAs, StatAs,
    checked_name,
};
use lists::{Lists, Shown};
use paths::Paths;

/// Options of an agent, which limit what its client may do.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// Directory below which all paths are; `None` for the whole file system.
    pub root: Option<Vec<u8>>,
    /// True if nothing may be changed.
    pub read_only: bool,
    /// Machine of which the agent speaks for its own; `None` for that of this process.
    pub machine: Option<Machine>,
}

/// State of an agent.
struct Agent {
    paths: Paths,
    read_only: bool,
    machine: Machine,
    roots: Mutex<BTreeMap<u32, Arc<OpenRoot>>>,
    lists: Lists,
    packer: Packer,
    relative_devices: AtomicBool,
    /// True once the client is gone.
    is_left: AtomicBool,
}

/// A root that the client has opened.
struct OpenRoot {
    store: PosixStore,
    /// Store of that root for pieces of files, which are not synced one by one unless several hosts
    /// write them.
    pieces: PosixStore,
    device: u64,
    /// Path as the client gave it.
    path: Vec<u8>,
}

/// An encoded answer, and its data.
type Sent = (Vec<u8>, Vec<u8>);

/// Destination of frames; whole ones, one after the other.
type Output = Mutex<Box<dyn Write + Send>>;

/// Serves one client until it closes the connection.
///
/// # Errors
/// Those of the connection, and one for a client that speaks another version.
pub fn serve(
    mut from: impl Read,
    to: impl Write + Send + 'static,
    options: &AgentOptions,
) -> io::Result<()> {
    let mut to: Box<dyn Write + Send> = Box::new(to);
    Greeting::own().send(&mut to)?;
    let client = Greeting::receive(&mut from)?;
    if client.protocol != VERSION {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the client has version {} of the protocol", client.software),
        ));
    }
    let agent = Arc::new(Agent::new(options)?);
    let output = Arc::new(Mutex::new(to));
    let (queue, waiting) = bounded(REMOTE_AGENT_QUEUE);
    let mut threads = Vec::new();
    let read = agent.read_requests(&mut from, &output, &queue, &mut || {
        if threads.len() < REMOTE_AGENT_THREADS {
            threads.push(start(&agent, &output, &waiting));
        }
    });
    agent.is_left.store(true, Ordering::SeqCst);
    drop(queue);
    for thread in threads {
        drop(thread.join());
    }
    read
}

/// Starts a thread that answers requests as long as there are some.
fn start(
    agent: &Arc<Agent>,
    output: &Arc<Output>,
    waiting: &Receiver<Frame<Request>>,
) -> std::thread::JoinHandle<()> {
    let (agent, output, waiting) = (Arc::clone(agent), Arc::clone(output), waiting.clone());
    std::thread::spawn(move || {
        for frame in waiting {
            // A client that is gone may have sent the request to another agent, and gone on there.
            if agent.is_left.load(Ordering::SeqCst) {
                continue;
            }
            if let Err(error) = agent.answer(frame, &output) {
                tracing::debug!(%error, "an answer was not sent");
                agent.is_left.store(true, Ordering::SeqCst);
            }
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    fn new(options: &AgentOptions) -> io::Result<Self> {
        Ok(Self {
            paths: Paths::new(options.root.as_deref())?,
            read_only: options.read_only,
            machine: options.machine.clone().unwrap_or_else(Machine::own),
            roots: Mutex::default(),
            lists: Lists::default(),
            packer: Packer::default(),
            relative_devices: false.into(),
            is_left: false.into(),
        })
    }

    /// Reads requests until the client closes the connection. Calls `grow` where requests wait for
    /// a thread.
    fn read_requests(
        &self,
        from: &mut impl Read,
        output: &Output,
        queue: &Sender<Frame<Request>>,
        grow: &mut dyn FnMut(),
    ) -> io::Result<()> {
        while let Some(frame) = frame::receive::<Request>(&mut *from)? {
            // What later requests rely on is done in order, and needs no thread that storage may
            // hold.
            let is_at_once = matches!(
                frame.message,
                Request::Begin { .. } | Request::Root { .. } | Request::Ping
            );
            if is_at_once {
                self.answer(frame, output)?;
                continue;
            }
            queue.send(frame).map_err(|_| io::ErrorKind::BrokenPipe)?;
            if !queue.is_empty() {
                grow();
            }
        }
        Ok(())
    }

    fn answer(&self, frame: Frame<Request>, output: &Output) -> io::Result<()> {
        let mut data = Vec::new();
        let reply = self.reply(frame.message, &frame.data, &mut data);
        let head = frame::encode(&reply).or_else(|_| {
            data.clear();
            let too_long: Reply = Err(Op::GetXattrs.errno(libc::E2BIG));
            frame::encode(&too_long)
        })?;
        let sealed = frame::seal(frame.id, &head, &data, &self.packer)?;
        sealed.send(&mut *lock(output))
    }

    /// Does what a request asks for; content that goes with the answer is put into `out`.
    fn reply(&self, request: Request, data: &[u8], out: &mut Vec<u8>) -> Reply {
        let is_each = matches!(request, Request::Each { .. });
        if self.read_only && request.is_write() && !is_each {
            return Err(Op::Write.errno(libc::EROFS));
        }
        match request {
            Request::Begin { umask, relative_devices, compress } => {
                set_umask(umask & 0o777);
                self.packer.set(compress);
                self.relative_devices.store(relative_devices, Ordering::SeqCst);
                Ok(Answer::Begun { machine: self.machine.clone(), user: User::own() })
            }
            Request::Ping => Ok(Answer::Done),
            Request::Root { root, path, open_as } => {
                self.open_root(root, path, open_as).map(Answer::Root)
            }
            Request::StatPath { path, symlinks } => {
                let metadata = self.paths.stat(&path, symlinks)?;
                Ok(Answer::Metadata(self.shown(metadata, metadata.device)))
            }
            Request::MakePath { path, mode } => {
                self.paths.make_dir(&path, mode).map(|()| Answer::Done)
            }
            Request::RemovePath { path } => self.paths.remove_dir(&path).map(|()| Answer::Done),
            Request::RealPath { path } => Ok(Answer::Path(self.paths.real_path(&path))),
            Request::IsBelow { path, above } => {
                let here = self.paths.stat(&path, Symlinks::Follow)?.device;
                let above = Metadata { device: self.own(above.device, here), ..above };
                Ok(Answer::Is(self.paths.is_below(&path, &above)))
            }
            Request::Lineage { path } => Ok(Answer::Lineage(self.paths.lineage(&path))),
            Request::Sync { root } => self.root(root)?.store.sync().map(|()| Answer::Done),
            Request::View { root, entry } => {
                let entry = entry.map(checked_name).transpose()?;
                let view = self.root(root)?.store.view(entry.as_deref(), &|_| true)?;
                Ok(Answer::View(view))
            }
            Request::Mounts { root, entry } => {
                let (root, entry) = (self.root(root)?, entry.map(checked_name).transpose()?);
                Ok(Answer::Mounts(mounts(&root.store, entry.as_deref())))
            }
            Request::Each { parts, .. } => self.reply_each(&parts, data, out).map(Answer::Each),
            other => self.reply_in_dir(other, data, out),
        }
    }

    /// Does each of several requests. One whose answer may not fit is left for a message of its
    /// own.
    fn reply_each(&self, parts: &[Part], data: &[u8], out: &mut Vec<u8>) -> Result<Vec<Part>> {
        let malformed = || Op::Open.errno(libc::EBADMSG);
        let (mut rest, mut heads_bytes, mut replies) = (data, 0, Vec::with_capacity(parts.len()));
        for Part { head, data_bytes } in parts {
            if self.is_left.load(Ordering::SeqCst) {
                return Err(Op::Write.errno(libc::ENOTCONN));
            }
            let request = frame::decode::<Request>(head).map_err(|_| malformed())?;
            let (piece, behind) =
                rest.split_at_checked(*data_bytes as usize).ok_or_else(malformed)?;
            rest = behind;
            let room_bytes = REMOTE_BUNDLE_BYTES_MAX.saturating_sub(heads_bytes.max(out.len()));
            let (head, mut more) = self.reply_one(request, piece, room_bytes)?;
            heads_bytes += head.len();
            replies.push(Part { head, data_bytes: more.len() as u32 });
            out.append(&mut more);
        }
        Ok(replies)
    }

    /// Does one of several requests, for whose answer there may be no room.
    fn reply_one(&self, request: Request, data: &[u8], room_bytes: usize) -> Result<Sent> {
        let later = || -> Result<Sent> {
            let later: Reply = Ok(Answer::Later);
            Ok((frame::encode(&later).map_err(|error| system(Op::Open, &error))?, Vec::new()))
        };
        let is_single =
            !matches!(request, Request::Each { .. } | Request::Begin { .. } | Request::Root { .. });
        if !is_single {
            return Err(Op::Open.errno(libc::EBADMSG));
        }
        if room_bytes == 0 {
            return later();
        }
        let is_write = request.is_write();
        let mut out = Vec::new();
        let reply = self.reply(request, data, &mut out);
        match frame::encode(&reply) {
            // The answer to a change is short; another request can be made twice.
            Ok(head) if is_write || head.len() <= REMOTE_HEAD_BYTES_MAX / 4 => Ok((head, out)),
            _ => later(),
        }
    }

    fn reply_in_dir(&self, request: Request, data: &[u8], out: &mut Vec<u8>) -> Reply {
        match request {
            Request::Stat { dir, name, how } => self.stat(&dir, name, how).map(Answer::Metadata),
            Request::Enter { dir, xattrs } => self.enter(&dir, xattrs).map(Answer::Entered),
            Request::List { dir, xattrs } => {
                let root = self.root(dir.root)?;
                let opened = self.dir(&dir)?;
                let shown = Shown { device_base: self.device_base(&root), xattrs };
                self.lists.begin(dir, &opened, shown).map(Answer::Page)
            }
            Request::More { dir, list } => self.lists.more(&dir, list).map(Answer::Page),
            Request::ReadLink { dir, name } => {
                self.dir(&dir)?.read_link(&checked_name(name)?).map(Answer::Bytes)
            }
            Request::Xattrs { dir, name } => {
                let name = name.map(checked_name).transpose()?;
                self.dir(&dir)?.xattrs(name.as_deref()).map(Answer::Xattrs)
            }
            Request::DefaultAclMode { dir } => self.dir(&dir)?.default_acl_mode().map(Answer::Mode),
            Request::DeviceNumber { dir, name } => {
                self.dir(&dir)?.device_number(&checked_name(name)?).map(Answer::Number)
            }
            Request::Mount { dir } => self.dir(&dir)?.mount().map(Answer::Number),
            Request::MakeDir { dir, name, mode } => {
                let name = checked_name(name)?;
                let is_new = self.dir(&dir)?.make_dir(&name, mode)? == ::store::Made::New;
                let path = dir.checked()?.child(&name).as_bytes().to_vec();
                // A failure shows again where the directory is entered.
                let entered = self.enter(&At { path, ..dir }, false).ok().filter(|_| is_new);
                Ok(Answer::Made { is_new, entered })
            }
            Request::Make { at, entry, attributes } => self.make(at, &entry, attributes),
            Request::SetAttributes { dir, entry, attributes } => {
                let opened = self.dir(&dir)?;
                let preserved = match entry {
                    None => opened.set_attributes(&attributes),
                    Some((name, kind)) => {
                        opened.set_entry_attributes(&checked_name(name)?, kind, &attributes)
                    }
                };
                preserved.map(Answer::Preserved)
            }
            Request::Remove { dir, name, kind } => {
                self.dir(&dir)?.remove(&checked_name(name)?, kind).map(|()| Answer::Done)
            }
            Request::HardLink { at, from, of } => self.hard_link(at, &from, of),
            Request::LinkFrom { dir, from, name } => {
                let (from, name) = (self.dir(&from)?, checked_name(name)?);
                self.dir(&dir)?.link_from(&*from, &name).map(Answer::Is)
            }
            other => self.reply_about_file(other, data, out),
        }
    }

    fn open_root(&self, number: u32, path: Vec<u8>, open_as: OpenAs) -> Result<RootIs> {
        let mut transfer = open_as.transfer;
        // A file is synced once, by its last writer, unless others write it through other hosts.
        if !self.relative_devices.load(Ordering::SeqCst) {
            transfer.durable = Durable::Later;
        }
        let store = self.paths.open(&path, open_as)?;
        let pieces = self.paths.open(&path, OpenAs { transfer, ..open_as })?;
        let metadata = store.root_metadata()?;
        let is = RootIs {
            metadata: self.shown(metadata, metadata.device),
            is_case_insensitive: store.is_case_insensitive(),
            mounts: mounts(&store, None),
        };
        let opened = OpenRoot { store, pieces, device: metadata.device, path };
        lock(&self.roots).insert(number, Arc::new(opened));
        Ok(is)
    }

    fn root(&self, number: u32) -> Result<Arc<OpenRoot>> {
        lock(&self.roots).get(&number).cloned().ok_or_else(|| Op::Open.errno(libc::EBADMSG))
    }

    fn dir(&self, at: &At) -> Result<Arc<dyn Dir>> {
        self.root(at.root)?.store.open_dir(&at.checked()?)
    }

    fn stat(&self, at: &At, name: Option<Vec<u8>>, how: StatAs) -> Result<Metadata> {
        let root = self.root(at.root)?;
        let metadata = match (name, how) {
            (None, StatAs::Now) => root.store.look(&at.checked()?),
            (None, _) => self.dir(at)?.metadata(),
            (Some(name), StatAs::Followed) => self.stat_followed(&root, at, &checked_name(name)?),
            (Some(name), _) => self.dir(at)?.stat(&checked_name(name)?),
        };
        metadata.map(|metadata| self.shown(metadata, root.device))
    }

    /// Returns what a symbolic link leads to; below a limited root it must lead nowhere else.
    fn stat_followed(&self, root: &OpenRoot, at: &At, name: &Name) -> Result<Metadata> {
        if !self.paths.is_limited() {
            return self.dir(at)?.stat_followed(name);
        }
        let path = at.checked()?.child(name);
        self.paths.stat(&join(&root.path, path.as_bytes()), Symlinks::Follow)
    }

    /// Returns a directory's metadata with its entries, if they are few. It is inspected before it
    /// is listed, so that a later change of it shows.
    fn enter(&self, at: &At, xattrs_of_files: bool) -> Result<Entered> {
        let root = self.root(at.root)?;
        let dir = self.dir(at)?;
        let metadata = self.shown(dir.metadata()?, root.device);
        let xattrs =
            Some(dir.xattrs(None)).filter(|xattrs| bytes_of(xattrs) <= REMOTE_WHOLE_BYTES_MAX);
        let shown = Shown { device_base: self.device_base(&root), xattrs: xattrs_of_files };
        let page = self.lists.whole(at, &dir, shown).ok().flatten();
        Ok(Entered { metadata, xattrs, page })
    }

    fn make(&self, at: StagedAs, entry: &NewEntry, attributes: types::entry::Attributes) -> Reply {
        // A device is a way out of the directory to which the client is limited.
        let is_device =
            matches!(entry, NewEntry::Special { kind: Kind::BlockDevice | Kind::CharDevice, .. });
        if is_device && self.paths.is_limited() {
            return Err(Op::MakeSpecial.errno(libc::EPERM));
        }
        let (staged, name) = (checked_name(at.staged)?, checked_name(at.name)?);
        let dir = self.dir(&at.dir)?;
        let (staged, name): (&Name, &Name) = (&staged, &name);
        let preserved = match entry {
            NewEntry::Symlink { points_to, mtime } => dir.make_symlink(&::store::NewSymlink {
                points_to,
                staged,
                name,
                mtime: *mtime,
                attributes,
            }),
            NewEntry::Special { kind, device } => dir.make_special(&::store::NewSpecial {
                kind: *kind,
                device: *device,
                staged,
                name,
                attributes,
            }),
        };
        preserved.map(Answer::Preserved)
    }

    fn hard_link(&self, at: StagedAs, from: &At, of: Vec<u8>) -> Reply {
        let (staged, name, of) =
            (checked_name(at.staged)?, checked_name(at.name)?, checked_name(of)?);
        let from = self.dir(from)?;
        let link = ::store::NewHardLink { dir: &*from, of: &of, staged: &staged, name: &name };
        self.dir(&at.dir)?.hard_link(&link).map(Answer::Is)
    }

    /// Returns the device number that counts as 0 for the client.
    fn device_base(&self, root: &OpenRoot) -> u64 {
        let is_relative = self.relative_devices.load(Ordering::SeqCst);
        if is_relative { root.device } else { 0 }
    }

    /// Returns metadata with the device number that the client is to see.
    fn shown(&self, metadata: Metadata, root_device: u64) -> Metadata {
        let is_relative = self.relative_devices.load(Ordering::SeqCst);
        let base = if is_relative { root_device } else { 0 };
        Metadata { device: metadata.device ^ base, ..metadata }
    }

    /// Returns the device number of this host for one that the client has seen.
    fn own(&self, device: u64, root_device: u64) -> u64 {
        let is_relative = self.relative_devices.load(Ordering::SeqCst);
        if is_relative { device ^ root_device } else { device }
    }
}

/// Returns the mounts below a root, or below an entry of it.
fn mounts(store: &PosixStore, entry: Option<&Name>) -> Mounts {
    Mounts { below: store.mounts_below(entry), is_reached: store.is_reached() }
}

/// Returns the size of extended attributes in bytes.
fn bytes_of(xattrs: &Result<Option<Xattrs>>) -> u64 {
    let all = xattrs.iter().flatten().flatten();
    all.map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

/// Error of an agent that was started by hand: it is for ssh to start, not for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("--agent speaks a protocol through ssh, and not with a terminal")]
pub struct OnTerminal;

/// Refuses a terminal as the connection.
///
/// # Errors
/// Fails for a terminal.
pub fn refuse_terminal(input: &impl io::IsTerminal) -> std::result::Result<(), OnTerminal> {
    if input.is_terminal() { Err(OnTerminal) } else { Ok(()) }
}

/// Converts an error of the operating system.
fn system(op: Op, error: &io::Error) -> Error {
    op.errno(error.raw_os_error().unwrap_or(libc::EIO))
}
