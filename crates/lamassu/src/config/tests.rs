use clap::Parser as _;
use lamassu_auth::Mode;
use lamassu_core::query::UnknownFields;
use lamassu_gateway::Environment;
use lamassu_gateway::config::{ClientCertificateMode, TlsVersion};

use super::Config;
use crate::cli::{Cli, Command};

/// The configuration of a start with this file and these further arguments.
fn start(file: &str, arguments: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    std::fs::write(&path, file).unwrap();
    let line = format!("lamassu serve --config {} {arguments}", path.display());
    match Cli::try_parse_from(line.split_whitespace())
        .unwrap()
        .command
    {
        Command::Serve(serve) => Config::for_serve(&serve).map_err(|error| format!("{error:#}")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_environment_sets_defaults_wherever_it_is_named() {
    for (file, arguments) in [
        ("environment: production", ""),
        ("{}", "--environment production"),
    ] {
        let config = start(file, arguments).unwrap();
        assert_eq!(config.environment, Some(Environment::Production));
        assert_eq!(config.gateway.environment, Some(Environment::Production));
        assert!(!config.est.allow_no_auth, "{file} {arguments}");
    }
    assert!(start("{}", "").unwrap().est.allow_no_auth);
    let loosened = start("est: {allow_no_auth: true}", "--environment production").unwrap();
    assert!(loosened.est.allow_no_auth);
}

#[test]
fn the_command_line_wins_over_the_file() {
    let config = start("gateway: {http_port: 1, https_port: 2}", "--https-port 3").unwrap();
    assert_eq!(
        (config.gateway.http_port, config.gateway.https_port),
        (Some(1), Some(3))
    );
}

#[test]
fn listeners_are_off_without_value_and_nothing_else_changes() {
    let off = "gateway: {http_port: null, metrics: {listen: null}, listen_address: null}\n\
               storage: {provider: null}";
    let config = start(off, "").unwrap();
    assert_eq!(config.gateway.http_port, None);
    assert_eq!(config.gateway.metrics.listen, None);
    let usual = start("{}", "").unwrap();
    assert!(usual.gateway.http_port.is_some() && usual.gateway.metrics.listen.is_some());
    assert_eq!(config.gateway.https_port, usual.gateway.https_port);
    assert_eq!(config.storage.provider, usual.storage.provider);
}

#[test]
fn certificates_get_the_addresses_of_all_domains_and_only_chosen_ports() {
    let addresses =
        |file: &str, arguments: &str| start(file, arguments).unwrap().ca.va_server_domains;
    let cases = [
        ("{}", "", &[][..]),
        ("{}", "--domain pki.example", &["pki.example/api/va"]),
        (
            "{}",
            "--domain pki.example --http-port 8080",
            &["pki.example:8080/api/va"],
        ),
        (
            "{}",
            "--domain pki.example --http-port 80",
            &["pki.example/api/va"],
        ),
        (
            "{}",
            "--domain pki.example --http-port 0",
            &["pki.example/api/va"],
        ),
        (
            "domains: [a.example]",
            "--domain b.example --http-port 81",
            &["a.example:81/api/va", "b.example:81/api/va"],
        ),
        (
            "ca: {va_server_domains: [x.example/va]}",
            "--domain b.example",
            &["x.example/va"],
        ),
    ];
    for (file, arguments, expected) in cases {
        assert_eq!(addresses(file, arguments), expected, "{file} {arguments}");
        let config = start(file, arguments).unwrap();
        assert!(
            config
                .domains
                .iter()
                .all(|domain| config.gateway.domains.contains(domain))
        );
    }
}

#[test]
fn an_unknown_key_is_refused_when_asked_with_the_one_that_was_meant() {
    let refused = start("gatway: {}", "--strict-config").unwrap_err();
    assert_eq!(
        refused,
        "unknown configuration key gatway (did you mean gateway?)"
    );
    let refused = start("est: {defualt_dms: x}", "--strict-config").unwrap_err();
    assert_eq!(
        refused,
        "unknown configuration key est.defualt_dms (did you mean est.default_dms?)"
    );
    let refused = start(
        "storage: {provider: postgres, host: db, username: x}",
        "--strict-config",
    );
    assert_eq!(
        refused.unwrap_err(),
        "unknown configuration key storage.host (did you mean storage.hostname?)"
    );
    start("gatway: {}", "").unwrap();
}

#[test]
fn a_wrong_value_is_refused_with_its_key() {
    let refused = start("gateway: {https_port: many}", "").unwrap_err();
    assert!(refused.starts_with("gateway.https_port"), "{refused}");
    let refused = start("est: {clock_skew: -1s}", "").unwrap_err();
    assert_eq!(refused, "est.clock_skew must not be negative");
}

#[test]
fn authentication_is_read_at_the_top_and_below_gateway_but_not_twice() {
    use lamassu_auth::Mode;
    for file in [
        "authentication: {mode: \"off\"}",
        "gateway: {authentication: {mode: \"off\"}}",
    ] {
        assert_eq!(
            start(file, "--strict-config").unwrap().authentication.mode,
            Mode::Off,
            "{file}"
        );
    }
    let both = "authentication: {mode: \"off\"}\ngateway: {authentication: {mode: \"off\"}}";
    assert!(start(both, "").unwrap_err().contains("twice"));
}

#[test]
fn everything_is_printed_but_secrets() {
    let file =
        "crypto_engines: [{id: f, type: filesystem, storage_directory: /k, passphrase: hush}]";
    let text = start(file, "").unwrap().to_text().unwrap();
    assert!(
        text.contains("\"default_id\": \"f\"") && text.contains("\"data_dir\""),
        "{text}"
    );
    assert!(!text.contains("hush"));
}

#[test]
fn a_misspelt_option_of_an_engine_is_always_refused() {
    let file =
        "crypto_engines: [{id: f, type: filesystem, storage_directory: /k, pasphrase_file: /p}]";
    let refused = start(file, "").unwrap_err();
    assert!(
        refused.starts_with("crypto_engines: f: unknown field `pasphrase_file`"),
        "{refused}"
    );
}

#[test]
fn one_block_bounds_the_lists_of_every_service() {
    let file = "query: {max_page_size: 50, strict_query: true}";
    let query = start(file, "--strict-config").unwrap().query;
    assert_eq!(query.max_page_size.get(), 50);
    assert_eq!(query.unknown_fields, UnknownFields::Refuse);
    let refused = start("query: {max_page_size: 0}", "").unwrap_err();
    assert!(refused.contains("max_page_size"), "{refused}");
}

/// What a chart of the reference renders for its CA service, empty scalars included.
const REFERENCE_CA: &str = "
otel: {traces: {enabled: false, hostname: , port: }}
logs: {level: debug}
openapi: {enabled: true}
server: {logLevel: , log_level: debug, health_check: false, listen_address: 0.0.0.0, port: \"8085\", protocol: http}
publisher_event_bus: {log_level: , enabled: false, provider: amqp, protocol: amqp, hostname: mq, port: 5672, basic_auth: {enabled: true, username: user, password: 12345}}
Storage: {log_level: , provider: postgres, hostname: db, port: 5432, username: admin, password: 0012}
kms_client: {log_level: , auth_mode: noauth, protocol: http, base_path: , hostname: kms, port: 8085}
certificate_monitoring_job: {enabled: true, frequency: \"* * * * *\", automatic_ca_rotation: {enabled: false, renewal_delta: 10d}}
va_server_domains: [dev.lamassu.test/api/va]
allow_cascade_delete: true
";

fn reference(file: &str) -> Result<Config, String> {
    start(file, "--services ca --reference-config /nowhere")
}

#[test]
fn files_of_the_reference_are_read() {
    let config = reference(REFERENCE_CA).unwrap();
    assert_eq!(config.ca.va_server_domains, ["dev.lamassu.test/api/va"]);
    assert!(config.ca.certificate_monitoring_job.enabled);
    assert_eq!(config.kms_client.hostname, "kms");
    assert!(config.storage.is_shared());
    assert_eq!(config.authentication.mode, Mode::Passthrough);

    // Off where nothing is said, as there; and nobody is let in who was kept out there.
    let silent = REFERENCE_CA.replace("certificate_monitoring_job", "openapi_too");
    assert!(
        !reference(&silent)
            .unwrap()
            .ca
            .certificate_monitoring_job
            .enabled
    );
}

/// The reference's file with this for `protocol` and what follows it in `server`.
fn with_server(rest: &str) -> String {
    REFERENCE_CA.replace(
        "protocol: http}\npublisher",
        &format!("{rest}}}\npublisher"),
    )
}

const MUTUAL: &str =
    "protocol: https, authentication: {mutual_tls: {enabled: true, ca_cert_file: /ca.pem}";

#[test]
fn a_listener_asks_for_certificates_as_the_reference_does() {
    let listener = |rest: &str| {
        let config = reference(&with_server(rest)).unwrap();
        let metrics = config.gateway.metrics.clone();
        config.server.listener(&config.gateway, metrics).tls
    };
    let ca = Some("/ca.pem".into());
    let mode = |word: &str| {
        let rest = MUTUAL.replace("enabled", &format!("validation_mode: {word}, enabled"));
        let tls = listener(&format!("{rest}}}"));
        assert_eq!(tls.max_version, TlsVersion::V1_2, "{word}");
        (tls.client_certificate, tls.client_ca_file)
    };
    assert_eq!(mode("strict"), (ClientCertificateMode::Any, ca.clone()));
    assert_eq!(mode("STRICTER"), (ClientCertificateMode::Any, ca.clone()));
    assert_eq!(mode(""), (ClientCertificateMode::Any, ca));
    assert_eq!(mode("any"), (ClientCertificateMode::Any, None));
    assert_eq!(mode("request"), (ClientCertificateMode::Request, None));

    let raised = listener(&format!("tls: {{max_version: \"1.3\"}}, {MUTUAL}}}"));
    assert_eq!(raised.max_version, TlsVersion::V1_3);
    let off = listener(&format!("{}}}", MUTUAL.replace("true", "false")));
    assert_eq!(
        (off.client_ca_file, off.max_version),
        (None, TlsVersion::V1_3)
    );
}

#[test]
fn certificates_are_not_asked_for_in_vain() {
    let refused = |rest: &str| reference(&with_server(rest)).unwrap_err();
    let plain = refused(&format!("{}}}", MUTUAL.replace("https", "http")));
    assert_eq!(
        plain,
        "server: authentication.mutual_tls needs protocol https"
    );
    let nobody = refused(&format!(
        "{}}}",
        MUTUAL.replace(", ca_cert_file: /ca.pem", "")
    ));
    assert!(nobody.contains("needs ca_cert_file"), "{nobody}");
    let file = format!("server: {{{MUTUAL}}}}}");
    let alone = start(&file, "").unwrap_err();
    assert!(alone.contains("no listener of services"), "{alone}");
    let misspelt = MUTUAL.replace("ca_cert_file", "ca_cert_fil");
    let file = with_server(&format!("{misspelt}}}"));
    let unknown = start(&file, "--services ca --strict-config").unwrap_err();
    assert!(
        unknown.contains("did you mean server.authentication.mutual_tls.ca_cert_file?"),
        "{unknown}"
    );
    let unsaid = "authentication: {client_certificate: {enabled: true}}";
    let nobody = start(unsaid, "").unwrap_err();
    assert!(
        nobody.contains("client_certificate needs ca_cert_files"),
        "{nobody}"
    );
}

#[test]
fn authentication_of_one_service_is_read_below_server() {
    // Certificates alone leave the rest as it is in the reference: nobody is asked who they are.
    let config = reference(&with_server(&format!("{MUTUAL}}}"))).unwrap();
    assert_eq!(config.authentication.mode, Mode::Passthrough);
    let ours = start(&with_server(&format!("{MUTUAL}}}")), "--services ca").unwrap();
    assert_eq!(ours.authentication.mode, Mode::Enforce);

    let assigned = format!(
        "{MUTUAL}, client_certificate: {{enabled: true, role_mappings: {{Jane: [auditor]}}}}}}"
    );
    let config = reference(&with_server(&assigned)).unwrap();
    assert_eq!(config.authentication.mode, Mode::Enforce);
    let certificates = &config.authentication.client_certificate;
    assert_eq!(certificates.role_mappings["Jane"], ["auditor"]);
    // Those who connect are those whom the handshake believed.
    assert_eq!(
        certificates.ca_cert_files,
        [std::path::PathBuf::from("/ca.pem")]
    );

    let twice = format!(
        "{}authentication: {{mode: enforce}}\n",
        with_server(&assigned)
    );
    assert!(reference(&twice).unwrap_err().contains("twice"));
    let word = with_server("protocol: http, authentication: enforce");
    assert_eq!(
        reference(&word).unwrap_err(),
        "server.authentication is no block"
    );
}

#[test]
fn nobody_is_believed_unseen_in_production() {
    let file = "kms_client: {insecure_skip_verify: true}";
    start(file, "").unwrap();
    let refused = start(file, "--environment production").unwrap_err();
    assert!(
        refused.starts_with("kms_client.insecure_skip_verify"),
        "{refused}"
    );
}

#[test]
fn only_a_name_of_the_reference_switches_authentication_off() {
    let ours = start(REFERENCE_CA, "--services ca").unwrap();
    assert_eq!(ours.authentication.mode, Mode::Enforce);
    let said = format!("{REFERENCE_CA}authentication: {{mode: enforce}}\n");
    assert_eq!(reference(&said).unwrap().authentication.mode, Mode::Enforce);
}

#[test]
fn rows_never_go_to_another_database_than_meant() {
    let refusal = start("storage: {hostname: db, username: x}", "").unwrap_err();
    assert!(refusal.contains("storage.provider"), "{refusal}");
    let refusal = start("{}", "--services ca").unwrap_err();
    assert!(refusal.contains("share"), "{refusal}");
    let secret = start("storage: {provider: postgres, password: [1, 2]}", "").unwrap_err();
    assert!(secret.contains("quote it"), "{secret}");
}
