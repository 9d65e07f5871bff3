//! A key management service over a fresh database and three engines, and what it is asked with.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use lamassu_client::{KmsClient, testing};
use lamassu_core::caller::{Caller, TraceContext};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_core::ids::{EngineId, KeyRef, OperationId};
use lamassu_core::kms::{CreateKey, Key, KmsError, KmsService};
use lamassu_core::pem::PublicKeyDer;
use lamassu_core::query::QueryLimits;
use lamassu_crypto::PublicKey;
use lamassu_crypto_filesystem::FilesystemEngine;
use lamassu_crypto_software::{KeyGenerator, SoftwareEngine};
use lamassu_db::{Db, NextRun, Statement, WriteSet, sql};
use lamassu_http::testing::AllowAll;
use lamassu_http::{Routes, Stack};
use lamassu_kms::{Kms, KmsPorts, StartError, UnavailableEngine, routes};
use lamassu_testing::TestDatabase;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::faulty::Faulty;

/// When every test begins.
pub(crate) const START: OffsetDateTime = datetime!(2026-03-02 09:15:27.481233 UTC);

pub(crate) const FILESYSTEM: &str = "filesystem-1";
pub(crate) const SOFTWARE: &str = "software-1";
pub(crate) const FAULTY: &str = "faulty-1";

pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    /// The service itself, for its jobs and for what happens inside one process.
    pub(crate) kms: Arc<Kms>,
    /// The service as others reach it.
    pub(crate) service: Arc<dyn KmsService>,
    pub(crate) faulty: Arc<Faulty>,
    /// Its routes under other limits.
    pub(crate) routes: Box<dyn Fn(QueryLimits) -> Routes + Send + Sync>,
    router: Router,
    dir: TempDir,
    database: TestDatabase,
}

pub(crate) async fn fixture() -> Fixture {
    fixture_on(TestDatabase::fresh()).await
}

pub(crate) async fn fixture_on(database: TestDatabase) -> Fixture {
    let clock = Arc::new(ManualClock::at(START));
    let dir = TempDir::new().unwrap();
    let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
    let faulty = Faulty::over(software(FAULTY));
    let engines: Vec<Arc<dyn CryptoEngine>> = vec![
        filesystem(dir.path()),
        Arc::new(software(SOFTWARE)),
        Arc::<Faulty>::clone(&faulty),
    ];
    let kms = Arc::new(start(&db, engines).await.unwrap());
    let service = reached(&kms).await;
    Fixture {
        router: router(Arc::clone(&service)),
        routes: routes_of(&service),
        service,
        db,
        clock,
        kms,
        faulty,
        dir,
        database,
    }
}

/// The service over these engines; keys go to the filesystem where none is named.
pub(crate) async fn start(db: &Db, engines: Vec<Arc<dyn CryptoEngine>>) -> Result<Kms, StartError> {
    start_with(db, engines, Vec::new()).await
}

/// The same, and with these that are configured and did not open.
async fn start_with(
    db: &Db,
    engines: Vec<Arc<dyn CryptoEngine>>,
    unavailable: Vec<UnavailableEngine>,
) -> Result<Kms, StartError> {
    Kms::new(KmsPorts {
        db: db.clone(),
        engines,
        default_engine: EngineId::from(FILESYSTEM),
        unavailable,
    })
    .await
}

pub(crate) fn software(id: &str) -> SoftwareEngine {
    let config = serde_json::from_value(json!({ "id": id })).unwrap();
    SoftwareEngine::new(config, KeyGenerator::new(2))
}

fn filesystem(dir: &Path) -> Arc<dyn CryptoEngine> {
    let options = json!({
        "id": FILESYSTEM,
        "storage_directory": dir.join("keys"),
        "metadata": { "site": "lab" },
    });
    let config = serde_json::from_value(options).unwrap();
    Arc::new(FilesystemEngine::open(config, KeyGenerator::new(2)).unwrap())
}

/// The service, or its client in front of it.
async fn reached(kms: &Arc<Kms>) -> Arc<dyn KmsService> {
    let service: Arc<dyn KmsService> = Arc::<Kms>::clone(kms);
    if !testing::is_remote() {
        return service;
    }
    let routes = routes(service, QueryLimits::default());
    let peer = testing::serve("/api/kms", &routes).await.unwrap();
    Arc::new(KmsClient::new(&peer))
}

fn routes_of(service: &Arc<dyn KmsService>) -> Box<dyn Fn(QueryLimits) -> Routes + Send + Sync> {
    let service = Arc::clone(service);
    Box::new(move |limits| routes(Arc::clone(&service), limits))
}

fn router(service: Arc<dyn KmsService>) -> Router {
    let stack = Stack::new(Arc::new(AllowAll), TaskTracker::new());
    stack
        .mount("", &routes(service, QueryLimits::default()))
        .build()
        .unwrap()
}

impl Fixture {
    /// The same installation after the process ended and began again: what was in memory is gone.
    pub(crate) async fn restarted(self) -> Self {
        let engines: Vec<Arc<dyn CryptoEngine>> = vec![
            filesystem(self.dir.path()),
            Arc::new(software(SOFTWARE)),
            Arc::<Faulty>::clone(&self.faulty),
        ];
        self.restarted_with(engines).await
    }

    /// The same with only these engines.
    pub(crate) async fn restarted_with(self, engines: Vec<Arc<dyn CryptoEngine>>) -> Self {
        let kms = Arc::new(start(&self.db, engines).await.unwrap());
        self.with_service(kms).await
    }

    /// The same, but the engine that may fail does not open.
    pub(crate) async fn restarted_without_faulty(self) -> Self {
        let unavailable = vec![UnavailableEngine {
            id: EngineId::from(FAULTY),
            engine_type: "pkcs11".to_owned(),
            cause: "no token".into(),
        }];
        let engines = vec![self.filesystem()];
        let kms = start_with(&self.db, engines, unavailable).await.unwrap();
        self.with_service(Arc::new(kms)).await
    }

    async fn with_service(self, kms: Arc<Kms>) -> Self {
        let service = reached(&kms).await;
        Self {
            router: router(Arc::clone(&service)),
            routes: routes_of(&service),
            service,
            kms,
            ..self
        }
    }

    /// The same database as another process has it; on SQLite, which has one process, as this one.
    pub(crate) async fn another_db(&self) -> Db {
        if self.database.is_postgres() {
            let clock = Arc::clone(&self.clock) as SharedClock;
            return self.database.open(&clock).await;
        }
        self.db.clone()
    }

    pub(crate) fn filesystem(&self) -> Arc<dyn CryptoEngine> {
        filesystem(self.dir.path())
    }

    /// Removes all files of keys.
    pub(crate) fn lose_key_files(&self) {
        for file in std::fs::read_dir(self.dir.path().join("keys")).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }

    /// Files in the directory of keys.
    pub(crate) fn n_key_files(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("keys"))
            .unwrap()
            .count()
    }

    pub(crate) async fn get(&self, uri: &str) -> (StatusCode, Value) {
        self.send(Request::get(uri).body(Body::empty())).await
    }

    pub(crate) async fn delete(&self, uri: &str) -> (StatusCode, Value) {
        self.send(Request::delete(uri).body(Body::empty())).await
    }

    pub(crate) async fn post(&self, uri: &str, body: Value) -> (StatusCode, Value) {
        self.post_text(uri, &body.to_string()).await
    }

    pub(crate) async fn post_text(&self, uri: &str, body: &str) -> (StatusCode, Value) {
        self.send(Request::post(uri).body(Body::from(body.to_owned())))
            .await
    }

    pub(crate) async fn put(&self, uri: &str, body: Value) -> (StatusCode, Value) {
        self.change(Method::PUT, uri, &body).await
    }

    pub(crate) async fn change(
        &self,
        method: Method,
        uri: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(uri);
        self.send(request.body(Body::from(body.to_string()))).await
    }

    async fn send(&self, request: http::Result<Request<Body>>) -> (StatusCode, Value) {
        let (status, _, body) = self.exchange(request.unwrap()).await;
        (status, body)
    }

    pub(crate) async fn exchange(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let reply = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = reply.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap();
        (parts.status, parts.headers, body)
    }

    /// Makes a key and gives it as the reply shows it.
    pub(crate) async fn made(&self, engine: &str, algorithm: &str, size: u32) -> Value {
        let body = json!({
            "algorithm": algorithm, "size": size, "engine_id": engine, "name": "a key",
        });
        let (status, key) = self.post("/v1/keys", body).await;
        assert_eq!(status, StatusCode::CREATED, "{key}");
        key
    }

    /// Makes a P-256 key and gives its id.
    pub(crate) async fn made_id(&self, engine: &str) -> String {
        let key = self.made(engine, "ECDSA", 256).await;
        key["key_id"].as_str().unwrap().to_owned()
    }

    /// Makes a P-256 key for an operation.
    pub(crate) async fn create_for(&self, operation: &OperationId) -> Result<Key, KmsError> {
        self.service
            .create_key(&caller(), p256_for(operation))
            .await
    }

    /// Gives a key an alias.
    pub(crate) async fn alias(&self, key_id: &str, alias: &str) {
        let add = json!({"patches": [{"op": "add", "path": "/-", "value": alias}]});
        let (status, key) = self.put(&format!("/v1/keys/{key_id}/aliases"), add).await;
        assert_eq!(status, StatusCode::OK, "{key}");
    }

    pub(crate) async fn execute(&self, statement: Statement) {
        let mut set = WriteSet::new();
        set.execute(statement);
        self.db.commit(set).await.unwrap();
    }

    /// Lets time pass and runs the reaper once.
    pub(crate) async fn reap_after(&self, time: Duration) -> NextRun {
        self.clock.advance(time);
        let reaper = self.kms.reaper_job();
        reaper.run(&caller(), self.db.now()).await.unwrap()
    }

    /// Rows of the table of keys, whatever their state.
    pub(crate) async fn n_rows(&self) -> usize {
        let rows = self
            .db
            .rows(sql("SELECT handle FROM kms_key", vec![]))
            .await;
        rows.unwrap().len()
    }

    /// All events of the log, oldest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let query = sql("SELECT body FROM event_log ORDER BY seq", vec![]);
        let rows = self.db.rows(query).await.unwrap();
        let bodies = rows.iter().map(|row| row.get::<String>("body").unwrap());
        bodies
            .map(|body| serde_json::from_str(&body).unwrap())
            .collect()
    }

    /// Type and subject of all events.
    pub(crate) async fn told(&self) -> Vec<(String, String)> {
        let text = |member: &Value| member.as_str().unwrap().to_owned();
        let events = self.events().await;
        events
            .iter()
            .map(|event| (text(&event["type"]), text(&event["subject"])))
            .collect()
    }

    /// Operation, resource and reason of all refusals in the audit log.
    pub(crate) async fn refusals(&self) -> Vec<[String; 3]> {
        let query = sql(
            "SELECT operation, resource, reason FROM audit_log WHERE result = 'refused' ORDER BY id",
            vec![],
        );
        let rows = self.db.rows(query).await.unwrap();
        rows.iter()
            .map(|row| ["operation", "resource", "reason"].map(|name| row.get(name).unwrap()))
            .collect()
    }

    /// Operation, resource and result of all audit records.
    pub(crate) async fn audited(&self) -> Vec<[String; 3]> {
        let query = sql(
            "SELECT operation, resource, result FROM audit_log ORDER BY id",
            vec![],
        );
        let rows = self.db.rows(query).await.unwrap();
        rows.iter()
            .map(|row| ["operation", "resource", "result"].map(|name| row.get(name).unwrap()))
            .collect()
    }
}

pub(crate) fn p256_for(operation: &OperationId) -> CreateKey {
    CreateKey {
        algorithm: "ECDSA".to_owned(),
        size: 256,
        engine_id: EngineId::from(FAULTY),
        name: "for an operation".to_owned(),
        operation: Some(operation.clone()),
        ..CreateKey::default()
    }
}

pub(crate) fn caller() -> Caller {
    let trace = TraceContext {
        trace_id: 1,
        span_id: 1,
    };
    Caller::system("test", trace).from_source("service/ca")
}

pub(crate) fn key_ref(text: &str) -> KeyRef {
    KeyRef::from(text)
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn unbase64(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}

/// A key from the folder of test data, as the API takes it.
pub(crate) fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/testdata");
    base64(&std::fs::read(path.join(name)).unwrap())
}

/// The same key as a reply to a creation or a change shows it: without its usage, which is shown
/// where one key is read.
pub(crate) fn without_usage((status, mut key): (StatusCode, Value)) -> (StatusCode, Value) {
    let shown = key.as_object_mut().unwrap().remove("usage");
    assert!(shown.is_some(), "{key}");
    (status, key)
}

/// A refusal as clients see it.
pub(crate) fn refusal(status: u16, text: &str) -> (StatusCode, Value) {
    (
        StatusCode::from_u16(status).unwrap(),
        json!({ "err": text }),
    )
}

/// The public key that a reply shows.
pub(crate) fn published(key: &Value) -> PublicKey {
    let wire = key["public_key"].as_str().unwrap();
    let public_key = PublicKeyDer::from_wire(wire).unwrap();
    PublicKey::from_spki_der(public_key.der()).unwrap()
}
