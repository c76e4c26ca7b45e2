//! Resolution of a pathname beneath the root: by the kernel (`openat2`), or component by component where it cannot.
//!
//! No comparison of strings decides where a name leads. Every operation starts from a descriptor that was opened
//! here, and its last step is an `*at` call on one name that is not followed.

use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::{ErrorKind, Result, VirtualPath};

/// Links in one resolution, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// Directories that the component-wise walk holds open at once; beyond that the name is too long.
const DEEPEST: usize = 512;
/// How often something that another process swapped meanwhile is looked up anew.
const MOST_TRIES: usize = 16;

/// The root directory, through which everything is opened.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    way: Way,
}

/// How names are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `openat2`, and the walk where the kernel or a system call filter does not know it.
    Kernel,
    /// The component-wise walk alone.
    #[cfg_attr(not(test), allow(dead_code))]
    Walk,
}

/// One name in one directory.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory, open with `O_PATH`.
    pub(super) dir: OwnedFd,
    /// One component, or `.` where a link leads to a directory itself.
    pub(super) name: Vec<u8>,
}

impl Root {
    /// Opens the root directory; links in `path` are the operator's and are followed.
    pub(super) fn open(path: &Path, way: Way) -> Result<Self> {
        let fd = fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { fd, way })
    }

    /// Opens what `path` means, links followed as `chroot` would. `flags` neither create nor truncate.
    pub(super) fn open_at(&self, path: &VirtualPath, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if self.way == Way::Kernel {
            let text = match relative(path) {
                text if text.is_empty() => b".".to_vec(),
                text => text,
            };
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..MOST_TRIES {
                match fs::openat2(&self.fd, text.as_slice(), flags, Mode::empty(), resolve) {
                    // Something was renamed while the kernel stood behind a `..`: openat2(2) wants another try.
                    Err(Errno::AGAIN) => {}
                    // An old kernel, or a system call filter: the walk decides.
                    Err(Errno::NOSYS | Errno::PERM) => break,
                    other => return Ok(other?),
                }
            }
        }
        for _ in 0..MOST_TRIES {
            let place = self.walk(path)?;
            let opened = match fs::openat(&place.dir, &place.name, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::LOOP) => continue,
                other => other?,
            };
            // O_PATH with O_NOFOLLOW opens a link itself: one that was put there a moment ago.
            if !flags.contains(OFlags::PATH) || kind(&fs::fstat(&opened)?) != FileType::Symlink {
                return Ok(opened);
            }
        }
        Err(ErrorKind::Busy.into())
    }

    /// The directory that holds `path` and its last component, whatever stands there: for operations on the
    /// entry itself. The root has no such place: [`ErrorKind::PermissionDenied`].
    pub(super) fn parent(&self, path: &VirtualPath) -> Result<Place> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(ErrorKind::PermissionDenied.into());
        };
        let dir = self.open_at(&parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Place {
            dir,
            name: name.to_vec(),
        })
    }

    /// The place that `path` means when links are followed. What stands there, if anything, was no link.
    pub(super) fn target(&self, path: &VirtualPath) -> Result<Place> {
        if path.is_root() {
            return Ok(Place {
                dir: self.fd.try_clone().map_err(crate::Error::from)?,
                name: b".".to_vec(),
            });
        }
        let place = self.parent(path)?;
        match place.stat()? {
            Some(stat) if kind(&stat) == FileType::Symlink => self.walk(path),
            _ => Ok(place),
        }
    }

    /// Walks component by component. Links are read and resolved here, the last one too; `..` goes back along the
    /// directories that were opened on the way, so it cannot leave the root.
    fn walk(&self, path: &VirtualPath) -> Result<Place> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened: Vec<OwnedFd> = Vec::new();
        let mut ahead = backwards(&relative(path));
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    opened.pop();
                    continue;
                }
                _ if opened.len() == DEEPEST => return Err(Errno::NAMETOOLONG.into()),
                _ => {}
            }
            let here = opened.last().map_or(self.fd.as_fd(), OwnedFd::as_fd);
            let last = ahead.is_empty();
            let next = match fs::openat(here, &part, flags, Mode::empty()) {
                Err(Errno::NOENT) if last => return place(here, part),
                other => other?,
            };
            match kind(&fs::fstat(&next)?) {
                FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    // An empty name reads the very link that was opened, whatever stands there by now.
                    let text = fs::readlinkat(&next, c"", Vec::new())?.into_bytes();
                    if text.first() == Some(&b'/') {
                        opened.clear();
                    }
                    ahead.append(&mut backwards(&text));
                }
                _ if last => return place(here, part),
                FileType::Directory => opened.push(next),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        let here = opened.last().map_or(self.fd.as_fd(), OwnedFd::as_fd);
        place(here, b".".to_vec())
    }
}

impl Place {
    /// What stands here, a link not followed; `None` for nothing.
    pub(super) fn stat(&self) -> Result<Option<Stat>> {
        stat_in(&self.dir, &self.name)
    }
}

/// What stands under `name` in `dir`, a link not followed; `None` for nothing.
pub(super) fn stat_in(dir: impl AsFd, name: &[u8]) -> Result<Option<Stat>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// The kind of file.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn place(dir: BorrowedFd<'_>, name: Vec<u8>) -> Result<Place> {
    Ok(Place {
        dir: dir.try_clone_to_owned()?,
        name,
    })
}

/// The path from the root, without the leading slash; empty for the root.
fn relative(path: &VirtualPath) -> Vec<u8> {
    path.components().collect::<Vec<_>>().join(&b'/')
}

/// The components of `text`, the first one last. A slash at the end stays as an empty component, so that what
/// stands before it has to be a directory.
fn backwards(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|byte| *byte == b'/')
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests;
