use lamassu_x509::pem::{
    PemError, PemLabel, base64_pem_to_der, certificate_ders, der_to_base64_pem, der_to_pem,
    pem_to_der,
};
use proptest::prelude::*;

#[test]
fn lines_have_64_columns_and_an_end() {
    let pem = der_to_pem(PemLabel::Certificate, &[0; 60]);
    let lines: Vec<_> = pem.split('\n').collect();
    assert_eq!(lines[0], "-----BEGIN CERTIFICATE-----");
    assert_eq!(lines[1].len(), 64);
    assert_eq!(lines[2].len(), 16);
    assert_eq!(lines[3..], ["-----END CERTIFICATE-----", ""]);
}

#[test]
fn the_first_block_is_read_whatever_surrounds_it() {
    let block = "-----BEGIN ANYTHING-----\r\nAQID\r\n-----END ANYTHING-----\r\n";
    let headers = "-----BEGIN X-----\nProc-Type: 4\nA: b\n\nAQID\n-----END X-----";
    for text in [
        block.to_owned(),
        format!("subject=/CN=x\n{block}{block}"),
        headers.to_owned(),
        "-----BEGIN X-----AQID-----END X-----".to_owned(),
    ] {
        assert_eq!(pem_to_der(text.as_bytes()), Ok(vec![1, 2, 3]));
    }
}

#[test]
fn certificates_are_picked_out_of_what_stands_beside_them() {
    let certificate = |der: u8| der_to_pem(PemLabel::Certificate, &[der]);
    let text = [
        certificate(1),
        der_to_pem(PemLabel::PrivateKey, &[2]),
        certificate(3).replace("Aw==", "A"),
        certificate(4),
    ]
    .concat();
    let ders: Vec<_> = certificate_ders(text.as_bytes()).collect();
    assert_eq!(ders, [Ok(vec![1]), Err(PemError::Base64(1)), Ok(vec![4])]);
}

#[test]
fn what_is_no_block_is_refused() {
    for text in [
        "",
        "AQID",
        "-----BEGIN X-----AQID",
        "-----END X----------BEGIN X-----",
    ] {
        assert_eq!(pem_to_der(text.as_bytes()), Err(PemError::MissingBlock));
    }
    let error = pem_to_der(b"-----BEGIN X-----\nAQ!D\n-----END X-----").unwrap_err();
    assert_eq!(error.to_string(), "illegal base64 data at input byte 2");
}

#[test]
fn the_wire_form_is_base64_of_pem() {
    let wire = der_to_base64_pem(PemLabel::Certificate, &[1, 2, 3]);
    assert!(wire.starts_with("LS0tLS1CRUdJTi"));
    assert_eq!(base64_pem_to_der(&wire), Ok(vec![1, 2, 3]));
    let (front, back) = wire.split_at(8);
    assert_eq!(
        base64_pem_to_der(&format!("{front}\r\n{back}")),
        Ok(vec![1, 2, 3])
    );
    assert_eq!(base64_pem_to_der("!"), Err(PemError::Base64(0)));
    assert_eq!(base64_pem_to_der("AQID"), Err(PemError::MissingBlock));
}

proptest! {
    #[test]
    fn der_survives_pem(der in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(pem_to_der(der_to_pem(PemLabel::Crl, &der).as_bytes()), Ok(der));
    }
}
