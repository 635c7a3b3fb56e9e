//! Uploading a component: a place in the queue, the bytes, a version that is
//! `queued`, then `compiling`, then `ready` or `refused`.

use super::{
    caller::{self, Builder},
    components::{ComponentVersion, component_agent, shown},
    input::Params,
};
use crate::{
    catalog::{
        Template,
        components::{self, Report, Version},
    },
    error::{Error, Kind, Problem, Result},
    files::doomed,
    host::Host,
    id::{AgentId, BuilderId},
    sandbox::{Admission, Limits, Place, Upload},
};
use axum::{
    Json,
    body::{BodyDataStream, HttpBody},
    extract::{Path, Request, State},
    http::{StatusCode, header},
};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use std::{io::Read, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use utoipa::IntoParams;
use uuid::Uuid;

/// How long an upload's answer waits for the compiler (contract §12.12).
const WAIT: Duration = Duration::from_secs(30);

/// How long an upload may take to arrive: 32 MiB at 0.9 Mbit/s. It has a place
/// meanwhile.
const ARRIVAL: Duration = Duration::from_mins(5);

/// How often a process says that it has not forgotten an upload; see `work`'s
/// `SILENCE`.
const SEEN: Duration = Duration::from_secs(10);

/// Read at a time when an upload is put into the object store.
const PIECE_BYTES: u64 = 1 << 20;

/// What is read, and for how long, of an upload that is refused already.
const HEARD_BYTES: u64 = 64 << 20;
const HEARD: Duration = Duration::from_secs(10);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    /// `0` does not wait for the compiler.
    #[param(pattern = "^[01]$")]
    wait: Option<String>,
}

/// Uploads a version of a component: the raw `.wasm`. It is not active yet. The answer comes
/// when it is compiled, or after 30 s, with its `state` then. A version that is refused stays
/// on the list with its problems. The upload may have as many bytes as the limit
/// `componentBytes` says, and five minutes to arrive.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/components", params(Waiting),
    request_body(content(
        (Vec<u8> = "application/wasm"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 201, body = ComponentVersion),
        (status = 400, description = "body_incomplete"),
        (status = 408, description = "body_too_slow"),
        (status = 409, description = "not_a_component_agent, too_many_versions"),
        (status = 413, description = "body_too_large, component_too_large"),
        (status = 415, description = "not_wasm"),
        (status = 422, description = "component_refused"),
        (status = 429, description = "too_many_uploads, upload_queue_full"),
    ),
)]
pub(super) async fn upload(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(waiting): Params<Waiting>,
    request: Request,
) -> Result<(StatusCode, Json<ComponentVersion>)> {
    let mut arriving = Arriving::new(request);
    let begun = begin(&host, owner, &id, waiting, &mut arriving).await;
    if begun.is_err() {
        arriving.hear_out().await;
    }
    let Begun { template, queued, wait, admitting } = begun?;
    let number = queued.version;
    let version = if wait.is_zero() {
        queued
    } else {
        match tokio::time::timeout(wait, admitting).await {
            Ok(admitted) => admitted.map_err(Error::internal)??,
            Err(_) => {
                let mut tx = host.db.read().await?;
                let found = components::find(&mut tx, template.id, number).await?;
                found.ok_or(Error::not_found("version"))?
            }
        }
    };
    if version.state == "refused" {
        let detail = format!("version {number} was refused: {}", first(&version.report.problems));
        let mut error = Error::new(Kind::Refused, "component_refused", detail);
        error.problems = version.report.problems;
        return Err(error);
    }
    Ok((StatusCode::CREATED, Json(shown(version, template.active_version))))
}

fn first(problems: &[Problem]) -> String {
    let first = problems.first().map(|problem| format!("{} {}", problem.pointer, problem.detail));
    first.unwrap_or_default()
}

/// A version that waits for its turn, and the task that has it looked at.
struct Begun {
    template: Template,
    queued: Version,
    wait: Duration,
    admitting: JoinHandle<Result<Version>>,
}

async fn begin(
    host: &Host,
    owner: BuilderId,
    id: &str,
    waiting: Waiting,
    arriving: &mut Arriving,
) -> Result<Begun> {
    let (template, limits) = {
        let mut tx = host.db.read().await?;
        let template = component_agent(&mut tx, id, owner).await?;
        let limits = host.policy.of(&mut tx, template.id).await?;
        (template, limits)
    };
    let wait = match waiting.wait.as_deref() {
        Some("0") => Duration::ZERO,
        None | Some("1") => WAIT,
        Some(_) => return Err(Error::field("wait", "must be 0 or 1")),
    };
    let place = host.sandbox.enter(owner)?;
    let upload = arriving.receive(host, limits.component_bytes).await?;
    let mut tx = host.db.write().await?;
    let (size, now) = (upload.size as i64, host.clock.now());
    let number =
        components::begin(&mut tx, template.id, &upload.sha256, size, host.node.0, now).await?;
    let queued = components::find(&mut tx, template.id, number).await?;
    let queued = queued.ok_or(Error::not_found("version"))?;
    tx.commit().await?;
    // In a task of its own: a builder who hangs up does not stop it.
    let name = (template.id, number);
    let admitting = host.tasks.spawn(admit(host.clone(), place, upload, limits, name));
    Ok(Begun { template, queued, wait, admitting })
}

/// The body, of which some may be left.
struct Arriving {
    kind: String,
    announced: u64,
    body: BodyDataStream,
}

impl Arriving {
    fn new(request: Request) -> Self {
        let kind = caller::text(request.headers(), header::CONTENT_TYPE.as_str());
        let kind = kind.unwrap_or_default().to_owned();
        let announced = request.body().size_hint().lower();
        Self { kind, announced, body: request.into_body().into_data_stream() }
    }

    /// Takes it to the disk.
    async fn receive(&mut self, host: &Host, most: u64) -> Result<Upload> {
        if self.kind != "application/wasm" && self.kind != "application/octet-stream" {
            let detail = "send the component itself as Content-Type: application/wasm";
            return Err(Error::new(Kind::Unsupported, "not_wasm", detail));
        }
        let too_large = || {
            let detail = format!("the upload is larger than componentBytes ({most})");
            Error::new(Kind::TooLarge, "component_too_large", detail)
        };
        let incomplete = |detail: &str| Error::new(Kind::Invalid, "body_incomplete", detail);
        if self.announced > most {
            return Err(too_large());
        }
        let mut spool = host.sandbox.spool()?;
        let arriving = async {
            while let Some(piece) = self.body.next().await {
                let piece = piece.map_err(|_| incomplete("the upload broke off"))?;
                if spool.size() + piece.len() as u64 > most {
                    return Err(too_large());
                }
                spool.write(&piece).await?;
            }
            spool.finish().await
        };
        let arrived = tokio::time::timeout(ARRIVAL, arriving).await;
        arrived.map_err(|_| incomplete(&format!("the upload took longer than {ARRIVAL:?}")))?
    }

    /// Reads on without keeping it. One who is still sending would find his connection
    /// closed, and never read why.
    async fn hear_out(&mut self) {
        let mut left = HEARD_BYTES;
        let hearing = async {
            while let Some(Ok(piece)) = self.body.next().await {
                left = left.saturating_sub(piece.len() as u64);
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever takes longer may as well be cut off.
        let _ = tokio::time::timeout(HEARD, hearing).await;
    }
}

/// Has the upload looked at, and writes down what came of it.
async fn admit(
    host: Host,
    place: Place,
    upload: Upload,
    limits: Arc<Limits>,
    (agent, version): (AgentId, i64),
) -> Result<Version> {
    let looked = tokio::select! {
        looked = look(&host, &place, &upload, &limits, (agent, version)) => looked,
        never = stay_seen(&host, agent, version) => match never {},
        () = host.stopping.cancelled() => Ok(components::given_up()),
    };
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

async fn look(
    host: &Host,
    place: &Place,
    upload: &Upload,
    limits: &Limits,
    (agent, version): (AgentId, i64),
) -> Result<Report> {
    let turn = place.turn().await;
    let mut tx = host.db.write().await?;
    components::compiling(&mut tx, agent, version).await?;
    tx.commit().await?;
    let admission = host.sandbox.admit(turn, upload, limits).await?;
    if admission.inspection.problems.is_empty() {
        store(host, upload).await?;
    }
    Ok(report(admission))
}

/// What is told and kept of an upload.
pub fn report(admission: Admission) -> Report {
    let inspection = admission.inspection;
    Report {
        world: inspection.world,
        imports: inspection.imports,
        metadata: inspection.metadata,
        warnings: inspection.warnings,
        problems: inspection.problems,
        compile: json!(admission.compiled),
    }
}

/// Keeps the bytes, to compile them again on another machine or for another engine. Who
/// reads them meanwhile, as somebody uploaded the same before, has them whole.
async fn store(host: &Host, upload: &Upload) -> Result<()> {
    let key = components::upload_key(&upload.sha256);
    let draft = format!("{key}.{}", host.clock.id::<Uuid>());
    let mut tx = host.db.write().await?;
    doomed::writing(&mut tx, &host.clock, &draft).await?;
    tx.commit().await?;
    let mut kept = host.objects.upload(&draft)?;
    let mut file = upload.open()?;
    while kept.size() < upload.size {
        let (returned, piece) = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::new();
            (&mut file).take(PIECE_BYTES).read_to_end(&mut piece).map(|_| (file, piece))
        })
        .await
        .map_err(Error::internal)??;
        file = returned;
        kept.write(Bytes::from(piece)).await?;
    }
    kept.finish().await?;
    host.objects.copy(&draft, &key).await?;
    host.objects.delete(&draft).await?;
    let mut tx = host.db.write().await?;
    doomed::spare(&mut tx, &draft).await?;
    Ok(tx.commit().await?)
}

/// Says again and again that this process has the upload in its hands.
async fn stay_seen(host: &Host, agent: AgentId, version: i64) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(SEEN).await;
        let seen = async {
            let mut tx = host.db.write().await?;
            components::seen(&mut tx, agent, version, host.clock.now()).await?;
            tx.commit().await?;
            Ok(())
        };
        let seen: Result<()> = seen.await;
        if let Err(error) = seen {
            tracing::warn!(%error, "cannot say that an upload is being looked at");
        }
    }
}
