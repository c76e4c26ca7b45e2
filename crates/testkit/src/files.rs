//! Files to move: deterministic pseudo-random bytes, hashes, and whole trees compared.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// A SHA-256; shown in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-256 of a file.
///
/// # Panics
/// When it cannot be read.
#[track_caller]
pub fn sha256(path: &Path) -> Digest {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    sha256_of(&bytes)
}

/// The SHA-256 of some bytes.
#[must_use]
pub fn sha256_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// A repeatable stream of numbers (SplitMix64): the same seed gives the same numbers on every machine.
pub fn random(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// `len` bytes that no compression or line-end conversion leaves as they are.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = random(seed)
        .take(len.div_ceil(8))
        .flat_map(u64::to_le_bytes)
        .collect();
    bytes.truncate(len);
    bytes
}

/// Writes [`noise`] to a file, with the folders above it.
///
/// # Panics
/// When it cannot be written.
#[track_caller]
pub fn make_file(path: &Path, seed: u64, len: usize) -> Digest {
    let bytes = noise(seed, len);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path)
        .and_then(|mut file| file.write_all(&bytes))
        .unwrap();
    sha256_of(&bytes)
}

/// A tree of `files` files of 0 to 64 KiB in some folders, two of them nested.
pub fn make_tree(root: &Path, seed: u64, files: usize) {
    const FOLDERS: [&str; 5] = ["", "one", "two words", "deep/er", "ñandú"];
    for (number, size) in random(seed).take(files).enumerate() {
        let path = root
            .join(FOLDERS[number % FOLDERS.len()])
            .join(format!("file {number:04}"));
        make_file(&path, size, usize::try_from(size % 65536).unwrap());
    }
}

/// Every file under a folder with its hash; folders themselves are not listed.
///
/// # Panics
/// When something cannot be read.
#[must_use]
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), sha256(&path));
            }
        }
    }
    found
}

/// Panics with the names that are missing, extra or different.
#[track_caller]
pub fn assert_same_tree(expected: &Path, found: &Path) {
    let (expected, found) = (tree(expected), tree(found));
    let missing: Vec<_> = expected
        .keys()
        .filter(|name| !found.contains_key(*name))
        .collect();
    let extra: Vec<_> = found
        .keys()
        .filter(|name| !expected.contains_key(*name))
        .collect();
    let different: Vec<_> = expected
        .iter()
        .filter(|(name, hash)| found.get(*name).is_some_and(|other| other != *hash))
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && different.is_empty(),
        "of {} files: missing {missing:?}, extra {extra:?}, different {different:?}",
        expected.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_every_time_and_as_long_as_asked() {
        assert_eq!(noise(7, 13), noise(7, 13));
        assert_eq!(noise(7, 13).len(), 13);
        assert_ne!(noise(7, 13), noise(8, 13));
        assert_eq!(
            sha256_of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn equal_trees_are_equal() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make_tree(a.path(), 1, 12);
        make_tree(b.path(), 1, 12);
        assert_eq!(tree(a.path()).len(), 12);
        assert_same_tree(a.path(), b.path());
    }

    #[test]
    #[should_panic(expected = "different [(\"file 0000\"")]
    fn one_byte_makes_trees_different() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make_tree(a.path(), 1, 3);
        make_tree(b.path(), 1, 3);
        fs::write(b.path().join("file 0000"), b"x").unwrap();
        assert_same_tree(a.path(), b.path());
    }
}
