//! Devices without a certificate: HTTP Basic with enrollment passwords.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode};
use lamassu_db::{params, sql};
use lamassu_dms::PASSWORD_FIELDS;
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;
use tokio::task::JoinSet;

use crate::device::{Answer, Device};
use crate::support::{World, dms};

async fn world(enrollment: &Value) -> World {
    let world = World::new().await;
    world.root("boot").await;
    world.root("fleet").await;
    let mut all = json!({"est_rfc7030_settings": {"auth_mode": "HTTP_BASIC"}});
    for (name, value) in enrollment.as_object().unwrap() {
        all[name] = value.clone();
    }
    world.created(dms("dms", &all, &json!({}))).await;
    world
}

/// User name and password of each that was made.
async fn made(world: &World, request: Value) -> Vec<(String, String)> {
    let (status, answer) = world.call("POST", "/v1/dms/dms/passwords", request).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let list = answer["list"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.iter()
        .map(|new| (text(&new["username"]), text(&new["password"])))
        .collect()
}

async fn enroll_as(world: &World, device: &str, (user, password): (&str, &str)) -> Answer {
    est(
        world,
        "simpleenroll",
        &Device::new(device),
        (user, password),
    )
    .await
}

async fn est(
    world: &World,
    operation: &str,
    device: &Device,
    (user, password): (&str, &str),
) -> Answer {
    let basic = STANDARD.encode(format!("{user}:{password}"));
    let request = Request::builder()
        .method("POST")
        .uri(format!("/.well-known/est/dms/{operation}"))
        .header("content-type", "application/pkcs10")
        .header("authorization", format!("Basic {basic}"))
        .body(Body::from(device.csr()))
        .unwrap();
    world.send(request).await
}

const REFUSED: (u16, &str, &str) = (
    403,
    "user name or password not accepted",
    "password_refused",
);

fn refusal(answer: &Answer) -> (u16, String, String) {
    answer.refusal()
}

fn owned((status, text, code): (u16, &str, &str)) -> (u16, String, String) {
    (status, text.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_password_is_good_once_and_for_its_device() {
    let world = world(&json!({"enable_replaceable_enrollment": true})).await;
    let missing = world
        .est("simpleenroll", "dms", &Device::new("a").csr(), None)
        .await;
    assert_eq!(
        missing.header("www-authenticate"),
        "Basic realm=\"estrealm\""
    );
    assert_eq!(
        missing.refusal(),
        owned((401, "user name and password required", "password_missing"))
    );
    let all = made(&world, json!({"device_ids": ["a", "b"]})).await;
    let [(user_a, for_a), (_, for_b)] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(user_a, "a");
    for (device, user, password) in [
        ("a", "a", "wrong"),
        ("a", "a", for_b.as_str()),
        ("b", "a", for_a.as_str()),
        ("c", "a", for_a.as_str()),
        ("a", "nobody", for_a.as_str()),
        ("a", "a\0", for_a.as_str()),
    ] {
        let answer = enroll_as(&world, device, (user, password)).await;
        assert_eq!(refusal(&answer), owned(REFUSED), "{device} {user}");
    }
    let enrolled = enroll_as(&world, "a", ("a", for_a)).await;
    assert_eq!(enrolled.certificates().len(), 1);
    let again = enroll_as(&world, "a", ("a", for_a)).await;
    assert_eq!(refusal(&again), owned(REFUSED));
    let event = world.event("dms.enroll").await;
    assert_eq!(
        (event["authtype"].as_str(), event["authid"].as_str()),
        (Some("apikey"), Some("a"))
    );
}

#[tokio::test]
async fn of_parallel_requests_as_many_get_through_as_a_password_has_uses() {
    let world = std::sync::Arc::new(world(&json!({})).await);
    let all = made(
        &world,
        json!({"count": 1, "username": "line", "max_uses": 3}),
    )
    .await;
    let password = all[0].1.clone();
    let asking = (0..8).map(|n| {
        let (world, password) = (std::sync::Arc::clone(&world), password.clone());
        async move {
            enroll_as(&world, &format!("d{n}"), ("line", &password))
                .await
                .status
        }
    });
    let answers = asking.collect::<JoinSet<_>>().join_all().await;
    let enrolled = answers.iter().filter(|status| **status == StatusCode::OK);
    assert_eq!(enrolled.count(), 3);
}

#[tokio::test]
async fn all_passwords_of_a_user_name_are_good_however_many_there_are() {
    let world = world(&json!({})).await;
    let request = json!({"count": 1_000, "username": "line"});
    let first = made(&world, request.clone()).await;
    world.clock.advance(Duration::seconds(1));
    let second = made(&world, request).await;
    for (device, (user, password)) in [("a", &first[0]), ("b", &second[0])] {
        let enrolled = enroll_as(&world, device, (user, password)).await;
        assert_eq!(enrolled.certificates().len(), 1, "{device}");
    }
}

#[tokio::test]
async fn a_refused_enrollment_does_not_use_a_password_up() {
    let world = world(&json!({"registration_mode": "PRE_REGISTRATION"})).await;
    let password = made(&world, json!({"device_ids": ["a"]})).await[0]
        .1
        .clone();
    let refused = enroll_as(&world, "a", ("a", &password)).await;
    assert_eq!(refused.refusal().1, "device not preregistered");
    // Issuing itself fails: the CA is gone.
    let jitp = json!({"registration_mode": "JITP", "enrollment_ca": "nowhere",
        "est_rfc7030_settings": {"auth_mode": "HTTP_BASIC"},
    });
    let profile =
        json!({"validity": {"type": "Duration", "duration": "30d"}, "honor_subject": true});
    let mut broken = dms("dms", &jitp, &json!({}));
    broken["settings"]["issuance_profile"] = profile;
    world.call("PUT", "/v1/dms/dms", broken).await;
    let refused = enroll_as(&world, "a", ("a", &password)).await;
    assert_eq!(refused.refusal().1, "CA not found");
    let whole = json!({"est_rfc7030_settings": {"auth_mode": "HTTP_BASIC"}});
    world
        .call("PUT", "/v1/dms/dms", dms("dms", &whole, &json!({})))
        .await;
    let enrolled = enroll_as(&world, "a", ("a", &password)).await;
    assert_eq!(enrolled.certificates().len(), 1);
}

#[tokio::test]
async fn expired_and_revoked_passwords_are_refused_and_renewals_take_them_too() {
    let world = world(&json!({})).await;
    let request = json!({"device_ids": ["a"], "expires_in": "1h", "max_uses": 9});
    let short = made(&world, request).await[0].1.clone();
    let long = made(&world, json!({"device_ids": ["a"], "max_uses": 9})).await[0]
        .1
        .clone();
    let device = Device::new("a");
    let enrolled = est(&world, "simpleenroll", &device, ("a", &short)).await;
    assert_eq!(enrolled.certificates().len(), 1);
    world.clock.advance(Duration::days(2));
    let late = est(&world, "simplereenroll", &device, ("a", &short)).await;
    assert_eq!(late.refusal(), owned(REFUSED));
    let renewed = est(&world, "simplereenroll", &device, ("a", &long)).await;
    assert_eq!(renewed.certificates().len(), 1);

    let (_, page) = world
        .call("GET", "/v1/dms/dms/passwords?filter=uses[eq]1", Value::Null)
        .await;
    let ids: Vec<_> = page["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    for id in ids {
        let path = format!("/v1/dms/dms/passwords/{}", id.as_str().unwrap());
        for _ in 0..2 {
            let (status, _) = world.call("DELETE", &path, Value::Null).await;
            assert_eq!(status, StatusCode::NO_CONTENT);
        }
    }
    world.clock.advance(Duration::days(2));
    let revoked = est(&world, "simplereenroll", &device, ("a", &long)).await;
    assert_eq!(revoked.refusal(), owned(REFUSED));
    let (status, answer) = world
        .call("DELETE", "/v1/dms/dms/passwords/x", Value::Null)
        .await;
    assert_eq!(
        (status.as_u16(), answer["err"].as_str()),
        (404, Some("enrollment password not found"))
    );
}

#[tokio::test]
async fn passwords_are_stored_and_listed_without_their_text() {
    let world = world(&json!({})).await;
    let new = made(&world, json!({"count": 3})).await;
    assert!(new.iter().all(|(_, password)| password.len() == 32));
    let (_, listed) = world
        .call("GET", "/v1/dms/dms/passwords", Value::Null)
        .await;
    let rows = world
        .db
        .rows(sql("SELECT digest FROM enrollment_password", params![]))
        .await
        .unwrap();
    let digests: Vec<String> = rows.iter().map(|row| row.get("digest").unwrap()).collect();
    for (user, password) in &new {
        assert!(listed.to_string().contains(user));
        assert!(!listed.to_string().contains(password));
        assert!(!digests.iter().any(|digest| digest.contains(password)));
    }
    for request in [
        json!({}),
        json!({"count": 1001}),
        json!({"device_ids": ["a"], "count": 1}),
        json!({"device_ids": ["a:b"]}),
        json!({"device_ids": [""]}),
        json!({"count": 1, "expires_in": "-1h"}),
    ] {
        let (status, answer) = world.call("POST", "/v1/dms/dms/passwords", request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    let (status, _) = world
        .call("POST", "/v1/dms/x/passwords", json!({"count": 1}))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = world.call("DELETE", "/v1/dms/dms", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let rows = world
        .db
        .rows(sql("SELECT id FROM enrollment_password", params![]))
        .await
        .unwrap();
    assert_eq!(rows.len(), 0);
}

#[tokio::test]
async fn passwords_are_listed_as_everything_is() {
    let world = world(&json!({})).await;
    for n in 0..4 {
        let request = match n {
            0 => json!({"count": 1, "username": "Zeta", "expires_in": "1h"}),
            1 => json!({"count": 1, "username": "alpha", "max_uses": 5}),
            _ => json!({"device_ids": [format!("device-{n}")]}),
        };
        made(&world, request).await;
        world.clock.advance(Duration::seconds(1));
    }
    let (_, page) = world
        .call(
            "GET",
            "/v1/dms/dms/passwords?filter=username[eq]device-3",
            Value::Null,
        )
        .await;
    let path = format!(
        "/v1/dms/dms/passwords/{}",
        page["list"][0]["id"].as_str().unwrap()
    );
    world.call("DELETE", &path, Value::Null).await;
    let list = ListOf {
        routes: &world.routes,
        path: "/v1/dms/dms/passwords",
        name: "/id",
        fields: PASSWORD_FIELDS,
        shown: lists::by_name,
    };
    list.check_filters_of_every_field().await;
    list.check_sorts_of_every_field().await;
    list.check_refusals().await;
    list.check_what_is_ignored().await;
}
