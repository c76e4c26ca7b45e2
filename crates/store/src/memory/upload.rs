//! An upload into the tree in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Memory, Part, Tree, is_held, lock, slice};
use crate::{ErrorKind, File, Kind, Open, Result, VirtualPath};

/// An upload in progress.
pub(super) struct Upload {
    tree: Memory,
    path: VirtualPath,
    how: Open,
    part: Part,
    start: u64,
    replaces: bool,
    state: Mutex<State>,
}

struct State {
    /// The part may still reach past `start`: it is cut with the first byte.
    uncut: bool,
    /// Everything has come.
    prepared: bool,
    published: bool,
    failure: Option<ErrorKind>,
}

impl Upload {
    pub(super) fn new(
        tree: Memory,
        path: VirtualPath,
        how: Open,
        part: Part,
        (start, replaces): (u64, bool),
    ) -> Self {
        let state = Mutex::new(State {
            uncut: true,
            prepared: false,
            published: false,
            failure: None,
        });
        Self {
            tree,
            path,
            how,
            part,
            start,
            replaces,
            state,
        }
    }

    fn cut(&self, state: &mut State) {
        if std::mem::take(&mut state.uncut) {
            lock(&self.part).truncate(usize::try_from(self.start).unwrap_or(usize::MAX));
        }
    }

    /// Bytes come, also where everything seemed to have come.
    fn open_again(&self, state: &mut State) {
        self.cut(state);
        state.prepared = false;
    }

    /// Whether so many bytes fit beside everything else.
    fn has_room(&self, tree: &Tree, state: &mut State, end: u64) -> Result<()> {
        let is_counted = tree
            .parts
            .get(&self.path)
            .is_some_and(|part| Arc::ptr_eq(part, &self.part));
        let used = tree.used();
        let own = lock(&self.part).len() as u64;
        let others = used - if is_counted { own } else { 0 };
        if others.saturating_add(end.max(own)) > tree.room {
            state.failure.get_or_insert(ErrorKind::NoSpace);
            return Err(ErrorKind::NoSpace.into());
        }
        Ok(())
    }

    fn content(&self) -> Bytes {
        let state = lock(&self.state);
        let content = lock(&self.part);
        if state.uncut {
            slice(&content, 0, usize::try_from(self.start).unwrap_or(usize::MAX))
        } else {
            content.clone().into()
        }
    }
}

#[async_trait]
impl File for Upload {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        Ok(slice(&self.content(), offset, len))
    }

    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let tree = self.tree.tree();
        let mut state = lock(&self.state);
        if state.published {
            return Err(ErrorKind::Io.into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.open_again(&mut state);
        let end = offset.saturating_add(bytes.len() as u64);
        self.has_room(&tree, &mut state, end)?;
        let mut content = lock(&self.part);
        // Within the room, so it fits an usize.
        let (offset, end) = (offset as usize, end as usize);
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset..end].copy_from_slice(&bytes);
        Ok(())
    }

    async fn set_size(&self, size: u64) -> Result<()> {
        let tree = self.tree.tree();
        let mut state = lock(&self.state);
        if state.published {
            return Err(ErrorKind::Io.into());
        }
        self.open_again(&mut state);
        self.has_room(&tree, &mut state, size)?;
        lock(&self.part).resize(size as usize, 0);
        Ok(())
    }

    async fn size(&self) -> Result<u64> {
        Ok(self.content().len() as u64)
    }

    fn start(&self) -> u64 {
        self.start
    }

    async fn prepare(&self) -> Result<()> {
        let mut state = lock(&self.state);
        state.prepared = state.failure.is_none();
        state.failure.map_or(Ok(()), |kind| Err(kind.into()))
    }

    async fn publish(&self) -> Result<()> {
        let mut tree = self.tree.tree();
        let mut state = lock(&self.state);
        if let Some(kind) = state.failure {
            return Err(kind.into());
        }
        if state.published {
            return Ok(());
        }
        let mode = match tree.find(&self.path)? {
            Some(_) if self.how == Open::CreateNew => return Err(ErrorKind::Exists.into()),
            Some(node) if node.kind == Kind::Directory => return Err(ErrorKind::IsDirectory.into()),
            old => old.map_or(0o644, |node| node.mode),
        };
        self.cut(&mut state);
        state.published = true;
        let content = lock(&self.part).clone().into();
        tree.put(self.path.clone(), Kind::File, content, mode);
        if tree
            .parts
            .get(&self.path)
            .is_some_and(|part| Arc::ptr_eq(part, &self.part))
        {
            tree.parts.remove(&self.path);
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut tree = self.tree.tree();
        let state = lock(&self.state);
        if state.published {
            return;
        }
        let is_kept = !self.replaces
            && state.failure.is_none()
            && !lock(&self.part).is_empty()
            && matches!(tree.find(&self.path), Ok(None));
        if is_kept && state.prepared {
            lock(&self.part).pop();
        }
        match tree.parts.get(&self.path) {
            Some(there) if Arc::ptr_eq(there, &self.part) && is_kept => {}
            Some(there) if Arc::ptr_eq(there, &self.part) => {
                tree.parts.remove(&self.path);
            }
            // Another upload goes on with it.
            Some(there) if is_held(there) => {}
            _ if is_kept => {
                tree.parts.insert(self.path.clone(), Arc::clone(&self.part));
            }
            _ => {}
        }
    }
}
