use http::StatusCode;
use lamassu_ca::OthersRunning;
use lamassu_core::ca::RenewalWindows;
use lamassu_core::ca::enrollment::Attachment;
use lamassu_core::ids::{OperationId, SerialNumber};
use lamassu_core::kms::{CreateKey, KmsService as _};
use lamassu_db::{CommitWatcher, Event, Job, NextRun, WriteSet, params, run_job, sql};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::kms::Fault;
use crate::support::{START, World, caller, csr, device_profile, p256, root_body};

async fn status(world: &World, certificate: &Value) -> Value {
    let serial = certificate["serial_number"].as_str().unwrap();
    let found = world
        .get(&format!("/v1/certificates/{serial}"))
        .await
        .with(StatusCode::OK);
    found["status"].clone()
}

#[tokio::test]
async fn a_certificate_expires_when_it_ends_and_not_before() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let job = world.service.expiry_job();
    // It ends at 21:15:27, the start cut to the second and 12 hours; the job sleeps an hour at most.
    let next = job.run(&caller(), START).await.unwrap();
    assert_eq!(next, NextRun::At(START + Duration::hours(1)));
    world
        .clock
        .advance(Duration::hours(12) - Duration::milliseconds(482));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(status(&world, &issued).await, "ACTIVE");
    world.clock.advance(Duration::milliseconds(2));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(status(&world, &issued).await, "EXPIRED");
    let event = world.last_event("certificate.status.update").await;
    assert_eq!(event["data"]["previous"]["status"], "ACTIVE");
    assert_eq!(event["data"]["updated"]["status"], "EXPIRED");
    let told = world.events().await.len();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.events().await.len(), told);
}

#[tokio::test]
async fn a_ca_expires_with_its_certificate() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let mut body = root_body("root-a", &profile);
    body["ca_expiration"] = json!({ "type": "Duration", "duration": "2s" });
    let ca = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    let job = world.service.expiry_job();
    world.clock.advance(Duration::seconds(3));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(status(&world, &ca["certificate"]).await, "EXPIRED");
    let event = world.last_event("ca.status.update").await;
    assert_eq!(event["subject"], "ca/root-a");
    assert_eq!(event["data"]["previous"], ca);
    assert_eq!(event["data"]["updated"]["certificate"]["status"], "EXPIRED");
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_what_the_job_expired_and_nothing_else() {
    let world = World::new().await;
    world.root("root-a").await;
    let by_job = world.issue("root-a", "device-1").await;
    let by_client = world.issue("root-a", "device-2").await;
    let serial = by_client["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    world
        .put(&path, json!({ "status": "EXPIRED" }))
        .await
        .with(StatusCode::OK);
    let job = world.service.expiry_job();
    world.clock.advance(Duration::days(1));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(status(&world, &by_job).await, "EXPIRED");
    world.clock.advance(-Duration::days(1));
    let next = job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(status(&world, &by_job).await, "ACTIVE");
    assert_eq!(status(&world, &by_client).await, "EXPIRED");
    assert_eq!(next, NextRun::At(START + Duration::hours(1)));
}

#[tokio::test]
async fn only_what_ends_soon_wakes_the_job() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut woken = world.db.signal("ca-certificate-expiry");
    world.issue("root-a", "device-1").await;
    assert_eq!(woken.has_changed().ok(), Some(false));
    let body = json!({
        "csr": csr(&p256(), "device-2").to_wire(),
        "profile": { "validity": { "type": "Duration", "duration": "10s" } },
    });
    world.sign("root-a", body).await.with(StatusCode::CREATED);
    assert_eq!(woken.has_changed().ok(), Some(true));
    woken.mark_unchanged();
}

/// What a process leaves that dies after the key was made.
async fn crash_half_way(world: &World) {
    let operation = OperationId::fresh();
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO ca_operation (id, started_at, state) VALUES ($1, $2, 'running')",
        params![operation.as_str(), world.db.now()],
    ));
    world.db.commit(set).await.unwrap();
    let request = CreateKey {
        algorithm: "ECDSA".to_owned(),
        size: 256,
        operation: Some(operation),
        ..CreateKey::default()
    };
    world.kms.create_key(&caller(), request).await.unwrap();
}

#[tokio::test]
async fn a_key_that_a_crash_left_is_destroyed_at_start() {
    let world = World::new().await;
    crash_half_way(&world).await;
    world.clock.advance(Duration::milliseconds(1));
    let job = world.started(OthersRunning::No).await.operations_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (0, 0)
    );
}

#[tokio::test]
async fn where_others_may_run_a_key_is_destroyed_by_age() {
    let world = World::new().await;
    crash_half_way(&world).await;
    world.clock.advance(Duration::minutes(9));
    let job = world.started(OthersRunning::Maybe).await.operations_job();
    let next = job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.kms.n_keys(), 1);
    assert_eq!(
        next,
        NextRun::At(START + Duration::minutes(10) + Duration::microseconds(1))
    );
    world
        .clock
        .advance(Duration::minutes(1) + Duration::microseconds(1));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (0, 0)
    );
}

#[tokio::test]
async fn an_operation_is_kept_until_its_key_is_gone() {
    let world = World::new().await;
    crash_half_way(&world).await;
    world.clock.advance(Duration::hours(1));
    let job = world.started(OthersRunning::Maybe).await.operations_job();
    world.kms.fail(Fault::CannotDiscard);
    let failed = job.run(&caller(), world.db.now()).await.unwrap_err();
    assert_eq!(failed.to_string(), "the job failed");
    assert_eq!(world.count("ca_operation").await, 1);
    world.kms.fail(Fault::None);
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_key_that_could_not_be_marked_as_used_is_marked_by_the_job() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    world.kms.fail(Fault::CannotBind);
    let body = root_body("root-a", &profile);
    let ca = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    let key_id = ca["certificate"]["subject_key_id"].as_str().unwrap();
    assert_eq!(world.kms.bound(key_id), []);
    world.kms.fail(Fault::None);
    world.clock.advance(Duration::milliseconds(1));
    let job = world.started(OthersRunning::No).await.operations_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(json!(world.kms.bound(key_id)), json!([ca["serial_number"]]));
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (1, 0)
    );
}

#[tokio::test]
async fn the_key_of_a_request_that_could_not_be_marked_as_used_is_marked_by_the_job() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = p256();
    let request = csr(&key, "server-1").to_wire();
    let key_id = world.kms.hold(key).key_id;
    world.kms.fail(Fault::CannotBind);
    let mut woken = world.db.signal("ca-abandoned-operations");
    woken.mark_unchanged();
    let issued = world.sign("root-a", json!({ "csr": request })).await;
    let issued = issued.with(StatusCode::CREATED);
    // Otherwise the job looks a day later.
    assert_eq!(woken.has_changed().ok(), Some(true));
    world.kms.fail(Fault::None);
    world.clock.advance(Duration::minutes(11));
    let job = world.service.operations_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let bound = world.kms.bound(key_id.as_str());
    assert_eq!(json!(bound), json!([issued["serial_number"]]));
    assert_eq!(world.count("ca_operation").await, 0);
    // A request with a key of its own leaves nothing to do.
    world.kms.fail(Fault::CannotBind);
    world.issue("root-a", "device-1").await;
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test]
async fn an_operation_that_cannot_be_settled_holds_up_no_other() {
    let world = World::new().await;
    crash_half_way(&world).await;
    world.clock.advance(Duration::milliseconds(1));
    let profile = world.profile(device_profile()).await;
    world.kms.fail(Fault::CannotBind);
    let body = root_body("root-a", &profile);
    let ca = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    let key_id = ca["certificate"]["subject_key_id"].as_str().unwrap();
    world.kms.fail(Fault::CannotDiscard);
    world.clock.advance(Duration::milliseconds(1));
    let job = world.started(OthersRunning::No).await.operations_job();
    let failed = job.run(&caller(), world.db.now()).await.unwrap_err();
    assert_eq!(failed.to_string(), "the job failed");
    assert_eq!(json!(world.kms.bound(key_id)), json!([ca["serial_number"]]));
    assert_eq!(world.count("ca_operation").await, 1);
}

/// A certificate that lives this long.
async fn issue_for(world: &World, duration: &str) -> Value {
    let body = json!({
        "csr": csr(&p256(), "device-1").to_wire(),
        "profile": { "validity": { "type": "Duration", "duration": duration } },
    });
    world.sign("root-a", body).await.with(StatusCode::CREATED)
}

#[tokio::test]
async fn entering_a_default_window_is_told_once() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = issue_for(&world, "60d").await;
    let job = world.service.expiry_job();
    world
        .clock
        .advance(Duration::days(30) - Duration::seconds(1));
    // The window begins with the whole second in which the certificate begins.
    let begins = START + Duration::days(30) - Duration::microseconds(481_233);
    assert_eq!(
        job.run(&caller(), world.db.now()).await.unwrap(),
        NextRun::At(begins)
    );
    let told = world.events().await.len();
    world.clock.advance(Duration::seconds(1));
    for _ in 0..2 {
        job.run(&caller(), world.db.now()).await.unwrap();
    }
    assert_eq!(world.events().await.len(), told + 1);
    let event = world.last_event("certificate.expiring").await;
    assert_eq!(event["data"]["serial_number"], issued["serial_number"]);
    assert_eq!(event["data"]["window"], "4w2d");
    assert_eq!(event["data"]["due"], "2026-04-01T09:15:27Z");
    world.clock.advance(Duration::days(23));
    job.run(&caller(), world.db.now()).await.unwrap();
    let event = world.last_event("certificate.expiring").await;
    assert_eq!(event["data"]["window"], "1w");
    assert_eq!(world.events().await.len(), told + 2);
    assert_eq!(status(&world, &issued).await, "ACTIVE");
}

#[tokio::test]
async fn a_job_that_was_off_tells_of_every_window_entered() {
    let world = World::new().await;
    world.root("root-a").await;
    issue_for(&world, "60d").await;
    let told = world.events().await.len();
    world.clock.advance(Duration::days(59));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let kinds: Vec<String> = world
        .events()
        .await
        .into_iter()
        .skip(told)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, ["certificate.expiring", "certificate.expiring"]);
}

#[tokio::test]
async fn what_is_short_lived_or_revoked_never_expires_soon() {
    let world = World::new().await;
    world.root("root-a").await;
    issue_for(&world, "6d").await;
    let revoked = issue_for(&world, "60d").await;
    let serial = revoked["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    world
        .put(&path, json!({ "status": "REVOKED" }))
        .await
        .with(StatusCode::OK);
    let told = world.events().await.len();
    world.clock.advance(Duration::days(5));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    world.clock.advance(Duration::days(30));
    job.run(&caller(), world.db.now()).await.unwrap();
    let kinds: Vec<String> = world
        .events()
        .await
        .into_iter()
        .skip(told)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(
        kinds,
        ["certificate.status.update"],
        "only the short-lived one's end"
    );
}

#[tokio::test]
async fn a_ca_is_expiring_under_its_own_name() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let mut body = root_body("root-a", &profile);
    body["ca_expiration"] = json!({ "type": "Duration", "duration": "60d" });
    let ca = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    world.clock.advance(Duration::days(31));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let event = world.last_event("ca.expiring").await;
    assert_eq!(event["subject"], "ca/root-a");
    assert_eq!(event["data"]["window"], "4w2d");
    assert_eq!(event["data"]["certificate"], ca["certificate"]);
}

#[tokio::test]
async fn a_released_hold_still_has_the_windows_to_come() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = issue_for(&world, "60d").await;
    let serial = issued["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    let hold = json!({ "status": "REVOKED", "revocation_reason": "CertificateHold" });
    world.put(&path, hold).await.with(StatusCode::OK);
    world.clock.advance(Duration::days(31));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    world
        .put(&path, json!({ "status": "ACTIVE" }))
        .await
        .with(StatusCode::OK);
    let told = world.events().await.len();
    world.clock.advance(Duration::days(23));
    job.run(&caller(), world.db.now()).await.unwrap();
    let event = world.last_event("certificate.expiring").await;
    assert_eq!(event["data"]["window"], "1w");
    assert_eq!(world.events().await.len(), told + 1);
}

/// Certificates of devices have windows of their own: 20 days and 5.
async fn attach(world: &World, certificate: &Value) {
    let serial = SerialNumber::parse(certificate["serial_number"].as_str().unwrap()).unwrap();
    let attachment = Attachment {
        device_id: "device-1".into(),
        dms_id: "dms-1".into(),
        slot: None,
    };
    let windows = RenewalWindows {
        preventive: "20d".parse().unwrap(),
        critical: "5d".parse().unwrap(),
    };
    world
        .reached
        .attach_certificate(&caller(), &(&serial).into(), attachment, windows)
        .await
        .unwrap();
}

fn marks(metadata: &Value) -> Vec<(&str, bool)> {
    let windows = metadata["lamassu.io/ca/expiration-deltas"]
        .as_array()
        .unwrap();
    windows
        .iter()
        .map(|window| {
            let name = window["name"].as_str().unwrap();
            (name, window["triggered"].as_bool().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_window_of_a_certificate_s_own_is_marked_once_when_it_begins() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = issue_for(&world, "60d").await;
    attach(&world, &issued).await;
    let told = world.events().await.len();
    let job = world.service.expiry_job();
    world
        .clock
        .advance(Duration::days(39) + Duration::hours(23) + Duration::minutes(30));
    // The end and so the window are of whole seconds.
    let begins = START + Duration::days(40) - Duration::microseconds(481_233);
    let next = job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(next, NextRun::At(begins));
    assert_eq!(world.events().await.len(), told);
    world.clock.advance(Duration::minutes(30));
    for _ in 0..2 {
        job.run(&caller(), world.db.now()).await.unwrap();
    }
    let event = world.last_event("certificate.metadata.update").await;
    assert_eq!(
        marks(&event["data"]["previous"]["metadata"]),
        [("Preventive", false), ("Critical", false)]
    );
    let marked = [("Critical", false), ("Preventive", true)];
    assert_eq!(marks(&event["data"]["updated"]["metadata"]), marked);
    assert_eq!(world.events().await.len(), told + 1);
    // Off for a while: the missed one is caught up, before the end is told.
    world.clock.advance(Duration::days(16));
    job.run(&caller(), world.db.now()).await.unwrap();
    let event = world.last_event("certificate.metadata.update").await;
    let marked = [("Critical", true), ("Preventive", true)];
    assert_eq!(marks(&event["data"]["updated"]["metadata"]), marked);
    assert_eq!(world.events().await.len(), told + 2);
    // A clock that is set back unmarks nothing and tells nothing again.
    world.clock.advance(-Duration::days(20));
    job.run(&caller(), world.db.now()).await.unwrap();
    world.clock.advance(Duration::days(20));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.events().await.len(), told + 2);
}

#[tokio::test]
async fn a_window_in_the_metadata_of_a_ca_is_marked_as_well() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let mut body = root_body("root-a", &profile);
    body["ca_expiration"]["duration"] = json!("60d");
    body["metadata"]["lamassu.io/ca/expiration-deltas"] =
        json!([{ "delta": "10d", "name": "Preventive", "triggered": false }]);
    world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    let job = world.service.expiry_job();
    world.clock.advance(Duration::days(49));
    job.run(&caller(), world.db.now()).await.unwrap();
    let told = world.events().await.len();
    world.clock.advance(Duration::days(1));
    for _ in 0..2 {
        job.run(&caller(), world.db.now()).await.unwrap();
    }
    let event = world.last_event("ca.metadata.update").await;
    assert_eq!(
        marks(&event["data"]["updated"]["metadata"]),
        [("Preventive", true)]
    );
    assert_eq!(world.events().await.len(), told + 1);
    let ca = world.get("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!(ca["metadata"], event["data"]["updated"]["metadata"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_tell_of_a_window_once() {
    let world = World::new().await;
    world.root("root-a").await;
    for _ in 0..20 {
        issue_for(&world, "60d").await;
    }
    let told = world.events().await.len();
    world.clock.advance(Duration::days(31));
    let jobs = [
        world.started(OthersRunning::Maybe).await.expiry_job(),
        world.started(OthersRunning::Maybe).await.expiry_job(),
    ];
    // Even without the lease that lets one of them work only.
    let (system, now) = (caller(), world.db.now());
    for run in
        futures_util::future::join_all(jobs.each_ref().map(|job| job.run(&system, now))).await
    {
        run.unwrap();
    }
    for job in &jobs {
        job.run(&system, now).await.unwrap();
    }
    assert_eq!(world.events().await.len(), told + 20);
}

/// How many commits told of something.
#[derive(Debug, Default)]
struct Commits(AtomicUsize);

impl CommitWatcher for Commits {
    fn committed(&self, _: &[Event]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn doubted(&self) {}
}

/// Events of a type, and how many certificates they are about.
async fn told(world: &World, event_type: &str) -> (i64, i64) {
    let query = sql(
        "SELECT COUNT(*) AS n, COUNT(DISTINCT subject) AS n_subjects FROM event_log \
         WHERE event_type = $1",
        params![event_type],
    );
    let row = world.db.row_opt(query).await.unwrap().unwrap();
    (row.get("n").unwrap(), row.get("n_subjects").unwrap())
}

/// Runs a job as long as something is due.
async fn run_until_done(world: &World, job: &dyn Job) {
    let now = world.db.now();
    while matches!(job.run(&caller(), now).await.unwrap(), NextRun::At(next) if next <= now) {}
}

/// A fleet whose certificates all end on one day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_instant_is_told_once_each_in_few_commits() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = issue_for(&world, "60d").await;
    world.multiply(&issued, 1_999).await;
    world.clock.advance(Duration::days(31));
    let one = world.started(OthersRunning::Maybe).await.expiry_job();
    let other = world.started(OthersRunning::Maybe).await.expiry_job();
    // Even without the lease that lets one of them work only.
    tokio::join!(
        run_until_done(&world, &*one),
        run_until_done(&world, &*other)
    );
    assert_eq!(told(&world, "certificate.expiring").await, (2_000, 2_000));
    let commits = Arc::new(Commits::default());
    world.db.watch_commits(Arc::clone(&commits) as _);
    world.clock.advance(Duration::days(30));
    run_until_done(&world, &*one).await;
    let kind = "certificate.status.update";
    assert_eq!(told(&world, kind).await, (2_000, 2_000));
    assert_eq!(
        world.count("certificate WHERE status = 'EXPIRED'").await,
        2_000
    );
    // 256 at a time: their end, and for some the second of the default windows before it.
    assert!(commits.0.load(Ordering::Relaxed) <= 16, "{commits:?}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_holds_up_no_other() {
    let world = World::new().await;
    world.root("root-a").await;
    let broken = world.issue("root-a", "device-1").await;
    world.clock.advance(Duration::seconds(1));
    let good = world.issue("root-a", "device-2").await;
    world.spoil(&broken).await;
    world.clock.advance(Duration::days(1));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(status(&world, &good).await, "EXPIRED");
    let next = job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(next, NextRun::At(world.db.now() + Duration::minutes(1)));
}

#[tokio::test]
async fn a_ca_that_cannot_be_read_holds_up_no_other() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    for id in ["root-a", "root-b"] {
        let mut body = root_body(id, &profile);
        body["ca_expiration"]["duration"] = json!("60d");
        body["metadata"]["lamassu.io/ca/expiration-deltas"] =
            json!([{ "delta": "10d", "name": "Preventive", "triggered": false }]);
        world.post("/v1/cas", body).await.with(StatusCode::CREATED);
        world.clock.advance(Duration::seconds(1));
    }
    let broken = world.ca("root-a").await;
    world.spoil(&broken["certificate"]).await;
    world.clock.advance(Duration::days(50));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let event = world.last_event("ca.metadata.update").await;
    assert_eq!(event["subject"], "ca/root-b");
    let next = job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(next, NextRun::At(world.db.now() + Duration::minutes(1)));
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_holds_up_no_other() {
    let world = World::new().await;
    world
        .execute(sql(
            "INSERT INTO ca_operation (id, started_at, state, key_id, serial_number) \
             VALUES ('operation', 0, 'stored', 'key', 'no number')",
            params![],
        ))
        .await;
    crash_half_way(&world).await;
    world.clock.advance(Duration::milliseconds(1));
    let job = world.started(OthersRunning::No).await.operations_job();
    let failed = job.run(&caller(), world.db.now()).await.unwrap_err();
    assert_eq!(failed.to_string(), "the job failed");
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (0, 1)
    );
}

#[tokio::test]
async fn the_running_job_catches_up_as_soon_as_it_starts() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = issue_for(&world, "60d").await;
    world.clock.advance(Duration::days(61));
    let shutdown = CancellationToken::new();
    let job = world.service.expiry_job();
    let (db, until) = (world.db.clone(), shutdown.clone());
    let running = tokio::spawn(async move { run_job(&db, Arc::clone(&job), &until).await });
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while status(&world, &issued).await != "EXPIRED" {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not expired in time"
        );
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
}
