//! aria2: fetches only, over several connections at once; PASV and PORT on IPv4; no FTPS.

use std::process::Command;

use pasarela_interop::{Driver, Errand, Mode, SPACES, Site, UTF8, Wire, interop};
use pasarela_testkit::{PASSWORD, USER, make_file, run, sha256};

const ARIA2: Driver = Driver {
    command,
    names: &[SPACES, UTF8],
    one_session: true,
};

interop! { ARIA2;
    plain_pasv: Plain Pasv;
    plain_port: Plain Port;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let mut aria2 = aria2(site);
    match errand {
        Errand::Get { names, into } => {
            aria2.args(["-x1", "-s1", "-j1", "-Z", "-d"]).arg(into);
            aria2.args(names.iter().map(|name| site.url("ftp", name)))
        }
        Errand::ResumeGet { name, into } => aria2
            .args(["-x1", "-s1", "-c", "-d"])
            .arg(into)
            .arg(site.url("ftp", name.as_ref())),
        _ => return None,
    };
    Some(aria2)
}

fn aria2(site: &Site) -> Command {
    // When 226 comes in one segment with 150, aria2 stays for its whole timeout before it is content.
    let mut aria2 = site.client("aria2c");
    aria2.args([
        "--no-conf",
        "-q",
        "--file-allocation=none",
        "--max-tries=1",
        "--timeout=5",
        "--no-netrc",
    ]);
    aria2.args([format!("--ftp-user={USER}"), format!("--ftp-passwd={PASSWORD}")]);
    aria2.arg(format!("--ftp-pasv={}", site.mode == Mode::Pasv));
    aria2
}

#[test]
fn one_large_file_over_eight_connections() {
    let site = Site::start(Wire::Plain, Mode::Pasv);
    let expected = make_file(&site.server.file("64M"), 9, 64 << 20);
    let into = site.folder("into");
    let mut aria2 = aria2(&site);
    aria2
        .args(["-x8", "-s8", "-k1M", "-d"])
        .arg(&into)
        .arg(site.url("ftp", "64M".as_ref()));
    run(&mut aria2).expect_success();
    assert_eq!(sha256(&into.join("64M")), expected);
}
