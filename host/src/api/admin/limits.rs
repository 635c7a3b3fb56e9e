//! The sandbox's limits: for the platform, and for single agents.

use crate::{
    api::{
        caller::Operator,
        etag::{Seen, Tagged, tagged},
        input::{self, Body},
    },
    error::Result,
    host::Host,
    policy::{Set, Shown},
    sandbox::Limits,
};
use axum::extract::{Path, State};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Value, json};
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, Schema, SchemaType, Type},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(platform, set_platform)).routes(routes!(agent, set_agent))
}

/// Shows the limits of the platform: what operators have set for all agents, and what is in
/// force with it.
#[utoipa::path(get, path = "/admin/limits", responses((status = 200, body = ShownLimits, headers(("ETag" = String)))))]
async fn platform(State(host): State<Host>, _: Operator) -> Result<Tagged<ShownLimits>> {
    let mut tx = host.db.look().await?;
    tagged(shown(host.policy.platform(&mut tx).await?, "default"))
}

/// Changes the limits of the platform. Only the fields that are given change; with null, what
/// the platform was started with is in force again. It takes effect on the next event. What
/// would make no sense, by itself or with what is set for an agent, is refused.
#[utoipa::path(
    put, path = "/admin/limits", request_body = LimitChanges,
    responses(
        (status = 200, body = ShownLimits, headers(("ETag" = String))),
        (status = 409, description = "agent_limits_conflict"),
        (status = 412, description = "changed_since"),
    ),
)]
async fn set_platform(
    State(host): State<Host>,
    Operator(caller): Operator,
    seen: Seen,
    Body(LimitChanges(changes)): Body<LimitChanges>,
) -> Result<Tagged<ShownLimits>> {
    let mut tx = host.db.write().await?;
    let old = host.policy.platform_to_change(&mut tx).await?;
    seen.check(&shown(old, "default"))?;
    let set = host.policy.set_platform(&mut tx, &host.clock, caller.user_id, &changes).await?;
    tx.commit().await?;
    tagged(shown(set, "default"))
}

/// Shows the limits of an agent: what operators have set for it alone, and what is in force.
#[utoipa::path(
    get, path = "/admin/agents/{agent}/limits",
    responses((status = 200, body = ShownLimits, headers(("ETag" = String)))),
)]
async fn agent(
    State(host): State<Host>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Tagged<ShownLimits>> {
    let id = input::id(&id, "agent")?;
    let mut tx = host.db.read().await?;
    tagged(shown(host.policy.agent(&mut tx, id).await?, "agent"))
}

/// Changes the limits of an agent. Only the fields that are given change; with null, what
/// holds for the platform is in force again. It takes effect on the next event.
/// `concurrentEventsTotal` is the platform's alone.
#[utoipa::path(
    put, path = "/admin/agents/{agent}/limits", request_body = LimitChanges,
    responses(
        (status = 200, body = ShownLimits, headers(("ETag" = String))),
        (status = 412, description = "changed_since"),
    ),
)]
async fn set_agent(
    State(host): State<Host>,
    Operator(caller): Operator,
    Path(id): Path<String>,
    seen: Seen,
    Body(LimitChanges(changes)): Body<LimitChanges>,
) -> Result<Tagged<ShownLimits>> {
    let id = input::id(&id, "agent")?;
    let mut tx = host.db.write().await?;
    let old = host.policy.agent_to_change(&mut tx, id).await?;
    seen.check(&shown(old, "agent"))?;
    let set = host.policy.set_agent(&mut tx, &host.clock, caller.user_id, id, &changes).await?;
    tx.commit().await?;
    tagged(shown(set, "agent"))
}

/// The limits of the platform or of one agent.
#[derive(Serialize, ToSchema)]
struct ShownLimits {
    #[serde(flatten)]
    own: OwnLimits,
    /// What is in force.
    effective: Limits,
    /// For each limit whose it is: `agent`, set for this one; `default`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    from: Set,
}

fn shown(shown: Shown, layer: &str) -> ShownLimits {
    let all = json!(shown.effective);
    let (mut set, mut from) = (Set::new(), Set::new());
    for (limit, _) in all.as_object().into_iter().flatten() {
        let own = shown.set.get(limit);
        set.insert(limit.clone(), own.cloned().unwrap_or_default());
        from.insert(limit.clone(), json!(if own.is_some() { layer } else { "default" }));
    }
    ShownLimits { own: OwnLimits(set), effective: shown.effective, from }
}

/// What a layer sets, null for what it does not.
#[derive(Serialize)]
struct OwnLimits(Set);

impl ToSchema for OwnLimits {
    fn name() -> Cow<'static, str> {
        "OwnLimits".into()
    }
}

impl PartialSchema for OwnLimits {
    fn schema() -> RefOr<Schema> {
        let mut all = each_or_null();
        all.description = Some("What is set here; null for what is not.".into());
        all.required = all.properties.keys().cloned().collect();
        // There are others beside them.
        all.additional_properties = None;
        RefOr::T(Schema::Object(all))
    }
}

/// All limits, of which none has to be there, and each may be null.
fn each_or_null() -> Object {
    let RefOr::T(Schema::Object(mut all)) = Limits::schema() else { return Object::new() };
    for limit in all.properties.values_mut() {
        match limit {
            RefOr::T(Schema::Object(number)) => {
                number.schema_type = SchemaType::Array(vec![Type::Integer, Type::Null]);
                number.default = None;
            }
            RefOr::T(Schema::Array(list)) => {
                list.schema_type = SchemaType::Array(vec![Type::Array, Type::Null]);
                list.default = None;
            }
            _ => {}
        }
    }
    all
}

/// Any fields, each once. Which of them there are, the policy knows.
struct LimitChanges(Set);

impl ToSchema for LimitChanges {
    fn name() -> Cow<'static, str> {
        "LimitChanges".into()
    }
}

impl PartialSchema for LimitChanges {
    fn schema() -> RefOr<Schema> {
        let mut all = each_or_null();
        all.description = Some("What changes; with null, it is no longer set here.".into());
        RefOr::T(Schema::Object(all))
    }
}

impl<'de> Deserialize<'de> for LimitChanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = LimitChanges;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<LimitChanges, A::Error> {
                let mut set = Set::new();
                while let Some((name, value)) = fields.next_entry::<String, Value>()? {
                    if set.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    set.insert(name, value);
                }
                Ok(LimitChanges(set))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
