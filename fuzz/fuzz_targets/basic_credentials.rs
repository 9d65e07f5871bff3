//! `Authorization: Basic`, which devices send; what is read is written and read again.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;

// The reader is the service's own.
#[allow(unreachable_pub)]
#[path = "../../crates/services/dms/src/basic.rs"]
mod basic;

fuzz_target!(|header: &str| {
    if let Some((username, password)) = basic::basic(header) {
        assert!(!username.contains(':'));
        let again = format!(
            "basic {}",
            STANDARD.encode(format!("{username}:{password}"))
        );
        assert_eq!(basic::basic(&again), Some((username, password)));
    }
});
