//! Listing a range of names, and leaving parts of it to others while it lasts.
//!
//! Whoever lists and is asked for work looks ahead: a page from somewhere in the middle of what is left. If
//! that has names, they are told of as if they had come in their turn, and what comes after them is left to
//! others. If it has none, that is the end of the range.

#[cfg(test)]
mod tests;

use super::listing::{From, Page, entry_of, next_token};
use crate::base::error::Result;
use crate::model::entry::Hint;
use crate::model::span::{Cut, Span, Told};
use crate::store::NameReader;

/// Where pages come from.
pub(super) trait Pages {
    /// The page that begins there.
    fn page(&self, from: From<'_>) -> Result<Page>;
}

/// Tells of all names in a range that are not left to others.
pub(super) fn read(pages: &impl Pages, mut span: Span, reader: &mut dyn NameReader) -> Result<()> {
    loop {
        let page = match (&span.token, &*span.after) {
            (Some(token), _) => pages.page(From::Token(token))?,
            (None, "") => pages.page(From::Start)?,
            (None, after) => pages.page(From::After(after))?,
        };
        // What is told of now becomes work for others, who then seem to have enough.
        let wants_to_share = reader.wants_to_share();
        tell_page(&mut span, &page, reader);
        span.token = next_token(span.token.as_deref(), page.next.clone())?;
        if span.token.is_none() || span.ends_with(&page.names) {
            break;
        }
        span.earn();
        if wants_to_share && let Some(cut) = span.cut(&page.names.names(), fastrand::u64(..)) {
            look_ahead(pages, &mut span, &cut, reader);
        }
    }
    span.finish(&mut |told| tell(told, reader));
    Ok(())
}

fn look_ahead(pages: &impl Pages, span: &mut Span, cut: &Cut, reader: &mut dyn NameReader) {
    span.pay();
    let Ok(page) = pages.page(From::After(&cut.at)) else {
        // There are services that begin nowhere but at the beginning.
        span.credit = 0;
        return;
    };
    if page.names.names().first().is_some_and(|first| **first <= *cut.at) {
        // Nor does this one, though it does not say so.
        span.credit = 0;
        return;
    }
    let whole = span.clone();
    let mut rest = span.split_off(cut);
    let has_names = rest.meets(&page.names);
    tell_page(&mut rest, &page, reader);
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
}

fn tell_page(span: &mut Span, page: &Page, reader: &mut dyn NameReader) {
    for key in &page.outside {
        reader.unfit(key.as_bytes(), crate::base::service::Unfit::Outside);
    }
    span.take(&page.names, &mut |told| tell(told, reader));
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
