//! A change of permission bits as chmod(1) writes it: octal, or letters; with the prefixes of rsync(1) for
//! directories and files alone.

use serde::{Deserialize, Serialize};

/// How modes are changed: clauses, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeChange {
    clauses: Vec<Clause>,
    /// File mode creation mask (umask(2)): where nobody is named, it limits what is given.
    umask: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Clause {
    of: Entries,
    /// Bits of those who are named; 0 where nobody is.
    who: u32,
    deed: Deed,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Entries {
    All,
    Directories,
    /// All but directories.
    Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Deed {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    /// These bits, of all who are meant; with `X`: search and execute where that makes sense.
    Bits { bits: u32, some_x: bool },
    /// What the user (6), the group (3) or others (0) may do: how far their bits are shifted.
    LikeThose(u32),
}

const SET_IDS: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const EVERYBODY: u32 = 0o7777;

impl ModeChange {
    /// Reads `750`, `u+rwX,go-w`, `D2775,F664`.
    ///
    /// # Errors
    /// One line: what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let clauses: Result<Vec<Vec<Clause>>, String> = text.split(',').map(clauses_of).collect();
        Ok(Self { clauses: clauses?.concat(), umask: 0 })
    }

    /// The same, where the process has that file mode creation mask.
    #[must_use]
    pub fn under(self, umask: u32) -> Self {
        Self { umask, ..self }
    }

    /// The mode that an entry of that mode gets.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let of = if is_directory { Entries::Directories } else { Entries::Files };
        let clauses =
            self.clauses.iter().filter(|clause| clause.of == Entries::All || clause.of == of);
        clauses.fold(mode, |mode, clause| clause.apply(mode, is_directory, self.umask))
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool, umask: u32) -> u32 {
        let affected = if self.who == 0 { EVERYBODY & !umask } else { self.who };
        let bits = affected & self.bits(mode, is_directory);
        match self.deed {
            Deed::Add => mode | bits,
            Deed::Remove => mode & !bits,
            // Of directories these bits stay unless they are named (chmod(1)).
            Deed::Set if is_directory => mode & (!affected | SET_IDS) | bits,
            Deed::Set => mode & !affected | bits,
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

/// One clause between commas: several deeds may follow those who are named.
fn clauses_of(text: &str) -> Result<Vec<Clause>, String> {
    let wrong =
        || format!("\"{text}\" is no mode; write one as chmod does: 750, u+rwX,go-w, D755,F644");
    let (of, rest) = match text.as_bytes().first() {
        Some(b'D') => (Entries::Directories, &text[1..]),
        Some(b'F') => (Entries::Files, &text[1..]),
        _ => (Entries::All, text),
    };
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        let bits = u32::from_str_radix(rest, 8).ok().filter(|bits| *bits <= EVERYBODY);
        let bits = bits.ok_or_else(wrong)?;
        // All bits are named: none stays.
        let what = |bits| What::Bits { bits, some_x: false };
        return Ok(vec![
            Clause { of, who: EVERYBODY, deed: Deed::Remove, what: what(EVERYBODY) },
            Clause { of, who: EVERYBODY, deed: Deed::Add, what: what(bits) },
        ]);
    }
    let named = rest.find(['+', '-', '=']).ok_or_else(wrong)?;
    let who = rest[..named].chars().try_fold(0, |who, letter| Some(who | who_is(letter)?));
    let who = who.ok_or_else(wrong)?;
    let mut clauses = Vec::new();
    let mut deeds = &rest[named..];
    while let Some(sign) = deeds.chars().next() {
        let end = deeds[1..].find(['+', '-', '=']).map_or(deeds.len(), |next| next + 1);
        let what = what_of(&deeds[1..end]).ok_or_else(wrong)?;
        let deed = match sign {
            '+' => Deed::Add,
            '-' => Deed::Remove,
            _ => Deed::Set,
        };
        clauses.push(Clause { of, who, deed, what });
        deeds = &deeds[end..];
    }
    Ok(clauses)
}

/// The bits that belong to those a letter names.
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
            ("0644", true, 0o2755, 0o644),
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
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "8", "77777", "u", "u+q", "q+x", "u+ug", "755,", "D", "+755"] {
            assert!(ModeChange::parse(text).is_err(), "{text}");
        }
    }
}
