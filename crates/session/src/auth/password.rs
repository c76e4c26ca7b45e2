//! Passwords and their argon2id hashes (RFC 9106) in PHC string form.

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Argon2, Params, Version};
use zeroize::Zeroizing;

/// A password on its way to be checked; never printed, wiped when dropped.
pub struct Password(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Password {
    /// Takes what the client sent, whatever the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An argon2id hash of `password` in PHC string form, for the configuration.
#[must_use]
pub fn hash(password: &Password) -> String {
    // The default parameters and a random salt are always valid: this fails only where the system has no
    // randomness to give, and there a hash must not be made.
    #[expect(clippy::expect_used, reason = "see above")]
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .expect("randomness from the system");
    hash.to_string()
}

/// The costliest hash that is accepted, in multiples of the default (40 ms and 19 MiB on a small machine):
/// whoever connects can make the server compute it.
const DEAREST: u64 = 16;

/// Reads a hash from the configuration.
///
/// # Errors
/// What is wrong with it, in words that follow the account's name.
pub(super) fn parse(text: &str) -> Result<PasswordHash, String> {
    if text.is_empty() {
        return Err("the password hash is empty".to_owned());
    }
    if !text.starts_with("$argon2id$") {
        return Err("the password hash is not argon2id; it has to begin with `$argon2id$`".to_owned());
    }
    let hash = PasswordHash::new(text).map_err(|why| format!("the password hash is misspelt: {why}"))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("the password hash is cut short".to_owned());
    }
    let known_version = hash
        .version
        .is_none_or(|version| Version::try_from(version).is_ok());
    if !known_version || Params::try_from(&hash).is_err() {
        return Err("the password hash has parameters that argon2id does not know".to_owned());
    }
    if cost(&hash) > DEAREST * u64::from(Params::DEFAULT_M_COST) * u64::from(Params::DEFAULT_T_COST) {
        return Err(format!(
            "the password hash costs more than {DEAREST} times the usual; hash it anew"
        ));
    }
    Ok(hash)
}

/// What it costs to verify `hash`: blocks of memory times passes over them.
pub(super) fn cost(hash: &PasswordHash) -> u64 {
    Params::try_from(hash).map_or(0, |params| {
        u64::from(params.m_cost()) * u64::from(params.t_cost())
    })
}

/// A hash that costs as much to verify as `like` (or the default) and that no password proves: its output is
/// random instead of computed.
pub(super) fn dummy(like: Option<&PasswordHash>) -> Result<PasswordHash, String> {
    let params = like
        .and_then(|hash| Params::try_from(hash).ok())
        .unwrap_or_default();
    let make = || {
        let random: [u8; 48] = random().ok()?;
        let (salt, output) = random.split_at(16);
        Some(PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::default().into()),
            params: ParamsString::try_from(&params).ok()?,
            salt: Some(Salt::new(salt).ok()?),
            hash: Some(Output::new(output).ok()?),
        })
    };
    make().ok_or_else(|| "the system has no randomness to give".to_owned())
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|why| format!("no randomness from the system: {why}"))?;
    Ok(bytes)
}
