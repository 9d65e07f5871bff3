//! Tag, length, value: the layer below every structure of this crate.
//!
//! Reading hands out slices of the input and never copies, because what is signed or
//! compared (names, to-be-signed parts, identifiers of OCSP requests) must keep its
//! bytes. Lengths are checked against the input before anything is taken, so a claimed
//! length never becomes an allocation. Nothing here recurses over input: each structure
//! has a fixed depth, and what is deeper stays an unread slice.
//!
//! DER is read strictly (definite, minimal lengths; single-octet tags), everything above
//! it leniently. Next: [`Reader`], [`Writer`].

mod framed;
mod read;
mod tag;
mod write;

pub(crate) use framed::Framed;
pub(crate) use read::{Reader, Tlv, oid_value, unsigned};
pub(crate) use tag::{
    BIT_STRING, BMP_STRING, ENUMERATED, GENERAL_STRING, GENERALIZED_TIME, IA5_STRING, INTEGER,
    NULL, NUMERIC_STRING, OBJECT_IDENTIFIER, OCTET_STRING, PRINTABLE_STRING, SEQUENCE, SET,
    TELETEX_STRING, UNIVERSAL_STRING, UTC_TIME, UTF8_STRING, VISIBLE_STRING, context,
    context_constructed,
};
pub(crate) use write::{Writer, header_len, sequence_of};
