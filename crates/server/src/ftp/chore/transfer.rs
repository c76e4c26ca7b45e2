//! Transfers: what can refuse one before a byte moves, the bytes themselves, and the step that publishes an upload.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use pasarela_dtp::Controls;
use pasarela_ftp_proto::command::RepresentationType;
use pasarela_ftp_proto::listing::options::Options;
use pasarela_ftp_proto::server_pi::{Action, Answered, Done, Opened, Pending, Refusal, Transfer};
use pasarela_session::Session;
use pasarela_store::{ErrorKind, File, Open, VirtualPath};
use pasarela_tls::{ServerTls, Stream, Tag};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::{debug, info};

use super::{Context, DataEndpoint, Keep, Outcome};
use crate::config::{RequireResumption, Settings};
use crate::ftp::data::{DataConnection, Lingering};
use crate::ftp::list::{self, Lines};
use crate::ftp::refusal;
use crate::ftp::switchboard::Direction;

/// Names that STOU tries.
const MAX_UNIQUE: u32 = 1000;

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

/// Everything that can refuse a transfer before a byte moves.
pub(super) async fn open(
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
            let options = Options::default();
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
pub(super) async fn run(
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
                let sent = pasarela_dtp::send_file(&*file, span, how, &mut data, &controls).await;
                end_download(sent, data, &controls, &context.lingering).await
            }
            What::Listing(mut lines) => {
                let sent = pasarela_dtp::send(&mut *lines, how, &mut data, &controls).await;
                end_download(sent, data, &controls, &context.lingering).await
            }
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
                data.linger(&context.lingering);
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

/// What was sent counts once its end is on its way too.
async fn end_download(
    sent: Result<u64, pasarela_dtp::Error>,
    mut data: DataConnection,
    controls: &Controls,
    lingering: &Lingering,
) -> Result<(u64, Option<Arc<dyn File>>), Refusal> {
    let bytes = sent.map_err(|error| refusal::of_transfer(&error))?;
    match tokio::time::timeout(controls.stall, data.finish()).await {
        Ok(Ok(())) => {
            data.linger(lingering);
            Ok((bytes, None))
        }
        Ok(Err(_)) => Err(Refusal::ConnectionBroken),
        Err(_) => Err(Refusal::Stalled),
    }
}

impl Publish {
    /// The client has gone: what came is kept as a part, however whole it looks.
    pub(crate) fn refuse(mut self) -> Answered {
        let refused = Refusal::ConnectionBroken;
        self.log.fail(&refused);
        self.slip.answer(Err(refused))
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
        (Some(tls), Some(owner)) => protect(context, tls, owner, stream, direction).await,
        _ => Err(Refusal::DataTls),
    }
}

/// RFC 4217 §7: the server of the control connection is the server of the handshake, whoever connected.
async fn protect(
    context: &Context,
    tls: &ServerTls,
    owner: Tag,
    stream: TcpStream,
    direction: Direction,
) -> Result<DataConnection, Refusal> {
    let settings = &context.settings;
    let handshake = tokio::time::timeout(settings.limits.tls_handshake, tls.accept_data(stream));
    let accepted = handshake.await.map_err(|_| Refusal::DataTls)?.map_err(|error| {
        debug!(%error, "handshake of a data connection");
        Refusal::DataTls
    })?;
    let is_admitted = match (accepted.resumed, settings.require_resumption) {
        (Some(resumed), _) if resumed == owner => true,
        (_, RequireResumption::Never) => true,
        (_, RequireResumption::Always) => false,
        (Some(resumed), RequireResumption::WhenOffered) => {
            !context.service.switchboard()?.is_somebody_elses(resumed, owner)
        }
        (None, RequireResumption::WhenOffered) => true,
    };
    if !is_admitted {
        return Err(Refusal::NotResumed);
    }
    let stream = Box::new(accepted.stream);
    Ok(admit(tls, owner, stream, accepted.issued, settings, direction).await)
}

/// The tickets of an admitted data connection prove its session from now on. On uploads they are held back until
/// everything has come (a client that closes with unread tickets resets the connection and loses the tail),
/// unless no data connection does without one: clients that use a ticket once would have none for the next.
async fn admit(
    tls: &ServerTls,
    owner: Tag,
    mut stream: Box<Stream>,
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
