//! CAs, what they issue, and their keys.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::KeyStatus;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::query::ListRequest;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_db::system_caller;
use lamassu_x509::{Certificate, RequestTemplate, SubjectFields};
use serde_json::{Value, json};

use super::{World, send};

/// A CA as created.
#[derive(Clone, Debug)]
pub(crate) struct Ca {
    pub(crate) id: String,
    pub(crate) ski: String,
    pub(crate) serial: String,
    pub(crate) certificate: Certificate,
}

impl World {
    /// Whether the KMS has the key of this CA.
    pub(crate) async fn has_key(&self, ca: &Ca) -> bool {
        let key = ca.certificate.public_key().unwrap().key_id_sha256_hex();
        let (caller, key) = (system_caller("test"), KeyRef::from(key));
        self.kms.key(&caller, &key).await.is_ok()
    }

    /// Forbids the key of this CA to sign.
    pub(crate) async fn disable_key(&self, ca: &Ca) {
        let key = ca.certificate.public_key().unwrap().key_id_sha256_hex();
        self.kms
            .set_status(
                &system_caller("test"),
                &KeyRef::from(key),
                KeyStatus::Disabled,
            )
            .await
            .unwrap();
    }

    /// A certificate as the CA service shows it now.
    pub(crate) async fn certificate(&self, certificate: &Certificate) -> Value {
        let path = format!("/v1/certificates/{}", certificate.serial());
        self.ask_ca(Method::GET, &path, Value::Null).await
    }

    /// A root with a P-256 key, its common name the id.
    pub(crate) async fn root(&self, id: &str) -> Ca {
        self.ca(id, None, "ECDSA", 256).await
    }

    pub(crate) async fn ca(&self, id: &str, parent: Option<&str>, kind: &str, bits: u32) -> Ca {
        let key = json!({ "type": kind, "bits": bits });
        self.create_ca(id, id, parent, key, Value::Null).await
    }

    /// A root whose certificates are divided into so many shards.
    pub(crate) async fn root_in_shards(&self, id: &str, n: u32) -> Ca {
        let key = json!({ "type": "ECDSA", "bits": 256 });
        self.create_ca(id, id, None, key, json!(n)).await
    }

    /// Another CA with the name and key of this root.
    pub(crate) async fn twin(&self, id: &str, root: &Ca) -> Ca {
        let key = root.certificate.public_key().unwrap().key_id_sha256_hex();
        let key = json!({ "key_id": key });
        self.create_ca(id, &root.id, None, key, Value::Null).await
    }

    /// The same, its certificates divided into so many shards.
    pub(crate) async fn twin_in_shards(&self, id: &str, root: &Ca, n: u32) -> Ca {
        let key = root.certificate.public_key().unwrap().key_id_sha256_hex();
        let key = json!({ "key_id": key });
        self.create_ca(id, &root.id, None, key, json!(n)).await
    }

    async fn create_ca(
        &self,
        id: &str,
        name: &str,
        parent: Option<&str>,
        key: Value,
        crl_shards: Value,
    ) -> Ca {
        let profile = json!({
            "name": "Devices",
            "validity": { "type": "Duration", "duration": "12h" },
            "key_usage": ["DigitalSignature"],
            "extended_key_usages": ["ClientAuth"],
            "honor_subject": true,
        });
        let profile = self.ask_ca(Method::POST, "/v1/profiles", profile).await;
        let body = json!({
            "id": id,
            "parent_id": parent.unwrap_or_default(),
            "subject": { "common_name": name, "organization": "Fleet" },
            "key_metadata": key,
            "ca_expiration": { "type": "Duration", "duration": "1y" },
            "profile_id": profile["id"],
            "crl_shards": crl_shards,
        });
        let created = self.ask_ca(Method::POST, "/v1/cas", body).await;
        assert_eq!(created["crl_shards"], crl_shards);
        let certificate = &created["certificate"];
        Ca {
            id: id.to_owned(),
            ski: certificate["subject_key_id"].as_str().unwrap().to_owned(),
            serial: certificate["serial_number"].as_str().unwrap().to_owned(),
            certificate: x509(certificate),
        }
    }

    /// A certificate of this CA for a new key.
    pub(crate) async fn issue(&self, ca: &Ca, common_name: &str) -> Certificate {
        self.issue_with(ca, common_name, Value::Null).await
    }

    /// The same under a profile that is sent along.
    pub(crate) async fn issue_with(
        &self,
        ca: &Ca,
        common_name: &str,
        profile: Value,
    ) -> Certificate {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let subject = SubjectFields::with_common_name(common_name).to_name();
        let template = RequestTemplate::new(subject, key.public_key());
        let request = template.to_be_signed(key.default_scheme()).unwrap();
        let signature = key
            .sign(request.scheme(), Message::Raw(request.as_bytes()))
            .unwrap();
        let csr = CsrDer::from_der(request.assemble(&signature));
        let path = format!("/v1/cas/{}/certificates/sign", ca.id);
        let body = json!({ "csr": csr.to_wire(), "profile": profile });
        x509(&self.ask_ca(Method::POST, &path, body).await)
    }

    pub(crate) async fn revoke(&self, certificate: &Certificate, reason: &str) {
        self.revoke_serial(&certificate.serial().to_hex(), reason)
            .await;
    }

    pub(crate) async fn revoke_serial(&self, serial: &str, reason: &str) {
        let body = json!({ "status": "REVOKED", "revocation_reason": reason });
        let path = format!("/v1/certificates/{serial}/status");
        self.ask_ca(Method::PUT, &path, body).await;
    }

    pub(crate) async fn set_status(&self, certificate: &Certificate, status: &str) {
        let path = format!("/v1/certificates/{}/status", certificate.serial());
        self.ask_ca(Method::PUT, &path, json!({ "status": status }))
            .await;
    }

    /// Gives a CA a new certificate.
    pub(crate) async fn reissue(&self, ca: &Ca) {
        let path = format!("/v1/cas/{}/reissue", ca.id);
        self.ask_ca(Method::POST, &path, json!({})).await;
    }

    /// The ids of the keys of this name.
    pub(crate) async fn keys_called(&self, name: &str) -> Vec<String> {
        let request = ListRequest::default();
        let keys = self.kms.keys(&system_caller("test"), &request).await;
        let keys = keys.unwrap().list.into_iter();
        keys.filter(|key| key.name == name)
            .map(|key| key.key_id.as_str().to_owned())
            .collect()
    }

    pub(crate) async fn delete_key(&self, key: &str) {
        let key = KeyRef::from(key);
        let deleted = self.kms.delete_key(&system_caller("test"), &key).await;
        deleted.unwrap();
    }

    /// Revokes and deletes a CA.
    pub(crate) async fn delete(&self, ca: &Ca) {
        let status = format!("/v1/cas/{}/status", ca.id);
        let body = json!({ "status": "REVOKED", "revocation_reason": "CessationOfOperation" });
        self.ask_ca(Method::POST, &status, body).await;
        let request = Request::delete(format!("/v1/cas/{}", ca.id));
        let request = request.body(Body::empty()).unwrap();
        let answer = send(&self.ca_router, request).await;
        assert!(answer.status.is_success(), "{:?}", answer.body);
    }

    async fn ask_ca(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = send(&self.ca_router, request).await;
        let status = answer.status;
        assert!(status.is_success(), "{path}: {status} {:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Makes a CA of another installation known here, without its key.
    pub(crate) async fn import_ca(&self, id: &str, ca: &Ca) {
        let certificate = CertificateDer::from_der(ca.certificate.as_der().clone());
        let body = json!({ "id": id, "ca": certificate.to_wire(), "ca_type": "IMPORTED" });
        self.ask_ca(Method::POST, "/v1/cas/import", body).await;
    }

    /// Takes in a CA that was made elsewhere, with its key in PEM.
    pub(crate) async fn import_with_key(
        &self,
        id: &str,
        certificate: Certificate,
        key: &[u8],
    ) -> Ca {
        let der = CertificateDer::from_der(certificate.as_der().clone());
        let body = json!({ "id": id, "ca": der.to_wire(), "private_key": STANDARD.encode(key) });
        let imported = self.ask_ca(Method::POST, "/v1/cas/import", body).await;
        let stored = &imported["certificate"];
        Ca {
            id: id.to_owned(),
            ski: stored["subject_key_id"].as_str().unwrap().to_owned(),
            serial: stored["serial_number"].as_str().unwrap().to_owned(),
            certificate,
        }
    }
}

fn x509(certificate: &Value) -> Certificate {
    let wire = certificate["certificate"].as_str().unwrap();
    let der = CertificateDer::from_wire(wire).unwrap();
    Certificate::from_der(der.der().clone()).unwrap()
}
