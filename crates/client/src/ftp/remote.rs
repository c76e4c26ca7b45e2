//! The Storage and Remote of a site: each operation as FTP commands, the better ones first.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pasarela_ftp_proto::address::decimal;
use pasarela_ftp_proto::listing::read;
use pasarela_ftp_proto::time::{parse_time_val, time_val};
use pasarela_ftp_proto::user_pi::{Features, Reply};
use pasarela_store::{
    Entry, Error, ErrorKind, File, Kind, Metadata, Open, Pages, Result, Storage, VirtualPath,
};
use tokio::time::timeout;

use super::listing::{Listing, default_mode, entry};
use super::pool::{Lease, Pool};
use super::reading::Reading;
use super::site::Site;
use super::writing::Writing;
use crate::{Abilities, Algorithm, Digest, Failure, FailureKind, Remote, Uploads};

/// A place reached by FTP or FTPS. Nothing is connected before the first operation. Cheap to clone; clones share
/// their connections.
#[derive(Clone)]
pub struct FtpRemote {
    pub(super) pool: Arc<Pool>,
}

pub(super) type Outcome<T> = std::result::Result<T, Failure>;

impl FtpRemote {
    /// A place at this site.
    #[must_use]
    pub fn new(site: Site) -> Self {
        Self {
            pool: Pool::new(site),
        }
    }

    /// Connects and logs in, so that [`Remote::abilities`] knows what the server can do.
    ///
    /// # Errors
    /// With a [`Failure`] inside, as every operation.
    pub async fn connect(&self) -> Result<()> {
        self.pool.survey().await?;
        Ok(())
    }

    /// The path that `typed` means from the directory after login; connects.
    ///
    /// # Errors
    /// With a [`Failure`] inside.
    pub async fn resolve(&self, typed: &[u8]) -> Result<VirtualPath> {
        let features = self.pool.survey().await?;
        let bad = |error| Failure::new(FailureKind::Usage, format!("no path: {error}"));
        let root = VirtualPath::root();
        let home = features.home.as_deref().filter(|home| home.starts_with(b"/"));
        let home = root.resolve(home.unwrap_or(b"/")).map_err(bad)?;
        Ok(home.resolve(typed).map_err(bad)?)
    }

    async fn lease(&self) -> Outcome<(Lease, Arc<Features>)> {
        let mut lease = self.pool.lease().await?;
        let features = Arc::clone(&lease.connection()?.features);
        Ok((lease, features))
    }

    /// One command about a path.
    async fn command(&self, verb: &str, argument: &[u8], doing: &str) -> Outcome<Reply> {
        let mut lease = self.pool.lease().await?;
        let reply = lease.connection()?.control.command(verb, argument).await?;
        if reply.class() <= 3 {
            Ok(reply)
        } else {
            Err(Failure::refused(doing, reply))
        }
    }

    pub(super) async fn look(&self, path: &VirtualPath) -> Outcome<Entry> {
        if path.is_root() {
            return Ok(root_entry());
        }
        let (mut lease, features) = self.lease().await?;
        let name = path.to_bytes();
        let software = self.pool.software();
        let control = &mut lease.connection()?.control;
        if features.has("MLST") {
            let reply = control.command("MLST", &name).await?;
            if reply.is_done() {
                let facts = reply.lines.get(1).map_or(&[][..], Vec::as_slice);
                let facts = facts.strip_prefix(b" ").unwrap_or(facts);
                let found = read::mlst(facts).ok_or_else(|| {
                    Failure::new(
                        FailureKind::Protocol,
                        format!("the facts of a file are unreadable: {reply}"),
                    )
                })?;
                return Ok(named(entry(found), path));
            }
            if !reply.is_unknown_command() {
                return Err(Failure::refused("tell what stands there", reply));
            }
        }
        let (size, mut time) = match software.reads_on() {
            true => {
                let (size, time) = ([b"SIZE ", &name[..]].concat(), [b"MDTM ", &name[..]].concat());
                let (size, time) = control.both(size, time).await?;
                (size, Some(time))
            }
            false => (control.command("SIZE", &name).await?, None),
        };
        if let Some(size) = number_of(&size) {
            let time = match time.take() {
                Some(time) => time,
                None => control.command("MDTM", &name).await?,
            };
            let modified = (time.code == 213)
                .then(|| parse_time_val(time.text().trim_ascii()))
                .flatten();
            return Ok(described(path, Kind::File, size, modified));
        }
        if control.command("CWD", &name).await?.is_done() {
            return Ok(described(path, Kind::Directory, 0, None));
        }
        drop(lease);
        // Neither: a server without SIZE, a link into nowhere, or nothing at all.
        self.look_in_parent(path)
            .await?
            .ok_or_else(|| Failure::refused("tell what stands there", size))
    }

    async fn look_in_parent(&self, path: &VirtualPath) -> Outcome<Option<Entry>> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(None);
        };
        let mut pages = self.pages(&parent).await?;
        let of = |error: Error| {
            let unknown = || Failure::new(FailureKind::Other, error.to_string());
            Failure::of(&error).cloned().unwrap_or_else(unknown)
        };
        while let Some(entries) = pages.next_page().await.map_err(of)? {
            if let Some(found) = entries.into_iter().find(|entry| entry.name == name) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn exists(&self, path: &VirtualPath) -> Outcome<bool> {
        match self.look(path).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn pages(&self, dir: &VirtualPath) -> Outcome<Listing> {
        let features = self.pool.survey().await?;
        let name = dir.to_bytes();
        if features.has("MLST") {
            let command = [b"MLSD ", &name[..]].concat();
            return Listing::start(&self.pool, None, &command, read::Kind::Mlsd).await;
        }
        // LIST takes options and patterns where a name should stand, so the folder is entered first.
        let is_unix = features
            .system
            .as_deref()
            .is_none_or(|system| system.starts_with(b"UNIX"));
        let command = if is_unix { &b"LIST -a"[..] } else { b"LIST" };
        Listing::start(&self.pool, Some(&name), command, read::Kind::List).await
    }

    /// Opens for reading.
    async fn read(&self, path: &VirtualPath) -> Outcome<Arc<dyn File>> {
        let found = self.look(path).await?;
        let size = match found.metadata.kind {
            Kind::Directory => {
                return Err(Failure::new(FailureKind::IsDirectory, "that is a directory"));
            }
            Kind::File if self.sizes_are_told().await? => Some(found.metadata.size),
            // Where a link leads to, SIZE knows.
            _ => size_of(&self.pool, &path.to_bytes()).await?,
        };
        Ok(Arc::new(Reading::start(
            Arc::clone(&self.pool),
            path.to_bytes(),
            size,
        )))
    }

    /// Whether what `look` found is an exact size: from MLST or SIZE, not from a listing for people.
    async fn sizes_are_told(&self) -> Outcome<bool> {
        let features = self.pool.survey().await?;
        Ok(features.has("MLST") || features.has("SIZE"))
    }

    async fn write(&self, path: &VirtualPath, how: Open) -> Outcome<Arc<dyn File>> {
        let name = path.to_bytes();
        let there = match how {
            Open::Resume { .. } | Open::Append => size_of(&self.pool, &name).await?,
            Open::CreateNew if self.exists(path).await? => {
                return Err(Failure::new(
                    FailureKind::Exists,
                    "something stands under that name",
                ));
            }
            _ => None,
        };
        let (verb, start, restart) = match (how, there) {
            (Open::Append, length) => ("APPE", length.unwrap_or(0), false),
            (Open::Resume { offset: 0 }, _) => ("STOR", 0, false),
            (Open::Resume { offset }, Some(length)) if offset == length => {
                let features = self.pool.survey().await?;
                // The same, and more servers have it; but ours and others keep a part that REST goes on with.
                if features.has("REST") {
                    ("STOR", offset, true)
                } else {
                    ("APPE", offset, false)
                }
            }
            (Open::Resume { offset }, Some(length)) if offset < length => ("STOR", offset, true),
            (Open::Resume { .. }, _) => {
                return Err(Failure::new(
                    FailureKind::PastEnd,
                    "the server has less of that file",
                ));
            }
            _ => ("STOR", 0, false),
        };
        let writing = Writing::start(&self.pool, name, verb, start, restart).await?;
        Ok(Arc::new(writing))
    }

    /// What a refusal was about, where the server's 550 does not tell.
    async fn explain(&self, failure: Failure, path: &VirtualPath, wanted: Kind) -> Failure {
        if failure.kind != FailureKind::NotFound || failure.reply.is_none() {
            return failure;
        }
        let kind = match (self.look(path).await, wanted) {
            (Ok(found), Kind::File) if found.metadata.kind == Kind::Directory => FailureKind::IsDirectory,
            (Ok(found), Kind::Directory) if found.metadata.kind != Kind::Directory => {
                FailureKind::NotADirectory
            }
            (Ok(_), Kind::Directory) => match self.pages(path).await {
                Ok(mut pages) => match pages.next_page().await {
                    Ok(Some(_)) => FailureKind::NotEmpty,
                    _ => FailureKind::Permission,
                },
                Err(_) => FailureKind::Permission,
            },
            (Ok(_), _) => FailureKind::Permission,
            (Err(_), _) => failure.kind,
        };
        failure.meant(kind)
    }

    /// Why an upload was refused: servers have 550 and 553 for a name, a folder that is missing, and a right.
    async fn explain_upload(&self, failure: Failure, path: &VirtualPath) -> Failure {
        let is_vague = matches!(failure.kind, FailureKind::NotFound | FailureKind::BadName);
        if !is_vague || failure.reply.is_none() {
            return failure;
        }
        if let Ok(found) = self.look(path).await {
            return failure.meant(match found.metadata.kind {
                Kind::Directory => FailureKind::IsDirectory,
                _ => FailureKind::Permission,
            });
        }
        let Some(parent) = path.parent() else {
            return failure;
        };
        match self.look(&parent).await {
            Ok(_) if failure.kind == FailureKind::NotFound => failure.meant(FailureKind::Permission),
            Ok(_) => failure,
            Err(_) => failure.meant(FailureKind::NotFound),
        }
    }

    async fn replaceable(&self, to: &VirtualPath, replace: bool) -> Outcome<()> {
        if !replace && self.exists(to).await? {
            return Err(Failure::new(
                FailureKind::Exists,
                "something stands under the new name",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for FtpRemote {
    async fn stat(&self, path: &VirtualPath) -> Result<Metadata> {
        Ok(self.look(path).await?.metadata)
    }

    async fn stat_entry(&self, path: &VirtualPath) -> Result<Entry> {
        Ok(self.look(path).await?)
    }

    async fn list(&self, dir: &VirtualPath) -> Result<Box<dyn Pages>> {
        match self.pages(dir).await {
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
            Err(failure) => Err(self.explain_upload(failure, path).await.into()),
        }
    }

    async fn part(&self, path: &VirtualPath) -> Result<Option<u64>> {
        if self.exists(path).await? {
            return Ok(None);
        }
        // Our own server tells with SIZE what it keeps of an interrupted upload, and shows it nowhere else.
        match size_of(&self.pool, &path.to_bytes()).await {
            Ok(size) => Ok(size),
            Err(failure) if failure.kind == FailureKind::Unsupported => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn make_dir(&self, path: &VirtualPath) -> Result<()> {
        match self.command("MKD", &path.to_bytes(), "make the folder").await {
            Ok(_) => Ok(()),
            Err(failure) if failure.reply.is_some() && self.exists(path).await? => {
                Err(failure.meant(FailureKind::Exists).into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        match self.command("DELE", &path.to_bytes(), "remove the file").await {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.explain(failure, path, Kind::File).await.into()),
        }
    }

    async fn remove_dir(&self, path: &VirtualPath) -> Result<()> {
        match self.command("RMD", &path.to_bytes(), "remove the folder").await {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.explain(failure, path, Kind::Directory).await.into()),
        }
    }

    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        self.replaceable(to, replace).await?;
        Ok(self.rename_over(from, to, replace).await?)
    }

    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()> {
        let features = self.pool.survey().await?;
        if !features.has("MFMT") {
            return Err(ErrorKind::Unsupported.into());
        }
        let argument = [time_val(to).as_bytes(), b" ", &path.to_bytes()].concat();
        self.command("MFMT", &argument, "set the time").await?;
        Ok(())
    }

    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        let argument = [
            format!("CHMOD {:03o} ", mode & 0o777).as_bytes(),
            &path.to_bytes(),
        ]
        .concat();
        self.command("SITE", &argument, "set the permissions").await?;
        Ok(())
    }

    async fn make_link(&self, _: &[u8], _: &VirtualPath) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    async fn space(&self, dir: &VirtualPath) -> Result<Option<u64>> {
        let features = self.pool.survey().await?;
        if !features.has("AVBL") {
            return Ok(None);
        }
        let mut lease = self.pool.lease().await?;
        let reply = lease
            .connection()?
            .control
            .command("AVBL", &dir.to_bytes())
            .await?;
        Ok(number_of(&reply))
    }
}

#[async_trait]
impl Remote for FtpRemote {
    async fn digest(
        &self,
        path: &VirtualPath,
        algorithm: Option<Algorithm>,
        span: Option<Range<u64>>,
    ) -> Result<Option<Digest>> {
        let features = self.pool.survey().await?;
        let able = digests(&features);
        let Some(algorithm) = algorithm.or_else(|| able.first().copied()) else {
            return Ok(None);
        };
        if !able.contains(&algorithm) || span.as_ref().is_some_and(|span| span.is_empty()) {
            return Ok(None);
        }
        let name = path.to_bytes();
        let mut lease = self.pool.lease().await?;
        let connection = lease.connection()?;
        let control = &mut connection.control;
        let (hash, verb) = names_of(algorithm);
        let reply = if offers_hash(&features, hash) {
            if connection.hash != Some(algorithm) {
                let chosen = control.command("OPTS", format!("HASH {hash}").as_bytes()).await?;
                if !chosen.is_done() {
                    return Ok(None);
                }
                connection.hash = Some(algorithm);
            }
            if let Some(span) = &span {
                // draft-bryan-ftp-range: both inclusive.
                let range = format!("{} {}", span.start, span.end - 1);
                if !features.has("RANG") || control.command("RANG", range.as_bytes()).await?.class() > 3 {
                    return Ok(None);
                }
            }
            control.command("HASH", &name).await?
        } else {
            let argument = match &span {
                // Start and end behind the name; servers that have these verbs take a quoted name then.
                Some(span) => {
                    let range = format!(" {} {}", span.start, span.end);
                    [b"\"", &name[..], b"\"", range.as_bytes()].concat()
                }
                None => name,
            };
            control.command(verb, &argument).await?
        };
        if reply.is_unknown_command() {
            return Ok(None);
        }
        if !reply.is_done() {
            return Err(Failure::refused("compute a digest", reply).into());
        }
        Ok(digest_in(&reply, algorithm))
    }

    fn abilities(&self) -> Abilities {
        let Some(features) = self.pool.known_features() else {
            return Abilities::default();
        };
        let restarts = features.has("REST");
        Abilities {
            exact_size: features.has("MLST") || features.has("SIZE"),
            exact_listings: features.has("MLST"),
            exact_times: features.has("MLST") || features.has("MDTM"),
            time_precision: Duration::from_secs(1),
            set_times: features.has("MFMT"),
            ranges_down: restarts,
            ranges_up: restarts,
            ranges_at_once: restarts
                && self.pool.software().takes_ranges()
                && !self.pool.refuses_ranges.load(Ordering::Relaxed),
            confirms_size: features.has("SIZE"),
            digests: digests(&features),
            // RFC 959 does not say; every server that runs on a file system's rename does it.
            atomic_rename: true,
            parallel: self.pool.limit(),
            ..Abilities::default()
        }
    }

    async fn open_known(&self, path: &VirtualPath, size: u64) -> Result<Arc<dyn File>> {
        let pool = Arc::clone(&self.pool);
        Ok(Arc::new(Reading::start(pool, path.to_bytes(), Some(size))))
    }

    async fn uploads(&self, path: &VirtualPath) -> Result<Uploads> {
        self.pool.survey().await?;
        if self.pool.software().publishes_whole() {
            return Ok(Uploads::Whole);
        }
        Ok(match self.may_rename(path).await? {
            true => Uploads::Renamable,
            false => Uploads::Shown,
        })
    }

    async fn open_ranges(&self, path: &VirtualPath, starts: &[u64]) -> Result<Option<Vec<Arc<dyn File>>>> {
        if !self.abilities().ranges_at_once {
            return Ok(None);
        }
        let granted = timeout(GRANT, async {
            let mut files: Vec<Arc<dyn File>> = Vec::new();
            // All are open before the first byte goes out: whatever opening does to the file, no byte is lost by it.
            for start in starts {
                files.push(Arc::new(
                    Writing::range(&self.pool, path.to_bytes(), *start).await?,
                ));
            }
            Outcome::Ok(files)
        });
        match granted.await {
            Ok(Ok(files)) => Ok(Some(files)),
            refused => {
                let failure = refused.ok().and_then(Outcome::err);
                tracing::info!(?failure, "the server takes no ranges of an upload at once");
                self.pool.refuses_ranges.store(true, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// A server that lets uploads of one file wait for each other would let the second one wait for ever.
const GRANT: Duration = Duration::from_secs(5);

impl fmt::Debug for FtpRemote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FtpRemote")
            .field("host", &self.pool.site.host)
            .field("port", &self.pool.site.port)
            .finish_non_exhaustive()
    }
}

/// The length of a file in bytes as SIZE tells it; `None`: there is no such file, or no SIZE.
pub(super) async fn size_of(pool: &Arc<Pool>, path: &[u8]) -> Outcome<Option<u64>> {
    let mut lease = pool.lease().await?;
    let reply = lease.connection()?.control.command("SIZE", path).await?;
    Ok(number_of(&reply))
}

/// The number of a 213.
fn number_of(reply: &Reply) -> Option<u64> {
    (reply.code == 213)
        .then(|| decimal(reply.text().trim_ascii()))
        .flatten()
}

/// The names of an algorithm: for HASH, and as a verb of its own.
fn names_of(algorithm: Algorithm) -> (&'static str, &'static str) {
    match algorithm {
        Algorithm::Sha512 => ("SHA-512", "XSHA512"),
        Algorithm::Sha1 => ("SHA-1", "XSHA1"),
        Algorithm::Md5 => ("MD5", "XMD5"),
        Algorithm::Crc32 => ("CRC32", "XCRC"),
        _ => ("SHA-256", "XSHA256"),
    }
}

fn offers_hash(features: &Features, name: &str) -> bool {
    features.parameters("HASH").is_some_and(|names| {
        names
            .split(';')
            .any(|offered| offered.trim().trim_end_matches('*').eq_ignore_ascii_case(name))
    })
}

fn digests(features: &Features) -> Vec<Algorithm> {
    use Algorithm as A;
    [A::Sha256, A::Sha512, A::Sha1, A::Md5, A::Crc32]
        .into_iter()
        .filter(|algorithm| {
            let (hash, verb) = names_of(*algorithm);
            offers_hash(features, hash) || features.has(verb)
        })
        .collect()
}

/// The word of a reply that is a digest: `213 SHA-256 0-4 HEX name`, `250 HEX`.
fn digest_in(reply: &Reply, algorithm: Algorithm) -> Option<Digest> {
    let length = match algorithm {
        Algorithm::Sha512 => 64,
        Algorithm::Sha1 => 20,
        Algorithm::Md5 => 16,
        Algorithm::Crc32 => 4,
        _ => 32,
    };
    let words = reply.text().split(|byte| *byte == b' ' || *byte == b'"');
    let mut bytes = words
        .filter(|word| word.len() <= 2 * length)
        .filter_map(|word| {
            // Some servers leave leading zeros of a CRC out.
            let missing = if algorithm == Algorithm::Crc32 && !word.is_empty() {
                2 * length - word.len()
            } else {
                0
            };
            hex::decode([&b"00000000"[..missing], word].concat()).ok()
        })
        .filter(|bytes| bytes.len() == length);
    bytes.next().map(|bytes| Digest { algorithm, bytes })
}

fn root_entry() -> Entry {
    described(&VirtualPath::root(), Kind::Directory, 0, None)
}

fn described(path: &VirtualPath, kind: Kind, size: u64, modified: Option<SystemTime>) -> Entry {
    Entry {
        name: path.name().unwrap_or(b"/").to_vec(),
        metadata: Metadata {
            kind,
            size,
            modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
            mode: default_mode(kind),
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, 0),
        },
        link_target: None,
    }
}

/// The name that was asked for; servers give whole paths, or what they like.
fn named(entry: Entry, path: &VirtualPath) -> Entry {
    Entry {
        name: path.name().unwrap_or(b"/").to_vec(),
        ..entry
    }
}
