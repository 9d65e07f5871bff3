//! `lamassu cas`.

use anyhow::Result;

use super::{Shell, told};

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

    let shown = shell.ok("cas show plant")?;
    assert_eq!(
        (told(&shown, "CRL shards")?, told(&shown, "delta CRLs")?),
        ("-", "-")
    );
    let changed = shell.ok("cas update plant --delta-crls 1d")?;
    assert_eq!(told(&changed, "delta CRLs")?, "valid for 1d");
    assert_eq!(
        told(&shell.ok("cas show plant")?, "delta CRLs")?,
        "valid for 1d"
    );
    let changed = shell.ok("cas update plant --delta-crls off")?;
    assert_eq!(told(&changed, "delta CRLs")?, "-");
    shell.refused("cas update plant --delta-crls soon", 2)?;

    let before = shell.json("cas show plant")?;
    let after = shell.json("cas reissue plant")?;
    assert_ne!(before["serial_number"], after["serial_number"]);
    let issued = shell.ok("certs create --ca plant --subject left -q")?;
    let whole = shell.run(&format!("certs export {issued} --chain"))?;
    assert_eq!(String::from_utf8(whole.stderr)?, "");
    shell.ok("cas hold plant")?;
    assert_eq!(told(&shell.ok("cas show plant")?, "status")?, "ON HOLD");
    let said = shell.refused("certs create --ca plant --subject x", 1)?;
    assert!(
        said.contains(
            "the CA plant is on hold, and issues nothing until `lamassu cas release plant`"
        ),
        "{said}"
    );
    shell.ok("cas release plant")?;
    for line in ["cas delete plant", "cas delete plant --yes"] {
        let said = shell.refused(line, 1)?;
        assert!(
            said.contains("the CA plant is ACTIVE: `lamassu cas revoke plant` revokes it"),
            "{said}"
        );
        assert!(!said.contains("for good"), "{said}");
    }
    shell.ok("cas revoke plant --reason CessationOfOperation --yes")?;
    assert_eq!(shell.ok("cas list --status revoked -q")?, "plant");
    shell.ok("cas delete plant --yes")?;
    let left = shell.run(&format!("certs export {issued} --chain"))?;
    let warned = String::from_utf8(left.stderr)?;
    assert!(
        left.status.success() && warned.contains("the CA that issued it is not here"),
        "{warned}"
    );
    let said = shell.refused("cas show plant", 1)?;
    assert!(
        said.contains("there is no CA \"plant\"; there are root, outer, corp"),
        "{said}"
    );
    Ok(())
}

#[test]
fn what_relying_parties_will_refuse_is_said() -> Result<()> {
    let shell = Shell::start()?;
    shell.ok("profiles create --name Devices --validity 20y --honor-subject")?;
    shell.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout corp.key -subj /CN=Corp \
         -days 300 -out corp.pem -addext basicConstraints=critical,CA:true,pathlen:0",
    )?;
    shell.ok("cas import corp.pem --id corp --private-key corp.key --profile Devices")?;
    let warnings = |line: &str| -> Result<String> {
        let output = shell.run(line)?;
        let said = String::from_utf8(output.stderr)?;
        anyhow::ensure!(output.status.success(), "{line}: {said}");
        Ok(said)
    };
    let said = warnings(
        "cas create --id sub --issuer corp --subject Sub --profile Devices --validity 1d",
    )?;
    assert!(
        said.contains("the path length of CN=Corp allows 0 CAs below it, and this makes 1"),
        "{said}"
    );
    let said = warnings("certs create --ca corp --subject x")?;
    assert!(said.contains("when CN=Corp ends"), "{said}");
    assert!(!said.contains("path length"), "{said}");
    let said = warnings("cas create --id nobody --subject CN= --profile Devices")?;
    assert!(said.contains("the subject has no common name"), "{said}");
    let said = warnings(&format!(
        "cas create --id long --subject 'CN={},C=Germany' --profile Devices",
        "x".repeat(65)
    ))?;
    assert!(said.contains("the common name has 65 characters"), "{said}");
    assert!(
        said.contains("the country \"Germany\" is no code of two letters"),
        "{said}"
    );
    shell.ok("profiles create --name Named --validity 20y --honor-subject --honor-extensions")?;
    shell.openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout odd.key -subj /CN=odd \
         -addext 'subjectAltName=DNS:a b' -out odd.csr",
    )?;
    let said = warnings("certs issue odd.csr --ca corp --profile Named")?;
    assert!(said.contains("no server is called \"a b\""), "{said}");
    assert_eq!(
        warnings("cas create --id fine --subject 'CN=Fine,C=DE' --profile Devices")?,
        ""
    );
    Ok(())
}
