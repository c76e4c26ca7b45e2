//! UPnP Internet Gateway Device: WANIPConnection:1 and :2, WANPPPConnection:1 for IPv4, WANIPv6FirewallControl:1 for
//! pinholes.
//!
//! Only the gateway is believed: an answer from elsewhere, or one that points elsewhere, is none.

mod http;
mod service;
mod soap;
mod ssdp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::{Asked, Granted, Refusal};
pub(super) use service::Control;
use service::{Service, code};
pub(super) use ssdp::PORT as SSDP_PORT;

/// How long everything together may take.
const PATIENCE: Duration = Duration::from_secs(8);

const PINHOLES: &str = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";

/// Services that map ports, the better first. The second version of WANIPConnection chooses a free port itself.
const CONNECTIONS: [&str; 3] = [
    CONNECTION_2,
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
const CONNECTION_2: &str = "urn:schemas-upnp-org:service:WANIPConnection:2";

/// Looks for the router's services and asks for a mapping or a pinhole.
pub(super) async fn map(asked: &Asked, gateway: SocketAddr) -> Result<Granted, Refusal> {
    in_time(async {
        let services = services(asked.inside.ip(), gateway).await?;
        match asked.client() {
            SocketAddr::V4(_) => map_v4(services, asked, gateway).await,
            SocketAddr::V6(_) => {
                let firewall = services.into_iter().find(|service| service.is(PINHOLES));
                firewall.ok_or(Refusal::NoService)?.pinhole(asked, gateway).await
            }
        }
    })
    .await
}

/// Asks for a mapping again; the outside port is in `asked`.
pub(super) async fn renew_mapping(
    asked: &Asked,
    gateway: SocketAddr,
    control: &Control,
) -> Result<Granted, Refusal> {
    in_time(async {
        let known = Service::new(asked.inside.ip(), control.clone());
        match known.connected(asked, gateway).await {
            // A router that was restarted may listen elsewhere.
            Err(refusal) if refusal.is_silence() => map(asked, gateway).await,
            settled => settled,
        }
    })
    .await
}

/// Gives a pinhole another life, or opens a new one if the router has forgotten it.
pub(super) async fn renew_pinhole(
    asked: &Asked,
    gateway: SocketAddr,
    control: &Control,
    id: u16,
) -> Result<Granted, Refusal> {
    in_time(async {
        let known = Service::new(asked.inside.ip(), control.clone());
        let seconds = asked.seconds().to_string();
        let update = [("UniqueID", &*id.to_string()), ("NewLeaseTime", &*seconds)];
        match known.ask("UpdatePinhole", &update).await {
            Ok(_) => Ok(known.opened(asked, gateway, id)),
            Err(Refusal::Upnp { code, .. }) if code == code::NO_SUCH_PINHOLE => {
                known.pinhole(asked, gateway).await
            }
            Err(refusal) if refusal.is_silence() => map(asked, gateway).await,
            Err(refusal) => Err(refusal),
        }
    })
    .await
}

/// Takes a mapping back, if it is to `client`, which is us. One that is gone already is as good.
pub(super) async fn remove_mapping(
    from: IpAddr,
    client: SocketAddr,
    gateway: SocketAddr,
    control: &Control,
    outside: u16,
) -> Result<(), Refusal> {
    in_time(async {
        let known = Service::new(from, control.clone());
        match known.unmap(client, outside).await {
            Err(refusal) if refusal.is_silence() => {
                let services = services(from, gateway).await?;
                let again = services.into_iter().find(|service| service.is(&control.service));
                again.ok_or(Refusal::NoService)?.unmap(client, outside).await
            }
            settled => settled,
        }
    })
    .await
}

/// Closes a pinhole. One that is gone already is as good.
pub(super) async fn remove_pinhole(
    from: IpAddr,
    gateway: SocketAddr,
    control: &Control,
    id: u16,
) -> Result<(), Refusal> {
    in_time(async {
        let known = Service::new(from, control.clone());
        match known.close(id).await {
            Err(refusal) if refusal.is_silence() => {
                let services = services(from, gateway).await?;
                let again = services.into_iter().find(|service| service.is(PINHOLES));
                again.ok_or(Refusal::NoService)?.close(id).await
            }
            settled => settled,
        }
    })
    .await
}

async fn in_time<T>(asking: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    // Boxed, as renewing goes on to mapping.
    timeout(PATIENCE, Box::pin(asking))
        .await
        .unwrap_or(Err(Refusal::NoAnswer))
}

/// Asks each connection service in turn whether it has an outside address: routers describe services for ways to the
/// Internet that are not in use.
async fn map_v4(services: Vec<Service>, asked: &Asked, gateway: SocketAddr) -> Result<Granted, Refusal> {
    let mut refused = Refusal::NoService;
    for name in CONNECTIONS {
        for service in services.iter().filter(|service| service.is(name)) {
            match service.connected(asked, gateway).await {
                Err(refusal @ (Refusal::NetworkFailure | Refusal::Upnp { .. } | Refusal::Unsupported)) => {
                    refused = refusal;
                }
                settled => return settled,
            }
        }
    }
    Err(refused)
}

/// The services of the router that we know how to ask.
async fn services(from: IpAddr, gateway: SocketAddr) -> Result<Vec<Service>, Refusal> {
    let description = ssdp::discover(from, gateway).await?;
    let text = http::get(from, &description).await?;
    let described = soap::services(&text)?;
    let base = match &described.base {
        Some(base) => ssdp::trusted(base, from, gateway)?,
        None => description,
    };
    let mut services = Vec::new();
    for (service, control) in described.services {
        if service != PINHOLES && !CONNECTIONS.contains(&&*service) {
            continue;
        }
        let target = match control.contains("://") {
            true => ssdp::trusted(&control, from, gateway)?,
            false => base.join(&control)?,
        };
        services.push(Service::new(from, Control { target, service }));
    }
    match services.is_empty() {
        true => Err(Refusal::NoService),
        false => Ok(services),
    }
}

impl Refusal {
    /// Whether nobody spoke: perhaps somebody does elsewhere.
    fn is_silence(&self) -> bool {
        matches!(self, Self::NoAnswer | Self::PortUnreachable)
    }
}

#[cfg(test)]
mod tests;
