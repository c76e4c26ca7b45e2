//! Bans over a restart: a small file in the state folder, a line each: address and the second at which it ends.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A ban and what is left of it.
type Ban = (IpAddr, Duration);

/// The file, and what stands in it.
pub(crate) struct Bans {
    file: PathBuf,
    written: String,
}

impl Bans {
    /// The file of this state folder.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            file: state_dir.join("bans"),
            written: String::new(),
        }
    }

    /// The bans that still last. A file that is not there or not readable holds none.
    pub(crate) fn read(&mut self) -> Vec<Ban> {
        self.written = std::fs::read_to_string(&self.file).unwrap_or_default();
        parse(&self.written, SystemTime::now())
    }

    /// Keeps these, if they are others than those of last time.
    pub(crate) fn keep(&mut self, bans: &[Ban]) {
        let text = print(bans, SystemTime::now());
        if text == self.written {
            return;
        }
        let new = self.file.with_extension("new");
        let kept = std::fs::write(&new, &text).and_then(|()| std::fs::rename(&new, &self.file));
        match kept {
            Ok(()) => self.written = text,
            Err(error) => tracing::warn!(file = %self.file.display(), %error, "bans are not kept"),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn print(bans: &[Ban], now: SystemTime) -> String {
    let mut lines: Vec<String> = bans
        .iter()
        .map(|(address, left)| format!("{address} {}\n", seconds(now + *left)))
        .collect();
    lines.sort();
    lines.concat()
}

fn parse(text: &str, now: SystemTime) -> Vec<Ban> {
    let ban = |line: &str| {
        let (address, end) = line.split_once(' ')?;
        let left = end
            .parse::<u64>()
            .ok()?
            .checked_sub(seconds(now))
            .filter(|left| *left > 0)?;
        Some((address.parse().ok()?, Duration::from_secs(left)))
    };
    text.lines().filter_map(ban).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_come_back_until_they_end() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let bans = vec![
            ("192.0.2.1".parse().unwrap(), Duration::from_secs(60)),
            ("2001:db8::".parse().unwrap(), Duration::from_secs(5)),
        ];
        let text = print(&bans, now);
        assert_eq!(parse(&text, now), bans);
        assert_eq!(
            parse(&text, now + Duration::from_secs(10)),
            [(bans[0].0, Duration::from_secs(50))]
        );
        assert_eq!(parse("rubbish\n1.2.3.4 x\n", now), []);
    }
}
