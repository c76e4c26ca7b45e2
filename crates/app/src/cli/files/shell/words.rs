//! A shell's lines as words: quotes, escapes, patterns, comments, and where a command ends.

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sentence {
    /// A command of ours.
    Command {
        words: Vec<Word>,
        /// Nobody waits for it: it ended with `&`.
        is_job: bool,
        /// Its line, counted from 1.
        line: usize,
    },
    /// The rest of a line behind `!`, for the shell of the system.
    Outside {
        command: String,
        /// As above.
        line: usize,
    },
}

/// One word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Word {
    pub(super) text: String,
    /// The word as a pattern, where `*`, `?` or `[` stands in it without quotes; what is quoted is escaped.
    pub(super) pattern: Option<String>,
    /// It begins with a `~` without quotes.
    pub(super) is_home: bool,
}

/// A quote that is not closed, or nothing behind a `\`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclosed {
    pub(super) line: usize,
}

/// The word at the end of a line that somebody is typing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    /// The words before it in its command.
    pub(super) before: Vec<String>,
    /// Where it begins in the line.
    pub(super) start: usize,
    /// What it says so far.
    pub(super) text: String,
    /// The quote that is open.
    pub(super) quote: Option<char>,
}

/// Splits lines into commands.
///
/// # Errors
/// [`Unclosed`].
pub(super) fn split(text: &str) -> Result<Vec<Sentence>, Unclosed> {
    let mut scanner = Scanner::of(text);
    scanner.scan();
    match scanner.is_open() {
        true => Err(Unclosed { line: scanner.line }),
        false => {
            scanner.end_command(false);
            Ok(scanner.sentences)
        }
    }
}

/// The word that ends with the line.
pub(super) fn typed(line: &str) -> Typed {
    let mut scanner = Scanner::of(line);
    scanner.scan();
    let before = scanner.words.iter().map(|word| word.text.clone()).collect();
    let (start, text) = match (&scanner.word, scanner.outside) {
        (Some((start, word)), None) => (*start, word.text.clone()),
        _ => (line.len(), String::new()),
    };
    Typed {
        before,
        start,
        text,
        quote: scanner.quote,
    }
}

/// A word with everything escaped that means something here; within a quote where one is open.
pub(super) fn quoted(text: &str, quote: Option<char>) -> String {
    match quote {
        Some('\'') => format!("'{}", text.replace('\'', "'\\''")),
        Some(_) => format!("\"{}", escaped(text, "\"\\")),
        None => escaped(text, SPECIAL),
    }
}

/// A text that a pattern has as it stands.
pub(super) fn in_pattern(text: &str) -> String {
    escaped(text, PATTERN)
}

const SPECIAL: &str = " \t\\'\"*?[]{}#&;!~";

fn escaped(text: &str, special: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
    text: &'a str,
    line: usize,
    /// The line that the command began in.
    begun: usize,
    quote: Option<char>,
    is_escaped: bool,
    /// The word that is being read, with its start.
    word: Option<(usize, Word)>,
    words: Vec<Word>,
    sentences: Vec<Sentence>,
    /// Where a command for the shell of the system began that the end of the text has cut.
    outside: Option<usize>,
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: text.char_indices().peekable(),
            text,
            line: 1,
            begun: 1,
            quote: None,
            is_escaped: false,
            word: None,
            words: Vec::new(),
            sentences: Vec::new(),
            outside: None,
        }
    }

    fn is_open(&self) -> bool {
        self.quote.is_some() || self.is_escaped
    }

    fn scan(&mut self) {
        while let Some((at, c)) = self.rest.next() {
            let is_first = self.words.is_empty() && self.word.is_none();
            match (self.quote, c) {
                _ if self.is_escaped => {
                    self.is_escaped = false;
                    // Within "…" only what means something there is escaped; a line end is taken away.
                    if self.quote.is_some() && !"\"\\".contains(c) {
                        self.push(at, '\\', true);
                    }
                    if c != '\n' {
                        self.push(at, c, true);
                    }
                }
                (Some(quote), c) if c == quote => self.quote = None,
                (Some('"') | None, '\\') => {
                    self.begin(at);
                    self.is_escaped = true;
                }
                (Some(_), c) => self.push(at, c, true),
                (None, '\'' | '"') => {
                    self.begin(at);
                    self.quote = Some(c);
                }
                (None, '#') if self.word.is_none() => self.skip_line(),
                (None, '!') if is_first => {
                    let start = at + 1;
                    let line = self.line;
                    self.skip_line();
                    let end = self.rest.peek().map_or(self.text.len(), |(end, _)| *end);
                    let command = self.text[start..end].trim().to_owned();
                    self.outside = self.rest.peek().is_none().then_some(start);
                    self.sentences.push(Sentence::Outside { command, line });
                }
                (None, '\n' | ';') => self.end_command(false),
                (None, '&') => self.end_command(true),
                (None, c) if c.is_whitespace() => self.end_word(),
                (None, c) => self.push(at, c, false),
            }
            self.line += usize::from(c == '\n');
        }
    }

    fn begin(&mut self, at: usize) -> &mut Word {
        if self.words.is_empty() && self.word.is_none() {
            self.begun = self.line;
        }
        &mut self.word.get_or_insert_with(|| (at, Word::default())).1
    }

    fn push(&mut self, at: usize, c: char, is_quoted: bool) {
        let word = self.begin(at);
        if c == '~' && !is_quoted && word.text.is_empty() {
            word.is_home = true;
        }
        let is_wild = !is_quoted && "*?[".contains(c);
        if is_wild && word.pattern.is_none() {
            word.pattern = Some(in_pattern(&word.text));
        }
        if let Some(pattern) = &mut word.pattern {
            if !is_wild && PATTERN.contains(c) && (is_quoted || c != ']') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        word.text.push(c);
    }

    /// To the end of the line, which stays.
    fn skip_line(&mut self) {
        while self.rest.next_if(|(_, c)| *c != '\n').is_some() {}
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take().map(|(_, word)| word));
    }

    fn end_command(&mut self, is_job: bool) {
        self.end_word();
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.sentences.push(Sentence::Command {
                words,
                is_job,
                line: self.begun,
            });
        }
    }
}

/// What means something in a pattern.
const PATTERN: &str = "*?[]{}\\!";

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of each command; `&` behind a job, `!` before what is for another shell.
    fn read(text: &str) -> Vec<Vec<String>> {
        let sentences = split(text).unwrap().into_iter();
        sentences
            .map(|sentence| match sentence {
                Sentence::Command { words, is_job, .. } => {
                    let words = words.into_iter().map(|word| word.text);
                    words.chain(is_job.then(|| "&".to_owned())).collect()
                }
                Sentence::Outside { command, .. } => vec![format!("!{command}")],
            })
            .collect()
    }

    #[test]
    fn lines_become_commands() {
        assert_eq!(read("ls -l  a\tb"), [["ls", "-l", "a", "b"]]);
        assert_eq!(
            read("cd a; ls\nput x &"),
            [&["cd", "a"][..], &["ls"], &["put", "x", "&"]]
        );
        assert_eq!(
            read("a 'b c' \"d \\\" \\x\" e\\ f g''h"),
            [["a", "b c", "d \" \\x", "e f", "gh"]]
        );
        assert_eq!(read("a '' \\\nb"), [["a", "", "b"]]);
        assert_eq!(read("# all\nls # rest\nls a#b"), [&["ls"][..], &["ls", "a#b"]]);
        assert_eq!(read("!ls | wc; x\nls"), [&["!ls | wc; x"][..], &["ls"]]);
        assert_eq!(read("rm a!b '&;#'"), [["rm", "a!b", "&;#"]]);
        assert_eq!(read(" ;; \n&"), Vec::<Vec<String>>::new());
        assert_eq!(split("ls\n'a"), Err(Unclosed { line: 2 }));
        assert!(split("a \\").is_err() && split("\"").is_err());
    }

    #[test]
    fn a_pattern_is_what_stands_without_quotes() {
        let pattern = |text: &str| match &split(text).unwrap()[0] {
            Sentence::Command { words, .. } => words[0].pattern.clone(),
            Sentence::Outside { .. } => None,
        };
        assert_eq!(pattern("a*.jpg").as_deref(), Some("a*.jpg"));
        assert_eq!(pattern("'a*'?").as_deref(), Some("a\\*?"));
        assert_eq!(pattern("[ab]{c}\\!").as_deref(), Some("[ab]\\{c\\}\\!"));
        assert_eq!(pattern("'a*' "), None);
        assert_eq!(pattern("a\\*"), None);
        assert_eq!(pattern("ab"), None);
    }

    #[test]
    fn lines_are_counted() {
        let lines: Vec<_> = split("ls\n\ncd 'a\nb'\n!x\nls").unwrap();
        let lines = lines.iter().map(|sentence| match sentence {
            Sentence::Command { line, .. } | Sentence::Outside { line, .. } => *line,
        });
        assert_eq!(lines.collect::<Vec<_>>(), [1, 3, 5, 6]);
    }

    #[test]
    fn what_is_typed_last_can_be_gone_on_with() {
        let word = |line| {
            let Typed {
                before,
                start,
                text,
                quote,
            } = typed(line);
            (before.join("|"), start, text, quote)
        };
        assert_eq!(word("get a\\ b c"), ("get|a b".into(), 9, "c".into(), None));
        assert_eq!(word("get 'a b"), ("get".into(), 4, "a b".into(), Some('\'')));
        assert_eq!(word("get "), ("get".into(), 4, String::new(), None));
        assert_eq!(word("cd x; l"), (String::new(), 6, "l".into(), None));
        assert_eq!(word(""), (String::new(), 0, String::new(), None));
        for text in ["a b", "it's", "\"x\\", "#a&b;c*"] {
            for quote in [None, Some('"')] {
                let mut line = quoted(text, quote);
                line.extend(quote);
                assert_eq!(read(&line), [[text]], "{line}");
            }
            assert_eq!(read(&(quoted(text, Some('\'')) + "'")), [[text]]);
        }
    }
}
