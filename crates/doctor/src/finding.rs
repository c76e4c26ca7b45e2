//! One thing that was found out: what is, how that shows, and what to do about it.

use crate::advice::Kind;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing fails because of it.
    Note,
    /// Some fail because of it, or all will one day.
    Warning,
    /// It does not work.
    Failure,
}

impl Severity {
    /// Its word, in reports and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// How sure it is that a finding is the cause, and not one of its effects or one of several that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// The evidence fits it better than anything else, and does not rule out the rest.
    Likely,
    /// The evidence leaves no other explanation.
    Certain,
}

impl Certainty {
    /// Its word, in reports and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// One thing that was found out.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What kind of thing; it has the id.
    pub kind: &'static Kind,
    /// How bad it is here; the kind's own severity unless the circumstances change it.
    pub severity: Severity,
    /// How sure.
    pub certainty: Certainty,
    /// What is, in one plain sentence without a full stop.
    pub says: String,
    /// What was sent, received and measured, one line each.
    pub evidence: Vec<String>,
    /// What to do, and who can; the kind's own words unless the circumstances give better ones.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding of a kind, certain, with the kind's severity and advice.
    pub fn new(kind: &'static Kind, says: impl Into<String>) -> Self {
        Self {
            kind,
            severity: kind.severity,
            certainty: Certainty::Certain,
            says: says.into(),
            evidence: Vec::new(),
            advice: (!kind.advice.is_empty()).then(|| kind.advice.to_owned()),
        }
    }

    /// With one more line of evidence.
    #[must_use]
    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    /// With more lines of evidence.
    #[must_use]
    pub fn all_evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    /// Only likely: other causes would look the same.
    #[must_use]
    pub fn likely(mut self) -> Self {
        self.certainty = Certainty::Likely;
        self
    }

    /// As bad as this.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// With other advice than the kind's.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
