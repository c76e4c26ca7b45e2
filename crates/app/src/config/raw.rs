//! Values as they were written, each with where it was: defaults, then the file, then flags.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS};
use crate::failure::Problem;

/// The values of all keys, and the accounts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    /// The configuration file that was read.
    pub(crate) file: Option<PathBuf>,
    /// By path.
    pub(crate) values: BTreeMap<&'static str, Found>,
    /// The `[[user]]` tables, each by path.
    pub(crate) users: Vec<Account>,
}

/// One `[[user]]`.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Where it begins.
    pub(crate) origin: Origin,
    /// By path.
    pub(crate) values: BTreeMap<&'static str, Found>,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Nobody named it.
    Default,
    /// The configuration file, at this line and column, both from 1.
    File(usize, usize),
    /// A flag, as it is typed.
    Flag(String),
}

/// A value of the shapes that keys have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
    List(Vec<Found>),
    Table(BTreeMap<String, Found>),
}

impl Value {
    /// A list of texts from a flag that may come several times.
    pub(crate) fn texts(texts: &[String]) -> Self {
        let item = |text: &String| Found {
            value: Self::Text(text.clone()),
            origin: Origin::Default,
        };
        Self::List(texts.iter().map(item).collect())
    }
}

impl fmt::Display for Value {
    /// As TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => toml::Value::from(text.as_str()).fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Truth(truth) => truth.fmt(f),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.value.to_string()).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Table(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(name, item)| format!("{name} = {}", item.value))
                    .collect();
                write!(f, "{{ {} }}", entries.join(", "))
            }
        }
    }
}

impl Raw {
    /// Every key that has a default.
    pub(crate) fn defaults() -> Self {
        let mut raw = Self::default();
        let problems = Reading {
            text: &keys::default_document(),
            place: None,
            raw: &mut raw,
        }
        .document();
        debug_assert!(problems.is_empty(), "the defaults do not parse: {problems:?}");
        raw
    }

    /// Adds what a configuration file says.
    ///
    /// # Errors
    /// Everything that is wrong with its syntax and its keys, in the order of the file.
    pub(crate) fn read_file(&mut self, path: &Path) -> Result<(), Vec<Problem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![
                Problem::new(format!("{}: {error}", path.display()))
                    .hint("`pasarela config default` prints a complete configuration to begin with"),
            ]
        })?;
        self.file = Some(path.to_owned());
        let problems = Reading {
            text: &text,
            place: Some(path),
            raw: self,
        }
        .document();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Adds what the flag of a key says.
    pub(crate) fn set(&mut self, path: &str, value: Value) {
        let flag = keys::named(path).flag.map(keys::flag_name).unwrap_or_default();
        self.set_by(&flag, path, value);
    }

    /// Adds what a flag says that is not named like its key.
    pub(crate) fn set_by(&mut self, flag: &str, path: &str, value: Value) {
        self.values.insert(
            keys::named(path).path,
            Found {
                value,
                origin: Origin::Flag(flag.to_owned()),
            },
        );
    }

    /// Where `origin` is, as messages write it before what is wrong.
    pub(crate) fn place(&self, origin: &Origin) -> String {
        place(self.file.as_deref(), origin)
    }
}

fn place(file: Option<&Path>, origin: &Origin) -> String {
    match (origin, file) {
        (Origin::Default, _) => "default".into(),
        (Origin::File(line, column), Some(file)) => format!("{}:{line}:{column}", file.display()),
        (Origin::File(line, column), None) => format!("{line}:{column}"),
        (Origin::Flag(flag), _) => flag.clone(),
    }
}

/// One document being read; `place` is `None` for the defaults.
struct Reading<'a> {
    text: &'a str,
    place: Option<&'a Path>,
    raw: &'a mut Raw,
}

impl Reading<'_> {
    fn document(mut self) -> Vec<Problem> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut problems: Vec<(Origin, Problem)> = errors
            .iter()
            .map(|error| {
                let origin = self.origin(error.span().unwrap_or_default());
                let problem = self.problem(&origin, Problem::new(error.message()));
                (origin, problem)
            })
            .collect();
        // A broken line may hide keys or move them into another section: what follows would be guesswork.
        if problems.is_empty() {
            self.section("", table.get_ref(), &mut problems);
        }
        problems.sort_by(|(a, _), (b, _)| a.cmp(b));
        problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// Takes the keys of a section, and of the sections beneath it.
    fn section(&mut self, section: &str, table: &DeTable<'_>, problems: &mut Vec<(Origin, Problem)>) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            let origin = self.origin(name.span());
            let wrong = if path == "user" {
                self.users(value.get_ref(), &origin, problems)
            } else if let Some(key) = keys::find(&path) {
                match self.found(value) {
                    Ok(found) => {
                        self.raw.values.insert(key.path, found);
                        None
                    }
                    Err(wrong) => Some(wrong),
                }
            } else if keys::beneath(&path).is_empty() {
                Some(unknown(section, name.get_ref()))
            } else if let Some(table) = value.get_ref().as_table() {
                self.section(&path, table, problems);
                None
            } else {
                Some(Problem::new(format!("`{path}` is a section")).hint(format!("write [{path}]")))
            };
            problems.extend(wrong.map(|wrong| (origin.clone(), self.problem(&origin, wrong))));
        }
    }

    /// Takes the accounts.
    fn users(
        &mut self,
        value: &DeValue<'_>,
        origin: &Origin,
        problems: &mut Vec<(Origin, Problem)>,
    ) -> Option<Problem> {
        let accounts = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| Some((item.span(), item.get_ref().as_table()?)))
                .collect::<Option<Vec<_>>>()
        });
        let Some(accounts) = accounts else {
            return Some(Problem::new("`user` is a list of accounts").hint("write [[user]] before each"));
        };
        for (span, table) in accounts {
            let mut values = BTreeMap::new();
            for (name, value) in table {
                let place = self.origin(name.span());
                let wrong = match (keys::find(&join("user", name.get_ref())), self.found(value)) {
                    (Some(key), Ok(found)) => {
                        values.insert(key.path, found);
                        continue;
                    }
                    (Some(_), Err(wrong)) => wrong,
                    (None, _) => unknown("user", name.get_ref()),
                };
                problems.push((place.clone(), self.problem(&place, wrong)));
            }
            let origin = if span.is_empty() {
                origin.clone()
            } else {
                self.origin(span)
            };
            self.raw.users.push(Account { origin, values });
        }
        None
    }

    fn found(&self, value: &toml::Spanned<DeValue<'_>>) -> Result<Found, Problem> {
        let origin = self.origin(value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(truth) => Value::Truth(*truth),
            DeValue::Integer(number) => Value::Number(
                i64::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| Problem::new(format!("`{number}` is too large")))?,
            ),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| self.found(item))
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(entries) => Value::Table(
                entries
                    .iter()
                    .map(|(name, item)| Ok((name.get_ref().to_string(), self.found(item)?)))
                    .collect::<Result<_, Problem>>()?,
            ),
            other @ (DeValue::Float(_) | DeValue::Datetime(_)) => {
                return Err(Problem::new(format!("no key takes a {}", other.type_str())));
            }
        };
        Ok(Found { value, origin })
    }

    /// Line and column of a span.
    fn origin(&self, span: Range<usize>) -> Origin {
        if self.place.is_none() {
            return Origin::Default;
        }
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Origin::File(
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    fn problem(&self, origin: &Origin, wrong: Problem) -> Problem {
        wrong.at(&place(self.place, origin))
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// A key that nobody knows, with the nearest one that is known.
fn unknown(section: &str, name: &str) -> Problem {
    let wrong = Problem::new(match section {
        "" => format!("unknown section or key `{name}`"),
        "user" => format!("unknown key `{name}` in [[user]]"),
        _ => format!("unknown key `{name}` in [{section}]"),
    });
    let siblings = keys::beneath(section);
    if let Some(near) = nearest(name, siblings.iter().copied()) {
        return wrong.hint(format!("did you mean `{near}`?"));
    }
    // The right name in the wrong section.
    if let Some(key) = KEYS.iter().find(|key| key.name() == name) {
        return wrong.hint(format!("`{name}` belongs to [{}]", key.section()));
    }
    wrong.hint(format!("known here: {}", siblings.join(", ")))
}

/// The candidate that takes the fewest edits, where they are few for its length.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that turn `from` into `to` (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}
