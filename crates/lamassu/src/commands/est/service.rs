//! `renew --service`: looks at the certificate once a minute, and renews it when it is time.
//!
//! Looking anew at the files and at the clock each time is what makes it bear a clock that jumps, a
//! machine that slept, and somebody else who renews. Failures are told, and tried again with pauses that
//! grow; the service ends by a signal only.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lamassu_client::est::EstError;
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::Renew;
use super::pair::Pair;
use super::renew::{held, once, owed_hook};
use super::schedule::{draw, due, pause};
use super::server::{ServerArgs, Undecided, explained, now, told};
use crate::commands::Session;
use crate::commands::output::note;
use crate::commands::values::at;

/// Time between looks.
const LOOK: Duration = Duration::from_secs(60);

pub(super) async fn run(server: &ServerArgs, asked: &Renew) -> Result<()> {
    let mut service = Service {
        server,
        asked,
        signals: Signals::new().context("signals cannot be handled")?,
        failures: 0,
        not_before: Instant::now(),
        planned: None,
    };
    // What is wrong from the start is said at once.
    held(&Pair::open(&asked.files.key, &asked.files.cert)?)?;
    server.client(None)?;
    let mut wanted = Wanted::WhenDue;
    loop {
        let heard = match service.look(wanted).await {
            Ok(heard) => heard,
            Err(error) => {
                service.failed(error);
                None
            }
        };
        let heard = match heard {
            Some(heard) => heard,
            None => service.rest().await,
        };
        wanted = match heard {
            Heard::End => {
                tell("ended by a signal");
                return Ok(());
            }
            Heard::Renew => Wanted::Now,
            Heard::Nothing => Wanted::WhenDue,
        };
    }
}

/// What a look is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    WhenDue,
    Now,
}

struct Service<'a> {
    server: &'a ServerArgs,
    asked: &'a Renew,
    signals: Signals,
    /// How often it failed since it last worked.
    failures: u32,
    /// Nothing is tried before.
    not_before: Instant,
    /// The certificate by its serial number, when it will be renewed, and when it ends.
    planned: Option<Plan>,
}

struct Plan {
    serial: String,
    due: OffsetDateTime,
    end: OffsetDateTime,
}

impl Service<'_> {
    /// Looks at the files and does what has to be done; gives the signal that cut it short.
    async fn look(&mut self, wanted: Wanted) -> Result<Option<Heard>> {
        if wanted == Wanted::WhenDue && Instant::now() < self.not_before {
            return Ok(None);
        }
        let pair = Pair::open(&self.asked.files.key, &self.asked.files.cert)?;
        let hook = tokio::select! {
            hook = owed_hook(&pair, self.asked) => hook,
            heard = self.signals.next() => return Ok(Some(heard)),
        };
        let held = held(&pair)?;
        let due = self.plan(held.certificate()?);
        if wanted == Wanted::WhenDue && due > Session::now() {
            hook?;
            self.worked();
            return Ok(None);
        }
        // A hook that fails must not keep the certificate from being renewed.
        if let Err(error) = hook {
            tell(&format!("{error:#}"));
        }
        let renewing = Box::pin(once(self.server, self.asked, &pair, &held));
        let renewed = tokio::select! {
            renewed = renewing => renewed?,
            heard = self.signals.next() => return Ok(Some(heard)),
        };
        tell(&format!("renewed: {}", renewed.line()));
        self.worked();
        tokio::select! {
            hook = owed_hook(&pair, self.asked) => hook?,
            heard = self.signals.next() => return Ok(Some(heard)),
        }
        let held = super::renew::held(&pair)?;
        self.plan(held.certificate()?);
        Ok(None)
    }

    /// When this certificate is renewed; tells it when it sees it for the first time.
    fn plan(&mut self, certificate: &lamassu_x509::Certificate) -> OffsetDateTime {
        let serial = certificate.serial().to_hex();
        if let Some(plan) = self.planned.as_ref().filter(|plan| plan.serial == serial) {
            return plan.due;
        }
        let due = due(certificate, self.asked.at, self.asked.jitter);
        tell(&format!("{serial} is renewed at {}", at(due.into())));
        self.planned = Some(Plan {
            serial,
            due,
            end: certificate.not_after(),
        });
        due
    }

    /// Forgets failures.
    fn worked(&mut self) {
        (self.failures, self.not_before) = (0, Instant::now());
    }

    /// Tells a failure and puts off the next try.
    fn failed(&mut self, error: anyhow::Error) {
        let asked = match error.downcast_ref::<Undecided>() {
            Some(Undecided(pause)) => Some(*pause),
            None => error.downcast_ref().and_then(EstError::retry_after),
        };
        self.failures = self.failures.saturating_add(1);
        let end = self.planned.as_ref().map(|plan| plan.end);
        let left = end.and_then(|end| Duration::try_from(end - Session::now()).ok());
        let pause = pause(self.failures, left.unwrap_or_default(), asked, draw());
        self.not_before = Instant::now() + pause;
        tell(&format!(
            "failed, next try in {}: {:#}",
            told(pause),
            explained(error)
        ));
    }

    /// Waits for the next look, or for a signal.
    async fn rest(&mut self) -> Heard {
        let mut next = Instant::now() + LOOK;
        if self.failures > 0 {
            next = next.min(self.not_before);
        }
        let until_due = self.planned.as_ref().map(|plan| plan.due - Session::now());
        if let Some(left) = until_due.and_then(|left| Duration::try_from(left).ok()) {
            next = next.min(Instant::now() + left.max(Duration::from_millis(100)));
        }
        tokio::select! {
            () = sleep_until(next) => Heard::Nothing,
            heard = self.signals.next() => heard,
        }
    }
}

/// A line of the service's log.
fn tell(text: &str) {
    note(&format!("{}  {text}", now()));
}

/// What was heard meanwhile.
enum Heard {
    Nothing,
    /// SIGHUP.
    Renew,
    /// SIGTERM, SIGINT.
    End,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::End,
            _ = self.interrupt.recv() => Heard::End,
            _ = self.hang_up.recv() => Heard::Renew,
        }
    }
}

#[cfg(test)]
mod tests {
    use lamassu_client::est::EstError;
    use tokio::time::Instant;

    use super::super::renew::tests::Owing;
    use super::{Service, Signals, Wanted};

    #[tokio::test]
    async fn a_hook_that_fails_is_told_and_keeps_nothing_from_being_renewed() {
        let owing = Owing::new();
        for (more, is_due) in [("--at 99", false), ("--at 0 --jitter 0", true)] {
            let (server, _, asked) = owing.renew(more);
            let mut service = Service {
                server: &server,
                asked: &asked,
                signals: Signals::new().unwrap(),
                failures: 0,
                not_before: Instant::now(),
                planned: None,
            };
            let failed = service.look(Wanted::WhenDue).await.err().unwrap();
            let is_of_server = failed.downcast_ref::<EstError>().is_some();
            assert_eq!(is_of_server, is_due, "{failed:#}");
            assert!(owing.owes());
        }
    }
}
