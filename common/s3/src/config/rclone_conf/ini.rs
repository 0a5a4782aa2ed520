//! A parser of rclone's configuration file, by the rules of rclone's own reader (goconfig), which
//! general INI parsers do not share: no comments after values, no escapes, and `` ` `` or `"""`
//! around values.

/// A configuration file: its sections with their keys and values, in the order of the file.
pub struct Ini(Vec<Entry>);

struct Entry {
    section: String,
    pair: Option<(String, String)>,
}

/// The name of the section that entries before the first header belong to.
const FIRST_SECTION: &str = "DEFAULT";

impl Ini {
    /// Parses the content of a configuration file.
    ///
    /// # Errors
    /// Returns the number of the first malformed line, counted from 1. The line itself may be
    /// secret, so it is not returned.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut entries = Vec::new();
        let mut section = FIRST_SECTION.to_owned();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let header = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let pair = if let Some(name) = header {
                name.trim().clone_into(&mut section);
                None
            } else {
                let (key, value) = line.split_once(['=', ':']).ok_or(index + 1)?;
                let mut rest = lines.by_ref().map(|(_, line)| line);
                let value = unquoted(value.trim(), &mut rest).ok_or(index + 1)?;
                Some((key.trim().to_owned(), value))
            };
            entries.push(Entry { section: section.clone(), pair });
        }
        Ok(Self(entries))
    }

    /// Returns whether there is a section of that name, with or without keys.
    pub fn has(&self, section: &str) -> bool {
        self.0.iter().any(|entry| entry.section == section)
    }

    /// Returns the names of the sections that have a header, in the order of the file.
    pub fn sections(&self) -> Vec<&str> {
        let headers = self.0.iter().filter(|entry| entry.pair.is_none());
        headers.map(|entry| &entry.section[..]).collect()
    }

    /// Returns the last value that a key has in a section.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let pairs = self.0.iter().filter(|entry| entry.section == section);
        let values = pairs.filter_map(|entry| entry.pair.as_ref()).filter(|pair| pair.0 == key);
        values.map(|(_, value)| &value[..]).next_back()
    }
}

/// Strips the quotes of a value, which may span several lines; `None` where the closing quote is
/// missing.
fn unquoted(value: &str, rest: &mut dyn Iterator<Item = &str>) -> Option<String> {
    let quote = ["`", "\"\"\""].into_iter().find(|quote| value.starts_with(quote));
    let Some(quote) = quote else { return Some(value.to_owned()) };
    let mut whole = value[quote.len()..].to_owned();
    while !whole.contains(quote) {
        whole.push('\n');
        whole.push_str(rest.next()?);
    }
    whole.rfind(quote).map(|end| whole[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the parser with the output of `rclone config dump`, version 1.75, for the same
    /// lines.
    #[test]
    fn lines_mean_what_they_mean_to_rclone() {
        let text = "\u{feff}# comment\n; another\n[a]\r\ntype = s3\nprovider=Ceph\n\
                    access_key_id = AK#1;2\nsecret_access_key = a\\b\"c/+=\nregion = \"quoted\"\n\
                    endpoint = 'single'\nacl: private\nstorage_class = `back`\nProfile = Upper\n\
                    x = \nsession_token = t\\\nsse = next\n[b c]\ntype=s3\nregion = one # two\n\
                    region = dup\n[a]\nlocation_constraint = again\n  [indent]\n  type = s3\n\
                    \tregion = r  \n[tq]\ntype = \"\"\"s3\"\"\"\n[empty]\n";
        let ini = Ini::parse(text).unwrap();
        for (section, key, value) in [
            ("a", "type", "s3"),
            ("a", "provider", "Ceph"),
            ("a", "access_key_id", "AK#1;2"),
            ("a", "secret_access_key", "a\\b\"c/+="),
            ("a", "region", "\"quoted\""),
            ("a", "endpoint", "'single'"),
            ("a", "acl", "private"),
            ("a", "storage_class", "back"),
            ("a", "Profile", "Upper"),
            ("a", "x", ""),
            ("a", "session_token", "t\\"),
            ("a", "sse", "next"),
            ("a", "location_constraint", "again"),
            ("b c", "region", "dup"),
            ("indent", "region", "r"),
            ("tq", "type", "s3"),
        ] {
            assert_eq!(ini.get(section, key), Some(value), "{section} {key}");
        }
        assert_eq!(ini.get("a", "profile"), None);
        assert!(ini.has("empty") && ini.has("b c") && !ini.has("c"));
        assert_eq!(Ini::parse("type = s3\n").unwrap().get("DEFAULT", "type"), Some("s3"));
    }

    #[test]
    fn a_torn_file_says_where() {
        for (text, line) in [
            ("[a]\ntype = s3\nnokey\n", 3),
            ("[torn\ntype = s3\n", 1),
            ("[a]\nx = `open\ny = z\n", 2),
        ] {
            assert_eq!(Ini::parse(text).err(), Some(line), "{text}");
        }
    }
}
