//! A payment provider with moods: it refuses, it does what is asked and does not say so,
//! it does not hear. It remembers what it has done, so that a test can look.

use aiybiz_host::{
    id::{BuilderId, CompanyId, RefundId, TransferId},
    payments::{
        Answer, Begun, Done, Failure, Gateway, Line, NewPayment, NewPrice, NewRefund,
        NewSubscription, NewTransfer, Page, Payment, Subscribed, TestGateway, Told, wire,
    },
    timestamp::Timestamp,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

/// How the next thing is taken that moves money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    Does,
    /// Refuses, with this code.
    Refuses(&'static str),
    /// Does it, and the answer is lost.
    Swallows,
    /// Does not hear it.
    Sleeps,
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub id: String,
    pub transfer: TransferId,
    pub account: String,
    pub charge: Option<String>,
    pub group: String,
    pub cents: i64,
}

#[derive(Default)]
struct Books {
    moods: VecDeque<Mood>,
    /// By key: asked again, it is the same.
    sent: BTreeMap<String, Sent>,
    refunded: BTreeMap<String, (RefundId, i64)>,
    refund_status: Option<&'static str>,
    told: Vec<Told>,
    lines: Vec<Line>,
    /// Keys are forgotten, as Stripe does after a day.
    forgotten: BTreeMap<String, Sent>,
}

#[derive(Clone)]
pub struct Moody {
    calm: Arc<TestGateway>,
    books: Arc<Mutex<Books>>,
}

impl Moody {
    pub fn new(clock: aiybiz_host::clock::Clock) -> Self {
        Self { calm: Arc::new(TestGateway::new(clock)), books: Arc::default() }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect("nobody panicked")
    }

    /// The moods of the next ones; then it is calm.
    pub fn will(&self, moods: impl IntoIterator<Item = Mood>) {
        self.books().moods.extend(moods);
    }

    /// It is calm again.
    pub fn is_calm(&self) {
        self.books().moods.clear();
    }

    pub fn sent(&self) -> Vec<Sent> {
        let books = self.books();
        books.forgotten.values().chain(books.sent.values()).cloned().collect()
    }

    pub fn refunded(&self) -> Vec<i64> {
        self.books().refunded.values().map(|(_, cents)| *cents).collect()
    }

    /// What refunds are said to be: `pending`, `failed`.
    pub fn refunds_are(&self, status: &'static str) {
        self.books().refund_status = Some(status);
    }

    /// A day passes.
    pub fn forgets_keys(&self) {
        let mut books = self.books();
        let sent = std::mem::take(&mut books.sent);
        books.forgotten.extend(sent);
    }

    /// Told to whoever asks for all that was told.
    pub fn has_told(&self, told: Told) {
        self.books().told.push(told);
    }

    pub fn has_in_its_books(&self, line: Line) {
        self.books().lines.push(line);
    }
}

#[async_trait::async_trait]
impl Gateway for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    async fn customer(
        &self,
        key: &str,
        company: CompanyId,
        name: &str,
        mail: &str,
    ) -> Answer<String> {
        self.calm.customer(key, company, name, mail).await
    }

    async fn pay(&self, key: &str, new: NewPayment) -> Answer<Payment> {
        let mood = self.books().moods.pop_front().unwrap_or(Mood::Does);
        match mood {
            Mood::Does => self.calm.pay(key, new).await,
            Mood::Refuses(code) => Err(refused(code)),
            Mood::Swallows => {
                let done = self.calm.pay(key, new).await?;
                self.books().told.extend(done.told);
                Err(Failure::Unknown("the line broke".into()))
            }
            Mood::Sleeps => Err(Failure::Unknown("no answer".into())),
        }
    }

    async fn account(&self, key: &str, builder: BuilderId, mail: &str) -> Answer<String> {
        self.calm.account(key, builder, mail).await
    }

    async fn onboarding(&self, account: &str, builder: BuilderId, back: &str) -> Answer<String> {
        self.calm.onboarding(account, builder, back).await
    }

    async fn transfer(&self, key: &str, new: NewTransfer<'_>) -> Answer<String> {
        let mut books = self.books();
        let mood = books.moods.pop_front().unwrap_or(Mood::Does);
        match mood {
            Mood::Refuses(code) => return Err(refused(code)),
            Mood::Sleeps => return Err(Failure::Unknown("no answer".into())),
            Mood::Does | Mood::Swallows => {}
        }
        let id = format!("tr_{}", books.sent.len() + books.forgotten.len() + 1);
        let sent = Sent {
            id,
            transfer: new.transfer,
            account: new.account.to_owned(),
            charge: new.charge.map(str::to_owned),
            group: new.group.to_owned(),
            cents: new.cents,
        };
        let sent = books.sent.entry(key.to_owned()).or_insert(sent).clone();
        match mood {
            Mood::Swallows => Err(Failure::Unknown("the line broke".into())),
            _ => Ok(Done { value: sent.id, told: Vec::new() }),
        }
    }

    async fn find_transfer(&self, group: &str, id: TransferId) -> Result<Option<String>, Failure> {
        let found = self.sent().into_iter().find(|sent| sent.group == group && sent.transfer == id);
        Ok(found.map(|sent| sent.id))
    }

    async fn refund(&self, key: &str, new: NewRefund<'_>) -> Answer<wire::Refund> {
        let status = {
            let mut books = self.books();
            let mood = books.moods.pop_front().unwrap_or(Mood::Does);
            match mood {
                Mood::Refuses(code) => return Err(refused(code)),
                Mood::Sleeps => return Err(Failure::Unknown("no answer".into())),
                Mood::Does | Mood::Swallows => {}
            }
            books.refunded.insert(key.to_owned(), (new.refund, new.cents));
            if mood == Mood::Swallows {
                return Err(Failure::Unknown("the line broke".into()));
            }
            books.refund_status
        };
        let mut done = self.calm.refund(key, new).await?;
        done.value.status = status.map(str::to_owned).or(done.value.status);
        Ok(done)
    }

    async fn find_refund(&self, _: &str, id: RefundId) -> Result<Option<wire::Refund>, Failure> {
        let books = self.books();
        let found = books.refunded.iter().find(|(_, (refund, _))| *refund == id);
        Ok(found.map(|(key, (refund, cents))| {
            let made = serde_json::json!({
                "id": format!("re_test_{key}"), "amount": cents, "status": "succeeded",
                "metadata": { "refund": refund },
            });
            serde_json::from_value(made).expect("a refund")
        }))
    }

    async fn price(&self, key: &str, new: NewPrice<'_>) -> Answer<String> {
        self.calm.price(key, new).await
    }

    async fn subscribe(&self, key: &str, new: NewSubscription<'_>) -> Answer<Begun> {
        let mood = self.books().moods.pop_front().unwrap_or(Mood::Does);
        match mood {
            Mood::Refuses(code) => Err(refused(code)),
            Mood::Sleeps => Err(Failure::Unknown("no answer".into())),
            Mood::Does | Mood::Swallows => self.calm.subscribe(key, new).await,
        }
    }

    async fn change(&self, key: &str, to: Subscribed<'_>) -> Answer<wire::Subscription> {
        self.calm.change(key, to).await
    }

    async fn cancel(&self, key: &str, which: Subscribed<'_>) -> Answer<wire::Subscription> {
        self.calm.cancel(key, which).await
    }

    async fn subscription(&self, known: Subscribed<'_>) -> Answer<wire::Subscription> {
        self.calm.subscription(known).await
    }

    async fn portal(&self, customer: &str, back: &str) -> Answer<String> {
        self.calm.portal(customer, back).await
    }

    async fn events(&self, _: Timestamp, after: Option<&str>) -> Result<Page<Told>, Failure> {
        // One a page, so that pages are turned.
        let books = self.books();
        let from = after.map_or(0, |after| {
            books.told.iter().position(|told| told.id == after).map_or(0, |place| place + 1)
        });
        let rows: Vec<_> = books.told.iter().skip(from).take(1).cloned().collect();
        let next = rows.last().filter(|_| from + 1 < books.told.len()).map(|told| told.id.clone());
        Ok(Page { rows, next })
    }

    async fn books(&self, _: Timestamp, _: Option<&str>) -> Result<Page<Line>, Failure> {
        Ok(Page { rows: self.books().lines.clone(), next: None })
    }
}

fn refused(code: &str) -> Failure {
    Failure::Refused { code: code.to_owned(), message: "no".to_owned() }
}
