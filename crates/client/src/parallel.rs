//! The same work on many things, some at a time.

use tokio::task::{JoinError, JoinSet};

/// Does `work` on each of `items`, at most `limit` at once, and gives each result to `done` as it comes. Nothing
/// new is begun once `done` has answered false; what runs then is waited for.
pub(crate) async fn at_most<T, R, W>(
    limit: usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> W,
    mut done: impl FnMut(R) -> bool,
) where
    R: Send + 'static,
    W: Future<Output = R> + Send + 'static,
{
    let mut goes_on = true;
    let mut running = JoinSet::new();
    for item in items {
        while running.len() >= limit.max(1) {
            if let Some(result) = running.join_next().await.and_then(finished) {
                goes_on &= done(result);
            }
        }
        if !goes_on {
            break;
        }
        running.spawn(work(item));
    }
    while let Some(result) = running.join_next().await {
        if let Some(result) = finished(result) {
            done(result);
        }
    }
}

/// What a task came to; a panic in it goes on here. `None` when the runtime is shutting down.
pub(crate) fn finished<R>(result: Result<R, JoinError>) -> Option<R> {
    match result {
        Ok(result) => Some(result),
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
