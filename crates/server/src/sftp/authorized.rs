//! Which public keys prove an account: lines as in OpenSSH's `authorized_keys`, of which nothing is half understood.

use pasarela_session::Account;
use russh::keys::ssh_key::authorized_keys::{AuthorizedKeys, Entry};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PublicKey};
use tracing::debug;

/// Options that take away what this server offers nobody.
const HARMLESS: [&str; 8] = [
    "restrict",
    "no-pty",
    "no-port-forwarding",
    "no-agent-forwarding",
    "no-X11-forwarding",
    "no-user-rc",
    "pty",
    "no-touch-required",
];

/// Commands that mean what this server does.
const SFTP: [&str; 2] = ["internal-sftp", "sftp-server"];

/// The option of a line whose key signs the keys of visitors.
const AUTHORITY: &str = "cert-authority";

/// What is wrong with the lines of `text`, the first of it; comments and empty lines are fine.
///
/// # Errors
/// Words for the operator.
pub fn check(text: &str) -> Result<(), String> {
    for (number, entry) in AuthorizedKeys::new(text).enumerate() {
        let entry = entry.map_err(|error| format!("key {}: {error}", number + 1))?;
        if let Some(option) = forbids(&entry) {
            return Err(format!("key {}: the option `{option}` is not served", number + 1));
        }
    }
    Ok(())
}

/// The keys of one account, as they are at this moment.
pub(super) struct Authorized(Vec<Entry>);

impl Authorized {
    /// Reads them. What cannot be read or understood proves nobody.
    pub(super) async fn of(account: &Account) -> Self {
        let keys = &account.authorized_keys;
        let mut text = keys.lines.join("\n");
        if let Some(file) = &keys.file {
            match tokio::fs::read(file).await {
                Ok(bytes) => {
                    text.push('\n');
                    text.push_str(&String::from_utf8_lossy(&bytes));
                }
                Err(error) => debug!(%error, file = %file.display(), "authorized keys"),
            }
        }
        let entries = AuthorizedKeys::new(&text).filter_map(|entry| {
            let entry = entry
                .inspect_err(|error| debug!(%error, "an authorized key"))
                .ok()?;
            match forbids(&entry) {
                Some(option) => {
                    debug!(option, "an authorized key has an option that is not served");
                    None
                }
                None => Some(entry),
            }
        });
        Self(entries.collect())
    }

    /// Whether the key is one of them.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        let mut keys = self.0.iter().filter(|entry| !is_authority(entry));
        keys.any(|entry| entry.public_key().key_data() == key.key_data())
    }

    /// Whether any key may come with a certificate that makes it good.
    pub(super) fn has_authorities(&self) -> bool {
        self.0.iter().any(is_authority)
    }

    /// Whether a certificate makes its key good for `user`: signed by an authority of the account, just now, for a
    /// user of that name, and bound to no condition (PROTOCOL.certkeys).
    pub(super) fn has_signed(&self, certificate: &Certificate, user: &str) -> bool {
        let authorities = self.0.iter().filter(|entry| is_authority(entry));
        let trusted: Vec<_> = authorities
            .map(|entry| entry.public_key().fingerprint(HashAlg::Sha256))
            .collect();
        certificate.cert_type() == CertType::User
            && certificate.valid_principals().iter().any(|name| name == user)
            && certificate.critical_options().is_empty()
            && certificate.validate(&trusted).is_ok()
    }
}

fn is_authority(entry: &Entry) -> bool {
    entry
        .config_opts()
        .iter()
        .any(|option| option.eq_ignore_ascii_case(AUTHORITY))
}

/// An option that would have to be obeyed and is not known here.
fn forbids(entry: &Entry) -> Option<String> {
    let is_fine = |option: &str| {
        let known = HARMLESS.iter().chain([&AUTHORITY]);
        let mut known = known.filter(|known| option.eq_ignore_ascii_case(known));
        let command = option
            .strip_prefix("command=")
            .map(|command| command.trim_matches('"'));
        known.next().is_some()
            || command.is_some_and(|program| SFTP.contains(&program.rsplit('/').next().unwrap_or_default()))
    };
    let mut options = entry.config_opts().iter();
    options.find(|option| !is_fine(option)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me";

    #[test]
    fn options_are_obeyed_or_the_key_is_none() {
        for fine in [
            KEY.to_owned(),
            format!("# mine\n\n{KEY}\n"),
            format!("restrict,no-pty {KEY}"),
            format!("cert-authority {KEY}"),
            format!("command=\"internal-sftp\",restrict {KEY}"),
            format!("command=\"/usr/lib/openssh/sftp-server\" {KEY}"),
        ] {
            assert_eq!(check(&fine), Ok(()), "{fine}");
        }
        for wrong in [
            format!("from=\"192.0.2.1\" {KEY}"),
            format!("command=\"/bin/backup\" {KEY}"),
            format!("command=\"internal-sftp\",from=\"192.0.2.1\" {KEY}"),
            format!("expiry-time=\"20200101\" {KEY}"),
            "ssh-ed25519 AAAA".to_owned(),
            "nothing".to_owned(),
        ] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }
}
