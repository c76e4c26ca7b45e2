//! What a command reports when it cannot go on: what happened, and what to do about it.

use std::fmt;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What `main` makes the exit code of.
    pub(crate) kind: Kind,
    /// What is wrong; at least one.
    pub(crate) problems: Vec<Problem>,
}

/// What sort of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Flags, configuration, or a file that they name.
    Configuration,
    /// A socket could not be bound.
    Bind,
    /// A second signal ended it before its transfers had.
    CutShort,
    /// A place that files are in, with this exit code.
    Code(u8),
    /// Anything else.
    Other,
}

impl Kind {
    /// The exit code of the program that ends because of it.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Configuration => 2,
            Self::Bind => 3,
            Self::CutShort => 130,
            Self::Code(code) => code,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What happened.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the place where it is before the message.
    #[must_use]
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// As a failure of this kind.
    pub(crate) fn fails(self, kind: Kind) -> Failure {
        Failure {
            kind,
            problems: vec![self],
        }
    }

    /// The problem as text for a person, under a heading such as `error`.
    pub(crate) fn titled(&self, title: &str) -> String {
        let hint = self
            .hint
            .as_ref()
            .map(|hint| format!("\nhint: {hint}"))
            .unwrap_or_default();
        format!("{title}: {}{hint}", self.message)
    }
}

impl Failure {
    /// With what to do, behind its last problem.
    #[must_use]
    pub(crate) fn hinted(mut self, hint: &str) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.hint = Some(match problem.hint.take() {
                Some(before) => format!("{before}\nhint: {hint}"),
                None => hint.to_owned(),
            });
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self
            .problems
            .iter()
            .map(|problem| problem.titled("error"))
            .collect();
        f.write_str(&texts.join("\n"))
    }
}
