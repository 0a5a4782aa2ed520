//! Content types of objects by the extension of their names, as browsers and other tools expect,
//! and as rclone and the AWS CLI set them.

/// The content type of objects whose name has no known extension.
pub const UNKNOWN: &str = "application/octet-stream";

/// Returns the content type of a file by its name, or [`UNKNOWN`] without a known extension. A
/// leading dot does not begin an extension.
pub fn of_name(name: &[u8]) -> &'static str {
    let known = extension(name).and_then(|extension| mime_guess::from_ext(extension).first_raw());
    known.unwrap_or(UNKNOWN)
}

fn extension(name: &[u8]) -> Option<&str> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    std::str::from_utf8(&name[dot + 1..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_decides() {
        let table = [
            (&b"a.txt"[..], "text/plain"),
            (b"a.tar.gz", "application/gzip"),
            (b"b.JPG", "image/jpeg"),
            (b"x\xff.json", "application/json"),
            (b"page.html", "text/html"),
            (b"data.csv", "text/csv"),
            (b"noextension", UNKNOWN),
            (b".txt", UNKNOWN),
            (b"a.", UNKNOWN),
            (b"a.\xff", UNKNOWN),
            (b"a.what-is-this", UNKNOWN),
            (b"", UNKNOWN),
        ];
        for (name, expected) in table {
            assert_eq!(of_name(name), expected, "{}", name.escape_ascii());
        }
    }
}
