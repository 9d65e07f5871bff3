//! Who issued a certificate that was made elsewhere, and what a CA that was made elsewhere issued.
//!
//! Names and key identifiers only preselect: a certificate belongs to whoever's key verifies its
//! signature. Where several do (cross-signed CAs share name and key), the one that the caller names
//! wins, then the one with the key identifier that the certificate gives, then an active one, then
//! the oldest: the same one every time.

use lamassu_core::ca::{CaError, CertificateStatus, IssuerMetadata};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::CaId;
use lamassu_crypto::PublicKey;
use lamassu_db::{Attempt, WriteSet};
use lamassu_x509 as x509;

use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::StoredCascade;
use crate::store::certificate::{StoredCertificate, indexed, orphans, set_issuer};

pub(crate) use lamassu_core::ca::UNKNOWN_ISSUER as UNKNOWN;

impl CaService {
    /// The CA that issued this certificate, if it is here.
    pub(crate) async fn issuer_of(
        &self,
        certificate: &x509::Certificate,
        preferred: Option<&CaId>,
    ) -> Result<Option<StoredAuthority>, CaError> {
        let name = certificate.issuer();
        let common_name = name.common_name().unwrap_or_default();
        let mut candidates = authority::by_common_name(&self.db, indexed(&common_name))
            .await
            .map_err(StorageFailure::from)?;
        let named_key = certificate
            .authority_key_identifier()
            .map(hex::encode)
            .unwrap_or_default();
        candidates.sort_by_key(|candidate| {
            let own = &candidate.authority.certificate;
            (
                Some(&candidate.authority.id) != preferred,
                own.subject_key_id != named_key,
                own.status != CertificateStatus::Active,
            )
        });
        Ok(candidates
            .into_iter()
            .find(|candidate| issued(candidate, certificate)))
    }

    /// Looks at the next certificates without known issuer, and gives those that it issued to a new
    /// CA; how many, or `None` when all were looked at.
    pub(crate) async fn adopt_next(
        &self,
        _: &Caller,
        cascade: &StoredCascade,
        limit: u32,
    ) -> Result<Option<i64>, Attempt<CaError>> {
        let Some(parent) = authority::by_id(&self.db, &cascade.ca).await? else {
            return Ok(None);
        };
        let (named, after) = match cascade.position.split_once(':') {
            Some(("unnamed", after)) => ("unnamed", after),
            Some((_, after)) => ("named", after),
            None => ("named", ""),
        };
        let key_id = match named {
            "unnamed" => "",
            _ => cascade.subject_key_id.as_str(),
        };
        let next = orphans(&self.db, key_id, after, limit).await?;
        let position = match next.last() {
            Some(last) => format!("{named}:{}", last.id.as_str()),
            None if named == "named" => "unnamed:".to_owned(),
            None => return Ok(None),
        };
        let mut set = WriteSet::new();
        let mut n_adopted = 0;
        for orphan in next.iter().filter(|orphan| is_child(&parent, orphan)) {
            set_issuer(&mut set, orphan, &as_issuer(&parent));
            n_adopted += 1;
        }
        self.commit_adoption(set, cascade, n_adopted, &position)
            .await?;
        Ok(Some(i64::try_from(n_adopted).unwrap_or(i64::MAX)))
    }
}

/// How certificates name this CA as their issuer.
pub(crate) fn as_issuer(parent: &StoredAuthority) -> IssuerMetadata {
    IssuerMetadata {
        serial_number: parent.authority.serial_number.as_str().to_owned(),
        id: parent.authority.id.clone(),
        level: parent.authority.level,
    }
}

/// Whether this CA issued a stored certificate.
pub(crate) fn is_child(parent: &StoredAuthority, stored: &StoredCertificate) -> bool {
    let der = stored.certificate.certificate.der().clone();
    x509::Certificate::from_der(der).is_ok_and(|child| issued(parent, &child))
}

/// Whether name and key of this CA are those that made a certificate.
fn issued(candidate: &StoredAuthority, certificate: &x509::Certificate) -> bool {
    let der = candidate.authority.certificate.certificate.der().clone();
    let Ok(parent) = x509::Certificate::from_der(der) else {
        return false;
    };
    parent.subject().matches(certificate.issuer())
        && public_key(&parent).is_some_and(|key| certificate.verify_signed_by(&key).is_ok())
}

fn public_key(certificate: &x509::Certificate) -> Option<PublicKey> {
    certificate.public_key().ok()
}
