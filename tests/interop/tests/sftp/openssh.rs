//! OpenSSH's sftp and scp: batches, trees, resume, keys of every kind; and `pasarela sftp-server` beneath `sftp -D`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_testkit::{Ended, Pasarela, USER, assert_same_tree, make_file, pasarela_binary, run, sha256};

use super::{Site, make_deep_tree};

fn sftp(site: &Site, user: &str, more: &[&str]) -> Command {
    let mut sftp = site.client("sftp");
    sftp.args(site.options()).args(["-P", &site.port()]).args(more);
    sftp.arg(format!("{user}@127.0.0.1"));
    sftp
}

/// Runs commands; a session from standard input goes on after one that fails, so what they did is what is looked at.
#[track_caller]
fn batch(site: &Site, text: &str) -> Ended {
    run(sftp(site, USER, &[]).stdin(site.script(text))).expect_success()
}

#[test]
fn files_and_trees_go_there_and_back() {
    let site = Site::start();
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_deep_tree(&from);
    batch(&site, "put -R from tree\nget -R tree into/tree\n");
    assert_same_tree(&from, &site.server.file("tree"));
    assert_same_tree(&from, &into.join("tree"));
}

#[test]
fn names_are_bytes() {
    let site = Site::start();
    fs::write(site.path("f"), "content").unwrap();
    batch(&site, "put f \"two words\"\nput f canción\nget canción back\n");
    assert_eq!(fs::read(site.server.file("two words")).unwrap(), b"content");
    assert_eq!(fs::read(site.path("back")).unwrap(), b"content");
}

#[test]
fn everything_that_is_no_transfer_works_too() {
    let site = Site::start();
    make_file(&site.path("a"), 1, 100_000);
    make_file(&site.path("b"), 2, 50_000);
    let said = batch(
        &site,
        "put a one\nput b two\nrename one two\nmkdir d\nrename two d/three\nchmod 640 d/three\nls -l d\n\
         put a gone\nrm gone\nmkdir e\nrmdir e\ndf\ncp d/three d/four\nput -p b timed\n",
    );
    let listing = String::from_utf8_lossy(&said.stdout);
    assert!(listing.contains("-rw-r-----"), "{listing}");
    let names = |dir: &str| {
        let mut names: Vec<_> = fs::read_dir(site.server.file(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("."), ["d", "timed"]);
    assert_eq!(sha256(&site.path("a")), sha256(&site.server.file("d/three")));
    if names("d").len() > 1 {
        // Only newer clients know `cp`.
        assert_eq!(sha256(&site.path("a")), sha256(&site.server.file("d/four")));
    }
    let modified = |path: &std::path::Path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    assert_eq!(modified(&site.path("b")), modified(&site.server.file("timed")));
}

#[test]
fn large_packets_and_deep_pipelines_work() {
    let site = Site::start();
    make_file(&site.path("f"), 5, 30_000_000);
    for more in [&["-B", "261120"][..], &["-R", "1024"], &["-B", "1000", "-R", "4"]] {
        let script = site.script("put f g\nget g back\n");
        run(sftp(&site, USER, more).stdin(script)).expect_success();
        assert_eq!(sha256(&site.path("f")), sha256(&site.path("back")), "{more:?}");
    }
}

/// The client is killed in the middle: nothing stands under the name, and what came is gone on with.
#[test]
fn an_upload_that_was_cut_is_resumed() {
    let site = Site::start();
    make_file(&site.path("f"), 6, 8_000_000);
    let mut slow = sftp(&site, USER, &["-l", "8000"])
        .stdin(site.script("put f f\n"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let part = || {
        let entries = fs::read_dir(site.server.root()).unwrap();
        let mut parts = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        parts.next().unwrap_or(0)
    };
    let end = Instant::now() + Duration::from_secs(120);
    while part() < 1_000_000 {
        assert!(Instant::now() < end, "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!site.server.file("f").exists());
    slow.kill().unwrap();
    slow.wait().unwrap();
    site.server
        .wait_for_log(Duration::from_secs(60), |line| {
            line.contains("transfer aborted").then_some(())
        })
        .unwrap();
    assert!(!site.server.file("f").exists());
    let left = part();
    assert!((1_000_000..8_000_000).contains(&left));
    batch(&site, "reput f f\n");
    assert_eq!(sha256(&site.path("f")), sha256(&site.server.file("f")));
    let log = site.server.log();
    let resumed = log
        .lines()
        .rfind(|line| line.contains("transfer complete"))
        .unwrap();
    assert!(!resumed.contains("bytes=8000000"), "{resumed}");

    // And the other way.
    fs::copy(site.path("f"), site.path("half")).unwrap();
    let half = fs::File::options().write(true).open(site.path("half")).unwrap();
    half.set_len(3_000_000).unwrap();
    batch(&site, "reget f half\n");
    assert_eq!(sha256(&site.path("f")), sha256(&site.path("half")));
}

#[test]
fn scp_copies_trees_both_ways() {
    let site = Site::start();
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_deep_tree(&from);
    let scp = |words: &[&str]| {
        let mut scp = site.client("scp");
        scp.args(site.options())
            .args(["-s", "-r", "-p", "-P", &site.port()]);
        run(scp.args(words)).expect_success();
    };
    scp(&["from", &format!("{USER}@127.0.0.1:/tree")]);
    assert_same_tree(&from, &site.server.file("tree"));
    scp(&[&format!("{USER}@127.0.0.1:/tree"), "into"]);
    assert_same_tree(&from, &into.join("tree"));
}

#[test]
fn a_wrong_password_is_refused_and_there_is_neither_shell_nor_command_nor_forwarding() {
    let site = Site::start();
    let mut wrong = sftp(&site, "nobody", &[]);
    assert!(!run(wrong.stdin(site.script("pwd\n"))).success());
    let ssh = |words: &[&str]| {
        let mut ssh = site.client("ssh");
        ssh.args(site.options()).args(["-p", &site.port()]);
        run(ssh.args(words))
    };
    let to = format!("{USER}@127.0.0.1");
    assert!(!ssh(&[&to, "id"]).success());
    assert!(!ssh(&[&to]).success());
    let forwarded = site.server.control().to_string();
    let ended = ssh(&["-W", &forwarded, &to]);
    assert!(!ended.success() && ended.stdout.is_empty(), "{ended}");
    // Logged in, all three times.
    let log = site.server.log();
    assert_eq!(log.matches("logged in").count(), 3, "{log}");
}

#[test]
fn public_keys_and_certificates_log_in_and_no_others() {
    let keys = tempfile::tempdir().unwrap();
    let key = |name: &str| keys.path().join(name).display().to_string();
    let keygen = |words: &[&str]| {
        run(Command::new("ssh-keygen")
            .arg("-q")
            .args(words)
            .stdin(Stdio::null()))
        .expect_success();
    };
    let listed = ["ed25519", "ecdsa", "rsa"];
    for kind in listed {
        keygen(&["-t", kind, "-N", "", "-f", &key(kind)]);
    }
    for name in ["authority", "stranger", "signed", "for-others"] {
        keygen(&["-t", "ed25519", "-N", "", "-f", &key(name)]);
    }
    for (name, principal) in [("signed", "anna"), ("for-others", "berta")] {
        let (authority, public) = (key("authority"), format!("{}.pub", key(name)));
        keygen(&["-s", &authority, "-I", "test", "-n", principal, &public]);
    }
    let mut lines = String::new();
    for kind in listed {
        lines += &fs::read_to_string(format!("{}.pub", key(kind))).unwrap();
    }
    let authority = fs::read_to_string(format!("{}.pub", key("authority"))).unwrap();
    lines += &format!("cert-authority {authority}");
    fs::write(key("authorized"), lines).unwrap();

    let config = format!(
        "[[user]]\nname = \"anna\"\nauthorized_keys_file = \"{}\"\n",
        key("authorized")
    );
    let site = Site::of(&Pasarela::setup().config(&config));
    let logs_in = |name: &str| {
        let identity = key(name);
        let more = ["-i", identity.as_str(), "-o", "PasswordAuthentication=no"];
        run(sftp(&site, "anna", &more).stdin(site.script("pwd\n"))).success()
    };
    for good in ["ed25519", "ecdsa", "rsa", "signed"] {
        assert!(logs_in(good), "{good}");
    }
    for bad in ["stranger", "for-others", "authority"] {
        assert!(!logs_in(bad), "{bad}");
    }
}

/// As a subsystem of another SSH server has it: on standard input and output.
#[test]
fn the_subsystem_serves_on_standard_input_and_output() {
    let site = Site::start();
    let (from, into, root) = (site.folder("from"), site.folder("into"), site.folder("root"));
    make_deep_tree(&from);
    let server = format!("{} sftp-server {}", pasarela_binary().display(), root.display());
    let mut sftp = site.client("sftp");
    let script = site.script("put -R from tree\nget -R tree into/tree\nln -s tree/large.bin link\n");
    run(sftp.args(["-D", &server]).stdin(script)).expect_success();
    assert_same_tree(&from, &root.join("tree"));
    assert_same_tree(&from, &into.join("tree"));
    assert_eq!(
        fs::read_link(root.join("link")).unwrap().to_str(),
        Some("tree/large.bin")
    );
}
