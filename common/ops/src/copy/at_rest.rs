//! Opening of a source file in such a way that later changes show.

use std::time::Duration;

use super::env::Env;
use crate::walk::Visit;
use host::interrupt;
use store::SourceFile;
use types::entry::{Metadata, Time};
use types::error::{Cause, Error, Op};
use types::limits::{AT_REST_ATTEMPTS_MAX, AT_REST_TIME};

/// Opens the source file. Where changes show by nothing but a modification time in whole seconds, a
/// file that was changed a moment ago is opened when its second is over: a later change has another
/// time then.
pub(super) fn open(
    env: &Env<'_>,
    entry: &Visit<'_>,
) -> Result<(Box<dyn SourceFile>, Metadata), Error> {
    until_at_rest(env, entry, || {
        let source = open_source(env, entry)?;
        let metadata = source.metadata()?;
        Ok((metadata, (source, metadata)))
    })
}

/// Returns the metadata of a source file that has changed, before it is read once more.
pub(super) fn metadata_again(
    env: &Env<'_>,
    entry: &Visit<'_>,
    source: &dyn SourceFile,
) -> Result<Metadata, Error> {
    until_at_rest(env, entry, || source.metadata().map(|metadata| (metadata, metadata)))
}

fn until_at_rest<T>(
    env: &Env<'_>,
    entry: &Visit<'_>,
    look: impl Fn() -> Result<(Metadata, T), Error>,
) -> Result<T, Error> {
    if env.root(entry.dir_ref).source.capabilities().tells_change_times {
        return look().map(|(_, found)| found);
    }
    for _ in 0..AT_REST_ATTEMPTS_MAX {
        if interrupt::is_wanted() {
            return Err(Op::Copy.failed(Cause::Stopped));
        }
        let now = Time::now();
        let (metadata, found) = look()?;
        match restless_for(metadata.mtime, now) {
            None => return Ok(found),
            Some(time) => std::thread::sleep(time),
        }
    }
    Err(Op::Copy.failed(Cause::Changed))
}

/// Opens the source file. An object that a service copies itself is opened without a request for
/// its content.
fn open_source(env: &Env<'_>, entry: &Visit<'_>) -> Result<Box<dyn SourceFile>, Error> {
    let from = env.root(entry.dir_ref).source.service();
    if from.is_some() && from == env.target(entry.dir_ref).service() {
        entry.dir.open_file(entry.name)
    } else {
        entry.dir.open_listed(entry.name, entry.hint)
    }
}

/// Returns the time after which a change has another modification time than that one, in whole
/// seconds; `None` where it has now. Clocks may differ by a second.
fn restless_for(mtime: Time, now: Time) -> Option<Duration> {
    let rest = Time { nanoseconds: 0, ..mtime }.plus(AT_REST_TIME);
    let seconds = u64::try_from(rest.seconds.saturating_sub(now.seconds)).ok()?;
    let left = Duration::from_secs(seconds)
        .checked_sub(Duration::from_nanos(now.nanoseconds.into()))
        .filter(|left| !left.is_zero())?;
    (left <= 2 * AT_REST_TIME).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_rests_when_its_second_is_over_by_any_clock() {
        let at = |seconds, nanoseconds| Time { seconds, nanoseconds };
        let rests = |mtime, now| restless_for(mtime, now).map(|left| left.as_millis());
        assert_eq!(rests(at(100, 0), at(102, 0)), None);
        assert_eq!(rests(at(100, 0), at(500, 0)), None);
        assert_eq!(rests(at(100, 900_000_000), at(101, 250_000_000)), Some(750));
        assert_eq!(rests(at(100, 0), at(100, 0)), Some(2000));
        assert_eq!(rests(at(101, 0), at(100, 0)), Some(3000));
        // A time in the future is that of a program, and no clock's.
        assert_eq!(rests(at(100_000, 0), at(100, 0)), None);
        assert_eq!(rests(at(i64::MAX, 0), at(100, 0)), None);
    }
}
