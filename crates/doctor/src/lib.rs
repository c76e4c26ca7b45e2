//! The doctor: finds out why a transfer fails, from what servers and networks really do, and says what to change.
//!
//! An examination fills a [`Report`] with [`Finding`]s. Each is of a [`Kind`] from the tables in `advice`, which have the
//! stable ids, the severity, the exit code and the advice; docs/doctor.md lists them for people.

pub mod advice;
mod check;
pub mod climb;
mod examination;
mod finding;
mod knock;
pub mod network;
pub mod opening;
mod report;
mod route;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use advice::Kind;
pub use examination::Examination;
pub use finding::{Certainty, Finding, Severity};
pub use report::{Fact, Report, lines};
