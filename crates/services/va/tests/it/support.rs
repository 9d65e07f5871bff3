//! A validation authority over the real CA service and KMS, and how it is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use lamassu_ca::{CaConfig, CaPorts, CaService, OthersRunning};
use lamassu_client::{CaClient, KmsClient, Peer, VaClient, testing};
use lamassu_core::clock::{Clock, ManualClock, SharedClock, SystemClock};
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::{KeyStatus, KmsService};
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::query::{ListRequest, QueryLimits};
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_db::{Db, Dialect, Job, NextRun, params, sql, system_caller};
use lamassu_http::testing::AllowAll;
use lamassu_http::{Routes, Stack};
use lamassu_kms::{Kms, KmsPorts};
use lamassu_testing::{TestDatabase, newest_event};
use lamassu_va::{
    Blobs, CA_SUBSCRIPTION, CaPlace, VaConfig, VaPorts, VaService, local_blobs, routes,
};
use lamassu_x509::crl::CertificateList;
use lamassu_x509::ocsp::{CertId, issuer_keys};
use lamassu_x509::{Certificate, RequestTemplate, SubjectFields};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// The services on one database. Background work runs when a test says so: [`World::settle`].
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) va: VaService,
    pub(crate) router: Router,
    pub(crate) ca: Arc<CaService>,
    kms: Arc<dyn KmsService>,
    ca_router: Router,
    shutdown: CancellationToken,
    blobs: Blobs,
    /// Where CRL files are, unless somewhere else.
    dir: Option<TempDir>,
    database: TestDatabase,
    /// Where a KMS without keys keeps what it does not have.
    elsewhere: TestDatabase,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

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

/// A CA as created.
#[derive(Clone, Debug)]
pub(crate) struct Ca {
    pub(crate) id: String,
    pub(crate) ski: String,
    pub(crate) serial: String,
    pub(crate) certificate: Certificate,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_config(VaConfig::default()).await
    }

    pub(crate) async fn with_config(config: VaConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = local_blobs(&dir.path().join("blobs")).unwrap();
        let mut world = Self::over(blobs, config).await;
        world.dir = Some(dir);
        world
    }

    /// A world whose CRL files are in this store.
    pub(crate) async fn over(blobs: Blobs, config: VaConfig) -> Self {
        // Both services name the same addresses, as one program has it.
        let va_server_domains = config.va_domains.clone();
        // openssl has no other clock than the machine's.
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let database = TestDatabase::fresh();
        let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
        let kms = kms(&db).await;
        let ports = CaPorts {
            db: db.clone(),
            kms: Arc::clone(&kms),
            others: OthersRunning::No,
            config: CaConfig {
                va_server_domains,
                ..CaConfig::default()
            },
        };
        let ca = Arc::new(CaService::new(ports).await.unwrap());
        let va = va(&db, &ca, Arc::clone(&kms), &blobs, config).await;
        let ca_routes = lamassu_ca::routes(Arc::clone(&ca) as _, QueryLimits::default());
        let ca_router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
            .mount("", &ca_routes)
            .build()
            .unwrap();
        Self {
            router: router(&va, &clock).await,
            db,
            clock,
            va,
            ca,
            kms,
            ca_router,
            shutdown: CancellationToken::new(),
            blobs,
            dir: None,
            database,
            elsewhere: TestDatabase::fresh(),
        }
    }

    /// A world that reads the log from now on, as a running process does.
    pub(crate) async fn running() -> Self {
        let world = Self::new().await;
        world.follow_events();
        world
    }

    /// Starts reading the log.
    pub(crate) fn follow_events(&self) {
        self.follow_events_with(&self.va);
    }

    /// Lets this process read the log.
    pub(crate) fn follow_events_with(&self, va: &VaService) {
        let (subscription, handler) = va.ca_subscription();
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { subscription.run(handler, &shutdown).await });
    }

    /// Waits until all events are handled, then makes the CRLs that are due.
    pub(crate) async fn settle(&self) {
        self.catch_up().await;
        self.run_crl_job().await;
    }

    /// Waits until all events are handled.
    pub(crate) async fn catch_up(&self) {
        let head = newest_event(&self.db).await;
        let reached = self.db.caught_up(CA_SUBSCRIPTION, head);
        tokio::time::timeout(StdDuration::from_secs(20), reached)
            .await
            .expect("the events are handled");
    }

    pub(crate) async fn run_crl_job(&self) -> NextRun {
        let job: Arc<dyn Job> = self.va.crl_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap()
    }

    pub(crate) async fn run_shard_job(&self) -> NextRun {
        let job = self.va.shard_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap()
    }

    pub(crate) async fn run_final_crl_job(&self) -> NextRun {
        let job = self.va.final_crl_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap()
    }

    /// Lets the CA service go on with what it has to do below deleted CAs.
    pub(crate) async fn run_cascades(&self) {
        let job = self.ca.cascades_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap();
    }

    /// Whether the KMS has the key of this CA.
    pub(crate) async fn has_key(&self, ca: &Ca) -> bool {
        let key = ca.certificate.public_key().unwrap().key_id_sha256_hex();
        let (caller, key) = (system_caller("test"), KeyRef::from(key));
        self.kms.key(&caller, &key).await.is_ok()
    }

    pub(crate) async fn reconcile(&self) {
        let (job, now) = (self.va.reconcile_job(), self.db.now());
        let next = job.run(&system_caller("test"), now).await.unwrap();
        // It reads every revoked certificate: not again because nobody woke it.
        assert_eq!(next, NextRun::At(now + time::Duration::DAY));
    }

    /// Another connection to the database, where it takes several writers.
    pub(crate) async fn beside(&self) -> Option<Db> {
        if self.db.dialect() == Dialect::Sqlite {
            return None;
        }
        let clock = Arc::clone(&self.clock) as SharedClock;
        Some(self.database.open(&clock).await)
    }

    /// The same service under another configuration, over a KMS that has no keys.
    pub(crate) async fn without_keys_and_with(&self, config: VaConfig) -> Router {
        let other = self
            .elsewhere
            .open(&(Arc::clone(&self.clock) as SharedClock))
            .await;
        let kms = kms(&other).await;
        let va = va(&self.db, &self.ca, kms, &self.blobs, config).await;
        router(&va, &self.clock).await
    }

    /// The same service in another process, with caches of its own.
    pub(crate) async fn replica(&self) -> (VaService, Router) {
        self.replica_with(VaConfig::default()).await
    }

    pub(crate) async fn replica_with(&self, config: VaConfig) -> (VaService, Router) {
        let kms = Arc::clone(&self.kms);
        let va = va(&self.db, &self.ca, kms, &self.blobs, config).await;
        let router = router(&va, &self.clock).await;
        (va, router)
    }

    /// A validation authority with a database of its own, over the CA service of this one.
    pub(crate) async fn on_its_own_database(&self) -> Router {
        self.on_its_own_database_with(VaConfig::default()).await
    }

    pub(crate) async fn on_its_own_database_with(&self, config: VaConfig) -> Router {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let ports = VaPorts {
            db: self.elsewhere.open(&clock).await,
            ca: ca_client(&self.ca).await,
            ca_place: CaPlace::Elsewhere,
            kms: Arc::clone(&self.kms),
            blobs: Arc::clone(&self.blobs),
            config,
        };
        router(&VaService::new(ports).await.unwrap(), &self.clock).await
    }

    /// [`service_without_keys`](Self::service_without_keys) over HTTP.
    pub(crate) async fn without_keys(&self) -> Router {
        router(&self.service_without_keys().await, &self.clock).await
    }

    /// The same service over a KMS in another process, which is away.
    pub(crate) async fn with_kms_away(&self) -> VaService {
        let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let config = testing::loopback(port);
        let peer = Peer::new(&config, "service/va", testing::service_token()).unwrap();
        let kms = Arc::new(KmsClient::new(&peer));
        va(&self.db, &self.ca, kms, &self.blobs, VaConfig::default()).await
    }

    /// The same service over a KMS that has no keys.
    pub(crate) async fn service_without_keys(&self) -> VaService {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let other = self.elsewhere.open(&clock).await;
        let kms = kms(&other).await;
        va(&self.db, &self.ca, kms, &self.blobs, VaConfig::default()).await
    }

    /// The same service over a KMS whose database is away.
    pub(crate) async fn without_kms(&self) -> Router {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let other = self.elsewhere.open(&clock).await;
        let kms = kms(&other).await;
        let va = va(&self.db, &self.ca, kms, &self.blobs, VaConfig::default()).await;
        other.close().await;
        router(&va, &self.clock).await
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

    /// A file in the store of CRLs.
    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.dir.as_ref().unwrap().path().join("blobs").join(name)
    }

    /// A certificate as the CA service shows it now.
    pub(crate) async fn certificate(&self, certificate: &Certificate) -> Value {
        let path = format!("/v1/certificates/{}", certificate.serial());
        self.ask_ca(Method::GET, &path, Value::Null).await
    }

    /// The folder of a CA's CRL files.
    pub(crate) fn crl_folder(&self, ca: &Ca) -> PathBuf {
        let dir = self.dir.as_ref().unwrap();
        dir.path().join("blobs/pki/va/crl").join(&ca.ski)
    }

    /// The names of a CA's CRL files, sorted.
    pub(crate) fn crl_files(&self, ca: &Ca) -> Vec<String> {
        let entries = std::fs::read_dir(self.crl_folder(ca)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
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
        (
            number,
            list.entries().map(|entry| entry.serial.to_hex()).collect(),
        )
    }

    /// How often this operation is in the audit log.
    pub(crate) async fn audited(&self, operation: &str) -> usize {
        let query = sql(
            "SELECT operation FROM audit_log WHERE operation = $1",
            params![operation],
        );
        self.db.rows(query).await.unwrap().len()
    }

    /// Types and payloads of this service's events so far.
    pub(crate) async fn events(&self) -> Vec<(String, String, Value)> {
        let query = sql(
            "SELECT event_type, subject, body FROM event_log WHERE event_type LIKE 'va.%' \
             ORDER BY seq",
            params![],
        );
        let rows = self.db.rows(query).await.unwrap();
        rows.iter()
            .map(|row| {
                let body: Value =
                    serde_json::from_str(&row.get::<String>("body").unwrap()).unwrap();
                (
                    row.get("event_type").unwrap(),
                    row.get("subject").unwrap(),
                    body["data"].clone(),
                )
            })
            .collect()
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

async fn kms(db: &Db) -> Arc<dyn KmsService> {
    let config = SoftwareConfig {
        id: "memory-1".to_owned(),
        metadata: serde_json::Map::new(),
    };
    let ports = KmsPorts {
        db: db.clone(),
        engines: vec![Arc::new(SoftwareEngine::new(config, KeyGenerator::new(1)))],
        default_engine: EngineId::from("memory-1"),
        unavailable: Vec::new(),
    };
    let kms = Arc::new(Kms::new(ports).await.unwrap());
    if !testing::is_remote() {
        return kms;
    }
    let routes = lamassu_kms::routes(kms, QueryLimits::default());
    let peer = testing::serve("/api/kms", &routes).await.unwrap();
    Arc::new(KmsClient::new(&peer))
}

/// The CA service, or its client in front of it.
async fn ca_client(ca: &Arc<CaService>) -> Arc<dyn lamassu_core::ca::CaService> {
    let ca = Arc::<CaService>::clone(ca);
    if !testing::is_remote() {
        return ca;
    }
    let routes = lamassu_ca::routes(ca, QueryLimits::default());
    let peer = testing::serve("/api/ca", &routes).await.unwrap();
    Arc::new(CaClient::new(&peer))
}

/// The service, or its client in front of it.
async fn reached(va: &VaService, clock: &Arc<ManualClock>) -> Arc<dyn lamassu_core::va::VaService> {
    let va = Arc::new(va.clone());
    if !testing::is_remote() {
        return va;
    }
    let routes = routes(va, Arc::clone(clock) as SharedClock, QueryLimits::default());
    let peer = testing::serve("/api/va", &routes).await.unwrap();
    Arc::new(VaClient::new(&peer))
}

async fn va(
    db: &Db,
    ca: &Arc<CaService>,
    kms: Arc<dyn KmsService>,
    blobs: &Blobs,
    config: VaConfig,
) -> VaService {
    let ports = VaPorts {
        db: db.clone(),
        ca: ca_client(ca).await,
        ca_place: CaPlace::Here,
        kms,
        blobs: Arc::clone(blobs),
        config,
    };
    VaService::new(ports).await.unwrap()
}

/// The routes under other limits.
pub(crate) async fn routes_of(
    va: &VaService,
    clock: &Arc<ManualClock>,
) -> impl Fn(QueryLimits) -> Routes + Send + Sync + use<> {
    let service = reached(va, clock).await;
    let clock = Arc::clone(clock) as SharedClock;
    move |limits| routes(Arc::clone(&service), Arc::clone(&clock), limits)
}

async fn router(va: &VaService, clock: &Arc<ManualClock>) -> Router {
    let routes = routes_of(va, clock).await(QueryLimits::default());
    Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .mount("", &routes)
        .mount("/api/va", &routes)
        .build()
        .unwrap()
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

pub(crate) fn x509(certificate: &Value) -> Certificate {
    let wire = certificate["certificate"].as_str().unwrap();
    let der = CertificateDer::from_wire(wire).unwrap();
    Certificate::from_der(der.der().clone()).unwrap()
}

pub(crate) fn url_safe(der: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE.encode(der)
}

pub(crate) fn percent_encoded_base64(der: &[u8]) -> String {
    STANDARD
        .encode(der)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

pub(crate) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap()
}
