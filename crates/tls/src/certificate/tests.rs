//! Certificates from files and of the first run.

use std::os::unix::fs::PermissionsExt as _;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The message of an error; its path must be `path`.
fn complaint(result: Result<Material, MaterialError>, path: &Path) -> String {
    match result.unwrap_err() {
        MaterialError::Invalid { path: blamed, what } => {
            assert_eq!(blamed, path);
            what
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_self_signed_certificate_is_made_once_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("new/state");
    let first = Material::self_signed(&state, &names(&["ftp.example.org"])).unwrap();
    let second = Material::self_signed(&state, &names(&["other.example.org"])).unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.public_key_pin(), second.public_key_pin());

    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("key.pem")), 0o600);
    let mut files: Vec<_> = std::fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["certificate.pem", "key.pem"]);
}

#[test]
fn a_self_signed_certificate_is_good_for_its_names_for_nine_years() {
    let directory = tempfile::tempdir().unwrap();
    let given = names(&["ftp.example.org", "192.0.2.7", "2001:db8::7"]);
    let material = Material::self_signed(directory.path(), &given).unwrap();
    let leaf = &material.certified.cert[0];
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();

    let now = UnixTime::now();
    let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + 9 * 365 * DAY);
    for name in ["ftp.example.org", "192.0.2.7", "2001:db8::7", "localhost"] {
        let name = ServerName::try_from(name).unwrap();
        for time in [now, later] {
            verifier.verify_server_cert(leaf, &[], &name, &[], time).unwrap();
        }
    }
    let stranger = ServerName::try_from("example.com").unwrap();
    assert!(
        verifier
            .verify_server_cert(leaf, &[], &stranger, &[], now)
            .is_err()
    );
}

#[test]
fn a_renewed_certificate_keeps_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let first = Material::self_signed(directory.path(), &[]).unwrap();
    std::fs::remove_file(directory.path().join("certificate.pem")).unwrap();
    let second = Material::self_signed(directory.path(), &names(&["ftp.example.org"])).unwrap();
    assert_ne!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.public_key_pin(), second.public_key_pin());
}

#[test]
fn a_certificate_without_its_key_says_so() {
    let directory = tempfile::tempdir().unwrap();
    Material::self_signed(directory.path(), &[]).unwrap();
    let key = directory.path().join("key.pem");
    std::fs::remove_file(&key).unwrap();
    match Material::self_signed(directory.path(), &[]).unwrap_err() {
        MaterialError::Io { path, source } => {
            assert_eq!((path, source.kind()), (key, io::ErrorKind::NotFound));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_name_that_no_certificate_can_carry_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let what = complaint(
        Material::self_signed(directory.path(), &names(&["ñandú"])),
        &directory.path().join("certificate.pem"),
    );
    assert!(what.contains("ñandú"), "{what}");
}

#[test]
fn the_fingerprint_reads_like_openssls() {
    let fingerprint = Fingerprint(std::array::from_fn(|index| index as u8 * 8));
    assert_eq!(
        fingerprint.to_string(),
        "00:08:10:18:20:28:30:38:40:48:50:58:60:68:70:78:80:88:90:98:A0:A8:B0:B8:C0:C8:D0:D8:E0:E8:F0:F8"
    );
    assert_eq!(
        fingerprint.to_hex(),
        "0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8"
    );
}

/// Made with: `openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=old.example.org`, the key in PKCS#1,
/// and the pin with `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary |
/// openssl base64`.
#[test]
fn a_chain_that_openssl_made_is_loaded() {
    let material = Material::load(&sample("rsa-certificate.pem"), &sample("rsa-key.pem")).unwrap();
    assert_eq!(
        material.fingerprint().to_string(),
        include_str!("samples/rsa-fingerprint").trim()
    );
    assert_eq!(material.public_key_pin(), include_str!("samples/rsa-pin").trim());
}

#[test]
fn a_key_in_sec1_form_is_loaded() {
    Material::load(&sample("ec-certificate.pem"), &sample("ec-key.pem")).unwrap();
}

#[test]
fn the_file_at_fault_is_named() {
    let (certificate, key) = (sample("rsa-certificate.pem"), sample("rsa-key.pem"));
    let other = sample("ec-key.pem");
    let what = complaint(Material::load(&certificate, &other), &other);
    assert!(
        what.contains("does not belong") && what.contains("rsa-certificate.pem"),
        "{what}"
    );

    assert!(complaint(Material::load(&key, &key), &key).contains("no certificate"));
    assert!(complaint(Material::load(&certificate, &certificate), &certificate).contains("no private key"));
    let encrypted = sample("encrypted-key.pem");
    assert!(complaint(Material::load(&certificate, &encrypted), &encrypted).contains("passphrase"));

    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert!(complaint(Material::load(&broken, &key), &broken).contains("PEM"));
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert!(complaint(Material::load(&broken, &key), &broken).contains("not usable"));

    let absent = directory.path().join("absent.pem");
    let error = Material::load(&absent, &key).unwrap_err();
    assert!(error.to_string().starts_with(absent.to_str().unwrap()), "{error}");
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/certificate/samples")
        .join(name)
}
