//! Bodies that slots and policies are written with come from clients: whatever they are, reading them ends, and
//! what is read means the same when it is written and read again.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::slot::{ActivateVersion, AddVersion, PutSlot, RevokeVersion};
use crate::changed_body::changed_body;
use crate::device_group::{GroupDocument, RenewalPolicy, SchemaPolicy, SlotDefaults, TagsPolicy};
use crate::json::object_from_slice_strict;

/// A good body of each kind; fuzzing starts from them, too.
const SEEDS: [&str; 7] = [
    include_str!("../../../../fuzz/seeds/device_patch/slot"),
    include_str!("../../../../fuzz/seeds/device_patch/version"),
    include_str!("../../../../fuzz/seeds/device_patch/activate"),
    include_str!("../../../../fuzz/seeds/device_patch/revoke"),
    include_str!("../../../../fuzz/seeds/group_policies/group"),
    include_str!("../../../../fuzz/seeds/group_policies/slots"),
    include_str!("../../../../fuzz/seeds/group_policies/schema"),
];

/// Whether it could be read as `T`; then it reads back to itself.
fn read_write_read<T: DeserializeOwned + Serialize>(body: &[u8]) -> bool {
    let Ok(value) = object_from_slice_strict::<T>(body) else {
        return false;
    };
    let written = serde_json::to_vec(&value).unwrap();
    let again = object_from_slice_strict::<T>(&written).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&written));
    });
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    true
}

/// As every kind of body, in the order of the seeds.
fn as_every_kind(body: &[u8]) -> [bool; 7] {
    read_write_read::<RenewalPolicy>(body);
    read_write_read::<TagsPolicy>(body);
    [
        read_write_read::<PutSlot>(body),
        read_write_read::<AddVersion>(body),
        read_write_read::<ActivateVersion>(body),
        read_write_read::<RevokeVersion>(body),
        read_write_read::<GroupDocument>(body),
        read_write_read::<SlotDefaults>(body),
        read_write_read::<SchemaPolicy>(body),
    ]
}

#[test]
fn a_good_body_of_each_kind_is_read() {
    for (n, seed) in SEEDS.iter().enumerate() {
        assert!(as_every_kind(seed.as_bytes())[n], "{seed}");
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
}
