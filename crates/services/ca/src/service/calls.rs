//! The trait: one call per method, refused changes into the audit log.

use async_trait::async_trait;
use lamassu_core::ca::{
    self as api, CaError, CaRequest, CaStats, Cascade, Certificate, CertificateAuthority,
    CertificateRef, CertificateStatus, CreateCa, CreateCaRequest, CreateCertificate, Enrollment,
    ImportCa, ImportCertificate, IssuanceProfile, OpenEnrollment, ProfileChoice, RawMessage,
    RenewalWindows, RetiredCa, RevokeCertificates, RevokedEntry, SignCsr, StatusCounts, StatusInfo,
    enrollment::Attachment,
};
use lamassu_core::caller::Caller;
use lamassu_core::duration::WireDuration;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, CaRequestId, JobId, ProfileId, SerialNumber};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::query::{Filter, ListRequest};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::readable;
use lamassu_x509::VerifiedCsr;
use time::OffsetDateTime;

use super::CaService;
use crate::query::{expiring, issued_by, soonest_first, with_status};
use crate::store::{authority, certificate, intent};

/// A thing as it was asked for, in the audit log.
fn named(kind: &str, id: &dyn std::fmt::Display) -> String {
    format!("{kind}/{id}")
}

#[async_trait]
impl api::CaService for CaService {
    async fn create_ca(
        &self,
        caller: &Caller,
        request: CreateCa,
    ) -> Result<CertificateAuthority, CaError> {
        let change = ("ca.create", named("ca", &request.id));
        self.refusals
            .watch(caller, change, self.create(caller, request))
            .await
    }

    async fn import_ca(
        &self,
        caller: &Caller,
        request: ImportCa,
    ) -> Result<CertificateAuthority, CaError> {
        let change = ("ca.import", named("ca", &request.id));
        self.refusals
            .watch(caller, change, self.import(caller, request))
            .await
    }

    async fn ca(&self, _: &Caller, id: &CaId) -> Result<CertificateAuthority, CaError> {
        self.authority(id).await
    }

    async fn cas(
        &self,
        _: &Caller,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError> {
        self.list_authorities(None, request).await
    }

    async fn cas_by_common_name(
        &self,
        _: &Caller,
        common_name: &str,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError> {
        self.list_authorities(Some(common_name), request).await
    }

    async fn set_ca_status(
        &self,
        caller: &Caller,
        id: &CaId,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<CertificateAuthority, CaError> {
        let change = ("ca.status.update", named("ca", id));
        self.refusals
            .watch(
                caller,
                change,
                self.change_ca_status(caller, id, status, reason),
            )
            .await
    }

    async fn set_ca_profile(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: &ProfileId,
    ) -> Result<CertificateAuthority, CaError> {
        let change = ("ca.profile.update", named("ca", id));
        self.refusals
            .watch(caller, change, self.change_ca_profile(caller, id, profile))
            .await
    }

    async fn reissue_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: ProfileChoice,
    ) -> Result<CertificateAuthority, CaError> {
        let change = ("ca.reissue", named("ca", id));
        self.refusals
            .watch(caller, change, self.reissue(caller, id, &profile))
            .await
    }

    async fn patch_ca_metadata(
        &self,
        caller: &Caller,
        id: &CaId,
        patches: Vec<PatchOperation>,
    ) -> Result<CertificateAuthority, CaError> {
        let change = ("ca.metadata.update", named("ca", id));
        self.refusals
            .watch(caller, change, self.patch_ca(caller, id, &patches))
            .await
    }

    async fn delete_ca(&self, caller: &Caller, id: &CaId, cascade: Cascade) -> Result<(), CaError> {
        let change = ("ca.delete", named("ca", id));
        self.refusals
            .watch(caller, change, self.remove_ca(caller, id, cascade))
            .await
    }

    async fn sign_with_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        message: RawMessage,
    ) -> Result<Vec<u8>, CaError> {
        let change = ("ca.sign.signature", named("ca", id));
        self.refusals
            .watch(caller, change, self.sign_raw(caller, id, &message))
            .await
    }

    async fn verify_with_ca(
        &self,
        _: &Caller,
        id: &CaId,
        message: RawMessage,
        signature: &[u8],
    ) -> Result<bool, CaError> {
        self.verify_raw(id, &message, signature).await
    }

    async fn stats(
        &self,
        caller: &Caller,
        cas: &[Filter],
        certificates: &[Filter],
    ) -> Result<CaStats, CaError> {
        self.count(caller, cas, certificates).await
    }

    async fn stats_of_ca(
        &self,
        _: &Caller,
        id: &CaId,
        certificates: &[Filter],
    ) -> Result<StatusCounts, CaError> {
        self.count_of_ca(id, certificates).await
    }

    async fn create_ca_request(
        &self,
        caller: &Caller,
        request: CreateCaRequest,
    ) -> Result<CaRequest, CaError> {
        let change = ("ca.request", named("ca/request", &request.id));
        self.refusals
            .watch(caller, change, self.request_ca(caller, request))
            .await
    }

    async fn ca_request(&self, _: &Caller, id: &CaRequestId) -> Result<CaRequest, CaError> {
        self.stored_request(id).await.map(|stored| stored.request)
    }

    async fn ca_requests(
        &self,
        _: &Caller,
        request: &ListRequest,
    ) -> Result<Page<CaRequest>, CaError> {
        self.list_requests(request).await
    }

    async fn delete_ca_request(&self, caller: &Caller, id: &CaRequestId) -> Result<(), CaError> {
        let change = ("ca.request.delete", named("ca/request", id));
        self.refusals
            .watch(caller, change, self.withdraw_request(caller, id))
            .await
    }

    async fn sign_csr(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: SignCsr,
    ) -> Result<Certificate, CaError> {
        let change = ("ca.sign.certificate", named("ca", ca));
        self.refusals
            .watch(caller, change, self.sign(caller, ca, request))
            .await
    }

    async fn certificate(&self, _: &Caller, serial: &SerialNumber) -> Result<Certificate, CaError> {
        self.certificate_by_serial(serial)
            .await
            .map(|stored| stored.certificate)
    }

    async fn certificate_of_ca(
        &self,
        _: &Caller,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Certificate, CaError> {
        self.certificate_below(ca, serial)
            .await
            .map(|stored| stored.certificate)
    }

    async fn certificate_named(
        &self,
        _: &Caller,
        certificate: &CertificateRef,
    ) -> Result<Certificate, CaError> {
        let found = self.certificate_named(certificate).await?;
        Ok(found.certificate)
    }

    async fn certificates(
        &self,
        _: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        self.list_certificates("certificates", request, &[]).await
    }

    async fn certificates_by_ca(
        &self,
        _: &Caller,
        ca: &CaId,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        self.require_issuer(ca).await?;
        self.list_certificates("cas/certificates", request, &[issued_by(ca)])
            .await
    }

    async fn certificates_by_status(
        &self,
        _: &Caller,
        ca: Option<&CaId>,
        status: &str,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        let mut restrictions = vec![with_status(status)];
        restrictions.extend(ca.map(issued_by));
        let scope = ca.map_or("certificates/status", |_| "cas/certificates/status");
        self.list_certificates(scope, request, &restrictions).await
    }

    async fn certificates_by_expiration(
        &self,
        _: &Caller,
        after: Timestamp,
        before: Timestamp,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        self.list_certificates(
            "certificates/expiration",
            &soonest_first(request),
            &expiring(after, before),
        )
        .await
    }

    async fn set_certificate_status(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<Certificate, CaError> {
        let change = (
            "certificate.status.update",
            named("certificate", certificate),
        );
        self.refusals
            .watch(
                caller,
                change,
                self.change_status(caller, certificate, status, reason),
            )
            .await
    }

    async fn patch_certificate_metadata(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        patches: Vec<PatchOperation>,
    ) -> Result<Certificate, CaError> {
        let change = (
            "certificate.metadata.update",
            named("certificate", certificate),
        );
        self.refusals
            .watch(
                caller,
                change,
                self.patch_certificate(caller, certificate, &patches),
            )
            .await
    }

    async fn delete_certificate(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<(), CaError> {
        let change = ("certificate.delete", named("certificate", certificate));
        self.refusals
            .watch(caller, change, self.remove_certificate(caller, certificate))
            .await
    }

    async fn create_certificate(
        &self,
        caller: &Caller,
        request: CreateCertificate,
    ) -> Result<Certificate, CaError> {
        let change = ("certificate.create", named("ca", &request.ca));
        self.refusals
            .watch(caller, change, self.create_for_key(caller, request))
            .await
    }

    async fn import_certificate(
        &self,
        caller: &Caller,
        request: ImportCertificate,
    ) -> Result<Certificate, CaError> {
        let change = ("ca.certificate.import", "certificate".to_owned());
        self.refusals
            .watch(caller, change, self.import_one(caller, request))
            .await
    }

    async fn ca_chain(&self, _: &Caller, ca: &CaId) -> Result<Vec<CertificateDer>, CaError> {
        self.chain_of_ca(ca).await
    }

    async fn certificate_chain(
        &self,
        _: &Caller,
        certificate: &CertificateRef,
    ) -> Result<Vec<CertificateDer>, CaError> {
        self.chain_of_certificate(certificate).await
    }

    async fn revoke_certificates(
        &self,
        caller: &Caller,
        request: RevokeCertificates,
    ) -> Result<api::Job, CaError> {
        let change = ("certificate.revocations", "certificate".to_owned());
        self.refusals
            .watch(caller, change, self.begin_revocations(caller, request))
            .await
    }

    async fn job(&self, _: &Caller, id: &JobId) -> Result<api::Job, CaError> {
        self.shown_job(id).await
    }

    async fn jobs(&self, _: &Caller, request: &ListRequest) -> Result<Page<api::Job>, CaError> {
        self.list_jobs(request).await
    }

    async fn create_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError> {
        let change = ("profile.issuance.create", named("profile", &profile.id));
        self.refusals
            .watch(caller, change, self.add_profile(caller, profile))
            .await
    }

    async fn profile(&self, _: &Caller, id: &ProfileId) -> Result<IssuanceProfile, CaError> {
        self.stored_profile(id).await.map(|stored| stored.profile)
    }

    async fn profiles(
        &self,
        _: &Caller,
        request: &ListRequest,
    ) -> Result<Page<IssuanceProfile>, CaError> {
        self.list_profiles(request).await
    }

    async fn update_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError> {
        let change = ("profile.issuance.update", named("profile", &profile.id));
        self.refusals
            .watch(caller, change, self.replace_profile(caller, profile))
            .await
    }

    async fn delete_profile(&self, caller: &Caller, id: &ProfileId) -> Result<(), CaError> {
        let change = ("profile.issuance.delete", named("profile", id));
        self.refusals
            .watch(caller, change, self.remove_profile(caller, id))
            .await
    }

    async fn authorities(
        &self,
        _: &Caller,
        after: Option<&CaId>,
        limit: u32,
    ) -> Result<Vec<CertificateAuthority>, CaError> {
        let mut after = after.cloned();
        loop {
            let page = authority::page(&self.db, after.as_ref(), limit).await;
            let page = page.map_err(StorageFailure::from)?;
            after = match page.last() {
                Some((last, _)) => Some(last.clone()),
                None => return Ok(Vec::new()),
            };
            let read = page.into_iter().filter_map(|(_, read)| readable(read));
            let read: Vec<_> = read.map(|stored| stored.authority).collect();
            // For whoever asks, an empty page is the last one.
            if !read.is_empty() {
                return Ok(read);
            }
        }
    }

    async fn certificate_status(
        &self,
        _: &Caller,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Option<StatusInfo>, CaError> {
        let found = certificate::status_of(&self.db, ca, serial).await;
        Ok(found.map_err(StorageFailure::from)?)
    }

    async fn revoked_certificates(
        &self,
        _: &Caller,
        ca: &CaId,
        after: Option<&SerialNumber>,
        limit: u32,
    ) -> Result<Vec<RevokedEntry>, CaError> {
        let found = certificate::revoked(&self.db, ca, after, limit).await;
        Ok(found.map_err(StorageFailure::from)?)
    }

    async fn retired_cas(&self, _: &Caller) -> Result<Vec<RetiredCa>, CaError> {
        self.waiting_for_crl().await
    }

    async fn settle_retired_ca(&self, _: &Caller, job: &JobId) -> Result<(), CaError> {
        self.settle_crl(job).await
    }

    async fn sign_for_enrollment(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: VerifiedCsr,
        profile: ProfileChoice,
        enrollment: Enrollment,
    ) -> Result<Certificate, CaError> {
        self.sign_enrollment(caller, ca, &csr, profile, &enrollment)
            .await
    }

    async fn issue_ocsp_responder(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: CsrDer,
        validity: WireDuration,
    ) -> Result<Certificate, CaError> {
        self.issue_responder(caller, ca, &csr, validity).await
    }

    async fn complete_enrollment(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError> {
        self.complete(caller, serial).await
    }

    async fn abandon_enrollment(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError> {
        self.abandon(caller, serial).await
    }

    async fn open_enrollments(
        &self,
        _: &Caller,
        before: OffsetDateTime,
        after: Option<(OffsetDateTime, SerialNumber)>,
        limit: u32,
    ) -> Result<Vec<OpenEnrollment>, CaError> {
        let found = intent::open_before(&self.db, before, after, limit).await;
        Ok(found.map_err(StorageFailure::from)?)
    }

    async fn repeated_reenrollment(
        &self,
        _: &Caller,
        superseded: &SerialNumber,
        csr_digest: &[u8; 32],
        since: OffsetDateTime,
    ) -> Result<Option<Certificate>, CaError> {
        let found = intent::repeated(&self.db, superseded, csr_digest, since).await;
        Ok(found
            .map_err(StorageFailure::from)?
            .map(|stored| stored.certificate))
    }

    async fn attach_certificate(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        attachment: Attachment,
        windows: RenewalWindows,
    ) -> Result<Certificate, CaError> {
        self.attach(caller, certificate, &attachment, windows).await
    }
}
