//! Comparing names as RFC 5280 §7.1 asks, near enough for finding issuers.
//!
//! Case is folded, white space trimmed and runs of it collapsed, string types do not
//! matter. Full RFC 4518 preparation is left out on purpose: a candidate found here counts
//! only after its signature has been verified.

use super::{Attribute, Name};

impl Name {
    /// Whether both name the same entity: equal bytes, or equal after normalisation.
    pub fn matches(&self, other: &Self) -> bool {
        self == other || normalised(self) == normalised(other)
    }
}

type NormalisedRdn = Vec<(Vec<u8>, Value)>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    /// Not a string: compared with its tag and length.
    Raw(Vec<u8>),
}

fn normalised(name: &Name) -> Vec<NormalisedRdn> {
    name.rdns()
        .map(|rdn| {
            let mut attributes: NormalisedRdn = rdn.iter().map(normalised_attribute).collect();
            // An RDN is a set.
            attributes.sort();
            attributes
        })
        .collect()
}

fn normalised_attribute(attribute: &Attribute<'_>) -> (Vec<u8>, Value) {
    let value = attribute.value();
    let value = match super::attribute::decode(value.tag, value.value) {
        Some(text) => Value::Text(normalised_text(&text)),
        None => Value::Raw(value.raw.to_vec()),
    };
    (attribute.oid_bytes().to_vec(), value)
}

fn normalised_text(text: &str) -> String {
    text.to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
