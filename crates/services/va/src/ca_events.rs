//! Events of the CA service: new CAs get roles, and the revoked entries follow the certificates.
//!
//! Effect and position are one commit, so each event counts once. A repeated event finds the
//! entries as it wants them and makes no CRL. CRLs after the first are not made here: the role
//! becomes due, and the job makes one CRL for all that changed until then.

use std::collections::BTreeSet;

use async_trait::async_trait;
use lamassu_core::ca::{CertificateAuthority, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Db, EventHandler, HandlerError, LoggedEvent, Subscription, WriteSet};
use serde::Deserialize;

use crate::authority::Authority;
use crate::jobs::CRL_JOB;
use crate::service::VaService;
use crate::store::revoked::{self, CertificateKey, Revocation};
use crate::store::role;

/// The name of the subscription.
pub const CA_SUBSCRIPTION: &str = "va-ca-events";

const CERTIFICATE_STATUS: &str = "certificate.status.update";
const CA_STATUS: &str = "ca.status.update";
const CA_CREATED: &str = "ca.create";
const CA_IMPORTED: &str = "ca.import";
const CA_REISSUED: &str = "ca.reissue";
const CA_DELETED: &str = "ca.delete";

/// Events handled in one write set: a revoked CA takes thousands of certificates with it.
const BATCH: u32 = 128;

/// The reader of the events that [`CaEvents`] handles.
pub(crate) fn subscription(db: &Db) -> Subscription {
    let patterns = &[
        CA_CREATED,
        CA_IMPORTED,
        CA_REISSUED,
        CA_DELETED,
        CA_STATUS,
        CERTIFICATE_STATUS,
    ];
    Subscription::new(db, CA_SUBSCRIPTION, patterns).batch(BATCH)
}

/// Reacts to the events.
#[derive(Debug)]
pub(crate) struct CaEvents {
    service: VaService,
}

/// What an event means here.
#[derive(Debug)]
enum News {
    /// There is a new CA.
    Ca(Box<CertificateAuthority>),
    /// A certificate is revoked now, or is not.
    Certificate(CertificateKey, Option<Revocation>),
    /// Nothing that is stored here.
    Nothing,
}

/// The payload of an update, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Update<T> {
    updated: T,
}

/// The part of a CA that matters here.
#[derive(Debug, Deserialize)]
struct UpdatedCa {
    certificate: UpdatedCertificate,
}

/// The part of a certificate that matters here.
#[derive(Debug, Deserialize)]
struct UpdatedCertificate {
    serial_number: SerialNumber,
    status: CertificateStatus,
    revocation_timestamp: Timestamp,
    revocation_reason: RevocationReason,
    valid_to: Timestamp,
    issuer_metadata: UpdatedIssuer,
}

#[derive(Debug, Deserialize)]
struct UpdatedIssuer {
    id: CaId,
}

impl From<UpdatedCertificate> for News {
    fn from(certificate: UpdatedCertificate) -> Self {
        let revoked = certificate.status == CertificateStatus::Revoked;
        let revocation = revoked.then_some(Revocation {
            revoked_at: certificate.revocation_timestamp.truncated_to_micros().0,
            reason: certificate.revocation_reason,
            valid_to: certificate.valid_to.truncated_to_micros().0,
        });
        let key = CertificateKey {
            ca_id: certificate.issuer_metadata.id,
            serial_number: certificate.serial_number,
        };
        Self::Certificate(key, revocation)
    }
}

fn read(event: &LoggedEvent) -> Result<News, serde_json::Error> {
    match event.event_type.as_str() {
        CA_CREATED | CA_IMPORTED => event.data().map(|ca| News::Ca(Box::new(ca))),
        CA_STATUS => event
            .data::<Update<UpdatedCa>>()
            .map(|update| update.updated.certificate.into()),
        CERTIFICATE_STATUS => event
            .data::<Update<UpdatedCertificate>>()
            .map(|update| update.updated.into()),
        _ => Ok(News::Nothing),
    }
}

impl CaEvents {
    pub(crate) const fn new(service: VaService) -> Self {
        Self { service }
    }

    /// Adds the changes of the revoked entries to the write set, in the order of the events;
    /// gives the CAs whose entries changed.
    async fn follow(
        &self,
        set: &mut WriteSet,
        news: &[News],
    ) -> Result<BTreeSet<CaId>, HandlerError> {
        let certificates = news.iter().filter_map(|news| match news {
            News::Certificate(key, revocation) => Some((key, revocation)),
            News::Ca(_) | News::Nothing => None,
        });
        let keys: Vec<CertificateKey> = certificates.clone().map(|(key, _)| key.clone()).collect();
        let mut known = revoked::of_certificates(&self.service.db, &keys).await?;
        let mut changed = BTreeSet::new();
        for (key, revocation) in certificates {
            if known.get(key) == revocation.as_ref() {
                continue;
            }
            // Later events of the batch build on this one.
            match revocation {
                Some(revocation) => {
                    set.execute(revoked::upsert(key, *revocation));
                    known.insert(key.clone(), *revocation);
                }
                None => {
                    set.execute(revoked::remove(key));
                    known.remove(key);
                }
            }
            changed.insert(key.ca_id.clone());
        }
        Ok(changed)
    }

    /// Adds the role of a new CA to the write set, unless it has one.
    async fn add_role(
        &self,
        set: &mut WriteSet,
        caller: &Caller,
        ca: &CertificateAuthority,
    ) -> Result<(), HandlerError> {
        let authority = Authority::try_from(ca).map_err(HandlerError::failed)?;
        let existing = role::by_ski(&self.service.db, &authority.ski).await?;
        if existing.is_none() {
            let made = self.service.new_role(caller, &authority).await;
            let (role, _) = made.map_err(HandlerError::from_service)?;
            set.append(role);
        }
        Ok(())
    }
}

#[async_trait]
impl EventHandler for CaEvents {
    async fn handle(
        &self,
        caller: &Caller,
        events: &[LoggedEvent],
    ) -> Result<WriteSet, HandlerError> {
        if events
            .iter()
            .any(|event| event.event_type != CERTIFICATE_STATUS)
        {
            self.service.authorities.outdate();
        }
        let news = events.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut set = WriteSet::new();
        let changed = self.follow(&mut set, &news).await?;
        for news in &news {
            if let News::Ca(ca) = news {
                self.add_role(&mut set, caller, ca).await?;
            }
        }
        let now = self.service.db.now();
        for ca_id in &changed {
            let authority = self.service.authorities.by_id(caller, ca_id).await;
            // Certificates of issuers that are no CAs here are on no list.
            if let Some(authority) = authority.map_err(HandlerError::from_service)? {
                set.execute(role::entries_changed(&authority.ski, now));
            }
        }
        if !changed.is_empty() {
            set.wake(CRL_JOB);
        }
        Ok(set)
    }
}
