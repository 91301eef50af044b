//! What the documentation names is there: every shell line is one, every command has its options, every path its
//! parameters, and every variable is read by somebody. What can be followed word for word is, by `cargo xtask readme`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::config;

use super::{repository, run};

mod shell;

/// Where pages are. The changelog is none of them: it tells of what was.
const FOLDERS: [&str; 3] = ["docs", "clients", "examples"];
const ALONE: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

/// What is made, or of others.
const NO_PAGES: [&str; 3] = ["dist", "node_modules", "target"];

/// The programs that say themselves what they take.
const PROGRAMS: [&str; 3] = ["meter", "meter-reporter", "meter-envoy"];

/// Who runs a program that is named later in the line, and what comes before it.
const RUNNERS: [(&str, &str); 3] = [("docker", "exec"), ("kubectl", "--"), ("systemd-run", "--setenv")];

/// What variables begin with that can only be meant for somebody of ours.
const OURS: [&str; 7] =
    ["METER_", "TELEMETRY_", "STRIPE_", "OTEL_", "REDIS_", "DEMO_UPSTREAM_", "FAKE_STRIPE_"];

/// Where somebody of ours reads variables who does not list them.
const READERS: [&str; 6] =
    ["edge/src", "edge/js", "homes/src", "homes/js", "tests/src/config.rs", "clients/python/tests"];

/// What the library reads that makes the spans.
const OF_TRACES: [&str; 3] = ["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_BSP_SCHEDULE_DELAY"];

/// What servers answer that no description has: pages for people, and what parts of ours say to each other.
const PAGES: [&str; 2] = ["/docs", "/llms.txt"];
const INTERNAL: &str = "/internal/";

/// What pages on moving here tell of others' interfaces.
const OF_OTHERS: [&str; 2] = ["POST /v2/analytics.getVerifications", "GET /api/v1/meters/…/query"];

/// What Kubernetes would set for a service called `meter`.
const OF_KUBERNETES: &str = "METER_PORT";

/// What is deployed names variables too.
const DEPLOYED: [&str; 6] =
    ["Dockerfile", "compose.yaml", "deploy/systemd", "deploy/kubernetes", "deploy/helm", "deploy/secrets.sh"];

/// What every shell has.
const OF_SHELLS: [&str; 4] = ["PATH", "PWD", "HOME", "USER"];

/// A server that the documentation tells people to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Edge,
    Aggregator,
    Reporter,
}

/// How servers are named, on the machine where all is tried, and in examples.
const SERVERS: [(&str, Server); 8] = [
    ("$EDGE_URL", Server::Edge),
    ("https://edge.example.com", Server::Edge),
    // Envoy, in front of the same routes.
    ("http://127.0.0.1:10000", Server::Edge),
    ("$AGGREGATOR_URL", Server::Aggregator),
    ("https://meter.example.com", Server::Aggregator),
    ("http://127.0.0.1:8080", Server::Aggregator),
    ("$REPORTER_URL", Server::Reporter),
    ("http://127.0.0.1:8790", Server::Reporter),
];

/// A call that somebody answers: its method, the segments of its path and its parameters.
#[derive(Debug)]
struct Endpoint {
    server: Server,
    method: String,
    path: String,
    parameters: BTreeSet<String>,
}

/// All that may be named.
struct Known {
    endpoints: Vec<Endpoint>,
    variables: BTreeSet<String>,
    /// The edge and its homes.
    sources: String,
    /// What `cargo xtask dev` writes for its readers.
    of_dev: String,
    helps: BTreeMap<Vec<String>, Result<String, String>>,
}

/// What a page had, so that a reader that finds nothing is found out.
#[derive(Debug, Default)]
struct Counted {
    blocks: usize,
    commands: usize,
    calls: usize,
    variables: usize,
}

impl Known {
    fn gather() -> Result<Self> {
        let mut endpoints = described("docs/openapi.json", Server::Aggregator)?;
        endpoints.extend(described("docs/openapi-edge.json", Server::Edge)?);
        endpoints.extend(described("docs/openapi-edge.json", Server::Reporter)?);
        endpoints.extend(routed("reporter/src/http.rs", Server::Reporter)?);
        let mut variables: BTreeSet<String> = OF_TRACES.map(str::to_owned).into();
        variables.insert(OF_KUBERNETES.to_owned());
        // What stands in `.env` is read by Compose.
        let compose = fs::read_to_string(repository("compose.yaml"))?;
        variables.extend(compose.split("${").skip(1).flat_map(variables_in).map(str::to_owned));
        let mut sources = String::new();
        for program in PROGRAMS {
            let help = run(Command::new(built(program)?).arg("--help"))?;
            variables.extend(variables_in(&help).into_iter().map(str::to_owned));
        }
        for place in READERS {
            for (_, text) in texts(&repository(place))? {
                variables.extend(variables_in(&text).into_iter().map(str::to_owned));
                sources.push_str(&text);
            }
        }
        let of_dev = fs::read_to_string(repository("xtask/src/dev/settings.rs"))?;
        Ok(Self { endpoints, variables, sources, of_dev, helps: BTreeMap::new() })
    }

    /// Whatever a page names that is not there.
    fn findings(&mut self, page: &str, text: &str, counted: &mut Counted) -> Result<Vec<String>> {
        let mut findings = Vec::new();
        let (blocks, prose) = shell::parts(text);
        for block in &blocks {
            counted.blocks += 1;
            if let Err(why) = is_shell(block)? {
                findings.push(why);
            }
            let commands = shell::commands(&shell::with_open_words(block))?;
            for command in &commands {
                self.judge(command, counted, &mut findings)?;
            }
            findings.extend(self.strangers(block, text));
        }
        for code in shell::inline(&prose) {
            let code = shell::with_open_words(&code);
            if code.split_whitespace().next().is_some_and(|word| PROGRAMS.contains(&word)) {
                for command in shell::commands(&code)? {
                    self.judge(&command, counted, &mut findings)?;
                }
            }
            if let Some((method, path)) = shell::call(&code) {
                counted.calls += 1;
                let known = self.endpoints.iter().any(|one| one.fits(None, method, path))
                    || PAGES.contains(&path)
                    || path.starts_with(INTERNAL) && self.sources.contains(&format!("{path}'"))
                    || path.starts_with(INTERNAL) && self.sources.contains(&format!("{path}\""));
                if !known && !OF_OTHERS.contains(&code.as_str()) {
                    findings.push(format!("`{code}`: no server has such a path"));
                }
            }
        }
        for name in variables_in(text) {
            counted.variables += 1;
            if !self.reads(name) {
                findings.push(format!("{name} is read by nobody"));
            }
        }
        findings.sort();
        findings.dedup();
        Ok(findings.into_iter().map(|finding| format!("{page}: {finding}")).collect())
    }

    /// Whether somebody reads a variable, or one that begins so.
    fn reads(&self, name: &str) -> bool {
        self.variables.contains(name)
            || name.ends_with('_') && self.variables.iter().any(|known| known.starts_with(name))
    }

    fn judge(&mut self, command: &[String], counted: &mut Counted, findings: &mut Vec<String>) -> Result<()> {
        if let Some((program, words)) = program_of(command) {
            counted.commands += 1;
            if let Err(why) = self.takes(program, words)? {
                findings.push(format!("`{}`: {why}", command.join(" ")));
            }
        }
        if let Some(call) = shell::Curl::of(command) {
            counted.calls += 1;
            if let Err(why) = self.answers(&call) {
                findings.push(format!("`curl … {}`: {why}", call.url));
            }
        }
        Ok(())
    }

    /// Whether a program takes these words. Words that stand for something are left out, and their options looked up.
    fn takes(&mut self, program: &str, words: &[String]) -> Result<Result<(), String>> {
        let (mut kept, mut looked_up) = (vec![program.to_owned()], Vec::new());
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            let is_option = word.starts_with('-');
            let option = word.split('=').next().unwrap_or(word);
            // One that ends the words may be named without its value.
            let has_value = rest.peek().is_none_or(|next| is_open(next));
            if is_option && (word != option && is_open(word) || has_value) {
                looked_up.push(option.to_owned());
                if word == option {
                    rest.next();
                }
            } else if !is_open(word) {
                kept.push(word.clone());
            }
        }
        let help = match self.helps.get(&kept) {
            Some(help) => help.clone(),
            None => {
                let mut command = Command::new(built(program)?);
                command.args(kept.iter().skip(1)).arg("--help");
                let help = run(&mut command).map_err(|error| error.to_string());
                self.helps.insert(kept, help.clone());
                help
            }
        };
        Ok(help.and_then(|help| {
            let options: BTreeSet<&str> =
                help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
            match looked_up.iter().find(|option| !options.contains(option.as_str())) {
                Some(option) => Err(format!("it has no {option}")),
                None => Ok(()),
            }
        }))
    }

    fn answers(&self, call: &shell::Curl) -> Result<(), String> {
        let url = call.url.replace("${", "$").replace('}', "");
        let server = SERVERS.iter().find_map(|(name, server)| Some((*server, url.strip_prefix(name)?)));
        let (server, rest) = server.ok_or("it asks a server that no reader knows")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut endpoints = self.endpoints.iter().filter(|one| one.fits(Some(server), &call.method, path));
        let endpoint = endpoints.next().ok_or_else(|| format!("{} has no such path there", call.method))?;
        let names = query.split('&').filter(|pair| !pair.is_empty());
        let mut names = names.map(|pair| pair.split('=').next().unwrap_or(pair));
        match names.find(|name| !endpoint.parameters.contains(*name)) {
            Some(name) => Err(format!("it takes no {name}")),
            None => Ok(()),
        }
    }

    /// Variables that a block uses and that nobody has set for its reader.
    fn strangers(&self, block: &str, page: &str) -> Vec<String> {
        let used = block.split('$').skip(1).map(|rest| {
            let rest = rest.trim_start_matches('{');
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default()
        });
        let is_set = |name: &str| {
            OF_SHELLS.contains(&name)
                || self.of_dev.contains(&format!("\"{name}\""))
                || [" ", "\n", "`"].iter().any(|before| page.contains(&format!("{before}{name}=")))
        };
        let used = used.filter(|name| name.len() > 1 && !is_set(name));
        used.map(|name| format!("${name} is set by nobody")).collect()
    }
}

impl Endpoint {
    /// Whether a call is one of this; `…` and names in braces stand for any segment, and at either end for any of them.
    fn fits(&self, server: Option<Server>, method: &str, path: &str) -> bool {
        (method.is_empty() || self.method == method)
            && server.is_none_or(|server| self.server == server)
            && self.has(path)
    }

    fn has(&self, path: &str) -> bool {
        let own: Vec<&str> = self.path.split('/').skip(1).collect();
        let told: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let open = |segment: &str| segment.starts_with(['…', '{', '$']);
        let same = |own: &[&str], told: &[&str]| {
            let mut pairs = own.iter().zip(told);
            own.len() == told.len() && pairs.all(|(own, told)| own == told || open(own) || open(told))
        };
        match (told.first(), told.split_last()) {
            (Some(&"…"), Some((_, before))) if !before.is_empty() => {
                let end = told.get(1..).unwrap_or_default();
                let from = own.len().checked_sub(end.len());
                from.and_then(|from| own.get(from..)).is_some_and(|own| same(own, end))
            }
            (_, Some((&"" | &"*", before))) => own.get(..before.len()).is_some_and(|own| same(own, before)),
            (_, Some((last, _))) if !last.starts_with('…') && last.ends_with('…') => {
                self.path.starts_with(path.trim_end_matches('…'))
            }
            _ if self.path.ends_with("{path}") && told.len() > own.len() => {
                let fixed = own.len().saturating_sub(1);
                own.get(..fixed) == told.get(..fixed)
            }
            _ => same(&own, &told),
        }
    }
}

/// The endpoints of an OpenAPI document.
fn described(document: &str, server: Server) -> Result<Vec<Endpoint>> {
    let document: Value = serde_json::from_str(&fs::read_to_string(repository(document))?)?;
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().context("paths")? {
        for (method, operation) in methods.as_object().context("methods")? {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter_map(|one| {
                let reference = one["$ref"].as_str().and_then(|at| at.strip_prefix('#'));
                let one = reference.and_then(|at| document.pointer(at)).unwrap_or(one);
                one["name"].as_str().map(str::to_owned)
            });
            let (method, path) = (method.to_uppercase(), path.clone());
            found.push(Endpoint { server, method, path, parameters: names.collect() });
        }
    }
    Ok(found)
}

/// The endpoints of a router that no document describes: `.route("/count", post(…))`.
fn routed(source: &str, server: Server) -> Result<Vec<Endpoint>> {
    let text = fs::read_to_string(repository(source))?;
    let routes = text.split(".route(\"").skip(1).filter_map(|rest| {
        let (path, rest) = rest.split_once('"')?;
        let method = rest.trim_start_matches([',', ' ']).split('(').next()?.to_uppercase();
        Some(Endpoint { server, method, path: path.to_owned(), parameters: BTreeSet::new() })
    });
    let routes: Vec<Endpoint> = routes.collect();
    ensure!(!routes.is_empty(), "{source} has no routes");
    Ok(routes)
}

fn built(program: &str) -> Result<std::path::PathBuf> {
    Ok(config::meter_program()?.with_file_name(program))
}

/// A word that stands for something of the reader's.
fn is_open(word: &str) -> bool {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    word.contains(['$', '…', '*']) || word.len() > 1 && word.chars().all(is_name)
}

/// One of our programs that a line runs, and with which words.
fn program_of(command: &[String]) -> Option<(&'static str, &[String])> {
    let is_before = |word: &String| {
        word == "sudo"
            || word
                .split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let start = command.iter().position(|word| !is_before(word))?;
    let name = |word: &String| {
        let name = word.rsplit('/').next().unwrap_or(word);
        PROGRAMS.into_iter().find(|program| *program == name)
    };
    let line = command.get(start..)?;
    let runner = RUNNERS.iter().find(|(runner, _)| line.first().is_some_and(|word| word == runner));
    let line = match runner {
        Some((_, before)) => {
            let before = line.iter().position(|word| word.split('=').next() == Some(*before))?;
            let at = line.iter().skip(before.saturating_add(1)).position(|word| name(word).is_some())?;
            line.get(before.saturating_add(at).saturating_add(1)..)?
        }
        None => line,
    };
    let (program, words) = line.split_first()?;
    name(program).map(|program| (program, words))
}

/// The names of variables that can only be ours.
fn variables_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name =
        |word: &&str| word.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
    words.filter(|word| OURS.iter().any(|ours| word.starts_with(ours))).filter(is_name).collect()
}

/// What a shell says to lines that it does not understand.
fn is_shell(lines: &str) -> Result<Result<(), String>> {
    let mut bash = Command::new("bash");
    let mut bash = bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    bash.stdin.take().context("its input")?.write_all(lines.as_bytes())?;
    let said = bash.wait_with_output()?;
    Ok(if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) })
}

/// The texts of a file, or of all below a folder.
fn texts(place: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    if place.is_file() {
        found.push((place.display().to_string(), fs::read_to_string(place)?));
        return Ok(found);
    }
    for entry in fs::read_dir(place).with_context(|| place.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if !entry.file_type()?.is_dir() {
            // What is no text names nothing.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                found.push((entry.path().display().to_string(), text));
            }
        } else if !NO_PAGES.iter().any(|made| name == *made) {
            found.extend(texts(&entry.path())?);
        }
    }
    Ok(found)
}

fn pages() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for place in FOLDERS.iter().chain(&ALONE) {
        all.extend(texts(&repository(place))?);
    }
    all.retain(|(path, _)| Path::new(path).extension().is_some_and(|end| end == "md"));
    Ok(all)
}

#[test]
fn every_command_path_and_variable_that_is_documented_is_there() -> Result<()> {
    let (mut known, mut counted, mut findings) = (Known::gather()?, Counted::default(), Vec::new());
    let pages = pages()?;
    for (page, text) in &pages {
        findings.extend(known.findings(page, text, &mut counted)?);
    }
    for place in DEPLOYED {
        for (file, text) in texts(&repository(place))? {
            let unread = variables_in(&text).into_iter().filter(|name| !known.reads(name)).map(str::to_owned);
            findings.extend(unread.map(|name| format!("{file}: {name} is read by nobody")));
        }
    }
    ensure!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    // As many as there were when this was written, or nearly.
    let Counted { blocks, commands, calls, variables } = counted;
    ensure!(
        pages.len() > 100 && blocks > 50 && commands > 150 && calls > 60 && variables > 100,
        "{counted:?}"
    );
    Ok(())
}

#[test]
fn what_is_documented_and_is_not_there_is_found() -> Result<()> {
    let mut known = Known::gather()?;
    let fence = "```";
    for (text, found) in [
        (
            "`meter project list`, `meter-reporter test`, `meter contract create <id> --customer \"A B\" --from 2026-12-01`",
            "",
        ),
        ("`meter projects list`", "unrecognized subcommand"),
        ("`meter usage --projct demo`", "unexpected argument"),
        ("`meter usage --projct <id>`", "it has no --projct"),
        ("`meter project create demo --plan gold`", "invalid value"),
        (
            "`GET /api/v1/usage`, `POST …/plans/migrate`, `/api/v1/admin/contracts/<id>`, `/v1/mcp/files/read`",
            "",
        ),
        ("`GET /api/v1/usages`", "no server has such a path"),
        ("`POST /api/v1/usage`", "no server has such a path"),
        ("METER_LISTEN, METER_SHADOW and TELEMETRY_ENDPOINT", ""),
        ("set METER_LISTN", "METER_LISTN is read by nobody"),
        (
            "SH curl -s \"$AGGREGATOR_URL/api/v1/usage?from=$(date +%F)&to=x\" -H \"Authorization: Bearer $ADMIN_TOKEN\"",
            "",
        ),
        ("SH curl -s \"$AGGREGATOR_URL/api/v1/usage?form=1\"", "it takes no form"),
        ("SH curl -s $EDGE_URL/v1/verfy -d '{}'", "POST has no such path"),
        ("SH curl -s $EDGE_URL/v1/quota -d '{}'", "POST has no such path"),
        ("SH curl -s http://127.0.0.1:8790/count -d '{}'", ""),
        ("SH curl -s http://127.0.0.1:9/count -d '{}'", "a server that no reader knows"),
        ("SH curl -s $EDGE_URL/v1/quota -H \"Authorization: Bearer $MY_KEY\"", "$MY_KEY is set by nobody"),
        ("SH day=$(meter usagee --json | jq .total)", "unrecognized subcommand"),
        ("SH sudo METER_TEST=1 target/debug/meter clock advnce 3d   # soon", "unrecognized subcommand"),
        (
            "SH kubectl --namespace palveron exec deployment/meter -- meter projct list",
            "unrecognized subcommand",
        ),
        ("SH kubectl --namespace palveron create secret generic meter --from-env-file x", ""),
        (
            "SH sudo systemd-run --pipe --setenv=DATABASE_URL=x /usr/local/bin/meter project lst",
            "unrecognized subcommand",
        ),
        ("`meter webhooks replay --since`, `POST /internal/contact`, `/api/v1/webhooks…`, `GET /docs`", ""),
        ("`meter webhooks replay --snce`", "it has no --snce"),
        ("`POST /internal/contacts`", "no server has such a path"),
        ("SH cat > file <<END\nmeter nothing\nEND\nmeter project list", ""),
        ("SH if true; then", "syntax error"),
    ] {
        let page = match text.strip_prefix("SH ") {
            Some(lines) => format!("{fence}sh\n{lines}\n{fence}\n"),
            None => text.to_owned(),
        };
        let findings = known.findings("page", &page, &mut Counted::default())?;
        match found {
            "" => assert!(findings.is_empty(), "{text}: {findings:?}"),
            _ => assert!(findings.len() == 1 && findings[0].contains(found), "{text}: {findings:?}"),
        }
    }
    Ok(())
}
