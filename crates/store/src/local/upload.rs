//! An upload: written beside its target, unseen, and put in the target's place as a whole.
//!
//! The order is the promise: all bytes and the mode on stable storage, then the rename, then the directory. Until
//! the rename the old file is whole, and whatever fails before it leaves everything as it was.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Access, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::confine::{Place, kind};
use super::entries::rename_new;
use super::medium::Medium;
use super::metadata::size;
use super::part::{Part, Taken, is_part_name};
use super::prefix::copy_prefix;
use super::reading::{only_file, read_blocking};
use super::{blocking, durable};
use crate::{Error, ErrorKind, File, Open, Result};

/// Freeing the blocks of a file longer than this takes long enough to be left to a thread that may wait.
const SLOW_TO_FREE: u64 = 64 << 20;

/// What every upload of a backend has in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether file and directory are put on stable storage before it is published.
    pub(super) safe: bool,
    /// Permission bits of a new file.
    pub(super) mode: u32,
}

/// An upload in progress.
pub(super) struct Upload(Arc<Inner>);

struct Inner {
    place: Place,
    part: Part,
    medium: Medium,
    terms: Terms,
    how: Open,
    start: u64,
    /// Whether a file stood under the name at open.
    replaces: bool,
    /// Held shared by those who write, alone by whoever cuts or publishes.
    state: RwLock<State>,
    /// The first failure: what may lack a byte is never published.
    failure: Mutex<Option<ErrorKind>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The part of an earlier upload still reaches past `start`. It is cut when the first byte comes, so that a
    /// client that is cut off before loses nothing.
    Uncut,
    /// Bytes may come.
    Open,
    /// It is complete, has the mode of the finished file, and waits to be published.
    Prepared,
    /// It stands under its name.
    Published,
}

impl Upload {
    /// Opens an upload to `place`, which is behind all links.
    pub(super) fn open(place: Place, how: Open, terms: Terms) -> Result<Self> {
        if is_part_name(&place.name) {
            return Err(ErrorKind::BadName.into());
        }
        match place.stat()? {
            Some(_) if how == Open::CreateNew => Err(ErrorKind::Exists.into()),
            Some(stat) => {
                only_file(&stat)?;
                Self::over(place, how, terms)
            }
            None => Self::new(place, how, terms),
        }
    }

    /// An upload that replaces a file.
    fn over(place: Place, how: Open, terms: Terms) -> Result<Self> {
        let dir = place.dir.as_fd();
        // The rename would ask for rights to the directory alone. Opening the file to find out would look to
        // those who watch it as if it had been written.
        match fs::accessat(
            dir,
            &place.name,
            Access::WRITE_OK,
            AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Err(Errno::NOSYS) => {}
            other => other?,
        }
        let old = match how {
            Open::Append | Open::Resume { offset: 1.. } => Some(open_old(&place)?),
            _ => None,
        };
        // The length of the very file that is copied: another upload may have been published since we looked.
        let length = old
            .as_ref()
            .map_or(Ok(0), |old| fs::fstat(old).map(|stat| size(&stat)))?;
        let start = how.start(length)?;
        let part = match Part::take(dir, &place.name)? {
            Taken::Ours(part, _) => part,
            Taken::Held => Part::unique(dir, &place.name)?,
        };
        let upload = Self::with(place, part, State::Open, (how, start), terms, true);
        // What an earlier upload left is of no use to one that begins with the file's own bytes.
        fs::ftruncate(&upload.0.part.file, 0)?;
        if let Some(old) = old {
            copy_prefix(&old, &upload.0.part.file, start)?;
        }
        Ok(upload)
    }

    /// An upload to a new name, which goes on with the part of an earlier one where it is told to.
    fn new(place: Place, how: Open, terms: Terms) -> Result<Self> {
        let dir = place.dir.as_fd();
        let goes_on = matches!(how, Open::Append | Open::Resume { offset: 1.. });
        let (part, length) = match Part::take_existing(dir, &place.name)? {
            Some(Taken::Ours(part, length)) => (part, length),
            // To begin anew beside the one that holds it is not what this one asked for.
            Some(Taken::Held) if goes_on => return Err(ErrorKind::Busy.into()),
            Some(Taken::Held) => (Part::unique(dir, &place.name)?, 0),
            None => {
                how.start(0)?;
                match Part::take(dir, &place.name)? {
                    Taken::Ours(part, length) => (part, length),
                    Taken::Held => (Part::unique(dir, &place.name)?, 0),
                }
            }
        };
        let start = how.start(length)?;
        let state = if start < length { State::Uncut } else { State::Open };
        Ok(Self::with(place, part, state, (how, start), terms, false))
    }

    fn with(
        place: Place,
        part: Part,
        state: State,
        (how, start): (Open, u64),
        terms: Terms,
        replaces: bool,
    ) -> Self {
        let (state, failure) = (RwLock::new(state), Mutex::new(None));
        Self(Arc::new(Inner {
            place,
            medium: Medium::of(&part.file),
            part,
            terms,
            how,
            start,
            replaces,
            state,
            failure,
        }))
    }

    /// The directory that it goes to.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.0.dir()
    }

    /// All bytes so far, read on this very thread.
    #[cfg(test)]
    pub(super) fn content_now(&self) -> Bytes {
        self.0.read(0, usize::MAX).unwrap_or_default()
    }

    /// Publishes on this very thread.
    #[cfg(test)]
    pub(super) fn publish_now(&self) -> Result<()> {
        self.0.publish(&mut self.0.alone())
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        blocking(move || work(&inner)).await
    }
}

fn open_old(place: &Place) -> Result<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let old = fs::openat(&place.dir, &place.name, flags, Mode::empty())?;
    only_file(&fs::fstat(&old)?)?;
    Ok(old.into())
}

impl Inner {
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.change(|file| file.write_all_at(bytes, offset))
    }

    /// Takes `len` bytes out of a pipe; none where the file system cannot.
    fn splice(&self, offset: u64, pipe: &OwnedFd, len: usize) -> Result<()> {
        let (at, refused) = (Cell::new(offset), Cell::new(false));
        self.change(|file| {
            let end = offset + len as u64;
            while at.get() < end {
                let left = usize::try_from(end - at.get()).unwrap_or(len);
                let mut to = at.get();
                match splice(pipe, None, file, Some(&mut to), left, SpliceFlags::MOVE) {
                    Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                    Ok(moved) => at.set(at.get() + moved as u64),
                    Err(Errno::INTR) => {}
                    Err(Errno::INVAL) if at.get() == offset => {
                        refused.set(true);
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })?;
        match refused.get() {
            true => Err(ErrorKind::Unsupported.into()),
            false => Ok(()),
        }
    }

    /// Changes the part once it may be changed; a change that fails is one that the upload lacks.
    fn change(&self, change: impl Fn(&std::fs::File) -> std::io::Result<()>) -> Result<()> {
        loop {
            {
                let state = self.shared();
                match *state {
                    State::Open => {
                        return change(&self.part.file).map_err(|error| self.failed(error.into()));
                    }
                    State::Published => return Err(ErrorKind::Io.into()),
                    State::Uncut | State::Prepared => {}
                }
            }
            self.open_again(&mut self.alone())?;
        }
    }

    /// Makes it ready to take bytes.
    fn open_again(&self, state: &mut State) -> Result<()> {
        match *state {
            State::Uncut => {
                fs::ftruncate(&self.part.file, self.start).map_err(|error| self.failed(error.into()))?
            }
            State::Prepared => self.hide(),
            State::Open | State::Published => return Ok(()),
        }
        *state = State::Open;
        Ok(())
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        let left = self.size()?.saturating_sub(offset);
        let len = usize::try_from(left).map_or(len, |left| left.min(len));
        read_blocking(&self.part.file, vec![0; len], offset)
    }

    fn size(&self) -> Result<u64> {
        Ok(match *self.shared() {
            State::Uncut => self.start,
            _ => size(&fs::fstat(&self.part.file)?),
        })
    }

    fn prepare(&self, state: &mut State) -> Result<()> {
        if let Some(kind) = *self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(kind.into());
        }
        if *state == State::Uncut {
            self.open_again(state)?;
        }
        if *state == State::Open {
            self.dress()?;
            durable::file(&self.part.file, self.terms.safe).map_err(|error| self.failed(error))?;
            *state = State::Prepared;
        }
        Ok(())
    }

    fn publish(&self, state: &mut State) -> Result<()> {
        self.prepare(state)?;
        if *state == State::Published {
            return Ok(());
        }
        let (dir, part, name) = (self.dir(), &self.part.name, &self.place.name);
        if !self.part.stands_in(dir)? {
            tracing::warn!(part = %part.escape_ascii(), "an upload's part was taken away");
            return Err(self.failed(ErrorKind::Io.into()));
        }
        match self.how {
            Open::CreateNew => rename_new(dir, part, dir, name)?,
            _ => fs::renameat(dir, part, dir, name)?,
        }
        *state = State::Published;
        if self.terms.safe {
            durable::directory(dir, &self.part.file).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Gives the part the mode, and where we may the owner, of the file that it is about to replace.
    fn dress(&self) -> Result<()> {
        let mut mode = self.terms.mode;
        if let Some(old) = self
            .place
            .stat()?
            .filter(|old| kind(old) == FileType::RegularFile)
        {
            mode = old.st_mode & 0o777;
            let ours = fs::fstat(&self.part.file)?;
            if (ours.st_uid, ours.st_gid) != (old.st_uid, old.st_gid) {
                // Only root may give files away; everybody else's uploads are their own.
                let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
                let _ = fs::fchown(&self.part.file, Some(uid), Some(gid));
            }
        }
        match fs::fchmod(&self.part.file, Mode::from_raw_mode(mode)) {
            // File systems without modes, such as FAT.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// What is not finished is nobody else's to read.
    fn hide(&self) {
        let _ = fs::fchmod(&self.part.file, Mode::RUSR | Mode::WUSR);
    }

    fn failed(&self, error: Error) -> Error {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error.kind);
        error
    }

    fn dir(&self) -> BorrowedFd<'_> {
        self.place.dir.as_fd()
    }

    fn shared(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a later upload may want to go on with this: a new name still free, and room on the disk.
    fn is_worth_keeping(&self, length: u64) -> bool {
        let failure = *self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        length > 0
            && !self.replaces
            && !matches!(failure, Some(ErrorKind::NoSpace | ErrorKind::QuotaExceeded))
            && matches!(self.place.stat(), Ok(None))
    }
}

impl Drop for Inner {
    /// A few quick system calls, for this may run on one of the runtime's threads.
    fn drop(&mut self) {
        let state = *self.shared();
        if state == State::Published {
            return;
        }
        let length = fs::fstat(&self.part.file).map_or(0, |stat| size(&stat));
        if self.is_worth_keeping(length) {
            if state == State::Prepared {
                self.hide();
                // Everything had come, so it may be as long as the whole: a client that compares lengths must
                // never take a part for it.
                let _ = fs::ftruncate(&self.part.file, length - 1);
            }
            if self.part.keep_as_canonical(self.dir(), &self.place.name).is_ok() {
                return;
            }
        }
        if self.part.stands_in(self.dir()).is_ok_and(|stands| stands) {
            let _ = self.part.remove(self.dir());
        }
        if length > SLOW_TO_FREE
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Ok(last) = self.part.file.try_clone()
        {
            // The blocks go when the last descriptor is closed.
            runtime.spawn_blocking(move || drop(last));
        }
    }
}

#[async_trait]
impl File for Upload {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.on_thread(move |inner| inner.read(offset, len)).await
    }

    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        if self.0.medium == Medium::Memory {
            return self.0.write(offset, &bytes);
        }
        self.on_thread(move |inner| inner.write(offset, &bytes)).await
    }

    async fn write_from(&self, offset: u64, pipe: &Arc<OwnedFd>, len: usize) -> Result<()> {
        if self.0.medium == Medium::Memory {
            return self.0.splice(offset, pipe, len);
        }
        let pipe = Arc::clone(pipe);
        self.on_thread(move |inner| inner.splice(offset, &pipe, len))
            .await
    }

    async fn set_size(&self, size: u64) -> Result<()> {
        self.on_thread(move |inner| inner.change(|file| file.set_len(size)))
            .await
    }

    async fn size(&self) -> Result<u64> {
        self.on_thread(Inner::size).await
    }

    fn start(&self) -> u64 {
        self.0.start
    }

    async fn prepare(&self) -> Result<()> {
        self.on_thread(|inner| inner.prepare(&mut inner.alone())).await
    }

    async fn publish(&self) -> Result<()> {
        self.on_thread(|inner| inner.publish(&mut inner.alone())).await
    }
}

#[cfg(test)]
mod tests;
