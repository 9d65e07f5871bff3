//! CsrAttrs: what a server wants to see in requests.
#![no_main]

use lamassu_x509::CsrWishes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(wishes) = CsrWishes::from_der(bytes.to_vec()) {
        assert_eq!(wishes.is_empty(), bytes == [0x30, 0x00]);
        let _ = (wishes.key(), wishes.signature_scheme(), wishes.extensions());
    }
});
