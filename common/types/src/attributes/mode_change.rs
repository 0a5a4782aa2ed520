//! A change of permission bits as chmod(1) writes it: octal, or letters; with the prefixes of
//! rsync(1) for directories and files alone.

use serde::{Deserialize, Serialize};

/// Change of modes: a list of clauses that are applied one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeChange {
    clauses: Vec<Clause>,
    /// File mode creation mask (umask(2)): limits the bits of a clause that names nobody.
    umask: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Clause {
    of: Entries,
    /// Bits that belong to the classes that the clause names (`u`, `g`, `o`, `a`); 0 where it names
    /// none.
    who: u32,
    edit: Edit,
    what: What,
    /// Bits that the text names itself: a directory's set-id bits change only where they are among
    /// these.
    named: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Entries {
    All,
    Directories,
    /// All entries but directories.
    Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Edit {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    /// Fixed bits for all named classes; `some_x` is `X`: execute for directories and for files
    /// that somebody may execute.
    Bits { bits: u32, some_x: bool },
    /// The present permissions of the user (6), the group (3) or others (0), given by the number of
    /// bits that they are shifted.
    LikeThose(u32),
}

const SET_IDS: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const EVERYBODY: u32 = 0o7777;

/// Text that is no change of a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode \"{0}\"; expected one as for chmod: 750, u+rwX,go-w, D755,F644")]
pub struct InvalidMode(String);

impl ModeChange {
    /// Reads a change as chmod writes it: `750`, `u+rwX,go-w`, `D2775,F664`.
    ///
    /// # Errors
    /// Fails for text that chmod does not take.
    pub fn parse(text: &str) -> Result<Self, InvalidMode> {
        let clauses: Result<Vec<_>, _> = text.split(',').map(clauses_of).collect();
        Ok(Self { clauses: clauses?.concat(), umask: 0 })
    }

    /// Sets the file mode creation mask (umask(2)) of the process.
    #[must_use]
    pub fn under(self, umask: u32) -> Self {
        Self { umask, ..self }
    }

    /// Returns the mode that an entry gets whose mode is `mode` now.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let of = if is_directory { Entries::Directories } else { Entries::Files };
        let clauses =
            self.clauses.iter().filter(|clause| clause.of == Entries::All || clause.of == of);
        clauses.fold(mode, |mode, clause| clause.apply(mode, is_directory, self.umask))
    }
}

impl Clause {
    /// Returns a clause that names all bits.
    fn octal(of: Entries, edit: Edit, bits: u32) -> Self {
        let what = What::Bits { bits, some_x: false };
        Self { of, who: EVERYBODY, edit, what, named: EVERYBODY }
    }

    fn of_letters(of: Entries, who: u32, edit: Edit, letters: &str) -> Option<Self> {
        let what = what_of(letters)?;
        let bits = match what {
            What::Bits { bits, .. } => bits,
            What::LikeThose(_) => 0,
        };
        let named = if who == 0 { bits } else { who & bits };
        Some(Self { of, who, edit, what, named })
    }

    /// Applies the clause as `mode_adjust` of GNU chmod(1) does: where no class is named, the umask
    /// limits the bits that are set, and `=` still clears all others.
    fn apply(&self, mode: u32, is_directory: bool, umask: u32) -> u32 {
        let given = if self.who == 0 { EVERYBODY & !umask } else { self.who };
        let stays = if is_directory { SET_IDS & !self.named } else { 0 };
        let bits = given & self.bits(mode, is_directory) & !stays;
        match self.edit {
            Edit::Add => mode | bits,
            Edit::Remove => mode & !bits,
            Edit::Set => mode & (stays | if self.who == 0 { 0 } else { !self.who }) | bits,
        }
    }

    fn bits(&self, mode: u32, is_directory: bool) -> u32 {
        match self.what {
            What::Bits { bits, some_x } => {
                let makes_sense = is_directory || mode & 0o111 != 0;
                bits | if some_x && makes_sense { 0o111 } else { 0 }
            }
            What::LikeThose(shift) => (mode >> shift & 0o7) * 0o111,
        }
    }
}

/// Reads the text between two commas: several operations may follow the named classes.
fn clauses_of(text: &str) -> Result<Vec<Clause>, InvalidMode> {
    let wrong = || InvalidMode(text.to_owned());
    let (of, rest) = match text.as_bytes().first() {
        Some(b'D') => (Entries::Directories, &text[1..]),
        Some(b'F') => (Entries::Files, &text[1..]),
        _ => (Entries::All, text),
    };
    if let Some(bits) = octal(rest) {
        // A directory's set-id bits are named by five digits, or where they are set.
        let named = if rest.len() < 5 { bits & !0o777 | 0o777 } else { EVERYBODY };
        return Ok(vec![Clause { named, ..Clause::octal(of, Edit::Set, bits) }]);
    }
    let signs = rest.find(['+', '-', '=']).ok_or_else(wrong)?;
    let who = rest[..signs].chars().try_fold(0, |who, letter| Some(who | who_is(letter)?));
    let who = who.ok_or_else(wrong)?;
    let mut clauses = Vec::new();
    let mut edits = &rest[signs..];
    while let Some(sign) = edits.chars().next() {
        let end = edits[1..].find(['+', '-', '=']).map_or(edits.len(), |next| next + 1);
        let edit = match sign {
            '+' => Edit::Add,
            '-' => Edit::Remove,
            _ => Edit::Set,
        };
        clauses.push(match octal(&edits[1..end]) {
            Some(bits) if who == 0 => Clause::octal(of, edit, bits),
            _ => Clause::of_letters(of, who, edit, &edits[1..end]).ok_or_else(wrong)?,
        });
        edits = &edits[end..];
    }
    Ok(clauses)
}

/// Reads a mode in octal digits.
fn octal(text: &str) -> Option<u32> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let bits = is_octal.then(|| u32::from_str_radix(text, 8).ok())?;
    bits.filter(|bits| *bits <= EVERYBODY)
}

/// Returns the mode bits of the class that a letter names.
fn who_is(letter: char) -> Option<u32> {
    Some(match letter {
        'u' => 0o4700,
        'g' => 0o2070,
        'o' => 0o1007,
        'a' => EVERYBODY,
        _ => return None,
    })
}

fn what_of(letters: &str) -> Option<What> {
    match letters {
        "u" => return Some(What::LikeThose(6)),
        "g" => return Some(What::LikeThose(3)),
        "o" => return Some(What::LikeThose(0)),
        _ => {}
    }
    let (mut bits, mut some_x) = (0, false);
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= SET_IDS,
            't' => bits |= STICKY,
            'X' => some_x = true,
            _ => return None,
        }
    }
    Some(What::Bits { bits, some_x })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_changes_them() {
        for (text, is_directory, mode, expected) in [
            ("750", false, 0o4777, 0o750),
            ("0644", true, 0o2755, 0o2644),
            ("755", true, 0o6777, 0o6755),
            ("00755", true, 0o6777, 0o755),
            ("=755", true, 0o2777, 0o755),
            ("4755", true, 0o2777, 0o6755),
            ("-7000", true, 0o7755, 0o755),
            ("+2000", true, 0o755, 0o2755),
            ("2775", true, 0o755, 0o2775),
            ("u+rwX,go-w", false, 0o466, 0o644),
            ("u+rwX,go-w", false, 0o577, 0o755),
            ("a+X", true, 0o600, 0o711),
            ("a+X", false, 0o600, 0o600),
            ("go=", false, 0o4775, 0o4700),
            ("go=", true, 0o2775, 0o2700),
            ("g=u", false, 0o741, 0o771),
            ("g=u,o=g", false, 0o600, 0o666),
            ("o+t", true, 0o777, 0o1777),
            ("u+s", false, 0o755, 0o4755),
            ("ug-s", false, 0o6755, 0o755),
            ("u=rw+x", false, 0o044, 0o744),
            ("D2770,F660", true, 0o755, 0o2770),
            ("D2770,F660", false, 0o755, 0o660),
            ("Dg+s,ug+w,F-x", true, 0o755, 0o2775),
            ("Dg+s,ug+w,F-x", false, 0o755, 0o664),
        ] {
            let change = ModeChange::parse(text).unwrap();
            let got = change.apply(mode, is_directory);
            assert_eq!(got, expected, "{text} of {mode:o}: {got:o}, not {expected:o}");
        }
    }

    #[test]
    fn where_nobody_is_named_the_umask_holds() {
        let change = ModeChange::parse("+w").unwrap().under(0o022);
        assert_eq!(change.apply(0o444, false), 0o644);
        let change = ModeChange::parse("a+w").unwrap().under(0o022);
        assert_eq!(change.apply(0o444, false), 0o666);
        for (umask, expected) in [(0o022, 0o444), (0o027, 0o440), (0o077, 0o400)] {
            let change = ModeChange::parse("=r").unwrap().under(umask);
            assert_eq!(change.apply(0o4777, false), expected, "{umask:o}");
            assert_eq!(change.apply(0o2777, true), 0o2000 | expected, "{umask:o}");
        }
    }

    /// Compares with chmod(1) itself, on a file and on a directory, where the system has GNU's.
    #[test]
    fn chmod_says_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (file, below) = (dir.path().join("file"), dir.path().join("directory"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&below).unwrap();
        let texts = [
            "=r",
            "=",
            "=rwx",
            "+x",
            "-w",
            "=s",
            "+s",
            "+t",
            "=t",
            "u=s",
            "g=s",
            "g=",
            "ug=rw",
            "o=t",
            "a=rx",
            "a=",
            "u=g",
            "g=u",
            "=u",
            "=g",
            "+X",
            "a+X",
            "755",
            "0755",
            "00755",
            "2755",
            "=2755",
            "+4000",
            "-6000",
            "u+s,g-s",
            "g+s,o=",
            "u=rwX,go=u",
            "ugo=rwxst",
            "a=s",
            "7777",
        ];
        for text in texts {
            let change = ModeChange::parse(text).unwrap().under(current_umask());
            for (path, is_directory) in [(&file, false), (&below, true)] {
                for mode in [0o000, 0o644, 0o755, 0o2755, 0o4711, 0o6777, 0o7777, 0o1777] {
                    let permissions = std::fs::Permissions::from_mode(mode);
                    std::fs::set_permissions(path, permissions).unwrap();
                    let mut chmod = std::process::Command::new("chmod");
                    assert!(chmod.args(["--", text]).arg(path).output().is_ok());
                    let theirs = std::fs::metadata(path).unwrap().permissions().mode() & EVERYBODY;
                    let ours = change.apply(mode, is_directory);
                    assert_eq!(ours, theirs, "{text} of {mode:o}: {ours:o}, chmod: {theirs:o}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "8", "77777", "u", "u+q", "q+x", "u+ug", "755,", "D", "u+755", "=8"] {
            assert!(ModeChange::parse(text).is_err(), "{text}");
        }
    }

    fn current_umask() -> u32 {
        let shown = std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap();
        u32::from_str_radix(std::str::from_utf8(&shown.stdout).unwrap().trim(), 8).unwrap()
    }
}
