//! The server's certificate: where it comes from, and whether its files have changed since.

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pasarela_reach::PublicHost;
use pasarela_tls::Material;

use crate::config::typed::Typed;
use crate::failure::Problem;
use crate::surroundings;

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The operator's chain and key.
    Files(PathBuf, PathBuf),
    /// Made at the first run for these names and kept in this folder.
    SelfSigned(PathBuf, Vec<String>),
}

impl Source {
    /// What the configuration says.
    ///
    /// # Errors
    /// When a self-signed one is needed and there is no place to keep it.
    pub(crate) fn new(typed: &Typed) -> Result<Self, Problem> {
        if let Some((chain, key)) = &typed.certificate {
            return Ok(Self::Files(chain.clone(), key.clone()));
        }
        let dir = typed.state_dir.clone().map_or_else(surroundings::state_dir, Ok)?;
        Ok(Self::SelfSigned(dir, names(typed)))
    }

    /// Reads it, or makes it.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(crate) fn load(&self) -> Result<Material, Problem> {
        match self {
            Self::Files(chain, key) => load(chain, key),
            Self::SelfSigned(dir, names) => {
                let problem = |error: &dyn std::fmt::Display| {
                    Problem::new(error.to_string())
                        .hint("name another folder for the certificate with --state-dir, or bring your own: --cert and --key")
                };
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
                made.map_err(|error| problem(&format!("{}: {error}", dir.display())))?;
                Material::self_signed(dir, names).map_err(|error| problem(&error))
            }
        }
    }

    /// Where the private key is.
    pub(crate) fn key(&self) -> PathBuf {
        match self {
            Self::Files(_, key) => key.clone(),
            Self::SelfSigned(dir, _) => dir.join("key.pem"),
        }
    }

    /// When its files were last changed; a missing one has no time.
    pub(crate) fn modified(&self) -> Vec<Option<SystemTime>> {
        let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|data| data.modified()).ok();
        match self {
            Self::Files(chain, key) => vec![modified(chain), modified(key)],
            Self::SelfSigned(..) => Vec::new(),
        }
    }

    /// The self-signed certificate, for clients to trust.
    pub(crate) fn to_trust(&self) -> Option<PathBuf> {
        match self {
            Self::Files(..) => None,
            Self::SelfSigned(dir, _) => Some(dir.join("certificate.pem")),
        }
    }
}

/// Reads a chain and its key.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn load(chain: &Path, key: &Path) -> Result<Material, Problem> {
    Material::load(chain, key).map_err(|error| {
        Problem::new(error.to_string()).hint(
            "give the chain (leaf first) and its key, both PEM, readable by the user that runs the server",
        )
    })
}

/// The names and addresses that clients on this network may use.
fn names(typed: &Typed) -> Vec<String> {
    let public = typed.public_address.iter().map(|host| match host {
        PublicHost::Address(address) => address.to_string(),
        PublicHost::Name(name) => name.clone(),
    });
    let mut names: Vec<String> = public.chain(typed.host_names.iter().cloned()).collect();
    names.extend(surroundings::host_name());
    names.extend(surroundings::addresses().iter().map(IpAddr::to_string));
    names.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}
