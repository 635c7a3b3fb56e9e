//! Lists: `?limit=1..200&cursor=` → `{data, nextCursor}`, newest first.

use crate::error::{Error, Result};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

pub(super) const DEFAULT: i64 = 50;
pub(super) const MOST: i64 = 200;

/// The two parameters of every list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<String>,
    cursor: Option<String>,
}

impl Page {
    pub(super) fn new(limit: Option<String>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    pub(super) fn limit(&self) -> Result<i64> {
        let Some(text) = &self.limit else { return Ok(DEFAULT) };
        let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| Error::field("limit", format!("must be 1 to {MOST}")))
    }

    /// The cursor, which is the name of the last thing on the page before.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>> {
        let cursor = self.cursor.as_deref().map(str::parse).transpose();
        cursor.map_err(|_| Error::field("cursor", "is not one that this list gave"))
    }
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<T> {
    data: Vec<T>,
    /// Asks for the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// `rows` may hold one more than the limit, as a sign that there is a next page.
pub(super) fn answer<T>(
    mut rows: Vec<T>,
    limit: i64,
    cursor: impl Fn(&T) -> String,
    show: impl Fn(&T) -> Value,
) -> Json<Value> {
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    of(&rows, more, cursor, show)
}

/// A page, and whether there is another one.
pub(super) fn of<T>(
    rows: &[T],
    more: bool,
    cursor: impl Fn(&T) -> String,
    show: impl Fn(&T) -> Value,
) -> Json<Value> {
    let next_cursor = rows.last().filter(|_| more).map(cursor);
    let data = rows.iter().map(show).collect();
    Json(json!(Listed::<Value> { data, next_cursor }))
}
