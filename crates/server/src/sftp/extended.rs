//! Requests that go by name, and what the server says of itself at the beginning.

use std::sync::Arc;

use bytes::Bytes;
use pasarela_ftp_proto::server_pi::HashAlgorithm;
use pasarela_sftp_proto::extension::{self, Extended};
use pasarela_sftp_proto::{
    Attributes, Check, Checked, FileKind, Hello, Limits, MAX_DATA, MAX_PACKET, Name, Response, StatVfs,
    Status, VERSION,
};
use pasarela_store::{File, Open};

use super::handler::{Handler, done, read_whole};
use super::handles::{self, Handle};
use super::status;
use crate::hash;

/// Bytes that are copied in one step.
const COPIED: usize = 1024 * 1024;

/// Digests are at most so many bytes in all, to fit a packet.
const DIGESTS: u64 = 128 * 1024;

/// The least size of a block that is digested (filexfer-09 §9.1.2).
const LEAST_BLOCK: u32 = 256;

/// Algorithms by the names of the draft, the best first.
const ALGORITHMS: [(&str, HashAlgorithm); 5] = [
    ("sha256", HashAlgorithm::Sha256),
    ("sha512", HashAlgorithm::Sha512),
    ("sha1", HashAlgorithm::Sha1),
    ("md5", HashAlgorithm::Md5),
    ("crc32", HashAlgorithm::Crc32),
];

/// The server's first packet.
pub(super) fn hello() -> Hello {
    let versions = [
        (extension::POSIX_RENAME, "1"),
        (extension::STATVFS, "2"),
        (extension::FSTATVFS, "2"),
        (extension::FSYNC, "1"),
        (extension::LSETSTAT, "1"),
        (extension::LIMITS, "1"),
        (extension::EXPAND_PATH, "1"),
        (extension::COPY_DATA, "1"),
        (extension::HOME_DIRECTORY, "1"),
        (extension::WHOLE_UPLOADS, "1"),
    ];
    let announced = |name: &'static str, value: Bytes| (Bytes::from_static(name.as_bytes()), value);
    let mut extensions: Vec<_> = versions
        .into_iter()
        .map(|(name, version)| announced(name, Bytes::from_static(version.as_bytes())))
        .collect();
    let names = ALGORITHMS.map(|(name, _)| name).join(",");
    extensions.push(announced(extension::CHECK_FILE, names.into()));
    Hello {
        version: VERSION,
        extensions,
    }
}

impl Handler {
    pub(super) async fn extended(&mut self, request: Extended) -> Result<Response, Status> {
        match request {
            Extended::PosixRename { from, to } => {
                let (from, to) = (self.path(&from)?, self.path(&to)?);
                done(self.session.rename(&from, &to).await)
            }
            Extended::StatVfs { path } => {
                let path = self.path(&path)?;
                self.volume(&path).await
            }
            Extended::FStatVfs { handle } => {
                let path = match self.handles.at(&handle)? {
                    Handle::Reading(reading) => reading.path.clone(),
                    Handle::Directory(directory) => directory.path.clone(),
                    // It may stand nowhere yet.
                    Handle::Writing(writing) => writing.path().parent().unwrap_or_else(|| self.root()),
                };
                self.volume(&path).await
            }
            Extended::FSync { handle } => {
                if let Handle::Writing(writing) = self.handles.at(&handle)? {
                    writing.sync().await?;
                }
                Ok(Response::Status(Status::ok()))
            }
            Extended::LSetStat { path, attributes } => self.set_of_entry(&path, attributes).await,
            Extended::Limits => {
                let limits = Limits {
                    packet: MAX_PACKET as u64,
                    read: MAX_DATA.into(),
                    write: MAX_DATA.into(),
                    handles: handles::MOST as u64,
                };
                Ok(Response::Extended(limits.encode()))
            }
            Extended::ExpandPath { path } => {
                let name = self.session.account().name.clone();
                let home = |rest: &[u8]| rest.is_empty() || rest == name.as_bytes();
                let slash = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                let path = match path.strip_prefix(b"~") {
                    Some(_) if home(&path[1..slash]) => path.slice(slash..),
                    Some(_) => return Err(status::failure("there is no such home")),
                    None => path,
                };
                // Every home is the root, so what is relative to it is absolute.
                let path = self.root().resolve(&path).map_err(status::of_path)?;
                Ok(Response::Names(vec![Name::path(path.to_bytes())]))
            }
            Extended::HomeDirectory { user } => {
                let name = &self.session.account().name;
                match user.is_empty() || user == name.as_bytes() {
                    true => Ok(Response::Names(vec![Name::path("/")])),
                    false => Err(status::failure("there is no such home")),
                }
            }
            Extended::CopyData {
                from,
                from_offset,
                length,
                to,
                to_offset,
            } => self.copy(&from, from_offset, length, &to, to_offset).await,
            Extended::CheckFileName { path, check } => {
                let path = self.path(&path)?;
                let file = self.session.open(&path, Open::Read).await;
                digests(&file.map_err(status::of_session)?, &check).await
            }
            Extended::CheckFileHandle { handle, check } => match self.handles.at(&handle)? {
                Handle::Reading(reading) => digests(&Arc::clone(&reading.file), &check).await,
                _ => Err(status::failure("the handle is none of a file that is read")),
            },
            Extended::HardLink { .. } | Extended::Other { .. } => Err(status::unsupported()),
        }
    }

    async fn volume(&self, path: &pasarela_store::VirtualPath) -> Result<Response, Status> {
        let volume = self.session.volume(path).await.map_err(status::of_session)?;
        let told = StatVfs {
            block_size: volume.block,
            fragment_size: volume.block,
            blocks: volume.blocks,
            blocks_free: volume.free,
            blocks_available: volume.available,
            files: volume.files,
            files_free: volume.files_free,
            files_available: volume.files_free,
            id: 0,
            flags: StatVfs::NO_SETUID,
            name_max: 255,
        };
        Ok(Response::Extended(told.encode()))
    }

    /// As SETSTAT, of what is no link: the store sets nothing of links.
    async fn set_of_entry(&mut self, path: &Bytes, attributes: Attributes) -> Result<Response, Status> {
        let entry = self.session.stat_entry(&self.path(path)?).await;
        let entry = entry.map_err(status::of_session)?;
        if super::names::attributes(&entry.metadata).kind() == Some(FileKind::Link) {
            return Err(status::unsupported());
        }
        self.set(path, attributes).await
    }

    /// `copy-data`: from one open file to another without crossing the network. 0 bytes are all there are.
    async fn copy(
        &mut self,
        from: &[u8],
        mut at: u64,
        length: u64,
        to: &[u8],
        mut to_offset: u64,
    ) -> Result<Response, Status> {
        if from == to {
            return Err(status::failure("a file is not copied into itself"));
        }
        let (from, to) = match (self.handles.at(from)?, self.handles.at(to)?) {
            (Handle::Reading(from), Handle::Writing(to)) => (Arc::clone(from), Arc::clone(to)),
            _ => {
                return Err(status::failure(
                    "it takes a file that is read and one that is written",
                ));
            }
        };
        let mut left = if length == 0 { u64::MAX } else { length };
        while left > 0 {
            let count = usize::try_from(left).map_or(COPIED, |left| left.min(COPIED));
            let block = read_whole(&*from.file, at, count).await?;
            if block.is_empty() {
                // Asked for so many, a client has to hear that there are fewer.
                return match length {
                    0 => Ok(Response::Status(Status::ok())),
                    _ => Err(status::failure("the file ends before that")),
                };
            }
            let copied = block.len() as u64;
            to.write(to_offset, block).await?;
            (at, to_offset, left) = (at + copied, to_offset + copied, left - copied);
        }
        Ok(Response::Status(Status::ok()))
    }
}

/// `check-file`.
async fn digests(file: &Arc<dyn File>, check: &Check) -> Result<Response, Status> {
    let mut wanted = check.algorithms.split(|byte| *byte == b',');
    let known = |name: &[u8]| ALGORITHMS.iter().find(|(known, _)| known.as_bytes() == name);
    let (name, algorithm) = wanted
        .find_map(known)
        .ok_or_else(|| status::failure("none of these algorithms is known here"))?;
    let size = file.size().await.map_err(|error| status::of_store(&error))?;
    let end = match check.length {
        0 => size,
        length => check.offset.saturating_add(length).min(size),
    };
    if check.offset > end {
        return Err(status::failure("that is past the end of the file"));
    }
    let block = match check.block {
        0 => u64::MAX,
        block if block < LEAST_BLOCK => return Err(status::failure("a block has 256 bytes at least")),
        block => u64::from(block),
    };
    // 64 bytes are the longest digest.
    if (end - check.offset).div_ceil(block) > DIGESTS / 64 {
        return Err(status::failure("too many blocks for one answer"));
    }
    let mut digests = Vec::new();
    let mut at = check.offset;
    loop {
        let until = at.saturating_add(block).min(end);
        let digest = hash::digest(&**file, *algorithm, at, until).await;
        digests.extend(digest.map_err(status::of_digest)?);
        at = until;
        if at >= end {
            break;
        }
    }
    let checked = Checked {
        algorithm: Bytes::from_static(name.as_bytes()),
        digests: digests.into(),
    };
    Ok(Response::Extended(checked.encode()))
}
