//! Configuration files, read as a whole through paths that come from the user's environment.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use types::error::errno_words;
use types::limits::CONFIG_FILE_BYTES_MAX;
use types::path::escaped;

/// Reads a configuration file; `None` where there is no file of that name.
///
/// # Errors
/// Returns one line that says why the file cannot be read, or that it is larger than
/// [`CONFIG_FILE_BYTES_MAX`].
pub fn read(path: &str) -> Result<Option<Vec<u8>>, String> {
    match read_all(path) {
        Ok(content) if content.len() > CONFIG_FILE_BYTES_MAX => {
            Err(format!("read \"{}\": too large for a configuration", escaped(path.as_bytes())))
        }
        Ok(content) => Ok(Some(content)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => {
            let words = errno_words(errno.raw_os_error());
            Err(format!("read \"{}\": {words}", escaped(path.as_bytes())))
        }
    }
}

fn read_all(path: &str) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    let mut piece = [0; 16 << 10];
    while content.len() <= CONFIG_FILE_BYTES_MAX {
        match rustix::io::read(&file, &mut piece) {
            Ok(0) => break,
            Ok(length) => content.extend_from_slice(&piece[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(content)
}
