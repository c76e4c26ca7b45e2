//! One large file down or up: bytes a second, and what they cost both sides.

use std::fs::File;
use std::time::Instant;

use crate::account::own_cpu;
use crate::failed::{During as _, Failed, expect};
use crate::ftp::Session;
use crate::link::{Drain, Link, connect};
use crate::measure::{CLIENT_OF_GIB, CPU_OF_GIB, SPEED, Sample};
use crate::peer::Speaks;
use crate::server::Server;
use crate::tls;
use crate::tree::Tree;

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// Down, from a server of whatever kind.
pub(super) fn retr(server: &Server, tree: &Tree) -> Result<Sample, Failed> {
    let (drain, size) = (Drain::new()?, tree.sizes.large);
    match server.peer.speaks {
        Speaks::Ftp => {
            let mut session = Session::open(&server.login())?.binary()?;
            let sample = timed(server, size, || {
                let mut data = session.transfer("RETR large")?;
                let got = data.drain(&drain)?;
                data.finish()?;
                drop(data);
                session.done("RETR large")?;
                expect("RETR", size, got)
            })?;
            session.quit()?;
            Ok(sample)
        }
        Speaks::Http => {
            let mut link = bare(server)?;
            timed(server, size, || expect("GET", size, get(&mut link, &drain)?))
        }
        Speaks::Download | Speaks::Upload => timed(server, size, || {
            expect("the file", size, bare(server)?.drain(&drain)?)
        }),
    }
}

/// Up.
pub(super) fn stor(server: &Server, tree: &Tree) -> Result<Sample, Failed> {
    let size = tree.sizes.large;
    let file = File::open(tree.file("large")).during("the file to send")?;
    if server.peer.speaks == Speaks::Ftp {
        let path = tree.fresh_upload("large")?;
        let command = format!("STOR {path}");
        let mut session = Session::open(&server.login())?.binary()?;
        let sample = timed(server, size, || {
            let mut data = session.transfer(&command)?;
            data.send(&file, size)?;
            data.finish()?;
            drop(data);
            session.done(&command)
        })?;
        session.quit()?;
        expect("STOR", size, tree.uploaded(&path))?;
        tree.fresh_upload("large")?;
        return Ok(sample);
    }
    tree.fresh_upload("limit")?;
    let sample = timed(server, size, || {
        let mut link = bare(server)?;
        link.send(&file, size)?;
        link.finish()?;
        // It closes when it has written everything.
        link.end()
    })?;
    expect("the file", size, tree.uploaded("up/limit"))?;
    tree.fresh_upload("limit")?;
    Ok(sample)
}

fn timed(server: &Server, size: u64, run: impl FnOnce() -> Result<(), Failed>) -> Result<Sample, Failed> {
    let (cpu, own, start) = (server.cpu(), own_cpu(), Instant::now());
    run()?;
    let time = start.elapsed().as_secs_f64();
    let (cpu, own) = (server.cpu() - cpu, own_cpu() - own);
    let gib = size as f64 / GIB;
    Ok(Sample::default()
        .with(&SPEED, size as f64 / MIB / time)
        .with(&CPU_OF_GIB, cpu / gib)
        .with(&CLIENT_OF_GIB, own / gib))
}

fn bare(server: &Server) -> Result<Link, Failed> {
    let config = server.tls.then(tls::visitor).transpose()?;
    Link::over(connect(server.address)?, config.as_ref())
}

/// GET, and the length of what comes.
fn get(link: &mut Link, drain: &Drain) -> Result<u64, Failed> {
    link.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let (mut head, mut buffer) = (Vec::new(), vec![0; 4096]);
    let body = loop {
        if !link.read(&mut buffer, &mut |bytes| head.extend_from_slice(bytes))? {
            return Err(Failed::Protocol("no HTTP response".to_owned()));
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    if !head.starts_with(b"HTTP/1.1 200 ") {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        return Err(Failed::Protocol(String::from_utf8_lossy(line).into_owned()));
    }
    Ok((head.len() - body) as u64 + link.drain(drain)?)
}
