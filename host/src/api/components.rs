//! Uploading components and choosing the active version.

use super::{
    caller::{self, Builder},
    input::{self, Body, Params},
    page::{self, Page},
};
use crate::{
    catalog::{
        self, Template,
        components::{self, Report, Version},
    },
    error::{Error, Kind, Problem, Result},
    host::Host,
    id::{AgentId, BuilderId},
    sandbox::Limits,
    seal::hex,
    storage::Tx,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{StatusCode, header},
    routing::{get, post},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};

/// How long an upload's answer waits for the compiler (contract §12.12).
const WAIT: Duration = Duration::from_secs(30);

pub(super) fn routes() -> Router<Host> {
    // The handler bounds the body by `componentBytes`.
    let uploads = post(upload).layer(DefaultBodyLimit::disable()).get(list);
    Router::new()
        .route("/builder/agents/{agent}/components", uploads)
        .route("/builder/agents/{agent}/components/{version}", get(show).patch(change))
        .route("/builder/agents/{agent}/components/{version}/activate", post(activate))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    wait: Option<String>,
}

async fn upload(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(waiting): Params<Waiting>,
    request: Request,
) -> Result<(StatusCode, Json<Value>)> {
    let (template, limits) = {
        let mut tx = host.db.read().await?;
        let template = component_agent(&mut tx, &id, owner).await?;
        let limits = host.policy.of(&mut tx, template.id).await?;
        (template, limits)
    };
    let wait = match waiting.wait.as_deref() {
        Some("0") => Duration::ZERO,
        None | Some("1") => WAIT,
        Some(_) => return Err(Error::field("wait", "must be 0 or 1")),
    };
    let bytes = wasm(&limits, request).await?;
    let (sha256, size) = (hex(&Sha256::digest(&bytes)), bytes.len() as i64);
    let mut tx = host.db.write().await?;
    let now = host.clock.now();
    let version = components::begin(&mut tx, template.id, &sha256, size, now).await?;
    tx.commit().await?;
    // In a task of its own: a builder who hangs up does not stop it.
    let admitting = host.tasks.spawn(admit(host.clone(), template.id, version, bytes, limits));
    let admitted = match tokio::time::timeout(wait, admitting).await {
        Ok(admitted) => admitted.map_err(Error::internal)??,
        Err(_) => {
            let mut tx = host.db.read().await?;
            let found = components::find(&mut tx, template.id, version).await?;
            found.ok_or(Error::not_found("version"))?
        }
    };
    if admitted.state == "refused" {
        let detail = format!("version {version} was refused: {}", first(&admitted.report.problems));
        let mut error = Error::new(Kind::Refused, "component_refused", detail);
        error.problems = admitted.report.problems;
        return Err(error);
    }
    Ok((StatusCode::CREATED, Json(shown(&admitted, template.active_version))))
}

fn first(problems: &[Problem]) -> String {
    let first = problems.first().map(|problem| format!("{} {}", problem.pointer, problem.detail));
    first.unwrap_or_default()
}

async fn wasm(limits: &Limits, request: Request) -> Result<Bytes> {
    let kind = caller::text(request.headers(), header::CONTENT_TYPE.as_str()).unwrap_or_default();
    if kind != "application/wasm" && kind != "application/octet-stream" {
        let detail = "send the component itself as Content-Type: application/wasm";
        return Err(Error::new(Kind::Unsupported, "not_wasm", detail));
    }
    let most = usize::try_from(limits.component_bytes).unwrap_or(usize::MAX);
    axum::body::to_bytes(request.into_body(), most).await.map_err(|_| {
        let detail = format!("the upload broke off, or is larger than componentBytes ({most})");
        Error::new(Kind::TooLarge, "component_too_large", detail)
    })
}

/// Has the upload looked at, and writes down what came of it.
async fn admit(
    host: Host,
    agent: AgentId,
    version: i64,
    bytes: Bytes,
    limits: Arc<Limits>,
) -> Result<Version> {
    let looked = look(&host, bytes, &limits).await;
    // A version that was begun is concluded, also when the platform fails.
    let detail = "the platform failed to look at it; upload it again";
    let failed = || Problem { pointer: "body".into(), detail: detail.into() };
    let fallback = || Report { problems: vec![failed()], ..Report::default() };
    let (report, error) = match looked {
        Ok(report) => (report, None),
        Err(error) => (fallback(), Some(error)),
    };
    let mut tx = host.db.write().await?;
    let version = components::conclude(&mut tx, agent, version, &report).await?;
    tx.commit().await?;
    error.map_or(Ok(version), Err)
}

async fn look(host: &Host, bytes: Bytes, limits: &Arc<Limits>) -> Result<Report> {
    let admission = host.sandbox.admit(bytes.clone(), limits).await?;
    let inspection = admission.inspection;
    if inspection.problems.is_empty() {
        host.objects.put(&components::upload_key(&admission.sha256), bytes).await?;
    }
    Ok(Report {
        world: inspection.world,
        imports: inspection.imports,
        metadata: inspection.metadata,
        warnings: inspection.warnings,
        problems: inspection.problems,
        compile: json!(admission.compiled),
    })
}

async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.read().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let found = components::list(&mut tx, template.id, before, limit + 1).await?;
    let show = |version: &Version| shown(version, template.active_version);
    Ok(page::answer(found, limit, |version| version.version.to_string(), show))
}

async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let found = components::find(&mut tx, template.id, input::id(&version, "version")?).await?;
    Ok(Json(shown(&found.ok_or(Error::not_found("version"))?, template.active_version)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    warm: bool,
}

/// All that can be changed of a version: whether its instances may be kept.
async fn change(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
    Body(change): Body<Change>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let version = input::id(&version, "version")?;
    let version = components::set_warm(&mut tx, template.id, version, change.warm).await?;
    tx.commit().await?;
    Ok(Json(shown(&version, template.active_version)))
}

async fn activate(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let (version, now) = (input::id(&version, "version")?, host.clock.now());
    let version = components::activate(&mut tx, template.id, version, now).await?;
    tx.commit().await?;
    Ok(Json(shown(&version, Some(version.version))))
}

/// The builder's agent, if it is one that runs components.
pub(super) async fn component_agent(tx: &mut Tx, id: &str, owner: BuilderId) -> Result<Template> {
    let template = catalog::owned_by(tx, input::id(id, "agent")?, owner).await?;
    if template.delivery != "component" {
        return Err(Error::conflict("not_a_component_agent", "this agent is a webhook"));
    }
    Ok(template)
}

fn shown(version: &Version, active: Option<i64>) -> Value {
    let mut all = json!({
        "version": version.version,
        "sha256": version.sha256,
        "sizeBytes": version.size_bytes,
        "state": version.state,
        "warm": version.warm,
        "createdAt": version.created_at,
        "active": active == Some(version.version),
    });
    if let (Some(all), Value::Object(report)) = (all.as_object_mut(), json!(version.report)) {
        all.extend(report);
    }
    all
}
