//! What `pasarela doctor` says without a URL, in every kind of network: golden texts.
//!
//! `PASARELA_BLESS=1` writes them anew; look at the difference before it is kept.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use pasarela_lab::relay::LabRelay;
use pasarela_lab::site::{Site, stun_servers};
use pasarela_lab::{lab, runs_here};
use pasarela_testkit::lab::{Lab, Role};
use pasarela_testkit::{pasarela_binary, run_within};
use rustix::process::{Pid, Signal, kill_process};

/// How long one examination may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Who may be asked beside the network's own router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nobody,
    Stun,
    StunAndRelay,
}

use Asked::{Nobody, Stun, StunAndRelay};

/// Topology, who is asked, further words, and the golden text's name.
const NETWORKS: &[(&str, Asked, &[&str], &str)] = &[
    ("pub", Nobody, &[], "public-alone"),
    ("pub", StunAndRelay, &[], "public"),
    ("upnp", Stun, &[], "upnp"),
    ("upnp", Stun, &["--json"], "upnp-json"),
    ("upnp", Nobody, &["--reach", "off"], "upnp-off"),
    ("cone", Stun, &[], "full-cone"),
    ("cone", StunAndRelay, &[], "full-cone-relay"),
    ("plain", Nobody, &[], "restricted-alone"),
    ("plain", Stun, &[], "restricted"),
    ("fwd", StunAndRelay, &["--listen", "[::]:21"], "forwarded"),
    ("cgnat", Stun, &[], "carrier"),
    ("cgnat", StunAndRelay, &["--listen", "[::]:21"], "carrier-relay"),
    ("double", Stun, &[], "double"),
    ("v6", Stun, &[], "ipv6"),
    ("dual", Stun, &[], "dual"),
];

/// The same for networks that only a configuration describes.
const CONFIGURED_NETWORKS: &[(&str, Asked, &str, &str)] = &[(
    "doubleupnp",
    Stun,
    "[ftp]\nlisten = [\"21\"]\n[reach]\nforward = [{ outside = 21, inside = 21 }]\n",
    "double-mapped",
)];

/// Topology, who is asked, the configuration, and the golden text's name.
const SERVERS: &[(&str, Asked, &str, &str)] = &[
    (
        "pub",
        StunAndRelay,
        "[ftp]\nlisten = [\"21\"]\nimplicit_listen = [\"990\"]\ndata.ports = \"30000-30002\"\n",
        "opening-public",
    ),
    ("upnp", Stun, "[ftp]\nlisten = [\"2121\"]\n", "opening-upnp"),
    (
        "remap",
        StunAndRelay,
        "[ftp]\nlisten = [\"21\"]\nimplicit_listen = [\"990\"]\ndata.ports = \"control\"\n\
         [reach]\nforward = [{ outside = 2121, inside = 21 }, { outside = 2990, inside = 990 }]\n\
         public_address = \"11.9.0.20\"\n",
        "opening-remap",
    ),
    (
        "plain",
        Stun,
        "[ftp]\nlisten = [\"192.168.1.10:2121\"]\n[tls]\nmode = \"optional\"\n",
        "opening-restricted",
    ),
    (
        "cgnat",
        StunAndRelay,
        "[ftp]\nlisten = [\"21\"]\n",
        "opening-carrier-relay",
    ),
];

#[test]
fn every_network_is_put_into_words() {
    side_by_side(NETWORKS, |(topology, asked, words, name)| {
        let lab = lab(topology).unwrap();
        compare(
            name,
            &told(
                &lab,
                *asked,
                &words.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ),
        )
    });
}

#[test]
fn a_configuration_says_what_cannot_be_found_out() {
    side_by_side(CONFIGURED_NETWORKS, |case| configured("--config", *case));
}

#[test]
fn what_a_server_needs_opened_is_told_and_tried() {
    side_by_side(SERVERS, |case| configured("--server", *case));
}

/// One case with a configuration file, named by this flag.
fn configured(flag: &str, (topology, asked, config, name): (&str, Asked, &str, &str)) -> String {
    let lab = lab(topology).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pasarela.toml");
    fs::write(&file, config).unwrap();
    let file = file.display().to_string();
    let told = told(&lab, asked, &[flag.to_owned(), file.clone()]);
    compare(name, &told.replace(&file, "pasarela.toml"))
}

#[test]
fn a_server_that_runs_is_asked_and_left_alone() {
    let Some(lab) = lab("upnp") else { return };
    let site = Site::start(lab).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pasarela.toml");
    fs::write(
        &file,
        "[ftp]\nlisten = [\"[::]:21\"]\nimplicit_listen = [\"[::]:990\"]\n",
    )
    .unwrap();
    let end = Instant::now() + PATIENCE;
    let is_settled = |told: &serde_json::Value| {
        let mut ports = told["ports"].as_array().into_iter().flatten();
        ports.clone().count() == 2 && ports.all(|port| port["settled"] == true)
    };
    while !site.told().as_ref().is_some_and(is_settled) {
        assert!(Instant::now() < end, "{:?}", site.told());
        std::thread::sleep(Duration::from_millis(100)); // a file cannot be waited for
    }
    let before = site.lab.mappings().unwrap();
    assert_eq!(before.len(), 2, "{before:?}");
    let state = site.server.certificate();
    let state = state.parent().unwrap().display().to_string();
    let examined = run(&site.lab, Stun, &["--state-dir".to_owned(), state.clone()]);
    let words = ["--state-dir", &state, "--server"].map(ToOwned::to_owned);
    let words = [&words[..], &[file.display().to_string()]].concat();
    let opening = run(&site.lab, Stun, &words).replace(&file.display().to_string(), "pasarela.toml");
    assert_eq!(site.lab.mappings().unwrap(), before);
    let wrong = [
        compare("running", &examined),
        compare("opening-running", &opening),
    ]
    .concat();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_firewall_is_told_where_a_relay_tries() {
    let Some(lab) = lab("pub") else { return };
    let rules = "add table inet own { chain input { type filter hook input priority 0; ct state established accept; \
                 tcp dport 2121 drop; }; }";
    let ended = run_within(lab.command(Role::Server, "nft").arg(rules), PATIENCE);
    assert!(ended.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let mut wrong = compare("firewall", &told(&lab, StunAndRelay, &[]));
    wrong += &compare(
        "wrong-address",
        &told(&lab, Stun, &["--public-address".into(), "11.9.0.99".into()]),
    );
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_port_that_another_program_has_is_told() {
    let Some(lab) = lab("pub") else { return };
    let listener = lab
        .within(Role::Server, || TcpListener::bind("0.0.0.0:2121"))
        .unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 another server\r\n").unwrap();
        listener // until it has been told
    });
    let config = "[ftp]\nlisten = [\"0.0.0.0:2121\"]\ndata.ports = \"30000-30010\"\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pasarela.toml");
    fs::write(&file, config).unwrap();
    let file = file.display().to_string();
    let said = told(&lab, Nobody, &["--server".to_owned(), file.clone()]);
    let wrong = compare("opening-taken", &said.replace(&file, "pasarela.toml"));
    assert!(wrong.is_empty(), "{wrong}");
    drop(other.join().unwrap());
}

#[test]
fn a_signal_in_the_middle_leaves_nothing_behind() {
    let Some(lab) = lab("upnp") else { return };
    let state = tempfile::tempdir().unwrap();
    let mut command = lab.command(Role::Server, pasarela_binary());
    command.args(["doctor", "--state-dir"]).arg(state.path());
    // Nobody is there, and is waited for.
    command.args(["--stun", "11.9.0.77"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut doctor = command.spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while lab.mappings().unwrap().is_empty() {
        assert!(Instant::now() < end && doctor.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10)); // a router's table cannot be waited for
    }
    let pid = i32::try_from(doctor.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = doctor.wait_with_output().unwrap();
    assert_eq!(
        ended.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_eq!(lab.mappings().unwrap(), []);
}

#[test]
fn nftables_takes_the_rules() {
    if !runs_here() {
        return;
    }
    let lab = lab("pub").unwrap();
    for name in SERVERS.iter().map(|case| case.3).chain(["opening-taken"]) {
        let text = fs::read_to_string(golden(name)).unwrap();
        let rules = text.split("== nftables (nft -f FILE) ==\n").nth(1).unwrap();
        let rules = rules.split("\n\n").next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.nft");
        fs::write(&file, format!("{rules}\n")).unwrap();
        // Twice: where there is no firewall, and beside the chain that there is then.
        for _ in 0..2 {
            let ended = run_within(lab.command(Role::Client, "nft").arg("-f").arg(&file), PATIENCE);
            assert!(
                ended.success(),
                "{name}: {}\n{rules}",
                String::from_utf8_lossy(&ended.stderr)
            );
        }
    }
}

/// Runs cases on a few threads, as each waits for what filters keep out; panics with all that is wrong.
fn side_by_side<T: Sync>(cases: &[T], case: impl Fn(&T) -> String + Sync) {
    if !runs_here() {
        return;
    }
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let chunks: Vec<_> = cases
            .chunks(cases.len().div_ceil(3))
            .map(|cases| scope.spawn(|| cases.iter().map(&case).collect::<Vec<_>>()))
            .collect();
        chunks
            .into_iter()
            .flat_map(|chunk| chunk.join().unwrap())
            .collect()
    });
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{wrong}");
}

/// What the doctor says in the server's place; whatever routers were asked for is given back.
fn told(lab: &Lab, asked: Asked, words: &[String]) -> String {
    let state = tempfile::tempdir().unwrap();
    let words = [
        words,
        &["--state-dir".to_owned(), state.path().display().to_string()],
    ]
    .concat();
    let told = run(lab, asked, &words);
    assert_eq!(lab.mappings().unwrap(), [], "{told}");
    told
}

fn run(lab: &Lab, asked: Asked, words: &[String]) -> String {
    let relay = (asked == StunAndRelay).then(|| LabRelay::start(lab));
    let mut command = lab.command(Role::Server, pasarela_binary());
    command.arg("doctor").args(words).stdin(Stdio::null());
    if asked != Nobody {
        for server in stun_servers(lab) {
            command.args(["--stun", &server.to_string()]);
        }
    }
    if let Some(relay) = &relay {
        command.args(["--relay", relay.url()]);
    }
    let ended = run_within(&mut command, PATIENCE);
    let code = ended.status.and_then(|status| status.code());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.is_empty(), "{said}");
    format!(
        "{}exit code {}\n",
        without_chance(&String::from_utf8_lossy(&ended.stdout)),
        code.unwrap()
    )
}

/// Port numbers that the system or a NAT has chosen differ from run to run.
fn without_chance(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| without_time(&line_without_chance(line)))
        .collect()
}

fn line_without_chance(line: &str) -> String {
    // A NAT may choose any, also one that was configured.
    let is_all_chance = ["seen from two servers", "another port (", " over UDP"]
        .iter()
        .any(|words| line.contains(words));
    let mut parts = line.split(':');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        let is_chosen = number
            .parse()
            .is_ok_and(|port: u16| is_all_chance || !CONFIGURED.contains(&port));
        let follows_address = is_address(shown.rsplit([' ', '"', '(', '/', ':']).next().unwrap_or_default());
        shown.push(':');
        shown.push_str(if is_chosen && follows_address {
            "PORT"
        } else {
            number
        });
        shown.push_str(rest);
    }
    shown
}

/// How long something took: ` in 12 ms`.
fn without_time(line: &str) -> String {
    let mut parts = line.split(" in ");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let is_time = digits > 0 && part[digits..].starts_with(" ms");
        shown.push_str(" in ");
        shown.push_str(if is_time { "N" } else { &part[..digits] });
        shown.push_str(&part[digits..]);
    }
    shown
}

#[test]
fn nothing_that_is_left_to_chance_is_compared() {
    for (said, shown) in [
        ("at 11.9.0.3:50123: a relay", "at 11.9.0.3:PORT: a relay"),
        ("at 11.9.0.3:21: a relay", "at 11.9.0.3:21: a relay"),
        (
            "another port (11.9.0.30:21 and 11.9.0.30:7)",
            "another port (11.9.0.30:PORT and 11.9.0.30:PORT)",
        ),
        ("eth0 2a11:9:1::10/64", "eth0 2a11:9:1::10/64"),
        ("at [2a11:9:1::10]:4000, as", "at [2a11:9:1::10]:PORT, as"),
        ("docker run -p 2121:2100", "docker run -p 2121:2100"),
        ("answered in 12 ms, in 3 steps", "answered in N ms, in 3 steps"),
    ] {
        assert_eq!(without_chance(said), shown);
    }
}

/// Whether a word, as far as it stands before a colon, is an address that a port follows.
fn is_address(word: &str) -> bool {
    word.parse::<std::net::Ipv4Addr>().is_ok() || word.ends_with(']')
}

/// Ports of the configurations above, and of the lab's servers.
const CONFIGURED: &[u16] = &[21, 443, 990, 2121, 2990, 3478, 3479, 30_000, 30_001, 30_002];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("doctor-{name}.txt"))
}

/// What differs from the golden text; nothing where it is the same.
fn compare(name: &str, told: &str) -> String {
    let file = golden(name);
    if std::env::var_os("PASARELA_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, told).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    match expected == told {
        true => String::new(),
        false => format!("--- {name}: expected\n{expected}--- {name}: said\n{told}"),
    }
}
