//! How a transfer is checked: what was asked for, what both places can do, what was done.

use pasarela_store as store;
use serde::Serialize;

use super::{End, Error};
use crate::digest::{Algorithm, Digest};
use crate::remote::{Abilities, Place};

/// How the result of a transfer is to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// By a digest where a remote end can compute one, and by the length otherwise.
    #[default]
    Auto,
    /// By digests of both ends or not at all; files on this machine are read back.
    Hash,
    /// By the length.
    Size,
    /// Not at all, beyond what a transfer tells by itself.
    Off,
}

/// How a result was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// Only that the source ended where it should.
    Unchecked,
    /// The length at the target is that of the source.
    Size,
    /// The length, and a digest by this algorithm.
    Digest(Algorithm),
}

/// The check that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    /// Whether the length at the target is asked for.
    pub(super) size: bool,
    digest: Option<ByDigest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByDigest {
    algorithm: Algorithm,
    asks_source: bool,
    asks_target: bool,
    /// An end that turns out not to compute it fails the transfer.
    is_demanded: bool,
}

impl Check {
    /// The best check that is wanted and possible.
    pub(super) fn choose(verify: Verify, source: &Abilities, target: &Abilities) -> Result<Self, Error> {
        let is_demanded = match verify {
            Verify::Off => {
                return Ok(Self {
                    size: false,
                    digest: None,
                });
            }
            Verify::Size => {
                return Ok(Self {
                    size: true,
                    digest: None,
                });
            }
            Verify::Auto => false,
            Verify::Hash => true,
        };
        // An end on this machine saw the very bytes that were transferred; only who insists has it read back.
        let asks = |end: &Abilities| is_demanded || !(end.is_local || end.digests.is_empty());
        let (asks_source, asks_target) = (asks(source), asks(target));
        let can = |end: &Abilities, algorithm| end.digests.contains(&algorithm);
        let algorithm = Algorithm::ALL.into_iter().find(|&algorithm| {
            (!asks_source || can(source, algorithm)) && (!asks_target || can(target, algorithm))
        });
        let digest = match algorithm {
            None if is_demanded => return Err(Error::Unverifiable),
            Some(algorithm) if asks_source || asks_target => Some(ByDigest {
                algorithm,
                asks_source,
                asks_target,
                is_demanded,
            }),
            _ => None,
        };
        Ok(Self { size: true, digest })
    }

    /// The algorithm by which the bytes that pass are to be hashed.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.digest.map(|digest| digest.algorithm)
    }

    /// What is to be told when the length agrees and `by_digest` says whether a digest does.
    pub(super) fn done(&self, by_digest: bool) -> Checked {
        match self.digest {
            Some(digest) if by_digest => Checked::Digest(digest.algorithm),
            _ if self.size => Checked::Size,
            _ => Checked::Unchecked,
        }
    }

    /// Compares `passed` with what an end computes. False where that end is not asked or cannot tell.
    pub(super) async fn agrees(&self, end: End, place: &Place, passed: &Digest) -> Result<bool, Error> {
        let Some(digest) = self.digest else {
            return Ok(false);
        };
        let asked = match end {
            End::Source => digest.asks_source,
            End::Target => digest.asks_target,
        };
        if !asked {
            return Ok(false);
        }
        let failed = |error: store::Error| Error::Place { end, error };
        let told = place
            .remote
            .digest(&place.path, Some(digest.algorithm), None)
            .await;
        match told.map_err(failed)? {
            None if digest.is_demanded => Err(Error::Unverifiable),
            None => Ok(false),
            Some(told) if told == *passed => Ok(true),
            Some(_) => Err(Error::DigestDiffers {
                end,
                algorithm: digest.algorithm,
            }),
        }
    }
}
