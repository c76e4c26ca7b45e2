//! `pasarela doctor` without a URL: this machine's network, and what a server with a configuration needs opened there.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use pasarela_doctor::climb::{Climb, Probe};
use pasarela_doctor::network;
use pasarela_doctor::opening::{self, Attempt, Data, Listener, Outside, Rules, Server, Speaks};
use pasarela_doctor::{Finding, Report, lines};
use pasarela_reach::survey::Links;
use pasarela_reach::{Plan, Reach};
use pasarela_server::{DataPorts, TlsMode};
use pasarela_session::account::TlsNeed;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::Flags;
use crate::cli::{ServeFlags, print};
use crate::config::keys;
use crate::config::typed::Typed;
use crate::config::units::ListenAddress;
use crate::failure::{Failure, Kind, Problem};
use crate::{listen, log, reach_state, surroundings};

/// The flags of an examination without a URL: what may be asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Without a URL")]
pub(super) struct Asking {
    /// The configuration of the server that is to run here: its ports, STUN servers and relays
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["url", "server"])]
    config: Option<PathBuf>,

    #[arg(long, value_name = "ADDR", help = keys::help("ftp.listen"), conflicts_with = "url")]
    listen: Vec<String>,

    #[arg(long, value_name = "HOST|IP", help = keys::help("reach.public_address"), conflicts_with = "url")]
    public_address: Option<String>,

    #[arg(long, value_name = "auto|off|RUNG,…", help = keys::help("reach.ladder"), conflicts_with = "url")]
    reach: Option<String>,

    #[arg(long, value_name = "HOST[:PORT]", help = keys::help("reach.stun"), conflicts_with = "url")]
    stun: Vec<String>,

    #[arg(long, value_name = "HOST|URL", help = keys::help("reach.relay.server"), conflicts_with = "url")]
    relay: Vec<String>,

    #[arg(long, value_name = "DIR", help = keys::help("state.dir"), value_hint = ValueHint::DirPath, conflicts_with = "url")]
    state_dir: Option<PathBuf>,
}

/// Examines this machine's network.
pub(super) fn examine(flags: &Flags) -> Result<ExitCode, Failure> {
    let typed = flags.network.typed(flags.network.config.as_deref())?;
    let mut report = begun("this machine's network", flags.json)?;
    in_runtime(async {
        let running = running(&typed);
        let plan = plan(&typed, running.is_some());
        let probe = probe(&typed, plan.shares_port())?;
        let climb = Climb::start(Reach::new(plan), vec![probe]).map_err(cannot_climb)?;
        let facts = unless_interrupted(network::look(&climb)).await;
        climb.close().await;
        if let Some(mut facts) = facts? {
            facts.running = running.iter().flat_map(urls).collect();
            network::tell(&facts, &mut report);
        }
        Ok(())
    })?;
    ended(&report, flags.json)
}

/// What a server with this configuration needs opened, and whether it is.
pub(super) fn opening(flags: &Flags, config: &Path) -> Result<ExitCode, Failure> {
    let typed = flags.network.typed(Some(config))?;
    let target = format!("a server with the configuration {}", config.display());
    let (server, unresolved) = server(&typed);
    let rules = in_runtime(async { Ok(server.rules(&Links::read().await.unwrap_or_default())) })?;
    if !flags.json {
        for Rules { title, text, .. } in &rules {
            print(&format!("== {title} ==\n{text}\n"))?;
        }
    }
    let mut report = begun(&target, flags.json)?;
    unresolved.into_iter().for_each(|finding| report.add(finding));
    for rules in rules {
        report.fact(rules.fact, rules.text);
    }
    server.tell(&mut report);
    in_runtime(try_out(&typed, &server, &mut report))?;
    ended(&report, flags.json)
}

/// Listens where the server would, and has the ports tried from outside; where the server runs, it is asked.
async fn try_out(typed: &Typed, server: &Server, report: &mut Report) -> Result<(), Failure> {
    let running = running(typed);
    let plan = plan(typed, running.is_some());
    let (attempts, probes) = attempts(server, plan.shares_port(), running.is_some()).await;
    let greeting = format!("220 {}", typed.greeting);
    opening::tell_attempts(&attempts, &greeting, running.is_some(), report);
    let mut outsides = Vec::new();
    let mut ladders = Vec::new();
    if let Some(document) = &running {
        let ports = document["ports"].as_array().into_iter().flatten();
        let wanted = server.addresses();
        outsides.extend(
            ports
                .filter_map(Outside::of_document)
                .filter(|outside| wanted.iter().any(|address| address.port() == outside.port)),
        );
    } else if !probes.is_empty() {
        let climb = Climb::start(Reach::new(plan), probes).map_err(cannot_climb)?;
        let climbed = unless_interrupted(network::ladders(&climb)).await;
        climb.close().await;
        ladders = climbed?;
        outsides.extend(ladders.iter().map(Outside::of_ladder));
    }
    let tried: Vec<u16> = outsides.iter().map(|outside| outside.port).collect();
    let told = outsides.iter().map(Outside::finding);
    let contradicted = ladders.iter().flat_map(opening::contradictions);
    let relays = ladders.first().map(opening::relays).unwrap_or_default();
    told.chain(contradicted)
        .chain(relays)
        .for_each(|finding| report.add(finding));
    server.tell_untried(&tried, report);
    Ok(())
}

/// A report that is shown as it grows, to people.
fn begun(target: &str, json: bool) -> Result<Report, Failure> {
    let report = Report::new(target);
    if json {
        return Ok(report);
    }
    print(&format!("{target}\n"))?;
    // Whoever reads no more has heard enough.
    Ok(report.telling(|finding| drop(print(&lines(finding)))))
}

/// The end of a report that [`begun`] began.
fn ended(report: &Report, json: bool) -> Result<ExitCode, Failure> {
    print(&if json {
        report.json_lines()
    } else {
        report.verdict()
    })?;
    Ok(ExitCode::from(report.exit_code()))
}

impl Asking {
    fn typed(&self, config: Option<&Path>) -> Result<Typed, Failure> {
        let flags = ServeFlags {
            config: config.map(Path::to_owned),
            listen: self.listen.clone(),
            public_address: self.public_address.clone(),
            reach: self.reach.clone(),
            stun: self.stun.clone(),
            relay: self.relay.clone(),
            state_dir: self.state_dir.clone(),
            ..ServeFlags::default()
        };
        let typed = flags.load(&[])?.typed;
        // What is found out is told in findings; `PASARELA_LOG` shows how.
        log::begin("error", typed.log_json)?;
        Ok(typed)
    }
}

fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("cannot start: {error}")).fails(Kind::Other))?;
    runtime.block_on(work)
}

/// Ends early at a signal, so that what routers were asked for is given back.
async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Problem::new(format!("signals: {error}")).fails(Kind::Other));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        done = work => return Ok(done),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Err(Problem::new("interrupted").fails(Kind::CutShort))
}

fn cannot_climb(error: io::Error) -> Failure {
    Problem::new(format!("cannot try: {error}")).fails(Kind::Other)
}

/// What a server that runs with the same state folder says.
fn running(typed: &Typed) -> Option<Value> {
    let dir = surroundings::state_dir_in_use(typed.state_dir.as_deref())?;
    reach_state::of_running_server(&dir)
}

fn urls(document: &Value) -> Vec<(String, bool)> {
    let ports = document["ports"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| Some((port["url"].as_str()?.to_owned(), port["verified"] == true)))
        .collect()
}

/// What may be tried beside a server that runs: its relays have lent it what they lend, and its record of mappings is its
/// own.
fn plan(typed: &Typed, runs: bool) -> Plan {
    let mut plan = typed.plan();
    if runs {
        plan.turn.clear();
        plan.journal = plan
            .journal
            .map(|file| file.with_file_name("mappings-of-doctor.toml"));
    }
    plan
}

/// The first port that a server would listen on, as a forward may lead there; any other where that one is taken.
fn probe(typed: &Typed, shares_port: bool) -> Result<Probe, Failure> {
    let configured = typed
        .listen
        .iter()
        .chain(&typed.implicit_listen)
        .chain(&typed.sftp_listen);
    let wanted = configured.filter_map(|address| match address {
        ListenAddress::Socket(address) if !address.ip().to_canonical().is_loopback() => Some(*address),
        _ => None,
    });
    let any = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    ];
    let mut last = None;
    for address in wanted.take(1).chain(any) {
        match listen::bound_alone(address, false, shares_port) {
            Ok(socket) => {
                return Ok(Probe {
                    socket,
                    scheme: Some("ftp"),
                });
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Problem::new(format!("cannot listen on any port: {why}")).fails(Kind::Bind))
}

/// What the configuration opens, and a finding for each name that does not resolve.
fn server(typed: &Typed) -> (Server, Vec<Finding>) {
    let (mut listeners, mut unresolved) = (Vec::new(), Vec::new());
    for (addresses, speaks) in [
        (&typed.listen, Speaks::Ftp),
        (&typed.implicit_listen, Speaks::Ftps),
        (&typed.sftp_listen, Speaks::Sftp),
    ] {
        for address in addresses {
            match address {
                ListenAddress::Socket(address) => listeners.push(Listener {
                    address: *address,
                    speaks,
                }),
                ListenAddress::Name(name, port) => match (name.as_str(), *port).to_socket_addrs() {
                    Ok(found) => listeners.extend(found.map(|address| Listener { address, speaks })),
                    Err(error) => unresolved.push(opening::unresolved(name, &error)),
                },
            }
        }
    }
    listeners.dedup();
    let server = Server {
        listeners,
        data: match typed.data_ports {
            DataPorts::Auto => Data::Auto,
            DataPorts::Control => Data::Control,
            DataPorts::Port(port) => Data::Ports(port, port),
            DataPorts::Range(first, last) => Data::Ports(first, last),
        },
        has_plain_data: typed.tls_mode != TlsMode::Required
            || typed
                .accounts
                .iter()
                .any(|account| account.tls != TlsNeed::Required),
        forwards: typed.forwards.clone(),
        has_public_address: typed.public_address.is_some(),
        relays: typed.turn.iter().map(ToString::to_string).collect(),
        stun: typed.stun.clone(),
    };
    (server, unresolved)
}

/// Listens where the server would; what could be had is what the ladder is climbed for. Who else has a port is heard, unless
/// the server itself runs.
async fn attempts(server: &Server, shares_port: bool, runs: bool) -> (Vec<Attempt>, Vec<Probe>) {
    let addresses = server.addresses();
    let (mut attempts, mut probes) = (Vec::new(), Vec::new());
    for address in addresses.iter().copied() {
        let ipv4_wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let outcome = match listen::bound_alone(address, addresses.contains(&ipv4_wildcard), shares_port) {
            Ok(socket) => {
                probes.push(Probe {
                    socket,
                    scheme: server.scheme(address),
                });
                Ok(())
            }
            Err(error) => Err(error),
        };
        let heard = match &outcome {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !runs => opening::heard(address).await,
            _ => None,
        };
        attempts.push(Attempt {
            address,
            outcome,
            heard,
        });
    }
    (attempts, probes)
}
