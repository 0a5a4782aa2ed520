//! The embedded S3 server as a program, for the demonstration and for tests by hand.
//!
//! Its first line is its address. It ends by SIGTERM, and when a pipe that is its standard input is closed, so that it does not
//! outlive the script that started it, and says then how often it was asked for what.

use std::io::Write as _;

use clap::Parser as _;
use suite_tests::object_server::{Behaviour, Door, ObjectServer};

/// An S3 server in memory, on the loopback interface.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// 0: any port that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value = "test-access")]
    access_key: String,
    #[arg(long, default_value = "test-secret")]
    secret_key: String,
    /// Buckets that are there from the beginning.
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
