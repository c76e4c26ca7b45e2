//! `pasarela ls`, `stat` and `hash`: what is there.

use clap::{Args, ValueEnum};
use pasarela_client::{Algorithm, Place};
use pasarela_store as store;
use serde_json::json;
use store::{Entry, Kind, VirtualPath};

use super::{Opener, Reaching, failed, show, whole_code};
use crate::cli::print_bytes;
use crate::failure::Failure;

/// Examples of `ls`.
pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  A folder of a server, with modes, sizes and times (UTC):
      pasarela ls -l ftp://ftp.example.org/pub

  All that is beneath the folder of a saved place (pasarela login), for a program:
      pasarela ls -R --json site:

NAME:PATH is a path at a saved place, taken from its folder, or from the server's root where it begins with a slash. A \
file of this machine with such a name is written ./NAME:PATH.

",
    exit_codes!()
);

/// Entries that one command shows, at most.
const MOST: usize = 1_000_000;
/// Folders within folders that `ls -R` shows.
const DEEPEST: usize = 128;

/// The flags of `ls`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Folders or files: URLs, saved places, or paths on this machine
    #[arg(default_value = ".")]
    targets: Vec<String>,

    /// Mode, size and time too
    #[arg(short)]
    long: bool,

    /// Folders within folders too
    #[arg(short = 'R', long)]
    recursive: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// The flags of `stat`.
#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Files or folders: URLs, or paths on this machine
    #[arg(required = true)]
    targets: Vec<String>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// The flags of `hash`.
#[derive(Debug, Args)]
pub(crate) struct Hash {
    /// Files: URLs, or paths on this machine
    #[arg(required = true)]
    targets: Vec<String>,

    /// The digest
    #[arg(long, value_enum, default_value_t = Word::Sha256)]
    algorithm: Word,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

/// The names of digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    Sha256,
    Sha512,
    Sha1,
    Md5,
    Crc32,
}

/// Lists folders, in the order of the names. Of several, those that can be listed are.
pub(super) async fn list(flags: &List, opener: &Opener) -> Result<u8, Failure> {
    let mut codes = Vec::new();
    for (index, target) in flags.targets.iter().enumerate() {
        match list_one(flags, target, index, opener).await {
            Err(failure) if flags.targets.len() > 1 => {
                show::complain(&failure);
                codes.push(failure.kind.exit_code());
            }
            listed => codes.push(listed?),
        }
    }
    Ok(whole_code(&codes))
}

async fn list_one(flags: &List, target: &str, index: usize, opener: &Opener) -> Result<u8, Failure> {
    let place = opener.open(target).await?;
    let top = place.remote.stat(&place.path).await;
    let top = top.map_err(|error| failed(target, &error))?;
    let is_alone = flags.targets.len() == 1;
    if top.kind != Kind::Directory {
        let name = match is_alone {
            true => place.path.name().unwrap_or_default().to_vec(),
            false => target.as_bytes().to_vec(),
        };
        let entry = Entry {
            name: name.clone(),
            metadata: top,
            link_target: None,
        };
        print_bytes(&line(&entry, &name, flags))?;
        return Ok(0);
    }
    if !is_alone && !flags.json {
        let space = if index == 0 { "" } else { "\n" };
        print_bytes(&[space.as_bytes(), &show::name(target.as_bytes()), b":\n"].concat())?;
    }
    list_folder(flags, target, &place).await
}

async fn list_folder(flags: &List, target: &str, place: &Place) -> Result<u8, Failure> {
    let mut dirs = vec![VirtualPath::root()];
    let mut seen = 0;
    let mut result = 0;
    while let Some(dir) = dirs.pop() {
        let entries = match entries(place, &dir, &mut seen).await {
            Ok(entries) => entries,
            Err(error) if dir.is_root() => return Err(failed(target, &error)),
            Err(error) => {
                // The others are shown all the same.
                show::complain(&failed(&String::from_utf8_lossy(&dir.to_bytes()), &error));
                result = 11;
                continue;
            }
        };
        let mut text = Vec::new();
        let mut beneath = Vec::new();
        for entry in &entries {
            let path = dir.resolve(&entry.name);
            let path = path.as_ref().ok().filter(|path| path.name() == Some(&entry.name));
            let shown = match (path, dir.is_root()) {
                (Some(path), false) => path.to_bytes()[1..].to_vec(),
                _ => entry.name.clone(),
            };
            text.extend(line(entry, &shown, flags));
            if let Some(path) = path.filter(|_| flags.recursive && entry.metadata.kind == Kind::Directory)
                && path.components().len() <= DEEPEST
            {
                beneath.push(path.clone());
            }
        }
        dirs.extend(beneath.into_iter().rev());
        print_bytes(&text)?;
    }
    Ok(result)
}

async fn entries(place: &Place, dir: &VirtualPath, seen: &mut usize) -> store::Result<Vec<Entry>> {
    let place = place.join(dir).map_err(|_| store::ErrorKind::BadName)?;
    let mut pages = place.remote.list(&place.path).await?;
    let mut all = Vec::new();
    while let Some(page) = pages.next_page().await? {
        *seen += page.len();
        if *seen > MOST {
            return Err(std::io::Error::other(format!("more than {MOST} entries")).into());
        }
        all.extend(page);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn line(entry: &Entry, path: &[u8], flags: &List) -> Vec<u8> {
    if flags.json {
        return format!("{}\n", object(entry, path)).into_bytes();
    }
    let metadata = &entry.metadata;
    let mut line = Vec::new();
    if flags.long {
        let head = format!(
            "{}{:04o} {:>14} {} ",
            letter(metadata.kind),
            metadata.mode & 0o7777,
            metadata.size,
            show::time(metadata.modified)
        );
        line.extend_from_slice(head.as_bytes());
    }
    line.extend(show::name(path));
    match (metadata.kind, &entry.link_target) {
        (Kind::Directory, _) => line.push(b'/'),
        (Kind::Link, Some(target)) if flags.long => {
            line.extend_from_slice(b" -> ");
            line.extend(show::name(target));
        }
        _ => {}
    }
    line.push(b'\n');
    line
}

fn object(entry: &Entry, path: &[u8]) -> serde_json::Value {
    let metadata = &entry.metadata;
    let mut object = json!({
        "name": String::from_utf8_lossy(path),
        "kind": word(metadata.kind),
        "size": metadata.size,
        "modified": show::time(metadata.modified),
        "mode": format!("{:04o}", metadata.mode & 0o7777),
    });
    if std::str::from_utf8(path).is_err() {
        let hex: String = path.iter().map(|byte| format!("{byte:02x}")).collect();
        object["name_hex"] = hex.into();
    }
    if let Some(target) = &entry.link_target {
        object["link_target"] = String::from_utf8_lossy(target).into();
    }
    object
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Link => 'l',
        Kind::Other => '?',
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "folder",
        Kind::Link => "link",
        Kind::Other => "other",
    }
}

/// Tells what stands under each name.
pub(super) async fn stat(flags: &Stat, opener: &Opener) -> Result<u8, Failure> {
    for target in &flags.targets {
        let place = opener.open_entry(target).await?;
        let entry = place.remote.stat_entry(&place.path).await;
        let entry = entry.map_err(|error| failed(target, &error))?;
        let path = place.path.to_bytes();
        if flags.json {
            print_bytes(format!("{}\n", object(&entry, &path)).as_bytes())?;
            continue;
        }
        let metadata = &entry.metadata;
        let mut text = show::name(&path);
        let rest = format!(
            "\n  kind      {}\n  size      {}\n  modified  {}\n  mode      {:04o}\n",
            word(metadata.kind),
            metadata.size,
            show::time(metadata.modified),
            metadata.mode & 0o7777
        );
        text.extend_from_slice(rest.as_bytes());
        print_bytes(&text)?;
    }
    Ok(0)
}

/// Prints digests in the form of sha256sum(1): computed by the server where it can, from the bytes otherwise.
pub(super) async fn hash(flags: &Hash, opener: &Opener) -> Result<u8, Failure> {
    let algorithm = match flags.algorithm {
        Word::Sha256 => Algorithm::Sha256,
        Word::Sha512 => Algorithm::Sha512,
        Word::Sha1 => Algorithm::Sha1,
        Word::Md5 => Algorithm::Md5,
        Word::Crc32 => Algorithm::Crc32,
    };
    for target in &flags.targets {
        let place = opener.open(target).await?;
        let told = pasarela_client::digest_of(&place, algorithm).await;
        let digest = told.map_err(|error| failed(target, &error))?;
        let mut text = format!("{digest}  ").into_bytes();
        text.extend(show::name(opener.shown(target).as_bytes()));
        text.push(b'\n');
        print_bytes(&text)?;
    }
    Ok(0)
}
