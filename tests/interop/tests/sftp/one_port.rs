//! FTP, explicit and implicit FTPS, and SFTP on one port, which is the only one that is open.

use pasarela_testkit::{
    PASSWORD, Pasarela, PortWatch, USER, assert_same_tree, make_file, make_tree, run, sha256,
};

use super::Site;

const ALL: [&str; 6] = [
    "--protocols",
    "ftp,ftps,sftp",
    "--tls",
    "optional",
    "--data-ports",
    "control",
];

#[test]
fn every_protocol_is_served_on_the_one_port_and_data_connections_too() {
    let site = Site::on_one_port(&Pasarela::setup().arguments(ALL));
    let watch = PortWatch::start(site.server.process());
    make_file(&site.path("f"), 3, 2_000_000);
    let address = site.server.control();
    for (scheme, more) in [
        ("ftp", &[][..]),
        ("ftp", &["--ssl-reqd"]),
        ("ftps", &["--tls-max", "1.2"]),
        ("ftps", &[]),
        ("sftp", &[]),
    ] {
        let curl = |words: &[&str]| {
            let mut curl = site.client("curl");
            curl.args(["-sS", "--insecure", "--user", &format!("{USER}:{PASSWORD}")]);
            run(curl.args(more).args(words).arg(format!("{scheme}://{address}/f"))).expect_success();
        };
        curl(&["-T", "f"]);
        curl(&["-o", "back"]);
        assert_eq!(
            sha256(&site.path("f")),
            sha256(&site.path("back")),
            "{scheme} {more:?}"
        );
        std::fs::remove_file(site.path("back")).unwrap();
    }
    assert_eq!(watch.seen(), [address.port()].into());
}

#[test]
fn trees_are_mirrored_over_it_in_every_way() {
    let site = Site::on_one_port(&Pasarela::setup().arguments(ALL));
    let from = site.folder("from");
    make_tree(&from, 4, 40);
    let address = site.server.control();
    let program = format!("ssh -a -x {}", site.options().join(" "));
    for (scheme, settings) in [
        ("ftp", "set ftp:ssl-allow false"),
        ("ftp", "set ftp:ssl-force true; set ftp:ssl-protect-data true"),
        ("ftps", ""),
        ("sftp", &format!("set sftp:connect-program \"{program}\"")),
    ] {
        let commands = format!(
            "set ssl:verify-certificate no; {settings}; mirror -R from tree; mirror tree into; rm -r tree; bye"
        );
        let mut lftp = site.client("lftp");
        lftp.args(["-u", &format!("{USER},{PASSWORD}"), "-e", &commands]);
        run(lftp.arg(format!("{scheme}://{address}"))).expect_success();
        assert_same_tree(&from, &site.path("into"));
        std::fs::remove_dir_all(site.path("into")).unwrap();
    }
}
