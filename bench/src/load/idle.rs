//! Sessions that are logged in and say nothing: what each occupies, and whether the server still answers.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::micros;
use crate::failed::Failed;
use crate::ftp::Session;
use crate::measure::{NOOP_P99, PROCESSES, SESSION, Sample, percentile};
use crate::server::Server;

/// How many log in at once.
const WORKERS: usize = 8;
/// This much memory is left to others, whatever a server takes.
const LEAVE_FREE: u64 = 2 * 1024 * 1024;
/// How many sessions say NOOP.
const NOOPS: usize = 1000;

/// Opens so many, looks, and closes them.
pub(super) fn sample(server: &Server, sessions: usize) -> Result<Sample, Failed> {
    let (memory, processes) = (server.account().memory(), server.account().processes());
    let mut open = open(server, sessions)?;
    let each = |before: f64, after: f64| (after - before) / sessions as f64;
    let (memory_now, processes_now) = (server.account().memory(), server.account().processes());
    let mut times = Vec::new();
    let step = sessions.div_ceil(NOOPS);
    for session in open.iter_mut().step_by(step) {
        let start = Instant::now();
        session.command("NOOP", &[200])?;
        times.push(micros(start.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(Sample::default()
        .with(&SESSION, each(memory as f64, memory_now as f64))
        .with(&NOOP_P99, percentile(&times, 0.99))
        .with(&PROCESSES, each(processes as f64, processes_now as f64)))
}

fn open(server: &Server, sessions: usize) -> Result<Vec<Session>, Failed> {
    let (next, open) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(sessions)));
    let login = server.login();
    let work = || -> Result<(), Failed> {
        while next.fetch_add(1, Ordering::Relaxed) < sessions {
            if free_memory() < LEAVE_FREE {
                next.store(sessions, Ordering::Relaxed);
                let so_far = open.lock().map_or(0, |open| open.len());
                return Err(Failed::Missing(format!("memory for more than {so_far} sessions")));
            }
            let session = Session::open(&login)?;
            if let Ok(mut open) = open.lock() {
                open.push(session);
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
    let open = open.into_inner().unwrap_or_default();
    crate::failed::expect("sessions", sessions as u64, open.len() as u64)?;
    Ok(open)
}

/// KiB that may still be had.
fn free_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(u64::MAX)
}
