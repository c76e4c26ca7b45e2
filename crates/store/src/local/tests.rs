//! What every backend promises, and what only a disk can show.

mod disk;
mod promise;

use super::*;
use bytes::Bytes;

/// A backend, with the directory that it lives in.
struct Disk {
    store: Local,
    dir: tempfile::TempDir,
}

impl Disk {
    fn new(way: Way) -> Self {
        Self::with(way, Durability::Fast)
    }

    fn with(way: Way, durability: Durability) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let options = Options {
            durability,
            ..Options::default()
        };
        let store = Local::open_way(&dir.path().join("root"), options, way).unwrap();
        Self { store, dir }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("root").join(path)
    }

    /// The names in a directory as the system sees them, parts too.
    fn names(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(dir)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().resolve(text.as_bytes()).unwrap()
}

fn kind_of<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("it was done").kind
}

async fn write(file: &Arc<dyn File>, bytes: &'static [u8]) {
    file.write_at(file.start(), Bytes::from_static(bytes))
        .await
        .unwrap();
}

/// Uploads as a whole.
async fn put(store: &dyn Storage, name: &str, bytes: &'static [u8]) {
    let file = store.open(&path(name), Open::Replace).await.unwrap();
    write(&file, bytes).await;
    file.publish().await.unwrap();
}

/// Uploads and is cut off.
async fn cut(store: &dyn Storage, name: &str, how: Open, bytes: &'static [u8]) {
    let file = store.open(&path(name), how).await.unwrap();
    write(&file, bytes).await;
}

async fn content(store: &dyn Storage, name: &str) -> Vec<u8> {
    let file = store.open(&path(name), Open::Read).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let piece = file.read_at(bytes.len() as u64, 1 << 16).await.unwrap();
        if piece.is_empty() {
            return bytes;
        }
        bytes.extend_from_slice(&piece);
    }
}

async fn list(store: &dyn Storage, dir: &str) -> Vec<Entry> {
    let (mut pages, mut entries) = (store.list(&path(dir)).await.unwrap(), Vec::new());
    while let Some(page) = pages.next_page().await.unwrap() {
        assert!((1..=256).contains(&page.len()));
        entries.extend(page);
    }
    entries
}

/// Each turn on another thread costs a small transfer more than its bytes do.
#[test]
fn what_is_known_already_waits_for_no_other_thread() {
    let disk = Disk::new(Way::Kernel);
    std::fs::write(disk.at("file"), "four").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let known = runtime.block_on(async {
        let path = VirtualPath::root().resolve(b"file").unwrap();
        let file = disk.store.open(&path, Open::Read).await.unwrap();
        let mut pages = disk.store.list(&VirtualPath::root()).await.unwrap();
        assert_eq!(pages.next_page().await.unwrap().unwrap().len(), 1);
        // Nobody else gets the only other thread from here on.
        let busy = tokio::task::spawn_blocking(move || released.recv());
        let known = tokio::time::timeout(Duration::from_secs(20), async {
            (
                file.size().await.unwrap(),
                pages.next_page().await.unwrap().is_none(),
            )
        });
        let known = known.await;
        drop(release);
        let _ = busy.await;
        known
    });
    assert_eq!(known.ok(), Some((4, true)));
}
