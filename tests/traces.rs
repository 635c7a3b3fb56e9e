//! Spans go to an OpenTelemetry collector, in the trace of whoever calls, and hold no secret.

use crate::harness::{Engine, Person, Place, guests, json, people::send, process::Process, run};
use axum::{Router, body::Bytes, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Any,
    trace::v1::Span,
};
use prost::Message;
use reqwest::Method;
use std::sync::{Arc, Mutex};

/// What a collector was sent.
type Batches = Arc<Mutex<Vec<Bytes>>>;

async fn collector() -> (String, Batches) {
    let batches = Batches::default();
    let kept = Arc::clone(&batches);
    let take = post(async move |body: Bytes| kept.lock().expect("no panic").push(body));
    let routes = Router::new().route("/otlp/v1/traces", take);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/otlp", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, batches)
}

fn spans(batches: &Batches) -> Vec<Span> {
    let batches = batches.lock().expect("no panic");
    let read = |batch: &Bytes| ExportTraceServiceRequest::decode(batch.clone()).expect("a batch");
    let resources = batches.iter().flat_map(|batch| read(batch).resource_spans);
    resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|found| found.value.as_ref()?.value.clone());
    match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{key} of {} is {other:?}", span.name),
    }
}

#[test]
fn requests_and_deliveries_are_spans() {
    run(async {
        let (url, batches) = collector().await;
        let place = Place::new(Engine::Sqlite).await;
        let process = Process::serve_in(&place, vec![("AIYBIZ_OTLP_URL", url)]);
        let bea = Person::sign_up(&process.url, "Bea").await;
        bea.becomes_builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let (session, mut events) = bea.starts(&agent).await;
        let path = format!("/sessions/{session}/messages");
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let said = bea.request(Method::POST, &path);
        let said = said.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let said = send(said.json(&json!({ "content": "hello" }))).await.having(201);
        events.until("message").await;
        events.until("message").await;
        let link = "inv_a-link-that-is-nobodys";
        Person::nobody(&process.url).get(&format!("/invitations/{link}?q=1")).await;
        drop(events);
        let ended = tokio::task::spawn_blocking(move || process.terminate()).await;
        assert!(ended.expect("no panic").success());

        let spans = spans(&batches);
        let name = "POST /sessions/{session}/messages";
        let request = spans.iter().find(|span| span.name == name).expect("the request's span");
        assert_eq!(
            attribute(request, "request.id"),
            said.headers["x-request-id"].to_str().expect("text")
        );
        assert_eq!(attribute(request, "http.response.status_code"), "201");
        assert_eq!(attribute(request, "url.path"), path);
        let id: String = request.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(id, trace, "the caller's trace goes on");
        let name = "deliver message to a component";
        let delivery = spans.iter().find(|span| span.name == name).expect("the delivery's span");
        assert_eq!(attribute(delivery, "session.id"), session);
        assert_eq!(attribute(delivery, "agent.id"), agent);
        assert_eq!(attribute(delivery, "event.id"), said.body["id"].as_str().expect("an id"));
        assert_eq!(attribute(delivery, "outcome"), "delivered");
        // Neither a token, nor a link, nor what was said.
        let all = format!("{spans:?}");
        for secret in [bea.token.as_str(), link, crate::harness::people::PASSWORD, "hello"] {
            assert!(!all.contains(secret), "{secret} is in a span");
        }
    });
}
