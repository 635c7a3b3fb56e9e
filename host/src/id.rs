//! Names of things. Each kind of thing has a kind of name, so that one cannot be
//! taken for the other. All are UUIDv7: they sort by the time they were made.

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize, sqlx::Type, utoipa::ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(uuid: uuid::Uuid) -> Self {
                Self(uuid)
            }
        }
    )*};
}

id! {
    /// A person who can sign in.
    UserId;
    /// A client: the company that rents agents and pays.
    CompanyId;
    /// A user's place in a company. It moves with him.
    MemberId;
    /// One device or program that a user has signed in with.
    SignInId;
    /// What a user's program shows instead of signing in.
    ApiKeyId;
    /// A link that was mailed to a user.
    LinkId;
    /// To become a member of a company.
    InvitationId;
    /// Something to be mailed.
    MailId;
    /// Whoever publishes agent templates.
    BuilderId;
    /// An agent template.
    AgentId;
    /// One rental: a conversation between a company and an agent.
    SessionId;
    /// An entry of a session's log. A message's id is its event's id.
    EventId;
    /// A file or a folder.
    NodeId;
    /// An account of the ledger.
    AccountId;
    /// Something that moved money.
    PostingId;
    /// A line of what a client is told of its wallet.
    TransactionId;
    /// What a client is told of what one session cost.
    InvoiceId;
    /// A payment into a wallet.
    TopupId;
    /// Money of a client that came by one charge.
    LotId;
    /// Money on its way to a builder.
    TransferId;
    /// Money on its way back to a client.
    RefundId;
    /// What a seat costs, and how many sessions it is good for.
    PlanId;
    /// A company's seats.
    SubscriptionId;
    /// A document or a secret that a client has handed to a session.
    ItemId;
    /// Something the platform has told a user.
    NotificationId;
    /// One run of a component for one event.
    InvocationId;
    /// One try of sending an event to a webhook.
    AttemptId;
    /// A span of time whose dead events are sent again.
    ReplayId;
    /// An agent's connection. A later one of a session has a larger id.
    SocketId;
    /// A version on trial.
    CanaryId;
    /// An entry of the record of what operators decided.
    AuditId;
    /// One worker's turn at driving a session's lane; a late worker's claim no
    /// longer matches, so it can neither reply nor finish.
    ClaimId;
}
