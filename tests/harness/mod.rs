//! What the tests speak: a running platform on a database of its own, people who
//! use it, agents that answer, and the stream they hear each other on.
//!
//! [`both_engines!`] runs a test on SQLite and on PostgreSQL. The clock of a
//! [`Platform`] can be moved; nothing here sleeps to wait for something to be up.

#![expect(dead_code, reason = "every theme uses another part of it")]

pub mod azurite;
pub mod bucket;
pub mod clerk;
pub mod described;
pub mod events;
pub mod files;
pub mod guests;
pub mod memory;
pub mod moody;
pub mod node;
pub mod people;
pub mod postgres;
pub mod process;
pub mod receiver;
pub mod relay;
pub mod sdk;
pub mod smtp;
pub mod socket;
pub mod stream;
pub mod stripe;
pub mod tripwire;
pub mod tus;
pub mod voice;
pub mod webhook;

use aiybiz_host::{
    accounts,
    clock::Clock,
    config::{Config, Flags, web},
    host::Host,
    net::Out,
    sandbox::Limits,
    serve,
};
use std::{
    net::IpAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub use moody::Moody;
pub use people::Person;
pub use serde_json::{Value, json};
pub use stream::Events;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Makes of one test two: `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! both_engines {
    ($($(#[$attribute:meta])* async fn $name:ident($engine:ident: Engine) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn test($engine: Engine) $body

            $(#[$attribute])*
            #[test]
            fn sqlite() {
                $crate::harness::run(test(Engine::Sqlite));
            }

            $(#[$attribute])*
            #[test]
            fn postgres() {
                if $crate::harness::postgres::available() {
                    $crate::harness::run(test(Engine::Postgres));
                }
            }
        }
    )*};
}

/// Runs a test on a runtime of its own.
pub fn run(test: impl Future<Output = ()>) {
    aiybiz_host::net::choose_cryptography();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
    runtime.shutdown_background();
}

/// Waits until something is there.
pub async fn within<T>(most: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < most, "it does not come about within {most:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A place for one platform's data; gone when dropped.
pub struct Place {
    pub folder: TempDir,
    pub database_url: String,
}

impl Place {
    pub async fn new(engine: Engine) -> Self {
        let folder = tempfile::Builder::new().prefix("aiybiz-test-").tempdir().expect("a folder");
        let database_url = match engine {
            Engine::Sqlite => format!("sqlite:{}/test.db", folder.path().display()),
            Engine::Postgres => postgres::fresh_database().await,
        };
        Self { folder, database_url }
    }

    pub fn flags(&self) -> Flags {
        Flags {
            listen: Some(([127, 0, 0, 1], 0).into()),
            data_dir: Some(self.folder.path().join("data")),
            database_url: Some(self.database_url.clone()),
            webhook_allow: Some(vec!["127.0.0.0/8".parse().expect("a network")]),
            web: hasty(),
            ..Flags::default()
        }
    }
}

/// Tests come from one address, and do in a second what people do in an hour. The rates
/// themselves are tested with their defaults.
fn hasty() -> web::Given {
    let many = NonZeroU32::new(1_000_000);
    web::Given {
        sign_ups_per_minute: many,
        sign_ins_per_minute: many,
        sign_ins_per_address_per_minute: many,
        messages_per_minute: many,
        streams_per_company: Some(1_000_000),
        ..web::Given::default()
    }
}

/// The program under test, which is also its own compile worker.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_aiybiz").into()
}

/// A platform that runs in this process and serves on a real port.
pub struct Platform {
    pub url: String,
    pub host: Host,
    pub clock: Clock,
    place: Option<Place>,
}

impl Platform {
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| ()).await
    }

    /// With other limits than the defaults.
    pub async fn start_with(engine: Engine, change: impl FnOnce(&mut Limits)) -> Self {
        Self::configured(engine, |config| change(&mut config.limits)).await
    }

    /// With other settings than the defaults.
    pub async fn configured(engine: Engine, change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::new(engine).await;
        let mut config = Config::load(place.flags()).expect("sensible settings");
        change(&mut config);
        Self::open(place, config).await
    }

    /// With other limits, and names that lead where the test wants them to.
    pub async fn start_with_names(
        change: impl FnOnce(&mut Limits),
        names: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        let place = Place::new(Engine::Sqlite).await;
        let mut config = Config::load(place.flags()).expect("sensible settings");
        change(&mut config.limits);
        config.limits.check(&config.pool).expect("sensible limits");
        let prepare = |host: &mut Host| {
            host.out = Out::new(&host.guard.clone().with_names(names)).expect("a way out");
        };
        Self::open_at(place, config, Clock::default(), prepare).await
    }

    /// With a payment provider of the test's own.
    pub async fn start_with_provider(engine: Engine) -> (Self, Moody) {
        Self::provided(engine, |_| ()).await
    }

    /// Likewise, with other settings than the defaults.
    pub async fn provided(engine: Engine, change: impl FnOnce(&mut Config)) -> (Self, Moody) {
        let (place, clock) = (Place::new(engine).await, Clock::default());
        let mut config = Config::load(place.flags()).expect("sensible settings");
        change(&mut config);
        let moody = Moody::new(clock.clone());
        let payments = Arc::new(moody.clone());
        let prepare = |host: &mut Host| host.payments = payments;
        (Self::open_at(place, config, clock, prepare).await, moody)
    }

    pub fn place(&self) -> &Place {
        self.place.as_ref().expect("it is there while the platform runs")
    }

    /// Stops it, lets something happen to its place, and starts it again.
    pub async fn again(self, meanwhile: impl FnOnce()) -> Self {
        let config = Config::clone(&self.host.config);
        self.restarted(config, meanwhile).await
    }

    /// Starts it again with other settings.
    pub async fn again_with(self, config: Config) -> Self {
        self.restarted(config, || ()).await
    }

    async fn restarted(self, config: Config, meanwhile: impl FnOnce()) -> Self {
        let (host, clock) = (self.host.clone(), self.clock.clone());
        host.stopping.cancel();
        host.tasks.close();
        host.lanes.close();
        host.lanes.wait().await;
        host.tasks.wait().await;
        host.db.close().await;
        host.folder.unlock().expect("it was ours");
        let place = self.into_place();
        meanwhile();
        Self::open_at(place, config, clock, |_| ()).await
    }

    /// Another process's worth of platform on the same database and object store.
    pub async fn beside(&self) -> Self {
        let place = Place {
            folder: tempfile::tempdir().expect("a folder"),
            database_url: self.host.config.database_url.clone(),
        };
        let mut config = Config::clone(&self.host.config);
        config.secret_key = Some(self.host.config.secret([0; 32]).expect("a key"));
        config.data_dir = place.folder.path().to_owned();
        Self::open_at(place, config, self.clock.clone(), |_| ()).await
    }

    fn into_place(mut self) -> Place {
        self.place.take().expect("only taken here")
    }

    pub async fn open(place: Place, config: Config) -> Self {
        Self::open_at(place, config, Clock::default(), |_| ()).await
    }

    async fn open_at(
        place: Place,
        config: Config,
        clock: Clock,
        prepare: impl FnOnce(&mut Host),
    ) -> Self {
        let listener = serve::listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (url, config) = (format!("http://{address}"), Config { listen: address, ..config });
        let mut host = Host::open(config, clock.clone(), program()).await.expect("a host");
        prepare(&mut host);
        let stopping = host.stopping.clone();
        let served = serve::until(host.clone(), listener, stopping.cancelled_owned());
        tokio::spawn(async move { served.await.expect("it serves") });
        Self { url, host, clock, place: Some(place) }
    }

    /// Someone who has signed up, with a company of his own.
    pub async fn person(&self, name: &str) -> Person {
        Person::sign_up(&self.url, name).await
    }

    /// Someone who has also become a builder.
    pub async fn builder(&self, name: &str) -> Person {
        let person = self.person(name).await;
        person.becomes_builder(name).await;
        person
    }

    /// Someone who also runs the platform.
    pub async fn operator(&self, name: &str) -> Person {
        let person = self.person(name).await;
        let mut tx = self.host.db.write().await.expect("a transaction");
        let granted = accounts::grant_operator(&mut tx, &self.clock, &person.email).await;
        assert!(granted.expect("an answer"), "{name} has signed up");
        tx.commit().await.expect("it is kept");
        person
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.host.stopping.cancel();
    }
}
