//! Answers that were signed before.

use axum::Router;
use lamassu_db::{WriteSet, params, sql};
use lamassu_va::{OcspConfig, OcspResponder, VaConfig, VaService};
use lamassu_x509::Certificate;
use lamassu_x509::ocsp::{CertId, CertStatus, OcspResponse, issuer_keys, request_to_der};
use time::Duration;
use tokio_util::sync::CancellationToken;

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

/// Another process, which keeps its answers.
async fn keeping(world: &World) -> (VaService, Router) {
    let ocsp = OcspConfig {
        keep_answers: true,
        ..OcspConfig::default()
    };
    let config = VaConfig {
        ocsp,
        ..VaConfig::default()
    };
    world.replica_with(config).await
}

/// Begins and ends: what is kept is read, and what is new is kept.
async fn run(va: &VaService) {
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    va.run(&shutdown).await;
}

async fn restarted(world: &World) -> Router {
    let (va, router) = keeping(world).await;
    run(&va).await;
    router
}

/// The first answer of a process that ends then.
async fn run_and_ask(world: &World, ca: &Ca, certificate: &Certificate) -> bytes::Bytes {
    let (va, router) = keeping(world).await;
    let request = request_to_der(&[cert_id(&ca.certificate, certificate)], None);
    let answer = post_ocsp(&router, &request).await.body;
    run(&va).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_outlive_a_restart_and_no_revocation() {
    let (world, ca, issued) = world().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
    let before = run_and_ask(&world, &ca, &issued).await;
    assert_eq!(said(&before), CertStatus::Good);
    let router = restarted(&world).await;
    assert_eq!(post_ocsp(&router, &request).await.body, before);
    // Read from the file before the revocation, which this process does not hear of, and not asked yet.
    let deaf = restarted(&world).await;
    world.revoke(&issued, "KeyCompromise").await;
    let is_revoked = |answer: bytes::Bytes| matches!(said(&answer), CertStatus::Revoked { .. });
    assert!(is_revoked(post_ocsp(&deaf, &request).await.body));
    // And revoked while no process ran.
    let router = restarted(&world).await;
    assert!(is_revoked(post_ocsp(&router, &request).await.body));
    // What says that is kept as well.
    let before = run_and_ask(&world, &ca, &issued).await;
    assert!(is_revoked(before.clone()));
    let router = restarted(&world).await;
    assert_eq!(post_ocsp(&router, &request).await.body, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_before_a_reissue_or_past_their_time_are_made_again() {
    let (world, ca, issued) = world().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
    let before = run_and_ask(&world, &ca, &issued).await;
    world.reissue(&ca).await;
    let router = restarted(&world).await;
    assert_ne!(post_ocsp(&router, &request).await.body, before);
    let before = run_and_ask(&world, &ca, &issued).await;
    world.clock.advance(Duration::minutes(31));
    let router = restarted(&world).await;
    assert_ne!(post_ocsp(&router, &request).await.body, before);
}

/// Whoever can write to the storage cannot make a revoked certificate good again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_says_something_else_than_it_is_filed_as_is_left_out() {
    let (world, ca, issued) = world().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
    let good = run_and_ask(&world, &ca, &issued).await;
    let file = world.blob("pki/va/ocsp/answers.json");
    let mut filed: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    world.revoke(&issued, "KeyCompromise").await;
    let revoked = world.certificate(&issued).await;
    filed[0]["info"]["status"] = "REVOKED".into();
    filed[0]["info"]["revocation_reason"] = "KeyCompromise".into();
    filed[0]["info"]["revocation_timestamp"] = revoked["revocation_timestamp"].clone();
    std::fs::write(&file, filed.to_string()).unwrap();
    let router = restarted(&world).await;
    let answer = post_ocsp(&router, &request).await.body;
    assert_ne!(answer, good);
    assert!(matches!(said(&answer), CertStatus::Revoked { .. }));
    // What is no list is no reason not to start.
    std::fs::write(&file, "{").unwrap();
    let router = restarted(&world).await;
    assert!(matches!(
        said(&post_ocsp(&router, &request).await.body),
        CertStatus::Revoked { .. }
    ));
}

/// Another process, whose answers a delegated responder signs.
async fn delegating(world: &World) -> (VaService, Router) {
    let ocsp = OcspConfig {
        keep_answers: true,
        responder: OcspResponder::Delegated,
        ..OcspConfig::default()
    };
    let config = VaConfig {
        ocsp,
        ..VaConfig::default()
    };
    world.replica_with(config).await
}

fn signer(answer: &bytes::Bytes) -> Certificate {
    let response = OcspResponse::from_der(answer.clone()).unwrap();
    response.basic.unwrap().certificates().unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_a_responder_outlive_a_restart_and_not_the_trust_in_its_key() {
    let (world, ca, issued) = world().await;
    let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
    let asked = async |router: &Router| post_ocsp(router, &request).await.body;
    let (va, router) = delegating(&world).await;
    let before = asked(&router).await;
    run(&va).await;
    let started = async || {
        let (va, router) = delegating(&world).await;
        run(&va).await;
        router
    };
    let (asked_before, started_before) = (started().await, started().await);
    assert_eq!(asked(&asked_before).await, before);
    let responder = signer(&before);
    world.revoke(&responder, "KeyCompromise").await;
    let started_behind = started().await;
    for router in [asked_before, started_before, started_behind] {
        let after = asked(&router).await;
        assert_eq!(said(&after), CertStatus::Good);
        assert_ne!(signer(&after).spki_der(), responder.spki_der());
    }
}
