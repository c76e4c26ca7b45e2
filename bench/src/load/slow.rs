//! Many downloads at once to clients on slow lines: all have to come to their end, none may stand still.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::millis;
use crate::failed::{During as _, Failed, expect};
use crate::ftp::Session;
use crate::measure::{COMPLETE, CPU_OF_GIB, LAST, SESSION, STALL, Sample};
use crate::server::Server;
use crate::tree::Tree;

const WORKERS: usize = 8;
const COMMAND: &str = "RETR slow";
/// Clients look for bytes so often.
const TICK: Duration = Duration::from_millis(20);
/// A line's buffer: what the server is ahead of its client beyond its own.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// So many times as long as the line needs, and a run is given up.
const PATIENCE: f64 = 6.0;

struct Download {
    session: Session,
    data: TcpStream,
    got: u64,
    progress: Duration,
    ended: bool,
}

/// Starts them all, takes from each at its line's rate, and waits for every 226.
pub(super) fn sample(server: &Server, tree: &Tree, sessions: usize, rate: u64) -> Result<Sample, Failed> {
    let size = tree.sizes.slow;
    let (memory, cpu) = (server.account().memory(), server.cpu());
    let mut downloads = begin(server, sessions)?;
    let nominal = size as f64 / rate as f64;
    let start = Instant::now();
    let (mut left, mut stall, mut half) = (sessions, Duration::ZERO, None);
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let now = start.elapsed();
        let allowed = (now.as_secs_f64() * rate as f64) as u64;
        if now.as_secs_f64() > nominal * PATIENCE + 10.0 {
            return Err(Failed::Protocol(format!("{left} downloads do not end")));
        }
        for download in downloads.iter_mut().filter(|download| !download.ended) {
            if download.take(allowed, &mut buffer)? {
                stall = stall.max(now.saturating_sub(download.progress));
                download.progress = now;
            }
            left -= usize::from(download.ended);
        }
        if now.as_secs_f64() > nominal / 2.0 {
            half.get_or_insert_with(|| server.account().memory());
        }
        std::thread::sleep(TICK.saturating_sub(start.elapsed().saturating_sub(now)));
    }
    let last = start.elapsed().as_secs_f64();
    for download in &mut downloads {
        expect(COMMAND, size, download.got)?;
        download.session.done(COMMAND)?;
    }
    let cpu = server.cpu() - cpu;
    let gib = (size * sessions as u64) as f64 / f64::from(1 << 30);
    let grown = half.unwrap_or(memory).saturating_sub(memory);
    Ok(Sample::default()
        .with(&COMPLETE, downloads.len() as f64)
        .with(&LAST, last)
        .with(&STALL, millis(stall))
        .with(&CPU_OF_GIB, cpu / gib)
        .with(&SESSION, grown as f64 / sessions as f64))
}

impl Download {
    /// Reads up to that many bytes in all; whether any came.
    fn take(&mut self, allowed: u64, buffer: &mut [u8]) -> Result<bool, Failed> {
        let before = self.got;
        while self.got < allowed {
            let wanted = buffer
                .len()
                .min(usize::try_from(allowed - self.got).unwrap_or(usize::MAX));
            match self.data.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => self.got += read as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).during("a slow download"),
            }
        }
        Ok(self.got > before)
    }
}

fn begin(server: &Server, sessions: usize) -> Result<Vec<Download>, Failed> {
    let (next, begun) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(sessions)));
    let login = server.login();
    let work = || -> Result<(), Failed> {
        while next.fetch_add(1, Ordering::Relaxed) < sessions {
            let mut session = Session::open(&login)?.binary()?;
            let data = loop {
                match session.begin(COMMAND) {
                    Err(refused) if refused.is_refusal() => {}
                    begun => break begun?,
                }
            };
            set_socket_recv_buffer_size(&data, RECEIVE_BUFFER).during("a socket's buffer")?;
            data.set_nonblocking(true).during("a socket")?;
            let download = Download {
                session,
                data,
                got: 0,
                progress: Duration::ZERO,
                ended: false,
            };
            if let Ok(mut begun) = begun.lock() {
                begun.push(download);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|worker| {
            let panicked = |_| Err(Failed::Missing("a worker has panicked".to_owned()));
            worker.join().unwrap_or_else(panicked)
        })
    })?;
    Ok(begun.into_inner().unwrap_or_default())
}
