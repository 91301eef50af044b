//! The gate on premise: nobody shows a key, and all else is as at the edge.

use super::*;

fn premise() -> Premise {
    under(Rules::default())
}

fn under(rules: Rules) -> Premise {
    let home = HomeName::parse("plant-7/live").unwrap();
    Premise::new(home, KeyId::parse("onpremise").unwrap(), rules)
}

const CHECK: Request<'static> = Request {
    method: "POST",
    target: "/v1/check?kind=verify&agent=bot",
    host: "127.0.0.1",
    agent: "",
    header_bytes: 40,
    body_bytes: 0,
    upgrades: false,
};

fn refused(next: Next) -> Answer {
    let Next::Answer(answer) = next else { panic!("{next:?}") };
    answer
}

#[test]
fn a_question_needs_no_key() {
    let Next::Decide(question) = premise().enter(&CHECK) else { panic!("it is a question") };
    let Ask { key, agent, cost, .. } = question.ask();
    assert_eq!((key.as_str(), agent.as_str(), *cost), ("onpremise", "bot", 1));
    let Next::Read(body) = premise().enter(&Request { target: "/v1/check", ..CHECK }) else {
        panic!("its body is to be read")
    };
    let Next::Decide(question) = premise().read(body, r#"{"kind":"mcp_tool_call","cost":7}"#) else {
        panic!("it is a question")
    };
    assert_eq!(question.ask().cost, 7);
    assert_eq!(question.for_agent(AgentId::other()).ask().agent, AgentId::other());
}

#[test]
fn what_the_edge_refuses_is_refused() {
    for (request, status) in [
        (Request { method: "GET", ..CHECK }, 405),
        (Request { target: "/v1/check?kind=x", ..CHECK }, 422),
        (Request { target: "/v2", ..CHECK }, 404),
        (Request { target: "/internal/policy", ..CHECK }, 404),
        (Request { host: "a/b", ..CHECK }, 400),
        (Request { target: "/v1/verify", ..CHECK }, 502),
    ] {
        assert_eq!(refused(premise().enter(&request)).status, status, "{request:?}");
    }
}

#[test]
fn counts_come_one_by_one_or_in_lists_and_are_refused_whole() {
    let counts = |body: &str| premise().counts("header-bot", body);
    let one = counts(r#"{"kind":"verify"}"#).unwrap();
    assert_eq!((one.len(), one[0].units, one[0].agent.as_str()), (1, Units::new(1), "header-bot"));
    let two =
        counts(r#" [{"kind":"verify","agent":"a","units":3},{"kind":"extension_event","tokens_in":9}]"#)
            .unwrap();
    assert_eq!((two[0].units, two[1].observed.tokens_in), (Units::new(3), Units::new(9)));
    for (body, status, field) in [
        ("", 400, None),
        ("[", 400, None),
        ("[]", 422, Some("body")),
        (r#"[["verify"]]"#, 400, None),
        (r#"{"agent":"a"}"#, 422, Some("kind")),
        (r#"{"kind":"verify","note":"free text"}"#, 422, Some("body")),
        (r#"{"kind":"verify","agent":"~none"}"#, 422, Some("agent")),
        (r#"{"kind":"verify","units":1000001}"#, 422, Some("units")),
        (r#"{"kind":"verify","units":-1}"#, 422, Some("units")),
        (r#"[{"kind":"verify"},{"kind":"verify","anchors":1001}]"#, 422, Some("anchors")),
    ] {
        let answer = counts(body).unwrap_err();
        assert_eq!(answer.status, status, "{body}: {answer}");
        let problem: Problem = json::read(&answer.body).unwrap();
        assert_eq!(problem.field.as_deref(), field, "{body}: {answer}");
    }
}

#[test]
fn in_shadow_mode_a_home_that_cannot_write_denies_no_gateway_call() {
    let gateway = Request { target: "/v1/verify", ..CHECK };
    let now = Timestamp::from_ms(1_795_435_200_000);
    let undecided = |shadow: bool, request: &Request<'_>| {
        let premise = under(Rules { forwards: true, shadow, ..Rules::default() });
        let Next::Decide(question) = premise.enter(request) else { panic!("it is a question") };
        premise.undecided(question, now)
    };
    let Next::Forward(forward) = undecided(true, &gateway) else { panic!("it is forwarded") };
    let would_deny = ("Palveron-Would-Deny".to_owned(), "home_unavailable".to_owned());
    assert!(forward.headers.contains(&would_deny), "{:?}", forward.headers);
    assert!(forward.headers.iter().all(|(_, value)| !value.is_empty()), "{:?}", forward.headers);
    assert_eq!(refused(undecided(false, &gateway)).status, 503);
    assert_eq!(
        refused(undecided(true, &CHECK)),
        Premise::unavailable(),
        "a check says that it does not know"
    );
}
