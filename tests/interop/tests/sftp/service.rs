//! SFTP is held to the same limits, bans and drains as everything else.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_testkit::{PASSWORD, Pasarela, USER, make_file, run, sha256};

use super::Site;

/// Whether the server hangs up by itself; what it says before is read.
fn hangs_up(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn who_does_not_log_in_is_hung_up_on() {
    let site = Site::of(&Pasarela::setup().config("[limits]\nlogin = \"1s\"\n"));
    let connect = || TcpStream::connect(site.server.sftp()).unwrap();
    assert!(hangs_up(connect()), "a silent one");
    let mut begun = connect();
    begun.write_all(b"SSH-2.0-Test\r\n").unwrap();
    assert!(hangs_up(begun), "one that has said its name");
    let mut endless = connect();
    endless.write_all(&[b'x'; 10_000]).unwrap();
    assert!(hangs_up(endless), "one that talks nonsense");
}

#[test]
fn guessing_over_sftp_bans_everywhere() {
    let site = Site::of(&Pasarela::setup().config("[limits]\nban_after = 2\n[tls]\nmode = \"optional\"\n"));
    let log_in = |password: &str, url: String| {
        let mut curl = site.client("curl");
        curl.args(["-sS", "--insecure", "--user", &format!("{USER}:{password}")]);
        run(curl.arg(url)).success()
    };
    let sftp = || format!("sftp://{}/", site.server.sftp());
    let ftp = || format!("ftp://{}/", site.server.control());
    assert!(log_in(PASSWORD, sftp()) && log_in(PASSWORD, ftp()));
    for _ in 0..2 {
        assert!(!log_in("wrong", sftp()));
    }
    assert!(!log_in(PASSWORD, sftp()), "{}", site.server.log());
    assert!(!log_in(PASSWORD, ftp()), "{}", site.server.log());
}

#[test]
fn sessions_of_one_user_are_counted() {
    let site = Site::of(&Pasarela::setup().config("[limits]\nper_user = 1\n"));
    make_file(&site.path("f"), 2, 4_000_000);
    let slow = || {
        let mut sftp = site.client("sftp");
        sftp.args(site.options()).args(["-l", "4000", "-P", &site.port()]);
        sftp.arg(format!("{USER}@127.0.0.1"));
        sftp.stdin(site.script("put f f\n"));
        sftp
    };
    let mut first = slow()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let logged_in = |line: &str| line.contains("logged in").then_some(());
    site.server
        .wait_for_log(Duration::from_secs(60), logged_in)
        .unwrap();
    assert!(!run(&mut slow()).success());
    first.kill().unwrap();
    first.wait().unwrap();
}

/// SIGTERM in the middle of an upload: it is finished, and then the server ends.
#[test]
fn a_stopping_server_lets_an_upload_end() {
    let site = Site::start();
    make_file(&site.path("f"), 3, 3_000_000);
    fs::write(site.path("batch"), "put f f\n").unwrap();
    let mut sftp = site.client("sftp");
    // What is said first holds, so a batch can be asked for a password too.
    sftp.args(["-o", "BatchMode=no"]).args(site.options());
    sftp.args(["-b", "batch", "-l", "8000", "-P", &site.port()]);
    let mut sftp = sftp
        .arg(format!("{USER}@127.0.0.1"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let coming = || {
        let entries = fs::read_dir(site.server.root()).unwrap();
        entries
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .next()
    };
    let end = Instant::now() + Duration::from_secs(120);
    while coming().unwrap_or(0) < 100_000 {
        assert!(Instant::now() < end, "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let server = site.server.process().to_string();
    run(Command::new("kill").args(["-TERM", &server])).expect_success();
    assert!(sftp.wait().unwrap().success());
    assert_eq!(sha256(&site.path("f")), sha256(&site.server.file("f")));
    let draining = |line: &str| line.contains("draining").then_some(());
    site.server
        .wait_for_log(Duration::from_secs(60), draining)
        .unwrap();
    let status = site.server.terminate();
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}
