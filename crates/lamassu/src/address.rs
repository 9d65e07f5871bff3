//! A server at an address that somebody names.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_client::{ClientConfig, Protocol};

/// How the server at this URL is reached. Its certificate may also be one that `anchor` vouches for.
///
/// # Errors
/// It is no URL of a server.
pub(crate) fn at(url: &str, anchor: Option<PathBuf>) -> Result<ClientConfig> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    let protocol = match uri.scheme_str() {
        Some("http") => Protocol::Http,
        Some("https") => Protocol::Https,
        Some(_) | None => bail!("{url} begins with neither http:// nor https://"),
    };
    let host = uri.host().context("the URL names no host")?;
    ensure!(
        matches!(uri.path(), "" | "/") && uri.query().is_none(),
        "{url} names more than a server: leave out what comes behind the host and its port"
    );
    Ok(ClientConfig {
        protocol,
        hostname: host.to_owned(),
        port: uri.port_u16().unwrap_or_else(|| protocol.default_port()),
        ca_cert_file: anchor.filter(|_| protocol == Protocol::Https),
        ..ClientConfig::default()
    })
}

/// The address of a server: scheme, host and port.
pub(crate) fn origin(server: &ClientConfig) -> String {
    let scheme = server.protocol.scheme();
    format!("{scheme}://{}:{}", server.hostname, server.port)
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn only_a_server_is_named() {
        let found = at("https://pki.example", Some("ca.pem".into())).unwrap();
        assert_eq!((found.hostname.as_str(), found.port), ("pki.example", 443));
        assert_eq!(found.ca_cert_file, Some("ca.pem".into()));
        let plain = at("http://[::1]:8080/", Some("ca.pem".into())).unwrap();
        assert_eq!((plain.hostname.as_str(), plain.port), ("[::1]", 8080));
        assert_eq!(plain.ca_cert_file, None);
        for wrong in ["ftp://a", "pki.example", "https://a/api", "https://a?b"] {
            assert!(at(wrong, None).is_err(), "{wrong}");
        }
    }
}
