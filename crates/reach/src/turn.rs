//! STUB
use std::net::*;
use std::time::Duration;
use tokio::sync::mpsc;
/// x
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnServer;
impl std::fmt::Display for TurnServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "turn")
    }
}
impl std::str::FromStr for TurnServer {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
}
/// x
#[derive(Debug)]
pub struct Incoming {
    /// x
    pub stream: tokio::net::TcpStream,
    /// x
    pub peer: SocketAddr,
}
#[derive(Debug)]
pub(crate) struct Allocation;
impl Allocation {
    pub(crate) async fn open(
        _: &TurnServer,
        _: Vec<(u16, Vec<u8>)>,
        _: Duration,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), String> {
        Err("x".into())
    }
    pub(crate) fn relayed(&self) -> SocketAddr {
        ([0, 0, 0, 0], 0).into()
    }
    pub(crate) async fn ended(&self) -> String {
        std::future::pending().await
    }
}
