//! `lamassu keys`.

use anyhow::Result;

use super::{Shell, told};

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

    // A name that is taken makes no key.
    let said = shell.refused("keys create --name another --alias free --alias b", 1)?;
    assert!(
        said.contains(&format!("the alias \"b\" is taken by the key {id}")),
        "{said}"
    );
    assert_eq!(shell.ok("keys list -q")?, id);

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
    shell.openssl("pkey -in own.key -pubout -out public.pem")?;
    shell.openssl("pkey -in own.key -outform DER -out long.der")?;
    let scratch = shell.program.scratch();
    let der = std::fs::read(scratch.join("long.der"))?;
    std::fs::write(scratch.join("cut.der"), der.get(..300).unwrap_or_default())?;
    std::fs::write(scratch.join("long.der"), [&der[..], b"\n\n"].concat())?;
    for (file, says) in [
        (
            "locked.key",
            "it is encrypted, and decrypted by `openssl pkey",
        ),
        (
            "public.pem",
            "public.pem is a public key, not a private key",
        ),
        ("long.der", "2 bytes follow behind the DER"),
        ("cut.der", "the DER is cut off"),
    ] {
        let said = shell.refused(&format!("keys import {file} --name {file}"), 1)?;
        assert!(said.contains(says), "{file}: {said}");
    }
    shell.write("m", "hello")?;
    shell.ok("keys sign own m --algorithm RSASSA_PSS_SHA_256 --out m.sig")?;
    for (flags, says) in [
        (
            "--algorithm ECDSA_SHA_256",
            "there are RSASSA_PKCS1_V1_5_SHA_256, ",
        ),
        ("--algorithm RSA", "there are RSASSA_PKCS1_V1_5_SHA_256, "),
        (
            "--digest",
            "RSASSA_PKCS1_V1_5_SHA_256 takes a digest of 32 bytes, and the file has 5",
        ),
    ] {
        let said = shell.refused(&format!("keys sign own m {flags}"), 1)?;
        assert!(said.contains(says), "{flags}: {said}");
    }
    let said = shell.refused("keys create --name x --key-type ecdsa", 2)?;
    assert!(said.contains("ecdsa-256, ecdsa-384"), "{said}");
    shell.ok("keys export own --out own.pem")?;
    let verified = shell.openssl(
        "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -verify own.pem \
         -signature m.sig m",
    )?;
    assert!(verified.contains("Verified OK"), "{verified}");
    Ok(())
}

#[test]
fn a_key_goes_once_its_certificates_have_ended() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    let key = shell.ok("keys create --name gateway --alias gateway -q")?;
    let create = "certs create --ca plant --subject gateway --key gateway -q";
    let (one, two) = (shell.ok(create)?, shell.ok(create)?);
    shell.ok(&format!("certs revoke {one} --yes"))?;
    shell.ok(&format!("certs hold {two}"))?;
    let said = shell.refused("keys delete gateway --yes", 1)?;
    assert!(
        said.contains(&format!("that have not ended: {two} (ON HOLD")),
        "{said}"
    );
    let shown = shell.ok("keys show gateway")?;
    assert!(told(&shown, "certificates")?.contains(&one), "{shown}");
    shell.ok(&format!("certs revoke {two} --yes"))?;
    shell.ok("keys delete gateway --yes")?;
    shell.refused(&format!("keys show {key}"), 1)?;
    // That of a CA goes with it.
    let ca = told(&shell.ok("cas show plant")?, "key id")?.to_owned();
    shell.ok("cas revoke plant --yes")?;
    let said = shell.refused(&format!("keys delete {ca} --yes"), 1)?;
    assert!(said.contains("of a CA, with which its key goes"), "{said}");
    Ok(())
}

#[test]
fn a_key_that_is_not_there_is_guessed_from_names_that_can_be_read() -> Result<()> {
    let shell = Shell::start()?;
    let id = shell.ok("keys create --name 'Line 7' -q")?;
    for n in 0..5 {
        shell.ok(&format!(
            "keys create --name 'Another {n}' --alias alias-{n} -q"
        ))?;
    }
    let said = shell.refused("keys show alias-44", 1)?;
    assert!(
        said.contains(
            "there is no key \"alias-44\" (did you mean alias-4?); there are alias-4, alias-"
        ),
        "{said}"
    );
    assert!(
        !said.contains(&id) && said.contains(" and others\n"),
        "{said}"
    );
    // A name is none for commands, which take the id.
    let said = shell.refused("keys show 'Line 7'", 1)?;
    let (short, _) = id.split_at(8);
    assert!(
        said.contains(&format!(
            "(did you mean {id}?); there are \"Line 7\" ({short}…), alias-"
        )),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_file_of_any_length_is_signed_where_the_algorithm_hashes() -> Result<()> {
    let shell = Shell::start()?;
    shell.ok("keys create --name long --alias long")?;
    shell.ok("keys create --name whole --alias whole --key-type ed25519")?;
    let image = std::fs::File::create(shell.program.scratch().join("image"))?;
    image.set_len(17 * 1024 * 1024)?;
    shell.ok("keys sign long image --out image.sig")?;
    shell.ok("keys verify long image --signature image.sig")?;
    shell.ok("keys export long --out long.pem")?;
    let verified = shell.openssl("dgst -sha256 -verify long.pem -signature image.sig image")?;
    assert!(verified.contains("Verified OK"), "{verified}");
    let said = shell.refused("keys sign whole image", 1)?;
    assert!(
        said.contains(
            "ED25519 takes the message as a whole: RSA and ECDSA keys take files of any length"
        ),
        "{said}"
    );
    image.set_len(1024)?;
    shell.ok("keys sign whole image --out image.sig")?;
    shell.ok("keys verify whole image --signature image.sig")?;
    Ok(())
}
