//! What is written stands under its name at CLOSE as a whole, and not before; what was cut can be gone on with.

use super::*;

#[tokio::test]
async fn an_upload_stands_under_its_name_at_close_and_not_before() {
    let storage = Memory::new();
    stands(&storage, "old", b"the old one").await;
    let mut client = Client::over(&storage, everything()).await;
    for name in ["old", "new"] {
        let before = content(&storage, name).await;
        let handle = client.open(name, CREATE).await.unwrap();
        assert_eq!(client.write(&handle, 0, b"the new one").await, StatusCode::Ok);
        assert_eq!(content(&storage, name).await, before);
        // Its own session is told what it has written so far.
        assert_eq!(client.stat(name).await.unwrap().size, Some(11));
        assert_eq!(client.close(&handle).await, StatusCode::Ok);
        assert_eq!(content(&storage, name).await.unwrap(), b"the new one");
    }
}

#[tokio::test]
async fn whoever_hangs_up_publishes_nothing_and_can_go_on() {
    let storage = Memory::new();
    stands(&storage, "old", b"the old one").await;
    let mut client = Client::over(&storage, everything()).await;
    for name in ["old", "new"] {
        let handle = client.open(name, CREATE).await.unwrap();
        assert_eq!(client.write(&handle, 0, b"half").await, StatusCode::Ok);
    }
    client.hang_up().await.unwrap();
    assert_eq!(content(&storage, "old").await.unwrap(), b"the old one");
    assert_eq!(content(&storage, "new").await, None);

    let mut client = Client::over(&storage, everything()).await;
    let part = client.stat("new").await.unwrap();
    assert_eq!((part.size, part.kind()), (Some(4), Some(FileKind::File)));
    // As OpenSSH's `reput`: everything goes to the end.
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::APPEND;
    let handle = client.open("new", flags).await.unwrap();
    assert_eq!(client.write(&handle, 4, b" and half").await, StatusCode::Ok);
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    assert_eq!(content(&storage, "new").await.unwrap(), b"half and half");
    assert_eq!(client.open("old", OpenFlags::READ).await.map(|_| ()), Ok(()));
}

#[tokio::test]
async fn a_part_with_holes_is_cut_where_the_first_one_begins() {
    let storage = Memory::new();
    let mut client = Client::over(&storage, everything()).await;
    let handle = client.open("f", CREATE).await.unwrap();
    assert_eq!(client.write(&handle, 0, b"solid").await, StatusCode::Ok);
    assert_eq!(client.write(&handle, 100, b"far").await, StatusCode::Ok);
    client.hang_up().await.unwrap();
    assert_eq!(storage.part(&at("f")).await.unwrap(), Some(5));
}

#[tokio::test]
async fn writing_anywhere_begins_with_what_stands() {
    let storage = Memory::new();
    stands(&storage, "f", b"0123456789").await;
    let mut client = Client::over(&storage, everything()).await;
    let handle = client
        .open("f", OpenFlags::READ | OpenFlags::WRITE)
        .await
        .unwrap();
    assert_eq!(client.write(&handle, 3, b"xx").await, StatusCode::Ok);
    assert_eq!(client.read(&handle, 2, 4).await.unwrap(), "2xx5");
    assert_eq!(client.write(&handle, 12, b"yy").await, StatusCode::Ok);
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    assert_eq!(content(&storage, "f").await.unwrap(), b"012xx56789\0\0yy");
}

#[tokio::test]
async fn opened_to_write_and_closed_without_a_byte_a_file_is_what_it_was() {
    let storage = Memory::new();
    stands(&storage, "f", b"content").await;
    let before = storage.stat(&at("f")).await.unwrap().unique;
    let mut client = Client::over(&storage, everything()).await;
    let handle = client.open("f", OpenFlags::WRITE).await.unwrap();
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    assert_eq!(storage.stat(&at("f")).await.unwrap().unique, before);
    // A new one and an emptied one are meant.
    for (name, flags) in [("f", CREATE), ("new", OpenFlags::WRITE | OpenFlags::CREATE)] {
        let handle = client.open(name, flags).await.unwrap();
        assert_eq!(client.close(&handle).await, StatusCode::Ok);
        assert_eq!(content(&storage, name).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn opening_makes_and_refuses_as_its_flags_say() {
    let storage = Memory::new();
    stands(&storage, "f", b"content").await;
    let mut client = Client::over(&storage, everything()).await;
    let missing = [
        OpenFlags::READ,
        OpenFlags::WRITE,
        OpenFlags::WRITE | OpenFlags::TRUNCATE,
        OpenFlags::WRITE | OpenFlags::APPEND,
    ];
    for flags in missing {
        assert_eq!(client.open("g", flags).await, Err(StatusCode::NoSuchFile));
    }
    let exclusive = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    assert_eq!(client.open("f", exclusive).await, Err(StatusCode::Failure));
    let handle = client.open("g", exclusive).await.unwrap();
    assert_eq!(client.close(&handle).await, StatusCode::Ok);
    assert_eq!(content(&storage, "g").await.unwrap(), b"");
    assert_eq!(content(&storage, "f").await.unwrap(), b"content");

    let handle = client.open("f", OpenFlags::READ).await.unwrap();
    assert_eq!(
        client.write(&handle, 0, b"no").await,
        StatusCode::PermissionDenied
    );
    let handle = client.open("f", OpenFlags::WRITE).await.unwrap();
    assert_eq!(
        client.read(&handle, 0, 1).await,
        Err(StatusCode::PermissionDenied)
    );
}

#[tokio::test]
async fn an_upload_that_lacks_a_byte_is_not_published() {
    let storage = Memory::with_room(1000);
    stands(&storage, "f", b"old").await;
    let mut client = Client::over(&storage, everything()).await;
    let handle = client.open("f", CREATE).await.unwrap();
    static LONG: [u8; 600] = [1; 600];
    assert_eq!(client.write(&handle, 0, &LONG).await, StatusCode::Ok);
    assert_eq!(client.write(&handle, 600, &LONG).await, StatusCode::Failure);
    assert_eq!(client.write(&handle, 600, b"short").await, StatusCode::Ok);
    assert_eq!(client.close(&handle).await, StatusCode::Failure);
    assert_eq!(content(&storage, "f").await.unwrap(), b"old");
}

#[tokio::test]
async fn what_was_asked_last_comes_last_and_means_what_it_says() {
    let storage = Memory::new();
    let mut client = Client::over(&storage, everything()).await;
    let handle = client.open("f", CREATE).await.unwrap();
    let mut expected = Vec::new();
    let mut sent = Vec::new();
    // Writes over one another, in no order, and a look in their midst.
    for number in 0..500_u64 {
        let offset = number * 7919 % 4900;
        let data = vec![u8::try_from(number % 251).unwrap(); 100];
        let start = usize::try_from(offset).unwrap();
        expected.resize(expected.len().max(start + 100), 0);
        expected[start..start + 100].copy_from_slice(&data);
        let write = Request::Write {
            handle: handle.clone(),
            offset,
            data: data.into(),
        };
        sent.push(client.send(write).await);
        if number % 50 == 0 {
            sent.push(
                client
                    .send(Request::FStat {
                        handle: handle.clone(),
                    })
                    .await,
            );
        }
    }
    sent.push(
        client
            .send(Request::Close {
                handle: handle.clone(),
            })
            .await,
    );
    for id in sent {
        assert_eq!(client.receive().await.0, id);
    }
    assert_eq!(content(&storage, "f").await.unwrap(), expected);
}
