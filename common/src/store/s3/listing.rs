//! Listing what is directly below a prefix, or all keys below it, a page at a time.

use std::ffi::CString;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;

use super::object::Bucket;
use crate::base::error::{Cause, Op, Result};
use crate::base::limits::S3_PAGE_KEYS;
use crate::base::service::{ServiceFault, Unfit};
use crate::model::entry::{Hint, Listed};
use crate::model::keys_below::KeysBelow;
use crate::model::object_key::checked_name;
use crate::model::object_metadata::RCLONE_LINK_SUFFIX;
use crate::model::span::NamePage;

/// One page of a listing.
#[derive(Default)]
pub(super) struct Page {
    /// Keys and common prefixes, without the prefix that was asked for.
    pub names: NamePage,
    /// Keys that do not begin with that.
    pub outside: Vec<String>,
    /// The directory that was listed has a marker of its own.
    pub has_marker: bool,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// One page of all keys below a prefix.
#[derive(Default)]
pub(super) struct KeyPage {
    /// Keys in the order of the answer, without the prefix. The marker of the prefix itself is not told.
    pub keys: Vec<(String, Listed)>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// How deep a listing looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What is directly below.
    Names,
    /// All keys.
    Keys,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From<'a> {
    /// At the beginning.
    Start,
    /// Behind this name, which need not exist.
    After(&'a str),
    /// Where the last page has ended.
    Token(&'a str),
}

impl Bucket {
    /// A page of what is directly below `prefix`, at most so many keys.
    pub fn page(&self, prefix: &str, from: From<'_>, keys_max: i32) -> Result<Page> {
        Ok(Page::of(prefix, &self.listed(prefix, from, Depth::Names, keys_max)?))
    }

    /// A page of all keys below `prefix`.
    pub fn key_page(&self, prefix: &str, from: From<'_>) -> Result<KeyPage> {
        KeyPage::of(prefix, &self.listed(prefix, from, Depth::Keys, Page::KEYS_MAX)?)
    }

    fn listed(
        &self,
        prefix: &str,
        from: From<'_>,
        depth: Depth,
        keys_max: i32,
    ) -> Result<ListObjectsV2Output> {
        let (after, token) = match from {
            From::Start => (None, None),
            From::After(name) => (Some(format!("{prefix}{name}")), None),
            From::Token(token) => (None, Some(token.to_owned())),
        };
        let answer = self.service.call(Op::List, |client| {
            client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .set_delimiter((depth == Depth::Names).then(|| "/".to_owned()))
                // XML cannot hold every character that keys may have.
                .encoding_type(EncodingType::Url)
                .max_keys(keys_max)
                .set_start_after(after)
                .set_continuation_token(token)
                .set_request_payer(self.payer())
                .send()
        });
        // Where there are no keys the list is empty; what is missing is what has the list.
        answer.map_err(|error| match error.cause {
            cause if cause.is_vanished() => Op::List.failed(Cause::Service(ServiceFault::NoBucket)),
            _ => error,
        })
    }

    /// Whether any key begins so.
    pub fn has_below(&self, prefix: &str) -> Result<bool> {
        let page = self.page(prefix, From::Start, 1)?;
        // The marker of the directory itself is a key, too.
        Ok(page.has_marker || page.names.entries().next().is_some())
    }
}

/// Where the page after one with this token begins; none after the last.
pub(super) fn next_token(old: Option<&str>, new: Option<String>) -> Result<Option<String>> {
    // A service that gives the same page for ever must not be asked for ever.
    if new.is_some() && new.as_deref() == old {
        return Err(Op::List.failed(Cause::Service(ServiceFault::Protocol)));
    }
    Ok(new)
}

impl Page {
    /// As many keys as there can be.
    pub const KEYS_MAX: i32 = S3_PAGE_KEYS;

    fn of(prefix: &str, answer: &ListObjectsV2Output) -> Self {
        let objects = objects(answer).map(|(key, listed)| (key, Hint::Object(listed)));
        let directories = answer
            .common_prefixes()
            .iter()
            .map(|common| (key_of(answer, common.prefix()), Hint::Directory));
        let mut page = Self::default();
        let objects = page.below(prefix, objects);
        let directories = page.below(prefix, directories);
        page.names = NamePage::new(objects, directories);
        page.next = next_of(answer);
        page
    }

    fn below(
        &mut self,
        prefix: &str,
        keys: impl Iterator<Item = (String, Hint)>,
    ) -> Vec<(String, Hint)> {
        let mut names = Vec::with_capacity(keys.size_hint().0);
        for (key, hint) in keys {
            match key.strip_prefix(prefix) {
                Some("") => self.has_marker = true,
                Some(below) => names.push((below.to_owned(), hint)),
                None => self.outside.push(key),
            }
        }
        names
    }
}

impl KeyPage {
    /// An answer that is not what was asked for is an error.
    fn of(prefix: &str, answer: &ListObjectsV2Output) -> Result<Self> {
        let torn = || Op::List.failed(Cause::Service(ServiceFault::Protocol));
        let next = next_of(answer);
        let is_cut = answer.is_truncated() == Some(true) && next.is_none();
        if is_cut || !answer.common_prefixes().is_empty() {
            return Err(torn());
        }
        let mut keys = Vec::with_capacity(answer.contents().len());
        for (key, listed) in objects(answer) {
            match key.strip_prefix(prefix).ok_or_else(torn)? {
                "" => {}
                below => keys.push((below.to_owned(), listed)),
            }
        }
        Ok(Self { keys, next })
    }

    /// Its keys, packed.
    pub fn all(&self) -> KeysBelow {
        let mut all = KeysBelow::default();
        self.keys.iter().for_each(|(key, listed)| all.push(key, *listed));
        all
    }
}

fn objects(answer: &ListObjectsV2Output) -> impl Iterator<Item = (String, Listed)> {
    answer.contents().iter().map(|object| {
        let listed = Listed {
            size_bytes: object.size().unwrap_or(0).max(0) as u64,
            stored_seconds: object.last_modified().map_or(0, DateTime::secs),
        };
        (key_of(answer, object.key()), listed)
    })
}

fn key_of(answer: &ListObjectsV2Output, text: Option<&str>) -> String {
    let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
    decoded(text.unwrap_or_default(), is_encoded)
}

fn next_of(answer: &ListObjectsV2Output) -> Option<String> {
    let is_truncated = answer.is_truncated().unwrap_or(false);
    answer.next_continuation_token().filter(|_| is_truncated).map(str::to_owned)
}

/// The entry that a key, or a common prefix, without what it is below, stands for.
pub(super) fn entry_of(below: &str, hint: Hint) -> std::result::Result<(CString, Hint), Unfit> {
    let (component, hint) = match (hint, below.strip_suffix(RCLONE_LINK_SUFFIX)) {
        (Hint::Directory, _) => (below.strip_suffix('/').unwrap_or(below), hint),
        (_, Some(link)) if !link.is_empty() => (link, Hint::Symlink),
        _ => (below, hint),
    };
    let name = checked_name(component)?;
    let name = CString::new(name.into_owned()).map_err(|_| Unfit::Nul)?;
    Ok((name, hint))
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

    const FILE: Hint = Hint::Object(Listed { size_bytes: 1, stored_seconds: 2 });

    #[test]
    fn keys_directly_below_a_prefix_are_entries() {
        let named = |name: &std::ffi::CStr, hint| Ok((name.to_owned(), hint));
        assert_eq!(entry_of("a", FILE), named(c"a", FILE));
        assert_eq!(entry_of("a/", Hint::Directory), named(c"a", Hint::Directory));
        assert_eq!(entry_of("l.rclonelink", FILE), named(c"l", Hint::Symlink));
        assert_eq!(entry_of(".rclonelink", FILE), named(c".rclonelink", FILE));
    }

    #[test]
    fn hostile_keys_are_no_entries() {
        assert_eq!(entry_of("/", Hint::Directory), Err(Unfit::EmptyComponent));
        assert_eq!(entry_of("../", Hint::Directory), Err(Unfit::DotComponent));
        assert_eq!(entry_of("..", FILE), Err(Unfit::DotComponent));
        let mut page = Page::default();
        let keys = ["p/a", "q/a", "p/"].map(|key| (key.to_owned(), FILE));
        assert_eq!(page.below("p/", keys.into_iter()), [("a".to_owned(), FILE)]);
        assert_eq!((page.outside, page.has_marker), (vec!["q/a".to_owned()], true));
    }

    #[test]
    fn a_page_that_comes_again_is_an_error() {
        let token = |text: &str| Some(text.to_owned());
        assert_eq!(next_token(Some("a"), token("b")), Ok(token("b")));
        assert_eq!(next_token(Some("a"), None), Ok(None));
        assert!(next_token(Some("a"), token("a")).is_err());
    }

    #[test]
    fn keys_come_back_from_their_encoding() {
        assert_eq!(decoded("a+b%2Bc%0A%F0%9F%98%80", true), "a b+c\n😀");
        assert_eq!(decoded("a+b%2B", false), "a+b%2B");
        assert_eq!(decoded("%FF", true), "%FF", "not UTF-8: left as it is");
    }
}
