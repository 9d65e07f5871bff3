//! The grammar of Envoy's `x-forwarded-client-cert`.
//!
//! ```text
//! header  = element *( "," element )      one element per proxy, the nearest last
//! element = pair *( ";" pair )
//! pair    = key "=" value                 value plain, or in double quotes with \" inside
//! ```
//!
//! Read by its grammar, not by splitting: a subject inside quotes may hold `,`, `;` and `=`, and
//! could otherwise smuggle in a `Chain` of the attacker's choice.

/// The value of `Chain`, else of `Cert`, in the element `hops` places from the right; `None` when
/// there is none or the header does not follow the grammar.
pub(super) fn certificate_value(header: &str, hops: usize) -> Option<String> {
    let elements = elements(header)?;
    let element = elements.into_iter().rev().nth(hops.checked_sub(1)?)?;
    let mut cert = None;
    for (key, value) in element {
        match key.as_str() {
            "Chain" => return Some(value),
            "Cert" if cert.is_none() => cert = Some(value),
            _ => {}
        }
    }
    cert
}

type Pair = (String, String);

/// Where in a pair the reader stands.
enum At {
    Key,
    ValueStart,
    Plain,
    Quoted,
    Escaped,
    AfterQuote,
}

fn elements(header: &str) -> Option<Vec<Vec<Pair>>> {
    let mut elements = Vec::new();
    let mut pairs = Vec::new();
    let (mut key, mut value) = (String::new(), String::new());
    let mut at = At::Key;
    // A comma at the end closes the last element.
    for c in header.chars().chain(std::iter::once(',')) {
        match (&at, c) {
            (At::Quoted, '\\') => at = At::Escaped,
            (At::Escaped, c) => {
                value.push(c);
                at = At::Quoted;
            }
            (At::Quoted, '"') => at = At::AfterQuote,
            (At::Quoted, c) => value.push(c),
            (At::Key, '=') => at = At::ValueStart,
            (At::ValueStart, '"') => at = At::Quoted,
            (_, ';' | ',') => {
                // A key without value is no pair; an empty place between separators is nothing.
                if matches!(at, At::Key) && !key.trim().is_empty() {
                    return None;
                }
                if !matches!(at, At::Key) {
                    pairs.push((key.trim().to_owned(), std::mem::take(&mut value)));
                }
                key.clear();
                at = At::Key;
                if c == ',' {
                    elements.push(std::mem::take(&mut pairs));
                }
            }
            (At::Key, c) => key.push(c),
            (At::ValueStart | At::Plain, c) => {
                value.push(c);
                at = At::Plain;
            }
            (At::AfterQuote, c) if c.is_ascii_whitespace() => {}
            (At::AfterQuote, _) => return None,
        }
    }
    matches!(at, At::Key).then_some(elements)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::certificate_value;

    #[test]
    fn values_are_found_by_the_grammar() {
        let cases = [
            (r#"Hash=ab;Chain="x%3D""#, 1, Some("x%3D")),
            (r#"Hash=ab;Cert="c";Chain="x""#, 1, Some("x")),
            (r#"Cert="c""#, 1, Some("c")),
            (r#"Cert=plain"#, 1, Some("plain")),
            (r#"Cert=a==;Hash=b"#, 1, Some("a==")),
            (r#"Subject="CN=a,O=b;Chain=evil";Cert="c""#, 1, Some("c")),
            (r#"Subject="a\";Chain=evil";Cert="c""#, 1, Some("c")),
            (r#"Cert="attacker",Cert="proxy""#, 1, Some("proxy")),
            (r#"Cert="client",Cert="proxy""#, 2, Some("client")),
            (r#"Cert="client""#, 2, None),
            (r#"cert="c""#, 1, None),
            (r#"Cert="c"#, 1, None),
            (r#"Cert="c"x"#, 1, None),
            (r"Cert", 1, None),
            (r"", 1, None),
        ];
        for (header, hops, expected) in cases {
            assert_eq!(
                certificate_value(header, hops).as_deref(),
                expected,
                "{header}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_quoted_value_reads_back(value in "[ -~]*", hop in 1_usize..4) {
            let quoted = value.replace('\\', r"\\").replace('"', "\\\"");
            let element = format!("Subject=\"CN=a,b;c\";Chain=\"{quoted}\"");
            let header = vec![element; 3].join(",");
            prop_assert_eq!(certificate_value(&header, hop), Some(value));
        }
    }
}
