//! A TURN client by hand, small enough to be seen through, and the relay that it talks to.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use pasarela_nat_proto::extension::LendPort;
use pasarela_relay::{Account, Config, Credential, Handle, Metrics, Relay, RelayAddress, Secret};
use stun_types::attribute::{
    AttributeFromRaw, AttributeStaticType, AttributeWrite, ErrorCode, Nonce, Realm, Username,
};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageWriteVec, Method,
};
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use turn_types::attribute::{ConnectionId, RequestedTransport, XorPeerAddress, XorRelayedAddress};
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_BIND, CREATE_PERMISSION};

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const PASSWORD: &str = "sesame";

/// Two accounts, `anna` and `bob`, on loopback, which a relay reaches only in tests.
pub(crate) fn config() -> Config {
    let mut config = Config::new("example.org");
    config.tcp = vec![(HERE, 0).into()];
    config.udp = vec![(HERE, 0).into()];
    config.relay = vec![RelayAddress {
        bind: HERE,
        public: HERE,
    }];
    config.ports = 25_001..=32_000;
    for name in ["anna", "bob"] {
        let mut account = Account::new(name, Credential::Password(Secret::new(PASSWORD.into())));
        account.ports = vec![20_000..=25_000];
        account.any_peer = true;
        account.names = vec!["*.example.org".into()];
        config.accounts.push(account);
    }
    config.danger_allow_private_peers = true;
    config
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) addresses: pasarela_relay::Addresses,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handle: Handle,
    task: Option<tokio::task::JoinHandle<()>>,
}

pub(crate) fn start(config: Config) -> Running {
    run(Relay::bind(config).unwrap())
}

pub(crate) fn run(relay: Relay) -> Running {
    let addresses = relay.local_addrs().clone();
    Running {
        address: addresses.tcp[0],
        addresses,
        metrics: relay.metrics(),
        handle: relay.handle(),
        task: Some(tokio::spawn(relay.run())),
    }
}

impl Running {
    pub(crate) async fn stop(mut self) {
        self.handle.stop();
        self.task.take().unwrap().await.unwrap();
    }

    pub(crate) async fn client(&self, user: &str) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap(), user)
    }

    /// Fetches the peer with this id.
    pub(crate) async fn bind(&self, user: &str, id: u32) -> TcpStream {
        let mut client = self.client(user).await;
        client
            .request(CONNECTION_BIND, &[&ConnectionId::new(id)])
            .await
            .success();
        client.stream
    }

    /// Waits until a counter has this value.
    pub(crate) async fn until(&self, what: impl Fn(&Metrics) -> u64, value: u64) {
        let reached = async {
            while what(&self.metrics) != value {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .is_err()
        {
            panic!("{} instead of {value}", what(&self.metrics));
        }
    }
}

pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) nonce: Option<String>,
    indications: VecDeque<Vec<u8>>,
}

/// A response, or an indication.
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::from_bytes(&self.0).unwrap()
    }

    /// 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match self.message().class() {
            MessageClass::Error => self.message().attribute::<ErrorCode>().unwrap().code(),
            _ => 0,
        }
    }

    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code(), 0);
        self
    }

    pub(crate) fn get<A: AttributeStaticType + for<'a> AttributeFromRaw<'a>>(&self) -> Option<A> {
        let message = self.message();
        let raw = message.raw_attribute(A::TYPE)?;
        Some(A::from_raw_ref(&raw).unwrap())
    }

    pub(crate) fn relayed(&self) -> SocketAddr {
        let relayed: XorRelayedAddress = self.get().unwrap();
        relayed.addr(self.message().transaction_id())
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        let peer: XorPeerAddress = self.get().unwrap();
        peer.addr(self.message().transaction_id())
    }

    pub(crate) fn id(&self) -> u32 {
        self.get::<ConnectionId>().unwrap().id()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S, user: &str) -> Self {
        Self {
            stream,
            user: user.into(),
            password: PASSWORD.into(),
            nonce: None,
            indications: VecDeque::new(),
        }
    }

    /// One request as it is, signed when there is a nonce.
    pub(crate) async fn once(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Answer {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        for attribute in attributes {
            message.add_attribute(*attribute).unwrap();
        }
        self.send(message, attributes).await
    }

    /// One request about peers.
    pub(crate) async fn about(&mut self, method: Method, peers: &[SocketAddr]) -> Answer {
        for last in [false, true] {
            let mut message = Message::builder_request(method, MessageWriteVec::new());
            let transaction = message.transaction_id();
            for peer in peers {
                message
                    .add_attribute(&XorPeerAddress::new(*peer, transaction))
                    .unwrap();
            }
            let answer = self.send(message, &[]).await;
            if last || !self.challenged(&answer) {
                return answer;
            }
        }
        unreachable!()
    }

    async fn send(&mut self, mut message: MessageWriteVec, _: &[&dyn AttributeWrite]) -> Answer {
        let key = LongTermKeyCredentials::new(self.user.clone(), self.password.clone(), "example.org".into());
        if let Some(nonce) = &self.nonce {
            message
                .add_attribute(&Username::new(&self.user).unwrap())
                .unwrap();
            message
                .add_attribute(&Realm::new("example.org").unwrap())
                .unwrap();
            message.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
            message
                .add_message_integrity(&key.clone().into(), IntegrityAlgorithm::Sha1)
                .unwrap();
        }
        let bytes = message.finish();
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
        loop {
            let answer = self.read().await;
            let message = answer.message();
            if message.class() == MessageClass::Indication {
                self.indications.push_back(answer.0);
                continue;
            }
            assert_eq!(
                message.transaction_id(),
                Message::from_bytes(&bytes).unwrap().transaction_id()
            );
            if message.class() == MessageClass::Success && self.nonce.is_some() {
                message.validate_integrity(&key.into()).unwrap();
            }
            return answer;
        }
    }

    fn challenged(&mut self, answer: &Answer) -> bool {
        let again = matches!(answer.code(), 401 | 438) && self.nonce.is_none();
        if again {
            let nonce: Nonce = answer.get().unwrap();
            let realm: Realm = answer.get().unwrap();
            assert_eq!(realm.realm(), "example.org");
            self.nonce = Some(nonce.nonce().to_owned());
        }
        again
    }

    /// A request, again with credentials when they are asked for.
    pub(crate) async fn request(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Answer {
        let answer = self.once(method, attributes).await;
        if self.challenged(&answer) {
            return self.once(method, attributes).await;
        }
        answer
    }

    pub(crate) async fn allocate(&mut self, wishes: &[&dyn AttributeWrite]) -> Answer {
        let transport = RequestedTransport::new(6);
        let mut attributes: Vec<&dyn AttributeWrite> = vec![&transport];
        attributes.extend(wishes);
        self.request(ALLOCATE, &attributes).await
    }

    pub(crate) async fn permit(&mut self, peer: IpAddr) {
        self.about(CREATE_PERMISSION, &[(peer, 0).into()]).await.success();
    }

    pub(crate) async fn connect(&mut self, peer: SocketAddr) -> Answer {
        self.about(CONNECT, &[peer]).await
    }

    /// The next ConnectionAttempt.
    pub(crate) async fn attempt(&mut self) -> Answer {
        let next = match self.indications.pop_front() {
            Some(next) => Answer(next),
            None => self.read().await,
        };
        assert_eq!(next.message().class(), MessageClass::Indication);
        next
    }

    pub(crate) async fn read(&mut self) -> Answer {
        let mut bytes = vec![0; 20];
        let whole = async {
            self.stream.read_exact(&mut bytes).await?;
            let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            bytes.resize(20 + length, 0);
            self.stream.read_exact(&mut bytes[20..]).await
        };
        tokio::time::timeout(Duration::from_secs(20), whole)
            .await
            .expect("an answer")
            .unwrap();
        Answer(bytes)
    }
}

/// A wish for one of a few ports that no other test wishes for meanwhile.
pub(crate) fn any_lent_port() -> LendPort {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 10).unwrap();
    let first = 20_010 + process * 490 + CALLS.fetch_add(1, Ordering::Relaxed) % 50 * 10;
    LendPort::new(&(first..=first + 9)).unwrap()
}

/// A stream to a peer on loopback: the client's end and the peer's end.
pub(crate) async fn incoming(relay: &Running) -> (Client<TcpStream>, TcpStream, TcpStream) {
    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let peer = TcpStream::connect(relayed).await.unwrap();
    let attempt = control.attempt().await;
    assert_eq!(attempt.peer(), peer.local_addr().unwrap());
    let client = relay.bind("anna", attempt.id()).await;
    (control, client, peer)
}

/// Bytes that differ at every place; `seed` 0 is allowed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// Everything up to the end, and how it ended.
pub(crate) async fn drain(
    stream: &mut (impl AsyncRead + Unpin),
) -> (Vec<u8>, Result<(), std::io::ErrorKind>) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer))
            .await
            .expect("bytes or an end");
        match read {
            Ok(0) => return (all, Ok(())),
            Ok(length) => all.extend(&buffer[..length]),
            Err(error) => return (all, Err(error.kind())),
        }
    }
}
