//! People: who is in a company, how they are invited, what they sign in with, and the
//! mails that all this needs, through a real mail server.

mod bounds;
mod invitations;
mod keys;
mod mail;
mod members;
mod passwords;
mod rates;
mod second_factor;
mod sign_ins;

use crate::harness::{
    Engine, Person, Platform, Value, json,
    people::{Answer, PASSWORD},
    smtp::Smtp,
};

/// A platform whose mail arrives.
pub async fn mailing(engine: Engine) -> (Platform, Smtp) {
    let smtp = Smtp::start().await;
    let platform = Platform::configured(engine, |config| smtp.serves(config)).await;
    (platform, smtp)
}

async fn invites(admin: &Person, email: &str) -> Answer {
    admin.post("/company/invitations", json!({ "email": email })).await
}

/// Follows an invitation as somebody who has not signed up.
async fn joins(url: &str, token: &str, name: &str) -> Answer {
    let body = json!({ "name": name, "password": PASSWORD });
    Person::nobody(url).post(&format!("/invitations/{token}/accept"), body).await
}

/// Invites somebody and lets him join; the new member.
pub async fn colleague(platform: &Platform, smtp: &mut Smtp, admin: &Person, name: &str) -> Person {
    let email = format!("{}-{}", name.to_lowercase(), admin.email);
    invites(admin, &email).await.created();
    let token = smtp.to(&email).await.token();
    let joined = joins(&platform.url, &token, name).await.created();
    let mut person = Person::nobody(&platform.url);
    person.token = joined["token"].as_str().expect("a token").to_owned();
    person.email = email;
    person
}

async fn logs_in(url: &str, body: Value) -> Answer {
    Person::nobody(url).post("/auth/login", body).await
}

fn data(list: Value) -> Vec<Value> {
    list["data"].as_array().expect("a list").clone()
}
