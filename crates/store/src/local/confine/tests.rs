//! No name leads out, in either way of resolution, and both ways lead to the same place.

use std::collections::BTreeSet;
use std::fs as std_fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use rustix::fs::{RenameFlags, renameat_with};

use super::super::reading::Reading;
use super::super::upload::{Terms, Upload};
use super::*;
use crate::Open;

const WAYS: [Way; 2] = [Way::Kernel, Way::Walk];

/// `u` is the root; beside it lie `u2` and `outside`, which no name may reach.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for dir in ["u", "u/d", "u/d/e", "u2", "outside"] {
            std_fs::create_dir(tree.at(dir)).unwrap();
        }
        for file in ["u/f", "u/d/f", "u/d/e/f", "u2/secret", "outside/secret"] {
            std_fs::write(tree.at(file), file).unwrap();
        }
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn root(&self, way: Way) -> Root {
        Root::open(&self.at("u"), way).unwrap()
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.at("u").join(name)).unwrap();
    }
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().resolve(text.as_bytes()).unwrap()
}

fn found(root: &Root, text: &str) -> std::result::Result<(u64, u64), ErrorKind> {
    let opened = root
        .open_at(&path(text), OFlags::PATH)
        .map_err(|error| error.kind)?;
    let stat = fs::fstat(opened).unwrap();
    Ok((stat.st_dev, stat.st_ino))
}

fn inode(path: PathBuf) -> std::result::Result<(u64, u64), ErrorKind> {
    let stat = fs::stat(path).unwrap();
    Ok((stat.st_dev, stat.st_ino))
}

#[test]
fn links_mean_what_they_would_after_chroot() {
    let tree = Tree::new();
    let outside = tree.at("outside").to_str().unwrap().to_owned();
    for (target, name) in [
        ("/d/f", "absolute"),
        ("../../../d/f", "up"),
        ("absolute", "nested"),
        ("/", "slash"),
        ("..", "d/parent"),
        ("../../..", "d/e/top"),
        ("d/", "dir slash"),
        ("f/", "file slash"),
        ("../u2/secret", "sibling"),
        ("../outside/secret", "out"),
        (outside.as_str(), "out absolute"),
        ("/proc/self/root", "magic"),
        ("loop", "loop"),
        ("pong", "ping"),
        ("ping", "pong"),
        ("none", "dangling"),
    ] {
        tree.link(target, name);
    }
    for way in WAYS {
        let root = tree.root(way);
        for name in [
            "absolute",
            "up",
            "nested",
            "slash/d/f",
            "d/parent/d/f",
            "d/e/top/d/f",
            "dir slash/f",
        ] {
            assert_eq!(found(&root, name), inode(tree.at("u/d/f")), "{way:?} {name}");
        }
        assert_eq!(found(&root, "/"), inode(tree.at("u")));
        assert_eq!(found(&root, "../.."), inode(tree.at("u")));
        assert_eq!(found(&root, "slash"), inode(tree.at("u")));
        for name in [
            "sibling",
            "out",
            "out absolute",
            "out absolute/secret",
            "magic",
            "dangling",
            "none",
        ] {
            assert_eq!(found(&root, name), Err(ErrorKind::NotFound), "{way:?} {name}");
        }
        for name in ["loop", "ping"] {
            assert_eq!(found(&root, name), Err(ErrorKind::BadName), "{way:?} {name}");
        }
        for name in ["f/x", "file slash"] {
            assert_eq!(
                found(&root, name),
                Err(ErrorKind::NotADirectory),
                "{way:?} {name}"
            );
        }
    }
}

#[test]
fn the_magic_links_of_procfs_are_not_followed() {
    if let Ok(root) = Root::open(Path::new("/proc/self"), Way::Kernel) {
        assert!(root.open_at(&path("root/etc"), OFlags::PATH).is_err());
        assert!(root.open_at(&path("cwd"), OFlags::PATH).is_err());
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let tree = Tree::new();
    tree.link("f", "l1");
    for number in 2..=41 {
        tree.link(&format!("l{}", number - 1), &format!("l{number}"));
    }
    for way in WAYS {
        let root = tree.root(way);
        assert_eq!(found(&root, "l40"), inode(tree.at("u/f")), "{way:?}");
        assert_eq!(found(&root, "l41"), Err(ErrorKind::BadName), "{way:?}");
    }
}

#[test]
fn an_operation_on_an_entry_does_not_follow_it() {
    let tree = Tree::new();
    tree.link("d", "to dir");
    tree.link("f", "to file");
    for way in WAYS {
        let root = tree.root(way);
        assert_eq!(
            root.remove_dir(&path("to dir")).unwrap_err().kind,
            ErrorKind::NotADirectory
        );
        assert_eq!(
            root.make_dir(&path("to file"), false).unwrap_err().kind,
            ErrorKind::Exists
        );
        root.rename(&path("to file"), &path("moved"), false).unwrap();
        assert!(std_fs::symlink_metadata(tree.at("u/moved")).unwrap().is_symlink());
        root.rename(&path("moved"), &path("to file"), false).unwrap();
        assert_eq!(root.target(&path("to file")).unwrap().name, b"f");
        assert_eq!(root.target(&path("to dir")).unwrap().name, b"d");
        assert_eq!(root.parent(&path("to dir")).unwrap().name, b"to dir");
    }
}

/// One thing after the other, whatever comes of it: the tree is being turned upside down meanwhile.
fn touch_everything(root: &Root) {
    let terms = Terms {
        safe: false,
        mode: 0o644,
    };
    for name in ["swap/secret", "swap/new", "file"] {
        let name = path(name);
        if let Ok(file) = Reading::open(root, &name) {
            let text = std::io::read_to_string(crate::File::as_os_file(&file).unwrap()).unwrap();
            assert!(!text.contains("outside"), "escaped: read {text:?}");
        }
        if let Ok(upload) = root
            .target(&name)
            .and_then(|place| Upload::open(place, Open::Append, terms))
        {
            assert!(
                !upload.content_now().starts_with(b"out"),
                "escaped: took over what lies outside"
            );
            let _ = upload.publish_now();
        }
        let _ = root.set_mode(&name, 0o600);
        let _ = root.set_modified(&name, SystemTime::UNIX_EPOCH);
        let _ = root.rename(&name, &path("swap/moved"), true);
        let _ = root.remove_file(&name);
        let _ = root.remove_file(&path("swap/moved"));
    }
    let _ = root.make_dir(&path("swap/dir"), false);
    let _ = root.remove_dir(&path("swap/dir"));
    let _ = root.make_link(b"x", &path("swap/link"));
    let _ = root.remove_file(&path("swap/link"));
}

#[test]
fn no_swap_of_a_directory_and_a_link_opens_a_way_out() {
    let tree = Tree::new();
    std_fs::create_dir(tree.at("u/swap")).unwrap();
    symlink(tree.at("outside"), tree.at("u/other")).unwrap();
    std_fs::write(tree.at("u/file"), "inside").unwrap();
    std_fs::set_permissions(tree.at("outside/secret"), std_fs::Permissions::from_mode(0o640)).unwrap();
    let before = std_fs::metadata(tree.at("outside/secret")).unwrap();

    let (done, dir) = (AtomicBool::new(false), std_fs::File::open(tree.at("u")).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = renameat_with(&dir, "swap", &dir, "other", RenameFlags::EXCHANGE);
                // The file is now a link that leads out, now a file again.
                let _ = symlink(tree.at("outside/secret"), tree.at("u/d/link"));
                let _ = std_fs::rename(tree.at("u/d/link"), tree.at("u/file"));
                let _ = std_fs::write(tree.at("u/d/again"), "inside");
                let _ = std_fs::rename(tree.at("u/d/again"), tree.at("u/file"));
            }
        });
        let worker = scope.spawn(|| {
            for way in WAYS {
                let (root, start) = (tree.root(way), Instant::now());
                while start.elapsed() < Duration::from_millis(500) {
                    touch_everything(&root);
                }
            }
        });
        let result = worker.join();
        done.store(true, Ordering::Relaxed);
        result.unwrap();
    });

    let names: Vec<_> = std_fs::read_dir(tree.at("outside"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(
        std_fs::read(tree.at("outside/secret")).unwrap(),
        b"outside/secret"
    );
    let after = std_fs::metadata(tree.at("outside/secret")).unwrap();
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(after.permissions(), before.permissions());
}

/// Something in a random tree.
#[derive(Debug, Clone)]
enum Thing {
    Dir,
    File,
    Link(String),
}

/// Paths over few names, so that they meet; with `..`, `.` and slashes in all places.
fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", ""]);
    (any::<bool>(), prop::collection::vec(part, 1..6)).prop_map(|(absolute, parts)| {
        let text = parts.join("/");
        if absolute || text.is_empty() {
            format!("/{text}")
        } else {
            text
        }
    })
}

fn thing() -> impl Strategy<Value = (Vec<String>, Thing)> {
    let name = prop::sample::select(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let thing = prop_oneof![2 => Just(Thing::Dir), 1 => Just(Thing::File), 3 => text().prop_map(Thing::Link)];
    (prop::collection::vec(name, 1..4), thing)
}

fn all_inodes(dir: PathBuf, into: &mut BTreeSet<(u64, u64)>) {
    let stat = fs::lstat(&dir).unwrap();
    into.insert((stat.st_dev, stat.st_ino));
    if kind(&stat) == FileType::Directory {
        for entry in std_fs::read_dir(&dir).unwrap() {
            all_inodes(entry.unwrap().path(), into);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_lead_to_the_same_place_beneath_the_root(
        things in prop::collection::vec(thing(), 1..24),
        asked in prop::collection::vec(text(), 1..48),
    ) {
        let tree = Tree::new();
        for (name, thing) in things {
            let at = tree.at("u/d").join(name.join("/"));
            // Through a link it might be made outside; where something stands already, nothing is made.
            let is_plain = |dir: PathBuf| std_fs::canonicalize(&dir).is_ok_and(|real| real == dir && real.is_dir());
            let home = std_fs::canonicalize(tree.0.path()).unwrap().join("u/d").join(name[..name.len() - 1].join("/"));
            let home = home.components().collect();
            if !is_plain(home) || fs::lstat(&at).is_ok() {
                continue;
            }
            match thing {
                Thing::Dir => std_fs::create_dir(&at).unwrap(),
                Thing::File => std_fs::write(&at, "x").unwrap(),
                Thing::Link(target) => symlink(target, &at).unwrap(),
            }
        }
        let (kernel, walk) = (tree.root(Way::Kernel), tree.root(Way::Walk));
        let mut beneath = BTreeSet::new();
        all_inodes(tree.at("u"), &mut beneath);
        for text in asked.iter().map(|text| format!("/d/{text}")) {
            let (by_kernel, by_walk) = (found(&kernel, &text), found(&walk, &text));
            prop_assert_eq!(by_kernel, by_walk, "{}", text);
            if let Ok(inode) = by_walk {
                prop_assert!(beneath.contains(&inode), "{} leads out", text);
            }
        }
    }
}
