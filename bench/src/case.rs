//! The table of cases: what is measured under which name.

use crate::measure::{self, Measure};

/// What a server is given to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Fetch one large file.
    Retr,
    /// Send one large file; `safe` asks us to have it on stable storage.
    Stor { safe: bool },
    /// Fetch small files, a data connection each.
    SmallRetr { sessions: usize },
    /// Send small files.
    SmallStor { sessions: usize },
    /// Connect, log in, QUIT.
    Login { workers: usize },
    /// LIST of a small folder.
    List,
    /// MLSD of a small folder.
    Mlsd,
    /// LIST of a huge folder.
    HugeList,
    /// MLSD of a huge folder.
    HugeMlsd,
    /// Sessions that are logged in and say nothing.
    Idle { sessions: usize },
    /// Many downloads at once to clients on slow lines.
    Slow { sessions: usize },
    /// Nothing: what this machine can do.
    Machine,
    /// Lines to our parsers, without a server.
    Parsers,
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    /// Whether commands and data are protected by TLS 1.3.
    pub(crate) tls: bool,
    /// Whether it is run when none is named.
    pub(crate) usual: bool,
    pub(crate) about: &'static str,
}

const fn case(name: &'static str, load: Load, about: &'static str) -> Case {
    Case {
        name,
        load,
        tls: false,
        usual: true,
        about,
    }
}

impl Case {
    const fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    const fn on_request(self) -> Self {
        Self { usual: false, ..self }
    }

    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }

    /// Those that words name: each a name, or a beginning with `*` behind it; the usual ones for no word.
    ///
    /// # Errors
    /// A word that names none.
    pub(crate) fn choose(words: &[String]) -> Result<Vec<&'static Self>, String> {
        if words.is_empty() {
            return Ok(CASES.iter().filter(|case| case.usual).collect());
        }
        let mut chosen: Vec<&'static Self> = Vec::new();
        for word in words {
            let named: Vec<_> = CASES
                .iter()
                .filter(|case| match word.strip_suffix('*') {
                    Some(start) => case.name.starts_with(start),
                    None => case.name == word,
                })
                .collect();
            if named.is_empty() {
                return Err(word.clone());
            }
            for case in named {
                if !chosen.contains(&case) {
                    chosen.push(case);
                }
            }
        }
        Ok(chosen)
    }

    /// Whether it has nothing to do with a server.
    pub(crate) fn is_without_server(&self) -> bool {
        matches!(self.load, Load::Machine | Load::Parsers)
    }

    /// Whether it needs the huge folder.
    pub(crate) fn is_huge(&self) -> bool {
        matches!(self.load, Load::HugeList | Load::HugeMlsd)
    }

    /// Whether uploads are to be on stable storage.
    pub(crate) fn is_safe(&self) -> bool {
        self.load == Load::Stor { safe: true }
    }

    /// Whether a server must not have done anything before: its memory is looked at.
    pub(crate) fn wants_a_fresh_server(&self) -> bool {
        self.is_huge() || matches!(self.load, Load::Idle { .. } | Load::Slow { .. })
    }

    /// The columns of its table.
    pub(crate) fn measures(&self) -> &'static [&'static Measure] {
        match self.load {
            Load::Retr | Load::Stor { .. } => {
                &[&measure::SPEED, &measure::CPU_OF_GIB, &measure::CLIENT_OF_GIB]
            }
            Load::SmallRetr { .. } | Load::SmallStor { .. } => &[
                &measure::FILES,
                &measure::CPU_OF_ONE,
                &measure::P50,
                &measure::P99,
                &measure::CLIENT_OF_ONE,
                &measure::REFUSED,
            ],
            Load::Login { .. } => &[
                &measure::LOGINS,
                &measure::CPU_OF_ONE,
                &measure::P50,
                &measure::P99,
                &measure::CLIENT_OF_ONE,
                &measure::REFUSED,
            ],
            Load::List | Load::Mlsd => &[
                &measure::P50,
                &measure::P99,
                &measure::CPU_OF_ONE,
                &measure::CLIENT_OF_ONE,
                &measure::REFUSED,
            ],
            Load::HugeList | Load::HugeMlsd => &[
                &measure::FIRST,
                &measure::TOTAL,
                &measure::CPU_OF_LIST,
                &measure::PEAK,
            ],
            Load::Idle { .. } => &[&measure::SESSION, &measure::NOOP_P99, &measure::PROCESSES],
            Load::Slow { .. } => &[
                &measure::COMPLETE,
                &measure::LAST,
                &measure::STALL,
                &measure::CPU_OF_GIB,
                &measure::SESSION,
            ],
            Load::Machine => &[
                &measure::MEMCPY,
                &measure::AES128,
                &measure::AES256,
                &measure::FSYNC_P50,
                &measure::FSYNC_P99,
            ],
            Load::Parsers => &[
                &measure::LINE_COMMAND,
                &measure::LINE_LIST,
                &measure::LINE_MLSD,
                &measure::LINE_READ_LIST,
                &measure::LINE_READ_MLSD,
            ],
        }
    }
}

const FAST: Load = Load::Stor { safe: false };
const SAFE: Load = Load::Stor { safe: true };

#[rustfmt::skip] // a row a case
pub(crate) static CASES: &[Case] = &[
    case("machine", Load::Machine, "memory, ciphers and the folder's disk, without any server"),
    case("parsers", Load::Parsers, "instructions a line in our parsers and writers; needs valgrind").on_request(),
    case("retr", Load::Retr, "one large file down"),
    case("stor", FAST, "one large file up"),
    case("stor-safe", SAFE, "one large file up; ours with --durability safe: use --dir on a disk"),
    case("retr-tls", Load::Retr, "one large file down").tls(),
    case("stor-tls", FAST, "one large file up").tls(),
    case("small-retr-1", Load::SmallRetr { sessions: 1 }, "files of 4 KiB down, 1 session"),
    case("small-retr-8", Load::SmallRetr { sessions: 8 }, "files of 4 KiB down, 8 sessions"),
    case("small-retr-64", Load::SmallRetr { sessions: 64 }, "files of 4 KiB down, 64 sessions"),
    case("small-stor-1", Load::SmallStor { sessions: 1 }, "files of 4 KiB up, 1 session"),
    case("small-stor-8", Load::SmallStor { sessions: 8 }, "files of 4 KiB up, 8 sessions"),
    case("small-stor-64", Load::SmallStor { sessions: 64 }, "files of 4 KiB up, 64 sessions"),
    case("small-retr-tls-1", Load::SmallRetr { sessions: 1 }, "files of 4 KiB down, 1 session").tls(),
    case("small-retr-tls-8", Load::SmallRetr { sessions: 8 }, "files of 4 KiB down, 8 sessions").tls(),
    case("small-retr-tls-64", Load::SmallRetr { sessions: 64 }, "files of 4 KiB down, 64 sessions").tls(),
    case("small-stor-tls-1", Load::SmallStor { sessions: 1 }, "files of 4 KiB up, 1 session").tls(),
    case("small-stor-tls-8", Load::SmallStor { sessions: 8 }, "files of 4 KiB up, 8 sessions").tls(),
    case("small-stor-tls-64", Load::SmallStor { sessions: 64 }, "files of 4 KiB up, 64 sessions").tls(),
    case("login-1", Load::Login { workers: 1 }, "connect, log in, QUIT; one after the other"),
    case("login-16", Load::Login { workers: 16 }, "connect, log in, QUIT; 16 at once"),
    case("login-tls-1", Load::Login { workers: 1 }, "connect, log in, QUIT; one after the other").tls(),
    case("login-tls-16", Load::Login { workers: 16 }, "connect, log in, QUIT; 16 at once").tls(),
    case("list", Load::List, "PASV, connect, LIST of 100 entries, 226"),
    case("mlsd", Load::Mlsd, "PASV, connect, MLSD of 100 entries, 226"),
    case("list-huge", Load::HugeList, "LIST of 100,000 entries"),
    case("mlsd-huge", Load::HugeMlsd, "MLSD of 100,000 entries"),
    case("idle-1000", Load::Idle { sessions: 1000 }, "1,000 sessions that say nothing"),
    case("idle-tls-1000", Load::Idle { sessions: 1000 }, "1,000 sessions that say nothing").tls(),
    case("idle-10000", Load::Idle { sessions: 10_000 }, "10,000 sessions that say nothing; may need 5 GiB").on_request(),
    case("idle-tls-10000", Load::Idle { sessions: 10_000 }, "10,000 sessions that say nothing; may need 10 GiB").tls().on_request(),
    case("slow-1000", Load::Slow { sessions: 1000 }, "1,000 downloads at once, 256 KiB/s each"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Result<Vec<&'static str>, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(Case::choose(&words)?.iter().map(|case| case.name).collect())
    }

    #[test]
    fn cases_are_chosen_by_name_or_by_how_names_begin() {
        assert_eq!(names(&["stor", "retr"]).unwrap(), ["stor", "retr"]);
        assert_eq!(
            names(&["stor*", "stor"]).unwrap(),
            ["stor", "stor-safe", "stor-tls"]
        );
        assert_eq!(names(&["nothing"]), Err("nothing".to_owned()));
        assert_eq!(names(&["nothing*"]), Err("nothing*".to_owned()));
        let usual = names(&[]).unwrap();
        assert!(usual.contains(&"retr") && !usual.contains(&"idle-10000"));
    }

    #[test]
    fn every_case_has_columns_and_a_name_of_its_own() {
        for (number, case) in CASES.iter().enumerate() {
            assert!(!case.measures().is_empty());
            assert!(CASES[..number].iter().all(|other| other.name != case.name));
        }
    }
}
