//! Whole runs of a tool on ranks that are threads of this process.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use comm::mailbox::Mailbox;
use comm::threads;
use common::run::sync::SyncRequest;
use common::surface::cli::CommonArgs;
use common::surface::copy_args::RequestedCopy;
use common::surface::filter_args::{FilterArgs, RuleArgs};
use common::surface::identity_args::IdentityArgs;
use common::surface::limit_args::LimitArgs;
use common::surface::named_args::NamedArgs;
use common::surface::s3_args::S3Args;
use common::surface::session::Session;
use common::surface::ssh_args::SshArgs;
use common::surface::topology::Topology;
use host::user::User;
use ops::compare::options::{COUNTED_BY_DEFAULT, CompareOptions, Evidence};
use ops::copy::options::{CopyOptions, HardLinks, JobFacts, ResumeRequest, SyncOptions, Verify};
use store::opening::Symlinks;
use types::attributes::keep::{Keep, XattrChoice};
use types::content::transfer::{Atime, Transfer};
use types::exit::Exit;
use types::select::filter::Rule;

pub fn in_session(
    ranks: u32,
    tool: &'static str,
    run: impl Fn(&mut Session<'_, '_>) -> Exit + Sync,
) -> Exit {
    let exits = threads::run(ranks, |comm| {
        let mail = &mut Mailbox::new(comm);
        let topology = Topology::meet(mail);
        run(&mut Session { tool, mail, topology, mpi: "none".to_owned() })
    });
    exits.into_iter().reduce(Exit::worst).unwrap()
}

pub fn quiet() -> CommonArgs {
    CommonArgs {
        ignore_vanished: false,
        quiet: true,
        verbose: 0,
        progress: 0,
        json: false,
        output_style: common::surface::mfu_words::OutputStyle::default(),
        threads: 3,
        assume_shared: false,
        identity: IdentityArgs::default(),
        ssh: SshArgs::default(),
        limits: LimitArgs::default(),
        s3: S3Args::default(),
    }
}

pub fn filters(exclude: Option<&str>) -> FilterArgs {
    FilterArgs {
        rules: RuleArgs {
            list: exclude.into_iter().map(|glob| Rule::exclude(glob.as_bytes().to_vec())).collect(),
            files: Vec::new(),
        },
        min_size: None,
        max_size: None,
        min_age: None,
        max_age: None,
        max_depth: None,
        one_file_system: false,
    }
}

/// Returns a copy with these options, of all entries but the excluded ones.
pub fn requested(options: CopyOptions, exclude: Option<&str>) -> RequestedCopy {
    RequestedCopy {
        options,
        filters: filters(exclude),
        named: NamedArgs::default(),
        resume: ResumeRequest::default(),
        record: None,
        manifest: None,
    }
}

/// Returns a synchronisation without a limit for deletions.
pub fn sync(ranks: u32, source: &Path, target: &Path, requested: &RequestedCopy) -> Exit {
    in_session(ranks, "dsync", |session| {
        let request = SyncRequest {
            source: source.as_os_str().as_bytes().to_vec(),
            target: target.as_os_str().as_bytes().to_vec(),
            delete_max: None,
            requested: requested.clone(),
        };
        common::run::sync::run(session, &request, &quiet())
    })
}

/// Returns a comparison of all default fields, in chunks of 100 bytes.
pub fn compare_options() -> CompareOptions {
    CompareOptions {
        counted: COUNTED_BY_DEFAULT.into_iter().collect(),
        xattrs: XattrChoice::Own,
        lite: false,
        evidence: Evidence::Checksums,
        hard_links: false,
        one_way: false,
        prune_empty_dirs: false,
        chosen_by_source: false,
        bypass_cache: false,
        atime: Atime::Set,
        chunk_bytes: 100,
        buffer_bytes: 64,
        combined: None,
        tell: None,
        outputs: Vec::new(),
    }
}

/// Returns a copy that preserves all attributes, in chunks of 100 bytes.
pub fn options(hard_links: HardLinks, sync: Option<SyncOptions>, job: JobFacts) -> CopyOptions {
    CopyOptions {
        symlinks: Symlinks::Keep,
        keep: Keep::all(),
        hard_links,
        chunk_bytes: 100,
        buffer_bytes: 64,
        transfer: Transfer::default(),
        dry_run: false,
        mkpath: false,
        plan_as: None,
        sync,
        going_on: None,
        record: None,
        verify: Verify::Nothing,
        remove_source: false,
        prune_empty_dirs: false,
        job,
        user: User::own(),
    }
}
