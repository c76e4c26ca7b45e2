//! What is done to entries of directories, each by one system call on one name beneath a resolved directory.

use std::time::SystemTime;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::confine::{Place, Root, kind, stat_in};
use super::listing::entry_in;
use super::metadata::{metadata, modified_at, size};
use super::part::{Part, Taken, canonical_name, clear};
use super::{durable, part};
use crate::{Entry, ErrorKind, Metadata, Result, VirtualPath, Volume};

impl Root {
    pub(super) fn stat(&self, path: &VirtualPath) -> Result<Metadata> {
        Ok(metadata(&fs::fstat(self.open_at(path, OFlags::PATH)?)?))
    }

    pub(super) fn stat_entry(&self, path: &VirtualPath) -> Result<Entry> {
        if path.is_root() {
            return Ok(Entry {
                name: Vec::new(),
                metadata: self.stat(path)?,
                link_target: None,
            });
        }
        let Place { dir, name } = self.parent(path)?;
        entry_in(&dir, &name)?.ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn read_dir(&self, path: &VirtualPath) -> Result<fs::Dir> {
        Ok(fs::Dir::new(
            self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?,
        )?)
    }

    /// The length of the part that was left for `path`, in bytes.
    pub(super) fn part(&self, path: &VirtualPath) -> Result<Option<u64>> {
        let place = match self.target(path) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if place.stat()?.is_some() {
            return Ok(None);
        }
        let part = stat_in(&place.dir, &canonical_name(&place.name))?;
        Ok(part
            .filter(|part| kind(part) == FileType::RegularFile)
            .map(|part| size(&part)))
    }

    pub(super) fn make_dir(&self, path: &VirtualPath, safe: bool) -> Result<()> {
        if path.is_root() {
            return Err(ErrorKind::Exists.into());
        }
        let Place { dir, name } = self.parent(path)?;
        fs::mkdirat(&dir, &name, Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
        if safe {
            // An upload into it syncs its own names, not the one under which it is found itself.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            durable::directory(dir.as_fd(), fs::openat(&dir, &name, flags, Mode::empty())?)?;
        }
        Ok(())
    }

    pub(super) fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        let Place { dir, name } = self.parent(path)?;
        match fs::unlinkat(&dir, &name, AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            // POSIX wants EPERM for a directory, Linux says EISDIR.
            other => return Ok(other?),
        }
        match Part::take_existing(dir.as_fd(), &name)? {
            Some(Taken::Ours(part, _)) => part.remove(dir.as_fd()),
            Some(Taken::Held) => Err(ErrorKind::Busy.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn remove_dir(&self, path: &VirtualPath) -> Result<()> {
        let Place { dir, name } = self.parent(path)?;
        match fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            other => return Ok(other?),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = fs::openat(&dir, &name, flags, Mode::empty())?;
        if !clear(inside.as_fd())? {
            return Err(ErrorKind::NotEmpty.into());
        }
        Ok(fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR)?)
    }

    pub(super) fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        let (old, new) = (self.parent(from)?, self.parent(to)?);
        let Some(moved) = old.stat()? else {
            return Err(ErrorKind::NotFound.into());
        };
        if kind(&moved) == FileType::Directory && from != to && to.is_within(from) {
            return Err(ErrorKind::BadName.into());
        }
        // A rename puts a directory in the place of an empty one too, which nobody asked for.
        if replace && kind(&moved) != FileType::Directory {
            return Ok(fs::renameat(&old.dir, &old.name, &new.dir, &new.name)?);
        }
        rename_new(old.dir.as_fd(), &old.name, new.dir.as_fd(), &new.name)
    }

    pub(super) fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()> {
        let Place { dir, name } = self.target(path)?;
        Ok(fs::utimensat(
            dir,
            name,
            &modified_at(to),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Sets permission bits through an open file, so that they cannot land on another. Of an unreadable file
    /// that is not possible everywhere: [`ErrorKind::PermissionDenied`].
    pub(super) fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o777);
        let place = self.target(path)?;
        let stat = place.stat()?.ok_or(ErrorKind::NotFound)?;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |how: OFlags| fs::openat(&place.dir, &place.name, flags | how, Mode::empty());
        let file = match kind(&stat) {
            FileType::Directory => match open(OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::ACCESS) => {
                    // Unreadable, but it may be entered: its own `.` is no link, whatever happens outside.
                    let dir = open(OFlags::PATH | OFlags::DIRECTORY)?;
                    return Ok(fs::chmodat(dir, c".", mode, AtFlags::empty())?);
                }
                other => other?,
            },
            FileType::RegularFile => match open(OFlags::RDONLY) {
                Err(Errno::ACCESS) => open(OFlags::WRONLY)?,
                other => other?,
            },
            _ => return Err(ErrorKind::NotAFile.into()),
        };
        Ok(fs::fchmod(file, mode)?)
    }

    pub(super) fn make_link(&self, target: &[u8], link: &VirtualPath) -> Result<()> {
        // Through a link, a part would have a name.
        if target.split(|byte| *byte == b'/').any(part::is_part_name) {
            return Err(ErrorKind::BadName.into());
        }
        if link.is_root() {
            return Err(ErrorKind::Exists.into());
        }
        let Place { dir, name } = self.parent(link)?;
        Ok(fs::symlinkat(target, dir, name)?)
    }

    pub(super) fn space(&self, path: &VirtualPath) -> Result<Option<u64>> {
        let stat = fs::fstatvfs(self.open_at(path, OFlags::PATH | OFlags::DIRECTORY)?)?;
        Ok(stat.f_bavail.checked_mul(stat.f_frsize))
    }

    pub(super) fn volume(&self, path: &VirtualPath) -> Result<Volume> {
        let stat = fs::fstatvfs(self.open_at(path, OFlags::PATH)?)?;
        Ok(Volume {
            block: stat.f_frsize,
            blocks: stat.f_blocks,
            free: stat.f_bfree,
            available: stat.f_bavail,
            files: stat.f_files,
            files_free: stat.f_favail,
        })
    }
}

/// Renames where nothing stands under `to`, in one step.
pub(super) fn rename_new(
    from_dir: BorrowedFd<'_>,
    from: &[u8],
    to_dir: BorrowedFd<'_>,
    to: &[u8],
) -> Result<()> {
    match fs::renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
        // Not every file system has this.
        Err(Errno::INVAL | Errno::NOSYS) => claim_and_rename(from_dir, from, to_dir, to),
        other => Ok(other?),
    }
}

/// The same in two steps, of which the first never replaces anything: a second name for a file, an empty
/// directory for a directory.
fn claim_and_rename(from_dir: BorrowedFd<'_>, from: &[u8], to_dir: BorrowedFd<'_>, to: &[u8]) -> Result<()> {
    let stat = stat_in(from_dir, from)?.ok_or(ErrorKind::NotFound)?;
    if kind(&stat) != FileType::Directory {
        fs::linkat(from_dir, from, to_dir, to, AtFlags::empty())?;
        return Ok(fs::unlinkat(from_dir, from, AtFlags::empty())?);
    }
    fs::mkdirat(to_dir, to, Mode::RWXU)?;
    fs::renameat(from_dir, from, to_dir, to).map_err(|error| {
        let _ = fs::unlinkat(to_dir, to, AtFlags::REMOVEDIR);
        error.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_kernel_cannot_rename_without_replacing_two_steps_do_not_either() {
        let tmp = tempfile::tempdir().unwrap();
        let path = |name: &str| tmp.path().join(name);
        let dir = std::fs::File::open(tmp.path()).unwrap();
        let rename = |from: &str, to: &str| {
            claim_and_rename(dir.as_fd(), from.as_bytes(), dir.as_fd(), to.as_bytes()).map_err(|e| e.kind)
        };
        std::fs::write(path("file"), "1").unwrap();
        std::fs::write(path("other"), "2").unwrap();
        std::fs::create_dir(path("dir")).unwrap();
        std::fs::create_dir(path("empty")).unwrap();

        assert_eq!(rename("file", "other"), Err(ErrorKind::Exists));
        assert_eq!(rename("file", "empty"), Err(ErrorKind::Exists));
        assert_eq!(rename("dir", "empty"), Err(ErrorKind::Exists));
        assert_eq!(rename("dir", "other"), Err(ErrorKind::Exists));
        assert_eq!(rename("file", "new"), Ok(()));
        assert_eq!(rename("dir", "new dir"), Ok(()));
        assert_eq!(std::fs::read(path("new")).unwrap(), b"1");
        assert!(path("new dir").is_dir() && !path("dir").exists() && !path("file").exists());
    }
}
