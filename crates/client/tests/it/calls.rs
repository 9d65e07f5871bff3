use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lamassu_client::{
    Authorization, CaClient, Credentials, CredentialsError, DeviceClient, KmsClient, NoAuth, Peer,
};
use lamassu_core::ca::{
    CaError, CaService as _, CreateCa, KeySource, ProfileChoice, SignCsr, Validity,
};
use lamassu_core::caller::Principal;
use lamassu_core::device::{CreateDevice, DeviceError, DeviceService as _, DeviceStats};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{CreateKey, KmsError, KmsService as _};
use lamassu_core::query::ListRequest;
use lamassu_core::subject::Subject;

use crate::server::{Act, Server, answer, answer_text, caller};

const STATS: &str = r#"{"total":3,"status_distribution":{}}"#;

async fn stats(peer: &Peer) -> Result<DeviceStats, DeviceError> {
    let client = DeviceClient::new(peer);
    client.stats(&caller(), &ListRequest::default()).await
}

fn unavailable(error: &DeviceError) -> bool {
    matches!(
        error,
        DeviceError::Storage(StorageFailure::PeerAway(_) | StorageFailure::Unavailable(_))
    )
}

/// A token per call of [`Credentials::refused`].
#[derive(Debug, Default)]
struct Counted(AtomicU32);

#[async_trait]
impl Credentials for Counted {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        let n = self.0.load(Ordering::SeqCst);
        Authorization::bearer(&format!("token-{n}").into()).map(Some)
    }

    fn refused(&self, refused: &Authorization) {
        assert!(refused.value.is_sensitive());
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn every_call_says_who_asks_through_what_and_why() {
    let server = Server::start(vec![answer(200, "", STATS)]).await;
    let peer = server.peer_with(|_| {}, Arc::new(Counted::default()));
    assert_eq!(stats(&peer).await.unwrap().total, 3);
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("GET /api/devmanager/v1/stats"), "{asked}");
    for line in [
        "authorization: Bearer token-0",
        "x-lms-source: service/ra",
        "x-request-id: request-7",
        "traceparent: 00-00000000000000000000000000000abc-0000000000000def-01",
    ] {
        assert!(asked.lines().any(|sent| sent == line), "{line} in {asked}");
    }
    let principal = asked
        .lines()
        .find_map(|line| line.strip_prefix("x-lms-principal: "));
    let principal = Principal::from_header(principal.unwrap());
    assert_eq!(principal, Some(caller().principal));
}

#[tokio::test]
async fn a_source_of_the_callers_own_is_passed_on() {
    let server = Server::start(vec![answer(200, "", STATS)]).await;
    let client = DeviceClient::new(&server.peer());
    let caller = caller().from_source("service/other");
    let asked = client.stats(&caller, &ListRequest::default()).await;
    assert_eq!(asked.unwrap().total, 3);
    assert!(server.asked()[0].contains("x-lms-source: service/other\r\n"));
}

#[tokio::test]
async fn connections_are_used_again_and_a_base_path_replaces_the_prefix() {
    let server = Server::start(vec![answer(200, "", STATS)]).await;
    let peer = server.peer_with(
        |config| config.base_path = "/x/".to_owned(),
        Arc::new(NoAuth),
    );
    for _ in 0..3 {
        stats(&peer).await.unwrap();
    }
    assert!(server.asked()[2].starts_with("GET /x/v1/stats"));
}

#[tokio::test]
async fn reads_are_repeated_until_the_server_is_well() {
    for ill in [answer(502, "", ""), answer(504, "", "<html>"), Act::Close] {
        let server = Server::start(vec![ill.clone(), ill, answer(200, "", STATS)]).await;
        assert_eq!(stats(&server.peer()).await.unwrap().total, 3);
        assert_eq!(server.n_asked(), 3);
    }
}

#[tokio::test]
async fn reads_are_repeated_three_times_and_no_more() {
    let server = Server::start(vec![answer(502, "", "")]).await;
    let failed = stats(&server.peer()).await.unwrap_err();
    assert!(unavailable(&failed), "{failed:?}");
    assert_eq!(server.n_asked(), 1 + 3);
}

#[tokio::test]
async fn what_may_have_been_executed_is_not_repeated() {
    let unknown =
        |error: CaError| matches!(error, CaError::Storage(StorageFailure::OutcomeUnknown(_)));
    for ill in [answer(502, "", ""), answer(504, "", ""), Act::Close] {
        let server = Server::start(vec![ill]).await;
        let client = CaClient::new(&server.peer());
        let request = SignCsr {
            csr: None,
            profile: Default::default(),
            verify_csr_signature: None,
        };
        let failed = client.sign_csr(&caller(), &"ca".into(), request).await;
        assert!(unknown(failed.unwrap_err()));
        assert_eq!(server.n_asked(), 1);
    }
    let busy = answer(
        503,
        "retry-after: 0\r\n",
        r#"{"err":"key generation queue is full"}"#,
    );
    let server = Server::start(vec![busy]).await;
    let client = KmsClient::new(&server.peer());
    let failed = client.create_key(&caller(), CreateKey::default()).await;
    assert!(matches!(failed, Err(KmsError::Busy)), "{failed:?}");
    assert_eq!(server.n_asked(), 1);
}

#[tokio::test]
async fn what_never_arrived_is_sent_again_whatever_it_is() {
    // A port that nobody listens on.
    let server = Server::start(vec![Act::Close]).await;
    let peer = server.peer_with(
        |config| {
            config.port = 1;
            config.retries = 2;
        },
        Arc::new(NoAuth),
    );
    let began = Instant::now();
    let client = DeviceClient::new(&peer);
    let failed = client
        .create_device(&caller(), CreateDevice::default())
        .await;
    let failed = failed.unwrap_err();
    assert!(unavailable(&failed), "{failed:?}");
    // Two waits of at least 50 and 100 ms show that it was tried three times.
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn silence_ends_with_the_time_out() {
    let server = Server::start(vec![Act::Silence]).await;
    let peer = server.peer_with(
        |config| config.timeout = WireDuration::from_nanos(200_000_000),
        Arc::new(NoAuth),
    );
    let failed = stats(&peer).await.unwrap_err();
    assert!(unavailable(&failed), "{failed:?}");
    let client = DeviceClient::new(&peer);
    let failed = client
        .create_device(&caller(), CreateDevice::default())
        .await;
    assert!(matches!(
        failed,
        Err(DeviceError::Storage(StorageFailure::OutcomeUnknown(_)))
    ));
    assert_eq!(server.n_asked(), 2);
}

/// RSA keys of 8192 bits take longer than other calls may, on a slow machine or behind others.
#[tokio::test]
async fn whoever_makes_a_key_is_waited_for_longer() {
    let late = Act::Late(
        Duration::from_millis(600),
        answer_text(400, "", r#"{"err":"struct validation error"}"#),
    );
    let server = Server::start(vec![late]).await;
    let peer = server.peer_with(
        |config| config.timeout = WireDuration::from_nanos(200_000_000),
        Arc::new(NoAuth),
    );
    let keys = KmsClient::new(&peer);
    let made = keys.create_key(&caller(), CreateKey::default()).await;
    assert!(matches!(made, Err(KmsError::Validation)), "{made:?}");
    let authorities = CaClient::new(&peer);
    let request = CreateCa {
        id: "ca".into(),
        parent: None,
        subject: Subject::default(),
        key: KeySource::New {
            key_type: "RSA".to_owned(),
            bits: 8192,
            engine_id: "".into(),
        },
        expiration: Validity::default(),
        profile_id: "profile".into(),
        metadata: serde_json::Map::new(),
        ca_profile: ProfileChoice::Default,
        crl_shards: None,
    };
    let made = authorities.create_ca(&caller(), request).await;
    let refused = made.unwrap_err().to_string();
    assert!(refused.contains("struct validation error"), "{refused}");
    assert!(unavailable(&stats(&peer).await.unwrap_err()));
}

#[tokio::test]
async fn retry_after_is_waited_for_within_the_time_out() {
    let later = |seconds: u32| answer(503, &format!("retry-after: {seconds}\r\n"), "");
    let server = Server::start(vec![later(1), answer(200, "", STATS)]).await;
    let began = Instant::now();
    assert_eq!(stats(&server.peer()).await.unwrap().total, 3);
    assert!(began.elapsed() >= Duration::from_secs(1));

    let server = Server::start(vec![later(3600)]).await;
    let failed = stats(&server.peer()).await.unwrap_err();
    assert!(unavailable(&failed), "{failed:?}");
    assert_eq!(server.n_asked(), 1);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let refused = answer(
        401,
        "www-authenticate: Bearer error=\"invalid_token\"\r\n",
        r#"{"err":"token expired","code":"token_expired"}"#,
    );
    let device = r#"{"err":"device already exists"}"#;
    let server = Server::start(vec![refused.clone(), answer(409, "", device)]).await;
    let peer = server.peer_with(|_| {}, Arc::new(Counted::default()));
    let client = DeviceClient::new(&peer);
    // Nothing was executed, so what may not be repeated is sent again too.
    let answered = client
        .create_device(&caller(), CreateDevice::default())
        .await;
    assert!(matches!(answered, Err(DeviceError::Exists)), "{answered:?}");
    let asked = server.asked();
    assert!(asked[0].contains("authorization: Bearer token-0\r\n"));
    assert!(asked[1].contains("authorization: Bearer token-1\r\n"));

    let server = Server::start(vec![refused]).await;
    let peer = server.peer_with(|_| {}, Arc::new(Counted::default()));
    let failed = stats(&peer).await;
    assert!(matches!(
        failed,
        Err(DeviceError::Storage(StorageFailure::Internal(_)))
    ));
    assert_eq!(server.n_asked(), 2);
}

#[tokio::test]
async fn answers_are_bounded() {
    let server = Server::start(vec![answer(200, "", STATS)]).await;
    let peer = server.peer_with(
        |config| config.max_response_bytes = STATS.len() - 1,
        Arc::new(NoAuth),
    );
    let failed = stats(&peer).await;
    assert!(matches!(
        failed,
        Err(DeviceError::Storage(StorageFailure::Internal(_)))
    ));
    assert_eq!(server.n_asked(), 1);
}

#[tokio::test]
async fn answers_that_are_no_json_are_failures() {
    let server = Server::start(vec![answer(200, "", "{\"total\":")]).await;
    assert!(matches!(
        stats(&server.peer()).await,
        Err(DeviceError::Storage(StorageFailure::Internal(_)))
    ));
    let client = DeviceClient::new(&server.peer());
    assert!(matches!(
        client
            .create_device(&caller(), CreateDevice::default())
            .await,
        Err(DeviceError::Storage(StorageFailure::OutcomeUnknown(_)))
    ));
    assert_eq!(server.n_asked(), 2);
}

#[tokio::test]
async fn ids_stay_inside_their_segment() {
    let gone = answer(404, "", r#"{"err":"key not found"}"#);
    let server = Server::start(vec![gone]).await;
    let client = KmsClient::new(&server.peer());
    for (key, path) in [
        ("..", "/api/kms/v1/keys/%2E%2E "),
        ("a/b?c", "/api/kms/v1/keys/a%2Fb%3Fc "),
    ] {
        let found = client.key(&caller(), &KeyRef::from(key)).await;
        assert!(matches!(found, Err(KmsError::KeyNotFound)));
        assert!(server.asked().last().unwrap().contains(path), "{key}");
    }
    let empty = client.key(&caller(), &KeyRef::default()).await;
    assert!(matches!(empty, Err(KmsError::KeyNotFound)));
    assert_eq!(server.n_asked(), 2);
}
