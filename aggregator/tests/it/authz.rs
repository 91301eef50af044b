//! Roles × endpoints × {own, other, missing} project, over every endpoint that there is.

use std::collections::BTreeSet;

use aggregator::access::{Role, Scope};
use aggregator::http::{ROUTES, Who};
use shared::plan::Plan;

use crate::support::{Answer, Meter, project_id};

/// What operator, owner, admin, finance and viewer get for their own project.
/// A route without a row here fails.
const TABLE: &str = "
    GET    /healthz                                          open  200
    GET    /readyz                                           open  200
    GET    /metrics                                          open  200
    POST   /ingest                                           open  401
    GET    /api/v1/usage                                     own   200 200 200 200 200
    GET    /api/v1/billing/plan                              own   200 200 200 200 200
    PUT    /api/v1/billing/plan                              own   200 200 200 200 403
    GET    /api/v1/billing/top-ups                           own   200 200 200 200 200
    GET    /api/v1/explain                                   own   200 200 200 200 200
    GET    /api/v1/admin/projects                            all   200 403 403 403 403
    POST   /api/v1/admin/projects                            all   201 403 403 403 403
    GET    /api/v1/admin/projects/{project}                  own   200 200 200 200 200
    PATCH  /api/v1/admin/projects/{project}                  own   200 403 403 403 403
    GET    /api/v1/admin/projects/{project}/keys             own   200 200 200 200 200
    POST   /api/v1/admin/projects/{project}/keys             own   201 201 201 403 403
    DELETE /api/v1/admin/projects/{project}/keys/{name}      own   200 200 200 403 403
    POST   /api/v1/admin/projects/{project}/credits          own   201 403 403 403 403
    GET    /api/v1/admin/projects/{project}/tokens           own   200 403 403 403 403
    POST   /api/v1/admin/projects/{project}/tokens           own   201 403 403 403 403
    DELETE /api/v1/admin/projects/{project}/tokens/{name}    own   200 403 403 403 403
";

/// One endpoint of the table.
struct Row<'a> {
    method: &'a str,
    path: &'a str,
    reach: &'a str,
    statuses: Vec<u16>,
}

fn rows() -> Vec<Row<'static>> {
    let rows = TABLE.lines().map(str::trim).filter(|line| !line.is_empty());
    rows.map(|line| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap();
        let (method, path, reach) = (word(), word(), word());
        Row { method, path, reach, statuses: words.map(|status| status.parse().unwrap()).collect() }
    })
    .collect()
}

/// Two projects, and a token of each role in the first.
struct World {
    meter: Meter,
    tokens: Vec<(&'static str, String)>,
}

impl World {
    async fn new() -> Self {
        let meter = Meter::start().await;
        for project in ["own", "other"] {
            meter.project(project, Plan::Community).await;
        }
        let mut tokens = vec![("operator", meter.operator().await)];
        for role in Role::ALL {
            tokens.push((role.as_str(), meter.member("own", role).await));
        }
        Self { meter, tokens }
    }

    /// Calls an endpoint on a project, with a body that it accepts and a name that is there.
    async fn call(&self, row: &Row<'_>, project: &str, authorization: Option<&str>) -> Answer {
        let mut path = row.path.replace("{project}", project);
        if path.contains("{name}") {
            path = path.replace("{name}", &self.name(row, project).await);
        }
        if path == "/api/v1/usage" {
            path.push_str(&format!("?from=2026-11-01&to=2026-11-30&project={project}"));
        }
        if path.starts_with("/api/v1/billing/") || path == "/api/v1/explain" {
            path.push_str(&format!("?project={project}"));
        }
        let new_id = aggregator::random::id().unwrap();
        let body = match (row.method, row.path.rsplit('/').next().unwrap()) {
            ("POST", "projects") => format!(r#"{{"id":"{new_id}","plan":"pro"}}"#),
            ("PATCH", _) => r#"{"rpm":61}"#.to_owned(),
            ("POST", "keys") => r#"{"mode":"test"}"#.to_owned(),
            ("POST", "credits") => r#"{"units":5,"reason":"a test"}"#.to_owned(),
            ("PUT", _) => r#"{"auto_overage":false}"#.to_owned(),
            ("POST", "tokens") => r#"{"role":"viewer"}"#.to_owned(),
            ("POST", _) => "{}".to_owned(),
            _ => String::new(),
        };
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let mut answer = self.meter.send(row.method, &path, &headers, &body).await;
        answer.headers.retain(|(name, _)| name != "date");
        answer
    }

    /// A key or token that is there to be revoked, also if the project is not.
    async fn name(&self, row: &Row<'_>, project: &str) -> String {
        let project = if project == "missing" { "other" } else { project };
        if row.path.contains("/keys/") {
            return self.meter.key(project).await.to_string();
        }
        self.meter.token(Scope::Project { project: project_id(project), role: Role::Viewer }).await.0
    }
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let routes: BTreeSet<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    let table: BTreeSet<String> = rows().iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    assert_eq!(routes, table);
    for (route, row) in ROUTES.iter().flat_map(|route| rows().into_iter().map(move |row| (route, row))) {
        if route.method.as_str() == row.method && route.path == row.path {
            let reach = match route.who {
                Who::Anyone | Who::Signed => "open",
                Who::Operator => "all",
                Who::InProject(_) => "own",
            };
            assert_eq!(reach, row.reach, "{route:?}");
        }
    }
}

#[tokio::test]
async fn each_role_gets_what_the_table_says() {
    let world = World::new().await;
    for row in rows() {
        for (column, (role, token)) in world.tokens.iter().enumerate() {
            let authorization = format!("Bearer {token}");
            let what = format!("{} {} as {role}", row.method, row.path);
            let expected = row.statuses.get(column).or(row.statuses.first()).unwrap();
            let own = world.call(&row, "own", Some(&authorization)).await;
            assert_eq!(own.status, *expected, "{what}: {own:?}");
            if own.status == 403 {
                own.is_problem("forbidden", &what);
            }
            if row.reach != "own" {
                continue;
            }
            let other = world.call(&row, "other", Some(&authorization)).await;
            let missing = world.call(&row, "missing", Some(&authorization)).await;
            missing.is_problem("project_unknown", &what);
            if *role == "operator" {
                assert_eq!(other.status, *expected, "{what}: {other:?}");
            } else {
                assert_eq!(other, missing, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn every_bad_credential_gets_the_same_answer() {
    let world = World::new().await;
    let (_, admin) = &world.tokens[2];
    let owner = Scope::Project { project: project_id("own"), role: Role::Owner };
    let (id, revoked) = world.meter.token(owner).await;
    world.meter.app.store.revoke_token(&id, world.meter.app.clock.now()).await.unwrap().unwrap();
    let mut flipped = admin.clone();
    let last = flipped.pop().unwrap();
    flipped.push(if last == '0' { '1' } else { '0' });
    let credentials = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Basic YTpi".to_owned()),
        Some(format!("Basic {admin}")),
        Some(format!("Bearer {admin} {admin}")),
        Some(format!("Bearer {}", "x".repeat(10_240))),
        Some("Bearer p\u{e4}t".to_owned()),
        Some(format!("Bearer {}", &admin[..admin.len() - 1])),
        Some(format!("Bearer {flipped}")),
        Some(format!("Bearer {}", admin.replacen("pat_", "PAT_", 1))),
        Some(format!("Bearer {}", admin.replacen("pat_", "pot_", 1))),
        Some(format!("Bearer {}", admin.to_uppercase())),
        Some(format!("Bearer {revoked}")),
        Some("Bearer pk_live_own_aaaa_1_00000000000000000000000000000000".to_owned()),
    ];
    for row in rows().iter().filter(|row| row.reach != "open") {
        let mut answers = BTreeSet::new();
        for project in ["own", "other", "missing"] {
            for credential in &credentials {
                let answer = world.call(row, project, credential.as_deref()).await;
                answer.is_problem("unauthorized", &format!("{} {} {credential:?}", row.method, row.path));
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                answers.insert(format!("{answer:?}"));
            }
        }
        assert_eq!(answers.len(), 1, "{} {}", row.method, row.path);
    }
    let in_query = world.meter.send("GET", &format!("/api/v1/usage?token={admin}"), &[], "").await;
    in_query.is_problem("unauthorized", "a token in the query");
}
