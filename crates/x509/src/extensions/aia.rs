//! Where a certificate says that its status can be asked for.

use bytes::Bytes;

use super::general_name::URI;
use crate::error::Malformation;
use crate::oids;
use crate::tlv::{Reader, Tlv, Writer, context_constructed, sequence_of};

/// `[0]`, the choice of `fullName` in a distribution point's name.
const FULL_NAME: u8 = context_constructed(0);

/// Addresses in the authority information access and CRL distribution points extensions
/// (RFC 5280 §4.2.2.1, §4.2.1.13).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLocations {
    /// OCSP responders, most preferred first.
    pub ocsp: Vec<String>,
    /// Addresses of the issuer's certificate.
    pub ca_issuers: Vec<String>,
    /// Addresses of the CRL; each becomes a distribution point of its own.
    pub crl: Vec<String>,
}

/// Appends these addresses as the elements of `GeneralNames`.
pub(crate) fn uri_general_names(out: &mut Writer, addresses: &[String]) {
    for address in addresses {
        out.element(URI, address.as_bytes());
    }
}

impl AccessLocations {
    /// The addresses at each domain for certificates of the issuer with this subject key
    /// identifier: `http://<domain>/ocsp`, `http://<domain>/ca/<identifier in hex>` and
    /// `http://<domain>/crl/<identifier in hex>`. A
    /// domain may carry a port and a path. A root is its own issuer. Plain HTTP, since what is fetched is signed and
    /// checking TLS would need the same fetch (RFC 5280 §8).
    pub fn at_domains<S: AsRef<str>>(domains: &[S], issuer_key_identifier: &[u8]) -> Self {
        let issuer = hex::encode(issuer_key_identifier);
        let each = |path: &str| {
            domains
                .iter()
                .map(|domain| format!("http://{}/{path}", domain.as_ref()))
                .collect()
        };
        Self {
            ocsp: each("ocsp"),
            ca_issuers: each(&format!("ca/{issuer}")),
            crl: each(&format!("crl/{issuer}")),
        }
    }

    /// The same with this behind the address of each CRL: one of several into which they are divided.
    #[must_use]
    pub fn with_crl_part(mut self, part: &str) -> Self {
        for address in &mut self.crl {
            address.push('/');
            address.push_str(part);
        }
        self
    }

    /// The same without addresses of the issuer's certificate: who has a root's certificate has
    /// its issuer's (RFC 5280 §4.2.2.1).
    #[must_use]
    pub fn of_root(mut self) -> Self {
        self.ca_issuers.clear();
        self
    }

    /// `SEQUENCE OF SEQUENCE { accessMethod, accessLocation }`; `None` when there is nothing
    /// to say, since the list must not be empty.
    pub(crate) fn authority_info_access_to_der(&self) -> Option<Vec<u8>> {
        if self.ocsp.is_empty() && self.ca_issuers.is_empty() {
            return None;
        }
        let ocsp = self.ocsp.iter().map(|uri| (oids::AD_OCSP, uri));
        let issuers = self.ca_issuers.iter().map(|uri| (oids::AD_CA_ISSUERS, uri));
        Some(sequence_of(|out| {
            for (method, uri) in ocsp.chain(issuers) {
                out.sequence(|description| {
                    description.oid(&method).element(URI, uri.as_bytes());
                });
            }
        }))
    }

    /// `SEQUENCE OF SEQUENCE { [0] { [0] { [6] uri } } }`
    pub(crate) fn distribution_points_to_der(&self) -> Option<Vec<u8>> {
        if self.crl.is_empty() {
            return None;
        }
        Some(sequence_of(|out| {
            for uri in &self.crl {
                out.sequence(|point| {
                    point.nested(context_constructed(0), |name| {
                        name.nested(FULL_NAME, |full| {
                            full.element(URI, uri.as_bytes());
                        });
                    });
                });
            }
        }))
    }

    pub(super) fn from_authority_info_access(value: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(value);
        let mut list = outer.sequence()?;
        outer.finish()?;
        let mut locations = Self::default();
        while !list.is_empty() {
            let mut description = list.sequence()?;
            let method = description.oid()?;
            let Some(uri) = uri(description.any()?) else {
                continue;
            };
            if method == oids::AD_OCSP.as_bytes() {
                locations.ocsp.push(uri);
            } else if method == oids::AD_CA_ISSUERS.as_bytes() {
                locations.ca_issuers.push(uri);
            }
        }
        Ok(locations)
    }
}

/// The URIs in all full names of a CRL distribution points extension.
pub(crate) fn distribution_point_uris(value: &Bytes) -> Result<Vec<String>, Malformation> {
    let mut outer = Reader::new(value);
    let mut list = outer.sequence()?;
    outer.finish()?;
    let mut uris = Vec::new();
    while !list.is_empty() {
        let mut point = list.sequence()?;
        let Some(name) = point.optional(context_constructed(0))? else {
            continue;
        };
        uris.extend(full_name_uris(name)?);
    }
    Ok(uris)
}

/// The URIs in a distribution point's name, if it is a full name.
pub(crate) fn full_name_uris(name: Tlv<'_>) -> Result<Vec<String>, Malformation> {
    let Some(full_name) = name.reader().optional(FULL_NAME)? else {
        return Ok(Vec::new());
    };
    let mut names = full_name.reader();
    let mut uris = Vec::new();
    while !names.is_empty() {
        uris.extend(uri(names.any()?));
    }
    Ok(uris)
}

/// The text of a general name that is a URI.
fn uri(name: Tlv<'_>) -> Option<String> {
    (name.tag == URI)
        .then(|| String::from_utf8(name.value.to_vec()).ok())
        .flatten()
}
