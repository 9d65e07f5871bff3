//! Identity headers: removed from strangers, read from trusted proxies.

use std::fmt::Write;
use std::fs;

use lamassu_gateway::hygiene::HeaderFormat;

use crate::support::{Running, client_certificate, config, start, start_with, text};

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

fn percent_encoded(pem: &[u8]) -> String {
    pem.iter().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

/// The three headers, each with the certificate `victim`.
fn headers(gateway: &Running) -> [String; 3] {
    client_certificate(gateway.dir.path(), "victim", P256);
    let pem = percent_encoded(&fs::read(gateway.dir.path().join("victim.pem")).unwrap());
    [
        format!("X-Forwarded-Client-Cert: Hash=00;Chain=\"{pem}\""),
        format!("Ssl-Client-Cert: {pem}"),
        format!("X-Amzn-Mtls-Clientcert: {pem}"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_header_does_nothing_and_does_not_arrive() {
    let gateway = start().await;
    for header in headers(&gateway) {
        let claims = [
            "-H",
            &header,
            "-H",
            "X-Lms-Source: service/ra",
            "-H",
            "X-Forwarded-For: 6.6.6.6",
            "-H",
            "X-Lms-Principal: e30",
            "-H",
            "X-Envoy-Internal: true",
        ];
        let reply = text(&gateway.curl("/whoami", &claims).await);
        assert!(reply.contains("client=None"), "{reply}");
        assert!(reply.starts_with("peer=127.0.0.1 "), "{reply}");
        for name in ["cert", "x-lms", "x-envoy"] {
            assert!(!reply.contains(name), "{name}: {reply}");
        }
    }
}

/// A gateway behind a proxy on this machine that writes `format`.
async fn behind_proxy(format: HeaderFormat) -> Running {
    let mut config = config();
    config.forwarded_client_certificate.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config.forwarded_client_certificate.formats = vec![format];
    start_with(config, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_hands_over_its_clients_certificate_in_its_own_format_only() {
    for (n, format) in [
        HeaderFormat::Envoy,
        HeaderFormat::Nginx,
        HeaderFormat::AwsAlb,
    ]
    .into_iter()
    .enumerate()
    {
        let gateway = behind_proxy(format).await;
        for (m, header) in headers(&gateway).iter().enumerate() {
            let reply = text(&gateway.curl("/whoami", &["-H", header]).await);
            let expected = if m == n {
                "client=Some(\"victim\") length=1"
            } else {
                "client=None"
            };
            assert!(reply.contains(expected), "{format:?}: {reply}");
            assert!(!reply.contains("cert,"), "{reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_or_unreadable_header_of_a_proxy_says_nothing() {
    let gateway = behind_proxy(HeaderFormat::Nginx).await;
    let [_, nginx, _] = headers(&gateway);
    let shifted = nginx.replace(
        "Cert: ",
        "Cert: -----BEGIN%20CERTIFICATE-----%0AAAAA%0A-----END%20CERTIFICATE-----%0A",
    );
    let refused: [&[&str]; 3] = [
        &["-H", &nginx, "-H", &nginx],
        &["-H", &shifted],
        &["-H", "Ssl-Client-Cert: %2D%2D%2D%2D"],
    ];
    for options in refused {
        let reply = text(&gateway.curl("/whoami", options).await);
        assert!(reply.contains("client=None"), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_own_certificate_is_not_its_clients() {
    let gateway = behind_proxy(HeaderFormat::Nginx).await;
    let [_, nginx, _] = headers(&gateway);
    client_certificate(gateway.dir.path(), "proxy", P256);
    let file = |name: &str| gateway.dir.path().join(name).display().to_string();
    let own = ["--cert", &file("proxy.pem"), "--key", &file("proxy.key")];
    let reply = text(&gateway.curl("/whoami", &own).await);
    assert!(reply.contains("client=None"), "{reply}");
    let twice = [&own[..], &["-H", &nginx, "-H", &nginx]].concat();
    let reply = text(&gateway.curl("/whoami", &twice).await);
    assert!(reply.contains("client=None"), "{reply}");
    let once = [&own[..], &["-H", &nginx]].concat();
    let reply = text(&gateway.curl("/whoami", &once).await);
    assert!(reply.contains("client=Some(\"victim\")"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_the_first_address_from_the_right_that_is_no_proxy() {
    let gateway = behind_proxy(HeaderFormat::Nginx).await;
    let path = ["-H", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.3"];
    let reply = text(&gateway.curl("/whoami", &path).await);
    assert!(reply.starts_with("peer=203.0.113.9 "), "{reply}");
    let unreadable = [
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "X-Forwarded-For: \u{fc}",
    ];
    let reply = text(&gateway.curl("/whoami", &unreadable).await);
    assert!(reply.starts_with("peer=127.0.0.1 "), "{reply}");
}
