//! A tool whose ranks are threads of one process, for the tests: `threads RANKS dcp|dsync
//! ARGUMENT...`.

use std::ffi::OsString;
use std::process::ExitCode;

use comm::mailbox::Mailbox;
use comm::threads;
use common::run::{copy, sync};
use common::surface::cli::{self, Parsed};
use common::surface::session::{Session, ToolArgs};
use common::surface::topology::Topology;
use host::{interrupt, process};
use types::exit::Exit;

#[path = "../../../dcp/src/args.rs"]
#[allow(dead_code, clippy::struct_excessive_bools, reason = "as in dcp")]
mod dcp;
#[path = "../../../dsync/src/args.rs"]
#[allow(clippy::struct_excessive_bools, reason = "as in dsync")]
mod dsync;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let ranks: u32 = words.next().and_then(|word| word.to_str()?.parse().ok()).expect("RANKS");
    let words: Vec<OsString> = words.collect();
    process::find_statx();
    // Of all threads: one that sets it has set the others'.
    process::set_umask(process::current_umask());
    interrupt::listen().expect("signals can be waited for");
    let exit = match words.first().and_then(|tool| tool.to_str()) {
        Some("dcp") => on_ranks(ranks, "dcp", &words, |session, args: &dcp::Args| {
            let request = args.request().expect("SOURCE and TARGET");
            copy::run(session, &request, &args.completed())
        }),
        Some("dsync") => on_ranks(ranks, "dsync", &words, |session, args: &dsync::Args| {
            sync::run(session, &args.request(), &args.completed())
        }),
        _ => panic!("no such tool"),
    };
    ExitCode::from(exit.code())
}

fn on_ranks<A: ToolArgs + Sync>(
    ranks: u32,
    tool: &'static str,
    words: &[OsString],
    work: impl Fn(&mut Session<'_, '_>, &A) -> Exit + Sync,
) -> Exit {
    let args = match cli::parse::<A>(words, "", &[]) {
        Parsed::Args { args, .. } => args,
        Parsed::Answer(text) | Parsed::Refusal(text) => panic!("{text}"),
    };
    let exits = threads::run(ranks, |comm| {
        let mail = &mut Mailbox::new(comm);
        let topology = Topology::meet(mail);
        work(&mut Session { tool, mail, topology, mpi: "none".to_owned() }, &args)
    });
    exits.into_iter().reduce(Exit::worst).expect("there is a rank")
}
