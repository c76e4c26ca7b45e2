//! Who is believed and who is let in: host keys, agents, keys with passphrases, and what is said where it fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pasarela_client::{
    Asks, Failure, FailureKind, HostKeyError, KnownServers, Question, Secret, SftpRemote, SftpSite, Stranger,
    Trust,
};
use pasarela_testkit::run;

use crate::sshd::{Sshd, key};
use crate::{Explained as _, in_time};

async fn refused(site: SftpSite) -> Failure {
    let error = in_time(SftpRemote::new(site).connect()).await.unwrap_err();
    Failure::of(&error).unwrap().clone()
}

/// Lines that the server wrote about a user; none before somebody began to log in.
fn logins(server: &Sshd) -> usize {
    let log = server.log();
    log.lines()
        .filter(|line| line.contains("userauth") || line.contains(" user "))
        .count()
}

#[tokio::test]
async fn a_server_with_another_host_key_gets_no_login() {
    let server = Sshd::start_with("LogLevel DEBUG1\nSubsystem sftp internal-sftp\n");
    let list = server.scratch().join("changed");
    let other = std::fs::read_to_string(server.identity().with_extension("pub")).unwrap();
    std::fs::write(&list, format!("[127.0.0.1]:{} {other}", server.address().port())).unwrap();
    for stranger in [Stranger::Accept, Stranger::Refuse] {
        let servers = Arc::new(KnownServers::at(server.scratch().join("known_servers")));
        let failure = refused(SftpSite {
            known_hosts: vec![list.clone()],
            trust: Trust::FirstUse { servers, stranger },
            ..server.site()
        })
        .await;
        assert_eq!(failure.kind, FailureKind::Tls);
        assert!(
            matches!(
                failure.host_key.as_deref(),
                Some(HostKeyError::Changed { line: Some(1), .. })
            ),
            "{failure}"
        );
        assert!(failure.to_string().contains("ssh-keygen -R"), "{failure}");
    }
    assert_eq!(logins(&server), 0, "{}", server.log());
    server.remote().connect().await.done();
    assert_ne!(logins(&server), 0, "{}", server.log());
}

#[tokio::test]
async fn a_stranger_is_refused_or_remembered() {
    let server = Sshd::start();
    let servers = Arc::new(KnownServers::at(server.scratch().join("known_servers")));
    let site = |stranger| SftpSite {
        known_hosts: Vec::new(),
        trust: Trust::FirstUse {
            servers: Arc::clone(&servers),
            stranger,
        },
        ..server.site()
    };
    let failure = refused(site(Stranger::Refuse)).await;
    let Some(HostKeyError::Stranger { key, algorithm, .. }) = failure.host_key.as_deref() else {
        panic!("{failure}");
    };
    assert_eq!(algorithm, "ssh-ed25519");
    let shown = run(Command::new("ssh-keygen")
        .args(["-l", "-f"])
        .arg(server.scratch().join("host.pub")))
    .expect_success();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&key.as_openssh()), "{shown} {failure}");
    let pinned = |trust| SftpSite {
        known_hosts: Vec::new(),
        trust,
        ..server.site()
    };
    let remote = SftpRemote::new(pinned(Trust::Pinned(*key)));
    in_time(remote.connect()).await.done();

    in_time(SftpRemote::new(site(Stranger::Accept)).connect())
        .await
        .done();
    in_time(SftpRemote::new(site(Stranger::Refuse)).connect())
        .await
        .done();
    assert_eq!(refused(pinned(Trust::System)).await.kind, FailureKind::Tls);
}

/// An agent of its own.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path) -> Self {
        let mut agent = Command::new("ssh-agent");
        agent
            .args(["-D", "-a"])
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = agent.spawn().unwrap();
        while !socket.exists() {
            assert!(child.try_wait().unwrap().is_none(), "ssh-agent ended");
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_key_of_the_agent_opens() {
    let server = Sshd::start();
    let socket = server.scratch().join("agent");
    let site = || SftpSite {
        identities: Vec::new(),
        agent: Some(socket.clone()),
        ..server.site()
    };
    let failure = refused(site()).await;
    assert_eq!(failure.kind, FailureKind::Login, "{failure}");
    let _agent = Agent::start(&socket);
    assert_eq!(refused(site()).await.kind, FailureKind::Login);
    let add = |identity: &Path| {
        let mut add = Command::new("ssh-add");
        add.env("SSH_AUTH_SOCK", &socket)
            .arg("-q")
            .arg(identity)
            .stdin(Stdio::null());
        run(&mut add).expect_success();
    };
    let wrong = server.scratch().join("wrong");
    key(&wrong, "");
    add(&wrong);
    assert_eq!(refused(site()).await.kind, FailureKind::Login);
    add(&server.identity());
    in_time(SftpRemote::new(site()).connect()).await.done();
    // A file that is named is meant, whatever else the agent has.
    let named = SftpSite {
        identities: vec![wrong],
        ..site()
    };
    assert_eq!(refused(named).await.kind, FailureKind::Login);
}

/// Answers in turn, and keeps what was asked.
#[derive(Default)]
struct Answers {
    left: Mutex<Vec<&'static str>>,
    asked: Mutex<Vec<Question>>,
}

#[async_trait]
impl Asks for Answers {
    async fn secret(&self, question: &Question) -> Option<Secret> {
        self.asked.lock().unwrap().push(question.clone());
        self.left.lock().unwrap().pop().map(Secret::new)
    }
}

#[tokio::test]
async fn the_passphrase_of_a_key_is_asked_for_once_the_server_takes_the_key() {
    let server = Sshd::start();
    let locked = server.scratch().join("locked");
    key(&locked, "open sesame");
    let answers = Arc::new(Answers::default());
    let site = SftpSite {
        identities: vec![locked.clone()],
        asks: Some(Arc::clone(&answers) as _),
        ..server.site()
    };
    assert_eq!(refused(site.clone()).await.kind, FailureKind::Login);
    assert_eq!(*answers.asked.lock().unwrap(), []);

    std::fs::copy(locked.with_extension("pub"), server.scratch().join("authorized")).unwrap();
    *answers.left.lock().unwrap() = vec!["open sesame", "wrong"];
    in_time(SftpRemote::new(site.clone()).connect()).await.done();
    let asked = std::mem::take(&mut *answers.asked.lock().unwrap());
    let question = |again| Question::Passphrase {
        file: locked.clone(),
        again,
    };
    assert_eq!(asked, [question(false), question(true)]);
    // Nobody who could be asked.
    let alone = SftpSite { asks: None, ..site };
    assert_eq!(refused(alone).await.kind, FailureKind::Login);
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let server = Sshd::start_with("");
    let failure = refused(SftpSite {
        identities: Vec::new(),
        ..server.site()
    })
    .await;
    let text = failure.to_string();
    assert!(
        failure.kind == FailureKind::Login && text.contains("publickey") && text.contains("--identity"),
        "{text}"
    );
    let missing = SftpSite {
        identities: vec![server.scratch().join("missing")],
        ..server.site()
    };
    assert_eq!(refused(missing).await.kind, FailureKind::Usage);
    let failure = refused(server.site()).await;
    assert!(
        failure.kind == FailureKind::Unsupported && failure.to_string().contains("Subsystem"),
        "{failure}"
    );
    drop(server);
}

#[tokio::test]
async fn a_server_of_another_kind_is_found_out() {
    use std::io::Write as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 Welcome to FTP\r\n").unwrap();
        // Until the client has had enough.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut site = SftpSite::of(&format!("sftp://anna@{address}/").parse().unwrap());
    site.known_hosts = Vec::new();
    site.options.connect_timeout = std::time::Duration::from_secs(5);
    let failure = refused(site).await;
    assert!(failure.to_string().contains("ftp://"), "{failure}");
    serving.join().unwrap();
}
