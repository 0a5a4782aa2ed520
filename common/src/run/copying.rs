//! What all phases of a copy have in common on this rank.

use crate::copy::CopyJob;
use crate::copy::options::CopyOptions;
use crate::copy::root::CopyRoot;
use crate::journal::Journal;
use crate::lists::named::Named;
use crate::lists::shared_part::SharedPart;
use crate::surface::session::Session;
use crate::walk::selection::Selection;

/// What goes for the whole copy.
#[derive(Clone, Copy)]
pub(super) struct Copying<'r> {
    pub roots: &'r [CopyRoot],
    pub options: &'r CopyOptions,
    pub selection: &'r Selection,
    pub journal: Option<&'r Journal>,
    pub manifest: &'r SharedPart,
    /// I/O threads of a rank, at most.
    pub threads_max: u32,
}

impl<'r> Copying<'r> {
    /// This rank's part of a phase, of a walk or of entries that are named.
    pub fn job(&self, session: &Session<'_, '_>, named: Option<&'r Named>) -> CopyJob<'r> {
        let rank = session.mail.comm().rank();
        CopyJob::new(self.roots, self.options, self.selection, named, rank)
            .with_journal(self.journal)
            .with_manifest(self.manifest)
            .verified_by(session.verifier())
    }
}
