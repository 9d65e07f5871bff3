//! Whether requested subject alternative names may be issued.
//!
//! The value is copied from the request as it stands, so what Go's `crypto/x509` would
//! refuse must be refused here: one such name makes a whole certificate, and every list
//! that holds it, unreadable for software written in Go.

use super::Extension;
use super::general_name::{DIRECTORY_NAME, DNS_NAME, IP_ADDRESS, RFC822_NAME, URI};
use crate::error::Malformation;
use crate::name::{Name, NameError};
use crate::tlv::{Reader, Tlv};

/// Why requested subject alternative names were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SanError {
    /// The extension's value is not a list of general names.
    #[error("subject alternative name: {0}")]
    Malformed(Malformation),
    /// The list is empty.
    #[error("subject alternative name: empty list")]
    Empty,
    /// A mail address, DNS name or URI with characters beyond ASCII or with control characters.
    #[error("subject alternative name: {0} must be printable ASCII")]
    NotAscii(&'static str),
    /// A URI that does not parse, or is relative.
    #[error("subject alternative name: not an absolute URI")]
    InvalidUri,
    /// An IP address that has neither 4 nor 16 octets.
    #[error("subject alternative name: IP address of {0} octets")]
    IpAddressLength(usize),
    /// A directory name with an attribute that cannot be issued.
    #[error("subject alternative name: {0}")]
    DirectoryName(NameError),
}

/// Checks every name of a requested extension.
pub(crate) fn check_subject_alt_name(extension: &Extension) -> Result<(), SanError> {
    let mut outer = Reader::new(extension.value());
    let mut list = outer
        .sequence()
        .and_then(|list| outer.finish().map(|()| list))
        .map_err(SanError::Malformed)?;
    if list.is_empty() {
        return Err(SanError::Empty);
    }
    while !list.is_empty() {
        check_name(list.any().map_err(SanError::Malformed)?)?;
    }
    Ok(())
}

fn check_name(name: Tlv<'_>) -> Result<(), SanError> {
    match name.tag {
        RFC822_NAME => ascii("mail address", name.value).map(drop),
        DNS_NAME => ascii("DNS name", name.value).map(drop),
        URI => check_uri(ascii("URI", name.value)?),
        IP_ADDRESS => match name.value.len() {
            4 | 16 => Ok(()),
            other => Err(SanError::IpAddressLength(other)),
        },
        DIRECTORY_NAME => check_directory_name(name.value),
        _ => Ok(()),
    }
}

fn ascii<'a>(what: &'static str, value: &'a [u8]) -> Result<&'a str, SanError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|octet| (0x20..0x7f).contains(&octet)))
        .ok_or(SanError::NotAscii(what))
}

fn check_directory_name(der: &[u8]) -> Result<(), SanError> {
    let name = Name::parse(der.to_vec().into()).map_err(SanError::Malformed)?;
    match name.issuable() {
        Ok(issuable) if issuable == name => Ok(()),
        // The extension is copied as it stands: a name in it cannot be repaired.
        Ok(_) => Err(SanError::DirectoryName(NameError::MeaninglessValue(
            name.to_string(),
        ))),
        Err(error) => Err(SanError::DirectoryName(error)),
    }
}

/// What RFC 3986 and Go's `net/url` both take: a scheme, complete percent escapes, and in an
/// authority a plausible host and a numeric port.
fn check_uri(uri: &str) -> Result<(), SanError> {
    let (scheme, rest) = uri.split_once(':').ok_or(SanError::InvalidUri)?;
    let scheme_is_valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let authority_is_valid = rest.strip_prefix("//").is_none_or(|after| {
        let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
        is_valid_authority(authority)
    });
    if scheme_is_valid && authority_is_valid && escapes_are_complete(rest) && !rest.contains(' ') {
        Ok(())
    } else {
        Err(SanError::InvalidUri)
    }
}

fn is_valid_authority(authority: &str) -> bool {
    let (user_info, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = match host_and_port.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (host_and_port, ""),
    };
    let host_is_valid = match host.strip_prefix('[') {
        Some(literal) => literal
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        // An empty label, `a..b`, is what Go's name constraint check cannot digest.
        None => host.is_empty() || host.split('.').all(is_valid_label),
    };
    host_is_valid
        && is_valid_user_info(user_info)
        && port.bytes().all(|digit| digit.is_ascii_digit())
}

/// RFC 3986 §3.2.1, and `@`, which Go takes too.
fn is_valid_user_info(user_info: &str) -> bool {
    user_info
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%@".contains(&octet))
}

fn is_valid_label(label: &str) -> bool {
    !label.is_empty()
        && label
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-_~!$&'()*+,;=".contains(&octet))
}

/// Every `%` is followed by two hex digits.
fn escapes_are_complete(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        after
            .get(..2)
            .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    })
}
