//! Configuration of the service.

use std::collections::BTreeMap;

use lamassu_core::duration::WireDuration;
use lamassu_core::host::is_host_with_path;
use lamassu_core::monitoring_job::MonitoringJobConfig;
use lamassu_x509::lint::{LintPolicy, LintRule, Severity};
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
    /// How long the key of a deleted CA waits for the last CRL that it signs, which the validation authority makes
    /// within a moment where it runs; then the key is destroyed without. Default `1h`, for an outage of the
    /// validation authority as long; `0s` where there is none.
    pub final_crl_wait: WireDuration,
    /// What happens when a certificate that is to be signed breaks a rule: `refuse`, `warn` (a line
    /// in the log) or `off`, by name of the rule. Default: `refuse` for what software in the field
    /// cannot read or what gives a requester powers of a CA, `warn` for the rest. Rules that are not
    /// named keep their default.
    pub lint: BTreeMap<String, LintSeverity>,
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
            final_crl_wait: WireDuration::from_secs(3_600),
            lint: LintRule::ALL.map(default_severity).into(),
            certificate_monitoring_job: MonitoringJobConfig::default(),
        }
    }
}

/// What happens when a rule of the lint is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LintSeverity {
    /// The certificate is not issued.
    Refuse,
    /// It is issued, and the log says so.
    Warn,
    /// The rule is not looked at.
    Off,
}

impl From<LintSeverity> for Severity {
    fn from(severity: LintSeverity) -> Self {
        match severity {
            LintSeverity::Refuse => Self::Refuse,
            LintSeverity::Warn => Self::Warn,
            LintSeverity::Off => Self::Off,
        }
    }
}

fn default_severity(rule: LintRule) -> (String, LintSeverity) {
    let severity = match rule.default_severity() {
        Severity::Refuse => LintSeverity::Refuse,
        Severity::Warn => LintSeverity::Warn,
        Severity::Off => LintSeverity::Off,
    };
    (rule.name().to_owned(), severity)
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
    /// It is no time to wait.
    #[error("final_crl_wait: {0} is shorter than 0s")]
    FinalCrlWait(WireDuration),
    /// No rule has this name.
    #[error("lint: there is no rule {0:?}")]
    LintRule(String),
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
        if self.final_crl_wait.is_negative() {
            return Err(CaConfigError::FinalCrlWait(self.final_crl_wait));
        }
        if self.cached_issuers == 0 {
            return Err(CaConfigError::CachedIssuers);
        }
        self.lint_policy().map(drop)
    }

    /// The severity of every rule of the lint.
    ///
    /// # Errors
    ///
    /// [`CaConfigError::LintRule`] for a name that no rule has.
    pub(crate) fn lint_policy(&self) -> Result<LintPolicy, CaConfigError> {
        let mut policy = LintPolicy::default();
        for (name, severity) in &self.lint {
            let rule = LintRule::from_name(name);
            let rule = rule.ok_or_else(|| CaConfigError::LintRule(name.clone()))?;
            policy = policy.with(rule, (*severity).into());
        }
        Ok(policy)
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
    fn a_rule_of_the_lint_has_a_name() {
        let read = |json: &str| -> CaConfig { serde_json::from_str(json).unwrap() };
        let known = read(r#"{ "lint": { "no_usage": "refuse", "serial_number": "off" } }"#);
        assert_eq!(known.validate(), Ok(()));
        let unknown = read(r#"{ "lint": { "nothing": "warn" } }"#).validate();
        assert_eq!(unknown, Err(CaConfigError::LintRule("nothing".to_owned())));
    }

    #[test]
    fn the_last_crl_is_not_waited_for_backwards() {
        let read = |json: &str| serde_json::from_str::<CaConfig>(json).unwrap().validate();
        assert_eq!(read(r#"{ "final_crl_wait": "0s" }"#), Ok(()));
        let refused = read(r#"{ "final_crl_wait": "-1s" }"#).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "final_crl_wait: -1s is shorter than 0s"
        );
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
