//! The embedded S3 server as a program, for the demonstration and for tests by hand.
//!
//! The first line of its output is its address. It ends by SIGTERM, and when a pipe that is its
//! standard input is closed, so that it does not outlive the script that started it, and prints how
//! often each operation was requested.

use std::io::Write as _;

use clap::Parser as _;
use suite_tests::object_server::{Behaviour, Door, ObjectServer};

/// An S3 server in memory, on the loopback interface.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// Port; 0 for any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value = "test-access")]
    access_key: String,
    #[arg(long, default_value = "test-secret")]
    secret_key: String,
    /// Buckets that exist from the beginning.
    #[arg(long = "bucket")]
    buckets: Vec<String>,
    #[command(flatten)]
    behaviour: Behaviour,
}

fn main() -> std::io::Result<()> {
    let Arguments { port, access_key, secret_key, buckets, behaviour } = Arguments::parse();
    let ended = suite_tests::lifetime::end()?;
    let server = ObjectServer::start_at(Door { port, access_key, secret_key }, behaviour)?;
    for bucket in &buckets {
        server.make_bucket(bucket);
    }
    println!("{}", server.endpoint());
    std::io::stdout().flush()?;
    let _ = ended.recv();
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "{}", server.counts());
    Ok(())
}
