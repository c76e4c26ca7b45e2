//! Names that resolve, fail and change.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Semaphore;
use tokio::time::advance;

use super::*;

/// What the resolver says to one question after another; past the end it never answers.
type Script = Arc<Mutex<VecDeque<io::Result<Vec<IpAddr>>>>>;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn scripted(answers: impl IntoIterator<Item = Option<&'static [&'static str]>>) -> (Name, Script) {
    let script: Script = Arc::new(Mutex::new(
        answers
            .into_iter()
            .map(|answer| match answer {
                Some(addresses) => Ok(addresses.iter().map(|text| ip(text)).collect()),
                None => Err(io::ErrorKind::NotFound.into()),
            })
            .collect(),
    ));
    let asked = script.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let answer = asked.lock().unwrap().pop_front();
        Box::pin(async {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    });
    (Name::asking("home.example".into(), lookup), script)
}

async fn ask(name: &Name) -> Result<IpAddr, Reason> {
    name.ipv4(ip("192.168.1.5")).await
}

fn unresolved() -> Result<IpAddr, Reason> {
    Err(Reason::Unresolved("home.example".into()))
}

/// Lets what was asked in the background be answered.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_taken_for_granted_for_a_minute() {
    let (name, script) = scripted([Some(&["203.0.113.1"][..]), Some(&["203.0.113.2"])]);
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    advance(FRESH - Duration::from_millis(1)).await;
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    settle().await;
    assert_eq!(script.lock().unwrap().len(), 1, "not asked again");
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_given_at_once_while_a_new_one_is_fetched() {
    let (name, _) = scripted([Some(&["203.0.113.1"][..]), Some(&["203.0.113.2"])]);
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    advance(FRESH).await;
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    settle().await;
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.2")));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_is_kept_when_the_name_fails() {
    let (name, script) = scripted([
        Some(&["203.0.113.1"][..]),
        None,
        Some(&[]),
        Some(&["203.0.113.2"]),
    ]);
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    advance(FRESH).await;
    for left in [2, 1] {
        assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
        settle().await;
        assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
        assert_eq!(
            script.lock().unwrap().len(),
            left,
            "asked once, and not again before the retry is due"
        );
        advance(RETRY).await;
    }
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    settle().await;
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.2")));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_two_seconds_for_the_first_answer() {
    let (name, _) = scripted([]);
    let start = Instant::now();
    assert_eq!(ask(&name).await, unresolved());
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_never_answered_is_given_up_and_asked_again() {
    let (name, script) = scripted([]);
    assert_eq!(ask(&name).await, unresolved());
    advance(GIVE_UP).await;
    settle().await;
    script.lock().unwrap().push_back(Ok(vec![ip("203.0.113.1")]));
    advance(RETRY).await;
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_fails_is_refused_at_once_until_it_is_asked_again() {
    let (name, script) = scripted([None, Some(&["203.0.113.1"][..])]);
    let start = Instant::now();
    assert_eq!(ask(&name).await, unresolved());
    assert_eq!(ask(&name).await, unresolved());
    assert_eq!(
        (start.elapsed(), script.lock().unwrap().len()),
        (Duration::ZERO, 1)
    );
    advance(RETRY).await;
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
}

#[tokio::test(start_paused = true)]
async fn many_peers_at_once_ask_one_question() {
    let gate = Arc::new(Semaphore::new(0));
    let asked = Arc::new(Mutex::new(0));
    let lookup: Lookup = Arc::new({
        let (gate, asked) = (gate.clone(), asked.clone());
        move |_| {
            *asked.lock().unwrap() += 1;
            let gate = gate.clone();
            Box::pin(async move {
                gate.acquire().await.map_err(io::Error::other)?.forget();
                Ok(vec![ip("203.0.113.1")])
            })
        }
    });
    let name = Arc::new(Name::asking("home.example".into(), lookup));
    let mut peers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let name = name.clone();
        peers.spawn(async move { ask(&name).await });
    }
    settle().await;
    gate.add_permits(1);
    assert!(
        peers
            .join_all()
            .await
            .into_iter()
            .all(|answer| answer == Ok(ip("203.0.113.1")))
    );
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_addresses_an_ipv4_one_is_chosen_and_our_own_before_others() {
    let all: &[&str] = &["2001:db8::1", "203.0.113.1", "203.0.113.2"];
    let (name, _) = scripted([Some(all)]);
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
    assert_eq!(name.ipv4(ip("203.0.113.2")).await, Ok(ip("203.0.113.2")));
    let (name, _) = scripted([Some(&["2001:db8::1"][..])]);
    assert_eq!(ask(&name).await, unresolved());
    let (name, _) = scripted([Some(&["::ffff:203.0.113.1"][..])]);
    assert_eq!(ask(&name).await, Ok(ip("203.0.113.1")));
}
