//! The configuration: defaults, a TOML file, flags; read as it was written, then typed once.

pub(crate) mod keys;
pub(crate) mod raw;
pub(crate) mod typed;
pub(crate) mod units;

/// The one key whose value is a secret.
pub(crate) const PASSWORD: &str = "user.password";

#[cfg(test)]
mod tests;
