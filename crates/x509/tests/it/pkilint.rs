//! pkilint as a judge: nothing at the level of an error or above in a small corpus.

use std::path::{Path, PathBuf};
use std::process::Command;

use lamassu_crypto::{Curve, KeySpec};
use lamassu_x509::crl::CrlReason;
use lamassu_x509::issue::{ExtendedKeyUsageRule, KeyUsageRule, Profile};
use lamassu_x509::{GeneralName, KeyUsageBit, oids};

use crate::openssl::{Files, text};
use crate::support::{
    Ca, Conditions, ca_profile, device_subject, device_template, honouring_profile,
};

/// The directory of pkilint's programs: `LAMASSU_TEST_PKILINT`, or one on `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "where a test finds its tools is no configuration of the program"
)]
fn pkilint(tool: &str) -> PathBuf {
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
