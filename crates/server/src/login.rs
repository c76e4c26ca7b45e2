//! Who a visitor is, whatever the protocol: a name and its proof against accounts, bans and caps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pasarela_session::Account;
use pasarela_session::auth::Password;
use pasarela_session::limits::{Admission, Turned};
use tracing::info;

use crate::config::Settings;

/// Why nobody is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Name or password are wrong, or their address is banned. The delay for that is over.
    Wrong,
    /// Too many passwords are being looked at; this one was not.
    TooMany,
}

/// The account that a name and a password prove.
pub(crate) async fn by_password(
    settings: &Settings,
    admission: &Mutex<Admission>,
    user: &[u8],
    password: Password,
) -> Result<Arc<Account>, Refused> {
    let name = escaped(user);
    let banned = lock(admission).is_banned();
    let account = match banned {
        true => Ok(None),
        false => settings.users.authenticate(user, password).await,
    };
    // Whoever was not looked at has not failed: a flood of guesses would get everybody banned.
    let Ok(account) = account else {
        info!(user = name, "login refused: too many at once");
        return Err(Refused::TooMany);
    };
    let Some(account) = account else {
        let delay = lock(admission).failed_login();
        info!(user = name, banned, "login failed");
        tokio::time::sleep(delay).await;
        return Err(Refused::Wrong);
    };
    Ok(account)
}

/// Counts the visitor among the sessions of the account that it has proved. Whether it has proved anything is the
/// anonymous account's difference.
pub(crate) fn enter(
    settings: &Settings,
    admission: &Mutex<Admission>,
    user: &[u8],
    account: &Arc<Account>,
) -> Result<(), Turned> {
    let mut admission = lock(admission);
    if let Err(turned) = admission.logged_in(account) {
        info!(user = escaped(user), %turned, "login refused");
        return Err(turned);
    }
    if !settings.users.is_anonymous(user) {
        admission.forgive();
    }
    Ok(())
}

/// A name from the network as logs may have it.
pub(crate) fn escaped(user: &[u8]) -> String {
    String::from_utf8_lossy(user).escape_debug().to_string()
}

fn lock(admission: &Mutex<Admission>) -> MutexGuard<'_, Admission> {
    admission.lock().unwrap_or_else(PoisonError::into_inner)
}
