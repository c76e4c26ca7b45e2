//! `pasarela shell`: one server stays open over many commands, typed, given with `-c`, or read from a file.

mod complete;
mod jobs;
mod order;
mod patterns;
mod words;

use std::fs::DirBuilder;
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueHint};
use pasarela_store::Kind as FileKind;
use rustyline::config::{CompletionType, Configurer as _};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, ExternalPrinter as _};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::open::{Opener, Reaching};
use super::operand::{Address, Folder, Meant, View, is_url};
use super::{Command, MOMENT, exit_code, failed, interrupted, look, runtime, show, usage};
use crate::cli::print;
use crate::failure::{Failure, Kind, Problem};
use crate::surroundings;
use complete::Offers;
use jobs::Jobs;
use order::{Open, Order, Parsed};
use patterns::Mark;
use words::{Sentence, Word};

/// Examples, for the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  At a server, then in its folders, with TAB, history, and jobs (`help` says more):
      pasarela shell ftpes://anna@ftp.example.org/
      anna@ftp.example.org:/> cd photos
      anna@ftp.example.org:/photos> get -r 2025 ~/photos/ &
      anna@ftp.example.org:/photos> ls *.jpg; jobs

  Some commands at a saved place; the first that fails ends them:
      pasarela shell site: -c 'mkdir -p new; put *.html new/; mv new/index.html index.html --force'

  From a file:
      pasarela shell site: -f nightly.txt

In a shell a name is at the server, but for `put`, `lls`, `lcd` and where `get` puts things. `:PATH` is always at the \
server and `here:PATH` on this machine: `sync here:site www`. Patterns (* ? [a-z]) fit names of their side unless they are \
in quotes.

What is typed is kept in shell_history in the state folder, for you alone; lines with a password in a URL are not.

Exit codes: as of `pasarela ls`; that of the first command that failed, and with --keep-going 11 where others were done";

/// The flags of `shell`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A URL, or a saved place; without one, `open` opens one
    target: Option<String>,

    /// Do these commands instead of asking for them
    #[arg(
        short = 'c',
        long = "commands",
        value_name = "COMMANDS",
        conflicts_with = "file"
    )]
    commands: Option<String>,

    /// Do the commands of a file; `-` is standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Go on after a command that fails
    #[arg(short, long)]
    keep_going: bool,

    #[command(flatten)]
    reaching: Reaching,
}

/// Runs a shell.
pub(crate) fn run_shell(flags: &Flags) -> Result<ExitCode, Failure> {
    let script = match (&flags.commands, &flags.file) {
        (Some(commands), _) => Some(commands.clone()),
        (None, Some(file)) if file.as_os_str() != "-" => Some(
            std::fs::read_to_string(file).map_err(|error| usage(format!("{}: {error}", file.display())))?,
        ),
        (None, None) if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() => None,
        (None, _) => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| usage(format!("standard input: {error}")))?;
            Some(text)
        }
    };
    flags.reaching.start_log()?;
    let runtime = runtime()?;
    let mut shell = Shell {
        runtime: runtime.handle().clone(),
        opener: Opener::new(&flags.reaching)?,
        folder: None,
        first: None,
        before: None,
        title: String::new(),
        jobs: Jobs::default(),
        is_typed: script.is_none(),
        has_ended: false,
    };
    let done = match &flags.target {
        Some(target) => shell.foreground(async |shell, stop| {
            let open = Open {
                target: target.clone(),
                reaching: Reaching::default(),
            };
            shell.open(&open, stop).await.map(|()| 0)
        }),
        None => Ok(0),
    };
    let done = match (done, script) {
        (Ok(0), Some(text)) => shell.script(&text, flags.keep_going),
        (Ok(0), None) => shell.interactive(),
        (other, _) => other,
    };
    let opener = shell.opener.clone();
    runtime.block_on(async {
        shell.jobs.stop_all().await;
        let _ = tokio::time::timeout(MOMENT, opener.close()).await;
    });
    runtime.shutdown_timeout(MOMENT);
    done.map(ExitCode::from)
}

struct Shell {
    runtime: Handle,
    /// The connections.
    opener: Opener,
    /// The folder that is entered.
    folder: Option<Folder>,
    /// The one that was entered when the server was opened.
    first: Option<Folder>,
    /// The one that was entered before.
    before: Option<Folder>,
    /// What the prompt calls the server.
    title: String,
    jobs: Jobs,
    /// Somebody types.
    is_typed: bool,
    has_ended: bool,
}

impl Shell {
    /// Does commands one after the other.
    fn script(&mut self, text: &str, keep_going: bool) -> Result<u8, Failure> {
        let sentences = words::split(text)
            .map_err(|unclosed| usage(format!("line {}: a quote is not closed", unclosed.line)))?;
        let has_lines = text.trim_end().contains('\n');
        let (mut first, mut has_done) = (0, false);
        for sentence in sentences {
            let (Sentence::Command { line, .. } | Sentence::Outside { line, .. }) = sentence;
            let mut done = self.foreground(async |shell, stop| shell.execute(sentence, stop).await);
            if let (Err(failure), true) = (&mut done, has_lines) {
                let problems = failure.problems.iter().cloned();
                failure.problems = problems
                    .map(|problem| problem.at(&format!("line {line}")))
                    .collect();
            }
            let code = exit_code(&done);
            if let Err(failure) = &done {
                show::complain(failure);
            }
            has_done |= code == 0;
            first = if first == 0 { code } else { first };
            if self.has_ended || code == 130 || (code != 0 && !keep_going) {
                break;
            }
        }
        if first != 130 {
            let waited = self.foreground(async |shell, _| shell.jobs.wait(None).await);
            let code = exit_code(&waited);
            first = if first == 0 { code } else { first };
        }
        Ok(if keep_going && first != 130 && first != 0 && has_done {
            11
        } else {
            first
        })
    }

    /// Asks for commands until somebody leaves.
    fn interactive(&mut self) -> Result<u8, Failure> {
        let other = |error: ReadlineError| Problem::new(error.to_string()).fails(Kind::Other);
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .build();
        let mut editor: Editor<Offers, FileHistory> = Editor::with_config(config).map_err(other)?;
        editor.set_max_history_size(2000).map_err(other)?;
        editor.set_helper(Some(Offers::new(self.runtime.clone(), self.seen())));
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        if let Ok(mut printer) = editor.create_external_printer() {
            show::speak_above(Some(Box::new(move |text| {
                let _ = printer.print(text);
            })));
        }
        let mut was_warned = false;
        while !self.has_ended {
            let line = match editor.readline(&self.prompt()) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => {
                    self.has_ended = true;
                    String::new()
                }
                Err(error) => {
                    show::speak_above(None);
                    return Err(other(error));
                }
            };
            let is_kept = !line.trim().is_empty() && !has_password(&line);
            if is_kept
                && editor.add_history_entry(&line).unwrap_or(false)
                && let Some(file) = &history
            {
                // A disk that is full keeps nobody from working.
                let _ = editor.append_history(file);
            }
            self.typed(&line);
            let running = self.jobs.running();
            if self.has_ended && running > 0 && !was_warned {
                show::say(&format!(
                    "{running} jobs run: `wait` for them, or leave once more to stop them"
                ));
                self.has_ended = false;
                was_warned = true;
            } else {
                was_warned = false;
            }
            if let Some(offers) = editor.helper_mut() {
                offers.opener = self.seen();
                offers.forget();
            }
        }
        show::speak_above(None);
        Ok(0)
    }

    /// Does what was typed; what fails is told, and ends the line.
    fn typed(&mut self, line: &str) {
        let Ok(sentences) = words::split(line) else {
            return show::complain(&usage("a quote is not closed"));
        };
        for sentence in sentences {
            let done = self.foreground(async |shell, stop| shell.execute(sentence, stop).await);
            if let Err(failure) = &done {
                show::complain(failure);
            }
            if exit_code(&done) != 0 || self.has_ended {
                return;
            }
        }
    }

    fn prompt(&self) -> String {
        match &self.folder {
            Some(folder) => {
                let path = show::escaped(&folder.path.to_bytes());
                format!("{}:{path}> ", self.title)
            }
            None => "pasarela> ".to_owned(),
        }
    }

    /// Runs something until it is done or interrupted. Whoever types interrupts a command and not the shell; a script
    /// ends by SIGTERM too.
    fn foreground(
        &mut self,
        work: impl AsyncFnOnce(&mut Self, &CancellationToken) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let is_typed = self.is_typed;
        self.runtime.clone().block_on(async {
            let stop = CancellationToken::new();
            let work = work(self, &stop);
            tokio::pin!(work);
            let signal = async {
                match is_typed {
                    true => drop(tokio::signal::ctrl_c().await),
                    false => interrupted().await,
                }
            };
            tokio::select! {
                done = &mut work => done,
                () = signal => {
                    stop.cancel();
                    let _ = tokio::time::timeout(MOMENT, &mut work).await;
                    Ok(130)
                }
            }
        })
    }

    /// The connections, with operands as they are seen from here.
    fn seen(&self) -> Opener {
        self.opener.seen(View::Shell {
            there: self.folder.clone().map(Box::new),
            is_local: false,
            here: std::env::current_dir().unwrap_or_else(|_| ".".into()),
        })
    }

    async fn execute(&mut self, sentence: Sentence, stop: &CancellationToken) -> Result<u8, Failure> {
        let (words, is_job) = match sentence {
            Sentence::Outside { command, .. } => return outside(&command).await,
            Sentence::Command { words, is_job, .. } => (words, is_job),
        };
        let opener = self.seen().until(stop);
        let line = written(&words);
        let words = expanded(words, &opener).await?;
        let order = match order::parse(&words)? {
            Parsed::Help(text) => return print(&text).map(|()| 0),
            Parsed::Order(order) => *order,
        };
        match order {
            Order::Files(command) if is_job => self.jobs.begin(command, line, &opener)?,
            _ if is_job => return Err(usage("only commands that reach files can be jobs")),
            Order::Files(command) => return command.execute(&opener, stop).await,
            Order::Lls(list) => return look::list(&list, &opener.here()).await,
            Order::Cd { folder } => self.enter(folder.as_deref(), stop).await?,
            Order::Pwd => print(&format!("{}\n", self.told()?))?,
            Order::Lcd { folder } => enter_here(folder)?,
            Order::Lpwd => {
                let here = std::env::current_dir().map_err(|error| usage(error.to_string()))?;
                print(&format!(
                    "{}\n",
                    show::escaped(here.as_os_str().as_encoded_bytes())
                ))?;
            }
            Order::Open(open) => self.open(&open, stop).await?,
            Order::Close if self.jobs.running() > 0 => {
                return Err(usage("jobs run over these connections").hinted("wait for them, or stop them"));
            }
            Order::Close => {
                self.opener.close().await;
                (self.folder, self.first, self.before) = (None, None, None);
            }
            Order::Jobs => print(&self.jobs.shown())?,
            Order::Wait { job } => return self.jobs.wait(job).await,
            Order::Stop { job } => self.jobs.stop(job).await?,
            Order::Help { command } => print(&order::help(command.as_deref())?)?,
            Order::Quit => self.has_ended = true,
        }
        Ok(0)
    }

    /// The folder that is entered, as a URL.
    fn told(&self) -> Result<String, Failure> {
        let folder = self.folder.as_ref().ok_or_else(nothing_open)?;
        let mut url = folder.address.url.clone();
        url.path = folder.path.to_bytes();
        Ok(url.to_string())
    }

    async fn open(&mut self, open: &Open, stop: &CancellationToken) -> Result<(), Failure> {
        if open.reaching.password_file.is_some() || open.reaching.netrc_file.is_some() {
            return Err(usage(
                "where passwords come from is said when the shell begins: pasarela shell --password-file FILE",
            ));
        }
        let opener = self.seen().until(stop);
        let is_bare = !open.target.contains([':', '/']) && opener.is_saved(&open.target);
        let target = match is_bare {
            true => format!("{}:", open.target),
            false => open.target.clone(),
        };
        let mut address = match opener.here().meant(&target)? {
            Meant::There(address) => address,
            Meant::Here(_) => {
                return Err(Problem::new(format!("{target} names no server"))
                    .hint("a URL such as ftpes://anna@ftp.example.org/, or a saved place (pasarela login)")
                    .fails(Kind::Configuration));
            }
        };
        address.flags = open.reaching.over(&address.flags);
        let folder = arrive(&opener, *address).await?;
        let url = &folder.address.url;
        self.title = match (is_url(&target), target.split_once(':')) {
            (false, Some((name, _))) => name.to_owned(),
            _ => {
                let server = super::trust::written_out(&url.host, url.port);
                let server = server
                    .strip_suffix(&format!(":{}", url.scheme.port()))
                    .unwrap_or(&server);
                let user = url.user.as_ref().map(|user| show::escaped(user) + "@");
                user.unwrap_or_default() + server
            }
        };
        self.first = Some(folder.clone());
        self.before = None;
        self.folder = Some(folder);
        Ok(())
    }

    /// `cd`.
    async fn enter(&mut self, folder: Option<&str>, stop: &CancellationToken) -> Result<(), Failure> {
        let opener = self.seen().until(stop);
        let next = match folder {
            None => self.first.clone().ok_or_else(nothing_open)?,
            Some("-") => self
                .before
                .clone()
                .ok_or_else(|| usage("there is no folder before"))?,
            Some(typed) => match opener.meant(typed)? {
                Meant::There(address) if self.is_same_server(&address) => arrive(&opener, *address).await?,
                Meant::There(_) => {
                    return Err(Problem::new(format!("{typed} is at another server"))
                        .hint(format!("open {typed}"))
                        .fails(Kind::Configuration));
                }
                Meant::Here(_) => return Err(usage("lcd enters a folder of this machine")),
            },
        };
        self.before = self.folder.replace(next);
        Ok(())
    }

    fn is_same_server(&self, address: &Address) -> bool {
        self.folder.as_ref().is_some_and(|folder| {
            let (a, b) = (&folder.address.url, &address.url);
            (a.scheme, &a.host, a.port, &a.user) == (b.scheme, &b.host, b.port, &b.user)
        })
    }
}

fn nothing_open() -> Failure {
    Problem::new("no server is open")
        .hint("open URL|NAME:")
        .fails(Kind::Configuration)
}

/// A folder at a server, if that is one.
async fn arrive(opener: &Opener, address: Address) -> Result<Folder, Failure> {
    let (server, path) = opener.arrive(&address).await?;
    let shown = || show::escaped(&path.to_bytes());
    let there = server.remote().stat(&path).await;
    match there.map_err(|error| failed(&shown(), &error))?.kind {
        FileKind::Directory | FileKind::Link => Ok(Folder { address, path }),
        _ => Err(Problem::new(format!("{} is no folder", shown())).fails(Kind::Code(1))),
    }
}

/// `lcd`.
fn enter_here(folder: Option<String>) -> Result<(), Failure> {
    let folder = match folder {
        Some(folder) => PathBuf::from(folder),
        None => home().ok_or_else(|| usage("there is no home"))?,
    };
    let entered = std::env::set_current_dir(&folder);
    entered.map_err(|error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound {
            7
        } else {
            1
        };
        Problem::new(format!("{}: {error}", folder.display())).fails(Kind::Code(code))
    })
}

/// A command for the shell of the system.
async fn outside(command: &str) -> Result<u8, Failure> {
    let mut shell = tokio::process::Command::new("/bin/sh");
    let ended = shell.arg("-c").arg(command).kill_on_drop(true).status().await;
    let ended = ended.map_err(|error| Problem::new(format!("/bin/sh: {error}")).fails(Kind::Other))?;
    Ok(if ended.success() { 0 } else { 1 })
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
}

/// A command's words with homes and patterns in them carried out.
async fn expanded(words: Vec<Word>, opener: &Opener) -> Result<Vec<String>, Failure> {
    let raw: Vec<String> = words.iter().map(|word| word.text.clone()).collect();
    let verb = raw.first().cloned().unwrap_or_default();
    // Which words are flags and their values, only the grammar knows.
    let target = match order::parse(&raw) {
        Ok(Parsed::Order(order)) => match *order {
            Order::Files(Command::Get(flags) | Command::Put(flags)) => {
                let last = flags.last_of_several();
                last.and_then(|last| raw.iter().rposition(|word| word == last))
            }
            _ => None,
        },
        _ => None,
    };
    let (takes_patterns, mark) = match verb.as_str() {
        "get" | "put" => (true, Mark::Side),
        "ls" | "lls" | "cat" | "rm" | "stat" | "hash" => (true, Mark::None),
        _ => (false, Mark::None),
    };
    let mut expanded = Vec::new();
    for (index, mut word) in words.into_iter().enumerate() {
        let is_local = match verb.as_str() {
            "put" => target != Some(index),
            "get" => target == Some(index),
            verb => ["lls", "lcd"].contains(&verb),
        };
        if is_local {
            at_home(&mut word);
        }
        if takes_patterns && index > 0 {
            let opener = if is_local { opener.here() } else { opener.clone() };
            expanded.extend(patterns::expand(&word, &opener, mark).await?);
        } else {
            expanded.push(word.text);
        }
    }
    Ok(expanded)
}

/// Puts the home where `~` stands for it.
fn at_home(word: &mut Word) {
    let rest = word
        .text
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let (true, Some(rest), Some(home)) = (word.is_home, rest, home()) {
        let home = home.to_string_lossy();
        word.text = format!("{home}{rest}");
        word.pattern = word
            .pattern
            .take()
            .map(|pattern| words::in_pattern(&home) + &pattern[1..]);
    }
}

/// A command as it could be typed, without the passwords of its URLs.
fn written(words: &[Word]) -> String {
    let words = words
        .iter()
        .map(|word| match word.text.parse::<pasarela_client::Url>() {
            Ok(url) if is_url(&word.text) => url.to_string(),
            _ => words::quoted(&word.text, None),
        });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line has a password in a URL, or looks like it.
fn has_password(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', ' ', '\'', '"']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Where what was typed is kept; `None`: nowhere.
fn history_file() -> Option<PathBuf> {
    let dir = surroundings::state_dir().ok()?;
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).ok()?;
    Some(dir.join("shell_history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_passwords_are_known() {
        for (line, expected) in [
            ("open ftp://anna:sesame@h/", true),
            ("get 'ftps://a:b@h/x' y", true),
            ("get ftp://h/ ; put ftp://a:b@c", true),
            ("open ftp://anna@h:21/", false),
            ("open ftp://h:21/a:b@c", false),
            ("ls a:b@c", false),
        ] {
            assert_eq!(has_password(line), expected, "{line}");
        }
    }

    #[test]
    fn a_command_is_told_without_its_passwords() {
        let sentences = words::split("get ftp://anna:sesame@h/x 'a b' &").unwrap();
        let Sentence::Command { words, .. } = &sentences[0] else {
            panic!("{sentences:?}");
        };
        assert_eq!(written(words), "get ftp://anna@h/x a\\ b");
    }
}
