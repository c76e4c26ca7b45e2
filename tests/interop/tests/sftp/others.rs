//! curl, lftp, rclone and sshfs over SFTP.

use std::fs;
use std::path::Path;
use std::process::Command;

use pasarela_testkit::{PASSWORD, USER, assert_same_tree, make_file, run, sha256};

use super::{Site, make_deep_tree};

#[test]
fn curl_puts_gets_and_resumes() {
    let site = Site::start();
    make_file(&site.path("f"), 1, 10_000_000);
    let url = format!("sftp://{USER}:{PASSWORD}@{}/f", site.server.sftp());
    let curl = |words: &[&str]| {
        let mut curl = site.client("curl");
        run(curl.args(["-sS", "--insecure"]).args(words).arg(&url)).expect_success();
    };
    curl(&["-T", "f"]);
    assert_eq!(sha256(&site.path("f")), sha256(&site.server.file("f")));
    curl(&["-o", "back"]);
    assert_eq!(sha256(&site.path("f")), sha256(&site.path("back")));
    for cut in [&site.server.file("f"), &site.path("back")] {
        let file = fs::File::options().write(true).open(cut).unwrap();
        file.set_len(4_000_000).unwrap();
    }
    curl(&["-C", "4000000", "-T", "f"]);
    assert_eq!(sha256(&site.path("f")), sha256(&site.server.file("f")));
    curl(&["-C", "-", "-o", "back"]);
    assert_eq!(sha256(&site.path("f")), sha256(&site.path("back")));
}

#[test]
fn lftp_mirrors_both_ways() {
    let site = Site::start();
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_deep_tree(&from);
    let program = format!("ssh -a -x {}", site.options().join(" "));
    let commands = format!(
        "set sftp:connect-program \"{program}\"; set net:max-retries 2; mirror -R -P 4 from tree; \
         mirror -P 4 tree into; bye"
    );
    let mut lftp = site.client("lftp");
    lftp.args(["-u", &format!("{USER},{PASSWORD}"), "-e", &commands]);
    run(lftp.arg(format!("sftp://{}", site.server.sftp()))).expect_success();
    assert_same_tree(&from, &site.server.file("tree"));
    assert_same_tree(&from, &into);
}

#[test]
fn rclone_copies_eight_at_a_time() {
    let site = Site::start();
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_deep_tree(&from);
    let obscured = run(site.client("rclone").args(["obscure", PASSWORD]))
        .expect_success()
        .stdout;
    let rclone = |words: &[&str]| {
        let mut rclone = site.client("rclone");
        for (key, value) in [
            ("TYPE", "sftp"),
            ("HOST", "127.0.0.1"),
            ("PORT", &site.port()),
            ("USER", USER),
            ("PASS", String::from_utf8_lossy(&obscured).trim_end()),
        ] {
            rclone.env(format!("RCLONE_CONFIG_X_{key}"), value);
        }
        rclone.args(["--transfers", "8", "--retries", "1", "--low-level-retries", "1"]);
        run(rclone.args(words)).expect_success();
    };
    rclone(&["copy", "from", "x:tree"]);
    assert_same_tree(&from, &site.server.file("tree"));
    rclone(&["copy", "x:tree", "into"]);
    assert_same_tree(&from, &into);
    rclone(&["moveto", "x:tree/large.bin", "x:moved"]);
    assert_eq!(
        sha256(&from.join("large.bin")),
        sha256(&site.server.file("moved"))
    );
    rclone(&["purge", "x:tree"]);
    assert!(!site.server.file("tree").exists());
}

/// A mount that is gone when the test is, whatever became of it.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = run(Command::new("fusermount").arg("-uz").arg(self.0));
    }
}

#[test]
fn sshfs_mounts_it_as_a_file_system() {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: there is no /dev/fuse here, so sshfs can mount nothing");
        return;
    }
    let site = Site::start();
    let (from, at) = (site.folder("from"), site.folder("at"));
    make_deep_tree(&from);
    let mut sshfs = site.client("sshfs");
    sshfs
        .args(site.options())
        .args(["-o", "password_stdin", "-p", &site.port()]);
    sshfs.arg(format!("{USER}@127.0.0.1:/")).arg(&at);
    let mounted = run(sshfs.stdin(site.script(&format!("{PASSWORD}\n"))));
    if !mounted.success() {
        eprintln!("SKIPPED: sshfs cannot mount here: {mounted}");
        return;
    }
    let mount = Mount(&at);
    run(site.client("cp").args(["-r", "from", "at/tree"])).expect_success();
    assert_same_tree(&from, &at.join("tree"));
    fs::write(at.join("f"), "hello ").unwrap();
    let script =
        "echo world >> at/f; mv at/f at/g; sed -i s/hello/HELLO/ at/g; truncate -s 8 at/g; chmod 600 at/g";
    run(site.client("sh").args(["-c", script])).expect_success();
    assert_eq!(fs::read(at.join("g")).unwrap(), b"HELLO wo");
    drop(mount);
    assert_eq!(fs::read(site.server.file("g")).unwrap(), b"HELLO wo");
    assert_same_tree(&from, &site.server.file("tree"));
}
