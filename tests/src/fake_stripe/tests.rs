//! What the fake does, told as what Stripe's documentation says.

use serde_json::{Value, json};

use super::world::{World, word};
use super::{advance, api, checkout, control, form};

const START_MS: u64 = 1_795_600_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A world with a plan, a pack and a customer.
struct Shop {
    world: World,
    plan: String,
    bigger: String,
    pack: String,
    customer: String,
}

impl Shop {
    fn open() -> Self {
        let mut world = World::new("t", START_MS);
        let price = |world: &mut World, form: &str| word(&post(world, "prices", form), "id");
        let product = word(&post(&mut world, "products", "name=Pro"), "id");
        let monthly =
            |amount| format!("currency=eur&unit_amount={amount}&product={product}&recurring[interval]=month");
        Self {
            plan: price(&mut world, &monthly(4_900)),
            bigger: price(&mut world, &monthly(29_900)),
            pack: price(
                &mut world,
                &format!("currency=eur&unit_amount=10000&product={product}&lookup_key=medium"),
            ),
            customer: word(
                &post(&mut world, "customers", "email=a%40b.example&metadata[project]=demo"),
                "id",
            ),
            world,
        }
    }

    fn session(&mut self, mode: &str, price: &str) -> String {
        let form = format!(
            "mode={mode}&customer={}&line_items[0][price]={price}&line_items[0][quantity]=1&invoice_creation[enabled]=true&success_url=http%3A%2F%2Fx",
            self.customer
        );
        let form =
            if mode == "subscription" { form.replace("&invoice_creation[enabled]=true", "") } else { form };
        word(&post(&mut self.world, "checkout/sessions", &form), "id")
    }

    fn pay(&mut self, session: &str, method: &str) -> Result<Value, u16> {
        let choice = checkout::Choice::parse(method).unwrap();
        checkout::pay(&mut self.world, session, choice).map_err(|refused| refused.status)
    }

    fn subscribe(&mut self) -> String {
        let plan = self.plan.clone();
        let session = self.session("subscription", &plan);
        word(&self.pay(&session, "card").unwrap(), "subscription")
    }

    fn later(&mut self, days: u64) {
        let now_ms = self.world.now_ms;
        advance(&mut self.world, now_ms + days * DAY_MS);
    }

    fn get(&mut self, path: &str) -> Value {
        call(&mut self.world, "GET", path, "").unwrap()
    }

    /// The types of the events so far, the oldest first, without those of prices and products.
    fn told(&mut self) -> Vec<String> {
        let mut events: Vec<String> = self.world.all("event").map(|event| word(event, "type")).collect();
        events.retain(|kind| {
            !["price", "product", "customer.created"].iter().any(|other| kind.starts_with(other))
        });
        events.reverse();
        events
    }
}

fn call(world: &mut World, method: &str, path: &str, text: &str) -> Result<Value, u16> {
    let p = form::parse(text).unwrap();
    api::call(world, method, &format!("/v1/{path}"), &p).map_err(|refused| refused.status)
}

fn post(world: &mut World, path: &str, text: &str) -> Value {
    call(world, "POST", path, text).unwrap()
}

#[test]
fn a_pack_paid_by_card_is_paid_at_once() {
    let mut shop = Shop::open();
    let pack = shop.pack.clone();
    let session = shop.session("payment", &pack);
    let paid = shop.pay(&session, "card").unwrap();
    assert_eq!((&paid["status"], &paid["payment_status"]), (&json!("complete"), &json!("paid")));
    assert_eq!(paid["amount_total"], 10_000);
    let invoice = shop.get(&format!("invoices/{}", word(&paid, "invoice")));
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("paid"), &json!(10_000)));
    assert_eq!(
        shop.told(),
        [
            "invoice.created",
            "invoice.finalized",
            "payment_intent.succeeded",
            "charge.succeeded",
            "invoice.paid",
            "checkout.session.completed"
        ]
    );
    assert_eq!(shop.pay(&session, "card"), Err(400), "it is no longer open");
}

#[test]
fn a_declined_card_leaves_the_session_open() {
    let mut shop = Shop::open();
    let pack = shop.pack.clone();
    let session = shop.session("payment", &pack);
    assert_eq!(shop.pay(&session, "card_declined"), Err(402));
    assert!(shop.told().is_empty());
    assert!(shop.pay(&session, "card").is_ok());
}

#[test]
fn a_debit_arrives_or_comes_back_after_days() {
    for (method, last, status) in [
        ("sepa_debit", "checkout.session.async_payment_succeeded", "paid"),
        ("sepa_returned", "checkout.session.async_payment_failed", "unpaid"),
    ] {
        let mut shop = Shop::open();
        let pack = shop.pack.clone();
        let session = shop.session("payment", &pack);
        let complete = shop.pay(&session, method).unwrap();
        assert_eq!(
            (&complete["status"], &complete["payment_status"]),
            (&json!("complete"), &json!("unpaid"))
        );
        shop.later(4);
        assert_eq!(shop.told().last().unwrap(), "checkout.session.completed");
        shop.later(1);
        assert_eq!(shop.told().last().unwrap(), last);
        assert_eq!(shop.get(&format!("checkout/sessions/{session}"))["payment_status"], status);
    }
}

#[test]
fn sessions_that_nobody_pays_expire() {
    let mut shop = Shop::open();
    let pack = shop.pack.clone();
    let session = shop.session("payment", &pack);
    shop.later(1);
    assert_eq!(shop.told(), ["checkout.session.expired"]);
    assert_eq!(shop.pay(&session, "card"), Err(400));
}

#[test]
fn subscriptions_renew_until_they_are_cancelled() {
    let mut shop = Shop::open();
    let id = shop.subscribe();
    for _ in 0..3 {
        shop.later(31);
    }
    assert_eq!(shop.told().iter().filter(|kind| *kind == "invoice.paid").count(), 4);
    post(&mut shop.world, &format!("subscriptions/{id}"), "cancel_at_period_end=true");
    shop.later(31);
    assert_eq!(shop.told().last().unwrap(), "customer.subscription.deleted");
    shop.later(62);
    assert_eq!(shop.told().last().unwrap(), "customer.subscription.deleted");
}

#[test]
fn a_failing_card_makes_past_due_and_at_last_ends_the_subscription() {
    let mut shop = Shop::open();
    let id = shop.subscribe();
    let customer = shop.customer.clone();
    let card = |shop: &mut Shop, works: bool| {
        let body = json!({ "works": works }).to_string();
        control::call(&mut shop.world, "POST", &format!("/_fake/customers/{customer}/card"), body.as_bytes())
            .unwrap();
    };
    card(&mut shop, false);
    shop.later(31);
    assert_eq!(shop.get(&format!("subscriptions/{id}"))["status"], "past_due");
    card(&mut shop, true);
    assert_eq!(shop.get(&format!("subscriptions/{id}"))["status"], "active");
    card(&mut shop, false);
    shop.later(31 + 15);
    assert_eq!(shop.get(&format!("subscriptions/{id}"))["status"], "canceled");
}

/// A subscription, and what is done to it by the portal.
struct Portal {
    shop: Shop,
    subscription: String,
}

impl Portal {
    fn open() -> Self {
        let mut shop = Shop::open();
        let subscription = shop.subscribe();
        Self { shop, subscription }
    }

    /// The customer confirms another price, where changes wait under those conditions.
    fn confirm(&mut self, price: &str, conditions: &[&str]) {
        let update = "features[subscription_update]";
        let mut form = format!(
            "{update}[enabled]=true&{update}[proration_behavior]=always_invoice&{update}[products][0][product]=p&{update}[products][0][prices][0]={price}"
        );
        for (place, condition) in conditions.iter().enumerate() {
            form += &format!("&{update}[schedule_at_period_end][conditions][{place}][type]={condition}");
        }
        let configuration = word(&post(&mut self.shop.world, "billing_portal/configurations", &form), "id");
        let change = "flow_data[subscription_update_confirm]";
        let form = format!(
            "customer={}&configuration={configuration}&flow_data[type]=subscription_update_confirm&{change}[subscription]={}&{change}[items][0][price]={price}",
            self.shop.customer, self.subscription
        );
        let session = word(&post(&mut self.shop.world, "billing_portal/sessions", &form), "id");
        self.act(&session, "confirm").unwrap();
    }

    fn act(&mut self, session: &str, action: &str) -> Result<Value, u16> {
        let body = json!({ "action": action }).to_string();
        let path = format!("/_fake/portal/{session}");
        control::call(&mut self.shop.world, "POST", &path, body.as_bytes()).map_err(|refused| refused.status)
    }

    fn subscription(&mut self) -> Value {
        self.shop.get(&format!("subscriptions/{}", self.subscription))
    }

    fn price(&mut self) -> Value {
        self.subscription()["items"]["data"][0]["price"]["id"].clone()
    }
}

#[test]
fn an_upgrade_is_invoiced_at_once_and_a_downgrade_waits() {
    let mut portal = Portal::open();
    let (bigger, plan) = (portal.shop.bigger.clone(), portal.shop.plan.clone());
    let conditions = ["decreasing_item_amount", "shortening_interval"];
    portal.confirm(&bigger, &conditions);
    assert_eq!(portal.price(), json!(bigger));
    let invoice = portal.shop.get("invoices")["data"][0].clone();
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("paid"), &json!(25_000)));
    portal.confirm(&plan, &conditions);
    assert_eq!(portal.price(), json!(bigger));
    let subscription = portal.subscription();
    let schedule = portal.shop.get(&format!("subscription_schedules/{}", word(&subscription, "schedule")));
    let end = &subscription["items"]["data"][0]["current_period_end"];
    assert_eq!((&schedule["status"], &schedule["current_phase"]["end_date"]), (&json!("active"), end));
    let next = &schedule["phases"][1];
    assert_eq!((&next["start_date"], &next["items"][0]["price"]), (end, &json!(plan)));
    portal.shop.later(31);
    assert_eq!(portal.price(), json!(plan));
    assert!(portal.subscription()["schedule"].is_string(), "its last phase is running");
    portal.shop.later(31);
    assert_eq!((portal.price(), portal.subscription()["schedule"].clone()), (json!(plan), Value::Null));
}

#[test]
fn what_waits_can_be_taken_back_and_another_change_comes_behind_it() {
    let mut portal = Portal::open();
    let (bigger, plan) = (portal.shop.bigger.clone(), portal.shop.plan.clone());
    portal.confirm(&bigger, &[]);
    portal.confirm(&plan, &["decreasing_item_amount"]);
    let form = format!("customer={}", portal.shop.customer);
    let session = word(&post(&mut portal.shop.world, "billing_portal/sessions", &form), "id");
    assert_eq!(portal.act(&session, "cancel"), Err(400), "the schedule says when it ends");
    portal.act(&session, "take_back").unwrap();
    assert_eq!(portal.subscription()["schedule"], Value::Null);
    assert_eq!(portal.act(&session, "take_back"), Err(400));
    portal.shop.later(31);
    assert_eq!(portal.price(), json!(bigger));
    for _ in 0..2 {
        portal.confirm(&plan, &["decreasing_item_amount"]);
    }
    let schedule = word(&portal.subscription(), "schedule");
    let schedule = portal.shop.get(&format!("subscription_schedules/{schedule}"));
    assert_eq!(schedule["phases"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_change_that_owes_nothing_leaves_a_balance_that_pays_later_invoices() {
    let mut portal = Portal::open();
    let (bigger, plan) = (portal.shop.bigger.clone(), portal.shop.plan.clone());
    portal.confirm(&bigger, &[]);
    portal.confirm(&plan, &[]);
    assert_eq!(portal.price(), json!(plan), "no condition has it wait");
    let invoices = portal.shop.get("invoices");
    assert_eq!(invoices["data"][0]["status"], "paid");
    assert_eq!(
        (&invoices["data"][0]["total"], &invoices["data"][0]["amount_due"]),
        (&json!(-25_000), &json!(0))
    );
    portal.shop.later(31);
    let renewal = portal.shop.get("invoices")["data"][0].clone();
    assert_eq!(
        (&renewal["total"], &renewal["amount_due"], &renewal["status"]),
        (&json!(4_900), &json!(0), &json!("paid"))
    );
    let customer = portal.shop.get(&format!("customers/{}", portal.shop.customer.clone()));
    assert_eq!(customer["balance"], -20_100);
}

#[test]
fn an_invoice_of_our_own_is_charged_to_the_default_card() {
    let mut shop = Shop::open();
    let customer = shop.customer.clone();
    let invoice = |shop: &mut Shop| {
        let form =
            format!("customer={customer}&pending_invoice_items_behavior=exclude&metadata[period]=2026-11");
        let id = word(&post(&mut shop.world, "invoices", &form), "id");
        let form = format!("customer={customer}&invoice={id}&amount=1234&currency=eur&description=overage");
        post(&mut shop.world, "invoiceitems", &form);
        post(&mut shop.world, &format!("invoices/{id}/finalize"), "auto_advance=true")
    };
    assert_eq!(invoice(&mut shop)["status"], "open", "there is no default card yet");
    let session = shop.subscribe();
    let method = shop.get(&format!("subscriptions/{session}"))["default_payment_method"].clone();
    let form = format!("invoice_settings[default_payment_method]={}", method.as_str().unwrap());
    post(&mut shop.world, &format!("customers/{customer}"), &form);
    let paid = invoice(&mut shop);
    assert_eq!((&paid["status"], &paid["total"]), (&json!("paid"), &json!(1_234)));
}

#[test]
fn refunds_are_bounded_and_may_come_back() {
    let mut shop = Shop::open();
    let pack = shop.pack.clone();
    let session = shop.session("payment", &pack);
    let intent = word(&shop.pay(&session, "card").unwrap(), "payment_intent");
    let refund = post(&mut shop.world, "refunds", &format!("payment_intent={intent}&amount=4000"));
    assert_eq!(
        call(&mut shop.world, "POST", "refunds", &format!("payment_intent={intent}&amount=6001")),
        Err(400)
    );
    let path = format!("/_fake/refunds/{}/fail", word(&refund, "id"));
    control::call(&mut shop.world, "POST", &path, b"").unwrap();
    assert_eq!(shop.get("charges")["data"][0]["amount_refunded"], 0);
    assert_eq!(shop.told().last().unwrap(), "refund.failed");
}

#[test]
fn keys_replay_the_first_answer_for_a_day() {
    let mut world = World::new("t", START_MS);
    let p = json!({"a": "1"});
    assert_eq!(world.recall("k", "POST /v1/x", &p).unwrap(), None);
    assert!(world.recall("k", "POST /v1/x", &p).is_err(), "the first call still runs");
    world.remember("k", 500, &json!({"error": 1}));
    assert_eq!(world.recall("k", "POST /v1/x", &p).unwrap(), Some((500, json!({"error": 1}))));
    assert!(world.recall("k", "POST /v1/x", &json!({"a": "2"})).is_err());
    assert_eq!(world.recall("refused", "POST /v1/x", &p).unwrap(), None);
    world.remember("refused", 400, &json!({}));
    assert_eq!(world.recall("refused", "POST /v1/x", &p).unwrap(), None);
    advance(&mut world, START_MS + DAY_MS);
    assert_eq!(world.recall("k", "POST /v1/x", &p).unwrap(), None);
}

#[test]
fn lists_are_paged_filtered_and_expanded() {
    let mut shop = Shop::open();
    for number in 0..5 {
        post(&mut shop.world, "customers", &format!("email=c{number}%40b.example"));
    }
    let page = call(&mut shop.world, "GET", "customers", "limit=2").unwrap();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (2, &json!(true)));
    let after = word(&page["data"][1], "id");
    let rest =
        call(&mut shop.world, "GET", "customers", &format!("limit=100&starting_after={after}")).unwrap();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (4, &json!(false)));
    let found = call(&mut shop.world, "GET", "prices", "lookup_keys[]=medium&expand[]=data.product").unwrap();
    assert_eq!(found["data"][0]["product"]["name"], "Pro");
    let id = shop.subscribe();
    let form = "expand[]=latest_invoice";
    let subscription = call(&mut shop.world, "GET", &format!("subscriptions/{id}"), form).unwrap();
    assert_eq!(subscription["latest_invoice"]["status"], "paid");
    assert!(subscription.as_object().unwrap().keys().all(|name| !name.starts_with('_')));
}

#[test]
fn the_state_survives_as_one_document() {
    let mut shop = Shop::open();
    let id = shop.subscribe();
    let text = serde_json::to_string(&shop.world).unwrap();
    let mut again: World = serde_json::from_str(&text).unwrap();
    assert_eq!(call(&mut again, "GET", &format!("subscriptions/{id}"), "").unwrap()["status"], "active");
    advance(&mut again, START_MS + 31 * DAY_MS);
    assert_eq!(again.all("invoice").count(), 2);
}
