//! The rooms keep to their places: who depends on whom, what the proto crates may know, how files begin.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Edges, and no others; the binary's package sees all rooms.
const EDGES: &[(&str, &[&str])] = &[
    ("store", &[]),
    ("ftp-proto", &[]),
    ("nat-proto", &[]),
    ("sftp-proto", &[]),
    ("tls", &[]),
    ("dtp", &["store", "ftp-proto"]),
    ("reach", &["nat-proto", "tls"]),
    ("session", &["store", "dtp"]),
    (
        "client",
        &["ftp-proto", "sftp-proto", "store", "dtp", "tls", "reach"],
    ),
    (
        "server",
        &[
            "ftp-proto",
            "sftp-proto",
            "store",
            "dtp",
            "tls",
            "reach",
            "session",
        ],
    ),
    ("relay", &["nat-proto", "tls", "dtp"]),
    ("doctor", &["client", "reach", "tls", "ftp-proto", "store"]),
    ("admin", &["session", "doctor", "reach", "tls"]),
    ("testkit", &["relay"]),
    ("conformance", &["testkit"]),
    ("interop", &["testkit"]),
    ("lab", &["testkit"]),
    ("bench", &["ftp-proto"]),
];

/// Crates that open sockets or run tasks; the proto crates have no use for any of them.
const NETWORK: &[&str] = &[
    "tokio",
    "tokio-util",
    "mio",
    "socket2",
    "async-io",
    "smol",
    "rustix",
    "nix",
    "libc",
    "rustls",
];

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Names of the rooms that a package needs when it runs or is built.
fn rooms_below(package: &Package) -> impl Iterator<Item = &str> {
    let needed = package
        .dependencies
        .iter()
        .filter(|needed| needed.kind != DependencyKind::Development);
    needed.filter_map(|needed| needed.name.strip_prefix("pasarela-"))
}

/// The edges of a workspace that the table does not have.
fn forbidden(packages: &[Package]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let mut found = Vec::new();
    for package in packages {
        let Some(room) = package.name.strip_prefix("pasarela-") else {
            continue;
        };
        let Some(allowed) = allowed.get(room) else {
            found.push(format!("{room} is in no line of the table"));
            continue;
        };
        found.extend(
            rooms_below(package)
                .filter(|below| !allowed.contains(below))
                .map(|b| format!("{room} → {b}")),
        );
    }
    found
}

#[test]
fn dependencies_go_down_the_designed_edges_only() {
    let workspace = workspace();
    assert_eq!(forbidden(&workspace.packages), Vec::<String>::new());
}

#[test]
fn an_edge_upwards_is_found() {
    let mut packages = workspace().packages;
    let server = packages
        .iter()
        .find(|package| *package.name == "pasarela-server")
        .unwrap();
    let upwards = server
        .dependencies
        .iter()
        .find(|needed| needed.name == "pasarela-session")
        .unwrap()
        .clone();
    let tls = packages
        .iter_mut()
        .find(|package| *package.name == "pasarela-tls")
        .unwrap();
    tls.dependencies.push(upwards);
    assert_eq!(forbidden(&packages), ["tls → session"]);
}

#[test]
fn nobody_but_tests_uses_the_testkit() {
    for package in workspace().packages {
        let is_test =
            ["pasarela-conformance", "pasarela-interop", "pasarela-lab"].contains(&package.name.as_str());
        assert!(
            is_test || !rooms_below(&package).any(|room| room == "testkit"),
            "{}",
            package.name
        );
    }
}

#[test]
fn proto_crates_know_no_network() {
    let workspace = workspace();
    let protos: Vec<_> = workspace
        .packages
        .iter()
        .filter(|package| package.name.ends_with("-proto"))
        .collect();
    assert!(!protos.is_empty());
    for package in protos {
        for needed in &package.dependencies {
            let network =
                NETWORK.contains(&needed.name.as_str()) && needed.kind != DependencyKind::Development;
            assert!(!network, "{} → {}", package.name, needed.name);
        }
    }
}

#[test]
fn every_source_file_begins_with_its_charter() {
    let files = tracked();
    let sources: Vec<_> = files
        .iter()
        .filter(|file| file.starts_with("crates/") && file.contains("/src/") && file.ends_with(".rs"))
        .collect();
    assert!(sources.len() > 10, "{sources:?}");
    let silent: Vec<_> = sources
        .iter()
        .filter(|file| !read(file).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "first line is not //!: {silent:?}");
}

/// Paths and hosts of one machine make a clone on another one fail.
#[test]
fn no_tracked_file_names_a_machine() {
    let machine = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "wt"),
        concat!("/ro", "ot/."),
        concat!("target-", "xtask"),
    ];
    for file in tracked() {
        let text = read(&file);
        for path in machine {
            assert!(!text.contains(path), "{file} names {path}");
        }
    }
}

#[test]
fn every_locked_package_comes_from_crates_io() {
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let lock = read("Cargo.lock");
    let sources: Vec<_> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .collect();
    assert!(sources.len() > 10);
    assert!(
        sources.iter().all(|source| source.trim_matches('"') == CRATES_IO),
        "{sources:?}"
    );
    let configured = read(".cargo/config.toml");
    assert!(
        !configured.contains("[source") && !configured.contains("registry"),
        "{configured}"
    );
}

/// Files that git tracks; those deleted here and not yet committed are left out.
fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let names = String::from_utf8(listed.stdout).unwrap();
    names
        .split_terminator('\0')
        .filter(|name| root().join(name).is_file())
        .map(str::to_owned)
        .collect()
}

/// A tracked file as text, whatever bytes it has.
fn read(name: &str) -> String {
    String::from_utf8_lossy(&fs::read(root().join(name)).unwrap()).into_owned()
}
