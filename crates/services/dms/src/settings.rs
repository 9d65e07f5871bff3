//! What a client sent, made whole: absent members and the other spellings of dashboards.

use lamassu_core::dms::settings::{DmsSettings, KeygenKey};
use lamassu_core::ids::ProfileId;

/// The settings of a new DMS: who may re-enroll is who may enroll, unless that is said.
pub(crate) fn for_create(sent: DmsSettings) -> DmsSettings {
    let nobody_said = DmsSettings::default();
    let mut settings = with_profile_id(sent, &nobody_said);
    let enrollment = &settings.enrollment_settings.est_rfc7030_settings;
    settings
        .reenrollment_settings
        .est_rfc7030_settings
        .get_or_insert_with(|| enrollment.clone());
    settings
}

/// The settings of a DMS that is being replaced: who may re-enroll stays, unless that is said.
pub(crate) fn for_update(sent: DmsSettings, stored: &DmsSettings) -> DmsSettings {
    let mut settings = with_profile_id(sent, stored);
    let (sent, kept) = (
        &mut settings.enrollment_settings,
        &stored.enrollment_settings,
    );
    sent.approval = std::mem::take(&mut sent.approval).or_stored(&kept.approval);
    let channel_binding = std::mem::take(&mut sent.channel_binding);
    sent.channel_binding = channel_binding.or_stored(&kept.channel_binding);
    let kept = &stored.reenrollment_settings.est_rfc7030_settings;
    settings
        .reenrollment_settings
        .est_rfc7030_settings
        .get_or_insert_with(|| kept.clone().unwrap_or_default());
    if let (Some(sent), Some(stored)) = (&mut settings.issuance_profile, &stored.issuance_profile) {
        let (sent, stored) = (&mut sent.crypto_enforcement, &stored.crypto_enforcement);
        sent.allow_ed25519_keys = sent.allow_ed25519_keys.or_stored(stored.allow_ed25519_keys);
        sent.allow_mldsa_keys = sent.allow_mldsa_keys.or_stored(stored.allow_mldsa_keys);
    }
    settings
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
    use lamassu_core::dms::settings::{DmsSettings, EstSettings};

    use super::{for_create, for_update};

    fn read(json: &str) -> DmsSettings {
        lamassu_core::json::from_slice(json.as_bytes()).unwrap()
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
        let stored = for_create(read(r#"{"issuance_profile_id":"old"}"#));
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
            let settings = for_update(read(sent), &stored);
            assert_eq!(profile_of(&settings), (expected, expected), "{sent}");
        }
    }

    #[test]
    fn reenrollment_follows_enrollment_only_where_nothing_is_said() {
        let enrollment =
            r#""enrollment_settings":{"est_rfc7030_settings":{"auth_mode":"NO_AUTH"}}"#;
        let silent = for_create(read(&format!("{{{enrollment}}}")));
        let reenrollment = |settings: &DmsSettings| {
            settings
                .reenrollment_settings
                .est_rfc7030_settings
                .clone()
                .unwrap()
        };
        assert_eq!(reenrollment(&silent).auth_mode, "NO_AUTH");
        let explicit = r#""reenrollment_settings":{"est_rfc7030_settings":{}}"#;
        let empty = for_create(read(&format!("{{{enrollment},{explicit}}}")));
        assert_eq!(reenrollment(&empty), EstSettings::default());
        let updated = for_update(read("{}"), &silent);
        assert_eq!(reenrollment(&updated).auth_mode, "NO_AUTH");
        assert_eq!(
            updated.enrollment_settings.est_rfc7030_settings.auth_mode,
            ""
        );
    }

    #[test]
    fn what_older_clients_do_not_know_of_a_profile_stays() {
        let with = |enforcement: &str| {
            read(&format!(
                r#"{{"issuance_profile":{{"crypto_enforcement":{enforcement}}}}}"#
            ))
        };
        let stored = for_create(with(
            r#"{"allow_ed25519_keys":true,"allow_mldsa_keys":true}"#,
        ));
        let updated = for_update(with(r#"{"allow_mldsa_keys":false}"#), &stored);
        let enforcement = updated.issuance_profile.unwrap().crypto_enforcement;
        assert!(enforcement.allow_ed25519_keys.is_allowed());
        assert!(!enforcement.allow_mldsa_keys.is_allowed());
    }

    #[test]
    fn unknown_key_types_become_the_unknown_one() {
        let settings = for_create(read(
            r#"{"server_keygen_settings":{"key":{"type":"UNKNOWN","bits":1}}}"#,
        ));
        assert_eq!(settings.server_keygen_settings.key.key_type, "0");
    }
}
