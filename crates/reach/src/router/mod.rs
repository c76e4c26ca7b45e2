//! STUB
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub gateway: IpAddr,
    pub scope: u32,
    pub inside: SocketAddr,
    pub outside: u16,
    pub lifetime: Duration,
}
/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// x
    Pcp,
    /// x
    NatPmp,
    /// x
    Upnp,
}
impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
/// x
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// x
    #[error("x")]
    NoAnswer,
    /// x
    #[error("y")]
    PortUnreachable,
}
#[derive(Debug)]
pub(crate) struct Mapping {
    outside: SocketAddr,
}
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leftover;
impl Mapping {
    pub(crate) fn outside(&self) -> SocketAddr {
        self.outside
    }
    pub(crate) fn inside(&self) -> IpAddr {
        self.outside.ip()
    }
    pub(crate) fn protocol(&self) -> Protocol {
        Protocol::Pcp
    }
    pub(crate) async fn renew(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
    pub(crate) async fn remove(self) {}
    pub(crate) fn leftover(&self) -> Leftover {
        Leftover
    }
}
pub(crate) async fn map(_a: &Asked, _p: Protocol) -> Result<Mapping, Refusal> {
    Err(Refusal::NoAnswer)
}
#[derive(Debug)]
pub(crate) struct Journal;
impl Journal {
    pub(crate) fn new(_p: std::path::PathBuf) -> Self {
        Self
    }
    pub(crate) async fn add(&self, _l: Leftover) {}
    pub(crate) async fn remove(&self, _l: &Leftover) {}
}
