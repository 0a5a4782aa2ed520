//! Objects in buckets, as S3 and what speaks like it keep them.

pub mod aws_chain;
pub mod config_file;
pub mod http;
pub mod rclone_conf;
pub mod resolve;
pub mod settings;
