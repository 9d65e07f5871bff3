//! SMIMECapabilities: what a device can open. Something is chosen wherever there is a cipher, of the
//! kind that its key needs.
#![no_main]

use lamassu_crypto::{Curve, KeyManagement, KeySpec};
use lamassu_x509::cms::Capabilities;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(capabilities) = Capabilities::from_der(bytes) else {
        return;
    };
    let rsa = capabilities.choose(KeySpec::Rsa(2048));
    let elliptic = capabilities.choose(KeySpec::Ec(Curve::P256));
    assert_eq!(rsa.is_some(), elliptic.is_some());
    if let Some((_, management)) = rsa {
        assert!(matches!(management, KeyManagement::Transport(_)));
    }
    if let Some((_, management)) = elliptic {
        assert!(matches!(management, KeyManagement::Agreement(_)));
    }
});
