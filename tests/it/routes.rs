//! Every route refuses whom it must, over the real listener.

use anyhow::{Context as _, Result};

use crate::support::program::executable;
use crate::support::{Program, command};

/// A role that has none of the permissions here.
const LACKING: &str = "alerts-user";

#[test]
fn every_route_refuses_the_anonymous_and_those_without_its_permission() -> Result<()> {
    let program = Program::start()?;
    let description = command::run(
        &program.scratch(),
        &executable().to_string_lossy(),
        &["openapi"],
    )?;
    let description: serde_json::Value = serde_json::from_str(&description)?;
    let token = program.token(LACKING)?;
    let anchor = program.anchor().to_string_lossy().into_owned();
    let status = |method: &str, path: &str, token: Option<&str>| -> Result<String> {
        let url = format!(
            "{}{}",
            program.https(),
            path.replace(['{', '}'], "").replace('*', "")
        );
        let authorization = format!("Authorization: Bearer {}", token.unwrap_or_default());
        let mut arguments = vec![
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            &anchor,
            "-X",
            method,
        ];
        if token.is_some() {
            arguments.extend(["-H", &authorization]);
        }
        arguments.push(&url);
        command::run(&program.scratch(), "curl", &arguments)
    };
    let mut guarded = 0;
    for (path, operations) in description["paths"].as_object().context("paths")? {
        for (method, operation) in operations.as_object().context("operations")? {
            let Some(permission) = operation["x-permission"].as_str() else {
                continue;
            };
            let method = method.to_uppercase();
            assert_eq!(
                status(&method, path, None)?,
                "401",
                "{method} {path} without token"
            );
            assert_eq!(
                status(&method, path, Some(&token))?,
                "403",
                "{method} {path} without {permission}"
            );
            guarded += 1;
        }
    }
    assert!(guarded > 25, "only {guarded} guarded routes");
    // What is no route is not told apart from what is, before authentication.
    assert_eq!(status("GET", "/api/ca/v1/nothing", None)?, "401");
    assert_eq!(status("GET", "/api/ca/v1/nothing", Some(&token))?, "404");
    Ok(())
}
