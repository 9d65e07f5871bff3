//! Signed OCSP answers that outlive a restart: one file beside the CRLs, where the configuration wants it.
//!
//! It is written every few minutes and at the end, and read at the start, so that the first questions
//! after a restart do not all wait for a key that may be in a slow HSM. Nothing in it is believed by
//! itself: an answer is given only after the certificate's row was read and says the same, like one
//! that another process might have outdated, so that no revocation is missed, whenever it happened.
//! What says something else than it is filed under, is of a CA that is gone or has another certificate, or was signed
//! with the key of a responder that is in use no more, is left out. Processes that share the file overwrite it; any of their answers will do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lamassu_core::ca::{CaError, StatusInfo};
use lamassu_core::caller::Caller;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{OcspAnswer, OcspLifetime};
use lamassu_db::{DbError, system_caller};
use lamassu_x509::ocsp::OcspResponse;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::delegates::Delegation;
use crate::ocsp::cert_status;
use crate::presigned::Presigned;
use crate::service::VaService;

/// Where the file is in the blob store.
const FILE: &str = "pki/va/ocsp/answers.json";

/// How often it is written, where there are new answers.
const INTERVAL: Duration = Duration::from_mins(5);

/// On whose behalf the CA service is asked.
const CALLER: &str = "va-ocsp-answers";

/// Why the answers are not kept, or not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerFileError {
    /// The blob store failed.
    #[error("the storage of OCSP answers failed")]
    Store(#[from] object_store::Error),
    /// The file is no list of answers.
    #[error("the file of OCSP answers cannot be read")]
    Json(#[from] serde_json::Error),
    /// The process is ending.
    #[error("the file of OCSP answers was not finished")]
    Unfinished(#[from] tokio::task::JoinError),
    /// The CA service does not say which CAs there are.
    #[error("the CAs could not be read")]
    Authorities(#[from] CaError),
    /// The database does not say who their responders are.
    #[error("the certificates of OCSP responders could not be read")]
    Db(#[from] DbError),
}

/// An answer as it is filed.
#[derive(Debug, Serialize, Deserialize)]
struct Filed {
    serial_number: SerialNumber,
    cert_id: Base64,
    answer: Base64,
    this_update: Timestamp,
    next_update: Timestamp,
    ca_id: CaId,
    /// SHA-256 of the CA's certificate, lower-case hex.
    ca_fingerprint: String,
    info: StatusInfo,
    renew_at: Timestamp,
}

impl Filed {
    fn of(serial: &SerialNumber, answer: &Presigned, fingerprint: &str) -> Option<Self> {
        let times = answer.answer.cache?;
        Some(Self {
            serial_number: serial.clone(),
            cert_id: Base64(answer.cert_id.clone()),
            answer: Base64(answer.answer.der.clone()),
            this_update: times.this_update,
            next_update: times.next_update,
            ca_id: answer.ca_id.clone(),
            ca_fingerprint: fingerprint.to_owned(),
            info: answer.info.clone(),
            renew_at: Timestamp(answer.renew_at),
        })
    }

    /// The answer, if it says what it is filed as, may be given still, and is by the CA or one of these delegates of
    /// it.
    fn usable(
        self,
        delegations: &HashMap<SerialNumber, Arc<Delegation>>,
        now: OffsetDateTime,
    ) -> Option<(SerialNumber, Presigned)> {
        let response = OcspResponse::from_der(self.answer.0.clone()).ok()?.basic?;
        let [single] = response.responses.as_slice() else {
            return None;
        };
        let delegation = match response.certificates().ok()?.as_slice() {
            [] => None,
            [signer] => {
                let serial = SerialNumber::from_bytes(signer.serial().as_bytes());
                Some(Arc::clone(delegations.get(&serial)?))
            }
            _ => return None,
        };
        let status = cert_status(&self.info);
        let says_so = single.status == status
            && *single.cert_id.as_der() == self.cert_id.0
            && single.cert_id.serial().to_hex() == self.serial_number.as_str();
        (says_so && now < self.renew_at.0).then_some((
            self.serial_number,
            Presigned {
                cert_id: self.cert_id.0,
                answer: OcspAnswer {
                    der: self.answer.0,
                    cache: Some(OcspLifetime {
                        this_update: self.this_update,
                        next_update: self.next_update,
                    }),
                },
                status,
                ca_id: self.ca_id,
                info: self.info,
                delegation,
                read_at: None,
                renew_at: self.renew_at.0,
            },
        ))
    }
}

impl VaService {
    /// Keeps the signed answers in a file until `shutdown`, where that is configured.
    pub(crate) async fn keep_answers(&self, shutdown: &CancellationToken) {
        if !self.config.ocsp.keep_answers {
            return;
        }
        let caller = system_caller(CALLER);
        match self.load_answers(&caller).await {
            Ok(n) => tracing::info!(answers = n, "signed ocsp answers read"),
            Err(AnswerFileError::Store(object_store::Error::NotFound { .. })) => {}
            Err(error) => told(&error, "signed ocsp answers not read"),
        }
        let mut n_kept = 0;
        let mut ends = false;
        while !ends {
            let ending = tokio::time::timeout(INTERVAL, shutdown.cancelled()).await;
            ends = ending.is_ok();
            let n_now = self.presigned.n_kept();
            if n_now != n_kept {
                match self.save_answers(&caller).await {
                    Ok(()) => n_kept = n_now,
                    Err(error) => told(&error, "signed ocsp answers not kept"),
                }
            }
        }
    }

    /// Reads the answers of the last run; gives how many there are.
    pub(crate) async fn load_answers(&self, caller: &Caller) -> Result<usize, AnswerFileError> {
        let file = self.files.blobs().get(&Path::from(FILE)).await?;
        let text = file.bytes().await?;
        let authorities = self.authorities.all(caller).await?;
        let cas = fingerprints(&authorities);
        let delegations = self.delegations(&authorities).await?;
        let now = self.db.now();
        let read = tokio::task::spawn_blocking(move || -> Result<Vec<_>, serde_json::Error> {
            let filed: Vec<Filed> = serde_json::from_slice(&text)?;
            let usable = filed
                .into_iter()
                .filter(|filed| cas.get(&filed.ca_id) == Some(&filed.ca_fingerprint))
                .filter_map(|filed| filed.usable(&delegations, now));
            Ok(usable.collect())
        });
        let answers = read.await??;
        for (serial, answer) in &answers {
            self.presigned.restore(serial.as_str(), answer);
        }
        Ok(answers.len())
    }

    /// Writes the answers that may be given still.
    pub(crate) async fn save_answers(&self, caller: &Caller) -> Result<(), AnswerFileError> {
        let cas = fingerprints(&self.authorities.all(caller).await?);
        let presigned = Arc::clone(&self.presigned);
        let now = self.db.now();
        let text = tokio::task::spawn_blocking(move || {
            let all = presigned.all();
            let filed = all.iter().flat_map(|(serial, answers)| {
                let serial = SerialNumber::parse(serial);
                let current = answers.iter().filter(|answer| now < answer.renew_at);
                let cas = &cas;
                current.filter_map(move |answer| {
                    Filed::of(serial.as_ref()?, answer, cas.get(&answer.ca_id)?)
                })
            });
            serde_json::to_vec(&filed.collect::<Vec<_>>())
        });
        let text = Bytes::from(text.await??);
        let blobs = self.files.blobs();
        blobs.put(&Path::from(FILE), text.into()).await?;
        Ok(())
    }
}

/// Which certificates the CAs have.
fn fingerprints(authorities: &[Arc<Authority>]) -> HashMap<CaId, String> {
    let known = authorities.iter().map(|authority| {
        let fingerprint = authority.certificate.fingerprint_sha256();
        (authority.id.clone(), hex::encode(fingerprint))
    });
    known.collect()
}

fn told(error: &AnswerFileError, what: &'static str) {
    let error = error as &(dyn std::error::Error + 'static);
    tracing::warn!(error, "{what}");
}
