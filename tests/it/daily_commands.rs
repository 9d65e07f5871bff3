//! `lamassu keys`, `cas`, `certificates`, `profiles`: what they do, print and refuse.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{Options, executable};
use crate::support::{Program, command};

/// A running server and its command line.
struct Shell {
    program: Program,
}

/// Two engines.
const CONFIG: &str = "gateway: {metrics: {listen: null}}
crypto_engines:
  default_id: disk
  engines:
    - {id: disk, type: filesystem, storage_directory: DIR/keys}
    - {id: memory, type: software}
";

impl Shell {
    fn start() -> Result<Self> {
        let directory = TempDir::new()?;
        let config = CONFIG.replace("DIR", &directory.path().to_string_lossy());
        let options = Options {
            config: Some(config),
            ..Options::default()
        };
        let program = Program::start_in(directory, options)?;
        Ok(Self { program })
    }

    /// One command line, its words separated by spaces but within single quotes.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(executable());
        command
            .args(words(line))
            .current_dir(self.program.scratch())
            .env(
                "LAMASSU_CONFIG_FILE",
                self.program.scratch().join("config.yml"),
            )
            .env("LAMASSU_DATA_DIR", self.program.data_dir())
            .stdin(Stdio::null());
        for name in [
            "LAMASSU_TOKEN",
            "LAMASSU_TOKEN_FILE",
            "LAMASSU_URL",
            "LAMASSU_CA_FILE",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, line: &str) -> Result<Output> {
        Ok(self.command(line).output()?)
    }

    /// What a command prints that succeeds.
    fn ok(&self, line: &str) -> Result<String> {
        let output = self.run(line)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    fn json(&self, line: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ok(&format!("{line} --json"))?)?)
    }

    /// What a command says that is refused, in one sentence and with this exit code.
    fn refused(&self, line: &str, code: i32) -> Result<String> {
        refused(&self.run(line)?, code).with_context(|| line.to_owned())
    }

    fn openssl(&self, line: &str) -> Result<String> {
        let words = words(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        command::run(&self.program.scratch(), "openssl", &words)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        Ok(std::fs::write(self.program.scratch().join(name), content)?)
    }

    /// A profile, a root and an issuing CA below it.
    fn plant(&self) -> Result<()> {
        self.ok(
            "profiles create --name Devices --validity 90d --honor-subject --honor-extensions \
                 --key-usage DigitalSignature --extended-key-usage ClientAuth",
        )?;
        self.ok("cas create --id root --subject 'CN=Root,O=Example' --profile Devices")?;
        self.ok(
            "cas create --id plant --issuer root --subject Plant --profile Devices --validity 5y",
        )?;
        Ok(())
    }

    /// A request for a certificate with this common name.
    fn csr(&self, name: &str) -> Result<()> {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -subj /CN={name} -addext subjectAltName=DNS:{name}.plant -out {name}.csr"
        ))?;
        Ok(())
    }
}

fn refused(output: &Output, code: i32) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "{:?}: {errors}",
        output.status
    );
    ensure!(!errors.contains("panicked"), "{errors}");
    ensure!(errors.matches("error:").count() == 1, "{errors}");
    Ok(errors)
}

fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let mut words: Vec<String> = Vec::new();
    for (n, part) in quoted {
        if n % 2 == 1 {
            match words.last_mut().filter(|word| word.ends_with('=')) {
                Some(word) => word.push_str(part),
                None => words.push(part.to_owned()),
            }
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The value of a label in what is printed for people.
fn told<'t>(text: &'t str, label: &str) -> Result<&'t str> {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    Ok(line
        .with_context(|| format!("no {label} in {text}"))?
        .trim())
}

#[test]
fn a_key_is_made_named_moved_used_and_destroyed() -> Result<()> {
    let shell = Shell::start()?;
    let made = shell.ok("keys create --name 'line signer' --alias line --tag a --set plant=A")?;
    let id = told(&made, "id")?.to_owned();
    assert_eq!(told(&made, "type")?, "ECDSA-256");
    assert_eq!(told(&made, "engine")?, "disk");

    shell.write("m", "hello")?;
    shell.ok("keys sign line m --out m.sig")?;
    shell.ok("keys export line --out line.pem")?;
    let verified = shell.openssl("dgst -sha256 -verify line.pem -signature m.sig m")?;
    assert!(verified.contains("Verified OK"), "{verified}");
    assert_eq!(
        shell.ok("keys verify line m --signature m.sig")?,
        "the signature is valid"
    );
    let base64 = shell.ok(&format!("keys sign {id} m"))?;
    shell.write("m.b64", &base64)?;
    shell.ok("keys verify line m --signature m.b64")?;
    shell.write("m", "hullo")?;
    let said = shell.refused("keys verify line m --signature m.b64", 1)?;
    assert!(said.contains("the signature is not valid"), "{said}");

    let moved = shell.json("keys move line --to memory")?;
    assert_eq!(moved["engine_id"], "memory");
    assert_eq!(moved["key_id"], id.as_str());
    let changed = shell.ok(
        "keys update line --name New --no-tags --remove-alias line --add-alias b \
                            --unset plant --set 'limits={\"n\": 3}'",
    )?;
    assert_eq!(told(&changed, "aliases")?, "b");
    assert_eq!(told(&changed, "metadata")?, "{\"limits\":{\"n\":3}}");
    assert_eq!(told(&changed, "tags")?, "-");

    shell.ok("keys disable b")?;
    let said = shell.refused("keys sign b m", 1)?;
    assert!(said.contains("keys enable"), "{said}");
    assert_eq!(shell.ok("keys list --status disabled -q")?, id);
    shell.ok("keys enable b")?;
    let shown = shell.ok("keys show b")?;
    assert!(
        told(&shown, "used")?.starts_with("sign 2, last "),
        "{shown}"
    );

    let said = shell.refused("keys delete b", 1)?;
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(shell.ok("keys list -q")?, id);
    shell.ok("keys delete b --yes")?;
    assert_eq!(shell.ok("keys list --json")?, "[]");
    Ok(())
}

#[test]
fn a_key_that_was_made_elsewhere_is_imported_once() -> Result<()> {
    let shell = Shell::start()?;
    shell.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out own.key")?;
    let made = shell.ok("keys import own.key --name own --engine memory --alias own")?;
    assert_eq!(told(&made, "type")?, "RSA-2048");
    assert_eq!(told(&made, "engine")?, "memory");
    let said = shell.refused("keys import own.key --name again", 1)?;
    assert!(said.contains("key already exists"), "{said}");
    shell.openssl("pkey -in own.key -aes256 -passout pass:secret -out locked.key")?;
    let said = shell.refused("keys import locked.key --name locked", 1)?;
    assert!(said.contains("openssl pkey"), "{said}");
    shell.write("m", "hello")?;
    shell.ok("keys sign own m --algorithm RSASSA_PSS_SHA_256 --out m.sig")?;
    shell.ok("keys export own --out own.pem")?;
    let verified = shell.openssl(
        "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -verify own.pem \
         -signature m.sig m",
    )?;
    assert!(verified.contains("Verified OK"), "{verified}");
    Ok(())
}

#[test]
fn cas_are_made_certified_elsewhere_imported_and_retired() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    let chain = shell.ok("cas chain plant -q")?;
    assert_eq!(chain.lines().count(), 2);
    shell.ok("cas export root --out root.pem")?;
    shell.ok("cas export plant --out plant.pem")?;
    shell.openssl("verify -CAfile root.pem plant.pem")?;
    shell.ok("cas export plant --chain --format pkcs7 --out chain.p7b")?;
    let printed = shell.openssl("pkcs7 -inform DER -in chain.p7b -print_certs -noout")?;
    assert_eq!(printed.matches("subject=").count(), 2, "{printed}");

    // A subordinate of a CA elsewhere, and that one itself, without its key and then with it.
    shell.ok("cas request create --id outer --subject 'CN=Outer Sub' --out outer.csr")?;
    shell.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout corp.key \
         -subj /CN=Corp -days 300 -out corp.pem",
    )?;
    shell.write(
        "ext",
        "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n",
    )?;
    shell.openssl(
        "x509 -req -in outer.csr -CA corp.pem -CAkey corp.key -days 200 -extfile ext -out outer.pem",
    )?;
    let outer = shell.ok("cas import outer.pem --id outer --profile Devices")?;
    assert_eq!(told(&outer, "held")?, "disk");
    assert_eq!(told(&outer, "issuer")?, "(elsewhere)");
    assert_eq!(shell.json("cas request show outer")?["status"], "ISSUED");
    let corp = shell.ok(
        "cas import corp.pem --id corp --private-key corp.key --engine memory \
                         --profile Devices",
    )?;
    assert_eq!(told(&corp, "held")?, "memory");
    assert_eq!(told(&shell.ok("cas show outer")?, "issuer")?, "corp");

    let before = shell.json("cas show plant")?;
    let after = shell.json("cas reissue plant")?;
    assert_ne!(before["serial_number"], after["serial_number"]);
    shell.ok("cas hold plant")?;
    assert_eq!(told(&shell.ok("cas show plant")?, "status")?, "ON HOLD");
    shell.ok("cas release plant")?;
    let said = shell.refused("cas delete plant --yes", 1)?;
    assert!(said.contains("can be deleted"), "{said}");
    shell.ok("cas revoke plant --reason CessationOfOperation --yes")?;
    assert_eq!(shell.ok("cas list --status revoked -q")?, "plant");
    shell.ok("cas delete plant --yes")?;
    let said = shell.refused("cas show plant", 1)?;
    assert!(
        said.contains("there is no CA \"plant\"; there are root, outer, corp"),
        "{said}"
    );
    Ok(())
}

#[test]
fn certificates_are_issued_renewed_held_and_revoked() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell.csr("d1")?;
    let issued = shell.ok("certificates issue d1.csr --ca plant --out d1.pem --chain")?;
    assert_eq!(told(&issued, "alternative names")?, "d1.plant");
    shell.ok("cas export root --out root.pem")?;
    shell.openssl("verify -CAfile root.pem -untrusted d1.pem d1.pem")?;
    let serial = told(&issued, "serial number")?.to_owned();

    let piped = std::fs::read(shell.program.scratch().join("d1.csr"))?;
    let program = executable().to_string_lossy().into_owned();
    let (data, config) = (
        shell.program.data_dir(),
        shell.program.scratch().join("config.yml"),
    );
    let (data, config) = (data.to_string_lossy(), config.to_string_lossy());
    let words = words("certs issue - --ca plant --out -");
    let mut words: Vec<_> = words.iter().map(String::as_str).collect();
    words.extend(["--data-dir", &data, "--config", &config]);
    let pem = command::run_with_input(&shell.program.scratch(), &program, &words, &piped)?;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    assert!(pem.ends_with("-----END CERTIFICATE-----\n"), "{pem}");

    let said = shell.refused(&format!("certs renew {serial}"), 1)?;
    assert!(said.contains("--csr"), "{said}");
    let renewed = shell.json(&format!("certs renew {serial} --csr d1.csr --revoke-old"))?;
    assert_eq!(renewed["status"], "ACTIVE");
    let old = shell.json(&format!("certs show {serial}"))?;
    assert_eq!(
        (&old["status"], &old["revocation_reason"]),
        (&"REVOKED".into(), &"Superseded".into())
    );

    let own = shell.ok("certs create --ca plant --subject gateway-7 -q")?;
    let shown = shell.json(&format!("certs show {own}"))?;
    let again = shell.json(&format!("certs renew {own}"))?;
    assert_eq!(again["subject_key_id"], shown["subject_key_id"]);
    assert_ne!(again["serial_number"], shown["serial_number"]);

    shell.ok(&format!("certs hold {own}"))?;
    let listed = shell.ok("certs list --ca plant --status revoked --name GATEWAY")?;
    assert!(listed.contains("ON HOLD"), "{listed}");
    shell.ok(&format!("certs release {own}"))?;
    shell.refused(&format!("certs revoke {own}"), 1)?;
    shell.ok(&format!("certs revoke {own} --reason keycompromise --yes"))?;
    let said = shell.refused(&format!("certs release {own}"), 1)?;
    assert!(said.contains("what is revoked stays so"), "{said}");
    let said = shell.refused(
        &format!("certs revoke {own} --reason CertificateHold --yes"),
        2,
    )?;
    assert!(said.contains("hold"), "{said}");

    let soon = shell.ok("certs list --expires-within 100d --san D1.PLANT -q")?;
    assert_eq!(soon.lines().count(), 2, "{soon}");
    assert_eq!(shell.ok("certs list --expires-within 30d -q")?, "");
    Ok(())
}

#[test]
fn many_certificates_are_revoked_and_listed_page_by_page() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    let key = shell.ok("keys create --name shared -q")?;
    // More than one page of `--all` would take a minute to make: pages are smaller than that list.
    for n in 0..6 {
        shell.ok(&format!(
            "certs create --ca plant --subject line-{n} --key {key}"
        ))?;
    }
    let some = shell.run("certs list --ca plant --limit 4")?;
    assert_eq!(String::from_utf8(some.stdout)?.lines().count(), 5);
    assert!(String::from_utf8(some.stderr)?.contains("--all"));
    let all =
        shell.ok("certs list --ca plant --all --sort subject.common_name --descending --json")?;
    let all: Vec<Value> = serde_json::from_str(&all)?;
    let names: Vec<_> = all
        .iter()
        .map(|one| one["subject"]["common_name"].as_str())
        .collect();
    assert_eq!(names.first(), Some(&Some("line-5")));
    assert_eq!(names.len(), 6);

    let said = shell.refused("certs bulk-revoke --yes", 1)?;
    assert!(said.contains("--ca"), "{said}");
    let said = shell.refused(
        "certs bulk-revoke --filter 'subjct.common_name[equal]line-1' --yes",
        1,
    )?;
    assert!(said.contains("did you mean subject.common_name?"), "{said}");
    let job = shell.json(
        "certs bulk-revoke --ca plant --filter 'subject.common_name[in]line-1,line-3' --yes \
         --reason CessationOfOperation",
    )?;
    assert_eq!(
        (&job["status"], &job["total"], &job["done"]),
        (&"DONE".into(), &2.into(), &2.into())
    );
    let id = job["id"].as_str().context("an id")?;
    assert_eq!(shell.ok("certs jobs -q")?, id);
    shell.ok(&format!("certs job {id} --wait"))?;
    assert_eq!(
        told(&shell.ok("cas stats plant")?, "by status")?,
        "ACTIVE 4, EXPIRED 0, REVOKED 2"
    );
    Ok(())
}

#[test]
fn a_profile_is_made_of_flags_and_files_and_keeps_what_is_not_said() -> Result<()> {
    let shell = Shell::start()?;
    shell.write(
        "p.yml",
        "name: Line\nvalidity: {type: Duration, duration: 30d}\nmaximum_validity: 60d\n",
    )?;
    let made = shell
        .json("profiles create --file p.yml --allow-key ecdsa-256 --allow-san 'DNS=.*[.]plant'")?;
    assert_eq!(made["maximum_validity"], "8w4d");
    assert_eq!(made["allowed_sans"][0]["pattern"], ".*[.]plant");
    let changed =
        shell.json("profiles update Line --description 'for line 3' --clear maximum_validity")?;
    assert_eq!(changed["description"], "for line 3");
    assert!(changed.get("maximum_validity").is_none(), "{changed}");
    assert_eq!(changed["allowed_sans"], made["allowed_sans"]);
    // What is printed is a file for another one.
    shell.write("q.json", &changed.to_string())?;
    let copy = shell.json("profiles create --file q.json --name Copy")?;
    assert_eq!(copy["crypto_enforcement"], changed["crypto_enforcement"]);
    assert_ne!(copy["id"], changed["id"]);

    shell.ok("profiles create --name Copy")?;
    let said = shell.refused("profiles show Copy", 1)?;
    assert!(
        said.contains("several profiles are called \"Copy\""),
        "{said}"
    );
    let said = shell.refused("profiles show line", 1)?;
    assert!(said.contains("did you mean Line?"), "{said}");

    shell.ok("cas create --id plant --subject Plant --profile Line")?;
    shell.openssl("req -new -newkey rsa:2048 -nodes -keyout r.key -subj /CN=r -out r.csr")?;
    let said = shell.refused("certs issue r.csr --ca plant", 1)?;
    assert!(said.contains("RSA"), "{said}");
    shell.ok("profiles delete Line --yes")?;
    assert!(!shell.ok("profiles list")?.contains("Line"));
    Ok(())
}

#[test]
fn refusals_say_what_to_do() -> Result<()> {
    let mut shell = Shell::start()?;
    let auditor = shell.program.token("auditor")?;
    let as_auditor = |line: &str| {
        let output = shell
            .command(line)
            .env("LAMASSU_TOKEN", &auditor)
            .output()?;
        anyhow::Ok(output)
    };
    let seen = as_auditor("cas list")?;
    assert!(seen.status.success(), "{seen:?}");
    let said = refused(&as_auditor("profiles create --name x")?, 1)?;
    assert!(
        said.contains("lacks the permission profile:write"),
        "{said}"
    );
    assert!(said.contains("admin, ca-manager have"), "{said}");

    shell.write("token", "no.such.token\n")?;
    let said = shell.refused("cas list --token-file token", 1)?;
    assert!(said.contains("refused the token"), "{said}");
    let https = shell.program.https();
    let said = shell.refused(&format!("cas list --url {https}"), 1)?;
    assert!(said.contains("LAMASSU_TOKEN"), "{said}");
    shell.write("token", &auditor)?;
    shell.ok(&format!("cas list --url {https} --token-file token"))?;
    let elsewhere = format!("cas list --url {https} --token-file token --data-dir /nonexistent");
    let said = shell.refused(&elsewhere, 1)?;
    assert!(said.contains("--ca-file"), "{said}");
    let anchor = shell.program.anchor();
    shell.ok(&format!("{elsewhere} --ca-file {}", anchor.display()))?;
    let http = shell.program.http();
    let said = shell.refused(&format!("cas list --url {http} --token-file token"), 1)?;
    assert!(said.contains("https://"), "{said}");

    let said = shell.refused("cas list --no-such-flag", 2)?;
    assert!(said.contains("--no-such-flag"), "{said}");
    let said = shell.refused("certs list --filter 'status[after]x'", 1)?;
    assert!(said.contains("invalid filter operand 'after'"), "{said}");

    assert!(shell.program.stop()?.success());
    let said = shell.refused("cas list", 1)?;
    assert!(said.contains("no server runs on"), "{said}");
    let said = shell.refused(&format!("cas list --url {https} --token-file token"), 1)?;
    assert!(said.contains("does not answer"), "{said}");
    Ok(())
}

#[test]
fn shells_and_man_learn_the_command_line() -> Result<()> {
    let shell = |name: &str| -> Result<String> {
        let output = Command::new(executable())
            .args(["completion", name])
            .output()?;
        ensure!(output.status.success(), "{name}");
        Ok(String::from_utf8(output.stdout)?)
    };
    for name in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = shell(name)?;
        assert!(script.contains("bulk-revoke"), "{name}");
    }
    let directory = TempDir::new()?;
    let script = directory.path().join("completion.bash");
    std::fs::write(&script, shell("bash")?)?;
    let asked = format!(
        "source {}; COMP_WORDS=(lamassu cas exp); COMP_CWORD=2; _lamassu lamassu exp cas; \
         echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let completed = command::run(directory.path(), "bash", &["-c", &asked])?;
    assert_eq!(completed.trim(), "export");
    let to = directory.path().to_string_lossy().into_owned();
    let output = Command::new(executable())
        .args(["man", "--to", &to])
        .output()?;
    assert!(output.status.success());
    let page = std::fs::read_to_string(directory.path().join("lamassu-cas-create.1"))?;
    assert!(page.contains(".TH"), "{page}");
    Ok(())
}
