//! Keys in the token: how ours are named there, and those that others made.

use std::sync::Arc;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use lamassu_core::crypto_engine::{CryptoEngine as _, EngineError};
use lamassu_crypto::{Curve, KeySpec, Message};
use lamassu_crypto_pkcs11::{Modules, Pkcs11Engine};
use lamassu_testing::SoftHsm;
use lamassu_testing::conformance::handle;

use crate::{config, connect};

/// What a name looks like that the reference gives.
const REFERENCE: &str = "c9fa3229a38567d5d9386d9853fc0808c931787fed148bad99411a0e2e008186";

/// Makes a pair as others do: an id on both halves, a label on the private one only, if at all.
fn make_foreign_pair(session: &Session, id: &str, label: Option<&str>) {
    let id = Attribute::Id(id.as_bytes().to_vec());
    let p256 = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07".to_vec();
    let public = [
        Attribute::Token(true),
        Attribute::Verify(true),
        Attribute::EcParams(p256),
        id.clone(),
    ];
    let mut private = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        id,
    ];
    private.extend(label.map(|label| Attribute::Label(label.as_bytes().to_vec())));
    session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
}

/// A session beside those of the engine, in the module that the engine has initialised.
fn session_beside(library: &Pkcs11) -> Session {
    let slots = library.get_slots_with_initialized_token().unwrap();
    library.open_rw_session(slots[0]).unwrap()
}

fn objects(session: &Session, class: ObjectClass) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Class(class)]).unwrap()
}

async fn signs(engine: &Pkcs11Engine, name: &str) -> Result<(), EngineError> {
    let signer = engine.signer(&handle(name)).await?;
    let scheme = signer.public_key().default_scheme();
    let message = Message::Raw(b"to be signed");
    let signature = signer.sign(scheme, message).await?;
    let verified = signer.public_key().verify(scheme, message, &signature);
    assert_eq!(verified, Ok(()));
    Ok(())
}

#[test]
fn both_halves_have_the_handle_as_label_and_id_and_the_private_one_stays() {
    SoftHsm::with_token(
        "keys::both_halves_have_the_handle_as_label_and_id_and_the_private_one_stays",
        async |_| {
            let engine = connect(config()).unwrap();
            engine
                .generate(&handle("op-1"), KeySpec::Ec(Curve::P256))
                .await
                .unwrap();
            let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                let [object] = objects(&session, class)[..] else {
                    panic!("not one {class:?}");
                };
                let wanted = [AttributeType::Label, AttributeType::Id];
                let named = session.get_attributes(object, &wanted).unwrap();
                assert_eq!(
                    named,
                    [
                        Attribute::Label(b"op-1".to_vec()),
                        Attribute::Id(b"op-1".to_vec())
                    ]
                );
            }
            let private = objects(&session, ObjectClass::PRIVATE_KEY)[0];
            let secret = session
                .get_attributes(
                    private,
                    &[
                        AttributeType::Sensitive,
                        AttributeType::Extractable,
                        AttributeType::Value,
                    ],
                )
                .unwrap();
            assert_eq!(
                secret,
                [Attribute::Sensitive(true), Attribute::Extractable(false)]
            );
        },
    );
}

#[test]
fn keys_that_the_reference_made_sign_are_listed_and_deleted() {
    SoftHsm::with_token(
        "keys::keys_that_the_reference_made_sign_are_listed_and_deleted",
        async |_| {
            let engine = connect(config()).unwrap();
            let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
            let id = "0b1c2d3e-0000-4000-8000-000000000000";
            make_foreign_pair(&session, id, Some(REFERENCE));
            signs(&engine, REFERENCE).await.unwrap();
            let listed = engine.list(None, 10).await.unwrap();
            assert_eq!(listed, [handle(REFERENCE)]);
            let wanted = vec![handle(REFERENCE), handle("gone")];
            let missing = engine.missing(wanted).await.unwrap();
            assert_eq!(missing, [handle("gone")]);
            let again = engine
                .generate(&handle(REFERENCE), KeySpec::Ec(Curve::P256))
                .await;
            assert!(matches!(again, Err(EngineError::KeyExists)), "{again:?}");
            engine.delete(&handle(REFERENCE)).await.unwrap();
            assert_eq!(objects(&session, ObjectClass::PRIVATE_KEY), []);
            assert_eq!(objects(&session, ObjectClass::PUBLIC_KEY), []);
        },
    );
}

#[test]
fn keys_that_are_named_by_their_id_only_sign() {
    SoftHsm::with_token(
        "keys::keys_that_are_named_by_their_id_only_sign",
        async |_| {
            let engine = connect(config()).unwrap();
            let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
            make_foreign_pair(&session, "old-1", None);
            signs(&engine, "old-1").await.unwrap();
            assert_eq!(engine.list(None, 10).await.unwrap(), [handle("old-1")]);
        },
    );
}

#[test]
fn keys_of_others_whose_name_is_no_handle_are_left_alone() {
    SoftHsm::with_token(
        "keys::keys_of_others_whose_name_is_no_handle_are_left_alone",
        async |_| {
            let engine = connect(config()).unwrap();
            let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
            make_foreign_pair(&session, "", Some("web server (old)"));
            assert_eq!(engine.list(None, 10).await.unwrap(), []);
        },
    );
}

#[test]
fn a_key_without_its_public_half_is_not_used() {
    SoftHsm::with_token(
        "keys::a_key_without_its_public_half_is_not_used",
        async |_| {
            let engine = connect(config()).unwrap();
            let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
            engine
                .generate(&handle("half"), KeySpec::Ec(Curve::P256))
                .await
                .unwrap();
            let public = objects(&session, ObjectClass::PUBLIC_KEY)[0];
            session.destroy_object(public).unwrap();
            let refused = signs(&engine, "half").await;
            assert!(
                matches!(refused, Err(EngineError::KeyUnreadable(_))),
                "{refused:?}"
            );
            // It is deleted all the same.
            engine.delete(&handle("half")).await.unwrap();
            assert_eq!(objects(&session, ObjectClass::PRIVATE_KEY), []);
        },
    );
}

#[test]
fn another_key_under_a_known_name_is_not_used() {
    SoftHsm::with_token(
        "keys::another_key_under_a_known_name_is_not_used",
        async |_| {
            let engine = connect(config()).unwrap();
            let spec = KeySpec::Ec(Curve::P256);
            engine.generate(&handle("mine"), spec).await.unwrap();
            let held = engine.signer(&handle("mine")).await.unwrap();
            // Somebody else puts another one in its place, through another engine over this module.
            let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                session.destroy_object(objects(&session, class)[0]).unwrap();
            }
            engine.generate(&handle("mine"), spec).await.unwrap();
            let scheme = held.public_key().default_scheme();
            let refused = held.sign(scheme, Message::Raw(b"text")).await;
            assert!(
                matches!(refused, Err(EngineError::KeyUnreadable(_))),
                "{refused:?}"
            );
        },
    );
}

#[test]
fn a_lost_login_is_made_again() {
    SoftHsm::with_token("keys::a_lost_login_is_made_again", async |_| {
        let engine = connect(config()).unwrap();
        engine
            .generate(&handle("kept"), KeySpec::Ec(Curve::P256))
            .await
            .unwrap();
        let session = session_beside(&Pkcs11::new(SoftHsm::module()).unwrap());
        session.logout().unwrap();
        // Without login the token shows no private keys: none of these may take that for an answer.
        assert_eq!(engine.list(None, 10).await.unwrap(), [handle("kept")]);
        session.logout().unwrap();
        let missing = engine.missing(vec![handle("kept")]).await.unwrap();
        assert_eq!(missing, []);
        session.logout().unwrap();
        signs(&engine, "kept").await.unwrap();
        session.logout().unwrap();
        engine.delete(&handle("kept")).await.unwrap();
        assert_eq!(engine.list(None, 10).await.unwrap(), []);
    });
}

#[test]
fn lost_sessions_are_opened_again() {
    SoftHsm::with_token("keys::lost_sessions_are_opened_again", async |_| {
        let engine = connect(config()).unwrap();
        engine
            .generate(&handle("kept"), KeySpec::Ec(Curve::P256))
            .await
            .unwrap();
        signs(&engine, "kept").await.unwrap();
        // Behind the engine's back: its sessions are none any more, and new ones work.
        let library = Pkcs11::new(SoftHsm::module()).unwrap();
        library.clone().finalize().unwrap();
        let flags = CInitializeFlags::OS_LOCKING_OK;
        library.initialize(CInitializeArgs::new(flags)).unwrap();
        for _ in 0..8 {
            signs(&engine, "kept").await.unwrap();
        }
    });
}

#[test]
fn a_finalized_module_is_initialised_again_for_all_engines() {
    SoftHsm::with_token(
        "keys::a_finalized_module_is_initialised_again_for_all_engines",
        async |_| {
            let modules = Modules::default();
            let open = || Pkcs11Engine::connect(config(), &modules, &|_| None).unwrap();
            let engines = [Arc::new(open()), Arc::new(open())];
            engines[0]
                .generate(&handle("kept"), KeySpec::Ec(Curve::P256))
                .await
                .unwrap();
            for engine in &engines {
                signs(engine, "kept").await.unwrap();
            }
            Pkcs11::new(SoftHsm::module()).unwrap().finalize().unwrap();
            for engine in &engines {
                for _ in 0..8 {
                    signs(engine, "kept").await.unwrap();
                }
            }
        },
    );
}

#[test]
fn a_module_in_use_elsewhere_in_the_process_is_named() {
    SoftHsm::with_token(
        "keys::a_module_in_use_elsewhere_in_the_process_is_named",
        async |_| {
            let library = Pkcs11::new(SoftHsm::module()).unwrap();
            let flags = CInitializeFlags::OS_LOCKING_OK;
            library.initialize(CInitializeArgs::new(flags)).unwrap();
            let refused = connect(config()).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!(
                    "the PKCS#11 module {} is in use under another path: name it alike everywhere",
                    SoftHsm::module().display()
                )
            );
        },
    );
}
