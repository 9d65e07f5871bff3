//! EST on the wire: what is read, and how it is answered.

use std::io::Write as _;
use std::process::{Command, Stdio};

use axum::body::Body;
use http::{Request, StatusCode};
use lamassu_core::ids::DmsId;
use lamassu_dms::{EstConfig, StatusCodes};
use lamassu_x509::SubjectFields;
use serde_json::json;

use crate::device::{Answer, Device};
use crate::support::{START, World, dms};

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method("GET").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

async fn open_world() -> World {
    world_with(EstConfig::default()).await
}

/// CAs `boot`, `root` and below it `fleet`, and the DMS `open`, which asks for nothing.
async fn world_with(config: EstConfig) -> World {
    let world = World::with(config, |devices| devices).await;
    world.root("boot").await;
    world.root("root").await;
    world.certificate_authority("fleet", Some("root")).await;
    let enrollment = json!({"est_rfc7030_settings": {"auth_mode": "NONE"}});
    world.created(dms("open", &enrollment, &json!({}))).await;
    world
}

#[tokio::test]
async fn an_answer_is_wrapped_pkcs7_with_exact_headers() {
    let world = open_world().await;
    let answer = world
        .est("simpleenroll", "open", &Device::new("d").csr(), None)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        "application/pkcs7-mime; smime-type=certs-only"
    );
    assert_eq!(answer.header("content-transfer-encoding"), "base64");
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    assert!(answer.text().ends_with('\n'));
    assert!(
        answer
            .text()
            .lines()
            .all(|line| line.len() <= 76 && !line.ends_with('\r'))
    );
    assert_eq!(answer.certificates().len(), 1);
}

#[tokio::test]
async fn a_client_without_headers_gets_one_line_and_a_pem_client_pem() {
    let world = open_world().await;
    world
        .call(
            "PUT",
            "/v1/dms/open",
            distribution(&json!({"include_enrollment_ca": true})),
        )
        .await;
    let single = get(&world, "/.well-known/est/open/cacerts", &[]).await;
    assert!(!single.text().contains('\n'));
    assert_eq!(single.certificates().len(), 2);
    let pem = get(
        &world,
        "/.well-known/est/open/cacerts",
        &[("accept", "text/html, application/x-pem-file")],
    )
    .await;
    assert_eq!(pem.header("content-type"), "application/x-pem-file");
    assert_eq!(pem.text().matches("-----BEGIN CERTIFICATE-----").count(), 2);
    assert!(
        pem.text()
            .contains("-----END CERTIFICATE-----\n\n-----BEGIN")
    );
}

fn distribution(settings: &serde_json::Value) -> serde_json::Value {
    let mut body = dms(
        "open",
        &json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}}),
        &json!({}),
    );
    body["settings"]["ca_distribution_settings"] = settings.clone();
    body
}

/// What `openssl <arguments>` makes of this input.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

#[tokio::test]
async fn openssl_reads_an_answer_and_trusts_it_by_cacerts() {
    let world = open_world().await;
    let anchors = json!({"include_enrollment_ca": true});
    world
        .call("PUT", "/v1/dms/open", distribution(&anchors))
        .await;
    let answer = world
        .est("simpleenroll", "open", &Device::new("d").csr(), None)
        .await;
    let pkcs7 = openssl(&["base64", "-d"], &answer.body);
    let printed = openssl(&["pkcs7", "-inform", "DER", "-print_certs"], &pkcs7);
    assert!(String::from_utf8(printed.clone()).unwrap().contains("CN"));
    let pem = [("accept", "application/x-pem-file")];
    let cacerts = get(&world, "/.well-known/est/open/cacerts", &pem).await;
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("cacerts.pem");
    std::fs::write(&file, &cacerts.body).unwrap();
    let at = START.unix_timestamp().to_string();
    let verify = ["verify", "-attime", &at, "-CAfile", file.to_str().unwrap()];
    assert_eq!(openssl(&verify, &printed), b"stdin: OK\n");
}

#[tokio::test]
async fn cacerts_lists_each_ca_once_and_its_parents_last() {
    let world = open_world().await;
    let settings = json!({"include_system_ca": true, "include_enrollment_ca": true, "managed_cas": ["boot", "root", "boot"]});
    world
        .call("PUT", "/v1/dms/open", distribution(&settings))
        .await;
    let answer = get(
        &world,
        "/.well-known/est/open/cacerts",
        &[("accept", "application/x-pem-file")],
    )
    .await;
    let blocks: Vec<&str> = answer.text().split("\n\n").collect();
    // The system's own, boot, root, then fleet, whose parent is there already.
    assert_eq!(blocks.len(), 4, "{}", answer.text());
    let pem_of = async |id: &str| {
        let id = lamassu_core::ids::CaId::from(id);
        world
            .ca
            .ca(&crate::support::caller(), &id)
            .await
            .unwrap()
            .certificate
            .certificate
            .to_pem()
    };
    for (block, id) in blocks.iter().skip(1).zip(["boot", "root", "fleet"]) {
        assert_eq!(block.trim_end(), pem_of(id).await.trim_end(), "{id}");
    }
    world
        .call(
            "PUT",
            "/v1/dms/open",
            distribution(&json!({"managed_cas": ["gone"]})),
        )
        .await;
    let missing = get(&world, "/.well-known/est/open/cacerts", &[]).await;
    assert_eq!(
        missing.refusal(),
        (
            500,
            "CA not found".to_owned(),
            "dms_misconfigured".to_owned()
        )
    );
}

#[tokio::test]
async fn csrattrs_is_an_empty_sequence_for_a_profile_without_wishes() {
    let world = open_world().await;
    let answer = get(
        &world,
        "/.well-known/est/open/csrattrs",
        &[("accept", "*/*")],
    )
    .await;
    assert_eq!(answer.header("content-type"), "application/csrattrs");
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "MAA=\n"));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_text() {
    let world = open_world().await;
    let post = async |media_type: &str, body: Vec<u8>| {
        let request = Request::builder()
            .method("POST")
            .uri("/.well-known/est/open/simpleenroll")
            .header("content-type", media_type)
            .body(Body::from(body))
            .unwrap();
        let (status, text, _) = world.send(request).await.refusal();
        (status, text)
    };
    let refused = |status: u16, text: &str| (status, text.to_owned());
    assert_eq!(
        post("text/plain", vec![]).await,
        refused(415, "content-type must be application/pkcs10")
    );
    assert_eq!(
        post("application/pkcs10", b"*".to_vec()).await,
        refused(400, "body payload must be base64 encoded")
    );
    let truncated =
        "could not parse the payload into a csr: asn1: syntax error: sequence truncated";
    assert_eq!(
        post("application/pkcs10", vec![]).await,
        refused(400, truncated)
    );
    assert_eq!(
        post("application/pkcs10", vec![b'A'; 70_000]).await,
        refused(413, "request body too large")
    );
    let nobody = Device::new("").csr();
    assert_eq!(
        post("Application/PKCS10 ; x=y", nobody).await,
        refused(400, "no CommonName in CSR")
    );
}

#[tokio::test]
async fn a_path_without_label_belongs_to_the_default_dms() {
    let world = open_world().await;
    let refused = get(&world, "/.well-known/est/cacerts", &[]).await.refusal();
    let text = "Key: 'aps.APS' Error:Field validation for 'APS' failed on the 'required' tag";
    assert_eq!(refused, (400, text.to_owned(), String::new()));
    let unknown = get(&world, "/.well-known/est/nowhere/cacerts", &[])
        .await
        .refusal();
    assert_eq!(
        unknown,
        (404, "DMS not found".to_owned(), "dms_not_found".to_owned())
    );

    let config = EstConfig {
        default_dms: Some(DmsId::from("nowhere")),
        default_dms_by_server_name: [("est.example".to_owned(), DmsId::from("open"))].into(),
        ..EstConfig::default()
    };
    let world = world_with(config).await;
    let named = get(
        &world,
        "/.well-known/est/cacerts",
        &[("host", "EST.example:8443")],
    )
    .await;
    assert_eq!(named.status, StatusCode::OK);
    let unnamed = get(&world, "/.well-known/est/cacerts", &[("host", "other")]).await;
    assert_eq!(unnamed.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn reference_statuses_are_400_and_500_only() {
    let config = EstConfig {
        status_codes: StatusCodes::Reference,
        ..EstConfig::default()
    };
    let world = world_with(config).await;
    let unknown = world
        .est("simpleenroll", "nowhere", &Device::new("d").csr(), None)
        .await;
    assert_eq!(
        unknown.refusal(),
        (500, "DMS not found".to_owned(), "dms_not_found".to_owned())
    );
    let unreadable = world.est("simpleenroll", "open", b"no csr", None).await;
    assert_eq!(unreadable.status, StatusCode::BAD_REQUEST);
    let unlabelled = get(&world, "/.well-known/est/cacerts", &[]).await;
    assert_eq!(unlabelled.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_key_of_an_unknown_kind_is_named_as_such() {
    let world = open_world().await;
    let line = "req -new -newkey ed448 -nodes -keyout /dev/null -subj /CN=d -outform DER";
    let csr = openssl(&line.split(' ').collect::<Vec<_>>(), b"");
    let answer = world.est("simpleenroll", "open", &csr, None).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let text = "the public key of the certification request is not supported";
    assert_eq!(answer.json()["err"], text, "{}", answer.text());
}

#[tokio::test]
async fn an_operation_that_is_not_offered_is_not_found_for_everybody() {
    let world = open_world().await;
    for (method, path) in [
        ("GET", "/.well-known/est/open/fullcmc"),
        ("POST", "/.well-known/est/open/fullcmc"),
        ("GET", "/.well-known/est/open/serverkeygen"),
        ("GET", "/.well-known/est/open/simpleenroll"),
        ("POST", "/.well-known/est/open/cacerts"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(answer.text(), "404 page not found", "{method} {path}");
    }
}

#[tokio::test]
async fn a_label_may_hold_any_text() {
    let world = open_world().await;
    let mut body = distribution(&json!({}));
    body["id"] = json!("line/7 simplereenroll");
    world.created(body).await;
    let device = Device::new("d");
    let label = "line%2F7%20simplereenroll";
    world
        .est("simpleenroll", label, &device.csr(), None)
        .await
        .certificate();
    let owner = world.registered("d").await.dms_owner;
    assert_eq!(owner.as_str(), "line/7 simplereenroll");
    let no_utf8 = world.est("simpleenroll", "%FF", &device.csr(), None).await;
    assert_eq!(no_utf8.refusal().1, "DMS not found");
}

#[tokio::test]
async fn a_request_that_names_nul_is_refused_and_creates_nothing() {
    let world = open_world().await;
    let device = Device::new("d");
    for (subject, attribute) in [
        (SubjectFields::with_common_name("d\0"), "CN"),
        (
            SubjectFields {
                organization: "\0".to_owned(),
                ..SubjectFields::with_common_name("d")
            },
            "O",
        ),
    ] {
        for operation in ["simpleenroll", "simplereenroll"] {
            let answer = world
                .est(operation, "open", &device.csr_of(&subject), None)
                .await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
            let expected = format!(
                "subject attribute {attribute} holds the character U+0000, which cannot be stored"
            );
            assert!(answer.text().contains(&expected), "{}", answer.text());
        }
    }
    let answer = get(&world, "/.well-known/est/op%00en/cacerts", &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
}
