//! What this machine can do without any server: copy memory, encrypt, and have a small file on stable storage.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use super::micros;
use crate::failed::{During as _, Failed};
use crate::measure::{AES128, AES256, FSYNC_P50, FSYNC_P99, MEMCPY, Sample, percentile};
use crate::tree::Tree;

const MIB: usize = 1 << 20;
/// How long each loop runs.
const TIME: Duration = Duration::from_millis(200);
/// A TLS record's worth.
const RECORD: usize = 16 * 1024;

/// One look at all of it.
pub(super) fn sample(tree: &Tree) -> Result<Sample, Failed> {
    // More than caches hold.
    let (from, mut to) = (vec![1_u8; 64 * MIB], vec![0_u8; 64 * MIB]);
    let memcpy = rate(64 * MIB, || to.copy_from_slice(black_box(&from)));
    let mut syncs = Vec::new();
    let path = tree.scratch().join("synced");
    let folder = File::open(tree.scratch()).during("the folder")?;
    let start = Instant::now();
    while syncs.len() < 5 || start.elapsed() < TIME {
        let begin = Instant::now();
        let mut file = File::create(&path).during("a file")?;
        file.write_all(&from[..4096]).during("a file")?;
        file.sync_all().during("fsync")?;
        folder.sync_all().during("fsync of a folder")?;
        syncs.push(micros(begin.elapsed()));
        fs::remove_file(&path).during("a file")?;
    }
    syncs.sort_by(f64::total_cmp);
    Ok(Sample::default()
        .with(&MEMCPY, memcpy)
        .with(&AES128, encrypt(&AES_128_GCM)?)
        .with(&AES256, encrypt(&AES_256_GCM)?)
        .with(&FSYNC_P50, percentile(&syncs, 0.5))
        .with(&FSYNC_P99, percentile(&syncs, 0.99)))
}

fn encrypt(algorithm: &'static Algorithm) -> Result<f64, Failed> {
    let key = vec![7; algorithm.key_len()];
    let key = UnboundKey::new(algorithm, &key).map_err(|_| Failed::Missing("AES-GCM".to_owned()))?;
    let (key, mut record) = (LessSafeKey::new(key), vec![0; RECORD]);
    Ok(rate(RECORD, || {
        // A key of this loop only, and nobody reads what it makes: the nonce may repeat.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record);
        let _ = black_box(tag);
    }))
}

/// MiB a second of something that does so many bytes.
fn rate(bytes: usize, mut run: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        run();
        count += 1;
    }
    (bytes * count) as f64 / MIB as f64 / start.elapsed().as_secs_f64()
}
