//! Groups of devices and the documents of their policies, which clients write; what is read is written and read
//! again, and a schema that is taken is one to check metadata with.
#![no_main]

use std::fmt::Debug;

use lamassu_core::device_group::{
    GroupDocument, RenewalPolicy, SchemaPolicy, SlotDefaults, TagsPolicy,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

// The rules for schemas are the service's own.
#[path = "../../crates/services/devices/src/group_schema.rs"]
mod group_schema;

fuzz_target!(|bytes: &[u8]| {
    read_write_read::<GroupDocument>(bytes);
    read_write_read::<RenewalPolicy>(bytes);
    read_write_read::<SlotDefaults>(bytes);
    read_write_read::<TagsPolicy>(bytes);
    let Some(policy) = read_write_read::<SchemaPolicy>(bytes) else {
        return;
    };
    if group_schema::check_schema(&policy.schema).is_ok() {
        let violations = group_schema::violations(&policy.schema, &metadata());
        assert!(violations.len() <= 16);
    }
});

fn metadata() -> Map<String, Value> {
    let metadata = json!({"location": {"site": "A", "hall": 3}, "n": 7.5, "list": [null, true, "a"]});
    serde_json::from_value(metadata).expect("an object")
}

fn read_write_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = serde_json::from_slice::<T>(bytes).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).ok().as_ref(), Some(&value));
    Some(value)
}
