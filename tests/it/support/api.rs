//! The management API through curl, as an operator calls it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::support::command;
use crate::support::program::Program;

/// Calls the management API with a token.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    base: String,
    anchor: PathBuf,
    scratch: PathBuf,
    token: String,
}

/// Status and body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Body, as text.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

impl Api {
    /// An API client with an administrator's token.
    ///
    /// # Errors
    /// The program gives no token.
    pub(crate) fn of(program: &Program) -> Result<Self> {
        Ok(Self {
            base: format!("{}/api", program.https()),
            anchor: program.anchor(),
            scratch: program.scratch(),
            token: program.token("admin")?,
        })
    }

    /// One call; any status is an answer.
    ///
    /// # Errors
    /// There is no answer at all.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let url = format!("{}/{path}", self.base);
        let authorization = format!("Authorization: Bearer {}", self.token);
        let anchor = self.anchor.to_string_lossy().into_owned();
        let mut arguments = vec![
            "-sS",
            "--cacert",
            &anchor,
            "-X",
            method,
            "-H",
            &authorization,
            "-w",
            "\n%{http_code}",
            "--path-as-is",
            "--globoff",
            &url,
        ];
        let text = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            arguments.extend([
                "-H",
                "Content-Type: application/json",
                "--data-binary",
                "@-",
            ]);
        }
        let output = command::run_with_input(&self.scratch, "curl", &arguments, text.as_bytes())?;
        let (body, status) = output.rsplit_once('\n').context("curl printed no status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// A call that must succeed; gives the JSON of its body.
    ///
    /// # Errors
    /// A status above 299.
    pub(crate) fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.call(method, path, body)?;
        if answer.status > 299 {
            bail!("{method} {path}: {} {}", answer.status, answer.body);
        }
        Ok(answer.json())
    }
}
