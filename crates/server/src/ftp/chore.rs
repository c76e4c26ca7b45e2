//! What the server-PI asks for, done: one arm an ask. A chore runs beside the connection, owns what it needs, and
//! comes back with the slip filled in and with what the connection keeps.

use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pasarela_dtp::{Controls, FileSource, Source};
use pasarela_ftp_proto::command::RepresentationType;
use pasarela_ftp_proto::server_pi::{
    Action, Answered, Ask, Credentials, Done, FileAnswer, FileOp, Form, LoggedIn, Opened, Pending, Refusal,
    Representation, StatusPage, Transfer,
};
use pasarela_ftp_proto::{ascii, listing};
use pasarela_reach::Want;
use pasarela_session::auth::Password;
use pasarela_session::limits::Admission;
use pasarela_session::{Account, Session};
use pasarela_store::{ErrorKind, File, Kind, Open, VirtualPath};
use pasarela_tls::{ServerTls, Tag};
use tokio::io::AsyncWriteExt;
use tracing::{debug, info, warn};

use super::data::DataConnection;
use super::list::{self, Lines};
use super::switchboard::{Direction, Endpoint, Expectation, PlaceId};
use super::{hash, refusal};
use crate::config::{DataPorts, RequireResumption, Settings, TlsMode};
use crate::service::Service;

/// The largest file that SIZE counts through in TYPE A.
const MAX_COUNTED: u64 = 16 * 1024 * 1024;
/// Names that STOU tries.
const MAX_UNIQUE: u32 = 1000;

/// A chore under way.
pub(crate) type Chore = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a chore comes back with.
pub(crate) enum Outcome {
    /// The answer, and what the connection keeps.
    Answer(Answered, Keep),
    /// An upload is complete and on its way to stable storage. It is published only if the control connection is
    /// still there, which its owner finds out now.
    Publish(Publish),
}

/// What the connection keeps of a chore.
pub(crate) enum Keep {
    /// Nothing.
    Nothing,
    /// The account that logged in.
    Login(Arc<Account>),
    /// The working directory.
    Directory(VirtualPath),
    /// Where the next data connection comes from.
    Endpoint(DataEndpoint),
    /// The endpoint of a transfer that was refused: the client may name another file.
    Returned(Option<DataEndpoint>),
    /// What the next [`Ask::Run`] runs.
    Prepared(Box<Prepared>),
    /// The rest of a listing over the control connection.
    Listing(Box<Lines>),
}

/// Where a data connection comes from.
pub(crate) enum DataEndpoint {
    /// The client connects.
    Passive(Endpoint),
    /// This server connects.
    Active(SocketAddr),
}

/// A transfer whose file is open.
pub(crate) struct Prepared {
    transfer: Transfer,
    what: What,
    path: Vec<u8>,
    endpoint: Option<DataEndpoint>,
}

enum What {
    Download(Arc<dyn File>, Range<u64>),
    Upload(Arc<dyn File>, Option<u64>),
    Listing(Box<Lines>),
}

/// An upload that waits to be published.
pub(crate) struct Publish {
    slip: Pending<Result<Done, Refusal>>,
    file: Arc<dyn File>,
    bytes: u64,
    log: TransferLog,
}

/// What every chore of one connection shares.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) service: Arc<Service>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) admission: Arc<Mutex<Admission>>,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) place: PlaceId,
    pub(crate) tag: Option<Tag>,
    pub(crate) session: Option<Session>,
    pub(crate) cwd: VirtualPath,
}

impl Context {
    fn session(&self) -> Result<&Session, Refusal> {
        // The server-PI asks for nothing of this before login.
        self.session.as_ref().ok_or(Refusal::PermissionDenied)
    }

    fn resolve(&self, typed: &[u8]) -> Result<VirtualPath, Refusal> {
        self.cwd.resolve(typed).map_err(refusal::of_path)
    }

    fn admission(&self) -> std::sync::MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// USER and PASS.
pub(crate) async fn log_in(
    context: Context,
    slip: Pending<Result<LoggedIn, Refusal>>,
    credentials: Credentials,
) -> Outcome {
    let Credentials {
        user,
        password,
        protected,
    } = credentials;
    let name = String::from_utf8_lossy(&user).escape_debug().to_string();
    let banned = context.admission().is_banned();
    let account = match banned {
        true => None,
        false => {
            context
                .settings
                .users
                .authenticate(&user, Password::new(password.0))
                .await
        }
    };
    let Some(account) = account else {
        let delay = context.admission().failed_login();
        info!(user = name, banned, "login failed");
        tokio::time::sleep(delay).await;
        return Outcome::Answer(slip.answer(Err(Refusal::WrongCredentials)), Keep::Nothing);
    };
    let needs_tls = context.settings.tls_mode != TlsMode::Off
        && account.tls == pasarela_session::account::TlsNeed::Required;
    if needs_tls && !protected {
        return Outcome::Answer(slip.answer(Err(Refusal::TlsRequired)), Keep::Nothing);
    }
    if let Err(turned) = context.admission().logged_in(&account) {
        info!(user = name, %turned, "login refused");
        return Outcome::Answer(slip.answer(Err(Refusal::TooManySessions)), Keep::Nothing);
    }
    info!(user = name, protected, "logged in");
    Outcome::Answer(
        slip.answer(Ok(LoggedIn {
            protect_data: needs_tls,
        })),
        Keep::Login(account),
    )
}

/// PASV and EPSV.
pub(crate) async fn passive(
    context: Context,
    slip: Pending<Result<SocketAddr, Refusal>>,
    form: Form,
    protected: bool,
) -> Outcome {
    let open = async {
        let expectation = Expectation {
            peer: context.peer.ip(),
            tag: context.tag,
            protected,
            places: context.service.data_places(context.place),
            may_use_second: !protected && context.settings.data_ports == DataPorts::Auto,
            require: context.settings.require_resumption,
        };
        let endpoint = context.service.switchboard()?.expect(expectation).await?;
        let want = Want {
            peer: context.peer.ip(),
            control: context.local,
            port: endpoint.port(),
            ipv4_only: form == Form::Pasv,
        };
        match context.settings.reach.passive_open(&want).await {
            Ok(announced) => {
                debug!(announce = %announced.announce, via = ?announced.via, "endpoint");
                Ok((announced.announce, endpoint))
            }
            Err(unreachable) => {
                warn!(%unreachable, "no endpoint");
                let why = unreachable
                    .0
                    .first()
                    .map_or_else(String::new, |(_, reason)| reason.to_string());
                Err(Refusal::Unreachable(why))
            }
        }
    };
    match open.await {
        Ok((announce, endpoint)) => Outcome::Answer(
            slip.answer(Ok(announce)),
            Keep::Endpoint(DataEndpoint::Passive(endpoint)),
        ),
        Err(refused) => Outcome::Answer(slip.answer(Err(refused)), Keep::Nothing),
    }
}

/// Everything that can refuse a transfer before a byte moves.
pub(crate) async fn open(
    context: Context,
    slip: Pending<Result<Opened, Refusal>>,
    transfer: Transfer,
    mut endpoint: Option<DataEndpoint>,
) -> Outcome {
    let verb = transfer.action.verb();
    let refused = match open_transfer(&context, &transfer).await {
        Ok((what, opened, path)) => match commanded(&mut endpoint, &transfer) {
            Ok(()) => {
                let prepared = Box::new(Prepared {
                    transfer,
                    what,
                    path,
                    endpoint,
                });
                return Outcome::Answer(slip.answer(Ok(opened)), Keep::Prepared(prepared));
            }
            Err(refused) => {
                endpoint = None;
                info!(verb, ?refused, "transfer refused");
                refused
            }
        },
        Err(refused) => {
            if let Some(DataEndpoint::Passive(endpoint)) = &endpoint {
                endpoint.idle();
            }
            debug!(verb, ?refused, "transfer refused");
            refused
        }
    };
    Outcome::Answer(slip.answer(Err(refused)), Keep::Returned(endpoint))
}

fn commanded(endpoint: &mut Option<DataEndpoint>, transfer: &Transfer) -> Result<(), Refusal> {
    match endpoint {
        Some(DataEndpoint::Passive(endpoint)) => endpoint.command(direction(transfer)),
        Some(DataEndpoint::Active(_)) => Ok(()),
        None => Err(Refusal::NoDataConnection(
            "the endpoint is gone; ask for another one".into(),
        )),
    }
}

fn direction(transfer: &Transfer) -> Direction {
    if transfer.action.is_upload() {
        Direction::Up
    } else {
        Direction::Down
    }
}

async fn open_transfer(context: &Context, transfer: &Transfer) -> Result<(What, Opened, Vec<u8>), Refusal> {
    let session = context.session()?;
    let open_file =
        async |path: &VirtualPath, how| session.open(path, how).await.map_err(|e| refusal::of_session(&e));
    match &transfer.action {
        Action::Retrieve { path, span } => {
            let path = context.resolve(path)?;
            let file = open_file(&path, Open::Read).await?;
            let size = file.size().await.map_err(|error| refusal::of_store(&error))?;
            let end = span.end.map_or(size, |end| end.min(size));
            if span.first > size || (span.end.is_some() && span.first >= end) {
                return Err(Refusal::PastEnd);
            }
            let exact = transfer.representation.kind == RepresentationType::Image;
            let opened = Opened {
                size: exact.then_some(end - span.first),
                name: None,
            };
            Ok((What::Download(file, span.first..end), opened, path.to_bytes()))
        }
        Action::Store {
            path,
            offset,
            announced,
        } => {
            let path = context.resolve(path)?;
            let how = if *offset == 0 {
                Open::Replace
            } else {
                Open::Resume { offset: *offset }
            };
            let file = open_file(&path, how).await?;
            Ok((What::Upload(file, *announced), Opened::default(), path.to_bytes()))
        }
        Action::Append { path, announced } => {
            let path = context.resolve(path)?;
            let file = open_file(&path, Open::Append).await?;
            Ok((What::Upload(file, *announced), Opened::default(), path.to_bytes()))
        }
        Action::StoreUnique { path, announced } => {
            let (name, path, file) =
                open_unique(context, session, path.as_deref().unwrap_or(b"upload")).await?;
            let opened = Opened {
                size: None,
                name: Some(name),
            };
            Ok((What::Upload(file, *announced), opened, path.to_bytes()))
        }
        Action::List { options, names, path } => {
            let form = if *names {
                list::Form::Names
            } else {
                list::Form::Long
            };
            let lines = Lines::open(session.clone(), &context.cwd, path, *options, form).await?;
            Ok((What::Listing(Box::new(lines)), Opened::default(), path.clone()))
        }
        Action::ListFacts { path, facts } => {
            let form = list::Form::Facts(*facts);
            let options = listing::options::Options::default();
            let lines = Lines::open(session.clone(), &context.cwd, path, options, form).await?;
            Ok((What::Listing(Box::new(lines)), Opened::default(), path.clone()))
        }
    }
}

/// STOU: the name itself if it is free, else with a number behind it.
async fn open_unique(
    context: &Context,
    session: &Session,
    base: &[u8],
) -> Result<(Vec<u8>, VirtualPath, Arc<dyn File>), Refusal> {
    for number in 0..MAX_UNIQUE {
        let mut name = base.to_vec();
        if number > 0 {
            name.extend_from_slice(format!(".{number}").as_bytes());
        }
        let path = context.resolve(&name)?;
        match session.open(&path, Open::CreateNew).await {
            Ok(file) => return Ok((name, path, file)),
            Err(pasarela_session::Error::Store(error)) if error.kind == ErrorKind::Exists => {}
            Err(error) => return Err(refusal::of_session(&error)),
        }
    }
    Err(Refusal::Exists)
}

/// The bytes of a transfer.
pub(crate) async fn run(
    context: Context,
    slip: Pending<Result<Done, Refusal>>,
    prepared: Prepared,
) -> Outcome {
    let Prepared {
        transfer,
        what,
        path,
        endpoint,
    } = prepared;
    let mut log = TransferLog::begin(&transfer, &path);
    let direction = direction(&transfer);
    let moved = async {
        let mut data = connect(&context, endpoint, transfer.protected, direction).await?;
        let session = context.session()?;
        let controls = Controls {
            pace: session.pace(),
            stall: context.settings.limits.stall,
        };
        let how = &transfer.representation;
        match what {
            What::Download(file, span) => {
                let mut source = FileSource::new(&*file, span);
                send(&mut source, how, data, &controls)
                    .await
                    .map(|bytes| (bytes, None))
            }
            What::Listing(mut lines) => send(&mut *lines, how, data, &controls)
                .await
                .map(|bytes| (bytes, None)),
            What::Upload(file, announced) => {
                let result = pasarela_dtp::receive(&mut data, how, &*file, &controls).await;
                let bytes = result.map_err(|error| refusal::of_transfer(&error))?;
                let is_counted = how.kind == RepresentationType::Image;
                if is_counted && announced.is_some_and(|size| bytes < size && file.start() + bytes < size) {
                    return Err(Refusal::Short);
                }
                // Tickets that were held back go out with close_notify, now that nothing more will come. A client
                // that has left already loses nothing by not hearing it.
                if let Err(error) = data.finish().await {
                    debug!(%error, "the client closed first");
                }
                data.linger();
                file.prepare().await.map_err(|error| refusal::of_store(&error))?;
                Ok((bytes, Some(file)))
            }
        }
    };
    match moved.await {
        Ok((bytes, Some(file))) => Outcome::Publish(Publish {
            slip,
            file,
            bytes,
            log,
        }),
        Ok((bytes, None)) => {
            log.end(bytes);
            Outcome::Answer(slip.answer(Ok(Done { bytes })), Keep::Nothing)
        }
        Err(refused) => {
            log.fail(&refused);
            Outcome::Answer(slip.answer(Err(refused)), Keep::Nothing)
        }
    }
}

async fn send(
    source: &mut dyn Source,
    how: &Representation,
    mut data: DataConnection,
    controls: &Controls,
) -> Result<u64, Refusal> {
    let bytes = pasarela_dtp::send(source, how, &mut data, controls)
        .await
        .map_err(|e| refusal::of_transfer(&e))?;
    match tokio::time::timeout(controls.stall, data.finish()).await {
        Ok(Ok(())) => {
            data.linger();
            Ok(bytes)
        }
        Ok(Err(_)) => Err(Refusal::ConnectionBroken),
        Err(_) => Err(Refusal::Stalled),
    }
}

/// The last step of an upload; the control connection was alive a moment ago.
pub(crate) async fn publish(publish: Publish) -> Outcome {
    let Publish {
        slip,
        file,
        bytes,
        mut log,
    } = publish;
    let answer = match file.publish().await {
        Ok(()) => {
            log.end(bytes);
            Ok(Done { bytes })
        }
        Err(error) => {
            let refused = refusal::of_store(&error);
            log.fail(&refused);
            Err(refused)
        }
    };
    Outcome::Answer(slip.answer(answer), Keep::Nothing)
}

async fn connect(
    context: &Context,
    endpoint: Option<DataEndpoint>,
    protected: bool,
    direction: Direction,
) -> Result<DataConnection, Refusal> {
    let settings = &context.settings;
    let stream = match endpoint {
        None => return Err(Refusal::NoDataConnection("the endpoint is gone".into())),
        Some(DataEndpoint::Passive(endpoint)) => match (endpoint.accept().await?, &settings.tls, context.tag)
        {
            (DataConnection::Protected(stream, issued), Some(tls), Some(owner)) => {
                return Ok(admit(tls, owner, stream, issued, settings, direction).await);
            }
            (connection, ..) => return Ok(connection),
        },
        Some(DataEndpoint::Active(to)) => {
            let patience = settings.limits.data_connection;
            DataConnection::connect(context.local.ip(), to, patience)
                .await
                .map_err(|error| {
                    Refusal::NoDataConnection(format!(
                        "connecting to your port {} failed: {}",
                        to.port(),
                        error.kind()
                    ))
                })?
        }
    };
    match (&settings.tls, context.tag) {
        _ if !protected => Ok(DataConnection::Plain(stream)),
        (Some(tls), Some(owner)) => protect(tls, owner, stream, settings, direction).await,
        _ => Err(Refusal::DataTls),
    }
}

/// RFC 4217 §7: the server of the control connection is the server of the handshake, whoever connected.
async fn protect(
    tls: &ServerTls,
    owner: Tag,
    stream: tokio::net::TcpStream,
    settings: &Settings,
    direction: Direction,
) -> Result<DataConnection, Refusal> {
    let handshake = tokio::time::timeout(settings.limits.tls_handshake, tls.accept_data(stream));
    let accepted = handshake.await.map_err(|_| Refusal::DataTls)?.map_err(|error| {
        debug!(%error, "handshake of a data connection");
        Refusal::DataTls
    })?;
    let proved = accepted.resumed == Some(owner);
    let admitted = proved
        || match settings.require_resumption {
            RequireResumption::Never => true,
            RequireResumption::WhenOffered => accepted.resumed.is_none(),
            RequireResumption::Always => false,
        };
    if !admitted {
        return Err(Refusal::NotResumed);
    }
    Ok(admit(
        tls,
        owner,
        Box::new(accepted.stream),
        accepted.issued,
        settings,
        direction,
    )
    .await)
}

/// The tickets of an admitted data connection prove its session from now on. On uploads they are held back until
/// everything has come (a client that closes with unread tickets resets the connection and loses the tail),
/// unless no data connection does without one: clients that use a ticket once would have none for the next.
async fn admit(
    tls: &ServerTls,
    owner: Tag,
    mut stream: Box<pasarela_tls::Stream>,
    issued: Tag,
    settings: &Settings,
    direction: Direction,
) -> DataConnection {
    tls.admit(issued, owner);
    if direction == Direction::Down || settings.require_resumption == RequireResumption::Always {
        stream.release_tickets();
        // If they cannot be sent, no byte of the file can; that is told there.
        let _ = stream.flush().await;
    }
    DataConnection::Protected(stream, issued)
}

/// Every verb that touches files but is no transfer.
pub(crate) async fn file(
    context: Context,
    slip: Pending<Result<FileAnswer, Refusal>>,
    op: FileOp,
) -> Outcome {
    match file_op(&context, &op).await {
        Ok((answer, keep)) => Outcome::Answer(slip.answer(Ok(answer)), keep),
        Err(refused) => {
            debug!(?op, ?refused, "refused");
            Outcome::Answer(slip.answer(Err(refused)), Keep::Nothing)
        }
    }
}

async fn file_op(context: &Context, op: &FileOp) -> Result<(FileAnswer, Keep), Refusal> {
    let session = context.session()?;
    let of_session = |error: pasarela_session::Error| refusal::of_session(&error);
    let answer = match op {
        FileOp::ChangeDirectory(path) => return change_directory(session, context.resolve(path)?).await,
        FileOp::ChangeToParent => return change_directory(session, context.resolve(b"..")?).await,
        FileOp::MakeDirectory(path) => {
            let path = context.resolve(path)?;
            session.make_dir(&path).await.map_err(of_session)?;
            FileAnswer::At(path.to_bytes())
        }
        FileOp::RemoveDirectory(path) => {
            session
                .remove_dir(&context.resolve(path)?)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Delete(path) => {
            session
                .remove_file(&context.resolve(path)?)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::RenameFrom(path) => {
            let path = context.resolve(path)?;
            if path.is_root() {
                return Err(Refusal::PermissionDenied);
            }
            session.stat_entry(&path).await.map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Rename { from, to } => {
            let (from, to) = (context.resolve(from)?, context.resolve(to)?);
            session.rename(&from, &to).await.map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Size { path, ascii } => size(session, &context.resolve(path)?, *ascii).await?,
        FileOp::Modified(path) => {
            let found = session.stat(&context.resolve(path)?).await.map_err(of_session)?;
            if found.kind != Kind::File {
                return Err(Refusal::NotAFile);
            }
            FileAnswer::Time(found.modified)
        }
        FileOp::SetModified { path, modified } => {
            session
                .set_modified(&context.resolve(path)?, *modified)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::SetFacts { path, modified, mode } => {
            let path = context.resolve(path)?;
            if let Some(mode) = mode {
                session.set_mode(&path, *mode).await.map_err(of_session)?;
            }
            if let Some(modified) = modified {
                session.set_modified(&path, *modified).await.map_err(of_session)?;
            }
            FileAnswer::Done
        }
        FileOp::SetMode { path, mode } => {
            session
                .set_mode(&context.resolve(path)?, *mode)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::MakeLink { target, link } => {
            session
                .make_link(target, &context.resolve(link)?)
                .await
                .map_err(of_session)?;
            FileAnswer::Done
        }
        FileOp::Facts { path, facts } => {
            let path = path
                .as_deref()
                .map_or_else(|| Ok(context.cwd.clone()), |path| context.resolve(path))?;
            let found = session.stat(&path).await.map_err(of_session)?;
            let name = path.to_bytes();
            let mut line = Vec::new();
            let item = list::item(&name, &found, None, list::rights(session.account().may));
            listing::facts::push_facts(&mut line, &item, *facts);
            FileAnswer::Facts(line)
        }
        FileOp::Space(path) => {
            let path = path
                .as_deref()
                .map_or_else(|| Ok(context.cwd.clone()), |path| context.resolve(path))?;
            FileAnswer::Number(
                session
                    .space(&path)
                    .await
                    .map_err(of_session)?
                    .ok_or(Refusal::Unsupported)?,
            )
        }
        FileOp::Allocate(bytes) => {
            // An account that may not upload learns nothing about the disk, and will be told at STOR.
            match session.space(&context.cwd).await {
                Ok(Some(left)) if left < *bytes => return Err(Refusal::NoSpace),
                _ => FileAnswer::Done,
            }
        }
        FileOp::Hash {
            path,
            algorithm,
            span,
            part,
            ..
        } => {
            let whole = session.open(&context.resolve(path)?, Open::Read).await;
            let (file, path, first, end) = match (whole, part) {
                (Ok(file), _) => (file, path, span.first, span.end),
                (Err(_), Some(part)) => {
                    let file = session
                        .open(&context.resolve(&part.path)?, Open::Read)
                        .await
                        .map_err(of_session)?;
                    (file, &part.path, part.start, part.end)
                }
                (Err(error), None) => return Err(refusal::of_session(&error)),
            };
            let size = file.size().await.map_err(|error| refusal::of_store(&error))?;
            let end = end.map_or(size, |end| end.min(size));
            if first > end {
                return Err(Refusal::PastEnd);
            }
            let digest = hash::digest(&*file, *algorithm, first, end).await?;
            FileAnswer::Hash {
                digest,
                span: (first, end),
                path: path.clone(),
            }
        }
    };
    Ok((answer, Keep::Nothing))
}

async fn change_directory(session: &Session, path: VirtualPath) -> Result<(FileAnswer, Keep), Refusal> {
    let found = session
        .stat(&path)
        .await
        .map_err(|error| refusal::of_session(&error))?;
    if found.kind != Kind::Directory {
        return Err(Refusal::NotADirectory);
    }
    Ok((FileAnswer::At(path.to_bytes()), Keep::Directory(path)))
}

/// RFC 3659 §4. Of an upload that was cut it is the size of the part, from which the client can go on.
async fn size(session: &Session, path: &VirtualPath, is_ascii: bool) -> Result<FileAnswer, Refusal> {
    let found = match session.stat(path).await {
        Ok(found) => found,
        Err(error) => {
            let refused = refusal::of_session(&error);
            return match session.part(path).await {
                Ok(Some(length)) if refused == Refusal::NotFound && !is_ascii => {
                    Ok(FileAnswer::Number(length))
                }
                _ => Err(refused),
            };
        }
    };
    if found.kind != Kind::File {
        return Err(Refusal::NotAFile);
    }
    if !is_ascii {
        return Ok(FileAnswer::Number(found.size));
    }
    if found.size > MAX_COUNTED {
        return Err(Refusal::TooLargeForAscii);
    }
    let file = session
        .open(path, Open::Read)
        .await
        .map_err(|error| refusal::of_session(&error))?;
    let (mut at, mut count) = (0, 0);
    let mut counter = ascii::Counter::default();
    loop {
        let block = file
            .read_at(at, pasarela_dtp::BLOCK)
            .await
            .map_err(|error| refusal::of_store(&error))?;
        if block.is_empty() {
            return Ok(FileAnswer::Number(count));
        }
        at += block.len() as u64;
        count += counter.encoded_len(&block);
    }
}

/// A page of STAT's listing.
pub(crate) async fn status(
    context: Context,
    slip: Pending<Result<StatusPage, Refusal>>,
    begin: Option<(listing::options::Options, Vec<u8>)>,
    kept: Option<Box<Lines>>,
) -> Outcome {
    let page = async {
        let mut lines = match (begin, kept) {
            (Some((options, path)), _) => {
                let session = context.session()?.clone();
                Box::new(Lines::open(session, &context.cwd, &path, options, list::Form::Long).await?)
            }
            (None, Some(lines)) => lines,
            (None, None) => return Err(Refusal::Local),
        };
        let page = lines
            .next(pasarela_dtp::BLOCK)
            .await
            .map_err(|error| refusal::of_transfer(&error))?;
        Ok((page, lines))
    };
    match page.await {
        Ok((Some(page), lines)) => Outcome::Answer(
            slip.answer(Ok(StatusPage {
                lines: page,
                more: true,
            })),
            Keep::Listing(lines),
        ),
        Ok((None, _)) => Outcome::Answer(
            slip.answer(Ok(StatusPage {
                lines: Default::default(),
                more: false,
            })),
            Keep::Nothing,
        ),
        Err(refused) => Outcome::Answer(slip.answer(Err(refused)), Keep::Nothing),
    }
}

/// One line a transfer in the log, also when it is dropped in the middle.
struct TransferLog {
    verb: &'static str,
    path: String,
    began: Instant,
    open: bool,
}

impl TransferLog {
    fn begin(transfer: &Transfer, path: &[u8]) -> Self {
        let path = String::from_utf8_lossy(path).escape_debug().to_string();
        Self {
            verb: transfer.action.verb(),
            path,
            began: Instant::now(),
            open: true,
        }
    }

    fn end(&mut self, bytes: u64) {
        self.open = false;
        let elapsed = self.began.elapsed();
        info!(
            verb = self.verb,
            path = self.path,
            bytes,
            ?elapsed,
            "transfer complete"
        );
    }

    fn fail(&mut self, why: &Refusal) {
        self.open = false;
        let elapsed = self.began.elapsed();
        info!(
            verb = self.verb,
            path = self.path,
            ?elapsed,
            ?why,
            "transfer failed"
        );
    }
}

impl Drop for TransferLog {
    fn drop(&mut self) {
        if self.open {
            info!(verb = self.verb, path = self.path, elapsed = ?self.began.elapsed(), "transfer aborted");
        }
    }
}

impl Context {
    /// Starts the work on an ask that needs nothing but the context.
    pub(crate) fn start(&self, ask: Ask, kept: &mut Kept) -> Option<Chore> {
        let context = self.clone();
        Some(match ask {
            Ask::Login(slip, credentials) => Box::pin(log_in(context, slip, credentials)),
            Ask::Passive(slip, form, protected) => Box::pin(passive(context, slip, form, protected)),
            Ask::Active(slip, address) => {
                let keep = Keep::Endpoint(DataEndpoint::Active(address));
                Box::pin(std::future::ready(Outcome::Answer(slip.answer(Ok(())), keep)))
            }
            Ask::Open(slip, transfer) => Box::pin(open(context, slip, transfer, kept.endpoint.take())),
            Ask::Run(slip) => match kept.prepared.take() {
                Some(prepared) => Box::pin(run(context, slip, *prepared)),
                None => {
                    let answered = slip.answer(Err(Refusal::Local));
                    Box::pin(std::future::ready(Outcome::Answer(answered, Keep::Nothing)))
                }
            },
            Ask::File(slip, op) => Box::pin(file(context, slip, op)),
            Ask::Status(slip, begin) => Box::pin(status(context, slip, begin, kept.listing.take())),
            Ask::StartTls(_) => return None,
        })
    }
}

/// What a connection has kept of its chores.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) endpoint: Option<DataEndpoint>,
    pub(crate) prepared: Option<Box<Prepared>>,
    pub(crate) listing: Option<Box<Lines>>,
}
