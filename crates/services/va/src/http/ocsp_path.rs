//! OCSP requests in a path (RFC 6960 appendix A.1).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lamassu_core::percent;

/// Longest request, decoded.
const MAX_REQUEST_BYTES: usize = 4 * 1024;

/// Base64 with or without padding; the URL-safe letters are translated before.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The request after `/ocsp/`, taken as sent: clients write standard base64 percent-encoded (as
/// the RFC has it) or not, or URL-safe base64, with padding or without, and some join URLs with
/// a slash too many.
pub(crate) fn request_in_path(path: &str) -> Option<Vec<u8>> {
    let (_, text) = path.split_once("/ocsp/")?;
    let decoded = percent::decode(text)?;
    let standard: Vec<u8> = decoded
        .into_iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let slashes = standard.iter().take_while(|byte| **byte == b'/').count();
    // A request begins with 0x30, so its base64 begins with `M`.
    let base64 = standard.get(slashes..)?;
    let der = LENIENT.decode(base64).ok()?;
    (der.len() <= MAX_REQUEST_BYTES).then_some(der)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use lamassu_core::percent;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{MAX_REQUEST_BYTES, request_in_path};

    proptest! {
        #[test]
        fn every_request_is_read_in_every_form(rest: Vec<u8>) {
            let der = [vec![0x30], rest].concat();
            for base64 in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                let text = base64.encode(&der);
                for path in [format!("/ocsp/{text}"), format!("/ocsp//{}", percent::encode(&text))] {
                    let read = request_in_path(&path);
                    prop_assert_eq!(read.as_ref(), Some(&der), "{}", path);
                }
            }
        }

        #[test]
        fn any_path_is_read_or_refused(rest in any::<String>()) {
            if let Some(der) = request_in_path(&format!("/ocsp/{rest}")) {
                prop_assert!(der.len() <= MAX_REQUEST_BYTES);
            }
        }
    }

    #[test]
    fn requests_are_read_in_every_form_that_clients_write() {
        let expected = [0x30, 0xfb, 0xff, 0x3e];
        let forms = [
            "/ocsp/MPv/Pg==",
            "/ocsp/MPv/Pg",
            "/ocsp/MPv_Pg==",
            "/ocsp/MPv_Pg",
            "/ocsp/MPv%2FPg%3D%3D",
            "/ocsp/MPv%2fPg==",
            "/ocsp//MPv/Pg==",
            "/ocsp/%2FMPv/Pg==",
            "/v1/ocsp/MPv/Pg==",
            "/api/va/ocsp/MPv/Pg==",
        ];
        for path in forms {
            assert_eq!(
                request_in_path(path).unwrap(),
                expected.as_slice(),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for path in ["/ocsp/%", "/ocsp/%4", "/ocsp/%zz", "/ocsp/M!", "/crl/MPv"] {
            assert_eq!(request_in_path(path), None, "{path}");
        }
        let long = format!("/ocsp/{}", "MAAA".repeat(1_400));
        assert_eq!(request_in_path(&long), None);
    }
}
