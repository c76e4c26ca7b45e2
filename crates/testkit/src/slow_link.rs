//! A TCP proxy that makes the loopback a slow, long way: bytes arrive late and at a limited rate.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

/// Blocks on the way in one direction of one connection.
const ON_THE_WAY: usize = 16;

/// A listening proxy in front of a server. To lead data connections over it too, give it the server's port on another
/// loopback address (`127.0.0.2`): a client that dials the control host for data then comes this way, and the server
/// sees one peer.
#[derive(Debug)]
pub struct SlowLink {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    listener: Option<JoinHandle<()>>,
}

impl SlowLink {
    /// Forwards `from` to `to`, each direction of each connection `delay` late and at `rate` bytes a second.
    ///
    /// # Errors
    /// When `from` is taken.
    pub fn start(from: SocketAddr, to: SocketAddr, delay: Duration, rate: u32) -> io::Result<Self> {
        let listener = TcpListener::bind(from)?;
        let address = listener.local_addr()?;
        let (ended, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_ended, count) = (ended.clone(), connections.clone());
        let listener = spawn(move || {
            for client in listener.incoming() {
                if is_ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                carry(&client, &server, delay, rate);
                carry(&server, &client, delay, rate);
            }
        });
        Ok(Self {
            address,
            ended,
            connections,
            listener: Some(listener),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections went over it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address); // wakes the listener
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// What travels: bytes with the time they may arrive, or the way the stream ended.
enum Parcel {
    Bytes(Instant, Vec<u8>),
    End(Instant),
    Reset,
}

fn carry(from: &TcpStream, to: &TcpStream, delay: Duration, rate: u32) {
    let (Ok(source), Ok(from), Ok(to)) = (from.try_clone(), from.try_clone(), to.try_clone()) else {
        return;
    };
    let _ = to.set_nodelay(true);
    let (sender, receiver) = sync_channel(ON_THE_WAY);
    spawn(move || take_in(source, &sender, delay));
    spawn(move || {
        if give_out(&receiver, &to, rate).is_err() {
            // A reset goes on as a reset: a stream that was cut must not look like one that ended.
            let _ = (reset(&from), reset(&to));
        }
    });
}

fn take_in(mut from: TcpStream, way: &SyncSender<Parcel>, delay: Duration) {
    loop {
        let mut block = vec![0; 16 * 1024];
        let read = from.read(&mut block);
        let due = Instant::now() + delay;
        let (parcel, more) = match read {
            Ok(0) => (Parcel::End(due), false),
            Ok(read) => {
                block.truncate(read);
                (Parcel::Bytes(due, block), true)
            }
            Err(_) => (Parcel::Reset, false),
        };
        if way.send(parcel).is_err() || !more {
            return;
        }
    }
}

fn give_out(way: &Receiver<Parcel>, mut to: &TcpStream, rate: u32) -> io::Result<()> {
    while let Ok(parcel) = way.recv() {
        match parcel {
            Parcel::Bytes(due, bytes) => {
                sleep(due.saturating_duration_since(Instant::now()));
                to.write_all(&bytes)?;
                sleep(Duration::from_secs(1) * u32::try_from(bytes.len()).unwrap_or(u32::MAX) / rate);
            }
            Parcel::End(due) => {
                sleep(due.saturating_duration_since(Instant::now()));
                return to.shutdown(Shutdown::Write);
            }
            Parcel::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
    Ok(())
}

/// Makes the close a RST (`SO_LINGER` 0). Shutting down the reading half sends nothing; it wakes the clone that reads, so
/// that all clones are dropped.
fn reset(tcp: &TcpStream) -> io::Result<()> {
    set_socket_linger(tcp, Some(Duration::ZERO))?;
    tcp.shutdown(Shutdown::Read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{noise, sha256_of};

    #[test]
    fn bytes_arrive_whole_late_and_slowly_and_the_end_arrives_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let echo = spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            peer.write_all(&bytes).unwrap();
        });
        let link = SlowLink::start(
            "127.0.0.2:0".parse().unwrap(),
            to,
            Duration::from_millis(20),
            2_000_000,
        )
        .unwrap();
        let sent = noise(1, 100_000);
        let start = Instant::now();
        let mut client = TcpStream::connect(link.address()).unwrap();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(sha256_of(&received), sha256_of(&sent));
        // Twice 20 ms late and twice 50 ms long; a lower bound only, so a busy machine cannot fail it.
        assert!(
            start.elapsed() > Duration::from_millis(120),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(link.connections(), 1);
        echo.join().unwrap();
    }

    #[test]
    fn a_reset_arrives_as_a_reset_and_not_as_an_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let link = SlowLink::start("127.0.0.2:0".parse().unwrap(), to, Duration::ZERO, 2_000_000).unwrap();
        let mut client = TcpStream::connect(link.address()).unwrap();
        client.write_all(b"half of it").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut bytes = [0; 10];
        server.read_exact(&mut bytes).unwrap();
        set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(
            server.read(&mut bytes).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }
}
