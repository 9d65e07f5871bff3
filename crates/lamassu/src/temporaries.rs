//! What a command makes on its way, and takes away again when it is interrupted: copies of keys must not stay behind
//! because somebody pressed Ctrl-C.
//!
//! The work is on a thread of its own, which is told to stop and mostly does at once, cleaning up itself. Where it is
//! within something long, a copy or a check of a database, what it made is removed below it, and the process ends.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::commands::verdict::ExitWith;

/// How long work may take to stop by itself.
const GRACE: Duration = Duration::from_secs(1);

/// How often a directory is removed that somebody still writes to.
const MAX_ATTEMPTS: u32 = 100;

/// Exit code of a process that a signal ended, without the signal's number.
const SIGNALLED: u8 = 128;

/// Files and directories that go when the work is interrupted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Temporaries(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    paths: BTreeSet<PathBuf>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Working,
    /// The result has its name: it is too late for an interruption.
    Settled,
    Interrupted,
}

impl Temporaries {
    /// Makes something that goes when the work is interrupted, and is its maker's to remove otherwise.
    ///
    /// # Errors
    /// It cannot be made, or the work was interrupted.
    pub(crate) fn make<T>(
        &self,
        make: impl FnOnce() -> Result<T>,
        path: impl FnOnce(&T) -> &Path,
    ) -> Result<T> {
        let mut state = self.state();
        state.check()?;
        let made = make()?;
        state.paths.insert(path(&made).to_owned());
        Ok(made)
    }

    /// Gives the result its name, after which nothing is taken away any more.
    ///
    /// # Errors
    /// It does not get it, or the work was interrupted.
    pub(crate) fn settle<T>(&self, settle: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut state = self.state();
        state.check()?;
        let settled = settle()?;
        state.progress = Progress::Settled;
        Ok(settled)
    }

    /// Fails once the work was interrupted.
    ///
    /// # Errors
    /// It was.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.state().check()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the work, unless its result is there already.
    fn interrupt(&self) -> Progress {
        let mut state = self.state();
        if state.progress == Progress::Working {
            state.progress = Progress::Interrupted;
        }
        state.progress
    }

    fn remove(&self) {
        for path in &self.state().paths {
            for _ in 0..MAX_ATTEMPTS {
                let removed = match path.is_dir() {
                    true => fs::remove_dir_all(path),
                    false => fs::remove_file(path),
                };
                match removed {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                    Ok(()) | Err(_) => break,
                }
            }
        }
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        match self.progress {
            // Not of the kind `Interrupted`, which readers and writers try again.
            Progress::Interrupted => Err(io::Error::other("interrupted")),
            Progress::Working | Progress::Settled => Ok(()),
        }
    }
}

/// Does `work` on a thread and a runtime of its own, until it is done or SIGINT or SIGTERM comes.
///
/// # Errors
/// Those of the work, or [`ExitWith`]: nothing that it made is there then.
pub(crate) async fn interruptible<W>(
    work: impl FnOnce(Temporaries) -> W + Send + 'static,
) -> Result<()>
where
    W: Future<Output = Result<()>>,
{
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let temporaries = Temporaries::default();
    let (done, mut outcome) = oneshot::channel();
    let own = temporaries.clone();
    thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the asynchronous runtime does not start");
        // Nobody listens behind an interruption.
        drop(done.send(runtime.and_then(|runtime| runtime.block_on(work(own)))));
    })?;
    let kind = tokio::select! {
        outcome = &mut outcome => return outcome.context("the work ended without a result")?,
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    };
    if temporaries.interrupt() == Progress::Settled {
        return outcome.await.context("the work ended without a result")?;
    }
    drop(tokio::time::timeout(GRACE, outcome).await);
    temporaries.remove();
    bail!(ExitWith(
        u8::try_from(kind.as_raw_value())
            .unwrap_or_default()
            .saturating_add(SIGNALLED)
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Progress, Temporaries};

    #[test]
    fn what_is_made_goes_with_an_interruption_unless_the_result_has_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let (staged, target) = (
            directory.path().join("staged"),
            directory.path().join("target"),
        );
        let make = || Ok(fs::create_dir_all(staged.join("keys")).map(|()| staged.clone())?);
        let temporaries = Temporaries::default();
        temporaries.make(make, |path| path).unwrap();
        assert_eq!(temporaries.interrupt(), Progress::Interrupted);
        let refused = temporaries.settle(|| Ok(fs::rename(&staged, &target)?));
        assert_eq!(refused.unwrap_err().to_string(), "interrupted");
        temporaries.remove();
        assert!(!staged.exists() && !target.exists());
        assert!(temporaries.make(make, |path| path).is_err() && !staged.exists());

        let temporaries = Temporaries::default();
        temporaries.make(make, |path| path).unwrap();
        temporaries
            .settle(|| Ok(fs::rename(&staged, &target)?))
            .unwrap();
        assert_eq!(temporaries.interrupt(), Progress::Settled);
        assert!(target.join("keys").exists());
    }
}
