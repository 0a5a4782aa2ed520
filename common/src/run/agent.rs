//! The agent, which another host's tool starts here through ssh: `dcp --agent`.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;

use crate::surface::console;
use host::process::{find_statx, raise_descriptor_limit};
use remote::agent::{AgentOptions, refuse_terminal, serve};
use types::exit::Exit;

/// Serve this host's files to a tool on another host
///
/// ssh starts the agent; it speaks a protocol through its standard input and output. In a forced
/// command of sshd (authorized_keys) the options limit what the other side may do.
#[derive(Debug, Parser)]
#[command(name = "dcp --agent", max_term_width = 100)]
struct Args {
    /// Serve files
    #[arg(long, required = true)]
    agent: bool,

    /// Serve the files below DIR only; other paths begin there
    #[arg(long, value_name = "DIR")]
    root: Option<OsString>,

    /// Change nothing
    #[arg(long)]
    read_only: bool,
}

/// Runs the agent where its option comes first on a command line. It needs no MPI, and is no rank
/// of a job.
pub fn run_if_requested(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<OsString> = arguments.collect();
    arguments.get(1).filter(|first| *first == "--agent")?;
    let exit = match Args::try_parse_from(arguments) {
        Ok(args) => run(&args),
        Err(error) => {
            console::say(error.render().to_string().trim_end());
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    Some(ExitCode::from(exit.code()))
}

fn run(args: &Args) -> Exit {
    find_statx();
    raise_descriptor_limit();
    if let Err(refusal) = refuse_terminal(&std::io::stdin()) {
        console::say(&format!("dcp: {refusal}"));
        return Exit::Usage;
    }
    let root = args.root.as_ref().map(|root| root.as_encoded_bytes().to_vec());
    let options = AgentOptions { root, read_only: args.read_only, machine: None };
    let served = std::io::stdin().as_fd().try_clone_to_owned().and_then(|input| {
        let output = console::output()?;
        serve(std::fs::File::from(input), std::fs::File::from(output), &options)
    });
    match served {
        Ok(()) => Exit::Ok,
        Err(error) => {
            console::say(&format!("dcp --agent: {error}"));
            Exit::Unusable
        }
    }
}
