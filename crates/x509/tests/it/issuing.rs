use bytes::Bytes;
use lamassu_crypto::{Curve, KeySpec};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, IssueError, Issuer, KeyPolicy, KeyUsageRule, Profile,
    SizeRule, Subject, SubjectAltNameRule, SubjectRule, Validity, prepare,
};
use lamassu_x509::pem::PemLabel;
use lamassu_x509::{
    BasicConstraints, Certificate, Criticality, Extension, GeneralName, KeyUsage, KeyUsageBit,
    Name, SignatureError, SubjectFields, oids,
};
use time::{Duration, OffsetDateTime};

use crate::name::one_attribute;
use crate::openssl::{Files, openssl, text};
use crate::support::{
    Ca, Conditions, DEVICE, NOW, P256, ROOT, ca_profile, common_name, device_subject,
    device_template, honouring_profile, root_certificate, sign,
};

fn extension_order(certificate: &Certificate) -> Vec<(String, bool)> {
    certificate
        .extensions()
        .iter()
        .map(|extension| {
            (
                extension.oid().unwrap().to_string(),
                extension.is_critical(),
            )
        })
        .collect()
}

#[test]
fn openssl_verifies_a_chain_on_every_kind_of_key() {
    let files = Files::new();
    for spec in [
        KeySpec::Rsa(2048),
        KeySpec::Ec(Curve::P224),
        KeySpec::Ec(Curve::P256),
        KeySpec::Ec(Curve::P384),
        KeySpec::Ec(Curve::P521),
        KeySpec::Ed25519,
    ] {
        let root = Ca::root(spec);
        let device = root.issue(
            &device_subject(&device_template("d")),
            &Conditions::new(honouring_profile()),
        );
        let ca = files.pem("ca.pem", PemLabel::Certificate, root.certificate.as_der());
        let leaf = files.pem("leaf.pem", PemLabel::Certificate, device.as_der());
        let at = NOW.unix_timestamp().to_string();
        let said = openssl(&[
            "verify",
            "-x509_strict",
            "-check_ss_sig",
            "-attime",
            &at,
            "-CAfile",
            text(&ca),
            text(&leaf),
        ]);
        assert!(said.contains("OK"), "{said}");
    }
}

#[test]
fn a_root_carries_what_a_ca_needs_in_order() {
    let root = &ROOT.certificate;

    assert!(root.is_self_signed());
    assert_eq!(
        extension_order(root),
        [
            ("2.5.29.15".to_owned(), true),
            ("2.5.29.19".to_owned(), true),
            ("2.5.29.14".to_owned(), false),
            ("2.5.29.35".to_owned(), false),
        ]
    );
    assert_eq!(root.issuer(), root.subject());
    assert_eq!(
        root.authority_key_identifier(),
        root.subject_key_identifier()
    );
    assert_eq!(root.extensions().key_usage(), Ok(Some(KeyUsage::ca())));
    assert_eq!(
        hex::encode(root.subject_key_identifier().unwrap()),
        ROOT.key.public_key().key_id_sha256_hex()
    );
    assert_eq!(root.unreadable_by_go(), None);
}

#[test]
fn an_end_entity_carries_everything_in_order() {
    let template = device_template("dev-1")
        .with_subject_alt_names(&[GeneralName::Dns("dev-1.example".to_owned())])
        .with_extended_key_usage(&[oids::KP_CLIENT_AUTH, oids::PKIX_OCSP_BASIC])
        .with_key_usage([KeyUsageBit::DigitalSignature].into_iter().collect());
    let conditions =
        Conditions::new(honouring_profile()).at_domain("va.example/api/va", &ROOT.certificate);

    let device = ROOT.issue(&device_subject(&template), &conditions);

    assert_eq!(
        extension_order(&device),
        [
            ("2.5.29.15".to_owned(), true),
            ("2.5.29.37".to_owned(), false),
            ("2.5.29.14".to_owned(), false),
            ("2.5.29.35".to_owned(), false),
            ("1.3.6.1.5.5.7.1.1".to_owned(), false),
            ("2.5.29.31".to_owned(), false),
            ("2.5.29.17".to_owned(), false),
        ]
    );
    // A purpose that has no name in the API is passed over.
    assert_eq!(
        device.extensions().extended_key_usage(),
        Ok(Some(vec![oids::KP_CLIENT_AUTH]))
    );
    let locations = device.extensions().access_locations().unwrap();
    let issuer = hex::encode(ROOT.certificate.key_identifier());
    assert_eq!(locations.ocsp, ["http://va.example/api/va/ocsp"]);
    assert_eq!(
        locations.crl,
        [format!("http://va.example/api/va/crl/{issuer}")]
    );
    assert_eq!(device.issuer(), ROOT.certificate.subject());
    assert_eq!(
        device.authority_key_identifier(),
        ROOT.certificate.subject_key_identifier()
    );
    assert_eq!(
        hex::encode(device.subject_key_identifier().unwrap()),
        DEVICE.public_key().key_id_sha256_hex()
    );
}

#[test]
fn dates_are_exact_to_the_second() {
    let profile = Profile {
        validity: Validity::Duration(Duration::hours(12)),
        ..honouring_profile()
    };
    let device = ROOT.issue(
        &device_subject(&device_template("d")),
        &Conditions::new(profile.clone()),
    );
    assert_eq!(device.not_before(), NOW.replace_nanosecond(0).unwrap());
    assert_eq!(
        device.not_after() - device.not_before(),
        Duration::hours(12)
    );

    let back_dated = Profile {
        back_dating: Duration::minutes(5),
        ..profile
    };
    let device = ROOT.issue(
        &device_subject(&device_template("d")),
        &Conditions::new(back_dated),
    );
    assert_eq!(
        device.not_before(),
        NOW.replace_nanosecond(0).unwrap() - Duration::minutes(5)
    );
    assert_eq!(
        device.not_after(),
        NOW.replace_nanosecond(0).unwrap() + Duration::hours(12)
    );
}

#[test]
fn a_validity_that_no_certificate_can_hold_is_refused() {
    let profile = Profile {
        validity: Validity::Duration(Duration::days(365 * 9000)),
        ..honouring_profile()
    };
    let subject = device_subject(&device_template("d"));
    let conditions = Conditions::new(profile);
    let error = prepare(&subject, &ROOT.issuer(), &conditions.terms()).unwrap_err();
    assert_eq!(error, IssueError::ValidityOutOfRange);
}

#[test]
fn a_replaced_subject_keeps_only_the_requested_common_name() {
    let requested = SubjectFields {
        common_name: "dev-1".to_owned(),
        organization: "Requested".to_owned(),
        ..SubjectFields::default()
    };
    let template = lamassu_x509::RequestTemplate::new(requested.to_name(), DEVICE.public_key());
    for (profile_cn, common_name) in [("", "dev-1"), ("fixed", "fixed")] {
        let profile = Profile {
            subject: SubjectRule::Replace(SubjectFields {
                common_name: profile_cn.to_owned(),
                country: "ES".to_owned(),
                ..SubjectFields::default()
            }),
            ..honouring_profile()
        };
        let device = ROOT.issue(&device_subject(&template), &Conditions::new(profile));
        assert_eq!(
            device.subject().to_string(),
            format!("C=ES,CN={common_name}")
        );
    }
}

#[test]
fn an_honoured_subject_keeps_its_bytes_unless_go_cannot_read_them() {
    let mut der = common_name("dev-1").as_der().to_vec();
    let issue = |name: Name| {
        let template = lamassu_x509::RequestTemplate::new(name, DEVICE.public_key());
        ROOT.issue(
            &device_subject(&template),
            &Conditions::new(honouring_profile()),
        )
    };
    // `dnQualifier` is no field of the API, T61String no type of ours.
    for (arc, tag) in [(3, 0x13), (46, 0x14)] {
        let honoured = one_attribute(arc, tag, b"plain");
        assert_eq!(issue(honoured.clone()).subject(), &honoured);
    }

    // PrintableString with an underscore.
    let underscore = der.iter().position(|octet| *octet == b'-').unwrap();
    der[underscore] = b'_';
    let repaired = issue(Name::from_der(der).unwrap());
    assert_eq!(repaired.subject(), &common_name("dev_1"));
}

#[test]
fn usages_of_the_profile_replace_those_of_the_request() {
    let template = device_template("d")
        .with_key_usage(KeyUsage::ca())
        .with_subject_alt_names(&[GeneralName::Dns("d.example".to_owned())]);
    let profile = Profile {
        key_usage: KeyUsageRule::Replace(KeyUsage::NONE),
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_SERVER_AUTH, oids::KP_ANY]),
        subject_alt_name: SubjectAltNameRule::Drop,
        ..honouring_profile()
    };

    let device = ROOT.issue(&device_subject(&template), &Conditions::new(profile));

    assert_eq!(device.extensions().key_usage(), Ok(None));
    assert_eq!(
        device.extensions().extended_key_usage(),
        Ok(Some(vec![oids::KP_SERVER_AUTH, oids::KP_ANY]))
    );
    assert_eq!(device.extensions().subject_alt_names(), Ok(vec![]));
}

#[test]
fn a_request_does_not_make_an_ocsp_responder() {
    let template = device_template("d")
        .with_extended_key_usage(&[oids::KP_OCSP_SIGNING, oids::KP_CLIENT_AUTH]);
    let device = ROOT.issue(
        &device_subject(&template),
        &Conditions::new(honouring_profile()),
    );
    assert_eq!(
        device.extensions().extended_key_usage(),
        Ok(Some(vec![oids::KP_CLIENT_AUTH]))
    );
}

#[test]
fn a_subordinate_has_its_path_length() {
    let profile = Profile {
        role: CertificateRole::Ca {
            path_len_constraint: Some(0),
        },
        ..ca_profile()
    };
    let ca = ROOT.issue(
        &device_subject(&device_template("Sub")),
        &Conditions::new(profile),
    );
    assert_eq!(
        ca.extensions().basic_constraints(),
        Ok(Some(BasicConstraints {
            ca: true,
            path_len_constraint: Some(0)
        }))
    );
}

#[test]
fn an_issuer_without_key_identifier_leaves_it_out() {
    let issuer = Issuer::Ca {
        name: common_name("Root"),
        key_identifier: None,
        scheme: P256.default_scheme(),
        not_after: ROOT.certificate.not_after(),
    };
    let subject = device_subject(&device_template("d"));
    let conditions = Conditions::new(honouring_profile());
    let prepared = prepare(&subject, &issuer, &conditions.terms()).unwrap();
    let device =
        Certificate::from_der(crate::support::signed(prepared.to_be_signed, &P256)).unwrap();
    assert_eq!(device.authority_key_identifier(), None);
}

#[test]
fn a_request_with_broken_usages_is_refused() {
    for oid in [oids::CE_KEY_USAGE, oids::CE_EXT_KEY_USAGE] {
        let broken = Extension::new(
            &oid,
            Criticality::NonCritical,
            Bytes::from_static(b"\x05\x00"),
        );
        let csr = crate::support::device_csr(&device_template("d").with_extension(broken));
        assert!(matches!(
            Subject::of_csr(&csr),
            Err(IssueError::RequestedExtension(_))
        ));
    }
}

#[test]
fn a_key_against_the_policy_is_refused_first() {
    let profile = Profile {
        key_policy: KeyPolicy::Enforced {
            rsa: SizeRule::AnySize,
            ecdsa: SizeRule::Forbidden,
            ed25519: SizeRule::Forbidden,
            ml_dsa: SizeRule::Forbidden,
        },
        ..honouring_profile()
    };
    let subject = device_subject(&device_template("d"));
    let conditions = Conditions::new(profile);
    let error = prepare(&subject, &ROOT.issuer(), &conditions.terms()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "public key is ECDSA, but issuance profile does not allow ECDSA keys"
    );
}

#[test]
fn a_signature_of_another_key_is_not_assembled() {
    let subject = device_subject(&device_template("d"));
    let conditions = Conditions::new(honouring_profile());
    let prepared = prepare(&subject, &ROOT.issuer(), &conditions.terms()).unwrap();
    let to_be_signed = prepared.to_be_signed;
    let signature = sign(&DEVICE, to_be_signed.scheme(), to_be_signed.as_bytes());
    let error = to_be_signed
        .assemble_verified(&signature, ROOT.key.public_key())
        .unwrap_err();
    assert!(matches!(error, SignatureError::Mismatch(_)));
}

#[test]
fn openssl_reads_a_certificate_that_ends_in_year_1() {
    let profile = Profile {
        validity: Validity::Until(OffsetDateTime::UNIX_EPOCH.replace_year(1).unwrap()),
        ..ca_profile()
    };
    let root = root_certificate(&P256, &common_name("R"), &profile);
    let files = Files::new();
    let path = files.pem("r.pem", PemLabel::Certificate, root.as_der());
    let said = openssl(&["x509", "-in", text(&path), "-noout", "-text"]);
    assert!(said.contains("Not After : Jan  1 00:00:00 1 GMT"), "{said}");
}
