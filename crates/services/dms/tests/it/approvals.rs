//! Enrollments that somebody has to approve.

use axum::body::Body;
use http::{Request, StatusCode};
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::dms::settings::ChannelBindingMode;
use lamassu_core::pem::CertificateDer;
use lamassu_db::{NextRun, WriteSet, params, sql};
use lamassu_dms::{APPROVAL_FIELDS, EstConfig};
use lamassu_http::TlsExporter;
use lamassu_testing::lists::{self, ListOf};
use lamassu_x509::oids;
use serde_json::{Value, json};
use time::Duration;

use crate::device::{Answer, Device, element};
use crate::support::{World, caller, dms};

/// CAs `boot` and `fleet`, and the DMS `manual`.
async fn world() -> World {
    world_with(EstConfig::default()).await
}

async fn world_with(config: EstConfig) -> World {
    let world = World::with(config, |devices| devices).await;
    world.root("boot").await;
    world.root("fleet").await;
    world.created(manual("manual")).await;
    world
}

/// A DMS under which somebody approves each enrollment, and nothing else is asked for.
fn manual(id: &str) -> Value {
    let enrollment = json!({"approval": "manual", "est_rfc7030_settings": {"auth_mode": "NONE"}});
    let mut manual = dms(id, &enrollment, &json!({}));
    manual["settings"]["server_keygen_settings"] =
        json!({"enabled": true, "key": {"type": "ECDSA", "bits": 256}});
    manual
}

async fn asks(world: &World, device: &Device) -> Answer {
    asks_under(world, "manual", device).await
}

async fn asks_under(world: &World, dms: &str, device: &Device) -> Answer {
    world.est("simpleenroll", dms, &device.csr(), None).await
}

fn assert_pending(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "60");
    assert_eq!(answer.text(), "");
}

async fn approvals(world: &World, query: &str) -> Vec<Value> {
    let (status, page) = world
        .call("GET", &format!("/v1/approvals?{query}"), Value::Null)
        .await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["list"].as_array().unwrap().clone()
}

/// The one approval that there is.
async fn only(world: &World) -> Value {
    let all = approvals(world, "").await;
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

async fn decide(world: &World, verdict: &str, reason: &str) -> (StatusCode, Value) {
    let id = only(world).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/approvals/{id}/{verdict}");
    world.call("POST", &path, json!({"reason": reason})).await
}

#[tokio::test]
async fn a_device_gets_its_certificate_once_somebody_has_approved() {
    let world = world().await;
    let device = Device::new("d");
    // Signed anew each time.
    assert_ne!(device.csr(), device.csr());
    let asks = async || asks(&world, &device).await;
    assert_pending(&asks().await);
    assert_pending(&asks().await);
    let waiting = only(&world).await;
    assert_eq!(waiting["status"], "PENDING");
    assert_eq!(waiting["device_id"], "d");
    assert_eq!(waiting["operation"], "simpleenroll");
    let (status, approved) = decide(&world, "approve", "known").await;
    assert_eq!(status, StatusCode::OK, "{approved}");
    assert_eq!(approved["status"], "APPROVED");
    assert_eq!(approved["reason"], "known");

    let certificate = asks().await.certificate();
    let issued = only(&world).await;
    assert_eq!(issued["status"], "ISSUED");
    let serial = crate::device::serial_of(&certificate);
    assert_eq!(issued["certificate_serial_number"], serial.as_str());
    // Nothing of it is in metadata.
    let metadata = world.certificate(&serial).await.metadata;
    assert!(!serde_json::to_string(&metadata).unwrap().contains("approv"));
    let told = world.event_types().await;
    let told: Vec<_> = told
        .iter()
        .filter(|told| told.contains("approval"))
        .collect();
    assert_eq!(
        told,
        [
            "dms.approval.create",
            "dms.approval.update",
            "dms.approval.update"
        ]
    );
    let event = world.event("dms.approval.update").await;
    assert_eq!(event["data"]["previous"]["status"], "APPROVED");
    assert_eq!(event["data"]["updated"]["status"], "ISSUED");
    // The device has its identity now.
    assert_eq!(asks().await.refusal().1, "forbiddenNewEnrollment");
}

#[tokio::test]
async fn an_approval_is_for_one_request_and_one_operation() {
    let world = world().await;
    let (device, csr) = (Device::new("d"), Device::new("d").csr());
    assert_pending(&world.est("serverkeygen", "manual", &csr, None).await);
    decide(&world, "approve", "").await;
    assert_pending(&world.est("simpleenroll", "manual", &csr, None).await);
    assert_pending(&asks(&world, &device).await);
    let made = world.est("serverkeygen", "manual", &csr, None).await;
    assert_eq!(made.status, StatusCode::OK);
    let statuses = approvals(&world, "sort_by=status").await;
    let statuses: Vec<_> = statuses.iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["ISSUED", "PENDING", "PENDING"]);
}

#[tokio::test]
async fn a_denied_enrollment_is_refused_and_decided_for_good() {
    let world = world().await;
    let csr = Device::new("d").csr();
    let asks = async || world.est("simpleenroll", "manual", &csr, None).await;
    assert_pending(&asks().await);
    let (_, denied) = decide(&world, "deny", "stolen").await;
    assert_eq!(denied["status"], "DENIED");
    let refused = (
        403,
        "enrollment was denied".to_owned(),
        "enrollment_denied".to_owned(),
    );
    assert_eq!(asks().await.refusal(), refused);
    for verdict in ["approve", "deny"] {
        let (status, body) = decide(&world, verdict, "").await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(body["err"], "approval is not pending");
    }
    let (status, body) = world
        .call("POST", "/v1/approvals/nothing/approve", json!({}))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["err"], "approval not found");
    assert_eq!(world.issued_for("d").await, []);
}

/// Runs the job that closes what has ended.
async fn tidy(world: &World) {
    let job = world.manager.approval_job();
    let next = job.run(&caller(), world.db.now()).await;
    assert!(matches!(next.unwrap(), NextRun::At(_)));
}

#[tokio::test]
async fn approvals_end_with_their_dms() {
    let world = world().await;
    world.created(manual("other")).await;
    let (approved, waiting) = (Device::new("approved"), Device::new("waiting"));
    assert_pending(&asks(&world, &approved).await);
    decide(&world, "approve", "").await;
    assert_pending(&asks(&world, &waiting).await);
    assert_pending(&asks_under(&world, "other", &Device::new("d")).await);
    let (status, _) = world.call("DELETE", "/v1/dms/manual", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    world.created(manual("manual")).await;
    let one = approvals(&world, "filter=device_id[eq]waiting").await;
    let path = format!("/v1/approvals/{}/approve", one[0]["id"].as_str().unwrap());
    let (status, _) = world.call("POST", &path, json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    // Nobody has approved it under this DMS.
    assert_pending(&asks(&world, &approved).await);
    tidy(&world).await;
    let left = approvals(&world, "filter=status[eq]PENDING&sort_by=dms_id").await;
    let left: Vec<_> = left
        .iter()
        .map(|one| (&one["dms_id"], &one["device_id"]))
        .collect();
    let of = |dms: &str, device: &str| (json!(dms), json!(device));
    let expected = [of("manual", "approved"), of("other", "d")];
    assert_eq!(left, expected.each_ref().map(|(dms, device)| (dms, device)));
    let told = world.event_types().await;
    let closed = told.iter().filter(|told| *told == "dms.approval.update");
    assert_eq!(closed.count(), 3, "one is approved, and two end");
}

#[tokio::test]
async fn what_nobody_decides_or_fetches_expires_and_is_forgotten_later() {
    let world = world().await;
    let (first, second) = (Device::new("first").csr(), Device::new("second").csr());
    let tidy = async || tidy(&world).await;
    assert_pending(&world.est("simpleenroll", "manual", &first, None).await);
    decide(&world, "approve", "").await;
    world
        .clock
        .advance(Duration::days(7) - Duration::seconds(1));
    assert_pending(&world.est("simpleenroll", "manual", &second, None).await);
    tidy().await;
    assert_eq!(
        approvals(&world, "filter=status[eq]APPROVED").await.len(),
        1
    );
    world.clock.advance(Duration::seconds(1));
    tidy().await;
    assert_eq!(approvals(&world, "filter=status[eq]EXPIRED").await.len(), 1);
    // Too late for the first; without the job the second is over in time, too.
    assert_pending(&world.est("simpleenroll", "manual", &first, None).await);
    world.clock.advance(Duration::days(7));
    assert_pending(&world.est("simpleenroll", "manual", &second, None).await);
    assert_eq!(approvals(&world, "filter=status[eq]EXPIRED").await.len(), 2);
    tidy().await;
    assert_eq!(approvals(&world, "filter=status[eq]EXPIRED").await.len(), 3);
    world.clock.advance(Duration::days(91));
    tidy().await;
    let left = approvals(&world, "").await;
    assert_eq!((left.len(), &left[0]["device_id"]), (1, &json!("second")));
}

#[tokio::test]
async fn an_approval_that_cannot_be_read_holds_up_no_other_and_ends_when_it_can() {
    let world = world().await;
    for name in ["first", "second"] {
        assert_pending(&asks(&world, &Device::new(name)).await);
    }
    let rename = async |operation: &str| {
        let text = "UPDATE approval SET operation = $1 WHERE device_id = 'first'";
        let mut set = WriteSet::new();
        set.execute(sql(text, params![operation]));
        world.db.commit(set).await.unwrap();
    };
    let ended = async || {
        let text = "SELECT device_id FROM approval WHERE status = 'EXPIRED' ORDER BY device_id";
        let rows = world.db.rows(sql(text, params![])).await.unwrap();
        let devices = rows.iter().map(|row| row.get("device_id").unwrap());
        devices.collect::<Vec<String>>()
    };
    rename("sing").await;
    world.clock.advance(Duration::days(7));
    tidy(&world).await;
    assert_eq!(ended().await, ["second"]);
    rename("simpleenroll").await;
    tidy(&world).await;
    assert_eq!(ended().await, ["first", "second"]);
}

#[tokio::test]
async fn only_so_many_wait_for_a_decision() {
    let config = EstConfig {
        max_pending_approvals: 1,
        ..EstConfig::default()
    };
    let world = world_with(config).await;
    assert_pending(&asks(&world, &Device::new("first")).await);
    let refused = asks(&world, &Device::new("second")).await;
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(
        (refused.refusal().0, &*refused.refusal().1),
        (503, "too many enrollments wait for approval")
    );
}

#[tokio::test]
async fn one_dms_leaves_room_in_the_queue_for_the_others() {
    let config = EstConfig {
        max_pending_approvals: 4,
        ..EstConfig::default()
    };
    let world = world_with(config).await;
    world.created(manual("other")).await;
    for name in ["a", "b"] {
        assert_pending(&asks(&world, &Device::new(name)).await);
    }
    let full = "too many enrollments wait for approval";
    let refused = asks(&world, &Device::new("c")).await.refusal();
    assert_eq!((refused.0, &*refused.1), (503, full));
    assert_pending(&asks_under(&world, "other", &Device::new("d")).await);
    let refused = asks_under(&world, "other", &Device::new("e")).await;
    assert_eq!(refused.refusal().1, full);
}

#[tokio::test]
async fn a_device_that_makes_a_new_key_each_time_does_not_fill_the_queue() {
    let world = world().await;
    for _ in 0..8 {
        assert_pending(&asks(&world, &Device::new("d")).await);
    }
    let refused = asks(&world, &Device::new("d")).await.refusal();
    assert_eq!(refused.1, "too many enrollments wait for approval");
    assert_pending(&asks(&world, &Device::new("other")).await);
}

#[tokio::test]
async fn settings_of_ours_survive_clients_that_do_not_know_them() {
    let world = world().await;
    let (_, mut body) = world.call("GET", "/v1/dms/manual", Value::Null).await;
    assert_eq!(
        body["settings"]["enrollment_settings"]["approval"],
        "manual"
    );
    body["settings"]["enrollment_settings"]
        .as_object_mut()
        .unwrap()
        .remove("approval");
    let (_, updated) = world.call("PUT", "/v1/dms/manual", body).await;
    assert_eq!(
        updated["settings"]["enrollment_settings"]["approval"],
        "manual"
    );
    assert_pending(&asks(&world, &Device::new("d")).await);
}

async fn filled() -> World {
    let world = world().await;
    for name in ["Straße", "alpha", "Alpha", "=beta, [x]", "omega"] {
        assert_pending(&asks(&world, &Device::new(name)).await);
        world.clock.advance(Duration::seconds(1));
    }
    world
}

#[tokio::test]
async fn lists_of_approvals_are_lists() {
    let world = filled().await;
    let list = ListOf {
        routes: &world.routes,
        path: "/v1/approvals",
        name: "/id",
        fields: APPROVAL_FIELDS,
        shown: lists::by_name,
    };
    list.check_filters_of_every_field().await;
    list.check_sorts_of_every_field().await;
    list.check_refusals().await;
    list.check_what_is_ignored().await;
}

/// Asks over a connection with this channel binding, with this challenge password.
async fn over(world: &World, exporter: Option<[u8; 32]>, password: Option<&str>) -> Answer {
    let password = password.map(|password| {
        let password = element(0x0c, &[password.as_bytes()]);
        (oids::CHALLENGE_PASSWORD, password)
    });
    let csr = Device::new("d").csr_with(password.as_slice());
    let mut request = Request::builder()
        .method("POST")
        .uri("/.well-known/est/bound/simpleenroll")
        .header("content-type", "application/pkcs10")
        .body(Body::from(csr))
        .unwrap();
    if let Some(exporter) = exporter {
        request.extensions_mut().insert(TlsExporter(exporter));
    }
    world.send(request).await
}

#[tokio::test]
async fn a_request_that_is_bound_to_another_connection_is_refused() {
    let world = world().await;
    let bound = |mode: ChannelBindingMode| {
        let enrollment = json!({"channel_binding": mode, "enable_replaceable_enrollment": true,
            "est_rfc7030_settings": {"auth_mode": "NONE"}});
        dms("bound", &enrollment, &json!({}))
    };
    world.created(bound(ChannelBindingMode::Required)).await;
    let (own, other) = ([1; 32], [2; 32]);
    let (right, wrong) = (base64(own), base64(other));
    let code = async |exporter, password| over(&world, exporter, password).await.refusal().2;
    assert_eq!(code(Some(own), None).await, "channel_binding_missing");
    assert_eq!(
        code(None, Some(&*right)).await,
        "channel_binding_unavailable"
    );
    assert_eq!(
        code(Some(own), Some(&*wrong)).await,
        "channel_binding_mismatch"
    );
    over(&world, Some(own), Some(&right)).await.certificate();
    world
        .call(
            "PUT",
            "/v1/dms/bound",
            bound(ChannelBindingMode::IfPossible),
        )
        .await;
    over(&world, None, Some(&wrong)).await.certificate();
    over(&world, Some(own), Some("secret")).await.certificate();
    let refused = over(&world, Some(own), Some(&wrong)).await.refusal();
    let text = "channel binding of the request is not that of the connection";
    assert_eq!((refused.0, &*refused.1), (403, text));
    world
        .call("PUT", "/v1/dms/bound", bound(ChannelBindingMode::Off))
        .await;
    over(&world, Some(own), Some(&wrong)).await.certificate();
}

fn base64(octets: [u8; 32]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets)
}

/// A request that is bound to a connection.
fn bound_csr(device: &Device, exporter: [u8; 32]) -> Vec<u8> {
    let password = element(0x0c, &[base64(exporter).as_bytes()]);
    device.csr_with(&[(oids::CHALLENGE_PASSWORD, password)])
}

/// Sends a request over a connection with this channel binding, by the holder of this certificate.
async fn sends(
    world: &World,
    csr: &[u8],
    exporter: [u8; 32],
    by: Option<&CertificateDer>,
) -> Answer {
    let mut request = Request::builder()
        .method("POST")
        .uri("/.well-known/est/bound/simpleenroll")
        .header("content-type", "application/pkcs10")
        .body(Body::from(csr.to_vec()))
        .unwrap();
    let extensions = request.extensions_mut();
    extensions.insert(TlsExporter(exporter));
    if let Some(by) = by {
        extensions.insert(ClientCertificateChain(vec![by.der().clone()].into()));
    }
    world.send(request).await
}

async fn world_of_bound(auth: &Value) -> World {
    let world = world().await;
    let enrollment = json!({"channel_binding": "required", "approval": "manual"});
    let mut bound = dms("bound", &enrollment, &json!({}));
    if !auth.is_null() {
        bound["settings"]["enrollment_settings"]["est_rfc7030_settings"] = auth.clone();
    }
    world.created(bound).await;
    world
}

const FIRST: [u8; 32] = [1; 32];
const SECOND: [u8; 32] = [2; 32];
const MISMATCH: &str = "channel_binding_mismatch";

#[tokio::test]
async fn a_bound_request_is_signed_anew_for_the_connection_on_which_it_is_fetched() {
    let world = world_of_bound(&json!({"auth_mode": "NONE"})).await;
    let device = Device::new("d");
    assert_pending(&sends(&world, &bound_csr(&device, FIRST), FIRST, None).await);
    assert_pending(&sends(&world, &bound_csr(&device, SECOND), SECOND, None).await);
    decide(&world, "approve", "").await;
    // Whoever caught the first request has another connection, and nothing to show.
    let caught = bound_csr(&device, FIRST);
    let refused = sends(&world, &caught, SECOND, None).await.refusal();
    assert_eq!(refused.2, MISMATCH);
    let third = [3; 32];
    sends(&world, &bound_csr(&device, third), third, None)
        .await
        .certificate();
    assert_eq!(only(&world).await["status"], "ISSUED");
}

#[tokio::test]
async fn a_bound_request_is_sent_as_it_is_by_the_holder_of_the_same_certificate() {
    let world = world_of_bound(&Value::Null).await;
    let own = world.issue("boot", &Device::new("own")).await;
    let other = world.issue("boot", &Device::new("other")).await;
    let csr = bound_csr(&Device::new("d"), FIRST);
    let code =
        async |csr: &[u8], exporter, by| sends(&world, csr, exporter, Some(by)).await.refusal().2;
    // Not before it was seen on its own connection.
    assert_eq!(code(&csr, SECOND, &own).await, MISMATCH);
    assert_pending(&sends(&world, &csr, FIRST, Some(&own)).await);
    assert_pending(&sends(&world, &csr, SECOND, Some(&own)).await);
    decide(&world, "approve", "").await;
    assert_eq!(code(&csr, SECOND, &other).await, MISMATCH);
    let again = bound_csr(&Device::new("d"), FIRST);
    assert_eq!(code(&again, SECOND, &own).await, MISMATCH);
    sends(&world, &csr, SECOND, Some(&own)).await.certificate();
    // Issued is over.
    assert_eq!(code(&csr, [3; 32], &own).await, MISMATCH);
}
