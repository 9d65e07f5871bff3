//! A small installation: database, keys, CAs, devices and the DMS manager in front.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use lamassu_ca::{CaConfig, CaPorts, OthersRunning};
use lamassu_client::{CaClient, DeviceClient, DmsClient, KmsClient, testing};
use lamassu_core::ca::{
    CaService, Certificate, CertificateStatus, CreateCa, IssuanceProfile, KeySource, ProfileChoice,
    SignCsr, Validity,
};
use lamassu_core::caller::{Caller, ClientCertificateChain, TraceContext};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::device::{Device as Registered, DeviceService};
use lamassu_core::dms::DmsService;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{CaId, DeviceId, EngineId, ProfileId, SerialNumber};
use lamassu_core::kms::KmsService;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::query::QueryLimits;
use lamassu_core::subject::Subject;
use lamassu_core::usage::RevocationReason;
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_db::{Db, params, sql};
use lamassu_devices::{DevicesConfig, DevicesPorts, DevicesService};
use lamassu_dms::{DmsManager, DmsPorts, EstConfig, est_routes, routes};
use lamassu_http::testing::AllowAll;
use lamassu_http::{Routes, Stack};
use lamassu_kms::{Kms, KmsPorts};
use lamassu_testing::{TestDatabase, newest_event};
use serde_json::{Map, Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::device::{Answer, Device};

/// When every test begins.
pub(crate) const START: OffsetDateTime = datetime!(2026-03-01 09:00 UTC);

/// How long certificates of these tests last.
pub(crate) const LIFETIME: Duration = Duration::days(30);

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) kms: Arc<dyn KmsService>,
    pub(crate) ca: Arc<dyn CaService>,
    pub(crate) devices: Arc<dyn DeviceService>,
    pub(crate) manager: Arc<DmsManager>,
    /// The management routes under other limits.
    pub(crate) routes: Box<dyn Fn(QueryLimits) -> Routes + Send + Sync>,
    router: Router,
    profile: ProfileId,
    _database: TestDatabase,
}

pub(crate) fn caller() -> Caller {
    Caller::system(
        "test",
        TraceContext {
            trace_id: 1,
            span_id: 1,
        },
    )
}

/// A certificate that the platform's own TLS is anchored at.
fn system_ca() -> Option<CertificateDer> {
    Some(CertificateDer::from_der(vec![0x30, 0x03, 0x02, 0x01, 0x07]))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(EstConfig::default(), |devices| devices).await
    }

    pub(crate) async fn with(
        config: EstConfig,
        wrap: impl FnOnce(Arc<dyn DeviceService>) -> Arc<dyn DeviceService>,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let database = TestDatabase::fresh();
        let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
        let kms = keys(&db).await;
        let ca = certificate_authorities(&db, Arc::clone(&kms)).await;
        let ports = DevicesPorts {
            db: db.clone(),
            ca: Arc::clone(&ca),
            config: DevicesConfig::default(),
        };
        let devices = device_registry(DevicesService::new(ports).await.unwrap()).await;
        let ports = DmsPorts {
            db: db.clone(),
            ca: Arc::clone(&ca),
            devices: wrap(Arc::clone(&devices)),
            system_ca: Arc::new(system_ca()),
            config: config.clone(),
        };
        let manager = Arc::new(DmsManager::new(ports).await.unwrap());
        let reached = reached(&manager).await;
        let shared = Arc::clone(&reached);
        let routes = move |limits| routes(Arc::clone(&shared), limits);
        let router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
            .mount("", &routes(QueryLimits::default()))
            .mount("", &est_routes(reached, config))
            .build();
        let profile = ca.create_profile(&caller(), profile()).await.unwrap().id;
        Self {
            db,
            clock,
            kms,
            ca,
            devices,
            manager,
            routes: Box::new(routes),
            router: router.unwrap(),
            profile,
            _database: database,
        }
    }

    /// A manager that starts now on the same database.
    pub(crate) async fn another_manager(&self) -> DmsManager {
        let ports = DmsPorts {
            db: self.db.clone(),
            ca: Arc::clone(&self.ca),
            devices: Arc::clone(&self.devices),
            system_ca: Arc::new(system_ca()),
            config: EstConfig::default(),
        };
        DmsManager::new(ports).await.unwrap()
    }

    /// A root CA of this id and name.
    pub(crate) async fn root(&self, id: &str) {
        self.certificate_authority(id, None).await;
    }

    pub(crate) async fn certificate_authority(&self, id: &str, parent: Option<&str>) {
        let years = Validity::lasting(WireDuration::from_secs(10 * 364 * 86_400));
        let request = CreateCa {
            id: CaId::from(id),
            parent: parent.map(CaId::from),
            subject: Subject::with_common_name(id),
            key: KeySource::New {
                key_type: "ECDSA".to_owned(),
                bits: 256,
                engine_id: EngineId::default(),
            },
            expiration: years,
            profile_id: self.profile.clone(),
            metadata: Map::new(),
            ca_profile: ProfileChoice::Default,
            crl_shards: None,
        };
        self.ca.create_ca(&caller(), request).await.unwrap();
    }

    /// A certificate for this device's key and name, outside of any DMS.
    pub(crate) async fn issue(&self, ca: &str, device: &Device) -> CertificateDer {
        let request = SignCsr {
            csr: Some(CsrDer::from_der(device.csr())),
            profile: ProfileChoice::Default,
            verify_csr_signature: None,
        };
        self.ca
            .sign_csr(&caller(), &CaId::from(ca), request)
            .await
            .unwrap()
            .certificate
    }

    pub(crate) async fn revoke(&self, serial: &SerialNumber) {
        let (status, reason) = (CertificateStatus::Revoked, RevocationReason::KeyCompromise);
        self.ca
            .set_certificate_status(&caller(), &serial.into(), status, reason)
            .await
            .unwrap();
    }

    pub(crate) async fn certificate(&self, serial: &SerialNumber) -> Certificate {
        self.ca.certificate(&caller(), serial).await.unwrap()
    }

    pub(crate) async fn registered(&self, id: &str) -> Registered {
        self.devices
            .device(&caller(), &DeviceId::from(id))
            .await
            .unwrap()
    }

    /// The certificates that the platform holds for this common name, oldest first.
    pub(crate) async fn issued_for(&self, common_name: &str) -> Vec<Certificate> {
        let all = self
            .ca
            .certificates(&caller(), &Default::default())
            .await
            .unwrap();
        let mut found: Vec<_> = all
            .list
            .into_iter()
            .filter(|found| found.subject.common_name == common_name)
            .collect();
        found.sort_by_key(|found| found.valid_from);
        found
    }

    /// Sends a management request.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(body)
            .unwrap();
        let answer = self.send(request).await;
        let body = match answer.body.is_empty() {
            true => Value::Null,
            false => answer.json(),
        };
        (answer.status, body)
    }

    pub(crate) async fn created(&self, dms: Value) -> Value {
        let (status, created) = self.call("POST", "/v1/dms", dms).await;
        assert_eq!(status, StatusCode::CREATED, "{created}");
        created
    }

    /// Sends an EST request as curl would.
    pub(crate) async fn est(
        &self,
        operation: &str,
        label: &str,
        csr: &[u8],
        chain: Option<&[&CertificateDer]>,
    ) -> Answer {
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, csr);
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("/.well-known/est/{label}/{operation}"))
            .header("content-type", "application/pkcs10")
            .header("user-agent", "curl/8.5.0")
            .body(Body::from(base64))
            .unwrap();
        if let Some(chain) = chain {
            let chain = chain
                .iter()
                .map(|certificate| certificate.der().clone())
                .collect();
            request
                .extensions_mut()
                .insert(ClientCertificateChain(chain));
        }
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Waits until the DMS manager has heard of every change so far.
    pub(crate) async fn heard_everything(&self) {
        let shutdown = CancellationToken::new();
        let head = newest_event(&self.db).await;
        // It ends in order, so that the next one need not wait for what this one held.
        let heard = async {
            self.db.caught_up("dms-directory", head).await;
            shutdown.cancel();
        };
        tokio::join!(self.manager.run(&shutdown), heard);
    }

    /// Operation, resource and reason of every refusal in the audit log.
    pub(crate) async fn refusals(&self) -> Vec<(String, String, String)> {
        let query = sql(
            "SELECT operation, resource, reason FROM audit_log WHERE result = 'refused'",
            params![],
        );
        let rows = self.db.rows(query).await.unwrap();
        let column = |row: &lamassu_db::Row, name: &str| row.get::<String>(name).unwrap();
        rows.iter()
            .map(|row| {
                (
                    column(row, "operation"),
                    column(row, "resource"),
                    column(row, "reason"),
                )
            })
            .collect()
    }

    /// The types of all events so far, oldest first.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        let query = sql("SELECT event_type FROM event_log ORDER BY seq", params![]);
        let rows = self.db.rows(query).await.unwrap();
        rows.iter()
            .map(|row| row.get("event_type").unwrap())
            .collect()
    }

    /// The newest event of a type.
    pub(crate) async fn event(&self, event_type: &str) -> Value {
        let query = sql(
            "SELECT body FROM event_log WHERE event_type = $1 ORDER BY seq DESC LIMIT 1",
            params![event_type],
        );
        let row = self.db.row_opt(query).await.unwrap().unwrap();
        serde_json::from_str(&row.get::<String>("body").unwrap()).unwrap()
    }
}

fn profile() -> IssuanceProfile {
    IssuanceProfile {
        validity: Validity::lasting(WireDuration::from_secs(LIFETIME.whole_seconds())),
        honor_subject: true,
        ..IssuanceProfile::default()
    }
}

async fn keys(db: &Db) -> Arc<dyn KmsService> {
    let config = SoftwareConfig {
        id: "memory".to_owned(),
        metadata: Map::new(),
    };
    let engine = SoftwareEngine::new(config, KeyGenerator::new(1));
    let ports = KmsPorts {
        db: db.clone(),
        engines: vec![Arc::new(engine)],
        default_engine: EngineId::from("memory"),
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

/// The DMS manager, or its client in front of it.
async fn reached(manager: &Arc<DmsManager>) -> Arc<dyn DmsService> {
    let manager = Arc::<DmsManager>::clone(manager);
    if !testing::is_remote() {
        return manager;
    }
    let routes = routes(manager, QueryLimits::default());
    let peer = testing::serve("/api/dmsmanager", &routes).await.unwrap();
    Arc::new(DmsClient::new(&peer))
}

async fn device_registry(devices: DevicesService) -> Arc<dyn DeviceService> {
    let devices = Arc::new(devices);
    if !testing::is_remote() {
        return devices;
    }
    let routes = lamassu_devices::routes(
        devices,
        Arc::new(ManualClock::at(START)),
        QueryLimits::default(),
    );
    let peer = testing::serve("/api/devmanager", &routes).await.unwrap();
    Arc::new(DeviceClient::new(&peer))
}

async fn certificate_authorities(db: &Db, kms: Arc<dyn KmsService>) -> Arc<dyn CaService> {
    let ports = CaPorts {
        db: db.clone(),
        kms,
        others: OthersRunning::No,
        config: CaConfig::default(),
    };
    let ca = Arc::new(lamassu_ca::CaService::new(ports).await.unwrap());
    if !testing::is_remote() {
        return ca;
    }
    let routes = lamassu_ca::routes(ca, QueryLimits::default());
    let peer = testing::serve("/api/ca", &routes).await.unwrap();
    Arc::new(CaClient::new(&peer))
}

/// A DMS for CAs `boot` (whose certificates may enroll) and `fleet` (which issues). Members of
/// `enrollment` and `reenrollment` are set on top.
pub(crate) fn dms(id: &str, enrollment: &Value, reenrollment: &Value) -> Value {
    let mut settings = json!({
        "enrollment_settings": {
            "protocol": "EST_RFC7030",
            "est_rfc7030_settings": {
                "auth_mode": "CLIENT_CERTIFICATE",
                "client_certificate_settings": {"validation_cas": ["boot"]},
            },
            "enrollment_ca": "fleet",
            "registration_mode": "JITP",
            "verify_csr_signature": true,
        },
        "reenrollment_settings": {"reenrollment_delta": "29d", "revoke_on_reenrollment": true},
    });
    merge(&mut settings["enrollment_settings"], enrollment);
    merge(&mut settings["reenrollment_settings"], reenrollment);
    json!({"id": id, "name": id, "settings": settings})
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
