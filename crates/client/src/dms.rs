//! The DMS manager of another process.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use lamassu_core::caller::Caller;
use lamassu_core::dms::{
    Approval, ApprovalRefusal, BindDevice, Binding, CreatePasswords, Decision, Dms, DmsError,
    DmsService, DmsStats, DryRun, DryRunReport, EnrollmentPassword, EstRequest, EstToken,
    GeneratedKey, NewPasswords, Outcome, RefusedEnrollment, SweepScope,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{ApprovalId, DmsId};
use lamassu_core::internal::dms::{
    CsrAttributes, DecisionBody, EstAnswer, INVALID_TOKEN, Sweep, Swept, WireEstRequest,
};
use lamassu_core::page::Page;
use lamassu_core::patch::{PatchBody, PatchOperation};
use lamassu_core::pem::CertificateDer;
use lamassu_core::percent::encode;
use lamassu_core::query::ListRequest;
use serde_json::Value;

use crate::peer::{Call, Peer, Service, internal};
use crate::profile_body::explicit;
use crate::retry::Repeat;

/// How much longer a call may take that has to wait for its turn and then for an RSA key of 8192 bits.
const KEY_GENERATION: Duration = Duration::from_secs(120);

/// The DMS manager of another process. EST goes through `/internal/v1`, because only this side's
/// TLS layer knows which certificates the client presented.
///
/// Repeated after a doubt: reads. Never repeated: creating, replacing (it may undo what somebody
/// else changed in between), binding by hand, enrolling, making keys, renewing, deciding, sweeping.
#[derive(Clone, Debug)]
pub struct DmsClient(Service);

impl DmsClient {
    /// The service at this peer.
    pub fn new(peer: &Peer) -> Self {
        Self(peer.service("dmsmanager"))
    }

    async fn est(
        &self,
        caller: &Caller,
        operation: &str,
        (request, extra_time): (EstRequest, Duration),
    ) -> Result<EstAnswer, DmsError> {
        let body = WireEstRequest::from(request);
        let path = format!("/internal/v1/est/{operation}");
        let call = Call::json(Method::POST, path, &body, Repeat::Once)?;
        self.0.read(caller, call.taking_longer(extra_time)).await
    }
}

/// An answer that says neither of the two things that it may say.
#[derive(Debug, thiserror::Error)]
#[error("the answer holds no certificate")]
struct Incomplete;

fn complete<T>(answer: Option<T>) -> Result<T, DmsError> {
    answer.ok_or_else(|| internal(Incomplete).into())
}

/// A DMS as a body, its inline profile with every no written out, and so what was cleared.
fn body(dms: &Dms) -> Result<Value, StorageFailure> {
    let mut body = serde_json::to_value(dms).map_err(internal)?;
    if let Some(profile) = &dms.settings.issuance_profile
        && let Some(settings) = body.get_mut("settings").and_then(Value::as_object_mut)
    {
        let profile = explicit(profile).map_err(internal)?;
        settings.insert("issuance_profile".to_owned(), profile);
    }
    for (object, member) in dms.settings.cleared() {
        let object = body.pointer_mut(&format!("/settings{object}"));
        if let Some(members) = object.and_then(Value::as_object_mut) {
            members.insert(member.to_owned(), Value::Null);
        }
    }
    Ok(body)
}

fn passwords_path(id: &DmsId) -> Result<String, DmsError> {
    if id.is_empty() {
        return Err(DmsError::DmsNotFound);
    }
    Ok(format!("/v1/dms/{}/passwords", encode(id.as_str())))
}

fn approval_path(id: &ApprovalId, rest: &str) -> Result<String, DmsError> {
    if id.is_empty() {
        return Err(ApprovalRefusal::NotFound.into());
    }
    Ok(format!("/v1/approvals/{}{rest}", encode(id.as_str())))
}

/// The path of what EST reads, for this label or without one.
fn est_path(operation: &str, label: Option<&DmsId>, token: Option<&EstToken>) -> String {
    let label = label.map(|label| format!("label={}", encode(label.as_str())));
    let is_invalid = token.is_some_and(|token| token.holder.is_none());
    let token = is_invalid.then(|| format!("token={INVALID_TOKEN}"));
    let query: Vec<_> = label.into_iter().chain(token).collect();
    format!("/internal/v1/est/{operation}?{}", query.join("&"))
}

#[async_trait]
impl DmsService for DmsClient {
    async fn create_dms(&self, caller: &Caller, dms: Dms) -> Result<Dms, DmsError> {
        let path = "/v1/dms".to_owned();
        let call = Call::json(Method::POST, path, &body(&dms)?, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn dms(&self, caller: &Caller, id: &DmsId) -> Result<Dms, DmsError> {
        if id.is_empty() {
            return Err(DmsError::DmsNotFound);
        }
        let path = format!("/v1/dms/{}", encode(id.as_str()));
        self.0.read(caller, Call::get(path)).await
    }

    async fn dms_list(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Dms>, DmsError> {
        let path = format!("/v1/dms?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn dms_stats(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<DmsStats, DmsError> {
        let path = format!("/v1/stats?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn update_dms(&self, caller: &Caller, dms: Dms) -> Result<Dms, DmsError> {
        if dms.id.is_empty() {
            return Err(DmsError::DmsNotFound);
        }
        let path = format!("/v1/dms/{}", encode(dms.id.as_str()));
        let call = Call::json(Method::PUT, path, &body(&dms)?, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn patch_dms_metadata(
        &self,
        caller: &Caller,
        id: &DmsId,
        operations: Vec<PatchOperation>,
    ) -> Result<Dms, DmsError> {
        if id.is_empty() {
            return Err(DmsError::DmsNotFound);
        }
        let path = format!("/v1/dms/{}/metadata", encode(id.as_str()));
        let body = PatchBody {
            patches: Some(operations),
        };
        let call = Call::json(Method::PATCH, path, &body, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn delete_dms(&self, caller: &Caller, id: &DmsId) -> Result<(), DmsError> {
        if id.is_empty() {
            return Err(DmsError::DmsNotFound);
        }
        let path = format!("/v1/dms/{}", encode(id.as_str()));
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call).await
    }

    async fn create_passwords(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: CreatePasswords,
    ) -> Result<NewPasswords, DmsError> {
        let path = passwords_path(id)?;
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn passwords(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: &ListRequest,
    ) -> Result<Page<EnrollmentPassword>, DmsError> {
        let path = format!("{}?{}", passwords_path(id)?, request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn revoke_password(
        &self,
        caller: &Caller,
        id: &DmsId,
        password: &str,
    ) -> Result<(), DmsError> {
        if password.is_empty() {
            return Err(DmsError::PasswordNotFound);
        }
        let path = format!("{}/{}", passwords_path(id)?, encode(password));
        // Revoked twice is revoked.
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.done(caller, call).await
    }

    async fn dry_run(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: DryRun,
    ) -> Result<DryRunReport, DmsError> {
        if id.is_empty() {
            return Err(DmsError::DmsNotFound);
        }
        let path = format!("/v1/dms/{}/dry-run", encode(id.as_str()));
        let call = Call::json(Method::POST, path, &request, Repeat::Safe)?;
        self.0.read(caller, call).await
    }

    async fn refused_enrollments(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<RefusedEnrollment>, DmsError> {
        let path = format!("/v1/refused-enrollments?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn bind_device(&self, caller: &Caller, request: BindDevice) -> Result<Binding, DmsError> {
        let path = "/v1/dms/bind-identity".to_owned();
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn ca_certs(
        &self,
        caller: &Caller,
        label: Option<&DmsId>,
        token: Option<&EstToken>,
    ) -> Result<Vec<CertificateDer>, DmsError> {
        let call = Call::get(est_path("cacerts", label, token));
        self.0.read(caller, call).await
    }

    async fn csr_attrs(
        &self,
        caller: &Caller,
        label: Option<&DmsId>,
        token: Option<&EstToken>,
    ) -> Result<Bytes, DmsError> {
        let call = Call::get(est_path("csrattrs", label, token));
        let CsrAttributes { der } = self.0.read::<_, DmsError>(caller, call).await?;
        Ok(der.0)
    }

    async fn enroll(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<Outcome<CertificateDer>, DmsError> {
        let request = (request, Duration::ZERO);
        let answer = self.est(caller, "simpleenroll", request).await?;
        complete(answer.into_certificate())
    }

    async fn server_keygen(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<Outcome<GeneratedKey>, DmsError> {
        let request = (request, KEY_GENERATION);
        let answer = self.est(caller, "serverkeygen", request).await?;
        complete(answer.into_generated_key())
    }

    async fn reenroll(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<CertificateDer, DmsError> {
        let request = (request, Duration::ZERO);
        let answer = self.est(caller, "simplereenroll", request).await?;
        match complete(answer.into_certificate())? {
            Outcome::Issued(certificate) => Ok(certificate),
            Outcome::Pending(_) => Err(internal(Incomplete).into()),
        }
    }

    async fn approval(&self, caller: &Caller, id: &ApprovalId) -> Result<Approval, DmsError> {
        let call = Call::get(approval_path(id, "")?);
        self.0.read(caller, call).await
    }

    async fn approvals(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Approval>, DmsError> {
        let path = format!("/v1/approvals?{}", request.to_query());
        self.0.read(caller, Call::get(path)).await
    }

    async fn decide_approval(
        &self,
        caller: &Caller,
        id: &ApprovalId,
        Decision { verdict, reason }: Decision,
    ) -> Result<Approval, DmsError> {
        let path = approval_path(id, &format!("/{verdict}"))?;
        let call = Call::json(Method::POST, path, &DecisionBody { reason }, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn sweep_enrollments(&self, caller: &Caller, scope: SweepScope) -> Result<u32, DmsError> {
        let path = "/internal/v1/sweeps".to_owned();
        let call = Call::json(Method::POST, path, &Sweep { scope }, Repeat::Once)?;
        let Swept { handled } = self.0.read::<_, DmsError>(caller, call).await?;
        Ok(handled)
    }
}
