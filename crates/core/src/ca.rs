//! Certificate authorities: what the service promises and why it refuses.
//!
//! The service owns CAs, every certificate known to the platform, and issuance profiles. What the
//! wire shows of them is in [`certificate`] and [`profile`]; how enrollment spans this service and
//! the device manager without losing or leaking a certificate is in [`enrollment`].

mod alternative_name;
pub mod certificate;
mod certificate_ref;
mod change;
pub mod enrollment;
mod error;
pub mod job;
pub mod profile;
pub mod profile_member;
pub mod request;
mod retired;
mod stats;

use std::fmt;

use async_trait::async_trait;
use lamassu_x509::VerifiedCsr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::caller::Caller;
use crate::duration::WireDuration;
use crate::ids::{CaId, CaRequestId, EngineId, JobId, KeyRef, ProfileId, SerialNumber};
use crate::page::Page;
use crate::patch::PatchOperation;
use crate::pem::{CertificateDer, CsrDer};
use crate::query::{Filter, ListRequest};
use crate::subject::Subject;
use crate::timestamp::Timestamp;
use crate::usage::RevocationReason;
use crate::va::CrlShards;

pub use alternative_name::{AlternativeName, AlternativeNameError};
pub use certificate::{
    Certificate, CertificateAuthority, CertificateStatus, CertificateType, IssuerMetadata,
    KeyMetadata, KeyStrength,
};
pub use certificate_ref::{CertificateRef, UNKNOWN_ISSUER};
pub use change::{Cascade, CreateCertificate, ImportCa, ImportCertificate, RawMessage};
pub use enrollment::{Enrollment, EnrollmentMode, OpenEnrollment, Superseded};
pub use error::CaError;
pub use job::{Job, JobKind, JobStatus, RevokeCertificates};
pub use profile::{Allowance, CryptoEnforcement, IssuanceProfile, Validity, ValidityType};
pub use profile_member::{AllowedSan, Member, NameConstraints, SanType, Subtrees};
pub use request::{CaRequest, CaRequestStatus, CreateCaRequest};
pub use retired::RetiredCa;
pub use stats::{AuthorityCounts, CaStats, CertificateCounts, StatusCounts};

/// Which profile an operation uses.
#[derive(Clone, Debug, Default)]
pub enum ProfileChoice {
    /// The one sent with the request.
    Inline(Box<IssuanceProfile>),
    /// A stored one.
    Stored(ProfileId),
    /// The default one: of the issuing CA, or built in for CA certificates.
    #[default]
    Default,
}

/// Where the key of a new CA comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// An existing KMS key.
    Existing(KeyRef),
    /// A new one.
    New {
        /// Key type text, as sent.
        key_type: String,
        /// Bits.
        bits: u32,
        /// The default engine when empty.
        engine_id: EngineId,
    },
}

/// What a new CA shall be.
#[derive(Clone, Debug)]
pub struct CreateCa {
    /// A UUID is made when empty.
    pub id: CaId,
    /// The issuing CA; none for a root.
    pub parent: Option<CaId>,
    /// The subject.
    pub subject: Subject,
    /// The key.
    pub key: KeySource,
    /// Lifetime of the CA certificate where its profile is the default.
    pub expiration: Validity,
    /// Default profile of what the CA issues; required.
    pub profile_id: ProfileId,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// Profile of the CA certificate itself.
    pub ca_profile: ProfileChoice,
    /// Into how many shards, with CRLs of their own, its certificates are divided; `None` for one CRL.
    pub crl_shards: Option<CrlShards>,
}

/// A certificate to issue from a request.
#[derive(Clone, Debug)]
pub struct SignCsr {
    /// The request; its absence is answered like an unknown CA, as clients know it.
    pub csr: Option<CsrDer>,
    /// The profile.
    pub profile: ProfileChoice,
    /// Whether the request must prove possession of its key; the service's setting when `None`.
    pub verify_csr_signature: Option<bool>,
}

/// What OCSP and chain checks need to know of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusInfo {
    /// As stored.
    pub status: CertificateStatus,
    /// When it was revoked; zero when it is not.
    pub revocation_timestamp: Timestamp,
    /// Why it was revoked.
    pub revocation_reason: RevocationReason,
    /// `notAfter`.
    pub valid_to: Timestamp,
}

/// One entry of a CA's CRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokedEntry {
    /// The certificate.
    pub serial_number: SerialNumber,
    /// When it was revoked.
    pub revocation_timestamp: Timestamp,
    /// Why.
    pub revocation_reason: RevocationReason,
    /// Its `notAfter`; expired entries are pruned from CRLs.
    pub valid_to: Timestamp,
}

/// When a bound certificate is about to expire, as its DMS says; written to its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenewalWindows {
    /// Before `notAfter`: renew soon.
    pub preventive: WireDuration,
    /// Before `notAfter`: renew now.
    pub critical: WireDuration,
}

/// Certificate authorities, certificates and issuance profiles.
#[async_trait]
pub trait CaService: Send + Sync + fmt::Debug {
    /// Creates a root or subordinate CA.
    async fn create_ca(
        &self,
        caller: &Caller,
        request: CreateCa,
    ) -> Result<CertificateAuthority, CaError>;

    /// Takes in a CA that was made elsewhere, with its key or without, and links it with its
    /// issuing CA and with what it issued.
    async fn import_ca(
        &self,
        caller: &Caller,
        request: ImportCa,
    ) -> Result<CertificateAuthority, CaError>;

    /// The CA of this id.
    async fn ca(&self, caller: &Caller, id: &CaId) -> Result<CertificateAuthority, CaError>;

    /// Lists CAs.
    async fn cas(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError>;

    /// Lists CAs with exactly this subject common name.
    async fn cas_by_common_name(
        &self,
        caller: &Caller,
        common_name: &str,
        request: &ListRequest,
    ) -> Result<Page<CertificateAuthority>, CaError>;

    /// Revokes, holds, releases or expires a CA. Revocation and hold go down to everything that it
    /// issued; a release takes back the holds that came that way.
    async fn set_ca_status(
        &self,
        caller: &Caller,
        id: &CaId,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<CertificateAuthority, CaError>;

    /// Gives a CA another default profile.
    async fn set_ca_profile(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: &ProfileId,
    ) -> Result<CertificateAuthority, CaError>;

    /// Gives a CA a new certificate for the same key.
    async fn reissue_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: ProfileChoice,
    ) -> Result<CertificateAuthority, CaError>;

    /// Changes the metadata of a CA by a JSON Patch.
    async fn patch_ca_metadata(
        &self,
        caller: &Caller,
        id: &CaId,
        patches: Vec<PatchOperation>,
    ) -> Result<CertificateAuthority, CaError>;

    /// Deletes a CA and revokes what it issued; its certificates stay.
    async fn delete_ca(&self, caller: &Caller, id: &CaId, cascade: Cascade) -> Result<(), CaError>;

    /// Signs a message with a CA's key, for a client; recorded as an event.
    async fn sign_with_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        message: RawMessage,
    ) -> Result<Vec<u8>, CaError>;

    /// Whether a CA's key made this signature.
    async fn verify_with_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        message: RawMessage,
        signature: &[u8],
    ) -> Result<bool, CaError>;

    /// Counts CAs and certificates, each with the filters of a list.
    async fn stats(
        &self,
        caller: &Caller,
        cas: &[Filter],
        certificates: &[Filter],
    ) -> Result<CaStats, CaError>;

    /// Counts the certificates that a CA issued; none for unknown CAs.
    async fn stats_of_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        certificates: &[Filter],
    ) -> Result<StatusCounts, CaError>;
    /// Makes a key and a request for a CA that somebody else certifies. Importing a certificate
    /// for the key ends it.
    async fn create_ca_request(
        &self,
        caller: &Caller,
        request: CreateCaRequest,
    ) -> Result<CaRequest, CaError>;

    /// The request of this id.
    async fn ca_request(&self, caller: &Caller, id: &CaRequestId) -> Result<CaRequest, CaError>;

    /// Lists requests.
    async fn ca_requests(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<CaRequest>, CaError>;

    /// Deletes a request; while it is pending with the key that was made for it.
    async fn delete_ca_request(&self, caller: &Caller, id: &CaRequestId) -> Result<(), CaError>;

    /// Issues a certificate from a request.
    async fn sign_csr(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: SignCsr,
    ) -> Result<Certificate, CaError>;

    /// The certificate of this serial number.
    async fn certificate(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<Certificate, CaError>;

    /// The certificate of this serial number, looked up below this CA first.
    async fn certificate_of_ca(
        &self,
        caller: &Caller,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Certificate, CaError>;

    /// The certificate that is named: where a CA is named, only one that this CA issued.
    async fn certificate_named(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<Certificate, CaError>;

    /// Lists certificates.
    async fn certificates(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError>;

    /// Lists the certificates that a CA issued; unknown CAs are refused.
    async fn certificates_by_ca(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError>;

    /// Lists certificates by status, of one CA if named; unknown CAs and statuses give no rows.
    async fn certificates_by_status(
        &self,
        caller: &Caller,
        ca: Option<&CaId>,
        status: &str,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError>;

    /// Lists certificates that expire strictly between two times and are neither expired nor revoked.
    async fn certificates_by_expiration(
        &self,
        caller: &Caller,
        after: Timestamp,
        before: Timestamp,
        request: &ListRequest,
    ) -> Result<Page<Certificate>, CaError>;

    /// Revokes, holds, releases or expires a certificate.
    async fn set_certificate_status(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        status: CertificateStatus,
        reason: RevocationReason,
    ) -> Result<Certificate, CaError>;

    /// Changes the metadata of a certificate by a JSON Patch.
    async fn patch_certificate_metadata(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        patches: Vec<PatchOperation>,
    ) -> Result<Certificate, CaError>;

    /// Deletes a certificate whose issuing CA is gone.
    async fn delete_certificate(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<(), CaError>;

    /// Makes a certificate for a key of the KMS.
    async fn create_certificate(
        &self,
        caller: &Caller,
        request: CreateCertificate,
    ) -> Result<Certificate, CaError>;

    /// Takes in a certificate that was made elsewhere.
    async fn import_certificate(
        &self,
        caller: &Caller,
        request: ImportCertificate,
    ) -> Result<Certificate, CaError>;
    /// The certificate of a CA and those of the CAs above it, up to the root or as far as they are
    /// known.
    async fn ca_chain(&self, caller: &Caller, ca: &CaId) -> Result<Vec<CertificateDer>, CaError>;

    /// A certificate and those of the CAs above it.
    async fn certificate_chain(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
    ) -> Result<Vec<CertificateDer>, CaError>;

    /// Begins to revoke many certificates: those that fulfil the conditions now. Some are revoked
    /// before the answer; the job says how far it is.
    async fn revoke_certificates(
        &self,
        caller: &Caller,
        request: RevokeCertificates,
    ) -> Result<Job, CaError>;

    /// The job of this id.
    async fn job(&self, caller: &Caller, id: &JobId) -> Result<Job, CaError>;

    /// Lists jobs.
    async fn jobs(&self, caller: &Caller, request: &ListRequest) -> Result<Page<Job>, CaError>;

    /// Stores a profile under a new id.
    async fn create_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError>;

    /// The profile of this id.
    async fn profile(&self, caller: &Caller, id: &ProfileId) -> Result<IssuanceProfile, CaError>;

    /// Lists profiles.
    async fn profiles(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<IssuanceProfile>, CaError>;

    /// Replaces a profile.
    async fn update_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError>;

    /// Deletes a profile.
    async fn delete_profile(&self, caller: &Caller, id: &ProfileId) -> Result<(), CaError>;

    // What other services need and the public API does not offer.

    /// Every CA, for chain building and for the validation authority. `after` names the last CA
    /// of the previous call; at most `limit` are returned, ordered by id. CAs that cannot be read are left
    /// out; an empty answer is behind the last one.
    async fn authorities(
        &self,
        caller: &Caller,
        after: Option<&CaId>,
        limit: u32,
    ) -> Result<Vec<CertificateAuthority>, CaError>;

    /// The current status of a certificate that this CA issued. One indexed read.
    async fn certificate_status(
        &self,
        caller: &Caller,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Option<StatusInfo>, CaError>;

    /// The certificates that this CA issued and that are revoked now, ordered by serial number;
    /// `after` names the last one of the previous call.
    async fn revoked_certificates(
        &self,
        caller: &Caller,
        ca: &CaId,
        after: Option<&SerialNumber>,
        limit: u32,
    ) -> Result<Vec<RevokedEntry>, CaError>;

    /// Deleted CAs whose key waits for the CA's last CRL.
    async fn retired_cas(&self, caller: &Caller) -> Result<Vec<RetiredCa>, CaError>;

    /// Says that the last CRL of a deleted CA is made, or never will be: its key goes.
    async fn settle_retired_ca(&self, caller: &Caller, job: &JobId) -> Result<(), CaError>;

    /// Issues a certificate for a device, together with an open intent: see [`enrollment`].
    /// Possession of the key was decided by whoever made the request a [`VerifiedCsr`].
    async fn sign_for_enrollment(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: VerifiedCsr,
        profile: ProfileChoice,
        enrollment: Enrollment,
    ) -> Result<Certificate, CaError>;

    /// Closes the intent of a certificate that its device slot holds, and detaches and, where the
    /// intent says so, revokes the one it superseded; one write set, idempotent.
    async fn complete_enrollment(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError>;

    /// Revokes a certificate that no device received and closes its intent; idempotent.
    async fn abandon_enrollment(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError>;

    /// Intents opened before `before` and still open, oldest first; those behind `after`, if it is
    /// given: when the last one seen was opened, and its serial number.
    async fn open_enrollments(
        &self,
        caller: &Caller,
        before: OffsetDateTime,
        after: Option<(OffsetDateTime, SerialNumber)>,
        limit: u32,
    ) -> Result<Vec<OpenEnrollment>, CaError>;

    /// The certificate that a completed re-enrollment since `since` issued for the same request
    /// when it superseded `superseded`: a lost answer asked for again.
    async fn repeated_reenrollment(
        &self,
        caller: &Caller,
        superseded: &SerialNumber,
        csr_digest: &[u8; 32],
        since: OffsetDateTime,
    ) -> Result<Option<Certificate>, CaError>;

    /// Issues a certificate for signing OCSP answers in the CA's name (RFC 6960 section 4.2.2.2), with
    /// `id-pkix-ocsp-nocheck`, valid from now on for so long. The request must prove its key.
    async fn issue_ocsp_responder(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: CsrDer,
        validity: WireDuration,
    ) -> Result<Certificate, CaError>;

    /// Writes to a certificate's metadata which device it belongs to and when that one must renew
    /// (manual binding; enrollment writes both when it issues).
    async fn attach_certificate(
        &self,
        caller: &Caller,
        certificate: &CertificateRef,
        attachment: enrollment::Attachment,
        windows: RenewalWindows,
    ) -> Result<Certificate, CaError>;
}
