//! Configuration of S3: the service of a location, the credentials and the options, from the
//! command line, AWS's files and variables, and rclone's configuration.

#[cfg(feature = "client")]
pub mod aws_chain;
#[cfg(feature = "client")]
pub mod aws_profile;
pub mod config_file;
#[cfg(feature = "client")]
mod credentials_fault;
pub mod environment;
pub mod error;
pub mod rclone_conf;
#[cfg(feature = "client")]
pub mod resolve;
pub mod settings;
pub mod url;
