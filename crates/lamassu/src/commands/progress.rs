//! That something long goes on, on a terminal only.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep_until};

/// How often the sign of life moves.
const TICK: Duration = Duration::from_millis(120);

/// Time between looks at something that is watched.
const LOOK: Duration = Duration::from_millis(300);

/// Something of unknown length.
#[derive(Debug)]
pub(super) struct Waiting(ProgressBar);

/// Shows that something is waited for.
pub(super) fn waiting(what: &'static str) -> Waiting {
    if !std::io::stderr().is_terminal() {
        return Waiting(ProgressBar::hidden());
    }
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(TICK);
    Waiting(bar)
}

impl Waiting {
    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}

/// What became of something that was watched.
#[derive(Debug)]
pub(super) enum Watched<T> {
    /// It is over.
    Over(T),
    /// It goes on, and whoever watched has pressed Ctrl-C.
    Left(T),
}

/// How much is done, of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) done: i64,
    pub(super) total: i64,
}

/// Shows how far something is that the server does, until it is over or `interrupt` is there, which is when Ctrl-C is
/// pressed. `share` is `None` once it is over.
///
/// # Errors
/// It cannot be looked at.
pub(super) async fn watch<T>(
    begun: T,
    interrupt: impl Future,
    share: impl Fn(&T) -> Option<Share>,
    look: impl AsyncFn(&T) -> Result<T>,
) -> Result<Watched<T>> {
    let progress = counting();
    // One for all looks: none of its signals is lost in between.
    let mut interrupt = std::pin::pin!(interrupt);
    let mut now = begun;
    while let Some(share) = share(&now) {
        progress.at(share);
        let next = async {
            sleep_until(Instant::now() + LOOK).await;
            look(&now).await
        };
        let next = tokio::select! {
            next = next => next?,
            _ = &mut interrupt => {
                progress.finish();
                return Ok(Watched::Left(now));
            }
        };
        now = next;
    }
    progress.finish();
    Ok(Watched::Over(now))
}

/// Something that is counted.
#[derive(Debug)]
struct Counting(ProgressBar);

/// Shows how far something is.
fn counting() -> Counting {
    if !std::io::stderr().is_terminal() {
        return Counting(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(0);
    let template = "{bar:40} {pos} of {len}, {elapsed} so far, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Counting(bar)
}

impl Counting {
    fn at(&self, Share { done, total }: Share) {
        let total = total.max(done);
        // 0 of 0 would be a full bar.
        if total == 0 {
            return;
        }
        self.0.set_length(total.try_into().unwrap_or_default());
        self.0.set_position(done.try_into().unwrap_or_default());
    }

    fn finish(self) {
        self.0.finish_and_clear();
    }
}

/// A file that is read.
#[derive(Debug)]
pub(super) struct Reading(ProgressBar);

/// Shows how far a file of so many bytes is read; 0 where nobody knows.
pub(super) fn reading(length: u64) -> Reading {
    if !std::io::stderr().is_terminal() || length == 0 {
        return Reading(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(length);
    let template = "{bar:40} {percent} %, {elapsed} so far, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Reading(bar)
}

impl Reading {
    pub(super) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::{Share, Watched, watch};

    #[tokio::test]
    async fn who_presses_ctrl_c_learns_what_was_seen_last() {
        let share = |done: &i64| {
            (*done < 9).then_some(Share {
                done: *done,
                total: 9,
            })
        };
        let over = watch(7, pending::<()>(), share, async |done| Ok(done + 1));
        assert!(matches!(over.await.unwrap(), Watched::Over(9)));
        let (press, pressed) = oneshot::channel();
        let press = Cell::new(Some(press));
        let left = watch(0, pressed, share, async |done| {
            if *done < 2 {
                return Ok(done + 1);
            }
            press.take().unwrap().send(()).unwrap();
            pending().await
        });
        assert!(matches!(left.await.unwrap(), Watched::Left(2)));
    }
}
