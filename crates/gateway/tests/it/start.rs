//! Reasons not to start, each one sentence.

use std::fs;
use std::path::Path;

use lamassu_gateway::hygiene::HeaderFormat;
use lamassu_gateway::{Environment, Gateway, GatewayConfig, GatewayError};
use tokio::net::TcpListener;

use crate::support::{config, openssl, parts, start};

async fn refusal(config: GatewayConfig, dir: &Path) -> String {
    Gateway::bind(config, parts(dir, None))
        .await
        .unwrap_err()
        .to_string()
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let mut https = config();
    https.https_port = Some(port);
    assert_eq!(
        refusal(https, dir.path()).await,
        format!("port {port} is already in use")
    );
    let mut http = config();
    http.http_port = Some(port);
    assert_eq!(
        refusal(http, dir.path()).await,
        format!("port {port} is already in use")
    );
}

#[tokio::test]
async fn an_unusable_key_file_is_named() {
    for file in ["ca.key", "server.key"] {
        let first = start().await;
        let key = first.dir.path().join("tls").join(file);
        fs::write(&key, "garbage").unwrap();
        let expected = format!(
            "{} holds no private key that can be used for TLS",
            key.display()
        );
        assert_eq!(refusal(config(), first.dir.path()).await, expected);
        fs::remove_file(&key).unwrap();
        fs::create_dir(&key).unwrap();
        let expected = format!("{} cannot be read", key.display());
        assert_eq!(refusal(config(), first.dir.path()).await, expected);
    }
}

#[tokio::test]
async fn configured_files_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        openssl(
            dir.path(),
            &[
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", &key,
                "-out", &pem,
            ],
        );
    }
    let with = |cert: &str, key: &str| {
        let mut config = config();
        config.tls.cert_file = Some(dir.path().join(cert));
        config.tls.key_file = Some(dir.path().join(key));
        config
    };
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = refusal(with("none.pem", "a.key"), dir.path()).await;
    assert_eq!(text, format!("{} cannot be read", path("none.pem")));
    let text = refusal(with("a.key", "a.key"), dir.path()).await;
    assert_eq!(
        text,
        format!("{} holds no readable certificate", path("a.key"))
    );
    let text = refusal(with("a.pem", "b.key"), dir.path()).await;
    let expected = format!(
        "the private key in {} does not belong to the certificate in {}",
        path("b.key"),
        path("a.pem")
    );
    assert_eq!(text, expected);
    let mut production = with("a.pem", "a.key");
    production.environment = Some(Environment::Production);
    openssl(dir.path(), &["version"]);
    fs::set_permissions(
        path("a.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let text = refusal(production, dir.path()).await;
    assert_eq!(
        text,
        format!(
            "{} may be read by other users: its mode must be 0600",
            path("a.key")
        )
    );
}

#[test]
fn a_wrong_configuration_names_its_key() {
    type Spoil = fn(&mut GatewayConfig);
    let cases: [(Spoil, &str); 8] = [
        (|c| (c.http_port, c.https_port) = (None, None), "https_port"),
        (
            |c| (c.http_port, c.https_port) = (Some(1), Some(1)),
            "http_port",
        ),
        (|c| c.domains = vec!["a b".to_owned()], "domains"),
        (|c| c.tls.cert_file = Some("x".into()), "tls.key_file"),
        (|c| c.limits.max_connections = 0, "limits.max_connections"),
        (
            |c| c.forwarded_client_certificate.hops = 0,
            "forwarded_client_certificate.hops",
        ),
        (
            |c| c.forwarded_client_certificate.trusted_proxies = vec!["::1".parse().unwrap()],
            "forwarded_client_certificate.formats",
        ),
        (
            |c| {
                let forwarded = &mut c.forwarded_client_certificate;
                forwarded.trusted_proxies = vec!["::1".parse().unwrap()];
                forwarded.formats = vec![HeaderFormat::Envoy, HeaderFormat::Nginx];
            },
            "forwarded_client_certificate.formats",
        ),
    ];
    for (spoil, expected) in cases {
        let mut config = config();
        spoil(&mut config);
        match config.validate().unwrap_err() {
            GatewayError::Config { key, .. } => assert_eq!(key, expected),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_empty_configuration_is_the_default_one() {
    let config: GatewayConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(
        (config.http_port, config.https_port),
        (Some(8080), Some(8443))
    );
    let text = r#"{"environment": "production", "tls": {"max_version": "1.2"},
        "timeouts": {"idle": "1m30s"}, "http_port": null,
        "forwarded_client_certificate": {"trusted_proxies": ["10.0.0.0/8"], "formats": ["aws_alb"]}}"#;
    let config: GatewayConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.timeouts.idle.as_secs(), 90);
    assert_eq!(config.http_port, None);
    config.validate().unwrap();
}
