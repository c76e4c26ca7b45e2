//! tnftp, the BSD client: EPSV first, PASV, EPRT and PORT; no TLS.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use pasarela_interop::{Driver, Errand, LATIN1, Mode, SPACES, Site, UTF8, credentials, interop};

const TNFTP: Driver = Driver {
    command,
    names: &[SPACES, UTF8, LATIN1],
    one_session: true,
};

interop! { TNFTP;
    plain_epsv: Plain Epsv;
    plain_pasv: Plain Pasv;
    plain_eprt: Plain Eprt;
    plain_port: Plain Port;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let mut script = format!("user {}\nbinary\n", credentials(' ')).into_bytes();
    if matches!(site.mode, Mode::Pasv | Mode::Port) {
        script.extend_from_slice(b"epsv4\n"); // a toggle; it is on at the start, and covers EPRT too
    }
    let mut line = |words: &[&[u8]]| {
        for word in words {
            script.extend_from_slice(b"\"");
            script.extend_from_slice(word);
            script.extend_from_slice(b"\" ");
        }
        script.push(b'\n');
    };
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    match errand {
        Errand::List => line(&[b"ls"]),
        Errand::Get { names, into } => {
            for name in *names {
                line(&[b"get", name.as_bytes(), &bytes(&into.join(name))]);
            }
        }
        Errand::ResumeGet { name, into } => {
            line(&[b"lcd", &bytes(into)]);
            line(&[b"reget", name.as_bytes()]);
        }
        Errand::Put { names, from } => {
            for name in *names {
                line(&[b"put", &bytes(&from.join(name)), name.as_bytes()]);
            }
        }
        Errand::ResumePut { name, from } => {
            let there = std::fs::metadata(site.server.file(name)).unwrap().len();
            line(&[b"restart", there.to_string().as_bytes()]);
            line(&[b"put", &bytes(&from.join(name)), name.as_bytes()]);
        }
        Errand::Rename { from, to } => line(&[b"rename", from.as_bytes(), to.as_bytes()]),
        Errand::Delete(name) => line(&[b"delete", name.as_bytes()]),
        Errand::MakeDir(name) => line(&[b"mkdir", name.as_bytes()]),
        Errand::RemoveDir(name) => line(&[b"rmdir", name.as_bytes()]),
    }
    line(&[b"quit"]);
    let mut tnftp = site.client("tnftp");
    let passive = matches!(site.mode, Mode::Epsv | Mode::Pasv);
    tnftp.args(["-n", "-i", "-v", if passive { "-p" } else { "-A" }]);
    tnftp
        .args([site.address().ip().to_string(), site.address().port().to_string()])
        .stdin(site.script(&script));
    Some(tnftp)
}
