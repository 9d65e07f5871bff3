//! A status as people name it: a hold is one of its own, as it is in what is printed.

use clap::ValueEnum;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::usage::RevocationReason;

use crate::commands::listing::Conditions;

/// With which status something is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum StatusArg {
    /// In use.
    Active,
    /// Past its end.
    Expired,
    /// For good, or on hold.
    Revoked,
    /// Revoked until it is released.
    #[value(name = "ON-HOLD")]
    OnHold,
}

impl StatusArg {
    /// What the API calls it.
    const fn status(self) -> CertificateStatus {
        match self {
            Self::Active => CertificateStatus::Active,
            Self::Expired => CertificateStatus::Expired,
            Self::Revoked | Self::OnHold => CertificateStatus::Revoked,
        }
    }
}

impl Conditions {
    /// Adds that the certificate has this status, where one was given.
    #[must_use]
    pub(in crate::commands) fn with_status(self, asked: Option<StatusArg>) -> Self {
        let status = asked.map(|asked| asked.status().to_string());
        let hold = RevocationReason::CertificateHold.name();
        self.with("status[equal]", status.as_deref()).with(
            "revocation_reason[equal]",
            (asked == Some(StatusArg::OnHold)).then_some(hold),
        )
    }
}
