use bytes::Bytes;
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, IssueError, KeyUsageRule, Profile, SubjectRule,
    Validity, prepare,
};
use lamassu_x509::lint::{LintPolicy, LintRule, Severity};
use lamassu_x509::{
    Criticality, Extension, Extensions, KeyUsage, KeyUsageBit, SubjectFields, oids,
};
use time::macros::datetime;

use crate::support::{Conditions, NOW, ROOT, device_subject, device_template, honouring_profile};

fn verdict(profile: Profile, name: &str, lint: LintPolicy) -> Result<Vec<LintRule>, IssueError> {
    let mut conditions = Conditions::new(profile);
    conditions.lint = lint;
    let subject = device_subject(&device_template(name));
    prepare(&subject, &ROOT.issuer(), &conditions.terms()).map(|prepared| prepared.warnings)
}

fn warnings(profile: Profile) -> Vec<LintRule> {
    verdict(profile, "d", LintPolicy::default()).unwrap()
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
        verdict(honouring_profile(), "", LintPolicy::default()),
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
    let off = LintPolicy::default().with(LintRule::ValidityOrder, Severity::Off);
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
