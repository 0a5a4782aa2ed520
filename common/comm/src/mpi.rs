//! Ranks of a real MPI job: the only file that names MPI.
//!
//! Funneled: only the main thread gets here, which the compiler checks, since MPI's communicator is
//! not `Send`. Sends are plain `MPI_Isend` with owned buffers, because rsmpi's scoped requests
//! cannot express a set of messages that changes; everything else is rsmpi.

#![allow(
    unsafe_code,
    reason = "MPI_Isend, MPI_Test and MPI_Abort have no safe wrapper that fits; set_var is for MPI"
)]

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::path::Path;

use ::mpi::environment::Universe;
use ::mpi::raw::AsRaw;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Source};
use ::mpi::{Threading, ffi};

use super::mailbox::{Nap, leave_in_time};
use super::{Comm, Rank, launcher};
use host::identity;
use types::exit::Exit;
use types::limits;

const TAG: c_int = 0;

/// Connection of this process to an MPI job.
pub struct MpiComm {
    /// Messages in progress, with the buffers they are read from.
    sending: VecDeque<(ffi::MPI_Request, Vec<u8>)>,
    world: SimpleCommunicator,
    // Last: dropping it finalises MPI.
    _universe: Universe,
}

impl MpiComm {
    /// Joins the job; `None` where MPI is initialised already or does not support threads.
    pub fn join() -> Option<Self> {
        if identity::is_root() && may_become_another_user() {
            do_without_attached_memory();
        }
        let (universe, threading) = ::mpi::initialize_with_threading(Threading::Funneled)?;
        (threading >= Threading::Funneled).then(|| Self {
            sending: VecDeque::new(),
            world: universe.world(),
            _universe: universe,
        })
    }

    /// Releases the buffers of messages that have left, the oldest first: one that has not left
    /// only delays the release of those behind it.
    fn reap(&mut self) {
        while let Some((request, _)) = self.sending.front_mut() {
            if !has_left(request) {
                break;
            }
            self.sending.pop_front();
        }
    }
}

/// Variables that keep MPI libraries from reading large messages straight from the sender's memory:
/// of Open MPI 4 and 5, of UCX, and of Cray's MPICH.
const NO_ATTACHED_MEMORY: [(&str, &str); 4] = [
    ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
    ("OMPI_MCA_smsc", "^cma"),
    ("UCX_TLS", "^cma"),
    ("MPICH_SMP_SINGLE_COPY_MODE", "NONE"),
];

/// Returns true where the command line or the environment may ask for `--uid` or `--gid`. Options
/// are read by one rank and only after MPI was initialised, but all ranks are started with the same
/// words; some words too many do no harm.
fn may_become_another_user() -> bool {
    let mut words = std::env::args_os();
    let tool = words.next().unwrap_or_default();
    let tool = Path::new(&tool).file_name().unwrap_or_default().to_ascii_uppercase();
    let is_option = |word: &[u8]| match word {
        [b'-', b'-', name @ ..] => name.starts_with(b"uid") || name.starts_with(b"gid"),
        [b'-', letters @ ..] => letters.iter().any(|letter| matches!(letter, b'U' | b'G')),
        _ => false,
    };
    let has_variable = |option: &str| {
        let mut variable = tool.clone();
        variable.push(option);
        std::env::var_os(variable).is_some()
    };
    words.any(|word| is_option(word.as_encoded_bytes()))
        || ["_UID", "_GID"].into_iter().any(has_variable)
}

/// Prepares for `--uid`: the kernel lets no process read the memory of one that has changed its
/// IDs, unless it may trace any process, which root in a container may not. Without that memory
/// some MPI libraries use connections that take long to close, so other jobs keep it. What the
/// operator has set stays.
fn do_without_attached_memory() {
    for (variable, value) in NO_ATTACHED_MEMORY {
        if std::env::var_os(variable).is_none() {
            // SAFETY: called before MPI is initialised, when this process has one thread.
            unsafe { std::env::set_var(variable, value) };
        }
    }
}

fn has_left(request: &mut ffi::MPI_Request) -> bool {
    let mut flag: c_int = 0;
    // SAFETY: the request came from MPI_Isend and was not completed before: a completed one is
    // dropped by the caller at once.
    unsafe { ffi::MPI_Test(request, &raw mut flag, ffi::RSMPI_STATUS_IGNORE) };
    flag != 0
}

/// Returns the MPI library's own name and version, in one line. MPI need not be initialised.
pub fn library_version() -> String {
    let version = ::mpi::environment::library_version().unwrap_or_default();
    let first_line = version.lines().next().unwrap_or("unknown MPI");
    let short = first_line.split(", package").next().unwrap_or(first_line);
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Comm for MpiComm {
    fn rank(&self) -> Rank {
        Rank(self.world.rank() as u32)
    }

    fn size(&self) -> u32 {
        self.world.size() as u32
    }

    fn send(&mut self, to: Rank, message: Vec<u8>) {
        assert!(
            message.len() <= limits::MESSAGE_BYTES_MAX,
            "messages are bounded where they are made"
        );
        let _as_root = identity::as_root();
        self.reap();
        // SAFETY: a null request is only a place for MPI_Isend to write to.
        let mut request: ffi::MPI_Request = unsafe { ffi::RSMPI_REQUEST_NULL };
        // SAFETY: the buffer is on the heap and is kept, unmoved and unchanged, in `sending` until
        // MPI says that the request is complete; its length fits an int by the bound above.
        unsafe {
            ffi::MPI_Isend(
                message.as_ptr().cast::<c_void>(),
                message.len() as c_int,
                u8::equivalent_datatype().as_raw(),
                to.0 as c_int,
                TAG,
                self.world.as_raw(),
                &raw mut request,
            );
        }
        self.sending.push_back((request, message));
    }

    fn try_recv(&mut self) -> Option<(Rank, Vec<u8>)> {
        let _as_root = identity::as_root();
        self.reap();
        let (message, status) = self.world.any_process().immediate_matched_probe()?;
        let mut bytes = vec![0_u8; status.count(u8::equivalent_datatype()) as usize];
        let status = message.matched_receive_into(&mut bytes[..]);
        Some((Rank(status.source_rank() as u32), bytes))
    }

    fn unsent(&self) -> usize {
        self.sending.len()
    }

    fn abort(&self, exit: Exit) -> ! {
        abort(exit)
    }

    fn finish(&mut self, exit: Exit) {
        // MPI removes in the end what it made in the beginning.
        identity::as_root().for_good();
        // MPI's own barrier and finalisation spin; this one sleeps, and receives messages that are
        // still in progress, so that no rank waits for another inside MPI_Finalize.
        let mut nap = Nap::new();
        let mut barrier = Some(self.world.immediate_barrier());
        while barrier.is_some() || !self.sending.is_empty() {
            while self.try_recv().is_some() {}
            barrier = barrier.take().and_then(|request| request.test().err());
            leave_in_time(self);
            std::thread::sleep(nap.next_nap());
        }
        if self.size() > 1 && !launcher::is_one_node(|name| std::env::var(name).ok(), self.size()) {
            let_connections_settle();
        }
        leave_at_last(self.rank(), exit);
    }
}

/// Waits without a call of MPI between the last message and `MPI_Finalize`. In MPICH 4.0 with UCX
/// 1.13 over TCP, a rank that closes a connection waits for an answer, and a rank that has closed
/// its own answers no more: every third job of two nodes never ended. After a pause none of 150
/// did, nor any of a C program that only exchanges messages, which hangs as often. A pause with
/// calls of MPI does not help.
fn let_connections_settle() {
    std::thread::sleep(limits::FAREWELL_PAUSE);
}

/// Ends the process where `MPI_Finalize` does not return in time all the same, since it waits for
/// ranks that have left it. Behind the barrier no rank has anything left to send.
fn leave_at_last(rank: Rank, exit: Exit) {
    let leave = move || {
        std::thread::sleep(limits::FAREWELL_MAX);
        if rank == Rank::ROOT {
            tracing::warn!(
                "all work is done, but MPI_Finalize does not return: the processes exit without it"
            );
        }
        // SAFETY: nothing runs before the process ends, neither of this program nor of MPI's.
        unsafe { libc::_exit(c_int::from(exit.code())) }
    };
    let watch = std::thread::Builder::new().name("farewell".to_owned()).spawn(leave);
    if let Err(error) = watch {
        tracing::debug!(%error, "nothing watches over MPI_Finalize");
    }
}

/// Aborts the job on all ranks; also for a panic hook, which has no [`MpiComm`].
pub fn abort(exit: Exit) -> ! {
    std::thread::sleep(limits::LAST_WORDS);
    identity::as_root().for_good();
    // SAFETY: called after MPI was initialised and before it is finalised, on the main thread or on
    // one that the main thread waits for, so that no other thread is in MPI.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, c_int::from(exit.code())) };
    unreachable!("MPI_Abort does not return")
}
