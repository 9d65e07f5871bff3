use lamassu_x509::{Name, NameError, SubjectFields};

/// `SEQUENCE { SET { SEQUENCE { OID 2.5.4.<arc>, <tag> value } } }`
pub(crate) fn one_attribute(arc: u8, tag: u8, value: &[u8]) -> Name {
    let value_len = u8::try_from(value.len()).unwrap();
    let mut der = vec![
        0x30,
        value_len + 11,
        0x31,
        value_len + 9,
        0x30,
        value_len + 7,
        0x06,
        3,
        0x55,
        0x04,
        arc,
        tag,
        value_len,
    ];
    der.extend_from_slice(value);
    Name::from_der(der).unwrap()
}

#[test]
fn six_fields_become_a_name_and_come_back() {
    let fields = SubjectFields {
        common_name: "dev_1".to_owned(),
        organization: "Ikerlan & Co".to_owned(),
        organizational_unit: "Año".to_owned(),
        country: "ES".to_owned(),
        state: "Gipuzkoa".to_owned(),
        locality: "Arrasate".to_owned(),
    };

    let name = fields.to_name();

    assert_eq!(name.subject_fields(), fields);
    assert_eq!(
        name.to_string(),
        "C=ES,ST=Gipuzkoa,L=Arrasate,O=Ikerlan & Co,OU=Año,CN=dev_1"
    );
}

#[test]
fn string_types_follow_the_alphabet() {
    for (text, tag) in [
        ("dev-1", 0x13),
        ("dev_1", 0x0c),
        ("a@b", 0x0c),
        ("a*", 0x0c),
        ("ñ", 0x0c),
    ] {
        let der = SubjectFields::with_common_name(text).to_name();
        assert_eq!(der.as_der()[11], tag, "{text}");
    }
}

#[test]
fn empty_fields_are_left_out() {
    let name = SubjectFields::default().to_name();
    assert_eq!(name.as_der(), [0x30, 0x00]);
    assert!(name.is_empty());
    assert_eq!(name.common_name(), None);
}

#[test]
fn values_are_decoded_by_their_string_type() {
    for (tag, value, text) in [
        (0x13, &b"plain"[..], "plain"),
        (0x0c, "ñ".as_bytes(), "ñ"),
        (0x1e, b"\x00\xf1\x00a", "ña"),
        (0x1c, b"\x00\x01\xf6\x00", "😀"),
        (0x14, b"\xf1", "ñ"),
        (0x0c, b"\xff", "\u{fffd}"),
    ] {
        let name = one_attribute(3, tag, value);
        assert_eq!(name.common_name().as_deref(), Some(text));
    }
}

#[test]
fn readable_names_are_issued_byte_for_byte() {
    for (tag, value) in [
        (0x13, &b"plain *&"[..]),
        (0x0c, "ñ".as_bytes()),
        (0x16, b"a@b"),
        (0x1e, b"\x00a"),
        (0x14, b"\xf1"),
        (0x12, b"12 3"),
    ] {
        let name = one_attribute(3, tag, value);
        assert_eq!(name.issuable(), Ok(name.clone()));
    }
}

#[test]
fn values_invalid_for_their_type_are_written_again_as_utf8() {
    for (tag, value, text) in [
        (0x13, &b"dev_1"[..], "dev_1"),
        (0x13, b"a@b", "a@b"),
        (0x1c, b"\x00\x00\x00a", "a"),
        (0x1a, b"visible", "visible"),
        (0x12, b"12a", "12a"),
    ] {
        let issuable = one_attribute(3, tag, value).issuable().unwrap();
        assert_eq!(issuable, one_attribute(3, 0x0c, text.as_bytes()));
    }
}

#[test]
fn values_without_meaning_are_refused_by_name() {
    for (tag, value) in [
        (0x0c, &b"\xff"[..]),
        (0x13, b"\xff"),
        (0x1e, b"a"),
        (0x1c, b"\xff\xff\xff\xff"),
        (0x03, b"\x01a"),
    ] {
        let error = one_attribute(10, tag, value).issuable().unwrap_err();
        assert_eq!(error, NameError::MeaninglessValue("O".to_owned()));
        assert_eq!(
            error.to_string(),
            "the value of subject attribute O is not a valid string"
        );
    }
}

#[test]
fn names_match_after_normalisation() {
    let name = one_attribute(3, 0x13, b"Root  CA ");
    assert!(name.matches(&one_attribute(3, 0x0c, b"root ca")));
    assert!(!name.matches(&one_attribute(3, 0x0c, b"rootca")));
    assert!(!name.matches(&one_attribute(10, 0x0c, b"root ca")));
}

#[test]
fn a_type_beyond_what_go_reads_is_refused() {
    let name = Name::from_der(vec![
        0x30, 16, 0x31, 14, 0x30, 12, 0x06, 7, 0x2a, 0x90, 0x80, 0x80, 0x80, 0x80, 0x00, 0x0c, 1,
        b'x',
    ])
    .unwrap();
    assert!(matches!(name.issuable(), Err(NameError::UnreadableType(_))));
}

#[test]
fn a_value_with_nul_is_refused_by_name_in_every_string_type() {
    for (tag, value) in [
        (0x0c, &b"a\0"[..]),
        (0x13, b"\0"),
        (0x16, b"a\0b"),
        (0x14, b"\0b"),
        (0x1e, b"\0\0\0a"),
        (0x1c, b"\0\0\0\0"),
    ] {
        let error = one_attribute(3, tag, value).issuable().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value of subject attribute CN holds the character U+0000, which cannot be stored"
        );
    }
}
