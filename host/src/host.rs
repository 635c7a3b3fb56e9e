//! Everything a running platform consists of, in one cheap handle. Only the top
//! layers see it whole; below them, functions are given what they use.

use crate::{
    accounts::Passwords,
    bus::{self, Breaks, Bus, Inboxes, Streams, Tails},
    clock::Clock,
    config::Config,
    delivery::{queue::Queues, socket::Sockets, window::Windows},
    files::doomed,
    id::SessionId,
    metrics::Metrics,
    net::{self, Guard, Out, Post},
    objects::{Begun, Objects},
    pace::{Pace, PerMinute},
    payments::{self, Gateway},
    policy::Policy,
    sandbox::{self, Sandbox},
    seal::Key,
    sessions::lane::{Lease, NodeKey},
    storage::{Db, skew},
    timestamp::Timestamp,
};
use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// For what the platform's key makes agents' tokens, and how they begin.
const AGENT_TOKEN: &str = "agent token";
const AGENT_TOKEN_PREFIX: &str = "aat_";

/// How long a mail server may take over one mail.
const SMTP: Duration = Duration::from_mins(1);

pub type Smtp = AsyncSmtpTransport<Tokio1Executor>;

#[derive(Clone)]
pub struct Host {
    pub db: Db,
    pub objects: Objects,
    pub clock: Clock,
    pub guard: Guard,
    /// For webhooks.
    pub post: Post,
    /// Events on their way to webhooks, and how the last ones fared.
    pub queues: Queues,
    pub windows: Arc<Windows>,
    /// For components.
    pub out: Out,
    pub policy: Arc<Policy>,
    pub sandbox: Arc<Sandbox>,
    pub bus: Bus,
    pub tails: Tails,
    pub breaks: Breaks,
    /// Of events, open at this process.
    pub streams: Streams,
    pub metrics: Metrics,
    pub pace: Arc<Pace>,
    pub inboxes: Inboxes,
    /// Of agents that are connected to this process.
    pub sockets: Sockets,
    pub key: Key,
    pub passwords: Passwords,
    pub config: Arc<Config>,
    pub node: NodeKey,
    /// Held for as long as this process lives: the data folder is its own.
    pub folder: Arc<File>,
    /// Work that must end before the process does.
    pub tasks: TaskTracker,
    /// Lanes that this process drives.
    pub lanes: TaskTracker,
    /// Says "send nobody here any more": about to stop.
    pub leaving: CancellationToken,
    /// Says "begin nothing new".
    pub stopping: CancellationToken,
    /// Since when this process has looked for what is due without a break.
    pub attentive: Arc<Mutex<Timestamp>>,
    /// Something may be due.
    pub due: Arc<Notify>,
    pub payments: Arc<dyn Gateway>,
    /// The payment provider has told something.
    pub told: Arc<Notify>,
    /// Money is to be sent.
    pub owed: Arc<Notify>,
    /// Something is to be mailed.
    pub posted: Arc<Notify>,
    /// None: there is no mail server.
    pub smtp: Option<Smtp>,
    /// With which an operator's scheduler is let in.
    pub internal: Arc<str>,
    /// Components that say very much pass here one by one.
    pub torrent: Arc<Semaphore>,
}

impl Host {
    /// Opens all there is. `worker` is the program that compiles uploads.
    pub async fn open(config: Config, clock: Clock, worker: PathBuf) -> Result<Self> {
        net::choose_cryptography();
        std::fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("data folder {}", config.data_dir.display()))?;
        let (node, folder) = own(&config.data_dir, &clock)?;
        let key = config.key(&clock)?;
        let (secret, base) = (&config.money.stripe_secret_key, &config.money.stripe_api_base);
        let payments = payments::open(secret.as_deref(), base.as_deref(), &clock)?;
        let internal = config.internal(clock.random())?.into();
        let db = Db::open(&config.database_url).await.context("database")?;
        if let Some(skew) = db.skew(&clock).await?.filter(|skew| *skew > skew::MOST) {
            bail!("this machine's clock and the database's differ by {skew:?}; set them right");
        }
        let policy = Policy::new(config.limits.clone(), config.pool);
        policy.check(&mut db.read().await?).await?;
        let objects = Objects::open(&config.storage()?).context("object store")?;
        let objects = objects.noting(noted(&db, &clock));
        let sandbox = Sandbox::open(sandbox::Config {
            pool: config.pool,
            limits: config.limits.clone(),
            folder: config.data_dir.join("components"),
            artifact_bytes: sandbox::ARTIFACTS,
            key: key.clone(),
            worker,
            threads: config.guest_threads,
        });
        let mut guard = Guard::new(config.webhook_allow.clone());
        if let Some(server) = config.dns_server {
            guard = guard.asking(server)?;
        }
        let smtp = config.mail.server()?.map(|server| server.timeout(Some(SMTP)).build());
        let (bus, hints) = Bus::new();
        let now = clock.now();
        let host = Self {
            db,
            objects,
            policy: Arc::new(policy),
            clock,
            post: Post::new(&guard)?,
            queues: Queues::default(),
            windows: Arc::default(),
            out: Out::new(&guard)?,
            guard,
            sandbox: Arc::new(sandbox.context("sandbox")?),
            bus,
            tails: Tails::default(),
            breaks: Breaks::default(),
            streams: Streams::default(),
            metrics: Metrics::default(),
            pace: Arc::new(Pace::new(per_minute(&config))),
            inboxes: Inboxes::default(),
            sockets: Sockets::default(),
            key,
            passwords: Passwords::new()?,
            config: Arc::new(config),
            node,
            folder: Arc::new(folder),
            tasks: TaskTracker::new(),
            lanes: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
            attentive: Arc::new(Mutex::new(now)),
            due: Arc::default(),
            payments,
            told: Arc::default(),
            owed: Arc::default(),
            posted: Arc::default(),
            smtp,
            internal,
            torrent: Arc::new(Semaphore::new(1)),
        };
        let telling = bus::across_processes(host.bus.clone(), host.db.clone(), hints);
        let stopping = host.stopping.clone();
        host.tasks.spawn(async move {
            tokio::select! { () = telling => {}, () = stopping.cancelled() => {} }
        });
        Ok(host)
    }

    /// What people reach this platform by, in links that are mailed to them.
    pub fn public_url(&self) -> String {
        let listen = self.config.listen;
        self.config.money.public_url.clone().unwrap_or_else(|| format!("http://{listen}"))
    }

    /// Do browsers come by https?
    pub fn is_encrypted(&self) -> bool {
        self.config.money.public_url.as_deref().is_some_and(|url| url.starts_with("https:"))
    }

    /// A claim on a lane, about to be made.
    pub fn lease(&self) -> Lease {
        Lease::new(&self.clock, self.node)
    }

    /// The token by which a session's agent is known. It is derived from the
    /// platform's key, so it need not be stored anywhere.
    pub fn agent_token(&self, session: SessionId) -> String {
        let tag = self.key.tag(AGENT_TOKEN, &[session.0.as_bytes()]);
        format!("{AGENT_TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
    }

    /// Is it that session's token, be it of a key before?
    pub fn is_agent_token(&self, session: SessionId, token: &str) -> bool {
        let tag = token.strip_prefix(AGENT_TOKEN_PREFIX);
        let tag = tag.and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
        tag.is_some_and(|tag| self.key.made(&tag, AGENT_TOKEN, &[session.0.as_bytes()]))
    }
}

fn per_minute(config: &Config) -> PerMinute {
    PerMinute {
        agent_calls: config.agent_calls_per_minute,
        messages: config.web.messages_per_minute,
        sign_ups: config.web.sign_ups_per_minute,
        sign_ins: config.web.sign_ins_per_minute,
        sign_ins_per_address: config.web.sign_ins_per_address_per_minute,
    }
}

/// Writes down what is begun in parts, so that it can be given up after a crash.
fn noted(db: &Db, clock: &Clock) -> Begun {
    let (db, clock) = (db.clone(), clock.clone());
    Arc::new(move |key, multipart| {
        let (db, clock) = (db.clone(), clock.clone());
        Box::pin(async move {
            let mut tx = db.write().await?;
            doomed::begun(&mut tx, &clock, &key, &multipart).await?;
            Ok(tx.commit().await?)
        })
    })
}

/// Takes the data folder for this process alone, and reads (the first time: makes)
/// the name under which it drives lanes.
fn own(folder: &Path, clock: &Clock) -> Result<(NodeKey, File)> {
    let path = folder.join("node");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
    let mut file = options.open(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        bail!("another aiybiz serves from the data folder {}", folder.display());
    }
    let mut key = [0; 8];
    if file.metadata()?.len() == 8 {
        file.read_exact(&mut key)?;
    } else {
        key = clock.random();
        file.write_all(&key)?;
        file.sync_all()?;
    }
    Ok((NodeKey(key), file))
}
