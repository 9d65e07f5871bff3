//! Bodies of `/internal/v1` come from whoever has a service's token: whatever they are, reading
//! them ends, and what is read means the same when it is written and read again.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ca::{AttachCertificate, SignForEnrollment};
use super::dms::{Sweep, WireEstRequest};
use super::kms::{BoundCertificate, PlatformSign};
use crate::changed_body::changed_body;
use crate::device::BindIdentity;
use crate::json::from_slice;
use crate::kms::CreateKey;

/// A good body of each kind; fuzzing starts from them, too.
const SEEDS: [&str; 7] = [
    include_str!("../../../../fuzz/seeds/internal_body/sign_for_enrollment"),
    include_str!("../../../../fuzz/seeds/internal_body/attach_certificate"),
    include_str!("../../../../fuzz/seeds/internal_body/bind_identity"),
    include_str!("../../../../fuzz/seeds/internal_body/est_request"),
    include_str!("../../../../fuzz/seeds/internal_body/sweep"),
    include_str!("../../../../fuzz/seeds/internal_body/platform_sign"),
    include_str!("../../../../fuzz/seeds/internal_body/bound_certificate"),
];

/// The written form of what was read as `T`, if it could be; it must read back to itself.
fn read_write_read<T: DeserializeOwned + Serialize>(body: &[u8]) -> Option<Vec<u8>> {
    let value = from_slice::<T>(body).ok()?;
    let written = serde_json::to_vec(&value).unwrap();
    let again = from_slice::<T>(&written).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&written));
    });
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    Some(written)
}

/// As every kind of body, in the order of the seeds.
fn as_every_kind(body: &[u8]) -> [Option<Vec<u8>>; 7] {
    read_write_read::<CreateKey>(body);
    [
        read_write_read::<SignForEnrollment>(body),
        read_write_read::<AttachCertificate>(body),
        read_write_read::<BindIdentity>(body),
        read_write_read::<WireEstRequest>(body),
        read_write_read::<Sweep>(body),
        read_write_read::<PlatformSign>(body),
        read_write_read::<BoundCertificate>(body),
    ]
}

#[test]
fn a_good_body_of_each_kind_is_read() {
    for (n, seed) in SEEDS.iter().enumerate() {
        assert!(as_every_kind(seed.as_bytes())[n].is_some(), "{seed}");
    }
}

proptest! {
    #[test]
    fn a_changed_body_is_refused_or_means_what_it_says(body in changed_body(&SEEDS)) {
        as_every_kind(&body);
    }

    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        as_every_kind(&body);
    }

    #[test]
    fn octets_survive_the_wire(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
        let octets = super::Base64(octets.into());
        let written = serde_json::to_vec(&octets).unwrap();
        prop_assert_eq!(from_slice::<super::Base64>(&written).unwrap(), octets);
    }
}
