//! Storing certificates and what changes about them.

use lamassu_core::ca::{Certificate, CertificateStatus, IssuerMetadata};
use lamassu_core::ids::{CaId, EngineId, ProfileId};
use lamassu_core::query::fold;
use lamassu_db::{Check, Statement, WriteSet, in_list, params, sql, sql_of_few};
use serde_json::Value;
use time::OffsetDateTime;

use super::index::{fingerprint, indexed, insert_names};
use super::{CertificateId, StoredCertificate};
use crate::own_windows;
use crate::windows::own_windows;

/// The certificate's key is free.
pub(crate) const FREE: Check = Check::new("certificate key is free");

/// The certificate is as it was read.
const REVISION: Check = Check::new("certificate revision");

/// What the store keeps of a new certificate beside what is shown of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside<'a> {
    /// The stored profile that it is issued under.
    pub(crate) profile: Option<&'a ProfileId>,
    /// When its next default window begins.
    pub(crate) next_window: Option<OffsetDateTime>,
    /// Since when it is known.
    pub(crate) now: OffsetDateTime,
}

/// Adds a certificate to what a write set changes.
pub(crate) fn insert(
    set: &mut WriteSet,
    id: &CertificateId,
    certificate: &Certificate,
    beside: Beside<'_>,
) {
    set.expect_one(insertion(id, certificate, beside), FREE);
    insert_names(set, id, certificate.certificate.der());
}

fn insertion(id: &CertificateId, certificate: &Certificate, beside: Beside<'_>) -> Statement {
    let Beside {
        profile,
        next_window,
        now,
    } = beside;
    let usages = &certificate.extensions;
    let common_name = indexed(&certificate.subject.common_name);
    sql(
        "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
         certificate_type, engine_id, metadata, is_ca, subject_common_name, \
         subject_common_name_folded, subject_key_id, authority_key_id, key_type, key_bits, \
         key_strength, key_usage, extended_key_usage, valid_from, valid_to, issuer_ca_id, \
         issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason, next_due, \
         next_window, expired_by_job, profile_id, fingerprint) \
         VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30) \
         ON CONFLICT DO NOTHING",
        params![
            id.as_str(),
            certificate.serial_number.as_str(),
            now,
            certificate.certificate.der().clone(),
            certificate.status.name(),
            certificate.certificate_type.name(),
            certificate.engine_id.as_str(),
            metadata(certificate),
            certificate.is_ca,
            common_name,
            fold(common_name),
            certificate.subject_key_id.as_str(),
            certificate.authority_key_id.as_str(),
            certificate.key_metadata.key_type.as_str(),
            certificate.key_metadata.bits,
            certificate.key_metadata.strength.name(),
            usages.key_usage.names().collect::<Value>(),
            usages
                .extended_key_usage
                .iter()
                .map(|usage| usage.name())
                .collect::<Value>(),
            certificate.valid_from.0,
            certificate.valid_to.0,
            certificate.issuer_metadata.id.as_str(),
            certificate.issuer_metadata.serial_number.as_str(),
            certificate.issuer_metadata.level,
            certificate.revocation_timestamp.0,
            certificate.revocation_reason.name(),
            next_due_of(certificate),
            next_window,
            false,
            profile.map_or("", ProfileId::as_str),
            fingerprint(certificate.certificate.der()),
        ],
    )
}

/// Who set a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangedBy {
    /// A client, or a rule on its behalf.
    Request,
    /// The expiry job, which may undo it when the clock is set back.
    ExpiryJob,
}

/// Adds the new status and metadata of a certificate, as it was read otherwise, to a write set.
///
/// Whose hold it is on is forgotten with a new status or time of revocation.
///
/// `next_window` counts where the status changes; otherwise the stored one stays, unless the
/// metadata have windows, or had: those are looked at here, and who lost them has none left.
pub(crate) fn update(
    set: &mut WriteSet,
    stored: &StoredCertificate,
    updated: &Certificate,
    next_window: Option<OffsetDateTime>,
    by: ChangedBy,
) {
    let own = own_windows(updated);
    let next_own = own
        .filter(|_| updated.status == CertificateStatus::Active)
        .and_then(|metadata| own_windows::next(metadata, updated.valid_to.0));
    let statement = sql(
        "UPDATE certificate SET status = $1, metadata = $2, revocation_timestamp = $3, \
         revocation_reason = $4, next_due = $5, \
         expired_by_job = CASE WHEN status = $1 THEN expired_by_job ELSE $6 END, \
         next_window = CASE WHEN $8 THEN $11 WHEN status <> $1 THEN $7 ELSE next_window END, \
         held_by = CASE WHEN status = $1 AND revocation_timestamp = $3 THEN held_by ELSE NULL END, \
         revision = revision + 1 \
         WHERE id = $9 AND revision = $10",
        params![
            updated.status.name(),
            metadata(updated),
            updated.revocation_timestamp.0,
            updated.revocation_reason.name(),
            next_due_of(updated),
            by == ChangedBy::ExpiryJob && updated.status == CertificateStatus::Expired,
            next_window,
            own.is_some() || own_windows(&stored.certificate).is_some(),
            stored.id.as_str(),
            stored.revision,
            next_own,
        ],
    );
    set.expect_one(statement, REVISION);
}

/// Adds to a write set, behind that a CA has another certificate now, the former one's new metadata. It has no
/// windows any more, unless another CA has it.
pub(crate) fn superseded(set: &mut WriteSet, stored: &StoredCertificate, updated: &Certificate) {
    let statement = sql(
        "UPDATE certificate SET metadata = $1, next_window = CASE WHEN EXISTS (\
         SELECT 1 FROM certificate_authority WHERE certificate_id = $2) THEN next_window END, \
         revision = revision + 1 WHERE id = $2 AND revision = $3",
        params![metadata(updated), stored.id.as_str(), stored.revision],
    );
    set.expect_one(statement, REVISION);
}

/// Adds who issued a certificate, as far as that is known now, to a write set.
pub(crate) fn set_issuer(set: &mut WriteSet, stored: &StoredCertificate, issuer: &IssuerMetadata) {
    let statement = sql(
        "UPDATE certificate SET issuer_ca_id = $1, issuer_serial_number = $2, issuer_level = $3, \
         revision = revision + 1 WHERE id = $4 AND revision = $5",
        params![
            issuer.id.as_str(),
            issuer.serial_number.as_str(),
            issuer.level,
            stored.id.as_str(),
            stored.revision,
        ],
    );
    set.expect_one(statement, REVISION);
}

/// Adds to a write set what the issuer of certificates, at least one, is called from now on.
pub(crate) fn rename_issuer(set: &mut WriteSet, ids: &[CertificateId], to: &CaId) {
    let mut values = ids.iter().map(|id| id.as_str().into()).collect();
    let list = in_list(&mut values);
    values.push(to.as_str().into());
    let text = format!(
        "UPDATE certificate SET issuer_ca_id = ${}, revision = revision + 1 WHERE id IN ({list})",
        values.len()
    );
    set.execute(sql_of_few(text, values));
}

/// Adds to a write set that a certificate is a CA's, and where its key is.
pub(crate) fn become_authority(
    set: &mut WriteSet,
    stored: &StoredCertificate,
    updated: &Certificate,
) {
    let statement = sql(
        "UPDATE certificate SET is_ca = $1, certificate_type = $2, engine_id = $3, \
         issuer_ca_id = $4, issuer_serial_number = $5, issuer_level = $6, \
         revision = revision + 1 WHERE id = $7 AND revision = $8",
        params![
            true,
            updated.certificate_type.name(),
            updated.engine_id.as_str(),
            updated.issuer_metadata.id.as_str(),
            updated.issuer_metadata.serial_number.as_str(),
            updated.issuer_metadata.level,
            stored.id.as_str(),
            stored.revision,
        ],
    );
    set.expect_one(statement, REVISION);
}

/// Adds to a write set that the key of a certificate is in another engine now.
pub(crate) fn move_to_engine(set: &mut WriteSet, id: &CertificateId, engine: &EngineId) {
    set.execute(sql(
        "UPDATE certificate SET engine_id = $1, revision = revision + 1 WHERE id = $2",
        params![engine.as_str(), id.as_str()],
    ));
}

/// Adds the removal of a certificate to a write set.
pub(crate) fn delete(set: &mut WriteSet, stored: &StoredCertificate) {
    let statement = sql(
        "DELETE FROM certificate WHERE id = $1 AND revision = $2",
        params![stored.id.as_str(), stored.revision],
    );
    set.expect_one(statement, REVISION);
    set.execute(sql(
        "DELETE FROM certificate_san WHERE certificate_id = $1",
        params![stored.id.as_str()],
    ));
}

/// Lets a write set hold only while the certificate is as it was read.
pub(crate) fn guard(set: &mut WriteSet, stored: &StoredCertificate) {
    let statement = sql(
        "SELECT 1 FROM certificate WHERE id = $1 AND revision = $2",
        params![stored.id.as_str(), stored.revision],
    );
    set.guard(statement, REVISION);
}

/// Adds to a write set when the next default window of a certificate begins.
pub(crate) fn set_next_window(
    set: &mut WriteSet,
    stored: &StoredCertificate,
    next_window: Option<OffsetDateTime>,
) {
    let statement = sql(
        "UPDATE certificate SET next_window = $1, revision = revision + 1 \
         WHERE id = $2 AND revision = $3",
        params![next_window, stored.id.as_str(), stored.revision],
    );
    set.expect_one(statement, REVISION);
}

fn metadata(certificate: &Certificate) -> Option<Value> {
    certificate.metadata.clone().map(Value::Object)
}

/// Only what is active changes by itself.
fn next_due_of(certificate: &Certificate) -> Option<OffsetDateTime> {
    (certificate.status == CertificateStatus::Active).then_some(certificate.valid_to.0)
}
