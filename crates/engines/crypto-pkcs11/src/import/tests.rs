//! Taking keys wrapped. SoftHSM2 takes them as they are, too, so the way is chosen here.

use std::sync::Arc;
use std::time::Duration;

use cryptoki::object::{Attribute, AttributeType};
use lamassu_core::crypto_engine::KeyHandle;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_testing::SoftHsm;

use super::Foreign;
use crate::module::Modules;
use crate::pool::Pool;
use crate::session::Access;
use crate::signing::Question;
use crate::token::Wanted;

#[test]
fn keys_are_taken_wrapped_and_stay() {
    SoftHsm::with_token(
        "import::tests::keys_are_taken_wrapped_and_stay",
        async |_| {
            let wanted = Wanted {
                label: SoftHsm::TOKEN.to_owned(),
                serial: None,
            };
            let patience = Duration::from_secs(30);
            let module = Modules::default().load(&SoftHsm::module()).unwrap();
            let access = Access::new(module, wanted, SoftHsm::PIN.into(), patience);
            let pool = Pool::new(Arc::new(access));
            let specs = [
                KeySpec::Rsa(2048),
                KeySpec::Ec(Curve::P256),
                KeySpec::Ec(Curve::P521),
            ];
            for spec in specs {
                let private = PrivateKey::generate(spec).unwrap();
                let public = private.public_key().clone();
                let key = Foreign {
                    public: public.clone(),
                    pkcs8: private.to_pkcs8_der().unwrap(),
                };
                let handle = KeyHandle::try_new(&format!("wrapped-{}", spec.bits())).unwrap();
                let scheme = public.default_scheme();
                let question = Question::new(spec, scheme, Message::Raw(b"to be signed")).unwrap();
                let (signature, secrecy) = pool
                    .grow(patience, move |open| {
                        let object = open.import_wrapped(&handle, &key)?;
                        open.add_public_half(&handle, &key)?;
                        let found = open.private_half(&handle, &key.public)?;
                        assert_eq!(found, object);
                        let secrecy = [AttributeType::Sensitive, AttributeType::Extractable];
                        let secrecy = open.session.get_attributes(object, &secrecy)?;
                        Ok((question.ask(&open.session, found)?, secrecy))
                    })
                    .unwrap();
                let verified = public.verify(scheme, Message::Raw(b"to be signed"), &signature);
                assert_eq!(verified, Ok(()), "{spec:?}");
                assert_eq!(
                    secrecy,
                    [Attribute::Sensitive(true), Attribute::Extractable(false)]
                );
            }
        },
    );
}
