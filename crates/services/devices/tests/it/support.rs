//! A device manager over a fresh database, and what it is asked with.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use lamassu_ca::{CaConfig, CaPorts, OthersRunning};
use lamassu_client::{DeviceClient, testing};
use lamassu_core::ca::enrollment::Revoke;
use lamassu_core::ca::{
    CaService, Certificate, CertificateStatus, CertificateType, CreateCa, CreateCertificate,
    IssuanceProfile, IssuerMetadata, KeyMetadata, KeySource, KeyStrength, ProfileChoice,
    RenewalWindows, Validity,
};
use lamassu_core::caller::{Caller, TraceContext};
use lamassu_core::clock::{Clock, ManualClock, SharedClock};
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device, DeviceManager, EnrollmentEvent, SlotState,
};
use lamassu_core::dms::{Dms, DmsSettings};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{CaId, DeviceId, EngineId, SerialNumber};
use lamassu_core::pem::CertificateDer;
use lamassu_core::query::QueryLimits;
use lamassu_core::subject::Subject;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::{CertificateExtensions, RevocationReason};
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_db::{Db, Statement, WriteSet, sql, system_caller};
use lamassu_devices::{
    CERTIFICATE_SUBSCRIPTION, DevicesConfig, DevicesPorts, DevicesService, routes,
};
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

/// When every test begins.
pub(crate) const START: OffsetDateTime = datetime!(2026-03-01 09:00 UTC);

/// The issuer's key identifier of every certificate that names no other.
pub(crate) const ISSUER: &str = "aa01";

pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    /// What certificates of devices belong to.
    pub(crate) ca: Arc<dyn CaService>,
    /// The service itself, for its jobs.
    pub(crate) local: DevicesService,
    /// The service as others reach it.
    pub(crate) service: Arc<dyn DeviceManager>,
    pub(crate) router: Router,
    /// Its routes under other limits.
    pub(crate) routes: Box<dyn Fn(QueryLimits) -> Routes + Send + Sync>,
    _database: TestDatabase,
}

pub(crate) async fn fixture() -> Fixture {
    configured(DevicesConfig::default()).await
}

/// A device manager of this configuration.
pub(crate) async fn configured(config: DevicesConfig) -> Fixture {
    let clock = Arc::new(ManualClock::at(START));
    let database = TestDatabase::fresh();
    let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
    fixture_over(database, db, clock, config).await
}

/// A device manager that starts on what is already there.
pub(crate) async fn fixture_on(database: TestDatabase, db: Db, clock: Arc<ManualClock>) -> Fixture {
    fixture_over(database, db, clock, DevicesConfig::default()).await
}

async fn fixture_over(
    database: TestDatabase,
    db: Db,
    clock: Arc<ManualClock>,
    config: DevicesConfig,
) -> Fixture {
    let (ca, service) = with_ca(&db, config).await;
    let reached = reached(&service).await;
    let shared = Arc::clone(&reached);
    let time = Arc::clone(&clock) as SharedClock;
    let routes = move |limits| routes(Arc::clone(&shared), Arc::clone(&time), limits);
    let router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .mount("", &routes(QueryLimits::default()))
        .build();
    Fixture {
        routes: Box::new(routes),
        db,
        ca,
        clock,
        local: service,
        service: reached,
        router: router.unwrap(),
        _database: database,
    }
}

pub(crate) async fn service(clock: Arc<dyn Clock>) -> (Db, DevicesService, TestDatabase) {
    let database = TestDatabase::fresh();
    let db = database.open(&clock).await;
    let (_, service) = with_ca(&db, DevicesConfig::default()).await;
    (db, service, database)
}

/// The service over this database, beside others that may be there, and the CA service it asks.
pub(crate) async fn over(
    database: &TestDatabase,
    clock: Arc<dyn Clock>,
) -> (Db, Arc<dyn CaService>, DevicesService) {
    let db = database.open(&clock).await;
    let (ca, service) = with_ca(&db, DevicesConfig::default()).await;
    (db, ca, service)
}

async fn with_ca(db: &Db, config: DevicesConfig) -> (Arc<dyn CaService>, DevicesService) {
    let ca = certificate_authorities(db).await;
    let ports = DevicesPorts {
        db: db.clone(),
        ca: Arc::clone(&ca),
        config,
    };
    let service = DevicesService::new(ports).await.unwrap();
    (ca, service)
}

/// CAs whose keys are in memory, for what certificates of devices have to follow.
pub(crate) async fn certificate_authorities(db: &Db) -> Arc<dyn CaService> {
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
    let ports = CaPorts {
        db: db.clone(),
        kms: Arc::new(Kms::new(ports).await.unwrap()),
        others: OthersRunning::No,
        config: CaConfig::default(),
    };
    Arc::new(lamassu_ca::CaService::new(ports).await.unwrap())
}

/// The service, or its client in front of it.
async fn reached(service: &DevicesService) -> Arc<dyn DeviceManager> {
    let service = Arc::new(service.clone());
    if !testing::is_remote() {
        return service;
    }
    let clock = Arc::new(ManualClock::at(START));
    let routes = routes(service, clock, QueryLimits::default());
    let peer = testing::serve("/api/devmanager", &routes).await.unwrap();
    Arc::new(DeviceClient::new(&peer))
}

impl Fixture {
    pub(crate) async fn get(&self, uri: &str) -> (StatusCode, Value) {
        send(
            self.router.clone(),
            Request::get(uri).body(Body::empty()).unwrap(),
        )
        .await
    }

    pub(crate) async fn post(&self, uri: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        post(self.router.clone(), uri, body).await
    }

    /// What a request is answered: status, `ETag`, body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> (StatusCode, String, Value) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let router = self.router.clone();
        let reply = router.oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = reply.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let tag = parts.headers.get("etag");
        let tag = tag.map_or("", |tag| tag.to_str().unwrap()).to_owned();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (parts.status, tag, body)
    }

    /// What a path gives over other routes.
    pub(crate) fn over(
        routes: &Routes,
    ) -> impl Fn(String) -> std::pin::Pin<Box<dyn Future<Output = Value>>> + use<> {
        let router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
            .mount("", routes)
            .build()
            .unwrap();
        move |uri| {
            let request = Request::get(&uri).body(Body::empty()).unwrap();
            let router = router.clone();
            Box::pin(async move {
                let (status, body) = send(router, request).await;
                assert_eq!(status, StatusCode::OK, "{uri}: {body}");
                body
            })
        }
    }

    /// Patches over other routes.
    pub(crate) async fn patch_over(routes: &Routes, uri: &str, patch: Value) {
        let router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
            .mount("", routes)
            .build()
            .unwrap();
        let request = Request::patch(uri).body(Body::from(patch.to_string()));
        let (status, body) = send(router, request.unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {body}");
    }

    /// The body of a request that succeeds.
    pub(crate) async fn ok(&self, method: Method, uri: &str, body: Value) -> Value {
        let (status, _, answer) = self.ask(method.clone(), uri, &[], body).await;
        assert!(status.is_success(), "{method} {uri}: {status} {answer}");
        answer
    }

    /// Status and code of a request that is refused.
    pub(crate) async fn refused(&self, method: Method, uri: &str, body: Value) -> (u16, String) {
        let (status, _, answer) = self.ask(method, uri, &[], body).await;
        let code = answer["code"].as_str().unwrap_or_default();
        (status.as_u16(), code.to_owned())
    }

    /// A certificate of this common name.
    pub(crate) async fn issued(&self, common_name: &str) -> Certificate {
        issued_by(&*self.ca, common_name).await
    }

    /// The certificate as the CA service has it now.
    pub(crate) async fn certificate(&self, serial: &SerialNumber) -> Certificate {
        self.ca.certificate(&caller(), serial).await.unwrap()
    }

    /// Lets certificates follow their devices.
    pub(crate) async fn follow(&self) {
        let job = self.local.certificates_job();
        let now = self.db.now();
        job.run(&system_caller("test"), now).await.unwrap();
    }

    /// Lets the device manager hear of all that certificates went through so far.
    pub(crate) async fn heard(&self) {
        let last = newest_event(&self.db).await;
        let (subscription, handler) = self.local.certificate_subscription();
        let shutdown = CancellationToken::new();
        let caught_up = async {
            // What cannot be handled is tried for some seconds.
            let limit = StdDuration::from_secs(30);
            let caught_up = self.db.caught_up(CERTIFICATE_SUBSCRIPTION, last);
            tokio::time::timeout(limit, caught_up).await.unwrap();
            shutdown.cancel();
        };
        tokio::join!(subscription.run(handler, &shutdown), caught_up);
    }

    /// Has the CA service revoke the certificate, put it on hold or release it.
    pub(crate) async fn set_status(
        &self,
        serial: &SerialNumber,
        status: CertificateStatus,
        reason: RevocationReason,
    ) {
        self.ca
            .set_certificate_status(&caller(), &serial.into(), status, reason)
            .await
            .unwrap();
    }

    /// Lets time do what is due.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
        let job = self.local.windows_job();
        let now = self.db.now();
        job.run(&system_caller("test"), now).await.unwrap();
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        uri: &str,
        body: String,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(uri);
        send(self.router.clone(), request.body(Body::from(body)).unwrap()).await
    }

    /// Registers a device of `fleet-1`.
    pub(crate) async fn register(&self, id: &str) {
        let body = json!({ "id": id, "dms_id": "fleet-1" }).to_string();
        let (status, body) = self.post("/v1/devices", body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }

    /// Registers a device of `fleet-1` and binds a certificate to it.
    pub(crate) async fn bound(&self, id: &str, serial: &str) {
        self.register(id).await;
        self.service
            .bind_identity(&caller(), first(id, serial))
            .await
            .unwrap();
    }

    pub(crate) async fn device(&self, id: &str) -> Device {
        self.service
            .device(&caller(), &DeviceId::from(id))
            .await
            .unwrap()
    }

    /// Status of the slot and of the device.
    pub(crate) async fn statuses(&self, id: &str) -> (&'static str, &'static str) {
        let device = self.device(id).await;
        (device.identity.unwrap().status.name(), device.status.name())
    }

    pub(crate) async fn execute(&self, statement: Statement) {
        let mut set = WriteSet::new();
        set.execute(statement);
        self.db.commit(set).await.unwrap();
    }

    /// All events of the log, oldest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let rows = self
            .db
            .rows(sql("SELECT body FROM event_log ORDER BY seq", vec![]))
            .await;
        let bodies = rows
            .unwrap()
            .into_iter()
            .map(|row| row.get::<String>("body").unwrap());
        bodies
            .map(|body| serde_json::from_str(&body).unwrap())
            .collect()
    }

    /// The types of the events behind the first `skip`.
    pub(crate) async fn event_types(&self, skip: usize) -> Vec<String> {
        let events = self.events().await;
        events[skip..]
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A certificate of this common name, made by a CA that is made first if need be.
pub(crate) async fn issued_by(ca: &dyn CaService, common_name: &str) -> Certificate {
    let key = || KeySource::New {
        key_type: "ECDSA".to_owned(),
        bits: 256,
        engine_id: EngineId::default(),
    };
    if ca.ca(&caller(), &CaId::from("factory")).await.is_err() {
        let profile = IssuanceProfile {
            validity: Validity::lasting(WireDuration::from_secs(100 * 86_400)),
            honor_subject: true,
            ..IssuanceProfile::default()
        };
        let profile = ca.create_profile(&caller(), profile).await.unwrap();
        let request = CreateCa {
            id: CaId::from("factory"),
            parent: None,
            subject: Subject::with_common_name("factory"),
            key: key(),
            expiration: Validity::lasting(WireDuration::from_secs(1000 * 86_400)),
            profile_id: profile.id,
            metadata: Map::new(),
            ca_profile: ProfileChoice::Default,
            crl_shards: None,
        };
        ca.create_ca(&caller(), request).await.unwrap();
    }
    let request = CreateCertificate {
        ca: CaId::from("factory"),
        key: key(),
        subject: Subject::with_common_name(common_name),
        successor_of: None,
        alternative_names: Vec::new(),
        profile: ProfileChoice::Default,
        metadata: Map::new(),
    };
    let made = ca.create_certificate(&caller(), request).await;
    made.unwrap()
}

pub(crate) async fn post(router: Router, uri: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    send(router, Request::post(uri).body(body.into()).unwrap()).await
}

pub(crate) async fn put(router: Router, uri: String, body: String) -> (StatusCode, Value) {
    send(router, Request::put(uri).body(body.into()).unwrap()).await
}

async fn send(router: Router, request: Request<Body>) -> (StatusCode, Value) {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    // Where there is no body, there is nothing to compare.
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    (parts.status, body)
}

/// The DMS manager.
pub(crate) fn caller() -> Caller {
    Caller::system(
        "test",
        TraceContext {
            trace_id: 1,
            span_id: 1,
        },
    )
    .from_source("service/ra")
}

pub(crate) fn dms(id: &str) -> Dms {
    Dms {
        id: id.into(),
        name: "Fleet".to_owned(),
        metadata: Map::new(),
        creation_ts: Timestamp(START),
        settings: DmsSettings::default(),
    }
}

/// An active certificate that ends 100 days after [`START`].
pub(crate) fn certificate(serial: &str) -> Certificate {
    Certificate {
        serial_number: SerialNumber::parse(serial).unwrap(),
        subject_key_id: "bb02".to_owned(),
        authority_key_id: ISSUER.to_owned(),
        metadata: Some(Map::new()),
        status: CertificateStatus::Active,
        certificate: CertificateDer::from_der(vec![0x30, 0x00]),
        key_metadata: KeyMetadata {
            key_type: "ECDSA".to_owned(),
            bits: 256,
            strength: KeyStrength::High,
        },
        subject: Subject::with_common_name("dev-1"),
        issuer: Subject::with_common_name("Fleet CA"),
        valid_from: Timestamp(START),
        extensions: CertificateExtensions::default(),
        issuer_metadata: IssuerMetadata {
            serial_number: "01".to_owned(),
            id: CaId::from("factory"),
            level: 0,
        },
        valid_to: Timestamp(START + Duration::days(100)),
        revocation_timestamp: Timestamp::ZERO,
        revocation_reason: RevocationReason::default(),
        certificate_type: CertificateType::ImportedWithoutKey,
        engine_id: EngineId::default(),
        is_ca: false,
    }
}

/// Renewal windows that open 30 and 7 days before the end.
pub(crate) fn windows() -> RenewalWindows {
    let days = |days: i64| WireDuration::from_secs(days * 86_400);
    RenewalWindows {
        preventive: days(30),
        critical: days(7),
    }
}

/// The first binding of a registered device of `fleet-1`, by enrollment.
pub(crate) fn first(device: &str, serial: &str) -> BindIdentity {
    BindIdentity {
        device_id: device.into(),
        certificate: Box::new(certificate(serial)),
        dms: Box::new(dms("fleet-1")),
        mode: "PROVISIONED".to_owned(),
        expected: SlotState::Empty,
        create: None,
        windows: windows(),
        announce: Some(EnrollmentEvent::Enroll),
        revoke_superseded: Revoke::No,
    }
}

/// The renewal of version `version`, which holds `held`.
pub(crate) fn renewal(device: &str, serial: &str, version: u32, held: &str) -> BindIdentity {
    BindIdentity {
        mode: "RENEWED".to_owned(),
        expected: SlotState::Holding {
            version,
            serial_number: SerialNumber::parse(held).unwrap(),
        },
        announce: Some(EnrollmentEvent::Reenroll),
        ..first(device, serial)
    }
}

/// The enrollment of a device that is registered just in time.
pub(crate) fn just_in_time(device: &str, serial: &str) -> BindIdentity {
    BindIdentity {
        expected: SlotState::NoDevice,
        create: Some(CreateDevice {
            tags: vec!["jitp".to_owned()],
            ..CreateDevice::default()
        }),
        ..first(device, serial)
    }
}
