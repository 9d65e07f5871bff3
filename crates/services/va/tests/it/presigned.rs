//! Answers that were signed before.

use lamassu_db::{WriteSet, params, sql};
use lamassu_va::{OcspConfig, VaConfig};
use lamassu_x509::Certificate;
use lamassu_x509::ocsp::{CertId, CertStatus, OcspResponse, issuer_keys, request_to_der};
use time::Duration;

use crate::support::{Ca, World, cert_id, post_ocsp, url_safe};

async fn answer(world: &World, cert_id: CertId) -> bytes::Bytes {
    let request = request_to_der(&[cert_id], None);
    world.post_ocsp(&request).await.body
}

fn said(answer: &bytes::Bytes) -> CertStatus {
    let response = OcspResponse::from_der(answer.clone()).unwrap();
    response.basic.unwrap().responses[0].status
}

async fn world() -> (World, Ca, Certificate) {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    (world, ca, issued)
}

#[tokio::test]
async fn who_asks_alike_gets_the_same_answer_for_half_its_validity() {
    // ECDSA signatures differ each time, so equal bytes were signed once.
    let (world, ca, issued) = world().await;
    let [_, sha256, ..] = issuer_keys(&ca.certificate).unwrap();
    let usual = || cert_id(&ca.certificate, &issued);
    let first = answer(&world, usual()).await;
    let other_form = answer(&world, CertId::new(&sha256, issued.serial())).await;
    assert_ne!(first, other_form);
    world.clock.advance(Duration::minutes(29));
    assert_eq!(answer(&world, usual()).await, first);
    assert_eq!(
        answer(&world, CertId::new(&sha256, issued.serial())).await,
        other_form
    );
    world.clock.advance(Duration::minutes(2));
    let second = answer(&world, usual()).await;
    assert_ne!(second, first);
    assert_eq!(answer(&world, usual()).await, second);
    // A nonce is for one client.
    let nonce = || request_to_der(&[cert_id(&ca.certificate, &issued)], Some(&[7; 16]));
    let one = world.post_ocsp(&nonce()).await.body;
    assert_ne!(world.post_ocsp(&nonce()).await.body, one);
}

#[tokio::test]
async fn clients_that_have_an_answer_are_told_so() {
    let (world, ca, issued) = world().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
    let path = format!("/ocsp/{}", url_safe(&request));
    let first = world.get(&path).await;
    let tag = first.header("etag").to_owned();
    let again = world.get_with(&path, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let since = first.header("last-modified").to_owned();
    let again = world
        .get_with(&path, &[("if-modified-since", &since)])
        .await;
    assert_eq!(again.status, 304);
    world.revoke(&issued, "KeyCompromise").await;
    let changed = world.get_with(&path, &[("if-none-match", &tag)]).await;
    assert_eq!(changed.status, 200);
    assert!(matches!(said(&changed.body), CertStatus::Revoked { .. }));
}

#[tokio::test]
async fn a_change_is_seen_by_the_very_next_question() {
    let (world, ca, issued) = world().await;
    let asked = || answer(&world, cert_id(&ca.certificate, &issued));
    assert_eq!(said(&asked().await), CertStatus::Good);
    for _ in 0..5 {
        world.revoke(&issued, "CertificateHold").await;
        assert!(matches!(said(&asked().await), CertStatus::Revoked { .. }));
        world.set_status(&issued, "ACTIVE").await;
        assert_eq!(said(&asked().await), CertStatus::Good);
    }
}

#[tokio::test]
async fn what_another_process_changes_is_seen_within_a_second() {
    let (world, ca, issued) = world().await;
    let Some(beside) = world.beside().await else {
        // The file has one writer, whose changes are heard of.
        return;
    };
    let asked = || answer(&world, cert_id(&ca.certificate, &issued));
    let first = asked().await;
    // Nothing changed: the row is read again, and nothing signed.
    world.clock.advance(Duration::seconds(2));
    assert_eq!(asked().await, first);
    let mut set = WriteSet::new();
    set.execute(sql(
        "UPDATE certificate SET status = 'REVOKED', revocation_timestamp = $1, \
         revocation_reason = 'KeyCompromise' WHERE serial_number = $2",
        params![world.db.now(), issued.serial().to_hex()],
    ));
    beside.commit(set).await.unwrap();
    assert_eq!(asked().await, first, "within the second");
    world.clock.advance(Duration::SECOND);
    assert!(matches!(said(&asked().await), CertStatus::Revoked { .. }));
}

#[tokio::test]
async fn what_a_ca_service_on_another_database_changes_is_seen_within_a_second() {
    let (world, ca, issued) = world().await;
    let router = world.on_its_own_database().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
    let asked = async || said(&post_ocsp(&router, &request).await.body);
    assert_eq!(asked().await, CertStatus::Good);
    world.revoke(&issued, "KeyCompromise").await;
    world.clock.advance(Duration::SECOND);
    assert!(matches!(asked().await, CertStatus::Revoked { .. }));
}

#[tokio::test]
async fn a_certificate_that_ends_is_answered_anew() {
    let (world, ca, issued) = world().await;
    let asked = || answer(&world, cert_id(&ca.certificate, &issued));
    let left = issued.not_after() - world.db.now();
    world.clock.advance(left - Duration::minutes(5));
    let before = asked().await;
    world.clock.advance(Duration::minutes(4));
    assert_eq!(asked().await, before);
    // From its end on the answer says since when such statuses are kept.
    world.clock.advance(Duration::minutes(2));
    let after = OcspResponse::from_der(asked().await).unwrap();
    let after = after.basic.unwrap();
    assert_eq!(after.responses[0].extensions.iter().count(), 1);
}

#[tokio::test]
async fn without_room_every_answer_is_signed() {
    let config = VaConfig {
        ocsp: OcspConfig {
            cache_bytes: 0,
            ..OcspConfig::default()
        },
        ..VaConfig::default()
    };
    let world = World::with_config(config).await;
    let ca = world.root("root-a").await;
    let asked = || answer(&world, cert_id(&ca.certificate, &ca.certificate));
    assert_ne!(asked().await, asked().await);
}
