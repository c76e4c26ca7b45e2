//! What configurations mean, and what is said about wrong ones.

use std::path::Path;
use std::time::Duration;

use pasarela_server::{DataPorts, RequireResumption, TlsMode};
use pasarela_session::account::TlsNeed;
use pasarela_session::limits::Limits;
use pasarela_session::{May, Permission};

use super::keys::{self, Initial, KEYS};
use super::raw::Raw;
use super::typed::{Proof, Typed};
use crate::secret::Secret;

/// What stands in `/etc/p.toml` is `text`.
fn read(text: &str) -> Result<Typed, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, text).unwrap();
    let mut raw = Raw::defaults();
    raw.read_file(&file)
        .and_then(|()| Typed::new(&raw, &[]))
        .map_err(|problems| {
            let texts: Vec<_> = problems.iter().map(|problem| problem.titled("error")).collect();
            texts
                .join("\n")
                .replace(&format!("{}/", dir.path().display()), "/etc/")
        })
}

fn complaint(text: &str) -> String {
    read(text).expect_err(text)
}

#[test]
fn the_default_document_parses_to_the_defaults() {
    let of = |text: &str| format!("{:?}", read(text).unwrap());
    assert_eq!(of(&keys::default_document()), of(""));
}

#[test]
fn the_default_document_parses_with_every_example_taken_in() {
    let every = keys::default_document()
        .replace("\n#", "\n")
        .replace("\n ", "\n# ");
    let every = every.replace("…$…", "c2FsdA$aGFzaA");
    let typed = read(&every).unwrap();
    assert_eq!(typed.accounts.len(), 1);
    assert_eq!(typed.accounts[0].name, "anna");
}

#[test]
fn the_defaults_of_the_limits_are_those_of_their_room() {
    assert_eq!(
        format!("{:?}", read("").unwrap().limits),
        format!("{:?}", Limits::default())
    );
}

#[test]
fn the_other_defaults_are_safe() {
    let typed = read("").unwrap();
    assert_eq!(
        typed.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["[::]:2121"]
    );
    assert_eq!(typed.tls_mode, TlsMode::Required);
    assert_eq!(typed.data_ports, DataPorts::Auto);
    assert_eq!(typed.require_resumption, RequireResumption::WhenOffered);
    assert_eq!(typed.keep_parts, Duration::from_secs(7 * 24 * 3600));
    assert!(typed.accounts.is_empty());
}

#[test]
fn every_key_is_documented_once_and_has_a_default_or_an_example_that_parses() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(
            KEYS[..index].iter().all(|other| other.path != key.path),
            "{} comes twice",
            key.path
        );
        assert!(key.help.ends_with('.'), "{}: {}", key.path, key.help);
        let (Initial::Value(value) | Initial::Example(value)) = key.default;
        assert!(
            toml::from_str::<toml::Table>(&format!("x = {value}")).is_ok(),
            "{}",
            key.path
        );
    }
}

#[test]
fn every_key_is_read() {
    // A key that the typed configuration ignores would take any value.
    for key in KEYS {
        let account = "name = \"anna\"\npassword = \"$argon2id$x\"\nroot = \"/srv\"\n";
        let wrong = match key.section() {
            "user" => {
                format!(
                    "[[user]]\n{}",
                    account.replace(&format!("{} = ", key.name()), "#")
                ) + &format!("{} = {{ }}", key.name())
            }
            section => format!("[{section}]\n{} = {{ }}", key.name()),
        };
        assert!(read(&wrong).is_err(), "{} takes a table", key.path);
    }
}

#[test]
fn an_account_has_what_its_table_says() {
    let typed = read(
        r#"
        [storage]
        root = "/srv"
        [limits]
        session_rate = "1MiB/s"
        [[user]]
        name = "anna"
        password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
        may = ["read", "append"]
        rate = "10MiB/s"
        sessions = 3
        [[user]]
        name = "bob"
        password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
        root = "bob"
        tls = "optional"
        session_rate = "unlimited"
        "#,
    )
    .unwrap();
    let [anna, bob] = typed.accounts.as_slice() else {
        panic!("{typed:?}")
    };
    assert!(matches!(anna.proof, Proof::Hash(_)));
    assert_eq!(anna.root, Path::new("/srv"));
    assert_eq!(
        anna.may,
        [Permission::Read, Permission::Append].into_iter().collect()
    );
    assert_eq!(
        (anna.rate.unwrap().0, anna.session_rate.unwrap().0),
        (10 << 20, 1 << 20)
    );
    assert_eq!(anna.sessions, Some(3));
    assert_eq!(anna.tls, TlsNeed::Required);
    assert!(
        bob.root.ends_with("bob") && bob.root.is_absolute(),
        "beside the file: {:?}",
        bob.root
    );
    assert_eq!((bob.may, bob.tls), (May::everything(), TlsNeed::Optional));
    assert_eq!((bob.rate, bob.session_rate), (None, None));
}

#[test]
fn a_read_only_server_leaves_no_account_more_than_reading() {
    let typed = read(
        r#"
        storage = { root = "/srv", read_only = true }
        [[user]]
        name = "drop"
        password = "$argon2id$x"
        may = ["list", "write", "link"]
        "#,
    )
    .unwrap();
    assert_eq!(typed.accounts[0].may, [Permission::List].into_iter().collect());
}

#[test]
fn the_anonymous_account_reads_and_needs_no_tls() {
    let typed = read("storage.root = \"/srv\"\nanonymous = { enabled = true, root = \"/pub\" }").unwrap();
    let [anonymous] = typed.accounts.as_slice() else {
        panic!("{typed:?}")
    };
    assert!(matches!(anonymous.proof, Proof::Anonymous));
    assert_eq!(
        (anonymous.may, anonymous.tls),
        (May::read_only(), TlsNeed::Optional)
    );
    assert_eq!(anonymous.root, Path::new("/pub"));
}

#[test]
fn an_account_of_the_command_line_replaces_one_of_the_same_name() {
    let mut raw = Raw::defaults();
    raw.set("storage.root", super::raw::Value::Text("/srv".into()));
    let accounts = [("anna".to_owned(), Secret::new("sesame".into()))];
    let typed = Typed::new(&raw, &accounts).unwrap();
    assert!(matches!(typed.accounts.as_slice(), [anna] if matches!(anna.proof, Proof::Plain(_))));
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_name() {
    assert_eq!(
        complaint("[tls]\n  certficate = \"x\"\n"),
        "error: /etc/p.toml:2:3: unknown key `certficate` in [tls]\nhint: did you mean `certificate`?"
    );
    assert_eq!(
        complaint("[ftpd]\nlisten = [21]"),
        "error: /etc/p.toml:1:2: unknown section or key `ftpd`\nhint: did you mean `ftp`?"
    );
    assert_eq!(
        complaint("[limits]\nlisten = [21]"),
        "error: /etc/p.toml:2:1: unknown key `listen` in [limits]\nhint: `listen` belongs to [ftp]"
    );
    assert_eq!(
        complaint("[[user]]\nname = \"a\"\npassword = \"$argon2id$x\"\nroot = \"/\"\nshell = \"sh\""),
        "error: /etc/p.toml:5:1: unknown key `shell` in [[user]]\n\
         hint: known here: name, password, authorized_keys, authorized_keys_file, root, may, tls, rate, session_rate, sessions"
    );
}

#[test]
fn wrong_values_are_told_all_at_once_in_the_order_of_the_file() {
    assert_eq!(
        complaint(
            "[tls]\nmode = \"require\"\n[limits]\nidle = \"5m\"\ntotal = 0\n[ftp.data]\nactive = \"yes\"\n"
        ),
        "error: /etc/p.toml:2:8: `require` is none of required, optional, off\nhint: did you mean \"required\"?\n\
         error: /etc/p.toml:4:8: `5m` is not a duration longer than zero\n\
         hint: write a number and one of ms, s, min, h, d, as in \"15s\" or \"5min\"\n\
         error: /etc/p.toml:5:9: `0` is not a number from 1 to 4294967295\n\
         error: /etc/p.toml:7:10: `\"yes\"` is neither true nor false"
    );
}

#[test]
fn a_password_in_the_clear_is_refused_and_not_repeated() {
    let said = complaint("[storage]\nroot = \"/\"\n[[user]]\nname = \"anna\"\npassword = \"sesame\"\n");
    assert_eq!(
        said,
        "error: /etc/p.toml:5:12: this password is not an argon2id hash\n\
         hint: passwords are not kept in the clear: run `pasarela passwd` and put in what it prints"
    );
}

#[test]
fn what_does_not_go_together_is_told() {
    for (text, said) in [
        (
            "[tls]\ncertificate = \"c.pem\"",
            "error: /etc/p.toml:2:15: `tls.certificate` without `tls.key`\n\
             hint: certificate and key come as a pair: add `tls.key` or --key FILE",
        ),
        (
            "ftp.implicit_listen = [990]\ntls.mode = \"off\"",
            "error: /etc/p.toml:1:23: implicit FTPS is TLS, which `tls.mode` turns off\n\
             hint: use `tls.mode = \"optional\"` (--tls optional), or listen for plain FTP only",
        ),
        (
            "ftp.listen = []",
            "error: /etc/p.toml:1:14: there is no address to listen on\n\
             hint: name one in `ftp.listen`, `ftp.implicit_listen` or `sftp.listen`",
        ),
        (
            "[anonymous]\nenabled = true",
            "error: /etc/p.toml:2:11: there is no folder to serve to `anonymous`\n\
             hint: name it: `pasarela serve DIR`, or `root` under [storage]",
        ),
        (
            "[[user]]\nname = \"anna\"",
            "error: /etc/p.toml:1:1: [[user]] without `password`\n\
             hint: `pasarela passwd --user NAME` prints a complete [[user]]",
        ),
    ] {
        assert_eq!(complaint(text), said);
    }
}

#[test]
fn broken_toml_is_told_with_its_place() {
    let said = complaint("[ftp]\ngreeting = \"x\n");
    assert!(said.starts_with("error: /etc/p.toml:2:"), "{said}");
}

#[test]
fn a_value_of_the_wrong_shape_is_told() {
    for text in [
        "user = 3",
        "user = [3]",
        "ftp = 3",
        "limits.total = 1.5",
        "limits.total = 99999999999",
        "limits.total = 99999999999999999999",
        "ftp.listen = \"2121\"",
        "ftp.greeting = \"\"",
        "ftp.greeting = \"two\\nlines\"",
        "ftp.host_names = [\"no name\"]",
        "reach.forward = [{ outside = 21 }]",
        "reach.forward = [{ outside = 21, inside = 0 }]",
        "reach.forward = [{ outside = 21, inside = 21, why = 1 }]",
        "storage.root = \"\"",
    ] {
        assert!(complaint(text).starts_with("error: /etc/p.toml:1:"), "{text}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let said = Raw::defaults()
        .read_file(Path::new("/nowhere/p.toml"))
        .unwrap_err();
    assert!(said[0].message.starts_with("/nowhere/p.toml: "), "{said:?}");
}

#[test]
fn a_relay_takes_the_account_beside_it_or_brings_its_own() {
    let of = |text: &str| {
        read(text)
            .unwrap()
            .turn
            .into_iter()
            .map(|relay| (relay.host, relay.port, relay.username, relay.password))
            .collect::<Vec<_>>()
    };
    let relay = |host: &str, port, user: &str, password: &str| {
        (host.to_owned(), port, user.to_owned(), password.to_owned())
    };
    assert_eq!(
        of(
            "[reach.relay]\nserver = [\"relay.example.org\", \"2001:db8::7\", \"turn:eva:o%40@203.0.113.7:443\"]\n\
            user = \"anna\"\npassword = \"sesame\"\n"
        ),
        [
            relay("relay.example.org", 3478, "anna", "sesame"),
            relay("2001:db8::7", 3478, "anna", "sesame"),
            relay("203.0.113.7", 443, "eva", "o@"),
        ]
    );
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "from the file\n").unwrap();
    assert_eq!(
        of(&format!(
            "[reach.relay]\nserver = [\"r:9\"]\npassword_file = \"{}\"",
            secret.display()
        )),
        [relay("r", 9, "server", "from the file")]
    );
}

#[test]
fn a_relay_without_a_password_or_with_two_is_told() {
    let said = complaint("[reach.relay]\nserver = [\"r\"]");
    assert!(
        said.starts_with("error: /etc/p.toml:2:10: the relay wants a password"),
        "{said}"
    );
    let said = complaint("[reach.relay]\nserver = [\"r\"]\npassword = \"a\"\npassword_file = \"b\"");
    assert!(
        said.starts_with("error: /etc/p.toml:4:17: the relay's password is there twice"),
        "{said}"
    );
    let said = complaint("[reach.relay]\nserver = [\"r\"]\npassword_file = \"b\"");
    assert!(said.starts_with("error: /etc/p.toml:3:17: "), "{said}");
    let said = complaint("[reach.relay]\nserver = [\"turn:anna:sesame@:x\"]");
    assert!(!said.contains("sesame"), "{said}");
}
