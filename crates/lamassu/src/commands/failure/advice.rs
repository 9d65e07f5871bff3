//! Advice about refusals whose text is for programs.

use anyhow::Error;
use lamassu_core::ca::CaError;
use lamassu_core::device::DeviceError;
use lamassu_core::device_group::DeviceGroupError;
use lamassu_core::dms::{ApprovalRefusal, DmsError};
use lamassu_core::kms::KmsError;
use lamassu_core::va::VaError;

use super::cause;

/// What makes a device that is taken.
pub(in crate::commands) const WELL_FORMED: &str =
    "an id has at most 512 bytes and no control characters, and a device belongs to a DMS";

/// What to do, where the refusal itself does not say it.
pub(super) fn on(error: &Error) -> Option<&'static str> {
    cause::<CaError>(error)
        .and_then(of_ca)
        .or_else(|| cause::<KmsError>(error).and_then(of_kms))
        .or_else(|| cause::<DeviceError>(error).and_then(of_device))
        .or_else(|| cause::<DmsError>(error).and_then(of_dms))
        .or_else(|| cause::<DeviceGroupError>(error).and_then(of_group))
        .or_else(|| cause::<VaError>(error).and_then(of_va))
}

fn of_ca(error: &CaError) -> Option<&'static str> {
    Some(match error {
        CaError::CaStatus => {
            "an ACTIVE CA issues; a REVOKED or EXPIRED one, or one without key here, can be deleted"
        }
        CaError::StatusTransition => {
            "what is revoked stays so, unless it is on hold; EXPIRED becomes REVOKED at most"
        }
        CaError::ProfileNotFound | CaError::ProfileGone(_) => {
            "the CA has no profile of its own: say --profile, or give it one by `lamassu cas update`"
        }
        CaError::Validation => "a value is missing or cannot be used",
        CaError::CsrSignature => "it was not signed by the key that is in it, or was changed since",
        CaError::IssuerExists => "certificates go once their CA is deleted",
        CaError::AmbiguousSerial(_) => {
            "say which by --ca, or by --fingerprint where the issuers are not known"
        }
        CaError::KmsRefused(error) | CaError::KeyNotImported(error) => return of_kms(error),
        _ => return None,
    })
}

fn of_device(error: &DeviceError) -> Option<&'static str> {
    Some(match error {
        DeviceError::Validation => WELL_FORMED,
        DeviceError::Exists => "`lamassu devices show` shows it",
        DeviceError::Decommissioned => "it is decommissioned, which stays so",
        DeviceError::NotDecommissioned => "`lamassu devices decommission` retires it first",
        DeviceError::SlotChanged => "somebody else was faster: look at it again",
        _ => return None,
    })
}

fn of_dms(error: &DmsError) -> Option<&'static str> {
    Some(match error {
        DmsError::DmsExists => "`lamassu dms update` changes it",
        DmsError::CaProfile => "say another --profile",
        DmsError::CommonNameMismatch => {
            "a certificate belongs to the device that its common name names"
        }
        DmsError::PasswordNotFound => "`lamassu dms passwords list` lists them",
        DmsError::Approval(ApprovalRefusal::NotPending) => {
            "`lamassu approvals show` says what became of it"
        }
        DmsError::Device(error) => return of_device(error),
        DmsError::Ca(error) | DmsError::Misconfigured(error) => return of_ca(error),
        _ => return None,
    })
}

fn of_group(error: &DeviceGroupError) -> Option<&'static str> {
    Some(match error {
        DeviceGroupError::Exists => "a name belongs to one group",
        DeviceGroupError::HasChildren => {
            "--children cascade deletes them, too, --children reparent moves them up"
        }
        DeviceGroupError::Validation => "a value is missing or cannot be used",
        _ => return None,
    })
}

fn of_va(error: &VaError) -> Option<&'static str> {
    let is_roleless = matches!(error, VaError::RoleNotFound);
    is_roleless.then_some("CRLs of a CA whose key is not here are not made here")
}

fn of_kms(error: &KmsError) -> Option<&'static str> {
    Some(match error {
        KmsError::KeyDisabled => "`lamassu keys enable` lets it sign again",
        KmsError::KeyTypeUnsupported { .. } | KmsError::KeySizeUnsupported { .. } => {
            "`lamassu keys engines` lists what each engine takes"
        }
        KmsError::AliasExists => "an alias belongs to one key",
        KmsError::PrivateKeyUnreadable => {
            "PEM or DER is read, PKCS#8, PKCS#1 or SEC 1; `openssl pkey` decrypts an encrypted key"
        }
        KmsError::EngineUnsupported(_) => {
            "the engine does not give private keys away, or cannot do it"
        }
        KmsError::KeyInUse => {
            "`lamassu keys show` lists them; `lamassu keys disable` keeps the key from signing"
        }
        _ => return None,
    })
}
