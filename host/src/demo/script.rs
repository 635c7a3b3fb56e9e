//! What the demo does, step by step, and how it tells of it.

use super::{
    PASSWORD,
    client::{Client, Events},
    webhook,
};
use crate::{
    files::{self, NewFile, NewNode},
    host::Host,
    id::{CompanyId, NodeId, SessionId},
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};

const ECHO: &[u8] = include_bytes!("../../../guest-examples/echo/echo.wasm");
const LIBRARIAN: &[u8] = include_bytes!("../../../guest-examples/librarian/librarian.wasm");

/// What the client shares with the librarian.
const BOOK: &str = "Call me Ishmael.\nSome years ago, never mind how long precisely,\nhaving little or no money in my purse\n";

pub(super) async fn play(host: &Host, url: &str) -> Result<()> {
    title("aiybiz demo");
    println!("  serving at {url}, data in {}", host.config.data_dir.display());
    println!("  no payment provider's key: payments are the built-in test gateway's\n");

    let builder = Client::enter(url, "builder@demo.test", "Bea Builder", PASSWORD).await?;
    let client = Client::enter(url, "client@demo.test", "Cleo Client", PASSWORD).await?;
    Client::enter(url, "operator@demo.test", "Odo Operator", PASSWORD).await?;
    let mut tx = host.db.write().await?;
    crate::accounts::grant_operator(&mut tx, &host.clock, "operator@demo.test").await?;
    tx.commit().await?;
    // It is there already when the demo has run before.
    let _ = builder.post("/builder", json!({ "displayName": "Bea's Agents" })).await;
    builder.post("/stripe/connect/onboard", json!({})).await?;
    top_up(host, &client).await?;

    title("A component, run in this process");
    let echo = component(&builder, "Echo", "🦜", "Says what you say.", ECHO).await?;
    let (session, mut events) = open(&client, &echo).await?;
    say(&client, &session, "Hello, sandbox!").await?;
    hear(&mut events).await?;
    receipts(&builder, &echo, &session).await?;
    end(&client, &session, &mut events).await?;

    title("A component that uses all it is given");
    let about = "Reads what you share, counts it, and writes a report.";
    let librarian = component(&builder, "Librarian", "📚", about, LIBRARIAN).await?;
    let (session, mut events) = open(&client, &librarian).await?;
    share(host, &client, &session).await?;
    say(&client, &session, "What do you have there?").await?;
    hear(&mut events).await?;
    receipts(&builder, &librarian, &session).await?;
    end(&client, &session, &mut events).await?;

    title("A webhook, on a server of the builder's");
    let counter = hook(&builder, url).await?;
    let (session, mut events) = open(&client, &counter).await?;
    say(&client, &session, "Hello, webhook!").await?;
    hear(&mut events).await?;
    end(&client, &session, &mut events).await
}

pub(super) fn farewell(url: &str) {
    title("It goes on running");
    println!("  {url}   (Ctrl-C stops it)");
    for who in ["operator", "builder", "client"] {
        println!("  {who:<9} {who}@demo.test   {PASSWORD}");
    }
    println!("\n  Try:  curl {url}/healthz");
    println!("        README.md has a walk through the API with curl.");
}

/// Creates the agent, uploads its component and publishes it.
async fn component(
    builder: &Client,
    name: &str,
    emoji: &str,
    about: &str,
    wasm: &'static [u8],
) -> Result<String> {
    let agent = template(
        builder,
        json!({
            "name": name, "logoEmoji": emoji, "description": about, "delivery": "component",
            "priceCentsPerHour": 1000,
        }),
    );
    let agent = agent.await?;
    let version = builder.upload(&format!("/builder/agents/{agent}/components"), wasm).await?;
    step(
        "upload",
        &format!(
            "{name}: {} KB, {} imports, compiled in {} ms to {} KB",
            wasm.len() / 1024,
            version["imports"].as_array().map_or(0, Vec::len),
            version["compile"]["ms"],
            version["compile"]["codeBytes"].as_u64().unwrap_or(0) / 1024,
        ),
    );
    let number = &version["version"];
    let activate = format!("/builder/agents/{agent}/components/{number}/activate");
    builder.post(&activate, json!({})).await?;
    builder.post(&format!("/builder/agents/{agent}/publish"), json!({})).await?;
    step("publish", &format!("{name}, version {number}"));
    Ok(agent)
}

/// Starts the builder's server, creates the agent behind it and publishes it.
async fn hook(builder: &Client, url: &str) -> Result<String> {
    let (address, secret) = webhook::start(url).await?;
    let made = builder.post(
        "/builder/agents",
        json!({
            "name": "Counter", "logoEmoji": "🔢", "description": "Counts your characters.",
            "delivery": "webhook", "webhookUrl": address, "priceCentsPerHour": 1000,
        }),
    );
    let made = made.await?;
    let given = made["signingSecret"].as_str().context("no signing secret")?;
    let _ = secret.set(given.to_owned());
    let agent = made["id"].as_str().context("no id")?.to_owned();
    builder.post(&format!("/builder/agents/{agent}/publish"), json!({})).await?;
    step("publish", &format!("Counter, at {address}, requests signed"));
    Ok(agent)
}

async fn template(builder: &Client, fields: Value) -> Result<String> {
    let mine = builder.get("/builder/agents?limit=200").await?;
    let mut mine = mine["data"].as_array().into_iter().flatten();
    let made = match mine.find(|agent| agent["name"] == fields["name"]) {
        Some(agent) => agent.clone(),
        None => builder.post("/builder/agents", fields).await?,
    };
    Ok(made["id"].as_str().context("no id")?.to_owned())
}

/// Pays in through the test gateway, unless there is enough for both conversations.
async fn top_up(host: &Host, client: &Client) -> Result<()> {
    let has = async || -> Result<i64> {
        Ok(client.get("/wallet").await?["availableCents"].as_i64().unwrap_or(0))
    };
    if has().await? < 2_000 {
        let name = format!("demo-{}", host.clock.id::<uuid::Uuid>());
        client.pay_in(&name, 5_000).await?;
        while has().await? < 2_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    step("wallet", &format!("{} cents, by the built-in test gateway", has().await?));
    Ok(())
}

async fn open(client: &Client, agent: &str) -> Result<(String, Events)> {
    let session = client.post("/sessions", json!({ "agentId": agent })).await?;
    let id = session["id"].as_str().context("no id")?.to_owned();
    let mut events = client.stream(&id).await?;
    events.until("session", |_| ()).await?;
    step("session", &format!("with {}, active", session["agentName"].as_str().unwrap_or("")));
    Ok((id, events))
}

async fn say(client: &Client, session: &str, content: &str) -> Result<()> {
    client.post(&format!("/sessions/{session}/messages"), json!({ "content": content })).await?;
    step("client", content);
    Ok(())
}

/// Waits for the agent's message, counting the pieces it came in.
async fn hear(events: &mut Events) -> Result<()> {
    let mut pieces = 0;
    loop {
        let count = |event: &Value| pieces += usize::from(event["type"] == "message_delta");
        let message = events.until("message", count).await?;
        if message["role"] == "agent" {
            let content = message["content"].as_str().unwrap_or_default();
            for (n, line) in content.lines().enumerate() {
                step(if n == 0 { "agent" } else { "" }, line);
            }
            if pieces > 0 {
                step("", &format!("(streamed in {pieces} pieces)"));
            }
            return Ok(());
        }
    }
}

/// Prints what each event of the session cost.
async fn receipts(builder: &Client, agent: &str, session: &str) -> Result<()> {
    // The receipt is written a moment after the reply.
    let path = format!("/builder/agents/{agent}/invocations?sessionId={session}");
    let mut found = builder.get(&path).await?;
    for _ in 0..50 {
        if found["data"].as_array().is_some_and(|all| all.len() >= 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        found = builder.get(&path).await?;
    }
    for receipt in found["data"].as_array().into_iter().flatten().rev() {
        let calls = receipt["hostCalls"].as_object().into_iter().flat_map(|calls| calls.values());
        step(
            "receipt",
            &format!(
                "{}: {} µs CPU, {} µs in all, {} KiB memory, {} host calls, {}% of memory left",
                receipt["outcome"].as_str().unwrap_or(""),
                receipt["cpuMicros"],
                receipt["wallMicros"],
                receipt["peakMemoryBytes"].as_u64().unwrap_or(0) / 1024,
                calls.filter_map(Value::as_u64).sum::<u64>(),
                receipt["headroom"]["memoryBytes"],
            ),
        );
    }
    Ok(())
}

async fn end(client: &Client, session: &str, events: &mut Events) -> Result<()> {
    client.post(&format!("/sessions/{session}/end"), json!({})).await?;
    let ended = events.until("session_ended", |_| ()).await?;
    step(
        "ended",
        &format!(
            "by the {}, billed {} cents\n",
            ended["reason"].as_str().unwrap_or(""),
            ended["billedCents"]
        ),
    );
    Ok(())
}

/// Puts a file into the client's library, shares it with the session, and makes
/// the folder the agent may write into.
async fn share(host: &Host, client: &Client, session: &str) -> Result<()> {
    let me = client.get("/me").await?;
    let company: CompanyId = me["company"]["id"].as_str().context("no company")?.parse()?;
    let session: SessionId = session.parse()?;
    let id: NodeId = host.clock.id();
    let storage_path = files::storage_path(company, id);
    host.objects.put(&storage_path, BOOK.into()).await?;
    let mime_type = Some("text/plain".into());
    let file = Some(NewFile { storage_path, mime_type, size: BOOK.len() as u64 });
    let name = format!("moby-dick-{}.txt", &id.to_string()[..13]);
    let mut tx = host.db.write().await?;
    let new = NewNode { id, company, parent: None, name: &name, tag: None, file };
    files::insert(&mut tx, &host.clock, new).await?;
    files::grant(&mut tx, &host.clock, session, id).await?;
    let folder = format!("Agent folder {session}");
    files::agent_folder(&mut tx, &host.clock, company, session, &folder).await?;
    tx.commit().await?;
    step("share", &format!("{name} ({} bytes), and a folder to write into", BOOK.len()));
    Ok(())
}

fn title(text: &str) {
    if std::io::stdout().is_terminal() {
        println!("\x1b[1m{text}\x1b[0m");
    } else {
        println!("{text}");
    }
}

fn step(what: &str, text: &str) {
    println!("  {what:>8}  {text}");
    let _ = std::io::stdout().flush();
}
