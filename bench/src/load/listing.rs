//! Listings of a small folder over and over, and of a huge one once: what a client waits for.

use std::time::Instant;

use super::{micros, millis};
use crate::account::own_cpu;
use crate::failed::{Failed, expect};
use crate::ftp::Session;
use crate::measure::{
    CLIENT_OF_ONE, CPU_OF_LIST, CPU_OF_ONE, FIRST, P50, P99, PEAK, REFUSED, Sample, TOTAL, percentile,
};
use crate::server::Server;
use crate::tree::{FEW, Tree};

/// Every entry of the folder has this in its name.
const MARK: &[u8] = b".dat";

/// PASV, connect, the listing, 226.
pub(super) fn small(server: &Server, verb: &str, count: usize) -> Result<Sample, Failed> {
    let mut session = Session::open(&server.login())?.binary()?;
    let command = format!("{verb} few");
    let (mut times, mut refused) = (Vec::with_capacity(count), 0);
    let (cpu, own) = (server.cpu(), own_cpu());
    while times.len() < count {
        let start = Instant::now();
        let listed = session.transfer(&command).and_then(|mut data| {
            let listed = data.read_all()?;
            drop(data);
            session.done(&command)?;
            Ok(listed)
        });
        match listed {
            Ok(listed) => {
                times.push(micros(start.elapsed()));
                expect(verb, FEW, entries(&listed))?;
            }
            Err(failed) if failed.is_refusal() && refused < 10_000 => refused += 1,
            Err(failed) => return Err(failed),
        }
    }
    let (cpu, own) = (server.cpu() - cpu, own_cpu() - own);
    session.quit()?;
    times.sort_by(f64::total_cmp);
    let each = 1e6 / times.len() as f64;
    Ok(Sample::default()
        .with(&P50, percentile(&times, 0.5))
        .with(&P99, percentile(&times, 0.99))
        .with(&CPU_OF_ONE, cpu * each)
        .with(&CLIENT_OF_ONE, own * each)
        .with(&REFUSED, f64::from(refused)))
}

/// One listing: when its first byte comes, when its last, and the memory it takes at most.
pub(super) fn huge(server: &Server, tree: &Tree, verb: &str) -> Result<Sample, Failed> {
    let mut session = Session::open(&server.login())?.binary()?;
    let command = format!("{verb} huge");
    server.account().forget_peak();
    let (before, cpu) = (server.account().peak(), server.cpu());
    let start = Instant::now();
    let mut data = session.transfer(&command)?;
    let (mut first, mut all, mut buffer) = (None, Vec::new(), vec![0; 256 * 1024]);
    while data.read(&mut buffer, &mut |bytes| {
        if !bytes.is_empty() {
            first.get_or_insert_with(|| start.elapsed());
        }
        all.extend_from_slice(bytes);
    })? {}
    drop(data);
    session.done(&command)?;
    let total = start.elapsed();
    let (cpu, peak) = (server.cpu() - cpu, server.account().peak());
    session.quit()?;
    expect(verb, tree.sizes.huge, entries(&all))?;
    Ok(Sample::default()
        .with(&FIRST, millis(first.unwrap_or(total)))
        .with(&TOTAL, millis(total))
        .with(&CPU_OF_LIST, cpu * 1e3)
        .with(&PEAK, peak.saturating_sub(before) as f64))
}

fn entries(listing: &[u8]) -> u64 {
    let lines = listing.split(|byte| *byte == b'\n');
    lines.filter(|line| line.trim_ascii_end().ends_with(MARK)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_of_the_folder_count() {
        let listing = b"total 4\r\ntype=cdir; .\r\n-rw-r--r-- 1 a b 100 Jan  1 00:00 entry-000.dat\r\nsize=1; a.dat\r\n";
        assert_eq!(entries(listing), 2);
        assert_eq!(entries(b""), 0);
    }
}
