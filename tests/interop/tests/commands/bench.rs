//! Measurements: what they tell, and that nothing stays behind.

use std::fs;

use pasarela_testkit::{PASSWORD, Pasarela, Terminal};

use crate::user::{Run, User, pin, url};

struct Scene {
    server: Pasarela,
    user: User,
}

impl Scene {
    fn new(arguments: &[&str]) -> Self {
        Self {
            server: Pasarela::start(arguments),
            user: User::new(),
        }
    }

    fn command(&self, flags: &[&str]) -> std::process::Command {
        let (url, pin) = (url(&self.server, ""), pin(&self.server));
        let mut command = self
            .user
            .pasarela(["bench", &url, "--pin", &pin].iter().chain(flags));
        command.env("PASARELA_PASSWORD", PASSWORD);
        command
    }

    fn measures(&self, flags: &[&str]) -> Run {
        Run::of(self.command(flags))
    }

    fn served(&self) -> usize {
        fs::read_dir(self.server.root()).unwrap().count()
    }
}

const LITTLE: [&str; 6] = ["--size", "300kB", "--files", "7", "-p", "2"];

#[test]
fn every_step_is_measured_and_nothing_stays() {
    let scene = Scene::new(&[]);
    let told = scene
        .measures(&[&["--yes", "--json"], &LITTLE[..]].concat())
        .ends(0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    for (part, names) in [
        (
            "connection_ms",
            &["connect", "greeting", "tls", "login", "survey"][..],
        ),
        ("small_file_ms", &["data_connection", "begin", "the_rest"]),
        ("small_files_per_second", &["up", "down"]),
        ("bytes_per_second", &["up", "down"]),
        ("listing", &["p50_ms", "p99_ms"]),
    ] {
        let found = told[part].as_object().unwrap();
        for name in names {
            let value = found.get(*name).and_then(serde_json::Value::as_f64);
            assert!(value.is_some_and(|value| value >= 0.0), "{part} {name}: {told}");
        }
        assert!(
            found.values().any(|value| value.as_f64() > Some(0.0)),
            "{part}: {told}"
        );
    }
    assert_eq!(scene.served(), 0);
    let table = scene.measures(&[&["--yes"], &LITTLE[..]].concat()).ends(0);
    assert!(
        table.contains("until logged in") && table.contains("Where the time of a small file goes:"),
        "{table}"
    );
    assert_eq!(scene.served(), 0);
}

#[test]
fn nothing_is_written_without_a_word() {
    let scene = Scene::new(&[]);
    let asked = scene.measures(&LITTLE);
    assert!(asked.said.contains("--read-only PATH"), "{asked:?}");
    asked.ends(2);
    let mut terminal = Terminal::start(&scene.command(&LITTLE));
    terminal.expect("Go on? [y/N] ");
    terminal.type_line("");
    assert_eq!(terminal.end().0.code(), Some(2));
    let mut terminal = Terminal::start(&scene.command(&LITTLE));
    terminal.expect("Go on? [y/N] ");
    terminal.type_line("y");
    terminal.expect("throughput down");
    assert!(terminal.end().0.success());
    assert_eq!(scene.served(), 0);
}

#[test]
fn a_server_that_may_only_be_read_is_measured_by_a_file_of_its_own() {
    let scene = Scene::new(&["--read-only"]);
    fs::write(scene.server.file("there"), vec![7; 100_000]).unwrap();
    scene.measures(&[&["--yes"], &LITTLE[..]].concat()).ends(8);
    let told = scene.measures(&["--json", "--read-only", "there"]).ends(0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["bytes_per_second"]["down"].as_f64() > Some(0.0), "{told}");
    assert_eq!(told["listing"]["entries"], 1);
    assert_eq!(told["bytes_per_second"]["up"], serde_json::Value::Null);
    scene.measures(&["--read-only", "nothere"]).ends(7);
    scene.measures(&["--read-only", "there", "--yes"]).ends(2);
    scene.user.run(["bench", "/tmp"]).ends(2);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let scene = Scene::new(&[]);
    let mut terminal = Terminal::start(&scene.command(&["--yes", "--size", "2GiB", "--files", "3"]));
    terminal.expect("large files");
    terminal.type_keys("\x03");
    terminal.expect("removing what was sent");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown}");
    assert_eq!(scene.served(), 0, "{shown}");
}
