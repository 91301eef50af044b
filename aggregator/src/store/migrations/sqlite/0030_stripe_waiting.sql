-- Changes of a subscription that wait at Stripe. Never edit this file once it was released: add the next number instead.

-- A JSON list of instants and goods, in order; what waits is few and always read as a whole.
ALTER TABLE stripe_subscription ADD COLUMN waiting TEXT NOT NULL DEFAULT '[]';
