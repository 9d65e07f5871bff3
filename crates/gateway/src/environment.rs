//! How strict an installation is by default.

use serde::{Deserialize, Serialize};

/// The kind of installation, as `--environment` or the configuration says.
///
/// Nothing given is none of these: plain HTTP is as restricted as in production, but what binds
/// others for long (HSTS) is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine: plain HTTP serves everything.
    Development,
    /// Like production, before it.
    Staging,
    /// Real devices.
    Production,
}
