//! Good, revoked or not known: how it is printed, and told to scripts by the exit code.

use anyhow::Result;
use lamassu_core::timestamp::Timestamp;
use lamassu_x509::Certificate;
use lamassu_x509::crl::CrlReason;
use serde::Serialize;
use time::OffsetDateTime;

use super::output::OutputArgs;
use super::values::{at, name};

/// Whether a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It is not.
    Good,
    /// It is.
    Revoked,
    /// Who was asked does not know.
    Unknown,
}

/// What a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListKind {
    /// All that its issuer revoked.
    Complete,
    /// What changed since a complete one.
    Delta,
    /// A part of the certificates.
    Shard,
}

impl std::fmt::Display for ListKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Complete => "the complete list",
            Self::Delta => "the delta CRL",
            Self::Shard => "the list of a shard",
        })
    }
}

/// The exit code of a command that found a certificate revoked, or nobody who knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExitWith(pub(crate) u8);

impl std::fmt::Display for ExitWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for ExitWith {}

/// What is known about a certificate.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    status: Status,
    serial_number: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_date: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// On which list, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    found_in: Option<ListKind>,
    this_update: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<Timestamp>,
    /// Where it is from.
    source: String,
}

/// When something was true, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) this_update: OffsetDateTime,
    pub(super) next_update: Option<OffsetDateTime>,
}

impl Verdict {
    pub(super) fn new(
        status: Status,
        certificate: &Certificate,
        times: Times,
        source: &str,
    ) -> Self {
        Self {
            status,
            serial_number: certificate.serial().to_hex(),
            subject: name(certificate.subject()),
            revocation_date: None,
            reason: None,
            found_in: None,
            this_update: times.this_update.into(),
            next_update: times.next_update.map(Timestamp::from),
            source: source.to_owned(),
        }
    }

    /// Since when and why it is revoked.
    #[must_use]
    pub(super) fn since(self, date: OffsetDateTime, reason: CrlReason) -> Self {
        Self {
            revocation_date: Some(date.into()),
            reason: Some(format!("{reason:?}")),
            ..self
        }
    }

    /// On which kind of list it was found.
    #[must_use]
    pub(super) fn found_in(self, kind: ListKind) -> Self {
        Self {
            found_in: Some(kind),
            ..self
        }
    }

    /// Prints it, and ends with its exit code: 0 good, 3 revoked, 4 unknown.
    ///
    /// # Errors
    /// [`ExitWith`], or it cannot be printed.
    pub(super) fn tell(&self, output: OutputArgs) -> Result<()> {
        let (word, code) = match self.status {
            Status::Good => ("good", 0),
            Status::Revoked => ("revoked", 3),
            Status::Unknown => ("unknown", 4),
        };
        output.print(self, word, || {
            let mut record = vec![
                ("status", word.to_owned()),
                ("serial number", self.serial_number.clone()),
                ("subject", self.subject.clone()),
                ("as of", at(self.this_update)),
                ("until", self.next_update.map(at).unwrap_or_default()),
                ("source", self.source.clone()),
            ];
            if let (Some(date), Some(reason)) = (self.revocation_date, &self.reason) {
                record.insert(1, ("revoked", at(date)));
                record.insert(2, ("reason", reason.clone()));
            }
            if let Some(kind) = self.found_in {
                record.push(("found in", kind.to_string()));
            }
            record
        })?;
        match code {
            0 => Ok(()),
            code => Err(ExitWith(code).into()),
        }
    }
}
