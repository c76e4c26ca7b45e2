//! `pasarela rm`, `mkdir` and `mv`: changes that move no content.

use clap::Args;
use pasarela_client::Place;
use pasarela_client::mirror::make_dirs;
use pasarela_store as store;
use store::{ErrorKind, Kind, VirtualPath};

use super::{Opener, Reaching, failed};
use crate::failure::Failure;

/// Folders within folders that `rm -r` goes into.
const DEEPEST: usize = 128;

/// The flags of `rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Files or folders: URLs, or paths on this machine
    #[arg(required = true)]
    targets: Vec<String>,

    /// Folders too, with all that they hold
    #[arg(short, long)]
    recursive: bool,

    /// What is not there is no failure
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// The flags of `mkdir`.
#[derive(Debug, Args)]
pub(crate) struct MakeDir {
    /// Folders: URLs, or paths on this machine
    #[arg(required = true)]
    targets: Vec<String>,

    /// Make those that hold it too; what is there already is no failure
    #[arg(short, long)]
    parents: bool,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// The flags of `mv`.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// What is renamed
    from: String,

    /// Its new name, on the same server, or a folder there
    to: String,

    /// Replace a file that stands under the new name
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// Removes files and folders.
pub(super) async fn remove(flags: &Remove, opener: &Opener) -> Result<u8, Failure> {
    for target in &flags.targets {
        let place = opener.open_entry(target).await?;
        let removed = match place.path.is_root() {
            true => Err(ErrorKind::PermissionDenied.into()),
            false => remove_one(&place, flags.recursive).await,
        };
        match removed {
            Err(error) if flags.force && error.kind == ErrorKind::NotFound => {}
            other => other.map_err(|error| failed(target, &error))?,
        }
    }
    Ok(0)
}

async fn remove_one(place: &Place, recursive: bool) -> store::Result<()> {
    let remote = &place.remote;
    let there = remote.stat_entry(&place.path).await?.metadata.kind;
    if there != Kind::Directory {
        return remote.remove_file(&place.path).await;
    }
    if !recursive {
        return Err(ErrorKind::IsDirectory.into());
    }
    // A folder is looked at twice: what it holds is put above it, and when it comes up again it is empty.
    let mut left = vec![(place.path.clone(), false)];
    while let Some((path, is_empty)) = left.pop() {
        if is_empty {
            remote.remove_dir(&path).await?;
            continue;
        }
        if path.components().len() > place.path.components().len() + DEEPEST {
            return Err(ErrorKind::BadName.into());
        }
        left.push((path.clone(), true));
        let mut pages = remote.list(&path).await?;
        let mut files = Vec::new();
        while let Some(page) = pages.next_page().await? {
            for entry in page {
                let inside = one_within(&path, &entry.name)?;
                match entry.metadata.kind {
                    Kind::Directory => left.push((inside, false)),
                    _ => files.push(inside),
                }
            }
        }
        for file in files {
            remote.remove_file(&file).await?;
        }
    }
    Ok(())
}

/// The path of an entry, unless its name is more than one.
fn one_within(dir: &VirtualPath, name: &[u8]) -> store::Result<VirtualPath> {
    let path = dir.resolve(name).map_err(|_| ErrorKind::BadName)?;
    match path.name() == Some(name) && path.parent().as_ref() == Some(dir) {
        true => Ok(path),
        false => Err(ErrorKind::BadName.into()),
    }
}

/// Makes folders.
pub(super) async fn make_dir(flags: &MakeDir, opener: &Opener) -> Result<u8, Failure> {
    for target in &flags.targets {
        let place = opener.open(target).await?;
        let made = match flags.parents {
            true => make_dirs(&place).await,
            false => place.remote.make_dir(&place.path).await,
        };
        made.map_err(|error| failed(target, &error))?;
    }
    Ok(0)
}

/// Renames.
pub(super) async fn rename(flags: &Move, opener: &Opener) -> Result<u8, Failure> {
    let (from, mut to) = opener.open_both(&flags.from, &flags.to).await?;
    if to
        .remote
        .stat(&to.path)
        .await
        .is_ok_and(|there| there.kind == Kind::Directory)
        && from.path != to.path
    {
        let name = from.path.name().unwrap_or_default();
        to.path = one_within(&to.path, name).map_err(|error| failed(&flags.from, &error))?;
    }
    let renamed = from.remote.rename(&from.path, &to.path, flags.force).await;
    renamed.map_err(|error| failed(&flags.from, &error))?;
    Ok(0)
}
