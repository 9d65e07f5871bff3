//! Enrollments that somebody has to approve, under a DMS with `approval: manual`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ca::certificate::named_enum;
use crate::ids::{ApprovalId, DeviceId, DmsId};
use crate::pem::CsrDer;
use crate::timestamp::Timestamp;

named_enum! {
    /// Whether enrollments need somebody's approval.
    ApprovalMode {
        /// They do not.
        Automatic = "automatic",
        /// Each one does. Renewals do not.
        Manual = "manual",
    }
}

named_enum! {
    /// What is to be approved.
    ApprovalOperation {
        /// The certificate that the request asks for.
        Enroll = "simpleenroll",
        /// A certificate with a key that is made here.
        ServerKeygen = "serverkeygen",
    }
}

named_enum! {
    /// How far an approval is.
    ApprovalStatus {
        /// Nobody has decided.
        Pending = "PENDING",
        /// The device gets its certificate when it asks the next time.
        Approved = "APPROVED",
        /// The device is refused until the request expires.
        Denied = "DENIED",
        /// The device has its certificate.
        Issued = "ISSUED",
        /// Nobody decided in time, or the device did not come back in time.
        Expired = "EXPIRED",
    }
}

named_enum! {
    /// A decision.
    Verdict {
        /// The device may have its certificate.
        Approve = "approve",
        /// It may not.
        Deny = "deny",
    }
}

/// An enrollment that needs approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Id.
    pub id: ApprovalId,
    /// The DMS that it was sent to.
    pub dms_id: DmsId,
    /// The device that it names.
    pub device_id: DeviceId,
    /// What was asked for.
    pub operation: ApprovalOperation,
    /// How far it is.
    pub status: ApprovalStatus,
    /// The request; the same one has to come again.
    pub csr: CsrDer,
    /// Common name of the certificate that the device authenticated with; `""` without one.
    #[schemars(example = &"bootstrap-17")]
    pub requested_by: String,
    /// When it came first.
    pub creation_ts: Timestamp,
    /// When it is given up: undecided, approved and not fetched, or denied and forgotten.
    pub expiration_ts: Timestamp,
    /// When it was decided; zero before.
    pub decision_ts: Timestamp,
    /// Who decided; `""` before.
    #[schemars(example = &"jane")]
    pub decided_by: String,
    /// Why, in the words of whoever decided.
    #[schemars(example = &"serial number is on the delivery note")]
    pub reason: String,
    /// The certificate that it ended in, hex; `""` before.
    #[schemars(example = &"5b7f3c0d9a2e41c6b8d0f4e2a1c39b57")]
    pub certificate_serial_number: String,
}

/// A decision on an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The decision.
    pub verdict: Verdict,
    /// Why, for the record.
    pub reason: String,
}
