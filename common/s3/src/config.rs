//! Configuration of S3: the service of a location, the credentials and the options, from the
//! command line, AWS's files and variables, and rclone's configuration.

#[cfg(feature = "client")]
pub mod aws_chain;
#[cfg(feature = "client")]
pub mod aws_profile;
pub mod config_file;
pub mod error;
pub mod rclone_conf;
#[cfg(feature = "client")]
pub mod resolve;
pub mod settings;
pub mod url;

/// Returns the value of a variable of this process's environment, unless it is unset or not UTF-8.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
