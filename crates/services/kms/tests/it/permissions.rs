//! Who may do what.

use std::sync::Arc;

use http::Method;
use lamassu_core::kms::KmsService;
use lamassu_core::permission::Role;
use lamassu_core::query::QueryLimits;
use lamassu_http::testing::TokenNamesRole;
use lamassu_http::{Access, Stack, route_audit};
use lamassu_kms::{Kms, routes};
use tokio_util::task::TaskTracker;

use crate::support::fixture;

#[tokio::test]
async fn each_route_needs_its_permission() {
    let kms = fixture().await;
    let service: Arc<dyn KmsService> = Arc::<Kms>::clone(&kms.kms);
    let routes = routes(service, QueryLimits::default());
    let declared: Vec<_> = routes
        .infos()
        .map(|route| match route.access {
            Access::Permission(needed) => (route.method.clone(), route.path, needed.to_string()),
            Access::Authenticated | Access::Public => panic!("{} needs a permission", route.path),
        })
        .collect();
    let expected = [
        (Method::GET, "/v1/stats", "kms:read"),
        (Method::GET, "/v1/engines", "kms:read"),
        (Method::GET, "/v1/keys", "kms:read"),
        (Method::POST, "/v1/keys", "kms:create"),
        (Method::POST, "/v1/keys/import", "kms:import"),
        (Method::GET, "/v1/keys/{id}", "kms:read"),
        (Method::PUT, "/v1/keys/{id}/name", "kms:write"),
        (Method::PUT, "/v1/keys/{id}/tags", "kms:write"),
        (Method::PUT, "/v1/keys/{id}/status", "kms:write"),
        (Method::POST, "/v1/keys/{id}/move", "kms:write"),
        (Method::DELETE, "/v1/keys/{id}", "kms:delete"),
        (Method::POST, "/v1/keys/{id}/sign", "kms:use"),
        (Method::POST, "/v1/keys/{id}/verify", "kms:read"),
        (Method::PUT, "/v1/keys/{id}/metadata", "kms:write"),
        (Method::PUT, "/v1/keys/{id}/alias", "kms:write"),
        (Method::PUT, "/v1/keys/{id}/aliases", "kms:write"),
        (Method::PATCH, "/v1/keys/{id}/metadata", "kms:write"),
        (Method::PATCH, "/v1/keys/{id}/alias", "kms:write"),
        (Method::PATCH, "/v1/keys/{id}/aliases", "kms:write"),
        (Method::POST, "/internal/v1/keys", "internal:kms"),
        (Method::POST, "/internal/v1/keys/import", "internal:kms"),
        (Method::GET, "/internal/v1/keys/{id}/signer", "internal:kms"),
        (Method::POST, "/internal/v1/keys/{id}/sign", "internal:kms"),
        (
            Method::POST,
            "/internal/v1/keys/{id}/certificates",
            "internal:kms",
        ),
        (
            Method::DELETE,
            "/internal/v1/keys/{id}/certificates/{sn}",
            "internal:kms",
        ),
        (
            Method::DELETE,
            "/internal/v1/operations/{id}",
            "internal:kms",
        ),
    ]
    .map(|(method, path, needed)| (method, path, needed.to_owned()));
    assert_eq!(declared, expected);

    let stack = Stack::new(Arc::new(TokenNamesRole), TaskTracker::new()).mount("", &routes);
    let table = stack.route_table();
    let router = stack.build().unwrap();
    let open = route_audit::audit(&router, &table, |role: Role| role.name().to_owned()).await;
    assert_eq!(open, []);
}
