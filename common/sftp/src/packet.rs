//! Packets of SFTP, version 3: requests as they are built, and replies as they are read.

use std::io::{Error, ErrorKind, Read, Result, Write};

use types::entry::Owner;
use types::limits::SFTP_PACKET_BYTES_MAX;

/// Version of the protocol.
pub const VERSION: u32 = 3;

/// Types of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of the protocol")]
pub enum Kind {
    Init = 1,
    Version = 2,
    Open = 3,
    Close = 4,
    Read = 5,
    Write = 6,
    Lstat = 7,
    Fstat = 8,
    Setstat = 9,
    Fsetstat = 10,
    Opendir = 11,
    Readdir = 12,
    Remove = 13,
    Mkdir = 14,
    Rmdir = 15,
    Realpath = 16,
    Stat = 17,
    Rename = 18,
    Readlink = 19,
    Symlink = 20,
    Extended = 200,
}

/// Types of replies.
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

/// Flags of [`Attrs`].
const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_EXTENDED: u32 = 1 << 31;

/// Bytes of a packet before its type.
const LENGTH_BYTES: usize = 4;

/// Attributes, as far as they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attrs {
    /// Length in bytes.
    pub size_bytes: Option<u64>,
    /// Owner and group.
    pub owner: Option<Owner>,
    /// Mode with the type of the entry.
    pub mode: Option<u32>,
    /// Access and modification times in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// Status of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Code.
    pub code: u32,
    /// Words of the server; not yet made printable.
    pub message: Vec<u8>,
}

/// Entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name; not yet validated.
    pub name: Vec<u8>,
    /// Attributes of it.
    pub attrs: Attrs,
    /// Number of hard links of it, if the line for people tells it.
    pub links: Option<u64>,
}

/// Reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the protocol")]
pub enum Reply {
    Status(Status),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<Listed>),
    Attrs(Attrs),
    Extended(Vec<u8>),
}

/// Request that has no number yet.
#[derive(Debug, Clone)]
pub struct Packet(Vec<u8>);

impl Packet {
    /// Begins a packet.
    pub fn new(kind: Kind) -> Self {
        Self(vec![0, 0, 0, 0, kind as u8, 0, 0, 0, 0])
    }

    /// Begins a packet about a path or handle.
    pub fn of(kind: Kind, name: &[u8]) -> Self {
        Self::new(kind).text(name)
    }

    /// Begins a packet of an extension.
    pub fn extended(extension: &str) -> Self {
        Self::of(Kind::Extended, extension.as_bytes())
    }

    /// Adds a number of 32 bits.
    #[must_use]
    pub fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Adds a number of 64 bits.
    #[must_use]
    pub fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Adds bytes with their length.
    #[must_use]
    pub fn text(self, bytes: &[u8]) -> Self {
        let mut packet = self.number(bytes.len() as u32);
        packet.0.extend(bytes);
        packet
    }

    /// Adds attributes.
    #[must_use]
    pub fn attrs(self, attrs: &Attrs) -> Self {
        let flag = |is_given: bool, flag: u32| if is_given { flag } else { 0 };
        let flags = flag(attrs.size_bytes.is_some(), HAS_SIZE)
            | flag(attrs.owner.is_some(), HAS_OWNER)
            | flag(attrs.mode.is_some(), HAS_MODE)
            | flag(attrs.times.is_some(), HAS_TIMES);
        let mut packet = self.number(flags);
        if let Some(size_bytes) = attrs.size_bytes {
            packet = packet.long(size_bytes);
        }
        if let Some(owner) = attrs.owner {
            packet = packet.number(owner.uid).number(owner.gid);
        }
        if let Some(mode) = attrs.mode {
            packet = packet.number(mode);
        }
        if let Some((atime, mtime)) = attrs.times {
            packet = packet.number(atime).number(mtime);
        }
        packet
    }

    /// Sends the packet as the request of that number.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&self, to: &mut dyn Write, id: u32) -> Result<()> {
        let mut bytes = self.0.clone();
        let length = (bytes.len() - LENGTH_BYTES) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[5..9].copy_from_slice(&id.to_be_bytes());
        to.write_all(&bytes)?;
        to.flush()
    }
}

/// Bytes that are read from the front; `None` where they are too few.
pub struct Bytes<'b>(pub &'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// Reads a number of 32 bits.
    pub fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Reads a number of 64 bits.
    pub fn long(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Reads bytes with their length.
    pub fn text(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn attrs(&mut self) -> Option<Attrs> {
        let flags = self.number()?;
        let has = |flag: u32| flags & flag != 0;
        let size_bytes = if has(HAS_SIZE) { Some(self.long()?) } else { None };
        let owner = if has(HAS_OWNER) {
            Some(Owner { uid: self.number()?, gid: self.number()? })
        } else {
            None
        };
        let mode = if has(HAS_MODE) { Some(self.number()?) } else { None };
        let times = if has(HAS_TIMES) { Some((self.number()?, self.number()?)) } else { None };
        let pairs = if has(HAS_EXTENDED) { self.number()? } else { 0 };
        for _ in 0..pairs {
            self.text()?;
            self.text()?;
        }
        Some(Attrs { size_bytes, owner, mode, times })
    }

    fn names(&mut self) -> Option<Vec<Listed>> {
        // The count is a claim: room is made for what is there.
        let count = self.number()?;
        let mut names = Vec::new();
        for _ in 0..count {
            let name = self.text()?.to_vec();
            let links = links_in(self.text()?);
            names.push(Listed { name, attrs: self.attrs()?, links });
        }
        Some(names)
    }

    fn reply(&mut self, kind: u8) -> Option<Reply> {
        let reply = match kind {
            STATUS => {
                let code = self.number()?;
                // Some servers omit the words.
                let message = self.text().unwrap_or_default().to_vec();
                return Some(Reply::Status(Status { code, message }));
            }
            HANDLE => Reply::Handle(self.text()?.to_vec()),
            DATA => Reply::Data(self.text()?.to_vec()),
            NAME => Reply::Names(self.names()?),
            ATTRS => Reply::Attrs(self.attrs()?),
            EXTENDED_REPLY => return Some(Reply::Extended(self.0.to_vec())),
            _ => return None,
        };
        self.0.is_empty().then_some(reply)
    }
}

/// Returns the number of hard links in the line that `ls -l` would print, which follows the mode.
/// The protocol recommends that form, and tells the number nowhere else
/// (draft-ietf-secsh-filexfer-02, section 7).
fn links_in(line: &[u8]) -> Option<u64> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|mode| mode.len() >= 10)?;
    words.next()?.parse().ok()
}

/// Receives the body of a packet: its type and the rest; `None` at the end of the connection.
///
/// # Errors
/// Those of the connection, and `InvalidData` for a packet that is empty or longer than any that is
/// allowed.
pub fn receive_body(from: &mut dyn Read) -> Result<Option<(u8, Vec<u8>)>> {
    let mut first = [0];
    if from.read(&mut first)? == 0 {
        return Ok(None);
    }
    let mut rest = [0; 3];
    from.read_exact(&mut rest)?;
    let length = u32::from_be_bytes([first[0], rest[0], rest[1], rest[2]]) as usize;
    if length == 0 || length > SFTP_PACKET_BYTES_MAX {
        let shown = types::path::escaped(&[first[0], rest[0], rest[1], rest[2]]);
        return Err(invalid(&format!(
            "the other side sent \"{shown}…\" instead of a packet or greeting of SFTP; a login \
             script must print nothing"
        )));
    }
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    let mut body = vec![0; length - 1];
    from.read_exact(&mut body)?;
    Ok(Some((kind[0], body)))
}

/// Receives a reply with the number of its request; `None` at the end of the connection.
///
/// # Errors
/// As for [`receive_body`], and `InvalidData` for what is no reply.
pub fn receive(from: &mut dyn Read) -> Result<Option<(u64, Reply)>> {
    let Some((kind, body)) = receive_body(from)? else { return Ok(None) };
    let mut bytes = Bytes(&body);
    let id = bytes.number();
    let reply = bytes.reply(kind);
    match id.zip(reply) {
        Some((id, reply)) => Ok(Some((id.into(), reply))),
        None => Err(invalid("a packet of SFTP is malformed")),
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.send(&mut bytes, 7).unwrap();
        bytes
    }

    /// Returns a reply as it would arrive.
    fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(body);
        bytes
    }

    fn received(bytes: &[u8]) -> Result<Option<(u64, Reply)>> {
        receive(&mut &*bytes)
    }

    #[test]
    fn a_request_has_the_form_of_the_protocol() {
        let bytes = sent(&Packet::of(Kind::Lstat, b"\xff"));
        assert_eq!(bytes, [0, 0, 0, 10, 7, 0, 0, 0, 7, 0, 0, 0, 1, 0xff]);
    }

    #[test]
    fn attributes_come_back_as_they_were_sent() {
        let owner = Some(Owner { uid: 1, gid: 2 });
        for attrs in [
            Attrs::default(),
            Attrs { size_bytes: Some(u64::MAX), ..Attrs::default() },
            Attrs { size_bytes: Some(1), owner, mode: Some(0o100_644), times: Some((3, 4)) },
        ] {
            let packet = sent(&Packet::new(Kind::Fstat).attrs(&attrs));
            let reply = received(&framed(ATTRS, &packet[5..])).unwrap();
            assert_eq!(reply, Some((7, Reply::Attrs(attrs))));
        }
    }

    #[test]
    fn whatever_arrives_is_refused_or_read_and_never_more() {
        let whole = [
            framed(STATUS, &[0, 0, 0, 1, 0, 0, 0, 2]),
            framed(HANDLE, &[0, 0, 0, 1, 0, 0, 0, 1, 9]),
            framed(DATA, &[0, 0, 0, 1, 0, 0, 0, 0]),
            framed(NAME, &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 65, 0, 0, 0, 0, 0, 0, 0, 0]),
            framed(ATTRS, &[0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for whole in whole {
            assert!(received(&whole).unwrap().is_some(), "{whole:?}");
            for end in 1..whole.len() {
                assert!(received(&whole[..end]).is_err(), "{whole:?} up to {end}");
            }
            for at in 0..whole.len() {
                for byte in [0, 1, 0x7f, 0xff] {
                    let mut other = whole.clone();
                    other[at] = byte;
                    let _ = received(&other);
                }
            }
        }
        assert!(received(&[]).unwrap().is_none());
        let text = received(b"Welcome to host").unwrap_err().to_string();
        assert!(text.contains("Welc") && text.contains("login script"), "{text}");
        // A count that is a lie takes no memory.
        assert!(received(&framed(NAME, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])).is_err());
        assert!(received(&framed(199, &[0, 0, 0, 1])).is_err());
    }
}
