//! `meter stripe sync`: brings Stripe's products, prices and portal to what the plan catalogue says.
//!
//! What is there is read first, so that the differences can be shown and a second run finds none. Amounts of
//! prices never change at Stripe: another amount is another price, which takes over the lookup key, and the
//! old one is archived; subscriptions that have it keep it.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::plan::Catalogue;

use super::client::{CallError, Stripe};
use crate::payments::goods::{Good, TAX_BEHAVIOR, interval_name};
use crate::payments::intent::fields;
use crate::payments::order::Form;
use crate::payments::seen::{Metadata, Price};
use crate::store::{Store, StoreError, StripePrice};

/// How the customer portal is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portal {
    /// For whoever looks after payments: what gives less waits for the end of paid time.
    Usual,
    /// For confirming a larger plan, which is at once whatever the interval: from a year to a month Stripe
    /// would wait.
    Upgrade,
}

impl Portal {
    const ALL: [Self; 2] = [Self::Usual, Self::Upgrade];

    /// The name of the setting that holds its configuration.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Usual => "stripe_portal",
            Self::Upgrade => "stripe_portal_upgrade",
        }
    }

    /// The metadata that its configuration is found by; it holds what the configuration was made from.
    fn mark(self) -> &'static str {
        match self {
            Self::Usual => "palveron_form",
            Self::Upgrade => "palveron_upgrade_form",
        }
    }

    fn line(self) -> &'static str {
        match self {
            Self::Usual => "portal configuration",
            Self::Upgrade => "portal configuration for upgrades",
        }
    }
}

/// Where the portal's configurations are.
const CONFIGURATIONS: &str = "/billing_portal/configurations";

/// The part of a configuration that says how subscriptions are changed.
const UPDATE: &str = "features[subscription_update]";

/// Stripe's tax code of software as a service for businesses.
const TAX_CODE: &str = "txcd_10103001";

/// A difference between Stripe and the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// For people: `+ price palveron_pro_month 4900 eur`.
    pub line: String,
    path: String,
    form: Form,
    price: Option<(Good, u64)>,
}

/// Why a sync ended.
#[derive(Debug, thiserror::Error)]
pub enum GoodsError {
    /// Stripe gave no answer that can be used.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The books failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

#[derive(Debug, Deserialize)]
struct Product {
    id: String,
    name: String,
    active: bool,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    id: String,
    #[serde(default)]
    metadata: Metadata,
}

/// What differs in products and prices. Prices that are right are noted in the books on the way.
///
/// # Errors
/// When Stripe cannot be asked.
pub async fn differences(
    api: &Stripe,
    store: &Store,
    catalogue: &Catalogue,
) -> Result<Vec<Difference>, GoodsError> {
    let mut differences = products(api, catalogue).await?;
    let keys: Vec<String> = Good::all().map(Good::lookup_key).collect();
    let mut query: Vec<(&str, &str)> = keys.iter().map(|key| ("lookup_keys[]", key.as_str())).collect();
    query.push(("active", "true"));
    let found: Vec<Price> = api.list("/prices", &query).await?;
    for good in Good::all() {
        let Some(price) = good.price(catalogue) else { continue };
        let minor = u64::try_from(price.minor()).unwrap_or_default();
        let key = good.lookup_key();
        let old = found.iter().find(|price| price.lookup_key.as_deref() == Some(key.as_str()));
        if let Some(old) = old {
            if good.check(old, catalogue, api.livemode()).is_ok() {
                store.keep_price(&StripePrice { id: old.id.clone(), good, amount: minor }, true).await?;
                continue;
            }
            differences.extend([price_difference(good, minor, &price.currency().to_string())]);
            differences.push(Difference {
                line: format!("- price {key} {}", old.id),
                path: format!("/prices/{}", old.id),
                form: fields(&[("active", "false")]),
                price: None,
            });
        } else {
            differences.push(price_difference(good, minor, &price.currency().to_string()));
        }
    }
    Ok(differences)
}

async fn products(api: &Stripe, catalogue: &Catalogue) -> Result<Vec<Difference>, CallError> {
    let mut wanted: Vec<(String, String)> =
        Good::all().map(|good| (good.product(), good.title(catalogue))).collect();
    wanted.dedup();
    let query: Vec<(&str, &str)> = wanted.iter().map(|(id, _)| ("ids[]", id.as_str())).collect();
    let found: Vec<Product> = api.list("/products", &query).await?;
    let difference = |(id, name): &(String, String)| match found.iter().find(|product| product.id == *id) {
        Some(product) if product.name == *name && product.active => None,
        Some(_) => Some(Difference {
            line: format!("~ product {id} {name:?}"),
            path: format!("/products/{id}"),
            form: fields(&[("name", name), ("active", "true")]),
            price: None,
        }),
        None => Some(Difference {
            line: format!("+ product {id} {name:?}"),
            path: "/products".to_owned(),
            form: fields(&[("id", id), ("name", name), ("tax_code", TAX_CODE)]),
            price: None,
        }),
    };
    Ok(wanted.iter().filter_map(difference).collect())
}

fn price_difference(good: Good, minor: u64, currency: &str) -> Difference {
    let key = good.lookup_key();
    let mut form = fields(&[
        ("product", &good.product()),
        ("currency", currency),
        ("unit_amount", &minor.to_string()),
        ("tax_behavior", TAX_BEHAVIOR),
        ("lookup_key", &key),
        ("transfer_lookup_key", "true"),
        // The lookup key moves on with the next price; this stays.
        ("metadata[palveron_good]", &good.name()),
    ]);
    if let Some(interval) = good.interval() {
        form.push(("recurring[interval]".to_owned(), interval_name(interval).to_owned()));
    }
    let line = format!("+ price {key} {minor} {currency}");
    Difference { line, path: "/prices".to_owned(), form, price: Some((good, minor)) }
}

/// Makes Stripe what the catalogue says.
///
/// # Errors
/// When a call fails; what was done before stays, and another run goes on from there.
pub async fn apply(api: &Stripe, store: &Store, differences: &[Difference]) -> Result<(), GoodsError> {
    for Difference { path, form, price, .. } in differences {
        match price {
            Some((good, amount)) => {
                let made: Price = api.set(path, form).await?;
                let price = StripePrice { id: made.id, good: *good, amount: *amount };
                store.keep_price(&price, true).await?;
            }
            None => {
                api.set::<serde_json::Value>(path, form).await?;
            }
        }
    }
    Ok(())
}

/// Makes or updates the portal's configurations, once the prices are there. Says what it did.
///
/// # Errors
/// When Stripe cannot be asked or the books fail.
pub async fn portals(
    api: &Stripe,
    store: &Store,
    return_url: &str,
    dry_run: bool,
) -> Result<Vec<String>, GoodsError> {
    let mut lines = Vec::new();
    for portal in Portal::ALL {
        let (form, print) = portal_form(store, portal, return_url).await?;
        let ours = find(api, portal).await?;
        let (path, line) = match &ours {
            Some(one) if one.metadata.get(portal.mark()) == Some(&print) => {
                store.keep_stripe_setting(portal.setting(), &one.id).await?;
                continue;
            }
            Some(one) => (format!("{CONFIGURATIONS}/{}", one.id), format!("~ {}", portal.line())),
            None => (CONFIGURATIONS.to_owned(), format!("+ {}", portal.line())),
        };
        if !dry_run {
            let made: Configuration = api.set(&path, &form).await?;
            store.keep_stripe_setting(portal.setting(), &made.id).await?;
        }
        lines.push(line);
    }
    Ok(lines)
}

/// The configuration for upgrades, made where nobody has synced since there is one: without it an upgrade from a
/// year to a month would wait for the year's end.
///
/// # Errors
/// When Stripe cannot be asked or the books fail.
pub async fn upgrade_portal(api: &Stripe, store: &Store, return_url: &str) -> Result<String, GoodsError> {
    let portal = Portal::Upgrade;
    if let Some(id) = store.stripe_setting(portal.setting()).await? {
        return Ok(id);
    }
    let found = match find(api, portal).await? {
        Some(found) => found,
        None => {
            let (form, _) = portal_form(store, portal, return_url).await?;
            api.set(CONFIGURATIONS, &form).await?
        }
    };
    store.keep_stripe_setting(portal.setting(), &found.id).await?;
    Ok(found.id)
}

async fn find(api: &Stripe, portal: Portal) -> Result<Option<Configuration>, CallError> {
    let found: Vec<Configuration> = api.list(CONFIGURATIONS, &[("active", "true")]).await?;
    Ok(found.into_iter().find(|one| one.metadata.contains_key(portal.mark())))
}

/// The form of a configuration, and the print of what it was made from, which is in its metadata.
async fn portal_form(store: &Store, portal: Portal, return_url: &str) -> Result<(Form, String), StoreError> {
    let mut form = configuration_form(portal, return_url);
    form.extend(changes_form(store).await?);
    let text: String = form.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let print = base16ct::lower::encode_string(&Sha256::digest(text)).split_at(16).0.to_owned();
    form.push((format!("metadata[{}]", portal.mark()), print.clone()));
    Ok((form, print))
}

fn configuration_form(portal: Portal, return_url: &str) -> Form {
    let mut form = fields(&[
        ("default_return_url", return_url),
        ("features[invoice_history][enabled]", "true"),
        ("features[payment_method_update][enabled]", "true"),
        ("features[customer_update][enabled]", "true"),
        ("features[customer_update][allowed_updates][0]", "address"),
        ("features[customer_update][allowed_updates][1]", "email"),
        ("features[customer_update][allowed_updates][2]", "tax_id"),
        ("features[subscription_cancel][enabled]", "true"),
        ("features[subscription_cancel][mode]", "at_period_end"),
        (&format!("{UPDATE}[enabled]"), "true"),
        (&format!("{UPDATE}[default_allowed_updates][0]"), "price"),
        // What is at once is paid at once.
        (&format!("{UPDATE}[proration_behavior]"), "always_invoice"),
    ]);
    let conditions: &[&str] = match portal {
        Portal::Usual => &["decreasing_item_amount", "shortening_interval"],
        Portal::Upgrade => &[],
    };
    for (place, condition) in conditions.iter().enumerate() {
        let name = format!("{UPDATE}[schedule_at_period_end][conditions][{place}][type]");
        form.push((name, (*condition).to_owned()));
    }
    form
}

/// Which prices may be chosen, by product.
async fn changes_form(store: &Store) -> Result<Form, StoreError> {
    let mut plans: Vec<(String, Vec<String>)> = Vec::new();
    for good in Good::all().filter(|good| good.interval().is_some()) {
        let Some(price) = store.price_of(good).await? else { continue };
        match plans.iter_mut().find(|(product, _)| *product == good.product()) {
            Some((_, prices)) => prices.push(price.id),
            None => plans.push((good.product(), vec![price.id])),
        }
    }
    let mut form = Form::new();
    for (place, (product, prices)) in plans.into_iter().enumerate() {
        form.push((format!("{UPDATE}[products][{place}][product]"), product));
        for (number, price) in prices.into_iter().enumerate() {
            form.push((format!("{UPDATE}[products][{place}][prices][{number}]"), price));
        }
    }
    Ok(form)
}
