//! Who is it? Passwords against argon2id hashes, at equal cost for names that do not exist.

mod hashing;
mod password;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::Account;
use crate::account::TlsNeed;
use hashing::Hashing;
pub use password::{Password, hash};

/// How an account proves itself.
#[derive(Debug)]
pub enum Proof {
    /// An argon2id hash in PHC string form, from the configuration.
    Hash(String),
    /// A password in the clear, from the command line of this run.
    Plain(Password),
    /// No password at all: only by one of [`Account::authorized_keys`].
    Keys,
    /// Any password: the anonymous account (`anonymous` and `ftp` name it).
    Anonymous,
}

/// Too many passwords are being checked; this one was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins at once")]
pub struct Overflow;

/// The accounts of this server.
pub struct Users {
    rows: HashMap<Vec<u8>, Arc<Row>>,
    tags: TagKey,
    /// Verified where there is no hash to verify, so that every refusal costs the same.
    dummy: Arc<PasswordHash>,
    hashing: Hashing,
}

/// One account and what proves it.
struct Row {
    account: Arc<Account>,
    proof: Check,
    /// The tag of the password that was right last.
    verified: Mutex<Option<Tag>>,
}

enum Check {
    Hash(Arc<PasswordHash>),
    /// By the tag alone.
    Tag,
    Never,
    Anything,
}

/// The names that every client knows for the anonymous account (RFC 1635).
const ANONYMOUS: [&str; 2] = ["anonymous", "ftp"];

impl Users {
    /// Takes the accounts with what proves each.
    ///
    /// # Errors
    /// A text for the operator that names the account and what is wrong with it: a bad name, an empty password,
    /// a hash that is none, a name that comes twice.
    pub fn new(accounts: Vec<(Account, Proof)>) -> Result<Self, String> {
        let tags = TagKey::random()?;
        let mut rows = HashMap::new();
        let mut hashes = Vec::new();
        for (account, proof) in accounts {
            let name = account.name.clone();
            let row = Row::new(account, proof, &tags).map_err(|why| format!("account {name:?}: {why}"))?;
            let mut names = vec![name.as_str()];
            match &row.proof {
                Check::Hash(hash) => hashes.push(hash.clone()),
                Check::Tag | Check::Never => {}
                Check::Anything => names.extend(ANONYMOUS.into_iter().filter(|alias| *alias != name)),
            }
            let row = Arc::new(row);
            for alias in names {
                if rows.insert(alias.as_bytes().to_vec(), row.clone()).is_some() {
                    return Err(format!("account {name:?}: there is another account {alias:?}"));
                }
            }
        }
        Ok(Self {
            rows,
            tags,
            dummy: Arc::new(dummy_for(&hashes)?),
            hashing: Hashing::new(),
        })
    }

    /// The account that `name` and `password` prove; `None` after the same time whether the name exists or not.
    /// At most two hashes are computed at once; others wait in a bounded queue. An empty password proves nothing
    /// but the anonymous account.
    ///
    /// # Errors
    /// [`Overflow`]: the queue is full, and nobody knows whether the password is right.
    pub async fn authenticate(
        &self,
        name: &[u8],
        password: Password,
    ) -> Result<Option<Arc<Account>>, Overflow> {
        let row = self.rows.get(name);
        if let Some(row) = row
            && matches!(row.proof, Check::Anything)
        {
            return Ok(Some(row.account.clone()));
        }
        let tag = self.tags.tag(name, &password);
        if let Some(row) = row
            && row.knows(&tag)
        {
            return Ok(Some(row.account.clone()));
        }
        let hash = match row.map(|row| &row.proof) {
            Some(Check::Hash(hash)) => hash,
            _ => &self.dummy,
        };
        let empty = password.is_empty();
        let proven = self.hashing.verify(password, hash.clone()).await? && !empty;
        Ok(row
            .filter(|row| proven && matches!(row.proof, Check::Hash(_)))
            .map(|row| {
                row.remember(tag);
                row.account.clone()
            }))
    }

    /// The account of this name, for whoever looks at another proof than a password. Whether there is one is nothing
    /// that a visitor may learn.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<Arc<Account>> {
        self.rows.get(name).map(|row| row.account.clone())
    }

    /// Whether `name` is an account that takes any password.
    #[must_use]
    pub fn is_anonymous(&self, name: &[u8]) -> bool {
        self.rows
            .get(name)
            .is_some_and(|row| matches!(row.proof, Check::Anything))
    }

    /// The names that may log in without TLS even where it is required: accounts that say so, and those without a
    /// password to protect.
    #[must_use]
    pub fn open_names(&self) -> Vec<String> {
        let open = self
            .rows
            .iter()
            .filter(|(_, row)| row.account.tls == TlsNeed::Optional || matches!(row.proof, Check::Anything));
        open.map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// Password hashes computed so far, for metrics.
    #[must_use]
    pub fn hashes_computed(&self) -> u64 {
        self.hashing.computed()
    }
}

impl Row {
    fn new(account: Account, proof: Proof, tags: &TagKey) -> Result<Self, String> {
        if !is_name(account.name.as_bytes()) {
            return Err("a name is 1 to 64 letters, digits, `.`, `_`, `@` and `-`".to_owned());
        }
        let (proof, verified) = match proof {
            Proof::Plain(password) if password.is_empty() => return Err("the password is empty".to_owned()),
            Proof::Plain(password) => (Check::Tag, Some(tags.tag(account.name.as_bytes(), &password))),
            Proof::Hash(text) => (Check::Hash(Arc::new(password::parse(&text)?)), None),
            Proof::Keys => (Check::Never, None),
            Proof::Anonymous => (Check::Anything, None),
        };
        Ok(Self {
            account: Arc::new(account),
            proof,
            verified: Mutex::new(verified),
        })
    }

    /// Whether this is the password that was right last, at the cost of microseconds instead of an argon2.
    fn knows(&self, tag: &Tag) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified
            .as_ref()
            .is_some_and(|verified| verified.ct_eq(tag).into())
    }

    fn remember(&self, tag: Tag) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(tag);
    }
}

/// Whether `name` may name an account: nothing that means something to a path, a query or a log.
fn is_name(name: &[u8]) -> bool {
    (1..=64).contains(&name.len())
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(b))
}

/// What is verified for names that do not exist: as dear as the accounts' own hashes.
fn dummy_for(hashes: &[Arc<PasswordHash>]) -> Result<PasswordHash, String> {
    let dearest = hashes.iter().max_by_key(|hash| password::cost(hash));
    if let Some(dearest) = dearest
        && hashes
            .iter()
            .any(|hash| password::cost(hash) != password::cost(dearest))
    {
        tracing::warn!("the accounts' password hashes differ in cost, so time tells which names exist");
    }
    password::dummy(dearest.map(|hash| &**hash))
}

/// HMAC-SHA256 of a name and a password under a key that this process alone has and that is never stored.
type Tag = [u8; 32];

struct TagKey(Hmac<Sha256>);

impl TagKey {
    fn random() -> Result<Self, String> {
        let key: [u8; 64] = password::random()?;
        Ok(Self(Hmac::new(&key.into())))
    }

    fn tag(&self, name: &[u8], password: &Password) -> Tag {
        let mut hmac = self.0.clone();
        hmac.update(name);
        hmac.update(&[0]);
        hmac.update(password.as_bytes());
        hmac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests;
