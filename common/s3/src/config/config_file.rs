//! Configuration files, read as a whole through paths that come from the user's environment.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use types::error::errno_words;
use types::limits::CONFIG_FILE_BYTES_MAX;
use types::path::escaped;

/// Reason why a configuration file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The file is larger than [`CONFIG_FILE_BYTES_MAX`].
    #[error("read \"{}\": too large for a configuration", escaped(path.as_bytes()))]
    TooLarge {
        /// Path of the file.
        path: String,
    },
    /// The file cannot be opened or read.
    #[error("read \"{}\": {}", escaped(path.as_bytes()), errno_words(source.raw_os_error()))]
    System {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        source: Errno,
    },
}

/// Reads a configuration file; `None` where there is no file of that name.
///
/// # Errors
/// Returns why the file cannot be read, or that it is too large.
pub fn read(path: &str) -> Result<Option<Vec<u8>>, ReadError> {
    match read_all(path) {
        Ok(content) if content.len() > CONFIG_FILE_BYTES_MAX => {
            Err(ReadError::TooLarge { path: path.to_owned() })
        }
        Ok(content) => Ok(Some(content)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(source) => Err(ReadError::System { path: path.to_owned(), source }),
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
