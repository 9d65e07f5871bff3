//! Destroying keys.
//!
//! The key manager refuses keys that certificates were made for, and does not know what became of those. The
//! CA service does: where all have ended, the marks that they left at the key are taken away first.

use anyhow::{Result, ensure};
use lamassu_core::ca::{CaService as _, Certificate, CertificateStatus};
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{BOUND_RESOURCES, Key, KmsService as _};
use lamassu_core::patch::PatchOperation;
use lamassu_core::query::ListRequest;
use lamassu_core::usage::RevocationReason;
use serde_json::Value;

use super::show::{certificates, find};
use crate::commands::Session;
use crate::commands::certificates::{key_id, status};
use crate::commands::failure::{About, Refusal as _};
use crate::commands::fields::CERTIFICATE_FIELDS;
use crate::commands::listing::Conditions;
use crate::commands::question::Question;
use crate::commands::values::at;

/// Serial numbers that are asked for at once.
const AT_ONCE: usize = 100;

/// Certificates that a refusal names at most.
const NAMED: usize = 10;

pub(super) async fn delete(session: &Session, keys: &[String], question: Question) -> Result<()> {
    // All are looked up first: nothing is destroyed where one of them is misspelt or in use.
    let mut found = Vec::new();
    for key in keys {
        let key = find(session, key).await?;
        refuse_used(session, &key).await?;
        found.push(key);
    }
    let names: Vec<_> = found
        .iter()
        .map(|key| format!("{:?} ({})", key.name, key.key_id))
        .collect();
    question.ask(&format!(
        "This destroys the private half of {}, for good.",
        names.join(", ")
    ))?;
    for key in found {
        destroy(session, &key).await?;
    }
    Ok(())
}

/// Fails where a certificate for the key has not ended.
async fn refuse_used(session: &Session, key: &Key) -> Result<()> {
    let mut used = Vec::new();
    for serials in certificates(key).chunks(AT_ONCE) {
        let condition = Conditions::default().with("serial_number[in]", Some(&serials.join(",")));
        let mut request = ListRequest {
            filters: condition.filters(&[], CERTIFICATE_FIELDS)?,
            ..ListRequest::default()
        };
        loop {
            let page = session.ca.certificates(&session.caller, &request).await?;
            used.extend(page.list.into_iter().filter(|one| is_in_use(one, key)));
            if page.next.is_empty() {
                break;
            }
            request.bookmark = Some(page.next);
        }
    }
    let told = used.iter().take(NAMED).map(|one| {
        let (serial, status, end) = (&one.serial_number, status(one), at(one.valid_to));
        match one.is_ca {
            true => format!("{serial} (of a CA, with which its key goes)"),
            false => format!("{serial} ({status}, until {end})"),
        }
    });
    let mut told: Vec<_> = told.collect();
    if used.len() > NAMED {
        told.push(format!("and {} others", used.len() - NAMED));
    }
    ensure!(
        used.is_empty(),
        "the key {} is in use by certificates that have not ended: {}. It is destroyed once they are expired or \
         revoked for good; `lamassu keys disable` keeps it from signing",
        key.key_id,
        told.join(", ")
    );
    Ok(())
}

/// Whether the certificate is for the key, and may still be used. A serial number alone may be another
/// certificate's.
fn is_in_use(certificate: &Certificate, key: &Key) -> bool {
    let is_held = certificate.revocation_reason == RevocationReason::CertificateHold;
    let has_ended = match certificate.status {
        CertificateStatus::Expired => true,
        CertificateStatus::Revoked => !is_held,
        CertificateStatus::Active | CertificateStatus::Inactive => false,
    };
    let is_other = key_id(certificate).is_ok_and(|id| id != key.key_id.as_str());
    !is_other && (certificate.is_ca || !has_ended)
}

/// Destroys a key. Where that is refused it has its marks again.
async fn destroy(session: &Session, key: &Key) -> Result<()> {
    let id = key.key_id.as_str();
    let reference = KeyRef::from(&key.key_id);
    let (kms, caller) = (&session.kms, &session.caller);
    let marks = key.metadata.get(BOUND_RESOURCES);
    if let Some(marks) = marks {
        // A certificate that was made meanwhile has left a mark more: then nothing is taken away.
        let taken = [operation("test", Some(marks)), operation("remove", None)];
        kms.patch_metadata(caller, &reference, taken.into()).await?;
    }
    let destroyed = kms.delete_key(caller, &reference).await;
    if destroyed.is_err()
        && let Some(marks) = marks
    {
        let again = vec![operation("add", Some(marks))];
        kms.patch_metadata(caller, &reference, again).await.ok();
    }
    destroyed.about(About::key(id))?;
    session.done(id, &format!("key {id} is destroyed"))
}

/// An operation on the marks.
fn operation(op: &str, value: Option<&Value>) -> PatchOperation {
    PatchOperation {
        op: op.to_owned(),
        path: Some(format!("/{}", BOUND_RESOURCES.replace('/', "~1"))),
        value: value.cloned(),
        ..PatchOperation::default()
    }
}
