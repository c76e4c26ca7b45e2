//! Signals: the first one ends the run at the end of the sample, so that everything is cleaned up; the next one at once.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::failed::{During as _, Failed};

/// As a shell tells of a death by SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

static CAME: AtomicBool = AtomicBool::new(false);

/// Begins to listen for SIGINT, SIGTERM and SIGHUP.
pub(crate) fn listen() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .during("listening for signals")?;
    std::thread::spawn(move || runtime.block_on(wait()));
    Ok(())
}

/// Whether one has come.
pub(crate) fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}

async fn wait() {
    let heard = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = heard else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if CAME.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_INTERRUPTED);
        }
        eprintln!("ending with this sample; once more ends at once and leaves servers and files behind");
    }
}
