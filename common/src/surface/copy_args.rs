//! Options of whatever copies, and what they come to.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::cli::{CommonArgs, TuningArgs};
use super::filter_args::FilterArgs;
use super::keep_args::{KeepArgs, SingleKeepArgs};
use super::named_args::NamedArgs;
use super::record_args::{RecordArgs, RecordRequest};
use super::resume_args::ResumeArgs;
use super::transfer_args::TransferArgs;
use super::verify_args::VerifyArgs;
use host::user::User;
use ops::copy::options::{CopyOptions, JobFacts, ResumeRequest, SyncOptions};
use store::opening::Symlinks;
use types::attributes::keep::Keep;
use types::content::transfer::Durable;

/// Options of a copy.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct CopyArgs {
    /// Change nothing; print what would be done
    #[arg(short = 'n', long, alias = "dryrun")]
    pub dry_run: bool,

    /// Create missing directories above TARGET
    #[arg(long)]
    mkpath: bool,

    #[command(flatten)]
    keep: KeepArgs,

    /// Filters of entries.
    #[command(flatten)]
    pub filters: FilterArgs,

    /// Leave out directories that would be empty, and those that would contain only such ones
    ///
    /// A directory is copied if filters leave any entry in it or below it that is no directory.
    /// Directories that TARGET has already stay, unless dsync --delete is given, which also deletes
    /// those of them that are empty at the end.
    #[arg(short = 'm', long, help_heading = "Filters")]
    prune_empty_dirs: bool,

    #[command(flatten)]
    named: NamedArgs,

    #[command(flatten)]
    transfer: TransferArgs,

    #[command(flatten)]
    verify: VerifyArgs,

    #[command(flatten)]
    resume: ResumeArgs,

    #[command(flatten)]
    tuning: TuningArgs,

    #[command(flatten)]
    record: RecordArgs,
}

/// Request for a copy, without its paths.
#[derive(Debug, Clone)]
pub struct RequestedCopy {
    /// How.
    pub options: CopyOptions,
    /// Filters of entries.
    pub filters: FilterArgs,
    /// The entries to be dealt with, instead of walking.
    pub named: NamedArgs,
    /// Treatment of an interrupted job.
    pub resume: ResumeRequest,
    /// Record of what is changed.
    pub record: Option<RecordRequest>,
    /// Manifest of the target, a Parquet list.
    pub manifest: Option<Vec<u8>>,
}

impl RequestedCopy {
    /// Requests that the source of what was copied is removed. What each node writes of a large
    /// file is then synced there, since no other node could do that.
    #[must_use]
    pub fn moving(mut self) -> Self {
        self.options.remove_source = true;
        if self.options.transfer.durable == Durable::Later {
            self.options.transfer.durable = Durable::Journaled;
        }
        self
    }
}

impl CopyArgs {
    /// The common arguments as these complete them.
    pub fn complete(&self, common: &CommonArgs) -> CommonArgs {
        let common = common.clone();
        let s3 = if self.keep.archive { common.s3.archiving() } else { common.s3 };
        CommonArgs { s3, ..common }
    }

    /// Bandwidth that the job may use.
    pub fn bwlimit(&self) -> Option<&str> {
        self.tuning.bwlimit.as_deref()
    }

    /// Request of these arguments. `keeps` is preserved by default, and `singly` in any case.
    pub fn requested(
        &self,
        keeps: &Keep,
        singly: SingleKeepArgs,
        symlinks: Symlinks,
        sync: Option<SyncOptions>,
    ) -> RequestedCopy {
        let (job, user, record) = (JobFacts::here(), User::own(), self.record.request());
        let by = (job.umask, user.is_superuser);
        let options = CopyOptions {
            symlinks,
            keep: self.verify.keep(self.keep.keep(keeps, singly, by)),
            hard_links: self.keep.hard_links(),
            chunk_bytes: self.tuning.chunk_bytes(),
            buffer_bytes: self.tuning.buffer_bytes(),
            transfer: self.verify.transfer(self.transfer.transfer()),
            mkpath: self.mkpath,
            dry_run: self.dry_run,
            plan_as: None,
            sync,
            going_on: None,
            record: record.as_ref().map(|record| record.format),
            verify: self.verify.verify(),
            remove_source: false,
            prune_empty_dirs: self.prune_empty_dirs,
            job,
            user,
        };
        RequestedCopy {
            options,
            filters: self.filters.clone(),
            named: self.named.clone(),
            resume: self.resume.request(),
            manifest: self.verify.manifest(),
            record,
        }
    }
}
