//! What each operation is called: makers of clients name functions after it, so what is here never changes, whatever a
//! summary says.

use axum::http::Method;

/// Method and path, and the operation's id. An endpoint that is new is a new line.
const IDS: &[(&str, &str)] = &[
    ("GET /", "show_start_page"),
    ("GET /metrics", "show_metrics"),
    ("GET /openapi.json", "show_interface"),
    ("GET /openapi-edge.json", "show_edge_interface"),
    ("GET /errors/{code}", "explain_error"),
    ("GET /healthz", "show_health"),
    ("GET /readyz", "show_readiness"),
    ("POST /ingest", "ingest_cells"),
    ("GET /api/v1/usage", "report_usage"),
    ("GET /api/v1/events", "watch_project"),
    ("GET /api/v1/billing/plan", "show_plan"),
    ("PUT /api/v1/billing/plan", "set_plan"),
    ("GET /api/v1/billing/top-ups", "list_lots"),
    ("GET /api/v1/billing/invoices", "list_invoices"),
    ("GET /api/v1/explain", "explain_bill"),
    ("GET /api/v1/webhooks", "list_webhooks"),
    ("POST /api/v1/webhooks", "create_webhook"),
    ("GET /api/v1/webhooks/{webhook}", "show_webhook"),
    ("PATCH /api/v1/webhooks/{webhook}", "change_webhook"),
    ("DELETE /api/v1/webhooks/{webhook}", "delete_webhook"),
    ("POST /api/v1/webhooks/{webhook}/rotate", "rotate_webhook_secret"),
    ("POST /api/v1/webhooks/{webhook}/test", "test_webhook"),
    ("POST /api/v1/webhooks/{webhook}/replay", "replay_webhook"),
    ("GET /api/v1/webhooks/{webhook}/deliveries", "list_deliveries"),
    ("GET /api/v1/webhooks/{webhook}/deliveries/{delivery}", "show_delivery"),
    ("POST /api/v1/webhooks/{webhook}/deliveries/{delivery}/replay", "replay_delivery"),
    ("POST /api/v1/stripe/checkout", "start_checkout"),
    ("GET /api/v1/stripe/portal", "open_portal"),
    ("POST /api/v1/stripe/webhook", "take_stripe_delivery"),
    ("GET /api/v1/admin/projects", "list_projects"),
    ("POST /api/v1/admin/projects", "create_project"),
    ("GET /api/v1/admin/projects/{project}", "show_project"),
    ("PATCH /api/v1/admin/projects/{project}", "change_project"),
    ("GET /api/v1/admin/projects/{project}/keys", "list_keys"),
    ("POST /api/v1/admin/projects/{project}/keys", "create_key"),
    ("DELETE /api/v1/admin/projects/{project}/keys/{name}", "revoke_key"),
    ("POST /api/v1/admin/projects/{project}/keys/{name}/rotate", "rotate_key"),
    ("GET /api/v1/admin/projects/{project}/tokens", "list_tokens"),
    ("POST /api/v1/admin/projects/{project}/tokens", "create_token"),
    ("DELETE /api/v1/admin/projects/{project}/tokens/{name}", "revoke_token"),
    ("GET /api/v1/admin/projects/{project}/members", "list_members"),
    ("POST /api/v1/admin/projects/{project}/members", "add_member"),
    ("PATCH /api/v1/admin/projects/{project}/members/{name}", "change_member"),
    ("DELETE /api/v1/admin/projects/{project}/members/{name}", "remove_member"),
    ("POST /api/v1/admin/projects/{project}/members/{name}/token", "replace_member_token"),
    ("GET /api/v1/admin/projects/{project}/quarantine", "list_quarantined_cells"),
    ("POST /api/v1/admin/projects/{project}/quarantine/{name}/accept", "accept_quarantined_cell"),
    ("DELETE /api/v1/admin/projects/{project}/quarantine/{name}", "drop_quarantined_cell"),
    ("POST /api/v1/admin/projects/{project}/credits", "give_units"),
    ("POST /api/v1/admin/projects/{project}/corrections", "correct_bill"),
    ("GET /api/v1/admin/audit", "show_audit_log"),
    ("GET /api/v1/admin/clock", "show_clock"),
    ("POST /api/v1/admin/clock", "move_clock"),
    ("GET /api/v1/admin/stripe/parked", "list_parked_payments"),
];

/// The id of an operation; empty where it has none yet, which a test refuses.
pub(super) fn of(method: &Method, path: &str) -> &'static str {
    let is_it = |row: &str| row.split_once(' ') == Some((method.as_str(), path));
    IDS.iter().find(|(row, _)| is_it(row)).map_or("", |(_, id)| id)
}
