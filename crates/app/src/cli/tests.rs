//! The command line: its definitions hold, and flags mean what their keys mean.

use clap::CommandFactory as _;

use super::*;
use crate::config::raw::Origin;

fn serve(arguments: &[&str]) -> ServeFlags {
    let words = ["pasarela", "serve"].iter().chain(arguments);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Serve(flags) => flags,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definitions_hold() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_of_a_key_exists_and_has_the_help_of_its_key() {
    let root = Cli::command();
    let serve = root.find_subcommand("serve").unwrap();
    for key in keys::KEYS {
        let Some(flag) = key.flag else { continue };
        if flag == "DIR" {
            continue;
        }
        let argument = serve
            .get_arguments()
            .find(|argument| argument.get_long() == Some(flag));
        let help = argument
            .unwrap_or_else(|| panic!("no --{flag}"))
            .get_help()
            .unwrap()
            .to_string();
        assert_eq!(help, key.help, "--{flag}");
    }
}

#[test]
fn flags_override_keys_and_say_so() {
    let flags = serve(&[
        "/srv",
        "--listen",
        "21",
        "--listen",
        "127.0.0.1:2100",
        "--read-only",
        "--tls",
        "optional",
        "-v",
    ]);
    let Loaded { raw, typed } = flags.load(&[]).unwrap();
    assert_eq!(
        typed.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["[::]:21", "127.0.0.1:2100"]
    );
    assert_eq!(typed.log_level, "debug");
    assert_eq!(raw.values["storage.root"].origin, Origin::Flag("DIR".into()));
    assert_eq!(raw.values["tls.mode"].origin, Origin::Flag("--tls".into()));
    assert_eq!(raw.values["log.level"].origin, Origin::Flag("-v".into()));
    assert_eq!(raw.values["ftp.data.ports"].origin, Origin::Default);
}

#[test]
fn a_wrong_flag_is_told_by_its_name() {
    let failure = serve(&["/srv", "--data-ports", "many"]).load(&[]).unwrap_err();
    assert_eq!(failure.kind, Kind::Configuration);
    assert!(
        failure
            .to_string()
            .starts_with("error: --data-ports: `many` names no data ports\nhint: "),
        "{failure}"
    );
    let failure = serve(&["/srv", "--cert", "c.pem"]).load(&[]).unwrap_err();
    assert!(
        failure
            .to_string()
            .starts_with("error: --cert: `tls.certificate` without `tls.key`"),
        "{failure}"
    );
}

#[test]
fn a_password_comes_from_the_flag_the_environment_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "from a file\nsecond line\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, environment, password) in [
        (vec!["--user", "anna:a:b"], None, "a:b"),
        (vec!["--user", "anna"], Some("from outside"), "from outside"),
        (
            vec!["--user", "anna", "--password-file", file],
            Some("from outside"),
            "from a file",
        ),
    ] {
        let accounts = serve(&arguments)
            .accounts_with(environment.map(String::from))
            .unwrap();
        assert_eq!(accounts, [("anna".to_owned(), Secret::new(password.to_owned()))]);
    }
}

#[test]
fn an_account_without_a_password_is_refused() {
    for arguments in [
        vec!["--user", "anna"],
        vec!["--user", "anna:"],
        vec!["--user", "anna:x", "--user", "anna:y"],
        vec!["--user", "anna:x", "--password-file", "/dev/null"],
        vec!["--user", "anna", "--password-file", "/dev/null"],
        vec!["--user", "anna", "--password-file", "/nowhere"],
    ] {
        assert!(serve(&arguments).accounts_with(None).is_err(), "{arguments:?}");
    }
    let both = serve(&["--user", "anna", "--user", "bob"]).accounts_with(Some("x".into()));
    assert_eq!(
        both.unwrap_err().message,
        "--user: neither `anna` nor `bob` has a password"
    );
}

#[test]
fn a_password_on_the_command_line_is_warned_about() {
    assert_eq!(serve(&["--user", "anna:x"]).warnings().len(), 1);
    assert!(serve(&["--user", "anna"]).warnings().is_empty());
}
