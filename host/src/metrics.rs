//! What can be counted of a process, as Prometheus reads it. Each process counts its own;
//! names and units follow Prometheus' conventions.

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Seconds: from a look into memory to a component that waits for a site.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];

/// The kind of text that [`Metrics::write`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    /// As it is written down here, never as it was called: there are not many.
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    delivery: String,
    outcome: &'static str,
}

/// What is looked up when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Events that wait for their agent, or are on their way, in all processes.
    pub events_waiting: i64,
    /// How long the oldest of them has waited.
    pub oldest_event: Duration,
    pub sessions_running: i64,
    pub mails_due: i64,
    pub transfers_due: i64,
    /// Postings of the last minute.
    pub postings: i64,
    pub streams: i64,
    pub guests_running: i64,
    pub guests_waiting: i64,
    pub instances: i64,
    pub slots: i64,
    pub warm_bytes: i64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    events: Family<Delivery, Counter>,
    standing: Arc<Mutex<Gauges>>,
    registry: Arc<Registry>,
}

#[derive(Default)]
struct Gauges {
    events_waiting: Gauge,
    oldest_event: Gauge,
    sessions_running: Gauge,
    mails_due: Gauge,
    transfers_due: Gauge,
    postings: Gauge,
    streams: Gauge,
    guests_running: Gauge,
    guests_waiting: Gauge,
    instances: Gauge,
    slots: Gauge,
    warm_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("aiybiz");
        let requests = Family::<Request, Counter>::default();
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        let events = Family::<Delivery, Counter>::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let unit = Unit::Seconds;
        let help = "From a request's head to the head of its answer";
        registry.register_with_unit("http_request_duration", help, unit, seconds.clone());
        registry.register("events", "Events brought to agents, by how it went", events.clone());
        let gauges = Gauges::default();
        for (name, help, gauge) in gauges.all() {
            registry.register(name, help, gauge.clone());
        }
        Self {
            requests,
            seconds,
            events,
            standing: Arc::new(Mutex::new(gauges)),
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        self.seconds.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status: status.into() }).inc();
    }

    /// An event was brought to its agent, or not: `delivered`, `retried`, `failed`.
    pub fn event(&self, delivery: &str, outcome: &'static str) {
        self.events.get_or_create(&Delivery { delivery: delivery.to_owned(), outcome }).inc();
    }

    /// All there is, with how things stand at this moment.
    pub fn write(&self, now: &Standing) -> Result<String, std::fmt::Error> {
        // Two who ask at once are answered one after the other.
        let gauges = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.set(now);
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Gauges {
    fn all(&self) -> [(&'static str, &'static str, &Gauge); 12] {
        [
            (
                "events_waiting",
                "Events that wait or are on their way, everywhere",
                &self.events_waiting,
            ),
            ("oldest_event_seconds", "How long the oldest of them has waited", &self.oldest_event),
            ("sessions_running", "Sessions that are not over, everywhere", &self.sessions_running),
            ("mails_due", "Mails to be sent, everywhere", &self.mails_due),
            ("transfers_due", "Transfers to builders to be made, everywhere", &self.transfers_due),
            ("postings_last_minute", "Postings of the last minute, everywhere", &self.postings),
            ("streams_open", "Event streams open here", &self.streams),
            ("guests_running", "Events that components are at here", &self.guests_running),
            (
                "guests_waiting",
                "Events that wait for a component's turn here",
                &self.guests_waiting,
            ),
            ("sandbox_instances", "Instances of components here", &self.instances),
            ("sandbox_slots", "Places for them", &self.slots),
            (
                "warm_instance_bytes",
                "Memory of those that are kept between events",
                &self.warm_bytes,
            ),
        ]
    }

    fn set(&self, now: &Standing) {
        self.events_waiting.set(now.events_waiting);
        self.oldest_event.set(i64::try_from(now.oldest_event.as_secs()).unwrap_or(i64::MAX));
        self.sessions_running.set(now.sessions_running);
        self.mails_due.set(now.mails_due);
        self.transfers_due.set(now.transfers_due);
        self.postings.set(now.postings);
        self.streams.set(now.streams);
        self.guests_running.set(now.guests_running);
        self.guests_waiting.set(now.guests_waiting);
        self.instances.set(now.instances);
        self.slots.set(now.slots);
        self.warm_bytes.set(now.warm_bytes);
    }
}
