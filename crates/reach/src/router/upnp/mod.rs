//! UPnP Internet Gateway Device: WANIPConnection:1 and :2, WANPPPConnection:1 for IPv4, WANIPv6FirewallControl:1 for
//! pinholes.
//!
//! Only the gateway is believed: an answer from elsewhere, or one that points elsewhere, is none.

mod http;
mod soap;
mod ssdp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::leftover::How;
use super::{Asked, Granted, Refusal};
use soap::Fields;
pub(super) use ssdp::PORT as SSDP_PORT;

/// How long everything together may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// How many outside ports are tried.
const TRIES: u16 = 4;

/// The name of our mappings in the router's own list.
const DESCRIPTION: &str = "pasarela";

const PINHOLES: &str = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";

/// Services that map ports, the better first. The second version of WANIPConnection chooses a free port itself.
const CONNECTIONS: [&str; 3] = [
    CONNECTION_2,
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
const CONNECTION_2: &str = "urn:schemas-upnp-org:service:WANIPConnection:2";

/// Error codes of the services' documents.
mod code {
    pub(super) const INVALID_ACTION: u16 = 401;
    pub(super) const NOT_IMPLEMENTED: u16 = 602;
    pub(super) const NOT_AUTHORIZED: u16 = 606;
    /// WANIPv6FirewallControl:1 §2.5.
    pub(super) const NO_SUCH_PINHOLE: u16 = 704;
    /// WANIPConnection:1 §2.5.
    pub(super) const NO_SUCH_ENTRY: u16 = 714;
    pub(super) const CONFLICT: u16 = 718;
    pub(super) const SAME_PORT_REQUIRED: u16 = 724;
    pub(super) const ONLY_PERMANENT: u16 = 725;
    /// WANIPConnection:2 §2.5.
    pub(super) const NO_PORT_LEFT: u16 = 728;
    pub(super) const OTHER_CONFLICT: u16 = 729;
}

/// A service of a router, and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Control {
    #[serde(flatten)]
    target: http::Target,
    service: String,
}

/// A service, and the address that we ask it from.
struct Service {
    from: IpAddr,
    control: Control,
}

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

impl Service {
    fn new(from: IpAddr, control: Control) -> Self {
        Self { from, control }
    }

    fn is(&self, name: &str) -> bool {
        self.control.service == name
    }

    async fn ask(&self, action: &str, arguments: &[(&str, &str)]) -> Result<Fields, Refusal> {
        let Control { target, service } = &self.control;
        let envelope = soap::envelope(service, action, arguments);
        let (status, text) =
            http::post(self.from, target, &format!("\"{service}#{action}\""), &envelope).await?;
        soap::answer(action, status, &text)
    }

    /// A mapping with the address that it leads from.
    async fn connected(&self, asked: &Asked, gateway: SocketAddr) -> Result<Granted, Refusal> {
        let fields = self.ask("GetExternalIPAddress", &[]).await?;
        // A router without a connection leaves it empty, or writes zeros.
        let address = fields.get("NewExternalIPAddress").map_or("", String::as_str);
        let address: IpAddr = address.parse().map_err(|_| Refusal::NetworkFailure)?;
        if address.is_unspecified() {
            return Err(Refusal::NetworkFailure);
        }
        let (port, lifetime) = self.mapped(asked).await?;
        Ok(Granted {
            outside: SocketAddr::new(address, port),
            lifetime,
            how: How::Upnp {
                gateway,
                control: self.control.clone(),
            },
        })
    }

    /// A mapping to the wished outside port, or one near it that nobody else has: the port and the lease.
    async fn mapped(&self, asked: &Asked) -> Result<(u16, Option<u32>), Refusal> {
        let client = asked.client();
        let (mut port, mut lease) = (asked.outside.max(1), asked.seconds());
        let mut action = match self.is(CONNECTION_2) {
            true => "AddAnyPortMapping",
            false => "AddPortMapping",
        };
        let mut tried = 0;
        while tried < TRIES {
            // Some routers give one machine's port to another that asks for it.
            if action == "AddPortMapping"
                && self
                    .owner(port)
                    .await
                    .is_ok_and(|owner| owner.is_some_and(|o| o != client))
            {
                (port, tried) = (next(port), tried + 1);
                continue;
            }
            match self.add(action, port, client, lease).await {
                Ok(reserved) => {
                    return Ok((reserved.unwrap_or(port), Some(lease).filter(|lease| *lease > 0)));
                }
                Err(Refusal::Upnp { code, text }) => match code {
                    code::ONLY_PERMANENT if lease > 0 => lease = 0,
                    code::SAME_PORT_REQUIRED if port != client.port() => port = client.port(),
                    code::CONFLICT | code::OTHER_CONFLICT => (port, tried) = (next(port), tried + 1),
                    code::NO_PORT_LEFT => return Err(Refusal::NoResources),
                    code => return Err(Refusal::Upnp { code, text }),
                },
                Err(Refusal::Unsupported) if action != "AddPortMapping" => action = "AddPortMapping",
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::PortTaken(port))
    }

    /// One request; the port that the router has chosen, where it may choose.
    async fn add(
        &self,
        action: &str,
        outside: u16,
        client: SocketAddr,
        lease: u32,
    ) -> Result<Option<u16>, Refusal> {
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &*outside.to_string()),
            ("NewProtocol", "TCP"),
            ("NewInternalPort", &*client.port().to_string()),
            ("NewInternalClient", &*client.ip().to_string()),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", DESCRIPTION),
            ("NewLeaseDuration", &*lease.to_string()),
        ];
        let fields = self.ask(action, &arguments).await?;
        match fields.get("NewReservedPort").map(|port| port.parse::<u16>()) {
            Some(Ok(port)) if port > 0 => Ok(Some(port)),
            Some(_) => Err(Refusal::Malformed("a reserved port that is none")),
            None => Ok(None),
        }
    }

    /// Whose an outside port is; nobody's where the router knows no such mapping.
    async fn owner(&self, outside: u16) -> Result<Option<SocketAddr>, Refusal> {
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &*outside.to_string()),
            ("NewProtocol", "TCP"),
        ];
        let fields = match self.ask("GetSpecificPortMappingEntry", &arguments).await {
            Err(Refusal::Upnp { code, .. }) if code == code::NO_SUCH_ENTRY => return Ok(None),
            answer => answer?,
        };
        let field = |name| fields.get(name).map_or("", String::as_str);
        let address = field("NewInternalClient").parse();
        let port = field("NewInternalPort").parse();
        match (address, port) {
            (Ok(address), Ok(port)) => Ok(Some(SocketAddr::new(address, port))),
            _ => Err(Refusal::Malformed("a mapping without an owner")),
        }
    }

    async fn unmap(&self, client: SocketAddr, outside: u16) -> Result<(), Refusal> {
        match self.owner(outside).await? {
            None => return Ok(()),
            Some(owner) if owner != client => return Err(Refusal::PortTaken(outside)),
            Some(_) => {}
        }
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &*outside.to_string()),
            ("NewProtocol", "TCP"),
        ];
        match self.ask("DeletePortMapping", &arguments).await {
            Err(Refusal::Upnp { code, .. }) if code == code::NO_SUCH_ENTRY => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// A hole in the firewall for everybody's TCP connections to our port.
    async fn pinhole(&self, asked: &Asked, gateway: SocketAddr) -> Result<Granted, Refusal> {
        let client = asked.client();
        let arguments = [
            ("RemoteHost", ""),
            ("RemotePort", "0"),
            ("InternalClient", &*client.ip().to_string()),
            ("InternalPort", &*client.port().to_string()),
            ("Protocol", "6"),
            ("LeaseTime", &*asked.seconds().to_string()),
        ];
        let fields = self.ask("AddPinhole", &arguments).await?;
        let id = fields.get("UniqueID").and_then(|id| id.parse().ok());
        let id = id.ok_or(Refusal::Malformed("a pinhole without an id"))?;
        Ok(self.opened(asked, gateway, id))
    }

    fn opened(&self, asked: &Asked, gateway: SocketAddr, id: u16) -> Granted {
        Granted {
            outside: asked.client(),
            lifetime: Some(asked.seconds()),
            how: How::Pinhole {
                gateway,
                control: self.control.clone(),
                id,
            },
        }
    }

    async fn close(&self, id: u16) -> Result<(), Refusal> {
        match self.ask("DeletePinhole", &[("UniqueID", &*id.to_string())]).await {
            Err(Refusal::Upnp { code, .. }) if code == code::NO_SUCH_PINHOLE => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// The port to try after this one; not below 1024, which routers seldom give.
fn next(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(1024).max(1024)
}

#[cfg(test)]
mod tests;
