//! Through proxies that people have: SOCKS 5 (microsocks) and HTTP CONNECT (tinyproxy), control and data alike.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pasarela_client::{Failure, FailureKind, FtpRemote, Options, Proxy, Remote as _, Site, Trust, Url};
use pasarela_store::Open;
use pasarela_testkit::{PASSWORD, Pasarela, USER, noise, pasarela_binary, sha256_of};

use super::servers::{Brand, Server, Wire, unpacked_program};
use super::{Explained as _, read, write};

/// The address that proxies connect from, so that a server can tell.
const FROM: &str = "127.0.0.9";

struct Running {
    child: Child,
    address: SocketAddr,
    _scratch: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(command: impl FnOnce(u16, &std::path::Path) -> Command) -> Running {
    let scratch = tempfile::tempdir().unwrap();
    // Freed at once, and nobody else on this machine asks for that very one in between.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = command(address.port(), scratch.path());
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}\nhint: run cargo xtask test, which unpacks it"));
    let mut running = Running {
        child,
        address,
        _scratch: scratch,
    };
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        let ended = running.child.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < end, "{command:?} {ended:?}");
        std::thread::yield_now();
    }
    running
}

fn socks() -> Running {
    start(|port, _| {
        let mut command = unpacked_program("usr/bin/microsocks");
        command.args([
            "-i",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-b",
            FROM,
            "-u",
            "anna",
            "-P",
            "pr0xy",
        ]);
        command
    })
}

fn http() -> Running {
    start(|port, scratch| {
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nBind {FROM}\nMaxClients 50\nTimeout 60\nAllow 127.0.0.1\n\
             BasicAuth anna pr0xy\n"
        );
        let file = scratch.join("tinyproxy.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = unpacked_program("usr/bin/tinyproxy");
        command.arg("-d").arg("-c").arg(file);
        command
    })
}

/// Files both ways, listings, and several at once.
async fn exercise(site: Site, proxy: Proxy) {
    let remote = FtpRemote::new(Site {
        options: Options {
            proxy: Some(Arc::new(proxy)),
            ..site.options
        },
        ..site
    });
    let home = remote.resolve(b"").await.done();
    let path = home.resolve(b"large").unwrap();
    let content = noise(1, super::LARGE);
    write(&remote, &path, Open::Replace, &content).await.done();
    let reads: Vec<_> = (0..4)
        .map(|_| {
            let (remote, path) = (remote.clone(), path.clone());
            tokio::spawn(async move { sha256_of(&read(&remote, &path, 0).await.done()) })
        })
        .collect();
    for one in reads {
        assert_eq!(one.await.unwrap(), sha256_of(&content));
    }
    assert_eq!(super::names(&remote, &home).await, [b"large"]);
    remote.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_go_through_a_proxy() {
    let work = async {
        for (running, scheme) in [(socks(), "socks5"), (socks(), "socks5h"), (http(), "http")] {
            let proxy: Proxy = format!("{scheme}://anna:pr%30xy@{}", running.address)
                .parse()
                .unwrap();
            for wire in [Wire::Plain, Wire::Explicit, Wire::Implicit] {
                // Its data connections have to come from where its control connections come from: it sees the proxy's.
                let server = Server::start(Brand::Vsftpd, wire);
                exercise(server.site(), proxy.clone()).await;
            }
            let server = Pasarela::start(&["--tls", "optional"]);
            let url: Url = format!("ftpes://{USER}:{PASSWORD}@{}/", server.control())
                .parse()
                .unwrap();
            let site = Site {
                trust: Trust::Roots(server.certificate()),
                ..Site::of(&url)
            };
            exercise(site, proxy.clone()).await;
            let peers = server.log().lines().filter(|line| line.contains(FROM)).count();
            assert!(peers > 0, "{}", server.log());
        }
    };
    tokio::time::timeout(Duration::from_secs(300), work)
        .await
        .expect("it hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_says_so() {
    let server = Server::start(Brand::Vsftpd, Wire::Plain);
    let (socks, http) = (socks(), http());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (proxy, kind) in [
        (format!("socks5://{}", socks.address), FailureKind::Login),
        (
            format!("socks5h://anna:wrong@{}", socks.address),
            FailureKind::Login,
        ),
        (format!("http://{}", http.address), FailureKind::Login),
        (format!("http://anna:wrong@{}", http.address), FailureKind::Login),
        (
            format!("socks5://anna:pr%30xy@{}", http.address),
            FailureKind::Timeout,
        ),
        (format!("socks5://{closed}"), FailureKind::Connect),
    ] {
        let mut site = server.site();
        site.options.proxy = Some(Arc::new(proxy.parse().unwrap()));
        site.options.connect_timeout = Duration::from_secs(2);
        let error = FtpRemote::new(site).connect().await.unwrap_err();
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.kind, kind, "{proxy}: {failure}");
        assert!(failure.to_string().contains("\nhint: "), "{failure}");
        assert!(!failure.to_string().contains("wrong"), "{failure}");
    }
}

#[test]
fn the_command_heeds_its_flag_and_the_variables() {
    let server = Server::start(Brand::Vsftpd, Wire::Plain);
    server.put("file", b"content");
    let proxy = socks();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("ftp://{}/file", server.address());
    let good = format!("socks5h://anna:pr%30xy@{}", proxy.address);
    let bad = format!("socks5h://{}", proxy.address);
    for (flags, variables, expected) in [
        (&[][..], &[("all_proxy", good.as_str())][..], Some(0)),
        (&[], &[("all_proxy", &bad)], Some(4)),
        (&[], &[("all_proxy", &bad), ("no_proxy", "127.0.0.0/8")], Some(0)),
        (&["--proxy", "none"], &[("all_proxy", &bad)], Some(0)),
        (&["--proxy", &good], &[("all_proxy", &bad)], Some(0)),
        (&["--proxy", &bad], &[], Some(4)),
        (&["--proxy", "socks4://h"], &[], Some(2)),
    ] {
        let mut command = Command::new(pasarela_binary());
        command.arg("cat").args(flags).arg(&url).current_dir(dir.path());
        for name in [
            "ftp_proxy",
            "FTP_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "no_proxy",
            "NO_PROXY",
        ] {
            command.env_remove(name);
        }
        let output = command
            .envs(variables.iter().copied())
            .env("STATE_DIRECTORY", dir.path())
            .env("HOME", dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), expected, "{command:?}: {output:?}");
        assert!(expected != Some(0) || output.stdout == b"content");
    }
}
