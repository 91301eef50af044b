//! Keys that are not ours, and keys of projects that nobody knows.

use anyhow::Result;
use shared::ids::{KeyId, Mode, ProjectId};
use shared::key::{KeySecrets, ProjectKey};
use shared::kind::Kind;
use shared::problem::ErrorCode;
use tests::client::Call;
use tests::project::{Limits, Project, governed};
use tests::stack::{Options, Stack};
use tests::stand_in::StandIn;

fn mint(secrets: &KeySecrets, project: &str) -> Result<String> {
    let (project, id) = (ProjectId::parse(project)?, KeyId::parse("k00000")?);
    Ok(secrets.mint(&ProjectKey { project, mode: Mode::Live, id }))
}

/// Texts that are almost a key.
fn forged(key: &str, other: &str) -> Vec<String> {
    let (body, mac) = key.rsplit_once('_').unwrap();
    let flipped = if mac.ends_with('0') { '1' } else { '0' };
    let other_mac = other.rsplit_once('_').unwrap().1;
    vec![
        format!("{}{flipped}", &key[..key.len() - 1]),
        key[..key.len() - 1].to_owned(),
        format!("{key}0"),
        format!("{body}_{}", mac.to_uppercase()),
        format!("{body}_{}", "0".repeat(32)),
        format!("{body}_{other_mac}"),
        format!("{body}_"),
        body.to_owned(),
        key.replace("pk_live", "pk_test"),
        key.replace("pk_", "PK_"),
        key.replace("_1_", "_2_"),
        key.replace("_1_", "_01_"),
        key.replace("mine", "theirs"),
        key.replace("mine", "mine/../theirs"),
        key.replace("k00000", "k00001"),
        "pk_live_mine".to_owned(),
        "x".repeat(10_000),
        "pk_live_".repeat(20),
        "_____".to_owned(),
    ]
}

#[tokio::test]
async fn forged_keys_end_at_the_gate() -> Result<()> {
    let aggregator = StandIn::start().await?;
    let options = Options { aggregator_of_edge: Some(aggregator.address()), ..Options::default() };
    let stack = Stack::start_with(options).await?;
    let stored = stack.stored_by_homes()?;
    let secrets = stack.key_secrets()?;
    let key = mint(&secrets, "mine")?;
    let mut authorizations: Vec<String> =
        forged(&key, &mint(&secrets, "theirs")?).iter().map(|key| format!("Bearer {key}")).collect();
    let schemes =
        [format!("Basic {key}"), format!("Bearer{key}"), format!("Bearer {key}, Bearer {key}"), key.clone()];
    authorizations.extend(schemes);
    authorizations.extend(["", "Bearer", "Bearer  "].map(str::to_owned));
    for authorization in authorizations {
        for call in [Call::post("/v1/verify", "{}"), Call::post("/v1/check", "{}"), Call::get("/v1/quota")] {
            let answer = call.header("authorization", authorization.clone()).send(stack.edge()).await?;
            answer.problem(ErrorCode::Unauthorized).map_err(|error| error.context(authorization.clone()))?;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let in_query = Call::post(&format!("/v1/verify?authorization=Bearer%20{key}"), "{}");
    in_query.send(stack.edge()).await?.problem(ErrorCode::Unauthorized)?;
    assert_eq!(stack.stored_by_homes()?, stored, "a forged key has left something behind");
    assert_eq!(aggregator.seen().len(), 0, "a forged key has reached the aggregator");

    // The right key does reach it: the listener would have seen the others too.
    governed(&key, Kind::Verify, "bot").send(stack.edge()).await?.problem(ErrorCode::HomeUnavailable)?;
    assert!(!aggregator.seen().is_empty());
    stack.finish()
}

#[tokio::test]
async fn a_key_of_an_unknown_project_is_refused_and_leaves_nothing_behind() -> Result<()> {
    let stack = Stack::start().await?;
    let known = Project::ready(&stack, "known", Limits::COMMUNITY).await?;
    let secrets = stack.key_secrets()?;
    for number in 0..5 {
        let key = mint(&secrets, &format!("nobodys-{number}"))?;
        for call in [governed(&key, Kind::Verify, "bot"), Call::get("/v1/quota").bearer(&key)] {
            call.send(stack.edge()).await?.problem(ErrorCode::Unauthorized)?;
        }
    }
    // Rightly signed, of a known project, but never made there.
    governed(&mint(&secrets, "known")?, Kind::Verify, "bot")
        .send(stack.edge())
        .await?
        .problem(ErrorCode::Unauthorized)?;
    for (path, content) in stack.stored_by_homes()? {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("nobodys"), "{} speaks of a project that nobody knows", path.display());
    }
    assert!(!stack.meter(&["project", "list"])?.contains("nobodys"));
    assert_eq!(known.usage(&stack).await?.total, 0);
    stack.finish()
}
