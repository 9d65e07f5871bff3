//! CsrAttrs: what a server wants to see in requests.
#![no_main]

use lamassu_x509::{CsrWishes, SubjectFields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(wishes) = CsrWishes::from_der(bytes.to_vec()) {
        assert_eq!(wishes.is_empty(), bytes == [0x30, 0x00]);
        let _ = (wishes.key(), wishes.signature_scheme(), wishes.extensions());
        if let Some(template) = wishes.template() {
            let own = SubjectFields::with_common_name("device").to_name();
            if let Ok(subject) = template.subject(&own) {
                assert_eq!(subject.common_name().as_deref(), Some("device"));
            }
            for extension in template.extensions() {
                assert!(
                    extension
                        .filled_in()
                        .is_none_or(|given| given.is(&extension.oid()))
                );
            }
            std::hint::black_box(template.subject_parts().count());
        }
    }
});
