//! Shards: the certificates of one CA in parts that have CRLs of their own.
//!
//! A fleet with very many revocations has a long CRL, which every relying party fetches for the one
//! certificate that it asks about. So a CA may be made with a number of shards; each certificate
//! then names the CRL of its own shard, which is as much shorter as there are shards. Which shard
//! that is follows from the serial number, whose last octets are random. The number is that of the
//! CA for good: it stands in the addresses in its certificates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::SerialNumber;

/// Into how many shards the certificates of a CA are divided: 2 to 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct CrlShards(u16);

/// A number of shards that there cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("crl_shards must be 2 to 1024")]
pub struct NoCrlShards;

impl TryFrom<u32> for CrlShards {
    type Error = NoCrlShards;

    fn try_from(n: u32) -> Result<Self, NoCrlShards> {
        match u16::try_from(n) {
            Ok(n) if (2..=Self::MAX).contains(&n) => Ok(Self(n)),
            Ok(_) | Err(_) => Err(NoCrlShards),
        }
    }
}

impl FromStr for CrlShards {
    type Err = NoCrlShards;

    fn from_str(text: &str) -> Result<Self, NoCrlShards> {
        text.parse::<u32>().map_err(|_| NoCrlShards)?.try_into()
    }
}

impl From<CrlShards> for u32 {
    fn from(shards: CrlShards) -> Self {
        Self::from(shards.0)
    }
}

impl CrlShards {
    /// Most shards of one CA.
    pub const MAX: u16 = 1024;

    /// The shard of the certificate with this serial number.
    pub fn of(self, serial: &SerialNumber) -> CrlShard {
        let part = u32::from(Bucket::of(serial).0) * u32::from(self.0) / Bucket::COUNT;
        CrlShard {
            // A bucket is below the count of buckets, so the part is below that of shards.
            part: u16::try_from(part).unwrap_or_default(),
            of: self,
        }
    }
}

/// The last two octets of a serial number: each shard holds a row of neighbours among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub u16);

impl Bucket {
    /// How many there are.
    pub const COUNT: u32 = 1 << 16;

    /// The bucket of the certificate with this serial number.
    pub fn of(serial: &SerialNumber) -> Self {
        let digits = serial.as_str();
        let last = digits.get(digits.len().saturating_sub(4)..);
        // A serial number is hexadecimal digits.
        Self(last.map_or(0, |last| u16::from_str_radix(last, 16).unwrap_or_default()))
    }
}

/// One shard. Its text, `3-of-16` for the third of sixteen, ends the address of its CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlShard {
    part: u16,
    of: CrlShards,
}

impl CrlShard {
    /// The shard with this place in the row, from 0 on.
    pub fn at(part: u32, of: CrlShards) -> Option<Self> {
        let part = u16::try_from(part).ok().filter(|part| *part < of.0)?;
        Some(Self { part, of })
    }

    /// Reads the text; there is one for each shard.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, of) = text.split_once("-of-")?;
        let of = of.parse::<CrlShards>().ok()?;
        let shard = Self::at(number.parse::<u32>().ok()?.checked_sub(1)?, of)?;
        (shard.to_string() == text).then_some(shard)
    }

    /// Its place in the row, from 0 on.
    pub fn part(self) -> u32 {
        self.part.into()
    }

    /// How many there are of it.
    pub const fn of(self) -> CrlShards {
        self.of
    }

    /// The first bucket that is in it, and the first behind it that is not.
    pub fn buckets(self) -> (u32, u32) {
        let n = u32::from(self.of.0);
        let first = |part: u32| (part * Bucket::COUNT).div_ceil(n);
        (first(self.part.into()), first(u32::from(self.part) + 1))
    }
}

impl fmt::Display for CrlShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", u32::from(self.part) + 1, self.of.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, CrlShard, CrlShards, NoCrlShards};
    use crate::ids::SerialNumber;

    fn shards(n: u32) -> CrlShards {
        CrlShards::try_from(n).unwrap()
    }

    #[test]
    fn every_bucket_is_in_the_one_shard_that_its_serial_numbers_are_of() {
        for n in [2, 3, 7, 16, 1000, 1024] {
            let mut next = 0;
            for part in 0..n {
                let shard = CrlShard::at(part, shards(n)).unwrap();
                let (first, behind) = shard.buckets();
                assert_eq!(first, next);
                for bucket in [first, behind - 1] {
                    let serial = SerialNumber::parse(&format!("5b7f{bucket:04x}")).unwrap();
                    assert_eq!(shards(n).of(&serial), shard, "{bucket:04x} of {n}");
                }
                next = behind;
            }
            assert_eq!(next, Bucket::COUNT);
            assert_eq!(CrlShard::at(n, shards(n)), None);
        }
    }

    #[test]
    fn short_serial_numbers_have_a_bucket_too() {
        for (serial, bucket) in [("00", 0), ("7f", 0x7f), ("0102", 0x102), ("ffabcd", 0xabcd)] {
            assert_eq!(
                Bucket::of(&SerialNumber::parse(serial).unwrap()).0,
                bucket,
                "{serial}"
            );
        }
    }

    #[test]
    fn a_shard_has_one_text() {
        let third = CrlShard::at(2, shards(16)).unwrap();
        assert_eq!(third.to_string(), "3-of-16");
        assert_eq!(CrlShard::parse("3-of-16"), Some(third));
        for text in [
            "0-of-16",
            "17-of-16",
            "03-of-16",
            "+3-of-16",
            "3-of-1",
            "3-of-2000",
            "3",
            "delta",
            "",
        ] {
            assert_eq!(CrlShard::parse(text), None, "{text}");
        }
    }

    #[test]
    fn there_are_two_shards_or_more_and_not_too_many() {
        for n in [0, 1, 1025, u32::MAX] {
            assert_eq!(CrlShards::try_from(n), Err(NoCrlShards));
        }
    }
}
