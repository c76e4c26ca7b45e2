//! Every operation against every permission: one that is missing lets nothing happen.

use std::collections::BTreeMap;

use pasarela_store::{Kind, Metadata};

use super::*;

/// An operation, the permissions that it takes, and what it does in a session.
struct Operation {
    name: &'static str,
    needs: &'static [Permission],
    does: fn() -> Vec<Step>,
}

/// What a client does, one after the other; it goes on whatever the answers are.
enum Step {
    Ask(Request),
    /// Opens and keeps the handle for the steps that follow.
    Open(&'static str, OpenFlags),
    /// With the handle, or with one that nobody has given out.
    With(fn(Bytes) -> Request),
}

fn set(size: Option<u64>, permissions: Option<u32>, times: Option<(u32, u32)>) -> Attributes {
    Attributes {
        size,
        permissions,
        times,
        ..Attributes::default()
    }
}

fn write(handle: Bytes) -> Request {
    Request::Write {
        handle,
        offset: 2,
        data: path("written"),
    }
}

fn write_at_the_end(handle: Bytes) -> Request {
    Request::Write {
        handle,
        offset: 8,
        data: path("written"),
    }
}

fn close(handle: Bytes) -> Request {
    Request::Close { handle }
}

fn truncate(handle: Bytes) -> Request {
    Request::FSetStat {
        handle,
        attributes: set(Some(3), None, None),
    }
}

fn times(handle: Bytes) -> Request {
    Request::FSetStat {
        handle,
        attributes: set(None, Some(0o600), Some((5, 5))),
    }
}

#[rustfmt::skip] // a row an operation
fn operations() -> Vec<Operation> {
    use Permission::{Append, Attributes as Attrs, Delete, Link, Mkdir, Rename, Write};
    vec![
        Operation { name: "OPEN to replace", needs: &[Write], does: || vec![Step::Open("file", CREATE), Step::With(write), Step::With(close)] },
        Operation { name: "OPEN new", needs: &[Write], does: || vec![Step::Open("new", CREATE), Step::With(write), Step::With(close)] },
        Operation { name: "OPEN exclusive", needs: &[Write], does: || vec![Step::Open("new", OpenFlags(0x2a)), Step::With(close)] },
        Operation { name: "OPEN to append", needs: &[Append], does: || vec![Step::Open("file", OpenFlags(0x06)), Step::With(write), Step::With(close)] },
        Operation { name: "OPEN to go on at the end", needs: &[Append], does: || vec![Step::Open("file", OpenFlags(0x0a)), Step::With(write_at_the_end), Step::With(close)] },
        Operation { name: "OPEN to change", needs: &[Append, Write], does: || vec![Step::Open("file", OpenFlags(0x0a)), Step::With(write), Step::With(close)] },
        Operation { name: "FSETSTAT size", needs: &[Append, Write], does: || vec![Step::Open("file", OpenFlags(0x02)), Step::With(truncate), Step::With(close)] },
        Operation { name: "FSETSTAT times", needs: &[Append, Attrs], does: || vec![Step::Open("file", OpenFlags(0x02)), Step::With(times), Step::With(close)] },
        Operation { name: "FSETSTAT times by a handle that reads", needs: &[Permission::Read, Attrs], does: || vec![Step::Open("file", OpenFlags(0x01)), Step::With(times), Step::With(close)] },
        Operation { name: "SETSTAT size", needs: &[Append, Write], does: || vec![Step::Ask(Request::SetStat { path: path("file"), attributes: set(Some(3), None, None) })] },
        Operation { name: "SETSTAT mode", needs: &[Attrs], does: || vec![Step::Ask(Request::SetStat { path: path("file"), attributes: set(None, Some(0o600), None) })] },
        Operation { name: "SETSTAT times", needs: &[Attrs], does: || vec![Step::Ask(Request::SetStat { path: path("file"), attributes: set(None, None, Some((5, 5))) })] },
        Operation { name: "SETSTAT size and mode", needs: &[Append, Write, Attrs], does: || vec![Step::Ask(Request::SetStat { path: path("file"), attributes: set(Some(3), Some(0o600), None) })] },
        Operation { name: "lsetstat", needs: &[Attrs], does: || vec![Step::Ask(Request::Extended(Extended::LSetStat { path: path("file"), attributes: set(None, Some(0o600), None) }))] },
        Operation { name: "REMOVE", needs: &[Delete], does: || vec![Step::Ask(Request::Remove { path: path("file") })] },
        Operation { name: "MKDIR", needs: &[Mkdir], does: || vec![Step::Ask(Request::MakeDir { path: path("new"), attributes: Attributes::default() })] },
        Operation { name: "RMDIR", needs: &[Delete], does: || vec![Step::Ask(Request::RemoveDir { path: path("dir") })] },
        Operation { name: "RENAME", needs: &[Rename], does: || vec![Step::Ask(Request::Rename { from: path("file"), to: path("new") })] },
        Operation { name: "posix-rename", needs: &[Rename], does: || vec![Step::Ask(Request::Extended(Extended::PosixRename { from: path("file"), to: path("new") }))] },
        Operation { name: "posix-rename over", needs: &[Rename, Delete], does: || vec![Step::Ask(Request::Extended(Extended::PosixRename { from: path("file"), to: path("other") }))] },
        Operation { name: "SYMLINK", needs: &[Link], does: || vec![Step::Ask(Request::SymLink { target: path("file"), link: path("new") })] },
        Operation { name: "hardlink", needs: &[Link], does: || vec![Step::Ask(Request::Extended(Extended::HardLink { target: path("file"), link: path("new") }))] },
    ]
}

/// All that is in a store: names, kinds, contents, modes, times.
async fn everything_in(storage: &Memory) -> BTreeMap<Vec<u8>, (Metadata, Option<Vec<u8>>)> {
    let mut found = BTreeMap::new();
    let mut pages = storage.list(&VirtualPath::root()).await.unwrap();
    while let Some(page) = pages.next_page().await.unwrap() {
        for entry in page {
            let name = String::from_utf8(entry.name.clone()).unwrap();
            found.insert(entry.name, (entry.metadata, content(storage, &name).await));
        }
    }
    found
}

fn described(found: &BTreeMap<Vec<u8>, (Metadata, Option<Vec<u8>>)>) -> String {
    format!("{found:?}")
}

async fn prepared() -> Memory {
    let storage = Memory::new();
    stands(&storage, "file", b"contents").await;
    stands(&storage, "other", b"others").await;
    storage.make_dir(&at("dir")).await.unwrap();
    storage
}

async fn done(operation: &Operation, may: May) -> (String, String, Memory) {
    let storage = prepared().await;
    let before = described(&everything_in(&storage).await);
    let mut client = Client::over(&storage, may).await;
    let mut handle = Bytes::from_static(&[0; 8]);
    for step in (operation.does)() {
        match step {
            Step::Ask(request) => drop(client.ask(request).await),
            Step::Open(name, flags) => handle = client.open(name, flags).await.unwrap_or(handle),
            Step::With(request) => drop(client.ask(request(handle.clone())).await),
        }
    }
    client.hang_up().await.unwrap();
    (before, described(&everything_in(&storage).await), storage)
}

#[tokio::test]
async fn without_a_permission_that_it_needs_no_operation_has_an_effect_anywhere() {
    for operation in operations() {
        for missing in operation.needs {
            let may = Permission::ALL.into_iter().filter(|p| p != missing).collect();
            let (before, after, storage) = done(&operation, may).await;
            assert_eq!(before, after, "{} without {missing}", operation.name);
            assert_eq!(
                storage.part(&at("new")).await.unwrap(),
                None,
                "{}",
                operation.name
            );
        }
    }
}

#[tokio::test]
async fn with_the_permissions_that_it_needs_every_operation_has_its_effect() {
    // Links are nothing that this store has, and hard links nothing that this server serves.
    let served = |operation: &Operation| !["SYMLINK", "hardlink"].contains(&operation.name);
    for operation in operations().into_iter().filter(served) {
        // To look is what some of them do first.
        let may = operation
            .needs
            .iter()
            .copied()
            .chain([Permission::List])
            .collect();
        let (before, after, _) = done(&operation, may).await;
        assert_ne!(before, after, "{}", operation.name);
    }
}

#[tokio::test]
async fn without_permission_to_read_or_list_nothing_is_told() {
    let storage = prepared().await;
    let may = |without: &[Permission]| {
        Permission::ALL
            .into_iter()
            .filter(|p| !without.contains(p))
            .collect::<May>()
    };
    let mut client = Client::over(&storage, may(&[Permission::Read])).await;
    assert_eq!(
        client.open("file", OpenFlags::READ).await,
        Err(StatusCode::PermissionDenied)
    );
    // Nor by way of a handle that writes.
    let both = OpenFlags::READ | OpenFlags::WRITE;
    assert_eq!(client.open("file", both).await, Err(StatusCode::PermissionDenied));
    let check = Extended::CheckFileName {
        path: path("file"),
        check: Check {
            algorithms: path("md5"),
            offset: 0,
            length: 0,
            block: 0,
        },
    };
    assert_eq!(
        client.code(Request::Extended(check)).await,
        StatusCode::PermissionDenied
    );

    let mut client = Client::over(&storage, may(&[Permission::List])).await;
    let list = Request::OpenDir { path: path("/") };
    assert_eq!(client.code(list).await, StatusCode::PermissionDenied);

    let mut client = Client::over(&storage, may(&[Permission::List, Permission::Read])).await;
    for request in [
        Request::Stat { path: path("file") },
        Request::LStat { path: path("file") },
        Request::ReadLink { path: path("file") },
    ] {
        assert_eq!(client.code(request).await, StatusCode::PermissionDenied);
    }
    let mut client = Client::over(&storage, may(&[Permission::Write])).await;
    let volume = Extended::StatVfs { path: path("/") };
    assert_eq!(
        client.code(Request::Extended(volume)).await,
        StatusCode::PermissionDenied
    );
    assert_eq!(storage.stat(&at("file")).await.unwrap().kind, Kind::File);
}
