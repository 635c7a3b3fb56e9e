//! The sandbox's limits: for the platform, and for single agents.

use crate::{
    api::{
        caller::Operator,
        input::{self, Body},
    },
    error::Result,
    host::Host,
    policy::{Set, Shown},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/admin/limits", get(platform).put(set_platform))
        .route("/admin/agents/{agent}/limits", get(agent).put(set_agent))
}

async fn platform(State(host): State<Host>, _: Operator) -> Result<Json<Value>> {
    let mut tx = host.db.look().await?;
    Ok(shown(&host.policy.platform(&mut tx).await?, "default"))
}

async fn set_platform(
    State(host): State<Host>,
    Operator(caller): Operator,
    Body(Changes(changes)): Body<Changes>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let set = host.policy.set_platform(&mut tx, &host.clock, caller.user_id, &changes).await?;
    tx.commit().await?;
    Ok(shown(&set, "default"))
}

async fn agent(
    State(host): State<Host>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "agent")?;
    let mut tx = host.db.read().await?;
    Ok(shown(&host.policy.agent(&mut tx, id).await?, "agent"))
}

async fn set_agent(
    State(host): State<Host>,
    Operator(caller): Operator,
    Path(id): Path<String>,
    Body(Changes(changes)): Body<Changes>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "agent")?;
    let mut tx = host.db.write().await?;
    let set = host.policy.set_agent(&mut tx, &host.clock, caller.user_id, id, &changes).await?;
    tx.commit().await?;
    Ok(shown(&set, "agent"))
}

/// What the layer sets, null for what it does not; what is in force; and for each
/// limit whether it is the layer's own.
fn shown(shown: &Shown, layer: &str) -> Json<Value> {
    let effective = json!(shown.effective);
    let limits = effective.as_object().into_iter().flatten();
    let (mut all, mut from) = (Set::new(), Set::new());
    for (limit, _) in limits {
        let own = shown.set.get(limit);
        all.insert(limit.clone(), own.cloned().unwrap_or_default());
        from.insert(limit.clone(), json!(if own.is_some() { layer } else { "default" }));
    }
    all.insert("effective".into(), effective);
    all.insert("from".into(), json!(from));
    Json(json!(all))
}

/// Any fields, each once. Which of them there are, the policy knows.
struct Changes(Set);

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Changes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Changes, A::Error> {
                let mut set = Set::new();
                while let Some((name, value)) = fields.next_entry::<String, Value>()? {
                    if set.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    set.insert(name, value);
                }
                Ok(Changes(set))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
