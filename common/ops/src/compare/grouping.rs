//! Comparison of hard links: whether the two trees agree on which names are links to the same file.
//!
//! Each rank records the names of hard-linked files that it meets, with the file that each side has
//! by that name. After the walk they are sorted by the source's files over all ranks, and then by
//! the target's. Names that are links to one file on one side must be links to one file on the
//! other; those that link to another file than the first name of their group are different.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::CompareJob;
use super::options::CompareOptions;
use crate::sort::exchange;
use crate::sort::sort_buffer::SortBuffer;
use crate::walk::dir_ref::DirRef;
use comm::mailbox::Mailbox;
use types::entry::{Kind, Metadata};
use types::error::Side;
use types::exit::Exit;
use types::limits::FAILURE_LINES_PRINTED_MAX;
use types::listed::line::write_regrouped;
use types::outcome::tally::Compared;
use types::path::{self, Name};

/// The names of hard-linked files that a rank has met.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_source: Mutex<SortBuffer>,
    by_target: Mutex<SortBuffer>,
}

/// A name, and the file that it is a link to on the other side.
#[derive(Debug, Serialize, Deserialize)]
struct Member {
    path: Vec<u8>,
    other: Vec<u8>,
}

/// Names that are linked differently on the two sides, as far as this rank has found them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regrouped {
    /// The number of names that are linked to others in the source, and not in the target.
    pub parted: u64,
    /// The number of names that are linked to others in the target, and not in the source.
    pub joined: u64,
    /// The lines that report some of them.
    pub lines: Vec<u8>,
}

/// Returns a key that identifies a file on one side. Nodes assign different device numbers to a
/// network file system, so the number of the root's device is left out.
fn key_of(root_device: Option<u64>, metadata: &Metadata) -> Vec<u8> {
    let mut key = metadata.inode.to_be_bytes().to_vec();
    if root_device != Some(metadata.device) {
        key.extend(metadata.device.to_be_bytes());
    }
    key
}

impl CompareJob<'_> {
    /// Records an entry that both sides have, if it may have further hard links.
    pub(super) fn remember_group(
        &self,
        dir_ref: &DirRef,
        name: &Name,
        source: &Metadata,
        target: &Metadata,
        compared: &mut Compared,
    ) {
        let is_one_kind = source.kind == target.kind && source.kind != Kind::Directory;
        if !self.options.hard_links || !is_one_kind {
            return;
        }
        let links = [source.links, target.links];
        if links.contains(&Metadata::UNKNOWN_LINKS) {
            compared.hard_links_not_compared += 1;
            return;
        }
        if links == [1, 1] {
            return;
        }
        let [of_source, of_target] =
            [key_of(self.root_devices[0], source), key_of(self.root_devices[1], target)];
        let path = path::join(dir_ref.path().as_bytes(), name.to_bytes());
        let push = |sort_buffer: &Mutex<SortBuffer>, key: &[u8], other: &[u8]| {
            let member = Member { path: path.clone(), other: other.to_vec() };
            let value = postcard::to_stdvec(&member).expect("plain values always serialise");
            sort_buffer.lock().unwrap_or_else(PoisonError::into_inner).push(key, &value);
        };
        push(&self.groups.by_source, &of_source, &of_target);
        push(&self.groups.by_target, &of_target, &of_source);
    }

    /// Compares the groups of names. All ranks must call it after the walk; each gets its own
    /// findings.
    pub fn regrouped(&self, mail: &mut Mailbox<'_>) -> Regrouped {
        let mut found = Regrouped::default();
        for (side, sort_buffer) in
            [(Side::Source, &self.groups.by_source), (Side::Target, &self.groups.by_target)]
        {
            let own =
                std::mem::take(&mut *sort_buffer.lock().unwrap_or_else(PoisonError::into_inner));
            let in_order = exchange::sort(own, mail);
            let mut group: (Vec<u8>, Vec<Member>) = Default::default();
            for (key, value) in in_order.entries() {
                let Ok(member) = postcard::from_bytes::<Member>(value) else {
                    tracing::error!("message from a different build; use one build on all nodes");
                    mail.comm().abort(Exit::Bug)
                };
                if group.0 != key {
                    found.count(side, std::mem::take(&mut group.1), self.options);
                    group.0 = key.to_vec();
                }
                group.1.push(member);
            }
            found.count(side, group.1, self.options);
        }
        found
    }
}

impl Regrouped {
    /// Counts those of a group of names, links to one file on one side, that are not on the other.
    fn count(&mut self, side: Side, mut members: Vec<Member>, options: &CompareOptions) {
        members.sort_by(|one, next| one.path.cmp(&next.path));
        let Some(first) = members.first().map(|first| first.other.clone()) else { return };
        for member in members.iter().filter(|member| member.other != first) {
            match side {
                Side::Source => self.parted += 1,
                Side::Target => self.joined += 1,
            }
            if let Some(format) = options.tell
                && self.parted + self.joined <= FAILURE_LINES_PRINTED_MAX
            {
                write_regrouped(format, &member.path, &mut self.lines);
            }
        }
    }
}
