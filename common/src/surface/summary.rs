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
use super::team::Team;
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
    /// Its node.
    pub host: String,
    /// What it found and did.
    pub tally: Tally,
    /// What its engine counted.
    pub counters: Counters,
    /// Most memory it ever had resident.
    pub peak_memory_bytes: u64,
}

impl RankReport {
    /// This rank's report.
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
        let available = self.counters.wall_ns as f64 * self.counters.threads.max(1) as f64;
        (1.0 - self.counters.idle_ns as f64 / available.max(1.0)).clamp(0.0, 1.0)
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Entries are looked at.
    Walk,
    /// Entries are copied.
    Copy,
    /// One tree is made equal another.
    Sync,
    /// Entries are removed.
    Remove,
    /// What stopped jobs have left is removed.
    Clean,
    /// Two trees are compared.
    Compare(compare::Method),
}

/// The whole job.
#[derive(Debug)]
pub struct Summary {
    /// Name of the tool.
    pub tool: &'static str,
    /// What was done.
    pub deed: Deed,
    /// Nothing was changed on purpose.
    pub is_dry_run: bool,
    /// Bytes of unfinished files that are at the target, where a dry run has met a job to go on with.
    pub there_bytes: Option<u64>,
    /// All ranks, in order.
    pub ranks: Vec<RankReport>,
    /// Nodes of the job.
    pub nodes: usize,
    /// From the first task to the last, and to the last line of a list that is sorted.
    pub elapsed: Duration,
    /// How it ended.
    pub exit: Exit,
    /// Statistics, where they were asked for.
    pub usage: Option<UsageSummary>,
}

/// Statistics of all ranks.
#[derive(Debug)]
pub struct UsageSummary {
    /// What was gathered.
    pub usage: Usage,
    /// Directories with everything below them, the largest first.
    pub below: Vec<Below>,
}

const TIMES_CUT: &str = "files: the target keeps times of change in coarser steps than the source";

const PASSED_OVER: &str =
    "what jobs have staged, or their journals; dcp --clean removes what is left of dead ones";
const OWNER_NOT_KEPT: &str = "this user may not give files away; set-id bits were dropped";
const XATTRS_NOT_KEPT: &str = "the target does not take some extended attribute or ACL";
const ATTRIBUTES_NOT_KEPT: &str = "owner, mode or times have no place at the target";
const PROPERTIES_NOT_KEPT: &str = "objects whose tags, ACL or lock this account may not read, or a copy cannot keep (--s3-copy-tags)";
const LAYOUTS_NOT_SET: &str =
    "files that could not be striped as asked; they have the layout of their directory";
const DIRECTORIES_NOT_KEPT: &str = "kept by what is in them alone: no empty ones, no owner, mode and times; -a or \
     --s3-directory-markers keeps them";
const LINKS_NOT_KEPT: &str = "names of files with several that became files of their own";
const NOT_VERIFIED: &str =
    "files: others have changed them, they could not be read, or a stop left them";
const UNJOURNALED: &str = "records; a job that goes on with this one would do more again";
const REQUESTS_REFUSED: &str = "requests to a busy service; fewer were sent then, and these again";

/// What of the target shows that nothing else will fare better there.
fn why_given_up(errno: u64) -> String {
    match errno as i32 {
        libc::ENOSPC => "the target is full".to_owned(),
        libc::EDQUOT => "the quota at the target is used up".to_owned(),
        libc::EROFS => "the target is read-only".to_owned(),
        0 => "the rest was given up".to_owned(),
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
        matches!(self.deed, Deed::Copy | Deed::Sync)
    }

    /// For people.
    pub fn to_text(&self, verbose: bool) -> String {
        let totals = self.totals();
        let mut text = String::new();
        if self.deed == Deed::Clean {
            clean::write_text(&mut text, &totals.leftovers, self.is_dry_run);
        } else if self.deed == Deed::Remove {
            remove::write_text(&mut text, &totals, self.is_dry_run);
        } else {
            self.items(&mut text, &totals);
        }
        if let Deed::Compare(method) = self.deed {
            compare::write_text(&mut text, &totals.compared, method);
        }
        if self.deed == Deed::Sync {
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
            ("others", totals.found.others, totals.copied.others),
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
                "{:<15}{count:>16}   more names of files that {words} links to one copy",
                "hard links"
            );
        }
        if self.deed == Deed::Copy && totals.synced.unchanged > 0 {
            let count = human_count(totals.synced.unchanged);
            let words = "finished before, by a job that was stopped";
            let _ = writeln!(text, "{:<15}{count:>16}   {words}", "files");
        }
        if totals.resumed_bytes > 0 {
            let bytes = human_bytes(totals.resumed_bytes);
            let _ = writeln!(
                text,
                "{:<15}{bytes:>16}   sent before, by a job that was stopped",
                "resumed"
            );
        }
    }

    /// Files that went through a network service, and what shows that they arrived.
    fn proven(text: &mut String, totals: &Tally) {
        let counts = Proof::ALL.iter().zip(totals.proven).filter(|(_, count)| *count > 0);
        for ((_, _, words), count) in counts {
            let _ = writeln!(text, "{:<15}{:>16}   {words}", "files sent", human_count(count));
        }
    }

    /// What is left of a job that a dry run would go on with.
    fn left_bytes(&self, totals: &Tally) -> Option<u64> {
        Some(totals.copied_bytes.saturating_sub(self.there_bytes?))
    }

    fn left(&self, text: &mut String, totals: &Tally) {
        if let Some(bytes) = self.left_bytes(totals) {
            let words = "of the job that was stopped";
            let _ = writeln!(text, "{:<15}{:>16}   {words}", "left to do", human_bytes(bytes));
        }
    }

    fn verified(text: &mut String, totals: &Tally) {
        if totals.verified_files > 0 {
            let (count, bytes) =
                (human_count(totals.verified_files), human_bytes(totals.verified_bytes));
            let words = "files were read again, and are as they were written";
            let _ = writeln!(text, "{:<15}{count:>16}   {words} ({bytes})", "verified");
        }
    }

    fn problems(&self, text: &mut String, totals: &Tally) {
        let _ = writeln!(text, "{:<15}{:>16}", "failed", human_count(totals.failed));
        let _ = writeln!(text, "{:<15}{:>16}", "vanished", human_count(totals.vanished));
        if totals.moving > 0 {
            let count = human_count(totals.moving);
            let words = "directories in which entries come and go: some may be missed";
            let _ = writeln!(text, "{:<15}{count:>16}   {words}", "not at rest");
        }
        if totals.unread_directories > 0 {
            let count = human_count(totals.unread_directories);
            let _ = writeln!(text, "{:<15}{count:>16}   the walk is incomplete", "unread");
        }
        if self.is_copy() && totals.skipped > 0 {
            let count = human_count(totals.skipped);
            let _ = writeln!(
                text,
                "{:<15}{count:>16}   FIFOs, sockets and devices: made with --specials, --devices, -a, \
                 where the target can have them",
                "left out"
            );
        }
        let limits = [
            (totals.passed_over, "passed over", PASSED_OVER),
            (totals.owner_not_kept, "owner not kept", OWNER_NOT_KEPT),
            (totals.xattrs_not_kept, "xattrs lost", XATTRS_NOT_KEPT),
            (totals.attributes_not_kept, "not kept", ATTRIBUTES_NOT_KEPT),
            (totals.properties_not_kept, "tags, ACL lost", PROPERTIES_NOT_KEPT),
            (totals.times_cut, "times cut", TIMES_CUT),
            (totals.layouts_not_set, "layouts not set", LAYOUTS_NOT_SET),
            (totals.directories_not_kept, "directories", DIRECTORIES_NOT_KEPT),
            (totals.links_not_kept, "links not kept", LINKS_NOT_KEPT),
            (totals.refused_requests, "turned away", REQUESTS_REFUSED),
            (totals.not_verified, "not verified", NOT_VERIFIED),
            (totals.unjournaled, "not journaled", UNJOURNALED),
        ];
        for (count, name, words) in limits.into_iter().filter(|(count, ..)| *count > 0) {
            let _ = writeln!(text, "{name:<15}{:>16}   {words}", human_count(count));
        }
    }

    fn speed(&self, text: &mut String, totals: &Tally) {
        let seconds = self.elapsed.as_secs_f64().max(1e-6);
        let items = (totals.found.total() as f64 / seconds) as u64;
        let _ = writeln!(text, "{:<15}{:>14.2} s", "time", seconds);
        if self.deed == Deed::Clean {
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
                counters.threads,
                counters.tasks_stolen,
                format!("{}/{}", counters.steals_asked, counters.steals_won),
                counters.tasks_given,
                human_bytes(report.peak_memory_bytes),
            );
        }
        let _ = writeln!(text);
    }

    fn last_line(&self, text: &mut String, totals: &Tally) {
        let tool = self.tool;
        let code = self.exit.code();
        let bad = totals.failed + totals.vanished;
        let what = match (totals.given_up > 0, self.exit) {
            (_, Exit::Interrupted) => {
                let way_on = match self.deed {
                    Deed::Copy => "; run it again, which goes on where --resume was given",
                    Deed::Sync | Deed::Remove => "; run it again to go on",
                    _ => "",
                };
                format!("stopped by a signal before all was done{way_on} (exit {code})")
            }
            (true, _) if totals.silent_services > 0 => {
                format!("stopped early because a service does not answer (exit {code})")
            }
            (true, _) => {
                format!("stopped early because {} (exit {code})", why_given_up(totals.gave_up_for))
            }
            (_, Exit::Ok) if self.deed == Deed::Sync => sync::verdict(totals, self.is_dry_run),
            (_, Exit::DeleteLimit) => format!("more to delete than allowed (exit {code})"),
            (_, Exit::Ok) if self.is_dry_run => "dry run, nothing was changed".to_owned(),
            (_, Exit::Ok | Exit::Different) if matches!(self.deed, Deed::Compare(_)) => {
                format!("{} (exit {code})", compare::verdict(&totals.compared))
            }
            (_, Exit::Ok) => "done, 0 errors".to_owned(),
            (_, Exit::Vanished) if totals.vanished > 0 => {
                format!("{} source entries vanished (exit {code})", human_count(totals.vanished))
            }
            (_, Exit::Vanished) => format!("the source was changed meanwhile (exit {code})"),
            _ => {
                let all = human_count(totals.found.total().max(bad));
                format!("{} of {all} failed (exit {code})", human_count(bad))
            }
        };
        let _ = writeln!(text, "{tool}: {what}");
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let seconds = self.elapsed.as_secs_f64();
        let ranks: Vec<Value> = self.ranks.iter().enumerate().map(rank_to_json).collect();
        let mut summary = json!({
            "tool": self.tool,
            "exit": self.exit.code(),
            "dry_run": self.is_dry_run,
            "left_bytes": self.left_bytes(&self.totals()),
            "stopped": self.totals().given_up > 0,
            "stopped_by_errno": self.totals().gave_up_for,
            "interrupted": self.totals().is_cut_short(),
            "walk_complete": self.totals().is_walk_complete(),
            "elapsed_s": seconds,
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
        "tally": events::tally(&report.tally),
        "tasks_run": counters.tasks_run,
        "tasks_stolen": counters.tasks_stolen,
        "tasks_given": counters.tasks_given,
        "steals_asked": counters.steals_asked,
        "steals_won": counters.steals_won,
        "steals_given": counters.steals_given,
        "steal_bytes": counters.steal_bytes,
        "threads": counters.threads,
        "idle_s": counters.idle_ns as f64 / 1e9,
        "wall_s": counters.wall_ns as f64 / 1e9,
        "cpu_s": counters.cpu_ns as f64 / 1e9,
        "peak_memory_bytes": report.peak_memory_bytes,
    })
}

/// The header's words for who takes part.
pub fn describe_team(team: &Team, threads: u32) -> String {
    let plural =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "{} on {}, up to {} each",
        plural(team.ranks as usize, "rank"),
        plural(team.nodes.len(), "node"),
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
