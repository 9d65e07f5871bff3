//! Percent-encoding (RFC 3986 §2.1), read the same way wherever clients or proxies write it.

/// The octets that `text` stands for: each `%XX` once, everything else, `+` included, itself.
/// `None` when a `%` is not followed by two hex digits of either case.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'%' => hex_digit(octets.next()?)? << 4 | hex_digit(octets.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

/// `text` as one segment of a path or one value of a query: everything but RFC 3986 unreserved
/// characters is escaped, and so are segments that a server would take for a relative path.
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;

    let is_dots = matches!(text, "." | "..");
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'.' if is_dots => encoded.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(octet));
            }
            // Writing to a string does not fail.
            _ => drop(write!(encoded, "%{octet:02X}")),
        }
    }
    encoded
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn escapes_are_read_once_and_plus_stays() {
        assert_eq!(decode("a+b%2Bc%0a").unwrap(), b"a+b+c\n");
        assert_eq!(decode("%2525%fF").unwrap(), b"%25\xff");
    }

    #[test]
    fn what_is_encoded_is_decoded_and_has_no_slash_or_dots_of_its_own() {
        for text in ["a/b c", "..", ".", "ä?#%", "pkcs11:id=1;type=private"] {
            let encoded = encode(text);
            assert_eq!(decode(&encoded).unwrap(), text.as_bytes());
            assert!(!encoded.contains('/') && encoded != ".." && encoded != ".");
        }
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for text in ["%", "%2", "%zz", "%2g", "a%\u{fc}"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
