//! What this service tells the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::caller::Caller;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::VaRole;
use lamassu_db::{AuditRecord, Event, WriteSet};
use lamassu_x509::{Name, ObjectIdentifier, oids};
use serde::Serialize;
use time::OffsetDateTime;

use crate::authority::Authority;
use crate::crl::MadeCrl;
use crate::metrics::CrlKind;

/// Source of our events.
const SOURCE: &str = "service/va";

/// `va.role.crl.create`: what a consumer needs to fetch the list, not the list itself, which may
/// be larger than brokers take. The names of the members are those of v1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CrlCreated {
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
    /// Base64 of the issuer's key identifier.
    authority_key_id: String,
    issuer: Issuer,
    /// How many certificates are on the list.
    revoked_certificate_count: u64,
    /// Where the list is, if the configuration names a domain.
    #[serde(rename = "URL", skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// A distinguished name by attribute; `null` where it has none of a kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Issuer {
    country: Option<Vec<String>>,
    organization: Option<Vec<String>>,
    organizational_unit: Option<Vec<String>>,
    locality: Option<Vec<String>>,
    province: Option<Vec<String>>,
    common_name: String,
}

impl From<&Name> for Issuer {
    fn from(name: &Name) -> Self {
        let all = |oid: &ObjectIdentifier| {
            let values = name.values(oid);
            (!values.is_empty()).then_some(values)
        };
        Self {
            country: all(&oids::AT_COUNTRY),
            organization: all(&oids::AT_ORGANIZATION),
            organizational_unit: all(&oids::AT_ORGANIZATIONAL_UNIT),
            locality: all(&oids::AT_LOCALITY),
            province: all(&oids::AT_STATE),
            common_name: name.common_name().unwrap_or_default(),
        }
    }
}

/// Adds the event and the audit record of a new CRL.
pub(crate) fn crl_created(
    set: &mut WriteSet,
    caller: &Caller,
    authority: &Authority,
    crl: &MadeCrl,
    domain: Option<&str>,
    now: OffsetDateTime,
) {
    let (event_type, operation, place) = match crl.kind {
        CrlKind::Complete => ("va.role.crl.create", "va.crl.create", String::new()),
        CrlKind::Delta => ("va.role.crl.delta", "va.crl.delta", "/delta".to_owned()),
        CrlKind::Imported => ("va.role.crl.import", "va.crl.import", String::new()),
        CrlKind::Shard(shard) => ("va.role.crl.shard", "va.crl.shard", format!("/{shard}")),
    };
    let subject = subject(&authority.ski);
    let payload = CrlCreated {
        number: crl.number,
        this_update: Timestamp(crl.this_update),
        next_update: Timestamp(crl.next_update),
        authority_key_id: STANDARD.encode(authority.key_identifier()),
        issuer: Issuer::from(authority.certificate.subject()),
        revoked_certificate_count: crl.n_entries,
        url: domain.map(|domain| format!("http://{domain}/crl/{}{place}", authority.ski)),
    };
    let event = Event::new(event_type, SOURCE, caller, now);
    set.event(event.subject(subject.clone()).data(&payload));
    set.audit(AuditRecord::done(caller, operation, subject, now));
}

/// Adds the event of a new role; `role` is without CRL.
pub(crate) fn role_created(
    set: &mut WriteSet,
    caller: &Caller,
    role: &VaRole,
    now: OffsetDateTime,
) {
    let subject = subject(&role.ca_ski);
    let event = Event::new("va.role.crl.init", SOURCE, caller, now);
    set.event(event.subject(subject).data(role));
}

/// Adds the event and the audit record of new options.
pub(crate) fn role_updated(
    set: &mut WriteSet,
    caller: &Caller,
    role: &VaRole,
    now: OffsetDateTime,
) {
    let subject = subject(&role.ca_ski);
    let event = Event::new("va.role.update", SOURCE, caller, now);
    set.event(event.subject(subject.clone()).data(role));
    set.audit(AuditRecord::done(caller, "va.role.update", subject, now));
}

/// Notes who made a role.
pub(crate) fn role_audited(
    set: &mut WriteSet,
    caller: &Caller,
    role: &VaRole,
    now: OffsetDateTime,
) {
    let subject = subject(&role.ca_ski);
    set.audit(AuditRecord::done(caller, "va.role.create", subject, now));
}

fn subject(ski: &str) -> String {
    format!("crl/{ski}")
}
