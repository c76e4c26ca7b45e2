//! The options that clients put before the pathname of LIST, NLST and STAT, as if these were `ls`.

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one option letter, independent of the others"
)]
pub struct Options {
    /// `-l`: long lines (NLST).
    pub long: bool,
    /// `-1`: names alone (LIST).
    pub names: bool,
    /// `-a`: `.` and `..` too.
    pub dots: bool,
    /// `-R`: directories within directories.
    pub recursive: bool,
    /// `-d`: the directory itself.
    pub directory: bool,
    /// `-F`: a mark behind the name tells its kind.
    pub classify: bool,
    /// What to sort by; small folders only.
    pub sort: Sort,
    /// `-r`: the other way round.
    pub reverse: bool,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// As the store gives them.
    #[default]
    None,
    /// `-t`: newest first.
    Time,
    /// `-S`: largest first.
    Size,
}

/// Splits an argument into options and pathname. An argument that begins with `-` counts as options only if all
/// its letters could be `ls` options; `--` ends them.
#[must_use]
pub fn split(argument: &[u8]) -> (Options, &[u8]) {
    let mut options = Options::default();
    let mut rest = argument;
    loop {
        let word_end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_end);
        let behind = behind.strip_prefix(b" ").unwrap_or(behind);
        if word == b"--" {
            return (options, behind);
        }
        let Some(letters) = word.strip_prefix(b"-") else {
            return (options, rest);
        };
        if letters.is_empty()
            || !letters
                .iter()
                .all(|b| b"1AaBbCcdFfGgHhiLlmNnopQqRrSsTtuUvwXxZ".contains(b))
        {
            return (options, rest);
        }
        for letter in letters {
            match letter {
                b'l' | b'n' | b'o' | b'g' => options.long = true,
                b'1' => options.names = true,
                b'a' => options.dots = true,
                b'R' => options.recursive = true,
                b'd' => options.directory = true,
                b'F' => options.classify = true,
                b't' => options.sort = Sort::Time,
                b'S' => options.sort = Sort::Size,
                b'r' => options.reverse = true,
                _ => {}
            }
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_before_the_pathname() {
        assert_eq!(split(b""), (Options::default(), &b""[..]));
        assert_eq!(split(b"a b"), (Options::default(), &b"a b"[..]));
        let (options, path) = split(b"-la -R some dir");
        assert!(options.long && options.dots && options.recursive);
        assert_eq!(path, b"some dir");
        assert_eq!(split(b"-- -l").1, b"-l");
    }

    #[test]
    fn a_name_that_only_looks_like_options_is_a_name() {
        assert_eq!(split(b"-file.txt"), (Options::default(), &b"-file.txt"[..]));
        assert_eq!(split(b"-"), (Options::default(), &b"-"[..]));
    }
}
