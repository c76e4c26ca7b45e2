//! What authenticated requests ask for, and whether they get it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pasarela_nat_proto::extension::{AnyPeer, DialBack, Dialled, Instance, LendName, LendPort};
use rustix::io::Errno;
use stun_types::AddressFamily;
use stun_types::attribute::{AttributeType, AttributeWrite, ErrorCode, XorMappedAddress};
use stun_types::message::Message;
use stun_types::prelude::AttributeStaticType as _;
use tokio::time::timeout;
use turn_types::attribute::{
    DontFragment, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport, ReservationToken,
    XorPeerAddress, XorRelayedAddress,
};

use crate::allocation::{self, Allocation, NoPort};
use crate::control::{Control, Job};
use crate::credentials::Proof;
use crate::message::{Refusal, Slip};
use crate::metrics::Gauge;
use crate::tenancy::{Estate, Lent, NameLease, Tenant};
use crate::{peers, sockets};

/// IANA's number for TCP.
const TCP: u8 = 6;

const BAD: Refusal = Refusal::new(ErrorCode::BAD_REQUEST, "Bad Request");
const FORBIDDEN: Refusal = Refusal::new(ErrorCode::FORBIDDEN, "Forbidden");
const QUOTA: Refusal = Refusal::new(ErrorCode::ALLOCATION_QUOTA_REACHED, "Allocation Quota Reached");
const TAKEN: Refusal = Refusal::new(ErrorCode::INSUFFICIENT_CAPACITY, "Taken");
const FAMILY: Refusal = Refusal::new(
    ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
    "Address Family Not Supported",
);
const PEER_FAMILY: Refusal = Refusal::new(
    ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH,
    "Peer Address Family Mismatch",
);
const EXPIRED: Refusal = Refusal::new(ErrorCode::UNAUTHORIZED, "Credentials Expired");

/// An attribute that may be missing but not broken.
macro_rules! optional {
    ($message:expr, $kind:ty) => {
        if $message.has_attribute(<$kind>::TYPE) {
            Some($message.attribute::<$kind>().map_err(|_| BAD)?)
        } else {
            None
        }
    };
}

/// RFC 8656 section 7.2 and RFC 6062 section 5.1, with the wishes of [`pasarela_nat_proto::extension`].
pub(crate) fn allocate(
    control: &mut Control,
    message: &Message<'_>,
    slip: &Slip,
    proof: Proof,
) -> Result<Vec<u8>, Refusal> {
    if control.allocation.is_some() {
        return Err(Refusal::new(
            ErrorCode::ALLOCATION_MISMATCH,
            "Allocation Mismatch",
        ));
    }
    if proof.expired {
        return Err(EXPIRED);
    }
    let transport = message.attribute::<RequestedTransport>().map_err(|_| BAD)?;
    if transport.protocol() != TCP {
        return Err(Refusal::new(
            ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL,
            "Unsupported Transport Protocol",
        ));
    }
    let senseless: [AttributeType; 3] = [EvenPort::TYPE, DontFragment::TYPE, ReservationToken::TYPE];
    if senseless.into_iter().any(|kind| message.has_attribute(kind)) {
        return Err(BAD);
    }
    let family = optional!(message, RequestedAddressFamily);
    let ipv4 = family.is_none_or(|family| family.family() == AddressFamily::IPV4);
    let port_wish = optional!(message, LendPort);
    let name_wish = optional!(message, LendName);
    let instance = optional!(message, Instance);
    let any_peer = message.has_attribute(AnyPeer::TYPE);
    let seconds = allocation::lifetime(optional!(message, Lifetime).map(|lifetime| lifetime.seconds()));

    let member = Arc::clone(&proof.member);
    if any_peer && !member.account.any_peer {
        return Err(FORBIDDEN);
    }
    let tenant = Tenant::new(&member.account.name);
    let before =
        instance.and_then(|instance| control.shared.tenancies.succeed(&member.account.name, instance));
    let counted = match &before {
        Some(before) => Arc::clone(&before.counted),
        None => Arc::new(
            member
                .allocations
                .take(member.account.limits.allocations)
                .ok_or(QUOTA)?,
        ),
    };
    let name = name_wish
        .as_ref()
        .map(|wish| lend_name(control, &proof, wish, &tenant))
        .transpose()?;
    let (lent, relayed) = if name.is_some() && port_wish.is_none() {
        (None, name_address(control, ipv4)?)
    } else {
        let before = before.and_then(|before| before.lent);
        let lent = lend_port(control, &proof, ipv4, (port_wish.as_ref(), before), &tenant)?;
        let relayed = lent.relayed;
        (Some(lent), relayed)
    };

    let metrics = &control.shared.metrics;
    metrics.allocations_total.up();
    let gauge = Gauge::new(metrics, |metrics| &metrics.allocations);
    tracing::info!(
        client = %control.from,
        user = ?proof.username,
        %relayed,
        name = name.as_ref().map(|lease| tracing::field::display(&lease.name)),
        any_peer,
        lifetime = seconds,
        "allocation"
    );
    let will = instance.map(|instance| {
        let estate = Estate {
            lent: lent.clone(),
            name: name.as_ref().map(|lease| lease.name.clone()),
            counted: Arc::clone(&counted),
        };
        control.shared.tenancies.register(instance, estate, &tenant)
    });
    control.allocation = Some(Allocation::new(
        proof,
        tenant,
        (lent, name),
        relayed,
        (any_peer, port_wish.is_some()),
        seconds,
        (gauge, counted, will),
    ));

    let transaction = slip.transaction();
    let (announced, mapped, lifetime) = (
        XorRelayedAddress::new(relayed, transaction),
        XorMappedAddress::new(control.from, transaction),
        Lifetime::new(seconds),
    );
    let lent_port = port_wish.and_then(|_| LendPort::new(&(relayed.port()..=relayed.port())));
    let mut attributes: Vec<&dyn AttributeWrite> = vec![&announced, &lifetime, &mapped];
    if let Some(lent) = &lent_port {
        attributes.push(lent);
    }
    if let Some(lent) = &name_wish {
        attributes.push(lent);
    }
    if any_peer {
        attributes.push(&AnyPeer);
    }
    Ok(slip.success(&attributes))
}

fn lend_name(
    control: &Control,
    proof: &Proof,
    wish: &LendName,
    tenant: &Tenant,
) -> Result<NameLease, Refusal> {
    if control.shared.names_at.is_empty() || !proof.member.account.may_lend_name(wish.name()) {
        return Err(FORBIDDEN);
    }
    control
        .shared
        .tenancies
        .lend_name(wish.name(), tenant)
        .ok_or(TAKEN)
}

/// The address of the names' port, as others see it.
fn name_address(control: &Control, ipv4: bool) -> Result<SocketAddr, Refusal> {
    let shared = &control.shared;
    let listening = shared.names_at.iter().find(|at| at.is_ipv4() == ipv4);
    let public = shared.relay_address(ipv4).ok_or(FAMILY)?.public;
    let port = listening.ok_or(FAMILY)?.port();
    Ok(SocketAddr::new(public, port))
}

/// The port that the allocation had `before`, if it is one that is wished for, or another one.
fn lend_port(
    control: &Control,
    proof: &Proof,
    ipv4: bool,
    (wish, before): (Option<&LendPort>, Option<Arc<Lent>>),
    tenant: &Tenant,
) -> Result<Arc<Lent>, Refusal> {
    let shared = &control.shared;
    let current = shared.current();
    let address = shared.relay_address(ipv4).ok_or(FAMILY)?;
    let is_wanted = |port| match wish {
        Some(wish) => wish.ports().contains(&port) && proof.member.account.may_lend_port(port),
        None => current.config.ports.contains(&port) && !current.keeper.is_lendable(port),
    };
    if let Some(before) = before
        && before.relayed.ip() == address.public
        && is_wanted(before.relayed.port())
    {
        shared.tenancies.hand_over(&before, tenant);
        return Ok(before);
    }
    let found = match wish {
        Some(wish) => allocation::lend(address.bind, wish.ports(), |port| {
            proof.member.account.may_lend_port(port)
        }),
        None => allocation::pick(address.bind, &current.config.ports, |port| {
            current.keeper.is_lendable(port)
        }),
    };
    let listener = found.map_err(|why| match why {
        NoPort::Forbidden => FORBIDDEN,
        NoPort::Taken => TAKEN,
    })?;
    let port = listener.local_addr().map_err(|_| TAKEN)?.port();
    let relayed = SocketAddr::new(address.public, port);
    Ok(Arc::new(shared.tenancies.lend(listener, relayed, tenant)))
}

/// How long an Allocate may have to wait for its answer.
const DOUBTING: Duration = Duration::from_secs(4);

/// Whether an Allocate was refused that wishes for what another allocation of the same account has: then that one has
/// to show that it is alive, and the request is looked at again.
pub(crate) fn doubts(control: &mut Control, message: &Message<'_>, refusal: &Refusal, proof: &Proof) -> bool {
    if *refusal != TAKEN || !control.has_room_for_job() {
        return false;
    }
    let ipv4 = message
        .attribute::<RequestedAddressFamily>()
        .map_or(true, |family| family.family() == AddressFamily::IPV4);
    let shared = &control.shared;
    let relayed = shared.relay_address(ipv4).and_then(|address| {
        let ports = message.attribute::<LendPort>().ok()?.ports();
        (ports.start() == ports.end()).then(|| SocketAddr::new(address.public, *ports.start()))
    });
    let name = message.attribute::<LendName>().ok();
    let name = name.as_ref().map(LendName::name);
    let Some(rival) = shared.tenancies.rival(&proof.member.account.name, relayed, name) else {
        return false;
    };
    rival.doubt.notify_one();
    let request = message.as_bytes().to_vec();
    control.jobs.spawn(async move {
        // Either way, what the request gets now is its answer.
        let _ = timeout(DOUBTING, rival.token.cancelled()).await;
        Job::Again(request)
    });
    true
}

/// RFC 8656 section 8.2.
pub(crate) fn refresh(
    control: &mut Control,
    message: &Message<'_>,
    slip: &Slip,
    proof: &Proof,
) -> Result<Vec<u8>, Refusal> {
    let wish = optional!(message, Lifetime).map(|lifetime| lifetime.seconds());
    let family = optional!(message, RequestedAddressFamily);
    let allocation = control.own(proof)?;
    let ipv4 = allocation.relayed.is_ipv4();
    if family.is_some_and(|family| (family.family() == AddressFamily::IPV4) != ipv4) {
        return Err(PEER_FAMILY);
    }
    let seconds = if wish == Some(0) {
        control.release("refreshed to 0");
        0
    } else {
        let seconds = allocation::lifetime(wish);
        allocation.refresh(seconds);
        seconds
    };
    Ok(slip.success(&[&Lifetime::new(seconds)]))
}

/// RFC 8656 section 10.2.
pub(crate) fn create_permission(
    control: &mut Control,
    message: &Message<'_>,
    slip: &Slip,
    proof: &Proof,
) -> Result<Vec<u8>, Refusal> {
    let shared = Arc::clone(&control.shared);
    let allocation = control.own(proof)?;
    let mut peers = Vec::new();
    for (_, attribute) in message.iter_attributes() {
        if attribute.header.get_type() == XorPeerAddress::TYPE {
            let peer = XorPeerAddress::try_from(&attribute).map_err(|_| BAD)?;
            peers.push(peer.addr(message.transaction_id()));
        }
    }
    if peers.is_empty() {
        return Err(BAD);
    }
    for peer in &peers {
        check_peer(*peer, allocation.relayed, |peer| shared.may_reach(peer.ip()))?;
    }
    let addresses: Vec<_> = peers.iter().map(SocketAddr::ip).collect();
    if !allocation.permit(&addresses) {
        return Err(Refusal::new(
            ErrorCode::INSUFFICIENT_CAPACITY,
            "Too Many Permissions",
        ));
    }
    Ok(slip.success(&[]))
}

/// What is never reached is told before the family, so that no spelling gets another answer.
fn check_peer(
    peer: SocketAddr,
    relayed: SocketAddr,
    may_reach: impl Fn(SocketAddr) -> bool,
) -> Result<(), Refusal> {
    if !may_reach(peer) {
        return Err(FORBIDDEN);
    }
    if peer.is_ipv4() != relayed.is_ipv4() {
        return Err(PEER_FAMILY);
    }
    Ok(())
}

/// RFC 6062 section 5.2; answers later.
pub(crate) fn connect(
    control: &mut Control,
    message: &Message<'_>,
    slip: &Slip,
    proof: &Proof,
) -> Result<(), Refusal> {
    let failed = Refusal::new(
        ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE,
        "Connection Timeout or Failure",
    );
    let exists = Refusal::new(ErrorCode::CONNECTION_ALREADY_EXISTS, "Connection Already Exists");
    let has_room = control.has_room_for_job();
    let shared = Arc::clone(&control.shared);
    let allocation = control.own(proof)?;
    let peer = message
        .attribute::<XorPeerAddress>()
        .map_err(|_| BAD)?
        .addr(message.transaction_id());
    check_peer(peer, allocation.relayed, |peer| shared.may_connect(peer))?;
    // Of an allocation that only has a name there is no address to connect from.
    let lent = Arc::clone(allocation.lent.as_ref().ok_or(FORBIDDEN)?);
    if peer.port() == 0 {
        return Err(BAD);
    }
    if allocation.connecting.contains(&peer) {
        return Err(exists);
    }
    let most = proof.member.account.limits.connections;
    let place = proof.member.connections.take(most);
    let in_line = Arc::clone(&allocation.line).try_acquire_owned();
    let (true, Some(place), Ok(in_line)) = (has_room, place, in_line) else {
        return Err(QUOTA);
    };
    allocation.connecting.insert(peer);
    let token = allocation.tenant.token.clone();
    let slip = slip.clone();
    let deadline = shared.current().config.connect_deadline;
    control.jobs.spawn(async move {
        let connected = tokio::select! {
            connected = timeout(deadline, sockets::connect_from(&lent.listener, peer)) => connected.ok(),
            () = token.cancelled() => None,
        };
        let outcome = match connected {
            Some(Ok(stream)) => Ok((stream, place, in_line)),
            Some(Err(error)) if is_taken(&error) => Err(exists),
            _ => Err(failed),
        };
        Job::Connected {
            slip,
            peer,
            outcome,
            allocation: token,
        }
    });
    Ok(())
}

/// Whether there is a connection between these two addresses already.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE)
    )
}

/// The port that a Binding request wants to be called back at.
pub(crate) fn dial_back_of(message: &Message<'_>) -> Option<u16> {
    message
        .attribute::<DialBack>()
        .ok()
        .filter(|wish| wish.result == Dialled::NotYet)
        .map(|wish| wish.port)
}

/// Connects to the address that the request came from, and to no other; answers later.
pub(crate) fn dial_back(control: &mut Control, port: u16, slip: &Slip, proof: &Proof) -> Result<(), Refusal> {
    let shared = Arc::clone(&control.shared);
    let to = SocketAddr::new(control.from.ip(), port);
    if proof.expired {
        return Err(EXPIRED);
    }
    if !proof.member.account.dial_back || !shared.may_reach(to.ip()) {
        return Err(FORBIDDEN);
    }
    if !control.has_room_for_job() || !proof.member.may_dial_back(Instant::now()) {
        return Err(QUOTA);
    }
    shared.metrics.dial_backs_total.up();
    let own = shared.relay_address(to.is_ipv4()).map(|address| address.bind);
    let slip = slip.clone();
    let from = control.from;
    control.jobs.spawn(async move {
        let deadline = shared.current().config.dial_back_deadline;
        let result = match timeout(deadline, sockets::connect(own, to)).await {
            Err(_) => Dialled::TimedOut,
            Ok(Ok(_closed_at_once)) => Dialled::Connected,
            Ok(Err(error)) if peers::is_refusal(&error) => Dialled::Refused,
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Dialled::TimedOut,
            Ok(Err(_)) => Dialled::Unreachable,
        };
        tracing::info!(client = %from, %port, ?result, "dial-back");
        let mapped = XorMappedAddress::new(from, slip.transaction());
        Job::Answered(slip.success(&[&mapped, &DialBack { port, result }]))
    });
    Ok(())
}
