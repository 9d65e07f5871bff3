//! Revoking and holding certificates one by one, and what else changes them.

use anyhow::{Result, ensure};
use lamassu_core::ca::{CaService as _, Certificate, CertificateRef, CertificateStatus};
use lamassu_core::usage::RevocationReason;

use super::show::{find, print};
use super::{One, ReasonArg};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::metadata::MetadataChanges;
use crate::commands::question::Question;
use crate::commands::values::subject;

pub(super) async fn revoke(
    session: &Session,
    all: &[One],
    reason: ReasonArg,
    question: Question,
) -> Result<()> {
    // All are looked up first: nothing is revoked where one of them is misspelt.
    let mut found = Vec::new();
    for one in all {
        found.push(find(session, one).await?);
    }
    let names: Vec<_> = found.iter().map(|one| subject(&one.subject)).collect();
    let below = match found.iter().any(|one| one.is_ca) {
        true => " and what the CAs among them issued",
        false => "",
    };
    question.ask(&format!(
        "This revokes the certificates of {}{below}, {}.",
        names.join("; "),
        reason.for_good()
    ))?;
    let ReasonArg(reason) = reason;
    for one in &found {
        let revoked = set(session, &one.into(), CertificateStatus::Revoked, reason).await?;
        print(session, &revoked)?;
    }
    Ok(())
}

pub(super) async fn hold(session: &Session, one: &One) -> Result<()> {
    let reason = RevocationReason::CertificateHold;
    let held = set(session, &one.named()?, CertificateStatus::Revoked, reason).await?;
    print(session, &held)
}

pub(super) async fn release(session: &Session, one: &One) -> Result<()> {
    let reason = RevocationReason::Unspecified;
    let released = set(session, &one.named()?, CertificateStatus::Active, reason).await?;
    print(session, &released)
}

async fn set(
    session: &Session,
    named: &CertificateRef,
    status: CertificateStatus,
    reason: RevocationReason,
) -> Result<Certificate> {
    let changed = session
        .ca
        .set_certificate_status(&session.caller, named, status, reason)
        .await;
    changed.about(About::new(Noun::Certificate, named.serial_number.as_str()))
}

pub(super) async fn update(session: &Session, one: &One, metadata: &MetadataChanges) -> Result<()> {
    let operations = metadata.operations();
    ensure!(
        !operations.is_empty(),
        "nothing to change: say --set or --unset"
    );
    let named = one.named()?;
    let changed = session
        .ca
        .patch_certificate_metadata(&session.caller, &named, operations)
        .await;
    print(
        session,
        &changed.about(About::new(Noun::Certificate, &named))?,
    )
}

pub(super) async fn delete(session: &Session, one: &One, question: Question) -> Result<()> {
    let found = find(session, one).await?;
    let serial = &found.serial_number;
    question.ask(&format!(
        "This deletes the certificate of {}, for good.",
        subject(&found.subject)
    ))?;
    session
        .ca
        .delete_certificate(&session.caller, &(&found).into())
        .await?;
    session.done(serial.as_str(), &format!("certificate {serial} is deleted"))
}
