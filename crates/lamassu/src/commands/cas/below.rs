//! What goes with a CA that is revoked or deleted, in the words of a question.

use lamassu_core::ca::{CaService as _, CertificateAuthority, CertificateStatus};
use lamassu_core::ids::CaId;
use lamassu_core::usage::RevocationReason;

use crate::commands::Session;
use crate::commands::fields::{AUTHORITY_FIELDS, CERTIFICATE_FIELDS};
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
    let (mut n_cas, mut n_certificates) = (0_usize, 0_i64);
    let mut visited = 0;
    while let Some(above) = all.get(visited).cloned() {
        visited = visited.saturating_add(1);
        let end_entities = Conditions::default().with("is_ca[equal]", Some("false"));
        let end_entities = end_entities.filters(&[], CERTIFICATE_FIELDS).ok()?;
        let issued = session
            .ca
            .stats_of_ca(&session.caller, &above, &end_entities)
            .await;
        n_certificates = n_certificates.saturating_add(issued.ok()?.active);
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
    Some(match n_cas {
        0 => format!("the {n_certificates} active certificates that it issued"),
        _ => format!(
            "the {n_cas} CAs below it and the {n_certificates} active certificates of all of them"
        ),
    })
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
