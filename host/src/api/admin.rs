//! What operators do: a table of contents.

mod agents;
mod audit;
mod limits;
mod mails;
mod money;
mod people;
mod sandbox;
mod sessions;

use crate::host::Host;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .merge(agents::routes())
        .merge(limits::routes())
        .merge(people::routes())
        .merge(mails::routes())
        .merge(audit::routes())
        .merge(money::routes())
        .merge(sandbox::routes())
        .merge(sessions::routes())
}
