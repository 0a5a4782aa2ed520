//! The description of a journal's job: which tool copies what where, which list names the entries,
//! with which options, and which process is at work.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use types::entry::Time;
use types::operand::placement::TargetIs;
use types::path::escaped;

/// The description of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The name of the tool.
    pub tool: String,
    /// The sources of the copy.
    pub sources: Vec<SourcePlace>,
    /// The absolute path of the target, without symbolic links.
    pub target: Vec<u8>,
    /// The type of the target when the job began. A repeated command must mean the same location,
    /// although the target exists by then.
    pub target_was: TargetIs,
    /// True if the directory to become the copy did not exist either, so that everything in it was
    /// copied.
    pub is_copy_new: bool,
    /// The list that names the entries, where the source is not walked.
    pub names: Option<NamesFrom>,
    /// The options that decide what is written.
    pub settings: Vec<Setting>,
    /// The time at which the job began.
    pub began: Time,
}

/// A source, by its absolute path without symbolic links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlace {
    /// The path of the source.
    pub path: Vec<u8>,
    /// True if the contents of the directory are meant, because the path was given with a slash at
    /// its end.
    pub is_contents: bool,
}

/// A file or list that names entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesFrom {
    /// The option by which it was given.
    pub option: String,
    /// The path that the option was given.
    pub path: Vec<u8>,
    /// The size and modification time of the list, where it is a file or directory.
    pub version: Option<(u64, Time)>,
}

/// An option that decides what is written, with its value, which is empty where the option was not
/// given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The name of the option as on the command line.
    pub name: String,
    /// The value in the form in which it is compared.
    pub value: String,
}

/// The setting that stands for the user's umask, which limits modes that are not preserved.
pub const UMASK: &str = "umask";

/// Options that the next run may add or change, since they are applied to completed files as well.
const APPLIED: [&str; 9] = [
    "--preserve=mode",
    "--preserve=acl",
    "--preserve=ownership",
    "--preserve=xattr",
    "--specials",
    "--devices",
    "--chown",
    "--chmod",
    "--s3-directory-markers",
];

impl JobRecord {
    /// Returns whether the later job repeats this one: whatever its spelling, it copies the same
    /// entries to the same location.
    pub fn is_same_job(&self, later: &Self) -> bool {
        let paths = |job: &Self| job.sources.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
        let are_alike = self.target_was == TargetIs::Missing || self.sources == later.sources;
        self.tool == later.tool
            && self.target == later.target
            && self.names == later.names
            && paths(self) == paths(later)
            && are_alike
    }

    /// Returns the options of the later job that would make something else of the files that this
    /// job has completed.
    pub fn refused<'r>(&'r self, later: &'r Self) -> BTreeSet<&'r str> {
        let names = self.settings.iter().chain(&later.settings).map(|setting| &*setting.name);
        let is_refused = |name: &&str| {
            let (before, now) = (self.setting(name), later.setting(name));
            if *name == UMASK {
                // In a copy that is new as a whole, everything can get the mode that it would have
                // now. Elsewhere nobody knows which mode an entry had before the copy.
                return before != now && !now.is_empty() && !before.is_empty() && !self.is_copy_new;
            }
            before != now && (now.is_empty() || !APPLIED.contains(name))
        };
        names.filter(is_refused).collect()
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.iter().find(|setting| setting.name == name).map_or("", |it| &*it.value)
    }

    /// Returns the description of the later job that resumes this one. It keeps the sources and the
    /// type of the target, by which this job has decided where entries go.
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

/// A process at work on a journal, as described to a job that is refused because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    since: Time,
    host: String,
    process: u32,
    /// The name of the batch system, and its identifier of the job.
    batch: Option<(String, String)>,
}

/// Environment variables in which batch systems tell a job its identifier, and the names of these
/// systems.
const BATCH_SYSTEMS: [(&str, &str); 4] = [
    ("SLURM_JOB_ID", "Slurm"),
    ("PBS_JOBID", "PBS"),
    ("LSB_JOBID", "LSF"),
    ("FLUX_JOB_ID", "Flux"),
];

impl Worker {
    /// Describes this process.
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

/// The identification of a directory that was created to become the copy, since another directory
/// may have its path later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeTarget {
    /// The inode number of the directory.
    pub inode: u64,
    /// The birth time of the directory, where the file system records it.
    pub born: Option<Time>,
}

impl MadeTarget {
    /// Returns the identification of the directory at a path, if one is there.
    pub fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok().filter(Metadata::is_dir)?;
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.map(|since| Time {
            seconds: since.as_secs() as i64,
            nanoseconds: since.subsec_nanos(),
        });
        Some(Self { inode: metadata.ino(), born })
    }
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
