//! The first bytes of one file as the beginning of another, as cheaply as the file system can do it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs;
use rustix::io::Errno;

use super::metadata::size;
use crate::{ErrorKind, Result};

/// Bytes a system call when they have to be carried by hand.
const PIECE: usize = 256 * 1024;
/// Bytes one `copy_file_range` is asked for.
const STRETCH: u64 = 1 << 30;

/// Makes the empty file `to` begin with the first `count` bytes of `from`: shares the blocks, else lets the kernel
/// copy, else reads and writes. [`ErrorKind::PastEnd`] when `from` turns out to be shorter.
pub(super) fn copy_prefix(from: &File, to: &File, count: u64) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    if fs::ioctl_ficlone(to, from).is_ok() {
        if size(&fs::fstat(to)?) < count {
            return Err(ErrorKind::PastEnd.into());
        }
        return Ok(fs::ftruncate(to, count)?);
    }
    let done = copy_in_kernel(from, to, count)?;
    copy_by_hand(from, to, done, count)
}

/// Answers how far it came; the rest is for the slow way.
fn copy_in_kernel(from: &File, to: &File, count: u64) -> Result<u64> {
    let (mut read, mut written) = (0, 0);
    while written < count {
        let stretch = usize::try_from((count - written).min(STRETCH)).unwrap_or(PIECE);
        match fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), stretch) {
            // Some file systems answer 0 for what they cannot copy this way.
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => return Err(full.into()),
            Err(_) => break,
        }
    }
    Ok(written)
}

fn copy_by_hand(from: &File, to: &File, mut at: u64, count: u64) -> Result<()> {
    let mut piece = vec![0; if at < count { PIECE } else { 0 }];
    while at < count {
        let wanted = usize::try_from(count - at).map_or(PIECE, |left| left.min(PIECE));
        let length = match from.read_at(&mut piece[..wanted], at) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if length == 0 {
            return Err(ErrorKind::PastEnd.into());
        }
        to.write_all_at(&piece[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(content: &[u8]) -> (File, File) {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(content, 0).unwrap();
        (from, to)
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn every_way_copies_exactly_the_prefix() {
        let bytes: Vec<u8> = (0..PIECE * 2 + 77).map(|number| (number % 251) as u8).collect();
        for count in [0, 1, PIECE, PIECE * 2 + 76, bytes.len()] {
            let (from, to) = pair(&bytes);
            copy_prefix(&from, &to, count as u64).unwrap();
            assert!(content(&to) == bytes[..count], "{count}");

            let (from, to) = pair(&bytes);
            copy_by_hand(&from, &to, 0, count as u64).unwrap();
            assert!(content(&to) == bytes[..count], "by hand, {count}");
        }
    }

    #[test]
    fn a_file_that_shrank_is_past_its_end() {
        let (from, to) = pair(b"abc");
        assert_eq!(copy_prefix(&from, &to, 4).unwrap_err().kind, ErrorKind::PastEnd);
    }
}
