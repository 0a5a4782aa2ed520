//! Values of options that name a file or a directory in a file system, never in a service or on
//! another host.

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};
use types::operand::location::checked_local;

/// Returns a parser that refuses `NAME:…` and `USER@HOST:…`, as operands do.
pub fn local_path() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|path| checked_local(path.as_encoded_bytes()).map(|()| path))
}
