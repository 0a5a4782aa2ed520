//! Listing a range of names, and leaving parts of it to others while it lasts.
//!
//! Whoever lists and is asked for work looks ahead: a page from somewhere in the middle of what is left. If
//! that has names, they are told of as if they had come in their turn, and what comes after them is left to
//! others. If it has none, that is the end of the range.

#[cfg(test)]
mod tests;

use crate::list::pages::{Circle, From, KeyPage, Page, entry_of};
use crate::list::subtrees::{Habits, Subtrees};
use store::NameReader;
use types::entry::Hint;
use types::error::{Cause, Op, Result};
use types::object::keys_below::KeysBelow;
use types::object::span::{Cut, NamePage, Order, Span, Told};
use types::service::{ServiceFault, Unfit};

/// Where pages come from.
pub(crate) trait Pages {
    /// The page that begins there.
    fn page(&self, from: From<'_>) -> Result<Page>;

    /// The page of all keys that begins there. `within` is a common prefix, or empty.
    fn keys(&self, within: &str, from: From<'_>) -> Result<KeyPage>;

    /// How the service lists.
    fn habits(&self) -> &Habits;

    /// Whether there need be no key: a bucket may be empty, and a directory in it is what keys begin with.
    fn may_be_empty(&self) -> bool {
        true
    }
}

/// Tells of all names in a range that are not left to others.
pub(crate) fn read(pages: &impl Pages, mut span: Span, reader: &mut dyn NameReader) -> Result<()> {
    let mut subtrees = Subtrees::of(&span, reader, pages.habits());
    let must_have_keys = span == Span::default() && !pages.may_be_empty() && !reader.may_be_empty();
    let check = |has_keys: bool| {
        let no_keys = Op::List.failed(Cause::Service(ServiceFault::NoKeys));
        if has_keys || !must_have_keys { Ok(()) } else { Err(no_keys) }
    };
    if subtrees.is_little_expected(pages.habits())
        && let Some(all) = subtrees.read_all(pages)
    {
        read_known(&all, reader);
        return check(!all.is_empty());
    }
    let (mut circle, mut has_keys) = (Circle::default(), false);
    circle.pass(span.token.clone())?;
    loop {
        let page = match (&span.token, &*span.after) {
            (Some(token), _) => pages.page(From::Token(token))?,
            (None, "") => pages.page(From::Start)?,
            (None, after) => pages.page(From::After(after))?,
        };
        has_keys |= page.has_keys();
        // What is told of now becomes work for others, who then seem to have enough.
        let wants_to_share = reader.wants_to_share();
        let directories = tell_page(&mut span, &page, &mut subtrees, reader);
        span.token = circle.pass(page.next.clone())?;
        let is_last = span.token.is_none() || span.ends_with(&page.names);
        if !is_last {
            span.earn();
            if wants_to_share && let Some(cut) = span.cut(&page.names.names(), fastrand::u64(..)) {
                look_ahead(pages, &mut span, &cut, reader)?;
            }
        }
        tell_directories(pages, &directories, &mut subtrees, reader)?;
        if is_last {
            break;
        }
    }
    span.finish(&mut |told| tell(told, reader));
    check(has_keys)
}

/// Tells of all names in a directory all of whose keys are known.
pub(crate) fn read_known(keys: &KeysBelow, reader: &mut dyn NameReader) {
    let folded = keys.fold();
    let marker = keys.iter().find(|(key, _)| key.is_empty());
    tell_marker(marker.map(|(_, listed)| listed.size_bytes), reader);
    let directories: Vec<_> =
        folded.directories.keys().map(|name| (name.clone(), Hint::Directory)).collect();
    let page = NamePage::new(folded.objects, directories);
    let mut span = Span::default();
    span.take(&page, &mut |told| match told {
        Told::Entry(key, Hint::Directory) => {
            tell_directory(key, folded.directories.get(key), reader);
        }
        _ => tell(told, reader),
    });
    span.finish(&mut |told| tell(told, reader));
}

fn look_ahead(
    pages: &impl Pages,
    span: &mut Span,
    cut: &Cut,
    reader: &mut dyn NameReader,
) -> Result<()> {
    span.pay();
    let Ok(page) = pages.page(From::After(&cut.at)) else {
        // There are services that begin nowhere but at the beginning.
        span.credit = 0;
        return Ok(());
    };
    if page.names.names().first().is_some_and(|first| **first <= *cut.at) {
        // Nor does this one, though it does not say so.
        span.credit = 0;
        return Ok(());
    }
    let whole = span.clone();
    let mut rest = span.split_off(cut);
    let has_names = rest.meets(&page.names);
    let mut subtrees = Subtrees::of(&rest, reader, pages.habits());
    let directories = tell_page(&mut rest, &page, &mut subtrees, reader);
    if page.next.is_some() && !rest.ends_with(&page.names) {
        rest.token = page.next;
        rest.earn();
        reader.share(rest);
    } else if has_names {
        rest.finish(&mut |told| tell(told, reader));
    } else {
        *span = whole;
        span.end_at(cut);
    }
    tell_directories(pages, &directories, &mut subtrees, reader)
}

/// Tells of a page, but for directories of which more may be known soon: it returns them.
fn tell_page(
    span: &mut Span,
    page: &Page,
    subtrees: &mut Subtrees,
    reader: &mut dyn NameReader,
) -> Vec<String> {
    for key in &page.outside {
        reader.unfit(key.as_bytes(), Unfit::Outside);
    }
    tell_marker(page.marker_bytes, reader);
    let count = page.names.entries().filter(|(_, hint)| *hint == Hint::Directory).count();
    let is_deep = subtrees.expect(count, reader.wants_to_share());
    let mut directories = Vec::new();
    span.take(&page.names, &mut |told| match told {
        Told::Entry(key, Hint::Directory) if is_deep => directories.push(key.to_owned()),
        _ => tell(told, reader),
    });
    if span.order == Order::Other {
        subtrees.give_up();
    }
    directories
}

/// A directory's marker is no entry; but content is lost without one.
fn tell_marker(bytes: Option<u64>, reader: &mut dyn NameReader) {
    if bytes.is_some_and(|bytes| bytes > 0) {
        reader.unfit(b"", Unfit::MarkerContent);
    }
}

fn tell_directories(
    pages: &impl Pages,
    directories: &[String],
    subtrees: &mut Subtrees,
    reader: &mut dyn NameReader,
) -> Result<()> {
    for key in directories {
        let below = subtrees.find(pages, key, reader)?;
        tell_directory(key, below.as_ref(), reader);
    }
    subtrees.page_ends();
    Ok(())
}

fn tell(told: Told<'_>, reader: &mut dyn NameReader) {
    match told {
        Told::Unfit(key, why) => {
            // What could be no entry alone, either, is told as that.
            let why = entry_of(key, Hint::Unknown).err().unwrap_or(why);
            reader.unfit(key.as_bytes(), why);
        }
        Told::Entry(key, hint) => match entry_of(key, hint) {
            Ok((name, hint)) => reader.name(&name, hint),
            Err(why) => reader.unfit(key.as_bytes(), why),
        },
    }
}

fn tell_directory(key: &str, below: Option<&KeysBelow>, reader: &mut dyn NameReader) {
    match (below, entry_of(key, Hint::Directory)) {
        (Some(below), Ok((name, _))) => reader.directory(&name, below),
        _ => tell(Told::Entry(key, Hint::Directory), reader),
    }
}
