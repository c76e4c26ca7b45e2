//! The end of a transfer: what both sides must have said before it is called a success.

use std::sync::Arc;

use pasarela_store as store;
use store::{ErrorKind, File};

use super::{Checked, End, Error, Job, Outcome};
use crate::digest::{Digest, Hasher};
use crate::remote::Place;

impl Job {
    /// Checks, publishes, checks what stands there, and gives it its name and its time.
    pub(super) async fn finish(
        &self,
        at: &Place,
        file: Arc<dyn File>,
        start: u64,
        hasher: Option<Hasher>,
    ) -> Result<Outcome, Error> {
        let digest = hasher.map(Hasher::finish);
        let by_source = self.check_before(&file, digest.as_ref()).await?;
        file.publish().await.map_err(Error::target)?;
        drop(file);
        let knows_size = self.to_can.confirms_size;
        let checked = self
            .check_after(at, knows_size, digest.as_ref(), by_source)
            .await?;
        let time_kept = self.keep_time(at).await;
        self.put_in_place(at).await?;
        Ok(self.outcome(start, checked, time_kept))
    }

    /// What can be known before the file stands under its name: a file that is not the source's never does.
    pub(super) async fn check_before(
        &self,
        file: &Arc<dyn File>,
        digest: Option<&Digest>,
    ) -> Result<bool, Error> {
        if self.to_can.writes_anywhere {
            let found = file.size().await.map_err(Error::target)?;
            self.same_size(found)?;
        }
        match digest {
            Some(digest) => self.check.agrees(End::Source, &self.from, digest).await,
            None => Ok(false),
        }
    }

    /// What can be known only of the file that stands there.
    pub(super) async fn check_after(
        &self,
        at: &Place,
        knows_size: bool,
        digest: Option<&Digest>,
        by_source: bool,
    ) -> Result<Checked, Error> {
        if self.check.size && self.to_can.exact_size && !knows_size {
            match at.remote.stat(&at.path).await {
                Ok(there) => self.same_size(there.size)?,
                // A folder to drop files into, which nobody may look at: it took all and said so.
                Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {}
                Err(error) => return Err(Error::target(error)),
            }
        }
        let by_target = match digest {
            Some(digest) => self.check.agrees(End::Target, at, digest).await?,
            None => false,
        };
        Ok(self.check.done(by_source || by_target))
    }

    pub(super) fn same_size(&self, found: u64) -> Result<(), Error> {
        if found == self.size {
            return Ok(());
        }
        let expected = self.size;
        Err(Error::SizeDiffers { expected, found })
    }

    /// Gives the target the source's modification time, where that is known and can be set. A failure is told and is
    /// no failure of the transfer.
    pub(super) async fn keep_time(&self, at: &Place) -> bool {
        if !(self.options.keep_times && self.to_can.set_times && self.from_can.exact_times) {
            return false;
        }
        match at.remote.set_modified(&at.path, self.modified).await {
            Ok(()) => true,
            Err(error) => {
                let why = super::sentence(&error);
                let why = why.lines().next().unwrap_or_default();
                self.told.note(format!("its time was not set: {why}")).await;
                false
            }
        }
    }
}
