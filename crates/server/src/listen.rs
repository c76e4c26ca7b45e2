//! The reception: what the switchboard has found to be a control connection is admitted and gets a task.

use std::sync::Weak;
use std::time::Duration;

use pasarela_tls::ServerTls;
use tracing::warn;

use crate::ftp::connection;
use crate::ftp::switchboard::{Caller, Control, Greeter, PlaceId};
use crate::service::Service;
use crate::sftp;

/// Greets for a service, for as long as that lives.
pub(crate) struct Reception(pub(crate) Weak<Service>);

impl Greeter for Reception {
    fn greet(&self, place: PlaceId, caller: Caller, control: Control) {
        if let Some(service) = self.0.upgrade() {
            match control {
                Control::Ssh(stream) => {
                    service.spawn(sftp::connection::serve(service.clone(), place, caller, stream));
                }
                control => service.spawn(connection::serve(service.clone(), place, caller, control)),
            }
        }
    }

    fn tls(&self) -> (Option<ServerTls>, Duration) {
        self.0.upgrade().map_or((None, Duration::ZERO), |service| {
            let settings = service.settings();
            (settings.tls.clone(), settings.limits.tls_handshake)
        })
    }

    fn descriptors_exhausted(&self) {
        if let Some(service) = self.0.upgrade() {
            let evicted =
                service.evict() || service.switchboard().is_ok_and(|switchboard| switchboard.evict());
            warn!(evicted, "no descriptors are left");
        }
    }
}
