//! No reader panics, whatever the bytes: random ones, and valid ones with damage.

use std::sync::LazyLock;

use bytes::Bytes;
use lamassu_x509::cms::{Capabilities, key_identifiers};
use lamassu_x509::crl::{CertificateList, CrlReason};
use lamassu_x509::ocsp::{CertId, OcspRequest, OcspResponse, issuer_keys, request_to_der};
use lamassu_x509::{
    Certificate, CertificationRequest, GeneralName, KeyUsageBit, Name, oids, pem, pkcs7,
};
use proptest::prelude::*;

use crate::support::{
    Conditions, DEVICE, ROOT, csr, device_subject, device_template, honouring_profile,
};

/// One valid specimen of everything that is read.
static SPECIMENS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let template = device_template("dev-1")
        .with_key_usage([KeyUsageBit::DigitalSignature].into_iter().collect())
        .with_extended_key_usage(&[oids::KP_CLIENT_AUTH])
        .with_subject_alt_names(&[
            GeneralName::Uri("http://a.example/x".to_owned()),
            GeneralName::Ip("192.0.2.1".parse().unwrap()),
        ]);
    let conditions =
        Conditions::new(honouring_profile()).at_domain("va.example", &ROOT.certificate);
    let device = ROOT.issue(&device_subject(&template), &conditions);
    let entry = crate::crl::entry("80ff", CrlReason::KeyCompromise);
    let key = issuer_keys(&ROOT.certificate).unwrap()[1].clone();
    let cert_id = CertId::new(&key, device.serial());
    vec![
        device.as_der().clone(),
        csr(&template, &DEVICE).as_der().clone(),
        crate::crl::crl(&ROOT, &[entry]),
        request_to_der(&[cert_id], Some(&[1; 16])),
        crate::ocsp::good_response(&ROOT, &device),
        pkcs7::certs_only([device.as_der().as_ref()]).into(),
        pem::der_to_pem(pem::PemLabel::Certificate, device.as_der()).into(),
    ]
});

/// Keeps the compiler from leaving out what is not looked at.
fn consume<T>(value: T) {
    std::hint::black_box(value);
}

/// Gives the bytes to every reader, and asks what was read for all it has.
fn read_all(bytes: &Bytes) {
    if let Ok(certificate) = Certificate::from_der(bytes.clone()) {
        ask(&certificate);
    }
    consume(Capabilities::from_der(bytes));
    consume(key_identifiers(bytes).count());
    if let Ok(request) = CertificationRequest::from_der(bytes.clone()) {
        consume(request.subject().issuable());
        consume(request.requested_extensions().subject_alt_names());
        consume(request.verify());
    }
    if let Ok(list) = CertificateList::from_der(bytes.clone()) {
        assert!(list.entries().count() < 1000);
        consume(list.number());
    }
    if let Ok(request) = OcspRequest::from_der(bytes.clone()) {
        assert!(!request.requests().is_empty());
        request.accepts_basic_response();
    }
    if let Ok(response) = OcspResponse::from_der(bytes.clone()) {
        consume(response.basic.map(|basic| basic.certificates()));
    }
    consume(pkcs7::certificates(bytes.clone()));
    consume(Name::from_der(bytes.clone()));
    consume(pem::certificate_ders(bytes).collect::<Vec<_>>());
    consume(pem::base64_pem_to_der(&String::from_utf8_lossy(bytes)));
}

fn ask(certificate: &Certificate) {
    consume(certificate.subject().subject_fields());
    consume(certificate.issuer().issuable());
    certificate.issuer().matches(certificate.subject());
    let extensions = certificate.extensions();
    consume(extensions.key_usage());
    consume(extensions.extended_key_usage());
    consume(extensions.basic_constraints());
    consume(extensions.subject_alt_names());
    consume(extensions.access_locations());
    consume(certificate.key_identifier());
    consume(certificate.serial().to_hex());
    consume(certificate.signature_algorithm().signature_scheme());
    certificate.unreadable_by_go();
    certificate.is_self_signed();
    consume(issuer_keys(certificate));
}

#[test]
fn every_specimen_is_read_by_its_reader() {
    let specimens = &*SPECIMENS;
    assert_eq!(
        Certificate::from_der(specimens[0].clone())
            .unwrap()
            .as_der(),
        &specimens[0]
    );
    assert_eq!(
        CertificationRequest::from_der(specimens[1].clone())
            .unwrap()
            .as_der(),
        &specimens[1]
    );
    assert_eq!(
        CertificateList::from_der(specimens[2].clone())
            .unwrap()
            .as_der(),
        &specimens[2]
    );
    assert_eq!(
        OcspRequest::from_der(specimens[3].clone())
            .unwrap()
            .requests()
            .len(),
        1
    );
    assert_eq!(
        OcspResponse::from_der(specimens[4].clone())
            .unwrap()
            .basic
            .unwrap()
            .responses
            .len(),
        1
    );
    assert_eq!(pkcs7::certificates(specimens[5].clone()).unwrap().len(), 1);
    assert_eq!(pem::certificate_ders(&specimens[6]).count(), 1);
}

#[test]
fn every_prefix_of_a_specimen_is_refused() {
    for specimen in SPECIMENS.iter() {
        for length in 0..specimen.len() {
            read_all(&specimen.slice(..length));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes.into());
    }

    #[test]
    fn damaged_specimens(
        specimen in 0..7_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = SPECIMENS[specimen].to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_all(&bytes.into());
    }

    #[test]
    fn specimens_with_parts_cut_out_or_doubled(
        specimen in 0..7_usize,
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
    ) {
        let original = &SPECIMENS[specimen];
        let (a, b) = (from.index(original.len()), to.index(original.len()));
        let (a, b) = (a.min(b), a.max(b));
        let cut = [&original[..a], &original[b..]].concat();
        read_all(&cut.into());
        let at = at.index(original.len());
        let doubled = [&original[..at], &original[a..b], &original[at..]].concat();
        read_all(&doubled.into());
    }
}
