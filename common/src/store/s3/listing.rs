//! Listing what is directly below a prefix, a page at a time.

use std::ffi::CString;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;

use super::object::Bucket;
use crate::base::error::{Op, Result};
use crate::base::limits::S3_PAGE_KEYS;
use crate::base::service::Unfit;
use crate::model::entry::{Hint, Listed};
use crate::model::object_key::checked_name;
use crate::model::object_metadata::RCLONE_LINK_SUFFIX;

/// One page of a listing.
#[derive(Default)]
pub(super) struct Page {
    /// Names below the prefix.
    pub entries: Vec<(CString, Hint)>,
    /// Keys, or what many keys begin with, that cannot be paths.
    pub unfit: Vec<(String, Unfit)>,
    /// The last key or common prefix of the page.
    pub last: Option<String>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From<'a> {
    /// At the beginning.
    Start,
    /// Where the last page has ended.
    Token(&'a str),
}

impl Bucket {
    /// A page of what is directly below `prefix`, at most so many keys.
    pub fn page(&self, prefix: &str, from: From<'_>, keys_max: i32) -> Result<Page> {
        let token = match from {
            From::Start => None,
            From::Token(token) => Some(token.to_owned()),
        };
        let answer = self.service.call(Op::List, |client| {
            client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .delimiter("/")
                // XML cannot hold every character that keys may have.
                .encoding_type(EncodingType::Url)
                .max_keys(keys_max)
                .set_continuation_token(token)
                .set_request_payer(self.payer())
                .send()
        })?;
        Ok(Page::of(prefix, &answer))
    }

    /// Whether any key begins so.
    pub fn has_below(&self, prefix: &str) -> Result<bool> {
        let page = self.page(prefix, From::Start, 1)?;
        // The marker of the directory itself is a key, too.
        Ok(page.last.is_some())
    }

    /// Calls `each` with every page below a prefix.
    pub fn pages(&self, prefix: &str, mut each: impl FnMut(Page)) -> Result<()> {
        let mut next: Option<String> = None;
        loop {
            let from = next.as_deref().map_or(From::Start, From::Token);
            let mut page = self.page(prefix, from, S3_PAGE_KEYS)?;
            let token = page.next.take();
            each(page);
            match token {
                // A service that gives the same page for ever must not be asked for ever.
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                Some(_) => {
                    return Err(Op::List.failed(crate::base::error::Cause::Service(
                        crate::base::service::ServiceFault::Protocol,
                    )));
                }
                None => return Ok(()),
            }
        }
    }
}

impl Page {
    fn of(prefix: &str, answer: &ListObjectsV2Output) -> Self {
        let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let decode = |text: &str| decoded(text, is_encoded);
        let mut page = Self::default();
        for object in answer.contents() {
            let key = decode(object.key().unwrap_or_default());
            let listed = Listed {
                size_bytes: object.size().unwrap_or(0).max(0) as u64,
                stored_seconds: object.last_modified().map_or(0, DateTime::secs),
            };
            page.meet(prefix, key, Hint::Object(listed));
        }
        for common in answer.common_prefixes() {
            let key = decode(common.prefix().unwrap_or_default());
            page.meet(prefix, key, Hint::Directory);
        }
        let is_truncated = answer.is_truncated().unwrap_or(false);
        page.next = answer.next_continuation_token().filter(|_| is_truncated).map(str::to_owned);
        page
    }

    fn meet(&mut self, prefix: &str, key: String, hint: Hint) {
        match entry_of(prefix, &key, hint) {
            Ok(Some(entry)) => self.entries.push(entry),
            // The marker of the directory that is listed.
            Ok(None) => {}
            Err(unfit) => self.unfit.push((key.clone(), unfit)),
        }
        if self.last.as_ref().is_none_or(|last| *last < key) {
            self.last = Some(key);
        }
    }
}

/// The entry that a key, or a common prefix, directly below `prefix` stands for.
fn entry_of(
    prefix: &str,
    key: &str,
    hint: Hint,
) -> std::result::Result<Option<(CString, Hint)>, Unfit> {
    let below = key.strip_prefix(prefix).ok_or(Unfit::Outside)?;
    if below.is_empty() {
        return Ok(None);
    }
    let (component, hint) = match (hint, below.strip_suffix(RCLONE_LINK_SUFFIX)) {
        (Hint::Directory, _) => (below.strip_suffix('/').unwrap_or(below), hint),
        (_, Some(link)) if !link.is_empty() => (link, Hint::Symlink),
        _ => (below, hint),
    };
    let name = checked_name(component)?;
    let name = CString::new(name.into_owned()).map_err(|_| Unfit::Nul)?;
    Ok(Some((name, hint)))
}

/// Undoes the encoding of keys in listings: as in URLs, with `+` for a space.
pub(super) fn decoded(text: &str, is_encoded: bool) -> String {
    if !is_encoded {
        return text.to_owned();
    }
    let spaced = text.replace('+', " ");
    let bytes = urlencoding::decode_binary(spaced.as_bytes()).into_owned();
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, hint: Hint) -> std::result::Result<Option<(CString, Hint)>, Unfit> {
        entry_of("p/", key, hint)
    }

    const FILE: Hint = Hint::Object(Listed { size_bytes: 1, stored_seconds: 2 });

    #[test]
    fn keys_directly_below_a_prefix_are_entries() {
        let named = |name: &std::ffi::CStr, hint| Ok(Some((name.to_owned(), hint)));
        assert_eq!(entry("p/a", FILE), named(c"a", FILE));
        assert_eq!(entry("p/a/", Hint::Directory), named(c"a", Hint::Directory));
        assert_eq!(entry("p/l.rclonelink", FILE), named(c"l", Hint::Symlink));
        assert_eq!(entry("p/.rclonelink", FILE), named(c".rclonelink", FILE));
        assert_eq!(entry("p/", FILE), Ok(None));
    }

    #[test]
    fn hostile_keys_are_no_entries() {
        assert_eq!(entry("p//", Hint::Directory), Err(Unfit::EmptyComponent));
        assert_eq!(entry("p/../", Hint::Directory), Err(Unfit::DotComponent));
        assert_eq!(entry("p/..", FILE), Err(Unfit::DotComponent));
        assert_eq!(entry("q/a", FILE), Err(Unfit::Outside));
    }

    #[test]
    fn keys_come_back_from_their_encoding() {
        assert_eq!(decoded("a+b%2Bc%0A%F0%9F%98%80", true), "a b+c\n😀");
        assert_eq!(decoded("a+b%2B", false), "a+b%2B");
        assert_eq!(decoded("%FF", true), "%FF", "not UTF-8: left as it is");
    }
}
