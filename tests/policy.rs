//! What operators decide: who may, what it changes, and the record of it.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform},
};

both_engines! {
    async fn the_record_is_for_operators(engine: Engine) {
        let platform = Platform::start(engine).await;
        let opal = platform.operator("Opal").await;
        let found = opal.get("/admin/audit").await.ok();
        assert_eq!(found["data"].as_array().map(Vec::len), Some(0), "{found}");
        for person in [platform.person("Cleo").await, platform.builder("Bea").await] {
            person.get("/admin/audit").await.problem(403, "not_an_operator");
        }
        Person::nobody(&platform.url).get("/admin/audit").await.problem(401, "unauthenticated");
        opal.get("/admin/audit?cursor=x").await.problem(400, "invalid_field");
    }
}
