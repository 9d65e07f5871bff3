//! Configuration of the service.

use lamassu_core::duration::WireDuration;
use lamassu_core::host::is_host_with_path;
use lamassu_core::monitoring_job::MonitoringJobConfig;
use serde::{Deserialize, Serialize};

/// Configuration of the validation authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaConfig {
    /// Hosts, with port and path where needed, under which CRLs are published:
    /// `http://<domain>/crl/<key id>`. Only named in events. Default: none.
    pub va_domains: Vec<String>,
    /// The renewal of CRLs before they expire; without it only revocations make new ones.
    pub crl_monitoring_job: MonitoringJobConfig,
    /// Times in answers and lists.
    pub validation: ValidationConfig,
    /// OCSP answers.
    pub ocsp: OcspConfig,
    /// CRLs.
    pub crl: CrlConfig,
}

/// Times in answers and lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValidationConfig {
    /// `thisUpdate` lies so long before the time of signing, for relying parties whose clocks
    /// are behind. Default `0s`.
    pub back_dating: WireDuration,
}

/// OCSP answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OcspConfig {
    /// `nextUpdate` lies so long after the time of signing. Default `1h`.
    pub response_validity: WireDuration,
    /// How many bytes of signed answers are kept in memory for whoever asks the same; 0 signs every
    /// answer. Default 64 MiB.
    pub cache_bytes: u64,
    /// Whether signed answers outlive a restart, in a file beside the CRLs. Default `false`.
    pub keep_answers: bool,
    /// Who signs answers. Default `ca`.
    pub responder: OcspResponder,
    /// How long the certificate of a delegated responder is valid; it is renewed after two thirds of
    /// that. Default `1w`.
    pub responder_validity: WireDuration,
}

/// Who signs OCSP answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OcspResponder {
    /// The key of the CA.
    #[default]
    Ca,
    /// A key of the KMS, which the CA certifies for that (RFC 6960 §4.2.2.2).
    Delegated,
}

impl Default for OcspConfig {
    fn default() -> Self {
        Self {
            response_validity: WireDuration::from_secs(3_600),
            cache_bytes: 64 << 20,
            keep_answers: false,
            responder: OcspResponder::Ca,
            responder_validity: WireDuration::from_secs(7 * 86_400),
        }
    }
}

/// CRLs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrlConfig {
    /// How many CRLs of each CA are kept in storage, the newest included; 0 keeps all.
    /// Default 10.
    pub keep_last_n: u32,
    /// Whether a certificate leaves the list once it was on one that was made after it expired
    /// (RFC 5280 §3.3). Lists that none ever leaves say so (`expiredCertsOnCRL`, X.509 §9.5.2.8). Default `true`.
    pub prune_expired: bool,
    /// How many bytes of CRLs are kept in memory, ready to be served. Default 256 MiB.
    pub cache_bytes: u64,
}

impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            keep_last_n: 10,
            prune_expired: true,
            cache_bytes: 256 << 20,
        }
    }
}

/// Why a configuration is not one that the service can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaConfigError {
    /// Not a host with optional port and path.
    #[error("va_domains: {0:?} is not a host name with optional port and path")]
    Domain(String),
    /// `thisUpdate` would lie in the future.
    #[error("validation.back_dating must not be negative")]
    BackDating,
    /// An answer would have expired before it was given.
    #[error("ocsp.response_validity must be at least 1s")]
    ResponseValidity,
    /// The certificate of a responder would be renewed all the time.
    #[error("ocsp.responder_validity must be at least 1h")]
    ResponderValidity,
}

impl VaConfig {
    /// Checks the values, without I/O.
    ///
    /// # Errors
    ///
    /// [`VaConfigError`] names the key.
    pub fn validate(&self) -> Result<(), VaConfigError> {
        let mut domains = self.va_domains.iter();
        if let Some(domain) = domains.find(|domain| !is_host_with_path(domain)) {
            return Err(VaConfigError::Domain(domain.clone()));
        }
        if self.validation.back_dating.is_negative() {
            return Err(VaConfigError::BackDating);
        }
        if self.ocsp.response_validity < WireDuration::from_secs(1) {
            return Err(VaConfigError::ResponseValidity);
        }
        if self.ocsp.responder_validity < WireDuration::from_secs(3_600) {
            return Err(VaConfigError::ResponderValidity);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{VaConfig, VaConfigError};

    #[test]
    fn an_empty_block_is_the_default() {
        let config: VaConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, VaConfig::default());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let cases = [
            (
                r#"{"va_domains":["http://va.example"]}"#,
                VaConfigError::Domain("http://va.example".to_owned()),
            ),
            (
                r#"{"validation":{"back_dating":"-1s"}}"#,
                VaConfigError::BackDating,
            ),
            (
                r#"{"ocsp":{"response_validity":"0s"}}"#,
                VaConfigError::ResponseValidity,
            ),
            (
                r#"{"ocsp":{"responder":"delegated","responder_validity":"59m"}}"#,
                VaConfigError::ResponderValidity,
            ),
        ];
        for (json, expected) in cases {
            let config: VaConfig = serde_json::from_str(json).unwrap();
            assert_eq!(config.validate(), Err(expected));
        }
    }
}
