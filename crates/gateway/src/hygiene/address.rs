//! The client's address behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

/// The client's address as the proxies tell it in `X-Forwarded-For`, read from the right: each
/// proxy appends whom it heard from, so the first address that is no trusted proxy is the client.
/// What stands left of it the client may have written itself. `None` when the header is absent or
/// something that is no address stands before the client is found: who was there is not known,
/// and whatever stands left of it may be invented.
pub(super) fn forwarded_for(
    headers: &HeaderMap,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let mut client = None;
    // Several lines are one list (RFC 9110 5.3). A line of any bytes counts, or one that is not
    // ASCII would hide the hops in it.
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    for hop in hops {
        let address = parse(std::str::from_utf8(hop).ok()?.trim())?;
        client = Some(address);
        if !is_proxy(address) {
            break;
        }
    }
    client
}

/// An address, with or without port and brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::forwarded_for;

    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
        let cases: [(&[&str], Option<&str>); 12] = [
            (&["203.0.113.9"], Some("203.0.113.9")),
            (&["1.1.1.1, 203.0.113.9, 10.0.0.2"], Some("203.0.113.9")),
            (&["1.1.1.1", "203.0.113.9,10.0.0.2"], Some("203.0.113.9")),
            (&["203.0.113.9:4711"], Some("203.0.113.9")),
            (&["[2001:db8::1]:4711"], Some("2001:db8::1")),
            (&["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            (&["203.0.113.9, unknown"], None),
            (&["6.6.6.6", "unknown, 10.0.0.2"], None),
            (&["6.6.6.6", "\u{fc}, 10.0.0.2"], None),
            (&["6.6.6.6", "\u{fc}"], None),
            (&["\u{fc}, 203.0.113.9, 10.0.0.2"], Some("203.0.113.9")),
            (&[], None),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(
                    "x-forwarded-for",
                    HeaderValue::from_bytes(line.as_bytes()).unwrap(),
                );
            }
            let client = forwarded_for(&headers, |address| address.to_string().starts_with("10."));
            assert_eq!(
                client,
                expected.map(|text| text.parse().unwrap()),
                "{lines:?}"
            );
        }
    }
}
