//! Enrollments that were refused, for those who want to know why a device does not get through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, DmsId};
use crate::timestamp::Timestamp;

/// An enrollment or renewal that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedEnrollment {
    /// Its id.
    #[schemars(example = &"0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21")]
    pub id: String,
    /// The label that was asked for; there need be no such DMS.
    pub dms_id: DmsId,
    /// The device that the request names; empty when it names none.
    pub device_id: DeviceId,
    /// `simpleenroll` or `simplereenroll`.
    #[schemars(example = &"simpleenroll")]
    pub operation: String,
    /// What the device was told.
    #[schemars(example = &"invalid certificate")]
    pub reason: String,
    /// The word of the reason, if it has one.
    #[schemars(example = &"client_certificate_untrusted")]
    pub code: String,
    /// The HTTP status of the reason.
    #[schemars(example = 403)]
    pub status: u16,
    /// The common name of the certificate that was presented; empty when there was none.
    #[schemars(example = &"bootstrap")]
    pub certificate: String,
    /// The client's address; empty when it is not known.
    #[schemars(example = &"203.0.113.9")]
    pub address: String,
    /// The id of the request, as in the log.
    #[schemars(example = &"4bf92f3577b34da6a3ce929d0e0e4736")]
    pub request_id: String,
    /// When.
    pub creation_ts: Timestamp,
}
