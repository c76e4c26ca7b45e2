//! How files look to a client: attributes, and the lines of `ls -l` that listings carry for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pasarela_ftp_proto::listing::{ItemKind, Rights, unix};
use pasarela_sftp_proto::{Attributes, FileKind, Name};
use pasarela_store::{Entry, Kind, Metadata};

use crate::ftp::list;

/// What a client is told of a file.
pub(super) fn attributes(of: &Metadata) -> Attributes {
    let modified = seconds(of.modified);
    Attributes {
        size: Some(of.size),
        owner: Some((of.uid, of.gid)),
        permissions: Some(of.mode & 0o7777 | file_kind(of.kind).bits()),
        times: Some((modified, modified)),
        extended: Vec::new(),
    }
}

fn file_kind(kind: Kind) -> FileKind {
    match kind {
        Kind::File => FileKind::File,
        Kind::Directory => FileKind::Directory,
        Kind::Link => FileKind::Link,
        Kind::Other => FileKind::Other,
    }
}

/// An entry of a listing.
pub(super) fn name(entry: Entry, now: SystemTime) -> Name {
    let metadata = &entry.metadata;
    let mut item = list::item(&entry.name, metadata, None, Rights::default());
    let is_link = matches!(item.kind, ItemKind::Link(_));
    if is_link {
        // Where a link leads is not in these lines.
        item.kind = ItemKind::File;
    }
    let mut line = Vec::new();
    unix::push_line(&mut line, &item, now);
    line.truncate(line.len() - b"\r\n".len());
    if is_link {
        line[0] = b'l';
    }
    Name {
        attributes: attributes(metadata),
        long_name: line.into(),
        name: Bytes::from(entry.name),
    }
}

/// Seconds since 1970, as far as the protocol's third version can tell them.
pub(super) fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The moment so many seconds after 1970 began.
pub(super) fn moment(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.into())
}
