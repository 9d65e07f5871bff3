//! Certification requests as they come from the field: odd, but meant. EST and the CA's own endpoint give the same
//! verdict on each, and `docs/guide/requests.md` lists them.

use std::process::Command;

use http::StatusCode;
use lamassu_core::ca::{IssuanceProfile, ProfileChoice, SignCsr, Validity};
use lamassu_core::duration::WireDuration;
use lamassu_core::pem::CsrDer;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_x509::oids;
use serde_json::json;
use tempfile::TempDir;

use crate::device::{Device, element};
use crate::support::{World, caller, dms};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// With 400 and a text that holds this.
    Refused(&'static str),
}

use Verdict::{Accepted, Refused};

/// A request, what is special about it, and what becomes of it.
struct Case {
    about: &'static str,
    der: Vec<u8>,
    verdict: Verdict,
}

/// The parts of a request; signed with a P-256 key.
struct Parts {
    version: Vec<u8>,
    subject: Vec<u8>,
    spki: Option<Vec<u8>>,
    /// The whole `[0]`, or nothing.
    attributes: Vec<u8>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            version: vec![2, 1, 0],
            subject: common_name(0x0c, b"d"),
            spki: None,
            attributes: vec![0xa0, 0],
        }
    }
}

impl Parts {
    fn sign(self) -> Vec<u8> {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let own = key.public_key().spki_der().to_vec();
        let spki = self.spki.unwrap_or(own);
        let info = element(
            0x30,
            &[&self.version, &self.subject, &spki, &self.attributes],
        );
        let scheme = key.default_scheme();
        let signature = key.sign(scheme, Message::Raw(&info)).unwrap();
        let algorithm = scheme.to_algorithm_identifier_der().unwrap();
        element(0x30, &[&info, &algorithm, &element(3, &[&[0], &signature])])
    }
}

/// A name of one attribute.
fn name(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    element(0x30, &[&relative(oid, tag, value)])
}

/// One RDN of a name.
fn relative(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    let attribute = element(0x30, &[&element(6, &[oid]), &element(tag, &[value])]);
    element(0x31, &[&attribute])
}

fn common_name(tag: u8, value: &[u8]) -> Vec<u8> {
    name(&[0x55, 4, 3], tag, value)
}

fn named(tag: u8, value: &[u8]) -> Vec<u8> {
    let subject = common_name(tag, value);
    Parts {
        subject,
        ..Parts::default()
    }
    .sign()
}

/// Attributes: type, and all values.
fn with(attributes: &[(&[u8], &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = attributes
        .iter()
        .flat_map(|(oid, values)| element(0x30, &[&element(6, &[oid]), &element(0x31, &[values])]))
        .collect();
    Parts {
        attributes: element(0xa0, &[&list]),
        ..Parts::default()
    }
    .sign()
}

/// An extension request with these extensions: identifier, whether it is critical, and value.
fn asking(extensions: &[(&[u8], bool, &[u8])]) -> Vec<u8> {
    with(&[(oids::EXTENSION_REQUEST.as_bytes(), &list(extensions))])
}

fn list(extensions: &[(&[u8], bool, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(oid, critical, value)| {
            let critical: &[u8] = if *critical { &[1, 1, 0xff] } else { &[] };
            element(
                0x30,
                &[&element(6, &[oid]), critical, &element(4, &[value])],
            )
        })
        .collect();
    element(0x30, &[&list])
}

const SAN: &[u8] = &[0x55, 0x1d, 0x11];

fn alternative(tag: u8, value: &[u8]) -> Vec<u8> {
    asking(&[(SAN, false, &element(0x30, &[&element(tag, &[value])]))])
}

/// A request that openssl makes: `genpkey` and `req` with these arguments.
fn openssl(genpkey: &str, req: &str) -> Vec<u8> {
    openssl_after(genpkey, "pkey -in key -out key2", req)
}

/// The same with a command in between that makes `key2` of `key`.
fn openssl_after(genpkey: &str, between: &str, req: &str) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let run = |line: &str| {
        let output = Command::new("openssl")
            .args(line.split(' ').filter(|word| !word.is_empty()))
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
    };
    run(&format!("genpkey {genpkey} -out key"));
    run(between);
    run(&format!(
        "req -new -key key2 -subj /CN=d -outform DER -out csr {req}"
    ));
    std::fs::read(dir.path().join("csr")).unwrap()
}

/// The structure around the request and its attributes.
fn structure() -> Vec<Case> {
    let good = Parts::default().sign();
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend(&good[3..]);
    indefinite.extend([0, 0]);
    let case = |about, der, verdict| Case {
        about,
        der,
        verdict,
    };
    let password = oids::CHALLENGE_PASSWORD;
    vec![
        case("attributes empty", good.clone(), Accepted),
        case(
            "attributes left out, as old OpenSSL does",
            Parts {
                attributes: Vec::new(),
                ..Parts::default()
            }
            .sign(),
            Accepted,
        ),
        case(
            "version 2 instead of 0",
            Parts {
                version: vec![2, 1, 2],
                ..Parts::default()
            }
            .sign(),
            Accepted,
        ),
        case(
            "attributes that are unknown",
            with(&[(&[0x2a, 3, 4], &[5, 0])]),
            Accepted,
        ),
        case(
            "an attribute without value",
            with(&[(password.as_bytes(), &[])]),
            Accepted,
        ),
        case(
            "a challenge password that is a number",
            with(&[(password.as_bytes(), &[2, 1, 7])]),
            Accepted,
        ),
        case(
            "a byte behind the request",
            [&good[..], &[0]].concat(),
            Refused("trailing data"),
        ),
        case(
            "cut off",
            good[..good.len() - 1].to_vec(),
            Refused("sequence truncated"),
        ),
        case(
            "indefinite length (BER)",
            indefinite,
            Refused("indefinite length"),
        ),
        case(
            "an empty request",
            vec![0x30, 0],
            Refused("sequence truncated"),
        ),
        case(
            "something else in DER",
            vec![4, 1, 0],
            Refused("tags don't match"),
        ),
    ]
}

/// Names.
fn names() -> Vec<Case> {
    let case = |about, der, verdict| Case {
        about,
        der,
        verdict,
    };
    let of = |subject: Vec<u8>| {
        Parts {
            subject,
            ..Parts::default()
        }
        .sign()
    };
    let cn = |value: &[u8]| relative(&[0x55, 4, 3], 0x0c, value);
    let multi = element(
        0x31,
        &[
            &element(0x30, &[&[6, 3, 0x55, 4, 3], &element(0x0c, &[b"several"])]),
            &element(0x30, &[&[6, 3, 0x55, 4, 5], &element(0x13, &[b"17"])]),
        ],
    );
    vec![
        case(
            "name in UTF8String",
            named(0x0c, "ger\u{e4}t".as_bytes()),
            Accepted,
        ),
        case(
            "name in PrintableString",
            named(0x13, b"printable"),
            Accepted,
        ),
        case(
            "name in PrintableString with `_` or `@` (issued as UTF8String)",
            named(0x13, b"under_score"),
            Accepted,
        ),
        case(
            "name in T61String (TeletexString)",
            named(0x14, b"teletex"),
            Accepted,
        ),
        case(
            "name in T61String, Latin-1",
            named(0x14, b"ger\xe4t"),
            Accepted,
        ),
        case(
            "name in BMPString",
            named(0x1e, &[0, b'b', 0, b'm', 0, b'p']),
            Accepted,
        ),
        case(
            "name in UniversalString (issued as UTF8String)",
            named(0x1c, &[0, 0, 0, b'u']),
            Accepted,
        ),
        case("name in IA5String", named(0x16, b"ia5"), Accepted),
        case(
            "several common names: the last one is the device's",
            of(element(0x30, &[&cn(b"first"), &cn(b"last")])),
            Accepted,
        ),
        case(
            "several attributes in one RDN",
            of(element(0x30, &[&multi])),
            Accepted,
        ),
        case(
            "common name of 100 characters",
            named(0x0c, &[b'l'; 100]),
            Accepted,
        ),
        case(
            "attribute type that is unknown",
            of(element(
                0x30,
                &[&cn(b"more"), &relative(&[0x2a, 3, 4], 0x0c, b"x")],
            )),
            Accepted,
        ),
        case(
            "invalid UTF-8 in UTF8String",
            named(0x0c, b"\xff"),
            Refused("is not a valid string"),
        ),
        case(
            "BMPString of an odd length",
            named(0x1e, b"odd"),
            Refused("is not a valid string"),
        ),
        case(
            "an attribute that is no string",
            of(element(
                0x30,
                &[&cn(b"no string"), &relative(&[0x55, 4, 10], 2, &[7])],
            )),
            Refused("is not a valid string"),
        ),
        case("NUL in the name", named(0x0c, b"d\0"), Refused("U+0000")),
    ]
}

/// Requested extensions.
fn extensions() -> Vec<Case> {
    let case = |about, der, verdict| Case {
        about,
        der,
        verdict,
    };
    let thousand: Vec<u8> = (0..1000)
        .flat_map(|n| element(0x82, &[format!("n{n}.example").as_bytes()]))
        .collect();
    let dns = element(0x30, &[&element(0x82, &[b"d.example"])]);
    vec![
        case(
            "an alternative name",
            alternative(0x82, b"d.example"),
            Accepted,
        ),
        case(
            "an alternative name, critical",
            asking(&[(SAN, true, &dns)]),
            Accepted,
        ),
        case(
            "1,000 alternative names",
            asking(&[(SAN, false, &element(0x30, &[&thousand]))]),
            Accepted,
        ),
        case(
            "extensions in Microsoft's own attribute",
            with(&[(
                oids::MICROSOFT_EXTENSION_REQUEST.as_bytes(),
                &list(&[(SAN, false, &dns)]),
            )]),
            Accepted,
        ),
        case(
            "an extension that is unknown, critical (left out)",
            asking(&[(&[0x2a, 3, 4], true, &[5, 0])]),
            Accepted,
        ),
        case(
            "to be a CA (left out)",
            asking(&[(&[0x55, 0x1d, 0x13], true, &[0x30, 3, 1, 1, 0xff])]),
            Accepted,
        ),
        case(
            "an extension request without extensions",
            asking(&[]),
            Accepted,
        ),
        case(
            "alternative names twice",
            asking(&[(SAN, false, &dns), (SAN, false, &dns)]),
            Accepted,
        ),
        case(
            "an empty list of alternative names",
            asking(&[(SAN, false, &[0x30, 0])]),
            Refused("empty list"),
        ),
        case(
            "DNS name that is not ASCII",
            alternative(0x82, b"ger\xe4t.example"),
            Refused("subject alternative name"),
        ),
        case(
            "IP address of 5 octets",
            alternative(0x87, &[1, 2, 3, 4, 5]),
            Refused("subject alternative name"),
        ),
        case(
            "key usage that does not decode",
            asking(&[(&[0x55, 0x1d, 0x0f], true, &[4, 1, 0])]),
            Refused("malformed extension"),
        ),
    ]
}

/// Keys and signatures.
fn keys() -> Vec<Case> {
    let case = |about, der, verdict| Case {
        about,
        der,
        verdict,
    };
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    let p256 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    let on = |curve: &str| {
        openssl(
            &format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}"),
            "",
        )
    };
    let unsupported = Refused("the public key of the certification request is not supported");
    let unproven = Refused("invalid CSR signature");
    let ours = |spec| Device::with_key("d", spec).csr();
    let mut off_curve = Device::new("d").key().public_key().spki_der().to_vec();
    *off_curve.last_mut().unwrap() ^= 1;
    vec![
        case(
            "RSA, PKCS#1 v1.5 with SHA-256",
            openssl(rsa, "-sha256"),
            Accepted,
        ),
        case("RSA with SHA-1", openssl(rsa, "-sha1"), Accepted),
        case("RSA with MD5", openssl(rsa, "-md5"), unproven),
        case(
            "RSA-PSS",
            openssl(rsa, "-sigopt rsa_padding_mode:pss"),
            Accepted,
        ),
        case(
            "RSA-PSS with a salt of 11 octets",
            openssl(
                rsa,
                "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:11",
            ),
            Accepted,
        ),
        case(
            "RSA key that is for PSS only",
            openssl("-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", ""),
            unsupported,
        ),
        case(
            "RSA with exponent 3",
            openssl(&format!("{rsa} -pkeyopt rsa_keygen_pubexp:3"), ""),
            Accepted,
        ),
        case(
            "RSA of 1024 bits",
            openssl("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", ""),
            Accepted,
        ),
        case(
            "RSA of 512 bits",
            openssl("-algorithm RSA -pkeyopt rsa_keygen_bits:512", "-sha1"),
            unsupported,
        ),
        case("P-224", on("P-224"), Accepted),
        case("P-384", on("P-384"), Accepted),
        case("P-521", on("P-521"), Accepted),
        case("P-256 with SHA-512", openssl(p256, "-sha512"), Accepted),
        case(
            "compressed point",
            openssl_after(p256, "ec -in key -conv_form compressed -out key2", ""),
            Accepted,
        ),
        case(
            "explicit curve parameters",
            openssl(&format!("{p256} -pkeyopt ec_param_enc:explicit"), ""),
            unsupported,
        ),
        case("another curve (secp256k1)", on("secp256k1"), unsupported),
        case(
            "a point that is not on its curve",
            Parts {
                spki: Some(off_curve),
                ..Parts::default()
            }
            .sign(),
            unsupported,
        ),
        case("Ed25519", ours(KeySpec::Ed25519), Accepted),
        case("Ed448", openssl("-algorithm ed448", ""), unsupported),
        case("ML-DSA-65", ours(KeySpec::MlDsa65), Accepted),
    ]
}

/// Signatures that prove nothing.
fn broken_proofs() -> Vec<Case> {
    let unproven = Refused("invalid CSR signature");
    let case = |about, der, verdict| Case {
        about,
        der,
        verdict,
    };
    vec![
        case(
            "signed by another key",
            Parts {
                spki: Some(Device::new("d").key().public_key().spki_der().to_vec()),
                ..Parts::default()
            }
            .sign(),
            unproven,
        ),
        case(
            "a signature with one bit flipped",
            Device::new("d").broken_csr(),
            unproven,
        ),
    ]
}

fn corpus() -> Vec<Case> {
    [structure(), names(), extensions(), keys(), broken_proofs()]
        .into_iter()
        .flatten()
        .collect()
}

/// Everything that may be honoured is.
fn profile() -> IssuanceProfile {
    IssuanceProfile {
        validity: Validity::lasting(WireDuration::from_secs(86_400)),
        honor_subject: true,
        honor_extensions: true,
        honor_key_usage: true,
        honor_extended_key_usages: true,
        ..IssuanceProfile::default()
    }
}

/// CAs `fleet`, and the DMS `open`, which asks for nothing and replaces.
async fn world() -> World {
    let world = World::new().await;
    world.root("fleet").await;
    let enrollment = json!({"est_rfc7030_settings": {"auth_mode": "NONE"},
        "enable_replaceable_enrollment": true});
    let mut open = dms("open", &enrollment, &json!({}));
    open["settings"]["issuance_profile"] = serde_json::to_value(profile()).unwrap();
    world.created(open).await;
    world
}

/// The refusal of the CA's own endpoint, if it refuses.
async fn refusal_of_ca(world: &World, der: &[u8]) -> Option<String> {
    let request = SignCsr {
        csr: Some(CsrDer::from_der(der.to_vec())),
        profile: ProfileChoice::Inline(Box::new(profile())),
        verify_csr_signature: None,
    };
    let signed = world.ca.sign_csr(&caller(), &"fleet".into(), request).await;
    signed.err().map(|error| error.to_string())
}

#[tokio::test]
async fn est_and_the_ca_give_the_same_verdict_on_requests_of_the_field() {
    let world = world().await;
    let mut wrong = Vec::new();
    for Case {
        about,
        der,
        verdict,
    } in corpus()
    {
        let answer = world.est("simpleenroll", "open", &der, None).await;
        let est = match answer.status {
            StatusCode::OK => None,
            status => Some((status, answer.refusal().1)),
        };
        let ca = refusal_of_ca(&world, &der).await;
        let as_expected = match (verdict, &est, &ca) {
            (Accepted, None, None) => true,
            (Refused(why), Some((StatusCode::BAD_REQUEST, est)), Some(ca)) => {
                est.contains(why) && ca.contains(why)
            }
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{about}: {verdict:?}\n  EST {est:?}\n  CA  {ca:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn est_alone_needs_to_know_the_device() {
    let world = world().await;
    let nobody = Parts {
        subject: name(&[0x55, 4, 10], 0x0c, b"Plant"),
        ..Parts::default()
    };
    let der = nobody.sign();
    let answer = world.est("simpleenroll", "open", &der, None).await;
    assert_eq!(answer.refusal().1, "no CommonName in CSR");
    assert_eq!(refusal_of_ca(&world, &der).await, None);
}

#[test]
fn the_guide_lists_the_requests_of_the_field() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../docs/guide/requests.md"
    );
    let guide = std::fs::read_to_string(path).unwrap();
    let rows: String = corpus()
        .iter()
        .map(|case| match case.verdict {
            Accepted => format!("| {} | accepted | |\n", case.about),
            Refused(why) => format!("| {} | refused | `{why}` |\n", case.about),
        })
        .collect();
    assert!(guide.contains(&rows), "{rows}");
}
