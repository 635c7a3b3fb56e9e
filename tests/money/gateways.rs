//! What any payment provider keeps to: the built-in one and Stripe, by the same list.

use crate::harness::{run, stripe::Stripe as Server};
use aiybiz_host::{
    clock::Clock,
    id::{BuilderId, CompanyId, PlanId, RefundId, SubscriptionId, TopupId, TransferId},
    payments::{
        Failure, Gateway, NewPayment, NewPrice, NewRefund, NewSubscription, NewTransfer, Stripe,
        Subscribed, TestGateway,
    },
};
use std::time::Duration;

/// A payment that is paid, however this one is.
trait Pays: AsyncFn(&str) {}
impl<T: AsyncFn(&str)> Pays for T {}

async fn keeps_to_it(gateway: &dyn Gateway, clock: &Clock, pays: impl Pays) {
    let company: CompanyId = clock.id();
    // Asked again under the same key, it is the same payment; under another, another.
    let new = |cents| NewPayment { topup: clock.id::<TopupId>(), company, cents };
    let first = new(2_000);
    let paid = gateway.pay("pay-1", first).await.expect("it begins").value;
    assert_eq!(gateway.pay("pay-1", first).await.expect("it begins").value, paid);
    assert_ne!(gateway.pay("pay-2", new(2_000)).await.expect("it begins").value.id, paid.id);
    assert!(!paid.client_secret.is_empty());
    pays(&paid.client_secret).await;
    // A builder, and where she says who she is.
    let builder: BuilderId = clock.id();
    let account = gateway.account("account-1", builder, "bea@example.com").await;
    let account = account.expect("an account").value;
    let again = gateway.account("account-1", builder, "bea@example.com").await;
    assert_eq!(again.expect("an account").value, account);
    let link = gateway.onboarding(&account, builder, "https://example.com/back").await;
    assert!(link.expect("a link").value.starts_with("https://"));
    // Money to her, once.
    let transfer: TransferId = clock.id();
    let new = NewTransfer { transfer, account: &account, cents: 90, charge: None, group: "s1" };
    let sent = gateway.transfer("xfer-1", new.clone()).await.expect("it is sent").value;
    assert_eq!(gateway.transfer("xfer-1", new).await.expect("it is sent").value, sent);
    let found = gateway.find_transfer("s1", transfer).await.expect("an answer");
    assert!(found.is_none_or(|found| found == sent), "it is that one");
    let other = gateway.find_transfer("s1", clock.id()).await.expect("an answer");
    assert_eq!(other, None);
    // And back to the client.
    let refund: RefundId = clock.id();
    let new = NewRefund { refund, intent: &paid.id, cents: 500 };
    let back = gateway.refund("refund-1", new.clone()).await.expect("it is paid back").value;
    let again = gateway.refund("refund-1", new).await.expect("it is paid back").value;
    assert_eq!((&again.id, again.amount), (&back.id, 500));
    assert_eq!((back.metadata.refund, back.status.as_deref()), (Some(refund), Some("succeeded")));
    seats(gateway, clock, company).await;
    let page = gateway.events(clock.now() - Duration::from_mins(5), None).await;
    assert!(page.expect("a page").rows.iter().all(|told| told.id.starts_with("evt_")));
    gateway.books(clock.now() - Duration::from_mins(5), None).await.expect("a page");
}

async fn seats(gateway: &dyn Gateway, clock: &Clock, company: CompanyId) {
    let new =
        NewPrice { plan: clock.id::<PlanId>(), name: "Team", interval: "month", cents: 4_900 };
    let price = gateway.price("price-1", new).await.expect("a price").value;
    assert_eq!(gateway.price("price-1", new).await.expect("a price").value, price);
    let customer = gateway.customer("customer-1", company, "Cleo", "cleo@example.com").await;
    let customer = customer.expect("a customer").value;
    let portal = gateway.portal(&customer, "https://example.com/back").await.expect("a link");
    assert!(portal.value.starts_with("https://"));
    let subscription: SubscriptionId = clock.id();
    let new = NewSubscription {
        subscription,
        company,
        customer: &customer,
        price: &price,
        interval: "month",
        seats: 3,
    };
    let begun = gateway.subscribe("sub-1", new.clone()).await.expect("it begins").value.state;
    let again = gateway.subscribe("sub-1", new).await.expect("it begins").value.state;
    assert_eq!((&again.id, begun.seats()), (&begun.id, Some(3)));
    assert_eq!(begun.metadata.subscription, Some(subscription));
    assert!(begun.period_end().is_some_and(|end| end > clock.now()));
    let mut is = Subscribed {
        subscription,
        company,
        id: &begun.id,
        item: begun.item(),
        price: &price,
        interval: "month",
        seats: 5,
        period_end: begun.period_end(),
        cancel_at_period_end: false,
    };
    let changed = gateway.change("change-1", is.clone()).await.expect("it changes").value;
    assert_eq!((changed.seats(), changed.cancel_at_period_end), (Some(5), false));
    let item = changed.item().map(str::to_owned);
    (is.item, is.cancel_at_period_end) = (item.as_deref(), true);
    let ending = gateway.change("change-2", is.clone()).await.expect("it changes").value;
    assert!(ending.cancel_at_period_end);
    let known = gateway.subscription(is.clone()).await.expect("it is known").value;
    assert_eq!((known.id.as_str(), known.seats()), (is.id, Some(5)));
    let ended = gateway.cancel("cancel-1", is).await.expect("it ends").value;
    assert_eq!(ended.status, "canceled");
}

#[test]
fn the_built_in_one() {
    run(async {
        let clock = Clock::default();
        keeps_to_it(&TestGateway::new(clock.clone()), &clock, async |_| {}).await;
    });
}

#[test]
fn stripe() {
    run(async {
        let server = Server::start().await;
        let stripe = Stripe::open("sk_test_x", Some(&server.url)).expect("a client");
        let pays = async |secret: &str| server.pays(secret, "pm_card_visa").await;
        keeps_to_it(&stripe, &Clock::default(), pays).await;
        for asked in server.requests().await {
            assert_eq!(asked["status"], 200, "{asked}");
        }
    });
}

/// What is refused was not done; what was not answered may have been.
#[test]
fn what_stripe_does_not_do_is_told_from_what_it_may_have_done() {
    run(async {
        let server = Server::start().await;
        let stripe = Stripe::open("sk_test_x", Some(&server.url)).expect("a client");
        let clock = Clock::default();
        let account = stripe.account("a", clock.id(), "bea@example.com").await;
        let account = account.expect("an account").value;
        let send = async |key: &str| {
            let transfer = clock.id::<TransferId>();
            let account = account.as_str();
            let new = NewTransfer { transfer, account, cents: 90, charge: None, group: "g" };
            stripe.transfer(key, new).await.map(|done| done.value)
        };
        for (mode, refused) in [("insufficient", true), ("500", false), ("drop-after", false)] {
            server.fails("/v1/transfers", mode, 1).await;
            let failed = send(mode).await.expect_err("it fails");
            assert_eq!(matches!(failed, Failure::Refused { .. }), refused, "{mode}: {failed}");
        }
        let Err(Failure::Refused { code, .. }) = stripe
            .refund("r", NewRefund { refund: clock.id(), intent: "pi_unknown", cents: 1 })
            .await
        else {
            panic!("nobody paid that");
        };
        assert_eq!(code, "resource_missing");
        let nobody = Stripe::open("sk_test_x", Some("http://127.0.0.1:9")).expect("a client");
        let asked = nobody.portal("cus_x", "https://example.com").await;
        assert!(matches!(asked, Err(Failure::Unknown(_))), "{asked:?}");
    });
}
