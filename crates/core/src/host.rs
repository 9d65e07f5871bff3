//! Host names as configurations give them and certificates publish them.

use std::net::IpAddr;

/// Whether the text is a host with optional port and path (`va.example:8080/api/va`), without a
/// scheme: that is put in front by us, and the whole becomes an `IA5String` (RFC 5280 §4.2.1.6).
pub fn is_host_with_path(text: &str) -> bool {
    !text.is_empty() && !text.contains("://") && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether the host of a URL is this machine, which nobody listens in on: what may go there without TLS.
pub fn is_this_machine(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || address
            .unwrap_or(host)
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_host_with_path, is_this_machine};

    #[test]
    fn this_machine_is_named_in_few_ways() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.0.1", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for other in [
            "",
            "localhost.example",
            "127.0.0.1.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
        ] {
            assert!(!is_this_machine(other), "{other}");
        }
    }

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
