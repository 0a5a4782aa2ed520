//! A program that panics on one rank, for the tests: on the main thread, on an I/O thread, or on a
//! thread for which the main thread waits.

use std::process::ExitCode;

use clap::Parser;
use comm::Rank;
use common::surface::cli::CommonArgs;
use common::surface::session::{self, ToolArgs};
use sched::context::TaskContext;
use sched::engine::{self, Settings};
use sched::growth::Threads;
use sched::job::{Job, Listener};
use serde::{Deserialize, Serialize};
use types::exit::Exit;

#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "panicker")]
struct Args {
    /// Rank that panics
    rank: u32,
    /// Panic on its main thread, rather than on an I/O thread
    #[arg(long)]
    on_main: bool,
    /// Panic on a thread that the main thread waits for
    #[arg(long)]
    on_joined: bool,
    #[command(flatten)]
    common: CommonArgs,
}

impl ToolArgs for Args {
    const SHORT_HELP: &'static [&'static str] = &[];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Job in which an I/O thread of one rank panics as soon as it starts; the others wait for it for
/// ever.
struct Panicker {
    panics: bool,
}

impl Job for Panicker {
    type Task = ();
    type Message = ();
    type Event = ();
    type Snapshot = ();
    type Worker = ();

    fn worker(&self) {
        assert!(!self.panics, "the test's own panic");
    }

    fn run(&self, (): (), (): &mut (), context: &TaskContext<'_, Self>) {
        context.hold();
    }

    fn discard(&self, (): (), (): &mut (), _context: &TaskContext<'_, Self>) {}

    fn flush(&self, (): &mut (), _context: &TaskContext<'_, Self>) {}

    fn message(&self, _from: Rank, (): (), _context: &TaskContext<'_, Self>) {}

    fn snapshot(&self) {}
}

struct Deaf;

impl Listener<Panicker> for Deaf {
    fn event(&mut self, _from: Rank, (): ()) {}

    fn progress(&mut self, _from: Rank, (): ()) {}

    fn tick(&mut self) {}
}

fn main() -> ExitCode {
    session::run("panicker", |session, args: Args| {
        let here = session.mail.comm().rank().0 == args.rank;
        assert!(!(here && args.on_main), "the test's own panic");
        if here && args.on_joined {
            let joined = std::thread::spawn(|| panic!("the test's own panic")).join();
            joined.expect("the thread does not panic");
        }
        let settings = Settings { threads: Threads::UpTo(2), cpu_share: 2.0 };
        let job = Panicker { panics: here };
        let _ = engine::run(&job, vec![()], &mut Deaf, session.mail, settings);
        Exit::Ok
    })
}
