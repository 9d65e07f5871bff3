//! Signing in with a browser on this machine: it comes back to a port of ours (RFC 8252 section 7.3).

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use lamassu_client::{BrowserAnswer, BrowserLogin, LoginError, LoginProvider, LoginTokens};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::commands::output::note;

/// How long the browser has to take the page.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long the person has.
const PATIENCE: Duration = Duration::from_secs(600);

/// Opens the browser and waits until it comes back.
///
/// # Errors
/// It does not, or the person or the provider refuses.
pub(super) async fn sign_in(provider: &LoginProvider) -> Result<LoginTokens> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.context("no port of this machine can be listened on")?;
    let port = listener.local_addr()?.port();
    let login = provider.in_browser(format!("http://127.0.0.1:{port}/callback"))?;
    note(&format!("Open this address in a browser:\n{}", login.url));
    open(&login.url);
    let (sender, answers) = mpsc::channel(1);
    let router = Router::new()
        .route("/callback", get(callback))
        .with_state(sender);
    let (finish, finished) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        drop(finished.await);
    });
    let server = tokio::spawn(serving.into_future());
    let tokens = tokio::time::timeout(PATIENCE, brought_back(provider, &login, answers)).await;
    // The page that the browser shows is still on its way; a browser that keeps its connection is
    // not waited for.
    drop(finish);
    if let Err(elapsed) = tokio::time::timeout(GOODBYE, server).await {
        tracing::debug!(%elapsed, "the browser keeps its connection");
    }
    Ok(tokens.map_err(|_elapsed| LoginError::Expired)??)
}

/// What the login brings. Anything on this machine can call the port: answers of others are no end.
async fn brought_back(
    provider: &LoginProvider,
    login: &BrowserLogin,
    mut answers: mpsc::Receiver<BrowserAnswer>,
) -> Result<LoginTokens, LoginError> {
    while let Some(answer) = answers.recv().await {
        match provider.brought_back(login, answer).await {
            Err(LoginError::OtherLogin) => {}
            done => return done,
        }
    }
    Err(LoginError::Expired)
}

/// One answer at a time.
async fn callback(
    State(sender): State<mpsc::Sender<BrowserAnswer>>,
    Query(answer): Query<BrowserAnswer>,
) -> (StatusCode, Html<&'static str>) {
    match sender.try_send(answer) {
        Ok(()) => (
            StatusCode::OK,
            Html("<!doctype html><title>lamassu</title><p>Go back to the terminal."),
        ),
        Err(_) => (
            StatusCode::GONE,
            Html("<!doctype html><title>lamassu</title><p>Too late."),
        ),
    }
}

/// Tries to open the browser; the address is printed in any case.
fn open(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        tracing::debug!(%error, program, "no browser was opened");
    }
}
