//! What EST hands on of the HTTP request that it came in.

use http::header::HOST;
use http::request::Parts;
use lamassu_core::caller::Principal;
use lamassu_core::dms::{EstOrigin, EstToken, TokenHolder};
use lamassu_core::permission::Permission;
use lamassu_http::{PeerAddress, PresentedToken};

const ENROLL: Permission = Permission::new("est", "enroll");
const REENROLL: Permission = Permission::new("est", "reenroll");

/// The request as policies see it.
pub(super) fn origin(parts: &Parts) -> EstOrigin {
    let mut origin = EstOrigin {
        url: parts
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        address: parts
            .extensions
            .get::<PeerAddress>()
            .map(|address| address.0.ip()),
        token: parts.extensions.get::<PresentedToken>().map(token),
        ..EstOrigin::default()
    };
    for (name, value) in &parts.headers {
        if name == HOST {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        origin
            .headers
            .entry(canonical(name.as_str()))
            .or_insert(value);
    }
    origin
}

fn token(PresentedToken(identity): &PresentedToken) -> EstToken {
    let holder = identity.as_ref().and_then(|identity| {
        let Principal::Token { subject, provider } = &identity.principal else {
            return None;
        };
        Some(TokenHolder {
            subject: subject.clone(),
            provider: provider.to_string(),
            may_enroll: identity.allows(ENROLL),
            may_reenroll: identity.allows(REENROLL),
        })
    });
    EstToken { holder }
}

/// A header's name as webhooks know it: each word begins with a capital.
fn canonical(name: &str) -> String {
    let mut at_start = true;
    let letters = name.chars().map(|letter| {
        let letter = if at_start {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        at_start = letter == '-';
        letter
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::origin;

    #[test]
    fn headers_have_the_names_that_webhooks_know() {
        let (parts, ()) = Request::builder()
            .uri("/.well-known/est/a/simpleenroll?x=1")
            .header("host", "pki")
            .header("user-agent", "curl")
            .header("x-serial", "first")
            .header("x-serial", "second")
            .body(())
            .unwrap()
            .into_parts();
        let origin = origin(&parts);
        assert_eq!(origin.url, "/.well-known/est/a/simpleenroll?x=1");
        let headers: Vec<_> = origin.headers.into_iter().collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            headers,
            [
                (text("User-Agent"), text("curl")),
                (text("X-Serial"), text("first")),
            ]
        );
    }
}
