use std::sync::Arc;

use lamassu_ca::routes;
use lamassu_core::ca::CaService;
use lamassu_core::query::QueryLimits;
use lamassu_http::testing::TokenNamesRole;
use lamassu_http::{Stack, route_audit};
use tokio_util::task::TaskTracker;

use crate::support::World;

#[tokio::test]
async fn every_route_refuses_whoever_lacks_its_permission() {
    let world = World::new().await;
    let routes = routes(
        Arc::clone(&world.service) as Arc<dyn CaService>,
        QueryLimits::default(),
    );
    let stack = Stack::new(Arc::new(TokenNamesRole), TaskTracker::new()).mount("", &routes);
    let table = stack.route_table();
    let router = stack.build().unwrap();
    let open = route_audit::audit(&router, &table, |role| role.name().to_owned()).await;
    assert_eq!(open, []);
    assert_eq!(table.len(), 43 + 12);
}
