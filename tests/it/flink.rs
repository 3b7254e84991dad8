//! The commission pipeline of `deploy/flink` on a real Apache Kafka: every case of `tests/fixtures/attribution` gives
//! the row that the case expects, and the states move while the jobs run, over restarts, repeats and late records.

use serde_json::Value;

use self::{
    cases::{Case, PolicyCases},
    install::{FlinkInstall, flink_install},
    topics::Topics,
};
use crate::kafka::{broker::Broker, install::output};

mod cases;
mod compose;
mod install;
mod restarts;
mod topics;

/// The cases with this policy as rows of one bounded run over real topics.
fn check_cases(install: &FlinkInstall, broker: &Broker, policy: &PolicyCases) {
    let topics = Topics::create(broker);
    for case in &policy.cases {
        topics.send_case(case);
    }
    topics.send_records_without_facts();
    topics.flush();
    let mut command = install.run_sql("run", &["winners", "commissions", "statistics"]);
    command.args(["MODE=bounded", &format!("AS_OF={}", cases::AS_OF_MS)]).args(topics.settings());
    output(command.args(&policy.settings)).unwrap_or_else(|why| panic!("{:?}: {why}", policy.settings));

    let mut found = topics.rows(&topics.name("commissions"));
    let mut problems = Vec::new();
    for case in &policy.cases {
        for expected in &case.expected {
            let key = cases::key_of(expected);
            match found.remove(&key) {
                Some(row) if row == *expected => {}
                row => problems.push(format!("{}\nexpected {expected}\nfound    {row:?}", case.name)),
            }
        }
    }
    problems.extend(found.values().map(|row| format!("a row that no case expects: {row}")));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n\n"));
    assert!(
        topics.rows(&topics.name("refused_orders")).is_empty() && topics.rows(&topics.name("late_orders")).is_empty()
    );
    check_statistics(&topics, policy);
}

/// Clicks of a creator are counted once; commission sums are those of the rows.
fn check_statistics(topics: &Topics, policy: &PolicyCases) {
    let clicks = topics.rows(&topics.name("creator_clicks"));
    let sum = |span: &str| -> i64 {
        let rows = clicks.values().filter(|row| row["span"] == span);
        rows.map(|row| row["clicks"].as_i64().unwrap()).sum()
    };
    let recorded: std::collections::BTreeSet<&str> = policy
        .cases
        .iter()
        .flat_map(|case| &case.clicks)
        .filter(|click| click["type"] == "click" && click["creator_id"].is_string())
        .map(|click| click["click_id"].as_str().unwrap())
        .collect();
    assert_eq!((sum("hour"), sum("day")), (recorded.len() as i64, recorded.len() as i64));
    let commissions = topics.rows(&topics.name("creator_commissions"));
    let owed = |row: &Value| -> i64 {
        let clawed: i64 = row["clawbacks"]
            .as_array()
            .map_or(0, |backs| backs.iter().map(|back| back["amount_minor"].as_i64().unwrap()).sum());
        row["commission_minor"].as_i64().unwrap() + clawed
    };
    let rows = policy.cases.iter().flat_map(|case: &Case| &case.expected);
    let expected: i64 = rows.filter(|row| row["state"] == "confirmed" || row["state"] == "payable").map(owed).sum();
    let found: i64 =
        commissions.values().filter(|row| row["span"] == "day").map(|row| row["owed_minor"].as_i64().unwrap()).sum();
    assert_eq!(found, expected);
}

#[test]
fn every_case_of_the_default_policy_gives_its_row() {
    let Some(install) = flink_install() else { return };
    let Some(broker) = Broker::start_or_share() else { return };
    let all = cases::by_policy();
    let default = all.iter().find(|policy| policy.settings.is_empty()).unwrap();
    assert!(default.cases.len() > 100, "{} cases", default.cases.len());
    check_cases(install, &broker, default);
}

#[test]
#[ignore = "long: a run of Flink for each policy"]
fn every_case_of_every_other_policy_gives_its_row() {
    let Some(install) = flink_install() else { return };
    let Some(broker) = Broker::start_or_share() else { return };
    let all = cases::by_policy();
    assert!(all.len() > 5, "{} policies", all.len());
    for policy in all.iter().filter(|policy| !policy.settings.is_empty()) {
        check_cases(install, &broker, policy);
    }
}

#[test]
#[ignore = "long: a run of Flink more"]
fn a_parallelism_of_two_gives_the_same_rows() {
    let Some(install) = flink_install() else { return };
    let Some(broker) = Broker::start_or_share() else { return };
    let mut default = cases::by_policy().into_iter().find(|policy| policy.settings.is_empty()).unwrap();
    default.settings.push("PARALLELISM=2".to_owned());
    check_cases(install, &broker, &default);
}

/// Flink 2.1 to 2.3 loses retractions of a rank that it plans as insert-only (FLINK-40368). The first row by processing
/// time is one by right.
#[test]
fn no_rank_of_the_plans_is_insert_only() {
    let Some(install) = flink_install() else { return };
    let plans = output(&mut install.run_sql("explain", &["winners", "commissions", "statistics"])).unwrap();
    let plans = String::from_utf8(plans).unwrap();
    let ranks = plans
        .lines()
        .filter(|line| (line.contains("Rank(") || line.contains("Deduplicate(")) && line.contains("changelogMode="));
    let (mut retracting, mut insert_only) = (0, Vec::new());
    for rank in ranks {
        if rank.contains("changelogMode=[I]") && !rank.contains("orderBy=[processed_at ASC]") {
            insert_only.push(rank);
        } else {
            retracting += 1;
        }
    }
    assert!(insert_only.is_empty(), "{insert_only:#?}");
    assert!(retracting > 8, "only {retracting} ranks in the plans:\n{plans}");
}

#[test]
fn a_wrong_setting_is_refused_with_its_name_and_what_is_allowed() {
    let Some(install) = flink_install() else { return };
    for (setting, says) in [
        ("SCOPE=all", "SCOPE=all: must be one of product, any"),
        ("CONFIRM_DAYS=22", "CONFIRM_DAYS <= PAYABLE_FROM_DAYS <= PAYABLE_UNTIL_DAYS must hold"),
        ("TOPIC_CLICK=x", "there is no setting TOPIC_CLICK; "),
    ] {
        let done = install.run_sql("run", &["winners"]).arg(setting).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(64) && said.contains(says), "{setting}: {}: {said}", done.status);
    }
}

#[test]
#[ignore = "long: runs Kafka, Waypost and Flink from their start"]
fn the_demonstration_takes_real_taps_to_payable_commissions() {
    let Some(_) = flink_install() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/flink/run.sh");
    let mut command = std::process::Command::new(script);
    command.args(["--once", "--buyers", "4"]).env("WAYPOST_BIN", env!("CARGO_BIN_EXE_waypost"));
    command.env("FLINK_HOME_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/flink-demonstration"));
    let said = String::from_utf8(output(&mut command).unwrap()).unwrap();
    assert!(said.contains("## every row is as expected: 8 lines") && said.contains("clawbacks ["), "{said}");
}
