//! Listings of a key range, parts of which are handed to other threads and ranks while the listing
//! is under way.
//!
//! S3 returns at most 1000 keys per request, each page only after the one before, so a single
//! listing of a flat prefix with millions of keys would keep one thread busy and all others idle. A
//! listing that is asked to share work therefore requests a page from the middle of the remaining
//! range. If that page has names, they are reported as if they had come in turn, and the range
//! after them becomes a task for others. If it has none, the range ends before it.
//! [`types::object::key_range`] says where a range may be cut.
//!
//! Where no part may be handed over, several threads of this listing read the parts
//! ([`crate::list::at_once`]).
//!
//! Two directories that are compared by names are read in the same ranges of entries. Each part is
//! then listed by whoever it was handed to, on both sides, because the names of both must come
//! together.

#[cfg(test)]
mod tests;

use crate::list::at_once;
use crate::list::pages::{Circle, From, Page, Pages, entry_of, nonsense};
use crate::list::recursive_listing::RecursiveListing;
use store::NameReader;
use types::entry::Hint;
use types::error::{Cause, Op, Result};
use types::object::key_range::{Cut, KeyRange, NamePage, Order, Told, just_behind};
use types::object::keys_below::KeysBelow;
use types::service::{InvalidKey, ServiceFault};

/// Reports all names in a key range to `reader`, except those of ranges that it hands over to
/// others.
///
/// # Errors
/// Returns the error of a request, a protocol error if the service repeats pages, and
/// [`ServiceFault::NoKeys`] if a directory that another listing has named has no keys, or a range
/// in which another request has seen some. A protocol error also ends a listing that began after a
/// name and then turned out to have no order.
pub(crate) fn read(
    pages: &impl Pages,
    mut key_range: KeyRange,
    reader: &mut dyn NameReader,
) -> Result<()> {
    let mut recursive_listing = RecursiveListing::of(&key_range, reader, pages.listing_order());
    // Another listing has named this directory, so it has keys. An empty answer is then no empty
    // directory but a lost or late one; accepting it would let a mirror delete what is below it.
    // So is one of a range at whose beginning a probe has seen keys.
    let must_have_keys = key_range.has_keys
        || key_range.is_untouched() && !pages.may_be_empty() && !reader.may_be_empty();
    let check = |has_keys: bool| {
        let no_keys = Op::List.failed(Cause::Service(ServiceFault::NoKeys));
        if has_keys || !must_have_keys { Ok(()) } else { Err(no_keys) }
    };
    // The last tree fitted into one page of keys, so this one is likely to: one request instead of
    // one for each directory in it.
    if recursive_listing.is_little_expected(pages.listing_order())
        && let Some(all) = recursive_listing.read_all(pages)
    {
        read_known(&all, reader);
        return check(!all.is_empty());
    }
    let (mut circle, mut has_keys, mut begins_before) = (Circle::default(), false, false);
    // A task may resume in the middle of a listing, with the token of another rank.
    circle.pass(key_range.token.clone())?;
    loop {
        let page = match (&key_range.token, &*key_range.after) {
            (Some(token), _) => pages.page(From::Token(token))?,
            (None, "") => pages.page(From::Start)?,
            (None, after) if key_range.is_of_entries => {
                let page = page_after(pages, after);
                begins_before = page.is_none();
                // All names are read then, and those outside the range are left out.
                page.map_or_else(|| pages.page(From::Start), Ok)?
            }
            (None, after) => pages.page(From::After(after))?,
        };
        has_keys |= page.has_keys();
        // The question comes before names are reported: each becomes a task, after which idle
        // threads seem to have enough work, although most names are still to come.
        let wants_to_share = reader.wants_to_share();
        let directories = tell_page(&mut key_range, &page, &mut recursive_listing, reader);
        key_range.token = circle.pass(page.next.clone())?;
        let is_last = key_range.token.is_none() || key_range.ends_with(&page.names);
        let mut alone = None;
        if !is_last {
            key_range.earn();
            if wants_to_share
                && !begins_before
                && let Some(cut) = key_range.cut(&page.names.names(), fastrand::u64(..))
            {
                if reader.may_share() {
                    look_ahead(pages, &mut key_range, &cut, reader)?;
                } else if key_range.is_of_entries {
                    // A range of entries is not ended by a page that only looks empty.
                    alone = pages.threads().permit(reader.listing_threads());
                }
            }
        }
        tell_directories(pages, &directories, &mut recursive_listing, reader)?;
        if let Some(permit) = alone {
            // This page has shown keys; what is left may have none.
            let rest = KeyRange { has_keys: false, ..key_range };
            return at_once::read(&permit, pages, rest, reader);
        }
        if is_last {
            break;
        }
    }
    let begins_after = !key_range.after.is_empty() && !begins_before;
    if key_range.is_of_entries && begins_after && key_range.order == Order::Other {
        return Err(nonsense("goes on from a key in no order"));
    }
    let divided_names = key_range.divided_names();
    key_range.finish(&mut |told| tell(told, reader));
    divided_names.iter().try_for_each(|name| tell_entry(pages, name, reader))?;
    check(has_keys)
}

/// Returns the page that begins after a name; `None` where the service rejects or ignores that
/// position, or lists in no order.
fn page_after(pages: &impl Pages, after: &str) -> Option<Page> {
    let page = pages.page(From::After(after)).ok()?;
    let is_behind = page.names.names().first().is_none_or(|first| **first > *after);
    (is_behind && page.names.is_ordered()).then_some(page)
}

/// Reports an entry that is looked up by its name, as a listing of all its keys would.
fn tell_entry(pages: &impl Pages, name: &str, reader: &mut dyn NameReader) -> Result<()> {
    let mut alone = KeyRange::default();
    alone.take(&pages.entry(name)?, &mut |told| tell(told, reader));
    alone.finish(&mut |told| tell(told, reader));
    Ok(())
}

/// Returns whether a listing can begin after any name, as two directories need that are read in the
/// same ranges. A small directory is read as a whole wherever it begins.
pub(crate) fn is_divisible(pages: &impl Pages) -> bool {
    let Ok(first) = pages.page(From::Start) else { return false };
    if first.next.is_none() || !first.names.is_ordered() {
        return first.next.is_none();
    }
    // The position lies behind all names of the page, and no directory has its name.
    let names = first.names.names();
    let last = names.last().map_or("", |last| last.strip_suffix('/').unwrap_or(last));
    let after = just_behind(last, fastrand::u64(..));
    page_after(pages, &after).is_some_and(|page| !page.names.names().is_empty())
}

/// Reports all names in a directory all of whose keys are known, in the way and with the checks of
/// a listing, but without any request.
pub(crate) fn read_known(keys: &KeysBelow, reader: &mut dyn NameReader) {
    let folded = keys.fold();
    let marker = keys.iter().find(|(key, _)| key.is_empty());
    tell_marker(marker.map(|(_, listed)| listed.size_bytes), reader);
    let directories: Vec<_> =
        folded.directories.keys().map(|name| (name.clone(), Hint::Directory)).collect();
    let page = NamePage::new(folded.objects, directories);
    let mut key_range = KeyRange::default();
    key_range.take(&page, &mut |told| match told {
        Told::Entry(key, Hint::Directory) => {
            tell_directory(key, folded.directories.get(key), reader);
        }
        _ => tell(told, reader),
    });
    key_range.finish(&mut |told| tell(told, reader));
}

/// Requests a page after `cut`. If it has names of the range, `key_range` ends at the cut and the
/// rest is handed over; if not, the whole range ends there. A failed or misplaced page only means
/// that this listing is not cut any more.
fn look_ahead(
    pages: &impl Pages,
    key_range: &mut KeyRange,
    cut: &Cut,
    reader: &mut dyn NameReader,
) -> Result<()> {
    key_range.pay();
    let Ok(page) = pages.page(From::After(&cut.at)) else {
        // Some services reject a position that is no existing key, or any position but the
        // beginning.
        key_range.credit = 0;
        return Ok(());
    };
    if page.names.names().first().is_some_and(|first| **first <= *cut.at) {
        // This service ignored the position: the page begins before the cut. Its names were or will
        // be reported by the listing itself.
        key_range.credit = 0;
        return Ok(());
    }
    let whole = key_range.clone();
    let mut rest = key_range.split_off(cut);
    let has_names = rest.meets(&page.names);
    let goes_on = page.next.is_some() && !rest.ends_with(&page.names);
    if rest.is_of_entries && (has_names || goes_on) {
        // Its names on both sides are to come together, so the page is requested once more.
        rest.has_keys = page.has_keys();
        reader.share(rest);
        return Ok(());
    }
    let mut recursive_listing = RecursiveListing::of(&rest, reader, pages.listing_order());
    let directories = tell_page(&mut rest, &page, &mut recursive_listing, reader);
    if goes_on {
        rest.token = page.next;
        rest.earn();
        reader.share(rest);
    } else if has_names {
        rest.finish(&mut |told| tell(told, reader));
    } else {
        // Nothing is behind the cut, so the listing keeps its range, which now ends earlier.
        *key_range = whole;
        key_range.end_at(cut);
    }
    tell_directories(pages, &directories, &mut recursive_listing, reader)
}

/// Reports the names of a page. Returns the directories that it holds back, because a recursive
/// listing may yield all their keys.
fn tell_page(
    key_range: &mut KeyRange,
    page: &Page,
    recursive_listing: &mut RecursiveListing,
    reader: &mut dyn NameReader,
) -> Vec<String> {
    for key in &page.outside {
        reader.invalid_key(key.as_bytes(), InvalidKey::Outside);
    }
    tell_marker(page.marker_bytes, reader);
    // Names are only held back where a recursive listing is likely to pay.
    let count = page.names.entries().filter(|(_, hint)| *hint == Hint::Directory).count();
    let is_deep = recursive_listing.expect(count, reader.wants_to_share());
    let mut directories = Vec::new();
    key_range.take(&page.names, &mut |told| match told {
        Told::Entry(key, Hint::Directory) if is_deep => directories.push(key.to_owned()),
        _ => tell(told, reader),
    });
    // A recursive listing can show that a directory is complete only by the order of keys.
    if key_range.order == Order::Other {
        recursive_listing.give_up();
    }
    directories
}

/// Reports a directory marker that has content as an invalid key, since a directory cannot hold
/// content and copying it would lose bytes. An empty marker is no entry and is not reported.
fn tell_marker(bytes: Option<u64>, reader: &mut dyn NameReader) {
    if bytes.is_some_and(|bytes| bytes > 0) {
        reader.invalid_key(b"", InvalidKey::MarkerContent);
    }
}

/// Reports the directories that were held back, each with all its keys where the recursive listing
/// has them.
fn tell_directories(
    pages: &impl Pages,
    directories: &[String],
    recursive_listing: &mut RecursiveListing,
    reader: &mut dyn NameReader,
) -> Result<()> {
    for key in directories {
        let below = recursive_listing.find(pages, key, reader)?;
        tell_directory(key, below.as_ref(), reader);
    }
    recursive_listing.page_ends();
    Ok(())
}

/// Reports a name of a listing as an entry, or as a key that no entry can have.
fn tell(told: Told<'_>, reader: &mut dyn NameReader) {
    match told {
        Told::InvalidKey(key, why) => {
            // A key that would be invalid by itself is reported for that reason, rather than for
            // its conflict with another key.
            let why = entry_of(key, Hint::Unknown).err().unwrap_or(why);
            reader.invalid_key(key.as_bytes(), why);
        }
        Told::Entry(key, hint) => match entry_of(key, hint) {
            Ok((name, hint)) => reader.name(&name, hint),
            Err(why) => reader.invalid_key(key.as_bytes(), why),
        },
    }
}

fn tell_directory(key: &str, below: Option<&KeysBelow>, reader: &mut dyn NameReader) {
    match (below, entry_of(key, Hint::Directory)) {
        (Some(below), Ok((name, _))) => reader.directory(&name, below),
        _ => tell(Told::Entry(key, Hint::Directory), reader),
    }
}
