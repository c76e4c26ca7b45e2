//! SFTP with the clients people already have: whole trees there and back, resume, rename over, keys, and parallel work.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

mod one_port;
mod openssh;
mod others;
mod python;
mod service;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pasarela_testkit::{PASSWORD, Pasarela, Setup};
use tempfile::TempDir;

/// A server that speaks SFTP, and a home for its client.
struct Site {
    server: Pasarela,
    home: TempDir,
}

impl Site {
    #[track_caller]
    fn start() -> Self {
        Self::of(&Pasarela::setup())
    }

    /// With a port of its own for SFTP.
    #[track_caller]
    fn of(setup: &Setup) -> Self {
        Self::on_one_port(&setup.clone().sftp())
    }

    /// On the ports that it is told.
    #[track_caller]
    fn on_one_port(setup: &Setup) -> Self {
        let home = tempfile::tempdir().unwrap();
        // For clients that leave the asking to a program.
        let ask = home.path().join("ask");
        fs::write(&ask, format!("#!/bin/sh\necho {PASSWORD}\n")).unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            server: setup.clone().arguments(["--reach", "off"]).start(),
            home,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// A client with an empty home, nothing of ours in its environment, and a program to ask for the password.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SSH_ASKPASS", self.path("ask"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    fn script(&self, text: &str) -> Stdio {
        let path = self.path("script");
        fs::write(&path, text).unwrap();
        fs::File::open(path).unwrap().into()
    }

    /// What OpenSSH's programs are told of every connection.
    fn options(&self) -> Vec<String> {
        let known = self.path("known_hosts");
        [
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("UserKnownHostsFile={}", known.display()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "NumberOfPasswordPrompts=1".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
    }

    fn port(&self) -> String {
        self.server.sftp().port().to_string()
    }
}

/// A tree that is deep and has many small files beside a large one.
fn make_deep_tree(at: &Path) {
    pasarela_testkit::make_tree(at, 3, 60);
    let mut deep = at.to_owned();
    for level in 0..20 {
        deep.push(format!("level {level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "here").unwrap();
    pasarela_testkit::make_file(&at.join("large.bin"), 9, 20_000_000);
}
