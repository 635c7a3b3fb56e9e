-- Money, in cents. An account says what the platform owes its owner; what the payment
-- provider owes the platform is below zero, so that all accounts together are nothing.

CREATE TABLE ledger_accounts (
    id      UUID   PRIMARY KEY,
    kind    TEXT   NOT NULL CHECK (kind IN
        ('wallet', 'hold', 'refunding', 'payable', 'in_flight', 'fees', 'provider', 'provider_fees',
         'disputed')),
    -- A company's or a builder's id; zeros for the platform itself.
    owner   UUID   NOT NULL,
    -- What its entries come to, and how many they are.
    balance BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    UNIQUE (kind, owner),
    -- Nobody spends what he has not.
    CHECK (balance >= 0 OR kind IN ('provider', 'provider_fees', 'disputed'))
);

-- Something that happened, once: its key is there once for ever.
CREATE TABLE ledger_postings (
    id         UUID        PRIMARY KEY,
    key        TEXT        NOT NULL UNIQUE,
    kind       TEXT        NOT NULL,
    session_id UUID        REFERENCES sessions (id),
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX ledger_postings_session ON ledger_postings (session_id);

-- What it moved, from one account to another: so it cannot be out of balance. Beside each
-- side, what that account had then, and the entry's number among that account's.
CREATE TABLE ledger_entries (
    posting_id   UUID   NOT NULL REFERENCES ledger_postings (id),
    place        BIGINT NOT NULL,
    from_account UUID   NOT NULL REFERENCES ledger_accounts (id),
    to_account   UUID   NOT NULL REFERENCES ledger_accounts (id),
    cents        BIGINT NOT NULL CHECK (cents > 0),
    from_balance BIGINT NOT NULL,
    to_balance   BIGINT NOT NULL,
    from_number  BIGINT NOT NULL,
    to_number    BIGINT NOT NULL,
    PRIMARY KEY (posting_id, place),
    UNIQUE (from_account, from_number),
    UNIQUE (to_account, to_number),
    CHECK (from_account <> to_account)
);
