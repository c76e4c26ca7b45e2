//! Streams of bare TCP: what the ends do costs least, so that the relay shows most.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use turn_types::attribute::ConnectionId;
use turn_types::message::CONNECTION_BIND;

use crate::bare::Bare;
use crate::client::{Client, HERE};
use crate::process::Relay;
use crate::{Bench, Direction};

/// Bytes a system call, as the ends that are quick about it have them.
const CHUNK: usize = 256 * 1024;

pub(crate) fn measure(bench: &Bench, relays: &[Relay]) {
    let behind_bare = std::net::TcpListener::bind((HERE, 0)).unwrap();
    let bare = Bare::start(behind_bare.local_addr().unwrap());
    for (what, direction) in [("plain down", Direction::Down), ("plain up", Direction::Up)] {
        bench.rounds(what, relays, Some(&bare), |way| {
            // coturn ends streams with the control connection that they came from.
            let (_control, behind, outside) = match way.checked_sub(1).map(|number| relays.get(number)) {
                None => direct(),
                Some(Some(relay)) => bench.runtime.block_on(through(relay)),
                Some(None) => {
                    let outside = TcpStream::connect(bare.address).unwrap();
                    (None, behind_bare.accept().unwrap().0, outside)
                }
            };
            Some(match direction {
                Direction::Down => carry(behind, outside, bench.mib),
                Direction::Up => carry(outside, behind, bench.mib),
            })
        });
    }
}

/// A control connection, the end behind the relay, and the end of who has connected.
type Ends = (Option<Client<tokio::net::TcpStream>>, TcpStream, TcpStream);

fn direct() -> Ends {
    let listener = std::net::TcpListener::bind((HERE, 0)).unwrap();
    let outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (None, listener.accept().unwrap().0, outside)
}

async fn through(relay: &Relay) -> Ends {
    let connect = || async { tokio::net::TcpStream::connect(relay.address).await.unwrap() };
    let mut control = Client::new(connect().await, "anna");
    let lent = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let outside = tokio::net::TcpStream::connect(lent).await.unwrap();
    let id = control.attempt().await.id();
    let mut behind = Client::new(connect().await, "anna");
    // coturn does not ask for credentials here but closes.
    behind.nonce.clone_from(&control.nonce);
    let bound = behind.request(CONNECTION_BIND, &[&ConnectionId::new(id)]).await;
    bound.success();
    (Some(control), blocking(behind.stream), blocking(outside))
}

fn blocking(stream: tokio::net::TcpStream) -> TcpStream {
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Seconds until the last byte has arrived.
fn carry(mut from: TcpStream, mut to: TcpStream, mib: u64) -> f64 {
    let start = Instant::now();
    let sender = thread::spawn(move || {
        let chunk = vec![0x5a; CHUNK];
        for _ in 0..mib * 1024 * 1024 / CHUNK as u64 {
            from.write_all(&chunk).unwrap();
        }
        // No end before all has arrived: coturn throws away what it has not passed on yet.
        from
    });
    let mut buffer = vec![0; CHUNK];
    let mut left = mib * 1024 * 1024;
    while left > 0 {
        let read = to.read(&mut buffer).unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left -= read as u64;
    }
    let took = start.elapsed().as_secs_f64();
    drop(sender.join().unwrap());
    took
}
