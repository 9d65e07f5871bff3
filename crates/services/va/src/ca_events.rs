//! Events of the CA service: new CAs get roles, and the revoked entries follow the certificates.
//!
//! Effect and position are one commit, so each event counts once. A repeated event finds the
//! entries as it wants them and makes no CRL; one that was set aside and is replayed tells only
//! which certificate to ask the CA service about, because what it says may be outdated. CRLs are
//! not made here: the role becomes due, and the job makes one CRL for all that changed until then.
//! So events are handled without any other service, and a CA that is missing one holds up nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use async_trait::async_trait;
use lamassu_core::ca::{CertificateAuthority, CertificateStatus, StatusInfo};
use lamassu_core::caller::Caller;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::Bucket;
use lamassu_db::{Db, EventHandler, HandlerError, LoggedEvent, Subscription, WriteSet};
use serde::Deserialize;

use crate::authority::Authority;
use crate::jobs::CRL_JOB;
use crate::service::VaService;
use crate::shard_job::SHARD_JOB;
use crate::store::delta;
use crate::store::revoked::{self, CertificateKey, Revocation};
use crate::store::role::{self, Issuer};
use crate::store::shard;

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
    Certificate(CertificateNews),
    /// Nothing that is stored here.
    Nothing,
}

/// How a certificate stands.
#[derive(Clone, Debug)]
struct CertificateNews {
    key: CertificateKey,
    /// How it names its issuer's key, lower-case hex; empty where it does not.
    issuer_ski: String,
    revocation: Option<Revocation>,
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
    #[serde(default)]
    authority_key_id: String,
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
        let key = CertificateKey {
            ca_id: certificate.issuer_metadata.id,
            serial_number: certificate.serial_number,
        };
        let info = StatusInfo {
            status: certificate.status,
            revocation_timestamp: certificate.revocation_timestamp,
            revocation_reason: certificate.revocation_reason,
            valid_to: certificate.valid_to,
        };
        Self::Certificate(CertificateNews {
            key,
            issuer_ski: certificate.authority_key_id.to_ascii_lowercase(),
            revocation: revocation(&info),
        })
    }
}

/// The entry that a certificate of this status has.
fn revocation(info: &StatusInfo) -> Option<Revocation> {
    (info.status == CertificateStatus::Revoked).then_some(Revocation {
        revoked_at: info.revocation_timestamp.truncated_to_micros().0,
        reason: info.revocation_reason,
        valid_to: info.valid_to.truncated_to_micros().0,
    })
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

    /// What the news change: entries, roles, and which CRLs are due.
    async fn effect(&self, caller: &Caller, news: &[News]) -> Result<WriteSet, HandlerError> {
        let mut set = WriteSet::new();
        let changed = self.follow(&mut set, news).await?;
        for news in news {
            if let News::Ca(ca) = news {
                self.add_role(&mut set, caller, ca).await?;
            }
        }
        let now = self.service.db.now();
        for (issuer, buckets) in &changed {
            // Certificates of issuers that are no CAs here are on no list.
            set.execute(role::entries_changed(issuer, now));
            let buckets = buckets.iter().copied();
            set.execute(shard::entries_changed(issuer, buckets, now));
        }
        if !changed.is_empty() {
            set.wake(CRL_JOB);
            set.wake(SHARD_JOB);
        }
        Ok(set)
    }

    /// Adds the changes of the revoked entries to the write set, in the order of the events;
    /// gives the issuers whose entries changed, and in which buckets.
    async fn follow(
        &self,
        set: &mut WriteSet,
        news: &[News],
    ) -> Result<BTreeMap<Issuer, BTreeSet<Bucket>>, HandlerError> {
        let certificates = news.iter().filter_map(|news| match news {
            News::Certificate(certificate) => Some(certificate),
            News::Ca(_) | News::Nothing => None,
        });
        let keys: Vec<CertificateKey> = certificates.clone().map(|news| news.key.clone()).collect();
        let mut known = revoked::of_certificates(&self.service.db, &keys).await?;
        let mut changed = BTreeMap::<_, BTreeSet<_>>::new();
        let now = self.service.db.now();
        for CertificateNews {
            key,
            issuer_ski,
            revocation,
        } in certificates
        {
            if known.get(key) == revocation.as_ref() {
                continue;
            }
            // Later events of the batch build on this one.
            match revocation {
                Some(revocation) => {
                    set.execute(revoked::upsert(key, *revocation, now));
                    known.insert(key.clone(), *revocation);
                }
                None => {
                    set.execute(revoked::remove(key));
                    let released = known
                        .remove(key)
                        .is_some_and(|was| was.reason == RevocationReason::CertificateHold);
                    if released {
                        set.execute(delta::released(key, now));
                    }
                }
            }
            let issuer = Issuer {
                ca_id: key.ca_id.clone(),
                ski: issuer_ski.clone(),
            };
            let bucket = Bucket::of(&key.serial_number);
            changed.entry(issuer).or_default().insert(bucket);
        }
        Ok(changed)
    }

    /// Adds the role of a new CA to the write set. One that is there already, of a CA with the same
    /// key, may have been given up: this CA may be able to sign.
    async fn add_role(
        &self,
        set: &mut WriteSet,
        caller: &Caller,
        ca: &CertificateAuthority,
    ) -> Result<(), HandlerError> {
        let authority = Authority::try_from(ca).map_err(HandlerError::failed)?;
        if role::by_ski(&self.service.db, &authority.ski)
            .await?
            .is_none()
        {
            set.append(self.service.new_role(caller, &authority));
            return Ok(());
        }
        self.service.add_shards(set, &authority);
        if authority.may_sign_crls() {
            let now = self.service.db.now();
            set.execute(role::revive(&authority.ski, now));
            set.execute(shard::revive(&authority.ski, now));
            set.wake(CRL_JOB);
            set.wake(SHARD_JOB);
        }
        Ok(())
    }

    /// How a certificate stands now, whatever an event said about it.
    async fn as_it_is(&self, caller: &Caller, news: News) -> Result<News, HandlerError> {
        let News::Certificate(mut certificate) = news else {
            return Ok(news);
        };
        let CertificateKey {
            ca_id,
            serial_number,
        } = &certificate.key;
        let asked = self
            .service
            .ca
            .certificate_status(caller, ca_id, serial_number);
        let info = asked.await.map_err(HandlerError::from_service)?;
        certificate.revocation = info.as_ref().and_then(revocation);
        Ok(News::Certificate(certificate))
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
        let now = self.service.db.now();
        for event in events {
            let subject = event.subject.as_deref();
            self.service
                .delegates
                .heard(&event.event_type, subject, now);
        }
        let news = events.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.effect(caller, &news).await
    }

    async fn replay(&self, caller: &Caller, event: &LoggedEvent) -> Result<WriteSet, HandlerError> {
        self.service.authorities.outdate();
        let news = self.as_it_is(caller, read(event)?).await?;
        self.effect(caller, slice::from_ref(&news)).await
    }
}
