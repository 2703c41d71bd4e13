//! Scores: each layout is read, right answers count and wrong ones are listed by name.

use std::fs;
use std::path::Path;

use opsward_inquiry::eval::{EvalError, Format, Table, evaluate};

use crate::made;

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn score(dir: &Path, format: Format) -> Table {
    evaluate(dir, format, &|| 0.0).unwrap()
}

/// How many met a measure, of how many.
fn met(table: &Table, measure: &str) -> (usize, usize) {
    table.rows.iter().find(|row| row.measure == measure).map(|row| (row.met, row.of)).unwrap()
}

#[test]
fn changes_are_compared_with_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    for (case, truth) in [("right", made::GUILTY), ("wrong", "none")] {
        for (name, bytes) in made::files(&made::plain()) {
            write(dir.path(), &format!("{case}/{name}"), &bytes);
        }
        let truth = format!(
            r#"{{"root_cause_commit":"{truth}","first_failing_service":"basketservice","blast_radius":["webfront"],"remediation":"rollback","decoy_deploy_commits":["{}"]}}"#,
            made::INNOCENT
        );
        write(dir.path(), &format!("{case}/ground_truth.json"), truth.as_bytes());
    }
    let table = score(dir.path(), Format::RootCauseBench);
    assert_eq!(met(&table, "the change, or that there was none"), (1, 2));
    assert_eq!(met(&table, "no decoy blamed"), (2, 2));
    assert_eq!(met(&table, "blast radius, exactly"), (2, 2));
    let shown = table.render();
    assert!(shown.contains("  wrong: the change") && !shown.contains("  right: "), "{shown}");
    // The simple rule blames the last deploy, which is the decoy.
    assert_eq!(table.rows.iter().find(|row| row.measure == "no decoy blamed").unwrap().rule_met, Some(0));
}

#[test]
fn classes_are_compared_and_a_base_completes_a_case() {
    let dir = tempfile::tempdir().unwrap();
    let alert = r#"{"title":"web","state":"alerting","commonLabels":{"alertname":"NodeNotReady","severity":"critical","service":"web"}}"#;
    write(
        dir.path(),
        "a-base/eks_nodes.json",
        br#"{"nodes":[{"name":"n1","ready":"True","memory_pressure":"False"}]}"#,
    );
    write(dir.path(), "b-flap/alert.json", alert.as_bytes());
    write(dir.path(), "b-flap/scenario.yml", b"base: a-base\navailable_evidence: [eks_nodes]\n");
    write(
        dir.path(),
        "b-flap/answer.yml",
        b"root_cause_category: healthy\nrequired_keywords: [normal, unicorn]\nforbidden_categories: [unknown]\n",
    );
    let table = score(dir.path(), Format::OpenSre);
    assert_eq!((met(&table, "category"), met(&table, "no false alarm")), ((1, 1), (1, 1)));
    assert_eq!(met(&table, "every word that has to be said"), (0, 1));
    assert!(table.cases[0].said.contains("unicorn"));
}

#[test]
fn graphs_and_quiet_periods_are_found_above_a_case() {
    let dir = tempfile::tempdir().unwrap();
    let header = "microservice,web,cart,web,cart\nmetric,latency,latency,availability,availability\nstatistic,Average,Average,Average,Average\nunix_timestamp,,,,\n";
    let quiet: String =
        (0..200).map(|row| format!("{},0.1{},0.02{},100,100\n", 1_700_000_000 + row * 300, row % 7, row % 5)).collect();
    let bad: String = (0..6)
        .map(|row| {
            format!(
                "{},{},{},100,100\n",
                1_700_500_000 + row * 300,
                if row > 2 { 4.1 } else { 0.12 },
                if row > 2 { 3.9 } else { 0.021 }
            )
        })
        .collect();
    write(dir.path(), "graph.csv", b",web,cart\nweb,0,1\ncart,0,0\n");
    write(dir.path(), "noissue/metrics.csv", format!("{header}{quiet}").as_bytes());
    write(dir.path(), "train/one/metrics.csv", format!("{header}{bad}").as_bytes());
    write(dir.path(), "train/one/target.json", br#"{"target":{"node":"web","metric":"latency","agg":"Average","timestamp":1700501000},"root_cause":{"node":"cart","metric":null}}"#);
    let table = score(dir.path(), Format::PetShop);
    assert_eq!(met(&table, "root among the first three"), (1, 1), "{}", table.render());
    let (silent, of) = met(&table, "silent while quiet");
    assert!(of > 5 && silent == of, "{}", table.render());
}

#[test]
fn days_of_injected_faults() {
    let dir = tempfile::tempdir().unwrap();
    let at = |minute: i64| 1_700_000_000 + minute * 60;
    let pod = |name: &str, cpu: i64| -> String {
        let rows = (0..120).map(|minute| {
            format!("{},{name},{},10\n", at(minute), if (100..104).contains(&minute) { cpu } else { 10 + minute % 3 })
        });
        format!("TimeStamp,PodName,CpuUsageRate(%),MemoryUsage(Mi)\n{}", rows.collect::<String>())
    };
    for (name, cpu) in [("a-7f9dd8b6c4-x7gr9", 98), ("b-7f9dd8b6c4-k2m4p", 11)] {
        write(dir.path(), &format!("day/faults/metric/{name}_metric.csv"), pod(name, cpu).as_bytes());
        write(dir.path(), &format!("day/fault-free/metric/{name}_metric.csv"), pod(name, 11).as_bytes());
    }
    write(dir.path(), "day/faults/metric/front_service.csv", b"Time,ServiceName,SuccessRate(%)\n");
    // 100 minutes after 2023-11-14T22:13:20Z.
    write(dir.path(), "day/faults/day-fault_list.json", br#"{"23":[{"inject_time":"2023-11-14 23:53:20","inject_pod":"a-7f9dd8b6c4-x7gr9","inject_type":"cpu_contention"}]}"#);
    let table = score(dir.path(), Format::Nezha);
    assert_eq!((met(&table, "service first"), met(&table, "kind")), ((1, 1), (1, 1)), "{}", table.render());
    assert_eq!(met(&table, "silent while quiet").1, 1);
}

#[test]
fn a_folder_without_cases_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (_, format) in Format::ALL {
        assert!(matches!(evaluate(dir.path(), format, &|| 0.0), Err(EvalError::NoCases(_))));
    }
    write(dir.path(), "x/ground_truth.json", b"{");
    assert!(matches!(evaluate(dir.path(), Format::RootCauseBench, &|| 0.0), Err(EvalError::Unreadable(..))));
}
