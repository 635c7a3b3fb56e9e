//! The WIT world in Rust, generated from `wit/`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "agent",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "aiybiz:agent/session.reply-stream": super::imports::session::Writing,
        "aiybiz:agent/files.reader": super::imports::files::Reading,
        "aiybiz:agent/files.writer": super::imports::files::Drafting,
        "aiybiz:agent/secrets.secret": super::imports::vault::Secret,
    },
});
