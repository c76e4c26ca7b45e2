//! What can be proved from inside: that a router turns a connection to its public address back to our own server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long our own server, one router away, may take to answer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Whether dialling `endpoint` leads to a server that greets as we do. Most routers do not turn connections back, so
/// `false` says nothing against the endpoint.
pub(crate) async fn own_dial(endpoint: SocketAddr, greeting: String) -> bool {
    let expected = greeting.as_bytes();
    let dial = async {
        let mut stream = TcpStream::connect(endpoint).await?;
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).await?;
        std::io::Result::Ok(heard == expected)
    };
    matches!(timeout(PATIENCE, dial).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_our_own_greeting_proves_that_the_way_leads_to_us() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"220 Router setup\r\n").await.unwrap();
            }
        });
        assert!(own_dial(address, "220 Router setup".into()).await);
        assert!(!own_dial(address, "220 Pasarela".into()).await);
        server.await.unwrap();
        assert!(!own_dial(address, "220 Router setup".into()).await);
    }
}
