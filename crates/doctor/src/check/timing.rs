//! Where the time goes, from what the other checks measured.

use serde_json::Value;

use crate::advice::server as kinds;
use crate::finding::Finding;
use crate::report::Report;

/// What is told, in the order of time.
const STEPS: &[(&str, &str)] = &[
    ("name.milliseconds", "name"),
    ("connect.milliseconds", "connection"),
    ("login.milliseconds", "greeting to login"),
    ("passive.epsv.began_milliseconds", "data by EPSV"),
    ("passive.pasv.began_milliseconds", "data by PASV"),
];

/// One line of it.
pub(crate) fn check(report: &mut Report) {
    let mut words: Vec<_> = STEPS
        .iter()
        .filter_map(|(fact, word)| Some(format!("{word} {} ms", report.value(fact)?.as_u64()?)))
        .collect();
    for (fact, word) in [("down.bytes_per_second", "down"), ("up.bytes_per_second", "up")] {
        if let Some(rate) = report.value(fact).and_then(Value::as_f64) {
            words.push(format!("{word} {:.1} MB/s", rate / 1e6));
        }
    }
    if !words.is_empty() {
        report.add(Finding::new(
            &kinds::TIMING_TOLD,
            format!("where the time goes: {}", words.join(", ")),
        ));
    }
}
