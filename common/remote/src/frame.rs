//! Frames: the form of messages on the wire.
//!
//! A connection begins with a greeting of each side, whose form never changes. Then frames follow:
//! lengths of the message and of its data, and of both together if they are compressed, the number
//! of the request, a CRC-64 of number, message and data, and both.

use std::io::{Error, ErrorKind, Read, Result, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::packing::{Packer, unpack};
use types::content::crc64::Crc64Nvme;
use types::limits::{REMOTE_DATA_BYTES_MAX, REMOTE_HEAD_BYTES_MAX};

/// First bytes of a connection, in both directions.
const MAGIC: [u8; 8] = *b"DCPAGENT";

/// Version of the messages. Another one is refused.
pub const VERSION: u16 = 7;

/// Bytes before the message of a frame.
const PREFIX_BYTES: usize = 28;

/// Version of the protocol and of the program on one side of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Version of the messages.
    pub protocol: u16,
    /// Version of the program, as text.
    pub software: String,
}

impl Greeting {
    /// Returns the greeting of this build.
    pub fn own() -> Self {
        Self { protocol: VERSION, software: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Sends the greeting.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&self, to: &mut dyn Write) -> Result<()> {
        let software = &self.software.as_bytes()[..self.software.len().min(255)];
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.protocol.to_le_bytes());
        bytes.push(software.len() as u8);
        bytes.extend(software);
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Receives the greeting of the other side.
    ///
    /// # Errors
    /// Those of the connection, and `InvalidData` with the first bytes where they are no greeting,
    /// as with a login script that prints text.
    pub fn receive(from: &mut dyn Read) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            let shown = types::path::escaped(&magic);
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!(
                    "the other side sent \"{shown}…\" instead of an agent's greeting; a login \
                     script must print nothing"
                ),
            ));
        }
        let mut fixed = [0; 3];
        from.read_exact(&mut fixed)?;
        let mut software = vec![0; usize::from(fixed[2])];
        from.read_exact(&mut software)?;
        Ok(Self {
            protocol: u16::from_le_bytes([fixed[0], fixed[1]]),
            software: types::path::escaped(&software),
        })
    }
}

/// A message that has arrived.
#[derive(Debug)]
pub struct Frame<M> {
    /// Number of the request.
    pub id: u64,
    /// The message.
    pub message: M,
    /// Content that belongs to it.
    pub data: Vec<u8>,
}

/// Encodes a message, without its data.
///
/// # Errors
/// `InvalidInput` for a message that is too long for a frame.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>> {
    let head = postcard::to_stdvec(message).map_err(|error| invalid(&error.to_string()))?;
    if head.len() > REMOTE_HEAD_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidInput, "message too long"));
    }
    Ok(head)
}

/// Decodes a message.
///
/// # Errors
/// `InvalidData` for bytes that are no message, or more than one.
pub fn decode<M: DeserializeOwned>(head: &[u8]) -> Result<M> {
    match postcard::take_from_bytes(head) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(invalid("a message has bytes after its end")),
        Err(error) => Err(invalid(&format!("a message cannot be read: {error}"))),
    }
}

/// A frame that is ready to be sent.
pub struct Sealed<'d> {
    /// Prefix and message; or prefix and both, compressed.
    start: Vec<u8>,
    /// Data that follow.
    data: &'d [u8],
}

/// Makes the frame of an encoded message with its data.
///
/// # Errors
/// `InvalidInput` for too much data.
pub fn seal<'d>(id: u64, head: &[u8], data: &'d [u8], packer: &Packer) -> Result<Sealed<'d>> {
    if data.len() > REMOTE_DATA_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidInput, "too much data in a message"));
    }
    let compressed = packer.pack([head, data]);
    let packed_bytes = compressed.as_ref().map_or(0, Vec::len);
    let mut start = Vec::with_capacity(PREFIX_BYTES + packed_bytes.max(head.len()));
    for length in [head.len(), data.len(), packed_bytes] {
        start.extend((length as u32).to_le_bytes());
    }
    start.extend(id.to_le_bytes());
    start.extend(checksum(id, head, data).to_le_bytes());
    start.extend_from_slice(compressed.as_deref().unwrap_or(head));
    Ok(Sealed { start, data: if compressed.is_some() { &[] } else { data } })
}

impl Sealed<'_> {
    /// Sends the frame.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&self, to: &mut dyn Write) -> Result<()> {
        to.write_all(&self.start)?;
        to.write_all(self.data)?;
        to.flush()
    }
}

/// Sends an encoded message with its data as they are.
///
/// # Errors
/// Those of the connection, and `InvalidInput` for too much data.
pub fn send(to: &mut dyn Write, id: u64, head: &[u8], data: &[u8]) -> Result<()> {
    seal(id, head, data, &Packer::default())?.send(to)
}

/// Receives a message with its data; `None` at the end of the connection.
///
/// # Errors
/// Those of the connection, and `InvalidData` for a frame that is too long, whose checksum is not
/// that of its content, or that is no message.
pub fn receive<M: DeserializeOwned>(from: &mut dyn Read) -> Result<Option<Frame<M>>> {
    let mut prefix = [0; PREFIX_BYTES];
    if !begins(from, &mut prefix)? {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().unwrap_or_default());
    let long = |at: usize| u64::from_le_bytes(prefix[at..at + 8].try_into().unwrap_or_default());
    let [head_bytes, data_bytes, packed_bytes] = [0, 4, 8].map(|at| number(at) as usize);
    let is_short = head_bytes <= REMOTE_HEAD_BYTES_MAX && data_bytes <= REMOTE_DATA_BYTES_MAX;
    if !is_short || packed_bytes > head_bytes + data_bytes {
        return Err(invalid("a message is longer than any that is allowed"));
    }
    let (head, data) = if packed_bytes == 0 {
        let (mut head, mut data) = (vec![0; head_bytes], vec![0; data_bytes]);
        from.read_exact(&mut head)?;
        from.read_exact(&mut data)?;
        (head, data)
    } else {
        let mut packed = vec![0; packed_bytes];
        from.read_exact(&mut packed)?;
        let mut head = unpack(&packed, head_bytes + data_bytes)?;
        let data = head.split_off(head_bytes);
        (head, data)
    };
    let id = long(12);
    if checksum(id, &head, &data) != long(20) {
        return Err(invalid("checksum mismatch in a message"));
    }
    let message = decode(&head)?;
    Ok(Some(Frame { id, message, data }))
}

/// Reads the prefix of a frame; false where the connection ends before it.
fn begins(from: &mut dyn Read, prefix: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    while filled < prefix.len() {
        match from.read(&mut prefix[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn checksum(id: u64, head: &[u8], data: &[u8]) -> u64 {
    let mut sum = Crc64Nvme::new();
    sum.update(&id.to_le_bytes());
    sum.update(head);
    sum.update(data);
    sum.finish().0
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}
