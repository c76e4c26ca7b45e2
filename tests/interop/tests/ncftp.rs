//! ncftp's batch programs: PASV and PORT; no TLS.

use std::process::Command;

use pasarela_interop::{Driver, Errand, LATIN1, Mode, SPACES, Site, UTF8, interop};
use pasarela_testkit::{PASSWORD, USER};

const NCFTP: Driver = Driver {
    command,
    names: &[SPACES, UTF8, LATIN1],
    one_session: true,
};

interop! { NCFTP;
    plain_pasv: Plain Pasv;
    plain_port: Plain Port;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let program = match errand {
        Errand::Get { .. } | Errand::ResumeGet { .. } => "ncftpget",
        Errand::Put { .. } | Errand::ResumePut { .. } => "ncftpput",
        _ => "ncftpls",
    };
    let (host, port) = (site.address().ip().to_string(), site.address().port().to_string());
    let mut ncftp = site.client(program);
    ncftp.args(["-u", USER, "-p", PASSWORD, "-P", &port, "-t", "20"]);
    ncftp.arg(if site.mode == Mode::Port { "-E" } else { "-F" });
    if program == "ncftpls" {
        ncftp.arg("-l"); // LIST; without it NLST -CF, which not every server takes
    }
    let url = format!("ftp://{host}/");
    match errand {
        Errand::List => {
            ncftp.arg(&url);
        }
        Errand::Get { names, into } => {
            ncftp.args(["-Z", "-V", &host]).arg(into).args(*names);
        }
        Errand::ResumeGet { name, into } => {
            ncftp.args(["-z", "-V", &host]).arg(into).arg(name);
        }
        Errand::Put { names, from } => {
            ncftp
                .args(["-Z", "-V", &host, "/"])
                .args(names.iter().map(|name| from.join(name)));
        }
        Errand::ResumePut { name, from } => {
            // With sendfile it sends the first half again after REST.
            ncftp.args(["-s", "-z", "-V", &host, "/"]).arg(from.join(name));
        }
        Errand::Rename { from, to } => {
            ncftp.args(["-W", &format!("RNFR {from}"), "-W", &format!("RNTO {to}"), &url]);
        }
        Errand::Delete(name) => {
            ncftp.args(["-W", &format!("DELE {name}"), &url]);
        }
        Errand::MakeDir(name) => {
            ncftp.args(["-W", &format!("MKD {name}"), &url]);
        }
        Errand::RemoveDir(name) => {
            ncftp.args(["-W", &format!("RMD {name}"), &url]);
        }
    }
    Some(ncftp)
}
