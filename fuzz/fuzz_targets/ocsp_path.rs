//! OCSP requests in the path of a GET; what is read is written in each form and read again.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;

// The reader is the service's own.
#[path = "../../crates/services/va/src/http/ocsp_path.rs"]
mod ocsp_path;

fuzz_target!(|path: &str| {
    let read = ocsp_path::request_in_path(path);
    // Slashes before it are passed over, so it must not begin with one.
    if let Some(der) = read.filter(|der| der.first() == Some(&0x30)) {
        for text in [STANDARD.encode(&der), URL_SAFE_NO_PAD.encode(&der)] {
            let again = ocsp_path::request_in_path(&format!("/ocsp/{text}"));
            assert_eq!(again.as_ref(), Some(&der));
        }
    }
});
