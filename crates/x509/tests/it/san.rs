use std::net::IpAddr;

use bytes::Bytes;
use lamassu_x509::issue::{IssueError, prepare};
use lamassu_x509::{Criticality, Extension, GeneralName, Name, SanError, oids};

use crate::support::{
    Conditions, ROOT, common_name, device_subject, device_template, honouring_profile,
};

fn issue_with(value: Vec<u8>) -> Result<(), IssueError> {
    let extension = Extension::new(&oids::CE_SUBJECT_ALT_NAME, Criticality::Critical, value);
    let subject = device_subject(&device_template("d").with_extension(extension));
    let conditions = Conditions::new(honouring_profile());
    prepare(&subject, &ROOT.issuer(), &conditions.terms()).map(drop)
}

fn one_name(tag: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).unwrap();
    [&[0x30, len + 2, tag, len], value].concat()
}

#[test]
fn names_that_everybody_reads_are_copied() {
    for (tag, value) in [
        (0x81, &b"a@example.com"[..]),
        (0x82, b"*.example.com"),
        (0x86, b"http://user@example.com:80/a%20b?x=y"),
        (0x86, b"urn:uuid:f81d4fae"),
        (0x86, b"spiffe://domain/work/load"),
        (0x86, b"http://[::1]:8080/"),
        (0x87, &[10, 0, 0, 1]),
        (0x87, &[0; 16]),
        (0x88, &[0x2a, 0x03]),
    ] {
        assert_eq!(issue_with(one_name(tag, value)), Ok(()));
    }
}

#[test]
fn names_that_go_refuses_are_refused() {
    for (tag, value, error) in [
        (0x82, "ñ.example".as_bytes(), SanError::NotAscii("DNS name")),
        (0x81, b"a\x00@b", SanError::NotAscii("mail address")),
        (0x86, b"http://\xff/", SanError::NotAscii("URI")),
        (0x86, b"no-scheme", SanError::InvalidUri),
        (0x86, b"1http://x", SanError::InvalidUri),
        (0x86, b"http://a..b/", SanError::InvalidUri),
        (0x86, b"http://a:b/", SanError::InvalidUri),
        (0x86, b"http://us[er@a/", SanError::InvalidUri),
        (0x86, b"http://[::1]x/", SanError::InvalidUri),
        (0x86, b"http://a/%zz", SanError::InvalidUri),
        (0x86, b"http://a/b c", SanError::InvalidUri),
        (0x87, &[1, 2, 3], SanError::IpAddressLength(3)),
    ] {
        assert_eq!(
            issue_with(one_name(tag, value)),
            Err(IssueError::SubjectAltName(error))
        );
    }
    assert_eq!(
        issue_with(vec![0x30, 0x00]),
        Err(IssueError::SubjectAltName(SanError::Empty))
    );
    assert!(matches!(
        issue_with(vec![0x31, 0x00]),
        Err(IssueError::SubjectAltName(SanError::Malformed(_)))
    ));
}

#[test]
fn a_directory_name_with_an_unreadable_value_is_refused() {
    let readable = common_name("x");
    assert_eq!(issue_with(one_name(0xa4, readable.as_der())), Ok(()));
    let mut der = common_name("d-1").as_der().to_vec();
    *der.last_mut().unwrap() = b'_';
    let unreadable = Name::from_der(der).unwrap();
    assert!(matches!(
        issue_with(one_name(0xa4, unreadable.as_der())),
        Err(IssueError::SubjectAltName(SanError::DirectoryName(_)))
    ));
}

#[test]
fn all_forms_are_written_and_read() {
    let names = [
        GeneralName::Rfc822("a@b".to_owned()),
        GeneralName::Dns("x.example".to_owned()),
        GeneralName::Uri("urn:x".to_owned()),
        GeneralName::Ip("192.0.2.1".parse::<IpAddr>().unwrap()),
        GeneralName::Ip("2001:db8::1".parse::<IpAddr>().unwrap()),
        GeneralName::Directory(common_name("y")),
        GeneralName::Other(Bytes::from_static(&[0x88, 1, 0x2a])),
    ];
    let subject = device_subject(&device_template("d").with_subject_alt_names(&names));
    let certificate = ROOT.issue(&subject, &Conditions::new(honouring_profile()));
    assert_eq!(certificate.extensions().subject_alt_names().unwrap(), names);
}
