//! The register of tags.

use super::*;

fn tag(number: u8) -> Tag {
    Tag([number; 16])
}

#[test]
fn fresh_tags_differ() {
    assert_ne!(Tag::fresh().unwrap(), Tag::fresh().unwrap());
}

#[test]
fn an_owner_lives_from_its_own_admission_to_its_retirement() {
    let register = Register::default();
    register.admit(tag(2), tag(1));
    assert_eq!(register.owner(tag(2)), None);

    register.admit(tag(1), tag(1));
    register.admit(tag(2), tag(1));
    assert_eq!(register.owner(tag(1)), Some(tag(1)));
    assert_eq!(register.owner(tag(2)), Some(tag(1)));

    register.retire(tag(1));
    assert_eq!(register.owner(tag(1)), None);
    assert_eq!(register.owner(tag(2)), None);
}

#[test]
fn a_tag_stays_with_its_first_owner() {
    let register = Register::default();
    register.admit(tag(1), tag(1));
    register.admit(tag(2), tag(2));
    register.admit(tag(3), tag(1));
    register.admit(tag(3), tag(2));
    register.admit(tag(2), tag(1));
    assert_eq!(register.owner(tag(3)), Some(tag(1)));
    assert_eq!(register.owner(tag(2)), Some(tag(2)));
}

#[test]
fn the_oldest_tags_are_forgotten_but_never_the_owners_own() {
    let register = Register::default();
    let owner = tag(255);
    register.admit(owner, owner);
    for number in 0..=64 {
        register.admit(tag(number), owner);
    }
    assert_eq!(register.owner(tag(0)), None);
    assert_eq!(register.owner(tag(1)), Some(owner));
    assert_eq!(register.owner(tag(64)), Some(owner));
    assert_eq!(register.owner(owner), Some(owner));
}

#[test]
fn a_session_counts_once_it_is_admitted() {
    let register = Register::default();
    register.store_session(tag(1), b"id".to_vec(), b"state".to_vec());
    assert_eq!(register.session(b"id"), None);
    register.admit(tag(1), tag(1));
    assert_eq!(register.session(b"id"), Some((tag(1), b"state".to_vec())));
    register.retire(tag(1));
    assert_eq!(register.session(b"id"), None);
}

#[test]
fn what_is_kept_is_bounded() {
    let register = Register::default();
    let owner = tag(255);
    register.admit(owner, owner);
    for number in 0..6 {
        register.store_session(tag(number), vec![number], vec![]);
        register.admit(tag(number), owner);
    }
    assert_eq!(register.session(&[1]), None);
    assert!(register.session(&[2]).is_some());

    for number in 0..3000u32 {
        register.store_session(tag(100), number.to_be_bytes().to_vec(), vec![]);
    }
    let entries = register.entries();
    assert_eq!(entries.sessions.len(), SESSIONS_PER_OWNER);
    assert_eq!(entries.waiting.len(), SESSIONS_WAITING);
}

#[test]
fn nothing_of_a_retired_owner_is_left() {
    let register = Register::default();
    for number in 0..100 {
        register.store_session(tag(number), vec![number], vec![]);
        register.admit(tag(number), tag(number));
        register.admit(tag(number + 100), tag(number));
    }
    for number in 0..100 {
        register.retire(tag(number));
    }
    let entries = register.entries();
    assert!(entries.owners.is_empty() && entries.holdings.is_empty() && entries.sessions.is_empty());
}
