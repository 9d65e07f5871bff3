//! How the service is asked, and what it answers.

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use lamassu_x509::Certificate;
use lamassu_x509::crl::CertificateList;
use lamassu_x509::ocsp::{CertId, issuer_keys};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Ca, World};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        let text = body["err"].as_str().unwrap().to_owned();
        (self.status.as_u16(), text)
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl World {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(&self.router, path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(&self.router, path, headers).await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::put(path).body(body.into()).unwrap();
        send(&self.router, request).await
    }

    /// Sets the options of a role that differ from the default ones.
    pub(crate) async fn set_options(&self, ca: &Ca, changed: Value) {
        let mut options = default_options(ca);
        for (name, value) in changed.as_object().unwrap() {
            options[name] = value.clone();
        }
        let path = format!("/v1/roles/{}", ca.ski);
        self.put(&path, options.to_string()).await.json(200);
    }

    pub(crate) async fn post_ocsp(&self, request: &[u8]) -> Answer {
        post_ocsp(&self.router, request).await
    }

    /// The newest CRL, verified.
    pub(crate) async fn crl(&self, ca: &Ca) -> CertificateList {
        self.crl_at(&format!("/crl/{}", ca.ski), ca).await
    }

    /// The CRL of a CA at this path, verified.
    pub(crate) async fn crl_at(&self, path: &str, ca: &Ca) -> CertificateList {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        let list = CertificateList::from_der(answer.body).unwrap();
        list.verify_signed_by(&ca.certificate.public_key().unwrap())
            .unwrap();
        list
    }

    /// Number and serial numbers of the newest CRL.
    pub(crate) async fn listed(&self, ca: &Ca) -> (u64, Vec<String>) {
        let list = self.crl(ca).await;
        let number = list.number().unwrap().unwrap().0;
        let mut serials: Vec<_> = list.entries().map(|entry| entry.serial.to_hex()).collect();
        serials.sort();
        (number, serials)
    }
}

/// Options of a role that nobody has changed.
pub(crate) fn default_options(ca: &Ca) -> Value {
    json!({
        "refresh_interval": "6d23h",
        "validity": "1w",
        "subject_key_id_signer": ca.ski,
        "regenerate_on_revoke": true,
    })
}

pub(crate) async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

pub(crate) async fn post_ocsp(router: &Router, request: &[u8]) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/ocsp")
        .header("content-type", "application/ocsp-request")
        .body(Body::from(request.to_vec()))
        .unwrap();
    send(router, request).await
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// How clients mostly ask: SHA-1, NULL parameters.
pub(crate) fn cert_id(issuer: &Certificate, certificate: &Certificate) -> CertId {
    let [sha1, ..] = issuer_keys(issuer).unwrap();
    CertId::new(&sha1, certificate.serial())
}

pub(crate) fn url_safe(der: &[u8]) -> String {
    URL_SAFE.encode(der)
}

pub(crate) fn percent_encoded_base64(der: &[u8]) -> String {
    STANDARD
        .encode(der)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}
