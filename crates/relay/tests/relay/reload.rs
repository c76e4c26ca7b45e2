//! Another configuration while the relay runs.

use pasarela_nat_proto::extension::{AnyPeer, LendPort};
use pasarela_relay::{Account, Config, Credential, Secret};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use turn_types::message::REFRESH;

use crate::client::{HERE, Running, any_lent_port, config, drain, incoming, start};

fn account(name: &str, password: &str) -> Account {
    Account::new(name, Credential::Password(Secret::new(password.into())))
}

/// Works by `config` from now on.
fn reload(relay: &Running, config: Config) {
    relay.handle.reload(config).unwrap();
}

#[tokio::test]
async fn an_account_that_is_gone_loses_its_allocation_and_streams_go_on() {
    let relay = start(config());
    let (mut anna, mut client, mut peer) = incoming(&relay).await;
    let mut bob = relay.client("bob").await;
    let port = bob.allocate(&[&any_lent_port()]).await.success().relayed().port();

    let mut without = config();
    without.accounts.remove(0);
    without.accounts.push(account("carl", "sesame"));
    reload(&relay, without);
    assert!(drain(&mut anna.stream).await.0.is_empty());
    relay.until(|metrics| metrics.allocations.value(), 1).await;
    assert_eq!(relay.client("anna").await.allocate(&[]).await.code(), 401);
    relay.client("carl").await.allocate(&[]).await.success();
    bob.request(REFRESH, &[]).await.success();
    let again = LendPort::new(&(port..=port)).unwrap();
    assert_eq!(relay.client("bob").await.allocate(&[&again]).await.code(), 508);

    client.write_all(b"to the end").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(drain(&mut peer).await, (b"to the end".to_vec(), Ok(())));
}

#[tokio::test]
async fn a_new_password_ends_what_the_old_one_got() {
    let relay = start(config());
    let mut anna = relay.client("anna").await;
    anna.allocate(&[]).await.success();
    let mut other = config();
    other.accounts[0].credential = Credential::Password(Secret::new("other".into()));
    reload(&relay, other);
    assert!(drain(&mut anna.stream).await.0.is_empty());
    assert_eq!(relay.client("anna").await.allocate(&[]).await.code(), 401);
    let mut anna = relay.client("anna").await;
    anna.password = "other".into();
    anna.allocate(&[]).await.success();
}

#[tokio::test]
async fn who_may_not_have_a_port_or_an_open_door_any_more_loses_it() {
    for change in [
        (|account: &mut Account| account.ports.clear()) as fn(&mut Account),
        |account| account.any_peer = false,
    ] {
        let relay = start(config());
        let mut plain = relay.client("anna").await;
        plain.allocate(&[]).await.success();
        let mut lent = relay.client("anna").await;
        lent.allocate(&[&any_lent_port(), &AnyPeer]).await.success();
        let mut other = config();
        change(&mut other.accounts[0]);
        reload(&relay, other);
        assert!(drain(&mut lent.stream).await.0.is_empty());
        plain.request(REFRESH, &[]).await.success();
        relay.until(|metrics| metrics.allocations.value(), 1).await;
    }
}

#[tokio::test]
async fn what_is_in_use_counts_under_the_new_limits() {
    let relay = start(config());
    let (control, client, peer) = incoming(&relay).await;
    let with = |allocations, connections| {
        let mut config = config();
        config.accounts[0].limits.allocations = allocations;
        config.accounts[0].limits.connections = connections;
        config
    };
    reload(&relay, with(1, 1));
    let mut second = relay.client("anna").await;
    assert_eq!(second.allocate(&[]).await.code(), 486);
    reload(&relay, with(2, 1));
    let relayed = second.allocate(&[]).await.success().relayed();
    // One stream is carried, and that is as many as there may be.
    second.permit(HERE).await;
    let mut refused = TcpStream::connect(relayed).await.unwrap();
    assert!(drain(&mut refused).await.1.is_err());
    // The allocation that is there already goes by the new limit.
    reload(&relay, with(2, 2));
    let _accepted = TcpStream::connect(relayed).await.unwrap();
    let _fetched = relay.bind("anna", second.attempt().await.id()).await;
    drop((control, client, peer));
    relay.until(|metrics| metrics.streams.value(), 1).await;
    reload(&relay, with(1, 2));
    assert_eq!(relay.client("anna").await.allocate(&[]).await.code(), 486);
}

#[tokio::test]
async fn limits_of_all_change_and_what_is_bound_stays() {
    let relay = start(config());
    let mut other = config();
    other.tcp = vec![(HERE, 1).into()];
    other.realm = "another".into();
    other.connections = 1;
    reload(&relay, other);
    let mut anna = relay.client("anna").await;
    anna.allocate(&[]).await.success();
    let mut second = TcpStream::connect(relay.address).await.unwrap();
    assert!(drain(&mut second).await.1.is_err());
    anna.request(REFRESH, &[]).await.success();
}

#[tokio::test]
async fn a_configuration_that_is_wrong_changes_nothing() {
    let relay = start(config());
    let mut anna = relay.client("anna").await;
    anna.allocate(&[]).await.success();
    let mut wrong = config();
    wrong.accounts.remove(0);
    wrong.accounts.push(account("bob", "twice"));
    let refused = relay.handle.reload(wrong).unwrap_err();
    assert!(refused.to_string().contains("\"bob\" comes twice"), "{refused}");
    anna.request(REFRESH, &[]).await.success();
    relay.client("anna").await.allocate(&[]).await.success();
}
