//! Who gets in, and whom we trust.

use std::error::Error;
use std::sync::Arc;

use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_db::{Db, DbError, OpenError, PostgresOptions, TlsMode, TlsOptions};
use lamassu_testing::{PostgresServer, TlsFiles};
use secrecy::SecretString;

async fn open(options: PostgresOptions) -> Result<Db, OpenError> {
    let clock: SharedClock = Arc::new(SystemClock);
    Db::open_postgres(options, clock).await
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

async fn refusal(options: PostgresOptions) -> String {
    match open(options).await {
        Ok(_) => panic!("let in"),
        Err(error) => chain(&error),
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_told_as_such() {
    let server = PostgresServer::start(&["fsync=off"]).expect("server");
    server
        .psql("CREATE USER guest PASSWORD 'right'; GRANT CREATE ON DATABASE postgres TO guest")
        .expect("user");
    server
        .set_access(&["host all guest 127.0.0.1/32 scram-sha-256"])
        .expect("access");
    let guest = |password: Option<&str>| PostgresOptions {
        user: "guest".to_owned(),
        password: password.map(SecretString::from),
        ..server.fresh_schema()
    };
    open(guest(Some("right"))).await.expect("let in");
    let wrong = open(guest(Some("wrong"))).await.expect_err("wrong");
    let OpenError::Start(lamassu_db::CommitError::Db(DbError::Refused(_))) = &wrong else {
        panic!("{wrong:?}");
    };
    assert_eq!(
        chain(&wrong),
        "the database cannot be opened: the database server refused the login: db error: FATAL: \
         password authentication failed for user \"guest\""
    );
    let none = refusal(guest(None)).await;
    assert!(none.contains("password missing"), "{none}");
    let missing = refusal(PostgresOptions {
        database: "nowhere".to_owned(),
        ..guest(Some("right"))
    })
    .await;
    assert!(missing.contains("refused the login"), "{missing}");
    assert!(
        missing.contains("database \"nowhere\" does not exist"),
        "{missing}"
    );
}

#[tokio::test]
async fn tls_is_what_its_mode_says() {
    let files = TlsFiles::make().expect("certificates");
    let path = |path: std::path::PathBuf| format!("'{}'", path.display());
    let server = PostgresServer::start(&[
        "fsync=off",
        "ssl=on",
        &format!("ssl_cert_file={}", path(files.certificate("server"))),
        &format!("ssl_key_file={}", path(files.key("server"))),
        &format!("ssl_ca_file={}", path(files.certificate("ca"))),
    ])
    .expect("server");
    server
        .set_access(&[
            "hostssl all lamassu 127.0.0.1/32 trust",
            "hostssl all lamassu ::1/128 trust",
        ])
        .expect("access");
    let options = |host: &str, mode, ca: Option<&str>| PostgresOptions {
        hosts: vec![(host.to_owned(), server.port())],
        tls: TlsOptions {
            mode,
            ca_cert_file: ca.map(|name| files.certificate(name)),
            client: None,
        },
        ..server.fresh_schema()
    };
    for (host, mode, ca) in [
        ("localhost", TlsMode::VerifyFull, Some("ca")),
        ("127.0.0.1", TlsMode::VerifyCa, Some("ca")),
        ("127.0.0.1", TlsMode::Require, None),
    ] {
        let db = open(options(host, mode, ca)).await;
        let db = db.unwrap_or_else(|error| panic!("{host} {mode:?}: {}", chain(&error)));
        let query = lamassu_db::sql(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            Vec::new(),
        );
        let row = db.row_opt(query).await.expect("query").expect("row");
        assert!(row.get::<bool>("ssl").expect("a boolean"));
        db.close().await;
    }
    for (host, mode, ca, expected) in [
        (
            "127.0.0.1",
            TlsMode::VerifyFull,
            Some("ca"),
            "not valid for name",
        ),
        (
            "localhost",
            TlsMode::VerifyFull,
            Some("other-ca"),
            "UnknownIssuer",
        ),
        (
            "127.0.0.1",
            TlsMode::VerifyCa,
            Some("other-ca"),
            "UnknownIssuer",
        ),
        ("127.0.0.1", TlsMode::Disable, None, "no pg_hba.conf entry"),
        ("localhost", TlsMode::VerifyCa, None, "need ca_cert_file"),
    ] {
        let told = refusal(options(host, mode, ca)).await;
        assert!(told.contains(expected), "{host} {mode:?}: {told}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_called_so() {
    let server = PostgresServer::start(&["fsync=off"]).expect("server");
    let options = PostgresOptions {
        tls: TlsOptions {
            mode: TlsMode::Require,
            ca_cert_file: None,
            client: None,
        },
        ..server.fresh_schema()
    };
    let told = refusal(options).await;
    let expected = "refused the login: it has no TLS, and sslmode asks for TLS";
    assert!(told.contains(expected), "{told}");
}

#[tokio::test]
async fn a_client_certificate_is_a_login() {
    let files = TlsFiles::make().expect("certificates");
    let path = |path: std::path::PathBuf| format!("'{}'", path.display());
    let server = PostgresServer::start(&[
        "fsync=off",
        "ssl=on",
        &format!("ssl_cert_file={}", path(files.certificate("server"))),
        &format!("ssl_key_file={}", path(files.key("server"))),
        &format!("ssl_ca_file={}", path(files.certificate("ca"))),
    ])
    .expect("server");
    server
        .set_access(&["hostssl all lamassu 127.0.0.1/32 cert"])
        .expect("access");
    let options = |client: Option<&str>| PostgresOptions {
        tls: TlsOptions {
            mode: TlsMode::VerifyCa,
            ca_cert_file: Some(files.certificate("ca")),
            client: client.map(|name| (files.certificate(name), files.key(name))),
        },
        ..server.fresh_schema()
    };
    let db = open(options(Some("client"))).await.expect("let in");
    db.ping().await.expect("in use");
    db.close().await;
    let none = refusal(options(None)).await;
    assert!(none.contains("valid client certificate"), "{none}");
}
