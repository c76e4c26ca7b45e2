//! draft-bryan-ftpext-hash, draft-twine-ftpmd5 and the X verbs: checksums over the control connection.

use md5::{Digest, Md5};
use pasarela_conformance::{Client, Server, noise};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn said(client: &mut Client, command: &str, codes: &[u16], digest: &str) {
    let reply = client.expect(command, codes);
    assert!(
        reply.all().to_lowercase().contains(digest),
        "{command}: {reply:?} lacks {digest}"
    );
}

#[test]
fn every_checksum_verb_tells_its_own_digest() {
    let server = Server::start();
    let bytes = noise(1, 300_000);
    server.put("f", &bytes);
    let mut client = server.login();
    said(&mut client, "MD5 f", &[251], &hex(Md5::digest(&bytes)));
    said(&mut client, "XMD5 f", &[213, 250], &hex(Md5::digest(&bytes)));
    said(
        &mut client,
        "XCRC f",
        &[213, 250],
        &format!("{:08x}", crc32fast::hash(&bytes)),
    );
    said(&mut client, "XSHA f", &[213, 250], &hex(Sha1::digest(&bytes)));
    said(&mut client, "XSHA1 f", &[213, 250], &hex(Sha1::digest(&bytes)));
    said(
        &mut client,
        "XSHA256 f",
        &[213, 250],
        &hex(Sha256::digest(&bytes)),
    );
    said(
        &mut client,
        "XSHA512 f",
        &[213, 250],
        &hex(Sha512::digest(&bytes)),
    );
}

#[test]
fn hash_is_sha_256_until_opts_hash_chooses() {
    let server = Server::start();
    let bytes = noise(2, 1000);
    server.put("f", &bytes);
    let mut client = server.login();
    said(&mut client, "HASH f", &[213], &hex(Sha256::digest(&bytes)));
    assert!(client.expect("HASH f", &[213]).text().starts_with("SHA-256 "));
    client.expect("OPTS HASH SHA-1", &[200]);
    said(&mut client, "HASH f", &[213], &hex(Sha1::digest(&bytes)));
    client.expect("OPTS HASH ROT13", &[501, 504]);
    said(&mut client, "HASH f", &[213], &hex(Sha1::digest(&bytes)));
}

#[test]
fn feat_marks_the_hash_in_use() {
    let server = Server::start();
    let mut client = server.login();
    assert!(client.expect("FEAT", &[211]).all().contains("SHA-256*"));
    client.expect("OPTS HASH SHA-512", &[200]);
    let feat = client.expect("FEAT", &[211]).all();
    assert!(feat.contains("SHA-512*") && !feat.contains("SHA-256*"), "{feat}");
}

#[test]
fn rang_bounds_a_hash() {
    let server = Server::start();
    server.put("f", "0123456789");
    let mut client = server.login();
    client.expect("RANG 2 5", &[350]);
    said(&mut client, "HASH f", &[213], &hex(Sha256::digest(b"2345")));
}

#[test]
fn a_checksum_of_what_is_no_file_is_refused() {
    let server = Server::start();
    std::fs::create_dir(server.root().join("d")).unwrap();
    let mut client = server.login();
    for verb in ["HASH", "MD5", "XMD5", "XCRC", "XSHA1", "XSHA256", "XSHA512"] {
        client.expect(format!("{verb} missing"), &[450, 550, 551]);
        client.expect(format!("{verb} d"), &[501, 504, 550, 551, 552, 553]);
        client.expect(verb, &[501]);
    }
}
