//! What is lent, and to whom: addresses, names, and what an allocation leaves to the one that takes its place.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pasarela_nat_proto::extension::Instance;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::shared::lock;
use crate::usage::Place;

/// Everything that is lent.
#[derive(Default)]
pub(crate) struct Tenancies {
    names: Mutex<HashMap<String, (mpsc::Sender<Arrival>, Tenant)>>,
    lent: Mutex<HashMap<SocketAddr, Tenant>>,
    estates: Mutex<HashMap<(String, Instance), (Estate, Tenant)>>,
}

/// A connection for a name that is lent.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
}

/// Whose something is that is lent.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    account: String,
    /// Ends with the allocation; ended, it ends the allocation.
    pub(crate) token: CancellationToken,
    /// Has its connection find out whether anybody is there.
    pub(crate) doubt: Arc<Notify>,
}

/// What an allocation leaves to the one that takes its place.
#[derive(Clone)]
pub(crate) struct Estate {
    pub(crate) lent: Option<Arc<Lent>>,
    pub(crate) name: Option<String>,
    pub(crate) counted: Arc<Place>,
}

/// An [`Estate`] that is known by its INSTANCE for as long as this lives.
pub(crate) struct Will {
    all: Arc<Tenancies>,
    key: (String, Instance),
    tenant: Tenant,
}

/// A name that is lent for as long as this lives.
pub(crate) struct NameLease {
    all: Arc<Tenancies>,
    tenant: Tenant,
    pub(crate) name: String,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
}

/// Arrivals for one name that nobody has looked at yet.
const ARRIVALS: usize = 16;

/// A relayed address that is lent for as long as this lives.
pub(crate) struct Lent {
    all: Arc<Tenancies>,
    pub(crate) relayed: SocketAddr,
    pub(crate) listener: TcpListener,
}

impl Tenancies {
    /// Notes that a relayed address is lent.
    pub(crate) fn lend(self: &Arc<Self>, listener: TcpListener, relayed: SocketAddr, to: &Tenant) -> Lent {
        lock(&self.lent).insert(relayed, to.clone());
        Lent {
            all: Arc::clone(self),
            relayed,
            listener,
        }
    }

    /// Notes that what is lent is another one's now.
    pub(crate) fn hand_over(&self, lent: &Lent, to: &Tenant) {
        lock(&self.lent).insert(lent.relayed, to.clone());
    }

    /// Notes what an allocation leaves if its client comes again.
    pub(crate) fn register(self: &Arc<Self>, instance: Instance, estate: Estate, tenant: &Tenant) -> Will {
        let key = (tenant.account.clone(), instance);
        let other = lock(&self.estates).insert(key.clone(), (estate, tenant.clone()));
        // Asked for at the same moment: one stays.
        if let Some((_, other)) = other {
            other.token.cancel();
        }
        Will {
            all: Arc::clone(self),
            key,
            tenant: tenant.clone(),
        }
    }

    /// Ends the allocation that `account` has under this INSTANCE, and gives what it leaves.
    pub(crate) fn succeed(&self, account: &str, instance: Instance) -> Option<Estate> {
        let (estate, tenant) = lock(&self.estates).remove(&(account.to_owned(), instance))?;
        tenant.token.cancel();
        if let Some(name) = &estate.name {
            tenant.leave(&mut lock(&self.names), name, |(_, tenant)| tenant);
        }
        Some(estate)
    }

    /// Who of `account` has this address or this name.
    pub(crate) fn rival(
        &self,
        account: &str,
        relayed: Option<SocketAddr>,
        name: Option<&str>,
    ) -> Option<Tenant> {
        let of_port = relayed.and_then(|relayed| lock(&self.lent).get(&relayed).cloned());
        let of_name = || name.and_then(|name| lock(&self.names).get(name).map(|(_, tenant)| tenant.clone()));
        of_port
            .or_else(of_name)
            .filter(|tenant| tenant.account == account)
    }

    /// Whether this address is lent to somebody.
    pub(crate) fn is_lent(&self, relayed: SocketAddr) -> bool {
        lock(&self.lent).contains_key(&relayed)
    }

    /// Lends a name; `None` when somebody has it.
    pub(crate) fn lend_name(self: &Arc<Self>, name: &str, to: &Tenant) -> Option<NameLease> {
        let mut names = lock(&self.names);
        if names.contains_key(name) {
            return None;
        }
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        names.insert(name.to_owned(), (sender, to.clone()));
        Some(NameLease {
            all: Arc::clone(self),
            tenant: to.clone(),
            name: name.to_owned(),
            arrivals,
        })
    }

    /// Where connections for `name` go.
    pub(crate) fn holder(&self, name: &str) -> Option<mpsc::Sender<Arrival>> {
        lock(&self.names).get(name).map(|(sender, _)| sender.clone())
    }
}

impl Drop for NameLease {
    fn drop(&mut self) {
        self.tenant
            .leave(&mut lock(&self.all.names), &self.name, |(_, tenant)| tenant);
    }
}

impl Drop for Will {
    fn drop(&mut self) {
        let mut estates = lock(&self.all.estates);
        let left = self.tenant.leave(&mut estates, &self.key, |(_, tenant)| tenant);
        drop(estates);
        // It may be the last to hold the port, whose own end is noted in another list.
        drop(left);
    }
}

impl Tenant {
    pub(crate) fn new(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            token: CancellationToken::new(),
            doubt: Arc::default(),
        }
    }

    /// Takes the entry for `key` out, unless somebody else has it by now.
    fn leave<K: Eq + Hash + Borrow<Q>, Q: Eq + Hash + ?Sized, V>(
        &self,
        entries: &mut HashMap<K, V>,
        key: &Q,
        tenant: impl Fn(&V) -> &Self,
    ) -> Option<V> {
        let is_ours = entries
            .get(key)
            .is_some_and(|entry| Arc::ptr_eq(&tenant(entry).doubt, &self.doubt));
        is_ours.then(|| entries.remove(key)).flatten()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        lock(&self.all.lent).remove(&self.relayed);
    }
}
