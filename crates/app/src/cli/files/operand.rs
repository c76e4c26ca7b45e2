//! What operands mean: on the command line, and in a shell that stands in a folder of a server.

use std::path::PathBuf;

use pasarela_client::Url;
use pasarela_store::VirtualPath;

use super::keeping::Keeper;
use super::open::Reaching;
use super::places::HERE;
use crate::failure::Problem;

/// What an operand means.
#[derive(Debug, Clone)]
pub(super) enum Meant {
    /// A path on this machine.
    Here(PathBuf),
    /// Something at a server.
    There(Box<Address>),
}

/// Something at a server, and how that is reached.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) url: Url,
    pub(super) flags: Reaching,
    /// What has the password.
    pub(super) keeper: Option<Keeper>,
}

/// From where operands are looked at.
#[derive(Debug, Clone)]
pub(super) enum View {
    /// The command line, where what is neither URL nor saved place is on this machine.
    CommandLine,
    /// A shell, where `:PATH` is at the open server and `here:PATH` on this machine.
    Shell {
        /// The folder that is entered, where a server is open.
        there: Option<Box<Folder>>,
        /// What has no mark is on this machine.
        is_local: bool,
        /// The folder of this machine that was entered when the command began.
        here: PathBuf,
    },
}

/// A folder at a server.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) address: Address,
    pub(super) path: VirtualPath,
}

impl View {
    /// The same, where what has no mark is on this machine.
    pub(super) fn here(&self) -> Self {
        match self {
            Self::CommandLine => Self::CommandLine,
            Self::Shell { there, here, .. } => Self::Shell {
                there: there.clone(),
                is_local: true,
                here: here.clone(),
            },
        }
    }

    /// Whether what has no mark is on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::CommandLine => true,
            Self::Shell { is_local, .. } => *is_local,
        }
    }

    /// A path of this machine.
    pub(super) fn local(&self, operand: &str) -> PathBuf {
        match self {
            Self::CommandLine => operand.into(),
            Self::Shell { here, .. } => here.join(operand),
        }
    }

    /// What an operand means by a mark of the shell.
    pub(super) fn marked(&self, operand: &str) -> Option<Result<Meant, Problem>> {
        let Self::Shell { there, .. } = self else {
            return None;
        };
        if let Some(path) = operand.strip_prefix(':') {
            return Some(within(there.as_deref(), path));
        }
        let path = operand.strip_prefix(HERE)?.strip_prefix(':')?;
        Some(Ok(Meant::Here(self.local(if path.is_empty() {
            "."
        } else {
            path
        }))))
    }

    /// What an operand means that is neither URL nor saved place and has no mark.
    pub(super) fn unmarked(&self, operand: &str) -> Result<Meant, Problem> {
        match self {
            Self::Shell {
                there,
                is_local: false,
                ..
            } => within(there.as_deref(), operand),
            _ => Ok(Meant::Here(self.local(operand))),
        }
    }
}

fn within(there: Option<&Folder>, path: &str) -> Result<Meant, Problem> {
    let folder = there.ok_or_else(|| {
        Problem::new("no server is open").hint("open URL|NAME: opens one; here:PATH is on this machine")
    })?;
    let path = folder.path.resolve(path.as_bytes());
    let path = path.map_err(|error| Problem::new(format!("no path: {error}")))?;
    let mut address = folder.address.clone();
    address.url.path = path.to_bytes();
    Ok(Meant::There(Box::new(address)))
}

/// Whether an operand is a URL: `SCHEME://`. A file of such a name is written `./SCHEME://…`.
pub(super) fn is_url(operand: &str) -> bool {
    operand.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_shell_marks_say_which_side_is_meant() {
        let folder = Folder {
            address: Address {
                url: "ftp://anna@h/".parse().unwrap(),
                flags: Reaching::default(),
                keeper: None,
            },
            path: VirtualPath::root().resolve(b"/pub").unwrap(),
        };
        let shell = View::Shell {
            there: Some(Box::new(folder)),
            is_local: false,
            here: "/home/anna".into(),
        };
        let shown = |view: &View, operand: &str| {
            let meant = view.marked(operand).unwrap_or_else(|| view.unmarked(operand));
            match meant.unwrap() {
                Meant::Here(path) => path.to_string_lossy().into_owned(),
                Meant::There(address) => address.url.to_string(),
            }
        };
        assert_eq!(shown(&shell, "a b"), "ftp://anna@h/%2Fpub/a%20b");
        assert_eq!(shown(&shell, "../x"), "ftp://anna@h/%2Fx");
        assert_eq!(shown(&shell, "here:x"), "/home/anna/x");
        assert_eq!(shown(&shell, "here:"), "/home/anna/.");
        let local = shell.here();
        assert_eq!(shown(&local, "x"), "/home/anna/x");
        assert_eq!(shown(&local, ":x"), "ftp://anna@h/%2Fpub/x");
        assert_eq!(shown(&View::CommandLine, ":x"), ":x");
        assert_eq!(shown(&View::CommandLine, "here:x"), "here:x");
        let closed = View::Shell {
            there: None,
            is_local: false,
            here: "/home/anna".into(),
        };
        assert!(closed.unmarked("x").unwrap_err().hint.is_some());
        assert_eq!(shown(&closed, "here:x"), "/home/anna/x");
    }
}
