//! What the service manager is told (sd_notify(3)); without one, nothing.

use sd_notify::NotifyState;

/// Sockets are bound and the configuration holds.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload has begun; [`ready`] ends it.
pub(crate) fn reloading() {
    // Type=notify-reload wants to know when.
    let states = [
        Some(NotifyState::Reloading),
        NotifyState::monotonic_usec_now().ok(),
    ];
    tell(&states.into_iter().flatten().collect::<Vec<_>>());
}

/// The server ends once its transfers have.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager was not told");
    }
}
