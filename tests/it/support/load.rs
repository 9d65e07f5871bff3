//! Changes of every kind at once, and a ledger of what was acknowledged.

mod enroller;

pub(crate) use enroller::Enroller;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_x509::Certificate;
use serde_json::{Value, json};

use crate::support::client::{Client, ClientKey};

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Serial numbers of all certificates that were answered, lower-case hex.
    pub(crate) certificates: BTreeSet<String>,
    /// Those of them whose revocation was answered.
    pub(crate) revoked: BTreeSet<String>,
    /// Last certificate by device; `None` where a re-enrollment was not answered.
    pub(crate) enrolled: BTreeMap<String, Option<String>>,
    /// Devices registered over the API.
    pub(crate) registered: BTreeSet<String>,
    /// CAs.
    pub(crate) authorities: BTreeSet<String>,
    /// Keys, but those whose deletion was begun.
    pub(crate) keys: BTreeSet<String>,
    /// Keys whose deletion was answered.
    pub(crate) deleted_keys: BTreeSet<String>,
    /// The profile of each worker, and the number that its name holds at least.
    pub(crate) profiles: BTreeMap<String, u64>,
    /// Requests that were sent and not answered.
    pub(crate) unanswered: usize,
    /// Answers 503.
    pub(crate) busy: usize,
}

impl Ledger {
    /// How many changes were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        let updates: u64 = self.profiles.values().sum();
        self.certificates.len()
            + self.revoked.len()
            + self.registered.len()
            + self.authorities.len()
            + self.keys.len()
            + 2 * self.deleted_keys.len()
            + usize::try_from(updates).unwrap_or_default()
    }
}

/// What the load works on.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    profile: Value,
    bootstrap: Certificate,
    key: Arc<ClientKey>,
    ledger: Arc<Mutex<Ledger>>,
}

/// The next thing that a worker does.
#[derive(Clone, Copy, Debug)]
enum Change {
    Sign,
    Enroll,
    Reenroll,
    Revoke,
    CreateAuthority,
    CreateKey,
    DeleteKey,
    UpdateProfile,
    RegisterDevice,
}

/// How often each comes up.
const CHANGES: [Change; 12] = [
    Change::Sign,
    Change::Sign,
    Change::Enroll,
    Change::Enroll,
    Change::Reenroll,
    Change::Reenroll,
    Change::Revoke,
    Change::CreateAuthority,
    Change::CreateKey,
    Change::DeleteKey,
    Change::UpdateProfile,
    Change::RegisterDevice,
];

/// What a worker has at hand: its own things only, so that no two changes meet.
#[derive(Debug)]
pub(crate) struct Worker {
    load: Load,
    name: String,
    dice: Dice,
    made: u64,
    signed: Vec<String>,
    devices: Vec<(String, Certificate)>,
    keys: Vec<String>,
    profile: Option<(String, u64)>,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to.
    Told,
    /// A request was not answered.
    CutOff,
}

impl Load {
    /// A load on a plant's issuing CA and DMS (`Plant::set_up`).
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) fn new(client: &Client) -> Result<Self> {
        let key = ClientKey::generate()?;
        let body = json!({"csr": csr_on_the_wire(&key, "bootstrap")?});
        let path = "ca/v1/cas/issuing/certificates/sign";
        let answer = client.call("POST", path, &body)?;
        let profiles = client.call("GET", "ca/v1/profiles", &Value::Null)?;
        let profile = profiles.json()["list"][0].clone();
        Ok(Self {
            profile,
            bootstrap: certificate(&answer.json())?,
            key: Arc::new(key),
            ledger: Arc::default(),
        })
    }

    /// A worker with a name of its own.
    pub(crate) fn worker(&self, name: &str, seed: u64) -> Worker {
        Worker {
            load: self.clone(),
            name: name.to_owned(),
            dice: Dice::new(seed),
            made: 0,
            signed: Vec::new(),
            devices: Vec::new(),
            keys: Vec::new(),
            profile: None,
        }
    }

    /// What was acknowledged so far.
    pub(crate) fn ledger(&self) -> Ledger {
        self.note(|ledger| ledger.clone())
    }

    fn answered(&self, device: &str, certificate: &Certificate) {
        let serial = certificate.serial().to_hex();
        self.note(|ledger| {
            ledger.certificates.insert(serial.clone());
            ledger.enrolled.insert(device.to_owned(), Some(serial));
        });
    }

    fn note<T>(&self, note: impl FnOnce(&mut Ledger) -> T) -> T {
        note(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Worker {
    /// Makes one change of any kind; gives whether the server was up to it.
    ///
    /// # Errors
    /// There is no answer, or another than success and 503.
    pub(crate) fn once(&mut self, client: &Client) -> Result<bool> {
        let n = self.dice.below(CHANGES.len() as u64);
        self.one(client, CHANGES[usize::try_from(n)?])
    }

    /// Makes changes of all kinds; gives whether the server was up to every one.
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub(crate) fn all_kinds(&mut self, client: &Client) -> Result<bool> {
        let mut went_well = true;
        for change in CHANGES {
            went_well &= self.one(client, change)?;
        }
        Ok(went_well)
    }

    fn one(&mut self, client: &Client, change: Change) -> Result<bool> {
        let busy = self.load.ledger().busy;
        match self.make(client, change) {
            Ok(()) => Ok(self.load.ledger().busy == busy),
            Err(failure) => bail!("{change:?}: {failure:?}"),
        }
    }

    /// Makes changes until one is not answered, or told to stop.
    ///
    /// # Errors
    /// A change is refused; the load makes none that may be.
    pub(crate) fn run(&mut self, client: &Client, stop: &AtomicBool) -> Result<Ending> {
        while !stop.load(Ordering::Relaxed) {
            let n = self.dice.below(CHANGES.len() as u64);
            let change = CHANGES[usize::try_from(n)?];
            match self.make(client, change) {
                Ok(()) => {}
                Err(Failure::Unanswered) => {
                    self.load.note(|ledger| ledger.unanswered += 1);
                    return Ok(Ending::CutOff);
                }
                Err(Failure::Refused(text)) => bail!("{change:?}: {text}"),
            }
        }
        Ok(Ending::Told)
    }

    fn make(&mut self, client: &Client, change: Change) -> std::result::Result<(), Failure> {
        match change {
            Change::Sign => self.sign(client),
            Change::Enroll => self.enroll(client),
            Change::Reenroll => self.reenroll(client),
            Change::Revoke => self.revoke(client),
            Change::CreateAuthority => self.create_authority(client),
            Change::CreateKey => self.create_key(client),
            Change::DeleteKey => self.delete_key(client),
            Change::UpdateProfile => self.update_profile(client),
            Change::RegisterDevice => self.register_device(client),
        }
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}-{}", self.name, self.made)
    }

    /// A call; `None` when the server was too busy and did nothing.
    fn call(
        &self,
        client: &Client,
        method: &str,
        path: &str,
        body: &Value,
    ) -> std::result::Result<Option<Value>, Failure> {
        let answer = client
            .call(method, path, body)
            .map_err(|_| Failure::Unanswered)?;
        match answer.status {
            200..=299 => Ok(Some(answer.json())),
            503 => {
                self.load.note(|ledger| ledger.busy += 1);
                Ok(None)
            }
            status => Err(Failure::Refused(format!("{status} {}", answer.body))),
        }
    }

    fn sign(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let name = self.fresh("signed");
        let body = json!({"csr": csr_on_the_wire(&self.load.key, &name)?});
        let path = "ca/v1/cas/issuing/certificates/sign";
        if let Some(signed) = self.call(client, "POST", path, &body)? {
            let serial = text(&signed["serial_number"])?;
            self.load
                .note(|ledger| ledger.certificates.insert(serial.clone()));
            self.signed.push(serial);
        }
        Ok(())
    }

    fn enroll(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let device = self.fresh("device");
        let identity = self.load.key.identity(&self.load.bootstrap)?;
        let certificate = self.est(client, "simpleenroll", &device, identity)?;
        if let Some(certificate) = certificate {
            self.devices.push((device, certificate));
        }
        Ok(())
    }

    fn reenroll(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        if self.devices.is_empty() {
            return self.enroll(client);
        }
        let n = self.dice.below(self.devices.len() as u64);
        // Until the answer is there nobody knows which certificate the device has.
        let (device, held) = self
            .devices
            .swap_remove(usize::try_from(n).map_err(anyhow::Error::from)?);
        self.load
            .note(|ledger| ledger.enrolled.insert(device.clone(), None));
        let identity = self.load.key.identity(&held)?;
        // What was answered busy may have happened all the same, only not been told.
        if let Some(certificate) = self.est(client, "simplereenroll", &device, identity)? {
            self.devices.push((device, certificate));
        }
        Ok(())
    }

    fn est(
        &self,
        client: &Client,
        operation: &str,
        device: &str,
        identity: crate::support::socket::Identity,
    ) -> std::result::Result<Option<Certificate>, Failure> {
        let csr = self.load.key.csr(device)?;
        let answer = client
            .est(operation, &csr, identity)
            .map_err(|_| Failure::Unanswered)?;
        match answer {
            Ok(certificate) => {
                self.load.answered(device, &certificate);
                Ok(Some(certificate))
            }
            Err(answer) if answer.status == 503 => {
                self.load.note(|ledger| ledger.busy += 1);
                Ok(None)
            }
            Err(answer) => Err(Failure::Refused(format!(
                "{operation} {device}: {} {}",
                answer.status, answer.body
            ))),
        }
    }

    fn revoke(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let Some(serial) = self.signed.pop() else {
            return self.sign(client);
        };
        let body = json!({"status": "REVOKED", "revocation_reason": "KeyCompromise"});
        let path = format!("ca/v1/certificates/{serial}/status");
        if self.call(client, "PUT", &path, &body)?.is_some() {
            self.load.note(|ledger| ledger.revoked.insert(serial));
        }
        Ok(())
    }

    fn create_authority(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let id = self.fresh("ca");
        let body = json!({"id": id, "parent_id": "root", "profile_id": self.load.profile["id"],
            "subject": {"common_name": id}, "key_metadata": {"type": "ECDSA", "bits": 256},
            "ca_expiration": {"type": "Duration", "duration": "5y"}});
        if self.call(client, "POST", "ca/v1/cas", &body)?.is_some() {
            self.load.note(|ledger| ledger.authorities.insert(id));
        }
        Ok(())
    }

    fn create_key(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let body = json!({"algorithm": "ECDSA", "size": 256, "name": self.fresh("load")});
        if let Some(key) = self.call(client, "POST", "kms/v1/keys", &body)? {
            let id = text(&key["key_id"])?;
            self.load.note(|ledger| ledger.keys.insert(id.clone()));
            self.keys.push(id);
        }
        Ok(())
    }

    fn delete_key(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let Some(id) = self.keys.pop() else {
            return self.create_key(client);
        };
        self.load.note(|ledger| ledger.keys.remove(&id));
        let path = format!("kms/v1/keys/{id}");
        if self.call(client, "DELETE", &path, &Value::Null)?.is_some() {
            self.load.note(|ledger| ledger.deleted_keys.insert(id));
        }
        Ok(())
    }

    fn update_profile(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let mut body = self.load.profile.clone();
        let Some((id, number)) = self.profile.clone() else {
            body["name"] = json!("0");
            if let Some(profile) = self.call(client, "POST", "ca/v1/profiles", &body)? {
                let id = text(&profile["id"])?;
                self.load
                    .note(|ledger| ledger.profiles.insert(id.clone(), 0));
                self.profile = Some((id, 0));
            }
            return Ok(());
        };
        let next = number + 1;
        body["id"] = json!(id);
        body["name"] = json!(next.to_string());
        let path = format!("ca/v1/profiles/{id}");
        // What was answered busy may have happened: it is said again until it is answered.
        if self.call(client, "PUT", &path, &body)?.is_some() {
            self.profile = Some((id.clone(), next));
            self.load.note(|ledger| ledger.profiles.insert(id, next));
        }
        Ok(())
    }

    fn register_device(&mut self, client: &Client) -> std::result::Result<(), Failure> {
        let id = self.fresh("registered");
        let body = json!({"id": id, "dms_id": "line", "tags": ["x"], "metadata": {}});
        if self
            .call(client, "POST", "devmanager/v1/devices", &body)?
            .is_some()
        {
            self.load.note(|ledger| ledger.registered.insert(id));
        }
        Ok(())
    }
}

/// Lets all workers work at the same time while something happens to the server; how they ended.
///
/// # Errors
/// What happens fails, or a change is refused.
pub(crate) fn under_load(
    client: &Client,
    workers: &mut [Worker],
    happen: impl FnOnce() -> Result<()>,
) -> Result<Vec<Ending>> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(|| worker.run(client, &stop)))
            .collect();
        let happened = happen();
        stop.store(true, Ordering::Relaxed);
        let endings = running
            .into_iter()
            .map(|worker| worker.join().expect("a worker does not panic"))
            .collect::<Result<_>>()?;
        happened.map(|()| endings)
    })
}

/// Why a change was not acknowledged.
#[derive(Debug)]
enum Failure {
    /// The connection ended: it may have happened or not.
    Unanswered,
    /// The server said no.
    Refused(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(format!("{error:#}"))
    }
}

/// The certificate that the API carries.
///
/// # Errors
/// It is none.
fn certificate(answer: &Value) -> Result<Certificate> {
    let pem = crate::support::plant::pem(answer)?;
    let base64: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    Ok(Certificate::from_der(STANDARD.decode(base64)?)?)
}

/// A request as the management API takes it.
///
/// # Errors
/// The name cannot be one.
pub(crate) fn csr_on_the_wire(key: &ClientKey, common_name: &str) -> Result<String> {
    let der = STANDARD.encode(key.csr(common_name)?);
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{der}\n-----END CERTIFICATE REQUEST-----\n");
    Ok(STANDARD.encode(pem))
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("no text in the answer")?.to_owned())
}
