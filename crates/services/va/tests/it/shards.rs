//! CRLs of shards: each certificate has the list of its own shard, and openssl takes no other one for
//! it.

use std::collections::BTreeMap;
use std::process::Command;

use http::{Method, Request, StatusCode};
use lamassu_core::va::{CrlShard, CrlShards};
use lamassu_db::{NextRun, params, sql, system_caller};
use lamassu_va::{CrlConfig, VaConfig};
use lamassu_x509::crl::CertificateList;
use lamassu_x509::pem::{PemLabel, der_to_pem};
use lamassu_x509::{Certificate, oids};
use serde_json::json;
use time::Duration;

use crate::crl::{expired_stay_since, generalized};
use crate::openssl::crl_text;
use crate::support::{Ca, World, get, send};

/// Two domains: each certificate then has two addresses for one list.
fn config() -> VaConfig {
    let va_domains = ["va.example/api/va", "va-2.example:8080/api/va"].map(str::to_owned);
    VaConfig {
        va_domains: va_domains.into(),
        ..VaConfig::default()
    }
}

async fn world() -> World {
    let world = World::with_config(config()).await;
    world.follow_events();
    world
}

/// Where a certificate says that its CRL is, as a path of ours.
fn crl_path(certificate: &Certificate) -> String {
    let points = certificate.extensions().access_locations().unwrap().crl;
    let [first, second] = points.as_slice() else {
        panic!("{points:?}");
    };
    let path = first.strip_prefix("http://va.example/api/va").unwrap();
    assert_eq!(*second, format!("http://va-2.example:8080/api/va{path}"));
    path.to_owned()
}

/// The list that a certificate names, verified.
async fn own_list(world: &World, ca: &Ca, certificate: &Certificate) -> CertificateList {
    world.crl_at(&crl_path(certificate), ca).await
}

fn number(list: &CertificateList) -> u64 {
    list.number().unwrap().unwrap().0
}

fn serials(list: &CertificateList) -> Vec<String> {
    list.entries().map(|entry| entry.serial.to_hex()).collect()
}

/// Certificates of two different shards.
async fn of_two_shards(world: &World, ca: &Ca) -> [Certificate; 2] {
    let mut found = BTreeMap::new();
    for n in 0..100 {
        let issued = world.issue(ca, &format!("device-{n}")).await;
        found.insert(crl_path(&issued), issued);
        if found.len() == 2 {
            break;
        }
    }
    let all: Vec<_> = found.into_values().collect();
    all.try_into().unwrap()
}

async fn settle(world: &World) {
    world.settle().await;
    world.run_shard_job().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_makes_the_list_of_its_shard_and_no_other() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 4).await;
    settle(&world).await;
    let [revoked, other] = of_two_shards(&world, &ca).await;
    let before = own_list(&world, &ca, &revoked).await;
    assert_eq!((number(&before), serials(&before)), (1, vec![]));
    let untouched = own_list(&world, &ca, &other).await;
    let complete = world.crl(&ca).await;

    world.revoke(&revoked, "KeyCompromise").await;
    settle(&world).await;
    let made = own_list(&world, &ca, &revoked).await;
    let serial = revoked.serial().to_hex();
    assert_eq!((number(&made), serials(&made)), (2, vec![serial.clone()]));
    assert_eq!(
        own_list(&world, &ca, &other).await.as_der(),
        untouched.as_der()
    );
    assert_eq!(world.crl(&ca).await.as_der(), complete.as_der());
    // Byte for byte what the certificate says, critically, and nothing else.
    let scope = made
        .extensions()
        .find(&oids::CE_ISSUING_DISTRIBUTION_POINT)
        .unwrap();
    assert!(scope.is_critical());
    assert!(made.is_about(&revoked).unwrap() && !made.is_about(&other).unwrap());
    assert!(complete.is_about(&revoked).unwrap() && complete.is_about(&other).unwrap());
    // What is told names the list.
    let (kind, subject, data) = world.events().await.pop().unwrap();
    assert_eq!(
        (kind.as_str(), subject),
        ("va.role.crl.shard", format!("crl/{}", ca.ski))
    );
    let url = format!("http://va.example/api/va{}", crl_path(&revoked));
    assert_eq!((&data["URL"], &data["Number"]), (&json!(url), &json!(2)));
    let role = world.get(&format!("/v1/roles/{}", ca.ski)).await.json(200);
    assert_eq!(role["crl_shards"], 4);

    // A released hold leaves it; within ten minutes the complete list takes all in.
    world.revoke(&other, "CertificateHold").await;
    settle(&world).await;
    assert_eq!(serials(&own_list(&world, &ca, &other).await).len(), 1);
    world.set_status(&other, "ACTIVE").await;
    settle(&world).await;
    assert_eq!(serials(&own_list(&world, &ca, &other).await).len(), 0);
    assert_eq!(world.crl(&ca).await.as_der(), complete.as_der());
    world.clock.advance(Duration::minutes(10));
    settle(&world).await;
    assert_eq!(world.listed(&ca).await, (2, vec![serial]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_believes_the_list_that_a_certificate_names_and_no_other() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    let [revoked, good] = of_two_shards(&world, &ca).await;
    world.revoke(&revoked, "KeyCompromise").await;
    settle(&world).await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, certificate) in [
        ("ca", &ca.certificate),
        ("revoked", &revoked),
        ("good", &good),
    ] {
        let pem = der_to_pem(PemLabel::Certificate, certificate.as_der());
        std::fs::write(dir.join(format!("{name}.pem")), pem).unwrap();
    }
    for (name, certificate) in [("revoked", &revoked), ("good", &good)] {
        let list = own_list(&world, &ca, certificate).await;
        let pem = der_to_pem(PemLabel::Crl, list.as_der());
        std::fs::write(dir.join(format!("{name}-crl.pem")), pem).unwrap();
    }
    let verify = |name: &str, list: &str| {
        let output = Command::new("openssl")
            .args(["verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile"])
            .args([&format!("{list}-crl.pem"), &format!("{name}.pem")])
            .current_dir(dir)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = verify("good", "good");
    assert!(text.contains("good.pem: OK"), "{text}");
    let text = verify("revoked", "revoked");
    assert!(text.contains("certificate revoked"), "{text}");
    // The list of the other shard says nothing, not even that the certificate is good.
    for (name, list) in [("good", "revoked"), ("revoked", "good")] {
        let text = verify(name, list);
        assert!(text.contains("different CRL scope"), "{text}");
        assert!(!text.contains("OK"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_shards_say_where_expired_certificates_stay_on_them() {
    for prune_expired in [true, false] {
        let crl = CrlConfig {
            prune_expired,
            ..CrlConfig::default()
        };
        let world = World::with_config(VaConfig { crl, ..config() }).await;
        world.follow_events();
        let ca = world.root_in_shards("root-a", 2).await;
        settle(&world).await;
        let issued = world.issue(&ca, "device-1").await;
        let list = own_list(&world, &ca, &issued).await;
        let kept_since = (!prune_expired).then(|| ca.certificate.not_before());
        assert_eq!(expired_stay_since(&list), kept_since.map(generalized));
        crl_text(list.as_der(), &ca);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_shards_are_fetched_and_renewed_as_complete_ones() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    let issued = world.issue(&ca, "device-1").await;
    let path = crl_path(&issued);
    // Made for the first who asks.
    let first = world.get(&path).await;
    assert_eq!(first.header("content-type"), "application/pkix-crl");
    assert_eq!(world.get(&format!("/v1{path}")).await.body, first.body);
    let tag = first.header("etag").to_owned();
    let known = world.get_with(&path, &[("if-none-match", &tag)]).await;
    assert_eq!(
        (known.status, known.body.len()),
        (StatusCode::NOT_MODIFIED, 0)
    );
    for path in [&path, &format!("/v1{path}")] {
        let head = Request::builder().method(Method::HEAD).uri(path.as_str());
        let head = send(&world.router, head.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), first.body.len().to_string());
        assert_eq!(head.header("etag"), tag);
    }
    for path in ["3-of-2", "0-of-2", "1-of-3", "02-of-2", "any"] {
        let answer = world.get(&format!("/crl/{}/{path}", ca.ski)).await;
        assert_eq!(
            answer.refusal(),
            (404, "CRL not found".to_owned()),
            "{path}"
        );
    }
    let nobody = world.get("/crl/abcd/1-of-2").await;
    assert_eq!(nobody.refusal().0, 404);
    // The job makes the rest and comes again when the first is due.
    world.catch_up().await;
    let next = world.run_shard_job().await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::hours(167)));
    world
        .set_options(&ca, json!({ "refresh_interval": "1h" }))
        .await;
    world.clock.advance(Duration::minutes(61));
    world.run_shard_job().await;
    let renewed = own_list(&world, &ca, &issued).await;
    assert_eq!(number(&renewed), 2);
    // Without a change and before its time, it stays.
    world.run_shard_job().await;
    assert_eq!(number(&own_list(&world, &ca, &issued).await), 2);
    // A lost file is replaced, above the number that was.
    let folder = world
        .crl_folder(&ca)
        .join("shards")
        .join(path.rsplit('/').next().unwrap());
    std::fs::remove_file(folder.join("2.crl")).unwrap();
    let (_, replica) = world.replica_with(config()).await;
    let again = CertificateList::from_der(get(&replica, &path, &[]).await.body).unwrap();
    assert_eq!(number(&again), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lists_of_a_deleted_ca_outlive_its_certificates() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    let [one, other] = of_two_shards(&world, &ca).await;
    settle(&world).await;
    let profile = json!({
        "validity": { "type": "Duration", "duration": "40d" }, "honor_subject": true,
    });
    let late = world.issue_with(&ca, "late", profile).await;
    world.delete(&ca).await;
    world.run_final_crl_job().await;
    settle(&world).await;
    for certificate in [&one, &other, &late] {
        let list = own_list(&world, &ca, certificate).await;
        assert!(serials(&list).contains(&certificate.serial().to_hex()));
        assert!(list.next_update().unwrap() > late.not_after());
    }
}

/// A twin without shards, and one with another number of them, on one key: every certificate finds its
/// list where it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cas_that_share_a_key_may_have_other_shards() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    let twin = world.twin_in_shards("root-b", &ca, 3).await;
    settle(&world).await;
    let (first, second) = (world.issue(&ca, "1").await, world.issue(&twin, "2").await);
    assert!(crl_path(&first).ends_with("-of-2") && crl_path(&second).ends_with("-of-3"));
    for certificate in [&first, &second] {
        world.revoke(certificate, "KeyCompromise").await;
    }
    settle(&world).await;
    for certificate in [&first, &second] {
        let list = own_list(&world, &ca, certificate).await;
        assert!(serials(&list).contains(&certificate.serial().to_hex()));
        assert!(list.is_about(certificate).unwrap());
    }
}

/// Without an address a list could not say whose it is, and would pass for a complete one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_domain_there_are_no_lists_of_shards() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    world.catch_up().await;
    // The CA service knows an address, and this validation authority does not.
    let (va, router) = world.replica_with(VaConfig::default()).await;
    let made = va
        .shard_job()
        .run(&system_caller("test"), world.db.now())
        .await;
    assert_eq!(made.unwrap(), NextRun::WhenWoken);
    let answer = get(&router, &format!("/crl/{}/1-of-2", ca.ski), &[]).await;
    assert_eq!(answer.refusal(), (404, "CRL not found".to_owned()));
    assert!(
        world
            .crl(&ca)
            .await
            .extensions()
            .find(&oids::CE_ISSUING_DISTRIBUTION_POINT)
            .is_none()
    );
}

/// What events did not tell is on the list of its shard after the comparison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_repairs_shards_too() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    let revoked = world.issue(&ca, "1").await;
    world.revoke(&revoked, "KeyCompromise").await;
    settle(&world).await;
    let mut set = lamassu_db::WriteSet::new();
    set.execute(sql(
        "DELETE FROM va_revoked WHERE ca_id = $1",
        params![&ca.id],
    ));
    world.db.commit(set).await.unwrap();
    world.reconcile().await;
    world.run_shard_job().await;
    let list = own_list(&world, &ca, &revoked).await;
    assert_eq!((number(&list), serials(&list).len()), (2, 1));
}

/// The migration gives entries from before the bucket that new ones get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_holds_the_certificates_whose_serial_numbers_are_its() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 3).await;
    let mut issued = Vec::new();
    for n in 0..12 {
        issued.push(world.issue(&ca, &n.to_string()).await);
    }
    for certificate in &issued {
        world.revoke(certificate, "Superseded").await;
    }
    settle(&world).await;
    let shards = CrlShards::try_from(3).unwrap();
    let mut n_listed = 0;
    for part in 0..3 {
        let shard = CrlShard::at(part, shards).unwrap();
        let path = format!("/crl/{}/{shard}", ca.ski);
        n_listed += serials(&world.crl_at(&path, &ca).await).len();
    }
    assert_eq!(n_listed, issued.len());
    for certificate in &issued {
        let list = own_list(&world, &ca, certificate).await;
        assert!(serials(&list).contains(&certificate.serial().to_hex()));
    }
}

/// And told of once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_of_a_ca_that_does_not_sign_are_put_off_together() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 250).await;
    world.settle().await;
    while matches!(world.run_shard_job().await, NextRun::At(next) if next <= world.db.now()) {}
    world.clock.advance(Duration::days(7));
    world.disable_key(&ca).await;
    let next = world.run_shard_job().await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::seconds(30)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_cannot_be_read_holds_up_no_other() {
    let world = world().await;
    let ca = world.root_in_shards("root-a", 2).await;
    settle(&world).await;
    let mut set = lamassu_db::WriteSet::new();
    set.execute(sql(
        "UPDATE va_shard SET crl_number = -1 WHERE part = 0",
        params![],
    ));
    world.db.commit(set).await.unwrap();
    world.clock.advance(Duration::days(7));
    let next = world.run_shard_job().await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::seconds(30)));
    let good = CrlShard::at(1, CrlShards::try_from(2).unwrap()).unwrap();
    let list = world.crl_at(&format!("/crl/{}/{good}", ca.ski), &ca).await;
    assert_eq!(number(&list), 2);
}
