//! A name beside the target's, under which a file is written until it is whole.
//!
//! Most servers write an upload into the file of that name from its first byte on, so what is cut there stands in the
//! place of the file. Under another name nobody takes it for one, and a later transfer finds it and goes on with it.

use std::sync::atomic::Ordering;

use pasarela_store as store;
use store::{ErrorKind, Kind, VirtualPath};

use super::resume::{Agreement, Begun, Held};
use super::{Error, Job};
use crate::remote::{Place, Uploads};
use crate::{Failure, FailureKind};

/// Whether an upload is written under a name of its own, and renamed when it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aside {
    /// Where the place would show it before it is whole and lets it be renamed; into the file itself where not.
    #[default]
    Auto,
    /// Wherever the place would show it before it is whole; it fails where it cannot be renamed.
    Always,
    /// Never: into the file itself, which keeps what belongs to it.
    Never,
}

/// How many bytes of the target's name the other name begins with.
const KEPT_NAME: usize = 100;

/// The name beside a file's that `word` stands for: `.NAME.NUMBER.WORD`, in the same folder and always the same.
pub(crate) fn beside(path: &VirtualPath, word: &str) -> Option<VirtualPath> {
    let name = path.name()?;
    let mut kept = name.len().min(KEPT_NAME);
    if let Ok(text) = std::str::from_utf8(name) {
        while !text.is_char_boundary(kept) {
            kept -= 1;
        }
    }
    let rest = format!(".{:08x}.{word}", crc32fast::hash(name));
    let name = [b".", &name[..kept], rest.as_bytes()].concat();
    path.parent()?.resolve(&name).ok()
}

/// Where a file for `to` is written first; `None`: under its own name.
pub(super) async fn place(to: &Place, wanted: Aside) -> store::Result<Option<Place>> {
    let is_wanted = match wanted {
        Aside::Never => false,
        _ if to.remote.abilities().is_local => false,
        Aside::Auto => to.remote.uploads(&to.path).await? == Uploads::Renamable,
        Aside::Always => to.remote.uploads(&to.path).await? != Uploads::Whole,
    };
    let path = is_wanted.then(|| beside(&to.path, "part")).flatten();
    Ok(path.map(|path| Place {
        remote: std::sync::Arc::clone(&to.remote),
        path,
    }))
}

/// Whether a place refuses the other name or the renaming, where the file itself might be taken.
pub(super) fn is_refusal(error: &store::Error) -> bool {
    use FailureKind as F;
    Failure::of(error).is_some_and(|failure| {
        let kinds = [
            F::Permission,
            F::BadName,
            F::Exists,
            F::Unsupported,
            F::Usage,
            F::Other,
        ];
        (failure.reply.is_some() || failure.status.is_some()) && kinds.contains(&failure.kind)
    })
}

impl Job {
    /// Where it is written before it stands under its name.
    pub(super) fn aside(&self) -> Option<&Place> {
        let given_up = self.is_aside_given_up.load(Ordering::Relaxed);
        self.aside.as_ref().filter(|_| !given_up)
    }

    /// After a failure of the target: whether the other name is given up.
    pub(super) fn doubt_aside(&self, error: &store::Error) {
        if self.options.aside == Aside::Auto && is_refusal(error) {
            self.is_aside_given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Gives what is whole its name.
    pub(super) async fn put_in_place(&self, written: &Place) -> Result<(), Error> {
        if written.path == self.to.path {
            return Ok(());
        }
        let remote = &self.to.remote;
        if let Some(mode) = self.old_mode {
            // A file that is replaced keeps its mode; where that cannot be, the new one is good all the same.
            let _ = remote.set_mode(&written.path, mode).await;
        }
        let renamed = remote
            .rename(&written.path, &self.to.path, self.options.overwrite)
            .await;
        if let Err(error) = renamed {
            self.doubt_aside(&error);
            if self.aside().is_none() {
                let _ = remote.remove_file(&written.path).await;
            }
            return Err(Error::target(error));
        }
        Ok(())
    }

    /// What an earlier transfer left under the other name; `None` where that is nothing.
    pub(super) async fn find_aside(&self, aside: &Place) -> Result<Option<Begun>, Error> {
        if !(self.to_can.ranges_up && self.from_can.ranges_down) {
            return Ok(None);
        }
        let there = match aside.remote.stat(&aside.path).await {
            Ok(there) if there.kind == Kind::File => there.size,
            Ok(_) => return Ok(None),
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::target(error)),
        };
        if !(1..=self.size).contains(&there) {
            return Ok(None);
        }
        let is_asked = self.options.resume || self.is_aside_ours.load(Ordering::Relaxed);
        Ok(match self.agrees(aside, Held::Standing, there).await? {
            Some(Agreement::Tail) if !is_asked => None,
            Some(by) if there == self.size => Some(Begun::Written(aside.clone(), by.checked())),
            Some(_) => Some(Begun::Part(
                aside.clone(),
                self.resume_at(aside, there).await?,
                there,
            )),
            None => Some(self.begin_anew().await),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_name_is_in_the_same_folder_always_the_same_and_never_too_long() {
        let path = |text: &str| VirtualPath::root().resolve(text.as_bytes()).unwrap();
        let other = beside(&path("/a/b.txt"), "part").unwrap();
        assert_eq!(other.to_bytes(), b"/a/.b.txt.864b8d6a.part");
        assert_eq!(beside(&path("/a/b.txt"), "part").unwrap(), other);
        let long = beside(&path(&format!("/{}", "\u{e9}".repeat(120))), "part").unwrap();
        assert!(long.name().unwrap().len() < 120 && std::str::from_utf8(long.name().unwrap()).is_ok());
        assert_ne!(
            beside(&path(&format!("/{}a", "x".repeat(200))), "part"),
            beside(&path(&format!("/{}b", "x".repeat(200))), "part")
        );
        assert!(beside(&VirtualPath::root(), "part").is_none());
    }
}
