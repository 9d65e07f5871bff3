//! Long work of the CA service: begun by a request, done in batches, seen in progress.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::named_enum;
use crate::ids::{CaId, JobId, ProfileId};
use crate::query::Filter;
use crate::timestamp::Timestamp;
use crate::usage::RevocationReason;

named_enum! {
    /// What a job does.
    JobKind {
        /// Revokes certificates.
        RevokeCertificates = "REVOKE_CERTIFICATES",
        /// Revokes what a revoked CA issued.
        CascadeRevoke = "CASCADE_REVOKE",
        /// Holds what a CA on hold issued.
        CascadeHold = "CASCADE_HOLD",
        /// Releases what was held because of a CA.
        CascadeRelease = "CASCADE_RELEASE",
        /// Revokes what a deleted CA issued, and destroys its key.
        DeleteCa = "DELETE_CA",
    }
}

named_enum! {
    /// How far a job is.
    JobStatus {
        /// It goes on.
        Running = "RUNNING",
        /// Nothing is left to do.
        Done = "DONE",
        /// It was given up.
        Failed = "FAILED",
    }
}

/// A job as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// A UUID.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// How far it is.
    pub status: JobStatus,
    /// How many things it is about, as they were counted when it began.
    #[schemars(example = 1200)]
    pub total: i64,
    /// How many are as they shall be.
    #[schemars(example = 800)]
    pub done: i64,
    /// How many cannot be.
    #[schemars(example = 0)]
    pub failed: i64,
    /// When it began.
    pub creation_ts: Timestamp,
    /// Why it was given up; `""` otherwise.
    #[schemars(example = &"")]
    pub error: String,
}

/// Which certificates to revoke, and why. All restrictions hold together; without any, nothing is
/// revoked. The certificates of CAs are never among them: their revocation has consequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeCertificates {
    /// Those that this CA issued.
    pub ca_id: Option<CaId>,
    /// Those that were issued under this stored profile.
    pub profile_id: Option<ProfileId>,
    /// Those that are known since later than this; zero for no bound.
    pub issued_after: Timestamp,
    /// Those that are known since earlier than this; zero for no bound.
    pub issued_before: Timestamp,
    /// Those that fulfil the filters of a list.
    pub filters: Vec<Filter>,
    /// Why.
    pub reason: RevocationReason,
}
