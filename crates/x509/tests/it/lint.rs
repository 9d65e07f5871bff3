use bytes::Bytes;
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, IssueError, KeyUsageRule, Profile, SubjectRule,
    Validity, prepare,
};
use lamassu_x509::lint::{LintPolicy, LintRule, Severity};
use lamassu_x509::{
    Criticality, Extension, Extensions, GeneralName, KeyUsage, KeyUsageBit, Name, RequestTemplate,
    SubjectFields, oids,
};
use time::macros::datetime;

use crate::support::{
    Conditions, DEVICE, NOW, ROOT, ca_profile, device_subject, device_template, honouring_profile,
};

fn verdict(profile: Profile, name: &str, lint: LintPolicy) -> Result<Vec<LintRule>, IssueError> {
    let mut conditions = Conditions::new(profile);
    conditions.lint = lint;
    let subject = device_subject(&device_template(name));
    prepare(&subject, &ROOT.issuer(), &conditions.terms()).map(|prepared| prepared.warnings)
}

/// Without the rule that certificates made for other rules break.
fn policy() -> LintPolicy {
    LintPolicy::default().with(LintRule::NoUsage, Severity::Off)
}

fn warnings(profile: Profile) -> Vec<LintRule> {
    verdict(profile, "d", policy()).unwrap()
}

#[test]
fn an_ordinary_certificate_breaks_no_rule() {
    assert_eq!(warnings(honouring_profile()), []);
}

#[test]
fn odd_but_usable_certificates_warn() {
    let profile = honouring_profile;
    for (profile, rule) in [
        (
            Profile {
                validity: Validity::Until(datetime!(0001-01-01 00:00 UTC)),
                ..profile()
            },
            LintRule::ValidityOrder,
        ),
        (
            Profile {
                role: CertificateRole::Ca {
                    path_len_constraint: Some(0),
                },
                ..profile()
            },
            LintRule::CaKeyUsage,
        ),
        (
            Profile {
                key_usage: KeyUsageRule::Replace(KeyUsage::ca()),
                ..profile()
            },
            LintRule::EndEntityKeyUsage,
        ),
        (
            Profile {
                extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_SERVER_AUTH]),
                ..profile()
            },
            LintRule::ServerAuthNames,
        ),
        (
            Profile {
                subject: SubjectRule::Replace(SubjectFields::with_common_name("x".repeat(65))),
                ..profile()
            },
            LintRule::CommonNameLength,
        ),
    ] {
        assert_eq!(warnings(profile), [rule]);
    }
    assert_eq!(
        verdict(honouring_profile(), "", policy()),
        Ok(vec![LintRule::EmptySubject])
    );
}

#[test]
fn what_nobody_can_read_is_refused() {
    let twice = Extension::ocsp_nocheck();
    let broken = Extension::new(
        &oids::CE_KEY_USAGE,
        Criticality::NonCritical,
        Bytes::from_static(b"x"),
    );
    for (extensions, rule) in [
        (vec![twice.clone(), twice], LintRule::RepeatedExtension),
        (vec![broken], LintRule::ExtensionsDecode),
    ] {
        let profile = Profile {
            further_extensions: Extensions::from_iter(extensions),
            ..honouring_profile()
        };
        assert_eq!(
            verdict(profile, "d", LintPolicy::default()),
            Err(IssueError::Lint(rule))
        );
    }
}

#[test]
fn the_key_usages_of_a_ca_on_an_end_entity_only_warn() {
    for usage in [KeyUsageBit::KeyCertSign, KeyUsageBit::CrlSign] {
        let conditions = Conditions::new(honouring_profile());
        let template = device_template("d").with_key_usage([usage].into_iter().collect());
        let subject = device_subject(&template);
        let prepared = prepare(&subject, &ROOT.issuer(), &conditions.terms()).unwrap();
        assert_eq!(prepared.warnings, [LintRule::EndEntityKeyUsage]);
    }
}

#[test]
fn ocsp_signing_is_for_the_profile_to_impose() {
    let purpose = Extension::new(
        &oids::CE_EXT_KEY_USAGE,
        Criticality::NonCritical,
        // SEQUENCE { 1.3.6.1.5.5.7.3.9 }
        Bytes::from_static(b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x09"),
    );
    let beside_the_rule = Profile {
        further_extensions: Extensions::from_iter([purpose]),
        ..honouring_profile()
    };
    assert_eq!(
        verdict(beside_the_rule, "d", LintPolicy::default()),
        Err(IssueError::Lint(LintRule::RequestedOcspSigning))
    );
    let imposed = Profile {
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_OCSP_SIGNING]),
        ..honouring_profile()
    };
    assert_eq!(warnings(imposed), []);
}

#[test]
fn severities_can_be_changed() {
    let ends_before = Profile {
        validity: Validity::Until(NOW - time::Duration::DAY),
        ..honouring_profile()
    };
    let refuse = LintPolicy::default().with(LintRule::ValidityOrder, Severity::Refuse);
    let off = policy().with(LintRule::ValidityOrder, Severity::Off);
    assert_eq!(
        verdict(ends_before.clone(), "d", refuse)
            .unwrap_err()
            .to_string(),
        "certificate refused by lint: the validity must not end before it begins"
    );
    assert_eq!(verdict(ends_before, "d", off), Ok(vec![]));
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    for rule in LintRule::ALL {
        assert_eq!(LintRule::from_name(rule.name()), Some(rule));
    }
    assert_eq!(LintRule::from_name("nothing"), None);
}

/// The warnings about what this request gets under this profile.
fn warned(template: &RequestTemplate, profile: Profile) -> Vec<LintRule> {
    let mut conditions = Conditions::new(profile);
    conditions.lint = policy();
    let subject = device_subject(template);
    prepare(&subject, &ROOT.issuer(), &conditions.terms())
        .unwrap()
        .warnings
}

fn using(usages: &[KeyUsageBit], purposes: &[lamassu_x509::ObjectIdentifier]) -> Profile {
    Profile {
        key_usage: KeyUsageRule::Replace(usages.iter().copied().collect()),
        extended_key_usage: ExtendedKeyUsageRule::Replace(purposes.to_vec()),
        ..honouring_profile()
    }
}

#[test]
fn usages_fit_each_other_and_the_key() {
    use KeyUsageBit::{
        ContentCommitment, DecipherOnly, DigitalSignature, EncipherOnly, KeyAgreement,
        KeyEncipherment,
    };
    let client = [oids::KP_CLIENT_AUTH];
    let good = [
        using(&[DigitalSignature], &client),
        using(&[KeyAgreement, EncipherOnly], &[]),
        using(&[KeyAgreement, DecipherOnly], &client),
        using(&[ContentCommitment], &[oids::KP_TIME_STAMPING]),
        using(&[], &client),
        using(&[KeyAgreement], &[oids::KP_ANY]),
    ];
    for profile in good {
        assert_eq!(warnings(profile), []);
    }
    let bad = [
        (
            using(&[EncipherOnly], &[]),
            LintRule::EncipherWithoutAgreement,
        ),
        (
            using(&[DecipherOnly], &[]),
            LintRule::EncipherWithoutAgreement,
        ),
        (
            using(&[KeyEncipherment], &[]),
            LintRule::KeyEnciphermentOnEc,
        ),
        (
            using(&[ContentCommitment], &client),
            LintRule::PurposeWithoutUsage,
        ),
        (
            using(&[KeyAgreement], &[oids::KP_OCSP_SIGNING]),
            LintRule::PurposeWithoutUsage,
        ),
    ];
    for (profile, rule) in bad {
        assert_eq!(warnings(profile), [rule]);
    }
    let nothing = verdict(using(&[], &[]), "d", LintPolicy::default());
    assert_eq!(nothing, Ok(vec![LintRule::NoUsage]));
}

#[test]
fn a_certificate_lasts_for_a_while_and_not_beyond_its_issuer() {
    let lasting = |duration| Profile {
        validity: Validity::Duration(duration),
        ..honouring_profile()
    };
    let (end, second) = (time::Duration::days(90), time::Duration::SECOND);
    assert_eq!(warnings(lasting(end)), []);
    assert_eq!(warnings(lasting(end + second)), [LintRule::OutlivesIssuer]);
    assert_eq!(warnings(lasting(time::Duration::MINUTE)), []);
    assert_eq!(warnings(lasting(second * 59)), [LintRule::ShortLifetime]);
}

#[test]
fn a_ca_has_a_name_of_its_own_and_no_purposes() {
    assert_eq!(warnings(ca_profile()), []);
    let with_purpose = Profile {
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_ANY]),
        ..ca_profile()
    };
    assert_eq!(warnings(with_purpose), [LintRule::CaPurposes]);
    let its_issuer = verdict(ca_profile(), "Root", policy());
    assert_eq!(its_issuer, Ok(vec![LintRule::IssuerNameReused]));
    assert_eq!(verdict(honouring_profile(), "Root", policy()), Ok(vec![]));
}

#[test]
fn alternative_names_are_such_that_all_read() {
    let named = |names: &[GeneralName]| {
        let template = device_template("d").with_subject_alt_names(names);
        warned(&template, honouring_profile())
    };
    let dns = |name: &str| GeneralName::Dns(name.to_owned());
    let uri = |uri: &str| GeneralName::Uri(uri.to_owned());
    assert_eq!(named(&[dns("a.example"), uri("https://a.example/b")]), []);
    for (name, rule) in [
        (dns("*.example.com"), LintRule::WildcardName),
        (dns("localhost"), LintRule::SingleLabelName),
        (uri("urn:dev:ops:1"), LintRule::UriWithoutAuthority),
    ] {
        assert_eq!(named(&[name]), [rule]);
    }
}

#[test]
fn a_mail_address_in_the_subject_is_an_alternative_name_as_well() {
    // SEQUENCE { SET { SEQUENCE { emailAddress, IA5String "a@b.example" } } }
    let der =
        b"\x30\x1c\x31\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01\x16\x0ba@b.example";
    let name = Name::from_der(Bytes::from_static(der)).unwrap();
    let template = RequestTemplate::new(name, DEVICE.public_key());
    assert_eq!(
        warned(&template, honouring_profile()),
        [LintRule::MailInSubjectOnly]
    );
    let mail = GeneralName::Rfc822("a@b.example".to_owned());
    let template = template.with_subject_alt_names(&[mail]);
    assert_eq!(warned(&template, honouring_profile()), []);
}
