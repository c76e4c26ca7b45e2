//! One service of the router: asked for its address, for mappings and for pinholes.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::super::leftover::How;
use super::super::{Asked, Granted, Refusal};
use super::soap::{self, Fields};
use super::{CONNECTION_2, http};

/// How many outside ports are tried.
pub(super) const TRIES: u16 = 4;

/// The name of our mappings in the router's own list.
const DESCRIPTION: &str = "pasarela";

/// Error codes of the services' documents.
pub(super) mod code {
    pub(in super::super) const INVALID_ACTION: u16 = 401;
    pub(in super::super) const NOT_IMPLEMENTED: u16 = 602;
    pub(in super::super) const NOT_AUTHORIZED: u16 = 606;
    /// WANIPv6FirewallControl:1 §2.5.
    pub(in super::super) const NO_SUCH_PINHOLE: u16 = 704;
    /// WANIPConnection:1 §2.5.
    pub(in super::super) const NO_SUCH_ENTRY: u16 = 714;
    pub(in super::super) const CONFLICT: u16 = 718;
    pub(in super::super) const SAME_PORT_REQUIRED: u16 = 724;
    pub(in super::super) const ONLY_PERMANENT: u16 = 725;
    /// WANIPConnection:2 §2.5.
    pub(in super::super) const NO_PORT_LEFT: u16 = 728;
    pub(in super::super) const OTHER_CONFLICT: u16 = 729;
}

/// A service of a router, and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Control {
    #[serde(flatten)]
    pub(super) target: http::Target,
    pub(super) service: String,
}

/// A service, and the address that we ask it from.
pub(super) struct Service {
    from: IpAddr,
    control: Control,
}

impl Service {
    pub(super) fn new(from: IpAddr, control: Control) -> Self {
        Self { from, control }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.control.service == name
    }

    pub(super) async fn ask(&self, action: &str, arguments: &[(&str, &str)]) -> Result<Fields, Refusal> {
        let Control { target, service } = &self.control;
        let envelope = soap::envelope(service, action, arguments);
        let (status, text) =
            http::post(self.from, target, &format!("\"{service}#{action}\""), &envelope).await?;
        soap::answer(action, status, &text)
    }

    /// A mapping with the address that it leads from.
    pub(super) async fn connected(&self, asked: &Asked, gateway: SocketAddr) -> Result<Granted, Refusal> {
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
        let (mut tried, mut taken) = (0, port);
        while tried < TRIES {
            // Some routers give one machine's port to another that asks for it.
            if action == "AddPortMapping"
                && self
                    .owner(port)
                    .await
                    .is_ok_and(|owner| owner.is_some_and(|o| o != client))
            {
                (taken, port, tried) = (port, next(port), tried + 1);
                continue;
            }
            match self.add(action, port, client, lease).await {
                Ok(reserved) => {
                    return Ok((reserved.unwrap_or(port), Some(lease).filter(|lease| *lease > 0)));
                }
                Err(Refusal::Upnp { code, text }) => match code {
                    code::ONLY_PERMANENT if lease > 0 => lease = 0,
                    code::SAME_PORT_REQUIRED if port != client.port() => port = client.port(),
                    code::CONFLICT | code::OTHER_CONFLICT => {
                        (taken, port, tried) = (port, next(port), tried + 1)
                    }
                    code::NO_PORT_LEFT => return Err(Refusal::NoResources),
                    code => return Err(Refusal::Upnp { code, text }),
                },
                Err(Refusal::Unsupported) if action != "AddPortMapping" => action = "AddPortMapping",
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::PortTaken(taken))
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

    pub(super) async fn unmap(&self, client: SocketAddr, outside: u16) -> Result<(), Refusal> {
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
    pub(super) async fn pinhole(&self, asked: &Asked, gateway: SocketAddr) -> Result<Granted, Refusal> {
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

    pub(super) fn opened(&self, asked: &Asked, gateway: SocketAddr, id: u16) -> Granted {
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

    pub(super) async fn close(&self, id: u16) -> Result<(), Refusal> {
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
