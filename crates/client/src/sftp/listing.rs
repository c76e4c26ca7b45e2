//! A folder's entries, page by page, and what the links among them say.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_ftp_proto::listing::read::one_component;
use pasarela_sftp_proto::{Attributes, FileKind, Name, Request, Response};
use pasarela_store::{Entry, Kind, Metadata, Pages, Result};

use super::pool::Lease;
use super::session::Answer;
use super::status;
use crate::{Failure, FailureKind};

/// The most entries of one folder; one that has more is a server that never ends.
const MOST_ENTRIES: u64 = 1_000_000;
/// Answers without an entry in a row that are borne with.
const MOST_EMPTY: u32 = 100;
/// Links whose text is asked for at once.
const LINKS_AT_ONCE: usize = 64;
/// Entries of a page.
const PAGE: usize = 256;

type Outcome<T> = std::result::Result<T, Failure>;

/// A listing on its way.
pub(super) struct Listing {
    lease: Lease,
    folder: Vec<u8>,
    handle: Bytes,
    next: Option<Answer>,
    ready: Vec<Name>,
    count: u64,
    is_over: bool,
}

impl Listing {
    /// Opens the folder.
    pub(super) async fn start(lease: Lease, folder: Vec<u8>) -> Outcome<Self> {
        let doing = "list the folder";
        let request = Request::OpenDir {
            path: folder.clone().into(),
        };
        let handle = match lease.session().ask(&request).await? {
            Response::Handle(handle) => handle,
            other => return Err(status::misplaced(doing, &other)),
        };
        let mut listing = Self {
            lease,
            folder,
            handle,
            next: None,
            ready: Vec::new(),
            count: 0,
            is_over: false,
        };
        listing.next = Some(listing.ask().await?);
        Ok(listing)
    }

    async fn ask(&self) -> Outcome<Answer> {
        let request = Request::ReadDir {
            handle: self.handle.clone(),
        };
        self.lease.session().send(&request).await
    }

    async fn fill(&mut self) -> Outcome<()> {
        let mut empty = 0;
        while self.ready.is_empty() && !self.is_over {
            let Some(answer) = self.next.take() else {
                return Ok(());
            };
            match answer.wait().await? {
                Response::Names(names) => {
                    self.next = Some(self.ask().await?);
                    empty = if names.is_empty() { empty + 1 } else { 0 };
                    self.count += names.len() as u64;
                    if self.count > MOST_ENTRIES || empty > MOST_EMPTY {
                        return Err(Failure::new(FailureKind::Protocol, "the listing has no end"));
                    }
                    self.ready = names.into_iter().filter(is_entry).collect();
                }
                response if status::is_end(&response) => self.is_over = true,
                other => return Err(status::misplaced("list the folder", &other)),
            }
        }
        Ok(())
    }

    async fn page(&mut self) -> Outcome<Option<Vec<Entry>>> {
        if let Err(failure) = self.fill().await {
            self.is_over = true;
            self.ready.clear();
            return Err(failure);
        }
        if self.ready.is_empty() {
            return Ok(None);
        }
        let names: Vec<Name> = self.ready.drain(..self.ready.len().min(PAGE)).collect();
        let mut entries: Vec<Entry> = names.into_iter().map(entry).collect();
        let mut links: Vec<&mut Entry> = entries
            .iter_mut()
            .filter(|entry| entry.metadata.kind == Kind::Link)
            .collect();
        for some in links.chunks_mut(LINKS_AT_ONCE) {
            let mut asked = Vec::new();
            for link in some.iter() {
                let path = [&self.folder[..], b"/", &link.name].concat();
                let request = Request::ReadLink { path: path.into() };
                asked.push(self.lease.session().send(&request).await?);
            }
            for (link, answer) in some.iter_mut().zip(asked) {
                // A link that cannot be read is listed all the same.
                link.link_target = target(answer.wait().await?);
            }
        }
        Ok(Some(entries))
    }
}

#[async_trait]
impl Pages for Listing {
    async fn next_page(&mut self) -> Result<Option<Vec<Entry>>> {
        Ok(self.page().await?)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.lease.session().release(self.handle.clone());
    }
}

/// What a link says, from the answer to READLINK.
pub(super) fn target(response: Response) -> Option<Vec<u8>> {
    match response {
        Response::Names(names) => names.into_iter().next().map(|name| name.name.to_vec()),
        _ => None,
    }
}

/// A name that is a path would lead whoever writes it to disk somewhere else (CVE-2018-10916).
fn is_entry(found: &Name) -> bool {
    if found.name == "." || found.name == ".." {
        return false;
    }
    let is_name = one_component(&found.name, false).is_ok();
    if !is_name {
        tracing::warn!(name = %found.name.escape_ascii(), "an entry with a name that is none was left out");
    }
    is_name
}

fn entry(found: Name) -> Entry {
    Entry {
        name: found.name.to_vec(),
        metadata: metadata(&found.attributes, kind_by_line(&found.long_name)),
        link_target: None,
    }
}

/// Servers that send no mode still write the line as `ls` does.
fn kind_by_line(line: &[u8]) -> Option<FileKind> {
    match line.first()? {
        b'-' => Some(FileKind::File),
        b'd' => Some(FileKind::Directory),
        b'l' => Some(FileKind::Link),
        b'b' | b'c' | b'p' | b's' => Some(FileKind::Other),
        _ => None,
    }
}

/// What a store knows of a file; what the server does not say is what a stranger would assume.
pub(super) fn metadata(attributes: &Attributes, otherwise: Option<FileKind>) -> Metadata {
    let kind = match attributes.kind().or(otherwise) {
        Some(FileKind::File) | None => Kind::File,
        Some(FileKind::Directory) => Kind::Directory,
        Some(FileKind::Link) => Kind::Link,
        Some(FileKind::Other) => Kind::Other,
    };
    let (uid, gid) = attributes.owner.unwrap_or_default();
    let modified = attributes.times.map_or(0, |(_, modified)| modified);
    let assumed = match kind {
        Kind::Directory => 0o755,
        Kind::Link => 0o777,
        Kind::File | Kind::Other => 0o644,
    };
    Metadata {
        kind,
        size: attributes.size.unwrap_or(0),
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into()),
        mode: attributes.permissions.map_or(assumed, |mode| mode & 0o7777),
        uid,
        gid,
        links: 1,
        unique: (0, 0),
    }
}
