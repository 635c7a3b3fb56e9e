//! A host that fails in the middle of a guest's call.

use crate::{
    attacks::Baseline,
    harness::{Engine, Platform, events::Bare, guests},
};
use aiybiz_host::{
    id::EventId,
    net::Out,
    sandbox::{Answer, Draft, File, Message, Outcome, Scope, Secret, State},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// Whatever is asked of it, it panics.
struct Broken;

fn fault<T>() -> T {
    panic!("a fault of the host, on purpose")
}

#[async_trait]
impl Scope for Broken {
    async fn reply(&self, _: u64, _: EventId, _: String) -> Answer<EventId> {
        fault()
    }
    fn new_reply_id(&self) -> EventId {
        fault()
    }
    fn delta(&self, _: EventId, _: u64, _: &str) {
        fault::<()>();
    }
    async fn abandoned(&self, _: EventId) -> Answer<()> {
        fault()
    }
    fn typing(&self) {
        fault::<()>();
    }
    async fn history(&self, _: i64, _: u32) -> Answer<(Vec<Message>, Option<i64>)> {
        fault()
    }
    async fn files(&self) -> Answer<Vec<File>> {
        fault()
    }
    async fn read(&self, _: &File, _: u64, _: u64) -> Answer<Bytes> {
        fault()
    }
    async fn create(&self, _: &str, _: Option<String>) -> Answer<Draft> {
        fault()
    }
    async fn publish(&self, _: Draft) -> Answer<File> {
        fault()
    }
    async fn remove(&self, _: &str) -> Answer<()> {
        fault()
    }
    async fn state(&self) -> Answer<State> {
        fault()
    }
    async fn secret(&self, _: &str) -> Answer<Option<Secret>> {
        fault()
    }
    async fn config(&self) -> Answer<BTreeMap<String, String>> {
        fault()
    }
    fn out(&self) -> Option<Out> {
        None
    }
}

#[test]
fn a_panic_of_the_host_is_not_the_agents_fault() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let echo = Bare::new(&platform, guests::ECHO).await;
        let baseline = Baseline::of(&platform);
        for _ in 0..20 {
            let receipt = echo.handle_in(Arc::new(Broken), None).await;
            assert_eq!(receipt.outcome, Outcome::HostError, "{}", receipt.explanation);
            assert!(receipt.explanation.contains("not the agent"), "{}", receipt.explanation);
            assert_eq!(echo.handle().await.outcome, Outcome::Ok);
        }
        baseline.is_reached(&platform, "faults").await;
    });
}
