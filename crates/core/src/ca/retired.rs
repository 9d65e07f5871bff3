//! Deleted CAs whose key is still there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Certificate;
use crate::ids::{CaId, JobId};
use crate::timestamp::Timestamp;

/// A CA that is deleted, and whose key waits for the CA's last CRL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetiredCa {
    /// The job that deletes it.
    pub job: JobId,
    /// The id that it had; another CA may have it by now.
    pub ca: CaId,
    /// Its last certificate.
    pub certificate: Certificate,
    /// When the last of the certificates that it issued ends.
    pub last_end: Timestamp,
}
