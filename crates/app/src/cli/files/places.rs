//! Saved places: names for servers, folders there, and how they are reached, in the file `places.toml`.

use std::path::PathBuf;

use pasarela_client::Url;

use super::keeping::Keeper;
use super::open::Reaching;
use super::private::{self, Closed};
use crate::failure::Problem;

/// The file of saved places.
#[derive(Debug, Clone)]
pub(super) struct Book {
    path: PathBuf,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    pub(super) url: Url,
    /// Where its password is; `None`: nowhere.
    pub(super) keeper: Option<Keeper>,
    /// As flags would say it.
    pub(super) reaching: Reaching,
}

/// The mark of a local file in the shell; no name.
pub(super) const HERE: &str = "here";

/// An operand as `NAME:PATH`, where that can be a saved place.
pub(super) fn split(operand: &str) -> Option<(&str, &str)> {
    operand.split_once(':').filter(|(name, _)| is_name(name))
}

/// Whether a place can have this name.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && name != HERE
}

impl Book {
    /// The file need not exist.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Every place with its name, in the order of the names.
    ///
    /// # Errors
    /// The file cannot be read, or what it says is no place.
    pub(super) fn all(&self) -> Result<Vec<(String, Saved)>, Problem> {
        let table = self.parse(&private::read(&self.path, Closed::ToWriters)?)?;
        let places = table.into_iter();
        places
            .map(|(name, value)| {
                let saved = Saved::read(&name, &value);
                let saved = saved.map_err(|problem| problem.at(&self.path.display().to_string()))?;
                Ok((name, saved))
            })
            .collect()
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// As [`Self::all`], but other places may be wrong.
    pub(super) fn find(&self, name: &str) -> Result<Option<Saved>, Problem> {
        let table = self.parse(&private::read(&self.path, Closed::ToWriters)?)?;
        let saved = table.get(name).map(|value| Saved::read(name, value));
        saved
            .transpose()
            .map_err(|problem| problem.at(&self.path.display().to_string()))
    }

    /// Keeps a place under a name, instead of one that has it.
    ///
    /// # Errors
    /// As [`Self::all`], and where it cannot be written.
    pub(super) fn keep(&self, name: &str, saved: &Saved) -> Result<(), Problem> {
        self.change(name, Some(saved))
    }

    /// Forgets a name.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(super) fn forget(&self, name: &str) -> Result<(), Problem> {
        self.change(name, None)
    }

    /// Lines of other places, comments among them, stay as somebody wrote them.
    fn change(&self, name: &str, saved: Option<&Saved>) -> Result<(), Problem> {
        private::rewrite(&self.path, Closed::ToWriters, |old| {
            let mut expected = self.parse(old)?;
            expected.remove(name);
            let mut text = without(old, name);
            if let Some(saved) = saved {
                let table = saved.table();
                let section = toml::Table::from_iter([(name.to_owned(), table.clone().into())]);
                if !text.is_empty() && !text.ends_with("\n\n") {
                    text.push('\n');
                }
                text.push_str(&section.to_string());
                expected.insert(name.to_owned(), table.into());
            }
            match self.parse(&text) {
                Ok(found) if found == expected => Ok(text),
                _ => Err(
                    Problem::new(format!("has [{name}] in a form that cannot be changed here"))
                        .at(&self.path.display().to_string())
                        .hint("take it out with an editor first"),
                ),
            }
        })
    }

    fn parse(&self, text: &str) -> Result<toml::Table, Problem> {
        text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            Problem::new(format!("{}:{line}: {}", self.path.display(), error.message()))
        })
    }
}

/// A file without the section of a name.
fn without(text: &str, name: &str) -> String {
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let mut is_out = false;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        if is_header(line) {
            let word = line.trim().trim_start_matches('[');
            let word = word.split(']').next().unwrap_or_default().trim();
            is_out = word.trim_matches('"') == name;
        }
        if !is_out {
            kept.push_str(line);
        }
    }
    kept
}

impl Saved {
    fn read(name: &str, value: &toml::Value) -> Result<Self, Problem> {
        let at = |text: String| Problem::new(format!("[{name}] {text}"));
        if !is_name(name) {
            return Err(at("is no name: letters, digits, `.`, `_` and `-`".to_owned()));
        }
        let mut table = value
            .as_table()
            .cloned()
            .ok_or_else(|| at("is no place".to_owned()))?;
        let Some(toml::Value::String(url)) = table.remove("url") else {
            return Err(at("has no url".to_owned()));
        };
        let url: Url = url.parse().map_err(|error| at(format!("url: {error}")))?;
        let keeper = match table.remove("password") {
            None => None,
            Some(toml::Value::String(word)) => Some(
                Keeper::named(&word)
                    .ok_or_else(|| at("password: neither \"keyring\" nor \"file\"".to_owned()))?,
            ),
            Some(_) => return Err(at("password: no text".to_owned())),
        };
        Ok(Self {
            url,
            keeper,
            reaching: Reaching::of_table(&table).map_err(at)?,
        })
    }

    fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        table.insert("url".to_owned(), self.url.to_string().into());
        if let Some(keeper) = self.keeper {
            table.insert("password".to_owned(), keeper.name().into());
        }
        table.extend(self.reaching.table());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(url: &str, extra: &str) -> Saved {
        let table: toml::Table = format!("url = \"{url}\"\n{extra}").parse().unwrap();
        Saved::read("x", &table.into()).unwrap()
    }

    #[test]
    fn a_place_is_kept_changed_and_forgotten_and_the_others_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places.toml");
        let book = Book::at(path.clone());
        assert_eq!(book.all(), Ok(Vec::new()));
        let site = saved(
            "ftpes://anna@h/www",
            "password = \"file\"\npin = \"sha256//q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\"\nconnect-timeout = 5\nipv4 = true\nproxy = \"socks5h://127.0.0.1:1080\"",
        );
        book.keep("site", &site).unwrap();
        book.keep("b.c", &saved("ftp://h2/", "")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        private::rewrite(&path, Closed::ToWriters, |_| Ok(format!("# mine\n{text}"))).unwrap();
        assert_eq!(book.find("site"), Ok(Some(site.clone())));
        let other = saved("ftps://h3/", "insecure-plaintext = true\nproxy = \"none\"");
        book.keep("site", &other).unwrap();
        assert_eq!(book.find("site"), Ok(Some(other)));
        book.forget("site").unwrap();
        let names: Vec<_> = book.all().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b.c"]);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# mine\n"));
    }

    #[test]
    fn a_form_that_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places.toml");
        private::rewrite(&path, Closed::ToWriters, |_| {
            Ok("site = { url = \"ftp://h/\" }\n".to_owned())
        })
        .unwrap();
        let book = Book::at(path.clone());
        assert!(book.find("site").unwrap().is_some());
        assert!(book.forget("site").is_err());
        assert!(book.find("site").unwrap().is_some());
    }

    #[test]
    fn what_is_no_place_says_why() {
        for (text, expected) in [
            ("[site]\nurl = 1", "[site] has no url"),
            ("[site]\nurl = \"http://h/\"", "url: http:// is not known"),
            ("[site]\nurl = \"ftp://h/\"\nspeed = 3", "speed"),
            ("[site]\nurl = \"ftp://h/\"\npin = \"x\"", "pin"),
            ("[site]\nurl = \"ftp://h/\"\npassword = \"sesame\"", "neither"),
            ("[here]\nurl = \"ftp://h/\"", "is no name"),
            ("[site", ":1: "),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("places.toml");
            private::rewrite(&path, Closed::ToWriters, |_| Ok(text.to_owned())).unwrap();
            let problem = Book::at(path).all().unwrap_err();
            assert!(problem.message.contains(expected), "{text}: {problem:?}");
            assert!(!problem.message.contains("sesame"), "{problem:?}");
        }
    }

    #[test]
    fn an_operand_is_a_place_by_its_form() {
        assert_eq!(split("site:a/b"), Some(("site", "a/b")));
        assert_eq!(split("site:"), Some(("site", "")));
        assert_eq!(split("my.site-2:x:y"), Some(("my.site-2", "x:y")));
        for file in [
            "./site:a", "a/b:c", "/a:b", ":a", "site", "here:a", "-x:y", "a b:c",
        ] {
            assert_eq!(split(file), None, "{file}");
        }
    }
}
