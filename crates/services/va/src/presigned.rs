//! OCSP answers that were signed before.
//!
//! They are made for whoever asks first and serve all who ask alike, for half their validity. None
//! says what the CA would not say at that moment: what this process commits about a certificate
//! removes its answers before whoever asked for the change is told, and where other processes may
//! change certificates, too, an answer that is older than a second is given only after the
//! certificate's row was read and says the same. So is one that was kept over a restart
//! (`answer_file.rs`). What a delegated responder signed goes with its key (`delegates.rs`).
//!
//! Deliberately absent: answers to a nonce, to several questions, about certificates that nobody
//! issued, and in a signature algorithm that the client asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lamassu_core::ca::StatusInfo;
use lamassu_core::ids::CaId;
use lamassu_core::va::OcspAnswer;
use lamassu_db::{CommitWatcher, Event};
use lamassu_x509::ocsp::{CertId, CertStatus};
use moka::sync::Cache;
use time::{Duration, OffsetDateTime};

use crate::delegates::Delegation;

/// Longest time for which an answer is given without looking, where others may change certificates.
const UNSEEN: Duration = Duration::SECOND;

/// Most answers about one certificate: clients name it in few ways.
const MAX_VARIANTS: usize = 8;

/// What an answer takes beside its bytes, roughly.
const OVERHEAD: usize = 512;

/// A signed answer, and what it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Presigned {
    /// How the certificate was named: its answer says it byte for byte.
    pub(crate) cert_id: Bytes,
    pub(crate) answer: OcspAnswer,
    /// What it says, for the metrics.
    pub(crate) status: CertStatus,
    pub(crate) ca_id: CaId,
    pub(crate) info: StatusInfo,
    /// Under what a delegated responder signed it; `None` where the CA did.
    pub(crate) delegation: Option<Arc<Delegation>>,
    /// When the certificate's row was read last by this process; `None` of what was kept over a restart.
    pub(crate) read_at: Option<OffsetDateTime>,
    /// From when on another one is made.
    pub(crate) renew_at: OffsetDateTime,
}

/// What is known of a question.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// This is the answer.
    Answer(Presigned),
    /// This is the answer if the certificate's row still says the same, and whoever signed it is still good.
    IfUnchanged(Presigned),
    /// It must be made.
    Nothing,
}

/// Counts what became untrue. Whoever made an answer keeps it only if nothing did since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// The answers; see the module.
#[derive(Debug)]
pub(crate) struct PresignedAnswers {
    /// By serial number, lower-case hex.
    cache: Cache<String, Arc<[Presigned]>>,
    epoch: AtomicU64,
    /// How many were signed, or seen to be still true.
    n_kept: AtomicU64,
    /// Whether other processes change certificates.
    is_shared: bool,
}

impl PresignedAnswers {
    /// Keeps at most so many bytes. Whether other processes change certificates: those of the same
    /// database, or the CA service itself where it is elsewhere.
    pub(crate) fn new(max_bytes: u64, is_shared: bool) -> Self {
        let weight = |answers: &Arc<[Presigned]>| {
            let bytes = answers
                .iter()
                .flat_map(|one| [one.answer.der.len(), one.cert_id.len(), OVERHEAD]);
            u32::try_from(bytes.fold(OVERHEAD, usize::saturating_add)).unwrap_or(u32::MAX)
        };
        Self {
            cache: Cache::builder()
                .max_capacity(max_bytes)
                .weigher(move |_, answers| weight(answers))
                .build(),
            epoch: AtomicU64::new(0),
            n_kept: AtomicU64::new(0),
            is_shared,
        }
    }

    /// To be taken before the certificate's row is read.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    pub(crate) fn look(&self, serial: &str, cert_id: &CertId, now: OffsetDateTime) -> Known {
        let Some(answers) = self.cache.get(serial) else {
            return Known::Nothing;
        };
        let found = answers
            .iter()
            .find(|one| one.cert_id == *cert_id.as_der() && now < one.renew_at);
        let Some(found) = found else {
            return Known::Nothing;
        };
        match found.read_at {
            Some(read_at) if !self.must_be_seen(read_at, now) => Known::Answer(found.clone()),
            Some(_) | None => Known::IfUnchanged(found.clone()),
        }
    }

    /// Whether what was read then must be read again before it is believed.
    pub(crate) fn must_be_seen(&self, read_at: OffsetDateTime, now: OffsetDateTime) -> bool {
        // A clock that was set back says nothing about how old it is.
        self.is_shared && !(Duration::ZERO..UNSEEN).contains(&(now - read_at))
    }

    /// Keeps an answer, unless something became untrue since `epoch`.
    pub(crate) fn keep(&self, serial: &str, answer: &Presigned, epoch: Epoch) {
        if self.epoch() != epoch {
            return;
        }
        let others = self.cache.get(serial);
        let others = others.iter().flat_map(|answers| answers.iter());
        let answers: Arc<[Presigned]> = others
            .filter(|other| other.cert_id != answer.cert_id && other.info == answer.info)
            .take(MAX_VARIANTS.saturating_sub(1))
            .cloned()
            .chain([answer.clone()])
            .collect();
        self.cache.insert(serial.to_owned(), answers);
        self.n_kept.fetch_add(1, Ordering::Relaxed);
        // What became untrue in between removed what was there before.
        if self.epoch() != epoch {
            self.cache.invalidate(serial);
        }
    }

    /// How often an answer was kept.
    pub(crate) fn n_kept(&self) -> u64 {
        self.n_kept.load(Ordering::Relaxed)
    }

    /// All answers, by serial number.
    pub(crate) fn all(&self) -> Vec<(String, Arc<[Presigned]>)> {
        let all = self.cache.iter();
        all.map(|(serial, answers)| (serial.to_string(), answers))
            .collect()
    }

    /// Adds an answer that was kept over a restart, unless there are answers about the certificate by
    /// now that say something else, or the same.
    pub(crate) fn restore(&self, serial: &str, answer: &Presigned) {
        let others = self.cache.get(serial);
        let others: &[Presigned] = others.as_deref().unwrap_or_default();
        let fits = |other: &Presigned| other.cert_id != answer.cert_id && other.info == answer.info;
        if others.len() < MAX_VARIANTS && others.iter().all(fits) {
            let all = others.iter().chain([answer]).cloned().collect();
            self.cache.insert(serial.to_owned(), all);
        }
    }

    fn forget(&self, serial: &str) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate(serial);
    }

    /// Nothing that was signed is given any more.
    pub(crate) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate_all();
    }
}

impl CommitWatcher for PresignedAnswers {
    fn committed(&self, events: &[Event]) {
        for event in events {
            match event.event_type() {
                "certificate.status.update" | "certificate.delete" => {
                    let subject = event.subject_text().unwrap_or_default();
                    match subject.strip_prefix("certificate/") {
                        Some(serial) => self.forget(serial),
                        None => self.forget_all(),
                    }
                }
                "ca.import" | "ca.reissue" | "ca.status.update" | "ca.delete" => self.forget_all(),
                _ => {}
            }
        }
    }

    fn doubted(&self) {
        self.forget_all();
    }
}
