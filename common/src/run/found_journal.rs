//! The journal that rank 0 has found or begun for a job, and what it means for that job.

use std::fs::File;

use lists::as_path;
use ops::copy::options::{CopyOptions, GoingOn};
use ops::copy::plan::CopyPlan;
use ops::copy::root::{RootPlan, RootTarget};
use ops::journal::folder::{self, Start};
use ops::journal::job::{JobRecord, MadeTarget};
use types::content::transfer::Durable;
use types::entry::Time;
use types::operand::placement::TargetIs;
use types::path::escaped;
use types::size::human_bytes;

/// A journal as rank 0 has found or made it.
pub(super) struct Found {
    /// Directory of the journal, if this job keeps one.
    pub dir: Option<Vec<u8>>,
    /// The job that was stopped and that this one is once more.
    pub earlier: Option<JobRecord>,
    /// Treatment of the earlier job's work.
    pub start: Start,
    /// True if no job was interrupted and the copy exists: the last run has succeeded.
    pub is_copy_there: bool,
    /// Journal of that job that a dry run has found, and the bytes of incomplete files.
    pub planned: Option<(Vec<u8>, u64)>,
    /// Held as long as the job is at work.
    pub locks: Option<[File; 2]>,
}

impl Found {
    /// Removes a new journal, because nothing will be copied.
    pub fn give_up(&self) {
        if let (Some(dir), None) = (&self.dir, &self.earlier) {
            // What is left of it is said when it is used.
            let _ = folder::end(as_path(dir));
        }
    }

    /// A copy that goes on copies what is not there. What is finished is told by its time of
    /// change, so that is kept.
    pub fn prepare(&self, options: &mut CopyOptions) {
        options.keep.times |= self.dir.is_some();
        if self.dir.is_some() && options.transfer.durable == Durable::Later {
            options.transfer.durable = Durable::Journaled;
        }
        let of_earlier = self.earlier.as_ref().map(|earlier| earlier.is_copy_new);
        let is_new = of_earlier.unwrap_or(self.is_copy_there);
        let earlier = self.earlier.as_ref().filter(|_| self.start == Start::Resume);
        let since = earlier.map(|earlier| earlier.began);
        // Whenever that was.
        let since = since.or(self.is_copy_there.then_some(Time { seconds: 0, nanoseconds: 0 }));
        options.going_on = since.map(|since| GoingOn { since, is_new });
    }

    /// State of the target when the work began.
    pub fn target_was(&self) -> Option<TargetIs> {
        let of_earlier = self.earlier.as_ref().map(|earlier| earlier.target_was);
        of_earlier.or(self.is_copy_there.then_some(TargetIs::Missing))
    }

    /// Writes down which directory was made to be the copy: another one may have its name when the
    /// job goes on.
    ///
    /// # Errors
    /// Fails where that cannot be written.
    pub fn record_target(&self, plan: &CopyPlan) -> Result<(), Unrecorded> {
        let is_made =
            |root: &&RootPlan| root.target_is == RootTarget::New && root.singles.is_none();
        let (Some(dir), Some(root)) = (&self.dir, plan.roots.iter().find(is_made)) else {
            return Ok(());
        };
        let Some(made) = MadeTarget::at(as_path(&root.target)) else { return Ok(()) };
        folder::record_target(as_path(dir), made)
            .map_err(|source| Unrecorded { journal: dir.clone(), source })
    }

    /// Line for the head of the output.
    pub fn words(&self) -> Option<String> {
        if let Some((dir, written_bytes)) = &self.planned {
            let (dir, bytes) = (escaped(dir), human_bytes(*written_bytes));
            return Some(format!(
                "  would resume an interrupted job, with {bytes} of incomplete files; journal {dir}"
            ));
        }
        let dir = escaped(self.dir.as_ref()?);
        Some(match (&self.earlier, self.start) {
            (Some(_), Start::Resume) => {
                format!("  resuming an interrupted job; journal {dir}")
            }
            (Some(_), _) => format!("  starting an interrupted job over; journal {dir}"),
            (None, _) if self.is_copy_there => {
                format!("  resuming after an earlier run; journal {dir}")
            }
            (None, _) => format!("  journal {dir}"),
        })
    }
}

/// Target that could not be written to the journal.
#[derive(Debug, thiserror::Error)]
#[error("journal {}: {source}", escaped(journal))]
pub struct Unrecorded {
    journal: Vec<u8>,
    source: std::io::Error,
}
