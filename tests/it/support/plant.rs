//! A small plant: a root, an issuing CA, a DMS, and the files of its devices.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::api::{Answer, Api};
use crate::support::command;
use crate::support::program::Program;

/// The CAs and the DMS that a test works with; files are in [`Plant::directory`].
#[derive(Debug)]
pub(crate) struct Plant {
    /// The management API.
    pub(crate) api: Api,
    /// Where the files of the devices are.
    pub(crate) directory: PathBuf,
    /// `https://localhost:PORT/.well-known/est/line`
    pub(crate) est: String,
    /// The server's trust anchor.
    pub(crate) anchor: String,
    /// `http://localhost:PORT/api/va`
    pub(crate) va: String,
    /// Hex subject key identifier of the issuing CA.
    pub(crate) issuing_ski: String,
}

/// The private keys that devices have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKey {
    /// RSA, 2048 bits.
    Rsa2048,
    /// ECDSA, P-224.
    P224,
    /// ECDSA, P-256.
    P256,
    /// ECDSA, P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

impl DeviceKey {
    /// What `openssl genpkey` calls it.
    fn genpkey(self) -> &'static str {
        match self {
            Self::Rsa2048 => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            Self::P224 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
            Self::P256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Self::P384 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            Self::Ed25519 => "-algorithm ED25519",
        }
    }
}

/// Authentication by certificates of the issuing CA.
pub(crate) fn client_certificate_auth() -> Value {
    json!({"auth_mode": "CLIENT_CERTIFICATE",
           "client_certificate_settings": {"validation_cas": ["issuing"], "chain_level_validation": -1}})
}

/// The settings of a DMS that enrolls under the issuing CA.
pub(crate) fn dms_settings(auth: &Value) -> Value {
    json!({
        "enrollment_settings": {
            "protocol": "EST_RFC7030", "registration_mode": "JITP", "enrollment_ca": "issuing",
            "verify_csr_signature": true, "est_rfc7030_settings": auth,
            "device_provisioning_profile": {"icon": "Cpu", "icon_color": "#0f67ff-#f0f8ff", "tags": ["line"]},
        },
        "reenrollment_settings": {
            "est_rfc7030_settings": auth, "reenrollment_delta": "52w", "preventive_delta": "30d",
            "critical_delta": "7d", "revoke_on_reenrollment": true,
        },
        "ca_distribution_settings": {"include_enrollment_ca": true},
    })
}

impl Plant {
    /// Sets the plant up: profile, root, issuing CA, DMS `line`, and a bootstrap certificate
    /// (`bootstrap.pem`, `bootstrap.key`).
    ///
    /// # Errors
    /// Any of it is refused.
    pub(crate) fn set_up(program: &Program) -> Result<Self> {
        let api = Api::of(program)?;
        let profile = json!({"name": "Devices", "validity": {"type": "Duration", "duration": "90d"},
            "honor_subject": true, "honor_extensions": true, "key_usage": ["DigitalSignature"],
            "extended_key_usages": ["ClientAuth"]});
        let profile = api.ok("POST", "ca/v1/profiles", Some(&profile))?;
        let profile_id = profile["id"].as_str().context("a profile has an id")?;
        let authority = |id: &str, parent: Option<&str>| {
            json!({"id": id, "parent_id": parent, "profile_id": profile_id,
                "subject": {"common_name": format!("CA {id}"), "organization": "Plant"},
                "key_metadata": {"type": "ECDSA", "bits": 256},
                "ca_expiration": {"type": "Duration", "duration": "10y"}})
        };
        let root = api.ok("POST", "ca/v1/cas", Some(&authority("root", None)))?;
        let issuing = api.ok(
            "POST",
            "ca/v1/cas",
            Some(&authority("issuing", Some("root"))),
        )?;
        let plant = Self {
            directory: program.scratch(),
            est: format!("{}/.well-known/est/line", program.https()),
            anchor: program.anchor().to_string_lossy().into_owned(),
            va: format!("{}/api/va", program.http()),
            issuing_ski: issuing["certificate"]["subject_key_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            api,
        };
        plant.write("root.pem", &pem(&root["certificate"])?)?;
        plant.write("issuing.pem", &pem(&issuing["certificate"])?)?;
        plant.create_dms("line", &dms_settings(&client_certificate_auth()))?;
        plant.key_and_csr("bootstrap", DeviceKey::P256)?;
        plant.sign("issuing", "bootstrap", &json!({}))?;
        Ok(plant)
    }

    /// Writes a file of the plant.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<()> {
        Ok(std::fs::write(self.directory.join(name), contents)?)
    }

    /// Reads a file of the plant.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.directory.join(name))?)
    }

    /// Runs openssl in the plant's directory; the command line holds no spaces but between words.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn openssl(&self, command_line: &str) -> Result<String> {
        let arguments: Vec<&str> = command_line.split(' ').collect();
        command::run(&self.directory, "openssl", &arguments)
    }

    /// Creates a DMS.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn create_dms(&self, id: &str, settings: &Value) -> Result<Value> {
        self.api.ok(
            "POST",
            "dmsmanager/v1/dms",
            Some(&json!({"id": id, "name": id, "settings": settings})),
        )
    }

    /// Makes `name.key` and `name.csr` with subject `CN=name`.
    ///
    /// # Errors
    /// openssl fails.
    pub(crate) fn key_and_csr(&self, name: &str, key: DeviceKey) -> Result<()> {
        self.openssl(&format!("genpkey {} -out {name}.key", key.genpkey()))?;
        self.csr(name, &format!("/CN={name}"))
    }

    /// Makes `name.csr` anew from `name.key`.
    ///
    /// # Errors
    /// openssl fails.
    pub(crate) fn csr(&self, name: &str, subject: &str) -> Result<()> {
        self.openssl(&format!(
            "req -new -key {name}.key -subj {subject} -out {name}.csr"
        ))?;
        Ok(())
    }

    /// Has a CA sign `name.csr` over the API; writes `name.pem`.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn sign(&self, ca: &str, name: &str, extra: &Value) -> Result<Value> {
        let mut body = json!({"csr": STANDARD.encode(self.read(&format!("{name}.csr"))?)});
        if let (Some(body), Some(extra)) = (body.as_object_mut(), extra.as_object()) {
            body.extend(extra.clone());
        }
        let certificate = self.api.ok(
            "POST",
            &format!("ca/v1/cas/{ca}/certificates/sign"),
            Some(&body),
        )?;
        self.write(&format!("{name}.pem"), &pem(&certificate)?)?;
        Ok(certificate)
    }

    /// One EST request through curl: `simpleenroll` or `simplereenroll` with `name.csr`,
    /// authenticated by `identity.pem` and `identity.key`.
    ///
    /// # Errors
    /// There is no answer at all.
    pub(crate) fn est(
        &self,
        operation: &str,
        name: &str,
        identity: Option<&str>,
        more: &[&str],
    ) -> Result<Answer> {
        let url = format!("{}/{operation}", self.est);
        self.est_at(&url, name, identity, more)
    }

    /// The same under another DMS.
    ///
    /// # Errors
    /// As [`est`](Self::est).
    pub(crate) fn est_under(
        &self,
        dms: &str,
        operation: &str,
        name: &str,
        identity: Option<&str>,
        more: &[&str],
    ) -> Result<Answer> {
        let (base, _) = self.est.rsplit_once('/').context("a label")?;
        self.est_at(&format!("{base}/{dms}/{operation}"), name, identity, more)
    }

    fn est_at(
        &self,
        url: &str,
        name: &str,
        identity: Option<&str>,
        more: &[&str],
    ) -> Result<Answer> {
        let csr = self.read(&format!("{name}.csr"))?;
        let body: String = csr
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let (certificate, key) = match identity {
            Some(identity) => (format!("{identity}.pem"), format!("{identity}.key")),
            None => (String::new(), String::new()),
        };
        let mut arguments = vec![
            "-sS",
            "--cacert",
            &self.anchor,
            "-H",
            "Content-Type: application/pkcs10",
            "--data-binary",
            "@-",
            "-w",
            "\n%{http_code}",
        ];
        if identity.is_some() {
            arguments.extend(["--cert", &certificate, "--key", &key]);
        }
        arguments.extend(more);
        arguments.push(url);
        let output = command::run_with_input(&self.directory, "curl", &arguments, body.as_bytes())?;
        let (body, status) = output.rsplit_once('\n').context("curl printed no status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// The same, which must succeed; writes the certificate to `output.pem`.
    ///
    /// # Errors
    /// It is refused, or the answer is no PKCS#7 that openssl reads.
    pub(crate) fn est_ok(
        &self,
        operation: &str,
        name: &str,
        identity: &str,
        output: &str,
    ) -> Result<()> {
        let answer = self.est(operation, name, Some(identity), &[])?;
        anyhow::ensure!(
            answer.status == 200,
            "{operation}: {} {}",
            answer.status,
            answer.body
        );
        let der = STANDARD.decode(answer.body.replace(['\r', '\n'], ""))?;
        std::fs::write(self.directory.join("answer.p7"), der)?;
        let certificates = self.openssl("pkcs7 -inform DER -in answer.p7 -print_certs")?;
        self.write(&format!("{output}.pem"), &certificates)
    }

    /// The serial number of `name.pem`, as openssl prints it (upper-case hex).
    ///
    /// # Errors
    /// openssl fails.
    pub(crate) fn serial(&self, name: &str) -> Result<String> {
        let text = self.openssl(&format!("x509 -in {name}.pem -noout -serial"))?;
        Ok(text.trim().trim_start_matches("serial=").to_owned())
    }

    /// What `openssl ocsp` says of `name.pem`: `good`, `revoked`, `unknown`.
    ///
    /// # Errors
    /// openssl fails, or the answer does not verify.
    pub(crate) fn ocsp(&self, name: &str) -> Result<String> {
        let (url, file) = (format!("{}/ocsp", self.va), format!("{name}.pem"));
        let output = command::output_with_input(
            &self.directory,
            "openssl",
            &[
                "ocsp",
                "-url",
                &url,
                "-issuer",
                "issuing.pem",
                "-CAfile",
                "root.pem",
                "-verify_other",
                "issuing.pem",
                "-cert",
                &file,
            ],
            b"",
        )?;
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        anyhow::ensure!(
            errors.contains("Response verify OK"),
            "openssl ocsp: {text}{errors}"
        );
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{file}: ")));
        Ok(line.context("no status in the answer")?.to_owned())
    }

    /// Revokes a certificate over the API.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn revoke(&self, serial: &str, reason: &str) -> Result<Value> {
        let body = json!({"status": "REVOKED", "revocation_reason": reason});
        self.api.ok(
            "PUT",
            &format!("ca/v1/certificates/{serial}/status"),
            Some(&body),
        )
    }
}

/// The PEM of a certificate as the API carries it.
///
/// # Errors
/// It is not base64 of text.
pub(crate) fn pem(certificate: &Value) -> Result<String> {
    let base64 = certificate["certificate"]
        .as_str()
        .context("no certificate")?;
    Ok(String::from_utf8(STANDARD.decode(base64)?)?)
}
