//! Properties that a copy within the service must name besides content, headers and user metadata:
//! tags, storage class, encryption, and the access control list. A copy that does not name them
//! gets the defaults.

use aws_sdk_s3::operation::get_object_acl::GetObjectAclOutput;
use aws_sdk_s3::types::{Grant, Permission, Tag};

use crate::config::settings::CopyTags;
use crate::read::object::Bucket;
use crate::write::fields::NewObject;
use crate::write::tags_and_grants::{Grants, Tags};
use store::ObjectAddress;
use types::error::{Cause, Op, Result};
use types::service::ServiceFault;

impl Bucket {
    /// Lets the service copy a whole object. Returns true if the copy lacks the tags, because this
    /// account may not read them.
    pub fn copy_with_tags(&self, new: &NewObject, from: &ObjectAddress) -> Result<bool> {
        let untagged = || NewObject { tags: Tags::Dropped, ..new.clone() };
        match self.service.settings.object.copy_tags {
            CopyTags::Never => self.copy_whole(&untagged(), from).map(|()| false),
            CopyTags::Always => self.copy_whole(new, from).map(|()| false),
            CopyTags::Auto => match self.copy_whole(new, from) {
                // If something other than the tags was denied, the copy without tags is denied too.
                Err(error) if is_denied(error.cause) => {
                    self.copy_whole(&untagged(), from).map(|()| true)
                }
                copied => copied.map(|()| false),
            },
        }
    }

    /// Adds the tags of the source object to a new object that is copied in parts, which the
    /// service does not do by itself.
    pub fn with_tags_of(&self, mut new: NewObject, from: &ObjectAddress) -> Result<NewObject> {
        let copy_tags = self.service.settings.object.copy_tags;
        if copy_tags == CopyTags::Never {
            return Ok(new);
        }
        let answer = self.service.call(Op::Stat, |client| {
            client
                .get_object_tagging()
                .bucket(&from.bucket)
                .key(&from.key)
                .set_request_payer(self.payer())
                .send()
        });
        match answer {
            Ok(answer) if answer.tag_set().is_empty() => {}
            Ok(answer) => new.tags = Tags::These(as_header(answer.tag_set())),
            Err(error) if is_unknown(error.cause) => {}
            Err(error) if copy_tags == CopyTags::Auto && is_denied(error.cause) => {
                new.preserved.properties_lost = true;
            }
            Err(error) => return Err(error),
        }
        Ok(new)
    }

    /// Adds to an object that is copied onto itself the grants of its access control list, unless
    /// the operator sets another ACL. Its storage class and encryption come with its headers.
    pub fn as_it_was(&self, mut new: NewObject) -> Result<NewObject> {
        new.preserved.properties_lost |= new.headers.storage.is_locked;
        if self.service.settings.object.acl.is_some() {
            return Ok(new);
        }
        let answer = self.service.call(Op::Stat, |client| {
            client
                .get_object_acl()
                .bucket(&self.name)
                .key(&new.key)
                .set_request_payer(self.payer())
                .send()
        });
        match answer {
            Ok(answer) => match grants_of(&answer) {
                Some(grants) => new.grants = grants,
                None => new.preserved.properties_lost = true,
            },
            Err(error) if is_unknown(error.cause) => {}
            // It is unknown whether there is any grant to lose, so a loss is reported.
            Err(error) if is_denied(error.cause) => new.preserved.properties_lost = true,
            Err(error) => return Err(error),
        }
        Ok(new)
    }
}

/// Converts an access control list to headers. The result is empty if the owner has all permissions
/// and nobody else has any, which is the default; `None` if a grant cannot be expressed in a
/// header.
fn grants_of(answer: &GetObjectAclOutput) -> Option<Grants> {
    let owner = answer.owner().and_then(|owner| owner.id());
    let is_default = |grant: &Grant| {
        let grantee = grant.grantee().and_then(|grantee| grantee.id());
        grantee.is_some()
            && grantee == owner
            && grant.permission() == Some(&Permission::FullControl)
    };
    let mut grants = Grants::default();
    if answer.grants().iter().all(is_default) {
        return Some(grants);
    }
    for grant in answer.grants() {
        let header = match grant.permission()? {
            Permission::FullControl => &mut grants.full_control,
            Permission::Read => &mut grants.read,
            Permission::ReadAcp => &mut grants.read_acp,
            Permission::WriteAcp => &mut grants.write_acp,
            // The permission to write has no meaning for objects.
            Permission::Write => continue,
            _ => return None,
        };
        let grantee = grant.grantee()?;
        let named = match (grantee.id(), grantee.uri()) {
            (Some(id), _) => format!("id=\"{id}\""),
            (None, Some(uri)) => format!("uri=\"{uri}\""),
            (None, None) => return None,
        };
        *header = Some(header.take().map_or(named.clone(), |before| format!("{before}, {named}")));
    }
    Some(grants)
}

/// Encodes tags as `key=value&key=value`, with percent encoding.
fn as_header(tags: &[Tag]) -> String {
    let pair = |tag: &Tag| {
        format!("{}={}", urlencoding::encode(tag.key()), urlencoding::encode(tag.value()))
    };
    tags.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn is_denied(cause: Cause) -> bool {
    matches!(cause, Cause::System(libc::EACCES) | Cause::Service(ServiceFault::Status(403)))
}

/// Returns whether the service does not implement the request, so that there is nothing to lose.
fn is_unknown(cause: Cause) -> bool {
    matches!(cause, Cause::Service(ServiceFault::Status(400 | 404 | 405 | 501)))
        || cause.is_unsupported()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{Grantee, Owner, Type};

    use super::*;

    fn grant(id: Option<&str>, uri: Option<&str>, permission: Permission) -> Grant {
        let kind = if id.is_some() { Type::CanonicalUser } else { Type::Group };
        let grantee = Grantee::builder().set_id(id.map(Into::into)).set_uri(uri.map(Into::into));
        Grant::builder()
            .grantee(grantee.r#type(kind).build().unwrap())
            .permission(permission)
            .build()
    }

    fn acl(grants: Vec<Grant>) -> GetObjectAclOutput {
        let owner = Owner::builder().id("me").build();
        GetObjectAclOutput::builder().owner(owner).set_grants(Some(grants)).build()
    }

    #[test]
    fn grants_are_headers_and_the_default_is_none() {
        let own = || grant(Some("me"), None, Permission::FullControl);
        assert_eq!(grants_of(&acl(vec![own()])), Some(Grants::default()));
        let all = "http://acs.amazonaws.com/groups/global/AllUsers";
        let public = acl(vec![
            own(),
            grant(None, Some(all), Permission::Read),
            grant(Some("you"), None, Permission::Read),
        ]);
        let expected = Grants {
            full_control: Some("id=\"me\"".into()),
            read: Some(format!("uri=\"{all}\", id=\"you\"")),
            ..Grants::default()
        };
        assert_eq!(grants_of(&public), Some(expected));
        assert_eq!(grants_of(&acl(vec![grant(None, None, Permission::Read)])), None);
    }

    #[test]
    fn tags_are_one_header() {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
        assert_eq!(as_header(&[tag("a b", "c&d"), tag("e", "")]), "a%20b=c%26d&e=");
    }
}
