//! The store of a tree on another host.

mod ahead;
mod dir;
mod file;
mod made;
mod staged;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::store::opening::OpenAs;
use ::store::{Capabilities, Dir, Made, Store};
use types::entry::{Attributes, Metadata, Preserved};
use types::error::{Cause, Op, Result};
use types::limits::SERVER_CLOCK_BEHIND_MAX;
use types::operand::root_view::RootView;
use types::path::{Name, RelPath};

use crate::bundle::{Item, Outbox, ask_each};
use crate::host::{Host, malformed};
use crate::protocol::{Answer, At, Mounts, Request, RootIs, StatAs};
use dir::RemoteDir;
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

/// Returns a name for another attempt: an earlier one may have been done, or be in progress.
pub fn renamed(staged: &Name, attempt: u32) -> Vec<u8> {
    let mut name = staged.to_bytes().to_vec();
    if attempt > 0 {
        // Digits: the name is still one of a staged file of this job.
        name.extend(format!("{:010}", fastrand::u32(..)).into_bytes());
    }
    name
}

/// A tree on another host.
pub struct RemoteStore {
    root: Arc<Root>,
    /// State of the root when it was opened.
    opened: RootIs,
    watched: OnceLock<Watched>,
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
    /// True once extended attributes of files were requested ahead, which then come with listings.
    xattrs_are_used: AtomicBool,
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

    /// Makes further listings return the extended attributes of files, too.
    fn list_xattrs(&self) {
        self.xattrs_are_used.store(true, Ordering::Relaxed);
    }

    /// Returns whether listings are to return extended attributes.
    fn lists_xattrs(&self) -> bool {
        self.xattrs_are_used.load(Ordering::Relaxed)
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

impl RemoteStore {
    /// Opens the directory at a path of a host.
    ///
    /// # Errors
    /// Those of opening it there, and of the connection.
    pub fn open(host: &Arc<Host>, path: &[u8], open_as: OpenAs) -> Result<Self> {
        use types::content::transfer::{Durable, Rewriting};
        let (number, opened) = host.open_root(path, open_as)?;
        let root = Root {
            host: Arc::clone(host),
            number,
            is_durable: open_as.transfer.durable != Durable::Later,
            is_in_place: open_as.transfer.rewriting == Rewriting::InPlace,
            outbox: Outbox::default(),
            made: JustMade::default(),
            xattrs_are_used: AtomicBool::new(false),
        };
        Ok(Self { root: Arc::new(root), opened, watched: OnceLock::new() })
    }

    fn looking(&self, path: &RelPath) -> Request {
        Request::Stat { dir: self.root.at(path), name: None, how: StatAs::Now }
    }

    fn mounts(&self, entry: Option<Vec<u8>>) -> Result<Mounts> {
        let request = Request::Mounts { root: self.root.number, entry };
        let answer = self.root.ask(Op::List, &request)?;
        answered!(Op::List, answer, Answer::Mounts(mounts) => self.comparable(mounts))
    }

    /// Returns mounts without their devices where each of several hosts has numbers of its own.
    fn comparable(&self, mounts: Mounts) -> Mounts {
        let is_one = !self.root.host.has_several_doors();
        let below = mounts.below.into_iter();
        let below = below.map(|(point, device)| (point, if is_one { device } else { 0 })).collect();
        Mounts { below, ..mounts }
    }

    /// Returns the metadata of the root when it was opened.
    pub fn root_metadata(&self) -> &Metadata {
        &self.opened.metadata
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
        Ok(self.opened.metadata.device)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { clock_behind: SERVER_CLOCK_BEHIND_MAX, ..Capabilities::default() }
    }

    fn is_case_insensitive(&self) -> bool {
        self.opened.is_case_insensitive
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
        ask_each(&self.root.host, looks).into_iter().map(|answer| seen(answer?)).collect()
    }

    fn set_each(&self, directories: &[(RelPath, Attributes)]) -> Vec<Result<Preserved>> {
        let set = |(path, attributes): &(RelPath, Attributes)| {
            let (dir, attributes) = (self.root.at(path), attributes.clone());
            Item::plain(Op::SetMode, Request::SetAttributes { dir, entry: None, attributes })
        };
        let kept = |answer| answered!(Op::SetMode, answer, Answer::Preserved(kept) => kept);
        let answers = ask_each(&self.root.host, directories.iter().map(set));
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
            let mounts = match &entry {
                Some(_) => self.mounts(entry.clone()),
                None => Ok(self.comparable(self.opened.mounts.clone())),
            };
            Watched { entry, mounts }
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
