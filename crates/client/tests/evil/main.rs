//! What a server may do to a client, and what the client makes of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no public")]

mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pasarela_client::{
    Failure, FailureKind, FtpRemote, Known, KnownServers, Local, Options, Place, Progress, Security, Site,
    Trust, Url, transfer,
};
use pasarela_store::{Open, Result, Storage as _, VirtualPath};
use server::{ENDS, End, Evil, Script};
use tokio_util::sync::CancellationToken;

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().resolve(text.as_bytes()).unwrap()
}

async fn read(remote: &FtpRemote, name: &str) -> Result<Vec<u8>> {
    let file = remote.open(&path(name), Open::Read).await?;
    let mut all = Vec::new();
    loop {
        let bytes = file.read_at(all.len() as u64, 64 * 1024).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

async fn write(remote: &FtpRemote, name: &str, content: &[u8]) -> Result<()> {
    let file = remote.open(&path(name), Open::Replace).await?;
    file.write_at(0, Bytes::copy_from_slice(content)).await?;
    file.prepare().await?;
    file.publish().await
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> FailureKind {
    Failure::of(&result.unwrap_err()).unwrap().kind
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("it hangs")
}

#[tokio::test]
async fn a_download_succeeds_when_length_reply_and_end_agree_and_never_otherwise() {
    let content = vec![b'x'; 1500];
    for tls in [false, true] {
        for length in [500, 1000, 1500] {
            for end in ENDS {
                if end == End::NoGoodbye && !tls {
                    continue; // In clear, FIN is all the goodbye there is.
                }
                let evil = Evil::start(Script::file(&content[..length], 1000, end), tls).await;
                let remote = evil.remote();
                let done = within(read(&remote, "a")).await;
                let good =
                    length == 1000 && matches!(end, End::Done226 | End::Late | End::Twice | End::NoReply);
                assert_eq!(done.is_ok(), good, "{length} bytes, {end:?}, tls {tls}: {done:?}");
                if good {
                    assert_eq!(done.unwrap(), &content[..length]);
                    // Nothing is left over that the next transfer could stumble on.
                    assert_eq!(remote.stat(&path("a")).await.unwrap().size, 1000, "{end:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_missing_goodbye_is_forgiven_only_on_request_and_only_at_the_known_length() {
    for (length, good) in [(1000, true), (999, false)] {
        let evil = Evil::start(Script::file(&vec![b'x'; length], 1000, End::NoGoodbye), true).await;
        let mut site = evil.site();
        site.options.lenient_close = true;
        let done = within(read(&FtpRemote::new(site), "a")).await;
        assert_eq!(done.is_ok(), good, "{done:?}");
    }
}

#[tokio::test]
async fn an_upload_succeeds_when_the_server_says_so_and_has_as_much() {
    for tls in [false, true] {
        for end in ENDS {
            if matches!(end, End::DoneThenReset | End::NoGoodbye) {
                continue; // They are about what the server sends.
            }
            for (size, whole) in [(1000, true), (900, false)] {
                let script = Script {
                    size_later: size,
                    ..Script::file(b"", size, end)
                };
                let evil = Evil::start(script, tls).await;
                let done = within(write(&evil.remote(), "a", &[b'x'; 1000])).await;
                let good = whole && !matches!(end, End::Cut426 | End::Error451);
                assert_eq!(done.is_ok(), good, "{end:?}, has {size}, tls {tls}: {done:?}");
                assert_eq!(evil.uploads(), [vec![b'x'; 1000]]);
            }
        }
    }
}

#[tokio::test]
async fn a_lost_control_connection_is_no_false_success_for_a_shrunk_file() {
    let script = Script {
        size_later: 900,
        ..Script::file(&[b'x'; 1000], 1000, End::NoReply)
    };
    let evil = Evil::start(script, false).await;
    assert!(within(read(&evil.remote(), "a")).await.is_err());
    assert_eq!(evil.connections(), 2);
}

#[tokio::test]
async fn an_announced_address_of_somebody_else_is_never_connected_to() {
    let bait = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = bait.local_addr().unwrap().port();
    let [high, low] = port.to_be_bytes();
    let script = Script::file(b"x", 1, End::Done226)
        .saying("EPSV", "502 no\r\n")
        .saying("PASV", format!("227 ok (127,0,0,2,{high},{low})\r\n"));
    let evil = Evil::start(script, false).await;
    assert_eq!(kind(within(read(&evil.remote(), "a")).await), FailureKind::Data);
    assert!(evil.has_heard("PASV"));
    let connected = tokio::time::timeout(Duration::from_millis(200), bait.accept()).await;
    assert!(connected.is_err(), "somebody connected to the bait");
}

#[tokio::test]
async fn endless_replies_and_listings_end() {
    let endless = [
        ("GREETING", "220-x\r\n".repeat(100_000)),
        ("GREETING", format!("220 {}", "x".repeat(1_000_000))),
        ("SIZE", "120 wait\r\n".repeat(100_000)),
        ("FEAT", " y\r\n".repeat(100_000)),
    ];
    for (verb, reply) in endless {
        let script = Script::default().saying(verb, reply).saying("MLST", "502 no\r\n");
        let evil = Evil::start(script, false).await;
        assert_eq!(
            kind(within(evil.remote().stat(&path("a"))).await),
            FailureKind::Protocol,
            "{verb}"
        );
    }
    let lines = "type=file;size=1; a\r\n".repeat(1_000_010);
    let evil = Evil::start(Script::file(lines.as_bytes(), 0, End::Done226), false).await;
    let mut pages = evil.remote().list(&path("/")).await.unwrap();
    let failed = within(async {
        loop {
            match pages.next_page().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    });
    assert_eq!(kind(failed.await), FailureKind::Protocol);
}

#[tokio::test]
async fn a_server_that_stays_silent_is_given_up() {
    let mut site = Evil::start(
        Script::default()
            .saying("SIZE", "213-\r\n")
            .saying("MLST", "502 no\r\n"),
        false,
    )
    .await
    .site();
    site.options.reply_timeout = Duration::from_millis(200);
    assert_eq!(
        kind(within(FtpRemote::new(site).stat(&path("a"))).await),
        FailureKind::Timeout
    );
}

#[tokio::test]
async fn names_in_a_listing_are_one_component() {
    let listing = "type=file;size=1; ../x\r\ntype=file;size=1; /etc/passwd\r\ntype=file;size=1; a/../../x\r\n\
                   type=file;size=1; good\r\ntype=dir; ..\r\n";
    let evil = Evil::start(Script::file(listing.as_bytes(), 0, End::Done226), false).await;
    let mut pages = evil.remote().list(&path("/")).await.unwrap();
    let page = pages.next_page().await.unwrap().unwrap();
    let names: Vec<_> = page.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [b"good"]);
    assert!(pages.next_page().await.unwrap().is_none());
}

#[tokio::test]
async fn line_ends_never_leave_the_client() {
    let evil = Evil::start(Script::default(), false).await;
    let mut site = evil.site();
    site.user = b"maria\r\nDELE x".to_vec();
    assert_eq!(
        kind(within(FtpRemote::new(site).connect()).await),
        FailureKind::Usage
    );
    assert!(
        !evil.has_heard("USER") && !evil.has_heard("DELE"),
        "{:?}",
        evil.heard()
    );
    assert!(VirtualPath::root().resolve(b"a\r\nDELE x").is_err());
    assert!("ftp://h/a%0d%0aDELE%20x".parse::<Url>().is_err());
}

#[tokio::test]
async fn bytes_behind_the_234_end_everything_before_a_password_goes_out() {
    let evil = Evil::start(Script::default().saying("AUTH", "234 go\r\n230 ok\r\n"), true).await;
    assert_eq!(kind(within(evil.remote().connect()).await), FailureKind::Tls);
    assert_eq!(evil.heard(), ["AUTH TLS"]);
}

#[tokio::test]
async fn without_tls_no_password_leaves_the_client() {
    for refusal in ["500 what\r\n", "534 no\r\n", ""] {
        for security in [Security::Offered, Security::Required] {
            let evil = Evil::start(Script::default().saying("AUTH", refusal), false).await;
            let mut site = evil.site();
            site.security = security;
            site.options.plain_password = false;
            within(FtpRemote::new(site).connect()).await.unwrap_err();
            assert!(
                !evil.has_heard("USER") && !evil.has_heard("PASS"),
                "{:?}",
                evil.heard()
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_once_had_tls_gets_nobody_in_clear() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Arc::new(KnownServers::at(directory.path().join("known_servers")));
    let evil = Evil::start(Script::default(), false).await;
    let mut site = evil.site();
    site.memory = Some(Arc::clone(&servers));
    FtpRemote::new(site.clone()).connect().await.unwrap();

    servers
        .remember(&site.host, site.port, Known { key: None })
        .unwrap();
    let before = evil.heard().len();
    assert_eq!(
        kind(within(FtpRemote::new(site).connect()).await),
        FailureKind::Tls
    );
    assert_eq!(evil.heard()[before..], ["AUTH TLS"]);
}

#[tokio::test]
async fn a_server_seen_with_tls_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Arc::new(KnownServers::at(directory.path().join("known_servers")));
    let evil = Evil::start(Script::default(), true).await;
    let mut site = evil.site();
    site.trust = Trust::FirstUse {
        servers: Arc::clone(&servers),
        stranger: pasarela_client::Stranger::Accept,
    };
    FtpRemote::new(site.clone()).connect().await.unwrap();
    assert!(
        servers
            .look_up(&site.host, site.port)
            .unwrap()
            .unwrap()
            .key
            .is_some()
    );
}

#[tokio::test]
async fn an_anonymous_visitor_may_go_in_clear() {
    let evil = Evil::start(Script::default(), false).await;
    let url: Url = format!("ftp://{}/", evil.address).parse().unwrap();
    FtpRemote::new(Site::of(&url)).connect().await.unwrap();
    assert!(evil.has_heard("USER anonymous"));
}

#[tokio::test]
async fn fewer_connections_than_wished_are_enough() {
    let script = Script {
        most: 2,
        ..Script::file(&[b'x'; 5000], 5000, End::Done226)
    };
    let evil = Evil::start(script, false).await;
    let mut site = evil.site();
    site.options = Options {
        parallel: 6,
        ..site.options
    };
    let remote = FtpRemote::new(site);
    remote.connect().await.unwrap();
    let reads: Vec<_> = (0..12)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { read(&remote, "a").await })
        })
        .collect();
    for one in reads {
        assert_eq!(within(one).await.unwrap().unwrap().len(), 5000);
    }
    use pasarela_client::Remote as _;
    assert!(remote.abilities().parallel <= 2 + 4, "{:?}", remote.abilities());
}

#[tokio::test]
async fn a_dropped_upload_is_aborted() {
    let evil = Evil::start(Script::file(b"", 4, End::Done226), false).await;
    let remote = evil.remote();
    let file = remote.open(&path("a"), Open::Replace).await.unwrap();
    file.write_at(0, Bytes::from_static(b"half")).await.unwrap();
    drop(file);
    // The server's reading of the data ends in an error, so it never counts as an upload.
    remote.stat(&path("a")).await.unwrap();
    assert!(evil.uploads().is_empty());
}

#[tokio::test]
async fn passive_ports_that_refuse_are_asked_for_in_the_other_way_and_that_is_remembered() {
    // Nobody listens on port 1 of the loopback interface.
    for reply in ["229 ok (|||1|)\r\n", "500 what\r\n", "229 ok\r\n"] {
        let script = Script::file(b"x", 1, End::Done226).saying("EPSV", reply);
        let evil = Evil::start(script, false).await;
        let remote = evil.remote();
        assert_eq!(within(read(&remote, "a")).await.unwrap(), b"x", "{reply}");
        assert_eq!(within(read(&remote, "a")).await.unwrap(), b"x", "{reply}");
        let asked = evil.heard().iter().filter(|line| *line == "EPSV").count();
        assert_eq!(asked, 1, "{reply}: {:?}", evil.heard());
    }
}

#[tokio::test]
async fn the_server_connects_to_us_only_when_that_was_asked_for_and_passive_mode_failed() {
    for asked in [false, true] {
        let script = Script::file(b"x", 1, End::Done226)
            .saying("EPSV", "502 no\r\n")
            .saying("PASV", "502 no\r\n");
        let evil = Evil::start(script, asked).await;
        let mut site = evil.site();
        site.options.active = asked;
        let done = within(read(&FtpRemote::new(site), "a")).await;
        assert_eq!(done.is_ok(), asked, "{done:?}");
        assert_eq!(evil.has_heard("PORT"), asked);
    }
}

#[tokio::test]
async fn an_upload_goes_into_the_file_itself_where_nothing_can_be_renamed() {
    let stor = |evil: &Evil| -> Vec<String> {
        let heard = evil.heard().into_iter();
        heard.filter(|line| line.starts_with("STOR")).collect()
    };
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("x"), b"four").unwrap();
    let from = Local::at(&here.path().join("x")).unwrap();
    for (from_says, to_says, expected) in [
        (
            "350 go\r\n",
            "250 fine\r\n",
            &["STOR /folder/.a.e8b7be43.part"][..],
        ),
        (
            "350 go\r\n",
            "553 no\r\n",
            &["STOR /folder/.a.e8b7be43.part", "STOR /folder/a"],
        ),
        ("550 Permission denied\r\n", "503 what\r\n", &["STOR /folder/a"]),
    ] {
        let script = Script::file(b"", 4, End::Done226)
            .saying("RNFR", from_says)
            .saying("RNTO", to_says);
        let evil = Evil::start(script, false).await;
        let to = Place {
            remote: Arc::new(evil.remote()),
            path: path("/folder/a"),
        };
        let (options, stop) = (transfer::Options::default(), CancellationToken::new());
        let progress = Progress::default();
        let copied = transfer::copy(&from, &to, &options, &progress, &stop);
        within(copied).await.unwrap();
        assert_eq!(stor(&evil), expected, "{:?}", evil.heard());
        // What was written under the other name is not left there.
        assert_eq!(
            evil.has_heard("DELE /folder/.a."),
            expected.len() == 2,
            "{:?}",
            evil.heard()
        );
    }
}
