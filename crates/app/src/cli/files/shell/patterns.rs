//! Patterns of a shell's line, as the names that they fit.

use fast_glob::glob_match;
use pasarela_store::Kind;

use super::words::Word;
use crate::cli::files::open::Opener;
use crate::cli::files::operand::is_url;
use crate::cli::files::{failed, usage};
use crate::failure::{Failure, Kind as FailureKind, Problem};

/// Names that one pattern may become, at most.
const MOST: usize = 10_000;

/// What stands before each name that an unmarked pattern becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing, where the name alone is understood.
    None,
    /// The mark of the server or of this machine: `get` and `put` tell sources from a target by it.
    Side,
}

/// The names that a word fits, in their order; the word itself where it is no pattern.
///
/// # Errors
/// A folder cannot be listed, or nothing fits.
pub(super) async fn expand(word: &Word, opener: &Opener, mark: Mark) -> Result<Vec<String>, Failure> {
    let Some(pattern) = word
        .pattern
        .as_ref()
        .filter(|_| !is_url(&word.text) && !word.text.starts_with('-'))
    else {
        return Ok(vec![word.text.clone()]);
    };
    let mut parts: Vec<&str> = pattern.split('/').collect();
    // Up to the first part with something to fit, it is a path.
    let literal = parts.iter().position(|part| is_wild(part)).unwrap_or(0);
    let wild = parts.split_off(literal);
    let mut first = wild[0];
    let mut prefix: String = parts.iter().map(|part| unescaped(part) + "/").collect();
    let is_marked = opener.is_marked(&word.text);
    if is_marked && prefix.is_empty() {
        // The mark, or the name of the place, stands before the first part.
        let end = first.find(':').map_or(0, |end| end + 1);
        prefix = unescaped(&first[..end]);
        first = &first[end..];
    }
    let mut found = vec![prefix];
    for (index, part) in std::iter::once(first)
        .chain(wild[1..].iter().copied())
        .enumerate()
    {
        let is_last = index + 1 == wild.len();
        let mut next = Vec::new();
        for folder in found {
            if part.is_empty() {
                // A slash at the end: folders alone, which they are already.
                next.push(folder);
                continue;
            }
            for (name, is_folder) in names(opener, &folder, part).await? {
                match is_last {
                    true => next.push(folder.clone() + &name),
                    false if is_folder => next.push(folder.clone() + &name + "/"),
                    false => {}
                }
            }
            if next.len() > MOST {
                return Err(usage(format!("{}: fits more than {MOST} names", word.text)));
            }
        }
        found = next;
    }
    if found.is_empty() {
        return Err(Problem::new(format!("nothing fits {}", word.text))
            .hint("in quotes it is a name as it stands")
            .fails(FailureKind::Code(7)));
    }
    let names = found.into_iter();
    Ok(match is_marked {
        true => names.collect(),
        false => names.map(|name| marked(name, opener, mark)).collect(),
    })
}

/// The names in a folder that a part of a pattern fits. Those with a dot at their beginning have to be asked for, and
/// those that are no text cannot be written in a line.
async fn names(opener: &Opener, folder: &str, part: &str) -> Result<Vec<(String, bool)>, Failure> {
    let operand = if folder.is_empty() { "." } else { folder };
    let place = opener.open(operand).await?;
    let failed = |error| failed(operand, &error);
    let mut pages = match place.remote.list(&place.path).await {
        // Between two patterns, not every folder can be looked into.
        Err(error) if error.kind == pasarela_store::ErrorKind::PermissionDenied => return Ok(Vec::new()),
        pages => pages.map_err(failed)?,
    };
    let mut found = Vec::new();
    while let Some(page) = pages.next_page().await.map_err(failed)? {
        for entry in page {
            let Ok(name) = String::from_utf8(entry.name) else {
                continue;
            };
            let is_hidden = name.starts_with('.') && !part.starts_with('.');
            if !is_hidden && !name.contains('/') && glob_match(part, &name) {
                found.push((name, entry.metadata.kind == Kind::Directory));
            }
        }
        if found.len() > MOST {
            break;
        }
    }
    found.sort();
    Ok(found)
}

fn marked(name: String, opener: &Opener, mark: Mark) -> String {
    match mark {
        Mark::Side if opener.has_folder() => format!(":{name}"),
        Mark::Side => format!("here:{name}"),
        // It would be a flag or a place.
        Mark::None if name.starts_with('-') || name.contains(':') => format!("./{name}"),
        Mark::None => name,
    }
}

fn is_wild(part: &str) -> bool {
    let mut is_escaped = false;
    part.chars().any(|c| {
        let is_wild = !is_escaped && "*?[".contains(c);
        is_escaped = !is_escaped && c == '\\';
        is_wild
    })
}

fn unescaped(part: &str) -> String {
    let mut chars = part.chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}
