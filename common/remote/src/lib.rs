//! Trees on other hosts: an agent there serves them through its standard input and output, which
//! ssh connects with this process.
//!
//! [`protocol`] has the messages, [`frame`] their form on the wire, [`agent`] the server, and
//! [`host::Host`] the client: a few connections, each shared by many threads.
//! [`store::RemoteStore`] is the store on top of them. A request names paths and no handles, so it
//! can be repeated on another connection after its own has broken. Nothing that arrives is trusted:
//! sizes, names and checksums are validated here, on both sides.
//!
//! Uses: `host`, `posix`, `store`, `types`.

pub mod agent;
mod answers;
pub mod bundle;
pub mod connection;
pub mod deploy;
pub mod doors;
pub mod exchange;
pub mod frame;
pub mod host;
pub mod known;
pub mod machines;
pub mod no_connection;
pub mod packing;
pub mod paths;
mod patient;
pub mod pool;
mod process;
pub mod protocol;
pub mod shell;
pub mod store;
