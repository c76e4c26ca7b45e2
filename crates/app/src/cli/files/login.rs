//! `pasarela login`: a server and a folder there under a name, tried before they are saved, with the password in safe hands.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use pasarela_client::{Scheme, Secret, Url};
use pasarela_store::ErrorKind;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::keeping::{Keeper, Keepers};
use super::open::{self, Opener, Reaching, is_anonymous, warn_of};
use super::operand::Address;
use super::places::{Book, Saved, is_name};
use super::{ask, failed, run, show, usage};
use crate::cli::print;
use crate::failure::{Failure, Kind, Problem};
use crate::surroundings;

/// Examples, for the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  A name for a folder of a server; the password is asked for, tried, and kept:
      pasarela login site ftpes://anna@ftp.example.org/www
      pasarela ls site:images
      pasarela sync ~/site site:

  With conditions, which every use of the name has unless its own flags say otherwise:
      pasarela login nas --pin sha256//… ftp://anna@192.168.1.10:2121/

  From a password manager, into no other place of this machine:
      pass show ftp/anna | head -1 > /run/user/1000/p && pasarela login site --password-file /run/user/1000/p

  A new password for a name; all names; no longer one:
      pasarela login site
      pasarela login --list
      pasarela login --remove site

NAME:PATH is taken from the saved folder, NAME:/PATH from the server's root; nothing in it is escaped. A saved name goes \
before a file of this machine that is written alike; ./NAME:PATH is the file.

Names stand in places.toml in $XDG_CONFIG_HOME/pasarela (~/.config/pasarela), which has no passwords. Those are kept in \
the keyring of the desktop session (by secret-tool, where it is installed), else in passwords.toml in the state folder, \
which only you can read and which is not encrypted. A password is kept for one user at one server and goes nowhere else, \
even if the name's URL is changed.

Exit codes: as of `pasarela ls`";

/// The flags of `login`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The name: letters, digits, `.`, `_` and `-`
    #[arg(required_unless_present_any = ["list", "remove"])]
    name: Option<String>,

    /// The server and the folder; left out, a name that is saved gets a new password
    url: Option<String>,

    /// Show all names
    #[arg(long, conflicts_with_all = ["name", "remove"])]
    list: bool,

    /// Forget a name, and its password unless another name has the same login
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    remove: Option<String>,

    /// Where the password is kept
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Keep::Auto)]
    keep: Keep,

    /// Save it without a try to log in
    #[arg(long)]
    no_check: bool,

    /// With --list: one JSON object a line
    #[arg(long, requires = "list")]
    json: bool,

    #[command(flatten)]
    reaching: Reaching,
}

/// Where a password is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    /// In the keyring where there is one, else in a file
    Auto,
    /// In the keyring, or fail
    Keyring,
    /// In a file that only you can read
    File,
    /// Nowhere: it is asked for each time
    Nowhere,
}

/// Saves, shows or forgets names.
pub(crate) fn run_login(flags: &Flags) -> Result<ExitCode, Failure> {
    let of_user = |problem: Problem| problem.fails(Kind::Configuration);
    let book = open::book().ok_or_else(|| usage("there is no home to keep names in"))?;
    let state_dir = surroundings::state_dir().map_err(of_user)?;
    let keepers = Keepers::new(&state_dir);
    match (flags.list, &flags.remove, &flags.name) {
        (true, ..) => list(&book, flags.json).map(|()| ExitCode::SUCCESS),
        (_, Some(name), _) => remove(&book, &keepers, name),
        (_, None, Some(name)) => run(&flags.reaching, async |opener, stop| {
            let saving = Saving {
                flags,
                book: &book,
                keepers: &keepers,
                name,
                opener,
                stop,
            };
            saving.execute().await.map(|()| 0)
        }),
        _ => Err(usage("a name is needed")),
    }
}

fn list(book: &Book, as_json: bool) -> Result<(), Failure> {
    let places = book.all().map_err(|problem| problem.fails(Kind::Configuration))?;
    let width = places.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, saved) in &places {
        let url = saved.url.to_string();
        let keeper = saved.keeper.map(Keeper::name);
        if as_json {
            text.push_str(&format!(
                "{}\n",
                json!({ "name": name, "url": url, "password": keeper })
            ));
        } else {
            let keeper = keeper.map_or_else(String::new, |keeper| format!("  (password: {keeper})"));
            text.push_str(&format!("{name:<width$}  {url}{keeper}\n"));
        }
    }
    print(&text)
}

fn remove(book: &Book, keepers: &Keepers, name: &str) -> Result<ExitCode, Failure> {
    let of_user = |problem: Problem| problem.fails(Kind::Configuration);
    let Some(saved) = book.find(name).map_err(of_user)? else {
        return Err(Problem::new(format!("nothing is saved as `{name}`"))
            .hint("pasarela login --list shows what is")
            .fails(Kind::Code(7)));
    };
    book.forget(name).map_err(of_user)?;
    forget_unless_used(book, keepers, &saved).map(|()| ExitCode::SUCCESS)
}

/// Forgets the password of a place that is saved no longer, unless another one has the same login.
fn forget_unless_used(book: &Book, keepers: &Keepers, gone: &Saved) -> Result<(), Failure> {
    let of_user = |problem: Problem| problem.fails(Kind::Configuration);
    let saved = book.all().map_err(of_user)?;
    let is_used = |keeper| {
        let same = |other: &Saved| other.keeper == Some(keeper) && is_same_login(&other.url, &gone.url);
        saved.iter().any(|(_, other)| same(other))
    };
    match gone.keeper.filter(|keeper| !is_used(*keeper)) {
        Some(keeper) => keepers.forget(keeper, &gone.url).map_err(of_user),
        None => Ok(()),
    }
}

fn is_same_login(a: &Url, b: &Url) -> bool {
    (a.scheme, &a.host, a.port, &a.user) == (b.scheme, &b.host, b.port, &b.user)
}

/// Everything that saving a name needs.
struct Saving<'a> {
    flags: &'a Flags,
    book: &'a Book,
    keepers: &'a Keepers,
    name: &'a str,
    opener: Opener,
    stop: CancellationToken,
}

impl Saving<'_> {
    async fn execute(&self) -> Result<(), Failure> {
        let of_user = |problem: Problem| problem.fails(Kind::Configuration);
        if !is_name(self.name) {
            let problem = Problem::new(format!("`{}` is no name for a place", self.name));
            return Err(of_user(
                problem.hint("letters, digits, `.`, `_` and `-`; not `here`"),
            ));
        }
        let before = self.book.find(self.name).map_err(of_user)?;
        let (url, reaching) = match (&self.flags.url, &before) {
            (Some(url), _) => {
                let url: Url = url.parse().map_err(|error| usage(format!("{error}")))?;
                (url, self.flags.reaching.clone())
            }
            (None, Some(saved)) => (saved.url.clone(), self.flags.reaching.over(&saved.reaching)),
            (None, None) => {
                let problem = Problem::new(format!("nothing is saved as `{}`", self.name));
                let hint = format!("pasarela login {} ftpes://USER@HOST/FOLDER", self.name);
                return Err(of_user(problem.hint(hint)));
            }
        };
        warn_of(&url);
        let (password, is_typed) = self.password(&url).await?;
        let address = Address {
            url: Url {
                password: password.clone().or(url.password.clone()),
                ..url.clone()
            },
            flags: reaching.clone(),
            keeper: None,
        };
        if !self.flags.no_check {
            self.check(&address).await?;
        }
        let keeper = match password.filter(|_| self.flags.keep != Keep::Nowhere) {
            Some(password) => Some(self.keep(&url, password).await?),
            None => None,
        };
        if reaching.keeps_no_proxy() {
            show::say(
                "note: a proxy with a login is not kept: set the variable all_proxy where the name is used",
            );
        }
        let saved = Saved {
            url: Url {
                password: None,
                ..url
            },
            keeper,
            reaching,
        };
        self.book.keep(self.name, &saved).map_err(of_user)?;
        if let Some(before) = before.as_ref().filter(|before| before.keeper.is_some()) {
            // What nobody uses any more is not left lying about.
            forget_unless_used(self.book, self.keepers, before)?;
        }
        let place = match keeper {
            Some(Keeper::Keyring) => "its password is in the keyring".to_owned(),
            Some(Keeper::File) => format!(
                "its password is in {}, which only you can read and which is not encrypted",
                self.keepers.file().display()
            ),
            None if is_typed => "its password is kept nowhere and will be asked for".to_owned(),
            None => "no password is kept".to_owned(),
        };
        let verb = if before.is_some() { "changed" } else { "saved" };
        show::say(&format!("{verb}: {}: is {}; {place}", self.name, saved.url));
        Ok(())
    }

    /// The password that is to be kept, and whether there is one at all: that of the URL, of --password-file, of
    /// PASARELA_PASSWORD, or the one that is typed. One that netrc has stays there.
    async fn password(&self, url: &Url) -> Result<(Option<Secret>, bool), Failure> {
        let Some(user) = url.user.as_ref().filter(|user| !is_anonymous(user)) else {
            return Ok((None, false));
        };
        if let Some(password) = url.password.as_ref().or(self.opener.given_password()) {
            return Ok((Some(password.clone()), true));
        }
        // With a key none may be needed; the server asks when it is.
        if url.scheme == Scheme::Sftp || self.opener.netrc_has(url, user)? {
            return Ok((None, false));
        }
        let typed = ask::secret(&format!("Password for {url}: "), &self.stop).await;
        match typed {
            Ok(typed) => Ok((Some(Secret::new(typed)), true)),
            Err(_) if self.flags.no_check => Ok((None, true)),
            Err(error) => Err(usage(format!("{url}: no password: {error}"))),
        }
    }

    async fn check(&self, address: &Address) -> Result<(), Failure> {
        let (server, path) = self.opener.visit(address).await?;
        match server.remote().stat(&path).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let url = Url {
                    password: None,
                    ..address.url.clone()
                };
                let problem = Problem::new(format!("{url}: the login works, but there is no such folder"));
                Err(problem
                    .hint("--no-check saves it all the same")
                    .fails(Kind::Code(7)))
            }
            Err(error) => Err(failed(&address.url.to_string(), &error)),
        }
    }

    /// Keeps a password; a keyring that does not take it is told of where there is a second choice.
    async fn keep(&self, url: &Url, password: Secret) -> Result<Keeper, Failure> {
        let choices: &[Keeper] = match (self.flags.keep, self.keepers.have_keyring()) {
            (Keep::Auto, true) => &[Keeper::Keyring, Keeper::File],
            (Keep::Keyring, _) => &[Keeper::Keyring],
            _ => &[Keeper::File],
        };
        let mut refused = None;
        for keeper in choices {
            if let Some(problem) = refused.take() {
                show::say(&Problem::titled(&problem, "warning"));
            }
            let (keepers, keeper, url, password) =
                (self.keepers.clone(), *keeper, url.clone(), password.clone());
            let kept = tokio::task::spawn_blocking(move || keepers.keep(keeper, &url, &password)).await;
            match kept.unwrap_or_else(|stopped| Err(Problem::new(stopped.to_string()))) {
                Ok(()) => return Ok(keeper),
                Err(problem) => refused = Some(problem),
            }
        }
        let problem = refused.unwrap_or_else(|| Problem::new("the password cannot be kept"));
        Err(problem.fails(Kind::Other))
    }
}
