//! Configuration: which service a place is at, whose credentials, which options: of the command line, of AWS and of rclone.

#[cfg(feature = "client")]
pub mod aws_chain;
#[cfg(feature = "client")]
pub mod aws_profile;
pub mod config_file;
pub mod rclone_conf;
#[cfg(feature = "client")]
pub mod resolve;
pub mod settings;
pub mod url;

/// A variable of this process's environment, where it is UTF-8.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
