//! The Storage and Remote of a place that is reached by SFTP: each operation as requests, the better ones first.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_sftp_proto::extension::{CHECK_FILE, CHECK_FILE_NAME, POSIX_RENAME, STATVFS, WHOLE_UPLOADS};
use pasarela_sftp_proto::{Attributes, Check, Checked, Extended, OpenFlags, Request, Response, StatVfs};
use pasarela_store::{
    Entry, Error, ErrorKind, File, Kind, Metadata, Open, Pages, Result, Storage, VirtualPath, Volume,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Seen;
use super::listing::{Listing, metadata, target};
use super::pool::Pool;
use super::reading::Reading;
use super::session::Session;
use super::site::{SftpOptions, SftpSite};
use super::status;
use super::wire::Plain;
use super::writing::{Writing, size_of};
use crate::{Abilities, Algorithm, Digest, Failure, FailureKind, Remote, Uploads};

/// A place reached by SFTP. Nothing is connected before the first operation. Cheap to clone; clones share their
/// connection.
#[derive(Clone)]
pub struct SftpRemote {
    pool: Arc<Pool>,
}

type Outcome<T> = std::result::Result<T, Failure>;

/// What a server calls an open file is no longer than this (filexfer-02 §6.2).
const LONGEST_HANDLE: usize = 256;
/// Transfers share sessions, so it is not the server that bounds them.
const PARALLEL: usize = 64;

impl SftpRemote {
    /// A place at this site.
    #[must_use]
    pub fn new(site: SftpSite) -> Self {
        Self {
            pool: Pool::new(Some(site), 0),
        }
    }

    /// A place at the other end of a stream that leads to an SFTP server already: a process, for example. Its end is
    /// the place's end.
    ///
    /// # Errors
    /// With a [`Failure`] inside, where the other end does not speak SFTP.
    pub async fn over(
        from_server: impl AsyncRead + Send + Unpin + 'static,
        to_server: impl AsyncWrite + Send + Unpin + 'static,
        options: &SftpOptions,
    ) -> Result<Self> {
        let patience = options.stall_timeout;
        let session = Session::start(Plain(from_server), Plain(to_server), patience).await?;
        let pool = Pool::new(None, 1);
        pool.take_in(Arc::new(session))?;
        Ok(Self { pool })
    }

    /// Connects and logs in, so that [`Remote::abilities`] knows what the server can do.
    ///
    /// # Errors
    /// With a [`Failure`] inside, as every operation.
    pub async fn connect(&self) -> Result<()> {
        self.pool.home().await?;
        Ok(())
    }

    /// What the server is, once it is connected to.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.pool.seen()
    }

    /// The path that `typed` means from the directory after login; connects.
    ///
    /// # Errors
    /// With a [`Failure`] inside.
    pub async fn resolve(&self, typed: &[u8]) -> Result<VirtualPath> {
        let bad = |error| Failure::new(FailureKind::Usage, format!("no path: {error}"));
        let root = VirtualPath::root();
        if typed.starts_with(b"/") {
            self.connect().await?;
            return Ok(root.resolve(typed).map_err(bad)?);
        }
        let home = self.pool.home().await?;
        let home = root.resolve(&home).map_err(bad)?;
        Ok(home.resolve(typed).map_err(bad)?)
    }

    async fn order(&self, doing: &str, request: &Request) -> Outcome<()> {
        let lease = self.pool.lease().await?;
        lease.session().order(doing, request).await
    }

    /// What stands there, links followed.
    async fn look(&self, path: &VirtualPath) -> Outcome<Metadata> {
        let request = Request::Stat { path: bytes(path) };
        let lease = self.pool.lease().await?;
        described(lease.session(), &lease.session().ask(&request).await?)
    }

    async fn look_at_entry(&self, path: &VirtualPath) -> Outcome<Entry> {
        let lease = self.pool.lease().await?;
        let session = lease.session();
        let found = described(
            session,
            &session.ask(&Request::LStat { path: bytes(path) }).await?,
        )?;
        let link_target = match found.kind {
            // A link that cannot be read is a link all the same.
            Kind::Link => target(session.ask(&Request::ReadLink { path: bytes(path) }).await?),
            _ => None,
        };
        Ok(Entry {
            name: path.name().unwrap_or_default().to_vec(),
            metadata: found,
            link_target,
        })
    }

    async fn exists(&self, path: &VirtualPath) -> Outcome<bool> {
        match self.look_at_entry(path).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self, path: &VirtualPath) -> Outcome<Arc<dyn File>> {
        let lease = self.pool.lease().await?;
        let session = lease.session();
        // Looked at first: servers open a directory too, and wait for ever where a pipe is opened.
        let found = described(session, &session.ask(&Request::Stat { path: bytes(path) }).await?)?;
        match found.kind {
            Kind::Directory => return Err(Failure::new(FailureKind::IsDirectory, "that is a folder")),
            Kind::Other => {
                return Err(Failure::new(FailureKind::Unsupported, "that is no regular file"));
            }
            Kind::File | Kind::Link => {}
        }
        let handle = open(session, path, OpenFlags::READ, "send the file").await?;
        Ok(Arc::new(Reading::start(lease, handle, found.size)))
    }

    async fn write(&self, path: &VirtualPath, how: Open) -> Outcome<Arc<dyn File>> {
        let lease = self.pool.lease().await?;
        let session = lease.session();
        let new = OpenFlags::WRITE | OpenFlags::CREATE;
        let flags = match how {
            Open::CreateNew => new | OpenFlags::EXCLUSIVE,
            // What is there is compared first, and a part is read through its upload only.
            Open::Resume { offset } if offset > 0 && session.has(WHOLE_UPLOADS) => new | OpenFlags::READ,
            Open::Resume { offset } if offset > 0 => new,
            Open::Append => new,
            _ => new | OpenFlags::TRUNCATE,
        };
        let handle = open(session, path, flags, "take the file").await?;
        let there = match how {
            Open::Resume { offset } if offset > 0 => size_of(session, &handle).await,
            Open::Append => size_of(session, &handle).await,
            _ => Ok(Some(0)),
        };
        let start = there.and_then(|there| match (how, there) {
            (Open::Resume { offset }, Some(there)) if offset <= there || offset == 0 => Ok(offset),
            (Open::Resume { .. }, _) => Err(Failure::new(
                FailureKind::PastEnd,
                "the server has less of that file",
            )),
            (_, there) => Ok(there.unwrap_or(0)),
        });
        match start {
            Ok(start) => Ok(Arc::new(Writing::start(lease, handle, start))),
            Err(failure) => {
                session.release(handle);
                Err(failure)
            }
        }
    }

    /// What a refusal was about, where the server does not tell.
    async fn explain(&self, failure: Failure, path: &VirtualPath, wanted: Kind) -> Failure {
        if !matches!(failure.kind, FailureKind::Other | FailureKind::NotFound) {
            return failure;
        }
        let kind = match (self.look_at_entry(path).await, wanted) {
            (Ok(found), Kind::File) if found.metadata.kind == Kind::Directory => FailureKind::IsDirectory,
            (Ok(found), Kind::Directory) if !matches!(found.metadata.kind, Kind::Directory | Kind::Link) => {
                FailureKind::NotADirectory
            }
            (Err(found), _) if found.kind == FailureKind::NotFound => found.kind,
            _ => failure.kind,
        };
        Failure { kind, ..failure }
    }

    async fn is_empty(&self, path: &VirtualPath) -> Outcome<bool> {
        let mut pages = Listing::start(self.pool.lease().await?, path.to_bytes()).await?;
        let of = |error: Error| {
            let unknown = || Failure::new(FailureKind::Other, error.to_string());
            Failure::of(&error).cloned().unwrap_or_else(unknown)
        };
        Ok(pages.next_page().await.map_err(of)?.is_none())
    }

    async fn rename_over(&self, from: &VirtualPath, to: &VirtualPath) -> Outcome<()> {
        let doing = "rename it";
        let lease = self.pool.lease().await?;
        let session = lease.session();
        if session.has(POSIX_RENAME) {
            let request = Request::Extended(Extended::PosixRename {
                from: bytes(from),
                to: bytes(to),
            });
            return session.order(doing, &request).await;
        }
        let request = Request::Rename {
            from: bytes(from),
            to: bytes(to),
        };
        let refused = match session.order(doing, &request).await {
            Err(failure) if !failure.kind.is_lost() => failure,
            done => return done,
        };
        // In the third version a rename replaces nothing, so there is a moment without the file.
        match self.look_at_entry(to).await {
            Ok(found) if found.metadata.kind != Kind::Directory => {
                let remove = Request::Remove { path: bytes(to) };
                session.order("replace the file", &remove).await?;
                session.order(doing, &request).await
            }
            _ => Err(refused),
        }
    }

    async fn volume_of(&self, path: &VirtualPath) -> Outcome<Option<StatVfs>> {
        let lease = self.pool.lease().await?;
        let session = lease.session();
        if !session.has(STATVFS) {
            return Ok(None);
        }
        let request = Request::Extended(Extended::StatVfs { path: bytes(path) });
        match session.ask(&request).await? {
            Response::Extended(content) => Ok(StatVfs::decode(content).ok()),
            other => Err(status::misplaced("tell how much room there is", &other)),
        }
    }
}

#[async_trait]
impl Storage for SftpRemote {
    async fn stat(&self, path: &VirtualPath) -> Result<Metadata> {
        Ok(self.look(path).await?)
    }

    async fn stat_entry(&self, path: &VirtualPath) -> Result<Entry> {
        Ok(self.look_at_entry(path).await?)
    }

    async fn list(&self, dir: &VirtualPath) -> Result<Box<dyn Pages>> {
        match Listing::start(self.pool.lease().await?, dir.to_bytes()).await {
            Ok(pages) => Ok(Box::new(pages)),
            Err(failure) => Err(self.explain(failure, dir, Kind::Directory).await.into()),
        }
    }

    async fn open(&self, path: &VirtualPath, how: Open) -> Result<Arc<dyn File>> {
        if how == Open::Read {
            return Ok(self.read(path).await?);
        }
        match self.write(path, how).await {
            Ok(file) => Ok(file),
            Err(failure)
                if how == Open::CreateNew
                    && failure.kind == FailureKind::Other
                    && self.exists(path).await.is_ok_and(|is_there| is_there) =>
            {
                Err(exists(failure).into())
            }
            Err(failure) => Err(self.explain(failure, path, Kind::File).await.into()),
        }
    }

    async fn part(&self, path: &VirtualPath) -> Result<Option<u64>> {
        let lease = self.pool.lease().await?;
        let session = lease.session();
        if !session.has(WHOLE_UPLOADS) {
            // What an interrupted upload left stands under its name.
            return Ok(None);
        }
        Ok(match session.ask(&Request::Stat { path: bytes(path) }).await? {
            Response::Attributes(found) if is_part(session, &found) => found.size,
            _ => None,
        })
    }

    async fn make_dir(&self, path: &VirtualPath) -> Result<()> {
        let request = Request::MakeDir {
            path: bytes(path),
            attributes: Attributes::default(),
        };
        match self.order("make the folder", &request).await {
            Ok(()) => Ok(()),
            Err(failure)
                if !failure.kind.is_lost() && self.exists(path).await.is_ok_and(|is_there| is_there) =>
            {
                Err(exists(failure).into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        let request = Request::Remove { path: bytes(path) };
        match self.order("remove the file", &request).await {
            Ok(()) => Ok(()),
            // Servers say that it is not permitted where it is a folder.
            Err(failure) if failure.kind == FailureKind::Permission => {
                let other = Failure {
                    kind: FailureKind::Other,
                    ..failure.clone()
                };
                match self.explain(other, path, Kind::File).await {
                    explained if explained.kind == FailureKind::IsDirectory => Err(explained.into()),
                    _ => Err(failure.into()),
                }
            }
            Err(failure) => Err(self.explain(failure, path, Kind::File).await.into()),
        }
    }

    async fn remove_dir(&self, path: &VirtualPath) -> Result<()> {
        let request = Request::RemoveDir { path: bytes(path) };
        let Err(failure) = self.order("remove the folder", &request).await else {
            return Ok(());
        };
        let mut failure = self.explain(failure, path, Kind::Directory).await;
        if failure.kind == FailureKind::Other && self.is_empty(path).await.is_ok_and(|is_empty| !is_empty) {
            failure.kind = FailureKind::NotEmpty;
        }
        Err(failure.into())
    }

    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        if replace {
            return Ok(self.rename_over(from, to).await?);
        }
        if self.exists(to).await? {
            let failure = Failure::new(FailureKind::Exists, "something stands under the new name");
            return Err(failure.into());
        }
        let request = Request::Rename {
            from: bytes(from),
            to: bytes(to),
        };
        Ok(self.order("rename it", &request).await?)
    }

    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()> {
        let since = to.duration_since(SystemTime::UNIX_EPOCH).ok();
        let Some(seconds) = since.and_then(|since| u32::try_from(since.as_secs()).ok()) else {
            return Err(ErrorKind::Unsupported.into());
        };
        let request = Request::SetStat {
            path: bytes(path),
            attributes: Attributes {
                times: Some((seconds, seconds)),
                ..Attributes::default()
            },
        };
        Ok(self.order("set the time", &request).await?)
    }

    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        let request = Request::SetStat {
            path: bytes(path),
            attributes: Attributes {
                permissions: Some(mode & 0o777),
                ..Attributes::default()
            },
        };
        Ok(self.order("set the permissions", &request).await?)
    }

    async fn make_link(&self, target: &[u8], link: &VirtualPath) -> Result<()> {
        let request = Request::SymLink {
            target: Bytes::copy_from_slice(target),
            link: bytes(link),
        };
        match self.order("make the link", &request).await {
            Ok(()) => Ok(()),
            Err(failure)
                if failure.kind == FailureKind::Other
                    && self.exists(link).await.is_ok_and(|is_there| is_there) =>
            {
                Err(exists(failure).into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn space(&self, dir: &VirtualPath) -> Result<Option<u64>> {
        let volume = self.volume_of(dir).await?;
        Ok(volume.map(|volume| volume.blocks_available.saturating_mul(volume.fragment_size)))
    }

    async fn volume(&self, path: &VirtualPath) -> Result<Volume> {
        let volume = self.volume_of(path).await?.ok_or(ErrorKind::Unsupported)?;
        Ok(Volume {
            block: volume.fragment_size,
            blocks: volume.blocks,
            free: volume.blocks_free,
            available: volume.blocks_available,
            files: volume.files,
            files_free: volume.files_free,
        })
    }
}

#[async_trait]
impl Remote for SftpRemote {
    async fn digest(
        &self,
        path: &VirtualPath,
        algorithm: Option<Algorithm>,
        span: Option<Range<u64>>,
    ) -> Result<Option<Digest>> {
        let lease = self.pool.lease().await?;
        let session = lease.session();
        let able = digests(session);
        let Some(algorithm) = algorithm.or_else(|| able.first().copied()) else {
            return Ok(None);
        };
        if !able.contains(&algorithm) || span.as_ref().is_some_and(|span| span.is_empty()) {
            return Ok(None);
        }
        let (offset, length) = span.map_or((0, 0), |span| (span.start, span.end - span.start));
        let request = Request::Extended(Extended::CheckFileName {
            path: bytes(path),
            check: Check {
                algorithms: Bytes::from_static(name_of(algorithm).as_bytes()),
                offset,
                length,
                block: 0,
            },
        });
        let content = match session.ask(&request).await? {
            Response::Extended(content) => content,
            other => match status::misplaced("compute a digest", &other) {
                failure if failure.kind == FailureKind::Unsupported => return Ok(None),
                failure => return Err(failure.into()),
            },
        };
        let checked = Checked::decode(content).map_err(|error| {
            Failure::new(FailureKind::Protocol, format!("a digest is unreadable: {error}"))
        })?;
        let is_it = checked
            .algorithm
            .eq_ignore_ascii_case(name_of(algorithm).as_bytes())
            && checked.digests.len() == length_of(algorithm);
        Ok(is_it.then(|| Digest {
            algorithm,
            bytes: checked.digests.to_vec(),
        }))
    }

    fn abilities(&self) -> Abilities {
        let Some(session) = self.pool.known() else {
            return Abilities::default();
        };
        Abilities {
            exact_size: true,
            exact_times: true,
            time_precision: Duration::from_secs(1),
            set_times: true,
            ranges_down: true,
            ranges_up: true,
            digests: digests(&session),
            atomic_rename: session.has(POSIX_RENAME),
            ranges_at_once: !session.has(WHOLE_UPLOADS),
            confirms_size: true,
            parallel: PARALLEL,
            ..Abilities::default()
        }
    }

    async fn uploads(&self, path: &VirtualPath) -> Result<Uploads> {
        let can_replace = {
            let lease = self.pool.lease().await?;
            if lease.session().has(WHOLE_UPLOADS) {
                return Ok(Uploads::Whole);
            }
            lease.session().has(POSIX_RENAME)
        };
        Ok(match self.look_at_entry(path).await {
            // What a link leads to would not be written.
            Ok(there) if there.metadata.kind == Kind::File && can_replace => Uploads::Renamable,
            Err(failure) if failure.kind == FailureKind::NotFound => Uploads::Renamable,
            Ok(_) => Uploads::Shown,
            Err(failure) => return Err(failure.into()),
        })
    }

    async fn open_ranges(&self, path: &VirtualPath, starts: &[u64]) -> Result<Option<Vec<Arc<dyn File>>>> {
        let doing = "take the file";
        let mut flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mut files: Vec<Arc<dyn File>> = Vec::new();
        // All are open before the first byte goes out: whatever opening does to the file, no byte is lost by it.
        for start in starts {
            let lease = self.pool.lease().await?;
            if lease.session().has(WHOLE_UPLOADS) {
                return Ok(None);
            }
            let handle = open(lease.session(), path, flags, doing).await?;
            files.push(Arc::new(Writing::range(lease, handle, *start)));
            flags = OpenFlags::WRITE;
        }
        Ok(Some(files))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

impl fmt::Debug for SftpRemote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SftpRemote")
            .field("site", &self.pool.site)
            .finish_non_exhaustive()
    }
}

fn bytes(path: &VirtualPath) -> Bytes {
    path.to_bytes().into()
}

fn exists(failure: Failure) -> Failure {
    Failure {
        kind: FailureKind::Exists,
        ..failure
    }
}

fn described(session: &Session, response: &Response) -> Outcome<Metadata> {
    match response {
        Response::Attributes(attributes) if is_part(session, attributes) => Err(Failure::new(
            FailureKind::NotFound,
            "only a part of an upload that was cut is there",
        )),
        Response::Attributes(attributes) => Ok(metadata(attributes, None)),
        other => Err(status::misplaced("tell what stands there", other)),
    }
}

/// Our own server tells the length of what it keeps of an interrupted upload, and no time, as it is no file yet.
fn is_part(session: &Session, attributes: &Attributes) -> bool {
    session.has(WHOLE_UPLOADS) && attributes.times.is_none()
}

async fn open(session: &Session, path: &VirtualPath, flags: OpenFlags, doing: &str) -> Outcome<Bytes> {
    let request = Request::Open {
        path: bytes(path),
        flags,
        attributes: Attributes::default(),
    };
    match session.ask(&request).await? {
        Response::Handle(handle) if handle.len() <= LONGEST_HANDLE => Ok(handle),
        other => Err(status::misplaced(doing, &other)),
    }
}

/// Names of algorithms (filexfer-09 §9.1.2), as the server announces them.
fn digests(session: &Session) -> Vec<Algorithm> {
    let hello = session.hello();
    let Some(told) = hello
        .extension(CHECK_FILE)
        .or_else(|| hello.extension(CHECK_FILE_NAME))
    else {
        return Vec::new();
    };
    let has = |algorithm: &Algorithm| {
        told.split(|byte| *byte == b',')
            .any(|name| name.eq_ignore_ascii_case(name_of(*algorithm).as_bytes()))
    };
    Algorithm::ALL.into_iter().filter(has).collect()
}

fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha256 => "sha256",
        Algorithm::Sha512 => "sha512",
        Algorithm::Sha1 => "sha1",
        Algorithm::Md5 => "md5",
        Algorithm::Crc32 => "crc32",
    }
}

fn length_of(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
        Algorithm::Sha1 => 20,
        Algorithm::Md5 => 16,
        Algorithm::Crc32 => 4,
    }
}
