//! Name constraints (RFC 5280 §4.2.1.10), as they are issued.

use std::net::IpAddr;

use super::general_name::{DNS_NAME, IP_ADDRESS, RFC822_NAME, URI};
use super::{Criticality, Extension};
use crate::oids;
use crate::tlv::{context_constructed, sequence_of};

/// A part of the name space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subtree {
    /// A domain and all below it.
    Dns(String),
    /// A mail address, a host, or with a leading dot all hosts of a domain.
    Rfc822(String),
    /// A host of URIs, or with a leading dot all hosts of a domain.
    Uri(String),
    /// The addresses that begin with so many bits of this one.
    Ip(IpAddr, u8),
}

impl Subtree {
    fn tag(&self) -> u8 {
        match self {
            Self::Dns(_) => DNS_NAME,
            Self::Rfc822(_) => RFC822_NAME,
            Self::Uri(_) => URI,
            Self::Ip(..) => IP_ADDRESS,
        }
    }

    /// The content of the general name; of an address, it and its mask.
    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Dns(text) | Self::Rfc822(text) | Self::Uri(text) => text.clone().into_bytes(),
            Self::Ip(IpAddr::V4(address), bits) => masked(&address.octets(), *bits),
            Self::Ip(IpAddr::V6(address), bits) => masked(&address.octets(), *bits),
        }
    }
}

fn masked(address: &[u8], bits: u8) -> Vec<u8> {
    let mask: Vec<u8> = (0_u8..)
        .zip(address)
        .map(|(index, _)| {
            let left = bits.saturating_sub(index.saturating_mul(8)).min(8);
            u8::MAX
                .checked_shl(8_u32.saturating_sub(left.into()))
                .unwrap_or(0)
        })
        .collect();
    let network = address.iter().zip(&mask).map(|(octet, mask)| octet & mask);
    network.chain(mask.iter().copied()).collect()
}

impl Extension {
    /// Name constraints; critical, as relying parties must not pass over them. At least one of the
    /// lists must not be empty.
    ///
    /// ```text
    /// SEQUENCE { permittedSubtrees [0] SEQUENCE OF SEQUENCE { base GeneralName } OPTIONAL,
    ///            excludedSubtrees  [1] … OPTIONAL }
    /// ```
    pub fn name_constraints(permitted: &[Subtree], excluded: &[Subtree]) -> Self {
        let value = sequence_of(|constraints| {
            for (tag, subtrees) in [(0, permitted), (1, excluded)] {
                if subtrees.is_empty() {
                    continue;
                }
                constraints.nested(context_constructed(tag), |list| {
                    for subtree in subtrees {
                        list.sequence(|base| {
                            base.element(subtree.tag(), &subtree.octets());
                        });
                    }
                });
            }
        });
        Self::new(&oids::CE_NAME_CONSTRAINTS, Criticality::Critical, value)
    }
}
