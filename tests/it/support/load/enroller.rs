//! Devices that enroll one after the other, renew now and then, and repeat what was not answered, as
//! devices do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use lamassu_x509::Certificate;

use super::{Dice, Ending, Load};
use crate::support::client::Client;

/// One in so many requests is a renewal.
const RENEWALS: u64 = 5;
/// How long a device waits after a 503.
const PAUSE: Duration = Duration::from_millis(20);

/// A station of a line.
#[derive(Debug)]
pub(crate) struct Enroller {
    load: Load,
    name: String,
    dice: Dice,
    made: u64,
    devices: Vec<(String, Certificate)>,
    /// What was asked and not answered.
    open: Option<Asked>,
}

/// A request, the same each time that it is sent.
#[derive(Debug)]
struct Asked {
    device: String,
    csr: Vec<u8>,
    /// The certificate to renew.
    held: Option<Certificate>,
}

impl Load {
    /// A station with a name of its own.
    pub(crate) fn enroller(&self, name: &str, seed: u64) -> Enroller {
        Enroller {
            load: self.clone(),
            name: name.to_owned(),
            dice: Dice::new(seed),
            made: 0,
            devices: Vec::new(),
            open: None,
        }
    }

    /// How many certificates were answered.
    pub(crate) fn n_certificates(&self) -> usize {
        self.note(|ledger| ledger.certificates.len())
    }
}

impl Enroller {
    /// Goes on until a request is not answered, or told to stop.
    ///
    /// # Errors
    /// A request is refused; none may be.
    pub(crate) fn run(&mut self, client: &Client, stop: &AtomicBool) -> Result<Ending> {
        while !stop.load(Ordering::Relaxed) {
            let asked = match self.open.take() {
                Some(asked) => asked,
                None => self.next()?,
            };
            if let Ending::CutOff = self.ask(client, asked)? {
                return Ok(Ending::CutOff);
            }
        }
        Ok(Ending::Told)
    }

    /// Repeats what was not answered until it is.
    ///
    /// # Errors
    /// It is refused, or nobody is there.
    pub(crate) fn ask_again(&mut self, client: &Client) -> Result<()> {
        while let Some(asked) = self.open.take() {
            if let Ending::CutOff = self.ask(client, asked)? {
                bail!("{}: no answer", self.name);
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Asked> {
        let is_renewal = !self.devices.is_empty() && self.dice.below(RENEWALS) == 0;
        let (device, held) = if is_renewal {
            let n = usize::try_from(self.dice.below(self.devices.len() as u64))?;
            let (device, held) = self.devices.swap_remove(n);
            (device, Some(held))
        } else {
            self.made += 1;
            (format!("device-{}-{}", self.name, self.made), None)
        };
        let csr = self.load.key.csr(&device)?;
        Ok(Asked { device, csr, held })
    }

    fn ask(&mut self, client: &Client, asked: Asked) -> Result<Ending> {
        let (operation, shown) = match &asked.held {
            Some(held) => ("simplereenroll", held),
            None => ("simpleenroll", &self.load.bootstrap),
        };
        let identity = self.load.key.identity(shown)?;
        let Ok(answer) = client.est(operation, &asked.csr, identity) else {
            self.load.note(|ledger| ledger.unanswered += 1);
            self.open = Some(asked);
            return Ok(Ending::CutOff);
        };
        match answer {
            Ok(certificate) => {
                self.load.answered(&asked.device, &certificate);
                self.devices.push((asked.device, certificate));
            }
            Err(answer) if answer.status == 503 => {
                self.load.note(|ledger| ledger.busy += 1);
                self.open = Some(asked);
                std::thread::sleep(PAUSE);
            }
            Err(answer) => {
                let device = asked.device;
                bail!("{operation} {device}: {} {}", answer.status, answer.body);
            }
        }
        Ok(Ending::Told)
    }
}
