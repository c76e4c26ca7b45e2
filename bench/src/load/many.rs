//! Many small things by several workers at once: files a second, logins a second, and how long each took.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::micros;
use crate::account::own_cpu;
use crate::failed::{Failed, expect};
use crate::ftp::Session;
use crate::measure::{
    CLIENT_OF_ONE, CPU_OF_ONE, FILES, LOGINS, Measure, P50, P99, REFUSED, Sample, percentile,
};
use crate::server::Server;
use crate::tree::{SMALL, Tree};

/// Small files down.
pub(super) fn retr(server: &Server, tree: &Tree, sessions: usize, time: Duration) -> Result<Sample, Failed> {
    let files = tree.sizes.small;
    let prepare = |_| Ok((Session::open(&server.login())?.binary()?, vec![0; 64 * 1024]));
    let done = work(
        server,
        sessions,
        time,
        prepare,
        |(session, buffer), worker, number| {
            let file = (number * 7 + worker as u64 * 131) % files;
            let command = format!("RETR small/f{file:04}");
            let mut data = session.transfer(&command)?;
            let got = data.count(buffer)?;
            data.finish()?;
            drop(data);
            session.done(&command)?;
            expect("RETR", SMALL, got)
        },
    )?;
    Ok(done.sample(&FILES))
}

/// Small files up. Each worker writes over its own again and again, so that folders stay as small as they are.
pub(super) fn stor(server: &Server, tree: &Tree, sessions: usize, time: Duration) -> Result<Sample, Failed> {
    const EACH: u64 = 100;
    let content = vec![0x5a; SMALL as usize];
    let prepare = |_| Session::open(&server.login())?.binary();
    let name = |worker, number| format!("w{worker}-{}", number % EACH);
    let done = work(server, sessions, time, prepare, |session, worker, number| {
        let command = format!("STOR up/{}", name(worker, number));
        let mut data = session.transfer(&command)?;
        data.write(&content)?;
        data.finish()?;
        drop(data);
        session.done(&command)
    })?;
    for worker in 0..sessions {
        let written = (0..EACH).map(|number| format!("up/{}", name(worker, number)));
        let lengths: Vec<_> = written.map(|path| tree.uploaded(&path)).collect();
        // The first one is there, and whatever is there is whole.
        expect("STOR", SMALL, lengths[0])?;
        for length in lengths.into_iter().filter(|length| *length > 0) {
            expect("STOR", SMALL, length)?;
        }
        for number in 0..EACH {
            tree.fresh_upload(&name(worker, number))?;
        }
    }
    Ok(done.sample(&FILES))
}

/// Connect, log in, QUIT.
pub(super) fn login(server: &Server, workers: usize, time: Duration) -> Result<Sample, Failed> {
    let login = server.login();
    let done = work(
        server,
        workers,
        time,
        |_| Ok(()),
        |(), _, _| Session::open(&login)?.quit(),
    )?;
    Ok(done.sample(&LOGINS))
}

/// What all workers have done together.
struct Done {
    times: Vec<f64>,
    refused: u64,
    seconds: f64,
    server: f64,
    own: f64,
}

/// What one worker has done.
#[derive(Default)]
struct Part {
    times: Vec<f64>,
    refused: u64,
}

impl Done {
    fn sample(mut self, rate: &'static Measure) -> Sample {
        self.times.sort_by(f64::total_cmp);
        let count = self.times.len() as f64;
        Sample::default()
            .with(rate, count / self.seconds)
            .with(&CPU_OF_ONE, self.server * 1e6 / count)
            .with(&P50, percentile(&self.times, 0.5))
            .with(&P99, percentile(&self.times, 0.99))
            .with(&CLIENT_OF_ONE, self.own * 1e6 / count)
            .with(&REFUSED, self.refused as f64)
    }
}

/// Has each worker do one thing after the other, each at least once. Refusals (4yz) are counted and tried again.
fn work<S>(
    server: &Server,
    workers: usize,
    time: Duration,
    prepare: impl Fn(usize) -> Result<S, Failed> + Sync,
    one: impl Fn(&mut S, usize, u64) -> Result<(), Failed> + Sync,
) -> Result<Done, Failed> {
    let (ready, over) = (Barrier::new(workers + 1), AtomicBool::new(false));
    let worker = |worker: usize| -> Result<Part, Failed> {
        let prepared = prepare(worker);
        // Everybody comes here, also who cannot go on: the others wait.
        ready.wait();
        let mut state = prepared?;
        let (mut part, mut number) = (Part::default(), 0);
        while number == 0 || !over.load(Ordering::Relaxed) {
            let start = Instant::now();
            match one(&mut state, worker, number) {
                Ok(()) => {
                    part.times.push(micros(start.elapsed()));
                    number += 1;
                }
                Err(refused) if refused.is_refusal() => {
                    part.refused += 1;
                    if part.refused > 10_000 {
                        return Err(refused);
                    }
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(part)
    };
    std::thread::scope(|scope| {
        let worker = &worker;
        let running: Vec<_> = (0..workers)
            .map(|number| scope.spawn(move || worker(number)))
            .collect();
        ready.wait();
        let (cpu, own, start) = (server.cpu(), own_cpu(), Instant::now());
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        // What was begun is finished, counted, and paid for.
        let parts: Vec<_> = running
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        let mut done = Done {
            times: Vec::new(),
            refused: 0,
            seconds: start.elapsed().as_secs_f64(),
            server: server.cpu() - cpu,
            own: own_cpu() - own,
        };
        for part in parts {
            let Ok(part) = part else {
                return Err(Failed::Missing("a worker has panicked".to_owned()));
            };
            let part = part?;
            done.times.extend(part.times);
            done.refused += part.refused;
        }
        Ok(done)
    })
}
