//! Rules about what a source file says: its head, and what only certain files may use.
//!
//! It reads lines, not syntax: comments and the tests at a file's end are left out.

use super::tree::Tree;

/// Something that only certain files may use.
struct Rule {
    /// What is looked for.
    needles: &'static [&'static str],
    /// The rule binds files whose path begins with one of these.
    scope: &'static [&'static str],
    /// … but for those whose path contains one of these.
    except: &'static [&'static str],
    /// The rule in words.
    why: &'static str,
}

const RULES: [Rule; 6] = [
    Rule {
        needles: &["SystemTime::now", "Instant::now", "Date::now", "Date.now"],
        scope: &["shared/", "edge/", "homes/", "aggregator/", "reporter/", "envoy/", "settings/"],
        // The worker's shell is JavaScript, and hands the time to Rust.
        except: &["/clock.rs", "/platform.js", "/platform.rs"],
        why: "only clock.rs and a worker's platform read a clock; time is passed in",
    },
    Rule {
        needles: &["env::var", "env::vars"],
        scope: &["shared/", "edge/", "homes/", "aggregator/", "reporter/", "envoy/", "settings/"],
        // A build script is told by cargo where to write, and by nothing else.
        except: &[
            "/config.rs",
            "/config/",
            "/build.rs",
            "settings/src/environment.rs",
            "aggregator/tests/it/backend.rs",
        ],
        why: "only config.rs reads the environment",
    },
    Rule {
        needles: &["sqlx::", "SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE "],
        scope: &["shared/", "edge/", "homes/", "aggregator/", "reporter/", "envoy/", "settings/"],
        except: &[
            "aggregator/src/store",
            "aggregator/tests/it/backend.rs",
            "aggregator/tests/it/taken_back.rs",
            "homes/src/rows.rs",
            "reporter/src/store",
        ],
        why: "SQL lives in aggregator/src/store, in reporter/src/store and in the home's homes/src/rows.rs",
    },
    Rule {
        needles: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::thread",
            "std::process",
            "async fn",
            "tokio",
            "getrandom",
        ],
        scope: &["shared/src/"],
        except: &[],
        why: "shared is pure: no files, network, environment, threads, randomness, async",
    },
    Rule {
        needles: &["axum", "tokio", "sqlx", "reqwest"],
        scope: &[
            "aggregator/src/ledger",
            "aggregator/src/projects",
            "aggregator/src/metering",
            "aggregator/src/access",
            "aggregator/src/payments",
            "aggregator/src/webhooks",
        ],
        except: &[],
        why: "what decides does no I/O",
    },
    Rule {
        needles: &["HashMap", "HashSet"],
        scope: &["edge/src/", "homes/src/"],
        except: &[],
        why: "its keys are the same in every instance on the worker's platform: use BTreeMap",
    },
];

/// Registries' hosts, in parts so that this file does not name one: the repository must build behind any mirror.
const REGISTRIES: [[&str; 2]; 9] = [
    ["crates", ".io"],
    ["npmjs", ".org"],
    ["npmjs", ".com"],
    ["yarnpkg", ".com"],
    ["pypi", ".org"],
    ["pythonhosted", ".org"],
    ["deb.debian", ".org"],
    ["static.rust-lang", ".org"],
    ["proxy.golang", ".org"],
];

/// Checks all files.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        if !text.starts_with("//! ") {
            findings.push(format!(
                "{path}: begins without `//!`: say what the file is, and what it must never do"
            ));
        }
    }
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".js")) {
        let rules = RULES.iter().filter(|rule| {
            rule.scope.iter().any(|scope| path.starts_with(scope))
                && !rule.except.iter().any(|part| path.contains(part))
        });
        for rule in rules {
            findings.extend(uses(path, text, rule));
        }
    }
    for (path, text) in tree.files().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for host in REGISTRIES.map(|parts| parts.concat()).iter().filter(|host| text.contains(host.as_str()))
        {
            findings
                .push(format!("{path}: names the registry {host}: clients know where their registries are"));
        }
        if path.ends_with("package-lock.json") && text.contains("\"resolved\"") {
            findings.push(format!(
                "{path}: says where packages were fetched: make it with omit-lockfile-registry-resolved"
            ));
        }
    }
    findings
}

fn uses(path: &str, text: &str, rule: &Rule) -> Vec<String> {
    let found = code_lines(text).filter_map(|(number, line)| {
        let needle = rule.needles.iter().find(|needle| line.contains(**needle))?;
        Some(format!("{path}:{number}: `{}`: {}", needle.trim(), rule.why))
    });
    found.collect()
}

/// The numbered lines of a file, without comments and without the tests at its end.
pub(super) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines());
    lines
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_what_it_is_for_and_no_more() {
        for (path, text, findings) in [
            ("shared/src/a.rs", "//! A.\nuse std::time::Instant;\n// Instant::now is banned\n", 0),
            ("shared/src/a.rs", "//! A.\nlet now = Instant::now();\n", 1),
            ("shared/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }\n", 0),
            ("shared/src/a.rs", "// A.\n", 1),
            ("aggregator/src/clock.rs", "//! A.\nSystemTime::now()\n", 0),
            ("edge/js/platform.js", "const now = Date.now();\n", 0),
            ("edge/src/guard/platform.rs", "//! A.\nDate::now()\n", 0),
            ("edge/js/other.js", "const now = Date.now();\n", 1),
            ("aggregator/src/main.rs", "//! A.\nstd::env::var_os(\"X\")\n", 1),
            ("aggregator/src/config.rs", "//! A.\nstd::env::var_os(\"X\")\n", 0),
            ("aggregator/src/http/usage.rs", "//! A.\nsqlx::query(\"SELECT 1\")\n", 1),
            ("aggregator/src/store/usage.rs", "//! A.\nsqlx::query(\"SELECT 1\")\n", 0),
            ("aggregator/src/ledger/mod.rs", "//! A.\nuse sqlx::Row;\n", 2),
            ("aggregator/src/payments/goods.rs", "//! A.\nuse tokio::sync::Notify;\n", 1),
            ("homes/src/lib.rs", "//! A.\nsql.run(\"SELECT 1\")\n", 1),
            ("homes/src/rows.rs", "//! A.\nsql.run(\"SELECT 1\")\n", 0),
            ("homes/js/objects.js", "const now = Date.now();\n", 1),
            ("xtask/src/clock.rs", "//! A.\nInstant::now()\n", 0),
            ("README.md", concat!("see https://crates", ".io/x\n"), 1),
            ("Cargo.lock", concat!("source = \"crates", ".io\""), 0),
            ("tools/x/package-lock.json", "{\"resolved\":\"elsewhere\"}", 1),
        ] {
            assert_eq!(check(&Tree::from([(path, text)])).len(), findings, "{path}: {text}");
        }
    }
}
