//! Settings as clients of all ages write and read them.

use http::StatusCode;
use lamassu_core::dms::webhook::REDACTED;
use lamassu_db::{WriteSet, params, sql};
use serde_json::{Value, json};

use crate::support::{World, dms};

/// A DMS whose enrollment asks this webhook.
fn with_webhook(webhook: &Value) -> Value {
    let est = json!({"auth_mode": "EXTERNAL_WEBHOOK", "external_webhook_settings": webhook});
    dms("a", &json!({"est_rfc7030_settings": est}), &json!({}))
}

fn webhook_of(dms: &Value) -> &Value {
    &dms["settings"]["enrollment_settings"]["est_rfc7030_settings"]["external_webhook_settings"]
}

/// Saves what was read, changed.
async fn saved(world: &World, read: &Value, change: impl FnOnce(&mut Value)) -> (u16, Value) {
    let mut sent = read.clone();
    change(&mut sent);
    let (status, answer) = world.call("PUT", "/v1/dms/a", sent).await;
    (status.as_u16(), answer)
}

#[tokio::test]
async fn a_webhook_is_read_in_either_spelling_and_answered_in_both() {
    let world = World::new().await;
    let flat = json!({
        "name": "inventory", "url": "https://hooks.example/verify", "method": "POST",
        "log_level": "info", "auth_mode": "OIDC", "validate_server_cert": false,
        "oidc_auth": {"client_id": "c", "client_secret": "s", "well_known_url": "https://idp.example/x"},
    });
    let created = world.created(with_webhook(&flat)).await;
    let webhook = webhook_of(&created);
    assert_eq!(
        webhook["config"],
        json!({
            "validate_server_cert": false, "log_level": "info", "auth_mode": "jwt",
            "oidc": {"client_id": "c", "client_secret": REDACTED, "well_known": "https://idp.example/x"},
            "apikey": {"key": "", "header": ""}, "mtls": {"cert": "", "key": ""},
        })
    );
    assert_eq!(webhook["auth_mode"], "OIDC");
    assert_eq!(webhook["oidc_auth"]["client_secret"], REDACTED);

    // The one that a client changes counts.
    let (_, by_reference) = saved(&world, &created, |dms| {
        webhook_mut(dms)["config"]["auth_mode"] = json!("apikey");
        webhook_mut(dms)["config"]["apikey"]["key"] = json!("k");
    })
    .await;
    assert_eq!(webhook_of(&by_reference)["auth_mode"], "API_KEY");
    let (_, by_dashboard) = saved(&world, &by_reference, |dms| {
        webhook_mut(dms)["auth_mode"] = json!("NO_AUTH");
    })
    .await;
    assert_eq!(webhook_of(&by_dashboard)["config"]["auth_mode"], "noauth");
    assert_eq!(
        webhook_of(&by_dashboard)["config"]["apikey"]["key"],
        REDACTED
    );
}

fn webhook_mut(dms: &mut Value) -> &mut Value {
    &mut dms["settings"]["enrollment_settings"]["est_rfc7030_settings"]["external_webhook_settings"]
}

#[tokio::test]
async fn the_oldest_name_of_a_webhook_is_read_and_kept() {
    let world = World::new().await;
    let est = json!({
        "auth_mode": "EXTERNAL_WEBHOOK",
        "external_webhook": {
            "name": "old", "url": "http://hooks.example", "validate_server_cert": false,
            "config": {"auth_mode": "apikey", "apikey": {"key": "k", "header": "X-Key"}},
        },
    });
    let created = world
        .created(dms("a", &json!({"est_rfc7030_settings": est}), &json!({})))
        .await;
    let webhook = webhook_of(&created);
    assert_eq!(webhook["name"], "old");
    assert_eq!(webhook["config"]["validate_server_cert"], false);
    let settings = &created["settings"]["enrollment_settings"]["est_rfc7030_settings"];
    assert_eq!(settings["external_webhook"], *webhook);
    let (_, renamed) = saved(&world, &created, |dms| {
        dms["settings"]["enrollment_settings"]["est_rfc7030_settings"]["external_webhook"]["name"] =
            json!("new");
    })
    .await;
    assert_eq!(webhook_of(&renamed)["name"], "new");
}

#[tokio::test]
async fn secrets_are_shown_to_nobody_and_go_nowhere_else() {
    let world = World::new().await;
    let webhook = json!({
        "url": "https://hooks.example/verify",
        "config": {
            "auth_mode": "apikey", "apikey": {"key": "hush", "header": ""},
            "oidc": {"client_secret": "hush", "well_known": "https://idp.example"},
            "mtls": {"cert": "-----BEGIN CERTIFICATE-----", "key": "hush"},
        },
    });
    let created = world.created(with_webhook(&webhook)).await;
    let (_, read) = world.call("GET", "/v1/dms/a", Value::Null).await;
    let (_, listed) = world.call("GET", "/v1/dms", Value::Null).await;
    let told = world.event("dms.create").await;
    let stored = json!(stored_secrets(&world).await);
    for shown in [&created, &read, &listed, &told, &stored] {
        assert!(!shown.to_string().contains("hush"), "{shown}");
    }
    let path = "/v1/dms?filter=settings[jsonpath]$.**.key%20starts%20with%20%22h%22";
    let (_, found) = world.call("GET", path, Value::Null).await;
    assert_eq!(found["list"], json!([]));

    // Sent back as it is shown, a secret stays.
    let (status, kept) = saved(&world, &read, |dms| dms["name"] = json!("renamed")).await;
    assert_eq!((status, webhook_of(&kept)), (200, webhook_of(&read)));
    // But it is not sent where it was not meant for.
    let (status, answer) = saved(&world, &read, |dms| {
        webhook_mut(dms)["url"] = json!("https://attacker.example/verify");
    })
    .await;
    assert_eq!(
        (status, answer["err"].as_str().unwrap()),
        (
            400,
            "settings: config.apikey.key must be sent again: nothing is stored for where it would be sent to now"
        )
    );
    let (status, _) = saved(&world, &read, |dms| {
        webhook_mut(dms)["url"] = json!("https://hooks.example/other");
    })
    .await;
    assert_eq!(status, 200);
    // Nor does a new DMS have what another one stores.
    let mut copy = read;
    copy["id"] = json!("b");
    let (status, answer) = world.call("POST", "/v1/dms", copy).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

/// What a dump of the table shows of the secrets.
async fn stored_secrets(world: &World) -> String {
    let query = sql(
        "SELECT CAST(secrets AS TEXT) AS secrets FROM dms WHERE id = 'a'",
        params![],
    );
    let row = world.db.row_opt(query).await.unwrap().unwrap();
    row.get("secrets").unwrap()
}

async fn store_secrets(world: &World, secrets: &Value) {
    let mut set = WriteSet::new();
    let text = "UPDATE dms SET secrets = $1, revision = revision + 1 WHERE id = 'a'";
    set.execute(sql(text, params![secrets.clone()]));
    world.db.commit(set).await.unwrap();
}

#[tokio::test]
async fn secrets_that_an_older_version_stored_are_sealed_at_start() {
    let world = World::new().await;
    let webhook = json!({
        "url": "https://hooks.example/verify",
        "config": { "auth_mode": "apikey", "apikey": {"key": "other", "header": ""} },
    });
    let read = world.created(with_webhook(&webhook)).await;
    store_secrets(
        &world,
        &json!({ "enrollment": { "client_secret": "", "api_key": "hush", "mtls_key": "" },
            "reenrollment": { "client_secret": "", "api_key": "", "mtls_key": "" } }),
    )
    .await;
    // Read as it is, until the next start.
    let (status, _) = saved(&world, &read, |_| {}).await;
    assert_eq!(status, 200);
    store_secrets(
        &world,
        &json!({ "enrollment": { "client_secret": "", "api_key": "hush", "mtls_key": "" } }),
    )
    .await;
    let _restarted = world.another_manager().await;
    let sealed = stored_secrets(&world).await;
    assert!(
        sealed.contains("sealed") && !sealed.contains("hush"),
        "{sealed}"
    );
    // Sent back as it is shown, it is there.
    let (status, kept) = saved(&world, &read, |dms| dms["name"] = json!("renamed")).await;
    assert_eq!((status, webhook_of(&kept)), (200, webhook_of(&read)));
    // A start later nothing changes.
    let sealed = stored_secrets(&world).await;
    let _restarted = world.another_manager().await;
    assert_eq!(stored_secrets(&world).await, sealed);
}

#[tokio::test]
async fn sealed_secrets_of_another_dms_open_nothing() {
    let world = World::new().await;
    let webhook = json!({
        "url": "https://hooks.example/verify",
        "config": { "auth_mode": "apikey", "apikey": {"key": "hush", "header": ""} },
    });
    let read = world.created(with_webhook(&webhook)).await;
    let stolen: Value = serde_json::from_str(&stored_secrets(&world).await).unwrap();
    let mut other = with_webhook(&webhook);
    other["id"] = json!("b");
    world.created(other).await;
    let mut set = WriteSet::new();
    set.execute(sql(
        "UPDATE dms SET secrets = $1 WHERE id = 'b'",
        params![stolen],
    ));
    world.db.commit(set).await.unwrap();
    let mut sent = read;
    sent["id"] = json!("b");
    let (status, answer) = world.call("PUT", "/v1/dms/b", sent).await;
    assert_eq!(
        (status.as_u16(), &answer["err"]),
        (500, &json!("storage failure"))
    );
}

#[tokio::test]
async fn members_of_ours_stay_where_a_client_does_not_know_them() {
    let world = World::new().await;
    let enrollment = json!({
        "max_devices": 5, "allowed_device_ids": ["d"], "device_id_pattern": "d.*",
        "repeat_enrollment_window": "10m",
        "est_rfc7030_settings": {"client_certificate_settings": {"revocation": "required"}},
    });
    let reenrollment = json!({
        "strict_identity": true, "key_reuse": "forbidden",
        "est_rfc7030_settings": {"auth_mode": "NO_AUTH",
            "client_certificate_settings": {"revocation": "off"}},
    });
    let created = world.created(dms("a", &enrollment, &reenrollment)).await;
    let settings = &created["settings"];
    assert_eq!(settings["enrollment_settings"]["max_devices"], 5);
    let forget = |dms: &mut Value| {
        let settings = &mut dms["settings"];
        for name in [
            "max_devices",
            "allowed_device_ids",
            "device_id_pattern",
            "repeat_enrollment_window",
        ] {
            settings["enrollment_settings"]
                .as_object_mut()
                .unwrap()
                .remove(name);
        }
        for name in ["strict_identity", "key_reuse"] {
            settings["reenrollment_settings"]
                .as_object_mut()
                .unwrap()
                .remove(name);
        }
        for part in ["enrollment_settings", "reenrollment_settings"] {
            let rules = &mut settings[part]["est_rfc7030_settings"]["client_certificate_settings"];
            rules.as_object_mut().unwrap().remove("revocation");
        }
    };
    let (status, kept) = saved(&world, &created, forget).await;
    assert_eq!((status, &kept["settings"]), (200, settings));
    let (_, cleared) = saved(&world, &created, |dms| {
        dms["settings"]["enrollment_settings"]["max_devices"] = Value::Null;
        dms["settings"]["reenrollment_settings"]["key_reuse"] = Value::Null;
        dms["settings"]["enrollment_settings"]["est_rfc7030_settings"]["client_certificate_settings"]
            ["revocation"] = Value::Null;
    })
    .await;
    let settings = &cleared["settings"];
    assert_eq!(settings["enrollment_settings"].get("max_devices"), None);
    assert_eq!(settings["reenrollment_settings"].get("key_reuse"), None);
    let rules =
        &settings["enrollment_settings"]["est_rfc7030_settings"]["client_certificate_settings"];
    assert_eq!(rules.get("revocation"), None);
    assert_eq!(settings["reenrollment_settings"]["strict_identity"], true);
}

#[tokio::test]
async fn settings_that_can_never_work_are_refused() {
    let world = World::new().await;
    let negative = dms("a", &json!({}), &json!({"reenrollment_delta": "-1h"}));
    let pattern = dms("a", &json!({"device_id_pattern": "["}), &json!({}));
    let cases = [
        (
            negative,
            "settings: reenrollment_delta must not be negative",
        ),
        (
            pattern,
            "settings: device_id_pattern: \"[\" is no regular expression, or too large a one",
        ),
        (
            with_webhook(&json!({"url": "file:///etc/passwd"})),
            "settings: external_webhook_settings.url must be an address that begins with http:// or https:// and holds no user name",
        ),
    ];
    for (body, text) in cases {
        let (status, answer) = world.call("POST", "/v1/dms", body).await;
        assert_eq!((status.as_u16(), answer["err"].as_str()), (400, Some(text)));
    }
}

#[tokio::test]
async fn metadata_are_patched_and_a_dms_is_deleted() {
    let world = World::new().await;
    world
        .created(json!({"id": "a", "name": "A", "metadata": {"x": 1}}))
        .await;
    let patch = json!({"patches": [{"op": "add", "path": "/site/name", "value": "BIO"}]});
    for method in ["PUT", "PATCH"] {
        let (status, patched) = world
            .call(method, "/v1/dms/a/metadata", patch.clone())
            .await;
        assert_eq!(status, StatusCode::OK, "{patched}");
        assert_eq!(
            patched["metadata"],
            json!({"x": 1, "site": {"name": "BIO"}})
        );
    }
    let told = world.event("dms.metadata.update").await;
    assert_eq!(told["data"]["previous"]["metadata"], json!({"x": 1}));
    let updates = world.event_types().await;
    let updates = updates.iter().filter(|name| *name == "dms.metadata.update");
    assert_eq!(updates.count(), 1);
    let (status, _) = world.call("PUT", "/v1/dms/a/metadata", json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    let (status, _) = world.call("DELETE", "/v1/dms/a", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(world.event("dms.delete").await["data"], json!({"ID": "a"}));
    let (status, answer) = world.call("DELETE", "/v1/dms/a", Value::Null).await;
    assert_eq!(
        (status.as_u16(), answer["err"].as_str()),
        (404, Some("DMS not found"))
    );
}
