//! Helper of the tests: ranks that send large messages in a ring while they work as another user,
//! and read a file then. Usage: `big_messages UID GID FILE`; each rank prints `arrived`, and exits
//! with 0, if all arrived and FILE could not be opened.

use std::io::Write as _;
use std::process::ExitCode;

use comm::mailbox::Nap;
use comm::mpi::MpiComm;
use comm::{Comm, Rank};
use host::identity::Identity;
use types::exit::Exit;
use types::limits;

/// Messages that each rank sends.
const MESSAGES: u8 = 4;
/// Bytes of a message: more than any library sends but from memory to memory.
const BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    // The first word is `--uid`, by which the library knows what is to come.
    let words: Vec<String> = std::env::args().skip(2).collect();
    let [uid, gid, file] = &words[..] else { panic!("UID GID FILE") };
    let identity =
        Identity { uid: uid.parse().unwrap(), gid: gid.parse().unwrap(), groups: vec![] };
    const { assert!(BYTES <= limits::MESSAGE_BYTES_MAX) };
    let mut comm = MpiComm::join().expect("MPI");
    identity.assume().expect("root may be anybody");
    let (rank, size) = (comm.rank().0, comm.size());
    let next = Rank((rank + 1) % size);
    for number in 0..MESSAGES {
        comm.send(next, vec![number; BYTES]);
    }
    let (mut arrived, mut nap) = (0, Nap::new());
    while arrived < MESSAGES {
        match comm.try_recv() {
            Some((from, message)) => {
                assert_eq!(from, Rank((rank + size - 1) % size));
                assert!(message == vec![arrived; BYTES]);
                arrived += 1;
            }
            None => std::thread::sleep(nap.next_nap()),
        }
    }
    let is_closed = std::fs::File::open(file).is_err();
    let exit = if is_closed { Exit::Ok } else { Exit::Different };
    if is_closed {
        // In one piece, since all ranks write to one stream.
        let _ = std::io::stdout().write_all(b"arrived\n");
    }
    comm.finish(exit);
    ExitCode::from(exit.code())
}
