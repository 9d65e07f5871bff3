//! A service on a database of its own, how it is asked, and what it told.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use lamassu_ca::{CaConfig, CaPorts, CaService, OthersRunning, routes};
use lamassu_client::{CaClient, KmsClient, testing};
use lamassu_core::caller::{Caller, TraceContext};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_core::ids::EngineId;
use lamassu_core::kms::KmsService;
use lamassu_core::pem::CsrDer;
use lamassu_core::query::QueryLimits;
use lamassu_crypto::pem::{PemLabel, der_to_pem};
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_db::{Db, Statement, WriteSet, params, sql};
use lamassu_http::testing::AllowAll;
use lamassu_http::{Routes, Stack};
use lamassu_kms::{Kms, KmsPorts};
use lamassu_testing::TestDatabase;
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, Issuer, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Terms, Validity, prepare,
};
use lamassu_x509::lint::LintPolicy;
use lamassu_x509::{
    AccessLocations, Certificate, Extensions, KeyUsage, RequestTemplate, SerialNumber,
    SubjectFields,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::kms::TestKms;

/// When every test begins.
pub(crate) const START: OffsetDateTime = datetime!(2026-03-02 09:15:27.481233 UTC);

/// The CA service and all around it.
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) kms: Arc<TestKms>,
    /// The service itself, for its jobs.
    pub(crate) service: Arc<CaService>,
    /// The service as others reach it.
    pub(crate) reached: Arc<dyn lamassu_core::ca::CaService>,
    /// Its routes under other limits.
    pub(crate) routes: Box<dyn Fn(QueryLimits) -> Routes + Send + Sync>,
    router: Router,
    database: TestDatabase,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn with(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Status and text of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            self.body["err"].as_str().unwrap_or("no error"),
        )
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_config(CaConfig::default()).await
    }

    pub(crate) async fn with_config(config: CaConfig) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let database = TestDatabase::fresh();
        let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
        Self::over(database, db, clock, Arc::default(), config).await
    }

    /// A service that starts on what is already there.
    pub(crate) async fn over(
        database: TestDatabase,
        db: Db,
        clock: Arc<ManualClock>,
        kms: Arc<TestKms>,
        config: CaConfig,
    ) -> Self {
        let service = service(&db, &kms, OthersRunning::No, config).await;
        let reached = reached(&service).await;
        let router = router(Arc::clone(&reached));
        let shared = Arc::clone(&reached);
        Self {
            db,
            clock,
            kms,
            service,
            reached,
            routes: Box::new(move |limits| routes(Arc::clone(&shared), limits)),
            router,
            database,
        }
    }

    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// A second process on the same database, with caches of its own.
    pub(crate) async fn replica(&self) -> Router {
        router(reached(&self.started(OthersRunning::Maybe).await).await)
    }

    /// A service that starts now on the same database; where others may run, as another process has it. SQLite has one
    /// process.
    pub(crate) async fn started(&self, others: OthersRunning) -> Arc<CaService> {
        let db = match others {
            OthersRunning::Maybe if self.is_postgres() => {
                let clock = Arc::clone(&self.clock) as SharedClock;
                self.database.open(&clock).await
            }
            OthersRunning::Maybe | OthersRunning::No => self.db.clone(),
        };
        service(&db, &self.kms, others, CaConfig::default()).await
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.database.is_postgres()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(&self.router, Method::GET, path, None).await
    }

    /// The octets of an answer, whatever they are, with its media type.
    pub(crate) async fn octets(&self, path: &str) -> (StatusCode, String, Bytes) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let media_type = parts.headers[http::header::CONTENT_TYPE].to_str().unwrap();
        let octets = body.collect().await.unwrap().to_bytes();
        (parts.status, media_type.to_owned(), octets)
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        ask(&self.router, Method::POST, path, Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        ask(&self.router, Method::PUT, path, Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        ask(&self.router, Method::PATCH, path, Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        ask(&self.router, Method::DELETE, path, None).await
    }

    /// A stored profile; its id.
    pub(crate) async fn profile(&self, profile: Value) -> String {
        let created = self
            .post("/v1/profiles", profile)
            .await
            .with(StatusCode::CREATED);
        created["id"].as_str().unwrap().to_owned()
    }

    /// A root with this id, common name the same, whose default profile is `device_profile`.
    pub(crate) async fn root(&self, id: &str) -> Value {
        let profile = self.profile(device_profile()).await;
        self.post("/v1/cas", root_body(id, &profile))
            .await
            .with(StatusCode::CREATED)
    }

    /// A CA below another one, with the same default profile.
    pub(crate) async fn sub(&self, parent: &Value, id: &str) -> Value {
        let mut body = root_body(id, parent["profile_id"].as_str().unwrap());
        body["parent_id"] = parent["id"].clone();
        self.post("/v1/cas", body).await.with(StatusCode::CREATED)
    }

    /// The certificate of this serial number as it is now.
    pub(crate) async fn now(&self, certificate: &Value) -> Value {
        let serial = certificate["serial_number"].as_str().unwrap();
        self.get(&format!("/v1/certificates/{serial}"))
            .await
            .with(StatusCode::OK)
    }

    /// The CA of this id as it is now.
    pub(crate) async fn ca(&self, id: &str) -> Value {
        self.get(&format!("/v1/cas/{id}"))
            .await
            .with(StatusCode::OK)
    }

    /// A certificate for a new P-256 key, under the default profile.
    pub(crate) async fn issue(&self, ca: &str, common_name: &str) -> Value {
        let body = json!({ "csr": csr(&p256(), common_name).to_wire() });
        self.sign(ca, body).await.with(StatusCode::CREATED)
    }

    pub(crate) async fn sign(&self, ca: &str, body: Value) -> Answer {
        self.post(&format!("/v1/cas/{ca}/certificates/sign"), body)
            .await
    }

    /// Type and subject of all events so far.
    pub(crate) async fn events(&self) -> Vec<(String, String)> {
        let rows = self
            .db
            .rows(sql(
                "SELECT event_type, subject FROM event_log ORDER BY seq",
                params![],
            ))
            .await
            .unwrap();
        rows.iter()
            .map(|row| (row.get("event_type").unwrap(), row.get("subject").unwrap()))
            .collect()
    }

    /// The last event of this type.
    pub(crate) async fn last_event(&self, event_type: &str) -> Value {
        let query = sql(
            "SELECT body FROM event_log WHERE event_type = $1 ORDER BY seq DESC LIMIT 1",
            params![event_type],
        );
        let row = self.db.row_opt(query).await.unwrap().unwrap();
        serde_json::from_str(&row.get::<String>("body").unwrap()).unwrap()
    }

    /// Operation, resource and reason of all refusals in the audit log.
    pub(crate) async fn refusals(&self) -> Vec<[String; 3]> {
        let text = "SELECT operation, resource, reason FROM audit_log WHERE result = 'refused' \
                    ORDER BY id";
        let rows = self.db.rows(sql(text, params![])).await.unwrap();
        rows.iter()
            .map(|row| ["operation", "resource", "reason"].map(|name| row.get(name).unwrap()))
            .collect()
    }

    /// Operations and resources in the audit log.
    pub(crate) async fn audit(&self) -> Vec<(String, String)> {
        let rows = self
            .db
            .rows(sql(
                "SELECT operation, resource FROM audit_log ORDER BY occurred_at, id",
                params![],
            ))
            .await
            .unwrap();
        rows.iter()
            .map(|row| (row.get("operation").unwrap(), row.get("resource").unwrap()))
            .collect()
    }

    /// So many more rows like this certificate's, as only a store can tell them apart.
    pub(crate) async fn multiply(&self, certificate: &Value, n: i64) {
        let columns = "revision, created_at, der, status, certificate_type, engine_id, metadata, \
             is_ca, subject_common_name, subject_common_name_folded, subject_key_id, \
             authority_key_id, key_type, key_bits, key_strength, key_usage, extended_key_usage, \
             valid_from, valid_to, issuer_ca_id, issuer_serial_number, issuer_level, \
             revocation_timestamp, revocation_reason, next_due, next_window, expired_by_job";
        let text = format!(
            "WITH RECURSIVE counter(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < {n}) \
             INSERT INTO certificate (id, serial_number, {columns}) \
             SELECT id || '-' || i, serial_number || '-' || i, {columns} FROM certificate, counter \
             WHERE serial_number = $1"
        );
        let serial = certificate["serial_number"].as_str().unwrap();
        self.execute(sql(text, params![serial])).await;
    }

    /// Lets the row of this certificate be one that nobody can read.
    pub(crate) async fn spoil(&self, certificate: &Value) {
        self.set_der(certificate, Bytes::from_static(b"der")).await;
    }

    /// Makes it what it was.
    pub(crate) async fn mend(&self, certificate: &Value) {
        self.set_der(certificate, x509(certificate).as_der().clone())
            .await;
    }

    async fn set_der(&self, certificate: &Value, der: Bytes) {
        let serial = certificate["serial_number"].as_str().unwrap();
        self.execute(sql(
            "UPDATE certificate SET der = $1 WHERE serial_number = $2",
            params![der, serial],
        ))
        .await;
    }

    pub(crate) async fn execute(&self, statement: Statement) {
        let mut set = WriteSet::new();
        set.execute(statement);
        self.db.commit(set).await.unwrap();
    }

    /// How many cascades are not finished.
    pub(crate) async fn open_cascades(&self) -> i64 {
        self.count("ca_cascade WHERE finished_at IS NULL").await
    }

    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let query = sql(format!("SELECT COUNT(*) AS n FROM {table}"), params![]);
        self.db
            .row_opt(query)
            .await
            .unwrap()
            .unwrap()
            .get("n")
            .unwrap()
    }
}

/// The routes over the real key management service, and that service.
pub(crate) async fn over_real_kms(db: &Db) -> (Router, Arc<Kms>) {
    let (router, kms, _service) = both_services(db).await;
    (router, kms)
}

/// The CA service over a real key management service with two engines, and both services.
pub(crate) async fn both_services(db: &Db) -> (Router, Arc<Kms>, Arc<CaService>) {
    let engine = |id: &str| -> Arc<dyn CryptoEngine> {
        let config = SoftwareConfig {
            id: id.to_owned(),
            metadata: serde_json::Map::new(),
        };
        Arc::new(SoftwareEngine::new(config, KeyGenerator::new(1)))
    };
    let ports = KmsPorts {
        db: db.clone(),
        engines: vec![engine("memory-1"), engine("memory-2")],
        default_engine: EngineId::from("memory-1"),
        unavailable: Vec::new(),
    };
    let kms = Arc::new(Kms::new(ports).await.unwrap());
    let ports = CaPorts {
        db: db.clone(),
        kms: kms_client(Arc::clone(&kms) as _).await,
        others: OthersRunning::No,
        config: CaConfig::default(),
    };
    let service = Arc::new(CaService::new(ports).await.unwrap());
    (router(reached(&service).await), kms, service)
}

async fn service(
    db: &Db,
    kms: &Arc<TestKms>,
    others: OthersRunning,
    config: CaConfig,
) -> Arc<CaService> {
    let kms = kms_client(Arc::clone(kms) as _).await;
    Arc::new(
        CaService::new(CaPorts {
            db: db.clone(),
            kms,
            others,
            config,
        })
        .await
        .unwrap(),
    )
}

/// The key management service, or its client in front of it.
async fn kms_client(kms: Arc<dyn KmsService>) -> Arc<dyn KmsService> {
    if !testing::is_remote() {
        return kms;
    }
    let routes = lamassu_kms::routes(kms, QueryLimits::default());
    let peer = testing::serve("/api/kms", &routes).await.unwrap();
    Arc::new(KmsClient::new(&peer))
}

/// The service, or its client in front of it.
async fn reached(service: &Arc<CaService>) -> Arc<dyn lamassu_core::ca::CaService> {
    let service = Arc::clone(service) as Arc<dyn lamassu_core::ca::CaService>;
    if !testing::is_remote() {
        return service;
    }
    let routes = routes(service, QueryLimits::default());
    let peer = testing::serve("/api/ca", &routes).await.unwrap();
    Arc::new(CaClient::new(&peer))
}

fn router(service: Arc<dyn lamassu_core::ca::CaService>) -> Router {
    let routes = routes(service, QueryLimits::default());
    Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .mount("", &routes)
        .build()
        .unwrap()
}

pub(crate) async fn ask(
    router: &Router,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .body(body.map_or_else(Body::empty, Body::from))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status, body }
}

/// Who calls the service where HTTP does not reach.
pub(crate) fn caller() -> Caller {
    Caller::system(
        "test",
        TraceContext {
            trace_id: 1,
            span_id: 2,
        },
    )
}

/// 12 hours, client authentication, subject and names as asked for.
pub(crate) fn device_profile() -> Value {
    json!({
        "name": "Devices",
        "validity": { "type": "Duration", "duration": "12h" },
        "key_usage": ["DigitalSignature"],
        "extended_key_usages": ["ClientAuth"],
        "honor_subject": true,
        "honor_extensions": true,
    })
}

pub(crate) fn root_body(id: &str, profile: &str) -> Value {
    json!({
        "id": id,
        "subject": { "common_name": id },
        "key_metadata": { "type": "ECDSA", "bits": 256 },
        "ca_expiration": { "type": "Duration", "duration": "10y" },
        "profile_id": profile,
    })
}

pub(crate) fn p256() -> PrivateKey {
    PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap()
}

pub(crate) fn csr(key: &PrivateKey, common_name: &str) -> CsrDer {
    let subject = SubjectFields::with_common_name(common_name).to_name();
    signed(key, &RequestTemplate::new(subject, key.public_key()))
}

/// The request, signed by its key.
pub(crate) fn signed(key: &PrivateKey, template: &RequestTemplate) -> CsrDer {
    let scheme = key.default_scheme();
    let to_be_signed = template.to_be_signed(scheme).unwrap();
    let signature = key
        .sign(scheme, Message::Raw(to_be_signed.as_bytes()))
        .unwrap();
    CsrDer::from_der(to_be_signed.assemble(&signature))
}

/// The X.509 in a reply.
pub(crate) fn x509(certificate: &Value) -> Certificate {
    let wire = certificate["certificate"].as_str().unwrap();
    let der = lamassu_core::pem::CertificateDer::from_wire(wire).unwrap();
    Certificate::from_der(der.der().clone()).unwrap()
}

/// A key pair and a certificate that were made elsewhere.
pub(crate) struct Foreign {
    pub(crate) key: PrivateKey,
    pub(crate) certificate: Certificate,
}

/// How a certificate is made elsewhere.
pub(crate) struct ForeignPlan<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: PrivateKey,
    pub(crate) key_identifier: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Option<&'a Foreign>,
    pub(crate) role: CertificateRole,
    pub(crate) validity: Validity,
}

impl<'a> ForeignPlan<'a> {
    /// A root on a new key, with a key identifier of 20 octets.
    pub(crate) fn root(name: &'a str) -> Self {
        let key = p256();
        let digest = lamassu_crypto::HashAlgorithm::Sha256.digest(key.public_key().spki_der());
        Self {
            name,
            key,
            key_identifier: digest[..20].to_vec(),
            serial: digest[20..32].to_vec(),
            issuer: None,
            role: CertificateRole::Ca {
                path_len_constraint: None,
            },
            validity: Validity::Duration(time::Duration::days(365)),
        }
    }

    /// A CA below another one.
    pub(crate) fn below(name: &'a str, issuer: &'a Foreign) -> Self {
        Self {
            issuer: Some(issuer),
            ..Self::root(name)
        }
    }

    pub(crate) fn make(self) -> Foreign {
        let name = SubjectFields::with_common_name(self.name).to_name();
        let subject = Subject::root(name, self.key.public_key(), self.key_identifier);
        let signing = self.issuer.map_or(&self.key, |issuer| &issuer.key);
        let scheme = signing.default_scheme();
        let issuer = match self.issuer {
            None => Issuer::Itself { scheme },
            Some(issuer) => Issuer::with_certificate(&issuer.certificate, scheme),
        };
        let profile = Profile {
            validity: self.validity,
            back_dating: time::Duration::ZERO,
            subject: SubjectRule::Honor,
            key_usage: KeyUsageRule::Replace(KeyUsage::ca()),
            extended_key_usage: ExtendedKeyUsageRule::Replace(Vec::new()),
            subject_alt_name: SubjectAltNameRule::Drop,
            role: self.role,
            further_extensions: Extensions::none(),
            key_policy: KeyPolicy::Any,
        };
        let terms = Terms {
            profile: &profile,
            serial: &SerialNumber::from_bytes(&self.serial).unwrap(),
            now: START - time::Duration::days(1),
            locations: &AccessLocations::default(),
            lint: &LintPolicy::default(),
        };
        let to_be_signed = prepare(&subject, &issuer, &terms).unwrap().to_be_signed;
        let signature = signing
            .sign(scheme, Message::Raw(to_be_signed.as_bytes()))
            .unwrap();
        let der = to_be_signed.assemble(&signature);
        Foreign {
            key: self.key,
            certificate: Certificate::from_der(der).unwrap(),
        }
    }
}

impl Foreign {
    /// The certificate on the wire.
    pub(crate) fn wire(&self) -> String {
        let der = self.certificate.as_der().clone();
        lamassu_core::pem::CertificateDer::from_der(der).to_wire()
    }

    /// The private key on the wire.
    pub(crate) fn key_wire(&self) -> String {
        use base64::Engine as _;
        let der = self.key.to_pkcs8_der().unwrap();
        let pem = der_to_pem(PemLabel::PrivateKey, &der);
        base64::engine::general_purpose::STANDARD.encode(pem)
    }
}
