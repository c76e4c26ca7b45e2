//! What TAB offers in a shell: commands, flags, saved places, and names of both sides.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use pasarela_store::Kind;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use tokio::runtime::Handle;

use super::order;
use super::words::{Typed, quoted, typed};
use crate::cli::files::open::Opener;
use crate::cli::files::show;

/// Nobody wants to wait longer for a list of names.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names of a folder that are looked at, at most.
const MOST: usize = 5_000;
/// How long a listing is good for while nothing else is done.
const FRESH: Duration = Duration::from_secs(20);

/// What a line is completed with.
pub(super) struct Offers {
    runtime: Handle,
    /// As the next command will see operands.
    pub(super) opener: Opener,
    /// The last listings: operand, side, when, and names with whether each is a folder.
    listed: RefCell<Vec<Listed>>,
}

struct Listed {
    folder: String,
    is_local: bool,
    at: Instant,
    names: Vec<(String, bool)>,
}

impl Offers {
    pub(super) fn new(runtime: Handle, opener: Opener) -> Self {
        Self {
            runtime,
            opener,
            listed: RefCell::default(),
        }
    }

    /// Something may have changed.
    pub(super) fn forget(&self) {
        self.listed.borrow_mut().clear();
    }

    /// What can stand where `word` is being typed: texts, and whether each is complete.
    fn of(&self, word: &Typed) -> Vec<(String, bool)> {
        let all = order::command();
        let Some(verb) = word.before.first() else {
            let names = all.get_subcommands().map(|command| command.get_name().to_owned());
            let mut names: Vec<_> = names.filter(|name| name.starts_with(&word.text)).collect();
            names.sort();
            return names.into_iter().map(|name| (name, true)).collect();
        };
        let Some(command) = all.find_subcommand(verb) else {
            return Vec::new();
        };
        if word.text.starts_with('-') {
            let longs = command.get_arguments().filter(|argument| !argument.is_hide_set());
            let longs = longs.filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
            return longs
                .filter(|long| long.starts_with(&word.text))
                .map(|long| (long, true))
                .collect();
        }
        let operands = word.before[1..]
            .iter()
            .filter(|word| !word.starts_with('-'))
            .count();
        match command.get_name() {
            "help" => {
                let names = all.get_subcommands().map(|command| command.get_name().to_owned());
                names
                    .filter(|name| name.starts_with(&word.text))
                    .map(|name| (name, true))
                    .collect()
            }
            "open" => {
                let names = self.opener.saved_names().into_iter();
                let names = names.filter(|name| name.starts_with(&word.text));
                names.map(|name| (name + ":", false)).collect()
            }
            "put" | "lls" => self.paths(&word.text, true, false),
            "lcd" => self.paths(&word.text, true, true),
            "cd" => self.paths(&word.text, false, true),
            "get" if operands > 0 => self.paths(&word.text, true, false),
            "ls" | "get" | "sync" | "cat" | "rm" | "mkdir" | "mv" | "stat" | "hash" => {
                self.paths(&word.text, false, false)
            }
            _ => Vec::new(),
        }
    }

    fn paths(&self, text: &str, is_local: bool, folders_only: bool) -> Vec<(String, bool)> {
        // Behind the last slash, or behind a mark.
        let end = text
            .rfind('/')
            .or_else(|| text.find(':'))
            .map_or(0, |end| end + 1);
        let (folder, begun) = text.split_at(end);
        let names = self.names(folder, is_local).unwrap_or_default().into_iter();
        let fitting = names.filter(|(name, is_folder)| {
            name.starts_with(begun)
                && (begun.starts_with('.') || !name.starts_with('.'))
                && (*is_folder || !folders_only)
        });
        fitting
            .map(|(name, is_folder)| match is_folder {
                true => (format!("{folder}{name}/"), false),
                false => (format!("{folder}{name}"), true),
            })
            .collect()
    }

    /// The names in a folder, where they can be had soon.
    fn names(&self, folder: &str, is_local: bool) -> Option<Vec<(String, bool)>> {
        let is_it = |listed: &&Listed| listed.folder == folder && listed.is_local == is_local;
        if let Some(listed) = self.listed.borrow().iter().find(is_it)
            && listed.at.elapsed() < FRESH
        {
            return Some(listed.names.clone());
        }
        let opener = if is_local {
            self.opener.here()
        } else {
            self.opener.clone()
        };
        let operand = if folder.is_empty() { "." } else { folder };
        // A key that is pressed opens no connection and asks for no password.
        if !opener.is_near(operand) {
            return None;
        }
        let listing = async {
            tokio::time::timeout(PATIENCE, list(&opener, operand))
                .await
                .ok()?
        };
        let names = self.runtime.block_on(listing)?;
        let mut listed = self.listed.borrow_mut();
        listed.retain(|listed| !is_it(&listed) && listed.at.elapsed() < FRESH);
        listed.push(Listed {
            folder: folder.to_owned(),
            is_local,
            at: Instant::now(),
            names: names.clone(),
        });
        Some(names)
    }
}

async fn list(opener: &Opener, operand: &str) -> Option<Vec<(String, bool)>> {
    let place = opener.open(operand).await.ok()?;
    let mut pages = place.remote.list(&place.path).await.ok()?;
    let mut names = Vec::new();
    while let Some(page) = pages.next_page().await.ok()? {
        // What cannot be typed, or would be several names, is left out.
        names.extend(page.into_iter().filter_map(|entry| {
            let name = String::from_utf8(entry.name)
                .ok()
                .filter(|name| !name.contains(['/', '\n']))?;
            Some((name, entry.metadata.kind == Kind::Directory))
        }));
        if names.len() >= MOST {
            break;
        }
    }
    names.sort();
    Some(names)
}

impl Completer for Offers {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let word = typed(line.get(..pos).unwrap_or(line));
        let offers = self.of(&word).into_iter().map(|(text, is_complete)| {
            let mut replacement = quoted(&text, word.quote);
            if is_complete {
                replacement.extend(word.quote);
                replacement.push(' ');
            }
            Pair {
                // The server says what its names are.
                display: show::escaped(text.as_bytes()),
                replacement,
            }
        });
        Ok((word.start, offers.collect()))
    }
}

impl Hinter for Offers {
    type Hint = String;
}

impl Highlighter for Offers {}

impl Validator for Offers {}

impl Helper for Offers {}
