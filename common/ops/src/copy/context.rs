//! The context of a task: the environment that all tasks share, the state of the thread that runs it, and the crew that
//! takes what it leaves.

use super::CopyJob;
use super::env::Env;
use super::hopeless::Streak;
use super::linked::LinkedFile;
use crate::compare::content::Buffers;
use crate::walk::Visited;
use crate::walk::account::{self, Gathered};
use crate::walk::place::Place;
use host::aligned::AlignedBuffer;
use lists::rows::Rows;
use sched::crew::Crew;
use types::entry::{Kept, Kind};
use types::error::{Side, Trouble};
use types::listed::line::write_plan;
use types::outcome::tally::Compared;
use types::path::{self, Name};

/// State of one thread: buffers, and what it has gathered since it last handed over.
pub struct CopyHand {
    pub(super) gathered: Gathered,
    pub(super) buffer: AlignedBuffer,
    buffers: Option<Buffers>,
    /// Rows of the manifest.
    pub(super) rows: Rows,
    /// Hard-linked file whose first name is being copied.
    pub(super) linked: Option<LinkedFile>,
    /// Whether, since this was last set to false, the target has got a file that it should have, or has it.
    pub(super) is_complete: bool,
    /// Whether, since this was last set to false, an entry was left for when a directory in its way is deleted.
    pub(super) is_deferred: bool,
    /// Failures at the target since anything was copied.
    pub(super) streak: Streak,
}

impl CopyHand {
    /// State of a thread that starts, with an I/O buffer of that size.
    pub(super) fn new(buffer_bytes: u64) -> Self {
        Self {
            gathered: Gathered::default(),
            buffer: AlignedBuffer::new(buffer_bytes),
            buffers: None,
            rows: Rows::default(),
            linked: None,
            is_complete: false,
            is_deferred: false,
            streak: Streak::default(),
        }
    }

    /// Room for comparing, made when it is first needed.
    pub(super) fn buffers(&mut self, bytes: u64) -> &mut Buffers {
        self.buffers.get_or_insert_with(|| Buffers::new(bytes))
    }

    /// Room for comparing, and the counts of what was compared.
    pub(super) fn buffers_and_count(&mut self, bytes: u64) -> (&mut Buffers, &mut Compared) {
        let buffers = self.buffers.get_or_insert_with(|| Buffers::new(bytes));
        (buffers, &mut self.gathered.tally.compared)
    }
}

/// What an executor says of an entry that it was given as one of its kind.
pub(super) enum Met {
    /// It was dealt with.
    Done(Visited),
    /// It is of that kind by now.
    Other(Kind),
}

/// Crew of a copy.
pub(super) type CopyCrew<'t, 'c> = Crew<'t, CopyJob<'c>>;

/// Everything that running a task takes besides the executors.
pub(super) struct Context<'t, 'c> {
    pub env: &'t Env<'c>,
    pub hand: &'t mut CopyHand,
    pub crew: &'t CopyCrew<'t, 'c>,
}

impl Context<'_, '_> {
    /// Reports a failure at an entry, and counts it; gives all else up where nothing else would fare better.
    pub fn fail(&mut self, place: &Place, name: &[u8], trouble: Trouble) {
        let env = self.env;
        let root = env.root(place);
        let at_root = place.path().is_root() && name.is_empty();
        let trouble = account::missing(trouble, at_root, &*root.source, env.selection);
        if trouble.side == Side::Target && !self.stop_if_hopeless(&*root.target, &trouble.error) {
            return;
        }
        let shown = match trouble.side {
            Side::Source => &root.shown_source,
            Side::Target => &root.shown_target,
        };
        let source_name = name;
        let name = match trouble.side {
            Side::Source => name,
            Side::Target => env.target_name_bytes(place, name),
        };
        let below = path::join(place.path().as_bytes(), name);
        let failure = account::failure(trouble.side, shown, &below, trouble.error);
        if let Some(watch) = env.watch_over(place).filter(|_| !failure.is_vanished()) {
            watch.told(place, source_name);
        }
        env.account.fail(failure, &mut self.hand.gathered, self.crew);
    }

    /// Counts an entry that is complete at the target.
    pub fn copied(&mut self, (place, name): (&Place, &Name), kind: Kind, kept: Kept) {
        self.hand.is_complete = true;
        self.hand.streak = Streak::default();
        self.hand.gathered.tally.copied.count(kind);
        self.hand.gathered.tally.count_lost(kept);
        self.check_given(place, name, kept);
    }

    /// Reports an entry that has not got what the operator gives it: it has failed.
    pub fn check_given(&mut self, place: &Place, name: &Name, kept: Kept) {
        if let Some(error) = self.env.options.keep.refusal(kept) {
            self.fail(place, name.to_bytes(), Trouble { side: Side::Target, error });
        }
    }

    /// Writes a line of the plan, in a dry run.
    pub fn plan_line(&mut self, what: &str, place: &Place, name: &[u8]) {
        let env = self.env;
        if env.options.dry_run {
            let name = env.target_name_bytes(place, name);
            let below = path::join(place.path().as_bytes(), name);
            let shown = path::join(&env.root(place).shown_target, &below);
            write_plan(env.options.plan_as, what, &shown, &mut self.hand.gathered.lines);
            self.hand.gathered.send_lines(self.crew, false);
        }
    }
}
