//! What a route takes and gives is read off its handler.

use http::StatusCode;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;
use lamassu_core::query::Field;
use lamassu_http::{
    Content, GoJson, Json200, Json201, Listed, Listing, Media, Members, NoContent, Operation,
    PathParams, Query, QueryPart, Reply, Routes, media_types,
};
use schemars::JsonSchema;
use serde::Deserialize;

const WRITE: Permission = Permission::new("ca", "write");

struct Things;

impl Listing for Things {
    const FIELDS: &'static [Field] = &[Field::string("name", "name")];
}

#[derive(Deserialize, JsonSchema)]
struct Thing {
    name: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read as text")]
struct Wish {
    format: Option<String>,
}

media_types! {
    /// A picture.
    Picture = Octets("image/png");
}

async fn list(_: Query<(Listed<Things>, Members<Wish>)>) -> Reply<Json200<Vec<String>>> {
    Ok(Json200(Vec::new()))
}

async fn create(GoJson(thing): GoJson<Thing>) -> Reply<Json201<String>> {
    Ok(Json201(thing.name))
}

async fn picture(PathParams(_): PathParams<String>) -> Media<Picture> {
    axum::response::IntoResponse::into_response("").into()
}

async fn delete(PathParams(_): PathParams<String>) -> Reply<NoContent> {
    Ok(NoContent)
}

fn operations() -> Vec<Operation> {
    let routes = Routes::builder("sample", ())
        .get("/things", WRITE, "List", list)
        .post("/things", WRITE, "Create", create)
        .refuses(&[ErrorKind::Conflict])
        .get("/things/{id}", WRITE, "Picture", picture)
        .delete("/things/{id}", WRITE, "Delete", delete)
        .build();
    routes.infos().map(|info| info.operation.clone()).collect()
}

fn answers(operation: &Operation) -> Vec<(StatusCode, Option<Content>)> {
    let answers = operation.answers.iter();
    answers
        .map(|answer| (answer.status, answer.content))
        .collect()
}

#[test]
fn arguments_say_what_is_read_and_results_what_is_answered() {
    let operations = operations();
    let [list, create, picture, delete] = operations.as_slice() else {
        panic!("four operations");
    };
    assert!(matches!(
        list.query.as_slice(),
        [QueryPart::List([field]), QueryPart::Members(_)] if field.name == "name"
    ));
    assert!(list.body.is_none());
    assert!(matches!(
        answers(list)[..],
        [(StatusCode::OK, Some(Content::Json(_)))]
    ));

    assert!(matches!(create.body, Some(Content::Json(_))));
    assert!(matches!(
        answers(create)[..],
        [(StatusCode::CREATED, Some(Content::Json(_)))]
    ));
    assert!(create.refusals.contains(&ErrorKind::TooLarge));

    let media = answers(picture);
    assert!(matches!(
        media[..],
        [(StatusCode::OK, Some(Content::Octets(["image/png"])))]
    ));
    assert!(picture.refusals.contains(&ErrorKind::NotFound));

    assert!(matches!(
        answers(delete)[..],
        [(StatusCode::NO_CONTENT, None)]
    ));
}

#[test]
fn refusals_of_the_table_belong_to_the_route_before() {
    let conflicts: Vec<bool> = operations()
        .iter()
        .map(|operation| operation.refusals.contains(&ErrorKind::Conflict))
        .collect();
    assert_eq!(conflicts, [false, true, false, false]);
}
