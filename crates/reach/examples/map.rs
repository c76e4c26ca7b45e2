//! Asks the router for one mapping, by hand: `map PROTOCOL INSIDE [GATEWAY [SEEN_AS]] [--keep FILE]`, `map links`,
//! `map watch`, `map sweep FILE`.
//!
//! INSIDE is a port, or an address and a port of this machine. The mapping is renewed once and removed, or, with
//! `--keep`, left on the router and written to FILE, as a process that is killed leaves it; `sweep` removes it.
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use pasarela_reach::router::{Asked, Journal, Protocol, map};
use pasarela_reach::survey::{Changes, Class, Links, source_towards};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let keep = match words.iter().position(|word| word == "--keep") {
        Some(at) => words.drain(at..).nth(1),
        None => None,
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let protocol =
        match words[..] {
            ["links"] => return links().await,
            ["watch"] => return watch().await,
            ["sweep", file] => return sweep(file).await,
            ["pcp", ..] => Protocol::Pcp,
            ["nat-pmp", ..] => Protocol::NatPmp,
            ["upnp", ..] => Protocol::Upnp,
            _ => return Err(
                "map links | watch | sweep FILE | pcp|nat-pmp|upnp INSIDE [GATEWAY [SEEN_AS]] [--keep FILE]"
                    .into(),
            ),
        };
    let asked = asked(&words[1..]).await?;
    println!(
        "{protocol}: {} asks {} for port {}",
        asked.inside, asked.gateway, asked.outside
    );
    let start = Instant::now();
    let mut mapping = match map(&asked, protocol).await {
        Ok(mapping) => mapping,
        Err(refusal) => {
            println!("refused after {:.2?}: {refusal}", start.elapsed());
            return Ok(());
        }
    };
    println!(
        "{} ({}) leads to {} for {:?}, after {:.2?}",
        mapping.outside(),
        Class::of(mapping.outside().ip()),
        asked.inside,
        mapping.lifetime(),
        start.elapsed()
    );
    if let Some(file) = keep {
        let mut journal = Journal::open(file.into()).await;
        journal.record(mapping.leftover()).await?;
        println!("left there");
        return Ok(());
    }
    let start = Instant::now();
    println!(
        "renewed: {:?}, after {:.2?}",
        mapping.renew().await,
        start.elapsed()
    );
    let start = Instant::now();
    println!(
        "removed: {:?}, after {:.2?}",
        mapping.remove().await,
        start.elapsed()
    );
    Ok(())
}

async fn asked(words: &[&str]) -> Result<Asked, Box<dyn Error>> {
    let links = Links::read().await?;
    let port = *words.first().ok_or("which port?")?;
    let inside: Option<SocketAddr> = port.contains(':').then(|| port.parse()).transpose()?;
    let scope = links.gateway_v6.map_or(0, |(_, scope)| scope);
    let gateway: IpAddr = match words.get(1) {
        Some(gateway) => gateway.parse()?,
        None if inside.is_some_and(|inside| inside.is_ipv6()) => {
            links.gateway_v6.ok_or("no default gateway")?.0.into()
        }
        None => links.gateway_v4.ok_or("no default gateway")?.into(),
    };
    let inside = match inside {
        Some(inside) => inside,
        None => (source_towards((gateway, 9).into())?, port.parse()?).into(),
    };
    let mut asked = Asked::new(gateway, scope, inside);
    asked.low_port = true;
    asked.seen_as = words.get(2).map(|address| address.parse()).transpose()?;
    Ok(asked)
}

async fn links() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let links = Links::read().await?;
    println!("{links:#?}\nread in {:.1?}", start.elapsed());
    Ok(())
}

async fn watch() -> Result<(), Box<dyn Error>> {
    let mut changes = Changes::watch()?;
    loop {
        println!("{:?}", Links::read().await?.addresses);
        changes.changed().await;
    }
}

async fn sweep(file: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut journal = Journal::open(file.into()).await;
    for (mapping, removed) in journal.sweep().await? {
        println!("{}: {removed:?}", mapping.outside);
    }
    println!("swept in {:.2?}", start.elapsed());
    Ok(())
}
