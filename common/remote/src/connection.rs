//! A connection to an agent, which many threads share.

use std::io::{self, Write};

use types::error::Op;
use types::limits::{REMOTE_AGENT_THREADS, REMOTE_BYTES_OF_CONNECTION};

use crate::exchange::{self, Exchange};
use crate::frame::{self, Frame, Greeting, VERSION};
use crate::no_connection::Ungreeted;
use crate::packing::Packer;
use crate::pool::Connected;
use crate::protocol::{Reply, Request};

pub use crate::exchange::{Broken, Link};

/// An open connection.
pub struct Connection {
    exchange: Exchange<Arrived>,
    packer: Packer,
}

/// An answer with its data.
pub type Arrived = (Reply, Vec<u8>);

/// An answer that is yet to come.
pub type Pending = exchange::Pending<Arrived>;

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
                Ok(Self { exchange, packer: Packer::default() })
            }
            Err(error) => {
                let silence = "the agent did not answer; is dcp in PATH there (--agent-path)?";
                Err((Ungreeted::of(error, silence), link))
            }
        }
    }

    /// Compresses further requests, or does not.
    pub fn set_compression(&self, is_on: bool) {
        self.packer.set(is_on);
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn send(&self, request: &Request, data: &[u8]) -> Result<Pending, Broken> {
        let Ok(head) = frame::encode(request) else {
            // More extended attributes than a message holds: no fault of the connection.
            let refused = Err(Op::SetXattrs.errno(libc::E2BIG));
            return Ok(Pending::known((refused, Vec::new())));
        };
        self.exchange.send(data.len() + request.bytes_of_answer(), |id| {
            let frame = frame::seal(id, &head, data, &self.packer)?;
            Ok(move |to: &mut dyn Write| frame.send(to))
        })
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

    /// An agent works on many requests at a time, and several agents only help where a connection is
    /// full of content: to make one takes longer than many small requests.
    fn is_busy(&self) -> bool {
        self.exchange.in_progress() >= REMOTE_AGENT_THREADS
            || self.exchange.bytes_in_progress() >= REMOTE_BYTES_OF_CONNECTION
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
