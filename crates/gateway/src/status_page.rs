//! The page at `/`: what runs here and where to go on.

use axum::body::Body;
use axum::response::{Html, IntoResponse};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};

use crate::health::BuildInfo;

/// A small page without script, and with nothing in it that a stranger should not know.
#[derive(Debug)]
pub(crate) struct StatusPage {
    ready: String,
    not_ready: String,
}

impl StatusPage {
    /// The page of a process that runs `services`.
    pub(crate) fn new(build: &BuildInfo, services: &[&str]) -> Self {
        Self {
            ready: render(build, services, "ready"),
            not_ready: render(build, services, "not ready"),
        }
    }

    pub(crate) fn reply(&self, ready: bool) -> Response<Body> {
        let page = if ready { &self.ready } else { &self.not_ready };
        let mut reply = Html(page.clone()).into_response();
        let headers = reply.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        reply
    }
}

fn render(build: &BuildInfo, services: &[&str], state: &str) -> String {
    let version = escape(&build.version);
    let rows: String = services
        .iter()
        .map(|service| {
            let service = escape(service);
            format!("<li><a href=\"/api/{service}/health\">{service}</a></li>")
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Lamassu</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;\
         padding:0 1rem}}</style></head><body><h1>Lamassu</h1>\
         <p>Version {version}, <a href=\"/readyz\">{state}</a>.</p>\
         <p>Services, each with its health:</p><ul>{rows}</ul>\
         <p><a href=\"/docs\">API</a>, <a href=\"/openapi.json\">OpenAPI description</a></p></body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
