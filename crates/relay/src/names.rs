//! One port for TLS connections of many: the name that a connection asks for says whose it is.
//!
//! The ClientHello is looked at and left where it is (MSG_PEEK), so the holder of the name gets the connection from
//! its first byte, and the relay has no key to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::message::plain;
use crate::shared::{Shared, Stranger};
use crate::sockets;
use crate::tenancy::Arrival;

/// How long a ClientHello may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest that is looked at.
const LONGEST: usize = 16 * 1024;
/// Nothing tells when there is more to peek at.
const LOOK: Duration = Duration::from_millis(20);

/// Accepts until the future is dropped.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let from = plain(from);
        match shared.admit(from.ip()) {
            Some(stranger) => {
                let task = hand_on(Arc::clone(&shared), stream, from, stranger);
                shared.tasks.spawn(task);
            }
            None => {
                shared.metrics.connections_refused_total.up();
                sockets::reset_at_close(&stream);
            }
        }
    }
}

async fn hand_on(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, _stranger: Stranger) {
    sockets::prepare(&stream);
    let name = tokio::select! {
        name = timeout(DEADLINE, server_name(&stream)) => name.ok().and_then(Result::ok).flatten(),
        () = shared.stop.cancelled() => None,
    };
    let holder = name.as_deref().and_then(|name| shared.tenancies.holder(name));
    let arrival = Arrival { stream, peer };
    let unwanted = match holder {
        Some(holder) => holder.try_send(arrival).err().map(|error| error.into_inner()),
        None => Some(arrival),
    };
    if let Some(arrival) = unwanted {
        tracing::debug!(%peer, name = name.as_deref().map(tracing::field::debug), "no holder of this name");
        shared.metrics.names_unknown_total.up();
        sockets::reset_at_close(&arrival.stream);
    }
}

/// The name in the ClientHello that `stream` begins with; `None` when there is none, or no ClientHello.
async fn server_name(stream: &TcpStream) -> io::Result<Option<String>> {
    let mut buffer = vec![0; LONGEST];
    let mut before = 0;
    loop {
        let length = stream.peek(&mut buffer).await?;
        if length == before {
            // No news, or the end.
            sleep(LOOK).await;
            continue;
        }
        before = length;
        match client_hello(&buffer[..length]) {
            Hello::Unfinished if length < LONGEST => sleep(LOOK).await,
            Hello::Asks(name) => return Ok(Some(name)),
            Hello::Unfinished | Hello::Nothing => return Ok(None),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Hello {
    Unfinished,
    Asks(String),
    Nothing,
}

fn client_hello(mut bytes: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Hello::Nothing;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                return name.map_or(Hello::Nothing, Hello::Asks);
            }
            Err(_) => return Hello::Nothing,
        }
    }
    Hello::Unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_client_hello_has_no_name() {
        assert_eq!(client_hello(b"GET / HTTP/1.1\r\n\r\n"), Hello::Nothing);
        assert_eq!(client_hello(b""), Hello::Unfinished);
        assert_eq!(client_hello(&[0x16, 3, 1]), Hello::Unfinished);
        assert_eq!(client_hello(&[0x16, 3, 1, 0xff, 0xff, 1]), Hello::Nothing);
    }
}
