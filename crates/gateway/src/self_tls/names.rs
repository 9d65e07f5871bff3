//! The names in the server certificate.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of interfaces in a certificate at most; a machine that runs containers has hundreds.
const MAX_INTERFACE_ADDRESSES: usize = 64;

/// What clients may call the server: DNS names (lower case) and IP addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// DNS names.
    pub dns: BTreeSet<String>,
    /// IP addresses that stand in every certificate: loopback and what is configured.
    pub ip: BTreeSet<IpAddr>,
    /// Addresses that the host's interfaces have just now, however many; they come and go.
    pub interfaces: BTreeSet<IpAddr>,
}

/// The names that one certificate shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateNames {
    /// DNS names.
    pub(super) dns: BTreeSet<String>,
    /// IP addresses.
    pub(super) ip: BTreeSet<IpAddr>,
}

/// Whether a certificate names what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// It does.
    Full,
    /// An interface has an address that it does not name.
    LacksInterface,
    /// A name or address that always stands in it is missing, or a name is gone.
    Other,
}

impl ServerNames {
    /// `localhost`, the loopback addresses, the host's name and addresses, and `domains`.
    pub fn of_this_host(domains: &[String]) -> Self {
        let mut names = Self::default();
        names.add("localhost");
        names.ip.insert(IpAddr::V4(Ipv4Addr::LOCALHOST));
        names.ip.insert(IpAddr::V6(Ipv6Addr::LOCALHOST));
        for domain in domains {
            names.add(domain);
        }
        let host = rustix::system::uname();
        names.add(&host.nodename().to_string_lossy());
        // A host whose interfaces cannot be listed is still reached by its names.
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses = interfaces.into_iter().map(|interface| interface.ip());
        names.interfaces.extend(addresses.filter(is_reachable));
        names
    }

    /// Adds a name or an address; what is neither is left out, since one odd host name must not
    /// keep the server from starting.
    fn add(&mut self, name: &str) {
        if let Ok(address) = name.parse::<IpAddr>() {
            self.ip.insert(address);
        } else if is_dns_name(name) {
            self.dns.insert(name.to_ascii_lowercase());
        }
    }

    /// What the certificate after one with the names `shown` names. There is room for 64 of the
    /// interfaces' addresses: first those that `shown` has, then the lowest, so that a host with
    /// more of them does not ask for another choice at each look.
    pub(super) fn after(&self, shown: &CertificateNames) -> CertificateNames {
        let further: BTreeSet<IpAddr> = self.interfaces.difference(&self.ip).copied().collect();
        let kept = further.intersection(&shown.ip);
        let added = further.difference(&shown.ip);
        let chosen = kept.chain(added).take(MAX_INTERFACE_ADDRESSES);
        CertificateNames {
            dns: self.dns.clone(),
            ip: self.ip.iter().chain(chosen).copied().collect(),
        }
    }

    /// Whether a certificate with the names `shown` names what it should. An address too many is
    /// none too few: interfaces and temporary IPv6 addresses come and go.
    pub(super) fn coverage(&self, shown: &CertificateNames) -> Coverage {
        if self.dns != shown.dns || !self.ip.is_subset(&shown.ip) {
            Coverage::Other
        } else if self.after(shown).ip.is_subset(&shown.ip) {
            Coverage::Full
        } else {
            Coverage::LacksInterface
        }
    }
}

/// Link-local addresses need a zone to be reached, which no certificate can name.
fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// Labels of letters, digits and inner hyphens (RFC 1123 2.1), perhaps below `*.`.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && labels.split('.').all(label_ok)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{CertificateNames, Coverage, ServerNames};

    /// A host whose interfaces have the addresses 10.0.0.`numbers`.
    fn host(numbers: impl Iterator<Item = u8>) -> ServerNames {
        let mut names = ServerNames::default();
        names.add("localhost");
        names.add("127.0.0.1");
        let addresses = numbers.map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
        names.interfaces.extend(addresses);
        names
    }

    #[test]
    fn the_host_is_always_reachable_under_its_own_names() {
        let names = ServerNames::of_this_host(&["PKI.example".to_owned(), "192.0.2.9".to_owned()]);
        assert!(names.dns.contains("localhost"));
        assert!(names.dns.contains("pki.example"));
        for address in ["127.0.0.1", "::1", "192.0.2.9"] {
            assert!(names.ip.contains(&address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_no_dns_name_is_left_out() {
        let mut names = ServerNames::default();
        for name in ["", "a_b", "-a", "a..b", "ü.example", "(none)"] {
            names.add(name);
        }
        assert_eq!(names, ServerNames::default());
    }

    #[test]
    fn a_lost_address_is_no_reason_to_renew_and_a_lost_name_is() {
        let shown = |names: &ServerNames| names.after(&CertificateNames::default());
        let (few, mut more) = (host(1..3), host(1..4));
        assert_eq!(few.coverage(&shown(&more)), Coverage::Full);
        assert_eq!(more.coverage(&shown(&few)), Coverage::LacksInterface);
        more.add("192.0.2.250");
        assert_eq!(more.coverage(&shown(&few)), Coverage::Other);
        assert_eq!(few.coverage(&shown(&more)), Coverage::Full);
        more.add("old.example");
        assert_eq!(few.coverage(&shown(&more)), Coverage::Other);
    }

    #[test]
    fn a_host_with_many_addresses_keeps_the_choice_that_its_certificate_shows() {
        let shown = host(100..200).after(&CertificateNames::default());
        assert_eq!(shown.ip.len(), 1 + 64);
        // Lower ones appear, others go: what is shown still fills the room.
        assert_eq!(host(50..200).coverage(&shown), Coverage::Full);
        let later = host(50..150);
        assert_eq!(later.coverage(&shown), Coverage::LacksInterface);
        let next = later.after(&shown);
        assert_eq!(next.ip.len(), 1 + 64);
        let kept = shown.ip.intersection(&next.ip).count();
        assert_eq!(kept, 1 + 50);
    }
}
