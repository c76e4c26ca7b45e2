//! Caps, delays and bans in virtual time.

use tokio::time::advance;

use super::*;
use crate::tests::account;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The n-th address of 10/8.
fn nth(n: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + n).into())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn turned(gate: &Arc<Gate>, peer: &str) -> Option<Turned> {
    gate.admit(ip(peer)).err()
}

fn fail(gate: &Gate, peer: &str, times: u32) {
    for _ in 0..times {
        gate.failed(ip(peer));
    }
}

#[test]
fn connections_are_counted_by_address_and_counted_out_when_dropped() {
    let gate = Gate::new(Limits {
        per_address: 2,
        ..Limits::default()
    });
    let first = gate.admit(ip("127.0.0.1")).unwrap();
    let _second = gate.admit(ip("127.0.0.1")).unwrap();
    assert_eq!(turned(&gate, "127.0.0.1"), Some(Turned::PerAddress));
    assert_eq!(turned(&gate, "127.0.0.2"), None);
    assert_eq!(gate.connections(), 2);
    drop(first);
    assert_eq!(gate.connections(), 1);
    assert_eq!(turned(&gate, "127.0.0.1"), None);
}

#[test]
fn an_ipv4_address_is_the_same_however_it_is_written_and_an_ipv6_visitor_has_a_whole_64() {
    let gate = Gate::new(Limits {
        per_address: 1,
        ..Limits::default()
    });
    let _four = gate.admit(ip("192.0.2.1")).unwrap();
    assert_eq!(turned(&gate, "::ffff:192.0.2.1"), Some(Turned::PerAddress));
    assert_eq!(turned(&gate, "::ffff:192.0.2.2"), None);
    let _six = gate.admit(ip("2001:db8:0:1::1")).unwrap();
    assert_eq!(turned(&gate, "2001:db8:0:1:ffff::2"), Some(Turned::PerAddress));
    assert_eq!(turned(&gate, "2001:db8:0:2::1"), None);
}

#[test]
fn the_total_holds_for_all_addresses_together() {
    let gate = Gate::new(Limits {
        total: 2,
        ..Limits::default()
    });
    let _in = (gate.admit(nth(1)).unwrap(), gate.admit(nth(2)).unwrap());
    assert_eq!(turned(&gate, "10.0.0.3"), Some(Turned::Total));
}

#[test]
fn those_who_log_in_make_room_for_others_who_have_not() {
    let gate = Gate::new(Limits {
        unauthenticated: 1,
        ..Limits::default()
    });
    let alice = Arc::new(account("alice"));
    let crowds = |gate: &Arc<Gate>| gate.admit(nth(2)).map(|admission| admission.crowds());
    let mut admission = gate.admit(nth(1)).unwrap();
    assert_eq!(crowds(&gate), Ok(true));
    admission.logged_in(&alice).unwrap();
    assert_eq!(crowds(&gate), Ok(false));
    admission.logged_out();
    admission.logged_out();
    assert_eq!(crowds(&gate), Ok(true));
    drop(admission);
    assert_eq!(crowds(&gate), Ok(false));
}

#[test]
fn who_crowds_out_others_is_turned_away_where_they_do_not_go() {
    let gate = Gate::new(Limits {
        unauthenticated: 2,
        ..Limits::default()
    });
    let admissions: Vec<_> = (0..4).map(|n| gate.admit(nth(n)).unwrap()).collect();
    let crowds: Vec<_> = admissions.iter().map(Admission::crowds).collect();
    assert_eq!(crowds, [false, false, true, true]);
    assert_eq!(turned(&gate, "10.0.0.9"), Some(Turned::Total));
}

#[test]
fn sessions_are_counted_by_user() {
    let gate = Gate::new(Limits {
        per_user: 1,
        ..Limits::default()
    });
    let alice = Arc::new(account("alice"));
    let bob = Arc::new(Account {
        sessions: Some(2),
        ..account("bob")
    });
    let mut admissions: Vec<_> = (0..4).map(|n| gate.admit(nth(n)).unwrap()).collect();
    assert_eq!(admissions[0].logged_in(&alice), Ok(()));
    assert_eq!(
        admissions[0].logged_in(&alice),
        Ok(()),
        "again is no second session"
    );
    assert_eq!(admissions[1].logged_in(&alice), Err(Turned::PerUser));
    assert_eq!(admissions[1].logged_in(&bob), Ok(()));
    assert_eq!(
        admissions[2].logged_in(&bob),
        Ok(()),
        "the account's own number counts first"
    );
    assert_eq!(admissions[3].logged_in(&bob), Err(Turned::PerUser));
    assert_eq!(admissions[0].logged_in(&bob), Err(Turned::PerUser));
    assert_eq!(
        admissions[1].logged_in(&alice),
        Ok(()),
        "whoever turns to another user leaves the first"
    );
    admissions.clear();
    let state = gate.state();
    assert_eq!((state.total, state.unauthenticated), (0, 0));
    assert!(state.by_user.0.is_empty() && state.by_network.0.is_empty());
}

#[test]
fn new_limits_hold_for_those_who_come() {
    let gate = Gate::new(Limits::default());
    let _in = (gate.admit(nth(1)).unwrap(), gate.admit(nth(1)).unwrap());
    gate.set_limits(Limits {
        per_address: 1,
        ..Limits::default()
    });
    assert_eq!(gate.connections(), 2);
    assert_eq!(turned(&gate, "10.0.0.1"), Some(Turned::PerAddress));
}

#[tokio::test(start_paused = true)]
async fn the_delay_doubles_with_each_failure_up_to_five_seconds() {
    let gate = Gate::new(Limits::default());
    let admission = gate.admit(nth(1)).unwrap();
    let delays: Vec<_> = (0..8).map(|_| admission.failed_login().as_millis()).collect();
    assert_eq!(delays, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    assert_eq!(
        gate.failed(nth(2)).as_millis(),
        200,
        "another address starts anew"
    );
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_right_forgives() {
    let gate = Gate::new(Limits {
        ban_after: 3,
        ..Limits::default()
    });
    let mut admission = gate.admit(nth(1)).unwrap();
    for _ in 0..5 {
        fail(&gate, "10.0.0.1", 2);
        admission.logged_in(&Arc::new(account("alice"))).unwrap();
        admission.forgive();
    }
    assert!(!gate.is_banned(nth(1)));
    assert_eq!(admission.failed_login().as_millis(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_login_forgives_nothing() {
    let gate = Gate::new(Limits {
        ban_after: 3,
        ..Limits::default()
    });
    let mut admission = gate.admit(nth(1)).unwrap();
    fail(&gate, "10.0.0.1", 2);
    admission.logged_in(&Arc::new(account("anonymous"))).unwrap();
    fail(&gate, "10.0.0.1", 1);
    assert!(gate.is_banned(nth(1)));
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_within_the_window_lead_to_a_ban_that_ends() {
    let gate = Gate::new(Limits {
        ban_after: 3,
        ban_for: seconds(60),
        ..Limits::default()
    });
    let admission = gate.admit(ip("127.0.0.1")).unwrap();
    fail(&gate, "127.0.0.1", 2);
    assert!(!admission.is_banned());
    fail(&gate, "::ffff:127.0.0.1", 1);
    assert!(admission.is_banned());
    assert_eq!(turned(&gate, "127.0.0.1"), Some(Turned::Banned(seconds(60))));
    assert_eq!(turned(&gate, "127.0.0.2"), None);
    advance(seconds(59)).await;
    assert_eq!(admission.failed_login(), seconds(5));
    assert_eq!(
        turned(&gate, "127.0.0.1"),
        Some(Turned::Banned(seconds(1))),
        "failing on does not prolong it"
    );
    advance(seconds(1)).await;
    assert_eq!(turned(&gate, "127.0.0.1"), None);
    assert_eq!(admission.failed_login().as_millis(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_login_through_an_older_connection_does_not_lift_a_ban() {
    let gate = Gate::new(Limits {
        ban_after: 1,
        ..Limits::default()
    });
    let mut admission = gate.admit(nth(1)).unwrap();
    admission.failed_login();
    admission.logged_in(&Arc::new(account("alice"))).unwrap();
    assert!(admission.is_banned());
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_spread_wider_than_the_window_lead_to_no_ban() {
    let gate = Gate::new(Limits {
        ban_after: 3,
        ban_window: seconds(10),
        ..Limits::default()
    });
    for _ in 0..10 {
        fail(&gate, "10.0.0.1", 1);
        advance(seconds(5)).await;
    }
    assert!(!gate.is_banned(nth(1)));
    fail(&gate, "10.0.0.1", 1);
    assert!(!gate.is_banned(nth(1)), "two within ten seconds");
    fail(&gate, "10.0.0.1", 1);
    assert!(gate.is_banned(nth(1)), "three within ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_whole_ipv6_64_is_banned_at_once() {
    let gate = Gate::new(Limits {
        ban_after: 2,
        ..Limits::default()
    });
    fail(&gate, "2001:db8::1", 1);
    fail(&gate, "2001:db8::2", 1);
    assert!(gate.is_banned(ip("2001:db8::3")));
    assert!(!gate.is_banned(ip("2001:db8:0:1::1")));
}

#[tokio::test(start_paused = true)]
async fn zero_bans_nobody_but_still_slows_down() {
    let gate = Gate::new(Limits {
        ban_after: 0,
        ..Limits::default()
    });
    fail(&gate, "10.0.0.1", 1000);
    assert!(!gate.is_banned(nth(1)));
    assert_eq!(gate.failed(nth(1)), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn a_ban_may_last_longer_than_any_clock() {
    let gate = Gate::new(Limits {
        ban_after: 1,
        ban_for: Duration::MAX,
        ..Limits::default()
    });
    fail(&gate, "10.0.0.1", 1);
    advance(seconds(1_000_000_000)).await;
    assert!(gate.is_banned(nth(1)));
}

#[tokio::test(start_paused = true)]
async fn bans_can_be_carried_over_a_restart() {
    let before = Gate::new(Limits {
        ban_after: 1,
        ban_for: seconds(60),
        ..Limits::default()
    });
    fail(&before, "10.0.0.1", 1);
    advance(seconds(20)).await;
    fail(&before, "2001:db8::1", 1);
    let mut bans = before.bans();
    bans.sort();
    assert_eq!(bans, [(nth(1), seconds(40)), (ip("2001:db8::"), seconds(60))]);

    let after = Gate::new(Limits {
        ban_for: seconds(50),
        ..Limits::default()
    });
    after.restore(bans.into_iter().chain([(nth(9), Duration::ZERO)]));
    assert_eq!(turned(&after, "10.0.0.1"), Some(Turned::Banned(seconds(40))));
    assert_eq!(
        turned(&after, "2001:db8::5"),
        Some(Turned::Banned(seconds(50))),
        "no longer than is usual now"
    );
    assert_eq!(turned(&after, "10.0.0.9"), None);
    advance(seconds(50)).await;
    assert_eq!(after.bans(), []);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_addresses_the_oldest_is_forgotten_and_the_banned_last() {
    let gate = Gate::new(Limits {
        ban_after: 2,
        ban_for: seconds(3600),
        ..Limits::default()
    });
    let most = u32::try_from(scores::MOST_NETWORKS).unwrap();
    fail(&gate, "10.0.0.0", 2);
    for n in 1..most + 10 {
        advance(Duration::from_millis(1)).await;
        gate.failed(nth(n));
    }
    assert_eq!(gate.state().scores.len(), scores::MOST_NETWORKS);
    assert!(gate.is_banned(nth(0)));
    assert_eq!(
        gate.failed(nth(most + 9)).as_millis(),
        400,
        "the newest is remembered"
    );
    assert_eq!(gate.failed(nth(1)).as_millis(), 200, "the oldest is forgotten");
    advance(Limits::default().ban_window).await;
    gate.failed(nth(most + 10));
    assert_eq!(
        gate.state().scores.len(),
        3,
        "room is made by what has expired: two bans and the newcomer stay"
    );
}
