//! What a page shows beside what came: the same header lines, fields and sentences, with other numbers.
//!
//! It must never take a refusal for an answer that was not meant to be one.

use serde_json::Value;

/// Whether lines that should have been served were refused. Where a status is named, it is meant.
pub(super) fn is_problem(answer: &str, said: &str) -> bool {
    let body = answer.rsplit("\n\n").next().unwrap_or(answer);
    let problem = serde_json::from_str::<Value>(body)
        .is_ok_and(|body| body.get("status").and_then(Value::as_u64) >= Some(400));
    problem && !["401", "402", "429"].iter().any(|status| said.contains(status))
}

/// Whether an answer is what was told, but for numbers and names that are made anew each time.
pub(super) fn compare(told: &str, answer: &str) -> Result<(), String> {
    let (told_head, told_body) = parts(told);
    let (head, body) = parts(answer);
    for line in told_head.lines() {
        if !head.lines().any(|answered| plain(answered) == plain(line)) {
            return Err(format!("shown is the line `{line}`, and the answer is\n{answer}"));
        }
    }
    for line in head.lines().filter(|line| !told_head.is_empty() && is_ours(line)) {
        if !told_head.lines().any(|told| plain(told) == plain(line)) {
            return Err(format!("not shown is the line `{line}`"));
        }
    }
    // Where only the head is shown, the body is another's.
    if told_body.is_empty() && !told_head.is_empty() {
        return Ok(());
    }
    // Text may be broken into lines where it is read.
    let told_body = told_body.replace("\n ", " ");
    // Of several lines the last one's answer is shown.
    let answered = body.lines().last().unwrap_or_default();
    match (serde_json::from_str::<Value>(&told_body), serde_json::from_str::<Value>(answered)) {
        (Ok(told), Ok(body)) => same("", &told, &body),
        (Err(_), Err(_)) if plain(&told_body) == plain(body) => Ok(()),
        _ => Err(format!("shown is\n{told_body}\nand the answer is\n{body}")),
    }
}

/// The header lines, if there are any, and the rest.
fn parts(text: &str) -> (&str, &str) {
    match text.split_once("\n\n") {
        Some((head, body)) if head.starts_with("HTTP/") => (head, body.trim()),
        _ if text.starts_with("HTTP/") => (text, ""),
        _ => ("", text.trim()),
    }
}

/// Whether a header line is what a reader would want to know about.
fn is_ours(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["palveron-", "ratelimit", "retry-after", "content-type"].iter().any(|start| line.starts_with(start))
}

/// A line without what differs from one time to the next.
pub(super) fn plain(line: &str) -> String {
    // Which place has decided differs too.
    let line = if line.starts_with("Server-Timing: ") { "Server-Timing:" } else { line };
    let mut plain = String::new();
    for word in line.split_whitespace() {
        let word = word.split_once("evt_").map_or(word, |(before, _)| before);
        plain.push(' ');
        for letter in word.chars() {
            match letter {
                '0'..='9' if plain.ends_with('0') => {}
                '0'..='9' => plain.push('0'),
                letter => plain.push(letter),
            }
        }
    }
    plain
}

/// Whether two answers have the same fields and sentences; `place` is where in them.
fn same(place: &str, told: &Value, answer: &Value) -> Result<(), String> {
    match (told, answer) {
        (Value::Object(told), Value::Object(answer)) => {
            let (mut names, mut answered): (Vec<_>, Vec<_>) =
                (told.keys().collect(), answer.keys().collect());
            names.sort();
            answered.sort();
            if names != answered {
                return Err(format!("shown is {names:?} at `{place}`, and the answer has {answered:?}"));
            }
            told.iter().try_for_each(|(name, told)| same(&format!("{place}/{name}"), told, &answer[name]))
        }
        (Value::Array(told), Value::Array(answer)) if told.len() == answer.len() => {
            // They are in order of numbers, which differ.
            let is_there = |told: &&Value| answer.iter().any(|answer| same(place, told, answer).is_ok());
            match told.iter().find(|told| !is_there(told)) {
                Some(told) => Err(format!("shown is {told} at `{place}`, which is not in {answer:?}")),
                None => Ok(()),
            }
        }
        (Value::String(told), Value::String(answer)) if plain(told) == plain(answer) => Ok(()),
        (Value::Number(_), Value::Number(_)) => Ok(()),
        (told, answer) if told == answer => Ok(()),
        _ => Err(format!("shown is {told} at `{place}`, and the answer has {answer}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str =
        "HTTP/1.1 200 OK\nRateLimit: \"rpm\";r=59;t=21\n\n{\"agent\":\"bot\",\"says\":\"wait\n 10 s\"}";

    #[test]
    fn other_numbers_are_the_same_answer_and_other_words_are_not() {
        let with = |from: &str, to: &str| TOLD.replace("\n 10 s", " 10 s").replace(from, to);
        assert_eq!(compare(TOLD, &with("59;t=21", "7;t=1")), Ok(()));
        assert_eq!(compare(TOLD, &with("10 s", "2 s")), Ok(()));
        assert_eq!(compare(TOLD, &with("OK\n", "OK\nDate: now\n")), Ok(()));
        let (head, _) = TOLD.split_once("\n\n").unwrap();
        assert_eq!(compare(head, &with("bot", "other")), Ok(()));
        for (from, to) in [
            ("200 OK", "402 Payment Required"),
            ("rpm", "month"),
            ("OK\n", "OK\nPalveron-Source: included\n"),
            ("bot", "other"),
            ("wait", "go"),
            ("\"agent\":\"bot\",", ""),
            ("{", "{\"more\":1,"),
        ] {
            assert!(compare(TOLD, &with(from, to)).is_err(), "{from} → {to}");
        }
    }

    #[test]
    fn what_is_refused_is_no_answer_unless_it_is_meant() {
        let refused = "HTTP/1.1 401 Unauthorized\n\n{\"status\":401}";
        assert!(is_problem(refused, "usage") && !is_problem(refused, "without a key: 401"));
        assert!(is_problem("{\"status\":422}", "usage") && !is_problem("{\"status\":\"ok\"}", "usage"));
    }
}
