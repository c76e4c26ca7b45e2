//! STUB
pub(crate) mod hops;
use std::net::*;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Loopback,
    Private,
    Shared,
    LinkLocal,
    UniqueLocal,
    Documentation,
    Global,
}
impl Class {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) if a.is_private() => Self::Private,
            IpAddr::V4(a) if a.octets()[0] == 100 && a.octets()[1] & 0xc0 == 64 => Self::Shared,
            IpAddr::V4(a) if a.is_link_local() => Self::LinkLocal,
            IpAddr::V6(a) if a.is_unique_local() => Self::UniqueLocal,
            IpAddr::V6(a) if a.is_unicast_link_local() => Self::LinkLocal,
            a if a.is_loopback() => Self::Loopback,
            _ => Self::Global,
        }
    }
    pub(crate) fn is_public(self) -> bool {
        self == Self::Global
    }
}
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Links {
    pub source_v4: Option<Ipv4Addr>,
    pub source_v6: Option<Ipv6Addr>,
    pub gateway_v4: Option<Ipv4Addr>,
    pub gateway_v6: Option<(Ipv6Addr, u32)>,
}
impl Links {
    pub(crate) fn read() -> Self {
        Self::default()
    }
    pub(crate) fn is_on_link(&self, _: IpAddr) -> bool {
        false
    }
}
pub(crate) struct Changes;
impl Changes {
    pub(crate) fn watch() -> Self {
        Self
    }
    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}
impl Class {
    pub(crate) fn is_behind_nat(self) -> bool {
        matches!(self, Self::Private | Self::Shared | Self::LinkLocal)
    }
}
