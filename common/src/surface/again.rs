//! Command that completes a job which has not done everything.

use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;

use types::path;

/// Returns this tool's command line for a shell. `contents` is a source whose contents are to be
/// named, because the target that became its copy now exists.
pub fn command(tool: &str, contents: Option<&[u8]>) -> String {
    let arguments = std::env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    words(tool, arguments, contents)
}

fn words(tool: &str, mut arguments: Vec<Vec<u8>>, contents: Option<&[u8]>) -> String {
    // The last argument is the target.
    let sources = arguments.iter_mut().rev().skip(1);
    if let Some(source) = sources.into_iter().find(|word| Some(&word[..]) == contents) {
        source.push(b'/');
    }
    let quoted = arguments.iter().map(|word| quoted(word));
    [tool.to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for a shell, where it must be.
fn quoted(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/.-_=:,+@%".contains(byte);
    match std::str::from_utf8(word) {
        Ok(text) if !word.is_empty() && word.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.chars().any(path::is_hidden) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let escaped = word.iter().fold(String::new(), |mut all, byte| {
                let _ = write!(all, "\\x{byte:02x}");
                all
            });
            format!("$'{escaped}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_a_slash_where_its_copy_would_become_nested() {
        let of = |words_: &[&str], contents: Option<&str>| {
            let arguments = words_.iter().map(|word| word.as_bytes().to_vec()).collect();
            words("dcp", arguments, contents.map(str::as_bytes))
        };
        assert_eq!(of(&["-p", "s", "t"], Some("s")), "dcp -p s/ t");
        assert_eq!(of(&["-p", "s", "t"], None), "dcp -p s t");
        assert_eq!(of(&["s", "s"], Some("s")), "dcp s/ s");
        assert_eq!(of(&["it's", "a b"], None), r"dcp 'it'\''s' 'a b'");
        assert_eq!(of(&["a\nb", ""], None), r"dcp $'\x61\x0a\x62' ''");
    }
}
