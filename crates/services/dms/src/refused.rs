//! The log of refused enrollments: why a device does not get through, for those who run a line.
//!
//! Clients write it, so it is bounded: so many a minute and process, so many in all, and for a time.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lamassu_core::caller::{Caller, ClientCertificateChain};
use lamassu_core::dms::{DmsError, EstRequest, RefusedEnrollment};
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, list};
use lamassu_db::{CommitError, Db, WriteSet};
use lamassu_x509::{Certificate, CertificationRequest};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::metrics;
use crate::service::DmsManager;
use crate::store::refused as store;

/// Most that are written per minute.
const PER_MINUTE: u32 = 600;
/// Most that are kept.
const MAX_KEPT: u32 = 100_000;
/// How long they are kept.
const KEPT: Duration = Duration::days(90);
/// How much of what a client wrote is kept, in characters.
const MAX_CHARS: usize = 256;

/// The log of refused enrollments.
#[derive(Debug)]
pub(crate) struct RefusedLog(DefaultDirectRateLimiter);

impl RefusedLog {
    pub(crate) fn new() -> Self {
        let quota = NonZeroU32::new(PER_MINUTE).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::direct(Quota::per_minute(quota)))
    }

    /// Writes a refusal down. What was nobody's decision (overload, outages) is left out.
    pub(crate) async fn record(
        &self,
        db: &Db,
        caller: &Caller,
        (operation, est): (&'static str, &EstRequest),
        error: &DmsError,
    ) {
        if matches!(
            error.kind(),
            ErrorKind::Unavailable | ErrorKind::RateLimited
        ) {
            return;
        }
        if self.0.check().is_err() {
            metrics::refusal_not_logged();
            return;
        }
        let refused = refused(caller, operation, est, error, db.now());
        let mut set = WriteSet::new();
        set.execute(store::insert(&refused));
        if let Err(error) = db.commit(set).await {
            tracing::debug!(%error, "refused enrollment not logged");
        }
    }
}

fn refused(
    caller: &Caller,
    operation: &'static str,
    est: &EstRequest,
    error: &DmsError,
    now: OffsetDateTime,
) -> RefusedEnrollment {
    let csr = CertificationRequest::from_der(est.csr.clone()).ok();
    let device = csr.and_then(|csr| csr.subject().common_name());
    let chain = est.client_chain.as_ref();
    let presented = chain
        .and_then(ClientCertificateChain::end_entity)
        .and_then(|der| Certificate::from_der(der.clone()).ok());
    let certificate = presented.and_then(|presented| presented.subject().common_name());
    let label = est.label.as_ref().map_or("", |label| label.as_str());
    RefusedEnrollment {
        id: Uuid::now_v7().to_string(),
        dms_id: shown(label).into(),
        device_id: shown(&device.unwrap_or_default()).into(),
        operation: operation.to_owned(),
        reason: shown(&error.to_string()),
        code: error.code().unwrap_or_default().to_owned(),
        status: error.kind().status().as_u16(),
        certificate: shown(&certificate.unwrap_or_default()),
        address: est
            .origin
            .address
            .map_or_else(String::new, |ip| ip.to_string()),
        request_id: caller.request_id.to_string(),
        creation_ts: Timestamp(now),
    }
}

/// Text of a client as a database holds it: cut, and without U+0000.
fn shown(text: &str) -> String {
    let characters = text.chars().take(MAX_CHARS);
    characters
        .map(|one| if one == '\0' { '\u{fffd}' } else { one })
        .collect()
}

/// Removes what is too old and what is too much, some of it; gives when to go on.
pub(crate) async fn trim(db: &Db, now: OffsetDateTime) -> Result<Trimmed, CommitError> {
    let beyond = store::beyond(db, MAX_KEPT).await?;
    let old = now.saturating_sub(KEPT);
    let until = beyond.map_or(old, |beyond| beyond.max(old));
    let mut set = WriteSet::new();
    let step = set.execute(store::delete_until(until));
    let committed = db.commit(set).await?;
    Ok(if committed.count(step) > 0 {
        Trimmed::Some
    } else {
        Trimmed::Nothing
    })
}

/// What a round of trimming did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trimmed {
    /// There may be more.
    Some,
    /// There was nothing.
    Nothing,
}

impl DmsManager {
    /// One page of what was refused.
    pub(crate) async fn list_refused(
        &self,
        request: &ListRequest,
    ) -> Result<Page<RefusedEnrollment>, DmsError> {
        let page = list(&self.db, &store::TABLE, "refused-enrollments", request, &[])
            .await
            .map_err(ListError::into_error::<DmsError>)?;
        let page = page.try_map(|row| store::listed(&row));
        Ok(page.map_err(StorageFailure::from)?)
    }
}
