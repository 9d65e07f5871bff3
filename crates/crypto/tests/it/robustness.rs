//! No bytes make anything panic.

use std::sync::LazyLock;

use lamassu_crypto::{Message, PrivateKey, PublicKey};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::sample::Index;

use crate::{quick_specs, schemes};

static KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    quick_specs()
        .map(|spec| PrivateKey::generate(spec).unwrap())
        .collect()
});

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _public = PublicKey::from_spki_der(&bytes);
        let _private = PrivateKey::from_der(&bytes);
        let _pem = PrivateKey::from_pem(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(label in ".{0,20}", body in ".{0,80}", end in ".{0,20}") {
        let text = format!("-----BEGIN {label}-----{body}-----END {end}-----");
        let _pem = PrivateKey::from_pem(text.as_bytes());
        let _pem = PrivateKey::from_pem(body.as_bytes());
    }

    #[test]
    fn damaged_keys_are_read_or_refused(
        key in any::<Index>(),
        at in any::<Index>(),
        byte in any::<u8>(),
        n in any::<Index>(),
    ) {
        let key = key.get(&KEYS);
        let mut spki = key.public_key().spki_der().to_vec();
        let at_public = at.index(spki.len());
        spki[at_public] = byte;
        if let Ok(public) = PublicKey::from_spki_der(&spki) {
            let _answer = public.verify(public.default_scheme(), Message::Raw(b""), &spki);
        }
        let _cut = PublicKey::from_spki_der(&spki[..n.index(spki.len())]);

        let mut pkcs8 = key.to_pkcs8_der().unwrap().to_vec();
        let at_private = at.index(pkcs8.len());
        pkcs8[at_private] = byte;
        if let Ok(private) = PrivateKey::from_pkcs8_der(&pkcs8) {
            let _signed = private.sign(private.default_scheme(), Message::Raw(b""));
        }
        let _cut = PrivateKey::from_der(&pkcs8[..n.index(pkcs8.len())]);
    }

    #[test]
    fn any_signature_is_refused(signature in vec(any::<u8>(), 0..300), message in vec(any::<u8>(), 0..70)) {
        for key in KEYS.iter() {
            for scheme in schemes() {
                let public = key.public_key();
                public.verify(scheme, Message::Raw(&message), &signature).unwrap_err();
                public.verify(scheme, Message::Digest(&message), &signature).unwrap_err();
            }
        }
    }

    #[test]
    fn signatures_of_any_message_verify(message in vec(any::<u8>(), 0..300)) {
        for key in KEYS.iter() {
            let scheme = key.default_scheme();
            let signature = key.sign(scheme, Message::Raw(&message)).unwrap();
            key.public_key().verify(scheme, Message::Raw(&message), &signature).unwrap();
        }
    }
}
