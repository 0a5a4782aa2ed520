//! Session from `main` to the exit code: joins the job, reads the command line on rank 0, runs the
//! tool on all ranks, and ends them together with one code.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{CommandFactory, FromArgMatches};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::cli::{self, CommonArgs, Parsed};
use super::console::{self, Console};
use super::topology::Topology;
use comm::collective::{broadcast, gather};
use comm::launcher::{self, Launch, Singletons};
use comm::mailbox::Mailbox;
use comm::solo::Solo;
use comm::{Comm, Rank};
use host::identity::Identity;
use host::process::{
    address_space_left, current_umask, find_statx, raise_descriptor_limit, set_umask,
};
use host::{bug, interrupt};
use ops::sort;
use types::exit::Exit;
use types::limits;
use types::size::human_bytes;

/// A tool's arguments.
pub trait ToolArgs: FromArgMatches + CommandFactory + Serialize + DeserializeOwned {
    /// The options all tools share.
    fn common(&self) -> &CommonArgs;

    /// Bandwidth that the job may use, for a tool that moves content.
    fn bwlimit(&self) -> Option<&str> {
        None
    }

    /// The long names of the options that the short help has besides those of all tools.
    const SHORT_HELP: &'static [&'static str];
}

/// Context of a tool's run.
pub struct Session<'s, 'c> {
    /// Name of the tool.
    pub tool: &'static str,
    /// The other ranks.
    pub mail: &'s mut Mailbox<'c>,
    /// Ranks and their nodes.
    pub topology: Topology,
    /// Name and version of the MPI library, or that none is in use.
    pub mpi: String,
}

impl Session<'_, '_> {
    /// The command line makes no sense, which all ranks have found: one of them says so.
    pub fn refuse(&self, text: impl Display) -> Exit {
        if self.mail.comm().rank() == Rank::ROOT {
            console::say(&format!("{}: {text}", self.tool));
        }
        Exit::Usage
    }
}

/// Command line as rank 0 has read it.
#[derive(Serialize, Deserialize)]
enum Decision<A> {
    Run { args: A, umask: u32, identity: Option<Identity> },
    Exit(Exit),
}

/// Runs a tool: every `main` is one call of this.
pub fn run<A: ToolArgs>(
    tool: &'static str,
    work: impl FnOnce(&mut Session<'_, '_>, A) -> Exit,
) -> ExitCode {
    find_statx();
    set_umask(current_umask());
    listen();
    let launch = launcher::detect(|name| std::env::var(name).ok());
    if let Some(why) = lack_of_room(&launch) {
        console::say(&format!("{tool}: {why}"));
        return ExitCode::from(Exit::Unusable.code());
    }
    let (mut comm, mpi) = match join(&launch) {
        Ok(joined) => joined,
        Err(refusal) => {
            // N lines that all say the same help nobody.
            if !matches!(launch, Launch::Launched { process, .. } if process > 0) {
                console::say(&format!("{tool}: {refusal}"));
            }
            return ExitCode::from(Exit::Usage.code());
        }
    };
    install_panic_hook(tool, comm.rank());
    let exit = run_joined(tool, work, &mut *comm, mpi);
    comm.finish(exit);
    ExitCode::from(exit.code())
}

fn listen() {
    if let Err(error) = interrupt::listen() {
        tracing::warn!(%error, "a signal will end this process at once");
    }
}

fn run_joined<A: ToolArgs>(
    tool: &'static str,
    work: impl FnOnce(&mut Session<'_, '_>, A) -> Exit,
    comm: &mut dyn Comm,
    mpi: String,
) -> Exit {
    let is_root = comm.rank() == Rank::ROOT;
    let mail = &mut Mailbox::new(comm);
    let decision = broadcast(mail, is_root.then(|| decide::<A>(tool, &mpi)));
    let (args, umask, identity) = match decision {
        Decision::Run { args, umask, identity } => (args, umask, identity),
        Decision::Exit(exit) => return exit,
    };
    // Launchers start ranks with masks of their own; the user's is rank 0's.
    set_umask(umask);
    // Before there are other threads.
    if let Some(identity) = identity
        && let Err(exit) = assume(mail, tool, &identity)
    {
        return exit;
    }
    log_to_stderr(args.common().verbose, mail.comm().rank());
    raise_descriptor_limit();
    // Again: MPI may have set handlers of its own.
    listen();
    let topology = Topology::meet(mail);
    sort::use_processors(topology.cpu_share());
    args.common().limits.begin(args.bwlimit(), mail);
    let mut exit = work(&mut Session { tool, mail, topology, mpi }, args);
    // Whoever was told to stop while it asked for the first time has not found that nothing can be
    // done.
    if exit == Exit::Unusable && interrupt::is_wanted() {
        exit = Exit::Interrupted;
    }
    broadcast(mail, is_root.then_some(exit))
}

/// Makes all ranks work as a user.
///
/// # Errors
/// The exit code, on all ranks, where one of them cannot; rank 0 has said why.
fn assume(mail: &mut Mailbox<'_>, tool: &str, identity: &Identity) -> Result<(), Exit> {
    let here = identity.assume().err().map(|error| error.to_string());
    let all = gather(mail, &here);
    let first = all.map(|all| all.into_iter().flatten().next());
    if let Some(Some(why)) = &first {
        let Identity { uid, gid, .. } = identity;
        console::say(&format!("{tool}: cannot work as user {uid} and group {gid}: {why}"));
    }
    if broadcast(mail, first.map(|first| first.is_none())) { Ok(()) } else { Err(Exit::Unusable) }
}

/// Why this process cannot work: where memory is refused later, it can only be aborted.
fn lack_of_room(launch: &Launch) -> Option<String> {
    let left = address_space_left()?;
    let least = match launch {
        Launch::Alone => limits::ADDRESS_SPACE_BYTES_MIN,
        Launch::Launched { .. } => limits::ADDRESS_SPACE_OF_RANKS_BYTES_MIN,
    };
    let (left_words, least_words) = (human_bytes(left), human_bytes(least));
    (left < least).then(|| {
        format!("{left_words} of address space are left to this process, which needs {least_words}; raise ulimit -v")
    })
}

/// Reads the command line; on rank 0 only, so that the environment of other nodes does not matter.
fn decide<A: ToolArgs>(tool: &str, mpi: &str) -> Decision<A> {
    let arguments: Vec<_> = std::env::args_os().collect();
    match cli::parse::<A>(&arguments, &version(mpi), A::SHORT_HELP) {
        Parsed::Args { args, notes, warnings } => {
            for note in notes.iter().filter(|_| args.common().verbose > 0) {
                console::say(&format!("{tool}: {note}"));
            }
            for warning in &warnings {
                console::say(&format!("{tool}: {warning}"));
            }
            match args.common().identity.identity() {
                Ok(identity) => Decision::Run { args, umask: current_umask(), identity },
                Err(refusal) => {
                    console::say(&format!("{tool}: {refusal}"));
                    Decision::Exit(Exit::Usage)
                }
            }
        }
        Parsed::Answer(text) => {
            let mut console = Console::default();
            console.result(format!("{}\n", text.trim_end()).as_bytes());
            Decision::Exit(if console.output_failed { Exit::Reporting } else { Exit::Ok })
        }
        Parsed::Refusal(text) => {
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            console::say(format!("{tool}: {text}").trim_end());
            Decision::Exit(Exit::Usage)
        }
    }
}

/// Returns the version, the MPI library, and the features of this build.
fn version(mpi: &str) -> String {
    let features = [
        ("mpi", cfg!(feature = "mpi")),
        ("parquet", cfg!(feature = "parquet")),
        ("s3", cfg!(feature = "s3")),
    ];
    let built = features.into_iter().filter_map(|(name, is_built)| is_built.then_some(name));
    let built = built.collect::<Vec<_>>().join(", ");
    let version = env!("CARGO_PKG_VERSION");
    let commit = env!("SUITE_COMMIT");
    let features = if built.is_empty() { "none" } else { &built };
    format!("{version} ({commit})\nMPI: {mpi}\nfeatures: {features}")
}

/// Name and version of the MPI this program is linked with.
pub fn mpi_library() -> String {
    #[cfg(feature = "mpi")]
    return comm::mpi::library_version();
    #[cfg(not(feature = "mpi"))]
    return "none".to_owned();
}

/// Reason why this process cannot be a part of its job.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    /// MPI does not support threads.
    #[cfg(feature = "mpi")]
    #[error("MPI cannot be initialised for a program with threads")]
    Threads,
    /// Each process of the job would do all of it.
    #[error(transparent)]
    Singletons(#[from] Singletons),
}

/// Joins the job that this process was started for.
fn join(launch: &Launch) -> Result<(Box<dyn Comm>, String), JoinError> {
    let library = mpi_library();
    let comm: Box<dyn Comm> = match launch {
        Launch::Alone => Box::new(Solo::default()),
        Launch::Launched { .. } => join_launched()?,
    };
    launcher::check(launch, comm.size(), &library)?;
    Ok((comm, library))
}

#[cfg(feature = "mpi")]
fn join_launched() -> Result<Box<dyn Comm>, JoinError> {
    match comm::mpi::MpiComm::join() {
        Some(comm) => {
            let _ = ABORT.set(comm::mpi::abort);
            Ok(Box::new(comm))
        }
        None => Err(JoinError::Threads),
    }
}

#[cfg(not(feature = "mpi"))]
fn join_launched() -> Result<Box<dyn Comm>, JoinError> {
    Ok(Box::new(Solo::default()))
}

/// Ends the job on all ranks, without a [`Comm`] at hand.
static ABORT: OnceLock<fn(Exit) -> !> = OnceLock::new();

/// A panic must not leave the other ranks waiting for ever: unwinding would end in MPI's own
/// finalisation, which waits for them.
///
/// On the main thread the hook aborts the job at once. Other threads stay in it, and the main
/// thread aborts for them, unless it waits for one of them.
fn install_panic_hook(tool: &'static str, rank: Rank) {
    let main = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        console::say(&format!("{tool}: bug: rank {} panicked: {info}; please report this", rank.0));
        if std::thread::current().id() != main {
            bug::wait_for_end();
        }
        match ABORT.get() {
            Some(abort) => abort(Exit::Bug),
            None => Solo::default().abort(Exit::Bug),
        }
    }));
}

fn log_to_stderr(verbose: u8, rank: Rank) {
    let level = match verbose {
        0 | 1 => tracing::Level::WARN,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // Libraries' own logs have requests in them, with what they are signed with.
    let own = env!("CARGO_PKG_NAME");
    let targets = Targets::new().with_target(own, level).with_default(tracing::Level::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let subscriber = tracing_subscriber::registry().with(lines).with(targets);
    // A second session in one process keeps the first one's log.
    let _ = tracing::subscriber::set_global_default(subscriber);
    tracing::debug!(rank = rank.0, "joined");
}
