//! What a DMS would say to a device, without anything being issued.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ca::EnrollmentMode;
use crate::pem::{CertificateDer, CsrDer};

/// A request to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({"operation": "enroll", "csr": "", "certificates": [], "ask_webhook": false}))]
pub struct DryRun {
    /// Which operation; `enroll` when absent.
    #[serde(default = "enroll")]
    pub operation: EnrollmentMode,
    /// The certification request.
    #[serde(default)]
    pub csr: CsrDer,
    /// The certificates that the device would present, its own first. That it has the key is taken for
    /// granted.
    #[serde(default)]
    pub certificates: Vec<CertificateDer>,
    /// Whether the webhook is asked, where the DMS has one; it cannot tell that nothing will be issued.
    #[serde(default)]
    pub ask_webhook: bool,
}

const fn enroll() -> EnrollmentMode {
    EnrollmentMode::Enroll
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({
    "accepted": false,
    "checks": [
        {"check": "request", "passed": true},
        {"check": "credential", "passed": false, "status": 403, "err": "invalid certificate",
            "code": "client_certificate_untrusted"},
    ],
}))]
pub struct DryRunReport {
    /// Whether every check passed that was tried. The CA still looks at the key when it issues.
    pub accepted: bool,
    /// Every check that could be made, in the order of an enrollment.
    pub checks: Vec<DryRunCheck>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunCheck {
    /// `request`, `protocol`, `credential`, `webhook`, `possession`, `device`, `renewal`, `profile`
    /// or `issuer`.
    pub check: String,
    /// Whether it passed; `null` where it was not tried, as passwords are not.
    pub passed: Option<bool>,
    /// The status that a device would get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The text that a device would get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<String>,
    /// The code that a device would get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
