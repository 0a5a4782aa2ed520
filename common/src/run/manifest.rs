//! The manifest of a copy: opened before it begins, ended on all ranks after it.

use super::outputs;
use super::parts::PartLists;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use lists::shared_part::SharedPart;
use lists::staged::StagedDirectory;
use types::exit::Exit;
use types::outcome::tally::Tally;

/// The manifest of this job, and this rank's part of it.
pub(super) struct Manifest {
    lists: PartLists,
    pub part: SharedPart,
}

/// Opens the manifest, where one is requested.
///
/// # Errors
/// The exit code, on all ranks, where it cannot be made; rank 0 has said why.
pub(super) fn open(
    session: &mut Session<'_, '_>,
    manifest: Option<&[u8]>,
    (inputs, assume_shared): (&[Vec<u8>], bool),
    reporter: &mut Reporter,
) -> Result<Manifest, Exit> {
    let made = (session.mail.comm().rank() == Rank::ROOT).then(|| {
        outputs::check(manifest.as_slice(), inputs)?;
        Ok(vec![manifest.map(StagedDirectory::create).transpose()?])
    });
    let lists = PartLists::open(session, made, assume_shared, reporter)?;
    let mut parts = lists.create(session, reporter)?;
    let part = SharedPart::new(parts.pop().flatten());
    let part = if let Some(target) = manifest { part.of_list(target) } else { part };
    Ok(Manifest { lists, part })
}

impl Manifest {
    /// Ends all parts and names the manifest; the tally is that of this rank.
    pub fn end(self, session: &mut Session<'_, '_>, tally: &Tally, reporter: &mut Reporter) {
        let written: Vec<_> = self.part.finish(tally.failed).err().into_iter().collect();
        self.lists.end(session, &written, tally, reporter);
    }
}
