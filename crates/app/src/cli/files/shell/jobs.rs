//! Commands that run while somebody goes on typing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::files::open::Opener;
use crate::cli::files::show::{self, Tally};
use crate::cli::files::{Command, MOMENT, exit_code, usage};
use crate::failure::{Failure, Kind, Problem};

/// The jobs of a shell, in the order of their numbers; ended ones until somebody has been told.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    all: Vec<Job>,
    last: u32,
}

#[derive(Debug)]
struct Job {
    number: u32,
    line: String,
    began: Instant,
    stop: CancellationToken,
    tally: Arc<Tally>,
    /// Its exit code.
    task: JoinHandle<u8>,
}

/// Jobs at once, at most.
const MOST: usize = 32;

impl Jobs {
    /// Begins one. Within a runtime.
    ///
    /// # Errors
    /// Too many run.
    pub(super) fn begin(&mut self, command: Command, line: String, opener: &Opener) -> Result<(), Failure> {
        if self.running() >= MOST {
            return Err(usage(format!("{MOST} jobs run already")));
        }
        self.last += 1;
        let number = self.last;
        let (stop, tally) = (CancellationToken::new(), Arc::new(Tally::default()));
        let opener = opener.until(&stop).in_background(Arc::clone(&tally));
        let (ends, name) = (stop.clone(), line.clone());
        let task = tokio::spawn(async move {
            let done = command.execute(&opener, &ends).await;
            if let Err(failure) = &done {
                show::complain(failure);
            }
            let code = exit_code(&done);
            let how = match code {
                0 => "done".to_owned(),
                130 => "stopped".to_owned(),
                code => format!("failed ({code})"),
            };
            show::say(&format!("[{number}] {how}: {name}"));
            code
        });
        show::say(&format!("[{number}] {line}"));
        self.all.push(Job {
            number,
            line,
            began: Instant::now(),
            stop,
            tally,
            task,
        });
        Ok(())
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.all.iter().filter(|job| !job.task.is_finished()).count()
    }

    /// A line for each; those that have ended are forgotten then.
    pub(super) fn shown(&mut self) -> String {
        let lines = self.all.iter().map(|job| {
            let state = match job.task.is_finished() {
                true => "ended".to_owned(),
                false => format!("{:>4} s", job.began.elapsed().as_secs()),
            };
            let (done, total) = (
                job.tally.done.load(Ordering::Relaxed),
                job.tally.total.load(Ordering::Relaxed),
            );
            let moved = match total {
                0 => format!("{done} bytes"),
                total => format!("{done} of {total} bytes"),
            };
            format!("[{}] {state:>6}  {moved}  {}\n", job.number, job.line)
        });
        let text = lines.collect();
        self.all.retain(|job| !job.task.is_finished());
        text
    }

    /// Waits for one, or for all: the code of the first that failed. May be given up.
    ///
    /// # Errors
    /// There is no such job.
    pub(super) async fn wait(&mut self, number: Option<u32>) -> Result<u8, Failure> {
        let mut code = 0;
        while let Some(at) = self.find(number)? {
            let job = &mut self.all[at];
            let ended = (&mut job.task).await.unwrap_or(130);
            self.all.remove(at);
            code = if code == 0 { ended } else { code };
            if number.is_some() {
                break;
            }
        }
        Ok(code)
    }

    /// Stops one.
    ///
    /// # Errors
    /// There is no such job.
    pub(super) async fn stop(&mut self, number: u32) -> Result<(), Failure> {
        if let Some(at) = self.find(Some(number))? {
            let mut job = self.all.remove(at);
            job.stop.cancel();
            if tokio::time::timeout(MOMENT, &mut job.task).await.is_err() {
                job.task.abort();
                show::say(&format!("[{number}] stopped: {}", job.line));
            }
        }
        Ok(())
    }

    /// Stops all of them.
    pub(super) async fn stop_all(&mut self) {
        for job in &self.all {
            job.stop.cancel();
        }
        let ended = async {
            for job in &mut self.all {
                let _ = (&mut job.task).await;
            }
        };
        let _ = tokio::time::timeout(MOMENT, ended).await;
        self.all.clear();
    }

    /// Where a job is; without a number, the first; `None`: there is none at all.
    fn find(&self, number: Option<u32>) -> Result<Option<usize>, Failure> {
        let Some(number) = number else {
            return Ok((!self.all.is_empty()).then_some(0));
        };
        let at = self.all.iter().position(|job| job.number == number);
        at.map(Some).ok_or_else(|| {
            Problem::new(format!("there is no job {number}"))
                .hint("jobs shows all of them")
                .fails(Kind::Code(7))
        })
    }
}
