//! Certificates that the platform did not issue: their issuer says whether they are revoked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use http::StatusCode;
use lamassu_core::ca::ImportCa;
use lamassu_core::ids::{CaId, EngineId, ProfileId};
use lamassu_core::pem::CertificateDer;
use lamassu_crypto::{Curve, KeySpec, Message, ObjectIdentifier, PrivateKey};
use lamassu_dms::{EstConfig, RevocationConfig};
use lamassu_x509::crl::{
    CrlBuilder, CrlFields, CrlNumber, CrlReason, RevokedEntry, issuing_distribution_point,
};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, Issuer, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Terms, Validity, prepare,
};
use lamassu_x509::lint::LintPolicy;
use lamassu_x509::ocsp::{
    BasicResponse, CertStatus, OcspRequest, OcspResponseStatus, ResponderId, SingleResponse,
    error_response,
};
use lamassu_x509::{
    AccessLocations, Certificate, CertificationRequest, Extensions, KeyUsage, SerialNumber,
    SubjectFields, ToBeSigned, oids,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;

use crate::device::Device;
use crate::support::{START, World, caller, dms};

/// A CA that is none of ours.
struct ForeignCa {
    key: PrivateKey,
    certificate: Certificate,
}

impl ForeignCa {
    fn new() -> Self {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let name = SubjectFields::with_common_name("foreign").to_name();
        let subject = Subject::root(name, key.public_key(), vec![1, 2, 3]);
        let issuer = Issuer::Itself {
            scheme: key.default_scheme(),
        };
        let profile = Profile {
            key_usage: KeyUsageRule::Replace(KeyUsage::ca()),
            role: CertificateRole::Ca {
                path_len_constraint: None,
            },
            ..profile(ExtendedKeyUsageRule::Honor)
        };
        let terms = (&profile, [7; 8], AccessLocations::default());
        let certificate = issued(&key, &subject, &issuer, terms);
        Self { key, certificate }
    }

    /// A certificate for this device.
    fn issue(
        &self,
        device: &Device,
        usages: ExtendedKeyUsageRule,
        locations: AccessLocations,
    ) -> CertificateDer {
        let csr = CertificationRequest::from_der(device.csr()).unwrap();
        let subject = Subject::of_csr(&csr.verify().unwrap()).unwrap();
        let issuer = Issuer::with_certificate(&self.certificate, self.key.default_scheme());
        let terms = (&profile(usages), [9; 8], locations);
        let certificate = issued(&self.key, &subject, &issuer, terms);
        CertificateDer::from_der(certificate.as_der().clone())
    }
}

fn profile(usages: ExtendedKeyUsageRule) -> Profile {
    Profile {
        validity: Validity::Duration(Duration::days(60)),
        back_dating: Duration::ZERO,
        subject: SubjectRule::Honor,
        key_usage: KeyUsageRule::Honor,
        extended_key_usage: usages,
        subject_alt_name: SubjectAltNameRule::Drop,
        role: CertificateRole::EndEntity,
        further_extensions: Extensions::none(),
        key_policy: KeyPolicy::Any,
    }
}

fn issued(
    key: &PrivateKey,
    subject: &Subject,
    issuer: &Issuer,
    (profile, serial, locations): (&Profile, [u8; 8], AccessLocations),
) -> Certificate {
    let terms = Terms {
        profile,
        serial: &SerialNumber::from_bytes(&serial).unwrap(),
        now: START,
        locations: &locations,
        lint: &LintPolicy::default(),
    };
    let to_be_signed = prepare(subject, issuer, &terms).unwrap().to_be_signed;
    Certificate::from_der(signed(key, to_be_signed)).unwrap()
}

fn signed(key: &PrivateKey, to_be_signed: ToBeSigned) -> Bytes {
    let message = Message::Raw(to_be_signed.as_bytes());
    let signature = key.sign(to_be_signed.scheme(), message).unwrap();
    to_be_signed.assemble(&signature)
}

/// What the foreign CA publishes.
#[derive(Clone)]
struct Publisher {
    ca: Arc<ForeignCa>,
    /// The delegate that answers for the CA, if one does.
    delegate: Arc<Mutex<Option<(PrivateKey, Bytes)>>>,
    status: Arc<Mutex<Option<CertStatus>>>,
    list: Arc<Mutex<Option<Bytes>>>,
    /// When answers are of.
    now: Arc<Mutex<OffsetDateTime>>,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Publisher {
    fn new() -> Self {
        Self {
            ca: Arc::new(ForeignCa::new()),
            delegate: Arc::default(),
            status: Arc::default(),
            list: Arc::default(),
            now: Arc::new(Mutex::new(START)),
            asked: Arc::default(),
        }
    }

    async fn serve(&self) -> u16 {
        let router = Router::new()
            .route("/ocsp", post(ocsp))
            .route("/crl", get(crl))
            .with_state(self.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    /// Publishes a list of these serial numbers.
    fn publish(&self, serials: &[&Certificate], by: &ForeignCa) {
        self.publish_part(serials, by, None);
    }

    /// The same of the part of the certificates that name this address.
    fn publish_part(&self, serials: &[&Certificate], by: &ForeignCa, address: Option<&str>) {
        let this_update = *self.now.lock().unwrap();
        let fields = CrlFields {
            issuer: self.ca.certificate.subject().clone(),
            authority_key_identifier: None,
            number: CrlNumber(1),
            this_update,
            next_update: this_update + Duration::days(7),
            scheme: by.key.default_scheme(),
        };
        let mut builder = CrlBuilder::new(&fields).unwrap();
        if let Some(address) = address {
            builder.push_extension(issuing_distribution_point(&[address.to_owned()]));
        }
        for certificate in serials {
            let entry = RevokedEntry {
                serial: certificate.serial().clone(),
                revocation_date: START,
                reason: CrlReason::KeyCompromise,
            };
            builder.push(&entry).unwrap();
        }
        let list = signed(&by.key, builder.finish());
        *self.list.lock().unwrap() = Some(list);
    }

    fn answers(&self, status: CertStatus) {
        *self.status.lock().unwrap() = Some(status);
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn ocsp(State(publisher): State<Publisher>, body: Bytes) -> Bytes {
    publisher.asked.lock().unwrap().push("ocsp");
    let Some(status) = *publisher.status.lock().unwrap() else {
        return error_response(OcspResponseStatus::TryLater);
    };
    let request = OcspRequest::from_der(body).unwrap();
    let now = *publisher.now.lock().unwrap();
    let delegate = publisher.delegate.lock().unwrap();
    let (key, certificates) = match &*delegate {
        Some((key, certificate)) => (key, vec![certificate.clone()]),
        None => (&publisher.ca.key, Vec::new()),
    };
    let response = BasicResponse {
        responder_id: ResponderId::by_name(&publisher.ca.certificate),
        produced_at: now,
        responses: vec![SingleResponse {
            cert_id: request.requests()[0].cert_id.clone(),
            status,
            this_update: now,
            next_update: Some(now + Duration::hours(2)),
            archive_cutoff: None,
        }],
        nonce: None,
        certificates,
    };
    let to_be_signed = response.to_be_signed(key.default_scheme()).unwrap();
    let message = Message::Raw(to_be_signed.as_bytes());
    let signature = key.sign(to_be_signed.scheme(), message).unwrap();
    to_be_signed.assemble(&signature)
}

async fn crl(State(publisher): State<Publisher>) -> Result<Bytes, StatusCode> {
    publisher.asked.lock().unwrap().push("crl");
    let list = publisher.list.lock().unwrap();
    list.clone().ok_or(StatusCode::NOT_FOUND)
}

fn revoked() -> CertStatus {
    CertStatus::Revoked {
        revocation_time: START,
        reason: CrlReason::KeyCompromise,
    }
}

/// An installation that trusts the foreign CA, under this rule, and calls this machine.
struct Scene {
    world: World,
    publisher: Publisher,
    locations: AccessLocations,
}

impl Scene {
    async fn new(rule: &Value) -> Self {
        let loopback = vec!["127.0.0.0/8".parse().unwrap()];
        Self::with(rule, loopback).await
    }

    async fn with(rule: &Value, allowed: Vec<lamassu_core::network::Cidr>) -> Self {
        let config = EstConfig {
            revocation: RevocationConfig {
                allowed_networks: allowed,
                ..RevocationConfig::default()
            },
            ..EstConfig::default()
        };
        let world = World::with(config, |devices| devices).await;
        let publisher = Publisher::new();
        let port = publisher.serve().await;
        let foreign = publisher.ca.certificate.as_der().clone();
        let import = ImportCa {
            id: CaId::from("boot"),
            certificate: CertificateDer::from_der(foreign),
            private_key: None,
            profile_id: ProfileId::default(),
            engine_id: EngineId::default(),
            parent: None,
            crl_shards: None,
        };
        world.ca.import_ca(&caller(), import).await.unwrap();
        world.root("fleet").await;
        let rules = json!({"validation_cas": ["boot"], "revocation": rule});
        let est = json!({"client_certificate_settings": rules});
        let enrollment =
            json!({"est_rfc7030_settings": est, "enable_replaceable_enrollment": true});
        world.created(dms("dms", &enrollment, &json!({}))).await;
        Self {
            world,
            publisher,
            locations: AccessLocations {
                ocsp: vec![format!("http://127.0.0.1:{port}/ocsp")],
                ca_issuers: Vec::new(),
                crl: vec![format!("http://127.0.0.1:{port}/crl")],
            },
        }
    }

    fn certificate(&self, device: &Device) -> CertificateDer {
        let any = ExtendedKeyUsageRule::Honor;
        self.publisher.ca.issue(device, any, self.locations.clone())
    }

    /// The code of what a holder of this certificate is told, `""` when it may enroll.
    async fn code(&self, certificate: &CertificateDer) -> String {
        let csr = Device::new("d").csr();
        let answer = self
            .world
            .est("simpleenroll", "dms", &csr, Some(&[certificate]))
            .await;
        match answer.status {
            StatusCode::OK => String::new(),
            _ => answer.refusal().2,
        }
    }
}

const REVOKED: &str = "client_certificate_revoked";
const UNKNOWN: &str = "client_certificate_status_unknown";

#[tokio::test]
async fn a_responder_is_asked_first_and_its_answer_kept_for_a_while() {
    let scene = Scene::new(&json!("required")).await;
    let certificate = scene.certificate(&Device::new("bootstrap"));
    scene.publisher.answers(CertStatus::Good);
    assert_eq!(scene.code(&certificate).await, "");
    assert_eq!(scene.publisher.asked(), ["ocsp"]);
    scene.publisher.answers(revoked());
    assert_eq!(scene.code(&certificate).await, "");
    assert!(scene.publisher.asked().is_empty());
    // Kept for an hour at most, whatever the answer says.
    scene.world.clock.advance(Duration::minutes(61));
    *scene.publisher.now.lock().unwrap() += Duration::minutes(61);
    assert_eq!(scene.code(&certificate).await, REVOKED);
}

#[tokio::test]
async fn a_list_is_read_where_no_responder_is_of_use() {
    let scene = Scene::new(&json!("required")).await;
    let good = scene.certificate(&Device::new("good"));
    let parsed = Certificate::from_der(good.der().clone()).unwrap();
    assert_eq!(scene.code(&good).await, UNKNOWN);
    assert_eq!(scene.publisher.asked(), ["ocsp", "crl"]);
    // That nobody answers is remembered, but not for long.
    scene.publisher.publish(&[], &scene.publisher.ca);
    assert_eq!(scene.code(&good).await, UNKNOWN);
    scene.world.clock.advance(Duration::seconds(11));
    scene.publisher.answers(CertStatus::Unknown);
    assert_eq!(scene.code(&good).await, "");
    assert_eq!(scene.publisher.asked(), ["ocsp", "crl"]);
    // The list is kept for all certificates of its issuer.
    let other = scene.certificate(&Device::new("other"));
    assert_eq!(scene.code(&other).await, "");
    assert_eq!(scene.publisher.asked(), ["ocsp"]);
    scene.world.clock.advance(Duration::hours(2));
    *scene.publisher.now.lock().unwrap() += Duration::hours(2);
    scene.publisher.publish(&[&parsed], &scene.publisher.ca);
    assert_eq!(scene.code(&good).await, REVOKED);
}

/// The list of another part knows nothing of a certificate that is not on it.
#[tokio::test]
async fn a_list_of_a_part_counts_for_who_names_its_address() {
    let scene = Scene::new(&json!("required")).await;
    let certificate = scene.certificate(&Device::new("device"));
    let parsed = Certificate::from_der(certificate.der().clone()).unwrap();
    let own = scene.locations.crl[0].clone();
    let cases = [
        (Some(own.as_str()), true, REVOKED),
        (Some("http://127.0.0.1/other"), true, REVOKED),
        (Some(own.as_str()), false, ""),
        (Some("http://127.0.0.1/other"), false, UNKNOWN),
    ];
    for (address, is_listed, expected) in cases {
        let listed: &[&Certificate] = if is_listed { &[&parsed] } else { &[] };
        let ca = &scene.publisher.ca;
        scene.publisher.publish_part(listed, ca, address);
        assert_eq!(scene.code(&certificate).await, expected, "{address:?}");
        scene.world.clock.advance(Duration::hours(2));
        *scene.publisher.now.lock().unwrap() += Duration::hours(2);
    }
}

#[tokio::test]
async fn what_the_issuer_did_not_sign_or_what_is_old_is_of_no_use() {
    let scene = Scene::new(&json!("required")).await;
    let certificate = scene.certificate(&Device::new("bootstrap"));
    let later = || scene.world.clock.advance(Duration::seconds(11));
    let stranger = ForeignCa::new();
    scene.publisher.publish(&[], &stranger);
    assert_eq!(scene.code(&certificate).await, UNKNOWN);
    later();
    *scene.publisher.now.lock().unwrap() -= Duration::days(8);
    scene.publisher.publish(&[], &scene.publisher.ca);
    scene.publisher.answers(CertStatus::Good);
    assert_eq!(scene.code(&certificate).await, UNKNOWN);
    later();
    *scene.publisher.now.lock().unwrap() += Duration::days(16);
    scene.publisher.publish(&[], &scene.publisher.ca);
    assert_eq!(scene.code(&certificate).await, UNKNOWN);
}

#[tokio::test]
async fn a_delegate_answers_only_if_the_issuer_says_so() {
    for (usage, expected) in [(oids::KP_OCSP_SIGNING, ""), (oids::KP_CLIENT_AUTH, UNKNOWN)] {
        let scene = Scene::new(&json!("required")).await;
        let certificate = scene.certificate(&Device::new("bootstrap"));
        let delegate = Device::new("responder");
        let usages: Vec<ObjectIdentifier> = vec![usage];
        let usages = ExtendedKeyUsageRule::Replace(usages);
        let no_locations = AccessLocations::default();
        let issued = scene.publisher.ca.issue(&delegate, usages, no_locations);
        let key = delegate.into_key();
        *scene.publisher.delegate.lock().unwrap() = Some((key, issued.der().clone()));
        scene.publisher.answers(CertStatus::Good);
        assert_eq!(scene.code(&certificate).await, expected, "{usage}");
    }
}

#[tokio::test]
async fn whoever_does_not_insist_lets_through_what_nobody_knows() {
    for (rule, n_asked) in [
        (Value::Null, 2),
        (json!("if_possible"), 2),
        (json!("off"), 0),
    ] {
        let scene = Scene::new(&rule).await;
        let certificate = scene.certificate(&Device::new("bootstrap"));
        assert_eq!(scene.code(&certificate).await, "", "{rule}");
        assert_eq!(scene.publisher.asked().len(), n_asked, "{rule}");
    }
}

#[tokio::test]
async fn a_certificate_does_not_lead_into_this_machine() {
    let scene = Scene::with(&json!("if_possible"), Vec::new()).await;
    scene.publisher.answers(revoked());
    let certificate = scene.certificate(&Device::new("bootstrap"));
    assert_eq!(scene.code(&certificate).await, "");
    assert!(scene.publisher.asked().is_empty());
}
