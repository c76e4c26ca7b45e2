//! Accounts as the configuration describes them, made into those that the session room knows.

use std::path::Path;
use std::sync::Arc;

use pasarela_dtp::Bucket;
use pasarela_session::Account;
use pasarela_session::auth::{Password, Proof, Users};
use pasarela_store::local::{Local, Options};

use crate::config::typed::{self, Typed};
use crate::failure::{Failure, Kind, Problem};

/// Opens every root and makes the accounts.
///
/// # Errors
/// When a root cannot be opened or an account is not one.
pub(crate) fn users(typed: &Typed) -> Result<Users, Failure> {
    let problems = missing_roots(&typed.accounts);
    if !problems.is_empty() {
        return Err(Failure {
            kind: Kind::Configuration,
            problems,
        });
    }
    let accounts = typed
        .accounts
        .iter()
        .map(|account| made(account, typed))
        .collect::<Result<_, _>>();
    accounts
        .and_then(|accounts| Users::new(accounts).map_err(Problem::new))
        .map_err(|problem| problem.fails(Kind::Configuration))
}

fn made(account: &typed::Account, typed: &Typed) -> Result<(Account, Proof), Problem> {
    let options = Options {
        durability: typed.durability,
        keep_parts: typed.keep_parts,
    };
    let storage = Local::open(&account.root, options)
        .map_err(|error| unusable(&account.root, &account.name, &error_text(&error)))?;
    let proof = match &account.proof {
        typed::Proof::Hash(hash) => Proof::Hash(hash.reveal().to_owned()),
        typed::Proof::Plain(password) => Proof::Plain(Password::new(password.reveal().into())),
        typed::Proof::Keys => Proof::Keys,
        typed::Proof::Anonymous => Proof::Anonymous,
    };
    let account = Account {
        name: account.name.clone(),
        storage: Arc::new(storage),
        may: account.may,
        tls: account.tls,
        rate: account.rate.map(|rate| Bucket::new(rate.0)),
        session_rate: account.session_rate.map(|rate| rate.0),
        sessions: account.sessions,
        authorized_keys: account.authorized_keys.clone(),
    };
    Ok((account, proof))
}

/// The roots that are no folders.
fn missing_roots(accounts: &[typed::Account]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for account in accounts {
        let problem = match std::fs::read_dir(&account.root) {
            Ok(_) => continue,
            Err(error) => unusable(&account.root, &account.name, &error),
        };
        let problem = match std::fs::metadata(&account.root) {
            Ok(metadata) if !metadata.is_dir() => {
                problem.hint("name a folder; its files are served, not itself")
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => problem.hint(format!(
                "make it first: mkdir -p {}",
                crate::start_block::quoted(&account.root)
            )),
            _ => problem.hint("the user that runs the server must be able to read it"),
        };
        problems.push(problem);
    }
    problems
}

fn unusable(root: &Path, name: &str, why: &dyn std::fmt::Display) -> Problem {
    Problem::new(format!("{}: {why} (the folder of `{name}`)", root.display()))
}

/// An error with what caused it.
fn error_text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
