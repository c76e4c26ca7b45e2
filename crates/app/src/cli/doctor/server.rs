//! `pasarela doctor URL`: a server, as it is from here.

use std::process::ExitCode;
use std::time::Duration;

use pasarela_doctor::{Examination, Report, lines};

use super::Flags;
use crate::cli::files::{Login, run};
use crate::cli::print;
use crate::failure::Failure;

/// Examines a server; findings are shown as they are made, for it may take minutes.
pub(super) fn examine(flags: &Flags, url: &str) -> Result<ExitCode, Failure> {
    run(&flags.reaching, async |opener, _| {
        let (url, login) = opener.server(url).await?;
        let mut examination = match login {
            Login::Ftp(site) => Examination::of(*site, url.path.clone()),
            Login::Sftp(site) => Examination::of_sftp(*site, url.path.clone()),
        };
        examination.idle = flags.idle.map(Duration::from_secs);
        examination.upload = flags.upload;
        let mut report = Report::new(url.to_string());
        if !flags.json {
            let silence = flags
                .idle
                .map(|seconds| format!("; {seconds} s of silence come last"));
            print(&format!("{url}{}\n", silence.unwrap_or_default()))?;
            // Whoever reads no more has heard enough.
            report = report.telling(|finding| drop(print(&lines(finding))));
        }
        examination.run(&mut report).await;
        print(&match flags.json {
            true => report.json_lines(),
            false => report.verdict(),
        })?;
        Ok(report.exit_code())
    })
}
