//! Mappings that are on routers, in a file: what the next start removes if this process does not come to it.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Leftover, Refusal};

/// More mappings than one server has; the oldest give way.
const MOST: usize = 64;

/// A longer file is not ours.
const LONGEST: u64 = 256 * 1024;

/// The mappings that have not been taken back yet. A mapping is written down before it is used, and struck out after
/// it has been removed.
#[derive(Debug)]
pub struct Journal {
    file: PathBuf,
    kept: Kept,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(default, rename = "mapping")]
    mappings: Vec<Leftover>,
}

impl Journal {
    /// Reads the file. One that is not there is empty; one that cannot be understood is reported and counts as empty.
    pub async fn open(file: PathBuf) -> Self {
        let path = file.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let kept = match read.unwrap_or_else(|panic| Err(panic.into())) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                tracing::warn!(?file, %error, "the list of mappings is damaged; what it named stays on the router");
                Kept::default()
            }
        };
        Self { file, kept }
    }

    /// What is written down.
    #[must_use]
    pub fn mappings(&self) -> &[Leftover] {
        &self.kept.mappings
    }

    /// Writes a mapping down, in the place of its earlier state. When this has returned, it is on the disk.
    ///
    /// # Errors
    /// What the file system says. It is remembered for the next writing all the same.
    pub async fn record(&mut self, mapping: &Leftover) -> io::Result<()> {
        let mappings = &mut self.kept.mappings;
        mappings.retain(|earlier| !mapping.replaces(earlier));
        mappings.push(mapping.clone());
        let over = mappings.len().saturating_sub(MOST);
        mappings.drain(..over);
        self.write().await
    }

    /// Strikes a mapping out.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn strike(&mut self, mapping: &Leftover) -> io::Result<()> {
        self.kept.mappings.retain(|kept| !mapping.replaces(kept));
        self.write().await
    }

    /// Takes back from the routers what is written down, and strikes out what is gone: removed, over, or for an
    /// address that is no longer ours. Returns what was tried and how it went. To be called before anything is mapped:
    /// a new mapping of the same port would go, too.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn sweep(&mut self) -> io::Result<Vec<(Leftover, Result<(), Refusal>)>> {
        let mut swept = Vec::new();
        let mut silent = Vec::new();
        // One after the other: a router is asked one question at a time, and none after it was silent.
        for mapping in self.kept.mappings.clone() {
            let mut gone = mapping.is_over();
            if !gone {
                let removed = match silent.contains(&(mapping.router(), mapping.protocol())) {
                    true => Err(Refusal::NoAnswer),
                    false => mapping.remove().await,
                };
                if removed == Err(Refusal::NoAnswer) {
                    silent.push((mapping.router(), mapping.protocol()));
                }
                if let Err(refusal) = &removed {
                    tracing::warn!(outside = %mapping.outside, via = %mapping.protocol(), %refusal, "not taken back");
                }
                gone = matches!(removed, Ok(()) | Err(Refusal::NotOurs(_) | Refusal::PortTaken(_)));
                swept.push((mapping.clone(), removed));
            }
            if gone {
                self.kept.mappings.retain(|kept| *kept != mapping);
            }
        }
        self.write().await?;
        Ok(swept)
    }

    async fn write(&self) -> io::Result<()> {
        let text = toml::to_string(&self.kept).map_err(io::Error::other)?;
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || write(&file, &text)).await?
    }
}

fn read(file: &Path) -> io::Result<Kept> {
    let length = std::fs::metadata(file)?.len();
    if length > LONGEST {
        return Err(io::Error::other("too long"));
    }
    let text = std::fs::read_to_string(file)?;
    let kept: Kept = toml::from_str(&text).map_err(io::Error::other)?;
    match kept.mappings.len() > MOST {
        true => Err(io::Error::other("too many mappings")),
        false => Ok(kept),
    }
}

/// Whole or not at all: beside the file first, and only then in its place. What it says proves ownership to a router,
/// so nobody else reads it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(&new)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests;
