//! The route table of one service: each route declared once, with everything about it.

use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::Method;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;

use crate::body::BodyLimits;
use crate::operation::{Described, Operation};
use crate::rate::AddressLimit;

/// What a route needs from its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An authenticated caller who has this permission.
    Permission(Permission),
    /// Any authenticated caller.
    Authenticated,
    /// Nothing: credentials are not looked at, not even bad ones.
    Public,
}

impl From<Permission> for Access {
    fn from(permission: Permission) -> Self {
        Self::Permission(permission)
    }
}

/// Whether a path is cleaned before it is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// `//`, `/./` and `/../` are redirected to the cleaned path.
    Cleaned,
    /// The path carries data (base64 in an OCSP GET, RFC 6960 appendix A.1) and is taken as sent.
    Raw,
}

/// Whether a route counts among the requests in progress, whose number is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It does.
    Normal,
    /// It does not: health, which must answer when the process is busy.
    Always,
}

/// Whether a bearer token is looked at where none is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// It is not.
    Ignored,
    /// One that is presented is verified, and what came of it is handed to the handler
    /// ([`PresentedToken`](crate::PresentedToken)), which decides.
    Verified,
}

/// One declared route, as tests and the API description read it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteInfo {
    /// The service that declares it, a metrics label.
    pub service: &'static str,
    /// The method.
    pub method: Method,
    /// The path inside the service, with `{name}` and `{*rest}` for parameters.
    pub path: &'static str,
    /// What it needs.
    pub access: Access,
    /// One line about what it does.
    pub summary: &'static str,
    /// How long and how slow its body may be.
    pub limits: BodyLimits,
    /// Whether its path is cleaned.
    pub path_form: PathForm,
    /// Whether it is answered under overload, too.
    pub urgency: Urgency,
    /// Whether a bearer token is looked at though the route is public.
    pub tokens: Tokens,
    /// How many requests one address may send to it and to those that share the limit.
    pub limit: Option<Arc<AddressLimit>>,
    /// What it takes and gives.
    pub operation: Operation,
}

/// A declared route and the prefix under which the program serves it.
#[derive(Clone, Debug)]
pub struct MountedRoute {
    /// The full path: prefix and declared path.
    pub path: String,
    /// What was declared.
    pub info: Arc<RouteInfo>,
}

pub(crate) type BoxedHandler = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// A declared route with its handler.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) info: Arc<RouteInfo>,
    pub(crate) handler: BoxedHandler,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

/// The finished table of one service; it can be mounted under several prefixes.
#[derive(Clone, Debug)]
pub struct Routes {
    pub(crate) endpoints: Arc<[Endpoint]>,
}

impl Routes {
    /// Starts a table: `service` is the metrics label, `state` what the handlers extract with
    /// [`State`](axum::extract::State).
    pub fn builder<S: Clone + Send + Sync + 'static>(
        service: &'static str,
        state: S,
    ) -> RoutesBuilder<S> {
        RoutesBuilder {
            service,
            state,
            limits: BodyLimits::default(),
            path_form: PathForm::Cleaned,
            urgency: Urgency::Normal,
            tokens: Tokens::Ignored,
            endpoints: Vec::new(),
        }
    }

    /// The same table, its public routes under this limit, which they share.
    #[must_use]
    pub fn limited(self, limit: Option<AddressLimit>) -> Self {
        let Some(limit) = limit.map(Arc::new) else {
            return self;
        };
        let endpoints = self.endpoints.iter().cloned().map(|mut endpoint| {
            if endpoint.info.access == Access::Public {
                Arc::make_mut(&mut endpoint.info).limit = Some(Arc::clone(&limit));
            }
            endpoint
        });
        Self {
            endpoints: endpoints.collect(),
        }
    }

    /// What was declared, in order.
    pub fn infos(&self) -> impl Iterator<Item = &RouteInfo> {
        self.endpoints.iter().map(|endpoint| &*endpoint.info)
    }
}

/// Collects the routes of one service.
#[derive(Debug)]
pub struct RoutesBuilder<S> {
    service: &'static str,
    state: S,
    limits: BodyLimits,
    path_form: PathForm,
    urgency: Urgency,
    tokens: Tokens,
    endpoints: Vec<Endpoint>,
}

impl<S: Clone + Send + Sync + 'static> RoutesBuilder<S> {
    /// Sets the body limits of the routes declared after this call.
    #[must_use]
    pub fn body_limits(mut self, limits: BodyLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Says whether the paths of the routes declared after this call are cleaned.
    #[must_use]
    pub fn path_form(mut self, path_form: PathForm) -> Self {
        self.path_form = path_form;
        self
    }

    /// Says how urgent the routes declared after this call are.
    #[must_use]
    pub fn urgency(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }

    /// Says whether public routes declared after this call look at bearer tokens.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = tokens;
        self
    }

    /// Declares a route for any method.
    #[must_use]
    pub fn route<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        access: impl Into<Access>,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<T> + Sync,
        T: 'static,
    {
        let state = self.state.clone();
        let handler: BoxedHandler = Arc::new(move |request| {
            let answering = handler.clone().call(request, state.clone());
            Box::pin(answering)
        });
        let info = Arc::new(RouteInfo {
            service: self.service,
            method,
            path,
            access: access.into(),
            summary,
            limits: self.limits,
            path_form: self.path_form,
            urgency: self.urgency,
            tokens: self.tokens,
            limit: None,
            operation: H::operation(),
        });
        self.endpoints.push(Endpoint { info, handler });
        self
    }

    /// Says which refusals the route declared last answers, beyond those that follow from its
    /// access and from what its handler reads.
    #[must_use]
    pub fn refuses(mut self, kinds: &[ErrorKind]) -> Self {
        if let Some(endpoint) = self.endpoints.last_mut() {
            Arc::make_mut(&mut endpoint.info).operation.refuses(kinds);
        }
        self
    }

    /// Declares a GET route. HEAD is not answered unless declared.
    #[must_use]
    pub fn get<H, T>(
        self,
        path: &'static str,
        access: impl Into<Access>,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<T> + Sync,
        T: 'static,
    {
        self.route(Method::GET, path, access, summary, handler)
    }

    /// Declares a POST route.
    #[must_use]
    pub fn post<H, T>(
        self,
        path: &'static str,
        access: impl Into<Access>,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<T> + Sync,
        T: 'static,
    {
        self.route(Method::POST, path, access, summary, handler)
    }

    /// Declares a PUT route.
    #[must_use]
    pub fn put<H, T>(
        self,
        path: &'static str,
        access: impl Into<Access>,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<T> + Sync,
        T: 'static,
    {
        self.route(Method::PUT, path, access, summary, handler)
    }

    /// Declares a PATCH route.
    #[must_use]
    pub fn patch<H, T>(
        self,
        path: &'static str,
        access: impl Into<Access>,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<T> + Sync,
        T: 'static,
    {
        self.route(Method::PATCH, path, access, summary, handler)
    }

    /// Declares a DELETE route.
    #[must_use]
    pub fn delete<H, T>(
        self,
        path: &'static str,
        access: impl Into<Access>,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S> + Described<T> + Sync,
        T: 'static,
    {
        self.route(Method::DELETE, path, access, summary, handler)
    }

    /// The finished table.
    pub fn build(self) -> Routes {
        Routes {
            endpoints: self.endpoints.into(),
        }
    }
}
