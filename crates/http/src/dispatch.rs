//! From a matched path to the handler: method, path form, authentication, permission, task.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use lamassu_core::caller::{Caller, Principal};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::admission::{Admission, Asker};
use crate::body::with_body_read;
use crate::edge::RequestContext;
use crate::extract::PeerAddress;
use crate::failure::{Failure, HttpError};
use crate::identity::{Authenticator, Authority, Identity, PresentedToken};
use crate::owned::run_owned;
use crate::path::{cleaned, first_segment, without_trailing_slash};
use crate::refusal::AuthRefusal;
use crate::routes::{Access, Endpoint, PathForm, RouteInfo, Tokens, Urgency};

/// Longest event source that a peer may ask for, in bytes.
const MAX_SOURCE_BYTES: usize = 128;

/// Longest principal that a peer may name, in bytes.
const MAX_PRINCIPAL_BYTES: usize = 4096;

/// What all routes of a process share.
pub(crate) struct Dispatcher {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) tasks: TaskTracker,
    pub(crate) admission: Admission,
    /// Path to the endpoints declared for it; answers what a path *would* be without its slash.
    pub(crate) table: matchit::Router<Arc<[Endpoint]>>,
    pub(crate) first_segments: HashSet<String>,
    pub(crate) site: Option<Router>,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("authenticator", &self.authenticator)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A request whose path is declared for at least one method.
    pub(crate) async fn routed(&self, endpoints: &[Endpoint], request: Request) -> Response {
        let is_raw = endpoints
            .iter()
            .any(|endpoint| endpoint.info.path_form == PathForm::Raw);
        if !is_raw && let Some(redirect) = redirect_to_cleaned(&request) {
            return redirect;
        }
        let Some(endpoint) = find_method(endpoints, request.method()) else {
            // That a public path exists is no secret, and asking for a credential would mislead.
            if endpoints
                .iter()
                .all(|endpoint| endpoint.info.access == Access::Public)
            {
                return not_found();
            }
            if endpoints.iter().any(|endpoint| is_v2(endpoint.info.path)) {
                return self.refuse_or_not_allowed(endpoints, request).await;
            }
            return self.refuse_or_not_found(request).await;
        };
        let admitted = match within_limit(&endpoint.info, &request) {
            Ok(()) => self.admit(&endpoint.info, request).await,
            Err(error) => Err(Failure::from(error).into_response()),
        };
        let mut response = match admitted {
            Ok(admitted) => self.run(endpoint, admitted).await,
            Err(refused) => refused,
        };
        response.extensions_mut().insert(Arc::clone(&endpoint.info));
        response
    }

    /// A request whose path is declared nowhere.
    pub(crate) async fn unrouted(&self, request: Request) -> Response {
        if let Some(redirect) = redirect_to_cleaned(&request) {
            return redirect;
        }
        let path = request.uri().path();
        if let Some(site) = &self.site
            && !self.first_segments.contains(first_segment(path))
        {
            return match site.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
        }
        let Some(target) = self.without_slash(path, request.method()) else {
            return self.refuse_or_not_found(request).await;
        };
        let status = match *request.method() {
            Method::GET => StatusCode::MOVED_PERMANENTLY,
            _ => StatusCode::TEMPORARY_REDIRECT,
        };
        let location = with_query(path.trim_end_matches('/'), request.uri().query());
        match self.admit(&target, request).await {
            Ok(_) => redirect(status, &location),
            Err(refused) => refused,
        }
    }

    /// The route that the path without its trailing slash has for `method`.
    fn without_slash(&self, path: &str, method: &Method) -> Option<Arc<RouteInfo>> {
        let found = self.table.at(without_trailing_slash(path)?).ok()?;
        find_method(found.value, method).map(|endpoint| Arc::clone(&endpoint.info))
    }

    /// What exists is told to nobody who is not authenticated.
    async fn refuse_or_not_found(&self, request: Request) -> Response {
        let (parts, _body) = request.into_parts();
        match self.authenticator.authenticate(&parts).await {
            Ok(_) => not_found(),
            Err(refusal) => reply_to(&refusal, &parts),
        }
    }

    /// What v2 says of a method that a path does not have.
    async fn refuse_or_not_allowed(&self, endpoints: &[Endpoint], request: Request) -> Response {
        let (parts, _body) = request.into_parts();
        if let Err(refusal) = self.authenticator.authenticate(&parts).await {
            return reply_to(&refusal, &parts);
        }
        let mut response = Failure::from(HttpError::Method).into_response();
        let methods: Vec<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.info.method.as_str())
            .collect();
        if let Ok(methods) = HeaderValue::try_from(methods.join(", ")) {
            response.headers_mut().insert(ALLOW, methods);
        }
        response
    }

    /// Decides the access of a route and puts the caller into the request.
    async fn admit(&self, info: &RouteInfo, request: Request) -> Result<Request, Response> {
        let (mut parts, body) = request.into_parts();
        let identity = match self.decide(info.access, &parts).await {
            Ok(identity) => identity,
            Err(refusal) => return Err(reply_to(&refusal, &parts)),
        };
        if let Some(token) = self.presented_token(info, &parts).await {
            parts.extensions.insert(token);
        }
        let caller = caller(&parts, &identity);
        record(&caller);
        parts.extensions.insert(info.limits);
        parts.extensions.insert(identity);
        parts.extensions.insert(caller);
        Ok(Request::from_parts(parts, body))
    }

    /// What a bearer token says on a public route that looks at one.
    async fn presented_token(&self, info: &RouteInfo, parts: &Parts) -> Option<PresentedToken> {
        let is_public = info.access == Access::Public;
        if !is_public || info.tokens == Tokens::Ignored || !has_bearer_token(&parts.headers) {
            return None;
        }
        let verified = self.authenticator.authenticate(parts).await.ok();
        // Where nobody is authenticated, no token was verified.
        let verified = verified.filter(|identity| {
            matches!(identity.authority, Authority::Granted { .. })
                && matches!(identity.principal, Principal::Token { .. })
        });
        Some(PresentedToken(verified))
    }

    async fn decide(&self, access: Access, parts: &Parts) -> Result<Identity, AuthRefusal> {
        match access {
            Access::Public => Ok(Identity::anonymous()),
            Access::Authenticated => self.authenticator.authenticate(parts).await,
            Access::Permission(permission) => {
                let identity = self.authenticator.authenticate(parts).await?;
                if identity.allows(permission) {
                    Ok(identity)
                } else {
                    Err(self
                        .authenticator
                        .refuse(parts, &identity, permission)
                        .await)
                }
            }
        }
    }

    /// Takes a place for a request, once its body is there: a slow client takes nobody's. Whether
    /// the handler reads the body makes no difference.
    async fn take_on(
        &self,
        info: &RouteInfo,
        request: Request,
    ) -> Result<(Request, Taken), HttpError> {
        let asker = asker(info, &request);
        let (request, body) = if request.method().is_safe() {
            (request, None)
        } else {
            with_body_read(request, info.limits, self.admission.bodies(asker)).await?
        };
        let place = match info.urgency {
            Urgency::Normal => Some(self.admission.enter(info.service, asker).await?),
            Urgency::Always => None,
        };
        let taken = Taken {
            _place: place,
            _body: body,
        };
        Ok((request, taken))
    }

    /// Runs the handler; what may change something runs in a task that a client cannot stop.
    async fn run(&self, endpoint: &Endpoint, request: Request) -> Response {
        let is_safe = request.method().is_safe();
        let (request, taken) = match self.take_on(&endpoint.info, request).await {
            Ok(taken_on) => taken_on,
            Err(refused) => return Failure::from(refused).into_response(),
        };
        let answering = (endpoint.handler)(request);
        let answering = async move {
            let response = answering.await;
            drop(taken);
            response
        };
        if is_safe {
            return answering.await;
        }
        match run_owned(&self.tasks, answering).await {
            Ok(response) => response,
            // A panic in the task is one of the handler: the edge answers it as any other.
            Err(HttpError::TaskLost(lost)) => match lost.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(lost) => Failure::from(HttpError::TaskLost(lost)).into_response(),
            },
            Err(other) => Failure::from(other).into_response(),
        }
    }
}

fn has_bearer_token(headers: &HeaderMap) -> bool {
    let authorization = headers.get(AUTHORIZATION);
    let scheme = authorization.and_then(|value| value.as_bytes().get(..7));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "))
}

/// What a request takes of the process until its answer is made.
struct Taken {
    _place: Option<OwnedSemaphorePermit>,
    _body: Option<OwnedSemaphorePermit>,
}

/// Refuses a request of an address that sends too many. A request without an address is one of a test,
/// or came over no network.
fn within_limit(info: &RouteInfo, request: &Request) -> Result<(), HttpError> {
    let address = request.extensions().get::<PeerAddress>();
    match (&info.limit, address) {
        (Some(limit), Some(PeerAddress(address))) => {
            limit.admit(address.ip()).map_err(HttpError::RateLimited)
        }
        (None, _) | (_, None) => Ok(()),
    }
}

/// Who asks, as far as it matters for a place: a service by its credential or, where nobody has one,
/// by a route that only services use.
fn asker(info: &RouteInfo, request: &Request) -> Asker {
    let identity = request.extensions().get::<Identity>();
    if identity.is_some_and(Identity::is_service) || info.path.starts_with("/internal/") {
        Asker::Service
    } else {
        Asker::Client
    }
}

/// Whether the declared path is one of v2, which says what v1 keeps to itself.
fn is_v2(path: &str) -> bool {
    path.starts_with("/v2/")
}

fn find_method<'a>(endpoints: &'a [Endpoint], method: &Method) -> Option<&'a Endpoint> {
    endpoints
        .iter()
        .find(|endpoint| endpoint.info.method == *method)
}

fn caller(parts: &Parts, identity: &Identity) -> Caller {
    let context = RequestContext::of(parts);
    let source = parts
        .headers
        .get("x-lms-source")
        .filter(|_| identity.is_trusted_peer())
        .and_then(|value| value.to_str().ok())
        .filter(|source| !source.is_empty() && source.len() <= MAX_SOURCE_BYTES)
        .map(Arc::from);
    let (principal, also) =
        on_behalf_of(parts, identity).unwrap_or_else(|| (identity.principal.clone(), None));
    Caller {
        principal,
        also,
        source,
        request_id: context.request_id,
        trace: context.trace,
    }
}

/// Whom a peer service asks for. It changes who is named in events, audit and logs, never what is
/// allowed, and is believed from the role `service` alone.
fn on_behalf_of(parts: &Parts, identity: &Identity) -> Option<(Principal, Option<Arc<str>>)> {
    if !identity.is_service() {
        return None;
    }
    let value = parts.headers.get("x-lms-principal")?.to_str().ok()?;
    (value.len() <= MAX_PRINCIPAL_BYTES)
        .then(|| Principal::from_header_with_also(value))
        .flatten()
}

/// Puts who asks into the request's span.
fn record(caller: &Caller) {
    let span = tracing::Span::current();
    if let Some(auth_type) = caller.principal.auth_type() {
        span.record("auth_type", auth_type);
    }
    if let Some(auth_id) = caller.principal.auth_id() {
        span.record("auth_id", auth_id);
    }
    if let Some(source) = &caller.source {
        span.record("src", &**source);
    }
}

fn reply_to(refusal: &AuthRefusal, parts: &Parts) -> Response {
    refusal.reply(&RequestContext::of(parts).request_id)
}

/// The answer to an unknown path or method, the same for both; for handlers of public paths that
/// stand for whatever is not offered below them.
pub(crate) fn not_found() -> Response {
    let mut response = (StatusCode::NOT_FOUND, "404 page not found").into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn redirect_to_cleaned(request: &Request) -> Option<Response> {
    let path = cleaned(request.uri().path())?;
    let location = with_query(&path, request.uri().query());
    Some(redirect(StatusCode::TEMPORARY_REDIRECT, &location))
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// `location` comes from a parsed URI, so its bytes are a header value; were they none, there is
/// no page.
fn redirect(status: StatusCode, location: &str) -> Response {
    let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) else {
        return not_found();
    };
    let mut response = status.into_response();
    response.headers_mut().insert(LOCATION, location);
    response
}
