//! Private keys that operators import; what is read is written and read again.
#![no_main]

use lamassu_crypto::PrivateKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for key in [PrivateKey::from_der(bytes), PrivateKey::from_pem(bytes)] {
        let Ok(key) = key else {
            continue;
        };
        let der = key.to_pkcs8_der().expect("what was read can be stored");
        let again = PrivateKey::from_pkcs8_der(&der).expect("what was stored can be read");
        assert_eq!(again.public_key(), key.public_key());
    }
});
