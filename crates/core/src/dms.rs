//! Device manufacturing systems: enrollment policy of a fleet, and EST (RFC 7030) under it.
//!
//! One DMS is one EST label. What the wire shows of it is in [`settings`].

pub mod approval;
mod dry_run;
mod error;
mod est;
mod origin;
mod password;
mod policy_refusal;
mod refusal;
mod refused;
pub mod settings;
pub mod webhook;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ca::Certificate;
use crate::caller::Caller;
use crate::device::Device;
use crate::ids::{ApprovalId, DeviceId, DmsId};
use crate::page::Page;
use crate::patch::PatchOperation;
use crate::pem::CertificateDer;
use crate::query::ListRequest;
use crate::timestamp::Timestamp;

pub use approval::{Approval, Decision};
pub use dry_run::{DryRun, DryRunCheck, DryRunReport};
pub use error::{BearerTokens, CertificateRefusal, DmsError};
pub use est::{DeliveredKey, EstRequest, GeneratedKey, Outcome};
pub use origin::{EstOrigin, EstToken, TokenHolder};
pub use password::{CreatePasswords, EnrollmentPassword, MAX_PASSWORDS, NewPassword, NewPasswords};
pub use policy_refusal::{CredentialRefusal, DeviceRefusal, RenewalRefusal, WebhookRefusal};
pub use refusal::{ApprovalRefusal, ChannelBindingRefusal, KeygenRefusal};
pub use refused::RefusedEnrollment;
pub use settings::DmsSettings;

/// A DMS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dms {
    /// Id and EST label.
    pub id: DmsId,
    /// Free text.
    #[schemars(example = &"Assembly line 1")]
    pub name: String,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub creation_ts: Timestamp,
    /// The policy.
    pub settings: DmsSettings,
}

/// Numbers of DMSs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DmsStats {
    /// All of them.
    #[schemars(example = 3)]
    pub total: u64,
}

/// A certificate to bind to a device by hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BindDevice {
    /// The device.
    pub device_id: DeviceId,
    /// The certificate, hex.
    #[schemars(example = &"5b7f3c0d9a2e41c6b8d0f4e2a1c39b57")]
    pub certificate_serial_number: String,
    /// Event type recorded in the slot; `PROVISIONED` when empty.
    #[schemars(example = &"PROVISIONED")]
    pub bind_mode: String,
}

/// What a binding touched; the device as it was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// The certificate, attached.
    pub certificate: Certificate,
    /// The DMS that owns the device.
    pub dms: Dms,
    /// The device before the binding.
    pub device: Device,
}

/// DMSs and enrollment.
#[async_trait]
pub trait DmsService: Send + Sync + fmt::Debug {
    /// Creates a DMS; `creation_ts` of the argument is ignored.
    async fn create_dms(&self, caller: &Caller, dms: Dms) -> Result<Dms, DmsError>;

    /// The DMS of this id.
    async fn dms(&self, caller: &Caller, id: &DmsId) -> Result<Dms, DmsError>;

    /// Lists DMSs.
    async fn dms_list(&self, caller: &Caller, request: &ListRequest)
    -> Result<Page<Dms>, DmsError>;

    /// Counts DMSs, with the filters of a list.
    async fn dms_stats(&self, caller: &Caller, request: &ListRequest)
    -> Result<DmsStats, DmsError>;

    /// Replaces name, metadata and settings.
    async fn update_dms(&self, caller: &Caller, dms: Dms) -> Result<Dms, DmsError>;

    /// Changes the metadata of a DMS by a patch.
    async fn patch_dms_metadata(
        &self,
        caller: &Caller,
        id: &DmsId,
        operations: Vec<PatchOperation>,
    ) -> Result<Dms, DmsError>;

    /// Deletes a DMS. Its devices and their certificates stay; they cannot be renewed under it.
    async fn delete_dms(&self, caller: &Caller, id: &DmsId) -> Result<(), DmsError>;

    /// Makes enrollment passwords, and shows them this once.
    async fn create_passwords(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: CreatePasswords,
    ) -> Result<NewPasswords, DmsError>;

    /// Lists the enrollment passwords of a DMS.
    async fn passwords(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: &ListRequest,
    ) -> Result<Page<EnrollmentPassword>, DmsError>;

    /// Revokes an enrollment password; one that is revoked stays so.
    async fn revoke_password(
        &self,
        caller: &Caller,
        id: &DmsId,
        password: &str,
    ) -> Result<(), DmsError>;

    /// What the DMS would say to a device. Nothing is issued, used up or stored.
    async fn dry_run(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: DryRun,
    ) -> Result<DryRunReport, DmsError>;

    /// Lists enrollments that were refused lately.
    async fn refused_enrollments(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<RefusedEnrollment>, DmsError>;

    /// Binds a certificate to a device by hand.
    async fn bind_device(&self, caller: &Caller, request: BindDevice) -> Result<Binding, DmsError>;

    /// `cacerts`, RFC 7030 4.1: the certificates to distribute, in order, each once.
    async fn ca_certs(
        &self,
        caller: &Caller,
        label: Option<&DmsId>,
        token: Option<&EstToken>,
    ) -> Result<Vec<CertificateDer>, DmsError>;

    /// `csrattrs`, RFC 7030 4.5 as RFC 8951 and 9908 amend it: DER of CsrAttrs.
    async fn csr_attrs(
        &self,
        caller: &Caller,
        label: Option<&DmsId>,
        token: Option<&EstToken>,
    ) -> Result<Bytes, DmsError>;

    /// `simpleenroll`, RFC 7030 4.2.1: the certificate issued.
    async fn enroll(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<Outcome<CertificateDer>, DmsError>;

    /// `serverkeygen`, RFC 7030 4.4: a key made for the device, and its certificate. The key is
    /// stored nowhere.
    async fn server_keygen(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<Outcome<GeneratedKey>, DmsError>;

    /// `simplereenroll`, RFC 7030 4.2.2: the certificate issued.
    async fn reenroll(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<CertificateDer, DmsError>;

    /// The approval of this id.
    async fn approval(&self, caller: &Caller, id: &ApprovalId) -> Result<Approval, DmsError>;

    /// Lists approvals.
    async fn approvals(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Approval>, DmsError>;

    /// Decides on a pending approval.
    async fn decide_approval(
        &self,
        caller: &Caller,
        id: &ApprovalId,
        decision: Decision,
    ) -> Result<Approval, DmsError>;

    /// Completes or abandons what crashes left between the two commits of an enrollment: intents
    /// older than a request may last. Gives how many it handled.
    async fn sweep_enrollments(&self, caller: &Caller, scope: SweepScope) -> Result<u32, DmsError>;
}

/// Which open intents a sweep may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SweepScope {
    /// Every one: nobody else runs (start-up, with the data directory locked).
    All,
    /// Those older than the longest request may last.
    Stale,
}
