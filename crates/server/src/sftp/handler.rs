//! An arm for each request that is done alone; reading and writing, which others go on beside, are in the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use pasarela_session::{Error as SessionError, Permission, Session};
use pasarela_sftp_proto::{Attributes, FileKind, Name, OpenFlags, Request, Response, Status, StatusCode};
use pasarela_store::{File, Kind, Open, VirtualPath};
use tracing::debug;

use super::handles::{Directory, Handle, Handles, Reading, TransferLog};
use super::writing::Writing;
use super::{names, status};

/// Entries in one answer to READDIR.
const NAMES: usize = 100;

/// One session's files.
pub(super) struct Handler {
    pub(super) session: Session,
    pub(super) handles: Handles,
    /// Whether the client's SYMLINK names the link first, as the draft does.
    pub(super) link_first: bool,
    /// The server is stopping: what is open may be finished, nothing new begins.
    pub(super) draining: bool,
}

impl Handler {
    /// Does what is asked for.
    pub(super) async fn answer(&mut self, request: Request) -> Response {
        let word = request.word();
        match self.respond(request).await {
            Ok(response) => response,
            Err(refused) => {
                if refused.code != StatusCode::Eof {
                    debug!(request = word, code = %refused.code, why = %refused.message.escape_ascii(), "refused");
                }
                Response::Status(refused)
            }
        }
    }

    async fn respond(&mut self, request: Request) -> Result<Response, Status> {
        match request {
            Request::Open {
                path,
                flags,
                attributes,
            } => self.open(&path, flags, attributes).await,
            Request::Close { handle } => {
                match self.handles.take(&handle)? {
                    Handle::Reading(reading) => reading.log.end(),
                    Handle::Writing(writing) => writing.close().await?,
                    Handle::Directory(_) => {}
                }
                Ok(Response::Status(Status::ok()))
            }
            Request::Read {
                handle,
                offset,
                length,
            } => match self.handles.at(&handle)? {
                Handle::Writing(writing) => {
                    let length = length.min(pasarela_sftp_proto::MAX_DATA) as usize;
                    data(Arc::clone(writing).read(offset, length).await?)
                }
                _ => Err(status::failure("the handle is none of a file")),
            },
            Request::Write { handle, .. } => match self.handles.at(&handle)? {
                Handle::Reading(_) => Err(status::of(
                    StatusCode::PermissionDenied,
                    "it is not open for writing",
                )),
                _ => Err(status::failure("the handle is none of a file")),
            },
            Request::Stat { path } => self.stat(&path, true).await,
            Request::LStat { path } => self.stat(&path, false).await,
            Request::FStat { handle } => {
                let attributes = match self.handles.at(&handle)? {
                    Handle::Reading(reading) => {
                        let size = reading.file.size().await;
                        Attributes {
                            size: Some(size.map_err(|error| status::of_store(&error))?),
                            ..reading.attributes.clone()
                        }
                    }
                    Handle::Writing(writing) => writing.attributes().await?,
                    Handle::Directory(directory) => directory.attributes.clone(),
                };
                Ok(Response::Attributes(attributes))
            }
            Request::SetStat { path, attributes } => self.set(&path, attributes).await,
            Request::FSetStat { handle, attributes } => self.set_of_handle(&handle, attributes).await,
            Request::OpenDir { path } => self.open_dir(&path).await,
            Request::ReadDir { handle } => self.read_dir(&handle).await,
            Request::Remove { path } => done(self.session.remove_file(&self.path(&path)?).await),
            Request::MakeDir { path, .. } => {
                self.begins()?;
                done(self.session.make_dir(&self.path(&path)?).await)
            }
            Request::RemoveDir { path } => done(self.session.remove_dir(&self.path(&path)?).await),
            Request::RealPath { path } => Ok(Response::Names(vec![Name::path(self.path(&path)?.to_bytes())])),
            Request::Rename { from, to } => {
                let (from, to) = (self.path(&from)?, self.path(&to)?);
                done(self.session.rename_new(&from, &to).await)
            }
            Request::ReadLink { path } => {
                let entry = self.session.stat_entry(&self.path(&path)?).await;
                let target = entry.map_err(status::of_session)?.link_target;
                let target = target.ok_or_else(|| status::failure("it is no link"))?;
                Ok(Response::Names(vec![Name::path(target)]))
            }
            Request::SymLink { target, link } => {
                let (target, link) = match self.link_first {
                    true => (link, target),
                    false => (target, link),
                };
                done(self.session.make_link(&target, &self.path(&link)?).await)
            }
            Request::Extended(extended) => self.extended(extended).await,
            Request::Unknown { .. } => Err(status::unsupported()),
        }
    }

    pub(super) fn root(&self) -> VirtualPath {
        VirtualPath::root()
    }

    /// What a client's path means; one that is not absolute begins at the root, which is every visitor's home.
    pub(super) fn path(&self, typed: &[u8]) -> Result<VirtualPath, Status> {
        self.root().resolve(typed).map_err(status::of_path)
    }

    fn begins(&self) -> Result<(), Status> {
        match self.draining {
            true => Err(status::failure("the server is stopping")),
            false => Ok(()),
        }
    }

    async fn open(
        &mut self,
        path: &[u8],
        flags: OpenFlags,
        attributes: Attributes,
    ) -> Result<Response, Status> {
        self.begins()?;
        self.handles.has_room()?;
        let path = self.path(path)?;
        let handle = if flags.has(OpenFlags::WRITE) || flags.has(OpenFlags::APPEND) {
            let writing = Writing::open(&self.session, path, flags, attributes).await?;
            Handle::Writing(Arc::new(writing))
        } else {
            let file = self.session.open(&path, Open::Read).await;
            let file = file.map_err(status::of_session)?;
            let found = self.session.stat(&path).await.map_err(status::of_session)?;
            Handle::Reading(Arc::new(Reading {
                file,
                attributes: names::attributes(&found),
                log: TransferLog::begin("READ", &path),
                path,
            }))
        };
        Ok(Response::Handle(self.handles.add(handle)))
    }

    /// Of a file that the session is writing, what it is going to be; and of one that an upload which was cut off has
    /// left unfinished, where it can be resumed: clients look at the length first.
    async fn stat(&self, path: &[u8], follows: bool) -> Result<Response, Status> {
        let path = self.path(path)?;
        let session = &self.session;
        if let Some(writing) = self.handles.writing(&path) {
            session
                .check(Permission::List)
                .or_else(|_| session.check(Permission::Read))
                .map_err(status::of_session)?;
            return Ok(Response::Attributes(writing.attributes().await?));
        }
        let found = match follows {
            true => session.stat(&path).await,
            false => session.stat_entry(&path).await.map(|entry| entry.metadata),
        };
        let refused = match found {
            Ok(found) => return Ok(Response::Attributes(names::attributes(&found))),
            Err(error) => status::of_session(error),
        };
        match session.part(&path).await {
            Ok(Some(length)) if refused.code == StatusCode::NoSuchFile => {
                Ok(Response::Attributes(Attributes {
                    size: Some(length),
                    permissions: Some(0o600 | FileKind::File.bits()),
                    ..Attributes::default()
                }))
            }
            _ => Err(refused),
        }
    }

    /// SETSTAT. Nothing is set where something that is asked for cannot be.
    pub(super) async fn set(&mut self, path: &[u8], wanted: Attributes) -> Result<Response, Status> {
        let path = self.path(path)?;
        if let Some(writing) = self.handles.writing(&path) {
            let writing = Arc::clone(writing);
            may_own(&wanted, writing.attributes().await?.owner)?;
            writing.set(wanted).await?;
            return Ok(Response::Status(Status::ok()));
        }
        let session = &self.session;
        if wanted.permissions.is_some() || wanted.times.is_some() {
            let allowed = session.check(Permission::Attributes);
            allowed.map_err(status::of_session)?;
        }
        if wanted.owner.is_some() || wanted.size.is_some() {
            let found = session.stat(&path).await.map_err(status::of_session)?;
            may_own(&wanted, Some((found.uid, found.gid)))?;
        }
        if let Some(size) = wanted.size {
            let attributes = Attributes::default();
            let writing = Writing::open(session, path.clone(), OpenFlags::WRITE, attributes).await?;
            let size = Attributes {
                size: Some(size),
                ..Attributes::default()
            };
            writing.set(size).await?;
            writing.close().await?;
        }
        if let Some(mode) = wanted.permissions {
            let set = session.set_mode(&path, mode).await;
            set.map_err(status::of_session)?;
        }
        if let Some((_, modified)) = wanted.times {
            let set = session.set_modified(&path, names::moment(modified)).await;
            set.map_err(status::of_session)?;
        }
        Ok(Response::Status(Status::ok()))
    }

    async fn set_of_handle(&mut self, handle: &[u8], wanted: Attributes) -> Result<Response, Status> {
        let path = match self.handles.at(handle)? {
            Handle::Writing(writing) => {
                let writing = Arc::clone(writing);
                may_own(&wanted, writing.attributes().await?.owner)?;
                writing.set(wanted).await?;
                return Ok(Response::Status(Status::ok()));
            }
            Handle::Reading(_) if wanted.size.is_some() => {
                return Err(status::of(
                    StatusCode::PermissionDenied,
                    "it is not open for writing",
                ));
            }
            Handle::Reading(reading) => reading.path.to_bytes(),
            Handle::Directory(directory) => directory.path.to_bytes(),
        };
        self.set(&path, wanted).await
    }

    async fn open_dir(&mut self, path: &[u8]) -> Result<Response, Status> {
        self.begins()?;
        self.handles.has_room()?;
        let path = self.path(path)?;
        let found = self.session.stat(&path).await.map_err(status::of_session)?;
        if found.kind != Kind::Directory {
            return Err(status::of_store(&pasarela_store::ErrorKind::NotADirectory.into()));
        }
        let pages = self.session.list(&path).await.map_err(status::of_session)?;
        let directory = Directory {
            path,
            attributes: names::attributes(&found),
            pages: Mutex::new(pages),
            ready: VecDeque::new(),
        };
        let handle = self.handles.add(Handle::Directory(directory));
        Ok(Response::Handle(handle))
    }

    async fn read_dir(&mut self, handle: &[u8]) -> Result<Response, Status> {
        let directory = self.handles.directory(handle)?;
        let now = SystemTime::now();
        loop {
            let count = directory.ready.len().min(NAMES);
            let names: Vec<Name> = directory
                .ready
                .drain(..count)
                // No path can name the others.
                .filter(|entry| pasarela_ftp_proto::listing::is_listable(&entry.name))
                .map(|entry| names::name(entry, now))
                .collect();
            if !names.is_empty() {
                return Ok(Response::Names(names));
            }
            if !directory.ready.is_empty() {
                continue;
            }
            let pages = directory.pages.get_mut().unwrap_or_else(PoisonError::into_inner);
            let page = pages.next_page().await;
            match page.map_err(|error| status::of_store(&error))? {
                Some(page) => directory.ready.extend(page),
                None => return Err(status::of(StatusCode::Eof, "end of the directory")),
            }
        }
    }
}

/// The answer to what has nothing else to say.
pub(super) fn done(outcome: Result<(), SessionError>) -> Result<Response, Status> {
    match outcome {
        Ok(()) => Ok(Response::Status(Status::ok())),
        Err(error) => Err(status::of_session(error)),
    }
}

/// The answer to READ.
pub(super) fn data(bytes: Bytes) -> Result<Response, Status> {
    match bytes.is_empty() {
        true => Err(status::of(StatusCode::Eof, "end of the file")),
        false => Ok(Response::Data(bytes)),
    }
}

/// Files are not given away; but whoever sets all attributes that it has read asks for no more than there is.
fn may_own(wanted: &Attributes, owner: Option<(u32, u32)>) -> Result<(), Status> {
    match wanted.owner {
        Some(_) if wanted.owner != owner => Err(status::of(
            StatusCode::PermissionDenied,
            "the owner of a file cannot be changed",
        )),
        _ => Ok(()),
    }
}

/// As many bytes as were asked for, fewer at the end of the file only: the store gives what it has at hand.
pub(super) async fn read_whole(file: &dyn File, offset: u64, length: usize) -> Result<Bytes, Status> {
    let read = async |at, length| {
        let read = file.read_at(at, length).await;
        read.map_err(|error| status::of_store(&error))
    };
    let first = read(offset, length).await?;
    if first.len() == length || first.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::from(&first[..]);
    while all.len() < length {
        let more = read(offset + all.len() as u64, length - all.len()).await?;
        if more.is_empty() {
            break;
        }
        all.extend_from_slice(&more);
    }
    Ok(all.freeze())
}
