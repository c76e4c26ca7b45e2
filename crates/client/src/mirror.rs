//! Many files: a target tree made like a source tree, by a plan that can be shown, kept and carried out later.

mod apply;
mod compare;
mod filter;
mod names;
mod plan;
mod saved;
mod steps;
mod tree;

pub use apply::{Failed, Summary, apply, make_dirs};
pub use compare::Compare;
pub use filter::{BadFilter, Filter};
pub use plan::plan;
pub use saved::BadPlan;
pub use steps::{Note, NoteKind, Plan, Print, Step, check_fresh};
pub use tree::Links;

use crate::transfer;

/// How a tree is made like another.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When a file that stands at both places is copied.
    pub compare: Compare,
    /// Leaves alone what is newer at the target.
    pub update: bool,
    /// Removes from the target what the source does not have. What the filter hides is not removed.
    pub delete: bool,
    /// Which files are meant at all, at both places.
    pub filter: Filter,
    /// What becomes of links at the source.
    pub links: Links,
    /// How many files, and listings, at once; fewer where a place takes fewer.
    pub jobs: usize,
    /// How each file is transferred.
    pub transfer: transfer::Options,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            compare: Compare::SizeAndTime,
            update: false,
            delete: false,
            filter: Filter::default(),
            links: Links::Skip,
            jobs: 4,
            transfer: transfer::Options::default(),
        }
    }
}

/// Why there is no plan, or why it is not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A place could not be listed, or a file there not be compared.
    #[error("{end}: {}", transfer::sentence(error))]
    Place {
        /// Which.
        end: transfer::End,
        /// How.
        #[source]
        error: pasarela_store::Error,
    },
    /// More files than anybody means.
    #[error("the {0} holds more than {most} files and folders", most = tree::MOST_ENTRIES)]
    TooMany(transfer::End),
    /// A place is not what it was when the plan was made.
    #[error("the {0} changed since the plan was made")]
    Stale(transfer::End),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

#[cfg(test)]
mod tests;
