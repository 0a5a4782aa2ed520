//! Pages of listings, of the entries directly below a prefix or of all keys below it.

use std::ffi::CString;

use aws_sdk_s3::types::{CommonPrefix, EncodingType, Object};

use crate::list::at_once::Threads;
use crate::list::key::checked_name;
use crate::list::listing_order::ListingOrder;
use types::entry::{Hint, Listed};
use types::error::{Cause, Error, Op, Result};
use types::limits::{S3_PAGE_KEYS, S3_SUBTREES_KEYS_MIN};
use types::object::key_range::NamePage;
use types::object::keys_below::KeysBelow;
use types::object::metadata::RCLONE_LINK_SUFFIX;
use types::path::escaped;
use types::service::{Details, InvalidKey, ServiceFault};

/// One page of the listing of a directory.
#[derive(Default)]
pub(crate) struct Page {
    /// Keys and common prefixes, without the prefix that was requested.
    pub names: NamePage,
    /// Keys that do not begin with the requested prefix, which only a faulty service returns.
    pub outside: Vec<String>,
    /// The size in bytes of the listed directory's own marker, if it has one.
    pub marker_bytes: Option<u64>,
    /// The position of the next page; `None` after the last.
    pub next: Option<String>,
}

/// One page of the listing of all keys below a prefix.
#[derive(Default)]
pub(crate) struct KeyPage {
    /// Keys in the order of the answer, without the prefix.
    pub keys: Vec<(String, Listed)>,
    /// The listed facts of the marker of the prefix itself, which is not among the keys.
    pub marker: Option<Listed>,
    /// The position of the next page; `None` after the last.
    pub next: Option<String>,
}

/// The position at which a page begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From<'a> {
    /// The beginning of the listing.
    Start,
    /// The first name after this one, which need not exist.
    After(&'a str),
    /// The end of an earlier page, as its token tells.
    Token(&'a str),
}

/// A source of the pages of one directory's listing, for any number of threads.
pub(crate) trait Pages: Sync {
    /// Returns the page of entries that begins at a position.
    fn page(&self, from: From<'_>) -> Result<Page>;

    /// Returns the page of all keys that begins at a position. `within` is a common prefix of the
    /// directory, or empty for all of it.
    fn keys(&self, within: &str, from: From<'_>) -> Result<KeyPage>;

    /// Returns what the listing has of one entry: its keys, of which there may be several.
    fn entry(&self, name: &str) -> Result<NamePage>;

    /// Returns the observations of how the service orders its listings.
    fn listing_order(&self) -> &ListingOrder;

    /// Returns the threads that a listing may use if nobody else can take parts of it.
    fn threads(&self) -> &Threads;

    /// Returns whether the listing may have no keys at all. A bucket may be empty; a directory in
    /// it exists only through its keys.
    fn may_be_empty(&self) -> bool {
        true
    }
}

/// The position of the next page, in a form that any rank can use for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// The continuation token of ListObjectsV2.
    Token(&'a str),
    /// The marker of ListObjects: the last key or common prefix of the page, for services without
    /// ListObjectsV2.
    Marker(&'a str),
}

/// The content of a listing's answer, of either version of the API.
pub(super) struct Answer {
    /// Objects with their size and time; without these where the answer lacks them, so that the
    /// object must be requested.
    pub objects: Vec<(String, Option<Listed>)>,
    pub prefixes: Vec<String>,
    pub next: Option<String>,
}

impl Next<'_> {
    pub fn of_text(text: &str) -> Next<'_> {
        match text.strip_prefix("marker ") {
            Some(marker) => Next::Marker(marker),
            None => Next::Token(text.strip_prefix("token ").unwrap_or(text)),
        }
    }

    pub fn text(self) -> String {
        match self {
            Self::Token(token) => format!("token {token}"),
            Self::Marker(marker) => format!("marker {marker}"),
        }
    }
}

/// Cause of an error about an answer that contradicts the API.
pub(crate) const NONSENSE: Cause = Cause::Service(ServiceFault::Protocol);

/// Returns the error of a listing that contradicts the API, with what it does.
pub(crate) fn nonsense(what: &str) -> Error {
    let message = Some(format!("the listing {what}"));
    Op::List.failed(NONSENSE).with(Some(Details { message, ..Details::default() }))
}

/// Returns the error of a listing with a key that does not begin with the requested prefix.
pub(super) fn outside(key: &str) -> Error {
    nonsense(&format!("has a key outside its prefix, \"{}\"", escaped(key.as_bytes())))
}

/// A detector of cycles among page tokens, so that a faulty service that returns the same pages
/// again cannot keep a listing running for ever. It remembers one token, and replaces it after
/// twice as many pages each time (Brent's algorithm), so memory stays constant.
#[derive(Default)]
pub(crate) struct Circle {
    kept: Option<String>,
    passed: u64,
    passes: u64,
}

impl Circle {
    /// Records the position of the next page and returns it.
    ///
    /// # Errors
    /// Returns a protocol error if the position was seen before.
    pub fn pass(&mut self, next: Option<String>) -> Result<Option<String>> {
        if next.is_some() && next == self.kept {
            return Err(nonsense("repeats a page"));
        }
        if self.passed == self.passes {
            self.kept.clone_from(&next);
            (self.passed, self.passes) = (0, (self.passes * 2).max(1));
        }
        self.passed += 1;
        Ok(next)
    }
}

impl Answer {
    pub fn new(
        contents: &[Object],
        commons: &[CommonPrefix],
        encoding: Option<&EncodingType>,
    ) -> Self {
        let keys = contents.iter().map(|object| object.key().unwrap_or_default());
        let prefixes = commons.iter().map(|common| common.prefix().unwrap_or_default());
        let is_encoded = encoding == Some(&EncodingType::Url);
        let listed = contents.iter().map(|object| {
            let size_bytes = u64::try_from(object.size()?).ok()?;
            Some(Listed { size_bytes, stored_seconds: object.last_modified()?.secs() })
        });
        Self {
            objects: all_decoded(keys, is_encoded).into_iter().zip(listed).collect(),
            prefixes: all_decoded(prefixes, is_encoded),
            next: None,
        }
    }

    /// Continues the listing after the marker in the answer, or after its greatest name where the
    /// answer has no marker.
    pub fn going_on_behind(self, marker: Option<String>) -> Result<Self> {
        let names = self.objects.iter().map(|(key, _)| key).chain(&self.prefixes);
        let marker = marker.filter(|marker| !marker.is_empty()).or_else(|| names.max().cloned());
        let next = Some(
            Next::Marker(&marker.ok_or_else(|| nonsense("does not tell its next page"))?).text(),
        );
        Ok(Self { next, ..self })
    }
}

impl Page {
    /// The greatest number of keys in one page.
    pub const KEYS_MAX: i32 = S3_PAGE_KEYS;

    /// Returns whether the page has any key, be it an entry, a marker or one outside the prefix.
    pub fn has_keys(&self) -> bool {
        self.has_keys_within() || !self.outside.is_empty()
    }

    /// Returns whether the page has any entry or a marker.
    pub fn has_keys_within(&self) -> bool {
        self.names.entries().next().is_some() || self.marker_bytes.is_some()
    }

    pub(super) fn of(prefix: &str, answer: Answer) -> Result<Self> {
        let mut page = Self { next: answer.next, ..Self::default() };
        let objects = answer.objects.into_iter().map(|(key, listed)| {
            // An object whose size or time is missing from the answer must be requested.
            (key, listed.map_or(Hint::Unknown, Hint::Object))
        });
        let objects = page.below(prefix, objects);
        let directories = answer.prefixes.into_iter().map(|prefix| (prefix, Hint::Directory));
        let directories = page.below(prefix, directories);
        let mut names: Vec<&str> = directories.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        // Two common prefixes that decode to the same name hide which keys are below which, so the
        // page cannot be used.
        if names.windows(2).any(|two| two[0] == two[1]) {
            return Err(nonsense("has two common prefixes of one name"));
        }
        page.names = NamePage::new(objects, directories);
        Ok(page)
    }

    /// Returns whether the page can show the order of the listing: it is the last one, or has so
    /// many names that they are not in order by chance.
    pub fn shows_order(&self) -> bool {
        self.next.is_none() || self.names.names().len() >= S3_SUBTREES_KEYS_MIN
    }

    /// Strips the prefix from keys, and sets the marker and the keys outside the prefix apart.
    fn below(
        &mut self,
        prefix: &str,
        keys: impl Iterator<Item = (String, Hint)>,
    ) -> Vec<(String, Hint)> {
        let mut names = Vec::with_capacity(keys.size_hint().0);
        for (key, hint) in keys {
            match (key.strip_prefix(prefix), hint) {
                (Some(""), Hint::Object(listed)) => self.marker_bytes = Some(listed.size_bytes),
                (Some(""), _) => self.marker_bytes = Some(0),
                (Some(below), _) => names.push((below.to_owned(), hint)),
                (None, _) => self.outside.push(key),
            }
        }
        names
    }
}

impl KeyPage {
    /// Converts an answer to a page of keys.
    ///
    /// # Errors
    /// Returns a protocol error if the answer has common prefixes, keys outside the prefix, or keys
    /// without size and time.
    pub(super) fn of(prefix: &str, answer: Answer) -> Result<Self> {
        if !answer.prefixes.is_empty() {
            return Err(nonsense("of all keys has common prefixes"));
        }
        let mut page = Self { next: answer.next, ..Self::default() };
        for (key, listed) in answer.objects {
            let listed = listed.ok_or_else(|| nonsense("has a key without size and time"))?;
            let below = key.strip_prefix(prefix).ok_or_else(|| outside(&key))?;
            match below {
                "" => page.marker = Some(listed),
                below => page.keys.push((below.to_owned(), listed)),
            }
        }
        Ok(page)
    }

    /// Packs all keys of the page, the marker included.
    pub fn all(&self) -> KeysBelow {
        let mut all = KeysBelow::default();
        self.marker.iter().for_each(|listed| all.push("", *listed));
        self.keys.iter().for_each(|(key, listed)| all.push(key, *listed));
        all
    }
}

/// Converts a key or common prefix, without the prefix of the listing, to a name. Keys with
/// rclone's suffix for symbolic links lose it.
///
/// # Errors
/// Returns the reason why no entry can have that name.
pub(crate) fn entry_of(
    below: &str,
    hint: Hint,
) -> std::result::Result<(CString, Hint), InvalidKey> {
    let (component, hint) = match (hint, below.strip_suffix(RCLONE_LINK_SUFFIX)) {
        (Hint::Directory, _) => (below.strip_suffix('/').unwrap_or(below), hint),
        (_, Some(link)) if !link.is_empty() => (link, Hint::Symlink),
        _ => (below, hint),
    };
    let name = checked_name(component)?;
    let name = CString::new(name.into_owned()).map_err(|_| InvalidKey::Nul)?;
    Ok((name, hint))
}

/// Decodes all keys of an answer. Some services declare URL encoding and do not apply it; a text
/// that no encoder could have produced reveals that, and then none is decoded.
fn all_decoded<'t>(texts: impl Iterator<Item = &'t str> + Clone, is_encoded: bool) -> Vec<String> {
    let is_encoded = is_encoded && texts.clone().all(may_be_encoded);
    texts.map(|text| decoded(text, is_encoded)).collect()
}

/// Returns whether URL encoding could have produced a text: printable ASCII without backslashes, in
/// which each `%` precedes two hexadecimal digits.
fn may_be_encoded(text: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)),
        b'\\' => false,
        byte => byte.is_ascii_graphic(),
    })
}

/// Decodes a key of a listing from URL encoding, in which a space may be written as `+`.
pub(crate) fn decoded(text: &str, is_encoded: bool) -> String {
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
        assert_eq!(entry_of("/", Hint::Directory), Err(InvalidKey::EmptyComponent));
        assert_eq!(entry_of("../", Hint::Directory), Err(InvalidKey::DotComponent));
        assert_eq!(entry_of("..", FILE), Err(InvalidKey::DotComponent));
        let mut page = Page::default();
        let keys = ["p/a", "q/a", "p/"].map(|key| (key.to_owned(), FILE));
        assert_eq!(page.below("p/", keys.into_iter()), [("a".to_owned(), FILE)]);
        assert_eq!((page.outside, page.marker_bytes), (vec!["q/a".to_owned()], Some(1)));
    }

    fn object(key: &str) -> Object {
        let time = aws_sdk_s3::primitives::DateTime::from_secs(2);
        Object::builder().key(key).size(1).last_modified(time).build()
    }

    fn prefix(text: &str) -> CommonPrefix {
        CommonPrefix::builder().prefix(text).build()
    }

    const URL: Option<&EncodingType> = Some(&EncodingType::Url);

    #[test]
    fn what_a_list_does_not_say_of_an_object_is_not_known() {
        let bare = Object::builder().key("p/a").build();
        let page = Page::of("p/", Answer::new(&[bare.clone(), object("p/b")], &[], URL)).unwrap();
        assert!(page.names.entries().eq([("a", Hint::Unknown), ("b", FILE)]));
        assert!(KeyPage::of("p/", Answer::new(&[bare], &[], URL)).is_err());
        let marked = KeyPage::of("p/", Answer::new(&[object("p/")], &[], URL)).unwrap();
        assert_eq!((marked.keys.len(), marked.all().len()), (0, 1));
    }

    #[test]
    fn prefixes_that_are_not_encoded_are_found_out_where_they_show_it() {
        let of = |texts: &[&str]| {
            let prefixes: Vec<_> = texts.iter().map(|text| prefix(text)).collect();
            Answer::new(&[], &prefixes, URL).prefixes
        };
        assert_eq!(of(&["a+b/", "c%41d/"]), ["a b/", "cAd/"]);
        assert_eq!(of(&["a+b/", "c d/"]), ["a+b/", "c d/"]);
        assert_eq!(of(&["a+b/", "100%/"]), ["a+b/", "100%/"]);
        assert_eq!(of(&["a+b/", "ä/"]), ["a+b/", "ä/"]);
        let both = [prefix("a+b/"), prefix("a%20b/")];
        assert!(Page::of("", Answer::new(&[], &both, URL)).is_err(), "one name for two");
    }

    #[test]
    fn a_list_without_a_token_goes_on_behind_its_last_name() {
        let answer = || Answer::new(&[object("a"), object("c")], &[prefix("b/")], None);
        let next = |marker: Option<&str>| {
            answer().going_on_behind(marker.map(str::to_owned)).unwrap().next.unwrap()
        };
        assert_eq!(Next::of_text(&next(None)), Next::Marker("c"));
        assert_eq!(Next::of_text(&next(Some("x y"))), Next::Marker("x y"));
        assert!(Answer::new(&[], &[], None).going_on_behind(None).is_err());
        assert_eq!(Next::of_text(&Next::Token("marker ").text()), Next::Token("marker "));
    }

    #[test]
    fn pages_that_come_again_are_an_error() {
        let rounds = |tokens: &[&str]| {
            let mut circle = Circle::default();
            let all = tokens.iter().cycle().take(1000);
            all.map(|token| circle.pass(Some((*token).to_owned())))
                .take_while(Result::is_ok)
                .count()
        };
        assert_eq!(rounds(&["a"]), 1);
        for length in 2..9 {
            let tokens = &["a", "b", "c", "d", "e", "f", "g", "h"][..length];
            assert!((length..4 * length).contains(&rounds(tokens)), "{length}");
        }
        let mut circle = Circle::default();
        assert!((0..1000).all(|number| circle.pass(Some(number.to_string())).is_ok()));
        assert_eq!(circle.pass(None), Ok(None));
    }

    #[test]
    fn keys_come_back_from_their_encoding() {
        assert_eq!(decoded("a+b%2Bc%0A%F0%9F%98%80", true), "a b+c\n😀");
        assert_eq!(decoded("a+b%2B", false), "a+b%2B");
        assert_eq!(decoded("%FF", true), "%FF", "not UTF-8: left as it is");
    }
}
