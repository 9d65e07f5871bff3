use bytes::Bytes;
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec};
use lamassu_x509::crl::CrlReason;
use lamassu_x509::issue::{ExtendedKeyUsageRule, Profile};
use lamassu_x509::ocsp::{
    BasicResponse, CertId, CertStatus, IssuerKey, OcspBuildError, OcspRequest, OcspResponse,
    OcspResponseStatus, ResponderId, SingleResponse, error_response, issuer_keys, request_to_der,
};
use lamassu_x509::pem::PemLabel;
use lamassu_x509::{Certificate, Extension, Extensions, Serial, oids};
use time::{Duration, OffsetDateTime};

use crate::openssl::{Files, openssl, text};
use crate::support::{
    Ca, Conditions, DEVICE, NOW, ROOT, device_subject, device_template, element, honouring_profile,
    sign,
};

fn sha1_key(ca: &Ca) -> IssuerKey {
    issuer_keys(&ca.certificate).unwrap()[0].clone()
}

fn device(ca: &Ca) -> Certificate {
    ca.issue(
        &device_subject(&device_template("d")),
        &Conditions::new(honouring_profile()),
    )
}

fn answer(cert_id: CertId, status: CertStatus) -> SingleResponse {
    SingleResponse {
        cert_id,
        status,
        this_update: NOW,
        next_update: Some(NOW + Duration::HOUR),
        archive_cutoff: None,
    }
}

fn basic(ca: &Ca, responses: Vec<SingleResponse>, nonce: Option<Bytes>) -> BasicResponse {
    BasicResponse {
        responder_id: ResponderId::by_name(&ca.certificate),
        produced_at: NOW,
        responses,
        nonce,
        certificates: Vec::new(),
    }
}

pub(crate) fn good_response(ca: &Ca, certificate: &Certificate) -> Bytes {
    let cert_id = CertId::new(&sha1_key(ca), certificate.serial());
    respond(ca, basic(ca, vec![answer(cert_id, CertStatus::Good)], None))
}

fn respond(ca: &Ca, basic: BasicResponse) -> Bytes {
    let to_be_signed = basic.to_be_signed(ca.key.default_scheme()).unwrap();
    let signature = sign(&ca.key, to_be_signed.scheme(), to_be_signed.as_bytes());
    to_be_signed
        .assemble_verified(&signature, ca.key.public_key())
        .unwrap()
}

/// A request made by the openssl program.
fn openssl_request(ca: &Ca, certificate: &Certificate, extra: &[&str]) -> Vec<u8> {
    let files = Files::new();
    let issuer = files.pem("ca.pem", PemLabel::Certificate, ca.certificate.as_der());
    let leaf = files.pem("leaf.pem", PemLabel::Certificate, certificate.as_der());
    let out = files.path("req.der");
    let mut args = vec!["ocsp"];
    args.extend_from_slice(extra);
    args.extend([
        "-issuer",
        text(&issuer),
        "-cert",
        text(&leaf),
        "-reqout",
        text(&out),
    ]);
    openssl(&args);
    std::fs::read(&out).unwrap()
}

#[test]
fn requests_of_openssl_name_the_issuer_under_every_hash() {
    let leaf = device(&ROOT);
    let keys = issuer_keys(&ROOT.certificate).unwrap();
    for (option, key) in ["-sha1", "-sha256", "-sha384", "-sha512"].iter().zip(&keys) {
        let request = OcspRequest::from_der(openssl_request(&ROOT, &leaf, &[option])).unwrap();
        let cert_id = &request.requests()[0].cert_id;
        assert_eq!(cert_id.issuer(), Some(key));
        assert_eq!(cert_id.serial(), leaf.serial());
        assert_eq!(cert_id, &CertId::new(key, leaf.serial()));
        assert!(request.nonce().is_some());
        assert!(request.accepts_basic_response());
    }
}

#[test]
fn a_hash_that_is_not_supported_names_no_issuer() {
    let request = OcspRequest::from_der(openssl_request(&ROOT, &device(&ROOT), &["-md5"])).unwrap();
    assert_eq!(request.requests()[0].cert_id.issuer(), None);
}

#[test]
fn a_signed_request_with_requestor_name_is_read() {
    let files = Files::new();
    let leaf = device(&ROOT);
    let (signer_key, signer) = (files.path("key.pem"), files.path("signer.pem"));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        text(&signer_key),
        "-out",
        text(&signer),
        "-subj",
        "/CN=signer",
    ]);
    let der = openssl_request(
        &ROOT,
        &leaf,
        &["-signer", text(&signer), "-signkey", text(&signer_key)],
    );
    let request = OcspRequest::from_der(der).unwrap();
    assert_eq!(request.requests()[0].cert_id.serial(), leaf.serial());
}

#[test]
fn openssl_believes_our_answers() {
    for spec in [
        KeySpec::Rsa(2048),
        KeySpec::Ec(Curve::P224),
        KeySpec::Ec(Curve::P256),
        KeySpec::Ec(Curve::P384),
    ] {
        let ca = Ca::root(spec);
        let leaf = device(&ca);
        let revoked = CertStatus::Revoked {
            revocation_time: NOW - Duration::DAY,
            reason: CrlReason::KeyCompromise,
        };
        for (status, word) in [
            (CertStatus::Good, "good"),
            (revoked, "revoked"),
            (CertStatus::Unknown, "unknown"),
        ] {
            let der = openssl_request(&ca, &leaf, &[]);
            let request = OcspRequest::from_der(der.clone()).unwrap();
            let single = answer(request.requests()[0].cert_id.clone(), status);
            let response = respond(&ca, basic(&ca, vec![single], request.nonce().cloned()));
            let said = openssl_judges(&ca, &leaf, &der, &response);
            assert!(said.contains("Response verify OK"), "{said}");
            assert!(said.contains(word), "{said}");
            assert!(!said.contains("WARNING: no nonce"), "{said}");
            assert_eq!(said.contains("keyCompromise"), status == revoked);
        }
    }
}

fn openssl_judges(ca: &Ca, leaf: &Certificate, request: &[u8], response: &[u8]) -> String {
    let files = Files::new();
    let issuer = files.pem("ca.pem", PemLabel::Certificate, ca.certificate.as_der());
    let leaf = files.pem("leaf.pem", PemLabel::Certificate, leaf.as_der());
    let request = files.der("req.der", request);
    let response = files.der("resp.der", response);
    let at = NOW.unix_timestamp().to_string();
    openssl(&[
        "ocsp",
        // The nonce of the request stays; without this openssl puts another one in its place.
        "-no_nonce",
        "-reqin",
        text(&request),
        "-respin",
        text(&response),
        "-issuer",
        text(&issuer),
        "-cert",
        text(&leaf),
        "-CAfile",
        text(&issuer),
        "-verify_other",
        text(&issuer),
        "-attime",
        &at,
        "-validity_period",
        "2000000000",
    ])
}

#[test]
fn a_delegated_responder_is_believed_by_its_certificate() {
    let leaf = device(&ROOT);
    let profile = Profile {
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_OCSP_SIGNING]),
        further_extensions: Extensions::from_iter([Extension::ocsp_nocheck()]),
        ..honouring_profile()
    };
    let delegate = ROOT.issue(
        &device_subject(&device_template("responder")),
        &Conditions::new(profile),
    );
    let der = openssl_request(&ROOT, &leaf, &[]);
    let request = OcspRequest::from_der(der.clone()).unwrap();
    let response = BasicResponse {
        responder_id: ResponderId::by_key(&delegate).unwrap(),
        produced_at: NOW,
        responses: vec![answer(
            request.requests()[0].cert_id.clone(),
            CertStatus::Good,
        )],
        nonce: request.nonce().cloned(),
        certificates: vec![delegate.as_der().clone()],
    };
    let to_be_signed = response.to_be_signed(DEVICE.default_scheme()).unwrap();
    let signature = sign(&DEVICE, to_be_signed.scheme(), to_be_signed.as_bytes());
    let response = to_be_signed.assemble(&signature);

    let said = openssl_judges(&ROOT, &leaf, &der, &response);

    assert!(said.contains("Response verify OK"), "{said}");
    let read = OcspResponse::from_der(response).unwrap().basic.unwrap();
    assert_eq!(read.certificates().unwrap(), [delegate]);
    assert_eq!(read.verify_signed_by(DEVICE.public_key()), Ok(()));
}

#[test]
fn several_questions_are_answered_in_order_and_echoed() {
    let key = sha1_key(&ROOT);
    let ids: Vec<CertId> = ["01", "ff", "02"]
        .iter()
        .map(|hex| CertId::new(&key, &Serial::from_hex(hex).unwrap()))
        .collect();
    let request = OcspRequest::from_der(request_to_der(&ids, Some(&[7; 10]))).unwrap();
    let asked: Vec<_> = request
        .requests()
        .iter()
        .map(|single| single.cert_id.clone())
        .collect();
    assert_eq!(asked, ids);

    let mut answers: Vec<_> = asked
        .into_iter()
        .map(|id| answer(id, CertStatus::Good))
        .collect();
    answers[1].archive_cutoff = Some(NOW - Duration::WEEK);
    let der = respond(&ROOT, basic(&ROOT, answers, request.nonce().cloned()));

    let response = OcspResponse::from_der(der).unwrap();
    assert_eq!(response.status, OcspResponseStatus::Successful);
    let read = response.basic.unwrap();
    let echoed: Vec<_> = read
        .responses
        .iter()
        .map(|single| single.cert_id.clone())
        .collect();
    assert_eq!(echoed, ids);
    assert_eq!(read.nonce, request.nonce().cloned());
    assert_eq!(read.responder_id, ResponderId::by_name(&ROOT.certificate));
    assert_eq!(read.produced_at, NOW.replace_nanosecond(0).unwrap());
    let cutoff = read.responses[1]
        .extensions
        .find(&oids::PKIX_OCSP_ARCHIVE_CUTOFF);
    assert_eq!(cutoff.unwrap().value().as_ref(), b"\x18\x0f20260225050607Z");
}

#[test]
fn a_cert_id_without_parameters_is_another_one_and_keeps_its_bytes() {
    let with_null = CertId::new(&sha1_key(&ROOT), &Serial::from_hex("01").unwrap());
    let mut absent = request_to_der(std::slice::from_ref(&with_null), None).to_vec();
    // Four lengths shrink by the two octets of NULL.
    let null = absent
        .windows(4)
        .position(|window| window == [0x1a, 0x05, 0x00, 0x04])
        .unwrap();
    absent.drain(null + 1..null + 3);
    for at in [1, 3, 5, 7, 9, 11] {
        absent[at] -= 2;
    }
    let request = OcspRequest::from_der(absent).unwrap();
    let cert_id = &request.requests()[0].cert_id;
    assert_ne!(cert_id, &with_null);
    assert_eq!(cert_id.issuer(), with_null.issuer());
    let response = respond(
        &ROOT,
        basic(&ROOT, vec![answer(cert_id.clone(), CertStatus::Good)], None),
    );
    assert!(
        response
            .windows(cert_id.as_der().len())
            .any(|window| window == cert_id.as_der())
    );
}

#[test]
fn requests_that_must_not_be_answered_say_why() {
    let id = CertId::new(&sha1_key(&ROOT), &Serial::from_hex("01").unwrap());
    let many = vec![id.clone(); OcspRequest::MAX_REQUESTS + 1];
    let one = element(0x30, &[&element(0x30, &[id.as_der()])]);
    let unknown = element(0x30, &[b"\x06\x02\x2a\x03", b"\x01\x01\xff", b"\x04\x00"]);
    let extensions = element(0xa2, &[&element(0x30, &[&unknown])]);
    let critical = element(0x30, &[&element(0x30, &[&one, &extensions])]);
    let version_2 = element(0x30, &[&element(0x30, &[b"\xa0\x03\x02\x01\x01", &one])]);
    let version_1 = element(0x30, &[&element(0x30, &[b"\xa0\x03\x02\x01\x00", &one])]);
    assert_eq!(
        OcspRequest::from_der(version_1).unwrap().requests().len(),
        1
    );
    for (der, text) in [
        (
            critical.into(),
            "malformed OCSP request: unknown critical extension",
        ),
        (
            version_2.into(),
            "malformed OCSP request: unsupported version",
        ),
        (
            request_to_der(&[], None),
            "malformed OCSP request: empty list",
        ),
        (
            request_to_der(&many, None),
            "malformed OCSP request: too large",
        ),
        (
            request_to_der(std::slice::from_ref(&id), Some(&[])),
            "malformed OCSP request: invalid nonce length",
        ),
        (
            request_to_der(std::slice::from_ref(&id), Some(&[1; 129])),
            "malformed OCSP request: invalid nonce length",
        ),
        (
            Bytes::from_static(b""),
            "malformed OCSP request: sequence truncated",
        ),
    ] {
        assert_eq!(OcspRequest::from_der(der).unwrap_err().to_string(), text);
    }
    for length in [1, 10, 16, 32, 128] {
        let der = request_to_der(std::slice::from_ref(&id), Some(&vec![1; length]));
        assert!(OcspRequest::from_der(der).unwrap().nonce().is_some());
    }
}

#[test]
fn error_responses_are_five_octets() {
    for status in OcspResponseStatus::ALL {
        let der = error_response(status);
        assert_eq!(der.as_ref(), [0x30, 0x03, 0x0a, 0x01, status.code()]);
        assert_eq!(OcspResponse::from_der(der).unwrap().status, status);
        assert_eq!(OcspResponseStatus::from_code(status.code()), Some(status));
    }
    assert_eq!(OcspResponseStatus::from_code(4), None);
}

#[test]
fn dates_that_cannot_be_written_are_refused() {
    let id = CertId::new(&sha1_key(&ROOT), &Serial::from_hex("01").unwrap());
    let mut single = answer(id, CertStatus::Good);
    single.next_update = Some(OffsetDateTime::UNIX_EPOCH.replace_year(-1).unwrap());
    let error = basic(&ROOT, vec![single], None)
        .to_be_signed(ROOT.key.default_scheme())
        .unwrap_err();
    assert_eq!(error, OcspBuildError::DateOutOfRange);
}

#[test]
fn the_key_hash_is_over_the_bits_of_the_key() {
    // For P-256 the bits are the last 65 octets of the SubjectPublicKeyInfo.
    let spki = ROOT.certificate.spki_der();
    let expected = HashAlgorithm::Sha1.digest(&spki[spki.len() - 65..]);
    assert_eq!(sha1_key(&ROOT).issuer_key_hash, expected);
    assert_eq!(
        ResponderId::by_key(&ROOT.certificate),
        Some(ResponderId::ByKey(expected.into()))
    );
}
