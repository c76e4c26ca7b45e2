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
use pasarela_reach::survey::{Changes, Class, Links};

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
            println!("refused after {:.0?}: {refusal}", start.elapsed());
            return Ok(());
        }
    };
    println!(
        "{} ({}) leads to {} for {:?}, after {:.0?}",
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
        "renewed: {:?}, after {:.0?}",
        mapping.renew().await,
        start.elapsed()
    );
    let start = Instant::now();
    println!(
        "removed: {:?}, after {:.0?}",
        mapping.remove().await,
        start.elapsed()
    );
    Ok(())
}

async fn asked(words: &[&str]) -> Result<Asked, Box<dyn Error>> {
    let links = Links::read().await?;
    let inside: SocketAddr = match words.first() {
        Some(word) if word.contains(':') => word.parse()?,
        Some(word) => {
            let source = links
                .source_v4
                .map(IpAddr::from)
                .or(links.source_v6.map(IpAddr::from));
            (source.ok_or("no way to the Internet")?, word.parse()?).into()
        }
        None => return Err("which port?".into()),
    };
    let (gateway, scope) = match (words.get(1), inside) {
        (Some(gateway), _) => (gateway.parse()?, links.gateway_v6.map_or(0, |(_, scope)| scope)),
        (None, SocketAddr::V4(_)) => (links.gateway_v4.ok_or("no default gateway")?.into(), 0),
        (None, SocketAddr::V6(_)) => {
            let (gateway, scope) = links.gateway_v6.ok_or("no default gateway")?;
            (gateway.into(), scope)
        }
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
    println!("swept in {:.0?}", start.elapsed());
    Ok(())
}
