//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks again and again until `condition` gives a value.
///
/// # Errors
/// It does not within `deadline`; `what` says what was waited for.
pub(crate) fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("waited {deadline:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
