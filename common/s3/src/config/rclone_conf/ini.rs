//! The lines of rclone's configuration, by the rules of its own reader (goconfig), which general INI
//! readers do not share: no comments behind values, no escapes, `` ` `` and `"""` around values.

/// A configuration file: sections with their keys and values, in the order they stand in.
pub struct Ini(Vec<Entry>);

struct Entry {
    section: String,
    pair: Option<(String, String)>,
}

/// What stands before the first section header.
const FIRST_SECTION: &str = "DEFAULT";

impl Ini {
    /// Reads the whole.
    ///
    /// # Errors
    /// The number of the line that means nothing. Its words are not told: they may be secret.
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

    /// There is such a section.
    pub fn has(&self, section: &str) -> bool {
        self.0.iter().any(|entry| entry.section == section)
    }

    /// The names of the sections that have a header, in their order.
    pub fn sections(&self) -> Vec<&str> {
        let headers = self.0.iter().filter(|entry| entry.pair.is_none());
        headers.map(|entry| &entry.section[..]).collect()
    }

    /// The last value that a key was given.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let pairs = self.0.iter().filter(|entry| entry.section == section);
        let values = pairs.filter_map(|entry| entry.pair.as_ref()).filter(|pair| pair.0 == key);
        values.map(|(_, value)| &value[..]).next_back()
    }
}

/// A value without its quotes, which may go on over the next lines; none where they do not end.
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

    /// What `rclone config dump` of version 1.75 says of the same lines.
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
