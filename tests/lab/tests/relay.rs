//! A relay of ours on the internet lets everybody in where nothing else does, and comes back with its server.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pasarela_lab::clients::{CLIENTS, Slow};
use pasarela_lab::matrix::{Row, SIZES};
use pasarela_lab::site::{Help, Site};
use pasarela_lab::{lab, runs_here};
use pasarela_testkit::lab::{Event, Role, Topology};
use pasarela_testkit::{
    Dialogue, PASSWORD, TlsClient, USER, assert_same_tree, make_file, make_tree, noise, run_within, sha256,
    sha256_of, wait_for_exit,
};

/// How soon a relay that was away for a moment is found again.
const FOUND_AGAIN: Duration = Duration::from_secs(5);
/// How long it may take until a server has found its relay again, or has noticed what it lost.
const REPAIR: Duration = Duration::from_secs(60);

/// Everybody gets through by the relay, of which alone the server was told.
fn everybody_is_relayed(topology: &str) {
    if !runs_here() {
        return;
    }
    let row = Row::run(Topology::named(topology).unwrap(), SIZES, Help::RelayAlone);
    assert!(row.failures().is_empty(), "{:?}", row.failures());
    assert_eq!(row.via, "relayed");
    let files: u64 = SIZES.iter().map(|size| 2 * *size as u64).sum();
    assert!(row.carried.unwrap() > files * CLIENTS.len() as u64);
    assert_eq!(row.visits.unwrap().len(), CLIENTS.len());
}

#[test]
fn behind_a_carriers_nat() {
    everybody_is_relayed("cgnat");
}

#[test]
fn port_restricted_nat_on_both_sides() {
    everybody_is_relayed("plain2");
}

#[test]
fn from_the_lan_where_the_public_address_leads_nowhere() {
    everybody_is_relayed("hairoff");
}

#[test]
fn a_mapping_spares_the_relay() {
    if runs_here() {
        let row = Row::run(Topology::named("upnp").unwrap(), SIZES, Help::RelayAlone);
        assert!(row.failures().is_empty(), "{:?}", row.failures());
        assert_eq!((row.via.as_str(), row.carried), ("mapped", Some(0)));
    }
}

/// The server is told of nothing but the relay, which gets in by itself where the router forwards the port.
#[test]
fn a_forward_that_nobody_has_named_spares_the_relay() {
    if runs_here() {
        let row = Row::run(Topology::named("fwd").unwrap(), SIZES, Help::RelayAlone);
        assert!(row.failures().is_empty(), "{:?}", row.failures());
        assert_eq!((row.via.as_str(), row.carried), ("fixed", Some(0)));
    }
}

/// Both ports are lent again, under the same numbers, to the server that has not been touched.
#[test]
fn a_relay_that_was_killed_has_its_server_back() {
    let Some(lab) = lab("plain2") else { return };
    let mut site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let relay = site.relay.as_mut().unwrap();
    relay.kill();
    relay.start_again(&site.lab);
    let listens = Instant::now();
    let end = listens + REPAIR;
    while relay.count("allocations") < 2 {
        assert!(Instant::now() < end, "{}\n{}", relay.log(), site.server.log());
        thread::sleep(Duration::from_millis(50)); // a counter cannot be waited for
    }
    let lent = listens.elapsed();
    eprintln!("both ports are lent again {lent:?} after the relay listens");
    assert!(lent <= FOUND_AGAIN, "{lent:?}\n{}", site.server.log());
    for client in [&CLIENTS[0], &CLIENTS[6]] {
        client
            .visit(&site.lab, &site.server, site.there, SIZES)
            .unwrap_or_else(|why| panic!("{}: {why}\n{}", client.name, site.server.log()));
    }
}

/// The relay still keeps the ports for a connection of the old address; the server waits for them and takes no others.
#[test]
fn a_server_whose_address_changes_has_the_same_ports_again() {
    let Some(lab) = lab("ipchange") else { return };
    let mut site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let lent = site.standby().unwrap();
    let relay = site.relay.as_ref().unwrap();
    site.lab.event(Event::AddressChange).unwrap();
    let end = Instant::now() + 2 * REPAIR;
    while relay.count("allocations_total") < 4 {
        assert!(Instant::now() < end, "{}\n{}", relay.log(), site.server.log());
        thread::sleep(Duration::from_millis(50)); // a counter cannot be waited for
    }
    CLIENTS[0]
        .visit(&site.lab, &site.server, lent, SIZES)
        .unwrap_or_else(|why| panic!("{why}\n{}\n{}", relay.log(), site.server.log()));
}

/// Implicit FTPS comes to its own port, lent as well.
#[test]
fn implicit_ftps_has_its_port_at_the_relay() {
    let Some(lab) = lab("cgnat") else { return };
    let site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let there = SocketAddr::new(site.there.ip(), 990);
    site.server
        .wait_for_log(REPAIR, |line| {
            line.contains(&format!("ftps://{there}")).then_some(())
        })
        .unwrap_or_else(|| panic!("{}", site.server.log()));
    make_file(&site.server.file("file"), 7, 100_000);
    let tls = TlsClient::new(site.server.certificate());
    let fetched = site.lab.within(Role::Client, || {
        let mut ftp = Dialogue::connect_implicit(there, &tls);
        ftp.login();
        ftp.protect();
        // Both forms name the port that was lent, and 227 the relay's address.
        assert_eq!(ftp.pasv(), there);
        assert_eq!(ftp.epsv().port(), there.port());
        ftp.retrieve("file")
    });
    assert_eq!(sha256_of(&fetched), sha256(&site.server.file("file")));
}

/// Data connections of eight sessions at once are told apart on the one lent port, each by its TLS session.
#[test]
fn eight_sessions_of_one_client_share_the_lent_port() {
    const SESSIONS: u64 = 8;
    const TRANSFERS: u64 = 50;
    let Some(lab) = lab("cgnat2") else { return };
    let site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let size = |session: u64, transfer: u64| {
        1000 + usize::try_from((session * 7919 + transfer * 104_729) % 300_000).unwrap()
    };
    for session in 0..SESSIONS {
        for transfer in 0..TRANSFERS / 2 {
            let name = format!("{session}/down-{transfer}");
            make_file(
                &site.server.file(name),
                session * 100 + transfer,
                size(session, transfer),
            );
        }
    }
    let visit = |session: u64| {
        let tls = TlsClient::new(site.server.certificate());
        let mut ftp = Dialogue::connect(site.there);
        ftp.auth_tls(&tls);
        ftp.login();
        ftp.protect();
        for transfer in 0..TRANSFERS / 2 {
            let name = format!("{session}/down-{transfer}");
            let fetched = ftp.retrieve(&name);
            assert_eq!(sha256_of(&fetched), sha256(&site.server.file(&name)), "{name}");
            let (name, bytes) = (
                format!("{session}/up-{transfer}"),
                noise(session * 1000 + transfer, size(session, transfer)),
            );
            ftp.store(&name, &bytes);
            assert_eq!(sha256_of(&bytes), sha256(&site.server.file(&name)), "{name}");
        }
    };
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let (site, visit) = (&site, &visit);
            scope.spawn(move || site.lab.within(Role::Client, || visit(session)));
        }
    });
    let relay = site.relay.as_ref().unwrap();
    assert_eq!(relay.count("streams_total"), SESSIONS * (1 + TRANSFERS));
    assert_eq!(relay.count("unbound_total"), 0);
}

/// The same by lftp, with eight transfers at a time.
#[test]
fn lftp_mirrors_both_ways_over_the_lent_port() {
    const EACH_WAY: usize = 200;
    let Some(lab) = lab("cgnat2") else { return };
    let site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let home = tempfile::tempdir().unwrap();
    let (up, down) = (home.path().join("up"), home.path().join("down"));
    fs::create_dir(&down).unwrap();
    make_tree(&site.server.file("down"), 1, EACH_WAY);
    make_tree(&up, 2, EACH_WAY);
    let script = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset net:persist-retries 0\nset net:timeout 30\n\
         set ssl:verify-certificate no\nset ftp:ssl-force yes\nset ftp:ssl-protect-data yes\n\
         open -u {USER},{PASSWORD} ftp://{there}\n\
         mirror --parallel=8 /down {down}\nmirror --reverse --parallel=8 {up} /up\n",
        there = site.there,
        down = down.display(),
        up = up.display(),
    );
    fs::write(home.path().join("script"), script).unwrap();
    let mut lftp = site.lab.command(Role::Client, "lftp");
    lftp.arg("--norc").arg("-f").arg(home.path().join("script"));
    run_within(lftp.env("HOME", home.path()), Duration::from_secs(120)).expect_success();
    assert_same_tree(&site.server.file("down"), &down);
    assert_same_tree(&up, &site.server.file("up"));
    let relay = site.relay.as_ref().unwrap();
    assert!(relay.count("streams_total") > 2 * EACH_WAY as u64);
    assert_eq!(relay.count("unbound_total"), 0);
}

/// Waits for what nobody tells, a relay's counter or a rule for example.
fn wait_until(site: &Site, what: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < 2 * REPAIR, "{}", site.server.log());
        thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

/// Whoever is in the middle of a transfer when the relay dies is told of a failure, and so is the log; no upload stands
/// under its name.
#[test]
fn a_relay_that_dies_in_the_middle_of_transfers_completes_none() {
    const SENT: u64 = 64 << 20;
    const FETCHED: u64 = 16 << 30;
    let Some(lab) = lab("cgnat") else { return };
    let mut site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let home = tempfile::tempdir().unwrap();
    // Holes: they take no room.
    let long = |path: &Path, size| fs::File::create(path).unwrap().set_len(size).unwrap();
    long(&site.server.file("down"), FETCHED);
    let mut begun = Vec::new();
    // lftp's fetches keep to no rate, so they come last.
    let clients = [0, 4, 3, 6].map(|index| &CLIENTS[index]);
    for (number, (client, what)) in clients
        .into_iter()
        .flat_map(|client| [(client, Slow::Sends), (client, Slow::Fetches)])
        .enumerate()
    {
        let folder = home.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        let from = folder.join("up");
        long(&from, SENT);
        let name = match what {
            Slow::Fetches => "down".to_owned(),
            Slow::Sends => format!("up-{number}"),
        };
        let relay = site.relay.as_ref().unwrap();
        let carried = relay.carried();
        begun.push((
            client,
            what,
            name.clone(),
            client.begin(&site.lab, site.there, what, &name, &from),
        ));
        // One at a time: whose data connection an unprotected one is would be in doubt.
        wait_until(&site, || {
            relay.count("streams_total") >= 2 * (number as u64 + 1) && relay.carried() > carried + 100_000
        });
    }
    assert!(!site.server.log().contains("transfer complete"));
    site.relay.as_mut().unwrap().kill();
    for (client, what, name, mut child) in begun {
        let status = wait_for_exit(&mut child, REPAIR);
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let case = format!("{} {what:?}, TLS {}", client.name, client.tls);
        eprintln!("{case}: {status:?}");
        assert!(
            status.is_some_and(|status| !status.success()),
            "{case}: {status:?}"
        );
        assert!(name == "down" || !site.server.file(&name).exists(), "{case}");
    }
    wait_until(&site, || {
        let log = site.server.log();
        let ended = |line: &&str| line.contains("transfer failed") || line.contains("transfer aborted");
        log.lines().filter(ended).count() == 8
    });
    assert!(!site.server.log().contains("transfer complete"));
}

/// The relay's address stands beside the mapping, takes its place while there is none, and goes back behind it.
#[test]
fn the_relays_address_stands_in_for_a_mapping() {
    let Some(lab) = lab("upnp") else { return };
    let mut site = Site::start_with(lab, Help::Relay).unwrap();
    let mapped = site.there;
    let standby = site.standby().unwrap();
    assert_eq!(site.via, "mapped");
    assert_ne!(mapped, standby);
    let visit = |site: &Site, there| {
        CLIENTS[0]
            .visit(&site.lab, &site.server, there, SIZES)
            .unwrap_or_else(|why| panic!("{there}: {why}\n{}", site.server.log()));
    };
    let is_mapped = |site: &Site| !site.lab.mappings().unwrap().is_empty();

    // Nobody has noticed anything yet.
    site.lab.event(Event::RouterReboot).unwrap();
    assert!(!is_mapped(&site));
    visit(&site, standby);
    let again = wait_until(&site, || is_mapped(&site));
    eprintln!("after a reboot the mapping is back within {again:?} of a visit by the relay");
    visit(&site, mapped);

    let (lines, start) = (site.server.lines_logged(), Instant::now());
    site.lab.event(Event::MapperEnds).unwrap();
    site.wait_until_reachable_again(standby, lines).unwrap();
    eprintln!(
        "the relay's address is announced {:?} after the mapping went",
        start.elapsed()
    );
    assert_eq!(site.via, "relayed");
    visit(&site, standby);

    let (lines, start) = (site.server.lines_logged(), Instant::now());
    site.lab.event(Event::MapperStarts).unwrap();
    site.wait_until_reachable_again(mapped, lines).unwrap();
    eprintln!(
        "the mapping is announced {:?} after the router maps again",
        start.elapsed()
    );
    assert_eq!(site.via, "mapped");
    visit(&site, mapped);
    assert_eq!(site.standby().unwrap(), standby);
}

/// Nobody says that the router has forgotten the connection to the relay; the server finds out and opens another one.
#[test]
fn a_router_that_forgets_the_connection_to_the_relay_is_noticed() {
    let Some(lab) = lab("plain2") else { return };
    let site = Site::start_with(lab, Help::RelayAlone).unwrap();
    let start = Instant::now();
    // Without this, Linux takes a connection that it meets in the middle for a new one.
    let mut strict = site.lab.command(Role::Router, "sysctl");
    let strict = strict.args(["-q", "-w", "net.netfilter.nf_conntrack_tcp_loose=0"]);
    assert!(strict.status().unwrap().success());
    let mut site = site;
    site.lab.event(Event::RouterReboot).unwrap();
    site.server
        .wait_for_log(REPAIR, |line| line.contains("the relay is lost").then_some(()))
        .unwrap_or_else(|| panic!("{}", site.server.log()));
    eprintln!("the loss is noticed after {:?}", start.elapsed());
    let relay = site.relay.as_ref().unwrap();
    wait_until(&site, || relay.count("allocations_total") >= 4);
    eprintln!("both ports are lent again after {:?}", start.elapsed());
    CLIENTS[0]
        .visit(&site.lab, &site.server, site.there, SIZES)
        .unwrap_or_else(|why| panic!("{why}\n{}\n{}", relay.log(), site.server.log()));
}
