//! coturn's own client against our relay.

use std::process::{Command, Stdio};

use crate::client::{PASSWORD, Running, config, start};

/// Runs `turnutils_uclient` with these flags and gives what it says; `None` where coturn is not installed.
async fn uclient(relay: &Running, flags: &'static [&'static str]) -> Option<String> {
    let port = relay.address.port().to_string();
    let run = move || {
        let output = Command::new("timeout")
            .args([
                "60",
                "turnutils_uclient",
                "-u",
                "anna",
                "-w",
                PASSWORD,
                "-p",
                &port,
            ])
            .args(flags)
            .arg("127.0.0.1")
            .stdin(Stdio::null())
            .output();
        // 127: `timeout` did not find it.
        let output = output.ok().filter(|output| output.status.code() != Some(127))?;
        Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Two clients of coturn's that connect to each other's allocation: Allocate, CreatePermission, Connect,
/// ConnectionAttempt and ConnectionBind as another implementation speaks them.
#[tokio::test]
async fn coturns_clients_reach_each_other_and_lose_nothing() {
    let relay = start(config());
    let flags = &["-T", "-n", "200", "-l", "1000", "-m", "2", "-z", "1"];
    let Some(said) = uclient(&relay, flags).await else {
        eprintln!("not run: turnutils_uclient (coturn) is not installed");
        return;
    };
    assert!(
        said.contains("tot_send_bytes ~ 400000, tot_recv_bytes ~ 400000"),
        "{said}"
    );
    assert!(said.contains("Total lost packets 0 "), "{said}");
    assert_eq!(relay.metrics.bytes_to_peers_total.value(), 400_000);
    assert_eq!(relay.metrics.bytes_to_clients_total.value(), 400_000);
    relay.until(|metrics| metrics.allocations.value(), 0).await;
}
