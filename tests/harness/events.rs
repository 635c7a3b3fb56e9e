//! Events for the sandbox alone, without a session: for what is asked of the pool and
//! of the threads, and fast.

use super::Platform;
use aiybiz_host::{
    id::{AgentId, SessionId},
    sandbox::{
        Author, Component, Event, Facts, Job, Keep, Message, Nothing, Receipt, Sandbox, Scope,
    },
    timestamp::Timestamp,
};
use std::sync::Arc;

/// An agent of which nobody knows but the sandbox.
#[derive(Clone)]
pub struct Bare {
    pub sandbox: Arc<Sandbox>,
    pub agent: AgentId,
    pub component: Arc<Component>,
}

impl Bare {
    pub async fn new(platform: &Platform, wasm: &[u8]) -> Self {
        let sandbox = Arc::clone(&platform.host.sandbox);
        let limits = Arc::clone(sandbox.limits());
        let upload = sandbox.spooled(&wasm.to_vec().into()).await.expect("a file");
        let admitted = sandbox.admit(sandbox.turn().await, &upload, &limits).await;
        assert_eq!(admitted.expect("it was looked at").inspection.problems, []);
        let component = sandbox.load(&upload.sha256, &limits, std::future::pending()).await;
        let component = component.expect("it is ready");
        Self { agent: platform.clock.id(), sandbox, component }
    }

    /// One message in a fresh instance that nobody hears.
    pub async fn handle(&self) -> Receipt {
        self.handle_in(Arc::new(Nothing), None).await
    }

    /// The `seq`-th message of a session whose instance is kept.
    pub async fn handle_kept(&self, session: SessionId, seq: i64) -> Receipt {
        let keep = Keep { session, seq, last: Some(seq - 1), now: now() };
        self.handle_in(Arc::new(Nothing), Some(keep)).await
    }

    pub async fn handle_in(&self, scope: Arc<dyn Scope>, keep: Option<Keep>) -> Receipt {
        let now = now();
        let job = Job {
            event: Event::Message(Message {
                id: "m".into(),
                author: Author::Client,
                content: "hello".into(),
                created_at: now,
            }),
            facts: Facts {
                session_id: "s".into(),
                started_at: now,
                event_id: "e".into(),
                attempt: 1,
            },
            scope,
            limits: Arc::clone(self.sandbox.limits()),
            keep,
        };
        let handled = self.sandbox.handle(self.agent, Arc::clone(&self.component), job).await;
        handled.expect("a place")
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).expect("in range")
}
