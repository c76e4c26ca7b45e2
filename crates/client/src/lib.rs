//! Places that files are in, reached by FTP and FTPS, and what moves files between them.
//!
//! ```no_run
//! use pasarela_client::{FtpRemote, Site, Url};
//! use pasarela_store::{Storage as _, VirtualPath};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url: Url = "ftp://ftp.example.org/pub".parse()?;
//! let remote = FtpRemote::new(Site::of(&url));
//! let folder = remote.resolve(&url.path).await?;
//! let mut pages = remote.list(&folder).await?;
//! while let Some(entries) = pages.next_page().await? {
//!     for entry in entries {
//!         println!("{:>12} {}", entry.metadata.size, entry.name.escape_ascii());
//!     }
//! }
//! # Ok(()) }
//! ```

mod failure;
mod ftp;
mod remote;
mod url;

pub use failure::{Failure, FailureKind};
pub use ftp::{FtpRemote, Options, Security, Site};
pub use pasarela_tls::{Known, KnownServers, Pin, Stranger, Trust};
pub use remote::{Abilities, Algorithm, Digest, Remote};
pub use url::{BadUrl, Scheme, Secret, Url};
