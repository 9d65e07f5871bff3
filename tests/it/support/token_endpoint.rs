//! An OpenID provider, as small as client credentials need one: discovery, token endpoint, key set.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lamassu_crypto::{KeySpec, Message, PrivateKey};
use serde_json::{Value, json};

/// Who its tokens are for.
pub(crate) const AUDIENCE: &str = "lamassu-internal";

/// The client that it knows, and the secret of that.
const CLIENT: (&str, &str) = ("front", "s3:cret");

/// A running provider. It serves as long as the test's process lives.
#[derive(Debug)]
pub(crate) struct TokenEndpoint {
    /// `http://127.0.0.1:PORT`, which is also its issuer.
    pub(crate) issuer: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    issuer: String,
    key: PrivateKey,
    /// A key that is not in the key set.
    retired: PrivateKey,
    issued: AtomicUsize,
}

impl TokenEndpoint {
    /// Starts one. Its first token is signed with a key that nobody knows any more, as happens when
    /// a provider rotates its keys.
    ///
    /// # Errors
    /// There is no port, or no randomness.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let issuer = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let state = Arc::new(State {
            issuer: issuer.clone(),
            key: PrivateKey::generate(KeySpec::Ed25519)?,
            retired: PrivateKey::generate(KeySpec::Ed25519)?,
            issued: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who sends half a request gets no answer.
                drop(serving.answer(stream));
            }
        });
        Ok(Self { issuer, state })
    }

    /// Its keys (RFC 7517), as the services are told them.
    pub(crate) fn key_set(&self) -> Value {
        let spki = self.state.key.public_key().spki_der();
        let point = spki.last_chunk::<32>().copied().unwrap_or_default();
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(point)}]})
    }

    /// The block `jwt_options` of its client.
    pub(crate) fn options(&self) -> String {
        let (id, secret) = CLIENT;
        format!(
            "{{oidc_client_id: {id}, oidc_client_secret: \"{secret}\", audience: {AUDIENCE}, \
             oidc_well_known: \"{}/.well-known/openid-configuration\"}}",
            self.issuer
        )
    }

    /// How many tokens it gave.
    pub(crate) fn n_issued(&self) -> usize {
        self.state.issued.load(Ordering::SeqCst)
    }
}

impl State {
    fn answer(&self, stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length, mut authorization) = (String::new(), 0, String::new());
        reader.read_line(&mut line)?;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "authorization" => value.clone_into(&mut authorization),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, reply) = match line.split(' ').nth(1).context("no path")? {
            "/.well-known/openid-configuration" => (200, self.discovery()),
            "/token" if authorization == basic() => (200, self.token(&String::from_utf8(body)?)?),
            "/token" => (401, json!({"error": "invalid_client"})),
            _ => (404, json!({})),
        };
        let reply = reply.to_string();
        write!(
            reader.get_mut(),
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{reply}",
            reply.len()
        )?;
        Ok(())
    }

    fn discovery(&self) -> Value {
        let issuer = &self.issuer;
        json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token")})
    }

    fn token(&self, form: &str) -> Result<Value> {
        let wanted = form.contains("grant_type=client_credentials");
        anyhow::ensure!(wanted && form.contains(AUDIENCE), "{form}");
        let key = match self.issued.fetch_add(1, Ordering::SeqCst) {
            0 => &self.retired,
            _ => &self.key,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (client, _) = CLIENT;
        let claims = json!({"iss": self.issuer, "sub": "service-account-front", "client_id": client,
            "aud": AUDIENCE, "iat": now, "exp": now + 300});
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(&claims));
        let signature = key.sign(key.default_scheme(), Message::Raw(input.as_bytes()))?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(
            json!({"access_token": format!("{input}.{signature}"), "token_type": "Bearer",
            "expires_in": 300}),
        )
    }
}

/// RFC 6749 section 2.3.1.
fn basic() -> String {
    let (id, secret) = CLIENT;
    let secret = secret.replace(':', "%3A");
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}
