//! Patches of a device by v2: a merge patch, a list of operations, or the operations of v1; and the other
//! bodies that devices are written with. What a patch comes to is allowed, and is written and read again.
#![no_main]

use std::fmt::Debug;

use lamassu_core::device::slot::{ActivateVersion, AddVersion, PutSlot, RevokeVersion};
use lamassu_core::device::v2::{RegisterDevice, WritableDevice};
use lamassu_core::patch::{DocumentPatch, PatchBody};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

fuzz_target!(|bytes: &[u8]| {
    read_write_read::<RegisterDevice>(bytes);
    read_write_read::<PutSlot>(bytes);
    read_write_read::<AddVersion>(bytes);
    read_write_read::<ActivateVersion>(bytes);
    read_write_read::<RevokeVersion>(bytes);
    for patch in patches(bytes) {
        let Ok(document) = patch.apply(&before().to_document()) else {
            continue;
        };
        if let Ok(after) = WritableDevice::from_document(document) {
            assert!(after.tags.len() <= 64);
            let again = WritableDevice::from_document(after.to_document());
            assert_eq!(again.ok(), Some(after));
        }
    }
});

fn before() -> WritableDevice {
    let document = r#"{"alias": "a", "tags": ["x", "y"], "icon": "Cpu", "icon_color": "c",
        "metadata": {"k": {"n": 1}, "list": [1, 2]}, "dms_owner": "line"}"#;
    serde_json::from_str(document).expect("a device")
}

/// All that the body may mean, by its media type.
fn patches(bytes: &[u8]) -> Vec<DocumentPatch> {
    let merge = serde_json::from_slice::<Map<String, Value>>(bytes).ok();
    let strict = serde_json::from_slice::<Vec<Value>>(bytes).ok();
    let metadata = serde_json::from_slice::<PatchBody>(bytes).ok();
    let metadata = metadata
        .and_then(|body| body.patches)
        .map(DocumentPatch::Metadata);
    let merge = merge.map(DocumentPatch::Merge);
    let strict = strict.map(DocumentPatch::Strict);
    merge.into_iter().chain(strict).chain(metadata).collect()
}

fn read_write_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&value).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&written).ok(), Some(value));
    }
}
