use bytes::Bytes;
use lamassu_crypto::{Curve, KeySpec};
use lamassu_x509::issue::{Profile, prepare};
use lamassu_x509::lint::{LintPolicy, LintRule, Severity};
use lamassu_x509::{
    Certificate, Criticality, Extension, Extensions, Malformation, Structure, UnreadableByGo, oids,
};
use time::macros::datetime;

use crate::openssl::{Files, openssl, text};
use crate::support::{
    Ca, Conditions, ROOT, ca_profile, device_subject, device_template, element, honouring_profile,
};

/// A self-signed certificate from the openssl program.
fn openssl_certificate(extra: &[&str]) -> Certificate {
    let files = Files::new();
    let (key, der) = (files.path("key.pem"), files.path("cert.der"));
    let mut args = vec![
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:secp224r1",
        "-nodes",
        "-keyout",
        text(&key),
        "-outform",
        "DER",
        "-out",
        text(&der),
        "-subj",
        "/C=ES/ST=Gipuzkoa/L=Mondragon/O=First/O=Second/OU=Unit/CN=one/CN=two",
    ];
    args.extend_from_slice(extra);
    openssl(&args);
    Certificate::from_der(std::fs::read(&der).unwrap()).unwrap()
}

#[test]
fn a_foreign_certificate_is_read_in_all_parts() {
    let certificate = openssl_certificate(&[
        "-set_serial",
        "256",
        "-addext",
        "keyUsage=critical,keyCertSign,digitalSignature",
        "-addext",
        "extendedKeyUsage=clientAuth,1.2.3.4",
        "-addext",
        "subjectAltName=DNS:a.example,IP:10.0.0.1,email:x@a.example,URI:urn:x",
        "-addext",
        "authorityInfoAccess=OCSP;URI:http://ocsp.example/,caIssuers;URI:http://ca.example/",
        "-addext",
        "crlDistributionPoints=URI:http://crl.example/1,URI:http://crl.example/2",
    ]);

    let fields = certificate.subject().subject_fields();
    assert_eq!(fields.common_name, "two");
    assert_eq!(fields.organization, "First");
    assert_eq!(fields.organizational_unit, "Unit");
    assert_eq!(fields.country, "ES");
    assert_eq!(fields.state, "Gipuzkoa");
    assert_eq!(fields.locality, "Mondragon");
    assert_eq!(certificate.serial().to_hex(), "0100");
    assert!(certificate.is_ca());
    assert!(certificate.is_self_signed());
    assert_eq!(
        certificate.public_key().unwrap().spec(),
        KeySpec::Ec(Curve::P224)
    );
    let extensions = certificate.extensions();
    let usages: Vec<_> = extensions.key_usage().unwrap().unwrap().iter().collect();
    assert_eq!(format!("{usages:?}"), "[DigitalSignature, KeyCertSign]");
    let purposes = extensions.extended_key_usage().unwrap().unwrap();
    assert_eq!(purposes.len(), 2);
    assert_eq!(purposes[0], oids::KP_CLIENT_AUTH);
    assert_eq!(
        format!("{:?}", extensions.subject_alt_names().unwrap()),
        r#"[Dns("a.example"), Ip(10.0.0.1), Rfc822("x@a.example"), Uri("urn:x")]"#
    );
    let locations = extensions.access_locations().unwrap();
    assert_eq!(locations.ocsp, ["http://ocsp.example/"]);
    assert_eq!(locations.ca_issuers, ["http://ca.example/"]);
    assert_eq!(
        locations.crl,
        ["http://crl.example/1", "http://crl.example/2"]
    );
    assert_eq!(
        certificate.subject_key_identifier(),
        certificate.authority_key_identifier()
    );
    assert_eq!(certificate.unreadable_by_go(), None);
}

#[test]
fn negative_and_long_serials_are_read() {
    let long_hex = "ff".to_owned() + &"ee".repeat(19);
    let long = format!("0x{long_hex}");
    for (argument, hex, go) in [
        ("-1", "01", Some(UnreadableByGo::NegativeSerial)),
        (long.as_str(), long_hex.as_str(), None),
        ("0", "00", None),
    ] {
        let certificate = openssl_certificate(&["-set_serial", argument]);
        assert_eq!(certificate.serial().to_hex(), hex);
        assert_eq!(certificate.unreadable_by_go(), go);
    }
}

#[test]
fn a_self_issued_certificate_under_another_key_is_no_root() {
    let other = Ca::root(KeySpec::Ec(Curve::P256));
    let subject = lamassu_x509::issue::Subject::root(
        ROOT.certificate.subject().clone(),
        other.key.public_key(),
        vec![1],
    );
    let cross = ROOT.issue(&subject, &Conditions::new(ca_profile()));

    assert_eq!(cross.issuer(), cross.subject());
    assert!(!cross.is_self_signed());
    assert_eq!(cross.verify_signed_by(ROOT.key.public_key()), Ok(()));
}

#[test]
fn a_certificate_without_extensions_or_with_broken_ones_is_read() {
    let broken = Extension::new(
        &oids::CE_KEY_USAGE,
        Criticality::NonCritical,
        Bytes::from_static(b"\x03\x00"),
    );
    let extensions = Extensions::from_iter([broken.clone(), broken]);

    assert_eq!(
        extensions.key_usage().unwrap_err().to_string(),
        "malformed extension: invalid bit string"
    );
    assert!(extensions.repeated().is_some());
}

#[test]
fn more_extensions_than_anybody_needs_are_refused() {
    let verdict = |n: usize| {
        let extension = Extension::ocsp_nocheck();
        let profile = Profile {
            further_extensions: std::iter::repeat_n(extension, n).collect(),
            ..honouring_profile()
        };
        let mut conditions = Conditions::new(profile);
        conditions.lint = LintPolicy::default().with(LintRule::RepeatedExtension, Severity::Off);
        let subject = device_subject(&device_template("d"));
        prepare(&subject, &ROOT.issuer(), &conditions.terms()).map(drop)
    };
    // Two key identifiers are there already.
    assert_eq!(verdict(Extensions::MAX_LEN - 2), Ok(()));
    let refused = verdict(Extensions::MAX_LEN - 1).unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap();
    assert_eq!(cause.to_string(), "malformed certificate: too large");
}

#[test]
fn malformed_certificates_are_refused_with_the_reason() {
    let der = ROOT.certificate.as_der();
    let mut trailing = der.to_vec();
    trailing.push(0);
    let mut long_form = vec![0x30, 0x83, 0x00];
    long_form.extend_from_slice(&der[2..]);
    for (bytes, malformation) in [
        (Vec::new(), Malformation::Truncated),
        (der[..der.len() - 1].to_vec(), Malformation::Truncated),
        (trailing, Malformation::TrailingData),
        (vec![0x30, 0x80, 0, 0], Malformation::IndefiniteLength),
        (long_form, Malformation::NonMinimalLength),
        (
            vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            Malformation::Truncated,
        ),
        (
            vec![0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            Malformation::Truncated,
        ),
        (vec![0x3f, 0x81, 0x00, 0x00], Malformation::MultiByteTag),
        (
            vec![0x31, 0x00],
            Malformation::UnexpectedTag {
                expected: 0x30,
                found: 0x31,
            },
        ),
        (vec![0x30; Certificate::MAX_LEN + 1], Malformation::TooLarge),
        (vec![0x30, 0x00], Malformation::Truncated),
    ] {
        let error = Certificate::from_der(bytes).unwrap_err();
        assert_eq!(error.structure, Structure::Certificate);
        assert_eq!(error.malformation, malformation);
    }
}

#[test]
fn dates_from_year_1_to_9999_survive() {
    use lamassu_x509::issue::Validity;
    for (until, encoded) in [
        (
            datetime!(0001-01-01 00:00 UTC),
            &b"\x18\x0f00010101000000Z"[..],
        ),
        (
            datetime!(1949-12-31 23:59:59 UTC),
            b"\x18\x0f19491231235959Z",
        ),
        (datetime!(1950-01-01 00:00 UTC), b"\x17\x0d500101000000Z"),
        (
            datetime!(2049-12-31 23:59:59.9 UTC),
            b"\x17\x0d491231235959Z",
        ),
        (datetime!(2050-01-01 00:00 UTC), b"\x18\x0f20500101000000Z"),
        (
            datetime!(9999-12-31 23:59:59.999 UTC),
            b"\x18\x0f99991231235959Z",
        ),
    ] {
        let mut profile = honouring_profile();
        profile.validity = Validity::Until(until);
        let certificate = ROOT.issue(
            &device_subject(&device_template("d")),
            &Conditions::new(profile),
        );

        assert_eq!(
            certificate.not_after(),
            until.replace_nanosecond(0).unwrap()
        );
        assert!(
            certificate
                .as_der()
                .windows(encoded.len())
                .any(|window| window == encoded)
        );
    }
}

/// A certificate by hand; nobody signed it.
struct Handmade {
    version: Vec<u8>,
    serial: Vec<u8>,
    key: Vec<u8>,
    extensions: Vec<u8>,
}

impl Handmade {
    fn ordinary() -> Self {
        Self {
            version: vec![0xa0, 3, 2, 1, 2],
            serial: vec![1],
            key: ROOT.key.public_key().spki_der().to_vec(),
            extensions: Vec::new(),
        }
    }

    fn certificate(&self) -> Certificate {
        let algorithm = element(0x30, &[b"\x06\x02\x2a\x03"]);
        let time = element(0x17, &[b"260102030405Z"]);
        let tbs = element(
            0x30,
            &[
                &self.version,
                &element(0x02, &[&self.serial]),
                &algorithm,
                &element(0x30, &[]),
                &element(0x30, &[&time, &time]),
                &element(0x30, &[]),
                &self.key,
                // issuerUniqueID
                b"\x81\x02\x00\x01",
                &self.extensions,
            ],
        );
        let signature = element(0x03, &[b"\x00\x01"]);
        Certificate::from_der(element(0x30, &[&tbs, &algorithm, &signature])).unwrap()
    }
}

#[test]
fn forms_that_go_refuses_are_read_and_named() {
    let key_usage = element(
        0x30,
        &[b"\x06\x03\x55\x1d\x0f", b"\x04\x04\x03\x02\x07\x80"],
    );
    // id-ecPublicKey on secp256k1
    let foreign_curve = element(
        0x30,
        &[
            &element(
                0x30,
                &[
                    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
                    b"\x06\x05\x2b\x81\x04\x00\x0a",
                ],
            ),
            &element(0x03, &[&[0, 4], &[1; 64]]),
        ],
    );
    let ordinary = Handmade::ordinary;
    for (certificate, form) in [
        (ordinary(), None),
        // Version 1 is absent.
        (
            Handmade {
                version: Vec::new(),
                ..ordinary()
            },
            None,
        ),
        (
            Handmade {
                serial: vec![0xff, 0x01],
                ..ordinary()
            },
            Some(UnreadableByGo::NegativeSerial),
        ),
        (
            Handmade {
                serial: vec![0, 1],
                ..ordinary()
            },
            Some(UnreadableByGo::NonMinimalSerial),
        ),
        (
            Handmade {
                extensions: element(0xa3, &[&element(0x30, &[&key_usage, &key_usage])]),
                ..ordinary()
            },
            Some(UnreadableByGo::RepeatedExtension),
        ),
        (
            Handmade {
                key: foreign_curve,
                ..ordinary()
            },
            Some(UnreadableByGo::UnknownCurve),
        ),
    ] {
        assert_eq!(certificate.certificate().unreadable_by_go(), form);
    }
}

#[test]
fn serial_texts_are_of_the_absolute_value() {
    for (content, hex) in [
        (&[0][..], "00"),
        (&[0, 0x80], "80"),
        (&[0xff], "01"),
        (&[0x80], "80"),
        (&[0xff, 0x00], "0100"),
        (&[0, 0, 1], "01"),
    ] {
        let handmade = Handmade {
            serial: content.to_vec(),
            ..Handmade::ordinary()
        };
        assert_eq!(handmade.certificate().serial().to_hex(), hex);
    }
}
