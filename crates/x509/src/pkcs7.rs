//! PKCS#7 that carries certificates only (RFC 5652 §5, RFC 8951 §2.2).
//!
//! EST's `cacerts` and enrollment answers have this form. Lists of certificates are SETs,
//! but the order that the caller gives is kept, because clients take the first one for
//! theirs.

use bytes::Bytes;

use crate::certificate::Certificate;
use crate::error::{Malformation, ParseError, Structure};
use crate::oids;
use crate::tlv::{INTEGER, Reader, SEQUENCE, SET, Writer, context_constructed, sequence_of};

/// Most certificates that are read from one structure.
pub const MAX_CERTIFICATES: usize = 1000;

/// Longest structure that is read, in bytes.
pub const MAX_LEN: usize = 1 << 24;

/// The DER of a `ContentInfo` with these certificates, in this order.
///
/// ```text
/// SEQUENCE { signedData, [0] SEQUENCE {
///     version 1, digestAlgorithms SET {}, encapContentInfo SEQUENCE { data },
///     certificates [0] …, crls [1] {}, signerInfos SET {} } }
/// ```
///
/// The empty `crls` is written: clients in the field compare whole answers.
pub fn certs_only<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let content = sequence_of(|signed_data| {
        signed_data
            .element(INTEGER, &[1])
            .element(SET, &[])
            .sequence(|content| {
                content.oid(&oids::PKCS7_DATA);
            })
            .nested(context_constructed(0), |list| {
                for certificate in certificates {
                    list.raw(certificate);
                }
            })
            .element(context_constructed(1), &[])
            .element(SET, &[]);
    });
    let mut out = Writer::with_capacity(content.len().saturating_add(32));
    out.sequence(|info| {
        info.oid(&oids::PKCS7_SIGNED_DATA)
            .element(context_constructed(0), &content);
    });
    out.into_vec()
}

/// The certificates in a PKCS#7 `SignedData`, in order; whatever is signed in it is ignored.
///
/// # Errors
///
/// [`ParseError`] when the bytes are no DER `SignedData`, one of the certificates cannot be
/// read, or there are more than [`MAX_CERTIFICATES`].
pub fn certificates(der: impl Into<Bytes>) -> Result<Vec<Certificate>, ParseError> {
    let der = der.into();
    let parts =
        certificate_parts(&der).map_err(|malformation| malformation.within(Structure::Pkcs7))?;
    parts.into_iter().map(Certificate::from_der).collect()
}

fn certificate_parts(der: &Bytes) -> Result<Vec<Bytes>, Malformation> {
    if der.len() > MAX_LEN {
        return Err(Malformation::TooLarge);
    }
    let mut outer = Reader::new(der);
    let mut info = outer.sequence()?;
    outer.finish()?;
    if info.oid()? != oids::PKCS7_SIGNED_DATA.as_bytes() {
        return Err(Malformation::UnsupportedContentType);
    }
    let mut signed_data = info.expect(context_constructed(0))?.reader().sequence()?;
    signed_data.expect(INTEGER)?;
    signed_data.expect(SET)?;
    signed_data.expect(SEQUENCE)?;
    let Some(list) = signed_data.optional(context_constructed(0))? else {
        return Ok(Vec::new());
    };
    let mut list = list.reader();
    let mut certificates = Vec::new();
    while !list.is_empty() {
        if certificates.len() == MAX_CERTIFICATES {
            return Err(Malformation::TooLarge);
        }
        // Attribute certificates and other choices have context tags.
        let certificate = list.any()?;
        if certificate.tag == SEQUENCE {
            certificates.push(der.slice_ref(certificate.raw));
        }
    }
    Ok(certificates)
}
