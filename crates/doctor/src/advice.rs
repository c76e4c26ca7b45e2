//! What can be found: the stable ids, how bad each is, and what to do about it.
//!
//! Each table is of one examination. docs/doctor.md has a row for every id; a test holds the two against each other.

pub mod network;
pub mod opening;
pub mod server;

use crate::finding::Severity;

/// A kind of finding. Its id is stable: programs may branch on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `area.what`, in lower case with hyphens.
    pub id: &'static str,
    /// How bad it is by itself.
    pub severity: Severity,
    /// What the process ends with where this is the culprit; as the exit codes of the client.
    pub exit_code: u8,
    /// How specific it is: of two that are equally bad and equally certain, the higher one is named.
    pub rank: u8,
    /// What it means, for docs/doctor.md.
    pub means: &'static str,
    /// What to do and who can; empty: nothing.
    pub advice: &'static str,
}

/// Makes a constant of each kind and a table `KINDS` of all of them.
macro_rules! kinds {
    ($($name:ident = $id:literal, $severity:ident, exit $exit:literal, rank $rank:literal,
        $means:literal, $advice:literal;)*) => {
        $(
            #[doc = $means]
            pub static $name: $crate::advice::Kind = $crate::advice::Kind {
                id: $id,
                severity: $crate::finding::Severity::$severity,
                exit_code: $exit,
                rank: $rank,
                means: $means,
                advice: $advice,
            };
        )*

        /// All of them, in the order of the examination.
        pub static KINDS: &[&$crate::advice::Kind] = &[$(&$name),*];
    };
}
pub(crate) use kinds;

/// The tables of all examinations.
static TABLES: &[&[&Kind]] = &[server::KINDS, network::KINDS, opening::KINDS];

/// Every kind there is.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    TABLES.iter().flat_map(|table| table.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_id_is_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for kind in all() {
            assert!(seen.insert(kind.id), "{} comes twice", kind.id);
            let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
            assert!(
                kind.id.bytes().all(is_word) && kind.id.contains('.'),
                "{}",
                kind.id
            );
            assert!(!kind.means.is_empty(), "{}", kind.id);
            let is_bad = kind.severity >= Severity::Warning;
            assert!(
                !is_bad || !kind.advice.is_empty(),
                "{} leaves people alone",
                kind.id
            );
            assert_eq!(
                kind.severity == Severity::Failure,
                kind.exit_code != 0,
                "{}",
                kind.id
            );
        }
    }

    #[test]
    fn the_documentation_has_every_id() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md")).unwrap();
        let rows: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(id, rest)| (id.to_owned(), rest.to_owned()))
            .collect();
        let kinds: BTreeSet<_> = all()
            .map(|kind| {
                let row = format!("{} | {} | {} |", kind.severity.word(), kind.exit_code, kind.means);
                (kind.id.to_owned(), row)
            })
            .collect();
        let missing: Vec<_> = kinds.difference(&rows).collect();
        let stale: Vec<_> = rows.difference(&kinds).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "missing: {missing:#?}\nstale: {stale:#?}"
        );
    }
}
