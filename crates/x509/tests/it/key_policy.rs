use lamassu_crypto::{Curve, KeySpec};
use lamassu_x509::issue::{KeyPolicy, SizeRule};

fn verdict(rsa: SizeRule, ecdsa: SizeRule, key: KeySpec) -> String {
    let policy = KeyPolicy::Enforced {
        rsa,
        ecdsa,
        ed25519: SizeRule::Forbidden,
        ml_dsa: SizeRule::AnySize,
    };
    policy
        .check(key)
        .map_or_else(|error| error.to_string(), |()| "allowed".to_owned())
}

#[test]
fn keys_are_judged_by_kind_and_size() {
    use SizeRule::{AnySize, Forbidden, OneOf};
    let p256 = KeySpec::Ec(Curve::P256);
    for (rsa, ecdsa, key, text) in [
        (AnySize, Forbidden, KeySpec::Rsa(2048), "allowed"),
        (OneOf(vec![2048]), Forbidden, KeySpec::Rsa(2048), "allowed"),
        (
            Forbidden,
            AnySize,
            KeySpec::Rsa(2048),
            "public key is RSA, but issuance profile does not allow RSA keys",
        ),
        (
            OneOf(vec![]),
            AnySize,
            KeySpec::Rsa(2048),
            "public key uses RSA key with size 2048, but issuance profile does not allow this key size",
        ),
        (
            AnySize,
            Forbidden,
            p256,
            "public key is ECDSA, but issuance profile does not allow ECDSA keys",
        ),
        (
            AnySize,
            OneOf(vec![384]),
            p256,
            "public key uses ECDSA key with size 256, but issuance profile does not allow this key size",
        ),
        (
            AnySize,
            AnySize,
            KeySpec::Ed25519,
            "public key is Ed25519, but issuance profile does not allow Ed25519 keys",
        ),
        (Forbidden, Forbidden, KeySpec::MlDsa65, "allowed"),
    ] {
        assert_eq!(verdict(rsa, ecdsa, key), text);
    }
}

#[test]
fn without_enforcement_every_key_is_allowed() {
    assert_eq!(KeyPolicy::Any.check(KeySpec::Rsa(1024)), Ok(()));
}
