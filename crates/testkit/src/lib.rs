//! What black-box tests need: the built server as a process, a raw FTP client, files to move, and a slow network.
//!
//! ```no_run
//! use pasarela_testkit::{Dialogue, Pasarela, TlsClient, TlsVersion};
//!
//! let server = Pasarela::start(&["--tls", "optional"]);
//! std::fs::write(server.root().join("a"), b"hello").unwrap();
//!
//! let mut plain = Dialogue::connect(server.control());
//! plain.login();
//! assert_eq!(plain.retrieve("a"), b"hello");
//! plain.expect("CWD nowhere", 550);
//!
//! let mut secure = Dialogue::connect(server.control());
//! secure.auth_tls(&TlsClient::new(server.certificate()).only(TlsVersion::V1_3));
//! secure.login();
//! secure.protect();
//! secure.store("b", b"over TLS");
//! ```
//!
//! Everything here panics, with what the server said, when something goes wrong: that is how a test reports. Everything
//! that waits for somebody has a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is its report"
)]

mod child;
mod dialogue;
mod files;
pub mod lab;
mod pasarela;
mod slow_link;
mod sockets;
mod terminal;
mod tls;

pub use child::{Ended, run, run_within, wait_for_exit};
pub use dialogue::{DataConnection, Dialogue, Reply};
pub use files::{Digest, assert_same_tree, make_file, make_tree, noise, random, sha256, sha256_of, tree};
pub use pasarela::{PASSWORD, Pasarela, Setup, USER, pasarela_binary};
pub use slow_link::SlowLink;
pub use sockets::{PortWatch, listening_ports};
pub use terminal::Terminal;
pub use tls::{TlsClient, TlsVersion};
