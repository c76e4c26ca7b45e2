//! Our client beside lftp and curl over a line of 25 ms each way: `delay [--files N] [--mib N] [--rounds N]`.
//!
//! Everything is in a network namespace of its own. What goes to 10.9.0.2 leaves by an interface that is a program: it
//! keeps each packet for 25 ms and gives it back with its addresses exchanged, so that it comes from 10.9.0.2 to 10.9.0.1,
//! where the servers are. Figures of one run mean something
//! beside each other only: `cargo build --release -p pasarela`, then `PASARELA_BIN=target/release/pasarela cargo run
//! --release -p pasarela-lab --bin delay`.
#![allow(clippy::print_stdout, reason = "the table is this program's output")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be set up is reported by a panic"
)]

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pasarela_testkit::{PASSWORD, USER, assert_same_tree, make_file, noise, pasarela_binary};

/// Connections of each client.
const CONNECTIONS: &str = "8";
/// Set in the process that is in the namespace already.
const INSIDE: &str = "PASARELA_DELAY_INSIDE";
/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(900);
const PORT: u16 = 2121;

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().unwrap();
        let error = Command::new("unshare")
            .args(["-r", "-n"])
            .arg(own)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        eprintln!("unshare: {error}");
        return ExitCode::FAILURE;
    }
    let _line = delaying_line();
    let options: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, usual: usize| {
        let found = options.iter().position(|word| word == name);
        found.map_or(usual, |at| options[at + 1].parse().expect("a number"))
    };
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path().join("here");
    let (files, mib) = (option("--files", 2000), option("--mib", 256));
    fs::create_dir_all(here.join("small")).unwrap();
    for number in 0..files {
        let content = noise(u32::try_from(number).unwrap().into(), 1000 + number % 6000);
        fs::write(here.join(format!("small/file{number}")), content).unwrap();
    }
    make_file(&here.join("large"), 7, mib << 20);

    println!(
        "{files} files of 1 to 7 KB by {CONNECTIONS} connections; {mib} MiB by one; 50 ms there and back"
    );
    println!("| server | case | client | s | processor s |");
    println!("|---|---|---|---|---|");
    for round in 0..option("--rounds", 2) {
        for server in [Server::Vsftpd, Server::Pasarela] {
            measure(server, scratch.path(), &here, round);
        }
    }
    ExitCode::SUCCESS
}

/// The interface, by python3: there is no safe call for it here, and not every kernel has a queue that delays.
const LINE: &str = r#"
import collections, fcntl, os, select, struct, time
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"line", 0x1001))
for words in ("ip link set lo up", "ip addr add 10.9.0.1/24 dev line", "ip link set line up mtu 9000 txqueuelen 20000"):
    os.waitpid(os.spawnvp(os.P_NOWAIT, "ip", words.split()), 0)
os.set_blocking(tun, False)
waiting = collections.deque()
print("up", flush=True)
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        os.write(tun, waiting.popleft()[1])
    select.select([tun], [], [], max(0, waiting[0][0] - now) if waiting else None)
    try:
        for _ in range(64):
            packet = os.read(tun, 10000)
            if packet[0] >> 4 == 4:
                packet = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                waiting.append((time.monotonic() + 0.025, packet))
    except BlockingIOError:
        pass
"#;

fn delaying_line() -> Running {
    let mut command = Command::new("python3");
    command
        .args(["-c", LINE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut said = [0; 2];
    let out = running.0.stdout.as_mut().unwrap();
    out.read_exact(&mut said).expect("the line is not there");
    running
}

#[derive(Debug, Clone, Copy)]
enum Server {
    Vsftpd,
    Pasarela,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(self, scratch: &Path, root: &Path) -> Running {
        let mut command = match self {
            Self::Vsftpd => {
                let file = scratch.join("vsftpd.conf");
                let text = format!(
                    "listen=YES\nlisten_address=10.9.0.1\nlisten_port={PORT}\nbackground=NO\nrun_as_launching_user=YES\n\
                     anonymous_enable=YES\nlocal_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\n\
                     anon_mkdir_write_enable=YES\nanon_other_write_enable=YES\nanon_world_readable_only=NO\n\
                     anon_umask=022\nanon_root={}\nno_anon_password=NO\nchown_uploads=NO\nxferlog_enable=NO\n\
                     mdtm_write=YES\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\n",
                    root.display()
                );
                fs::write(&file, text).unwrap();
                let mut command = Command::new("/usr/sbin/vsftpd");
                command.arg(file);
                command
            }
            Self::Pasarela => {
                let mut command = Command::new(pasarela_binary());
                command
                    .arg("serve")
                    .arg(root)
                    .args([
                        "--listen",
                        &format!("10.9.0.1:{PORT}"),
                        "--tls",
                        "off",
                        "--durability",
                        "fast",
                    ])
                    .args([
                        "--user",
                        &format!("{USER}:{PASSWORD}"),
                        "--reach",
                        "off",
                        "--state-dir",
                    ])
                    .arg(scratch.join("state"));
                fs::create_dir_all(scratch.join("state")).unwrap();
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Running(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let address = SocketAddr::from(([10, 9, 0, 1], PORT));
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{command:?} {ended:?}");
            thread::yield_now();
        }
        running
    }

    fn login(self) -> (&'static str, &'static str) {
        match self {
            Self::Vsftpd => ("anonymous", "x@"),
            Self::Pasarela => (USER, PASSWORD),
        }
    }
}

fn measure(server: Server, scratch: &Path, here: &Path, round: usize) {
    let root = scratch.join(format!("root-{server:?}-{round}"));
    fs::create_dir_all(root.join("small")).unwrap();
    let _running = server.start(scratch, &root);
    let (user, password) = server.login();
    let url = format!("ftp://{user}@10.9.0.2:{PORT}");
    let clients: [(&str, &str, Vec<String>); 2] = [
        (
            "pasarela",
            "up",
            ours(&[
                "sync",
                "-j",
                CONNECTIONS,
                &text(&here.join("small")),
                &format!("{url}/up-ours"),
            ]),
        ),
        (
            "lftp",
            "up",
            lftp(
                user,
                password,
                &format!(
                    "mirror -R --parallel={CONNECTIONS} {} up-lftp",
                    text(&here.join("small"))
                ),
            ),
        ),
    ];
    for (client, case, words) in clients {
        told(server, &format!("small {case}"), client, password, &words);
    }
    assert_same_tree(&here.join("small"), &root.join("up-ours"));
    assert_same_tree(&here.join("small"), &root.join("up-lftp"));
    let (ours_to, lftp_to) = (root.join("../down-ours"), root.join("../down-lftp"));
    for folder in [&ours_to, &lftp_to] {
        let _ = fs::remove_dir_all(folder);
    }
    let words = ours(&[
        "sync",
        "-j",
        CONNECTIONS,
        &format!("{url}/up-ours"),
        &text(&ours_to),
    ]);
    told(server, "small down", "pasarela", password, &words);
    let words = lftp(
        user,
        password,
        &format!("mirror --parallel={CONNECTIONS} up-ours {}", text(&lftp_to)),
    );
    told(server, "small down", "lftp", password, &words);
    assert_same_tree(&here.join("small"), &ours_to);
    assert_same_tree(&here.join("small"), &lftp_to);

    let large = text(&here.join("large"));
    let curl = |words: &[&str]| {
        let login = format!("{user}:{password}");
        let mut all = vec!["curl".to_owned(), "-sS".to_owned(), "--user".to_owned(), login];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    };
    told(
        server,
        "large up",
        "pasarela",
        password,
        &ours(&["put", "-q", &large, &format!("{url}/large-ours")]),
    );
    let bare = format!("ftp://10.9.0.2:{PORT}");
    told(
        server,
        "large up",
        "curl",
        password,
        &curl(&["-T", &large, &format!("{bare}/large-curl")]),
    );
    let to = |name: &str| text(&scratch.join(name));
    told(
        server,
        "large down",
        "pasarela",
        password,
        &ours(&["get", "-q", &format!("{url}/large-ours"), &to("got-ours")]),
    );
    told(
        server,
        "large down",
        "curl",
        password,
        &curl(&["-o", &to("got-curl"), &format!("{bare}/large-ours")]),
    );
    for name in ["got-ours", "got-curl"] {
        fs::remove_file(scratch.join(name)).unwrap();
    }
    fs::remove_dir_all(&root).unwrap();
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn ours(words: &[&str]) -> Vec<String> {
    let (verb, rest) = words.split_first().unwrap();
    let mut all = vec![
        text(&pasarela_binary()),
        (*verb).to_owned(),
        "--insecure-plaintext".to_owned(),
    ];
    all.extend(rest.iter().map(|word| (*word).to_owned()));
    all
}

fn lftp(user: &str, password: &str, command: &str) -> Vec<String> {
    let script = format!(
        "set ftp:ssl-allow no; set ftp:prefer-epsv yes; set cmd:fail-exit yes; open -u {user},{password} -p {PORT} 10.9.0.2; {command}"
    );
    vec!["lftp".to_owned(), "--norc".to_owned(), "-c".to_owned(), script]
}

/// Runs a client and prints how long it took.
fn told(server: Server, case: &str, client: &str, password: &str, words: &[String]) {
    let (before, start) = (processor_time(), Instant::now());
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("PASARELA_PASSWORD", password)
        .env("HOME", home.path())
        .env("STATE_DIRECTORY", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let Some(status) = pasarela_testkit::wait_for_exit(&mut child, PATIENCE) else {
        panic!("{command:?} does not end");
    };
    assert!(status.success(), "{command:?}: {status}");
    let (seconds, processor) = (start.elapsed().as_secs_f64(), processor_time() - before);
    println!("| {server:?} | {case} | {client} | {seconds:.2} | {processor:.2} |");
}

/// Seconds that children which have ended took of processors (`proc_pid_stat(5)`, in ticks of 10 ms).
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind = &stat[stat.rfind(')').unwrap() + 2..];
    let fields: Vec<&str> = behind.split(' ').collect();
    // cutime and cstime are the fields 16 and 17, and these begin with the third.
    fields[13..15]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}
