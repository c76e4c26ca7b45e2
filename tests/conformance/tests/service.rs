//! The server as a service: signals, reload, an end without losses.

use pasarela_conformance::{Client, OWNER, Server, Setup, eventually, noise};

#[test]
fn sigterm_lets_a_transfer_end_and_says_goodbye_to_the_others() {
    let mut server = Server::start();
    let (mut idle, mut busy) = (server.login(), server.login());
    let content = noise(1, 300_000);
    let mut data = busy.begin("STOR f");
    data.write(&content[..100_000]);
    data.taken();
    server.terminate();
    idle.next(&[421]);
    idle.closed();
    data.write(&content[100_000..]);
    data.finish();
    busy.next(&[226]);
    assert_eq!(server.ended(), Some(0));
    assert_eq!(server.file("f"), Some(content));
}

#[test]
fn sigterm_ends_an_idle_server_at_once() {
    let mut server = Server::start();
    server.terminate();
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn sighup_reads_the_configuration_again_and_running_sessions_go_on() {
    let server = Setup::new().config("[ftp]\ngreeting = \"Before\"\n").start();
    let mut old = server.login();
    server.configure("[ftp]\ngreeting = \"After\"\n");
    server.hang_up();
    eventually("the new greeting", || {
        let mut visitor = Client::dial(server.address(), OWNER).expect("the server listens");
        visitor.reply().text().contains("After")
    });
    old.expect("PWD", &[257]);
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let server = Setup::new().config("[ftp]\ngreeting = \"Before\"\n").start();
    server.configure("[ftp]\ngreetings = \"After\"\n");
    server.hang_up();
    eventually("the complaint", || server.log().contains("greetings"));
    server.login().expect("PWD", &[257]);
    let mut visitor = Client::dial(server.address(), OWNER).expect("the server listens");
    assert!(visitor.reply().text().contains("Before"));
}
