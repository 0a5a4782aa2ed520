//! A connection to an agent, which many threads share.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use types::error::Op;
use types::limits::{
    REMOTE_AGENT_QUEUE, REMOTE_BYTES_OF_CONNECTION, REMOTE_BYTES_OF_FAR_CONNECTION, REMOTE_FAR,
    REMOTE_SILENCE_MAX,
};

use crate::exchange::{self, Exchange, lock};
use crate::frame::{self, Frame, Greeting, VERSION};
use crate::no_connection::Ungreeted;
use crate::packing::Packer;
use crate::pool::Connected;
use crate::protocol::{Reply, Request};

pub use crate::exchange::{Broken, Link};

/// An open connection.
pub struct Connection {
    exchange: Arc<Exchange<Arrived>>,
    packer: Packer,
    /// Time in which the agent answers something.
    silence_max: Mutex<Duration>,
    /// True if the window of the channel limits the connection, and not the processors.
    is_far: AtomicBool,
}

/// An answer with its data.
pub type Arrived = (Reply, Vec<u8>);

/// An answer that is yet to come.
pub struct Pending {
    reply: exchange::Pending<Arrived>,
    exchange: Weak<Exchange<Arrived>>,
    silence_max: Duration,
}

impl Pending {
    /// Waits for the answer, as long as the agent answers anything.
    ///
    /// # Errors
    /// `Broken` where the connection has ended, or is ended here because the agent is silent.
    pub fn wait(self) -> Result<Arrived, Broken> {
        loop {
            if let Some(answer) = self.reply.wait_for(self.silence_max) {
                return answer;
            }
            let exchange = self.exchange.upgrade().ok_or(Broken)?;
            let arrived = exchange.arrived();
            ping(&exchange);
            if let Some(answer) = self.reply.wait_for(self.silence_max) {
                return answer;
            }
            if exchange.arrived() == arrived {
                exchange.fall_silent();
                return Err(Broken);
            }
        }
    }
}

/// Asks whether the agent is there. Where another request cannot be written, its writer waits for
/// the agent already.
fn ping(exchange: &Exchange<Arrived>) {
    if !exchange.is_writable() {
        return;
    }
    let Ok(head) = frame::encode(&Request::Ping) else { return };
    let sent = exchange.send(0, |id| {
        let frame = frame::seal(id, &head, &[], &Packer::default())?;
        Ok(move |to: &mut dyn Write| frame.send(to))
    });
    // Its answer counts, and nobody waits for it.
    drop(sent);
}

impl Connection {
    /// Greets the agent at the other end of a link.
    ///
    /// # Errors
    /// Those of the link, and one for an agent of another version.
    pub fn greet(mut link: Link) -> Result<Self, (Ungreeted, Link)> {
        match greeted(&mut link) {
            Ok(()) => {
                let exchange = Exchange::over(link, |from| {
                    let frame = frame::receive::<Reply>(from)?;
                    Ok(frame.map(|Frame { id, message, data }| (id, (message, data))))
                });
                let (exchange, packer) = (Arc::new(exchange), Packer::default());
                let silence_max = Mutex::new(REMOTE_SILENCE_MAX);
                Ok(Self { exchange, packer, silence_max, is_far: AtomicBool::new(false) })
            }
            Err(error) => {
                let silence = "the agent did not answer; is dcp in PATH there? (--agent-path, \
                               --deploy, or sftp://HOST/PATH)";
                Err((Ungreeted::of(error, silence), link))
            }
        }
    }

    /// Compresses further requests, or does not.
    pub fn set_compression(&self, is_on: bool) {
        self.packer.set(is_on);
    }

    /// Sets the time in which the agent answers something.
    pub fn set_silence(&self, silence_max: Duration) {
        *lock(&self.silence_max) = silence_max;
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn send(&self, request: &Request, data: &[u8]) -> Result<Pending, Broken> {
        let Ok(head) = frame::encode(request) else {
            // More extended attributes than a message holds: no fault of the connection.
            let refused = Err(Op::SetXattrs.errno(libc::E2BIG));
            return Ok(self.pending(exchange::Pending::known((refused, Vec::new()))));
        };
        let reply = self.exchange.send(data.len() + request.bytes_of_answer(), |id| {
            let frame = frame::seal(id, &head, data, &self.packer)?;
            Ok(move |to: &mut dyn Write| frame.send(to))
        })?;
        Ok(self.pending(reply))
    }

    fn pending(&self, reply: exchange::Pending<Arrived>) -> Pending {
        let silence_max = *lock(&self.silence_max);
        Pending { reply, exchange: Arc::downgrade(&self.exchange), silence_max }
    }

    /// Sends the first request, and waits for its answer, which shows how far the agent is.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn begin(&self, request: &Request) -> Result<Arrived, Broken> {
        let sent = Instant::now();
        let arrived = self.ask(request, &[])?;
        self.is_far.store(sent.elapsed() >= REMOTE_FAR, Ordering::Relaxed);
        Ok(arrived)
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn ask(&self, request: &Request, data: &[u8]) -> Result<Arrived, Broken> {
        self.send(request, data)?.wait()
    }
}

impl Connected for Connection {
    type Answer = Arrived;

    fn exchange(&self) -> &Exchange<Arrived> {
        &self.exchange
    }

    /// An agent works on many requests at a time, and several agents only help where a connection
    /// is full of content: to make one takes longer than many small requests.
    fn is_busy(&self) -> bool {
        let is_far = self.is_far.load(Ordering::Relaxed);
        let full_bytes =
            if is_far { REMOTE_BYTES_OF_FAR_CONNECTION } else { REMOTE_BYTES_OF_CONNECTION };
        self.exchange.in_progress() >= REMOTE_AGENT_QUEUE
            || self.exchange.bytes_in_progress() >= full_bytes
    }
}

fn greeted(link: &mut Link) -> io::Result<()> {
    Greeting::own().send(&mut *link.to)?;
    let agent = Greeting::receive(&mut *link.from)?;
    if agent.protocol == VERSION {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "the agent has version {} (protocol {}), and this program {} (protocol {VERSION}); name \
             a matching one with --agent-path",
            agent.software,
            agent.protocol,
            Greeting::own().software
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::io::pipe;
    use std::thread;

    use types::path::RelPath;

    use super::*;
    use crate::protocol::{Answer, At, StagedAs};

    /// Connects to an agent that answers the first request after a while, and no other one.
    fn agent(away: Duration) -> Connection {
        let (mut requests, to) = pipe().unwrap();
        let (from, mut answers) = pipe().unwrap();
        thread::spawn(move || {
            Greeting::own().send(&mut answers).unwrap();
            Greeting::receive(&mut requests).unwrap();
            let first = frame::receive::<Request>(&mut requests).unwrap().unwrap();
            thread::sleep(away);
            let answer = frame::encode(&Reply::Ok(Answer::Done)).unwrap();
            frame::send(&mut answers, first.id, &answer, &[]).unwrap();
            while let Ok(Some(_)) = frame::receive::<Request>(&mut requests) {}
        });
        let link = Link { from: Box::new(from), to: Box::new(to), child: None };
        Connection::greet(link).map_err(|(why, _)| why).unwrap()
    }

    /// Returns the content in bytes from which on a connection is busy.
    fn full_bytes(connection: &Connection) -> usize {
        let piece = vec![0; 1 << 20];
        let dir = At { root: 1, path: RelPath::root().as_bytes().to_vec() };
        let at = StagedAs { dir, staged: b"s".to_vec(), name: b"n".to_vec(), inode: None };
        let pieces = (0_u64..64).take_while(|_| !connection.is_busy()).map(|number| {
            let request = Request::Write { at: at.clone(), offset: number << 20 };
            connection.send(&request, &piece).unwrap()
        });
        let pieces: Vec<Pending> = pieces.collect();
        pieces.len() << 20
    }

    #[test]
    fn a_far_connection_is_full_when_the_window_of_its_channel_is() {
        let nearby = agent(Duration::ZERO);
        nearby.ask(&Request::Ping, &[]).unwrap().0.unwrap();
        assert_eq!(full_bytes(&nearby), REMOTE_BYTES_OF_CONNECTION);

        let far = agent(REMOTE_FAR);
        far.begin(&Request::Ping).unwrap().0.unwrap();
        assert_eq!(full_bytes(&far), REMOTE_BYTES_OF_FAR_CONNECTION);
    }
}
