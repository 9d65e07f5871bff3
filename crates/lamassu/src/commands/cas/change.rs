//! What changes a CA that is there.

use anyhow::{Result, ensure};
use lamassu_core::ca::{CaService as _, Cascade, CertificateStatus, CertificateType};
use lamassu_core::ids::CaId;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::{CrlOptions, VaService as _};

use super::show::{find, print, print_whole};
use super::{UpdateCa, below};
use crate::commands::Session;
use crate::commands::certificates::{ReasonArg, tell_doubts};
use crate::commands::failure::{About, Refusal as _};
use crate::commands::output::note;
use crate::commands::profiles::{choice, id_of};
use crate::commands::question::Question;

pub(super) async fn update(session: &Session, asked: &UpdateCa) -> Result<()> {
    let metadata = asked.metadata.operations();
    ensure!(
        asked.profile.is_some() || asked.delta_crls.is_some() || !metadata.is_empty(),
        "nothing to change: say --profile, --delta-crls, --set or --unset"
    );
    let mut ca = find(session, &asked.ca).await?;
    let id = ca.id.clone();
    if let Some(profile) = &asked.profile {
        let profile = id_of(session, profile).await?;
        ca = session
            .ca
            .set_ca_profile(&session.caller, &id, &profile)
            .await?;
    }
    if !metadata.is_empty() {
        ca = session
            .ca
            .patch_ca_metadata(&session.caller, &id, metadata)
            .await?;
    }
    if let Some(validity) = &asked.delta_crls {
        let ski = &ca.certificate.subject_key_id;
        let role = session.va.role(&session.caller, ski).await?;
        let options = CrlOptions {
            delta_validity: validity.clone(),
            ..role.crl_options
        };
        session
            .va
            .set_role_options(&session.caller, ski, options)
            .await?;
    }
    print_whole(session, &ca).await
}

pub(super) async fn reissue(session: &Session, ca: &str, profile: Option<&str>) -> Result<()> {
    let profile = choice(session, profile).await?;
    let reissued = session
        .ca
        .reissue_ca(&session.caller, &CaId::from(ca), profile)
        .await;
    let reissued = reissued.about(About::ca(ca))?;
    tell_doubts(session, &reissued.certificate).await;
    print(session, &reissued)
}

pub(super) async fn revoke(
    session: &Session,
    ca: &str,
    reason: ReasonArg,
    question: Question,
) -> Result<()> {
    let ReasonArg(for_what) = reason;
    ensure!(
        for_what != RevocationReason::CertificateHold,
        "CertificateHold can be taken back: that is `lamassu cas hold`"
    );
    let found = find(session, ca).await?;
    let below = below::told(session, &found.id).await;
    let enrolling = below::enrolling(session, &found.id).await;
    question.ask(&format!(
        "This revokes the CA {ca:?} with {below}, {}.{enrolling}",
        reason.for_good()
    ))?;
    set_status(session, ca, CertificateStatus::Revoked, for_what).await
}

pub(super) async fn hold(session: &Session, ca: &str) -> Result<()> {
    let reason = RevocationReason::CertificateHold;
    set_status(session, ca, CertificateStatus::Revoked, reason).await
}

pub(super) async fn release(session: &Session, ca: &str) -> Result<()> {
    let reason = RevocationReason::Unspecified;
    set_status(session, ca, CertificateStatus::Active, reason).await
}

async fn set_status(
    session: &Session,
    ca: &str,
    status: CertificateStatus,
    reason: RevocationReason,
) -> Result<()> {
    let id = CaId::from(ca);
    let changed = session
        .ca
        .set_ca_status(&session.caller, &id, status, reason)
        .await;
    print(session, &changed.about(About::ca(ca))?)?;
    // Up to 1,000 certificates follow before the answer.
    let issued = session.ca.stats_of_ca(&session.caller, &id, &[]).await;
    if issued.is_ok_and(|n| n.active + n.expired + n.revoked > 1_000) {
        note("what it issued follows as a job: `lamassu certificates jobs` shows how far that is");
    }
    Ok(())
}

/// As the flag says.
pub(super) fn cascade(wanted: bool) -> Cascade {
    if wanted { Cascade::Yes } else { Cascade::No }
}

pub(super) async fn delete(
    session: &Session,
    ca: &str,
    cascade: Cascade,
    question: Question,
) -> Result<()> {
    let certificate = find(session, ca).await?.certificate;
    // The server would refuse it behind the question.
    ensure!(
        certificate.status != CertificateStatus::Active
            || certificate.certificate_type == CertificateType::ImportedWithoutKey,
        "the CA {ca} is ACTIVE: `lamassu cas revoke {ca}` revokes it and what it issued, and then it can be deleted"
    );
    let keys = match cascade {
        Cascade::Yes => "and those below it with their keys",
        Cascade::No => "with its key",
    };
    let below = below::told(session, &CaId::from(ca)).await;
    let enrolling = below::enrolling(session, &CaId::from(ca)).await;
    question.ask(&format!(
        "This deletes the CA {ca:?} {keys}, and revokes {below}, for good.{enrolling}"
    ))?;
    let deleted = session
        .ca
        .delete_ca(&session.caller, &CaId::from(ca), cascade)
        .await;
    deleted.about(About::ca(ca))?;
    session.done(ca, &format!("CA {ca} is deleted"))
}
