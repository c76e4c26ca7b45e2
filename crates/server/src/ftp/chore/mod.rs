//! What the server-PI asks for, done: one arm an ask. A chore runs beside the connection, owns what it needs, and
//! comes back with the slip filled in and with what the connection keeps.

mod files;
mod transfer;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use pasarela_dtp::Source;
use pasarela_ftp_proto::listing::options::Options;
use pasarela_ftp_proto::server_pi::{
    Answered, Ask, Credentials, Form, LoggedIn, Pending, Refusal, StatusPage,
};
use pasarela_reach::Want;
use pasarela_session::auth::Password;
use pasarela_session::limits::Admission;
use pasarela_session::{Account, Session};
use pasarela_store::VirtualPath;
use pasarela_tls::Tag;
use tracing::{debug, info, warn};

use super::data::Lingering;
use super::list::{self, Lines};
use super::refusal;
use super::switchboard::{Endpoint, Expectation, PlaceId, Through};
use crate::config::{Settings, TlsMode};
use crate::login;
use crate::service::Service;
pub(crate) use transfer::{Prepared, Publish, publish};

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

/// What every chore of one connection shares.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) service: Arc<Service>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) admission: Arc<Mutex<Admission>>,
    pub(crate) lingering: Arc<Lingering>,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The relay that the control connection came through.
    pub(crate) through: Option<Through>,
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
            Ask::Open(slip, transfer) => {
                if let Some(DataEndpoint::Passive(endpoint)) = &kept.endpoint {
                    endpoint.opening();
                }
                Box::pin(transfer::open(context, slip, transfer, kept.endpoint.take()))
            }
            Ask::Run(slip) => match kept.prepared.take() {
                Some(prepared) => Box::pin(transfer::run(context, slip, *prepared)),
                None => {
                    let answered = slip.answer(Err(Refusal::Local));
                    Box::pin(std::future::ready(Outcome::Answer(answered, Keep::Nothing)))
                }
            },
            Ask::File(slip, op) => Box::pin(files::file(context, slip, op)),
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

/// USER and PASS.
async fn log_in(
    context: Context,
    slip: Pending<Result<LoggedIn, Refusal>>,
    credentials: Credentials,
) -> Outcome {
    let Credentials {
        user,
        password,
        protected,
    } = credentials;
    let (settings, admission) = (&context.settings, &*context.admission);
    let account = match login::by_password(settings, admission, &user, Password::new(password.0)).await {
        Ok(account) => account,
        Err(refused) => {
            let refused = match refused {
                login::Refused::TooMany => Refusal::TooManyLogins,
                login::Refused::Wrong => Refusal::WrongCredentials,
            };
            return Outcome::Answer(slip.answer(Err(refused)), Keep::Nothing);
        }
    };
    let needs_tls =
        settings.tls_mode != TlsMode::Off && account.tls == pasarela_session::account::TlsNeed::Required;
    if needs_tls && !protected {
        return Outcome::Answer(slip.answer(Err(Refusal::TlsRequired)), Keep::Nothing);
    }
    if login::enter(settings, admission, &user, &account).is_err() {
        return Outcome::Answer(slip.answer(Err(Refusal::TooManySessions)), Keep::Nothing);
    }
    let name = login::escaped(&user);
    info!(user = name, protected, "logged in");
    Outcome::Answer(
        slip.answer(Ok(LoggedIn {
            protect_data: needs_tls,
        })),
        Keep::Login(account),
    )
}

/// PASV and EPSV.
async fn passive(
    context: Context,
    slip: Pending<Result<SocketAddr, Refusal>>,
    form: Form,
    protected: bool,
) -> Outcome {
    let open = async {
        if let Some(through) = &context.through {
            through.carries(protected)?;
        }
        let switchboard = context.service.switchboard()?;
        let mut want = Want {
            peer: context.peer.ip(),
            control: context.local,
            dialled: context.through.map(|through| through.dialled),
            port: context.local.port(),
            ipv4_only: form == Form::Pasv,
        };
        // A port that the system chooses is open to peers of this network alone.
        let reaches_any_port = context.through.is_none() && !context.settings.reach.is_behind_router(&want);
        let expectation = Expectation {
            peer: context.peer.ip(),
            tag: context.tag,
            protected,
            places: context.service.data_places(context.place),
            may_use_second: !protected && reaches_any_port && context.service.has_second_port(),
            require: context.settings.require_resumption,
        };
        let mut endpoint = switchboard.expect(expectation).await?;
        want.port = endpoint.port();
        match context.settings.reach.passive_open(&want).await {
            Ok(announced) => {
                debug!(announce = %announced.announce, via = %announced.via, "endpoint");
                endpoint.note(match form {
                    Form::Pasv => format!("{} ({})", announced.announce, announced.via),
                    // The client was told the port alone.
                    _ => format!("port {} ({})", announced.announce.port(), announced.via),
                });
                Ok((announced.announce, endpoint))
            }
            Err(unreachable) => {
                warn!(%unreachable, "no endpoint");
                let rungs: Vec<_> = unreachable
                    .0
                    .iter()
                    .map(|(via, reason)| format!("{via}: {reason}"))
                    .collect();
                Err(Refusal::Unreachable(rungs.join("; ")))
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

/// A page of STAT's listing.
async fn status(
    context: Context,
    slip: Pending<Result<StatusPage, Refusal>>,
    begin: Option<(Options, Vec<u8>)>,
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
