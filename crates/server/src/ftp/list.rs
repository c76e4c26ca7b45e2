//! Listings: from the pages of the store to lines, page by page, whatever the size of the folder.

use std::collections::VecDeque;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use pasarela_dtp::{Error, Source};
use pasarela_ftp_proto::listing::facts::{FactSet, push_facts};
use pasarela_ftp_proto::listing::options::{Options, Sort};
use pasarela_ftp_proto::listing::{Item, ItemKind, Rights, is_listable, unix};
use pasarela_ftp_proto::server_pi::Refusal;
use pasarela_session::{May, Permission, Session};
use pasarela_store::{Entry, Kind, Metadata, Pages, VirtualPath};

use super::refusal;

/// A folder larger than this is listed in the order of the store, whatever order was asked for.
const SORTABLE: usize = 10_000;
/// How deep `-R` goes.
const MAX_DEPTH: usize = 64;
/// Folders that `-R` keeps in mind for later.
const MAX_PENDING: usize = 10_000;

/// How an entry becomes a line.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// `ls -l`.
    Long,
    /// Names alone.
    Names,
    /// MLSD.
    Facts(FactSet),
}

/// The lines of one listing command.
pub(crate) struct Lines {
    session: Session,
    rights: Rights,
    form: Form,
    options: Options,
    pattern: Option<Vec<u8>>,
    /// What stands before each name (the directory part of a pattern).
    prefix: Vec<u8>,
    ready: VecDeque<Vec<Entry>>,
    open: Option<(VirtualPath, Box<dyn Pages>)>,
    pending: Vec<VirtualPath>,
    base: VirtualPath,
    begun: bool,
}

impl Lines {
    /// Finds what is to be listed; nothing is sent when this fails. `typed` is what the client typed.
    pub(crate) async fn open(
        session: Session,
        cwd: &VirtualPath,
        typed: &[u8],
        options: Options,
        form: Form,
    ) -> Result<Self, Refusal> {
        let path = cwd.resolve(typed).map_err(refusal::of_path)?;
        let mut lines = Self {
            rights: rights(session.account().may),
            session,
            form,
            options,
            pattern: None,
            prefix: Vec::new(),
            ready: VecDeque::new(),
            open: None,
            pending: Vec::new(),
            base: path.clone(),
            begun: false,
        };
        // Mostly it is a folder; whatever else it is, or why it is none, is found out below.
        if !options.directory
            && let Ok(pages) = lines.session.list(&path).await
        {
            lines.begin(path, pages).await;
            return Ok(lines);
        }
        let found = match lines.session.stat(&path).await {
            Ok(found) => found,
            Err(error) => {
                let refused = refusal::of_session(&error);
                return match (form, Pattern::of(typed)) {
                    (Form::Long | Form::Names, Some(pattern)) if refused == Refusal::NotFound => {
                        lines.open_pattern(cwd, &pattern).await
                    }
                    _ => Err(refused),
                };
            }
        };
        if found.kind == Kind::Directory && !options.directory {
            lines.open_directory(path).await?;
        } else if matches!(form, Form::Facts(_)) {
            return Err(Refusal::NotADirectory);
        } else {
            let mut entry = lines
                .session
                .stat_entry(&path)
                .await
                .map_err(|e| refusal::of_session(&e))?;
            entry.name = if typed.is_empty() {
                b".".to_vec()
            } else {
                typed.to_vec()
            };
            lines.ready.push_back(vec![entry]);
        }
        Ok(lines)
    }

    async fn open_pattern(mut self, cwd: &VirtualPath, pattern: &Pattern<'_>) -> Result<Self, Refusal> {
        let dir = cwd.resolve(pattern.directory).map_err(refusal::of_path)?;
        self.pattern = Some(pattern.quoted_name());
        self.prefix = pattern.directory.to_vec();
        self.open_directory(dir).await?;
        Ok(self)
    }

    async fn open_directory(&mut self, path: VirtualPath) -> Result<(), Refusal> {
        let pages = self
            .session
            .list(&path)
            .await
            .map_err(|error| refusal::of_session(&error))?;
        self.begin(path, pages).await;
        Ok(())
    }

    /// What an open folder has comes next.
    async fn begin(&mut self, path: VirtualPath, pages: Box<dyn Pages>) {
        if self.options.dots && matches!(self.form, Form::Long | Form::Names) {
            let parent = path.parent().unwrap_or_else(VirtualPath::root);
            let mut dots = Vec::new();
            for (name, dir) in [(".", &path), ("..", &parent)] {
                if let Ok(metadata) = self.session.stat(dir).await {
                    dots.push(Entry {
                        name: name.into(),
                        metadata,
                        link_target: None,
                    });
                }
            }
            self.ready.push_back(dots);
        }
        self.open = Some((path, pages));
    }

    /// The next entries, in the order asked for as far as that is possible.
    async fn entries(&mut self) -> Result<Option<Vec<Entry>>, pasarela_store::Error> {
        if let Some(entries) = self.ready.pop_front() {
            return Ok(Some(entries));
        }
        let Some((_, pages)) = &mut self.open else {
            return Ok(None);
        };
        if self.options.sort == Sort::None && !self.options.reverse {
            return pages.next_page().await;
        }
        let mut all = Vec::new();
        while let Some(mut page) = pages.next_page().await? {
            all.append(&mut page);
            if all.len() > SORTABLE {
                return Ok(Some(all));
            }
        }
        match self.options.sort {
            Sort::None => all.sort_by(|a, b| a.name.cmp(&b.name)),
            Sort::Time => all.sort_by_key(|entry| std::cmp::Reverse(entry.metadata.modified)),
            Sort::Size => all.sort_by_key(|entry| std::cmp::Reverse(entry.metadata.size)),
        }
        if self.options.reverse {
            all.reverse();
        }
        Ok((!all.is_empty()).then_some(all))
    }

    async fn push(&mut self, out: &mut Vec<u8>, mut entry: Entry, now: SystemTime) {
        if !is_listable(&entry.name) {
            return;
        }
        if let Some(pattern) = &self.pattern
            && !fast_glob::glob_match(pattern, &entry.name)
        {
            return;
        }
        let dir = self.open.as_ref().map(|(dir, _)| dir.clone());
        let is_dot = matches!(&entry.name[..], b"." | b"..");
        if self.options.recursive
            && entry.metadata.kind == Kind::Directory
            && !is_dot
            && self.pending.len() < MAX_PENDING
            && let Some(child) = dir.as_ref().and_then(|dir| dir.resolve(&entry.name).ok())
            && child.components().len() <= self.base.components().len() + MAX_DEPTH
        {
            self.pending.push(child);
        }
        let mut target = entry.link_target.take();
        // A link to a file is the file, for clients that fetch by type; a link to a directory could lead in
        // circles and stays a link.
        if let (Form::Facts(_), Kind::Link, Some(dir)) = (self.form, entry.metadata.kind, &dir)
            && let Ok(path) = dir.resolve(&entry.name)
            && let Ok(metadata) = self.session.stat(&path).await
            && metadata.kind == Kind::File
        {
            entry.metadata = metadata;
            target = None;
        }
        let name = [&self.prefix[..], &entry.name].concat();
        let mut item = item(&name, &entry.metadata, target.as_deref(), self.rights);
        let classified;
        if self.options.classify && !matches!(self.form, Form::Facts(_)) {
            let mark = match item.kind {
                ItemKind::Directory => "/",
                ItemKind::Link(_) => "@",
                ItemKind::File if item.mode & 0o111 != 0 => "*",
                _ => "",
            };
            classified = [&name[..], mark.as_bytes()].concat();
            item.name = &classified;
        }
        match self.form {
            Form::Long => unix::push_line(out, &item, now),
            Form::Names => {
                out.extend_from_slice(item.name);
                out.extend_from_slice(b"\r\n");
            }
            Form::Facts(facts) => {
                push_facts(out, &item, facts);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// What `ls -R` puts before each folder.
    fn heading(&self, out: &mut Vec<u8>, dir: &VirtualPath) {
        if self.begun {
            out.extend_from_slice(b"\r\n");
        }
        let inside: Vec<&[u8]> = dir.components().skip(self.base.components().len()).collect();
        out.push(b'.');
        for part in inside {
            out.push(b'/');
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b":\r\n");
    }
}

#[async_trait]
impl Source for Lines {
    async fn next(&mut self, _at_most: usize) -> Result<Option<Bytes>, Error> {
        let now = SystemTime::now();
        let mut out = Vec::new();
        loop {
            if self.options.recursive
                && !self.begun
                && let Some((dir, _)) = &self.open
            {
                let dir = dir.clone();
                self.heading(&mut out, &dir);
            }
            self.begun = true;
            if let Some(entries) = self.entries().await? {
                out.reserve(entries.len() * 100);
                for entry in entries {
                    self.push(&mut out, entry, now).await;
                }
                if !out.is_empty() {
                    return Ok(Some(out.into()));
                }
                continue;
            }
            self.open = None;
            // A folder that vanished or is closed to us in the meantime is left out, as `ls` does.
            let Some(next) = self.pending.pop() else { break };
            self.heading(&mut out, &next);
            let _ = self.open_directory(next).await;
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }
}

/// The last component of a pathname, if it is a pattern.
struct Pattern<'a> {
    directory: &'a [u8],
    name: &'a [u8],
}

impl<'a> Pattern<'a> {
    fn of(typed: &'a [u8]) -> Option<Self> {
        let (directory, name) = typed.split_at(
            typed
                .iter()
                .rposition(|b| *b == b'/')
                .map_or(0, |slash| slash + 1),
        );
        let is_pattern = name.iter().any(|b| b"*?[".contains(b)) && name.len() <= 255;
        is_pattern.then_some(Self { directory, name })
    }

    /// Braces and a leading `!` are letters here.
    fn quoted_name(&self) -> Vec<u8> {
        let mut quoted = Vec::with_capacity(self.name.len());
        for (at, byte) in self.name.iter().enumerate() {
            if matches!(byte, b'{' | b'}') || (*byte == b'!' && at == 0) {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        quoted
    }
}

/// What a line is made from.
pub(crate) fn item<'a>(
    name: &'a [u8],
    metadata: &Metadata,
    target: Option<&'a [u8]>,
    rights: Rights,
) -> Item<'a> {
    Item {
        name,
        kind: match metadata.kind {
            Kind::File => ItemKind::File,
            Kind::Directory => ItemKind::Directory,
            Kind::Link => ItemKind::Link(target.unwrap_or_default()),
            Kind::Other => ItemKind::Other,
        },
        size: metadata.size,
        modified: metadata.modified,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        links: metadata.links,
        unique: metadata.unique,
        rights,
    }
}

/// The account's permissions as the `perm` fact tells them.
pub(crate) fn rights(may: May) -> Rights {
    Rights {
        read: may.allows(Permission::Read),
        write: may.allows(Permission::Write),
        append: may.allows(Permission::Append),
        delete: may.allows(Permission::Delete),
        rename: may.allows(Permission::Rename),
        mkdir: may.allows(Permission::Mkdir),
        list: may.allows(Permission::List),
    }
}
