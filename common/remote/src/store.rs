//! The store of a tree on another host.

mod ahead;
mod dir;
mod file;
mod made;
mod staged;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::store::opening::{OpenAs, Symlinks};
use ::store::{Capabilities, Dir, Made, Store};
use types::entry::{Attributes, Kind, Metadata, Preserved};
use types::error::{Cause, Op, Result};
use types::limits::SERVER_CLOCK_BEHIND_MAX;
use types::operand::lineage::Lineage;
use types::operand::root_view::RootView;
use types::path::{Name, RelPath};

use crate::bundle::{Item, Outbox};
use crate::host::{Host, Line, malformed};
use crate::protocol::{Answer, At, Mounts, Reply, Request, StatAs};
use dir::RemoteDir;
pub use dir::renamed;
use made::JustMade;

/// Takes the expected answer out of a reply; any other one is an error.
macro_rules! answered {
    ($op:expr, $reply:expr, $answer:pat $(if $guard:expr)? => $value:expr) => {
        match $reply {
            $answer $(if $guard)? => Ok($value),
            _ => Err($crate::host::malformed($op)),
        }
    };
}
use answered;

/// A tree on another host.
pub struct RemoteStore {
    root: Arc<Root>,
    metadata: Metadata,
    watched: OnceLock<Watched>,
    folds_case: OnceLock<bool>,
}

/// Mounts below the root as they were, or the reason for which they are not known.
struct Watched {
    entry: Option<Vec<u8>>,
    mounts: Result<Mounts>,
}

/// The root of a tree on another host.
struct Root {
    host: Arc<Host>,
    number: u32,
    /// True where writers sync what they have written.
    is_durable: bool,
    /// True where files are written in place.
    is_in_place: bool,
    /// Small files that are complete here and not sent yet.
    outbox: Outbox,
    /// Directories that threads have just created.
    made: JustMade,
}

impl Drop for Root {
    fn drop(&mut self) {
        self.host.close_root(self.number);
    }
}

impl Root {
    fn at(&self, path: &RelPath) -> At {
        At { root: self.number, path: path.as_bytes().to_vec() }
    }

    /// Sends a request that may be repeated as it is.
    fn ask(&self, op: Op, request: &Request) -> Result<Answer> {
        self.ask_each(op, &|_| request.clone())
    }

    /// Sends a request that differs from attempt to attempt.
    fn ask_each(&self, op: Op, request: &dyn Fn(u32) -> Request) -> Result<Answer> {
        self.host.ask(op, request, &[])?.0
    }
}

/// Sends a request, and tells whether it was sent again: then an earlier one may have been done.
fn ask_counted(host: &Host, op: Op, request: &Request) -> Result<((Reply, Line), bool)> {
    let is_repeated = std::cell::Cell::new(false);
    let request = |attempt| {
        is_repeated.set(attempt > 0);
        request.clone()
    };
    let ((reply, _), line) = host.ask_from(0, op, &request, &[])?;
    Ok(((reply, line), is_repeated.get()))
}

/// Sends requests together, and returns the answer to each.
fn ask_all(host: &Host, items: impl Iterator<Item = Item>) -> Vec<Result<Answer>> {
    let outbox = Outbox::default();
    let tickets: Vec<_> = items.map(|item| outbox.add(host, item)).collect();
    outbox.send(host);
    tickets.into_iter().map(|ticket| outbox.wait(host, ticket)?.0).collect()
}

/// Sends a request about a path as the operator wrote it.
fn ask_path(host: &Host, op: Op, request: &Request) -> Result<Answer> {
    host.ask(op, &|_| request.clone(), &[])?.0
}

/// Returns the metadata of what is at a path of a host.
///
/// # Errors
/// Those of stat(2) there, and of the connection.
pub fn stat_path(host: &Host, path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
    let answer = ask_path(host, Op::Stat, &Request::StatPath { path: path.to_vec(), symlinks })?;
    answered!(Op::Stat, answer, Answer::Metadata(metadata) => host.shown(metadata))
}

/// Creates the directory at a path of a host.
///
/// # Errors
/// Those of mkdir(2) there, and of the connection.
pub fn make_dir_path(host: &Host, path: &[u8], mode: u32) -> Result<()> {
    let request = Request::MakePath { path: path.to_vec(), mode };
    match ask_counted(host, Op::MakeDir, &request)? {
        ((Err(error), _), true) if error.cause == Cause::System(libc::EEXIST) => {
            let is_made = stat_path(host, path, Symlinks::Keep)?.kind == Kind::Directory;
            if is_made { Ok(()) } else { Err(error) }
        }
        ((other, _), _) => other.map(drop),
    }
}

/// Removes the directory at a path of a host, if it is empty.
///
/// # Errors
/// Those of rmdir(2) there, and of the connection.
pub fn remove_dir_path(host: &Host, path: &[u8]) -> Result<()> {
    ask_path(host, Op::Remove, &Request::RemovePath { path: path.to_vec() }).map(drop)
}

/// Returns whether the directory at a path of a host is `above`, or below it.
pub fn is_below(host: &Host, path: &[u8], above: &Metadata) -> bool {
    let above = host.shown(*above);
    let answer = ask_path(host, Op::Stat, &Request::IsBelow { path: path.to_vec(), above });
    matches!(answer, Ok(Answer::Is(true)))
}

/// Returns the directory at a path of a host, with those above it; `None` where there is no such
/// directory.
pub fn lineage(host: &Host, path: &[u8]) -> Option<Lineage> {
    match ask_path(host, Op::Stat, &Request::Lineage { path: path.to_vec() }) {
        Ok(Answer::Lineage(lineage)) => lineage,
        _ => None,
    }
}

/// Returns the path of a directory of a host, without symbolic links.
pub fn real_path(host: &Host, path: &[u8]) -> Option<Vec<u8>> {
    match ask_path(host, Op::Stat, &Request::RealPath { path: path.to_vec() }) {
        Ok(Answer::Path(path)) => path,
        _ => None,
    }
}

impl RemoteStore {
    /// Opens the directory at a path of a host.
    ///
    /// # Errors
    /// Those of opening it there, and of the connection.
    pub fn open(host: &Arc<Host>, path: &[u8], open_as: OpenAs) -> Result<Self> {
        use types::content::transfer::{Durable, Rewriting};
        let (number, metadata) = host.open_root(path, open_as)?;
        let root = Root {
            host: Arc::clone(host),
            number,
            is_durable: open_as.transfer.durable != Durable::Later,
            is_in_place: open_as.transfer.rewriting == Rewriting::InPlace,
            outbox: Outbox::default(),
            made: JustMade::default(),
        };
        Ok(Self {
            root: Arc::new(root),
            metadata,
            watched: OnceLock::new(),
            folds_case: OnceLock::new(),
        })
    }

    fn looking(&self, path: &RelPath) -> Request {
        Request::Stat { dir: self.root.at(path), name: None, how: StatAs::Now }
    }

    fn mounts(&self, entry: Option<Vec<u8>>) -> Result<Mounts> {
        let request = Request::Mounts { root: self.root.number, entry };
        let answer = self.root.ask(Op::List, &request)?;
        let mounts = answered!(Op::List, answer, Answer::Mounts(mounts) => mounts)?;
        // Each of several hosts has device numbers of its own.
        let is_one = !self.root.host.has_several_doors();
        let below = mounts.below.into_iter();
        let below = below.map(|(point, device)| (point, if is_one { device } else { 0 })).collect();
        Ok(Mounts { below, ..mounts })
    }

    /// Returns the metadata of the root when it was opened.
    pub fn root_metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Store for RemoteStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        RemoteDir::open_at(&self.root, path.clone()).map(|dir| Arc::new(dir) as Arc<dyn Dir>)
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> Result<Made> {
        RemoteDir::make_at(&self.root, path.clone(), mode)
    }

    fn device(&self) -> Result<u64> {
        Ok(self.metadata.device)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { clock_behind: SERVER_CLOCK_BEHIND_MAX, ..Capabilities::default() }
    }

    fn folds_case(&self) -> bool {
        let request = Request::FoldsCase { root: self.root.number };
        let asked = || matches!(self.root.ask(Op::Stat, &request), Ok(Answer::Is(true)));
        *self.folds_case.get_or_init(asked)
    }

    fn sync(&self) -> Result<()> {
        self.root.host.ask_all(Op::Sync, &Request::Sync { root: self.root.number })
    }

    /// Returns `None`: the clock of the other host is its own.
    fn clock_ahead(&self) -> Option<Duration> {
        None
    }

    fn look(&self, path: &RelPath) -> Result<Metadata> {
        let answer = self.root.ask(Op::Stat, &self.looking(path))?;
        answered!(Op::Stat, answer, Answer::Metadata(metadata) => self.root.host.shown(metadata))
    }

    fn look_each(&self, paths: &[RelPath]) -> Vec<Result<Metadata>> {
        let looks = paths.iter().map(|path| Item::plain(Op::Stat, self.looking(path)));
        let shown = |metadata| self.root.host.shown(metadata);
        let seen = |answer| answered!(Op::Stat, answer, Answer::Metadata(seen) => shown(seen));
        ask_all(&self.root.host, looks).into_iter().map(|answer| seen(answer?)).collect()
    }

    fn set_each(&self, directories: &[(RelPath, Attributes)]) -> Vec<Result<Preserved>> {
        let set = |(path, attributes): &(RelPath, Attributes)| {
            let (dir, attributes) = (self.root.at(path), attributes.clone());
            Item::plain(Op::SetMode, Request::SetAttributes { dir, entry: None, attributes })
        };
        let kept = |answer| answered!(Op::SetMode, answer, Answer::Preserved(kept) => kept);
        let answers = ask_all(&self.root.host, directories.iter().map(set));
        answers.into_iter().map(|answer| kept(answer?)).collect()
    }

    /// Returns what this rank's host sees, where there are several: they may not share the file
    /// system. One host shows one tree to all ranks.
    fn view(
        &self,
        entry: Option<&Name>,
        takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<RootView>> {
        if !self.root.host.has_several_doors() {
            return Ok(None);
        }
        let entry = entry.map(|name| name.to_bytes().to_vec());
        let request = Request::View { root: self.root.number, entry };
        match self.root.ask(Op::Stat, &request)? {
            Answer::View(view) => Ok(view.map(|mut view| {
                view.below.retain(|point, _| takes_part(point));
                view
            })),
            _ => Err(malformed(Op::Stat)),
        }
    }

    fn watch(&self, entry: Option<&Name>) {
        self.watched.get_or_init(|| {
            let entry = entry.map(|name| name.to_bytes().to_vec());
            Watched { mounts: self.mounts(entry.clone()), entry }
        });
    }

    /// Compares the mounts with those that this client remembers: an agent that was started anew
    /// does not know the former ones.
    fn check_mounts(&self, takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
        let Some(watched) = self.watched.get() else { return Ok(()) };
        let before = watched.mounts.as_ref().map_err(Clone::clone)?;
        let now = self.mounts(watched.entry.clone())?;
        let is_same = {
            let those = |mounts: &Mounts| -> Vec<(Vec<u8>, u64)> {
                mounts.below.iter().filter(|(point, _)| takes_part(point)).cloned().collect()
            };
            those(before) == those(&now) && (now.is_reached || !before.is_reached)
        };
        if is_same { Ok(()) } else { Err(Op::List.failed(Cause::MountsChanged)) }
    }
}
