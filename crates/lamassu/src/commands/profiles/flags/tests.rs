use clap::Parser;
use lamassu_core::ca::{IssuanceProfile, Member};

use super::ProfileArgs;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    profile: ProfileArgs,
}

fn applied(line: &str, stored: &IssuanceProfile) -> Result<IssuanceProfile, String> {
    let words = ["profile"].into_iter().chain(line.split_whitespace());
    let Line { profile } = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    profile
        .applied(stored)
        .map_err(|error| format!("{error:#}"))
}

#[test]
fn flags_are_members() {
    let line = "--name Devices --validity 90d --honor-subject --key-usage DigitalSignature \
                --extended-key-usage ClientAuth,1.2.3 --allow-key ecdsa-256,ed25519 \
                --allow-san DNS=.*[.]plant --path-length 0";
    let read = applied(line, &IssuanceProfile::default()).unwrap();
    assert!(read.honor_subject && !read.honor_extensions);
    assert_eq!(read.validity.duration.to_string(), "12w6d");
    assert_eq!(read.path_length, Member::Set(0));
    assert_eq!(
        read.extended_key_usage_oids,
        Member::Set(vec!["1.2.3".to_owned()])
    );
    let keys = &read.crypto_enforcement;
    assert!(keys.enabled && !keys.allow_rsa_keys && keys.allow_ed25519_keys.is_allowed());
    assert_eq!(keys.allowed_ecdsa_key_sizes, Some(vec![256]));

    // What is not said stays, what is cleared does not.
    let line = "--honor-subject=false --allow-key any --clear path_length";
    let changed = applied(line, &read).unwrap();
    assert_eq!(changed.name, "Devices");
    assert!(!changed.honor_subject && !changed.crypto_enforcement.enabled);
    assert_eq!(changed.path_length, Member::Cleared);
    assert_eq!(changed.allowed_sans, read.allowed_sans);
}

#[test]
fn what_is_no_member_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.yml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let line = format!("--file {}", file.display());
        applied(&line, &IssuanceProfile::default())
    };
    let profile = read("name: Line\nhonor_subject: true\nkey_usage: [CRLSign]\n").unwrap();
    assert_eq!(profile.name, "Line");
    assert_eq!(profile.key_usage.names().collect::<Vec<_>>(), ["CRLSign"]);
    let json = read("{\"name\": \"L\", \"subject\": {\"country\": \"DE\"}}").unwrap();
    assert_eq!(json.subject.country, "DE");
    let refused = read("nmae: Line\n").unwrap_err();
    assert!(refused.contains("no member \"nmae\""), "{refused}");
    let refused = read("key_usage: [Nonsense]\n").unwrap_err();
    assert!(refused.contains("unknown key usage: Nonsense"), "{refused}");
    let refused = applied("--clear name", &IssuanceProfile::default()).unwrap_err();
    assert!(refused.contains("cannot be cleared"), "{refused}");
}
