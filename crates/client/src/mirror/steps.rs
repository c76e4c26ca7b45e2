//! A plan: the steps from one state of two trees to the next, and what the trees were like when it was made.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use pasarela_store::{Kind, VirtualPath};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::tree::{self, Node};
use super::{Error, Filter, Links, Settings, saved};
use crate::remote::Place;
use crate::transfer::End;

/// What is to be done, in order. Paths are taken from the roots of the trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made.
    pub made: SystemTime,
    /// The source, in the caller's words.
    pub source: String,
    /// The target, in the caller's words.
    pub target: String,
    /// The source's state.
    pub source_print: Print,
    /// The target's state.
    pub target_print: Print,
    /// What was meant at both.
    pub filter: Filter,
    /// What became of links.
    pub links: Links,
    /// The steps.
    pub steps: Vec<Step>,
    /// What is left out or could not be planned.
    pub notes: Vec<Note>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step {
    /// A folder is made.
    MakeDir {
        /// Which; the root where the target does not exist yet.
        #[serde(with = "saved::path")]
        path: VirtualPath,
    },
    /// A file is copied.
    Copy {
        /// Which.
        #[serde(with = "saved::path")]
        path: VirtualPath,
        /// Its length in bytes.
        size: u64,
        /// Whether a file stands at the target.
        replaces: bool,
        /// Its time, where the source's listings tell exact ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        modified: Option<SystemTime>,
    },
    /// A file or a link is removed from the target.
    DeleteFile {
        /// Which.
        #[serde(with = "saved::path")]
        path: VirtualPath,
    },
    /// A folder is removed from the target, which is empty by then.
    RemoveDir {
        /// Which.
        #[serde(with = "saved::path")]
        path: VirtualPath,
    },
    /// A file at the target that has the source's content gets its time.
    SetTime {
        /// Which.
        #[serde(with = "saved::path")]
        path: VirtualPath,
        /// The time.
        to: SystemTime,
    },
}

/// Something about a path that no step is made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How bad it is.
    pub kind: NoteKind,
    /// The path, or that of its folder where it is none.
    #[serde(with = "saved::path")]
    pub path: VirtualPath,
    /// What.
    pub text: String,
}

/// How bad what a [`Note`] tells is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// As it should be.
    LeftOut,
    /// Something is missing at the target then.
    Failed,
}

/// What a tree was like: a digest over paths, kinds, lengths and times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print(String);

impl Step {
    /// The path that it is about.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        match self {
            Self::MakeDir { path }
            | Self::Copy { path, .. }
            | Self::DeleteFile { path }
            | Self::RemoveDir { path }
            | Self::SetTime { path, .. } => path,
        }
    }
}

impl Plan {
    /// How many files are to be copied, and how many bytes they have.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.steps.iter().fold((0, 0), |(files, bytes), step| match step {
            Step::Copy { size, .. } => (files + 1, bytes + size),
            _ => (files, bytes),
        })
    }
}

/// Whether both trees are still as they were when the plan was made.
///
/// # Errors
/// [`Error::Stale`] where one is not.
pub async fn check_fresh(
    plan: &Plan,
    from: &Place,
    to: &Place,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let settings = Settings {
        filter: plan.filter.clone(),
        links: plan.links,
        ..settings.clone()
    };
    let (source, target) = tokio::try_join!(
        tree::list(from, End::Source, &settings, stop),
        tree::list(to, End::Target, &settings, stop),
    )?;
    if print(&source.nodes) != plan.source_print {
        return Err(Error::Stale(End::Source));
    }
    if print(&target.nodes) != plan.target_print {
        return Err(Error::Stale(End::Target));
    }
    Ok(())
}

/// The print of a tree. Of folders only the names count: their times change with what is put into them.
pub(super) fn print(nodes: &BTreeMap<VirtualPath, Node>) -> Print {
    let mut hasher = Sha256::new();
    for (path, node) in nodes {
        let (kind, size, time) = match node.kind {
            Kind::File => (b'f', node.size, nanoseconds(node.modified)),
            Kind::Directory => (b'd', 0, 0),
            Kind::Link => (b'l', 0, 0),
            Kind::Other => (b'o', 0, 0),
        };
        // A path has no NUL in it.
        hasher.update(path.to_bytes());
        hasher.update([0, kind]);
        hasher.update(size.to_be_bytes());
        hasher.update(time.to_be_bytes());
    }
    Print(hex::encode(hasher.finalize()))
}

fn nanoseconds(time: SystemTime) -> i128 {
    let nanoseconds =
        |duration: std::time::Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => nanoseconds(after),
        Err(before) => -nanoseconds(before.duration()),
    }
}
