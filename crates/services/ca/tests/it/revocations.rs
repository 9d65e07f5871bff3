//! Many certificates revoked by one request.

use std::collections::HashSet;

use futures_util::future::join_all;
use http::StatusCode;
use lamassu_ca::OthersRunning;
use lamassu_db::{NextRun, WriteSet, params, sql};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{World, caller, csr, device_profile, p256};

const PATH: &str = "/v1/certificates/revocations";

/// So many more rows like that of this certificate, each with a number of its own.
async fn multiply(world: &World, certificate: &Value, n: i64) {
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
         certificate_type, engine_id, metadata, is_ca, subject_common_name, \
         subject_common_name_folded, subject_key_id, authority_key_id, key_type, key_bits, \
         key_strength, key_usage, extended_key_usage, valid_from, valid_to, issuer_ca_id, \
         issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason, next_due, \
         next_window, expired_by_job, profile_id) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
         SELECT id || CAST(100000 + i AS TEXT), CAST(100000 + i AS TEXT), 1, created_at, der, \
         status, certificate_type, engine_id, metadata, is_ca, subject_common_name, \
         subject_common_name_folded, subject_key_id, authority_key_id, key_type, key_bits, \
         key_strength, key_usage, extended_key_usage, valid_from, valid_to, issuer_ca_id, \
         issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason, next_due, \
         next_window, expired_by_job, profile_id FROM certificate, n WHERE serial_number = $1",
        params![certificate["serial_number"].as_str().unwrap(), n],
    ));
    world.db.commit(set).await.unwrap();
}

/// Whose change of status was told, each time.
async fn told(world: &World) -> Vec<String> {
    let events = world.events().await.into_iter();
    events
        .filter(|(kind, _)| kind == "certificate.status.update")
        .map(|(_, subject)| subject)
        .collect()
}

#[tokio::test]
async fn a_job_goes_on_where_a_dead_process_left_it_and_does_nothing_twice() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    multiply(&world, &issued, 2_499).await;
    let body = json!({ "ca_id": "root-a", "revocation_reason": "KeyCompromise" });
    let begun = world.post(PATH, body).await.with(StatusCode::ACCEPTED);
    let path = format!("/v1/jobs/{}", begun["id"].as_str().unwrap());
    assert_eq!(
        begun,
        json!({
            "id": begun["id"], "kind": "REVOKE_CERTIFICATES", "status": "RUNNING",
            "total": 2500, "done": 1000, "failed": 0,
            "creation_ts": "2026-03-02T09:15:27.481233Z", "error": "",
        })
    );
    // What is issued from now on is none of the job's business.
    world.clock.advance(Duration::seconds(1));
    let later = world.issue("root-a", "device-2").await;

    // The process is gone; two others start and both go on, at the same time even.
    let first = world.started(OthersRunning::Maybe).await.revocations_job();
    let second = world.started(OthersRunning::Maybe).await.revocations_job();
    let system = caller();
    let runs = join_all([&first, &second].map(|job| job.run(&system, world.db.now()))).await;
    for run in runs {
        assert_eq!(run.unwrap(), NextRun::At(world.db.now()));
    }
    while first.run(&caller(), world.db.now()).await.unwrap() != NextRun::WhenWoken {}
    let done = world.get(&path).await.with(StatusCode::OK);
    assert_eq!(
        (&done["status"], &done["done"]),
        (&json!("DONE"), &json!(2500))
    );
    let told = told(&world).await;
    assert_eq!(told.len(), 2_500);
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), 2_500);
    let active = world
        .get("/v1/certificates/status/ACTIVE")
        .await
        .with(StatusCode::OK);
    // The CA itself, and what came later.
    let serials: Vec<&Value> = active["list"].as_array().unwrap().iter().collect();
    assert_eq!(serials.len(), 2);
    assert!(
        serials
            .iter()
            .any(|row| row["serial_number"] == later["serial_number"])
    );
    let event = world.last_event("certificate.status.update").await;
    assert_eq!(event["data"]["previous"]["status"], "ACTIVE");
    assert_eq!(
        event["data"]["updated"]["revocation_reason"],
        "KeyCompromise"
    );
    let listed = world.get("/v1/jobs?filter=status[equal]DONE").await;
    assert_eq!(listed.with(StatusCode::OK)["list"], json!([done]));
}

#[tokio::test]
async fn a_job_that_cannot_go_on_is_given_up_and_holds_up_no_other() {
    let world = World::new().await;
    let mut paths = Vec::new();
    for ca in ["root-a", "root-b"] {
        world.root(ca).await;
        let issued = world.issue(ca, "device-1").await;
        multiply(&world, &issued, 1_499).await;
        let body = json!({ "ca_id": ca, "revocation_reason": "Superseded" });
        let begun = world.post(PATH, body).await.with(StatusCode::ACCEPTED);
        assert_eq!(begun["done"], 1000);
        paths.push(format!("/v1/jobs/{}", begun["id"].as_str().unwrap()));
        world.clock.advance(Duration::seconds(1));
    }
    let mut set = WriteSet::new();
    let broken = "UPDATE ca_job SET task = '[]' WHERE id = $1";
    let first = paths[0].trim_start_matches("/v1/jobs/");
    set.execute(sql(broken, params![first]));
    world.db.commit(set).await.unwrap();

    let job = world.started(OthersRunning::Maybe).await.revocations_job();
    while job.run(&caller(), world.db.now()).await.unwrap() != NextRun::WhenWoken {}
    let given_up = world.get(&paths[0]).await.with(StatusCode::OK);
    assert_eq!(
        (&given_up["status"], &given_up["done"]),
        (&json!("FAILED"), &json!(1000))
    );
    assert_ne!(given_up["error"], "");
    let done = world.get(&paths[1]).await.with(StatusCode::OK);
    assert_eq!(
        (&done["status"], &done["done"]),
        (&json!("DONE"), &json!(1500))
    );
}

#[tokio::test]
async fn all_restrictions_hold_together() {
    let world = World::new().await;
    world.root("root-a").await;
    world.root("root-b").await;
    let short = world.profile(device_profile()).await;
    let under = async |ca: &str, name: &str| {
        let body = json!({ "csr": csr(&p256(), name).to_wire(), "profile_id": short });
        world.sign(ca, body).await.with(StatusCode::CREATED)
    };
    world.issue("root-a", "device-1").await;
    under("root-b", "device-2").await;
    under("root-a", "other").await;
    world.clock.advance(Duration::hours(1));
    let wanted = under("root-a", "device-3").await;
    let body = json!({
        "ca_id": "root-a", "profile_id": short, "issued_after": "2026-03-02T09:30:00Z",
        "issued_before": "2026-03-02T10:30:00Z",
        "filter": "subject.common_name[contains]device",
    });
    let job = world.post(PATH, body).await.with(StatusCode::ACCEPTED);
    assert_eq!(
        (&job["status"], &job["total"], &job["done"]),
        (&json!("DONE"), &json!(1), &json!(1))
    );
    let serial = wanted["serial_number"].as_str().unwrap();
    assert_eq!(told(&world).await, [format!("certificate/{serial}")]);
    let audited = (
        "certificate.revocations".to_owned(),
        format!("job/{}", job["id"].as_str().unwrap()),
    );
    assert!(world.audit().await.contains(&audited));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_counted_as_failed() {
    let world = World::new().await;
    world.root("root-a").await;
    let broken = world.issue("root-a", "device-1").await;
    let good = world.issue("root-a", "device-2").await;
    world.spoil(&broken).await;
    let body = json!({ "ca_id": "root-a", "revocation_reason": "Superseded" });
    let job = world.post(PATH, body).await.with(StatusCode::ACCEPTED);
    assert_eq!(job["status"], "DONE");
    assert_eq!((&job["done"], &job["failed"]), (&json!(1), &json!(1)));
    assert_eq!(world.now(&good).await["status"], "REVOKED");
}

#[tokio::test]
async fn holds_become_final_and_what_is_final_stays() {
    let world = World::new().await;
    world.root("root-a").await;
    let held = world.issue("root-a", "held").await;
    let gone = world.issue("root-a", "gone").await;
    for (certificate, reason) in [(&held, "CertificateHold"), (&gone, "Superseded")] {
        let serial = certificate["serial_number"].as_str().unwrap();
        let body = json!({ "status": "REVOKED", "revocation_reason": reason });
        let path = format!("/v1/certificates/{serial}/status");
        world.put(&path, body).await.with(StatusCode::OK);
    }
    let body = json!({ "ca_id": "root-a", "revocation_reason": "CessationOfOperation" });
    let job = world.post(PATH, body).await.with(StatusCode::ACCEPTED);
    // What is final was not done by it.
    assert_eq!((&job["total"], &job["done"]), (&json!(1), &json!(1)));
    assert_eq!(job["failed"], json!(0));
    for (certificate, reason) in [(&held, "CessationOfOperation"), (&gone, "Superseded")] {
        let serial = certificate["serial_number"].as_str().unwrap();
        let now = world.get(&format!("/v1/certificates/{serial}")).await;
        assert_eq!(now.with(StatusCode::OK)["revocation_reason"], reason);
    }
    assert_eq!(told(&world).await.len(), 3);
}

#[tokio::test]
async fn what_restricts_nothing_or_cannot_be_understood_revokes_nothing() {
    let world = World::new().await;
    world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    let invalid = (400, "struct validation error");
    for body in [
        json!({}),
        json!({ "revocation_reason": "KeyCompromise", "filter": [] }),
        json!({ "filter": "serial_number[in]" }),
        json!({ "filter": "subject.common_name[contains]" }),
        json!({ "filter": "serial_number[contains]:" }),
        json!({ "filter": "serial_number[notequal]--" }),
        json!({ "filter": "fingerprint[contains] : " }),
        json!({ "ca_id": "root-a", "filter": ["subject.common_name[equal]"] }),
    ] {
        assert_eq!(world.post(PATH, body).await.refusal(), invalid);
    }
    let long = format!("subject.common_name[ct]{}", "x".repeat(65_536));
    let answer = world.post(PATH, json!({ "filter": long })).await;
    let text = "the filters of a request have at most 65536 bytes";
    assert_eq!(answer.refusal(), (400, text));
    for filter in [
        json!("subject.comon_name[equal]x"),
        json!("device-1"),
        json!(["status[before]x"]),
        json!(7),
    ] {
        let answer = world.post(PATH, json!({ "filter": filter })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{filter}");
    }
    for (unknown, text) in [
        (json!({ "ca_id": "root-z" }), "CA not found"),
        (
            json!({ "profile_id": "nowhere" }),
            "issuance profile not found",
        ),
    ] {
        assert_eq!(world.post(PATH, unknown).await.refusal(), (404, text));
    }
    assert_eq!(told(&world).await, [""; 0]);
    assert_eq!(world.count("ca_job").await, 0);
    assert_eq!(
        world.get("/v1/jobs/x").await.refusal(),
        (404, "job not found")
    );
}
