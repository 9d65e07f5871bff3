//! What the HTTP layer of every service shares: the route table, the guard in front of each
//! route, extractors, replies and error replies.
//!
//! A route is declared once, with its method, path, [`Access`], a one-line summary and its
//! handler ([`Routes`]), whose arguments and result say what it takes and gives ([`Operation`]). [`Stack`] mounts the tables of several services under their prefixes and
//! makes one [`axum::Router`] of them. Because the guard is part of what a declared route *is*,
//! no handler can be reached without its access having been decided; [`route_audit`] proves it
//! for a whole program.
//!
//! Around every request, outermost first: request id and trace context, span, metrics, access
//! log, failure log and panics (`edge`), CORS ([`cors`](mod@cors)), path cleaning, authentication
//! and permission, a place among the requests in progress (`admission`), and for requests that may
//! change something a task that the server owns, so
//! that a client hanging up stops nothing half way.
//!
//! Absent on purpose: TLS, listeners and header hygiene (the gateway), and how credentials are
//! verified (`lamassu-auth` implements [`Authenticator`]).
//!
//! ```
//! use std::sync::Arc;
//! use axum::extract::State;
//! use lamassu_core::permission::Permission;
//! use lamassu_http::{Json200, Reply, Routes};
//!
//! #[derive(Clone)]
//! struct Greeter(Arc<str>);
//!
//! async fn greet(State(greeter): State<Greeter>) -> Reply<Json200<String>> {
//!     Ok(Json200(format!("hello from {}", greeter.0)))
//! }
//!
//! fn routes(greeter: Greeter) -> Routes {
//!     Routes::builder("greeter", greeter)
//!         .get("/v1/greeting", Permission::new("ca", "read"), "Say hello", greet)
//!         .build()
//! }
//! # assert_eq!(routes(Greeter("us".into())).infos().count(), 1);
//! ```

mod admission;
mod body;
mod conditional;
mod connection;
pub mod cors;
mod dispatch;
mod edge;
mod extract;
mod failure;
mod identity;
mod media;
pub mod metrics;
mod operation;
mod owned;
mod patch;
mod path;
mod query;
mod rate;
mod refusal;
mod reply;
pub mod route_audit;
mod routes;
mod stack;
pub mod testing;

pub use admission::AdmissionLimits;
pub use body::{BodyBytes, BodyLimits, GoJson, StrictJson, StrictJsonOrNothing, strict_json};
pub use conditional::{IfMatch, IfNoneMatch, ReadVersioned, Versioned};
pub use connection::{ConnectionInfo, ProvenCertificate, Scheme, TlsExporter};
pub use edge::RequestContext;
pub use extract::{AskedBy, PathParams, PeerAddress, refuse_nul_in_path};
pub use failure::{Failure, HttpError, Reply};
pub use identity::{Authenticator, Authority, Identity, PresentedToken, ScopeGrant};
pub use media::{CacheableMedia, DeferrableMedia, Media, MediaBody, MediaTypes, NotOffered};
pub use metrics::describe_metrics;
pub use operation::{
    Answer, Answers, Content, Described, Operation, QueryPart, Reads, SchemaOf, schema_of,
};
pub use owned::run_owned;
pub use patch::{JSON_PATCH, MERGE_PATCH, PatchOf};
pub use query::{
    Counted, CountedInV2, ListParts, Listed, ListedInV2, Listing, Members, Query, QueryPairs,
    QueryParts,
};
pub use rate::AddressLimit;
pub use refusal::AuthRefusal;
pub use reply::{ErrorBody, Json200, Json201, Json202, NoContent, to_json};
pub use routes::{
    Access, MountedRoute, PathForm, RouteInfo, Routes, RoutesBuilder, Tokens, Urgency,
};
pub use stack::{RouteTableError, Stack};
