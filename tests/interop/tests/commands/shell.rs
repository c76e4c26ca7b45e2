//! The shell: scripts, jobs, patterns, and somebody at a terminal.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use pasarela_testkit::{PASSWORD, Pasarela, Terminal, USER, noise};

use crate::user::{Run, User, pin, url};

/// A server, and somebody who knows its key and has its password in the environment.
struct Scene {
    server: Pasarela,
    user: User,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            server: Pasarela::start(&[]),
            user: User::new(),
        };
        let address = scene.server.control().to_string();
        scene
            .user
            .run(["trust", "add", &address, &pin(&scene.server)])
            .ends(0);
        scene
    }

    fn command(&self, flags: &[&str]) -> std::process::Command {
        let url = url(&self.server, "");
        let mut command = self.user.pasarela(["shell", &url].iter().chain(flags));
        command.env("PASARELA_PASSWORD", PASSWORD);
        command
    }

    /// Does commands that are given as a flag.
    fn does(&self, commands: &str) -> Run {
        Run::of(self.command(&["-c", commands]))
    }

    /// Files at the server, each with its name as content.
    fn put(&self, names: &[&str]) {
        for name in names {
            let path = self.server.file(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
    }

    fn sits(&self, flags: &[&str]) -> Terminal {
        Terminal::start(&self.command(flags))
    }
}

#[test]
fn commands_work_in_folders_of_both_sides_over_one_connection() {
    let scene = Scene::new();
    scene.put(&["pub/a b.txt", "pub/c.txt", "pub/d.jpg", "top"]);
    fs::create_dir_all(scene.user.path("work/in")).unwrap();
    fs::write(scene.user.path("work/new"), "new").unwrap();
    let done = scene.does(
        "pwd; cd pub; pwd; ls *.txt
         cat 'a b.txt'
         lcd work; lpwd; lls
         put -j 1 n?w; mv new renamed; stat renamed
         mkdir -p x/y; put new x/y/
         get *.txt in/   # behind the names of the server, one of this machine
         get ../top copy
         sync here:in ../synced
         hash c.txt; rm -r x d.jpg
         cd -; cd; !echo outside",
    );
    let out = done.ends(0);
    let lines: Vec<&str> = out.lines().collect();
    let base = url(&scene.server, "");
    assert_eq!(lines[0], format!("{base}%2F"));
    assert_eq!(lines[1], format!("{base}%2Fpub"));
    assert_eq!(lines[2..4], ["a b.txt", "c.txt"]);
    assert!(lines[4].starts_with("pub/a b.txt/"), "{out}");
    assert!(
        out.contains("in/\nnew\n") && out.contains("/renamed\n  kind      file"),
        "{out}"
    );
    assert!(out.ends_with("outside\n"), "{out}");
    assert_eq!(scene.user.read("work/in/a b.txt"), "pub/a b.txt");
    assert_eq!(scene.user.read("work/copy"), "top");
    assert!(!scene.user.path("work/in/d.jpg").exists());
    let served = |name: &str| fs::read_to_string(scene.server.file(name)).ok();
    assert_eq!(served("pub/renamed").as_deref(), Some("new"));
    assert_eq!(served("synced/c.txt").as_deref(), Some("pub/c.txt"));
    assert_eq!((served("pub/x/y/new"), served("pub/d.jpg")), (None, None));
}

#[test]
fn the_first_failure_ends_a_script_unless_it_is_to_go_on() {
    let scene = Scene::new();
    scene.put(&["a"]);
    let done = scene.does("cat nothere; cat a");
    assert_eq!(done.out, "");
    done.ends(7);
    let done = Run::of(scene.command(&["--keep-going", "-c", "cat nothere; cat a"]));
    assert_eq!(done.ends(11), "a");
    Run::of(scene.command(&["--keep-going", "-c", "cat nothere; cat nothere"])).ends(7);
    scene.does("frobnicate").ends(2);
    scene.does("cat 'a").ends(2);
    scene.does("rm *.nothere").ends(7);
    scene.does("ls --pin x").ends(2);
    scene.does("!exit 3").ends(1);
    scene.does("cat a; quit; cat nothere").ends(0);
    assert_eq!(scene.does("ls a nothere").ends(11), "a\n");
    scene.does("put ~/nothere").ends(7);
    let wrong = Run::of({
        let mut command = scene.command(&["-c", "ls"]);
        command.env("PASARELA_PASSWORD", "wrong");
        command
    });
    wrong.ends(4);

    fs::write(scene.user.path("script"), "# two lines\nls\n\ncat nothere\n").unwrap();
    let done = Run::of(scene.command(&["-f", "script"]));
    assert!(done.said.starts_with("error: line 4: nothere: "), "{done:?}");
    done.ends(7);
    let mut child = scene
        .command(&[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"cat a\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == b"a", "{output:?}");
    // Without a server: what needs none works.
    let done = scene.user.run(["shell", "-c", "lpwd; cd x"]);
    assert!(done.said.contains("no server is open"), "{done:?}");
    done.ends(2);
}

#[test]
fn jobs_run_beside_each_other_and_are_waited_for_and_stopped() {
    let scene = Scene::new();
    scene.put(&["a", "b"]);
    fs::write(scene.server.file("large"), noise(1, 512 * 1024)).unwrap();
    let done = scene.does(
        "get --limit-rate 4KiB/s large &
         get a & get b
         stop 1; wait 2; jobs; !test ! -e large",
    );
    assert!(done.said.contains("[1] stopped: get"), "{done:?}");
    assert_eq!(done.ends(0), "");
    assert_eq!(scene.user.read("a") + &scene.user.read("b"), "ab");
    // The end of a script waits, and a job's failure is the script's.
    scene.does("get a late &").ends(0);
    assert_eq!(scene.user.read("late"), "a");
    scene.does("get nothere &").ends(7);
    scene.does("cd / &").ends(2);
    scene.does("wait 9").ends(7);
}

#[test]
fn somebody_types_with_tab_and_history_and_no_password_is_kept() {
    let scene = Scene::new();
    scene.put(&["pictures/one two.jpg", "notes.txt"]);
    let mut terminal = scene.sits(&[]);
    let at = |path: &str| format!("{USER}@{}:{path}> ", scene.server.control());
    terminal.expect(&at("/"));
    terminal.type_keys("cd pi\t");
    terminal.expect("pictures/");
    terminal.type_keys("\r");
    terminal.expect(&at("/pictures"));
    terminal.type_keys("ca\t");
    terminal.expect("cat ");
    terminal.type_keys("on\t");
    terminal.expect("one\\ two.jpg");
    terminal.type_keys("\r");
    terminal.expect("pictures/one two.jpg");
    terminal.expect(&at("/pictures"));
    terminal.type_line("cat nothere");
    terminal.expect("error: nothere: ");
    terminal.expect(&at("/pictures"));
    let open = format!("open ftpes://{USER}:{PASSWORD}@{}/", scene.server.control());
    terminal.type_line(&open);
    terminal.expect("warning: ");
    terminal.expect(&at("/"));
    // A line that was begun and given up.
    terminal.type_keys("rm -r pictures\x03");
    terminal.expect(&at("/"));
    terminal.type_line("help");
    terminal.expect("here:PATH");
    terminal.expect(&at("/"));
    terminal.type_keys("\x04");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(scene.server.file("pictures").exists());
    let history = scene.user.read("state/shell_history");
    assert!(
        history.contains("cat nothere") && !history.contains(PASSWORD),
        "{history}"
    );
    assert_eq!(scene.user.mode("state/shell_history"), 0o600);

    let mut terminal = scene.sits(&[]);
    terminal.expect(&at("/"));
    terminal.type_keys("\x1b[A");
    terminal.expect("help");
    terminal.type_keys("\x03");
    terminal.expect(&at("/"));
    terminal.type_line("quit");
    assert!(terminal.end().0.success());
}

#[test]
fn an_interrupt_ends_a_command_and_not_the_shell() {
    let scene = Scene::new();
    fs::write(scene.server.file("large"), noise(1, 512 * 1024)).unwrap();
    let mut terminal = scene.sits(&[]);
    let prompt = format!("{USER}@{}:/> ", scene.server.control());
    terminal.expect(&prompt);
    terminal.type_line("get --json --limit-rate 32KiB/s large");
    terminal.expect("\"moved\"");
    terminal.type_keys("\x03");
    terminal.expect(&prompt);
    terminal.type_line("get --limit-rate 2KiB/s large &");
    terminal.expect("[1] get");
    terminal.expect(&prompt);
    // It has first to learn how large the file is.
    while {
        terminal.type_line("jobs");
        !terminal.expect("bytes  get").contains("of 524288 bytes")
    } {}
    terminal.expect(&prompt);
    terminal.type_line("quit");
    terminal.expect("leave once more");
    terminal.expect(&prompt);
    terminal.type_line("quit");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(!scene.user.path("large").exists());
}

#[test]
fn a_shell_asks_for_trust_and_password_and_goes_on() {
    let (server, user) = (Pasarela::start(&[]), User::new());
    let mut terminal = Terminal::start(&user.pasarela(["shell"]));
    terminal.expect("pasarela> ");
    terminal.type_line(&format!("open {}", url(&server, "")));
    terminal.expect("Password for ");
    terminal.type_line(PASSWORD);
    terminal.expect("no [no]: ");
    terminal.type_line("yes");
    terminal.expect(":/> ");
    terminal.type_line("close");
    terminal.expect("pasarela> ");
    terminal.type_line("ls");
    terminal.expect("no server is open");
    // Before the prompt a ^D is the terminal's own.
    terminal.expect("pasarela> ");
    terminal.type_keys("\x04");
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains(PASSWORD), "{shown}");
    assert!(user.run(["trust", "list"]).ends(0).contains(&pin(&server)));
}

#[test]
fn one_connection_serves_all_commands() {
    let scene = Scene::new();
    scene.put(&["a"]);
    scene.does("ls; cat a; cd /; mkdir x; rm -r x; stat a").ends(0);
    let ended = scene.server.wait_for_log(Duration::from_secs(60), |line| {
        line.contains("ended elapsed").then_some(())
    });
    assert!(ended.is_some());
    let logins = scene
        .server
        .log()
        .lines()
        .filter(|line| line.contains("logged in"))
        .count();
    assert_eq!(logins, 1, "{}", scene.server.log());
}
