//! A first enrollment whose answer was lost.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use time::Duration;

use crate::device::Device;
use crate::support::{World, dms};

async fn world(window: &Value) -> World {
    let world = World::new().await;
    world.root("boot").await;
    world.root("fleet").await;
    let enrollment = json!({"repeat_enrollment_window": window});
    world.created(dms("dms", &enrollment, &json!({}))).await;
    world
}

#[tokio::test]
async fn the_same_request_with_the_same_certificate_gets_the_same_answer_for_a_while() {
    let world = world(&json!("10m")).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let other = world.issue("boot", &Device::new("other")).await;
    let device = Device::new("d");
    let csr = device.csr();
    let enroll = async |csr: &[u8], by| world.est("simpleenroll", "dms", csr, Some(&[by])).await;
    let first = enroll(&csr, &bootstrap).await.certificate();
    let events = world.event_types().await.len();
    world.clock.advance(Duration::minutes(9));
    assert_eq!(enroll(&csr, &bootstrap).await.certificate(), first);
    assert_eq!(world.event_types().await.len(), events);
    // Another credential, or another request, is another enrollment.
    let forbidden = "forbiddenNewEnrollment";
    assert_eq!(enroll(&csr, &other).await.refusal().1, forbidden);
    assert_eq!(
        enroll(&Device::new("d").csr(), &bootstrap)
            .await
            .refusal()
            .1,
        forbidden
    );
    world.clock.advance(Duration::minutes(2));
    assert_eq!(enroll(&csr, &bootstrap).await.refusal().1, forbidden);
}

#[tokio::test]
async fn a_device_that_went_on_gets_its_first_certificate_no_more() {
    let world = world(&json!("1d")).await;
    let widest = dms(
        "dms",
        &json!({"repeat_enrollment_window": "1d"}),
        &json!({"reenrollment_delta": "60d"}),
    );
    world.call("PUT", "/v1/dms/dms", widest).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let device = Device::new("d");
    let csr = device.csr();
    let first = world
        .est("simpleenroll", "dms", &csr, Some(&[&bootstrap]))
        .await
        .certificate();
    let renewed = world
        .est("simplereenroll", "dms", &csr, Some(&[&first]))
        .await;
    assert_eq!(renewed.certificates().len(), 1);
    let again = world
        .est("simpleenroll", "dms", &csr, Some(&[&bootstrap]))
        .await;
    assert_eq!(again.refusal().1, "forbiddenNewEnrollment");
}

#[tokio::test]
async fn no_answer_is_given_again_under_another_dms_of_the_same_id() {
    let world = world(&json!("1d")).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let csr = Device::new("d").csr();
    let enroll = async || {
        world
            .est("simpleenroll", "dms", &csr, Some(&[&bootstrap]))
            .await
    };
    enroll().await.certificate();
    world.call("DELETE", "/v1/dms/dms", Value::Null).await;
    let again = json!({"repeat_enrollment_window": "1d"});
    world.created(dms("dms", &again, &json!({}))).await;
    assert_eq!(enroll().await.refusal().1, "forbiddenNewEnrollment");
}

#[tokio::test]
async fn a_password_that_is_used_up_gets_the_answer_that_it_was_used_for() {
    let world = world(&json!("10m")).await;
    let est = json!({"auth_mode": "HTTP_BASIC"});
    let basic = json!({"repeat_enrollment_window": "10m", "est_rfc7030_settings": est});
    world
        .call("PUT", "/v1/dms/dms", dms("dms", &basic, &json!({})))
        .await;
    let request = json!({"count": 1, "username": "line"});
    let (_, made) = world.call("POST", "/v1/dms/dms/passwords", request).await;
    let password = made["list"][0]["password"].as_str().unwrap();
    let ask = async |csr: Vec<u8>, password: &str| {
        let basic = format!("line:{password}");
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, basic);
        let request = Request::builder()
            .method("POST")
            .uri("/.well-known/est/dms/simpleenroll")
            .header("content-type", "application/pkcs10")
            .header("authorization", format!("Basic {basic}"))
            .body(Body::from(csr))
            .unwrap();
        world.send(request).await
    };
    let (device, other) = (Device::new("d"), Device::new("e"));
    let csr = device.csr();
    let first = ask(csr.clone(), password).await.certificate();
    assert_eq!(ask(csr.clone(), password).await.certificate(), first);
    let refused = "user name or password not accepted";
    assert_eq!(ask(csr, "wrong").await.refusal().1, refused);
    assert_eq!(ask(other.csr(), password).await.refusal().1, refused);
}

#[tokio::test]
async fn the_window_has_an_end() {
    let world = World::new().await;
    let body = dms(
        "dms",
        &json!({"repeat_enrollment_window": "25h"}),
        &json!({}),
    );
    let (status, answer) = world.call("POST", "/v1/dms", body).await;
    assert_eq!(
        (status.as_u16(), answer["err"].as_str()),
        (
            400,
            Some("settings: repeat_enrollment_window must not be longer than 1d")
        )
    );
}
