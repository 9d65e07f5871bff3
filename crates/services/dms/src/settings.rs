//! What a client sent, made whole: absent members and the other spellings of dashboards.

use lamassu_core::dms::DmsError;
use lamassu_core::dms::settings::{DmsSettings, EstSettings, KeygenKey};
use lamassu_core::dms::webhook::WebhookSettings;
use lamassu_core::ids::ProfileId;
use lamassu_core::pattern::Pattern;

use crate::repeat::MAX_WINDOW;
use crate::secrets::{DmsSecrets, WebhookSecrets};
use crate::webhook_settings::{Stored, complete};

/// The settings of a new DMS: who may re-enroll is who may enroll, unless that is said.
///
/// # Errors
/// [`DmsError::Settings`] names what cannot work.
pub(crate) fn for_create(sent: DmsSettings) -> Result<(DmsSettings, DmsSecrets), DmsError> {
    let nobody_said = DmsSettings::default();
    let mut settings = with_profile_id(sent, &nobody_said);
    let enrollment = &settings.enrollment_settings.est_rfc7030_settings;
    settings
        .reenrollment_settings
        .est_rfc7030_settings
        .get_or_insert_with(|| enrollment.clone());
    with_webhooks(settings, None)
}

/// The settings of a DMS that is being replaced: who may re-enroll stays, unless that is said, and so
/// does what older clients do not know.
///
/// # Errors
/// [`DmsError::Settings`] names what cannot work.
pub(crate) fn for_update(
    sent: DmsSettings,
    stored: &DmsSettings,
    secrets: &DmsSecrets,
) -> Result<(DmsSettings, DmsSecrets), DmsError> {
    let mut settings = with_profile_id(sent, stored);
    let kept = &stored.reenrollment_settings.est_rfc7030_settings;
    settings
        .reenrollment_settings
        .est_rfc7030_settings
        .get_or_insert_with(|| kept.clone().unwrap_or_default());
    settings.issuance_profile = match (settings.issuance_profile, &stored.issuance_profile) {
        (Some(sent), Some(stored)) => Some(sent.keeping(stored)),
        (sent, _) => sent,
    };
    let settings = keeping(settings, stored);
    with_webhooks(settings, Some((stored, secrets)))
}

/// What older clients do not know, and so did not say, stays as it is stored.
fn keeping(mut settings: DmsSettings, stored: &DmsSettings) -> DmsSettings {
    macro_rules! keep {
        ($into:expr, $from:expr, $($member:ident),+) => {$(
            $into.$member = std::mem::take(&mut $into.$member).or_stored(&$from.$member);
        )+};
    }
    keep!(
        settings.enrollment_settings,
        stored.enrollment_settings,
        approval,
        channel_binding,
        max_devices,
        allowed_device_ids,
        device_id_pattern,
        repeat_enrollment_window
    );
    keep!(
        settings.reenrollment_settings,
        stored.reenrollment_settings,
        strict_identity,
        key_reuse
    );
    let keep_est = |settings: &mut EstSettings, stored: &EstSettings| {
        let (into, from) = (
            &mut settings.client_certificate_settings,
            &stored.client_certificate_settings,
        );
        keep!(into, from, revocation);
        if settings.external_webhook.is_none() && stored.external_webhook.is_some() {
            settings
                .external_webhook
                .clone_from(&stored.external_webhook);
        }
    };
    keep_est(
        &mut settings.enrollment_settings.est_rfc7030_settings,
        &stored.enrollment_settings.est_rfc7030_settings,
    );
    if let (Some(settings), Some(stored)) = (
        &mut settings.reenrollment_settings.est_rfc7030_settings,
        &stored.reenrollment_settings.est_rfc7030_settings,
    ) {
        keep_est(settings, stored);
    }
    settings
}

/// The webhooks made whole, their secrets apart; then everything is looked at.
fn with_webhooks(
    mut settings: DmsSettings,
    before: Option<(&DmsSettings, &DmsSecrets)>,
) -> Result<(DmsSettings, DmsSecrets), DmsError> {
    let silent = EstSettings::default();
    let stored = before.map(|(settings, secrets)| stored_webhooks(settings, secrets, &silent));
    let (enrollment, reenrollment) = stored.unzip();
    let mut secrets = DmsSecrets {
        enrollment: complete_est(
            &mut settings.enrollment_settings.est_rfc7030_settings,
            enrollment,
            reenrollment,
        )?,
        ..DmsSecrets::default()
    };
    if let Some(est) = &mut settings.reenrollment_settings.est_rfc7030_settings {
        secrets.reenrollment = complete_est(est, reenrollment, enrollment)?;
    }
    check(&settings)?;
    Ok((settings, secrets))
}

/// What is stored of the two webhooks.
fn stored_webhooks<'a>(
    settings: &'a DmsSettings,
    secrets: &'a DmsSecrets,
    silent: &'a EstSettings,
) -> (Stored<'a>, Stored<'a>) {
    let reenrollment = settings.reenrollment_settings.est_rfc7030_settings.as_ref();
    let enrollment = &settings.enrollment_settings.est_rfc7030_settings;
    (
        Stored {
            settings: &enrollment.external_webhook_settings,
            secrets: &secrets.enrollment,
        },
        Stored {
            settings: &reenrollment.unwrap_or(silent).external_webhook_settings,
            secrets: &secrets.reenrollment,
        },
    )
}

/// The webhook under its two names and spellings made one, its secrets apart.
fn complete_est(
    settings: &mut EstSettings,
    before: Option<Stored<'_>>,
    other: Option<Stored<'_>>,
) -> Result<WebhookSecrets, DmsError> {
    let sent = std::mem::take(&mut settings.external_webhook_settings);
    let old_name = settings.external_webhook.take();
    let known = before.map(|before| before.settings);
    let says_nothing = sent == WebhookSettings::default() || known == Some(&sent);
    let is_old_client = old_name.is_some();
    let sent = match old_name {
        Some(old) if says_nothing && known != Some(&old) => old,
        Some(_) | None => sent,
    };
    let (webhook, secrets) = complete(sent, before, other.as_slice())?;
    if is_old_client {
        settings.external_webhook = Some(webhook.clone());
    }
    settings.external_webhook_settings = webhook;
    Ok(secrets)
}

/// Refuses what can never work. What clients of the reference may leave unfinished passes, and shows
/// when it is used.
fn check(settings: &DmsSettings) -> Result<(), DmsError> {
    let enrollment = &settings.enrollment_settings;
    let reenrollment = &settings.reenrollment_settings;
    if let Some(pattern) = enrollment.device_id_pattern.value() {
        Pattern::parse(pattern)
            .map_err(|error| DmsError::Settings(format!("device_id_pattern: {error}")))?;
    }
    let window = enrollment.repeat_enrollment_window.value().copied();
    if window.is_some_and(|window| time::Duration::from(window) > MAX_WINDOW) {
        return Err(DmsError::Settings(
            "repeat_enrollment_window must not be longer than 1d".to_owned(),
        ));
    }
    for (name, duration) in [
        ("reenrollment_delta", reenrollment.reenrollment_delta),
        ("preventive_delta", reenrollment.preventive_delta),
        ("critical_delta", reenrollment.critical_delta),
        ("repeat_enrollment_window", window.unwrap_or_default()),
    ] {
        if duration.is_negative() {
            return Err(DmsError::Settings(format!("{name} must not be negative")));
        }
    }
    Ok(())
}

/// The two spellings of the profile's id become one. Clients know one or the other and write
/// back what they read of the other, so the one that changed counts, the reference's first.
fn with_profile_id(mut settings: DmsSettings, stored: &DmsSettings) -> DmsSettings {
    let before = stored.issuance_profile_id.clone().unwrap_or_default();
    let nested = settings.enrollment_settings.issuance_profile_id.take();
    let id: ProfileId = match settings.issuance_profile_id.take() {
        Some(id) if id != before => id,
        Some(unchanged) => nested.unwrap_or(unchanged),
        None => nested.unwrap_or_default(),
    };
    settings.issuance_profile_id = Some(id.clone());
    settings.enrollment_settings.issuance_profile_id = Some(id);
    let key = &mut settings.server_keygen_settings.key;
    if !matches!(key.key_type.as_str(), "RSA" | "DSA" | "ECDSA" | "Ed25519") {
        key.key_type = KeygenKey::default().key_type;
    }
    settings
}

#[cfg(test)]
mod tests {
    use lamassu_core::dms::settings::DmsSettings;

    use super::{for_create, for_update};
    use crate::secrets::DmsSecrets;

    fn read(json: &str) -> DmsSettings {
        lamassu_core::json::from_slice(json.as_bytes()).unwrap()
    }

    fn created(sent: DmsSettings) -> DmsSettings {
        for_create(sent).unwrap().0
    }

    fn updated(sent: DmsSettings, stored: &DmsSettings) -> DmsSettings {
        for_update(sent, stored, &DmsSecrets::default()).unwrap().0
    }

    fn profile_of(settings: &DmsSettings) -> (&str, &str) {
        let top = settings.issuance_profile_id.as_ref().unwrap();
        let nested = settings
            .enrollment_settings
            .issuance_profile_id
            .as_ref()
            .unwrap();
        (top.as_str(), nested.as_str())
    }

    #[test]
    fn the_changed_spelling_of_the_profile_counts() {
        let stored = created(read(r#"{"issuance_profile_id":"old"}"#));
        let cases = [
            (r#"{"issuance_profile_id":"new"}"#, "new"),
            (r#"{"issuance_profile_id":""}"#, ""),
            (
                r#"{"enrollment_settings":{"issuance_profile_id":"new"}}"#,
                "new",
            ),
            (
                r#"{"issuance_profile_id":"old","enrollment_settings":{"issuance_profile_id":"new"}}"#,
                "new",
            ),
            (
                r#"{"issuance_profile_id":"new","enrollment_settings":{"issuance_profile_id":"old"}}"#,
                "new",
            ),
            ("{}", ""),
        ];
        for (sent, expected) in cases {
            let settings = updated(read(sent), &stored);
            assert_eq!(profile_of(&settings), (expected, expected), "{sent}");
        }
    }

    #[test]
    fn reenrollment_follows_enrollment_only_where_nothing_is_said() {
        let enrollment =
            r#""enrollment_settings":{"est_rfc7030_settings":{"auth_mode":"NO_AUTH"}}"#;
        let silent = created(read(&format!("{{{enrollment}}}")));
        let reenrollment = |settings: &DmsSettings| {
            settings
                .reenrollment_settings
                .est_rfc7030_settings
                .clone()
                .unwrap()
        };
        assert_eq!(reenrollment(&silent).auth_mode, "NO_AUTH");
        let explicit = r#""reenrollment_settings":{"est_rfc7030_settings":{}}"#;
        let empty = created(read(&format!("{{{enrollment},{explicit}}}")));
        assert_eq!(reenrollment(&empty).auth_mode, "");
        let kept = updated(read("{}"), &silent);
        assert_eq!(reenrollment(&kept).auth_mode, "NO_AUTH");
        assert_eq!(kept.enrollment_settings.est_rfc7030_settings.auth_mode, "");
    }

    #[test]
    fn what_older_clients_do_not_know_of_a_profile_stays() {
        let with = |enforcement: &str| {
            read(&format!(
                r#"{{"issuance_profile":{{"crypto_enforcement":{enforcement}}}}}"#
            ))
        };
        let stored = created(with(
            r#"{"allow_ed25519_keys":true,"allow_mldsa_keys":true}"#,
        ));
        let kept = updated(with(r#"{"allow_mldsa_keys":false}"#), &stored);
        let enforcement = kept.issuance_profile.unwrap().crypto_enforcement;
        assert!(enforcement.allow_ed25519_keys.is_allowed());
        assert!(!enforcement.allow_mldsa_keys.is_allowed());
    }

    #[test]
    fn unknown_key_types_become_the_unknown_one() {
        let settings = created(read(
            r#"{"server_keygen_settings":{"key":{"type":"UNKNOWN","bits":1}}}"#,
        ));
        assert_eq!(settings.server_keygen_settings.key.key_type, "0");
    }
}
