//! Entries of a directory that were requested before they are used.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Mutex;

use types::entry::Xattrs;
use types::error::{Op, Result};
use types::path::Name;

use crate::bundle::{Item, Outbox, Ticket};
use crate::exchange::lock;
use crate::host::{Host, malformed};
use crate::protocol::{Answer, FileIs};

/// Requests that were made ahead, by the name of the entry.
#[derive(Default)]
pub(super) struct Ahead {
    outbox: Outbox,
    begun: Mutex<HashMap<CString, Begun>>,
}

/// A request that was made ahead.
enum Begun {
    Asked(Ticket),
    /// The file has arrived, and is opened once.
    File(Box<FileIs>, Vec<u8>),
    /// The file was opened, or only its extended attributes were requested.
    Xattrs(Result<Option<Xattrs>>),
}

impl Ahead {
    /// Adds a request about an entry.
    pub fn request(&self, host: &Host, name: &Name, item: Item) {
        let ticket = self.outbox.add(host, item);
        lock(&self.begun).insert(name.to_owned(), Begun::Asked(ticket));
    }

    /// Adds the extended attributes of an entry, which are known without a request.
    pub fn know_xattrs(&self, name: &Name, xattrs: Option<Xattrs>) {
        lock(&self.begun).insert(name.to_owned(), Begun::Xattrs(Ok(xattrs)));
    }

    /// Sends what was added. Returns whether anything was.
    pub fn send(&self, host: &Host) -> bool {
        self.outbox.send(host);
        !lock(&self.begun).is_empty()
    }

    /// Returns a file that was requested; `None` where it was not, or is open already.
    pub fn take_file(&self, host: &Host, name: &Name) -> Option<Result<(FileIs, Vec<u8>)>> {
        match self.arrived(host, name)? {
            Ok(Begun::File(is, data)) => {
                let xattrs = Begun::Xattrs(is.xattrs.clone());
                lock(&self.begun).insert(name.to_owned(), xattrs);
                Some(Ok((*is, data)))
            }
            Ok(other) => {
                lock(&self.begun).insert(name.to_owned(), other);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Returns the extended attributes of an entry that was requested, with its content or alone;
    /// `None` where they are not known.
    pub fn xattrs(&self, host: &Host, name: &Name) -> Option<Result<Option<Xattrs>>> {
        let arrived = self.arrived(host, name)?.ok()?;
        let xattrs = match &arrived {
            Begun::Asked(_) => return None,
            Begun::File(is, _) => is.xattrs.clone(),
            Begun::Xattrs(xattrs) => xattrs.clone(),
        };
        lock(&self.begun).insert(name.to_owned(), arrived);
        Some(xattrs)
    }

    /// Takes what has arrived of an entry, after waiting for it.
    fn arrived(&self, host: &Host, name: &Name) -> Option<Result<Begun>> {
        let begun = lock(&self.begun).remove(name)?;
        let Begun::Asked(ticket) = begun else { return Some(Ok(begun)) };
        let answer = self.outbox.wait(host, ticket);
        Some(answer.and_then(|(reply, data)| match reply {
            Ok(Answer::File(is)) => Ok(Begun::File(is, data)),
            Ok(Answer::Xattrs(xattrs)) => Ok(Begun::Xattrs(Ok(xattrs))),
            Ok(_) => Err(malformed(Op::Open)),
            Err(error) => Err(error),
        }))
    }
}
