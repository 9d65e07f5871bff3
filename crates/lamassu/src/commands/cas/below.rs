//! What goes with a CA that is revoked or deleted, in the words of a question.

use lamassu_core::ca::{CaService as _, CertificateAuthority, CertificateStatus, StatusCounts};
use lamassu_core::dms::{Dms, DmsService as _};
use lamassu_core::ids::CaId;
use lamassu_core::usage::RevocationReason;

use crate::commands::Session;
use crate::commands::fields::{AUTHORITY_FIELDS, CERTIFICATE_FIELDS, DMS_FIELDS};
use crate::commands::listing::{self, Conditions};

/// CAs that are asked about at most, two requests each.
const COUNTED: usize = 100;

/// How much that is. Whoever may not count it may still do it.
pub(super) async fn told(session: &Session, ca: &CaId) -> String {
    counted(session, ca)
        .await
        .unwrap_or_else(|| "all CAs below it and the certificates of all of them".to_owned())
}

async fn counted(session: &Session, ca: &CaId) -> Option<String> {
    // Those that signed each other end.
    let mut all = vec![ca.clone()];
    let (mut n_cas, mut n_active, mut n_held) = (0_usize, 0_i64, 0_i64);
    let mut visited = 0;
    while let Some(above) = all.get(visited).cloned() {
        visited = visited.saturating_add(1);
        let issued = end_entities(session, &above, Conditions::default()).await?;
        n_active = n_active.saturating_add(issued.active);
        if issued.revoked > 0 {
            let hold = RevocationReason::CertificateHold.name();
            let held = Conditions::default().with("revocation_reason[equal]", Some(hold));
            let held = end_entities(session, &above, held).await?;
            // One that was on hold may keep that as its reason.
            n_held = n_held.saturating_add(held.revoked);
        }
        for child in issued_by(session, &above).await? {
            if all.contains(&child.id) {
                continue;
            }
            n_cas = n_cas.saturating_add(usize::from(is_in_use(&child)));
            all.push(child.id);
        }
        if all.len() > COUNTED {
            return None;
        }
    }
    let certificates = match n_held {
        0 => format!("the {n_active} active certificates"),
        _ => format!("the {n_active} active certificates and the {n_held} on hold"),
    };
    Some(match n_cas {
        0 => format!("{certificates} that it issued"),
        _ => format!("the {n_cas} CAs below it and {certificates} of all of them"),
    })
}

async fn end_entities(session: &Session, ca: &CaId, which: Conditions) -> Option<StatusCounts> {
    let which = which.with("is_ca[equal]", Some("false"));
    let which = which.filters(&[], CERTIFICATE_FIELDS).ok()?;
    let counted = session.ca.stats_of_ca(&session.caller, ca, &which).await;
    counted.ok()
}

/// The DMSs that devices enroll under, as a sentence of its own; nothing where there is none, or nobody says.
pub(super) async fn enrolling(session: &Session, ca: &CaId) -> String {
    let list = listing::first(Conditions::default(), DMS_FIELDS, async |request| {
        Ok(session.dms.dms_list(&session.caller, request).await?)
    });
    let list = list.await.unwrap_or_default();
    let enrolls = |dms: &&Dms| dms.settings.enrollment_settings.enrollment_ca == *ca;
    let names: Vec<_> = list
        .iter()
        .filter(enrolls)
        .map(|dms| dms.id.as_str())
        .collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => format!(" Devices of the DMS {only} enroll under it."),
        some => format!(" Devices of the DMSs {} enroll under it.", some.join(", ")),
    }
}

async fn issued_by(session: &Session, ca: &CaId) -> Option<Vec<CertificateAuthority>> {
    let conditions = Conditions::default().with("issuer_metadata.id[equal]", Some(ca.as_str()));
    let list = listing::first(conditions, AUTHORITY_FIELDS, async |request| {
        Ok(session.ca.cas(&session.caller, request).await?)
    });
    list.await.ok()
}

/// One that is revoked for good or expired stays as it is.
fn is_in_use(ca: &CertificateAuthority) -> bool {
    let certificate = &ca.certificate;
    match certificate.status {
        CertificateStatus::Active | CertificateStatus::Inactive => true,
        CertificateStatus::Revoked => {
            certificate.revocation_reason == RevocationReason::CertificateHold
        }
        CertificateStatus::Expired => false,
    }
}
