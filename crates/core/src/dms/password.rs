//! Enrollment passwords: HTTP Basic (RFC 7030 3.2.3) for devices without a certificate.
//!
//! Passwords are made here, 128 random bits each, and shown once; what is stored is a keyed digest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::duration::WireDuration;
use crate::ids::{DeviceId, DmsId};
use crate::timestamp::Timestamp;

/// Most passwords that are made at once.
pub const MAX_PASSWORDS: usize = 1_000;

/// Passwords to make: one for each device that is named, or so many for any device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({"device_ids": ["sensor-0001", "sensor-0002"], "expires_in": "30d"}))]
pub struct CreatePasswords {
    /// Each device that gets one, which is good for that device only; its id is the user name.
    #[schemars(example = ["sensor-0001"])]
    pub device_ids: Vec<DeviceId>,
    /// How many that are good for any device; without `device_ids` only.
    #[schemars(example = 1)]
    pub count: u32,
    /// The user name of those; each has its own id for one when empty.
    #[schemars(example = &"line-7")]
    pub username: String,
    /// How often each may be used; once when 0.
    #[schemars(example = 1)]
    pub max_uses: u32,
    /// How long each is good; until it is revoked when zero.
    #[schemars(example = &"30d")]
    pub expires_in: WireDuration,
}

/// A password that was made, the only time that it is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewPassword {
    /// Its id.
    #[schemars(example = &"0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21")]
    pub id: String,
    /// The user name.
    #[schemars(example = &"sensor-0001")]
    pub username: String,
    /// The device that it is good for; empty when for any.
    pub device_id: DeviceId,
    /// The password.
    #[schemars(example = &"5b7f3c0d9a2e41c6b8d0f4e2a1c39b57")]
    pub password: String,
}

/// The password is not printed.
impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewPassword")
            .field("id", &self.id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Passwords that were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewPasswords {
    /// Each, in the order of the request.
    pub list: Vec<NewPassword>,
}

/// A password as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollmentPassword {
    /// Its id.
    #[schemars(example = &"0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21")]
    pub id: String,
    /// The DMS that it is for.
    pub dms_id: DmsId,
    /// The user name.
    #[schemars(example = &"sensor-0001")]
    pub username: String,
    /// The device that it is good for; empty when for any.
    pub device_id: DeviceId,
    /// How often it may be used.
    #[schemars(example = 1)]
    pub max_uses: u32,
    /// How often it was used.
    #[schemars(example = 0)]
    pub uses: u32,
    /// When it was made.
    pub creation_ts: Timestamp,
    /// Until when it is good; absent when without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_ts: Option<Timestamp>,
    /// When it was revoked; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_ts: Option<Timestamp>,
}
