//! The end of a job, as a table for people and as JSON for programs.

mod clean;
pub mod compare;
mod remove;
pub(super) mod sync;

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json as events;
use super::topology::Topology;
use ops::usage::Usage;
use ops::usage::directories::Below;
use sched::counters::Counters;
use types::entry::Proof;
use types::error::errno_words;
use types::exit::Exit;
use types::outcome::tally::Tally;
use types::size::{human_bytes, human_count};

/// One rank's part in the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankReport {
    /// Node of the rank.
    pub host: String,
    /// Counts of the rank.
    pub tally: Tally,
    /// Counters of its engine.
    pub counters: Counters,
    /// Most memory it ever had resident.
    pub peak_memory_bytes: u64,
}

impl RankReport {
    /// Creates this rank's report.
    pub fn new(host: &str, tally: &Tally, counters: Counters) -> Self {
        Self {
            host: host.to_owned(),
            tally: *tally,
            counters,
            peak_memory_bytes: peak_memory_bytes(),
        }
    }

    /// Time its threads had work, as a share of the whole.
    fn busy_share(&self) -> f64 {
        let available = self.counters.thread_ns.max(1) as f64;
        (1.0 - self.counters.idle_ns as f64 / available).clamp(0.0, 1.0)
    }
}

/// Kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Entries are looked at.
    Walk,
    /// Entries are copied.
    Copy,
    /// One tree is made equal another.
    Sync,
    /// Entries are removed.
    Remove,
    /// Leftovers of interrupted jobs are removed.
    Clean,
    /// Two trees are compared.
    Compare(compare::Method),
}

/// The whole job.
#[derive(Debug)]
pub struct Summary {
    /// Name of the tool.
    pub tool: &'static str,
    /// Kind of the job.
    pub operation: Operation,
    /// True for a dry run.
    pub is_dry_run: bool,
    /// Bytes of unfinished files that are at the target, where a dry run has met a job to go on
    /// with.
    pub there_bytes: Option<u64>,
    /// All ranks, in order.
    pub ranks: Vec<RankReport>,
    /// Nodes of the job.
    pub nodes: usize,
    /// Time from the first task to the last, and to the last line of a sorted list.
    pub elapsed: Duration,
    /// How it ended.
    pub exit: Exit,
    /// Command that does what this job has not done.
    pub again: Option<String>,
    /// Statistics, where they were asked for.
    pub usage: Option<UsageSummary>,
}

/// Statistics of all ranks.
#[derive(Debug)]
pub struct UsageSummary {
    /// Statistics.
    pub usage: Usage,
    /// Directories with everything below them, the largest first.
    pub below: Vec<Below>,
}

const TIMES_CUT: &str = "modification times of files: the target stores them in coarser units than \
    the source";

const PASSED_OVER: &str =
    "temporary files and journals of jobs; dcp --clean removes those of dead jobs";
const OWNER_NOT_KEPT: &str =
    "owner or group: this user may not change them; set-id bits were dropped";
const XATTRS_NOT_KEPT: &str = "extended attributes or ACLs that the target does not support";
const ATTRIBUTES_NOT_KEPT: &str = "owner, mode or timestamps, which the target cannot store";
const PROPERTIES_NOT_KEPT: &str = "tags, ACLs or locks of objects that this account may not read, \
    or a copy cannot have (--s3-copy-tags)";
const LAYOUTS_NOT_SET: &str =
    "files that could not be striped as requested; they have the layout of their directory";
const DIRECTORIES_NOT_KEPT: &str = "directories, which the target has only by their contents: no \
    empty ones, no owner, mode and timestamps; -a or --s3-directory-markers preserves them";
const LINKS_NOT_KEPT: &str = "hard links, which became separate files";
const NOT_VERIFIED: &str = "files: changed by another process, unreadable, or cancelled";
const UNJOURNALED: &str = "records; a job that resumes this one would repeat more work";
const REQUESTS_REFUSED: &str =
    "requests to a busy service; the rate was reduced, and they were retried";

/// Words for the errno for which a target counts as hopeless.
fn why_given_up(errno: u64) -> String {
    match errno as i32 {
        libc::ENOSPC => "the target is full".to_owned(),
        libc::EDQUOT => "the quota at the target is used up".to_owned(),
        libc::EROFS => "the target is read-only".to_owned(),
        0 => "the remaining work was cancelled".to_owned(),
        errno => format!("the target answers only \"{}\"", errno_words(errno)),
    }
}

impl Summary {
    /// Sums over all ranks.
    pub fn totals(&self) -> Tally {
        let mut totals = Tally::default();
        self.ranks.iter().for_each(|rank| totals.add(&rank.tally));
        totals
    }

    fn is_copy(&self) -> bool {
        matches!(self.operation, Operation::Copy | Operation::Sync)
    }

    /// Summary as a table.
    pub fn to_text(&self, verbose: bool) -> String {
        let totals = self.totals();
        let mut text = String::new();
        if self.operation == Operation::Clean {
            clean::write_text(&mut text, &totals.leftovers, self.is_dry_run);
        } else if self.operation == Operation::Remove {
            remove::write_text(&mut text, &totals, self.is_dry_run);
        } else {
            self.items(&mut text, &totals);
        }
        if let Operation::Compare(method) = self.operation {
            compare::write_text(&mut text, &totals.compared, method);
        }
        if self.operation == Operation::Sync {
            sync::write_text(&mut text, &totals.synced, self.is_dry_run);
            compare::write_objects(&mut text, &totals.compared);
        }
        Self::proven(&mut text, &totals);
        self.left(&mut text, &totals);
        Self::verified(&mut text, &totals);
        self.problems(&mut text, &totals);
        self.speed(&mut text, &totals);
        if verbose {
            self.rank_table(&mut text);
        }
        if let Some(UsageSummary { usage, below }) = &self.usage {
            text.push_str(&super::usage::text(usage, below));
        }
        self.last_line(&mut text, &totals);
        text
    }

    fn items(&self, text: &mut String, totals: &Tally) {
        let copied = if self.is_dry_run { "would copy" } else { "copied" };
        let second = if self.is_copy() { copied } else { "" };
        let header = format!("{:<15}{:>16}{second:>16}", "", "found");
        let _ = writeln!(text, "{}", header.trim_end());
        let rows = [
            ("files", totals.found.files, totals.copied.files),
            ("directories", totals.found.directories, totals.copied.directories),
            ("symlinks", totals.found.symlinks, totals.copied.symlinks),
            ("special files", totals.found.special_files, totals.copied.special_files),
            ("items", totals.found.total(), totals.copied.total()),
        ];
        for (name, found, done) in rows {
            let done = if self.is_copy() { human_count(done) } else { String::new() };
            let row = format!("{name:<15}{:>16}{done:>16}", human_count(found));
            let _ = writeln!(text, "{}", row.trim_end());
        }
        let done = if self.is_copy() { human_bytes(totals.copied_bytes) } else { String::new() };
        let row = format!("{:<15}{:>16}{done:>16}", "data", human_bytes(totals.found_bytes));
        let _ = writeln!(text, "{}", row.trim_end());
        if !self.is_copy() {
            let allocated = human_bytes(totals.found_allocated_bytes);
            let _ = writeln!(text, "{:<15}{allocated:>16}", "allocated");
        }
        if totals.hard_linked > 0 {
            let count = human_count(totals.hard_linked);
            let words = if self.is_dry_run { "would become" } else { "became" };
            let _ = writeln!(
                text,
                "{:<15}{count:>16}   names that {words} hard links to a copied file",
                "hard links"
            );
        }
        self.moved(text, totals);
        if self.operation == Operation::Copy && totals.synced.unchanged > 0 {
            let count = human_count(totals.synced.unchanged);
            let words = "completed by an earlier, interrupted job";
            let _ = writeln!(text, "{:<15}{count:>16}   {words}", "files");
        }
        if totals.resumed_bytes > 0 {
            let bytes = human_bytes(totals.resumed_bytes);
            let _ = writeln!(
                text,
                "{:<15}{bytes:>16}   transferred by an earlier, interrupted job",
                "resumed"
            );
        }
    }

    /// Entries of the source that a move has removed.
    fn moved(&self, text: &mut String, totals: &Tally) {
        let removed = totals.sources_removed.total();
        let words = if self.is_dry_run { "would be, from the source" } else { "from the source" };
        let left = "directories of the source that are not empty";
        let rows =
            [(removed, "deleted", words), (totals.source_directories_left, "not deleted", left)];
        for (count, name, words) in rows.into_iter().filter(|(count, ..)| *count > 0) {
            let _ = writeln!(text, "{name:<15}{:>16}   {words}", human_count(count));
        }
    }

    /// Files that went through a network service, and what shows that they arrived.
    fn proven(text: &mut String, totals: &Tally) {
        let counts =
            Proof::ALL.iter().zip(totals.sent_files_by_check).filter(|(_, count)| *count > 0);
        for ((_, _, words), count) in counts {
            let _ = writeln!(text, "{:<15}{:>16}   {words}", "files sent", human_count(count));
        }
    }

    /// Remaining bytes of a job that a dry run would resume.
    fn left_bytes(&self, totals: &Tally) -> Option<u64> {
        Some(totals.copied_bytes.saturating_sub(self.there_bytes?))
    }

    fn left(&self, text: &mut String, totals: &Tally) {
        if let Some(bytes) = self.left_bytes(totals) {
            let words = "of the interrupted job";
            let _ = writeln!(text, "{:<15}{:>16}   {words}", "remaining", human_bytes(bytes));
        }
    }

    fn verified(text: &mut String, totals: &Tally) {
        if totals.verified_files > 0 {
            let (count, bytes) =
                (human_count(totals.verified_files), human_bytes(totals.verified_bytes));
            let words = "files were read back and match what was written";
            let _ = writeln!(text, "{:<15}{count:>16}   {words} ({bytes})", "verified");
        }
    }

    fn problems(&self, text: &mut String, totals: &Tally) {
        let _ = writeln!(text, "{:<15}{:>16}", "failed", human_count(totals.failed));
        let _ = writeln!(text, "{:<15}{:>16}", "vanished", human_count(totals.vanished));
        if totals.unstable_directories > 0 {
            let count = human_count(totals.unstable_directories);
            let words = "directories that kept changing: entries may be missing";
            let _ = writeln!(text, "{:<15}{count:>16}   {words}", "unstable");
        }
        if totals.unread_directories > 0 {
            let count = human_count(totals.unread_directories);
            let _ = writeln!(text, "{:<15}{count:>16}   the walk is incomplete", "unread");
        }
        if self.is_copy() && totals.special_files_skipped > 0 {
            let count = human_count(totals.special_files_skipped);
            let _ = writeln!(
                text,
                "{:<15}{count:>16}   special files (FIFOs, sockets, devices): --specials, \
                 --devices or -a copy them, where the target supports them",
                "skipped"
            );
        }
        let limits = [
            (totals.temporary_files_skipped, "skipped", PASSED_OVER),
            (totals.owner_not_preserved, "not preserved", OWNER_NOT_KEPT),
            (totals.xattrs_not_preserved, "not preserved", XATTRS_NOT_KEPT),
            (totals.attributes_not_preserved, "not preserved", ATTRIBUTES_NOT_KEPT),
            (totals.object_properties_not_preserved, "not preserved", PROPERTIES_NOT_KEPT),
            (totals.timestamps_truncated, "truncated", TIMES_CUT),
            (totals.layouts_not_set, "layouts not set", LAYOUTS_NOT_SET),
            (totals.directories_not_preserved, "not preserved", DIRECTORIES_NOT_KEPT),
            (totals.hard_links_not_preserved, "not preserved", LINKS_NOT_KEPT),
            (totals.throttled_requests, "throttled", REQUESTS_REFUSED),
            (totals.not_verified, "not verified", NOT_VERIFIED),
            (totals.journal_records_not_written, "not journaled", UNJOURNALED),
        ];
        for (count, name, words) in limits.into_iter().filter(|(count, ..)| *count > 0) {
            let _ = writeln!(text, "{name:<15}{:>16}   {words}", human_count(count));
        }
    }

    fn speed(&self, text: &mut String, totals: &Tally) {
        let seconds = self.elapsed.as_secs_f64().max(1e-6);
        let items = (totals.found.total() as f64 / seconds) as u64;
        let _ = writeln!(text, "{:<15}{:>14.2} s", "time", seconds);
        if self.operation == Operation::Clean {
            return;
        }
        let _ = write!(text, "{:<15}{:>8} items/s", "rate", human_count(items));
        if self.is_copy() && !self.is_dry_run {
            let rate = (totals.copied_bytes as f64 / seconds) as u64;
            let _ = write!(text, ", {}/s", human_bytes(rate));
        }
        let _ = writeln!(text);
        let slowest = self.slowest();
        if self.ranks.len() > 1
            && let Some(report) = self.ranks.get(slowest)
        {
            let _ = writeln!(
                text,
                "{:<15}{:>16}   on {}, busy {:.0} % of the time, {} items",
                "slowest rank",
                slowest,
                report.host,
                report.busy_share() * 100.0,
                human_count(report.tally.examined),
            );
        }
    }

    /// The rank whose threads had the least rest: the one the others waited for.
    fn slowest(&self) -> usize {
        let share = |rank: &usize| self.ranks[*rank].busy_share();
        (0..self.ranks.len()).max_by(|a, b| share(a).total_cmp(&share(b))).unwrap_or(0)
    }

    fn rank_table(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n{:>5} {:>9} {:>10} {:>12} {:>8} {:>8} {:>11} {:>9} {:>7} {:>7} {:>9}",
            "rank",
            "tasks",
            "items",
            "bytes",
            "threads",
            "stolen",
            "asked/won",
            "given",
            "idle",
            "cpu",
            "memory"
        );
        for (rank, report) in self.ranks.iter().enumerate() {
            let counters = &report.counters;
            let idle = (1.0 - report.busy_share()) * 100.0;
            let cpu_s = counters.cpu_ns as f64 / 1e9;
            let bytes =
                if self.is_copy() { report.tally.copied_bytes } else { report.tally.found_bytes };
            let _ = writeln!(
                text,
                "{rank:>5} {:>9} {:>10} {:>12} {:>8} {:>8} {:>11} {:>9} {idle:>5.0} % {cpu_s:>5.1} s {:>9}",
                counters.tasks_run,
                report.tally.examined,
                human_bytes(bytes),
                format!("{}/{}", counters.threads, counters.threads_most),
                counters.tasks_stolen,
                format!("{}/{}", counters.steal_attempts, counters.steals_succeeded),
                counters.tasks_granted,
                human_bytes(report.peak_memory_bytes),
            );
        }
        let _ = writeln!(text);
    }

    /// Returns the command that does what is left, where something is.
    fn next_command(&self) -> Option<&str> {
        let is_partial = matches!(self.exit, Exit::Interrupted | Exit::Partial | Exit::Vanished);
        self.again.as_deref().filter(|_| is_partial && !self.is_dry_run)
    }

    fn last_line(&self, text: &mut String, totals: &Tally) {
        let tool = self.tool;
        let code = self.exit.code();
        let bad = totals.failed + totals.vanished;
        let what = match (totals.cancelled_tasks > 0, self.exit) {
            (_, Exit::Interrupted) => {
                format!("interrupted by a signal before all was done (exit {code})")
            }
            (true, _) if totals.unresponsive_services > 0 => {
                format!("aborted: a service does not respond (exit {code})")
            }
            (true, _) => {
                format!("aborted: {} (exit {code})", why_given_up(totals.fatal_errno))
            }
            (_, Exit::Ok) if self.operation == Operation::Sync => {
                sync::verdict(totals, self.is_dry_run)
            }
            (_, Exit::DeleteLimit) => format!("more to delete than allowed (exit {code})"),
            (_, Exit::Ok) if self.is_dry_run => "dry run, nothing was changed".to_owned(),
            (_, Exit::Ok | Exit::Different) if matches!(self.operation, Operation::Compare(_)) => {
                format!("{} (exit {code})", compare::verdict(&totals.compared))
            }
            (_, Exit::Ok) => "done, 0 errors".to_owned(),
            (_, Exit::Vanished) if totals.vanished > 0 => {
                format!("{} source entries vanished (exit {code})", human_count(totals.vanished))
            }
            (_, Exit::Vanished) => format!("the source changed during the job (exit {code})"),
            _ => {
                // Entries that were named and are not there are not among the found.
                let all = totals.found.total();
                let is_part = bad + totals.copied.total() <= all;
                let of_all =
                    if is_part { format!(" of {}", human_count(all)) } else { String::new() };
                format!("{}{of_all} failed (exit {code})", human_count(bad))
            }
        };
        let ignored = match self.exit {
            Exit::Ok | Exit::Different if totals.vanished > 0 => {
                format!("; {} source entries vanished (ignored)", human_count(totals.vanished))
            }
            _ => String::new(),
        };
        let again = self.next_command();
        let again = again.map_or_else(String::new, |it| format!("; to complete it, run: {it}"));
        let _ = writeln!(text, "{tool}: {what}{ignored}{again}");
    }

    /// Summary as JSON.
    pub fn to_json(&self) -> Value {
        let seconds = self.elapsed.as_secs_f64();
        let ranks: Vec<Value> = self.ranks.iter().enumerate().map(rank_to_json).collect();
        let mut summary = json!({
            "tool": self.tool,
            "exit_code": self.exit.code(),
            "dry_run": self.is_dry_run,
            "next_command": self.next_command(),
            "remaining_bytes": self.left_bytes(&self.totals()),
            "aborted": self.totals().cancelled_tasks > 0,
            "aborted_by_errno": self.totals().fatal_errno,
            "interrupted": self.totals().is_cut_short(),
            "walk_complete": self.totals().is_walk_complete(),
            "elapsed_seconds": seconds,
            "nodes": self.nodes,
            "slowest_rank": self.slowest(),
            "totals": events::tally(&self.totals()),
            "ranks": ranks,
        });
        if let Some(UsageSummary { usage, below }) = &self.usage {
            summary["usage"] = super::usage::to_json(usage, below);
        }
        summary
    }
}

fn rank_to_json((rank, report): (usize, &RankReport)) -> Value {
    let counters = &report.counters;
    json!({
        "rank": rank,
        "host": report.host,
        "totals": events::tally(&report.tally),
        "tasks_run": counters.tasks_run,
        "tasks_stolen": counters.tasks_stolen,
        "tasks_granted": counters.tasks_granted,
        "steal_attempts": counters.steal_attempts,
        "steals_succeeded": counters.steals_succeeded,
        "steals_granted": counters.steals_granted,
        "steal_bytes": counters.steal_bytes,
        "threads": counters.threads,
        "threads_most": counters.threads_most,
        "idle_seconds": counters.idle_ns as f64 / 1e9,
        "wall_seconds": counters.wall_ns as f64 / 1e9,
        "cpu_seconds": counters.cpu_ns as f64 / 1e9,
        "peak_memory_bytes": report.peak_memory_bytes,
    })
}

/// The header's words for who takes part.
pub fn describe_topology(topology: &Topology, threads: u32) -> String {
    let plural =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "{} on {}, up to {} each",
        plural(topology.ranks as usize, "rank"),
        plural(topology.nodes.len(), "node"),
        plural(threads as usize, "thread"),
    )
}

/// `VmHWM` of proc(5); 0 where there is none.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_not_a_full_target() {
        let words = [libc::ENOSPC, libc::EDQUOT, libc::EROFS].map(|it| why_given_up(it as u64));
        for (words, says) in words.iter().zip(["is full", "the quota", "is read-only"]) {
            assert!(words.contains(says), "{words}");
        }
    }
}
