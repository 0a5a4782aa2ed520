//! Removal of objects: many in one request, each with its own result, or one after the other where
//! a service has no such request.

use std::collections::HashMap;

use aws_sdk_s3::operation::delete_objects::DeleteObjectsOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::client::fault::is_refusal;
use crate::client::fault::of_code;
use crate::client::service::Proven;
use crate::read::object::{Bucket, condition};
use types::error::{Cause, Error, Op, Result};
use types::limits::S3_DELETE_KEYS_MAX;
use types::service::{Details, ServiceFault};

/// Failures, each with the index of its key.
type Failures = Vec<(usize, Error)>;

impl Bucket {
    /// Removes an object, which need not exist.
    pub(crate) fn remove(&self, key: &str) -> Result<()> {
        self.remove_where(key, None)
    }

    /// Removes an object that has that ETag: the service compares it, unless it is known not to.
    ///
    /// # Errors
    /// `Changed` if the object has another ETag.
    pub(crate) fn remove_version(&self, key: &str, etag: &str) -> Result<()> {
        let capabilities = &self.service.capabilities;
        let condition = condition(etag).filter(|_| capabilities.deletes_conditionally());
        let is_conditional = condition.is_some();
        match self.remove_where(key, condition.clone()) {
            // The service may not implement the condition: without it the request shows that.
            Err(error) if is_conditional && is_refusal(error.cause) => {
                self.remove_where(key, None)?;
                if error.cause == Cause::System(libc::EOPNOTSUPP) {
                    capabilities.deletes_unconditionally();
                }
                Ok(())
            }
            Err(error) if is_about_state(error.cause) => match self.head(key) {
                // The answer to an earlier attempt, which has removed it, was lost.
                Err(gone) if gone.cause.is_vanished() => Ok(()),
                Ok(now) if now.etag == etag => self.remove_where(key, condition),
                _ => Err(Op::Remove.failed(Cause::Changed)),
            },
            removed => removed,
        }
    }

    fn remove_where(&self, key: &str, if_match: Option<String>) -> Result<()> {
        self.service.call(Op::Remove, |client| {
            client
                .delete_object()
                .bucket(&self.name)
                .key(key)
                .set_if_match(if_match)
                .set_request_payer(self.payer())
                .send()
        })?;
        Ok(())
    }

    /// Removes objects, which need not exist.
    ///
    /// # Errors
    /// Returns an error that concerns all remaining keys.
    pub(crate) fn remove_all(&self, keys: &[String]) -> Result<Failures> {
        let (together, alone): (Vec<usize>, Vec<usize>) =
            (0..keys.len()).partition(|at| may_be_in_document(&keys[*at]));
        let mut failures = Vec::new();
        for some in together.chunks(S3_DELETE_KEYS_MAX) {
            failures.extend(self.remove_some(keys, some)?);
        }
        failures.extend(self.remove_singly(keys, &alone));
        Ok(failures)
    }

    fn remove_singly(&self, keys: &[String], numbers: &[usize]) -> Failures {
        let remove = |at: &usize| self.remove(&keys[*at]).err().map(|error| (*at, error));
        numbers.iter().filter_map(remove).collect()
    }

    /// Removes the objects of one request.
    fn remove_some(&self, keys: &[String], numbers: &[usize]) -> Result<Failures> {
        let (&first, rest) = match numbers.split_first() {
            Some(split) if !split.1.is_empty() && self.service.capabilities.deletes_many() => split,
            _ => return Ok(self.remove_singly(keys, numbers)),
        };
        match self.remove_together(keys, numbers) {
            Ok(refused) => Ok(self.again(keys, refused)),
            // The account may lack permission for this request, the service may not support it, or
            // nothing may be deleted at all: a request for one key shows which.
            Err(error) if is_refusal(error.cause) || error.cause == DENIED => {
                self.remove(&keys[first])?;
                self.service.capabilities.deletes_singly();
                Ok(self.remove_singly(keys, rest))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes keys once more, one by one, that were refused temporarily.
    fn again(&self, keys: &[String], refused: Failures) -> Failures {
        let (for_now, for_good): (Failures, Failures) =
            refused.into_iter().partition(|(_, error)| matches!(error.cause, Cause::Service(_)));
        let numbers: Vec<usize> = for_now.iter().map(|(at, _)| *at).collect();
        for_good.into_iter().chain(self.remove_singly(keys, &numbers)).collect()
    }

    fn remove_together(&self, keys: &[String], numbers: &[usize]) -> Result<Failures> {
        let objects = numbers
            .iter()
            .map(|at| ObjectIdentifier::builder().key(&keys[*at]).build())
            .collect::<std::result::Result<Vec<_>, _>>();
        let delete = objects
            .and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(false).build());
        let delete = delete.map_err(|_| Op::Remove.errno(libc::EINVAL))?;
        let request = |client: aws_sdk_s3::Client| {
            client
                .delete_objects()
                .bucket(&self.name)
                .delete(delete.clone())
                .set_request_payer(self.payer())
                .send()
        };
        self.service.call_proven(Op::Remove, request, |answer| told(&answer, keys, numbers))
    }
}

/// Returns whether an error tells that the object is not as the condition says: it has another ETag
/// (412), is gone (404), or is being written (409).
fn is_about_state(cause: Cause) -> bool {
    cause == Cause::Changed
        || cause.is_vanished()
        || cause == Cause::Service(ServiceFault::Status(409))
}

/// Cause with which the service refuses a request that the account has no permission for.
const DENIED: Cause = Cause::System(libc::EACCES);

/// True if a key survives a round trip through an XML document unchanged (XML 1.0, 2.2 and 2.11).
fn may_be_in_document(key: &str) -> bool {
    !key.chars().any(|it| it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}'))
}

/// Returns the failures that a response reports; it must report each key.
fn told(answer: &DeleteObjectsOutput, keys: &[String], numbers: &[usize]) -> Proven<Failures> {
    let mut waiting: HashMap<&str, usize> =
        numbers.iter().map(|at| (keys[*at].as_str(), *at)).collect();
    for deleted in answer.deleted() {
        waiting.remove(deleted.key().unwrap_or_default());
    }
    let mut failures = Vec::new();
    for refused in answer.errors() {
        let Some(at) = waiting.remove(refused.key().unwrap_or_default()) else { continue };
        let code = refused.code().unwrap_or_default();
        let cause = of_code(code).unwrap_or(Cause::Service(ServiceFault::Status(500)));
        if !cause.is_vanished() {
            let details = Details {
                operation: Some("DeleteObjects".to_owned()),
                code: Some(code.to_owned()),
                message: refused.message().map(str::to_owned),
                ..Details::default()
            };
            failures.push((at, Op::Remove.failed(cause).with(Some(details))));
        }
    }
    if waiting.is_empty() { Ok(failures) } else { Err(ServiceFault::Protocol) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{DeletedObject, Error as Refused};

    #[test]
    fn an_answer_tells_of_each_key() {
        let keys = ["a", "b", "c"].map(str::to_owned);
        let deleted = |key: &str| DeletedObject::builder().key(key).build();
        let refused = |key: &str, code: &str| Refused::builder().key(key).code(code).build();
        let answer = DeleteObjectsOutput::builder().deleted(deleted("a"));
        assert_eq!(told(&answer.clone().build(), &keys, &[0]), Ok(Vec::new()));
        assert_eq!(told(&answer.clone().build(), &keys, &[0, 1]), Err(ServiceFault::Protocol));
        let answer = answer.errors(refused("b", "AccessDenied")).errors(refused("c", "NoSuchKey"));
        let failures = told(&answer.build(), &keys, &[0, 1, 2]).unwrap();
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].0, failures[0].1.cause), (1, DENIED));
    }

    #[test]
    fn keys_that_a_document_would_change_are_removed_by_themselves() {
        assert!(may_be_in_document("a/ä <&> '\" ‛BF"));
        for key in ["a\nb", "\u{1}", "\u{ffff}", "a\rb"] {
            assert!(!may_be_in_document(key), "{key:?}");
        }
    }
}
