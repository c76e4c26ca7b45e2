//! Which paths are meant: patterns to include and exclude, the first that fits decides.

use fast_glob::glob_match;
use pasarela_store::VirtualPath;
use serde::{Deserialize, Serialize};

/// An ordered list of patterns. The first that fits a path decides. Where none fits, the path is meant, except for
/// files when there are only patterns to include.
///
/// A pattern with a slash that is not its last character is taken from the root of the tree, any other fits a name at
/// any depth; with a slash at its end it fits folders only. `*` and `?` stop at slashes, `**` does not; `[a-z]`,
/// `{a,b}` and `\` work as in a shell. What lies in an excluded folder is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rule {
    include: bool,
    pattern: String,
}

/// A pattern that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a pattern is missing")]
pub struct BadFilter {
    /// The line, from 1.
    pub line: usize,
}

impl Filter {
    /// Adds a pattern whose paths are meant.
    pub fn include(&mut self, pattern: &str) {
        self.add(true, pattern);
    }

    /// Adds a pattern whose paths are not meant.
    pub fn exclude(&mut self, pattern: &str) {
        self.add(false, pattern);
    }

    /// Adds the patterns of a text, one a line: `+ PATTERN` includes, `- PATTERN` or a pattern alone excludes; empty
    /// lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// [`BadFilter`] where a sign has no pattern.
    pub fn add_lines(&mut self, text: &str) -> Result<(), BadFilter> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (include, pattern) = match (line.strip_prefix('+'), line.strip_prefix('-')) {
                (Some(rest), _) if rest.is_empty() || rest.starts_with(' ') => (true, rest.trim_start()),
                (_, Some(rest)) if rest.is_empty() || rest.starts_with(' ') => (false, rest.trim_start()),
                _ => (false, line),
            };
            if pattern.trim_matches('/').is_empty() {
                return Err(BadFilter { line: number + 1 });
            }
            self.add(include, pattern);
        }
        Ok(())
    }

    fn add(&mut self, include: bool, pattern: &str) {
        self.0.push(Rule {
            include,
            pattern: pattern.into(),
        });
    }

    /// Whether files that no pattern fits are left out, and with them folders that hold nothing else.
    pub(super) fn is_choosy(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|rule| rule.include)
    }

    /// Whether a path from the tree's root is meant.
    pub(super) fn means(&self, path: &VirtualPath, is_dir: bool) -> bool {
        let text = path.to_bytes();
        let text = text.strip_prefix(b"/").unwrap_or(&text);
        let name = path.name().unwrap_or_default();
        let first = self.0.iter().find(|rule| {
            let pattern = rule.pattern.as_str();
            let (pattern, only_dirs) = match pattern.strip_suffix('/') {
                Some(pattern) => (pattern, true),
                None => (pattern, false),
            };
            let fits = match pattern.strip_prefix('/') {
                Some(pattern) => glob_match(pattern, text),
                None if pattern.contains('/') => glob_match(pattern, text),
                None => glob_match(pattern, name),
            };
            fits && (is_dir || !only_dirs)
        });
        match first {
            Some(rule) => rule.include,
            None => is_dir || !self.is_choosy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(filter: &Filter, path: &str) -> bool {
        let is_dir = path.ends_with('/');
        filter.means(&VirtualPath::root().resolve(path.as_bytes()).unwrap(), is_dir)
    }

    #[test]
    fn the_first_pattern_that_fits_decides() {
        let mut filter = Filter::default();
        filter
            .add_lines("# kept\n+ keep.o\n\n- *.o\ncache/\n- /top\nsub/*.tmp\n**/deep/*.x\n")
            .unwrap();
        for path in ["keep.o", "a/keep.o", "cache", "a/top", "x/sub/a.tmp", "a.c"] {
            assert!(means(&filter, path), "{path}");
        }
        for path in [
            "a.o",
            "a/b/c.o",
            "cache/",
            "a/cache/",
            "top",
            "sub/a.tmp",
            "a/b/deep/f.x",
        ] {
            assert!(!means(&filter, path), "{path}");
        }
        assert_eq!(filter.add_lines("a\n- \n"), Err(BadFilter { line: 2 }));
    }

    #[test]
    fn patterns_to_include_alone_leave_all_other_files_out() {
        let mut filter = Filter::default();
        filter.include("*.jpg");
        assert!(means(&filter, "a/b.jpg") && means(&filter, "a/"));
        assert!(!means(&filter, "a/b.png"));
        filter.exclude("private/");
        assert!(means(&filter, "a/b.png") && !means(&filter, "private/"));
    }
}
