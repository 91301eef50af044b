//! The `meter` command as a person or a script meets it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use shared::key::KeySecrets;

use crate::backend;
use crate::support::{Folder, SECRET_EDGE, SECRET_KEYS, SECRET_POLICY, raw, request, until};

/// `meter` with the environment of a test and nothing of ours.
pub(crate) fn meter(folder: &Folder, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meter"));
    command
        .args(words.split_whitespace())
        .env_clear()
        .env("DATABASE_URL", folder.database_url())
        .env("METER_LISTEN", "127.0.0.1:0")
        // A port that nobody listens on: nothing in these tests reaches an edge.
        .env("EDGE_URL", "http://127.0.0.1:9")
        .env("METER_KEY_SECRETS", format!("1:{SECRET_KEYS}"))
        .env("METER_SIGNING_KEYS", format!("edge:e1:{SECRET_EDGE},policy:p1:{SECRET_POLICY}"))
        .stdin(Stdio::null())
        .current_dir(folder.path());
    command
}

pub(crate) fn run(folder: &Folder, words: &str) -> Output {
    meter(folder, words).output().unwrap()
}

pub(crate) fn stdout(folder: &Folder, words: &str) -> String {
    let output = run(folder, words);
    assert!(output.status.success(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn json(folder: &Folder, words: &str) -> serde_json::Value {
    serde_json::from_str(&stdout(folder, words)).unwrap()
}

/// What a failed command says.
pub(crate) fn stderr(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running `meter serve`, which dies with the test.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    log: std::thread::JoinHandle<String>,
}

impl Process {
    pub(crate) fn serve(folder: &Folder) -> Self {
        Self::spawn(&mut meter(folder, "serve"))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut log = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("meter ended before it listened: {log}"));
            log.push_str(&line);
            log.push('\n');
            if let Some((_, rest)) = line.split_once("meter listens on http://") {
                let end =
                    rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
                break rest[..end].parse().unwrap();
            }
        };
        let log = std::thread::spawn(move || lines.fold(log, |log, line| log + &line + "\n"));
        Self { child, address, log }
    }

    /// `kill -9`, and what it had logged.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.join().unwrap()
    }

    /// SIGTERM; says whether it ended well, and what it had logged.
    pub(crate) fn terminate(mut self) -> (bool, String) {
        let process = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
        (self.child.wait().unwrap().success(), self.log.join().unwrap())
    }
}

#[test]
fn a_meter_is_set_up_by_commands_alone() {
    let folder = Folder::new();
    let made = json(&folder, "project create demo --plan community --rpm 100000 --json");
    assert_eq!(
        (&made["id"], &made["rpm"], &made["included"]),
        (&"demo".into(), &100_000.into(), &1_000.into())
    );
    let key = stdout(&folder, "key create --project demo");
    let verified = KeySecrets::parse(&format!("1:{SECRET_KEYS}")).unwrap().verify(&key).unwrap();
    assert_eq!((verified.project.as_str(), verified.mode.as_str()), ("demo", "live"));
    let test = json(&folder, "key create --project demo --test --json");
    assert!(test["key"].as_str().unwrap().starts_with("pk_test_demo_"));
    let set = json(&folder, "project set demo --plan pro --rpm plan --included 5 --suspended true --json");
    assert_eq!((&set["rpm"], &set["included"], &set["suspended"]), (&600.into(), &5.into(), &true.into()));
    assert_eq!(set["policy_version"], 4);
    let shown = stdout(&folder, "project show demo");
    assert_eq!(shown, stdout(&folder, "project show --project demo"), "a project is named in one way");
    let (head, line) = shown.split_once('\n').unwrap();
    assert!(head.starts_with("PROJECT  PLAN  RPM  UNITS/MONTH  SUSPENDED"), "{shown}");
    assert_eq!(line.split_whitespace().take(5).collect::<Vec<_>>(), ["demo", "pro", "600", "5", "yes"]);
    assert_eq!(json(&folder, "project list --json").as_array().unwrap().len(), 1);
    let revoked = json(&folder, &format!("key revoke --project demo --key {} --json", verified.id));
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(json(&folder, "key list --project demo --json").as_array().unwrap().len(), 2);
    let admin = json(&folder, "token create --project demo --role admin --json");
    assert!(admin["token"].as_str().unwrap().starts_with("pat_"));
    assert!(stdout(&folder, "token create --operator").starts_with("pot_"));
    let id = admin["id"].as_str().unwrap();
    assert!(json(&folder, &format!("token revoke {id} --json"))["revoked_at"].is_string());
    let all = stdout(&folder, "token list");
    assert!(all.contains("operator  -") && all.contains("admin     demo"), "{all}");
    for words in
        ["project list", "project list --json", "key list --project demo --json", "token list --json"]
    {
        let shown = stdout(&folder, words);
        assert!(
            !shown.contains("pk_") && !shown.contains("pat_") && !shown.contains("pot_"),
            "{words}: {shown}"
        );
    }
}

#[test]
fn refusals_say_what_to_do_next() {
    let folder = Folder::new();
    let missing = stderr(&run(&folder, "project list"));
    assert!(missing.contains("there is no database at") && missing.contains("DATABASE_URL"), "{missing}");
    assert!(!folder.has_database_file(), "a mistyped path makes no database");
    stdout(&folder, "project create demo --plan community");
    // command => words that the refusal has
    let table = "
        project create demo --plan pro            => meter project set
        project create Demo --plan pro            => 1 to 48 of a-z
        project create x --plan gold              => community, pro, business
        project create x --plan pro --rpm 0       => 1 to 1000000
        project create x --plan pro --included -1 => --included
        project set demo                          => at least one of --plan
        project set nobody --plan pro             => meter project list
        project set demo --rpm many               => 1 to 1000000
        project show nobody                       => meter project list
        project show                              => METER_PROJECT
        project show demo --project demo          => cannot be used with
        member add --project demo --name x --role king => owner, admin, finance
        top-up set --project demo --pack big --below 1 --monthly-limit 1 => small, medium, large
        webhooks create --project demo --url http://x --event usage.treshold_reached => usage.threshold_reached
        webhooks delete --project demo nobody     => meter webhooks list
        usage --project demo --from 2026-11-31    => a date such as
        usage --project nobody                    => meter project list
        copy --from sqlite:a --to sqlite:b        => meter backup
        completions csh                           => possible values
        key create --project nobody               => meter project list
        key list --project nobody                 => meter project list
        key revoke --project demo --key zzzz      => `meter key list`
        token create --project demo               => --role
        token create --operator --project demo    => cannot be used with
        token create                              => --role
        token create --project nobody --role viewer => meter project list
        token create --project demo --role king   => owner, admin, finance
        token revoke nobody                       => meter token list
        fly                                       => --help
    ";
    for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (words, expected) = case.split_once("=> ").unwrap();
        let said = stderr(&run(&folder, words));
        assert!(said.contains(expected), "{case}: {said}");
    }
}

#[test]
fn an_environment_that_cannot_be_meant_is_refused_by_name() {
    let folder = Folder::new();
    let cases = [
        ("METER_LISTEN", "8080", "METER_LISTEN: got"),
        ("METER_KEY_SECRETS", "", "METER_KEY_SECRETS is not set"),
        ("METER_KEY_SECRETS", "1:hunter2", "METER_KEY_SECRETS: key secret 1"),
        ("METER_SIGNING_KEYS", "", "METER_SIGNING_KEYS has no edge:e1"),
        ("DATABASE_URL", "sqlite::memory:", "loses what it acknowledged"),
        ("DATABASE_URL", "sqlite:///nowhere/at/all/m.db", "DATABASE_URL names another"),
        ("METER_LOG", "aggregator=loud", "METER_LOG"),
    ];
    for (name, value, expected) in cases {
        let said = stderr(&meter(&folder, "serve").env(name, value).output().unwrap());
        assert!(said.contains(expected) && !said.contains("hunter2"), "{name}={value}: {said}");
    }
}

#[test]
fn help_names_every_command_and_variable() {
    let folder = Folder::new();
    let help = stdout(&folder, "--help");
    for word in [
        "serve",
        "project",
        "key",
        "token",
        "DATABASE_URL",
        "METER_LISTEN",
        "EDGE_URL",
        "METER_KEY_SECRETS",
        "METER_SIGNING_KEYS",
        "METER_UPGRADE_URL",
        "METER_LOG_FORMAT",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for words in [
        "project create",
        "project set",
        "project list",
        "project show",
        "key create",
        "key list",
        "key revoke",
        "token create",
        "token list",
        "token revoke",
    ] {
        assert!(stdout(&folder, &format!("{words} --help")).contains("--json"), "{words}");
    }
}

#[tokio::test]
async fn a_second_instance_says_which_port_is_taken_and_what_to_set() {
    let folder = Folder::new();
    let first = Process::serve(&folder);
    let address = first.address.to_string();
    let said = stderr(&meter(&folder, "serve").env("METER_LISTEN", &address).output().unwrap());
    assert!(
        said.contains("port taken") && said.contains(&address) && said.contains("METER_LISTEN"),
        "{said}"
    );
    let alive = raw(first.address, request("GET", "/healthz", &[], "").as_bytes()).await;
    assert_eq!(alive.body, r#"{"status":"ok"}"#, "the first is not disturbed");
    first.kill();
}

#[tokio::test]
async fn sigterm_ends_it_well_and_nothing_secret_was_logged() {
    let folder = Folder::new();
    let mut command = meter(&folder, "serve");
    command.env("METER_LOG", "trace").env("METER_LOG_FORMAT", "json");
    let server = Process::spawn(&mut command);
    let address = server.address;
    assert_eq!(raw(address, request("GET", "/readyz", &[], "").as_bytes()).await.status, 200);
    let operator = stdout(&folder, "token create --operator");
    let authorization = format!("Bearer {operator}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let call =
        async |path: &str, body: &str| raw(address, request("POST", path, &headers, body).as_bytes()).await;
    assert_eq!(call("/api/v1/admin/projects", r#"{"id":"canary","plan":"pro"}"#).await.status, 201);
    let key = call("/api/v1/admin/projects/canary/keys", "{}").await.field("key");
    let token = call("/api/v1/admin/projects/canary/tokens", r#"{"role":"owner"}"#).await.field("token");
    assert_eq!(
        call("/api/v1/admin/projects", r#"{"id":"canary-in-a-bad-body","plan":"gold"}"#).await.status,
        422
    );
    until("another process's key is seen", async || {
        let listed = request("GET", "/api/v1/admin/projects/canary/keys", &headers, "");
        let before = raw(address, listed.as_bytes()).await.body.matches("\"id\"").count();
        before >= 1
    })
    .await;
    let (well, log) = server.terminate();
    assert!(well && log.contains("meter has stopped"), "{log}");
    for secret in [
        &operator[4..],
        key.rsplit('_').next().unwrap(),
        &token[4..],
        SECRET_EDGE,
        SECRET_KEYS,
        SECRET_POLICY,
    ] {
        assert!(!log.contains(secret), "{}…", &secret[..6]);
    }
    assert!(log.contains(r#""project.id":"canary""#), "logs are structured: {log}");
}

#[test]
fn credits_and_statements_are_given_by_commands() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let give = "credit give --project demo --units 500 --reason outage --idempotency-key one --json";
    let lot = json(&folder, give);
    assert_eq!((&lot["units"], &lot["left"], &lot["reason"]), (&500.into(), &500.into(), &"outage".into()));
    assert_eq!(json(&folder, give), lot, "given once");
    let other = stderr(&run(&folder, &give.replace("500", "501")));
    assert!(other.contains("Idempotency-Key was used"), "{other}");
    let period = aggregator::clock::Clock::system().now().period();
    let statement = json(&folder, &format!("statement --project demo --period {period} --json"));
    assert_eq!((&statement["quota"], &statement["provisional"]), (&10_000.into(), &true.into()));
    assert!(
        stdout(&folder, &format!("statement --project demo --period {period}"))
            .contains("total      0.00 eur")
    );
    for (words, expected) in [
        ("credit give --project demo --units 0 --reason x", "--units"),
        ("credit give --project nobody --units 1 --reason x", "`meter project list`"),
        ("statement --project nobody --period 2026-05", "`meter project list`"),
        ("statement --project demo --period 2026-13", "a month such as"),
    ] {
        let refused = stderr(&run(&folder, words));
        assert!(refused.contains(expected), "{words}: {refused}");
    }
}

#[test]
fn a_backup_is_restored_elsewhere_and_overwrites_nothing() {
    let (folder, other) = (Folder::new(), Folder::new());
    if backend::server().is_some() {
        return refuses_copies_on_postgres(&folder);
    }
    stdout(&folder, "project create demo --plan pro");
    let copy = folder.path().join("copy.db").display().to_string();
    stdout(&folder, &format!("backup {copy}"));
    let again = stderr(&run(&folder, &format!("backup {copy}")));
    assert!(again.contains("is there already"), "{again}");
    let over = stderr(&run(&folder, &format!("restore {copy}")));
    assert!(over.contains("is there already"), "{over}");
    stdout(&other, &format!("restore {copy}"));
    let (restored, kept) =
        (json(&other, "project show demo --json"), json(&folder, "project show demo --json"));
    assert_eq!((&restored["plan"], &restored["created_at"]), (&kept["plan"], &kept["created_at"]));
    assert_eq!(restored["policy_version"], 1_000_001, "above what the edge may have");
    let junk = Folder::new();
    std::fs::write(junk.path().join("junk"), "x".repeat(5_000)).unwrap();
    let refused = stderr(&run(&junk, "restore junk"));
    assert!(refused.contains("is no backup") && !junk.has_database_file(), "{refused}");
}

/// A server is copied by its own means, which the refusals name.
fn refuses_copies_on_postgres(folder: &Folder) {
    stdout(folder, "project create demo --plan pro");
    let copy = folder.path().join("copy.db").display().to_string();
    let refused = stderr(&run(folder, &format!("backup {copy}")));
    assert!(refused.contains("pg_dump"), "{refused}");
    let refused = stderr(&run(folder, &format!("restore {copy}")));
    assert!(refused.contains("pg_restore") && refused.contains("meter restored"), "{refused}");
    stdout(folder, "restored");
    assert_eq!(json(folder, "project show demo --json")["policy_version"], 1_000_001);
}

#[tokio::test]
async fn the_clock_moves_only_in_a_meter_for_tests_and_the_server_follows() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let refused = stderr(&run(&folder, "clock advance 3d"));
    assert!(refused.contains("METER_TEST=1"), "{refused}");
    let server = Process::spawn(meter(&folder, "serve").env("METER_TEST", "1"));
    // Into the month after next, so that this month is due to be closed.
    let moved = meter(&folder, "clock advance 70d --json").env("METER_TEST", "1").output().unwrap();
    assert!(moved.status.success(), "{moved:?}");
    let period = aggregator::clock::Clock::system().now().period();
    let words = format!("statement --project demo --period {period} --json");
    until("the server closes the month", async || json(&folder, &words)["provisional"] == false).await;
    server.kill();
}

#[test]
fn plans_are_versioned_and_projects_keep_theirs_until_they_are_migrated() {
    let folder = Folder::new();
    stdout(&folder, "project create old --plan pro");
    stdout(&folder, "project create small --plan community");
    let default = shared::plan::Catalogue::DEFAULT_JSON;
    let second = default
        .replace("\"version\": 1", "\"version\": 2")
        .replace("\"included\": 10000, \"rpm\": 600", "\"included\": 12000, \"rpm\": 700");
    std::fs::write(folder.path().join("two.json"), &second).unwrap();
    std::fs::write(folder.path().join("bad.json"), second.replace("\"rpm\": 700", "\"rpm\": 0")).unwrap();
    assert_eq!(json(&folder, "plans check two.json --json")["version"], 2);
    let bad = stderr(&run(&folder, "plans check bad.json"));
    assert!(bad.contains("plans.pro.rpm: got 0, accepted is 1 to 1000000"), "{bad}");
    assert!(stderr(&run(&folder, "plans apply bad.json")).contains("plans.pro.rpm"));
    let diff = json(&folder, "plans diff two.json --json");
    assert_eq!(
        diff["differences"][0],
        serde_json::json!({"field":"plans.pro.included","from":10_000,"to":12_000})
    );
    assert_eq!(diff["projects"], serde_json::json!({"community":1,"pro":1}), "{diff}");
    assert_eq!(json(&folder, "plans apply two.json --json")["applied"], true);
    assert_eq!(json(&folder, "plans apply two.json --json")["applied"], false, "the second time");
    let lower = default.replace("\"grace_days\": 7", "\"grace_days\": 5");
    std::fs::write(folder.path().join("lower.json"), lower).unwrap();
    assert!(stderr(&run(&folder, "plans apply lower.json")).contains("accepted is more than 2"));
    // What was there keeps its version, also when its own quota comes and goes; what is new gets the newest.
    let shown = |id: &str| {
        let shown = json(&folder, &format!("project show {id} --json"));
        (shown["catalogue"].clone(), shown["included"].clone(), shown["rpm"].clone())
    };
    stdout(&folder, "project create new --plan pro");
    stdout(&folder, "project set old --included 20000");
    stdout(&folder, "project set old --included plan");
    assert_eq!(shown("old"), (1.into(), 20_000.into(), 600.into()), "the month's largest quota");
    assert_eq!(shown("new"), (2.into(), 12_000.into(), 700.into()));
    let preview = json(&folder, "plans migrate --json");
    let ids: Vec<_> = preview.as_array().unwrap().iter().map(|one| one["project"].clone()).collect();
    assert_eq!(ids, ["old", "small"]);
    assert_eq!(preview[0]["done"], false);
    assert_eq!(shown("old").0, 1, "a preview changes nothing");
    let done = json(&folder, "plans migrate --plan pro --yes --json");
    assert_eq!((&done[0]["project"], &done[0]["done"]), (&"old".into(), &true.into()));
    assert_eq!((shown("old").0, shown("old").2), (2.into(), 700.into()));
    assert_eq!(shown("small").0, 1, "another plan");
    assert_eq!(json(&folder, "plans migrate --project small --yes --json")[0]["done"], true);
    assert_eq!(stdout(&folder, "plans migrate"), "every project is on version 2");
    let versions = json(&folder, "plans show --json");
    assert_eq!((&versions[0]["projects"], &versions[1]["projects"]), (&0.into(), &3.into()));
}

/// Two projects as a file says them, beside what it says of plans.
const PROJECTS: &str = r#""projects": {
  "made": {"plan": "pro", "included": 12000, "thresholds": [100, 50],
           "webhooks": [{"url": "https://example.com/made", "events": ["usage.threshold_reached"]}]},
  "there": {"plan": "business", "rpm": null, "suspended": true,
            "webhooks": [{"url": "https://example.com/kept", "description": "ours"}]}}"#;

/// Version 2 of the catalogue, and those projects.
fn second_with_projects() -> String {
    let second = shared::plan::Catalogue::DEFAULT_JSON
        .replace("\"version\": 1", "\"version\": 2")
        .replace("\"rpm\": 600", "\"rpm\": 700");
    second.replacen('{', &format!("{{{PROJECTS},"), 1)
}

/// The exit code of a comparison that is asked for it, and which fields of which projects differ.
fn differs(folder: &Folder, file: &str) -> (Option<i32>, Vec<String>) {
    let output = run(folder, &format!("plans diff {file} --exit-code --json"));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fields = told["declared"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["project"].as_str().unwrap(), one["field"].as_str().unwrap()));
    (output.status.code(), fields.collect::<Vec<_>>())
}

#[test]
fn what_was_changed_by_hand_is_told_and_put_right() {
    let folder = Folder::new();
    stdout(&folder, "project create other --plan pro");
    std::fs::write(folder.path().join("projects.json"), format!("{{{PROJECTS}}}")).unwrap();
    stdout(&folder, "plans apply projects.json");
    assert_eq!(differs(&folder, "projects.json"), (Some(0), vec![]));
    stdout(&folder, "project set there --rpm 71");
    assert_eq!(differs(&folder, "projects.json"), (Some(4), vec!["there rpm".to_owned()]));
    assert_eq!(stdout(&folder, "plans diff projects.json"), "there: rpm: 71 → null");
    assert_eq!(stdout(&folder, "plans apply projects.json"), "there: rpm: 71 → null");
    assert_eq!(stdout(&folder, "plans apply projects.json"), "every project is as the file says");
    assert_eq!(stdout(&folder, "plans diff projects.json"), "nothing differs");
}

#[test]
fn a_file_of_plans_says_what_projects_and_their_webhooks_are_and_what_differs_has_an_exit_code() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for words in [
        "project create there --plan community --rpm 70",
        "webhooks create --project there --url https://example.com/kept",
        "webhooks create --project there --url https://example.com/gone",
        "webhooks create --project there --url https://hooks.slack.com/services/a/b --format slack",
        "project create other --plan pro --rpm 7",
        "webhooks create --project other --url https://example.com/other",
    ] {
        stdout(&folder, words);
    }
    write("all.json", &second_with_projects());
    write("projects.json", &format!("{{{PROJECTS}}}"));
    assert_eq!(stdout(&folder, "plans check all.json"), "version 2, 2 projects: nothing to put right");
    assert_eq!(stdout(&folder, "plans check projects.json"), "2 projects: nothing to put right");
    stdout(&folder, "plans what-if all.json");

    let all = [
        "made project",
        "made included",
        "made thresholds",
        "made webhook https://example.com/made",
        "there plan",
        "there rpm",
        "there suspended",
        "there webhook https://example.com/kept",
        "there webhook https://example.com/gone",
    ];
    assert_eq!(differs(&folder, "all.json"), (Some(4), all.map(str::to_owned).to_vec()));
    assert!(run(&folder, "plans diff all.json").status.success(), "nobody asked for an exit code");
    assert!(!run(&folder, "project show made").status.success(), "a comparison makes nothing");

    let applied = json(&folder, "plans apply all.json --json");
    assert_eq!((&applied["version"], &applied["applied"]), (&2.into(), &true.into()));
    let secrets = applied["changed"].as_array().unwrap().iter().filter_map(|one| one["secret"].as_str());
    assert!(secrets.eq(applied["changed"][3]["secret"].as_str()), "of the webhook that was made: {applied}");
    assert!(applied["changed"][3]["secret"].as_str().unwrap().starts_with("whsec_"), "{applied}");
    let made = json(&folder, "project show made --json");
    assert_eq!(
        (&made["plan"], &made["included"], &made["rpm"], &made["thresholds"]),
        (&"pro".into(), &12_000.into(), &700.into(), &[50, 100].into()),
    );
    let there = json(&folder, "project show there --json");
    assert_eq!(
        (&there["plan"], &there["own"]["rpm"], &there["suspended"]),
        (&"business".into(), &serde_json::Value::Null, &true.into()),
    );

    // What the file lacks goes only where that is said, and Slack's addresses are in no file.
    let gone = vec!["there webhook https://example.com/gone".to_owned()];
    assert_eq!(differs(&folder, "all.json"), (Some(4), gone));
    assert!(
        stdout(&folder, "plans apply all.json").contains("left: there: webhook https://example.com/gone")
    );
    stdout(&folder, "plans apply all.json --delete");
    assert_eq!(differs(&folder, "all.json"), (Some(0), vec![]));
    assert_eq!(differs(&folder, "projects.json"), (Some(0), vec![]));
    let kept = json(&folder, "webhooks list --project there --json");
    let kept: Vec<_> =
        kept.as_array().unwrap().iter().map(|one| (&one["format"], &one["description"])).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.contains(&(&"standard".into(), &"ours".into())), "{kept:?}");
    let other = json(&folder, "project show other --json");
    assert_eq!((&other["plan"], &other["rpm"]), (&"pro".into(), &7.into()), "nobody named it");
    assert_eq!(json(&folder, "webhooks list --project other --json").as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_meant_of_a_project_is_refused_before_anything_is_changed() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    stdout(&folder, "project create other --plan pro");
    for (from, to, said) in [
        ("\"rpm\": null", "\"rpm\": 0", "projects.there.rpm: got 0, accepted is 1 to 1000000"),
        ("[100, 50]", "[101]", "projects.made.thresholds"),
        ("\"rpm\": null", "\"rmp\": 7", "unknown field `rmp`"),
        ("\"pro\"", "\"gold\"", "gold"),
        (
            "usage.threshold_reached",
            "usage.reached",
            "projects.made.webhooks: https://example.com/made: events",
        ),
        (
            "[{\"url\": \"https://example.com/kept\"",
            "[{\"url\": \"https://example.com/kept\"}, {\"url\": \"https://example.com/kept\"",
            "twice",
        ),
    ] {
        assert!(PROJECTS.contains(from), "{from}");
        write("bad.json", &format!("{{{}}}", PROJECTS.replace(from, to)));
        for command in ["check", "diff", "apply"] {
            let why = stderr(&run(&folder, &format!("plans {command} bad.json")));
            assert!(why.contains(said), "{command} {to}: {why}");
        }
    }
    assert_eq!(json(&folder, "project list --json").as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_applies_the_file_that_meter_plans_names() {
    let folder = Folder::new();
    let file = folder.path().join("plans.json");
    let own = shared::plan::Catalogue::DEFAULT_JSON.replace("\"included\": 1000,", "\"included\": 1500,");
    std::fs::write(&file, &own).unwrap();
    let server = Process::spawn(meter(&folder, "serve").env("METER_PLANS", &file));
    // A meter without projects takes the file for what it begins with.
    assert_eq!(json(&folder, "project create demo --plan community --json")["included"], 1_500);
    server.kill();
    std::fs::write(&file, own.replace("1500", "1600")).unwrap();
    let mut command = meter(&folder, "serve");
    let server = Process::spawn(command.env("METER_PLANS", &file));
    assert_eq!(json(&folder, "project create second --plan community --json")["included"], 1_500);
    let log = server.kill();
    assert!(log.contains("is not newer than what was applied"), "{log}");
    std::fs::write(&file, "{}").unwrap();
    let refused = stderr(&meter(&folder, "serve").env("METER_PLANS", &file).output().unwrap());
    assert!(refused.contains("METER_PLANS") && refused.contains("plans.json"), "{refused}");
}

#[test]
fn thresholds_are_set_by_project() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let set = json(&folder, "project set demo --thresholds 50,80,100 --json");
    assert_eq!(
        (&set["thresholds"], &set["own"]["thresholds"]),
        (&[50, 80, 100].into(), &[50, 80, 100].into())
    );
    let reset = json(&folder, "project set demo --thresholds plan --json");
    assert_eq!((&reset["thresholds"], reset["own"]["thresholds"].is_null()), (&[80, 100].into(), true));
    for bad in ["0", "101", "x", "", "1,2,3,4,5,6,7,8,9,10,11"] {
        let refused = stderr(&run(&folder, &format!("project set demo --thresholds={bad}")));
        assert!(refused.contains("--thresholds"), "{bad}: {refused}");
    }
}

#[tokio::test]
async fn the_clocks_of_the_edge_and_the_simulated_stripe_move_along() {
    use std::sync::{Arc, Mutex};
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let hear = |path: &'static str| {
        let told = Arc::clone(&told);
        axum::routing::post(move |body: String| async move {
            told.lock().unwrap().push(format!("{path} {body}"));
        })
    };
    let router = axum::Router::new()
        .route("/internal/clock", hear("/internal/clock"))
        .route("/_fake/clock", hear("/_fake/clock"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = format!("http://{}", listener.local_addr().unwrap());
    let timeouts = aggregator::http::Timeouts::default();
    let connections = aggregator::http::Connections::default();
    tokio::spawn(aggregator::http::serve(listener, router, timeouts, connections, std::future::pending()));
    let mut advance = meter(&folder, "clock advance 3d --json");
    advance.env("METER_TEST", "1").env("EDGE_URL", &peer).env("STRIPE_API_BASE", &peer);
    let moved = tokio::task::spawn_blocking(move || advance.output()).await.unwrap().unwrap();
    assert!(moved.status.success(), "{moved:?}");
    let signed = told.lock().unwrap()[0].clone();
    let (path, body) = signed.split_once(' ').unwrap();
    assert_eq!(path, "/internal/clock");
    let keys = shared::sign::SigningKeys::parse(&format!("policy:p1:{SECRET_POLICY}")).unwrap();
    let opened = shared::moved::Moved::open(&serde_json::from_str(body).unwrap(), &keys).unwrap();
    assert_eq!(opened.offset_ms, 259_200_000);
    assert_eq!(told.lock().unwrap()[1], r#"/_fake/clock {"offset_ms":259200000}"#);
    // Who is not there is named, and the clock is moved all the same.
    let alone = meter(&folder, "clock advance 1s").env("METER_TEST", "1").output().unwrap();
    assert!(alone.status.success());
    let said = String::from_utf8(alone.stderr).unwrap() + &String::from_utf8(alone.stdout).unwrap();
    assert!(said.contains("the edge's clock was not moved"), "{said}");
}
