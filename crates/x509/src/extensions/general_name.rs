//! General names (RFC 5280 §4.2.1.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use crate::error::Malformation;
use crate::name::Name;
use crate::tlv::{Reader, Tlv, Writer, context, context_constructed, sequence_of};

pub(super) const RFC822_NAME: u8 = context(1);
pub(super) const DNS_NAME: u8 = context(2);
pub(super) const DIRECTORY_NAME: u8 = context_constructed(4);
pub(super) const URI: u8 = context(6);
pub(super) const IP_ADDRESS: u8 = context(7);

/// One general name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneralName {
    /// A mail address.
    Rfc822(String),
    /// A DNS name.
    Dns(String),
    /// A URI.
    Uri(String),
    /// An IP address.
    Ip(IpAddr),
    /// A distinguished name.
    Directory(Name),
    /// Any other form, or a value that does not fit its form: the whole element.
    Other(Bytes),
}

impl GeneralName {
    /// Domain names have no case (RFC 4343).
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dns(one), Self::Dns(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        }
    }

    fn read(source: &Bytes, tlv: Tlv<'_>) -> Self {
        let text = || String::from_utf8(tlv.value.to_vec()).ok();
        match tlv.tag {
            RFC822_NAME => text().map(Self::Rfc822),
            DNS_NAME => text().map(Self::Dns),
            URI => text().map(Self::Uri),
            IP_ADDRESS => ip_address(tlv.value).map(Self::Ip),
            DIRECTORY_NAME => Name::parse(source.slice_ref(tlv.value))
                .map(Self::Directory)
                .ok(),
            _ => None,
        }
        .unwrap_or_else(|| Self::Other(source.slice_ref(tlv.raw)))
    }

    /// Appends the DER.
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Rfc822(text) => out.element(RFC822_NAME, text.as_bytes()),
            Self::Dns(text) => out.element(DNS_NAME, text.as_bytes()),
            Self::Uri(text) => out.element(URI, text.as_bytes()),
            Self::Ip(IpAddr::V4(address)) => out.element(IP_ADDRESS, &address.octets()),
            Self::Ip(IpAddr::V6(address)) => out.element(IP_ADDRESS, &address.octets()),
            Self::Directory(name) => out.element(DIRECTORY_NAME, name.as_der()),
            Self::Other(der) => out.raw(der),
        };
    }
}

/// Reads the DER of `GeneralNames`.
pub(crate) fn parse_general_names(value: &Bytes) -> Result<Vec<GeneralName>, Malformation> {
    let mut outer = Reader::new(value);
    let mut list = outer.sequence()?;
    outer.finish()?;
    let mut names = Vec::new();
    while !list.is_empty() {
        names.push(GeneralName::read(value, list.any()?));
    }
    Ok(names)
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        .or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
        .ok()
}

/// The DER of a `GeneralNames` with these names.
pub(crate) fn general_names_to_der(names: &[GeneralName]) -> Vec<u8> {
    sequence_of(|out| {
        for name in names {
            name.write(out);
        }
    })
}
