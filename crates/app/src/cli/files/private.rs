//! Small files of one person: read as a whole, replaced as a whole, and closed to others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::failure::Problem;

/// No such file is longer.
const LONGEST: u64 = 1024 * 1024;

/// To whom a file has to be closed. What is written is closed to all others anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Those who could read it: it has secrets.
    ToReaders,
    /// Those who could change it: it says where secrets go.
    ToWriters,
}

/// The text of a file; empty where there is none.
///
/// # Errors
/// It cannot be read, or it is open to others.
pub(super) fn read(path: &Path, closed: Closed) -> Result<String, Problem> {
    let place = path.display().to_string();
    let failed = |error: io::Error| Problem::new(error.to_string()).at(&place);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened.map_err(failed)?,
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    let (forbidden, text, hint) = match closed {
        Closed::ToReaders => (0o077, "is open to others", "chmod 600"),
        Closed::ToWriters => (0o022, "can be changed by others", "chmod go-w"),
    };
    if mode & forbidden != 0 {
        return Err(Problem::new(text).at(&place).hint(format!("{hint} {place}")));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(Problem::new("longer than 1 MiB").at(&place));
    }
    Ok(text)
}

/// Puts what `change` makes of a file's text in its place; other processes that do the same wait.
///
/// # Errors
/// As [`read`]; those of `change`; it cannot be written.
pub(super) fn rewrite(
    path: &Path,
    closed: Closed,
    change: impl FnOnce(&str) -> Result<String, Problem>,
) -> Result<(), Problem> {
    let place = path.display().to_string();
    let failed = |error: io::Error| Problem::new(error.to_string()).at(&place);
    if let Some(folder) = path.parent() {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
    }
    let mut open = OpenOptions::new();
    open.write(true).mode(0o600);
    // A file of its own, because the other one is replaced.
    let lock = path.with_extension("lock");
    let lock = open
        .clone()
        .create(true)
        .truncate(false)
        .open(lock)
        .map_err(failed)?;
    lock.lock().map_err(failed)?;
    let text = change(&read(path, closed)?)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error)))?;
    let draft = path.with_extension(format!("{:016x}.tmp", u64::from_ne_bytes(random)));
    let written = (|| {
        let mut file = open.create_new(true).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        // It may not exist; the error that matters is the first one.
        let _ = fs::remove_file(&draft);
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/file.toml");
        assert_eq!(read(&path, Closed::ToReaders), Ok(String::new()));
        rewrite(&path, Closed::ToReaders, |old| Ok(format!("{old}a\n"))).unwrap();
        rewrite(&path, Closed::ToReaders, |old| Ok(format!("{old}b\n"))).unwrap();
        assert_eq!(read(&path, Closed::ToReaders), Ok("a\nb\n".to_owned()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("deep")), 0o700);
        assert!(rewrite(&path, Closed::ToReaders, |_| Err(Problem::new("no"))).is_err());
        assert_eq!(read(&path, Closed::ToReaders), Ok("a\nb\n".to_owned()));
        let files = fs::read_dir(dir.path().join("deep")).unwrap().count();
        assert_eq!(files, 2, "the file and its lock");
        let chmod = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chmod(0o640);
        assert!(read(&path, Closed::ToWriters).is_ok());
        assert!(
            read(&path, Closed::ToReaders)
                .unwrap_err()
                .hint
                .unwrap()
                .starts_with("chmod 600 ")
        );
        chmod(0o620);
        let problem = read(&path, Closed::ToWriters).unwrap_err();
        assert!(problem.hint.unwrap().starts_with("chmod go-w "));
    }
}
