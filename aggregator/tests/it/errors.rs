//! Every error code has its page, and every page its code.

use std::collections::BTreeSet;
use std::path::Path;

use shared::problem::ErrorCode;

#[test]
fn every_code_has_a_page_that_says_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    let pages: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<String> =
        ErrorCode::ALL.iter().map(|code| format!("{}.md", code.as_str())).collect();
    assert_eq!(pages, expected);
    for code in ErrorCode::ALL {
        let page = std::fs::read_to_string(folder.join(format!("{}.md", code.as_str()))).unwrap();
        let heading = format!("# {}\n\n**{} {}**", code.as_str(), code.status(), code.title());
        assert!(page.starts_with(&heading), "{}: begins with {heading:?}", code.as_str());
        for part in ["## When", "## What to do", "## Example"] {
            assert!(page.contains(part), "{}: {part}", code.as_str());
        }
        let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let problem: shared::problem::Problem = serde_json::from_str(example).unwrap();
        let blank = shared::problem::Problem::new(*code, problem.detail.clone());
        assert_eq!(
            (&problem.type_url, &problem.title, problem.status, &problem.code),
            (&blank.type_url, &blank.title, blank.status, &blank.code)
        );
    }
}
