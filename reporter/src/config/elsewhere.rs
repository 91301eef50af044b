//! Settings of the edge that hold nowhere on premise. Whoever sets one is told so, and what to do, instead of believing
//! that it holds.

use meter_settings::{Reader, Row};

use super::Endpoint;

/// What the edge reads and nothing here does; what `says` says is the refusal.
static ROWS: [Row; 6] = [
    row(
        "COUNTERS",
        "the home is here in the folder of METER_REPORTER_DATA, in no object and no Redis; unset it",
    ),
    row(
        "METER_HOMES",
        "the home is here in this process, which calls no other's and answers none's calls; unset it",
    ),
    row("METER_REGION", "there is one place here; unset it"),
    row("METER_SUB_HOMES", "this process decides alone, without sub-homes; unset it"),
    row(
        "METER_KEY_SECRETS",
        "no project key is asked for here: whoever reaches METER_REPORTER_LISTEN is served; unset it, and keep others away",
    ),
    row(
        "UPSTREAM_URL",
        "METER_REPORTER_UPSTREAM says here where allowed requests go; set that, or unset this one",
    ),
];

const fn row(name: &'static str, why: &'static str) -> Row {
    Row { name, who: None, default: "", meaning: None, says: why }
}

/// Whether that is one of them.
pub(super) fn is_one(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}

/// Notes those that are set. Where it is said whom requests go to, it does not matter who says it again.
pub(super) fn refuse(reader: &mut Reader<'_>, upstream: &Option<Option<Endpoint>>) {
    let forwards = matches!(upstream, Some(Some(_)));
    for row in ROWS.iter().filter(|row| !(forwards && row.name == "UPSTREAM_URL")) {
        if reader.text(row.name).is_some_and(|text| !text.trim().is_empty()) {
            reader.refuse(row, row.says);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::settings;
    use super::*;

    /// What the edge reads beside `COUNTERS=redis`, which is refused, and what tests have it do.
    const BESIDE: [&str; 4] =
        ["REDIS_URL", "REDIS_REPLICAS", "REDIS_ACCEPT_LOSS", "METER_TEST_HOME_DELAY_MS"];

    fn of(file: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
    }

    #[test]
    fn every_setting_of_the_edge_holds_here_or_is_refused() {
        let file = of("edge/workerd.capnp");
        let edge = file.split("const homes :").next().unwrap();
        let read: Vec<&str> =
            edge.split("fromEnvironment = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(read.len() > 12 && read.contains(&"METER_SHADOW"), "{read:?}");
        for name in read {
            let holds = settings::ROWS.iter().any(|row| row.name == name);
            let refused = ROWS.iter().any(|row| row.name == name);
            // Those are of the whole machine, for all that runs on it.
            let is_of_all = name.starts_with("OTEL_");
            assert!(
                holds != refused || is_of_all || BESIDE.contains(&name),
                "{name} is neither read nor refused, or both"
            );
        }
    }

    #[test]
    fn the_table_of_the_documents_is_these_rows() {
        let document = of("docs/on-premise.md");
        let section = document.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
        let refused = section.split("### Those of the edge that are refused").nth(1).unwrap();
        let documented: Vec<&str> = refused.lines().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<String> = ROWS.iter().map(|row| format!("| `{}` | {} |", row.name, row.says)).collect();
        assert_eq!(documented, rows, "{}", rows.join("\n"));
    }
}
