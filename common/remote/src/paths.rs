//! Questions about paths of a host as the operator wrote them. A job asks several about each path
//! before it begins, one after the other: those that are likely to follow travel with the first.

use ::store::opening::Symlinks;
use types::entry::{Kind, Metadata};
use types::error::{Cause, Op, Result};
use types::operand::lineage::Lineage;
use types::operand::placement::Given;

use crate::bundle::{Item, ask_each};
use crate::host::{Host, malformed};
use crate::protocol::{Answer, Request};

/// Asks about a path.
fn ask(host: &Host, request: &Request) -> Result<Answer> {
    if let Some(known) = host.answers.of(request) {
        return known;
    }
    let requests: Vec<Request> =
        std::iter::once(request.clone()).chain(following(request)).collect();
    let mut answers = ask_each(host, requests.iter().cloned().map(|it| Item::plain(Op::Stat, it)));
    host.answers.add(requests, &answers);
    answers.swap_remove(0)
}

/// Returns the questions that are likely to follow one.
fn following(request: &Request) -> Vec<Request> {
    let Request::StatPath { path, symlinks } = request else { return Vec::new() };
    let parent = Given::local(path).parent();
    let stat = |path: &[u8], symlinks| Request::StatPath { path: path.to_vec(), symlinks };
    let lineage = |path: &[u8]| Request::Lineage { path: path.to_vec() };
    let other = match symlinks {
        Symlinks::Follow => Symlinks::Keep,
        Symlinks::Keep => Symlinks::Follow,
    };
    let of_path = [stat(path, other), Request::RealPath { path: path.clone() }, lineage(path)];
    let of_parent = [stat(&parent, Symlinks::Follow), lineage(&parent)];
    of_path.into_iter().chain(of_parent).collect()
}

/// Returns the metadata of what is at a path of a host.
///
/// # Errors
/// Those of stat(2) there, and of the connection.
pub fn stat(host: &Host, path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
    match ask(host, &Request::StatPath { path: path.to_vec(), symlinks })? {
        Answer::Metadata(metadata) => Ok(host.shown(metadata)),
        _ => Err(malformed(Op::Stat)),
    }
}

/// Creates the directory at a path of a host.
///
/// # Errors
/// Those of mkdir(2) there, and of the connection.
pub fn make_dir(host: &Host, path: &[u8], mode: u32) -> Result<()> {
    host.answers.forget();
    let request = Request::MakePath { path: path.to_vec(), mode };
    match host.ask_counted(Op::MakeDir, &request)? {
        ((Err(error), _), true) if error.cause == Cause::System(libc::EEXIST) => {
            let is_made = stat(host, path, Symlinks::Keep)?.kind == Kind::Directory;
            if is_made { Ok(()) } else { Err(error) }
        }
        ((other, _), _) => other.map(drop),
    }
}

/// Removes the directory at a path of a host, if it is empty.
///
/// # Errors
/// Those of rmdir(2) there, and of the connection.
pub fn remove_dir(host: &Host, path: &[u8]) -> Result<()> {
    host.answers.forget();
    let request = Request::RemovePath { path: path.to_vec() };
    host.ask(Op::Remove, &|_| request.clone(), &[])?.0.map(drop)
}

/// Returns whether the directory at a path of a host is `above`, or below it. A directory of
/// another host is neither.
pub fn is_below(host: &Host, path: &[u8], above: &Metadata) -> bool {
    let is_there = || {
        let above = host.shown(*above);
        let answer = ask(host, &Request::IsBelow { path: path.to_vec(), above });
        matches!(answer, Ok(Answer::Is(true)))
    };
    host.has_shown(above) && is_there()
}

/// Returns the directory at a path of a host, with those above it; `None` where there is no such
/// directory.
pub fn lineage(host: &Host, path: &[u8]) -> Option<Lineage> {
    match ask(host, &Request::Lineage { path: path.to_vec() }) {
        Ok(Answer::Lineage(lineage)) => lineage,
        _ => None,
    }
}

/// Returns the path of a directory of a host, without symbolic links.
pub fn real_path(host: &Host, path: &[u8]) -> Option<Vec<u8>> {
    match ask(host, &Request::RealPath { path: path.to_vec() }) {
        Ok(Answer::Path(path)) => path,
        _ => None,
    }
}
