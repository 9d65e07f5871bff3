//! Delegated OCSP responders, and what clients may ask of a signature.

use axum::Router;
use lamassu_crypto::{HashAlgorithm, SignatureScheme};
use lamassu_db::{Dialect, WriteSet, params, sql};
use lamassu_va::{OcspConfig, OcspResponder, VaConfig};
use lamassu_x509::ocsp::{
    CertStatus, OcspResponse, OcspResponseStatus, ReadBasicResponse, ResponderId, request_to_der,
};
use lamassu_x509::{Certificate, ObjectIdentifier, oids};
use time::Duration;

use crate::openssl::judged;
use crate::support::{Answer, Ca, World, cert_id, post_ocsp};

pub(crate) fn delegated() -> VaConfig {
    VaConfig {
        ocsp: OcspConfig {
            responder: OcspResponder::Delegated,
            ..OcspConfig::default()
        },
        ..VaConfig::default()
    }
}

#[track_caller]
fn basic(answer: &Answer) -> ReadBasicResponse {
    let response = OcspResponse::from_der(answer.body.clone()).unwrap();
    assert_eq!(response.status, OcspResponseStatus::Successful);
    response.basic.unwrap()
}

/// The answer's signer, whose certificate is the only one in it and fits its signature.
#[track_caller]
fn signer(basic: &ReadBasicResponse) -> Certificate {
    let certificates = basic.certificates().unwrap();
    let [certificate] = certificates.as_slice() else {
        panic!("{} certificates", certificates.len());
    };
    basic
        .verify_signed_by(&certificate.public_key().unwrap())
        .unwrap();
    certificate.clone()
}

async fn asked(world: &World, ca: &Ca, certificate: &Certificate, nonce: u8) -> ReadBasicResponse {
    let request = request_to_der(&[cert_id(&ca.certificate, certificate)], Some(&[nonce; 16]));
    basic(&world.post_ocsp(&request).await)
}

#[tokio::test]
async fn a_delegate_answers_and_is_certified_for_that_only() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    let answer = asked(&world, &ca, &issued, 1).await;
    assert_eq!(answer.responses[0].status, CertStatus::Good);
    let delegate = signer(&answer);
    delegate
        .verify_signed_by(&ca.certificate.public_key().unwrap())
        .unwrap();
    assert_eq!(delegate.issuer(), ca.certificate.subject());
    assert_eq!(Some(answer.responder_id), ResponderId::by_key(&delegate));
    let extensions = delegate.extensions();
    assert_eq!(
        extensions.extended_key_usage().unwrap(),
        Some(vec![oids::KP_OCSP_SIGNING])
    );
    assert!(extensions.find(&oids::PKIX_OCSP_NOCHECK).is_some());
    assert!(extensions.find(&oids::CE_BASIC_CONSTRAINTS).is_none());
    let left = delegate.not_after() - world.db.now();
    assert!(left <= Duration::WEEK && left > Duration::days(6), "{left}");
    // It is a certificate of the CA like others, and the next answer is by it, too.
    let about_itself = asked(&world, &ca, &delegate, 2).await;
    assert_eq!(about_itself.responses[0].status, CertStatus::Good);
    assert_eq!(signer(&about_itself).as_der(), delegate.as_der());
}

#[tokio::test]
async fn openssl_believes_a_delegate() {
    let world = World::with_config(delegated()).await;
    for (kind, bits) in [("RSA", 2048), ("ECDSA", 384), ("Ed25519", 256)] {
        let ca = world.ca(kind, None, kind, bits).await;
        let issued = world.issue(&ca, "device-1").await;
        let text = judged(&world, &ca, &issued, "-sha256").await;
        assert!(text.contains("Response verify OK"), "{text}");
        assert!(text.contains("cert.pem: good"), "{text}");
        world.revoke(&issued, "KeyCompromise").await;
        let text = judged(&world, &ca, &issued, "-sha1").await;
        assert!(text.contains("Response verify OK"), "{text}");
        assert!(text.contains("cert.pem: revoked"), "{text}");
    }
}

#[tokio::test]
async fn the_certificate_is_renewed_in_time_and_answers_never_outlive_it() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    world.clock.advance(Duration::days(4));
    let same = signer(&asked(&world, &ca, &ca.certificate, 2).await);
    assert_eq!(same.as_der(), first.as_der());
    world.clock.advance(Duration::days(1));
    let second = signer(&asked(&world, &ca, &ca.certificate, 3).await);
    assert_ne!(second.as_der(), first.as_der());
    assert_eq!(second.spki_der(), first.spki_der());
    // After an outage longer than its validity there is another one at once.
    world.clock.advance(Duration::days(30));
    let answer = asked(&world, &ca, &ca.certificate, 4).await;
    let third = signer(&answer);
    assert!(third.not_before() <= answer.produced_at && answer.produced_at < third.not_after());
    // Close to the end of the CA, answers end with it.
    let left = ca.certificate.not_after() - world.db.now();
    world.clock.advance(left - Duration::minutes(20));
    let answer = asked(&world, &ca, &ca.certificate, 5).await;
    let last = signer(&answer);
    assert_eq!(last.not_after(), ca.certificate.not_after());
    assert_eq!(answer.responses[0].next_update, Some(last.not_after()));
}

/// One key per CA, whichever process signs with it.
#[tokio::test]
async fn the_key_is_in_the_kms_until_the_ca_is_gone() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let name = "OCSP responder of root-a";
    assert_eq!(world.keys_called(name).await.len(), 0);
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    let by_another = async || {
        let (_, router) = world.replica_with(delegated()).await;
        let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
        signer(&basic(&post_ocsp(&router, &request).await))
    };
    let second = by_another().await;
    assert_ne!(second.as_der(), first.as_der());
    assert_eq!(second.spki_der(), first.spki_der());
    let key = first.public_key().unwrap().key_id_sha256_hex();
    assert_eq!(world.keys_called(name).await, [key.as_str()]);
    // Whoever deletes it has another one made.
    world.delete_key(&key).await;
    let third = by_another().await;
    assert_ne!(third.spki_der(), first.spki_der());
    assert_eq!(world.keys_called(name).await.len(), 1);
    // Who was using it answers the same question with the new one.
    let here = signer(&asked(&world, &ca, &ca.certificate, 2).await);
    assert_eq!(here.spki_der(), third.spki_der());
    world.reconcile().await;
    assert_eq!(world.keys_called(name).await.len(), 1);
    world.delete(&ca).await;
    world.reconcile().await;
    assert_eq!(world.keys_called(name).await.len(), 0);
}

/// No event tells it of either.
#[tokio::test]
async fn on_another_database_a_revoked_delegate_and_a_reissued_ca_are_noticed_in_a_second() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let router = world.on_its_own_database_with(delegated()).await;
    let next = async || {
        let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], Some(&[1; 16]));
        signer(&basic(&post_ocsp(&router, &request).await))
    };
    let first = next().await;
    world.clock.advance(Duration::seconds(1));
    assert_eq!(next().await.as_der(), first.as_der());
    world.revoke(&first, "KeyCompromise").await;
    world.clock.advance(Duration::seconds(1));
    let second = next().await;
    assert_ne!(second.spki_der(), first.spki_der());
    world.reissue(&ca).await;
    world.clock.advance(Duration::seconds(1));
    let third = next().await;
    assert_ne!(third.as_der(), second.as_der());
    // And once only.
    world.clock.advance(Duration::seconds(1));
    assert_eq!(next().await.as_der(), third.as_der());
}

#[tokio::test]
async fn a_revoked_delegate_answers_no_more() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    let plain = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    let kept = signer(&basic(&world.post_ocsp(&plain).await));
    assert_eq!(kept.as_der(), first.as_der());
    world.revoke(&first, "KeyCompromise").await;
    let second = signer(&asked(&world, &ca, &ca.certificate, 2).await);
    // Others may have the key: neither it nor what it signed is used again.
    assert_ne!(second.spki_der(), first.spki_der());
    let anew = signer(&basic(&world.post_ocsp(&plain).await));
    assert_eq!(anew.as_der(), second.as_der());
    assert_eq!(world.keys_called("OCSP responder of root-a").await.len(), 1);
    let about = asked(&world, &ca, &first, 3).await;
    assert!(matches!(
        about.responses[0].status,
        CertStatus::Revoked { .. }
    ));
}

/// Whoever has the key can answer under the certificate before, too, as long as that is valid.
#[tokio::test]
async fn a_key_whose_certificate_before_is_revoked_answers_no_more() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    world.clock.advance(Duration::days(5));
    let second = signer(&asked(&world, &ca, &ca.certificate, 2).await);
    assert_eq!(second.spki_der(), first.spki_der());
    let plain = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    let kept = signer(&basic(&world.post_ocsp(&plain).await));
    assert_eq!(kept.as_der(), second.as_der());
    world.revoke(&first, "KeyCompromise").await;
    let third = signer(&asked(&world, &ca, &ca.certificate, 3).await);
    assert_ne!(third.spki_der(), first.spki_der());
    let anew = signer(&basic(&world.post_ocsp(&plain).await));
    assert_eq!(anew.as_der(), third.as_der());
    assert_eq!(world.keys_called("OCSP responder of root-a").await.len(), 1);
}

#[tokio::test]
async fn the_end_of_a_certificate_of_the_key_ends_nothing_else() {
    let world = World::with_config(delegated()).await;
    world.follow_events();
    let ca = world.root("root-a").await;
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    world.clock.advance(Duration::days(5));
    let second = signer(&asked(&world, &ca, &ca.certificate, 2).await);
    assert_eq!(second.spki_der(), first.spki_der());
    assert_ne!(second.as_der(), first.as_der());
    // The CA service tells of the end as it tells of a revocation.
    world.clock.advance(Duration::days(3));
    world.set_status(&first, "EXPIRED").await;
    world.catch_up().await;
    let third = signer(&asked(&world, &ca, &ca.certificate, 3).await);
    assert_eq!(third.as_der(), second.as_der());
}

#[tokio::test]
async fn a_process_that_starts_uses_no_key_that_has_a_revoked_certificate() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    let (_, started) = world.replica_with(delegated()).await;
    world.revoke(&first, "KeyCompromise").await;
    let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], Some(&[2; 16]));
    let second = signer(&basic(&post_ocsp(&started, &request).await));
    assert_ne!(second.spki_der(), first.spki_der());
    // It is the one that is in use from now on, and the end of what is revoked changes nothing.
    world.clock.advance(Duration::days(30));
    let third = signer(&asked(&world, &ca, &ca.certificate, 3).await);
    assert_eq!(third.spki_der(), second.spki_der());
}

/// Where several processes share a database: whichever is asked first gives the key up, and the other one
/// notices.
#[tokio::test]
async fn a_certificate_that_another_process_has_for_the_key_is_heeded() {
    for is_another_first in [false, true] {
        let world = World::with_config(delegated()).await;
        if world.db.dialect() == Dialect::Sqlite {
            return;
        }
        world.follow_events();
        let ca = world.root("root-a").await;
        let (_, another) = world.replica_with(delegated()).await;
        let question = [cert_id(&ca.certificate, &ca.certificate)];
        let (plain, fresh) = (
            request_to_der(&question, None),
            request_to_der(&question, Some(&[1; 16])),
        );
        let by = async |router: &Router, request: &[u8]| {
            signer(&basic(&post_ocsp(router, request).await))
        };
        let first = by(&world.router, &plain).await;
        let second = by(&another, &plain).await;
        assert_eq!(second.spki_der(), first.spki_der());
        world.revoke(&second, "KeyCompromise").await;
        world.catch_up().await;
        world.clock.advance(Duration::seconds(2));
        let mut routers = [&world.router, &another];
        if is_another_first {
            routers.reverse();
        }
        for router in routers {
            // Nor is what was signed with it before given any more.
            for request in [&plain, &fresh] {
                let third = by(router, request).await;
                assert_ne!(third.spki_der(), first.spki_der());
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_a_key_that_was_given_up_before_changes_nothing() {
    let world = World::with_config(delegated()).await;
    if world.db.dialect() == Dialect::Sqlite {
        return;
    }
    world.follow_events();
    let ca = world.root("root-a").await;
    let first = signer(&asked(&world, &ca, &ca.certificate, 1).await);
    // As a process leaves it that had the former key certified while another gave it up.
    let left = world.issue(&ca, "left").await;
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO va_responder_certificate (ca_id, serial_number, operation, not_after) \
         VALUES ($1, $2, 'former', $3)",
        params![
            ca.id.as_str(),
            left.serial().to_hex(),
            world.db.now() + Duration::WEEK
        ],
    ));
    world.db.commit(set).await.unwrap();
    world.revoke(&left, "KeyCompromise").await;
    world.catch_up().await;
    for nonce in [2, 3] {
        world.clock.advance(Duration::seconds(2));
        let same = signer(&asked(&world, &ca, &ca.certificate, nonce).await);
        assert_eq!(same.as_der(), first.as_der());
    }
}

#[tokio::test]
async fn the_key_of_the_ca_is_not_needed_for_answers() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let router = world.without_keys_and_with(delegated()).await;
    let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    let answer = basic(&post_ocsp(&router, &request).await);
    signer(&answer);
}

#[tokio::test]
async fn a_ca_that_certifies_nobody_any_more_answers_itself() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    signer(&asked(&world, &ca, &issued, 1).await);
    world
        .revoke_serial(&ca.serial, "CessationOfOperation")
        .await;
    let answer = asked(&world, &ca, &issued, 2).await;
    assert!(answer.certificates.is_empty());
    answer
        .verify_signed_by(&ca.certificate.public_key().unwrap())
        .unwrap();
    assert!(matches!(
        answer.responses[0].status,
        CertStatus::Revoked { .. }
    ));
}

/// An element with these parts; all of them short.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = match u8::try_from(content.len()).unwrap() {
        length @ 0..=0x7f => vec![tag, length],
        length => vec![tag, 0x81, length],
    };
    out.extend(content);
    out
}

fn oid(oid: &ObjectIdentifier) -> Vec<u8> {
    der(0x06, &[oid.as_bytes()])
}

/// A question with one extension.
fn with_extension(ca: &Ca, id: &ObjectIdentifier, critical: &[u8], value: &[u8]) -> Vec<u8> {
    let cert_id = cert_id(&ca.certificate, &ca.certificate);
    let list = der(0x30, &[&der(0x30, &[cert_id.as_der()])]);
    let extension = der(0x30, &[&oid(id), critical, &der(0x04, &[value])]);
    let extensions = der(0xa2, &[&der(0x30, &[&extension])]);
    der(0x30, &[&der(0x30, &[&list, &extensions])])
}

fn preferring(schemes: &[SignatureScheme]) -> Vec<u8> {
    let preferred: Vec<Vec<u8>> = schemes
        .iter()
        .map(|scheme| der(0x30, &[&scheme.to_algorithm_identifier_der().unwrap()]))
        .collect();
    let parts: Vec<&[u8]> = preferred.iter().map(Vec::as_slice).collect();
    der(0x30, &parts)
}

#[tokio::test]
async fn the_first_preferred_algorithm_that_the_key_has_signs() {
    use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
    let world = World::new().await;
    let rsa = world.ca("rsa", None, "RSA", 2048).await;
    let ec = world.ca("ec", None, "ECDSA", 256).await;
    let (sha1, sha256) = (HashAlgorithm::Sha1, HashAlgorithm::Sha256);
    let (sha384, sha512) = (HashAlgorithm::Sha384, HashAlgorithm::Sha512);
    let cases = [
        (&rsa, vec![RsaPkcs1(sha384)], RsaPkcs1(sha384)),
        (&rsa, vec![Ed25519, RsaPss(sha256)], RsaPss(sha256)),
        (&rsa, vec![RsaPkcs1(sha1)], RsaPkcs1(sha256)),
        (&ec, vec![RsaPkcs1(sha512), Ecdsa(sha512)], Ecdsa(sha512)),
        (&ec, vec![Ecdsa(sha1), Ed25519], Ecdsa(sha256)),
        (&ec, vec![], Ecdsa(sha256)),
    ];
    for (ca, preferred, expected) in cases {
        let value = preferring(&preferred);
        let request = with_extension(ca, &oids::PKIX_OCSP_PREF_SIG_ALGS, &[], &value);
        let answer = basic(&world.post_ocsp(&request).await);
        assert_eq!(answer.signature_scheme(), Ok(expected), "{preferred:?}");
        answer
            .verify_signed_by(&ca.certificate.public_key().unwrap())
            .unwrap();
        // Who has no wish is not given what others wished for.
        let question = [cert_id(&ca.certificate, &ca.certificate)];
        let plain = basic(&world.post_ocsp(&request_to_der(&question, None)).await);
        let own = ca.certificate.public_key().unwrap().default_scheme();
        assert_eq!(plain.signature_scheme(), Ok(own));
    }
}

#[tokio::test]
async fn extensions_are_understood_passed_over_or_refused() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let unknown = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");
    let critical = [0x01, 0x01, 0xff];
    let basic_type = der(0x30, &[&oid(&unknown), &oid(&oids::PKIX_OCSP_BASIC)]);
    let other_type = der(0x30, &[&oid(&unknown)]);
    let types = oids::PKIX_OCSP_RESPONSE;
    let locator = oids::PKIX_OCSP_SERVICE_LOCATOR;
    let preferred = oids::PKIX_OCSP_PREF_SIG_ALGS;
    let (good, malformed) = (
        OcspResponseStatus::Successful,
        OcspResponseStatus::MalformedRequest,
    );
    let cases = [
        (types, &critical[..], &basic_type[..], good),
        (types, &[], &other_type, malformed),
        (locator, &[], b"anything", good),
        (preferred, &[], b"no list", good),
        (unknown, &[], b"anything", good),
        (unknown, &critical, b"anything", malformed),
    ];
    for (id, critical, value, expected) in cases {
        let answer = world
            .post_ocsp(&with_extension(&ca, &id, critical, value))
            .await;
        let response = OcspResponse::from_der(answer.body).unwrap();
        assert_eq!(response.status, expected, "{id}");
    }
}
