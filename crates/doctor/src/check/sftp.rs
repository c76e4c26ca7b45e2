//! A server of SFTP: the exchange of keys, the host key, the login, the session, and what the URL names there.

use std::time::Instant;

use bytes::Bytes;
use pasarela_client::{Failure, FailureKind, HostKeyError, Remote as _, SftpRemote, SftpSite};
use pasarela_store::{Error, Kind as FileKind, Open, Storage as _, VirtualPath};

use crate::advice::Kind;
use crate::advice::server as kinds;
use crate::examination::{Examination, milliseconds};
use crate::finding::Finding;
use crate::report::Report;

/// So much is sent.
const UPLOAD: usize = 1024 * 1024;

/// From a port that is open to the last byte.
pub(crate) async fn check(examination: &Examination, site: &SftpSite, report: &mut Report) {
    let remote = SftpRemote::new(site.clone());
    let start = Instant::now();
    let connected = remote.connect().await;
    report.fact("login.milliseconds", milliseconds(start.elapsed()));
    match connected {
        Ok(()) => tell_what_works(&remote, report),
        Err(error) => report.add(diagnose(&failure_of(&error))),
    }
    if remote.seen().is_some() && visit(&remote, examination, report).await.is_some() && examination.upload {
        let folder = remote.resolve(&examination.path).await;
        if let Ok(folder) = folder {
            upload(&remote, &folder, report).await;
        }
    }
    remote.close().await;
}

fn tell_what_works(remote: &SftpRemote, report: &mut Report) {
    let Some(seen) = remote.seen() else {
        return;
    };
    report.fact("ssh.software", seen.software.clone());
    report.fact("ssh.key_exchange", seen.key_exchange.clone());
    report.fact("ssh.cipher", seen.cipher.clone());
    report.fact("ssh.host_key", seen.host_key.clone());
    let evidence = [
        format!("< {}", seen.software),
        format!("keys by {}, then {}", seen.key_exchange, seen.cipher),
    ];
    report.add(Finding::new(&kinds::SSH_SPEAKS, "the server speaks SSH").all_evidence(evidence));
    let says = format!("the server's host key ({}) is the known one", seen.host_key);
    report.add(Finding::new(&kinds::SSH_HOST_KEY_KNOWN, says));
    report.add(Finding::new(&kinds::LOGIN_WORKS, "the login is accepted"));
    report.add(Finding::new(
        &kinds::SFTP_WORKS,
        "the server opens a session of SFTP",
    ));
}

/// Why there is no session.
fn diagnose(failure: &Failure) -> Finding {
    let kind: &'static Kind = match (failure.kind, failure.host_key.as_deref()) {
        (_, Some(HostKeyError::Stranger { .. } | HostKeyError::Unusable(_))) => &kinds::SSH_HOST_KEY_UNKNOWN,
        (_, Some(HostKeyError::Revoked { .. })) => &kinds::SSH_HOST_KEY_REVOKED,
        (_, Some(_)) => &kinds::SSH_HOST_KEY_CHANGED,
        (FailureKind::Tls, None) => &kinds::SSH_ALGORITHMS,
        (FailureKind::Login, None) => &kinds::LOGIN_REFUSED,
        (FailureKind::Timeout, None) => &kinds::SSH_SILENT,
        (FailureKind::Connect | FailureKind::Lost, None) => &kinds::SSH_CLOSED,
        (FailureKind::Unsupported, None) => &kinds::SFTP_NONE,
        (_, None) => &kinds::SSH_NOT_SSH,
    };
    with_hint(kind, failure)
}

/// The failure's own advice is about what happened; the kind's about what usually does.
fn with_hint(kind: &'static Kind, failure: &Failure) -> Finding {
    let finding = Finding::new(kind, failure.sentence.clone());
    match &failure.hint {
        Some(hint) => finding.advice(hint.clone()),
        None => finding,
    }
}

/// Looks at what the URL names: a folder is listed, a file read from its beginning.
async fn visit(remote: &SftpRemote, examination: &Examination, report: &mut Report) -> Option<()> {
    let looked = async {
        let path = remote.resolve(&examination.path).await?;
        if remote.stat(&path).await?.kind == FileKind::Directory {
            let mut pages = remote.list(&path).await?;
            let mut count = 0;
            while let Some(page) = pages.next_page().await? {
                count += page.len();
            }
            return Ok::<_, Error>(format!("the folder is listed; entries in it: {count}"));
        }
        let file = remote.open(&path, Open::Read).await?;
        let bytes = file.read_at(0, UPLOAD).await?;
        Ok(format!("the file is read; {} bytes came first", bytes.len()))
    };
    match looked.await {
        Ok(says) => {
            report.add(Finding::new(&kinds::SFTP_CARRIES, says));
            Some(())
        }
        Err(error) => {
            let failure = failure_of(&error);
            let kind = match failure.kind {
                FailureKind::NotFound => &kinds::TRANSFER_PATH,
                _ => &kinds::SFTP_FAILS,
            };
            report.add(with_hint(kind, &failure));
            None
        }
    }
}

/// Sends a file with a name of its own, reads it back, and removes it.
async fn upload(remote: &SftpRemote, folder: &VirtualPath, report: &mut Report) {
    let mut content = vec![0; UPLOAD];
    let mut word = [0; 8];
    if getrandom::fill(&mut content)
        .and_then(|()| getrandom::fill(&mut word))
        .is_err()
    {
        return;
    }
    let name = format!(".pasarela-doctor-{}", hex::encode(word));
    let Ok(path) = folder.resolve(name.as_bytes()) else {
        return;
    };
    let content = Bytes::from(content);
    if let Err(error) = send(remote, &path, &content).await {
        let failure = failure_of(&error);
        let kind = match failure.kind {
            FailureKind::Permission => &kinds::UPLOAD_REFUSED,
            _ => &kinds::UPLOAD_FAILED,
        };
        report.add(with_hint(kind, &failure));
        // Part of it may have arrived.
        let _ = remote.remove_file(&path).await;
        return;
    }
    match fetch(remote, &path).await {
        Ok(back) if back == content => {
            let says = "an upload of 1 MiB came back unchanged";
            report.add(Finding::new(&kinds::UPLOAD_WORKS, says));
        }
        Ok(back) => {
            let says = format!(
                "{} bytes were sent, and {} others came back",
                content.len(),
                back.len()
            );
            report.add(Finding::new(&kinds::UPLOAD_CORRUPT, says));
        }
        Err(error) => {
            let sentence = failure_of(&error).sentence;
            let says = format!("an upload of 1 MiB was taken, and it cannot be read back: {sentence}");
            report.add(Finding::new(&kinds::UPLOAD_REFUSED, says));
        }
    }
    if let Err(error) = remote.remove_file(&path).await {
        let says = format!("the server does not let {name} be removed");
        report.add(Finding::new(&kinds::UPLOAD_LEFT, says).evidence(failure_of(&error).sentence));
    }
}

async fn send(remote: &SftpRemote, path: &VirtualPath, content: &Bytes) -> Result<(), Error> {
    let file = remote.open(path, Open::CreateNew).await?;
    file.write_at(0, content.clone()).await?;
    file.publish().await
}

async fn fetch(remote: &SftpRemote, path: &VirtualPath) -> Result<Vec<u8>, Error> {
    let file = remote.open(path, Open::Read).await?;
    let mut back = Vec::new();
    // One byte more than was sent is as wrong as many more.
    while back.len() <= UPLOAD {
        let bytes = file.read_at(back.len() as u64, UPLOAD).await?;
        if bytes.is_empty() {
            break;
        }
        back.extend_from_slice(&bytes);
    }
    Ok(back)
}

fn failure_of(error: &Error) -> Failure {
    let other = || Failure::new(FailureKind::Other, error.to_string());
    Failure::of(error).cloned().unwrap_or_else(other)
}
