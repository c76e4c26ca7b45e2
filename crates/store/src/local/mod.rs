//! The local disk beneath one directory.

mod confine;
mod durable;
mod entries;
mod listing;
mod medium;
mod metadata;
mod part;
mod prefix;
mod reading;
mod sweep;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::{Entry, ErrorKind, File, Metadata, Open, Pages, Result, Storage, VirtualPath, Volume};
use confine::{Root, Way};
use listing::Listing;
use part::is_part_name;
use reading::Reading;
use sweep::Sweeps;
use upload::{Terms, Upload};

/// Files of the local file system beneath a root directory that no name leads out of.
///
/// An upload is written into a *part* beside its target, named `.NAME.HASH.pasarela-part`, and renamed over the
/// target when it is published. Parts are in no listing and answer to no name.
#[derive(Debug)]
pub struct Local(Arc<Tree>);

#[derive(Debug)]
struct Tree {
    root: Root,
    terms: Terms,
    sweeps: Sweeps,
}

/// What a 226 promises about power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// File and directory are on stable storage before the upload is published.
    #[default]
    Safe,
    /// They are handed to the kernel, no more.
    Fast,
}

/// Settings of [`Local`].
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`Durability`].
    pub durability: Durability,
    /// Unfinished parts older than this are swept when their directory is written to.
    pub keep_parts: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            keep_parts: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Local {
    /// Opens the root. New files get the mode `0o666` without the bits of the umask that the process has now.
    ///
    /// # Errors
    /// When it is not a directory or cannot be opened.
    pub fn open(root: &Path, options: Options) -> Result<Self> {
        Self::open_way(root, options, Way::Kernel)
    }

    fn open_way(root: &Path, options: Options, way: Way) -> Result<Self> {
        let terms = Terms {
            safe: options.durability == Durability::Safe,
            mode: 0o666 & !umask(),
        };
        let sweeps = Sweeps::new(options.keep_parts);
        Ok(Self(Arc::new(Tree {
            root: Root::open(root, way)?,
            terms,
            sweeps,
        })))
    }

    /// Does `work` on a thread that may wait for the disk.
    async fn on_thread<T: Send + 'static>(
        &self,
        path: &VirtualPath,
        work: impl FnOnce(&Tree, &VirtualPath) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tree, path) = (Arc::clone(&self.0), path.clone());
        blocking(move || work(&tree, &path)).await
    }
}

impl Tree {
    fn upload(&self, path: &VirtualPath, how: Open) -> Result<Upload> {
        let place = match how {
            _ if path.is_root() => return Err(ErrorKind::IsDirectory.into()),
            Open::CreateNew => self.root.parent(path)?,
            _ => self.root.target(path)?,
        };
        let upload = Upload::open(place, how, self.terms)?;
        // Now the part that this very upload goes on with is locked, however old it is.
        self.sweeps.visit(upload.dir());
        Ok(upload)
    }
}

#[async_trait]
impl Storage for Local {
    async fn stat(&self, path: &VirtualPath) -> Result<Metadata> {
        not_found_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.stat(path)).await
    }

    async fn stat_entry(&self, path: &VirtualPath) -> Result<Entry> {
        not_found_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.stat_entry(path))
            .await
    }

    async fn list(&self, dir: &VirtualPath) -> Result<Box<dyn Pages>> {
        not_found_if_part(dir)?;
        let listing = self
            .on_thread(dir, |tree, dir| Ok(Listing::new(tree.root.read_dir(dir)?)))
            .await?;
        Ok(Box::new(listing))
    }

    async fn open(&self, path: &VirtualPath, how: Open) -> Result<Arc<dyn File>> {
        if how == Open::Read {
            not_found_if_part(path)?;
            return Ok(Arc::new(
                self.on_thread(path, |tree, path| Reading::open(&tree.root, path))
                    .await?,
            ));
        }
        bad_name_if_part(path)?;
        Ok(Arc::new(
            self.on_thread(path, move |tree, path| tree.upload(path, how))
                .await?,
        ))
    }

    async fn part(&self, path: &VirtualPath) -> Result<Option<u64>> {
        not_found_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.part(path)).await
    }

    async fn make_dir(&self, path: &VirtualPath) -> Result<()> {
        bad_name_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.make_dir(path, tree.terms.safe))
            .await
    }

    async fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        not_found_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.remove_file(path))
            .await
    }

    async fn remove_dir(&self, path: &VirtualPath) -> Result<()> {
        not_found_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.remove_dir(path))
            .await
    }

    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        not_found_if_part(from)?;
        bad_name_if_part(to)?;
        let to = to.clone();
        self.on_thread(from, move |tree, from| tree.root.rename(from, &to, replace))
            .await
    }

    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> Result<()> {
        not_found_if_part(path)?;
        self.on_thread(path, move |tree, path| tree.root.set_modified(path, to))
            .await
    }

    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        not_found_if_part(path)?;
        self.on_thread(path, move |tree, path| tree.root.set_mode(path, mode))
            .await
    }

    async fn make_link(&self, target: &[u8], link: &VirtualPath) -> Result<()> {
        bad_name_if_part(link)?;
        let target = target.to_vec();
        self.on_thread(link, move |tree, link| tree.root.make_link(&target, link))
            .await
    }

    async fn space(&self, dir: &VirtualPath) -> Result<Option<u64>> {
        not_found_if_part(dir)?;
        self.on_thread(dir, |tree, dir| tree.root.space(dir)).await
    }

    async fn volume(&self, path: &VirtualPath) -> Result<Volume> {
        not_found_if_part(path)?;
        self.on_thread(path, |tree, path| tree.root.volume(path)).await
    }
}

/// Runs what may wait for a disk on a thread made for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(ErrorKind::Io.into()),
        },
    }
}

fn names_part(path: &VirtualPath) -> bool {
    path.components().any(is_part_name)
}

fn not_found_if_part(path: &VirtualPath) -> Result<()> {
    if names_part(path) {
        Err(ErrorKind::NotFound.into())
    } else {
        Ok(())
    }
}

fn bad_name_if_part(path: &VirtualPath) -> Result<()> {
    if names_part(path) {
        Err(ErrorKind::BadName.into())
    } else {
        Ok(())
    }
}

/// The process's umask. umask(2) can only be read by setting it, which other threads would notice; procfs tells it.
fn umask() -> u32 {
    let told = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
    told.unwrap_or(0o022)
}

#[cfg(test)]
mod tests;
