//! What an earlier transfer left at the target, and whether it is the beginning of this very file.

use std::sync::Arc;

use pasarela_store as store;
use store::{ErrorKind, File, Kind, Open};

use super::{Checked, Error, Job, Pace};
use crate::digest::{self, Algorithm, Hasher};
use crate::remote::Place;

/// Bytes at the end of what is there that are compared where no digest can be had.
const TAIL: u64 = 64 * 1024;

/// What was found at the target.
pub(super) enum Begun {
    /// Nothing that can be gone on with.
    Nothing,
    /// The file's first bytes, so many, and where.
    Part(Place, Arc<dyn File>, u64),
    /// All of it, under its name.
    Whole(Checked),
    /// All of it, under another name.
    Written(Place, Checked),
}

/// Where the bytes can be read that are there already.
pub(super) enum Held<'a> {
    /// An unpublished part, through its upload.
    Part(&'a Arc<dyn File>),
    /// A file under the name.
    Standing,
}

impl Job {
    /// Looks for what an earlier transfer left, and compares it with the source.
    pub(super) async fn find_begun(&self) -> Result<Begun, Error> {
        if let Some(aside) = self.aside()
            && let Some(begun) = self.find_aside(aside).await?
        {
            return Ok(begun);
        }
        let (remote, path) = (&self.to.remote, &self.to.path);
        let can_go_on = self.to_can.ranges_up && self.from_can.ranges_down;
        let part = remote.part(path).await;
        let part = match part {
            Err(error) if error.kind == ErrorKind::Unsupported => None,
            other => other.map_err(Error::target)?,
        };
        if let Some(there) = part.filter(|there| (1..=self.size).contains(there)) {
            if !can_go_on {
                return Ok(Begun::Nothing);
            }
            let file = self.resume_at(&self.to, there).await?;
            return Ok(match self.agrees(&self.to, Held::Part(&file), there).await? {
                Some(_) => Begun::Part(self.to.clone(), file, there),
                None => self.begin_anew().await,
            });
        }
        let there = match remote.stat(path).await {
            Ok(there) if there.kind == Kind::File => there.size,
            Ok(_) => return Ok(Begun::Nothing),
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(Begun::Nothing),
            Err(error) => return Err(Error::target(error)),
        };
        if there > self.size || (there == 0 && self.size > 0) {
            return Ok(Begun::Nothing);
        }
        let Some(by) = self.agrees(&self.to, Held::Standing, there).await? else {
            return Ok(self.begin_anew().await);
        };
        // Who did not ask to go on with what stood there before is not served with something that ends alike.
        if by == Agreement::Tail && !self.options.resume && !self.is_new {
            return Ok(Begun::Nothing);
        }
        if there == self.size {
            return Ok(Begun::Whole(by.checked()));
        }
        // Into the file itself only for who asked to go on with what stands there.
        if !can_go_on || (self.aside().is_some() && !self.options.resume) {
            return Ok(Begun::Nothing);
        }
        Ok(Begun::Part(
            self.to.clone(),
            self.resume_at(&self.to, there).await?,
            there,
        ))
    }

    pub(super) async fn resume_at(&self, at: &Place, offset: u64) -> Result<Arc<dyn File>, Error> {
        let file = at.remote.open(&at.path, Open::Resume { offset }).await;
        file.map_err(Error::target)
    }

    pub(super) async fn begin_anew(&self) -> Begun {
        let text =
            "what is at the target is not this file's beginning, or cannot be compared; it is copied anew";
        self.told.note(text.into()).await;
        Begun::Nothing
    }

    /// Whether the first `length` bytes that are at `at` are those of the source, and what says so.
    pub(super) async fn agrees(
        &self,
        at: &Place,
        held: Held<'_>,
        length: u64,
    ) -> Result<Option<Agreement>, Error> {
        for algorithm in Algorithm::ALL {
            if !(self.from_can.digests.contains(&algorithm) && self.to_can.digests.contains(&algorithm)) {
                continue;
            }
            let here = async {
                let digest = match held {
                    Held::Part(file) => {
                        let span = Some(0..length);
                        let digest = digest::of_file(file, algorithm, span, &Pace::default()).await;
                        digest.map(Some)
                    }
                    Held::Standing => at.remote.digest(&at.path, Some(algorithm), Some(0..length)).await,
                };
                known(digest).map_err(Error::target)
            };
            let there = async {
                let (remote, path) = (&self.from.remote, &self.from.path);
                known(remote.digest(path, Some(algorithm), Some(0..length)).await).map_err(Error::source)
            };
            if let (Some(here), Some(there)) = tokio::try_join!(here, there)? {
                return Ok((here == there).then_some(Agreement::Digest(algorithm)));
            }
        }
        Ok(self
            .tail_agrees(at, held, length)
            .await?
            .then_some(Agreement::Tail))
    }

    async fn tail_agrees(&self, at: &Place, held: Held<'_>, length: u64) -> Result<bool, Error> {
        if !self.from_can.ranges_down {
            return Ok(false);
        }
        let start = length.saturating_sub(TAIL);
        let source = self.open_source().await?;
        let target = match held {
            Held::Part(file) => Arc::clone(file),
            Held::Standing => {
                let file = at.remote.open(&at.path, Open::Read).await;
                file.map_err(Error::target)?
            }
        };
        let theirs = known(read_exactly(&source, start, length).await.map(Some)).map_err(Error::source)?;
        let ours = known(read_exactly(&target, start, length).await.map(Some)).map_err(Error::target)?;
        Ok(theirs.is_some() && theirs == ours)
    }

    /// The hash of the bytes that are at the target already, read where that is cheaper.
    pub(super) async fn hash_prefix(
        &self,
        file: &Arc<dyn File>,
        length: u64,
    ) -> Result<Option<Hasher>, Error> {
        let Some(algorithm) = self.check.algorithm() else {
            return Ok(None);
        };
        let hasher = Hasher::new(algorithm);
        let hasher = if self.to_can.writes_anywhere {
            digest::take_in(hasher, file, 0..length, &Pace::default())
                .await
                .map_err(Error::target)
        } else {
            let source = self.open_source().await?;
            let pace = match self.from_can.is_local {
                true => Pace::default(),
                false => self.options.pace.clone(),
            };
            digest::take_in(hasher, &source, 0..length, &pace)
                .await
                .map_err(Error::source)
        };
        hasher.map(Some)
    }
}

/// What says that two beginnings are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    Digest(Algorithm),
    Tail,
}

impl Agreement {
    /// What a whole file is checked by when it agrees.
    pub(super) fn checked(self) -> Checked {
        match self {
            Self::Digest(algorithm) => Checked::Digest(algorithm),
            Self::Tail => Checked::Size,
        }
    }
}

/// `None` for what a place cannot tell, or has not so much of.
fn known<T>(told: store::Result<Option<T>>) -> store::Result<Option<T>> {
    match told {
        Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::PastEnd) => Ok(None),
        other => other,
    }
}

pub(super) async fn read_exactly(file: &Arc<dyn File>, start: u64, end: u64) -> store::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut at = start;
    while at < end {
        // At most TAIL, so it fits.
        let piece = file.read_at(at, (end - at) as usize).await?;
        if piece.is_empty() {
            return Err(ErrorKind::PastEnd.into());
        }
        at += piece.len() as u64;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
