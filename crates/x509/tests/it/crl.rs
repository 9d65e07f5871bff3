use bytes::Bytes;
use lamassu_crypto::{Curve, KeySpec};
use lamassu_x509::crl::{
    CertificateList, CrlBuilder, CrlError, CrlFields, CrlNumber, CrlReason, RevokedEntry,
};
use lamassu_x509::pem::PemLabel;
use lamassu_x509::{Criticality, Extension, Serial, oids};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::openssl::{Files, openssl, text};
use crate::support::{Ca, NOW, ROOT, signed};

pub(crate) fn fields(ca: &Ca) -> CrlFields {
    CrlFields {
        issuer: ca.certificate.subject().clone(),
        authority_key_identifier: ca.certificate.subject_key_identifier(),
        number: CrlNumber(300),
        this_update: NOW,
        next_update: NOW + Duration::WEEK,
        scheme: ca.key.default_scheme(),
    }
}

pub(crate) fn entry(hex: &str, reason: CrlReason) -> RevokedEntry {
    RevokedEntry {
        serial: Serial::from_hex(hex).unwrap(),
        revocation_date: datetime!(2026-02-03 04:05:06 UTC),
        reason,
    }
}

pub(crate) fn crl(ca: &Ca, entries: &[RevokedEntry]) -> Bytes {
    let mut builder = CrlBuilder::new(&fields(ca)).unwrap();
    for entry in entries {
        builder.push(entry).unwrap();
    }
    signed(builder.finish(), &ca.key)
}

#[test]
fn entries_are_written_and_read_back() {
    let entries = [
        entry("01", CrlReason::KeyCompromise),
        entry("80ff", CrlReason::Unspecified),
        entry(
            "7fffffffffffffffffffffffffffffffffffffff",
            CrlReason::AaCompromise,
        ),
        RevokedEntry {
            revocation_date: datetime!(0001-01-01 00:00 UTC),
            ..entry("05", CrlReason::CertificateHold)
        },
    ];

    let list = CertificateList::from_der(crl(&ROOT, &entries)).unwrap();

    assert_eq!(list.entries().collect::<Vec<_>>(), entries);
    assert_eq!(list.entry(&entries[1].serial), Some(entries[1].clone()));
    assert_eq!(list.entry(&Serial::from_hex("02").unwrap()), None);
    assert_eq!(list.number(), Ok(Some(CrlNumber(300))));
    assert_eq!(list.issuer(), ROOT.certificate.subject());
    assert_eq!(list.this_update(), NOW.replace_nanosecond(0).unwrap());
    assert_eq!(
        list.extensions()
            .authority_key_identifier()
            .unwrap()
            .unwrap()
            .key_identifier,
        ROOT.certificate.subject_key_identifier()
    );
    assert_eq!(list.verify_signed_by(ROOT.key.public_key()), Ok(()));
}

#[test]
fn a_complete_list_never_says_remove_from_crl() {
    let list =
        CertificateList::from_der(crl(&ROOT, &[entry("01", CrlReason::RemoveFromCrl)])).unwrap();
    assert_eq!(
        list.entries().next().unwrap().reason,
        CrlReason::Unspecified
    );
}

#[test]
fn an_empty_list_has_no_entries_member() {
    let list = CertificateList::from_der(crl(&ROOT, &[])).unwrap();
    assert_eq!(list.entries().count(), 0);
    let said = openssl_says(&crl(&ROOT, &[]), &ROOT);
    assert!(said.contains("No Revoked Certificates"), "{said}");
}

fn openssl_says(der: &[u8], ca: &Ca) -> String {
    let files = Files::new();
    let issuer = files.pem("ca.pem", PemLabel::Certificate, ca.certificate.as_der());
    let path = files.pem("ca.crl", PemLabel::Crl, der);
    openssl(&[
        "crl",
        "-in",
        text(&path),
        "-CAfile",
        text(&issuer),
        "-noout",
        "-text",
    ])
}

#[test]
fn openssl_verifies_lists_on_every_kind_of_key() {
    for spec in [
        KeySpec::Rsa(2048),
        KeySpec::Ec(Curve::P224),
        KeySpec::Ec(Curve::P384),
        KeySpec::Ed25519,
    ] {
        let ca = Ca::root(spec);
        let said = openssl_says(&crl(&ca, &[entry("80ff", CrlReason::CaCompromise)]), &ca);
        assert!(said.contains("verify OK"), "{said}");
        assert!(said.contains("Serial Number: 80FF"), "{said}");
        assert!(said.contains("CA Compromise"), "{said}");
        assert!(said.contains("300"), "{said}");
    }
}

#[test]
fn many_entries_take_linear_time_and_room() {
    let mut builder = CrlBuilder::new(&fields(&ROOT)).unwrap();
    for number in 1..=100_000_u32 {
        let one = entry(&format!("{number:08x}"), CrlReason::Superseded);
        builder.push(&one).unwrap();
    }
    let list = CertificateList::from_der(signed(builder.finish(), &ROOT.key)).unwrap();
    assert_eq!(list.entries().count(), 100_000);
}

#[test]
fn further_extensions_of_the_list_are_carried() {
    let mut builder = CrlBuilder::new(&fields(&ROOT)).unwrap();
    // onlyContainsUserCerts
    builder.push_extension(Extension::new(
        &"2.5.29.28".parse().unwrap(),
        Criticality::Critical,
        Bytes::from_static(b"\x30\x03\x81\x01\xff"),
    ));
    let list = CertificateList::from_der(signed(builder.finish(), &ROOT.key)).unwrap();
    assert!(
        list.extensions()
            .find(&"2.5.29.28".parse().unwrap())
            .unwrap()
            .is_critical()
    );
    assert!(list.extensions().find(&oids::CE_CRL_NUMBER).is_some());
}

#[test]
fn dates_that_cannot_be_written_are_refused() {
    let mut late = fields(&ROOT);
    late.next_update = OffsetDateTime::UNIX_EPOCH.replace_year(-5).unwrap();
    assert_eq!(
        CrlBuilder::new(&late).unwrap_err(),
        CrlError::DateOutOfRange
    );
}

#[test]
fn every_reason_has_its_code() {
    for reason in CrlReason::ALL {
        assert_eq!(CrlReason::from_code(reason.code()), Some(reason));
    }
    assert_eq!(CrlReason::from_code(7), None);
}

#[test]
fn an_entry_that_does_not_decode_refuses_the_list() {
    let mut der = crl(&ROOT, &[entry("01", CrlReason::KeyCompromise)]).to_vec();
    let date = der
        .windows(13)
        .position(|window| window == b"260203040506Z")
        .unwrap();
    der[date] = b'x';
    assert_eq!(
        CertificateList::from_der(der).unwrap_err().to_string(),
        "malformed certificate list: invalid time"
    );
}
