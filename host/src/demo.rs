//! `aiybiz demo`: the whole platform with one command, as a user would use it.
//!
//! Everything goes through the real HTTP API on a real socket; the webhook agent is
//! a small server in this process. The only thing done behind the API's back is
//! putting a file into the client's library.

mod client;
mod script;
mod webhook;

use crate::{
    clock::Clock,
    config::{Config, Flags},
    host::Host,
    sandbox, serve,
};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// The password of every seeded account.
const PASSWORD: &str = "demo-password";

/// What the demo changes of the defaults: a folder of its own, and webhooks may
/// reach this machine.
pub fn defaults(mut flags: Flags) -> Flags {
    flags.data_dir.get_or_insert_with(|| PathBuf::from("data/demo"));
    flags.webhook_allow.get_or_insert_with(|| {
        vec![ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8))]
    });
    flags
}

pub async fn run(config: Config, once: bool) -> Result<()> {
    if config.money.stripe_secret_key.is_some() {
        bail!("the demo pays with the built-in test gateway: unset STRIPE_SECRET_KEY");
    }
    // Somebody may be running already: a demo takes any port rather than fail.
    let listener = match serve::listen(config.listen).await {
        Ok(listener) => listener,
        Err(_) => serve::listen(([127, 0, 0, 1], 0).into()).await?,
    };
    let url = format!("http://{}", listener.local_addr()?);
    let host = Host::open(config, Clock::default(), sandbox::this_program()).await?;
    let stopping = host.stopping.clone();
    let stop = async move {
        tokio::select! { () = serve::signal() => {}, () = stopping.cancelled() => {} }
    };
    let serving = tokio::spawn(serve::until(host.clone(), listener, stop));
    let played = script::play(&host, &url).await;
    if once || played.is_err() {
        host.stopping.cancel();
    } else {
        script::farewell(&url);
    }
    serving.await??;
    played
}
