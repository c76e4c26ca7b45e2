//! The real daemons of a lab: coturn on the internet, miniupnpd on routers.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::LabError;
use super::addresses::{INTERNET, INTERNET_OTHER, INTERNET6, LAN_ROUTER, TURN_ACCOUNT};
use super::host;
use super::plan::{LAN, WAN};
use super::router::{MAPPED, MAPPED_OUT, PINHOLES, TABLE};

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A child that is ended by its handle when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// The system's.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Its id, which is the program's: `ip netns exec` replaces itself.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The system's.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two coturns: one as it comes, which lets in only peers with a permission, and one that lets in everybody.
pub(crate) fn start_coturn(namespace: &str, state: &Path) -> Result<Vec<Process>, LabError> {
    let usual = coturn(namespace, state, 3478, (49152, 49999), &[])?;
    let open = coturn(namespace, state, 3488, (51000, 51999), &["--server-relay"])?;
    Ok(vec![usual, open])
}

fn coturn(
    namespace: &str,
    state: &Path,
    port: u16,
    (first, last): (u16, u16),
    more: &[&str],
) -> Result<Process, LabError> {
    let mut command = host::command(Some(namespace), "turnserver");
    command.args([
        "-n",
        "--no-cli",
        "--no-tls",
        "--no-dtls",
        "--simple-log",
        "--log-file=stdout",
    ]);
    for address in [
        INTERNET.to_string(),
        INTERNET_OTHER.to_string(),
        INTERNET6.to_string(),
    ] {
        command.arg(format!("--listening-ip={address}"));
    }
    for address in [INTERNET.to_string(), INTERNET6.to_string()] {
        command.arg(format!("--relay-ip={address}"));
    }
    command.args([
        format!("--listening-port={port}"),
        format!("--min-port={first}"),
        format!("--max-port={last}"),
        format!("--user={TURN_ACCOUNT}:{TURN_ACCOUNT}"),
        format!("--realm={TURN_ACCOUNT}"),
        format!("--pidfile={}", state.join(format!("coturn-{port}.pid")).display()),
        format!("--userdb={}", state.join(format!("coturn-{port}.db")).display()),
    ]);
    command.args(["--lt-cred-mech", "--relay-threads=1"]);
    if behaviour_discovery_is_asked_for() {
        command.arg("--rfc5780");
    }
    command.args(more);
    start(command, &state.join(format!("coturn-{port}.log")))
}

/// coturn did RFC 5780 unasked before 4.7.
fn behaviour_discovery_is_asked_for() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let mut help = host::command(None, "turnserver");
        help.arg("--help");
        help.output().is_ok_and(|help| {
            [help.stdout, help.stderr]
                .concat()
                .windows(9)
                .any(|word| word == b"--rfc5780")
        })
    })
}

/// Waits until both coturns listen. Runs inside their namespace.
pub(crate) fn wait_for_coturn() -> Result<(), LabError> {
    [3478, 3488].into_iter().try_for_each(|port| {
        let address = SocketAddr::from((INTERNET, port));
        until("coturn", || {
            TcpStream::connect_timeout(&address, PATIENCE).is_ok()
        })
    })
}

/// A miniupnpd that maps what is asked for by the one whom it is for.
pub(crate) fn start_miniupnpd(
    namespace: &str,
    role: &str,
    state: &Path,
    gateway: Ipv4Addr,
) -> Result<Process, LabError> {
    // Its time since the start is what it tells as its epoch (RFC 6887 §8.5), as a router's that has rebooted.
    let settings = [
        ("ext_ifname", WAN),
        ("ext_ifname6", WAN),
        ("listening_ip", LAN),
        ("upnp_table_name", TABLE),
        ("upnp_nat_table_name", TABLE),
        ("upnp_nat_chain", MAPPED),
        ("upnp_nat_postrouting_chain", MAPPED_OUT),
        ("upnp_forward_chain", PINHOLES),
        ("enable_upnp", "yes"),
        ("enable_natpmp", "yes"),
        ("secure_mode", "yes"),
        ("system_uptime", "no"),
        ("min_lifetime", "20"),
        ("max_lifetime", "86400"),
        ("uuid", "5f1c2a7e-0000-4000-8000-70617361726c"),
    ];
    let mut text: String = settings
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    for ports in ["1024-65535", "21", "990"] {
        text += &format!("allow {ports} 0.0.0.0/0 {ports}\n");
    }
    text += "deny 0-65535 0.0.0.0/0 0-65535\n";
    let file = state.join(format!("miniupnpd-{role}.conf"));
    fs::write(&file, text)?;
    let mut command = host::command(Some(namespace), "miniupnpd");
    command.args(["-d", "-f"]).arg(&file);
    command.arg("-P").arg(state.join(format!("miniupnpd-{role}.pid")));
    let process = start(command, &state.join(format!("miniupnpd-{role}.log")))?;
    host::within(namespace, || until("miniupnpd", || answers_natpmp(gateway)))??;
    Ok(process)
}

/// Whether the gateway answers the question for its address (RFC 6886 §3.2), whatever the answer is.
fn answers_natpmp(gateway: Ipv4Addr) -> bool {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((gateway, 5351))?;
        socket.set_read_timeout(Some(Duration::from_millis(250)))?;
        socket.send(&[0, 0])?;
        socket.recv(&mut [0; 16])
    };
    ask().is_ok_and(|len| len >= 8)
}

/// The address that a miniupnpd listens on, and that we ask from the router itself.
pub(crate) const fn home_gateway() -> Ipv4Addr {
    LAN_ROUTER
}

fn start(mut command: Command, log: &Path) -> Result<Process, LabError> {
    let log = File::create(log)?;
    command.stdout(log.try_clone()?).stderr(log);
    Ok(Process::start(&mut command)?)
}

/// Looks again and again, with little breaks, until it is so.
fn until(daemon: &'static str, so: impl Fn() -> bool) -> Result<(), LabError> {
    let end = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() > end {
            return Err(LabError::Silent { daemon });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
