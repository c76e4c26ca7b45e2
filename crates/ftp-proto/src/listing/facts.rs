//! Facts of MLST and MLSD (RFC 3659 §7).

use super::{Item, ItemKind};
use crate::time::time_val;

/// Every fact this server knows, in the order in which it tells them.
const NAMES: [&str; 8] = [
    "type",
    "size",
    "modify",
    "perm",
    "unique",
    "UNIX.mode",
    "UNIX.uid",
    "UNIX.gid",
];

/// Which facts a session wants (OPTS MLST); all of them at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactSet([bool; NAMES.len()]);

impl Default for FactSet {
    fn default() -> Self {
        Self([true; NAMES.len()])
    }
}

impl FactSet {
    /// Reads the argument of OPTS MLST, `type;size;`; unknown facts are ignored (RFC 3659 §7.9).
    #[must_use]
    pub fn parse(argument: &[u8]) -> Self {
        let mut set = [false; NAMES.len()];
        for wanted in argument.split(|b| *b == b';') {
            for (chosen, name) in set.iter_mut().zip(NAMES) {
                *chosen |= name.as_bytes().eq_ignore_ascii_case(wanted);
            }
        }
        Self(set)
    }

    /// `type*;size*;modify;` for FEAT.
    #[must_use]
    pub fn feature(&self) -> String {
        let star = |chosen: bool| if chosen { "*" } else { "" };
        NAMES
            .iter()
            .zip(self.0)
            .map(|(name, chosen)| format!("{name}{};", star(chosen)))
            .collect()
    }

    /// `type;size;` for the reply to OPTS MLST.
    #[must_use]
    pub fn chosen(&self) -> String {
        NAMES
            .iter()
            .zip(self.0)
            .filter(|(_, chosen)| *chosen)
            .map(|(name, _)| format!("{name};"))
            .collect()
    }
}

/// Appends the facts, a space and the name, without a line end.
pub fn push_facts(out: &mut Vec<u8>, item: &Item<'_>, facts: FactSet) {
    use std::fmt::Write;
    let mut text = String::with_capacity(128);
    let kind = match item.kind {
        ItemKind::File => "file",
        ItemKind::Directory => "dir",
        ItemKind::Link(_) => "OS.unix=symlink",
        ItemKind::Other => "OS.unix=special",
    };
    for (name, _) in NAMES.iter().zip(facts.0).filter(|(_, chosen)| *chosen) {
        // Writing to a String cannot fail.
        let _ = match *name {
            "type" => write!(text, "type={kind};"),
            "size" if item.kind == ItemKind::Directory => Ok(()),
            "size" => write!(text, "size={};", item.size),
            "modify" => write!(text, "modify={};", time_val(item.modified)),
            "perm" => write!(text, "perm={};", permissions(item)),
            "unique" => write!(text, "unique={:x}g{:x};", item.unique.0, item.unique.1),
            "UNIX.mode" => write!(text, "UNIX.mode={:04o};", item.mode & 0o7777),
            "UNIX.uid" => write!(text, "UNIX.uid={};", item.uid),
            _ => write!(text, "UNIX.gid={};", item.gid),
        };
    }
    out.extend_from_slice(text.as_bytes());
    out.push(b' ');
    out.extend_from_slice(item.name);
}

/// RFC 3659 §7.5.5.
fn permissions(item: &Item<'_>) -> String {
    let rights = item.rights;
    let letters: &[(char, bool)] = if item.kind == ItemKind::Directory {
        &[
            ('c', rights.write),
            ('d', rights.delete),
            ('e', rights.list),
            ('f', rights.rename),
            ('l', rights.list),
            ('m', rights.mkdir),
            ('p', rights.delete),
        ]
    } else {
        &[
            ('a', rights.append),
            ('d', rights.delete),
            ('f', rights.rename),
            ('r', rights.read),
            ('w', rights.write),
        ]
    };
    letters
        .iter()
        .filter(|(_, allowed)| *allowed)
        .map(|(letter, _)| letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Rights;
    use super::*;
    use crate::time::parse_time_val;

    fn item<'a>(kind: ItemKind<'a>) -> Item<'a> {
        Item {
            name: b"n",
            kind,
            size: 7,
            modified: parse_time_val(b"20261122141500").unwrap(),
            mode: 0o755,
            uid: 1,
            gid: 2,
            links: 1,
            unique: (0x1f, 0xab),
            rights: Rights {
                read: true,
                write: true,
                list: true,
                ..Rights::default()
            },
        }
    }

    fn line(kind: ItemKind<'_>, facts: FactSet) -> String {
        let mut out = Vec::new();
        push_facts(&mut out, &item(kind), facts);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_file_shows_all_facts_by_default() {
        assert_eq!(
            line(ItemKind::File, FactSet::default()),
            "type=file;size=7;modify=20261122141500;perm=rw;unique=1fgab;UNIX.mode=0755;UNIX.uid=1;UNIX.gid=2; n"
        );
    }

    #[test]
    fn a_session_chooses_its_facts() {
        let facts = FactSet::parse(b"Type;bogus;PERM;");
        assert_eq!(facts.chosen(), "type;perm;");
        assert_eq!(line(ItemKind::Directory, facts), "type=dir;perm=cel; n");
        assert!(facts.feature().starts_with("type*;size;modify;perm*;"));
        assert_eq!(line(ItemKind::File, FactSet::parse(b"")), " n");
    }
}
