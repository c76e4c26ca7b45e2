//! RFC 959 sections 4.1.1, 5.3 and 5.4: getting in, and what nobody may do outside.

use pasarela_conformance::{PASSWORD, Server, USER};

#[test]
fn the_greeting_is_a_220() {
    let server = Server::start();
    drop(server.visit());
}

#[test]
fn user_is_answered_331_and_pass_230() {
    let server = Server::start();
    server.visit().login();
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_replies() {
    let server = Server::start();
    let mut replies = Vec::new();
    for (user, password) in [(USER, "wrong"), ("nobody-here", PASSWORD)] {
        let mut visitor = server.visit();
        let asked = visitor.expect(format!("USER {user}"), &[331]);
        let refused = visitor.expect(format!("PASS {password}"), &[530]);
        replies.push((asked.all().replace(user, "*"), refused.all().replace(user, "*")));
    }
    assert_eq!(replies[0], replies[1]);
}

#[test]
fn an_empty_password_is_wrong() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.expect(format!("USER {USER}"), &[331]);
    visitor.expect("PASS ", &[501, 530]);
    visitor.expect("PWD", &[530]);
}

#[test]
fn pass_without_user_is_a_bad_sequence() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.expect(format!("PASS {PASSWORD}"), &[503]);
}

#[test]
fn user_without_a_name_is_a_bad_parameter() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.expect("USER", &[501]);
    visitor.login();
}

#[test]
fn another_user_forgets_the_first() {
    let server = Server::start();
    let mut visitor = server.visit();
    visitor.expect(format!("USER {USER}"), &[331]);
    visitor.expect("USER nobody-here", &[331]);
    visitor.expect(format!("PASS {PASSWORD}"), &[530]);
}

#[test]
fn anonymous_is_a_stranger_unless_enabled() {
    let server = Server::start();
    let mut visitor = server.visit();
    if visitor.expect("USER anonymous", &[331, 530]).code == 331 {
        visitor.expect("PASS me@example.org", &[530]);
    }
    visitor.expect("PWD", &[530]);
}

#[test]
fn before_login_file_and_transfer_commands_get_530() {
    let server = Server::start();
    server.put("f", "secret");
    let commands = [
        "CWD /",
        "CDUP",
        "PWD",
        "MKD d",
        "RMD d",
        "DELE f",
        "RNFR f",
        "RNTO g",
        "XCWD /",
        "XCUP",
        "XPWD",
        "XMKD d",
        "XRMD d",
        "LIST",
        "NLST",
        "MLSD",
        "MLST f",
        "SIZE f",
        "MDTM f",
        "MFMT 20200101000000 f",
        "AVBL",
        "TYPE I",
        "MODE S",
        "STRU F",
        "PASV",
        "EPSV",
        "PORT 127,0,0,1,200,200",
        "EPRT |1|127.0.0.1|51400|",
        "RETR f",
        "STOR g",
        "STOU",
        "APPE f",
        "REST 1",
        "ALLO 1",
        "ABOR",
        "HASH f",
        "MD5 f",
        "XCRC f",
        "XSHA256 f",
        "SITE CHMOD 600 f",
    ];
    // A visitor each: too many bad commands from one end the connection.
    for command in commands {
        server.visit().expect(command, &[530]);
    }
    assert_eq!(server.file("f").as_deref(), Some(&b"secret"[..]));
}

#[test]
fn before_login_what_concerns_the_connection_is_answered() {
    let server = Server::start();
    for (command, codes) in [
        ("NOOP", &[200][..]),
        ("FEAT", &[211]),
        ("HELP", &[211, 214]),
        ("CLNT somebody", &[200]),
        ("OPTS UTF8 ON", &[200]),
        ("LANG en", &[200]),
        ("HOST localhost", &[220]),
        ("QUIT", &[221]),
    ] {
        server.visit().expect(command, codes);
    }
}

#[test]
fn rein_logs_out_and_keeps_the_connection() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("REIN", &[220]);
    client.expect("PWD", &[530]);
    client.login();
    client.expect("PWD", &[257]);
}

#[test]
fn quit_says_221_and_closes() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("QUIT", &[221]);
    client.closed();
}

#[test]
fn acct_is_not_needed() {
    let server = Server::start();
    server.login().expect("ACCT x", &[202, 230, 503]);
}

#[test]
fn an_unknown_verb_gets_500() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("BOGUS", &[500]);
    client.expect("NOOPX", &[500]);
}

#[test]
fn a_known_verb_that_is_not_implemented_gets_502() {
    let server = Server::start();
    server.login().expect("SMNT /x", &[502]);
}

#[test]
fn verbs_are_read_in_any_case() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("noop", &[200]);
    client.expect("pWd", &[257]);
    client.expect("type i", &[200]);
}

#[test]
fn noop_syst_help_and_stat_are_answered() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("NOOP", &[200]);
    assert!(client.expect("SYST", &[215]).text().starts_with("UNIX Type: L8"));
    client.expect("HELP", &[211, 214]);
    client.expect("HELP RETR", &[211, 214]);
    client.expect("STAT", &[211]);
}

#[test]
fn the_log_never_shows_a_password() {
    let server = Server::start();
    let mut client = server.login();
    client.expect("QUIT", &[221]);
    client.closed();
    let mut visitor = server.visit();
    visitor.expect(format!("USER {USER}"), &[331]);
    visitor.expect("PASS another-Secret-9", &[530]);
    let log = server.log();
    assert!(
        !log.contains(PASSWORD) && !log.contains("another-Secret-9"),
        "{log}"
    );
}
