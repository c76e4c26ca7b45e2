//! The unpublished part of an upload: its name, its lock, and how it is taken away.
//!
//! A part lies beside its target as `.NAME.HASH.pasarela-part`. Whoever writes it or takes it away holds its
//! `flock`, and has looked again after locking whether the name still means the file that was locked.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::confine::{kind, stat_in};
use super::metadata::size;
use crate::{ErrorKind, Result};

const SUFFIX: &[u8] = b".pasarela-part";
/// Hexadecimal digits before the suffix.
const DIGITS: usize = 16;
/// How many bytes of the target's name are kept for people to recognise. The whole then fits 143 bytes too,
/// which is what eCryptfs takes.
const KEPT_NAME: usize = 100;
/// How often a part that somebody took away between opening and locking is opened anew.
const MOST_TRIES: usize = 16;

/// A part that is this process's alone, by its lock or by its random name. Closing the file gives the lock back.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: std::fs::File,
    pub(super) name: Vec<u8>,
    is_locked: bool,
}

/// What taking the canonical part of a name came to.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is ours, with this length in bytes (0 when it was made just now).
    Ours(Part, u64),
    /// Another upload holds it, or something that is no part stands there.
    Held,
}

/// Whether a component has the form of a part's name. The case of letters is ignored, for file systems that do.
pub(super) fn is_part_name(name: &[u8]) -> bool {
    let Some((stem, suffix)) = name.split_at_checked(name.len().saturating_sub(SUFFIX.len())) else {
        return false;
    };
    let Some((start, digits)) = stem.split_at_checked(stem.len().saturating_sub(DIGITS)) else {
        return false;
    };
    suffix.eq_ignore_ascii_case(SUFFIX)
        && digits.len() == DIGITS
        && digits.iter().all(u8::is_ascii_hexdigit)
        && start.len() >= 2
        && start.starts_with(b".")
        && start.ends_with(b".")
}

/// The name under which an interrupted upload of `name` is found again.
pub(super) fn canonical_name(name: &[u8]) -> Vec<u8> {
    part_name(name, fnv1a(name))
}

impl Part {
    /// Takes the canonical part of `name`, made if need be.
    pub(super) fn take(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Taken> {
        match lock(dir, canonical_name(name), OFlags::CREATE) {
            Err(error) if error.kind == ErrorKind::Unsupported => Ok(Taken::Held),
            other => other,
        }
    }

    /// Takes the canonical part of `name` where there is one.
    pub(super) fn take_existing(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Taken>> {
        match lock(dir, canonical_name(name), OFlags::empty()) {
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unsupported) => Ok(None),
            other => other.map(Some),
        }
    }

    /// A part for `name` that no other upload can have, because its number is random.
    pub(super) fn unique(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Self> {
        for _ in 0..MOST_TRIES {
            let number = getrandom::u64().map_err(|error| std::io::Error::other(error.to_string()))?;
            let name = part_name(name, number);
            let fd = match fs::openat(
                dir,
                &name,
                open_flags() | OFlags::CREATE | OFlags::EXCL,
                private(),
            ) {
                Err(Errno::EXIST) => continue,
                other => other?,
            };
            // Against the sweep; nobody else can hold it yet.
            let is_locked = fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok();
            return Ok(Self {
                file: fd.into(),
                name,
                is_locked,
            });
        }
        Err(ErrorKind::Busy.into())
    }

    /// Whether the name in `dir` still means this file.
    pub(super) fn stands_in(&self, dir: BorrowedFd<'_>) -> Result<bool> {
        is_same(dir, &self.name, &fs::fstat(&self.file)?)
    }

    /// Takes the entry away; the space is free once the file is closed.
    pub(super) fn remove(&self, dir: BorrowedFd<'_>) -> Result<()> {
        Ok(fs::unlinkat(dir, &self.name, AtFlags::empty())?)
    }

    /// Keeps a part under the canonical name of `target`, unless another upload holds that.
    pub(super) fn keep_as_canonical(&self, dir: BorrowedFd<'_>, target: &[u8]) -> Result<()> {
        let canonical = canonical_name(target);
        if self.name == canonical {
            return Ok(());
        }
        // Where nothing can be locked, two uploads could not be kept from going on with it at once.
        if !self.is_locked {
            return Err(ErrorKind::Unsupported.into());
        }
        match fs::renameat_with(dir, &self.name, dir, &canonical, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
        // With the lock of the one that stands there, nobody takes it up while it is replaced.
        match Self::take_existing(dir, target)? {
            Some(Taken::Ours(..)) => Ok(fs::renameat(dir, &self.name, dir, &canonical)?),
            _ => Err(ErrorKind::Busy.into()),
        }
    }
}

/// Removes the parts in a directory that holds nothing else. Answers whether it is empty now.
pub(super) fn clear(dir: BorrowedFd<'_>) -> Result<bool> {
    let entries = read_dir(dir)?;
    let mut parts = Vec::new();
    for entry in entries {
        match entry?.file_name().to_bytes() {
            b"." | b".." => {}
            name if is_part_name(name) => parts.push(name.to_vec()),
            _ => return Ok(false),
        }
    }
    for name in parts {
        if !remove_if_free(dir, &name, |_| true)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a part that nobody holds. Answers whether it is gone.
pub(super) fn remove_if_free(
    dir: BorrowedFd<'_>,
    name: &[u8],
    wanted: impl Fn(&Stat) -> bool,
) -> Result<bool> {
    let Some(stat) = stat_in(dir, name)? else {
        return Ok(true);
    };
    if kind(&stat) != FileType::RegularFile || !wanted(&stat) {
        return Ok(false);
    }
    let Taken::Ours(part, _) = lock(dir, name.to_vec(), OFlags::empty())? else {
        return Ok(false);
    };
    part.remove(dir)?;
    Ok(true)
}

/// A stream over a directory that was opened with `O_PATH`.
pub(super) fn read_dir(dir: BorrowedFd<'_>) -> Result<fs::Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::Dir::new(fs::openat(dir, c".", flags, Mode::empty())?)?)
}

/// Opens and locks a part. [`ErrorKind::Unsupported`] where the file system has no locks.
fn lock(dir: BorrowedFd<'_>, name: Vec<u8>, create: OFlags) -> Result<Taken> {
    for _ in 0..MOST_TRIES {
        let fd = match fs::openat(dir, &name, open_flags() | create, private()) {
            // A link or a directory that somebody else put there.
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(Taken::Held),
            other => other?,
        };
        let stat = fs::fstat(&fd)?;
        // A second name may lead anywhere on this file system: what stands there is not ours to change.
        if kind(&stat) != FileType::RegularFile || stat.st_nlink > 1 {
            return Ok(Taken::Held);
        }
        match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Taken::Held),
            // A file system without locks: nothing stays under a name that others would look for.
            Err(_) => {
                if !create.is_empty() && size(&stat) == 0 {
                    let _ = fs::unlinkat(dir, &name, AtFlags::empty());
                }
                return Err(ErrorKind::Unsupported.into());
            }
        }
        // Between open and lock it may have been published, swept or replaced.
        let stat = fs::fstat(&fd)?;
        if is_same(dir, &name, &stat)? {
            return Ok(Taken::Ours(
                Part {
                    file: fd.into(),
                    name,
                    is_locked: true,
                },
                size(&stat),
            ));
        }
    }
    Ok(Taken::Held)
}

fn is_same(dir: impl AsFd, name: &[u8], stat: &Stat) -> Result<bool> {
    Ok(stat_in(dir, name)?.is_some_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)))
}

/// For reading too: what was uploaded so far can be read back. Neither a pipe nor a terminal gets a hold on us.
fn open_flags() -> OFlags {
    OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// Nobody else reads what is not finished.
fn private() -> Mode {
    Mode::RUSR | Mode::WUSR
}

fn part_name(name: &[u8], number: u64) -> Vec<u8> {
    let mut kept = name.len().min(KEPT_NAME);
    // Some file systems take UTF-8 only: do not cut through a character of a name that is UTF-8.
    if let Ok(text) = std::str::from_utf8(name) {
        while !text.is_char_boundary(kept) {
            kept -= 1;
        }
    }
    [b".", &name[..kept], format!(".{number:016x}").as_bytes(), SUFFIX].concat()
}

/// FNV-1a, 64 bits: the same in every version, for parts outlive the process. It only tells apart long names
/// that begin alike.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_name_is_recognised_and_fits_every_file_system() {
        for name in [
            &b"a"[..],
            b".x",
            b"\xff\xfe",
            &[b'n'; 255],
            "ñ".repeat(127).as_bytes(),
        ] {
            let part = canonical_name(name);
            assert!(is_part_name(&part), "{part:?}");
            assert!(part.len() <= 143);
            assert_eq!(
                std::str::from_utf8(name).is_ok(),
                std::str::from_utf8(&part).is_ok()
            );
        }
        assert!(is_part_name(&canonical_name(b"x").to_ascii_uppercase()));
    }

    #[test]
    fn a_part_name_is_the_same_in_every_version() {
        assert_eq!(canonical_name(b"a"), b".a.af63dc4c8601ec8c.pasarela-part");
    }

    #[test]
    fn long_names_that_begin_alike_have_parts_of_their_own() {
        let name = |last: u8| [&[b'n'; 200][..], &[last]].concat();
        assert_ne!(canonical_name(&name(b'1')), canonical_name(&name(b'2')));
    }

    #[test]
    fn other_names_are_not_taken_for_parts() {
        for name in [
            &b""[..],
            b".pasarela-part",
            b"x.pasarela-part",
            b"af63dc4c8601ec8c.pasarela-part",
            b".af63dc4c8601ec8c.pasarela-part",
            b".a.af63dc4c8601ecZc.pasarela-part",
            b"a.af63dc4c8601ec8c.pasarela-part",
            b".a.af63dc4c8601ec8c.pasarela-part2",
        ] {
            assert!(!is_part_name(name), "{}", name.escape_ascii());
        }
    }
}
