//! `multipart/mixed` (RFC 2046 section 5.1), as far as EST has it: a few parts of base64.

use zeroize::Zeroizing;

/// One part.
pub(super) struct Part {
    /// The value of its `Content-Type`, in lower case.
    pub(super) media_type: String,
    /// Its lines.
    pub(super) body: Zeroizing<String>,
}

/// The parts of a body of this media type; `None` when it is no such body.
pub(super) fn parts(media_type: &str, body: &[u8]) -> Option<Vec<Part>> {
    let delimiter = format!("--{}", boundary(media_type)?);
    let mut parts: Vec<Part> = Vec::new();
    let mut place = Place::Outside;
    for line in std::str::from_utf8(body).ok()?.lines() {
        let rest = line.strip_prefix(&delimiter).map(str::trim_end);
        match (rest, place) {
            (Some("--"), _) => return Some(parts),
            (Some(""), _) => {
                place = Place::Header;
                parts.push(Part {
                    media_type: String::new(),
                    body: Zeroizing::default(),
                });
            }
            (_, Place::Outside) => {}
            (_, Place::Header) if line.trim().is_empty() => place = Place::Body,
            (_, Place::Header) => {
                if let Some((name, value)) = line.split_once(':')
                    && name.trim().eq_ignore_ascii_case("content-type")
                {
                    parts.last_mut()?.media_type = value.trim().to_ascii_lowercase();
                }
            }
            (_, Place::Body) => {
                let body = &mut parts.last_mut()?.body;
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    // The end is missing, and with it perhaps more.
    None
}

#[derive(Clone, Copy)]
enum Place {
    Outside,
    Header,
    Body,
}

/// The boundary that a media type names.
fn boundary(media_type: &str) -> Option<&str> {
    let mut parameters = media_type.split(';');
    let kind = parameters.next()?.trim();
    let is_multipart = kind
        .get(.."multipart/".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    let named = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_boundary = name.trim().eq_ignore_ascii_case("boundary");
        is_boundary.then(|| value.trim().trim_matches('"'))
    });
    named.filter(|boundary| is_multipart && !boundary.is_empty())
}

#[cfg(test)]
mod tests {
    use super::parts;

    const TYPE: &str = "multipart/mixed; boundary=estServerExampleBoundary";

    /// RFC 7030 appendix A.4, shortened, as is and with the line ends of Unix.
    #[test]
    fn the_example_of_rfc_7030_is_read() {
        let body = "This is the preamble.  It is to be ignored.\r\n\
            --estServerExampleBoundary\r\nContent-Type: application/pkcs8\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nMIIE\r\nvQIB\r\n\
            --estServerExampleBoundary\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nMIID\r\n--estServerExampleBoundary--\r\nepilogue";
        for body in [body.to_owned(), body.replace("\r\n", "\n")] {
            let read = parts(TYPE, body.as_bytes()).unwrap();
            assert_eq!(read.len(), 2);
            assert_eq!(read[0].media_type, "application/pkcs8");
            assert_eq!(read[0].body.as_str(), "MIIE\nvQIB\n");
            assert_eq!(read[1].body.as_str(), "MIID\n");
        }
        let quoted = "Multipart/Mixed; charset=x; Boundary=\"estServerExampleBoundary\"";
        assert!(parts(quoted, body.as_bytes()).is_some());
    }

    #[test]
    fn what_is_cut_or_no_multipart_is_refused() {
        let body = "--b\r\nContent-Type: application/pkcs8\r\n\r\nMIIE\r\n";
        assert!(parts("multipart/mixed; boundary=b", body.as_bytes()).is_none());
        let whole = format!("{body}--b--");
        assert!(parts("multipart/mixed; boundary=b", whole.as_bytes()).is_some());
        for other in ["text/plain; boundary=b", "multipart/mixed", ""] {
            assert!(parts(other, whole.as_bytes()).is_none(), "{other}");
        }
        assert!(parts("multipart/mixed; boundary=b", b"\xff").is_none());
    }
}
