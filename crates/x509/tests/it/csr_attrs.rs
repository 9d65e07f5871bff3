//! CsrAttrs with a template, read by the ASN.1 module of RFC 9908 as pyasn1 has it.

use std::process::Command;

use lamassu_x509::{
    ChallengePassword, CsrAttribute, KeyTemplate, ObjectIdentifier, RequestInfoTemplate, csr_attrs,
    oids,
};

use crate::openssl::{Files, text};
use crate::pkilint::pkilint;

/// Prints the template's version, the types of its subject, its algorithm, whether it has a key, and
/// the types of its attributes.
const READER: &str = "
import sys
from pyasn1.codec.der import decoder
from pyasn1.type import univ
from pyasn1_alt_modules import rfc9908
attrs, rest = decoder.decode(open(sys.argv[1], 'rb').read(), asn1Spec=univ.SequenceOf(componentType=univ.Any()))
assert not rest
attribute, rest = decoder.decode(attrs[len(attrs) - 1], asn1Spec=rfc9908.Attribute())
assert attribute['type'] == rfc9908.id_aa_certificationRequestInfoTemplate and not rest
template, rest = decoder.decode(attribute['values'][0], asn1Spec=rfc9908.CertificationRequestInfoTemplate())
assert not rest
names = [str(single['type']) for rdn in template['subject'][0] for single in rdn]
info = template['subjectPKInfo']
algorithm = str(info['algorithm']['algorithm']) if info.isValue else '-'
key = info.isValue and info['subjectPublicKey'].isValue
print(int(template['version']), names, algorithm, key, [str(one['type']) for one in template['attributes']])
";

#[test]
fn templates_are_those_of_rfc_9908() {
    let curve = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    for (key, challenge_password, expected) in [
        (
            Some(KeyTemplate::Elliptic(curve)),
            ChallengePassword::Wanted,
            "0 ['2.5.4.3'] 1.2.840.10045.2.1 False ['1.2.840.113549.1.9.7']\n",
        ),
        (
            Some(KeyTemplate::Rsa(3072)),
            ChallengePassword::NotWanted,
            "0 ['2.5.4.3'] 1.2.840.113549.1.1.1 True []\n",
        ),
        (
            None,
            ChallengePassword::NotWanted,
            "0 ['2.5.4.3'] - False []\n",
        ),
    ] {
        let der = csr_attrs(&[
            CsrAttribute::Oid(oids::EXTENSION_REQUEST),
            CsrAttribute::Template(RequestInfoTemplate {
                key,
                challenge_password,
            }),
        ]);
        let files = Files::new();
        let (reader, der) = (
            files.der("reader.py", READER.as_bytes()),
            files.der("attrs.der", &der),
        );
        let output = Command::new(pkilint("python3"))
            .args([text(&reader), text(&der)])
            .output()
            .unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{complained}"
        );
    }
}
