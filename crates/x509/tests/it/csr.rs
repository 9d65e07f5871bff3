use bytes::Bytes;
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, SignatureScheme};
use lamassu_x509::pem::PemLabel;
use lamassu_x509::{
    CertificationRequest, GeneralName, KeyUsage, KeyUsageBit, Possession, RequestTemplate,
    VerifyCsrError, oids,
};

use crate::openssl::{Files, openssl, text};
use crate::support::{DEVICE, common_name, csr, device_template, element, key, sign};

#[test]
fn what_a_template_asks_for_is_read_back() {
    let template = device_template("dev-1")
        .with_key_usage(
            [KeyUsageBit::DigitalSignature, KeyUsageBit::DecipherOnly]
                .into_iter()
                .collect(),
        )
        .with_extended_key_usage(&[oids::KP_CLIENT_AUTH])
        .with_subject_alt_names(&[GeneralName::Dns("dev-1.example".to_owned())]);

    let request = csr(&template, &DEVICE);

    assert_eq!(request.subject(), &common_name("dev-1"));
    assert_eq!(request.spki_der(), DEVICE.public_key().spki_der());
    let extensions = request.requested_extensions();
    let usage: KeyUsage = extensions.key_usage().unwrap().unwrap();
    assert!(usage.contains(KeyUsageBit::DecipherOnly));
    assert_eq!(
        extensions.extended_key_usage().unwrap().unwrap(),
        [oids::KP_CLIENT_AUTH]
    );
    assert_eq!(
        extensions.subject_alt_names().unwrap(),
        [GeneralName::Dns("dev-1.example".to_owned())]
    );
    assert_eq!(request.challenge_password(), None);
}

#[test]
fn openssl_accepts_our_requests() {
    let files = Files::new();
    for spec in [
        KeySpec::Rsa(2048),
        KeySpec::Ec(Curve::P224),
        KeySpec::Ec(Curve::P521),
        KeySpec::Ed25519,
    ] {
        let key = key(spec);
        let template = RequestTemplate::new(common_name("d"), key.public_key())
            .with_subject_alt_names(&[GeneralName::Dns("d.example".to_owned())]);
        let path = files.pem(
            "d.csr",
            PemLabel::CertificateRequest,
            csr(&template, &key).as_der(),
        );
        let said = openssl(&["req", "-in", text(&path), "-verify", "-noout", "-text"]);
        assert!(
            said.contains("verify OK") || said.contains("self-signature"),
            "{said}"
        );
        assert!(said.contains("DNS:d.example"), "{said}");
    }
}

#[test]
fn requests_of_openssl_are_read_and_verified() {
    let files = Files::new();
    let (key, der) = (files.path("key.pem"), files.path("csr.der"));
    let config = files.der(
        "req.cnf",
        b"[req]\ndistinguished_name=dn\nattributes=attrs\nprompt=no\n[dn]\nCN=dev\n[attrs]\nchallengePassword=secret\n",
    );
    for (algorithm, signing) in [
        (&["rsa:2048"][..], &["-sha384"][..]),
        (
            &["rsa:2048"],
            &[
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:11",
            ],
        ),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &["-sha512"]),
        (
            &["ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"],
            &["-sha256"],
        ),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], &["-sha1"]),
        (&["ed25519"], &[]),
    ] {
        let mut args = vec![
            "req",
            "-new",
            "-config",
            text(&config),
            "-nodes",
            "-keyout",
            text(&key),
        ];
        args.extend(["-outform", "DER", "-out", text(&der), "-newkey"]);
        args.extend_from_slice(algorithm);
        args.extend_from_slice(signing);
        openssl(&args);

        let request = CertificationRequest::from_der(std::fs::read(&der).unwrap()).unwrap();

        assert_eq!(
            request.challenge_password(),
            Some(&Bytes::from_static(b"secret"))
        );
        assert_eq!(request.subject().common_name().as_deref(), Some("dev"));
        let verified = request.verify().unwrap();
        assert_eq!(verified.possession(), Possession::Proven);
    }
}

#[test]
fn a_flipped_signature_is_refused_unless_a_policy_waives_it() {
    let mut der = csr(&device_template("d"), &DEVICE).as_der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let request = CertificationRequest::from_der(der).unwrap();

    let error = request.clone().verify().unwrap_err();

    assert_eq!(error.to_string(), "invalid CSR signature");
    let waived = request.waive_possession_by_policy().unwrap();
    assert_eq!(waived.possession(), Possession::WaivedByPolicy);
    assert_eq!(waived.public_key(), DEVICE.public_key());
}

#[test]
fn a_key_of_unknown_kind_cannot_be_verified_nor_waived() {
    // Key algorithm 1.2.3, signature algorithm 1.2.4.
    let der = [
        &[0x30, 33, 0x30, 21, 0x02, 1, 0, 0x30, 0][..],
        &[0x30, 12, 0x30, 4, 0x06, 2, 0x2a, 0x03, 0x03, 4, 0, 1, 2, 3],
        // Attributes are there, but empty.
        &[0xa0, 0],
        &[0x30, 4, 0x06, 2, 0x2a, 0x04, 0x03, 2, 0, 1],
    ]
    .concat();
    let request = CertificationRequest::from_der(der).unwrap();
    assert!(matches!(
        request.clone().verify(),
        Err(VerifyCsrError::Key(_))
    ));
    assert!(matches!(
        request.waive_possession_by_policy(),
        Err(VerifyCsrError::Key(_))
    ));
}

#[test]
fn missing_attributes_and_microsoft_s_extension_request_are_tolerated() {
    let spki = DEVICE.public_key().spki_der();
    let key_usage = element(
        0x30,
        &[b"\x06\x03\x55\x1d\x0f", b"\x04\x04\x03\x02\x07\x80"],
    );
    let microsoft = element(
        0x30,
        &[
            b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e",
            &element(0x31, &[&element(0x30, &[&key_usage])]),
        ],
    );
    for (attributes, has_key_usage) in [(Vec::new(), false), (element(0xa0, &[&microsoft]), true)] {
        let info = element(0x30, &[b"\x02\x01\x00\x30\x00", spki, &attributes]);
        let scheme = SignatureScheme::Ecdsa(HashAlgorithm::Sha256);
        let signature = sign(&DEVICE, scheme, &info);
        let bits = element(0x03, &[b"\x00", &signature]);
        let algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
        let der = element(0x30, &[&info, algorithm, &bits]);

        let verified = CertificationRequest::from_der(der)
            .unwrap()
            .verify()
            .unwrap();

        let key_usage = verified.csr().requested_extensions().key_usage().unwrap();
        assert_eq!(key_usage.is_some(), has_key_usage);
    }
}
