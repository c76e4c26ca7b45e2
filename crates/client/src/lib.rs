//! The client: every place that files are in is a [`Remote`], and transfers and mirrors go between any two of them.
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

mod digest;
mod failure;
mod ftp;
pub mod mirror;
mod parallel;
pub mod progress;
mod proxy;
mod remote;
mod sftp;
#[cfg(test)]
mod testing;
pub mod transfer;
mod url;

pub use digest::{Algorithm, Digest};
pub use failure::{Failure, FailureKind};
pub use ftp::probe;
pub use ftp::{Family, FtpRemote, Options, Phase, Security, Site, Stopwatch};
pub use pasarela_tls::{BadPin, Facts, Known, KnownServers, Pin, Stranger, Trust, TrustError};
pub use progress::{Event, Progress};
pub use proxy::{BadProxy, Proxy, ProxyKind};
pub use remote::{Abilities, Local, Place, Remote, Uploads, digest_of};
pub use sftp::{Asks, HostKeyError, Question, Seen as SshSeen, SftpOptions, SftpRemote, SftpSite};
pub use url::{BadUrl, Scheme, Secret, Url};
