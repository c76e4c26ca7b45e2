//! The local disk as a place: what the user names is opened once, and nothing leads out of it from there on.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pasarela_dtp::Pace;
use pasarela_store as store;
use store::local::{Durability, Options};
use store::{Entry, File, Metadata, Open, Pages, Storage, VirtualPath};

use super::{Abilities, Place, Remote};
use crate::digest::{self, Algorithm, Digest};

/// How many files of a disk are worked on at once.
const PARALLEL: usize = 64;

/// Files of this machine beneath one directory. Uploads keep the store's publish promise; they are handed to the
/// kernel, and not waited for until they are on stable storage.
pub struct Local {
    storage: Arc<dyn Storage>,
    abilities: Abilities,
}

impl Local {
    /// The place that a path given by the user means, absolute or relative. Links in it are the user's own and are
    /// followed; beneath it none leads out. What does not exist yet is meant in the nearest directory that does.
    /// Asks the file system a few questions, so it may wait for a disk.
    ///
    /// # Errors
    /// When the path holds control bytes, or a directory on its way cannot be opened.
    pub fn at(path: &Path) -> store::Result<Place> {
        let mut missing: Vec<&[u8]> = Vec::new();
        let mut here = path;
        let (root, name) = loop {
            let shown = if here.as_os_str().is_empty() {
                Path::new(".")
            } else {
                here
            };
            match std::fs::canonicalize(shown) {
                Ok(found) if missing.is_empty() && !found.is_dir() => {
                    let dir = found
                        .parent()
                        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
                    let name = found.file_name().map(|name| name.as_bytes().to_vec());
                    break (dir, name.unwrap_or_default());
                }
                Ok(found) => {
                    missing.reverse();
                    break (found, missing.join(&b'/'));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    // What does not exist has no parent to go up to.
                    match (here.components().next_back(), here.parent()) {
                        (Some(Component::Normal(name)), Some(parent)) => {
                            missing.push(name.as_bytes());
                            here = parent;
                        }
                        _ => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        let path = VirtualPath::root()
            .resolve(&name)
            .map_err(|_| store::ErrorKind::BadName)?;
        let remote: Arc<dyn Remote> = Arc::new(Self::beneath(&root)?);
        Ok(Place { remote, path })
    }

    /// The files beneath `root`.
    ///
    /// # Errors
    /// When it is not a directory or cannot be opened.
    pub fn beneath(root: &Path) -> store::Result<Self> {
        let options = Options {
            durability: Durability::Fast,
            ..Options::default()
        };
        let storage = store::local::Local::open(root, options)?;
        let folds_names = folds_names(root);
        Ok(Self {
            storage: Arc::new(storage),
            abilities: Abilities { folds_names, ..all() },
        })
    }

    /// The files of any backend that is in this process.
    #[must_use]
    pub fn over(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            abilities: all(),
        }
    }

    /// The same files, as if the place could do just this.
    #[must_use]
    pub fn with_abilities(self, abilities: Abilities) -> Self {
        Self { abilities, ..self }
    }
}

fn all() -> Abilities {
    Abilities {
        is_local: true,
        exact_size: true,
        // Asking once more costs nothing here.
        exact_listings: false,
        exact_times: true,
        time_precision: Duration::from_micros(1),
        set_times: true,
        ranges_down: true,
        ranges_up: true,
        writes_anywhere: true,
        ranges_at_once: false,
        confirms_size: false,
        digests: Algorithm::ALL.to_vec(),
        atomic_rename: true,
        folds_names: false,
        parallel: PARALLEL,
    }
}

/// Whether the file system takes names that differ only in case for one: FAT, exFAT, NTFS, HFS+, SMB, by their
/// numbers in statfs(2). A folder of ext4 or f2fs that was told to fold is not seen.
fn folds_names(root: &Path) -> bool {
    const FOLDING: [u64; 9] = [
        0x4d44,      // vfat
        0x2011_bab0, // exfat
        0x5346_544e, // ntfs
        0x7366_746e, // ntfs3
        0x482b,      // hfsplus
        0x4244,      // hfs
        0x517b,      // smb
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
    ];
    // The type is signed on some machines, and 32 bits long on others.
    rustix::fs::statfs(root).is_ok_and(|stat| FOLDING.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

#[async_trait]
impl Remote for Local {
    async fn digest(
        &self,
        path: &VirtualPath,
        algorithm: Option<Algorithm>,
        span: Option<Range<u64>>,
    ) -> store::Result<Option<Digest>> {
        let Some(algorithm) = algorithm.or(self.abilities.digests.first().copied()) else {
            return Ok(None);
        };
        if !self.abilities.digests.contains(&algorithm) {
            return Ok(None);
        }
        let file = self.storage.open(path, Open::Read).await?;
        let digest = digest::of_file(&file, algorithm, span, &Pace::default()).await?;
        Ok(Some(digest))
    }

    fn abilities(&self) -> Abilities {
        self.abilities.clone()
    }

    async fn close(&self) {}
}

#[async_trait]
impl Storage for Local {
    async fn stat(&self, path: &VirtualPath) -> store::Result<Metadata> {
        self.storage.stat(path).await
    }

    async fn stat_entry(&self, path: &VirtualPath) -> store::Result<Entry> {
        self.storage.stat_entry(path).await
    }

    async fn list(&self, dir: &VirtualPath) -> store::Result<Box<dyn Pages>> {
        self.storage.list(dir).await
    }

    async fn open(&self, path: &VirtualPath, how: Open) -> store::Result<Arc<dyn File>> {
        self.storage.open(path, how).await
    }

    async fn part(&self, path: &VirtualPath) -> store::Result<Option<u64>> {
        self.storage.part(path).await
    }

    async fn make_dir(&self, path: &VirtualPath) -> store::Result<()> {
        self.storage.make_dir(path).await
    }

    async fn remove_file(&self, path: &VirtualPath) -> store::Result<()> {
        self.storage.remove_file(path).await
    }

    async fn remove_dir(&self, path: &VirtualPath) -> store::Result<()> {
        self.storage.remove_dir(path).await
    }

    async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> store::Result<()> {
        self.storage.rename(from, to, replace).await
    }

    async fn set_modified(&self, path: &VirtualPath, to: SystemTime) -> store::Result<()> {
        self.storage.set_modified(path, to).await
    }

    async fn set_mode(&self, path: &VirtualPath, mode: u32) -> store::Result<()> {
        self.storage.set_mode(path, mode).await
    }

    async fn make_link(&self, target: &[u8], link: &VirtualPath) -> store::Result<()> {
        self.storage.make_link(target, link).await
    }

    async fn space(&self, dir: &VirtualPath) -> store::Result<Option<u64>> {
        self.storage.space(dir).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::ErrorKind;

    #[tokio::test]
    async fn what_the_user_names_is_found_whatever_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "abc").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();

        let file = Local::at(&dir.path().join("folder/../file")).unwrap();
        assert_eq!(file.path.to_bytes(), b"/file");
        assert_eq!(file.remote.stat(&file.path).await.unwrap().size, 3);
        let folder = Local::at(&dir.path().join("folder")).unwrap();
        assert!(folder.path.is_root());
        let link = Local::at(&dir.path().join("link")).unwrap();
        assert_eq!(link.path.to_bytes(), b"/file");
        let missing = Local::at(&dir.path().join("folder/a/b")).unwrap();
        assert_eq!(missing.path.to_bytes(), b"/a/b");
        let relative = Local::at(Path::new("no such file here")).unwrap();
        assert_eq!(relative.path.to_bytes(), b"/no such file here");
        assert_eq!(
            Local::at(&dir.path().join("a\nb")).unwrap_err().kind,
            ErrorKind::BadName
        );
    }

    #[tokio::test]
    async fn nothing_leads_out_of_what_the_user_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("inside")).unwrap();
        std::fs::write(dir.path().join("secret"), "abc").unwrap();
        std::os::unix::fs::symlink("../secret", dir.path().join("inside/link")).unwrap();
        let place = Local::at(&dir.path().join("inside")).unwrap();
        for name in [&b"link"[..], b"../secret", b"/../../secret"] {
            let path = place.path.resolve(name).unwrap();
            assert_eq!(
                place.remote.stat(&path).await.unwrap_err().kind,
                ErrorKind::NotFound
            );
        }
    }

    #[tokio::test]
    async fn digests_are_those_that_everybody_computes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "xabcx").unwrap();
        let place = Local::at(&dir.path().join("f")).unwrap();
        for (algorithm, hex) in [
            (
                Algorithm::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Crc32, "352441c2"),
        ] {
            let digest = place
                .remote
                .digest(&place.path, Some(algorithm), Some(1..4))
                .await;
            assert_eq!(digest.unwrap().unwrap().to_string(), hex);
        }
        let past = place.remote.digest(&place.path, None, Some(0..6)).await;
        assert_eq!(past.unwrap_err().kind, ErrorKind::PastEnd);
    }
}
