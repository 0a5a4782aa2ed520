//! Command-line options about the user as whom a job works.

use clap::Args;
use host::identity::{self, Identity};
use serde::{Deserialize, Serialize};
use uzers::{get_group_by_name, get_user_by_name, get_user_by_uid, get_user_groups};

/// Options of a job that root starts for somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Identity")]
pub struct IdentityArgs {
    /// Work as USER, a name or a number, on all ranks: a job that root has started reads and writes
    /// only what USER may
    #[arg(short = 'U', long, value_name = "USER")]
    uid: Option<String>,

    /// Work with GROUP, a name or a number, as the group [default: that of --uid]
    #[arg(short = 'G', long, value_name = "GROUP")]
    gid: Option<String>,
}

impl IdentityArgs {
    /// Identity that is asked for; `None` for that of the process.
    ///
    /// # Errors
    /// Fails for a name that is unknown, and where the process may not assume it.
    pub fn identity(&self) -> Result<Option<Identity>, IdentityError> {
        if self.uid.is_none() && self.gid.is_none() {
            return Ok(None);
        }
        if !identity::is_root() {
            return Err(IdentityError::NotRoot);
        }
        let user = self.uid.as_deref().map(user).transpose()?;
        let name = user.as_ref().and_then(|user| user.name.as_deref());
        let own_gid = user.as_ref().map_or(Some(0), |user| user.gid);
        let gid = match &self.gid {
            Some(text) => group(text)?,
            None => own_gid.ok_or(IdentityError::GroupOfUser)?,
        };
        let groups = name.and_then(|name| get_user_groups(name, gid)).unwrap_or_default();
        let groups = groups.iter().map(uzers::Group::gid).filter(|group| *group != gid);
        let groups = std::iter::once(gid).chain(groups).collect();
        Ok(Some(Identity { uid: user.map_or(0, |user| user.uid), gid, groups }))
    }
}

/// Reason why a job does not get another identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The process may not assume it.
    #[error("--uid and --gid are for jobs that root has started")]
    NotRoot,
    /// The user is no one of this system.
    #[error("--uid: there is no user \"{0}\"")]
    User(String),
    /// The group is none of this system.
    #[error("--gid: there is no group \"{0}\"")]
    Group(String),
    /// The user is a number that the system does not know.
    #[error("the group of --uid is unknown; name it with --gid")]
    GroupOfUser,
}

/// User as the system's database has it, if it does.
struct User {
    uid: u32,
    gid: Option<u32>,
    name: Option<std::ffi::OsString>,
}

/// Finds a user; as with chown(1), names come before numbers.
fn user(text: &str) -> Result<User, IdentityError> {
    let number = || text.parse().ok().filter(|uid| *uid != u32::MAX);
    let found = get_user_by_name(text).or_else(|| get_user_by_uid(number()?));
    let known = |user: uzers::User| User {
        uid: user.uid(),
        gid: Some(user.primary_group_id()),
        name: Some(user.name().to_owned()),
    };
    let unknown = || Some(User { uid: number()?, gid: None, name: None });
    found.map(known).or_else(unknown).ok_or_else(|| IdentityError::User(text.to_owned()))
}

fn group(text: &str) -> Result<u32, IdentityError> {
    let named = get_group_by_name(text).map(|group| group.gid());
    let number = || text.parse().ok().filter(|gid| *gid != u32::MAX);
    named.or_else(number).ok_or_else(|| IdentityError::Group(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uid: Option<&str>, gid: Option<&str>) -> Result<Option<Identity>, IdentityError> {
        IdentityArgs { uid: uid.map(str::to_owned), gid: gid.map(str::to_owned) }.identity()
    }

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(asked(None, None), Ok(None));
        if !identity::is_root() {
            assert!(asked(Some("0"), None).unwrap_err().to_string().contains("root has started"));
            return;
        }
        let ids = |uid, gid| asked(uid, gid).unwrap().map(|found| (found.uid, found.gid));
        assert_eq!(ids(Some("root"), None), Some((0, 0)));
        assert_eq!(ids(Some("nobody"), None), Some((65534, 65534)));
        assert_eq!(ids(Some("65534"), Some("daemon")), Some((65534, 1)));
        assert_eq!(ids(Some("123456"), Some("654321")), Some((123_456, 654_321)));
        let groups = asked(Some("123456"), Some("654321")).unwrap().unwrap().groups;
        assert_eq!(groups, [654_321], "none of root's");
        for (uid, gid) in [
            (Some("123456"), None),
            (Some("no-such-user"), None),
            (Some("4294967295"), Some("1")),
            (Some("0"), Some("no-such-group")),
        ] {
            assert!(asked(uid, gid).is_err(), "{uid:?} {gid:?}");
        }
    }
}
