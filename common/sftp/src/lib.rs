//! Trees on hosts that have an SFTP server and no agent: the subsystem `sftp` of sshd, which ssh
//! connects with this process.
//!
//! The protocol is version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: [`packet`]
//! has the form of messages, [`session`] a connection, [`host::Host`] the connections of a rank,
//! and [`store::SftpStore`] the store. Existing clients take names for UTF-8, and fail or lose
//! names that are not.
//!
//! The protocol names entries by paths. No handle of a directory protects from a symbolic link that
//! somebody puts into a path between two requests; each directory is inspected before it is
//! entered. Nothing that arrives is trusted: lengths, names and types are validated here.
//!
//! Uses: `host`, `remote`, `store`, `types`.

mod answers;
pub mod host;
pub mod packet;
pub mod session;
pub mod store;
