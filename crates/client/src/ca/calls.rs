//! The calls: method, path, body, and whether they may be repeated.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use lamassu_core::ca::enrollment::Attachment;
use lamassu_core::ca::{
    CaError, CaRequest, CaService, CaStats, Cascade, Certificate, CertificateAuthority,
    CertificateRef, CertificateStatus, CreateCa, CreateCaRequest, CreateCertificate, Enrollment,
    ImportCa, ImportCertificate, IssuanceProfile, Job, OpenEnrollment, ProfileChoice, RawMessage,
    RenewalWindows, RetiredCa, RevokeCertificates, RevokedEntry, SignCsr, StatusCounts, StatusInfo,
};
use lamassu_core::caller::Caller;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{CaId, CaRequestId, JobId, ProfileId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::internal::ca::{
    AttachCertificate, FoundCertificate, FoundStatus, IssueOcspResponder, SignForEnrollment,
};
use lamassu_core::kms::GENERATION_DEADLINE;
use lamassu_core::page::Page;
use lamassu_core::patch::{PatchBody, PatchOperation};
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::percent::encode;
use lamassu_core::query::{Filter, ListRequest};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_x509::VerifiedCsr;
use time::OffsetDateTime;

use super::CaClient;
use super::body::{
    CreateCaBody, CreateCaRequestBody, CreateCertificateBody, ImportCaBody, ImportCertificateBody,
    KeyBody, Nothing, ProfileIdBody, ReissueBody, RevocationsBody, SignBody, SignatureBody, Signed,
    StatusBody, Verified, filters, profile,
};
use super::path::{after, ca_path, certificate_path, profile_path, request_path, time};
use crate::peer::{Call, empty_page, internal};
use crate::profile_body::explicit;
use crate::retry::Repeat;

/// What making a CA may take beyond the time of every call: its key, and what the CA service itself
/// allows for asking for that beyond its making.
const NEW_CA_KEY: Duration = GENERATION_DEADLINE.saturating_add(Duration::from_secs(30));

#[async_trait]
impl CaService for CaClient {
    async fn create_ca(
        &self,
        caller: &Caller,
        request: CreateCa,
    ) -> Result<CertificateAuthority, CaError> {
        let body = CreateCaBody::new(&request)?;
        let call = Call::json(Method::POST, "/v1/cas".to_owned(), &body, Repeat::Once)?;
        self.0.read(caller, call.taking_longer(NEW_CA_KEY)).await
    }

    async fn import_ca(
        &self,
        caller: &Caller,
        request: ImportCa,
    ) -> Result<CertificateAuthority, CaError> {
        let body = ImportCaBody::new(&request)?;
        let route = (Method::POST, "/v1/cas/import".to_owned());
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn ca(&self, caller: &Caller, id: &CaId) -> Result<CertificateAuthority, CaError> {
        self.get(caller, ca_path("/v1", id, "")?).await
    }

    async fn cas(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError> {
        self.get(caller, format!("/v1/cas?{}", request.to_query()))
            .await
    }

    async fn cas_by_common_name(
        &self,
        caller: &Caller,
        common_name: &str,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError> {
        // No route can name it.
        if common_name.is_empty() {
            return Ok(empty_page());
        }
        let (name, query) = (encode(common_name), request.to_query());
        self.get(caller, format!("/v1/cas/cn/{name}?{query}")).await
    }

    async fn set_ca_status(
        &self,
        caller: &Caller,
        id: &CaId,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<CertificateAuthority, CaError> {
        let route = (Method::POST, ca_path("/v1", id, "/status")?);
        let body = StatusBody {
            status,
            revocation_reason: reason,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn set_ca_profile(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: &ProfileId,
    ) -> Result<CertificateAuthority, CaError> {
        let route = (Method::POST, ca_path("/v1", id, "/profile")?);
        let body = ProfileIdBody {
            profile_id: profile,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn reissue_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        choice: ProfileChoice,
    ) -> Result<CertificateAuthority, CaError> {
        let route = (Method::POST, ca_path("/v1", id, "/reissue")?);
        let (profile, profile_id) = profile(&choice)?;
        let body = ReissueBody {
            profile,
            profile_id,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn patch_ca_metadata(
        &self,
        caller: &Caller,
        id: &CaId,
        patches: Vec<PatchOperation>,
    ) -> Result<CertificateAuthority, CaError> {
        let route = (Method::PUT, ca_path("/v1", id, "/metadata")?);
        let body = PatchBody {
            patches: Some(patches),
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn delete_ca(&self, caller: &Caller, id: &CaId, cascade: Cascade) -> Result<(), CaError> {
        let query = match cascade {
            Cascade::Yes => "?cascade_delete=true",
            Cascade::No => "",
        };
        let path = ca_path("/v1", id, query)?;
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0
            .read::<Nothing, CaError>(caller, call)
            .await
            .map(drop)
    }

    async fn sign_with_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        message: RawMessage,
    ) -> Result<Vec<u8>, CaError> {
        let route = (Method::POST, ca_path("/v1", id, "/signature/sign")?);
        let body = SignatureBody::new(&message, None);
        let Signed { signed_data } = self.send(caller, route, &body, Repeat::Once).await?;
        Ok(signed_data.0.into())
    }

    async fn verify_with_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        message: RawMessage,
        signature: &[u8],
    ) -> Result<bool, CaError> {
        let route = (Method::POST, ca_path("/v1", id, "/signature/verify")?);
        let body = SignatureBody::new(&message, Some(signature));
        let Verified { valid } = self.send(caller, route, &body, Repeat::Safe).await?;
        Ok(valid)
    }

    async fn stats(
        &self,
        caller: &Caller,
        cas: &[Filter],
        certificates: &[Filter],
    ) -> Result<CaStats, CaError> {
        let mut path = "/v1/stats".to_owned();
        filters(&mut path, "ca_filter", cas);
        filters(&mut path, "cert_filter", certificates);
        self.get(caller, path).await
    }

    async fn stats_of_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        certificates: &[Filter],
    ) -> Result<StatusCounts, CaError> {
        // No route can name it.
        if id.is_empty() {
            return Ok(StatusCounts::default());
        }
        let mut path = format!("/v1/stats/{}", encode(id.as_str()));
        filters(&mut path, "cert_filter", certificates);
        self.get(caller, path).await
    }

    async fn create_ca_request(
        &self,
        caller: &Caller,
        request: CreateCaRequest,
    ) -> Result<CaRequest, CaError> {
        let (key_metadata, engine_id) = KeyBody::new(&request.key);
        let body = CreateCaRequestBody {
            id: &request.id,
            subject: &request.subject,
            key_metadata,
            engine_id,
            metadata: &request.metadata,
        };
        let path = "/v1/cas/requests".to_owned();
        let call = Call::json(Method::POST, path, &body, Repeat::Once)?;
        self.0.read(caller, call.taking_longer(NEW_CA_KEY)).await
    }

    async fn ca_request(&self, caller: &Caller, id: &CaRequestId) -> Result<CaRequest, CaError> {
        self.get(caller, request_path(id)?).await
    }

    async fn ca_requests(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<CaRequest>, CaError> {
        self.get(caller, format!("/v1/cas/requests?{}", request.to_query()))
            .await
    }

    async fn delete_ca_request(&self, caller: &Caller, id: &CaRequestId) -> Result<(), CaError> {
        let call = Call::bare(Method::DELETE, request_path(id)?, Repeat::Once);
        self.0.done(caller, call).await
    }

    async fn sign_csr(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: SignCsr,
    ) -> Result<Certificate, CaError> {
        let route = (Method::POST, ca_path("/v1", ca, "/certificates/sign")?);
        let (inline, profile_id) = profile(&request.profile)?;
        let body = SignBody {
            csr: request.csr.as_ref(),
            profile: inline,
            profile_id,
            verify_csr_signature: request.verify_csr_signature,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn certificate(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<Certificate, CaError> {
        self.get(caller, certificate_path("/v1", &serial.into(), ""))
            .await
    }

    async fn certificate_of_ca(
        &self,
        caller: &Caller,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Certificate, CaError> {
        let below = format!("/certificates/{serial}");
        self.get(caller, ca_path("/v1", ca, &below)?).await
    }

    async fn certificate_named(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<Certificate, CaError> {
        self.get(caller, certificate_path("/v1", certificate, ""))
            .await
    }

    async fn certificates(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        self.get(caller, format!("/v1/certificates?{}", request.to_query()))
            .await
    }

    async fn certificates_by_ca(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        let below = format!("/certificates?{}", request.to_query());
        self.get(caller, ca_path("/v1", ca, &below)?).await
    }

    async fn certificates_by_status(
        &self,
        caller: &Caller,
        ca: Option<&CaId>,
        status: &str,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        // Unknown CAs and statuses give no rows, and these no route can name.
        if status.is_empty() || ca.is_some_and(CaId::is_empty) {
            return Ok(empty_page());
        }
        let below = format!(
            "/certificates/status/{}?{}",
            encode(status),
            request.to_query()
        );
        let path = match ca {
            Some(ca) => ca_path("/v1", ca, &below)?,
            None => format!("/v1{below}"),
        };
        self.get(caller, path).await
    }

    async fn certificates_by_expiration(
        &self,
        caller: &Caller,
        after: Timestamp,
        before: Timestamp,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError> {
        let path = format!(
            "/v1/certificates/expiration?expires_after={}&expires_before={}&{}",
            time(after),
            time(before),
            request.to_query()
        );
        self.get(caller, path).await
    }

    async fn set_certificate_status(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<Certificate, CaError> {
        let route = (Method::PUT, certificate_path("/v1", certificate, "/status"));
        let body = StatusBody {
            status,
            revocation_reason: reason,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn patch_certificate_metadata(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        patches: Vec<PatchOperation>,
    ) -> Result<Certificate, CaError> {
        let route = (
            Method::PUT,
            certificate_path("/v1", certificate, "/metadata"),
        );
        let body = PatchBody {
            patches: Some(patches),
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn ca_chain(&self, caller: &Caller, ca: &CaId) -> Result<Vec<CertificateDer>, CaError> {
        let path = ca_path("/v1", ca, "/chain?format=pkcs7")?;
        self.chain(caller, path).await
    }

    async fn certificate_chain(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<Vec<CertificateDer>, CaError> {
        let below = "/download?format=pkcs7&chain=true";
        let path = certificate_path("/v1", certificate, below);
        self.chain(caller, path).await
    }

    async fn revoke_certificates(
        &self,
        caller: &Caller,
        request: RevokeCertificates,
    ) -> Result<Job, CaError> {
        let route = (Method::POST, "/v1/certificates/revocations".to_owned());
        let body = RevocationsBody {
            ca_id: request.ca_id.as_ref(),
            profile_id: request.profile_id.as_ref(),
            issued_after: request.issued_after,
            issued_before: request.issued_before,
            filter: request.filters.iter().map(Filter::to_text).collect(),
            revocation_reason: request.reason,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn delete_certificate(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<(), CaError> {
        let path = certificate_path("/v1", certificate, "");
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call).await
    }

    async fn create_certificate(
        &self,
        caller: &Caller,
        request: CreateCertificate,
    ) -> Result<Certificate, CaError> {
        let body = CreateCertificateBody::new(&request)?;
        let path = "/v1/certificates".to_owned();
        let call = Call::json(Method::POST, path, &body, Repeat::Once)?;
        self.0.read(caller, call.taking_longer(NEW_CA_KEY)).await
    }

    async fn import_certificate(
        &self,
        caller: &Caller,
        request: ImportCertificate,
    ) -> Result<Certificate, CaError> {
        let route = (Method::POST, "/v1/certificates/import".to_owned());
        let body = ImportCertificateBody::new(&request);
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn job(&self, caller: &Caller, id: &JobId) -> Result<Job, CaError> {
        if id.is_empty() {
            return Err(CaError::JobNotFound);
        }
        self.get(caller, format!("/v1/jobs/{}", encode(id.as_str())))
            .await
    }

    async fn jobs(&self, caller: &Caller, request: &ListRequest) -> Result<Page<Job>, CaError> {
        self.get(caller, format!("/v1/jobs?{}", request.to_query()))
            .await
    }

    async fn create_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError> {
        let route = (Method::POST, "/v1/profiles".to_owned());
        let body = explicit(&profile).map_err(internal)?;
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn profile(&self, caller: &Caller, id: &ProfileId) -> Result<IssuanceProfile, CaError> {
        self.get(caller, profile_path(id)?).await
    }

    async fn profiles(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<IssuanceProfile>, CaError> {
        self.get(caller, format!("/v1/profiles?{}", request.to_query()))
            .await
    }

    async fn update_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError> {
        let route = (Method::PUT, profile_path(&profile.id)?);
        let body = explicit(&profile).map_err(internal)?;
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn delete_profile(&self, caller: &Caller, id: &ProfileId) -> Result<(), CaError> {
        let call = Call::bare(Method::DELETE, profile_path(id)?, Repeat::Once);
        self.0.done(caller, call).await
    }

    async fn authorities(
        &self,
        caller: &Caller,
        last: Option<&CaId>,
        limit: u32,
    ) -> Result<Vec<CertificateAuthority>, CaError> {
        let query = after(last.map(CaId::as_str), limit);
        self.get(caller, format!("/internal/v1/cas?{query}")).await
    }

    async fn certificate_status(
        &self,
        caller: &Caller,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Option<StatusInfo>, CaError> {
        let below = format!("/certificates/{serial}/status");
        let path = ca_path("/internal/v1", ca, &below)?;
        let FoundStatus { found } = self.get(caller, path).await?;
        Ok(found)
    }

    async fn issue_ocsp_responder(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: CsrDer,
        validity: WireDuration,
    ) -> Result<Certificate, CaError> {
        let path = ca_path("/internal/v1", ca, "/ocsp-responders")?;
        let body = IssueOcspResponder {
            csr: Base64(csr.der().clone()),
            validity,
        };
        self.send(caller, (Method::POST, path), &body, Repeat::Once)
            .await
    }

    async fn revoked_certificates(
        &self,
        caller: &Caller,
        ca: &CaId,
        last: Option<&SerialNumber>,
        limit: u32,
    ) -> Result<Vec<RevokedEntry>, CaError> {
        let query = after(last.map(SerialNumber::as_str), limit);
        let path = ca_path("/internal/v1", ca, &format!("/revoked?{query}"))?;
        self.get(caller, path).await
    }

    async fn retired_cas(&self, caller: &Caller) -> Result<Vec<RetiredCa>, CaError> {
        self.get(caller, "/internal/v1/retired-cas".to_owned())
            .await
    }

    async fn settle_retired_ca(&self, caller: &Caller, job: &JobId) -> Result<(), CaError> {
        let path = format!("/internal/v1/retired-cas/{}", encode(job.as_str()));
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.done(caller, call).await
    }

    async fn sign_for_enrollment(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: VerifiedCsr,
        profile: ProfileChoice,
        enrollment: Enrollment,
    ) -> Result<Certificate, CaError> {
        let route = (Method::POST, ca_path("/internal/v1", ca, "/enrollments")?);
        let (profile, profile_id) = match profile {
            ProfileChoice::Inline(profile) => (Some(profile), None),
            ProfileChoice::Stored(id) => (None, Some(id)),
            ProfileChoice::Default => (None, None),
        };
        let body = SignForEnrollment {
            csr: Base64(csr.csr().as_der().clone()),
            possession: csr.possession().into(),
            profile,
            profile_id,
            enrollment,
        };
        self.send(caller, route, &body, Repeat::Once).await
    }

    async fn complete_enrollment(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError> {
        let path = format!("/internal/v1/enrollments/{serial}/complete");
        let call = Call::bare(Method::POST, path, Repeat::Safe);
        self.0.done(caller, call).await
    }

    async fn abandon_enrollment(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError> {
        let path = format!("/internal/v1/enrollments/{serial}/abandon");
        let call = Call::bare(Method::POST, path, Repeat::Safe);
        self.0.done(caller, call).await
    }

    async fn open_enrollments(
        &self,
        caller: &Caller,
        before: OffsetDateTime,
        after: Option<(OffsetDateTime, SerialNumber)>,
        limit: u32,
    ) -> Result<Vec<OpenEnrollment>, CaError> {
        let before = time(before);
        let after = after.map(|(opened, serial)| {
            let opened = time(opened);
            format!("&opened_after={opened}&serial_after={serial}")
        });
        let after = after.unwrap_or_default();
        let path = format!("/internal/v1/enrollments?limit={limit}&before={before}{after}");
        self.get(caller, path).await
    }

    async fn repeated_reenrollment(
        &self,
        caller: &Caller,
        superseded: &SerialNumber,
        csr_digest: &[u8; 32],
        since: OffsetDateTime,
    ) -> Result<Option<Certificate>, CaError> {
        let path = format!(
            "/internal/v1/reenrollments/{superseded}?csr_digest={}&since={}",
            hex::encode(csr_digest),
            time(since)
        );
        let FoundCertificate { found } = self.get(caller, path).await?;
        Ok(found.map(|found| *found))
    }

    async fn attach_certificate(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        attachment: Attachment,
        windows: RenewalWindows,
    ) -> Result<Certificate, CaError> {
        let path = certificate_path("/internal/v1", certificate, "/attachment");
        let body = AttachCertificate {
            attachment,
            windows,
        };
        self.send(caller, (Method::PUT, path), &body, Repeat::Once)
            .await
    }
}
