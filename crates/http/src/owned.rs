//! Work that a client cannot stop by hanging up.

use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::failure::HttpError;

/// Runs `work` in a task of the server's own and waits for its result.
///
/// Dropping the returned future does not stop `work`: it runs to its end, and whoever shuts the
/// server down waits for it by closing `tasks` and `tasks.wait()`. The current span goes along.
///
/// # Errors
/// [`HttpError::TaskLost`] when the work panicked or the runtime stopped.
pub async fn run_owned<F>(tasks: &TaskTracker, work: F) -> Result<F::Output, HttpError>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let task = tasks.spawn(work.in_current_span());
    task.await.map_err(HttpError::TaskLost)
}
