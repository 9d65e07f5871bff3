//! What OCSP answers say.

use lamassu_x509::crl::CrlReason;
use lamassu_x509::ocsp::{
    CertId, CertStatus, IssuerKey, OcspResponse, OcspResponseStatus, ReadBasicResponse,
    issuer_keys, request_to_der,
};
use lamassu_x509::{Certificate, Serial};
use time::Duration;

use crate::support::{Answer, Ca, World, cert_id, post_ocsp, whole_seconds};

/// The signed part of an answer, its signature checked with the CA's key.
#[track_caller]
fn signed(answer: &Answer, ca: &Ca) -> ReadBasicResponse {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/ocsp-response");
    let response = OcspResponse::from_der(answer.body.clone()).unwrap();
    assert_eq!(response.status, OcspResponseStatus::Successful);
    let basic = response.basic.unwrap();
    basic
        .verify_signed_by(&ca.certificate.public_key().unwrap())
        .unwrap();
    assert!(basic.certificates.is_empty(), "the CA signs itself");
    basic
}

#[track_caller]
fn error(answer: &Answer) -> OcspResponseStatus {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/ocsp-response");
    assert_eq!(answer.header("cache-control"), "no-store");
    let response = OcspResponse::from_der(answer.body.clone()).unwrap();
    assert!(response.basic.is_none());
    response.status
}

async fn status(world: &World, ca: &Ca, certificate: &Certificate) -> CertStatus {
    let request = request_to_der(&[cert_id(&ca.certificate, certificate)], None);
    let basic = signed(&world.post_ocsp(&request).await, ca);
    basic.responses[0].status
}

#[tokio::test]
async fn a_fresh_certificate_is_good_at_once() {
    // Nobody reads the log: what OCSP says does not wait for events.
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    for (key, length) in issuer_keys(&ca.certificate)
        .unwrap()
        .iter()
        .zip([20, 32, 48, 64])
    {
        assert_eq!(key.issuer_key_hash.len(), length);
        let asked = CertId::new(key, issued.serial());
        let answer = world
            .post_ocsp(&request_to_der(std::slice::from_ref(&asked), None))
            .await;
        let basic = signed(&answer, &ca);
        let now = whole_seconds(world.db.now());
        assert_eq!(basic.produced_at, now);
        let [single] = basic.responses.as_slice() else {
            panic!("one answer to one question");
        };
        assert_eq!(single.status, CertStatus::Good);
        assert_eq!(single.cert_id.as_der(), asked.as_der());
        assert_eq!(single.this_update, now);
        assert_eq!(single.next_update, Some(now + Duration::HOUR));
        assert!(single.extensions.is_empty());
    }
}

#[tokio::test]
async fn the_first_answer_after_a_revocation_says_so_with_its_reason() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let cases = [
        ("Unspecified", CrlReason::Unspecified),
        ("KeyCompromise", CrlReason::KeyCompromise),
        ("CACompromise", CrlReason::CaCompromise),
        ("AffiliationChanged", CrlReason::AffiliationChanged),
        ("Superseded", CrlReason::Superseded),
        ("CessationOfOperation", CrlReason::CessationOfOperation),
        ("CertificateHold", CrlReason::CertificateHold),
        ("RemoveFromCRL", CrlReason::RemoveFromCrl),
        ("PrivilegeWithdrawn", CrlReason::PrivilegeWithdrawn),
        ("AACompromise", CrlReason::AaCompromise),
    ];
    for (name, reason) in cases {
        let issued = world.issue(&ca, name).await;
        assert_eq!(status(&world, &ca, &issued).await, CertStatus::Good);
        world.revoke(&issued, name).await;
        let expected = CertStatus::Revoked {
            revocation_time: whole_seconds(world.db.now()),
            reason,
        };
        assert_eq!(status(&world, &ca, &issued).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_released_hold_is_good_again() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "CertificateHold").await;
    world.set_status(&issued, "ACTIVE").await;
    assert_eq!(status(&world, &ca, &issued).await, CertStatus::Good);
}

#[tokio::test]
async fn an_expired_certificate_keeps_its_last_status() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let expired = world.issue(&ca, "device-1").await;
    let revoked = world.issue(&ca, "device-2").await;
    world.revoke(&revoked, "Superseded").await;
    let revoked_at = whole_seconds(world.db.now());
    world.clock.advance(Duration::days(1));
    world.set_status(&expired, "EXPIRED").await;
    assert_eq!(status(&world, &ca, &expired).await, CertStatus::Good);
    let expected = CertStatus::Revoked {
        revocation_time: revoked_at,
        reason: CrlReason::Superseded,
    };
    assert_eq!(status(&world, &ca, &revoked).await, expected);
    // The archive cutoff says since when such statuses are kept (RFC 6960 §4.4.4).
    let request = request_to_der(&[cert_id(&ca.certificate, &expired)], None);
    let basic = signed(&world.post_ocsp(&request).await, &ca);
    let extensions: Vec<String> = basic.responses[0]
        .extensions
        .iter()
        .map(|extension| extension.oid().unwrap().to_string())
        .collect();
    assert_eq!(extensions, ["1.3.6.1.5.5.7.48.1.6"]);
}

#[tokio::test]
async fn an_unknown_serial_is_unknown_and_a_root_is_known_below_itself() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let [sha1, ..] = issuer_keys(&ca.certificate).unwrap();
    let questions = [
        CertId::new(&sha1, &Serial::from_hex("0badcafe").unwrap()),
        cert_id(&ca.certificate, &ca.certificate),
    ];
    let basic = signed(
        &world.post_ocsp(&request_to_der(&questions, None)).await,
        &ca,
    );
    let statuses: Vec<CertStatus> = basic.responses.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [CertStatus::Unknown, CertStatus::Good]);
}

#[tokio::test]
async fn all_questions_are_answered_in_order_by_the_first_known_issuer() {
    let world = World::new().await;
    let (a, b) = (world.root("root-a").await, world.root("root-b").await);
    let (of_a, of_b) = (world.issue(&a, "1").await, world.issue(&b, "2").await);
    world.revoke(&of_a, "KeyCompromise").await;
    let stranger = IssuerKey {
        issuer_key_hash: vec![7; 20].into(),
        ..issuer_keys(&a.certificate).unwrap()[0].clone()
    };
    let questions = [
        CertId::new(&stranger, of_a.serial()),
        cert_id(&a.certificate, &of_a),
        cert_id(&b.certificate, &of_b),
        // A certificate of the one, asked for below the other.
        cert_id(&a.certificate, &of_b),
    ];
    let basic = signed(
        &world.post_ocsp(&request_to_der(&questions, None)).await,
        &a,
    );
    let [unknown, revoked, foreign, mixed] = basic.responses.as_slice() else {
        panic!("four answers to four questions");
    };
    assert_eq!(unknown.status, CertStatus::Unknown);
    assert!(matches!(revoked.status, CertStatus::Revoked { .. }));
    assert_eq!(foreign.status, CertStatus::Unknown);
    assert_eq!(mixed.status, CertStatus::Unknown);
    for (answer, question) in basic.responses.iter().zip(&questions) {
        assert_eq!(answer.cert_id.as_der(), question.as_der());
    }
}

#[tokio::test]
async fn a_foreign_issuer_is_not_answered_for() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    let own = issuer_keys(&ca.certificate).unwrap()[0].clone();
    let other_key = IssuerKey {
        issuer_key_hash: vec![1; 20].into(),
        ..own.clone()
    };
    let other_name = IssuerKey {
        issuer_name_hash: vec![1; 20].into(),
        ..own
    };
    for issuer in [other_key, other_name] {
        let request = request_to_der(&[CertId::new(&issuer, issued.serial())], None);
        let answer = world.post_ocsp(&request).await;
        assert_eq!(error(&answer), OcspResponseStatus::Unauthorized);
    }
}

#[tokio::test]
async fn what_is_no_request_is_malformed() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let question = cert_id(&ca.certificate, &ca.certificate);
    let good = request_to_der(std::slice::from_ref(&question), None);
    let mut trailing = good.to_vec();
    trailing.push(0);
    let cases = [
        ("nothing", Vec::new()),
        ("no DER", b"hello".to_vec()),
        ("bytes behind", trailing),
        ("no question", request_to_der(&[], None).to_vec()),
        (
            "21 questions",
            request_to_der(&vec![question; 21], None).to_vec(),
        ),
    ];
    for (what, request) in cases {
        let answer = world.post_ocsp(&request).await;
        assert_eq!(
            error(&answer),
            OcspResponseStatus::MalformedRequest,
            "{what}"
        );
        assert_eq!(answer.body, [0x30, 0x03, 0x0a, 0x01, 0x01].as_slice());
    }
}

#[tokio::test]
async fn damaged_requests_are_answered_whatever_they_are() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let questions = [cert_id(&ca.certificate, &ca.certificate)];
    let good = request_to_der(&questions, Some(&[3; 16]));
    for position in 0..good.len() {
        let mut flipped = good.to_vec();
        flipped[position] ^= 0x41;
        for request in [flipped.as_slice(), &good[..position]] {
            let answer = world.post_ocsp(request).await;
            assert_eq!(answer.status, 200);
            OcspResponse::from_der(answer.body).unwrap();
        }
    }
}

#[tokio::test]
async fn a_nonce_is_echoed_if_its_length_is_allowed() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let questions = [cert_id(&ca.certificate, &ca.certificate)];
    for length in [1_u8, 10, 16, 32, 33, 128] {
        let nonce = vec![length; usize::from(length)];
        let request = request_to_der(&questions, Some(&nonce));
        let answer = world.post_ocsp(&request).await;
        let echoed = signed(&answer, &ca).nonce.unwrap();
        // The value is the OCTET STRING as the client wrote it.
        let header = if length < 128 { 2 } else { 3 };
        assert_eq!(&echoed[header..], nonce, "{length} octets");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    for length in [0, 129] {
        let request = request_to_der(&questions, Some(&vec![9; length]));
        let answer = world.post_ocsp(&request).await;
        assert_eq!(
            error(&answer),
            OcspResponseStatus::MalformedRequest,
            "{length} octets"
        );
    }
}

#[tokio::test]
async fn a_ca_without_key_answers_nobody() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let router = world.without_keys().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    let answer = post_ocsp(&router, &request).await;
    assert_eq!(error(&answer), OcspResponseStatus::Unauthorized);
}

#[tokio::test]
async fn without_its_data_the_responder_asks_to_come_back() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    signed(&world.post_ocsp(&request).await, &ca);
    world.db.close().await;
    // About a certificate whose status nobody has asked for just now.
    let unknown = Serial::from_hex("0badcafe").unwrap();
    let [sha1, ..] = issuer_keys(&ca.certificate).unwrap();
    let request = request_to_der(&[CertId::new(&sha1, &unknown)], None);
    let answer = world.post_ocsp(&request).await;
    assert_eq!(error(&answer), OcspResponseStatus::TryLater);
}

#[tokio::test]
async fn subordinate_cas_and_all_kinds_of_keys_answer() {
    let world = World::new().await;
    let root = world.ca("root", None, "RSA", 2048).await;
    for (id, kind, bits) in [
        ("p224", "ECDSA", 224),
        ("p384", "ECDSA", 384),
        ("p521", "ECDSA", 521),
        ("ed", "Ed25519", 256),
    ] {
        let sub = world.ca(id, Some("root"), kind, bits).await;
        let issued = world.issue(&sub, "device").await;
        assert_eq!(
            status(&world, &sub, &issued).await,
            CertStatus::Good,
            "{id}"
        );
        assert_eq!(
            status(&world, &root, &sub.certificate).await,
            CertStatus::Good
        );
        world
            .revoke_serial(&sub.serial, "CessationOfOperation")
            .await;
        let revoked = status(&world, &root, &sub.certificate).await;
        assert!(matches!(revoked, CertStatus::Revoked { .. }), "{id}");
    }
}
