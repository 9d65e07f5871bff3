//! Calls that run at the same time, and processes that know yesterday's state.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use lamassu_db::{params, sql};
use serde_json::json;

use crate::deletion::settle;
use crate::kms::{Asked, Fault};
use crate::support::{ForeignPlan, World, ask, csr, device_profile, p256, root_body};

impl World {
    /// Lets each transaction that stores a CA, or another certificate or profile of one, stay open until another one waits
    /// for it.
    async fn let_changes_of_cas_meet(&self) {
        self.execute(sql(
            "CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $meet$ BEGIN \
             PERFORM pg_advisory_xact_lock(4711, TG_RELID::integer); \
             FOR i IN 1..1000 LOOP \
             EXIT WHEN EXISTS (SELECT 1 FROM pg_locks \
             WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))); \
             PERFORM pg_sleep(0.01); \
             END LOOP; \
             RETURN NULL; END $meet$",
            params![],
        ))
        .await;
        self.execute(sql(
            "CREATE TRIGGER meet AFTER INSERT OR UPDATE OF certificate_id \
             ON certificate_authority FOR EACH ROW EXECUTE FUNCTION meet()",
            params![],
        ))
        .await;
    }

    /// Waits until such a transaction is open.
    async fn change_of_ca_is_open(&self) {
        const LATEST: Duration = Duration::from_secs(30);
        let begun = Instant::now();
        let text = "SELECT CAST(objid AS BIGINT) AS relation FROM pg_locks \
                    WHERE locktype = 'advisory' AND classid = 4711 \
                    AND objid = 'certificate_authority'::regclass";
        while self
            .db
            .row_opt(sql(text, params![]))
            .await
            .unwrap()
            .is_none()
        {
            assert!(begun.elapsed() < LATEST, "nobody changes a CA");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_creates_wins_and_no_other_key_stays() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let body = root_body("root-a", &profile);
    let answers = join_all((0..20).map(|_| world.post("/v1/cas", body.clone()))).await;
    let created = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    assert_eq!(created, 1);
    for answer in answers
        .iter()
        .filter(|answer| answer.status != StatusCode::CREATED)
    {
        assert_eq!(answer.refusal(), (409, "CA already exists"));
    }
    assert_eq!(world.kms.n_keys(), 1);
    assert_eq!(world.count("certificate_authority").await, 1);
    assert_eq!(world.count("certificate").await, 1);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_revocations_or_deletions_one_is_done() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    for n in 0..5 {
        world.issue("sub-a", &format!("device-{n}")).await;
    }
    let revoked = json!({ "status": "REVOKED", "revocation_reason": "KeyCompromise" });
    let answers = join_all((0..20).map(|_| world.post("/v1/cas/root-a/status", revoked.clone())));
    let mut n_done = 0;
    for answer in answers.await {
        if answer.status == StatusCode::CREATED {
            n_done += 1;
        } else {
            let text = "new status transition not allowed for certificate";
            assert_eq!(answer.refusal(), (400, text));
        }
    }
    assert_eq!(n_done, 1);
    let told = world.events().await;
    let count = |kind: &str| told.iter().filter(|(known, _)| known == kind).count();
    assert_eq!(count("ca.status.update"), 2);
    assert_eq!(count("certificate.status.update"), 5);
    let answers = join_all((0..20).map(|_| world.delete("/v1/cas/root-a"))).await;
    let (done, others): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|answer| answer.status == StatusCode::OK);
    assert_eq!(done.len(), 1);
    for answer in others {
        assert_eq!(answer.refusal(), (404, "CA not found"));
    }
    // One last CRL is to be made.
    assert_eq!(settle(&world).await, 1);
    assert_eq!(world.open_cascades().await, 0);
    assert_eq!(world.kms.n_keys(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reissues_are_a_chain_of_twenty_certificates() {
    let world = World::new().await;
    world.root("root-a").await;
    let reissue = || world.post("/v1/cas/root-a/reissue", serde_json::Value::Null);
    for answer in join_all((0..20).map(|_| reissue())).await {
        answer.with(StatusCode::OK);
    }
    assert_eq!(world.count("certificate").await, 21);
    // From the present one back to the first: nobody's successor was lost.
    let mut serial = world.ca("root-a").await["serial_number"].clone();
    let mut length = 0;
    while let Some(current) = serial.as_str() {
        let certificate = world.get(&format!("/v1/certificates/{current}")).await.body;
        serial = certificate["metadata"]["lamassu.io/ca/reissued-from"].clone();
        length += 1;
    }
    assert_eq!(length, 21);
}

#[tokio::test]
async fn a_key_that_cannot_be_destroyed_now_is_left_to_the_job() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let body = root_body("root-a", &profile);
    world.kms.fail(Fault::CannotDiscard);
    let answers = join_all((0..3).map(|_| world.post("/v1/cas", body.clone()))).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.status == StatusCode::CREATED)
            .count(),
        1
    );
    let left = world.count("ca_operation").await;
    assert_eq!(i64::try_from(world.kms.n_keys()).unwrap(), left + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_certificates_at_once_are_twenty_certificates() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = join_all((0..20).map(|_| world.issue("root-a", "device-1"))).await;
    let mut serials: Vec<&str> = issued
        .iter()
        .map(|certificate| certificate["serial_number"].as_str().unwrap())
        .collect();
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 20);
    assert_eq!(world.count("certificate").await, 21);
}

#[tokio::test]
async fn nothing_is_issued_under_a_ca_that_another_process_revoked() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    // Now the CA is in this process's cache.
    world.issue("root-a", "device-1").await;
    let other = world.replica().await;
    let path = format!(
        "/v1/certificates/{}/status",
        root["serial_number"].as_str().unwrap()
    );
    let body = json!({ "status": "REVOKED", "revocation_reason": "CertificateHold" });
    let held = ask(&other, Method::PUT, &path, Some(body.to_string())).await;
    held.with(StatusCode::OK);
    let request = json!({ "csr": csr(&p256(), "device-2").to_wire() });
    let refused = world.sign("root-a", request.clone()).await;
    assert_eq!(refused.refusal(), (400, "CA Status inconsistent"));
    let active = json!({ "status": "ACTIVE" });
    ask(&other, Method::PUT, &path, Some(active.to_string()))
        .await
        .with(StatusCode::OK);
    world
        .sign("root-a", request)
        .await
        .with(StatusCode::CREATED);
}

#[tokio::test]
async fn a_profile_that_another_process_changed_counts_at_once() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    let other = world.replica().await;
    let path = format!("/v1/profiles/{}", root["profile_id"].as_str().unwrap());
    let mut profile = device_profile();
    profile["validity"]["duration"] = json!("1h");
    profile["crypto_enforcement"] = json!({ "enabled": true, "allow_rsa_keys": true });
    let put = ask(&other, Method::PUT, &path, Some(profile.to_string())).await;
    put.with(StatusCode::OK);
    let request = json!({ "csr": csr(&p256(), "device-2").to_wire() });
    assert_eq!(
        world.sign("root-a", request.clone()).await.refusal(),
        (
            400,
            "public key is ECDSA, but issuance profile does not allow ECDSA keys"
        )
    );
    // And back again: a refusal is not of yesterday either.
    profile["crypto_enforcement"] = json!({ "enabled": false });
    let put = ask(&other, Method::PUT, &path, Some(profile.to_string())).await;
    put.with(StatusCode::OK);
    let issued = world
        .sign("root-a", request)
        .await
        .with(StatusCode::CREATED);
    assert_eq!(issued["valid_to"], "2026-03-02T10:15:27Z");
}

#[tokio::test]
async fn no_ca_is_made_by_a_profile_that_changes_meanwhile() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let other = world.replica().await;
    let ca_profile = json!({
        "sign_as_ca": true, "honor_subject": true, "key_usage": ["CertSign"],
        "validity": { "type": "Duration", "duration": "20d" },
    });
    let mut body = root_body("root-b", root["profile_id"].as_str().unwrap());
    for path in ["/v1/cas", "/v1/cas/root-a/reissue"] {
        let profile = world.profile(ca_profile.clone()).await;
        body["ca_issuance_profile_id"] = json!(profile);
        body["profile_id"] = json!(profile);
        let mut narrower = ca_profile.clone();
        narrower["sign_as_ca"] = json!(false);
        let other = other.clone();
        world.kms.meanwhile(Asked::Signer, async move {
            let path = format!("/v1/profiles/{profile}");
            let put = ask(&other, Method::PUT, &path, Some(narrower.to_string())).await;
            put.with(StatusCode::OK);
        });
        let refused = world.post(path, body.clone()).await;
        assert_eq!(
            refused.refusal(),
            (400, "struct validation error"),
            "{path}"
        );
    }
    assert_eq!(world.count("certificate").await, 1);
    assert_eq!(world.kms.n_keys(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_creates_the_ca() {
    let world = World::new().await;
    let other = world.replica().await;
    let profile = world.profile(device_profile()).await;
    if world.is_postgres() {
        world.let_changes_of_cas_meet().await;
    }
    for n in 0..5 {
        let body = root_body(&format!("root-{n}"), &profile);
        let (one, two) = tokio::join!(
            world.post("/v1/cas", body.clone()),
            ask(&other, Method::POST, "/v1/cas", Some(body.to_string())),
        );
        let (created, refused) = match one.status {
            StatusCode::CREATED => (one, two),
            _ => (two, one),
        };
        created.with(StatusCode::CREATED);
        assert_eq!(refused.refusal(), (409, "CA already exists"));
    }
    assert_eq!(world.kms.n_keys(), 5);
    assert_eq!(world.count("certificate_authority").await, 5);
    assert_eq!(world.count("certificate").await, 5);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_a_ca_takes_in_another_process_stays() {
    let world = World::new().await;
    if !world.is_postgres() {
        return; // One process has one writer.
    }
    let other = world.replica().await;
    world.root("root-a").await;
    world.let_changes_of_cas_meet().await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    for (path, id) in [
        ("/v1/cas", "root-b"),
        ("/v1/cas/import", "root-c"),
        ("/v1/cas/root-a/profile", "root-a"),
    ] {
        let profile = world.profile(device_profile()).await;
        let mut body = root_body(id, &profile);
        body["ca"] = json!(foreign.wire());
        body["private_key"] = json!(foreign.key_wire());
        let delete = async {
            world.change_of_ca_is_open().await;
            let path = format!("/v1/profiles/{profile}");
            ask(&other, Method::DELETE, &path, None).await
        };
        let (taken, deleted) = tokio::join!(world.post(path, body), delete);
        assert!(taken.status.is_success(), "{path}: {taken:?}");
        let text = format!("issuance profile is in use by CAs: {id}");
        assert_eq!(deleted.refusal(), (409, text.as_str()), "{path}");
    }
}
