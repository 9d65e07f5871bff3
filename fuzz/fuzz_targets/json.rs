//! JSON bodies, into the types with the most grammar in them; what is read is written and read
//! again.
#![no_main]

use std::fmt::Debug;

use lamassu_core::ca::IssuanceProfile;
use lamassu_core::device::Device;
use lamassu_core::dms::Dms;
use lamassu_core::json::from_slice;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    read_write_read::<IssuanceProfile>(bytes);
    read_write_read::<Dms>(bytes);
    read_write_read::<Device>(bytes);
});

fn read_write_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&value).expect("what was read can be written");
        assert_eq!(from_slice::<T>(&written).as_ref(), Ok(&value));
    }
}
