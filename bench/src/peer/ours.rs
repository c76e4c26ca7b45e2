//! Our server, with the limits that protect it from strangers raised for one address that makes all the load.

use std::process::Command;

use super::{PASSWORD, Peer, Setting, Speaks, USER};
use crate::failed::Failed;

pub(super) static PASARELA: Peer = Peer {
    name: "pasarela",
    speaks: Speaks::Ftp,
    tls: true,
    mlsd: true,
    root: false,
    user: USER,
    password: PASSWORD,
    program: |places| places.ours.is_file().then(|| places.ours.clone()),
    command,
};

/// Another build of it, to see what a change has changed.
pub(super) static BASELINE: Peer = Peer {
    name: "baseline",
    speaks: Speaks::Ftp,
    tls: true,
    mlsd: true,
    root: false,
    user: USER,
    password: PASSWORD,
    program: |places| places.baseline.clone().filter(|program| program.is_file()),
    command,
};

fn command(setting: &Setting<'_>) -> Result<Command, Failed> {
    let file = setting.write(
        "pasarela.toml",
        r#"
        [limits]
        per_address = 100000
        per_user = 100000
        total = 100000
        unauthenticated = 100000
        idle = "1h"
        login = "5min"
        stall = "10min"
        "#,
    )?;
    let durability = if setting.case.is_safe() { "safe" } else { "fast" };
    let [certificate, key, _] = setting.tree.pem();
    let mut command = Command::new(setting.program);
    command
        .arg("serve")
        .arg(setting.tree.root())
        .arg("--config")
        .arg(file)
        .arg("--state-dir")
        .arg(setting.scratch)
        .args(["--listen", &format!("127.0.0.1:{}", setting.port)])
        .args(["--user", &format!("{USER}:{PASSWORD}")])
        .args(["--tls", "optional", "--durability", durability, "-q"])
        .arg("--cert")
        .arg(certificate)
        .arg("--key")
        .arg(key);
    Ok(command)
}
