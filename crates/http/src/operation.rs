//! What an operation takes and gives, read off the types of its handler.
//!
//! A handler becomes a route only if each of its arguments says what it reads of a request
//! ([`Reads`]) and its result says what it answers ([`Answers`]). So nothing is said twice, and
//! nothing can be forgotten: a new endpoint is in the API description with its parameters, bodies
//! and media types, or it does not compile. Plain `Response`s and raw query strings say nothing and
//! are therefore no arguments or results: [`Media`] and [`Query`] stand for them.
//!
//! Only the statuses of refusals are said in the route table
//! ([`RoutesBuilder::refuses`](crate::RoutesBuilder::refuses)), apart from those that follow from
//! the arguments.

use std::fmt;
use std::future::Future;

use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};
use lamassu_core::error::ErrorKind;
use lamassu_core::query::Field;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::body::{BodyBytes, GoJson, StrictJson, StrictJsonOrNothing};
use crate::extract::{AskedBy, PathParams};
use crate::identity::Identity;
use crate::media::{CacheableMedia, DeferrableMedia, Media, MediaBody, MediaTypes, NotOffered};
use crate::query::{Query, QueryParts};
use crate::reply::{Json200, Json201, Json202, NoContent};

/// Makes the schema of a type, with what it refers to in the generator.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of this type.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of this type itself, wherever it would stand under its name otherwise.
pub(crate) fn inline_schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// What a body is.
#[derive(Clone, Copy)]
pub enum Content {
    /// JSON of this schema.
    Json(SchemaOf),
    /// A patch of a resource with the members of this schema.
    Patch(SchemaOf),
    /// Octets of one of these media types.
    Octets(&'static [&'static str]),
    /// Text of one of these media types.
    Text(&'static [&'static str]),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => f.write_str("Json"),
            Self::Patch(_) => f.write_str("Patch"),
            Self::Octets(types) => f.debug_tuple("Octets").field(types).finish(),
            Self::Text(types) => f.debug_tuple("Text").field(types).finish(),
        }
    }
}

/// Query parameters of an operation.
#[derive(Clone, Copy)]
pub enum QueryPart {
    /// Those of a list of a resource with these fields.
    List(&'static [Field]),
    /// Filters by this name, of a resource with these fields.
    Filter(&'static str, &'static [Field]),
    /// The members of this schema.
    Members(SchemaOf),
    /// Those of a list of v2.
    ListInV2(&'static [Field]),
    /// Filters of v2.
    FilterInV2(&'static [Field]),
}

impl fmt::Debug for QueryPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(_) => f.write_str("List"),
            Self::Filter(name, _) => f.debug_tuple("Filter").field(name).finish(),
            Self::Members(_) => f.write_str("Members"),
            Self::ListInV2(_) => f.write_str("ListInV2"),
            Self::FilterInV2(_) => f.write_str("FilterInV2"),
        }
    }
}

/// What a handler answers unless it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, if there is one.
    pub content: Option<Content>,
}

/// What an operation takes and gives.
#[derive(Clone, Debug, Default)]
pub struct Operation {
    /// Headers that it reads: name and meaning.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Query parameters.
    pub query: Vec<QueryPart>,
    /// The body of the request.
    pub body: Option<Content>,
    /// What is answered unless it refuses.
    pub answers: Vec<Answer>,
    /// How it refuses, beyond what every operation may answer.
    pub refusals: Vec<ErrorKind>,
}

impl Operation {
    /// Adds refusals of these kinds.
    pub fn refuses(&mut self, kinds: &[ErrorKind]) {
        for kind in kinds {
            if !self.refusals.contains(kind) {
                self.refusals.push(*kind);
            }
        }
    }

    pub(crate) fn header(&mut self, name: &'static str, meaning: &'static str) {
        self.headers.push((name, meaning));
    }

    pub(crate) fn answers(&mut self, status: StatusCode, content: Option<Content>) {
        self.answers.push(Answer { status, content });
    }
}

/// An argument of a handler, and what it reads of a request.
pub trait Reads {
    /// Adds it.
    fn describe(operation: &mut Operation);
}

/// The result of a handler, and what it answers.
pub trait Answers {
    /// Adds it.
    fn describe(operation: &mut Operation);
}

/// Nothing that a client decides on this route.
macro_rules! reads_nothing {
    ($($name:ty),+) => {$(
        impl Reads for $name {
            fn describe(_: &mut Operation) {}
        }
    )+};
}

reads_nothing!(AskedBy, Identity, HeaderMap, Uri);

impl<S> Reads for State<S> {
    fn describe(_: &mut Operation) {}
}

/// The route's path names the parameters.
impl<T> Reads for PathParams<T> {
    fn describe(operation: &mut Operation) {
        operation.refuses(&[ErrorKind::Invalid, ErrorKind::NotFound]);
    }
}

const OF_BODIES: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::RequestTimeout,
    ErrorKind::TooLarge,
];

impl<T: JsonSchema> Reads for GoJson<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(Content::Json(schema_of::<T>));
        operation.refuses(OF_BODIES);
    }
}

impl<T: JsonSchema> Reads for StrictJson<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(Content::Json(schema_of::<T>));
        operation.refuses(OF_BODIES);
    }
}

impl<T: JsonSchema> Reads for StrictJsonOrNothing<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(Content::Json(schema_of::<T>));
        operation.refuses(OF_BODIES);
    }
}

impl Reads for BodyBytes {
    fn describe(operation: &mut Operation) {
        operation.body = Some(Content::Octets(&["application/octet-stream"]));
        operation.refuses(OF_BODIES);
    }
}

impl<M: MediaTypes> Reads for MediaBody<M> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(M::content());
        operation.refuses(OF_BODIES);
    }
}

impl<P: QueryParts> Reads for Query<P> {
    fn describe(operation: &mut Operation) {
        P::describe(&mut operation.query);
        operation.refuses(&[ErrorKind::Invalid]);
    }
}

macro_rules! answers_json {
    ($($name:ident: $status:ident),+) => {$(
        impl<T: JsonSchema> Answers for $name<T> {
            fn describe(operation: &mut Operation) {
                let content = Content::Json(schema_of::<T>);
                operation.answers(StatusCode::$status, Some(content));
            }
        }
    )+};
}

answers_json!(Json200: OK, Json201: CREATED, Json202: ACCEPTED);

impl Answers for NoContent {
    fn describe(operation: &mut Operation) {
        operation.answers(StatusCode::NO_CONTENT, None);
    }
}

impl Answers for &'static str {
    fn describe(operation: &mut Operation) {
        operation.answers(StatusCode::OK, Some(Content::Text(&["text/plain"])));
    }
}

impl Answers for NotOffered {
    fn describe(operation: &mut Operation) {
        let text = Content::Text(&["text/plain"]);
        operation.answers(StatusCode::NOT_FOUND, Some(text));
    }
}

impl<M: MediaTypes> Answers for Media<M> {
    fn describe(operation: &mut Operation) {
        operation.answers(StatusCode::OK, Some(M::content()));
    }
}

impl<M: MediaTypes> Answers for CacheableMedia<M> {
    fn describe(operation: &mut Operation) {
        operation.answers(StatusCode::OK, Some(M::content()));
        operation.answers(StatusCode::NOT_MODIFIED, None);
    }
}

impl<M: MediaTypes> Answers for DeferrableMedia<M> {
    fn describe(operation: &mut Operation) {
        operation.answers(StatusCode::OK, Some(M::content()));
        operation.answers(StatusCode::ACCEPTED, None);
    }
}

/// A refusal is described by its kind.
impl<T: Answers, E> Answers for Result<T, E> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

/// A handler of which is known what it takes and gives. `T` are its arguments, as in
/// [`Handler`](axum::handler::Handler).
pub trait Described<T> {
    /// What it takes and gives.
    fn operation() -> Operation;
}

impl<F, Fut, Res> Described<((),)> for F
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Res>,
    Res: Answers,
{
    fn operation() -> Operation {
        let mut operation = Operation::default();
        Res::describe(&mut operation);
        operation
    }
}

macro_rules! described {
    ($($argument:ident),+) => {
        impl<F, Fut, Res, M, $($argument),+> Described<(M, $($argument,)+)> for F
        where
            F: FnOnce($($argument),+) -> Fut,
            Fut: Future<Output = Res>,
            Res: Answers,
            $($argument: Reads,)+
        {
            fn operation() -> Operation {
                let mut operation = Operation::default();
                $($argument::describe(&mut operation);)+
                Res::describe(&mut operation);
                operation
            }
        }
    };
}

described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
described!(A, B, C, D, E, G);
