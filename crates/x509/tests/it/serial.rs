use lamassu_x509::{InvalidSerialNumber, Serial, SerialNumber};

#[test]
fn text_is_read_as_people_write_it() {
    for (text, hex) in [
        ("01", "01"),
        ("1", "01"),
        ("00:AB-cd", "abcd"),
        ("000000", "00"),
        ("0100", "0100"),
        ("ff", "ff"),
    ] {
        assert_eq!(Serial::from_hex(text).unwrap().to_hex(), hex);
    }
    for text in ["", ":", "xyz", "0x10", "ñ"] {
        assert_eq!(Serial::from_hex(text), None);
    }
}

#[test]
fn random_serials_are_positive_and_fit_20_octets() {
    let serial = SerialNumber::from_random([0xff; 20]).unwrap();
    assert_eq!(serial.to_hex(), "7f".to_owned() + &"ff".repeat(19));
    assert_eq!(Serial::from(&serial).as_bytes().len(), 20);
    assert_eq!(SerialNumber::from_random([0; 20]), Err(InvalidSerialNumber));
    let mut sign_only = [0; 20];
    sign_only[0] = 0x80;
    assert_eq!(
        SerialNumber::from_random(sign_only),
        Err(InvalidSerialNumber)
    );
}

#[test]
fn only_positive_values_of_20_octets_are_ours() {
    assert_eq!(SerialNumber::from_bytes(&[]), Err(InvalidSerialNumber));
    assert_eq!(SerialNumber::from_bytes(&[0, 0]), Err(InvalidSerialNumber));
    assert_eq!(
        SerialNumber::from_bytes(&[0x80; 20]),
        Err(InvalidSerialNumber)
    );
    assert_eq!(SerialNumber::from_bytes(&[1; 21]), Err(InvalidSerialNumber));
    assert_eq!(SerialNumber::from_bytes(&[0, 0x80]).unwrap().to_hex(), "80");
}
