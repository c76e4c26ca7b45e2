//! Who gets in, and what a refusal costs.

use argon2::password_hash::PasswordHasher;
use argon2::{Argon2, Params};
use hashing::{AT_ONCE, WAITING};

use super::*;
use crate::tests::account;

fn password(text: &str) -> Password {
    Password::new(text.into())
}

/// A hash that is quick to compute.
fn quick(text: &str) -> Proof {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
    Proof::Hash(
        Argon2::from(params)
            .hash_password(text.as_bytes())
            .unwrap()
            .to_string(),
    )
}

fn users(rows: Vec<(&str, Proof)>) -> Result<Users, String> {
    Users::new(
        rows.into_iter()
            .map(|(name, proof)| (account(name), proof))
            .collect(),
    )
}

/// Whom it lets in, and how many hashes that took.
async fn attempt(users: &Users, name: &str, text: &str) -> (Option<String>, u64) {
    let before = users.hashes_computed();
    let found = users.authenticate(name.as_bytes(), password(text)).await.unwrap();
    (
        found.map(|account| account.name.clone()),
        users.hashes_computed() - before,
    )
}

fn refusal(rows: Vec<(&str, Proof)>) -> String {
    users(rows).err().unwrap()
}

#[tokio::test]
async fn the_right_password_lets_in_and_costs_a_hash_only_once() {
    let users = users(vec![("alice", quick("secret")), ("bob", quick("secret"))]).unwrap();
    assert_eq!(
        attempt(&users, "alice", "secret").await,
        (Some("alice".into()), 1)
    );
    assert_eq!(
        attempt(&users, "alice", "secret").await,
        (Some("alice".into()), 0)
    );
    assert_eq!(attempt(&users, "bob", "secret").await, (Some("bob".into()), 1));
}

#[tokio::test]
async fn every_refusal_costs_exactly_one_hash() {
    let users = users(vec![
        ("alice", quick("secret")),
        ("once", Proof::Plain(password("secret"))),
    ])
    .unwrap();
    let long = "x".repeat(4096);
    for round in 0..2 {
        for name in [
            "alice",
            "once",
            "nobody",
            "anonymous",
            "ftp",
            "..",
            "a/b",
            "a\0b",
            "$(x)",
            "ALICE",
            "",
            &long,
        ] {
            assert_eq!(
                attempt(&users, name, "wrong").await,
                (None, 1),
                "{name:?}, round {round}"
            );
            assert_eq!(
                attempt(&users, name, "").await,
                (None, 1),
                "{name:?} and no password, round {round}"
            );
        }
        assert!(attempt(&users, "alice", "secret").await.0.is_some());
    }
}

#[tokio::test]
async fn a_password_from_the_command_line_costs_no_hash_when_it_is_right() {
    let users = users(vec![("once", Proof::Plain(password("secret")))]).unwrap();
    assert_eq!(attempt(&users, "once", "secret").await, (Some("once".into()), 0));
    assert_eq!(attempt(&users, "once", "secre").await, (None, 1));
    assert_eq!(attempt(&users, "onc", "e\0secret").await, (None, 1));
}

#[tokio::test]
async fn a_password_is_bytes_of_any_kind() {
    let odd = || Password::new(vec![0, 0xff, b' ', 0x80]);
    let alice = (account("alice"), Proof::Hash(hash(&odd())));
    let once = (account("once"), Proof::Plain(odd()));
    let users = Users::new(vec![alice, once]).unwrap();
    assert!(users.authenticate(b"alice", odd()).await.unwrap().is_some());
    assert!(users.authenticate(b"once", odd()).await.unwrap().is_some());
    assert!(
        users
            .authenticate(b"alice", Password::new(vec![0, 0xff, b' ']))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_hash_of_the_empty_password_lets_nobody_in() {
    let users = users(vec![("alice", quick(""))]).unwrap();
    assert_eq!(attempt(&users, "alice", "").await, (None, 1));
    assert_eq!(attempt(&users, "alice", "").await, (None, 1));
}

#[tokio::test]
async fn the_anonymous_account_has_three_names_and_takes_any_password() {
    let users = users(vec![("guest", Proof::Anonymous), ("alice", quick("secret"))]).unwrap();
    for name in ["guest", "anonymous", "ftp"] {
        assert_eq!(attempt(&users, name, "").await, (Some("guest".into()), 0));
        assert_eq!(
            attempt(&users, name, "me@example.com").await,
            (Some("guest".into()), 0)
        );
        assert!(users.is_anonymous(name.as_bytes()));
    }
    assert!(!users.is_anonymous(b"alice"));
    assert!(!users.is_anonymous(b"nobody"));
}

#[tokio::test]
async fn ftp_may_be_an_ordinary_account_where_nobody_is_anonymous() {
    let users = users(vec![("ftp", quick("secret"))]).unwrap();
    assert!(!users.is_anonymous(b"ftp"));
    assert_eq!(attempt(&users, "ftp", "secret").await, (Some("ftp".into()), 1));
}

#[tokio::test]
async fn those_who_find_the_queue_full_are_refused_at_once_and_the_others_are_served() {
    let users = Arc::new(
        users(vec![
            ("alice", quick("secret")),
            ("once", Proof::Plain(password("x"))),
        ])
        .unwrap(),
    );
    let busy = users
        .hashing
        .turns
        .clone()
        .acquire_many_owned(AT_ONCE as u32)
        .await
        .unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE + WAITING {
        let users = users.clone();
        waiting.spawn(async move {
            users
                .authenticate(b"alice", password("secret"))
                .await
                .unwrap()
                .is_some()
        });
    }
    while users.hashing.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = users.authenticate(b"alice", password("secret")).await;
    assert_eq!(
        refused.err(),
        Some(Overflow),
        "which says nothing of the password"
    );
    assert_eq!(
        attempt(&users, "once", "x").await,
        (Some("once".into()), 0),
        "needs no place"
    );
    assert_eq!(users.hashes_computed(), 0, "nobody jumped the queue");
    drop(busy);
    assert!(waiting.join_all().await.into_iter().all(|let_in| let_in));
    assert_eq!(attempt(&users, "nobody", "secret").await, (None, 1));
}

#[tokio::test]
async fn a_visitor_who_hangs_up_while_waiting_gives_the_place_back() {
    let users = Arc::new(users(vec![]).unwrap());
    let busy = users
        .hashing
        .turns
        .clone()
        .acquire_many_owned(AT_ONCE as u32)
        .await
        .unwrap();
    let task = tokio::spawn({
        let users = users.clone();
        async move { users.authenticate(b"alice", password("secret")).await }
    });
    while users.hashing.places.available_permits() == AT_ONCE + WAITING {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(users.hashing.places.available_permits(), AT_ONCE + WAITING);
    drop(busy);
}

#[test]
fn a_new_hash_is_argon2id_with_the_documented_cost() {
    let text = hash(&password("secret"));
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert_ne!(text, hash(&password("secret")), "salted");
}

#[test]
fn names_that_do_not_exist_cost_as_much_as_the_dearest_hash() {
    let users = users(vec![
        ("alice", quick("a")),
        ("bob", Proof::Hash(hash(&password("b")))),
    ])
    .unwrap();
    assert_eq!(password::cost(&users.dummy), 19456 * 2);
    let quick_only = super::tests::users(vec![("alice", quick("a"))]).unwrap();
    assert_eq!(password::cost(&quick_only.dummy), u64::from(Params::MIN_M_COST));
}

#[test]
fn bad_names_are_refused_at_load() {
    for name in ["", "a/b", "a b", "a\nb", "ä", "$(x)", &"x".repeat(65)] {
        let text = refusal(vec![(name, quick("secret"))]);
        assert!(
            text.starts_with(&format!("account {name:?}: a name is")),
            "{text}"
        );
    }
    for name in ["a", "A.b_c@d-9", &"x".repeat(64)] {
        assert!(users(vec![(name, quick("secret"))]).is_ok(), "{name}");
    }
}

#[test]
fn empty_passwords_are_refused_at_load() {
    assert_eq!(
        refusal(vec![("bob", Proof::Plain(password("")))]),
        r#"account "bob": the password is empty"#
    );
    assert_eq!(
        refusal(vec![("bob", Proof::Hash("".into()))]),
        r#"account "bob": the password hash is empty"#
    );
}

#[test]
fn names_that_come_twice_are_refused_at_load() {
    let twice = refusal(vec![("bob", quick("a")), ("bob", Proof::Anonymous)]);
    assert_eq!(twice, r#"account "bob": there is another account "bob""#);
    let reserved = refusal(vec![("ftp", quick("a")), ("guest", Proof::Anonymous)]);
    assert_eq!(reserved, r#"account "guest": there is another account "ftp""#);
    let two = refusal(vec![("anonymous", Proof::Anonymous), ("guest", Proof::Anonymous)]);
    assert_eq!(two, r#"account "guest": there is another account "anonymous""#);
}

#[test]
fn hashes_that_are_none_are_refused_at_load() {
    let good = hash(&password("secret"));
    let without_output = &good[..good.rfind('$').unwrap()];
    for (text, why) in [
        ("secret", "not argon2id"),
        ("*", "not argon2id"),
        ("$6$rounds=5000$salt$hash", "not argon2id"),
        (&good.replace("argon2id", "argon2i"), "not argon2id"),
        ("$2b$08$abcdefghijklmnopqrstuv", "not argon2id"),
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA", "misspelt"),
        (without_output, "cut short"),
        (&good.replace("v=19", "v=18"), "parameters"),
        (&good.replace("m=19456", "m=1"), "parameters"),
        (&good.replace("t=2", "t=1023"), "16 times the usual"),
        (&good.replace("m=19456", "m=4194304"), "16 times the usual"),
    ] {
        let refused = refusal(vec![("bob", Proof::Hash(text.into()))]);
        assert!(
            refused.starts_with(r#"account "bob": the password hash"#) && refused.contains(why),
            "{text}: {refused}"
        );
        assert!(!refused.contains("secret"), "{refused}");
    }
    let common = good.replace("m=19456,t=2,p=1", "m=65536,t=3,p=4");
    assert!(
        users(vec![("bob", Proof::Hash(common))]).is_ok(),
        "the usual parameters of other programs"
    );
}

#[test]
fn a_password_is_never_printed() {
    assert_eq!(format!("{:?}", Proof::Plain(password("secret"))), "Plain(***)");
}
