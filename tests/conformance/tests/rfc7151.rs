//! RFC 7151: HOST; and CSID and CLNT, which also introduce.

use pasarela_conformance::Server;

#[test]
fn host_before_user_gets_220() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.expect("HOST ftp.example.com", &[220]);
    visitor.login();
}

#[test]
fn host_after_login_is_a_bad_sequence() {
    let server = Server::start();
    server.login().expect("HOST ftp.example.com", &[503]);
}

#[test]
fn host_takes_addresses_in_brackets_and_no_port() {
    let server = Server::start();
    server.visit().expect("HOST [127.0.0.1]", &[220, 501, 504]);
    server.visit().expect("HOST [::1]", &[220, 501, 504]);
    server.visit().expect("HOST ftp.example.com:2112", &[501]);
    server.visit().expect("HOST", &[501]);
}

#[test]
fn rein_allows_another_host() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("REIN", &[220]);
    client.expect("HOST ftp.example.com", &[220]);
    client.login();
}

#[test]
fn clnt_and_csid_are_answered_200() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("CLNT conformance 1.0", &[200]);
    client.expect("CSID Name=conformance; Version=1.0;", &[200]);
}
