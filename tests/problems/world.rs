//! Where requests are refused: all routes with what they take, and a platform whose
//! rows are counted before and after.

use crate::harness::{
    Engine, Person, Platform, Value, json,
    people::{Id, send},
    voice::{NOBODY, Voice},
};
use reqwest::{RequestBuilder, header::CONTENT_TYPE};

/// Every route that takes a JSON body, with a body that it would take.
pub fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    let listing = json!({
        "name": "New", "description": "for tests", "delivery": "component",
        "priceCentsPerHour": 1000,
    });
    let sign_up = json!({ "email": "a@example.com", "password": "long enough", "name": "A" });
    vec![
        ("POST", "/auth/signup", sign_up),
        ("POST", "/auth/login", json!({ "email": "a@example.com", "password": "long enough" })),
        ("POST", "/builder", json!({ "displayName": "A" })),
        ("PATCH", "/builder", json!({ "displayName": "A" })),
        ("POST", "/builder/agents", listing),
        ("PATCH", "/builder/agents/{agent}", json!({ "name": "Other" })),
        ("PUT", "/builder/agents/{agent}/config/key", json!({ "value": "v" })),
        ("POST", "/sessions", json!({ "agentId": "{agent}" })),
        ("POST", "/sessions/{active}/messages", json!({ "content": "hello" })),
        (
            "POST",
            "/sessions/{active}/shared-items",
            json!({ "type": "document", "name": "n", "content": "hello" }),
        ),
        ("POST", "/sessions/{active}/direct-messages", json!({ "content": "hello" })),
        ("POST", "/builder/sessions/{active}/direct-messages", json!({ "content": "hello" })),
        ("POST", "/agent/{active}/auth", json!({ "agentAuthToken": "aat_" })),
        ("POST", "/agent/{active}/message", json!({ "content": "hello" })),
    ]
}

/// The other routes with a name in their path.
pub const NAMED: [(&str, &str); 33] = [
    ("GET", "/agents/{agent}"),
    ("GET", "/sessions/{active}"),
    ("POST", "/sessions/{active}/end"),
    ("GET", "/sessions/{active}/messages"),
    ("GET", "/sessions/{active}/stream"),
    ("POST", "/sessions/{active}/stream-ticket"),
    ("GET", "/sessions/{active}/shared-items"),
    ("DELETE", "/sessions/{active}/shared-items/01890000-0000-7000-8000-000000000000"),
    ("GET", "/sessions/{active}/direct-messages"),
    ("GET", "/sessions/{active}/cron-jobs"),
    ("GET", "/builder/sessions/{active}/direct-messages"),
    ("GET", "/notifications/stream"),
    ("POST", "/notifications/01890000-0000-7000-8000-000000000000/read"),
    ("GET", "/builder/agents/{agent}"),
    ("DELETE", "/builder/agents/{agent}"),
    ("POST", "/builder/agents/{agent}/publish"),
    ("POST", "/builder/agents/{agent}/unpublish"),
    ("POST", "/builder/agents/{agent}/components"),
    ("GET", "/builder/agents/{agent}/components"),
    ("GET", "/builder/agents/{agent}/components/1"),
    ("POST", "/builder/agents/{agent}/components/1/activate"),
    ("GET", "/builder/agents/{agent}/invocations"),
    ("GET", "/builder/agents/{agent}/logs"),
    ("GET", "/builder/agents/{agent}/logs/stream"),
    ("DELETE", "/builder/agents/{agent}/components/1/canary"),
    ("GET", "/builder/agents/{agent}/config"),
    ("GET", "/builder/agents/{agent}/config/key"),
    ("DELETE", "/builder/agents/{agent}/config/key"),
    ("POST", "/agent/{active}/typing"),
    ("GET", "/agent/sessions/{active}/messages"),
    ("GET", "/agent/sessions/{active}/shared-items"),
    ("POST", "/agent/sessions/{active}/activate"),
    ("PUT", "/agent/sessions/{active}/cron-jobs"),
];

pub const LISTS: [&str; 14] = [
    "/agents",
    "/sessions",
    "/sessions/{active}/messages",
    "/sessions/{active}/direct-messages",
    "/builder/sessions",
    "/builder/sessions/{active}/direct-messages",
    "/notifications",
    "/builder/agents",
    "/builder/agents/{component}/components",
    "/builder/agents/{agent}/invocations",
    "/builder/agents/{agent}/logs",
    "/agent/sessions/{active}/messages",
    "/sessions/{active}/shared-items",
    "/agent/sessions/{active}/shared-items",
];

/// A platform with one user who is a client and a builder, with sessions in all
/// states; and another user with an agent and a session of his own.
pub struct World {
    pub platform: Platform,
    pub user: Person,
    pub agent: String,
    pub component: String,
    pub active: Voice,
    pub provisioning: String,
    pub ended: String,
    pub others_agent: String,
    pub others_session: String,
}

impl World {
    pub async fn new(engine: Engine) -> Self {
        let platform = Platform::start(engine).await;
        let user = platform.builder("Bea").await;
        let other = platform.builder("Other").await;
        let (agent, _) = user.publish_webhook("Silent", NOBODY, "none").await;
        let component = user.component_agent("Empty").await;
        let others_agent = other.component_agent("Draft").await;
        let open = json!({ "agentId": agent });
        let others_session = other.post("/sessions", open.clone()).await.created().id();
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(user.post("/sessions", open.clone()).await.created().id());
        }
        let [provisioning, ended, active] = sessions.try_into().expect("three");
        user.ends(&ended).await;
        let active = Voice::of(&platform, &active);
        active.auth().await.ok();
        Self {
            platform,
            user,
            agent,
            component,
            active,
            provisioning,
            ended,
            others_agent,
            others_session,
        }
    }

    pub fn path(&self, template: &str) -> String {
        let path = template.replace("{agent}", &self.agent).replace("{component}", &self.component);
        path.replace("{active}", &self.active.session)
    }

    /// A request by whoever may make it.
    pub fn request(&self, method: &str, template: &str) -> RequestBuilder {
        let mut person = self.user.clone();
        if template.starts_with("/agent/") {
            person.token = self.active.token.clone();
        }
        person.request(method.parse().expect("a method"), &self.path(template))
    }

    /// Sends it; checks that it is refused and that nothing was stored.
    pub async fn refuses(
        &self,
        what: &str,
        request: RequestBuilder,
        status: u16,
        code: &str,
    ) -> Value {
        let before = self.rows().await;
        let answer = send(request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert_eq!(answer.body["code"], code, "{what}: {}", answer.text);
        let problem = answer.problem(status, code);
        assert_eq!(self.rows().await, before, "{what}");
        problem
    }

    pub async fn refuses_field(&self, what: &str, request: RequestBuilder, pointer: &str) {
        let problem = self.refuses(what, request, 400, "invalid_field").await;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{what}: {problem}");
    }

    pub fn json(&self, method: &str, template: &str, body: impl ToString) -> RequestBuilder {
        let body = body.to_string().replace("{agent}", &self.agent);
        self.request(method, template).header(CONTENT_TYPE, "application/json").body(body)
    }

    /// How many rows each table has, and how long the logs are.
    async fn rows(&self) -> Vec<(String, i64)> {
        let sql = "SELECT 'users', COUNT(*) FROM users
             UNION ALL SELECT 'companies', COUNT(*) FROM companies
             UNION ALL SELECT 'members', COUNT(*) FROM members
             UNION ALL SELECT 'builders', COUNT(*) FROM builders
             UNION ALL SELECT 'sign_ins', COUNT(*) FROM sign_ins
             UNION ALL SELECT 'agents', COUNT(*) FROM agents
             UNION ALL SELECT 'components', COUNT(*) FROM components
             UNION ALL SELECT 'canaries', COUNT(*) FROM canaries
             UNION ALL SELECT 'settings', COUNT(*) FROM settings
             UNION ALL SELECT 'sessions', COUNT(*) FROM sessions
             UNION ALL SELECT 'events', COUNT(*) FROM events
             UNION ALL SELECT 'drafts', COUNT(*) FROM drafts
             UNION ALL SELECT 'agent_state', COUNT(*) FROM agent_state
             UNION ALL SELECT 'invocations', COUNT(*) FROM invocations
             UNION ALL SELECT 'inboxes', COUNT(*) FROM inboxes
             UNION ALL SELECT 'notifications', COUNT(*) FROM notifications
             UNION ALL SELECT 'stream_tickets', COUNT(*) FROM stream_tickets
             UNION ALL SELECT 'sockets', COUNT(*) FROM sockets
             UNION ALL SELECT 'cron_jobs', COUNT(*) FROM cron_jobs
             UNION ALL SELECT 'nodes', COUNT(*) FROM nodes
             UNION ALL SELECT 'grants', COUNT(*) FROM grants
             UNION ALL SELECT 'last_seq', CAST(SUM(last_seq) AS BIGINT) FROM sessions";
        let mut tx = self.platform.host.db.read().await.expect("a snapshot");
        tx.query(sql).all().await.expect("the counts")
    }

    /// What could have been changed without another row.
    pub async fn templates(&self) -> Value {
        self.user.get("/builder/agents").await.ok()
    }
}
