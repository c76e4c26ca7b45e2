//! Every operation against every permission.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use async_trait::async_trait;
use pasarela_dtp::Bucket;
use pasarela_store::{Error as StoreError, Kind, Storage};

use super::*;
use crate::account::{AuthorizedKeys, TlsNeed};

/// A store that writes down every call and does nothing; files "stand" with the sizes that it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    calls: Mutex<Vec<String>>,
    standing: HashMap<VirtualPath, u64>,
}

impl Recorder {
    fn note<T>(&self, call: impl Into<String>) -> pasarela_store::Result<T> {
        self.calls.lock().unwrap().push(call.into());
        Err(ErrorKind::Unsupported.into())
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Storage for Recorder {
    async fn stat(&self, path: &VirtualPath) -> pasarela_store::Result<Metadata> {
        let _: pasarela_store::Result<()> = self.note("stat");
        let size = *self
            .standing
            .get(path)
            .ok_or(StoreError::new(ErrorKind::NotFound))?;
        let modified = SystemTime::UNIX_EPOCH;
        Ok(Metadata {
            kind: Kind::File,
            size,
            modified,
            mode: 0o644,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, 0),
        })
    }
    async fn stat_entry(&self, _: &VirtualPath) -> pasarela_store::Result<Entry> {
        self.note("stat_entry")
    }
    async fn list(&self, _: &VirtualPath) -> pasarela_store::Result<Box<dyn Pages>> {
        self.note("list")
    }
    async fn open(&self, _: &VirtualPath, how: Open) -> pasarela_store::Result<Arc<dyn File>> {
        self.note(format!("open {how:?}"))
    }
    async fn part(&self, _: &VirtualPath) -> pasarela_store::Result<Option<u64>> {
        self.note("part")
    }
    async fn make_dir(&self, _: &VirtualPath) -> pasarela_store::Result<()> {
        self.note("make_dir")
    }
    async fn remove_file(&self, _: &VirtualPath) -> pasarela_store::Result<()> {
        self.note("remove_file")
    }
    async fn remove_dir(&self, _: &VirtualPath) -> pasarela_store::Result<()> {
        self.note("remove_dir")
    }
    async fn rename(&self, _: &VirtualPath, _: &VirtualPath, replace: bool) -> pasarela_store::Result<()> {
        self.note(format!("rename replace={replace}"))
    }
    async fn set_modified(&self, _: &VirtualPath, _: SystemTime) -> pasarela_store::Result<()> {
        self.note("set_modified")
    }
    async fn set_mode(&self, _: &VirtualPath, _: u32) -> pasarela_store::Result<()> {
        self.note("set_mode")
    }
    async fn make_link(&self, _: &[u8], _: &VirtualPath) -> pasarela_store::Result<()> {
        self.note("make_link")
    }
    async fn space(&self, _: &VirtualPath) -> pasarela_store::Result<Option<u64>> {
        self.note("space")
    }
    async fn volume(&self, _: &VirtualPath) -> pasarela_store::Result<Volume> {
        self.note("volume")
    }
}

/// An account of that name over a store of its own, with every permission.
pub(crate) fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        storage: Arc::new(Recorder::default()),
        may: May::everything(),
        tls: TlsNeed::Optional,
        rate: None,
        session_rate: None,
        sessions: None,
        authorized_keys: AuthorizedKeys::default(),
    }
}

fn path(typed: &str) -> VirtualPath {
    VirtualPath::root().resolve(typed.as_bytes()).unwrap()
}

/// A store where `/ten` stands with ten bytes, and a session over it that may do so much.
fn session(may: May) -> (Session, Arc<Recorder>) {
    let store = Arc::new(Recorder {
        standing: [(path("ten"), 10)].into(),
        ..Recorder::default()
    });
    let account = Account {
        storage: store.clone(),
        may,
        ..account("alice")
    };
    (Session::new(Arc::new(account), Pace::default()), store)
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One operation: its name, the permissions any one of which it needs, and itself.
type Operation = (&'static str, &'static [Permission], fn(&Session) -> Outcome<'_>);

macro_rules! operation {
    ($name:literal, $needs:expr, $session:ident => $call:expr) => {
        ($name, $needs, |$session| {
            Box::pin(async move { $call.await.map(drop) })
        })
    };
}

fn operations() -> Vec<Operation> {
    use Permission::{Append, Attributes, Delete, Link, List, Mkdir, Read, Rename, Write};
    vec![
        operation!("stat", &[List, Read], s => s.stat(&path("ten"))),
        operation!("stat_entry", &[List, Read], s => s.stat_entry(&path("ten"))),
        operation!("list", &[List], s => s.list(&path("/"))),
        operation!("open Read", &[Read], s => s.open(&path("ten"), Open::Read)),
        operation!("open Replace", &[Write], s => s.open(&path("ten"), Open::Replace)),
        operation!("open CreateNew", &[Write], s => s.open(&path("new"), Open::CreateNew)),
        operation!("open Append, new", &[Append, Write], s => s.open(&path("new"), Open::Append)),
        operation!("open Append, standing", &[Append], s => s.open(&path("ten"), Open::Append)),
        operation!("open Resume, own part", &[Append, Write], s => s.open(&path("new"), Open::Resume { offset: 5 })),
        operation!("open Resume, at the end", &[Append], s => s.open(&path("ten"), Open::Resume { offset: 10 })),
        operation!("open Resume, past the end", &[Append], s => s.open(&path("ten"), Open::Resume { offset: 11 })),
        operation!("open Resume, before the end", &[Write], s => s.open(&path("ten"), Open::Resume { offset: 9 })),
        operation!("part", &[Write, Append], s => s.part(&path("new"))),
        operation!("make_dir", &[Mkdir], s => s.make_dir(&path("new"))),
        operation!("remove_file", &[Delete], s => s.remove_file(&path("ten"))),
        operation!("remove_dir", &[Delete], s => s.remove_dir(&path("ten"))),
        operation!("rename", &[Rename], s => s.rename(&path("ten"), &path("new"))),
        operation!("rename, never over a file", &[Rename], s => s.rename_new(&path("ten"), &path("new"))),
        operation!("set_modified", &[Attributes], s => s.set_modified(&path("ten"), SystemTime::UNIX_EPOCH)),
        operation!("set_mode", &[Attributes], s => s.set_mode(&path("ten"), 0o4777)),
        operation!("make_link", &[Link], s => s.make_link(b"ten", &path("new"))),
        operation!("space", &[Write], s => s.space(&path("/"))),
        operation!("volume", &[Write], s => s.volume(&path("/"))),
    ]
}

/// Every set of permissions there is.
fn all_sets() -> impl Iterator<Item = May> {
    (0..1_u32 << Permission::ALL.len()).map(|set| {
        Permission::ALL
            .into_iter()
            .enumerate()
            .filter(|(i, _)| set >> i & 1 == 1)
            .map(|(_, p)| p)
            .collect()
    })
}

#[tokio::test]
async fn every_operation_is_done_exactly_when_the_account_may() {
    for (name, needs, run) in operations() {
        for may in all_sets() {
            let allowed = needs.iter().any(|permission| may.allows(*permission));
            let (session, store) = session(may);
            let outcome = run(&session).await;
            let calls = store.calls();
            if allowed {
                assert!(!matches!(outcome, Err(Error::Denied(_))), "{name} with {may:?}");
                let verb = name.split([' ', ',']).next().unwrap();
                assert!(
                    calls.last().is_some_and(|call| call.starts_with(verb)),
                    "{name} with {may:?}: {calls:?}"
                );
            } else {
                assert!(matches!(outcome, Err(Error::Denied(_))), "{name} with {may:?}");
                // Which permission an extending upload needs depends on what stands; looking has no effect.
                let looked_only = name.starts_with("open") && calls == ["stat"];
                assert!(calls.is_empty() || looked_only, "{name} with {may:?}: {calls:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_any_permission_the_store_is_not_even_looked_at() {
    for (name, _, run) in operations() {
        let (session, store) = session(May::NOTHING);
        assert!(matches!(run(&session).await, Err(Error::Denied(_))), "{name}");
        assert_eq!(store.calls(), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn renaming_over_a_file_needs_delete_as_well() {
    for (may, call) in [
        ([Permission::Rename].into_iter().collect(), "rename replace=false"),
        (
            [Permission::Rename, Permission::Delete].into_iter().collect(),
            "rename replace=true",
        ),
    ] {
        let (session, store) = session(may);
        let _ = session.rename(&path("ten"), &path("new")).await;
        assert_eq!(store.calls(), [call]);
    }
}

#[tokio::test]
async fn whoever_may_delete_renames_over_nothing_that_was_to_stay() {
    let (session, store) = session(May::everything());
    let _ = session.rename_new(&path("ten"), &path("new")).await;
    assert_eq!(store.calls(), ["rename replace=false"]);
}

#[test]
fn a_permission_is_checked_by_itself() {
    for permission in Permission::ALL {
        for may in all_sets() {
            let (session, _) = session(may);
            assert_eq!(session.check(permission).is_ok(), may.allows(permission));
        }
    }
}

#[tokio::test]
async fn the_denial_names_the_permission_that_is_missing() {
    let (session, _) = session([Permission::Append].into_iter().collect());
    let denied = session
        .open(&path("ten"), Open::Resume { offset: 3 })
        .await
        .err()
        .unwrap();
    assert_eq!(denied.to_string(), "the account lacks the permission `write`");
}

#[test]
fn a_session_is_held_to_its_accounts_rates() {
    let unbounded = Arc::new(account("alice"));
    assert!(
        Session::new(unbounded.clone(), Pace::default())
            .pace()
            .is_unbounded()
    );
    let slow = Arc::new(Account {
        session_rate: Some(1000),
        ..account("alice")
    });
    assert!(!Session::new(slow, Pace::default()).pace().is_unbounded());
    let shared = Arc::new(Account {
        rate: Some(Bucket::new(1000)),
        ..account("alice")
    });
    assert!(!Session::new(shared, Pace::default()).pace().is_unbounded());
    assert!(
        !Session::new(unbounded, Pace::new(vec![Bucket::new(1000)]))
            .pace()
            .is_unbounded()
    );
}
