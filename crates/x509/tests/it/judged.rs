//! Which CRLs and OCSP answers are believed.

use bytes::Bytes;
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_x509::crl::{
    CertificateList, CrlBuilder, CrlFields, CrlNumber, CrlReason, CrlRefusal, delta_crl_indicator,
    freshest_crl, issuing_distribution_point,
};
use lamassu_x509::issue::{ExtendedKeyUsageRule, Profile};
use lamassu_x509::ocsp::{
    BasicResponse, CertId, CertStatus, OcspRefusal, OcspResponse, OcspResponseStatus, OcspVerdict,
    ResponderId, SingleResponse, error_response, issuer_keys,
};
use lamassu_x509::{Certificate, Criticality, Extension, ObjectIdentifier, Serial, oids};
use time::{Duration, OffsetDateTime};

use crate::crl::{crl, entry, fields};
use crate::support::{
    Ca, Conditions, DEVICE, NOW, ROOT, device_subject, device_template, element, honouring_profile,
    sign, signed,
};

const SKEW: Duration = Duration::minutes(5);

fn device(name: &str, profile: Profile) -> Certificate {
    ROOT.issue(
        &device_subject(&device_template(name)),
        &Conditions::new(profile),
    )
}

/// A second CA with the name of the first.
fn namesake() -> Ca {
    Ca::root(KeySpec::Ec(Curve::P256))
}

/// An answer about the certificate with this serial number, of this responder.
fn answer(serial: &Serial, responder: ResponderId, certificates: Vec<Bytes>) -> BasicResponse {
    let issuer = &issuer_keys(&ROOT.certificate).unwrap()[1];
    BasicResponse {
        responder_id: responder,
        produced_at: NOW,
        responses: vec![SingleResponse {
            cert_id: CertId::new(issuer, serial),
            status: CertStatus::Good,
            this_update: NOW,
            next_update: Some(NOW + Duration::HOUR),
            archive_cutoff: None,
        }],
        nonce: Some(Bytes::from_static(&[4, 2, 7, 7])),
        certificates,
    }
}

fn respond(basic: BasicResponse, key: &PrivateKey) -> OcspResponse {
    let to_be_signed = basic.to_be_signed(key.default_scheme()).unwrap();
    let signature = sign(key, to_be_signed.scheme(), to_be_signed.as_bytes());
    OcspResponse::from_der(to_be_signed.assemble(&signature)).unwrap()
}

fn judged(response: &OcspResponse, now: OffsetDateTime) -> Result<OcspVerdict, OcspRefusal> {
    let issuer = &issuer_keys(&ROOT.certificate).unwrap()[1];
    let asked = CertId::new(issuer, &Serial::from_hex("0a").unwrap());
    response.judge(&asked, Some(&[7, 7]), &ROOT.certificate, now, SKEW)
}

#[test]
fn an_answer_counts_for_its_certificate_its_request_and_its_time() {
    let by_issuer = ResponderId::by_name(&ROOT.certificate);
    let serial = Serial::from_hex("0a").unwrap();
    let basic = answer(&serial, by_issuer, Vec::new());
    let response = respond(basic.clone(), &ROOT.key);
    let verdict = judged(&response, NOW).unwrap();
    assert_eq!((verdict.status, verdict.is_fresh), (CertStatus::Good, true));

    let late = judged(&response, NOW + Duration::HOUR + SKEW + Duration::MINUTE);
    assert_eq!(late, Err(OcspRefusal::Outdated));
    let early = judged(&response, NOW - SKEW - Duration::MINUTE);
    assert_eq!(early, Err(OcspRefusal::NotYetValid));

    let changed = |change: fn(&mut BasicResponse)| {
        let mut basic = basic.clone();
        change(&mut basic);
        judged(&respond(basic, &ROOT.key), NOW)
    };
    let other = changed(|basic| basic.nonce = Some(Bytes::from_static(&[4, 2, 7, 8])));
    assert_eq!(other, Err(OcspRefusal::OtherNonce));
    let none = changed(|basic| basic.nonce = None).unwrap();
    assert!(!none.is_fresh);
    let about = changed(|basic| basic.responses.clear());
    assert_eq!(about, Err(OcspRefusal::OtherCertificate));
    let old = changed(|basic| {
        basic.responses[0].next_update = None;
        basic.responses[0].this_update = NOW - Duration::days(2);
    });
    assert_eq!(old, Err(OcspRefusal::Outdated));
    let error = OcspResponse::from_der(error_response(OcspResponseStatus::TryLater)).unwrap();
    assert_eq!(
        judged(&error, NOW),
        Err(OcspRefusal::Responder(OcspResponseStatus::TryLater))
    );
}

#[test]
fn only_the_issuer_and_its_delegates_answer_for_it() {
    let serial = Serial::from_hex("0a").unwrap();
    let by_issuer = ResponderId::by_name(&ROOT.certificate);
    let forged = respond(answer(&serial, by_issuer, Vec::new()), &namesake().key);
    assert!(matches!(
        judged(&forged, NOW),
        Err(OcspRefusal::Signature(_))
    ));

    let responder = Profile {
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_OCSP_SIGNING]),
        ..honouring_profile()
    };
    let by = |certificate: &Certificate| {
        let id = ResponderId::by_key(certificate).unwrap();
        let sent = vec![certificate.as_der().clone()];
        respond(answer(&serial, id, sent), &DEVICE)
    };
    let delegate = by(&device("responder", responder.clone()));
    assert_eq!(judged(&delegate, NOW).unwrap().status, CertStatus::Good);
    // Any other certificate of the CA is not enough, nor one of another CA, nor one that has ended.
    let device = by(&device("device", honouring_profile()));
    assert_eq!(judged(&device, NOW), Err(OcspRefusal::Responsibility));
    let subject = device_subject(&device_template("responder"));
    let foreign = by(&namesake().issue(&subject, &Conditions::new(responder)));
    assert_eq!(judged(&foreign, NOW), Err(OcspRefusal::Responsibility));
    let later = judged(&delegate, NOW + Duration::days(91));
    assert_eq!(later, Err(OcspRefusal::Responsibility));
}

fn list(extensions: Vec<Extension>) -> CertificateList {
    numbered(fields(&ROOT).number, extensions)
}

fn numbered(number: CrlNumber, extensions: Vec<Extension>) -> CertificateList {
    let fields = CrlFields {
        number,
        ..fields(&ROOT)
    };
    let mut builder = CrlBuilder::new(&fields).unwrap();
    for extension in extensions {
        builder.push_extension(extension);
    }
    CertificateList::from_der(signed(builder.finish(), &ROOT.key)).unwrap()
}

fn critical(oid: &str, value: Vec<u8>) -> Extension {
    let oid = ObjectIdentifier::new_unwrap(oid);
    Extension::new(&oid, Criticality::Critical, value)
}

#[test]
fn a_list_counts_for_its_issuer_and_its_time() {
    let read = CertificateList::from_der(crl(&ROOT, &[entry("01", CrlReason::KeyCompromise)]));
    let read = read.unwrap();
    let check = |now| read.check(&ROOT.certificate, now, SKEW);
    assert_eq!(check(NOW), Ok(()));
    assert_eq!(check(NOW + Duration::days(8)), Err(CrlRefusal::Outdated));
    assert_eq!(check(NOW - Duration::HOUR), Err(CrlRefusal::NotYetValid));
    let forged = read.check(&namesake().certificate, NOW, SKEW);
    assert!(matches!(forged, Err(CrlRefusal::Signature(_))));
    let device = device("device", honouring_profile());
    let other = read.check(&device, NOW, SKEW);
    assert_eq!(other, Err(CrlRefusal::OtherIssuer));

    let delta = list(vec![critical("2.5.29.27", vec![2, 1, 5])]);
    let check = |list: &CertificateList| list.check(&ROOT.certificate, NOW, SKEW);
    assert_eq!(check(&delta), Err(CrlRefusal::Delta));
    let unknown = list(vec![critical("1.2.3.4", vec![5, 0])]);
    assert_eq!(check(&unknown), Err(CrlRefusal::CriticalExtension));
}

#[test]
fn a_delta_counts_for_the_list_that_it_reaches_back_to() {
    let address = "http://va.example/delta".to_owned();
    let complete = list(freshest_crl(vec![address.clone()]).into_iter().collect());
    assert_eq!(complete.freshest().unwrap(), [address]);
    let number = complete.number().unwrap().unwrap();
    let to = |base: u64| list(vec![delta_crl_indicator(CrlNumber(base))]);
    let check =
        |delta: &CertificateList, now| delta.check_delta(&complete, &ROOT.certificate, now, SKEW);
    assert_eq!(check(&to(number.0), NOW), Ok(()));
    assert_eq!(check(&to(number.0 - 1), NOW), Ok(()));
    let later = NOW + Duration::days(8);
    assert_eq!(check(&to(number.0), later), Err(CrlRefusal::Outdated));
    let part = issuing_distribution_point(&["http://va.example/1-of-2".to_owned()]);
    let of_part = list(vec![delta_crl_indicator(number), part]);
    for other in [to(number.0 + 1), complete.clone(), of_part] {
        assert_eq!(check(&other, NOW), Err(CrlRefusal::OtherBase));
    }
    // Complete lists come before the delta that goes with them.
    let before = CrlNumber(number.0 - 1);
    let older = |base| numbered(before, vec![delta_crl_indicator(base)]);
    assert_eq!(check(&older(before), NOW), Err(CrlRefusal::OlderDelta));
    assert_eq!(check(&older(number), NOW), Err(CrlRefusal::OlderDelta));
}

#[test]
fn a_part_of_a_list_is_about_some_certificates_only() {
    let located = Conditions::new(honouring_profile()).at_domain("va", &ROOT.certificate);
    let located = ROOT.issue(&device_subject(&device_template("device")), &located);
    let nowhere = device("device", honouring_profile());
    let uri = located.extensions().access_locations().unwrap().crl[0].clone();
    let point = |uri: &str| {
        let name = element(0xa0, &[&element(0x86, &[uri.as_bytes()])]);
        element(0x30, &[&element(0xa0, &[&name])])
    };
    let part = |value: Vec<u8>| {
        let list = list(vec![critical("2.5.29.28", value)]);
        assert_eq!(list.check(&ROOT.certificate, NOW, SKEW), Ok(()));
        list
    };
    let whole = list(Vec::new());
    assert_eq!(whole.is_about(&nowhere), Ok(true));
    let shard = part(point(&uri));
    assert_eq!(shard.is_about(&located), Ok(true));
    assert_eq!(shard.is_about(&nowhere), Ok(false));
    assert_eq!(
        part(point("http://other/crl")).is_about(&located),
        Ok(false)
    );
    let only = |n: u8| part(element(0x30, &[&[0x80 | n, 1, 0xff]]));
    assert_eq!(only(1).is_about(&nowhere), Ok(true));
    assert_eq!(only(2).is_about(&nowhere), Ok(false));
    assert_eq!(only(2).is_about(&ROOT.certificate), Ok(true));
    for n in [4, 5] {
        assert_eq!(only(n).is_about(&nowhere), Ok(false), "{n}");
    }
}
