//! The settings of a DMS out of a file and flags.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use lamassu_core::ca::{CaError, CaService as _};
use lamassu_core::dms::settings::{
    AUTH_CLIENT_CERTIFICATE, AUTH_NONE, AUTH_PASSWORD, EstSettings, PROTOCOL_EST,
};
use lamassu_core::dms::{Dms, DmsSettings};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::CaId;
use lamassu_crypto::KeySpec;
use serde_json::json;

use crate::commands::Session;
use crate::commands::failure::{About, Refusal as _};
use crate::commands::members::{self, Members};
use crate::commands::profiles::id_of;
use crate::commands::values::KeyType;

const ENROLLMENT: &[&str] = &["settings", "enrollment_settings"];
const ENROLLMENT_AUTH: &[&str] = &["settings", "enrollment_settings", "est_rfc7030_settings"];
const CERTIFICATES: &[&str] = &[
    "settings",
    "enrollment_settings",
    "est_rfc7030_settings",
    "client_certificate_settings",
];
const DEVICES: &[&str] = &[
    "settings",
    "enrollment_settings",
    "device_provisioning_profile",
];
const RENEWAL: &[&str] = &["settings", "reenrollment_settings"];
const DISTRIBUTION: &[&str] = &["settings", "ca_distribution_settings"];

/// The settings of a DMS.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DmsArgs {
    /// Members of the DMS as the API has them, JSON or YAML; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What it is called.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The CA that issues the devices' certificates.
    #[arg(long, value_name = "CA")]
    ca: Option<String>,
    /// Profile of these certificates, by id or name; the CA's own when not said.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    #[command(flatten)]
    enrollment: EnrollmentArgs,
    #[command(flatten)]
    renewal: RenewalArgs,
    /// A CA that cacerts gives, too; repeatable.
    #[arg(long, value_name = "CA")]
    cacerts_ca: Vec<String>,
    /// Whether cacerts gives the CA that issues, and those above it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cacerts_enrollment_ca: Option<bool>,
    /// Whether cacerts gives the CA of the server's own TLS certificate.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cacerts_system_ca: Option<bool>,
    /// Make keys for devices that ask for that, of this kind: rsa-2048, ecdsa-256, …; `off`: do not.
    #[arg(long, value_name = "TYPE-SIZE", value_parser = keygen)]
    server_keygen: Option<Keygen>,
}

/// Who enrolls, and as what.
#[derive(Clone, Debug, Default, Args)]
struct EnrollmentArgs {
    /// How a device proves who it is: certificate, password, none, or a mode by the API's name.
    #[arg(long, value_name = "MODE", value_parser = auth_mode)]
    auth: Option<String>,
    /// A CA whose certificates prove it; repeatable.
    #[arg(long, value_name = "CA")]
    validation_ca: Vec<String>,
    /// Whether expired certificates prove it, too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_expired: Option<bool>,
    /// Which devices enroll: jitp registers those that nobody knows, pre-registration refuses them.
    #[arg(long, value_name = "MODE", value_parser = ["jitp", "pre-registration"])]
    registration: Option<String>,
    /// Whether a device that has an identity may enroll for another one.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    replace: Option<bool>,
    /// Whether requests must prove that their sender has the key.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verify_csr: Option<bool>,
    /// Whether somebody has to approve each enrollment: automatic (nobody), manual.
    #[arg(long, value_name = "MODE", value_parser = ["automatic", "manual"])]
    approval: Option<String>,
    /// Whether requests are tied to their TLS connection: off, if_possible, required.
    #[arg(long, value_name = "MODE", value_parser = ["off", "if_possible", "required"])]
    channel_binding: Option<String>,
    /// Tag of the devices that are registered; repeatable.
    #[arg(long, value_name = "TEXT")]
    tag: Vec<String>,
}

/// When and how certificates are renewed.
#[derive(Clone, Debug, Default, Args)]
struct RenewalArgs {
    /// How a device proves who it is when it renews. When not said: as when it enrolls, but by its
    /// certificate where a new DMS has it enroll by password.
    #[arg(long, value_name = "MODE", value_parser = auth_mode)]
    renewal_auth: Option<String>,
    /// A CA whose certificates may renew beside those of the issuing one; repeatable.
    #[arg(long, value_name = "CA")]
    renewal_ca: Vec<String>,
    /// Renewal opens so long before the end.
    #[arg(long, value_name = "DURATION")]
    renew_before: Option<WireDuration>,
    /// A device is RENEWAL_PENDING so long before the end.
    #[arg(long, value_name = "DURATION")]
    preventive: Option<WireDuration>,
    /// A device is EXPIRING_SOON so long before the end.
    #[arg(long, value_name = "DURATION")]
    critical: Option<WireDuration>,
    /// Whether expired certificates may renew.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    expired_renewal: Option<bool>,
    /// Whether the certificate that was renewed is revoked.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    revoke_superseded: Option<bool>,
}

/// Which keys the server makes.
#[derive(Clone, Debug)]
enum Keygen {
    Off,
    Key(KeyType),
}

fn keygen(text: &str) -> Result<Keygen, String> {
    match text {
        "off" => Ok(Keygen::Off),
        text => {
            let key: KeyType = text.parse()?;
            match key.spec() {
                Some(KeySpec::Rsa(_) | KeySpec::Ec(_) | KeySpec::Ed25519) => Ok(Keygen::Key(key)),
                Some(_) | None => Err("no such keys are made for devices".to_owned()),
            }
        }
    }
}

/// A mode by our word, or by the API's name.
fn auth_mode(text: &str) -> Result<String, String> {
    Ok(match text {
        "certificate" => AUTH_CLIENT_CERTIFICATE.to_owned(),
        "password" => AUTH_PASSWORD.to_owned(),
        "none" => AUTH_NONE.to_owned(),
        name if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') => name.to_owned(),
        _ => {
            return Err(
                "it is certificate, password, none, or a name like CLIENT_CERTIFICATE".to_owned(),
            );
        }
    })
}

impl DmsArgs {
    /// The CA that is named.
    pub(super) fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Whether any of it was given.
    pub(super) fn says_something(&self) -> bool {
        self.file.is_some() || !self.members().0.is_empty() || self.profile.is_some()
    }

    /// A DMS with what is usual, and what the file and the flags say.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) async fn new_dms(&self, session: &Session, id: &str) -> Result<Dms> {
        let usual: Dms = serde_json::from_value(json!({
            "id": id,
            "name": id,
            "metadata": {},
            "creation_ts": "0001-01-01T00:00:00Z",
            "settings": {
                "enrollment_settings": {
                    "protocol": PROTOCOL_EST,
                    "est_rfc7030_settings": {
                        "auth_mode": AUTH_CLIENT_CERTIFICATE,
                        "client_certificate_settings": {"chain_level_validation": -1},
                    },
                    "registration_mode": "JITP",
                    "verify_csr_signature": true,
                },
                "reenrollment_settings": {
                    "reenrollment_delta": "100d",
                    "preventive_delta": "31d",
                    "critical_delta": "7d",
                    "revoke_on_reenrollment": true,
                },
                "ca_distribution_settings": {"include_enrollment_ca": true},
            },
        }))?;
        let mut dms = self.applied(session, &usual).await?;
        dms.id = usual.id;
        renewed_by_certificate(&mut dms.settings);
        let enrollment = &dms.settings.enrollment_settings;
        ensure!(
            !enrollment.enrollment_ca.is_empty(),
            "which CA issues the certificates? say --ca"
        );
        let auth = &enrollment.est_rfc7030_settings;
        let cas = &auth.client_certificate_settings.validation_cas;
        ensure!(
            auth.auth_mode != AUTH_CLIENT_CERTIFICATE || !cas.is_empty(),
            "whose certificates prove who a device is? say --validation-ca, or another --auth"
        );
        Ok(dms)
    }

    /// `stored` with what the file and the flags say.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) async fn applied(&self, session: &Session, stored: &Dms) -> Result<Dms> {
        let named = [
            &self.enrollment.validation_ca,
            &self.renewal.renewal_ca,
            &self.cacerts_ca,
        ];
        for ca in self.ca.iter().chain(named.into_iter().flatten()) {
            // The API takes any name, and devices would learn of it. Whoever may make DMSs need not see CAs.
            let found = session
                .ca
                .ca(&session.caller, &CaId::from(ca.as_str()))
                .await;
            if let Err(error @ CaError::CaNotFound) = found {
                return Err(error).about(About::ca(ca));
            }
        }
        let mut members = self.members();
        if let Some(profile) = &self.profile {
            let id = id_of(session, profile).await?;
            members.put_in(&["settings"], "issuance_profile_id", Some(id));
        }
        members::applied("DMS", stored, self.file.as_deref(), members)
    }

    fn members(&self) -> Members {
        let mut members = Members::default();
        members.put("name", self.name.as_ref());
        members.put_in(ENROLLMENT, "enrollment_ca", self.ca.as_ref());
        self.enrollment.add_to(&mut members);
        self.renewal.add_to(&mut members);
        members.put_in(DISTRIBUTION, "managed_cas", some(&self.cacerts_ca));
        let flag = self.cacerts_enrollment_ca;
        members.put_in(DISTRIBUTION, "include_enrollment_ca", flag);
        members.put_in(DISTRIBUTION, "include_system_ca", self.cacerts_system_ca);
        let keygen = self.server_keygen.as_ref().map(|keygen| match keygen {
            Keygen::Off => json!({"enabled": false}),
            Keygen::Key(key) => {
                json!({"enabled": true, "key": {"type": key.name, "bits": key.bits}})
            }
        });
        members.put_in(&["settings"], "server_keygen_settings", keygen);
        members
    }
}

impl EnrollmentArgs {
    fn add_to(&self, members: &mut Members) {
        members.put_in(ENROLLMENT_AUTH, "auth_mode", self.auth.as_ref());
        members.put_in(CERTIFICATES, "validation_cas", some(&self.validation_ca));
        members.put_in(CERTIFICATES, "allow_expired", self.allow_expired);
        let registration = self.registration.as_ref();
        let registration = registration.map(|mode| mode.to_uppercase().replace('-', "_"));
        members.put_in(ENROLLMENT, "registration_mode", registration);
        members.put_in(ENROLLMENT, "enable_replaceable_enrollment", self.replace);
        members.put_in(ENROLLMENT, "verify_csr_signature", self.verify_csr);
        members.put_in(ENROLLMENT, "approval", self.approval.as_ref());
        members.put_in(ENROLLMENT, "channel_binding", self.channel_binding.as_ref());
        members.put_in(DEVICES, "tags", some(&self.tag));
    }
}

impl RenewalArgs {
    fn add_to(&self, members: &mut Members) {
        let auth = &[RENEWAL, &["est_rfc7030_settings"]].concat();
        members.put_in(auth, "auth_mode", self.renewal_auth.as_ref());
        members.put_in(RENEWAL, "additional_validation_cas", some(&self.renewal_ca));
        members.put_in(RENEWAL, "reenrollment_delta", self.renew_before);
        members.put_in(RENEWAL, "preventive_delta", self.preventive);
        members.put_in(RENEWAL, "critical_delta", self.critical);
        members.put_in(RENEWAL, "enable_expired_renewal", self.expired_renewal);
        members.put_in(RENEWAL, "revoke_on_reenrollment", self.revoke_superseded);
    }
}

/// Has devices that enroll by password renew by their certificate, unless something else was said: the
/// API would have them renew as they enroll, and a password is usually good once.
fn renewed_by_certificate(settings: &mut DmsSettings) {
    let enrollment = &settings.enrollment_settings.est_rfc7030_settings;
    let renewal = &mut settings.reenrollment_settings.est_rfc7030_settings;
    if enrollment.auth_mode == AUTH_PASSWORD && renewal.is_none() {
        *renewal = Some(EstSettings {
            auth_mode: AUTH_CLIENT_CERTIFICATE.to_owned(),
            ..EstSettings::default()
        });
    }
}

/// A list where one was given.
fn some(list: &[String]) -> Option<&[String]> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use lamassu_core::dms::DmsSettings;
    use lamassu_core::dms::settings::{AUTH_CLIENT_CERTIFICATE, AUTH_NONE, AUTH_PASSWORD};
    use serde_json::json;

    use super::{Keygen, keygen, renewed_by_certificate};

    #[test]
    fn devices_with_passwords_renew_by_certificate_unless_something_else_is_said() {
        let cases = [
            (AUTH_PASSWORD, None, Some(AUTH_CLIENT_CERTIFICATE)),
            (AUTH_PASSWORD, Some(AUTH_PASSWORD), Some(AUTH_PASSWORD)),
            (AUTH_PASSWORD, Some(""), Some("")),
            (AUTH_NONE, None, None),
        ];
        for (auth, said, expected) in cases {
            let mut renewal = json!({});
            if let Some(said) = said {
                renewal = json!({"est_rfc7030_settings": {"auth_mode": said}});
            }
            let settings = json!({
                "enrollment_settings": {"est_rfc7030_settings": {"auth_mode": auth}},
                "reenrollment_settings": renewal,
            });
            let mut settings: DmsSettings = serde_json::from_value(settings).unwrap();
            renewed_by_certificate(&mut settings);
            let renewal = settings.reenrollment_settings.est_rfc7030_settings;
            let mode = renewal.map(|renewal| renewal.auth_mode);
            assert_eq!(mode.as_deref(), expected, "{auth} {said:?}");
        }
    }

    #[test]
    fn keys_that_are_not_made_for_devices_are_refused() {
        for made in ["rsa-2048", "ECDSA-384", "ed25519"] {
            assert!(matches!(keygen(made), Ok(Keygen::Key(_))), "{made}");
        }
        for refused in ["rsa-1024", "ecdsa-257", "ml-dsa-65", "rsa"] {
            assert!(keygen(refused).is_err(), "{refused}");
        }
        assert!(matches!(keygen("off"), Ok(Keygen::Off)));
    }
}
