//! Dialogues in virtual time: what a client says, what the server-PI says and asks.

use std::time::{Duration, Instant};

use super::*;

struct Dialogue {
    pi: ServerPi,
    now: Instant,
    ask: Option<Ask>,
    aborted: usize,
    released: usize,
    closed: bool,
}

fn start() -> Instant {
    // The one moment from which virtual time is counted.
    #[allow(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    Instant::now()
}

fn profile() -> Profile {
    Profile {
        greeting: "Ready.".into(),
        peer: "192.0.2.7".parse().unwrap(),
        tls: TlsPolicy::Optional,
        implicit: false,
        active: true,
        login_deadline: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(300),
        host_names: Vec::new(),
        open_names: vec!["anonymous".into(), "ftp".into()],
        tells_commands: false,
    }
}

impl Dialogue {
    fn with(profile: Profile) -> Self {
        let now = start();
        let mut dialogue = Self {
            pi: ServerPi::new(now, profile),
            now,
            ask: None,
            aborted: 0,
            released: 0,
            closed: false,
        };
        assert_eq!(dialogue.drain(), "220 Ready.\r\n");
        dialogue
    }

    fn logged_in() -> Self {
        let mut dialogue = Self::with(profile());
        dialogue.log_in(false);
        dialogue
    }

    fn log_in(&mut self, protect_data: bool) {
        assert!(self.say("USER u\r\nPASS p\r\n").starts_with("331 "));
        let Some(Ask::Login(slip, _)) = self.ask.take() else {
            panic!("no login was asked for")
        };
        assert!(
            self.answer(slip.answer(Ok(LoggedIn { protect_data })))
                .starts_with("230 ")
        );
    }

    fn drain(&mut self) -> String {
        let mut said = Vec::new();
        while let Some(output) = self.pi.poll_output() {
            match output {
                Output::Send(bytes) => said.extend_from_slice(&bytes),
                Output::Ask(ask) => {
                    assert!(self.ask.is_none(), "one ask at a time");
                    self.ask = Some(ask);
                }
                Output::Abort => {
                    self.aborted += 1;
                    self.ask = None;
                }
                Output::Release => self.released += 1,
                Output::Logout | Output::Heard(_) => {}
                Output::Close => self.closed = true,
            }
        }
        String::from_utf8(said).unwrap()
    }

    fn say(&mut self, text: &str) -> String {
        self.say_bytes(text.as_bytes())
    }

    fn say_bytes(&mut self, bytes: &[u8]) -> String {
        self.pi.handle_input(self.now, bytes);
        self.drain()
    }

    fn answer(&mut self, answered: Answered) -> String {
        self.pi.handle_answer(self.now, answered);
        self.drain()
    }

    fn endpoint(&mut self) {
        self.say("EPSV\r\n");
        let Some(Ask::Passive(slip, ..)) = self.ask.take() else {
            panic!("no endpoint was asked for")
        };
        assert!(
            self.answer(slip.answer(Ok("192.0.2.1:2121".parse().unwrap())))
                .contains("(|||2121|)")
        );
    }

    /// Brings a transfer to where its bytes move.
    fn running(&mut self, command: &str) -> Pending<Result<Done, Refusal>> {
        self.endpoint();
        self.say(command);
        let Some(Ask::Open(slip, _)) = self.ask.take() else {
            panic!("nothing was opened")
        };
        let said = self.answer(slip.answer(Ok(Opened::default())));
        assert!(said.starts_with("150 "), "{said}");
        let Some(Ask::Run(slip)) = self.ask.take() else {
            panic!("nothing runs")
        };
        slip
    }

    fn after(&mut self, seconds: u64) -> String {
        self.now += Duration::from_secs(seconds);
        self.pi.handle_timeout(self.now);
        self.drain()
    }
}

fn codes(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' ') && !line.starts_with(' '))
        .map(|l| &l[..3])
        .collect()
}

#[test]
fn a_transfer_ends_in_exactly_one_final_reply() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("RETR a\r\n");
    assert_eq!(
        d.answer(slip.answer(Ok(Done { bytes: 5 }))),
        "226 RETR: 5 bytes, complete.\r\n"
    );
    assert_eq!(codes(&d.say("NOOP\r\n")), ["200"]);
}

#[test]
fn pipelined_commands_are_answered_in_order_behind_a_transfer() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("RETR a\r\nPWD\r\nNOOP\r\nSYST\r\n");
    assert_eq!(
        codes(&d.answer(slip.answer(Ok(Done { bytes: 0 })))),
        ["226", "257", "200", "215"]
    );
}

#[test]
fn abor_is_heard_during_a_transfer_and_its_late_answer_is_dropped() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("STOR a\r\n");
    assert_eq!(codes(&d.say_bytes(b"\xff\xf4\xff\xf2ABOR\r\n")), ["426", "226"]);
    assert_eq!(d.aborted, 1);
    assert_eq!(d.answer(slip.answer(Ok(Done { bytes: 9 }))), "");
    assert_eq!(codes(&d.say("ABOR\r\n")), ["225"]);
}

#[test]
fn stat_and_noop_are_answered_during_a_transfer_and_quit_after_it() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("RETR a\r\n");
    assert_eq!(codes(&d.say("STAT\r\nNOOP\r\n")), ["211", "200"]);
    assert_eq!(d.say("QUIT\r\n"), "");
    d.pi.handle_end_of_input(d.now);
    assert_eq!(d.aborted, 0, "a client that said QUIT may close its side");
    assert_eq!(
        codes(&d.answer(slip.answer(Ok(Done { bytes: 1 })))),
        ["226", "221"]
    );
    assert!(d.closed);
}

#[test]
fn losing_the_control_connection_drops_the_transfer() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("STOR a\r\n");
    d.pi.handle_end_of_input(d.now);
    assert_eq!(d.drain(), "");
    assert!(d.closed && d.aborted == 1);
    assert_eq!(d.answer(slip.answer(Ok(Done { bytes: 9 }))), "");
}

#[test]
fn lines_wait_unread_when_many_stand_behind_a_transfer() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("RETR a\r\n");
    assert_eq!(d.say(&"PWD\r\n".repeat(5000)), "");
    assert!(!d.pi.wants_input());
    assert_eq!(codes(&d.answer(slip.answer(Ok(Done { bytes: 1 })))).len(), 5001);
    assert!(d.pi.wants_input());
}

#[test]
fn a_refused_open_keeps_the_endpoint() {
    let mut d = Dialogue::logged_in();
    d.endpoint();
    d.say("RETR missing\r\n");
    let Some(Ask::Open(slip, _)) = d.ask.take() else {
        panic!()
    };
    assert_eq!(codes(&d.answer(slip.answer(Err(Refusal::NotFound)))), ["550"]);
    d.say("RETR there\r\n");
    assert!(matches!(d.ask.take(), Some(Ask::Open(..))));
}

#[test]
fn without_an_endpoint_there_is_no_transfer() {
    let mut d = Dialogue::logged_in();
    assert_eq!(
        codes(&d.say("RETR a\r\nLIST\r\nSTOR b\r\n")),
        ["425", "425", "425"]
    );
}

#[test]
fn port_goes_to_the_control_peer_alone() {
    let mut d = Dialogue::logged_in();
    for bad in [
        "PORT 127,0,0,2,200,1",
        "PORT 192,0,2,7,0,22",
        "PORT 0,0,0,0,200,1",
        "EPRT |1|127.0.0.1|5000|",
        "EPRT |2|::1|5000|",
        "EPRT |2|::ffff:127.0.0.2|5000|",
        "PORT 192,0,2,7,200",
        "PORT 192,0,2,7,200,x",
    ] {
        assert_eq!(codes(&d.say(&format!("{bad}\r\n"))), ["501"], "{bad}");
        assert!(d.ask.is_none());
    }
    assert_eq!(codes(&d.say("EPRT |3|x|5000|\r\n")), ["522"]);
    d.say("EPRT |2|::ffff:192.0.2.7|5000|\r\n");
    let Some(Ask::Active(slip, address)) = d.ask.take() else {
        panic!()
    };
    assert_eq!(address.port(), 5000);
    assert_eq!(codes(&d.answer(slip.answer(Ok(())))), ["200"]);
}

#[test]
fn an_endpoint_that_needs_protection_says_why_and_the_session_goes_on() {
    let mut d = Dialogue::logged_in();
    for verb in ["EPSV", "PASV"] {
        d.say(&format!("{verb}\r\n"));
        let Some(Ask::Passive(slip, _, protected)) = d.ask.take() else {
            panic!()
        };
        assert!(!protected);
        let refused = Refusal::ProtectionNeeded("the relay loses ends".into());
        assert_eq!(
            d.answer(slip.answer(Err(refused))),
            "521 Data connections must be protected; send PROT P: the relay loses ends.\r\n"
        );
    }
    d.endpoint();
}

#[test]
fn epsv_all_holds_for_the_session() {
    let mut d = Dialogue::logged_in();
    assert_eq!(
        codes(&d.say(
            "EPSV ALL\r\nPASV\r\nPORT 192,0,2,7,200,1\r\nEPRT |1|192.0.2.7|5000|\r\nEPSV x\r\nPASV\r\n"
        )),
        ["200", "503", "503", "503", "501", "503"]
    );
    d.endpoint();
    assert_eq!(codes(&d.say("EPSV 2\r\nEPSV 7\r\n")), ["522", "522"]);
}

#[test]
fn nothing_but_introductions_before_login() {
    let mut d = Dialogue::with(profile());
    assert_eq!(
        codes(&d.say("PWD\r\nLIST\r\nPASV\r\nSTAT\r\nPASS x\r\n")),
        ["530", "530", "530", "530", "503"]
    );
    assert_eq!(
        codes(&d.say("FEAT\r\nSYST\r\nHELP\r\nNOOP\r\nCLNT x\r\nOPTS UTF8 ON\r\n")),
        ["211", "215", "214", "200", "200", "200"]
    );
}

#[test]
fn three_failed_logins_end_the_connection() {
    let mut d = Dialogue::with(profile());
    for expected in ["530", "530", "421"] {
        d.say("USER u\r\nPASS wrong\r\n");
        let Some(Ask::Login(slip, _)) = d.ask.take() else {
            panic!()
        };
        assert_eq!(
            codes(&d.answer(slip.answer(Err(Refusal::WrongCredentials)))),
            [expected]
        );
    }
    assert!(d.closed);
}

#[test]
fn a_login_that_finds_no_room_is_told_to_come_back() {
    for refusal in [Refusal::TooManySessions, Refusal::TooManyLogins] {
        let mut d = Dialogue::with(profile());
        d.say("USER u\r\nPASS right\r\n");
        let Some(Ask::Login(slip, _)) = d.ask.take() else {
            panic!()
        };
        assert_eq!(codes(&d.answer(slip.answer(Err(refusal)))), ["421"]);
        assert!(d.closed);
    }
}

#[test]
fn the_login_deadline_is_not_moved_by_traffic() {
    let mut d = Dialogue::with(profile());
    for _ in 0..5 {
        assert_eq!(d.after(10), "");
        d.say("NOOP\r\n");
    }
    assert_eq!(codes(&d.after(10)), ["421"]);
    assert!(d.closed);
}

#[test]
fn idleness_is_counted_between_commands_and_not_during_a_transfer() {
    let mut d = Dialogue::logged_in();
    d.after(299);
    d.say("NOOP\r\n");
    assert_eq!(d.after(299), "");
    let slip = d.running("RETR a\r\n");
    assert_eq!(d.after(10_000), "");
    d.answer(slip.answer(Ok(Done { bytes: 1 })));
    assert_eq!(codes(&d.after(300)), ["421"]);
}

#[test]
fn bytes_behind_auth_are_never_carried_out() {
    for smuggled in ["AUTH TLS\r\nNOOP\r\n", "AUTH TLS\r\nN", "AUTH TLS\r\n\r\n"] {
        let mut d = Dialogue::with(profile());
        assert_eq!(codes(&d.say(smuggled)), ["421"], "{smuggled:?}");
        assert!(d.closed && d.ask.is_none());
    }
}

#[test]
fn protection_comes_in_the_order_auth_pbsz_prot() {
    let mut d = Dialogue::with(profile());
    assert_eq!(
        codes(&d.say("PBSZ 0\r\nPROT P\r\nAUTH KERBEROS\r\n")),
        ["503", "503", "504"]
    );
    assert_eq!(codes(&d.say("AUTH TLS\r\n")), ["234"]);
    let Some(Ask::StartTls(slip)) = d.ask.take() else {
        panic!()
    };
    d.answer(slip.answer(Ok(())));
    assert_eq!(
        codes(&d.say("PROT P\r\nPBSZ 0\r\nPROT S\r\nPROT X\r\nPROT P\r\nAUTH TLS\r\nCCC\r\n")),
        ["503", "200", "536", "504", "200", "503", "533"]
    );
}

#[test]
fn required_tls_is_asked_for_before_a_name_and_before_data() {
    let mut d = Dialogue::with(Profile {
        tls: TlsPolicy::Required,
        ..profile()
    });
    assert_eq!(
        codes(&d.say("USER u\r\nPASS p\r\nUSER Anonymous\r\n")),
        ["530", "503", "331"]
    );
    d.say("AUTH TLS\r\n");
    let Some(Ask::StartTls(slip)) = d.ask.take() else {
        panic!()
    };
    d.answer(slip.answer(Ok(())));
    d.log_in(true);
    assert_eq!(
        codes(&d.say("EPSV\r\nPORT 192,0,2,7,200,1\r\nLIST\r\nPBSZ 0\r\nPROT C\r\nPROT P\r\n")),
        ["521", "521", "521", "200", "534", "200"]
    );
    d.endpoint();
}

#[test]
fn rein_forgets_the_login_and_the_endpoint() {
    let mut d = Dialogue::logged_in();
    d.endpoint();
    assert_eq!(codes(&d.say("REIN\r\nPWD\r\n")), ["220", "530"]);
    assert_eq!(d.released, 1);
}

#[test]
fn a_marker_lives_for_one_transfer() {
    let mut d = Dialogue::logged_in();
    assert_eq!(
        codes(&d.say("REST 5\r\nTYPE I\r\nREST 5\r\n")),
        ["501", "200", "350"]
    );
    d.endpoint();
    d.say("RETR a\r\n");
    let Some(Ask::Open(slip, transfer)) = d.ask.take() else {
        panic!()
    };
    assert!(matches!(
        transfer.action,
        Action::Retrieve {
            span: Span { first: 5, end: None },
            ..
        }
    ));
    d.answer(slip.answer(Err(Refusal::PastEnd)));
    d.say("RETR a\r\n");
    let Some(Ask::Open(slip, transfer)) = d.ask.take() else {
        panic!()
    };
    assert!(matches!(
        transfer.action,
        Action::Retrieve {
            span: Span { first: 0, end: None },
            ..
        }
    ));
    d.answer(slip.answer(Err(Refusal::NotFound)));
    assert_eq!(
        codes(&d.say("REST 5\r\nAPPE a\r\nREST 5\r\nSTOU\r\nRANG 0 9\r\nSTOR a\r\n")),
        ["350", "503", "350", "503", "350", "503"]
    );
}

#[test]
fn rnto_follows_rnfr_at_once() {
    let mut d = Dialogue::logged_in();
    assert_eq!(codes(&d.say("RNTO b\r\n")), ["503"]);
    d.say("RNFR a\r\n");
    let Some(Ask::File(slip, _)) = d.ask.take() else {
        panic!()
    };
    assert_eq!(codes(&d.answer(slip.answer(Ok(FileAnswer::Done)))), ["350"]);
    assert_eq!(codes(&d.say("PWD\r\nRNTO b\r\n")), ["257", "503"]);
}

#[test]
fn long_lines_and_foreign_protocols_end_a_connection_that_is_not_logged_in() {
    let mut d = Dialogue::with(profile());
    assert_eq!(codes(&d.say(&"x".repeat(2000))), ["500"]);
    assert!(d.closed);
    let mut d = Dialogue::with(profile());
    assert_eq!(
        codes(&d.say("POST / HTTP/1.1\r\nHost: a\r\n<script>\r\n")),
        ["500"]
    );
    assert!(d.closed);
    let mut d = Dialogue::with(profile());
    assert_eq!(codes(&d.say(&"BOGUS\r\n".repeat(9))).len(), 5);
    let mut d = Dialogue::logged_in();
    assert_eq!(
        codes(&d.say(&format!("{}\r\nNOOP\r\n", "x".repeat(5000)))),
        ["500", "200"]
    );
}

#[test]
fn shutting_down_waits_for_a_transfer() {
    let mut d = Dialogue::logged_in();
    d.pi.shut_down(d.now);
    assert_eq!(codes(&d.drain()), ["421"]);
    let mut d = Dialogue::logged_in();
    let slip = d.running("RETR a\r\n");
    d.pi.shut_down(d.now);
    assert_eq!(d.drain(), "");
    assert_eq!(
        codes(&d.answer(slip.answer(Ok(Done { bytes: 1 })))),
        ["226", "421"]
    );
    let mut d = Dialogue::logged_in();
    let _slip = d.running("STOR a\r\nDELE b\r\n");
    d.pi.shut_down(d.now);
    assert!(
        !d.pi.is_quitting(),
        "the end of the control connection would be a surprise"
    );
    d.pi.handle_end_of_input(d.now);
    d.drain();
    assert_eq!(d.aborted, 1);
}

#[test]
fn a_password_out_of_turn_changes_nothing() {
    let mut d = Dialogue::logged_in();
    assert_eq!(codes(&d.say("PASS again\r\nPWD\r\n")), ["230", "257"]);
}

#[test]
fn rein_gives_no_more_time_to_those_who_never_logged_in() {
    let mut d = Dialogue::with(profile());
    d.after(50);
    d.say("REIN\r\n");
    assert_eq!(codes(&d.after(10)), ["421"]);
    let mut d = Dialogue::logged_in();
    d.after(200);
    assert_eq!(codes(&d.say("USER other\r\n")), ["331"]);
    assert_eq!(d.after(59), "");
    assert_eq!(codes(&d.after(1)), ["421"]);
}

#[test]
fn what_is_being_published_is_not_aborted() {
    let mut d = Dialogue::logged_in();
    let slip = d.running("STOR a\r\n");
    d.pi.publishing();
    assert_eq!(d.say("ABOR\r\n"), "");
    assert_eq!(
        codes(&d.answer(slip.answer(Ok(Done { bytes: 1 })))),
        ["226", "225"]
    );
}

#[test]
fn an_offset_does_not_outlive_a_change_of_type() {
    let mut d = Dialogue::logged_in();
    d.say("TYPE I\r\nREST 5\r\nTYPE A\r\n");
    d.endpoint();
    d.say("RETR a\r\n");
    let Some(Ask::Open(_, transfer)) = d.ask.take() else {
        panic!()
    };
    assert!(matches!(
        transfer.action,
        Action::Retrieve {
            span: Span { first: 0, .. },
            ..
        }
    ));
}

#[test]
fn any_cut_of_the_input_gives_the_same_replies() {
    let script = "USER u\r\nFOO\r\nTYPE I\r\nSYST\r\nREST 10\r\nPWD\r\nHELP\r\nFEAT\r\nNOOP\r\nQUIT\r\n";
    let whole = Dialogue::with(profile()).say(script);
    for at in 0..script.len() {
        let mut d = Dialogue::with(profile());
        let first = d.say(&script[..at]);
        assert_eq!(first + &d.say(&script[at..]), whole, "cut at {at}");
    }
}

#[test]
fn a_listing_over_the_control_connection_is_one_reply() {
    let mut d = Dialogue::logged_in();
    d.say("STAT -l dir\r\n");
    let Some(Ask::Status(slip, Some((_, path)))) = d.ask.take() else {
        panic!()
    };
    assert_eq!(path, b"dir");
    let page = |lines: &'static str, more| {
        Ok(StatusPage {
            lines: lines.into(),
            more,
        })
    };
    assert_eq!(
        d.answer(slip.answer(page("-rw a\r\n", true))),
        "213-Listing:\r\n-rw a\r\n"
    );
    let Some(Ask::Status(slip, None)) = d.ask.take() else {
        panic!()
    };
    assert_eq!(
        d.answer(slip.answer(page("-rw b\r\n", false))),
        "-rw b\r\n213 End.\r\n"
    );
    d.say("STAT missing\r\n");
    let Some(Ask::Status(slip, _)) = d.ask.take() else {
        panic!()
    };
    assert_eq!(codes(&d.answer(slip.answer(Err(Refusal::NotFound)))), ["550"]);
}

#[test]
fn stat_repeats_what_the_two_have_told_each_other_of_an_endpoint() {
    let mut d = Dialogue::logged_in();
    d.say("PASV\r\n");
    let Some(Ask::Passive(slip, ..)) = d.ask.take() else {
        panic!()
    };
    d.answer(slip.answer(Ok("192.0.2.7:50001".parse().unwrap())));
    assert!(
        d.say("STAT\r\n")
            .contains("A data endpoint is open: 192.0.2.7 port 50001")
    );
    d.say("EPSV\r\n");
    let Some(Ask::Passive(slip, ..)) = d.ask.take() else {
        panic!()
    };
    d.answer(slip.answer(Ok("192.0.2.7:50002".parse().unwrap())));
    assert!(d.say("STAT\r\n").contains("A data endpoint is open: port 50002"));
    d.say("ABOR\r\n");
    assert!(d.say("STAT\r\n").contains("No data connection"));
}
