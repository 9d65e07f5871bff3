//! What all of them have in common: lists, questions, refusals, completion.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::{Shell, refused, told};
use crate::support::client::Client;
use crate::support::command;
use crate::support::program::executable;

#[test]
fn a_list_is_printed_as_its_pages_arrive() -> Result<()> {
    let shell = Shell::start()?;
    let client = Client {
        port: shell.program.https_port,
        token: shell.program.token("admin")?,
    };
    // One more than a page holds.
    for n in 0..501 {
        let made = client.call(
            "POST",
            "ca/v1/profiles",
            &json!({"name": format!("p{n:03}")}),
        )?;
        ensure!(made.status == 201, "{}", made.body);
    }
    let all = shell.json("profiles list --all --sort name")?;
    let names: Vec<_> = all
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names.len(), 501);
    assert_eq!((names[0], names[500]), (&json!("p000"), &json!("p500")));
    assert_eq!(
        shell.ok("profiles list --limit 501 -q")?.lines().count(),
        501
    );
    let text = shell.ok("profiles list --all")?;
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("NAME "))
            .count(),
        1
    );
    assert_eq!(text.lines().count(), 502);

    // Whoever reads only the beginning is no failure.
    let line = format!(
        "{} profiles list --all --json | head -1",
        executable().display()
    );
    let mut piped = Command::new("bash");
    piped.args(["-o", "pipefail", "-c", &line]);
    let output = shell.at_home(&mut piped).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.is_empty(), "{errors}");
    Ok(())
}

#[test]
fn what_cannot_be_undone_is_asked_for_on_a_terminal() -> Result<()> {
    let shell = Shell::start()?;
    let answered = |name: &str, answer: &str| -> Result<String> {
        shell.ok(&format!("keys create --name {name} --alias {name}"))?;
        let line = format!("{} keys delete {name}", executable().display());
        // `script` runs it on a terminal of its own.
        let mut terminal = Command::new("script");
        terminal
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = shell.at_home(&mut terminal).spawn();
        let mut child = child.context("script of util-linux is missing")?;
        let mut stdin = child.stdin.take().context("an input")?;
        stdin.write_all(answer.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let said = answered("kept", "n\n")?;
    assert!(
        said.contains("Go on? [y/N]") && said.contains("nothing was done"),
        "{said}"
    );
    shell.ok("keys show kept")?;
    let said = answered("gone", "y\n")?;
    assert!(said.contains("is destroyed"), "{said}");
    shell.refused("keys show gone", 1)?;
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
    let said = refused(&as_auditor("profiles create --name x --validity 1d")?, 1)?;
    assert!(
        said.contains("lacks the permission profile:write"),
        "{said}"
    );
    assert!(said.contains("admin, ca-manager have"), "{said}");

    shell.write("token", "no.such.token\n")?;
    let said = shell.refused("cas list --token-file token", 1)?;
    assert!(said.contains("refused the token"), "{said}");
    // What the command line says goes before what the environment says.
    let output = shell
        .command("cas list --token-file token")
        .env("LAMASSU_TOKEN", &auditor)
        .output()?;
    refused(&output, 1)?;
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
    assert!(
        said.contains("invalid filter operand 'after' for field 'status': there are eq, ne, in"),
        "{said}"
    );
    // Words that there are not would find nothing.
    let said = shell.refused("certs list --status revokd", 2)?;
    assert!(said.contains("REVOKED"), "{said}");
    for line in [
        "certs list --filter 'status[equal]revokd'",
        "certs bulk-revoke --filter 'status[equal]revokd' --yes",
        "devices list --status REVOKD",
    ] {
        let said = shell.refused(line, 1)?;
        assert!(
            said.contains("there is no \"") && said.contains("REVOKED"),
            "{line}: {said}"
        );
    }
    let said = shell.refused("keys list --algorithm EC", 2)?;
    assert!(said.contains("ECDSA"), "{said}");
    let said = shell.refused("keys create --name x --key-type rsa-1000", 1)?;
    assert!(
        said.contains("for key type RSA in engine disk: `lamassu keys engines`"),
        "{said}"
    );
    for line in ["ocsp x.pem --url foo", "crl fetch --url foo --out x"] {
        let said = shell.refused(line, 2)?;
        assert!(said.contains("begins with http:// or https://"), "{said}");
    }
    for list in ["keys", "cas"] {
        let said = shell.refused(&format!("{list} list --engine dis"), 1)?;
        assert!(
            said.contains("there is no engine \"dis\" (did you mean disk?)"),
            "{said}"
        );
    }
    // The environment says where the installation is.
    let said = shell.refused("cas create --profile x", 2)?;
    assert!(
        said.contains("Usage: lamassu cas create --subject <NAME> --profile <PROFILE>\n"),
        "{said}"
    );

    assert!(shell.program.stop()?.success());
    let said = shell.refused("cas list", 1)?;
    // On a shared database one may run elsewhere, where the configuration says.
    let says = match shell.program.schema() {
        Some(_) => "does not answer",
        None => "no server runs on",
    };
    assert!(said.contains(says), "{said}");
    let said = shell.refused(&format!("cas list --url {https} --token-file token"), 1)?;
    assert!(said.contains("does not answer"), "{said}");
    Ok(())
}

#[test]
fn a_wrong_address_is_told_by_what_is_wrong_about_it() -> Result<()> {
    let shell = Shell::start()?;
    shell.write("token", &shell.program.token("auditor")?)?;
    let https = shell.program.https();
    // The other port is called that.
    let (http_port, https_port) = (shell.program.http_port, shell.program.https_port);
    let plain = format!("http://localhost:{https_port} --token-file token");
    for line in ["cas list", "keys create --name x"] {
        let said = shell.refused(&format!("{line} --url {plain}"), 1)?;
        assert!(said.contains("is https:// meant"), "{line}: {said}");
    }
    let secure = format!("https://localhost:{http_port}");
    for line in ["cas list --token-file token", "login"] {
        let said = shell.refused(&format!("{line} --url {secure}"), 1)?;
        assert!(
            said.contains(&format!("{secure} does not answer: it speaks plain HTTP"))
                && said.contains("Wrong port?"),
            "{line}: {said}"
        );
    }
    // So is the name.
    let named = format!("https://127.0.0.2:{https_port}");
    let said = shell.refused(&format!("cas list --token-file token --url {named}"), 1)?;
    assert!(
        said.contains("its certificate is for localhost, ") && said.contains("not for 127.0.0.2"),
        "{said}"
    );
    assert!(said.contains("lamassu serve --domain 127.0.0.2"), "{said}");
    // Whoever signs in on the server's machine need not say what vouches for it.
    let said = shell.refused(&format!("login --url {https}"), 1)?;
    assert!(said.contains("names no identity provider"), "{said}");
    let said = shell.refused(&format!("login --url {https} --data-dir /nonexistent"), 1)?;
    assert!(said.contains("--ca-file names the file"), "{said}");
    Ok(())
}

#[test]
fn nothing_is_made_that_could_not_be_written() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    shell.csr("d1")?;
    shell.write("m", "hello")?;
    shell.ok("keys create --name k --alias k")?;
    let serial = shell.ok("certs create --ca plant --subject gateway -q")?;
    let before = shell.ok("certs list --all -q")?;
    std::fs::create_dir(shell.program.scratch().join("folder"))?;
    for line in [
        "certs issue d1.csr --ca plant",
        "certs create --ca plant --subject x",
        &format!("certs renew {serial}"),
        "cas request create --id outer --subject Outer",
        "keys sign k m",
        "dms passwords create line",
    ] {
        for file in ["nowhere/file", "folder"] {
            let said = shell.refused(&format!("{line} --out {file}"), 1)?;
            assert!(
                said.contains(&format!("error: {file} cannot be written: ")),
                "{line}: {said}"
            );
        }
    }
    assert_eq!(shell.ok("certs list --all -q")?, before);
    assert_eq!(shell.ok("cas request list -q")?, "");
    assert_eq!(shell.ok("dms passwords list line -q")?, "");
    assert_eq!(told(&shell.ok("keys show k")?, "used")?, "-");
    // What is no regular file is written as it is.
    assert!(
        shell
            .ok("keys export k --out /dev/stdout")?
            .contains("BEGIN PUBLIC KEY")
    );
    shell.ok("keys export k --out /dev/null")?;
    // Nor is anything left where it could be.
    shell.refused("certs issue d1.csr --ca plan --out later.pem", 1)?;
    assert!(!shell.program.scratch().join("later.pem").exists());
    Ok(())
}

#[test]
fn a_wrong_file_is_called_by_what_it_is() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell.csr("d1")?;
    shell.ok("cas export root --out root.pem")?;
    for (file, out) in [("root.pem", "root.der"), ("d1.csr", "csr.der")] {
        let kind = if file == "d1.csr" { "req" } else { "x509" };
        shell.openssl(&format!("{kind} -in {file} -outform DER -out {out}"))?;
    }
    shell.openssl("pkey -in d1.key -outform DER -out key.der")?;
    shell.openssl("pkey -in d1.key -pubout -outform DER -out public.der")?;
    shell.openssl("pkey -in d1.key -aes256 -passout pass:secret -out locked.key")?;
    shell.openssl("crl2pkcs7 -nocrl -certfile root.pem -outform DER -out root.p7b")?;
    shell.write("m", "hello")?;
    let issue = |file: &str| format!("certs issue {file} --ca plant");
    for (line, says) in [
        (
            issue("root.pem"),
            "root.pem is a certificate, not a certification request",
        ),
        (
            issue("root.der"),
            "root.der is a certificate, not a certification request",
        ),
        (
            issue("d1.key"),
            "d1.key is a private key, not a certification request",
        ),
        (
            issue("key.der"),
            "key.der is a private key, not a certification request",
        ),
        (
            issue("locked.key"),
            "locked.key is an encrypted private key, not a ",
        ),
        (
            "certs import csr.der".to_owned(),
            "csr.der is a certification request, not a certificate",
        ),
        (
            "cas import root.p7b".to_owned(),
            "root.p7b is a PKCS#7 message, not a certificate",
        ),
        (
            "certs import m".to_owned(),
            "m is neither PEM nor DER of a certificate",
        ),
        (
            "cas import root.pem --private-key root.pem".to_owned(),
            "root.pem is a certificate, not a private key",
        ),
        (
            "keys import public.der --name x".to_owned(),
            "public.der is a public key, not a private key",
        ),
        (
            "keys import root.der --name x".to_owned(),
            "root.der is a certificate, not a private key",
        ),
        (
            "crl show root.pem".to_owned(),
            "root.pem is a certificate, not a CRL",
        ),
        (
            "ocsp d1.csr --issuer root.pem".to_owned(),
            "d1.csr is a certification request, not a certificate",
        ),
    ] {
        let said = shell.refused(&line, 1)?;
        assert!(said.contains(says), "{line}: {said}");
    }
    // The key of a request may stand in front of it, and stays here.
    let scratch = shell.program.scratch();
    let read = |name: &str| std::fs::read_to_string(scratch.join(name));
    shell.write(
        "both.pem",
        &format!("{}{}", read("d1.key")?, read("d1.csr")?),
    )?;
    shell.ok(&issue("both.pem"))?;
    Ok(())
}

#[test]
fn a_variable_that_is_empty_says_nothing() -> Result<()> {
    let shell = Shell::start()?;
    let mut command = shell.command("keys list");
    for name in ["LAMASSU_URL", "LAMASSU_CA_FILE", "LAMASSU_TOKEN"] {
        command.env(name, "");
    }
    let output = command.output()?;
    assert!(output.status.success(), "{output:?}");
    let mut command = shell.command("est cacerts");
    command.env("LAMASSU_EST_CA", "").env("LAMASSU_EST_URL", "");
    let said = refused(&command.output()?, 1)?;
    assert!(said.contains("which server? say --url"), "{said}");
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
        for word in ["bulk-revoke", "serverkeygen", "decommission", "approvals"] {
            assert!(script.contains(word), "{name}: {word}");
        }
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
    for page in [
        "cas-create",
        "est-renew",
        "ocsp",
        "crl-check",
        "devices-import",
        "groups",
    ] {
        let name = format!("lamassu-{page}.1");
        let page = std::fs::read_to_string(directory.path().join(&name)).context(name)?;
        assert!(page.contains(".TH"), "{page}");
    }
    Ok(())
}
