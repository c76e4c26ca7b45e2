//! The switchboard: listening ports on which control and data connections arrive together, and what carries out
//! the [`board`]'s verdicts: one small task an arrival, until it is known what it is.

mod board;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pasarela_ftp_proto::server_pi::Refusal;
use pasarela_tls::{ALPN_DATA, ServerTls, Stream, Tag};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::data::DataConnection;
use board::{ArrivalId, Board, Request, SessionId, Shown, Verdict, Why};
pub(crate) use board::{Direction, PlaceId, PlaceKind, Visitor};

use crate::config::RequireResumption;
use crate::sockets;

/// The shortest time between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);

/// How an SSH client begins (RFC 4253 §4.2).
const SSH: &[u8] = b"SSH-";

/// How long the second port stays open without being needed.
const SECOND_LIFE: Duration = Duration::from_secs(20);

/// What becomes of a control connection is the caller's business.
pub(crate) trait Greeter: Send + Sync + 'static {
    /// A control connection at `place`.
    fn greet(&self, place: PlaceId, caller: Caller, control: Control);

    /// The certificates of the moment, and how long a handshake may take.
    fn tls(&self) -> (Option<ServerTls>, Duration);

    /// The system has no more descriptors: make room if that is possible.
    fn descriptors_exhausted(&self);
}

/// Who has connected, and by which way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The peer; of a connection through a relay, the one beyond it.
    pub(crate) peer: SocketAddr,
    /// The relay on the way.
    pub(crate) through: Option<Through>,
}

/// The relay that a connection came through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Through {
    /// Its address that the peer connected to.
    pub(crate) dialled: SocketAddr,
    /// It passes a stream's end on after everything before it. TURN demands that of nobody.
    pub(crate) keeps_ends: bool,
}

impl Through {
    /// Whether a data connection can come this way: where ends get lost, a file that was cut looks whole, unless TLS
    /// tells (close_notify).
    pub(crate) fn carries(&self, protected: bool) -> Result<(), Refusal> {
        if self.keeps_ends || protected {
            return Ok(());
        }
        Err(Refusal::ProtectionNeeded(
            "the relay that you came through loses the ends of unprotected streams".into(),
        ))
    }
}

impl Caller {
    /// One that has connected to this machine itself.
    fn here(peer: SocketAddr) -> Self {
        Self { peer, through: None }
    }
}

/// A control connection, as far as it has come.
pub(crate) enum Control {
    /// Nothing has been said.
    Plain(TcpStream),
    /// It has begun a TLS handshake where that is one way to begin; not a byte of it was taken.
    Hello(TcpStream),
    /// The handshake of implicit TLS is done; its tickets go by this tag.
    Protected(Box<Stream>, Tag),
    /// It speaks SSH, or everybody does there; not a byte was taken.
    Ssh(TcpStream),
}

/// What a session asks of the switchboard.
pub(crate) struct Expectation {
    /// The peer of its control connection.
    pub(crate) peer: IpAddr,
    /// The owner tag of its TLS session.
    pub(crate) tag: Option<Tag>,
    /// Whether the data connection will be protected.
    pub(crate) protected: bool,
    /// Where it may arrive.
    pub(crate) places: Vec<PlaceId>,
    /// Whether plain data may go to the second port where the places leave it in doubt.
    pub(crate) may_use_second: bool,
    /// Whether the proof is demanded.
    pub(crate) require: RequireResumption,
}

struct Place {
    listener: Arc<TcpListener>,
    port: u16,
    /// A protected connection here may also be a control connection (implicit TLS).
    is_control_too: bool,
    /// Nothing that arrives here is a data connection.
    is_ssh: bool,
}

/// The second port for plain data: it listens only while it is needed.
struct Second {
    listener: Arc<TcpListener>,
    port: u16,
    accepting: JoinHandle<()>,
    /// When it was granted last.
    needed: Instant,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Who waits for which answer.
#[derive(Default)]
struct Tables {
    arrivals: HashMap<ArrivalId, mpsc::UnboundedSender<Decision>>,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<Word>>,
    next_session: SessionId,
}

/// A verdict for the task of an arrival.
enum Decision {
    Greet,
    Hello,
    Ssh,
    Handshake,
    Drop(&'static str),
    Hand(mpsc::UnboundedSender<Word>),
}

/// A word for a waiting session.
enum Word {
    Granted(PlaceId),
    Refused(Why),
    Here(Box<DataConnection>),
}

struct State {
    board: Board,
    tables: Tables,
}

/// The switchboard of one server.
pub(crate) struct Switchboard {
    places: Vec<Place>,
    second: Mutex<Option<Second>>,
    state: Mutex<State>,
    timer: Notify,
    greeter: Arc<dyn Greeter>,
}

impl Switchboard {
    /// Takes the listening sockets, in the order of their place ids.
    pub(crate) fn new(
        sockets: Vec<(TcpListener, PlaceKind)>,
        patience: Duration,
        greeter: Arc<dyn Greeter>,
    ) -> io::Result<Arc<Self>> {
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let mut board = Board::new(patience, seed);
        let mut places = Vec::new();
        for (listener, kind) in sockets {
            let port = listener.local_addr()?.port();
            board.add_place(kind);
            places.push(Place {
                listener: Arc::new(listener),
                port,
                is_control_too: kind.takes_tls_first(),
                is_ssh: kind == PlaceKind::Ssh,
            });
        }
        let second = board.add_place(PlaceKind::Data);
        board.set_second(second);
        let state = Mutex::new(State {
            board,
            tables: Tables::default(),
        });
        Ok(Arc::new(Self {
            places,
            second: Mutex::default(),
            state,
            timer: Notify::new(),
            greeter,
        }))
    }

    /// Accepts at every place until the tasks are aborted.
    pub(crate) fn spawn(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let mut tasks: Vec<_> = self
            .places
            .iter()
            .enumerate()
            .map(|(place, Place { listener, .. })| {
                tokio::spawn(Arc::clone(self).accept_at(place, Arc::clone(listener)))
            })
            .collect();
        tasks.push(tokio::spawn(Arc::clone(self).keep_time()));
        tasks.push(tokio::spawn(Arc::clone(self).close_second_when_idle()));
        tasks
    }

    /// How many places there are, the second port not counted.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Whether connections can go out from a place's port (SO_REUSEPORT).
    pub(crate) fn shares_port(&self, place: PlaceId) -> bool {
        sockets::shares_port(&self.places[place].listener)
    }

    /// The addresses of the places.
    pub(crate) fn local_addr(&self, place: PlaceId) -> io::Result<SocketAddr> {
        self.places[place].listener.local_addr()
    }

    /// Other numbers for waits from now on.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.state().board.set_patience(patience);
    }

    /// The TLS session of this tag belongs to this visitor from now on.
    pub(crate) fn introduce(&self, tag: Tag, visitor: Visitor) {
        self.act(|board, now| board.introduce(now, tag, visitor));
    }

    /// Whether a TLS session is known to be another visitor's than `own`.
    pub(crate) fn is_somebody_elses(&self, resumed: Tag, own: Tag) -> bool {
        self.state().board.is_somebody_elses(resumed, own)
    }

    /// The TLS session of this tag proves nobody any more.
    pub(crate) fn dismiss(&self, tag: Tag) {
        self.state().board.dismiss(tag);
    }

    /// Closes the oldest arrival that no session from its address expects; `false` where there is none.
    pub(crate) fn evict(&self) -> bool {
        self.act(|board, now| board.evict(now))
    }

    /// An endpoint for a session; waits while its peer's places are taken.
    pub(crate) async fn expect(self: &Arc<Self>, wanted: Expectation) -> Result<Endpoint, Refusal> {
        let (sender, words) = mpsc::unbounded_channel();
        let session = {
            let mut state = self.state();
            state.tables.next_session += 1;
            let session = state.tables.next_session;
            state.tables.sessions.insert(session, sender);
            session
        };
        // From here on dropping it cleans up.
        let mut endpoint = Endpoint {
            switchboard: Arc::clone(self),
            session,
            words,
            port: 0,
            told: String::new(),
            here: None,
        };
        let Expectation {
            peer,
            tag,
            protected,
            places,
            may_use_second,
            require,
        } = wanted;
        let control = places.first().copied();
        let request = Request {
            session,
            peer,
            tag,
            protected,
            places,
            may_use_second,
            is_late: false,
            require,
        };
        self.act(|board, now| board.request(now, request));
        match endpoint.words.recv().await {
            Some(Word::Granted(place)) => {
                endpoint.port = match self.places.get(place) {
                    Some(place) => place.port,
                    None => self.open_second(place, control).map_err(|error| {
                        warn!(%error, "the second data port");
                        Refusal::Local
                    })?,
                };
                Ok(endpoint)
            }
            Some(Word::Refused(why)) => Err(refusal(why)),
            _ => Err(Refusal::Local),
        }
    }

    /// The number of the second port, which listens from now on, at the address of the control port.
    fn open_second(self: &Arc<Self>, place: PlaceId, control: Option<PlaceId>) -> io::Result<u16> {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(second) = &mut *second {
            second.needed = Instant::now();
            return Ok(second.port);
        }
        let mut address = self.local_addr(control.unwrap_or(0))?;
        address.set_port(0);
        let socket = sockets::listen(address, false)?;
        let port = socket.local_addr()?.port();
        let listener = Arc::new(TcpListener::from_std(socket)?);
        info!(
            port,
            "a second port for plain data, as the control port is ambiguous"
        );
        let accepting = tokio::spawn(Arc::clone(self).accept_at(place, Arc::clone(&listener)));
        *second = Some(Second {
            listener,
            port,
            accepting,
            needed: Instant::now(),
        });
        Ok(port)
    }

    /// Closes the second port when nobody has needed it for a while.
    async fn close_second_when_idle(self: Arc<Self>) {
        let place = self.places.len();
        loop {
            tokio::time::sleep(SECOND_LIFE / 4).await;
            let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
            let is_idle = second
                .as_ref()
                .is_some_and(|second| second.needed.elapsed() >= SECOND_LIFE);
            if is_idle && !self.state().board.is_waited_at(place) {
                second.take();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the board and carries out what it then says.
    fn act<T>(&self, change: impl FnOnce(&mut Board, Instant) -> T) -> T {
        let mut state = self.state();
        let due = state.board.poll_timeout();
        let result = change(&mut state.board, Instant::now());
        self.carry_out(&mut state);
        if state.board.poll_timeout() != due {
            self.timer.notify_one();
        }
        result
    }

    fn carry_out(&self, state: &mut State) {
        while let Some(verdict) = state.board.poll_verdict() {
            let tables = &mut state.tables;
            let tell = |tables: &mut Tables, session: SessionId, word: Word| {
                if let Some(sender) = tables.sessions.get(&session) {
                    // A session that has gone away wants no word.
                    let _ = sender.send(word);
                }
            };
            match verdict {
                Verdict::Grant(session, place) => tell(tables, session, Word::Granted(place)),
                Verdict::Refuse(session, why) => tell(tables, session, Word::Refused(why)),
                Verdict::Handshake(id) => {
                    if let Some(arrival) = tables.arrivals.get(&id) {
                        let _ = arrival.send(Decision::Handshake);
                    }
                }
                Verdict::Greet(id) => tables.finish(id, Decision::Greet),
                Verdict::Hello(id) => tables.finish(id, Decision::Hello),
                Verdict::Ssh(id) => tables.finish(id, Decision::Ssh),
                Verdict::Drop(id, why) => tables.finish(id, Decision::Drop(why)),
                Verdict::Pair(session, id) => match tables.sessions.get(&session).cloned() {
                    Some(sender) => tables.finish(id, Decision::Hand(sender)),
                    None => tables.finish(id, Decision::Drop("its session is gone")),
                },
            }
        }
    }

    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.state().board.poll_timeout();
            let changed = self.timer.notified();
            match due {
                Some(due) => {
                    let due = due.max(Instant::now() + TICK);
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => self.act(Board::handle_timeout),
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    async fn accept_at(self: Arc<Self>, place: PlaceId, listener: Arc<TcpListener>) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.arrived(stream, Caller::here(peer), place),
                Err(error) => {
                    if sockets::is_exhaustion(&error) {
                        self.greeter.descriptors_exhausted();
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    } else {
                        // The peer gave up between its SYN and our accept; nothing is wrong here.
                        debug!(%error, "accept");
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Takes what the kernel has completed but the accept loop has not seen yet, so that a data connection is
    /// never judged missing that was there before its transfer command.
    fn accept_pending(self: &Arc<Self>) {
        let second = {
            let second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
            second.as_ref().map(|second| Arc::clone(&second.listener))
        };
        for (place, listener) in self
            .places
            .iter()
            .map(|place| &place.listener)
            .chain(&second)
            .enumerate()
        {
            while let Some((stream, peer)) = sockets::accept_now(listener) {
                self.arrived(stream, Caller::here(peer), place);
            }
        }
    }

    /// A connection has come to a place, by itself or through a relay.
    pub(crate) fn arrived(self: &Arc<Self>, stream: TcpStream, caller: Caller, place: PlaceId) {
        let peer = caller.peer;
        if let Err(error) = sockets::prepare_accepted(&stream) {
            debug!(%error, "socket options");
        }
        if self.places.get(place).is_some_and(|place| place.is_ssh) {
            return self.greeter.greet(place, caller, Control::Ssh(stream));
        }
        let (sender, decisions) = mpsc::unbounded_channel();
        let id = {
            let mut state = self.state();
            let due = state.board.poll_timeout();
            let id = state
                .board
                .arrive(Instant::now(), peer.ip().to_canonical(), place);
            state.tables.arrivals.insert(id, sender);
            self.carry_out(&mut state);
            if state.board.poll_timeout() != due {
                self.timer.notify_one();
            }
            id
        };
        let mut arrival = Arrival {
            switchboard: Arc::clone(self),
            id,
            place,
            caller,
            decisions,
        };
        // Most arrivals are decided at once; those need no task of their own to wait in.
        match arrival.decisions.try_recv() {
            Ok(Decision::Greet) => self.greeter.greet(place, caller, Control::Plain(stream)),
            Ok(Decision::Hello) => self.greeter.greet(place, caller, Control::Hello(stream)),
            Ok(Decision::Ssh) => self.greeter.greet(place, caller, Control::Ssh(stream)),
            Ok(Decision::Drop(why)) => debug!(%peer, why, "closed"),
            Ok(Decision::Hand(session)) => {
                let _ = session.send(Word::Here(Box::new(DataConnection::Plain(stream))));
            }
            Ok(Decision::Handshake) => drop(tokio::spawn(arrival.handshake(stream))),
            Err(_) => drop(tokio::spawn(arrival.watch(stream))),
        }
    }
}

impl Tables {
    /// The last word for an arrival.
    fn finish(&mut self, id: ArrivalId, decision: Decision) {
        if let Some(sender) = self.arrivals.remove(&id) {
            let _ = sender.send(decision);
        }
    }
}

/// The task of one arrival: holds its stream, tells the board what it shows, does what the board decides.
struct Arrival {
    switchboard: Arc<Switchboard>,
    id: ArrivalId,
    place: PlaceId,
    caller: Caller,
    decisions: mpsc::UnboundedReceiver<Decision>,
}

impl Arrival {
    async fn watch(mut self, stream: TcpStream) {
        let mut shown = false;
        loop {
            let mut first = [0; SSH.len()];
            tokio::select! {
                biased;
                decision = self.decisions.recv() => match decision {
                    Some(Decision::Handshake) => return self.handshake(stream).await,
                    Some(Decision::Greet) => {
                        return self.switchboard.greeter.greet(self.place, self.caller, Control::Plain(stream));
                    }
                    Some(Decision::Hello) => {
                        return self.switchboard.greeter.greet(self.place, self.caller, Control::Hello(stream));
                    }
                    Some(Decision::Ssh) => {
                        return self.switchboard.greeter.greet(self.place, self.caller, Control::Ssh(stream));
                    }
                    Some(Decision::Hand(session)) => {
                        let _ = session.send(Word::Here(Box::new(DataConnection::Plain(stream))));
                        return;
                    }
                    Some(Decision::Drop(why)) => return debug!(peer = %self.caller.peer, why, "closed"),
                    None => return,
                },
                peeked = stream.peek(&mut first), if !shown => {
                    shown = true;
                    let what = match peeked {
                        Ok(0) => Shown::End,
                        // RFC 8446 §5.1: a record of type handshake.
                        Ok(_) if first[0] == 22 => Shown::Hello,
                        // However little of it has come: no other protocol's client begins with that letter.
                        Ok(count) if SSH.starts_with(&first[..count]) => Shown::Ssh,
                        Ok(_) => Shown::Bytes,
                        Err(_) => return,
                    };
                    self.switchboard.act(|board, now| board.showed(now, self.id, what));
                }
            }
        }
    }

    async fn handshake(mut self, stream: TcpStream) {
        let (tls, patience) = self.switchboard.greeter.tls();
        let Some(tls) = tls else { return };
        let handshake = async {
            if self
                .switchboard
                .places
                .get(self.place)
                .is_some_and(|place| place.is_control_too)
            {
                tls.accept_either(stream).await
            } else {
                tls.accept_data(stream).await
            }
        };
        let mut handshake = pin!(tokio::time::timeout(patience, handshake));
        let accepted = loop {
            tokio::select! {
                accepted = &mut handshake => break accepted,
                decision = self.decisions.recv() => match decision {
                    Some(Decision::Handshake) => {}
                    Some(Decision::Drop(why)) => return debug!(peer = %self.caller.peer, why, "closed"),
                    // Nothing else is decided of one whose handshake is under way.
                    _ => return,
                },
            }
        };
        let accepted = match accepted {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(error)) => {
                debug!(peer = %self.caller.peer, %error, "handshake");
                return;
            }
            Err(_) => return,
        };
        let is_data = accepted.alpn.as_deref() == Some(ALPN_DATA);
        let (stream, issued) = (accepted.stream, accepted.issued);
        self.switchboard
            .act(|board, now| board.proved(now, self.id, accepted.resumed, is_data));
        let mut shown = false;
        loop {
            tokio::select! {
                biased;
                decision = self.decisions.recv() => match decision {
                    Some(Decision::Greet) => {
                        let control = Control::Protected(Box::new(stream), issued);
                        return self.switchboard.greeter.greet(self.place, self.caller, control);
                    }
                    Some(Decision::Hand(session)) => {
                        let _ = session.send(Word::Here(Box::new(DataConnection::Protected(Box::new(stream), issued))));
                        return;
                    }
                    Some(Decision::Drop(why)) => return debug!(peer = %self.caller.peer, why, "closed"),
                    Some(Decision::Handshake | Decision::Hello | Decision::Ssh) => {}
                    None => return,
                },
                ready = stream.tcp().ready(Interest::READABLE), if !shown => {
                    shown = true;
                    if ready.is_err() {
                        return;
                    }
                    self.switchboard.act(|board, now| board.showed(now, self.id, Shown::Bytes));
                }
            }
        }
    }
}

impl Drop for Arrival {
    /// One that ends undecided has broken off. One that was decided upon while it broke off tells its session.
    fn drop(&mut self) {
        let undecided = self
            .switchboard
            .state()
            .tables
            .arrivals
            .remove(&self.id)
            .is_some();
        if undecided {
            self.switchboard.act(|board, now| board.gone(now, self.id));
        } else if let Ok(Decision::Hand(session)) = self.decisions.try_recv() {
            let _ = session.send(Word::Refused(Why::Broke));
        }
    }
}

/// A place that a session may announce, until it has its data connection. Dropped, the place is free again.
pub(crate) struct Endpoint {
    switchboard: Arc<Switchboard>,
    session: SessionId,
    words: mpsc::UnboundedReceiver<Word>,
    port: u16,
    /// What the client was told to connect to.
    told: String,
    /// It came before it was waited for.
    here: Option<DataConnection>,
}

impl Endpoint {
    /// Notes what the client is told to connect to; a refusal for want of a connection names it.
    pub(crate) fn note(&mut self, told: String) {
        self.told = told;
    }

    /// The port that listens here.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The reply that names it goes out now.
    pub(crate) fn announced(&self, round_trip: Duration) {
        self.switchboard.accept_pending();
        self.switchboard
            .act(|board, now| board.announced(now, self.session, round_trip));
    }

    /// The transfer command is given, and its file is being opened.
    pub(crate) fn opening(&self) {
        self.switchboard
            .act(|board, now| board.opening(now, self.session));
    }

    /// The transfer command failed; the endpoint stays as long as nobody else needs it.
    pub(crate) fn idle(&self) {
        self.switchboard.act(|board, now| board.idle(now, self.session));
    }

    /// The transfer command is given. What can be known now is told now, before the client is told to go ahead.
    pub(crate) fn command(&mut self, direction: Direction) -> Result<(), Refusal> {
        self.switchboard.accept_pending();
        self.switchboard
            .act(|board, now| board.command(now, self.session, direction));
        match self.words.try_recv() {
            Ok(Word::Here(connection)) => self.here = Some(*connection),
            Ok(Word::Refused(why)) => return Err(refusal(why)),
            _ => {}
        }
        Ok(())
    }

    /// Waits for the data connection, after [`Endpoint::command`].
    pub(crate) async fn accept(mut self) -> Result<DataConnection, Refusal> {
        if let Some(connection) = self.here.take() {
            return Ok(connection);
        }
        loop {
            match self.words.recv().await {
                Some(Word::Here(connection)) => return Ok(*connection),
                Some(Word::Refused(Why::NobodyCame)) if !self.told.is_empty() => {
                    return Err(Refusal::NoDataConnection(format!(
                        "nobody connected to {} in time",
                        self.told
                    )));
                }
                Some(Word::Refused(why)) => return Err(refusal(why)),
                Some(Word::Granted(_)) => {}
                None => return Err(Refusal::Local),
            }
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.switchboard.state().tables.sessions.remove(&self.session);
        self.switchboard.act(|board, now| board.cancel(now, self.session));
    }
}

fn refusal(why: Why) -> Refusal {
    let unreachable = |why: &str| Refusal::Unreachable(why.to_owned());
    let missing = |why: &str| Refusal::NoDataConnection(why.to_owned());
    match why {
        Why::Full => unreachable("every data port is waiting for another connection from your address"),
        Why::Lapsed => missing("the endpoint was not used in time; ask for another one"),
        Why::NobodyCame => missing("nobody connected in time"),
        Why::Ambiguous => missing("two connections came and nothing tells them apart; use TLS or try again"),
        Why::NotResumed => Refusal::NotResumed,
        Why::Broke => Refusal::ConnectionBroken,
    }
}
