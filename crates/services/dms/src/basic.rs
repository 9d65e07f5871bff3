//! HTTP Basic (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// User name and password in the value of the header `Authorization`.
pub(crate) fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let credentials = STANDARD.decode(credentials.trim()).ok()?;
    let credentials = String::from_utf8(credentials).ok()?;
    let (username, password) = credentials.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::basic;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            username in "[^:]*",
            password in any::<String>(),
            scheme in "[Bb][Aa][Ss][Ii][Cc]",
        ) {
            let credentials = STANDARD.encode(format!("{username}:{password}"));
            let read = basic(&format!("{scheme} {credentials}"));
            prop_assert_eq!(read, Some((username, password)));
        }

        #[test]
        fn any_header_is_read_or_refused(header in any::<String>(), octets: Vec<u8>) {
            for header in [header, format!("Basic {}", STANDARD.encode(octets))] {
                if let Some((username, _)) = basic(&header) {
                    prop_assert!(!username.contains(':'));
                }
            }
        }
    }
}
