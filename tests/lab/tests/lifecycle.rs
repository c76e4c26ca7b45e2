//! Labs do not disturb each other, leave nothing behind, and are linked to nothing.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pasarela_lab::probe::{gets_through, listen};
use pasarela_lab::{lab, runs_here};
use pasarela_testkit::lab::{ClientSide, Lab, Process, Role, TOPOLOGIES, Topology};

#[test]
fn every_topology_comes_up_is_linked_to_nothing_and_is_gone_again() {
    if !runs_here() {
        return;
    }
    for topology in TOPOLOGIES {
        let lab = Lab::up(topology).unwrap_or_else(|error| panic!("{}: {error}", topology.name));
        let spaces: Vec<String> = lab.roles().map(|role| lab.namespace(role)).collect();
        for role in lab.roles() {
            linked_to_itself_alone(&lab, role, &spaces);
        }
        drop(lab);
        for space in &spaces {
            assert!(!is_there(space), "{space}");
        }
    }
}

/// Every wire ends in a namespace of the same lab, and whatever is sent elsewhere is refused by the lab's own internet.
fn linked_to_itself_alone(lab: &Lab, role: Role, spaces: &[String]) {
    let output = lab
        .command(role, "ip")
        .args(["-o", "-d", "link"])
        .output()
        .unwrap();
    let links = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && links.lines().count() > 1);
    for link in links.lines() {
        let words: Vec<&str> = link.split_whitespace().collect();
        let peer = words
            .iter()
            .position(|word| *word == "link-netns")
            .map(|at| words[at + 1]);
        let known = match peer {
            Some(peer) => spaces.iter().any(|space| space == peer) && words.contains(&"veth"),
            None => words.contains(&"link/loopback") || words.contains(&"bridge"),
        };
        assert!(known, "{role:?}: {link}");
    }
    if role != Role::Client || lab.topology().client == ClientSide::Strict {
        return; // a firewall that drops would keep this waiting
    }
    let elsewhere = if lab.addresses().client.is_ipv4() {
        "192.0.2.1:80"
    } else {
        "[2001:db8::1]:80"
    };
    let elsewhere = elsewhere.parse().unwrap();
    let refused = lab.within(role, || {
        TcpStream::connect_timeout(&elsewhere, Duration::from_secs(10))
    });
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
}

#[test]
fn labs_of_one_topology_run_side_by_side() {
    let (Some(one), Some(other)) = (lab("fwd"), lab("fwd")) else {
        return;
    };
    let (here, there) = (listen(&one, Role::Server, 21), listen(&other, Role::Server, 21));
    let client = one.addresses().client;
    assert_eq!(
        gets_through(&one, Role::Client, one.addresses().control, &here),
        client
    );
    drop(one);
    assert_eq!(
        gets_through(&other, Role::Client, other.addresses().control, &there),
        client
    );
}

#[test]
fn a_panic_takes_the_lab_and_its_processes_with_it() {
    let Some(lab) = lab("plain") else { return };
    let spaces: Vec<String> = lab.roles().map(|role| lab.namespace(role)).collect();
    let mut process = Process::start(lab.command(Role::Server, "sleep").arg("1000")).unwrap();
    assert!(process.is_running().unwrap());
    let panicked = std::thread::spawn(move || {
        let _lab = lab;
        panic!("meant");
    })
    .join();
    assert!(panicked.is_err());
    assert!(!process.is_running().unwrap(), "killed with its namespace");
    assert!(spaces.iter().all(|space| !is_there(space)));
}

/// A namespace of a process that is no more, with a process in it, as a killed test run leaves them.
#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    if !runs_here() {
        return;
    }
    if std::env::var_os("LEAVE_A_LAB").is_some() {
        let lab = Lab::up(Topology::named("plain").unwrap()).unwrap();
        eprintln!("left {}", lab.namespace(Role::Internet));
        std::mem::forget(lab);
        return;
    }
    let this_test = |leave: bool| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "--nocapture"]);
        if leave {
            test.arg("what_a_killed_run_left_is_removed_by_the_next")
                .env("LEAVE_A_LAB", "1");
        } else {
            test.arg("labs_of_one_topology_run_side_by_side");
        }
        let output = test.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    drop(lab("plain")); // a process looks once for what was left; from here on this one will not
    let said = this_test(true);
    let (_, left) = said.split_once("left ").unwrap();
    let left = left.lines().next().unwrap();
    let inside = processes_in(left);
    assert_eq!(inside.len(), 2, "both coturns");
    let (maker, _) = left.rsplit_once('-').unwrap();
    let folders = || {
        let entries = fs::read_dir(std::env::temp_dir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(maker)).count()
    };
    assert_eq!(folders(), 1);
    this_test(false);
    assert_eq!(folders(), 0);
    assert!(!is_there(left), "{left}");
    // One that ended and that nobody has waited for yet is still listed, without a program.
    let alive = |process: &&String| fs::read_link(Path::new(process).join("exe")).is_ok();
    assert_eq!(inside.iter().find(alive), None);
}

fn is_there(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

fn processes_in(namespace: &str) -> BTreeSet<String> {
    let listed = Command::new("ip")
        .args(["netns", "pids", namespace])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(|process| format!("/proc/{process}")).collect()
}
