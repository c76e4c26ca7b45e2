//! A tree in memory, for tests: no disk, no links, the same promises.

mod upload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Entry, ErrorKind, File, Kind, Metadata, Open, Pages, Result, Storage, VirtualPath};
use upload::Upload;

/// Entries in one page of a listing.
const PAGE: usize = 256;
/// Bytes that fit when nobody said otherwise. Keeps a far offset from taking the machine's memory.
const ROOM: u64 = 1 << 30;

/// Files in memory. Links are [`ErrorKind::Unsupported`].
#[derive(Debug, Clone)]
pub struct Memory(Arc<Mutex<Tree>>);

#[derive(Debug)]
struct Tree {
    nodes: BTreeMap<VirtualPath, Node>,
    /// What unfinished uploads of new files have under their names. Held while an upload has it too.
    parts: BTreeMap<VirtualPath, Part>,
    room: u64,
    last_unique: u64,
}

type Part = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    content: Bytes,
    modified: SystemTime,
    mode: u32,
    unique: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty root.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(ROOM)
    }

    /// An empty root with room for so many bytes of content; more is [`ErrorKind::NoSpace`].
    #[must_use]
    pub fn with_room(bytes: u64) -> Self {
        let mut tree = Tree {
            nodes: BTreeMap::new(),
            parts: BTreeMap::new(),
            room: bytes,
            last_unique: 0,
        };
        tree.put(VirtualPath::root(), Kind::Directory, Bytes::new(), 0o755);
        Self(Arc::new(Mutex::new(tree)))
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_held(part: &Part) -> bool {
    Arc::strong_count(part) > 1
}

impl Tree {
    fn put(&mut self, path: VirtualPath, kind: Kind, content: Bytes, mode: u32) {
        self.last_unique += 1;
        let (modified, unique) = (SystemTime::now(), self.last_unique);
        self.nodes.insert(
            path,
            Node {
                kind,
                content,
                modified,
                mode,
                unique,
            },
        );
    }

    /// What stands under `path`; nothing only where its directory is there.
    fn find(&self, path: &VirtualPath) -> Result<Option<&Node>> {
        if let Some(node) = self.nodes.get(path) {
            return Ok(Some(node));
        }
        let mut above = path.parent();
        while let Some(dir) = above {
            match self.nodes.get(&dir).map(|node| node.kind) {
                Some(Kind::Directory) if Some(&dir) == path.parent().as_ref() => return Ok(None),
                Some(Kind::Directory) => return Err(ErrorKind::NotFound.into()),
                Some(_) => return Err(ErrorKind::NotADirectory.into()),
                None => above = dir.parent(),
            }
        }
        Ok(None)
    }

    fn node(&self, path: &VirtualPath) -> Result<&Node> {
        self.find(path)?.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn node_mut(&mut self, path: &VirtualPath) -> Result<&mut Node> {
        self.node(path)?;
        self.nodes.get_mut(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn free(&self, path: &VirtualPath) -> Result<()> {
        if self.find(path)?.is_some() {
            Err(ErrorKind::Exists.into())
        } else {
            Ok(())
        }
    }

    fn entry(&self, path: &VirtualPath) -> Result<Entry> {
        let name = path.name().unwrap_or_default().to_vec();
        Ok(Entry {
            name,
            metadata: self.node(path)?.metadata(),
            link_target: None,
        })
    }

    /// Whatever lies beneath `dir`, at any depth.
    fn beneath(&self, dir: &VirtualPath) -> impl Iterator<Item = &VirtualPath> {
        self.nodes
            .range(dir..)
            .skip(1)
            .map(|(path, _)| path)
            .take_while(move |path| path.is_within(dir))
    }

    fn used(&self) -> u64 {
        let files = self.nodes.values().map(|node| node.content.len() as u64);
        let parts = self.parts.values().map(|part| lock(part).len() as u64);
        files.chain(parts).sum()
    }

    fn upload(&mut self, path: &VirtualPath, how: Open) -> Result<(Part, u64, bool)> {
        let old = match self.find(path)? {
            Some(_) if how == Open::CreateNew => return Err(ErrorKind::Exists.into()),
            Some(node) if node.kind == Kind::Directory => return Err(ErrorKind::IsDirectory.into()),
            old => old.map(|node| node.content.clone()),
        };
        if let Some(old) = old {
            let start = how.start(old.len() as u64)?;
            if self.parts.get(path).is_some_and(|part| !is_held(part)) {
                self.parts.remove(path);
            }
            let kept = usize::try_from(start).map_or(old.len(), |start| start);
            return Ok((Arc::new(Mutex::new(old[..kept].to_vec())), start, true));
        }
        match self.parts.get(path) {
            Some(part) if !is_held(part) => {
                let start = how.start(lock(part).len() as u64)?;
                Ok((Arc::clone(part), start, false))
            }
            Some(_) if matches!(how, Open::Append | Open::Resume { offset: 1.. }) => {
                Err(ErrorKind::Busy.into())
            }
            held => {
                let start = how.start(0)?;
                let part = Part::default();
                if held.is_none() {
                    self.parts.insert(path.clone(), Arc::clone(&part));
                }
                Ok((part, start, false))
            }
        }
    }

    fn rename(&mut self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        let kind = self.node(from)?.kind;
        let there = self.find(to)?.map(|node| node.kind);
        match there {
            Some(_) if !replace || kind == Kind::Directory => return Err(ErrorKind::Exists.into()),
            Some(Kind::Directory) => return Err(ErrorKind::IsDirectory.into()),
            _ if from == to => return Ok(()),
            _ if to.is_within(from) => return Err(ErrorKind::BadName.into()),
            _ => {}
        }
        self.nodes = std::mem::take(&mut self.nodes)
            .into_iter()
            .filter(|(path, _)| path != to)
            .map(|(path, node)| (moved(path, from, to), node))
            .collect();
        if kind == Kind::Directory {
            let parts = std::mem::take(&mut self.parts);
            self.parts = parts
                .into_iter()
                .map(|(path, part)| (moved(path, from, to), part))
                .collect();
        }
        Ok(())
    }
}

/// Where `path` is once `from` has become `to`.
fn moved(path: VirtualPath, from: &VirtualPath, to: &VirtualPath) -> VirtualPath {
    if !path.is_within(from) {
        return path;
    }
    let rest: Vec<&[u8]> = path.components().skip(from.components().len()).collect();
    // Joined from components that were good already; too long together, it stays where it was.
    to.resolve(&rest.join(&b'/')).unwrap_or(path)
}

impl Node {
    fn metadata(&self) -> Metadata {
        Metadata {
            kind: self.kind,
            size: self.content.len() as u64,
            modified: self.modified,
            mode: self.mode,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, self.unique),
        }
    }
}

#[async_trait]
impl Storage for Memory {
    async fn stat(&self, path: &VirtualPath) -> Result<Metadata> {
        Ok(self.tree().node(path)?.metadata())
    }

    async fn stat_entry(&self, path: &VirtualPath) -> Result<Entry> {
        self.tree().entry(path)
    }

    async fn list(&self, dir: &VirtualPath) -> Result<Box<dyn Pages>> {
        let tree = self.tree();
        if tree.node(dir)?.kind != Kind::Directory {
            return Err(ErrorKind::NotADirectory.into());
        }
        let children = tree
            .beneath(dir)
            .filter(|path| path.parent().as_ref() == Some(dir));
        let entries: Vec<Entry> = children.map(|path| tree.entry(path)).collect::<Result<_>>()?;
        Ok(Box::new(Listing(entries.into_iter())))
    }

    async fn open(&self, path: &VirtualPath, how: Open) -> Result<Arc<dyn File>> {
        let mut tree = self.tree();
        if how == Open::Read {
            let node = tree.node(path)?;
            return match node.kind {
                Kind::File => Ok(Arc::new(Reading(node.content.clone()))),
                _ => Err(ErrorKind::IsDirectory.into()),
            };
        }
        let (part, start, replaces) = tree.upload(path, how)?;
        Ok(Arc::new(Upload::new(
            self.clone(),
            path.clone(),
            how,
            part,
            (start, replaces),
        )))
    }

    async fn part(&self, path: &VirtualPath) -> Result<Option<u64>> {
        let tree = self.tree();
        match tree.nodes.contains_key(path) {
            true => Ok(None),
            false => Ok(tree.parts.get(path).map(|part| lock(part).len() as u64)),
        }
    }

    async fn make_dir(&self, path: &VirtualPath) -> Result<()> {
        let mut tree = self.tree();
        tree.free(path)?;
        tree.put(path.clone(), Kind::Directory, Bytes::new(), 0o755);
        Ok(())
    }

    async fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        let mut tree = self.tree();
        match tree.find(path)?.map(|node| node.kind) {
            Some(Kind::Directory) if path.is_root() => Err(ErrorKind::PermissionDenied.into()),
            Some(Kind::Directory) => Err(ErrorKind::IsDirectory.into()),
            Some(_) => {
                tree.nodes.remove(path);
                Ok(())
            }
            None => match tree.parts.get(path).map(is_held) {
                Some(true) => Err(ErrorKind::Busy.into()),
                Some(false) => {
                    tree.parts.remove(path);
                    Ok(())
                }
                None => Err(ErrorKind::NotFound.into()),
            },
        }
    }

    async fn remove_dir(&self, path: &VirtualPath) -> Result<()> {
        let mut tree = self.tree();
        if path.is_root() {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if tree.node(path)?.kind != Kind::Directory {
            return Err(ErrorKind::NotADirectory.into());
        }
        let is_inside = |name: &VirtualPath| name.is_within(path);
        let is_written = tree
            .parts
            .iter()
            .any(|(name, part)| is_inside(name) && is_held(part));
        if is_written || tree.beneath(path).next().is_some() {
            return Err(ErrorKind::NotEmpty.into());
        }
        tree.nodes.remove(path);
        tree.parts.retain(|name, _| !is_inside(name));
        Ok(())
    }

    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        if from.is_root() || to.is_root() {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.tree().rename(from, to, replace)
    }

    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()> {
        self.tree().node_mut(path)?.modified = to;
        Ok(())
    }

    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        self.tree().node_mut(path)?.mode = mode & 0o777;
        Ok(())
    }

    async fn make_link(&self, _target: &[u8], _link: &VirtualPath) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    async fn space(&self, dir: &VirtualPath) -> Result<Option<u64>> {
        let tree = self.tree();
        tree.node(dir)?;
        Ok(Some(tree.room.saturating_sub(tree.used())))
    }
}

struct Listing(std::vec::IntoIter<Entry>);

#[async_trait]
impl Pages for Listing {
    async fn next_page(&mut self) -> Result<Option<Vec<Entry>>> {
        let page: Vec<Entry> = self.0.by_ref().take(PAGE).collect();
        Ok((!page.is_empty()).then_some(page))
    }
}

fn slice(content: &[u8], offset: u64, len: usize) -> Bytes {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| content.get(offset..))
        .unwrap_or_default();
    Bytes::copy_from_slice(&rest[..rest.len().min(len)])
}

struct Reading(Bytes);

#[async_trait]
impl File for Reading {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        Ok(slice(&self.0, offset, len))
    }

    async fn write_at(&self, _offset: u64, _bytes: Bytes) -> Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    async fn size(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn start(&self) -> u64 {
        0
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn publish(&self) -> Result<()> {
        Ok(())
    }
}
