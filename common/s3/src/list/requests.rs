//! Requests for the pages of listings, in the version of the API that the service implements.

use aws_sdk_s3::types::EncodingType;

use crate::list::pages::{Answer, Circle, From, KeyPage, Next, Page, decoded, outside};
use crate::read::object::Bucket;
use host::interrupt;
use types::error::{Cause, Op, Result};
use types::service::ServiceFault;

/// The depth of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Entries directly below the prefix; deeper keys are folded into common prefixes.
    Names,
    /// All keys below the prefix.
    Keys,
}

impl Bucket {
    /// Lists one page of the entries directly below `prefix`, at most `keys_max` of them.
    pub fn page(&self, prefix: &str, from: From<'_>, keys_max: i32) -> Result<Page> {
        Page::of(prefix, self.listed(prefix, from, Depth::Names, keys_max)?)
    }

    /// Lists one page of all keys below `prefix`.
    pub fn key_page(&self, prefix: &str, from: From<'_>) -> Result<KeyPage> {
        KeyPage::of(prefix, self.listed(prefix, from, Depth::Keys, Page::KEYS_MAX)?)
    }

    /// Lists one page in the version of the API that the service implements. The version of a
    /// listing's first page applies to all of them, since its tokens tell the version.
    fn listed(&self, prefix: &str, from: From<'_>, depth: Depth, keys_max: i32) -> Result<Answer> {
        // Further pages of a large directory would take longer than an interrupted job has.
        if !matches!(from, From::Start) && interrupt::is_wanted() {
            return Err(Op::List.failed(Cause::Stopped));
        }
        let delimiter = (depth == Depth::Names).then(|| "/".to_owned());
        let after = |name| format!("{prefix}{name}");
        let answer = match from {
            From::Token(text) => match Next::of_text(text) {
                Next::Marker(marker) => {
                    self.list_by_marker(prefix, Some(marker.to_owned()), delimiter, keys_max)
                }
                Next::Token(token) => {
                    self.list_by_token(prefix, (None, Some(token.to_owned())), delimiter, keys_max)
                }
            },
            From::Start if self.service.settings.lists_by_marker => {
                self.list_by_marker(prefix, None, delimiter, keys_max)
            }
            From::After(name) if self.service.settings.lists_by_marker => {
                self.list_by_marker(prefix, Some(after(name)), delimiter, keys_max)
            }
            From::Start => self.list_by_token(prefix, (None, None), delimiter, keys_max),
            From::After(name) => {
                self.list_by_token(prefix, (Some(after(name)), None), delimiter, keys_max)
            }
        };
        // The listing of a prefix without keys is empty, so an answer that something does not exist
        // can only mean the bucket.
        answer.map_err(|error| match error.cause {
            cause if cause.is_vanished() => Op::List.failed(Cause::Service(ServiceFault::NoBucket)),
            _ => error,
        })
    }

    fn list_by_token(
        &self,
        prefix: &str,
        (after, token): (Option<String>, Option<String>),
        delimiter: Option<String>,
        keys_max: i32,
    ) -> Result<Answer> {
        let answer = self.service.call(Op::List, |client| {
            client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .set_delimiter(delimiter)
                // XML 1.0 cannot represent every character that a key may have, so keys are
                // requested in URL encoding.
                .encoding_type(EncodingType::Url)
                .max_keys(keys_max)
                .set_start_after(after)
                .set_continuation_token(token)
                .set_request_payer(self.payer())
                .send()
        })?;
        let read = Answer::new(answer.contents(), answer.common_prefixes(), answer.encoding_type());
        // A truncated answer without a token comes from a service that implements ListObjectsV2
        // only in part; it is continued by the last name.
        let token = answer.next_continuation_token().filter(|token| !token.is_empty());
        match token.map(|token| Next::Token(token).text()) {
            _ if answer.is_truncated() != Some(true) => Ok(read),
            None => read.going_on_behind(None),
            next => Ok(Answer { next, ..read }),
        }
    }

    fn list_by_marker(
        &self,
        prefix: &str,
        marker: Option<String>,
        delimiter: Option<String>,
        keys_max: i32,
    ) -> Result<Answer> {
        let answer = self.service.call(Op::List, |client| {
            client
                .list_objects()
                .bucket(&self.name)
                .prefix(prefix)
                .set_delimiter(delimiter)
                .encoding_type(EncodingType::Url)
                .max_keys(keys_max)
                .set_marker(marker)
                .set_request_payer(self.payer())
                .send()
        })?;
        let read = Answer::new(answer.contents(), answer.common_prefixes(), answer.encoding_type());
        if answer.is_truncated() != Some(true) {
            return Ok(read);
        }
        let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
        read.going_on_behind(answer.next_marker().map(|marker| decoded(marker, is_encoded)))
    }

    /// Returns whether any key begins with `prefix`.
    ///
    /// # Errors
    /// Returns the error of the listing, or a protocol error if the service answers with keys
    /// outside the prefix.
    pub fn has_below(&self, prefix: &str) -> Result<bool> {
        Ok(self.first_page_within(prefix, 1)?.is_some())
    }

    /// Returns whether an object has this key, by a listing, in which only the directory of its
    /// name may come before it.
    ///
    /// # Errors
    /// Fails like [`Bucket::has_below`].
    pub fn has_key(&self, key: &str) -> Result<bool> {
        let first = self.first_page_within(key, 2)?;
        Ok(first.is_some_and(|page| page.marker_bytes.is_some()))
    }

    /// Returns whether the service stores any object whose key begins with `prefix`. Unlike
    /// [`Bucket::has_below`], it lists no directories: a service that keeps objects in directories
    /// lists those for a while after their last object has been deleted (SeaweedFS).
    ///
    /// # Errors
    /// Fails like [`Bucket::has_below`].
    pub fn has_objects(&self, prefix: &str) -> Result<bool> {
        let (mut next, mut circle) = (None::<String>, Circle::default());
        loop {
            let page = self.key_page(prefix, next.as_deref().map_or(From::Start, From::Token))?;
            if page.marker.is_some() || !page.keys.is_empty() {
                return Ok(true);
            }
            next = circle.pass(page.next)?;
            if next.is_none() {
                return Ok(false);
            }
        }
    }

    /// Returns the first page of a listing that has any key, and none outside of the prefix.
    fn first_page_within(&self, prefix: &str, keys_max: i32) -> Result<Option<Page>> {
        let page = self.first_page(prefix, keys_max)?;
        match page.as_ref().and_then(|page| page.outside.first()) {
            Some(key) => Err(outside(key)),
            None => Ok(page),
        }
    }

    /// Returns the first page of a listing that has any key.
    pub fn first_page(&self, prefix: &str, keys_max: i32) -> Result<Option<Page>> {
        // A page may be empty and still not be the last, so pages are read until a key or the end
        // is found.
        let (mut next, mut circle) = (None::<String>, Circle::default());
        loop {
            let from = next.as_deref().map_or(From::Start, From::Token);
            let mut page = self.page(prefix, from, keys_max)?;
            next = circle.pass(page.next.take())?;
            // The marker of the directory itself counts as a key too.
            if page.has_keys() {
                return Ok(Some(page));
            }
            if next.is_none() {
                return Ok(None);
            }
        }
    }
}
