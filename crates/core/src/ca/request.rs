//! Subordinate CAs that somebody else certifies: a key of ours and a request for its certificate.
//!
//! The request waits until a certificate for its key is imported as a CA.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::certificate::named_enum;
use super::{KeyMetadata, KeySource};
use crate::ids::{CaRequestId, EngineId, KeyId};
use crate::pem::CsrDer;
use crate::subject::Subject;
use crate::timestamp::Timestamp;

named_enum! {
    /// How far a request is.
    CaRequestStatus {
        /// Nobody has brought a certificate for its key yet.
        Pending = "PENDING",
        /// A certificate for its key was imported.
        Issued = "ISSUED",
    }
}

/// What a new request shall be.
#[derive(Clone, Debug)]
pub struct CreateCaRequest {
    /// A UUID is made when empty.
    pub id: CaRequestId,
    /// The subject that is asked for.
    pub subject: Subject,
    /// The key.
    pub key: KeySource,
    /// Free object.
    pub metadata: Map<String, Value>,
}

/// A request for a CA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaRequest {
    /// Id.
    pub id: CaRequestId,
    /// The key that is to be certified.
    pub key_id: KeyId,
    /// The engine that holds it.
    pub engine_id: EngineId,
    /// The subject that is asked for.
    pub subject: Subject,
    /// Type, size and strength of the key.
    pub key_metadata: KeyMetadata,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub creation_ts: Timestamp,
    /// How far it is.
    pub status: CaRequestStatus,
    /// Hex SHA-256 of the certificate that ended it; `""` while it is pending.
    #[schemars(example = &"")]
    pub fingerprint: String,
    /// The request to hand to whoever signs.
    pub csr: CsrDer,
}
