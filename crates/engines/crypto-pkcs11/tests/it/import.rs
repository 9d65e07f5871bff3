//! Keys that come from outside into a token that does not take them as they are.

use lamassu_core::crypto_engine::{CryptoEngine as _, EngineError, Unsupported};
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_crypto_pkcs11::{Pkcs11Config, Pkcs11Engine};
use lamassu_testing::conformance::handle;
use lamassu_testing::{SoftHsm, Wrapped};

use crate::{config, connect};

/// How tokens refuse: `CKR_GENERAL_ERROR`, `CKR_FUNCTION_FAILED`, four of `CKR_ATTRIBUTE_…`,
/// `CKR_TEMPLATE_INCOMPLETE`, `CKR_TEMPLATE_INCONSISTENT`, and an answer of the vendor's own.
const ANSWERS: [u64; 9] = [0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0xD0, 0xD1, 0x8000_0012];

fn over_refusing_module(directory: &std::path::Path) -> Pkcs11Engine {
    connect(Pkcs11Config {
        module_path: SoftHsm::refusing_module(directory).unwrap(),
        ..config()
    })
    .unwrap()
}

#[test]
fn a_key_that_is_refused_as_it_is_comes_wrapped() {
    SoftHsm::with_token(
        "import::a_key_that_is_refused_as_it_is_comes_wrapped",
        async |hsm| {
            let directory = tempfile::tempdir().unwrap();
            let engine = over_refusing_module(directory.path());
            for answer in ANSWERS {
                hsm.refuse(answer, Wrapped::Taken).unwrap();
                let name = handle(&format!("wrapped-{answer:x}"));
                let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
                let expected = key.public_key().clone();
                let taken = engine.import(&name, key).await;
                assert_eq!(taken.unwrap(), expected, "{answer:x}");
                let signer = engine.signer(&name).await.unwrap();
                let scheme = expected.default_scheme();
                let message = Message::Raw(b"to be signed");
                let signature = signer.sign(scheme, message).await.unwrap();
                assert_eq!(expected.verify(scheme, message, &signature), Ok(()));
            }
        },
    );
}

#[test]
fn a_token_that_takes_no_keys_in_either_way_says_so_and_keeps_nothing() {
    SoftHsm::with_token(
        "import::a_token_that_takes_no_keys_in_either_way_says_so_and_keeps_nothing",
        async |hsm| {
            let directory = tempfile::tempdir().unwrap();
            let engine = over_refusing_module(directory.path());
            for answer in ANSWERS {
                hsm.refuse(answer, Wrapped::Refused).unwrap();
                let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
                let refused = engine.import(&handle("refused"), key).await;
                assert!(
                    matches!(refused, Err(EngineError::Unsupported(Unsupported::Import))),
                    "{answer:x}: {refused:?}"
                );
            }
            assert_eq!(engine.list(None, 10).await.unwrap(), []);
            // It goes on with keys of its own.
            let spec = KeySpec::Ec(Curve::P256);
            engine.generate(&handle("own"), spec).await.unwrap();
        },
    );
}
