//! CRLs that were made elsewhere: of CAs whose certificate is known here and whose key is not.
//!
//! They are served as they came. A number never goes back, so that nobody can put an old list in the
//! place of a newer one; the newest may be put back where its file was lost.

use std::sync::Arc;

use bytes::Bytes;
use lamassu_core::caller::Caller;
use lamassu_core::va::{CrlFault, VaError, VaRole};
use lamassu_db::{Attempt, WriteSet, retry_races};
use lamassu_x509::Extension;
use lamassu_x509::crl::CertificateList;
use lamassu_x509::pem::pem_to_der;
use time::{Duration, OffsetDateTime};

use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::crl::{MadeCrl, MakeCrlError};
use crate::files::Series;
use crate::metrics::CrlKind;
use crate::service::VaService;
use crate::signing::{SigningError, signer};
use crate::store::role::{self, StoredRole};

/// How far the clock of another CA may be ahead.
const CLOCK_SKEW: Duration = Duration::minutes(5);

impl VaService {
    /// Takes a CRL, DER or PEM, and serves it from then on.
    pub(crate) async fn take_crl(
        &self,
        caller: &Caller,
        ski: &str,
        sent: Bytes,
    ) -> Result<VaRole, VaError> {
        let ski = ski.to_ascii_lowercase();
        let authority = self.authorities.by_ski(caller, &ski).await;
        let authority = authority.map_err(no_ca_data)?.ok_or(VaError::CaNotFound)?;
        match signer(self.kms.as_ref(), caller, &authority).await {
            Err(SigningError::NoKey(_)) => {}
            Err(error) if error.is_temporary() => {
                return Err(VaError::Unavailable(Box::new(error)));
            }
            Ok(_) | Err(_) => return Err(VaError::CrlsMadeHere),
        }
        let issuer = Arc::clone(&authority);
        let now = self.db.now();
        let checked = tokio::task::spawn_blocking(move || checked(&issuer, sent, now)).await;
        let crl = checked.map_err(MakeCrlError::from)??;
        if self.stored_role(&ski).await?.is_none() {
            self.ensure_role(caller, &authority).await?;
        }
        let role = retry_races(|| self.try_take_crl(caller, &authority, &crl)).await?;
        tracing::info!(ca_ski = ski, number = crl.number, "crl imported");
        Ok(role)
    }

    async fn try_take_crl(
        &self,
        caller: &Caller,
        authority: &Authority,
        crl: &MadeCrl,
    ) -> Result<VaRole, Attempt<VaError>> {
        let previous = self.stored_role(&authority.ski).await?;
        let previous = previous.ok_or(VaError::RoleNotFound)?;
        let series = Series::complete(&previous);
        if crl.number < previous.last_number
            || (crl.number == previous.last_number && !self.is_lost(&previous, &series).await)
        {
            return Err(VaError::CrlOutdated.into());
        }
        let written = self.files.write(&series, crl.number, &crl.der).await;
        let now = self.db.now();
        let mut next = previous.clone();
        next.file = written.map_err(MakeCrlError::from).map_err(VaError::from)?;
        next.last_number = crl.number;
        next.role.latest_crl = crl.latest();
        // Nobody here makes the one after it, nor what changed until then.
        next.next_due = None;
        next.covered_at = now;
        let mut set = WriteSet::new();
        role::advance(&mut set, &previous, &next, now);
        set.execute(role::imported(&authority.ski));
        self.tell_crl(&mut set, caller, authority, crl);
        self.db.commit(set).await?;
        self.keep(&next.file, crl.der.clone());
        Ok(next.role)
    }

    /// Whether the newest CRL of a role is gone for good.
    async fn is_lost(&self, role: &StoredRole, newest: &Series) -> bool {
        let loaded = self.load_series(newest, &role.role.latest_crl).await;
        loaded.is_err_and(|error| error.is_loss())
    }
}

/// What is believed of a CRL: that it is this CA's, of all its certificates, and until when it holds.
fn checked(issuer: &Authority, sent: Bytes, now: OffsetDateTime) -> Result<MadeCrl, VaError> {
    let refused = VaError::CrlRefused;
    let der = match sent.first() {
        Some(0x30) => sent,
        _ => pem_to_der(&sent)
            .map_err(|_| refused(CrlFault::Unreadable))?
            .into(),
    };
    let list = CertificateList::from_der(der).map_err(|_| refused(CrlFault::Unreadable))?;
    if !list.issuer().matches(issuer.certificate.subject()) {
        return Err(refused(CrlFault::Issuer));
    }
    let key = issuer.certificate.public_key();
    let key = key.map_err(|_| refused(CrlFault::Signature))?;
    list.verify_signed_by(&key)
        .map_err(|_| refused(CrlFault::Signature))?;
    if list.extensions().iter().any(Extension::is_critical) {
        return Err(refused(CrlFault::Partial));
    }
    let number = list.number().ok().flatten().map(|number| number.0);
    let number = number.filter(|number| i64::try_from(*number).is_ok());
    let next_update = list.next_update();
    let next_update = next_update.filter(|next| *next > list.this_update());
    let next_update = next_update.ok_or_else(|| refused(CrlFault::NextUpdate))?;
    if list.this_update() > now.saturating_add(CLOCK_SKEW) {
        return Err(refused(CrlFault::NotYetValid));
    }
    if next_update <= now {
        return Err(refused(CrlFault::Outdated));
    }
    Ok(MadeCrl {
        number: number.ok_or_else(|| refused(CrlFault::Number))?,
        this_update: list.this_update(),
        next_update,
        n_entries: list.entries().fold(0, |n, _| u64::saturating_add(n, 1)),
        der: list.as_der().clone(),
        kind: CrlKind::Imported,
    })
}
