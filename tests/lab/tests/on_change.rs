//! The operator's command is told of the public endpoint.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::time::{Duration, Instant};

use pasarela_lab::lab;
use pasarela_testkit::Pasarela;
use pasarela_testkit::lab::Role;

#[test]
fn the_operators_command_is_told_what_the_endpoint_is() {
    let Some(lab) = lab("upnp") else { return };
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script = format!(
        "echo \"$PASARELA_URL $PASARELA_ADDRESS $PASARELA_PORT $PASARELA_VIA\" >> {}",
        told.display()
    );
    let server = Pasarela::setup()
        .listen("[::]:2121")
        .under(lab.prefix(Role::Server))
        .config(&format!(
            "[reach]\non_change = [\"/bin/sh\", \"-c\", '''{script}''']\n"
        ))
        .start();
    let expected = "ftp://11.9.0.20:2121 11.9.0.20 2121 mapped\n";
    let end = Instant::now() + Duration::from_secs(60);
    // Written by another process, whose end nobody tells: looked at until it is there.
    while std::fs::read_to_string(&told).unwrap_or_default() != expected {
        assert!(
            Instant::now() < end,
            "{:?}\n{}",
            std::fs::read_to_string(&told),
            server.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.terminate().unwrap().success());
    assert_eq!(std::fs::read_to_string(&told).unwrap(), expected, "told once");
}
