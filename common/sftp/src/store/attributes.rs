//! Setting of attributes, one kind in each request: a server applies all of one request in an order
//! of its own, and does not tell which of them failed.

use types::entry::{Attributes, Kind, Metadata, Owner, Preserved, SET_ID_BITS, Time, Times};
use types::error::{Cause, Error, Op, Result};

use crate::answers::{self, FAILURE};
use crate::host::Host;
use crate::packet::{self, Attrs, Packet};
use crate::session::{Extension, Handle, Pending};

/// Entry whose attributes are set.
pub(super) enum Holder<'h> {
    /// Open file.
    File(&'h Handle),
    /// Entry of that type at a path.
    Entry(&'h Host, &'h [u8], Kind),
}

impl Holder<'_> {
    fn begin(&self, op: Op, attrs: &Attrs) -> Result<Pending> {
        match self {
            Self::File(handle) => {
                handle.send(op, &handle.packet(packet::Kind::Fsetstat).attrs(attrs))
            }
            Self::Entry(host, path, _) => {
                let session = host.session(op)?;
                let request = if session.server().has(Extension::Lsetstat) {
                    Packet::extended(Extension::Lsetstat.name()).text(path)
                } else {
                    Packet::of(packet::Kind::Setstat, path)
                };
                session.send(op, &request.attrs(attrs))
            }
        }
    }

    fn end(&self, op: Op, pending: Option<Pending>) -> Result<()> {
        let Some(pending) = pending else { return Ok(()) };
        let reply = pending.wait(op)?;
        match self {
            Self::File(_) => answers::done_by_handle(op, reply),
            Self::Entry(..) => answers::done(op, reply),
        }
    }

    /// Sets the mode. A system without fchmodat2(2) or `/proc` sets none without following links.
    fn end_mode(&self, pending: Option<Pending>, mode: Option<u32>) -> Result<()> {
        match (self.end(Op::SetMode, pending), self) {
            (Err(error), Self::Entry(host, path, _)) if is_refused(&error) => {
                let attrs = Attrs { mode, ..Attrs::default() };
                let request = Packet::of(packet::Kind::Setstat, path).attrs(&attrs);
                answers::done(Op::SetMode, host.ask(Op::SetMode, &request)?)
            }
            (ended, _) => ended,
        }
    }

    /// Returns whether the server can set attributes of the entry: not those of a link, if it
    /// follows it.
    fn is_settable(&self) -> Result<bool> {
        match self {
            Self::Entry(host, _, Kind::Symlink) => host.has(Op::SetTimes, Extension::Lsetstat),
            _ => Ok(true),
        }
    }
}

/// Returns a time in the unit of the protocol: the nearest one that it has.
fn seconds(time: Time) -> u32 {
    time.seconds.clamp(0, u32::MAX.into()) as u32
}

/// Returns whether a time is not the one that the protocol has for it.
fn is_cut(time: Time) -> bool {
    time.nanoseconds != 0 || i64::from(seconds(time)) != time.seconds
}

fn of_owner(owner: Owner) -> Attrs {
    Attrs { owner: Some(owner), ..Attrs::default() }
}

fn of_mode(mode: u32) -> Attrs {
    Attrs { mode: Some(mode), ..Attrs::default() }
}

fn of_times(times: &Times) -> Attrs {
    Attrs { times: Some((seconds(times.atime), seconds(times.mtime))), ..Attrs::default() }
}

/// Sets attributes, the owner first, since that clears set-id bits. `now` reads the present ones.
pub(super) fn set(
    holder: &Holder<'_>,
    attributes: &Attributes,
    now: &dyn Fn() -> Result<Metadata>,
) -> Result<Preserved> {
    let xattrs_lost = attributes.xattrs.as_ref().is_some_and(|xattrs| !xattrs.is_empty());
    if !holder.is_settable()? {
        let attributes_lost = attributes.owner.is_some() || attributes.times.is_some();
        return Ok(Preserved { attributes_lost, xattrs_lost, ..Preserved::ALL });
    }
    let owner = attributes.owner.map(|owner| begin_owner(holder, owner, now)).transpose()?;
    // Whether set-id bits are set depends on the owner. Other bits need not wait for it.
    let is_free = attributes.mode.is_none_or(|mode| mode & SET_ID_BITS == 0);
    let plain = attributes.mode.filter(|_| is_free);
    let mode = plain.map(|mode| holder.begin(Op::SetMode, &of_mode(mode))).transpose()?;
    let preserved = match owner {
        Some((owner, pending)) => end_owner(holder, owner, pending, now)?,
        None => Preserved::ALL,
    };
    holder.end_mode(mode, plain)?;
    if !is_free {
        let owner_now = || now().map(|now| Owner::from(&now));
        let mode = attributes.mode_to_set(preserved, owner_now)?;
        let pending = mode.map(|mode| holder.begin(Op::SetMode, &of_mode(mode))).transpose()?;
        holder.end_mode(pending, mode)?;
    }
    let times = attributes.times.as_ref();
    let pending = times.map(|times| holder.begin(Op::SetTimes, &of_times(times))).transpose()?;
    holder.end(Op::SetTimes, pending)?;
    let timestamps_truncated = times.is_some_and(|times| is_cut(times.mtime));
    Ok(Preserved { xattrs_lost, timestamps_truncated, ..preserved })
}

fn begin_owner(
    holder: &Holder<'_>,
    owner: Owner,
    now: &dyn Fn() -> Result<Metadata>,
) -> Result<(Owner, Pending)> {
    let owner = if owner.is_whole() { owner } else { owner.or(Owner::from(&now()?)) };
    Ok((owner, holder.begin(Op::SetOwner, &of_owner(owner))?))
}

/// Returns which of user and group could not be set. Where the server does not let this user give
/// files away, the group alone is tried.
fn end_owner(
    holder: &Holder<'_>,
    owner: Owner,
    pending: Pending,
    now: &dyn Fn() -> Result<Metadata>,
) -> Result<Preserved> {
    match holder.end(Op::SetOwner, Some(pending)) {
        Err(error) if is_refused(&error) => {}
        set => return set.map(|()| Preserved::ALL),
    }
    let before = now()?;
    let user_lost = owner.uid != before.uid;
    let mut group_lost = owner.gid != before.gid;
    if user_lost && group_lost {
        let alone = Owner { uid: before.uid, gid: owner.gid };
        let pending = holder.begin(Op::SetOwner, &of_owner(alone))?;
        group_lost = holder.end(Op::SetOwner, Some(pending)).is_err();
    }
    Ok(Preserved { user_lost, group_lost, ..Preserved::ALL })
}

/// Returns whether a server refuses a change for lack of privileges or support.
fn is_refused(error: &Error) -> bool {
    let refused = [libc::EACCES, libc::EOPNOTSUPP, libc::EINVAL].map(Cause::System);
    error.cause == FAILURE || refused.contains(&error.cause)
}
