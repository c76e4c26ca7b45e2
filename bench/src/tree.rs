//! The files that are served: one folder, the same for every server.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tempfile::TempDir;

use crate::failed::{During as _, Failed};

/// Bytes of a small file.
pub(crate) const SMALL: u64 = 4096;
/// Bytes of the file whose content is compared when a server has started.
pub(crate) const PROOF: usize = 100_000;
/// Entries of the small folder.
pub(crate) const FEW: u64 = 100;

/// How much is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Bytes of the large file.
    pub(crate) large: u64,
    /// Bytes of the file that is fetched slowly.
    pub(crate) slow: u64,
    /// How many small files.
    pub(crate) small: u64,
    /// Entries of the huge folder.
    pub(crate) huge: u64,
}

/// The served folder, and what servers need beside it. Dropped = removed.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: TempDir,
    pub(crate) sizes: Sizes,
}

impl Tree {
    /// Makes it in that folder.
    pub(crate) fn make(place: &Path, sizes: Sizes) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new()
            .prefix("pasarela-bench-")
            .tempdir_in(place)
            .during(place.display().to_string())?;
        let tree = Self { folder, sizes };
        // Servers that give up root's rights have to get in.
        set_mode(tree.folder.path(), 0o755)?;
        tree.folder_of("small", sizes.small, |number| format!("f{number:04}"), SMALL)?;
        tree.folder_of("few", FEW, |number| format!("entry-{number:03}.dat"), 100)?;
        tree.folder_of(
            "huge",
            sizes.huge,
            |number| format!("a-file-with-a-name-{number:06}.dat"),
            0,
        )?;
        write_noise(&tree.file("large"), sizes.large)?;
        write_noise(&tree.file("slow"), sizes.slow)?;
        write_noise(&tree.file("proof"), PROOF as u64)?;
        fs::create_dir(tree.file("up")).during("the folder for uploads")?;
        set_mode(&tree.file("up"), 0o777)?;
        tree.certificate()?;
        Ok(tree)
    }

    /// The folder that is served.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A folder that is not served.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The name of an upload, of which nothing is there yet.
    pub(crate) fn fresh_upload(&self, name: &str) -> Result<String, Failed> {
        let path = format!("up/{name}");
        match fs::remove_file(self.file(&path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).during(path),
            _ => Ok(path),
        }
    }

    /// How long a file is that was uploaded; 0 when there is none.
    pub(crate) fn uploaded(&self, path: &str) -> u64 {
        fs::metadata(self.file(path)).map_or(0, |metadata| metadata.size())
    }

    /// The certificate; its key; both in one file.
    pub(crate) fn pem(&self) -> [PathBuf; 3] {
        ["certificate.pem", "key.pem", "both.pem"].map(|name| self.folder.path().join(name))
    }

    fn certificate(&self) -> Result<(), Failed> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made: CertifiedKey<KeyPair> = generate_simple_self_signed(names)
            .map_err(|error| Failed::Missing(format!("no certificate: {error}")))?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let texts = [certificate.clone(), key.clone(), format!("{key}{certificate}")];
        for (path, text) in self.pem().iter().zip(texts) {
            fs::write(path, text).during(path.display().to_string())?;
            set_mode(path, 0o600)?;
        }
        Ok(())
    }

    fn folder_of(
        &self,
        name: &str,
        count: u64,
        file: impl Fn(u64) -> String,
        size: u64,
    ) -> Result<(), Failed> {
        let folder = self.file(name);
        fs::create_dir_all(&folder).during(folder.display().to_string())?;
        for number in 0..count {
            write_noise(&folder.join(file(number)), size)?;
        }
        Ok(())
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Failed> {
    fs::set_permissions(path, Permissions::from_mode(mode)).during(path.display().to_string())
}

/// Bytes that neither compression nor line ends leave as they are (SplitMix64), the same in every run.
fn write_noise(path: &Path, size: u64) -> Result<(), Failed> {
    const BLOCK: usize = 1 << 20;
    let during = || path.display().to_string();
    let mut file = File::create(path).during(during())?;
    let (mut state, mut left) = (size, size);
    let mut block = vec![0; BLOCK.min(usize::try_from(size).unwrap_or(BLOCK).next_multiple_of(8))];
    while left > 0 {
        for eight in block.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            eight.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        let part = &block[..block.len().min(usize::try_from(left).unwrap_or(BLOCK))];
        file.write_all(part).during(during())?;
        left -= part.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_in_its_size() {
        let place = tempfile::tempdir().unwrap();
        let sizes = Sizes {
            large: 3_000_001,
            slow: 9,
            small: 2,
            huge: 3,
        };
        let tree = Tree::make(place.path(), sizes).unwrap();
        assert_eq!(fs::metadata(tree.file("large")).unwrap().len(), 3_000_001);
        assert_eq!(fs::metadata(tree.file("small/f0001")).unwrap().len(), SMALL);
        assert_eq!(fs::read_dir(tree.file("huge")).unwrap().count(), 3);
        assert_eq!(fs::metadata(tree.file("slow")).unwrap().len(), 9);
        let upload = tree.fresh_upload("one").unwrap();
        assert_eq!(tree.uploaded(&upload), 0);
        fs::write(tree.file(&upload), "four").unwrap();
        assert_eq!(tree.uploaded(&upload), 4);
        tree.fresh_upload("one").unwrap();
        assert_eq!(tree.uploaded(&upload), 0);
        let text = fs::read_to_string(&tree.pem()[2]).unwrap();
        assert!(text.contains("PRIVATE KEY") && text.contains("BEGIN CERTIFICATE"));
    }
}
