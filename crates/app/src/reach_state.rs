//! What the ladder came to, as a document: kept in the state folder while a server runs, and told to whoever wants to
//! know of changes.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pasarela_reach::{Reach, Report};
use serde_json::{Value, json};

/// The file in the state folder.
const FILE: &str = "reach.json";

/// Locked for as long as the server runs that keeps the file.
const LOCK: &str = "reach.lock";

/// The document of these reports.
pub(crate) fn document(reports: &[Report]) -> Value {
    let ports: Vec<Value> = reports
        .iter()
        .map(|report| {
            // A report has no map with keys that are no text, so this does not fail.
            let mut port = serde_json::to_value(report).unwrap_or_default();
            port["url"] = json!(report.url());
            port["verified"] = json!(report.best().is_some_and(|best| best.outcome.is_verified()));
            port["advice"] = json!(report.advice());
            port
        })
        .collect();
    json!({
        "pid": std::process::id(),
        "reachable": reports.iter().any(|report| report.best().is_some()),
        "ports": ports,
    })
}

/// What a server that runs with this state folder has found out; `None` where none runs.
pub(crate) fn of_running_server(state_dir: &Path) -> Option<Value> {
    // The lock ends with its process, however that ends.
    let lock = File::open(state_dir.join(LOCK)).ok()?;
    let is_held = matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
    if !is_held {
        return None;
    }
    let text = std::fs::read_to_string(state_dir.join(FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Keeps the file and runs the operator's command at every change, until dropped.
pub(crate) struct Teller {
    file: Option<PathBuf>,
    /// Held until the end; without it another server keeps the file.
    _lock: Option<File>,
    task: tokio::task::JoinHandle<()>,
}

impl Teller {
    /// Must be called within a tokio runtime.
    pub(crate) fn start(reach: Reach, state_dir: Option<&Path>, command: Vec<String>) -> Self {
        let lock = state_dir.and_then(lock);
        let file = state_dir.filter(|_| lock.is_some()).map(|dir| dir.join(FILE));
        let task = tokio::spawn(tell(reach, file.clone(), command));
        Self {
            file,
            _lock: lock,
            task,
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(file) = &self.file {
            // Where it was never written there is nothing to remove.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Nothing where another server has this state folder.
fn lock(state_dir: &Path) -> Option<File> {
    let locked = std::fs::create_dir_all(state_dir)
        .and_then(|()| File::create(state_dir.join(LOCK)))
        .and_then(|file| file.try_lock().map(|()| file).map_err(std::io::Error::from));
    if let Err(error) = &locked {
        tracing::warn!(%error, folder = %state_dir.display(), "what the ladder comes to is not kept in the state folder");
    }
    locked.ok()
}

async fn tell(reach: Reach, file: Option<PathBuf>, command: Vec<String>) {
    let mut changes = reach.changes();
    let mut told: Vec<(String, String)> = Vec::new();
    while changes.changed().await.is_ok() {
        let reports = reach.reports();
        if let Some(file) = &file {
            keep(file, &document(&reports)).await;
        }
        if command.is_empty() {
            continue;
        }
        let mut now = Vec::new();
        for report in &reports {
            let (Some(url), Some(best)) = (report.url(), report.best()) else {
                continue;
            };
            let Some(endpoint) = best.outcome.endpoint() else {
                continue;
            };
            let via = best.via.to_string();
            if !told.contains(&(url.clone(), via.clone())) {
                run(
                    &command,
                    [
                        ("PASARELA_URL", url.clone()),
                        ("PASARELA_ADDRESS", endpoint.ip().to_string()),
                        ("PASARELA_PORT", endpoint.port().to_string()),
                        ("PASARELA_VIA", via.clone()),
                    ],
                )
                .await;
            }
            now.push((url, via));
        }
        told = now;
    }
}

/// Writes the document so that a reader sees the old one or the new one.
async fn keep(file: &Path, document: &Value) {
    let new = file.with_extension("json.new");
    let write = async {
        if let Some(folder) = file.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        tokio::fs::write(&new, document.to_string()).await?;
        tokio::fs::rename(&new, file).await
    };
    if let Err(error) = write.await {
        tracing::warn!(%error, file = %file.display(), "what the ladder came to is not kept");
    }
}

/// How long the operator's command may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

async fn run(command: &[String], environment: [(&str, String); 4]) {
    let [program, arguments @ ..] = command else {
        return;
    };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let ended = match child {
        Ok(mut child) => tokio::time::timeout(PATIENCE, child.wait()).await,
        Err(error) => return tracing::error!(program, %error, "reach.on_change"),
    };
    match ended {
        Ok(Ok(status)) if status.success() => tracing::debug!(program, "reach.on_change"),
        Ok(Ok(status)) => tracing::error!(program, %status, "reach.on_change"),
        Ok(Err(error)) => tracing::error!(program, %error, "reach.on_change"),
        Err(_) => {
            tracing::error!(program, patience = ?PATIENCE, "reach.on_change took too long and was ended")
        }
    }
}
