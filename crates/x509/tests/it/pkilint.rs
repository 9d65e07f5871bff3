//! pkilint as a judge: nothing at the level of an error or above, one by one and in a corpus of all
//! that is issued.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_x509::crl::CrlReason;
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, KeyUsageRule, Profile, Subject, SubjectRule,
};
use lamassu_x509::{
    Extension, Extensions, GeneralName, KeyUsageBit, Name, ObjectIdentifier, RequestTemplate,
    SubjectFields, Subtree, oids,
};

use crate::openssl::{Files, text};
use crate::support::{
    Ca, Conditions, ca_profile, common_name, csr, device_subject, device_template,
    honouring_profile, key,
};

/// The directory of pkilint's programs: `LAMASSU_TEST_PKILINT`, or one on `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "where a test finds its tools is no configuration of the program"
)]
pub(crate) fn pkilint(tool: &str) -> PathBuf {
    let from_variable = std::env::var_os("LAMASSU_TEST_PKILINT").map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|directory| directory.join(tool).is_file())
    };
    from_variable
        .or_else(on_path)
        .map(|directory| directory.join(tool))
        .filter(|program| program.is_file())
        .expect("pkilint is neither in LAMASSU_TEST_PKILINT nor on PATH: `make test` installs it")
}

fn assert_clean(tool: &str, options: &[&str], der: &Path) {
    let output = Command::new(pkilint(tool))
        .arg("lint")
        .args(options)
        .args(["-s", "ERROR", "--document-format", "DER", text(der)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{tool} found: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn pkilint_finds_no_error_in_the_corpus() {
    let files = Files::new();
    for spec in [
        KeySpec::Rsa(2048),
        KeySpec::Ec(Curve::P256),
        KeySpec::Ec(Curve::P384),
    ] {
        let root = Ca::root(spec);
        let subordinate = root.issue(
            &device_subject(&device_template("Subordinate")),
            &Conditions::new(ca_profile()).at_domain("va.example", &root.certificate),
        );
        let template = device_template("dev-1")
            .with_subject_alt_names(&[GeneralName::Dns("dev-1.example.com".to_owned())]);
        let profile = Profile {
            key_usage: KeyUsageRule::Replace([KeyUsageBit::DigitalSignature].into_iter().collect()),
            extended_key_usage: ExtendedKeyUsageRule::Replace(vec![
                oids::KP_CLIENT_AUTH,
                oids::KP_SERVER_AUTH,
            ]),
            ..honouring_profile()
        };
        let device = root.issue(
            &device_subject(&template),
            &Conditions::new(profile).at_domain("va.example", &root.certificate),
        );
        for certificate in [&root.certificate, &subordinate, &device] {
            assert_clean(
                "lint_pkix_cert",
                &[],
                &files.der("cert.der", certificate.as_der()),
            );
        }
        let entries = [
            crate::crl::entry("80ff", CrlReason::KeyCompromise),
            crate::crl::entry("0102", CrlReason::Unspecified),
        ];
        let crl = files.der("ca.crl", &crate::crl::crl(&root, &entries));
        assert_clean("lint_crl", &["-t", "CRL", "-p", "PKIX"], &crl);
        let response = files.der("response.der", &crate::ocsp::good_response(&root, &device));
        assert_clean("lint_ocsp_response", &[], &response);
    }
}

/// Every kind of key that is generated; of RSA one size, since making others takes long.
const KINDS: [KeySpec; 9] = [
    KeySpec::Rsa(2048),
    KeySpec::Ec(Curve::P224),
    KeySpec::Ec(Curve::P256),
    KeySpec::Ec(Curve::P384),
    KeySpec::Ec(Curve::P521),
    KeySpec::Ed25519,
    KeySpec::MlDsa44,
    KeySpec::MlDsa65,
    KeySpec::MlDsa87,
];

fn odd_subjects() -> Vec<Name> {
    let fields = |common_name: &str, organization: &str, country: &str| SubjectFields {
        common_name: common_name.to_owned(),
        organization: organization.to_owned(),
        organizational_unit: organization.to_owned(),
        country: country.to_owned(),
        state: organization.to_owned(),
        locality: organization.to_owned(),
    };
    let longest = "n".repeat(64);
    [
        ("dev-1", "", ""),
        ("dev_1@example", "Acme", "ES"),
        ("Gerät 7", "Müller & Söhne", "DE"),
        ("デバイス", "株式会社", "JP"),
        ("جهاز", "", "AE"),
        ("a, b=c + d", "Quotes \" and \\ strokes", "US"),
        (" leading and trailing ", "x", "GB"),
        (longest.as_str(), longest.as_str(), "FR"),
        ("0", "0", ""),
        ("😀", "", ""),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "", ""),
    ]
    .map(|(common_name, organization, country)| {
        fields(common_name, organization, country).to_name()
    })
    .into()
}

fn odd_alternative_names() -> Vec<Vec<GeneralName>> {
    let dns = |name: &str| GeneralName::Dns(name.to_owned());
    let uri = |uri: &str| GeneralName::Uri(uri.to_owned());
    let mail = |mail: &str| GeneralName::Rfc822(mail.to_owned());
    vec![
        vec![],
        vec![dns("dev-1.example.com")],
        vec![dns("xn--bcher-kva.example"), dns("a.b.c.d.e.f.example")],
        vec![GeneralName::Ip([192, 0, 2, 1].into())],
        vec![GeneralName::Ip([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into())],
        vec![uri("https://example.com/devices/1?x=y#z")],
        vec![mail("dev-1@example.com")],
        vec![GeneralName::Directory(common_name("Directory"))],
        vec![
            dns("dev-1.example.com"),
            GeneralName::Ip([192, 0, 2, 1].into()),
            // pkilint knows few schemes, and not those of constrained devices.
            uri("http://example.com/a%20b?c=d"),
            mail("dev-1@example.com"),
        ],
    ]
}

/// What devices, servers and responders get.
fn end_entity_profiles() -> Vec<Profile> {
    let profile = |usages: &[KeyUsageBit], purposes: &[ObjectIdentifier]| Profile {
        key_usage: KeyUsageRule::Replace(usages.iter().copied().collect()),
        extended_key_usage: ExtendedKeyUsageRule::Replace(purposes.to_vec()),
        ..honouring_profile()
    };
    let signature = [KeyUsageBit::DigitalSignature];
    let unnamed = ObjectIdentifier::new("1.3.6.1.4.1.99999.1").unwrap();
    let mut dated = profile(&signature, &[oids::KP_CLIENT_AUTH, unnamed]);
    dated.back_dating = time::Duration::minutes(5);
    let mut responder = profile(&signature, &[oids::KP_OCSP_SIGNING]);
    responder.further_extensions = Extensions::from_iter([Extension::ocsp_nocheck()]);
    vec![
        profile(&signature, &[oids::KP_CLIENT_AUTH, oids::KP_SERVER_AUTH]),
        profile(
            &[
                KeyUsageBit::DigitalSignature,
                KeyUsageBit::ContentCommitment,
            ],
            &[oids::KP_TIME_STAMPING],
        ),
        dated,
        responder,
        profile(&signature, &[]),
    ]
}

fn ca_profiles() -> Vec<Profile> {
    let bounded = CertificateRole::Ca {
        path_len_constraint: Some(0),
    };
    let permitted = [
        Subtree::Dns("example.com".to_owned()),
        Subtree::Ip([192, 0, 2, 0].into(), 24),
        Subtree::Ip([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0].into(), 33),
    ];
    let excluded = [
        Subtree::Rfc822("example.org".to_owned()),
        Subtree::Uri(".example.org".to_owned()),
    ];
    let constraints = Extension::name_constraints(&permitted, &excluded);
    vec![
        ca_profile(),
        Profile {
            role: bounded,
            ..ca_profile()
        },
        Profile {
            role: bounded,
            further_extensions: Extensions::from_iter([constraints]),
            ..ca_profile()
        },
        Profile {
            subject: SubjectRule::Replace(SubjectFields::with_common_name("Imposed")),
            ..ca_profile()
        },
    ]
}

/// A request of this key for these names.
fn asked(key: &PrivateKey, name: &Name, alternative: &[GeneralName]) -> Subject {
    let mut template = RequestTemplate::new(name.clone(), key.public_key());
    if !alternative.is_empty() {
        template = template.with_subject_alt_names(alternative);
    }
    Subject::of_csr(&csr(&template, key).verify().unwrap()).unwrap()
}

/// What one CA signs: subordinates, and everybody under every name.
fn issued_by(root: &Ca, keys: &[PrivateKey]) -> Vec<Bytes> {
    let mut ders = vec![root.certificate.as_der().clone()];
    let mut issue = |subject: &Subject, profile: &Profile| {
        let conditions =
            Conditions::new(profile.clone()).at_domain("va.example", &root.certificate);
        ders.push(root.issue(subject, &conditions).as_der().clone());
    };
    let (subjects, names) = (odd_subjects(), odd_alternative_names());
    let cas = ca_profiles();
    let end_entities = end_entity_profiles();
    let combinations = subjects
        .iter()
        .flat_map(|subject| names.iter().map(move |names| (subject, names)));
    for (n, ((subject, names), key)) in combinations.zip(keys.iter().cycle()).enumerate() {
        let profile = &end_entities[n % end_entities.len()];
        issue(&asked(key, subject, names), profile);
    }
    for (n, (subject, key)) in subjects.iter().zip(keys.iter().cycle()).enumerate() {
        issue(&asked(key, subject, &[]), &cas[n % cas.len()]);
    }
    ders
}

/// No entry, one of each reason, and all of them.
fn crls_of(root: &Ca) -> Vec<Bytes> {
    let in_full: Vec<CrlReason> = CrlReason::ALL
        .into_iter()
        .filter(|reason| *reason != CrlReason::RemoveFromCrl)
        .collect();
    let entries: Vec<_> = (0_u8..)
        .zip(&in_full)
        .map(|(n, reason)| crate::crl::entry(&format!("7f{n:02x}"), *reason))
        .collect();
    let mut crls = vec![crate::crl::crl(root, &[]), crate::crl::crl(root, &entries)];
    crls.extend(
        entries
            .into_iter()
            .map(|entry| crate::crl::crl(root, &[entry])),
    );
    crls
}

#[test]
fn pkilint_finds_no_error_in_a_thousand_certificates_and_crls() {
    let files = Files::new();
    let keys = KINDS.map(key);
    let mut n_files = 0;
    let mut add = |der: &Bytes, extension: &str| {
        n_files += 1;
        files.der(&format!("{n_files:05}.{extension}"), der);
    };
    for spec in KINDS {
        let root = Ca::root(spec);
        for der in issued_by(&root, &keys) {
            add(&der, "crt");
        }
        for der in crls_of(&root) {
            add(&der, "crl");
        }
    }
    assert!(n_files >= 1_000, "{n_files} files");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/lint_corpus.py");
    let output = Command::new(pkilint("lint_pkix_cert").with_file_name("python3"))
        .args([text(&script), text(&files.path("."))])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{n_files} files\n"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
