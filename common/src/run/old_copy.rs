//! Directory of `--link-dest` or `--compare-dest`: as with rsync(1), a relative one is taken from
//! the target on.

use crate::surface::reporter::Reporter;
use ops::copy::options::{CopyOptions, OldCopy, Unchanged};
use ops::resolver::StoreResolver;
use store::opening::Symlinks;
use types::entry::Kind;
use types::error::{Error, Side};
use types::exit::Exit;
use types::operand::placement::Given;
use types::path::{escaped, join};

const NO_LINKS: &str = "--link-dest: objects have no hard links, so leave it out";

/// Replaces a relative path by where it leads. One that leads nowhere from the target on, and
/// somewhere from the current directory on, is taken from there, and a line says so.
///
/// # Errors
/// One line: why there is no such directory, or none is of use.
pub(super) fn locate(
    resolver: &StoreResolver,
    target: &[u8],
    options: &mut CopyOptions,
    reporter: &mut Reporter,
) -> Result<(), (Exit, String)> {
    let Some(old) = options.sync.as_mut().and_then(|sync| sync.old_copy.as_mut()) else {
        return Ok(());
    };
    let is_object = resolver.is_object(Side::Target, target);
    if is_object && old.unchanged == Unchanged::Linked {
        return Err((Exit::Usage, NO_LINKS.to_owned()));
    }
    if !is_object && resolver.is_remote(target) && old.path.starts_with(b"/") {
        return Err((Exit::Usage, on_another_host(old.unchanged.option())));
    }
    if is_object || !is_relative(resolver, &old.path) {
        return Ok(());
    }
    let from_target = from_target(resolver, target, &old.path);
    let Err(error) = look(resolver, &from_target) else {
        old.path = from_target;
        return Ok(());
    };
    let (option, given, sought) =
        (old.unchanged.option(), escaped(&old.path), escaped(&from_target));
    let why = format!("{option} \"{given}\" is relative to TARGET: \"{sought}\": {}", error.cause);
    look(resolver, &old.path).map_err(|_| (Exit::Unusable, why.clone()))?;
    reporter.warn(&format!("{why}; \"{given}\" of the current directory is used instead"));
    Ok(())
}

fn on_another_host(option: &str) -> String {
    format!(
        "{option}: TARGET is on another host; name the directory there as HOST:PATH, or relative to \
         TARGET"
    )
}

/// Returns the directory and its use as a line of the header.
pub(super) fn words(old: &OldCopy) -> String {
    let path = escaped(&old.path);
    match old.unchanged {
        Unchanged::Linked => format!("  hard links to unchanged files in {path}"),
        Unchanged::LeftOut => format!("  without files that are unchanged in {path}"),
    }
}

fn is_relative(resolver: &StoreResolver, path: &[u8]) -> bool {
    let is_url = path.windows(3).any(|part| part == b"://");
    !path.starts_with(b"/")
        && !is_url
        && !resolver.is_object(Side::Target, path)
        && !resolver.is_remote(path)
}

fn look(resolver: &StoreResolver, path: &[u8]) -> Result<Kind, Error> {
    resolver.look(Side::Target, path, Symlinks::Follow).map(|found| found.kind)
}

/// A target that is a file, or that will be made, is no directory to begin at, but its place is
/// known.
fn from_target(resolver: &StoreResolver, target: &[u8], given: &[u8]) -> Vec<u8> {
    if look(resolver, target).is_ok_and(|kind| kind == Kind::Directory) {
        return join(target, given);
    }
    let above = || Given::new(target).parent();
    match given.strip_prefix(b"..") {
        Some(b"") => above(),
        Some([b'/', rest @ ..]) => join(&above(), rest),
        _ => join(target, given),
    }
}
