//! Deleting CAs, and certificates whose CA is gone.
//!
//! Once a deletion is answered the CA is gone: nobody finds it, its id is free, and nothing is
//! issued under it. That what it issued is revoked and that its key is destroyed follows as a cascade
//! (`cascade.rs`), which neither delays the answer nor makes it fail. Its certificates stay; each can
//! be deleted by itself from then on.

use std::collections::VecDeque;

use lamassu_core::ca::{
    CaError, Cascade, CertificateAuthority, CertificateRef, CertificateStatus, CertificateType,
    ProfileChoice,
};
use lamassu_core::caller::Caller;
use lamassu_core::ids::CaId;
use lamassu_db::{Attempt, WriteSet, retry_races};

use crate::cascade;
use crate::events::Teller;
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::{self as stored_cascade, Kind, StoredCascade};
use crate::store::certificate;

impl CaService {
    /// Deletes a CA.
    pub(crate) async fn remove_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        cascade: Cascade,
    ) -> Result<(), CaError> {
        let cascades = retry_races(|| self.try_remove_ca(caller, id, cascade)).await?;
        tracing::info!(ca_id = %id, "ca deleted");
        self.begin_cascades(caller, cascades).await;
        Ok(())
    }

    async fn try_remove_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        cascade: Cascade,
    ) -> Result<Vec<String>, Attempt<CaError>> {
        let stored = self.stored_authority(id).await?;
        if !is_deletable(&stored.authority) {
            return Err(CaError::CaStatus.into());
        }
        if cascade == Cascade::Yes && !self.config.allow_cascade_delete {
            return Err(CaError::CascadeForbidden.into());
        }
        let doomed = match cascade {
            Cascade::Yes => self.with_deletable_below(stored).await?,
            Cascade::No => vec![stored],
        };
        let now = self.db.now();
        let teller = Teller { caller, now };
        let mut set = WriteSet::new();
        let mut cascades = Vec::new();
        // Children first, as their events are expected.
        for ca in doomed.iter().rev() {
            authority::delete(&mut set, ca);
            stored_cascade::supersede(&mut set, &ca.authority.id, now);
            let retirement = StoredCascade::of(Kind::Retire, ca, now);
            stored_cascade::insert(&mut set, &retirement);
            cascades.push(retirement);
            teller.ca_deleted(&mut set, &ca.authority.id, cascade);
        }
        self.db.commit(set).await?;
        for ca in &doomed {
            self.ready.forget(&ca.authority.id, &ProfileChoice::Default);
        }
        Ok(cascade::ids(&cascades))
    }

    /// A CA and those below it that may be deleted now, from above. What is below one that may not
    /// stays with it.
    async fn with_deletable_below(
        &self,
        top: StoredAuthority,
    ) -> Result<Vec<StoredAuthority>, Attempt<CaError>> {
        let mut doomed: Vec<StoredAuthority> = Vec::new();
        let mut next = VecDeque::from([top]);
        while let Some(ca) = next.pop_front() {
            let id = &ca.authority.id;
            if doomed.iter().any(|known| known.authority.id == *id) {
                continue;
            }
            let below = authority::issued_by(&self.db, id).await?;
            let (deletable, kept): (Vec<_>, Vec<_>) = below
                .into_iter()
                .filter(|child| child.authority.id != *id)
                .partition(|child| is_deletable(&child.authority));
            for child in kept {
                tracing::info!(ca_id = %child.authority.id, "ca below a deleted one stays");
            }
            next.extend(deletable);
            doomed.push(ca);
        }
        Ok(doomed)
    }

    /// Deletes a certificate.
    pub(crate) async fn remove_certificate(
        &self,
        caller: &Caller,
        named: &CertificateRef,
    ) -> Result<(), CaError> {
        retry_races(|| self.try_remove_certificate(caller, named)).await?;
        tracing::info!(serial_number = %named, "certificate deleted");
        Ok(())
    }

    async fn try_remove_certificate(
        &self,
        caller: &Caller,
        named: &CertificateRef,
    ) -> Result<(), Attempt<CaError>> {
        let stored = self.certificate_named(named).await?;
        let issuer = &stored.certificate.issuer_metadata.id;
        if authority::exists(&self.db, issuer).await? {
            return Err(CaError::IssuerExists.into());
        }
        if !authority::by_certificate(&self.db, &stored.id)
            .await?
            .is_empty()
        {
            return Err(CaError::CertificateInUse.into());
        }
        let mut set = WriteSet::new();
        authority::guard_absence(&mut set, issuer);
        authority::guard_no_user(&mut set, &stored.id);
        certificate::delete(&mut set, &stored);
        let now = self.db.now();
        Teller { caller, now }.certificate_deleted(&mut set, &stored.certificate);
        self.db.commit(set).await?;
        Ok(())
    }
}

/// A CA whose key is not here may always go; another one only when it issues nothing any more.
fn is_deletable(ca: &CertificateAuthority) -> bool {
    let certificate = &ca.certificate;
    certificate.certificate_type == CertificateType::ImportedWithoutKey
        || matches!(
            certificate.status,
            CertificateStatus::Expired | CertificateStatus::Revoked
        )
}
