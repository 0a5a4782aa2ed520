//! The manifest of a copy: opened before it begins, ended on all ranks after it.

use super::parts;
use crate::base::exit::Exit;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::lists;
use crate::lists::shared_part::SharedPart;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;

/// This rank's part, where one is wished.
///
/// # Errors
/// The exit code, on all ranks, where it cannot be made; rank 0 has said why.
pub(super) fn open(
    session: &mut Session<'_, '_>,
    manifest: Option<&[u8]>,
    reporter: &mut Reporter,
) -> Result<SharedPart, Exit> {
    let made = (session.mail.comm().rank() == Rank::ROOT).then(|| {
        let made = manifest.map_or(Ok(()), lists::make_directory);
        made.map_err(|failure| reporter.refuse(&failure.to_string())).is_ok()
    });
    if !broadcast(session.mail, made) {
        return Err(Exit::Unusable);
    }
    let mut parts = parts::open(session, std::iter::once(manifest), reporter)?;
    Ok(SharedPart::new(parts.pop().flatten()))
}

/// Ends all parts; what went wrong is said.
pub(super) fn end(session: &mut Session<'_, '_>, part: &SharedPart, reporter: &mut Reporter) {
    let failed = gather(session.mail, &part.finish().err());
    for failure in failed.into_iter().flatten().flatten() {
        reporter.unwritten(&failure.to_string());
    }
}
