//! Whose a journal is: which tool copies what where, which entries are named, with which options, and who is at work.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use types::entry::Time;
use types::path::escaped;
use types::place::placement::TargetIs;

/// What a job copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The tool that does it.
    pub tool: String,
    /// Where from.
    pub sources: Vec<SourcePlace>,
    /// Where to, from the root directory on and without links.
    pub target: Vec<u8>,
    /// What was there when the job began: the same command means the same places when it is repeated.
    pub target_was: TargetIs,
    /// What is to be the copy was not there either, so that all that is in it was copied.
    pub is_copy_new: bool,
    /// What names the entries, where the source is not walked.
    pub names: Option<NamesFrom>,
    /// Options that decide what is written.
    pub settings: Vec<Setting>,
    /// When it began.
    pub began: Time,
}

/// A source, from the root directory on and without links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlace {
    /// Where it is.
    pub path: Vec<u8>,
    /// Its contents are meant: it was spelled with a slash at its end.
    pub is_contents: bool,
}

/// A file or list that names entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesFrom {
    /// The option.
    pub option: String,
    /// What it was given.
    pub path: Vec<u8>,
    /// Size and time of change, where it is a file or a directory.
    pub version: Option<(u64, Time)>,
}

/// An option that decides what is written, with what it was given; empty where it was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// As on the command line.
    pub name: String,
    /// As it is compared.
    pub value: String,
}

/// The user's mask: it limits modes that are not kept.
pub const UMASK: &str = "umask";

/// Options that may be added or changed by the next run of a command: what is finished gets them, too.
const APPLIED: [&str; 8] = [
    "--preserve=mode",
    "--preserve=ownership",
    "--preserve=xattr",
    "--specials",
    "--devices",
    "--chown",
    "--chmod",
    "--s3-directory-markers",
];

impl JobRecord {
    /// Whether the later job is this one once more: spelled as it may be, it is about the same entries and puts them
    /// where this one has put them.
    pub fn is_same_job(&self, later: &Self) -> bool {
        let paths = |job: &Self| job.sources.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
        let are_alike = self.target_was == TargetIs::Missing || self.sources == later.sources;
        self.tool == later.tool
            && self.target == later.target
            && self.names == later.names
            && paths(self) == paths(later)
            && are_alike
    }

    /// Options of the later job that make something else of what this one has finished.
    pub fn refused<'r>(&'r self, later: &'r Self) -> BTreeSet<&'r str> {
        let names = self.settings.iter().chain(&later.settings).map(|setting| &*setting.name);
        let is_refused = |name: &&str| {
            let (before, now) = (self.setting(name), later.setting(name));
            if *name == UMASK {
                // All that is new has what it would have now; of what is not, nobody knows what it was.
                return before != now && !now.is_empty() && !before.is_empty() && !self.is_copy_new;
            }
            before != now && (now.is_empty() || !APPLIED.contains(name))
        };
        names.filter(is_refused).collect()
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.iter().find(|setting| setting.name == name).map_or("", |it| &*it.value)
    }

    /// What goes on of this job as the later one: where it began to put entries, they go.
    #[must_use]
    pub fn gone_on_with(&self, later: &Self, began: Time) -> Self {
        let (sources, target_was) = (self.sources.clone(), self.target_was);
        Self { sources, target_was, is_copy_new: self.is_copy_new, began, ..later.clone() }
    }
}

impl fmt::Display for JobRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.tool)?;
        if let Some(names) = &self.names {
            write!(formatter, " {} {}", names.option, escaped(&names.path))?;
        }
        for source in &self.sources {
            let slash = if source.is_contents && source.path != b"/" { "/" } else { "" };
            write!(formatter, " {}{slash}", escaped(&source.path))?;
        }
        write!(formatter, " to {}", escaped(&self.target))
    }
}

/// A process that is at work, for those that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    since: Time,
    host: String,
    process: u32,
    /// The batch system's name and number of its job.
    batch: Option<(String, String)>,
}

/// Where batch systems tell a job its number.
const BATCH_SYSTEMS: [(&str, &str); 4] = [
    ("SLURM_JOB_ID", "Slurm"),
    ("PBS_JOBID", "PBS"),
    ("LSB_JOBID", "LSF"),
    ("FLUX_JOB_ID", "Flux"),
];

impl Worker {
    /// This process.
    pub fn here() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let number = |variable| std::env::var(variable).ok().filter(|number| !number.is_empty());
        let batch = BATCH_SYSTEMS
            .iter()
            .find_map(|(variable, system)| Some(((*system).to_owned(), number(variable)?)));
        Self { since: Time::now(), host, process: std::process::id(), batch }
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(since) = jiff::Timestamp::from_second(self.since.seconds) {
            write!(formatter, "since {since} ")?;
        }
        write!(formatter, "on {}, process {}", self.host, self.process)?;
        match &self.batch {
            Some((system, number)) => write!(formatter, ", {system} job {number}"),
            None => Ok(()),
        }
    }
}

/// A directory that was made to be the copy. Another one may have its path later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeTarget {
    /// Its inode.
    pub inode: u64,
    /// When that came into being, where the file system tells.
    pub born: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(settings: &[(&str, &str)]) -> JobRecord {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        JobRecord {
            tool: "dcp".to_owned(),
            sources: vec![SourcePlace { path: b"/s".to_vec(), is_contents: false }],
            target: b"/t".to_vec(),
            target_was: TargetIs::Missing,
            is_copy_new: true,
            names: None,
            settings: settings.iter().map(setting).collect(),
            began: Time { seconds: 0, nanoseconds: 0 },
        }
    }

    #[test]
    fn a_job_is_one_of_a_tool_a_pair_of_places_and_a_set_of_names() {
        let first = job(&[]);
        let contents = vec![SourcePlace { path: b"/s".to_vec(), is_contents: true }];
        let into = JobRecord { target_was: TargetIs::Directory, ..first.clone() };
        let slash = JobRecord { sources: contents, ..first.clone() };
        assert!(first.is_same_job(&first) && first.is_same_job(&slash));
        assert!(!into.is_same_job(&slash), "it goes into t, not t/s");
        let names = |size| {
            let option = "--files-from".to_owned();
            Some(NamesFrom { option, path: b"/l".to_vec(), version: Some((size, first.began)) })
        };
        let listed = JobRecord { names: names(5), ..first.clone() };
        for other in [
            JobRecord { tool: "dsync".to_owned(), ..first.clone() },
            JobRecord { target: b"/u".to_vec(), ..first.clone() },
            JobRecord { sources: Vec::new(), ..first.clone() },
            listed.clone(),
        ] {
            assert!(!first.is_same_job(&other) && !other.is_same_job(&first), "{other}");
        }
        assert!(!listed.is_same_job(&JobRecord { names: names(6), ..first }));
    }

    #[test]
    fn what_more_is_kept_is_applied_and_all_else_is_refused_by_name() {
        let refused = |before: &str, now: &str, name: &str| {
            let (before, now) = (job(&[(name, before)]), job(&[(name, now)]));
            before.refused(&now).into_iter().collect::<String>()
        };
        assert_eq!(refused("", "yes", "--preserve=mode"), "");
        assert_eq!(refused("1:1", "2:2", "--chown"), "");
        assert_eq!(refused("yes", "", "--preserve=mode"), "--preserve=mode");
        assert_eq!(refused("", "x", "--exclude"), "--exclude");
        assert_eq!(refused("x", "", "--exclude"), "--exclude");
        assert_eq!(refused("x", "x", "--exclude"), "");
    }
}
