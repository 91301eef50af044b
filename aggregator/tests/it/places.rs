//! Commands on the books themselves and over HTTP: the same words, the same answers, the same refusals.

use std::process::{Command, Output};

use aggregator::clock::Clock;
use serde_json::Value;

use crate::backend;
use crate::cli::{Process, json, meter, run, stderr, stdout};
use crate::support::{Folder, until};

/// `meter` with nothing but a server and a token.
fn remote(server: &Process, token: &str, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meter"));
    command.args(words.split_whitespace()).env_clear();
    command.env("METER_URL", format!("http://{}", server.address)).env("METER_TOKEN", token);
    command
}

fn answer(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What an answer has beside ids, instants and secrets, which are new each time.
fn lasting(mut value: Value) -> Value {
    const NEW: &[&str] = &[
        "id",
        "at",
        "key",
        "token",
        "secret",
        "created_at",
        "revoked_at",
        "removed_at",
        "replaced_until",
        "previous_until",
        "expires_at",
        "timestamp",
        "delivery",
        "event",
        "policy_version",
        // Whether a delivery has failed already: nobody receives it.
        "status",
        "failing_since",
    ];
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEW.contains(&name.as_str()));
            fields.values_mut().for_each(|field| *field = lasting(field.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = lasting(value.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// One command after the other; `$key` and the like are ids that an earlier one was answered with.
const SCRIPT: &str = "
    project create $p --plan pro
    project set $p --rpm 77 --included 500 --thresholds 50,100
    project suspend $p
    project resume --project $p
    project show --project $p
    key create --project $p                                       = key
    key create --project $p --test
    key rotate --project $p --key $key --overlap 60               = new
    key revoke --project $p --key $new
    key list --project $p
    member add --project $p --name ada@example.com --role owner   = ada
    member add --project $p --name bob@example.com --role viewer  = bob
    member set --project $p $bob --role finance
    member token --project $p $bob
    member remove --project $p $bob
    member list --project $p
    token create --project $p --role admin                        = token
    token revoke --project $p $token
    token list --project $p
    webhooks create --project $p --url https://example.com/h --event usage.threshold_reached --description x = hook
    webhooks set --project $p $hook --event *
    webhooks rotate --project $p $hook
    webhooks test --project $p $hook
    webhooks list --project $p
    webhooks delete --project $p $hook
    credit give --project $p --units 500 --reason outage
    statement --project $p --period $month
    usage --project $p --from 2026-11-01 --to 2026-11-02
    usage --project $p --from 2026-11-01 --to 2026-11-02 --by agent
    explain --project $p --period $month
    top-up show --project $p
    top-up off --project $p
    quarantine list --project $p
    audit --project $p --limit 3
";

/// Runs the script, and gives what each command was answered.
fn play(project: &str, mut command: impl FnMut(&str) -> Command) -> Vec<(String, Value)> {
    let month = Clock::system().now().period().to_string();
    let mut ids: Vec<(String, String)> =
        vec![("$p".to_owned(), project.to_owned()), ("$month".to_owned(), month)];
    let mut answers = Vec::new();
    for line in SCRIPT.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (template, name) = line.split_once('=').map_or((line, None), |(a, b)| (a.trim(), Some(b.trim())));
        let mut words = template.to_owned();
        // The longest names first: one may begin as another does.
        ids.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, id) in &ids {
            words = words.replace(name, id);
        }
        let answer = answer(command(&format!("{words} --json")));
        if let Some(name) = name {
            ids.push((format!("${name}"), answer["id"].as_str().unwrap().to_owned()));
        }
        let told = lasting(answer).to_string();
        let told = ids.iter().fold(told, |told, (name, id)| told.replace(id.as_str(), name));
        answers.push((template.to_owned(), serde_json::from_str(&told).unwrap()));
    }
    answers
}

#[tokio::test]
async fn every_command_says_the_same_on_the_books_and_over_http() {
    let folder = Folder::new();
    let operator = stdout(&folder, "token create --operator");
    let server = Process::serve(&folder);
    let on_books = play("on-the-books", |words| meter(&folder, words));
    let over_http = play("over-http", |words| remote(&server, &operator, words));
    for ((words, books), (_, http)) in on_books.into_iter().zip(over_http) {
        if words.starts_with("audit") {
            // Who did it is another.
            assert_eq!(books.as_array().unwrap().len(), http.as_array().unwrap().len());
            assert_eq!(
                (&books[0]["action"], &books[0]["actor"]["kind"]),
                (&http[0]["action"], &"command".into())
            );
            assert_eq!(http[0]["actor"]["kind"], "token");
        } else {
            assert_eq!(books, http, "{words}");
        }
    }
    let both = answer(remote(&server, &operator, "project list --json"));
    assert_eq!(both, json(&folder, "project list --json"));
    server.kill();
}

/// What a refusal says, and its exit code.
fn refused(output: &Output) -> (String, i32) {
    (stderr(output), output.status.code().unwrap())
}

#[tokio::test]
async fn a_member_names_no_project_and_is_told_what_is_not_theirs() {
    let folder = Folder::new();
    for words in ["project create demo --plan pro", "project create other --plan pro"] {
        stdout(&folder, words);
    }
    let viewer = stdout(&folder, "token create --project demo --role viewer");
    let operator = stdout(&folder, "token create --operator");
    let server = Process::serve(&folder);
    assert_eq!(answer(remote(&server, &viewer, "explain --json"))["project"], "demo");
    assert_eq!(answer(remote(&server, &viewer, "invoices --json"))["invoices"][0]["state"], "open");
    let named = remote(&server, &operator, "explain --json").env("METER_PROJECT", "other").output().unwrap();
    assert!(String::from_utf8(named.stdout).unwrap().contains(r#""project":"other""#));
    // who, command => exit code, words that the refusal has
    let table = "
        viewer   key create                    => 1 role is viewer
        viewer   project list                  => 1 role is viewer
        viewer   explain --project other       => 1 no such project
        operator explain                       => 1 METER_PROJECT
        operator explain --project nobody      => 1 `meter project list`
        operator project create demo --plan pro => 1 `meter project set <id>`
        viewer   plans show                    => 1 role is viewer
        operator plans migrate --project nobody => 1 `meter project list`
        viewer   token create --operator       => 1 role is viewer
        viewer   token list                    => 1 role is viewer
        viewer   stripe orders                 => 1 role is viewer
        operator stripe sync                   => 3 STRIPE_SECRET_KEY
        operator token revoke nobody           => 1 `meter token list`
        operator stripe retry evt_1            => 1 `meter stripe parked`
        operator stripe bills --project nobody => 1 `meter project list`
        operator backup copy.db                => 1 DATABASE_URL
        operator clock advance 3d              => 1 METER_TEST=1
        nobody   explain                       => 1 `meter token create`
        operator fly                           => 2 --help
    ";
    for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (asked, expected) = case.split_once("=>").unwrap();
        let (who, words) = asked.trim().split_once(' ').unwrap();
        let (code, expected) = expected.trim().split_once(' ').unwrap();
        let token = match who {
            "viewer" => &viewer,
            "operator" => &operator,
            _ => "pat_0000000000000000000000000000000000000000000000000000000000000000",
        };
        let (said, got) = refused(&remote(&server, token, words.trim()).output().unwrap());
        assert!(said.contains(expected) && got.to_string() == code, "{case}: {got} {said}");
        assert!(!said.contains(&viewer[4..]) && !said.contains(&operator[4..]), "{said}");
    }
    // A server that is not there, and half of a setting.
    let mut gone = remote(&server, &viewer, "explain");
    let (said, code) = refused(&gone.env("METER_URL", "http://127.0.0.1:9").output().unwrap());
    assert!(said.contains("cannot be reached") && code == 3, "{code} {said}");
    let mut half = remote(&server, &viewer, "explain");
    let (said, code) = refused(&half.env_remove("METER_TOKEN").output().unwrap());
    assert!(said.contains("METER_TOKEN") && code == 2, "{code} {said}");
    server.kill();
}

/// A command on the books and over HTTP, which must say the same; what it said.
fn both(folder: &Folder, (server, token): (&Process, &str), words: &str) -> Value {
    let books = meter(folder, words).output().unwrap();
    let http = remote(server, token, words).current_dir(folder.path()).output().unwrap();
    let told = |output: &Output| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    assert_eq!(told(&books), told(&http), "{words}");
    serde_json::from_slice(&http.stdout).unwrap_or(Value::Null)
}

#[tokio::test]
async fn plans_are_shown_applied_and_migrated_over_http_as_on_the_books() {
    let folder = Folder::new();
    for words in ["project create old --plan pro", "project create small --plan community"] {
        stdout(&folder, words);
    }
    let operator = stdout(&folder, "token create --operator");
    let server = Process::serve(&folder);
    let default = shared::plan::Catalogue::DEFAULT_JSON;
    let second = default.replace("\"version\": 1", "\"version\": 2").replace("\"rpm\": 600", "\"rpm\": 700");
    let lower = default.replace("\"grace_days\": 7", "\"grace_days\": 5");
    for (name, text) in [("two", &second), ("lower", &lower), ("bad", &second.replace("700", "0"))] {
        std::fs::write(folder.path().join(format!("{name}.json")), text).unwrap();
    }
    let both = |words: &str| both(&folder, (&server, &operator), words);
    let over_http = |words: &str| {
        let mut command = remote(&server, &operator, words);
        command.current_dir(folder.path());
        answer(command)
    };
    assert_eq!(both("plans diff two.json --json")["projects"], serde_json::json!({"community": 1, "pro": 1}));
    both("plans diff two.json");
    both("plans check two.json");
    both("plans apply bad.json");
    assert_eq!(over_http("plans apply two.json --json")["applied"], true);
    assert_eq!(both("plans apply two.json --json")["applied"], false);
    both("plans apply two.json");
    both("plans apply lower.json");
    let made = r#"{"projects": {"made": {"plan": "pro", "webhooks": [{"url": "https://example.com/h"}]}, "old": {"plan": "pro"}}}"#;
    std::fs::write(folder.path().join("projects.json"), made).unwrap();
    both("plans diff projects.json --exit-code");
    let applied = over_http("plans apply projects.json --json");
    assert!(
        applied["changed"][1]["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")),
        "{applied}"
    );
    both("plans diff projects.json --exit-code");
    both("plans apply projects.json --delete");
    both("plans show");
    assert_eq!(both("plans migrate --json").as_array().unwrap().len(), 2);
    both("plans migrate");
    both("plans migrate --plan pro");
    let done = over_http("plans migrate --yes --json");
    assert_eq!(
        (&done[0]["project"], &done[0]["done"], &done[1]["done"]),
        (&"old".into(), &true.into(), &true.into())
    );
    assert_eq!(both("plans migrate --yes --json"), serde_json::json!([]), "again changes nothing");
    assert_eq!(both("plans show --json")[1]["projects"], 3);
    both("plans migrate");
    server.kill();
}

#[tokio::test]
async fn operators_tokens_are_made_and_revoked_over_http_but_never_by_themselves() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let first = json(&folder, "token create --operator --json");
    let (id, text) = (first["id"].as_str().unwrap(), first["token"].as_str().unwrap());
    let server = Process::serve(&folder);
    let second = answer(remote(&server, text, "token create --operator --json"));
    assert!(
        second["token"].as_str().unwrap().starts_with("pot_") && second.get("project").is_none(),
        "{second}"
    );
    let shown = both(&folder, (&server, text), "token list --json");
    assert_eq!(shown.as_array().unwrap().len(), 2);
    both(&folder, (&server, text), "token list");
    let (said, code) = refused(&remote(&server, text, &format!("token revoke {id}")).output().unwrap());
    assert!(said.contains("does not revoke itself") && code == 1, "{said}");
    let other = second["token"].as_str().unwrap();
    let revoked = answer(remote(&server, other, &format!("token revoke {id} --json")));
    assert!(revoked["revoked_at"].is_string());
    let (said, _) = refused(&remote(&server, text, "token list").output().unwrap());
    assert!(said.contains("revoked"), "{said}");
    // On the books the last one may go: there another is made.
    let last = second["id"].as_str().unwrap();
    assert!(json(&folder, &format!("token revoke {last} --json"))["revoked_at"].is_string());
    server.kill();
}

#[tokio::test]
async fn orders_bills_and_retries_say_the_same_over_http() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let operator = stdout(&folder, "token create --operator");
    let server = Process::serve(&folder);
    let at = (&server, operator.as_str());
    for what in ["orders", "bills"] {
        assert_eq!(both(&folder, at, &format!("stripe {what} --json")), serde_json::json!([]));
        both(&folder, at, &format!("stripe {what} --project demo"));
        both(&folder, at, &format!("stripe {what} --project nobody"));
    }
    both(&folder, at, "stripe parked");
    both(&folder, at, "stripe retry evt_1");
    both(&folder, at, "stripe retry demo/2026-10/0");
    both(&folder, at, "stripe sync --dry-run");
    server.kill();
}

#[tokio::test]
async fn what_happens_is_shown_over_http_as_on_the_books() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    stdout(&folder, "credit give --project demo --units 5 --reason test");
    let token = stdout(&folder, "token create --project demo --role viewer");
    let server = Process::serve(&folder);
    let words = "tail --project demo --after 0 --once --json";
    let books = stdout(&folder, words);
    assert!(books.lines().count() > 0, "{books}");
    let http = remote(&server, &token, words).output().unwrap();
    let http = String::from_utf8(http.stdout).unwrap();
    let values =
        |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    assert_eq!(values(&http), values(&books));
    server.kill();
}

#[tokio::test]
async fn webhooks_are_received_verified_and_printed_and_the_receiver_leaves_nothing() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let token = stdout(&folder, "token create --project demo --role admin");
    let server = Process::spawn(meter(&folder, "serve").env("METER_WEBHOOKS_ALLOW_LOOPBACK", "1"));
    let words = "webhooks listen --port 0 --count 1 --json";
    let mut listen = remote(&server, &token, words);
    let listening = tokio::task::spawn_blocking(move || listen.output().unwrap());
    let hooks = || json(&folder, "webhooks list --project demo --json");
    until("the receiver has a webhook", async || hooks().as_array().is_some_and(|hooks| hooks.len() == 1))
        .await;
    let id = hooks()[0]["id"].as_str().unwrap().to_owned();
    stdout(&folder, &format!("webhooks test --project demo {id}"));
    let output = listening.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&event["type"], &event["data"]["project"]),
        (&"webhook.test".into(), &"demo".into()),
        "{event}"
    );
    assert_eq!(hooks().as_array().unwrap().len(), 0);
    server.kill();
}

#[test]
fn a_second_server_on_one_file_is_refused_and_a_dead_one_holds_nothing() {
    if backend::server().is_some() {
        return;
    }
    let folder = Folder::new();
    let first = Process::serve(&folder);
    let said = stderr(&run(&folder, "serve"));
    assert!(said.contains("another meter (process ") && said.contains("Postgres"), "{said}");
    // Commands work beside it.
    stdout(&folder, "project create demo --plan pro");
    let said = stderr(&run(
        &folder,
        &format!("copy --from {} --to postgres://x@127.0.0.1:9/y", folder.database_url()),
    ));
    assert!(said.contains("another meter (process "), "{said}");
    first.kill();
    let second = Process::serve(&folder);
    second.kill();
}

#[test]
fn a_mistyped_variable_is_told() {
    let folder = Folder::new();
    let mut command = meter(&folder, "project create demo --plan pro");
    let output = command.env("METER_LISTN", "127.0.0.1:1").env("METER_SHADOW", "1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("did you mean METER_LISTEN?"), "{said}");
    assert!(!said.contains("METER_SHADOW"), "it is the edge's: {said}");
    let server = Process::spawn(meter(&folder, "serve").env("METER_LISTN", "127.0.0.1:1"));
    assert!(server.kill().contains("did you mean METER_LISTEN?"));
}

#[test]
fn a_file_of_settings_is_read_and_the_environment_wins() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    stdout(&folder, "project create other --plan pro");
    let file = folder.path().join("meter.toml");
    std::fs::write(&file, "METER_PROJECT = \"demo\"\n").unwrap();
    let said = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let explain = || meter(&folder, "explain --json");
    assert!(!explain().output().unwrap().status.success(), "no project is named");
    let named = said(&mut meter(&folder, "explain --json --config meter.toml"));
    assert!(named.contains("\"demo\""), "{named}");
    assert_eq!(said(explain().env("METER_CONFIG", &file)), named);
    let other = said(explain().env("METER_CONFIG", &file).env("METER_PROJECT", "other"));
    assert!(other.contains("\"other\"") && !other.contains("\"demo\""), "{other}");
    let empty = said(explain().env("METER_CONFIG", &file).env("METER_PROJECT", ""));
    assert_eq!(empty, named, "an empty variable is none");
    std::fs::write(&file, "METER_LISTN = \"127.0.0.1:0\"\nMETER_PROJECT = [\"hunter2\"]\n").unwrap();
    let refused = explain().env("METER_CONFIG", &file).output().unwrap();
    let why = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{why}");
    for expected in
        ["meter.toml: METER_LISTN: nothing reads it; did you mean METER_LISTEN?", "METER_PROJECT: got a"]
    {
        assert!(why.contains(expected) && !why.contains("hunter2"), "{why}");
    }
    let example = stdout(&folder, "settings");
    std::fs::write(&file, example.replace("#METER_LISTEN =", "METER_LISTEN =")).unwrap();
    let mut server = meter(&folder, "serve --config meter.toml");
    server.env_remove("METER_LISTEN").env("METER_LISTEN", "127.0.0.1:0");
    Process::spawn(&mut server).kill();
}

#[test]
fn every_command_has_a_manual_page_that_groff_takes() {
    let folder = Folder::new();
    stdout(&folder, "man pages");
    let pages = folder.path().join("pages");
    let mut names: Vec<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for expected in
        ["meter.1", "meter-serve.1", "meter-contract.1", "meter-contract-what-if.1", "meter-mcp.1"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected}: {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("help") || name == "meter-man.1"), "{names:?}");
    let page = std::fs::read_to_string(pages.join("meter.1")).unwrap();
    for said in ["METER_LISTEN", "Exit codes: 0 done", "meter\\-serve(1)"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    for name in names {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-ww", "-z", "-Tutf8", "-Kutf8"]).arg(pages.join(&name));
        let judged = groff.output().expect("groff is there: Debian has it in groff-base");
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        assert!(judged.status.success() && said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn shells_complete_commands_and_words() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&folder, &format!("completions {shell}"));
        for word in ["webhooks", "community", "finance", "usage.threshold_reached"] {
            assert!(script.contains(word), "{shell} {word}");
        }
    }
}

#[test]
fn plans_are_shown_with_prices_and_packs() {
    let folder = Folder::new();
    stdout(&folder, "project create demo --plan pro");
    let shown = stdout(&folder, "plans show");
    for words in ["version 1, applied", "1 projects", "A MONTH", "49.00 eur", "490.00 eur", "PACK", "large"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let dearer = shared::plan::Catalogue::DEFAULT_JSON
        .replace("\"version\": 1", "\"version\": 2")
        .replace("\"price_month\": 4900", "\"price_month\": 5900");
    std::fs::write(folder.path().join("two.json"), dearer).unwrap();
    stdout(&folder, "plans apply two.json");
    let shown = stdout(&folder, "plans show");
    assert!(shown.starts_with("version 2, applied") && shown.contains("59.00 eur"), "{shown}");
    assert!(
        !shown.contains("49.00 eur") && shown.lines().last().unwrap().starts_with("version 1, applied"),
        "{shown}"
    );
}
