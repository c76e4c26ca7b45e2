//! The file, whole and damaged, and what a start does with it.

use super::super::tests::Fake;
use super::*;

fn mapping(inside: &str, until: Option<u64>, server: &str) -> Leftover {
    let until = until.map_or(String::new(), |until| format!("until = {until}\n"));
    toml::from_str(&format!(
        "inside = \"{inside}\"\noutside = \"11.9.0.20:40000\"\n{until}\
         [how]\nprotocol = \"nat-pmp\"\nserver = \"{server}\"\n"
    ))
    .unwrap()
}

#[tokio::test]
async fn what_is_written_down_is_there_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mappings.toml");
    let mut journal = Journal::open(file.clone()).await;
    assert!(journal.mappings().is_empty());
    let (first, second) = (
        mapping("192.168.1.10:2121", None, "192.168.1.1:5351"),
        mapping("192.168.1.10:2122", Some(9), "192.168.1.1:5351"),
    );
    journal.record(&first).await.unwrap();
    journal.record(&second).await.unwrap();
    // A later state takes the place of the earlier one.
    let renewed = mapping("192.168.1.10:2122", Some(10), "192.168.1.1:5351");
    journal.record(&renewed).await.unwrap();
    assert_eq!(
        Journal::open(file.clone()).await.mappings(),
        [first.clone(), renewed.clone()]
    );
    journal.strike(&first).await.unwrap();
    assert_eq!(Journal::open(file.clone()).await.mappings(), [renewed]);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "others cannot read what proves ownership");
    }
}

#[tokio::test]
async fn a_damaged_file_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mappings.toml");
    for text in [
        "mapping = [".into(),
        "[[mapping]]\ninside = \"x\"\n".into(),
        "other = 1\n".into(),
        "\u{0}".into(),
        " ".repeat(300_000),
    ] {
        std::fs::write(&file, &text).unwrap();
        let mut journal = Journal::open(file.clone()).await;
        assert!(journal.mappings().is_empty(), "{}", &text[..text.len().min(40)]);
        let one = mapping("192.168.1.10:2121", None, "192.168.1.1:5351");
        journal.record(&one).await.unwrap();
        assert_eq!(Journal::open(file.clone()).await.mappings(), [one]);
    }
}

#[tokio::test]
async fn the_oldest_give_way_where_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mappings.toml");
    let mut journal = Journal::open(file.clone()).await;
    let all: Vec<_> = (0..MOST + 2)
        .map(|n| mapping(&format!("192.168.1.10:{}", 2000 + n), None, "192.168.1.1:5351"))
        .collect();
    for mapping in &all {
        journal.record(mapping).await.unwrap();
    }
    assert_eq!(Journal::open(file).await.mappings(), &all[2..]);
}

#[tokio::test]
async fn a_start_takes_back_what_the_last_life_left() {
    let router = Fake::answering("127.0.0.1", |request| {
        let code = if request[5] == 3 { 2 } else { 0 };
        let mut answer = vec![0, request[1] | 0x80, 0, code, 0, 0, 0, 9];
        answer.extend(&request[4..12]);
        vec![answer]
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mappings.toml");
    let mut journal = Journal::open(file.clone()).await;
    let server = router.address.to_string();
    let granted = mapping("127.0.0.1:2049", None, &server);
    let over = mapping("127.0.0.1:2050", Some(1), &server);
    let refused = mapping("127.0.0.1:2051", None, &server);
    let elsewhere = mapping("192.0.2.1:2052", None, &server);
    for mapping in [&granted, &over, &refused, &elsewhere] {
        journal.record(mapping).await.unwrap();
    }
    let swept = journal.sweep().await.unwrap();
    assert_eq!(
        swept,
        [
            (granted, Ok(())),
            (refused.clone(), Err(Refusal::NotAuthorized)),
            (elsewhere, Err(Refusal::NotOurs("192.0.2.1".parse().unwrap()))),
        ]
    );
    assert_eq!(router.heard().len(), 2);
    assert_eq!(Journal::open(file).await.mappings(), [refused]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_router_is_asked_once_however_much_was_left_there() {
    let router = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = router.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path().join("mappings.toml")).await;
    let left: Vec<_> = (3000..3010)
        .map(|port| mapping(&format!("127.0.0.1:{port}"), None, &server))
        .collect();
    for mapping in &left {
        journal.record(mapping).await.unwrap();
    }
    let swept = journal.sweep().await.unwrap();
    assert!(
        swept
            .iter()
            .all(|(_, removed)| *removed == Err(Refusal::NoAnswer)),
        "{swept:?}"
    );
    assert_eq!((swept.len(), journal.mappings()), (10, &left[..]));
    assert_eq!(
        super::super::tests::waiting(&router),
        3,
        "one question, sent three times"
    );
}
