//! What is shown: names that cannot speak to a terminal, sizes, times, and how transfers go.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use pasarela_client::{Event, Progress};
use tokio::task::JoinHandle;

/// A name with everything escaped that a terminal would obey or that would hide what it says: C0, C1, and the
/// controls of writing direction.
pub(super) fn escaped(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            let is_direction = matches!(
                c,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            );
            if c.is_control() || is_direction {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            } else {
                shown.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A name for standard output: escaped for a terminal, as it is for a program.
pub(super) fn name(name: &[u8]) -> Vec<u8> {
    match std::io::stdout().is_terminal() {
        true => escaped(name).into_bytes(),
        false => name.to_vec(),
    }
}

/// A time as RFC 3339 has it, in UTC, to the second.
pub(super) fn time(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    };
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "-".into(), |time| time.to_string())
}

/// Tells of a failure that does not end the command.
pub(super) fn complain(failure: &crate::failure::Failure) {
    say(&failure.to_string());
}

/// Writes lines above a prompt that somebody is typing at.
pub(super) type Above = Box<dyn FnMut(String) + Send>;

static ABOVE: Mutex<Option<Above>> = Mutex::new(None);

/// From now on, what is told goes above a prompt.
pub(super) fn speak_above(prompt: Option<Above>) {
    *ABOVE.lock().unwrap_or_else(PoisonError::into_inner) = prompt;
}

/// Tells people something that is no data.
pub(super) fn say(text: &str) {
    match &mut *ABOVE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(above) => above(format!("{text}\n")),
        None => {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Writes a question, whose answer is typed behind it.
pub(super) fn ask(question: &str) {
    let mut out = std::io::stderr();
    let _ = write!(out, "{question}").and_then(|()| out.flush());
}

/// How far a command has come that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes that have been moved.
    pub(super) done: AtomicU64,
    /// Bytes that are to be moved, as far as is known.
    pub(super) total: AtomicU64,
}

/// What is known of how transfers go: on a bar, where somebody looks at one, and in a tally.
struct Gauge {
    bar: ProgressBar,
    tally: Option<Arc<Tally>>,
}

impl Gauge {
    fn expect(&self, total: u64) {
        self.bar.set_length(total);
        if let Some(tally) = &self.tally {
            tally.total.store(total, Ordering::Relaxed);
        }
    }

    fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        if let Some(tally) = &self.tally {
            tally.done.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// How transfers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Every event, on standard output.
    Json,
    /// Failures, notes, and a bar where standard error is a terminal.
    People,
    /// Failures.
    Quiet,
}

/// Shows events until every [`Progress`] is gone.
pub(super) fn progress(manner: Manner, tally: Option<Arc<Tally>>) -> (Progress, JoinHandle<()>) {
    let (progress, mut events) = Progress::channel(256);
    let shown = tokio::spawn(async move {
        let bar = match &tally {
            Some(_) => ProgressBar::hidden(),
            None => bar(manner),
        };
        let gauge = Gauge {
            bar: bar.clone(),
            tally,
        };
        let mut total = 0;
        let mut files = std::collections::HashMap::new();
        while let Some(event) = events.recv().await {
            if manner == Manner::Json {
                if let Ok(line) = serde_json::to_string(&event) {
                    let _ = writeln!(std::io::stdout(), "{line}");
                }
                continue;
            }
            match event {
                Event::Planned { bytes, .. } => {
                    total = bytes;
                    gauge.expect(bytes);
                }
                Event::Started {
                    file,
                    name,
                    size,
                    resumed_at,
                } => {
                    files.insert(file, resumed_at);
                    bar.set_message(escaped(name.as_bytes()));
                    if total == 0 {
                        gauge.expect(size.unwrap_or(0));
                    }
                    gauge.add(resumed_at);
                }
                Event::Moved { file, done } => {
                    let before = files.insert(file, done).unwrap_or(0);
                    gauge.add(done.saturating_sub(before));
                }
                Event::Finished { file, size, .. } => {
                    let before = files.remove(&file).unwrap_or(0);
                    gauge.add(size.saturating_sub(before));
                }
                Event::Failed { name, reason, .. } => {
                    line(
                        &bar,
                        &format!("error: {}: {}", escaped(name.as_bytes()), lines(&reason)),
                    );
                }
                Event::Note { name, text } if manner == Manner::People => {
                    line(
                        &bar,
                        &format!("note: {}: {}", escaped(name.as_bytes()), escaped(text.as_bytes())),
                    );
                }
                Event::Retrying { wait_ms, reason, .. } if manner == Manner::People => {
                    let seconds = Duration::from_millis(wait_ms).as_secs_f64();
                    line(
                        &bar,
                        &format!("note: {}; once more in {seconds} s", lines(&reason)),
                    );
                }
                _ => {}
            }
        }
        bar.finish_and_clear();
    });
    (progress, shown)
}

/// A text of several lines, each of them escaped.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| escaped(line.as_bytes())).collect();
    lines.join("\n")
}

fn line(bar: &ProgressBar, text: &str) {
    bar.suspend(|| say(text));
}

fn bar(manner: Manner) -> ProgressBar {
    if manner != Manner::People || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(
        "{bytes:>11} of {total_bytes} {binary_bytes_per_sec:>13} {eta:>4} {wide_msg}",
    ) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_speak_to_a_terminal() {
        let name = "a\x1b]0;x\x07\u{9b}2J\u{202e}gpj.exe\r\n\x7fñ".as_bytes();
        let shown = escaped(&[name, b"\xff"].concat());
        assert_eq!(
            shown,
            "a\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{202e}gpj.exe\\u{d}\\u{a}\\u{7f}ñ\\xff"
        );
    }

    #[test]
    fn times_are_in_utc() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(time(at(1_000_000_000)), "2001-09-09T01:46:40Z");
        assert_eq!(
            time(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            "1969-12-31T23:59:59Z"
        );
    }
}
