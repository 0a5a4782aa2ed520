//! The buckets of an account.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_buckets::ListBucketsOutput;

use crate::client::service::{Proven, Service};
use types::error::{Cause, Op, Result};
use types::object::bucket::ListedBucket;
use types::service::ServiceFault;

impl Service {
    /// Lists the buckets that these credentials may see, in the order of the service.
    ///
    /// # Errors
    /// Returns the error of the request.
    pub fn buckets(&self) -> Result<Vec<ListedBucket>> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let request =
                |client: Client| client.list_buckets().set_continuation_token(token.clone()).send();
            let (page, next) = self.call_proven(Op::List, request, |page| page_of(&page))?;
            let is_in_circle = next.is_some() && (next == token || page.is_empty());
            if is_in_circle {
                return Err(Op::List.failed(Cause::Service(ServiceFault::Torn)));
            }
            all.extend(page);
            match next {
                None => return Ok(all),
                next => token = next,
            }
        }
    }
}

/// Reads the buckets and the token of the next page.
fn page_of(page: &ListBucketsOutput) -> Proven<(Vec<ListedBucket>, Option<String>)> {
    let bucket = |bucket: &aws_sdk_s3::types::Bucket| {
        let name = bucket.name().filter(|name| !name.is_empty())?.to_owned();
        let created_seconds = bucket.creation_date().map(aws_sdk_s3::primitives::DateTime::secs);
        Some(ListedBucket { name, created_seconds })
    };
    let buckets: Option<Vec<_>> = page.buckets().iter().map(bucket).collect();
    let next = page.continuation_token().filter(|token| !token.is_empty());
    Ok((buckets.ok_or(ServiceFault::Torn)?, next.map(str::to_owned)))
}
