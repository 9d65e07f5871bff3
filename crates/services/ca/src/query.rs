//! Reading: one CA or certificate, lists, and what other services ask.

use lamassu_core::ca::{
    CaError, Certificate, CertificateAuthority, CertificateRef, IssuanceProfile,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::page::Page;
use lamassu_core::query::{ListRequest, Sort, SortMode};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::Value;
use lamassu_db::list::{ListError, Restriction, list};

use crate::cascade::former_id;
use crate::fields::CERTIFICATE_FIELDS;
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::certificate::{self, StoredCertificate, by_name, indexed};
use crate::store::profile::{self, StoredProfile};

impl CaService {
    /// The CA of this id.
    pub(crate) async fn authority(&self, id: &CaId) -> Result<CertificateAuthority, CaError> {
        let stored = authority::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored
            .map(|stored| stored.authority)
            .ok_or(CaError::CaNotFound)
    }

    /// The only certificate with this serial number.
    pub(crate) async fn certificate_by_serial(
        &self,
        serial: &SerialNumber,
    ) -> Result<StoredCertificate, CaError> {
        self.certificate_named(&serial.into()).await
    }

    /// The certificate that is named: where a CA is named, only one that this CA issued, or else a deleted CA of
    /// the same id; where a fingerprint is, only the one that has it.
    pub(crate) async fn certificate_named(
        &self,
        named: &CertificateRef,
    ) -> Result<StoredCertificate, CaError> {
        let mut found = by_name(&self.db, named)
            .await
            .map_err(StorageFailure::from)?;
        if let Some(ca) = named.ca.as_ref().filter(|_| found.is_empty()) {
            let of_any = CertificateRef {
                ca: None,
                ..named.clone()
            };
            found = by_name(&self.db, &of_any)
                .await
                .map_err(StorageFailure::from)?;
            found.retain(|stored| {
                former_id(stored.certificate.issuer_metadata.id.as_str()) == Some(ca.as_str())
            });
        }
        if let Some(wanted) = &named.fingerprint {
            found.retain(|stored| fingerprint_of(stored) == *wanted);
        }
        only(found)
    }

    /// The certificate with this serial number that the CA issued, or else the only one.
    pub(crate) async fn certificate_below(
        &self,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<StoredCertificate, CaError> {
        let of_ca = CertificateRef::of_ca(serial.clone(), ca.clone());
        let mut found = by_name(&self.db, &of_ca)
            .await
            .map_err(StorageFailure::from)?;
        if found.is_empty() {
            found = by_name(&self.db, &serial.into())
                .await
                .map_err(StorageFailure::from)?;
        }
        only(found)
    }

    /// Refuses what is no CA's id, unless a deleted CA is called so, in what it issued, since another one has its id.
    pub(crate) async fn require_issuer(&self, ca: &CaId) -> Result<(), CaError> {
        let mut is_known = authority::exists(&self.db, ca).await;
        if matches!(is_known, Ok(false)) && former_id(ca.as_str()).is_some() {
            is_known = certificate::is_issuer(&self.db, ca).await;
        }
        match is_known.map_err(StorageFailure::from)? {
            true => Ok(()),
            false => Err(CaError::CaNotFound),
        }
    }

    /// CAs, of this subject common name if given.
    pub(crate) async fn list_authorities(
        &self,
        common_name: Option<&str>,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError> {
        let restrictions: Vec<Restriction> = common_name
            .map(|name| Restriction::Is("subject_common_name", Value::from(indexed(name))))
            .into_iter()
            .collect();
        let scope = common_name.map_or("cas", |_| "cas/cn");
        let page = list(&self.db, &authority::TABLE, scope, request, &restrictions)
            .await
            .map_err(ListError::into_error::<CaError>)?;
        let page =
            page.try_map(|row| StoredAuthority::try_from(&row).map(|stored| stored.authority));
        Ok(page.map_err(StorageFailure::from)?)
    }

    /// Certificates that fulfil these conditions; `scope` names the route to its bookmarks.
    pub(crate) async fn list_certificates(
        &self,
        scope: &str,
        request: &ListRequest,
        restrictions: &[Restriction],
    ) -> Result<Page<Certificate>, CaError> {
        let page = list(&self.db, &certificate::TABLE, scope, request, restrictions)
            .await
            .map_err(ListError::into_error::<CaError>)?;
        let page =
            page.try_map(|row| StoredCertificate::try_from(&row).map(|stored| stored.certificate));
        Ok(page.map_err(StorageFailure::from)?)
    }

    /// Profiles.
    pub(crate) async fn list_profiles(
        &self,
        request: &ListRequest,
    ) -> Result<Page<IssuanceProfile>, CaError> {
        let page = list(&self.db, &profile::TABLE, "profiles", request, &[])
            .await
            .map_err(ListError::into_error::<CaError>)?;
        let page = page.try_map(|row| StoredProfile::try_from(&row).map(|stored| stored.profile));
        Ok(page.map_err(StorageFailure::from)?)
    }
}

/// Certificates that this CA issued.
pub(crate) fn issued_by(ca: &CaId) -> Restriction {
    Restriction::Is("issuer_ca_id", Value::from(ca.as_str()))
}

/// Certificates with this status; an unknown one gives no rows.
pub(crate) fn with_status(status: &str) -> Restriction {
    Restriction::Is("status", Value::from(status))
}

/// Certificates that expire strictly between two times and whose status is not final.
pub(crate) fn expiring(after: Timestamp, before: Timestamp) -> [Restriction; 3] {
    [
        Restriction::Above("valid_to", Value::from(after.0)),
        Restriction::Below("valid_to", Value::from(before.0)),
        Restriction::NoneOf(
            "status",
            vec![Value::from("EXPIRED"), Value::from("REVOKED")],
        ),
    ]
}

/// The request, in the order of the ends where it names none: certificates that end soon may be
/// anywhere in the order of creation.
pub(crate) fn soonest_first(request: &ListRequest) -> ListRequest {
    let mut request = request.clone();
    if request.sort.is_none() {
        request.sort = Sort::parse(CERTIFICATE_FIELDS, "valid_to", SortMode::Ascending);
    }
    request
}

/// The only element, or why there is none to choose.
fn only(mut found: Vec<StoredCertificate>) -> Result<StoredCertificate, CaError> {
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(CaError::CertificateNotFound),
        (Some(stored), true) => Ok(stored),
        (Some(last), false) => {
            let issuers: Vec<String> = found.iter().chain([&last]).map(issuer_of).collect();
            Err(CaError::AmbiguousSerial(issuers.join(", ")))
        }
    }
}

/// What a certificate is to be chosen by.
fn issuer_of(stored: &StoredCertificate) -> String {
    match stored.certificate.issuer_metadata.id.as_str() {
        "-" => format!(
            "- ({}, fingerprint={})",
            stored.certificate.issuer.common_name,
            fingerprint_of(stored)
        ),
        id => id.to_owned(),
    }
}

fn fingerprint_of(stored: &StoredCertificate) -> String {
    certificate::fingerprint(stored.certificate.certificate.der())
}
