//! Command-line options that say what a copy keeps of its source, and what it is given instead: the
//! same for all tools that write, as cp(1) and rsync(1) name them.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use uzers::{get_group_by_name, get_user_by_name};

use ops::copy::options::HardLinks;
use types::attributes::keep::{Chown, Keep, XattrChoice};
use types::attributes::mode_change::ModeChange;

/// Options about attributes and special files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Attributes")]
pub struct KeepArgs {
    /// Preserve all attributes, or those in LIST
    ///
    /// LIST: mode (with access control lists), acl, ownership, timestamps (to the nanosecond),
    /// xattr, all, and links, which is -H. dsync preserves all of them by default. The modification
    /// time is stored with objects in S3, and read from those that have it, in any case.
    #[arg(
        short,
        long,
        value_name = "LIST",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = PreserveList::parse
    )]
    preserve: Option<PreserveList>,

    /// Do not preserve the attributes in LIST
    #[arg(long, value_name = "LIST", value_parser = PreserveList::parse)]
    no_preserve: Option<PreserveList>,

    /// Preserve everything that can be preserved
    ///
    /// Stands for --preserve --hard-links --specials, as root --devices, and in S3
    /// --s3-directory-markers.
    #[arg(short, long)]
    pub(super) archive: bool,

    /// Preserve hard links
    #[arg(short = 'H', long)]
    hard_links: bool,

    /// Extended attributes to preserve: those of users, all but those of Lustre, or all; layouts of
    /// files never are. By default, where attributes are preserved, those of users and file
    /// capabilities, and with -a as root non-lustre
    ///
    /// With none, access control lists are not preserved, either, unless by --preserve=acl.
    #[arg(short = 'X', long, value_name = "WHICH", value_enum)]
    xattrs: Option<WhichXattrs>,

    /// Copy FIFOs and sockets, instead of skipping them
    #[arg(long)]
    specials: bool,

    /// Copy device files, instead of skipping them; only root may
    #[arg(long)]
    devices: bool,

    /// Set the owner and group of everything that is written, by name or number; set-id bits of
    /// other owners are dropped
    #[arg(long, value_name = "USER:GROUP", value_parser = parse_chown)]
    chown: Option<Chown>,

    /// Change the mode of everything that is written, as chmod does: 750, u+rwX,go-w; D2775,F664
    /// for directories and files
    #[arg(long, value_name = "MODE", value_parser = ModeChange::parse)]
    chmod: Option<ModeChange>,

    /// Preserve numeric owners instead of their names: always on
    #[arg(long)]
    numeric_ids: bool,
}

/// Options of rsync(1) that preserve one attribute each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SingleKeepArgs {
    #[arg(short = 't', long, hide = true)]
    times: bool,
    #[arg(short = 'o', long, hide = true)]
    owner: bool,
    #[arg(long, hide = true)]
    group: bool,
    #[arg(long, hide = true)]
    perms: bool,
    #[arg(short = 'A', long, hide = true)]
    acls: bool,
    #[arg(short = 'M', long, hide = true)]
    metadata: bool,
}

/// A list of attributes, as cp(1) names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct PreserveList {
    mode: bool,
    /// Access control lists where they are named; otherwise they go with the mode.
    acl: bool,
    ownership: bool,
    timestamps: bool,
    xattr: bool,
    links: bool,
}

/// Values of `--xattrs`, as in mpiFileUtils.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum WhichXattrs {
    None,
    All,
    NonLustre,
    User,
    /// Attributes that `-X` of rsync(1), which takes no value, preserves for this user.
    #[value(hide = true)]
    Visible,
}

impl From<WhichXattrs> for XattrChoice {
    fn from(which: WhichXattrs) -> Self {
        match which {
            WhichXattrs::None => Self::None,
            WhichXattrs::All => Self::All,
            WhichXattrs::NonLustre => Self::NonLustre,
            WhichXattrs::User => Self::User,
            WhichXattrs::Visible => Self::Own,
        }
    }
}

impl PreserveList {
    const NONE: Self = Self {
        mode: false,
        acl: false,
        ownership: false,
        timestamps: false,
        xattr: false,
        links: false,
    };

    /// All attributes: which names are links is none.
    const ALL: Self =
        Self { mode: true, ownership: true, timestamps: true, xattr: true, ..Self::NONE };

    fn parse(text: &str) -> Result<Self, String> {
        text.split(',').try_fold(Self::default(), Self::and)
    }

    fn and(self, word: &str) -> Result<Self, String> {
        Ok(match word {
            "mode" => Self { mode: true, ..self },
            "acl" => Self { acl: true, ..self },
            "ownership" => Self { ownership: true, ..self },
            "timestamps" => Self { timestamps: true, ..self },
            "xattr" => Self { xattr: true, ..self },
            "links" => Self { links: true, ..self },
            // A flag from the environment.
            "all" | "true" => Self::ALL,
            "false" => self,
            _ => {
                let known = "mode, acl, ownership, timestamps, xattr, links, all";
                return Err(format!("invalid attribute \"{word}\"; expected some of {known}"));
            }
        })
    }

    fn with(self, singly: SingleKeepArgs) -> Self {
        let SingleKeepArgs { times, owner, group, perms, acls, metadata } = singly;
        if metadata {
            return Self { links: self.links, ..Self::ALL };
        }
        Self {
            mode: self.mode || perms,
            acl: self.acl || acls,
            ownership: self.ownership || owner || group,
            timestamps: self.timestamps || times,
            ..self
        }
    }

    fn of(keep: &Keep) -> Self {
        let Keep { mode, acls, owner, times, xattrs, .. } = *keep;
        Self {
            mode,
            acl: acls && !mode,
            ownership: owner,
            timestamps: times,
            xattr: xattrs != XattrChoice::None,
            links: false,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            mode: self.mode && !other.mode,
            acl: self.acl && !other.acl && !other.mode,
            ownership: self.ownership && !other.ownership,
            timestamps: self.timestamps && !other.timestamps,
            xattr: self.xattr && !other.xattr,
            links: self.links && !other.links,
        }
    }
}

impl KeepArgs {
    /// Treatment of hard links.
    pub fn hard_links(&self) -> HardLinks {
        let names_links = |list: Option<PreserveList>| list.is_some_and(|list| list.links);
        let is_asked_for = self.hard_links || self.archive || names_links(self.preserve);
        if is_asked_for && !names_links(self.no_preserve) {
            HardLinks::Keep
        } else {
            HardLinks::Separate
        }
    }

    /// Attributes to preserve, for a tool that preserves `by_default` without options.
    pub fn keep(
        &self,
        by_default: &Keep,
        singly: SingleKeepArgs,
        (umask, is_superuser): (u32, bool),
    ) -> Keep {
        let asked = match self.preserve {
            _ if self.archive => PreserveList::ALL,
            None => PreserveList::of(by_default),
            Some(list) => list,
        };
        let refused = self.no_preserve.unwrap_or_default();
        let kept = asked.with(singly).without(refused);
        let named = self.xattrs.filter(|which| *which != WhichXattrs::Visible);
        let chosen = named.map(XattrChoice::from).filter(|_| !refused.xattr);
        let is_as_rsync = self.archive || self.xattrs == Some(WhichXattrs::Visible);
        let xattrs = chosen.unwrap_or(match kept.xattr || is_as_rsync && !refused.xattr {
            false => XattrChoice::None,
            // As rsync(1): only the superuser sees `trusted.*`.
            true if is_as_rsync && is_superuser => XattrChoice::NonLustre,
            true => XattrChoice::Own,
        });
        let with_mode = kept.mode && !refused.acl && chosen != Some(XattrChoice::None);
        Keep {
            mode: kept.mode || kept.acl,
            acls: kept.acl || with_mode,
            owner: kept.ownership,
            times: kept.timestamps,
            xattrs,
            specials: self.specials || self.archive,
            devices: self.devices || self.archive && is_superuser,
            chown: self.chown.unwrap_or_default(),
            chmod: self.chmod.clone().map(|change| change.under(umask)),
        }
    }
}

/// Reads `USER`, `USER:GROUP` or `:GROUP`; as with chown(1), names come before numbers.
fn parse_chown(text: &str) -> Result<Chown, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let number = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
    let uid = match user {
        "" => None,
        name => {
            let uid = get_user_by_name(name).map(|user| user.uid()).or_else(|| number(name));
            Some(uid.ok_or_else(|| format!("there is no user \"{name}\" here"))?)
        }
    };
    let gid = match group {
        "" => None,
        name => {
            let gid = get_group_by_name(name).map(|group| group.gid()).or_else(|| number(name));
            Some(gid.ok_or_else(|| format!("there is no group \"{name}\" here"))?)
        }
    };
    if uid.is_none() && gid.is_none() {
        return Err("write USER, USER:GROUP or :GROUP".to_owned());
    }
    Ok(Chown { uid, gid })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Tool {
        #[command(flatten)]
        keep: KeepArgs,
        #[arg(short)]
        n: bool,
        path: Option<String>,
    }

    const USER: (u32, bool) = (0o022, false);
    const ROOT: (u32, bool) = (0o022, true);

    fn keep(words: &[&str], by_default: &Keep, by: (u32, bool)) -> Keep {
        let words = ["tool"].iter().chain(words);
        Tool::try_parse_from(words).unwrap().keep.keep(by_default, SingleKeepArgs::default(), by)
    }

    #[test]
    fn lists_of_attributes_are_read_as_cp_reads_them() {
        let none = Keep::default();
        let dcp = |words: &[&str]| keep(words, &none, ROOT);
        let dsync = |words: &[&str]| keep(words, &Keep::all(), ROOT);
        assert_eq!(dcp(&[]), none);
        assert_eq!(dsync(&[]), Keep::all());
        for words in [&["-p", "path"][..], &["--preserve", "path"], &["--preserve=all"], &["-pn"]] {
            assert_eq!(dcp(words), Keep::all(), "{words:?}");
        }
        let some = Keep { mode: true, acls: true, times: true, ..Keep::default() };
        assert_eq!(dcp(&["--preserve=mode,timestamps"]), some);
        assert_eq!(dsync(&["--preserve=mode,timestamps"]), some);
        assert_eq!(dcp(&["-p", "--no-preserve=ownership,xattr"]), some);
        assert_eq!(dsync(&["--no-preserve=all"]), none);
        assert!(Tool::try_parse_from(["tool", "--preserve=context"]).is_err());
        let parsed = Tool::try_parse_from(["tool", "-pn", "path"]).unwrap();
        assert!(parsed.n && parsed.path.is_some());
    }

    #[test]
    fn an_archive_has_all_that_its_user_may_make() {
        let of = |by| keep(&["-a"], &Keep::default(), by);
        let all = Keep { xattrs: XattrChoice::NonLustre, ..Keep::all() };
        assert_eq!(of(ROOT), Keep { specials: true, devices: true, ..all });
        assert_eq!(of(USER), Keep { specials: true, ..Keep::all() });
    }

    #[test]
    fn extended_attributes_are_chosen_as_in_mpifileutils() {
        let xattrs = |words: &[&str]| keep(words, &Keep::default(), USER).xattrs;
        assert_eq!(xattrs(&["-p"]), XattrChoice::Own);
        assert_eq!(xattrs(&["-p", "--xattrs", "none"]), XattrChoice::None);
        assert_eq!(xattrs(&["-p", "--xattrs", "non-lustre"]), XattrChoice::NonLustre);
        assert_eq!(xattrs(&["--xattrs=user"]), XattrChoice::User);
        assert_eq!(xattrs(&["-a", "--xattrs=all", "--no-preserve=xattr"]), XattrChoice::None);
    }

    #[test]
    fn access_control_lists_go_with_the_mode_unless_something_else_is_said() {
        let kept = |words: &[&str]| {
            let keep = keep(words, &Keep::default(), USER);
            (keep.mode, keep.acls)
        };
        assert_eq!(kept(&["-p"]), (true, true));
        assert_eq!(kept(&["--preserve=mode"]), (true, true));
        assert_eq!(kept(&["-p", "--no-preserve=acl"]), (true, false));
        assert_eq!(kept(&["-p", "--xattrs=none"]), (true, false));
        assert_eq!(kept(&["--preserve=mode,acl", "--xattrs=none"]), (true, true));
        assert_eq!(kept(&["--preserve=acl"]), (true, true));
        assert_eq!(kept(&["-p", "--no-preserve=mode"]), (false, false));
        assert_eq!(kept(&["--preserve=timestamps"]), (false, false));
    }

    #[test]
    fn owners_are_names_or_numbers_that_exist() {
        assert_eq!(parse_chown("0:0"), Ok(Chown { uid: Some(0), gid: Some(0) }));
        assert_eq!(parse_chown("root:12345"), Ok(Chown { uid: Some(0), gid: Some(12345) }));
        assert_eq!(parse_chown(":root"), Ok(Chown { uid: None, gid: Some(0) }));
        assert_eq!(parse_chown("root"), Ok(Chown { uid: Some(0), gid: None }));
        for wrong in ["", ":", "no such user", "root:no such group", "4294967295", "-1"] {
            assert!(parse_chown(wrong).is_err(), "{wrong}");
        }
    }
}
