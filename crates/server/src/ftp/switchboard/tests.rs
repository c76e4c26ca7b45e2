//! The rules in virtual time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pasarela_ftp_proto::server_pi::Refusal;
use pasarela_tls::Tag;

use super::Through;
use super::board::*;
use crate::config::{Protocol, RequireResumption};

const CONTROL: PlaceId = 0;
const IMPLICIT: PlaceId = 1;
const DATA: PlaceId = 2;
const SHARED: PlaceId = 4;
const WITHOUT_FTP: PlaceId = 5;
const MS: Duration = Duration::from_millis(1);

struct Hall {
    board: Board,
    now: Instant,
}

fn owner() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn stranger() -> IpAddr {
    "198.51.100.9".parse().unwrap()
}

fn tag(session: SessionId) -> Tag {
    Tag([u8::try_from(session).unwrap(); 16])
}

impl Hall {
    fn new() -> Self {
        let mut board = Board::new(Duration::from_secs(15), 7);
        board.add_place(PlaceKind::Control { implicit: false });
        board.add_place(PlaceKind::Control { implicit: true });
        board.add_place(PlaceKind::Data);
        board.add_place(PlaceKind::Data);
        let all = [Protocol::Ftp, Protocol::Ftps, Protocol::Sftp];
        board.add_place(PlaceKind::speaking(all.into_iter().collect()));
        board.add_place(PlaceKind::speaking(all[1..].iter().copied().collect()));
        // Sessions 1 to 3 are one visitor's; 9 is somebody else's behind the same address.
        for session in [1, 2, 3, 9] {
            let account = if session == 9 { "else" } else { "u" };
            board.introduce(
                Instant::now(),
                tag(session),
                Visitor {
                    peer: owner(),
                    account: account.into(),
                },
            );
        }
        Self {
            board,
            now: Instant::now(),
        }
    }

    fn verdicts(&mut self) -> Vec<Verdict> {
        std::iter::from_fn(|| self.board.poll_verdict()).collect()
    }

    /// Lets time pass, waking up whenever the board wants to.
    fn after(&mut self, time: Duration) -> Vec<Verdict> {
        let end = self.now + time;
        let mut verdicts = Vec::new();
        let mut wakes = 0;
        while let Some(due) = self.board.poll_timeout().filter(|due| *due <= end) {
            wakes += 1;
            assert!(wakes < 100, "the board wakes itself up without end");
            self.now = due.max(self.now + Duration::from_nanos(1));
            self.board.handle_timeout(self.now);
            verdicts.extend(self.verdicts());
        }
        self.now = end;
        self.board.handle_timeout(end);
        verdicts.extend(self.verdicts());
        verdicts
    }

    fn ask(
        &mut self,
        session: SessionId,
        protected: bool,
        places: &[PlaceId],
        require: RequireResumption,
    ) -> Vec<Verdict> {
        let tag = protected.then(|| tag(session));
        let request = Request {
            session,
            peer: owner(),
            tag,
            protected,
            places: places.into(),
            may_use_second: false,
            is_late: false,
            require,
        };
        self.board.request(self.now, request);
        self.verdicts()
    }

    /// A session whose endpoint is granted and announced.
    fn waiting(&mut self, session: SessionId, protected: bool, place: PlaceId) {
        let granted = self.ask(session, protected, &[place], RequireResumption::WhenOffered);
        assert_eq!(granted, [Verdict::Grant(session, place)]);
        self.board.announced(self.now, session, Duration::ZERO);
        self.now += MS;
    }

    fn arrives(&mut self, peer: IpAddr, place: PlaceId) -> (ArrivalId, Vec<Verdict>) {
        let id = self.board.arrive(self.now, peer, place);
        (id, self.verdicts())
    }

    fn held(&mut self, peer: IpAddr, place: PlaceId) -> ArrivalId {
        let (id, verdicts) = self.arrives(peer, place);
        assert_eq!(verdicts, []);
        id
    }

    fn shows(&mut self, id: ArrivalId, shown: Shown) -> Vec<Verdict> {
        self.board.showed(self.now, id, shown);
        self.verdicts()
    }

    fn proves(&mut self, id: ArrivalId, owner: Option<SessionId>) -> Vec<Verdict> {
        self.board.proved(self.now, id, owner.map(tag), false);
        self.verdicts()
    }

    /// The same, and the client says that it is a data connection.
    fn says_data(&mut self, id: ArrivalId, owner: Option<SessionId>) -> Vec<Verdict> {
        self.board.proved(self.now, id, owner.map(tag), true);
        self.verdicts()
    }

    fn commands(&mut self, session: SessionId, direction: Direction) -> Vec<Verdict> {
        self.board.command(self.now, session, direction);
        self.verdicts()
    }

    /// An arrival that begins with a handshake which then ends.
    fn hello(&mut self, peer: IpAddr, place: PlaceId, owner: Option<SessionId>) -> (ArrivalId, Vec<Verdict>) {
        let id = self.held(peer, place);
        assert_eq!(self.shows(id, Shown::Hello), [Verdict::Handshake(id)]);
        let verdicts = self.proves(id, owner);
        (id, verdicts)
    }
}

#[test]
fn with_nobody_waiting_everybody_is_greeted_at_once() {
    let mut hall = Hall::new();
    let (id, verdicts) = hall.arrives(owner(), CONTROL);
    assert_eq!(verdicts, [Verdict::Greet(id)]);
    let (id, verdicts) = hall.arrives(owner(), IMPLICIT);
    assert_eq!(verdicts, [Verdict::Greet(id)]);
    let (id, verdicts) = hall.arrives(owner(), DATA);
    assert_eq!(verdicts, [Verdict::Drop(id, "nobody expects it")]);
}

#[test]
fn a_silent_connection_is_the_answer_once_the_command_is_given() {
    for place in [CONTROL, DATA] {
        let mut hall = Hall::new();
        hall.waiting(1, false, place);
        let id = hall.held(owner(), place);
        assert_eq!(hall.commands(1, Direction::Down), [Verdict::Pair(1, id)]);
        assert_eq!(hall.board.load(), (0, 0, 0));
    }
}

#[test]
fn a_client_may_dial_after_its_command() {
    let mut hall = Hall::new();
    hall.waiting(1, false, CONTROL);
    assert_eq!(hall.commands(1, Direction::Down), []);
    hall.now += MS;
    let id = hall.held(owner(), CONTROL);
    assert_eq!(hall.after(30 * MS), [Verdict::Pair(1, id)]);
}

#[test]
fn of_two_silent_connections_nobody_can_tell_which() {
    let mut hall = Hall::new();
    hall.waiting(1, false, CONTROL);
    let (one, two) = (hall.held(owner(), CONTROL), hall.held(owner(), CONTROL));
    assert_eq!(
        hall.commands(1, Direction::Down),
        [Verdict::Refuse(1, Why::Ambiguous)]
    );
    // The client of the refused transfer hangs up; only then is the other one greeted.
    assert_eq!(
        hall.shows(one, Shown::End),
        [Verdict::Drop(one, "closed by its peer")]
    );
    assert_eq!(hall.after(Duration::from_secs(3)), [Verdict::Greet(two)]);
}

#[test]
fn two_that_come_after_the_command_are_both_closed() {
    let mut hall = Hall::new();
    hall.waiting(1, false, CONTROL);
    assert_eq!(hall.commands(1, Direction::Down), []);
    hall.now += MS;
    let one = hall.held(owner(), CONTROL);
    hall.now += MS;
    let (two, verdicts) = hall.arrives(owner(), CONTROL);
    let why = "it could not be told from another one";
    assert_eq!(
        verdicts,
        [
            Verdict::Drop(one, why),
            Verdict::Drop(two, why),
            Verdict::Refuse(1, Why::Ambiguous)
        ]
    );
}

#[test]
fn an_upload_belongs_to_the_one_that_speaks() {
    let mut hall = Hall::new();
    hall.waiting(1, false, CONTROL);
    let (newcomer, data) = (hall.held(owner(), CONTROL), hall.held(owner(), CONTROL));
    assert_eq!(hall.shows(data, Shown::Bytes), []);
    assert_eq!(
        hall.commands(1, Direction::Up),
        [Verdict::Pair(1, data), Verdict::Greet(newcomer)]
    );
}

#[test]
fn a_connection_younger_than_the_round_trip_is_a_control_connection() {
    let mut hall = Hall::new();
    hall.ask(1, false, &[CONTROL], RequireResumption::WhenOffered);
    hall.board.announced(hall.now, 1, 50 * MS);
    hall.now += 20 * MS;
    let (early, verdicts) = hall.arrives(owner(), CONTROL);
    assert_eq!(verdicts, [Verdict::Greet(early)]);
    hall.now += 40 * MS;
    hall.held(owner(), CONTROL);
}

#[test]
fn a_stranger_neither_gets_nor_uses_up_anything() {
    let mut hall = Hall::new();
    hall.waiting(1, false, DATA);
    let (thief, verdicts) = hall.arrives(stranger(), DATA);
    assert_eq!(verdicts, [Verdict::Drop(thief, "nobody expects it")]);
    let id = hall.held(owner(), DATA);
    assert_eq!(hall.commands(1, Direction::Down), [Verdict::Pair(1, id)]);

    let mut hall = Hall::new();
    hall.waiting(1, true, DATA);
    let (thief, verdicts) = hall.hello(stranger(), DATA, None);
    assert_eq!(verdicts, [Verdict::Drop(thief, "nobody expects it")]);
    let (id, verdicts) = hall.hello(owner(), DATA, Some(1));
    assert_eq!(verdicts, [Verdict::Pair(1, id)]);
}

#[test]
fn a_proof_is_good_from_anywhere() {
    for place in [CONTROL, DATA] {
        let mut hall = Hall::new();
        hall.waiting(1, true, place);
        let (id, verdicts) = hall.hello(stranger(), place, Some(1));
        assert_eq!(verdicts, [Verdict::Pair(1, id)]);
    }
}

#[test]
fn a_strangers_control_connection_is_held_for_a_moment_only() {
    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let id = hall.held(stranger(), CONTROL);
    assert_eq!(hall.after(300 * MS), [Verdict::Greet(id)]);
    hall.board.cancel(hall.now, 1);
    hall.waiting(2, false, CONTROL);
    let (id, verdicts) = hall.arrives(stranger(), CONTROL);
    assert_eq!(
        verdicts,
        [Verdict::Greet(id)],
        "plain data cannot come from elsewhere"
    );
}

#[test]
fn silence_means_nothing_where_a_handshake_is_due() {
    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let (newcomer, data) = (hall.held(owner(), CONTROL), hall.held(owner(), CONTROL));
    assert_eq!(hall.commands(1, Direction::Down), []);
    assert_eq!(hall.shows(data, Shown::Hello), [Verdict::Handshake(data)]);
    assert_eq!(
        hall.proves(data, None),
        [Verdict::Pair(1, data), Verdict::Greet(newcomer)]
    );
}

#[test]
fn somebody_elses_session_is_no_proof() {
    for (require, shown) in [
        (RequireResumption::WhenOffered, Some(9)),
        (RequireResumption::Always, Some(9)),
        (RequireResumption::Always, Some(2)),
        (RequireResumption::Always, None),
    ] {
        let mut hall = Hall::new();
        hall.ask(1, true, &[DATA], require);
        hall.board.announced(hall.now, 1, Duration::ZERO);
        let (id, verdicts) = hall.hello(owner(), DATA, shown);
        assert_eq!(
            verdicts,
            [Verdict::Drop(id, "the TLS session is not this session's")]
        );
        assert_eq!(hall.commands(1, Direction::Down), []);
        assert_eq!(
            hall.after(Duration::from_secs(1)),
            [Verdict::Refuse(1, Why::NotResumed)]
        );
    }
}

#[test]
fn a_client_may_show_a_session_of_another_of_its_control_connections() {
    for (require, shown) in [
        (RequireResumption::WhenOffered, Some(2)),
        (RequireResumption::WhenOffered, None),
        (RequireResumption::Never, Some(9)),
        (RequireResumption::Always, Some(1)),
    ] {
        let mut hall = Hall::new();
        hall.ask(1, true, &[DATA], require);
        hall.board.announced(hall.now, 1, Duration::ZERO);
        let (id, verdicts) = hall.hello(owner(), DATA, shown);
        assert_eq!(verdicts, [Verdict::Pair(1, id)]);
    }
}

#[test]
fn a_ticket_of_a_session_that_is_still_logging_in_speaks_neither_for_nor_against() {
    for place in [CONTROL, DATA] {
        let mut hall = Hall::new();
        hall.waiting(1, true, place);
        let (id, verdicts) = hall.hello(owner(), place, Some(4));
        assert_eq!(verdicts, [Verdict::Pair(1, id)], "the address decides");
    }
    let mut hall = Hall::new();
    hall.ask(1, true, &[DATA], RequireResumption::Always);
    hall.board.announced(hall.now, 1, Duration::ZERO);
    let (id, verdicts) = hall.hello(owner(), DATA, Some(4));
    assert_eq!(
        verdicts,
        [Verdict::Drop(id, "the TLS session is not this session's")]
    );
}

#[test]
fn from_elsewhere_a_ticket_counts_once_its_session_has_logged_in() {
    let logs_in = |hall: &mut Hall, account: &str| {
        let (peer, account) = (owner(), account.into());
        hall.board.introduce(hall.now, tag(4), Visitor { peer, account });
        hall.verdicts()
    };
    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let (id, verdicts) = hall.hello(stranger(), CONTROL, Some(4));
    assert_eq!(verdicts, []);
    assert_eq!(logs_in(&mut hall, "u"), [Verdict::Pair(1, id)]);

    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let (id, _) = hall.hello(stranger(), CONTROL, Some(4));
    let closed = [Verdict::Drop(id, "nobody expects it")];
    assert_eq!(logs_in(&mut hall, "else"), closed);

    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let (id, _) = hall.hello(stranger(), CONTROL, Some(4));
    assert_eq!(hall.after(300 * MS), [Verdict::Drop(id, "nobody expects it")]);
}

#[test]
fn a_client_may_begin_its_handshake_late() {
    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let id = hall.held(owner(), CONTROL);
    assert_eq!(hall.commands(1, Direction::Down), []);
    assert_eq!(hall.after(Duration::from_secs(9)), []);
    assert_eq!(hall.shows(id, Shown::Hello), [Verdict::Handshake(id)]);
    assert_eq!(hall.proves(id, None), [Verdict::Pair(1, id)]);
    // Without a transfer a control connection waits no longer than it has to.
    hall.waiting(1, true, CONTROL);
    let id = hall.held(owner(), CONTROL);
    assert_eq!(hall.after(Duration::from_secs(3)), [Verdict::Greet(id)]);
    // With one, its greeting is late, but it comes.
    let id = hall.held(owner(), CONTROL);
    assert_eq!(hall.commands(1, Direction::Down), []);
    assert_eq!(hall.after(Duration::from_secs(11)), [Verdict::Greet(id)]);
}

#[test]
fn an_old_connection_of_the_same_session_answers_no_new_wait() {
    let mut hall = Hall::new();
    hall.waiting(1, true, DATA);
    let id = hall.held(owner(), DATA);
    hall.shows(id, Shown::Hello);
    hall.now += MS;
    hall.waiting(1, true, DATA);
    assert_eq!(hall.proves(id, Some(1)), [Verdict::Drop(id, "nobody expects it")]);
}

#[test]
fn one_plain_wait_a_peer_and_place_and_the_next_in_the_queue() {
    let mut hall = Hall::new();
    hall.waiting(1, false, DATA);
    assert_eq!(hall.ask(2, false, &[DATA], RequireResumption::Never), []);
    let id = hall.held(owner(), DATA);
    assert_eq!(
        hall.commands(1, Direction::Down),
        [Verdict::Pair(1, id), Verdict::Grant(2, DATA)]
    );
    assert_eq!(hall.ask(3, false, &[DATA], RequireResumption::Never), []);
    assert_eq!(
        hall.after(Duration::from_secs(6)),
        [Verdict::Refuse(3, Why::Full)]
    );
}

#[test]
fn a_range_has_as_many_waits_a_peer_as_ports() {
    let mut hall = Hall::new();
    let range = [DATA, DATA + 1];
    let one = hall.ask(1, false, &range, RequireResumption::Never);
    let two = hall.ask(2, false, &range, RequireResumption::Never);
    let ([Verdict::Grant(1, one)], [Verdict::Grant(2, two)]) = (&one[..], &two[..]) else {
        panic!("{one:?} {two:?}")
    };
    assert_ne!(one, two);
    assert_eq!(hall.ask(3, false, &range, RequireResumption::Never), []);
}

#[test]
fn an_unused_endpoint_gives_way() {
    let mut hall = Hall::new();
    hall.waiting(1, false, DATA);
    hall.board.idle(hall.now, 1);
    assert_eq!(
        hall.ask(2, false, &[DATA], RequireResumption::Never),
        [Verdict::Grant(2, DATA)]
    );
    assert_eq!(
        hall.commands(1, Direction::Down),
        [Verdict::Refuse(1, Why::Lapsed)]
    );
    // Unused for long, it gives way as well.
    hall.now += Duration::from_secs(20);
    assert_eq!(
        hall.ask(3, false, &[DATA], RequireResumption::Never),
        [Verdict::Grant(3, DATA)]
    );
}

#[test]
fn on_an_implicit_port_the_command_tells_data_from_control() {
    let mut hall = Hall::new();
    hall.waiting(1, true, IMPLICIT);
    let (id, verdicts) = hall.arrives(owner(), IMPLICIT);
    assert_eq!(verdicts, [Verdict::Handshake(id)]);
    assert_eq!(hall.proves(id, Some(1)), []);
    assert_eq!(hall.commands(1, Direction::Down), [Verdict::Pair(1, id)]);

    hall.waiting(1, true, IMPLICIT);
    let (control, _) = hall.arrives(owner(), IMPLICIT);
    assert_eq!(hall.proves(control, None), []);
    assert_eq!(hall.after(Duration::from_secs(3)), [Verdict::Greet(control)]);
}

#[test]
fn on_an_implicit_port_the_session_that_says_data_is_the_answer_beside_whomever() {
    for direction in [Direction::Down, Direction::Up] {
        let mut hall = Hall::new();
        hall.waiting(1, true, IMPLICIT);
        let (control, _) = hall.arrives(owner(), IMPLICIT);
        assert_eq!(hall.proves(control, None), []);
        let (cached, _) = hall.arrives(owner(), IMPLICIT);
        assert_eq!(hall.proves(cached, Some(1)), []);
        let (shaking, _) = hall.arrives(owner(), IMPLICIT);
        let (data, _) = hall.arrives(owner(), IMPLICIT);
        assert_eq!(hall.says_data(data, Some(1)), []);
        let mut greeted = hall.commands(1, direction);
        assert_eq!(greeted.first(), Some(&Verdict::Pair(1, data)));
        greeted.extend(hall.after(Duration::from_secs(3)));
        greeted.extend(hall.proves(shaking, None));
        for id in [control, cached, shaking] {
            assert!(greeted.contains(&Verdict::Greet(id)), "{greeted:?}");
        }
    }
}

#[test]
fn who_only_says_data_proves_nothing_and_is_never_greeted() {
    let mut hall = Hall::new();
    hall.waiting(1, true, IMPLICIT);
    let (data, _) = hall.arrives(owner(), IMPLICIT);
    assert_eq!(hall.proves(data, None), []);
    let (liar, _) = hall.arrives(owner(), IMPLICIT);
    assert_eq!(hall.says_data(liar, None), []);
    let refused = hall.commands(1, Direction::Down);
    assert!(
        refused.contains(&Verdict::Refuse(1, Why::Ambiguous)),
        "{refused:?}"
    );

    hall.waiting(2, true, IMPLICIT);
    let (late, _) = hall.arrives(owner(), IMPLICIT);
    assert_eq!(hall.says_data(late, None), []);
    assert!(matches!(hall.after(Duration::from_secs(3))[..], [.., Verdict::Drop(id, _)] if id == late));
}

#[test]
fn a_broken_handshake_is_told_soon() {
    let mut hall = Hall::new();
    hall.waiting(1, true, DATA);
    let id = hall.held(owner(), DATA);
    hall.shows(id, Shown::Hello);
    hall.commands(1, Direction::Down);
    hall.board.gone(hall.now, id);
    assert_eq!(
        hall.after(Duration::from_secs(1)),
        [Verdict::Refuse(1, Why::Broke)]
    );
}

#[test]
fn nobody_is_waited_for_without_end() {
    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    hall.commands(1, Direction::Up);
    assert_eq!(
        hall.after(Duration::from_secs(16)),
        [Verdict::Refuse(1, Why::NobodyCame)]
    );
    assert_eq!(hall.board.load(), (0, 0, 0));
    assert_eq!(hall.board.poll_timeout(), None);
}

#[test]
fn what_is_held_is_bounded() {
    let mut hall = Hall::new();
    hall.waiting(1, true, DATA);
    let mut dropped = 0;
    for _ in 0..1000 {
        dropped += hall.arrives(stranger(), DATA).1.len();
    }
    assert_eq!(dropped, 1000 - 16);
    let (id, verdicts) = hall.hello(owner(), DATA, Some(1));
    assert_eq!(verdicts.first(), Some(&Verdict::Pair(1, id)));
    assert_eq!(hall.board.load(), (0, 0, 0));
}

#[test]
fn strangers_make_room_the_oldest_first() {
    let mut hall = Hall::new();
    hall.waiting(1, true, CONTROL);
    let data = hall.held(owner(), CONTROL);
    let (one, two) = (hall.held(stranger(), CONTROL), hall.held(stranger(), CONTROL));
    assert_eq!(hall.shows(one, Shown::Hello), [Verdict::Handshake(one)]);
    for id in [one, two] {
        assert!(hall.board.evict(hall.now));
        assert_eq!(hall.verdicts(), [Verdict::Drop(id, "no descriptors are left")]);
    }
    assert!(!hall.board.evict(hall.now), "whom somebody expects stays");
    assert_eq!(hall.shows(data, Shown::Hello), [Verdict::Handshake(data)]);
    assert_eq!(hall.proves(data, None), [Verdict::Pair(1, data)]);
}

#[test]
fn plain_data_goes_to_the_second_port_once_the_control_port_is_in_doubt() {
    let mut hall = Hall::new();
    hall.board.set_second(DATA + 1);
    let ask = |hall: &mut Hall, session| {
        let request = Request {
            session,
            peer: owner(),
            tag: None,
            protected: false,
            places: vec![CONTROL],
            may_use_second: true,
            is_late: false,
            require: RequireResumption::WhenOffered,
        };
        hall.board.request(hall.now, request);
        hall.verdicts()
    };
    assert_eq!(ask(&mut hall, 1), [Verdict::Grant(1, CONTROL)]);
    hall.board.announced(hall.now, 1, Duration::ZERO);
    // Somebody else's turn would take long.
    assert_eq!(ask(&mut hall, 2), []);
    assert_eq!(hall.after(1100 * MS), [Verdict::Grant(2, DATA + 1)]);
    hall.board.cancel(hall.now, 2);
    // Two that cannot be told apart, again and again.
    for _ in 0..3 {
        hall.held(owner(), CONTROL);
        hall.held(owner(), CONTROL);
        assert_eq!(
            hall.commands(1, Direction::Down),
            [Verdict::Refuse(1, Why::Ambiguous)]
        );
        hall.after(Duration::from_secs(3));
        let granted = ask(&mut hall, 1);
        hall.board.announced(hall.now, 1, Duration::ZERO);
        if granted == [Verdict::Grant(1, DATA + 1)] {
            break;
        }
        assert_eq!(granted, [Verdict::Grant(1, CONTROL)]);
    }
    assert!(hall.board.is_waited_at(DATA + 1));
    // A firewall in between: the control port again.
    hall.commands(1, Direction::Down);
    assert!(
        hall.after(Duration::from_secs(16))
            .contains(&Verdict::Refuse(1, Why::NobodyCame))
    );
    assert_eq!(ask(&mut hall, 1), [Verdict::Grant(1, CONTROL)]);
}

#[test]
fn plain_data_waits_for_the_end_of_a_burst_of_newcomers() {
    let mut hall = Hall::new();
    for _ in 0..3 {
        hall.arrives(owner(), CONTROL);
        hall.now += MS;
    }
    assert_eq!(hall.ask(1, false, &[CONTROL], RequireResumption::Never), []);
    assert_eq!(hall.after(30 * MS), [Verdict::Grant(1, CONTROL)]);
    hall.board.cancel(hall.now, 1);
    // A client with one control connection waits for nothing.
    hall.arrives(owner(), CONTROL);
    assert_eq!(
        hall.ask(2, false, &[CONTROL], RequireResumption::Never),
        [Verdict::Grant(2, CONTROL)]
    );
}

#[test]
fn a_relay_that_loses_ends_carries_protected_data_alone() {
    let through = |keeps_ends| Through {
        dialled: "192.0.2.1:21".parse().unwrap(),
        keeps_ends,
    };
    for (keeps_ends, protected) in [(true, true), (true, false), (false, true)] {
        assert_eq!(through(keeps_ends).carries(protected), Ok(()));
    }
    let Err(Refusal::ProtectionNeeded(why)) = through(false).carries(false) else {
        panic!("an unprotected stream would be cut")
    };
    assert!(why.contains("loses the ends"), "{why}");
}

#[test]
fn where_several_protocols_are_spoken_the_first_word_tells() {
    let mut hall = Hall::new();
    let ssh = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(ssh, Shown::Ssh), [Verdict::Ssh(ssh)]);
    let tls = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(tls, Shown::Hello), [Verdict::Hello(tls)]);
    let silent = hall.held(owner(), SHARED);
    assert_eq!(hall.after(499 * MS), []);
    assert_eq!(hall.after(MS), [Verdict::Greet(silent)]);
    // Who says something else hears at once what is spoken here.
    let other = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(other, Shown::Bytes), [Verdict::Greet(other)]);
    assert_eq!(hall.board.load(), (0, 0, 0));
}

#[test]
fn where_no_ftp_is_spoken_whoever_keeps_silent_is_let_go() {
    let mut hall = Hall::new();
    let silent = hall.held(owner(), WITHOUT_FTP);
    assert_eq!(hall.after(Duration::from_secs(9)), []);
    let over = hall.after(Duration::from_secs(1));
    assert!(
        matches!(over[..], [Verdict::Drop(id, _)] if id == silent),
        "{over:?}"
    );
    let other = hall.held(owner(), WITHOUT_FTP);
    let said = hall.shows(other, Shown::Bytes);
    assert!(
        matches!(said[..], [Verdict::Drop(id, _)] if id == other),
        "{said:?}"
    );
}

#[test]
fn data_connections_still_arrive_where_several_protocols_are_spoken() {
    // In the clear: the silent one, once the command is given, however long that takes within the hold.
    let mut hall = Hall::new();
    hall.waiting(1, false, SHARED);
    let data = hall.held(owner(), SHARED);
    hall.now += MS;
    let paired = hall.commands(1, Direction::Down);
    assert_eq!(paired, [Verdict::Pair(1, data)]);

    // An upload that begins like SSH is an upload.
    let mut hall = Hall::new();
    hall.waiting(1, false, SHARED);
    let data = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(data, Shown::Ssh), []);
    assert_eq!(hall.commands(1, Direction::Up), [Verdict::Pair(1, data)]);

    // A download that was waited for is no reason to keep SSH waiting.
    let mut hall = Hall::new();
    hall.waiting(1, false, SHARED);
    let ssh = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(ssh, Shown::Ssh), []);
    assert_eq!(hall.commands(1, Direction::Down), [Verdict::Ssh(ssh)]);

    // Nor is an upload that never comes.
    let mut hall = Hall::new();
    hall.waiting(1, false, SHARED);
    let ssh = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(ssh, Shown::Ssh), []);
    assert_eq!(hall.after(Duration::from_secs(2)), [Verdict::Ssh(ssh)]);

    // Protected: SSH is nobody's answer, and a handshake tells by its ticket.
    let mut hall = Hall::new();
    hall.waiting(1, true, SHARED);
    let ssh = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(ssh, Shown::Ssh), [Verdict::Ssh(ssh)]);
    let data = hall.held(owner(), SHARED);
    assert_eq!(hall.shows(data, Shown::Hello), [Verdict::Handshake(data)]);
    assert_eq!(hall.proves(data, Some(1)), []);
    assert_eq!(hall.commands(1, Direction::Down), [Verdict::Pair(1, data)]);

    // A new control connection with TLS first, of somebody else.
    hall.waiting(2, true, SHARED);
    let control = hall.held(stranger(), SHARED);
    assert_eq!(hall.shows(control, Shown::Hello), [Verdict::Handshake(control)]);
    assert_eq!(hall.proves(control, None), [Verdict::Greet(control)]);
}

#[test]
fn a_crowd_at_a_shared_port_is_greeted_and_not_held_without_end() {
    let mut hall = Hall::new();
    for _ in 0..64 {
        hall.held(owner(), SHARED);
    }
    let (one_more, verdicts) = hall.arrives(owner(), SHARED);
    assert_eq!(verdicts, [Verdict::Greet(one_more)]);
    assert_eq!(hall.after(500 * MS).len(), 64);
}
