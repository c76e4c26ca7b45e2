//! Tables for people: a row a server, a column a measure, and beside each figure how many times better ours is.

use std::fmt::Write as _;

use crate::measure::{Better, Measure, advantage, median};
use crate::rounds::{Outcome, Row};

/// Above a figure of ours over theirs.
const RATIO: &str = "ours x";

/// A case as a table. The first row is what the others are compared with.
pub(crate) fn render(outcome: &Outcome) -> String {
    let mut columns = vec![vec!["server".to_owned()]];
    columns[0].extend(outcome.rows.iter().map(|row| row.name.to_owned()));
    for measure in outcome.case.measures() {
        let figures = outcome.rows.iter().map(|row| figure(middle(row, measure)));
        columns.push([measure.name.to_owned()].into_iter().chain(figures).collect());
        if measure.better != Better::Aside {
            let first = &outcome.rows[0];
            let ratios = outcome.rows.iter().enumerate().map(|(number, row)| {
                let ratio = (number > 0).then(|| ratio(first, row, measure)).flatten();
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
            });
            columns.push([RATIO.to_owned()].into_iter().chain(ratios).collect());
        }
    }
    let mut text = heading(outcome);
    for line in 0..=outcome.rows.len() {
        let mut cells = columns.iter().enumerate().map(|(number, column)| {
            let width = column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
            match number {
                0 => format!("{:<width$}", column[line]),
                _ => format!("  {:>width$}", column[line]),
            }
        });
        let failed = line
            .checked_sub(1)
            .and_then(|row| outcome.rows[row].failed.as_ref());
        match failed {
            Some(failed) => {
                let name = cells.next().unwrap_or_default();
                let _ = writeln!(text, "{name}  failed: {failed}");
            }
            None => {
                let _ = writeln!(text, "{}", cells.collect::<String>().trim_end());
            }
        }
    }
    text
}

fn heading(outcome: &Outcome) -> String {
    let case = outcome.case;
    let rounds = outcome
        .rows
        .iter()
        .map(|row| row.samples.iter().flatten().count())
        .max()
        .unwrap_or(0);
    let tls = if case.tls { ", TLS 1.3" } else { "" };
    format!(
        "\n{}: {}{tls}\nmedians of {rounds}; others took up to {:.0} % of the machine\n",
        case.name,
        case.about,
        outcome.others * 100.0
    )
}

fn middle(row: &Row, measure: &Measure) -> f64 {
    let samples = row.samples.iter().flatten();
    median(samples.filter_map(|sample| sample.value(measure)).collect())
}

/// The median over rounds of what one is better than the other in the same round.
fn ratio(ours: &Row, theirs: &Row, measure: &Measure) -> Option<f64> {
    let pairs = ours.samples.iter().zip(&theirs.samples);
    let ratios: Vec<_> = pairs
        .filter_map(|(ours, theirs)| {
            let (ours, theirs) = (ours.as_ref()?.value(measure)?, theirs.as_ref()?.value(measure)?);
            advantage(measure.better, ours, theirs)
        })
        .collect();
    let ratio = median(ratios);
    ratio.is_finite().then_some(ratio)
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value {
        nan if nan.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        small if small.abs() < 1.0 => format!("{small:.3}"),
        middling if middling.abs() < 100.0 => format!("{middling:.1}"),
        large => format!("{large:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::failed::Failed;
    use crate::measure::{CLIENT_OF_GIB, CPU_OF_GIB, SPEED, Sample};

    fn sample(speed: f64, cpu: f64) -> Option<Sample> {
        let sample = Sample::default().with(&SPEED, speed).with(&CPU_OF_GIB, cpu);
        Some(sample.with(&CLIENT_OF_GIB, 0.25))
    }

    fn row(name: &'static str, samples: Vec<Option<Sample>>) -> Row {
        Row {
            name,
            samples,
            failed: None,
        }
    }

    #[test]
    fn ratios_are_those_of_the_same_round_and_tell_what_is_better() {
        let mut broken = row("broken", vec![None, None, None]);
        broken.failed = Some(Failed::Missing("no such program".into()));
        let outcome = Outcome {
            case: Case::named("retr").unwrap(),
            rows: vec![
                row(
                    "ours",
                    vec![sample(1000.0, 0.5), sample(100.0, 0.5), sample(1000.0, 0.5)],
                ),
                row(
                    "theirs",
                    vec![sample(500.0, 1.0), sample(50.0, 1.0), sample(500.0, 0.25)],
                ),
                broken,
            ],
            others: 0.034,
        };
        let text = render(&outcome);
        let lines: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(text.lines().nth(1), Some("retr: one large file down"));
        assert!(text.contains("medians of 3; others took up to 3 %"), "{text}");
        assert_eq!(lines[4], ["ours", "1000", "0.500", "0.250"]);
        assert_eq!(lines[5], ["theirs", "500", "2.00", "1.0", "2.00", "0.250"]);
        assert!(text.contains("broken  failed: no such program"), "{text}");
    }

    #[test]
    fn figures_have_three_digits_that_matter() {
        let shown = [f64::NAN, 0.0, 0.12345, 12.345, 1234.5].map(figure);
        assert_eq!(shown, ["-", "0", "0.123", "12.3", "1234"]);
    }
}
