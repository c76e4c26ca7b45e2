//! What an examination found: for people as text, for programs as JSON lines, and the one cause as a verdict.

use std::fmt;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::finding::{Certainty, Finding, Severity};

/// Something that was measured or heard, without a judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What it is: a stable word such as `tcp.connect_ms`.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// An examination's results, in the order of time.
#[derive(Default)]
pub struct Report {
    /// What was examined, without passwords.
    pub target: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was measured.
    pub facts: Vec<Fact>,
    listener: Option<Listener>,
}

type Listener = Box<dyn FnMut(&Finding) + Send>;

impl fmt::Debug for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Report")
            .field("target", &self.target)
            .field("findings", &self.findings)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Report {
    /// An empty report about a target, which must not show a password.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            ..Self::default()
        }
    }

    /// Tells each finding when it is made; examinations may take minutes.
    #[must_use]
    pub fn telling(mut self, listener: impl FnMut(&Finding) + Send + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Takes a finding.
    pub fn add(&mut self, finding: Finding) {
        if let Some(listener) = &mut self.listener {
            listener(&finding);
        }
        self.findings.push(finding);
    }

    /// Takes a fact; one of the same name that was taken before is replaced.
    pub fn fact(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.facts.iter_mut().find(|fact| fact.name == name) {
            Some(known) => known.value = value,
            None => self.facts.push(Fact { name, value }),
        }
    }

    /// A fact by its name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.facts
            .iter()
            .find(|fact| fact.name == name)
            .map(|fact| &fact.value)
    }

    /// The first finding with this id.
    #[must_use]
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.kind.id == id)
    }

    /// The finding that is named as the cause: of the worst ones the most certain, of those the most specific, of those
    /// the first. `None`: nothing is wrong.
    #[must_use]
    pub fn culprit(&self) -> Option<&Finding> {
        let bad = self.findings.iter().filter(|f| f.severity >= Severity::Warning);
        bad.rev().max_by_key(|f| (f.severity, f.certainty, f.kind.rank))
    }

    /// Other causes that the evidence does not rule out: likely ones, as bad as the culprit, where that is only likely.
    pub fn rivals(&self) -> impl Iterator<Item = &Finding> {
        let culprit = self
            .culprit()
            .filter(|culprit| culprit.certainty == Certainty::Likely);
        self.findings.iter().filter(move |other| {
            culprit.is_some_and(|culprit| {
                !std::ptr::eq(*other, culprit)
                    && other.severity == culprit.severity
                    && other.certainty == Certainty::Likely
            })
        })
    }

    /// What the process ends with: 0 unless something does not work.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.culprit() {
            Some(culprit) if culprit.severity == Severity::Failure => culprit.kind.exit_code,
            _ => 0,
        }
    }

    /// The last line or lines for people.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(culprit) = self.culprit() else {
            return "verdict: nothing is wrong\n".to_owned();
        };
        let sure = match (culprit.severity, culprit.certainty) {
            (Severity::Failure, Certainty::Certain) => "verdict",
            (Severity::Failure, Certainty::Likely) => "verdict (likely)",
            (_, Certainty::Certain) => "verdict: it works, but",
            (_, Certainty::Likely) => "verdict: it works, but (likely)",
        };
        let mut text = format!("{}: {} [{}]\n", sure, culprit.says, culprit.kind.id).replace("but: ", "but ");
        // Writing to a string cannot fail.
        for rival in self.rivals() {
            let _ = writeln!(text, "  or else: {} [{}]", rival.says, rival.kind.id);
        }
        if let Some(advice) = &culprit.advice {
            let _ = writeln!(text, "hint: {advice}");
        }
        text
    }

    /// The whole of it for people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("{}\n", self.target);
        for finding in &self.findings {
            text.push_str(&lines(finding));
        }
        text.push_str(&self.verdict());
        text
    }

    /// One JSON object a line: findings, facts, and the verdict last.
    #[must_use]
    pub fn json_lines(&self) -> String {
        let mut text = String::new();
        let mut line = |value: Value| {
            let _ = writeln!(text, "{value}");
        };
        for finding in &self.findings {
            line(json(finding));
        }
        for fact in &self.facts {
            line(json!({"type": "fact", "name": fact.name, "value": fact.value}));
        }
        let culprit = self.culprit();
        line(json!({
            "type": "verdict",
            "target": self.target,
            "id": culprit.map(|culprit| culprit.kind.id),
            "severity": culprit.map_or(Severity::Ok, |culprit| culprit.severity).word(),
            "certainty": culprit.map(|culprit| culprit.certainty.word()),
            "says": culprit.map(|culprit| &culprit.says),
            "advice": culprit.and_then(|culprit| culprit.advice.as_ref()),
            "or_else": self.rivals().map(|rival| rival.kind.id).collect::<Vec<_>>(),
            "exit_code": self.exit_code(),
        }));
        text
    }
}

/// A finding for people: its sentence; where it is bad, the evidence and the advice too.
#[must_use]
pub fn lines(finding: &Finding) -> String {
    let mut text = format!(
        "{:>8}  {} [{}]\n",
        finding.severity.word(),
        finding.says,
        finding.kind.id
    );
    if finding.severity > Severity::Ok {
        for evidence in &finding.evidence {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "          - {evidence}");
        }
        if let (Some(advice), true) = (&finding.advice, finding.severity >= Severity::Warning) {
            let _ = writeln!(text, "          hint: {advice}");
        }
    }
    text
}

/// A finding for programs.
fn json(finding: &Finding) -> Value {
    json!({
        "type": "finding",
        "id": finding.kind.id,
        "severity": finding.severity.word(),
        "certainty": finding.certainty.word(),
        "says": finding.says,
        "evidence": finding.evidence,
        "advice": finding.advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::server as kinds;

    fn ids<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<&'static str> {
        findings.map(|finding| finding.kind.id).collect()
    }

    #[test]
    fn the_worst_most_certain_and_most_specific_finding_is_the_cause() {
        let mut report = Report::new("test");
        assert_eq!(
            (report.culprit().map(|f| f.kind.id), report.exit_code()),
            (None, 0)
        );
        for (kind, is_likely, cause, code) in [
            (&kinds::LOGIN_WORKS, false, None, 0),
            (&kinds::TLS_NONE, false, Some("tls.none"), 0),
            (
                &kinds::PASSIVE_SERVER_FIREWALL,
                true,
                Some("passive.server-firewall"),
                6,
            ),
            (
                &kinds::PASSIVE_CLIENT_FIREWALL,
                true,
                Some("passive.client-firewall"),
                6,
            ),
            (&kinds::TRANSFER_PATH, false, Some("transfer.path"), 7),
            (&kinds::PASSIVE_ALG, true, Some("transfer.path"), 7),
            (&kinds::PASSIVE_ALG, false, Some("passive.alg"), 6),
        ] {
            let finding = Finding::new(kind, "it is so");
            report.add(if is_likely { finding.likely() } else { finding });
            assert_eq!(report.culprit().map(|f| f.kind.id), cause);
            assert_eq!(report.exit_code(), code);
        }
    }

    #[test]
    fn of_two_that_weigh_the_same_the_first_is_the_cause() {
        let mut report = Report::new("test");
        report.add(Finding::new(&kinds::PASSIVE_ADDRESS_LOOPBACK, "first"));
        report.add(Finding::new(&kinds::PASSIVE_ADDRESS_OTHER, "second"));
        assert_eq!(report.culprit().unwrap().says, "first");
    }

    #[test]
    fn a_verdict_that_is_only_likely_names_what_else_it_may_be() {
        let mut report = Report::new("test");
        report.add(Finding::new(&kinds::PASSIVE_ADDRESS_OTHER, "a warning"));
        report.add(Finding::new(&kinds::PASSIVE_CLIENT_FIREWALL, "here").likely());
        report.add(Finding::new(&kinds::PASSIVE_SERVER_FIREWALL, "there").likely());
        assert_eq!(ids(report.rivals()), ["passive.server-firewall"]);
        let verdict = report.verdict();
        assert!(
            verdict.starts_with("verdict (likely): here [passive.client-firewall]\n"),
            "{verdict}"
        );
        assert!(
            verdict.contains("\n  or else: there [passive.server-firewall]\n"),
            "{verdict}"
        );
        let last: Value = serde_json::from_str(report.json_lines().lines().last().unwrap()).unwrap();
        assert_eq!(last["or_else"], json!(["passive.server-firewall"]));
        report.add(Finding::new(&kinds::CONTROL_LOST, "surely"));
        assert_eq!(ids(report.rivals()), [""; 0]);
    }

    #[test]
    fn evidence_and_advice_are_shown_where_something_is_wrong() {
        let mut report = Report::new("test");
        report.add(Finding::new(&kinds::LOGIN_WORKS, "all is well").evidence("hidden"));
        report.add(Finding::new(&kinds::TLS_NONE, "no TLS").evidence("shown"));
        let text = report.render();
        assert!(!text.contains("hidden") && text.contains("- shown\n"), "{text}");
        assert!(
            text.ends_with(&format!("hint: {}\n", kinds::TLS_NONE.advice)),
            "{text}"
        );
    }
}
