//! DMSs as people see them.

use anyhow::Result;
use lamassu_core::dms::approval::ApprovalMode;
use lamassu_core::dms::settings::{ChannelBindingMode, EstSettings};
use lamassu_core::dms::{Dms, DmsService as _};
use lamassu_core::ids::CaId;
use lamassu_core::query::ListRequest;
use serde_json::Value;

use super::ListDms;
use crate::commands::Session;
use crate::commands::fields::DMS_FIELDS;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::{Record, Shape};
use crate::commands::values::{at, duration};

const LIST: Shape<Dms> = Shape {
    headings: &["ID", "NAME", "CA", "ENROLLMENT", "REGISTRATION", "CREATED"],
    row: |dms, _| {
        let enrollment = &dms.settings.enrollment_settings;
        vec![
            dms.id.to_string(),
            dms.name.clone(),
            enrollment.enrollment_ca.to_string(),
            enrollment.est_rfc7030_settings.auth_mode.clone(),
            enrollment.registration_mode.clone(),
            at(dms.creation_ts),
        ]
    },
    id: |dms| dms.id.to_string(),
};

/// Prints a DMS.
pub(super) fn print(session: &Session, dms: &Dms) -> Result<()> {
    session.print(dms, dms.id.as_str(), || record(dms))
}

fn record(dms: &Dms) -> Record {
    let settings = &dms.settings;
    let enrollment = &settings.enrollment_settings;
    let renewal = &settings.reenrollment_settings;
    let distribution = &settings.ca_distribution_settings;
    let mut given: Vec<_> = distribution
        .managed_cas
        .iter()
        .map(CaId::to_string)
        .collect();
    if distribution.include_enrollment_ca {
        given.push("enrollment CA".to_owned());
    }
    if distribution.include_system_ca {
        given.push("CA of the server's own TLS".to_owned());
    }
    let profile = settings.issuance_profile_id.as_ref();
    let renewal_auth = renewal.est_rfc7030_settings.as_ref().map(auth);
    let metadata = Value::Object(dms.metadata.clone()).to_string();
    vec![
        ("id", dms.id.to_string()),
        ("name", dms.name.clone()),
        ("created", at(dms.creation_ts)),
        ("CA", enrollment.enrollment_ca.to_string()),
        (
            "profile",
            profile.map(ToString::to_string).unwrap_or_default(),
        ),
        ("enrollment", auth(&enrollment.est_rfc7030_settings)),
        ("registration", enrollment.registration_mode.clone()),
        (
            "approval",
            enrollment
                .approval
                .value()
                .copied()
                .unwrap_or(ApprovalMode::Automatic)
                .name()
                .to_owned(),
        ),
        (
            "channel binding",
            enrollment
                .channel_binding
                .value()
                .copied()
                .unwrap_or(ChannelBindingMode::IfPossible)
                .name()
                .to_owned(),
        ),
        ("proof of possession", word(enrollment.verify_csr_signature)),
        (
            "replaces identities",
            word(enrollment.enable_replaceable_enrollment),
        ),
        (
            "tags of devices",
            enrollment.device_provisioning_profile.tags.join(", "),
        ),
        ("renewal", renewal_auth.unwrap_or_default()),
        ("renewal also of", ids(&renewal.additional_validation_cas)),
        ("renewal opens", before(renewal.reenrollment_delta)),
        ("to be renewed", before(renewal.preventive_delta)),
        ("urgent", before(renewal.critical_delta)),
        ("expired may renew", word(renewal.enable_expired_renewal)),
        ("revokes superseded", word(renewal.revoke_on_reenrollment)),
        ("cacerts", given.join(", ")),
        ("server key generation", keygen(dms)),
        (
            "metadata",
            if dms.metadata.is_empty() {
                String::new()
            } else {
                metadata
            },
        ),
    ]
}

fn auth(settings: &EstSettings) -> String {
    let cas = &settings.client_certificate_settings.validation_cas;
    match cas.as_slice() {
        [] => settings.auth_mode.clone(),
        cas => format!("{} of {}", settings.auth_mode, ids(cas)),
    }
}

fn ids(cas: &[CaId]) -> String {
    let cas: Vec<_> = cas.iter().map(CaId::as_str).collect();
    cas.join(", ")
}

fn keygen(dms: &Dms) -> String {
    let keygen = &dms.settings.server_keygen_settings;
    match keygen.enabled {
        true => format!("{}-{}", keygen.key.key_type, keygen.key.bits),
        false => String::new(),
    }
}

fn before(delta: lamassu_core::duration::WireDuration) -> String {
    match delta.is_zero() {
        true => String::new(),
        false => format!("{} before the end", duration(delta)),
    }
}

fn word(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

pub(super) async fn list(session: &Session, asked: &ListDms) -> Result<()> {
    let conditions = Conditions::default().with("name[contains_ignorecase]", asked.name.as_deref());
    let request = asked.list.request(DMS_FIELDS, conditions)?;
    listing::print(session, &asked.list, request, &LIST, async |request| {
        Ok(session.dms.dms_list(&session.caller, request).await?)
    })
    .await
}

pub(super) async fn stats(session: &Session) -> Result<()> {
    let request = ListRequest::default();
    let stats = session.dms.dms_stats(&session.caller, &request).await?;
    let total = stats.total.to_string();
    session.print(&stats, &total, || vec![("DMSs", total.clone())])
}
