//! How OCSP travels over HTTP: requests in paths, caching, limits.

use lamassu_x509::ocsp::{OcspResponse, OcspResponseStatus, request_to_der};
use time::Duration;

use crate::support::{Answer, World, cert_id, percent_encoded_base64, url_safe};

#[track_caller]
fn is_successful(answer: &Answer) {
    assert_eq!(answer.status, 200);
    let response = OcspResponse::from_der(answer.body.clone()).unwrap();
    assert_eq!(response.status, OcspResponseStatus::Successful);
}

#[tokio::test]
async fn requests_in_the_path_are_read_in_all_their_forms() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    // Serial numbers are random: some requests have `/` and `+`, all are tried.
    for index in 0..8 {
        let issued = world.issue(&ca, &index.to_string()).await;
        let request = request_to_der(&[cert_id(&ca.certificate, &issued)], None);
        let standard = percent_encoded_base64(&request)
            .replace("%2B", "+")
            .replace("%2F", "/");
        let forms = [
            format!("/ocsp/{}", percent_encoded_base64(&request)),
            format!("/ocsp/{}", url_safe(&request)),
            format!("/ocsp/{}", url_safe(&request).trim_end_matches('=')),
            format!("/ocsp//{}", percent_encoded_base64(&request)),
            format!("/ocsp/{standard}"),
            format!("/v1/ocsp/{}", url_safe(&request)),
            format!("/api/va/ocsp/{standard}"),
        ];
        for path in forms {
            is_successful(&world.get(&path).await);
        }
    }
}

#[tokio::test]
async fn an_unreadable_path_is_a_malformed_request() {
    let world = World::new().await;
    for path in ["/ocsp/!!!!", "/ocsp/%zz", "/ocsp/MAAA", "/ocsp/a/b/c"] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body, [0x30, 3, 10, 1, 1].as_slice(), "{path}");
        assert_eq!(answer.header("content-type"), "application/ocsp-response");
    }
}

#[tokio::test]
async fn get_answers_say_how_long_they_may_be_kept() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    let path = format!("/ocsp/{}", url_safe(&request));
    let answer = world.get(&path).await;
    is_successful(&answer);
    assert_eq!(
        answer.header("cache-control"),
        "max-age=300, public, no-transform, must-revalidate"
    );
    let (modified, etag) = (answer.header("last-modified"), answer.header("etag"));
    assert_ne!(answer.header("expires"), modified);
    let since = world
        .get_with(&path, &[("if-modified-since", modified)])
        .await;
    assert_eq!((since.status.as_u16(), since.body.len()), (304, 0));
    let other = world
        .get_with(&path, &[("if-none-match", "\"other\"")])
        .await;
    assert_eq!(other.status, 200);
    assert!(etag.starts_with('"') && etag.len() == 66);
    // Until another one is signed.
    world.clock.advance(Duration::minutes(31));
    let later = world
        .get_with(&path, &[("if-modified-since", modified)])
        .await;
    is_successful(&later);
}

#[tokio::test]
async fn answers_to_a_nonce_or_a_post_are_not_kept() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let questions = [cert_id(&ca.certificate, &ca.certificate)];
    let with_nonce = request_to_der(&questions, Some(&[1; 16]));
    let answer = world.get(&format!("/ocsp/{}", url_safe(&with_nonce))).await;
    is_successful(&answer);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.headers.contains_key("etag"));
    let posted = world.post_ocsp(&request_to_der(&questions, None)).await;
    is_successful(&posted);
    assert_eq!(posted.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let world = World::new().await;
    let answer = world.post_ocsp(&vec![0x30; 64 * 1024 + 1]).await;
    assert_eq!(answer.refusal(), (413, "request body too large".to_owned()));
}
