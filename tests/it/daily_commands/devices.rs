//! `lamassu dms` and `lamassu devices`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Shell, told};
use crate::support::wait::wait_for;

impl Shell {
    /// The plant with a DMS `line`, whose devices enroll with certificates of `plant`.
    pub(super) fn line(&self) -> Result<()> {
        self.plant()?;
        self.ok("dms create line --ca plant --validation-ca plant --tag line-1 --set hall=2")?;
        Ok(())
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.program.scratch().join(name))?)
    }
}

#[test]
fn a_dms_is_made_shown_and_changed() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    let shown = shell.ok("dms show line")?;
    assert_eq!(told(&shown, "enrollment")?, "CLIENT_CERTIFICATE of plant");
    assert_eq!(told(&shown, "renewal opens")?, "100d before the end");
    assert_eq!(told(&shown, "metadata")?, "{\"hall\":2}");
    assert_eq!(told(&shown, "approval")?, "automatic");
    let changed = shell.ok(
        "dms update line --name 'Line 1' --profile Devices --renew-before 20d --expired-renewal \
         --server-keygen rsa-2048 --approval manual --unset hall --set shift=early",
    )?;
    assert_eq!(told(&changed, "name")?, "Line 1");
    assert_eq!(told(&changed, "renewal opens")?, "20d before the end");
    assert_eq!(told(&changed, "expired may renew")?, "yes");
    assert_eq!(told(&changed, "server key generation")?, "RSA-2048");
    assert_eq!(told(&changed, "approval")?, "manual");
    assert_eq!(told(&changed, "metadata")?, "{\"shift\":\"early\"}");
    // What was not said stays.
    assert_eq!(told(&changed, "enrollment")?, "CLIENT_CERTIFICATE of plant");
    assert_eq!(told(&changed, "tags of devices")?, "line-1");

    // What is shown is a file for another one.
    shell.write("line.json", &shell.ok("dms show line --json")?)?;
    shell.ok("dms create line-2 --file line.json --name 'Line 2' --server-keygen off")?;
    let second = shell.json("dms show line-2")?;
    assert_eq!(second["id"], "line-2");
    assert_eq!(
        second["settings"]["reenrollment_settings"]["reenrollment_delta"],
        "2w6d"
    );
    assert_eq!(
        second["settings"]["server_keygen_settings"]["enabled"],
        false
    );
    assert_eq!(shell.ok("dms list -q --name 'line 2'")?, "line-2");
    assert_eq!(shell.ok("dms stats -q")?, "2");

    shell.ok("dms delete line-2 --yes")?;
    assert_eq!(shell.ok("dms list -q")?, "line");
    let said = shell.refused("dms show lin", 1)?;
    assert!(
        said.contains("there is no DMS \"lin\"") && said.contains("line"),
        "{said}"
    );
    let said = shell.refused("dms create line --ca plant --validation-ca plant", 1)?;
    assert!(
        said.contains("already exists") && said.contains("dms update"),
        "{said}"
    );
    let said = shell.refused("dms create other --ca plant", 1)?;
    assert!(said.contains("--validation-ca"), "{said}");
    let said = shell.refused("dms update line", 1)?;
    assert!(said.contains("nothing to change"), "{said}");
    let without_end = "dms passwords create line --expires-in 0s";
    let said = shell.refused(without_end, 2)?;
    assert!(said.contains("above zero"), "{said}");
    shell.refused("dms passwords create line --uses 0", 2)?;
    let warned = |line: &str, says: &str| -> Result<()> {
        let output = shell.run(line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success() && said.contains(says),
            "{line}: {said}"
        );
        Ok(())
    };
    let create = "dms passwords create line --user crew --out crew.password";
    warned(
        create,
        "line takes no passwords: `lamassu dms update line --auth password`",
    )?;
    let said = shell.refused(create, 1)?;
    assert!(said.contains("crew.password is there already"), "{said}");
    warned("dms refused --dms lin", "there is no DMS \"lin\"")?;
    let said = shell.refused("approvals list --dms lin", 1)?;
    assert!(said.contains("there is no DMS \"lin\""), "{said}");
    shell.ok("cas hold plant")?;
    warned("dms update line --name again", "the CA plant is REVOKED")?;
    let said = shell.refused("cas delete plant", 1)?;
    assert!(
        said.contains("Devices of the DMS line enroll under it."),
        "{said}"
    );
    shell.write(
        "wrong.yml",
        "settings: {enrollment_settings: {enrolment_ca: plant}}",
    )?;
    let said = shell.refused("dms update line --file wrong.yml", 1)?;
    assert!(said.contains("enrolment_ca"), "{said}");
    Ok(())
}

#[test]
fn a_device_is_registered_bound_listed_and_counted() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    let made = shell.ok("devices create device-1 --dms line --tag a --tag b --set plant=A")?;
    assert_eq!(told(&made, "status")?, "NO_IDENTITY");
    let serial = shell.ok("certificates create --ca plant --subject device-1 -q")?;
    let bound = shell.ok(&format!("devices bind device-1 {serial}"))?;
    assert_eq!(told(&bound, "status")?, "ACTIVE");
    assert!(
        bound.contains("PROVISIONED") && bound.contains("CREATED"),
        "{bound}"
    );
    shell.ok("devices create device-2 --dms line")?;
    for command in ["list", "stats", "export --out devices.csv"] {
        let said = shell.refused(&format!("devices {command} --dms lin"), 1)?;
        assert!(said.contains("there is no DMS \"lin\""), "{said}");
    }
    assert_eq!(shell.ok("devices list --status active -q")?, "device-1");
    assert_eq!(shell.ok("devices list --tag b -q")?, "device-1");
    assert_eq!(shell.ok("devices list --dms line -q")?.lines().count(), 2);
    let stats = shell.ok("devices stats --dms line")?;
    assert_eq!(told(&stats, "all")?, "2");
    assert_eq!(told(&stats, "NO_IDENTITY")?, "1");
    let said = shell.refused("devices show nothing", 1)?;
    assert!(said.contains("there is no device \"nothing\"\n"), "{said}");
    for line in [
        "devices show device-22",
        "devices update dveice-2 --set a=1",
    ] {
        let said = shell.refused(line, 1)?;
        assert!(said.contains("(did you mean device-2?)\n"), "{said}");
    }
    let said = shell.refused("devices create device-1 --dms line", 1)?;
    assert!(said.contains("already exists"), "{said}");
    shell.ok("groups create Own --where tags[contains]a")?;
    shell.ok("groups policies set Own --require-tag b")?;
    let said = shell.refused("devices update device-1 --tag a", 1)?;
    assert!(
        said.contains("a policy of the device group Own is broken: /tags: 'b' is required"),
        "{said}"
    );
    let said = shell.refused("devices bind device-2 ff", 1)?;
    assert!(said.contains("there is no certificate"), "{said}");
    Ok(())
}

#[test]
fn a_fleet_comes_from_a_file_and_goes_into_one() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    let mut table = "id,tags,metadata.plant,metadata.slot\n".to_owned();
    for n in 0..1_200 {
        table.push_str(&format!("d-{n:04},x;y,A,{n}\n"));
    }
    table.push_str(&format!("{},,,\nd-0000,,,\nshort,x\n", "l".repeat(600)));
    shell.write("fleet.csv", &table)?;
    let said = shell.refused("devices import fleet.csv", 1)?;
    let lacks = "it belongs to no DMS: the file or --dms names one";
    assert!(said.contains(&format!("line 2: {lacks}\n")), "{said}");
    assert!(
        said.contains(&format!(
            "and 1201 more lines up to line 1203: {lacks}; --report"
        )),
        "{said}"
    );
    assert_eq!(said.matches(lacks).count(), 2, "{said}");
    assert_eq!(shell.ok("devices stats -q")?, "0");

    let line = "devices import fleet.csv --dms line --tag imported --report failed.jsonl";
    let said = shell.refused(line, 1)?;
    assert!(
        said.contains("2 of 1203 devices could not be registered"),
        "{said}"
    );
    let failed: Vec<Value> = shell
        .read("failed.jsonl")?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let lines: Vec<_> = failed.iter().map(|one| one["line"].clone()).collect();
    assert_eq!(lines, [1_202, 1_204]);
    let well_formed = "an id has at most 512 bytes and no control characters";
    let said = failed[0]["error"].as_str().unwrap_or_default();
    assert!(said.starts_with(well_formed), "{said}");
    assert_eq!(shell.ok("devices stats --tag imported -q")?, "1200");
    let device = shell.json("devices show d-0007")?;
    assert_eq!(device["tags"], serde_json::json!(["x", "y", "imported"]));
    assert_eq!(
        device["metadata"],
        serde_json::json!({"plant": "A", "slot": 7})
    );

    // Again, and from where it was stopped: what is there is passed over.
    let output = shell.run("devices import fleet.csv --dms line --skip 1000 --json")?;
    let outcome: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(outcome["read"], 203);
    assert_eq!(
        (&outcome["existing"], &outcome["failed"]),
        (&201.into(), &2.into())
    );

    // What is there is no news of a dry run either; a DMS that is not there gets no device.
    shell.write(
        "more.csv",
        "id,dms_id\nd-0000,line\nd-new,line\nd-lost,lnie\n",
    )?;
    for dry in ["--dry-run ", ""] {
        let output = shell.run(&format!("devices import more.csv {dry}--json"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("there is no DMS \"lnie\""), "{said}");
        let outcome: Value = serde_json::from_slice(&output.stdout)?;
        let counts = ["registered", "existing", "failed"].map(|name| outcome[name].clone());
        assert_eq!(counts, [1, 1, 1], "{dry}");
    }
    shell.ok("devices decommission d-new --yes -q")?;
    shell.ok("devices delete d-new --yes -q")?;

    // Out again, in pages, and in again somewhere else.
    shell.ok("devices export --out fleet.jsonl")?;
    shell.ok("devices export --out out.csv --tag x")?;
    let lines = shell.read("fleet.jsonl")?;
    assert_eq!(lines.lines().count(), 1_200);
    assert_eq!(shell.read("out.csv")?.lines().count(), 1_201);
    let renamed = lines.replace("\"d-", "\"e-");
    shell.write("fleet.jsonl", &renamed)?;
    shell.write("out.csv", &shell.read("out.csv")?.replace("d-", "f-"))?;
    for file in ["fleet.jsonl", "out.csv"] {
        let outcome = shell.json(&format!("devices import {file}"))?;
        assert_eq!(outcome["registered"], 1_200, "{file}");
    }
    let device = shell.json("devices show f-0011")?;
    assert_eq!(
        device["metadata"],
        serde_json::json!({"plant": "A", "slot": 11})
    );
    assert_eq!(device["dms_owner"], "line");

    shell.write("typo.csv", "id,tgas\na,b\n")?;
    let said = shell.refused("devices import typo.csv --dms line", 1)?;
    assert!(said.contains("\"tgas\" is not known"), "{said}");
    shell.write("other.csv", "id;tags\na;b\n")?;
    let said = shell.refused("devices import other.csv --dms line", 1)?;
    assert!(said.contains("separated by semicolons"), "{said}");
    let said = shell.refused("devices import fleet --dms line", 1)?;
    assert!(said.contains("cannot be read"), "{said}");

    refuses_quotes_that_are_not_closed(&shell)?;
    writes_over_no_file_that_is_needed(&shell)?;
    shell.ok("devices create =1+1 --dms line --tag odd")?;
    shell.ok("devices export --out seen.csv --tag odd --spreadsheet")?;
    let seen = shell.read("seen.csv")?;
    assert!(seen.contains("\n'=1+1,line,"), "{seen}");
    Ok(())
}

/// They swallow no row, and what stands before one is told.
fn refuses_quotes_that_are_not_closed(shell: &Shell) -> Result<()> {
    shell.write(
        "quote.csv",
        "id,tags,metadata.fw\nq-1,a,1.10\nq-2,\"a,2\nq-3,b,3\n",
    )?;
    let output = shell.run("devices import quote.csv --dms line --json")?;
    let said = super::refused(&output, 1)?;
    assert!(
        said.contains("line 3: the quote that opens there is not closed"),
        "{said}"
    );
    let outcome: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (&outcome["read"], &outcome["registered"]),
        (&1.into(), &1.into())
    );
    let found = "devices list -q --filter 'metadata[jsonpath]$.fw == \"1.10\"'";
    assert_eq!(shell.ok(found)?, "q-1");

    Ok(())
}

/// Files are written when there is something to write, and never over what is read or a private key.
fn writes_over_no_file_that_is_needed(shell: &Shell) -> Result<()> {
    shell.csr("k")?;
    shell.write("old", "kept")?;
    let key = shell.read("k.key")?;
    let empty = "empty.csv";
    shell.write(empty, "id\n")?;
    for (line, says) in [
        (
            "import typo.csv --report typo.csv",
            "typo.csv is what is read",
        ),
        ("import typo.csv --report old", "\"tgas\" is not known"),
        (
            "import empty.csv --report k.key",
            "k.key holds a private key",
        ),
        (
            "import empty.csv --skip 1 --report k.key",
            "k.key holds a private key",
        ),
        (
            "export --format csv --out k.key",
            "k.key holds a private key",
        ),
        ("export --format csv --out old --filter id[what]x", "what"),
        (
            "export --format jsonl --out old --spreadsheet",
            "--format csv",
        ),
    ] {
        let said = shell.refused(&format!("devices {line}"), 1)?;
        assert!(said.contains(says), "{line}: {said}");
    }
    assert_eq!(shell.read("typo.csv")?, "id,tgas\na,b\n");
    assert_eq!(
        (shell.read("k.key")?, shell.read("old")?),
        (key, "kept".to_owned())
    );
    // That of an earlier import would be taken for one of this one.
    shell.ok("devices import empty.csv --report old")?;
    assert_eq!(shell.read("old")?, "");
    Ok(())
}

#[test]
fn an_import_stops_where_the_server_is_away() -> Result<()> {
    let mut shell = Shell::start()?;
    shell.line()?;
    let mut table = "id,dms_id\n".to_owned();
    for n in 0..20 {
        table.push_str(&format!("d-{n},line\n"));
    }
    shell.write("fleet.csv", &table)?;
    let token = shell.program.token("admin")?;
    shell.write("token", &token)?;
    let url = shell.program.https();
    shell.program.kill()?;
    let anchor = shell.program.anchor();
    let line = format!(
        "devices import fleet.csv --url {url} --token-file token --ca-file {}",
        anchor.display()
    );
    let output = shell.run(&line)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("stopped behind 0 devices: --skip 0 goes on"),
        "{said}"
    );
    assert!(said.contains("does not answer"), "{said}");
    shell.program.restart()?;
    let outcome = shell.json("devices import fleet.csv").context("again")?;
    assert_eq!(outcome["registered"], 20);
    Ok(())
}

#[test]
fn a_device_is_changed_retired_and_forgotten() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    shell.ok("devices create old --dms line --set plant=A")?;
    let serial = shell.ok("certificates create --ca plant --subject old -q")?;
    shell.ok(&format!("devices bind old {serial} -q"))?;
    let changed = shell.ok("devices update old --unset plant --set 'place={\"hall\": 3}'")?;
    assert_eq!(told(&changed, "metadata")?, "{\"place\":{\"hall\":3}}");
    shell.ok("dms create other --ca plant --validation-ca plant")?;
    let moved = shell.ok("devices update old --dms other --tag indoor --tag hot --set n=1")?;
    assert_eq!(told(&moved, "DMS")?, "other");
    assert_eq!(told(&moved, "tags")?, "indoor, hot");
    assert_eq!(
        told(&moved, "metadata")?,
        "{\"n\":1,\"place\":{\"hall\":3}}"
    );
    assert_eq!(
        told(&shell.ok("devices update old --no-tags")?, "tags")?,
        "-"
    );
    let said = shell.refused("devices update old --dms othr", 1)?;
    assert!(
        said.contains("there is no DMS \"othr\" (did you mean other?)"),
        "{said}"
    );
    let said = shell.refused("devices update old", 1)?;
    assert!(
        said.contains("nothing to change: say --dms, --tag"),
        "{said}"
    );
    // A hold is told from a revocation for good.
    for (command, state) in [("hold", "REVOKED (on hold)"), ("release", "ACTIVE")] {
        shell.ok(&format!("certificates {command} {serial} -q"))?;
        let state = format!("yes     {state}");
        wait_for(&state, Duration::from_secs(10), || {
            let shown = shell.ok("devices show old").ok()?;
            shown.contains(&state).then_some(())
        })?;
    }
    let said = shell.refused("devices delete old --yes", 1)?;
    assert!(said.contains("does not allow"), "{said}");
    assert!(said.contains("`lamassu devices decommission`"), "{said}");
    let said = shell.refused("devices decommission old", 1)?;
    assert!(said.contains("--yes"), "{said}");
    let said = shell.refused("devices decommission old odl --yes", 1)?;
    assert!(said.contains("there is no device \"odl\""), "{said}");
    assert_eq!(shell.json("devices show old")?["status"], "ACTIVE");
    let retired = shell.ok("devices decommission old --yes")?;
    assert_eq!(told(&retired, "status")?, "DECOMMISSIONED");
    wait_for(
        "the certificate to be revoked",
        Duration::from_secs(10),
        || {
            let shown = shell.json(&format!("certificates show {serial}")).ok()?;
            (shown["status"] == "REVOKED").then_some(())
        },
    )?;
    assert_eq!(
        shell.ok("devices delete old --yes")?,
        "device old is removed"
    );
    assert_eq!(shell.ok("devices list -q")?, "");
    Ok(())
}

#[test]
fn an_update_of_a_device_happens_as_a_whole_or_not_at_all() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    shell.ok("dms create other --ca plant --validation-ca plant -q")?;
    shell.ok(
        "devices create pump --dms line --tag strict --set plant=A --set 'place={\"hall\": 3}' -q",
    )?;
    shell.ok("groups create Strict --where tags[contains]strict -q")?;
    let schema = r#"{"properties": {"plant": {"type": "string"}}}"#;
    shell.write("schema.json", schema)?;
    shell.ok("groups policies set Strict --schema schema.json -q")?;
    let update = "devices update pump --dms other --set plant=3";
    let said = shell.refused(update, 1)?;
    assert!(said.contains("policy"), "{said}");
    let device = shell.json("devices show pump")?;
    assert_eq!(device["dms_owner"], "line");
    let metadata = serde_json::json!({"plant": "A", "place": {"hall": 3}});
    assert_eq!(device["metadata"], metadata);
    // What is only warned of is told.
    shell.ok("groups policies set Strict --schema schema.json --warn-only -q")?;
    let output = shell.run(update)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("warning: "), "{said}");
    // A value takes the place of the one before, and what is not there may be taken away.
    shell.ok("devices update pump --set 'place={\"row\": 1}' --unset plant --unset nothing -q")?;
    let device = shell.json("devices show pump")?;
    assert_eq!(device["dms_owner"], "other");
    let metadata = serde_json::json!({"place": {"row": 1}});
    assert_eq!(device["metadata"], metadata);
    Ok(())
}

#[test]
fn groups_are_made_tried_nested_and_deleted() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    for (name, tags) in [
        ("a", "--tag indoor"),
        ("b", "--tag indoor --tag hot"),
        ("c", ""),
    ] {
        shell.ok(&format!("devices create {name} --dms line {tags} -q"))?;
    }
    let tried = shell.ok("groups preview --where tags[contains]indoor")?;
    assert_eq!(
        (told(&tried, "devices")?, told(&tried, "oldest")?),
        ("2", "a, b")
    );
    shell.ok("groups create Indoor --where tags[contains]indoor --description 'with a roof'")?;
    let hot = shell.ok("groups create Hot --parent Indoor --where tags[contains]hot")?;
    assert_eq!(told(&hot, "place")?, "Indoor / Hot");
    assert_eq!(told(&hot, "and from above")?, "tags[contains]indoor");
    assert_eq!(shell.ok("groups devices Hot -q")?, "b");
    assert_eq!(told(&shell.ok("groups stats Indoor")?, "all")?, "2");
    let tree = shell.ok("groups tree")?;
    assert_eq!(tree.lines().count(), 3, "{tree}");
    let of_device = shell.ok("devices groups b")?;
    assert!(of_device.contains("Indoor / Hot"), "{of_device}");
    let renamed = shell.ok("groups update Hot --name Furnace --priority 5")?;
    assert_eq!(told(&renamed, "priority")?, "5");
    assert_eq!(told(&renamed, "members fulfil")?, "tags[contains]hot");
    let said = shell.refused("groups show Hot", 1)?;
    assert!(
        said.contains("there is no group \"Hot\"") && said.contains("Furnace"),
        "{said}"
    );
    let said = shell.refused("groups create Indoor --where tags[contains]x", 1)?;
    assert!(said.contains("already exists"), "{said}");
    let said = shell.refused("groups create Typo --where tgas[contains]x", 1)?;
    assert!(said.contains("tgas"), "{said}");
    let said = shell.refused("groups delete Indoor --yes", 1)?;
    assert!(said.contains("--children"), "{said}");
    shell.ok("groups delete Indoor --children cascade --yes")?;
    assert_eq!(shell.ok("groups list -q")?, "");
    assert_eq!(shell.ok("devices stats -q")?, "3");
    Ok(())
}

#[test]
fn policies_of_groups_are_set_shown_and_removed() -> Result<()> {
    let shell = Shell::start()?;
    shell.ok("groups create Indoor --where tags[contains]indoor -q")?;
    shell.ok("groups create Hot --parent Indoor --where tags[contains]hot -q")?;
    let set = shell.ok("groups policies set Indoor --renew-before 35d --require-tag indoor")?;
    assert_eq!(told(&set, "to be renewed")?, "5w");
    assert_eq!(told(&set, "urgent")?, "as the DMS says");
    assert_eq!(told(&set, "required tags")?, "indoor");
    // What is not said stays, and groups below have it from above.
    shell.ok("groups policies set Indoor --urgent-before 3d -q")?;
    let below = shell.json("groups policies show Hot")?;
    assert_eq!(below["own"], serde_json::json!({}));
    let renewal = serde_json::json!({"preventive_delta": "5w", "critical_delta": "3d"});
    assert_eq!(below["effective"]["renewal"], renewal);
    let said = shell.refused("groups policies set Indoor", 1)?;
    assert!(said.contains("which policies?"), "{said}");
    let said = shell.refused("groups policies set Indoor --renew-before 35d", 1)?;
    assert!(said.contains("nothing to change"), "{said}");
    let said = shell.refused("groups policies remove Hot renewal", 1)?;
    assert!(said.contains("no policy \"renewal\" of its own"), "{said}");
    let rest = shell.ok("groups policies remove Indoor renewal")?;
    assert_eq!(told(&rest, "to be renewed")?, "as the DMS says");
    assert_eq!(told(&rest, "required tags")?, "indoor");
    Ok(())
}

#[test]
fn something_is_done_with_all_devices_of_a_group() -> Result<()> {
    let shell = Shell::start()?;
    shell.line()?;
    for (name, tags) in [("a", "--tag hot"), ("b", "--tag hot"), ("c", "")] {
        shell.ok(&format!("devices create {name} --dms line {tags} -q"))?;
    }
    shell.ok("groups create All --where dms_owner[equal]line -q")?;
    let hot = "groups actions start add-tags All --tag warm --filter tags[contains]hot";
    assert_eq!(shell.ok(&format!("{hot} --dry-run -q"))?, "2");
    // Nobody is there to be asked.
    let said = shell.refused(hot, 1)?;
    assert!(
        said.contains("gives the tags warm to 2 devices") && said.contains("--yes"),
        "{said}"
    );
    assert_eq!(shell.ok("devices list --tag warm -q")?, "");
    let done = shell.ok(&format!("{hot} --yes"))?;
    assert_eq!(
        (told(&done, "state")?, told(&done, "done")?),
        ("SUCCEEDED", "2 of 2")
    );
    assert_eq!(shell.ok("devices list --tag warm -q")?, "a\nb");
    let said = shell.refused("groups actions start purge All --yes", 1)?;
    assert!(said.contains("no such device in the group"), "{said}");
    let typo = "groups actions start purge All --filter tgas[contains]x --yes";
    let said = shell.refused(typo, 1)?;
    assert!(said.contains("tgas"), "{said}");
    let begun = "groups actions start decommission All --reason KeyCompromise --comment scrapped \
        --filter id[eq]c --yes --no-wait -q";
    let id = shell.ok(begun)?;
    shell.ok(&format!("groups actions wait All {id} -q"))?;
    let shown = shell.json(&format!("groups actions show All {id}"))?;
    assert_eq!(shown["parameters"]["comment"], "scrapped");
    assert_eq!(shell.ok("devices list --status decommissioned -q")?, "c");
    // What is over stays as it is.
    let over = shell.ok(&format!("groups actions cancel All {id}"))?;
    assert_eq!(told(&over, "state")?, "SUCCEEDED");
    let said = shell.refused("groups actions show All nothing", 1)?;
    assert!(said.contains("there is no action \"nothing\""), "{said}");
    assert_eq!(shell.ok("groups actions list All -q")?.lines().count(), 2);
    Ok(())
}
