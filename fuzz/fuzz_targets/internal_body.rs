//! Bodies of `/internal/v1`; what is read means the same when it is written and read again.
#![no_main]

use lamassu_core::device::BindIdentity;
use lamassu_core::internal::ca::{AttachCertificate, SignForEnrollment};
use lamassu_core::internal::dms::{Sweep, WireEstRequest};
use lamassu_core::internal::kms::{BoundCertificate, PlatformSign};
use lamassu_core::json::from_slice;
use lamassu_core::kms::CreateKey;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    read_write_read::<SignForEnrollment>(bytes);
    read_write_read::<AttachCertificate>(bytes);
    read_write_read::<BindIdentity>(bytes);
    read_write_read::<WireEstRequest>(bytes);
    read_write_read::<Sweep>(bytes);
    read_write_read::<PlatformSign>(bytes);
    read_write_read::<BoundCertificate>(bytes);
    read_write_read::<CreateKey>(bytes);
});

/// Not all of them can be compared, but what they are written as can.
fn read_write_read<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    if let Ok(value) = from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&value).expect("what was read can be written");
        let again: T = from_slice(&written).expect("what was written can be read");
        assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
    }
}
