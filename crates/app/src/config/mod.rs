//! The configuration: defaults, a TOML file, flags; read as it was written, then typed once.

pub(crate) mod keys;
pub(crate) mod raw;
pub(crate) mod typed;
pub(crate) mod units;

/// The one key of an account whose value is a secret.
pub(crate) const PASSWORD: &str = "user.password";

/// Keys of the server itself with credentials in their values.
pub(crate) const WITH_CREDENTIALS: [&str; 3] = ["reach.relay.server", "reach.relay.password", "reach.turn"];

#[cfg(test)]
mod tests;
