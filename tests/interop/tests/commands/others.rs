//! The shell and the measurements at servers of others.

use std::fs;

use crate::servers::{Brand, Server, Wire};
use crate::user::User;

#[test]
fn a_shell_and_bench_work_at_vsftpd() {
    let server = Server::start(Brand::Vsftpd, Wire::Explicit);
    let user = User::new();
    fs::write(server.root().join("a 1.txt"), "one").unwrap();
    fs::write(server.root().join("a 2.txt"), "two").unwrap();
    let site = server.site();
    let (url, ca) = (
        format!("ftpes://127.0.0.1:{}/", site.port),
        server.certificate().display().to_string(),
    );
    let done = user.run([
        "shell",
        "--ca",
        &ca,
        &url,
        "-c",
        "get *.txt here:./; mkdir new; put 'a 1.txt' new/; cd new; mv 'a 1.txt' b; cat b; cd ..; rm -r new; ls",
    ]);
    let out = done.ends(0);
    assert!(
        out.starts_with("one") && out.ends_with("a 1.txt\na 2.txt\n"),
        "{out}"
    );
    assert_eq!(user.read("a 2.txt"), "two");
    let told = user
        .run([
            "bench", "--yes", "--size", "300kB", "--files", "5", "--ca", &ca, &url,
        ])
        .ends(0);
    assert!(told.contains("small files down"), "{told}");
    assert_eq!(fs::read_dir(server.root()).unwrap().count(), 2);
}
