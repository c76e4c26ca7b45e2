//! Renaming: over what stands there too, and without a moment in which a file could be lost.

use std::sync::atomic::Ordering;

use pasarela_ftp_proto::user_pi::Reply;
use pasarela_store::{Kind, VirtualPath};

use super::login::Connection;
use super::remote::{FtpRemote, Outcome};
use crate::transfer::beside;
use crate::{Failure, FailureKind};

/// Whether logins of this site may rename, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Renames {
    Unknown,
    Yes,
    No,
}

impl Renames {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Yes,
            2 => Self::No,
            _ => Self::Unknown,
        }
    }
}

impl FtpRemote {
    /// Whether this login may rename in the folder of `path`, as far as RNFR tells before anything is renamed: who may
    /// only drop files into a folder could not take back what was written there under another name.
    pub(super) async fn may_rename(&self, path: &VirtualPath) -> Outcome<bool> {
        match Renames::of(self.pool.renames.load(Ordering::Relaxed)) {
            Renames::Yes => return Ok(true),
            Renames::No => return Ok(false),
            Renames::Unknown => {}
        }
        let Some(parent) = path.parent().filter(|parent| !parent.is_root()) else {
            return Ok(true);
        };
        let mut lease = self.pool.lease().await?;
        let control = &mut lease.connection()?.control;
        let asked = control.command("RNFR", &parent.to_bytes()).await?;
        // ProFTPD takes the next command for a wrong RNTO, whichever it is.
        control.command("NOOP", b"").await?;
        let found = match asked.code {
            350 => Renames::Yes,
            _ if Failure::refused("rename", asked).kind == FailureKind::NotFound => return Ok(true),
            _ => Renames::No,
        };
        self.pool.renames.store(found as u8, Ordering::Relaxed);
        Ok(found == Renames::Yes)
    }

    /// Renames. Where the server refuses to rename over a file, that one is put aside first and removed last, so that
    /// both are whole whatever fails.
    pub(super) async fn rename_over(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Outcome<()> {
        let mut lease = self.pool.lease().await?;
        let refusal = match rename(lease.connection()?, from, to).await? {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        drop(lease);
        let failure = Failure::refused("rename it", refusal);
        let is_in_the_way = replace
            && self
                .look(to)
                .await
                .is_ok_and(|there| there.metadata.kind == Kind::File);
        let Some(old) = beside(to, "old").filter(|_| is_in_the_way) else {
            return Err(failure);
        };
        let mut lease = self.pool.lease().await?;
        let connection = lease.connection()?;
        let is_now = |failure: Failure| {
            let old = old.to_bytes();
            failure.hint(format!(
                "the file that stood there may now be {}",
                old.escape_ascii()
            ))
        };
        if rename(connection, to, &old).await.map_err(is_now)?.is_err() {
            return Err(failure);
        }
        if let Err(refusal) = rename(connection, from, to).await.map_err(is_now)? {
            // Where this fails too the old file is whole under its other name.
            let back = rename(connection, &old, to).await.map_err(is_now)?;
            let failure = Failure::refused("rename it", refusal);
            return Err(match back {
                Ok(()) => failure,
                Err(_) => is_now(failure),
            });
        }
        let removed = connection.control.command("DELE", &old.to_bytes()).await?;
        if !removed.is_done() {
            tracing::warn!(old = %old.to_bytes().escape_ascii(), %removed, "the file that was replaced could not be removed");
        }
        Ok(())
    }
}

/// RNFR and RNTO; the refusal of either.
async fn rename(
    connection: &mut Connection,
    from: &VirtualPath,
    to: &VirtualPath,
) -> Outcome<std::result::Result<(), Reply>> {
    let (from, to) = (from.to_bytes(), to.to_bytes());
    let control = &mut connection.control;
    if connection.software.reads_on() {
        let (first, second) = ([b"RNFR ", &from[..]].concat(), [b"RNTO ", &to[..]].concat());
        let (first, second) = control.both(first, second).await?;
        return Ok(match (first.class() > 3, second.is_done()) {
            (true, _) => Err(first),
            (false, true) => Ok(()),
            (false, false) => Err(second),
        });
    }
    let first = control.command("RNFR", &from).await?;
    if first.class() > 3 {
        return Ok(Err(first));
    }
    let second = control.command("RNTO", &to).await?;
    Ok(if second.is_done() { Ok(()) } else { Err(second) })
}
