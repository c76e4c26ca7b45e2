//! Lists what a URL names: `list ftp://ftp.example.org/pub`. `PASARELA_PIN` pins the server's key.
#![allow(clippy::print_stdout, reason = "the listing is what this program is for")]

use std::error::Error;

use pasarela_client::{FtpRemote, Remote as _, Site, Trust, Url};
use pasarela_store::{Kind, Storage as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url: Url = std::env::args().nth(1).ok_or("usage: list URL")?.parse()?;
    let mut site = Site::of(&url);
    if let Ok(pin) = std::env::var("PASARELA_PIN") {
        site.trust = Trust::Pinned(pin.parse()?);
    }
    let remote = FtpRemote::new(site);
    let listed = list(&remote, &url).await;
    remote.close().await;
    listed
}

async fn list(remote: &FtpRemote, url: &Url) -> Result<(), Box<dyn Error>> {
    let explained = |error: pasarela_store::Error| match pasarela_client::Failure::of(&error) {
        Some(failure) => failure.to_string(),
        None => error.to_string(),
    };
    let folder = remote.resolve(&url.path).await.map_err(explained)?;
    let mut pages = remote.list(&folder).await.map_err(explained)?;
    while let Some(entries) = pages.next_page().await.map_err(explained)? {
        for entry in entries {
            let slash = if entry.metadata.kind == Kind::Directory {
                "/"
            } else {
                ""
            };
            println!("{:>14} {}{slash}", entry.metadata.size, entry.name.escape_ascii());
        }
    }
    Ok(())
}
