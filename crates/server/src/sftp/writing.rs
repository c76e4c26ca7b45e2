//! A file that a client writes: unseen until CLOSE, and then under its name as a whole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use pasarela_session::{Error as SessionError, Permission, Session};
use pasarela_sftp_proto::{Attributes, FileKind, OpenFlags, Status};
use pasarela_store::{ErrorKind, File, Metadata, Open, VirtualPath};
use tracing::debug;

use super::handles::TransferLog;
use super::{names, status};

/// Bits that a client cannot give to a new file by opening it, as under the usual umask.
const MASKED: u32 = 0o022;

/// A file that is open for writing. Of the calls that change it, one is made at a time.
pub(super) struct Writing {
    file: Arc<dyn File>,
    path: VirtualPath,
    session: Session,
    /// What stood under the name when it was opened.
    standing: Option<Metadata>,
    may_read: bool,
    /// Everything goes to the end, whatever offset a client names.
    appends: bool,
    /// Whether anything is different from what stood.
    changed: AtomicBool,
    /// Bytes that stood before, which only `write` may change.
    kept: AtomicU64,
    /// Up to here every byte was written or stood before.
    solid: AtomicU64,
    /// Whether bytes were written further on.
    has_holes: AtomicBool,
    wanted: Mutex<Attributes>,
    pub(super) log: TransferLog,
}

impl Writing {
    /// Opens a file as `flags` say.
    pub(super) async fn open(
        session: &Session,
        path: VirtualPath,
        flags: OpenFlags,
        mut wanted: Attributes,
    ) -> Result<Self, Status> {
        let has = |flag| flags.has(flag);
        let may_read = has(OpenFlags::READ);
        if may_read {
            session.check(Permission::Read).map_err(status::of_session)?;
        }
        let (creates, exclusive) = (has(OpenFlags::CREATE), has(OpenFlags::EXCLUSIVE));
        let how = match (creates && exclusive, has(OpenFlags::TRUNCATE)) {
            (true, _) => Open::CreateNew,
            (false, true) => Open::Replace,
            // Also for writing anywhere: it begins with everything that stands.
            (false, false) => Open::Append,
        };
        let (standing, is_new) = match session.stat(&path).await {
            Ok(found) => (Some(found), false),
            Err(error) if is_not_found(&error) => {
                let goes_on = session.part(&path).await.is_ok_and(|part| part.is_some());
                if !creates && !goes_on {
                    return Err(status::of_session(error));
                }
                (None, true)
            }
            // An account that may neither list nor read can upload all the same.
            Err(_) if creates => (None, false),
            Err(error) => return Err(status::of_session(error)),
        };
        let file = session.open(&path, how).await.map_err(status::of_session)?;
        let start = file.start();
        wanted.size = None;
        wanted.owner = None;
        wanted.times = None;
        wanted.permissions = wanted
            .permissions
            .filter(|_| is_new && session.check(Permission::Attributes).is_ok())
            .map(|mode| mode & 0o777 & !MASKED);
        Ok(Self {
            log: TransferLog::begin("WRITE", &path),
            session: session.clone(),
            may_read,
            appends: has(OpenFlags::APPEND),
            changed: AtomicBool::new(how != Open::Append || standing.is_none()),
            kept: AtomicU64::new(start),
            solid: AtomicU64::new(start),
            has_holes: AtomicBool::new(false),
            wanted: Mutex::new(wanted),
            file,
            path,
            standing,
        })
    }

    pub(super) fn path(&self) -> &VirtualPath {
        &self.path
    }

    /// Writes, unless that changes bytes which the account may not change.
    pub(super) async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), Status> {
        let offset = match self.appends {
            true => self.solid.load(Ordering::Relaxed),
            false => offset,
        };
        if offset < self.kept.load(Ordering::Relaxed) {
            self.session
                .check(Permission::Write)
                .map_err(status::of_session)?;
        }
        let count = bytes.len() as u64;
        self.changed.store(true, Ordering::Relaxed);
        self.file
            .write_at(offset, bytes)
            .await
            .map_err(|error| status::of_store(&error))?;
        self.log.moved(count);
        if offset > self.solid.load(Ordering::Relaxed) {
            self.has_holes.store(true, Ordering::Relaxed);
        } else {
            self.solid.fetch_max(offset + count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads back what is there so far.
    pub(super) async fn read(&self, offset: u64, length: usize) -> Result<Bytes, Status> {
        if !self.may_read {
            return Err(status::of(
                pasarela_sftp_proto::StatusCode::PermissionDenied,
                "it is not open for reading",
            ));
        }
        let read = self.file.read_at(offset, length).await;
        read.map_err(|error| status::of_store(&error))
    }

    /// What it is going to be, as far as that is known.
    pub(super) async fn attributes(&self) -> Result<Attributes, Status> {
        let size = self.file.size().await;
        let size = size.map_err(|error| status::of_store(&error))?;
        let wanted = self.wanted();
        let mut attributes = self.standing.as_ref().map(names::attributes).unwrap_or_default();
        attributes.size = Some(size);
        let mode = wanted.permissions.or(attributes.permissions).unwrap_or(0o644);
        attributes.permissions = Some(mode & 0o7777 | FileKind::File.bits());
        let now = names::seconds(SystemTime::now());
        attributes.times = wanted.times.or(Some((now, now)));
        Ok(attributes)
    }

    /// Sets its length now, and other attributes when it stands under its name.
    pub(super) async fn set(&self, wanted: Attributes) -> Result<(), Status> {
        if wanted.permissions.is_some() || wanted.times.is_some() {
            let allowed = self.session.check(Permission::Attributes);
            allowed.map_err(status::of_session)?;
        }
        if let Some(size) = wanted.size {
            if size < self.kept.load(Ordering::Relaxed) {
                self.session
                    .check(Permission::Write)
                    .map_err(status::of_session)?;
            }
            self.changed.store(true, Ordering::Relaxed);
            let set = self.file.set_size(size).await;
            set.map_err(|error| status::of_store(&error))?;
            self.kept.fetch_min(size, Ordering::Relaxed);
            self.solid.store(size, Ordering::Relaxed);
        }
        let mut kept = self.wanted();
        kept.permissions = wanted.permissions.map(|mode| mode & 0o777).or(kept.permissions);
        kept.times = wanted.times.or(kept.times);
        Ok(())
    }

    /// Puts what came so far on stable storage.
    pub(super) async fn sync(&self) -> Result<(), Status> {
        let synced = self.file.prepare().await;
        synced.map_err(|error| status::of_store(&error))
    }

    /// The promise: it stands under its name when this has returned.
    pub(super) async fn close(&self) -> Result<(), Status> {
        if self.changed.load(Ordering::Relaxed)
            && let Err(error) = self.file.publish().await
        {
            self.log.fail(error.kind);
            return Err(status::of_store(&error));
        }
        self.log.end();
        let Attributes {
            permissions, times, ..
        } = std::mem::take(&mut *self.wanted());
        let session = &self.session;
        if let Some(mode) = permissions {
            let set = session.set_mode(&self.path, mode).await;
            set.map_err(status::of_session)?;
        }
        if let Some((_, modified)) = times {
            let set = session.set_modified(&self.path, names::moment(modified)).await;
            set.map_err(status::of_session)?;
        }
        Ok(())
    }

    /// The client is gone without a CLOSE. A part that has holes is cut where the first one begins: who resumes goes
    /// by its length.
    pub(super) async fn abandon(&self) {
        if self.has_holes.load(Ordering::Relaxed) {
            let solid = self.solid.load(Ordering::Relaxed);
            if let Err(error) = self.file.set_size(solid).await {
                debug!(%error, "a part with holes stays");
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Attributes> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_not_found(error: &SessionError) -> bool {
    matches!(error, SessionError::Store(error) if error.kind == ErrorKind::NotFound)
}
