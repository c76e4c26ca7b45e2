//! A tree as it is listed: folders in parallel, names checked, links not followed, size and depth capped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use pasarela_store as store;
use serde::{Deserialize, Serialize};
use store::{Entry, ErrorKind, Kind, VirtualPath};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::filter::Filter;
use super::names;
use super::{Error, Note, NoteKind, Settings};
use crate::parallel::finished;
use crate::remote::Place;
use crate::transfer::{End, Retries, again, sentence};

/// The most entries of one tree.
pub(super) const MOST_ENTRIES: usize = 1_000_000;
/// The deepest folder that is listed.
const DEEPEST: usize = 128;

/// What becomes of links at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// They are left out, and so is whatever has their name at the target.
    #[default]
    Skip,
    /// What they lead to is copied. They lead to nothing outside the place.
    Follow,
}

/// What stands under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// A listed tree; paths are taken from its root, which is not among them.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<VirtualPath, Node>,
    pub(super) notes: Vec<Note>,
    /// Whether everything that is meant could be listed.
    pub(super) is_complete: bool,
    /// What the root is; `None` where nothing stands there.
    pub(super) root: Option<Kind>,
}

struct Listed {
    dir: VirtualPath,
    /// `None` when the tree has more than anybody means.
    entries: store::Result<Option<Vec<Entry>>>,
}

/// What every listing of a walk needs.
#[derive(Clone)]
struct Walk {
    place: Place,
    links: Links,
    retries: Retries,
    seen: Arc<AtomicUsize>,
}

/// Lists all that the filter means beneath `place`.
pub(super) async fn list(
    place: &Place,
    end: End,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Tree, Error> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Stopped),
        tree = walk(place, end, settings) => tree,
    }
}

async fn walk(place: &Place, end: End, settings: &Settings) -> Result<Tree, Error> {
    let failed = |error| Error::Place { end, error };
    let mut tree = Tree {
        nodes: BTreeMap::new(),
        notes: Vec::new(),
        is_complete: true,
        root: None,
    };
    let retries = settings.transfer.retries;
    let root = again(retries, || async { place.remote.stat(&place.path).await }).await;
    match root {
        Err(error) if error.kind == ErrorKind::NotFound && end == End::Target => return Ok(tree),
        Err(error) => return Err(failed(error)),
        Ok(root) => tree.root = Some(root.kind),
    }
    if tree.root != Some(Kind::Directory) {
        return Ok(tree);
    }
    let links = match end {
        End::Source => settings.links,
        // A link at the target is what stands there, wherever it leads.
        End::Target => Links::Skip,
    };
    let walk = Walk {
        place: place.clone(),
        links,
        retries,
        seen: Arc::default(),
    };
    let limit = settings.jobs.min(place.remote.abilities().parallel).max(1);
    let mut dirs = VecDeque::from([VirtualPath::root()]);
    let mut running = JoinSet::new();
    loop {
        while running.len() < limit
            && let Some(dir) = dirs.pop_front()
        {
            running.spawn(walk.clone().list_dir(dir));
        }
        let Some(result) = running.join_next().await else {
            return Ok(tree);
        };
        let Listed { dir, entries } = finished(result).ok_or(Error::Stopped)?;
        match entries {
            Ok(None) => return Err(Error::TooMany(end)),
            Ok(Some(entries)) => {
                for entry in entries {
                    if let Some(dir) = tree.add(&dir, &entry, &settings.filter, end) {
                        dirs.push_back(dir);
                    }
                }
            }
            Err(error) if dir.is_root() => return Err(failed(error)),
            Err(error) => tree.gap(dir, format!("{end}: it cannot be listed: {}", sentence(&error))),
        }
    }
}

impl Walk {
    async fn list_dir(self, dir: VirtualPath) -> Listed {
        let entries = again(self.retries, || self.entries(&dir)).await;
        Listed { dir, entries }
    }

    /// All entries of a folder; `None` when there are too many in all.
    async fn entries(&self, dir: &VirtualPath) -> store::Result<Option<Vec<Entry>>> {
        // Joined from components, it is too long at worst.
        let place = self.place.join(dir).map_err(|_| ErrorKind::BadName)?;
        let mut pages = place.remote.list(&place.path).await?;
        let mut all = Vec::new();
        while let Some(page) = pages.next_page().await? {
            let seen = self.seen.fetch_add(page.len(), Ordering::Relaxed) + page.len();
            if seen > MOST_ENTRIES {
                return Ok(None);
            }
            all.extend(page);
        }
        if self.links == Links::Follow {
            follow(&place, &mut all).await;
        }
        Ok(Some(all))
    }
}

/// Puts in the place of links what they lead to. One that leads nowhere, or to a folder that holds it, stays a link.
async fn follow(dir: &Place, entries: &mut [Entry]) {
    for entry in entries {
        if entry.metadata.kind == Kind::Link
            && names::refusal(&entry.name).is_none()
            && let Ok(path) = dir.path.resolve(&entry.name)
            && let Ok(metadata) = dir.remote.stat(&path).await
            && !(metadata.kind == Kind::Directory && leads_back(dir, metadata.unique).await)
        {
            entry.metadata = metadata;
        }
    }
}

/// Whether a folder is `dir` or holds it, or nobody can tell.
async fn leads_back(dir: &Place, unique: (u64, u64)) -> bool {
    let mut above = Some(dir.path.clone());
    while let Some(path) = above {
        let known = dir.remote.stat(&path).await;
        if known.is_ok_and(|known| known.unique == unique) {
            return true;
        }
        above = path.parent();
    }
    false
}

impl Tree {
    /// Takes in an entry of `dir`; answers the folder that is to be listed then.
    fn add(&mut self, dir: &VirtualPath, entry: &Entry, filter: &Filter, end: End) -> Option<VirtualPath> {
        let refused = |why: &str| Note {
            kind: NoteKind::Failed,
            path: dir.clone(),
            text: format!("{end}: {why} is not used: {}", entry.name.escape_ascii()),
        };
        if let Some(why) = names::refusal(&entry.name) {
            self.notes.push(refused(why));
            return None;
        }
        let Ok(path) = dir.resolve(&entry.name) else {
            self.notes.push(refused("a path that is too long"));
            return None;
        };
        let kind = entry.metadata.kind;
        if !filter.means(&path, kind == Kind::Directory) {
            return None;
        }
        if end == End::Source && matches!(kind, Kind::Link | Kind::Other) {
            let text = match kind {
                Kind::Link => "a link, which is left out",
                _ => "neither file nor folder, left out",
            };
            self.notes.push(Note {
                kind: NoteKind::LeftOut,
                path: path.clone(),
                text: text.into(),
            });
        }
        let node = Node {
            kind,
            size: entry.metadata.size,
            modified: entry.metadata.modified,
        };
        if self.nodes.insert(path.clone(), node).is_some() {
            self.notes.push(Note {
                kind: NoteKind::Failed,
                path: path.clone(),
                text: format!("{end}: it is listed twice"),
            });
            return None;
        }
        if kind != Kind::Directory {
            return None;
        }
        if path.components().len() > DEEPEST {
            self.gap(
                path,
                format!("{end}: folders deeper than {DEEPEST} are not listed"),
            );
            return None;
        }
        Some(path)
    }

    /// Notes that something that is meant is not known.
    fn gap(&mut self, path: VirtualPath, text: String) {
        self.is_complete = false;
        self.notes.push(Note {
            kind: NoteKind::Failed,
            path,
            text,
        });
    }
}
