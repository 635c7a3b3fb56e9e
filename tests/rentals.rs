//! The sessions with a builder's agents, as the builder sees them.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, json,
        people::Id,
        voice::{NOBODY, Voice},
    },
};

/// The ids on the page of this query.
async fn listed(person: &Person, query: &str) -> Vec<String> {
    let page = person.get(&format!("/builder/sessions{query}")).await.ok();
    page["data"].as_array().expect("a list").iter().map(Id::id).collect()
}

both_engines! {
    async fn a_builder_finds_the_sessions_with_his_agents(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, ben) = (platform.builder("Bea").await, platform.builder("Ben").await);
        let (cleo, dora) = (platform.person("Cleo").await, platform.person("Dora").await);
        let (one, _) = bea.publish_webhook("One", NOBODY, "none").await;
        let (two, _) = bea.publish_webhook("Two", NOBODY, "none").await;
        let (bens, _) = ben.publish_webhook("Ben's", NOBODY, "none").await;
        let mut sessions = Vec::new();
        for (person, agent) in [(&cleo, &one), (&dora, &one), (&cleo, &two), (&dora, &bens)] {
            let open = json!({ "agentId": agent });
            sessions.push(person.post("/sessions", open).await.created().id());
        }
        let [first, second, third, fourth] = [0, 1, 2, 3].map(|n| sessions[n].as_str());
        Voice::of(&platform, second).auth().await.ok();
        cleo.ends(first).await;

        assert_eq!(listed(&bea, "").await, [third, second, first]);
        assert_eq!(listed(&ben, "").await, [fourth]);
        assert_eq!(listed(&bea, &format!("?agentId={one}")).await, [second, first]);
        assert_eq!(listed(&bea, "?status=completed").await, [first]);
        assert_eq!(listed(&bea, "?status=active").await, [second]);
        assert_eq!(listed(&bea, &format!("?status=provisioning&agentId={two}")).await, [third]);
        assert!(listed(&bea, &format!("?status=active&agentId={two}")).await.is_empty());
        // Another builder's agent has no sessions, as far as he can see.
        assert!(listed(&bea, &format!("?agentId={bens}")).await.is_empty());
        let page = bea.get("/builder/sessions?limit=2").await.ok();
        let cursor = page["nextCursor"].as_str().expect("a cursor");
        assert_eq!(listed(&bea, &format!("?limit=2&cursor={cursor}")).await, [first]);

        // It is the client's session, without who of the company opened it.
        let mut whole = dora.get(&format!("/sessions/{second}")).await.ok();
        whole.as_object_mut().expect("an object").shift_remove("memberId").expect("a member");
        let shown = bea.get("/builder/sessions?status=active").await.ok();
        assert_eq!(shown["data"], json!([whole]));

        for (query, field) in [("status=over", "status"), ("status=", "status"), ("agentId=x", "agentId")] {
            let refused = bea.get(&format!("/builder/sessions?{query}")).await;
            assert_eq!(refused.problem(400, "invalid_field")["errors"][0]["pointer"], field);
        }
        cleo.get("/builder/sessions").await.problem(403, "not_a_builder");
    }
}
