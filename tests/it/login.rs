//! `lamassu login` at a real OpenID provider, by a code and by a browser; what commands do with a
//! login, and when it is over.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use tempfile::TempDir;

use crate::support::program::{Options, executable};
use crate::support::{Program, command};

/// The provider's folder: `bin/node` and `node_modules`.
fn provider_folder() -> PathBuf {
    std::env::var_os("LAMASSU_TEST_OPENID")
        .map(PathBuf::from)
        .filter(|folder| folder.join("bin/node").is_file())
        .expect("LAMASSU_TEST_OPENID names no OpenID provider: `make test` installs one")
}

/// A provider; it ends with its standard input.
struct Provider {
    issuer: String,
    child: Child,
    input: Option<ChildStdin>,
    /// It writes on, and ends when nobody can read it.
    _output: BufReader<ChildStdout>,
}

impl Provider {
    fn start() -> Result<Self> {
        let folder = provider_folder();
        let mut child = Command::new(folder.join("bin/node"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/it/openid_provider.mjs"
            ))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().context("it has an output")?;
        let mut output = BufReader::new(output);
        let mut issuer = String::new();
        output.read_line(&mut issuer)?;
        ensure!(issuer.starts_with("http://"), "the provider does not start");
        Ok(Self {
            issuer: issuer.trim().to_owned(),
            input: child.stdin.take(),
            child,
            _output: output,
        })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.child.wait();
    }
}

/// A server that believes a provider, and a person with a home.
struct Place {
    provider: Provider,
    program: Program,
    home: TempDir,
}

impl Place {
    fn set_up() -> Result<Self> {
        let provider = Provider::start()?;
        let directory = TempDir::new()?;
        let jwks = format!("{}/jwks", provider.issuer);
        let keys = command::run(directory.path(), "curl", &["-sSf", &jwks])?;
        let key_file = directory.path().join("provider.json");
        std::fs::write(&key_file, keys)?;
        let config = format!(
            "gateway: {{metrics: {{listen: null}}}}
authentication:
  frontend_client_id: lamassu-cli
  jwt:
    providers:
      - name: company
        issuer: {}
        jwks_file: {}
        audiences: [lamassu]
        roles_claim: roles
",
            provider.issuer,
            key_file.display()
        );
        let options = Options {
            config: Some(config),
            ..Options::default()
        };
        Ok(Self {
            provider,
            program: Program::start_in(directory, options)?,
            home: TempDir::new()?,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("LAMASSU_URL", self.program.https())
            .env("LAMASSU_CA_FILE", self.program.anchor())
            .stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// What a login prints before somebody has signed in, and the login.
    fn begin(&self, arguments: &[&str]) -> Result<(String, Child)> {
        let mut child = self.command(arguments).stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.as_mut().context("it has an output")?;
        let mut lines = BufReader::new(errors);
        let mut told = String::new();
        while !told.contains("http://") {
            let n = lines.read_line(&mut told)?;
            ensure!(n > 0, "no address is told: {told}");
        }
        let address = told
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        Ok((address.context("an address")?.to_owned(), child))
    }

    fn logins(&self) -> PathBuf {
        self.home.path().join(".config/lamassu/logins.json")
    }
}

/// A person with a browser: fills in the forms of the provider until there are no more.
fn sign_in(home: &Path, address: &str) -> Result<String> {
    let form = Regex::new(r#"(?s)<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>"#)?;
    let hidden = Regex::new(r#"<input type="hidden" name="([^"]+)" value="([^"]*)""#)?;
    let mut arguments = vec![address.to_owned()];
    for _page in 0..8 {
        let curl = ["-sSL", "-b", "cookies", "-c", "cookies"].map(str::to_owned);
        let all: Vec<String> = curl.into_iter().chain(arguments).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let page = command::run(home, "curl", &all)?;
        let Some(found) = form.captures(&page) else {
            return Ok(page);
        };
        let (action, inputs) = (&found[1], &found[2]);
        let action = match action.starts_with('/') {
            true => format!("{}{action}", origin(address)?),
            false => action.to_owned(),
        };
        arguments = vec![action];
        let mut fields: Vec<String> = hidden
            .captures_iter(inputs)
            .map(|input| format!("{}={}", &input[1], &input[2]))
            .collect();
        if inputs.contains(r#"name="login""#) {
            fields.extend(["login=ana".to_owned(), "password=any".to_owned()]);
        }
        for field in fields {
            arguments.extend(["--data-urlencode".to_owned(), field]);
        }
    }
    bail!("the provider asks for ever")
}

fn origin(address: &str) -> Result<String> {
    let origin = Regex::new("^http://[^/]+")?;
    let found = origin.find(address).context("an address with a host")?;
    Ok(found.as_str().to_owned())
}

#[test]
fn a_login_by_a_code_is_presented_renewed_and_forgotten() -> Result<()> {
    let place = Place::set_up()?;
    let clear = ["login", "--device", "--url", "http://pki.example"];
    let clear = place.output(&clear)?;
    assert!(String::from_utf8_lossy(&clear.stderr).contains("in clear"));
    let without = place.output(&["cas", "list"])?;
    assert!(!without.status.success());
    let told = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(told.contains("lamassu login --url"), "{told}");

    let (address, mut login) = place.begin(&["login", "--device"])?;
    assert!(address.starts_with(&place.provider.issuer), "{address}");
    sign_in(place.home.path(), &address)?;
    assert!(login.wait()?.success());
    let kept = std::fs::read_to_string(place.logins())?;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(place.logins())?.permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Tokens end a second after they were given: each command renews its own.
    for _command in 0..2 {
        std::thread::sleep(Duration::from_secs(2));
        let mut list = place.command(&["cas", "list", "--json"]);
        // What vouches for the server was said at the login.
        let listed = list.env_remove("LAMASSU_CA_FILE").output()?;
        let errors = String::from_utf8_lossy(&listed.stderr).into_owned();
        assert!(listed.status.success(), "{errors}");
    }
    let renewed = std::fs::read_to_string(place.logins())?;
    assert_ne!(kept, renewed);
    let created = place.output(&["keys", "create", "--name", "signed-in"])?;
    assert!(created.status.success(), "its role counts: {created:?}");

    assert!(place.output(&["logout"])?.status.success());
    assert!(!place.output(&["cas", "list"])?.status.success());
    assert!(!place.output(&["logout"])?.status.success());
    Ok(())
}

#[test]
fn several_commands_at_once_renew_a_login_once() -> Result<()> {
    let place = Place::set_up()?;
    let (address, mut login) = place.begin(&["login", "--device"])?;
    sign_in(place.home.path(), &address)?;
    assert!(login.wait()?.success());
    std::thread::sleep(Duration::from_secs(2));
    // A refresh token is good once; a second use ends the login.
    let commands: Vec<Child> = (0..6)
        .map(|_| {
            place
                .command(&["cas", "list"])
                .stdout(Stdio::null())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    for mut command in commands {
        assert!(command.wait()?.success());
    }
    Ok(())
}

#[test]
fn a_browser_comes_back_to_the_command() -> Result<()> {
    let place = Place::set_up()?;
    let (address, mut login) = place.begin(&["login"])?;
    // Somebody else's answer is none: the state is not the one that was sent.
    let callback = Regex::new("redirect_uri=([^&]+)")?;
    let callback = &callback
        .captures(&address)
        .context("a place to come back")?[1];
    let callback = callback.replace("%3A", ":").replace("%2F", "/");
    let forged = format!("{callback}?code=stolen&state=guessed");
    command::run(place.home.path(), "curl", &["-sS", &forged])?;

    let page = sign_in(place.home.path(), &address)?;
    assert!(page.contains("Go back to the terminal"), "{page}");
    assert!(login.wait()?.success());
    assert!(place.output(&["cas", "list"])?.status.success());
    Ok(())
}
