//! Configuration of the service.

use lamassu_core::duration::WireDuration;
use lamassu_core::host::is_host_with_path;
use lamassu_core::monitoring_job::MonitoringJobConfig;
use serde::{Deserialize, Serialize};

/// Configuration of the CA service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaConfig {
    /// Hosts, with port and path where needed, under which certificates say that their status
    /// can be asked for: `http://<domain>/ocsp` and `http://<domain>/crl/<issuer key id>`, and
    /// where their issuer's certificate is, `http://<domain>/ca/<issuer key id>`; one address per
    /// domain. Empty by default: certificates then carry no address.
    pub va_server_domains: Vec<String>,
    /// Whether a certification request must prove possession of its key, unless the request
    /// itself says otherwise. Default `true`; `false` lets anybody who may sign have other
    /// people's keys certified.
    pub verify_csr_signature: bool,
    /// Whether a CA can be deleted together with those below it (`cascade_delete=true`). Default
    /// `false`: such requests are refused.
    pub allow_cascade_delete: bool,
    /// Whether certificates are imported that software written in Go cannot read: negative or
    /// padded serial numbers, repeated extensions, unknown curves. Default `false`; with `true` one
    /// of them makes every list that holds it unreadable for the clients of the reference.
    pub accept_unreadable_by_go: bool,
    /// How many CAs, and how many profiles, are kept ready for signing. Default 1000.
    pub cached_issuers: u64,
    /// How long before the end of a certificate the events `certificate.expiring` and
    /// `ca.expiring` are raised, once each. Default 30 and 7 days. Certificates that carry windows
    /// of their own (those of devices) raise none.
    pub expiration_windows: Vec<WireDuration>,
    /// The job that sets certificates to `EXPIRED` and raises those events; without it neither
    /// happens.
    pub certificate_monitoring_job: MonitoringJobConfig,
}

impl Default for CaConfig {
    fn default() -> Self {
        Self {
            va_server_domains: Vec::new(),
            verify_csr_signature: true,
            allow_cascade_delete: false,
            accept_unreadable_by_go: false,
            cached_issuers: 1000,
            expiration_windows: [30, 7].map(days).into(),
            certificate_monitoring_job: MonitoringJobConfig::default(),
        }
    }
}

fn days(n: i64) -> WireDuration {
    WireDuration::from_secs(n.saturating_mul(86_400))
}

/// Why a configuration is not one that the service can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaConfigError {
    /// Not a host with optional port and path.
    #[error("va_server_domains: {0:?} is not a host name with optional port and path")]
    Domain(String),
    /// A window has no length.
    #[error("expiration_windows: {0} is not longer than 0s")]
    Window(WireDuration),
    /// The cache would hold nothing.
    #[error("cached_issuers must be at least 1")]
    CachedIssuers,
}

impl CaConfig {
    /// Checks the values, without I/O.
    ///
    /// # Errors
    ///
    /// [`CaConfigError`] names the key.
    pub fn validate(&self) -> Result<(), CaConfigError> {
        let mut domains = self.va_server_domains.iter();
        if let Some(domain) = domains.find(|domain| !is_host_with_path(domain)) {
            return Err(CaConfigError::Domain(domain.clone()));
        }
        let empty = |window: &&WireDuration| window.is_zero() || window.is_negative();
        if let Some(window) = self.expiration_windows.iter().find(empty) {
            return Err(CaConfigError::Window(*window));
        }
        if self.cached_issuers == 0 {
            return Err(CaConfigError::CachedIssuers);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CaConfig, CaConfigError};

    #[test]
    fn an_empty_block_is_the_default() {
        let config: CaConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, CaConfig::default());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_domain_is_no_url() {
        for domain in ["http://va.example", "", "va example"] {
            let config = CaConfig {
                va_server_domains: vec!["ok.example:8080/api/va".to_owned(), domain.to_owned()],
                ..CaConfig::default()
            };
            assert_eq!(
                config.validate(),
                Err(CaConfigError::Domain(domain.to_owned()))
            );
        }
    }

    #[test]
    fn a_window_has_a_length() {
        for window in ["0s", "-1d"] {
            let json = format!(r#"{{ "expiration_windows": ["30d", "{window}"] }}"#);
            let config: CaConfig = serde_json::from_str(&json).unwrap();
            let window = window.parse().unwrap();
            assert_eq!(config.validate(), Err(CaConfigError::Window(window)));
        }
    }
}
