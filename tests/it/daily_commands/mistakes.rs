//! What would do more harm than was meant.

use anyhow::Result;

use super::{Shell, told};

/// What a command says beside its result.
fn warnings(shell: &Shell, line: &str) -> Result<String> {
    let output = shell.run(line)?;
    let said = String::from_utf8(output.stderr)?;
    anyhow::ensure!(output.status.success(), "{line}: {said}");
    Ok(said)
}

/// A self-signed CA that openssl makes.
fn foreign(shell: &Shell, name: &str) -> Result<()> {
    shell.openssl(&format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -subj /CN={name} \
         -days 300 -out {name}.pem"
    ))?;
    Ok(())
}

#[test]
fn a_key_is_imported_into_the_engine_that_is_named_or_not_at_all() -> Result<()> {
    let shell = Shell::start()?;
    foreign(&shell, "corp")?;
    let import = "cas import corp.pem --private-key corp.key --id corp";
    let said = shell.refused(&format!("{import} --engine hsm-1"), 1)?;
    assert!(
        said.contains("there is no engine \"hsm-1\"; there are disk, memory"),
        "{said}"
    );
    assert_eq!(shell.ok("keys list -q")?, "");
    let scratch = shell.program.scratch();
    let both = ["corp.pem", "corp.key"].map(|name| std::fs::read_to_string(scratch.join(name)));
    let [certificate, key] = both;
    shell.write("both.pem", &(key? + &certificate?))?;
    let said = shell.refused("cas import both.pem --id both", 1)?;
    assert!(
        said.contains("both.pem holds a private key, too: --private-key both.pem takes it in"),
        "{said}"
    );
    let both = "cas import both.pem --private-key both.pem --id both --engine disk";
    assert_eq!(told(&shell.ok(both)?, "held")?, "disk");
    shell.ok("cas revoke both --yes")?;
    shell.ok("cas delete both --yes")?;
    shell.ok("keys import corp.key --name corp --engine memory")?;
    let said = warnings(&shell, &format!("{import} --engine disk"))?;
    assert!(
        said.contains("warning: its key is in the engine memory"),
        "{said}"
    );
    Ok(())
}

#[test]
fn an_import_is_no_answer_to_another_request_and_no_second_copy() -> Result<()> {
    let shell = Shell::start()?;
    foreign(&shell, "legacy")?;
    shell.ok("cas request create --id sub --subject Sub")?;
    let said = shell.refused("cas import legacy.pem --id sub", 1)?;
    assert!(
        said.contains("it is not the certificate of request sub's key"),
        "{said}"
    );
    assert_eq!(shell.json("cas request show sub")?["status"], "PENDING");
    shell.ok("cas import legacy.pem --private-key legacy.key --id legacy")?;
    let said = shell.refused("cas import legacy.pem --id again", 1)?;
    assert!(
        said.contains("This CA is here already, as legacy: "),
        "{said}"
    );
    let said = shell.refused("cas import legacy.pem --id legacy", 1)?;
    assert!(said.contains("CA already exists"), "{said}");
    shell.ok("cas import legacy.pem --id again --yes")?;
    Ok(())
}

#[test]
fn a_successor_has_the_names_of_its_predecessor() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell.csr("d1")?;
    shell.csr("other")?;
    shell.openssl("req -new -key d1.key -subj /CN=d1 -out bare.csr")?;
    let serial = shell.ok("certs issue d1.csr --ca plant -q")?;
    let (d1, other) = (
        "CN=d1 with the alternative names d1.plant",
        "CN=other with the alternative names other.plant",
    );
    for (csr, is) in [
        ("other.csr", other),
        ("bare.csr", "CN=d1 without alternative names"),
    ] {
        let said = shell.refused(&format!("certs renew {serial} --csr {csr} --revoke-old"), 1)?;
        assert!(
            said.contains(&format!(
                "the request is for {is}, the certificate for {d1}"
            )),
            "{said}"
        );
    }
    assert_eq!(
        shell.json(&format!("certs show {serial}"))?["status"],
        "ACTIVE"
    );
    shell.ok(&format!("certs renew {serial} --csr d1.csr"))?;

    // A profile may say of names what no request has.
    shell.ok("profiles create --name Line --validity 1d --subject O=Example")?;
    let serial = shell.ok("certs issue d1.csr --ca plant --profile Line -q")?;
    shell.ok(&format!("certs renew {serial} --csr d1.csr --profile Line"))?;
    let renew = format!("certs renew {serial} --csr other.csr --profile Line");
    let said = shell.refused(&renew, 1)?;
    assert!(
        said.contains(&format!("the request is for {other}")),
        "{said}"
    );
    Ok(())
}

#[test]
fn what_is_revoked_already_has_no_successor_that_would_revoke_it() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    let serial = shell.ok("certs create --ca plant --subject gateway-7 -q")?;
    shell.ok(&format!("certs hold {serial}"))?;
    let successor = shell.ok(&format!("certs renew {serial} --revoke-old -q"))?;
    let issued = shell.ok("certs list --ca plant -q")?;
    let said = shell.refused(&format!("certs renew {serial} --revoke-old"), 1)?;
    assert!(
        said.contains(&format!(
            "{serial} is revoked already: leave out --revoke-old"
        )),
        "{said}"
    );
    assert_eq!(shell.ok("certs list --ca plant -q")?, issued);
    assert!(issued.contains(&successor), "{issued}");
    shell.ok(&format!("certs renew {serial}"))?;

    // A successor that is for something else is none either.
    shell.ok(
        "profiles create --name Server --validity 90d --honor-subject --honor-extensions \
         --key-usage DigitalSignature --extended-key-usage ServerAuth",
    )?;
    let serial =
        shell.ok("certs create --ca plant --profile Server --subject s --dns s.plant -q")?;
    let said = shell.refused(&format!("certs renew {serial} --revoke-old --out s.pem"), 1)?;
    assert!(
        said.contains("is not for ServerAuth")
            && said.contains("the old certificate is not revoked"),
        "{said}"
    );
    assert!(shell.program.scratch().join("s.pem").exists());
    let status = |serial: &str| shell.json(&format!("certs show {serial}"));
    assert_eq!(status(&serial)?["status"], "ACTIVE");
    shell.ok(&format!(
        "certs renew {serial} --revoke-old --profile Server"
    ))?;
    assert_eq!(status(&serial)?["status"], "REVOKED");
    Ok(())
}

#[test]
fn what_a_revocation_means_is_said() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell
        .ok("cas create --id line --issuer plant --subject Line --profile Devices --validity 1y")?;
    for (ca, subject) in [("plant", "a"), ("line", "b"), ("line", "c")] {
        shell.ok(&format!("certs create --ca {ca} --subject {subject}"))?;
    }
    let all = "the 2 CAs below it and the 3 active certificates of all of them";
    let said = shell.refused("cas revoke root --reason Superseded", 1)?;
    assert!(
        said.contains(&format!(
            "This revokes the CA \"root\" with {all}, for good: neither that nor the reason Superseded can be \
             changed afterwards."
        )),
        "{said}"
    );
    let said = shell.refused("cas revoke line", 1)?;
    assert!(
        said.contains("the CA \"line\" with the 2 active certificates that it issued, for good"),
        "{said}"
    );

    shell.ok("cas hold line")?;
    let said = shell.refused("cas revoke line", 1)?;
    assert!(
        said.contains("with the 0 active certificates and the 2 on hold that it issued, for good"),
        "{said}"
    );

    let serial = shell.ok("certs create --ca plant --subject d -q")?;
    let revoke = format!("certs revoke {serial} --reason Superseded");
    let said = shell.refused(&revoke, 1)?;
    assert!(
        said.contains("neither that nor the reason Superseded can be changed afterwards"),
        "{said}"
    );
    shell.ok(&format!("{revoke} --yes"))?;
    let revoked = shell.ok(&format!("certs show {serial}"))?;
    let said = warnings(&shell, &format!("certs renew {serial}"))?;
    assert!(
        said.contains(&format!(
            "warning: it was revoked {}: Superseded",
            told(&revoked, "revoked")?
        )),
        "{said}"
    );

    shell.ok("cas revoke line --yes")?;
    let said = shell.refused("cas delete line", 1)?;
    assert!(
        said.contains(
            "This deletes the CA \"line\" with its key, and revokes the 0 active certificates that it issued"
        ),
        "{said}"
    );
    Ok(())
}

#[test]
fn private_keys_are_neither_sent_nor_written_over() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell.csr("d1")?;
    shell.openssl("pkey -in d1.key -outform DER -out key.der")?;
    shell.openssl("pkcs8 -topk8 -in d1.key -outform DER -passout pass:secret -out locked.der")?;
    let scratch = shell.program.scratch();
    let key = std::fs::read_to_string(scratch.join("d1.key"))?;
    shell.write(
        "ssh.key",
        &key.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
    )?;
    shell.write(
        "called.csr",
        &key.replace("PRIVATE KEY", "CERTIFICATE REQUEST"),
    )?;
    shell.write("called.pem", &key.replace("PRIVATE KEY", "CERTIFICATE"))?;
    let serial = shell.ok("certs issue d1.csr --ca plant -q")?;
    for file in [
        "d1.key",
        "key.der",
        "locked.der",
        "ssh.key",
        "called.csr",
        "called.pem",
    ] {
        let commands = [
            format!("certs issue {file} --ca plant"),
            format!("certs renew {serial} --csr {file}"),
            format!("certs import {file}"),
            format!("cas import {file}"),
        ];
        for line in commands {
            let said = shell.refused(&line, 1)?;
            // The server does not know what the file is called.
            assert!(
                said.contains(&format!("error: {file} is ")),
                "{line}: {said}"
            );
        }
    }

    shell.write(
        "bundle.pem",
        &format!("{}\n{key}", shell.ok("cas export plant")?),
    )?;
    shell.ok("keys create --name k --alias k")?;
    shell.write("m", "hello")?;
    let before = shell.ok("certs list --all -q")?;
    for file in ["d1.key", "key.der", "bundle.pem"] {
        let there = std::fs::read(scratch.join(file))?;
        for line in [
            "certs issue d1.csr --ca plant",
            "certs create --ca plant --subject x",
            "cas export plant",
            "keys export k",
            "keys sign k m",
            "cas request create --id sub --subject Sub",
        ] {
            let said = shell.refused(&format!("{line} --out {file}"), 1)?;
            assert!(
                said.contains(&format!(
                    "{file} holds a private key, and is not written over"
                )),
                "{line}: {said}"
            );
        }
        assert_eq!(std::fs::read(scratch.join(file))?, there);
    }
    assert_eq!(shell.ok("certs list --all -q")?, before);
    assert_eq!(shell.ok("cas request list -q")?, "");
    Ok(())
}
