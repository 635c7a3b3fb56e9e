//! What operators do: a table of contents.

mod audit;

use crate::host::Host;
use axum::Router;

pub(super) fn routes() -> Router<Host> {
    audit::routes()
}
