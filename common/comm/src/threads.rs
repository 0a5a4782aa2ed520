//! Ranks as threads of one process: the whole suite under test, without MPI.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Comm, Rank};
use types::exit::Exit;

type Mail = (Rank, Vec<u8>);

/// Connection of one of N ranks that are threads of this process.
pub struct ThreadComm {
    rank: Rank,
    inbox: Receiver<Mail>,
    outboxes: Arc<[Sender<Mail>]>,
    aborted: Arc<AtomicBool>,
}

/// Panic payload with which a rank's thread unwinds when the job was aborted.
#[derive(Debug)]
pub struct Aborted(pub Exit);

/// Runs `body` as each of `size` ranks and returns their results, in rank order.
///
/// # Panics
/// When a rank panics or aborts: then all others end too, and so does the caller.
pub fn run<T: Send>(size: u32, body: impl Fn(&mut ThreadComm) -> T + Sync) -> Vec<T> {
    let comms = connect(size);
    let body = &body;
    std::thread::scope(|scope| {
        let ranks: Vec<_> =
            comms.into_iter().map(|mut comm| scope.spawn(move || body(&mut comm))).collect();
        ranks
            .into_iter()
            .map(|rank| rank.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)))
            .collect()
    })
}

fn connect(size: u32) -> Vec<ThreadComm> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded()).unzip();
    let outboxes: Arc<[Sender<Mail>]> = senders.into();
    let aborted = Arc::new(AtomicBool::new(false));
    (0..size)
        .map(Rank)
        .zip(receivers)
        .map(|(rank, inbox)| ThreadComm {
            rank,
            inbox,
            outboxes: Arc::clone(&outboxes),
            aborted: Arc::clone(&aborted),
        })
        .collect()
}

impl Comm for ThreadComm {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn size(&self) -> u32 {
        self.outboxes.len() as u32
    }

    fn send(&mut self, to: Rank, message: Vec<u8>) {
        // A rank that has ended needs no messages.
        let _ = self.outboxes[to.index()].send((self.rank, message));
    }

    fn try_recv(&mut self) -> Option<Mail> {
        if self.aborted.load(Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new(Aborted(Exit::Bug)));
        }
        self.inbox.try_recv().ok()
    }

    fn unsent(&self) -> usize {
        0
    }

    fn abort(&self, exit: Exit) -> ! {
        self.aborted.store(true, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new(Aborted(exit)))
    }

    fn finish(&mut self, _exit: Exit) {}
}

impl Drop for ThreadComm {
    /// Makes the others end where a rank unwinds, so that none waits for it for ever.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.aborted.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Mailbox;

    #[test]
    fn a_panic_on_one_rank_ends_all_ranks() {
        let outcome = std::panic::catch_unwind(|| {
            run(4, |comm| {
                assert_ne!(comm.rank(), Rank(2), "the test's own panic");
                let mail = &mut Mailbox::new(comm);
                let channel = mail.open();
                mail.recv(channel)
            })
        });
        assert!(outcome.is_err());
    }
}
