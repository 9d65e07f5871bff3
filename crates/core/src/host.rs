//! Host names as configurations give them and certificates publish them.

/// Whether the text is a host with optional port and path (`va.example:8080/api/va`), without a
/// scheme: that is put in front by us, and the whole becomes an `IA5String` (RFC 5280 §4.2.1.6).
pub fn is_host_with_path(text: &str) -> bool {
    !text.is_empty() && !text.contains("://") && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::is_host_with_path;

    #[test]
    fn a_host_has_no_scheme_and_no_blanks() {
        for host in ["va.example", "va.example:8080/api/va", "[::1]:80"] {
            assert!(is_host_with_path(host), "{host}");
        }
        for other in ["", "http://va.example", "va example", "vä.example"] {
            assert!(!is_host_with_path(other), "{other}");
        }
    }
}
