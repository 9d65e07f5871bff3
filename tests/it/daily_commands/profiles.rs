//! `lamassu profiles`.

use anyhow::Result;

use super::Shell;

#[test]
fn a_profile_is_made_of_flags_and_files_and_keeps_what_is_not_said() -> Result<()> {
    let shell = Shell::start()?;
    shell.write(
        "p.yml",
        "name: Line\nvalidity: {type: Duration, duration: 30d}\nmaximum_validity: 60d\n",
    )?;
    let made = shell
        .json("profiles create --file p.yml --allow-key ecdsa-256 --allow-san 'dns=.*[.]plant'")?;
    assert_eq!(made["maximum_validity"], "8w4d");
    assert_eq!(
        made["allowed_sans"][0],
        serde_json::json!({"type": "DNS", "pattern": ".*[.]plant"})
    );
    let said = shell.refused("profiles create --name Short --allow-san dns", 1)?;
    assert!(said.contains("say --validity"), "{said}");
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

    let again = shell.run("profiles create --name Copy --validity 1d")?;
    let said = String::from_utf8(again.stderr)?;
    assert!(again.status.success(), "{said}");
    assert!(
        said.contains("there is a profile called \"Copy\" already"),
        "{said}"
    );
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
    shell.ok("dms create line --ca plant --profile Line --auth none")?;
    let said = shell.refused("profiles delete Line", 1)?;
    assert!(
        said.contains("nothing without another profile: the CA plant, the DMS line"),
        "{said}"
    );
    // A CA issues under it by default; the DMS is asked about only.
    let said = shell.refused("profiles delete Line --yes", 1)?;
    assert!(said.contains("plant"), "{said}");
    shell.ok("profiles create --name Other --validity 1d")?;
    shell.ok("cas update plant --profile Other")?;
    shell.ok("profiles delete Line --yes")?;
    assert!(!shell.ok("profiles list")?.contains("Line"));
    Ok(())
}
