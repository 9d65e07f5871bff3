//! Networks in CIDR notation (RFC 4632, RFC 4291 2.3).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network such as `10.0.0.0/8`, `fd00::/8` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix: u32,
}

/// Not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network like 10.0.0.0/8")]
pub struct CidrError(String);

impl Cidr {
    /// Whether `address` lies in the network. IPv4 written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32_u32.saturating_sub(self.prefix))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128_u32.saturating_sub(self.prefix))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let refused = || CidrError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.trim().parse().map_err(|_| refused())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.trim().parse().map_err(|_| refused())?,
        };
        if prefix > longest {
            return Err(refused());
        }
        Ok(Self { network, prefix })
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Which addresses a process may call for others: what a setting or a certificate names may lead into
/// its own machine or to the service that tells cloud machines their secrets.
///
/// It is asked about addresses, once names are resolved, or a name could lead anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    everything: bool,
    loopback: bool,
    allowed: Vec<Cidr>,
}

/// Where clouds tell machines about themselves, beyond the link-local networks.
const METADATA: [&str; 4] = [
    "100.100.100.200/32",
    "192.0.0.192/32",
    "168.63.129.16/32",
    "fd00:ec2::254/128",
];

impl AddressPolicy {
    /// Every address: the operator's own configuration names it.
    pub const fn everything() -> Self {
        Self {
            everything: true,
            loopback: true,
            allowed: Vec::new(),
        }
    }

    /// All but loopback, link-local, multicast and metadata addresses; of those only what lies in
    /// one of these networks.
    pub fn outside(allowed: &[Cidr]) -> Self {
        Self {
            everything: false,
            loopback: false,
            allowed: allowed.to_vec(),
        }
    }

    /// Loopback addresses, too.
    #[must_use]
    pub fn with_loopback(self) -> Self {
        Self {
            loopback: true,
            ..self
        }
    }

    /// Whether this address may be called.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = unwrapped(address);
        if self.everything || self.allowed.iter().any(|cidr| cidr.contains(address)) {
            return true;
        }
        if address.is_loopback() {
            return self.loopback;
        }
        let is_metadata = METADATA
            .iter()
            .filter_map(|network| network.parse::<Cidr>().ok())
            .any(|network| network.contains(address));
        let is_special = match address {
            IpAddr::V4(address) => {
                address.is_link_local()
                    || address.is_broadcast()
                    || address.octets().first() == Some(&0)
            }
            IpAddr::V6(address) => address.is_unicast_link_local() || address.is_unspecified(),
        };
        !(is_metadata || is_special || address.is_multicast())
    }
}

/// The IPv4 address within an IPv6 address: mapped, or behind the translator of RFC 6052.
fn unwrapped(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => IpAddr::V4(
                u32::try_from(v6.to_bits() & 0xffff_ffff)
                    .unwrap_or_default()
                    .into(),
            ),
            _ => IpAddr::V6(v6),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressPolicy, Cidr};

    #[test]
    fn addresses_lie_in_their_networks() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdff::1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
        ];
        for (network, address, expected) in cases {
            let network: Cidr = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/-1",
            "example.com/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_inside_is_not_called() {
        let outside = AddressPolicy::outside(&["127.0.0.2".parse().unwrap()]);
        let with_loopback = AddressPolicy::outside(&[]).with_loopback();
        for (address, is_outside, is_with_loopback) in [
            ("203.0.113.9", true, true),
            ("10.0.0.1", true, true),
            ("2001:db8::1", true, true),
            ("127.0.0.1", false, true),
            ("127.0.0.2", true, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("100.100.100.200", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(outside.allows(address), is_outside, "{address}");
            assert_eq!(with_loopback.allows(address), is_with_loopback, "{address}");
            assert!(AddressPolicy::everything().allows(address), "{address}");
        }
    }
}
