//! Python's ftplib: PASV, EPSV (with a nudge) and PORT; never resumes a TLS session.

use std::process::Command;

use pasarela_interop::{Driver, Errand, FTPLIB_CLIENT, LATIN1, SPACES, Site, UTF8, interop};
use pasarela_testkit::{PASSWORD, USER};

const FTPLIB: Driver = Driver {
    command,
    names: &[SPACES, UTF8, LATIN1],
    one_session: true,
};

interop! { FTPLIB;
    plain_pasv: Plain Pasv;
    plain_epsv: Plain Epsv;
    plain_port: Plain Port;
    explicit_tls12_pasv: Explicit12 Pasv;
    explicit_tls12_port: Explicit12 Port;
    explicit_tls13_pasv: Explicit13 Pasv;
    explicit_tls13_epsv: Explicit13 Epsv;
    explicit_tls13_port: Explicit13 Port;
    implicit_tls12_pasv: Implicit12 Pasv;
    implicit_tls13_pasv: Implicit13 Pasv;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let mut python = site.client("python3");
    python.args([
        "-c",
        FTPLIB_CLIENT,
        &site.address().ip().to_string(),
        &site.address().port().to_string(),
    ]);
    python.args([
        USER,
        PASSWORD,
        &format!("{:?}", site.wire),
        &format!("{:?}", site.mode),
    ]);
    match errand {
        Errand::List => python.arg("list"),
        Errand::Get { names, into } => python.arg("get").arg(into).args(*names),
        Errand::ResumeGet { name, into } => python.arg("resume-get").arg(into).arg(name),
        Errand::Put { names, from } => python.arg("put").arg(from).args(*names),
        Errand::ResumePut { name, from } => python.arg("resume-put").arg(from).arg(name),
        Errand::Rename { from, to } => python.args(["rename", from, to]),
        Errand::Delete(name) => python.args(["delete", name]),
        Errand::MakeDir(name) => python.args(["mkdir", name]),
        Errand::RemoveDir(name) => python.args(["rmdir", name]),
    };
    Some(python)
}
