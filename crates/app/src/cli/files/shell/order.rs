//! What can be said in a shell: the commands of the command line, and those that only a shell has.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::cli::files::look::List;
use crate::cli::files::open::Reaching;
use crate::cli::files::{self, usage};
use crate::failure::{Failure, Kind, Problem};

/// One command line of a shell.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_version_flag = true,
    disable_help_subcommand = true
)]
struct Line {
    #[command(subcommand)]
    order: Order,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(super) enum Order {
    #[command(flatten)]
    Files(files::Command),
    /// Enter a folder of the server; without one, the first; `-`: the one before
    Cd {
        /// The folder
        #[arg(allow_hyphen_values = true)]
        folder: Option<String>,
    },
    /// Tell which folder of the server is entered
    Pwd,
    /// Enter a folder of this machine; without one, your home
    Lcd {
        /// The folder
        folder: Option<String>,
    },
    /// Tell which folder of this machine is entered
    Lpwd,
    /// List folders of this machine
    Lls(List),
    /// Open a server: a URL, or a saved place
    Open(Open),
    /// Close the server's connections
    Close,
    /// Show what runs in the background
    Jobs,
    /// Wait for a job, or for all of them
    Wait {
        /// Its number
        job: Option<u32>,
    },
    /// Stop a job
    Stop {
        /// Its number
        job: u32,
    },
    /// Explain the commands, or one of them
    Help {
        /// The command
        command: Option<String>,
    },
    /// Leave
    #[command(visible_aliases = ["exit", "bye"])]
    Quit,
}

/// The flags of `open`.
#[derive(Debug, clap::Args)]
pub(super) struct Open {
    /// A URL, or the name of a saved place
    pub(super) target: String,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// What becomes of a line's words.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A command.
    Order(Box<Order>),
    /// Somebody asked for its help.
    Help(String),
}

/// Reads a line's words.
///
/// # Errors
/// What is no command, or lacks something.
pub(super) fn parse(words: &[String]) -> Result<Parsed, Failure> {
    let parsed = command()
        .try_get_matches_from(words)
        .and_then(|matches| Line::from_arg_matches(&matches));
    let order = match parsed {
        Ok(Line { order }) => order,
        Err(error) if !error.use_stderr() => {
            return Ok(Parsed::Help(error.to_string().replace("Usage:  ", "Usage: ")));
        }
        Err(error) => {
            // Its title and its usage line are those of a program.
            let text = error.to_string();
            let text = text.trim_start_matches("error: ").trim_end();
            let text = text.replace("try '--help'", "try `help`");
            return Err(usage(text));
        }
    };
    let reaching = match &order {
        Order::Files(command) => Some(command.reaching()),
        Order::Lls(list) => Some(&list.reaching),
        _ => None,
    };
    if reaching.is_some_and(|reaching| *reaching != Reaching::default()) {
        return Err(
            Problem::new("how the server is reached is said when it is opened")
                .hint("open [--pin …] URL, or pasarela shell [--pin …] URL")
                .fails(Kind::Configuration),
        );
    }
    Ok(Parsed::Order(Box::new(order)))
}

/// The definition of all commands; how servers are reached stands with `open` alone.
pub(super) fn command() -> clap::Command {
    let conditions = Reaching::command_arguments();
    Line::command().mut_subcommands(|command| match command.get_name() {
        "open" => command,
        _ => command.after_long_help("").mut_args(|argument| {
            let is_condition = conditions.contains(&argument.get_id().to_string());
            argument.hide(is_condition)
        }),
    })
}

/// The help of all commands, or of one.
///
/// # Errors
/// There is no such command.
pub(super) fn help(name: Option<&str>) -> Result<String, Failure> {
    let mut all = command();
    all.build();
    let Some(name) = name else {
        let mut text = String::from("Commands:\n");
        for command in all.get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {:<7} {about}\n", command.get_name()));
        }
        text.push_str(FORMS);
        return Ok(text);
    };
    match all.find_subcommand_mut(name) {
        // Its name is that of a program, which is none.
        Some(command) => Ok(command
            .render_long_help()
            .to_string()
            .replace("Usage:  ", "Usage: ")),
        None => Err(Problem::new(format!("there is no command `{name}`"))
            .hint("help shows all of them")
            .fails(Kind::Configuration)),
    }
}

/// What names and lines may look like.
pub(super) const FORMS: &str = "
Names:
  PATH           at the server; for put, lls and lcd, and where get puts things, on this machine
  :PATH          at the server
  here:PATH      on this machine, as in `sync here:site www`
  NAME:PATH, URL at a saved place, at any server
  * ? [a-z]      fit names, unless they are in quotes
Lines:
  'a b' \"a b\" a\\ b    one word
  COMMAND &            runs as a job; `jobs`, `wait`, `stop`
  COMMAND; COMMAND     one after the other
  !COMMAND             for the shell of the system
  # …                  says nothing
";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_definitions_hold() {
        let mut command = command();
        command.build();
        command.debug_assert();
    }

    #[test]
    fn commands_are_those_of_the_command_line_and_more() {
        let order = |line: &str| match parse(&words(line)) {
            Ok(Parsed::Order(order)) => Some(*order),
            _ => None,
        };
        assert!(matches!(
            order("get -r a b"),
            Some(Order::Files(files::Command::Get(_)))
        ));
        assert!(matches!(
            order("mirror here:a b"),
            Some(Order::Files(files::Command::Sync(_)))
        ));
        assert!(matches!(order("cd -"), Some(Order::Cd { folder: Some(_) })));
        assert!(matches!(order("exit"), Some(Order::Quit)));
        assert!(matches!(order("wait 2"), Some(Order::Wait { job: Some(2) })));
        assert!(matches!(order("open -4 ftp://h/"), Some(Order::Open(_))));
        for wrong in ["", "nothere", "get", "ls -4 a", "ls --pin x", "wait x", "serve"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
        assert!(matches!(parse(&words("ls --help")), Ok(Parsed::Help(text)) if !text.contains("--pin")));
    }

    #[test]
    fn every_command_is_explained() {
        let all = help(None).unwrap();
        for name in ["ls", "sync", "cd", "lls", "jobs", "quit"] {
            assert!(all.contains(&format!("\n  {name} ")), "{name}: {all}");
            help(Some(name)).unwrap();
        }
        assert!(help(Some("open")).unwrap().contains("--pin"));
        assert!(help(Some("nothere")).is_err());
    }
}
