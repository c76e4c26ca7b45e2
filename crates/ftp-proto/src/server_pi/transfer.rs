//! Transfers: their parameters, their endpoint, and the one final reply that each of them gets.

use std::net::SocketAddr;
use std::time::Instant;

use super::ask::{Action, Ask, Done, Form, Opened, Representation, Span, StatusPage, Transfer, ipv4};
use super::{Output, Refusal, ServerPi, Waiting, replies};
use crate::command::{ExtendedPassive, Mode, RepresentationType, Structure};
use crate::listing::options;

/// What holds until it is changed, and what holds for the next transfer only.
#[derive(Debug)]
pub(super) struct Parameters {
    kind: RepresentationType,
    structure: Structure,
    mode: Mode,
    level: u8,
    extended_only: bool,
    endpoint: Option<Told>,
    restart: u64,
    range: Option<Span>,
    announced: Option<u64>,
}

/// What the client and we have told each other of an endpoint. STAT repeats it, so that a client can see whether somebody
/// on the way has changed it.
#[derive(Debug)]
enum Told {
    Passive(SocketAddr),
    ExtendedPassive(u16),
    Active(SocketAddr),
}

impl Told {
    fn describe(&self) -> String {
        match self {
            Self::Passive(at) => format!("A data endpoint is open: {} port {}", at.ip(), at.port()),
            Self::ExtendedPassive(port) => format!("A data endpoint is open: port {port}"),
            Self::Active(to) => format!(
                "Data connections go to {} port {}",
                to.ip().to_canonical(),
                to.port()
            ),
        }
    }
}

impl Default for Parameters {
    /// RFC 959 §5.1: ASCII Non-print, Stream, File.
    fn default() -> Self {
        Self {
            kind: RepresentationType::Ascii,
            structure: Structure::File,
            mode: Mode::Stream,
            level: 6,
            extended_only: false,
            endpoint: None,
            restart: 0,
            range: None,
            announced: None,
        }
    }
}

impl Parameters {
    pub(super) fn has_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    pub(super) fn is_ascii(&self) -> bool {
        self.kind == RepresentationType::Ascii
    }

    pub(super) fn set_level(&mut self, level: u8) {
        self.level = level;
    }

    /// The range that HASH covers.
    pub(super) fn take_range(&mut self) -> Span {
        self.range.take().unwrap_or_default()
    }

    pub(super) fn describe(&self) -> String {
        let kind = if self.is_ascii() { "ASCII" } else { "Image" };
        let structure = if self.structure == Structure::File {
            "File"
        } else {
            "Record"
        };
        let mode = if self.mode == Mode::Stream {
            "Stream"
        } else {
            "Deflate"
        };
        format!("TYPE: {kind}; STRUcture: {structure}; transfer MODE: {mode}")
    }
}

impl ServerPi {
    pub(super) fn set_type(&mut self, kind: RepresentationType) {
        self.parameters.kind = kind;
        if self.parameters.is_ascii() {
            self.forget_offset();
        }
        self.reply(if self.parameters.is_ascii() {
            replies::TYPE_ASCII
        } else {
            replies::TYPE_IMAGE
        });
    }

    fn forget_offset(&mut self) {
        self.parameters.restart = 0;
        self.parameters.range = None;
    }

    pub(super) fn set_structure(&mut self, structure: Structure) {
        self.parameters.structure = structure;
        self.reply(replies::STRU);
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.parameters.mode = mode;
        self.reply(replies::MODE);
    }

    pub(super) fn passive(&mut self, form: Form) {
        if self.parameters.extended_only && form == Form::Pasv {
            return self.reply(replies::EXTENDED_ONLY);
        }
        if self.login.protects_data() && !self.security.data_is_protected() {
            return self.reply(replies::PROT_FIRST);
        }
        self.release();
        let slip = self.slips.issue();
        let protected = self.security.data_is_protected();
        self.ask(Waiting::Passive(form), Ask::Passive(slip, form, protected));
    }

    /// RFC 2428 §3 and §4.
    pub(super) fn extended_passive(&mut self, argument: ExtendedPassive) {
        let is_ipv4 = self.profile.peer.to_canonical().is_ipv4();
        match argument {
            ExtendedPassive::All => {
                self.parameters.extended_only = true;
                self.reply(replies::EPSV_ALL);
            }
            ExtendedPassive::Ipv4 if !is_ipv4 => self.reply(replies::EPSV_ONLY_IPV6),
            ExtendedPassive::Ipv6 if is_ipv4 => self.reply(replies::EPSV_ONLY_IPV4),
            _ => self.passive(Form::Epsv),
        }
    }

    pub(super) fn passive_answered(&mut self, form: Form, answer: Result<SocketAddr, Refusal>) {
        match (form, answer) {
            (Form::Epsv, Ok(address)) => {
                self.parameters.endpoint = Some(Told::ExtendedPassive(address.port()));
                self.reply(replies::extended_passive(address.port()));
            }
            (Form::Pasv, Ok(address)) => match ipv4(address) {
                Some(address) => {
                    self.parameters.endpoint = Some(Told::Passive(address.into()));
                    self.reply(replies::passive(address));
                }
                None => {
                    self.out.push_back(Output::Release);
                    self.reply(replies::no_endpoint(&Refusal::Unreachable(
                        "no IPv4 address; use EPSV".into(),
                    )));
                }
            },
            (_, Err(refusal)) => self.reply(replies::no_endpoint(&refusal)),
        }
    }

    /// RFC 2577 §3: only to the control connection's own peer, and to no well-known port.
    pub(super) fn active(&mut self, address: SocketAddr) {
        if self.parameters.extended_only {
            return self.reply(replies::EXTENDED_ONLY);
        }
        if !self.profile.active {
            return self.reply(replies::NO_ACTIVE_MODE);
        }
        if address.ip().to_canonical() != self.profile.peer.to_canonical() || address.port() < 1024 {
            return self.reply(replies::NOT_YOUR_ADDRESS);
        }
        if self.login.protects_data() && !self.security.data_is_protected() {
            return self.reply(replies::PROT_FIRST);
        }
        self.release();
        let slip = self.slips.issue();
        self.ask(Waiting::Active(address), Ask::Active(slip, address));
    }

    pub(super) fn active_answered(&mut self, address: SocketAddr, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => {
                self.parameters.endpoint = Some(Told::Active(address));
                self.reply(replies::ACTIVE);
            }
            Err(refusal) => self.reply(replies::no_endpoint(&refusal)),
        }
    }

    /// RFC 3659 §5. In TYPE A the marker would count bytes that are not on disk.
    pub(super) fn restart(&mut self, offset: u64) {
        if offset > 0 && self.parameters.is_ascii() {
            return self.reply(replies::REST_IN_ASCII);
        }
        self.parameters.restart = offset;
        self.parameters.range = None;
        self.reply(replies::restarting_at(offset));
    }

    pub(super) fn range(&mut self, first: u64, last: Option<u64>) {
        if self.parameters.is_ascii() {
            return self.reply(replies::REST_IN_ASCII);
        }
        self.parameters.restart = 0;
        self.parameters.range = Some(Span {
            first,
            end: last.map(|last| last + 1),
        });
        self.reply(replies::range(first, last));
    }

    pub(super) fn range_reset(&mut self) {
        self.parameters.range = None;
        self.parameters.restart = 0;
        self.reply(replies::RANGE_RESET);
    }

    pub(super) fn allocate(&mut self, size: u64) {
        self.parameters.announced = Some(size);
        self.file(super::FileOp::Allocate(size));
    }

    /// ALLO was refused, so what it announced is not expected.
    pub(super) fn forget_announced(&mut self) {
        self.parameters.announced = None;
    }

    pub(super) fn retrieve(&mut self, path: Vec<u8>) {
        let offset = std::mem::take(&mut self.parameters.restart);
        let span = self.parameters.range.take().unwrap_or(Span {
            first: offset,
            end: None,
        });
        self.begin(Action::Retrieve { path, span });
    }

    pub(super) fn store(&mut self, path: Vec<u8>) {
        let announced = self.parameters.announced.take();
        if self.parameters.range.take().is_some() {
            return self.reply(replies::NO_RANGE_HERE);
        }
        let offset = std::mem::take(&mut self.parameters.restart);
        self.begin(Action::Store {
            path,
            offset,
            announced,
        });
    }

    pub(super) fn store_unique(&mut self, path: Option<Vec<u8>>) {
        let announced = self.parameters.announced.take();
        if self.takes_no_offset() {
            return;
        }
        self.begin(Action::StoreUnique { path, announced });
    }

    pub(super) fn append(&mut self, path: Vec<u8>) {
        let announced = self.parameters.announced.take();
        if self.takes_no_offset() {
            return;
        }
        self.begin(Action::Append { path, announced });
    }

    /// APPE and STOU say by themselves where the bytes go; an offset beside them has no meaning.
    fn takes_no_offset(&mut self) -> bool {
        let range = self.parameters.range.take();
        let refused = std::mem::take(&mut self.parameters.restart) > 0 || range.is_some();
        if refused {
            self.reply(replies::NO_REST_HERE);
        }
        refused
    }

    pub(super) fn list(&mut self, argument: &[u8], long: bool) {
        self.forget_offset();
        let (options, path) = options::split(argument);
        let names = if long {
            options.names && !options.long
        } else {
            !options.long
        };
        self.begin(Action::List {
            options,
            names,
            path: path.to_vec(),
        });
    }

    pub(super) fn list_facts(&mut self, path: Option<Vec<u8>>) {
        self.forget_offset();
        let facts = self.facts;
        self.begin(Action::ListFacts {
            path: path.unwrap_or_default(),
            facts,
        });
    }

    /// Everything that can refuse a transfer does so before its 150.
    fn begin(&mut self, action: Action) {
        self.parameters.announced = None;
        if self.login.protects_data() && !self.security.data_is_protected() {
            return self.reply(replies::PROT_FIRST);
        }
        if self.parameters.endpoint.is_none() {
            return self.reply(replies::NO_ENDPOINT_YET);
        }
        let is_listing = matches!(action, Action::List { .. } | Action::ListFacts { .. });
        let representation = Representation {
            kind: self.parameters.kind,
            structure: if is_listing {
                Structure::File
            } else {
                self.parameters.structure
            },
            mode: self.parameters.mode,
            level: self.parameters.level,
        };
        let transfer = Transfer {
            action,
            representation,
            protected: self.security.data_is_protected(),
        };
        let slip = self.slips.issue();
        self.ask(Waiting::Open(transfer.clone()), Ask::Open(slip, transfer));
    }

    pub(super) fn opened(&mut self, now: Instant, transfer: Transfer, answer: Result<Opened, Refusal>) {
        match answer {
            Ok(opened) => {
                self.parameters.endpoint = None;
                self.reply(replies::opening(&transfer, &opened));
                let slip = self.slips.issue();
                self.ask(Waiting::Run { transfer, began: now }, Ask::Run(slip));
            }
            // The endpoint stays: a client may try another name over the connection that it has made.
            Err(refusal) => self.reply(replies::transfer_refused(&transfer, &refusal)),
        }
    }

    pub(super) fn done(&mut self, transfer: &Transfer, answer: Result<Done, Refusal>) {
        match answer {
            Ok(done) => self.reply(replies::transfer_complete(transfer, done)),
            Err(refusal) => self.reply(replies::transfer_failed(&refusal)),
        }
    }

    /// ABOR while a transfer is open: RFC 959 §4.1.3, 426 for it and 226 for ABOR.
    pub(super) fn abort(&mut self) {
        self.slips.void();
        self.out.push_back(Output::Abort);
        self.parameters.endpoint = None;
        self.waiting = None;
        self.reply(replies::ABORTED);
        self.reply(replies::ABORT_DONE);
    }

    /// ABOR while nothing moves: an endpoint that is open is closed.
    pub(super) fn abort_idle(&mut self) {
        let had_endpoint = self.parameters.endpoint.is_some();
        self.release();
        self.reply(if had_endpoint {
            replies::ABORT_ENDPOINT
        } else {
            replies::ABORT_NOTHING
        });
    }

    pub(super) fn release(&mut self) {
        if self.parameters.endpoint.take().is_some() {
            self.out.push_back(Output::Release);
        }
    }

    /// STAT without an argument: RFC 959 §4.1.3, also in the middle of a transfer.
    pub(super) fn status_of_session(&mut self, now: Instant) {
        let protection = |on| if on { "TLS" } else { "in the clear" };
        let user = self.login.account().map_or_else(Vec::new, <[u8]>::to_vec);
        let mut lines = vec![
            format!("Connected from {}", self.profile.peer).into_bytes(),
            [b"Logged in as ".as_slice(), &user].concat(),
            self.parameters.describe().into_bytes(),
            format!(
                "Control connection {}, data connections {}",
                protection(self.security.control_is_protected()),
                protection(self.security.data_is_protected())
            )
            .into_bytes(),
        ];
        lines.push(match (&self.waiting, &self.parameters.endpoint) {
            (Some(Waiting::Run { transfer, began }), _) => {
                let seconds = now.saturating_duration_since(*began).as_secs();
                format!("{} in progress for {seconds} s", transfer.action.verb()).into_bytes()
            }
            (Some(_), _) => b"A command is being carried out".to_vec(),
            (None, Some(told)) => told.describe().into_bytes(),
            (None, None) => b"No data connection".to_vec(),
        });
        self.reply(replies::session_status(lines));
    }

    pub(super) fn status_of_path(&mut self, argument: &[u8]) {
        let (options, path) = options::split(argument);
        let slip = self.slips.issue();
        self.ask(
            Waiting::Status { begun: false },
            Ask::Status(slip, Some((options, path.to_vec()))),
        );
    }

    /// A listing over the control connection goes out page by page as one reply of many lines.
    pub(super) fn status_answered(&mut self, begun: bool, answer: Result<StatusPage, Refusal>) {
        let page = match answer {
            Ok(page) => page,
            Err(refusal) if begun => return self.reply(replies::listing_broken(&refusal)),
            Err(refusal) => return self.reply(replies::file_refused(&refusal)),
        };
        if !begun {
            self.reply_raw(replies::listing_begin());
        }
        if !page.lines.is_empty() {
            self.reply_raw(page.lines);
        }
        if page.more {
            let slip = self.slips.issue();
            self.ask(Waiting::Status { begun: true }, Ask::Status(slip, None));
        } else {
            self.reply(replies::LISTING_END);
        }
    }

    fn reply_raw(&mut self, bytes: bytes::Bytes) {
        self.out.push_back(Output::Send(bytes));
    }
}
