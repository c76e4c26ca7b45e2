//! Dialogues in virtual time: what the server says, and what the user-PI does then.

use std::time::{Duration, Instant};

use super::*;

struct Talk {
    pi: UserPi,
    now: Instant,
    met: Vec<Quirk>,
}

fn start() -> Instant {
    // The one moment from which virtual time is counted.
    #[allow(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
    Instant::now()
}

const PATIENCE: Patience = Patience {
    reply: Duration::from_secs(30),
    end_of_transfer: Duration::from_secs(60),
};

impl Talk {
    fn new() -> Self {
        Self {
            pi: UserPi::new(PATIENCE),
            now: start(),
            met: Vec::new(),
        }
    }

    fn begin(&mut self, errand: Errand) -> Vec<Output> {
        self.pi.begin(self.now, errand).unwrap();
        self.drain()
    }

    fn says(&mut self, text: impl AsRef<[u8]>) -> Vec<Output> {
        self.pi.handle_input(self.now, text.as_ref());
        self.drain()
    }

    fn after(&mut self, seconds: u64) -> Vec<Output> {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.pi.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.pi.handle_timeout(at);
        }
        self.now = end;
        self.drain()
    }

    /// What matters of the outputs: logs are left out.
    fn drain(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        while let Some(output) = self.pi.poll_output() {
            match output {
                Output::Said(_) | Output::Heard(_) => {}
                Output::Met(quirk) => self.met.push(quirk),
                other => out.push(other),
            }
        }
        out
    }

    fn passive(form: Form, reply: &str) -> (Vec<Output>, Vec<Quirk>) {
        let mut talk = Self::new();
        talk.begin(Errand::Passive(form));
        (talk.says(reply), talk.met)
    }
}

fn sends(line: &str) -> Vec<Output> {
    vec![Output::Send(format!("{line}\r\n").into_bytes().into())]
}

fn reply(code: u16, text: &str) -> Reply {
    Reply {
        code,
        lines: vec![text.as_bytes().to_vec()],
    }
}

fn done(code: u16, text: &str) -> Vec<Output> {
    vec![Output::Done(Outcome::Done(reply(code, text)))]
}

fn refused(code: u16, text: &str) -> Vec<Output> {
    vec![Output::Done(Outcome::Refused(reply(code, text)))]
}

fn failed(fault: Fault) -> Vec<Output> {
    vec![Output::Failed(fault)]
}

fn waits_at(port: u16) -> Vec<Output> {
    vec![Output::Done(Outcome::Passive(Endpoint { port, told: None }))]
}

fn credentials() -> Credentials {
    Credentials {
        user: b"maria".to_vec(),
        password: b"s3cret".to_vec(),
        account: b"books".to_vec(),
    }
}

fn retrieve(restart: Option<u64>) -> Errand {
    Errand::Transfer {
        restart,
        command: b"RETR a".to_vec(),
    }
}

#[test]
fn a_greeting_may_be_put_off_and_have_many_lines() {
    let mut talk = Talk::new();
    assert_eq!(talk.begin(Errand::Greeting), []);
    assert_eq!(
        talk.says("120 in a minute\r\n220-Hello\r\n 220 not yet\r\n200 users\r\n"),
        []
    );
    let out = talk.says("220 Ready\r\n");
    let [Output::Done(Outcome::Done(greeting))] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(greeting.lines.len(), 4);
    assert_eq!(greeting.text(), b"Ready");
}

#[test]
fn a_greeting_is_the_same_however_it_is_cut() {
    let text = b"220-Hello\r\n middle\r\n220 Ready\r\n";
    for at in 0..text.len() {
        let mut talk = Talk::new();
        talk.begin(Errand::Greeting);
        assert_eq!(talk.says(&text[..at]), [], "cut at {at}");
        assert_eq!(talk.says(&text[at..]).len(), 1, "cut at {at}");
    }
}

#[test]
fn who_does_not_speak_ftp_is_told_by_its_first_bytes() {
    let mut talk = Talk::new();
    talk.begin(Errand::Greeting);
    assert_eq!(
        talk.says("SSH-2.0-OpenSSH_9.2\r\n"),
        failed(Fault::NotFtp(b"SSH-2.0-OpenSSH_9.2".to_vec()))
    );
}

#[test]
fn a_server_that_stays_silent_fails_the_errand_in_time() {
    let mut talk = Talk::new();
    talk.begin(Errand::Greeting);
    assert_eq!(talk.after(29), []);
    assert_eq!(talk.after(1), failed(Fault::Silent));
}

#[test]
fn preliminary_replies_neither_extend_the_deadline_nor_go_on_for_ever() {
    let mut talk = Talk::new();
    talk.begin(Errand::Command(b"SIZE a".to_vec()));
    talk.after(20);
    assert_eq!(talk.says("120 wait\r\n"), []);
    assert_eq!(talk.after(10), failed(Fault::Silent));

    let mut talk = Talk::new();
    talk.begin(Errand::Command(b"SIZE a".to_vec()));
    assert_eq!(talk.says("120 wait\r\n".repeat(1000)), failed(Fault::PutOff));
}

#[test]
fn replies_are_bounded_in_line_lines_and_bytes() {
    for endless in [
        format!("220 {}", "x".repeat(9000)),
        format!("220-a\r\n{}", " b\r\n".repeat(64)),
        format!("220-a\r\n{}", format!(" {}\r\n", "c".repeat(8000)).repeat(9)),
    ] {
        let mut talk = Talk::new();
        talk.begin(Errand::Greeting);
        assert_eq!(talk.says(endless), failed(Fault::ReplyTooLong));
    }
}

#[test]
fn another_end_code_ends_a_reply_when_nothing_follows() {
    let mut talk = Talk::new();
    talk.begin(Errand::Greeting);
    assert_eq!(talk.says("230-Hello\r\n220 Ready\r\n"), []);
    assert_eq!(talk.after(1).len(), 1);
    assert_eq!(talk.met, [Quirk::OtherEndCode]);
}

#[test]
fn auth_is_followed_by_the_handshake_and_by_protection_of_data() {
    let mut talk = Talk::new();
    assert_eq!(talk.begin(Errand::Protect), sends("AUTH TLS"));
    assert_eq!(talk.says("234 go\r\n"), [Output::StartTls]);
    talk.pi.handle_secured(talk.now);
    assert_eq!(talk.drain(), sends("PBSZ 0"));
    assert_eq!(talk.says("200 PBSZ=0\r\n"), sends("PROT P"));
    assert_eq!(talk.says("200 ok\r\n"), done(200, "ok"));
}

#[test]
fn bytes_behind_the_234_are_fatal_at_every_cut() {
    let text = b"234 go\r\n230 ok\r\n";
    for at in 8..text.len() {
        let mut talk = Talk::new();
        talk.begin(Errand::Protect);
        let mut out = talk.says(&text[..at]);
        out.extend(talk.says(&text[at..]));
        assert!(
            out.ends_with(&failed(Fault::BytesBehindAuth)),
            "cut at {at}: {out:?}"
        );
        talk.pi.handle_secured(talk.now);
        assert_eq!(talk.drain(), [], "nothing is sent after that");
    }
}

#[test]
fn refused_auth_is_told_and_sends_nothing_more() {
    for refusal in ["500 what", "502 no", "534 policy", "431 later"] {
        let mut talk = Talk::new();
        talk.begin(Errand::Protect);
        let out = talk.says(format!("{refusal}\r\n"));
        assert!(
            matches!(out[..], [Output::Done(Outcome::Unprotected(_))]),
            "{out:?}"
        );
    }
}

#[test]
fn a_login_gives_what_it_is_asked_for() {
    let mut talk = Talk::new();
    assert_eq!(talk.begin(Errand::Login(credentials())), sends("USER maria"));
    assert_eq!(talk.says("331 password\r\n"), sends("PASS s3cret"));
    assert_eq!(talk.says("332 account\r\n"), sends("ACCT books"));
    assert_eq!(talk.says("230 in\r\n"), done(230, "in"));

    let mut talk = Talk::new();
    talk.begin(Errand::Login(credentials()));
    assert_eq!(
        talk.says("230 no password needed\r\n"),
        done(230, "no password needed")
    );

    let mut talk = Talk::new();
    talk.begin(Errand::Login(credentials()));
    talk.says("331 password\r\n");
    assert_eq!(talk.says("530 wrong\r\n"), refused(530, "wrong"));
}

#[test]
fn secrets_are_not_in_what_is_said_for_the_log() {
    let mut talk = Talk::new();
    talk.pi.begin(talk.now, Errand::Login(credentials())).unwrap();
    talk.pi.handle_input(talk.now, b"331 password\r\n332 account\r\n");
    while let Some(output) = talk.pi.poll_output() {
        if let Output::Said(line) = output {
            assert!(!line.contains("s3cret") && !line.contains("books"), "{line}");
        }
    }
    assert!(!format!("{:?}", credentials()).contains("s3cret"));
}

#[test]
fn texts_that_are_more_than_one_line_are_refused_before_anything_is_sent() {
    for bad in ["a\r\nDELE x", "a\nb", "a\rb", "a\0b"] {
        let mut talk = Talk::new();
        let errands = [
            Errand::Command(format!("RETR {bad}").into_bytes()),
            Errand::Transfer {
                restart: Some(1),
                command: format!("RETR {bad}").into_bytes(),
            },
            Errand::Login(Credentials {
                user: bad.into(),
                ..credentials()
            }),
            Errand::Login(Credentials {
                password: bad.into(),
                ..credentials()
            }),
        ];
        for errand in errands {
            assert_eq!(talk.pi.begin(talk.now, errand), Err(BadText));
            assert_eq!(talk.drain(), []);
        }
    }
}

/// A transfer that has begun, and a NOOP during it.
fn kept_alive() -> Talk {
    let mut talk = Talk::new();
    talk.begin(retrieve(None));
    talk.pi.keep_alive();
    assert_eq!(talk.drain(), [], "nothing runs yet");
    talk.says("150 here\r\n");
    talk.pi.keep_alive();
    assert_eq!(talk.drain(), sends("NOOP"));
    talk.pi.keep_alive();
    assert_eq!(talk.drain(), [], "the first one is unanswered");
    talk
}

#[test]
fn a_noop_during_a_transfer_has_its_own_reply_before_or_behind_the_transfers() {
    let mut talk = kept_alive();
    assert_eq!(talk.says("200 ok\r\n"), []);
    assert_eq!(talk.says("226 done\r\n"), done(226, "done"));

    let mut talk = kept_alive();
    assert_eq!(talk.says("226 done\r\n226 done\r\n"), []);
    talk.pi.handle_data_ended(talk.now);
    assert!(!talk.pi.is_idle());
    assert_eq!(talk.says("200 ok\r\n"), done(226, "done"));
    assert!(talk.pi.is_idle());
    assert_eq!(talk.begin(Errand::Command(b"NOOP".to_vec())), sends("NOOP"));
    assert_eq!(talk.says("200 ok\r\n"), done(200, "ok"));

    let mut talk = kept_alive();
    assert_eq!(talk.says("426 cut\r\n200 ok\r\n"), refused(426, "cut"));
}

#[test]
fn a_noop_that_is_never_answered_costs_the_connection_and_not_the_transfer() {
    let mut talk = kept_alive();
    assert_eq!(talk.says("226 done\r\n"), []);
    let ended: Vec<_> = done(226, "done")
        .into_iter()
        .chain(failed(Fault::Silent))
        .collect();
    assert_eq!(talk.after(2), ended);
    let mut talk = kept_alive();
    talk.says("226 done\r\n");
    talk.pi.handle_end_of_input(talk.now);
    let ended: Vec<_> = done(226, "done")
        .into_iter()
        .chain(failed(Fault::Closed))
        .collect();
    assert_eq!(talk.drain(), ended);
}

#[test]
fn two_commands_may_go_out_at_once_and_have_a_reply_each() {
    let mut talk = Talk::new();
    let pair = Errand::Pair(b"RNFR a".to_vec(), b"RNTO b".to_vec());
    assert_eq!(talk.begin(pair), sends("RNFR a\r\nRNTO b"));
    assert_eq!(talk.says("550 what\r\n50"), []);
    assert!(!talk.pi.is_idle());
    let both = Outcome::Both(reply(550, "what"), reply(503, "RNFR first"));
    assert_eq!(talk.says("3 RNFR first\r\n"), [Output::Done(both)]);
    assert!(talk.pi.is_idle());
    let bad = Errand::Pair(b"SIZE a".to_vec(), b"MDTM a\r\nDELE a".to_vec());
    assert_eq!(talk.pi.begin(talk.now, bad), Err(BadText));
}

#[test]
fn a_survey_asks_for_what_the_server_has() {
    let mut talk = Talk::new();
    assert_eq!(talk.begin(Errand::Survey), sends("FEAT"));
    let feat = "211-Features\r\n UTF8\r\n CLNT\r\n MLST type*;size;modify*;\r\n REST STREAM\r\n211 End\r\n";
    assert_eq!(talk.says(feat), sends("CLNT Pasarela"));
    assert_eq!(talk.says("200 ok\r\n"), sends("OPTS UTF8 ON"));
    assert_eq!(
        talk.says("200 ok\r\n"),
        sends("OPTS MLST type;size;modify;perm;unique;UNIX.mode;UNIX.uid;UNIX.gid;")
    );
    assert_eq!(talk.says("200 ok\r\n"), sends("TYPE I"));
    assert_eq!(talk.says("200 ok\r\n"), sends("PWD"));
    let out = talk.says("257 \"/a \"\"b\"\"\" is current\r\n");
    let [Output::Done(Outcome::Surveyed(features))] = &out[..] else {
        panic!("{out:?}");
    };
    assert!(features.utf8 && features.has("MLST"));
    assert_eq!(features.parameters("REST"), Some("STREAM"));
    assert_eq!(features.home.as_deref(), Some(&b"/a \"b\""[..]));
}

#[test]
fn a_server_that_may_say_who_it_is_is_asked() {
    for (reply, name) in [
        (
            "200 Version=1.2; Name=Some Server; DirSep=/;\r\n",
            Some("Some Server"),
        ),
        ("200 Noted.\r\n", None),
        ("500 Name=X\r\n", None),
    ] {
        let mut talk = Talk::new();
        talk.begin(Errand::Survey);
        let feat = "211-Features\r\n CLNT\r\n CSID\r\n MLST type;\r\n211 End\r\n";
        assert_eq!(talk.says(feat), sends("CSID Name=Pasarela;"));
        let facts = talk.says(reply);
        assert_eq!(
            facts,
            sends("OPTS MLST type;size;modify;perm;unique;UNIX.mode;UNIX.uid;UNIX.gid;")
        );
        assert_eq!(talk.says("200 ok\r\n"), sends("TYPE I"));
        assert_eq!(talk.says("200 ok\r\n"), sends("PWD"));
        let out = talk.says("257 \"/\" is current\r\n");
        let [Output::Done(Outcome::Surveyed(features))] = &out[..] else {
            panic!("{out:?}");
        };
        assert_eq!(features.software.as_deref(), name, "{reply}");
    }
}

#[test]
fn a_server_without_features_is_asked_for_its_system() {
    let mut talk = Talk::new();
    talk.begin(Errand::Survey);
    assert_eq!(talk.says("500 what\r\n"), sends("SYST"));
    assert_eq!(talk.says("215 UNIX Type: L8\r\n"), sends("TYPE I"));
    assert_eq!(talk.says("200 ok\r\n"), sends("PWD"));
    let out = talk.says("550 no\r\n");
    let [Output::Done(Outcome::Surveyed(features))] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(features.system.as_deref(), Some(&b"UNIX Type: L8"[..]));
    assert_eq!(features.home, None);
}

#[test]
fn features_are_read_with_and_without_the_space() {
    for (indent, quirks) in [(" ", &[][..]), ("", &[Quirk::FeaturesUnindented][..])] {
        let mut talk = Talk::new();
        talk.begin(Errand::Survey);
        let out = talk.says(format!("211-Features\r\n{indent}utf8\r\n211 End\r\n"));
        assert_eq!(out, sends("OPTS UTF8 ON"));
        assert_eq!(talk.met, quirks);
    }
}

#[test]
fn extended_passive_takes_any_delimiter_and_a_missing_last_one() {
    for (text, is_odd) in [
        ("229 Entering Extended Passive Mode (|||6446|)", false),
        ("229 ok (!!!6446!)", false),
        ("229 Extended Passive Mode OK (|||6446)", true),
        ("229 |||6446|", false),
        ("229 (|1|10.0.0.1|6446|)", true),
        ("229 (|2|fe80::1|6446|).", true),
    ] {
        let (out, met) = Talk::passive(Form::Extended, &format!("{text}\r\n"));
        assert_eq!(out, waits_at(6446), "{text}");
        assert_eq!(!met.is_empty(), is_odd, "{text}");
    }
    for bad in [
        "(|||0|)",
        "(|||65536|)",
        "(||||)",
        "no numbers",
        "(|||-1|)",
        "(|||)",
        "",
    ] {
        let (out, _) = Talk::passive(Form::Extended, &format!("229 {bad}\r\n"));
        assert!(
            matches!(out[..], [Output::Done(Outcome::Refused(_))]),
            "{bad}: {out:?}"
        );
    }
}

#[test]
fn passive_needs_no_brackets() {
    for (text, quirk) in [
        ("Entering Passive Mode (10,1,2,3,25,46).", None),
        (
            "Entering Passive Mode 10,1,2,3,25,46",
            Some(Quirk::PassiveWithoutBrackets),
        ),
        ("=10, 1, 2, 3, 25, 46", Some(Quirk::PassiveWithoutBrackets)),
        ("Mode 2 on (10,1,2,3,25,46)", None),
    ] {
        let (out, met) = Talk::passive(Form::Plain, &format!("227 {text}\r\n"));
        let [Output::Done(Outcome::Passive(endpoint))] = out[..] else {
            panic!("{text}: {out:?}");
        };
        assert_eq!(endpoint.port, 6446);
        assert_eq!(endpoint.told, Some("10.1.2.3".parse().unwrap()));
        assert_eq!(met.first().copied(), quirk, "{text}");
    }
}

#[test]
fn passive_with_numbers_over_255_or_too_few_is_an_error() {
    for bad in [
        "(256,1,2,3,25,46)",
        "(10,1,2,3,256,1)",
        "(10,1,2,3,25)",
        "(10,1,2,3,25,46,1)",
        "(10,1,2,3,0,0)",
        "(99999999999999999999,1,2,3,4,5)",
        "(,,,,,)",
        "",
    ] {
        let (out, _) = Talk::passive(Form::Plain, &format!("227 {bad}\r\n"));
        assert!(
            matches!(out[..], [Output::Done(Outcome::Refused(_))]),
            "{bad}: {out:?}"
        );
    }
}

#[test]
fn extended_passive_may_be_answered_as_passive() {
    let (out, met) = Talk::passive(Form::Extended, "227 ok (10,1,2,3,25,46)\r\n");
    assert!(matches!(out[..], [Output::Done(Outcome::Passive(_))]), "{out:?}");
    assert_eq!(met, [Quirk::PassiveForExtendedPassive]);
}

#[test]
fn a_transfer_has_a_preliminary_and_a_last_reply() {
    for code in [125, 150] {
        let mut talk = Talk::new();
        assert_eq!(talk.begin(retrieve(Some(7))), sends("REST 7"));
        assert_eq!(talk.says("350 ok\r\n"), sends("RETR a"));
        assert_eq!(
            talk.says(format!("{code} here\r\n")),
            [Output::Began(reply(code, "here"))]
        );
        assert_eq!(talk.after(10_000), [], "data may flow for hours");
        talk.pi.handle_data_ended(talk.now);
        assert_eq!(talk.after(59), []);
        assert_eq!(talk.says("226 done\r\n"), done(226, "done"));
        assert!(talk.pi.is_idle());
    }
}

#[test]
fn the_last_reply_may_come_before_the_data_ends() {
    let mut talk = Talk::new();
    talk.begin(retrieve(None));
    let out = talk.says("150 here\r\n226 done\r\n");
    assert!(
        matches!(out[..], [Output::Began(_), Output::Done(Outcome::Done(_))]),
        "{out:?}"
    );
}

#[test]
fn the_last_reply_has_a_deadline_from_the_end_of_the_data() {
    let mut talk = Talk::new();
    talk.begin(retrieve(None));
    talk.says("150 here\r\n");
    talk.pi.handle_data_ended(talk.now);
    assert_eq!(talk.after(60), failed(Fault::Silent));
}

#[test]
fn a_refused_transfer_never_begins() {
    let mut talk = Talk::new();
    talk.begin(retrieve(None));
    assert_eq!(talk.says("550 no such file\r\n"), refused(550, "no such file"));
    let mut talk = Talk::new();
    talk.begin(retrieve(Some(1)));
    assert_eq!(talk.says("502 no REST\r\n"), refused(502, "no REST"));
}

#[test]
fn two_hundred_instead_of_one_fifty_begins_a_transfer() {
    let mut talk = Talk::new();
    talk.begin(retrieve(None));
    assert_eq!(talk.says("200 here\r\n"), [Output::Began(reply(200, "here"))]);
    assert_eq!(talk.says("226 done\r\n"), done(226, "done"));
    assert_eq!(talk.met, [Quirk::DoneInsteadOfPreliminary]);
}

#[test]
fn restart_may_be_answered_by_200() {
    let mut talk = Talk::new();
    talk.begin(retrieve(Some(3)));
    assert_eq!(talk.says("200 ok\r\n"), sends("RETR a"));
    assert_eq!(talk.met, [Quirk::RestartDone]);
}

#[test]
fn a_second_226_is_not_the_answer_to_the_next_command() {
    for before in [true, false] {
        let mut talk = Talk::new();
        talk.begin(retrieve(None));
        talk.says("150 here\r\n226 done\r\n");
        if before {
            assert_eq!(talk.says("226 done\r\n"), []);
        }
        talk.begin(Errand::Command(b"SIZE a".to_vec()));
        if !before {
            assert_eq!(talk.says("226 done\r\n"), []);
        }
        assert_eq!(talk.says("213 5\r\n"), done(213, "5"));
        assert_eq!(talk.met, [Quirk::SecondEndOfTransfer]);
    }
}

#[test]
fn replies_that_nobody_asked_for_end_the_connection() {
    let mut talk = Talk::new();
    assert_eq!(talk.says("230 ok\r\n"), failed(Fault::Unasked(reply(230, "ok"))));
    let mut talk = Talk::new();
    assert_eq!(talk.says("226 a\r\n226 b\r\n226 c\r\n").len(), 1);
}

#[test]
fn goodbye_is_heard_when_idle_and_when_busy() {
    let mut talk = Talk::new();
    assert_eq!(
        talk.says("421 idle\r\n"),
        failed(Fault::Goodbye(reply(421, "idle")))
    );
    let mut talk = Talk::new();
    talk.begin(Errand::Greeting);
    assert_eq!(
        talk.says("421 too many\r\n"),
        failed(Fault::Goodbye(reply(421, "too many")))
    );
}

#[test]
fn abor_is_answered_once_or_twice() {
    for replies in [
        "226 aborted\r\n",
        "225 nothing\r\n",
        "426 cut\r\n226 aborted\r\n",
        "500 what\r\n",
    ] {
        let mut talk = Talk::new();
        talk.begin(retrieve(None));
        talk.says("150 here\r\n");
        assert_eq!(talk.begin(Errand::Abort), sends("ABOR"));
        let out = talk.says(replies);
        assert!(matches!(out[..], [Output::Done(_)]), "{replies}: {out:?}");
    }
}

#[test]
fn the_end_of_the_connection_fails_what_is_open() {
    let mut talk = Talk::new();
    talk.begin(Errand::Command(b"NOOP".to_vec()));
    talk.pi.handle_end_of_input(talk.now);
    assert_eq!(talk.drain(), failed(Fault::Closed));
    assert_eq!(talk.begin(Errand::Quit), failed(Fault::Closed));
}

#[test]
fn nothing_a_server_says_panics() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let words: [&[u8]; 16] = [
        b"220",
        b"-",
        b" ",
        b"\r\n",
        b"\n",
        b"\xff\xf4",
        b"\xff",
        b"226 ",
        b"421",
        b"(|||",
        b"1,2,3,4,5,6",
        b"\"",
        b"\"\"",
        b"\0",
        b"150 x\r\n",
        b"211-\r\n",
    ];
    for round in 0..2000 {
        let mut talk = Talk::new();
        let errands = [
            Errand::Greeting,
            Errand::Survey,
            Errand::Passive(Form::Plain),
            Errand::Passive(Form::Extended),
            retrieve(Some(1)),
            Errand::Abort,
        ];
        talk.begin(errands[round % errands.len()].clone());
        for _ in 0..30 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            talk.says(words[usize::try_from(state % 16).unwrap()]);
        }
        talk.after(100);
    }
}
