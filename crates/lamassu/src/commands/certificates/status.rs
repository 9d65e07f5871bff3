//! Revoking and holding certificates one by one, and what else changes them.

use anyhow::{Result, ensure};
use lamassu_core::ca::{CaService as _, Certificate, CertificateStatus};
use lamassu_core::usage::RevocationReason;

use super::ReasonArg;
use super::show::{find, print, serial};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::metadata::MetadataChanges;
use crate::commands::question::Question;
use crate::commands::values::subject;

pub(super) async fn revoke(
    session: &Session,
    serials: &[String],
    ReasonArg(reason): ReasonArg,
    question: Question,
) -> Result<()> {
    // All are looked up first: nothing is revoked where one of them is misspelt.
    let mut found = Vec::new();
    for serial in serials {
        found.push(find(session, serial).await?);
    }
    let names: Vec<_> = found.iter().map(|one| subject(&one.subject)).collect();
    let below = match found.iter().any(|one| one.is_ca) {
        true => " and what the CAs among them issued",
        false => "",
    };
    question.ask(&format!(
        "This revokes the certificates of {}{below}, for good.",
        names.join("; ")
    ))?;
    for one in found {
        let serial = one.serial_number.as_str();
        let revoked = set(session, serial, CertificateStatus::Revoked, reason).await?;
        print(session, &revoked)?;
    }
    Ok(())
}

pub(super) async fn hold(session: &Session, serial: &str) -> Result<()> {
    let reason = RevocationReason::CertificateHold;
    let held = set(session, serial, CertificateStatus::Revoked, reason).await?;
    print(session, &held)
}

pub(super) async fn release(session: &Session, serial: &str) -> Result<()> {
    let reason = RevocationReason::Unspecified;
    let released = set(session, serial, CertificateStatus::Active, reason).await?;
    print(session, &released)
}

async fn set(
    session: &Session,
    text: &str,
    status: CertificateStatus,
    reason: RevocationReason,
) -> Result<Certificate> {
    let serial = serial(text)?;
    let changed = session
        .ca
        .set_certificate_status(&session.caller, &serial, status, reason)
        .await;
    changed.about(About::new(Noun::Certificate, text))
}

pub(super) async fn update(
    session: &Session,
    text: &str,
    metadata: &MetadataChanges,
) -> Result<()> {
    let operations = metadata.operations();
    ensure!(
        !operations.is_empty(),
        "nothing to change: say --set or --unset"
    );
    let serial = serial(text)?;
    let changed = session
        .ca
        .patch_certificate_metadata(&session.caller, &serial, operations)
        .await;
    print(
        session,
        &changed.about(About::new(Noun::Certificate, text))?,
    )
}

pub(super) async fn delete(session: &Session, text: &str, question: Question) -> Result<()> {
    let found = find(session, text).await?;
    let serial = &found.serial_number;
    question.ask(&format!(
        "This deletes the certificate of {}, for good.",
        subject(&found.subject)
    ))?;
    session
        .ca
        .delete_certificate(&session.caller, serial)
        .await?;
    session.done(serial.as_str(), &format!("certificate {serial} is deleted"))
}
