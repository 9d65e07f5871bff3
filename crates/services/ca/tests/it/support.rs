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
use lamassu_core::ids::EngineId;
use lamassu_core::kms::KmsService;
use lamassu_core::pem::CsrDer;
use lamassu_core::query::QueryLimits;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_db::{Db, params, sql};
use lamassu_http::Stack;
use lamassu_http::testing::AllowAll;
use lamassu_kms::{Kms, KmsPorts};
use lamassu_testing::TestDatabase;
use lamassu_x509::{Certificate, RequestTemplate, SubjectFields};
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
    router: Router,
    _database: TestDatabase,
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
        let kms = Arc::new(TestKms::default());
        let service = service(&db, &kms, OthersRunning::No, config).await;
        let reached = reached(&service).await;
        let router = router(Arc::clone(&reached));
        Self {
            db,
            clock,
            kms,
            service,
            reached,
            router,
            _database: database,
        }
    }

    /// A second process on the same database, with caches of its own.
    pub(crate) async fn replica(&self) -> Router {
        router(reached(&self.started(OthersRunning::Maybe).await).await)
    }

    /// A service that starts now on the same database.
    pub(crate) async fn started(&self, others: OthersRunning) -> Arc<CaService> {
        service(&self.db, &self.kms, others, CaConfig::default()).await
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
    let config = SoftwareConfig {
        id: "memory-1".to_owned(),
        metadata: serde_json::Map::new(),
    };
    let engine = SoftwareEngine::new(config, KeyGenerator::new(1));
    let ports = KmsPorts {
        db: db.clone(),
        engines: vec![Arc::new(engine)],
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
    (router(reached(&service).await), kms)
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
