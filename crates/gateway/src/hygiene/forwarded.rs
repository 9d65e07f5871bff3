//! The three formats in which proxies hand over a client certificate.

use bytes::Bytes;
use http::HeaderMap;
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::percent;
use lamassu_x509::Certificate;
use lamassu_x509::pem::{PemError, certificate_ders};
use serde::{Deserialize, Serialize};

use super::envoy;

/// Certificates taken from one header at most.
const MAX_CHAIN: usize = 16;

/// A format, named after who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderFormat {
    /// `x-forwarded-client-cert` with elements and pairs; `Chain` is preferred to `Cert`.
    Envoy,
    /// `ssl-client-cert`, percent-encoded PEM in which `+` stands for itself.
    Nginx,
    /// `x-amzn-mtls-clientcert`, as nginx's.
    AwsAlb,
}

impl HeaderFormat {
    /// The header's name, lower case.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Envoy => "x-forwarded-client-cert",
            Self::Nginx => "ssl-client-cert",
            Self::AwsAlb => "x-amzn-mtls-clientcert",
        }
    }

    /// The chain in `headers`, end entity first; `None` when the header is absent or its first
    /// certificate is not readable. Later ones that are not readable are left out, but never the
    /// first: the next would then pass for the one whose key was proven.
    pub fn read(self, headers: &HeaderMap, hops: usize) -> Option<ClientCertificateChain> {
        let pem = match self {
            Self::Envoy => {
                // Several header lines are one list (RFC 9110 5.3).
                let lines: Option<Vec<_>> = headers
                    .get_all(self.header())
                    .iter()
                    .map(|line| line.to_str().ok())
                    .collect();
                let value = envoy::certificate_value(&lines?.join(","), hops)?;
                percent::decode(&value.replace('+', " "))?
            }
            Self::Nginx | Self::AwsAlb => percent::decode(only_value(headers, self.header())?)?,
        };
        let mut blocks = certificate_ders(&pem).take(MAX_CHAIN).map(readable);
        let end_entity = blocks.next()??;
        let chain = std::iter::once(end_entity)
            .chain(blocks.flatten())
            .collect();
        Some(ClientCertificateChain(chain))
    }
}

/// The value of a header that stands once. A second one would be the client's own, beside the
/// proxy's.
fn only_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn readable(der: Result<Vec<u8>, PemError>) -> Option<Bytes> {
    let der = Bytes::from(der.ok()?);
    Certificate::from_der(der.clone()).is_ok().then_some(der)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::HeaderFormat;

    proptest! {
        #[test]
        fn no_header_makes_a_reader_panic(text in "[ -~\u{80}-\u{ff}]*", hops in 0_usize..4) {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let names = ["x-forwarded-client-cert", "ssl-client-cert", "x-amzn-mtls-clientcert"];
            let formats = [HeaderFormat::Envoy, HeaderFormat::Nginx, HeaderFormat::AwsAlb];
            for (name, format) in names.into_iter().zip(formats) {
                let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.clone())]);
                prop_assert_eq!(format.read(&headers, hops), None);
            }
        }
    }
}
