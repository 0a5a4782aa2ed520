//! Command-line options for places in S3.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use s3::config::error::EndpointError;
use s3::config::settings::{CopyTags, ObjectOptions, PathStyle, S3Options};
use s3::config::url::{check_endpoint, may_hold_secrets};
use types::limits;
use types::object::metadata::Schema;
use types::size::{Unmeasured, parse_bytes, parse_duration};

/// Options of places in S3 (`s3://BUCKET/PREFIX`, `REMOTE:BUCKET/PREFIX`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "S3")]
pub struct S3Args {
    /// Endpoint for s3:// locations, as http://HOST:PORT; by default that of AWS's configuration,
    /// or AWS
    #[arg(long, alias = "endpoint-url", value_name = "URL", value_parser = checked_endpoint)]
    pub s3_endpoint: Option<String>,

    /// Region of s3:// locations; by default AWS_REGION, the profile's, or us-east-1
    #[arg(long, alias = "region", value_name = "REGION", value_parser = checked_word)]
    pub s3_region: Option<String>,

    /// Profile of AWS's configuration for s3:// locations; by default AWS_PROFILE
    #[arg(long, alias = "profile", value_name = "PROFILE")]
    pub s3_profile: Option<String>,

    /// Profile for the source only
    #[arg(long, value_name = "PROFILE")]
    pub s3_source_profile: Option<String>,

    /// Profile for the target only
    #[arg(long, value_name = "PROFILE")]
    pub s3_target_profile: Option<String>,

    /// Name the bucket in the path instead of the host name; auto: except at AWS
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pub s3_path_style: PathStyleArg,

    /// Do not sign requests for s3:// locations: public buckets
    #[arg(long, alias = "no-sign-request")]
    pub s3_no_sign_request: bool,

    /// Maximum number of concurrent requests of each rank
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::S3_REQUESTS_MAX))
    )]
    pub s3_concurrency: Option<u32>,

    /// End the job when a service that has responded before is silent for this long (30s, 5m, 1h);
    /// 5m by default
    #[arg(long, value_name = "TIME", value_parser = checked_patience)]
    pub give_up_after: Option<u64>,

    /// Part size of multipart uploads, 5MiB to 5GiB
    #[arg(long, alias = "s3-chunk-size", value_name = "SIZE", value_parser = checked_part)]
    pub s3_part_size: Option<u64>,

    /// Sign a hash of the content, too, even where TLS protects it
    #[arg(long)]
    pub s3_sign_payload: bool,

    /// Format of mode, owner and timestamps in objects' metadata; all are read
    #[arg(long, value_name = "SCHEMA", value_enum, default_value = "aws")]
    pub s3_metadata: SchemaArg,

    /// Store directories, with mode, owner and timestamps, as empty objects whose keys end in a
    /// slash, and read them; with -a unless WHEN is off
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "on"
    )]
    pub s3_directory_markers: Option<OnOff>,

    /// Copy tags of objects within a service: auto, where they are readable; always, or fail; never
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pub s3_copy_tags: CopyTagsArg,

    /// ETags of the service are not MD5s, even where they look so: content is not compared with
    /// them
    #[arg(long)]
    pub s3_opaque_etags: bool,

    /// Canned ACL of new objects: private, bucket-owner-full-control...
    #[arg(long, alias = "s3-acl", value_name = "ACL", value_parser = checked_word)]
    pub acl: Option<String>,

    /// Storage class of new objects: STANDARD_IA, GLACIER_IR...
    #[arg(long, alias = "s3-storage-class", value_name = "CLASS", value_parser = checked_word)]
    pub storage_class: Option<String>,

    /// Encryption at rest of new objects
    #[arg(
        long,
        alias = "s3-server-side-encryption",
        value_name = "ALGORITHM",
        value_parser = PossibleValuesParser::new(["AES256", "aws:kms", "aws:kms:dsse"])
    )]
    pub sse: Option<String>,

    /// Key for --sse aws:kms, as its ID, ARN or alias
    #[arg(long, alias = "s3-sse-kms-key-id", value_name = "KEY", requires = "sse", value_parser = checked_word)]
    pub sse_kms_key_id: Option<String>,

    /// Pay for requests to another owner's bucket
    #[arg(long)]
    pub requester_pays: bool,
}

/// See [`PathStyle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PathStyleArg {
    #[default]
    Auto,
    On,
    Off,
}

/// Switch; also takes the words of flags in the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum OnOff {
    #[value(alias = "true")]
    On,
    #[value(alias = "false")]
    Off,
}

/// See [`CopyTags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CopyTagsArg {
    #[default]
    Auto,
    Always,
    Never,
}

/// See [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SchemaArg {
    #[default]
    Aws,
    Rclone,
    Both,
    None,
}

impl S3Args {
    /// Adds directory markers, unless they are given: `-a` preserves everything that can be
    /// preserved.
    #[must_use]
    pub fn archiving(self) -> Self {
        let markers = self.s3_directory_markers.or(Some(OnOff::On));
        Self { s3_directory_markers: markers, ..self }
    }

    /// Options that these arguments give.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint_url: self.s3_endpoint.clone(),
            region: self.s3_region.clone(),
            profile: self.s3_profile.clone(),
            source_profile: self.s3_source_profile.clone(),
            target_profile: self.s3_target_profile.clone(),
            path_style: match self.s3_path_style {
                PathStyleArg::Auto => PathStyle::Auto,
                PathStyleArg::On => PathStyle::On,
                PathStyleArg::Off => PathStyle::Off,
            },
            is_anonymous: self.s3_no_sign_request,
            concurrency: self.s3_concurrency,
            give_up_after: self.give_up_after.map(Duration::from_secs),
            part_bytes: self.s3_part_size,
            sign_payload: self.s3_sign_payload,
            metadata: match self.s3_metadata {
                SchemaArg::Aws => Schema::Aws,
                SchemaArg::Rclone => Schema::Rclone,
                SchemaArg::Both => Schema::Both,
                SchemaArg::None => Schema::None,
            },
            directory_markers: self.s3_directory_markers.map(|when| when == OnOff::On),
            opaque_etags: self.s3_opaque_etags,
            object: ObjectOptions {
                acl: self.acl.clone(),
                storage_class: self.storage_class.clone(),
                sse: self.sse.clone(),
                sse_kms_key_id: self.sse_kms_key_id.clone(),
                requester_pays: self.requester_pays,
                copy_tags: match self.s3_copy_tags {
                    CopyTagsArg::Auto => CopyTags::Auto,
                    CopyTagsArg::Always => CopyTags::Always,
                    CopyTagsArg::Never => CopyTags::Never,
                },
            },
        }
    }
}

/// One in which something may be secret is refused later, by words that do not show it.
fn checked_endpoint(url: &str) -> Result<String, EndpointError> {
    let checked = if may_hold_secrets(url) { Ok(()) } else { check_endpoint(url) };
    checked.map(|()| url.to_owned())
}

/// Checks a value that becomes part of a header: visible ASCII.
fn checked_word(text: &str) -> Result<String, ValueError> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word { Ok(text.to_owned()) } else { Err(ValueError::Word) }
}

fn checked_patience(text: &str) -> Result<u64, ValueError> {
    match parse_duration(text)? {
        0 => Err(ValueError::NoTime),
        seconds => Ok(seconds),
    }
}

fn checked_part(text: &str) -> Result<u64, ValueError> {
    let bytes = parse_bytes(text)?;
    if (limits::S3_PART_BYTES_MIN..=limits::S3_PART_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    Err(ValueError::Part)
}

/// Reason why an option does not take a value.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error(transparent)]
    Unmeasured(#[from] Unmeasured),
    #[error("it is empty or has spaces in it")]
    Word,
    #[error("it must be longer than nothing")]
    NoTime,
    #[error("S3 takes parts of 5MiB to 5GiB")]
    Part,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use types::error::Side;

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Tool {
        #[command(flatten)]
        s3: S3Args,
    }

    fn parse(arguments: &[&str]) -> Result<S3Options, String> {
        let all = ["tool"].iter().chain(arguments);
        Tool::try_parse_from(all).map(|tool| tool.s3.options()).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(parse(&[]), Ok(S3Options::default()));
    }

    #[test]
    fn what_is_said_is_what_is_asked_for() {
        let options = parse(&[
            "--s3-endpoint=http://127.0.0.1:9000",
            "--s3-region=here",
            "--s3-profile=p",
            "--s3-source-profile=s",
            "--s3-path-style=off",
            "--s3-no-sign-request",
            "--s3-concurrency=64",
            "--give-up-after=2m",
            "--s3-part-size=16M",
            "--s3-sign-payload",
            "--s3-metadata=both",
            "--s3-directory-markers",
            "--s3-copy-tags=never",
            "--s3-opaque-etags",
            "--acl=private",
            "--storage-class=STANDARD_IA",
            "--sse=aws:kms",
            "--sse-kms-key-id=alias/k",
            "--requester-pays",
        ])
        .unwrap();
        assert_eq!(options.profile(Side::Source), Some("s"));
        let expected = S3Options {
            endpoint_url: Some("http://127.0.0.1:9000".into()),
            region: Some("here".into()),
            profile: Some("p".into()),
            source_profile: Some("s".into()),
            target_profile: None,
            path_style: PathStyle::Off,
            is_anonymous: true,
            concurrency: Some(64),
            give_up_after: Some(Duration::from_mins(2)),
            part_bytes: Some(16 << 20),
            sign_payload: true,
            metadata: Schema::Both,
            directory_markers: Some(true),
            opaque_etags: true,
            object: ObjectOptions {
                acl: Some("private".into()),
                storage_class: Some("STANDARD_IA".into()),
                sse: Some("aws:kms".into()),
                sse_kms_key_id: Some("alias/k".into()),
                requester_pays: true,
                copy_tags: CopyTags::Never,
            },
        };
        assert_eq!(options, expected);
        let bytes = postcard::to_stdvec(&options).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(options));
    }

    #[test]
    fn a_wrong_value_is_refused_where_it_stands() {
        for (argument, expected) in [
            ("--s3-endpoint=127.0.0.1:9000", "http://HOST:PORT"),
            ("--s3-endpoint=ftp://x", "http://HOST:PORT"),
            ("--s3-region=", "empty"),
            ("--s3-path-style=maybe", "auto, on, off"),
            ("--s3-concurrency=0", "0 is not in"),
            ("--s3-part-size=1M", "5MiB to 5GiB"),
            ("--s3-part-size=6G", "5MiB to 5GiB"),
            ("--s3-metadata=posix", "aws, rclone, both, none"),
            ("--acl=a b", "spaces"),
            ("--sse=md5", "AES256"),
            ("--sse-kms-key-id=k", "--sse"),
        ] {
            let why = parse(&[argument]).unwrap_err();
            let option = argument.split('=').next().unwrap();
            assert!(why.contains(option) && why.contains(expected), "{why}");
        }
    }

    #[test]
    fn the_options_stand_under_a_heading_of_their_own() {
        let help = <Tool as clap::CommandFactory>::command().render_help().to_string();
        let s3 = help.split("\nS3:").nth(1).unwrap();
        assert!(s3.contains("--s3-endpoint <URL>") && s3.contains("--requester-pays"), "{help}");
    }
}
