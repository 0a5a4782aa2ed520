//! Names of staged files, which are renamed to their final names when they are complete, and of
//! journals.

use std::ffi::CString;

use crate::path::Name;

/// Beginning of the names of all staged files.
const PREFIX: &str = ".dcp.";

/// Returns the name of the `count`th file that a rank stages. The job's random number makes it
/// unique.
pub fn staged_name(job: u64, rank: u32, count: u64) -> CString {
    CString::new(format!("{PREFIX}{job:016x}.{rank}.{count}")).expect("digits contain no NUL")
}

/// Returns the common beginning of the names of all files that a job stages.
pub fn of_job(job: u64) -> String {
    format!("{PREFIX}{job:016x}.")
}

/// Count of numbers that a job uses for the staged files of its phases, beginning with its own: for
/// the walk, and afterwards for files that had to wait for deletions or for all of their hard
/// links.
const NUMBERS_OF_JOB: u64 = 4;

/// Returns true for a name that this job, in any of its phases, has given to a staged file.
pub fn is_of_job(name: &Name, job: u64) -> bool {
    let digits = name.to_bytes().get(PREFIX.len()..PREFIX.len() + 16);
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    is_staged(name) && number.is_some_and(|number| number.wrapping_sub(job) < NUMBERS_OF_JOB)
}

/// Returns true for a name that any job has given to a staged file.
pub fn is_staged(name: &Name) -> bool {
    let Some(rest) = name.to_bytes().strip_prefix(PREFIX.as_bytes()) else { return false };
    let mut words = rest.split(|byte| *byte == b'.');
    let is_number = |word: Option<&[u8]>| {
        word.is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_digit))
    };
    let is_lower_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    words.next().is_some_and(|job| job.len() == 16 && job.iter().all(is_lower_hex))
        && is_number(words.next())
        && is_number(words.next())
        && words.next().is_none()
}

/// Separator between the name of a target and its journal's number.
const JOURNAL: &[u8] = b".dcp-";

/// Number of digits of a journal's number.
const JOURNAL_DIGITS: usize = 16;

/// Bytes of a target's name that are part of the name of its journal, which must not be longer than
/// a name can be; the number tells journals apart.
const JOURNAL_TARGET_BYTES_MAX: usize = 200;

/// Returns the name, with a random number, of what is made at a target for a moment, to see whether
/// it is at the source, too.
pub fn probe_name(number: u64) -> String {
    format!(".dcp.probe.{number:016x}")
}

/// Returns the name of a journal beside a target of that name.
pub fn journal_name(target: &str, number: u64) -> String {
    let (between, head) = (String::from_utf8_lossy(JOURNAL), head_of(target));
    format!(".{head}{between}{number:0JOURNAL_DIGITS$x}")
}

fn head_of(target: &str) -> &str {
    &target[..target.floor_char_boundary(JOURNAL_TARGET_BYTES_MAX)]
}

/// Returns true for the name of a journal.
pub fn is_journal_name(name: &[u8]) -> bool {
    let name = without_count(name);
    let Some((head, number)) = name.split_at_checked(name.len().saturating_sub(JOURNAL_DIGITS))
    else {
        return false;
    };
    let is_lower_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    number.len() == JOURNAL_DIGITS
        && number.iter().all(is_lower_hex)
        && head.starts_with(b".")
        && head.ends_with(JOURNAL)
        && head.len() > 1 + JOURNAL.len()
}

/// Removes the count that distinguishes several journals of a target, from the second on.
fn without_count(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (head, count) = name.split_at(name.len() - digits);
    let is_counted = !count.is_empty() && count.len() < JOURNAL_DIGITS;
    // The name before the count ends in the same separator.
    head.strip_suffix(b"-").filter(|head| is_counted && !head.ends_with(b".dcp")).unwrap_or(name)
}

/// Returns true for the name of a journal of that target.
pub fn is_journal_of(name: &[u8], target: &str) -> bool {
    let name = without_count(name);
    let rest =
        name.strip_prefix(b".").and_then(|rest| rest.strip_prefix(head_of(target).as_bytes()));
    is_journal_name(name) && rest.is_some_and(|rest| rest.len() == JOURNAL.len() + JOURNAL_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_gives_is_recognised_and_nothing_else() {
        for (job, rank, count) in [(0, 0, 0), (u64::MAX, 4095, 1 << 40), (0xabc, 7, 9)] {
            let name = staged_name(job, rank, count);
            assert!(is_staged(&name), "{name:?}");
            assert!(name.to_bytes().starts_with(of_job(job).as_bytes()));
            assert!(is_of_job(&name, job) && is_of_job(&name, job.wrapping_sub(3)));
            assert!(
                !is_of_job(&name, job.wrapping_sub(4)) && !is_of_job(&name, job.wrapping_add(1))
            );
        }
        let long = "\u{e9}".repeat(127);
        let name = journal_name(&long, 7);
        assert!(name.len() <= 255 - "-99".len() && is_journal_of(name.as_bytes(), &long));
        for name in [journal_name("t", 7), format!("{}-2", journal_name("t", 7))] {
            assert!(is_journal_name(name.as_bytes()) && is_journal_of(name.as_bytes(), "t"));
            assert!(!is_journal_of(name.as_bytes(), "u"));
        }
        let others = [".dcp-0123456789abcdef", ".t.dcp-0123456789abcde", "t.dcp-0123456789abcdef"];
        assert!(others.iter().all(|name| !is_journal_name(name.as_bytes())));
        let others = [
            c".dcp.",
            c".dcp.0123456789abcdef",
            c".dcp.0123456789abcdef.1",
            c".dcp.0123456789abcdef.1.",
            c".dcp.0123456789abcdef.1.2.3",
            c".dcp.0123456789ABCDEF.1.2",
            c".dcp.123.1.2",
            c"dcp.0123456789abcdef.1.2",
            c".dcp.0123456789abcdef.x.2",
            c"x.dcp.0123456789abcdef.1.2",
        ];
        for name in others {
            assert!(!is_staged(name), "{name:?}");
        }
    }
}
